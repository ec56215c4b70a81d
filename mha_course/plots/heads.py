"""Pictures of what heads attend to."""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from torch import Tensor

from mha_course.plots.canvas import HEAT, axes_for


def plot_rows(
    weights: Float[Tensor, "rows columns"],
    rows: Sequence[str],
    columns: Sequence[str],
    ax: Axes | None = None,
    *,
    numbers: bool = True,
) -> Axes:
    """Heat map in which each cell is as full as its weight: empty for 0, full for 1.

    Args:
        weights: Shares between 0 and 1.
        rows: A name for each row.
        columns: A name for each column.
        ax: Where to draw; by default on new axes of pyplot.
        numbers: Whether to write the numbers into the cells, without the leading 0.

    Raises:
        ValueError: nothing to draw, names that do not fit, or weights outside 0 … 1.
    """
    if weights.numel() == 0 or list(weights.shape) != [len(rows), len(columns)]:
        raise ValueError(
            f"weights have shape {list(weights.shape)}; with {len(rows)} row names and "
            f"{len(columns)} column names it must be [{len(rows)}, {len(columns)}], and not empty"
        )
    low, high = weights.min().item(), weights.max().item()
    if not (low >= 0 and high <= 1 + 1e-4):  # NaN, too, is outside
        raise ValueError(f"weights run from {low:.3f} to {high:.3f}; they must lie between 0 and 1")
    ax = axes_for(ax)
    red, green, blue, _ = to_rgba(HEAT)
    for i, row in enumerate(weights.tolist()):
        for j, weight in enumerate(row):
            # rectangles, not an image: they take the page's colours
            ax.bar(
                j,
                1,
                width=1,
                bottom=i - 0.5,
                color=(red, green, blue, min(weight, 1.0)),
                linewidth=0,
            )
            if numbers and weight >= 0.005:
                ax.text(j, i, _short(weight), ha="center", va="center", fontsize=7.5)
    ax.set_xlim(-0.5, len(columns) - 0.5)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_xticks(range(len(columns)), columns, rotation=45, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(len(rows)), rows)
    ax.tick_params(length=0)
    for side in ("top", "right"):
        ax.spines[side].set_visible(True)
    for spine in ax.spines.values():
        spine.set_alpha(0.4)
    return ax


def plot_attention(
    weights: Float[Tensor, "T_q T_k"],
    queries: Sequence[str],
    ax: Axes | None = None,
    *,
    keys: Sequence[str] | None = None,
) -> Axes:
    """One head's pattern over one text: queries down, keys across.

    Args:
        weights: Each row adds up to 1.
        queries: A name for each query.
        ax: Where to draw; by default on new axes of pyplot.
        keys: A name for each key; by default the queries (self-attention).

    Raises:
        ValueError: as for `plot_rows`.
    """
    ax = plot_rows(weights, queries, queries if keys is None else keys, ax, numbers=False)
    ax.set_aspect("equal")
    return ax


def _short(weight: float) -> str:
    text = f"{weight:.2f}"
    return text if weight >= 0.995 else text[1:]
