"""Roles of heads, statistics of who takes them, heads that start alike, heads given by hand."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import Tensor

from mha_course.experiments import emergence
from mha_course.experiments.emergence.by_hand import AssignedTransformer, given_weights
from mha_course.experiments.emergence.lots import (
    agreement,
    columns,
    counts,
    null_range,
    power,
    shuffled_p,
    smallest_share_found,
    uniform_p,
)
from mha_course.experiments.emergence.pair_roles import (
    contrasts,
    explained,
    narrowed,
    train_pairs,
    without_head,
)
from mha_course.experiments.emergence.roles import (
    best_distance,
    costs,
    crossing,
    even_weights,
    half_of,
    role_scores,
    score,
    wanted_keys,
)
from mha_course.experiments.emergence.statements import half_ways, holders, steep_share
from mha_course.experiments.emergence.twins import difference, gradient_difference, make_alike
from mha_course.experiments.tiny_transformer import TinyTransformer, draw, fit
from mha_course.experiments.two_relations import PairReader, Setting
from mha_course.experiments.two_relations import draw as draw_pair
from mha_course.heads.patterns import find_targets
from mha_course.multi_head import MultiHeadAttention

IDS = torch.tensor([[5, 3, 8, 5, 3, 8, 5], [1, 2, 3, 4, 1, 2, 3]])


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# ---------------------------------------------------------------------------------------- roles


def test_previous_counts_in_the_first_round_only() -> None:
    assert wanted_keys(IDS, "previous").nonzero().tolist() == [
        [0, 1, 0],
        [0, 2, 1],
        [1, 1, 0],
        [1, 2, 1],
        [1, 3, 2],
    ]


def test_induction_is_what_the_pattern_module_calls_so() -> None:
    for row, wanted in zip(IDS, wanted_keys(IDS, "induction"), strict=True):
        targets = find_targets(row, is_causal=True).by_pattern["induction"]
        pairs = list(zip(targets.query.tolist(), targets.key.tolist(), strict=True))
        assert pairs == [tuple(pair) for pair in wanted.nonzero().tolist()]


@pytest.mark.parametrize("role", ["previous", "induction"])
def test_a_head_that_looks_where_it_should_scores_one(role: str) -> None:
    wanted = wanted_keys(IDS, role)
    perfect = wanted / wanted.sum(-1, keepdim=True).clamp(min=1)
    elsewhere = torch.zeros(2, 7, 7)
    elsewhere[:, range(7), range(7)] = 1.0  # each token looks at itself
    quarter = 0.25 * perfect + 0.75 * elsewhere
    scores = score(torch.stack([perfect, elsewhere, quarter], dim=1), wanted)
    assert scores.tolist() == pytest.approx([1, 0, 0.25])


def test_a_score_needs_a_query() -> None:
    all_new = torch.tensor([[1, 2, 3]])
    with pytest.raises(ValueError, match="no key for any query"):
        score(torch.ones(1, 2, 3, 3), wanted_keys(all_new, "induction"))


def test_baselines() -> None:
    previous, induction = (wanted_keys(IDS, role) for role in ("previous", "induction"))
    # queries 1, 2 and 1, 2, 3 see 2, 3 and 2, 3, 4 keys, one of them wanted
    assert even_weights(previous) == pytest.approx((1 / 2 + 1 / 3 + 1 / 2 + 1 / 3 + 1 / 4) / 5)
    assert best_distance(previous) == 1
    # in the first sequence the wanted key is 2 back, and 5 for the last token; in the second 3
    assert best_distance(induction) == pytest.approx(4 / 7)


def test_scores_are_those_of_the_layer_of_the_role() -> None:
    model = TinyTransformer(seed=1)
    ids = draw(5, generator())
    weights = [w.detach() for w in model.weights(ids)]
    expected = [
        score(weights[0], wanted_keys(ids, "previous")),
        score(weights[1], wanted_keys(ids, "induction")),
    ]
    torch.testing.assert_close(role_scores(model, ids), torch.stack(expected))


def test_cost_is_the_loss_without_the_head() -> None:
    model = TinyTransformer(seed=1)
    fit(model, steps=30)
    ids = draw(5, generator())
    cost = costs(model, ids)
    for layer, head in product(range(2), range(4)):
        with torch.no_grad():
            rise = model.without([(layer, head)]).losses(ids).mean() - model.losses(ids).mean()
        assert cost[layer, head].item() == pytest.approx(rise.item(), abs=1e-5)


def test_crossing_up_down_and_never() -> None:
    steps = [0, 10, 30]
    assert crossing(steps, [0.0, 0.0, 1.0], 0.25) == 15
    assert crossing(steps, [2.0, 1.0, 0.0], 1.5) == 5
    assert crossing(steps, [2.0, 1.9, 1.8], 1.0) == 30


def test_half_is_when_a_mean_of_five_is_below() -> None:
    assert half_of([4.0] * 10 + [0.0] * 10, 2.0) == 13
    assert half_of([4.0, 0.0, 4.0, 4.0, 4.0, 4.0], 2.0) == 6  # one lucky step is not enough


# ----------------------------------------------------------------------------------------- lots


def test_uniform_p() -> None:
    assert counts([0, 2, 2], 4) == [1, 0, 2, 0]
    assert uniform_p([0, 1, 2, 3] * 6, 4) == 1
    assert uniform_p([1] * 24, 4) == pytest.approx(1 / 10_001)
    # 8 against 2 of 10: the two-sided binomial test has 112 / 1024
    assert uniform_p([0] * 8 + [1] * 2, 2) == pytest.approx(112 / 1024, abs=0.012)


def test_uniform_p_is_below_005_in_no_more_than_5_percent() -> None:
    drawn = torch.randint(4, (100, 24), generator=generator()).tolist()
    false_alarms = sum(uniform_p(holders, 4) < 0.05 for holders in drawn)
    assert false_alarms <= 11  # 5 expected at most, and three standard errors


def test_power_rises_from_the_level_to_one() -> None:
    assert power(48, 4, 0.25) <= 0.06
    assert power(48, 4, 0.9) == 1
    found = smallest_share_found(48, 4)
    assert power(48, 4, found - 0.01) < 0.8 <= power(48, 4, found)
    assert smallest_share_found(3, 4) == 1  # three runs can show nothing


def test_agreement_by_rows_and_columns() -> None:
    table = [[0, 0, 1], [2, 2, 2]]
    assert agreement(table) == [pytest.approx(1 / 3), 1]
    assert columns(table) == [[0, 2], [0, 2], [1, 2]]
    assert agreement(columns(table)) == [0, 0, 0]


def test_null_range_knows_that_numbers_of_heads_mean_nothing() -> None:
    def mean_of_columns(table: list[list[int]]) -> float:
        values = agreement(columns(table))
        return sum(values) / len(values)

    by_weights = [[row % 4] * 6 for row in range(12)]  # only the weights decide
    low, high = null_range(by_weights, 4, mean_of_columns)
    assert low < 0.25 < high
    by_order = [[column % 4 for column in range(6)]] * 12  # only the order decides
    low, high = null_range(by_order, 4, mean_of_columns)
    assert high < mean_of_columns(by_order) == 1


def test_shuffled_p() -> None:
    same = ([1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0])
    opposite = (same[0], same[1][::-1])
    assert shuffled_p([same]) == pytest.approx(1 / 24, abs=0.01)  # one order of 24
    assert shuffled_p([same] * 4) < 0.001
    assert shuffled_p([opposite] * 4) == 1


# ---------------------------------------------------------------------------------------- twins


@pytest.mark.parametrize("bias", [True, False])
def test_heads_that_are_alike_attend_alike(bias: bool) -> None:
    torch.manual_seed(0)
    mha = MultiHeadAttention(12, 3, d_head=5, d_v=2, bias=bias)
    first = mha.w_q.weight[:5].clone()
    assert difference(mha) > 0.1
    make_alike(mha)
    assert difference(mha) == 0
    assert torch.equal(mha.w_q.weight[:5], first)
    x = torch.randn(2, 7, 12)
    z, weights = mha.heads(x)
    assert weights is not None
    torch.testing.assert_close(z, z[:, :1].expand_as(z))
    torch.testing.assert_close(weights, weights[:, :1].expand_as(weights))
    # one block of W_O, three times: removing any head takes a third
    bias_o = mha.w_o.bias if bias else torch.zeros(12)
    one_gone = mha.combine(z, torch.tensor([1.0, 0, 1])) - bias_o
    torch.testing.assert_close(one_gone, (mha.combine(z) - bias_o) * 2 / 3)


def test_alike_in_some_parts() -> None:
    torch.manual_seed(0)
    mha = MultiHeadAttention(12, 3)
    values = mha.w_v.weight.clone()
    make_alike(mha, "qk")
    assert torch.equal(mha.w_v.weight, values)
    assert torch.equal(mha.w_q.weight[:4], mha.w_q.weight[8:])
    assert difference(mha) > 0.1  # in W_V and W_O


def test_noise_is_as_large_as_asked() -> None:
    torch.manual_seed(0)
    mha = MultiHeadAttention(60, 5)
    make_alike(mha, "v", noise=1e-3)
    slices = mha.w_v.weight.detach().view(5, 12, 60)
    assert (slices[1] - slices[2]).std().item() == pytest.approx(2**0.5 * 1e-3, rel=0.1)


def test_difference_finds_one_number_in_any_projection() -> None:
    for part in ("w_q", "w_k", "w_v", "w_o"):
        torch.manual_seed(0)
        mha = MultiHeadAttention(12, 3)
        make_alike(mha)
        with torch.no_grad():
            getattr(mha, part).weight[5, 5] += 1
        assert difference(mha) > 0.5, part


def test_gradients_of_heads_that_are_alike() -> None:
    for form in ("loop", "batched", "fused"):
        assert gradient_difference(12, 3, form, seed=1) < 1e-5
    mha = MultiHeadAttention(12, 3)
    with pytest.raises(ValueError, match="no gradient"):
        difference(mha, of_gradients=True)
    mha(torch.randn(2, 5, 12)).square().sum().backward()
    assert difference(mha, of_gradients=True) > 0.1


def test_one_head_alone_starts_from_the_function_of_the_twins() -> None:
    ids = draw(5, generator())
    twins, alone = (emergence.twin_model(3, alone=alone) for alone in (False, True))
    assert alone.layers[0].attention.w_q.weight.shape == (8, 32)
    torch.testing.assert_close(twins(ids), alone(ids), rtol=0, atol=1e-5)
    assert emergence.pattern_distance(twins, ids) == pytest.approx(0, abs=1e-4)
    assert emergence.pattern_distance(TinyTransformer(seed=3), ids) > 0.05


# ------------------------------------------------------------------------------------- the pair


class Fixed(PairReader):
    """Head 0 looks at the previous token, head 1 at the first, and W_O keeps them apart."""

    def __init__(self) -> None:
        super().__init__(Setting(2))
        position = torch.eye(8) * 30
        with torch.no_grad():
            for parameter in self.attention.parameters():
                parameter.zero_()
            a = self.attention
            a.w_q.weight[:8, 8:] = position  # of head 0: my position …
            a.w_k.weight[:8, 8:] = position.roll(1, 0)  # … is the next one of the key
            a.w_q.weight[8, 8:] = 30.0
            a.w_k.weight[8, 8] = 30.0  # of head 1: only the first key has it
            a.w_v.weight[:8, :8] = a.w_v.weight[8:, :8] = torch.eye(8)
            a.w_o.weight.copy_(torch.eye(16))


def pair_of(size: int) -> tuple[Tensor, Tensor]:
    (content,), pair = draw_pair("bits", [generator()], size)
    return content[0], pair[0]


def test_contrasts_and_shares_of_a_reader_made_by_hand() -> None:
    reader = Fixed()
    content, pair = pair_of(50)
    assert contrasts(reader, content).tolist() == pytest.approx([1, -1], abs=1e-3)
    assert explained(reader, content, pair) == pytest.approx([1, 1], abs=1e-3)
    # without a head nothing is said of its relation, and nothing wrong either
    assert explained(without_head(reader, 0), content, pair) == pytest.approx([0, 1], abs=1e-3)
    assert explained(without_head(reader, 1), content, pair) == pytest.approx([1, 0], abs=1e-3)


def test_one_head_of_the_pair_starts_from_the_function_of_the_twins() -> None:
    content, _ = pair_of(5)
    torch.manual_seed(0)
    twins = PairReader(Setting(2))
    make_alike(twins.attention)
    torch.testing.assert_close(narrowed(twins)(content), twins(content))


def test_weights_and_data_order_have_their_own_seeds() -> None:
    one, same, init, order = (
        train_pairs([i], [o], steps=3, records=(0, 3))[0]["contrasts"]
        for i, o in ((1, 2), (1, 2), (4, 2), (1, 4))
    )
    assert one == same
    assert one[0] != init[0]
    assert one[0] == order[0]
    assert one[1] != order[1]


def test_twins_of_the_pair_end_at_half_and_noise_frees_them() -> None:
    twins, noisy = (
        train_pairs([0], [0], steps=250, records=(0, 250), noise=noise)[0] for noise in (0.0, 1e-3)
    )
    assert sum(twins["explained"]) / 2 < 0.51
    assert sum(noisy["explained"]) / 2 > 0.95
    assert noisy["difference"][0] < 0.05 < noisy["difference"][1]


# -------------------------------------------------------------------------------------- by hand


def test_given_weights() -> None:
    ids = torch.tensor([[5, 3, 5, 3]])
    assert given_weights(ids, "previous")[0].argmax(-1).tolist() == [0, 0, 1, 2]
    assert given_weights(ids, "first")[0].argmax(-1).tolist() == [0, 0, 0, 0]
    assert given_weights(ids, "induction")[0].argmax(-1).tolist() == [0, 1, 1, 2]
    for given in ("previous", "first", "induction"):
        assert torch.equal(given_weights(ids, given).sum(-1), torch.ones(1, 4))


def test_no_plan_changes_nothing() -> None:
    ids = draw(5, generator())
    torch.testing.assert_close(AssignedTransformer({}, seed=2)(ids), TinyTransformer(seed=2)(ids))


def test_a_plan_reaches_its_head_alone() -> None:
    ids = draw(5, generator())
    free, planned = TinyTransformer(seed=2), AssignedTransformer({(1, 2): "first"}, seed=2)
    before, after = free.weights(ids), planned.weights(ids)
    torch.testing.assert_close(before[0], after[0])
    assert torch.equal(after[1][:, 2], given_weights(ids, "first"))
    torch.testing.assert_close(before[1][:, [0, 1, 3]], after[1][:, [0, 1, 3]])
    # the output uses it: as if the head had learned so
    gates = torch.ones(2, 4)
    gates[1, 2] = 0
    torch.testing.assert_close(planned(ids, gates), free(ids, gates))
    assert not torch.allclose(planned(ids), free(ids), atol=1e-3)


def test_a_given_head_still_learns_what_to_fetch() -> None:
    model = AssignedTransformer({(0, 0): "previous"}, seed=2)
    model.losses(draw(5, generator())).mean().backward()
    attention = model.layers[0].attention
    assert attention.w_q.weight.grad[:8].abs().max() == 0
    assert attention.w_v.weight.grad[:8].abs().max() > 0


# ------------------------------------------------------------------------------------- findings


def test_half_ways_and_holders_of_made_up_curves() -> None:
    def scores(best: int, values: list[float]) -> list[list[float]]:
        return [[value if head == best else 0.01 * head for head in range(4)] for value in values]

    data = {
        "records": [0, 10, 20, 30],
        "guessing": 2.0,
        "copying": [
            {
                "loss": [3.0, 2.0, 1.0, 0.0],  # 1, half of guessing, at step 20
                "previous": scores(1, [0.2, 0.2, 1.0, 1.0]),  # 0.6 at step 15
                "induction": scores(2, [0.0, 0.0, 0.0, 1.0]),  # 0.5 at step 25
            }
        ],
    }
    assert half_ways(data) == {"loss": [20], "previous": [15], "induction": [25]}
    assert holders(data, "previous") == [1]
    assert holders(data, "induction") == [2]
    assert holders(data, "induction", 0) == [3]


def test_steep_share() -> None:
    sudden = [2.0, 2.0, 2.0, 2.0, 0.0]
    steady = [2.0, 1.5, 1.0, 0.5, 0.0]
    steps = [0, 10, 20, 30, 40]
    assert steep_share(steps, sudden, 2.0) == pytest.approx(8 / 39)
    assert steep_share(steps, steady, 2.0) == pytest.approx(32 / 36)


def test_jobs_give_the_same_bits_twice() -> None:
    size = emergence.QUICK._replace(other_steps=3)
    for how in ({"noise": 1e-3}, {"head_dropout": 0.1}):
        assert emergence._twin(1, size, how) == emergence._twin(1, size, how)
    once, again = (emergence._follow(1, 3, (0, 3)) for _ in range(2))
    assert once == again
    assert len(once["loss"]) == 2
