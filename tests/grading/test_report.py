"""`mha-course report`: numbers against others' formulas, hostile text, and who copied from whom."""

from __future__ import annotations

import ast
import csv
import hashlib
import io
import os
import random
import re
import shutil
import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from course import ASSIGNMENTS, REPOSITORY
from nbformat import NotebookNode
from nbgrader.api import Gradebook
from playwright.sync_api import Browser

from mha_course import grading
from mha_course.autograder.course import Course
from mha_course.autograder.records import GRADED
from mha_course.autograder.report.classroom import read_classroom
from mha_course.autograder.report.fragments import Reading, fragments
from mha_course.autograder.report.measures import bars, discriminations
from mha_course.autograder.report.mistakes import NOT_DONE, Mistake, mistake, most_common
from mha_course.autograder.report.similarity import Answers, groups, shared, similar
from mha_course.autograder.report.text import cell as spreadsheet_cell
from mha_course.autograder.report.text import line
from mha_course.cli import main
from mha_course.grading.bank import bank_file, read_bank
from mha_course.grading.sitting import without_markers

CONFIG = """
c = get_config()
c.CourseDirectory.root = {root!r}
c.CourseDirectory.course_id = "test"
c.CourseDirectory.source_directory = "solutions"
"""
SOLUTION = "def {0}(a, b):\n    ### BEGIN SOLUTION\n    return a {1} b\n    ### END SOLUTION"
CELLS = {  # points: those of tests, but the essay's, which a person gives
    "test_add": 1.0,
    "test_add_floats": 1.0,
    "test_times": 2.0,
    "essay": 3.0,
}

# Twelve students. The essay of the last one still waits in `waiting`.
ADD = [1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 1]
ADD_FLOATS = [1, 1, 1, 0, 1, 0, 1, 0, 0, 0, 0, 1]
TIMES = [2, 2, 0, 2, 2, 0, 0, 2, 0, 2, 0, 2]
ESSAY = [3.0, 2.5, 1.0, 2.0, 3.0, 0.5, 1.0, 1.5, 0.0, 2.0, 0.0, 3.0]
STUDENTS = [f"s{number:02}" for number in range(12)]


# ------------------------------------------------------------------------------ a small course


def cell(
    kind: str, name: str, source: str, *, points: float | None = None, solution: bool = False
) -> NotebookNode:
    made = nbformat.v4.new_code_cell if kind == "code" else nbformat.v4.new_markdown_cell
    flags = {
        "schema_version": 3,
        "grade_id": name,
        "grade": points is not None,
        "solution": solution,
        "locked": not solution,
        "task": False,
    }
    if points is not None:
        flags["points"] = points
    return made(source, metadata={"nbgrader": flags})


def quiz() -> NotebookNode:
    """An assignment without cards, as nbgrader's own examples are."""
    return nbformat.v4.new_notebook(
        cells=[
            cell("code", "add", SOLUTION.format("add", "+"), solution=True),
            cell("code", "test_add", "assert add(1, 2) == 3", points=1.0),
            cell("code", "test_add_floats", "assert add(0.5, 2) == 2.5", points=1.0),
            cell("code", "times", SOLUTION.format("times", "*"), solution=True),
            cell("code", "test_times", "assert times(2, 3) == 6", points=2.0),
            cell("markdown", "essay", "Why?", points=3.0, solution=True),
        ]
    )


class Quiz:
    """A course with one assignment, and a class whose results are made up."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "solutions" / "quiz").mkdir(parents=True)
        (folder / "nbgrader_config.py").write_text(CONFIG.format(root=str(folder)))
        nbformat.write(quiz(), folder / "solutions" / "quiz" / "quiz.ipynb")
        self.course = Course(folder)

    def hand_in(self, student: str, answers: Mapping[str, str]) -> bytes:
        """Hand in a notebook in which some cells are answered; return the file."""
        notebook = quiz()
        for one in notebook.cells:
            name = one.metadata.nbgrader.grade_id
            if one.metadata.nbgrader.solution:
                stub = f"def {name}(a, b):\n    # YOUR CODE HERE\n    raise NotImplementedError()"
                one.source = answers.get(name, stub if name != "essay" else "YOUR ANSWER HERE")
        file = self.folder / "submitted" / student / "quiz" / "quiz.ipynb"
        file.parent.mkdir(parents=True)
        nbformat.write(notebook, file)
        return file.read_bytes()

    def grade(
        self,
        student: str,
        points: Mapping[str, float | None],
        errors: Mapping[str, tuple[str, str]] | None = None,
        answers: Mapping[str, str] | None = None,
        **fields: Any,
    ) -> None:
        """Write a record as `mha-course grade` does.

        Args:
            student: Their id.
            points: By cell.
            errors: Error and likely mistake, by test.
            answers: What is handed in.
            **fields: Of the record.
        """
        handed_in = self.hand_in(student, answers if answers is not None else ANSWERS)
        tests = [name for name in CELLS if name != "essay"]
        record = {
            "submission": hashlib.sha256(handed_in).hexdigest(),
            "source": self.course.sources("quiz")[0].digest,
            "versions": {"torch": "2.13.0"},
            "seconds": 1.0,
            "cell_seconds": 0.5,
            "processes": 1,
            "refused": "",
            "points": {name: [points.get(name, 0.0), most] for name, most in CELLS.items()},
            "tests": [
                dict(zip(("error", "likely"), (errors or {}).get(name, ("", "")), strict=True))
                | {"cell": name, "seconds": 0.1}
                for name in tests
            ],
            "findings": [],
        }
        self.course.records("quiz").add(student, GRADED, notebooks={"quiz": record | fields})

    def grade_class(self, essay: Sequence[float | None] = ESSAY) -> None:
        """Have the twelve students graded."""
        for student, *got in zip(STUDENTS, ADD, ADD_FLOATS, TIMES, essay, strict=True):
            self.grade(student, dict(zip(CELLS, got, strict=True)))

    def report(self, *arguments: str) -> int:
        """Run the command in the course's folder."""
        before = Path.cwd()
        os.chdir(self.folder)
        try:
            return main(["report", "quiz", *arguments])
        finally:
            os.chdir(before)

    @property
    def page(self) -> Path:
        return self.folder / "grading" / "quiz-report.html"

    @property
    def table(self) -> Path:
        return self.folder / "grading" / "quiz-report.csv"

    def rows(self) -> dict[str, dict[str, str]]:
        """Return the rows of the table by student."""
        text = self.table.read_bytes().decode("utf-8-sig")
        return {row["student"]: row for row in csv.DictReader(io.StringIO(text, newline=""))}


@pytest.fixture(scope="module")
def empty_gradebook(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a gradebook; it takes nbgrader seconds."""
    file = tmp_path_factory.mktemp("gradebook") / "gradebook.db"
    Gradebook(f"sqlite:///{file}", "test").close()
    return file


ANSWERS = {
    "add": "def add(a, b):\n    return a + b",
    "times": "def times(a, b):\n    return a * b",
    "essay": "Because.",
}


@pytest.fixture
def class_of_12(tmp_path: Path) -> Quiz:
    made = Quiz(tmp_path)
    made.grade_class()
    return made


class Page(HTMLParser):
    """What is in a page: text, tables by caption, and all tags."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.text = ""
        self._rows: list[list[str]] = []
        self._caption = ""
        self._inside: list[str] = []
        self.feed(file.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "br", "path", "use", "rect"):
            self._inside.append(tag)
        if tag == "table":
            self._rows, self._caption = [], ""
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("th", "td") and self._rows:
            self._rows[-1].append("")
        elif tag == "br" and self._rows:
            self._rows[-1][-1] += " "

    def handle_endtag(self, tag: str) -> None:
        while self._inside and self._inside.pop() != tag:
            pass
        if tag == "table":
            self.tables[self._caption] = self._rows
            self._rows = []

    def handle_data(self, data: str) -> None:
        if "svg" in self._inside or "style" in self._inside:
            return
        self.text += data
        if "caption" in self._inside:
            self._caption += data
        elif self._rows and self._rows[-1]:
            self._rows[-1][-1] += data

    def by_first(self, caption: str) -> dict[str, list[str]]:
        """Return the rows of a table by their first cell."""
        return {row[0].strip(): [one.strip() for one in row[1:]] for row in self.tables[caption]}


# ------------------------------------------------------------------------------------- numbers


def test_points_difficulty_and_discrimination(class_of_12: Quiz) -> None:
    assert class_of_12.report() == 0
    page = Page(class_of_12.page)
    add = [one + other for one, other in zip(ADD, ADD_FLOATS, strict=True)]
    tasks = {"add": (add, 2), "times": (TIMES, 2), "essay": (ESSAY, 3)}
    totals = [sum(got) for got in zip(add, TIMES, ESSAY, strict=True)]

    assert f"median is {round(statistics.median(totals), 2):g} of 7 points;" in page.text
    assert f"mean {round(statistics.fmean(totals), 2):g}," in page.text
    counts = {
        name: int(row[0]) for name, row in list(page.by_first("Students by points").items())[1:]
    }
    assert list(counts) == [*(f"{i} to under {i + 1}" for i in range(7)), "7"]
    assert list(counts.values()) == [sum(int(t) == i for t in totals) for i in range(8)]

    rows = page.by_first("How hard, and what it tells apart")
    for name, (points, most) in tasks.items():
        share = 100 * statistics.fmean(points) / most
        full, some = points.count(most), sum(0 < one < most for one in points)
        last = [points.count(0), most]
        assert [rows[name][0], *rows[name][2:7]] == [
            f"{share:.0f} %", "0", *map(str, (full, some, *last)),
        ]  # fmt: skip
        rest = [total - one for total, one in zip(totals, points, strict=True)]
        r = statistics.correlation(points, rest)
        assert rows[name][1].split()[0] == f"{r:.2f}".replace("-", "−")


def test_the_interval_is_that_of_a_bootstrap_over_students() -> None:
    generator = np.random.default_rng(4)
    ability = generator.normal(size=60)
    points = (ability[:, None] + generator.normal(size=(60, 4)) > [-1, 0, 0.5, 1]).astype(float)
    found = discriminations(points)
    draw = random.Random(1)
    for task, one in enumerate(found):
        rest = points.sum(1) - points[:, task]
        resampled = []
        for _ in range(1000):
            who = draw.choices(range(60), k=60)
            if len(set(points[who, task])) > 1:
                resampled.append(np.corrcoef(points[who, task], rest[who])[0, 1])
        low, high = np.quantile(resampled, [0.025, 0.975])
        assert one.r == pytest.approx(np.corrcoef(points[:, task], rest)[0, 1])
        assert one.low == pytest.approx(low, abs=0.04)
        assert one.high == pytest.approx(high, abs=0.04)


@pytest.mark.parametrize(
    ("points", "why"),
    [
        ([[1, 0], [0, 1]] * 4, "fewer than 10 students"),
        ([[1, 0], [1, 1]] * 8, "all have the same points"),
        ([[1], [0]] * 8, "no other task"),
        ([[0, 0]] * 15 + [[1, 1]], "nearly all have the same points"),
    ],
)
def test_no_correlation_where_there_can_be_none(points: list[list[float]], why: str) -> None:
    first = discriminations(np.array(points, dtype=float))[0]
    assert first.why == why
    assert first.low is None
    assert (first.r is None) == (why != "nearly all have the same points")


def test_a_task_that_the_strong_fail_is_pointed_out(tmp_path: Path) -> None:
    made = Quiz(tmp_path)
    for number in range(30):
        strong = number % 3 > 0
        points = {"test_add": float(strong), "test_add_floats": float(number % 5 > 0 and strong)}
        essay, times = (3.0, 0.0) if strong else (0.5, 1.0)
        made.grade(f"s{number}", points | {"test_times": times, "essay": essay})
    made.report()
    rows = Page(made.page).by_first("How hard, and what it tells apart")
    assert rows["times"][7].startswith("does not go with the rest")
    assert rows["add"][7] == rows["essay"][7] == ""


def test_bars_hold_every_value_once() -> None:
    values = [0.0, 0.5, 24.0, 23.5, 199.0, 7.0]
    found = bars(values, 30)
    assert sum(bar.number for bar in found) == len(values)
    assert len(found) <= 16
    for bar in found:
        assert bar.number == sum(bar.low <= one < bar.low + bar.width for one in values)
    assert [bar.says for bar in bars([0.0, 3.0], 3)] == ["0", "1", "2", "3"]
    assert [bar.says for bar in bars([0.0, 20.0], 20)][-2:] == ["18 to 19", "20"]


# ------------------------------------------------------------------------------------ mistakes


def failed(likely: str, error: str = "") -> Mapping[str, Mapping[str, str]]:
    said = error or f"Diagnosis: add(a, b) is wrong. Likely mistake: {likely} Read: page.html"
    return {"test_add": {"error": said, "likely": likely}}


def test_the_same_mistake_with_other_numbers_is_one() -> None:
    says = [
        "The shape is [2, 5, 12], not [2, 3, 5, 4]. A transpose is missing.",
        "The shape is [7, 1, 3], not [7, 3, 1, 1]. A transpose is missing.",
        "Name the values in the message: 4 is missing in 'my message'. An f-string does it.",
        'Name the values in the message: 10 is missing in "it\'s wrong". An f-string does it.',
        "The scores are not scaled.",
        "The shape is [2, 5, 12], not [2, 3, 5, 4]. A transpose is missing.",
    ]
    found = most_common(
        {
            number: mistake(["test_add"], failed(one)) or Mistake("", "")
            for number, one in enumerate(says)
        }
    )
    assert [(one.says, one.students) for one in found] == [
        (says[0], (0, 1, 5)),
        (says[2], (2, 3)),
        (says[4], (4,)),
    ]


def test_only_the_first_failed_test_of_a_task_counts(tmp_path: Path) -> None:
    made = Quiz(tmp_path)
    for number in range(8):
        first = ("Diagnosis: 1", f"You add {number} too much.") if number < 5 else ("", "")
        errors = {
            "test_add": first,
            "test_add_floats": ("Diagnosis: 2", "Floats are numbers, too."),
        }
        made.grade(f"s{number}", {"test_times": 2.0}, errors)
    todo = {"test_add": ("Diagnosis: 3", NOT_DONE), "test_add_floats": ("Diagnosis: 4", NOT_DONE)}
    made.grade("begun", {}, todo, {"add": "raise NotImplementedError  # later"})
    made.grade("blank", {}, todo, {})
    made.report()
    page = Page(made.page)
    rows = page.by_first("The most frequent in each task")
    assert rows["You add 0 too much."][:2] == ["5", "62 %"]  # of the eight who tried it
    assert rows["You add 0 too much."][2].startswith("s0, s1, s2")
    assert rows["Floats are numbers, too."][:2] == ["3", "38 %"]
    assert NOT_DONE not in rows
    tasks = page.by_first("How hard, and what it tells apart")
    assert tasks["add"][2:6] == ["2", "0", "0", "8"]
    assert "by 5 students in add: “You add 0 too much.”" in page.text


def test_it_knows_the_words_of_the_checks() -> None:
    """What tests say in this course is what the report looks for."""
    with pytest.raises(grading.Diagnosis) as undone, grading.task("Task 1", read="split-and-merge"):
        raise NotImplementedError
    assert undone.value.likely == NOT_DONE
    with pytest.raises(grading.Diagnosis) as dots:
        grading.check_number(..., 1, what="d_k", read="split-and-merge")
    assert dots.value.likely == NOT_DONE

    keys = set()
    for sizes in ("2x12 and 4x4", "3x9 and 5x5"):
        with (
            pytest.raises(grading.Diagnosis) as stopped,
            grading.task("Task 1", read="split-and-merge"),
        ):
            raise RuntimeError(f"shapes cannot be multiplied ({sizes})")
        error = " ".join(f"Diagnosis: {stopped.value}".split())
        found = mistake(["test_add"], failed(stopped.value.likely, error))
        assert found is not None
        assert (
            found.says == f"The code stops with RuntimeError: shapes cannot be multiplied ({sizes})"
        )
        keys.add(found.key)
    assert len(keys) == 1


# ----------------------------------------------------------------------- gradebook and files


@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")  # in nbgrader's own code
def test_points_given_by_hand_penalties_and_names(tmp_path: Path, empty_gradebook: Path) -> None:
    made = Quiz(tmp_path)
    shutil.copy(empty_gradebook, tmp_path)
    made.grade_class(essay=[None] * 12)
    with Gradebook(made.course.directory.db_url, "test") as gradebook:
        gradebook.add_assignment("quiz")
        gradebook.add_notebook("quiz", "quiz")
        for name, most in CELLS.items():
            kind = "markdown" if name == "essay" else "code"
            gradebook.add_grade_cell(name, "quiz", "quiz", max_score=most, cell_type=kind)
        for number, student in enumerate(STUDENTS):
            gradebook.add_student(student, first_name="Ada" if number else None, last_name="L.")
            (notebook,) = gradebook.add_submission("quiz", student).notebooks
            notebook.late_submission_penalty = 2.0 if number in (0, 8) else None
            for grade in notebook.grades:
                grade.needs_manual_grade = grade.name == "essay" and number == 11
                points = dict(zip(CELLS, (ADD, ADD_FLOATS, TIMES, ESSAY), strict=True))
                if grade.name == "essay":
                    grade.manual_score = points["essay"][number]
                else:
                    grade.auto_score = points[grade.name][number]
                if grade.name == "test_times" and number == 2:
                    grade.manual_score, grade.extra_credit = 1.0, 0.5
        gradebook.db.commit()

        made.report()
        page, rows = Page(made.page), made.rows()
        assert rows["s02"]["times: points (of 2)"] == "1.5"
        assert rows["s01"]["first name"], rows["s01"]["last name"] == ("Ada", "L.")
        assert rows["s00"]["late penalty"] == "2"
        assert rows["s11"]["essay: points (of 3)"] == ""
        assert rows["s11"]["answers that wait for a person"] == "1"
        # one essay waits, so no essay counts, and no penalty
        totals = [a + b + c for a, b, c in zip(ADD, ADD_FLOATS, TIMES, strict=True)]
        totals[2] += 1.5
        assert f"median is {statistics.median(totals):g} of 4 points that" in page.text
        assert page.by_first("Waiting and graded")["essay"][1] == "1"
        assert "Ada L. (s01)" in page.text

        notebook.grades[-1].needs_manual_grade = False
        for grade in notebook.grades:
            grade.needs_manual_grade = False
        gradebook.db.commit()
    made.report()
    totals = [one + essay for one, essay in zip(totals, ESSAY, strict=True)]
    totals[0], totals[8] = totals[0] - 2, max(totals[8] - 2, 0)
    text = Page(made.page).text
    assert f"median is {round(statistics.median(totals), 2):g} of 7 points;" in text
    assert f"mean {round(statistics.fmean(totals), 2):g}, lowest {min(totals):g}," in text


def test_files_that_were_not_read_wait_or_were_changed(class_of_12: Quiz) -> None:
    why = "The file is a PDF file, not a notebook."
    not_read = [{"kind": "not-read", "says": why, "cell": ""}]
    class_of_12.grade("pdf", {}, refused=why, findings=not_read, processes=0)
    edited = [
        {
            "kind": "test-edited",
            "says": "The text of the test cell was changed.",
            "cell": "test_times",
        }
    ]
    class_of_12.grade("editor", {"test_add": 1.0}, findings=edited, seconds=9.0, processes=3)
    class_of_12.hand_in("later", {})
    file = class_of_12.folder / "submitted" / "s03" / "quiz" / "quiz.ipynb"
    file.write_bytes(b"something else")
    class_of_12.report()
    page = Page(class_of_12.page)
    assert page.by_first("Not read, and without points")["pdf"] == [why]
    assert "lowest 0, highest 7 of 7 points" in page.text  # the editor's 1 + 0 … and s10's 0
    assert page.by_first("How hard, and what it tells apart")["add"][2] == "0"  # not the PDF's
    assert page.by_first("test edited")["editor"] == [
        "times",
        "The text of the test cell was changed.",
    ]
    assert page.by_first("The slowest submissions")["editor"] == ["9.00", "3"]
    assert "1 student with no result yet" in page.text
    assert "no result yet: later." in page.text
    assert "not what was graded: s03." in page.text
    assert "1 student with findings" in page.text
    row = class_of_12.rows()["pdf"]
    assert row["could not be read"] == why
    assert class_of_12.rows()["editor"]["findings"] == "test-edited"


def test_nobody_could_be_read(tmp_path: Path) -> None:
    made = Quiz(tmp_path)
    made.grade("s0", {}, refused="The file is empty.")
    assert made.report() == 0
    assert "None of the files could be read." in Page(made.page).text


def test_tasks_of_a_course_with_cards() -> None:
    """The course's own assignments have their tasks from the cards, with all their points."""
    for name, assignment in ASSIGNMENTS.items():
        notebook = nbformat.read(REPOSITORY / "solutions" / name / f"{name}.ipynb", as_version=4)
        assert assignment.tasks
        graded = {
            one.metadata.nbgrader.grade_id
            for one in notebook.cells
            if one.metadata.get("nbgrader", {}).get("grade")
        }
        assert {test for task in assignment.tasks for test in task.tests or (task.name,)} == graded


# --------------------------------------------------------------------------- hostile to readers

EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>"
NAME = '=HYPERLINK("http://evil.example")'
WORDS = f'=1+1,"{EVIL}"\r\nnext \u202edesrever\x1b[2J \ud800 end'


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory, empty_gradebook: Path) -> Quiz:
    made = Quiz(tmp_path_factory.mktemp("hostile"))
    shutil.copy(empty_gradebook, made.folder)
    for number in range(8):
        made.grade(
            f"@{number}{EVIL.replace('/', '|')}",
            {"test_add": 1.0},
            {"test_times": (WORDS, WORDS), "test_add": ("Boom", "")},
            {name: f"{text}\n# {EVIL} \u202e {number // 2}" for name, text in ANSWERS.items()}
            | {"essay": f"{EVIL} '\"> " + " ".join(f"word{number // 2}{i}" for i in range(30))},
            findings=[{"kind": EVIL, "says": WORDS, "cell": "test_add"}],
            versions={"torch": EVIL},
        )
    made.grade(NAME, {}, refused=WORDS)
    with Gradebook(made.course.directory.db_url, "test") as gradebook:
        gradebook.add_student(NAME, first_name=f"-{EVIL}", last_name="+1\t\u202e")
    assert made.report() == 0
    return made


def test_nothing_in_the_page_is_markup_of_a_learner(hostile: Quiz) -> None:
    page = Page(hostile.page)
    names = Counter(tag for tag, _ in page.tags)
    assert {"script", "img", "link", "iframe", "object", "form"}.isdisjoint(names)
    for tag, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")], tag
        for address in (attributes.get("href"), attributes.get("src")):
            assert not address or address.startswith("#")
    assert EVIL in page.text
    source = hostile.page.read_text("utf-8")
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x00-\x08\x0b-\x1f\x7f]", source)


def test_the_table_has_no_formula_and_is_well_formed(hostile: Quiz) -> None:
    raw = hostile.table.read_bytes()
    assert raw.startswith(b"\xef\xbb\xbf")
    assert raw.count(b"\r\n") == raw.count(b"\n") == 10  # one for each row: none is inside a cell
    rows = list(csv.reader(io.StringIO(raw.decode("utf-8-sig"), newline=""), strict=True))
    assert len({len(row) for row in rows}) == 1
    for value in (value for row in rows for value in row):
        assert not value.startswith(("=", "+", "-", "@", "\t", "\r"))
    assert f"'{NAME}" in {row[0] for row in rows}


@pytest.mark.parametrize("text", ["=1", "+1", "-1", "@x", "\t=1", " =1", "\r\n=1", "＝1", "\x00=1"])
def test_cells_of_a_spreadsheet_are_no_formulas(text: str) -> None:
    assert spreadsheet_cell(text).startswith("'")


@pytest.mark.parametrize(
    "text", ["Ada;=1+1", "Ada; =1+1", "a;b;-1", "Ada;＝1", 'Ada;"=1+1"', 'Ada;" "=1', "x;\t@y"]
)
def test_no_formula_begins_where_another_country_begins_a_cell(text: str) -> None:
    written = io.StringIO(newline="")
    csv.writer(written).writerow(["1", spreadsheet_cell(text), "2"])
    for delimiter in ",;":
        (row,) = csv.reader(io.StringIO(written.getvalue(), newline=""), delimiter=delimiter)
        assert not [one for one in row if one.lstrip().startswith(tuple("=+-@＝＋－＠"))]


def test_ordinary_text_is_left_alone() -> None:
    text = "That is √d_model · 2, 'quoted' — naïve 学生; f(1, -2) = 3; so"
    assert line(text) == spreadsheet_cell(text) == text
    assert len(line("word " * 1000)) <= 300


@pytest.mark.parametrize("width", [1280, 360])
def test_the_page_in_a_browser(browser: Browser, hostile: Quiz, width: int) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900})
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("dialog", lambda dialog: pytest.fail(dialog.message))
    page.goto(hostile.page.as_uri())
    assert len(asked) == 1  # the page itself
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    levels = page.evaluate(
        "[...document.querySelectorAll('h1,h2,h3,h4')].map(one => +one.tagName[1])"
    )
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    for drawing in page.locator("svg").all():
        assert len(drawing.get_attribute("aria-label") or "") > 40
    missing = "th:not([scope]), a[href='#'], .scroll:not([aria-label])"
    assert page.locator(missing).count() == 0
    for link in page.locator("a").all():
        assert page.locator(link.get_attribute("href") or "").count() == 1
    page.close()


# ------------------------------------------------------------------------- similar submissions


def renamed(code: str, mark: str) -> str:
    """Copy an answer the way people do: other names, comments, blank lines and quotes."""
    try:
        tree = ast.parse(code)
    except SyntaxError:
        return code
    bound = {
        node.arg if isinstance(node, ast.arg) else node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.arg)
        or (isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store))
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in bound:
            node.id = f"{node.id}_{mark}"
        elif isinstance(node, ast.arg):
            node.arg = f"{node.arg}_{mark}"
    return f"# my {mark} own work\n" + ast.unparse(tree).replace("\n", f"\n\n    # {mark}\n")


def bank_of(name: str) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Return right and wrong answers of an assignment, by task."""
    bank = read_bank(bank_file(name, REPOSITORY / "tests" / "exercises"))
    cells = ASSIGNMENTS[name].cells()
    right = {
        task.name: [without_markers(cells[task.name].source)]
        for task in ASSIGNMENTS[name].autograded
    }
    wrong: dict[str, list[str]] = {task: [] for task in right}
    for one in bank.right:
        right[one.task].append(one.code)
    for other in bank.wrong:
        wrong[other.task].append(other.code)
    return right, wrong


def compared(name: str, students: Sequence[Mapping[str, str]]) -> list[Answers]:
    given = [
        one.source
        for one in nbformat.read(
            REPOSITORY / "exercises" / name / f"{name}.ipynb", as_version=4
        ).cells
        if one.cell_type == "code"
    ]
    tasks = [task.name for task in ASSIGNMENTS[name].autograded]
    return [Answers([one.get(task, "") for one in students], False, given) for task in tasks]


@pytest.mark.parametrize("name", ["heads", "masks-and-modules", "redundancy"])
def test_honest_answers_do_not_stand_out_and_copies_do(name: str) -> None:
    right, wrong = bank_of(name)
    draw = random.Random(name)
    students = [{task: draw.choice(answers) for task, answers in right.items()} for _ in range(40)]
    honest = similar(compared(name, students))
    assert honest.pairs == ()
    assert honest.why_not == ""

    # one with ways of their own in every second task, and a copy of all
    for number, (task, answers) in enumerate(wrong.items()):
        if number % 2 == 0:
            students[7][task] = answers[0]
    students.append({task: renamed(code, "mine") for task, code in students[7].items()})
    found = similar(compared(name, students))
    assert [(pair.first, pair.second) for pair in found.pairs] == [(7, 40)]
    assert found.highest_other < found.pairs[0].score
    strongest = found.pairs[0].alike[:3]
    assert {(alike.task % 2, alike.as_many) for alike in strongest} == {(0, 0)}


def test_a_copy_that_was_padded_stands_out() -> None:
    """What one of two adds does not hide what both have."""
    right, wrong = bank_of("patterns")
    draw = random.Random(8)
    students = [{task: draw.choice(some) for task, some in right.items()} for _ in range(40)]
    students[7] = {task: some[0] for task, some in wrong.items()}
    padding = "\n\n".join(f"print('step {i}', {i} * [None], sep='-' * {i})" for i in range(12))
    copy = {task: f"{renamed(code, 'mine')}\n{padding}" for task, code in students[7].items()}
    found = similar(compared("patterns", [*students, copy]))
    assert [(pair.first, pair.second) for pair in found.pairs] == [(7, 40)]


def test_a_word_for_word_copy_of_what_everybody_writes_stands_out_by_its_names() -> None:
    """Without names all are the same; as they are written, only two are."""
    draw = random.Random(3)
    words = [f"{a}{b}" for a in ("big", "my", "the", "new", "old") for b in "abcdefgh"]

    def answer(task: int, names: Sequence[str]) -> str:
        one, two, three = names
        return (
            f"def task{task}(x):\n    {one} = x.sum(dim={task}) * {task}\n"
            f"    {two} = {one}.sqrt() + x\n    {three} = {two} / {one}\n    return {three} - {two}"
        )

    texts = [[answer(task, draw.sample(words, 3)) for _ in range(30)] for task in range(6)]
    for task in texts:
        task.append(task[0])
    found = similar([Answers(task, False, []) for task in texts])
    assert [(pair.first, pair.second) for pair in found.pairs] == [(0, 30)]


def test_what_was_given_and_what_is_nobodys_own_counts_for_nothing() -> None:
    stub = (
        "def task(x):\n    # write your answer here\n    raise NotImplementedError('not done yet')"
    )
    draw = random.Random(5)
    own = [f"task = lambda x: x{''.join(draw.sample('+-*/', 4))}{i}" for i in range(18)]
    blank = [Answers([*draw.sample(own, 18), stub, stub], False, [stub]) for _ in range(8)]
    assert similar(blank).pairs == ()
    lazy = [
        Answers(
            [
                f"def task(x):\n    return {' + '.join(draw.sample('abcdefghijklm', 6))}"
                for _ in range(18)
            ]
            + ["def task(x):\n    pass", "def task(x):\n    pass"],
            False,
            [stub],
        )
        for _ in range(8)
    ]
    assert {(18, 19)}.isdisjoint((pair.first, pair.second) for pair in similar(lazy).pairs)
    answer = f"{stub}\n    return x.sum(dim=1)"
    spans = shared(answer, answer, blank[0])[0]
    marked = "".join(
        char for place, char in enumerate(answer) if any(a <= place < b for a, b in spans)
    )
    assert "return x.sum(dim=1)" in marked
    assert "NotImplementedError" not in marked


def test_what_is_shared_is_marked_where_it_is() -> None:
    given = ["def task(x):\n    raise NotImplementedError"]
    first = "def task(x):\n    width = x.shape[-1]  # how wide\n    return x.mean(dim=0) / width"
    second = "def task(y):\n    d = y.shape[-1]\n    z = 3\n    return y.mean(dim=0) / d"
    marks = shared(first, second, Answers([], False, given))
    for text, spans in zip((first, second), marks, strict=True):
        shown = "".join(
            char for place, char in enumerate(text) if any(a <= place < b for a, b in spans)
        )
        assert ".shape[-1]" in shown
        assert "mean(dim=0) /" in shown
        assert "def" not in shown
        assert "z = 3" not in shown


def test_classes_that_are_too_small_or_too_large_are_left_alone() -> None:
    assert similar([Answers(["a b c"] * 5, True, [])]).why_not.startswith("fewer than 6")
    assert similar([Answers([""] * 3001, True, [])]).why_not.startswith("more than 3,000")
    assert similar([]).pairs == ()


def test_who_hangs_together() -> None:
    own = [0, 0, 0, 1, 1, *range(2, 27)]  # three with the same answers, two with others
    texts = [f"def task(x):\n    return x.view({one}, -1).T @ x / {one}" for one in own]
    found = similar([Answers(texts, False, []) for _ in range(8)])
    assert groups(found.pairs) == [(3, 4), (0, 1, 2)]  # the rarer the stronger


@pytest.mark.parametrize(
    "text",
    [
        '"""' * 5000 + "'",
        "'\\" * 5000,
        "(" * 20_000,
        "\\\n" * 5000,
        'f"{' * 5000,
        "#" * 20_000,
        "\x00\ud800\u202e" * 3000,
        "x" * 10_000_000,
        " ".join(map(str, range(30_000))),
        "",
    ],
)
@pytest.mark.parametrize("as_written", [False, True])
def test_no_answer_stops_the_comparison(text: str, as_written: bool) -> None:
    found = fragments(text, Reading(False, as_written, frozenset()))
    assert 1 <= len(found) <= 10_002


def test_all_forms_of_a_string_are_one_token() -> None:
    def tokens(code: str) -> set[tuple[str, ...]]:
        return set(fragments(code, Reading(False, False, frozenset({"f"}))))

    plain = tokens("def f(x):\n    return g('a # b')")
    assert tokens('def f(y):\n    """Docstring."""\n    return g("a # b")  # comment') == plain
    assert tokens("def f(x):\n    return g('a # c')") != plain
    assert tokens("def f(x):\n    return g(rb'''a # b''')") != plain
    assert tokens("def f(x): return x.a / x.b") != tokens("def f(x): return x.b / x.a")
    assert tokens("def f(a, b): a = a / b") != tokens("def f(a, b): a = b / a")
    assert tokens("def f(a, b): a = a / b") == tokens("def f(u, v): u = u / v")


# ------------------------------------------------------------------------------------- command


def test_its_own_files_are_replaced_and_no_others(
    class_of_12: Quiz, capsys: pytest.CaptureFixture[str]
) -> None:
    made = class_of_12
    assert made.report() == 0
    assert f"written: {made.page}" in capsys.readouterr().out
    assert made.page.stat().st_mode & 0o777 == 0o600
    first = made.table.read_bytes()
    made.grade("new", {"test_add": 1.0})
    assert made.report() == 0
    assert made.table.read_bytes() != first

    edited = made.table.read_bytes() + b"my own notes\r\n"
    made.table.write_bytes(edited)
    page = made.page.read_bytes()
    assert made.report() == 2
    assert "was changed" in capsys.readouterr().err
    assert (made.table.read_bytes(), made.page.read_bytes()) == (edited, page)
    assert made.report("--output", str(made.folder / "a" / "b")) == 0
    assert (made.folder / "a" / "b" / "quiz-report.csv").is_file()
    assert made.report("--force") == 0
    assert made.table.read_bytes() != edited
    assert made.report() == 0

    for content in (b"<html>my page</html>", b""):
        made.page.write_bytes(content)
        assert made.report() == 2
        assert "is no report" in capsys.readouterr().err
        assert made.page.read_bytes() == content
    made.page.unlink()
    other = made.folder / "other"
    other.write_text("not to be written")
    made.page.symlink_to(other)
    made.table.unlink()
    assert made.report() == 2
    assert made.report("--force") == 0
    assert other.read_text() == "not to be written"
    assert not [one for one in made.page.parent.iterdir() if one.name.startswith(".quiz-report")]


def test_a_way_out_of_each_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = Quiz(tmp_path / "course")

    def says(*arguments: str, where: Path = made.folder) -> str:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(where)
            assert main(["report", *arguments]) == 2
        said = capsys.readouterr().err
        assert "Traceback" not in said
        return said

    assert "there are quiz" in says("qiuz")
    assert "nothing is handed in: run `mha-course grade quiz`" in says("quiz")
    made.hand_in("s0", {})
    assert "1 are handed in" in says("quiz")
    assert "is no course folder" in says("quiz", where=tmp_path)
    assert not (made.folder / "grading").exists()
    made.grade_class()
    (made.folder / "file").write_text("")
    assert "that is a file" in says("quiz", "--output", "file")
    (made.folder / "gradebook.db").write_text("this is no database, but long enough" * 100)
    assert "the gradebook cannot be read" in says("quiz")
    assert not made.page.exists()


def test_a_gradebook_is_not_made_and_records_may_have_broken_off(class_of_12: Quiz) -> None:
    records = class_of_12.course.records("quiz").file
    with records.open("a") as file:
        file.write('\n{"student": "s00", "state": "gra')
    assert class_of_12.report() == 0
    assert not (class_of_12.folder / "gradebook.db").exists()
    assert len(class_of_12.rows()) == 12


def test_records_of_another_version_of_the_notebook(class_of_12: Quiz) -> None:
    class_of_12.grade("old", {"test_add": None}, source="other")
    assert class_of_12.report() == 0
    assert "1 of the results come from another version" in Page(class_of_12.page).text
    assert class_of_12.rows()["old"]["add: points (of 2)"] == ""


def test_the_same_class_has_the_same_report(class_of_12: Quiz) -> None:
    class_of_12.report()
    first = class_of_12.page.read_text(), class_of_12.table.read_bytes()
    class_of_12.report()
    without_date: Callable[[str], str] = lambda text: re.sub(r"Made \S+ \S+ UTC", "", text)  # noqa: E731
    assert without_date(class_of_12.page.read_text()) == without_date(first[0])
    assert class_of_12.table.read_bytes() == first[1]


def test_several_notebooks_are_several_parts(tmp_path: Path) -> None:
    made = Quiz(tmp_path)
    nbformat.write(quiz(), tmp_path / "solutions" / "quiz" / "more.ipynb")
    made.grade_class()
    classroom = read_classroom(made.course, "quiz")
    labels = [question.label for question in classroom.questions]
    assert labels == [
        f"{part}: {name}" for part in ("more", "quiz") for name in ("add", "times", "essay")
    ]
    assert all(one.results[0].points is None for one in classroom.submissions)
    assert made.report() == 0
