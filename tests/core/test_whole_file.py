"""A file is the old one or the new one, with the rights that it should have."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from mha_course.whole_file import write_whole


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    """Nothing for others, as on many machines with many accounts."""
    before = os.umask(0o027)
    yield
    os.umask(before)


def rights(file: Path) -> int:
    return stat.S_IMODE(file.stat().st_mode)


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o755])
def test_a_file_keeps_its_rights(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "solution.ipynb"
    file.write_text("old")
    file.chmod(mode)
    write_whole(file, b"new")
    assert (file.read_text(), rights(file)) == ("new", mode)


def test_a_new_file_has_what_the_umask_leaves(tmp_path: Path) -> None:
    write_whole(tmp_path / "new", b"new")
    assert rights(tmp_path / "new") == 0o640


@pytest.mark.parametrize("mode", [0o600, 0o660])
@pytest.mark.parametrize("there", [False, True])
def test_rights_that_are_asked_for(tmp_path: Path, mode: int, there: bool) -> None:
    file = tmp_path / "grades.csv"
    if there:
        file.write_text("old")
        file.chmod(0o644)
    write_whole(file, b"new", mode)
    assert (file.read_text(), rights(file)) == ("new", mode)


def test_what_is_secret_is_so_before_its_rights_are_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        seen.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    file = tmp_path / "secret"
    write_whole(file, b"1", 0o600)
    write_whole(file, b"2")
    assert seen == [0o600, 0o600], "and each is on the disk before it takes its place"


@pytest.mark.parametrize("step", ["fsync", "chmod", "replace"])
def test_what_fails_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def fails(*_: object) -> None:
        raise OSError("no room")

    file = tmp_path / "list.csv"
    file.write_text("old")
    monkeypatch.setattr(os, step, fails)
    with pytest.raises(OSError, match="no room"):
        write_whole(file, b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["list.csv"]
    assert file.read_text() == "old"


def test_an_interrupt_when_all_is_done_is_an_interrupt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.replace

    def replace(*names: Path) -> None:
        real(*names)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(KeyboardInterrupt):
        write_whole(tmp_path / "new", b"new")
    assert (tmp_path / "new").read_text() == "new"
