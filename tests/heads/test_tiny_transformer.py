"""The small transformer: its task, its gates, and which of its heads it can do without."""

from __future__ import annotations

import math
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor

from mha_course import attention_parameters, count_parameters
from mha_course.experiments.tiny_transformer import (
    LONGEST,
    NUM_TOKENS,
    SHORTEST,
    VOCABULARY,
    Learned,
    TinyTransformer,
    draw,
    fit,
    guessing,
    learn_gates,
    next_is_certain,
)
from mha_course.heads.removal import heads_left

LAYERS, H = 2, 4
B = 3
PENALTIES = (0.03, 0.3, 1.0, 3.0)


def sequences(batch_size: int = B, seed: int = 0) -> Tensor:
    return draw(batch_size, torch.Generator().manual_seed(seed))


def some_gates(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(5)) * 2


def closing(*heads: tuple[int, int]) -> Tensor:
    gates = torch.ones(LAYERS, H)
    for layer, head in heads:
        gates[layer, head] = 0
    return gates


FRESH = sequences(500, seed=10_000)  # nothing is trained on these


@torch.no_grad()
def loss(model: TinyTransformer, gates: Tensor | None = None) -> float:
    return model.losses(FRESH, gates).mean().item()


@pytest.fixture(scope="module")
def trained() -> TinyTransformer:
    model = TinyTransformer(seed=2)
    fit(model, seed=2)
    return model


@pytest.fixture(scope="module")
def learned(trained: TinyTransformer) -> dict[float, Learned]:
    return {penalty: learn_gates(trained, penalty, seed=2) for penalty in PENALTIES}


# -------------------------------------------------------------------------------------- task


def test_sequences_repeat_a_few_different_tokens() -> None:
    ids = sequences(400)
    assert ids.shape == (400, NUM_TOKENS)
    periods = []
    for row in ids.tolist():
        [period] = {p for p in range(1, NUM_TOKENS) if row[p:] == row[:-p]} & {len(set(row))}
        periods.append(period)
    assert set(periods) == set(range(SHORTEST, LONGEST + 1))
    assert set(ids[:, 0].tolist()) == set(range(VOCABULARY))
    assert not torch.equal(ids, sequences(400, seed=1))
    assert torch.equal(ids, sequences(400))


def test_the_next_token_is_certain_after_one_that_was_there_before() -> None:
    ids = sequences()
    found = next_is_certain(ids)
    assert found.shape == (B, NUM_TOKENS - 1)
    for row, of_row in zip(ids.tolist(), found.tolist(), strict=True):
        assert of_row == [row[t] in row[:t] for t in range(NUM_TOKENS - 1)]


def test_guessing_is_among_the_other_tokens() -> None:
    for row, found in zip(sequences().tolist(), guessing(sequences()).tolist(), strict=True):
        assert found == pytest.approx(math.log(len(set(row)) - 1))


# ------------------------------------------------------------------------------------- model


@pytest.mark.parametrize("shape", [None, (LAYERS, H), (B, LAYERS, H)], ids=str)
def test_losses_are_the_mean_over_what_is_certain(shape: tuple[int, ...] | None) -> None:
    model = TinyTransformer()
    ids = sequences()
    gates = None if shape is None else some_gates(*shape)
    losses = model.losses(ids, gates)
    assert losses.shape == (B,)
    for b, row in enumerate(ids.tolist()):
        of_b = gates[b] if gates is not None and gates.dim() == 3 else gates
        shares = model(ids[b : b + 1], of_b).softmax(-1)[0]
        expected = [
            -shares[t, row[t + 1]].log().item() for t in range(NUM_TOKENS - 1) if row[t] in row[:t]
        ]
        assert losses[b].item() == pytest.approx(sum(expected) / len(expected), rel=1e-4)
    if gates is not None:
        assert not torch.allclose(losses, model.losses(ids))


def test_a_gate_scales_the_columns_of_w_o_of_its_head() -> None:
    model, gates = TinyTransformer(), some_gates(LAYERS, H)
    scaled = deepcopy(model)
    with torch.no_grad():
        for layer, of_layer in zip(scaled.layers, gates, strict=True):
            layer.attention.w_o.weight.mul_(of_layer.repeat_interleave(32 // H))
    torch.testing.assert_close(model(sequences(), gates), scaled(sequences()))


def test_layers_add_to_what_came_in() -> None:
    """Without heads and biases, tokens and positions go straight through."""
    model, ids = TinyTransformer(), sequences()
    with torch.no_grad():
        for layer in model.layers:
            layer.attention.w_o.bias.zero_()
    straight = model.tokens(ids) + model.positions(torch.arange(NUM_TOKENS))
    expected = model.to_logits(model.norm(straight))
    torch.testing.assert_close(model(ids, torch.zeros(LAYERS, H)), expected)


def test_gates_have_a_gradient() -> None:
    gates = torch.ones(LAYERS, H, requires_grad=True)
    TinyTransformer().losses(sequences(), gates).sum().backward()
    assert (gates.grad.abs() > 0).all()


def test_the_model_sees_no_future_but_the_place_and_the_past() -> None:
    model, ids = TinyTransformer(), sequences()
    changed = ids.clone()
    changed[:, 5] = (ids[:, 5] + 1) % VOCABULARY
    before, after = model(ids), model(changed)
    torch.testing.assert_close(before[:, :5], after[:, :5], rtol=0, atol=0)
    assert ((before[:, 5:] - after[:, 5:]).abs().amax(-1) > 1e-4).all()
    same = model(torch.full((1, 9), 3))
    assert not torch.allclose(same[0, 3], same[0, 7], atol=1e-3)


def test_weights_are_those_of_the_forward_pass() -> None:
    model, inputs = TinyTransformer(num_layers=3, num_heads=2), []
    for layer in model.layers:
        layer.register_forward_pre_hook(lambda _, arguments: inputs.append(arguments[0]))
    model(sequences())
    expected = [layer.weights(x) for layer, x in zip(model.layers, inputs, strict=True)]
    weights = model.weights(sequences())
    assert [w.shape for w in weights] == [(B, 2, NUM_TOKENS, NUM_TOKENS)] * 3
    for found, wanted in zip(weights, expected, strict=True):
        torch.testing.assert_close(found, wanted)
    assert not weights[0].triu(1).any()


def test_the_seed_alone_decides_what_a_new_model_is() -> None:
    before = torch.get_rng_state()
    first, second = TinyTransformer(seed=3), TinyTransformer(seed=3)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first(sequences()), second(sequences()))
    assert not torch.equal(first(sequences()), TinyTransformer(seed=4)(sequences()))


def test_sizes() -> None:
    model = TinyTransformer(num_layers=3, num_heads=2, d_model=10)
    assert (model.num_layers, model.num_heads) == (3, 2)
    attention = sum(count_parameters(layer.attention) for layer in model.layers)
    assert attention == 3 * attention_parameters(10, 2)


# ------------------------------------------------------------------------------------ removal


def test_removed_heads_are_gated_ones() -> None:
    model = TinyTransformer()
    smaller = model.without([(1, 2), (0, 3), (1, 0)])
    gates = closing((1, 2), (0, 3), (1, 0))
    torch.testing.assert_close(smaller(sequences()), model(sequences(), gates))
    saved = count_parameters(model) - count_parameters(smaller)
    of_layer = [attention_parameters(32, heads, d_head=8) for heads in (4, 3, 2)]
    assert saved == 2 * of_layer[0] - of_layer[1] - of_layer[2]
    assert [w.shape[1] for w in smaller.weights(sequences())] == [3, 2]
    assert count_parameters(model) == count_parameters(TinyTransformer())


def test_gates_of_a_smaller_model_have_the_places_of_all_heads() -> None:
    model = TinyTransformer()
    smaller = model.without([(0, 1)]).without([(0, 3), (1, 0)])
    assert [heads_left(layer.attention) for layer in smaller.layers] == [(0, 2), (1, 2, 3)]
    for shape in ((LAYERS, H), (B, LAYERS, H)):
        gates = some_gates(*shape)
        expected = model(sequences(), gates * closing((0, 1), (0, 3), (1, 0)))
        torch.testing.assert_close(smaller(sequences(), gates), expected)


def test_a_layer_can_lose_all_heads() -> None:
    model = TinyTransformer()
    heads = [(1, head) for head in range(H)]
    smaller = model.without(heads)
    torch.testing.assert_close(smaller(sequences()), model(sequences(), closing(*heads)))
    gates = some_gates(B, LAYERS, H)
    torch.testing.assert_close(
        smaller(sequences(), gates), model(sequences(), gates * closing(*heads))
    )


# ----------------------------------------------------------------------------------- training


def test_training_leaves_the_trivial_baseline_far_behind(trained: TinyTransformer) -> None:
    guess = guessing(FRESH).mean().item()
    assert guess > 1.4
    assert loss(trained) < 0.05 * guess
    one_layer = TinyTransformer(num_layers=1, seed=2)
    fit(one_layer, seed=2)
    with torch.no_grad():
        assert one_layer.losses(FRESH).mean() > 0.6 * guess  # it takes two heads in a row


def test_heads_look_one_back_and_for_what_followed(trained: TinyTransformer) -> None:
    """In layer 0 at the token before, while tokens are new; in layer 1 at what followed then."""
    ids = FRESH[:, :-1]
    with torch.no_grad():
        first, second = trained.weights(ids)
    one_back = first.diagonal(-1, dim1=-2, dim2=-1).mean(0)  # [h, T-1]
    assert one_back[:, : SHORTEST - 1].mean(-1).max() > 0.6
    assert one_back[:, LONGEST:].mean(-1).max() < 0.2

    followed = torch.zeros(second.shape[0], *second.shape[2:])
    for b, row in enumerate(ids.tolist()):
        for t in range(LONGEST, len(row)):
            for s in range(t):
                if row[s] == row[t]:
                    followed[b, t, s + 1] = 1
    on_what_followed = (second * followed[:, None]).sum(-1)[..., LONGEST:].mean((0, -1))  # [h]
    assert on_what_followed.max() > 0.7
    assert all(loss(trained, closing(*((i, j) for j in range(H)))) > 1 for i in range(LAYERS))


def test_more_is_removed_where_heads_cost_more(learned: dict[float, Learned]) -> None:
    left = {penalty: int(found.gates.open().sum()) for penalty, found in learned.items()}
    assert LAYERS * H >= left[0.03] > left[0.3] > left[1.0] >= 2 > left[3.0]
    of_left = {
        penalty: loss(found.model, found.gates.open().float()) for penalty, found in learned.items()
    }
    assert max(of_left[penalty] for penalty in (0.03, 0.3, 1.0)) < 0.1
    assert of_left[3.0] > 1  # no head is worth that much


def test_learned_gates_close_heads_that_could_not_be_closed_at_once(
    trained: TinyTransformer, learned: dict[float, Learned]
) -> None:
    """Training on is what makes it possible."""
    model, gates = learned[1.0]
    assert loss(trained, gates.open().float()) > 5 * loss(model, gates.open().float())


@pytest.mark.parametrize("penalty", PENALTIES)
def test_what_was_learned_can_be_removed(learned: dict[float, Learned], penalty: float) -> None:
    model, gates = learned[penalty]
    smaller = model.without(gates.closed())
    assert count_parameters(smaller) < count_parameters(model)
    with torch.no_grad():
        for of_all in (gates.open().float(), gates(1)[0], gates(len(FRESH))):
            removed, gated = smaller.losses(FRESH, of_all), model.losses(FRESH, of_all)
            torch.testing.assert_close(removed, gated, rtol=1e-5, atol=1e-5)


def test_with_head_dropout_no_single_head_is_critical(trained: TinyTransformer) -> None:
    dropped = TinyTransformer(seed=2)
    fit(dropped, seed=2, head_dropout=0.3)
    worst = [
        max(loss(model, closing((i, j))) - loss(model) for i in range(LAYERS) for j in range(H))
        for model in (trained, dropped)
    ]
    assert worst[0] > 0.1
    assert worst[1] < worst[0] / 4


def test_learning_gates_leaves_the_model_as_it_is(trained: TinyTransformer) -> None:
    before = deepcopy(trained.state_dict())
    found = learn_gates(trained, 0.1, steps=3)
    for name, tensor in trained.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert not torch.equal(found.model(sequences()), trained(sequences()))
    assert not found.gates.training


def test_a_penalty_of_0_asks_for_nothing() -> None:
    """Gates then only follow the loss; a higher penalty pushes every one of them down."""
    model = TinyTransformer()
    free, dear = (learn_gates(model, penalty, steps=3).gates.log_alpha for penalty in (0.0, 9.0))
    assert (dear < free).all()


# what can be trained, as functions of the seed
TRAININGS = {
    "fit": lambda **options: _fitted(**options),
    "head dropout": lambda **options: _fitted(head_dropout=0.5, **options),
    "gates": lambda **options: learn_gates(TinyTransformer(), 0.1, steps=6, **options).model,
}
by_training = pytest.mark.parametrize("train", TRAININGS.values(), ids=TRAININGS)


def _fitted(**options: Any) -> TinyTransformer:
    model = TinyTransformer()
    fit(model, steps=6, **options)
    return model


@by_training
def test_the_same_seed_gives_the_same_bits(train: Any) -> None:
    first, second, other = (train(seed=seed)(sequences()) for seed in (3, 3, 4))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert not torch.equal(first, TinyTransformer()(sequences()))


def test_head_dropout_changes_what_is_learned() -> None:
    assert not torch.equal(_fitted(head_dropout=0.5)(sequences()), _fitted()(sequences()))


@by_training
def test_each_step_is_told(train: Any) -> None:
    told: list[tuple[int, float]] = []
    train(on_step=lambda step, loss: told.append((step, loss)))
    assert [step for step, _ in told] == [1, 2, 3, 4, 5, 6]
    assert len({loss for _, loss in told}) == 6


def test_the_history_is_what_was_told() -> None:
    told: list[float] = []
    model = TinyTransformer()
    history = fit(model, steps=4, on_step=lambda _, loss: told.append(loss))
    assert history == told
    expected = TinyTransformer().losses(draw(32, torch.Generator().manual_seed(0))).mean()
    assert history[0] == pytest.approx(expected.item())  # the loss before the first step


def test_an_interrupted_model_is_what_the_last_step_made_it() -> None:
    states: list[Tensor] = []
    whole = TinyTransformer()
    fit(whole, steps=6, on_step=lambda *_: states.append(whole(sequences()).detach()))

    def stop(step: int, _: float) -> None:
        if step == 3:
            raise KeyboardInterrupt

    stopped = TinyTransformer()
    torch.set_num_threads(2)  # put back by the fixture of all tests
    with pytest.raises(KeyboardInterrupt):
        fit(stopped, steps=6, on_step=stop)
    assert torch.get_num_threads() == 2
    torch.set_num_threads(1)
    assert torch.equal(stopped(sequences()), states[2])
    assert not torch.equal(states[2], states[5])


# ---------------------------------------------------------------------------------- bad input

MODEL = TinyTransformer()
REFUSED: dict[str, tuple[Any, type[Exception], str]] = {
    "one axis": (lambda: MODEL(sequences()[0]), ValueError, r"^ids has 1 axis.*\[B, T\]$"),
    "too long": (
        lambda: MODEL(torch.zeros(B, 24, dtype=torch.int64)),
        ValueError,
        r"^ids have 24 tokens, shape \[3, 24\]; there are positions for T=23$",
    ),
    "too long for weights": (
        lambda: MODEL.weights(torch.zeros(B, 24, dtype=torch.int64)),
        ValueError,
        "^ids have 24 tokens",
    ),
    "too long by one for losses": (
        lambda: MODEL.losses(torch.zeros(B, 24, dtype=torch.int64)),
        ValueError,
        "^ids have 24 tokens",
    ),
    "nothing certain": (
        lambda: MODEL.losses(torch.tensor([[0, 1, 0, 1], [0, 1, 2, 3]])),
        ValueError,
        r"^ids, shape \[2, 4\], have a sequence in which no token is certain",
    ),
    "gates of a layer": (
        lambda: MODEL(sequences(), torch.ones(H)),
        ValueError,
        r"^gates have shape \[4\]; expected \[layers, h\] = \[2, 4\], or \[B.*\] = \[3, 2, 4\] to",
    ),
    "gates of another batch": (
        lambda: MODEL.losses(sequences(), torch.ones(1, LAYERS, H)),
        ValueError,
        r"^gates have shape \[1, 2, 4\]",
    ),
    "gates transposed": (
        lambda: MODEL.losses(sequences(), torch.ones(H, LAYERS)),
        ValueError,
        r"^gates have shape \[4, 2\]",
    ),
    "layer": (lambda: MODEL.without([(2, 0)]), ValueError, "^layer=2 must be below num_layers=2"),
    "layer below 0": (lambda: MODEL.without([(-1, 0)]), ValueError, "^layer=-1 must be at least 0"),
    "head": (lambda: MODEL.without([(1, 4)]), ValueError, "^head=4 is not in this module"),
    "head twice": (
        lambda: MODEL.without([(1, 3)]).without([(1, 3)]),
        ValueError,
        "^head=3 is not in this module; its heads are 0, 1, 2",
    ),
    "no layers": (lambda: TinyTransformer(0), ValueError, "^num_layers=0 must be at least 1"),
    "no heads": (lambda: TinyTransformer(2, 0), ValueError, "^num_heads=0 must be at least 1"),
    "width": (lambda: TinyTransformer(2, 3), ValueError, "^d_model=32 is not divisible by num_h"),
    "no steps": (lambda: fit(MODEL, steps=0), ValueError, "^steps=0 must be at least 1"),
    "half a step": (lambda: fit(MODEL, steps=0.5), TypeError, r"^steps=0\.5 is a float"),
    "dropout": (lambda: fit(MODEL, head_dropout=1.0), ValueError, r"^share=1\.0 must be at least"),
    "penalty": (lambda: learn_gates(MODEL, -0.1), ValueError, r"^penalty=-0\.1 must be at least 0"),
    "nan": (lambda: learn_gates(MODEL, math.nan), ValueError, "^penalty=nan must be at least 0"),
    "empty batch": (lambda: sequences(0), ValueError, "^batch_size=0 must be at least 1"),
}


@pytest.mark.parametrize(("call", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_other_calls_are_refused(call: Any, error: type[Exception], message: str) -> None:
    before = deepcopy(MODEL.state_dict())
    with pytest.raises(error, match=message):
        call()
    for name, tensor in MODEL.state_dict().items():
        assert torch.equal(tensor, before[name]), name
