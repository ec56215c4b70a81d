"""Sizes of a multi-head attention: which are free, and what the others are by default."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import NamedTuple, TypedDict

from mha_course import _checks
from mha_course.models import LatentShape as LatentShape

PROJECTIONS = ("q", "k", "v", "o")


class AttentionShape(NamedTuple):
    """All sizes of one multi-head attention, as `attention_shape` fills them in.

    Attributes:
        d_model: Width of the queries' input and of the output.
        num_heads: Query heads, h.
        num_kv_heads: Key/value heads, g; each serves h/g neighbouring query heads.
        d_head: Width of a query and of a key.
        d_v: Width of a value.
        kdim: Width of the input that keys are made from.
        vdim: Width of the input that values are made from.
        bias: Projections that have a bias, some of "q", "k", "v" and "o".
    """

    d_model: int
    num_heads: int
    num_kv_heads: int
    d_head: int
    d_v: int
    kdim: int
    vdim: int
    bias: tuple[str, ...]


class Sizes(TypedDict, total=False):
    """The sizes that have a default, as keywords of functions that take an attention's shape."""

    num_kv_heads: int | None
    d_head: int | None
    d_v: int | None
    kdim: int | None
    vdim: int | None
    bias: bool | Collection[str]


def attention_shape(
    d_model: int,
    num_heads: int,
    *,
    num_kv_heads: int | None = None,
    d_head: int | None = None,
    d_v: int | None = None,
    kdim: int | None = None,
    vdim: int | None = None,
    bias: bool | Collection[str] = True,
) -> AttentionShape:
    """Fill in the sizes that are not given, and check that they fit together.

    Args:
        d_model: Width of the queries' input and of the output.
        num_heads: Query heads.
        num_kv_heads: Key/value heads; by default `num_heads`. Fewer is grouped-query attention
            (GQA, Ainslie et al. 2023), one is multi-query attention (MQA, Shazeer 2019).
        d_head: Width of a query and of a key; by default d_model / num_heads.
        d_v: Width of a value; by default `d_head`.
        kdim: Width of the input of the keys; by default `d_model`.
        vdim: Width of the input of the values; by default `d_model`.
        bias: True or False for all projections, or those that have one, as in `"qv"`.

    Raises:
        ValueError: a size is below 1, or does not divide where it must.
        TypeError: a size is not an int.

    >>> attention_shape(512, 8, num_kv_heads=2).d_head
    64
    """
    _checks.positive_int("d_model", d_model)
    _checks.positive_int("num_heads", num_heads)
    num_kv_heads = num_heads if num_kv_heads is None else num_kv_heads
    _checks.positive_int("num_kv_heads", num_kv_heads)
    if num_heads % num_kv_heads:
        near = " or ".join(map(str, _nearest_divisors(num_heads, num_kv_heads)))
        raise ValueError(
            f"num_heads={num_heads} is not divisible by num_kv_heads={num_kv_heads}; each "
            f"key/value head serves equally many query heads: try num_kv_heads={near}"
        )
    d_head = head_dim(d_model, num_heads) if d_head is None else d_head
    shape = AttentionShape(
        d_model=d_model,
        num_heads=num_heads,
        num_kv_heads=num_kv_heads,
        d_head=d_head,
        d_v=d_head if d_v is None else d_v,
        kdim=d_model if kdim is None else kdim,
        vdim=d_model if vdim is None else vdim,
        bias=_projections_with_bias(bias),
    )
    for name in ("d_head", "d_v", "kdim", "vdim"):
        _checks.positive_int(name, getattr(shape, name))
    return shape


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
        near = " or ".join(map(str, _nearest_divisors(d_model, num_heads)))
        raise ValueError(f"d_model={d_model} is not divisible by num_heads={num_heads}; try {near}")
    return d_model // num_heads


def _nearest_divisors(n: int, near: int) -> list[int]:
    """Return the divisors of `n` next below and next above `near`, as far as they exist."""
    small = [d for d in range(1, math.isqrt(n) + 1) if n % d == 0]
    divisors = sorted({*small, *(n // d for d in small)})
    return [d for d in divisors if d < near][-1:] + [d for d in divisors if d > near][:1]


def _projections_with_bias(bias: bool | Collection[str]) -> tuple[str, ...]:
    if isinstance(bias, bool):
        return PROJECTIONS if bias else ()
    if not isinstance(bias, Collection) or any(name not in PROJECTIONS for name in bias):
        raise ValueError(
            f"bias={bias!r} must be True, False, or projections out of q, k, v and o, as in 'qv'"
        )
    return tuple(name for name in PROJECTIONS if name in bias)


def check_latent_shape(shape: LatentShape) -> None:
    """Raise unless there can be a latent attention of these sizes.

    Raises:
        ValueError: a size is below 1, or `shape.d_rope` is odd.
        TypeError: a size is not an int, or `shape` no `LatentShape`.

    >>> check_latent_shape(LatentShape(12, 4, d_head=5, d_rope=2, d_v=3, kv_rank=6))
    """
    _checks.instance("shape", shape, LatentShape)
    for name, size in shape._asdict().items():
        if (name, size) != ("q_rank", None):
            _checks.positive_int(name, size)
    if shape.d_rope % 2:
        raise ValueError(f"d_rope={shape.d_rope} must be even: pairs of numbers are rotated")
