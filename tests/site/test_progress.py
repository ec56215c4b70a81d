"""Pages that a reader has finished are marked in the contents, in this browser only."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from live_pages import BROKEN_STORAGE
from playwright.sync_api import Browser, BrowserContext, Page, expect

FIRST, SECOND = "one-head-is-not-enough", "cutting-d-model-into-heads"
MARKED = "nav.bd-docs-nav a.mha-finished"


@pytest.fixture
def reader(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    yield context
    context.close()


def opened(reader: BrowserContext, site: Path, name: str) -> Page:
    page = reader.new_page()
    page.goto((site / "chapters" / f"{name}.html").as_uri())
    return page


def read_to_the_end(page: Page) -> None:
    page.locator(".mha-progress").scroll_into_view_if_needed()
    expect(page.get_by_label("I have finished this page")).to_be_checked()


def test_a_page_that_was_read_to_its_end_is_marked_on_every_page(
    reader: BrowserContext, site: Path
) -> None:
    page = opened(reader, site, FIRST)
    assert page.locator(MARKED).count() == 0
    read_to_the_end(page)
    expect(page.locator(MARKED)).to_have_count(1)
    expect(page.locator(".mha-progress [role=status]")).to_have_text(
        re.compile(r"^1 of \d\d pages finished\.$")
    )
    other = opened(reader, site, SECOND)
    expect(other.locator(MARKED)).to_have_text("One head is not enough (finished)")
    expect(other.get_by_label("I have finished this page")).not_to_be_checked()


def test_the_start_of_a_page_is_not_its_end(reader: BrowserContext, site: Path) -> None:
    page = opened(reader, site, FIRST)
    page.wait_for_timeout(1500)
    assert page.locator(MARKED).count() == 0


def test_the_keyboard_takes_a_mark_back_and_forgets_all(reader: BrowserContext, site: Path) -> None:
    page = opened(reader, site, FIRST)
    read_to_the_end(page)
    own = page.get_by_label("I have finished this page")
    own.press("Space")
    expect(page.locator(MARKED)).to_have_count(0)
    page.wait_for_timeout(1500)  # what the reader says counts more than where the page is
    expect(own).not_to_be_checked()
    own.press("Space")
    expect(page.locator(MARKED)).to_have_count(1)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator(MARKED)).to_have_count(0)
    expect(own).to_be_focused()
    expect(page.get_by_role("button", name="Forget all")).to_be_disabled()
    assert page.evaluate("Object.keys(localStorage).filter(key => key.includes('finished'))") == []


def test_marks_of_another_tab_appear(reader: BrowserContext, site: Path) -> None:
    waiting, page = opened(reader, site, SECOND), opened(reader, site, FIRST)
    read_to_the_end(page)
    expect(waiting.locator(MARKED)).to_have_count(1)


@pytest.mark.parametrize("broken", BROKEN_STORAGE)
def test_a_browser_that_keeps_nothing_shows_no_error(
    reader: BrowserContext, site: Path, broken: str
) -> None:
    reader.add_init_script(broken)
    page = reader.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto((site / "chapters" / f"{FIRST}.html").as_uri())
    page.evaluate("document.querySelector('.mha-progress').scrollIntoView()")
    page.wait_for_timeout(1200)
    assert [error for error in errors if "no" not in error and "full" not in error] == []
    keeps = "42" in broken or "json" in broken
    assert page.locator(".mha-progress").is_visible() == keeps


def test_nothing_moves_when_the_marks_come(reader: BrowserContext, site: Path) -> None:
    page = opened(reader, site, FIRST)
    places = "[...document.querySelectorAll('nav.bd-docs-nav a')].map(a => a.offsetTop)"
    heights = "document.querySelector('.mha-progress').offsetHeight"
    before = page.evaluate(places), page.evaluate(heights)
    read_to_the_end(page)
    assert (page.evaluate(places), page.evaluate(heights)) == before


def test_the_first_page_counts_too_which_no_contents_name(
    reader: BrowserContext, site: Path
) -> None:
    page = opened(reader, site, "start")
    read_to_the_end(page)
    expect(page.locator(".mha-progress [role=status]")).to_contain_text("1 of ")
    table = opened(reader, site, "your-progress")
    row = table.locator("tr", has=table.get_by_role("rowheader", name="Multi-head attention"))
    expect(row).to_contain_text("✓ read")
    expect(table.locator(".mha-progress [role=status]")).to_contain_text("1 of ")
