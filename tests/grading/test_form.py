"""The rubric of a written answer is added up as a person would."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mha_course.grading.assignment import Assignment, read_assignment
from mha_course.grading.form import form

ROOT = Path(__file__).parents[2]
RELEASE = read_assignment(ROOT / "exercises" / "heads" / "heads.ipynb")


@pytest.fixture
def heads() -> Assignment:
    return read_assignment(ROOT / "solutions" / "heads" / "heads.ipynb")


def with_rubric(assignment: Assignment, points: list[str]) -> list[str]:
    """Give the first written answer, of 3 points, such a rubric; return what is wrong with it."""
    task = assignment.written[0]
    assert task.points == 3
    cell = assignment.cells()[task.name]
    rest = re.sub(r"^\| 1 \|.*\n", "", cell.source, flags=re.MULTILINE)
    rows = "".join(f"|{each}| a reason |\n" for each in points)
    cell.source = rest.replace("|---|---|\n", f"|---|---|\n{rows}")
    assert cell.source != rest
    return [says for says in form(assignment, RELEASE) if says.startswith("the rubric")]


@pytest.mark.parametrize(
    "points",
    [
        [" 1 "] * 3,
        ["1", " 1", "  1\t"],
        [" 0.7 ", " 0.2 ", " 0.1 ", " 2 "],
        [" .5 ", " 1. ", " 1.5 "],
        [" 0.1 "] * 30,
    ],
)
def test_a_rubric_that_gives_the_points_of_its_card(heads: Assignment, points: list[str]) -> None:
    assert with_rubric(heads, points) == []


@pytest.mark.parametrize(
    ("points", "given"), [([" 1 "] * 4, "4"), (["2.99"], "2.99"), ([" . ", "1.2.3", "x"], "0")]
)
def test_a_rubric_that_gives_other_points(heads: Assignment, points: list[str], given: str) -> None:
    (says,) = with_rubric(heads, points)
    assert says.endswith(f"gives {given} points, its card 3")
