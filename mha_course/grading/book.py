"""The sections of the book that a failing check can point to, all in one place."""

from __future__ import annotations

import os

PAGES: dict[str, tuple[str, ...]] = {
    "one-head-is-not-enough": (
        "one-average-per-query",
        "the-mean-of-three-patterns",
        "two-things-at-once",
    ),
    "cutting-d-model-into-heads": (
        "d-model-over-h",
        "split-and-merge",
        "the-view-mistake",
        "a-sum-over-heads",
        "convention-not-law",
    ),
    "what-heads-cost": (
        "counting-parameters",
        "where-33-percent-comes-from",
    ),
}
"""Anchors by page. An anchor belongs to one page only."""


def book_link(page: str, anchor: str) -> str:
    """Link to one section of the built book.

    The environment variable MHA_BOOK_URL, when set, is put in front of it.

    Raises:
        ValueError: the book has no such page, or the page has no such section.

    >>> book_link("what-heads-cost", "counting-parameters")
    'chapters/what-heads-cost.html#counting-parameters'
    """
    if page not in PAGES:
        raise ValueError(f"page={page!r} is not in the book; it has {', '.join(PAGES)}")
    if anchor not in PAGES[page]:
        raise ValueError(f"page {page!r} has no section {anchor!r}; it has {PAGES[page]}")
    link = f"chapters/{page}.html#{anchor}"
    base = os.environ.get("MHA_BOOK_URL", "").strip().rstrip("/")
    return f"{base}/{link}" if base else link


def section_link(anchor: str) -> str:
    """Link to the section with this anchor, whichever page holds it.

    Raises:
        ValueError: no page has such a section.
    """
    for page, anchors in PAGES.items():
        if anchor in anchors:
            return book_link(page, anchor)
    known = ", ".join(anchor for anchors in PAGES.values() for anchor in anchors)
    raise ValueError(f"the book has no section {anchor!r}; it has {known}")
