"""Whatever a learner hands in, the instructor's tests and the learner's answers stay."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_raw_cell
from nbgrader.utils import compute_checksum, determine_grade
from traitlets.config import Config, PyFileConfigLoader

from mha_course.autograder.findings import MEANING
from mha_course.autograder.handed_in import (
    MOST_CELLS,
    MOST_DEPTH,
    SubmissionError,
    read_submission,
)
from mha_course.autograder.rebuild import Rebuilt, rebuild

REPOSITORY = Path(__file__).parents[2]
CONFIG: Config = PyFileConfigLoader("nbgrader_config.py", path=str(REPOSITORY)).load_config()
NAMES = sorted(path.stem for path in (REPOSITORY / "solutions").glob("*/*.ipynb"))
SOURCES = {name: nbformat.read(REPOSITORY / f"solutions/{name}/{name}.ipynb", 4) for name in NAMES}
RELEASES = {name: nbformat.read(REPOSITORY / f"exercises/{name}/{name}.ipynb", 4) for name in NAMES}

Cells = list[NotebookNode]


def cell(name: str, source: str, kind: str = "code", **flags: Any) -> NotebookNode:
    """Make a cell as an instructor has it."""
    base = {"grade": False, "solution": False, "locked": False, "task": False, "schema_version": 3}
    make = new_code_cell if kind == "code" else new_markdown_cell
    return make(source, id=name, metadata={"nbgrader": {**base, "grade_id": name, **flags}})


def small_source() -> NotebookNode:
    """Return two tasks and a written one."""
    hidden = "\n### BEGIN HIDDEN TESTS\nassert {0}() == {1}\n### END HIDDEN TESTS"
    answer = "def {0}():\n    ### BEGIN SOLUTION\n    return {1}\n    ### END SOLUTION"
    cells = [cell("setup", "import math", locked=True)]
    for number, name in enumerate(("one", "two"), start=1):
        cells += [
            cell(f"card-{name}", f"## Task {number}", "markdown", locked=True),
            cell(name, answer.format(name, number), solution=True),
            cell(
                f"test_{name}",
                f"assert {name}() > 0" + hidden.format(name, number),
                grade=True,
                locked=True,
                points=number,
            ),
        ]
    why = "### BEGIN SOLUTION\nBecause.\n### END SOLUTION"
    cells += [
        cell("card-why", "## Why?", "markdown", locked=True),
        cell("why", why, "markdown", grade=True, solution=True, points=3),
    ]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return new_notebook(cells=cells, metadata=kernel)


SMALL = small_source()
STUB = "raise NotImplementedError"


def released() -> NotebookNode:
    """Return what learners get of SMALL."""
    notebook = rebuild(SMALL, new_notebook(), CONFIG).notebook
    for one in notebook.cells:
        one.source = one.source.split("\n### BEGIN HIDDEN")[0]
    return notebook


def solved() -> NotebookNode:
    """Return what an honest learner hands in."""
    notebook = released()
    at(notebook, "one").source = "def one():\n    return 1"
    at(notebook, "two").source = "def two():\n    return 2"
    at(notebook, "why").source = "It is so."
    return notebook


def name_of(one: NotebookNode) -> str:
    return str(one.metadata.get("nbgrader", {}).get("grade_id", ""))


def at(notebook: NotebookNode, name: str) -> NotebookNode:
    return next(one for one in notebook.cells if name_of(one) == name)


def place(notebook: NotebookNode, name: str) -> int:
    return next(i for i, one in enumerate(notebook.cells) if name_of(one) == name)


def done(submitted: NotebookNode) -> Rebuilt:
    """Rebuild a submission of SMALL, and look at what must hold for every one."""
    before = copy.deepcopy(submitted)
    rebuilt = rebuild(SMALL, submitted, CONFIG)
    assert submitted == before
    instructors_own(SMALL, rebuilt.notebook)
    assert rebuild(SMALL, rebuilt.notebook, CONFIG).notebook == rebuilt.notebook
    return rebuilt


def instructors_own(source: NotebookNode, notebook: NotebookNode) -> None:
    """Check all that a learner must have no say in."""
    nbformat.validate(notebook)
    assert notebook.metadata == source.metadata
    kept = [one for one in notebook.cells if "nbgrader" in one.metadata]
    assert [one.id for one in kept] == [one.id for one in source.cells]
    for ours, original in zip(kept, source.cells, strict=True):
        flags = {k: v for k, v in ours.metadata.nbgrader.items() if k not in EXTRA}
        assert flags == {k: v for k, v in original.metadata.nbgrader.items() if k not in EXTRA}
        assert ours.metadata.keys() == original.metadata.keys()
        assert ours.cell_type == original.cell_type
        assert ours.get("attachments") == original.get("attachments")
        if not original.metadata.nbgrader.solution:
            assert ours.source.encode() == original.source.encode()
    for one in notebook.cells:
        assert not one.get("outputs")
        assert one.get("execution_count") is None
        if one not in kept:
            assert one.metadata == {}
            assert set(one) <= {"cell_type", "id", "metadata", "source", "outputs"} | {
                "execution_count"
            }


EXTRA = ("checksum", "cell_type")


def names(rebuilt: Rebuilt) -> list[str]:
    """Name the cells of the result; those that the learner added by their source."""
    return [name_of(one) or one.source for one in rebuilt.cells]


def findings(rebuilt: Rebuilt) -> set[tuple[str, str]]:
    for found in rebuilt.findings:
        assert found.says.endswith(".")
        assert found.says.isascii()
        assert len(found.says) < 400
        assert "\n" not in found.says
        assert found.kind in MEANING
    return {(found.kind, found.cell) for found in rebuilt.findings}


ORDER = [name_of(one) for one in SMALL.cells]


# The six assignments


@pytest.mark.parametrize("name", NAMES)
def test_a_release_as_it_is_has_no_findings(name: str) -> None:
    rebuilt = rebuild(SOURCES[name], RELEASES[name], CONFIG)
    assert rebuilt.findings == ()
    instructors_own(SOURCES[name], rebuilt.notebook)
    stubs = {name_of(one): one for one in RELEASES[name].cells}
    for one in rebuilt.cells:
        if one.metadata.nbgrader.solution:
            assert one.source == stubs[name_of(one)].source
            # nbgrader sees by it that a written answer was not touched
            assert one.metadata.nbgrader.checksum == stubs[name_of(one)].metadata.nbgrader.checksum


@pytest.mark.parametrize("name", NAMES)
def test_a_solution_as_submission_keeps_all_answers_and_hidden_tests(name: str) -> None:
    source = SOURCES[name]
    rebuilt = rebuild(source, source, CONFIG)
    instructors_own(source, rebuilt.notebook)
    assert [one.source for one in rebuilt.cells] == [one.source for one in source.cells]
    text = "".join(one.source for one in rebuilt.cells)
    assert "### BEGIN HIDDEN TESTS" in text
    kinds = {found.kind for found in rebuilt.findings}
    assert kinds == {"instructor-mark", "test-edited"}
    assert rebuild(source, rebuilt.notebook, CONFIG).notebook == rebuilt.notebook


@pytest.mark.parametrize("name", NAMES)
def test_the_file_of_a_release_reads_as_nbformat_reads_it(name: str) -> None:
    raw = (REPOSITORY / f"exercises/{name}/{name}.ipynb").read_bytes()
    assert read_submission(raw) == RELEASES[name]


def test_the_source_is_left_alone() -> None:
    source = copy.deepcopy(SMALL)
    rebuild(source, solved(), CONFIG)
    assert source == SMALL


# Honest and clumsy


def test_an_honest_submission() -> None:
    rebuilt = done(solved())
    assert rebuilt.findings == ()
    assert names(rebuilt) == ORDER
    assert at(rebuilt.notebook, "one").source == "def one():\n    return 1"
    assert at(rebuilt.notebook, "why").source == "It is so."


def test_outputs_and_counts_are_dropped() -> None:
    notebook = solved()
    for one in notebook.cells:
        if one.cell_type == "code":
            one.outputs = [nbformat.v4.new_output("stream", text="5/5 points")]
            one.execution_count = 3
    assert done(notebook).findings == ()


def test_an_unchanged_written_answer_is_known_as_such() -> None:
    untouched, written = done(released()).notebook, done(solved()).notebook
    assert determine_grade(at(untouched, "why")) == (0, 3)
    assert determine_grade(at(written, "why")) == (None, 3)
    assert at(untouched, "why").metadata.nbgrader.checksum == compute_checksum(at(untouched, "why"))


def test_added_cells_stay_in_place() -> None:
    notebook = solved()
    notebook.cells.insert(0, new_code_cell("top"))
    notebook.cells.insert(place(notebook, "one"), new_code_cell("above one", id="one-a"))
    notebook.cells.insert(place(notebook, "one") + 1, new_markdown_cell("below one"))
    notebook.cells.insert(place(notebook, "one") + 2, new_raw_cell("further below"))
    notebook.cells.append(new_code_cell("end", metadata={"collapsed": True, "tags": []}))
    rebuilt = done(notebook)
    assert rebuilt.findings == ()
    assert names(rebuilt) == [
        *("top", "setup", "card-one", "above one", "one", "below one", "further below"),
        *(*ORDER[ORDER.index("test_one") :], "end"),
    ]


def test_cells_of_the_source_that_nothing_protects_are_the_learners() -> None:
    source = copy.deepcopy(SMALL)
    source.cells.insert(1, new_code_cell("import torch"))
    notebook = solved()
    notebook.cells.insert(1, new_code_cell("import torch, numpy"))
    rebuilt = rebuild(source, notebook, CONFIG)
    assert names(rebuilt) == ["setup", "import torch, numpy", *ORDER[1:]]
    assert rebuilt.findings == ()


def test_deleted_cells() -> None:
    notebook = solved()
    gone = ("setup", "one", "test_two", "why")
    notebook.cells = [one for one in notebook.cells if name_of(one) not in gone]
    rebuilt = done(notebook)
    assert names(rebuilt) == ORDER
    assert STUB in at(rebuilt.notebook, "one").source
    assert "Write your answer here" in at(rebuilt.notebook, "why").source
    assert findings(rebuilt) == {
        ("locked-deleted", "setup"),
        ("solution-deleted", "one"),
        ("test-deleted", "test_two"),
        ("solution-deleted", "why"),
    }


def test_an_answer_in_a_new_cell_is_not_undone_by_the_stub() -> None:
    """To merge a cell with the one above drops the grade_id: nbgrader runs what is there."""
    notebook = solved()
    one = place(notebook, "one")
    notebook.cells[one : one + 1] = [new_code_cell("def one(): return 1")]
    rebuilt = done(notebook)
    start = ORDER.index("test_one")
    assert names(rebuilt) == [*ORDER[:start], "def one(): return 1", *ORDER[start:]]
    assert findings(rebuilt) == {("solution-deleted", "one"), ("answer-elsewhere", "one")}


def test_an_answer_merged_into_the_card_is_not_undone_either() -> None:
    notebook = solved()
    one = place(notebook, "one")
    notebook.cells[one - 1 : one + 1] = [new_code_cell("def one(): return 1")]
    start = ORDER.index("test_one")
    assert names(done(notebook)) == [*ORDER[:start], "def one(): return 1", *ORDER[start:]]


def test_an_answer_in_a_new_cell_runs_above_its_test_even_if_that_was_deleted() -> None:
    notebook = solved()
    answer = new_code_cell("def one(): return 1")
    notebook.cells = [*notebook.cells[:2], answer, *notebook.cells[place(notebook, "test_two") :]]
    start = ORDER.index("test_one")
    assert names(done(notebook)) == [*ORDER[:start], answer.source, *ORDER[start:]]


@pytest.mark.parametrize(
    ("source", "seen"),
    [
        ("def one(): return 1", True),
        ("x = 2\none: object = lambda: 1", True),
        ("one == 1; one()", False),
        ("def one_more():\n    one = 1", False),
    ],
)
def test_an_answer_beside_an_untouched_cell_is_looked_for(source: str, seen: bool) -> None:
    notebook = solved()
    at(notebook, "one").source = at(released(), "one").source
    notebook.cells.insert(place(notebook, "one"), new_code_cell(source))
    notebook.cells.append(new_code_cell("def two(): pass"))  # two has an answer
    assert findings(done(notebook)) == ({("answer-elsewhere", "one")} if seen else set())


def test_a_split_solution_cell() -> None:
    """JupyterLab gives both halves the same grade_id. nbgrader takes the last, and runs both."""
    notebook = solved()
    one = place(notebook, "one")
    halves = [copy.deepcopy(notebook.cells[one]) for _ in range(2)]
    halves[0].source, halves[1].source, halves[1].id = "x = 1", "def one(): return x", "other"
    notebook.cells[one : one + 1] = [halves[0], new_code_cell("helper"), halves[1]]
    rebuilt = done(notebook)
    assert names(rebuilt) == [*ORDER[:2], "x = 1", "helper", *ORDER[2:]]
    assert at(rebuilt.notebook, "one").source == "def one(): return x"
    assert findings(rebuilt) == {("solution-duplicated", "one")}


def copy_at(notebook: NotebookNode, name: str, where: int, source: str) -> None:
    other = copy.deepcopy(at(notebook, name))
    other.source, other.id = source, f"copy-{where}"
    notebook.cells.insert(where, other)


def test_a_copy_below_the_test_does_not_become_the_answer() -> None:
    notebook = solved()
    copy_at(notebook, "one", len(notebook.cells), "def one(): return 'an experiment'")
    rebuilt = done(notebook)
    assert at(rebuilt.notebook, "one").source == "def one():\n    return 1"
    assert names(rebuilt) == [*ORDER, "def one(): return 'an experiment'"]


def test_a_copy_that_is_the_stub_does_not_undo_the_answer() -> None:
    for offset in (0, 1):
        notebook = solved()
        stub = at(released(), "one").source
        copy_at(notebook, "one", place(notebook, "one") + offset, stub + "  \n")
        rebuilt = done(notebook)
        assert names(rebuilt) == ORDER
        assert at(rebuilt.notebook, "one").source == "def one():\n    return 1"
        assert findings(rebuilt) == {("solution-duplicated", "one")}


def test_the_only_answer_counts_even_below_the_test() -> None:
    notebook = released()
    copy_at(notebook, "one", len(notebook.cells), "def one(): return 1")
    rebuilt = done(notebook)
    assert names(rebuilt) == ORDER
    assert at(rebuilt.notebook, "one").source == "def one(): return 1"


def test_of_written_answers_the_last_changed_one_counts() -> None:
    notebook = solved()
    copy_at(notebook, "why", len(notebook.cells), "Second thoughts.")
    rebuilt = done(notebook)
    assert at(rebuilt.notebook, "why").source == "Second thoughts."
    assert "It is so." in names(rebuilt)


def test_moved_cells() -> None:
    notebook = solved()
    notebook.cells.append(notebook.cells.pop(place(notebook, "one")))
    notebook.cells.insert(0, notebook.cells.pop(place(notebook, "test_two")))
    notebook.cells.insert(place(notebook, "test_one") + 1, new_code_cell("after test_one"))
    rebuilt = done(notebook)
    after = ORDER.index("test_one") + 1
    assert names(rebuilt) == [*ORDER[:after], "after test_one", *ORDER[after:]]
    assert findings(rebuilt) == {("solution-moved", "one"), ("test-moved", "test_two")}
    notebook.cells.append(notebook.cells.pop(place(notebook, "setup")))
    assert ("locked-moved", "setup") in findings(done(notebook))


def test_all_cells_in_reverse() -> None:
    notebook = solved()
    notebook.cells.reverse()
    rebuilt = done(notebook)
    assert names(rebuilt) == ORDER
    assert len(findings(rebuilt)) == len(ORDER) - 1  # one stands, as it were, where it stood


def strip_metadata(notebook: NotebookNode) -> None:
    for one in notebook.cells:
        one.metadata = {}


def strip_ids(notebook: NotebookNode) -> None:
    strip_metadata(notebook)
    for number, one in enumerate(notebook.cells):
        one.id = f"x{number}"


def test_a_program_that_drops_metadata_costs_no_answer() -> None:
    notebook = solved()
    notebook.cells.insert(place(notebook, "one"), new_code_cell("helper"))
    strip_metadata(notebook)
    rebuilt = done(notebook)
    assert names(rebuilt) == [*ORDER[:2], "helper", *ORDER[2:]]
    assert at(rebuilt.notebook, "one").source == "def one():\n    return 1"
    assert findings(rebuilt) == {("metadata-lost", "")}


def test_without_ids_as_well_the_answers_run_between_card_and_test() -> None:
    notebook = solved()
    strip_ids(notebook)
    found = names(done(notebook))
    for name, answer in (("one", "def one():\n    return 1"), ("two", "def two():\n    return 2")):
        first = found.index(name)
        assert found[first + 1 : first + 3] == [answer, f"test_{name}"]


def test_a_copied_text_of_a_locked_cell_runs_where_it_stands() -> None:
    notebook = solved()
    notebook.cells.append(new_code_cell("import math"))
    assert names(done(notebook)) == [*ORDER, "import math"]


def test_pictures_in_a_written_answer() -> None:
    notebook = solved()
    at(notebook, "why").attachments = {"a.png": {"image/png": "AAAA"}}
    extra = new_markdown_cell("see", attachments={"b.png": {"image/png": "AAAA"}})
    notebook.cells.append(extra)
    rebuilt = done(notebook)
    assert findings(rebuilt) == {("solution-attachments", "why"), ("added-attachments", "")}


def test_another_notebook() -> None:
    for other in (RELEASES["counting"], new_notebook(cells=[new_code_cell("1 + 1")])):
        rebuilt = done(other)
        assert findings(rebuilt) == {("other-notebook", "")}
        assert all(STUB in at(rebuilt.notebook, name).source for name in ("one", "two"))


def test_another_language() -> None:
    notebook = solved()
    notebook.metadata = {"kernelspec": {"name": "ir", "language": "R"}}
    assert findings(done(notebook)) == {("other-language", "")}
    notebook.metadata = {
        "kernelspec": {"name": "mine", "display_name": "My own", "language": "python"},
        "language_info": {"name": "python", "version": "3.13"},
    }
    assert findings(done(notebook)) == set()


@pytest.mark.parametrize("ends", ["\r\n", "\n\n", "  \n"])
def test_what_editors_change_is_no_edit(ends: str) -> None:
    notebook = solved()
    for one in notebook.cells:
        one.source += ends
    rebuilt = done(notebook)
    assert rebuilt.findings == ()
    assert at(rebuilt.notebook, "one").source == "def one():\n    return 1" + ends


# Hostile


def edit(one: NotebookNode) -> None:
    one.source = "pass"


def turn_into_markdown(one: NotebookNode) -> None:
    one.cell_type = "markdown"


def turn_into_code(one: NotebookNode) -> None:
    one.cell_type = "code"


def turn_into_raw(one: NotebookNode) -> None:
    one.cell_type = "raw"


def tag(one: NotebookNode) -> None:
    one.metadata.tags = ["skip-execution", "raises-exception"]


def relock(one: NotebookNode) -> None:
    one.metadata.nbgrader.update(locked=False, solution=True)


def raise_points(one: NotebookNode) -> None:
    one.metadata.nbgrader.points = 1000


@pytest.mark.parametrize(
    ("name", "change", "kind"),
    [
        ("test_one", edit, "test-edited"),
        ("test_one", turn_into_markdown, "test-type-changed"),
        ("test_one", turn_into_raw, "test-type-changed"),
        ("test_one", tag, "test-tagged"),
        ("test_one", relock, "test-relabelled"),
        ("test_one", raise_points, "test-relabelled"),
        ("card-one", edit, "locked-edited"),
        ("card-one", turn_into_code, "locked-type-changed"),
        ("setup", edit, "locked-edited"),
        ("setup", tag, "locked-tagged"),
        ("setup", relock, "locked-relabelled"),
        ("one", turn_into_markdown, "solution-type-changed"),
        ("one", turn_into_raw, "solution-type-changed"),
        ("one", tag, "solution-tagged"),
        ("one", raise_points, "solution-relabelled"),
        ("why", turn_into_code, "solution-type-changed"),
        ("why", raise_points, "solution-relabelled"),
    ],
)
def test_what_was_done_to_a_cell(
    name: str, change: Callable[[NotebookNode], None], kind: str
) -> None:
    notebook = solved()
    change(at(notebook, name))
    rebuilt = done(notebook)
    assert findings(rebuilt) == {(kind, name)}
    assert names(rebuilt) == ORDER
    for answer in ("one", "two", "why"):
        assert at(rebuilt.notebook, answer).source == at(solved(), answer).source


def test_a_copied_test_cell_is_ignored() -> None:
    notebook = solved()
    copy_at(notebook, "test_one", 0, "def one(): return 1")
    copy_at(notebook, "test_one", len(notebook.cells), "assert True")
    rebuilt = done(notebook)
    assert names(rebuilt) == ORDER
    assert findings(rebuilt) == {("test-edited", "test_one"), ("test-duplicated", "test_one")}
    copy_at(notebook, "setup", 0, at(notebook, "setup").source)
    assert ("locked-duplicated", "setup") in findings(done(notebook))


def test_a_cell_that_claims_an_unknown_or_odd_grade_id_is_an_added_one() -> None:
    for odd in ("three", "", None, 7, ["test_one"], {"a": 1}, "ONE", "one ", "__class__"):
        notebook = solved()
        extra = new_code_cell("mine", metadata={"nbgrader": {"grade_id": odd, "grade": True}})
        notebook.cells.append(extra)
        rebuilt = done(notebook)
        assert names(rebuilt) == [*ORDER, "mine"]
        assert rebuilt.cells[-1].metadata == {}


def test_ids_that_are_taken_twice_or_look_like_ours() -> None:
    notebook = solved()
    notebook.cells += [
        new_code_cell("a", id="test_one"),
        new_code_cell("b", id="added-1"),
        new_code_cell("c", id="added-1"),
    ]
    rebuilt = done(notebook)
    ids = [one.id for one in rebuilt.cells]
    assert len(set(ids)) == len(ids)
    assert names(rebuilt) == [*ORDER, "a", "b", "c"]


def test_tags_of_added_cells() -> None:
    notebook = solved()
    tags = ["raises-exception", "\ud800" * 300, 7, None, *map(str, range(1000))]
    notebook.cells.append(new_code_cell("1 / 0"))
    notebook.cells[-1].metadata = NotebookNode(tags=tags)
    assert findings(done(notebook)) == {("added-tagged", "")}


def test_marks_of_nbgrader_in_the_learners_text() -> None:
    """An open region of hidden tests stops nbgrader's feedback."""
    notebook = solved()
    at(notebook, "one").source += "\n### BEGIN HIDDEN TESTS"
    notebook.cells.append(new_markdown_cell("=== BEGIN MARK SCHEME ==="))
    rebuilt = done(notebook)
    assert findings(rebuilt) == {("instructor-mark", "")}
    assert len(rebuilt.findings) == 2
    assert at(rebuilt.notebook, "one").source.endswith("\n### BEGIN HIDDEN TESTS")


@pytest.mark.parametrize(
    "text",
    [
        "<script>x()</script>",
        "<img src=q onerror = x()>",
        "<svg/onload=x()>",
        "[a](javascript:x())",
        "<IFRAME src=q>",
    ],
)
def test_active_html_in_text(text: str) -> None:
    for name in ("why", ""):
        notebook = solved()
        if name:
            at(notebook, name).source = text
        else:
            notebook.cells.append(new_raw_cell(text))
        assert findings(done(notebook)) == {("active-html", "")}


def test_honest_text_is_no_active_html() -> None:
    notebook = solved()
    at(notebook, "why").source = "If on = 1 and a < b, only = 2; the data: <b>x</b> <details>"
    at(notebook, "one").source = "'<script>'"  # code is shown, not rendered
    assert findings(done(notebook)) == set()


def test_thousands_of_copies_make_few_findings_and_little_work() -> None:
    notebook = solved()
    some = [at(notebook, name) for name in ("test_one", "one", "card-one", "why")]
    notebook.cells += [copy.deepcopy(some[i % 4]) for i in range(MOST_CELLS - len(ORDER))]
    start = time.process_time()
    rebuilt = rebuild(SMALL, notebook, CONFIG)
    assert time.process_time() - start < 20  # it takes a twentieth of a second
    assert names(rebuilt) == ORDER
    assert len(rebuilt.findings) == 4


@pytest.mark.parametrize("start", ["", "<a", "a", "def a", "javascript"])
@pytest.mark.parametrize(
    "part", ["<", " on", "on", "< ", "<a ", " ", "a", "data ", "a:", "\n", "\r"]
)
def test_long_text_takes_no_time(start: str, part: str) -> None:
    notebook = solved()
    text = start + part * 180_000
    at(notebook, "why").source = text
    at(notebook, "one").source = at(released(), "one").source
    notebook.cells.append(new_code_cell(text))
    before = time.process_time()
    rebuild(SMALL, notebook, CONFIG)
    assert time.process_time() - before < 20  # quadratic would be hours


# The instructor's side


def test_nbgraders_own_stub_without_settings() -> None:
    rebuilt = rebuild(SMALL, new_notebook())
    assert "# YOUR CODE HERE" in at(rebuilt.notebook, "one").source


def test_a_source_of_an_older_format_has_no_ids() -> None:
    source = copy.deepcopy(SMALL)
    source.nbformat_minor = 2
    for one in source.cells:
        del one["id"]
    notebook = solved()
    notebook.cells.append(new_code_cell("end"))
    rebuilt = rebuild(source, notebook, CONFIG)
    nbformat.validate(rebuilt.notebook)
    assert names(rebuilt) == [*ORDER, "end"]


def test_a_source_with_outputs_and_with_ids_like_ours() -> None:
    source = copy.deepcopy(SMALL)
    source.cells[0].outputs = [nbformat.v4.new_output("stream", text="secret")]
    source.cells[0].execution_count = 7
    source.cells[0].id = "added-1"
    notebook = solved()
    notebook.cells.append(new_code_cell("end"))
    rebuilt = rebuild(source, notebook, CONFIG)
    nbformat.validate(rebuilt.notebook)
    assert [one.id for one in rebuilt.cells if one.id.startswith("added")] == ["added-1", "added-2"]
    assert rebuilt.cells[0].outputs == []
    assert rebuilt.cells[0].execution_count is None


def test_a_source_with_a_grade_id_twice() -> None:
    source = copy.deepcopy(SMALL)
    source.cells.append(copy.deepcopy(source.cells[0]))
    with pytest.raises(ValueError, match="two cells with the grade_id setup"):
        rebuild(source, solved(), CONFIG)


# Files


def as_bytes(notebook: Any) -> bytes:
    return json.dumps(notebook).encode()


def with_cells(*cells: Any, **more: Any) -> bytes:
    base = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": list(cells)}
    return as_bytes(base | more)


CODE = {"cell_type": "code", "metadata": {}, "source": "x = 1", "outputs": []}


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"", "is empty"),
        (b" \n\t", "is empty"),
        (b"\xef\xbb\xbf", "not JSON"),
        (b"\x00" * 100, "not JSON"),
        (bytes(range(256)), "not a text in UTF-8: byte 128"),
        (b"PK\x03\x04\x00\xff", "a zip archive"),
        (b"%PDF-1.7\n\xe2\xe3", "a PDF file"),
        (b"\x1f\x8b\x08\x00", "a compressed file"),
        (b"\n<!DOCTYPE html><html>", "a web page"),
        (as_bytes({"nbformat": 4})[:-1], "not JSON: .*line 1, column"),
        (b'{"cells": [\n<<<<<<< HEAD\n', "not JSON: .*line 2, column 1"),
        (b"{} {}", "not JSON: Extra data"),
        ("{}".encode("utf-16"), "UTF-8"),
        (b'{"nbformat": 4, "cells": [], "metadata": {"x": "\xff"}}', "UTF-8"),
        (b"[]", "but a list"),
        (b"null", "but a NoneType"),
        (b"NaN", "but a NoneType"),
        (b'{"a": ' + b"1" * 5000 + b"}", "number of thousands of digits"),
        (b"{}", "does not say its nbformat"),
        (as_bytes({"nbformat": "4", "cells": []}), "does not say its nbformat"),
        (as_bytes({"nbformat": True, "cells": []}), "does not say its nbformat"),
        (as_bytes({"nbformat": 5, "cells": []}), "nbformat 5; versions 3 and 4"),
        (as_bytes({"nbformat": 10**4000, "cells": []}), "nbformat a very large number"),
        (as_bytes({"nbformat": 2, "worksheets": []}), "nbformat 2; versions 3 and 4"),
        (as_bytes({"nbformat": 4}), "no list of cells"),
        (as_bytes({"nbformat": 4, "cells": {"0": CODE}}), "no list of cells"),
        (as_bytes({"nbformat": 3}), "no worksheets"),
        (as_bytes({"nbformat": 3, "worksheets": [7]}), "one of its worksheets has no cells"),
        (as_bytes({"nbformat": 3, "worksheets": []}), "no cells"),
        (with_cells(), "no cells"),
        (with_cells(CODE, 7), "Cell 2 .* is not a cell but a int"),
        (with_cells({"source": "x"}), "Cell 1 .* of the type None"),
        (with_cells(CODE | {"cell_type": "heading"}), "of the type 'heading'"),
        (with_cells(CODE | {"cell_type": ["code"]}), "of the type a list"),
        (with_cells(CODE | {"cell_type": "\ud800\n" * 99}), "of the type '.{,42}';"),
        (with_cells(CODE | {"source": 7}), "source that is not text"),
        (with_cells(CODE | {"source": None}), "source that is not text"),
        (with_cells(CODE | {"source": float("nan")}), "source that is not text"),
        (with_cells(CODE | {"source": ["x", ["y"]]}), "source that is not text"),
        (with_cells(CODE | {"source": "a\ud83d"}), "half of a character, U.D83D"),
        (with_cells(CODE | {"source": ["\ud83d", "\ude00"]}), "half of a character"),
        (b'{"nbformat": 4, "cells": [{"source": "a", "source": "b"}]}', "'source' twice"),
        (b"[" * 10**6, "nested deeper"),
        (b'{"a":' * 10**5 + b"1" + b"}" * 10**5, "nested deeper"),
        (b"[" + b"[]," * 10**6 + b"[]]", "more than 1,000,000 commas"),
        (b'{"a": "' + b'\\"' * 10**6, "not JSON"),
        (with_cells(*[CODE] * (MOST_CELLS + 1)), "2,001 cells; the limit is 2,000"),
        (with_cells(CODE, metadata={"x": "a" * 20_000_000}), "limit is 20,000,000"),
    ],
    ids=lambda value: value[:24] if isinstance(value, str) else "",
)
def test_a_file_that_cannot_be_graded(raw: bytes, says: str) -> None:
    start = time.process_time()
    with pytest.raises(SubmissionError, match=says) as caught:
        read_submission(raw)
    assert time.process_time() - start < 20  # the longest takes half a second
    message = str(caught.value)
    assert message.isascii()
    assert message.endswith(".")
    assert "\n" not in message
    assert len(message) < 200


def test_a_smaller_limit() -> None:
    raw = with_cells(CODE)
    assert read_submission(raw, most_bytes=len(raw)).cells[0].source == "x = 1"
    with pytest.raises(SubmissionError, match=f"limit is {len(raw) - 1}"):
        read_submission(raw, most_bytes=len(raw) - 1)


@pytest.mark.parametrize(
    ("raw", "source"),
    [
        (b"\xef\xbb\xbf" + with_cells(CODE), "x = 1"),
        (with_cells(CODE | {"source": ["x = 1\n", "y = 2"]}), "x = 1\ny = 2"),
        (with_cells({"cell_type": "code"}), ""),
        (with_cells(CODE | {"source": "s = '\U0001f600'"}), "s = '\U0001f600'"),
        (with_cells(CODE | {"source": "a\x00b\r\nc"}), "a\x00b\r\nc"),
        (with_cells(CODE, nbformat_minor=99), "x = 1"),
        (with_cells(CODE, nbformat_minor="x", metadata=[7]), "x = 1"),
        (with_cells(CODE | {"metadata": None, "id": ["x"], "outputs": 7}), "x = 1"),
        (with_cells(CODE | {"outputs": [{"data": {"x": float("nan")}}]}), "x = 1"),
        (with_cells(CODE | {"outputs": [{"text": "\ud800"}]}), "x = 1"),
        (with_cells(CODE, metadata={"\ud800": ["\ud800", {"x": float("inf")}]}), "x = 1"),
        (with_cells(CODE | {"attachments": 7, "metadata": {"tags": 7, "nbgrader": 7}}), "x = 1"),
        (with_cells(CODE, metadata={"items": 1, "_allownew": False, "update": 2}), "x = 1"),
    ],
)
def test_a_file_that_is_only_odd(raw: bytes, source: str) -> None:
    notebook = read_submission(raw)
    assert notebook.cells[0].source == source
    json.dumps(notebook, ensure_ascii=False, allow_nan=False).encode()
    assert source in names(done(notebook))


def test_the_deepest_notebook_that_is_read() -> None:
    deep: Any = 1
    for _ in range(MOST_DEPTH - 1):
        deep = {"x": deep}
    assert done(read_submission(with_cells(CODE, metadata=deep["x"])))
    with pytest.raises(SubmissionError, match="nested deeper"):
        read_submission(with_cells(CODE, metadata={"x": deep}))


def test_a_notebook_of_version_3() -> None:
    grade = {"nbgrader": {"grade_id": "one", "solution": True}}
    cells = [
        {"cell_type": "heading", "level": 2, "source": ["Head", "ing"], "metadata": {}},
        {"cell_type": "heading", "level": 10**9, "source": "Far", "metadata": {}},
        {"cell_type": "code", "input": ["def one():\n", "    return 1"], "metadata": grade},
        {"cell_type": "html", "source": "<b>bold</b>"},
    ]
    raw = as_bytes({"nbformat": 3, "worksheets": [{"cells": cells[:2]}, {"cells": cells[2:]}]})
    notebook = read_submission(raw)
    sources = ["## Heading", "###### Far", "def one():\n    return 1", "<b>bold</b>"]
    assert [one.source for one in notebook.cells] == sources
    rebuilt = done(notebook)
    assert at(rebuilt.notebook, "one").source == "def one():\n    return 1"


@pytest.mark.parametrize("odd", [None, 7, [], "text", {}, {"cells": None}, {"cells": [None]}])
def test_no_notebook_at_all(odd: Any) -> None:
    with pytest.raises(SubmissionError):
        rebuild(SMALL, odd, CONFIG)


# Anything


HEADS, RELEASE = SOURCES["heads"], RELEASES["heads"]
SOLUTIONS = [name_of(one) for one in HEADS.cells if one.metadata.nbgrader.solution]
PLACES = st.integers(0, 60)
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(st.characters(), max_size=9),
    st.sampled_from(["code", "markdown", "raw", "\ud800", "test_head_dim", "head_dim"]),
    st.lists(st.text(max_size=3), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=3),
)
KEYS = st.sampled_from(["cell_type", "id", "source", "metadata", "outputs", "attachments", "x"])
FLAGS = st.sampled_from(["grade_id", "grade", "solution", "locked", "points", "task", "tags"])
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=9)
SOUND = st.one_of(
    st.tuples(st.sampled_from(["delete", "move", "copy", "swap ids"]), PLACES, PLACES, st.none()),
    st.tuples(st.just("insert"), PLACES, PLACES, TEXT),
    st.tuples(st.just("flag"), PLACES, FLAGS, ODD),
    st.tuples(st.just("set"), PLACES, st.sampled_from(["source", "id", "x"]), TEXT),
    st.tuples(st.just("set"), PLACES, st.sampled_from(["id", "attachments", "outputs"]), ODD),
)
BROKEN = st.one_of(
    st.tuples(st.sampled_from(["insert", "replace"]), PLACES, PLACES, ODD),
    st.tuples(st.just("set"), PLACES, KEYS, ODD),
)
ACTIONS = st.builds(
    lambda sound, broken: sound + broken,
    st.lists(SOUND, max_size=12),
    st.just([]) | st.lists(BROKEN, max_size=2),
)


def mutate(notebook: Any, actions: list[tuple[str, int, Any, Any]]) -> None:
    cells = notebook["cells"]
    for action, here, there, odd in actions:
        if not cells:
            return
        here %= len(cells)
        one, normal = cells[here], isinstance(cells[here], dict)
        if action == "delete":
            del cells[here]
        elif action == "move":
            cells.insert(there % len(cells), cells.pop(here))
        elif action == "copy":
            cells.insert(there % len(cells), copy.deepcopy(one))
        elif action == "insert":
            cells.insert(here, CODE | {"source": odd})
        elif action == "replace":
            cells[here] = odd
        elif normal and action == "swap ids":
            other = cells[there % len(cells)]
            if isinstance(other, dict):
                one["metadata"], other["metadata"] = other.get("metadata"), one.get("metadata")
        elif normal and action == "set":
            one[there] = odd
        elif normal and isinstance(one.get("metadata"), dict):
            flags = one["metadata"].get("nbgrader")
            target = flags if isinstance(flags, dict) and there != "tags" else one["metadata"]
            target[there] = odd


def survives(raw: Any, notebook: NotebookNode) -> None:
    """Check that each text in a solution cell of `raw` that is work is still there, as code."""
    stubs = {one.source.strip() for one in RELEASE.cells}
    left = [one.source for one in notebook.cells]
    for one in raw["cells"]:
        metadata = one.get("metadata")
        flags = metadata.get("nbgrader") if isinstance(metadata, dict) else None
        name = flags.get("grade_id") if isinstance(flags, dict) else None
        if name in SOLUTIONS:
            source = "".join(one.get("source", ""))
            assert source in left or source.strip() in [*stubs, *(x.strip() for x in left)]


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ACTIONS)
def test_any_mutation_of_a_release(actions: list[tuple[str, int, Any, Any]]) -> None:
    plain = json.loads(nbformat.writes(RELEASE))
    for one in plain["cells"]:
        if one["metadata"]["nbgrader"]["grade_id"] in SOLUTIONS:
            one["source"] = f"# the answer of {one['id']}"
    mutate(plain, actions)
    raw = json.dumps(plain).encode()
    try:
        submitted = read_submission(raw)
    except SubmissionError:
        event("refused")
        if plain["cells"]:  # the two refuse the same
            with pytest.raises(SubmissionError):
                rebuild(HEADS, plain, CONFIG)
        return
    event("graded")
    rebuilt = rebuild(HEADS, submitted, CONFIG)
    instructors_own(HEADS, rebuilt.notebook)
    survives(plain, rebuilt.notebook)
    findings(rebuilt)
    assert rebuild(HEADS, rebuilt.notebook, CONFIG).notebook == rebuilt.notebook
    direct = rebuild(HEADS, nbformat.from_dict(plain), CONFIG)
    assert [one.source for one in direct.cells] == [one.source for one in rebuilt.cells]


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_any_damage_to_the_bytes_of_a_file(data: st.DataObject) -> None:
    raw = bytearray(with_cells(CODE | {"metadata": {"nbgrader": {"grade_id": "one"}}}))
    for _ in range(data.draw(st.integers(1, 4))):
        at_byte = data.draw(st.integers(0, len(raw) - 1))
        length = data.draw(st.sampled_from([0, 1, 5, 50]))
        raw[at_byte : at_byte + length] = data.draw(st.binary(max_size=6))
        if not raw:
            break
    try:
        submitted = read_submission(bytes(raw))
    except SubmissionError as error:
        says = str(error)
    else:
        done(submitted)
        return
    assert says.isascii()
    assert len(says) < 300
