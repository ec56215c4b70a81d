"""Losses of whole models: right, differentiable, and the same when work is reused."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from small_models import KINDS, LAYERS, WORDS, H, small_model, some_text
from torch import Tensor, nn
from torch.nn import functional

from mha_course.heads import TextModel
from mha_course.heads.reuse import blocks
from mha_course.heads.streamed_loss import before_head, plain_head, token_losses
from mha_course.heads.tasks import Batch, GatedLoss, TextBatch, text_batches

TEXTS, T = 3, 20


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def model(kind: str) -> TextModel:
    return small_model(kind)


@pytest.fixture
def batch(model: TextModel) -> TextBatch:
    return text_batches(model, some_text(100), size=T, texts=TEXTS)[0]


def by_hand(model: TextModel, ids: Tensor) -> list[float]:
    """The loss of each text, one at a time and one token at a time."""
    run: Any = model.model
    losses = []
    if model.name == "bert":  # embeds halves: [CLS] half [SEP]
        middle = (T - 2) // 2
        halves = [
            [[1, *row[1 : 1 + middle], 2] for row in ids.tolist()],
            [[1, *row[1 + middle : 1 + 2 * middle], 2] for row in ids.tolist()],
        ]
        first, second = (
            [run(torch.tensor([half])).last_hidden_state[0].mean(0) for half in side]
            for side in halves
        )
        for i in range(len(ids)):
            scores = [20 * functional.cosine_similarity(first[i], s, dim=0).item() for s in second]
            losses.append(math.log(sum(map(math.exp, scores))) - scores[i])
        return losses
    for row in ids:
        each = []
        if model.name == "masked bert":
            hidden = list(range(1 + 3, T - 1, 7))  # from the 4th token on, every 7th
            masked = row.clone()
            masked[hidden] = WORDS.index("[MASK]")
            shares = run(masked[None]).logits[0].log_softmax(-1)
            each = [-shares[t, row[t]].item() for t in hidden]
        else:
            shares = run(row[None]).logits[0].log_softmax(-1)
            each = [-shares[t, row[t + 1]].item() for t in range(T - 1)]
        losses.append(sum(each) / len(each))
    return losses


def test_losses_are_what_the_definition_says(model: TextModel, batch: TextBatch) -> None:
    ids = model.chunks(some_text(100), T)
    ids = ids[:: len(ids) // TEXTS][:TEXTS]
    with torch.no_grad():
        expected = torch.tensor(by_hand(model, ids))
        torch.testing.assert_close(batch.losses(), expected, rtol=1e-4, atol=1e-4)


def test_chance_is_the_loss_of_equal_shares(kind: str, batch: TextBatch) -> None:
    answers = TEXTS if kind == "bert" else len(WORDS)
    assert batch.chance == pytest.approx(math.log(answers))
    assert batch.num_texts == TEXTS


def test_work_that_is_reused_gives_the_same_losses(batch: TextBatch) -> None:
    ours = torch.stack(list(batch.without_each_head()))
    plain = torch.stack(list(Batch.without_each_head(batch)))
    assert ours.shape == (LAYERS, H, TEXTS)
    torch.testing.assert_close(ours, plain, rtol=1e-5, atol=1e-5)
    with torch.no_grad():
        assert (ours - batch.losses()).abs().amax(-1).min() > 1e-4  # every head does something


def test_work_that_is_reused_gives_the_same_losses_with_a_fill(
    model: TextModel, batch: TextBatch
) -> None:
    fill = torch.randn(LAYERS, H, model.heads.d_head, generator=torch.Generator().manual_seed(2))
    ours = torch.stack(list(batch.without_each_head(fill)))
    plain = torch.stack(list(Batch.without_each_head(batch, fill)))
    torch.testing.assert_close(ours, plain, rtol=1e-5, atol=1e-5)
    assert (ours - torch.stack(list(batch.without_each_head()))).abs().amax(-1).min() > 1e-4


def test_reuse_goes_in_parts_when_texts_are_long(
    batch: TextBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = torch.stack(list(batch.without_each_head()))
    monkeypatch.setattr("mha_course.heads.tasks._TOKENS_AT_ONCE", 2 * TEXTS * T)
    in_parts = torch.stack(list(batch.without_each_head()))
    torch.testing.assert_close(in_parts, expected, rtol=1e-5, atol=1e-5)


def test_layers_below_are_not_run_again(model: TextModel, batch: TextBatch) -> None:
    calls = [0] * LAYERS
    for layer in range(LAYERS):

        def count(*_: Any, layer: int = layer) -> None:
            calls[layer] += 1

        model.heads.module(layer).register_forward_pre_hook(count)
    list(batch.without_each_head())
    assert calls == [1 + 1, 1 + 2, 1 + 3]  # once to keep, then for each layer at or below


def test_the_model_is_whole_again_after_a_run_that_failed(batch: TextBatch) -> None:
    with torch.no_grad():
        expected = batch.losses()
    steps = batch.without_each_head(torch.ones(LAYERS, H, 1))  # a fill of the wrong width
    with pytest.raises(ValueError, match="fill has shape"):
        list(steps)
    with torch.no_grad():
        torch.testing.assert_close(batch.losses(), expected, rtol=0, atol=0)


def test_losses_have_a_slope_in_every_gate(batch: TextBatch) -> None:
    gates = torch.ones(LAYERS, H, requires_grad=True)
    [slope] = torch.autograd.grad(batch.losses(gates).sum(), gates)
    step = 1e-2
    for head in ((0, 1), (2, 3)):
        up, down = torch.ones(LAYERS, H), torch.ones(LAYERS, H)
        up[head] += step
        down[head] -= step
        with torch.no_grad():
            difference = (batch.losses(up) - batch.losses(down)).sum() / (2 * step)
        torch.testing.assert_close(slope[head], difference, rtol=2e-2, atol=2e-3)
    assert (slope != 0).all()


# ------------------------------------------------------------------ vocabulary in slices


@pytest.mark.parametrize("bias", [False, True])
def test_slices_of_the_vocabulary_add_up(bias: bool) -> None:
    torch.manual_seed(0)
    head = nn.Linear(7, 2500, bias=bias, dtype=torch.float64)  # two slices and a half
    hidden = torch.randn(3, 5, 7, dtype=torch.float64)
    labels = torch.randint(2500, (3, 5))
    expected = functional.cross_entropy(
        head(hidden).flatten(0, 1), labels.flatten(), reduction="none"
    )
    torch.testing.assert_close(token_losses(hidden, head, labels), expected.view(3, 5))


def test_scores_that_are_changed_afterwards_are_noticed() -> None:
    ids = torch.arange(5, 11)[None]
    assert plain_head(small_model("gemma2").model, ids) is None  # capped
    llama = small_model("llama").model
    assert plain_head(llama, ids) is llama.lm_head


def test_the_last_layer_works_again_after_it_was_left_out() -> None:
    model = small_model("llama").model
    ids = torch.arange(5, 11)[None]
    with torch.no_grad():
        expected = model(ids).logits
        before_head(model.lm_head, lambda: model(ids))
        with pytest.raises(ZeroDivisionError):
            before_head(model.lm_head, lambda: 1 // 0)
        torch.testing.assert_close(model(ids).logits, expected, rtol=0, atol=0)


# ----------------------------------------------------------------------- texts, batches


def test_batches_hold_chunks_from_all_over_the_text() -> None:
    model = small_model("llama")
    chunks = model.chunks(some_text(130), T)  # 6 chunks, and a rest
    batches = text_batches(model, some_text(130), size=T, texts=2)
    assert [b.num_texts for b in batches] == [2, 2, 2]
    with torch.no_grad():
        apart = torch.cat([b.losses() for b in batches])
        together = TextBatch(model, chunks[[0, 3, 1, 4, 2, 5]]).losses()
    torch.testing.assert_close(apart, together)


def test_texts_that_are_too_short_are_refused() -> None:
    model = small_model("llama")
    with pytest.raises(ValueError, match="text makes 2 chunks of 20 tokens, and a batch needs 8"):
        text_batches(model, some_text(45), size=T)
    with pytest.raises(ValueError, match="texts=0 must be at least 1"):
        text_batches(model, some_text(45), size=T, texts=0)
    with pytest.raises(ValueError, match="text has 15 tokens; one chunk of size=20 needs 20"):
        model.chunks(some_text(15), T)
    with pytest.raises(ValueError, match="size=3 must leave room for 2 tokens beside 2 special"):
        small_model("bert").chunks(some_text(15), 3)
    with pytest.raises(ValueError, match="be at most 512"):
        small_model("bert").chunks(some_text(15), 513)


def test_the_shorter_limit_counts() -> None:
    model = small_model("bert")
    assert model.max_tokens == 512
    model.tokenizer.model_max_length = 30
    with pytest.raises(ValueError, match="text has 42 tokens, and bert takes 30; shorten it"):
        model.encode(some_text(40))
    with pytest.raises(ValueError, match="be at most 30"):
        model.chunks(some_text(100), 31)


def test_a_passage_alone_cannot_be_told_from_others() -> None:
    with pytest.raises(ValueError, match="give at least 2 in a batch"):
        text_batches(small_model("bert"), some_text(100), size=T, texts=1)


def test_a_mask_is_needed_to_mask() -> None:
    model = small_model("masked bert")
    model.tokenizer.mask_token = None
    with pytest.raises(ValueError, match="the tokeniser of masked bert has no mask token"):
        text_batches(model, some_text(100), size=T, texts=2)


def test_a_model_without_a_list_of_blocks_says_so() -> None:
    model = small_model("llama")
    model.model.model.layers = model.model.model.layers[:2]  # one of the three is gone
    with pytest.raises(ValueError, match="llama has no list of blocks"):
        blocks(model)


def test_models_of_ones_own_bring_a_function() -> None:
    weights = torch.arange(6.0).view(2, 3)
    batch = GatedLoss(
        2, 3, lambda gates: (gates * weights).sum() * torch.tensor([1.0, 2.0]), chance=9
    )
    found = torch.stack(list(batch.without_each_head()))
    torch.testing.assert_close(found[..., 0], weights.sum() - weights)
    torch.testing.assert_close(found[..., 1], 2 * (weights.sum() - weights))
    assert batch.num_texts == 2
    with pytest.raises(ValueError, match="depends on gates alone; leave fill out"):
        batch.losses(fill=torch.zeros(2, 3, 1))
