"""Links and resources of the built book: all of them lead somewhere, none of them is remote."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from bs4 import BeautifulSoup

from mha_course.grading import PAGES, book_link


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, BeautifulSoup]:
    """Every page of the site by its path; _static holds no pages, only templates of the theme."""
    return {
        path: BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
        for path in sorted(site.rglob("*.html"))
        if "_static" not in path.parts
    }


@pytest.fixture(scope="module")
def anchors(pages: dict[Path, BeautifulSoup]) -> dict[Path, set[str]]:
    return {
        path: {tag["id"] for tag in page.find_all(id=True)}
        | {tag["name"] for tag in page.find_all("a", attrs={"name": True})}
        for path, page in pages.items()
    }


def leads_nowhere(link: str, page: Path, anchors: dict[Path, set[str]]) -> bool:
    url = urlsplit(link)
    if url.scheme or url.netloc:
        return url.scheme not in ("http", "https", "mailto") or not (url.netloc or url.path)
    target = (page.parent / unquote(url.path)).resolve() if url.path else page
    if not target.is_file():
        return True
    return bool(url.fragment) and unquote(url.fragment) not in anchors.get(target, set())


def test_every_link_and_fragment_resolves(
    pages: dict[Path, BeautifulSoup], anchors: dict[Path, set[str]]
) -> None:
    links = [
        (path, a["href"]) for path, page in pages.items() for a in page.find_all("a", href=True)
    ]
    broken = [
        f"{path.name}: {link}"
        for path, link in links
        if link != "#" and leads_nowhere(link, path, anchors)
    ]
    assert len(links) > 100
    assert not broken


def test_a_broken_link_would_be_seen(
    pages: dict[Path, BeautifulSoup], anchors: dict[Path, set[str]]
) -> None:
    page = next(path for path in pages if path.name == "start.html")
    assert not leads_nowhere("../search.html", page, anchors)
    assert not leads_nowhere(f"#{min(anchors[page])}", page, anchors)
    for link in ("nope.html", "#nope", "../search.html#nope", "javascript:x", "/"):
        assert leads_nowhere(link, page, anchors)


def test_every_script_style_and_picture_is_in_the_site(
    pages: dict[Path, BeautifulSoup],
) -> None:
    missing = []
    for path, page in pages.items():
        sources = [tag["src"] for tag in page.find_all(src=True)]
        sources += [tag["href"] for tag in page.find_all("link", href=True)]
        for source in sources:
            url = urlsplit(source)
            if url.scheme == "data" or source == "#":
                continue
            if url.scheme or url.netloc or not (path.parent / unquote(url.path)).is_file():
                missing.append(f"{path.name}: {source}")
    assert not missing


def test_ids_are_unique_on_every_page(pages: dict[Path, BeautifulSoup]) -> None:
    for path, page in pages.items():
        ids = [tag["id"] for tag in page.find_all(id=True)]
        assert {i for i in ids if ids.count(i) > 1} == set(), path.name


def test_the_front_door_leads_to_the_first_page(site: Path) -> None:
    page = BeautifulSoup((site / "index.html").read_text(encoding="utf-8"), "html.parser")
    content = page.select_one("meta[http-equiv=refresh]")["content"]
    target = re.search(r"url=(\S+)", content)
    assert target
    assert (site / target[1]).is_file()
    assert page.select_one("a")["href"] == target[1]  # for browsers that do not follow


def test_every_section_that_a_grader_points_to_exists(
    site: Path, anchors: dict[Path, set[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MHA_BOOK_URL", raising=False)
    for page, sections in PAGES.items():
        for section in sections:
            assert not leads_nowhere(book_link(page, section), site / "index.html", anchors)
