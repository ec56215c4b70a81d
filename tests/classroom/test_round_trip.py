"""All assignments through the real nbgrader: released, graded, with the points we expect.

For each of them four students hand in: the solution, nothing, a wrong answer to every task, and a
right one in another style to every task. nbgrader must give the points that our own quick runner
gives, on which the audit of the exercises rests.
"""

from __future__ import annotations

import copy

import pytest
from course import ASSIGNMENTS, REPOSITORY, Course, read, submission
from nbformat import NotebookNode
from nbgrader.api import Gradebook
from students import Student

from mha_course.grading.assignment import Assignment
from mha_course.grading.bank import bank_file, read_bank
from mha_course.grading.sitting import sit

pytestmark = pytest.mark.slow

BANKS = REPOSITORY / "tests" / "exercises"


def answers(name: str) -> dict[str, dict[str, str]]:
    """Answers to the tasks of an assignment, by student."""
    bank = read_bank(bank_file(name, BANKS))
    found: dict[str, dict[str, str]] = {"solver": {}, "misled": {}, "stylist": {}}
    for wrong in bank.wrong:
        found["misled"].setdefault(wrong.task, wrong.code)
    for right in bank.right:
        found["stylist"].setdefault(right.task, right.code)
    return found


@pytest.fixture(scope="module", params=[name for name in ASSIGNMENTS if name != "heads"])
def graded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Course:
    """A course in which one assignment has been released, handed in and graded."""
    folders = tmp_path_factory.mktemp("course"), tmp_path_factory.mktemp("home")
    course = Course(*folders, request.param)
    course.nbgrader("generate_assignment", request.param)
    released = read(course.folder / "exercises" / request.param / f"{request.param}.ipynb")
    solution = ASSIGNMENTS[request.param].notebook
    for name, given in answers(request.param).items():
        notebook = submission(released, solution, Student(answers=given))
        course.hand_in(name, notebook)
    course.hand_in("idle", copy.deepcopy(released))
    course.nbgrader("autograde", request.param)
    return course


def points(course: Course, student: str) -> dict[str, float]:
    """Points in the gradebook, by test cell."""
    tests = {test for task in ASSIGNMENTS[course.assignment].tasks for test in task.tests}
    with Gradebook(f"sqlite:///{course.folder / 'gradebook.db'}") as gradebook:
        submitted = gradebook.find_submission(course.assignment, student)
        return {
            grade.name: grade.auto_score
            for grade in submitted.notebooks[0].grades
            if grade.name in tests
        }


def expected(assignment: Assignment, given: dict[str, str]) -> dict[str, float]:
    cells = assignment.cells()
    return {
        name: float(cells[name].metadata.nbgrader.points) if outcome.passed else 0.0
        for name, outcome in sit(assignment, given).items()
    }


@pytest.mark.parametrize("student", ["solver", "misled", "stylist"])
def test_points_are_those_of_the_quick_runner(graded: Course, student: str) -> None:
    assignment = ASSIGNMENTS[graded.assignment]
    given = answers(assignment.name)[student]
    assert points(graded, student) == expected(assignment, given)


def test_the_solution_gets_everything_and_a_blank_nothing(graded: Course) -> None:
    assignment = ASSIGNMENTS[graded.assignment]
    most = sum(task.points for task in assignment.autograded)
    assert sum(points(graded, "solver").values()) == most
    assert sum(points(graded, "stylist").values()) == most
    assert sum(points(graded, "idle").values()) == 0


def test_written_answers_wait_for_a_person(graded: Course) -> None:
    written = {task.name for task in ASSIGNMENTS[graded.assignment].written}
    with Gradebook(f"sqlite:///{graded.folder / 'gradebook.db'}") as gradebook:
        waiting = {
            (student, grade.name)
            for student in ("solver", "idle")
            for grade in gradebook.find_submission(graded.assignment, student).notebooks[0].grades
            if grade.needs_manual_grade
        }
    assert waiting == {("solver", name) for name in written}


def test_the_release_is_what_nbgrader_makes_of_the_solution(graded: Course) -> None:
    name = graded.assignment
    made, here = (
        folder / "exercises" / name / f"{name}.ipynb" for folder in (graded.folder, REPOSITORY)
    )
    assert made.read_bytes() == here.read_bytes(), "run `make exercises` and commit the result"


def test_every_student_has_a_seed_of_their_own(graded: Course) -> None:
    def notebook(student: str) -> NotebookNode:
        name = graded.assignment
        return read(graded.folder / "autograded" / student / name / f"{name}.ipynb")

    seeds = {
        student: notebook(student).metadata.mha_course.student_seed
        for student in ("solver", "misled", "stylist", "idle")
    }
    assert len(set(seeds.values())) == 4
    secret = graded.folder / ".course-secret"
    assert secret.stat().st_mode & 0o077 == 0, "others can read the secret"
    assert all(secret.read_text().strip() not in str(notebook(student)) for student in seeds)
