"""The table of the report: one row for each student, for a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence

from mha_course.autograder.report.classroom import Classroom, Submission
from mha_course.autograder.report.text import cell

MARK = "\ufeff"  # without it, Excel takes the text for the encoding of its own country


def csv_text(classroom: Classroom, similar: Mapping[str, Sequence[str]]) -> str:
    """Return the table: RFC 4180, and no cell that a spreadsheet would take for a formula.

    Args:
        classroom: The class.
        similar: By student, who has handed in something very similar.
    """
    written = io.StringIO(newline="")
    rows = csv.writer(written)
    rows.writerow(_heads(classroom))
    for one in classroom.submissions:
        rows.writerow(_row(classroom, one, similar.get(one.student, ())))
    return MARK + written.getvalue()


def _heads(classroom: Classroom) -> list[str]:
    return [
        "student",
        "first name",
        "last name",
        "points",
        "of",
        "late penalty",
        "answers that wait for a person",
        "could not be read",
        "handed in again since",
        "seconds",
        "findings",
        "similar to",
        *(cell(f"{one.label}: points (of {one.points:g})") for one in classroom.questions),
        *(cell(f"{one.label}: likely mistake") for one in classroom.questions if not one.by_hand),
    ]


def _row(classroom: Classroom, one: Submission, similar: Sequence[str]) -> list[str]:
    points = [result.points for result in one.results]
    kinds = list(dict.fromkeys(finding.kind for _, finding in one.findings))
    return [
        cell(one.student),
        cell(one.first_name),
        cell(one.last_name),
        f"{sum(got for got in points if got is not None):g}",
        f"{sum(question.points for question in classroom.questions):g}",
        f"{one.penalty:g}",
        str(points.count(None)),
        cell(one.refused),
        "yes" if one.changed else "",
        f"{one.seconds:.2f}",
        cell(", ".join(kinds)),
        cell(", ".join(similar)),
        *("" if got is None else f"{got:g}" for got in points),
        *(
            cell(result.mistake.says) if result.mistake else ""
            for question, result in zip(classroom.questions, one.results, strict=True)
            if not question.by_hand
        ),
    ]
