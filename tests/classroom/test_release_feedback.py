"""Feedback goes to all who can fetch it, and the others are named, each time anew."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from nbgrader.coursedir import CourseDirectory
from nbgrader.exchange import ExchangeError
from traitlets.config import Config

from mha_course.classroom.release import ReleaseToAll


@pytest.fixture
def course(tmp_path: Path) -> CourseDirectory:
    """A course with feedback for two; only Ada has submitted through the exchange."""
    (tmp_path / "exchange").mkdir(mode=0o777)
    for student in ("ada", "bob", "eve"):
        folder = tmp_path / "course" / "feedback" / student / "heads"
        folder.mkdir(parents=True)
        (folder / "heads.html").write_text(f"to {student}")
    came_through_the_exchange(tmp_path, "ada")
    came_through_the_exchange(tmp_path, "eve")
    config = Config()
    config.CourseDirectory.root = str(tmp_path / "course")
    config.CourseDirectory.course_id = "mha"
    config.CourseDirectory.assignment_id = "heads"
    config.CourseDirectory.student_id_exclude = "eve"
    return CourseDirectory(config=config)


def came_through_the_exchange(folder: Path, student: str) -> None:
    feedback = folder / "course" / "feedback" / student / "heads"
    (feedback / "timestamp.txt").write_text("2026-01-02 03:04:05 UTC")
    (feedback / "submission_secret.txt").write_text(student * 32)


def release(course: CourseDirectory, exchange: Path) -> set[str]:
    """Release, and return what lies in the exchange then."""
    ReleaseToAll(coursedir=course, config=Config({"Exchange": {"root": str(exchange)}})).start()
    return {file.read_text() for file in (exchange / "mha" / "feedback").iterdir()}


def test_who_is_left_out_once_is_not_so_for_ever(
    course: CourseDirectory, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The formgrader keeps one coursedir until JupyterLab ends."""
    logger = logging.getLogger("traitlets")
    logger.addHandler(caplog.handler)
    try:
        assert release(course, tmp_path / "exchange") == {"to ada"}
        assert "bob did not submit through the exchange" in caplog.text
        assert course.student_id_exclude == "eve"

        came_through_the_exchange(tmp_path, "bob")
        assert release(course, tmp_path / "exchange") == {"to ada", "to bob"}
    finally:
        logger.removeHandler(caplog.handler)


def test_a_release_that_fails_leaves_nobody_out_later(
    course: CourseDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise ExchangeError("the exchange is gone")

    with monkeypatch.context() as patch:
        patch.setattr("shutil.copy", fails)
        with pytest.raises(ExchangeError, match="is gone"):
            release(course, tmp_path / "exchange")
    assert course.student_id_exclude == "eve"
