"""What heads cost, in closed form: parameters, FLOPs of the matrix products, score memory."""

from __future__ import annotations

from typing import NamedTuple

from torch import nn

from mha_course import _checks
from mha_course.attention import head_dim


def count_parameters(module: nn.Module, *, trainable_only: bool = False) -> int:
    """Return the number of parameters that a module really has; a shared one counts once.

    >>> count_parameters(nn.Linear(3, 2))
    8
    """
    return sum(p.numel() for p in module.parameters() if p.requires_grad or not trainable_only)


def attention_parameters(
    d_model: int,
    num_heads: int,
    *,
    d_head: int | None = None,
    num_kv_heads: int | None = None,
    bias: bool = True,
) -> int:
    """Parameters of W_Q, W_K, W_V and W_O, in closed form.

    With h·d_head = d_model this is 4·d_model² (+ 4·d_model for biases), whatever h is.

    Args:
        d_model: Width of the model.
        num_heads: Query heads, h.
        d_head: Width of a head; by default d_model / h.
        num_kv_heads: Key/value heads (grouped-query attention); by default h.
        bias: Whether each of the four projections has a bias.

    Raises:
        ValueError: a size is below 1, or does not divide where it must.

    >>> attention_parameters(512, 8)
    1050624
    """
    d_head = head_dim(d_model, num_heads) if d_head is None else d_head
    num_kv_heads = num_heads if num_kv_heads is None else num_kv_heads
    for name, size in (("d_model", d_model), ("num_heads", num_heads), ("d_head", d_head)):
        _checks.positive_int(name, size)
    _checks.positive_int("num_kv_heads", num_kv_heads)
    if num_heads % num_kv_heads:
        raise ValueError(
            f"num_heads={num_heads} is not divisible by num_kv_heads={num_kv_heads}; "
            "each key/value head serves an equal group of query heads"
        )
    query_width = num_heads * d_head
    kv_width = num_kv_heads * d_head
    weights = 2 * d_model * query_width + 2 * d_model * kv_width
    biases = query_width + 2 * kv_width + d_model
    return weights + biases if bias else weights


class AttentionFlops(NamedTuple):
    """Floating-point operations of the matrix products, a multiply-add counted as two.

    The softmax is left out: it is no matrix product. It touches h·n² numbers.
    """

    projections: int
    scores_and_mix: int

    @property
    def total(self) -> int:
        """Projections, scores and mixing together."""
        return self.projections + self.scores_and_mix


def attention_flops(d_model: int, num_heads: int, num_tokens: int) -> AttentionFlops:
    """FLOPs of self-attention over one sequence: 8·n·d² + 4·n²·d, whatever h is.

    Raises:
        ValueError: `num_heads` does not divide `d_model`, or a size is below 1.

    >>> attention_flops(512, 8, 128).total
    301989888
    """
    _checks.positive_int("num_tokens", num_tokens)
    width = num_heads * head_dim(d_model, num_heads)
    return AttentionFlops(
        projections=4 * 2 * num_tokens * d_model * width,
        scores_and_mix=2 * 2 * num_tokens**2 * width,
    )


def score_bytes(num_heads: int, num_tokens: int, *, bytes_per_number: int = 4) -> int:
    """Memory of the scores of one sequence, h·n² numbers, when they are all kept at once.

    Raises:
        ValueError: a size is below 1.

    >>> score_bytes(num_heads=8, num_tokens=1024) // 2**20
    32
    """
    for name, size in (("num_heads", num_heads), ("num_tokens", num_tokens)):
        _checks.positive_int(name, size)
    _checks.positive_int("bytes_per_number", bytes_per_number)
    return num_heads * num_tokens**2 * bytes_per_number
