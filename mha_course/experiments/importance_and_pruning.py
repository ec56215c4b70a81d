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

from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import partial
from statistics import fmean
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from mha_course.experiments.intervals import Interval, mean_interval
from mha_course.experiments.real_models import Texts, model, text_chunks, text_piece
from mha_course.experiments.result import Data, Finding
from mha_course.experiments.run import Run
from mha_course.experiments.tiny_transformer import (
    TinyTransformer,
    draw,
    fit,
    guessing,
    learn_gates,
)
from mha_course.heads.curves import lowest, pruning_curve
from mha_course.heads.gates import LayerHeads
from mha_course.heads.importance import (
    gate_gradients,
    gradient_importance,
    leave_one_out,
    random_scores,
    rank_agreement,
    weight_norms,
)
from mha_course.heads.redundancy import effective_number
from mha_course.heads.similarity import (
    attention_distance,
    output_cka,
    shuffled_keys,
    shuffled_tokens,
)
from mha_course.heads.tasks import GatedLoss

QUESTION = "How many heads can go, and how few carry the work?"
CLAIMS = ("C06", "C09", "C26", "C33")
SEEDS, QUICK_SEEDS = 6, 2  # of the models trained here

SHARES = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
QUICK_SHARES = (0.0, 0.3, 0.7, 1.0)
RANDOM_RANKINGS = 4
NATS, SMALL = 0.05, 0.05  # limits: of the loss, and as shares of a gap
IN_NATS, OF_CHANCE, OF_HEADS = "0.05 nats", "5 % of the gap to chance", "5 % of what heads give"
RESAMPLES = 1000
COMPARED = 4  # texts for similarity
NAMES = ("minilm", "smollm2")
METHODS = ("leave one out", "gradient", "size of weights")


FULL = (Texts("minilm", 128, 8, 12), Texts("smollm2", 48, 1, 10))
QUICK = (Texts("minilm", 16, 4, 4),)


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


FULL_TRAINED = Trained()
QUICK_TRAINED = Trained(steps=160, more=60, cuts=(8,), penalties=(0.1,))


# -------------------------------------------------------------------------- reading curves


def largest_share(shares: Sequence[float], losses: Float[Tensor, " points"], limit: float) -> float:
    """Largest share of heads up to which the loss never exceeds the intact loss by more than that.

    Args:
        shares: Shares of heads removed, ascending from 0.
        losses: Mean loss at each of them.
        limit: How much the loss may rise.
    """
    within = (losses <= losses[0] + limit).long().cumprod(0)
    return shares[int(within.sum()) - 1]


def over_resamples(
    losses: Float[Tensor, "points pieces"],
    read: Callable[[Float[Tensor, " points"]], float],
    *,
    seed: int = 0,
) -> Interval:
    """Read something off the mean curve; the interval holds 95 % of what resampled pieces give.

    Args:
        losses: Loss of each piece at each point of a curve.
        read: Reads a number off a curve of means.
        seed: Of resampling.
    """
    pieces = losses.shape[-1]
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(pieces, (RESAMPLES, pieces), generator=generator)
    means = losses[:, drawn].mean(-1).T  # [resamples, points]
    found = torch.tensor([read(curve) for curve in means], dtype=torch.float64)
    low, high = found.quantile(torch.tensor([0.025, 0.975]).double(), interpolation="nearest")
    return Interval(read(losses.mean(-1)), low.item(), high.item())


def carried(
    scores: Float[Tensor, "layers h"], damage: Float[Tensor, "layers h"], part: float
) -> float | None:
    """Share of the heads, highest scores first, whose summed damage reaches this part of all of it.

    Heads whose removal helps count with their sign, so that luck cancels out. Scores should come
    from other texts than the damage. None: damage adds up to no more than 0, which single removals
    can; then there is nothing to share out.
    """
    ordered = damage.flatten()[scores.flatten().argsort(descending=True, stable=True)]
    total = ordered.sum()
    if not total > 0:
        return None
    reached = ordered.cumsum(0) >= part * total
    return (int(reached.long().argmax()) + 1) / damage.numel()


# ----------------------------------------------------------------------------- the experiment


def measure(run: Run) -> Data:
    """Rank, remove and compare the heads of trained models; train, prune and train on our own."""
    texts, shares = (QUICK, QUICK_SHARES) if run.quick else (FULL, SHARES)
    trained = QUICK_TRAINED if run.quick else FULL_TRAINED
    ranked = run.map(
        "ranking",
        _rank,
        {f"{t.name} ranking {i}": (*t, i) for t in texts for i in range(0, t.pieces, 2)},
    )
    rankings = {
        t.name: _rankings(t, [ranked[f"{t.name} ranking {i}"] for i in range(0, t.pieces, 2)])
        for t in texts
    }
    curves = run.map(
        "curves",
        _curves,
        {
            f"{t.name} curves {i}": (*t, i, rankings[t.name], shares)
            for t in texts
            for i in range(1, t.pieces, 2)
        },
    )
    alike = run.map(
        "similarity",
        _alike,
        {f"{t.name} alike": (t.name, t.size, 2 if run.quick else COMPARED) for t in texts},
    )
    models = {}
    for t in texts:
        found = [ranked[f"{t.name} ranking {i}"] for i in range(0, t.pieces, 2)]
        shown = [curves[f"{t.name} curves {i}"] for i in range(1, t.pieces, 2)]
        models[t.name] = {
            **t._asdict(),
            "unit": found[0]["unit"],
            "chance": found[0]["chance"],
            "changes": torch.stack([piece["changes"] for piece in found]).mean(0).tolist(),
            "sum of singles": [piece["changes"].sum().item() for piece in found],
            "all removed": [piece["all removed"] for piece in found],
            "agreement": rank_agreement(
                {name: rankings[t.name][name] for name in METHODS}
            ).tolist(),
            **_read_off(
                shares,
                {name: [c[name] for c in shown] for name in rankings[t.name]},
                found[0]["chance"],
            ),
            "carried": _carried([piece["changes"] for piece in found]),
            "alike": alike[f"{t.name} alike"],
        }
    ours = run.map("models", _one_model, {f"seed {seed}": (*trained, seed) for seed in run.seeds})
    return {
        "shares": list(shares),
        "models": models,
        "trained": {
            **trained._asdict(),
            "seeds": [ours[f"seed {seed}"] for seed in run.seeds],
        },
    }


def _rank(name: str, size: int, together: int, pieces: int, number: int) -> dict[str, Any]:
    batch = text_piece(name, size, together, pieces, number)
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
    name: str,
    size: int,
    together: int,
    pieces: int,
    number: int,
    rankings: dict[str, Tensor],
    shares: Sequence[float],
) -> dict[str, list[float]]:
    """Loss of one piece at each share, along each ranking."""
    batch = text_piece(name, size, together, pieces, number)
    return {
        method: pruning_curve([batch], scores, shares=shares).losses.mean(-1).tolist()
        for method, scores in rankings.items()
    }


def _read_off(
    shares: Sequence[float], curves: dict[str, list[list[float]]], chance: float
) -> dict[str, Any]:
    """Curves of all pieces [ranking][piece][point], and what they say."""
    tensors = {name: torch.tensor(of_pieces).T for name, of_pieces in curves.items()}
    can_go: dict[str, dict[str, list[float]]] = {}
    for name, losses in tensors.items():
        intact = losses[0].mean().item()
        limits = {
            IN_NATS: NATS,
            OF_CHANCE: SMALL * (chance - intact),
            OF_HEADS: SMALL * (losses[-1].mean().item() - intact),
        }
        can_go[name] = {
            limit: list(over_resamples(losses, lambda c, r=rise: largest_share(shares, c, r)))  # type: ignore[misc]
            for limit, rise in limits.items()
        }
    return {
        "curves": {name: losses.mean(-1).tolist() for name, losses in tensors.items()},
        "spread": {name: losses.std(-1).tolist() for name, losses in tensors.items()},
        "pieces of curves": {name: tensors[name].T.tolist() for name in METHODS},
        "can go": can_go,
    }


def _carried(changes: list[Tensor]) -> dict[str, float | None]:
    """Share of heads that carries half, and 80 %, of the damage: ranked and summed on halves."""
    ranks, sums = torch.stack(changes[0::2]).mean(0), torch.stack(changes[1::2]).mean(0)
    return {str(part): carried(ranks, sums, part) for part in (0.5, 0.8)}


def _alike(name: str, size: int, texts: int) -> dict[str, float]:
    """Effective number of patterns and of outputs of all heads, each beside its baseline."""
    reader = model(name)
    generator = torch.Generator().manual_seed(0)
    patterns, shuffled, outputs = [], [], []
    for ids in text_chunks(name, size=size, count=max(4, texts))[:texts]:
        seen_here: list[LayerHeads] = []
        reader.look(ids[None], lambda _, seen, here=seen_here: here.append(seen))  # type: ignore[misc]
        weights = torch.cat([seen.weights[0] for seen in seen_here if seen.weights is not None])
        patterns.append(weights)
        shuffled.append(shuffled_keys(weights, generator=generator, is_causal=reader.is_causal))
        outputs.append(torch.cat([seen.z[0] for seen in seen_here]))
    z = torch.cat(outputs, dim=1)  # [heads, tokens, d_head]
    elsewhere = shuffled_tokens(z, generator=generator)
    of = {
        "patterns": 1 - attention_distance(patterns, is_causal=reader.is_causal) ** 2,
        "patterns by chance": 1 - attention_distance(shuffled, is_causal=reader.is_causal) ** 2,
        "outputs": output_cka(z, debiased=False),
        "outputs by chance": output_cka(elsewhere, debiased=False),
    }
    return {"heads": len(z), **{kind: effective_number(s) for kind, s in of.items()}}


def _one_model(
    num_heads: int,
    d_model: int,
    steps: int,
    more: int,
    cuts: Sequence[int],
    penalties: Sequence[float],
    seed: int,
) -> dict[str, Any]:
    """Train a small transformer, and make it smaller in every way."""
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


# ---------------------------------------------------------------------------------- findings


class CanGo(NamedTuple):
    """Largest share of heads that can go within a limit, without training on.

    Attributes:
        best: By the ranking with which most can go.
        method: That ranking.
        at_random: By random rankings, on average.
    """

    best: Interval
    method: str
    at_random: float


def can_go(found: Data, limit: str) -> CanGo:
    """Look up the largest share, from the data of one model."""
    by_method = {name: Interval(*found["can go"][name][limit]) for name in METHODS}
    method = max(by_method, key=lambda name: by_method[name].mean)
    at_random = fmean(
        limits[limit][0] for name, limits in found["can go"].items() if name.startswith("random")
    )
    return CanGo(by_method[method], method, at_random)


class Own(NamedTuple):
    """Largest share of heads that can go from one model trained here, for at most `NATS`.

    The loss is compared with that of the whole model, trained for equally many steps.

    Attributes:
        as_it_is: Without training on.
        trained_on: Removed in one cut, then trained on.
        gates: Trained on with learned gates.
        from_scratch: The same form as after the cut, trained from scratch.
    """

    as_it_is: float
    trained_on: float
    gates: float
    from_scratch: float


def own(trained: Data, seed: Data) -> Own:
    """Read the largest shares off one of the models trained here."""
    number = len(seed["as it is"]) - 1
    limit = seed["whole, trained on"] + NATS
    shares = [i / number for i in range(number + 1)]

    def most(losses: Sequence[float], removed: Sequence[int]) -> float:
        within = [n for n, loss in zip(removed, losses, strict=True) if loss <= limit]
        return max(within, default=0) / number

    gates = seed["gates"]
    return Own(
        largest_share(shares, torch.tensor(seed["as it is"]), NATS),
        most(seed["cut, trained on"], trained["cuts"]),
        most([g["loss"] for g in gates], [g["removed"] for g in gates]),
        most(seed["cut, from scratch"], trained["cuts"]),
    )


def findings(data: Data) -> dict[str, Finding]:
    """Say how many heads can go, and on what that depends."""
    models, trained = data["models"], data["trained"]
    limits = (IN_NATS, OF_CHANCE, OF_HEADS)
    untrained = {
        limit: {name: can_go(found, limit) for name, found in models.items()} for limit in limits
    }
    each = [own(trained, seed) for seed in trained["seeds"]]
    as_it_is, trained_on, gates, from_scratch = (
        mean_interval([getattr(one, field) for one in each]) for field in Own._fields
    )
    at_30 = _losses_at(models, data["shares"], 0.3)
    at_70 = _losses_at(models, data["shares"], 0.7)
    worth = {name: _worth(found) for name, found in models.items()}
    lost_at_70 = {name: min(at_70[name][:-1]) / worth[name] for name in models}
    alike = {name: found["alike"] for name, found in models.items()}
    return {
        **{
            f"a-third-can-go-{key}-{name}": _of_model(
                name, models, partial(_third_can_go, limit=limit)
            )
            for key, limit in zip(("nats", "chance", "heads"), limits, strict=True)
            for name in NAMES
        },
        **{f"few-heads-carry-most-{name}": _of_model(name, models, _few_carry) for name in NAMES},
        **{
            f"single-removals-understate-{name}": _of_model(name, models, _understate)
            for name in NAMES
        },
        "70-percent-cannot-go-untrained": Finding(
            all(
                go.best.mean < 0.7 for of_models in untrained.values() for go in of_models.values()
            ),
            "with 70 % of heads gone and no training on, the best ranking loses "
            + ", ".join(f"{share:.0%} ({name})" for name, share in lost_at_70.items())
            + " of what all heads together are worth",
            needs_full=True,
        ),
        "rankings-beat-random": Finding(
            all(max(losses[0], losses[1]) < losses[-1] for losses in at_30.values()),
            "with 30 % of heads gone the loss rises by "
            + "; ".join(
                f"{leave:.2f} nats by leave one out, {gradient:.2f} by gradient, {size:.2f} by "
                f"size of weights, {random:.2f} at random ({name})"
                for name, (leave, gradient, size, random) in at_30.items()
            ),
            needs_full=True,
        ),
        "fewer-patterns-than-heads": Finding(
            all(a["patterns"] < a["patterns by chance"] / 2 for a in alike.values()),
            "; ".join(
                f"{name}: {a['heads']} heads are worth {a['patterns']:.1f} different patterns; "
                f"heads as sharp that look elsewhere, {a['patterns by chance']:.1f}"
                for name, a in alike.items()
            ),
            needs_full=True,
        ),
        "fewer-outputs-than-heads": Finding(
            all(a["outputs"] < a["outputs by chance"] for a in alike.values()),
            "; ".join(
                f"{name}: {a['heads']} heads are worth {a['outputs']:.1f} different outputs; dealt "
                f"out to other tokens, {a['outputs by chance']:.1f}"
                for name, a in alike.items()
            ),
        ),
        "training-on-removes-more": Finding(
            all(max(one.trained_on, one.gates) > one.as_it_is for one in each),
            f"of our 16 heads, a share of {as_it_is} can go as the model is, {trained_on} if it is "
            f"trained on after one cut, {gates} with learned gates (0.05 nats above the whole "
            f"model)",
        ),
        "a-third-of-ours-can-go": Finding(
            as_it_is.low >= 0.3,
            f"as it is, a share of {as_it_is} of the 16 heads of a model trained here can go for "
            f"at most 0.05 nats",
            needs_full=True,
        ),
        "gates-remove-70-percent": Finding(
            gates.low >= 0.7,
            f"learned gates remove a share of {gates} for at most 0.05 nats more than the whole "
            f"model, trained on for as long",
            needs_full=True,
        ),
        "small-from-scratch-as-good": Finding(
            all(one.from_scratch >= one.trained_on for one in each),
            f"a model that starts without the heads, trained for all of the steps, can do without "
            f"a share of {from_scratch}; one cut out of the whole model, {trained_on}",
            needs_full=True,
        ),
    }


def _worth(found: Data) -> float:
    """What all heads together are worth on the pieces of the curves."""
    return float(found["curves"][METHODS[0]][-1] - found["curves"][METHODS[0]][0])


def _losses_at(models: Data, shares: Sequence[float], share: float) -> dict[str, list[float]]:
    """Rise of the loss at one share: for each of the methods, then for random rankings."""
    at = shares.index(share)
    rises = {
        name: {method: curve[at] - curve[0] for method, curve in found["curves"].items()}
        for name, found in models.items()
    }
    return {
        name: [
            *(of[method] for method in METHODS),
            fmean(rise for method, rise in of.items() if method.startswith("random")),
        ]
        for name, of in rises.items()
    }


def _of_model(name: str, models: Data, judge: Callable[[str, Data], Finding]) -> Finding:
    if name not in models:
        return Finding(False, "not measured in the quick run", needs_full=True)
    return judge(name, models[name])


def _third_can_go(name: str, found: Data, limit: str) -> Finding:
    go = can_go(found, limit)
    return Finding(
        go.best.mean >= 0.3,
        f"{name}, for at most {limit}, without training on: {go.best.mean:.0%} of heads "
        f"[{go.best.low:.0%}, {go.best.high:.0%}] by {go.method}, {go.at_random:.0%} at random",
        needs_full=True,
    )


def _few_carry(name: str, found: Data) -> Finding:
    half, most = found["carried"]["0.5"], found["carried"]["0.8"]
    if half is None or most is None:
        says = f"{name}: the damage of single removals adds up to nothing above 0"
    else:
        says = (
            f"{name}: {half:.0%} of heads carry half of the summed damage of single removals, "
            f"{most:.0%} carry 80 %"
        )
    return Finding(most is not None and most <= 1 / 3, says, needs_full=True)


def _understate(name: str, found: Data) -> Finding:
    more = mean_interval(
        [a - b for a, b in zip(found["all removed"], found["sum of singles"], strict=True)]
    )
    return Finding(
        more.low > 0,
        f"{name}: removing all heads costs {fmean(found['all removed']):.2f} nats, single removals "
        f"add up to {fmean(found['sum of singles']):.2f}; the difference is {more}",
        needs_full=True,
    )
