"""The rubric under each written answer, for the person who grades it in the formgrader."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import nbformat
from nbconvert.preprocessors import Preprocessor
from nbformat import NotebookNode
from nbgrader.coursedir import CourseDirectory

_MARK = re.compile(r"^### (?:BEGIN|END) SOLUTION\n?", re.MULTILINE)
_TABLE = "| Points | For |"
_HEAD = "**For you who grade, and not in the feedback:**"


class ShowRubric(Preprocessor):
    """Adds a cell with the model answer and rubric of the instructor's notebook.

    Only to what the formgrader shows: feedback goes through the same exporter, and to students.
    """

    def preprocess(
        self, nb: NotebookNode, resources: dict[str, Any]
    ) -> tuple[NotebookNode, dict[str, Any]]:
        """Put the rubrics in; without the instructor's notebook, change nothing."""
        if "submission_id" not in resources:  # it is not the formgrader that asks
            return nb, resources
        rubrics = self._rubrics(resources["assignment_id"], resources["notebook_id"])
        cells = []
        for cell in nb.cells:
            cells.append(cell)
            known = cell.metadata.get("nbgrader", {})
            if known.get("grade") and known.get("solution") and known.get("grade_id") in rubrics:
                cells.append(nbformat.v4.new_markdown_cell(_shown(rubrics[known.grade_id])))
        nb.cells = cells
        return nb, resources

    def _rubrics(self, assignment: str, notebook: str) -> dict[str, str]:
        directory = CourseDirectory(config=self.config)
        folder = directory.format_path(directory.source_directory, ".", assignment)
        try:
            source = nbformat.read(Path(folder) / f"{notebook}.ipynb", as_version=4)
        except (OSError, ValueError):
            return {}
        return {
            cell.metadata.nbgrader.grade_id: cell.source
            for cell in source.cells
            if cell.cell_type == "markdown"
            and cell.metadata.get("nbgrader", {}).get("grade")
            and cell.metadata.nbgrader.solution
        }


def _shown(solution: str) -> str:
    """Return a written answer's solution with the rubric first, and the model answer folded."""
    answer, table, rubric = _MARK.sub("", solution).partition(_TABLE)
    if not table:
        return f"{_HEAD}\n\n{answer}"
    folded = f"<details><summary>Model answer</summary>\n\n{answer}\n\n</details>"
    return f"{_HEAD}\n\n{table}{rubric}\n\n{folded}"
