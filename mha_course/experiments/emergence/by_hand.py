"""The tiny transformer with heads whose attention is given, not learned.

What such a head does with what it fetches, W_V and W_O, is learned as ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int, Integer
from torch import Tensor

from mha_course.attention import split_heads
from mha_course.cache import KVCache
from mha_course.experiments.emergence.roles import wanted_keys
from mha_course.experiments.tiny_transformer import Gates, TinyTransformer
from mha_course.forms import Heads
from mha_course.multi_head import MultiHeadAttention

Given = Literal["previous", "induction", "first"]

Plan = Mapping[tuple[int, int], Given]
"""What is given, by (layer, head)."""


def given_weights(ids: Int[Tensor, "B T"], given: Given) -> Float[Tensor, "B T T"]:
    """Attention weights that look where they are told; a query with nothing there sees itself.

    >>> given_weights(torch.tensor([[7, 8, 7]]), "induction")[0].tolist()
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 1.0, 0.0]]
    """
    batch, tokens = ids.shape
    if given == "induction":
        keys = wanted_keys(ids, "induction").float()
    else:
        keys = torch.zeros(tokens, tokens)
        if given == "first":
            keys[:, 0] = 1
        else:
            keys = torch.diag(torch.ones(tokens - 1), -1)
        keys = keys.expand(batch, -1, -1)
    is_empty = keys.sum(-1, keepdim=True) == 0
    keys = keys + is_empty * torch.eye(tokens)
    return keys / keys.sum(-1, keepdim=True)


class GivenHeads(MultiHeadAttention):
    """Attention in which some heads take the weights of `given`, set before each call.

    Attributes:
        given: Weights by head.
    """

    given: Mapping[int, Float[Tensor, "B T T"]]

    def heads(
        self,
        query: Float[Tensor, "B T_q d_model"],
        key: Float[Tensor, "B T_new kdim"] | None = None,
        value: Float[Tensor, "B T_new vdim"] | None = None,
        *,
        attn_mask: Bool[Tensor, "*mask"] | None = None,
        key_lengths: Integer[Tensor, " B"] | None = None,
        is_causal: bool = False,
        cache: KVCache | None = None,
    ) -> Heads:
        """Return the output of each head and its weights, learned or given."""
        _, learned = super().heads(
            query,
            key,
            value,
            attn_mask=attn_mask,
            key_lengths=key_lengths,
            is_causal=is_causal,
            cache=cache,
        )
        assert learned is not None  # the form is not the fused one
        weights = torch.stack(
            [self.given.get(i, learned[:, i]) for i in range(self.shape.num_heads)], dim=1
        )
        v = split_heads(self.w_v(query), self.shape.num_heads)  # [B, h, T, d_v]
        return Heads(weights @ v, weights)


class AssignedTransformer(TinyTransformer):
    """A tiny transformer in which some heads are told where to look.

    Args:
        plan: Which, and where.
        seed: The weights are drawn from it, the same as those of `TinyTransformer(seed=seed)`.
    """

    def __init__(self, plan: Plan, *, seed: int = 0) -> None:
        super().__init__(seed=seed)
        self.plan = dict(plan)
        for layer in self._layers():
            drawn = layer.attention
            with torch.random.fork_rng(devices=[]):
                layer.attention = GivenHeads(drawn.shape.d_model, drawn.shape.num_heads)
            layer.attention.load_state_dict(drawn.state_dict())

    def forward(
        self, ids: Int[Tensor, "B T"], gates: Gates | None = None
    ) -> Float[Tensor, "B T vocabulary"]:
        """Scores for the token after each token."""
        self._assign(ids)
        return super().forward(ids, gates)

    def weights(self, ids: Int[Tensor, "B T"]) -> list[Float[Tensor, "B h T T"]]:
        """Attention weights of all heads, layer by layer."""
        self._assign(ids)
        return super().weights(ids)

    def _assign(self, ids: Tensor) -> None:
        for number, layer in enumerate(self._layers()):
            assert isinstance(layer.attention, GivenHeads)
            layer.attention.given = {
                head: given_weights(ids, given)
                for (of_layer, head), given in self.plan.items()
                if of_layer == number
            }
