"""How heads come to attend as they do: their attention at several steps of training."""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float
from matplotlib.axes import Axes
from torch import Tensor

from mha_course.plots.heads import plot_attention

Frame = tuple[int, Float[Tensor, "h T T"]]
"""Number of the step, and the attention of all heads after it."""


def plot_film(frames: Sequence[Frame], axes: Sequence[Sequence[Axes]]) -> Sequence[Sequence[Axes]]:
    """One row per head, one column per recorded step.

    Args:
        frames: In the order of the steps.
        axes: From `canvas(rows=h, columns=len(frames), squeeze=False).axes`.

    Raises:
        ValueError: no frames, frames of different sizes, or axes that do not fit.
    """
    shapes = {tuple(weights.shape) for _, weights in frames}
    if len(shapes) != 1:
        raise ValueError(
            f"frames have shapes {sorted(shapes)}; give at least one, all of the same [h, T, T]"
        )
    [(heads, tokens, _)] = shapes
    if [len(row) for row in axes] != [len(frames)] * heads:
        raise ValueError(
            f"axes have rows of {[len(row) for row in axes]}; {heads} heads at {len(frames)} "
            f"steps need {heads} rows of {len(frames)}"
        )
    for column, (step, weights) in enumerate(frames):
        for head in range(heads):
            ax = axes[head][column]
            plot_attention(weights[head], [""] * tokens, ax)
            ax.set_xticks([])
            ax.set_yticks([])
            if head == 0:
                ax.set_title(f"step {step}", fontsize=9)
            if column == 0:
                ax.set_ylabel(f"head {head}")
    return axes


def describe_film(frames: Sequence[Frame]) -> str:
    """Say how sharp each head was at the first and at the last step.

    >>> import torch
    >>> describe_film([(0, torch.full((1, 2, 2), 0.5)), (9, torch.eye(2)[None])])
    'Attention of 1 heads at steps 0, 9. Mean largest weight of a query: head 0 from 0.50 to 1.00.'
    """
    steps = ", ".join(str(step) for step, _ in frames)
    first, last = (frames[i][1].amax(-1).mean(-1).tolist() for i in (0, -1))
    sharper = ", ".join(
        f"head {head} from {a:.2f} to {b:.2f}"
        for head, (a, b) in enumerate(zip(first, last, strict=True))
    )
    return (
        f"Attention of {len(first)} heads at steps {steps}. "
        f"Mean largest weight of a query: {sharper}."
    )
