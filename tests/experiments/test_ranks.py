"""Rank correlation: known answers, also where values are equal."""

from __future__ import annotations

import pytest
import torch

from mha_course.experiments.ranks import rank_correlation


def test_only_the_order_counts() -> None:
    assert rank_correlation([1.0, 5.0, 9.0], [0.1, 0.2, 70.0]) == pytest.approx(1)
    assert rank_correlation([1.0, 5.0, 9.0], [70.0, 0.2, 0.1]) == pytest.approx(-1)


def test_equal_values_share_their_mean_rank() -> None:
    # ranks 1, 2½, 2½, 4 and 1, 2, 3, 4: covariance 4½, sums of squares 4½ and 5
    expected = 4.5 / (4.5 * 5) ** 0.5
    assert rank_correlation([0.0, 1.0, 1.0, 7.0], [1.0, 2.0, 3.0, 4.0]) == pytest.approx(expected)
    # which of the equal ones comes first makes no difference
    assert rank_correlation([0.0, 1.0, 1.0, 7.0], [1.0, 3.0, 2.0, 4.0]) == pytest.approx(expected)


def test_layers_and_scores_may_be_tensors() -> None:
    layer, score = torch.tensor([0, 0, 1, 1]), torch.tensor([0.5, 0.5, 0.25, 0.25])
    assert rank_correlation(layer, score) == pytest.approx(-1)
