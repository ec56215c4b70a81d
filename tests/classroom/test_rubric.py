"""The rubric beside a written answer: in the formgrader, and nowhere else."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
from course import HEADS, RELEASE, REPOSITORY, WRITTEN, cells_by_id, read
from nbconvert import HTMLExporter
from nbformat import NotebookNode
from traitlets.config import Config

from mha_course.classroom.rubric import ShowRubric

ASKED = {"assignment_id": "heads", "notebook_id": "heads", "submission_id": "1"}


def shown(resources: dict[str, str], root: Path = REPOSITORY) -> tuple[NotebookNode, NotebookNode]:
    """Return a notebook before and after."""
    directory = {"root": str(root), "source_directory": "solutions"}
    before = read(RELEASE)
    after, _ = ShowRubric(config=Config(CourseDirectory=directory)).preprocess(
        copy.deepcopy(before), dict(resources)
    )
    return before, after


def test_each_rubric_stands_under_its_answer() -> None:
    before, after = shown(ASKED)
    solved = cells_by_id(HEADS.notebook)
    assert len(after.cells) == len(before.cells) + len(WRITTEN)
    assert [cell for cell in after.cells if cell.metadata] == before.cells, "nothing else changes"
    names = [cell.metadata.get("nbgrader", {}).get("grade_id") for cell in after.cells]
    for name in WRITTEN:
        added = after.cells[names.index(name) + 1].source
        table = solved[name].source.partition("| Points | For |")[2].partition("\n### END")[0]
        assert table.strip() in added
        assert added.index("| Points |") < added.index("<summary>Model answer</summary>")
        assert "SOLUTION" not in added


def test_a_rubric_is_shown_as_a_table_and_runs_nothing() -> None:
    settings = Config(HTMLExporter={"filters": {"markdown2html": FILTER}})
    html, _ = HTMLExporter(config=settings).from_notebook_node(shown(ASKED)[1])
    assert html.count("<th>Points</th>") == len(WRITTEN)
    assert html.count("<summary>Model answer</summary>") == len(WRITTEN)


FILTER = "mha_course.autograder.safe_html.markdown2html"


@pytest.mark.parametrize(
    "resources",
    [{}, ASKED | {"assignment_id": "none"}, ASKED | {"notebook_id": "../../README"}],
    ids=["feedback", "assignment", "notebook"],
)
def test_elsewhere_there_is_none(resources: dict[str, str]) -> None:
    before, after = shown(resources)
    assert after == before


def test_a_source_that_cannot_be_read_stops_nobody_from_grading(tmp_path: Path) -> None:
    source = tmp_path / "solutions" / "heads" / "heads.ipynb"
    source.parent.mkdir(parents=True)
    source.write_text("{")
    before, after = shown(ASKED, tmp_path)
    assert after == before
