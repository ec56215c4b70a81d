"""Attention written a second time: float64, Python loops, no code shared with the package."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def who_may_attend(
    shape: tuple[int, int, int, int], attn_mask: Tensor | None, is_causal: bool
) -> Tensor:
    """Full boolean mask [B, h, T_q, T_k]; the last query is the last key's contemporary."""
    _, _, num_queries, num_keys = shape
    allowed = torch.ones(shape, dtype=torch.bool)
    if attn_mask is not None:
        allowed &= attn_mask
    if is_causal:
        for t in range(num_queries):
            for s in range(num_keys):
                if num_keys - 1 - s < num_queries - 1 - t:
                    allowed[:, :, t, s] = False
    return allowed


def attention_by_loops(
    query: Tensor, key: Tensor, value: Tensor, allowed: Tensor
) -> tuple[Tensor, Tensor]:
    """Output [B, h, T_q, d_v] and weights [B, h, T_q, T_k], one number at a time."""
    batch, heads, num_queries, num_keys = allowed.shape
    weights = torch.zeros(allowed.shape, dtype=torch.float64)
    output = torch.zeros(*allowed.shape[:3], value.shape[-1], dtype=torch.float64)
    q, k, v, may = query.tolist(), key.tolist(), value.tolist(), allowed.tolist()
    for b in range(batch):
        for i in range(heads):
            for t in range(num_queries):
                exponentials = {}
                for s in range(num_keys):
                    if may[b][i][t][s]:
                        dot = math.fsum(x * y for x, y in zip(q[b][i][t], k[b][i][s], strict=True))
                        exponentials[s] = math.exp(dot / math.sqrt(len(q[b][i][t])))
                total = math.fsum(exponentials.values())
                for s, exponential in exponentials.items():
                    weights[b, i, t, s] = exponential / total
                for c in range(value.shape[-1]):
                    output[b, i, t, c] = math.fsum(
                        e / total * v[b][i][s][c] for s, e in exponentials.items()
                    )
    return output, weights


def multi_head_by_loops(
    mha: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    num_heads: int,
    d_head: int,
    attn_mask: Tensor | None,
    is_causal: bool,
) -> tuple[Tensor, Tensor]:
    """Output Σ_i head_i W_O_i + b_O, and the weights of every head; head by head."""
    state = {name: p.detach().double() for name, p in mha.state_dict().items()}
    query, key, value = query.double(), key.double(), value.double()
    shape = (query.shape[0], num_heads, query.shape[1], key.shape[1])
    allowed = who_may_attend(shape, attn_mask, is_causal)
    output = torch.zeros_like(query)
    if "w_o.bias" in state:
        output += state["w_o.bias"]
    weights = []
    for i in range(num_heads):
        own = range(i * d_head, (i + 1) * d_head)
        q, k, v = (
            torch.stack([x @ state[f"{w}.weight"][row] for row in own], dim=-1)
            + (state[f"{w}.bias"][own.start : own.stop] if f"{w}.bias" in state else 0.0)
            for w, x in (("w_q", query), ("w_k", key), ("w_v", value))
        )  # each [B, T, d_head]
        z, a = attention_by_loops(q[:, None], k[:, None], v[:, None], allowed[:, i : i + 1])
        for c, column in enumerate(own):
            output = output + z[:, 0, :, c, None] * state["w_o.weight"][:, column]
        weights.append(a[:, 0])
    return output, torch.stack(weights, dim=1)
