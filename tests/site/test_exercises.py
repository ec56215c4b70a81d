"""The book says of every task what its notebook says."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import pytest

from mha_course.grading.assignment import Task, read_assignments

ASSIGNMENTS = read_assignments(Path(__file__).parents[2] / "solutions")
TASKS = [(one.name, task) for one in ASSIGNMENTS for task in one.tasks]


def rows(page: Path) -> list[list[str]]:
    """Cells of every row of every table of tasks on a page, as text."""
    tables = re.findall(
        r'<table class="table mha-tasks">.*?</table>', page.read_text("utf-8"), re.DOTALL
    )
    assert tables, f"{page.name} has no table of tasks"
    found = [row for table in tables for row in re.findall(r"<tr>(.*?)</tr>", table, re.DOTALL)]
    return [
        [
            unescape(re.sub(r"<[^>]+>", "", cell)).strip()
            for cell in re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row, re.DOTALL)
        ]
        for row in found
    ]


def facts(task: Task) -> list[str]:
    return [task.title, task.difficulty, str(task.points), str(task.minutes)]


def test_the_page_of_exercises_has_every_task(site: Path) -> None:
    shown = rows(site / "chapters" / "exercises.html")
    for one in ASSIGNMENTS:
        cells = [one.name, one.title, len(one.autograded), len(one.written), one.points]
        assert [str(cell) for cell in (*cells, one.minutes)] in shown
    for _, task in TASKS:
        assert [task.number, *facts(task)] in shown


# The notation belongs to all tasks, and lists none
PAGES = sorted({page for _, task in TASKS for page in task.pages} - {"notation"})


@pytest.mark.parametrize("page", PAGES)
def test_a_chapter_names_its_tasks(site: Path, page: str) -> None:
    shown = rows(site / "chapters" / f"{page}.html")[1:]
    expected = [
        [f"{name} {task.number[0].lower()}{task.number[1:]}", *facts(task)]
        for name, task in TASKS
        if page in task.pages
    ]
    assert shown == expected
