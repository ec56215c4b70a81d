"""A class of three on one account, as `mha-course trial-class` makes it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from course import REPOSITORY

from mha_course.classroom import trial_class as module
from mha_course.cli import main


@pytest.fixture(autouse=True)
def _in_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=":")


def test_three_learners_and_a_course(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "trial"
    assert main(["trial-class", str(folder)]) == 0
    assert sorted(one.name for one in folder.iterdir()) == [
        "ada",
        "bob",
        "course",
        "cy",
        "exchange",
    ]
    said = capsys.readouterr().out
    assert f"{folder / 'course'}: you, the instructor" in said
    assert "check_owner = False" in (folder / "course" / "nbgrader_config.py").read_text()
    assert [one.name for one in (folder / "course" / "solutions").iterdir()] == ["heads"]
    settings = {who: (folder / who / "nbgrader_config.py").read_text() for who in ("ada", "cy")}
    for who, text in settings.items():
        assert f"c.Exchange.root = {str(folder / 'exchange')!r}" in text
        assert f"c.CourseDirectory.student_id = {who!r}" in text
    caches = {text.split("Exchange.cache = ")[1].splitlines()[0] for text in settings.values()}
    assert len(caches) == 2, "nobody sees what another has submitted"
    asked = subprocess.run(
        [folder / "cy" / "lab", "path"], capture_output=True, text=True, timeout=120, check=True
    )
    assert f"Workspaces directory: {folder / 'cy' / '.workspaces'}" in asked.stdout

    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert main(["trial-class", str(folder)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


@pytest.mark.parametrize("there", [False, True])
def test_nothing_is_left_of_what_goes_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], there: bool
) -> None:
    folder = tmp_path / "trial"
    if there:
        folder.mkdir()
    assert main(["trial-class", str(folder), "--assignments", "hearts"]) == 2
    assert "hearts" in capsys.readouterr().err
    assert folder.exists() == there
    assert not list(folder.rglob("*"))


def test_not_within_the_checkout(capsys: pytest.CaptureFixture[str]) -> None:
    folder = REPOSITORY / "_build" / "trial-of-a-test"
    assert main(["trial-class", str(folder)]) == 2
    assert "within the public checkout" in capsys.readouterr().err
    assert not folder.exists()


def test_names_are_those_of_the_guide() -> None:
    guide = (REPOSITORY / "chapters" / "running-a-class.md").read_text("utf-8")
    assert all(f"`{one.id}`" in guide for one in module.LEARNERS)
