"""What there is to report of: the tasks of an assignment, and what each student has done in them.

It comes from the records, from the gradebook (names, points that a person gave, penalties), and
from the files that were handed in, of which only the text is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import nbformat
from nbformat import NotebookNode
from nbgrader import utils
from traitlets.config import Config

from mha_course.autograder.course import Course, Source
from mha_course.autograder.findings import Finding
from mha_course.autograder.handed_in import SubmissionError, read_submission
from mha_course.autograder.rebuild import rebuild
from mha_course.autograder.recorder import digest
from mha_course.autograder.report.grades import Grades, read_grades
from mha_course.autograder.report.mistakes import NOT_DONE, Mistake, mistake
from mha_course.autograder.report.text import line
from mha_course.grading.assignment import grade_id, read_assignment
from mha_course.grading.sitting import without_hidden_tests


class Question(NamedTuple):
    """A task, in whatever notebook it is.

    Attributes:
        notebook: Name of its notebook.
        answer: grade_id of the cell with the answer; empty if there is none.
        label: How to name it in a table: "Task 3".
        title: What it is called; may be empty.
        cells: grade_id of each cell that gives points for it.
        points: Most points.
        by_hand: Whether a person grades it.
        prose: Whether the answer is text, not code.
    """

    notebook: str
    answer: str
    label: str
    title: str
    cells: tuple[str, ...]
    points: float
    by_hand: bool
    prose: bool

    def __str__(self) -> str:
        return f"{self.label}, {self.title}" if self.title else self.label


class Result(NamedTuple):
    """What a student has done in a task.

    Attributes:
        points: None while a person has to read the answer, or if there is no grade.
        done: Whether the released cell was changed, and the tests found an answer.
        mistake: Why it is not passed, as its first failed test has it.
        answer: What the student wrote: the answer, and the cells that they added below it.
    """

    points: float | None
    done: bool
    mistake: Mistake | None
    answer: str


class Submission(NamedTuple):
    """What a student handed in.

    Attributes:
        student: Their id.
        first_name: As the gradebook has it.
        last_name: Likewise.
        results: One for each question.
        penalty: Points taken off for being late.
        seconds: It took to grade.
        processes: It took: more than one for each notebook after a crash or a hang.
        refused: Why the file could not be read; empty if it could.
        findings: What to look at, each with the label of its task if it belongs to one.
        changed: Whether something else was handed in since it was graded.
    """

    student: str
    first_name: str
    last_name: str
    results: tuple[Result, ...]
    penalty: float
    seconds: float
    processes: int
    refused: str
    findings: tuple[tuple[str, Finding], ...]
    changed: bool

    def __str__(self) -> str:
        name = line(f"{self.first_name} {self.last_name}", 60)
        known = line(self.student, 60)
        return f"{name} ({known})" if name else known


class Classroom(NamedTuple):
    """An assignment and its class.

    Attributes:
        assignment: Name.
        questions: In the order of the notebooks.
        submissions: That were graded, by the student's id.
        ungraded: Who has handed something in that has no result yet.
        given: By notebook, and by whether they are prose, the cells that learners start from.
        versions: Of all that grades depend on, each version with the number of its submissions.
        other_source: Submissions that were graded with another version of the notebook.
    """

    assignment: str
    questions: tuple[Question, ...]
    submissions: tuple[Submission, ...]
    ungraded: tuple[str, ...]
    given: Mapping[tuple[str, bool], tuple[str, ...]]
    versions: Mapping[str, int]
    other_source: int


class _Notebook(NamedTuple):
    """A notebook of the assignment as learners start from it."""

    source: Source
    instructor: NotebookNode
    questions: tuple[Question, ...]
    stubs: Mapping[str, str]
    given: Mapping[bool, tuple[str, ...]]


def read_classroom(
    course: Course,
    assignment: str,
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> Classroom:
    """Read all that a report needs.

    Raises:
        ValueError: there is no such assignment, or nothing of it is graded.
        OSError: the gradebook cannot be read.
    """
    sources = course.sources(assignment)
    records = course.records(assignment).graded()
    there = course.students(assignment)
    if not records:
        handed_in = f"{len(there)} are handed in" if there else "nothing is handed in"
        raise ValueError(
            f"nothing of {assignment!r} is graded yet, and {handed_in}: run `mha-course grade "
            f"{assignment}` first"
        )
    grades = read_grades(course, assignment)
    notebooks = [_notebook(course, assignment, source, len(sources) > 1) for source in sources]
    submissions = []
    for number, (student, results) in enumerate(sorted(records.items()), start=1):
        submissions.append(
            _submission(course, assignment, notebooks, student, results, grades.get(student))
        )
        progress("reading", number, len(records))
    return Classroom(
        assignment=assignment,
        questions=tuple(question for one in notebooks for question in one.questions),
        submissions=tuple(submissions),
        ungraded=tuple(sorted(set(there) - set(records))),
        given={
            (one.source.notebook, prose): texts
            for one in notebooks
            for prose, texts in one.given.items()
        },
        versions=_versions(records),
        other_source=sum(
            any(results.get(one.notebook, {}).get("source") != one.digest for one in sources)
            for results in records.values()
        ),
    )


def _versions(records: Mapping[str, Mapping[str, Any]]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for results in records.values():
        for versions in {
            ", ".join(f"{name} {version}" for name, version in one["versions"].items())
            for one in results.values()
        }:
            counts[versions] = counts.get(versions, 0) + 1
    return counts


# ---------------------------------------------------------------------------------------------
# The assignment


def _notebook(course: Course, assignment: str, source: Source, several: bool) -> _Notebook:
    instructor = nbformat.reads(source.text, as_version=4)
    empty = nbformat.v4.new_notebook()
    released = rebuild(instructor, empty, Config(course.marks)).notebook
    where = course.directory.format_path(course.directory.source_directory, ".", assignment)
    questions = _questions(Path(where) / f"{source.notebook}.ipynb", instructor)
    if several:
        questions = [one._replace(label=f"{one.notebook}: {one.label}") for one in questions]
    return _Notebook(
        source=source,
        instructor=instructor,
        questions=tuple(questions),
        stubs={grade_id(cell): cell.source for cell in released.cells if grade_id(cell)},
        given={
            prose: tuple(
                without_hidden_tests(cell.source)
                for cell in released.cells
                if (cell.cell_type != "code") == prose
            )
            for prose in (False, True)
        },
    )


def _questions(path: Path, instructor: NotebookNode) -> list[Question]:
    """Return the tasks as their cards describe them, or else as nbgrader's cells do."""
    cells = {grade_id(cell): cell for cell in instructor.cells if grade_id(cell)}
    try:
        tasks = read_assignment(path).tasks
    except ValueError:  # a notebook of another course, without cards
        tasks = ()
    if not tasks:
        return [one._replace(notebook=path.stem) for one in _by_cells(instructor)]
    return [
        Question(
            notebook=path.stem,
            answer=task.name,
            label=task.number,
            title=task.title,
            cells=task.tests or (task.name,),
            points=float(task.points),
            by_hand=task.written,
            prose=cells[task.name].cell_type != "code",
        )
        for task in tasks
    ]


def _by_cells(instructor: NotebookNode) -> list[Question]:
    """Take an answer and the tests below it for a task, and what a person grades for another."""
    found: list[Question] = []
    answer = ""
    for cell in instructor.cells:
        name = grade_id(cell)
        if utils.is_solution(cell):
            answer = name
        if not utils.is_grade(cell) and not utils.is_task(cell):
            continue
        points = float(cell.metadata.nbgrader.points)
        by_hand = utils.is_solution(cell) or utils.is_task(cell)
        last = found[-1] if found else None
        if last and not by_hand and not last.by_hand and answer and last.answer == answer:
            found[-1] = last._replace(cells=(*last.cells, name), points=last.points + points)
        else:
            label = name if by_hand or not answer else answer
            answered_in = "" if utils.is_task(cell) else answer  # a task's own cells are added ones
            prose = by_hand and cell.cell_type != "code"
            found.append(Question("", answered_in, label, "", (name,), points, by_hand, prose))
    return found


# ---------------------------------------------------------------------------------------------
# A student


def _submission(
    course: Course,
    assignment: str,
    notebooks: list[_Notebook],
    student: str,
    results: Mapping[str, Any],
    grades: Grades | None,
) -> Submission:
    found: list[Result] = []
    findings: list[tuple[str, Finding]] = []
    changed = False
    for one in notebooks:
        name = one.source.notebook
        record = results.get(name, {})
        handed_in, _, _ = course.read_submission(student, assignment, one.source)
        changed = changed or (bool(record) and digest(handed_in) != record["submission"])
        answers = _answers(course, one, handed_in)
        points = {cell: got for cell, (got, _) in record.get("points", {}).items()}
        if grades is not None:
            points |= grades.points.get(name, {})
        tests = {test["cell"]: test for test in record.get("tests", ())}
        found += [_result(question, one, answers, points, tests) for question in one.questions]
        of_cell = {
            cell: question.label
            for question in one.questions
            for cell in (*question.cells, question.answer)
        }
        for finding in record.get("findings", ()):
            findings.append((of_cell.get(finding["cell"], ""), Finding(**finding)))
    records = list(results.values())
    return Submission(
        student=student,
        first_name=grades.first_name if grades else "",
        last_name=grades.last_name if grades else "",
        results=tuple(found),
        penalty=grades.penalty if grades else 0.0,
        seconds=sum(record["seconds"] for record in records),
        processes=max(record["processes"] for record in records),
        refused=" ".join(filter(None, (record["refused"] for record in records))),
        findings=tuple(findings),
        changed=changed,
    )


def _result(
    question: Question,
    notebook: _Notebook,
    answers: Mapping[str, str],
    points: Mapping[str, float | None],
    tests: Mapping[str, Mapping[str, Any]],
) -> Result:
    got = [points.get(cell) for cell in question.cells]
    total = None if None in got else sum(one for one in got if one is not None)
    wrong = mistake(question.cells, tests)
    answer = answers.get(question.answer, "")
    stub = notebook.stubs.get(question.answer, "")
    untouched = bool(question.answer) and answer.split() == stub.split()
    not_done = wrong is not None and wrong.says == NOT_DONE
    return Result(total, not (not total and (untouched or not_done)), wrong, answer)


def _answers(course: Course, notebook: _Notebook, handed_in: bytes) -> dict[str, str]:
    """Return what the student wrote for each answer, as it is graded; nothing is run."""
    try:
        submitted = read_submission(handed_in)
        rebuilt = rebuild(notebook.instructor, submitted, Config(course.marks))
    except SubmissionError:
        return {}
    answers: dict[str, list[str]] = {}
    last = ""
    for cell in rebuilt.cells:
        if utils.is_solution(cell):
            last = grade_id(cell)
            answers[last] = [cell.source]
        elif last and not grade_id(cell) and cell.source.strip():
            answers[last].append(cell.source)
    return {name: "\n\n".join(parts) for name, parts in answers.items()}
