"""Checks of arguments, kept apart so that the formulas stay readable.

Every message names the value, the rule and the way out.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from mha_course.shapes import AttentionShape


# --------------------------------------------------------------------------------- numbers


def positive_int(name: str, value: int) -> None:
    """Raise unless `value` is an int of at least 1 (True and 8.0 are not)."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name}={value!r} is a {type(value).__name__}; it must be an int")
    if value < 1:
        raise ValueError(f"{name}={value} must be at least 1")


def at_least_0(name: str, value: int) -> None:
    """Raise unless `value` is an int of at least 0."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name}={value!r} is a {type(value).__name__}; it must be an int")
    if value < 0:
        raise ValueError(f"{name}={value} must be at least 0")


def share(name: str, value: float) -> None:
    """Raise unless `value` is a number from 0 up to, but not including, 1."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name}={value!r} is a {type(value).__name__}; it must be a number")
    if not 0 <= value < 1:
        raise ValueError(f"{name}={value} must be at least 0 and below 1: it is a share")


# --------------------------------------------------------------------------------- objects


def instance(name: str, value: object, kind: type, called: str | None = None) -> None:
    """Raise unless `value` is of this kind, which people call `called`, or as the class does."""
    if not isinstance(value, kind):
        raise TypeError(
            f"{name} is a {type(value).__name__}; it must be a {called or kind.__name__}"
        )


# --------------------------------------------------------------------------- single tensors


def is_tensor(name: str, tensor: Tensor) -> None:
    """Raise unless `tensor` is one."""
    instance(name, tensor, Tensor, "torch.Tensor")


def rank(name: str, tensor: Tensor, axes: Sequence[str]) -> None:
    """Raise unless `tensor` has exactly the axes named."""
    is_tensor(name, tensor)
    if tensor.dim() != len(axes):
        count = "1 axis" if tensor.dim() == 1 else f"{tensor.dim()} axes"
        raise ValueError(
            f"{name} has {count}, shape {list(tensor.shape)}; "
            f"it must have {len(axes)}: [{', '.join(axes)}]"
        )


def floating_point(name: str, tensor: Tensor) -> None:
    """Raise unless `tensor` holds floating-point numbers."""
    if not tensor.is_floating_point():
        raise TypeError(
            f"{name} has dtype {tensor.dtype}; attention needs floating point: use {name}.float()"
        )


def boolean(name: str, mask: Tensor) -> None:
    """Raise unless `mask` is a boolean tensor."""
    is_tensor(name, mask)
    if mask.dtype != torch.bool:
        raise TypeError(
            f"{name} has dtype {mask.dtype}; it must be torch.bool, True = may attend. "
            f"From an additive mask (0 and -inf) use {name} == 0; from 0 and 1 use .bool()"
        )


def sequence(name: str, tensor: Tensor, width: str) -> None:
    """Raise unless `tensor` holds a vector of numbers for each token: [..., T, width]."""
    is_tensor(name, tensor)
    floating_point(name, tensor)
    if tensor.dim() < 2:
        raise ValueError(
            f"{name} has shape {list(tensor.shape)}; it must end in two axes, [..., T, {width}]"
        )


def same_kind(name_a: str, a: Tensor, name_b: str, b: Tensor) -> None:
    """Raise unless both tensors have the same dtype and are on the same device."""
    if a.dtype != b.dtype:
        raise TypeError(f"{name_a} has dtype {a.dtype} and {name_b} has {b.dtype}; make them equal")
    if a.device != b.device:
        raise ValueError(
            f"{name_a} is on {a.device} and {name_b} is on {b.device}; move one with .to(...)"
        )


# ----------------------------------------------------------------- one head: [..., T, d_head]


def query_and_key(query: Tensor, key: Tensor) -> None:
    """Raise unless scores between `query` and `key` can be computed."""
    for name, tensor in (("query", query), ("key", key)):
        sequence(name, tensor, "d_head")
    same_kind("query", query, "key", key)
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
    sequence("value", value, "d_v")
    same_kind("key", key, "value", value)
    if key.shape[:-1] != value.shape[:-1]:
        raise ValueError(
            f"key has shape {list(key.shape)} and value has {list(value.shape)}; "
            "all axes but the last must be equal: each key has one value"
        )


def mask(attn_mask: Tensor, scores: Tensor) -> None:
    """Raise unless `attn_mask` fits the scores, or the last two axes of them, axis by axis."""
    boolean("attn_mask", attn_mask)
    _on_device("attn_mask", attn_mask, scores.device)
    wanted = list(scores.shape)
    axes = scores.shape[-2:] if attn_mask.dim() == 2 else scores.shape
    if not _fits_each_axis(attn_mask.shape, axes):
        raise ValueError(
            f"attn_mask has shape {list(attn_mask.shape)} and the scores have {wanted} = "
            f"[..., T_q={wanted[-2]}, T_k={wanted[-1]}]; the mask must be [T_q, T_k], or have as "
            "many axes as the scores, each of them of the same size or 1"
        )


# -------------------------------------------------------------------- all heads of a module


def module_input(
    name: str, tensor: Tensor, axes: Sequence[str], width: int, weight: Tensor, hint: str = ""
) -> None:
    """Raise unless `tensor` has these axes, the last `width` wide, and `weight`'s kind."""
    rank(name, tensor, axes)
    if tensor.shape[-1] != width:
        raise ValueError(
            f"{name} is {tensor.shape[-1]} wide, shape {list(tensor.shape)}; it must be "
            f"[{', '.join(axes)}={width}]{hint}"
        )
    of_module(name, tensor, weight)


def of_module(name: str, tensor: Tensor, weight: Tensor) -> None:
    """Raise unless `tensor` has the dtype and the device of a module with this weight."""
    floating_point(name, tensor)
    if tensor.device != weight.device:
        raise ValueError(
            f"{name} is on {tensor.device} and the module on {weight.device}; "
            f"use {name}.to({str(weight.device)!r})"
        )
    # autocast brings inputs and weights to one dtype by itself
    if tensor.dtype != weight.dtype and not torch.is_autocast_enabled(weight.device.type):
        raise TypeError(
            f"{name} has dtype {tensor.dtype} and the module {weight.dtype}; use "
            f"{name}.to({weight.dtype}), or torch.autocast for mixed precision"
        )


def inputs(
    query: Tensor, key: Tensor, value: Tensor, shape: AttentionShape, weight: Tensor
) -> None:
    """Raise unless a module of this shape, with this weight in it, can take the three inputs."""
    module_input("query", query, ("B", "T_q", "d_model"), shape.d_model, weight)
    if key is not query or shape.kdim != shape.d_model:
        hint = ". No key was given, so the query stands in: pass key" if key is query else ""
        module_input("key", key, ("B", "T_k", "kdim"), shape.kdim, weight, hint)
    if value is not key or shape.vdim != shape.kdim:
        hint = ". No value was given, so the key stands in: pass value" if value is key else ""
        module_input("value", value, ("B", "T_k", "vdim"), shape.vdim, weight, hint)
    if query.shape[0] != key.shape[0]:
        raise ValueError(
            f"query has batch size B={query.shape[0]} and key has B={key.shape[0]} (shapes "
            f"{list(query.shape)} and {list(key.shape)}); they must be equal"
        )
    if key.shape[:2] != value.shape[:2]:
        raise ValueError(
            f"key has [B, T_k] = {list(key.shape[:2])} and value has {list(value.shape[:2])}; "
            "they must be equal: each key has one value"
        )


def form(name: str, forms: Collection[str]) -> None:
    """Raise unless there is a form of this name."""
    if not isinstance(name, str) or name not in forms:
        raise ValueError(f"form={name!r} is not a form; there are {', '.join(forms)}")


def mask_of_heads(
    attn_mask: Tensor, scores_shape: tuple[int, int, int, int], device: torch.device
) -> None:
    """Raise unless `attn_mask` is [T_q, T_k] or [B|1, h|1, T_q|1, T_k|1]."""
    boolean("attn_mask", attn_mask)
    _on_device("attn_mask", attn_mask, device)
    batch, heads, num_queries, num_keys = scores_shape
    if attn_mask.dim() == 2 and tuple(attn_mask.shape) == (num_queries, num_keys):
        return
    if attn_mask.dim() == 4 and _fits_each_axis(attn_mask.shape, scores_shape):
        return
    raise ValueError(
        f"attn_mask has shape {list(attn_mask.shape)}; it must be [T_q={num_queries}, "
        f"T_k={num_keys}], or [B={batch}, h={heads}, T_q={num_queries}, T_k={num_keys}] where "
        f"any axis may be 1.{_way_out(attn_mask, batch, num_keys)}"
    )


def key_lengths(
    lengths: Tensor, scores_shape: tuple[int, int, int, int], device: torch.device
) -> None:
    """Raise unless there is one length for each sequence; their values are not looked at."""
    rank("key_lengths", lengths, ("B",))
    if lengths.shape[0] != scores_shape[0]:
        raise ValueError(
            f"key_lengths has {lengths.shape[0]} entries for a batch of B={scores_shape[0]}; "
            "give one length for each sequence"
        )
    _on_device("key_lengths", lengths, device)


def heads_output(z: Tensor, shape: AttentionShape, weight: Tensor) -> None:
    """Raise unless `z` holds one output per query for each head of a module."""
    axes = ("B", f"h={shape.num_heads}", "T_q", f"d_v={shape.d_v}")
    rank("z", z, axes)
    if (z.shape[1], z.shape[3]) != (shape.num_heads, shape.d_v):
        raise ValueError(f"z has shape {list(z.shape)}; it must be [{', '.join(axes)}]")
    of_module("z", z, weight)


def head_gates(gates: Tensor, batch: int, shape: AttentionShape, weight: Tensor) -> None:
    """Raise unless there is one gate for each head, or for each head of each sequence."""
    is_tensor("head_gates", gates)
    heads = shape.num_heads
    if tuple(gates.shape) not in ((heads,), (batch, heads)):
        raise ValueError(
            f"head_gates has shape {list(gates.shape)}; it must be [h={heads}], or "
            f"[B={batch}, h={heads}]"
        )
    if not gates.is_floating_point():
        raise TypeError(
            f"head_gates has dtype {gates.dtype}; gates are factors: use head_gates.float()"
        )
    of_module("head_gates", gates, weight)


# ---------------------------------------------------------------------------------- parts


def _on_device(name: str, tensor: Tensor, device: torch.device) -> None:
    if tensor.device != device:
        raise ValueError(
            f"{name} is on {tensor.device} and the queries are on {device}; "
            f"use {name}.to({str(device)!r})"
        )


def _fits_each_axis(shape: Sequence[int], wanted: Sequence[int]) -> bool:
    return len(shape) == len(wanted) and all(
        size in (1, expected) for size, expected in zip(shape, wanted, strict=True)
    )


def _way_out(attn_mask: Tensor, batch: int, num_keys: int) -> str:
    if attn_mask.dim() == 1:
        return " For lengths use key_lengths; for one row for all queries mask[None, None, None]"
    if attn_mask.dim() == 3:
        return (
            " Three axes could be [B, T_q, T_k] or [h, T_q, T_k]: say which with mask[:, None] "
            "or mask[None]; from torch's [B·h, T_q, T_k], use mask_from_torch"
        )
    if tuple(attn_mask.shape) == (batch, num_keys):
        return " For a padding mask [B, T_k] use mask[:, None, None]"
    return ""
