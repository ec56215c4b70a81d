"""How many heads can go: known answers for every helper."""

from __future__ import annotations

import pytest
import torch

from mha_course.experiments.importance_and_pruning.curves import (
    METHODS,
    carried,
    largest_share,
    over_resamples,
)
from mha_course.experiments.importance_and_pruning.statements import can_go, own

SHARES = (0.0, 0.1, 0.3, 0.7, 1.0)


@pytest.mark.parametrize(
    ("losses", "share"),
    [
        ((1.0, 1.04, 1.05, 1.2, 3.0), 0.3),
        ((1.0, 1.2, 1.0, 1.0, 3.0), 0.0),  # it must stay within on the whole way
        ((1.0, 0.5, 1.04, 1.2, 1.0), 0.3),  # better than intact is within
        ((1.0, 1.0, 1.0, 1.0, 1.0), 1.0),
    ],
)
def test_largest_share(losses: tuple[float, ...], share: float) -> None:
    assert largest_share(SHARES, torch.tensor(losses), 0.0501) == share


def test_resampled_pieces_that_agree_leave_no_doubt() -> None:
    curve = torch.tensor([1.0, 1.01, 1.02, 2.0, 3.0])
    same = curve[:, None].repeat(1, 4)
    found = over_resamples(same, lambda c: largest_share(SHARES, c, 0.05))
    assert found == (0.3, 0.3, 0.3)


def test_resampled_pieces_that_differ_give_an_interval() -> None:
    early, late = torch.tensor([1.0, 2.0, 2, 2, 2]), torch.tensor([1.0, 1.0, 1, 1, 2])
    pieces = torch.stack([early, late, late, late], dim=1)
    found = over_resamples(pieces, lambda c: largest_share(SHARES, c, 0.3))
    # a quarter of the rise is within; at two of four it is not; without the early one all but 1.0
    assert found == (0.7, 0.0, 0.7)
    assert found == over_resamples(pieces, lambda c: largest_share(SHARES, c, 0.3))


def test_carried_counts_the_heads_that_are_ranked_first() -> None:
    damage = torch.tensor([[8.0, 1.0], [2.0, -1.0]])
    assert carried(damage, damage, 0.8) == 0.25  # 8 of 10
    assert carried(damage, damage, 0.81) == 0.5
    # ranked the wrong way round, all heads but one come before the 8
    assert carried(-damage, damage, 0.5) == 1.0
    assert carried(torch.rand(5, 4), torch.ones(5, 4), 0.5) == 0.5  # the baseline: all alike


def test_damage_that_adds_up_to_nothing_is_carried_by_no_share() -> None:
    assert carried(torch.zeros(1, 2), torch.tensor([[1.0, -1.0]]), 0.5) is None


def test_can_go_takes_the_best_ranking_and_the_mean_of_random_ones() -> None:
    shares = dict(zip(METHODS, (0.2, 0.3, 0.1), strict=True))
    found = {
        "can go": {
            **{name: {"limit": [share, 0.0, 0.5]} for name, share in shares.items()},
            "random 0": {"limit": [0.05, 0, 0]},
            "random 1": {"limit": [0.15, 0, 0]},
        }
    }
    most = can_go(found, "limit")
    assert most.method == "gradient"
    assert most.best == (0.3, 0.0, 0.5)
    assert most.at_random == pytest.approx(0.1)


def test_own_compares_with_the_whole_model_trained_on() -> None:
    seed = {
        "as it is": [0.10, 0.12, 0.14, 0.30, 2.0],
        "whole, trained on": 0.0,
        "cut, trained on": [0.01, 0.06],
        "cut, from scratch": [0.01, 0.02],
        "gates": [{"removed": 1, "loss": 0.0}, {"removed": 2, "loss": 0.04}],
    }
    most = own({"cuts": [2, 3]}, seed)
    assert most.as_it_is == 0.5  # compared with the intact model: it was not trained on either
    assert most.trained_on == 0.5  # 0.06 is more than 0.05 above the whole model
    assert most.from_scratch == 0.75
    assert most.gates == 0.5
