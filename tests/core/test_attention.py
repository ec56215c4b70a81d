"""attention_weights, attention, causal_mask, split_heads and merge_heads.

Sizes are pairwise different and above 1: with h = 1, T_q = T_k or d_k = d_v, most mistakes pass.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import (
    attention_by_loops,
    random,
    random_mask,
    who_may_attend,
)
from torch import Tensor

from mha_course import (
    attention,
    attention_shape,
    attention_weights,
    causal_mask,
    head_dim,
    merge_heads,
    split_heads,
)
from mha_course.grading.mistakes.heads import (
    merge_by_view,
    merge_interleaved,
    split_by_view,
    split_interleaved,
    split_without_transpose,
)
from mha_course.grading.mutants import MUTANTS, RIGHT, Parts

B, H, SHORT, LONG, D_K, D_V = 2, 4, 5, 7, 3, 6
QUICK = settings(max_examples=25, deadline=None, derandomize=True)


class Case(NamedTuple):
    """Inputs of one call."""

    query: Tensor
    key: Tensor
    value: Tensor
    attn_mask: Tensor | None
    is_causal: bool


def case(
    num_queries: int, num_keys: int, attn_mask: Tensor | None = None, is_causal: bool = False
) -> Case:
    return Case(
        random(B, H, num_queries, D_K, seed=1),
        random(B, H, num_keys, D_K, seed=2),
        random(B, H, num_keys, D_V, seed=3),
        attn_mask,
        is_causal,
    )


ONE_EMPTY_ROW = random_mask(SHORT, LONG, seed=9)
ONE_EMPTY_ROW[2] = False

CASES = {
    "no mask": case(SHORT, LONG),
    "causal, T_q = T_k": case(SHORT, SHORT, is_causal=True),
    "causal, T_q < T_k": case(SHORT, LONG, is_causal=True),
    "causal, T_q > T_k: the first queries see nothing": case(LONG, SHORT, is_causal=True),
    "mask [T_q, T_k]": case(SHORT, LONG, random_mask(SHORT, LONG, seed=4)),
    "mask [1, T_k]": case(SHORT, LONG, random_mask(1, LONG, seed=5)),
    "mask [T_q, 1]": case(SHORT, LONG, random(SHORT, 1, seed=5) > 0),
    "mask [B, 1, 1, T_k], padding": case(SHORT, LONG, random_mask(B, 1, 1, LONG, seed=6)),
    "mask [1, h, T_q, T_k]": case(SHORT, LONG, random_mask(1, H, SHORT, LONG, seed=7)),
    "mask [B, h, T_q, T_k]": case(SHORT, LONG, random_mask(B, H, SHORT, LONG, seed=8)),
    "mask [B, 1, T_q, T_k] and causal": case(
        SHORT, LONG, random_mask(B, 1, SHORT, LONG, seed=8), is_causal=True
    ),
    "a query that may attend to nothing": case(SHORT, LONG, ONE_EMPTY_ROW),
}

Attention = Callable[..., Tensor]


@cache
def by_loops(case: Case) -> tuple[Tensor, Tensor]:
    query, key, value, attn_mask, is_causal = case
    shape = (*query.shape[:3], key.shape[2])
    return attention_by_loops(query, key, value, who_may_attend(shape, attn_mask, is_causal))


def assert_agrees_with_loops(
    weigh: Attention, attend: Attention, case: Case, dtype: torch.dtype = torch.float64
) -> None:
    query, key, value, attn_mask, is_causal = case
    output, weights = by_loops(case)
    query, key, value = query.to(dtype), key.to(dtype), value.to(dtype)
    masks = {"attn_mask": attn_mask, "is_causal": is_causal}
    close = {"rtol": 1e-4, "atol": 1e-5} if dtype == torch.float32 else {"rtol": 0, "atol": 1e-12}
    torch.testing.assert_close(weigh(query, key, **masks), weights.to(dtype), **close)
    torch.testing.assert_close(attend(query, key, value, **masks), output.to(dtype), **close)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("name", CASES)
def test_attention_agrees_with_loops_over_queries_and_keys(name: str, dtype: torch.dtype) -> None:
    assert_agrees_with_loops(attention_weights, attention, CASES[name], dtype)


# ------------------------------------------------- the comparison above rejects known mistakes


def weigh_by_parts(
    parts: Parts, query: Tensor, key: Tensor, *, attn_mask: Tensor | None, is_causal: bool
) -> Tensor:
    shape = attention_shape(d_model=11, num_heads=H, d_head=D_K)
    scores = query @ key.mT * parts.scale(shape)
    return parts.weigh(scores, parts.allow(scores, attn_mask, is_causal))


WRONG_PARTS = {
    mutant.name: parts
    for mutant in MUTANTS
    if (parts := getattr(mutant.function, "keywords", {}).get("parts")) is not None
    and (parts.scale, parts.allow, parts.weigh) != (RIGHT.scale, RIGHT.allow, RIGHT.weigh)
    and mutant.name != "NaN in the gradients"  # right on the way forth
}


@pytest.mark.parametrize("name", CASES)
def test_the_parts_that_mistakes_are_put_into_are_right(name: str) -> None:
    weigh = partial(weigh_by_parts, RIGHT)
    assert_agrees_with_loops(weigh, lambda q, k, v, **m: weigh(q, k, **m) @ v, CASES[name])


@pytest.mark.parametrize("mistake", WRONG_PARTS)
def test_loops_reject(mistake: str) -> None:
    weigh = partial(weigh_by_parts, WRONG_PARTS[mistake])

    def is_accepted(case: Case, weigh: Attention, attend: Attention) -> bool:
        try:
            assert_agrees_with_loops(weigh, attend, case)
        except AssertionError:
            return False
        return True

    def attend(query: Tensor, key: Tensor, value: Tensor, **masks: object) -> Tensor:
        return weigh(query, key, **masks) @ value

    assert not all(is_accepted(case, weigh, attention) for case in CASES.values())
    assert not all(is_accepted(case, attention_weights, attend) for case in CASES.values())


def test_loops_reject_key_used_as_value() -> None:
    def wrong(query: Tensor, key: Tensor, _value: Tensor, **masks: object) -> Tensor:
        return attention_weights(query, key, **masks) @ key

    same_width = CASES["no mask"]._replace(value=random(B, H, LONG, D_K, seed=3))
    assert_agrees_with_loops(attention_weights, attention, same_width)
    with pytest.raises(AssertionError, match="not close"):
        assert_agrees_with_loops(attention_weights, wrong, same_width)


# ----------------------------------------------------------------------------- properties


@pytest.mark.parametrize("name", CASES)
def test_rows_are_shares(name: str) -> None:
    query, key, _, attn_mask, is_causal = CASES[name]
    weights = attention_weights(query, key, attn_mask=attn_mask, is_causal=is_causal)
    allowed = who_may_attend(tuple(weights.shape), attn_mask, is_causal)

    assert (weights >= 0).all()
    assert (weights[~allowed] == 0).all()
    torch.testing.assert_close(weights.sum(-1), allowed.any(-1).double())


@pytest.mark.parametrize(
    "attn_mask", [ONE_EMPTY_ROW, torch.zeros(1, 1, dtype=torch.bool)], ids=["row", "all"]
)
def test_a_query_that_may_attend_to_nothing_gets_zeros_and_finite_gradients(
    attn_mask: Tensor,
) -> None:
    query, key, value, _, _ = CASES["no mask"]
    leaves = [t.clone().requires_grad_() for t in (query, key, value)]
    # anomaly mode stops at the first NaN on the way back, even at one that is masked later
    with torch.autograd.set_detect_anomaly(True):
        output = attention(*leaves, attn_mask=attn_mask)
        output.sum().backward()

    assert (output[:, :, 2] == 0).all()
    assert all(leaf.grad.isfinite().all() for leaf in leaves)
    assert (leaves[0].grad[:, :, 2] == 0).all()


@pytest.mark.parametrize("name", CASES)
def test_gradients_agree_with_finite_differences(name: str) -> None:
    query, key, value, attn_mask, is_causal = CASES[name]
    if attn_mask is not None and attn_mask.dim() == 4:
        attn_mask = attn_mask[0, 0]
    leaves = tuple(t[0, 0].clone().requires_grad_() for t in (query, key, value))
    assert torch.autograd.gradcheck(
        lambda q, k, v: attention(q, k, v, attn_mask=attn_mask, is_causal=is_causal),
        leaves,
        fast_mode=True,
    )


@pytest.mark.parametrize("num_keys", [SHORT, LONG], ids=["T_q = T_k", "T_q < T_k"])
def test_causal_output_depends_on_the_past_and_on_nothing_else(num_keys: int) -> None:
    query = random(SHORT, D_K, seed=1)
    key, value = random(num_keys, D_K, seed=2), random(num_keys, D_V, seed=3)

    def causal(k: Tensor, v: Tensor) -> Tensor:
        return attention(query, k, v, is_causal=True)

    past = causal_mask(SHORT, num_keys)
    for reaction in torch.autograd.functional.jacobian(causal, (key, value)):
        depends = reaction.abs().amax(dim=(1, 3)) > 0  # [T_q, T_k]
        # a single key has all the weight, whatever it is: no gradient leads back to it
        single = past & (past.sum(-1, keepdim=True) == 1)
        assert torch.equal(depends | single, past)


def test_causal_mask_lets_the_last_query_see_every_key() -> None:
    assert causal_mask(3, 5).int().tolist() == [[1, 1, 1, 0, 0], [1, 1, 1, 1, 0], [1, 1, 1, 1, 1]]
    assert causal_mask(3, 2).int().tolist() == [[0, 0], [1, 0], [1, 1]]


def test_steps_of_decoding_add_up_to_one_causal_call() -> None:
    query, key, value, _, _ = CASES["causal, T_q = T_k"]
    at_once = attention(query, key, value, is_causal=True)
    for t in range(1, SHORT + 1):
        step = attention(query[:, :, t - 1 : t], key[:, :, :t], value[:, :, :t], is_causal=True)
        torch.testing.assert_close(step, at_once[:, :, t - 1 : t])


@QUICK
@given(order=st.permutations(range(LONG)), seed=st.integers(0, 2**31))
def test_the_order_of_keys_does_not_matter(order: list[int], seed: int) -> None:
    query, key = random(SHORT, D_K, seed=seed), random(LONG, D_K, seed=seed + 1)
    value = random(LONG, D_V, seed=seed + 2)
    torch.testing.assert_close(
        attention(query, key[order], value[order]), attention(query, key, value)
    )
    torch.testing.assert_close(
        attention_weights(query, key[order]), attention_weights(query, key)[:, order]
    )


def test_large_scores_do_not_overflow() -> None:
    query, key = 1e4 * random(SHORT, D_K, seed=1), 1e4 * random(LONG, D_K, seed=2)
    weights = attention_weights(query.float(), key.float())
    assert weights.isfinite().all()
    torch.testing.assert_close(weights.sum(-1), torch.ones(SHORT))


@pytest.mark.parametrize("name", CASES)
def test_inference_mode_gives_the_same_and_leaves_inputs_alone(name: str) -> None:
    """There the scores' memory is used again, which must not be an input's."""
    query, key, value, attn_mask, is_causal = CASES[name]
    masks = {"attn_mask": attn_mask, "is_causal": is_causal}
    before = [None if t is None else t.clone() for t in (query, key, value, attn_mask)]
    expected = attention(query, key, value, **masks), attention_weights(query, key, **masks)
    with torch.inference_mode():
        actual = attention(query, key, value, **masks), attention_weights(query, key, **masks)
    torch.testing.assert_close(actual, expected)
    for left, was in zip((query, key, value, attn_mask), before, strict=True):
        assert was is None or torch.equal(left, was)


@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_vmap_over_the_heads_gives_the_same(mode: Callable[[], object]) -> None:
    query, key, value, attn_mask, _ = CASES["mask [T_q, T_k]"]
    with mode():
        over_heads = torch.vmap(partial(attention, attn_mask=attn_mask), in_dims=1, out_dims=1)
        torch.testing.assert_close(
            over_heads(query, key, value), attention(query, key, value, attn_mask=attn_mask)
        )


def test_any_number_of_axes_may_stand_in_front() -> None:
    query, key, value, attn_mask, _ = CASES["mask [B, h, T_q, T_k]"]
    expected = attention(query, key, value, attn_mask=attn_mask)
    flat = attention(
        *(
            t.flatten(0, 1)
            for t in (
                query,
                key,
                value,
            )
        ),
        attn_mask=attn_mask.flatten(0, 1),
    )
    torch.testing.assert_close(flat, expected.flatten(0, 1))
    single = attention(query[1, 2], key[1, 2], value[1, 2], attn_mask=attn_mask[1, 2])
    torch.testing.assert_close(single, expected[1, 2])


@pytest.mark.parametrize(
    "shape",
    [(LONG,), (1,), (), (H, SHORT, LONG), (1, SHORT, LONG), (1, B, H, SHORT, LONG), (LONG, SHORT)],
    ids=str,
)
def test_masks_that_could_be_meant_in_two_ways_are_refused(shape: tuple[int, ...]) -> None:
    query, key, value, _, _ = CASES["no mask"]
    attn_mask = torch.ones(shape, dtype=torch.bool)
    with pytest.raises(ValueError, match="as many axes as the scores"):
        attention_weights(query, key, attn_mask=attn_mask)
    with pytest.raises(ValueError, match="as many axes as the scores"):
        attention(query, key, value, attn_mask=attn_mask)


# ------------------------------------------------------------------------ split and merge


def assert_places_every_number(split: Callable[..., Tensor]) -> None:
    """Head i, column c of token t is the input's column i·d_head + c of token t."""
    x = torch.arange(B * SHORT * H * D_K, dtype=torch.float64).view(B, SHORT, H * D_K)
    heads = split(x, H)
    assert heads.shape == (B, H, SHORT, D_K)
    for b in range(B):
        for i in range(H):
            for t in range(SHORT):
                for c in range(D_K):
                    assert heads[b, i, t, c] == x[b, t, i * D_K + c]


def assert_puts_every_number_back(merge: Callable[[Tensor], Tensor]) -> None:
    heads = torch.arange(B * H * SHORT * D_K, dtype=torch.float64).view(B, H, SHORT, D_K)
    merged = merge(heads)
    assert merged.shape == (B, SHORT, H * D_K)
    for b in range(B):
        for i in range(H):
            for t in range(SHORT):
                for c in range(D_K):
                    assert merged[b, t, i * D_K + c] == heads[b, i, t, c]


def test_split_places_every_number() -> None:
    assert_places_every_number(split_heads)


def test_merge_puts_every_number_back() -> None:
    assert_puts_every_number_back(merge_heads)


WRONG_SPLITS = {
    "one view": split_by_view,
    "interleaved, (d h)": split_interleaved,
    "heads left behind the tokens": split_without_transpose,
}
WRONG_MERGES = {
    "no transpose back": merge_by_view,
    "interleaved, (d h)": merge_interleaved,
    "summed": lambda z: z.sum(1),
}


@pytest.mark.parametrize("split", WRONG_SPLITS.values(), ids=WRONG_SPLITS)
def test_placement_rejects_split(split: Callable[..., Tensor]) -> None:
    with pytest.raises(AssertionError):
        assert_places_every_number(split)


@pytest.mark.parametrize("merge", WRONG_MERGES.values(), ids=WRONG_MERGES)
def test_placement_rejects_merge(merge: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(AssertionError):
        assert_puts_every_number_back(merge)


SIZE = st.integers(1, 6)


@QUICK
@given(batch=SIZE, heads=SIZE, tokens=SIZE, width=SIZE, contiguous=st.booleans())
def test_merge_inverts_split(
    batch: int, heads: int, tokens: int, width: int, contiguous: bool
) -> None:
    if contiguous:
        x = torch.randn(batch, tokens, heads * width)
    else:
        x = torch.randn(tokens, batch, heads * width).transpose(0, 1)
    assert torch.equal(merge_heads(split_heads(x, heads)), x)


@QUICK
@given(d_head=st.integers(1, 999), num_heads=st.integers(1, 99))
def test_heads_fill_the_model(d_head: int, num_heads: int) -> None:
    assert head_dim(d_head * num_heads, num_heads) == d_head
