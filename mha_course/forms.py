"""Three ways to compute the same heads: in a loop, in one batch, in one fused kernel.

Every form takes projected queries, keys and values, and gives z, the output of each head:

    z_i = attention(Q_i, K_kv, V_kv)     with kv = ⌊i / (h/g)⌋, the key/value head of head i

Axis names: B batch, h query heads, g key/value heads (g divides h), T_q queries, T_k keys,
d_head width of a query and of a key, d_v width of a value.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, NamedTuple, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from mha_course import _checks
from mha_course.attention import attention_weights
from mha_course.masks import both, causal_mask

FormName = Literal["loop", "batched", "fused"]


class Heads(NamedTuple):
    """What the heads computed, before W_O.

    Attributes:
        z: Output of each head.
        weights: Attention weights of each head, before dropout; None in the fused form.
    """

    z: Float[Tensor, "B h T_q d_v"]
    weights: Float[Tensor, "B h T_q T_k"] | None


def loop(
    q: Float[Tensor, "B h T_q d_head"],
    k: Float[Tensor, "B g T_k d_head"],
    v: Float[Tensor, "B g T_k d_v"],
    *,
    attn_mask: Bool[Tensor, "#B #h #T_q #T_k"] | None = None,
    is_causal: bool = False,
    dropout: float = 0.0,
) -> Heads:
    """One head after the other: the definition.

    >>> q = k = torch.zeros(1, 2, 3, 4)
    >>> loop(q, k, torch.ones(1, 2, 3, 5)).z.shape
    torch.Size([1, 2, 3, 5])
    """
    num_heads, num_kv_heads = q.shape[1], k.shape[1]
    z, weights = [], []
    for i in range(num_heads):
        kv = i // (num_heads // num_kv_heads)  # its key/value head
        mask = attn_mask
        if mask is not None:
            mask = mask[:, i if mask.shape[1] > 1 else 0]  # [B|1, T_q|1, T_k|1]
        a = attention_weights(q[:, i], k[:, kv], attn_mask=mask, is_causal=is_causal)
        weights.append(a)  # [B, T_q, T_k]
        z.append(_drop(a, dropout) @ v[:, kv])  # [B, T_q, d_v]
    return Heads(torch.stack(z, dim=1), torch.stack(weights, dim=1))


def batched(
    q: Float[Tensor, "B h T_q d_head"],
    k: Float[Tensor, "B g T_k d_head"],
    v: Float[Tensor, "B g T_k d_v"],
    *,
    attn_mask: Bool[Tensor, "#B #h #T_q #T_k"] | None = None,
    is_causal: bool = False,
    dropout: float = 0.0,
) -> Heads:
    """All heads at once: the heads are one more batch axis.

    >>> q = k = torch.zeros(1, 2, 3, 4)
    >>> batched(q, k, torch.ones(1, 2, 3, 5)).weights.shape
    torch.Size([1, 2, 3, 3])
    """
    group = q.shape[1] // k.shape[1]
    if group > 1:
        # neighbouring query heads share a key/value head: k_0 k_0 k_1 k_1, not k_0 k_1 k_0 k_1
        k = k.repeat_interleave(group, dim=1)  # [B, h, T_k, d_head]
        v = v.repeat_interleave(group, dim=1)  # [B, h, T_k, d_v]
    weights = attention_weights(q, k, attn_mask=attn_mask, is_causal=is_causal)
    return Heads(_drop(weights, dropout) @ v, weights)


def fused(
    q: Float[Tensor, "B h T_q d_head"],
    k: Float[Tensor, "B g T_k d_head"],
    v: Float[Tensor, "B g T_k d_v"],
    *,
    attn_mask: Bool[Tensor, "#B #h #T_q #T_k"] | None = None,
    is_causal: bool = False,
    dropout: float = 0.0,
) -> Heads:
    """All heads in torch's `scaled_dot_product_attention`.

    Its fused kernels go over the keys in blocks and never hold all the scores of a head. torch
    takes a plain one, which does, where no fused one fits: on the CPU, with dropout in training.
    Where d_v ≠ d_head, as in latent attention, the narrower vectors are filled up with zeros.

    >>> q = k = torch.zeros(1, 2, 3, 4)
    >>> fused(q, k, torch.ones(1, 2, 3, 5)).weights is None
    True
    """
    batch, num_heads, num_queries, d_head = q.shape
    num_kv_heads, num_keys = k.shape[1], k.shape[2]
    # torch's is_causal takes no mask beside it, and its first query meets the first key; ours
    # has the last query meet the last key. The last query alone may attend to everything.
    kernel_is_causal = False
    if is_causal and num_queries > 1:
        if attn_mask is None and num_queries == num_keys:
            kernel_is_causal = True
        else:
            attn_mask = both(attn_mask, causal_mask(num_queries, num_keys, q.device))
    if num_queries == 1 and (attn_mask is None or attn_mask.shape[1] == 1):
        # the heads that share a key stand as its queries, so that it is read only once
        q = q.reshape(batch, num_kv_heads, num_heads // num_kv_heads, d_head)
    d_v = v.shape[-1]
    width = max(d_head, d_v)  # the kernel for the CPU takes only one
    z = nn.functional.scaled_dot_product_attention(
        _filled_up(q, width),
        _filled_up(k, width),
        _filled_up(v, width),
        attn_mask=attn_mask,
        dropout_p=dropout,
        is_causal=kernel_is_causal,
        scale=1 / math.sqrt(d_head),
        enable_gqa=q.shape[1] != k.shape[1],
    )
    return Heads(z[..., :d_v].reshape(batch, num_heads, num_queries, d_v), weights=None)


def _drop(weights: Float[Tensor, "*scores"], share: float) -> Float[Tensor, "*scores"]:
    return nn.functional.dropout(weights, share) if share > 0 else weights


def _filled_up(x: Float[Tensor, "B h T narrow"], width: int) -> Float[Tensor, "B h T {width}"]:
    """Append zeros: they add nothing to a dot product, and only zeros to an average."""
    missing = width - x.shape[-1]
    return nn.functional.pad(x, (0, missing)) if missing else x  # pad by 0 would copy


FORMS: dict[str, Callable[..., Heads]] = dict(
    zip(get_args(FormName), (loop, batched, fused), strict=True)
)


class HasForm(nn.Module):
    """A module whose heads are computed in a form that can be changed by name."""

    @property
    def form(self) -> FormName:
        """How the heads are computed: "loop", "batched" or "fused"."""
        return self._form

    @form.setter
    def form(self, name: FormName) -> None:
        _checks.form(name, FORMS)
        self._form = name
