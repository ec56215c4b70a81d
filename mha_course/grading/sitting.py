"""Run an assignment with given answers in this process, without a kernel.

This is for answers that we wrote ourselves, the banks of `tests/exercises`: hundreds of them in
seconds. Submissions of learners are run by nbgrader, in a kernel of their own.
"""

from __future__ import annotations

import contextlib
import io
import linecache
import os
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, NamedTuple
from unittest.mock import patch

import torch

from mha_course.grading.alarm import alarm
from mha_course.grading.assignment import Assignment, grade_id

Answer = str | Callable[[dict[str, Any]], None]
"""Source of a solution cell, or a function that puts the answer into the notebook's names."""

SECONDS = 20.0  # for one cell; the longest of ours takes a tenth of it


class Outcome(NamedTuple):
    """What became of one test cell.

    Attributes:
        passed: Whether nbgrader would give its points.
        says: What the learner reads in place of them, in one line.
    """

    passed: bool
    says: str


def without_markers(source: str) -> str:
    """Return the source of a solution cell without nbgrader's marks for the solution."""
    return "\n".join(line for line in source.split("\n") if "SOLUTION" not in line)


def without_hidden_tests(source: str) -> str:
    """Return the source of a test cell as learners see it."""
    shown, hidden = [], False
    for line in source.split("\n"):
        if "### BEGIN HIDDEN TESTS" in line:
            hidden = True
        elif "### END HIDDEN TESTS" in line:
            hidden = False
        elif not hidden:
            shown.append(line)
    return "\n".join(shown)


def sit(
    assignment: Assignment,
    answers: Mapping[str, Answer],
    *,
    hidden: bool = True,
    only: Collection[str] | None = None,
) -> dict[str, Outcome]:
    """Run the notebook from top to bottom; where there is no answer, with the solution.

    Args:
        assignment: With solutions and hidden tests.
        answers: By name of the task.
        hidden: Whether the hidden tests run, too.
        only: Tasks whose tests run; by default all.

    Returns:
        One outcome for each test cell that ran, by grade_id.
    """
    by_test = {test: task.name for task in assignment.tasks for test in task.tests}
    outcomes: dict[str, Outcome] = {}
    names: dict[str, Any] = {"__name__": "__main__"}
    with _settings_restored(), contextlib.chdir(assignment.path.parent):
        for cell in assignment.notebook.cells:
            if cell.cell_type != "code":
                continue
            name = grade_id(cell)
            if name not in by_test:
                with contextlib.suppress(Exception), _quiet():
                    _run(answers.get(name, without_markers(cell.source)), name, names)
            elif only is None or by_test[name] in only:
                source = cell.source if hidden else without_hidden_tests(cell.source)
                outcomes[name] = _judge(source, name, names)
    return outcomes


def _judge(source: str, name: str, names: dict[str, Any]) -> Outcome:
    """Run a test cell; nbgrader gives nothing for an error, nor for a word on stderr."""
    with _quiet() as stderr:
        try:
            _run(source, name, names)
        except Exception as error:
            return Outcome(False, " ".join(f"{type(error).__name__}: {error}".split()))
    if stderr.getvalue():
        return Outcome(False, f"written to stderr: {stderr.getvalue()}")
    return Outcome(True, "")


def _run(answer: Answer, name: str, names: dict[str, Any]) -> None:
    with alarm(SECONDS, TimeoutError(f"the cell ran for more than {SECONDS:g} seconds")):
        if not isinstance(answer, str):
            answer(names)
            return
        file = f"<ipython-input-{name}>"  # a message names the line, as in a notebook
        linecache.cache[file] = (len(answer), None, answer.splitlines(keepends=True), file)
        exec(compile(answer, file, "exec"), names)


@contextlib.contextmanager
def _quiet() -> Iterator[io.StringIO]:
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()) as stderr,
        warnings.catch_warnings(),
    ):
        yield stderr


@contextlib.contextmanager
def _settings_restored() -> Iterator[None]:
    """Put back what an answer may change for all that runs after it."""
    dtype, state = torch.get_default_dtype(), torch.get_rng_state()
    grad = torch.is_grad_enabled()
    try:
        with patch.dict(os.environ):
            yield
    finally:
        torch.set_default_dtype(dtype)
        torch.set_rng_state(state)
        torch.set_grad_enabled(grad)
