"""Attention of one head, and how heads are cut out of one vector and put back.

    attention(Q, K, V) = softmax(Q Kᵀ / √d_head) V            Vaswani et al. 2017, eq. 1

Axis names: B batch, h heads, T_q queries, T_k keys, d_head width of a query and of a key,
d_v width of a value.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mha_course import _checks
from mha_course.masks import both, causal_mask
from mha_course.shapes import head_dim


def attention_weights(
    query: Float[Tensor, "*batch T_q d_head"],
    key: Float[Tensor, "*batch T_k d_head"],
    *,
    attn_mask: Bool[Tensor, "*mask"] | None = None,
    is_causal: bool = False,
) -> Float[Tensor, "*batch T_q T_k"]:
    """Share of its attention that each query gives to each key; every row sums to 1.

    Args:
        query: One row per query.
        key: One row per key.
        attn_mask: True = may attend. `[T_q, T_k]`, or as many axes as the scores; any axis may
            be 1. A query that may attend to nothing gets a row of zeros, not NaN.
        is_causal: Also forbid the future; see `causal_mask` for T_q ≠ T_k.

    Raises:
        ValueError: widths, batch axes or the mask's shape do not fit.
        TypeError: an input is not a floating-point tensor, dtypes differ, or the mask is not
            boolean.

    >>> attention_weights(torch.zeros(1, 4), torch.randn(2, 4))
    tensor([[0.5000, 0.5000]])
    """
    _checks.query_and_key(query, key)
    # Q is smaller than Q Kᵀ: scaled before the product, the scores need no further pass
    scores = (query / math.sqrt(query.shape[-1])) @ key.mT  # [*batch, T_q, T_k]
    if attn_mask is not None:
        _checks.mask(attn_mask, scores)
    num_queries, num_keys = scores.shape[-2:]
    may_be_empty = attn_mask is not None or num_queries > num_keys
    if is_causal:
        attn_mask = both(attn_mask, causal_mask(num_queries, num_keys, scores.device))
    if attn_mask is None:
        return _softmax(scores)
    if not may_be_empty:
        return _softmax(_block(scores, ~attn_mask))

    # softmax over nothing but −inf is 0/0: such a row is left as it is, and multiplied by 0 after
    something = attn_mask.any(dim=-1, keepdim=True)  # [..., T_q, 1]
    weights = _softmax(_block(scores, ~attn_mask & something))
    return torch.mul(weights, something, out=_reuse(weights, something))


def _block(scores: Tensor, blocked: Tensor) -> Tensor:
    """Add −inf where `blocked`: e to it is 0."""
    minus_inf = torch.zeros_like(blocked, dtype=scores.dtype).masked_fill_(blocked, -math.inf)
    # to add, a gradient needs no scores: in place also in training
    return scores.add_(minus_inf) if _plain(scores, minus_inf) else scores + minus_inf


def _softmax(scores: Tensor) -> Tensor:
    return torch.softmax(scores, dim=-1, out=_reuse(scores))


def _reuse(scores: Tensor, *others: Tensor) -> Tensor | None:
    """Where no gradient will ask for the scores, what comes of them may take their place.

    T_q × T_k numbers per head are the largest tensor there is, and new memory is slow.
    """
    return scores if _plain(scores, *others) and torch.is_inference_mode_enabled() else None


def _plain(*tensors: Tensor) -> bool:
    """Whether the first tensor can be written to, also with what comes of the others."""
    # a compiler reuses memory by itself, and can trace neither question; a tensor inside
    # torch.func.vmap is a wrapper that cannot be written to
    return not torch.compiler.is_compiling() and all(
        torch.func.debug_unwrap(t) is t for t in tensors
    )


def attention(
    query: Float[Tensor, "*batch T_q d_head"],
    key: Float[Tensor, "*batch T_k d_head"],
    value: Float[Tensor, "*batch T_k d_v"],
    *,
    attn_mask: Bool[Tensor, "*mask"] | None = None,
    is_causal: bool = False,
) -> Float[Tensor, "*batch T_q d_v"]:
    """Weighted average of the values, one average per query.

    Arguments and errors are those of `attention_weights`; `value` has one row per key.

    >>> attention(torch.zeros(1, 4), torch.randn(2, 4), torch.tensor([[0.0], [1.0]]))
    tensor([[0.5000]])
    """
    weights = attention_weights(query, key, attn_mask=attn_mask, is_causal=is_causal)
    _checks.key_and_value(key, value)
    return weights @ value


def split_heads(
    x: Float[Tensor, "B T width"], num_heads: int
) -> Float[Tensor, "B {num_heads} T width//{num_heads}"]:
    """Cut the last axis into heads and move the head axis forward.

    Head i gets the columns i·d_head … (i+1)·d_head − 1 of every token.

    Raises:
        ValueError: `x` has not three axes, or its width is not divisible by `num_heads`.
        TypeError: `x` is not a tensor, or `num_heads` is not an int.

    >>> split_heads(torch.zeros(2, 5, 12), num_heads=4).shape
    torch.Size([2, 4, 5, 3])
    """
    _checks.rank("x", x, ("B", "T", "h*d_head"))
    batch, time, width = x.shape
    d_head = head_dim(width, num_heads)
    # view alone cannot do it: the head axis is inside the token, so it must be moved, not renamed
    return x.view(batch, time, num_heads, d_head).transpose(1, 2)


def merge_heads(x: Float[Tensor, "B h T d_head"]) -> Float[Tensor, "B T h*d_head"]:
    """Put the heads side by side again: the inverse of `split_heads`.

    Raises:
        ValueError: `x` has not four axes.
        TypeError: `x` is not a tensor.

    >>> merge_heads(torch.zeros(2, 4, 5, 3)).shape
    torch.Size([2, 5, 12])
    """
    _checks.rank("x", x, ("B", "h", "T", "d_head"))
    return x.transpose(1, 2).flatten(start_dim=2)
