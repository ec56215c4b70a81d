"""Steps of our own in nbgrader's autograding; `nbgrader_config.py` puts them in their place."""

from __future__ import annotations

import os
from typing import Any

from nbformat import NotebookNode
from nbgrader.preprocessors import NbGraderPreprocessor
from traitlets import Unicode

from mha_course.autograder.seeds import course_secret, student_seed
from mha_course.grading.fixtures import SEED_VARIABLE


class SetStudentSeed(NbGraderPreprocessor):  # type: ignore[misc]
    """Give the kernel the seed of the student's hidden tests, and note it in the notebook.

    It comes right before nbgrader's Execute: a kernel inherits the environment of its grader.
    """

    secret_folder = Unicode(".", help="Folder with the file of the course's secret").tag(
        config=True
    )

    def preprocess(
        self, nb: NotebookNode, resources: dict[str, Any]
    ) -> tuple[NotebookNode, dict[str, Any]]:
        """Set the environment variable that `drawn` reads."""
        where = resources["nbgrader"]
        secret = course_secret(self.secret_folder)
        seed = student_seed(secret, where["assignment"], where["student"])
        os.environ[SEED_VARIABLE] = seed
        nb.metadata["mha_course"] = {"student_seed": seed}
        return nb, resources
