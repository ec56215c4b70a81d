"""`mha-course doctor` finds what is missing, says what to do, and changes nothing."""

from __future__ import annotations

import shutil
import sys
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from conftest import require

from mha_course import doctor, installed
from mha_course.cli import main
from mha_course.doctor import BAD, GOOD, WITHOUT, Look

ROOT = Path(__file__).parents[2]


def states(looks: list[Look]) -> dict[str, str]:
    return {look.what: look.state for look in looks}


def test_all_is_well_here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    require("bwrap", hint="apt install bubblewrap")
    monkeypatch.chdir(ROOT)
    before = sorted(path.name for path in ROOT.iterdir())
    assert main(["doctor"]) == 0
    said = capsys.readouterr().out
    assert "submissions can be graded here, shut in" in said
    assert "assignments: counting, experiment, heads" in said
    assert "mha-course[grading]" in said
    assert BAD not in said
    assert sorted(path.name for path in ROOT.iterdir()) == before


def test_an_old_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "PYTHON", (99, 1))
    (look,) = doctor.python(ROOT)
    assert look.state == BAD
    assert look.do == "install Python 99.1: make PYTHON=python99.1"


class Other(NamedTuple):
    """A package in another version."""

    version: str | None


def without(monkeypatch: pytest.MonkeyPatch, gone: str, there: str | None = None) -> None:
    """Let a package be missing, or of another version."""
    real = doctor.distribution

    def distribution(name: str) -> metadata.Distribution:
        if name == gone and there is None:
            raise metadata.PackageNotFoundError(name)
        return Other(there) if name == gone else real(name)

    monkeypatch.setattr(installed, "distribution", distribution)


@pytest.mark.parametrize(("there", "shown"), [(None, "not installed"), ("0.8.1", "0.8.1")])
def test_a_package_that_is_missing_or_too_old(
    there: str | None, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    without(monkeypatch, "nbgrader", there)
    looks = {look.what: look for look in doctor.packages(ROOT)}
    assert looks["mha-course"].state == GOOD
    assert looks["mha-course[figures]"].state == GOOD
    wanting = looks["mha-course[exercises]"]
    assert wanting.state == WITHOUT
    assert "nbgrader" in wanting.says
    assert f"({shown})" in wanting.says
    assert wanting.do == "pip install 'mha-course[exercises]'"


def test_without_torch_nothing_works(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "torch")
    assert states(list(doctor.packages(ROOT)))["mha-course"] == BAD


def test_other_versions_than_those_tested(monkeypatch: pytest.MonkeyPatch) -> None:
    (look,) = doctor.tested_versions(ROOT)
    assert look.state == GOOD
    without(monkeypatch, "numpy", "1.0")
    (look,) = doctor.tested_versions(ROOT)
    assert look.state == WITHOUT
    assert "numpy 1.0, tested with" in look.says


@pytest.mark.parametrize(
    ("program", "says"), [("/nowhere/python", "which is not there"), ("/bin/sh", "another Python")]
)
def test_a_kernel_that_is_not_of_this_environment(
    program: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernels = pytest.importorskip("jupyter_client.kernelspec")

    class Spec(NamedTuple):
        argv: list[str]

    monkeypatch.setattr(
        kernels.KernelSpecManager, "get_kernel_spec", lambda *_: Spec([program, "-m", "x"])
    )
    (look,) = doctor.kernel(ROOT)
    assert look.state == BAD
    assert says in look.says
    assert look.do == f"{sys.executable} -m ipykernel install --sys-prefix"


def test_no_browser_and_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage(NamedTuple):
        free: int

    monkeypatch.setattr(shutil, "which", lambda *_: None)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**9))
    (look,) = doctor.browser(ROOT)
    assert (look.state, look.do) == (WITHOUT, "apt install chromium, or install Chrome")
    assert {look.state for look in doctor.room(ROOT)} == {BAD}


def test_no_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    (look,) = doctor.sandbox(ROOT)
    assert look.state == WITHOUT
    assert "`bwrap` is not on PATH" in look.says
    assert look.do


def course_in(folder: Path, line: str = "") -> Path:
    shutil.copy(ROOT / "nbgrader_config.py", folder)
    shutil.copytree(ROOT / "solutions" / "heads", folder / "solutions" / "heads")
    with (folder / "nbgrader_config.py").open("a") as config:
        config.write(f"\n{line}\n")
    return folder


def test_a_new_course(tmp_path: Path) -> None:
    looks = list(doctor.course(course_in(tmp_path)))
    assert states(looks) == {"course": GOOD, "secret": GOOD, "gradebook": GOOD}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["nbgrader_config.py", "solutions"]


def test_a_secret_that_others_can_read(tmp_path: Path) -> None:
    (course_in(tmp_path) / ".course-secret").write_text("secret")
    (tmp_path / ".course-secret").chmod(0o644)
    found = {look.what: look for look in doctor.course(tmp_path)}["secret"]
    assert found.state == BAD
    assert found.do.startswith("chmod 600 ")


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("sqlite:///nbgrader_config.py", "file is not a database"),
        ("postgresql+psycopg://u:hush@127.0.0.1:1/x", "onnection"),
        ("oracle://x", "oracle"),
    ],
)
def test_a_gradebook_that_cannot_be_used(
    address: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(course_in(tmp_path, f"c.CourseDirectory.db_url = {address!r}"))
    found = {look.what: look for look in doctor.course(tmp_path)}["gradebook"]
    assert found.state == BAD
    assert says in found.says
    assert "hush" not in found.says
    assert "db_url" in found.do


def test_what_goes_wrong_in_one_place_hides_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: Any) -> Any:
        raise RuntimeError("a pipe\nburst")

    broken.__name__ = "tested_versions"
    monkeypatch.setattr(doctor, "tested_versions", broken)
    looks = list(doctor.examine(tmp_path))
    wrong = next(look for look in looks if look.what == "tested versions")
    assert wrong.state == BAD
    assert wrong.says == "RuntimeError: a pipe burst"
    assert {"Python", "kernel", "course"} <= states(looks).keys()
