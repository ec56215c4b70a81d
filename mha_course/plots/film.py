"""How heads come to attend as they do: their attention at several steps of training."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from torch import Tensor

from mha_course.plots.canvas import axes_for
from mha_course.plots.shades import check_shares, places, stamps
from mha_course.plots.words import counted, number

Frame = tuple[int, Float[Tensor, "h T T"]]
"""Number of the step, and the attention of all heads after it."""


def plot_film(frames: Sequence[Frame], ax: Axes | None = None) -> Axes:
    """One row per head, one column per recorded step.

    Args:
        frames: In the order of the steps.
        ax: Where to draw; by default on new axes of pyplot. The maps are square: a canvas should be
            about as much wider than high as there are more steps than heads.

    Raises:
        ValueError: no frames, frames of different sizes, steps that do not rise, or weights
            outside 0 … 1.
    """
    weights = _stacked(frames)  # [h, steps, T, T]
    heads, steps = weights.shape[:2]
    ax = axes_for(ax, width=5.4, height=0.9 + 4.8 * heads / steps)
    stamps(ax, weights)
    ax.set_xticks(range(steps), [str(step) for step, _ in frames])
    ax.set_yticks(range(heads))
    ax.set_xlabel("step of training")
    ax.set_ylabel("head")
    return ax


def describe_film(frames: Sequence[Frame]) -> str:
    """Say where each head looks most, at the first and at the last step.

    Raises:
        ValueError: as for `plot_film`, or texts of a single token.

    >>> print(describe_film([(0, torch.full((1, 2, 2), 0.5)), (9, torch.eye(2)[None])]))
    Attention of 1 head at 2 steps of training. From step 0 to step 9, head 0 gets from 0.5 to 1 on the token itself.
    """  # noqa: E501
    weights = _stacked(frames)
    before, after = (places(weights[:, i]) for i in (0, -1))
    told = []
    for head in range(len(weights)):
        place = max(after, key=lambda name: after[name][head].item())
        first, last = (number(shares[place][head].item()) for shares in (before, after))
        told.append(f"head {head} gets from {first} to {last} on {place}")
    return (
        f"Attention of {counted(len(weights), 'head')} at {counted(len(frames), 'step')} of "
        f"training. From step {frames[0][0]} to step {frames[-1][0]}, {', '.join(told)}."
    )


def _stacked(frames: Sequence[Frame]) -> Float[Tensor, "h steps T T"]:
    shapes = sorted({tuple(weights.shape) for _, weights in frames})
    if len(shapes) != 1:
        raise ValueError(
            f"frames have shapes {shapes}; give at least one, all of the same [h, T, T]"
        )
    for _, weights in frames:
        check_shares("weights", weights, ("h", "T", "T"))
    steps = [step for step, _ in frames]
    if sorted(set(steps)) != steps:
        raise ValueError(f"steps are {steps}; they must rise: sort the frames by their step")
    return torch.stack([weights for _, weights in frames], dim=1)
