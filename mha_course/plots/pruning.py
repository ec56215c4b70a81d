"""What heads are worth: curves of loss by share removed, and single heads with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jaxtyping import Float
from matplotlib.axes import Axes
from torch import Tensor

from mha_course.plots.canvas import BLUE, INK, RED, SERIES, axes_for

_STYLES = ("-", "--", "-.", ":")
Band = tuple[Float[Tensor, " points"], Float[Tensor, " points"], Float[Tensor, " points"]]
"""Mean, lower and upper end of an interval, at each point."""


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
        shares: Shares removed, from 0 to 1.
        curves: By ranking.
        ax: Where to draw; by default on new axes of pyplot.
        unit: Of the loss.
        chance: Loss of a model that knows nothing.

    Raises:
        ValueError: no curves, or one with another number of points than shares.
    """
    lengths = {name: len(band[0]) for name, band in curves.items()}
    if not curves or set(lengths.values()) != {len(shares)}:
        raise ValueError(f"{len(shares)} shares, and curves of {lengths} points; they must agree")
    ax = axes_for(ax, height=3.4)
    percent = [100 * share for share in shares]
    for i, (name, (mean, low, high)) in enumerate(curves.items()):
        colour, style = SERIES[i % len(SERIES)], _STYLES[i % len(_STYLES)]
        ax.plot(percent, mean.tolist(), color=colour, linestyle=style, label=name, linewidth=1.8)
        ax.fill_between(percent, low.tolist(), high.tolist(), color=colour, alpha=0.15, linewidth=0)
    first = next(iter(curves.values()))[0][0].item()
    ax.axhline(first, color=INK, linewidth=0.8, alpha=0.5)
    ax.annotate("no head removed", (100, first), ha="right", va="bottom", fontsize=8)
    if chance is not None:
        ax.axhline(chance, color=INK, linewidth=0.8, linestyle=":", alpha=0.6)
        ax.annotate("knows nothing", (0, chance), ha="left", va="bottom", fontsize=8)
    ax.set_xlabel("heads removed, %")
    ax.set_ylabel(f"loss, {unit}")
    ax.legend(loc="best", fontsize=8)
    return ax


def describe_curves(shares: Sequence[float], curves: Mapping[str, Band], *, unit: str) -> str:
    """Say what each ranking loses at three of the shares.

    >>> import torch
    >>> flat = (torch.tensor([1.0, 2.0, 4.0]),) * 3
    >>> describe_curves([0, 0.5, 1], {"random": flat}, unit="nats")
    'Loss in nats by share of heads removed. random: 1.00 at 0 %, 2.00 at 50 %, 4.00 at 100 %.'
    """
    points = sorted({0, len(shares) // 2, len(shares) - 1})
    told = [
        f"{name}: " + ", ".join(f"{band[0][i]:.2f} at {100 * shares[i]:.0f} %" for i in points)
        for name, band in curves.items()
    ]
    return f"Loss in {unit} by share of heads removed. {'; '.join(told)}."


def plot_changes(
    heads: Sequence[str],
    mean: Float[Tensor, " heads"],
    low: Float[Tensor, " heads"],
    high: Float[Tensor, " heads"],
    ax: Axes | None = None,
    *,
    unit: str,
) -> Axes:
    """Change of the loss when a head is removed, with intervals; negative heads stand out.

    Args:
        heads: Their names, in the order in which they are drawn from the top.
        mean: Change for each.
        low: Lower end of its interval.
        high: Upper end.
        ax: Where to draw; by default on new axes of pyplot.
        unit: Of the loss.

    Raises:
        ValueError: no heads, or numbers for other heads.
    """
    if not heads or {len(mean), len(low), len(high)} != {len(heads)}:
        raise ValueError(
            f"{len(heads)} heads, with {len(mean)} means, {len(low)} lower and {len(high)} upper "
            "ends; give one of each for every head, and at least one head"
        )
    ax = axes_for(ax, height=1 + 0.22 * len(heads))
    for row, (m, a, b) in enumerate(zip(mean.tolist(), low.tolist(), high.tolist(), strict=True)):
        colour = RED if b < 0 else BLUE
        ax.plot([a, b], [row, row], color=colour, linewidth=1.5)
        ax.plot([m], [row], marker="D" if b < 0 else "o", color=colour, markersize=4)
    ax.axvline(0, color=INK, linewidth=0.8, alpha=0.6)
    ax.set_yticks(range(len(heads)), heads)
    ax.set_ylim(len(heads) - 0.5, -0.5)
    ax.set_xlabel(f"change of the loss, {unit}")
    ax.set_ylabel("head")
    return ax
