"""A class of which most have handed in no notebook at all, or one that means harm.

`mha-course grade` must come to a result for everyone; what is handed in is in `hostile/files.py`.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import nbformat
import pytest
from conftest import require
from course import HEADS, SOLUTION, Course, read, submission
from hostile import files, network, processes, reading, tampering, writing
from hostile.submissions import HONEST, written
from hostile.world import SECRET, World, points_of, with_marked_tests
from nbgrader.api import Gradebook
from students import STUDENTS, Student

from mha_course.autograder.records import Records

pytestmark = pytest.mark.slow

ALL = tuple(task.name for task in HEADS.autograded)
HONEST_STUDENTS = {"honest": ALL, "another-honest": ALL}
CODE = {
    f"code-{number}": theme.BANK[0]
    for number, theme in enumerate((tampering, reading, writing, network, processes))
}
SOLVED = HONEST_STUDENTS | {
    name: one.solved for name, one in (*CODE.items(), *((one.name, one) for one in files.BANK))
}
# Each takes half a second: those that could have brought a file along, or code
WITH_FEEDBACK = [
    *(*HONEST_STUDENTS, *CODE, "empty"),
    *(one.name for one in files.BANK if one.name.startswith(("link", "folder", "odd", "modules"))),
]


class Class(NamedTuple):
    """A class that was graded, and got its feedback."""

    folder: Path
    records: dict[str, dict[str, Any]]
    said: str


@pytest.fixture(scope="module")
def graded_class(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Class]:
    require("bwrap", hint="apt install bubblewrap")
    world = World(tmp_path_factory.mktemp("world"))
    folder = tmp_path_factory.mktemp("course")
    course = Course(folder, tmp_path_factory.mktemp("home"))
    course.env["MHA_COURSE_SECRET"] = f"{SECRET}-environment"
    source = folder / "solutions" / "heads" / "heads.ipynb"
    nbformat.write(with_marked_tests(read(SOLUTION)), source)
    (source.parent / "data.json").write_text("[1, 2]")
    (folder / "secret.txt").write_text(f"{SECRET}-course")
    course.nbgrader("generate_assignment", "heads")
    made = read(folder / "exercises" / "heads" / "heads.ipynb")
    right = submission(made, read(SOLUTION), STUDENTS["complete"])
    right.cells[-1].source += f"{SECRET}-answer"
    for name in HONEST_STUDENTS:
        course.hand_in(name, right)
    good = written(submission(made, read(SOLUTION), Student("blank", HONEST)))
    for one in files.BANK:
        handed_in = folder / "submitted" / one.name / "heads"
        handed_in.mkdir(parents=True)
        one.hand_in(handed_in, good)
    for name, hostile in CODE.items():
        course.hand_in(name, nbformat.reads(hostile.make(world.places), as_version=4))
    said = course.mha_course("grade", "heads")
    others = ",".join(name for name in SOLVED if name not in WITH_FEEDBACK)
    course.nbgrader("generate_feedback", "heads", f"--CourseDirectory.student_id_exclude={others}")
    assert world.harm() == []
    world.close()
    records = Records(folder / "grading" / "heads.jsonl").graded()
    yield Class(folder, {name: one["heads"] for name, one in records.items()}, said)
    subprocess.run(["rm", "-r", folder / "submitted" / "deep"], check=True)  # pytest could not


def test_everyone_in_the_class_has_a_result(graded_class: Class) -> None:
    """Of the run that ends with exit code 0: `Course` looks at that."""
    assert set(graded_class.records) == set(SOLVED)
    assert f"{len(SOLVED)} graded" in graded_class.said
    assert "NO RESULT" not in graded_class.said


def test_the_gradebook_holds_what_was_solved(graded_class: Class) -> None:
    with Gradebook(f"sqlite:///{graded_class.folder / 'gradebook.db'}") as gradebook:
        got = {
            each.student.id: {one.name: one.auto_score for one in each.notebooks[0].grades}
            for each in gradebook.assignment_submissions("heads")
        }
    for student, solved in SOLVED.items():
        tests = {name: score for name, score in got[student].items() if name.startswith("test_")}
        assert tests == points_of(solved), student
    assert set(got) == set(SOLVED)


def test_instructors_see_what_was_odd(graded_class: Class) -> None:
    for one in files.BANK:
        found = {finding["kind"] for finding in graded_class.records[one.name]["findings"]}
        assert set(one.findings) <= found, one.name
        assert ("not-read" in found) == (not one.solved), one.name


def test_no_secret_of_the_class_is_let_out(graded_class: Class) -> None:
    folder = graded_class.folder
    assert SECRET not in (folder / "grading" / "heads.jsonl").read_text()
    for path in (*folder.glob("autograded/**/*"), *folder.glob("feedback/**/*")):
        assert path.is_dir() or path.is_file(), path
        assert not path.is_symlink(), path
        if path.is_dir():
            continue
        text = path.read_text(errors="replace")
        if path.parts[len(folder.parts) + 1] in HONEST_STUDENTS:
            text = text.replace(f"{SECRET}-answer", "")  # their own
        if path.suffix == ".ipynb":
            text = text.replace(f"hidden = '{SECRET}-hidden'", "")  # in the tests themselves
        assert SECRET not in text, path
        assert "root:x:0:0" not in text, path
    assert sum(path.stat().st_size for path in folder.glob("autograded/**/*")) < 50_000_000


def test_feedback_is_made_of_all_that(graded_class: Class) -> None:
    for student in WITH_FEEDBACK:
        page = graded_class.folder / "feedback" / student / "heads" / "heads.html"
        assert "Heads: from one attention pattern to many" in page.read_text(), student
