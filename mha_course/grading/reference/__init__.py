"""The right answers of the exercises: one module for each assignment, named as it is."""

from mha_course.grading.reference import (
    counting,
    experiment,
    heads,
    masks_and_modules,
    patterns,
    redundancy,
)

__all__ = ["counting", "experiment", "heads", "masks_and_modules", "patterns", "redundancy"]
