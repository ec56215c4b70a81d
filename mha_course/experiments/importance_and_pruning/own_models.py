"""Small transformers that are trained here, and made smaller in every way."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mha_course.experiments.tiny_transformer import (
    TinyTransformer,
    draw,
    fit,
    guessing,
    learn_gates,
)
from mha_course.heads.curves import lowest
from mha_course.heads.importance import leave_one_out, random_scores
from mha_course.heads.tasks import GatedLoss


class Trained(NamedTuple):
    """How models are trained here.

    Args:
        num_heads: Heads of each of the two layers.
        d_model: Width.
        steps: Steps of training before anything is removed.
        more: Steps of training on.
        cuts: Heads removed in one cut.
        penalties: What an open gate costs, in nats.
    """

    num_heads: int = 8
    d_model: int = 64
    steps: int = 400
    more: int = 300
    cuts: tuple[int, ...] = (8, 11, 13)
    penalties: tuple[float, ...] = (0.01, 0.03, 0.1, 0.3)


FULL = Trained()
QUICK = Trained(steps=160, more=60, cuts=(8,), penalties=(0.1,))


def made_smaller(how: Trained, seed: int) -> dict[str, Any]:
    """Train a small transformer, and make it smaller in every way."""
    num_heads, d_model, steps, more, cuts, penalties = how
    fresh = TinyTransformer(num_heads=num_heads, d_model=d_model, seed=seed)
    trained = deepcopy(fresh)
    fit(trained, steps=steps, seed=seed)
    ranking_ids = draw(256, torch.Generator().manual_seed(10_000 + seed))
    ids = draw(256, torch.Generator().manual_seed(20_000 + seed))

    def loss_of(tiny: TinyTransformer, gates: Tensor | None = None) -> float:
        with torch.no_grad():
            return tiny.losses(ids, gates).mean().item()

    def trained_on(tiny: TinyTransformer, number: int) -> float:
        longer = deepcopy(tiny)
        fit(longer, steps=number, seed=30_000 + seed)
        return loss_of(longer)

    chance = guessing(ids).mean().item()
    layers = trained.num_layers
    ranks = GatedLoss(layers, num_heads, lambda g: trained.losses(ranking_ids, g), chance=chance)
    scores = leave_one_out([ranks]).mean(-1)
    of_chance = random_scores(layers, num_heads, seed)
    numbers = range(layers * num_heads + 1)
    cut_and_on, from_scratch = [], []
    for cut in cuts:
        gone = [(i, j) for i, j in (lowest(scores, cut) == 0).nonzero().tolist()]
        cut_and_on.append(trained_on(trained.without(gone), more))
        from_scratch.append(trained_on(fresh.without(gone), steps + more))
    gated = []
    for penalty in penalties:
        learned = learn_gates(trained, penalty, steps=more, seed=30_000 + seed)
        closed = learned.gates.closed()
        with torch.no_grad():
            gates = learned.gates(1)[0]
        gated.append(
            {
                "penalty": penalty,
                "removed": len(closed),
                "in layer 0": sum(layer == 0 for layer, _ in closed),
                "loss": loss_of(learned.model.without(closed), gates),
            }
        )
    return {
        "guessing": chance,
        "intact": loss_of(trained),
        "damage": scores.tolist(),
        "as it is": [loss_of(trained, lowest(scores, number)) for number in numbers],
        "at random": [loss_of(trained, lowest(of_chance, number)) for number in numbers],
        "whole, trained on": trained_on(trained, more),
        "cut, trained on": cut_and_on,
        "cut, from scratch": from_scratch,
        "gates": gated,
    }
