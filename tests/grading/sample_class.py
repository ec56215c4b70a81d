"""A class that hands in `heads`, and `mha-course grade` as its instructor runs it."""

from __future__ import annotations

import contextlib
import copy
import ctypes
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from course import HEADS, Course, read, submission
from nbgrader.api import Gradebook
from points import TABLE
from students import STUDENTS

from mha_course.autograder.usage import descendants

LONGEST = 240.0  # seconds for anything that is waited for; on a busy machine a minute is little
CLASS = ("blank", "complete", "half_done", "slices", "tampering", "wrong_types")
PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h

Points = dict[str, list[float]]
"""Of each student, task by task."""


class Said(NamedTuple):
    """What a command has said."""

    code: int
    out: str
    err: str


class SampleClass(Course):
    """The folder of a course with what its class has handed in.

    Attributes:
        db_url: Where the gradebook is.
    """

    def __init__(self, folder: Path, scratch: Path) -> None:
        super().__init__(folder, scratch)
        self.db_url = f"sqlite:///{folder / 'gradebook.db'}"

    def another(self, folder: Path) -> SampleClass:
        """Return a copy of it as it is now."""
        shutil.copytree(self.folder, folder)
        made = copy.copy(self)
        made.folder = folder
        made.db_url = f"sqlite:///{folder / 'gradebook.db'}"
        return made

    def configure(self, line: str) -> None:
        """Add a line to the course's settings."""
        with (self.folder / "nbgrader_config.py").open("a") as file:
            file.write(f"\n{line}\n")

    def hand_in_all(self, names: Sequence[str] = CLASS, cell: str = "") -> None:
        """Have students hand in what they made, and with it a cell of their own."""
        released = read(self.folder / "exercises" / "heads" / "heads.ipynb")
        solution = read(self.folder / "solutions" / "heads" / "heads.ipynb")
        for name in names:
            student = STUDENTS[name]
            if cell:
                student = dataclasses.replace(student, extra=(*student.extra, cell))
            shutil.rmtree(self.folder / "submitted" / name, ignore_errors=True)
            self.hand_in(name, submission(released, solution, student))

    def command(self, *arguments: str, patched: str = "") -> list[str]:
        """Return the command that grades the class; `patched` is code to run before.

        With one worker, unless it is said otherwise: each has two processes that import torch.
        """
        if not {"--workers", "--scheduler"} & {*arguments}:
            arguments = (*arguments, "--workers", "1")
        run = "import sys; from mha_course.cli import main; sys.exit(main())"
        code = f"{patched}\n{run}"
        # where tests run in the background, SIGINT may be ignored, and children inherit that
        return ["env", "--default-signal=INT", sys.executable, "-c", code, "grade", *arguments]

    def grade(self, *arguments: str, patched: str = "") -> Said:
        """Grade the class."""
        done = subprocess.run(
            self.command("heads", *arguments, patched=patched),
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=LONGEST,
            check=False,
        )
        return Said(done.returncode, done.stdout, done.stderr)

    @contextlib.contextmanager
    def grading(self, *arguments: str, patched: str = "") -> Iterator[Grading]:
        """Begin to grade the class; what is still there at the end is killed."""
        with Grading(self, arguments, patched) as running:
            yield running

    def points(self) -> Points:
        """Return what is in the gradebook, where each student must be once."""
        found: Points = {}
        with Gradebook(self.db_url) as gradebook:
            for submitted in gradebook.assignment_submissions("heads"):
                assert submitted.student.id not in found
                (notebook,) = submitted.notebooks
                scores = {grade.name: grade.auto_score for grade in notebook.grades}
                assert len(scores) == len(notebook.grades)
                found[submitted.student.id] = [
                    sum(scores[test] or 0 for test in task.tests) for task in HEADS.autograded
                ]
        return found

    def lines(self) -> list[dict[str, Any]]:
        """Return the lines of the records that are whole."""
        file = self.folder / "grading" / "heads.jsonl"
        found = []
        for line in file.read_text().splitlines() if file.exists() else []:
            with contextlib.suppress(ValueError):
                found.append(json.loads(line))
        return [line for line in found if isinstance(line, dict) and "state" in line]

    def recorded(self, state: str = "graded") -> list[str]:
        """Return whom the records hold in a state, line by line."""
        return [line["student"] for line in self.lines() if line["state"] == state]


class Grading:
    """A command that grades a class, while it runs."""

    def __init__(self, course: SampleClass, arguments: Sequence[str], patched: str) -> None:
        self.course = course
        self._before = len(course.lines())
        self._out, self._err = (tempfile.TemporaryFile() for _ in range(2))  # noqa: SIM115
        self.process = subprocess.Popen(
            course.command("heads", *arguments, patched=patched),
            cwd=course.folder,
            env=course.env,
            stdout=self._out,
            stderr=self._err,
            start_new_session=True,
        )

    def __enter__(self) -> Grading:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        self._out.close()
        self._err.close()

    @property
    def err(self) -> str:
        """What it has said on stderr up to now."""
        return os.pread(self._err.fileno(), 10**6, 0).decode()

    def new(self, state: str) -> list[str]:
        """Return whom it has brought to a state up to now."""
        lines = self.course.lines()[self._before :]
        return [line["student"] for line in lines if line["state"] == state]

    def until(self, holds: Callable[[], object], what: str) -> None:
        """Wait until something holds, as long as it runs."""
        soon(lambda: holds() or self.process.poll() is not None, what)
        assert holds(), f"it ended without: {what}\n{self.err}"

    def until_graded(self, count: int) -> None:
        """Wait until so many students are graded."""
        self.until(lambda: len(self.new("graded")) >= count, f"{count} graded")

    def send(self, number: signal.Signals, *, group: bool = False) -> None:
        """Send it a signal; a terminal sends Ctrl-C to the whole group."""
        (os.killpg if group else os.kill)(self.process.pid, number)

    def end(self) -> Said:
        """Wait until it has ended."""
        code = self.process.wait(LONGEST)
        return Said(code, os.pread(self._out.fileno(), 10**6, 0).decode(), self.err)

    def family(self, word: str) -> list[int]:
        """Return its processes whose command holds a word."""
        return [process for process in descendants(self.process.pid) if word in told(process)]


def expected(names: Sequence[str] = CLASS) -> Points:
    """Return the points that students must get."""
    return {name: TABLE[name][:-1] for name in names}


def told(process: int) -> str:
    """Return the command of a process; empty if it has gone."""
    try:
        return Path(f"/proc/{process}/cmdline").read_text()
    except OSError:
        return ""


def soon(holds: Callable[[], object], what: str, seconds: float = LONGEST) -> None:
    """Wait until something holds."""
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, f"not in {seconds:g} seconds: {what}"
        time.sleep(0.01)


@contextlib.contextmanager
def nobody_left() -> Iterator[None]:
    """See that no process stays behind that was started within, whoever its parent was."""
    prctl = ctypes.CDLL(None).prctl
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    before = set(descendants(os.getpid()))

    def left() -> list[str]:
        processes = set(descendants(os.getpid())) - before
        for process in processes:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(process, os.WNOHANG)
        return [told(process)[:200] for process in processes]

    try:
        yield
        soon(lambda: not left(), "no process left", seconds=60)
    finally:
        for process in set(descendants(os.getpid())) - before:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
