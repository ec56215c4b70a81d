"""A mean over seeds, and how sure it is."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, stdev
from typing import NamedTuple


class Interval(NamedTuple):
    """A mean over seeds with its 95 % interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


def mean_interval(values: Sequence[float]) -> Interval:
    """Mean and 95 % t-interval over seeds.

    Raises:
        ValueError: fewer than two values.

    >>> print(mean_interval([0.4, 0.5, 0.6]))
    0.500 [0.252, 0.748]
    """
    bound = t_bound(len(values))
    mean = fmean(values)
    half = bound * stdev(values) / len(values) ** 0.5
    return Interval(mean, mean - half, mean + half)


def t_bound(number: int, *, risk: float = 0.05) -> float:
    """How many standard errors the mean of so many values may be off, on either side of the truth.

    Args:
        number: Values.
        risk: Chance that it is off by more.

    Raises:
        ValueError: fewer than two values.

    >>> round(t_bound(3), 3)
    4.303
    """
    from scipy.special import stdtrit  # quantiles of t; scipy.stats takes a second to import

    if number < 2:
        raise ValueError(f"an interval needs at least 2 values, got {number}")
    return float(stdtrit(number - 1, 1 - risk / 2))
