"""Known mistakes of the exercises: one module for each assignment, named as it is.

A function `of_…` gathers the mistakes of one task: what to tell the learner, and the wrong value
that each mistake leads to. Nothing here calls a learner's code.
"""

from mha_course.grading.mistakes import (
    counting,
    experiment,
    heads,
    masks_and_modules,
    patterns,
    redundancy,
)
from mha_course.grading.mistakes.mistake import Mistake

__all__ = [
    "Mistake",
    "counting",
    "experiment",
    "heads",
    "masks_and_modules",
    "patterns",
    "redundancy",
]
