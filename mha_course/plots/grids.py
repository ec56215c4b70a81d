"""All heads of a model at one glance: layers down, heads across."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from torch import Tensor
from torch.nn import functional

from mha_course.plots.canvas import HEAT, INK, ORANGE, axes_for

_LEVELS = (0.08, 0.2, 0.4, 0.7)  # a cell is drawn from the first on, and fuller from each next
_NAMED = 5  # heads that a description names


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
    _check_grid("scores", scores, 2)
    if scores.isnan().all():
        raise ValueError("all scores are NaN; there is nothing to draw")
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
    ax.set_title(f"{title}; a full square is {full:.2g}", loc="left")
    return ax


def describe_scores(scores: Float[Tensor, "layers h"], *, title: str) -> str:
    """Say which heads have the highest scores, and whether any are negative.

    >>> import torch
    >>> describe_scores(torch.tensor([[0.9, -0.3]]), title="Gain")
    'Gain, 1 layers of 2 heads. Highest: 0.0 (0.90), 0.1 (-0.30). 1 head is below zero.'
    """
    layers, heads = scores.shape
    order = scores.nan_to_num(-float("inf")).flatten().argsort(descending=True)[:_NAMED].tolist()
    best = ", ".join(f"{i // heads}.{i % heads} ({scores.flatten()[i]:.2f})" for i in order)
    below = int((scores < 0).sum())
    are = "head is" if below == 1 else "heads are"
    tail = f" {below} {are} below zero." if below else ""
    return f"{title}, {layers} layers of {heads} heads. Highest: {best}.{tail}"


def plot_head_grid(
    maps: Iterable[Float[Tensor, "h T T"]], ax: Axes | None = None, *, blocks: int = 8
) -> Axes:
    """A small map of the attention of every head: queries down, keys across.

    Each map is cut into `blocks` × `blocks`; a block shows how much of their attention its queries
    give to its keys. So a pattern of a long text fits into a stamp.

    Args:
        maps: Attention weights of each layer.
        ax: Where to draw; by default on new axes of pyplot.
        blocks: Blocks to a side; at most T.

    Raises:
        ValueError: no layers, layers of different sizes, or fewer tokens than blocks.
    """
    small = [_in_blocks(layer, blocks) for layer in maps]
    if not small or len({layer.shape for layer in small}) > 1:
        raise ValueError(
            f"maps are of {len(small)} layers with {sorted({len(s) for s in small})} heads; give "
            "at least one layer, and the same number of heads in each"
        )
    layers, heads = len(small), len(small[0])
    ax = axes_for(ax, width=min(9.0, 1 + 0.45 * heads), height=1 + 0.4 * layers)
    side = 0.88 / blocks
    rectangles: dict[float, list[Path]] = {level: [] for level in _LEVELS}
    for layer, stack in enumerate(small):
        for head, block_map in enumerate(stack.tolist()):
            left, top = head - 0.44, layer - 0.44
            for row, values in enumerate(block_map):
                for column, value in enumerate(values):
                    level = max((x for x in _LEVELS if value >= x), default=None)
                    if level is not None:
                        x, y = left + column * side, top + row * side
                        rectangles[level].append(_rectangle(x, y, side))
    for level, paths in rectangles.items():
        _add(ax, paths, HEAT, alpha=min(1.0, level + 0.25))
    frames = [_square(head, layer, 0.88) for layer in range(layers) for head in range(heads)]
    _add(ax, frames, "none", edge=INK, alpha=0.3)
    _grid_axes(ax, layers, heads)
    return ax


def _in_blocks(weights: Tensor, blocks: int) -> Tensor:
    """Mean over the queries of a block of the attention that they give to the keys of another."""
    _check_grid("weights", weights, 3)
    tokens = weights.shape[-1]
    if not 1 <= blocks <= tokens:
        raise ValueError(f"blocks={blocks} must be from 1 to the number of tokens, {tokens}")
    pooled: Tensor = functional.adaptive_avg_pool2d(weights.float(), blocks)
    return pooled * (tokens / blocks)


def _check_grid(name: str, tensor: Tensor, axes: int) -> None:
    if tensor.ndim != axes or tensor.numel() == 0:
        expected = "[layers, h]" if axes == 2 else "[h, T, T]"
        raise ValueError(
            f"{name} have shape {list(tensor.shape)}; they must be {expected}, and not empty"
        )


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
    ax.set_xticks(range(heads))
    ax.set_yticks(range(layers))
    ax.tick_params(length=0, labelsize=8)
    ax.set_xlabel("head")
    ax.set_ylabel("layer")
    for spine in ax.spines.values():
        spine.set_visible(False)
