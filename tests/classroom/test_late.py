"""What late work costs, by the course's policy, whoever grades and however often."""

from __future__ import annotations

import math
import shutil
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from course import REPOSITORY
from nbgrader.api import Gradebook
from traitlets import TraitError
from traitlets.config import Config

from mha_course.autograder.course import Course
from mha_course.classroom.late import LatePolicy, assign_penalties, policy
from mha_course.cli import main

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")  # of nbgrader's own

DAY = 24 * 3600
DUE = datetime(2030, 1, 31, 22, 59)
TENTH = {"percent_a_day": 10.0}
ALL = {**TENTH, "grace_minutes": 15.0, "at_most_percent": 25.0, "days_until_nothing": 7.0}


@pytest.mark.parametrize(
    ("settings", "seconds", "penalty"),
    [
        ({}, 1, None),
        ({}, 1000 * DAY, None),
        (TENTH, 1, 2.0),
        (TENTH, DAY, 2.0),
        (TENTH, DAY + 1, 4.0),
        (TENTH, 9.5 * DAY, 20.0),
        (TENTH, 1000 * DAY, 20.0),
        (ALL, 15 * 60, None),
        (ALL, 15 * 60 + 1, 2.0),
        (ALL, DAY + 15 * 60, 2.0),
        (ALL, DAY + 15 * 60 + 1, 4.0),
        (ALL, 3 * DAY, 5.0),
        (ALL, 7 * DAY + 15 * 60, 5.0),
        (ALL, 7 * DAY + 15 * 60 + 1, 20.0),
        ({"days_until_nothing": 2.0}, 2 * DAY, None),
        ({"days_until_nothing": 2.0}, 2 * DAY + 1, 20.0),
        ({"days_until_nothing": 0.0}, 1, 20.0),
        ({**TENTH, "at_most_percent": 0.0}, 5 * DAY, None),
    ],
)
def test_penalties_of_twenty_points(
    settings: dict[str, float], seconds: float, penalty: float | None
) -> None:
    assert LatePolicy(**settings).late_submission_penalty("ada", 20.0, seconds) == penalty


@pytest.mark.parametrize("name", LatePolicy.class_trait_names(config=True))
@pytest.mark.parametrize("value", [-1, math.nan, math.inf, "much"])
def test_settings_that_cannot_be(name: str, value: object) -> None:
    with pytest.raises(TraitError, match=name):
        LatePolicy(**{name: value})
    with pytest.raises(ValueError, match=f"nbgrader_config.py: .*{name}"):
        policy(
            Config(
                {"AssignLatePenalties": {"plugin_class": LatePolicy}, "LatePolicy": {name: value}}
            )
        )


def test_percents_end_at_a_hundred() -> None:
    with pytest.raises(TraitError, match=r"c\.LatePolicy\.percent_a_day is 101; give 0 to 100"):
        LatePolicy(percent_a_day=101)


def test_a_setting_that_there_is_not() -> None:
    """For nbgrader that is a warning, and nobody loses points."""
    with pytest.raises(ValueError, match=r"no c\.LatePolicy\.percent_per_day; there are at_most"):
        policy(Config({"LatePolicy": {"percent_per_day": 10}}))


def test_nbgraders_own_plugin_can_be_chosen() -> None:
    chosen = policy(
        Config({"AssignLatePenalties": {"plugin_class": "nbgrader.plugins.LateSubmissionPlugin"}})
    )
    assert not isinstance(chosen, LatePolicy)
    with pytest.raises(ValueError, match=r"nbgrader_config.py: .*nosuch"):
        policy(Config({"AssignLatePenalties": {"plugin_class": "nosuch.Plugin"}}))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({}, "costs nothing"),
        (TENTH, "each day that has begun costs 10 %"),
        (
            ALL,
            "each day that has begun costs 10 %, at most 25 %; after 7 days nothing counts; the "
            "first 15 minutes are free",
        ),
    ],
)
def test_a_policy_in_words(settings: dict[str, float], says: str) -> None:
    assert LatePolicy(**settings).says() == says


def test_a_course_takes_nothing_by_default() -> None:
    chosen = policy(Course(REPOSITORY).app.config)
    assert isinstance(chosen, LatePolicy)
    assert chosen.says() == "costs nothing"


class Class:
    """A gradebook with submissions, each of 8 points from a test and 2 to be given by hand."""

    def __init__(self, folder: Path) -> None:
        shutil.copy(REPOSITORY / "nbgrader_config.py", folder)
        self.folder = folder
        self.url = f"sqlite:///{folder / 'gradebook.db'}"
        with self.opened() as gradebook:
            gradebook.add_assignment("one", duedate=DUE)
            gradebook.add_notebook("note", "one")
            for name in ("test", "essay"):
                gradebook.add_grade_cell(name, "note", "one", max_score=10, cell_type="code")

    def opened(self) -> Gradebook:
        return Gradebook(self.url, "multi-head-attention")

    def configure(self, line: str) -> None:
        with (self.folder / "nbgrader_config.py").open("a") as config:
            config.write(f"\n{line}\n")

    def hand_in(self, late: dict[str, float | None]) -> None:
        """Have students hand in so many seconds after the due date; None: nobody knows when."""
        with self.opened() as gradebook:
            for name, seconds in late.items():
                gradebook.update_or_create_student(name)
                when = None if seconds is None else DUE + timedelta(seconds=seconds)
                gradebook.update_or_create_submission("one", name, timestamp=when)
                gradebook.find_grade("test", "note", "one", name).auto_score = 8
            gradebook.db.commit()

    def assign(self) -> list[str]:
        return list(assign_penalties(Course(self.folder), "one", waiting=pytest.fail))

    def penalties(self) -> dict[str, float]:
        with self.opened() as gradebook:
            return {
                one.student.id: one.late_submission_penalty
                for one in gradebook.assignment_submissions("one")
            }


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Class:
    made = Class(tmp_path_factory.mktemp("begun"))
    made.hand_in({"ada": -5.0, "bob": 1.0, "eve": 1.5 * DAY, "joe": None})
    return made


@pytest.fixture
def late(begun: Class, tmp_path: Path) -> Class:
    """A class with submissions in time, late and without a time, where a day costs a tenth."""
    shutil.copytree(begun.folder, tmp_path / "course")
    made = object.__new__(Class)
    made.folder = tmp_path / "course"
    made.url = f"sqlite:///{made.folder / 'gradebook.db'}"
    made.configure("c.LatePolicy.percent_a_day = 10")
    return made


def test_penalties_are_assigned_once(late: Class) -> None:
    for _ in range(2):
        assert late.assign() == [
            "points taken from 2 (bob, eve): each day that has begun costs 10 %"
        ]
        assert late.penalties() == {"ada": 0, "bob": 0.8, "eve": 1.6, "joe": 0}


def test_points_given_by_hand_count(late: Class) -> None:
    late.assign()
    with late.opened() as gradebook:
        for name in ("ada", "eve"):
            gradebook.find_grade("essay", "note", "one", name).manual_score = 2
        gradebook.find_grade("test", "note", "one", "bob").manual_score = 0
        gradebook.db.commit()
    assert "points taken from 1 (eve)" in late.assign()[0]
    assert late.penalties() == {"ada": 0, "bob": 0, "eve": 2.0, "joe": 0}


def test_a_due_date_that_moves_counts(late: Class) -> None:
    late.assign()
    with late.opened() as gradebook:
        gradebook.update_or_create_assignment("one", duedate=DUE + timedelta(hours=1))
        gradebook.grant_extension("one", "eve", days=1, minutes=5)
    assert "from 1 (eve)" in late.assign()[0]
    assert late.penalties() == {"ada": 0, "bob": 0, "eve": 0.8, "joe": 0}
    with late.opened() as gradebook:
        gradebook.grant_extension("one", "eve", days=30)
        gradebook.update_or_create_assignment("one", duedate=DUE - timedelta(days=2))
    assert "from 2 (ada, bob)" in late.assign()[0]
    assert late.penalties() == {"ada": 1.6, "bob": 2.4, "eve": 0, "joe": 0}
    with late.opened() as gradebook:
        gradebook.find_assignment("one").duedate = None
        gradebook.db.commit()
    assert late.assign() == []
    assert set(late.penalties().values()) == {0}


def extended(student: str, days: str, assignment: str = "one") -> int:
    return main(["extend", assignment, student, f"--days={days}"])


def test_more_time_for_one_student(
    late: Class, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(late.folder)
    late.assign()
    assert extended("eve", "1") == 0
    assert capsys.readouterr().out.splitlines() == [
        "one of eve is due 2030-02-01 22:59 UTC",
        "points taken from 2 (bob, eve): each day that has begun costs 10 %",
    ]
    assert late.penalties() == {"ada": 0, "bob": 0.8, "eve": 0.8, "joe": 0}
    assert extended("eve", "1.5") == 0, "in place of the one before"
    assert late.penalties()["eve"] == 0
    assert extended("eve", "0") == 0
    assert late.penalties()["eve"] == 1.6


@pytest.mark.parametrize(
    ("student", "days", "assignment", "says"),
    [
        ("eve", "-1", "one", "-24 hours: an extension is 0 or more"),
        ("eve", "nan", "one", "--days nan: give a number of days, such as 3"),
        ("eve", "1e20", "one", "--days 1e+20: give a number of days"),
        ("Eve", "1", "one", "no student 'Eve' in the gradebook; `nbgrader db student list`"),
        ("new", "1", "one", "new has no graded one yet; `mha-course grade one` comes first"),
        ("eve", "1", "two", "no assignment 'two' in the gradebook; there are: one"),
    ],
)
def test_more_time_that_cannot_be(
    late: Class,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    student: str,
    days: str,
    assignment: str,
    says: str,
) -> None:
    monkeypatch.chdir(late.folder)
    late.assign()
    with late.opened() as gradebook:
        gradebook.add_student("new")
    assert extended(student, days, assignment) == 2
    assert says in capsys.readouterr().err
    assert late.penalties() == {"ada": 0, "bob": 0.8, "eve": 1.6, "joe": 0}


def test_more_time_without_a_due_date(
    late: Class, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(late.folder)
    with late.opened() as gradebook:
        gradebook.find_assignment("one").duedate = None
        gradebook.db.commit()
    assert extended("eve", "1") == 2
    assert (
        "one has no due date, so nobody is late; set one in formgrader" in capsys.readouterr().err
    )


def test_a_policy_that_changes_counts(late: Class) -> None:
    late.assign()
    late.configure("c.LatePolicy.percent_a_day = 0")
    assert late.assign() == []
    assert set(late.penalties().values()) == {0}


def test_a_plugin_of_their_own_cannot_take_more_than_there_is(late: Class) -> None:
    late.configure(
        "from nbgrader.plugins import BasePlugin\n"
        "class Greedy(BasePlugin):\n"
        "    def late_submission_penalty(self, student, score, seconds):\n"
        "        return 100 if student == 'bob' else -1\n"
        "c.AssignLatePenalties.plugin_class = Greedy"
    )
    assert late.assign() == ["points taken from 1 (bob): Greedy"]
    assert late.penalties() == {"ada": 0, "bob": 8, "eve": 0, "joe": 0}


def test_a_wrong_policy_is_named_before_anything_is_graded(
    late: Class, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    late.configure("c.LatePolicy.percent_per_day = 10")
    monkeypatch.chdir(late.folder)
    assert main(["grade", "one"]) == 2
    said = capsys.readouterr()
    assert "there is no c.LatePolicy.percent_per_day; there are at_most_percent" in said.err
    assert said.out == ""
