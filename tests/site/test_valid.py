"""Every page of the built book is valid HTML, and says what it is about."""

from __future__ import annotations

import gzip
import re
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

import html5lib
import pytest
from bs4 import BeautifulSoup, Tag

MOST_BYTES = 400 * 1024  # of all that a page loads before any click, compressed
SHORTEST, LONGEST = 50, 200  # letters of a description, as search engines show them
# What stands in a paragraph, a label or a summary is text and no block
BLOCKS = "p, div, ul, ol, dl, table, section, figure, details, h1, h2, h3, h4, pre"
REFERENCES = ("for", "aria-labelledby", "aria-describedby", "aria-controls", "headers")


class Source(NamedTuple):
    """A page as it lies in the folder."""

    file: Path
    text: str
    tree: BeautifulSoup


@pytest.fixture(scope="module")
def sources(site: Path) -> list[Source]:
    files = [f for f in sorted(site.rglob("*.html")) if "_static" not in f.parts]
    assert len(files) > 15
    texts = [file.read_text(encoding="utf-8") for file in files]
    return [
        Source(file, text, BeautifulSoup(text, "html.parser"))
        for file, text in zip(files, texts, strict=True)
    ]


@pytest.fixture(scope="module")
def chapters(sources: list[Source]) -> list[Source]:
    return [source for source in sources if source.file.parent.name == "chapters"]


def syntax_errors(text: str) -> list[str]:
    parser = html5lib.HTMLParser()
    parser.parse(text)
    return [f"{place}: {code} {about}" for place, code, about in parser.errors]


def faults(tree: BeautifulSoup) -> list[str]:
    """What a parser of HTML lets pass, and no page may have."""
    found = [f"no {name}" for name in ("title", "html[lang]") if tree.select_one(name) is None]
    found += [
        f"more than one: {name}"
        for name in ("title", "main", "meta[name=viewport]", "meta[name=description]", "article h1")
        if len(tree.select(name)) > 1
    ]
    for outer in ("summary", "label", "button", "p"):
        found += [f"{inner.name} in {outer}" for inner in tree.select(f"{outer} :is({BLOCKS})")]
    found += [f"style in the text: {tag.get_text()[:40]}" for tag in tree.select("body style")]
    found += [f"empty {tag.name}" for tag in tree.select("th, caption") if not tag.text.strip()]
    found += [
        f"dl without dt: {tag.text[:40]}"
        for tag in tree.select("dl")
        if tag.select_one("dt") is None
    ]
    found += [f"img without alt: {tag.get('src')}" for tag in tree.select("img:not([alt])")]
    found += [
        f"{name}={value}: {tag.name}"
        for tag in tree.find_all(True)
        for name, value in tag.attrs.items()
        if value in ("undefined", "None", "NaN", "[object Object]")
    ]
    found += [f"control without a name: {tag}" for tag in tree.select(CONTROLS) if not named(tag)]
    ids = {tag["id"] for tag in tree.select("[id]")}
    found += [
        f"{name}={one}: no such id"
        for name in REFERENCES
        for tag in tree.select(f"[{name}]")
        for one in str(tag[name] if name != "headers" else " ".join(tag[name])).split()
        if one not in ids
    ]
    found += [
        f"{tag['href']}: no such drawing"
        for tag in tree.select("use")
        if tag["href"][1:] not in ids
    ]
    levels = [int(tag.name[1]) for tag in tree.select("article :is(h1, h2, h3, h4, h5, h6)")]
    found += [
        f"h{after} after h{before}"
        for before, after in zip([0, *levels], levels, strict=False)
        if after > before + 1
    ]
    return found


CONTROLS = "a[href], button, input:not([type=hidden]), select, textarea, summary"


def named(control: Tag) -> bool:
    return bool(
        control.get_text().strip()
        or any(control.get(name) for name in ("aria-label", "aria-labelledby", "title"))
        or control.select_one("img[alt]:not([alt=''])")
        or control.find_parent("label")
        or control.find_parent(class_="mha-live")  # these find their labels when they run
        or (control.get("id") and control.find_previous("label", attrs={"for": control["id"]}))
    )


def loaded(source: Source) -> list[Path]:
    """Every file of the book that a browser fetches for the page, as often as it is named."""
    links = [tag["src"] for tag in source.tree.select("script[src], img[src]:not([loading=lazy])")]
    links += [
        tag["href"]
        for tag in source.tree.select("link[href]")
        if {"stylesheet", "preload", "icon"} & set(tag["rel"])
    ]
    paths = [unquote(urlsplit(link).path) for link in links if not link.startswith("data:")]
    return [source.file, *((source.file.parent / path).resolve() for path in paths)]


def weight(files: list[Path]) -> int:
    packed = (".html", ".js", ".css", ".svg")
    return sum(
        len(gzip.compress(file.read_bytes(), 9)) if file.suffix in packed else file.stat().st_size
        for file in files
    )


def test_pages_are_read_without_an_error(sources: list[Source]) -> None:
    assert {s.file.name: found for s in sources if (found := syntax_errors(s.text))} == {}


def test_pages_have_none_of_the_faults_that_a_parser_lets_pass(sources: list[Source]) -> None:
    assert {s.file.name: found for s in sources if (found := faults(s.tree))} == {}


def test_these_tests_see_what_is_wrong() -> None:
    text = """<!doctype html><html><body>
    <article><h1>a</h1><h1>b</h1><h3>c</h3></article><style>p{}</style>
    <details><summary><p>x</p></summary></details><dl><dd>y</dd></dl><img src="z.png">
    <table><tr><th><p></p></th></tr></table><mo stretchy="undefined">(</mo><button></button>
    <svg><use href="#gone"/></svg><input aria-labelledby="nobody"><p>open</div></body></html>"""
    assert syntax_errors(text)
    found = " ".join(faults(BeautifulSoup(text, "html.parser")))
    for part in (
        *("no title", "no html[lang]", "more than one: article h1", "h3 after h1", "style in"),
        *("p in summary", "dl without", "empty th", "img without", "=undefined"),
        *("without a name", "no such id", "no such drawing"),
    ):
        assert part in found, part


def test_titles_and_descriptions_are_those_of_one_page(chapters: list[Source]) -> None:
    titles = [source.tree.select_one("title").get_text() for source in chapters]
    said = [source.tree.select_one("meta[name=description]")["content"] for source in chapters]
    assert len({*titles}) == len({*said}) == len(chapters)
    for text in said:
        assert SHORTEST <= len(text) <= LONGEST, text
        assert not re.search(r"\\\w|[{}$<>]", text), text


def test_a_shared_link_says_what_the_page_says(chapters: list[Source]) -> None:
    for source in chapters:
        meta = {
            tag["property"]: tag["content"] for tag in source.tree.select("meta[property^='og:']")
        }
        assert meta["og:title"] in source.tree.select_one("title").get_text()
        assert meta["og:description"]
        assert meta["og:site_name"] == "Multi-head attention"


def test_pages_stay_inside_their_weight_and_load_nothing_twice(sources: list[Source]) -> None:
    for source in sources:
        files = loaded(source)
        assert len(files) == len({*files}), source.file.name
        assert weight(files) <= MOST_BYTES, source.file.name


def test_only_the_search_loads_the_index(sources: list[Source]) -> None:
    for source in sources:
        names = {file.name for file in loaded(source)}
        assert ("searchindex.js" in names) == (source.file.name == "search.html"), source.file.name


def test_formulas_are_set_when_the_book_is_built(sources: list[Source], site: Path) -> None:
    number = 0
    for source in sources:
        assert not any("mathjax" in file.name.lower() for file in loaded(source))
        for formula in source.tree.select(".math"):
            number += 1
            assert formula.select_one("mjx-container > svg use, mjx-container > svg rect")
            assert formula.select_one("mjx-assistive-mml > math").get_text()
            assert not re.search(r"\\[(\[]", formula.get_text())
    assert number > 200
    assert not (site / "_static" / "mathjax").exists()
