"""A course that has begun with one version of the public course, and goes on with the next one."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import nbformat
import pytest
from conftest import require
from course import REPOSITORY, WRITTEN, Course, cells_by_id, read, submission
from nbgrader.api import Gradebook
from points import TABLE
from students import STUDENTS

from mha_course import __version__

pytestmark = pytest.mark.slow

BEFORE = "0.0.1"
CLASS = ("complete", "half_done")
OLD, MINE = "The text of the version before.", "A remark of my own."


def edited(notebook: Path, text: str) -> None:
    """Put a sentence into the first cell."""
    content = read(notebook)
    content.cells[0].source += f"\n\n{text}"
    nbformat.write(content, notebook)


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout of the version before: its assignments are others, and so is its number."""
    folder = tmp_path_factory.mktemp("before") / "public"
    wanted = ("mha_course", "solutions", "nbgrader_config.py")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", *wanted],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, folder / name)
    package = folder / "mha_course" / "__init__.py"
    text = package.read_text("utf-8")
    assert f'__version__ = "{__version__}"' in text
    package.write_text(text.replace(f'"{__version__}"', f'"{BEFORE}"'), encoding="utf-8")
    for name in ("heads", "counting"):
        edited(folder / "solutions" / name / f"{name}.ipynb", OLD)
    return folder


class Upgraded(Course):
    """A private course, whose commands are those of one version or of the other."""

    def __init__(self, scratch: Path, before: Path) -> None:
        public, home = scratch / "public", scratch / "home"
        for folder in (public, home):
            folder.mkdir()
        super().__init__(public, home)
        self.public, self.mine = before, scratch / "mine"
        self.folder = before
        self.env["PYTHONPATH"] = str(before)

    def upgrade(self) -> str:
        """Take the version of today, and return what `update-course` says."""
        self.public, self.folder = REPOSITORY, REPOSITORY
        del self.env["PYTHONPATH"]
        said = self.mha_course("update-course", str(self.mine))
        self.folder = self.mine
        return said

    def submitted(self) -> dict[Path, bytes]:
        return {p: p.read_bytes() for p in (self.mine / "submitted").rglob("*") if p.is_file()}

    def points(self) -> dict[str, float]:
        with Gradebook(f"sqlite:///{self.mine}/gradebook.db", self.directory_id) as gradebook:
            return {one.student.id: one.score for one in gradebook.assignment_submissions("heads")}

    directory_id = "multi-head-attention"


def test_gradebook_and_submissions_outlive_an_upgrade(tmp_path: Path, before: Path) -> None:
    require("bwrap", hint="apt install bubblewrap")
    course = Upgraded(tmp_path, before)
    (tmp_path / "class.csv").write_text("id,first_name\n" + "".join(f"{s},Ada\n" for s in CLASS))
    course.mha_course("init-course", str(course.mine), "--students", str(tmp_path / "class.csv"))
    course.folder = course.mine
    course.nbgrader("generate_assignment", "heads")
    released, solution = (
        read(course.mine / kind / "heads" / "heads.ipynb") for kind in ("exercises", "solutions")
    )
    assert OLD in released.cells[0].source
    for student in CLASS:
        course.hand_in(student, submission(released, solution, STUDENTS[student]))
    course.mha_course("grade", "heads", "--workers", "1")
    by_tests = {student: TABLE[student][-1] for student in CLASS}
    assert course.points() == by_tests
    url = f"sqlite:///{course.mine}/gradebook.db"
    with Gradebook(url, course.directory_id) as gradebook:
        grade = gradebook.find_grade(WRITTEN[0], "heads", "heads", "complete")
        grade.manual_score, grade.needs_manual_grade = 2, False
        comment = gradebook.find_comment(WRITTEN[0], "heads", "heads", "complete")
        comment.manual_comment = "Well said."
        gradebook.db.commit()
    with_hand = {**by_tests, "complete": by_tests["complete"] + 2}
    edited(course.mine / "solutions" / "counting" / "counting.ipynb", MINE)
    submitted, secret = course.submitted(), (course.mine / ".course-secret").read_bytes()

    said = course.upgrade()

    assert f"from version {BEFORE} to {__version__}" in said
    assert "replaced, for you have not touched it: solutions/heads/heads.ipynb" in said
    assert "solutions/counting/counting.ipynb stays as you made it" in said
    assert MINE in read(course.mine / "solutions" / "counting" / "counting.ipynb").cells[0].source
    new = read(course.mine / "solutions" / "heads" / "heads.ipynb")
    assert OLD not in new.cells[0].source
    assert course.submitted() == submitted
    assert (course.mine / ".course-secret").read_bytes() == secret
    assert course.points() == with_hand

    # as it says: generate the release, then grade again
    course.nbgrader("generate_assignment", "heads", "--force")
    said = course.mha_course("grade", "heads", "--workers", "1", "--force")
    assert re.search(r"heads: 2 graded", said)
    assert course.points() == with_hand
    with Gradebook(url, course.directory_id) as gradebook:
        assert {student.first_name for student in gradebook.students} == {"Ada"}
        comment = gradebook.find_comment(WRITTEN[0], "heads", "heads", "complete")
        assert comment.comment == "Well said."
    graded = read(course.mine / "autograded" / "complete" / "heads" / "heads.ipynb")
    assert set(cells_by_id(graded)) == set(cells_by_id(new))
    assert course.submitted() == submitted
    assert "written:" in course.mha_course("report", "heads")
