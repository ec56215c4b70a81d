"""What heads are worth: curves of loss by share removed, and single heads with intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from jaxtyping import Float
from matplotlib.axes import Axes
from torch import Tensor

from mha_course.plots.canvas import BLUE, INK, RED, SERIES, axes_for
from mha_course.plots.words import counted, listed, number

_STYLES = ("-", "--", "-.", ":", (0, (5, 1)))
_MARKERS = "os^Dv"
_SMALL = 8.5  # points, of text beside lines
_NAMED = 3  # heads that a description names

Band = tuple[Float[Tensor, " points"], Float[Tensor, " points"], Float[Tensor, " points"]]
"""Mean, lower and upper end of an interval, at each point."""


# ------------------------------------------------------------------------------ many heads


def plot_curves(
    shares: Sequence[float],
    curves: Mapping[str, Band],
    ax: Axes | None = None,
    *,
    unit: str,
    chance: float | None = None,
) -> Axes:
    """Loss against the share of heads removed, one line with its interval for each ranking.

    Args:
        shares: Shares removed, rising, from 0 (no head removed) to at most 1.
        curves: By ranking; at most 5.
        ax: Where to draw; by default on new axes of pyplot.
        unit: Of the loss.
        chance: Loss of a model that knows nothing. If the curves stay far below, it is only told at
            the top: a line would squeeze them together.

    Raises:
        ValueError: no curves, too many, one with another number of points than shares, shares
            that do not start at 0 or do not rise, NaN, or an upper end below a lower one.
    """
    _check_curves(shares, curves)
    ax = axes_for(ax, height=3.6)
    percent = [100 * share for share in shares]
    ends = []
    for i, (name, (mean, low, high)) in enumerate(curves.items()):
        look: dict[str, Any] = {
            "color": SERIES[i],
            "linestyle": _STYLES[i],
            "marker": _MARKERS[i],
            "markersize": 4,
        }
        ax.plot(percent, mean.tolist(), linewidth=1.8, **look)
        ax.fill_between(
            percent, low.tolist(), high.tolist(), color=SERIES[i], alpha=0.15, linewidth=0
        )
        ends.append(_End(tuple(reversed(mean.tolist())), name, look))
    intact = next(iter(curves.values()))[0][0].item()
    lines = [("no head removed", intact, "-")]
    if chance is not None:
        if chance <= 1.5 * ax.get_ylim()[1]:
            lines.append(("knowing nothing", chance, ":"))
        else:
            ax.set_title(
                f"knowing nothing: {number(chance)}, far above", loc="right", fontsize=_SMALL
            )
    for name, loss, style in lines:
        line: dict[str, Any] = {"color": INK, "linewidth": 0.8, "linestyle": style, "alpha": 0.6}
        ax.axhline(loss, **line)
        ends.append(_End((loss,), name, line))
    ax.set_xlabel("heads removed, %")
    ax.set_ylabel(f"loss, {unit}")
    _label_ends(ax, ends)
    return ax


def describe_curves(shares: Sequence[float], curves: Mapping[str, Band], *, unit: str) -> str:
    """Say what each ranking loses near half of the heads and at the end, the best one first.

    Raises:
        ValueError: as for `plot_curves`.

    >>> import torch
    >>> flat, steep = ((torch.tensor([1.0, x, 8.0]),) * 3 for x in (2.0, 4.0))
    >>> print(describe_curves([0, 0.5, 1], {"random": steep, "gradient": flat}, unit="nats"))
    Loss by share of heads removed, from 1 nats with all heads. At 50 %: gradient 2 and random 4. At 100 %: gradient 8 and random 8.
    """  # noqa: E501
    _check_curves(shares, curves)
    middle = min(range(len(shares)), key=lambda i: abs(shares[i] - 0.5))
    points = [i for i in dict.fromkeys((middle, len(shares) - 1)) if i > 0]
    order = sorted(curves, key=lambda name: curves[name][0][middle].item())
    told = [
        f"At {100 * shares[i]:.0f} %: "
        + listed([f"{name} {number(curves[name][0][i].item())}" for name in order])
        for i in points
    ]
    intact = number(curves[order[0]][0][0].item())
    return (
        f"Loss by share of heads removed, from {intact} {unit} with all heads. {'. '.join(told)}."
    )


# ------------------------------------------------------------------------------- each head


def plot_changes(
    heads: Sequence[str],
    mean: Float[Tensor, " heads"],
    low: Float[Tensor, " heads"],
    high: Float[Tensor, " heads"],
    ax: Axes | None = None,
    *,
    unit: str,
) -> Axes:
    """Change of the loss when a head is removed, with its interval.

    A dot where the loss rises, a diamond where it falls (a negative head), and a hollow mark where
    the interval holds 0.

    Args:
        heads: Their names, in the order in which they are drawn from the top.
        mean: Change for each.
        low: Lower end of its interval.
        high: Upper end.
        ax: Where to draw; by default on new axes of pyplot.
        unit: Of the loss.

    Raises:
        ValueError: no heads, numbers for other heads, NaN, or an upper end below a lower one.
    """
    _check_changes(heads, mean, low, high)
    ax = axes_for(ax, height=1 + 0.22 * len(heads))
    for row, (m, a, b) in enumerate(zip(mean.tolist(), low.tolist(), high.tolist(), strict=True)):
        colour = RED if b < 0 else BLUE
        ax.plot([a, b], [row, row], color=colour, linewidth=1.5)
        ax.plot(
            [m],
            [row],
            marker="D" if b < 0 else "o",
            color=colour,
            fillstyle="none" if a <= 0 <= b else "full",
            markersize=5,
        )
    ax.axvline(0, color=INK, linewidth=0.8, alpha=0.6)
    ax.set_yticks(range(len(heads)), heads)
    ax.set_ylim(len(heads) - 0.5, -0.5)
    largest = max(low.abs().max().item(), high.abs().max().item())
    exponent = math.floor(math.log10(largest)) if largest > 0 else 0
    if exponent < -2:  # many zeros in each number would say nothing
        ax.xaxis.set_major_formatter(lambda x, _: f"{x / 10**exponent:.3g}".replace("-", "−"))
        unit = f"$10^{{{exponent}}}$ {unit}"
    ax.set_xlabel(f"change of the loss, {unit}")
    ax.set_ylabel("head")
    return ax


def describe_changes(
    heads: Sequence[str],
    mean: Float[Tensor, " heads"],
    low: Float[Tensor, " heads"],
    high: Float[Tensor, " heads"],
    *,
    unit: str,
) -> str:
    """Say which heads cost most, and for how many the loss surely rises, or falls.

    Raises:
        ValueError: as for `plot_changes`.

    >>> import torch
    >>> mean = torch.tensor([0.5, 0.1, -0.2])
    >>> print(describe_changes(["0.1", "2.3", "4.0"], mean, mean - 0.15, mean + 0.15, unit="nats"))
    Change of the loss when one head is removed, for 3 heads. Most: 0.1 with 0.5, 2.3 with 0.1 and 4.0 with −0.2 nats. The interval is above 0 for 1 head, below 0 for 1 head (4.0), and holds 0 for 1 head.
    """  # noqa: E501
    _check_changes(heads, mean, low, high)
    order = mean.argsort(descending=True, stable=True).tolist()
    most = listed([f"{heads[i]} with {number(mean[i].item())}" for i in order[:_NAMED]])
    falls = [name for name, end in zip(heads, high.tolist(), strict=True) if end < 0]
    rises = int((low > 0).sum())
    names = f" ({listed(falls)})" if falls else ""
    return (
        f"Change of the loss when one head is removed, for {counted(len(heads), 'head')}. "
        f"Most: {most} {unit}. The interval is above 0 for {counted(rises, 'head')}, below 0 for "
        f"{counted(len(falls), 'head')}{names}, and holds 0 for "
        f"{counted(len(heads) - rises - len(falls), 'head')}."
    )


# ----------------------------------------------------------------------------------- parts


class _End(NamedTuple):
    """Right end of a line: its values from the last one back, its name, and how it looks."""

    values: tuple[float, ...]
    name: str
    look: dict[str, Any]


def _label_ends(ax: Axes, ends: Sequence[_End]) -> None:
    """Name lines to the right of the axes, at their height but none over another.

    Where lines end in one point, the values before it give the order.
    """
    low, high = ax.get_ylim()
    ax.set_ylim(low, high)
    gap = 1.5 * _SMALL / (72 * ax.get_window_extent().height / ax.figure.dpi)
    ordered = sorted(ends, key=lambda end: end.values)
    heights: list[float] = []
    for end in ordered:
        wanted = (end.values[0] - low) / (high - low)
        heights.append(max(wanted, heights[-1] + gap) if heights else wanted)
    for i, height in enumerate(heights):  # down again, as far as the lowest can go
        room = 1 - gap * (len(heights) - 1 - i)
        heights[i] = min(height, room)
    for end, height in zip(ordered, heights, strict=True):
        ax.plot(
            [1.02, 1.05, 1.08],
            [height] * 3,
            transform=ax.transAxes,
            clip_on=False,
            markevery=[1],
            **end.look,
        )
        ax.text(1.1, height, end.name, transform=ax.transAxes, va="center", fontsize=_SMALL)


def _check_curves(shares: Sequence[float], curves: Mapping[str, Band]) -> None:
    lengths = {name: [len(part) for part in band] for name, band in curves.items()}
    if not curves or not shares or any(found != [len(shares)] * 3 for found in lengths.values()):
        raise ValueError(
            f"{len(shares)} shares, and curves of {lengths} points; give at least one curve, with "
            "mean, lower and upper end for every share"
        )
    if len(curves) > len(SERIES):
        raise ValueError(
            f"{len(curves)} curves; {len(SERIES)} can be told apart: leave some out, or draw two "
            "pictures"
        )
    rising = all(a < b for a, b in pairwise(shares))
    if shares[0] != 0 or shares[-1] > 1 or not rising:
        raise ValueError(
            f"shares are {list(shares)}; they must rise from 0 (no head removed) to at most 1"
        )
    for name, (mean, low, high) in curves.items():
        _check_interval(name, mean, low, high)


def _check_changes(heads: Sequence[str], mean: Tensor, low: Tensor, high: Tensor) -> None:
    if not heads or {len(mean), len(low), len(high)} != {len(heads)}:
        raise ValueError(
            f"{len(heads)} heads, with {len(mean)} means, {len(low)} lower and {len(high)} upper "
            "ends; give one of each for every head, and at least one head"
        )
    _check_interval("heads", mean, low, high)


def _check_interval(name: str, mean: Tensor, low: Tensor, high: Tensor) -> None:
    if not all(part.isfinite().all() for part in (mean, low, high)):
        raise ValueError(f"{name}: there is NaN or infinity among the numbers; leave it out")
    if (high < low).any():
        raise ValueError(
            f"{name}: an upper end is below its lower end; the order is mean, low, high"
        )
