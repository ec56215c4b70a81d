"""Every notebook to download and every solution runs from top to bottom under nbval."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import jupytext
import pytest
from notebook_extension import Rest, notebook, shows_code

ROOT = Path(__file__).parents[2]
CHAPTERS = [
    page
    for page in sorted((ROOT / "chapters").glob("*.md"))
    if shows_code(page.read_text(encoding="utf-8"))  # no other can be downloaded as a notebook
]
SOLUTIONS = sorted((ROOT / "solutions").glob("*/*.ipynb"))


def run_under_nbval(notebook: Path) -> subprocess.CompletedProcess[str]:
    # a process of its own: nbval is a pytest plugin, and its notebooks must not see our fixtures.
    # --nbval-lax: cells must run; what they print is not compared, as nothing is stored.
    # Other plugins would take longer to load than many a cell takes to run.
    return subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "nbval.plugin", "-c", os.devnull),
            *("-p", "no:cacheprovider", "--nbval-lax", "--nbval-cell-timeout=120"),
            *(f"--rootdir={notebook.parent}", notebook),
        ],
        cwd=notebook.parent,
        env=os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
    )


def test_there_are_chapters_and_solutions() -> None:
    assert len(CHAPTERS) >= 10
    assert SOLUTIONS


@pytest.mark.weekly  # `make book` has run their cells by now, as notebooks they run once more
@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_chapter_runs(chapter: Path, tmp_path: Path) -> None:
    # as a reader downloads it: it lies anywhere, and nothing is beside it
    file = tmp_path / f"{chapter.stem}.ipynb"
    jupytext.write(notebook(chapter.read_text(encoding="utf-8"), Rest()), file)

    result = run_under_nbval(file)

    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("solution", SOLUTIONS, ids=lambda path: path.stem)
def test_solution_runs(solution: Path, tmp_path: Path) -> None:
    # with the files beside it, which the tasks read
    notebook = Path(shutil.copytree(solution.parent, tmp_path / solution.stem)) / solution.name

    result = run_under_nbval(notebook)

    assert result.returncode == 0, result.stdout


def test_a_failing_cell_fails(tmp_path: Path) -> None:
    notebook = tmp_path / "broken.ipynb"
    source = "```{code-cell} python3\nassert 1 + 1 == 3\n```\n"
    header = "---\nkernelspec:\n  display_name: Python 3\n  name: python3\n---\n\n"
    jupytext.write(jupytext.reads(header + source, fmt="md:myst"), notebook)

    result = run_under_nbval(notebook)

    assert result.returncode == 1
    assert "AssertionError" in result.stdout
