"""The report in a few sentences, for the top of the page and for the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from mha_course.autograder.report.classroom import Classroom
from mha_course.autograder.report.similarity import Similarity, groups
from mha_course.autograder.report.summary import Summary, students_with_findings
from mha_course.autograder.report.text import points
from mha_course.plots.words import counted, listed


def lead(summary: Summary) -> Iterator[str]:
    """Say the most important things in a few sentences."""
    classroom, basis, numbers, rows, mistakes, _ = summary
    graded = len(classroom.submissions)
    yield f"{counted(graded, 'submission')} {'is' if graded == 1 else 'are'} graded."
    if numbers is None:
        yield "None of the files could be read."
        return
    kind = "points" if basis.complete else "points that tests or a person have given so far"
    if basis.tasks:
        yield (
            f"The median is {points(numbers.median)} of {points(basis.most)} {kind}; half of the "
            f"class is between {points(numbers.lower)} and {points(numbers.upper)}."
        )
    hard = [row for row in rows if not row.waiting and row.share is not None and row.share < 1]
    if hard:
        hard = sorted(hard, key=lambda row: row.share or 0.0)[:2]
        named = [f"{row.question} ({100 * (row.share or 0):.0f} % of the points)" for row in hard]
        yield f"Hardest {'was' if len(hard) == 1 else 'were'} {listed(named)}."
    if mistakes:
        task = max(mistakes, key=lambda one: len(one.shown[0].students))
        most = task.shown[0]
        yield (
            f"The most frequent mistake, by {counted(len(most.students), 'student')} in "
            f"{task.question.label}: “{most.says}”"
        )


def look(classroom: Classroom, similarity: Similarity) -> Iterator[tuple[str, str]]:
    """Yield what to look at, each with the section that it is in."""
    waiting = sum(
        result.points is None and result.done
        for one in classroom.submissions
        if not one.refused
        for result in one.results
    )
    unread = sum(bool(one.refused) for one in classroom.submissions)
    again = sum(one.changed for one in classroom.submissions)
    with_findings = students_with_findings(classroom)
    alike = len(groups(similarity.pairs))
    for count, thing, what, where in (
        (unread, "file", "that could not be read", "files"),
        (len(classroom.ungraded), "student", "with no result yet", "files"),
        (again, "student", "whose file is not the one that was graded", "files"),
        (waiting, "answer", "that a person has to read and grade", "written"),
        (with_findings, "student", "with findings", "findings"),
        (alike, "group", "of very similar submissions", "similar"),
    ):
        if count:
            yield f"{counted(count, thing)} {what}", where
