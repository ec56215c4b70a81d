"""Heads that hurt: known answers for every helper."""

from __future__ import annotations

import pytest
import torch

from mha_course.experiments.intervals import mean_interval
from mha_course.experiments.negative_heads import (
    certain,
    harmful,
    judge,
    summary,
    thirds,
)


def steady(*means: float, pieces: int = 6) -> torch.Tensor:
    """Changes `[1, h, pieces]` that hardly vary from piece to piece."""
    wobble = torch.tensor([1.0, -1.0]).repeat(pieces // 2) * 0.01
    return (torch.tensor(means)[:, None] + wobble)[None]


def test_harmful_is_an_interval_below_zero() -> None:
    changes = torch.randn(20, 30, 7, generator=torch.Generator().manual_seed(0)) - 0.5
    below = [[mean_interval(of.tolist()).high < 0 for of in layer] for layer in changes]
    assert harmful(changes).tolist() == below
    assert 0 < sum(map(sum, below)) < 600  # there are heads of both kinds


def test_one_piece_has_no_interval() -> None:
    with pytest.raises(ValueError, match="at least 2 values, got 1"):
        harmful(torch.zeros(2, 3, 1))


def test_thirds_share_no_piece_and_differ_from_seed_to_seed() -> None:
    parts = thirds(11, seed=3)
    assert [len(part) for part in parts] == [3, 3, 3]
    assert len({piece for part in parts for piece in part}) == 9
    assert parts == thirds(11, seed=3) != thirds(11, seed=4)


def test_harmful_is_a_fall_of_the_loss_that_is_sure() -> None:
    changes = steady(-0.5, 0.5, 0.0)
    changes = torch.cat([changes, torch.tensor([[[-9.0, 8.0, -9.0, 8.0, -9.0, 8.0]]])], dim=1)
    assert harmful(changes).tolist() == [[True, False, False, False]]


def test_confirmed_is_harmful_in_both_parts() -> None:
    split = judge(steady(-0.5, -0.5, 0.5, 0.5), steady(-0.5, 0.5, -0.5, 0.5), seed=0)
    assert split.suspects.tolist() == [[True, True, False, False]]
    assert split.confirmed.tolist() == [[True, False, False, False]]
    # 2 of 4 heads look harmful in the confirming part, so half of the 2 suspects by luck
    assert split.confirmed_by_shuffling == 1.0


def test_random_signs_leave_little() -> None:
    split = judge(steady(*[-0.5] * 4, pieces=8), steady(*[-0.5] * 4, pieces=8), seed=0)
    # all heads share their signs, so all look harmful only if 8 signs are all plus: 1 in 256
    assert split.confirmed.all()
    assert split.suspects_by_signs < 0.5
    assert split.confirmed_by_signs == 0


def test_certain_heads_have_their_sign_and_noise_has_none() -> None:
    noise = torch.randn(1, 50, 9, generator=torch.Generator().manual_seed(0))
    changes = torch.cat([steady(0.5, -0.5, pieces=10)[..., :9], noise], dim=1)
    assert certain(changes) == {"help": [[0, 0]], "hurt": [[0, 1]]}


def test_summary_counts_a_split_without_confirmed_heads_as_no_change() -> None:
    with_one = {
        "suspects": [[0, 0], [0, 1]],
        "confirmed": [[0, 1]],
        "confirmed by signs": 0.0,
        "confirmed by shuffling": 0.5,
        "confirmed, alone": [-0.3],
        "together": {"confirmed": [-0.5, -0.3], "random": [0.2, 0.4]},
    }
    with_none = {
        "suspects": [],
        "confirmed": [],
        "confirmed by signs": 0.2,
        "confirmed by shuffling": 0.0,
        "confirmed, alone": [],
        "together": {},
    }
    found = summary(
        {
            "changes": [[[0.0], [0.0], [0.0]]],
            "intact": [3.0],
            "certain": {"help": [[0, 0], [0, 2]], "hurt": [[0, 1]]},
            "splits": [with_one, with_none],
        }
    )
    assert (found.heads, found.suspects, found.confirmed) == (3, 1.0, 0.5)
    assert (found.better, found.tried) == (1, 1)
    assert found.together == pytest.approx(-0.2)
    assert found.at_random == pytest.approx(0.15)
    assert found.alone == pytest.approx(0.3)
    assert (found.help, found.hurt) == (2, 1)
