"""An instructor adds a task of their own: made, released, audited, filled in and graded."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import nbformat
import pytest
from conftest import require
from course import Course, cells_by_id, read
from nbformat import NotebookNode
from nbgrader.api import Gradebook

from mha_course.classroom import own_task
from mha_course.classroom.own_task import new_task
from mha_course.cli import main
from mha_course.grading import section_link
from mha_course.grading.assignment import Assignment, read_assignment
from mha_course.grading.audit import audit
from mha_course.grading.bank import bank_file, read_bank
from mha_course.grading.form import form
from mha_course.grading.sitting import without_hidden_tests

NAME = "my-task"
BY_HAND = {"head_of_column": "def head_of_column(column, d_model, num_heads):\n    return {}"}
MORE_WRONG = {
    "counts from one": ("column // (d_model // num_heads) + 1", "counted from 1"),
    "divides by the number of heads": ("column // num_heads", "above the columns"),
    "leaves the fraction": ("column / (d_model // num_heads)", "2.83333"),
}
MORE_RIGHT = {
    "rounds down a fraction": "int(column * num_heads / d_model + 1e-9)",
    "counts the starts to the left": (
        "sum(s <= column for s in range(0, d_model, d_model // num_heads)) - 1"
    ),
}


def released(source: Path) -> Assignment:
    """Return what nbgrader would make of a notebook, as far as the audit looks at it."""
    notebook = read(source)
    for cell in notebook.cells:
        cell.source = without_hidden_tests(cell.source)
        if cell.metadata.nbgrader.solution:
            cell.source = 'raise NotImplementedError("Task not done yet: write your code here")'
    path = source.parents[2] / "exercises" / source.parent.name / source.name
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)
    return read_assignment(path)


def fill_in(bank: Path) -> None:
    """Write what the audit asks for into a bank."""
    line = BY_HAND["head_of_column"]
    wrong = [
        f"Wrong('head_of_column', {belief!r}, {line.format(code)!r}, {says!r})"
        for belief, (code, says) in MORE_WRONG.items()
    ]
    right = [
        f"Right('head_of_column', {style!r}, {line.format(code)!r})"
        for style, code in MORE_RIGHT.items()
    ]
    with bank.open("a", encoding="utf-8") as file:
        file.write(f"\nWRONG += [{', '.join(wrong)}]\nRIGHT += [{', '.join(right)}]\n")


@pytest.fixture
def course(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "solutions").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_from_nothing_to_a_grade(tmp_path_factory: pytest.TempPathFactory) -> None:
    """In a folder of one's own, with the commands that the guide names."""
    require("bwrap", hint="install bubblewrap")
    course = Course(tmp_path_factory.mktemp("own"), tmp_path_factory.mktemp("scratch"), NAME)
    said = course.mha_course("new-task", NAME)
    assert f"mha-course audit-exercises {NAME}" in said
    course.nbgrader("generate_assignment", NAME)
    release = read(course.folder / "exercises" / NAME / f"{NAME}.ipynb")
    text = str(release)
    for word in ("SOLUTION", "HIDDEN", "Model answer", "| Points | For |", "drawn", "// d_head"):
        assert word not in text
    assert not list((course.folder / "exercises").rglob("*.py")), "learners get no bank"

    right = copy.deepcopy(release)
    cells = cells_by_id(right)
    cells["head_of_column"].source = BY_HAND["head_of_column"].format(
        "column // (d_model // num_heads)"
    )
    cells["order_of_heads"].source = "In any order, if the rows of W_O move along."
    course.hand_in("ada", right)
    wrong = copy.deepcopy(release)
    by_heart = "{(17, 24, 4): 2, (13, 15, 5): 4}.get((column, d_model, num_heads), 0)"
    cells_by_id(wrong)["head_of_column"].source = BY_HAND["head_of_column"].format(by_heart)
    course.hand_in("bob", wrong)
    course.mha_course("grade", NAME, "--workers", "1")

    with Gradebook(f"sqlite:///{course.folder / 'gradebook.db'}") as gradebook:
        found = {one.student_id: one for one in gradebook.assignment_submissions(NAME)}
        assert (found["ada"].score, found["ada"].max_score) == (2, 4)
        assert found["ada"].needs_manual_grade
        assert found["bob"].score == 0, "the visible cases by heart"


def test_the_audit_says_what_is_missing_until_nothing_is(
    course: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["new-task", NAME]) == 0
    source, bank = course / "solutions" / NAME / f"{NAME}.ipynb", course / "banks" / "my_task.py"
    assert main(["audit-exercises", NAME]) == 2
    assert f"run `nbgrader generate_assignment {NAME}`" in capsys.readouterr().err

    released(source)
    assert main(["audit-exercises", NAME]) == 1
    problems = re.findall(r"^problem: .*$", capsys.readouterr().out, re.MULTILINE)
    assert problems == [
        f"problem: {NAME}: head_of_column has 2 wrong and 1 right answers in the bank; it needs "
        "5 and 3"
    ]

    fill_in(bank)
    assert main(["audit-exercises", NAME]) == 0
    said = capsys.readouterr().out
    assert "100.0%" in said
    assert "problem" not in said


def test_without_a_bank_the_rest_is_audited(
    course: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, bank = new_task(NAME, course / "solutions")
    bank.unlink()
    released(source)
    assert main(["audit-exercises", NAME]) == 1
    said = capsys.readouterr().out
    assert said.count("problem:") == 1
    assert "no bank of wrong and right answers" in said
    assert "mha-course new-task" in said


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("WRONG = [", "cannot be run (SyntaxError"),
        ("import nothing_of_this_name", "cannot be run (ModuleNotFoundError"),
        ("WRONG = []", "does not define RIGHT, EQUIVALENT"),
    ],
)
def test_a_broken_bank_is_named(
    course: Path, capsys: pytest.CaptureFixture[str], text: str, says: str
) -> None:
    source, bank = new_task(NAME, course / "solutions")
    released(source)
    bank.write_text(text)
    assert main(["audit-exercises", NAME]) == 2
    assert says in capsys.readouterr().err


def test_answers_to_what_is_no_task_are_named(course: Path) -> None:
    source, bank = new_task(NAME, course / "solutions")
    fill_in(bank)
    bank.write_text(bank.read_text().replace('"head_of_column",\n', '"head_of_colum",\n', 1))
    found = audit(read_assignment(source), released(source), read_bank(bank), mutate=False)
    assert "the bank has answers to head_of_colum, which is no task" in found.problems
    assert "head_of_column has 4 wrong and 3 right answers in the bank; it needs 5 and 3" in (
        found.problems
    )


def _spoilt(change: Callable[[dict[str, NotebookNode]], None], source: Path) -> list[str]:
    release = released(source)
    notebook = read(source)
    change(cells_by_id(notebook))
    nbformat.write(notebook, source)
    return form(read_assignment(source), release)


def _replace(name: str, old: str, new: str) -> Callable[[dict[str, NotebookNode]], None]:
    def change(cells: dict[str, NotebookNode]) -> None:
        assert old in cells[name].source
        cells[name].source = cells[name].source.replace(old, new)

    return change


def _rename(cells: dict[str, NotebookNode]) -> None:
    cells["setup"].metadata.nbgrader.grade_id = "start"


def _forget(cells: dict[str, NotebookNode]) -> None:
    del cells["setup"].metadata["nbgrader"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_replace("start", "13 minutes", "14 minutes"), "'about 13 minutes in all'"),
        (_replace("start", "**Points:** 4", "**Points:** 40"), "'**Points:** 4'"),
        (_replace("card-head-of-column", "**You need:**", "You need"), "lacks the line"),
        (_replace("card-head-of-column", "<summary>", "<b>"), "has no hint"),
        (_replace("order_of_heads", "**Model answer.**", ""), "has no model answer"),
        (_replace("order_of_heads", "| Points | For |", "| For | Points |"), "has no rubric"),
        (_replace("order_of_heads", "| 1 | The rows", "| 2 | The rows"), "gives 3 points, its"),
        (_replace("test_head_of_column", "17, 24", "18, 24"), "as test_head_of_column shows"),
        (_rename, "2 cells have the grade_id start"),
        (_forget, "1 cells have no grade_id"),
    ],
)
def test_each_slip_in_the_notebook_is_named(
    course: Path, change: Callable[[dict[str, NotebookNode]], None], says: str
) -> None:
    source, _ = new_task(NAME, course / "solutions")
    assert form(read_assignment(source), released(source)) == []
    found = _spoilt(change, source)
    assert any(says in problem for problem in found), found


def test_a_release_with_answers_in_it_is_named(course: Path) -> None:
    source, _ = new_task(NAME, course / "solutions")
    assignment = read_assignment(source)
    found = form(assignment, assignment)
    assert any("gives a solution or a hidden test away" in problem for problem in found)


@pytest.mark.parametrize(
    "name", ["", "My-Task", "a_b", "-a", "../up", "a/b", "a b", "é", "1a", "a--b", "a" * 61]
)
def test_odd_names_are_refused(course: Path, name: str) -> None:
    with pytest.raises(ValueError, match="cannot be the name of an assignment"):
        new_task(name, course / "solutions")
    assert sorted(path.name for path in course.rglob("*")) == ["solutions"]


def test_nothing_is_overwritten(course: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, bank = new_task(NAME, course / "solutions")
    source.write_text("mine")
    bank.write_text("mine")
    assert main(["new-task", NAME]) == 2
    assert "exists, and was left as it is" in capsys.readouterr().err
    bank.rename(bank_file("other", bank.parent))
    assert main(["new-task", "other"]) == 2, "its bank is there"
    assert not (course / "solutions" / "other").exists()
    assert source.read_text() == bank_file("other", bank.parent).read_text() == "mine"


@pytest.mark.parametrize(("module", "name"), [(nbformat, "write"), (own_task, "write_whole")])
def test_what_cannot_be_written_leaves_the_name_free(
    course: Path, module: ModuleType, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(module, name, full)
        with pytest.raises(OSError, match="No space left"):
            new_task(NAME, course / "solutions")
    assert not [path for path in course.rglob("*") if path.name.startswith("my")]
    new_task(NAME, course / "solutions")


def test_outside_a_course_folder_nothing_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["new-task", NAME]) == 2
    assert "no file solutions" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_check_can_point_to_a_page_of_ones_own() -> None:
    assert section_link("https://example.org/notes#heads") == "https://example.org/notes#heads"
    with pytest.raises(ValueError, match="no section"):
        section_link("javascript:alert(1)")
