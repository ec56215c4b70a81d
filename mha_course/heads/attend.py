"""The one attention function that transformers calls in place of its own.

It hands each call to whoever owns the calling module, and offers two ways to attend: the fused
kernel, and the model's own explicit form, which is slower and knows the weights.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

OWNER = "mha_course_heads"
"""Attribute of an attention module: the object whose `attend` its calls go to."""

_FUSED, _EXPLICIT = "mha_course_fused", "mha_course_explicit"

Attended = tuple[Tensor, Tensor | None]
"""Output [B, T_q, h, d_head], and weights [B, h, T_q, T_k] where they are known."""


@contextmanager
def using_our_attention(model: Any) -> Iterator[None]:
    """Send the model's attention through `attend` of its owner, on the fused path if it has one.

    It stays so after the block, unless an error leaves the block: then all is as it was.
    """
    _register()
    before = model.config._attn_implementation
    try:
        try:
            model.set_attn_implementation("sdpa")
        except ValueError:  # a softcap, as in Gemma 2, has no fused form
            model.set_attn_implementation(_EXPLICIT)
        else:
            model.set_attn_implementation(_FUSED)
        yield
    except BaseException:
        model.set_attn_implementation(before)
        raise


def fused(module: nn.Module, *tensors: Tensor | None, **options: Any) -> Attended:
    """Attend with torch's fused kernel: fast, no weights."""
    from transformers import AttentionInterface

    z, _ = AttentionInterface()["sdpa"](module, *tensors, **options)
    return z, None


def explicit(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **options: Any,
) -> Attended:
    """Attend with the form that the model's own code spells out: slow, with weights."""
    mask = _added_to_scores(module, query, key, attention_mask, options.get("is_causal"))
    # every architecture in transformers has a function of this name: its default attention
    own = sys.modules[type(module).__module__].eager_attention_forward
    attended: Attended = own(module, query, key, value, mask, **options)
    return attended


def _added_to_scores(
    module: nn.Module, query: Tensor, key: Tensor, mask: Tensor | None, is_causal: bool | None
) -> Tensor | None:
    """Turn a mask for the fused kernel into what the explicit form adds to the scores."""
    lowest = torch.finfo(query.dtype).min
    if mask is None:
        num_queries, num_keys = query.shape[-2], key.shape[-2]
        causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
        if num_queries == 1 or not causal:
            return None
        mask = torch.ones(num_queries, num_keys, dtype=torch.bool, device=query.device).tril()
    if mask.dtype != torch.bool:
        return mask
    return torch.zeros_like(mask, dtype=query.dtype).masked_fill(~mask, lowest)


def _by_owner(way: Callable[..., Attended]) -> Callable[..., Attended]:
    def attend(module: nn.Module, *tensors: Tensor | None, **options: Any) -> Attended:
        owner = getattr(module, OWNER, None)
        if owner is None:
            raise RuntimeError(
                "this attention module belongs to no ModelHeads; build one for the model "
                'first, or call model.set_attn_implementation("sdpa")'
            )
        attended: Attended = owner.attend(way, module, *tensors, **options)
        return attended

    return attend


@cache
def _register() -> None:
    from transformers import AttentionInterface, AttentionMaskInterface  # heavy

    for name, way, mask in ((_FUSED, fused, "sdpa"), (_EXPLICIT, explicit, "eager")):
        AttentionInterface.register(name, _by_owner(way))
        AttentionMaskInterface.register(name, AttentionMaskInterface()[mask])
