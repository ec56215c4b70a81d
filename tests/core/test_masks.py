"""Masks, number by number, and what a mask of each shape means to the module."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from reference import Sizes, random, random_mask, random_parameters
from torch import Tensor

from mha_course import MultiHeadAttention, attention_weights, causal_mask, padding_mask
from mha_course.forms import FORMS
from mha_course.masks import both, per_head

B, H, T_Q, T_K = 3, 8, 5, 7
SIZES = Sizes(14, H, 4, d_head=6, d_v=10, kdim=9, vdim=11)
QUERY, KEY, VALUE = (random(B, t, w, seed=w) for t, w in ((T_Q, 14), (T_K, 9), (T_K, 11)))
CPU = torch.device("cpu")

by_form = pytest.mark.parametrize("form", FORMS)


def module(form: str = "batched") -> MultiHeadAttention:
    mha = MultiHeadAttention(**SIZES._asdict(), form=form).double()
    mha.load_state_dict(random_parameters(SIZES, seed=100))
    return mha


# ------------------------------------------------------------------------------------ causal


@pytest.mark.parametrize(("num_queries", "num_keys"), list(product((1, 2, 5, 7), repeat=2)))
def test_causal_mask_compares_times(num_queries: int, num_keys: int) -> None:
    """The last query and the last key are of the same time."""
    mask = causal_mask(num_queries, num_keys)
    assert mask.dtype == torch.bool
    assert mask.shape == (num_queries, num_keys)
    for t, s in product(range(num_queries), range(num_keys)):
        time_of_query, time_of_key = t - num_queries, s - num_keys
        assert mask[t, s] == (time_of_key <= time_of_query)


def test_causal_mask_is_made_where_it_is_needed() -> None:
    assert causal_mask(T_Q, T_K, torch.device("meta")).device.type == "meta"
    assert causal_mask(T_Q, T_K).device.type == "cpu"


# ----------------------------------------------------------------------------------- padding


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.int16, torch.uint8], ids=str)
def test_padding_mask_counts_from_the_left(dtype: torch.dtype) -> None:
    lengths = torch.tensor([0, 3, T_K], dtype=dtype)
    mask = padding_mask(lengths, T_K)
    assert mask.dtype == torch.bool
    assert mask.shape == (3, 1, 1, T_K)
    for b, s in product(range(3), range(T_K)):
        assert mask[b, 0, 0, s] == (s < lengths[b])


def test_padding_mask_takes_lengths_beyond_both_ends() -> None:
    """As many as there are, and none: the values of lengths are on the device, and not read."""
    mask = padding_mask(torch.tensor([-2, T_K + 2]), T_K)
    assert not mask[0].any()
    assert mask[1].all()


def test_padding_mask_is_made_where_the_lengths_are() -> None:
    assert padding_mask(torch.tensor([3]).to("meta"), T_K).device.type == "meta"


# -------------------------------------------------------------------------------- both, per_head


def test_both_allow_what_each_allows() -> None:
    a, b = random_mask(T_Q, T_K, seed=1), random_mask(B, 1, 1, T_K, seed=2)
    expected = torch.zeros(B, 1, T_Q, T_K, dtype=torch.bool)
    for i, t, s in product(range(B), range(T_Q), range(T_K)):
        expected[i, 0, t, s] = bool(a[t, s]) and bool(b[i, 0, 0, s])
    assert not expected.all()
    assert torch.equal(both(a, b), expected)
    assert torch.equal(both(b, a), expected)


def test_both_of_one_is_that_one() -> None:
    a = random_mask(T_Q, T_K, seed=1)
    assert both(a, None) is a
    assert both(None, a) is a
    assert both(None, None) is None


@pytest.mark.parametrize("ones", list(product([False, True], repeat=4)), ids=str)
def test_per_head_leaves_axes_of_1_alone(ones: tuple[bool, ...]) -> None:
    full = (B, H, T_Q, T_K)
    shape = [1 if one else size for one, size in zip(ones, full, strict=True)]
    mask = random_mask(*shape, seed=1)
    assert per_head(mask, full, CPU) is mask


def test_per_head_puts_batch_and_heads_in_front() -> None:
    mask = random_mask(T_Q, T_K, seed=1)
    four = per_head(mask, (B, H, T_Q, T_K), CPU)
    assert four.shape == (1, 1, T_Q, T_K)
    assert torch.equal(four[0, 0], mask)


# ------------------------------------------------------------------------------ in the module


@by_form
@pytest.mark.parametrize("ones", list(product([False, True], repeat=4)), ids=str)
def test_an_axis_of_1_is_one_mask_for_all(ones: tuple[bool, ...], form: str) -> None:
    full = (B, H, T_Q, T_K)
    shape = [1 if one else size for one, size in zip(ones, full, strict=True)]
    mask = random(*shape, seed=3) > -0.3  # some queries have no key at all
    mask.view(-1)[0] = False
    mha = module(form)
    output = mha(QUERY, KEY, VALUE, attn_mask=mask)
    torch.testing.assert_close(
        output, mha(QUERY, KEY, VALUE, attn_mask=mask.expand(full).contiguous())
    )
    assert (output - mha(QUERY, KEY, VALUE)).abs().max() > 0.01


@by_form
def test_true_means_may_attend(form: str) -> None:
    """A key that nobody may attend to can be anything, and the others cannot."""
    mask = torch.ones(T_Q, T_K, dtype=torch.bool)
    mask[:, 2] = False
    mha = module(form)
    expected = mha(QUERY, KEY, VALUE, attn_mask=mask)
    for s in range(T_K):
        key, value = KEY.clone(), VALUE.clone()
        key[:, s], value[:, s] = 3.0, -3.0
        changed = (mha(QUERY, key, value, attn_mask=mask) - expected).abs().amax(dim=(0, 2))
        assert (changed == 0).all() if s == 2 else (changed > 0.001).all()


@by_form
def test_masks_lengths_and_is_causal_allow_what_all_of_them_allow(form: str) -> None:
    mha = module(form)
    mask, lengths = random_mask(B, H, T_Q, T_K, seed=4), torch.tensor([7, 4, 2])
    mask[1, 3, 2] = False
    together = mask & padding_mask(lengths, T_K) & causal_mask(T_Q, T_K)
    assert not together.any(-1).all()
    torch.testing.assert_close(
        mha(QUERY, KEY, VALUE, attn_mask=mask, key_lengths=lengths, is_causal=True),
        mha(QUERY, KEY, VALUE, attn_mask=together),
    )


@by_form
@pytest.mark.parametrize("bias", ["qkvo", "qkv"])
def test_a_query_that_may_attend_to_nothing_gets_the_bias_of_w_o(bias: str, form: str) -> None:
    sizes = SIZES._replace(bias=bias)
    mha = MultiHeadAttention(**sizes._asdict(), form=form).double()
    mha.load_state_dict(random_parameters(sizes, seed=100))
    output = mha(QUERY, KEY, VALUE, key_lengths=torch.tensor([T_K, 0, 3]))
    expected = torch.zeros(14).double() if mha.w_o.bias is None else mha.w_o.bias
    assert torch.equal(output[1], expected.expand(T_Q, -1))
    assert not torch.equal(output[0], expected.expand(T_Q, -1))


@by_form
def test_masks_are_not_written_to(form: str) -> None:
    mask = random_mask(B, H, T_Q, T_K, seed=4)
    mask[1, 2, 3] = False
    lengths = torch.tensor([7, 4, 0])
    before = mask.clone(), lengths.clone()
    for mode in (torch.enable_grad, torch.no_grad, torch.inference_mode):
        with mode():
            module(form)(QUERY, KEY, VALUE, attn_mask=mask, key_lengths=lengths, is_causal=True)
    assert torch.equal(mask, before[0])
    assert torch.equal(lengths, before[1])


def of_heads(x: Tensor, width: int) -> Tensor:
    return random(B, H, x.shape[1], width, seed=width + x.shape[1])


@pytest.mark.parametrize("shape", [(T_Q, T_K), (1, T_K), (T_Q, 1), (1, 1), (B, 1, 1, T_K)], ids=str)
def test_two_axes_of_one_head_may_be_1_too(shape: tuple[int, ...]) -> None:
    query, key = of_heads(QUERY, 6), of_heads(KEY, 6)
    mask = random_mask(*shape, seed=5)
    torch.testing.assert_close(
        attention_weights(query, key, attn_mask=mask),
        attention_weights(query, key, attn_mask=mask.expand(B, H, T_Q, T_K)),
    )
