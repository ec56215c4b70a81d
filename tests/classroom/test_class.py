"""A whole class is released to, graded, and given feedback by the real nbgrader commands."""

from __future__ import annotations

import csv
import html
import re
from pathlib import Path

import pytest
from course import (
    AUTOGRADED,
    BOOK_URL,
    HEADS,
    RELEASE,
    REPOSITORY,
    WRITTEN,
    Course,
    cells_by_id,
    read,
    submission,
)
from nbgrader.api import Gradebook
from points import MOST, TABLE
from students import STUDENTS

from mha_course.grading import PAGES

# What the feedback says: (student, task, words of the diagnosis, section to read)
FEEDBACK = [
    ("blank", "d_k_of_1024_by_16", "not done yet", "d-model-over-h"),
    ("blank", "split_heads", "The task is not done yet", "split-and-merge"),
    ("syntax_error", "merge_heads", "was not run, or did not get that far", "split-and-merge"),
    ("half_done", "mean_pattern", "they add up to 1.1", "the-mean-of-three-patterns"),
    ("view_split", "split_heads", "The split is view(B, h, T, d_head)", "the-view-mistake"),
    ("calls_a_wrong_one", "split_heads", "The split is view(B, h, T, d", "the-view-mistake"),
    ("calls_a_wrong_one", "multi_head", "In split_heads: The split is view(B,", "the-view-mistake"),
    ("wrong_scale", "attention_weights", "divided by √d_model", "one-average-per-query"),
    (
        "softmax_over_queries",
        "attention_weights",
        "softmax runs over the queries",
        "one-average-per-query",
    ),
    ("no_w_o", "multi_head", "output projection is missing", "a-sum-over-heads"),
    ("biases_and_h", "mha_parameters", "The count depends on h", "counting-parameters"),
    ("biases_and_h", "price_of_w_o", "what comes on top", "where-33-percent-comes-from"),
    ("no_error", "head_dim_refuses", "it must raise ValueError", "d-model-over-h"),
    ("wrong_types", "d_k_of_1024_by_16", "d_k is of type str", "d-model-over-h"),
    ("wrong_types", "head_dim", "divide with //", "d-model-over-h"),
    ("wrong_types", "attention_weights", "is a tuple of 2", "one-average-per-query"),
    ("wrong_types", "attend", "A return is missing", "one-average-per-query"),
    ("wrong_types", "split_heads", "Numbers are asked for", "split-and-merge"),
    ("wrong_types", "merge_heads", "A return is missing", "split-and-merge"),
    ("stands_alone", "attention_weights", "The scores are not scaled", "one-average-per-query"),
    ("stands_alone", "split_heads", "The columns are dealt out in turn", "split-and-merge"),
    ("slices", "mean_pattern", "These are the sums", "the-mean-of-three-patterns"),
    ("slices", "multi_head", "Each head gets a slice of the input", "split-and-merge"),
    ("slices", "head_contributions", "cut into slices of columns", "a-sum-over-heads"),
    ("tampering", "merge_heads", "without transposing back", "the-view-mistake"),
]


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Course:
    """A course whose class has been graded."""
    course = Course(tmp_path_factory.mktemp("course"), tmp_path_factory.mktemp("home"))
    course.nbgrader("generate_assignment", "heads")
    released = read(course.folder / "exercises" / "heads" / "heads.ipynb")
    solution = read(course.folder / "solutions" / "heads" / "heads.ipynb")
    for name, student in STUDENTS.items():
        course.hand_in(name, submission(released, solution, student))
    course.nbgrader("autograde", "heads")
    course.nbgrader("generate_feedback", "heads")
    course.nbgrader("export", "--to", "grades.csv")
    return course


@pytest.fixture(scope="module")
def points(course: Course) -> dict[str, dict[str, tuple[float, float]]]:
    """Points in the gradebook: student -> cell -> (points, most points)."""
    with Gradebook(f"sqlite:///{course.folder / 'gradebook.db'}") as gradebook:
        return {
            submitted.student.id: {
                grade.name: (grade.auto_score, grade.max_score)
                for grade in submitted.notebooks[0].grades
            }
            for submitted in gradebook.assignment_submissions("heads")
        }


def _one_line(text: str) -> str:
    return " ".join(text.split())


def test_the_table_covers_the_class() -> None:
    assert set(TABLE) == set(STUDENTS)
    assert all(sum(row[:-1]) == row[-1] for row in [MOST, *TABLE.values()])


@pytest.mark.parametrize("name", STUDENTS)
def test_points(name: str, points: dict[str, dict[str, tuple[float, float]]]) -> None:
    got = {
        task.name: sum(points[name][test][0] for test in task.tests) for task in HEADS.autograded
    }
    assert got == dict(zip(AUTOGRADED, TABLE[name][:-1], strict=True))
    assert [task.points for task in HEADS.autograded] == MOST[:-1]


def test_written_answers_wait_for_a_person(course: Course) -> None:
    with Gradebook(f"sqlite:///{course.folder / 'gradebook.db'}") as gradebook:
        waiting = {
            (submitted.student.id, grade.name)
            for submitted in gradebook.assignment_submissions("heads")
            for grade in submitted.notebooks[0].grades
            if grade.needs_manual_grade
        }
    written = set(WRITTEN)
    assert ("complete", WRITTEN[0]) in waiting
    assert ("half_done", WRITTEN[0]) in waiting
    # an answer that was left as it was gets 0 without anybody reading it
    assert not {("blank", task) for task in written} & waiting
    assert ("half_done", WRITTEN[1]) not in waiting


def test_exported_totals(course: Course) -> None:
    with (course.folder / "grades.csv").open() as file:
        rows = {row["student_id"]: row for row in csv.DictReader(file)}
    assert {name: float(row["score"]) for name, row in rows.items()} == {
        name: row[-1] for name, row in TABLE.items()
    }
    assert {float(row["max_score"]) for row in rows.values()} == {30.0}


@pytest.mark.parametrize(
    ("name", "task", "says", "section"), FEEDBACK, ids=[f"{f[0]}-{f[1]}" for f in FEEDBACK]
)
def test_feedback_names_the_mistake(
    course: Course, name: str, task: str, says: str, section: str
) -> None:
    graded = read(course.folder / "autograded" / name / "heads" / "heads.ipynb")
    (error,) = (
        output
        for output in cells_by_id(graded)[f"test_{task}"].outputs
        if output.output_type == "error"
    )
    message = _one_line(error.evalue)
    page = next(page for page, anchors in PAGES.items() if section in anchors)
    assert error.ename == "Diagnosis"
    assert error.traceback[0].startswith("Not passed yet in line ")
    assert says in message
    assert message.endswith(f"Read: {BOOK_URL}/chapters/{page}.html#{section}")

    feedback = (course.folder / "feedback" / name / "heads" / "heads.html").read_text()
    assert message in _one_line(html.unescape(re.sub(r"<[^>]*>", "", feedback)))


def test_feedback_shows_an_error_of_the_learners_own(course: Course) -> None:
    feedback = (course.folder / "feedback" / "syntax_error" / "heads" / "heads.html").read_text()
    text = html.unescape(re.sub(r"<[^>]*>", "", feedback))
    assert "SyntaxError" in text
    assert "name 'merge_heads' is not defined" in text


def test_feedback_keeps_the_hidden_tests_hidden(course: Course) -> None:
    graded = (course.folder / "autograded" / "view_split" / "heads" / "heads.ipynb").read_text()
    feedback = (course.folder / "feedback" / "view_split" / "heads" / "heads.html").read_text()
    text = html.unescape(re.sub(r"<[^>]*>", "", feedback))
    assert "HIDDEN TESTS" in graded
    assert "HIDDEN TESTS" not in text
    assert "grading.drawn" in graded
    assert "grading.drawn" not in text


def test_every_wrong_submission_has_its_feedback_checked() -> None:
    wrong = {name for name, row in TABLE.items() if row[-1] < MOST[-1]}
    assert wrong == {name for name, *_ in FEEDBACK}


def test_feedback_loads_nothing_from_elsewhere(course: Course) -> None:
    loads = re.compile(r"<(?:script|link|img|iframe)[^>]*(?:src|href)=[^>]*//[^>]*>")
    pages = list((course.folder / "feedback").rglob("*.html"))
    assert pages
    for path in pages:
        assert not loads.findall(path.read_text())


def test_feedback_names_no_folder_of_the_instructors_machine(course: Course) -> None:
    """The stack of a check would show where the package lies."""
    for path in (course.folder / "feedback").rglob("*.html"):
        assert str(REPOSITORY) not in path.read_text(), path.parent.parent.name


def test_validate(course: Course) -> None:
    """The button's command: silent on what is right, and it names a mistake."""
    right = [
        Path("solutions/heads/heads.ipynb"),
        Path("submitted/complete/heads/heads.ipynb"),
    ]
    said = course.nbgrader("validate", *map(str, right))
    assert said.count("Success! Your notebook passes all the tests.") == 2

    said = course.nbgrader("validate", "submitted/view_split/heads/heads.ipynb")
    assert "VALIDATION FAILED ON 1 CELL(S)" in said
    assert "only renames the axes" in _one_line(said)


def test_a_grade_can_be_made_again(course: Course, points) -> None:
    """A student's hidden tests draw the same inputs when they are graded again."""
    graded = course.folder / "autograded" / "slices" / "heads" / "heads.ipynb"
    before = read(graded)
    course.nbgrader("autograde", "heads", "--student", "slices", "--force")
    after = read(graded)
    assert after.metadata.mha_course.student_seed == before.metadata.mha_course.student_seed
    with Gradebook(f"sqlite:///{course.folder / 'gradebook.db'}") as gradebook:
        again = gradebook.find_submission("heads", "slices").notebooks[0].grades
        assert {grade.name: grade.auto_score for grade in again} == {
            name: score for name, (score, _) in points["slices"].items()
        }


def test_exercises_are_what_nbgrader_makes_of_the_solutions(course: Course) -> None:
    made = course.folder / "exercises" / "heads" / "heads.ipynb"
    assert RELEASE.exists(), "exercises/heads/heads.ipynb is missing: run `make exercises`"
    assert RELEASE.read_bytes() == made.read_bytes(), (
        "exercises/heads/heads.ipynb is not what nbgrader makes of solutions/heads/heads.ipynb: "
        "run `make exercises` and commit the result"
    )
    released = {path.name for path in RELEASE.parent.iterdir()} - {".ipynb_checkpoints"}
    assert {path.name for path in made.parent.iterdir()} == released
