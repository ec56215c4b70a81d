"""What stands in the notebooks: cards, metadata, locks, links, nothing given away."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from course import ASSIGNMENTS, RELEASES, REPOSITORY, cells_by_id

from mha_course.grading import PAGES
from mha_course.grading.assignment import Assignment
from mha_course.grading.sitting import without_hidden_tests

HINTS = ("Hint 1: a nudge", "Hint 2: the approach", "Hint 3: nearly there")
WORDS = ("zero", "one", "two", "three", "four", "five")
NOTEBOOKS = [
    pytest.param(one, id=f"{kind}-{one.name}")
    for kind, found in (("solution", ASSIGNMENTS), ("release", RELEASES))
    for one in found.values()
]
SOLUTIONS = [pytest.param(one, id=one.name) for one in ASSIGNMENTS.values()]


def _slug(task: str) -> str:
    return task.replace("_", "-")


@pytest.mark.parametrize("assignment", NOTEBOOKS)
def test_cards_say_what_the_metadata_says(assignment: Assignment) -> None:
    """Reading it has compared the points of each card with those of its cells."""
    for number, task in enumerate(assignment.autograded, start=1):
        assert task.number == f"Task {number}"
        assert task.hints == HINTS, task.name
    for number, task in enumerate(assignment.written, start=1):
        assert task.number == f"Written task {number}"
    assert all(task.needs for task in assignment.tasks)
    for task in assignment.tasks:
        assert f"card-{_slug(task.name)}" in assignment.cells()

    start = assignment.notebook.cells[0].source
    by_tests = sum(task.points for task in assignment.autograded)
    by_hand = assignment.points - by_tests
    tasks = WORDS[len(assignment.written)]
    assert f"about {assignment.minutes} minutes in all" in start
    assert (
        f"**Points:** {assignment.points}. The tests give {by_tests} for tasks 1 to "
        f"{len(assignment.autograded)}; your instructor gives {by_hand} for the {tasks} written "
        "tasks." in start
    )


@pytest.mark.parametrize("assignment", NOTEBOOKS)
def test_parts_of_a_task_say_their_points(assignment: Assignment) -> None:
    cells = assignment.cells()
    for task in assignment.autograded:
        if len(task.tests) > 1:
            card = cells[f"card-{_slug(task.name)}"].source
            stated = re.search(r"^\*\*Points:\*\* (.+)$", card, re.MULTILINE)
            assert stated, f"{task.name} has several tests, and no line **Points:**"
            points = [int(cells[name].metadata.nbgrader.points) for name in task.tests]
            assert sorted(map(int, re.findall(r"(\d+) for", stated[1]))) == sorted(points)


@pytest.mark.parametrize("assignment", NOTEBOOKS)
def test_cells_are_marked_as_they_should_be(assignment: Assignment) -> None:
    cells = cells_by_id(assignment.notebook)
    for task in assignment.autograded:
        answer = cells[task.name].metadata.nbgrader
        assert (answer.grade, answer.locked, answer.solution) == (False, False, True)
        for name in task.tests:
            test = cells[name].metadata.nbgrader
            assert (test.grade, test.locked, test.solution) == (True, True, False)
            assert name.startswith(f"test_{task.name}")
    for task in assignment.written:
        answer = cells[task.name].metadata.nbgrader
        assert (answer.grade, answer.locked, answer.solution) == (True, False, True)
    tests = {name for task in assignment.tasks for name in task.tests}
    graded = {name for name, cell in cells.items() if cell.metadata.nbgrader.grade}
    assert graded == tests | {task.name for task in assignment.written}
    rest = set(cells) - graded - {task.name for task in assignment.autograded}
    assert all(cells[name].metadata.nbgrader.locked for name in rest)
    notebook = assignment.notebook
    assert len(cells) == len(notebook.cells), "a cell is without metadata, or two share a grade_id"
    assert all(cell.metadata.nbgrader.schema_version == 3 for cell in notebook.cells)


@pytest.mark.parametrize("assignment", NOTEBOOKS)
def test_ids_are_stable_and_outputs_are_empty(assignment: Assignment) -> None:
    notebook = assignment.notebook
    ids = [cell.id for cell in notebook.cells]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-z]+[a-z0-9-]*", name) for name in ids)
    assert all(not cell.outputs for cell in notebook.cells if cell.cell_type == "code")
    assert notebook.metadata.kernelspec.name == "python3"


@pytest.mark.parametrize("assignment", SOLUTIONS)
def test_the_release_gives_nothing_away(assignment: Assignment) -> None:
    released = RELEASES[assignment.name]
    text = released.path.read_text()
    for word in ("SOLUTION", "HIDDEN", "Model answer", "| Points | For |", "grading.drawn"):
        assert word not in text, f"{word!r} is in the released notebook"
    for task in assignment.written:
        assert "Model answer" in assignment.cells()[task.name].source
        assert "| Points | For |" in assignment.cells()[task.name].source


@pytest.mark.parametrize("assignment", SOLUTIONS)
def test_rubrics_add_up(assignment: Assignment) -> None:
    for task in assignment.written:
        rubric = assignment.cells()[task.name].source
        points = [float(row) for row in re.findall(r"^\| ([\d.]+) \|", rubric, re.MULTILINE)]
        assert sum(points) == task.points, f"the rubric of {task.name} gives {points}"


@pytest.mark.parametrize("assignment", SOLUTIONS)
def test_learners_cannot_edit_or_delete_a_test(assignment: Assignment) -> None:
    cells = RELEASES[assignment.name].cells()
    for task in assignment.autograded:
        for name in task.tests:
            assert (cells[name].metadata.editable, cells[name].metadata.deletable) == (False, False)


@pytest.mark.parametrize("assignment", SOLUTIONS)
def test_every_function_meets_hidden_tests_too(assignment: Assignment) -> None:
    """Where a number is asked for, there is nothing left to hide once it is right."""
    released = RELEASES[assignment.name].cells()
    for task in assignment.autograded:
        function = re.search(r"^(def|class) ", assignment.cells()[task.name].source, re.MULTILINE)
        for name in task.tests:
            source = assignment.cells()[name].source
            assert released[name].source == without_hidden_tests(source).rstrip("\n")
            assert "check" in released[name].source
            assert ("### BEGIN HIDDEN TESTS" in source) or not function, name


@pytest.mark.parametrize("assignment", NOTEBOOKS)
def test_links_lead_to_files(assignment: Assignment) -> None:
    text = "\n".join(cell.source for cell in assignment.notebook.cells)
    targets = re.findall(r"\]\(([^)#]+)", text)
    assert targets
    for target in targets:
        path = (assignment.path.parent / target).resolve()
        assert path.is_file(), f"{target} does not exist"
        assert path.is_relative_to(REPOSITORY)


@pytest.mark.parametrize("page", PAGES)
def test_sections_exist_in_the_chapters(page: str) -> None:
    chapter = (REPOSITORY / "chapters" / f"{page}.md").read_text()
    missing = [a for a in PAGES[page] if not re.search(rf"^\({a}\)=$", chapter, re.MULTILINE)]
    assert not missing, f"chapters/{page}.md lacks the labels {missing}"


@pytest.mark.parametrize("assignment", SOLUTIONS)
def test_the_same_files_lie_beside_source_and_release(assignment: Assignment) -> None:
    def files(folder: Path) -> dict[str, bytes]:
        return {
            path.name: path.read_bytes()
            for path in folder.iterdir()
            if path.is_file() and path.suffix != ".ipynb"
        }

    assert files(assignment.path.parent) == files(RELEASES[assignment.name].path.parent)
