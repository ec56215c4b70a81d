"""One page of all pages of the built book: every chapter in order, and links that stay inside."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from datetime import date
from importlib.resources import files
from itertools import groupby
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

import jinja2
import yaml
from bs4 import BeautifulSoup, Tag
from bs4.element import PageElement

from mha_course.pdf.citation import authors

FIRST = "chapters/start.html"  # its sidebar names all others
FOLDER = posixpath.dirname(FIRST)
# The site's other style sheets are its theme's, which is made for a screen
STYLES = ("pygments.css", "maths.css", "live/live.css", "live/quiz.css", "book.css")

# On paper there is nothing to press, and nothing runs
_UNWANTED = (
    "script, template, noscript, button, .headerlink, .d-print-none, .mha-live-view, .mha-score"
)
# Spans of code in the colour of all text; each costs a place in the PDF's tree of what is what
_PLAIN = ".highlight :is(.n, .nn, .p, .w), .highlight span:empty"
_LONG = 25  # lines of code: a block of more may break
_IDS = ("for", "headers", "aria-labelledby", "aria-describedby", "aria-controls")
_LINKS = ("href", "xlink:href")
_URL = re.compile(r"url\(#([^)]+)\)")
_NEXT = "--"  # between the name of a page and an id on it


class Chapter(NamedTuple):
    """A page of the book.

    Attributes:
        part: Of the book; "" before the first one.
        path: In the site.
        title: As the sidebar has it.
        article: What is on the page.
    """

    part: str
    path: str
    title: str
    article: Tag

    @property
    def name(self) -> str:
        """What it is linked by; the ids on it begin with it."""
        return Path(self.path).stem

    @property
    def sections(self) -> list[tuple[str, str]]:
        """Id and title of each section, as HTML, for the list of contents."""
        return [(str(h["id"]), _titled(h)) for h in self.article.select("h2[id]")]


def whole_book(site: Path, citation: Path, base: str, today: date) -> str:
    """Put all pages of the book into one.

    Args:
        site: Folder of the built book.
        citation: Its CITATION.cff.
        base: Address of `site`, seen from where the page will be.
        today: When it is printed.

    Returns:
        HTML.

    Raises:
        FileNotFoundError: there is no built book, or a page of it is missing.
        ValueError: a link leads to a place that the book does not have; or a formula is not set.
    """
    start = _read(site, FIRST)
    chapters = list(_chapters(site, start))
    names = {chapter.path: chapter.name for chapter in chapters}
    listed = {
        str(link["href"])
        for c in chapters
        for link in c.article.select(".citation-list .citation a")
    }
    for chapter in chapters:
        _prepare(chapter, names, base, listed)
    _check_links(chapters)
    _check_formulas(chapters)
    cited = yaml.safe_load(citation.read_text("utf-8"))
    address = start.select_one("link[rel=canonical]")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    own = files("mha_course.pdf")
    return environment.from_string(own.joinpath("book.html.j2").read_text("utf-8")).render(
        base=base,
        styles=STYLES,
        paper=own.joinpath("paper.css").read_text("utf-8"),
        chapters=chapters,
        parts=[(part, list(some)) for part, some in groupby(chapters, key=lambda c: c.part)],
        cited=cited,
        authors=", ".join(authors(cited)),
        address=address and address["href"],
        released=_written(cited["date-released"]),
        today=_written(today),
        quoted=json.dumps,
    )


def _chapters(site: Path, start: BeautifulSoup) -> Iterator[Chapter]:
    """Read the pages of the book in order, as the sidebar of the first one has them."""
    title = _one(start, "article h1").get_text().removesuffix("#")
    yield Chapter("", FIRST, title, _article(start))
    part = ""
    for node in start.select("nav.bd-links p.caption, nav.bd-links li.toctree-l1 > a"):
        if node.name == "p":
            part = node.get_text().strip()
        else:
            path = posixpath.normpath(f"{FOLDER}/{node['href']}")
            yield Chapter(part, path, node.get_text().strip(), _article(_read(site, path)))


def _read(site: Path, path: str) -> BeautifulSoup:
    file = site / path
    if not file.exists():
        raise FileNotFoundError(f"{file} is missing: run `make book` first")
    return BeautifulSoup(file.read_text(encoding="utf-8"), "html.parser")


def _article(page: Tag) -> Tag:
    """Return what is on a page, with the letters of its formulas: they stand before all else."""
    article = _one(page, "article.bd-article")
    for glyphs in page.select("svg.mha-glyphs"):
        article.insert(0, glyphs.extract())
    return article


def _one(node: Tag, selector: str) -> Tag:
    found = node.select_one(selector)
    if found is None:
        raise ValueError(f"a page of the book has no {selector!r}: has its theme changed?")
    return found


def _titled(heading: Tag) -> str:
    """Return what a heading says, as HTML without ids."""
    own = copy(heading)
    for target in own.select("span[id]:empty"):
        target.decompose()
    return own.decode_contents()


def _written(day: date) -> str:
    return f"{day.day} {day:%B %Y}"


# ----------------------------------------------------------------------------------- one page


def _prepare(chapter: Chapter, names: Mapping[str, str], base: str, listed: set[str]) -> None:
    """Make a page ready to stand among the others, on paper."""
    for node in chapter.article.select(_UNWANTED):
        node.decompose()
    for node in chapter.article.select(_PLAIN):
        node.unwrap()
    for code in chapter.article.select(".highlight > pre"):
        if code.get_text().count("\n") > _LONG:
            code["class"] = "long"
    for heading in chapter.article.select("section > :is(h1, h2, h3, h4, h5, h6)"):
        _take_targets(heading)
    for formula in chapter.article.select("mjx-container"):
        _say(formula)
    for folded in chapter.article.select("details"):
        _unfold(folded)
    for node in chapter.article.find_all(True):
        _rename(node, chapter.name)
    for link in chapter.article.select("a[href]"):
        _lead(link, chapter, names, listed)
    for picture in chapter.article.select("img[src]"):
        picture.attrs.pop("loading", None)  # on paper, nothing comes into view later
        source = str(picture["src"])
        if not urlsplit(source).scheme:
            picture["src"] = posixpath.normpath(f"{base}/{FOLDER}/{source}")


def _take_targets(heading: Tag) -> None:
    """Let links to a section lead to its heading: the section may begin at the foot of a page."""
    for target in heading.find_previous_siblings("span", id=True):
        heading.insert(0, target.extract())
    section = heading.parent
    if section is not None and "id" in section.attrs and "id" not in heading.attrs:
        heading["id"] = section.attrs.pop("id")


def _say(formula: Tag) -> None:
    """Give a formula's drawing its text: a PDF has no place for MathML."""
    written = _one(formula, "mjx-assistive-mml").extract()
    drawn = _one(formula, "svg")
    del drawn["aria-hidden"]
    drawn["role"] = "img"
    drawn["aria-label"] = _linear(written).strip("; ")


def _linear(node: PageElement) -> str:
    """Write MathML as one would type it.

    >>> _linear(BeautifulSoup("<msub><mi>W</mi><mi>Q</mi></msub>", "html.parser"))
    'W_Q'
    """
    if not isinstance(node, Tag):
        return node.get_text().strip()
    parts = [_linear(child) for child in node.children]
    first, *others = [part if len(part) == 1 else f"({part})" for part in parts] or [""]
    match node.name, others:
        case (("msub" | "munder"), [below]):
            return f"{parts[0]}_{below}"
        case (("msup" | "mover"), [above]):
            return f"{parts[0]}^{above}"
        case (("msubsup" | "munderover"), [below, above]):
            return f"{parts[0]}_{below}^{above}"
        case "mfrac", [below]:
            return f"{first}/{below}"
        case "msqrt", _:
            return f"√({''.join(parts)})"
        case "mtr", _:
            return f"{''.join(parts)}; "
    return "".join(parts)


def _unfold(folded: Tag) -> None:
    """Open what is folded; of a cell's two labels, "show" and "hide", neither is needed then."""
    folded["open"] = ""
    label = folded.select_one("summary > .collapsed")
    if label is not None:
        label.extract()
        _one(folded, "summary").decompose()
        folded.name = "div"
        folded["class"] = "unfolded"
        if not label.get_text().strip().startswith("Show "):
            label.name = "p"
            label["class"] = "unfolded-label"
            folded.insert(0, label)


def _rename(node: Tag, name: str) -> None:
    """Put the name of the page before all ids: two pages may have the same."""
    for key, value in list(node.attrs.items()):
        if key == "id":
            node[key] = f"{name}{_NEXT}{value}"
        elif key in _IDS:
            ids = value if isinstance(value, list) else str(value).split()
            node[key] = " ".join(f"{name}{_NEXT}{one}" for one in ids)
        elif key in _LINKS and node.name != "a" and str(value).startswith("#"):
            node[key] = f"#{name}{_NEXT}{str(value)[1:]}"
        elif isinstance(value, str) and "url(#" in value:
            node[key] = _URL.sub(rf"url(#{name}{_NEXT}\1)", value)


def _lead(link: Tag, chapter: Chapter, names: Mapping[str, str], listed: set[str]) -> None:
    """Lead a link to its place in the PDF; a link to another site says where that is."""
    target = str(link["href"])
    parts = urlsplit(target)
    if parts.scheme:
        shown = link.get_text()
        is_shown = any(part in shown for part in (parts.netloc + parts.path, "doi:"))
        if parts.scheme.startswith("http") and not is_shown and target not in listed:
            address = Tag(name="span", attrs={"class": "address"})
            address.string = f" ({parts.netloc}{parts.path.rstrip('/')})"
            link.append(address)
        return
    path = chapter.path
    if parts.path:
        path = posixpath.normpath(f"{FOLDER}/{parts.path}")
    if path in names:
        place = f"{_NEXT}{unquote(parts.fragment)}" if parts.fragment else ""
        link["href"] = f"#{names[path]}{place}"
    else:  # a file to download, or the index of names: not on paper
        link.unwrap()


def _check_links(chapters: Sequence[Chapter]) -> None:
    """Look for links that lead nowhere.

    Raises:
        ValueError: there are some.
    """
    ids = {str(node["id"]) for c in chapters for node in c.article.select("[id]")}
    ids |= {chapter.name for chapter in chapters}
    lost = {
        f"{link['href']} in {chapter.path}"
        for chapter in chapters
        for link in chapter.article.select('a[href^="#"]')
        if str(link["href"])[1:] not in ids
    }
    if lost:
        raise ValueError(f"links that lead nowhere: {', '.join(sorted(lost))}")


def _check_formulas(chapters: Sequence[Chapter]) -> None:
    """Look for formulas as they were written: the book's build sets them.

    Raises:
        ValueError: there is one.
    """
    for chapter in chapters:
        for formula in chapter.article.select(".math"):
            if formula.select_one("mjx-container > svg") is None:
                raise ValueError(
                    f"{chapter.path} has a formula that is not set: {formula.get_text().strip()}"
                )
