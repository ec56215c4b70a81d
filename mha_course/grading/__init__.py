"""Checks for the exercises: a failing one names the likely mistake and where to read.

The test cells of `solutions/` call `check_number`, `check_tensor` and `check_raises` with what a
learner's function returned, with the right answer from `reference`, and with the wrong answers
that known mistakes lead to, from `mistakes`. Only plain values are compared: it does not matter
in which process the learner's function ran.
"""

from mha_course.grading import mistakes, reference
from mha_course.grading.book import PAGES, book_link, section_link
from mha_course.grading.diagnosis import (
    RTOL,
    Diagnosis,
    check_labels,
    check_mask,
    check_number,
    check_raises,
    check_tensor,
)
from mha_course.grading.fixtures import drawn, random_inputs
from mha_course.grading.mistakes import Mistake
from mha_course.grading.task import task

__all__ = [
    "PAGES",
    "RTOL",
    "Diagnosis",
    "Mistake",
    "book_link",
    "check_labels",
    "check_mask",
    "check_number",
    "check_raises",
    "check_tensor",
    "drawn",
    "mistakes",
    "random_inputs",
    "reference",
    "section_link",
    "task",
]
