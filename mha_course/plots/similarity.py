"""Which heads are alike."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import torch
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from torch import Tensor

from mha_course.plots.canvas import INK, axes_for
from mha_course.plots.shades import shade
from mha_course.plots.words import counted, listed, name_ticks, number

_NAMED = 6  # heads of the largest cluster that a description names


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
        ValueError: not square, empty, names that do not fit, values outside 0 … 1, an order that
            is none, or one that tears a cluster apart.
    """
    _check(similarity, names)
    n = len(names)
    order = torch.arange(n) if order is None else order
    _check_order(n, order)
    runs = []
    if clusters is not None:
        _check_clusters(n, clusters)
        runs = _runs(clusters[order].tolist())
        if len(runs) > len({label for label, _ in runs}):
            raise ValueError(
                "order tears a cluster apart; take the order that was found with the clusters"
            )
    ax = axes_for(ax, width=5.4, height=5.4)
    shade(ax, similarity[order][:, order].float())
    start = 0
    for _, length in runs:
        if length > 1:
            corner = (start - 0.5, start - 0.5)
            ax.add_patch(Rectangle(corner, length, length, fill=False, edgecolor=INK, linewidth=1))
        start += length
    in_order = [names[i] for i in order.tolist()]
    name_ticks(ax.xaxis, in_order, rotation=90)
    name_ticks(ax.yaxis, in_order)
    ax.tick_params(length=0, labelsize=8.5)
    return ax


def describe_similarity(
    similarity: Float[Tensor, "n n"],
    names: Sequence[str],
    *,
    clusters: Int[Tensor, " n"] | None = None,
) -> str:
    """Say how alike two heads are on average, which pair is most alike, and what the clusters are.

    Raises:
        ValueError: as for `plot_similarity`, or a single head.

    >>> similarity = torch.tensor([[1, 0.9, 0], [0.9, 1, 0.3], [0, 0.3, 1]])
    >>> print(describe_similarity(similarity, ["a", "b", "c"], clusters=torch.tensor([0, 0, 1])))
    Similarity of 3 heads. Mean over pairs 0.4; most alike: a and b, 0.9. 1 cluster of two heads or more; the largest has 2 heads: a and b.
    """  # noqa: E501
    _check(similarity, names)
    n = len(similarity)
    if n < 2:
        raise ValueError("there is 1 head; give at least 2 to compare")
    first, second = torch.triu_indices(n, n, offset=1)
    values = similarity[first, second]
    best = int(values.argmax())
    text = (
        f"Similarity of {n} heads. Mean over pairs {number(values.mean().item())}; most alike: "
        f"{names[int(first[best])]} and {names[int(second[best])]}, {number(values[best].item())}."
    )
    if clusters is None:
        return text
    _check_clusters(n, clusters)
    sizes = clusters.unique(return_counts=True)[1]
    several = int((sizes > 1).sum())
    if several == 0:
        return f"{text} No two heads are in one cluster."
    largest = clusters.unique()[sizes.argmax()]
    members = [names[i] for i in (clusters == largest).nonzero().flatten().tolist()]
    more = len(members) - _NAMED
    told = [*members[:_NAMED], f"{more} more"] if more > 1 else members
    return (
        f"{text} {counted(several, 'cluster')} of two heads or more; the largest has "
        f"{counted(len(members), 'head')}: {listed(told)}."
    )


def _runs(labels: Sequence[int]) -> list[tuple[int, int]]:
    """Label and length of each stretch of equal labels."""
    return [(label, len(list(group))) for label, group in groupby(labels)]


def _check(similarity: Tensor, names: Sequence[str]) -> None:
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


def _check_order(n: int, order: Tensor) -> None:
    if sorted(order.tolist()) != list(range(n)):
        raise ValueError(
            f"order is {order.tolist()}; it must have each head from 0 to {n - 1} once"
        )


def _check_clusters(n: int, clusters: Tensor) -> None:
    if clusters.shape != (n,):
        raise ValueError(
            f"clusters have shape {list(clusters.shape)}; for {n} heads it must be [{n}]"
        )
