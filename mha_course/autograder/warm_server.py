"""A server that has imported torch once, and gives each submission a process of its own.

    with WarmServer() as server:
        with server.learner() as connection:
            ...  # the other end is in the hands of the submission's process

The server and all that submissions start run in a sandbox (`mha_course.autograder.sandbox`). What
it says is trusted no more than a submission: whenever it does not answer as agreed, it is ended,
and a new one started.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from mha_course.autograder.control import receive, send
from mha_course.autograder.sandbox import (
    MB,
    NOT_ENFORCED,
    SCRATCH,
    Limits,
    Plan,
    did_not_start,
    sandboxed,
    unavailable,
    unsandboxed,
)
from mha_course.autograder.syscall_filter import syscall_filter
from mha_course.autograder.usage import scratch_files, usage

START_SECONDS = 120.0  # on a cold disk, torch alone takes half a minute
ANSWER_SECONDS = 20.0
LOOK_EVERY = 0.1  # seconds

BOOT = """
import json, sys
from importlib.util import module_from_spec, spec_from_file_location
path, *arguments = json.loads(sys.argv[1])
sys.path[:] = path
course = f"{path[0]}/mha_course"
spec = spec_from_file_location(
    "mha_course",
    f"{course}/autograder/graded_package.py",
    submodule_search_locations=[course],
)
sys.modules["mha_course"] = module_from_spec(spec)
spec.loader.exec_module(sys.modules["mha_course"])
from mha_course.autograder.warm_process import main
main(*arguments)
"""


class WarmServer:
    """Processes for submissions, one at a time, in a sandbox.

    Args:
        limits: What one submission may use.
        function: What its process calls with its connection, as "module:name".
        sandbox: Whether there is a sandbox. Without, what `not_enforced` lists is not held.
        folders: With further modules to import, visible to submissions.

    Raises:
        SandboxUnavailable: on entering, where there is no bubblewrap or it is forbidden.

    Attributes:
        not_enforced: Sentences on what does not hold without a sandbox; empty with one.
        was_lost: Whether the server went away during the last submission, which went with it.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        function: str = "mha_course.autograder.learner:serve",
        sandbox: bool = True,
        folders: Sequence[Path] = (),
    ) -> None:
        self.limits = limits or Limits()
        self.not_enforced: tuple[str, ...] = () if sandbox else NOT_ENFORCED
        self.was_lost = False
        self._function = function
        self._sandbox = sandbox
        self._folders = tuple(folders)
        self._server: _Server | None = None
        self._watch: _Watch | None = None
        self._taken = threading.Lock()

    @property
    def ended_by(self) -> str:
        """The limit that ended the last submission, in a sentence; empty if none did."""
        return self._watch.reason if self._watch else ""

    def __enter__(self) -> WarmServer:
        self._server = self._start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.stop()
        self._server = None

    @contextlib.contextmanager
    def learner(self, files: Mapping[str, bytes] | None = None) -> Iterator[socket.socket]:
        """Connect to a fresh process; on leaving, it and all that it started are ended.

        Args:
            files: By path, what lies in the folder where its cells run.

        Raises:
            RuntimeError: another submission still runs in this sandbox, or no server starts.
        """
        for name in files or {}:
            path = PurePosixPath(name)
            if path.is_absolute() or str(path) != name or {"..", "."} & {*path.parts, name}:
                raise ValueError(f"{name!r} is not the name of a file in the folder of the cells")
        if not self._taken.acquire(blocking=False):
            raise RuntimeError(
                "a WarmServer has one submission at a time: leave learner() first, or start "
                "another WarmServer"
            )
        ours, theirs = socket.socketpair()
        with contextlib.ExitStack() as at_end, ours:
            at_end.callback(self._taken.release)
            with theirs:
                server = self._begin(theirs, files or {})
            self._watch = watch = _Watch(server, self.limits, self._sandbox)
            watch.start()
            try:
                yield ours
            finally:
                watch.stop()
                self.was_lost = not server.end() and not watch.reason

    def _begin(self, theirs: socket.socket, files: Mapping[str, bytes]) -> _Server:
        """Start a submission's process; the second try is with a server that is new."""
        message = {name: base64.b64encode(content).decode() for name, content in files.items()}
        if self._server is None:
            raise RuntimeError("a WarmServer is used in a `with` statement")
        if not self._server.begin(theirs, message):
            self._server = self._start()
            if not self._server.begin(theirs, message):
                raise RuntimeError("a new warm server did not start a submission's process")
        return self._server

    def _start(self) -> _Server:
        return _Server(self._function, self.limits, self._folders, self._sandbox)


class _Server:
    """One server process, as long as it answers.

    Attributes:
        process_id: Of the server, as the grader sees it.
        warm_bytes: Memory of what it has imported.
    """

    def __init__(
        self, function: str, limits: Limits, folders: Sequence[Path], sandbox: bool
    ) -> None:
        self._sandbox = sandbox
        self._lock = threading.Lock()  # the watch ends submissions, too
        self._busy = False
        self._at_end = contextlib.ExitStack()
        self._control, theirs = socket.socketpair()
        self._at_end.enter_context(self._control)
        said = tempfile.TemporaryFile()  # noqa: SIM115, closed with all the rest
        self._at_end.enter_context(said)
        try:
            with theirs, _filter_descriptor(sandbox) as filtered:
                plan = self._plan(folders, limits, filtered)
                arguments = json.dumps(
                    [plan.path, theirs.fileno(), function, list(limits), list(plan.scratch)]
                )
                self._process = subprocess.Popen(
                    [*plan.command, "-I", "-S", "-B", "-c", BOOT, arguments],
                    env=plan.environment,
                    cwd="/",
                    start_new_session=True,  # Ctrl-C is for the grader, which then ends it
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=said,
                    pass_fds=[theirs.fileno(), *([] if filtered is None else [filtered])],
                )
        except BaseException:
            self._at_end.close()
            raise
        try:
            self.process_id = self._ready()
            self._handle = os.pidfd_open(self.process_id)
            self.warm_bytes = usage(self.process_id, enough=0).memory_bytes
        except BaseException as error:
            self._process.kill()
            self._process.wait()
            said.seek(0)
            last = said.read().decode(errors="replace")[-4000:]
            self._at_end.close()
            if not isinstance(error, OSError | ValueError | EOFError):
                raise
            if sandbox and "Traceback" not in last:
                raise did_not_start(last) from None
            raise RuntimeError(f"the warm server did not start:\n{last or error}") from None

    def begin(self, connection: socket.socket, files: Mapping[str, str]) -> bool:
        """Start a submission's process; return whether the server did."""
        with self._lock:
            self._busy = self._asked({"files": files}, connection)
            return self._busy

    def end(self) -> bool:
        """End the submission, if that has not been done; return whether the server is still there.

        A server that does not answer ends.
        """
        with self._lock:
            if self._busy:
                self._asked({})
            self._busy = False
            return self._handle >= 0

    def stop(self) -> None:
        """End the server, and with it everything in its sandbox."""
        self._control.close()
        if not self._sandbox:  # it ends by itself, once it has ended what it started
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(ANSWER_SECONDS)
        if self._handle >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._handle, signal.SIGKILL)
            os.close(self._handle)
            self._handle = -1
        self._process.wait()
        self._at_end.close()

    def _plan(self, folders: Sequence[Path], limits: Limits, filtered: int | None) -> Plan:
        if filtered is not None:
            return sandboxed(folders, limits, filtered)
        scratch = tempfile.TemporaryDirectory(prefix="mha-course-", ignore_cleanup_errors=True)
        return unsandboxed(folders, Path(self._at_end.enter_context(scratch)))

    def _ready(self) -> int:
        """Wait until the server has imported everything; return its process id, as seen here."""
        self._control.settimeout(START_SECONDS)
        # with a message the kernel tells who sent it: inside, the server is process 1
        self._control.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        sender = struct.Struct("3i")
        size = socket.CMSG_SPACE(sender.size)
        _, told, _, _ = self._control.recvmsg(1, size, socket.MSG_PEEK)
        self._control.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 0)
        receive(self._control)
        self._control.settimeout(ANSWER_SECONDS)
        process_id: int = sender.unpack(told[0][2])[0]
        return process_id

    def _asked(self, message: dict[str, Any], *passed: socket.socket) -> bool:
        """Return whether the server did what the message says; end it if it did not."""
        try:
            send(self._control, message, *passed)
            return receive(self._control)[0] == {"done": True}
        except (OSError, ValueError, EOFError):
            self.stop()
            return False


class _Watch(threading.Thread):
    """Ends a submission that goes over a limit that its processes only have together."""

    def __init__(self, server: _Server, limits: Limits, sandbox: bool) -> None:
        super().__init__(daemon=True)
        self.reason = ""
        self._server = server
        self._limits = limits
        self._scratch = SCRATCH if sandbox else ()
        self._over = threading.Event()
        self._until = time.monotonic() + limits.wall_seconds
        # the server's own, and a copy of it: a fork that changes what it shares has not used more
        self._memory = limits.memory_bytes + 2 * server.warm_bytes
        self._cpu_before = usage(server.process_id, self._memory).cpu_seconds

    def run(self) -> None:
        """Look, until the submission is over."""
        while not self._over.wait(LOOK_EVERY):
            self.reason = self._exceeded()
            if self.reason:
                self._server.end()
                return

    def stop(self) -> None:
        """Stop looking."""
        self._over.set()
        self.join()

    def _exceeded(self) -> str:
        limits, server = self._limits, self._server.process_id
        used = usage(server, self._memory)
        if time.monotonic() > self._until:
            return f"It ran for more than {limits.wall_seconds:g} seconds."
        if used.cpu_seconds - self._cpu_before > limits.cpu_seconds:
            return f"It computed for more than {limits.cpu_seconds} seconds."
        if used.memory_bytes > self._memory:
            return f"It used more than {limits.memory_bytes // MB} MB of memory."
        if any(scratch_files(server, name) > limits.scratch_files for name in self._scratch):
            return f"It made more than {limits.scratch_files} files."
        return ""


@contextlib.contextmanager
def _filter_descriptor(sandbox: bool) -> Iterator[int | None]:
    """Give the descriptor that bubblewrap reads the filter of system calls from."""
    if not sandbox:
        yield None
        return
    try:
        program = syscall_filter()
    except ValueError as error:
        raise unavailable(str(error)) from None
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb"), os.fdopen(writing, "wb") as pipe:
        pipe.write(program)
        pipe.close()
        yield reading
