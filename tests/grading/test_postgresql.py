"""A gradebook in PostgreSQL, as a large course has it, whose server fails in the middle."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import require
from postgresql import Server, running_server
from sample_class import CLASS, SampleClass, expected

pytestmark = pytest.mark.weekly

SLOW = "import time; time.sleep(0.4)"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_server() as server:
        yield server


def test_no_grade_is_lost_or_doubled(server: Server, tmp_path: Path) -> None:
    require("bwrap", hint="apt install bubblewrap")
    for name in ("course", "home"):
        (tmp_path / name).mkdir()
    course = SampleClass(tmp_path / "course", tmp_path / "home")
    course.db_url = server.url
    course.configure(f'c.CourseDirectory.db_url = "{server.url}"')
    course.nbgrader("generate_assignment", "heads")
    course.hand_in_all(cell=SLOW)

    with course.grading("--workers", "1") as running:
        running.until_graded(1)
        server.crash()
        server.start()
        running.until_graded(3)
        server.crash()
        running.until(lambda: "trying again for 60 seconds" in running.err, "word of it")
        server.start()
        said = running.end()
    assert said.code == 0, said.err
    assert "Traceback" not in said.err
    assert not list(course.folder.glob("*.db"))
    assert course.points() == expected()
    assert sorted(course.recorded()) == sorted(CLASS)
    again = course.grade()
    assert again.code == 0
    assert f"{len(CLASS)} had a result already" in again.out
