"""Text that others wrote, made fit to be shown.

The page escapes markup by itself. This is for what markup is not needed for: characters that move
the cursor, turn the direction of a line round, or cannot be written to a file.
"""

from __future__ import annotations

import re

MOST = 300  # characters of a sentence

_TURNING = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # right to left and back
_UNSEEN = re.compile(f"[\x00-\x08\x0b-\x1f\x7f-\x9f{_TURNING}\ufeff]")
_HALF = re.compile("[\ud800-\udfff]")
_STARTS_FORMULA = tuple("=+-@＝＋－＠\t\r\n")
# where lists have semicolons, as in Germany, a spreadsheet begins a new cell at each
_FORMULA_AFTER = re.compile(r';(?=[\s"]*[=+\-@＝＋－＠])')


def line(text: str, most: int = MOST) -> str:
    """Return a text as one line of at most so many characters."""
    shown = " ".join(lines(text[: 4 * most]).split())
    return shown if len(shown) <= most else f"{shown[: most - 1].rstrip()}…"


def lines(text: str) -> str:
    """Return a text without what could spoil the page; lines stay lines."""
    return _HALF.sub("\ufffd", _UNSEEN.sub(" ", text))


def cell(text: str) -> str:
    """Return a text for a cell of a spreadsheet, which must not take it for a formula."""
    shown = _FORMULA_AFTER.sub(";'", line(text, 1000))
    return f"'{shown}" if shown.startswith(_STARTS_FORMULA) else shown


def points(value: float) -> str:
    """Return points with two digits after the dot at most.

    >>> points(9.666667), points(3.0)
    ('9.67', '3')
    """
    return f"{round(value, 2):g}"
