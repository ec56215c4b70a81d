"""How many heads can go, and how few carry the work?

"A third of the heads can be removed with minimal loss" says nothing before it says three things:
which heads, how much loss is minimal, and whether the model was trained on. So here are several
rankings, several limits, and both ways.

Trained models, not trained on. Every second piece of text ranks the heads; the curves of the loss
over the share of heads removed are of the other pieces. Random rankings are the baseline. A
largest share that can go is read off a curve: up to there, the mean loss never rises above the
limit. Limits:

- 0.05 nats;
- 5 % of the gap between a model that knows nothing and the intact one;
- 5 % of what all heads together are worth: the loss without any head, minus the intact loss.

MiniLM reads longer passages than in the other experiments: it finds short ones almost as well
without any head, so that their removal would say nothing.

How alike heads are is compared with shuffled heads: the same weights at other keys, and the same
outputs at other tokens.

Models trained here have 16 heads for a task that two can do. They are pruned as they are; pruned
in one cut and trained on; trained on with gates that learn which heads can go (Voita et al. 2019).
Two baselines: the whole model, trained on for equally many steps, and the pruned form trained from
scratch for all of the steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mha_course.experiments.importance_and_pruning import own_models
from mha_course.experiments.importance_and_pruning.curves import IN_NATS as IN_NATS
from mha_course.experiments.importance_and_pruning.curves import METHODS, carried_by_few, read_off
from mha_course.experiments.importance_and_pruning.curves import OF_CHANCE as OF_CHANCE
from mha_course.experiments.importance_and_pruning.curves import OF_HEADS as OF_HEADS
from mha_course.experiments.importance_and_pruning.statements import Own as Own
from mha_course.experiments.importance_and_pruning.statements import can_go as can_go
from mha_course.experiments.importance_and_pruning.statements import findings as findings
from mha_course.experiments.importance_and_pruning.statements import own as own
from mha_course.experiments.real_models import Texts, model, text, text_piece
from mha_course.experiments.result import Data
from mha_course.experiments.run import Run
from mha_course.heads import survey
from mha_course.heads.curves import pruning_curve
from mha_course.heads.importance import (
    gate_gradients,
    gradient_importance,
    leave_one_out,
    random_scores,
    rank_agreement,
    weight_norms,
)

QUESTION = "How many heads can go, and how few carry the work?"
CLAIMS = ("C06", "C09", "C26", "C33")
SEEDS, QUICK_SEEDS = 6, 2  # of the models trained here

SHARES = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
QUICK_SHARES = (0.0, 0.3, 0.7, 1.0)
RANDOM_RANKINGS = 4
COMPARED, QUICK_COMPARED = 4, 2  # texts for similarity

FULL = (Texts("minilm", 128, 8, 12), Texts("smollm2", 48, 1, 10))
QUICK = (Texts("minilm", 16, 4, 4),)


def measure(run: Run) -> Data:
    """Rank, remove and compare the heads of trained models; train, prune and train on our own."""
    texts, shares = (QUICK, QUICK_SHARES) if run.quick else (FULL, SHARES)
    how = own_models.QUICK if run.quick else own_models.FULL
    compared = QUICK_COMPARED if run.quick else COMPARED
    ranked = run.map(
        "ranking",
        _rank,
        {f"{t.name} ranking {i}": (t, i) for t in texts for i in range(0, t.pieces, 2)},
    )
    found = {
        t.name: [ranked[f"{t.name} ranking {i}"] for i in range(0, t.pieces, 2)] for t in texts
    }
    rankings = {t.name: _rankings(t, found[t.name]) for t in texts}
    curves = run.map(
        "curves",
        _curves,
        {
            f"{t.name} curves {i}": (t, i, rankings[t.name], shares)
            for t in texts
            for i in range(1, t.pieces, 2)
        },
    )
    alike = run.map(
        "similarity", _alike, {f"{t.name} alike": (t.name, t.size, compared) for t in texts}
    )
    ours = run.map(
        "models", own_models.made_smaller, {f"seed {seed}": (how, seed) for seed in run.seeds}
    )
    return {
        "shares": list(shares),
        "models": {
            t.name: {
                **t._asdict(),
                **_sum_up(
                    found[t.name],
                    rankings[t.name],
                    shares,
                    [curves[f"{t.name} curves {i}"] for i in range(1, t.pieces, 2)],
                ),
                "alike": alike[f"{t.name} alike"],
            }
            for t in texts
        },
        "trained": {
            **how._asdict(),
            "seeds": [ours[f"seed {seed}"] for seed in run.seeds],
        },
    }


def _rank(texts: Texts, number: int) -> dict[str, Any]:
    """What the ranking of heads is made of, from one piece."""
    batch = text_piece(texts, number)
    nothing = torch.zeros(batch.num_layers, batch.num_heads)
    with torch.no_grad():
        all_removed = (batch.losses(nothing) - batch.losses()).mean().item()
    return {
        "unit": batch.unit,
        "chance": batch.chance,
        "changes": leave_one_out([batch]).mean(-1),
        "slopes": gate_gradients([batch]),
        "all removed": all_removed,
    }


def _rankings(texts: Texts, found: list[dict[str, Any]]) -> dict[str, Tensor]:
    heads = model(texts.name).heads
    slopes = torch.cat([piece["slopes"] for piece in found], dim=-1)
    return {
        "leave one out": torch.stack([piece["changes"] for piece in found]).mean(0),
        "gradient": gradient_importance(slopes),
        "size of weights": weight_norms(heads),
        **{
            f"random {seed}": random_scores(heads.num_layers, heads.num_heads, seed)
            for seed in range(RANDOM_RANKINGS)
        },
    }


def _curves(
    texts: Texts, number: int, rankings: dict[str, Tensor], shares: Sequence[float]
) -> dict[str, list[float]]:
    """Loss of one piece at each share, along each ranking."""
    batch = text_piece(texts, number)
    return {
        method: pruning_curve([batch], scores, shares=shares).losses.mean(-1).tolist()
        for method, scores in rankings.items()
    }


def _alike(name: str, size: int, texts: int) -> dict[str, float]:
    """Effective number of patterns and of outputs of all heads, each beside its baseline."""
    settings = survey.Settings(size=size, chunks=COMPARED)
    found = survey.alike(model(name), text(), settings=settings, texts=texts)
    patterns, patterns_by_chance = found.patterns
    return {
        "heads": found.num_heads,
        "patterns": patterns,
        "patterns by chance": patterns_by_chance,
        "outputs": found.outputs,
        "outputs by chance": found.outputs_by_chance,
    }


def _sum_up(
    found: list[dict[str, Any]],
    rankings: dict[str, Tensor],
    shares: Sequence[float],
    curves: list[dict[str, list[float]]],
) -> dict[str, Any]:
    """Put the pieces of one model together."""
    changes = [piece["changes"] for piece in found]
    chance = found[0]["chance"]
    return {
        "unit": found[0]["unit"],
        "chance": chance,
        "changes": torch.stack(changes).mean(0).tolist(),
        "sum of singles": [of_piece.sum().item() for of_piece in changes],
        "all removed": [piece["all removed"] for piece in found],
        "agreement": rank_agreement({name: rankings[name] for name in METHODS}).tolist(),
        **read_off(shares, {name: [curve[name] for curve in curves] for name in rankings}, chance),
        "carried": carried_by_few(changes),
    }
