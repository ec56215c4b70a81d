"""Who drew which lot: statistics of the head that took a role, over many runs.

Heads are drawn from one distribution, and training treats them alike. So before the weights are
drawn no index is likelier than another, and given the data alone neither: over runs, the head that
takes a role is uniform by symmetry. What is open is how far the drawn weights decide it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from itertools import combinations
from statistics import fmean

import torch
from jaxtyping import Float, Int
from torch import Tensor

Table = Sequence[Sequence[int]]
"""Head that took the role: one row for each initialisation, one column for each data order."""

DRAWS = 10_000


def counts(holders: Sequence[int], num_heads: int) -> list[int]:
    """How often each head took the role."""
    return [sum(holder == head for holder in holders) for head in range(num_heads)]


def uniform_p(holders: Sequence[int], num_heads: int, *, seed: int = 0) -> float:
    """Chance of counts at least as uneven as these, if every head is equally likely.

    Uneven is meant as in Pearson's χ²; its distribution is simulated, so that few runs are no
    problem.

    >>> uniform_p([0, 1, 2, 3], 4)
    1.0
    """
    total = len(holders)
    even = total / num_heads
    drawn = _multinomial(torch.full((num_heads,), 1 / num_heads), total, seed)
    uneven = (drawn - even).square().sum(-1)
    here = sum((count - even) ** 2 for count in counts(holders, num_heads))
    return (1 + int((uneven >= here - 1e-9).sum())) / (1 + DRAWS)


def power(total: int, num_heads: int, share: float, *, seed: int = 0) -> float:
    """Chance that `uniform_p` falls below 0.05, if one head takes this share of the runs."""
    even = total / num_heads
    flat = torch.full((num_heads,), 1 / num_heads)
    uneven = (_multinomial(flat, total, seed) - even).square().sum(-1)
    chances = torch.full((num_heads,), (1 - share) / (num_heads - 1))
    chances[0] = share
    biased = (_multinomial(chances, total, seed + 1) - even).square().sum(-1)
    values, how_many = torch.unique(uneven, return_counts=True)
    at_least = how_many.flip(0).cumsum(0).flip(0) / DRAWS  # share of draws as uneven, or more
    rare = values[at_least < 0.05]
    if not len(rare):
        return 0.0  # with so few runs nothing is rare enough
    return float((biased >= rare[0]).float().mean())


def smallest_share_found(total: int, num_heads: int, *, wanted: float = 0.8) -> float:
    """Share of runs that one head must take for `uniform_p` to notice with this power."""
    percents = range(100 // num_heads + 1, 100)
    # the power grows with the share, so halving the range finds the first that is enough
    at = bisect_left(percents, wanted, key=lambda percent: power(total, num_heads, percent / 100))
    return percents[at] / 100 if at < len(percents) else 1.0


def agreement(rows: Table) -> list[float]:
    """For each row, the chance that two of its runs have the same holder.

    >>> agreement([[0, 0, 0], [0, 0, 1]])
    [1.0, 0.3333333333333333]
    """
    return [fmean(a == b for a, b in combinations(row, 2)) for row in rows]


def columns(rows: Table) -> list[list[int]]:
    """The same table by data order."""
    return [list(column) for column in zip(*rows, strict=True)]


def null_range(
    rows: Table, num_heads: int, statistic: Callable[[Table], float], *, seed: int = 0
) -> tuple[float, float]:
    """Middle 95 % of a statistic after the heads of each initialisation were numbered anew.

    A new numbering, the same for all data orders, keeps what the weights decide. It removes any
    tie between different initialisations: that is what the data order alone could make.
    """
    generator = torch.Generator().manual_seed(seed)
    values = []
    for _ in range(1000):
        renamed = []
        for row in rows:
            names = torch.randperm(num_heads, generator=generator).tolist()
            renamed.append([names[holder] for holder in row])
        values.append(statistic(renamed))
    low, high = torch.tensor(values).quantile(torch.tensor([0.025, 0.975])).tolist()
    return low, high


def shuffled_p(pairs: Sequence[tuple[Sequence[float], Sequence[float]]], *, seed: int = 0) -> float:
    """Chance of a mean rank correlation at least this high, if scores meet heads at random.

    Args:
        pairs: For each run, a score and a cost of each head of a layer.
        seed: For the shuffles.
    """
    generator = torch.Generator().manual_seed(seed)
    ranks = [tuple(torch.tensor(x).argsort().argsort().float() for x in (a, b)) for a, b in pairs]
    here = sum(float(a @ b) for a, b in ranks)  # as good as the correlation: the rest is fixed
    cost = torch.stack([b for _, b in ranks])
    drawn = torch.rand(DRAWS, *cost.shape, generator=generator).argsort(-1).float()
    there = (drawn * cost).sum((-1, -2))
    return (1 + int((there >= here - 1e-6).sum())) / (1 + DRAWS)


def _multinomial(chances: Float[Tensor, " h"], total: int, seed: int) -> Int[Tensor, "draws h"]:
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.multinomial(
        chances.expand(DRAWS, -1), total, replacement=True, generator=generator
    )
    return torch.stack([(drawn == head).sum(-1) for head in range(len(chances))], dim=-1)
