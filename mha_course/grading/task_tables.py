"""Tables of the exercises for the book, made from the released notebooks."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from pathlib import Path

from IPython.display import HTML

from mha_course.grading.assignment import Assignment, Task, read_assignments

EXERCISES = Path("../exercises")  # chapters are built in their own folder


def tasks_of_page(page: str, *, exercises: Path = EXERCISES) -> HTML:
    """Table of the tasks, of all assignments, that belong to a chapter.

    Raises:
        ValueError: no task belongs to it.
    """
    found = [
        (assignment, task)
        for assignment in read_assignments(exercises)
        for task in assignment.tasks
        if page in task.pages
    ]
    if not found:
        raise ValueError(f"no task of {exercises} belongs to the chapter {page!r}")
    rows = (_row(f"<code>{escape(one.name)}</code>", task) for one, task in found)
    return _table(("assignment", *_HEAD), rows)


def tasks_of_assignment(assignment: Assignment) -> HTML:
    """Table of all tasks of one assignment."""
    rows = (_row(None, task) for task in assignment.tasks)
    return _table(_HEAD, rows)


def overview(*, exercises: Path = EXERCISES) -> HTML:
    """Table of the assignments: tasks, points and minutes."""
    rows = []
    for one in read_assignments(exercises):
        cells = (len(one.autograded), len(one.written), one.points, one.minutes)
        name = f'<th scope="row"><code>{escape(one.name)}</code></th>'
        numbers = "".join(f"<td>{cell}</td>" for cell in cells)
        rows.append(f"<tr>{name}<td>{escape(one.title)}</td>{numbers}</tr>")
    head = ("assignment", "what it is", "graded by tests", "written", "points", "minutes")
    return _table(head, rows)


_HEAD = ("task", "what it is", "points", "minutes", "difficulty", "importance")


def _row(first: str | None, task: Task) -> str:
    cells = (task.title, task.points, task.minutes, task.difficulty, task.importance)
    before = "" if first is None else f"<td>{first}</td>"
    return (
        f'<tr>{before}<th scope="row">{escape(task.number)}</th>'
        + "".join(f"<td>{escape(str(cell))}</td>" for cell in cells)
        + "</tr>"
    )


def _table(head: Iterable[str], rows: Iterable[str]) -> HTML:
    names = "".join(f'<th scope="col">{name}</th>' for name in head)
    return HTML(
        f'<table class="table"><thead><tr>{names}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )
