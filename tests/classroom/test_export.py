"""Grades for Canvas and Moodle: what their importers need, and nothing that is not so."""

from __future__ import annotations

import csv
import io
import logging
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from course import REPOSITORY
from nbgrader.api import Gradebook
from sqlalchemy.exc import SAWarning
from traitlets.config import Config

from mha_course.autograder.course import Course
from mha_course.autograder.recorder import digest
from mha_course.autograder.records import GRADED, WANTED
from mha_course.classroom.export import CanvasExporter, MoodleExporter
from mha_course.classroom.late import LatePolicy

HANDED_IN = datetime(2026, 11, 2)


def add(
    gradebook: Gradebook, student: str, tests: float, written: float | None, **fields: str
) -> None:
    """Add a student who has handed in `heads`; `written` is None as long as nobody has read it."""
    gradebook.update_or_create_student(student, **fields)
    with warnings.catch_warnings(action="ignore", category=SAWarning):  # of nbgrader's own making
        submission = gradebook.add_submission("heads", student, timestamp=HANDED_IN)
    for grade in submission.notebooks[0].grades:
        if grade.name == "a_test":
            grade.auto_score, grade.needs_manual_grade = tests, False
        else:
            grade.manual_score, grade.needs_manual_grade = written, written is None
    gradebook.db.commit()


@pytest.fixture(scope="module")
def small_class(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A class of three: one graded, one half, one who has handed in nothing."""
    file = tmp_path_factory.mktemp("class") / "gradebook.db"
    with Gradebook(f"sqlite:///{file}") as book:
        for name in ("heads", "counting"):
            book.add_assignment(name)
            book.add_notebook(name, name)
            book.add_grade_cell("a_test", name, name, max_score=7, cell_type="code")
        book.add_grade_cell("an_answer", "heads", "heads", max_score=3, cell_type="markdown")
        add(
            book, "ada", 6.0, 2.55, first_name="Ada", last_name="Łovelace, née Byron", email="a@b.c"
        )
        add(book, "bob", 7.0, None, first_name="Bob", last_name="Boole", email="b@b.c")
        book.add_student("cy", first_name="Cy", last_name="Clifford", email="c@b.c")
    return file


@pytest.fixture
def gradebook(small_class: Path, tmp_path: Path) -> Iterator[Gradebook]:
    """The class in a gradebook of the test's own."""
    shutil.copy(small_class, tmp_path)
    with Gradebook(f"sqlite:///{tmp_path / 'gradebook.db'}") as book:
        yield book


def export(
    kind: type[CanvasExporter | MoodleExporter],
    gradebook: Gradebook,
    file: Path,
    settings: dict[str, dict[str, object]] | None = None,
    **options: object,
) -> list[list[str]]:
    """Export from the folder that the gradebook is in, and return the rows of the file."""
    folder = Path(str(gradebook.engine.url.database)).parent
    mine = {"CourseDirectory": {"root": str(folder)}, kind.__name__: {"to": str(file), **options}}
    config = Config({**mine, **(settings or {})})
    kind(config=config).export(gradebook)
    return list(csv.reader(io.StringIO(file.read_text("utf-8-sig"), newline="")))


def last_column(rows: list[list[str]]) -> dict[str, str]:
    """Return what stands in the last column, by the id of the student."""
    who = rows[0].index("SIS Login ID" if "SIS Login ID" in rows[0] else "Username")
    return {row[who]: row[-1] for row in rows[1:] if row[who]}


def test_canvas_gets_its_columns(
    gradebook: Gradebook, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gradebook.update_or_create_student("ada", lms_user_id="31415")
    file = tmp_path / "canvas.csv"
    with caplog.at_level(logging.INFO):
        rows = export(CanvasExporter, gradebook, file)

    assert rows == [
        ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", "heads"],
        ["    Points Possible", "", "", "", "", "10"],
        ["Boole, Bob", "", "", "bob", "", ""],
        ["Clifford, Cy", "", "", "cy", "", ""],
        ["Łovelace, née Byron, Ada", "31415", "", "ada", "", "8.55"],
    ], "an SIS User ID comes first for Canvas, and a login may be that of another"
    assert file.read_bytes().startswith(b"\xef\xbb\xbfStudent,"), "Excel, and Canvas's own check"
    assert file.stat().st_mode & 0o077 == 0
    assert "a person has to read their written answers" in caplog.text
    assert "formgrader, and export again: 'bob'" in caplog.text
    assert "heads: no grade, for they have handed in nothing: 'cy'" in caplog.text
    assert "counting: left out, for nobody has handed it in" in caplog.text


def test_moodle_gets_its_columns(gradebook: Gradebook, tmp_path: Path) -> None:
    rows = export(MoodleExporter, gradebook, tmp_path / "moodle.csv")

    assert rows == [
        ["First name", "Last name", "Username", "Email address", "heads"],
        ["Bob", "Boole", "bob", "b@b.c", "-"],
        ["Cy", "Clifford", "cy", "c@b.c", "-"],
        ["Ada", "Łovelace, née Byron", "ada", "a@b.c", "8.55"],
    ]


def test_moodle_gets_its_own_numbers(gradebook: Gradebook, tmp_path: Path) -> None:
    for student, number in (("ada", "1815"), ("bob", "1854"), ("cy", "0")):
        gradebook.update_or_create_student(student, lms_user_id=number)
    rows = export(MoodleExporter, gradebook, tmp_path / "moodle.csv")
    assert "ID number" not in rows[0], "Moodle takes 0 for nobody"

    gradebook.update_or_create_student("cy", lms_user_id="1849")
    rows = export(MoodleExporter, gradebook, tmp_path / "moodle.csv", force=True)
    assert rows[0][2:5] == ["Username", "ID number", "Email address"]
    assert [row[2:4] for row in rows[1:]] == [["bob", "1854"], ["cy", "1849"], ["ada", "1815"]]


@pytest.mark.parametrize("email", ["", "a@b.c", "=a@b.c"], ids=["none", "twice", "formula"])
def test_moodle_is_given_no_address_that_could_be_anothers(
    gradebook: Gradebook, tmp_path: Path, caplog: pytest.LogCaptureFixture, email: str
) -> None:
    gradebook.update_or_create_student("bob", email=email)
    rows = export(MoodleExporter, gradebook, tmp_path / "moodle.csv")

    assert rows[0] == ["First name", "Last name", "Username", "heads"]
    assert all(len(row) == len(rows[0]) for row in rows)
    assert "grades to the wrong student" in caplog.text


def test_late_work_has_its_penalty_and_never_less_than_nothing(
    gradebook: Gradebook, tmp_path: Path
) -> None:
    add(gradebook, "dee", 1.0, 0.0)
    for student, penalty in (("ada", 2.0), ("dee", 3.0)):
        (notebook,) = gradebook.find_submission("heads", student).notebooks
        notebook.late_submission_penalty = penalty
    gradebook.db.commit()
    rows = export(CanvasExporter, gradebook, tmp_path / "canvas.csv")

    assert last_column(rows) == {"ada": "6.55", "bob": "", "cy": "", "dee": "0"}


@pytest.fixture
def course(tmp_path: Path) -> Course:
    """The course around the gradebook, with what ada and bob have handed in."""
    shutil.copy(REPOSITORY / "nbgrader_config.py", tmp_path)
    for name in ("heads", "counting"):
        shutil.copytree(REPOSITORY / "solutions" / name, tmp_path / "solutions" / name)
    for student in ("ada", "bob"):
        hand_in(tmp_path, student)
    return Course(tmp_path)


def hand_in(course: Path, student: str, assignment: str = "heads", text: str = "{}") -> None:
    folder = course / "submitted" / student / assignment
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{assignment}.ipynb").write_text(text)


@pytest.mark.usefixtures("course")
def test_who_has_handed_in_nothing_gets_0_if_told_so(gradebook: Gradebook, tmp_path: Path) -> None:
    for kind, open_grade in ((CanvasExporter, ""), (MoodleExporter, "-")):
        rows = export(kind, gradebook, tmp_path / kind.__name__, zero_for_missing=True)
        by_student = last_column(rows)
        assert by_student["cy"] == "0"
        assert by_student["bob"] == open_grade, "an answer that waits is not a missing one"


def test_0_is_given_only_where_it_can_be_seen_who_has_handed_in(
    gradebook: Gradebook, tmp_path: Path
) -> None:
    with pytest.raises(SystemExit, match=r"is no course folder: .* Go to the course's folder"):
        export(CanvasExporter, gradebook, tmp_path / "canvas.csv", zero_for_missing=True)
    assert not (tmp_path / "canvas.csv").exists()


@pytest.mark.parametrize("zero_for_missing", [False, True])
@pytest.mark.usefixtures("course")
def test_what_is_not_graded_yet_is_not_missing(
    gradebook: Gradebook, tmp_path: Path, caplog: pytest.LogCaptureFixture, zero_for_missing: bool
) -> None:
    """Collected after the class was graded, or without a result; of a stranger; broken off."""
    hand_in(tmp_path, "cy")
    hand_in(tmp_path, "stranger")
    hand_in(tmp_path, "cy", "counting")
    with warnings.catch_warnings(action="ignore", category=SAWarning):
        gradebook.update_or_create_student("dee")
        gradebook.add_submission("heads", "dee", timestamp=HANDED_IN)
    gradebook.update_or_create_student("eve")
    file = tmp_path / "out.csv"
    rows = export(MoodleExporter, gradebook, file, zero_for_missing=zero_for_missing)

    nothing = "0" if zero_for_missing else "-"
    assert rows[0][-1] == "heads"
    assert last_column(rows) == {"ada": "8.55", "bob": "-", "cy": "-", "dee": "-", "eve": nothing}
    says = "no grade, for they have handed in, and are not graded: run `mha-course grade"
    assert f"heads: {says} heads`, and export again: 'cy', 'stranger'" in caplog.text
    assert f"counting: {says} counting`, and export again: 'cy'" in caplog.text
    assert "for they have handed in nothing: 'eve'\n" in caplog.text

    caplog.clear()
    export(MoodleExporter, gradebook, tmp_path / "ada.csv", student=["ada"])
    assert "not graded" not in caplog.text, "of the others nothing was asked"


def test_points_of_an_earlier_submission_are_named(
    gradebook: Gradebook, course: Course, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for student in ("ada", "bob", "dee", "eve"):
        hand_in(tmp_path, student)
        graded = {"heads": {"submission": digest(b"{}")}}
        course.records("heads").add(student, GRADED, notebooks=graded)
        if student > "bob":
            add(gradebook, student, 1.0, 1.0)
    export(CanvasExporter, gradebook, tmp_path / "1.csv")
    assert "earlier submission" not in caplog.text

    hand_in(tmp_path, "ada", text="[]")
    hand_in(tmp_path, "bob", text="[]")  # whose points are not in the file
    course.records("heads").add("dee", WANTED)
    shutil.rmtree(tmp_path / "submitted" / "eve")
    rows = export(CanvasExporter, gradebook, tmp_path / "2.csv")
    assert last_column(rows)["ada"] == "8.55"
    assert (
        "heads: the points of an earlier submission, for the last is not graded: run `mha-course "
        "grade heads`, and export again: 'ada', 'dee'\n"
    ) in caplog.text


TENTH = {
    "AssignLatePenalties": {"plugin_class": LatePolicy},
    "LatePolicy": {"percent_a_day": 10.0},
}


def test_an_old_penalty_is_named(
    gradebook: Gradebook, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    add(gradebook, "dee", 7.0, 3.0)
    gradebook.find_assignment("heads").duedate = HANDED_IN - timedelta(hours=1)
    for student, penalty in (("ada", 0.855), ("dee", 1.0)):
        (notebook,) = gradebook.find_submission("heads", student).notebooks
        notebook.late_submission_penalty = penalty
    gradebook.db.commit()
    export(CanvasExporter, gradebook, tmp_path / "1.csv", TENTH)
    assert "old late penalty" not in caplog.text

    gradebook.find_grade("an_answer", "heads", "heads", "dee").manual_score = 1.0
    gradebook.db.commit()
    rows = export(CanvasExporter, gradebook, tmp_path / "2.csv", TENTH)
    assert last_column(rows)["dee"] == "7", "as it is in the gradebook"
    assert "heads: an old late penalty; points, the due date, an extension or" in caplog.text
    assert "run `mha-course grade heads`, and export again: 'dee'\n" in caplog.text

    gradebook.find_assignment("heads").duedate = None
    gradebook.db.commit()
    export(CanvasExporter, gradebook, tmp_path / "3.csv", TENTH)
    assert "and export again: 'ada', 'dee'\n" in caplog.text


def test_a_policy_that_cannot_be_is_named(gradebook: Gradebook, tmp_path: Path) -> None:
    wrong = TENTH | {"LatePolicy": {"percent_per_day": 10}}
    with pytest.raises(SystemExit, match=r"no c\.LatePolicy\.percent_per_day; .*nothing was"):
        export(CanvasExporter, gradebook, tmp_path / "canvas.csv", wrong)


def test_a_named_assignment_and_student_and_canvas_number(
    gradebook: Gradebook, tmp_path: Path
) -> None:
    chosen = {"assignment": ["counting", "heads"], "student": ["ada"]}
    ids = {"heads": "4711"}
    rows = export(CanvasExporter, gradebook, tmp_path / "c.csv", assignment_ids=ids, **chosen)

    assert rows[0][5:] == ["counting", "heads (4711)"]
    assert [row[5:] for row in rows[1:]] == [["7", "10"], ["", "8.55"]]


NASTY = '=HYPERLINK("http://x.example";"a")'


@pytest.mark.parametrize("kind", [CanvasExporter, MoodleExporter])
def test_no_cell_is_a_formula_and_no_name_breaks_a_row(
    kind: type[CanvasExporter | MoodleExporter], gradebook: Gradebook, tmp_path: Path
) -> None:
    names = [NASTY, "+1", "-1", "@SUM(A1)", "\t=1", "＝1", 'a "b"; c', "two\nlines", "\u202eabc"]
    for number, name in enumerate(names):
        add(gradebook, f"s{number}", 7.0, 3.0, first_name=name, last_name=name)
    rows = export(kind, gradebook, tmp_path / "out.csv")

    assert len({len(row) for row in rows}) == 1
    cells = [cell for row in rows[1:] for cell in row if cell != "-"]
    assert not [cell for cell in cells if cell.startswith(tuple("=+-@＝\t\r\n"))]
    assert not [cell for cell in cells if "\n" in cell or "\u202e" in cell]
    assert sum(row[-1] == "10" for row in rows if "Points" not in row[0]) == len(names)


@pytest.mark.parametrize("kind", [CanvasExporter, MoodleExporter])
def test_an_id_is_left_out_rather_than_changed(
    kind: type[CanvasExporter | MoodleExporter],
    gradebook: Gradebook,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    odd = ["=1+1", "@ada", "0", "a\tb"]
    for student in odd:
        add(gradebook, student, 7.0, 3.0)
    rows = export(kind, gradebook, tmp_path / "out.csv")

    assert set(last_column(rows)) == {"ada", "bob", "cy"}
    assert "Enter these grades by hand" in caplog.text
    assert all(repr(student) in caplog.text for student in odd)


def test_nothing_is_overwritten_unless_asked(gradebook: Gradebook, tmp_path: Path) -> None:
    file = tmp_path / "canvas.csv"
    file.write_text("the only copy")
    with pytest.raises(SystemExit, match=r"exists, and was left .* --CanvasExporter.force=True"):
        export(CanvasExporter, gradebook, file)
    assert file.read_text() == "the only copy"

    assert export(CanvasExporter, gradebook, file, force=True)[0][0] == "Student"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["canvas.csv", "gradebook.db"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"assignment": ["head"]}, "No assignment 'head' in the gradebook"),
        ({"student": ["eve"]}, "No student 'eve' in the gradebook"),
    ],
)
def test_what_is_not_there_is_said(
    gradebook: Gradebook, tmp_path: Path, options: dict[str, object], says: str
) -> None:
    with pytest.raises(SystemExit, match=says):
        export(CanvasExporter, gradebook, tmp_path / "canvas.csv", **options)
    with pytest.raises(SystemExit, match="cannot be written"):
        export(CanvasExporter, gradebook, tmp_path / "no" / "folder.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["gradebook.db"]


def test_an_empty_gradebook_makes_no_file(tmp_path: Path) -> None:
    with (
        Gradebook(f"sqlite:///{tmp_path / 'gradebook.db'}") as empty,
        pytest.raises(SystemExit, match="nothing was written"),
    ):
        export(MoodleExporter, empty, tmp_path / "moodle.csv")
    assert not (tmp_path / "moodle.csv").exists()


def test_the_command_of_the_guide(gradebook: Gradebook, tmp_path: Path) -> None:
    gradebook.close()
    shutil.copy(REPOSITORY / "nbgrader_config.py", tmp_path)
    hand_in(tmp_path, "late-in-the-list")
    (tmp_path / "moodle.csv").write_text("the only copy")
    name = "mha_course.classroom.export.MoodleExporter"
    command = [sys.executable, "-m", "nbgrader", "export", f"--exporter={name}"]
    database = f"--db=sqlite:///{tmp_path / 'gradebook.db'}"

    def run(*more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, database, "--to=moodle.csv", *more],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    refused = run()
    assert refused.returncode == 1
    assert "Traceback" not in refused.stderr
    assert "--MoodleExporter.force=True" in refused.stderr
    forced = run("--MoodleExporter.force=True", "--MoodleExporter.zero_for_missing=True")
    assert forced.returncode == 0, forced.stderr
    assert "'bob'" in forced.stderr
    assert "not graded: run `mha-course grade heads`, and export again: 'late-" in forced.stderr
    assert "cy,c@b.c,0" in (tmp_path / "moodle.csv").read_text("utf-8-sig")
