"""A course's folder: nbgrader's settings, the assignments, and what was handed in."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import stat
from collections.abc import Iterator, Mapping
from glob import glob
from pathlib import Path
from typing import Any, NamedTuple

from nbgrader.apps import AutogradeApp
from nbgrader.coursedir import CourseDirectory
from nbgrader.utils import find_all_files

from mha_course.autograder.findings import Finding
from mha_course.autograder.handed_in import MOST_BYTES
from mha_course.autograder.job import Job
from mha_course.autograder.records import Records
from mha_course.autograder.seeds import course_secret, student_seed

CONFIG = "nbgrader_config.py"
RECORDS = "grading"
"""Folder of the course in which the records of each assignment are."""

MOST_FILES, MOST_DEEP, MOST_BESIDE = 1_000, 10, 100_000_000
"""What is taken besides the notebook: so many files, in so many folders, with so many bytes."""
MOST_NAMED = 10  # odd files of a submission

_MARKS = ("ClearSolutions", "ClearHiddenTests", "ClearMarkScheme")


class Source(NamedTuple):
    """A notebook of an assignment, as the instructor wrote it.

    Attributes:
        notebook: Its name, without ".ipynb".
        text: JSON.
        files: The other files of the assignment, by path in its folder.
        digest: Changes with the text or the files.
    """

    notebook: str
    text: str
    files: Mapping[str, bytes]
    digest: str


class Course:
    """The course in a folder.

    Args:
        folder: Where `nbgrader_config.py` is; by default the current one.

    Raises:
        ValueError: there is no `nbgrader_config.py`, or it cannot be used.
    """

    def __init__(self, folder: Path | None = None) -> None:
        folder = (folder or Path.cwd()).resolve()
        if not (folder / CONFIG).is_file():
            raise ValueError(
                f"{folder} is no course folder: there is no {CONFIG} in it. Go to the course's "
                "folder, and run the command there"
            )
        self.app = _app(folder)
        self.directory: CourseDirectory = self.app.coursedir
        self.root = Path(self.directory.root)

    @property
    def secret(self) -> str:
        """The course's secret; see `seeds`."""
        folder = self.app.config.get("JudgeSubmission", {}).get("secret_folder", self.root)
        return course_secret(folder)

    @property
    def marks(self) -> dict[str, Any]:
        """Nbgrader's settings for what learners find in place of solutions, as JSON has it."""
        found = {name: dict(self.app.config[name]) for name in _MARKS if name in self.app.config}
        as_json: dict[str, Any] = json.loads(json.dumps(found))
        return as_json

    def records(self, assignment: str) -> Records:
        """Return the records of an assignment."""
        group = bool(self.directory.groupshared)
        return Records(self.root / RECORDS / f"{assignment}.jsonl", group=group)

    def assignments(self) -> list[str]:
        """Return the names of all assignments that have a source."""
        pattern = self._path(self.directory.source_directory, ".", "*") / "*.ipynb"
        return sorted({Path(file).parent.name for file in glob(str(pattern))})

    def sources(self, assignment: str) -> list[Source]:
        """Return the notebooks of an assignment.

        Raises:
            ValueError: there is no such assignment.
        """
        folder = self._path(self.directory.source_directory, ".", assignment)
        if assignment not in (known := self.assignments()):
            where = self.root / self.directory.source_directory
            raise ValueError(
                f"no assignment {assignment!r} in {where}; there are {', '.join(known) or 'none'}"
            )
        notebooks = sorted(folder.glob("*.ipynb"))
        others = find_all_files(str(folder), [*self.directory.ignore, "*.ipynb"])
        files = {
            Path(file).relative_to(folder).as_posix(): Path(file).read_bytes()
            for file in sorted(others)
        }
        return [self._source(notebook, files) for notebook in notebooks]

    def students(self, assignment: str) -> list[str]:
        """Return who has handed in an assignment."""
        directory = self.directory.submitted_directory
        pattern = self.directory.format_path(
            directory, "(?P<student>(?s:.*))", re.escape(assignment), escape=True
        )
        found = glob(str(self._path(directory, "*", assignment)))
        matches = (re.fullmatch(pattern, folder) for folder in found)
        return sorted(match["student"] for match in matches if match)

    def submitted(self, student: str, assignment: str) -> Path:
        """Return the folder of what a student has handed in."""
        return self._path(self.directory.submitted_directory, student, assignment)

    def autograded(self, student: str, assignment: str) -> Path:
        """Return the folder of a student's graded notebooks."""
        return self._path(self.directory.autograded_directory, student, assignment)

    def read_submission(
        self, student: str, assignment: str, source: Source
    ) -> tuple[bytes, str, list[Finding]]:
        """Return what a student handed in, why it cannot be read, and what is odd about it."""
        folder = self.submitted(student, assignment)
        if self._is_linked(folder):
            return b"", "The folder that was handed in is a link.", []
        file, findings = self._handed_in(folder, source, assignment)
        return *read_file(file), findings

    def files_beside(self, student: str, assignment: str) -> Iterator[tuple[Path, str]]:
        """Yield what else a student has handed in, and why it is left out; empty if it is not."""
        folder = self.submitted(student, assignment)
        if self._is_linked(folder):
            yield folder, "is a link"
        else:
            yield from _files_in(folder)

    def _is_linked(self, folder: Path) -> bool:
        """Whether the folder of a submission is not what it seems: another's, or the solutions."""
        base = self.root / self.directory.submitted_directory
        return any(one.is_symlink() for one in (folder, *folder.parents) if base in one.parents)

    def job(self, source: Source, student: str, assignment: str, secret: str) -> Job:
        """Return the job of grading a student's notebook, whatever there is of it."""
        submission, unreadable, findings = self.read_submission(student, assignment, source)
        folder = self.submitted(student, assignment)
        odd = [(path, why) for path, why in self.files_beside(student, assignment) if why]
        findings += [
            Finding("odd-file", f"{str(path.relative_to(folder))[:100]!r} {why}; it is left out.")
            for path, why in odd[:MOST_NAMED]
        ]
        if len(odd) > MOST_NAMED:
            says = f"As much as that is wrong with {len(odd) - MOST_NAMED} more files."
            findings.append(Finding("odd-file", says))
        return Job(
            assignment=assignment,
            notebook=source.notebook,
            student=student,
            seed=student_seed(secret, assignment, student),
            source=source.text,
            submission=submission,
            unreadable=unreadable,
            files=source.files,
            marks=self.marks,
            findings=tuple(findings),
        )

    def _handed_in(
        self, folder: Path, source: Source, assignment: str
    ) -> tuple[Path, list[Finding]]:
        """Return the file to grade: the one of the right name, or the only one there is."""
        file = folder / f"{source.notebook}.ipynb"
        if os.path.lexists(file):
            return file, []
        expected = {f"{one.notebook}.ipynb" for one in self.sources(assignment)}
        others = [one for one in folder.glob("*.ipynb") if one.name not in expected]
        if len(others) != 1 or len(expected) > 1:
            return file, []
        says = f"There is no {file.name}; {others[0].name!r} is graded, the only notebook there."
        return others[0], [Finding("other-name", says)]

    def _source(self, notebook: Path, files: Mapping[str, bytes]) -> Source:
        text = notebook.read_text(encoding="utf-8")
        digest = hashlib.sha256(json.dumps(self.marks, sort_keys=True).encode())
        for name, content in [("", text.encode()), *sorted(files.items())]:
            digest.update(f"{name}:{len(content)}:".encode() + content)
        return Source(notebook.stem, text, files, digest.hexdigest())

    def _path(self, step: str, student: str, assignment: str) -> Path:
        return Path(os.path.normpath(self.directory.format_path(step, student, assignment)))


def _app(folder: Path) -> AutogradeApp:
    """Return nbgrader's application with the settings of a course's folder."""
    before, said = Path.cwd(), logging.root.manager.disable
    os.chdir(folder)  # nbgrader looks for its settings here
    logging.disable(logging.CRITICAL)  # what it would say of an error is said below
    try:
        app = AutogradeApp(log_level="ERROR", raise_config_file_errors=True)
        app.initialize([])
    except (Exception, SystemExit) as error:
        cause = error.__context__ if isinstance(error, SystemExit) else error
        raise ValueError(
            f"the settings in {folder / CONFIG} cannot be used ({type(cause).__name__}: {cause}); "
            "mend that file, and run the same command again"
        ) from error
    finally:
        logging.disable(said)
        os.chdir(before)
    return app


def read_file(file: Path) -> tuple[bytes, str]:
    """Return what is in a file that was handed in, and why it cannot be read, if so.

    A link could lead to solutions, and reading a pipe would never end.
    """
    name = file.name.encode("utf-8", "backslashreplace").decode()
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        why = "it is a link" if file.is_symlink() else str(error.strerror)
        return b"", f"The file {name} cannot be read: {why}."
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            return b"", f"The file {name} cannot be read: it is no plain file."
        if found.st_size > MOST_BYTES:
            return b"", f"The file {name} has {found.st_size:,} bytes; the most is {MOST_BYTES:,}."
        with os.fdopen(descriptor, "rb", closefd=False) as opened:
            return opened.read(MOST_BYTES), ""
    finally:
        os.close(descriptor)


def _files_in(folder: Path) -> Iterator[tuple[Path, str]]:
    """Yield the files in a folder, and why one must not be copied; empty if it may be.

    Links lead elsewhere, pipes never end, and folders can be nested deeper than a program, or the
    name of a path, can follow.
    """
    waiting = [folder]
    count = size = 0
    for where in waiting:  # it grows meanwhile
        try:
            entries = sorted(os.scandir(where), key=lambda entry: entry.name)
        except OSError as error:
            yield where, f"cannot be read ({error.strerror})"
            continue
        for entry in entries:
            path = Path(entry)
            count += 1
            found = entry.stat(follow_symlinks=False)
            is_folder = stat.S_ISDIR(found.st_mode)
            if not is_folder and not stat.S_ISREG(found.st_mode):
                yield path, "is neither a file nor a folder"
            elif not os.access(path, os.R_OK):
                yield path, "cannot be read"
            elif is_folder and len(path.relative_to(folder).parts) > MOST_DEEP:
                yield path, f"lies in more than {MOST_DEEP} folders"
            elif is_folder:
                waiting.append(path)
            elif count > MOST_FILES:
                yield path, f"is beyond the first {MOST_FILES:,} files"
            elif size + found.st_size > MOST_BESIDE:
                yield path, f"makes more than {MOST_BESIDE:,} bytes, with those before it"
            else:
                size += found.st_size
                yield path, ""
