"""The warm server itself: it runs inside the sandbox, as process 1, and runs no submission.

It has imported what submissions need. For each one it forks a process that does; when told that
the submission is over, it ends every other process in the sandbox and empties the scratch folders.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import gc
import importlib
import os
import resource
import select
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from mha_course.autograder.control import receive, send
from mha_course.autograder.sandbox import Limits
from mha_course.autograder.usage import descendants

WARM = (
    "numpy",
    "matplotlib.pyplot",
    "IPython",
    "safetensors.torch",
    "mha_course.grading.data_patterns",
    "mha_course.models",
    "mha_course.plots",
)
REAP_EVERY = 0.2  # seconds
PR_SET_DUMPABLE, PR_SET_CHILD_SUBREAPER = 4, 36  # linux/prctl.h

Serve = Callable[[socket.socket], None]


def main(descriptor: int, function: str, limits: list[Any], scratch: list[str]) -> None:
    """Serve until the control connection is closed.

    Args:
        descriptor: Of the control connection.
        function: What each forked process calls with its connection, as "module:name".
        limits: The fields of `Limits`.
        scratch: Folders to empty after each submission.
    """
    control = socket.socket(fileno=descriptor)
    control.set_inheritable(False)
    serve = _prepare(function)
    _clear(scratch)  # of what was made by importing
    send(control, {"ready": os.getpid()})
    # from here on nothing is worth a word: what submissions write must not reach the grader
    _silence()
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            _answer(control, serve, Limits(*limits), scratch)
    _end_all()
    _clear(scratch)  # without a sandbox it is on disk, and the grader may be gone


def _prepare(function: str) -> Serve:
    """Import everything, and make this process one that is safe to fork and to leave alone."""
    import torch

    torch.set_num_threads(1)
    for name in WARM:
        importlib.import_module(name)
    module, _, name = function.partition(":")
    serve: Serve = getattr(importlib.import_module(module), name)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # process 1 is sent no signal that has no handler
    if sys.platform.startswith("linux"):
        # if the machine runs out of memory, this goes before the grader does
        Path("/proc/self/oom_score_adj").write_text("500")
        _prctl(PR_SET_CHILD_SUBREAPER, 1)
        _prctl(PR_SET_DUMPABLE, 0)  # nobody traces it, or reads its memory or environment
        if (threads := _status("Threads")) != 1:
            raise RuntimeError(
                f"{threads} threads run in the warm server; a fork copies one: none of "
                f"{', '.join(WARM)} or {module} may start a thread when imported"
            )
    gc.collect()
    gc.freeze()  # else the first collection in each fork would copy all that is shared
    return serve


def _answer(control: socket.socket, serve: Serve, limits: Limits, scratch: list[str]) -> None:
    """Do what the next message says."""
    while not select.select([control], [], [], REAP_EVERY)[0]:
        _reap()
    message, connection = receive(control)
    if connection is not None:
        if os.fork() == 0:
            _submission(control, connection, serve, limits, scratch[0], message["files"])
        connection.close()
    else:
        _end_all()
        _clear(scratch)
    send(control, {"done": True})


def _submission(
    control: socket.socket,
    connection: socket.socket,
    serve: Serve,
    limits: Limits,
    scratch: str,
    files: Mapping[str, str],
) -> NoReturn:
    """Be the process of a submission."""
    try:
        control.close()
        os.setsid()
        os.chdir(scratch)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for name, content in files.items():
            Path(scratch, name).parent.mkdir(parents=True, exist_ok=True)
            Path(scratch, name).write_bytes(base64.b64decode(content))
        _limit(limits)
        serve(connection)
    finally:
        os._exit(0)


def _limit(limits: Limits) -> None:
    """Set the limits of this process, which it cannot raise."""
    for kind, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_CPU, limits.cpu_seconds + 1),
        (resource.RLIMIT_FSIZE, limits.file_bytes),
        (resource.RLIMIT_NOFILE, limits.open_files),
        (resource.RLIMIT_NPROC, limits.processes),
        (resource.RLIMIT_MEMLOCK, 0),
    ):
        resource.setrlimit(kind, (value, value))
    if sys.platform.startswith("linux"):
        memory = _status("VmSize") * 1024 + limits.memory_bytes
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))


def _end_all() -> None:
    """End all processes but this one, and wait for them."""
    if os.getpid() == 1:
        with contextlib.suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)  # in one go: no fork slips through
    else:
        while family := descendants(os.getpid()):
            for process in family:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            _reap()
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _clear(scratch: list[str]) -> None:
    for folder in scratch:
        os.chmod(folder, 0o700)
        _empty(Path(folder))


def _empty(folder: Path) -> None:
    """Remove all that is in a folder.

    Folders within folders are moved up before they are removed: they may be nested deeper than
    a path, or a recursion, can follow.
    """
    spare = 0
    while entries := list(os.scandir(folder)):
        for entry in entries:
            if not entry.is_dir(follow_symlinks=False):
                os.unlink(entry.path)
                continue
            os.chmod(entry.path, 0o700)
            for inner in list(os.scandir(entry.path)):
                if inner.is_dir(follow_symlinks=False):
                    spare += 1
                    os.chmod(inner.path, 0o700)  # a folder that is moved is written to
                    os.rename(inner.path, folder / f".emptied-{os.getpid()}-{spare}")
                else:
                    os.unlink(inner.path)
            os.rmdir(entry.path)


def _silence() -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    os.close(nothing)


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}, {value}) failed")


def _status(field: str) -> int:
    """Return a number from /proc/self/status."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1])
    raise LookupError(f"/proc/self/status has no field {field}")
