"""The points of `mha-course grade` beside those of `nbgrader autograde` as it comes.

    python -m benchmarks.same_grades                     # all classes: some minutes on 2 cores
    python -m benchmarks.same_grades counting ordinary   # these only
    python -m benchmarks.same_grades --json FILE         # write results to FILE, class by class

Each class is graded by both, each in course folders of its own. The classes are:

- each assignment of the course, with all wrong and right answers of the exercises' bank;
- `ps1`, the example of nbgrader's documentation, with its two students;
- `ordinary`, test cells as any course has them, each with a right and a wrong answer.

Where the points of a cell differ, there must be a reason, which the table shows; the exit code is
1 where one is missing. With `--json`, the points that nbgrader gave are read from FILE where
nothing that they depend on has changed: nbgrader takes nearly all of the time. So a run that was
interrupted goes on.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import json
import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import nbformat
import nbgrader
from nbformat import NotebookNode
from nbgrader.api import Gradebook
from nbgrader.utils import determine_grade, is_grade
from traitlets.config import Config

from benchmarks.grading import STOCK, run_command
from mha_course.autograder.grader import Grader
from mha_course.autograder.job import Graded, Job
from mha_course.autograder.seeds import SECRET_FILE, student_seed
from mha_course.grading.assignment import ORDER, grade_id, read_assignment
from mha_course.grading.bank import Bank, bank_file, read_bank
from mha_course.grading.sitting import without_hidden_tests, without_markers

HERE = Path(__file__).resolve().parents[1]
RESULTS = HERE / "benchmarks" / "results" / "same-grades.json"
LIMIT = "a limit of ours"
SAME_GRADES = HERE / "tests" / "grading" / "same_grades"
USER_GUIDE = Path(nbgrader.__file__).parent / "docs" / "source" / "user_guide"
EXAMPLE, ORDINARY = "ps1", "ordinary"
NAMES = (*ORDER, EXAMPLE, ORDINARY)
SEED = "same grades"
"""The course's secret, from which ours draws the hidden inputs of each student."""

CELL_SECONDS = 30  # for both; a few answers never end
PACKAGES = ("nbgrader", "nbclient", "ipykernel", "torch", "numpy")

Points = dict[str, float | None]
"""By notebook and cell, `problem1/squares`; None waits for a person."""


class Reason(NamedTuple):
    """Why points may differ.

    Attributes:
        text: In a sentence or two.
        limit: Whether it is one of ours: a test that we cannot judge. Else nbgrader is wrong.
    """

    text: str
    limit: bool


UNKNOWN = Reason("", False)


class Class(NamedTuple):
    """An assignment, and what was handed in.

    Attributes:
        name: Of the assignment.
        notebooks: As the instructor wrote them, by name.
        files: The other files of the assignment, by path.
        handed_in: By student and notebook.
        reasons: Why points may differ, by student and by notebook and cell.
    """

    name: str
    notebooks: dict[str, NotebookNode]
    files: dict[str, bytes]
    handed_in: dict[str, dict[str, NotebookNode]]
    reasons: dict[tuple[str, str], Reason]

    def fingerprint(self) -> str:
        """Return a text that changes with what was handed in, and with what grades it."""
        files = {path: content.hex() for path, content in self.files.items()}
        everything = [STOCK, CELL_SECONDS, files, self.notebooks, self.handed_in]
        return hashlib.sha256(json.dumps(everything, sort_keys=True).encode()).hexdigest()[:16]


class Difference(NamedTuple):
    """A cell that gets other points from ours.

    Attributes:
        student: Who handed it in.
        cell: Notebook and cell.
        stock: Points that nbgrader gives.
        ours: Points that we give.
        reason: Why; empty if nobody knows.
        limit: Whether the reason is a limit of ours.
    """

    student: str
    cell: str
    stock: float | None
    ours: float | None
    reason: str
    limit: bool


def main() -> int:
    """Grade classes with both, and print a table; return 1 where points differ for no reason."""
    options = _options()
    found = _read(options.json)
    heads = ("notebooks", "cells", "equal", "nbgrader wrong", "limits of ours", "no reason")
    print(f"{'':20}" + "".join(f"{head:>15}" for head in heads))
    unexplained = 0
    for name in options.classes or NAMES:
        each = make_class(name)
        with tempfile.TemporaryDirectory(prefix="mha-same-") as folder:
            earlier = found["classes"].get(name, {})
            if not _holds(earlier, each):
                stock = stock_points(each, Path(folder), options.workers)
                found["classes"][name] = earlier = _as_json(each, stock, [])
                _write(options.json, found)  # what follows takes a tenth of the time
            stock = earlier["stock"]
            ours = our_points(each, Path(folder), options.workers)
        differing = list(differences(each, stock, ours))
        found["classes"][name] = _as_json(each, stock, differing)
        unexplained += sum(not one.reason for one in differing)
        print("\n".join(table(each, stock, differing)), flush=True)
        _write(options.json, found)
    return 1 if unexplained else 0


def table(
    each: Class, stock: Mapping[str, Points], differing: Sequence[Difference]
) -> Iterator[str]:
    """Yield a line for a class, and lines for what differs in it."""
    counts = tuple(counted(each, stock, differing).values())
    yield f"{each.name:20}" + "".join(f"{count:15}" for count in counts)
    for one in sorted(differing, key=lambda one: (one.limit, one.reason, one)):
        who = f"{one.student} {one.cell}"
        yield f"    {who}: nbgrader {one.stock}, ours {one.ours}: {one.reason or 'NO REASON'}"


def counted(
    each: Class, stock: Mapping[str, Points], differing: Sequence[Difference]
) -> dict[str, int]:
    """Return how many notebooks and cells there are, and what became of the cells."""
    cells = sum(map(len, stock.values()))
    known = [one for one in differing if one.reason]
    limits = sum(one.limit for one in known)
    return {
        "notebooks": sum(map(len, each.handed_in.values())),
        "cells": cells,
        "equal": cells - len(differing),
        "nbgrader wrong": len(known) - limits,
        "limits of ours": limits,
        "no reason": len(differing) - len(known),
    }


def differences(
    each: Class, stock: Mapping[str, Points], ours: Mapping[str, Points]
) -> Iterator[Difference]:
    """Yield the cells whose points differ; an exception that is none any more is one, too."""
    for student in sorted({*stock, *ours, *each.handed_in}):
        one, other = stock.get(student, {}), ours.get(student, {})
        for cell in sorted({*one, *other}):
            reason = each.reasons.get((student, cell), UNKNOWN)
            points = one.get(cell), other.get(cell)
            if points[0] != points[1]:
                yield Difference(student, cell, *points, *reason)
            elif reason is not UNKNOWN:
                yield Difference(student, cell, *points, *UNKNOWN)


# ------------------------------------------------------------------------------- the classes


def make_class(name: str) -> Class:
    """Return a class by the name of its assignment.

    Raises:
        ValueError: there is none of this name.
    """
    if name == EXAMPLE:
        return _example()
    if name == ORDINARY:
        return _ordinary()
    if name in ORDER:
        return _of_the_bank(name)
    raise ValueError(f"no class {name!r}; there are {', '.join(NAMES)}")


def _example() -> Class:
    """Return the example of nbgrader's documentation, as it is installed with nbgrader."""
    source, submitted = USER_GUIDE / "source" / EXAMPLE, USER_GUIDE / "submitted"
    handed_in = {
        student: _notebooks(submitted / student / EXAMPLE) for student in ("bitdiddle", "hacker")
    }
    return Class(EXAMPLE, _notebooks(source), _files(source), handed_in, {})


def _of_the_bank(name: str) -> Class:
    """Return a class whose submissions hold all answers of the bank, one for each task."""
    solution = read_assignment(HERE / "solutions" / name / f"{name}.ipynb")
    released = _notebooks(HERE / "exercises" / name)[name]
    bank = read_bank(bank_file(name, HERE / "tests" / "exercises"))
    cells = solution.cells()
    solved = {task.name: without_markers(cells[task.name].source) for task in solution.tasks}
    handed_in = {"blank": released, "solution": _filled(released, solved)}
    for number, given in enumerate(combined(bank, [task.name for task in solution.autograded])):
        handed_in[f"student-{number:02}"] = _filled(released, solved | given)
    return Class(
        name,
        {name: solution.notebook},
        _files(solution.path.parent),
        {student: {name: notebook} for student, notebook in handed_in.items()},
        {},
    )


def combined(bank: Bank, tasks: Sequence[str]) -> Iterator[dict[str, str]]:
    """Yield answers by task until each answer of the bank was there; tasks with few begin again."""
    pools: dict[str, list[str]] = {task: [] for task in tasks}
    for wrong in bank.wrong:
        pools[wrong.task].append(wrong.code)
    for right in bank.right:
        pools[right.task].append(right.code)
    for number in range(max(map(len, pools.values()))):
        yield {task: pool[number % len(pool)] for task, pool in pools.items()}


class Ordinary(NamedTuple):
    """A task as any course has it.

    Attributes:
        name: What it is about.
        parts: By their names in the file: `given`, `right`, `wrong`, `test`, `below`.
        differs: Why points differ, by answer.
    """

    name: str
    parts: dict[str, str]
    differs: dict[str, Reason]


def ordinary_tasks() -> list[Ordinary]:
    """Return the ordinary tasks; their file says how it is written."""
    text = (SAME_GRADES / "ordinary.txt").read_text(encoding="utf-8")
    found = []
    for entry in re.split(r"^=== ", text, flags=re.MULTILINE)[1:]:
        name, _, rest = entry.partition("\n")
        pieces = re.split(r"^--- (.+)\n", rest, flags=re.MULTILINE)[1:]
        kinds, sources = pieces[::2], pieces[1::2]
        parts = {kind: one.strip("\n") for kind, one in zip(kinds, sources, strict=True)}
        differs = {}
        for kind in [kind for kind in kinds if ": " in kind]:
            answer, _, what = kind.partition(": ")
            differs[answer] = Reason(" ".join(parts.pop(kind).split()), what == LIMIT)
        found.append(Ordinary(name, parts, differs))
    return found


def _ordinary() -> Class:
    tasks = ordinary_tasks()
    source = _ordinary_notebook(tasks, "right")
    handed_in = {kind: {ORDINARY: _ordinary_notebook(tasks, kind)} for kind in ("right", "wrong")}
    for notebooks in handed_in.values():
        for cell in notebooks[ORDINARY].cells:
            cell.source = without_hidden_tests(cell.source)
    reasons = {
        (kind, f"{ORDINARY}/test_{task.name}"): reason
        for task in tasks
        for kind, reason in task.differs.items()
    }
    files = _files(SAME_GRADES / "files")
    return Class(ORDINARY, {ORDINARY: source}, files, handed_in, reasons)


def _ordinary_notebook(tasks: Sequence[Ordinary], kind: str) -> NotebookNode:
    """Return the notebook with the right or the wrong answers."""
    cells = []
    for task in tasks:
        sources = {
            "given": (task.parts.get("given"), {"locked": True}),
            "answer": (task.parts[kind], {"solution": True}),
            "test": (_with_hidden_part(task.parts["test"]), {"locked": True, "grade": True}),
            "below": (task.parts.get("below"), {"solution": True}),
        }
        for part, (source, marks) in sources.items():
            if source is not None:
                cells.append(_cell(f"{part}_{task.name}", source, marks))
    made: NotebookNode = nbformat.v4.new_notebook(cells=cells)  # type: ignore[no-untyped-call]
    made.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return made


def _with_hidden_part(test: str) -> str:
    shown, found, hidden = test.partition("# hidden\n")
    marked = f"### BEGIN HIDDEN TESTS\n{hidden}\n### END HIDDEN TESTS" if found else ""
    return shown + marked


def _cell(name: str, source: str, marks: dict[str, bool]) -> NotebookNode:
    marks = {"grade": False, "locked": False, "solution": False, "task": False} | marks
    points = {"points": 1} if marks["grade"] else {}
    made: NotebookNode = nbformat.v4.new_code_cell(  # type: ignore[no-untyped-call]
        source, id=name.replace("_", "-")
    )
    made.metadata["nbgrader"] = {"grade_id": name, "schema_version": 3, **marks, **points}
    return made


def _filled(released: NotebookNode, answers: Mapping[str, str]) -> NotebookNode:
    notebook = copy.deepcopy(released)
    for cell in notebook.cells:
        cell.source = answers.get(grade_id(cell), cell.source)
    return notebook


def _notebooks(folder: Path) -> dict[str, NotebookNode]:
    files = sorted(folder.glob("*.ipynb"))
    return {
        file.stem: nbformat.read(file, as_version=4)  # type: ignore[no-untyped-call]
        for file in files
    }


def _files(folder: Path) -> dict[str, bytes]:
    files = (file for file in sorted(folder.rglob("*")) if file.is_file())
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in files
        if file.suffix != ".ipynb" and ".ipynb_checkpoints" not in file.parts
    }


# ------------------------------------------------------------------------------- both graders


def stock_points(each: Class, folder: Path, workers: int) -> dict[str, Points]:
    """Return the points of nbgrader's own steps, by student."""
    whole = make_course(folder / "stock", each, f"{STOCK}c.Execute.timeout = {CELL_SECONDS}\n")
    students = sorted(each.handed_in)
    # a course folder for each process: they would wait for each other's gradebook
    parts = [students[first::workers] for first in range(min(workers, len(students)))]

    def graded(number: int) -> dict[str, Points]:
        course = shutil.copytree(whole, folder / f"stock-{number}")
        for student in {*students} - {*parts[number]}:
            shutil.rmtree(course / "submitted" / student)
        run_command(course, "nbgrader", "autograde", each.name)
        return points_in(course, each.name)

    with ThreadPoolExecutor(workers) as threads:
        found = [pair for part in threads.map(graded, range(len(parts))) for pair in part.items()]
    return dict(sorted(found))


def our_points(each: Class, folder: Path, workers: int) -> dict[str, Points]:
    """Return the points of `mha-course grade`, by student."""
    config = (HERE / "nbgrader_config.py").read_text(encoding="utf-8")
    config += f"\nc.JudgeSubmission.cell_seconds = {CELL_SECONDS}.0\n"
    course = make_course(folder / "ours", each, config)
    run_command(course, "mha-course", "grade", each.name, "--workers", str(workers))
    return points_in(course, each.name)


def graded_here(each: Class, student: str, grader: Grader) -> Points:
    """Return the points that a grader of this process gives a student, by notebook and cell."""
    found: Points = {}
    for name, source in each.notebooks.items():
        job = Job(
            assignment=each.name,
            notebook=name,
            student=student,
            seed=student_seed(SEED, each.name, student),
            source=json.dumps(source),
            submission=json.dumps(each.handed_in[student][name]).encode(),
            unreadable="",
            files=each.files,
            marks=_marks(),
        )
        graded = Graded.from_bytes(grader.grade(job.to_bytes())).read()
        cells = (cell for cell in graded.cells if is_grade(cell))
        found |= {f"{name}/{grade_id(cell)}": determine_grade(cell)[0] for cell in cells}
    return found


def _marks() -> dict[str, Any]:
    """Return what stands in place of solutions, from the settings of both."""
    config = Config()
    exec(STOCK, {"get_config": lambda: config})
    return {"ClearSolutions": dict(config.ClearSolutions)}


def make_course(folder: Path, each: Class, config: str) -> Path:
    """Make a course folder in which the assignment is released, and a class has handed it in."""
    (folder / "solutions").mkdir(parents=True)
    (folder / "nbgrader_config.py").write_text(config, encoding="utf-8")
    (folder / SECRET_FILE).write_text(SEED, encoding="utf-8")
    _put(folder / "solutions" / each.name, each.notebooks, each.files)
    run_command(folder, "nbgrader", "generate_assignment", each.name)
    for student, notebooks in each.handed_in.items():
        _put(folder / "submitted" / student / each.name, notebooks, each.files)
    return folder


def points_in(course: Path, assignment: str) -> dict[str, Points]:
    """Return the points of a course's gradebook, by student."""
    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as gradebook:
        return {
            submitted.student.id: {
                f"{notebook.name}/{grade.name}": grade.auto_score
                for notebook in sorted(submitted.notebooks, key=lambda one: str(one.name))
                for grade in sorted(notebook.grades, key=lambda one: str(one.name))
            }
            for submitted in gradebook.assignment_submissions(assignment)
        }


def _put(folder: Path, notebooks: Mapping[str, NotebookNode], files: Mapping[str, bytes]) -> None:
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    for name, notebook in notebooks.items():
        nbformat.write(notebook, folder / f"{name}.ipynb")  # type: ignore[no-untyped-call]


# ------------------------------------------------------------------------------- results


def read_results(path: Path = RESULTS) -> dict[str, Any]:
    """Return what a run has written."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _read(path: Path | None) -> dict[str, Any]:
    """Return the results so far, with the conditions of this run."""
    earlier = read_results(path) if path is not None and path.exists() else {"classes": {}}
    date = datetime.now(UTC).date().isoformat()
    return {
        "conditions": {"date": date, "seed": SEED, "cell_seconds": CELL_SECONDS},
        "classes": earlier["classes"],
    }


def _versions() -> dict[str, str]:
    return {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}


def _holds(earlier: Mapping[str, Any], each: Class) -> bool:
    """Whether the points that nbgrader gave earlier are those that it would give now."""
    made_of = earlier.get("fingerprint"), earlier.get("versions")
    return made_of == (each.fingerprint(), _versions())


def _as_json(
    each: Class, stock: Mapping[str, Points], differing: Sequence[Difference]
) -> dict[str, Any]:
    return {
        "fingerprint": each.fingerprint(),
        "versions": _versions(),
        **counted(each, stock, differing),
        "differences": [one._asdict() for one in differing],
        "stock": stock,
    }


def _write(path: Path | None, found: Mapping[str, Any]) -> None:
    """Write the results, if asked for, with a line for each student and each difference."""
    if path is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(found, indent=1, ensure_ascii=False)
    text = re.sub(r"\{[^{}]*\}", lambda flat: " ".join(flat[0].split()), text)
    path.write_text(text + "\n", encoding="utf-8")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.same_grades", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument("classes", nargs="*", metavar="ASSIGNMENT", help=", ".join(NAMES))
    parser.add_argument("--json", type=Path, metavar="FILE", help="results, read and written")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes of each")
    options = parser.parse_args()
    if unknown := {*options.classes} - {*NAMES}:
        parser.error(f"no class {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    return options


if __name__ == "__main__":
    sys.exit(main())
