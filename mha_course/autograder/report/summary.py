"""The numbers of the report: points, tasks, mistakes and findings of a class."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import NamedTuple

import numpy as np

from mha_course.autograder.findings import MEANING
from mha_course.autograder.report.classroom import Classroom, Question, Result, Submission
from mha_course.autograder.report.measures import Discrimination, Spread, discriminations, spread
from mha_course.autograder.report.mistakes import Mistake, most_common
from mha_course.autograder.report.text import line

_NOT_READ = "not-read"  # has a section of its own
_MISTAKES = 6  # of a task
_LISTED = 10  # findings of a kind
_POOR = 0.2  # a task that goes with the rest by less than that tells nobody apart


class Basis(NamedTuple):
    """What is counted.

    Attributes:
        submissions: That could be read.
        tasks: Numbers of the tasks in which nobody waits for a person.
        most: Points of these.
        complete: Whether they are all tasks; then penalties are taken off.
        totals: Points of each submission.
    """

    submissions: tuple[Submission, ...]
    tasks: tuple[int, ...]
    most: float
    complete: bool
    totals: list[float]


class Row(NamedTuple):
    """A task in the table of tasks.

    Attributes:
        question: The task.
        share: Mean part of its points that was got, where there are points; None if nowhere.
        parts: How many have all points, some, none though they tried, and have not done it.
        graded: How many did it and have points for it.
        waiting: How many did it and wait for a person.
        discrimination: Whether it goes with the other tasks.
        note: What is odd about it; empty if nothing is.
    """

    question: Question
    share: float | None
    parts: tuple[int, int, int, int]
    graded: int
    waiting: int
    discrimination: Discrimination
    note: str


class Shown(NamedTuple):
    """A mistake, and who made it."""

    says: str
    students: list[Submission]


class Mistakes(NamedTuple):
    """The mistakes in a task, the most frequent first.

    Attributes:
        question: The task.
        tried: How many did it.
        shown: The most frequent ones.
        more: How many students made another one.
    """

    question: Question
    tried: int
    shown: list[Shown]
    more: int


class Kind(NamedTuple):
    """Findings of one kind.

    Attributes:
        kind: In words.
        means: What that is, in a sentence; empty if an earlier version of the course found it.
        students: How many have one.
        rows: Some of them: who, in which task, and what was found.
        more: How many there are besides.
    """

    kind: str
    means: str
    students: int
    rows: list[tuple[Submission, str, str]]
    more: int


class Summary(NamedTuple):
    """All numbers of a class.

    Attributes:
        classroom: The class.
        basis: What is counted.
        numbers: Of the distribution of points; None if no file could be read.
        rows: One for each task.
        mistakes: Of the tasks in which there are any.
        kinds: Findings, the most frequent kind first.
    """

    classroom: Classroom
    basis: Basis
    numbers: Spread | None
    rows: list[Row]
    mistakes: list[Mistakes]
    kinds: list[Kind]


def summarise(classroom: Classroom) -> Summary:
    """Count everything."""
    basis = basis_of(classroom)
    return Summary(
        classroom=classroom,
        basis=basis,
        numbers=spread(basis.totals) if basis.totals else None,
        rows=task_rows(classroom, basis),
        mistakes=task_mistakes(classroom, basis),
        kinds=findings(classroom),
    )


def basis_of(classroom: Classroom) -> Basis:
    """Choose what is counted: files that were read, tasks in which nobody waits for a person."""
    submissions = tuple(one for one in classroom.submissions if not one.refused)
    tasks = tuple(
        number
        for number in range(len(classroom.questions))
        if all(one.results[number].points is not None for one in submissions)
    )
    complete = len(tasks) == len(classroom.questions)
    totals = []
    for one in submissions:
        total = sum((one.results[number].points or 0.0 for number in tasks), 0.0)
        totals.append(max(total - one.penalty, 0.0) if complete else total)
    most = sum(classroom.questions[number].points for number in tasks)
    return Basis(submissions, tasks, most, complete, totals)


def task_rows(classroom: Classroom, basis: Basis) -> list[Row]:
    """Return for each task how hard it is, and what it tells apart."""
    points = np.array(
        [[one.results[i].points or 0.0 for i in basis.tasks] for one in basis.submissions]
    ).reshape(len(basis.submissions), len(basis.tasks))
    found = dict(zip(basis.tasks, discriminations(points), strict=True))
    waits = Discrimination(None, None, None, "answers wait for a person")
    return [
        _row(
            question,
            [one.results[number] for one in basis.submissions],
            found.get(number, waits),
        )
        for number, question in enumerate(classroom.questions)
    ]


def _row(question: Question, results: Sequence[Result], discrimination: Discrimination) -> Row:
    known = [(one.points, one.done) for one in results if one.points is not None]
    parts = (
        sum(points >= question.points for points, _ in known),
        sum(0 < points < question.points for points, _ in known),
        sum(points <= 0 and done for points, done in known),
        sum(not one.done for one in results),
    )
    got = [points for points, _ in known]
    return Row(
        question=question,
        share=fmean(got) / question.points if got and question.points else None,
        parts=parts,
        graded=sum(done for _, done in known),
        waiting=sum(one.points is None and one.done for one in results),
        discrimination=discrimination,
        note=_note(parts, len(results), discrimination),
    )


def _note(parts: Sequence[int], students: int, discrimination: Discrimination) -> str:
    """Say what is odd about a task."""
    if students and parts[0] == students:
        return "everybody has all points"
    if students and parts[2] + parts[3] == students:
        return "nobody has a point"
    if discrimination.high is not None and discrimination.high < _POOR:
        return "does not go with the rest: is the task clear, and are its tests right?"
    return discrimination.why


def task_mistakes(classroom: Classroom, basis: Basis) -> list[Mistakes]:
    """Return the mistakes in each task that anybody got wrong."""
    found = []
    for number, question in enumerate(classroom.questions):
        results = [one.results[number] for one in basis.submissions]
        wrong: dict[int, Mistake] = {
            student: result.mistake
            for student, result in enumerate(results)
            if result.mistake is not None and result.done
        }
        if not wrong:
            continue
        common = most_common(wrong)
        shown = [
            Shown(one.says, [basis.submissions[student] for student in one.students])
            for one in common[:_MISTAKES]
        ]
        more = sum(len(one.students) for one in common[_MISTAKES:])
        found.append(Mistakes(question, sum(one.done for one in results), shown, more))
    return found


def findings(classroom: Classroom) -> list[Kind]:
    """Return what to look at by kind, the most frequent first."""
    by_kind: dict[str, list[tuple[Submission, str, str]]] = {}
    for one in classroom.submissions:
        for label, finding in one.findings:
            if finding.kind != _NOT_READ:
                by_kind.setdefault(finding.kind, []).append((one, label, line(finding.says)))
    found = [
        Kind(
            line(kind.replace("-", " ")),
            MEANING.get(kind, ""),
            len({one.student for one, _, _ in rows}),
            rows[:_LISTED],
            max(0, len(rows) - _LISTED),
        )
        for kind, rows in by_kind.items()
    ]
    return sorted(found, key=lambda one: (-one.students, one.kind))


def students_with_findings(classroom: Classroom) -> int:
    """Return how many students have a finding in `findings`."""
    return sum(
        any(finding.kind != _NOT_READ for _, finding in one.findings)
        for one in classroom.submissions
    )
