"""Importance of heads: against definitions, finite differences and known answers."""

from __future__ import annotations

import pytest
import torch
from scipy import stats
from small_models import LAYERS, H, small_model, some_text
from torch import Tensor

from mha_course.heads import TextModel
from mha_course.heads.curves import lowest, pruning_curve
from mha_course.heads.importance import (
    bootstrap,
    gate_gradients,
    gradient_importance,
    leave_one_out,
    mean_outputs,
    negative_heads,
    random_scores,
    rank_agreement,
    weight_norms,
)
from mha_course.heads.tasks import GatedLoss, TextBatch, text_batches

T, TEXTS = 20, 2


@pytest.fixture(params=["llama", "gpt2", "bert"])
def model(request: pytest.FixtureRequest) -> TextModel:
    return small_model(request.param)


@pytest.fixture
def batches(model: TextModel) -> list[TextBatch]:
    return text_batches(model, some_text(130), size=T, texts=TEXTS)


def linear(weights: Tensor, texts: Tensor) -> GatedLoss:
    """A loss whose slopes and changes are known: L(x) = x · Σ w ξ."""
    return GatedLoss(*weights.shape, lambda gates: (gates * weights).sum() * texts, chance=9.0)


# --------------------------------------------------------------------- leave one out


def test_change_is_the_loss_without_the_head_minus_the_loss_with_it(
    batches: list[TextBatch],
) -> None:
    changes = leave_one_out(batches)
    assert changes.shape == (LAYERS, H, TEXTS * len(batches))
    for layer, head in ((0, 0), (1, 3), (2, 2)):
        gates = torch.ones(LAYERS, H)
        gates[layer, head] = 0
        with torch.no_grad():
            expected = torch.cat([b.losses(gates) - b.losses() for b in batches])
        torch.testing.assert_close(changes[layer, head], expected, rtol=1e-3, atol=1e-5)
        assert expected.abs().max() > 1e-4


def test_progress_counts_every_layer_of_every_batch(batches: list[TextBatch]) -> None:
    seen: list[tuple[int, int]] = []
    leave_one_out(batches, progress=lambda done, total: seen.append((done, total)))
    total = LAYERS * len(batches)
    assert seen == [(i + 1, total) for i in range(total)]


def test_mean_ablation_puts_in_the_mean_over_all_tokens() -> None:
    model = small_model("llama")
    chunks = model.chunks(some_text(130), T).split(4)  # the last part is smaller
    assert len(chunks[-1]) != len(chunks[0])
    inputs: list[Tensor] = []
    hook = model.model.model.layers[1].self_attn.o_proj.register_forward_hook(
        lambda _, x, __: inputs.append(x[0].flatten(0, 1))
    )
    fill = mean_outputs(model, chunks)
    hook.remove()
    assert fill.shape == (LAYERS, H, model.heads.d_head)
    expected = torch.cat(inputs).mean(0).view(H, -1)
    torch.testing.assert_close(fill[1], expected, rtol=1e-4, atol=1e-6)

    batches = text_batches(model, some_text(130), size=T, texts=TEXTS)
    zero, mean = leave_one_out(batches), leave_one_out(batches, fill=fill)
    assert (zero - mean).abs().amax(-1).min() > 1e-5


# ------------------------------------------------------------------------- gradients


def test_gradients_are_slopes_of_each_texts_loss(batches: list[TextBatch]) -> None:
    slopes = gate_gradients(batches)
    assert slopes.shape == (LAYERS, H, TEXTS * len(batches))
    step = 1e-2
    for layer, head in ((0, 1), (1, 3), (2, 0)):
        losses = []
        for sign in (1, -1):
            gates = torch.ones(LAYERS, H)
            gates[layer, head] += sign * step
            with torch.no_grad():
                losses.append(torch.cat([b.losses(gates) for b in batches]))
        expected = (losses[0] - losses[1]) / (2 * step)
        torch.testing.assert_close(slopes[layer, head], expected, rtol=3e-2, atol=2e-3)
    assert slopes.abs().amax() > 1e-2


def test_importance_takes_the_absolute_value_before_the_mean() -> None:
    slopes = torch.tensor([[[1.0, -3.0], [0.5, 0.5]], [[2.0, 2.0], [0.0, 0.0]]])
    plain = gradient_importance(slopes, per_layer_norm=False)
    assert plain.tolist() == [[2.0, 0.5], [2.0, 0.0]]
    normed = gradient_importance(slopes)
    torch.testing.assert_close(normed[0], torch.tensor([2.0, 0.5]) / 4.25**0.5)
    torch.testing.assert_close(normed.norm(dim=-1), torch.ones(2))


def test_a_linear_loss_has_the_importance_that_was_put_in() -> None:
    weights = torch.tensor([[1.0, -2.0, 0.5], [0.0, 4.0, 3.0]])
    texts = torch.tensor([1.0, 2.0, 6.0, 3.0])
    batches = [linear(weights, texts[:3]), linear(weights, texts[3:])]
    torch.testing.assert_close(leave_one_out(batches), -weights[..., None] * texts)
    torch.testing.assert_close(gate_gradients(batches), weights[..., None] * texts)
    scores = gradient_importance(gate_gradients(batches), per_layer_norm=False)
    torch.testing.assert_close(scores, weights.abs() * 3)


def test_nothing_to_measure_is_refused() -> None:
    for measure in (leave_one_out, gate_gradients):
        with pytest.raises(ValueError, match="there are no batches"):
            measure([])
    with pytest.raises(ValueError, match="there are no tokens to take a mean over"):
        mean_outputs(small_model("llama"), [])


# ------------------------------------------------------------------------- baselines


def test_weight_norm_is_that_of_the_product_of_both_matrices() -> None:
    model = small_model("llama")
    attention = model.model.model.layers[2].self_attn
    w_v = attention.v_proj.weight.T  # [d_model, g * d_head]
    w_o = attention.o_proj.weight.T  # [h * d_head, d_model]
    scores = weight_norms(model.heads)
    assert scores.shape == (LAYERS, H)
    for head in range(H):
        group = head // 2  # 4 query heads share 2 value heads
        product = w_v[:, group * 10 : (group + 1) * 10] @ w_o[head * 10 : (head + 1) * 10]
        torch.testing.assert_close(scores[2, head], product.norm().detach())


def test_random_scores_come_from_their_seed() -> None:
    assert torch.equal(random_scores(2, 3, seed=1), random_scores(2, 3, seed=1))
    assert not torch.equal(random_scores(2, 3, seed=1), random_scores(2, 3, seed=2))


def test_rank_agreement_is_spearmans() -> None:
    a, b = random_scores(LAYERS, H, 1), random_scores(LAYERS, H, 2).round(decimals=1)  # ties
    found = rank_agreement({"a": a, "b": b, "minus a": -a, "a squared": a**2})
    assert found[0, 1].item() == pytest.approx(stats.spearmanr(a.flatten(), b.flatten())[0])
    assert found[0].tolist()[2:] == pytest.approx([-1, 1])
    torch.testing.assert_close(found, found.T)


def test_rankings_of_other_heads_are_refused() -> None:
    with pytest.raises(ValueError, match=r"shapes \{'a': \[2, 3\], 'b': \[3, 2\]\}"):
        rank_agreement({"a": torch.ones(2, 3), "b": torch.ones(3, 2)})
    with pytest.raises(ValueError, match="give at least 2"):
        rank_agreement({"a": torch.ones(2, 3)})


# -------------------------------------------------------------------------- intervals


def test_intervals_hold_the_true_mean_most_of_the_time() -> None:
    values = torch.randn(400, 40, generator=torch.Generator().manual_seed(0)) + 3
    found = bootstrap(values)
    held = ((found.low <= 3) & (found.high >= 3)).float().mean()
    assert 0.9 <= held <= 0.98  # 95 % on paper; percentiles are a little too narrow
    torch.testing.assert_close(found.mean, values.mean(-1))
    width = (found.high - found.low).mean()
    assert width == pytest.approx(2 * 1.96 / 40**0.5, rel=0.05)


def test_intervals_keep_the_axes_of_the_heads() -> None:
    found = bootstrap(torch.rand(LAYERS, H, 5), resamples=50)
    assert found.low.shape == found.high.shape == found.mean.shape == (LAYERS, H)
    assert (found.low < found.mean).all()
    assert (found.mean < found.high).all()


def test_one_text_makes_no_interval() -> None:
    with pytest.raises(ValueError, match="1 texts on the last axis; an interval needs at least 2"):
        bootstrap(torch.rand(2, 3, 1))


def test_negative_heads_must_stay_negative_in_other_texts() -> None:
    generator = torch.Generator().manual_seed(0)
    truth = torch.tensor([[-1.0, 0.0, 1.0], [-1.0, 0.0, 0.0]])[..., None]
    found = truth + torch.randn(2, 3, 30, generator=generator) * 0.5
    found[0, 1] -= 1  # by chance, this head looks harmful here
    held_out = truth + torch.randn(2, 3, 20, generator=generator) * 0.5
    result = negative_heads(found, held_out)
    assert result.suspects.tolist() == [[True, True, False], [True, False, False]]
    assert result.confirmed.tolist() == [[True, False, False], [True, False, False]]


def test_other_heads_are_refused_as_held_out() -> None:
    with pytest.raises(ValueError, match=r"changes have heads \[2, 3\], held_out \[3, 2\]"):
        negative_heads(torch.rand(2, 3, 4), torch.rand(3, 2, 4))


# ---------------------------------------------------------------------------- pruning


def test_the_lowest_scores_go_first() -> None:
    scores = torch.tensor([[3.0, 1.0], [2.0, 1.0]])
    assert lowest(scores, 0).tolist() == [[1, 1], [1, 1]]
    assert lowest(scores, 1).tolist() == [[1, 0], [1, 1]]  # of two equals, the first
    assert lowest(scores, 3).tolist() == [[1, 0], [0, 0]]


@pytest.mark.parametrize("count", [-1, 5])
def test_a_count_that_does_not_exist_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match=f"count={count} must be from 0 to the number of heads, 4"):
        lowest(torch.ones(2, 2), count)


def test_scores_that_are_nan_are_refused() -> None:
    with pytest.raises(ValueError, match="1 scores are NaN"):
        lowest(torch.tensor([[1.0, float("nan")]]), 1)


def test_a_curve_adds_up_what_each_head_is_worth() -> None:
    weights = -torch.tensor([[1.0, 2.0, 4.0], [8.0, 16.0, 32.0]])  # removing heads costs this
    texts = torch.tensor([1.0, 2.0, 6.0])
    batches = [linear(weights, texts[:2]), linear(weights, texts[2:])]
    curve = pruning_curve(batches, -weights, shares=(0, 0.5, 1))
    assert curve.removed == [0, 3, 6]
    assert curve.shares == [0, 0.5, 1]
    expected = torch.tensor([-63.0, -63 + 7, 0])[:, None] * texts
    torch.testing.assert_close(curve.losses, expected)


def test_a_curve_of_a_real_model_starts_whole(batches: list[TextBatch]) -> None:
    seen: list[tuple[int, int]] = []
    scores = random_scores(LAYERS, H, 0)
    curve = pruning_curve(
        batches, scores, shares=(0, 0.25), progress=lambda *step: seen.append(step)
    )
    with torch.no_grad():
        whole = torch.cat([b.losses() for b in batches])
        less = torch.cat([b.losses(lowest(scores, 3)) for b in batches])
    torch.testing.assert_close(curve.losses, torch.stack([whole, less]))
    assert seen == [(1, 2), (2, 2)]


@pytest.mark.parametrize("shares", [(), (0.5, 1.1), (-0.1,)])
def test_shares_that_are_none_are_refused(shares: tuple[float, ...]) -> None:
    batch = linear(torch.ones(2, 3), torch.ones(2))
    with pytest.raises(ValueError, match="shares from 0 to 1"):
        pruning_curve([batch], torch.ones(2, 3), shares=shares)
    with pytest.raises(ValueError, match="0 batches"):
        pruning_curve([], torch.ones(2, 3))
    with pytest.raises(ValueError, match=r"scores have shape \[3, 2\]; expected \[2, 3\]"):
        pruning_curve([batch], torch.ones(3, 2))
