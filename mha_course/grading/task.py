"""What surrounds the checks of one task in a test cell."""

from __future__ import annotations

import contextlib
import dis
import linecache
import sys
import traceback
from collections.abc import Iterator
from types import FrameType

from mha_course.grading import own_work
from mha_course.grading.diagnosis import Diagnosis, diagnose


@contextlib.contextmanager
def task(name: str, *, read: str, shows: str = "", own_attention: bool = False) -> Iterator[None]:
    """Run the checks of a task, and say that they pass or why they could not.

    An exception in the learner's code becomes a Diagnosis that names it and its line. What is
    written to stderr, for example a warning in a right answer, goes to stdout: nbgrader gives no
    points to a test cell that writes to stderr. Names that the test assigns inside are put back to
    what they were: no answer may depend on a variable of a test.

    Args:
        name: As in the task's card: "Task 3"; for one of its parts, "Task 3, the masks".
        read: Anchor of the section to read.
        shows: What the learner has shown when the checks pass, in a sentence.
        own_attention: Whether the task asks the learner to write attention. Torch's own then
            refuses while the checks run; see `mha_course.grading.own_work`.

    Raises:
        Diagnosis: a check failed, or the learner's code raised an exception.
    """
    cell = sys._getframe(2)  # the with statement; frame 1 is contextlib's
    refusing = own_work.own_attention() if own_attention else contextlib.nullcontext()
    with contextlib.redirect_stderr(sys.stdout), _names_left_alone(cell), refusing:
        try:
            yield
        except Diagnosis:
            raise
        except Exception as error:
            found, likely = _explain(error)
            raise diagnose(f"{name}: {found}", likely, read) from None
    print(f"{name}: the tests in this cell pass.")
    if shows:
        print(f"What you just showed: {shows}")


@contextlib.contextmanager
def _names_left_alone(cell: FrameType) -> Iterator[None]:
    """Put back what the code of a cell assigns."""
    names = cell.f_globals
    assigned = {
        str(step.argval)
        for step in dis.get_instructions(cell.f_code)
        if step.opname in ("STORE_NAME", "STORE_GLOBAL") and cell.f_lasti < step.offset
    }
    before = {name: names[name] for name in assigned if name in names}
    try:
        yield
    finally:
        for name in assigned - set(before):
            names.pop(name, None)
        names.update(before)


def _explain(error: Exception) -> tuple[str, str]:
    """Return what was found and what is likely wrong."""
    if isinstance(error, NotImplementedError):
        return "the code still raises NotImplementedError.", "The task is not done yet."
    if isinstance(error, NameError):
        return (
            f"{error}.",
            "The cell that should define it was not run, or did not get that far. Run it; if it "
            "shows an error, for example in its syntax, mend that first.",
        )
    if own_work.refused(error):
        return "the code uses torch's own attention.", f"{_where(error)}{own_work.LIKELY}"
    return (
        f"the code stops with {type(error).__name__}: {error}.",
        f"{_where(error)}Call the function on the example of the task, and print the shapes in it.",
    )


def _where(error: Exception) -> str:
    """Return the last line of a notebook cell that was running, other than those of the test."""
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        code = frame.f_code
        in_notebook = "ipykernel" in code.co_filename or code.co_filename.startswith("<ipython")
        if in_notebook and not code.co_name.startswith(("check_", "<")):
            source = linecache.getline(code.co_filename, line).strip()
            return f"It happens in {code.co_name}, line {line} of its cell: {source} — "
    return ""
