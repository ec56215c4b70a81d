"""What a reader only notices when it is wrong: icons, and what must stay on one line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page
from typography_extension import tied

CHAPTER = "chapters/how-many-heads.html"
FORMULA = '<span class="math notranslate nohighlight">\\(W_O\\)</span>'


@pytest.fixture(params=[360, 1280], ids=["phone", "laptop"])
def page(browser: Browser, site: Path, request: pytest.FixtureRequest) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": request.param, "height": 800})
    page.goto((site / CHAPTER).as_uri())
    yield page
    page.close()


def test_every_button_of_the_header_shows_a_drawing(page: Page) -> None:
    bare = page.evaluate(
        """() => [...document.querySelectorAll('.bd-header-article :is(.btn, button)')]
            .filter(button => button.checkVisibility())
            .filter(button => ![...button.querySelectorAll('svg')].some(
                svg => svg.checkVisibility() && svg.getBoundingClientRect().width > 8))
            .map(button => button.outerHTML)"""
    )
    assert bare == []
    assert page.locator(".bd-header-article .btn:visible").count() >= 4


@pytest.mark.parametrize("mode", ["auto", "light", "dark"])
def test_the_switch_between_light_and_dark_shows_where_it_stands(page: Page, mode: str) -> None:
    page.evaluate("mode => { document.documentElement.dataset.mode = mode; }", mode)
    shown = page.locator(".bd-header-article .theme-switch:visible")
    assert shown.get_attribute("data-mode") == mode


def test_no_icon_waits_for_a_font(site: Path) -> None:
    for file in [site / CHAPTER, site / "search.html", site / "genindex.html"]:
        text = file.read_text(encoding="utf-8")
        assert '<span class="fa' not in text
        assert '<i class="fa' not in text


@pytest.mark.parametrize(
    ("given", "becomes"),
    [
        ("<td>33 %</td>", "<td>33&#160;%</td>"),
        (f"{FORMULA}, and", f'<span class="mha-together">{FORMULA},</span> and'),
        # from one formula to the comma after another one is a whole paragraph
        (f"{FORMULA} is {FORMULA}.", f'{FORMULA} is <span class="mha-together">{FORMULA}.</span>'),
        ("on 2026-11-21", 'on <span class="mha-together">2026-11-21</span>'),
    ],
)
def test_what_belongs_together_is_tied(given: str, becomes: str) -> None:
    assert tied(given) == becomes


@pytest.mark.parametrize(
    "given",
    [
        "<pre>5 % 3 on 2026-11-21</pre>",
        "<code>a[1 % b]</code>",
        '<script>let s = "<p>33 %";</script>',
        "<svg><text>33 %</text></svg>",
        '<a href="x-2026-11-21.html" title="5 %">it</a>',
        f"{FORMULA} is",
        "a %",
    ],
)
def test_the_rest_is_left_as_it_is(given: str) -> None:
    assert tied(given) == given
