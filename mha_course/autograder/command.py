"""What `mha-course grade` does and says."""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mha_course.autograder.course import CONFIG, Course
from mha_course.autograder.grader import pool
from mha_course.autograder.job import Settings
from mha_course.autograder.sandbox import NOT_ENFORCED
from mha_course.classroom import late, students

if TYPE_CHECKING:
    from distributed import Client

    from mha_course.autograder.run import Plan, Summary

_MOST_NAMED = 10

_DAY = 24 * 3600
_RANGES = {
    "cell_seconds": ("--timeout", 1, _DAY, "seconds for a cell"),
    "total_seconds": ("--timeout", 1, 10 * _DAY, "seconds for a submission"),
    "memory_mb": ("--memory", 64, 2**24, "megabytes"),
    "processes": ("", 4, 2**15, "processes"),
    "open_files": ("", 32, 2**20, "files"),
    "disk_mb": ("", 1, 2**20, "megabytes"),
    "output_characters": ("", 10_000, 10**9, "characters"),
}
"""Of each setting: option, if it has one, least, most, unit."""


def grade(
    options: argparse.Namespace, progress: Callable[[str, int, int], None]
) -> tuple[list[str], int]:
    """Grade a class; return what to say of it, and the exit code."""
    if options.workers < 1:
        raise ValueError(f"--workers {options.workers}: at least 1 is needed")
    course = Course(Path.cwd())
    settings = _settings(course, options)
    late.policy(course.app.config)  # refuses what cannot be
    course.sources(options.assignment)  # an unknown assignment leaves no trace
    with course.records(options.assignment).one_grader():
        said, code = _graded(course, settings, options, progress)
    return [_printable(line) for line in said], code


def _graded(
    course: Course,
    settings: Settings,
    options: argparse.Namespace,
    progress: Callable[[str, int, int], None],
) -> tuple[list[str], int]:
    with contextlib.ExitStack() as at_end:
        first = None
        if not options.scheduler:
            # a sandbox takes seconds to start: it begins while the rest is imported and looked up
            first = _First(settings)
            at_end.callback(first.close)

        from mha_course.autograder.run import Summary, grade, plan

        summary = Summary([], {}, 0.0)
        planned = plan(
            course,
            options.assignment,
            students=options.student,
            force=options.force,
            waiting=_warn,
        )
        if planned.students:
            if not settings.sandbox:
                held = "\n".join(f"  - {each}" for each in NOT_ENFORCED)
                _warn(f"without a sandbox, this does not hold:\n{held}")
            client = at_end.enter_context(_workers(options))
            if first is not None:
                at_end.callback(first.close)  # before the workers, which wait for what runs in it
                first.wait()
            summary = grade(
                course,
                options.assignment,
                planned,
                settings=settings,
                client=client,
                progress=progress,
                waiting=_warn,
            )
        records = course.records(options.assignment).graded()
        said = [
            *lines(options.assignment, planned, summary, records),
            *students.strangers(course.root, [*summary.graded, *planned.done]),
            *late.assign_penalties(course, options.assignment, waiting=_warn),
        ]
    return said, bool(summary.failures)


def lines(
    assignment: str,
    planned: Plan,
    summary: Summary,
    records: Mapping[str, Mapping[str, Any]],
) -> Iterator[str]:
    """Yield what there is to say of a run."""
    graded, failed = summary.graded, summary.failures
    if graded:
        rate = len(graded) / summary.seconds
        yield f"{assignment}: {len(graded)} graded in {summary.seconds:.0f} s ({rate:.1f} a second)"
    if planned.done:
        yield f"{len(planned.done)} had a result already; --force grades them again"
    if planned.other_tests:
        yield (
            f"{len(planned.other_tests)} of them were graded with another version of the notebook "
            f"({_some(planned.other_tests)})"
        )
    mine = [records[student] for student in (*graded, *planned.done) if student in records]
    if mine:
        yield from _points(mine)
        yield from _looked_at(records, [*graded, *planned.done])
    for student, why in failed.items():
        yield f"NO RESULT for {student}: {why}"
    if failed:
        yield f"{len(failed)} without a result; the same command tries them again"


def _points(results: list[Mapping[str, Any]]) -> Iterator[str]:
    """Yield a line on the points of the tests; written answers wait for a person."""
    sums, waiting = [], 0
    most = 0.0
    for notebooks in results:
        cells = [points for one in notebooks.values() for points in one["points"].values()]
        sums.append(sum(got for got, _ in cells if got is not None))
        most = sum(of for _, of in cells)
        waiting += any(got is None for got, _ in cells)
    yield (
        f"points from tests: median {statistics.median(sums):g}, "
        f"mean {statistics.fmean(sums):.1f}, lowest {min(sums):g}, highest {max(sums):g}; "
        f"{most:g} in all, with written answers"
    )
    if waiting:
        yield f"{waiting} with written answers to read: formgrader, Manual Grading"


def _looked_at(records: Mapping[str, Mapping[str, Any]], students: list[str]) -> Iterator[str]:
    """Yield what an instructor should look at."""
    kinds: Counter[str] = Counter()
    who: dict[str, list[str]] = {}
    for student in students:
        found = {
            finding["kind"]
            for one in records.get(student, {}).values()
            for finding in one["findings"]
        }
        kinds.update(found)
        for kind in found:
            who.setdefault(kind, []).append(student)
    if kinds:
        yield "to look at (no points were taken for it):"
    for kind, count in kinds.most_common():
        yield f"  {kind:24}{count:5}  {_some(who[kind])}"


def _some(names: tuple[str, ...] | list[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more


def _settings(course: Course, options: argparse.Namespace) -> Settings:
    """Return the settings of the course's folder, with what the command line changes."""
    from traitlets import TraitError

    from mha_course.autograder.preprocessors import JudgeSubmission

    try:
        settings = JudgeSubmission(config=course.app.config).settings()
    except TraitError as error:
        raise ValueError(f"{CONFIG}: {error}") from None
    if options.timeout is not None:
        total = max(settings.total_seconds, options.timeout)
        settings = settings._replace(cell_seconds=options.timeout, total_seconds=total)
    if options.memory is not None:
        settings = settings._replace(memory_mb=options.memory)
    if options.no_sandbox:
        settings = settings._replace(sandbox=False)
    given = {"cell_seconds": options.timeout is not None, "memory_mb": options.memory is not None}
    for name, (option, least, most, unit) in _RANGES.items():
        value = getattr(settings, name)
        if not least <= value <= most:
            where = option if given.get(name) else f"c.JudgeSubmission.{name} in {CONFIG}:"
            raise ValueError(f"{where} {value:g} cannot be: give {least:g} to {most:,} {unit}")
    return settings


class _First(threading.Thread):
    """Starts the first grader of this process."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(daemon=True)
        self._pool = pool(settings)
        self._error: Exception | None = None
        self.start()

    def run(self) -> None:
        try:
            self._pool.start()
        except Exception as error:
            self._error = error

    def wait(self) -> None:
        """Wait until it is ready.

        Raises:
            Exception: what kept it from starting.
        """
        self.join()
        if isinstance(self._error, RuntimeError):
            raise OSError(f"nothing can be graded on this machine: {self._error}") from self._error
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """End all graders of this process."""
        self._pool.close()


def _workers(options: argparse.Namespace) -> contextlib.AbstractContextManager[Client]:
    from mha_course.autograder.workers import cluster_workers, local_workers

    if options.scheduler:
        return cluster_workers(options.scheduler)
    return local_workers(options.workers)


def _printable(line: str) -> str:
    """Return a line that can be printed here, whatever the name of a folder holds."""
    encoding = sys.stdout.encoding or "utf-8"
    return line.encode(encoding, "backslashreplace").decode(encoding)


def _warn(says: str) -> None:
    print(f"mha-course: {says}", file=sys.stderr, flush=True)
