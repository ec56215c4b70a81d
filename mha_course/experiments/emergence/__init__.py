"""How do heads come to have a role, and what decides which head gets which?

Two tasks. In the first one a tiny transformer learns to copy in context: a head of layer 0 finds
the token before, a head of layer 1 what followed it (`tiny_transformer`, `roles`). There nothing
forbids that several heads of a layer take the same role, and it turns out that they do: all four
of layer 1 become induction heads. "The" head of a role is then the one with the highest score. So
a second task stands beside it, in which the two heads of a layer must differ (`pair_roles`).

1. Scores of all heads, and the loss, during training: do they jump together?
2. Which head takes which role, over seeds.
3. The same initial weights with many data orders, and the same data order with many initial
   weights. The order of the heads is arbitrary, and weights of all heads are drawn alike. So a data
   order alone cannot favour a head: that arm is a check of the code, not a discovery.
4. Heads that start alike, `twins`: do they stay so, what breaks it, and what is lost meanwhile?
   They are compared with a single head of the same width that starts from the same function.
5. Heads whose attention is given by hand, rightly and wrongly (`by_hand`).
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any, NamedTuple, get_args

import torch
from jaxtyping import Int
from torch import Tensor

from mha_course.experiments.emergence.by_hand import AssignedTransformer, Plan
from mha_course.experiments.emergence.pair_roles import train_pairs
from mha_course.experiments.emergence.roles import (
    HEADS,
    ROLES,
    Role,
    best_distance,
    costs,
    even_weights,
    half_of,
    role_scores,
    wanted_keys,
)
from mha_course.experiments.emergence.statements import findings as findings
from mha_course.experiments.emergence.twins import (
    PARTS,
    difference,
    gradient_difference,
    make_alike,
)
from mha_course.experiments.result import Data
from mha_course.experiments.run import Run
from mha_course.experiments.tiny_transformer import Layer, TinyTransformer, draw, fit, guessing
from mha_course.forms import FormName
from mha_course.heads.similarity import attention_distance
from mha_course.multi_head import MultiHeadAttention

QUESTION = "How do heads come to have a role, and what decides which head gets which?"
CLAIMS = ("C08", "C31", "Q01", "Q02", "Q03", "Q04")
SEEDS, QUICK_SEEDS = 48, 2

FRESH = 256  # sequences that are scored, the same for all models
SMALL_NOISE, NOISE = 1e-6, 1e-3  # weights are some 0.1

Shapes = tuple[tuple[int, int], ...]
GRADIENT_SHAPES: Shapes = ((32, 4), (35, 5), (48, 3), (256, 8), (512, 8), (576, 9))
"""d_model and heads of layers whose heads are alike."""

TWINS: dict[str, dict[str, Any]] = {
    "as drawn": {"parts": ""},
    "alike": {},
    "alike, noise 1e-6": {"noise": SMALL_NOISE},
    "alike, noise 1e-3": {"noise": NOISE},
    "alike, head dropout 0.1": {"head_dropout": 0.1},
    "as drawn, head dropout 0.1": {"parts": "", "head_dropout": 0.1},
    "alike, sizes where bits differ": {"d_model": 35, "num_heads": 5},
    "alike in W_Q and W_K": {"parts": "qk"},
    "alike in W_V and W_O": {"parts": "vo"},
    "one head of the same width": {"alone": True},
}
PAIR_TWINS: dict[str, dict[str, Any]] = {
    "as drawn": {},
    "alike": {"noise": 0.0},
    "alike, noise 1e-6": {"noise": SMALL_NOISE},
    "alike, noise 1e-3": {"noise": NOISE},
    "one head of the same width": {"alone": True},
}
PLANS: dict[str, Plan] = {
    "nothing": {},
    "previous": {(0, 0): "previous"},
    "induction": {(1, 0): "induction"},
    "both": {(0, 0): "previous", (1, 0): "induction"},
    "all of layer 0: previous": {(0, head): "previous" for head in range(HEADS)},
    "wrong: first token": {(0, 0): "first"},
    "all of layer 0 wrong": {(0, head): "first" for head in range(HEADS)},
}


class Size(NamedTuple):
    """How much is done.

    Args:
        steps: Of training, for the models of which every head is followed.
        other_steps: Of training, for all other tiny transformers.
        pair_steps: Of training, for the models of the pair.
        every: Steps between two records, up to `dense`.
        dense: The records are sparser after this step.
        inits: Initial weights in the crossed design of the tiny transformer; as many data orders.
        pair_seeds: Models of the pair.
        pair_inits: Initial weights in the crossed design of the pair; as many data orders.
        twins: Models for each way in which heads are alike.
        plans: Models for each plan by hand.
        shapes: Layers whose gradients are compared.
    """

    steps: int = 400
    other_steps: int = 400
    pair_steps: int = 400
    every: int = 10
    dense: int = 240
    inits: int = 10
    pair_seeds: int = 256
    pair_inits: int = 16
    twins: int = 10
    plans: int = 12
    shapes: Shapes = GRADIENT_SHAPES

    @property
    def records(self) -> tuple[int, ...]:
        """Steps after which the models are looked at."""
        later = range(self.dense, self.steps + 1, 4 * self.every)
        return (*range(0, self.dense, self.every), *later)

    @property
    def pair_records(self) -> tuple[int, ...]:
        """The same for the models of the pair."""
        return tuple(step for step in self.records if step <= self.pair_steps)


FULL = Size()
QUICK = Size(
    steps=280,
    other_steps=5,
    pair_steps=120,
    every=40,
    dense=280,
    inits=2,
    pair_seeds=4,
    pair_inits=2,
    twins=2,
    plans=2,
    shapes=GRADIENT_SHAPES[:2],
)
AT_ONCE = 64  # models of the pair that are trained side by side


def measure(run: Run) -> Data:
    """Train all models."""
    size = QUICK if run.quick else FULL
    ids = fresh_sequences()
    followed = run.map(
        "models", _follow, {f"copy {seed}": (seed, size.steps, size.records) for seed in run.seeds}
    )
    grid = range(size.inits)
    crossed = run.map(
        "crossed", _crossed, {f"crossed {i}": (i, tuple(grid), size.other_steps) for i in grid}
    )
    return {
        "steps": size.steps,
        "records": list(size.records),
        "pair records": list(size.pair_records),
        "guessing": guessing(ids).mean().item(),
        "baselines": {role: _baselines(ids, role) for role in ROLES},
        "copying": list(followed.values()),
        "crossed": list(crossed.values()),
        **_pairs(run, size),
        **_twins(run, size),
        "by hand": _by_hand(run, size),
    }


def fresh_sequences() -> Int[Tensor, "B T"]:
    """The sequences on which all models are compared; no model is trained on them."""
    return draw(FRESH, torch.Generator().manual_seed(1_000_000))


def _baselines(ids: Tensor, role: Role) -> dict[str, float]:
    wanted = wanted_keys(ids, role)
    return {"even weights": even_weights(wanted), "best distance": best_distance(wanted)}


# ------------------------------------------------------------------------------ in-context copying


def _follow(seed: int, steps: int, records: Sequence[int]) -> dict[str, Any]:
    """Train one model, and look at it at each record."""
    ids = fresh_sequences()
    model = TinyTransformer(seed=seed)
    losses, scores = [], []

    def look(step: int, _: float = 0.0) -> None:
        if step in records:
            with torch.no_grad():
                losses.append(round(model.losses(ids).mean().item(), 4))
            scores.append([[round(x, 3) for x in row] for row in role_scores(model, ids).tolist()])

    look(0)
    fit(model, steps=steps, seed=seed, on_step=look)
    return {
        "loss": losses,
        **{role: [at[layer] for at in scores] for layer, role in enumerate(ROLES)},
        "cost": costs(model, ids).tolist(),
    }


def _crossed(init: int, orders: Sequence[int], steps: int) -> dict[str, list[int]]:
    """For each role, the head that takes it with these initial weights and each data order."""
    ids = fresh_sequences()
    holders: dict[str, list[int]] = {role: [] for role in ROLES}
    for order in orders:
        model = TinyTransformer(seed=1000 + init)
        fit(model, steps=steps, seed=2000 + order)
        for role, row in zip(ROLES, role_scores(model, ids), strict=True):
            holders[role].append(int(row.argmax()))
    return holders


# ------------------------------------------------------------------------------------- the pair


def _pairs(run: Run, size: Size) -> Data:
    starts = range(0, size.pair_seeds, AT_ONCE)
    jobs = {
        f"pair {start}": (list(range(start, min(start + AT_ONCE, size.pair_seeds))), size)
        for start in starts
    }
    models = [model for part in run.map("pairs", _pair_part, jobs).values() for model in part]
    grid = range(size.pair_inits)
    crossed = run.map(
        "pairs, crossed", _pair_crossed, {f"pair crossed {i}": (i, tuple(grid), size) for i in grid}
    )
    return {
        "pairs": {
            "explained": [model["explained"] for model in models],
            "without": [model["without"] for model in models[:AT_ONCE]],
            "head of previous": [
                [_takes_previous(at) for at in model["contrasts"]] for model in models
            ],
            "clear": fmean(_is_clear(model["contrasts"][-1]) for model in models),
        },
        "pairs crossed": list(crossed.values()),
    }


def _pair_part(seeds: Sequence[int], size: Size) -> list[dict[str, Any]]:
    return train_pairs(seeds, seeds, steps=size.pair_steps, records=size.pair_records)


def _pair_crossed(init: int, orders: Sequence[int], size: Size) -> list[int]:
    models = train_pairs(
        [1000 + init] * len(orders),
        [2000 + order for order in orders],
        steps=size.pair_steps,
        records=(size.pair_steps,),
    )
    return [_takes_previous(model["contrasts"][-1]) for model in models]


def _takes_previous(contrasts: Sequence[float]) -> int:
    """Which head looks more at the previous token, and less at the first one, than the other."""
    return int(contrasts[1] > contrasts[0])


def _is_clear(contrasts: Sequence[float]) -> bool:
    """Whether one head looks more at the previous token, and the other more at the first one."""
    return min(contrasts) < 0 < max(contrasts)


# ----------------------------------------------------------------------------------- heads alike


def _twins(run: Run, size: Size) -> Data:
    gradients = run.step("gradients", lambda: _gradients(size.shapes))
    jobs = {
        f"twins {number} {seed}": (seed, size, how)
        for number, how in enumerate(TWINS.values())
        for seed in range(size.twins)
    }
    done = iter(run.map("twins", _twin, jobs).values())
    copying = {name: _columns([next(done) for _ in range(size.twins)]) for name in TWINS}
    pair_jobs = {
        f"pair twins {number}": (tuple(range(size.twins)), size, how)
        for number, how in enumerate(PAIR_TWINS.values())
    }
    pairs = run.map("pair twins", _pair_twin, pair_jobs)
    return {
        "gradients": gradients,
        "twins": copying,
        "pair twins": dict(zip(PAIR_TWINS, pairs.values(), strict=True)),
    }


def _gradients(shapes: Shapes) -> dict[str, list[float]]:
    """Difference between the gradients of heads that are alike, by form of computation."""
    forms: tuple[FormName, ...] = get_args(FormName)
    return {
        form: [gradient_difference(width, heads, form, seed=0) for width, heads in shapes]
        for form in forms
    }


def _twin(seed: int, size: Size, how: dict[str, Any]) -> dict[str, Any]:
    """Train a tiny transformer whose heads start alike, or that has one head of their width."""
    ids = fresh_sequences()
    model = twin_model(seed, **{k: v for k, v in how.items() if k != "head_dropout"})
    apart = []

    def look(step: int, _: float = 0.0) -> None:
        if step in size.records:
            apart.append(max(difference(attention) for attention in _attentions(model)))

    look(0)
    history = fit(
        model,
        steps=size.other_steps,
        seed=seed,
        head_dropout=how.get("head_dropout", 0.0),
        on_step=look,
    )
    with torch.no_grad():
        loss = model.losses(ids).mean().item()
    level = guessing(ids).mean().item() / 2
    return {
        "loss": loss,
        "half": half_of(history, level),
        "difference": apart,
        "distance": 0.0 if how.get("alone") else pattern_distance(model, ids[:32]),
    }


def twin_model(
    seed: int,
    parts: str = PARTS,
    noise: float = 0.0,
    *,
    num_heads: int = HEADS,
    d_model: int = 32,
    alone: bool = False,
) -> TinyTransformer:
    """Make a tiny transformer whose heads are alike in some parts, or one of them alone."""
    model = TinyTransformer(num_heads=num_heads, d_model=d_model, seed=seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for attention in _attentions(model):
            make_alike(attention, parts, noise=noise)
    if not alone:
        return model
    with torch.no_grad():
        for attention in _attentions(model):  # one head then writes what all of them would
            attention.w_o.weight.mul_(num_heads)
    others = [(layer, head) for layer in range(model.num_layers) for head in range(1, num_heads)]
    return model.without(others)


def pattern_distance(model: TinyTransformer, ids: Int[Tensor, "B T"]) -> float:
    """Mean distance between the attention of two heads of a layer: 0 alike, 1 no key in common."""
    with torch.no_grad():
        by_layer = model.weights(ids)
    of_pairs = []
    for weights in by_layer:
        distance = attention_distance(list(weights), is_causal=True)  # [h, h]
        heads = len(distance)
        of_pairs.append(distance.sum().item() / (heads * (heads - 1)))  # zero on the diagonal
    return fmean(of_pairs)


def _attentions(model: TinyTransformer) -> list[MultiHeadAttention]:
    attentions = []
    for layer in model.layers:
        assert isinstance(layer, Layer)  # a ModuleList does not say what it holds
        attentions.append(layer.attention)
    return attentions


def _pair_twin(seeds: Sequence[int], size: Size, how: dict[str, Any]) -> dict[str, Any]:
    models = train_pairs(seeds, seeds, steps=size.pair_steps, records=size.pair_records, **how)
    return {
        "explained": [fmean(model["explained"]) for model in models],
        "difference": [model["difference"] for model in models],
    }


def _columns(rows: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in rows[0]}


# -------------------------------------------------------------------------------------- by hand


def _by_hand(run: Run, size: Size) -> dict[str, dict[str, list[float]]]:
    jobs = {
        f"plan {number} {seed}": (seed, size.other_steps, plan)
        for number, plan in enumerate(PLANS.values())
        for seed in range(size.plans)
    }
    done = iter(run.map("by hand", _assigned, jobs).values())
    return {name: _columns([next(done) for _ in range(size.plans)]) for name in PLANS}


def _assigned(seed: int, steps: int, plan: Plan) -> dict[str, float]:
    ids = fresh_sequences()
    model = AssignedTransformer(plan, seed=seed)
    history = fit(model, steps=steps, seed=seed)
    with torch.no_grad():
        loss = model.losses(ids).mean().item()
    return {"loss": loss, "half": half_of(history, guessing(ids).mean().item() / 2)}
