"""The sections of the book that a failing check can point to, all in one place."""

from __future__ import annotations

import os
from pathlib import Path

PAGES: dict[str, tuple[str, ...]] = {
    "one-head-is-not-enough": (
        "one-average-per-query",
        "the-mean-of-three-patterns",
        "two-things-at-once",
        "real-heads",
    ),
    "cutting-d-model-into-heads": (
        "d-model-over-h",
        "what-is-cut",
        "planes",
        "split-and-merge",
        "the-view-mistake",
        "a-sum-over-heads",
        "convention-not-law",
        "how-many-patterns",
    ),
    "what-heads-cost": (
        "counting-parameters",
        "where-33-percent-comes-from",
        "same-arithmetic",
        "narrow-heads",
    ),
    "how-many-heads": (
        "five-numbers",
        "known-relations",
        "crowds-of-narrow-heads",
        "real-text",
        "other-sizes",
        "what-published-models-do",
        "sweet-spot",
    ),
    "what-heads-learn": (
        "six-pictures",
        "beside-a-baseline",
        "relations",
        "near-and-far",
        "more-nuanced",
        "looking-is-not-doing",
        "induction-in-smollm2",
    ),
    "how-heads-come-to-differ": (
        "watching-heads",
        "a-role-must-matter",
        "who-gets-which",
        "heads-that-start-alike",
        "what-is-lost",
        "by-hand",
        "gradient-flow",
        "design",
    ),
    "layers-of-heads": (
        "two-stories",
        "how-far-a-layer-looks",
        "where-relations-sit",
        "thirds",
        "heads-build-on-heads",
        "special-tokens-by-layer",
    ),
    "pruning-heads": (
        "off-or-gone",
        "one-at-a-time",
        "many-at-once",
        "minimal-loss",
        "training-on",
        "what-the-papers-did",
        "alike-heads",
        "heads-that-hurt",
        "making-up",
        "head-dropout",
    ),
    "after-2017": (
        "kv-cache",
        "bound-by-memory",
        "sharing-heads",
        "cache-of-real-models",
        "latent-attention",
        "where-93-percent-comes-from",
        "fused-kernels",
        "sliding-window",
        "width-of-heads-today",
    ),
    "notation": ("masks",),
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


def built_book(folder: Path) -> str:
    """Return the address of the book: MHA_BOOK_URL, or the one that is built beside a folder.

    Empty if there is neither.
    """
    if told := os.environ.get("MHA_BOOK_URL", "").strip():
        return told
    for parent in folder.resolve().parents:
        if (parent / "_build" / "html" / "index.html").is_file():
            return (parent / "_build" / "html").as_uri()
    return ""


def section_link(anchor: str) -> str:
    """Link to the section with this anchor, whichever page holds it.

    An instructor's own task can point to a page of their own: an address is its own link.

    Raises:
        ValueError: no page has such a section.
    """
    if anchor.startswith("https://"):
        return anchor
    return book_link(page_of(anchor), anchor)


def page_of(anchor: str) -> str:
    """Return the page that holds the section with this anchor.

    Raises:
        ValueError: no page has such a section.

    >>> page_of("counting-parameters")
    'what-heads-cost'
    """
    for page, anchors in PAGES.items():
        if anchor in anchors:
            return page
    known = ", ".join(anchor for anchors in PAGES.values() for anchor in anchors)
    raise ValueError(f"the book has no section {anchor!r}; it has {known}")
