"""A matplotlib figure that becomes an inline SVG with a description.

Inline, the drawing takes its colours from the page: one file serves light and dark, the text
stays text, and a screen reader is told what there is to see.
"""

from __future__ import annotations

import hashlib
import html
import io
import re
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Self

import matplotlib as mpl
import matplotlib.figure
from cycler import cycler
from matplotlib.axes import Axes

# Stand-ins: matplotlib draws with these, and the page replaces them. Safe for colour-blind
# readers (after Okabe and Ito 2008), and at least 3:1 against the page in both schemes.
INK = "#010203"
PAGE = "#fdfeff"
BLUE = "#0072b2"
ORANGE = "#c27400"
GREEN = "#00835c"
RED = "#d04f00"
PURPLE = "#a94f86"
HEAT = "#56b4e9"  # fills cells of heat maps: dark text on it in light mode, light text in dark mode
SERIES = (BLUE, ORANGE, GREEN, RED, PURPLE)

DARK = {
    BLUE: "#56b4e9",
    ORANGE: "#f0b04a",
    GREEN: "#2bc799",
    RED: "#ff8f57",
    PURPLE: "#e29cc6",
    HEAT: "#0f6aa5",
}
_DARK_TEXT = "#e6edf3"  # lighter than the page's text, so that it can be read on a full cell
_PAGE = "var(--pst-color-background,var(--jp-layout-color0,Canvas))"  # of the book, of JupyterLab
_MAX_WIDTH = 1.7  # pixels per point at most, so that a small figure is not blown up

_RC: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same layout on every machine
    "font.size": 9.5,
    "axes.titlesize": 10,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": INK,
    "grid.alpha": 0.2,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": cycler(color=SERIES),
    "figure.constrained_layout.use": True,
}


class Figure:
    """A drawing with a description; made by `canvas`, shown as the last value of a cell.

    Attributes:
        axes: The axes to draw on: one, or an array of them, as from `plt.subplots`.
    """

    def __init__(self, figure: matplotlib.figure.Figure, axes: Any) -> None:
        self._figure = figure
        self.axes = axes
        self._description = ""
        self._table = ""

    def __enter__(self) -> Self:
        self._style = mpl.rc_context(_RC)
        self._style.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._style.__exit__(None, None, None)

    def describe(self, text: str) -> Self:
        """Say in words what the figure shows, for readers who cannot see it."""
        self._description = " ".join(text.split())
        return self

    def table(
        self, rows: Sequence[str], columns: Sequence[str], values: Sequence[Sequence[float]]
    ) -> Self:
        """Add the numbers behind the figure as a folded table."""
        head = "".join(f'<th scope="col">{html.escape(c)}</th>' for c in columns)
        body = "".join(
            f'<tr><th scope="row">{html.escape(name)}</th>'
            + "".join(f"<td>{value:.2f}</td>" for value in row)
            + "</tr>"
            for name, row in zip(rows, values, strict=True)
        )
        self._table = (
            "<details><summary>The numbers as a table</summary>"
            '<div class="mha-scroll" tabindex="0" role="group" aria-label="Numbers of the figure">'
            f"<table><thead><tr><td></td>{head}</tr></thead><tbody>{body}</tbody></table>"
            "</div></details>"
        )
        return self

    def svg(self) -> str:
        """Return the drawing alone, as one `<svg>` element.

        Raises:
            ValueError: the figure has no description yet.
        """
        if not self._description:
            raise ValueError("the figure has no description; call .describe(text) first")
        salt = hashlib.sha256(self._description.encode()).hexdigest()[:8]
        buffer = io.StringIO()
        with mpl.rc_context({**_RC, "svg.hashsalt": salt}):
            self._figure.savefig(buffer, format="svg", metadata={"Date": None})
        return _adapt(buffer.getvalue(), f"f{salt}-", self._description)

    def save(self, path: str | PathLike[str]) -> None:
        """Write a stand-alone SVG file that follows the reader's light or dark scheme.

        Raises:
            ValueError: the figure has no description yet.
        """
        style = (
            "<style>svg{color:#1f2328}"
            f"@media(prefers-color-scheme:dark){{svg{{color:{_DARK_TEXT};{_dark_colours()}}}}}</style>"
        )
        head, rest = self.svg().split(">", 1)
        xml = f'{head} xmlns="http://www.w3.org/2000/svg">{style}{rest}\n'
        Path(path).write_text(xml, encoding="utf-8")

    def _repr_html_(self) -> str:
        return f'<div class="mha-figure">{_STYLE}{self.svg()}{self._table}</div>'


def canvas(
    rows: int = 1,
    columns: int = 1,
    *,
    width: float = 5.4,
    height: float = 3.0,
    **subplots: Any,
) -> Figure:
    """Start a figure; draw inside a `with` block, then describe it.

    Args:
        rows: Rows of axes.
        columns: Columns of axes.
        width: In inches; 5.4 keeps text readable on a phone.
        height: In inches.
        **subplots: Passed on to `matplotlib.figure.Figure.subplots`.

    >>> with canvas() as figure:
    ...     _ = figure.axes.plot([1, 2], [3, 4])
    >>> figure.describe("A line that rises from 3 to 4.").svg()[:4]
    '<svg'
    """
    with mpl.rc_context(_RC):
        drawing = matplotlib.figure.Figure(figsize=(width, height))
        axes = drawing.subplots(rows, columns, **subplots)
    return Figure(drawing, axes)


def axes_for(ax: Axes | None, *, width: float = 5.4, height: float = 3.0) -> Axes:
    """Return `ax`, or new axes of pyplot: a notebook shows those by itself, `plt.show()` elsewhere.

    Args:
        ax: Axes that the caller has, or None.
        width: Of a new figure, in inches.
        height: Of a new figure, in inches.
    """
    if ax is not None:
        return ax
    from matplotlib import pyplot  # has a state of its own; only for those who give no axes

    with mpl.rc_context(_RC):
        # not transparent as a canvas is: these colours do not follow a dark page
        _, new = pyplot.subplots(figsize=(width, height), facecolor="white")
    return new


def blank(ax: Axes) -> None:
    """Take everything but the drawing off the axes."""
    ax.set_axis_off()
    ax.margins(0)


def _variable(colour: str) -> str:
    return f"--mha-{colour[1:]}"


def _dark_colours() -> str:
    return "".join(f"{_variable(light)}:{value};" for light, value in DARK.items())


def _style_sheet() -> str:
    return (
        "<style>"
        ".mha-figure svg{display:block;width:100%;height:auto;margin:0 auto}"
        ".mha-figure svg *{stroke-linejoin:round;stroke-linecap:butt}"
        ".mha-scroll{overflow-x:auto}"
        f'html[data-theme="dark"] .mha-figure,'
        f'body[data-jp-theme-light="false"] .mha-figure{{color:{_DARK_TEXT};{_dark_colours()}}}'
        "</style>"
    )


_STYLE = _style_sheet()

STYLE_BY_SCHEME = (
    "<style>@media(prefers-color-scheme:dark){.mha-figure{"
    f"color:{_DARK_TEXT};{_dark_colours()}}}}}</style>"
)
"""For pages without a switch: figures follow the reader's light or dark scheme."""


def _adapt(svg: str, prefix: str, description: str) -> str:
    """Make matplotlib's SVG fit into a page: no global style, no clashing ids, page colours."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->\n?", "", svg, flags=re.DOTALL)
    svg = svg.replace("xlink:href", "href")

    used = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', svg))
    svg = re.sub(r' id="([^"]+)"', lambda m: f' id="{prefix}{m[1]}"' if m[1] in used else "", svg)
    svg = re.sub(r'(url\(#|href="#)', rf"\g<1>{prefix}", svg)

    svg = _without_bare_groups(svg)

    svg = re.sub(INK, "currentColor", svg, flags=re.IGNORECASE)
    svg = re.sub(PAGE, _PAGE, svg, flags=re.IGNORECASE)
    for colour in DARK:
        svg = re.sub(colour, f"var({_variable(colour)},{colour})", svg, flags=re.IGNORECASE)
    svg = re.sub(r"'DejaVu Sans'(, [^;\"]+)?", "system-ui, 'DejaVu Sans', sans-serif", svg)

    view = re.search(r'viewBox="0 0 ([\d.]+) ', svg)
    if view is None:
        raise RuntimeError("matplotlib's SVG has no viewBox; its format must have changed")
    opening = (
        f'<svg role="img" aria-label="{html.escape(description)}" {view[0]}'
        f'{svg[view.end() : svg.index(chr(34), view.end())]}" '
        f'style="max-width:{float(view[1]) * _MAX_WIDTH:.0f}px">'
    )
    return opening + svg[svg.index(">") + 1 :].rstrip()


def _without_bare_groups(svg: str) -> str:
    """Take away groups that say nothing: half of what a browser has to lay out."""
    said: list[bool] = []  # of each group that is open

    def kept(tag: re.Match[str]) -> str:
        if tag[0] == "</g>":
            return tag[0] if said.pop() else ""
        if not tag[0].endswith("/>"):
            said.append(tag[0] != "<g>")
        return "" if tag[0] in ("<g>", "<g/>") else tag[0]

    return re.sub(r"\n\s*\n", "\n", re.sub(r"<g\b[^>]*>|</g>", kept, svg))
