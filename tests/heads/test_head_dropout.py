"""Head dropout: gates add up to h in every draw, and are 1 on average."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

from mha_course import MultiHeadAttention
from mha_course.heads.random_gates import HeadDropout

LAYERS, H = 3, 5
MANY = 20_000

by_share = pytest.mark.parametrize("share", [0.1, 0.5, 0.9])


def drawn(share: float, seed: int = 0, batch_size: int = MANY) -> Tensor:
    drop = HeadDropout(share, LAYERS, H)
    return drop(batch_size, generator=torch.Generator().manual_seed(seed))


@by_share
def test_gates_of_a_layer_add_up_to_the_number_of_heads(share: float) -> None:
    """So at least one head is left, and those left share the work equally."""
    gates = drawn(share)
    assert gates.shape == (MANY, LAYERS, H)
    torch.testing.assert_close(gates.sum(-1), torch.full((MANY, LAYERS), float(H)))
    left = (gates > 0).sum(-1, keepdim=True)
    torch.testing.assert_close(gates, (gates > 0) * H / left)
    assert left.min() == 1 or share == 0.1


@by_share
def test_each_gate_is_1_on_average(share: float) -> None:
    gates = drawn(share)
    error = gates.std(0) / math.sqrt(MANY)
    assert ((gates.mean(0) - 1).abs() < 4 * error).all()


@by_share
def test_every_set_of_heads_is_as_likely_as_it_should_be(share: float) -> None:
    """Independent draws, but for the one where all would go: any head stays instead."""
    stays = (drawn(share)[:, 1] > 0).int()  # [MANY, h]
    for pattern in product((0, 1), repeat=H):
        left = sum(pattern)
        expected = share ** (H - left) * (1 - share) ** left
        if left == 0:
            expected = 0.0
        elif left == 1:
            expected += share**H / H
        found = (stays == torch.tensor(pattern)).all(-1).double().mean().item()
        error = math.sqrt(expected * (1 - expected) / MANY)
        assert found == pytest.approx(expected, abs=4.5 * error)


def test_each_sequence_and_layer_has_a_draw_of_its_own() -> None:
    dropped = (drawn(0.5) == 0).double()
    assert dropped.mean(0) == pytest.approx(torch.full((LAYERS, H), 0.5 - 0.5**5 / 5), abs=0.02)
    between_layers = torch.corrcoef(dropped[:, :, 0].T) - torch.eye(LAYERS)
    assert between_layers.abs().max() < 0.03
    assert torch.unique(dropped.flatten(1), dim=0).shape[0] > MANY / 4


def test_nothing_is_dropped_in_evaluation_or_with_a_share_of_0() -> None:
    everything_on = torch.ones(7, LAYERS, H)
    assert torch.equal(HeadDropout(0.9, LAYERS, H).eval()(7), everything_on)
    assert torch.equal(HeadDropout(0.0, LAYERS, H)(7), everything_on)
    assert not torch.equal(HeadDropout(0.9, LAYERS, H)(7), everything_on)


def test_one_head_always_stays() -> None:
    assert torch.equal(HeadDropout(0.9, LAYERS, 1)(7), torch.ones(7, LAYERS, 1))


def test_the_generator_alone_decides() -> None:
    before = torch.get_rng_state()
    assert torch.equal(drawn(0.5, seed=3), drawn(0.5, seed=3))
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(drawn(0.5, seed=3), drawn(0.5, seed=4))
    torch.manual_seed(3)
    assert torch.equal(HeadDropout(0.5, LAYERS, H)(MANY), drawn(0.5, seed=3))


def test_they_are_the_head_gates_of_our_modules() -> None:
    mha = MultiHeadAttention(10, H)
    x = torch.randn(7, 3, 10)
    gates = drawn(0.5, batch_size=7)[:, 1]
    output = mha(x, head_gates=gates)
    for b in range(7):
        torch.testing.assert_close(output[b : b + 1], mha(x[b : b + 1], head_gates=gates[b]))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("training", [True, False])
def test_dtype_and_device_are_those_of_the_module(dtype: torch.dtype, training: bool) -> None:
    drop = HeadDropout(0.5, LAYERS, H).to(dtype).train(training)
    assert drop(7).dtype == dtype
    assert drop.to("meta")(7).device.type == "meta"
    assert not drop.state_dict()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((1.0, 3, 5), ValueError, r"^share=1\.0 must be at least 0 and below 1"),
        ((-0.1, 3, 5), ValueError, r"^share=-0\.1 must be at least 0 and below 1"),
        ((math.nan, 3, 5), ValueError, "^share=nan must be at least 0 and below 1"),
        (("half", 3, 5), TypeError, "^share='half' is a str"),
        ((0.5, 0, 5), ValueError, "^num_layers=0 must be at least 1$"),
        ((0.5, 3, -1), ValueError, "^num_heads=-1 must be at least 1$"),
        ((0.5, 3, 5.0), TypeError, r"^num_heads=5\.0 is a float"),
    ],
)
def test_other_settings_are_refused(
    arguments: tuple[Any, ...], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        HeadDropout(*arguments)


@pytest.mark.parametrize("training", [True, False])
def test_an_empty_batch_is_refused(training: bool) -> None:
    with pytest.raises(ValueError, match=r"^batch_size=0 must be at least 1$"):
        HeadDropout(0.5, LAYERS, H).train(training)(0)
