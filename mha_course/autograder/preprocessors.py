"""Steps of our own in nbgrader's autograding; `nbgrader_config.py` puts them in their place.

With them `nbgrader autograde` and the formgrader's button grade as `mha-course grade` does, one
submission at a time.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import nbformat
from nbconvert.exporters import NotebookExporter
from nbformat import NotebookNode
from nbgrader.preprocessors import NbGraderPreprocessor
from traitlets import Bool, Float, Integer, Unicode

from mha_course.autograder.course import Course
from mha_course.autograder.grader import pool
from mha_course.autograder.job import Graded, Settings
from mha_course.autograder.recorder import record_of
from mha_course.autograder.records import GRADED, RECORDING

_KEPT = "mha_course"
_DEFAULT = Settings()


class UnreadExporter(NotebookExporter):
    """Begins with an empty notebook: what was handed in is read by `JudgeSubmission` alone.

    nbgrader would stop at a file that is no notebook.
    """

    def from_filename(
        self,
        filename: str,  # noqa: ARG002
        resources: dict[str, Any] | None = None,
        **kw: Any,
    ) -> Any:
        """Convert an empty notebook."""
        return self.from_notebook_node(nbformat.v4.new_notebook(), resources=resources, **kw)


class JudgeSubmission(NbGraderPreprocessor):  # type: ignore[misc]
    """Put what was handed in into the instructor's notebook, run it in a sandbox, and judge it."""

    cell_seconds = Float(_DEFAULT.cell_seconds, help="Seconds for one cell").tag(config=True)
    total_seconds = Float(_DEFAULT.total_seconds, help="Seconds for all cells of a notebook").tag(
        config=True
    )
    memory_mb = Integer(_DEFAULT.memory_mb, help="Megabytes for all that a submission starts").tag(
        config=True
    )
    processes = Integer(_DEFAULT.processes, help="Processes and threads of a submission").tag(
        config=True
    )
    open_files = Integer(_DEFAULT.open_files, help="Files that a process may have open").tag(
        config=True
    )
    disk_mb = Integer(_DEFAULT.disk_mb, help="Megabytes that a submission may write").tag(
        config=True
    )
    output_characters = Integer(
        _DEFAULT.output_characters, help="Of all outputs that are kept"
    ).tag(config=True)
    sandbox = Bool(_DEFAULT.sandbox, help="Whether what is handed in runs in a sandbox").tag(
        config=True
    )
    secret_folder = Unicode("", help="Folder of the course's secret").tag(config=True)

    def settings(self) -> Settings:
        """Return what a submission may use."""
        return Settings(**{name: getattr(self, name) for name in Settings._fields})

    def preprocess(
        self,
        nb: NotebookNode,  # noqa: ARG002, empty
        resources: dict[str, Any],
    ) -> tuple[NotebookNode, dict[str, Any]]:
        """Return the graded notebook."""
        where = resources["nbgrader"]
        student, assignment = where["student"], where["assignment"]
        course = Course(Path.cwd())  # nbgrader has gone there
        sources = {source.notebook: source for source in course.sources(assignment)}
        source = sources[where["notebook"]]
        job = course.job(source, student, assignment, course.secret)
        # nbgrader has copied what links lead to, and feedback would show it to the learner
        folder = course.submitted(student, assignment)
        for path, why in course.files_beside(student, assignment):
            copy = course.autograded(student, assignment) / path.relative_to(folder)
            if why and copy.is_dir():
                shutil.rmtree(copy)
            elif why:
                copy.unlink(missing_ok=True)
        course.records(assignment).add(student, RECORDING)
        settings = self.settings()
        graded = Graded.from_bytes(pool(settings).grade(job.to_bytes()))
        resources[_KEPT] = record_of(source, job, graded, settings)
        return graded.read(), resources


class KeepRecord(NbGraderPreprocessor):  # type: ignore[misc]
    """Note that a grade is in the gradebook, and all that is needed to make it again."""

    def preprocess(
        self, nb: NotebookNode, resources: dict[str, Any]
    ) -> tuple[NotebookNode, dict[str, Any]]:
        """Leave the notebook as it is."""
        where = resources["nbgrader"]
        notebooks = {where["notebook"]: resources[_KEPT]}
        records = Course(Path.cwd()).records(where["assignment"])
        records.add(where["student"], GRADED, notebooks=notebooks)
        return nb, resources
