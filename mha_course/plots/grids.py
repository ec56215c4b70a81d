"""All heads of a model at one glance: layers down, heads across."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from torch import Tensor

from mha_course.plots.canvas import HEAT, INK, ORANGE, axes_for
from mha_course.plots.shades import check_shares, places, stamps
from mha_course.plots.words import counted, head_names, listed, name_ticks, number

_NAMED = 5  # heads that a description names
_MOST_ROWS = 60  # layers that get a number: rows are higher than letters


def plot_scores(
    scores: Float[Tensor, "layers h"],
    ax: Axes | None = None,
    *,
    title: str,
    full: float | None = None,
) -> Axes:
    """One square per head, as large as its score: positive ones filled, negative ones hollow.

    Args:
        scores: One number per head; NaN leaves a head out.
        ax: Where to draw; by default on new axes of pyplot.
        title: What the scores are.
        full: Score of a square that fills its cell; by default the largest there is.

    Raises:
        ValueError: there are no scores, all of them are NaN, or one is beyond `full`.
    """
    _check_scores(scores)
    shown = scores.nan_to_num(0)
    largest = shown.abs().max().item()
    if full is None:
        full = largest or 1.0
    if largest > full:
        raise ValueError(f"the largest score is {largest:.3g}, and full={full}; take more for full")
    layers, heads = scores.shape
    ax = axes_for(ax, height=1 + 0.25 * layers)
    sides = (shown.abs() / full).sqrt() * 0.9  # the area shows the score
    for sign, filled in ((1, True), (-1, False)):
        rectangles = [
            _square(head, layer, sides[layer, head].item())
            for layer, head in (shown * sign > 0).nonzero().tolist()
        ]
        _add(ax, rectangles, HEAT if filled else "none", edge=INK if filled else ORANGE)
    _grid_axes(ax, layers, heads)
    ax.set_title(f"{title}; a full square is {number(full)}", loc="left")
    return ax


def describe_scores(scores: Float[Tensor, "layers h"], *, title: str) -> str:
    """Say which heads have the highest scores, and whether any are negative.

    Raises:
        ValueError: as for `plot_scores`.

    >>> print(describe_scores(torch.tensor([[0.9, -0.3]]), title="Gain"))
    Gain, 1 layer of 2 heads. Highest: 0.0 with 0.9 and 0.1 with −0.3. 1 head is below zero.
    """
    _check_scores(scores)
    values = scores.flatten()
    scored = int((~values.isnan()).sum())
    names = head_names(*scores.shape)
    best = values.nan_to_num(-float("inf")).argsort(descending=True)[: min(_NAMED, scored)]
    told = listed([f"{names[i]} with {number(values[i].item())}" for i in best.tolist()])
    below = int((scores < 0).sum())
    tail = f" {counted(below, 'head')} {'is' if below == 1 else 'are'} below zero." if below else ""
    layers, heads = scores.shape
    size = f"{counted(layers, 'layer')} of {counted(heads, 'head')}"
    return f"{title}, {size}. Highest: {told}.{tail}"


def plot_head_grid(maps: Iterable[Float[Tensor, "h T T"]], ax: Axes | None = None) -> Axes:
    """A small map of the attention of every head: queries down, keys across.

    Of a long text, neighbouring tokens are taken together: the map shows which share of its
    attention each block of queries gives to each block of keys.

    Args:
        maps: Attention weights of each layer, for one text.
        ax: Where to draw; by default on new axes of pyplot. The maps are square: a canvas should be
            about as much higher than wide as there are more layers than heads.

    Raises:
        ValueError: no layers, layers of different sizes, or weights outside 0 … 1.
    """
    weights = _stacked(maps)
    layers, heads = weights.shape[:2]
    ax = axes_for(ax, width=1 + 0.4 * heads, height=1 + 0.4 * layers)
    stamps(ax, weights)
    _grid_axes(ax, layers, heads)
    return ax


def describe_head_grid(maps: Iterable[Float[Tensor, "h T T"]]) -> str:
    """Say which head looks most at each of four places: first token, before, itself, after.

    Raises:
        ValueError: as for `plot_head_grid`, or a text of a single token.

    >>> looks_left = torch.eye(3).roll(-1, 1)[None]
    >>> print(describe_head_grid([looks_left, torch.eye(3)[None]]))
    Attention in 2 layers of 1 head, over 3 tokens. Most of it, on average: on the first token 0.0 with 0.5, on the token before 0.0 with 1 and on the token itself 1.0 with 1.
    """  # noqa: E501
    weights = _stacked(maps)
    layers, heads, tokens, _ = weights.shape
    names = head_names(layers, heads)
    told = []
    for place, shares in places(weights).items():
        best = int(shares.argmax())
        if shares.flatten()[best] > 0:  # causal heads never look at the token after
            told.append(f"on {place} {names[best]} with {number(shares.flatten()[best].item())}")
    size = f"{counted(layers, 'layer')} of {counted(heads, 'head')}"
    return f"Attention in {size}, over {tokens} tokens. Most of it, on average: {listed(told)}."


def _check_scores(scores: Float[Tensor, "layers h"]) -> None:
    if scores.ndim != 2 or scores.numel() == 0:
        raise ValueError(
            f"scores have shape {list(scores.shape)}; they must be [layers, h], and not empty"
        )
    if scores.isnan().all():
        raise ValueError("all scores are NaN; there is nothing to draw")


def _stacked(maps: Iterable[Float[Tensor, "h T T"]]) -> Float[Tensor, "layers h T T"]:
    layers = list(maps)
    shapes = sorted({tuple(layer.shape) for layer in layers})
    if len(shapes) != 1:
        raise ValueError(
            f"maps are of {len(layers)} layers with shapes {shapes}; give at least one layer, all "
            "of the same [h, T, T]"
        )
    weights = torch.stack(layers)
    check_shares("weights", weights, ("layers", "h", "T", "T"))
    return weights


def _square(x: float, y: float, side: float) -> Path:
    return _rectangle(x - side / 2, y - side / 2, side)


def _rectangle(x: float, y: float, side: float) -> Path:
    corners = [(x, y), (x + side, y), (x + side, y + side), (x, y + side), (x, y)]
    return Path(np.array(corners), closed=True)


def _add(
    ax: Axes, paths: Sequence[Path], fill: str, *, edge: str = "none", alpha: float = 1.0
) -> None:
    """Draw many shapes as one: a page with thousands of elements is slow."""
    if paths:
        compound = Path.make_compound_path(*paths)
        ax.add_patch(
            PathPatch(compound, facecolor=fill, edgecolor=edge, alpha=alpha, linewidth=0.8)
        )


def _grid_axes(ax: Axes, layers: int, heads: int) -> None:
    ax.set_xlim(-0.6, heads - 0.4)
    ax.set_ylim(layers - 0.4, -0.6)
    ax.set_aspect("equal")
    name_ticks(ax.xaxis, [str(head) for head in range(heads)])
    name_ticks(ax.yaxis, [str(layer) for layer in range(layers)], most=_MOST_ROWS)
    ax.tick_params(length=0)
    ax.set_xlabel("head")
    ax.set_ylabel("layer")
    for spine in ax.spines.values():
        spine.set_visible(False)
