"""Which head has which role in the tiny transformer, and when it took it.

A role is a place to look, and a head has it as far as its attention goes there:

| role | layer | queries that count | where to look |
|---|---|---|---|
| previous | 0 | tokens said for the first time, but the first one | the token before |
| induction | 1 | tokens said before | the tokens that followed them then |

The score of a head is the mean of its weight on those keys. Beside it stand two baselines: even
weights on all keys that a query sees, and the best fixed distance.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mha_course.experiments.tiny_transformer import TinyTransformer
from mha_course.heads.gates import gates_without

Role = Literal["previous", "induction"]
ROLES: tuple[Role, ...] = get_args(Role)
"""One for each layer, in their order."""

HEADS = 4  # of each layer of the models that are looked at


def wanted_keys(ids: Int[Tensor, "B T"], role: Role) -> Bool[Tensor, "B T T"]:
    """For each query, the keys where a head with this role looks; none if the query does not count.

    >>> wanted_keys(torch.tensor([[7, 8, 7]]), "previous")[0].nonzero().tolist()
    [[1, 0]]
    >>> wanted_keys(torch.tensor([[7, 8, 7]]), "induction")[0].nonzero().tolist()
    [[2, 1]]
    """
    earlier = (ids[:, :, None] == ids[:, None, :]).tril(-1)  # [B, T, T]
    if role == "induction":
        return earlier.roll(1, -1)  # the last column is empty, so nothing comes round
    is_new = ~earlier.any(-1)  # [B, T]
    before = torch.eye(ids.shape[1], dtype=torch.bool).roll(-1, -1).tril(-1)  # [T, T]
    return before & is_new[:, :, None]


def score(weights: Float[Tensor, "B h T T"], wanted: Bool[Tensor, "B T T"]) -> Float[Tensor, " h"]:
    """Mean weight of each head on the wanted keys, over the queries that have one.

    Raises:
        ValueError: no query has one.
    """
    counts = wanted.any(-1)  # [B, T]
    if not counts.any():
        raise ValueError("wanted has no key for any query; give sequences that repeat, see draw")
    there = (weights * wanted[:, None]).sum(-1)  # [B, h, T]
    return there.transpose(1, 2)[counts].mean(0)


def even_weights(wanted: Bool[Tensor, "B T T"]) -> float:
    """Score of a head with even weights on all keys that a query sees."""
    batch, tokens, _ = wanted.shape
    even = torch.ones(tokens, tokens).tril()
    even = (even / even.sum(-1, keepdim=True)).expand(batch, 1, -1, -1)
    return score(even, wanted).item()


def best_distance(wanted: Bool[Tensor, "B T T"]) -> float:
    """Score of the best head that looks a fixed number of tokens back, the same for every query."""
    batch, tokens, _ = wanted.shape
    scores = []
    for distance in range(tokens):
        back = torch.diag(torch.ones(tokens - distance), -distance)
        scores.append(score(back.expand(batch, 1, -1, -1), wanted).item())
    return max(scores)


def role_scores(model: TinyTransformer, ids: Int[Tensor, "B T"]) -> Float[Tensor, "layers h"]:
    """Score of every head for the role of its layer."""
    with torch.no_grad():
        weights = model.weights(ids)
    return torch.stack(
        [score(w, wanted_keys(ids, role)) for w, role in zip(weights, ROLES, strict=True)]
    )


def costs(model: TinyTransformer, ids: Int[Tensor, "B T"]) -> Float[Tensor, "layers h"]:
    """Rise of the loss when one head is switched off, for every head."""
    cost = torch.empty(model.num_layers, model.num_heads)
    with torch.no_grad():
        before = model.losses(ids).mean()
        for layer in range(model.num_layers):
            for head in range(model.num_heads):
                gates = gates_without(model.num_layers, model.num_heads, [(layer, head)])
                cost[layer, head] = model.losses(ids, gates).mean() - before
    return cost


def crossing(steps: Sequence[int], values: Sequence[float], level: float) -> float:
    """Step at which the values first pass a level, on straight lines between the records.

    It may pass upwards or downwards. If it never does, the answer is the last step.

    >>> crossing([0, 10, 20], [0.0, 0.0, 1.0], 0.25)
    12.5
    """
    is_above = values[0] > level
    for i in range(1, len(steps)):
        if (values[i] > level) != is_above:
            share = (level - values[i - 1]) / (values[i] - values[i - 1])
            return steps[i - 1] + share * (steps[i] - steps[i - 1])
    return float(steps[-1])


def half_of(history: Sequence[float], level: float) -> int:
    """First step after which the loss, as a mean of 5 steps, is below the level; or the last one.

    >>> half_of([4, 4, 4, 4, 4, 0, 0, 0, 0, 0], 2.0)
    8
    """
    window = 5
    for end in range(window, len(history) + 1):
        if fmean(history[end - window : end]) < level:
            return end
    return len(history)
