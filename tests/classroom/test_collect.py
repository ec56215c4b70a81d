"""What is collected from the exchange is a student's own, and nothing in it can stop the class."""

from __future__ import annotations

import errno
import getpass
import glob
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from nbgrader.api import Gradebook
from nbgrader.coursedir import CourseDirectory
from nbgrader.utils import notebook_hash
from traitlets.config import Config

from mha_course.classroom import collect
from mha_course.classroom.collect import CollectOwn

ME = getpass.getuser()
TIME = "2026-01-02 03:04:05.000000 UTC"
LATER = "2099-01-01 00:00:00.000000 UTC"
SECRET = "ab" * 64
OPEN = os.open


class Exchange:
    """An exchange, and a course that collects from it."""

    def __init__(self, folder: Path, gradebook: Path) -> None:
        self.course = folder / "course"
        self.inbound = folder / "exchange" / "mha" / "inbound"
        for one in (self.course, self.inbound):
            one.mkdir(parents=True)
        shutil.copy(gradebook, self.course)

    def hand_in(self, name: str, notebook: str = "{}", **files: str) -> Path:
        """Put a submission there, as nbgrader does."""
        folder = self.inbound / name
        folder.mkdir()
        (folder / "heads.ipynb").write_text(notebook)
        files = {"timestamp.txt": TIME, "submission_secret.txt": SECRET} | files
        for file, text in files.items():
            (folder / file).write_text(text)
        return folder

    def collect(self, *, kilobytes: int = 100_000, **settings: bool) -> None:
        config = Config()
        config.CourseDirectory.root = str(self.course)
        config.CourseDirectory.course_id = "mha"
        config.CourseDirectory.assignment_id = "heads"
        config.CourseDirectory.db_url = f"sqlite:///{self.course / 'gradebook.db'}"
        config.CourseDirectory.max_file_size = 10
        config.CourseDirectory.max_dir_size = kilobytes
        config.Exchange.root = str(self.inbound.parents[1])
        for name, value in ({"update": True} | settings).items():
            config.ExchangeCollect[name] = value
        directory = CourseDirectory(config=config)
        CollectOwn(coursedir=directory, config=config).start()

    def taken(self, student: str = ME) -> Path:
        return self.course / "submitted" / student / "heads"

    def beside(self) -> list[str]:
        return [path.name for path in self.taken().parent.iterdir()]

    def files(self, student: str = ME) -> dict[str, str]:
        folder = self.taken(student)
        return {
            str(file.relative_to(folder)): file.read_text()
            for file in folder.rglob("*")
            if file.is_file()
        }


@pytest.fixture(scope="module")
def gradebook(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty one, which takes nbgrader seconds to make."""
    file = tmp_path_factory.mktemp("gradebook") / "gradebook.db"
    Gradebook(f"sqlite:///{file}", "mha").close()
    return file


@pytest.fixture
def exchange(tmp_path: Path, gradebook: Path) -> Exchange:
    (tmp_path / "exchange").mkdir()
    (tmp_path / "exchange").chmod(0o777)
    return Exchange(tmp_path, gradebook)


@pytest.fixture(autouse=True)
def said(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    logger = logging.getLogger("traitlets")
    logger.addHandler(caplog.handler)
    yield caplog
    logger.removeHandler(caplog.handler)


def test_a_submission_is_taken_as_it_is_and_a_later_one_replaces_it(exchange: Exchange) -> None:
    first = exchange.hand_in(f"{ME}+heads+{TIME}+one", "first")
    (first / "plots" / "deep").mkdir(parents=True)
    (first / "plots" / "deep" / "a.txt").write_text("a")
    exchange.collect()
    assert exchange.files() == {
        "heads.ipynb": "first",
        "plots/deep/a.txt": "a",
        "timestamp.txt": TIME,
        "submission_secret.txt": SECRET,
    }
    exchange.hand_in(f"{ME}+heads+{LATER}+two", "second")
    exchange.collect()
    assert exchange.files()["heads.ipynb"] == "second"
    assert exchange.files()["timestamp.txt"] == LATER


def test_nobody_hands_in_for_another(exchange: Exchange, said: pytest.LogCaptureFixture) -> None:
    exchange.hand_in(f"somebody-else+heads+{LATER}+forged")
    exchange.collect()
    assert not exchange.taken("somebody-else").exists()
    assert f"was handed in by {ME} in the name of somebody-else" in said.text


def test_a_trial_in_which_one_account_is_everybody(exchange: Exchange) -> None:
    exchange.hand_in(f"somebody-else+heads+{TIME}+x", "theirs")
    exchange.collect(check_owner=False)
    assert exchange.files("somebody-else")["heads.ipynb"] == "theirs"


@pytest.mark.parametrize(
    "name", [f"{ME}+heads+whenever+x", f"{ME}+heads+", f"{ME}+heads+{LATER}", "+heads+++"]
)
def test_an_odd_name_stops_nobody_else(
    exchange: Exchange, name: str, said: pytest.LogCaptureFixture
) -> None:
    exchange.hand_in(name)
    exchange.hand_in(f"{ME}+heads+{TIME}+mine", "mine")
    exchange.collect()
    assert exchange.files()["heads.ipynb"] == "mine"
    assert "has an odd name; it is left out" in said.text


def test_what_a_link_leads_to_is_not_taken(
    exchange: Exchange, tmp_path: Path, said: pytest.LogCaptureFixture
) -> None:
    hidden = tmp_path / "solutions"
    hidden.mkdir()
    (hidden / "heads.ipynb").write_text("the solution")
    mine = exchange.hand_in(f"{ME}+heads+{TIME}+mine")
    (mine / "heads.ipynb").unlink()
    (mine / "heads.ipynb").symlink_to(hidden / "heads.ipynb")
    (mine / "more").symlink_to(hidden)
    os.mkfifo(mine / "pipe")
    exchange.collect()
    assert set(exchange.files()) == {"timestamp.txt", "submission_secret.txt"}
    assert "heads.ipynb' is no plain file; it is left out" in said.text
    assert "pipe' is no plain file" in said.text

    (exchange.inbound / f"{ME}+heads+{LATER}+linked").symlink_to(hidden)
    exchange.collect()
    assert "is no folder; it is left out" in said.text
    assert "the solution" not in "".join(exchange.files().values())


def test_one_that_is_still_being_copied_waits(
    exchange: Exchange, said: pytest.LogCaptureFixture
) -> None:
    half = exchange.hand_in(f"{ME}+heads+{TIME}+half")
    (half / "submission_secret.txt").rename(half / "not-yet")
    exchange.collect()
    assert not exchange.taken().exists()
    assert "is not complete yet" in said.text
    (half / "not-yet").rename(half / "submission_secret.txt")
    exchange.collect()
    assert exchange.files()["heads.ipynb"] == "{}"


@pytest.mark.parametrize("secret", ["", "x", "\n".join(["ab" * 64] * 2), "\x00" * 128])
def test_feedback_can_always_be_released(exchange: Exchange, secret: str) -> None:
    odd = {"timestamp.txt": "never", "submission_secret.txt": secret}
    exchange.hand_in(f"{ME}+heads+{TIME}+odd", **odd)
    exchange.collect()
    assert exchange.files()["timestamp.txt"] == TIME
    made = exchange.files()["submission_secret.txt"]
    assert made != secret
    assert notebook_hash(secret=made, notebook_id="heads")


def test_a_folder_in_place_of_a_file_stops_nothing(exchange: Exchange) -> None:
    odd = exchange.hand_in(f"{ME}+heads+{TIME}+odd")
    (odd / "timestamp.txt").unlink()
    (odd / "timestamp.txt").mkdir()
    (odd / "timestamp.txt" / "x").write_text("x")
    exchange.collect()
    assert exchange.files()["timestamp.txt"] == TIME


def test_too_much_is_not_taken_at_all(exchange: Exchange, said: pytest.LogCaptureFixture) -> None:
    many = exchange.hand_in(f"{ME}+heads+{TIME}+many")
    for number in range(1_001):
        (many / f"{number}.txt").write_text("")
    exchange.collect()
    assert "it has more than 1,000 files" in said.text
    assert not exchange.taken().exists()
    assert exchange.beside() == []


def test_folders_in_folders_end_somewhere(exchange: Exchange) -> None:
    """A student can nest them deeper than Python can follow."""
    deep = exchange.hand_in(f"{ME}+heads+{TIME}+deep")
    for levels in (9, 11):
        folder = deep.joinpath(*["d"] * levels)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{levels}.txt").write_text("x")
    exchange.collect()
    assert {Path(one).name for one in exchange.files()} == {
        *("9.txt", "heads.ipynb", "timestamp.txt", "submission_secret.txt")
    }


def test_a_time_that_was_made_up_is_named(
    exchange: Exchange, said: pytest.LogCaptureFixture
) -> None:
    exchange.hand_in(f"{ME}+heads+2020-01-01 00:00:00.000000 UTC+early")
    exchange.collect()
    assert "was it on time?" in said.text


def no_room(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def broken(*_: object) -> None:
    raise OSError(errno.EIO, "Input/output error")


def unreadable(path: str, *rest: Any, **more: Any) -> int:
    if path == "heads.ipynb":
        raise PermissionError(errno.EACCES, "Permission denied", path)
    return OPEN(path, *rest, **more)


def changed(path: str, *rest: Any, **more: Any) -> int:
    if path == "heads.ipynb":
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
    return OPEN(path, *rest, **more)


@pytest.mark.parametrize(
    ("files", "patched", "says"),
    [
        (1_001, None, "more than 1,000 files; its student has to submit again, with fewer"),
        (0, None, "c.CourseDirectory.max_dir_size allows; raise that in nbgrader_config.py"),
        (0, (os, "open", unreadable), "run `chmod -R a+rX` on their folder, and submit"),
        (0, (os, "open", changed), "'heads.ipynb'); collect again"),
        (0, (Path, "write_bytes", no_room), "there is no room"),
        (0, (collect, "_complete", broken), "Input/output error; mend that, and collect again"),
    ],
    ids=["many", "large", "unreadable", "changed", "no-room", "other"],
)
def test_what_was_collected_stays_until_the_next_is_whole(
    exchange: Exchange,
    said: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    files: int,
    patched: tuple[Any, str, Any] | None,
    says: str,
) -> None:
    exchange.hand_in(f"{ME}+heads+{TIME}+one", "first")
    exchange.collect()
    before = exchange.files()
    second = exchange.hand_in(f"{ME}+heads+{LATER}+two", "second" * 1_000)
    for number in range(files):
        (second / f"{number}.txt").write_text("")
    with monkeypatch.context() as patch:
        if patched:
            patch.setattr(*patched)
        exchange.collect(kilobytes=100_000 if patched or files else 1)
    assert exchange.files() == before
    assert "is not collected; the one before stays: " in said.text
    assert says in said.text
    assert exchange.beside() == ["heads"]

    if not files:
        exchange.collect()
        assert exchange.files()["heads.ipynb"] == "second" * 1_000
        assert exchange.beside() == ["heads"]


def test_the_one_before_comes_back_if_the_next_cannot_take_its_place(
    exchange: Exchange, monkeypatch: pytest.MonkeyPatch, said: pytest.LogCaptureFixture
) -> None:
    exchange.hand_in(f"{ME}+heads+{TIME}+one", "first")
    exchange.collect()
    exchange.hand_in(f"{ME}+heads+{LATER}+two", "second")
    real = Path.rename

    def rename(path: Path, to: Path) -> Path:
        if path.suffix == ".new":
            broken()
        return real(path, to)

    monkeypatch.setattr(Path, "rename", rename)
    exchange.collect()
    assert exchange.files()["heads.ipynb"] == "first"
    assert "Input/output error; mend that, and collect again" in said.text
    assert exchange.beside() == ["heads"]


def test_one_that_goes_away_stops_nobody_else(
    exchange: Exchange, monkeypatch: pytest.MonkeyPatch, said: pytest.LogCaptureFixture
) -> None:
    """A student can make and remove folders all the time."""
    exchange.hand_in(f"{ME}+heads+{TIME}+mine", "mine")
    soon_gone = exchange.hand_in(f"zoe+heads+{TIME}+soon-gone")
    gone = exchange.inbound / f"{ME}+heads+{LATER}+gone"
    found, looked_up = glob.glob, CollectOwn.init_src
    monkeypatch.setattr(glob, "glob", lambda pattern: [str(gone), *found(pattern)])

    def init_src(self: CollectOwn) -> None:
        looked_up(self)
        shutil.rmtree(soon_gone)

    monkeypatch.setattr(CollectOwn, "init_src", init_src)
    exchange.collect(check_owner=False)
    assert exchange.files()["heads.ipynb"] == "mine"
    assert not exchange.taken("zoe").exists()
    assert f"{str(gone)!r} went away" in said.text
    assert "it was changed meanwhile" in said.text


def test_what_was_put_there_by_hand_stops_nothing(exchange: Exchange) -> None:
    exchange.taken().mkdir(parents=True)
    (exchange.taken() / "timestamp.txt").write_text("some day")
    exchange.hand_in(f"{ME}+heads+{TIME}+mine", "mine")
    exchange.collect()
    assert exchange.files()["heads.ipynb"] == "mine"


def test_a_file_that_is_too_large_is_left_out_by_itself(
    exchange: Exchange, said: pytest.LogCaptureFixture
) -> None:
    exchange.hand_in(f"{ME}+heads+{TIME}+mine", "mine", **{"data.bin": "x" * 10_001})
    exchange.collect()
    assert set(exchange.files()) == {"heads.ipynb", "timestamp.txt", "submission_secret.txt"}
    assert "data.bin' is larger than c.CourseDirectory.max_file_size allows" in said.text


def test_no_name_moves_the_cursor_of_a_terminal(
    exchange: Exchange, said: pytest.LogCaptureFixture
) -> None:
    evil = "\x1b[2K\rall is well"
    exchange.hand_in(f"{evil}+heads+{TIME}+x")
    exchange.hand_in(f"{ME}+heads+{evil}+x")
    folder = exchange.hand_in(f"{ME}+heads+{TIME}+{evil}")
    os.mkfifo(folder / evil)
    (folder / f"{evil}.bin").write_text("x" * 10_001)
    exchange.collect()
    assert said.text.count("all is well") >= 4
    assert "\x1b" not in said.text
    assert "\r" not in said.text


@pytest.mark.parametrize("before_duedate", [False, True])
def test_only_what_is_wanted_replaces(exchange: Exchange, before_duedate: bool) -> None:
    """As nbgrader has it: without --update nothing, before the due date the last that counts."""
    exchange.hand_in(f"{ME}+heads+{LATER}+two", "second")
    exchange.collect()
    shutil.rmtree(exchange.inbound / f"{ME}+heads+{LATER}+two")
    exchange.hand_in(f"{ME}+heads+{TIME}+one", "first")
    exchange.collect(update=False, before_duedate=before_duedate)
    assert exchange.files()["heads.ipynb"] == ("first" if before_duedate else "second")
