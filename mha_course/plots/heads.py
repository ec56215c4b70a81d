"""Pictures of what heads attend to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from torch import Tensor

from mha_course.plots.canvas import HEAT, axes_for
from mha_course.plots.shades import check_shares, places, shade
from mha_course.plots.words import listed, name_ticks, number, token_name

_NAMED = 3  # weights that a description names


def plot_rows(
    weights: Float[Tensor, "rows columns"],
    rows: Sequence[str],
    columns: Sequence[str],
    ax: Axes | None = None,
) -> Axes:
    """Heat map in which each cell is as full as its weight, with its number.

    Args:
        weights: Shares between 0 and 1: 0 is an empty cell, 1 a full one.
        rows: A name for each row.
        columns: A name for each column.
        ax: Where to draw; by default on new axes of pyplot.

    Raises:
        ValueError: nothing to draw, names that do not fit, or weights outside 0 … 1.
    """
    _check_map(weights, rows, columns)
    ax = axes_for(ax)
    red, green, blue, _ = to_rgba(HEAT)
    for i, row in enumerate(weights.tolist()):
        for j, weight in enumerate(row):
            if weight >= 0.005:  # less would be 0 in the cell, too
                # a rectangle, not an image: it takes the page's colour, and so does its text
                fill = (red, green, blue, min(weight, 1.0))
                ax.bar(j, 1, width=1, bottom=i - 0.5, color=fill, linewidth=0)
                ax.text(j, i, _short(weight), ha="center", va="center", fontsize=7.5)
    _frame(ax, rows, columns)
    return ax


def plot_attention(
    weights: Float[Tensor, "T_q T_k"],
    queries: Sequence[str],
    ax: Axes | None = None,
    *,
    keys: Sequence[str] | None = None,
) -> Axes:
    """One head's pattern over one text: queries down, keys across.

    Of a long text only every second, third, … token is named.

    Args:
        weights: Each row adds up to 1.
        queries: A name for each query.
        ax: Where to draw; by default on new axes of pyplot.
        keys: A name for each key; by default the queries (self-attention).

    Raises:
        ValueError: as for `plot_rows`.
    """
    keys = queries if keys is None else keys
    _check_map(weights, queries, keys)
    ax = axes_for(ax, width=5.4, height=5.0)
    shade(ax, weights)
    _frame(ax, queries, keys)
    return ax


def describe_attention(
    weights: Float[Tensor, "T_q T_k"], queries: Sequence[str], *, keys: Sequence[str] | None = None
) -> str:
    """Say which weights are largest, and how much goes to the first token and to neighbours.

    Args:
        weights: As for `plot_attention`.
        queries: A name for each query.
        keys: A name for each key; by default the queries (self-attention).

    Raises:
        ValueError: as for `plot_rows`.

    >>> import torch
    >>> print(describe_attention(torch.tensor([[0.9, 0.1], [0.6, 0.4]]), ["it", "is"]))
    Attention of 2 queries to 2 keys. Largest weights: it to it 0.9, is to it 0.6 and is to is 0.4. On average 0.6 goes to the first token, 0.6 to the token before, 0.65 to the token itself and 0.1 to the token after.
    """  # noqa: E501
    of_self = keys is None
    keys = queries if keys is None else keys
    _check_map(weights, queries, keys)
    largest = weights.flatten().argsort(descending=True, stable=True)[:_NAMED].tolist()
    pairs = [divmod(i, len(keys)) for i in largest]
    strongest = listed(
        [
            f"{token_name(queries[i])} to {token_name(keys[j])} {number(weights[i, j].item())}"
            for i, j in pairs
        ]
    )
    text = (
        f"Attention of {_many(queries, 'query', 'queries')} to {_many(keys, 'key', 'keys')}. "
        f"Largest weights: {strongest}."
    )
    if of_self and len(keys) > 1:
        means = [f"{number(mean.item())} to {name}" for name, mean in places(weights).items()]
        means[0] = means[0].replace(" to ", " goes to ", 1)
        text += f" On average {listed(means)}."
    return text


def _check_map(
    weights: Float[Tensor, "rows columns"], rows: Sequence[str], columns: Sequence[str]
) -> None:
    if weights.numel() == 0 or list(weights.shape) != [len(rows), len(columns)]:
        raise ValueError(
            f"weights have shape {list(weights.shape)}; with {len(rows)} row names and "
            f"{len(columns)} column names it must be [{len(rows)}, {len(columns)}], and not empty"
        )
    check_shares("weights", weights, ("rows", "columns"))


def _frame(ax: Axes, rows: Sequence[str], columns: Sequence[str]) -> None:
    ax.set_xlim(-0.5, len(columns) - 0.5)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    slanted: dict[str, Any] = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
    name_ticks(ax.xaxis, [token_name(name) for name in columns], **slanted)
    name_ticks(ax.yaxis, [token_name(name) for name in rows])
    ax.tick_params(length=0)
    if max(len(rows), len(columns)) > 16:
        ax.tick_params(labelsize=8)
    for spine in ax.spines.values():
        spine.set_visible(True)
        spine.set_alpha(0.4)


def _many(things: Sequence[str], one: str, more: str) -> str:
    return f"{len(things)} {one if len(things) == 1 else more}"


def _short(weight: float) -> str:
    text = f"{weight:.2f}"
    return text if weight >= 0.995 else text[1:]
