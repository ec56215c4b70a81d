"""When one head goes wrong, do the others make up for it? And can training prepare them?

Trained models. One head at a time is removed, or gets noise as large as its own output, and the
loss is measured: the damage. That the damage is small does not show that others make up for the
head: it may have had little to say. So every removal is measured twice. Once as it is, with later
heads free to react. And once with the outputs of all heads of later layers held at what they were
in the intact model, so that they cannot notice. Damage held minus damage free is what the later
heads made up for; below zero, they made it worse, since they needed the head themselves. Heads of
the same layer cannot react at all: they work at the same time.

Feed-forward layers are free in both runs. What they make up for is in neither number.

Trained here: small transformers with and without head dropout, for equally many steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from statistics import fmean, median
from typing import Any, Literal, NamedTuple, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from mha_course.experiments.intervals import Interval, mean_interval
from mha_course.experiments.real_models import (
    TITLES,
    Texts,
    model,
    of_each_model,
    piece_chunks,
)
from mha_course.experiments.result import NOT_MEASURED, Data, Finding
from mha_course.experiments.run import Run
from mha_course.experiments.tiny_transformer import TinyTransformer, draw, fit, guessing
from mha_course.heads.gates import gates_without
from mha_course.heads.objectives import objective
from mha_course.heads.text_model import TextModel

QUESTION = "When one head goes wrong, do the others make up for it?"
CLAIMS = ("C20", "C32")
SEEDS, QUICK_SEEDS = 8, 2  # of the models trained here

Harm = Literal["removed", "held", "noise"]
"""What is done to a head: it puts out nothing; the same, and later heads are held at what they put
out in the intact model; or noise is added that is as large as its output."""

SHARES = (0.0, 0.1, 0.3)  # of heads dropped in training
STEPS = (400, 800)
QUICK_SHARES, QUICK_STEPS = (0.0, 0.3), (400,)
CRITICAL = 0.05  # of what there is to lose: damage from which a head counts as critical
LITTLE = 0.01  # the same, below which it does little


# what each model reads, and how many heads of each layer to harm, drawn at random
FULL = ((Texts("minilm", 48, 6, 6), 12), (Texts("smollm2", 48, 1, 6), 1))
QUICK = ((Texts("minilm", 24, 4, 2), 2),)


# -------------------------------------------------------------------------------- one head


def edited(
    reader: TextModel, inputs: Tensor, edit: Callable[[int, Float[Tensor, "B h T d_head"]], None]
) -> Any:
    """Run a model while `edit` changes the outputs of the heads of each layer, in place.

    What a watch is shown is a view of what the layer goes on with, so writing to it is enough.

    Args:
        reader: The model.
        inputs: Token ids.
        edit: Gets the number of the layer and what its heads put out.
    """
    with torch.no_grad():
        return reader.run(inputs, watch=lambda layer, seen: edit(layer, seen.z))


def harmed_losses(
    reader: TextModel,
    ids: Tensor,
    layer: int,
    heads: Sequence[int],
    harm: Harm,
    *,
    seed: int = 0,
) -> Float[Tensor, "heads texts"]:
    """Loss of each text with one head of a layer harmed at a time.

    Args:
        reader: The model.
        ids: The texts.
        layer: Layer of the heads.
        heads: Heads to harm, each in a run of its own.
        harm: What is done to them.
        seed: Of the noise.
    """
    _, _, inputs, losses = objective(reader, ids)
    times = len(heads)
    intact: list[Tensor] = []
    if harm == "held":
        edited(reader, inputs, lambda _, z: intact.append(z.clone()))
    generator = torch.Generator().manual_seed(seed)

    def edit(at: int, z: Tensor) -> None:
        if at == layer:
            copies = z.view(times, -1, *z.shape[1:])  # [heads, B, h, T, d_head]
            for copy, head in zip(copies, heads, strict=True):
                if harm == "noise":
                    of_head = copy[:, head]
                    size = of_head.square().mean().sqrt()
                    of_head += size * torch.randn(of_head.shape, generator=generator)
                else:
                    copy[:, head] = 0
        elif at > layer and harm == "held":
            z.copy_(intact[at].repeat(times, 1, 1, 1))

    run = inputs.repeat(times, 1)
    return losses(lambda: edited(reader, run, edit), times).view(times, -1)


def sampled(num_heads: int, per_layer: int, layer: int) -> list[int]:
    """Draw heads of one layer, the same ones in every run; all of them if there are no more."""
    order = torch.randperm(num_heads, generator=torch.Generator().manual_seed(layer)).tolist()
    return sorted(order[:per_layer])


def eased(found: Data) -> Interval:
    """What the later heads of one model make up for: damage held minus damage free, in nats.

    It is the mean over all harmed heads that have later ones, with an interval over pieces. No
    heads are chosen for their damage: a choice would favour one of the two runs.

    Args:
        found: The data of one model.
    """
    rows = with_later_heads(found)
    pieces = range(len(found["intact"]))
    return mean_interval(
        [fmean(found["held"][i][p] - found["removed"][i][p] for i in rows) for p in pieces]
    )


def with_later_heads(found: Data) -> list[int]:
    """Numbers of the harmed heads that are not in the last layer: there, both runs are the same."""
    last = max(layer for layer, _ in found["heads"])
    return [i for i, (layer, _) in enumerate(found["heads"]) if layer < last]


def reactions(found: Data) -> tuple[int, int]:
    """Of how many heads later ones ease the removal, and of how many they make it worse.

    A head is counted if the interval over pieces excludes zero; by luck, 2.5 % on either side.
    """
    intervals = [
        mean_interval([h - f for h, f in zip(found["held"][i], found["removed"][i], strict=True)])
        for i in with_later_heads(found)
    ]
    return sum(i.low > 0 for i in intervals), sum(i.high < 0 for i in intervals)


# ----------------------------------------------------------------------------- the experiment


def measure(run: Run) -> Data:
    """Harm heads of trained models, and train models that lose heads on the way."""
    texts = QUICK if run.quick else FULL
    pieces = run.map(
        "one head harmed",
        _one_piece,
        {f"{t.name} piece {i}": (t, n, i) for t, n in texts for i in range(t.pieces)},
    )
    shares, steps = (QUICK_SHARES, QUICK_STEPS) if run.quick else (SHARES, STEPS)
    trained = run.map(
        "models",
        _one_model,
        {
            f"dropout {share}, {number} steps, seed {seed}": (share, number, seed)
            for share in shares
            for number in steps
            for seed in run.seeds
        },
    )
    return {
        "models": {
            t.name: _sum_up(t, n, [pieces[f"{t.name} piece {i}"] for i in range(t.pieces)])
            for t, n in texts
        },
        "trained": {
            f"{number} steps": {
                str(share): [
                    trained[f"dropout {share}, {number} steps, seed {seed}"] for seed in run.seeds
                ]
                for share in shares
            }
            for number in steps
        },
    }


def _one_piece(texts: Texts, per_layer: int, number: int) -> dict[str, Any]:
    """Damage of every harm to every head on one piece, and of the loss of whole layers of heads."""
    reader = model(texts.name)
    ids = piece_chunks(texts, number)
    unit, chance, inputs, losses = objective(reader, ids)
    with torch.no_grad():
        intact = losses(lambda: reader.run(inputs), 1).mean()
    damage: dict[str, list[Tensor]] = {harm: [] for harm in get_args(Harm)}
    whole_layers, heads = [], []
    for layer in range(reader.heads.num_layers):
        chosen = sampled(reader.heads.num_heads, per_layer, layer)
        heads += [[layer, head] for head in chosen]
        for harm in get_args(Harm):
            after = harmed_losses(reader, ids, layer, chosen, harm, seed=number)
            damage[harm].append(after.mean(-1) - intact)
        gates = torch.ones(reader.heads.num_layers, reader.heads.num_heads)
        gates[layer] = 0
        with torch.no_grad():
            without = losses(lambda gates=gates: reader.run(inputs, gates=gates), 1)  # type: ignore[misc]
        whole_layers.append((without.mean() - intact).item())
    return {
        "unit": unit,
        "chance": chance,
        "intact": intact.item(),
        "heads": heads,
        "whole layers": whole_layers,
        **{harm: torch.cat(parts).tolist() for harm, parts in damage.items()},
    }


def _sum_up(texts: Texts, per_layer: int, pieces: list[dict[str, Any]]) -> dict[str, Any]:
    """Put the pieces of one model side by side; damage is [heads][pieces]."""
    found: dict[str, Any] = {
        **texts._asdict(),
        "per_layer": per_layer,
        "unit": pieces[0]["unit"],
        "chance": pieces[0]["chance"],
        "heads": pieces[0]["heads"],
        "intact": [piece["intact"] for piece in pieces],
    }
    for kind in (*get_args(Harm), "whole layers"):
        found[kind] = torch.tensor([piece[kind] for piece in pieces]).T.tolist()
    return found


def _one_model(share: float, steps: int, seed: int) -> dict[str, Any]:
    """Train one small transformer, then remove each head, and each two."""
    tiny = TinyTransformer(seed=seed)
    fit(tiny, steps=steps, head_dropout=share, seed=seed)
    ids = draw(256, torch.Generator().manual_seed(10_000 + seed))
    heads = [(i, j) for i in range(tiny.num_layers) for j in range(tiny.num_heads)]

    def loss_without(*closed: tuple[int, int]) -> float:
        gates = gates_without(tiny.num_layers, tiny.num_heads, closed)
        with torch.no_grad():
            return tiny.losses(ids, gates).mean().item()

    intact = loss_without()
    return {
        "guessing": guessing(ids).mean().item(),
        "intact": intact,
        "removed": [loss_without(head) - intact for head in heads],
        "worst two": max(loss_without(*two) - intact for two in combinations(heads, 2)),
    }


# ---------------------------------------------------------------------------------- findings


class Damage(NamedTuple):
    """Damage of one harm over the heads of one model, as shares of what there is to lose.

    What there is to lose is the loss of a model that knows nothing, minus that of the intact one.

    Attributes:
        median: Damage of the head in the middle.
        worst: Damage of the worst head.
        little: Share of heads whose damage is below `LITTLE`.
        critical: Share of heads whose damage is above `CRITICAL`.
    """

    median: float
    worst: float
    little: float
    critical: float


def damage(found: Data, kind: str) -> Damage:
    """Sum up the damage of one kind of harm, from the data of one model."""
    to_lose = found["chance"] - fmean(found["intact"])
    shares = [fmean(pieces) / to_lose for pieces in found[kind]]
    return Damage(
        median(shares),
        max(shares),
        fmean(share < LITTLE for share in shares),
        fmean(share > CRITICAL for share in shares),
    )


def worst_share(trained: Data) -> float:
    """Damage of the worst removal in a model trained here, as a share of what it can lose."""
    return float(max(trained["removed"]) / (trained["guessing"] - trained["intact"]))


def findings(data: Data) -> dict[str, Finding]:
    """Say what one head's failure does, who makes up for it, and what head dropout changes."""
    models, trained = data["models"], data["trained"]
    first, last = next(iter(trained.values())), list(trained.values())[-1]
    worst = {share: mean_interval([worst_share(m) for m in runs]) for share, runs in last.items()}
    critical = {share: _critical(runs) for share, runs in last.items()}
    price = {
        name: mean_interval(
            [a["intact"] - b["intact"] for a, b in zip(runs["0.3"], runs["0.0"], strict=True)]
        )
        for name, runs in trained.items()
    }
    steps = list(trained)
    return {
        "one-head-does-little-harm": Finding(
            all(
                damage(found, kind).little > 0.5 and damage(found, kind).critical < 0.1
                for found in models.values()
                for kind in ("removed", "noise")
            ),
            "; ".join(
                f"{name}: {damage(found, kind).little:.0%} of heads cost less than {LITTLE:.0%} of "
                f"what there is to lose when {done}, {damage(found, kind).critical:.0%} more than "
                f"{CRITICAL:.0%}, the worst {damage(found, kind).worst:.1%}"
                for name, found in models.items()
                for kind, done in (("removed", "removed"), ("noise", "as much noise is added"))
            ),
            needs_full=True,
        ),
        **of_each_model("later-heads-make-up", models, _made_up),
        "later-heads-pass-the-damage-on": Finding(
            "smollm2" in models and eased(models["smollm2"]).high < 0,
            "; ".join(_reactions_say(name, found) for name, found in models.items()),
            needs_full=True,
        ),
        "without-dropout-heads-are-critical": Finding(
            critical["0.0"] > 0.5,
            f"without head dropout, {critical['0.0']:.0%} of models have a head whose removal "
            f"costs more than {CRITICAL:.0%} of what there is to lose; the worst removal costs "
            f"{worst['0.0']} of it",
        ),
        "dropout-leaves-no-critical-head": Finding(
            all(_critical(runs["0.3"]) == 0 for runs in trained.values()),
            _dropout_says(trained, "0.3"),
        ),
        "weak-dropout-needs-longer": _weak_dropout(trained),
        "longer-training-is-no-cure": Finding(
            _critical(last["0.0"]) > 0.5,
            f"critical heads without dropout: in {_critical(first['0.0']):.0%} of models after "
            f"{steps[0]}, in {_critical(last['0.0']):.0%} after {steps[-1]}",
            needs_full=True,
        ),
        "dropout-slows-learning": Finding(
            price[steps[0]].low > 0,
            "loss of the intact model with head dropout 0.3, minus that without: "
            + ", ".join(f"{interval} nats after {name}" for name, interval in price.items()),
            needs_full=True,
        ),
    }


def _critical(runs: list[Data]) -> float:
    return fmean(worst_share(m) > CRITICAL for m in runs)


def _weak_dropout(trained: Data) -> Finding:
    runs = [of_steps.get("0.1") for of_steps in trained.values()]
    if None in runs:
        return NOT_MEASURED
    return Finding(
        _critical(runs[0]) > 0 and _critical(runs[-1]) == 0,
        _dropout_says(trained, "0.1"),
        needs_full=True,
    )


def _dropout_says(trained: Data, share: str) -> str:
    return "; ".join(
        f"with head dropout {share}, {_critical(runs[share]):.0%} of models have a critical head "
        f"after {steps}, and the worst removal costs "
        f"{mean_interval([worst_share(m) for m in runs[share]])} of what there is to lose"
        for steps, runs in trained.items()
    )


def _made_up(name: str, found: Data) -> Finding:
    free, held = (
        fmean(fmean(found[kind][i]) for i in with_later_heads(found))
        for kind in ("removed", "held")
    )
    return Finding(
        eased(found).low > 0,
        f"{TITLES[name]}: a removal costs {free:.4f} nats on average with later heads free, and "
        f"{held:.4f} with later heads held; held minus free is {eased(found)}",
        needs_full=True,
    )


def _reactions_say(name: str, found: Data) -> str:
    easier, worse = reactions(found)
    number = len(with_later_heads(found))
    return (
        f"{name}: later heads make the removal of {worse} heads worse and that of {easier} easier, "
        f"of {number}; by luck {0.025 * number:.1f} each. Held minus free is {eased(found)} nats"
    )
