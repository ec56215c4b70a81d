"""What learners got wrong, so that the same mistake is counted as one."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from mha_course.autograder.report.text import line

NOT_DONE = "The task is not done yet."

_NUMBER = re.compile(r"[-+−]?\d+(?:[.,]\d+)*(?:e[-+]?\d+)?", re.IGNORECASE)
_QUOTED = re.compile(r"(?<!\w)(['\"]).*?\1(?!\w)")  # the learner's own words, as repr shows them
_STOPS = re.compile(r"the code stops with (\w+: .*?)\.? Likely mistake:")


class Mistake(NamedTuple):
    """Why a task is not passed.

    Attributes:
        key: Equal for mistakes that differ in numbers alone, or in what the learner named things.
        says: A sentence for the instructor.
    """

    key: str
    says: str


class Common(NamedTuple):
    """A mistake, and who made it."""

    says: str
    students: tuple[int, ...]


def mistake(cells: Sequence[str], tests: Mapping[str, Mapping[str, Any]]) -> Mistake | None:
    """Return the mistake that the first failed test of a task tells of.

    Args:
        cells: The task's test cells, in their order.
        tests: What became of each, as the records have it.
    """
    failed = next((tests[cell] for cell in cells if cell in tests and tests[cell]["error"]), None)
    if failed is None:
        return None
    error, likely = str(failed["error"]), str(failed["likely"])
    stops = _STOPS.search(error)  # what is likely then points to a line of the learner's
    says = line(f"The code stops with {stops[1]}" if stops else likely or error)
    return Mistake(_QUOTED.sub("'…'", _NUMBER.sub("#", says)), says)


def most_common(mistakes: Mapping[int, Mistake]) -> list[Common]:
    """Return mistakes with those who made them, the most frequent first.

    Args:
        mistakes: By the number of the student.
    """
    wordings: dict[str, Counter[str]] = {}
    students: dict[str, list[int]] = {}
    for student, one in sorted(mistakes.items()):
        wordings.setdefault(one.key, Counter())[one.says] += 1
        students.setdefault(one.key, []).append(student)
    found = [
        Common(wordings[key].most_common(1)[0][0], tuple(who)) for key, who in students.items()
    ]
    return sorted(found, key=lambda one: (-len(one.students), one.says))
