"""Statistics of a class: how points are spread, how hard a task is, and what it tells apart."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

FEWEST = 10  # students; with fewer, chance makes any correlation
RESAMPLES = 2000
SEED = 0  # the same class has the same report
_MOST_BARS = 16
_WIDTHS = (1, 2, 5)

Points = npt.NDArray[np.float64]


class Spread(NamedTuple):
    """A distribution: how many values, and what they are like.

    A quarter of them is below `lower`, and a quarter above `upper`.
    """

    number: int
    mean: float
    median: float
    lowest: float
    highest: float
    lower: float
    upper: float


class Bar(NamedTuple):
    """How many values are from `low` up to, but without, `low + width`.

    Attributes:
        low: Least value.
        width: The same for all bars.
        number: How many values.
        says: Which values, in words.
    """

    low: float
    width: float
    number: int
    says: str


class Discrimination(NamedTuple):
    """Whether those who did well in the other tasks did well in this one.

    Attributes:
        r: Correlation of its points with the sum of all others; None where there is none.
        low: Of the 95 % interval; None where there is none.
        high: Likewise.
        why: Why there is no correlation, or no interval; empty if there are both.
    """

    r: float | None
    low: float | None
    high: float | None
    why: str


def spread(values: Sequence[float]) -> Spread:
    """Describe a distribution.

    Raises:
        ValueError: there is no value.
    """
    if not values:
        raise ValueError("there is no value to speak of")
    lower, median, upper = np.quantile(values, [0.25, 0.5, 0.75]).tolist()
    low, high = min(values), max(values)
    return Spread(len(values), statistics.fmean(values), median, low, high, lower, upper)


def bars(values: Sequence[float], most: float) -> list[Bar]:
    """Count values from 0 to `most` in steps of 1, 2, 5, 10, 20, … points, in 16 bars or fewer."""
    top = max([most, *values])
    width = next(
        10**power * step
        for power in range(300)
        for step in _WIDTHS
        if math.floor(top / (10**power * step)) < _MOST_BARS
    )
    counts = [0] * (math.floor(top / width) + 1)
    for value in values:
        counts[math.floor(value / width)] += 1
    whole = all(float(value).is_integer() for value in values)
    return [
        Bar(i * width, width, count, _range(i * width, width, top, whole=whole))
        for i, count in enumerate(counts)
    ]


def _range(low: float, width: float, top: float, *, whole: bool) -> str:
    if not whole and low + width <= top:
        return f"{low:g} to under {low + width:g}"
    last = min(top, low + width - 1) if whole else top
    return f"{low:g}" if last == low else f"{low:g} to {last:g}"


def discriminations(points: Points) -> list[Discrimination]:
    """Correlate each task with the sum of the other tasks.

    The interval is a bootstrap over students, with percentiles: points are whole, few and far from
    normal, so the usual formula would be off.

    Args:
        points: A row for each student, a column for each task.
    """
    students, tasks = points.shape
    rest = points.sum(1, keepdims=True) - points
    generator = np.random.default_rng(SEED)
    if students >= FEWEST:
        drawn = generator.multinomial(students, [1 / students] * students, size=RESAMPLES)
    else:
        drawn = np.ones((0, students), dtype=np.int64)
    weights = np.concatenate([np.ones((1, students)), drawn])
    found = []
    for task in range(tasks):
        if why := _no_correlation(points[:, task], rest[:, task], tasks):
            found.append(Discrimination(None, None, None, why))
            continue
        r = _correlations(points[:, task], rest[:, task], weights)
        found.append(_with_interval(float(r[0]), r[1:]))
    return found


def _no_correlation(points: Points, rest: Points, tasks: int) -> str:
    if len(points) < FEWEST:
        return f"fewer than {FEWEST} students"
    if tasks < 2:
        return "no other task"
    if np.ptp(points) == 0:
        return "all have the same points"
    return "all have the same points in the other tasks" if np.ptp(rest) == 0 else ""


def _correlations(x: Points, y: Points, weights: Points) -> Points:
    """Return one correlation for each row of weights; NaN where a variable does not vary."""
    weights = weights / weights.sum(1, keepdims=True)
    x, y = x - x.mean(), y - y.mean()  # so that the differences below keep their digits
    mean_x, mean_y, xx, yy, xy = (weights @ np.stack([x, y, x * x, y * y, x * y], 1)).T
    spread_x, spread_y = xx - mean_x**2, yy - mean_y**2
    varies = (spread_x > 1e-12) & (spread_y > 1e-12)
    root: Any = np.sqrt(np.where(varies, spread_x * spread_y, 1))
    found: Points = np.where(varies, (xy - mean_x * mean_y) / root, np.nan)
    return found


def _with_interval(r: float, resampled: Points) -> Discrimination:
    if np.isnan(resampled).mean() > 0.05:
        return Discrimination(r, None, None, "nearly all have the same points")
    low, high = np.nanquantile(resampled, [0.025, 0.975]).tolist()
    return Discrimination(r, low, high, "")
