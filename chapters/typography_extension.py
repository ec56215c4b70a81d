"""Sphinx extension: what belongs together stays on one line.

A number and its "%"; a date; a formula, which browsers take for a picture, and the comma after it.
"""

from __future__ import annotations

import re
from typing import Any

from sphinx.application import Sphinx

_TOGETHER = re.compile(
    r'(?P<formula><span class="math[^"]*">\\\([^<]*\\\)</span>[.,;:!?)]+)'
    r"|(?P<date>\b\d{4}-\d\d-\d\d\b)"
    r"|(?<=\d)(?P<percent> %)"
    # left as it is
    r"|<(?P<tag>pre|code|script|style|svg)\b.*?</(?P=tag)>|<[^>]*>",
    re.DOTALL,
)


def keep_together(
    app: Sphinx, _page: str, _template: str, context: dict[str, Any], _doctree: object
) -> None:
    """Tie what belongs together, on pages for browsers."""
    if app.builder.format == "html" and "body" in context:
        context["body"] = tied(context["body"])


def tied(page: str) -> str:
    """Return a page, whose formulas are not set yet, with what belongs together tied.

    >>> tied("<p>33 % of <code>a % b</code></p>")
    '<p>33&#160;% of <code>a % b</code></p>'
    """
    return _TOGETHER.sub(_tie, page)


def _tie(found: re.Match[str]) -> str:
    if found["percent"]:
        return "&#160;%"
    if together := found["formula"] or found["date"]:
        return f'<span class="mha-together">{together}</span>'
    return found[0]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx; formulas are set later, see maths_extension."""
    app.connect("html-page-context", keep_together)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
