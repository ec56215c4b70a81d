"""Patterns and profiles of all heads of a model, over many texts, one layer in memory at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from mha_course.heads.gates import LayerHeads
from mha_course.heads.layers import LayerProfile, layer_profile
from mha_course.heads.patterns import (
    INDUCTION_PERIODS,
    Label,
    Pattern,
    Tally,
    TextTargets,
    add_up,
    find_targets,
    labels,
    pattern_scores,
    repeated_tokens,
)
from mha_course.heads.steps import Progress
from mha_course.heads.text_model import TextModel

_SEPARATORS = (".", ",")  # beside the model's own, such as [SEP]


class PatternTable(NamedTuple):
    """What all heads of a model attend to; one entry per layer.

    Attributes:
        scores: Of each pattern over the texts; induction over repeated random tokens, where
            nothing else can be of help.
        profiles: How far and how evenly each head looks.
        labels: The clearest pattern of each head.
    """

    scores: list[dict[Pattern, Tally]]
    profiles: list[LayerProfile]
    labels: list[list[Label]]


def pattern_table(
    model: TextModel,
    texts: Int[Tensor, "texts T"] | Sequence[Int[Tensor, " T"]],
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> PatternTable:
    """Score all heads over texts, and over repeated random tokens for induction.

    Attention weights of one layer and one text are in memory at a time.

    Args:
        model: The model.
        texts: Token ids, as from `TextModel.chunks`.
        seed: Of the random tokens.
        progress: Told the number of texts done, and of all texts.

    Raises:
        ValueError: there are no texts.
    """
    if len(texts) == 0:
        raise ValueError("there are no texts; give at least one")
    counts = torch.cat(list(texts)).bincount()
    delimiters = _delimiters(model)
    per_text: list[list[dict[Pattern, Tally]]] = []
    profiles: list[list[LayerProfile]] = []
    for ids in texts:
        if progress is not None:
            progress(len(profiles), len(texts))
        targets = find_targets(
            ids, is_causal=model.is_causal, delimiters=delimiters, counts=counts[ids]
        )
        scored, profiled = _score(model, ids, targets)
        per_text.append(scored)
        profiles.append(profiled)
    scores = [add_up(layer) for layer in zip(*per_text, strict=True)]
    for layer, found in zip(scores, _induction(model, seed), strict=True):
        layer["induction"] = found
    first, *others = profiles
    for other in others:
        first = [a + b for a, b in zip(first, other, strict=True)]
    return PatternTable(scores, first, [labels(layer) for layer in scores])


def _score(
    model: TextModel, ids: Tensor, targets: TextTargets
) -> tuple[list[dict[Pattern, Tally]], list[LayerProfile]]:
    scores, profiles = [], []

    def look(_: int, seen: LayerHeads) -> None:
        assert seen.weights is not None  # asked for
        scores.append(pattern_scores(seen.weights[0], targets))
        profiles.append(layer_profile(seen.weights[0], is_causal=model.is_causal))

    model.look(ids[None], look)
    return scores, profiles


def _induction(model: TextModel, seed: int) -> list[Tally]:
    """Prefix matching on repeated tokens, for each layer."""
    tokenizer = model.tokenizer
    special = set(tokenizer.all_special_ids)
    allowed = [i for i in range(len(tokenizer)) if i not in special]
    before, after = model.specials()
    start = before[0] if before else tokenizer.bos_token_id
    per_text = []
    for period in INDUCTION_PERIODS:
        samples = repeated_tokens(
            allowed, seed=seed + period, bos=start, period=min(period, len(allowed)), samples=2
        )
        for ids in samples:
            ids = torch.cat([ids, torch.tensor(after, dtype=ids.dtype)])
            targets = find_targets(ids, is_causal=model.is_causal)
            scored, _ = _score(model, ids, targets)
            per_text.append([layer["induction"] for layer in scored])
    return [sum(layer[1:], start=layer[0]) for layer in zip(*per_text, strict=True)]


def _delimiters(model: TextModel) -> set[int]:
    _, after = model.specials()
    found = {model.tokenizer.convert_tokens_to_ids(separator) for separator in _SEPARATORS}
    return {*after, *found} - {model.tokenizer.unk_token_id, None}
