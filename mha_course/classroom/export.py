"""Grades for Canvas and for Moodle, written by nbgrader's own `export` command.

    nbgrader export --exporter=mha_course.classroom.export.CanvasExporter --to=canvas.csv
    nbgrader export --exporter=mha_course.classroom.export.MoodleExporter --to=moodle.csv

Both files are UTF-8 with a mark at the start: Excel needs it, and both importers skip it. What they
do with a file was read in their sources:

- Canvas, `lib/gradebook_importer.rb`, and the guide "How do I import grades in the Gradebook?": the
  columns Student, ID, SIS User ID, SIS Login ID and Section come first and in this order, then one
  for each assignment, named `title (id)` or, without Canvas's number, by the title alone. Canvas
  looks for a student by ID, then SIS User ID, then SIS Login ID, then by the name. A row "Points
  Possible" sets the most points. An empty cell is no grade.
- Moodle, `grade/import/csv/classes/load_data.php`, and https://docs.moodle.org/en/Grade_import:
  one column says who it is ("Map from"), and each other one becomes a grade item, or none. "-" is
  no grade, in new and in old items. A name that Moodle does not know stops the whole import, and
  the grades of a row without a name go to the student of the row before.
"""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, TypeVar

from nbgrader.api import Assignment, Gradebook, Student, SubmittedAssignment
from nbgrader.coursedir import CourseDirectory
from nbgrader.plugins import BasePlugin, ExportPlugin
from traitlets import Bool, Dict, Unicode

from mha_course.autograder.course import CONFIG, Course
from mha_course.autograder.recorder import digest
from mha_course.autograder.records import GRADED
from mha_course.autograder.report.table import MARK
from mha_course.autograder.report.text import cell, points
from mha_course.classroom.late import penalties, policy
from mha_course.whole_file import write_whole

_One = TypeVar("_One")
_NOBODY = ("", "0")  # Moodle takes either for a row without a name
_MOST_NAMED = 20  # students in one message


class Grades(NamedTuple):
    """What goes into a file.

    Attributes:
        students: In the order of their names.
        assignments: Those that somebody has a grade in, in the order of their names.
        points: By assignment and student; nobody is in it who has no grade.
    """

    students: list[Student]
    assignments: list[Assignment]
    points: Mapping[tuple[str, str], float]


class _Exporter(ExportPlugin):  # type: ignore[misc]  # nbgrader has no types
    """What the two have in common."""

    force = Bool(False, help="Replace a file that exists.").tag(config=True)
    zero_for_missing = Bool(
        False, help="Give 0 to who has handed in nothing, in place of no grade."
    ).tag(config=True)

    file_name = ""
    no_grade = ""

    def export(self, gradebook: Gradebook) -> None:
        """Write the file; say which grades are not in it, and why.

        Raises:
            SystemExit: nothing was written; the message says why.
        """
        file = Path(self.to or self.file_name)
        if os.path.lexists(file) and not self.force:
            raise SystemExit(
                f"{file} exists, and was left as it is. Give another file with --to=FILE, or "
                f"--{type(self).__name__}.force=True to replace it."
            )
        grades = self._grades(gradebook)
        written = io.StringIO(newline="")
        csv.writer(written).writerows(self.rows(grades))
        try:
            write_whole(file, (MARK + written.getvalue()).encode(), 0o600)  # names and grades
        except OSError as error:
            raise SystemExit(f"{file} cannot be written: {error.strerror}.") from error
        self.log.info("Written: %s, %d students", file, len(grades.students))

    def rows(self, grades: Grades) -> Iterable[list[str]]:
        """Return the lines of the file."""
        raise NotImplementedError

    def points_of(self, grades: Grades, student: Student) -> list[str]:
        """Return a student's points in each assignment, as the file has them."""
        found = [grades.points.get((one.name, student.id)) for one in grades.assignments]
        return [self.no_grade if got is None else points(got) for got in found]

    def _grades(self, gradebook: Gradebook) -> Grades:
        students = self._chosen(
            "student", {one.id: one for one in gradebook.students}, self.student
        )
        assignments = self._chosen(
            "assignment", {one.name: one for one in gradebook.assignments}, self.assignment
        )
        assignments.sort(key=lambda one: one.name)
        odd = [one for one in students if one.id in _NOBODY or cell(one.id) != one.id]
        self._say(
            "left out, for their ids cannot be written to such a file as they are: a spreadsheet "
            "takes them for formulas, or does not show them. Enter these grades by hand",
            [one.id for one in odd],
        )
        students = [one for one in students if one not in odd]
        found: dict[tuple[str, str], float] = {}
        with_grades = []
        for assignment in assignments:
            mine = self._points(assignment, {one.id for one in students})
            if mine is not None:
                with_grades.append(assignment)
                found |= {(assignment.name, student): got for student, got in mine.items()}
        if not students or not with_grades:
            raise SystemExit("No student or no graded assignment to export; nothing was written.")
        return Grades(students, with_grades, found)

    def _points(self, assignment: Assignment, students: set[str]) -> dict[str, float] | None:
        """Return the points in an assignment, None if it is left out; say who has none, and why."""
        name = assignment.name
        again = f"run `mha-course grade {name}`, and export again"
        graded = {one.student_id: one for one in assignment.submissions}
        ungraded = self._collected(name, students) - set(graded)
        self._say(
            f"{name}: no grade, for they have handed in, and are not graded: {again}", ungraded
        )
        if not graded and not self.assignment:
            why = "a grade in it" if ungraded else "handed it in"
            self.log.info("%s: left out, for nobody has %s", name, why)
            return None
        missing = students - set(graded) - ungraded
        given = "0 points" if self.zero_for_missing else "no grade"
        self._say(f"{name}: {given}, for they have handed in nothing", missing)
        mine = {student: one for student, one in graded.items() if student in students}
        waiting = {student for student, one in mine.items() if one.needs_manual_grade}
        self._say(
            f"{name}: no grade, for a person has to read their written answers first: do it in the "
            "formgrader, and export again",
            waiting,
        )
        done = {student: one for student, one in mine.items() if student not in waiting}
        self._say_what_is_old(name, done, again)
        found = dict.fromkeys(missing, 0.0) if self.zero_for_missing else {}
        for student, one in done.items():
            found[student] = max(0.0, one.score - (one.late_submission_penalty or 0.0))
        return found

    def _say_what_is_old(
        self, name: str, graded: Mapping[str, SubmittedAssignment], again: str
    ) -> None:
        """Name those whose points are not what grading now would give."""
        if self._course is not None:
            self._say(
                f"{name}: the points of an earlier submission, for the last is not graded: {again}",
                _changed(self._course, name, graded),
            )
        self._say(
            f"{name}: an old late penalty; points, the due date, an extension or the policy have "
            f"changed since: {again}",
            [student for student, one in graded.items() if _penalty_is_old(one, self._late)],
        )

    def _collected(self, assignment: str, students: set[str]) -> set[str]:
        """Return whose submissions lie in the course's folder; only those that are asked for."""
        found = set(self._course.students(assignment)) if self._course is not None else set()
        return found & students if self.student else found

    @cached_property
    def _course(self) -> Course | None:
        """The course in whose folder the command runs; None elsewhere."""
        folder = Path(CourseDirectory(parent=self).root)
        if (folder / CONFIG).is_file():
            return Course(folder)
        if self.zero_for_missing:
            raise SystemExit(
                f"{folder} is no course folder: who has handed in, and is not graded, would get 0. "
                "Go to the course's folder, and run the command there; nothing was written."
            )
        return None

    @cached_property
    def _late(self) -> BasePlugin:
        """What the course takes for late work."""
        try:
            return policy(self.config)
        except ValueError as error:
            raise SystemExit(f"{error}; nothing was written.") from None

    def _chosen(self, kind: str, known: Mapping[str, _One], names: Iterable[object]) -> list[_One]:
        wanted = [str(name) for name in names]
        if unknown := [name for name in wanted if name not in known]:
            raise SystemExit(f"No {kind} {unknown[0]!r} in the gradebook; nothing was written.")
        return [one for name, one in known.items() if not wanted or name in wanted]

    def _say(self, what: str, students: Iterable[str]) -> None:
        if found := sorted(students):
            names = ", ".join(map(repr, found[:_MOST_NAMED]))
            more = f" and {len(found) - _MOST_NAMED} more" * (len(found) > _MOST_NAMED)
            self.log.warning("%s: %s%s", what, names, more)


def _changed(course: Course, assignment: str, students: Iterable[str]) -> Iterator[str]:
    """Yield who has handed in something else since, or is to be graded again, by the records."""
    if assignment not in course.assignments():
        return
    sources = course.sources(assignment)
    records = course.records(assignment)
    states, results = records.states(), records.graded()
    for student in students:
        if not course.submitted(student, assignment).is_dir():
            continue  # put away since
        before = results.get(student, {})
        same = all(
            digest(course.read_submission(student, assignment, source)[0])
            == before[source.notebook]["submission"]
            for source in sources
            if source.notebook in before
        )
        if not same or states.get(student, GRADED) != GRADED:
            yield student


def _penalty_is_old(submission: SubmittedAssignment, late: BasePlugin) -> bool:
    """Whether the policy takes something else, from points and due dates as they are now."""
    return any(
        not math.isclose(notebook.late_submission_penalty or 0.0, now or 0.0, abs_tol=1e-6)
        for notebook, now in penalties(submission, late)
    )


class CanvasExporter(_Exporter):
    """Grades as Canvas imports them into its gradebook."""

    assignment_ids = Dict(
        value_trait=Unicode(),
        help="Canvas's number of an assignment, by its name here: {'heads': '4711'}. Without it, "
        "Canvas takes the assignment with this title, or makes a new one.",
    ).tag(config=True)

    file_name = "grades-canvas.csv"
    no_grade = ""

    def rows(self, grades: Grades) -> Iterable[list[str]]:
        """Return the header, the most points, and a line for each student."""
        titles = [self._title(one.name) for one in grades.assignments]
        yield ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", *titles]
        most = [points(one.max_score) for one in grades.assignments]
        yield ["    Points Possible", "", "", "", "", *most]
        for one in grades.students:
            name = ", ".join(filter(None, (one.last_name, one.first_name))) or one.id
            number = cell(one.lms_user_id or "")
            # Canvas looks for an SIS User ID first; as one, a login might be somebody else's
            yield [cell(name), number, "", one.id, "", *self.points_of(grades, one)]

    def _title(self, name: str) -> str:
        number = self.assignment_ids.get(name)
        return f"{cell(name)} ({number})" if number else cell(name)


class MoodleExporter(_Exporter):
    """Grades as Moodle imports them from a CSV file.

    On Moodle's page, choose the same in "Map from" and "Map to": the username, the ID number or the
    address, whichever of them your list of students has from Moodle.
    """

    file_name = "grades-moodle.csv"
    no_grade = "-"

    def rows(self, grades: Grades) -> Iterable[list[str]]:
        """Return the header, and a line for each student."""
        columns = {"Username": [one.id for one in grades.students]}
        for head, found in (
            ("ID number", [one.lms_user_id or "" for one in grades.students]),
            ("Email address", [one.email or "" for one in grades.students]),
        ):
            # the grades of a row without a name would go to the student of the row before
            alike = len(set(found)) < len(found)
            if not alike and all(one not in _NOBODY and cell(one) == one for one in found):
                columns[head] = found
            elif any(found):
                self.log.warning(
                    "The file has no column %r, for some student has none, or an odd one, or two "
                    "have the same: Moodle would give grades to the wrong student",
                    head,
                )
        titles = [cell(one.name) for one in grades.assignments]
        yield ["First name", "Last name", *columns, *titles]
        for number, one in enumerate(grades.students):
            names = [cell(one.first_name or ""), cell(one.last_name or "")]
            who = [found[number] for found in columns.values()]
            yield [*names, *who, *self.points_of(grades, one)]
