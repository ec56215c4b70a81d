"""Heads that must differ: two heads, two relations, and the task of `two_relations`.

In the tiny transformer several heads may share a role. Here they may not: a model whose two heads
look at the same place explains half of the pair at most. So one head has to take the previous
token, and the other the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mha_course.experiments.emergence.twins import difference, make_alike
from mha_course.experiments.ensemble import Batch, Ensemble
from mha_course.experiments.two_relations import (
    CONTENT_WIDTH,
    FIRST_QUERY,
    PairReader,
    Setting,
    draw,
)
from mha_course.heads.removal import remove_heads

NUM_HEADS = 2
BATCH_SIZE, FRESH = 32, 512
LEARNING_RATE = 0.03


def contrasts(reader: PairReader, content: Float[Tensor, "B T D"]) -> Float[Tensor, " h"]:
    """Weight on the previous token minus weight on the first one, for each head."""
    with torch.no_grad():
        weights = reader.weights(content).mean(0)[:, FIRST_QUERY:]  # [h, T-2, T]
    previous = weights.diagonal(FIRST_QUERY - 1, dim1=-2, dim2=-1).mean(-1)
    return previous - weights[:, :, 0].mean(-1)


def explained(
    reader: PairReader, content: Float[Tensor, "B T D"], pair: Float[Tensor, "B T-2 2*D"]
) -> list[float]:
    """Share of variance that is explained of the previous token, and of the first one."""
    with torch.no_grad():
        error = (reader(content) - pair).square().sum((0, 1))
    share = 1 - error / pair.square().sum((0, 1))  # [2*D]; the mean of the content is 0
    return [share[:CONTENT_WIDTH].mean().item(), share[CONTENT_WIDTH:].mean().item()]


def without_head(reader: PairReader, head: int) -> PairReader:
    """Return a copy in which the head is removed."""
    smaller = deepcopy(reader)
    smaller.attention = remove_heads(reader.attention, [head])
    return smaller


def narrowed(reader: PairReader) -> PairReader:
    """Return a copy with head 0 alone, that computes what the twins of head 0 do together."""
    alone = without_head(reader, 1)
    with torch.no_grad():
        alone.attention.w_o.weight.mul_(NUM_HEADS)
    return alone


def train_pairs(
    inits: Sequence[int],
    orders: Sequence[int],
    *,
    steps: int,
    records: Sequence[int] = (),
    noise: float | None = None,
    alone: bool = False,
) -> list[dict[str, Any]]:
    """Train one model for each pair of an initialisation and a data order.

    Args:
        inits: Seeds of the weights.
        orders: Seeds of the data, as many.
        steps: Steps of training.
        records: Steps after which to look at the heads.
        noise: Start with heads that are alike but for this much noise; None: as they are drawn.
        alone: Train head 0 alone.

    Returns:
        For each model what it explains, whole and without each head, and for each record the
        contrast of each head and the difference between the heads.
    """
    seeds_left = iter(inits)

    def make_model() -> nn.Module:
        torch.manual_seed(next(seeds_left))
        reader = PairReader(Setting(NUM_HEADS))
        if noise is not None:
            make_alike(reader.attention, noise=noise)
        return narrowed(reader) if alone else reader

    ensemble = Ensemble(make_model, orders)
    fresh = torch.Generator().manual_seed(1_000_000)
    (contents,), pairs = draw("bits", [fresh], FRESH)
    content, pair = contents[0], pairs[0]
    like = PairReader(Setting(NUM_HEADS))
    if alone:
        like = without_head(like, 1)
    heads: list[list[list[float]]] = [[] for _ in inits]
    apart: list[list[float]] = [[] for _ in inits]

    def look() -> None:
        for i in range(len(inits)):
            reader = ensemble.member(i, like)
            heads[i].append(contrasts(reader, content).tolist())
            apart[i].append(difference(reader.attention))

    done = 0

    def make_batch(generators: list[torch.Generator]) -> tuple[Batch, Tensor]:
        nonlocal done  # asked for once before each step: the time to look
        if done in records:
            look()
        done += 1
        return draw("bits", generators, BATCH_SIZE)

    ensemble.fit(make_batch, steps=steps, learning_rate=LEARNING_RATE)
    if steps in records:
        look()
    results = []
    for i in range(len(inits)):
        reader = ensemble.member(i, like)
        removed = [] if alone else [without_head(reader, head) for head in range(NUM_HEADS)]
        results.append(
            {
                "explained": explained(reader, content, pair),
                "without": [explained(smaller, content, pair) for smaller in removed],
                "contrasts": heads[i],
                "difference": apart[i],
            }
        )
    return results
