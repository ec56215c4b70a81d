"""What stands in the notebooks: cards, metadata, locks, links, nothing given away."""

from __future__ import annotations

import re

import pytest
from course import AUTOGRADED, RELEASE, REPOSITORY, SOLUTION, WRITTEN, cells_by_id, read

NOTEBOOKS = [pytest.param(SOLUTION, id="solution"), pytest.param(RELEASE, id="release")]


def _slug(task: str) -> str:
    return task.replace("_", "-")


@pytest.mark.parametrize("path", NOTEBOOKS)
def test_cards_say_what_the_metadata_says(path) -> None:
    notebook = read(path)
    cells = cells_by_id(notebook)
    minutes = total = 0
    for number, task in enumerate((*AUTOGRADED, *WRITTEN), start=1):
        card = cells[f"card-{_slug(task)}"].source
        heading = f"## Task {number} · " if task in AUTOGRADED else "## Written task "
        assert card.startswith(heading)
        stated = re.search(
            r"^\*\*(\d+) points?\*\* · difficulty: (easy|medium|hard) · "
            r"importance: (medium|high) · about (\d+) minutes$",
            card,
            flags=re.MULTILINE,
        )
        assert stated, f"the card of {task} lacks points, difficulty, importance or minutes"
        graded = cells[f"test_{task}" if task in AUTOGRADED else task]
        assert int(stated[1]) == graded.metadata.nbgrader.points
        total += int(stated[1])
        minutes += int(stated[4])

    start = notebook.cells[0].source
    by_tests = sum(cells[f"test_{task}"].metadata.nbgrader.points for task in AUTOGRADED)
    assert f"about {minutes} minutes in all" in start
    assert f"**Points:** {total}. The tests give {by_tests} " in start
    assert f"gives {total - by_tests} for the two written tasks" in start


@pytest.mark.parametrize("path", NOTEBOOKS)
def test_cells_are_marked_as_they_should_be(path) -> None:
    notebook = read(path)
    cells = cells_by_id(notebook)
    for task in AUTOGRADED:
        test, answer = (cells[name].metadata.nbgrader for name in (f"test_{task}", task))
        assert (test.grade, test.locked, test.solution) == (True, True, False)
        assert (answer.grade, answer.locked, answer.solution) == (False, False, True)
    for task in WRITTEN:
        answer = cells[task].metadata.nbgrader
        assert (answer.grade, answer.locked, answer.solution) == (True, False, True)
    graded = {name for name, cell in cells.items() if cell.metadata.nbgrader.grade}
    assert graded == {*WRITTEN, *(f"test_{task}" for task in AUTOGRADED)}
    rest = set(cells) - graded - set(AUTOGRADED)
    assert all(cells[name].metadata.nbgrader.locked for name in rest)
    assert len(cells) == len(notebook.cells), "a cell is without metadata, or two share a grade_id"
    assert all(cell.metadata.nbgrader.schema_version == 3 for cell in notebook.cells)


@pytest.mark.parametrize("path", NOTEBOOKS)
def test_ids_are_stable_and_outputs_are_empty(path) -> None:
    notebook = read(path)
    ids = [cell.id for cell in notebook.cells]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-z]+[a-z0-9-]*", name) for name in ids)
    assert all(not cell.outputs for cell in notebook.cells if cell.cell_type == "code")
    assert notebook.metadata.kernelspec.name == "python3"


def test_the_release_gives_nothing_away() -> None:
    text = RELEASE.read_text()
    for word in ("SOLUTION", "HIDDEN", "Model answer", "| Points | For |", "seed=32", "8192"):
        assert word not in text, f"{word!r} is in the released notebook"


def test_learners_cannot_edit_or_delete_a_test() -> None:
    cells = cells_by_id(read(RELEASE))
    for task in AUTOGRADED:
        metadata = cells[f"test_{task}"].metadata
        assert (metadata.editable, metadata.deletable) == (False, False)


def test_every_test_cell_has_visible_and_mostly_hidden_tests() -> None:
    solved, released = cells_by_id(read(SOLUTION)), cells_by_id(read(RELEASE))
    # task 1 asks for two numbers: once they are right there is nothing left to hide
    for task in AUTOGRADED[1:]:
        if task == "price_of_w_o":
            continue
        name = f"test_{task}"
        assert "### BEGIN HIDDEN TESTS" in solved[name].source
        assert len(released[name].source) < len(solved[name].source)
    for task in AUTOGRADED:
        assert "check" in released[f"test_{task}"].source


@pytest.mark.parametrize("path", NOTEBOOKS)
def test_links_lead_to_files(path) -> None:
    targets = re.findall(r"\]\(([^)#]+)", "\n".join(cell.source for cell in read(path).cells))
    assert targets
    for target in targets:
        assert (path.parent / target).resolve().is_file(), f"{target} does not exist"
        assert (path.parent / target).resolve().is_relative_to(REPOSITORY)


def test_sections_exist_in_the_chapters() -> None:
    from mha_course.grading import PAGES

    for page, anchors in PAGES.items():
        chapter = (REPOSITORY / "chapters" / f"{page}.md").read_text()
        missing = [a for a in anchors if not re.search(rf"^\({a}\)=$", chapter, re.MULTILINE)]
        assert not missing, f"chapters/{page}.md lacks the labels {missing}"
