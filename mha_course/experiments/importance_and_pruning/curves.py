"""What curves of the loss say as more and more heads go, and what single removals add up to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from mha_course.experiments.intervals import Interval

NATS, SMALL = 0.05, 0.05  # limits: of the loss, and as shares of a gap
IN_NATS, OF_CHANCE, OF_HEADS = "0.05 nats", "5 % of the gap to chance", "5 % of what heads give"
METHODS = ("leave one out", "gradient", "size of weights")
RESAMPLES = 1000


def largest_share(shares: Sequence[float], losses: Float[Tensor, " points"], limit: float) -> float:
    """Largest share of heads up to which the loss never exceeds the intact loss by more than that.

    Args:
        shares: Shares of heads removed, ascending from 0.
        losses: Mean loss at each of them.
        limit: How much the loss may rise.
    """
    within = (losses <= losses[0] + limit).long().cumprod(0)
    return shares[int(within.sum()) - 1]


def over_resamples(
    losses: Float[Tensor, "points pieces"],
    read: Callable[[Float[Tensor, " points"]], float],
    *,
    seed: int = 0,
) -> Interval:
    """Read something off the mean curve; the interval holds 95 % of what resampled pieces give.

    Args:
        losses: Loss of each piece at each point of a curve.
        read: Reads a number off a curve of means.
        seed: Of resampling.
    """
    pieces = losses.shape[-1]
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(pieces, (RESAMPLES, pieces), generator=generator)
    means = losses[:, drawn].mean(-1).T  # [resamples, points]
    found = torch.tensor([read(curve) for curve in means], dtype=torch.float64)
    low, high = found.quantile(torch.tensor([0.025, 0.975]).double(), interpolation="nearest")
    return Interval(read(losses.mean(-1)), low.item(), high.item())


def carried(
    scores: Float[Tensor, "layers h"], damage: Float[Tensor, "layers h"], part: float
) -> float | None:
    """Share of the heads, highest scores first, whose summed damage reaches this part of all of it.

    Heads whose removal helps count with their sign, so that luck cancels out. Scores should come
    from other texts than the damage. None: damage adds up to no more than 0, which single removals
    can; then there is nothing to share out.
    """
    ordered = damage.flatten()[scores.flatten().argsort(descending=True, stable=True)]
    total = ordered.sum()
    if not total > 0:
        return None
    reached = ordered.cumsum(0) >= part * total
    return (int(reached.long().argmax()) + 1) / damage.numel()


def carried_by_few(changes: list[Tensor]) -> dict[str, float | None]:
    """Share of heads that carries half, and 80 %, of the damage: ranked and summed on halves.

    Args:
        changes: Damage of every single removal, [layers, h], for each piece.
    """
    ranks, sums = torch.stack(changes[0::2]).mean(0), torch.stack(changes[1::2]).mean(0)
    return {str(part): carried(ranks, sums, part) for part in (0.5, 0.8)}


def read_off(
    shares: Sequence[float], curves: dict[str, list[list[float]]], chance: float
) -> dict[str, Any]:
    """What curves say: their means, and the largest share that can go within each limit.

    Args:
        shares: Shares of heads removed, ascending from 0.
        curves: Loss along each ranking, as [piece][point].
        chance: Loss of a model that knows nothing.
    """
    tensors = {name: torch.tensor(of_pieces).T for name, of_pieces in curves.items()}
    can_go: dict[str, dict[str, list[float]]] = {}
    for name, losses in tensors.items():
        intact = losses[0].mean().item()
        limits = {
            IN_NATS: NATS,
            OF_CHANCE: SMALL * (chance - intact),
            OF_HEADS: SMALL * (losses[-1].mean().item() - intact),
        }
        can_go[name] = {
            limit: list(over_resamples(losses, lambda c, r=rise: largest_share(shares, c, r)))  # type: ignore[misc]
            for limit, rise in limits.items()
        }
    return {
        "curves": {name: losses.mean(-1).tolist() for name, losses in tensors.items()},
        "spread": {name: losses.std(-1).tolist() for name, losses in tensors.items()},
        "pieces of curves": {name: tensors[name].T.tolist() for name in METHODS},
        "can go": can_go,
    }
