"""The right answers of the assignment `experiment`, as functions with the learners' names.

The last functions make inputs of its tests out of random numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, permutations, product
from statistics import fmean

import torch
from torch import Tensor

from mha_course.experiments.intervals import mean_interval

__all__ = [
    "assign_roles",
    "causal_weights",
    "drawn_p",
    "favourite_p",
    "honest_score",
    "interval_over_seeds",
    "lead",
    "pair_targets",
    "role_scores",
    "specialisation",
    "split_rows",
    "twin_difference",
    "uniform_scores",
    "verdict",
    "wanted_keys",
    "with_luck",
]


def pair_targets(x: Tensor) -> Tensor:
    """Content of the token before, then of the first, for queries from 2: [B, T, D] → [B, T-2, 2D].

    >>> pair_targets(torch.tensor([[[1.0], [2.0], [3.0], [4.0]]]))
    tensor([[[2., 1.],
             [3., 1.]]])
    """
    previous = x[:, 1:-1]
    return torch.cat([previous, x[:, :1].expand_as(previous)], dim=-1)


def split_rows(groups: Sequence[int], held_out: Sequence[int]) -> list[str]:
    """One word for each row: "test" if its group is held out, "train" if not."""
    return ["test" if group in held_out else "train" for group in groups]


def honest_score(scores: Tensor, choose_on: Sequence[int], measure_on: Sequence[int]) -> float:
    """Mean over some rows of [N, h] of the head that has the highest mean over others."""
    best = scores[list(choose_on)].double().mean(dim=0).argmax()
    return scores[list(measure_on), best].double().mean().item()


def role_scores(weights: Tensor, wanted: Tensor) -> Tensor:
    """Mean weight on the wanted keys over the queries that have one: [seeds, h, roles].

    Args:
        weights: Attention weights, [seeds, h, T, T].
        wanted: Where each role looks, boolean, [roles, T, T].
    """
    there = torch.einsum("shtj,rtj->shrt", weights.double(), wanted.double())
    counts = wanted.any(dim=-1)  # [roles, T]; where it is False, `there` is 0
    return there.sum(dim=-1) / counts.sum(dim=-1)


def uniform_scores(wanted: Tensor) -> Tensor:
    """Score for each role of a head with even weights on all keys up to the query: [roles].

    >>> uniform_scores(torch.tensor([[[0, 0, 0], [1, 0, 0], [1, 0, 0]]], dtype=torch.bool))
    tensor([0.4167], dtype=torch.float64)
    """
    T = wanted.shape[-1]
    return role_scores(causal_weights(torch.zeros(1, 1, T, T)), wanted)[0, 0]


def specialisation(scores: Tensor) -> float:
    """Half the sum over the roles of how far two heads of [h, roles] differ; mean over pairs.

    >>> specialisation(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]))
    0.6666666666666666
    """
    pairs = combinations(scores.double(), 2)
    return fmean((one - other).abs().sum().item() / 2 for one, other in pairs)


def assign_roles(scores: Tensor) -> list[int]:
    """Head of each role, no head twice, with the largest sum of scores; scores are [h, roles]."""
    h, roles = scores.shape
    assignments = list(permutations(range(h), roles))
    best = max(assignments, key=lambda heads: total(scores, heads))
    return list(best)


def total(scores: Tensor, heads: Sequence[int]) -> float:
    """Sum of the scores of an assignment, given as one head for each role."""
    return sum(scores[head, role].item() for role, head in enumerate(heads))


def lead(scores: Tensor) -> float:
    """How far the best assignment is ahead of the next one."""
    h, roles = scores.shape
    totals = sorted(total(scores, heads) for heads in permutations(range(h), roles))
    return totals[-1] - totals[-2]


def favourite_p(holders: Sequence[int], num_heads: int) -> float:
    """Exact chance that some head takes a role at least as often as the favourite of `holders`.

    >>> favourite_p([1, 1, 1], 2)
    0.25
    """
    most = max(holders.count(head) for head in holders)
    outcomes = list(product(range(num_heads), repeat=len(holders)))
    return sum(max(map(one.count, one)) >= most for one in outcomes) / len(outcomes)


def drawn_p(observed: float, null: Sequence[float]) -> float:
    """p-value from drawn values of the statistic: (how many are as large, + 1) / (n + 1).

    >>> drawn_p(4, [1, 4, 2])
    0.5
    """
    return (sum(value >= observed for value in null) + 1) / (len(null) + 1)


def interval_over_seeds(values: Sequence[float]) -> Tensor:
    """Low and high end of the 95 % t-interval of the mean: [2]."""
    return torch.tensor(mean_interval(values)[1:], dtype=torch.float64)


def twin_difference(grad_Q: Tensor, grad_O: Tensor, num_heads: int) -> float:
    """Largest difference between two heads in the gradients of W_Q and W_O.

    Args:
        grad_Q: Shape [d_model, h·d_head]: head i has columns.
        grad_O: Shape [h·d_head, d_model]: head i has rows.
        num_heads: Heads, h.
    """
    of_q = torch.stack(grad_Q.double().chunk(num_heads, dim=1))  # [h, d_model, d_head]
    of_o = torch.stack(grad_O.double().chunk(num_heads, dim=0))  # [h, d_head, d_model]
    return max((g.amax(dim=0) - g.amin(dim=0)).max().item() for g in (of_q, of_o))


def verdict(low: float, high: float, baseline: float, smallest_effect: float) -> str:
    """Say whether an interval lies above baseline + smallest_effect, below it, or neither.

    >>> verdict(0.4, 0.9, 0.1, 0.5)
    'open'
    """
    bar = baseline + smallest_effect
    if low > bar:
        return "supported"
    return "refuted" if high < bar else "open"


# ------------------------------------------------------------------------------ inputs of tests


def causal_weights(scores: Tensor) -> Tensor:
    """Attention weights from scores [..., T, T], with nothing on the future."""
    future = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
    return scores.masked_fill(future, float("-inf")).softmax(dim=-1)


def wanted_keys(noise: Tensor) -> Tensor:
    """Boolean keys up to the query, [roles, T, T].

    Query 0 has none, query 1 has one, and the last one at least two.
    """
    wanted = (noise > 0.5).tril()
    wanted[:, 0] = False
    wanted[:, 1, :] = False
    wanted[:, 1, 0] = True
    wanted[:, -1, :2] = True
    return wanted


def with_luck(scores: Tensor, choose_on: Sequence[int], measure_on: Sequence[int]) -> Tensor:
    """Scores [N, h] in which head 1 is far better on some rows, and head 0 a bit on the others."""
    lucky = scores.clone()
    lucky[list(choose_on), 1] += 4
    lucky[list(measure_on), 0] += 1
    return lucky
