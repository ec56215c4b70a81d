"""The report as one HTML page: what an instructor with no time should see first, comes first."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from mha_course.autograder.report.classroom import Classroom, Question, Submission
from mha_course.autograder.report.figures import histogram, outcomes
from mha_course.autograder.report.fragments import MOST as MOST_CHARACTERS
from mha_course.autograder.report.measures import bars, spread
from mha_course.autograder.report.similarity import (
    MARGIN,
    Answers,
    Pair,
    Similarity,
    groups,
    shared,
)
from mha_course.autograder.report.summary import Basis, Summary
from mha_course.autograder.report.text import line, lines, points
from mha_course.autograder.report.words import lead, look
from mha_course.plots.page import html_file

MARK = '<meta name="generator" content="mha-course report">'
"""Stands in every page; a file with it may be replaced."""

_NAMED = 5  # students in a list
_SLOWEST = 5
_SHOWN_PAIRS = 40  # in the table
_SHOWN_GROUPS = 12  # with their answers
_SHOWN_TASKS = 4  # of a pair


class Passage(NamedTuple):
    """Part of an answer, and whether the other answer has it, too."""

    text: str
    shared: bool


class Beside(NamedTuple):
    """Two answers to a task, beside each other; the numbers are those of `Alike`."""

    question: Question
    share: float
    as_many: int
    of: int
    answers: tuple[list[Passage], list[Passage]]


class Group(NamedTuple):
    """Students whose submissions are very similar, and the two that are most alike."""

    students: list[Submission]
    two: tuple[Submission, Submission]
    beside: list[Beside]


def html_page(
    summary: Summary,
    similarity: Similarity,
    tasks: Sequence[Answers],
    table: str,
    table_digest: str,
) -> str:
    """Write the page.

    Args:
        summary: The numbers of the class.
        similarity: Of its submissions that could be read.
        tasks: What was compared.
        table: Name of the file with the table.
        table_digest: SHA-256 of that file.
    """
    classroom, basis, numbers, rows, mistakes, kinds = summary
    counts = bars(basis.totals, basis.most)
    drawn = [row for row in rows if not row.waiting]
    return html_file(
        "mha_course.autograder.report",
        "page.html.j2",
        mark=MARK,
        table=table,
        table_digest=table_digest,
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        line=line,
        points=points,
        named=_named,
        classroom=classroom,
        lead=list(lead(summary)),
        look=list(look(classroom, similarity)),
        basis=basis,
        numbers=numbers,
        late=sum(one.penalty > 0 for one in basis.submissions),
        bars=counts,
        histogram=histogram(counts, numbers, basis.most) if numbers else None,
        rows=rows,
        outcomes=outcomes(drawn) if basis.submissions and drawn else None,
        mistakes=mistakes,
        seconds=spread([one.seconds for one in classroom.submissions]),
        slowest=sorted(classroom.submissions, key=lambda one: -one.seconds)[:_SLOWEST],
        kinds=kinds,
        unread=[one for one in classroom.submissions if one.refused],
        again=[one for one in classroom.submissions if one.changed],
        written=[row for row in rows if row.question.by_hand],
        similarity=similarity,
        margin=MARGIN,
        pairs=[
            (basis.submissions[one.first], basis.submissions[one.second], one)
            for one in similarity.pairs[:_SHOWN_PAIRS]
        ],
        groups=_groups(basis, similarity, tasks, classroom.questions),
        more_groups=max(0, len(groups(similarity.pairs)) - _SHOWN_GROUPS),
    )


def answers(classroom: Classroom) -> list[Answers]:
    """Return what is compared: all answers to each task, of the submissions that could be read."""
    readable = [one for one in classroom.submissions if not one.refused]
    return [
        Answers(
            texts=[one.results[number].answer for one in readable],
            prose=question.prose,
            given=classroom.given[question.notebook, question.prose],
        )
        for number, question in enumerate(classroom.questions)
        if question.answer
    ]


def _named(students: Sequence[Submission | str]) -> tuple[list[str], int]:
    """Return the students to name, and how many more there are."""
    return [line(str(one)) for one in students[:_NAMED]], max(0, len(students) - _NAMED)


# ---------------------------------------------------------------------------------------------
# Similar submissions


def _groups(
    basis: Basis, similarity: Similarity, tasks: Sequence[Answers], questions: Sequence[Question]
) -> list[Group]:
    """Return the groups of similar submissions."""
    compared = [question for question in questions if question.answer]
    found = []
    for members in groups(similarity.pairs)[:_SHOWN_GROUPS]:
        pair = next(one for one in similarity.pairs if one.first in members)
        beside = [
            Beside(
                compared[alike.task],
                alike.share,
                alike.as_many,
                alike.of,
                _beside(tasks[alike.task], pair),
            )
            for alike in pair.alike[:_SHOWN_TASKS]
        ]
        students = [basis.submissions[number] for number in members]
        two = (basis.submissions[pair.first], basis.submissions[pair.second])
        found.append(Group(students, two, beside))
    return found


def _beside(answers: Answers, pair: Pair) -> tuple[list[Passage], list[Passage]]:
    first, second = answers.texts[pair.first], answers.texts[pair.second]
    spans = shared(first, second, answers)
    return _passages(first, spans[0]), _passages(second, spans[1])


def _passages(text: str, spans: Sequence[tuple[int, int]]) -> list[Passage]:
    """Cut a text where what is shared begins or ends; the spans may overlap."""
    text = text[:MOST_CHARACTERS]
    marked = np.zeros(len(text), dtype=bool)
    for start, end in spans:
        marked[start:end] = True
    edges = [0, *(np.flatnonzero(marked[1:] != marked[:-1]) + 1).tolist(), len(text)]
    return [
        Passage(lines(text[start:end]), bool(marked[start]))
        for start, end in pairwise(edges)
        if end > start
    ]
