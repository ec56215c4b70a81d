"""What late work costs: a policy for nbgrader's late penalties, and penalties that stay right.

nbgrader works a penalty out once, when the tests have run. Points that a person gives afterwards,
a due date that moves and an extension would not count. `mha-course grade` works all penalties of an
assignment out again at its end, from the points as they are then.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any, cast

from nbgrader.api import (
    Assignment,
    Gradebook,
    MissingEntry,
    SubmittedAssignment,
    SubmittedNotebook,
)
from nbgrader.plugins import BasePlugin
from nbgrader.preprocessors import AssignLatePenalties
from traitlets import Float, TraitError, validate
from traitlets.config import Config

from mha_course.autograder.course import CONFIG, Course
from mha_course.autograder.patience import patiently

_DAY = 24 * 3600


class LatePolicy(BasePlugin):  # type: ignore[misc]
    """Takes a part of the points for each day that has begun after the deadline; by default none.

    In `nbgrader_config.py`, for a tenth a day after a quarter of an hour, and at most a half:

        c.LatePolicy.grace_minutes = 15
        c.LatePolicy.percent_a_day = 10
        c.LatePolicy.at_most_percent = 50
    """

    grace_minutes = Float(0.0, help="Minutes after the due date that cost nothing").tag(config=True)
    percent_a_day = Float(
        0.0, help="Percent of the points that each day costs which has begun after that"
    ).tag(config=True)
    at_most_percent = Float(100.0, help="The most that is taken, in percent of the points").tag(
        config=True
    )
    days_until_nothing = Float(
        None, allow_none=True, help="After so many days, nothing counts; None for never"
    ).tag(config=True)

    @validate("grace_minutes", "percent_a_day", "at_most_percent", "days_until_nothing")
    def _in_range(self, proposal: Any) -> float | None:
        name, value = proposal["trait"].name, proposal["value"]
        most = 100 if "percent" in name else math.inf
        if value is not None and not (0 <= value <= most and math.isfinite(value)):
            limits = f"0 to {most}" if math.isfinite(most) else "0 or more"
            raise TraitError(f"c.LatePolicy.{name} is {value:g}; give {limits}")
        return None if value is None else float(value)

    def late_submission_penalty(
        self,
        student_id: str,  # noqa: ARG002, nbgrader passes it
        score: float,
        total_seconds_late: float,
    ) -> float | None:
        """Return the points to take away, None for none.

        Args:
            student_id: Whose work it is.
            score: The points that it has.
            total_seconds_late: After the due date, which an extension has moved.
        """
        days = (total_seconds_late - 60 * self.grace_minutes) / _DAY
        if days <= 0:
            return None
        percent = min(math.ceil(days) * self.percent_a_day, self.at_most_percent)
        if self.days_until_nothing is not None and days > self.days_until_nothing:
            percent = 100.0
        return score * percent / 100 if percent else None

    def says(self) -> str:
        """Return the policy in a sentence."""
        if not self.percent_a_day and self.days_until_nothing is None:
            return "costs nothing"
        parts = []
        if self.percent_a_day:
            most = "" if self.at_most_percent == 100 else f", at most {self.at_most_percent:g} %"
            parts.append(f"each day that has begun costs {self.percent_a_day:g} %{most}")
        if self.days_until_nothing is not None:
            parts.append(f"after {self.days_until_nothing:g} days nothing counts")
        if self.grace_minutes:
            parts.append(f"the first {self.grace_minutes:g} minutes are free")
        return "; ".join(parts)


def policy(config: Config) -> BasePlugin:
    """Return the plugin that a course has chosen.

    Raises:
        ValueError: its settings cannot be; nbgrader would say so for each student, or not at all.
    """
    known = LatePolicy.class_trait_names(config=True)
    given = config.get("LatePolicy", {})
    if unknown := sorted(set(given) - set(known)):
        raise ValueError(
            f"{CONFIG}: there is no c.LatePolicy.{unknown[0]}; there are {', '.join(sorted(known))}"
        )
    try:
        step = AssignLatePenalties(config=config)
        step.init_plugin()
    except (TraitError, ImportError) as error:
        raise ValueError(f"{CONFIG}: {error}") from None
    return step.plugin_inst


def assign_penalties(
    course: Course, assignment: str, *, waiting: Callable[[str], None]
) -> Iterator[str]:
    """Work the penalties of an assignment out, from points and due dates as they are now.

    Args:
        course: The course.
        assignment: Its name.
        waiting: Called with a sentence when the gradebook is locked or gone.

    Yields:
        Who loses points, and by which policy.

    Raises:
        CannotStore: the gradebook stayed locked or gone.
    """
    plugin = policy(course.app.config)

    def assign() -> list[str]:
        with Gradebook(course.directory.db_url, course.directory.course_id) as gradebook:
            found = _concerned(gradebook, assignment)
            charged = [one.student.id for one in found if _charge(one, plugin)]
            gradebook.db.commit()
            return sorted(charged)

    if charged := patiently(assign, waiting):
        why = plugin.says() if isinstance(plugin, LatePolicy) else type(plugin).__name__
        yield f"points taken from {len(charged)} ({', '.join(charged)}): {why}"


def extend(
    course: Course,
    assignment: str,
    student: str,
    more: timedelta,
    *,
    waiting: Callable[[str], None],
) -> Iterator[str]:
    """Give a student more time than the due date, and take back what it cost to be late.

    Args:
        course: The course.
        assignment: Its name.
        student: Whose it is; what they had before is replaced.
        more: How much; nothing takes the extension away.
        waiting: Called with a sentence when the gradebook is locked or gone.

    Yields:
        When it is due now, and who loses points.

    Raises:
        ValueError: there is no such assignment, due date or submission, or the time is negative.
        CannotStore: the gradebook stayed locked or gone.
    """
    if more < timedelta():
        raise ValueError(f"{more.total_seconds() / 3600:g} hours: an extension is 0 or more")

    def grant() -> datetime:
        with Gradebook(course.directory.db_url, course.directory.course_id) as gradebook:
            submission = _submission(gradebook, assignment, student)
            gradebook.grant_extension(assignment, student, minutes=more.total_seconds() / 60)
            return cast("datetime", submission.duedate)

    due = patiently(grant, waiting)
    yield f"{assignment} of {student} is due {due:%Y-%m-%d %H:%M} UTC"
    yield from assign_penalties(course, assignment, waiting=waiting)


def _submission(gradebook: Gradebook, assignment: str, student: str) -> SubmittedAssignment:
    """Return what a student has handed in, where a due date can be moved."""
    try:
        due = gradebook.find_assignment(assignment).duedate
    except MissingEntry:
        names = ", ".join(one.name for one in gradebook.assignments) or "none"
        raise ValueError(
            f"no assignment {assignment!r} in the gradebook; there are: {names}"
        ) from None
    if due is None:
        raise ValueError(
            f"{assignment} has no due date, so nobody is late; set one in formgrader, or with "
            f'`nbgrader db assignment add {assignment} --duedate "2030-01-31 23:59 UTC"`'
        )
    try:
        return gradebook.find_submission(assignment, student)
    except MissingEntry:
        known = any(one.id == student for one in gradebook.students)
        raise ValueError(
            f"{student} has no graded {assignment} yet; `mha-course grade {assignment}` comes "
            "first, and this takes the penalty back"
            if known
            else f"no student {student!r} in the gradebook; `nbgrader db student list` has them"
        ) from None


def _concerned(gradebook: Gradebook, assignment: str) -> list[SubmittedAssignment]:
    """Return the submissions that are late, or were charged for it.

    Of all others only what tells that is read: to add up points takes the database a while.
    """
    rows = (
        gradebook.db.query(
            SubmittedAssignment.id,
            SubmittedAssignment.timestamp,
            SubmittedAssignment.extension,
            Assignment.duedate,
        )
        .join(Assignment, Assignment.id == SubmittedAssignment.assignment_id)
        .filter(Assignment.name == assignment)
        .all()
    )
    late = {
        key
        for key, handed_in, extension, due in rows
        if handed_in and due and handed_in > due + (extension or timedelta())
    }
    charged = (
        gradebook.db.query(SubmittedNotebook.assignment_id)
        .filter(SubmittedNotebook.late_submission_penalty > 0)
        .filter(SubmittedNotebook.assignment_id.in_([key for key, *_ in rows]))
    )
    keys = late | {key for (key,) in charged}
    found = gradebook.db.query(SubmittedAssignment).filter(SubmittedAssignment.id.in_(keys))
    return list(found)


def penalties(
    submission: SubmittedAssignment, plugin: BasePlugin
) -> Iterator[tuple[SubmittedNotebook, float | None]]:
    """Work out what each notebook of a submission loses, from points and due date as they are now.

    Args:
        submission: Whoever's.
        plugin: What the course has chosen, see `policy`.

    Yields:
        A notebook, and the points to take away; None for none.
    """
    # with an extension of no due date, nbgrader cannot reckon
    late = submission.total_seconds_late if submission.assignment.duedate else 0.0
    for notebook in submission.notebooks:
        penalty = None
        if late > 0:
            penalty = plugin.late_submission_penalty(submission.student.id, notebook.score, late)
        yield notebook, None if penalty is None else min(max(penalty, 0.0), notebook.score)


def _charge(submission: SubmittedAssignment, plugin: BasePlugin) -> bool:
    """Write down what a submission loses; return whether it loses anything."""
    taken = 0.0
    for notebook, penalty in penalties(submission, plugin):
        if notebook.late_submission_penalty != penalty:
            notebook.late_submission_penalty = penalty
        taken += penalty or 0.0
    return taken > 0
