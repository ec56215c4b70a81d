"""Attention of one head, and how heads are cut out of d_model and put back.

    attention(Q, K, V) = softmax(Q Kᵀ / √d_head) V            Vaswani et al. 2017, eq. 1

Axis names: B batch, h heads, T_q queries, T_k keys, d_head width of a head.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mha_course import _checks


def head_dim(d_model: int, num_heads: int) -> int:
    """Width of one head when `num_heads` heads share `d_model`: d_model / num_heads.

    This is the convention of Vaswani et al. 2017, section 3.2.2, where it is called d_k.

    Raises:
        ValueError: `num_heads` does not divide `d_model`, or one of them is below 1.
        TypeError: one of them is not an int.

    >>> head_dim(512, 8)
    64
    """
    _checks.positive_int("d_model", d_model)
    _checks.positive_int("num_heads", num_heads)
    if d_model % num_heads:
        near = _nearest_divisors(d_model, num_heads)
        raise ValueError(
            f"d_model={d_model} is not divisible by num_heads={num_heads}; "
            f"try {' or '.join(map(str, near))}"
        )
    return d_model // num_heads


def _nearest_divisors(n: int, near: int) -> list[int]:
    """Return the divisors of `n` next below and next above `near`, as far as they exist."""
    small = [d for d in range(1, math.isqrt(n) + 1) if n % d == 0]
    divisors = sorted({*small, *(n // d for d in small)})
    return [d for d in divisors if d < near][-1:] + [d for d in divisors if d > near][:1]


def causal_mask(
    num_queries: int, num_keys: int, device: torch.device | None = None
) -> Bool[Tensor, "T_q T_k"]:
    """Mask in which a query may attend to itself and to what came before it.

    With fewer queries than keys the queries are the *last* ones (bottom-right alignment),
    which is what step-by-step decoding needs.

    >>> causal_mask(2, 3).int().tolist()
    [[1, 1, 0], [1, 1, 1]]
    """
    everything = torch.ones(num_queries, num_keys, dtype=torch.bool, device=device)
    return everything.tril(diagonal=num_keys - num_queries)


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
        attn_mask: True = may attend; broadcasts to `[*batch, T_q, T_k]`. A query that may
            attend to nothing gets a row of zeros, not NaN.
        is_causal: Also forbid the future; see `causal_mask` for T_q ≠ T_k.

    Raises:
        ValueError: widths, batch axes or the mask's shape do not fit.
        TypeError: an input is not floating point, or the mask is not boolean.

    >>> attention_weights(torch.zeros(1, 4), torch.randn(2, 4))
    tensor([[0.5000, 0.5000]])
    """
    _checks.query_and_key(query, key)
    scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])  # [*batch, T_q, T_k]

    allowed = None
    if attn_mask is not None:
        _checks.mask(attn_mask, scores.shape)
        allowed = attn_mask
    if is_causal:
        causal = causal_mask(scores.shape[-2], scores.shape[-1], scores.device)
        allowed = causal if allowed is None else allowed & causal
    if allowed is None:
        return scores.softmax(dim=-1)

    # softmax over nothing but -inf is 0/0: such a row is filled before it, and set to zero after
    nothing = ~allowed.any(dim=-1, keepdim=True)
    scores = scores.masked_fill(~allowed, -math.inf).masked_fill(nothing, 0.0)
    return scores.softmax(dim=-1).masked_fill(nothing, 0.0)


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

    >>> merge_heads(torch.zeros(2, 4, 5, 3)).shape
    torch.Size([2, 5, 12])
    """
    _checks.rank("x", x, ("B", "h", "T", "d_head"))
    return x.transpose(1, 2).flatten(start_dim=2)
