"""Whatever stops or is killed while a class is graded, no grade is lost, and none is doubled."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import require
from sample_class import CLASS, Grading, SampleClass, expected, nobody_left, soon, told

pytestmark = pytest.mark.slow

SLOW = "import time; time.sleep(0.5)"
HANGS = "import time; time.sleep(50)"
IMPATIENT = "from mha_course.autograder import patience; patience.WAIT_SECONDS = 0.5"


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> SampleClass:
    """A course whose class has handed in, cells that take their time among them."""
    require("bwrap", hint="apt install bubblewrap")
    made = SampleClass(tmp_path_factory.mktemp("course"), tmp_path_factory.mktemp("home"))
    made.nbgrader("generate_assignment", "heads")
    made.hand_in_all(cell=SLOW)
    # it gives up a lock after half a second, and not after five
    made.configure(
        'c.CourseDirectory.db_url = f"sqlite:///{c.CourseDirectory.root}/gradebook.db?timeout=0.5"'
    )
    return made


@pytest.fixture
def course(released: SampleClass, tmp_path: Path) -> Iterator[SampleClass]:
    """A course of one's own; when the test is over, no process and no file of it is left."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    made = released.another(tmp_path / "course")
    made.env = made.env | {"TMPDIR": str(temporary)}
    with nobody_left():
        yield made
    assert not list(temporary.glob("mha-*"))


def goes_on(course: SampleClass, *arguments: str) -> None:
    """See that the next run ends with a grade for everybody, and does nothing twice."""
    graded = course.recorded()
    said = course.grade(*arguments)
    assert said.code == 0, said.err
    assert "Traceback" not in said.err
    assert course.points() == expected()
    assert sorted(course.recorded()[len(graded) :]) == sorted(set(CLASS) - set(graded))


def test_ctrl_c(course: SampleClass) -> None:
    """A terminal sends it to the whole group; `kill -INT` only to the command."""
    *others, last = CLASS
    course.hand_in_all([last], cell=HANGS)
    for group in (False, True):
        with course.grading("--workers", "1") as running:
            if group:  # within a cell that takes a minute
                running.until(lambda: len(course.recorded()) == len(others), "all the others")
                second = course.grade("--student", others[0])
                assert second.code == 2
                assert "another command grades 'heads' now" in second.err
            else:  # between students
                running.until_graded(1)
            begun = time.monotonic()
            running.send(signal.SIGINT, group=group)
            said = running.end()
        assert time.monotonic() - begun < 10
        assert said.code == 130
        assert "interrupted; finished steps are kept, and the same command goes on" in said.err
        assert "Traceback" not in said.err
    assert course.recorded() == others
    course.hand_in_all([last], cell=SLOW)
    goes_on(course)


def test_a_regrade_that_was_stopped_goes_on_without_force(course: SampleClass) -> None:
    course.hand_in_all()
    goes_on(course)
    with course.grading("--workers", "1", "--force") as running:
        running.until_graded(2)
        running.send(signal.SIGINT)
        assert running.end().code == 130
        again = running.new("graded")
    assert course.grade().code == 0
    assert sorted(course.recorded()[len(CLASS) :]) == sorted(CLASS)
    assert set(again) < set(CLASS)
    assert course.points() == expected()


def test_kill_9_at_any_time(course: SampleClass) -> None:
    chance = random.Random(7)
    moments: list[Callable[[Grading], object]] = [
        lambda running: running.family("judge_process"),  # while it starts
        lambda running: running.new("recording"),  # while it writes
        lambda running: running.new("graded"),
        lambda running: running.new("recording"),
        lambda _: (course.folder / "gradebook.db-journal").exists(),  # half written
    ]
    for happens in moments:
        with course.grading() as running:
            running.until(lambda now=running, what=happens: what(now), "the moment to be killed")
            time.sleep(chance.uniform(0, 0.05))
            running.send(signal.SIGKILL)
            assert running.end().code == -signal.SIGKILL
    assert course.recorded()  # nothing has been in vain
    graded = set(course.recorded())
    said = course.grade()
    assert said.code == 0, said.err
    assert course.points() == expected()
    assert set(course.recorded()) == set(CLASS)
    assert f"{len(graded)} had a result already" in said.out
    for name in CLASS:
        (notebook,) = (course.folder / "autograded" / name / "heads").glob("*.ipynb")
        assert notebook.read_text().endswith("}\n")


def test_what_grades_is_killed(course: SampleClass) -> None:
    """A judge, then the warm server, then bubblewrap, each with a learner's process at work.

    Bubblewrap comes last: the server outlives it, as an orphan that is no longer in the family.
    """

    def sandboxed(running: Grading) -> list[int]:
        """The warm server, and what was forked from it."""
        return [one for one in running.family("warm_process") if not told(one).count("bwrap")]

    victims: list[Callable[[Grading], list[int]]] = [
        lambda running: running.family("judge_process"),
        lambda running: sandboxed(running)[:1],
        lambda running: running.family("bwrap"),
    ]
    with course.grading("--workers", "1") as running:
        for graded, found in enumerate(victims):
            running.until_graded(graded)
            running.until(lambda now=running: len(sandboxed(now)) == 2, "a learner's process")
            processes = found(running)
            assert processes
            for process in processes:
                os.kill(process, signal.SIGKILL)
        said = running.end()
    assert said.code == 0, said.err
    assert "NO RESULT" not in said.out
    assert course.points() == expected()
    assert sorted(course.recorded()) == sorted(CLASS)


@contextlib.contextmanager
def locked(course: SampleClass) -> Iterator[None]:
    """Keep the gradebook to ourselves."""
    with contextlib.closing(sqlite3.connect(course.folder / "gradebook.db")) as gradebook:
        gradebook.isolation_level = None
        soon(lambda: _taken(gradebook), "the gradebook to ourselves")
        yield
        gradebook.execute("ROLLBACK")


def _taken(gradebook: sqlite3.Connection) -> bool:
    try:
        gradebook.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError:
        return False
    return True


def test_a_locked_gradebook_is_waited_for(course: SampleClass) -> None:
    says = "the gradebook cannot be used: database is locked; trying again for 60 seconds"
    with course.grading() as running:
        for graded in (0, 1):  # before anything is known, and in the middle
            running.until_graded(graded)
            with locked(course):
                running.until(lambda past=graded: running.err.count(says) > past, "word of it")
        said = running.end()
    assert said.code == 0, said.err
    assert course.points() == expected()
    assert sorted(course.recorded()) == sorted(CLASS)


def test_a_gradebook_that_stays_locked(course: SampleClass) -> None:
    with course.grading(patched=IMPATIENT) as running:
        running.until_graded(1)
        with locked(course):
            said = running.end()
    assert said.code == 2
    assert "the gradebook cannot be used: database is locked, for 0.5 seconds by now" in said.err
    assert "run the same command again: it goes on from here" in said.err
    assert "Traceback" not in said.err
    goes_on(course)


def test_a_full_disk(released: SampleClass, tmp_path: Path) -> None:
    """The disk of the course has no room left in the middle, and then has some again."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("only root may mount a small disk")
    try:
        course = released.another(disk / "course")
        with course.grading(patched=IMPATIENT) as running:
            running.until_graded(1)
            _fill(disk / "full")
            said = running.end()
        assert said.code == 2
        assert "Make room there, and run the same command again" in said.err
        assert "Traceback" not in said.err
        assert len(course.recorded()) < len(CLASS)
        (disk / "full").unlink()
        goes_on(course)
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def _fill(file: Path) -> None:
    with contextlib.suppress(OSError), file.open("wb", buffering=0) as opened:
        while opened.write(bytes(2**12)):
            pass
