"""The whole book as one PDF: printed once, then looked at page by page."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from bs4 import BeautifulSoup, Tag
from playwright.sync_api import Browser, Page
from pypdf import PdfReader
from pypdf.generic import Destination

from mha_course.pdf.__main__ import NAME
from mha_course.pdf.pages import FIRST, STYLES, whole_book
from mha_course.pdf.printer import page_numbers

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
CITATION = ROOT / "CITATION.cff"
PATIENCE = 600  # seconds; alone it takes 20
TEXT_WIDTH = 627  # pixels: A4 without its margins
FOOT = 80  # points from the bottom: below it, a heading has no line under it


def run(*given: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command; in a process of its own, since Playwright is at work in this one."""
    return subprocess.run(
        [sys.executable, "-m", "mha_course.pdf", *map(str, given)],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


class Printed(NamedTuple):
    """The PDF, and the page that it was printed from."""

    pdf: PdfReader
    page: Path


class Heading(NamedTuple):
    """An entry of the outline."""

    level: int
    title: str
    page: int
    top: float


@pytest.fixture(scope="module")
def printed(site: Path, browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Printed:
    del browser  # without Chromium all of this is skipped
    folder = tmp_path_factory.mktemp("pdf")
    done = run("--site", site, "--to", folder)
    assert done.returncode == 0, done.stderr
    return Printed(PdfReader(folder / NAME), folder / "book.html")


@pytest.fixture(scope="module")
def outline(printed: Printed) -> list[Heading]:
    def entries(items: list[Any], level: int) -> Iterator[Heading]:
        for item in items:
            if isinstance(item, Destination):
                page = printed.pdf.get_destination_page_number(item)
                assert page is not None
                yield Heading(level, str(item.title), page + 1, float(item.top or 0))
            else:
                yield from entries(item, level + 1)

    return list(entries(printed.pdf.outline, 1))


@pytest.fixture(scope="module")
def paper(printed: Printed, browser: Browser) -> Iterator[Page]:
    """The page as it is laid out on paper."""
    page = browser.new_page(viewport={"width": TEXT_WIDTH, "height": 900}, color_scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    page.goto(printed.page.as_uri())
    yield page
    page.close()


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[str, Tag]:
    """What is on each page of the site, in the order of the contents, by its heading."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    names = [toc["root"], *(one["file"] for part in toc["parts"] for one in part["chapters"])]
    found = {}
    for name in names:
        text = (site / f"{name}.html").read_text(encoding="utf-8")
        article = BeautifulSoup(text, "html.parser").select_one("article.bd-article")
        assert article is not None
        heading = article.select_one("h1")
        assert heading is not None
        found[heading.get_text().removesuffix("#")] = article
    return found


def squeezed(text: str) -> str:
    """Leave out all space: lines break elsewhere on paper."""
    return re.sub(r"\s", "", text)


# ------------------------------------------------------------------------------- the whole book


def test_the_outline_has_all_chapters_in_order(
    outline: list[Heading], pages: dict[str, Tag]
) -> None:
    assert [entry.title for entry in outline if entry.level == 1] == ["Contents", *pages]
    begins = [entry.page for entry in outline if entry.level == 1]
    assert begins == sorted(set(begins)), "every chapter begins on a page of its own"
    sections = [h.get_text().removesuffix("#") for p in pages.values() for h in p.select("h2")]
    assert [squeezed(entry.title) for entry in outline if entry.level == 2] == [
        squeezed(title) for title in sections
    ]


def test_no_heading_is_left_alone_at_the_foot_of_a_page(outline: list[Heading]) -> None:
    assert len(outline) > 100
    assert [entry for entry in outline if 0 < entry.top < FOOT] == []


def test_the_contents_say_on_which_page_it_is(printed: Printed, outline: list[Heading]) -> None:
    last = next(entry.page for entry in outline[1:] if entry.level == 1)
    text = "|".join(squeezed(printed.pdf.pages[i].extract_text()) for i in range(1, last - 1))
    at = 0
    for entry in outline[1:]:
        if entry.level < 3:
            line = re.compile(rf"{re.escape(squeezed(entry.title))}{entry.page}(?!\d)")
            found = line.search(text, at)
            assert found, f"{entry.title}, page {entry.page}"
            at = found.end()


def test_every_link_leads_somewhere(printed: Printed, pages: dict[str, Tag]) -> None:
    places = printed.pdf.named_destinations
    inside, outside = 0, set()
    for page in printed.pdf.pages:
        for note in page.get("/Annots", []):
            link = note.get_object()
            if "/Dest" in link:
                assert link["/Dest"] in places
                inside += 1
            elif "/A" in link:
                outside.add(str(link["/A"]["/URI"]).rstrip("/"))
    assert all(address.startswith(("https://", "http://")) for address in outside), outside
    wanted = {a["href"] for p in pages.values() for a in p.select("a[href^=http]")}
    assert outside == {str(one).rstrip("/") for one in wanted}
    assert inside > sum(len(page.select("a.reference.internal")) for page in pages.values())


def test_no_page_is_empty_and_the_book_is_as_long_as_it_should_be(printed: Printed) -> None:
    assert 100 < len(printed.pdf.pages) < 500
    for number, page in enumerate(printed.pdf.pages, start=1):
        contents = page.get_contents()
        assert contents is not None
        # a footer alone is some 700 bytes
        assert len(contents.get_data()) > 2000, f"page {number}"


def test_the_title_page_says_what_it_is_and_how_to_cite_it(printed: Printed) -> None:
    text = squeezed(printed.pdf.pages[0].extract_text())
    cited = yaml.safe_load(CITATION.read_text(encoding="utf-8"))
    for part in (
        cited["title"],
        f"Version {cited['version']}",
        "How to cite",
        str(date.today().year),
    ):
        assert squeezed(part) in text
    assert printed.pdf.metadata is not None
    assert printed.pdf.metadata.title == cited["title"]


def test_answers_are_in_the_text_of_the_pdf(
    printed: Printed, outline: list[Heading], pages: dict[str, Tag]
) -> None:
    """Text, not a picture: what is folded on the site can be searched for."""
    title, first = next(iter(pages.items()))
    begin, end = [entry.page for entry in outline if entry.level == 1][1:3]
    text = ""
    for number in range(begin, end):
        page = squeezed(printed.pdf.pages[number - 1].extract_text())
        text += page.removeprefix(f"{squeezed(title)}{number}")
    whys = [squeezed(p.get_text()) for p in first.select("details.mha-choice > p")]
    assert len(whys) > 5
    assert [why for why in whys if why not in text] == []


# ---------------------------------------------------------------------------- as it is laid out


def test_nothing_folded_is_missing(paper: Page, pages: dict[str, Tag]) -> None:
    shown = squeezed(paper.evaluate("document.body.innerText"))
    folded = [
        part
        for page in pages.values()
        for part in page.select("details :is(p, li, pre, td)")
        if not part.select_one("mjx-container, p, .headerlink")
        and part.find_parent("summary") is None
    ]
    assert len(folded) > 1000
    missing = {part.get_text() for part in folded if squeezed(part.get_text()) not in shown}
    assert missing == set()
    assert paper.locator("details:not([open])").count() == 0


def test_live_figures_have_their_fallbacks_and_nothing_can_be_pressed(
    paper: Page, pages: dict[str, Tag]
) -> None:
    heights = paper.evaluate(
        "[...document.querySelectorAll('.mha-live-fallback')].map(e => e.offsetHeight)"
    )
    assert len(heights) == sum(len(page.select(".mha-live-view")) for page in pages.values()) > 4
    assert min(heights) > 30
    assert paper.locator(".mha-live-view").count() == 0
    assert paper.locator("button, input, select, textarea, script").count() == 0


def test_all_figures_and_formulas_are_there(paper: Page, pages: dict[str, Tag]) -> None:
    for what in ("figure", ".mha-figure > svg[role=img]", "mjx-container > svg", "table"):
        wanted = sum(len(page.select(what)) for page in pages.values())
        seen = paper.evaluate(
            "what => [...document.querySelectorAll(`main ${what}`)].filter("
            "e => e.checkVisibility() && e.getBoundingClientRect().height > 3"
            # what is said of an answer stands under the last question a second time
            " || e.closest('.mha-quiz details')).length",
            what,
        )
        assert seen == wanted > 10, what
    letters = paper.locator("main use[href]")
    assert letters.count() > 1000
    lost = letters.evaluate_all(
        "all => all.map(use => use.getAttribute('href').slice(1))"
        ".filter(id => !document.getElementById(id)).length"
    )
    assert lost == 0, "a letter of a formula, or a mark in a figure, is not on the page"
    spoken = paper.locator("mjx-container > svg").evaluate_all(
        "all => all.map(svg => svg.getAttribute('aria-label'))"
    )
    assert all(spoken)
    left = paper.evaluate(
        "[...document.querySelectorAll('main :is(p, li, td, dd, figcaption)')]"
        ".filter(e => !e.querySelector('pre, code') && /\\\\[(\\[]/.test(e.textContent)).length"
    )
    assert left == 0


def test_nothing_is_cut_at_the_right_edge(paper: Page) -> None:
    assert too_wide(paper) == []


def too_wide(page: Page) -> list[str]:
    """What reaches over the edge of the paper, or hides some of itself."""
    wide: list[str] = page.evaluate(
        """width => [...document.body.querySelectorAll("*")].filter(e => !e.closest("svg"))
            .filter(e => e.checkVisibility() && (e.getBoundingClientRect().right > width + 1
                || getComputedStyle(e).overflowX !== "visible"
                && e.scrollWidth > e.clientWidth + 1))
            .map(e => `${e.tagName} ${e.className}: ${e.textContent.slice(0, 60)}`)""",
        TEXT_WIDTH,
    )
    return wide


def test_it_is_light_and_no_text_is_tiny(paper: Page) -> None:
    """In a dark window, too."""
    faint = paper.evaluate(
        """[...document.querySelectorAll("main :is(p, li, td, th, pre, code, dt, h1, h2, h3)")]
            .filter(e => e.checkVisibility())
            .map(e => [e.tagName, getComputedStyle(e), e.textContent])
            .filter(([, style, text]) => text.trim() && (parseFloat(style.fontSize) < 8.5
                || style.color.match(/\\d+/g).slice(0, 3).every(value => value > 120)))
            .map(([tag, style, text]) => `${tag} ${style.fontSize} ${text.slice(0, 40)}`)"""
    )
    assert faint == []


def test_these_tests_see_what_is_wrong(browser: Browser, tmp_path: Path) -> None:
    bad = tmp_path / "bad.html"
    bad.write_text(
        "<body><main><pre style='overflow: hidden; width: 90px'>a long line is cut here</pre>"
        "<p style='width: 900px'>wide</p><p style='font-size: 5px'>tiny</p>"
        "<details><p>closed</p></details><button>press</button></main>"
    )
    page = browser.new_page(viewport={"width": TEXT_WIDTH, "height": 900})
    page.goto(bad.as_uri())
    assert len(too_wide(page)) == 2
    inside = "<article><details><p>closed</p></details></article>"
    pages = {"Bad": BeautifulSoup(inside, "html.parser")}
    tests: list[Callable[[], None]] = [
        lambda: test_nothing_folded_is_missing(page, pages),
        lambda: test_live_figures_have_their_fallbacks_and_nothing_can_be_pressed(page, pages),
        lambda: test_all_figures_and_formulas_are_there(page, pages),
        lambda: test_nothing_is_cut_at_the_right_edge(page),
        lambda: test_it_is_light_and_no_text_is_tiny(page),
    ]
    for test in tests:
        with pytest.raises(AssertionError):
            test()
    page.close()


# ------------------------------------------------------------------------------ a book of two pages


START = (
    '<h1>Start<a class="headerlink" href="#start">#</a></h1>'
    '<p id="same"><a href="two.html#same">there</a></p>'
)
TWO = (
    '<span id="id1"></span><h1>Two</h1>'
    '<p id="same"><a href="#same">here</a> <a href="start.html">back</a> '
    '<a href="../_downloads/x.json">file</a> <a href="https://example.org/a/">away</a></p>'
    '<details class="admonition hide"><summary><p class="collapsed">Show code cell source</p>'
    '<p class="expanded">Hide code cell source</p></summary><pre>code</pre></details>'
    '<details class="admonition hide"><summary><p class="collapsed">All tasks</p></summary>'
    "<p>tasks</p></details><details><summary>More</summary><p>more</p></details>"
    '<div class="mha-live"><div class="mha-live-view"></div>'
    '<div class="mha-live-fallback">still</div></div>'
)


@pytest.fixture
def small(tmp_path: Path) -> Callable[..., Path]:
    def make(start: str = START, two: str = TWO) -> Path:
        folder = tmp_path / "site"
        for name in (*STYLES, "cover.svg"):
            file = folder / "_static" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("<svg xmlns='http://www.w3.org/2000/svg'/>" * (name == "cover.svg"))
        (folder / "chapters").mkdir()
        for name, body in (("start", start), ("two", two)):
            if body:
                (folder / "chapters" / f"{name}.html").write_text(
                    "<nav class='bd-links'><p class='caption'>Part</p><ul>"
                    "<li class='toctree-l1'><a href='two.html'>Two</a></li></ul></nav>"
                    f"<article class='bd-article'><section id='{name}'>{body}</section></article>"
                )
        return folder

    return make


def test_a_book_of_two_pages(small: Callable[..., Path]) -> None:
    text = whole_book(small(), CITATION, "../site", date(2026, 1, 2))
    book = BeautifulSoup(text, "html.parser")
    links = {a.get_text(): a["href"] for a in book.select("main a")}
    assert links == {
        "there": "#two--same",
        "here": "#two--same",
        "back": "#start",
        "away (example.org/a)": "https://example.org/a/",
    }
    ids = [node["id"] for node in book.select("[id]")]
    assert len(ids) == len(set(ids))
    assert "printed on 2 January 2026" in book.get_text()
    assert "code cell source" not in book.get_text()
    assert [p.get_text() for p in book.select("p.unfolded-label")] == ["All tasks"]
    assert "open" in book.select("details")[0].attrs
    assert book.select(".mha-live-view") == []
    assert "still" in book.get_text()
    assert [h["id"] for h in book.select("h1[id]")] == ["start--start", "two--two"]
    assert book.select_one("h1 > #two--id1") is not None, "a target goes with its heading"
    assert [a["href"] for a in book.select("nav a")] == ["#start", "#two"]


@pytest.mark.parametrize(
    ("start", "two", "error", "said"),
    [
        (
            '<h1>S</h1><a href="two.html#gone">x</a>',
            TWO,
            ValueError,
            "#two--gone in chapters/start",
        ),
        (START, "", FileNotFoundError, r"two\.html is missing: run `make book` first"),
        ("", TWO, FileNotFoundError, r"start\.html is missing"),
        (
            "<h1>S</h1>",
            r'<h1>T</h1><span class="math">\(x^2\)</span>',
            ValueError,
            r"not set: \\\(x\^2",
        ),
        ("<p>no heading</p>", TWO, ValueError, "has no 'article h1'"),
    ],
)
def test_a_book_that_is_not_whole_is_not_printed(
    small: Callable[..., Path], start: str, two: str, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        whole_book(small(start, two), CITATION, "../site", date(2026, 1, 2))


@pytest.mark.usefixtures("browser")
@pytest.mark.parametrize("source", ["gone.png", "http://127.0.0.1:9/x.png"])
def test_a_picture_that_is_not_in_the_book_stops_it(
    small: Callable[..., Path], tmp_path: Path, source: str
) -> None:
    site = small(START + f'<img src="{source}" alt="x">')
    done = run("--site", site, "--to", tmp_path / "out")
    assert done.returncode == 1
    assert re.fullmatch(r"no PDF: cannot load \S*/\S+\.png\n", done.stderr)
    assert not (tmp_path / "out" / NAME).exists()


def test_without_chromium_it_says_what_is_missing(
    small: Callable[..., Path], tmp_path: Path
) -> None:
    done = run("--site", small(), "--to", tmp_path / "out", PATH=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr == (
        "no PDF: printing needs Chromium or Chrome on PATH: "
        "apt install chromium, or install Chrome\n"
    )


def test_page_numbers_count_from_one(printed: Printed, outline: list[Heading]) -> None:
    numbers = page_numbers(printed.pdf)
    second = [entry.page for entry in outline if entry.level == 1][1]
    assert numbers[Path(FIRST).stem] == second > 1
