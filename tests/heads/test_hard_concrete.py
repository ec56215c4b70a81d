"""Hard-concrete gates: what is drawn is what the closed forms say."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from mha_course import MultiHeadAttention
from mha_course.heads.random_gates import HIGH, LOW, TEMPERATURE, HardConcrete

LAYERS, H = 3, 5
MANY = 40_000
CLOSE = 4 * 0.5 / math.sqrt(MANY)  # four standard errors of a share, at most


def gates_of(*log_alpha: float) -> HardConcrete:
    gates = HardConcrete(1, len(log_alpha))
    with torch.no_grad():
        gates.log_alpha.copy_(torch.tensor([log_alpha]))
    return gates


def drawn(gates: HardConcrete, seed: int = 0) -> Tensor:
    return gates(MANY, generator=torch.Generator().manual_seed(seed)).detach()


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_constants_are_those_of_the_paper() -> None:
    assert (TEMPERATURE, LOW, HIGH) == (2 / 3, -0.1, 1.1)


@pytest.mark.parametrize("log_alpha", [-3.0, -1.0, 0.0, 0.7, 2.0])
def test_shares_of_draws_are_the_closed_forms(log_alpha: float) -> None:
    """How many are 0, how many are 1, and where those between lie."""
    gates = gates_of(log_alpha)
    sample = drawn(gates).flatten()
    is_open = (sample > 0).double().mean().item()
    assert gates.penalty().item() == pytest.approx(is_open, abs=CLOSE)

    for value in (0.2, 0.5, 0.9, 1.0):  # P(gate < value), from s < (value − γ) / (ζ − γ)
        s = (value + 0.1) / 1.2
        below = sigmoid(2 / 3 * math.log(s / (1 - s)) - log_alpha)
        assert (sample < value).double().mean().item() == pytest.approx(below, abs=CLOSE)
    assert sample.min() >= 0
    assert sample.max() <= 1


def test_penalty_is_a_sum_over_all_heads() -> None:
    gates = HardConcrete(LAYERS, H)
    with torch.no_grad():
        gates.log_alpha.copy_(torch.linspace(-4, 4, LAYERS * H).view(LAYERS, H))
    one_by_one = sum(gates_of(x).penalty().item() for x in gates.log_alpha.flatten().tolist())
    assert gates.penalty().item() == pytest.approx(one_by_one)
    assert gates.penalty().shape == ()
    gates.penalty().backward()
    assert (gates.log_alpha.grad > 0).all()


def test_gates_in_evaluation_are_the_formula() -> None:
    gates = gates_of(-5.0, -2.0, 0.0, 1.5, 4.0).eval()
    expected = [min(1.0, max(0.0, sigmoid(x) * 1.2 - 0.1)) for x in (-5.0, -2.0, 0.0, 1.5, 4.0)]
    assert expected[0] == 0.0 < expected[1]
    assert expected[3] < expected[4] == 1.0
    for sequence in gates(batch_size=7):
        assert sequence[0].tolist() == pytest.approx(expected)


def test_closed_heads_are_those_whose_gate_is_0() -> None:
    gates = HardConcrete(LAYERS, H)
    assert gates.open().all()
    assert gates.closed() == []
    with torch.no_grad():
        gates.log_alpha[0, 3] = gates.log_alpha[2, 1] = -2.5  # σ(−2.5)·1.2 − 0.1 < 0
        gates.log_alpha[1, 0] = -2.3
    assert gates.closed() == [(0, 3), (2, 1)]
    assert torch.equal(gates.open(), gates.eval()(1)[0] > 0)


def test_at_the_start_all_gates_are_1_in_evaluation() -> None:
    gates = HardConcrete(LAYERS, H)
    assert gates.training
    assert not torch.equal(gates(7), torch.ones(7, LAYERS, H))
    assert torch.equal(gates.eval()(7), torch.ones(7, LAYERS, H))
    assert [name for name, _ in gates.named_parameters()] == ["log_alpha"]


def test_each_sequence_and_head_gets_a_draw_of_its_own() -> None:
    gates = HardConcrete(LAYERS, H)
    with torch.no_grad():
        gates.log_alpha.zero_()
    sample = gates(1000, generator=torch.Generator().manual_seed(0)).detach().flatten(1)
    assert sample.shape == (1000, LAYERS * H)
    correlation = torch.corrcoef(sample.T) - torch.eye(LAYERS * H)
    assert correlation.abs().max() < 0.15
    assert (sample.std(0) > 0.2).all()


def test_the_generator_alone_decides() -> None:
    gates = gates_of(0.0, 1.0)
    before = torch.get_rng_state()
    assert torch.equal(drawn(gates, seed=3), drawn(gates, seed=3))
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(drawn(gates, seed=3), drawn(gates, seed=4))
    torch.manual_seed(3)
    assert torch.equal(gates(MANY).detach(), drawn(gates, seed=3))


@pytest.mark.parametrize("training", [True, False])
def test_gates_have_a_gradient(training: bool) -> None:
    gates = gates_of(0.3, -0.5).train(training)
    gates(200, generator=torch.Generator().manual_seed(0)).mean(0).sum().backward()
    assert (gates.log_alpha.grad > 0).all()


def test_the_gradient_is_that_of_the_draw() -> None:
    """Finite differences, with the same random numbers on both sides."""

    def mean(log_alpha: float) -> float:
        return drawn(gates_of(log_alpha).double()).mean().item()

    gates = gates_of(0.4).double()
    gates(MANY, generator=torch.Generator().manual_seed(0)).mean().backward()
    slope = (mean(0.4 + 1e-3) - mean(0.4 - 1e-3)) / 2e-3
    assert gates.log_alpha.grad.item() == pytest.approx(slope, rel=1e-3)


@pytest.mark.parametrize("training", [True, False])
def test_they_are_the_head_gates_of_our_modules(training: bool) -> None:
    gates = HardConcrete(LAYERS, H).train(training)
    layers = [MultiHeadAttention(10, H) for _ in range(LAYERS)]
    x = torch.randn(7, 3, 10)
    of_all = gates(7, generator=torch.Generator().manual_seed(0))
    for number, mha in enumerate(layers):
        x = mha(x, head_gates=of_all[:, number])
    x.square().mean().backward()
    assert gates.log_alpha.grad.isfinite().all()
    assert bool(gates.log_alpha.grad.any()) is training  # at 2.5 the gate is cut off at 1


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("training", [True, False])
def test_dtype_is_that_of_the_module(dtype: torch.dtype, training: bool) -> None:
    gates = HardConcrete(LAYERS, H).to(dtype).train(training)
    sample = gates(7)
    assert sample.dtype == dtype
    assert sample.isfinite().all()


@pytest.mark.parametrize(
    ("sizes", "error", "message"),
    [
        ((0, 5), ValueError, "^num_layers=0 must be at least 1$"),
        ((3, 0), ValueError, "^num_heads=0 must be at least 1$"),
        ((3.0, 5), TypeError, r"^num_layers=3\.0 is a float"),
        ((3, "5"), TypeError, "^num_heads='5' is a str"),
    ],
)
def test_other_sizes_are_refused(
    sizes: tuple[int, int], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        HardConcrete(*sizes)


@pytest.mark.parametrize("training", [True, False])
def test_an_empty_batch_is_refused(training: bool) -> None:
    with pytest.raises(ValueError, match=r"^batch_size=0 must be at least 1$"):
        HardConcrete(LAYERS, H).train(training)(0)
