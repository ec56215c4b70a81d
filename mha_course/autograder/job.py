"""What goes to a grader and what comes back, as bytes: no pickle, no shared disk, no database."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any, NamedTuple, Self

import nbformat
from nbformat import NotebookNode

from mha_course.autograder.findings import Finding
from mha_course.autograder.sandbox import MB
from mha_course.autograder.sandbox import Limits as SandboxLimits

_LIMITS = SandboxLimits()


class Settings(NamedTuple):
    """What a submission may use, and whether there is a sandbox.

    Attributes:
        cell_seconds: For one cell, the learner's or a test.
        total_seconds: For all cells of a submission.
        memory_mb: Of all its processes together.
        sandbox: Whether what it runs is shut in.
        processes: Processes and threads at a time.
        open_files: Of each process.
        disk_mb: Of what it writes, and the same again in shared memory.
        output_characters: Of all outputs that are kept.
    """

    cell_seconds: float = 60.0
    total_seconds: float = 600.0
    memory_mb: int = _LIMITS.memory_bytes // MB
    sandbox: bool = True
    processes: int = _LIMITS.processes
    open_files: int = _LIMITS.open_files
    disk_mb: int = _LIMITS.scratch_bytes // MB
    output_characters: int = 10_000_000

    def limits(self) -> SandboxLimits:
        """Return the limits of the sandbox: the judge's own come first, since they say more."""
        seconds = self.total_seconds + 30
        return SandboxLimits(
            wall_seconds=seconds,
            cpu_seconds=int(seconds),
            memory_bytes=self.memory_mb * MB,
            processes=self.processes,
            open_files=self.open_files,
            scratch_bytes=self.disk_mb * MB,
        )


class Job(NamedTuple):
    """A submission to grade, and all that is needed for it.

    Attributes:
        assignment: Its name.
        notebook: Name of the notebook, without ".ipynb".
        student: Who handed it in.
        seed: Of the student's hidden tests; see `seeds`.
        source: The instructor's notebook, with solutions and hidden tests, as JSON.
        submission: The file that was handed in; it may hold anything.
        unreadable: Why there is nothing in it; empty if there is.
        files: By path, the instructor's other files of the assignment.
        marks: The course's settings of nbgrader for what learners find in place of solutions.
        findings: What there was to see before anything was read.
    """

    assignment: str
    notebook: str
    student: str
    seed: str
    source: str
    submission: bytes
    unreadable: str
    files: Mapping[str, bytes]
    marks: Mapping[str, Any]
    findings: tuple[Finding, ...] = ()

    def to_bytes(self) -> bytes:
        """Return the job as JSON."""
        fields = self._asdict()
        fields["submission"] = _text(self.submission)
        fields["files"] = {name: _text(content) for name, content in self.files.items()}
        return json.dumps(fields).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Return the job that `to_bytes` has written."""
        fields = json.loads(data)
        fields["submission"] = base64.b64decode(fields["submission"])
        files = fields["files"].items()
        fields["files"] = {name: base64.b64decode(content) for name, content in files}
        fields["findings"] = tuple(Finding(*one) for one in fields["findings"])
        return cls(**fields)


class Tested(NamedTuple):
    """What became of a test cell.

    Attributes:
        cell: Its grade_id.
        error: Why it is not passed, in one line; empty if it is.
        likely: The likely mistake, where the course knows it.
        seconds: By the clock.
    """

    cell: str
    error: str
    likely: str
    seconds: float


class Graded(NamedTuple):
    """A submission that was graded.

    Attributes:
        notebook: With the outputs of all cells, as JSON; nbgrader reads the points from it.
        tests: In the order of the notebook.
        findings: What an instructor should look at.
        refused: Why the file could not be read; empty if it could.
        seconds: By the clock, in all.
        cell_seconds: Of these, while cells ran.
        processes: Learner's processes that were needed: more than 1 after a crash or a hang.
        versions: Of what the points depend on.
    """

    notebook: str
    tests: tuple[Tested, ...]
    findings: tuple[Finding, ...]
    refused: str
    seconds: float
    cell_seconds: float
    processes: int
    versions: Mapping[str, str]

    def read(self) -> NotebookNode:
        """Return the notebook. It is not validated: the autograder itself has written it."""
        read: NotebookNode = nbformat.from_dict(json.loads(self.notebook))
        return read

    def to_bytes(self) -> bytes:
        """Return it as JSON."""
        return json.dumps(self._asdict()).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Return what `to_bytes` has written."""
        fields = json.loads(data)
        fields["tests"] = tuple(Tested(*one) for one in fields["tests"])
        fields["findings"] = tuple(Finding(*one) for one in fields["findings"])
        return cls(**fields)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
