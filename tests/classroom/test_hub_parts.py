"""Parts of the hub that need no root, and no hub."""

from __future__ import annotations

import fcntl
import os
import pwd
import shutil
import signal
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import zmq
from looks_around import heard

from deploy import database, hub
from deploy.accounts import Accounts


def account(uid: int) -> pwd.struct_passwd:
    return pwd.struct_passwd(("course", "x", uid, os.getgid(), "", "/", "/bin/sh"))


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three versions of PostgreSQL."""
    for version in ("9.6", "15", "17"):
        (tmp_path / "lib" / version / "bin").mkdir(parents=True)
        (tmp_path / "lib" / version / "bin" / "initdb").touch()
    monkeypatch.setattr(database, "_INSTALLED", tmp_path / "lib")
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "initdb" else name)
    return tmp_path / "lib"


@pytest.mark.parametrize(
    ("version", "found"), [("", "17"), ("15", "15"), ("9.6", "9.6"), ("16", None)]
)
def test_databases_keep_the_postgresql_that_has_made_them(
    installed: Path, tmp_path: Path, version: str, found: str | None
) -> None:
    (tmp_path / "data").mkdir()
    if version:
        (tmp_path / "data" / "PG_VERSION").write_text(f"{version}\n")
    expected = installed / found / "bin" if found else None
    assert database.programs(database.made_by(tmp_path)) == expected


@pytest.mark.usefixtures("installed")
def test_a_postgresql_that_is_gone_is_named(tmp_path: Path) -> None:
    (tmp_path / "database" / "data").mkdir(parents=True)
    (tmp_path / "database" / "data" / "PG_VERSION").write_text("16\n")
    trial = hub.Trial(tmp_path, "trial", "127.0.0.1", 0, (), "teacher", None)
    with pytest.raises(hub.RefusedError, match=r"PostgreSQL 16 is missing.*postgresql-16"):
        hub.check(trial)


def test_passwords_are_written_when_there_are_new_ones(tmp_path: Path) -> None:
    file = tmp_path / "passwords.csv"
    first = hub._passwords(file, ["ada", "grace"])
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    written = file.stat().st_ino
    assert hub._passwords(file, ["grace"]) == {"grace": first["grace"]}
    assert file.stat().st_ino == written
    assert hub._passwords(file, ["alan"]).keys() == {"alan"}
    assert hub._passwords(file, ["ada", "grace"]) == first
    assert file.read_text().splitlines()[0] == "name,password"
    assert [one.name for one in tmp_path.iterdir()] == ["passwords.csv"]


def test_passwords_outlive_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "passwords.csv"
    first = hub._passwords(file, ["ada"])

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        hub._passwords(file, ["ada", "grace"])
    assert hub._passwords(file, ["ada"]) == first


def test_the_list_of_a_class_is_for_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = tmp_path / "class.csv"
    rights = []

    def as_course(*command: object) -> str:
        assert str(listed) in command
        rights.append(stat.S_IMODE(listed.stat().st_mode))
        return ""

    monkeypatch.setattr(hub, "_as_course", as_course)
    (tmp_path / "given.csv").write_text("id\nada\n")
    for given in (None, tmp_path / "given.csv"):
        trial = hub.Trial(tmp_path, "trial", "127.0.0.1", 0, (), "teacher", given)
        hub._make_course(trial, account(os.getuid()), "")
    assert rights == [0o600, 0o600]
    assert not listed.exists()


def test_the_courses_folder_in_the_exchange_is_its_own(tmp_path: Path) -> None:
    for _ in range(2):
        hub._make_exchange(tmp_path, account(os.getuid()))
        own = tmp_path / hub.COURSE_ID
        assert stat.S_IMODE(own.stat().st_mode) == 0o755
        assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o1777


def test_a_link_in_place_of_it_is_not_followed(tmp_path: Path) -> None:
    other, exchange = tmp_path / "other", tmp_path / "exchange"
    other.mkdir(mode=0o700)
    exchange.mkdir()
    (exchange / hub.COURSE_ID).symlink_to(other)
    with pytest.raises(ValueError, match="is not of the account course"):
        hub._make_exchange(exchange, account(os.getuid() + 1))
    assert stat.S_IMODE(other.stat().st_mode) == 0o700
    assert stat.S_IMODE(exchange.stat().st_mode) & 0o002 == 0


@pytest.fixture
def signals() -> Iterator[None]:
    """Ends with the signals as they were."""
    before = {which: signal.getsignal(which) for which in hub._ENDING}
    yield
    for which, what in before.items():
        signal.signal(which, what)


@pytest.mark.usefixtures("signals")
def test_what_is_being_removed_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "trial"
    folder.mkdir()
    (folder / ".trial").touch()

    def interrupted(_: Accounts) -> list[str]:
        os.kill(os.getpid(), signal.SIGINT)
        return []

    monkeypatch.setattr(Accounts, "remove", interrupted)
    assert hub.remove(folder, sure=True) == 0
    assert not folder.exists()
    assert "hub: removed" in capsys.readouterr().out


def test_what_runs_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / ".trial").touch()
    with (tmp_path / ".trial").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(hub.RefusedError, match="a trial is running"):
            hub.remove(tmp_path, sure=True)


@pytest.mark.parametrize("port", ["70000", "-1", "80.5", "http", "²"])
def test_a_port_that_is_none(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        hub.main(["--port", port])
    assert f"{port!r} is no port; give a number from 0 to 65535" in capsys.readouterr().err


def test_who_listens_hears_what_is_not_encrypted() -> None:
    """Else, on the hub, nothing would be heard by anybody."""
    with zmq.Context() as context, context.socket(zmq.PUB) as speaking, ThreadPoolExecutor() as run:
        port = speaking.bind_to_random_port("tcp://127.0.0.1")
        listening = run.submit(heard, [port], 1.0)
        while not listening.done():
            speaking.send(b"a secret")
        assert "a secret" in listening.result()
