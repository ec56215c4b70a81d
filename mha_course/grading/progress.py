"""How far a learner is in all assignments, by the tests that they see."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

from mha_course.grading.assignment import Assignment, Task, read_assignments
from mha_course.whole_file import write_whole

KEPT = ".progress.json"
"""File beside the assignments that keeps what was found, so that only changed ones run again."""

_BAR = 10  # signs


class Standing(NamedTuple):
    """How far one assignment is.

    Attributes:
        assignment: The assignment.
        points: That the visible tests give.
        done: Names of the tasks whose tests pass, and of the written ones with an answer.
    """

    assignment: Assignment
    points: float
    done: frozenset[str]

    @property
    def left(self) -> list[Task]:
        """The tasks that are not done."""
        return [task for task in self.assignment.tasks if task.name not in self.done]


def progress(
    folder: Path, show: Callable[[str, int, int], None] = lambda *_: None
) -> Iterator[Standing]:
    """Yield how far each assignment is; one that has not changed since the last time is not run.

    Args:
        folder: With the assignments, `exercises/`.
        show: Called before each with its number and how many there are.

    Raises:
        ValueError: there is no assignment in the folder, or one is no notebook.
    """
    assignments = read_assignments(folder)
    kept = _Kept(folder / KEPT)
    for number, assignment in enumerate(assignments):
        show("running", number, len(assignments))
        digest = _digest(assignment.path.parent)
        standing = kept.standing(assignment, digest)
        if standing is None:
            from mha_course.grading import check  # heavy, and not needed where nothing has changed

            verdicts = check.check_notebook(assignment.path)
            standing = Standing(
                assignment,
                sum(verdict.points or 0 for verdict in verdicts),
                frozenset(verdict.task.name for verdict in verdicts if verdict.done),
            )
            kept.keep(standing, digest)
        yield standing
    show("running", len(assignments), len(assignments))


def lines(standings: list[Standing]) -> Iterator[str]:
    """Yield a line for each assignment, and what could come next."""
    width = max(len(one.assignment.name) for one in standings)
    for one in standings:
        tasks = one.assignment.tasks
        done = len(tasks) - len(one.left)
        bar = "█" * (done * _BAR // len(tasks))
        minutes = sum(task.minutes for task in one.left)
        rest = f"about {minutes} min left" if one.left else "complete"
        yield (
            f"{one.assignment.name:{width}}  {bar:░<{_BAR}}  {done:2} of {len(tasks):2} tasks, "
            f"{one.points:4g} of {_reachable(one):2} points by tests, {rest}"
        )
    yield ""
    unfinished = [one for one in standings if one.left]
    if not unfinished:
        yield "All is done, by the tests that you see and what you have written."
        return
    begun = [one for one in unfinished if len(one.left) < len(one.assignment.tasks)]
    first = (begun or unfinished)[0]
    task = first.left[0]
    yield f"next: {task.number} · {task.title} ({task.minutes} min), in {first.assignment.path}"


def short(task: Task) -> str:
    """Return a task's number as it stands in a link: 3, or w2 for a written one."""
    return ("w" if task.written else "") + task.number.split()[-1]


def link(standings: list[Standing], book: str) -> str:
    """Return the address of the book's page that shows what is done.

    What follows the # stays in the browser that opens it.

    Args:
        standings: Of all assignments.
        book: Address of the built book.
    """
    done = {
        one.assignment.name: ".".join(
            short(task) for task in one.assignment.tasks if task not in one.left
        )
        for one in standings
    }
    return f"{book.rstrip('/')}/chapters/your-progress.html#{urlencode(done)}"


def _reachable(one: Standing) -> int:
    return sum(task.points for task in one.assignment.autograded)


class _Kept:
    """What was found before, in a file; one that cannot be read or written only costs time."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._found: dict[str, Any] = {}
        with contextlib.suppress(OSError, ValueError):
            found = json.loads(file.read_text(encoding="utf-8"))
            self._found = found if isinstance(found, dict) else {}

    def standing(self, assignment: Assignment, digest: str) -> Standing | None:
        """Return what was found when this very folder was run, if it was."""
        try:
            found = self._found[assignment.name]
            if found["digest"] == digest:
                return Standing(assignment, float(found["points"]), frozenset(found["done"]))
        except (KeyError, TypeError, ValueError):
            pass
        return None

    def keep(self, one: Standing, digest: str) -> None:
        """Write what was found, at once: the next one can be interrupted."""
        mine = {"digest": digest, "points": one.points, "done": sorted(one.done)}
        self._found[one.assignment.name] = mine
        with contextlib.suppress(OSError):
            text = json.dumps(self._found, indent=1) + "\n"
            write_whole(self._file, text.encode())


def _digest(folder: Path) -> str:
    """Return what changes with a file of the assignment, or with the version of the course."""
    import mha_course

    made = hashlib.sha256(mha_course.__version__.encode())
    for file in sorted(folder.rglob("*")):
        name = file.relative_to(folder)
        if file.is_file() and not any(part.startswith(".") for part in name.parts):
            made.update(f"{name}\0".encode() + file.read_bytes())
    return made.hexdigest()
