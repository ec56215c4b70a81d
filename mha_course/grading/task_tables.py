"""Tables of the exercises for the book, made from the released notebooks.

They are HTML, and not the Markdown of `mha_course.plots.table`: the first cell of a row is its
heading, and the style of `mha-tasks` lets all columns fit on a phone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    return _table(_HEAD, [_row(task, one.name) for one, task in found])


def tasks_of_assignment(assignment: Assignment) -> HTML:
    """Table of all tasks of one assignment."""
    return _table(_HEAD, [_row(task) for task in assignment.tasks])


def overview(*, exercises: Path = EXERCISES) -> HTML:
    """Table of the assignments: tasks, points and minutes."""
    rows = []
    for one in read_assignments(exercises):
        cells = (len(one.autograded), len(one.written), one.points, one.minutes)
        name = f'<th scope="row"><code>{escape(one.name)}</code></th>'
        numbers = "".join(f"<td>{cell}</td>" for cell in cells)
        rows.append(f"<tr>{name}<td>{escape(one.title)}</td>{numbers}</tr>")
    head = ("name", "what it is", "by tests", "written", "points", "minutes")
    return _table(head, rows)


def answered(asked: Mapping[str, Sequence[str]], *, exercises: Path = EXERCISES) -> HTML:
    """Table of questions, and the tasks that they are: `{"Why …?": ["heads/head_dim"]}`.

    Raises:
        KeyError: there is no such task.
    """
    names = {
        f"{one.name}/{task.name}": _name(task, one.name)
        for one in read_assignments(exercises)
        for task in one.tasks
    }
    rows = [
        f'<tr><th scope="row">{escape(question)}</th>'
        f"<td>{'<br>'.join(names[task] for task in tasks)}</td></tr>"
        for question, tasks in asked.items()
    ]
    return _table(("question", "where"), rows)


_HEAD = ("task", "what it is", "difficulty", "points", "minutes")


def _name(task: Task, assignment: str) -> str:
    """Name a task where there are several assignments."""
    return f"<code>{escape(assignment)}</code> {task.number[0].lower()}{task.number[1:]}"


def _row(task: Task, assignment: str = "") -> str:
    """Return one task; on pages with several assignments, it begins with the name of its own."""
    name = _name(task, assignment) if assignment else task.number
    cells = (task.title, task.difficulty, task.points, task.minutes)
    return (
        f'<tr><th scope="row">{name}</th>'
        + "".join(f"<td>{escape(str(cell))}</td>" for cell in cells)
        + "</tr>"
    )


def _table(head: Sequence[str], rows: Sequence[str]) -> HTML:
    names = "".join(f'<th scope="col">{name}</th>' for name in head)
    return HTML(
        f'<table class="table mha-tasks"><thead><tr>{names}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )
