"""Closed forms against what modules really have, do and hold."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mha_course import (
    MultiHeadAttention,
    attention_flops,
    attention_parameters,
    count_parameters,
    score_bytes,
)


def really_has(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


GRID = [
    (d_model, num_heads, d_head, bias)
    for d_model in (12, 60)
    for num_heads in (1, 2, 3, 4, 6)
    for d_head in (None, 5)
    for bias in (True, False)
]


def assert_counts_what_modules_have(count: Callable[..., int]) -> None:
    for d_model, num_heads, d_head, bias in GRID:
        module = MultiHeadAttention(d_model, num_heads, d_head=d_head, bias=bias)
        assert count(d_model, num_heads, d_head=d_head, bias=bias) == really_has(module)


def test_closed_form_is_what_our_module_has() -> None:
    assert_counts_what_modules_have(attention_parameters)


WRONG_COUNTS = {
    "biases forgotten": lambda d, h, **given: attention_parameters(
        d, h, **{**given, "bias": False}
    ),
    "every head as wide as the model": lambda d, h, bias, **_: attention_parameters(
        d, h, d_head=d, bias=bias
    ),
    "always 4d² + 4d": lambda d, _h, bias, **_: 4 * d * d + 4 * d * bias,
    "no W_O": lambda d, h, d_head, bias: 3 * (d + bias) * h * (d_head or d // h),
    "one bias for all four": lambda d, h, bias, **given: (
        attention_parameters(d, h, bias=False, **given) + d * bias
    ),
}


@pytest.mark.parametrize("count", WRONG_COUNTS.values(), ids=WRONG_COUNTS)
def test_real_modules_reject_count(count: Callable[..., int]) -> None:
    with pytest.raises(AssertionError):
        assert_counts_what_modules_have(count)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("num_heads", [1, 2, 4, 8, 16])
def test_torchs_module_has_as_many_parameters_whatever_h_is(num_heads: int, bias: bool) -> None:
    theirs = really_has(nn.MultiheadAttention(512, num_heads, bias=bias))
    assert theirs == (1_050_624 if bias else 1_048_576)
    assert attention_parameters(512, num_heads, bias=bias) == theirs


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("num_heads", "num_kv_heads"), [(6, 1), (6, 2), (6, 3), (6, 6), (4, 2)])
@pytest.mark.parametrize("d_head", [5, 8])
def test_grouped_query_attention_has_narrower_keys_and_values(
    num_heads: int, num_kv_heads: int, d_head: int, bias: bool
) -> None:
    d_model = 14
    projections = nn.ModuleList(
        [
            nn.Linear(d_model, num_heads * d_head, bias=bias),
            nn.Linear(d_model, num_kv_heads * d_head, bias=bias),
            nn.Linear(d_model, num_kv_heads * d_head, bias=bias),
            nn.Linear(num_heads * d_head, d_model, bias=bias),
        ]
    )
    counted = attention_parameters(
        d_model, num_heads, d_head=d_head, num_kv_heads=num_kv_heads, bias=bias
    )
    assert counted == really_has(projections)


def test_a_third_more_is_the_price_of_the_output_projection() -> None:
    d = 512
    without = really_has(nn.ModuleList(nn.Linear(d, d) for _ in range(3)))
    for num_heads in (1, 8):
        assert 3 * attention_parameters(d, num_heads) == 4 * without


def test_count_parameters_counts_shared_ones_once_and_can_leave_frozen_ones_out() -> None:
    shared = nn.Linear(3, 5)
    module = nn.Sequential(shared, nn.Linear(5, 3), shared)
    assert count_parameters(module) == (3 * 5 + 5) + (5 * 3 + 3)
    shared.requires_grad_(False)
    assert count_parameters(module) == (3 * 5 + 5) + (5 * 3 + 3)
    assert count_parameters(module, trainable_only=True) == 5 * 3 + 3


@pytest.mark.parametrize("num_tokens", [5, 7])
@pytest.mark.parametrize("num_heads", [1, 2, 3, 4, 6, 12])
def test_flops_are_what_torch_counts(num_heads: int, num_tokens: int) -> None:
    mha = MultiHeadAttention(12, num_heads)
    with FlopCounterMode(display=False) as counter:
        mha(torch.randn(1, num_tokens, 12))
    by_module = counter.get_flop_counts()
    projections = sum(
        sum(by_module[f"MultiHeadAttention.{w}"].values()) for w in ("w_q", "w_k", "w_v", "w_o")
    )

    flops = attention_flops(12, num_heads, num_tokens)
    assert flops.projections == projections
    assert flops.total == counter.get_total_flops()
    assert flops.total == 8 * num_tokens * 12**2 + 4 * num_tokens**2 * 12


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("num_heads", [1, 3, 4])
def test_score_bytes_are_what_the_weights_take(num_heads: int, dtype: torch.dtype) -> None:
    mha = MultiHeadAttention(12, num_heads).to(dtype)
    _, weights = mha(torch.randn(1, 7, 12, dtype=dtype), return_weights=True)
    counted = score_bytes(num_heads, 7, bytes_per_number=dtype.itemsize)
    assert counted == weights.untyped_storage().nbytes()
