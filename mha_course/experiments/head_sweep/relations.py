"""A task with a known number of relations: every token returns the contents of the R before it.

If the weights depend on positions alone and the readout is linear, h heads make h mixtures of the
contents, which explain at most h/R of what is wanted.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import pad

from mha_course.experiments.ensemble import Batch, Ensemble
from mha_course.experiments.head_sweep.plan import D_MODEL
from mha_course.multi_head import MultiHeadAttention

RELATIONS = (1, 2, 4, 8)  # R
CONTENT_WIDTH = 8  # D
FIRST_QUERY = max(RELATIONS)  # the tokens before it have too few others before them
NUM_TOKENS, MORE_TOKENS = 16, 48
MORE_TOKENS_HEADS = (2, 64)
RELATION_STEPS = 400
assert max(RELATIONS) * CONTENT_WIDTH == D_MODEL, "the output has just room for all contents"


class Relations(nn.Module):
    """Multi-head attention that must return the contents of the R tokens before each token.

    Queries and keys see positions only, values see content only: the weights cannot depend on
    the content. W_O is the readout.
    """

    def __init__(self, num_heads: int, num_relations: int) -> None:
        super().__init__()
        self.num_relations = num_relations
        self.attention = MultiHeadAttention(D_MODEL, num_heads, bias=False)

    def forward(
        self, content: Float[Tensor, "B T D"], head_gates: Float[Tensor, " h"] | None = None
    ) -> Float[Tensor, "B T-8 R*D"]:
        """Return the contents, the nearest first, for every query from FIRST_QUERY on."""
        inputs = self._inputs(content)
        output: Tensor = self.attention(*inputs, is_causal=True, head_gates=head_gates)
        return output[:, FIRST_QUERY:, : self.num_relations * CONTENT_WIDTH]

    def weights(self, content: Float[Tensor, "B T D"]) -> Float[Tensor, "B h T T"]:
        """Attention weights of every head."""
        query, key, value = self._inputs(content)
        weights: Tensor
        _, weights = self.attention(query, key, value, is_causal=True, return_weights=True)
        return weights

    def _inputs(self, content: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        batch, tokens, width = content.shape
        one_hot = torch.eye(tokens, dtype=content.dtype).expand(batch, -1, -1)
        position = pad(one_hot, (width, D_MODEL - width - tokens))  # beside the content
        return position, position, pad(content, (0, D_MODEL - width))


def draw_relations(
    num_relations: int, num_tokens: int, generators: Sequence[torch.Generator], batch_size: int
) -> tuple[Batch, Float[Tensor, "seeds B T-8 R*D"]]:
    """Gaussian content, and what each token must return; one batch per generator."""
    shape = (batch_size, num_tokens, CONTENT_WIDTH)
    x = torch.stack([torch.randn(shape, generator=g) for g in generators])
    before = [
        x[:, :, FIRST_QUERY - offset : num_tokens - offset]
        for offset in range(1, num_relations + 1)
    ]
    return (x,), torch.cat(before, dim=-1)


def explained_by_relations(
    num_heads: int,
    num_relations: int,
    num_tokens: int,
    seeds: Sequence[int],
    *,
    steps: int = RELATION_STEPS,
) -> tuple[list[float], Ensemble]:
    """Train all seeds at once; share of the variance explained on fresh content, and the models."""
    ensemble = Ensemble(lambda: Relations(num_heads, num_relations), seeds)
    ensemble.fit(
        lambda generators: draw_relations(num_relations, num_tokens, generators, 32),
        steps=steps,
        learning_rate=0.03,
    )
    fresh = [torch.Generator().manual_seed(10_000 + seed) for seed in seeds]
    inputs, target = draw_relations(num_relations, num_tokens, fresh, batch_size=1024)
    with torch.no_grad():
        error = (ensemble(*inputs) - target).square().flatten(1).sum(1)
    explained: list[float] = (1 - error / target.square().flatten(1).sum(1)).tolist()
    return explained, ensemble


def ceiling(num_heads: int, num_relations: int) -> float:
    """Share of the variance that h mixtures of the contents can explain of R of them.

    >>> ceiling(2, 8), ceiling(8, 2)
    (0.25, 1.0)
    """
    return min(1.0, num_heads / num_relations)
