"""Gradients in stacks of attention layers."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from mha_course.experiments.gradient_flow import (
    BareLayer,
    findings,
    flow,
    gains,
    gradients,
    stack,
)
from mha_course.experiments.tiny_transformer import Layer, draw


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_one_seed_gives_the_same_weights_for_any_number_of_heads() -> None:
    states = [
        stack(3, heads, 5, residual=residual).state_dict()
        for heads, residual in ((1, True), (8, True), (8, False))
    ]
    for state in states[1:]:
        assert state.keys() == states[0].keys()
        assert all(torch.equal(state[name], states[0][name]) for name in state)


def test_without_residual_the_input_is_gone() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 5, 12)
    layer, bare = Layer(12, 3), BareLayer(12, 3)
    bare.load_state_dict(layer.state_dict())
    torch.testing.assert_close(layer(x, None) - bare(x, None), x)
    model = stack(3, 2, 0, residual=False)
    assert all(isinstance(layer, BareLayer) for layer in model.layers)
    assert not any(isinstance(layer, BareLayer) for layer in stack(3, 2, 0, residual=True).layers)


def test_gradients_are_of_the_weights_of_each_layer() -> None:
    model = stack(2, 4, 0, residual=True)
    found = gradients(model, generator())
    model.zero_grad()
    model.losses(draw(32, generator())).mean().backward()
    for number, layer in enumerate(model.layers):
        expected = layer.attention.w_k.weight.grad.double().flatten()
        torch.testing.assert_close(found[number]["w_k"], expected)


def test_flow_of_a_stack_whose_gradients_are_known() -> None:
    model = stack(2, 4, 0, residual=True)
    with torch.no_grad():
        model.layers[0].attention.w_o.weight.zero_()
    of_zero = flow(model, seed=3)
    assert of_zero["searching"] == 0  # W_Q, W_K and W_V reach nothing through W_O = 0
    two = flow(stack(2, 4, 0, residual=True), seed=3)
    again = flow(stack(2, 4, 0, residual=True), seed=3)
    assert two == again
    first, last = (
        sum(g.square().sum() for g in layer.values()) ** 0.5
        for layer in gradients(stack(2, 4, 0, residual=True), generator(3))
    )
    assert two["size"] == pytest.approx(float(first / last))
    assert -1 <= two["agreement"] <= 1


def made_up() -> dict[str, Any]:
    """Two heads bring the size from 0.1 to 1 and make half the gradient search; agreement falls."""

    def of(residual: bool, heads: int) -> dict[str, Any]:
        better = heads > 1
        measures = {
            "size": [10.0, 0.1] if not better else [1.0, 1.0],
            "agreement": [0.5, 0.7] if not better else [0.4, 0.6],
            "searching": [x * (1e-9 if not residual else 0.1) for x in (1, 1.01 + better)],
        }
        return {
            "residual": residual,
            "depth": 4,
            "heads": heads,
            "before": measures,
            "after": measures,
            "loss": [1.0, 1.0],
        }

    return {
        "heads": [1, 2],
        "depths": [4],
        "steps": 100,
        "parameters": [7, 7],
        "stacks": [of(residual, heads) for residual in (True, False) for heads in (1, 2)],
        "speed": {
            "1": {"half": [50, 52, 54], "loss": [0.1, 0.1, 0.1]},
            "2": {"half": [40, 41, 44], "loss": [0.1, 0.1, 0.1]},
        },
    }


def test_gains_are_seed_by_seed_and_better_is_above_zero() -> None:
    data = made_up()
    sizes = gains(data, "size")
    assert set(sizes) == {(r, 4, when, 2) for r in (True, False) for when in ("before", "after")}
    assert all(tuple(interval) == (1, 1, 1) for interval in sizes.values())
    assert all(i.mean == pytest.approx(-0.1) for i in gains(data, "agreement").values())


def test_findings_of_made_up_numbers() -> None:
    found = findings(made_up())
    assert {name for name, finding in found.items() if finding.holds} == {
        "equal-parameters",
        "size-is-better",
        "residual-path-decides",
        "several-learn-sooner",
        "most-learn-soonest",
    }
    assert "10^8.0" in found["residual-path-decides"].says
    data = made_up()
    data["speed"]["2"]["half"] = [60, 61, 64]
    data["parameters"] = [7, 8]
    found = findings(data)
    assert not found["several-learn-sooner"].holds
    assert not found["most-learn-soonest"].holds
    assert not found["equal-parameters"].holds
