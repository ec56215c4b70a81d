"""MultiHeadAttention against a sum over heads in loops, and against torch's own module.

Sizes are pairwise different, and h·d_head differs from d_model in half of the cases.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import multi_head_by_loops
from torch import Tensor, nn

from mha_course import MultiHeadAttention, attention_weights, merge_heads, split_heads

B, D_MODEL, H, T_Q, T_K = 2, 12, 4, 7, 9
QUICK = settings(max_examples=25, deadline=None, derandomize=True)

Answer = tuple[Tensor, Tensor]


def module(d_head: int, *, bias: bool = True, seed: int = 0) -> MultiHeadAttention:
    """A module in float64 whose biases are random, not zero, and whose weights are large."""
    generator = torch.Generator().manual_seed(seed)
    mha = MultiHeadAttention(D_MODEL, H, d_head=d_head, bias=bias).double()
    with torch.no_grad():
        for parameter in mha.parameters():
            parameter.normal_(std=0.5, generator=generator)
    return mha


def random(*shape: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def random_mask(*shape: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    mask = torch.rand(*shape, generator=generator) < 0.67
    mask[..., 0] = True
    return mask


class Case(NamedTuple):
    query: Tensor
    key: Tensor
    value: Tensor
    attn_mask: Tensor | None = None
    is_causal: bool = False


X = random(B, T_Q, D_MODEL, seed=1)
CROSS = (X, random(B, T_K, D_MODEL, seed=2), random(B, T_K, D_MODEL, seed=3))
ONE_EMPTY_ROW = random_mask(T_Q, T_K, seed=5)
ONE_EMPTY_ROW[2] = False

CASES = {
    "self-attention": Case(X, X, X),
    "self-attention, causal": Case(X, X, X, is_causal=True),
    "cross-attention": Case(*CROSS),
    "cross-attention, causal": Case(*CROSS, is_causal=True),
    "mask [T_q, T_k]": Case(*CROSS, random_mask(T_Q, T_K, seed=6)),
    "mask [B, 1, 1, T_k], padding": Case(*CROSS, random_mask(B, 1, 1, T_K, seed=7)),
    "mask [B, h, T_q, T_k]": Case(*CROSS, random_mask(B, H, T_Q, T_K, seed=8)),
    "a query that may attend to nothing": Case(*CROSS, ONE_EMPTY_ROW),
}


def as_in_the_package(
    mha: MultiHeadAttention,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    attn_mask: Tensor | None,
    is_causal: bool,
) -> Answer:
    return mha(query, key, value, attn_mask=attn_mask, is_causal=is_causal, return_weights=True)


def assert_agrees_with_sum_over_heads(
    implementation: Callable[..., Answer], case: Case, mha: MultiHeadAttention
) -> None:
    query, key, value, attn_mask, is_causal = case
    masks = {"attn_mask": attn_mask, "is_causal": is_causal}
    expected = multi_head_by_loops(mha, query, key, value, num_heads=H, d_head=mha.shape.d_head, **masks)
    actual = implementation(mha, query, key, value, **masks)
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("d_head", [3, 5])
@pytest.mark.parametrize("name", CASES)
def test_agrees_with_sum_over_heads(name: str, d_head: int, bias: bool) -> None:
    assert_agrees_with_sum_over_heads(as_in_the_package, CASES[name], module(d_head, bias=bias))


# ------------------------------------------------- the comparison above rejects known mistakes


def split_by_view(x: Tensor, heads: int) -> Tensor:
    return x.reshape(x.shape[0], heads, x.shape[1], -1)


def split_interleaved(x: Tensor, heads: int) -> Tensor:
    return x.reshape(x.shape[0], x.shape[1], -1, heads).permute(0, 3, 1, 2)


def merge_by_view(z: Tensor) -> Tensor:
    return z.reshape(z.shape[0], z.shape[2], -1)


def merge_interleaved(z: Tensor) -> Tensor:
    return z.permute(0, 2, 3, 1).flatten(2)


def weights_scaled_by(divisor: float, q: Tensor, k: Tensor, **masks: object) -> Tensor:
    # attention_weights divides by √d_head already
    return attention_weights(q * math.sqrt(q.shape[-1]) / divisor, k, **masks)


def weights_with_mask_in_wrong_order(
    q: Tensor, k: Tensor, attn_mask: Tensor, is_causal: bool
) -> Tensor:
    """Take the mask as [h, B, …] where the heads are laid out as [B, h, …]."""
    full = attn_mask.expand(B, H, q.shape[2], k.shape[2])
    return attention_weights(
        q, k, attn_mask=full.transpose(0, 1).reshape(full.shape), is_causal=is_causal
    )


def weights_with_mask_inverted(q: Tensor, k: Tensor, attn_mask: Tensor, is_causal: bool) -> Tensor:
    return attention_weights(q, k, attn_mask=~attn_mask, is_causal=is_causal)


def weights_with_dropout(q: Tensor, k: Tensor, **masks: object) -> Tensor:
    return nn.functional.dropout(attention_weights(q, k, **masks), 0.5)


def by_hand(
    mha: MultiHeadAttention,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    attn_mask: Tensor | None,
    is_causal: bool,
    split: Callable[[Tensor, int], Tensor] = split_heads,
    merge: Callable[[Tensor], Tensor] = merge_heads,
    weigh: Callable[..., Tensor] = attention_weights,
    project: bool = True,
    average_weights: bool = False,
    biases: bool = True,
    key_as_value: bool = False,
) -> Answer:
    """Multi-head attention, right unless one of the options after is_causal is used."""

    def linear(w: nn.Linear, x: Tensor) -> Tensor:
        return w(x) if biases else x @ w.weight.T

    q = split(linear(mha.w_q, query), H)
    k = split(linear(mha.w_k, key), H)
    v = k if key_as_value else split(linear(mha.w_v, value), H)
    weights = weigh(q, k, attn_mask=attn_mask, is_causal=is_causal)
    merged = merge(weights @ v)
    output = linear(mha.w_o, merged) if project else merged
    return output, weights.mean(1) if average_weights else weights


def slices_of_the_input(
    mha: MultiHeadAttention, query: Tensor, key: Tensor, value: Tensor, **masks: object
) -> Answer:
    """Each head projects its own slice of the input, not the whole of it."""
    own = torch.eye(H, dtype=torch.bool).repeat_interleave(mha.shape.d_head, 0)
    own = own.repeat_interleave(D_MODEL // H, 1)  # [h·d_head, d_model]
    narrow = module(mha.shape.d_head)
    narrow.load_state_dict(mha.state_dict())
    with torch.no_grad():
        for w in (narrow.w_q, narrow.w_k, narrow.w_v):
            w.weight.mul_(own)
    return by_hand(narrow, query, key, value, **masks)


def loop_overwrites_query(
    mha: MultiHeadAttention, query: Tensor, key: Tensor, value: Tensor, **masks: object
) -> Answer:
    """Each head's query comes from the output of the head before it."""
    heads, weights = [], []
    for i in range(H):
        own = slice(i * mha.shape.d_head, (i + 1) * mha.shape.d_head)
        q, k, v = (
            nn.functional.linear(x, w.weight[own], w.bias[own])
            for w, x in ((mha.w_q, query), (mha.w_k, key), (mha.w_v, value))
        )
        weights.append(attention_weights(q, k, **masks))
        heads.append(weights[-1] @ v)
        query = torch.nn.functional.pad(heads[-1], (0, D_MODEL - mha.shape.d_head))
    return mha.w_o(torch.cat(heads, -1)), torch.stack(weights, 1)


def mistake(**option: object) -> Callable[..., Answer]:
    return partial(by_hand, **option)


# name: (case that shows it, implementation)
MISTAKES: dict[str, tuple[str, Callable[..., Answer]]] = {
    "a head gets a slice of the input": ("cross-attention", slices_of_the_input),
    "split by one view": ("cross-attention", mistake(split=split_by_view)),
    "split interleaved": ("cross-attention", mistake(split=split_interleaved)),
    "merge without transposing back": ("cross-attention", mistake(merge=merge_by_view)),
    "merge interleaved": ("cross-attention", mistake(merge=merge_interleaved)),
    "split and merge by one view": (
        "self-attention",
        mistake(split=split_by_view, merge=merge_by_view),
    ),
    "split and merge interleaved": (
        "cross-attention",
        mistake(split=split_interleaved, merge=merge_interleaved),
    ),
    "scaled by √d_model": (
        "cross-attention",
        mistake(weigh=partial(weights_scaled_by, math.sqrt(D_MODEL))),
    ),
    "scaled by √h": ("cross-attention", mistake(weigh=partial(weights_scaled_by, math.sqrt(H)))),
    "not scaled": ("cross-attention", mistake(weigh=partial(weights_scaled_by, 1.0))),
    "no W_O": ("cross-attention", mistake(project=False)),
    "key used as value": ("cross-attention", mistake(key_as_value=True)),
    "the loop overwrites query": ("cross-attention", loop_overwrites_query),
    "biases forgotten": ("cross-attention", mistake(biases=False)),
    "averaged weights": ("cross-attention", mistake(average_weights=True)),
    "dropout left on": ("cross-attention", mistake(weigh=weights_with_dropout)),
    "mask polarity inverted": ("mask [T_q, T_k]", mistake(weigh=weights_with_mask_inverted)),
    "mask of batch × head in the wrong order": (
        "mask [B, h, T_q, T_k]",
        mistake(weigh=weights_with_mask_in_wrong_order),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_module_that_mistakes_are_put_into_is_right(name: str) -> None:
    assert_agrees_with_sum_over_heads(by_hand, CASES[name], module(d_head=5))


@pytest.mark.parametrize("d_head", [3, 5])
@pytest.mark.parametrize("name", MISTAKES)
def test_sum_over_heads_rejects(name: str, d_head: int) -> None:
    case, wrong = MISTAKES[name]
    with pytest.raises(AssertionError):
        assert_agrees_with_sum_over_heads(wrong, CASES[case], module(d_head))


# ------------------------------------------------------------------- against torch's module


def torch_module_with_weights_of(mha: MultiHeadAttention) -> nn.MultiheadAttention:
    theirs = nn.MultiheadAttention(D_MODEL, H, batch_first=True, dtype=torch.float64)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([w.weight for w in (mha.w_q, mha.w_k, mha.w_v)]))
        theirs.in_proj_bias.copy_(torch.cat([w.bias for w in (mha.w_q, mha.w_k, mha.w_v)]))
    theirs.out_proj.load_state_dict(mha.w_o.state_dict())
    return theirs


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize(
    "name",
    [n for n in CASES if n != "a query that may attend to nothing"],  # NaN in torch
)
def test_agrees_with_torch(name: str, training: bool) -> None:
    query, key, value, attn_mask, is_causal = CASES[name]
    mha = module(d_head=3).train(training)
    theirs = torch_module_with_weights_of(mha).train(training)
    inputs = [t.clone().requires_grad_() for t in (query, key, value)]
    num_queries, num_keys = query.shape[1], key.shape[1]

    allowed = torch.ones(B, H, num_queries, num_keys, dtype=torch.bool)
    if attn_mask is not None:
        allowed = allowed & attn_mask
    if is_causal:
        allowed = allowed.tril(num_keys - num_queries)
    # torch's mask says who may NOT attend, and lays batch and heads out as one axis
    expected, their_weights = theirs(
        *inputs, attn_mask=~allowed.flatten(0, 1), average_attn_weights=False
    )
    their_gradients = torch.autograd.grad(expected.square().sum(), inputs)

    output, weights = mha(*inputs, attn_mask=attn_mask, is_causal=is_causal, return_weights=True)
    gradients = torch.autograd.grad(output.square().sum(), inputs)

    torch.testing.assert_close(output, expected)
    torch.testing.assert_close(weights, their_weights)
    torch.testing.assert_close(gradients, their_gradients)


def test_padding_mask_is_torchs_key_padding_mask_inverted() -> None:
    query, key, value, keep, _ = CASES["mask [B, 1, 1, T_k], padding"]
    mha = module(d_head=3)
    theirs = torch_module_with_weights_of(mha)
    expected, _ = theirs(query, key, value, key_padding_mask=~keep[:, 0, 0])
    torch.testing.assert_close(mha(query, key, value, attn_mask=keep), expected)


# ----------------------------------------------------------------------------- properties


def test_names_of_the_parameters_are_stable() -> None:
    names = [f"w_{w}.{part}" for w in "qkvo" for part in ("weight", "bias")]
    assert list(MultiHeadAttention(D_MODEL, H).state_dict()) == names
    without = MultiHeadAttention(D_MODEL, H, bias=False).state_dict()
    assert list(without) == [name for name in names if name.endswith("weight")]


def test_key_is_the_query_and_value_is_the_key_by_default() -> None:
    mha = module(d_head=5)
    query, key, _ = CROSS
    assert torch.equal(mha(query), mha(query, query, query))
    assert torch.equal(mha(query, key), mha(query, key, key))


def test_weights_are_returned_only_on_request() -> None:
    mha = module(d_head=5)
    output, weights = mha(*CROSS, return_weights=True)
    assert torch.equal(mha(*CROSS), output)
    assert weights.shape == (B, H, T_Q, T_K)


@pytest.mark.parametrize("name", ["cross-attention, causal", "a query that may attend to nothing"])
def test_gradients_agree_with_finite_differences(name: str) -> None:
    query, key, value, attn_mask, is_causal = CASES[name]
    mha = module(d_head=5)
    names = [name for name, _ in mha.named_parameters()]

    def call(q: Tensor, k: Tensor, v: Tensor, *parameters: Tensor) -> Tensor:
        masks = {"attn_mask": attn_mask, "is_causal": is_causal}
        return torch.func.functional_call(
            mha, dict(zip(names, parameters, strict=True)), (q, k, v), masks
        )

    inputs = [t[:1].clone().requires_grad_() for t in (query, key, value)]
    assert torch.autograd.gradcheck(call, (*inputs, *mha.parameters()), fast_mode=True)


def test_causal_output_depends_on_the_past_and_on_nothing_else() -> None:
    mha = module(d_head=5)
    x = X[:1]
    reaction = torch.autograd.functional.jacobian(lambda x: mha(x, is_causal=True), x)
    depends = reaction[0, :, :, 0].abs().amax(dim=(1, 3)) > 0  # [T_q, T_k]
    assert torch.equal(depends, torch.ones(T_Q, T_Q, dtype=torch.bool).tril())


@QUICK
@given(order=st.permutations(range(T_Q)), seed=st.integers(0, 2**31))
def test_tokens_in_another_order_give_outputs_in_that_order(order: list[int], seed: int) -> None:
    mha = module(d_head=5, seed=seed)
    torch.testing.assert_close(mha(X[:, order]), mha(X)[:, order])


@QUICK
@given(order=st.permutations(range(H)))
def test_the_order_of_heads_does_not_matter(order: list[int]) -> None:
    mha, other = module(d_head=5), module(d_head=5)
    columns = torch.arange(H * 5).view(H, 5)[order].flatten()
    with torch.no_grad():
        for w in (other.w_q, other.w_k, other.w_v):
            w.weight.copy_(w.weight[columns].clone())
            w.bias.copy_(w.bias[columns].clone())
        other.w_o.weight.copy_(other.w_o.weight[:, columns].clone())
    torch.testing.assert_close(other(X), mha(X))


def test_printing_shows_the_sizes() -> None:
    shown = repr(MultiHeadAttention(D_MODEL, H, d_head=5))
    assert "d_model=12, num_heads=4, d_head=5" in shown
