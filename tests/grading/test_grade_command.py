"""`mha-course grade` from end to end: a class, once more, and whatever is odd about it."""

from __future__ import annotations

import json
import os
import shutil
import stat
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import require
from nbgrader.api import Gradebook
from sample_class import CLASS, Said, SampleClass, expected, nobody_left
from traitlets.config import Config, PyFileConfigLoader

from mha_course.autograder.course import Course
from mha_course.autograder.job import Settings
from mha_course.autograder.preprocessors import JudgeSubmission
from mha_course.autograder.records import GRADED, Records
from mha_course.autograder.run import plan
from mha_course.cli import main

FILLS_THE_DISK = """
with open("full", "wb") as file:
    while True:
        file.write(bytes(2**20))
"""


class Graded:
    """A class that was graded, and what the command said."""

    def __init__(self, course: SampleClass, said: Said) -> None:
        self.course, self.said = course, said


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> SampleClass:
    """A course whose assignment is released, and nobody has handed it in."""
    require("bwrap", hint="apt install bubblewrap")
    made = SampleClass(tmp_path_factory.mktemp("course"), tmp_path_factory.mktemp("home"))
    made.nbgrader("generate_assignment", "heads")
    return made


@pytest.fixture(scope="module")
def graded(released: SampleClass, tmp_path_factory: pytest.TempPathFactory) -> Graded:
    """A class that was graded."""
    course = released.another(tmp_path_factory.mktemp("graded") / "course")
    course.hand_in_all()
    course.hand_in_all(["slices"], cell=FILLS_THE_DISK)
    temporary = course.folder.parent / "tmp"
    temporary.mkdir()
    course.env = course.env | {"TMPDIR": str(temporary)}
    with nobody_left(), course.grading("--workers", "2") as running:
        running.until_graded(1)
        assert listening(running.process.pid) == []  # nobody else can talk to the grader
        said = running.end()
    assert not list(temporary.glob("mha-*"))
    return Graded(course, said)


@pytest.fixture
def again(graded: Graded, tmp_path: Path) -> SampleClass:
    """A copy of the class that was graded."""
    return graded.course.another(tmp_path / "course")


def listening(process: int) -> list[str]:
    """Return the addresses on which a process waits for connections."""
    own = {os.readlink(link) for link in Path(f"/proc/{process}/fd").iterdir() if link.is_symlink()}
    found = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{process}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in own:
                found.append(fields[1])
    return found


def test_everybody_is_graded(graded: Graded) -> None:
    course, said = graded.course, graded.said
    assert said.code == 0, said.err
    assert course.points() == expected()
    assert sorted(course.recorded()) == sorted(CLASS)
    assert f"heads: {len(CLASS)} graded in " in said.out
    assert "lowest 0, highest 24" in said.out
    assert "with written answers to read: formgrader" in said.out
    assert "Traceback" not in said.err
    assert "Warning" not in said.err
    for name in CLASS:
        assert (course.folder / "autograded" / name / "heads" / "heads.ipynb").is_file()


def test_only_the_owner_reads_the_seeds(graded: Graded) -> None:
    for file in (".course-secret", "grading/heads.jsonl"):
        mode = (graded.course.folder / file).stat().st_mode
        assert stat.S_IMODE(mode) == 0o600, file


def test_a_second_run_has_nothing_to_do(again: SampleClass) -> None:
    with nobody_left():
        said = again.grade()
    assert said.code == 0
    assert f"{len(CLASS)} had a result already; --force grades them again" in said.out
    assert "lowest 0, highest 24" in said.out
    assert sorted(again.recorded()) == sorted(CLASS)


def test_what_has_changed_is_graded_again(again: SampleClass) -> None:
    again.hand_in_all(["no_w_o"])  # late
    (again.folder / "submitted" / "blank" / "heads" / "heads.ipynb").write_text("{")
    shutil.rmtree(again.folder / "autograded" / "complete")
    records = again.folder / "grading" / "heads.jsonl"
    *others, last = [line for line in records.read_text().splitlines() if line]
    torn = json.loads(last)["student"]
    records.write_text("\n".join([*others, "[1]", '{"student": "nobody"}', last[:-20]]))
    asked = again.grade("--student", "no_w_o", "--student", "slices")
    assert asked.code == 0
    assert again.points() == expected([*CLASS, "no_w_o"])

    before = len(again.recorded())
    said = again.grade()
    assert said.code == 0, said.err
    assert set(again.recorded()[before:]) == {"blank", "complete", torn} - {"slices"}
    assert f"{len(CLASS) + 1 - len(again.recorded()[before:])} had a result already" in said.out
    assert "not-read" in said.out
    assert again.points() == expected([*CLASS, "no_w_o"])


def test_without_its_gradebook_a_class_is_graded_again(
    again: SampleClass, released: SampleClass
) -> None:
    (again.folder / "gradebook.db").unlink()
    said = again.grade()
    assert (said.code, said.out) == (2, "")
    assert "run `nbgrader generate_assignment heads` once" in said.err
    shutil.copy(released.folder / "gradebook.db", again.folder)
    assert again.grade().code == 0
    assert again.points() == expected()


def test_grades_by_hand_stay(again: SampleClass) -> None:
    written, tested = "why_one_head_is_not_enough", "test_split_heads"
    with Gradebook(again.db_url) as gradebook:
        for name, score in ((written, 1.5), (tested, 0.5)):
            grade = gradebook.find_grade(name, "heads", "heads", "slices")
            grade.manual_score, grade.needs_manual_grade = score, False
        comment = gradebook.find_comment(written, "heads", "heads", "slices")
        comment.manual_comment = "Which average?"
        gradebook.db.commit()
    said = again.grade("--force")
    assert said.code == 0
    assert sorted(again.recorded()) == sorted([*CLASS, *CLASS])
    assert again.points() == expected()
    with Gradebook(again.db_url) as gradebook:
        for name, score in ((written, 1.5), (tested, 0.5)):
            grade = gradebook.find_grade(name, "heads", "heads", "slices")
            assert (grade.manual_score, grade.score) == (score, score)
            assert grade.needs_manual_grade  # nbgrader's way to ask whether it still holds
        comment = gradebook.find_comment(written, "heads", "heads", "slices")
        assert comment.comment == "Which average?"


def test_odd_students_stop_nobody(released: SampleClass, tmp_path: Path) -> None:
    """Names that no list of a class should hold, and folders that cannot be written."""
    course = released.another(tmp_path / "course")
    course.hand_in_all(["complete", "half_done"])
    submitted = course.folder / "submitted"
    fine = ["O'Brien; --", "-rf", "{x}", "a*[b]?", "übung 日本", "100%"]
    odd = [" spaced", "new\nline", "blocked", os.fsdecode(b"\xff")]
    for name in (*fine, *odd):
        shutil.copytree(submitted / "half_done", submitted / name)
    shutil.rmtree(submitted / "-rf" / "heads")
    (submitted / "-rf" / "heads").write_text("a file where a folder should be")
    (course.folder / "autograded").mkdir()
    (course.folder / "autograded" / "blocked").write_text("so its folder cannot be made")
    course.env = course.env | {"PYTHONIOENCODING": "ascii"}

    said = course.grade()
    assert said.code == 1
    assert "Traceback" not in said.out + said.err
    assert f"{len(odd)} without a result; the same command tries them again" in said.out
    for name, why in zip(
        odd, ("begins or ends", "", "Not a directory", "'utf-8' codec"), strict=True
    ):
        shown = name.encode("ascii", "backslashreplace").decode()
        (line,) = [line for line in said.out.split("NO RESULT for ") if line.startswith(shown)]
        assert why in line
    same = dict.fromkeys(fine, expected(["half_done"])["half_done"])
    same["-rf"] = expected(["blank"])["blank"]
    assert course.points() == {**expected(["complete", "half_done"]), **same}


def test_a_look_at_a_thousand_reads_the_assignment_once(
    again: SampleClass, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a class that is graded already, one file each is read, and little is kept."""
    students = [f"learner-{number:04d}" for number in range(1000)]
    for step in ("submitted", "autograded"):
        for name in students:
            shutil.copytree(
                again.folder / step / "complete",
                again.folder / step / name,
                copy_function=os.link,
            )
    records = Records(again.folder / "grading" / "heads.jsonl")
    records.add_all(students, GRADED, notebooks=records.graded()["complete"])
    course = Course(again.folder)
    reads = []
    monkeypatch.setattr(course, "sources", lambda name: reads.append(name) or sources(name))
    sources = Course(again.folder).sources
    monkeypatch.setattr("mha_course.autograder.run._in_gradebook", lambda *_: {*students, *CLASS})
    tracemalloc.start()
    planned = plan(course, "heads")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(planned.done) == len(students) + len(CLASS)
    assert (planned.students, planned.other_tests) == ((), ())
    assert len(reads) == 1
    assert most < 64 * 2**20


@pytest.fixture
def waiting(
    released: SampleClass, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """The folder of a course, with us in it, where one student waits for a grade."""
    course = released.another(tmp_path_factory.mktemp("waiting") / "course")
    course.hand_in_all(["complete"])
    monkeypatch.chdir(course.folder)
    for name, value in course.env.items():
        monkeypatch.setenv(name, value)
    yield course.folder
    assert not (course.folder / "autograded").exists()


BAD_OPTIONS = [
    (["nothere"], "no assignment 'nothere' in ", "there are counting, experiment, heads"),
    (["heads/"], "no assignment 'heads/' in ", "there are counting, experiment, heads"),
    (["../heads"], "no assignment '../heads' in ", "there are counting, experiment, heads"),
    (["counting"], "does not know 'counting' yet", "run `nbgrader generate_assignment counting`"),
    (["heads", "--student", "ghost"], "ghost has not handed in", "1 submissions, from complete"),
    (["heads", "--workers", "0"], "--workers 0", "at least 1"),
    (["heads", "--timeout", "0"], "--timeout 0", "give 1 to 86,400 seconds"),
    (["heads", "--timeout", "nan"], "--timeout nan", "give 1 to 86,400 seconds"),
    (["heads", "--timeout", "inf"], "--timeout inf", "give 1 to 86,400 seconds"),
    (["heads", "--memory", "-1"], "--memory -1", "give 64 to 16,777,216 megabytes"),
    (["heads", "--memory", "9" * 30], "--memory 1e+30", "give 64 to 16,777,216 megabytes"),
    (["heads", "--scheduler", "here"], "answers at here (missing port", "start one with `dask"),
    (["heads", "--scheduler", "ftp://x:1"], "unknown address scheme", "start one with `dask"),
]


@pytest.mark.parametrize(
    ("options", "what", "way_out"), BAD_OPTIONS, ids=[" ".join(one[0]) for one in BAD_OPTIONS]
)
@pytest.mark.usefixtures("waiting")
def test_bad_options(
    options: list[str], what: str, way_out: str, capsys: pytest.CaptureFixture[str]
) -> None:
    refused(["grade", *options], what, way_out, capsys)


def refused(
    command: list[str], what: str, way_out: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """See that a command says one sentence, which names the way out."""
    assert main(command) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("mha-course: ")
    assert said.err.count("\n") == 1
    assert what in said.err
    assert way_out in said.err


def _no_submissions(course: Path) -> None:
    shutil.rmtree(course / "submitted")


def _other_folder(course: Path) -> None:
    os.chdir(course / "solutions")


def _broken_settings(course: Path) -> None:
    (course / "nbgrader_config.py").write_text("c = get_config(\n")


def _setting(line: str) -> None:
    with Path("nbgrader_config.py").open("a") as file:
        file.write(f"\n{line}\n")


def _changed_test(course: Path) -> None:
    notebook = course / "solutions" / "heads" / "heads.ipynb"
    text = notebook.read_text()
    assert "grading.drawn" in text
    notebook.write_text(text.replace("grading.drawn", "grading . drawn"))


def _broken_source(course: Path) -> None:
    (course / "solutions" / "heads" / "heads.ipynb").write_text("{")


def _no_gradebook(course: Path) -> None:
    (course / "gradebook.db").write_bytes(b"this is no database, whatever its name is" * 100)


def test_every_setting_reaches_the_sandbox() -> None:
    config = Config()
    own = Settings(1.0, 2.0, 3, False, 4, 5, 6, 7)
    for name, value in own._asdict().items():
        config.JudgeSubmission[name] = value
    settings = JudgeSubmission(config=config).settings()
    assert settings == own
    limits = settings.limits()
    assert (limits.wall_seconds, limits.memory_bytes // 2**20) == (32.0, 3)
    assert (limits.processes, limits.open_files, limits.scratch_bytes // 2**20) == (4, 5, 6)


def test_defaults_are_said_once() -> None:
    """Those of the course's folder, of the step in nbgrader, and of the code."""
    config = PyFileConfigLoader("nbgrader_config.py", path=str(Path(__file__).parents[2]))
    assert JudgeSubmission(config=config.load_config()).settings() == Settings()
    assert JudgeSubmission().settings() == Settings()


BAD_COURSES = {
    "nobody has handed in": (_no_submissions, "nobody has handed in 'heads'", "nbgrader collect"),
    "another folder": (_other_folder, "is no course folder", "Go to the course's folder"),
    "broken settings": (_broken_settings, "nbgrader_config.py", "line 1"),
    "settings out of range": (
        lambda _: _setting("c.JudgeSubmission.total_seconds = 0.0"),
        "c.JudgeSubmission.total_seconds in nbgrader_config.py: 0",
        "give 1 to",
    ),
    "too few processes": (
        lambda _: _setting("c.JudgeSubmission.processes = 1"),
        "c.JudgeSubmission.processes in nbgrader_config.py: 1",
        "give 4 to",
    ),
    "settings of another type": (
        lambda _: _setting("c.JudgeSubmission.cell_seconds = 'long'"),
        "cell_seconds",
        "expected a float",
    ),
    "changed after its release": (
        _changed_test,
        "heads.ipynb of 'heads' was changed after it was released (test_",
        "generate_assignment heads --force",
    ),
    "broken source": (_broken_source, "solutions/heads/heads.ipynb is no notebook", "put the"),
    "gradebook that is none": (_no_gradebook, "file is not a database", "gradebook.db"),
    "gradebook without an address": (
        lambda _: _setting("c.CourseDirectory.db_url = 'gradebook.db'"),
        "Could not parse SQLAlchemy URL",
        "c.CourseDirectory.db_url in nbgrader_config.py",
    ),
    "no bubblewrap": (
        lambda _: os.environ.update(PATH=str(Path(sys.executable).parent)),
        "`bwrap` is not on PATH",
        "--no-sandbox",
    ),
}


@pytest.mark.parametrize("name", BAD_COURSES)
def test_bad_courses(name: str, waiting: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spoil, what, way_out = BAD_COURSES[name]
    spoil(waiting)
    refused(["grade", "heads", "--memory", "1999"], what, way_out, capsys)
