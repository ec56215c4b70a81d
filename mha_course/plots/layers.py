"""How heads change from layer to layer."""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float, Int
from matplotlib.axes import Axes
from torch import Tensor

from mha_course.plots.canvas import BLUE, INK, ORANGE, SERIES, axes_for

_HATCHES = ("", "////", "....", "\\\\\\\\", "xxxx")


def plot_profile(
    values: Float[Tensor, "layers h"],
    ax: Axes | None = None,
    *,
    label: str,
    baseline: Sequence[float] | None = None,
) -> Axes:
    """One point per head, and a line through the mean of each layer.

    Args:
        values: One number per head.
        ax: Where to draw; by default on new axes of pyplot.
        label: What the numbers are, with their unit.
        baseline: What even attention has in each layer.

    Raises:
        ValueError: no values, or a baseline for another number of layers.
    """
    if values.ndim != 2 or values.numel() == 0:
        raise ValueError(
            f"values have shape {list(values.shape)}; they must be [layers, h], and not empty"
        )
    layers = list(range(len(values)))
    if baseline is not None and len(baseline) != len(layers):
        raise ValueError(
            f"baseline has {len(baseline)} numbers, and there are {len(layers)} layers"
        )
    ax = axes_for(ax)
    for head in values.T.tolist():
        ax.plot(layers, head, "o", color=BLUE, alpha=0.35, markersize=3.5, linewidth=0)
    ax.plot(layers, values.mean(1).tolist(), color=BLUE, linewidth=2, label="mean of the layer")
    if baseline is not None:
        ax.plot(layers, list(baseline), color=ORANGE, linestyle="--", label="even attention")
    ax.set_xlabel("layer")
    ax.set_ylabel(label)
    ax.locator_params(axis="x", integer=True)
    ax.legend(loc="best", fontsize=8)
    return ax


def describe_profile(values: Float[Tensor, "layers h"], *, label: str) -> str:
    """Say where the means of the layers start, end, and are largest.

    >>> import torch
    >>> describe_profile(torch.tensor([[1.0, 3.0], [5.0, 7.0], [0.0, 2.0]]), label="Distance")
    'Distance by layer. Mean over heads: 2.00 at layer 0, 1.00 at layer 2; most at layer 1, 6.00.'
    """
    means = values.mean(1)
    top = int(means.argmax())
    return (
        f"{label} by layer. Mean over heads: {means[0]:.2f} at layer 0, {means[-1]:.2f} at layer "
        f"{len(means) - 1}; most at layer {top}, {means[top]:.2f}."
    )


def plot_mix(
    counts: Int[Tensor, "layers labels"], labels: Sequence[str], ax: Axes | None = None
) -> Axes:
    """How many heads of each layer have which pattern; the bar of the last label stays empty.

    Args:
        counts: Heads with each label, from `mha_course.heads.layers.pattern_mix`.
        labels: Names of the columns.
        ax: Where to draw; by default on new axes of pyplot.

    Raises:
        ValueError: no counts, or labels that do not fit.
    """
    if counts.numel() == 0 or counts.shape[1:] != (len(labels),):
        raise ValueError(
            f"counts have shape {list(counts.shape)}; with {len(labels)} labels they must be "
            f"[layers, {len(labels)}], and not empty"
        )
    ax = axes_for(ax, height=3.4)
    layers = range(len(counts))
    bottom = [0] * len(counts)
    drawn = 0
    for column, name in enumerate(labels):
        heights = counts[:, column].tolist()
        if not any(heights):
            continue
        last = column == len(labels) - 1
        ax.bar(
            layers,
            heights,
            bottom=bottom,
            width=0.8,
            label=name,
            facecolor="none" if last else SERIES[drawn % len(SERIES)],
            edgecolor=INK,
            linewidth=0.6,
            hatch="" if last else _HATCHES[drawn // len(SERIES) % len(_HATCHES)],
        )
        bottom = [a + b for a, b in zip(bottom, heights, strict=True)]
        drawn += 1
    ax.set_xlabel("layer")
    ax.set_ylabel("heads")
    ax.locator_params(axis="x", integer=True)
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=3, fontsize=8)
    return ax


def describe_mix(counts: Int[Tensor, "layers labels"], labels: Sequence[str]) -> str:
    """Say how many heads have each pattern, and in which layer it is most frequent.

    >>> import torch
    >>> describe_mix(torch.tensor([[2, 0], [1, 1]]), ["local", "none"])
    'Heads by pattern: local 3, most in layer 0; none 1, most in layer 1.'
    """
    told = [
        f"{name} {int(column.sum())}, most in layer {int(column.argmax())}"
        for name, column in zip(labels, counts.T, strict=True)
        if column.any()
    ]
    return f"Heads by pattern: {'; '.join(told)}."
