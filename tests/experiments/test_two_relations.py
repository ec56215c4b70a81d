"""Ensembles, intervals, and the experiment of two relations."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mha_course.experiments.ensemble import Ensemble
from mha_course.experiments.intervals import mean_interval, t_bound
from mha_course.experiments.two_relations import (
    CEILING_ONE_HEAD,
    CONTENT_WIDTH,
    D_MODEL,
    FIRST_QUERY,
    NUM_TOKENS,
    PairReader,
    Setting,
    draw,
    train,
)

SEEDS = (0, 1, 2)


def test_one_head_stays_under_its_ceiling_and_two_heads_do_not() -> None:
    one = train(Setting(num_heads=1), seeds=SEEDS, steps=150)
    two = train(Setting(num_heads=2), seeds=SEEDS, steps=150)

    assert all(0.4 <= share <= CEILING_ONE_HEAD + 0.02 for share in one.explained)
    assert all(0.95 <= share <= 1 for share in two.explained)
    assert one.parameters_in_attention == two.parameters_in_attention == 4 * D_MODEL**2


def test_two_heads_read_the_previous_and_the_first_token() -> None:
    result = train(Setting(num_heads=2), seeds=SEEDS, steps=150)
    queries = torch.arange(FIRST_QUERY, NUM_TOKENS)
    for of_one_seed in result.weights:
        previous = of_one_seed[:, queries, queries - 1].mean(-1)  # [h]
        first = of_one_seed[:, queries, 0].mean(-1)  # [h]
        assert previous.max() > 0.8
        assert first.max() > 0.8
        assert previous.argmax() != first.argmax()


@pytest.mark.parametrize("sees", ["position", "everything"])
@pytest.mark.parametrize("readout", ["linear", "mlp"])
def test_the_same_seeds_give_the_same_bits(sees: str, readout: str) -> None:
    setting = Setting(2, content="gaussian", sees=sees, readout=readout)
    first, second = (train(setting, seeds=(3, 5), steps=5) for _ in range(2))
    assert first.explained == second.explained
    assert torch.equal(first.weights, second.weights)


def test_a_seed_trained_alone_ends_as_in_an_ensemble() -> None:
    setting = Setting(num_heads=2)
    together = train(setting, seeds=SEEDS, steps=60)
    for i, seed in enumerate(SEEDS):
        alone = train(setting, seeds=[seed], steps=60)
        assert alone.explained == pytest.approx([together.explained[i]], abs=1e-3)
        torch.testing.assert_close(alone.weights[0], together.weights[i], rtol=0, atol=1e-3)


def test_a_reader_sees_no_future() -> None:
    reader = PairReader(Setting(num_heads=2, sees="everything"))
    content = torch.randn(3, NUM_TOKENS, CONTENT_WIDTH)
    changed = content.clone()
    changed[:, -1] += 1
    before, after = reader(content), reader(changed)
    assert torch.equal(before[:, :-1], after[:, :-1])
    assert not torch.equal(before[:, -1], after[:, -1])


def test_the_pair_is_the_previous_token_and_the_first() -> None:
    (content,), pair = draw("bits", [torch.Generator().manual_seed(0)], batch_size=3)
    assert set(content.unique().tolist()) == {-1.0, 1.0}
    assert pair.shape == (1, 3, NUM_TOKENS - FIRST_QUERY, 2 * CONTENT_WIDTH)
    for t in range(FIRST_QUERY, NUM_TOKENS):
        expected = torch.cat([content[0, :, t - 1], content[0, :, 0]], dim=-1)
        assert torch.equal(pair[0, :, t - FIRST_QUERY], expected)


def test_an_ensemble_is_its_members() -> None:
    def make() -> nn.Module:
        return nn.Sequential(nn.Linear(3, 5), nn.GELU(), nn.Linear(5, 2))

    ensemble = Ensemble(make, SEEDS)
    x = torch.randn(len(SEEDS), 7, 3)
    for i, seed in enumerate(SEEDS):
        torch.manual_seed(seed)
        fresh = make()
        torch.testing.assert_close(ensemble(x)[i], fresh(x[i]))
        torch.testing.assert_close(ensemble.member(i, make())(x[i]), fresh(x[i]))


def test_interval_is_the_t_interval() -> None:
    interval = mean_interval([1.0, 2.0, 3.0, 4.0, 5.0])
    half = 2.776 * 2.5**0.5 / 5**0.5  # from a table: t for 4 degrees of freedom, 97.5 %
    assert interval.mean == 3
    assert (interval.low, interval.high) == pytest.approx((3 - half, 3 + half), abs=1e-3)
    assert str(interval) == "3.000 [1.037, 4.963]"


def test_bound_of_a_smaller_risk() -> None:
    assert t_bound(5, risk=0.01) == pytest.approx(4.604, abs=1e-3)  # from a table, 99.5 %


def test_interval_covers_the_truth_as_often_as_it_says() -> None:
    draws = torch.randn(2000, 4, generator=torch.Generator().manual_seed(0)).tolist()
    hits = sum(low <= 0 <= high for _, low, high in map(mean_interval, draws))
    assert 0.935 <= hits / len(draws) <= 0.965  # 0.95, within three standard errors
