"""Grade one submission: rebuild it, run its cells, judge its tests."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from socket import socket

import nbformat
from nbformat import NotebookNode
from nbgrader import utils
from traitlets.config import Config

from mha_course.autograder.findings import Finding
from mha_course.autograder.handed_in import SubmissionError, read_submission
from mha_course.autograder.job import Graded, Job, Settings, Tested
from mha_course.autograder.judge import STOPPED, Judge, TestOutcome
from mha_course.autograder.judge import Limits as JudgeLimits
from mha_course.autograder.rebuild import rebuild
from mha_course.autograder.source_look import look
from mha_course.autograder.versions import versions
from mha_course.grading.assignment import grade_id
from mha_course.grading.own_work import LIKELY

Connect = Callable[[Mapping[str, bytes]], AbstractContextManager[socket]]

REFUSED = "SubmissionNotRead"


def grade(job: Job, settings: Settings, connect: Connect, ended_by: Callable[[], str]) -> Graded:
    """Grade a submission.

    Args:
        job: The submission, and what belongs to it.
        settings: What it may use.
        connect: Takes files, and returns a context with a connection to a fresh learner's process.
        ended_by: Returns the limit that ended the last of these processes; empty if none did.

    Raises:
        ValueError: the instructor's notebook is broken; nothing that a learner hands in raises.
    """
    started = time.monotonic()
    source = nbformat.reads(job.source, as_version=4)
    try:
        if job.unreadable:
            raise SubmissionError(job.unreadable)
        submitted = read_submission(job.submission)
    except SubmissionError as error:
        return _not_read(job, source, str(error), time.monotonic() - started)
    rebuilt = rebuild(source, submitted, _config(job.marks))
    seen = look(rebuilt.cells)
    run = _Run(job, source, settings, connect, ended_by)
    with _folder_with(job.files):
        run.cells(rebuilt.cells)
    rebuilt.notebook.metadata["mha_course"] = {"student_seed": job.seed}
    return Graded(
        notebook=json.dumps(rebuilt.notebook),
        tests=tuple(run.tests),
        findings=(*job.findings, *rebuilt.findings, *seen, *run.findings),
        refused="",
        seconds=time.monotonic() - started,
        cell_seconds=run.seconds,
        processes=run.processes,
        versions=versions(),
    )


class _Run:
    """The cells of one submission, and what is noted while they run."""

    def __init__(
        self,
        job: Job,
        source: NotebookNode,
        settings: Settings,
        connect: Connect,
        ended_by: Callable[[], str],
    ) -> None:
        self.tests: list[Tested] = []
        self.findings: list[Finding] = []
        self.seconds = 0.0
        self.processes = 0
        self._job, self._settings = job, settings
        self._connect, self._ended_by = connect, ended_by
        self._output_left = settings.output_characters
        self._solutions = {
            grade_id(cell): cell.source for cell in source.cells if utils.is_solution(cell)
        }

    def cells(self, cells: list[NotebookNode]) -> None:
        """Run code cells in order; their outputs go into them."""
        limits = JudgeLimits(cell=self._settings.cell_seconds, total=self._settings.total_seconds)
        code = [cell for cell in cells if cell.cell_type == "code"]
        with Judge(self._connected, limits, ended_by=self._ended_by) as judge:
            for number, cell in enumerate(code, start=1):
                cell.execution_count = number
                self._cell(judge, cell)

    @contextlib.contextmanager
    def _connected(self) -> Iterator[socket]:
        self.processes += 1
        with self._connect(self._job.files) as connection:
            yield connection

    def _cell(self, judge: Judge, cell: NotebookNode) -> None:
        started = time.monotonic()
        if utils.is_grade(cell) and not utils.is_solution(cell):
            outcome = _within_points(judge.run_test(cell.source, self._job.seed), cell)
            outputs = outcome.outputs
        elif utils.is_locked(cell):
            outcome, outputs = None, judge.run_given(cell.source)
        else:
            solution = self._solutions.get(grade_id(cell), "")
            outcome, outputs = None, judge.run_cell(cell.source, solution)
        seconds = time.monotonic() - started
        self.seconds += seconds
        if outcome is not None:
            error = outcome.error or ""
            self.tests.append(Tested(grade_id(cell), error, outcome.likely, seconds))
            if LIKELY in outcome.likely:
                says = "The answer's call of torch's own attention was refused."
                self.findings.append(Finding("torchs-attention", says, grade_id(cell)))
        for output in outputs:
            if output.output_type == "error" and output.ename == STOPPED:
                self.findings.append(Finding("stopped", output.evalue, grade_id(cell)))
        if outcome is None:  # those of a test are kept, for points hang on them
            outputs = [output for output in outputs if self._fits(output, cell)]
        cell.outputs = outputs

    def _fits(self, output: NotebookNode, cell: NotebookNode) -> bool:
        """Whether an output can be kept."""
        size = len(json.dumps(output))  # as it will be written: a sign may take up twelve
        if size > self._output_left:
            if not any(one.kind == "much-output" for one in self.findings):
                most = self._settings.output_characters
                says = f"Its outputs hold more than {most:,} characters; the rest is left out."
                self.findings.append(Finding("much-output", says, grade_id(cell)))
            return False
        self._output_left -= size
        return True


def _within_points(outcome: TestOutcome, cell: NotebookNode) -> TestOutcome:
    """Turn a number of points that cannot be into an error; nbgrader would stop at it."""
    most = float(cell.metadata.nbgrader.points)
    if outcome.score is None or 0 <= outcome.score <= most:
        return outcome
    says = f"The test ends with {outcome.score:g}, which is not between 0 and its {most:g} points."
    return outcome._replace(outputs=[_error("ScoreError", says)], error=says, score=None)


def _not_read(job: Job, source: NotebookNode, why: str, seconds: float) -> Graded:
    """Return the result of a file that is no notebook: the released one, with a note on top."""
    empty = nbformat.v4.new_notebook()
    notebook = rebuild(source, empty, _config(job.marks)).notebook
    tests = []
    for cell in notebook.cells:
        if utils.is_grade(cell) and not utils.is_solution(cell):
            cell.outputs = [_error(REFUSED, why)]
            tests.append(Tested(grade_id(cell), why, "", 0.0))
    note = f"**The file that was handed in could not be graded.** {why}"
    notebook.cells.insert(0, nbformat.v4.new_markdown_cell(note))
    notebook.metadata["mha_course"] = {"student_seed": job.seed}
    return Graded(
        notebook=json.dumps(notebook),
        tests=tuple(tests),
        findings=(*job.findings, Finding("not-read", why)),
        refused=why,
        seconds=seconds,
        cell_seconds=0.0,
        processes=0,
        versions=versions(),
    )


def _error(name: str, says: str) -> NotebookNode:
    made: NotebookNode = nbformat.v4.new_output(
        "error", ename=name, evalue=says, traceback=[f"{name}: {says}"]
    )
    return made


def _config(marks: Mapping[str, object]) -> Config:
    return Config(dict(marks))


@contextlib.contextmanager
def _folder_with(files: Mapping[str, bytes]) -> Iterator[None]:
    """Work in a folder that holds the files of the assignment: test cells read them, too."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="mha-course-") as folder:
        for name, content in files.items():
            Path(folder, name).parent.mkdir(parents=True, exist_ok=True)
            Path(folder, name).write_bytes(content)
        os.chdir(folder)
        modules = set(sys.modules)
        sys.path.insert(0, folder)  # as in a notebook; no learner writes here
        try:
            yield
        finally:
            sys.path.remove(folder)
            for name in set(sys.modules) - modules:
                if str(getattr(sys.modules[name], "__file__", "")).startswith(folder + os.sep):
                    del sys.modules[name]
            os.chdir(before)
