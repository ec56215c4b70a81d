"""The right answers of the assignment `masks-and-modules`, with the learners' names.

`some_mask` and `parameters` make inputs for its tests.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import linear

from mha_course.attention import attention, merge_heads, split_heads
from mha_course.grading.reference.heads import attend
from mha_course.masks import both, causal_mask
from mha_course.masks import padding_mask as package_padding_mask

__all__ = [
    "attend_with_cache",
    "causal_mask",
    "combine",
    "cross_attention",
    "grouped_query_attention",
    "masked_attention",
    "masked_weights",
    "multi_head",
    "padding_mask",
    "parameters",
    "share_heads",
    "some_mask",
    "window_mask",
]


def padding_mask(lengths: Tensor, T: int) -> Tensor:
    """Mask of the real tokens: [B, T]."""
    return package_padding_mask(lengths, T)[:, 0, 0]


def combine(causal: Tensor, padding: Tensor) -> Tensor:
    """What both allow: [T_q, T_k], [B, T_k] -> [B, 1, T_q, T_k]."""
    combined = both(causal, padding[:, None, None, :])
    assert combined is not None  # neither of the two was
    return combined


def window_mask(T: int, width: int) -> Tensor:
    """Causal, and at most `width` keys a query: [T, T]."""
    return causal_mask(T, T).triu(diagonal=-(width - 1))


def masked_weights(scores: Tensor, attn_mask: Tensor) -> Tensor:
    """Softmax over the keys that are allowed, and zeros where none is: [B, h, T_q, T_k]."""
    nothing = ~attn_mask.any(dim=-1, keepdim=True)
    weights = scores.masked_fill(~attn_mask, -math.inf).softmax(dim=-1)
    return weights.masked_fill(nothing, 0.0)


def masked_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    is_causal: bool = False,
) -> Tensor:
    """One average per query of the values that are allowed: [B, h, T_q, d_v]."""
    return attention(query, key, value, attn_mask=attn_mask, is_causal=is_causal)


def cross_attention(
    x: Tensor,
    memory: Tensor,
    W_Q: Tensor,
    W_K: Tensor,
    W_V: Tensor,
    W_O: Tensor,
    num_heads: int,
) -> Tensor:
    """Queries from x, keys and values from memory: [B, T_q, d_model]."""
    q, k, v = (
        split_heads(made, num_heads) for made in (x @ W_Q, memory @ W_K, memory @ W_V)
    )  # [B, h, T, d_head]
    return merge_heads(attend(q, k, v)) @ W_O


def multi_head(
    state: Mapping[str, Tensor], x: Tensor, num_heads: int, attn_mask: Tensor | None = None
) -> Tensor:
    """What the module returns that has `state`: [B, T, d_model]."""
    q, k, v = (
        split_heads(linear(x, state[f"{name}.weight"], state.get(f"{name}.bias")), num_heads)
        for name in ("w_q", "w_k", "w_v")
    )  # [B, h, T, d_head]
    merged = merge_heads(attention(q, k, v, attn_mask=attn_mask))
    return linear(merged, state["w_o.weight"], state.get("w_o.bias"))


def share_heads(kv: Tensor, num_heads: int) -> Tensor:
    """Give neighbouring query heads the same key/value head: [B, g, T, d] -> [B, h, T, d]."""
    return kv.repeat_interleave(num_heads // kv.shape[1], dim=1)


def grouped_query_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention of h query heads to g key/value heads: [B, h, T_q, d_v]."""
    h = query.shape[1]
    return attend(query, share_heads(key, h), share_heads(value, h))


def attend_with_cache(
    query: Tensor, key: Tensor, value: Tensor, past_keys: Tensor, past_values: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Attention of new tokens to the past ones and to themselves, and what is kept."""
    keys = torch.cat([past_keys, key], dim=2)  # [B, h, T_k, d_head]
    values = torch.cat([past_values, value], dim=2)  # [B, h, T_k, d_v]
    return attention(query, keys, values, is_causal=True), keys, values


# -------------------------------------------------------------------------- inputs for tests


def some_mask(numbers: Tensor) -> Tensor:
    """Mask from random numbers, of the same shape: every row allows something, and not all.

    >>> some_mask(torch.zeros(2, 3)).tolist()
    [[True, False, False], [True, False, False]]
    """
    mask = numbers > 0
    mask[..., 0] = True
    mask[..., 1] &= mask[..., 2:].all(dim=-1).logical_not()
    return mask


def parameters(
    W_Q: Tensor, W_K: Tensor, W_V: Tensor, W_O: Tensor, *biases: Tensor
) -> dict[str, Tensor]:
    """Return matrices that are stored for x @ W as nn.Linear stores them, with its names.

    `biases` are those of the four projections, or none.

    >>> list(parameters(*torch.zeros(4, 2, 3)))
    ['w_q.weight', 'w_k.weight', 'w_v.weight', 'w_o.weight']
    """
    names = ("w_q", "w_k", "w_v", "w_o")
    matrices = zip(names, (W_Q, W_K, W_V, W_O), strict=True)
    state = {f"{name}.weight": W.T for name, W in matrices}
    if biases:
        state |= {f"{name}.bias": bias for name, bias in zip(names, biases, strict=True)}
    return state
