"""A course folder for the tests: the real configuration and solutions, and the real commands."""

from __future__ import annotations

import copy
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from students import Student

from mha_course.grading.assignment import grade_id, read_assignments
from mha_course.grading.sitting import without_markers

REPOSITORY = Path(__file__).resolve().parents[2]
SOLUTION = REPOSITORY / "solutions" / "heads" / "heads.ipynb"
RELEASE = REPOSITORY / "exercises" / "heads" / "heads.ipynb"
BOOK_URL = "https://book.example/mha"

ASSIGNMENTS = {one.name: one for one in read_assignments(REPOSITORY / "solutions")}
RELEASES = {one.name: one for one in read_assignments(REPOSITORY / "exercises")}
HEADS = ASSIGNMENTS["heads"]
AUTOGRADED = tuple(task.name for task in HEADS.autograded)
WRITTEN = tuple(task.name for task in HEADS.written)


def read(path: Path) -> NotebookNode:
    return nbformat.read(path, as_version=4)


def cells_by_id(notebook: NotebookNode) -> dict[str, NotebookNode]:
    """Cells by grade_id."""
    return {grade_id(cell): cell for cell in notebook.cells if grade_id(cell)}


def submission(released: NotebookNode, solution: NotebookNode, student: Student) -> NotebookNode:
    """Return the notebook that `student` hands in."""
    notebook = copy.deepcopy(released)
    solved = cells_by_id(solution)
    unknown = {*student.answers, *student.edited, *student.deleted} - set(solved)
    assert not unknown, f"no such cells: {unknown}"
    for name, cell in cells_by_id(notebook).items():
        if name in student.answers:
            cell.source = student.answers[name]
        elif name in student.edited:
            cell.source = student.edited[name]
        elif student.start == "solution" and cell.metadata.nbgrader.solution:
            cell.source = without_markers(solved[name].source)
    notebook.cells = [cell for cell in notebook.cells if grade_id(cell) not in student.deleted]
    notebook.cells += [nbformat.v4.new_code_cell(source) for source in student.extra]
    return notebook


def environment(scratch: Path) -> dict[str, str]:
    """Return an environment with nothing from, and nothing into, the settings of who runs tests.

    Args:
        scratch: The home folder in it.
    """
    return os.environ | {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "MHA_BOOK_URL": BOOK_URL,
        "OMP_NUM_THREADS": "1",
        "HOME": str(scratch),
        "IPYTHONDIR": str(scratch / "ipython"),
        "JUPYTER_CONFIG_DIR": str(scratch / "config"),
        "JUPYTER_DATA_DIR": str(scratch / "data"),
        "JUPYTER_RUNTIME_DIR": str(scratch / "runtime"),
    }


class Course:
    """A folder with a copy of the course, in which nbgrader runs as a subprocess."""

    def __init__(self, folder: Path, scratch: Path, assignment: str = "heads") -> None:
        self.folder = folder
        self.assignment = assignment
        self.env = environment(scratch)
        shutil.copy(REPOSITORY / "nbgrader_config.py", folder)
        shutil.copytree(
            REPOSITORY / "solutions",
            folder / "solutions",
            ignore=shutil.ignore_patterns(".ipynb_checkpoints"),
        )

    def nbgrader(self, *arguments: str) -> str:
        """Run one nbgrader command and return what it printed."""
        return self._run("nbgrader", *arguments)

    def mha_course(self, *arguments: str) -> str:
        """Run one of our own commands and return what it printed."""
        return self._run("mha_course.cli", *arguments)

    def _run(self, module: str, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", module, *arguments],
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        said = done.stdout + done.stderr
        assert done.returncode == 0, f"{module} {' '.join(arguments)} failed:\n{said[-5000:]}"
        return said

    def hand_in(self, name: str, notebook: NotebookNode) -> Path:
        path = self.folder / "submitted" / name / self.assignment / f"{self.assignment}.ipynb"
        path.parent.mkdir(parents=True)
        nbformat.write(notebook, path)
        return path
