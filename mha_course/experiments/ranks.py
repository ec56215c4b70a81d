"""Whether two things rise together, whatever their scales."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


def rank_correlation(a: Sequence[float] | Tensor, b: Sequence[float] | Tensor) -> float:
    """Spearman's: 1 same order, −1 reverse, 0 unrelated. Equal values share their mean rank.

    It is NaN if all values of `a` or of `b` are equal: that is no order.

    Args:
        a: Values.
        b: As many values, one for each of `a`.

    >>> round(rank_correlation([1.0, 2.0, 3.0], [10.0, 30.0, 20.0]), 6)
    0.5
    """
    from scipy import stats  # takes a second to import

    return float(stats.spearmanr(a, b).statistic)
