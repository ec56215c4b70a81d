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
import json
import os
import shutil
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
        self._server_was_lost = False
        self._stopped = False

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
        self._end_judge()
        self._server.__exit__()

    def stop(self) -> None:
        """Have the thread that grades stop soon; any other may call this, and only this."""
        self._stopped = True
        if judge := self._judge:
            judge.kill()

    def grade(self, job: bytes) -> bytes:
        """Return the result of a job, `Graded.to_bytes()`.

        Raises:
            GradingFailed: the judge died or hung twice, or stopped at an error of its own.
        """
        for last in (False, True):
            try:
                graded = self._asked(job)
            except (EOFError, OSError, ValueError) as error:
                said = self._end_judge()
                if last or self._stopped:
                    raise GradingFailed(f"the judge died or hung: {error}\n{said}") from None
            except BaseException:
                self._end_judge()
                raise
            else:
                # a submission cannot end its server: what failed with it may not be to blame
                if last or not self._server_was_lost:
                    return graded
        raise AssertionError  # the second round returns or raises

    def _end_judge(self) -> str:
        judge, self._judge = self._judge, None
        return judge.end() if judge is not None else ""

    def _asked(self, job: bytes) -> bytes:
        """Send a job, give the judge the processes that it asks for, and return its result."""
        judge = self._judge = self._judge or _JudgeProcess()
        if self._stopped:
            raise EOFError("it was stopped")
        judge.ready()
        self._server_was_lost = False
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
                    self._server_was_lost |= self._server.was_lost
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
        self._folder = ""
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

    def ready(self, until: float | None = None) -> None:
        """Wait until it has imported everything."""
        if not self._folder:
            until = time.monotonic() + START_SECONDS if until is None else until
            self._folder = str(self.hear(until)["ready"])

    def tell(self, message: dict[str, Any], until: float, *passed: socket.socket) -> None:
        """Send a message."""
        self._control.settimeout(max(until - time.monotonic(), 0.001))
        send(self._control, message, *passed)

    def hear(self, until: float) -> dict[str, Any]:
        """Return the next message."""
        self._control.settimeout(max(until - time.monotonic(), 0.001))
        return receive(self._control)[0]

    def kill(self) -> None:
        """End it; whoever waits for its answer sees that it has gone."""
        self._process.kill()

    def end(self) -> str:
        """End it, and free what it held; return the last of what it said on stderr."""
        self.kill()
        self._process.wait()
        with contextlib.suppress(EOFError, OSError, ValueError):
            self.ready(until=0)  # it may have been so, and nobody asked
        self._control.close()
        if self._folder:  # it had no time to remove it
            shutil.rmtree(self._folder, ignore_errors=True)
        self._said.seek(0)
        last = self._said.read().decode(errors="replace")[-4000:]
        self._said.close()
        return last


class Pool:
    """The graders of this process.

    Attributes:
        closed: Whether it is: there are no graders in it, and will not be.
    """

    def __init__(self, settings: Settings) -> None:
        self.closed = False
        self._settings = settings
        self._idle: list[Grader] = []
        self._busy: set[Grader] = set()
        self._lock = threading.Lock()
        self._starting = threading.Lock()  # one after the other: so the first is ready sooner

    def grade(self, job: bytes) -> bytes:
        """Return the result of a job; as many threads as like to may call it."""
        with self._taken() as grader:
            return grader.grade(job)

    def start(self) -> None:
        """Have a grader ready before the first job."""
        with self._taken():
            pass

    def close_idle(self) -> None:
        """End the graders that have nothing to do; the next job starts new ones."""
        with self._lock:
            idle, self._idle = self._idle, []
        for grader in idle:
            grader.close()

    def close(self) -> None:
        """End all graders: those that are at work stop there, and there will be no new ones."""
        with self._lock:
            self.closed = True
            busy = list(self._busy)
        for grader in busy:
            grader.stop()  # and the thread that has it closes it
        self.close_idle()

    @contextlib.contextmanager
    def _taken(self) -> Iterator[Grader]:
        grader = self._take_idle()
        if grader is None:
            with self._starting:
                # one may have become idle meanwhile
                grader = self._take_idle() or Grader(self._settings).__enter__()
        with self._lock:
            self._busy.add(grader)
            if self.closed:
                grader.stop()
        try:
            yield grader
        finally:
            with self._lock:
                self._busy.discard(grader)
                closed = self.closed
                if not closed:
                    self._idle.append(grader)
            if closed:
                grader.close()

    def _take_idle(self) -> Grader | None:
        with self._lock:
            return self._idle.pop() if self._idle else None


_pools: dict[Settings, Pool] = {}
_pools_lock = threading.Lock()


def pool(settings: Settings) -> Pool:
    """Return the pool of this process for these settings; it ends with the process."""
    with _pools_lock:
        if settings not in _pools or _pools[settings].closed:
            _pools[settings] = Pool(settings)
            atexit.register(_pools[settings].close)
        return _pools[settings]


def close_idle() -> None:
    """End the graders of this process that have nothing to do. What Dask's workers run."""
    with _pools_lock:
        pools = list(_pools.values())
    for each in pools:
        each.close_idle()


def grade_bytes(settings: str, job: bytes) -> bytes:
    """Grade a job with a grader of this process; `settings` is JSON. What Dask's workers run."""
    return pool(Settings(*json.loads(settings))).grade(job)
