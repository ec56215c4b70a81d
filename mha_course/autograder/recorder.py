"""Write results into nbgrader's gradebook and folders, through nbgrader's own code.

What stands there afterwards is what `nbgrader autograde` would have left: formgrader, feedback and
export go on from it. Grades given by hand are not touched.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import logging
import os
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Self
from unittest.mock import patch

import sqlalchemy
from nbconvert.preprocessors import ExecutePreprocessor
from nbgrader import api
from nbgrader.api import Gradebook
from nbgrader.converters import Autograde
from nbgrader.coursedir import CourseDirectory
from nbgrader.preprocessors import CheckCellMetadata
from nbgrader.utils import determine_grade, is_grade, parse_utc
from traitlets.utils.importstring import import_item

from mha_course.autograder.course import Course, Source, read_file
from mha_course.autograder.job import Graded, Job, Settings
from mha_course.autograder.patience import patiently
from mha_course.autograder.records import GRADED, RECORDING

# as nbgrader writes it; the name of a time zone must not lead to any file of the machine
_TIMESTAMP = re.compile(r"\d[\w:.+ -]{0,40}([A-Za-z_]+(/[\w+-]+){1,2})?")
OWN = "mha_course.autograder.preprocessors"
_USERS = ("converters.autograde", "preprocessors.saveautogrades", "preprocessors.latesubmissions")

Results = Mapping[str, tuple[Source, Job, Graded]]
"""Of a student, by notebook."""


class Recorder:
    """Writes results, one student after the other; only one process may do so.

    Args:
        course: The course.
        assignment: Whose results they are.
        settings: With which they were made; for the records.
        waiting: Called with a sentence when gradebook or disk are locked, full or gone.
    """

    def __init__(
        self,
        course: Course,
        assignment: str,
        settings: Settings,
        *,
        waiting: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._course, self._assignment, self._settings = course, assignment, settings
        self._waiting = waiting
        self._records = course.records(assignment)
        self._gradebook: Gradebook | None = None
        self._shared = contextlib.ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def record(self, student: str, results: Results) -> None:
        """Write the results of a student.

        Raises:
            CannotStore: gradebook or disk stayed locked, full or gone.
            Exception: what kept the results of this student, and perhaps no other, from it.
        """
        notebooks = {
            name: record_of(source, job, graded, self._settings)
            for name, (source, job, graded) in results.items()
        }
        graded = {name: graded for name, (_, _, graded) in results.items()}
        patiently(lambda: self._records.add(student, RECORDING), self._waiting)
        patiently(lambda: self._write(student, graded), self._waiting)
        patiently(lambda: self._records.add(student, GRADED, notebooks=notebooks), self._waiting)

    def _write(self, student: str, graded: Mapping[str, Graded]) -> None:
        try:
            self._written(student, graded)
        except BaseException:
            self._close()  # and with it what is half done
            raise

    def _written(self, student: str, graded: Mapping[str, Graded]) -> None:
        course = self._course
        if self._gradebook is None:
            url, name = course.directory.db_url, course.directory.course_id
            self._gradebook = self._shared.enter_context(_one_gradebook(url, name))
        directory = _Directory(
            parent=course.app,
            root=str(course.root),
            assignment_id=self._assignment,
            student_id=student,
        )
        if directory.student_id != student:
            raise ValueError("for nbgrader no name of a student begins or ends with a space")
        converter = _Converter(coursedir=directory, parent=course.app)
        converter.graded, converter.gradebook = graded, self._gradebook
        converter.beside = [
            path for path, why in course.files_beside(student, self._assignment) if not why
        ]
        converter.force = True
        session = self._gradebook.db
        try:
            # nbgrader commits after every cell; a student's points are there together or not at all
            with _quiet(converter.log), patch.object(session, "commit", session.flush):
                converter.start()
            session.commit()
        except BaseException:
            session.rollback()
            raise

    def _close(self) -> None:
        self._gradebook = None
        self._shared.close()


def record_of(source: Source, job: Job, graded: Graded, settings: Settings) -> dict[str, Any]:
    """Return what is kept of a result: all that is needed to make the grade again."""
    notebook = graded.read()
    return {
        "submission": digest(job.submission),
        "source": source.digest,
        "seed": job.seed,
        "settings": settings._asdict(),
        "versions": dict(graded.versions),
        "seconds": round(graded.seconds, 3),
        "cell_seconds": round(graded.cell_seconds, 3),
        "processes": graded.processes,
        "refused": graded.refused,
        "points": {
            cell.metadata.nbgrader.grade_id: determine_grade(cell)
            for cell in notebook.cells
            if is_grade(cell)
        },
        "tests": [one._asdict() for one in graded.tests],
        "findings": [one._asdict() for one in graded.findings],
    }


def digest(data: bytes) -> str:
    """Return the SHA-256 of a file that was handed in."""
    return hashlib.sha256(data).hexdigest()


class _Directory(CourseDirectory):  # type: ignore[misc]
    """nbgrader's, with a file of the time of submission that may hold anything."""

    def get_existing_timestamp(self, dest_path: str) -> datetime.datetime | None:
        content, _ = read_file(Path(dest_path, "timestamp.txt"))
        text = content.decode(errors="replace").strip()
        if not _TIMESTAMP.fullmatch(text):
            return None
        try:
            found: datetime.datetime | None = parse_utc(text)
        except Exception:  # dateutil, which nbgrader asks, raises whatever it stumbles over
            return None
        return found


class _Converter(Autograde):  # type: ignore[misc]
    """nbgrader's autograder, for notebooks that are graded already."""

    graded: Mapping[str, Graded] = {}
    gradebook: Gradebook
    beside: Sequence[Path] = ()

    def init_notebooks(self) -> None:
        """Take the notebooks that there are results of, be there a file or not."""
        where, student = self.coursedir, self.coursedir.student_id
        folder = where.format_path(where.submitted_directory, student, where.assignment_id)
        self.assignments = {folder: [f"{folder}/{name}.ipynb" for name in self.graded]}

    def convert_notebooks(self) -> None:
        """Write them; nothing is caught here, for there is only one student."""
        assignment, student = self.coursedir.assignment_id, self.coursedir.student_id
        ((_, self.notebooks),) = self.assignments.items()
        self.init_destination(assignment, student)
        self.run_pre_convert_hook()
        self.init_assignment(assignment, student)
        for notebook in self.notebooks:
            self.convert_single_notebook(notebook)
        self.set_permissions(assignment, student)
        self.run_post_convert_hook()

    def init_assignment(self, assignment_id: str, student_id: str) -> None:
        """Copy what was handed in beside the notebook: only what is harmless, and in no one's way.

        A folder named like a file of the instructor's would stop nbgrader.
        """
        with patch("nbgrader.converters.base.find_all_files", self._copied):
            super().init_assignment(assignment_id, student_id)

    def _copied(self, folder: str, ignored: Sequence[str]) -> list[str]:
        source = self.coursedir.format_path(
            self.coursedir.source_directory, ".", self.coursedir.assignment_id
        )
        theirs = set(os.listdir(source))
        parts = {path: path.relative_to(folder).parts for path in self.beside}
        return [
            str(path)
            for path, names in parts.items()
            if names[0] not in theirs
            and not any(fnmatch(name, pattern) for name in names for pattern in ignored)
        ]

    def convert_single_notebook(self, notebook_filename: str) -> None:
        """Save points, and write the notebook with all outputs."""
        resources = self.init_single_notebook_resources(notebook_filename)
        self.exporter._preprocessors = []
        for step in self.autograde_preprocessors:
            # metadata are the instructor's, and `plan` has compared them with the gradebook
            ours = _name(step).startswith(OWN) or step is CheckCellMetadata
            if not ours and not _runs_cells(step):
                self.exporter.register_preprocessor(step)
        notebook = self.graded[resources["nbgrader"]["notebook"]].read()
        with _looked_up_once(self.gradebook):
            output, resources = self.exporter.from_notebook_node(notebook, resources=resources)
        self.write_single_notebook(output, resources)


def _name(step: object) -> str:
    return f"{step.__module__}.{step.__name__}" if isinstance(step, type) else str(step)


def _runs_cells(step: object) -> bool:
    """Whether a step would run the notebook, as nbgrader's own does, outside of any sandbox."""
    kind = import_item(step) if isinstance(step, str) else step
    kind = kind if isinstance(kind, type) else type(kind)
    return issubclass(kind, ExecutePreprocessor)


@contextlib.contextmanager
def _one_gradebook(url: str, course: str) -> Iterator[Gradebook]:
    """Have nbgrader's code share one connection: it opens one for every step, and each is slow."""
    with Gradebook(url, course) as gradebook, contextlib.ExitStack() as patched:
        patched.enter_context(patch.object(gradebook, "close"))
        for module in _USERS:
            patched.enter_context(patch(f"nbgrader.{module}.Gradebook", lambda *_: gradebook))
        yield gradebook


@contextlib.contextmanager
def _looked_up_once(gradebook: Gradebook) -> Iterator[None]:
    """Read all grades and comments of a notebook at once, and write them at once.

    nbgrader asks for each in a query over seven tables, and commits after each.
    """
    entries: dict[tuple[str, ...], dict[str, Any]] = {}

    def finding(kind: Any, cell: Any, otherwise: Callable[..., Any]) -> Callable[..., Any]:
        def find(name: str, *of: str) -> Any:
            key = (kind.__name__, *of)
            if key not in entries:
                entries[key] = dict(_entries(gradebook, kind, cell, *of))
            return entries[key].get(name) or otherwise(name, *of)  # of a task cell

        return find

    grade = finding(api.Grade, api.GradeCell, gradebook.find_grade)
    comment = finding(api.Comment, api.SolutionCell, gradebook.find_comment)
    with (
        patch.object(gradebook, "find_grade", grade),
        patch.object(gradebook, "find_comment", comment),
        patch.object(gradebook.db, "commit", lambda: None),
    ):
        yield
    gradebook.db.flush()


def _entries(
    gradebook: Gradebook, kind: Any, cell: Any, notebook: str, assignment: str, student: str
) -> Iterator[tuple[str, Any]]:
    """Yield the name of each cell with its grade or comment."""
    found = (
        gradebook.db.query(cell.name, kind)
        .join(cell, cell.id == kind.cell_id)
        .join(api.SubmittedNotebook, api.SubmittedNotebook.id == kind.notebook_id)
        .join(api.Notebook, api.Notebook.id == api.SubmittedNotebook.notebook_id)
        .join(
            api.SubmittedAssignment,
            api.SubmittedAssignment.id == api.SubmittedNotebook.assignment_id,
        )
        .join(api.Assignment, api.Assignment.id == api.SubmittedAssignment.assignment_id)
        .join(api.Student, api.Student.id == api.SubmittedAssignment.student_id)
        .filter(
            api.Notebook.name == notebook,
            api.Assignment.name == assignment,
            api.Student.id == student,
        )
    )
    yield from found


@contextlib.contextmanager
def _quiet(log: logging.Logger) -> Iterator[None]:
    """Leave out what nbgrader says of each file, and SQLAlchemy of nbgrader's queries."""
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", sqlalchemy.exc.SAWarning)
            yield
    finally:
        log.setLevel(level)
