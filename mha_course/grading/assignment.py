"""An assignment as its notebook describes it: tasks, cards, points, minutes.

The notebook is the only place where these stand. A task is a card (a locked cell that begins with
`## Task 3 · Title` or `## Written task 1 · Title`), a solution cell, and for a task that is graded
automatically one or more test cells below it, each of which gives its points or none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import nbformat
from nbformat import NotebookNode

from mha_course.grading.book import page_of

DIFFICULTIES = ("easy", "medium", "hard")
IMPORTANCES = ("medium", "high")
_HEADING = re.compile(r"^## ((?:Written task|Task) \d+) · (.+)$", re.MULTILINE)
_FACTS = re.compile(
    r"^\*\*(\d+) points?\*\* · difficulty: (\w+) · importance: (\w+) · about (\d+) minutes$",
    re.MULTILINE,
)
_NEEDS = re.compile(r"^\*\*You need:\*\* (.+)$", re.MULTILINE)
_HINT = re.compile(r"<details>\s*<summary>(.+?)</summary>", re.DOTALL)


class Task(NamedTuple):
    """One task.

    Attributes:
        name: grade_id of its solution cell.
        number: As the card says: "Task 3".
        title: What the task is called.
        points: Most points, of the card.
        difficulty: One of DIFFICULTIES.
        importance: One of IMPORTANCES.
        minutes: About how long it takes.
        needs: What to know or to have done first.
        hints: Titles of the folded hints.
        tests: grade_id of each of its test cells; none for a written task.
        pages: Chapters that it belongs to, as its tests or its card point to them.
    """

    name: str
    number: str
    title: str
    points: int
    difficulty: str
    importance: str
    minutes: int
    needs: str
    hints: tuple[str, ...]
    tests: tuple[str, ...]
    pages: tuple[str, ...]

    @property
    def written(self) -> bool:
        """Whether a person grades it."""
        return not self.tests


class Assignment(NamedTuple):
    """A notebook with tasks.

    Attributes:
        name: Name of the notebook and of its folder.
        title: Its first heading.
        path: Where it was read.
        notebook: The whole notebook.
        tasks: In the notebook's order.
    """

    name: str
    title: str
    path: Path
    notebook: NotebookNode
    tasks: tuple[Task, ...]

    @property
    def autograded(self) -> tuple[Task, ...]:
        """The tasks that tests grade."""
        return tuple(task for task in self.tasks if not task.written)

    @property
    def written(self) -> tuple[Task, ...]:
        """The tasks that a person grades."""
        return tuple(task for task in self.tasks if task.written)

    @property
    def points(self) -> int:
        """Points of all tasks."""
        return sum(task.points for task in self.tasks)

    @property
    def minutes(self) -> int:
        """Minutes for all tasks."""
        return sum(task.minutes for task in self.tasks)

    def cells(self) -> dict[str, NotebookNode]:
        """Return the cells by grade_id."""
        return {grade_id(cell): cell for cell in self.notebook.cells if grade_id(cell)}


def read_assignment(path: str | Path) -> Assignment:
    """Read an assignment's notebook, source or release.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no notebook, or a task in it is incomplete; the message says which.
    """
    path = Path(path)
    try:
        notebook = nbformat.read(path, as_version=4)
    except FileNotFoundError:
        raise
    except Exception as error:
        raise ValueError(f"{path} is not a notebook: {error}") from error
    heading = re.search(r"^# (.+)$", notebook.cells[0].source if notebook.cells else "", re.M)
    if heading is None:
        raise ValueError(f"{path}: the first cell has no heading `# Title`")
    try:
        tasks = tuple(_task(cells) for cells in _by_card(notebook.cells))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return Assignment(path.stem, heading[1], path, notebook, tasks)


def read_assignments(folder: str | Path) -> list[Assignment]:
    """Read all assignments of a folder with one folder for each, in the order of the book.

    Raises:
        ValueError: there is none, or one is incomplete.
    """
    paths = [path / f"{path.name}.ipynb" for path in sorted(Path(folder).glob("*"))]
    found = [read_assignment(path) for path in paths if path.is_file()]
    if not found:
        raise ValueError(f"{folder} holds no assignment NAME/NAME.ipynb")
    known = [*ORDER, *sorted(one.name for one in found if one.name not in ORDER)]
    return sorted(found, key=lambda one: known.index(one.name))


ORDER = ("heads", "masks-and-modules", "counting", "patterns", "redundancy", "experiment")
"""The order in which the book gives them; others come after."""


def grade_id(cell: NotebookNode) -> str:
    """Return what nbgrader knows a cell by; empty for a cell that it does not know."""
    return str(cell.metadata.get("nbgrader", {}).get("grade_id", ""))


def _by_card(cells: Sequence[NotebookNode]) -> list[list[NotebookNode]]:
    """Return the card and what follows it up to the next card, for each card."""
    found: list[list[NotebookNode]] = []
    for cell in cells:
        if cell.cell_type == "markdown" and _HEADING.match(cell.source):
            found.append([])
        if found:
            found[-1].append(cell)
    return found


def _task(cells: Sequence[NotebookNode]) -> Task:
    """Read a task from its card and the cells below it."""
    card = cells[0].source
    heading = _HEADING.match(card)
    assert heading is not None  # _by_card looked
    number, title = heading[1], heading[2].strip()
    facts = _FACTS.search(card)
    if facts is None:
        raise ValueError(
            f"{number}: its card lacks the line "
            "`**2 points** · difficulty: easy · importance: high · about 5 minutes`"
        )
    if facts[2] not in DIFFICULTIES or facts[3] not in IMPORTANCES:
        raise ValueError(
            f"{number}: difficulty is one of {', '.join(DIFFICULTIES)}, importance one of "
            f"{', '.join(IMPORTANCES)}; the card says {facts[2]} and {facts[3]}"
        )
    solutions = [cell for cell in cells if cell.metadata.get("nbgrader", {}).get("solution")]
    if len(solutions) != 1:
        raise ValueError(f"{number}: it has {len(solutions)} solution cells, and needs one")
    graded = [cell for cell in cells if cell.metadata.get("nbgrader", {}).get("grade")]
    tests = [cell for cell in graded if cell not in solutions]
    points = sum(cell.metadata.nbgrader.points for cell in graded)
    if points != int(facts[1]):
        raise ValueError(f"{number}: its card says {facts[1]} points, its cells give {points}")
    needs = _NEEDS.search(card)
    return Task(
        name=grade_id(solutions[0]),
        number=number,
        title=title,
        points=int(facts[1]),
        difficulty=facts[2],
        importance=facts[3],
        minutes=int(facts[4]),
        needs=needs[1].strip() if needs else "",
        hints=tuple(hint.strip() for hint in _HINT.findall(card)),
        tests=tuple(map(grade_id, tests)),
        pages=_pages(card, [cell.source for cell in tests]),
    )


def _pages(card: str, tests: Sequence[str]) -> tuple[str, ...]:
    """Return the chapters that a card links to, or else those of the sections to read."""
    linked = re.findall(r"\]\(\.\./\.\./chapters/([a-z0-9-]+)\.md", card)
    read = [anchor for source in tests for anchor in re.findall(r'read="([a-z0-9-]+)"', source)]
    found = linked or [page_of(anchor) for anchor in read]
    return tuple(dict.fromkeys(found))
