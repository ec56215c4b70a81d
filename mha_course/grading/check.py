"""The learner's own check of a notebook in the terminal: what the Validate button shows."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

from nbformat import NotebookNode
from nbgrader.preprocessors import Execute
from nbgrader.utils import determine_grade

from mha_course.grading.assignment import Assignment, Task, read_assignment
from mha_course.grading.book import built_book

TIMEOUT = 60  # seconds for a cell, as in nbgrader_config.py


class Verdict(NamedTuple):
    """What the visible tests say of one task.

    Attributes:
        task: The task.
        points: Points of the test cells that pass; None for a written task.
        says: What the failing tests say, or what is to be done.
    """

    task: Task
    points: float | None
    says: str

    @property
    def done(self) -> bool:
        """Whether all visible tests pass, or there is an answer for a person to read."""
        if self.points is None:
            return self.says != _NOT_WRITTEN
        return self.points == self.task.points


_NOT_WRITTEN = "not written yet"


def check_notebook(path: str | Path) -> list[Verdict]:
    """Run a notebook from top to bottom in a kernel of its own, and judge each task.

    The file itself stays as it is.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no notebook of an assignment.
    """
    assignment = read_assignment(path)
    if not assignment.tasks:
        raise ValueError(f"{path} has no tasks: it is not an assignment of the course")
    folder = assignment.path.resolve().parent
    execute = Execute(timeout=TIMEOUT, error_on_timeout=_TOO_LONG, extra_arguments=_QUIET_KERNEL)
    with patch.dict(os.environ, MHA_BOOK_URL=built_book(folder)):  # the kernel inherits it
        execute.preprocess(assignment.notebook, {"metadata": {"path": str(folder)}})
    return [_verdict(assignment, task) for task in assignment.tasks]


def lines(verdicts: list[Verdict]) -> list[str]:
    """Return the verdicts as text: a line for each task, and what the failing ones say."""
    found: list[str] = []
    for verdict in verdicts:
        task = verdict.task
        mark = "·" if verdict.points is None else "✓" if verdict.done else "✗"
        points = (
            f"–/{task.points}" if verdict.points is None else f"{verdict.points:g}/{task.points}"
        )
        found.append(f"{mark} {points:>6}  {task.number} · {task.title}")
        found += [f"          {line}" for line in verdict.says.split("\n") if line]
    by_tests = [verdict for verdict in verdicts if verdict.points is not None]
    got = sum(verdict.points or 0 for verdict in by_tests)
    most = sum(verdict.task.points for verdict in by_tests)
    found += ["", f"{got:g} of {most} points by the tests that you see; hidden ones come on top."]
    return found


# nbgrader's own, and no word about how kernels talk to each other on this machine
_QUIET_KERNEL = ["--HistoryManager.hist_file=:memory:", "--IPKernelApp.log_level=ERROR"]
_TOO_LONG = {
    "ename": "CellTimeoutError",
    "evalue": "",
    "traceback": [f"This cell ran for more than {TIMEOUT} seconds. Is there an endless loop?"],
}


def _verdict(assignment: Assignment, task: Task) -> Verdict:
    cells = assignment.cells()
    if task.written:
        points, _ = determine_grade(cells[task.name])
        says = _NOT_WRITTEN if points == 0 else "written; your instructor reads it"
        return Verdict(task, None, says)
    total, messages = 0.0, []
    for name in task.tests:
        points, most = determine_grade(cells[name])
        total += points or 0
        if points != most:
            messages.append(_message(cells[name]))
    return Verdict(task, total, "\n".join(dict.fromkeys(messages)))


def _message(cell: NotebookNode) -> str:
    """Return what a failing test cell printed as its error."""
    for output in cell.outputs:
        if output.output_type == "error" and "The task is not done yet." in output.evalue:
            return "not done yet"
        if output.output_type == "error":
            return re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(output.traceback))
    for output in cell.outputs:
        if output.output_type == "stream" and output.name == "stderr":
            return str(output.text)
    return "The cell was not run."
