"""The right answers of the assignment `patterns`, as functions with the learners' names.

Where `mha_course.heads.patterns` defines a score, that definition is used, and not another one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from mha_course.attention import attention_weights
from mha_course.grading.data_patterns import read_maps
from mha_course.heads import patterns
from mha_course.heads.patterns import MAJORITY, MARGIN, Pattern, visible_keys

__all__ = [
    "assign_by_hand",
    "classify",
    "column_position",
    "column_score",
    "count_columns",
    "entropy",
    "find_previous_token_head",
    "induction_score",
    "mean_distance",
    "positions_to_weights",
    "previous_token_baseline",
    "previous_token_score",
    "read_maps",
    "target_score",
    "uniform_weights",
]

WISHES = ("previous token", "next token", "first token", "same token")
"""What a head can be told to look at, in the order of the card."""


def previous_token_score(weights: Tensor) -> Tensor:
    """Mean weight on the token before, for weights [h, T, T]: [h]."""
    return _score("previous token", weights, torch.arange(weights.shape[-1]))


def mean_distance(weights: Tensor) -> Tensor:
    """Mean number of tokens between a query and what it attends to: [h]."""
    position = torch.arange(weights.shape[-1])
    return (weights * (position - position[:, None]).abs()).sum(-1).mean(-1)


def column_score(weights: Tensor) -> Tensor:
    """Largest mean weight that one key gets: [h]."""
    return weights.mean(-2).amax(-1)


def column_position(weights: Tensor) -> Tensor:
    """Position of the key that gets most weight: [h]."""
    return weights.mean(-2).argmax(-1)


def entropy(weights: Tensor) -> Tensor:
    """Entropy of each query's attention in bits: [h, T]."""
    return patterns.entropy(weights)


def uniform_weights(T: int, is_causal: bool) -> Tensor:
    """Even weights on all keys that each query sees: [T, T]."""
    visible = visible_keys(T, is_causal).float()
    return visible / visible.sum(1, keepdim=True)


def previous_token_baseline(T: int, is_causal: bool) -> float:
    """Previous-token score of even weights."""
    text = patterns.find_targets(torch.arange(T), is_causal=is_causal)
    of = text.by_pattern["previous token"]
    return of.uniform_total / of.queries


def induction_score(weights: Tensor, period: int) -> Tensor:
    """Mean weight on the tokens after earlier copies, where `period` tokens repeat: [h]."""
    return _score("induction", weights, torch.arange(weights.shape[-1]) % period)


def classify(scores: Mapping[str, Sequence[float]], baselines: Mapping[str, float]) -> list[str]:
    """One word for each head: the pattern it has, "none", or "mixed"."""
    words = []
    for i in range(len(next(iter(scores.values())))):
        has = [
            name
            for name, heads in scores.items()
            if heads[i] >= max(MAJORITY, baselines[name] + MARGIN)
        ]
        words.append(has[0] if len(has) == 1 else "mixed" if has else "none")
    return words


def find_previous_token_head(weights: Tensor) -> tuple[int, int]:
    """Layer and head with the highest previous-token score, for weights [layers, h, T, T]."""
    best = int(weights.diagonal(-1, -2, -1).mean(-1).argmax())
    return divmod(best, weights.shape[1])


def count_columns(weights: Tensor, least: float) -> int:
    """Heads of all layers that have a key with a mean weight of `least` or more."""
    return int((weights.mean(-2).amax(-1) >= least).sum())


def assign_by_hand(tokens: Sequence[str], wishes: Sequence[str]) -> Tensor:
    """Weights of heads that do what the wishes say: [h, T, T]."""
    T = len(tokens)
    query, key = torch.arange(T)[:, None], torch.arange(T)
    same = torch.tensor([[one == other for other in tokens] for one in tokens])
    targets = {
        "previous token": key == query - 1,
        "next token": key == query + 1,
        "first token": (key == 0).expand(T, T),
        "same token": same & (key != query),
    }
    heads = []
    for wish in wishes:
        wanted = targets[wish].clone()
        wanted[:, 0] |= ~wanted.any(1)  # who has nothing to look at parks on the first token
        heads.append(wanted / wanted.sum(1, keepdim=True))
    return torch.stack(heads)


def target_score(share: float, num_keys: int) -> float:
    """Score of one key that gives it this share, where all other scores are 0."""
    return math.log(share * (num_keys - 1) / (1 - share))


def positions_to_weights(projections: object, T: int) -> Tensor:
    """Attention weights of a head that sees one-hot positions and nothing else: [T, T].

    Args:
        projections: W_Q and W_K, each [T, d_head], as a learner's function returned them.
        T: Number of positions.

    Raises:
        ValueError: they are no two matrices of this shape; the message says why.
    """
    if not isinstance(projections, (tuple, list)) or len(projections) != 2:
        raise ValueError("two matrices are asked for: return W_Q, W_K")
    W_Q, W_K = (torch.as_tensor(W).detach().cpu().double() for W in projections)
    if W_Q.dim() != 2 or W_Q.shape != W_K.shape or W_Q.shape[0] != T:
        raise ValueError(
            f"W_Q has shape {list(W_Q.shape)} and W_K {list(W_K.shape)}; for T={T} positions "
            f"both must be [{T}, d_head]"
        )
    x = torch.eye(T, dtype=torch.float64)
    return attention_weights(x @ W_Q, x @ W_K)


def _score(name: Pattern, weights: Tensor, ids: Tensor) -> Tensor:
    text = patterns.find_targets(ids, is_causal=False)
    return patterns.pattern_scores(weights, text)[name].score
