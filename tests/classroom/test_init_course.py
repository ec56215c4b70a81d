"""A private course folder is made whole or not at all, and takes newer public versions."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import nbformat
import pytest
from conftest import require
from course import REPOSITORY, WRITTEN, read, submission
from course import Course as PublicCourse
from nbformat import NotebookNode
from nbgrader.api import Gradebook
from points import TABLE
from postgresql import running_server
from students import STUDENTS

from mha_course import doctor
from mha_course.autograder.course import Course
from mha_course.classroom import folder as folders
from mha_course.classroom.folder import MANIFEST, Wanted, init_course, update_course
from mha_course.classroom.students import Student
from mha_course.cli import main

AN_HOUR_AGO = datetime.now(UTC) - timedelta(hours=1)
CLASS = "id;first_name;last_name\nada;Ada;Lovelace\nbob;;\nzoë;Zoë;Müller\n"


def contents(folder: Path) -> dict[str, bytes]:
    """Return the files in a folder, by path."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def public(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small public checkout, with us in it."""
    folder = tmp_path / "checkout"
    (folder / "solutions" / "heads").mkdir(parents=True)
    (folder / "_toc.yml").touch()
    shutil.copy(REPOSITORY / "nbgrader_config.py", folder)
    shutil.copy(REPOSITORY / "solutions" / "heads" / "heads.ipynb", folder / "solutions" / "heads")
    shutil.copytree(REPOSITORY / "solutions" / "redundancy", folder / "solutions" / "redundancy")
    left = folder / "solutions" / "heads" / ".ipynb_checkpoints"
    left.mkdir(exist_ok=True)
    (left / "heads-checkpoint.ipynb").touch()
    monkeypatch.chdir(folder)
    monkeypatch.delenv("MHA_COURSE_SECRET", raising=False)
    return folder


@pytest.fixture
def mine(public: Path, tmp_path: Path) -> Path:
    """A private course of that checkout."""
    folder = tmp_path / "mine"
    list(init_course(public, folder, Wanted()))
    return folder


def test_a_new_course(
    public: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = contents(public)
    (tmp_path / "class.csv").write_text(CLASS)
    folder = tmp_path / "mine"
    options = ["--students", str(tmp_path / "class.csv"), "--course-id", "mha-26"]
    options += ["--exchange", str(tmp_path / "exchange"), "--due", "heads=2030-01-31T23:59+01:00"]
    assert main(["init-course", str(folder), *options]) == 0
    said = capsys.readouterr().out
    assert "heads is due 2030-01-31 23:59 UTC+01:00, which is 2030-01-31 22:59 UTC" in said
    assert "students.csv: 3" in said
    assert "keep a copy of" in said
    assert contents(public) == before

    assert {path.name for path in folder.iterdir()} == {
        *(".course-secret", ".gitignore", MANIFEST, "README.md", "gradebook.db"),
        *("nbgrader_config.py", "solutions", "students.csv"),
    }
    for path, mode in ((folder, 0o700), (folder / ".course-secret", 0o600)):
        assert stat.S_IMODE(path.stat().st_mode) == mode
    copied = contents(folder / "solutions")
    assert copied == {
        name: content
        for name, content in contents(public / "solutions").items()
        if ".ipynb_checkpoints" not in name
    }
    assert "mha-course grade heads" in (folder / "README.md").read_text()

    course = Course(folder)
    assert course.root == folder
    assert course.directory.course_id == "mha-26"
    assert course.app.config.Exchange.root == str(tmp_path / "exchange")
    assert course.directory.db_url == f"sqlite:///{folder}/gradebook.db"
    with Gradebook(course.directory.db_url, "mha-26") as gradebook:
        found = {one.id: (one.first_name, one.last_name) for one in gradebook.students}
        assert found == {"ada": ("Ada", "Lovelace"), "bob": (None, None), "zoë": ("Zoë", "Müller")}
        (assignment,) = gradebook.assignments
        assert (assignment.name, assignment.course_id) == ("heads", "mha-26")
        assert assignment.duedate == datetime(2030, 1, 31, 22, 59)

    looks = {look.what: look for look in doctor.course(folder)}
    assert {look.state for look in looks.values()} == {doctor.GOOD}
    assert "3 students" in looks["gradebook"].says
    assert "3 students" in looks["class"].says
    assert "is made with the first" in looks["exchange"].says

    monkeypatch.chdir(folder)
    require("git", hint="apt install git")
    for name in ("submitted/ada/heads/heads.ipynb", "grading/heads.jsonl", "canvas.csv"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    subprocess.run(["git", "init", "-q"], check=True)
    listed = subprocess.run(
        ["git", "ls-files", "--others", "--exclude-standard"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert sorted(listed) == sorted(
        [".gitignore", MANIFEST, "README.md", "nbgrader_config.py"]
        + [f"solutions/{name}" for name in copied]
    )


def test_a_secret_from_outside_is_not_written_down(
    public: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MHA_COURSE_SECRET", "from a vault")
    said = list(init_course(public, tmp_path / "mine", Wanted()))
    assert "its secret is that of MHA_COURSE_SECRET: set it wherever you grade" in said
    assert not (tmp_path / "mine" / ".course-secret").exists()


@pytest.mark.usefixtures("public")
def test_due_dates_are_in_the_time_zone_of_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TZ", "Europe/Vienna")
    time.tzset()
    try:
        options = ["--due", "heads=2020-07-01T23:59", "--assignments", "heads"]
        assert main(["init-course", str(tmp_path / "mine"), *options]) == 0
    finally:
        monkeypatch.undo()
        time.tzset()
    said = capsys.readouterr().out
    assert "due 2020-07-01 23:59 CEST, which is 2020-07-01 21:59 UTC (that is past)" in said
    assert contents(tmp_path / "mine" / "solutions").keys() == {"heads/heads.ipynb"}


def test_every_command_reads_the_settings_without_torch(mine: Path) -> None:
    code = (
        "import sys; from nbgrader.apps import NbGraderApp\n"
        "app = NbGraderApp(); app.initialize([])\n"
        "print(app.coursedir.source_directory, 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=mine, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["solutions", "False"]


def test_without_the_package_no_command_goes_on(
    mine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What else goes wrong there, nbgrader would pass over, and grade with settings of its own."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    text = (mine / "nbgrader_config.py").read_text()
    with pytest.raises(SystemExit, match="mha_course is not installed here; activate"):
        exec(text, {"get_config": dict, "__file__": "nbgrader_config.py"})


def _not_empty(folder: Path) -> None:
    folder.mkdir()
    (folder / "thesis.tex").write_text("ten years of work")


def _a_course(folder: Path) -> None:
    folder.mkdir()
    shutil.copy(REPOSITORY / "nbgrader_config.py", folder)


IN_THE_WAY: dict[str, tuple[Callable[[Path], object], str]] = {
    "not empty": (_not_empty, "is not empty; name a folder that does not exist"),
    "a course": (_a_course, "is a course already, and is left as it is: `mha-course update-course"),
    "a file": (lambda folder: folder.write_text("x"), "is a file"),
    "a link to nothing": (lambda folder: folder.symlink_to("/nowhere/at/all"), "/nowhere/at"),
}


@pytest.mark.parametrize("name", IN_THE_WAY)
@pytest.mark.usefixtures("public")
def test_nothing_is_overwritten(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put, says = IN_THE_WAY[name]
    folder = tmp_path / "mine"
    put(folder)
    before = contents(tmp_path)
    assert main(["init-course", str(folder)]) == 2
    said = capsys.readouterr()
    assert says in said.err
    assert said.out == ""
    assert contents(tmp_path) == before


BAD_OPTIONS = {
    "unknown assignment": (["--assignments", "heads,tails"], "no assignment 'tails'; there are"),
    "due date of none": (["--due", "tails=2030-01-01T10:00"], "--due tails: no such assignment"),
    "two due dates": (["--due", "heads=2030-01-01T10:00"] * 2, "--due heads: given twice"),
    "odd course": (["--course-id", "../up"], "--course-id '../up': it becomes a folder"),
    "exchange is a file": (["--exchange", "_toc.yml"], "--exchange _toc.yml: that is a file"),
    "no list": (["--students", "nobody.csv"], "no file nobody.csv"),
    "bad list": (["--students", "twice.csv"], "line 3: the id 'ada' is in line 2 already"),
    "no address": (["--db", "gradebook"], "no address of a database, such as postgresql+psycopg"),
    "no server": (["--db", "postgresql+psycopg://g@127.0.0.1:1/x"], "See that the database runs"),
    "no driver": (["--db", "nosuch://g@127.0.0.1/x"], "nosuch"),
    "password": (["--db", "postgresql+psycopg://g:hush@127.0.0.1/x"], "~/.pgpass"),
    "password aside": (
        ["--db", "postgresql+psycopg:///x?host=127.0.0.1&user=g&password=hush"],
        "~/.pgpass",
    ),
    "file here": (["--db", "sqlite:///x.db"], "give the whole path: sqlite:////srv"),
    "no folder": (["--db", "sqlite:////nowhere/x.db"], "there is no folder /nowhere"),
    "in use": (
        ["--db", "sqlite:///{used}"],
        "a course uses it already (assignments: 2, students: 1)",
    ),
    "no database": (["--db", "sqlite:///{toc}"], "file is not a database"),
}


@pytest.mark.parametrize("name", BAD_OPTIONS)
def test_bad_options_leave_nothing(
    name: str, public: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options, says = BAD_OPTIONS[name]
    (public / "twice.csv").write_text("id\nada\nada\n")
    (public / "_toc.yml").write_text("no database" * 100)
    used = public / "used.db"
    with contextlib.closing(sqlite3.connect(used)) as gradebook:  # as nbgrader's own
        gradebook.executescript(
            "CREATE TABLE student (id); INSERT INTO student VALUES ('ada');"
            "CREATE TABLE assignment (id); INSERT INTO assignment VALUES (1), (2);"
        )
    before = contents(tmp_path)
    paths = {"used": used, "toc": public / "_toc.yml"}
    options = [option.format(**paths) for option in options]
    assert main(["init-course", str(tmp_path / "mine"), *options]) == 2
    said = capsys.readouterr()
    assert says in said.err
    assert "hush" not in said.err
    assert "Traceback" not in said.err
    assert contents(tmp_path) == before
    assert not (tmp_path / "mine").exists()


@pytest.mark.parametrize("date", ["heads=2030-01-31", "heads=soon", "2030-01-31T10:00", "heads"])
def test_due_dates_that_are_none(
    date: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["init-course", str(tmp_path / "mine"), "--due", date])
    assert "is no NAME=DATE with a time, such as heads=2026" in capsys.readouterr().err


def test_not_within_the_public_checkout(
    public: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init-course", "mine"]) == 2
    assert f"such as {tmp_path / 'mine'}" in capsys.readouterr().err
    assert not (public / "mine").exists()


def test_not_from_a_private_course(
    mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The new one would have its gradebook."""
    monkeypatch.chdir(mine)
    assert main(["init-course", str(tmp_path / "other")]) == 2
    assert f"{mine} is a private course; go to the public checkout" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_a_folder_that_is_open_to_others_is_named(public: Path, tmp_path: Path) -> None:
    said = {}
    for mode in (0o755, 0o750):
        folder = tmp_path / f"my {mode:o}"
        folder.mkdir()
        folder.chmod(mode)
        said[mode] = "\n".join(init_course(public, folder, Wanted()))
        assert stat.S_IMODE(folder.stat().st_mode) == mode
    assert f"to close it: chmod 700 '{tmp_path}/my 755'" in said[0o755]
    assert "chmod" not in said[0o750]


def test_not_from_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["init-course", "mine"]) == 2
    assert "is no checkout of the course: there is no solutions" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("existed", [False, True])
@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_what_breaks_off_leaves_nothing(
    error: BaseException,
    existed: bool,
    public: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "mine"
    if existed:
        folder.mkdir(mode=0o750)

    def breaks(*_: object) -> None:
        assert any(folder.rglob("heads.ipynb"))  # it is nearly done
        raise error

    monkeypatch.setattr(folders, "_fill_gradebook", breaks)
    code = main(["init-course", str(folder)])
    said = capsys.readouterr()
    assert said.out == ""
    if error is KeyboardInterrupt:
        assert code == 130
    else:
        assert code == 2
        assert "was not made: No space left on device. Nothing is left of it" in said.err
    assert folder.exists() == existed
    monkeypatch.undo()
    monkeypatch.chdir(public)
    assert main(["init-course", str(folder)]) == 0
    assert stat.S_IMODE(folder.stat().st_mode) == (0o750 if existed else 0o700)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk with room for less than a course."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        if os.environ.get("CI") == "true":
            pytest.fail("only root may mount a small disk")
        pytest.skip("only root may mount a small disk")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.mark.parametrize("name", ["", "mine"])
def test_a_full_disk(
    name: str, public: Path, small_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (public / "class.csv").write_text(CLASS)  # so that there is a gradebook, too
    command = ["init-course", str(small_disk / name), "--students", "class.csv"]
    for full in (b"", bytes(150 * 2**10)):
        (small_disk / "full").write_bytes(full)
        if not name:
            (small_disk / "full").unlink()
        before = contents(small_disk)
        assert main(command) == 2
        said = capsys.readouterr()
        assert "was not made: " in said.err
        assert "Traceback" not in said.err
        assert said.out == ""
        assert contents(small_disk) == before
        assert len(list(small_disk.iterdir())) == len(before)


def edited(notebook: Path, source: str) -> None:
    """Have a person write into the first cell of a notebook."""
    found = nbformat.read(notebook, as_version=4)
    found.cells[0].source += source
    nbformat.write(found, notebook)


def run_and_saved(notebook: Path) -> None:
    """Have a person run a notebook, which leaves outputs, and save it."""
    found = nbformat.read(notebook, as_version=4)
    for number, cell in enumerate(found.cells):
        if cell.cell_type == "code":
            cell.execution_count = number
            cell.outputs = [nbformat.v4.new_output("stream", text="done\n")]
            cell.metadata["execution"] = {"shell.execute_reply": "2030-01-01T00:00:00Z"}
    found.metadata.language_info.version = "3.99"
    nbformat.write(found, notebook)


def test_an_update_replaces_what_was_not_touched(public: Path, mine: Path) -> None:
    """Opened, run and saved is not touched; and what is the instructor's own stays."""
    own = {
        "solutions/mine/mine.ipynb": b"{}",
        "solutions/heads/notes.md": b"mine",
        "nbgrader_config.py": (mine / "nbgrader_config.py").read_bytes() + b"\n# mine\n",
        "submitted/ada/heads/heads.ipynb": b"{}",
    }
    for path, content in own.items():
        (mine / path).parent.mkdir(parents=True, exist_ok=True)
        (mine / path).write_bytes(content)
    secret = (mine / ".course-secret").read_bytes()
    heads = Path("solutions", "heads", "heads.ipynb")
    run_and_saved(mine / heads)
    edited(public / heads, "\nA better word.")
    (public / "solutions" / "heads" / "data.json").write_text("[1]")
    shutil.copytree(public / "solutions" / "redundancy", public / "solutions" / "later")

    said = list(update_course(public, mine))
    assert f"replaced, for you have not touched it: {heads}" in said
    assert "new: solutions/heads/data.json" in said
    assert "new: solutions/later/redundancy.ipynb" in said
    assert not [line for line in said if "redundancy/" in line]
    assert [line.split()[0] for line in said if "another now" in line] == ["heads", "later"]
    for path, content in contents(public / "solutions").items():
        if ".ipynb_checkpoints" not in path:
            assert (mine / "solutions" / path).read_bytes() == content, path
    for path, content in own.items():
        assert (mine / path).read_bytes() == content
    assert (mine / ".course-secret").read_bytes() == secret
    assert list(update_course(public, mine))[1:] == ["there was nothing to bring"]


def test_an_update_leaves_what_you_have_changed(public: Path, mine: Path) -> None:
    heads = "solutions/heads/heads.ipynb"
    data = "solutions/redundancy/minilm.json"
    edited(mine / heads, "\nMy word.")
    (mine / data).unlink()
    kept = contents(mine / "solutions")
    # without a newer public one, there is nothing to say
    assert list(update_course(public, mine))[1:] == ["there was nothing to bring"]

    edited(public / heads, "\nA better word.")
    (public / data).write_text("{}")
    for _ in range(2):  # it is said again until it is settled
        said = list(update_course(public, mine))
        assert contents(mine / "solutions") == kept
        (changed,) = [line for line in said if line.startswith(heads)]
        assert "stays as you made it, and the public one is another now" in changed
        (gone,) = [line for line in said if line.startswith(data)]
        assert "is not brought back: you have deleted it" in gone

    command = changed.partition("To take that one: ")[2].split()
    subprocess.run(command, check=True)
    said = list(update_course(public, mine))
    assert (mine / heads).read_bytes() == (public / heads).read_bytes()
    assert not [line for line in said if line.startswith(heads)]
    assert any(line.startswith("heads is another now: before you release") for line in said)


def test_an_update_is_not_from_the_course_itself(
    public: Path, mine: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What you have written would pass for the public course, and be replaced by the next one."""
    heads = Path("solutions", "heads", "heads.ipynb")
    edited(mine / heads, "\nMy word.")
    kept = contents(mine)
    monkeypatch.chdir(mine)
    assert main(["update-course", "."]) == 2
    assert f"{mine} is a private course; go to the public checkout" in capsys.readouterr().err
    assert contents(mine) == kept
    edited(public / heads, "\nA better word.")
    list(update_course(public, mine))
    assert (mine / heads).read_bytes() == kept[heads.as_posix()]


def test_an_update_is_not_from_an_older_version(
    public: Path, mine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(folders, "__version__", "10.0.0")
        list(update_course(public, mine))
    edited(public / "solutions" / "heads" / "heads.ipynb", "\nA word of old.")
    before = contents(mine)
    monkeypatch.setattr(folders, "__version__", "9.0.0")
    with pytest.raises(ValueError, match=r"of version 10\.0\.0, and this is 9\.0\.0"):
        list(update_course(public, mine))
    assert contents(mine) == before


def test_an_update_does_not_take_a_file_of_yours_for_its_own(public: Path, mine: Path) -> None:
    data = "solutions/heads/data.json"
    (mine / data).write_text("mine")
    (public / data).write_text("theirs")
    assert any(line.startswith(f"{data} stays as you made") for line in update_course(public, mine))
    assert (mine / data).read_text() == "mine"


def test_an_update_removes_nothing(public: Path, mine: Path) -> None:
    shutil.rmtree(public / "solutions" / "redundancy")
    before = contents(mine / "solutions")
    for _ in range(2):
        said = list(update_course(public, mine))
        assert len([line for line in said if "no longer in the public course" in line]) == 2
        assert contents(mine / "solutions") == before
    shutil.rmtree(mine / "solutions" / "redundancy")
    list(update_course(public, mine))
    assert list(update_course(public, mine))[1:] == ["there was nothing to bring"]


def test_an_update_of_a_part_stays_a_part(public: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    list(init_course(public, mine, Wanted(assignments=["heads"])))
    assert list(update_course(public, mine))[1:] == ["there was nothing to bring"]
    assert [path.name for path in (mine / "solutions").iterdir()] == ["heads"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_an_update_that_breaks_off_goes_on(
    error: BaseException,
    public: Path,
    mine: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("heads", "redundancy"):
        edited(public / "solutions" / name / f"{name}.ipynb", "\nA better word.")
    real, written = folders.write_whole, []

    def breaks(file: Path, *rest: object) -> None:
        if written:
            raise error
        written.append(file)
        real(file, *rest)

    monkeypatch.setattr(folders, "write_whole", breaks)
    assert main(["update-course", str(mine)]) == (130 if error is KeyboardInterrupt else 2)
    if error is not KeyboardInterrupt:
        assert "is not up to date yet: No space left on device. What" in capsys.readouterr().err
    monkeypatch.setattr(folders, "write_whole", real)
    said = list(update_course(public, mine))
    assert sorted(line.split()[0] for line in said if "another now" in line) == [
        "heads",
        "redundancy",
    ]
    assert contents(mine / "solutions") == {
        path: content
        for path, content in contents(public / "solutions").items()
        if ".ipynb_checkpoints" not in path
    }


@pytest.mark.parametrize("text", ["{", "[]", '{"version": 1}', '{"version": "new"}'])
def test_a_manifest_that_cannot_be_read(text: str, public: Path, mine: Path) -> None:
    (mine / MANIFEST).write_text(text)
    before = contents(mine)
    with pytest.raises(ValueError, match="cannot be read; put a copy of it back"):
        list(update_course(public, mine))
    assert contents(mine) == before


@pytest.mark.usefixtures("public")
def test_an_update_of_something_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["update-course", str(tmp_path)]) == 2
    assert "was not made by `mha-course init-course`" in capsys.readouterr().err


def test_versions_are_said(public: Path, mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "__version__", "9.9.9")
    assert next(iter(update_course(public, mine))).endswith(" to 9.9.9")
    list(update_course(public, mine))
    assert json.loads((mine / MANIFEST).read_text())["version"] == "9.9.9"


def found_by_doctor(folder: Path) -> dict[str, doctor.Look]:
    return {look.what: look for look in doctor.course(folder)}


def test_doctor_in_a_private_course(
    public: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exchange, folder = tmp_path / "exchange", tmp_path / "mine"
    list(init_course(public, folder, Wanted(students=[Student("ada")], exchange=exchange)))
    config = folder / "nbgrader_config.py"
    config.write_text(config.read_text() + "c.LatePolicy.percent_a_day = 10\n")
    exchange.mkdir(mode=0o755)
    found = found_by_doctor(folder)
    assert found["late work"].says == "each day that has begun costs 10 %"
    assert found["exchange"].state == doctor.WITHOUT
    assert found["exchange"].do == f"chmod 1777 {exchange}"
    exchange.chmod(0o777)
    found = found_by_doctor(folder)
    assert found["exchange"].state == doctor.BAD
    assert found["exchange"].do == f"chmod 1777 {exchange}"
    exchange.chmod(0o1777)
    assert found_by_doctor(folder)["exchange"].state == doctor.GOOD
    folder.chmod(0o755)
    found = found_by_doctor(folder)
    assert (found["folder"].state, found["folder"].do) == (doctor.BAD, f"chmod 700 {folder}")
    folder.chmod(0o750)
    assert "folder" not in found_by_doctor(folder), "the group may be those who teach"

    (folder / "students.csv").write_text("id\na+b\n")
    config.write_text(config.read_text() + "c.LatePolicy.percent_a_day = 200\n")
    (folder / "grading").mkdir()
    (folder / "grading" / "heads.jsonl").touch()
    (folder / ".course-secret").unlink()
    exchange.rmdir()
    exchange.touch()
    found = found_by_doctor(folder)
    bad = {what: look.says for what, look in found.items() if look.state == doctor.BAD}
    assert bad.keys() == {"secret", "class", "late work", "exchange"}
    assert "a class was graded with it" in bad["secret"]
    assert "line 2: the id 'a+b' holds +" in bad["class"]
    assert "c.LatePolicy.percent_a_day is 200; give 0 to 100" in bad["late work"]
    monkeypatch.setenv("MHA_COURSE_SECRET", "from a vault")
    assert found_by_doctor(folder)["secret"].says == "that of MHA_COURSE_SECRET"


class Private(PublicCourse):
    """A private course of a public one, whose commands run in it."""

    def __init__(self, scratch: Path, *options: str) -> None:
        public, home = scratch / "public", scratch / "home"
        for folder in (public, home):
            folder.mkdir()
        super().__init__(public, home)
        self.mha_course("init-course", str(scratch / "mine"), *options)
        self.folder = scratch / "mine"

    def submit(self, student: str, notebook: NotebookNode, name: str = "heads.ipynb") -> None:
        """Submit through the exchange, as a learner does."""
        desk = self.folder.parent / "desk"
        (desk / "heads").mkdir(parents=True)
        shutil.copy(self.folder / "nbgrader_config.py", desk)
        nbformat.write(notebook, desk / "heads" / name)
        mine, self.folder = self.folder, desk
        try:
            self.nbgrader("submit", "heads", f"--student={student}")
        finally:
            self.folder = mine
            shutil.rmtree(desk)

    def hand_in_at(self, student: str, notebook: NotebookNode | None, when: datetime) -> None:
        """Put a submission there that came by another way."""
        folder = self.folder / "submitted" / student / "heads"
        folder.mkdir(parents=True)
        if notebook:
            nbformat.write(notebook, folder / "heads.ipynb")
        (folder / "timestamp.txt").write_text(f"{when:%Y-%m-%d %H:%M:%S.%f} UTC")

    def points(self, url: str) -> dict[str, tuple[float, float]]:
        """Return the points and the penalty of each student."""
        with Gradebook(url, "mha-26") as gradebook:
            return {
                one.student.id: (one.score, one.late_submission_penalty)
                for one in gradebook.assignment_submissions("heads")
            }


LATE = "c.LatePolicy.percent_a_day = 10\nc.LatePolicy.days_until_nothing = 20\n"


@pytest.fixture
def private(tmp_path: Path) -> Callable[..., Private]:
    """Makes a course of three, in which `heads` was due an hour ago."""
    require("bwrap", hint="apt install bubblewrap")

    def make(*options: str) -> Private:
        (tmp_path / "class.csv").write_text("id\nada\nbob\neve\n")
        course = Private(
            tmp_path,
            *("--students", str(tmp_path / "class.csv"), "--course-id", "mha-26"),
            *("--exchange", str(tmp_path / "exchange"), f"--due=heads={AN_HOUR_AGO.isoformat()}"),
            *options,
        )
        with (course.folder / "nbgrader_config.py").open("a") as config:
            config.write(LATE)
            config.write("c.ExchangeCollect.check_owner = False\n")  # one account is everybody
        course.nbgrader("generate_assignment", "heads")
        return course

    return make


@pytest.mark.slow
def test_a_round(private: Callable[..., Private]) -> None:
    """Three students, and submissions twice, late, too late, misnamed, missing and of nobody."""
    course = private()
    url = f"sqlite:///{course.folder}/gradebook.db"
    course.nbgrader("release_assignment", "heads")
    released, solution = (
        read(course.folder / kind / "heads" / "heads.ipynb") for kind in ("exercises", "solutions")
    )
    blank, half, whole = (
        submission(released, solution, STUDENTS[name])
        for name in ("blank", "half_done", "complete")
    )
    course.submit("ada", blank)
    course.submit("ada", whole)  # twice: the later one counts
    course.submit("bob", half, name="my solution.ipynb")
    course.nbgrader("collect", "heads")

    course.hand_in_at("eve", half, AN_HOUR_AGO - timedelta(hours=1))
    course.hand_in_at("ghost", whole, AN_HOUR_AGO + timedelta(days=30))
    course.hand_in_at("nemo", None, AN_HOUR_AGO - timedelta(hours=1))

    before = {path: path.read_bytes() for path in (course.folder / "submitted").rglob("*.ipynb")}
    said = course.mha_course("grade", "heads", "--workers", "1")
    assert "heads: 5 graded" in said
    assert "other-name" in said
    assert "not in students.csv: ghost, nemo." in said
    assert "points taken from 3 (ada, bob, ghost): each day that has begun costs 10 %" in said
    full, some = TABLE["complete"][-1], TABLE["half_done"][-1]
    graded = {
        "ada": (full, pytest.approx(full / 10)),
        "bob": (some, pytest.approx(some / 10)),
        "eve": (some, 0),
        "ghost": (full, full),
        "nemo": (0, 0),
    }
    assert course.points(url) == graded

    # nbgrader's own command charges the same, and nobody is charged twice
    course.nbgrader("autograde", "heads", "--student=ada", "--force")
    course.mha_course("grade", "heads", "--workers", "1", "--student", "bob", "--force")
    assert course.points(url) == graded
    assert before == {path: path.read_bytes() for path in before}

    # a student who hands in the right file in the end, and an instructor who reads the answers
    course.submit("bob", whole)
    course.nbgrader("collect", "heads", "--update")
    with Gradebook(url, "mha-26") as gradebook:
        for name in WRITTEN:
            grade = gradebook.find_grade(name, "heads", "heads", "ada")
            grade.manual_score, grade.needs_manual_grade = 2, False
        gradebook.db.commit()
    said = course.mha_course("grade", "heads", "--workers", "1")
    assert "heads: 1 graded" in said
    assert "4 had a result already" in said
    by_hand = full + 2 * len(WRITTEN)
    assert course.points(url) == graded | {
        "ada": (by_hand, pytest.approx(by_hand / 10)),
        "bob": (full, pytest.approx(full / 10)),
    }

    course.nbgrader("generate_feedback", "heads")
    said = course.nbgrader("release_feedback", "heads")
    assert "eve, ghost, nemo did not submit through the exchange" in said
    exchange = course.folder.parent / "exchange"
    assert len(list((exchange / "mha-26" / "feedback").rglob("*.html"))) == 2
    course.mha_course("report", "heads")
    assert (course.folder / "grading" / "heads-report.html").is_file()
    course.nbgrader("export", "--to=grades.csv")
    with (course.folder / "grades.csv").open() as file:
        rows = {row["student_id"]: float(row["score"]) for row in csv.DictReader(file)}
    assert rows == pytest.approx(
        {"ada": 0.9 * by_hand, "bob": 0.9 * full, "eve": some, "ghost": 0, "nemo": 0}
    )
    said = course.mha_course("doctor")
    assert "5 students" in said
    assert "3 students in students.csv" in said
    assert f"{exchange}; everybody can write to it" in said


@pytest.mark.slow
def test_a_course_in_postgresql(private: Callable[..., Private]) -> None:
    with running_server() as server:
        course = private("--db", server.url)
        assert not (course.folder / "gradebook.db").exists()
        whole = read(course.folder / "solutions" / "heads" / "heads.ipynb")
        course.hand_in_at("eve", whole, AN_HOUR_AGO)
        course.hand_in_at("ghost", whole, AN_HOUR_AGO + timedelta(seconds=1))
        said = course.mha_course("grade", "heads", "--workers", "1")
        assert "heads: 2 graded" in said
        assert "not in students.csv: ghost." in said
        assert "points taken from 1 (ghost): each day" in said
        full = TABLE["complete"][-1]
        assert course.points(server.url) == {
            "eve": (full, 0),
            "ghost": (full, pytest.approx(full / 10)),
        }
        said = course.mha_course("doctor")
        assert "4 students" in said
        assert "postgresql+psycopg://grader@" in said

        folder = course.folder
        course.folder = folder.parent / "public"
        with pytest.raises(AssertionError, match="a course uses it already"):
            course.mha_course("init-course", str(folder.parent / "other"), "--db", server.url)
