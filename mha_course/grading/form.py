"""Whether a notebook keeps to the form of an assignment, for whoever writes one."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator

from mha_course.grading.assignment import Assignment, Task, grade_id
from mha_course.grading.sitting import without_hidden_tests

_ROW = re.compile(r"^\|[ \t]*(\d+\.?\d*|\.\d+)[ \t]*\|", re.MULTILINE)
_MARKS = ("BEGIN SOLUTION", "BEGIN HIDDEN TESTS")


def form(assignment: Assignment, release: Assignment) -> list[str]:
    """Say what is not as it should be, each in a sentence.

    Args:
        assignment: With solutions and hidden tests.
        release: As learners get it.
    """
    return [*_of_notebook(assignment), *_of_tasks(assignment), *_of_release(assignment, release)]


def _of_notebook(assignment: Assignment) -> Iterator[str]:
    names = Counter(grade_id(cell) for cell in assignment.notebook.cells)
    for name, times in names.items():
        if not name:
            yield f"{times} cells have no grade_id: learners could change or delete them"
        elif times > 1:
            yield f"{times} cells have the grade_id {name}"
    start = assignment.notebook.cells[0].source
    for what, wanted in (
        ("minutes", f"about {assignment.minutes} minutes in all"),
        ("points", f"**Points:** {assignment.points}"),
    ):
        if not re.search(rf"{re.escape(wanted)}\b", start):
            yield f"the first cell should say {wanted!r}: that is the sum of the cards' {what}"


def _of_tasks(assignment: Assignment) -> Iterator[str]:
    for task in assignment.tasks:
        if not task.needs:
            yield f"the card of {task.name} lacks the line `**You need:** ...`"
        if task.written:
            yield from _of_rubric(assignment, task)
        elif not task.hints:
            yield f"the card of {task.name} has no hint: <details><summary>Hint 1</summary>"


def _of_rubric(assignment: Assignment, task: Task) -> Iterator[str]:
    answer = assignment.cells()[task.name].source
    if "Model answer" not in answer:
        yield f"{task.name} has no model answer: a paragraph that begins with **Model answer.**"
    if "| Points | For |" not in answer:
        yield f"{task.name} has no rubric: a table with the head | Points | For |"
    elif not math.isclose(given := sum(map(float, _ROW.findall(answer))), task.points):
        yield f"the rubric of {task.name} gives {given:g} points, its card {task.points}"


def _of_release(assignment: Assignment, release: Assignment) -> Iterator[str]:
    again = f"run `nbgrader generate_assignment {assignment.name} --force`"
    if any(mark in cell.source for cell in release.notebook.cells for mark in _MARKS):
        yield f"the release gives a solution or a hidden test away; {again}"
    released = release.cells()
    for name, cell in assignment.cells().items():
        if cell.metadata.nbgrader.solution:
            same = name in released
        else:
            shown = without_hidden_tests(cell.source).strip()
            same = name in released and released[name].source.strip() == shown
        if not same:
            yield f"the release is not made from this solution, as {name} shows; {again}"
            return
