"""Every page of the built book in a real browser: wide and narrow, light and dark."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

ROOT = Path(__file__).parents[2]
SHORTEST_DESCRIPTION = 40


def files_in(toc: Any) -> list[str]:
    """Every page that the table of contents names, however deep."""
    if isinstance(toc, list):
        return [name for item in toc for name in files_in(item)]
    if not isinstance(toc, dict):
        return []
    own = [toc[key] for key in ("root", "file") if key in toc]
    return own + [name for value in toc.values() for name in files_in(value)]


CHAPTERS = files_in(yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8")))
ADDRESSES = [f"{name}.html" for name in CHAPTERS] + ["search.html?q=softmax", "genindex.html"]
WIDTHS = {"laptop": 1280, "phone": 360}
QUICK = [("light", "laptop"), ("dark", "phone")]
COLOUR_RULES = ["color-contrast", "link-in-text-block"]
# Code is the same everywhere, thousands of small parts, and half of what axe looks at
WITH_CODE = "chapters/one-head-is-not-enough.html"


class Visit(NamedTuple):
    """One page, loaded by a reader who comes for the first time."""

    page: Page
    address: str
    scheme: str
    problems: list[str]


@pytest.fixture(scope="module")
def windows(browser: Browser) -> Iterator[dict[tuple[str, str], Page]]:
    """A window for each colour scheme and width: to open one anew costs as much as half a page."""
    contexts = {
        (scheme, width): browser.new_context(
            color_scheme=scheme,
            viewport={"width": pixels, "height": 800},
            reduced_motion="reduce",  # what is opened is there at once
        )
        for scheme in ("light", "dark")
        for width, pixels in WIDTHS.items()
    }
    yield {kind: context.new_page() for kind, context in contexts.items()}
    for context in contexts.values():
        context.close()


@pytest.fixture(
    scope="module",
    params=[
        # each page in both schemes and both widths; the other two combinations take their time
        pytest.param((a, s, w), marks=() if (s, w) in QUICK else pytest.mark.slow)
        for a in ADDRESSES
        for s in ("light", "dark")
        for w in WIDTHS
    ],
    ids=lambda given: f"{Path(given[0]).stem}-{given[1]}-{given[2]}",
)
def visit(
    request: pytest.FixtureRequest, windows: dict[tuple[str, str], Page], site: Path
) -> Iterator[Visit]:
    address, scheme, width = request.param
    path, _, query = address.partition("?")
    if not (site / path).exists():
        pytest.fail(f"the built book has no {path}: run `make book` first")
    problems: list[str] = []

    def ask_for(url: str) -> None:
        if not url.startswith(("file:", "data:", "blob:")):
            problems.append(f"request to {url}")

    listeners: dict[str, Callable[[Any], None]] = {
        "console": lambda m: problems.append(m.text) if m.type == "error" else None,
        "pageerror": lambda error: problems.append(str(error)),
        "requestfailed": lambda r: problems.append(f"failed: {r.url}"),
        "request": lambda r: ask_for(r.url),
    }
    page = windows[scheme, width]
    for event, listener in listeners.items():
        page.on(event, listener)
    page.goto((site / path).as_uri() + (f"?{query}" if query else ""))
    if query:
        page.wait_for_function("document.body.innerText.includes('Search finished')")
        page.wait_for_timeout(200)  # what it found may load more
    yield Visit(page, address, scheme, problems)
    page.evaluate("localStorage.clear(), sessionStorage.clear()")  # the next is a first visit too
    for event, listener in listeners.items():
        page.remove_listener(event, listener)


def test_page_loads_in_silence_and_from_this_folder_alone(visit: Visit) -> None:
    assert visit.problems == []


def test_page_takes_the_readers_colour_scheme(visit: Visit) -> None:
    assert visit.page.evaluate("document.documentElement.dataset.theme") == visit.scheme


def test_page_never_scrolls_sideways(visit: Visit) -> None:
    too_wide = "document.documentElement.scrollWidth > innerWidth"
    assert not visit.page.evaluate(too_wide)
    open_all(visit.page)
    assert not visit.page.evaluate(too_wide), "once everything that is folded is open"
    own = visit.page.viewport_size
    if own is not None and own["width"] == WIDTHS["laptop"]:
        # what a browser does that enlarges a page to 200 %
        visit.page.set_viewport_size({"width": own["width"] // 2, "height": own["height"] // 2})
        assert not visit.page.evaluate(too_wide), "at 200 %"
        visit.page.set_viewport_size(own)


def test_no_reader_is_left_out(visit: Visit) -> None:
    """Axe looks for what keeps readers with a screen reader or a keyboard out.

    All its rules in light; in dark those about colours, which alone can differ there. Code is
    looked at on one page.
    """
    # what passes takes five times as long; to preload is to ask for files, which a folder forbids
    options: dict[str, Any] = {"resultTypes": ["violations"], "preload": False}
    if visit.scheme == "dark":
        options["runOnly"] = COLOUR_RULES
    left_out = None if visit.address == WITH_CODE else {"exclude": [[".highlight"]]}
    found = Axe().run(visit.page, context=left_out, options=options)
    assert found.violations_count == 0, found.generate_report()


def test_figures_are_seen_and_described(visit: Visit) -> None:
    open_all(visit.page)
    figures = visit.page.evaluate(
        """[...document.querySelectorAll('article svg[role=img]:not([aria-hidden=true])')]
            .filter(svg => !svg.closest('mjx-container, .mha-live-fallback'))
            .map(svg => ({label: svg.getAttribute('aria-label') ?? '',
                          seen: svg.checkVisibility(),
                          width: svg.getBoundingClientRect().width,
                          height: svg.getBoundingClientRect().height}))"""
    )
    for figure in figures:
        assert len(figure["label"]) >= SHORTEST_DESCRIPTION, figure
        assert figure["seen"], figure
        assert min(figure["width"], figure["height"]) > 30, figure


def test_text_in_figures_stands_out_from_the_page(visit: Visit) -> None:
    faint = visit.page.evaluate(
        """() => {
            const channels = colour => colour.match(/[\\d.]+/g).slice(0, 3).map(Number);
            const luminance = colour => {
                const [r, g, b] = channels(colour).map(c => c / 255).map(
                    c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
                return 0.2126 * r + 0.7152 * g + 0.0722 * b;
            };
            const page = luminance(getComputedStyle(document.body).backgroundColor);
            return [...document.querySelectorAll('.mha-figure svg text')].filter(text => {
                const own = luminance(getComputedStyle(text).fill);
                return (Math.max(own, page) + 0.05) / (Math.min(own, page) + 0.05) < 3;
            }).map(text => text.textContent);
        }"""
    )
    assert faint == []


def test_pictures_have_a_description_that_is_no_path(visit: Visit) -> None:
    for alt in visit.page.evaluate(
        "[...document.images].map(image => image.getAttribute('alt') ?? '')"
    ):
        assert alt.strip()
        assert not re.search(r"[/\\]|\.(png|svg|jpe?g|gif|webp)$", alt), alt


def test_no_cell_failed_or_complained(visit: Visit) -> None:
    assert visit.page.locator(".output.stderr, .output.traceback").count() == 0
    for output in visit.page.locator(".cell_output").all_text_contents():
        assert "Traceback" not in output


def test_no_markup_is_left_in_the_text(visit: Visit) -> None:
    article = "".join(visit.page.locator("article").all_text_contents())
    code = "".join(visit.page.locator("article .highlight").all_text_contents())
    for left_over in ("{glue:", "{ref}", "{numref}", "{cite", "{doc}", ":::"):
        assert article.count(left_over) == code.count(left_over)


def test_maths_is_set(visit: Visit) -> None:
    """Every formula is seen in the colour of the text around it, and said by a screen reader."""
    wrong = visit.page.evaluate(
        """[...document.querySelectorAll('.math')].filter(formula => {
            const drawn = formula.querySelector('mjx-container > svg');
            const letter = drawn?.querySelector('use, rect');
            const seen = formula.checkVisibility();  // what a self-check says is not, until asked
            return !letter
                || seen && drawn.getBoundingClientRect().width < 3
                || seen && letter.getBoundingClientRect().width === 0
                || getComputedStyle(letter).fill !== getComputedStyle(formula).color
                || !formula.querySelector('mjx-assistive-mml math')?.textContent.trim();
        }).map(formula => formula.textContent)"""
    )
    assert wrong == []


def test_search_finds_pages(browser: Browser, site: Path) -> None:
    page = browser.new_page()
    page.goto(f"{(site / 'search.html').as_uri()}?q=softmax")
    page.wait_for_function("document.body.innerText.includes('Search finished')")
    assert "One head is not enough" in page.locator("#search-results li a").all_text_contents()
    page.close()


def open_all(page: Page) -> None:
    page.evaluate("document.querySelectorAll('details').forEach(folded => folded.open = true)")


def test_the_book_has_chapters() -> None:
    assert len(CHAPTERS) >= 4


def test_these_tests_see_what_is_wrong(browser: Browser, tmp_path: Path) -> None:
    """A page with every fault that the tests above look for."""
    bad = tmp_path / "bad.html"
    bad.write_text(
        """<!doctype html><html data-theme="odd"><body style="background: #fff"><article>
        <div style="width: 3000px">wide {glue:text}`x`</div>
        <div class="mha-figure"><svg role="img" aria-label="short" width="99" height="99">
        <text fill="#eee">faint</text></svg></div>
        <img src="gone.png" alt="_images/gone.png"><span class="math">x</span>
        <div class="cell_output"><div class="output stderr">Traceback</div></div>
        </article></body></html>"""
    )
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    problems: list[str] = []
    page.on("requestfailed", lambda request: problems.append(request.url))
    page.goto(bad.as_uri())
    visit = Visit(page, "bad.html", "light", problems)
    tests = [
        test_page_loads_in_silence_and_from_this_folder_alone,
        test_page_takes_the_readers_colour_scheme,
        test_page_never_scrolls_sideways,
        test_no_reader_is_left_out,
        test_figures_are_seen_and_described,
        test_text_in_figures_stands_out_from_the_page,
        test_pictures_have_a_description_that_is_no_path,
        test_no_cell_failed_or_complained,
        test_no_markup_is_left_in_the_text,
        test_maths_is_set,
    ]
    for test in tests:
        with pytest.raises(AssertionError):
            test(visit)
    page.close()
