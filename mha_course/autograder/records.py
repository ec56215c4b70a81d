"""The file of records of an assignment: one line of JSON for all that happens to a grade.

It is only ever added to. The last line of a student tells where they stand:

- `wanted`: to be graded again, although there is a grade;
- `recording`: the result is being written to the gradebook; if nothing follows, that broke off;
- `graded`: it is in the gradebook, and the line holds all that is needed to make it again.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

WANTED, RECORDING, GRADED = "wanted", "recording", "graded"


class Records:
    """The records of one assignment.

    Only their owner can read them: the seeds of all hidden tests are in them.

    Args:
        file: Where they are; the folder is made when the first one is written.
        group: Whether the owner's group can read and write them, too.
    """

    def __init__(self, file: Path, *, group: bool = False) -> None:
        self.file = file
        self._group = group

    def add(self, student: str, state: str, **fields: Any) -> None:
        """Add a line, and see that it is on the disk."""
        self.add_all([student], state, **fields)

    def add_all(self, students: Iterable[str], state: str, **fields: Any) -> None:
        """Add the same line for several students."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        lines = [
            json.dumps({"student": student, "state": state, "when": now} | fields)
            for student in students
        ]
        with self._opened(self.file) as file, _alone(file.fileno()):
            # a line that broke off stays alone on its line, where reading passes over it
            file.write("".join(f"\n{line}\n" for line in lines).encode())
            file.flush()
            os.fsync(file.fileno())

    @contextlib.contextmanager
    def one_grader(self) -> Iterator[None]:
        """Keep a second grader of the assignment away.

        Raises:
            ValueError: there is one at work already.
        """
        lock = self.file.with_name(f".{self.file.stem}.lock")
        with self._opened(lock) as file, contextlib.ExitStack() as held:
            try:
                held.enter_context(_alone(file.fileno(), wait=False))
            except BlockingIOError:
                raise ValueError(
                    f"another command grades {self.file.stem!r} now; wait until it has ended, or "
                    "stop it with Ctrl-C: nothing is lost"
                ) from None
            yield

    def states(self) -> dict[str, str]:
        """Return the state of each student: of its last line."""
        return {record["student"]: record["state"] for record in self._lines()}

    def graded(self) -> dict[str, dict[str, Any]]:
        """Return for each student, by notebook, what its last `graded` line holds."""
        found: dict[str, dict[str, Any]] = {}
        for record in self._lines():
            if record["state"] == GRADED:
                found.setdefault(record["student"], {}).update(record.get("notebooks", {}))
        return found

    def _opened(self, file: Path) -> BinaryIO:
        """Open a file beside the records, to add to it."""
        file.parent.mkdir(parents=True, exist_ok=True)
        mode = 0o660 if self._group else 0o600
        made = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, mode)
        opened = os.fdopen(made, "ab")
        if self._group:
            with contextlib.suppress(PermissionError):  # it is another instructor's
                file.chmod(mode)
        return opened

    def _lines(self) -> Iterator[dict[str, Any]]:
        if not self.file.exists():
            return
        with self.file.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                with contextlib.suppress(ValueError):  # of a process that was killed
                    record = json.loads(line)
                    if isinstance(record, dict) and {"student", "state"} <= set(record):
                        yield record


@contextlib.contextmanager
def _alone(descriptor: int, *, wait: bool = True) -> Iterator[None]:
    """Keep others from a file: the formgrader may grade while a class is graded."""
    if sys.platform == "win32":
        yield
        return
    import fcntl

    fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    try:
        yield
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
