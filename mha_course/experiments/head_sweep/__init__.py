"""How many heads are best, at the same width and with the same number of parameters?

Two tasks. In a language model nobody knows how many relations there are to serve. So beside it
stands a task in which the number is known: every token must return the contents of the R tokens
before it. Its theory is that of chapter 1: if the weights depend on positions alone and the
readout is linear, h heads make h mixtures of the contents, which explain at most h/R of what is
wanted.

All runs of a language model from one seed read the same text in the same order. So runs are
compared seed by seed: the differences vary less than the losses do.

What the design owes to pilots: with batches of 2,048 characters there were too few steps to learn
from, and one head was ahead of all others because it learned fastest; with 512 characters and
1,500 steps the models are better than guessing from two characters (the trigram). They have not
converged. The first sweep has two blocks. There one head lost so little that a pilot with one
block followed, where it lost several times as much; so one block got a sweep of its own, and all
checks are made with it.

The full run showed that 1,500 steps are too few for a context of 256 characters: the models lose
more than with 32. What is best among them says how fast they learn, not what length asks for; a
finding says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from time import perf_counter
from typing import Any

import torch

from mha_course.counting import count_parameters
from mha_course.experiments.head_sweep.language_model import (
    LanguageModel,
    Recipe,
    bits_by_counting,
    bits_per_character,
    draw,
    fit,
    python_reference,
    train_step,
)
from mha_course.experiments.head_sweep.plan import (
    BASELINES,
    HEADS,
    ONE_BLOCK,
    RATE_HEADS,
    RATES,
    SCALES,
    SOME_SEEDS,
    SWEEPS,
    TIMED_STEPS,
    USUAL,
)
from mha_course.experiments.head_sweep.relations import (
    MORE_TOKENS,
    MORE_TOKENS_HEADS,
    NUM_TOKENS,
    RELATION_STEPS,
    RELATIONS,
    explained_by_relations,
)
from mha_course.experiments.head_sweep.statements import findings as findings
from mha_course.experiments.result import Data
from mha_course.experiments.run import Run

QUESTION = "How many heads are best, at the same width and with the same number of parameters?"
CLAIMS = ("C04", "C07", "C21", "C29", "C30", "Q05")
SEEDS, QUICK_SEEDS = 5, 2


# --------------------------------------------------------------------------- language model


def train_language_model(recipe: Recipe, seed: int) -> dict[str, float]:
    """Train one model, and test it on the topics that are held out."""
    text = python_reference()
    model = fit(recipe, seed, text)
    return {
        "bits": bits_per_character(model, text.held_out, recipe.context),
        "parameters": count_parameters(model),
    }


def step_times(recipes: Mapping[str, Recipe]) -> dict[str, float]:
    """Median seconds of a training step; the recipes take turns, so that a busy moment hits all."""
    text = python_reference()
    models = {name: LanguageModel(recipe) for name, recipe in recipes.items()}
    adams = {name: torch.optim.Adam(model.parameters()) for name, model in models.items()}
    generator = torch.Generator().manual_seed(0)
    times: dict[str, list[float]] = {name: [] for name in recipes}
    for _ in range(TIMED_STEPS):
        for name, recipe in recipes.items():
            pieces = draw(text.training, recipe, generator)
            start = perf_counter()
            train_step(models[name], adams[name], pieces)
            times[name].append(perf_counter() - start)
    return {name: median(values) for name, values in times.items()}


def _sweep(
    run: Run, kind: str, recipe: Recipe, heads: Sequence[int], seeds: Sequence[int]
) -> dict[str, Any]:
    """Train one model for each number of heads and each seed."""
    jobs = {
        f"{kind}, {h} heads, seed {seed}": (recipe._replace(num_heads=h), seed)
        for h in heads
        for seed in seeds
    }
    trained = run.map(kind, train_language_model, jobs)
    by_heads = {h: [trained[f"{kind}, {h} heads, seed {seed}"] for seed in seeds] for h in heads}
    return {
        "d_model": recipe.d_model,
        "context": recipe.context,
        "learning rate": recipe.learning_rate,
        "parameters": sorted({int(m["parameters"]) for of_h in by_heads.values() for m in of_h}),
        "bits": {str(h): [m["bits"] for m in of_h] for h, of_h in by_heads.items()},
    }


def _counting() -> dict[str, Any]:
    text = python_reference()
    return {
        "held-out topics": text.held_out_topics,
        "training characters": len(text.training),
        "held-out characters": len(text.held_out),
        "bits by counting": {str(n): bits_by_counting(text, n) for n in BASELINES},
    }


# ------------------------------------------------------------------- a known number of relations


def _relations_job(
    num_heads: int, num_relations: int, num_tokens: int, seeds: Sequence[int], steps: int
) -> list[float]:
    return explained_by_relations(num_heads, num_relations, num_tokens, seeds, steps=steps)[0]


def _relations(
    run: Run, cases: Sequence[tuple[int, int]], num_tokens: int, steps: int
) -> dict[str, dict[str, list[float]]]:
    """Share explained, by R and by h."""
    jobs = {
        f"{r} relations, {h} heads, {num_tokens} tokens": (h, r, num_tokens, run.seeds, steps)
        for r, h in cases
    }
    explained = list(run.map(f"relations, {num_tokens} tokens", _relations_job, jobs).values())
    by_relations: dict[str, dict[str, list[float]]] = {}
    for (r, h), shares in zip(cases, explained, strict=True):
        by_relations.setdefault(str(r), {})[str(h)] = shares
    return by_relations


# ----------------------------------------------------------------------------- the experiment


def measure(run: Run) -> Data:
    """Train the language models and the models of the relations."""
    if run.quick:
        recipe = ONE_BLOCK._replace(steps=20)
        return {
            "text": run.step("counting", _counting),
            "language": {"one block": _sweep(run, "one block", recipe, (1, USUAL), run.seeds)},
            "relations": _relations(run, [(2, 1), (2, 2)], NUM_TOKENS, 150),
        }
    some = run.seeds[:SOME_SEEDS]
    timed = {str(h): ONE_BLOCK._replace(num_heads=h) for h in HEADS}
    stored = {h: recipe._replace(form="batched") for h, recipe in timed.items()}
    return {
        "text": run.step("counting", _counting),
        "language": {
            name: _sweep(run, name, recipe, HEADS, run.seeds) for name, recipe in SWEEPS.items()
        },
        "relations": _relations(
            run, [(r, h) for r in RELATIONS for h in HEADS], NUM_TOKENS, RELATION_STEPS
        ),
        "relations, more tokens": _relations(
            run, [(2, h) for h in MORE_TOKENS_HEADS], MORE_TOKENS, RELATION_STEPS
        ),
        "scales": {
            name: _sweep(run, name, recipe, heads, some) for name, (recipe, heads) in SCALES.items()
        },
        "rates": {
            name: _sweep(
                run,
                f"{name} the learning rate",
                ONE_BLOCK._replace(learning_rate=factor * ONE_BLOCK.learning_rate),
                RATE_HEADS,
                some,
            )
            for name, factor in RATES.items()
        },
        "seconds per step": {
            "fused": run.map("step times", step_times, {"fused": (timed,)})["fused"],
            "batched": run.map("step times", step_times, {"batched": (stored,)})["batched"],
        },
    }
