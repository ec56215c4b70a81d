"""Which heads are alike."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.patches import Rectangle
from torch import Tensor

from mha_course.plots.canvas import INK, axes_for

_LABELS = 30  # so many names fit along an axis
_CELL = "#2f8fd0"  # an image cannot follow the page: a blue that shows on light and on dark


def plot_similarity(
    similarity: Float[Tensor, "n n"],
    names: Sequence[str],
    ax: Axes | None = None,
    *,
    order: Int[Tensor, " n"] | None = None,
    clusters: Int[Tensor, " n"] | None = None,
) -> Axes:
    """Matrix of similarities: the fuller a cell, the more alike two heads.

    Args:
        similarity: From 0 to 1.
        names: Of the heads.
        ax: Where to draw; by default on new axes of pyplot.
        order: Heads in the order of the axes; as given by default.
        clusters: The cluster of each head; a frame is drawn around those of two heads or more.

    Raises:
        ValueError: not square, empty, names that do not fit, or values outside 0 … 1.
    """
    n = len(names)
    if n == 0 or similarity.shape != (n, n):
        raise ValueError(
            f"similarity has shape {list(similarity.shape)}; for {n} heads it must be [{n}, {n}], "
            "and not empty"
        )
    low, high = similarity.min().item(), similarity.max().item()
    if not (low >= -1e-4 and high <= 1 + 1e-4):  # NaN, too, is outside
        raise ValueError(
            f"similarity runs from {low:.3f} to {high:.3f}; it must lie between 0 and 1"
        )
    order = torch.arange(n) if order is None else order
    if sorted(order.tolist()) != list(range(n)):
        raise ValueError(f"order must have each head from 0 to {n - 1} once")
    ax = axes_for(ax, width=5.4, height=5.4)
    picture = torch.empty(n, n, 4)
    picture[..., :3] = torch.tensor(to_rgb(_CELL))
    picture[..., 3] = similarity[order][:, order].clamp(0, 1)
    ax.imshow(picture.numpy(), interpolation="nearest")
    if clusters is not None:
        for start, length in _runs(clusters[order].tolist()):
            corner = (start - 0.5, start - 0.5)
            ax.add_patch(Rectangle(corner, length, length, fill=False, edgecolor=INK, linewidth=1))
    step = -(-n // _LABELS)
    shown = range(0, n, step)
    labels = [names[int(order[i])] for i in shown]
    ax.set_xticks(shown, labels, rotation=90)
    ax.set_yticks(shown, labels)
    ax.tick_params(length=0, labelsize=7)
    return ax


def describe_similarity(similarity: Float[Tensor, "n n"], names: Sequence[str]) -> str:
    """Say how alike two heads are on average, and which pair is most alike.

    >>> similarity = torch.tensor([[1, 0.9, 0], [0.9, 1, 0.3], [0, 0.3, 1]])
    >>> describe_similarity(similarity, ["a", "b", "c"])
    'Similarity of 3 heads. Mean over pairs 0.40; most alike: a and b, 0.90.'
    """
    n = len(similarity)
    pairs = torch.triu_indices(n, n, offset=1)
    values = similarity[pairs[0], pairs[1]]
    best = int(values.argmax())
    first, second = (names[int(side[best])] for side in pairs)
    return (
        f"Similarity of {n} heads. Mean over pairs {values.mean():.2f}; most alike: {first} and "
        f"{second}, {values[best]:.2f}."
    )


def _runs(labels: Sequence[int]) -> list[tuple[int, int]]:
    """Start and length of each stretch of equal labels that is longer than 1."""
    starts = [i for i, label in enumerate(labels) if i == 0 or label != labels[i - 1]]
    lengths = [b - a for a, b in zip(starts, [*starts[1:], len(labels)], strict=True)]
    return [(a, n) for a, n in zip(starts, lengths, strict=True) if n > 1]
