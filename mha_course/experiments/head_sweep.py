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
from statistics import fmean, median
from time import perf_counter
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import pad

from mha_course.counting import count_parameters
from mha_course.experiments.ensemble import Batch, Ensemble
from mha_course.experiments.intervals import Interval, mean_interval
from mha_course.experiments.language_model import (
    LanguageModel,
    Recipe,
    bits_by_counting,
    bits_per_character,
    draw,
    fit,
    python_reference,
    train_step,
)
from mha_course.experiments.result import Data, Finding
from mha_course.experiments.run import Run
from mha_course.multi_head import MultiHeadAttention

QUESTION = "How many heads are best, at the same width and with the same number of parameters?"
CLAIMS = ("C04", "C07", "C21", "C29", "C30", "Q05")
SEEDS, QUICK_SEEDS = 5, 2

D_MODEL = 64
HEADS = (1, 2, 4, 8, 16, 32, 64)
USUAL = 8  # heads of the original Transformer, and what others are compared with
SOME_SEEDS = 3  # for the checks beside the main sweep
RATES = {"half": 0.5, "twice": 2.0}  # of the learning rate of the main sweep
RATE_HEADS = (1, USUAL, 64)
ONE_BLOCK = Recipe(1, d_model=D_MODEL, num_layers=1)
SWEEPS = {
    "two blocks": Recipe(1, d_model=D_MODEL, num_layers=2),
    "one block": ONE_BLOCK,
}
SCALES = {
    "16 wide": (ONE_BLOCK._replace(d_model=16), (1, 2, 4, 8, 16)),
    "128 wide": (ONE_BLOCK._replace(d_model=128), (1, 4, 16, 64)),
    "256 characters": (ONE_BLOCK._replace(context=256), (1, 4, 16)),
}
"""Models of another size, and the numbers of heads that are tried."""
TIMED_STEPS = 30  # for each number of heads
BASELINES = (1, 2, 3, 4, 5)  # characters that the counting baselines look at

RELATIONS = (1, 2, 4, 8)  # R
CONTENT_WIDTH = 8  # D
FIRST_QUERY = max(RELATIONS)  # the tokens before it have too few others before them
NUM_TOKENS, MORE_TOKENS = 16, 48
MORE_TOKENS_HEADS = (2, 64)
RELATION_STEPS = 400
assert max(RELATIONS) * CONTENT_WIDTH == D_MODEL, "the output has just room for all contents"

Bits = dict[str, list[float]]
"""Bits per character by number of heads, one for each seed."""


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


# ------------------------------------------------------------------------------- the numbers


def best(bits: Bits) -> int:
    """Number of heads with the least mean loss.

    >>> best({"1": [2.5, 2.7], "8": [2.4, 2.6]})
    8
    """
    return int(min(bits, key=lambda h: fmean(bits[h])))


def difference(bits: Bits, heads: int, other: int) -> Interval:
    """By how much more `heads` heads lose than `other` heads, seed by seed.

    >>> print(difference({"1": [2.5, 2.7], "8": [2.4, 2.6]}, 1, 8))
    0.100 [0.100, 0.100]
    """
    pairs = zip(bits[str(heads)], bits[str(other)], strict=True)
    return mean_interval([a - b for a, b in pairs])


def as_good_as_best(bits: Bits) -> list[int]:
    """The best number of heads, and all whose difference to it may as well be zero.

    >>> as_good_as_best({"1": [2.8, 3.0], "4": [2.3, 2.8], "8": [2.4, 2.6]})
    [4, 8]
    """
    first = best(bits)
    return [int(h) for h in bits if int(h) == first or difference(bits, int(h), first).low <= 0]


def ceiling(num_heads: int, num_relations: int) -> float:
    """Share of the variance that h mixtures of the contents can explain of R of them.

    >>> ceiling(2, 8), ceiling(8, 2)
    (0.25, 1.0)
    """
    return min(1.0, num_heads / num_relations)


# ------------------------------------------------------------------------------- the findings


def findings(data: Data) -> dict[str, Finding]:
    """Say which numbers of heads are best."""
    found = {**_relation_findings(data), **_language_findings(data)}
    if "scales" in data:  # only a full run has the checks
        found.update(_scale_findings(data))
    return found


def _relation_findings(data: Data) -> dict[str, Finding]:
    shares = {
        (int(r), int(h)): mean_interval(values)
        for r, by_heads in data["relations"].items()
        for h, values in by_heads.items()
    }
    few = {case: share for case, share in shares.items() if case[1] < case[0]}
    enough = {case: share for case, share in shares.items() if case[1] == case[0]}
    off = max(abs(share.mean - ceiling(h, r)) for (r, h), share in few.items())
    least = min(share.mean for share in enough.values())
    found = {
        "h-of-r-relations": Finding(
            off < 0.02,
            f"with fewer heads than relations, the share explained is within {off:.3f} of h/R",
        ),
        "as-many-heads-as-relations": Finding(
            least > 0.98 and max(few.values()).mean < 0.98,
            f"h = R is the first number of heads that suffices: the share explained is at least "
            f"{least:.3f} there, and at most {max(few.values()).mean:.3f} with fewer heads",
        ),
    }
    if "relations, more tokens" not in data:
        return found
    spare = {case: s for case, s in shares.items() if case[0] < case[1] <= D_MODEL // 4}
    lowest = min(spare, key=lambda case: spare[case].mean)
    crowded, full = shares[2, D_MODEL], shares[8, D_MODEL]
    longer = {h: mean_interval(v) for h, v in data["relations, more tokens"]["2"].items()}
    return found | {
        "spare-heads-cost-little": Finding(
            spare[lowest].mean > 0.95,
            f"more heads than relations, each at least 4 wide, explain {spare[lowest]} in the "
            f"worst case (R = {lowest[0]}, h = {lowest[1]})",
        ),
        "width-one-fails-without-spare": Finding(
            full.high < 0.9,
            f"8 relations take all of the width; {D_MODEL} heads of width 1 explain {full} of "
            f"them, 8 heads of width 8 {shares[8, 8]}",
        ),
        "width-one-with-spare-heads-does-it": Finding(
            crowded.low > 0.95,
            f"2 relations take a quarter of the width; {D_MODEL} heads of width 1 explain "
            f"{crowded} of them, 2 heads of width 32 {shares[2, 2]}; with {MORE_TOKENS} tokens "
            f"instead of {NUM_TOKENS} it is {longer[str(D_MODEL)]} and {longer['2']}",
        ),
    }


def _language_findings(data: Data) -> dict[str, Finding]:
    text, sweeps = data["text"]["bits by counting"], data["language"]
    means = {
        name: [fmean(values) for values in sweep["bits"].values()] for name, sweep in sweeps.items()
    }
    found = {
        "language-equal-parameters": Finding(
            all(len(sweep["parameters"]) == 1 for sweep in sweeps.values()),
            "for any number of heads, a language model has "
            + ", ".join(
                f"{' or '.join(map(str, sweep['parameters']))} parameters with {name}"
                for name, sweep in sweeps.items()
            ),
        ),
        "better-than-trigram": Finding(
            all(max(of_sweep) < text["3"] for of_sweep in means.values()),
            "held-out loss in bits per character is "
            + ", ".join(
                f"{min(of_sweep):.3f} to {max(of_sweep):.3f} with {name}"
                for name, of_sweep in means.items()
            )
            + f"; counting pairs gives {text['2']:.3f}, counting triples {text['3']:.3f}",
            needs_full=True,
        ),
    }
    for name, sweep in sweeps.items():
        found.update(_sweep_findings(name, sweep["bits"]))
    if len(sweeps) == len(SWEEPS):
        found["depth-narrows-the-gap"] = _gap_finding(sweeps)
    return found


def _sweep_findings(name: str, bits: Bits) -> dict[str, Finding]:
    """Findings about one sweep, each named after it."""
    key, one = name.replace(" ", "-"), difference(bits, 1, USUAL)
    found = {
        f"{key}-eight-heads-beat-one": Finding(
            one.low > 0,
            f"with {name}, one head loses {one} bits per character more than {USUAL}",
            needs_full=True,
        )
    }
    if str(D_MODEL) not in bits:  # a quick run
        return found
    narrow, narrow_to_one = difference(bits, D_MODEL, USUAL), difference(bits, D_MODEL, 1)
    tied = as_good_as_best(bits)
    listed = ", ".join(map(str, tied))
    return found | {
        f"{key}-width-one-loses": Finding(
            narrow.low > 0,
            f"with {name}, {D_MODEL} heads of width 1 lose {narrow} bits per character more than "
            f"{USUAL} heads",
            needs_full=True,
        ),
        f"{key}-width-one-loses-to-one-head": Finding(
            narrow_to_one.low > 0,
            f"with {name}, {D_MODEL} heads of width 1 lose {narrow_to_one} bits per character "
            f"more than one head of width {D_MODEL}",
            needs_full=True,
        ),
        f"{key}-best-is-in-between": Finding(
            not set(tied) & {1, D_MODEL},
            f"with {name}, {best(bits)} heads lose least; as good as the best: {listed}",
            needs_full=True,
        ),
        f"{key}-sweet-spot-is-8-to-16": Finding(
            set(tied) == {8, 16},
            f"with {name} of width {D_MODEL}, as good as the best are {listed} heads",
            needs_full=True,
        ),
    }


def _gap_finding(sweeps: dict[str, Any]) -> Finding:
    """Whether a second block makes up for a part of what one head lacks."""
    gaps = {
        name: [a - b for a, b in zip(s["bits"]["1"], s["bits"][str(USUAL)], strict=True)]
        for name, s in sweeps.items()
    }
    pairs = zip(gaps["one block"], gaps["two blocks"], strict=True)
    narrowed = mean_interval([one - two for one, two in pairs])
    return Finding(
        narrowed.low > 0,
        f"the gap between one head and {USUAL} is {narrowed} bits per character wider with one "
        "block than with two",
        needs_full=True,
    )


def _scale_findings(data: Data) -> dict[str, Finding]:
    main: Bits = data["language"]["one block"]["bits"]
    scales: dict[str, Bits] = {name: scale["bits"] for name, scale in data["scales"].items()}
    by_width = {16: scales["16 wide"], D_MODEL: main, 128: scales["128 wide"]}
    favourites = {width: best(bits) for width, bits in by_width.items()}
    longer = scales["256 characters"]
    loss = fmean(main[str(best(main))][:SOME_SEEDS])  # of the same seeds
    loss_longer = fmean(longer[str(best(longer))])
    rates = {name: rate["bits"] for name, rate in data["rates"].items()}
    gaps = {
        f"{h} heads, {name} the rate": difference(bits, h, USUAL)
        for name, bits in rates.items()
        for h in RATE_HEADS
        if h != USUAL
    }
    steps = data["seconds per step"]
    ratio = {form: times[str(D_MODEL)] / times["1"] for form, times in steps.items()}
    return {
        "same-order-at-other-learning-rates": Finding(
            all(gap.mean > 0 for gap in gaps.values()),
            f"bits per character more than {USUAL} heads: "
            + "; ".join(f"{name} {gap}" for name, gap in gaps.items()),
            needs_full=True,
        ),
        "best-h-grows-with-width": Finding(
            favourites[16] < favourites[D_MODEL] < favourites[128],
            "; ".join(
                f"at width {width} the best of {', '.join(bits)} heads is {favourites[width]}, so "
                f"heads of {width // favourites[width]} numbers (as good, for all we know: "
                f"{', '.join(map(str, as_good_as_best(bits)))} heads)"
                for width, bits in by_width.items()
            ),
            needs_full=True,
        ),
        "long-context-was-learned": Finding(
            loss_longer < loss,
            f"with 256 characters of context the least loss is {loss_longer:.3f} bits per "
            f"character, with {best(longer)} heads; with 32 characters it is {loss:.3f}, and a "
            "model that had learned to use the longer context would lose less",
            needs_full=True,
        ),
        "width-one-is-slow": Finding(
            min(ratio.values()) > 1.2,
            f"a training step with {D_MODEL} heads takes {ratio['fused']:.1f} times as long as "
            f"with one in the fused form, {ratio['batched']:.1f} times in the batched form "
            "(roughly: on a busy machine)",
            needs_full=True,
        ),
    }
