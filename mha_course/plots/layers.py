"""How heads change from layer to layer."""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float, Int
from matplotlib.axes import Axes
from torch import Tensor

from mha_course.plots.canvas import BLUE, INK, ORANGE, SERIES, axes_for
from mha_course.plots.words import counted, head_names, listed, number

_HATCHES = ("", "////")  # of each colour: so many labels can be told apart


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
    _check_values(values, baseline)
    layers = list(range(len(values)))
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


def describe_profile(
    values: Float[Tensor, "layers h"], *, label: str, baseline: Sequence[float] | None = None
) -> str:
    """Say how the mean changes over the layers, and which heads lie furthest apart.

    Raises:
        ValueError: as for `plot_profile`.

    >>> import torch
    >>> values = torch.tensor([[1.0, 3.0], [5.0, 7.0], [0.0, 2.0]])
    >>> print(describe_profile(values, label="Distance", baseline=[4, 4, 4]))
    Distance by layer. Mean over heads: 2 in layer 0, 1 in layer 2; most in layer 1, 6. The lowest head is 2.0 with 0, the highest 1.1 with 7. Above even attention: 2 heads of 6.
    """  # noqa: E501
    _check_values(values, baseline)
    means = values.mean(1)
    first, last, top = 0, len(means) - 1, int(means.argmax())
    names = head_names(*values.shape)
    low, high = int(values.argmin()), int(values.argmax())
    text = (
        f"{label} by layer. Mean over heads: {number(means[first].item())} in layer {first}, "
        f"{number(means[last].item())} in layer {last}; most in layer {top}, "
        f"{number(means[top].item())}. The lowest head is {names[low]} with "
        f"{number(values.min().item())}, the highest {names[high]} with "
        f"{number(values.max().item())}."
    )
    if baseline is not None:
        above = int((values > values.new_tensor(baseline)[:, None]).sum())
        text += f" Above even attention: {counted(above, 'head')} of {values.numel()}."
    return text


def plot_mix(
    counts: Int[Tensor, "layers labels"], labels: Sequence[str], ax: Axes | None = None
) -> Axes:
    """How many heads of each layer have which pattern; the bar of the last label stays empty.

    A label has its colour whether or not the others occur: pictures of two models agree.

    Args:
        counts: Heads with each label, from `mha_course.heads.layers.pattern_mix`.
        labels: Names of the columns.
        ax: Where to draw; by default on new axes of pyplot.

    Raises:
        ValueError: no counts, labels that do not fit, or more labels than can be told apart.
    """
    _check_counts(counts, labels)
    ax = axes_for(ax, height=3.4)
    layers = range(len(counts))
    bottom = [0] * len(counts)
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
            facecolor="none" if last else SERIES[column // len(_HATCHES)],
            edgecolor=INK,
            linewidth=0.6,
            hatch="" if last else _HATCHES[column % len(_HATCHES)],
        )
        bottom = [a + b for a, b in zip(bottom, heights, strict=True)]
    ax.set_xlabel("layer")
    ax.set_ylabel("heads")
    ax.locator_params(axis="x", integer=True)
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=3, fontsize=8)
    return ax


def describe_mix(counts: Int[Tensor, "layers labels"], labels: Sequence[str]) -> str:
    """Say how many heads have each pattern, and in which layer it is most frequent.

    Raises:
        ValueError: as for `plot_mix`.

    >>> import torch
    >>> print(describe_mix(torch.tensor([[2, 0], [1, 1]]), ["local", "none"]))
    Heads by pattern, in 2 layers, and the layer with most of each: local 3 (2 in layer 0) and none 1 (1 in layer 1).
    """  # noqa: E501
    _check_counts(counts, labels)
    told = []
    for name, column in zip(labels, counts.T, strict=True):
        if total := int(column.sum()):
            most = int(column.argmax())
            told.append(f"{name} {total} ({int(column[most])} in layer {most})")
    return (
        f"Heads by pattern, in {counted(len(counts), 'layer')}, and the layer with most of each: "
        f"{listed(told)}."
    )


def _check_values(values: Float[Tensor, "layers h"], baseline: Sequence[float] | None) -> None:
    if values.ndim != 2 or values.numel() == 0:
        raise ValueError(
            f"values have shape {list(values.shape)}; they must be [layers, h], and not empty"
        )
    if not values.isfinite().all():
        raise ValueError("values hold NaN or infinity; every head needs a number")
    if baseline is not None and len(baseline) != len(values):
        raise ValueError(
            f"baseline has {len(baseline)} numbers, and there are {len(values)} layers; give one "
            "for each"
        )


def _check_counts(counts: Int[Tensor, "layers labels"], labels: Sequence[str]) -> None:
    if counts.numel() == 0 or counts.shape[1:] != (len(labels),):
        raise ValueError(
            f"counts have shape {list(counts.shape)}; with {len(labels)} labels they must be "
            f"[layers, {len(labels)}], and not empty"
        )
    if counts.min() < 0 or not counts.any():
        raise ValueError(
            f"counts go from {int(counts.min())} to {int(counts.max())}; they count heads: none "
            "below 0, and not all 0"
        )
    most = len(SERIES) * len(_HATCHES) + 1
    if len(labels) > most:
        raise ValueError(
            f"there are {len(labels)} labels; {most} can be told apart: put rare ones together"
        )
