"""The page on which a reader sees how far they are, in chapters, self-checks and exercises."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from live_pages import BROKEN_STORAGE, call
from playwright.sync_api import Browser, Page, expect

from mha_course.grading.assignment import read_assignments
from mha_course.grading.progress import Standing, link
from mha_course.widgets import your_progress

ROOT = Path(__file__).parents[2]
ASSIGNMENTS = read_assignments(ROOT / "exercises")
CHAPTER = "how-many-heads"


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    yield page
    page.context.close()


def row(page: Page, name: str) -> str:
    """What a row of one of the tables says."""
    found = page.locator("tr").filter(has=page.locator("th").get_by_text(name, exact=True))
    return " ".join(found.inner_text().split())


def standings(done: int) -> list[Standing]:
    """Of each assignment, so many tasks are done, from the last one on."""
    return [
        Standing(one, 0, frozenset(task.name for task in one.tasks[len(one.tasks) - done :]))
        for one in ASSIGNMENTS
    ]


def shown(page: Page, site: Path, fragment: str = "") -> None:
    page.goto((site / "chapters" / "your-progress.html").as_uri() + fragment)
    expect(page.locator(".mha-live-view table")).to_have_count(2)


def test_the_page_has_every_chapter_and_every_task() -> None:
    state = your_progress(ROOT / "_toc.yml", ROOT / "exercises").state
    assert {one["page"]: one["questions"] for one in state["pages"]}[CHAPTER] == 6
    names = {one["name"]: len(one["tasks"]) for one in state["assignments"]}
    assert names == {one.name: len(one.tasks) for one in ASSIGNMENTS}


def test_what_the_command_writes_is_what_the_page_reads(page: Page) -> None:
    given = your_progress(ROOT / "_toc.yml", ROOT / "exercises").state["assignments"]
    address = link(standings(3), "https://book.example/")
    start, _, fragment = address.partition("#")
    assert start == "https://book.example/chapters/your-progress.html"
    read = call(page, "your_progress", "tasksOf(...given)", [f"#{fragment}", given])
    assert read == {one["name"]: [task["number"] for task in one["tasks"][-3:]] for one in given}
    assert any(number.startswith("w") for number in read["heads"])


@pytest.mark.parametrize("fragment", ["", "#", "#heads", "#the-tasks", "#%", "#unknown=1.2"])
def test_other_addresses_say_nothing_of_tasks(page: Page, fragment: str) -> None:
    given = your_progress(ROOT / "_toc.yml", ROOT / "exercises").state["assignments"]
    read = call(page, "your_progress", "tasksOf(...given)", [fragment, given])
    assert read in (None, {"heads": []})
    assert (read is None) == (fragment != "#heads")


def test_a_chapter_and_its_self_check_appear(page: Page, site: Path) -> None:
    shown(page, site)
    assert "6 questions" in row(page, "How many heads?")
    page.goto((site / "chapters" / f"{CHAPTER}.html").as_uri())
    question = page.locator(".mha-question").filter(has=page.locator("button.mha-choice")).first
    for choice in question.locator("button.mha-choice").all():
        choice.click()  # in turn, until it is the right one
        if question.get_attribute("data-state") == "right":
            break
    page.locator(".mha-progress").scroll_into_view_if_needed()
    expect(page.get_by_label("I have finished this page")).to_be_checked()
    tries = question.locator(".mha-question-mark").inner_text()

    shown(page, site)

    first = 1 if "first try" in tries else 0
    says = f"✓ read 1 of 6 answered, {first} at the first try"
    assert says in row(page, "How many heads?")
    assert "✓ read" not in row(page, "What heads cost")


def test_a_link_brings_tasks_and_they_stay(page: Page, site: Path) -> None:
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url))
    (heads,) = (one for one in ASSIGNMENTS if one.name == "heads")
    left = heads.tasks[:-3]
    shown(page, site, "#" + link(standings(3), "").partition("#")[2])
    says = f"heads 3 of {len(heads.tasks)} {sum(task.minutes for task in left)} min "
    assert row(page, "heads").startswith(says + f"{left[0].number} · {left[0].title}")
    assert "#" not in page.url
    expect(page.locator(".mha-live-view [role=status]")).to_contain_text("stay in this browser")
    assert {url.partition(":")[0] for url in sent} <= {"file", "blob", "data"}

    shown(page, site)
    assert row(page, "heads").startswith(says)
    # a newer link, opened in the same tab, replaces it
    page.evaluate("location.hash = 'heads='")
    page.wait_for_function("!location.hash")
    assert row(page, "heads").startswith(f"heads 0 of {len(heads.tasks)} ")


@pytest.mark.parametrize("broken", BROKEN_STORAGE)
def test_a_browser_that_keeps_nothing_shows_the_link_all_the_same(
    page: Page, site: Path, broken: str
) -> None:
    page.add_init_script(broken)
    shown(page, site, "#heads=1.2")
    assert row(page, "heads").startswith("heads 2 of ")
