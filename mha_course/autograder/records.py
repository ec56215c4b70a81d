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
from typing import Any

WANTED, RECORDING, GRADED = "wanted", "recording", "graded"


class Records:
    """The records of one assignment.

    Args:
        file: Where they are; the folder is made when the first one is written.
    """

    def __init__(self, file: Path) -> None:
        self.file = file

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
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.open("ab") as file, _alone(file.fileno()):
            # a line that broke off stays alone on its line, where reading passes over it
            file.write("".join(f"\n{line}\n" for line in lines).encode())
            file.flush()
            os.fsync(file.fileno())

    def last(self) -> dict[str, dict[str, Any]]:
        """Return the last line of each student."""
        return {record["student"]: record for record in self._lines()}

    def graded(self) -> dict[str, dict[str, Any]]:
        """Return for each student, by notebook, what its last `graded` line holds."""
        found: dict[str, dict[str, Any]] = {}
        for record in self._lines():
            if record["state"] == GRADED:
                found.setdefault(record["student"], {}).update(record["notebooks"])
        return found

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
def _alone(descriptor: int) -> Iterator[None]:
    """Keep others from writing: the formgrader may grade while a class is graded."""
    if sys.platform == "win32":
        yield
        return
    import fcntl

    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
