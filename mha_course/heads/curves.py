"""What is lost when more and more heads go: least important first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from mha_course.heads.steps import Progress
from mha_course.heads.tasks import Batch

SHARES = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Shares of heads to remove by default; dense where models still work."""


class PruningCurve(NamedTuple):
    """Losses along one ranking.

    Attributes:
        removed: Number of heads removed, per point.
        shares: The same as a share of all heads.
        losses: Loss of each text at each point.
    """

    removed: list[int]
    shares: list[float]
    losses: Float[Tensor, "points texts"]


def lowest(scores: Float[Tensor, "layers h"], count: int) -> Float[Tensor, "layers h"]:
    """Gates that close the `count` heads with the lowest scores; among equals, the first go.

    Raises:
        ValueError: `count` is negative, above the number of heads, or a score is NaN.
    """
    if not 0 <= count <= scores.numel():
        raise ValueError(f"count={count} must be from 0 to the number of heads, {scores.numel()}")
    if scores.isnan().any():
        raise ValueError(f"{int(scores.isnan().sum())} scores are NaN; every head needs a score")
    gates = torch.ones(scores.numel())
    gates[scores.flatten().argsort(stable=True)[:count]] = 0
    return gates.view_as(scores)


def pruning_curve(
    batches: Sequence[Batch],
    scores: Float[Tensor, "layers h"],
    *,
    shares: Sequence[float] = SHARES,
    progress: Progress | None = None,
) -> PruningCurve:
    """Loss of every text with the lowest-scored share of heads closed, for each share.

    Scores should come from other texts than those in `batches`: a ranking fits the texts that it
    was made of better than any others.

    Raises:
        ValueError: no batches or no shares, a share outside 0 … 1, or scores of another shape.
    """
    if not batches or not shares or not all(0 <= share <= 1 for share in shares):
        raise ValueError(
            f"{len(batches)} batches and shares={list(shares)}; give at least one of each, "
            "and shares from 0 to 1"
        )
    shape = (batches[0].num_layers, batches[0].num_heads)
    if scores.shape != shape:
        raise ValueError(f"scores have shape {list(scores.shape)}; expected {list(shape)}")
    removed = [round(share * scores.numel()) for share in shares]
    losses = []
    for done, count in enumerate(removed):
        gates = lowest(scores, count)
        with torch.no_grad():
            losses.append(torch.cat([batch.losses(gates) for batch in batches]))
        if progress is not None:
            progress(done + 1, len(removed))
    return PruningCurve(removed, [count / scores.numel() for count in removed], torch.stack(losses))
