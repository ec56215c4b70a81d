"""Do parallel heads give better gradient flow?

The claim does not say what "better" is. Four meanings can be measured, each against one head, at
equal parameters (d_model is fixed, the heads share it):

- size: the gradient that reaches the first layer, relative to that of the last one. Flow is bad
  if this falls towards 0 or grows without bound, so near 1 is best.
- agreement: the cosine between the gradients of two batches, in the first layer. It says how much
  of the gradient is signal.
- searching: the share of the first layer's gradient that goes to W_Q and W_K, which decide where
  a head looks.
- speed: steps of training to half the loss of guessing.

The first three are taken before training and after some steps of it, in stacks of 2, 8 and 24
layers, with the residual path around each layer and without it. The stack is the tiny transformer.
Without the residual path its layers are norm and attention alone: x ↦ attention(norm(x)). The speed
is that of the two-layer model that learns to copy. Models with the same seed have the same weights,
cut into heads differently: the initialisation does not depend on the number of heads. So they are
compared seed by seed.

A gradient's size depends on how a model is parametrised, and Adam takes most of it away. So what
counts in the end is the speed.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import log10
from statistics import fmean
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mha_course.experiments.emergence import fresh_sequences
from mha_course.experiments.emergence.roles import half_of
from mha_course.experiments.intervals import Interval, mean_interval
from mha_course.experiments.result import Data, Finding
from mha_course.experiments.run import Run
from mha_course.experiments.tiny_transformer import (
    BATCH_SIZE,
    Layer,
    TinyTransformer,
    draw,
    fit,
    guessing,
)
from mha_course.multi_head import MultiHeadAttention

QUESTION = "Do parallel heads give better gradient flow?"
CLAIMS = ("C35",)
SEEDS, QUICK_SEEDS = 5, 2

D_MODEL = 32
HEADS = (1, 2, 4, 8, 16)
DEPTHS = (2, 8, 24)
MEASURES = ("size", "agreement", "searching")


class Size(NamedTuple):
    """How much is done.

    Args:
        heads: Numbers of heads.
        depths: Numbers of layers.
        trained: Steps of training after which the gradients are measured again.
        steps: Of training where the speed is measured.
        speed_seeds: Models for each number of heads there, as a multiple of the seeds.
    """

    heads: tuple[int, ...] = HEADS
    depths: tuple[int, ...] = DEPTHS
    trained: int = 20
    steps: int = 400
    speed_seeds: int = 2


FULL = Size()
QUICK = Size(heads=(1, 4), depths=(2, 8), trained=3, steps=5, speed_seeds=1)


class BareLayer(Layer):
    """A layer without the residual path: attention(norm(x))."""

    def forward(
        self, x: Float[Tensor, "B T d_model"], head_gates: Float[Tensor, "*gates h"] | None
    ) -> Float[Tensor, "B T d_model"]:
        """Let each token take from those before it, and keep nothing of itself besides."""
        mixed: Tensor = self.attention(self.norm(x), is_causal=True, head_gates=head_gates)
        return mixed


def stack(depth: int, num_heads: int, seed: int, *, residual: bool) -> TinyTransformer:
    """Return a tiny transformer of this depth, with the residual path or without."""
    model = TinyTransformer(depth, num_heads, D_MODEL, seed=seed)
    if not residual:
        bare = []
        for layer in model.layers:
            with torch.random.fork_rng(devices=[]):
                bare.append(BareLayer(D_MODEL, num_heads))
            bare[-1].load_state_dict(layer.state_dict())
        model.layers = nn.ModuleList(bare)
    return model


def measure(run: Run) -> Data:
    """Measure the gradients of every stack, and the speed of the shallow one."""
    size = QUICK if run.quick else FULL
    grid = list(product((True, False), size.depths, size.heads))
    jobs = {
        f"{'residual' if residual else 'bare'} {depth} {heads}": (
            residual,
            depth,
            heads,
            run.seeds,
            size.trained,
        )
        for residual, depth, heads in grid
    }
    flows = run.map("stacks", _flows, jobs)
    seeds = range(len(run.seeds) * size.speed_seeds)
    speeds = run.map(
        "speed",
        _speed,
        {f"speed {h} {seed}": (h, seed, size.steps) for h in size.heads for seed in seeds},
    )
    ids = fresh_sequences()
    return {
        "heads": list(size.heads),
        "depths": list(size.depths),
        "trained": size.trained,
        "steps": size.steps,
        "guessing": guessing(ids).mean().item(),
        "parameters": [
            sum(p.numel() for p in stack(2, h, 0, residual=True).parameters()) for h in size.heads
        ],
        "stacks": [
            {"residual": residual, "depth": depth, "heads": heads, **flow}
            for (residual, depth, heads), flow in zip(grid, flows.values(), strict=True)
        ],
        "speed": {
            str(h): {
                name: [speeds[f"speed {h} {seed}"][name] for seed in seeds]
                for name in ("half", "loss")
            }
            for h in size.heads
        },
    }


def _flows(
    residual: bool, depth: int, num_heads: int, seeds: Sequence[int], trained: int
) -> dict[str, Any]:
    """For each seed, the three measures before training and after some of it."""
    rows: dict[str, dict[str, list[float]]] = {
        when: {name: [] for name in MEASURES} for when in ("before", "after")
    }
    losses = []
    for seed in seeds:
        model = stack(depth, num_heads, seed, residual=residual)
        for when in ("before", "after"):
            if when == "after":
                losses.append(fit(model, steps=trained, seed=seed)[-1])
            for name, value in flow(model, seed=1_000_000 + seed).items():
                rows[when][name].append(value)
    return {**rows, "loss": losses}


def flow(model: TinyTransformer, *, seed: int) -> dict[str, float]:
    """Measure the gradient of the loss, on two batches."""
    generator = torch.Generator().manual_seed(seed)
    one, other = (gradients(model, generator) for _ in range(2))
    first, last = (torch.cat(list(one[i].values())) for i in (0, -1))
    again = torch.cat(list(other[0].values()))
    searching = torch.cat([one[0]["w_q"], one[0]["w_k"]])
    return {
        "size": _ratio(first.norm(), last.norm()),
        "agreement": torch.cosine_similarity(first, again, dim=0).item(),
        "searching": _ratio(searching.square().sum(), first.square().sum()),
    }


def gradients(
    model: TinyTransformer, generator: torch.Generator
) -> list[dict[str, Float[Tensor, " numbers"]]]:
    """Gradient of the loss on a fresh batch, for the weights of each projection of each layer."""
    model.zero_grad()
    model.losses(draw(BATCH_SIZE, generator)).mean().backward()  # type: ignore[no-untyped-call]
    found = []
    for layer in model.layers:
        assert isinstance(layer, Layer)  # a ModuleList does not say what it holds
        found.append(_of_projections(layer.attention))
    return found


def _of_projections(attention: MultiHeadAttention) -> dict[str, Tensor]:
    found = {}
    for name in ("w_q", "w_k", "w_v", "w_o"):
        gradient = getattr(attention, name).weight.grad
        assert gradient is not None  # backward has been called
        found[name] = gradient.double().flatten().clone()  # 64 bits: squares of tiny numbers
    return found


def _ratio(a: Tensor, b: Tensor) -> float:
    return (a / b).item()


def _speed(num_heads: int, seed: int, steps: int) -> dict[str, float]:
    """Steps to half the loss of guessing, and the loss at the end, of the two-layer model."""
    ids = fresh_sequences()
    model = TinyTransformer(2, num_heads, D_MODEL, seed=seed)
    history = fit(model, steps=steps, seed=seed)
    with torch.no_grad():
        loss = model.losses(ids).mean().item()
    return {"half": half_of(history, guessing(ids).mean().item() / 2), "loss": loss}


# ------------------------------------------------------------------------------------- findings


def gains(data: Data, measure: str) -> dict[tuple[bool, int, str, int], Interval]:
    """How much better than one head, seed by seed; above 0 is better.

    For size it is how much nearer it is to 1, for searching how much larger, both in powers of
    ten; for agreement the difference of the cosines. The key is (residual, depth, when, heads).
    """
    found = {}
    for of in data["stacks"]:
        one = _stack(data, of["residual"], of["depth"], 1)
        if of is one:
            continue
        for when in ("before", "after"):
            pairs = zip(one[when][measure], of[when][measure], strict=True)
            found[of["residual"], of["depth"], when, of["heads"]] = mean_interval(
                [_gain(measure, a, b) for a, b in pairs]
            )
    return found


def _gain(measure: str, one: float, several: float) -> float:
    if measure == "size":
        return abs(log10(one)) - abs(log10(several))
    if measure == "searching":
        return log10(several / one)
    return several - one


def _stack(data: Data, residual: bool, depth: int, heads: int) -> dict[str, Any]:
    wanted = (residual, depth, heads)
    of_all = data["stacks"]
    return next(of for of in of_all if (of["residual"], of["depth"], of["heads"]) == wanted)


def findings(data: Data) -> dict[str, Finding]:
    """Say for each meaning whether more heads are better than one."""
    return {
        "equal-parameters": Finding(
            len(set(data["parameters"])) == 1,
            f"every model of two layers has {' or '.join(map(str, set(data['parameters'])))} "
            "parameters, whatever its number of heads",
        ),
        "size-is-better": _better(data, "size", "the gradients of first and last layer are closer"),
        "agreement-is-better": _better(data, "agreement", "gradients of two batches agree more"),
        "searching-is-better": _better(data, "searching", "more of the gradient is for W_Q, W_K"),
        "residual-path-decides": _residual(data),
        **_of_speed(data),
    }


def _better(data: Data, measure: str, what: str) -> Finding:
    cells = gains(data, measure)
    up = sum(interval.low > 0 for interval in cells.values())
    down = sum(interval.high < 0 for interval in cells.values())
    deepest, most = max(data["depths"]), max(data["heads"])
    values = {
        heads: mean_interval(_stack(data, True, deepest, heads)["before"][measure])
        for heads in (1, most)
    }
    return Finding(
        up > len(cells) / 2,
        f"{what} than with one head in {up} of {len(cells)} comparisons, less so in {down}, and "
        f"undecided in the others; {deepest} layers with the residual path, before training: "
        f"{values[1]} with one head, {values[most]} with {most}",
        needs_full=True,
    )


def _residual(data: Data) -> Finding:
    deepest = max(data["depths"])
    searching = {
        residual: [
            fmean(map(log10, _stack(data, residual, deepest, heads)["before"]["searching"]))
            for heads in data["heads"]
        ]
        for residual in (True, False)
    }
    by_path = fmean(searching[True]) - fmean(searching[False])
    by_heads = max(max(values) - min(values) for values in searching.values())
    return Finding(
        by_path > 3 * by_heads,
        f"in {deepest} layers, before training, the residual path multiplies the share of the "
        f"gradient for W_Q and W_K by 10^{by_path:.1f}; the number of heads changes it by "
        f"10^{by_heads:.1f} at most",
    )


def _of_speed(data: Data) -> dict[str, Finding]:
    half = {int(heads): of["half"] for heads, of in data["speed"].items()}
    sooner = {
        heads: mean_interval([a - b for a, b in zip(half[1], steps, strict=True)])
        for heads, steps in half.items()
        if heads > 1
    }
    best = max(sooner, key=lambda heads: sooner[heads].mean)
    most = max(half)
    never = {heads: sum(step == data["steps"] for step in steps) for heads, steps in half.items()}
    told = ", ".join(f"{heads} heads {mean_interval(half[heads])}" for heads in half)
    return {
        "several-learn-sooner": Finding(
            any(interval.low > 0 for interval in sooner.values()),
            f"steps to half the loss of guessing: {told}; {best} heads are sooner than one by "
            f"{sooner[best]} steps",
            needs_full=True,
        ),
        "most-learn-soonest": Finding(
            best == most and sooner[most].low > 0,
            f"{most} heads, {D_MODEL // most} wide, are sooner than one by {sooner[most]} steps; "
            f"not there after {data['steps']} steps: "
            + ", ".join(
                f"{number} of {len(half[heads])} ({heads})" for heads, number in never.items()
            ),
            needs_full=True,
        ),
    }
