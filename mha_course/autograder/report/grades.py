"""What only the gradebook knows: names, points that a person gave, penalties for being late."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import sqlalchemy
from nbgrader.api import (
    Assignment,
    BaseCell,
    Grade,
    Gradebook,
    Notebook,
    Student,
    SubmittedAssignment,
    SubmittedNotebook,
)

from mha_course.autograder.course import Course


class Grades(NamedTuple):
    """What the gradebook has of a student in an assignment.

    Attributes:
        first_name: May be empty.
        last_name: May be empty.
        penalty: Points taken off for being late.
        points: By notebook and cell; None where a person still has to look.
    """

    first_name: str
    last_name: str
    penalty: float
    points: Mapping[str, Mapping[str, float | None]]


def read_grades(course: Course, assignment: str) -> dict[str, Grades]:
    """Return the grades of an assignment by student; none if there is no gradebook.

    Raises:
        OSError: the gradebook cannot be read.
    """
    url = sqlalchemy.engine.make_url(course.directory.db_url)
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file():
        return {}  # nbgrader would make an empty one
    try:
        with Gradebook(course.directory.db_url, course.directory.course_id) as gradebook:
            return _grades(gradebook, assignment)
    except sqlalchemy.exc.SQLAlchemyError as error:
        why = " ".join(str(getattr(error, "orig", None) or error).split())
        raise OSError(
            f"the gradebook cannot be read: {why}. Close other programs that use it, and run the "
            "same command again"
        ) from error


def _grades(gradebook: Gradebook, assignment: str) -> dict[str, Grades]:
    notebooks = (
        gradebook.db.query(
            Student.id,
            Student.first_name,
            Student.last_name,
            Notebook.name,
            SubmittedNotebook.id,
            SubmittedNotebook.late_submission_penalty,
        )
        .select_from(SubmittedNotebook)
        .join(SubmittedAssignment, SubmittedNotebook.assignment_id == SubmittedAssignment.id)
        .join(Assignment, SubmittedAssignment.assignment_id == Assignment.id)
        .join(Notebook, SubmittedNotebook.notebook_id == Notebook.id)
        .join(Student, SubmittedAssignment.student_id == Student.id)
        .filter(Assignment.name == assignment)
    )
    found: dict[str, Grades] = {}
    points: dict[str, dict[str, float | None]] = {}  # by the gradebook's id of the notebook
    for student, first, last, name, number, penalty in notebooks:
        before = found.get(student, Grades(first or "", last or "", 0.0, {}))
        points[number] = {}
        found[student] = before._replace(
            penalty=before.penalty + (penalty or 0.0),
            points={**before.points, name: points[number]},
        )
    cells = (
        gradebook.db.query(Grade.notebook_id, BaseCell.name, Grade.score, Grade.needs_manual_grade)
        .join(BaseCell, Grade.cell_id == BaseCell.id)
        .join(SubmittedNotebook, Grade.notebook_id == SubmittedNotebook.id)
        .join(SubmittedAssignment, SubmittedNotebook.assignment_id == SubmittedAssignment.id)
        .join(Assignment, SubmittedAssignment.assignment_id == Assignment.id)
        .filter(Assignment.name == assignment)
    )
    for number, cell, score, waits in cells:
        points[number][cell] = None if waits else score
    return found
