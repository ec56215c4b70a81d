"""The points of ours are those of `nbgrader autograde` as it comes, but where there is a reason.

All of it is compared by `python -m benchmarks.same_grades`, which takes minutes: what nbgrader gave
then is in its results. Here ours grades a part again, and nbgrader its own example.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import require

from benchmarks import same_grades
from benchmarks.same_grades import EXAMPLE, NAMES, ORDER, ORDINARY, Points, make_class
from mha_course.autograder.grader import Grader
from mha_course.autograder.job import Settings
from mha_course.grading.bank import bank_file, read_bank

BANKS = Path(__file__).parents[1] / "exercises"


@pytest.fixture(scope="module")
def results() -> dict[str, Any]:
    return same_grades.read_results()


@pytest.fixture(scope="module")
def grader() -> Iterator[Grader]:
    require("bwrap", hint="apt install bubblewrap")
    with Grader(Settings(cell_seconds=same_grades.CELL_SECONDS)) as one:
        yield one


def stock(results: dict[str, Any], name: str) -> dict[str, Points]:
    """Return the points that nbgrader gave a class, which must be the one of today."""
    again = f"python -m benchmarks.same_grades {name} --json benchmarks/results/same-grades.json"
    written = results["classes"][name]
    assert written["fingerprint"] == make_class(name).fingerprint(), f"it was changed: run {again}"
    points: dict[str, Points] = written["stock"]
    return points


@pytest.mark.parametrize("name", NAMES)
def test_every_difference_has_a_reason(name: str, results: dict[str, Any]) -> None:
    points, each = stock(results, name), make_class(name)
    written = results["classes"][name]
    assert set(points) == set(each.handed_in)
    assert written["cells"] == sum(map(len, points.values()))
    assert written["no reason"] == 0
    assert all(one["reason"] for one in written["differences"])
    assert written["equal"] + len(written["differences"]) == written["cells"]


@pytest.mark.parametrize("name", ORDER)
def test_every_answer_of_the_bank_is_in_a_notebook(name: str) -> None:
    bank = read_bank(bank_file(name, BANKS))
    handed_in = make_class(name).handed_in.values()
    sources = {cell.source for notebooks in handed_in for cell in notebooks[name].cells}
    assert {one.code for one in (*bank.wrong, *bank.right)} <= sources


@pytest.mark.parametrize("name", ORDER)
def test_answers_of_the_bank(name: str, results: dict[str, Any], grader: Grader) -> None:
    student, expected = a_mixture(stock(results, name))
    assert same_grades.graded_here(make_class(name), student, grader) == expected


def a_mixture(points: dict[str, Points]) -> tuple[str, Points]:
    """Return a student with right answers and wrong ones: about half of the points."""
    most = max(total(each) for each in points.values())
    student = min(sorted(points), key=lambda one: abs(total(points[one]) - most / 2))
    assert 0 < total(points[student]) < most
    return student, points[student]


def total(points: Points) -> float:
    return sum(score or 0 for score in points.values())


@pytest.mark.parametrize("answers", ["right", "wrong"])
def test_ordinary_cells(answers: str, results: dict[str, Any], grader: Grader) -> None:
    each = make_class(ORDINARY)
    expected = stock(results, ORDINARY)[answers]
    got = same_grades.graded_here(each, answers, grader)
    assert got.keys() == expected.keys()
    differing = {cell for cell in expected if got[cell] != expected[cell]}
    assert differing == {cell for student, cell in each.reasons if student == answers}


def test_ordinary_cells_tell_right_from_wrong(results: dict[str, Any]) -> None:
    """With nbgrader: a test that gives all the same would compare nothing."""
    points = stock(results, ORDINARY)
    by_hand = {
        "ordinary/test_warning_in_the_answer",
        "ordinary/test_current_axes_of_a_cell",  # nothing is drawn on any more, after a cell
        "ordinary/test_error_in_the_answer",  # what was defined before the error counts
    }
    same = {cell for cell, score in points["right"].items() if points["wrong"][cell] == score}
    assert same <= by_hand


@pytest.mark.weekly  # it changes with nbgrader
def test_the_example_of_nbgraders_documentation(tmp_path: Path, grader: Grader) -> None:
    """With both: what nbgrader gives is not taken from the results."""
    each = make_class(EXAMPLE)
    expected = same_grades.stock_points(each, tmp_path, workers=1)
    assert set(expected) == {"bitdiddle", "hacker"}
    for student, points in expected.items():
        got = same_grades.graded_here(each, student, grader)
        assert len(got) == 8
        assert {cell: points[cell] for cell in got} == got
    assert expected["hacker"]["problem1/correct_squares"] == 1
    assert expected["bitdiddle"]["problem1/correct_squares"] == 0  # it had commented the test out
    assert expected["hacker"]["problem1/sum_of_squares_uses_squares"] == 0.5
