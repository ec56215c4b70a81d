"""Graders: a judge and a warm server each, that turn jobs into results.

    with Grader(settings) as grader:
        result = grader.grade(job.to_bytes())

Dask's workers call `pool(settings).grade(…)`: each of a process' threads that grades at a time has
a grader of its own.
"""

from __future__ import annotations

import atexit
import base64
import contextlib
import functools
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from typing import Any

from mha_course.autograder.control import receive, send
from mha_course.autograder.job import Settings
from mha_course.autograder.warm_server import WarmServer

START_SECONDS = 120.0
SPARE_SECONDS = 120.0  # on top of a submission's own, for new servers where it ends them
_MODULE = "mha_course.autograder.judge_process"


class GradingFailed(RuntimeError):  # noqa: N818  what it is
    """The grader itself failed at a submission; there is no result."""


class Grader:
    """Grades one submission at a time."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._server = WarmServer(settings.limits(), sandbox=settings.sandbox)
        self._judge: _JudgeProcess | None = None
        self._closed = False

    @property
    def not_enforced(self) -> tuple[str, ...]:
        """Sentences on what does not hold without a sandbox; empty with one."""
        return self._server.not_enforced

    def __enter__(self) -> Grader:
        self._judge = _JudgeProcess()  # it imports what it needs while the server does so
        try:
            self._server.__enter__()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the judge, the server, and all that they started."""
        self._closed = True
        if self._judge is not None:
            self._judge.end()
            self._judge = None
        self._server.__exit__()

    def grade(self, job: bytes) -> bytes:
        """Return the result of a job, `Graded.to_bytes()`.

        Raises:
            GradingFailed: the judge died or hung twice, or stopped at an error of its own.
        """
        for last in (False, True):
            if self._judge is None:
                self._judge = _JudgeProcess()
            try:
                return self._asked(self._judge, job)
            except (EOFError, OSError, ValueError) as error:
                said = self._judge.end()
                self._judge = None
                if last or self._closed:
                    raise GradingFailed(f"the judge died or hung: {error}\n{said}") from None
            except BaseException:
                self._judge.end()
                self._judge = None
                raise
        raise AssertionError  # the second round returns or raises

    def _asked(self, judge: _JudgeProcess, job: bytes) -> bytes:
        """Send a job, give the judge the processes that it asks for, and return its result."""
        judge.ready()
        until = time.monotonic() + self.settings.total_seconds + SPARE_SECONDS
        judge.tell({"job": job.decode(), "settings": list(self.settings)}, until)
        with contextlib.ExitStack() as learner:
            while True:
                message = judge.hear(until)
                if "connect" in message:
                    files = message["connect"].items()
                    decoded = {name: base64.b64decode(data) for name, data in files}
                    connection = learner.enter_context(self._server.learner(decoded))
                    judge.tell({"connected": True}, until, connection)
                elif "disconnect" in message:
                    learner.close()
                    judge.tell({"disconnected": True}, until)
                elif "why" in message:
                    judge.tell({"ended_by": self._server.ended_by}, until)
                elif "graded" in message:
                    return str(message["graded"]).encode()
                else:
                    raise GradingFailed(str(message["failed"]))


class _JudgeProcess:
    """The process of `judge_process`, seen from the grader."""

    def __init__(self) -> None:
        self._control, theirs = socket.socketpair()
        self._said = tempfile.TemporaryFile()  # noqa: SIM115, closed in end
        self._is_ready = False
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", _MODULE, str(theirs.fileno())],
                env=os.environ | {"OMP_NUM_THREADS": "1"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._said,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C is for the grader, which then ends it
            )

    def ready(self) -> None:
        """Wait until it has imported everything."""
        if not self._is_ready:
            self.hear(time.monotonic() + START_SECONDS)
            self._is_ready = True

    def tell(self, message: dict[str, Any], until: float, *passed: socket.socket) -> None:
        """Send a message."""
        self._control.settimeout(max(until - time.monotonic(), 0.001))
        send(self._control, message, *passed)

    def hear(self, until: float) -> dict[str, Any]:
        """Return the next message."""
        self._control.settimeout(max(until - time.monotonic(), 0.001))
        return receive(self._control)[0]

    def end(self) -> str:
        """End it; return the last of what it said on stderr."""
        self._control.close()
        self._process.kill()
        self._process.wait()
        self._said.seek(0)
        last = self._said.read().decode(errors="replace")[-4000:]
        self._said.close()
        return last


class Pool:
    """The graders of this process."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._idle: list[Grader] = []
        self._all: list[Grader] = []
        self._starting = threading.Lock()  # one after the other: so the first is ready sooner

    def grade(self, job: bytes) -> bytes:
        """Return the result of a job; as many threads as like to may call it."""
        with self._taken() as grader:
            return grader.grade(job)

    def start(self) -> None:
        """Have a grader ready before the first job."""
        with self._taken():
            pass

    def close(self) -> None:
        """End all graders."""
        for grader in self._all:
            grader.close()
        self._idle, self._all = [], []

    @contextlib.contextmanager
    def _taken(self) -> Iterator[Grader]:
        grader = self._take()
        try:
            yield grader
        finally:
            self._idle.append(grader)

    def _take(self) -> Grader:
        with contextlib.suppress(IndexError):
            return self._idle.pop()  # an operation that threads cannot break up
        with self._starting:
            with contextlib.suppress(IndexError):
                return self._idle.pop()  # one has become idle meanwhile
            grader = Grader(self._settings).__enter__()
            self._all.append(grader)
            return grader


@functools.cache
def pool(settings: Settings) -> Pool:
    """Return the pool of this process for these settings; it ends with the process."""
    made = Pool(settings)
    atexit.register(made.close)
    return made


def grade_bytes(settings: str, job: bytes) -> bytes:
    """Grade a job with a grader of this process; `settings` is JSON. What Dask's workers run."""
    return pool(Settings(*json.loads(settings))).grade(job)
