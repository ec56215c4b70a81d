"""What is far below waits until a page can be read, and then comes by itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import PATIENCE
from playwright.sync_api import Browser, Page, ViewportSize

CHAPTER = "one-head-is-not-enough"
LAST = "check-yourself"
PHONE: ViewportSize = {"width": 412, "height": 823}
# Of each cell: whether the browser has left it out so far
SKIPPED = """[...document.querySelectorAll(".bd-article .cell")]
    .map((cell) => !cell.firstElementChild.checkVisibility({ contentVisibilityAuto: true }))"""
NEVER_IDLE = "window.requestIdleCallback = () => {};"


@pytest.fixture
def reader(browser: Browser) -> Iterator[Page]:
    """A browser that has time for nothing but what it must do."""
    page = browser.new_page(viewport=PHONE)
    page.add_init_script(NEVER_IDLE)
    yield page
    page.close()


def opened(page: Page, site: Path, where: str = "") -> Page:
    page.goto((site / "chapters" / f"{CHAPTER}.html").as_uri() + where)
    return page


def test_what_is_far_below_waits(reader: Page, site: Path) -> None:
    opened(reader, site)
    reader.wait_for_timeout(500)
    skipped = reader.evaluate(SKIPPED)
    assert not skipped[0]
    assert sum(skipped) > len(skipped) / 2


def test_where_a_reader_comes_it_is_there(reader: Page, site: Path) -> None:
    opened(reader, site)
    last = reader.locator(".bd-article .cell").last
    last.scroll_into_view_if_needed()
    reader.wait_for_timeout(500)
    assert not reader.evaluate(SKIPPED)[-1]


def test_all_of_it_comes_when_the_browser_has_time(browser: Browser, site: Path) -> None:
    page = browser.new_page(viewport=PHONE)
    opened(page, site).wait_for_selector("html:not([data-below])", timeout=PATIENCE)
    assert not any(page.evaluate(SKIPPED))
    # and Tab stops at what scrolls, also there
    page.wait_for_function(
        """() => [...document.querySelectorAll(".bd-article pre")].every(
            (code) => (code.scrollWidth > code.clientWidth) === (code.tabIndex === 0))"""
    )
    assert page.locator(".bd-article pre[tabindex='0']").count() > 0
    page.close()


def test_who_comes_to_a_place_or_back_gets_all_at_once(reader: Page, site: Path) -> None:
    opened(reader, site, f"#{LAST}")
    assert not any(reader.evaluate(SKIPPED))
    assert abs(reader.locator(f"#{LAST}").bounding_box()["y"]) < PHONE["height"]
    opened(reader, site)
    reader.reload()
    assert not any(reader.evaluate(SKIPPED))
