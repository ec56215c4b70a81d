"""Checks of arguments, kept apart so that the formulas stay readable.

Every message names the value, the rule and the way out.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def positive_int(name: str, value: int) -> None:
    """Raise unless `value` is an int of at least 1 (True and 8.0 are not)."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name}={value!r} is a {type(value).__name__}; it must be an int")
    if value < 1:
        raise ValueError(f"{name}={value} must be at least 1")


def rank(name: str, tensor: Tensor, axes: Sequence[str]) -> None:
    """Raise unless `tensor` has exactly the axes named."""
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{name} is a {type(tensor).__name__}; it must be a torch.Tensor")
    if tensor.dim() != len(axes):
        raise ValueError(
            f"{name} has {tensor.dim()} axes, shape {list(tensor.shape)}; "
            f"it must have {len(axes)}: [{', '.join(axes)}]"
        )


def width(name: str, tensor: Tensor, expected: int, what: str) -> None:
    """Raise unless the last axis of `tensor` is `expected` wide."""
    if tensor.shape[-1] != expected:
        raise ValueError(
            f"{name} is {tensor.shape[-1]} wide, shape {list(tensor.shape)}; "
            f"its last axis must be {what}={expected}"
        )


def floating_point(name: str, tensor: Tensor) -> None:
    """Raise unless `tensor` holds floating-point numbers."""
    if not tensor.is_floating_point():
        raise TypeError(
            f"{name} has dtype {tensor.dtype}; attention needs floating point: use {name}.float()"
        )


def query_and_key(query: Tensor, key: Tensor) -> None:
    """Raise unless scores between `query` and `key` can be computed."""
    for name, tensor in (("query", query), ("key", key)):
        _sequence(name, tensor)
    _same_kind("query", query, "key", key)
    if query.shape[-1] != key.shape[-1]:
        raise ValueError(
            f"query is {query.shape[-1]} wide and key is {key.shape[-1]} wide "
            f"(shapes {list(query.shape)} and {list(key.shape)}); a dot product needs equal widths"
        )
    if query.shape[:-2] != key.shape[:-2]:
        raise ValueError(
            f"query has leading axes {list(query.shape[:-2])} and key has {list(key.shape[:-2])}; "
            "batch and head axes must be equal"
        )


def key_and_value(key: Tensor, value: Tensor) -> None:
    """Raise unless `value` has one row for every row of `key`."""
    _sequence("value", value)
    _same_kind("key", key, "value", value)
    if key.shape[:-1] != value.shape[:-1]:
        raise ValueError(
            f"key has shape {list(key.shape)} and value has {list(value.shape)}; "
            "all axes but the last must be equal: each key has one value"
        )


def mask(attn_mask: Tensor, scores_shape: torch.Size) -> None:
    """Raise unless `attn_mask` is boolean and broadcasts to the shape of the scores."""
    if not isinstance(attn_mask, Tensor):
        raise TypeError(f"attn_mask is a {type(attn_mask).__name__}; it must be a torch.Tensor")
    if attn_mask.dtype != torch.bool:
        raise TypeError(
            f"attn_mask has dtype {attn_mask.dtype}; it must be torch.bool, True = may attend. "
            "From an additive mask (0 and -inf) use attn_mask == 0; from 0 and 1 use .bool()"
        )
    try:
        broadcast = torch.broadcast_shapes(attn_mask.shape, scores_shape)  # type: ignore[no-untyped-call]
        fits = broadcast == scores_shape
    except RuntimeError:
        fits = False
    if not fits:
        raise ValueError(
            f"attn_mask has shape {list(attn_mask.shape)}, which does not broadcast to the scores' "
            f"shape {list(scores_shape)} = [..., T_q={scores_shape[-2]}, T_k={scores_shape[-1]}]"
        )


def _sequence(name: str, tensor: Tensor) -> None:
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{name} is a {type(tensor).__name__}; it must be a torch.Tensor")
    floating_point(name, tensor)
    if tensor.dim() < 2:
        raise ValueError(
            f"{name} has shape {list(tensor.shape)}; it must end in two axes, [..., T, d_head]"
        )


def _same_kind(name_a: str, a: Tensor, name_b: str, b: Tensor) -> None:
    if a.dtype != b.dtype:
        raise TypeError(f"{name_a} has dtype {a.dtype} and {name_b} has {b.dtype}; make them equal")
    if a.device != b.device:
        raise ValueError(
            f"{name_a} is on {a.device} and {name_b} is on {b.device}; move one with .to(...)"
        )
