"""Drawings of how d_model is cut into heads."""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Int
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, Rectangle
from torch import Tensor

from mha_course.plots.canvas import INK, SERIES, blank
from mha_course.shapes import head_dim


def box(
    ax: Axes,
    x: float,
    y: float,
    width: float,
    height: float,
    colour: str = INK,
    text: str = "",
    *,
    fill: float = 0.25,
) -> None:
    """Rectangle with its lower left corner at (x, y), and text in its middle."""
    ax.add_patch(Rectangle((x, y), width, height, facecolor=colour, alpha=fill, linewidth=0))
    ax.add_patch(Rectangle((x, y), width, height, fill=False, edgecolor=colour, linewidth=1.2))
    if text:
        ax.text(x + width / 2, y + height / 2, text, ha="center", va="center")


def arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Arrow from `start` to `end`."""
    ax.add_patch(
        FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=9, color=INK, linewidth=1)
    )


def plot_cuts(d_model: int, head_counts: Sequence[int], ax: Axes) -> Axes:
    """One bar of width d_model for each number of heads, cut into that many pieces.

    Raises:
        ValueError: a number of heads does not divide `d_model`.
    """
    for row, num_heads in enumerate(head_counts):
        d_head = head_dim(d_model, num_heads)
        y = -row
        for head in range(num_heads):
            colour = SERIES[head % len(SERIES)]
            label = str(d_head) if d_head * 16 >= d_model else ""
            box(ax, head * d_head, y - 0.35, d_head, 0.7, colour, label)
        ax.text(-0.02 * d_model, y, f"h = {num_heads}", ha="right", va="center")
        ax.text(1.02 * d_model, y, f"d_head = {d_head}", ha="left", va="center")
    blank(ax)
    ax.set_xlim(-0.17 * d_model, 1.3 * d_model)
    ax.set_ylim(-len(head_counts) + 0.4, 0.5)
    return ax


def plot_grid(
    owner: Int[Tensor, "rows columns"], text: Sequence[Sequence[str]], ax: Axes, *, title: str
) -> Axes:
    """Grid of cells, coloured by the number of their owner.

    Raises:
        ValueError: `text` has not the shape of `owner`.
    """
    rows, columns = owner.shape
    if [len(line) for line in text] != [columns] * rows:
        raise ValueError(f"text must be {rows} rows of {columns}, like owner {list(owner.shape)}")
    for i in range(rows):
        for j in range(columns):
            box(ax, j, -i - 1, 1, 1, SERIES[int(owner[i, j]) % len(SERIES)], text[i][j])
    blank(ax)
    ax.set_xlim(-0.05, columns + 0.05)
    ax.set_ylim(-rows - 0.05, 0.05)
    ax.set_aspect("equal")
    ax.set_title(title)
    return ax
