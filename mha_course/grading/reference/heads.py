"""The right answers of the assignment `heads`, as functions with the learners' names.

Most are the package's own functions; the others are short compositions of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mha_course.attention import (
    attention,
    attention_weights,
    merge_heads,
    split_heads,
)
from mha_course.counting import attention_parameters
from mha_course.shapes import head_dim

__all__ = [
    "attend",
    "attention_weights",
    "head_contributions",
    "head_dim",
    "mean_pattern",
    "merge_heads",
    "mha_parameters",
    "multi_head",
    "split_heads",
]


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Weighted average of the values, one for each query: [..., T_q, d_v]."""
    return attention(query, key, value)


def mean_pattern(patterns: Sequence[Sequence[float]]) -> Tensor:
    """Mean of several attention patterns over the same keys: [T_k]."""
    return torch.tensor(patterns, dtype=torch.float64).mean(dim=0)


def multi_head(
    x: Tensor, W_Q: Tensor, W_K: Tensor, W_V: Tensor, W_O: Tensor, num_heads: int
) -> Tensor:
    """Multi-head self-attention without mask or biases: [B, T, d_model]."""
    q, k, v = (split_heads(x @ W, num_heads) for W in (W_Q, W_K, W_V))  # [B, h, T, d_head]
    return merge_heads(attention(q, k, v)) @ W_O


def head_contributions(z: Tensor, W_O: Tensor) -> Tensor:
    """What each head adds to the output: [B, h, T, d_model]; summed over h it is the output."""
    heads, d_head = z.shape[1], z.shape[-1]
    return z @ W_O.reshape(heads, d_head, -1)


def mha_parameters(d_model: int, num_heads: int, bias: bool) -> int:
    """Parameters of W_Q, W_K, W_V, W_O with h·d_head = d_model: 4·d_model² (+ 4·d_model)."""
    return attention_parameters(d_model, num_heads, bias=bias)
