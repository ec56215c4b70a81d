"""The process of a judge: it grades the jobs that a `Grader` sends, one after the other.

It is started as `python -m mha_course.autograder.judge_process DESCRIPTOR`, and ends when the
connection is closed. It holds hidden tests, but neither the gradebook nor the sandbox: learner's
processes are asked for, and come as connected sockets.
"""

from __future__ import annotations

import base64
import contextlib
import os
import socket
import sys
import tempfile
import traceback
from collections.abc import Iterator, Mapping

from mha_course.autograder.control import receive, send
from mha_course.autograder.job import Job, Settings
from mha_course.autograder.submission import grade


class _Asked:
    """Learner's processes, from whoever is at the other end."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self.ended_by = ""

    @contextlib.contextmanager
    def connect(self, files: Mapping[str, bytes]) -> Iterator[socket.socket]:
        """Connect to a fresh process; on leaving, it is ended."""
        send(
            self._control,
            {"connect": {name: base64.b64encode(data).decode() for name, data in files.items()}},
        )
        _, connection = receive(self._control)
        if connection is None:
            raise ConnectionError("no learner's process came")
        try:
            with connection:
                yield connection
        finally:
            send(self._control, {"disconnect": True})
            receive(self._control)

    def why_ended(self) -> str:
        """Return the limit that the learner's process went over, if any."""
        send(self._control, {"why": True})
        answer, _ = receive(self._control)
        return str(answer["ended_by"])


def main(descriptor: int) -> None:
    """Serve until the other side closes the connection."""
    import torch

    torch.set_num_threads(1)  # on tensors so small, threads only wait for each other
    control = socket.socket(fileno=descriptor)
    control.set_inheritable(False)
    asked = _Asked(control)
    with (
        tempfile.TemporaryDirectory(prefix="mha-judge-", ignore_cleanup_errors=True) as folder,
        contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError),
    ):
        tempfile.tempdir = folder  # a judge that is killed leaves files, all in a known place
        os.chdir(folder)
        send(control, {"ready": folder})
        while True:
            message, _ = receive(control)
            job = Job.from_bytes(message["job"].encode())
            settings = Settings(*message["settings"])
            try:
                graded = grade(job, settings, asked.connect, asked.why_ended)
                answer = {"graded": graded.to_bytes().decode()}
            except (EOFError, OSError):
                raise
            except Exception:
                answer = {"failed": traceback.format_exc()}
            send(control, answer)


if __name__ == "__main__":
    main(int(sys.argv[1]))
