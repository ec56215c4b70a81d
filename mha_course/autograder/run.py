"""Grade a class: find out who is to be graded, have it done, and record each result."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import nbformat
from distributed import Client
from nbgrader.api import (
    Assignment,
    Grade,
    Gradebook,
    MissingEntry,
    SubmittedAssignment,
    SubmittedNotebook,
)
from sqlalchemy.exc import SQLAlchemyError
from traitlets.config import Config

from mha_course.autograder.course import CONFIG, Course, Source
from mha_course.autograder.job import Graded, Job, Settings
from mha_course.autograder.patience import CannotStore, patiently
from mha_course.autograder.rebuild import rebuild
from mha_course.autograder.recorder import Recorder, Results, digest
from mha_course.autograder.records import GRADED, WANTED
from mha_course.autograder.workers import Failure, graded
from mha_course.grading.assignment import grade_id


class Plan(NamedTuple):
    """Who is to be graded.

    Attributes:
        sources: The notebooks of the assignment.
        students: To be graded now.
        done: Who has a result already.
        other_tests: Of these, whose result comes from another version of the notebook.
    """

    sources: tuple[Source, ...]
    students: tuple[str, ...]
    done: tuple[str, ...]
    other_tests: tuple[str, ...]


class Summary(NamedTuple):
    """What a run has done.

    Attributes:
        graded: Who has a result now, in the order of the results.
        failures: Who has none, and why.
        seconds: By the clock.
    """

    graded: list[str]
    failures: dict[str, str]
    seconds: float


def plan(
    course: Course,
    assignment: str,
    *,
    students: Sequence[str] = (),
    force: bool = False,
    waiting: Callable[[str], None] = lambda _: None,
) -> Plan:
    """Find out who is to be graded.

    Args:
        course: The course.
        assignment: Its name.
        students: Only these; all who have handed it in by default.
        force: Grade those who have a result again, too.
        waiting: Called with a sentence when gradebook or disk are locked, full or gone.

    Raises:
        ValueError: there is no such assignment or student, nobody has handed it in, or the
            gradebook knows the assignment otherwise.
        CannotStore: gradebook or disk stayed locked, full or gone.
    """
    sources = course.sources(assignment)
    try:
        in_gradebook = patiently(lambda: _in_gradebook(course, assignment, sources), waiting)
    except SQLAlchemyError as error:
        raise ValueError(
            f"the gradebook cannot be used: {' '.join(str(error.args[0]).split())}. "
            f"c.CourseDirectory.db_url in {CONFIG} says where it is; by default it is gradebook.db "
            "in the course's folder, and a copy of it would do in its place"
        ) from error
    there = course.students(assignment)
    if not there:
        where = course.submitted("STUDENT", assignment)
        raise ValueError(
            f"nobody has handed in {assignment!r}: there is no folder like {where}. "
            f"`nbgrader collect {assignment}` fetches what was submitted"
        )
    if unknown := sorted(set(students) - set(there)):
        raise ValueError(
            f"{', '.join(unknown)} has not handed in {assignment!r}; there are {len(there)} "
            f"submissions, from {', '.join(there[:5])}{', …' if len(there) > 5 else ''}"
        )
    asked = sorted(set(students)) or there
    records = course.records(assignment)
    if force:
        # if this run is stopped, the next one goes on with it
        patiently(lambda: records.add_all(asked, WANTED), waiting)
    states, results = records.states(), records.graded()
    done = [
        student
        for student in asked
        if states.get(student) == GRADED
        and student in in_gradebook
        and _is_current(course, assignment, student, sources, results[student])
    ]
    digests = {source.notebook: source.digest for source in sources}
    other = [
        student
        for student in done
        if any(results[student][name]["source"] != digest for name, digest in digests.items())
    ]
    left = set(asked) - set(done)
    return Plan(
        tuple(sources),
        tuple(student for student in asked if student in left),
        tuple(done),
        tuple(other),
    )


def grade(
    course: Course,
    assignment: str,
    planned: Plan,
    *,
    settings: Settings,
    client: Client,
    progress: Callable[[str, int, int], None] = lambda *_: None,
    waiting: Callable[[str], None] = lambda _: None,
) -> Summary:
    """Grade students, and record each result when it comes.

    Args:
        course: The course.
        assignment: Its name.
        planned: Who is to be graded.
        settings: What a submission may use.
        client: Of the workers.
        progress: Called with what is done, how much of it, and how much there is.
        waiting: Called with a sentence when gradebook or disk are locked, full or gone, or all
            workers are.

    Raises:
        CannotStore: gradebook or disk stayed so; what was recorded stays recorded.
        ValueError: a worker has other versions than this process.
        ConnectionError: the workers' scheduler is gone.
    """
    started = time.monotonic()
    sources = {source.notebook: source for source in planned.sources}
    found: dict[str, dict[str, tuple[Source, Job, Graded]]] = {}
    summary = Summary([], {}, 0.0)
    jobs = _jobs(course, assignment, planned, summary.failures)
    with (
        Recorder(course, assignment, settings, waiting=waiting) as recorder,
        contextlib.closing(graded(client, settings, jobs, waiting)) as results,
    ):
        for result in results:
            if isinstance(result, Failure):
                summary.failures[result.job.student] = result.why
            else:
                job, one = result
                mine = found.setdefault(job.student, {})
                mine[job.notebook] = (sources[job.notebook], job, one)
                if len(mine) == len(sources):
                    _record(recorder, job.student, found.pop(job.student), summary)
            ended = len(summary.graded) + len(summary.failures)
            progress(f"grading {assignment}", ended, len(planned.students))
    return summary._replace(seconds=time.monotonic() - started)


def _record(recorder: Recorder, student: str, results: Results, summary: Summary) -> None:
    """Record the results of a student; what is odd about one stops nobody else."""
    try:
        recorder.record(student, results)
    except CannotStore:
        raise
    except Exception as error:
        summary.failures[student] = f"it cannot be recorded: {_named(error)}"
    else:
        summary.graded.append(student)


def _jobs(
    course: Course, assignment: str, planned: Plan, failures: dict[str, str]
) -> Iterator[Job]:
    """Yield the jobs of all students; add those whose files cannot even be handed on."""
    secret = course.secret
    for student in planned.students:
        try:
            jobs = [course.job(source, student, assignment, secret) for source in planned.sources]
        except Exception as error:
            failures[student] = f"what was handed in cannot be read: {_named(error)}"
            continue
        yield from jobs


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def _is_current(
    course: Course,
    assignment: str,
    student: str,
    sources: Sequence[Source],
    results: Mapping[str, Mapping[str, Any]],
) -> bool:
    """Whether results belong to the files that are there now, and their notebooks are there."""
    for source in sources:
        handed_in, unreadable, _ = course.read_submission(student, assignment, source)
        result = results.get(source.notebook)
        graded_file = course.autograded(student, assignment) / f"{source.notebook}.ipynb"
        if result is None or not graded_file.is_file():
            return False
        if result["submission"] != digest(handed_in) or (unreadable and not result["refused"]):
            return False
    return True


def _in_gradebook(course: Course, assignment: str, sources: Sequence[Source]) -> set[str]:
    """Return the students with points in the gradebook, which must know the sources as they are."""
    with Gradebook(course.directory.db_url, course.directory.course_id) as gradebook:
        for source in sources:
            _same_in_gradebook(gradebook, course, assignment, source)
        found = (
            gradebook.db.query(SubmittedAssignment.student_id)
            .join(Assignment, SubmittedAssignment.assignment_id == Assignment.id)
            .join(SubmittedNotebook, SubmittedNotebook.assignment_id == SubmittedAssignment.id)
            .join(Grade, Grade.notebook_id == SubmittedNotebook.id)
            .filter(Assignment.name == assignment)
            .filter(Grade.auto_score.is_not(None) | Grade.needs_manual_grade)
            .distinct()
        )
        return {student for (student,) in found}


def _same_in_gradebook(
    gradebook: Gradebook, course: Course, assignment: str, source: Source
) -> None:
    """Refuse a source that the gradebook knows otherwise: points would have no place in it."""
    empty = nbformat.v4.new_notebook()
    try:
        notebook = nbformat.reads(source.text, as_version=4)
    except ValueError as error:
        where = f"{course.directory.source_directory}/{assignment}/{source.notebook}.ipynb"
        raise ValueError(f"{where} is no notebook ({error}); put the right one there") from None
    cells = rebuild(notebook, empty, Config(course.marks)).notebook.cells
    ours = {
        grade_id(cell): cell.metadata.nbgrader.get("checksum") for cell in cells if grade_id(cell)
    }
    try:
        known = gradebook.find_notebook(source.notebook, assignment).source_cells
    except MissingEntry:
        raise ValueError(
            f"the gradebook does not know {assignment!r} yet: run `nbgrader "
            f"generate_assignment {assignment}` once"
        ) from None
    theirs = {cell.name: cell.checksum for cell in known}
    if ours != theirs:
        changed = sorted(name for name in {*ours, *theirs} if ours.get(name) != theirs.get(name))
        raise ValueError(
            f"{source.notebook}.ipynb of {assignment!r} was changed after it was released "
            f"({', '.join(changed[:3])}{', …' if len(changed) > 3 else ''}); run `nbgrader "
            f"generate_assignment {assignment} --force`, which tells the gradebook, and then "
            "grade with --force"
        )
