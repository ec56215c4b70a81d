"""`mha-course progress` says how far a learner is, and runs only what has changed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nbformat
import pytest

from mha_course.cli import main
from mha_course.grading import check
from mha_course.grading.assignment import grade_id, read_assignment
from mha_course.grading.check import Verdict
from mha_course.grading.progress import KEPT, lines, progress

ROOT = Path(__file__).parents[2]


@pytest.fixture
def exercises(tmp_path: Path) -> Path:
    """Two assignments as released, in a place that is hidden itself."""
    folder = tmp_path / ".hidden" / "exercises"
    for name in ("heads", "counting"):
        shutil.copytree(ROOT / "exercises" / name, folder / name)
    return folder


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which notebooks are run; in place of running, the first task passes and one is written."""
    found: list[str] = []

    def instead(path: Path) -> list[Verdict]:
        found.append(path.stem)
        assignment = read_assignment(path)
        first, written = assignment.autograded[0], assignment.written[0]
        return [
            Verdict(task, None, "written" if task == written else "not written yet")
            if task.written
            else Verdict(task, float(task.points) if task == first else 0.0, "")
            for task in assignment.tasks
        ]

    monkeypatch.setattr(check, "check_notebook", instead)
    return found


def test_what_the_tests_say_counts(exercises: Path) -> None:
    """One notebook, run in a kernel: two tasks done, one wrong, one written answer."""
    shutil.rmtree(exercises / "counting")
    file = exercises / "heads" / "heads.ipynb"
    solved = read_assignment(ROOT / "solutions" / "heads" / "heads.ipynb")
    first, second, third = solved.autograded[:3]
    right = {task.name: solved.cells()[task.name].source for task in (first, second)}
    notebook = nbformat.read(file, as_version=4)
    for cell in notebook.cells:
        if grade_id(cell) in right:
            cell.source = right[grade_id(cell)]
        elif grade_id(cell) == third.name:
            cell.source = "def attention_weights(*_, **__):\n    return 0"
        elif grade_id(cell) == solved.written[0].name:
            cell.source = "Because one average forgets."
    nbformat.write(notebook, file)

    (standing,) = progress(exercises)

    assert standing.done == {first.name, second.name, solved.written[0].name}
    assert standing.points == first.points + second.points
    text = "\n".join(lines([standing]))
    assert f" 3 of {len(solved.tasks)} tasks" in text
    assert f"next: {third.number} · {third.title}" in text


def test_only_what_has_changed_is_run(exercises: Path, runs: list[str]) -> None:
    before = list(progress(exercises))
    assert runs == ["heads", "counting"]
    assert list(progress(exercises)) == before
    assert len(runs) == 2
    file = exercises / "counting" / "counting.ipynb"
    file.write_text(file.read_text("utf-8") + "\n", "utf-8")
    list(progress(exercises))
    assert runs[2:] == ["counting"]


@pytest.mark.parametrize("kept", ["", "[]", '{"heads": 7}', '{"heads": {"digest": "x"}}', "\x00"])
def test_a_spoiled_file_only_costs_time(kept: str, exercises: Path, runs: list[str]) -> None:
    (exercises / KEPT).write_text(kept)
    assert len(list(progress(exercises))) == 2
    assert len(runs) == 2
    assert json.loads((exercises / KEPT).read_text()).keys() == {"heads", "counting"}


def test_what_was_found_before_an_interruption_stays(exercises: Path, runs: list[str]) -> None:
    found = progress(exercises)
    next(found)
    found.close()
    list(progress(exercises))
    assert runs == ["heads", "counting"]


def test_what_comes_next(
    exercises: Path,
    runs: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(exercises.parent)
    assert main(["progress"]) == 0
    said = capsys.readouterr().out
    assert runs == ["heads", "counting"]
    assert "next: Task 2 · A function for the width (" in said
    assert "in exercises/heads/heads.ipynb" in said


def test_all_done(exercises: Path, runs: list[str]) -> None:
    found = [
        one._replace(done=frozenset(task.name for task in one.assignment.tasks))
        for one in progress(exercises)
    ]
    text = "\n".join(lines(found))
    assert text.count("complete") == 2
    assert "All is done" in text
    assert runs


def test_a_folder_without_exercises(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["progress", str(tmp_path / "nowhere")]) == 2
    assert "holds no assignment NAME/NAME.ipynb" in capsys.readouterr().err
