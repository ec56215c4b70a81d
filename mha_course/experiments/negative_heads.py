"""Is a trained model better off without some of its heads?

Each head is removed alone, on many pieces of text, and the change of the loss is kept: a table of
heads × pieces. Some heads look harmful in any text by luck. So the pieces are split at random into
three parts, many times over: one part finds suspects, the second confirms them, and the third,
which has chosen nothing, shows what it does to remove all confirmed heads together.

A piece of text is a chunk for SmolLM2. MiniLM tells passages apart, so that the losses of passages
in one round depend on each other; there the piece is a round of passages, with its mean.

Two baselines say what luck alone would give: the changes with random signs, one sign for all heads
of a piece (no head matters); and the confirming part with its heads shuffled (heads matter, but
not the same ones in both parts).

The splits share their pieces. Their spread says how much depends on the split, and is no
confidence interval for other texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mha_course.experiments.intervals import t_bound
from mha_course.experiments.real_models import TITLES, Texts, of_each_model, text_piece
from mha_course.experiments.result import Data, Finding
from mha_course.experiments.run import Run
from mha_course.heads.gates import gates_without
from mha_course.heads.importance import leave_one_out

QUESTION = "Is a trained model better off without some of its heads?"
CLAIMS = ("C11",)
SEEDS, QUICK_SEEDS = 12, 2  # random splits of the text

FLIPS = 50  # of the signs, for each split
FAMILY = 0.05  # chance of a single wrong call among all heads of a model
FEW, SMALL = 0.05, 0.01  # shares of heads, and of the loss


FULL = (Texts("minilm", 48, 6, 24), Texts("smollm2", 48, 1, 18))
QUICK = (Texts("minilm", 16, 3, 6),)


def thirds(pieces: int, seed: int) -> tuple[list[int], list[int], list[int]]:
    """Split the numbers of the pieces at random in three equal parts; a rest is left out."""
    order = torch.randperm(pieces, generator=torch.Generator().manual_seed(seed)).tolist()
    third = pieces // 3
    return order[:third], order[third : 2 * third], order[2 * third : 3 * third]


def harmful(changes: Float[Tensor, "*heads pieces"]) -> Bool[Tensor, "*heads"]:
    """Whether the loss falls without the head, and the 95 % t-interval of its mean excludes zero.

    Raises:
        ValueError: fewer than two pieces.
    """
    bound = t_bound(changes.shape[-1])
    return _t_values(changes) < -bound


class Split(NamedTuple):
    """What one split of the text says.

    Attributes:
        suspects: Heads that look harmful in the finding part.
        confirmed: Those of them that look harmful in the confirming part, too.
        suspects_by_signs: Suspects to be expected if no head mattered.
        confirmed_by_signs: The same for confirmed heads.
        confirmed_by_shuffling: Confirmed heads to be expected if the parts had nothing in common.
    """

    suspects: Bool[Tensor, "layers h"]
    confirmed: Bool[Tensor, "layers h"]
    suspects_by_signs: float
    confirmed_by_signs: float
    confirmed_by_shuffling: float


def judge(
    finding: Float[Tensor, "layers h pieces"],
    confirming: Float[Tensor, "layers h pieces"],
    seed: int,
) -> Split:
    """Find suspects, confirm them, and say what luck would give.

    Args:
        finding: Changes of the loss in the finding part.
        confirming: The same in the confirming part.
        seed: Of the random signs.
    """
    suspects, again = harmful(finding), harmful(confirming)
    by_luck = []
    generator = torch.Generator().manual_seed(seed)
    for _ in range(FLIPS):
        one, two = (
            harmful(part * _signs(part.shape[-1], generator)) for part in (finding, confirming)
        )
        by_luck.append((int(one.sum()), int((one & two).sum())))
    return Split(
        suspects,
        suspects & again,
        fmean(found for found, _ in by_luck),
        fmean(kept for _, kept in by_luck),
        int(suspects.sum()) * int(again.sum()) / suspects.numel(),
    )


def certain(changes: Float[Tensor, "layers h pieces"]) -> dict[str, list[list[int]]]:
    """Heads that help and heads that hurt beyond doubt, in all pieces together.

    Each head is tested by a t-test, at a level so low that among all heads even a single wrong
    call is unlikely: `FAMILY` in all, divided by the number of heads (Bonferroni).
    """
    bound = t_bound(changes.shape[-1], risk=FAMILY / changes[..., 0].numel())
    t = _t_values(changes)
    return {"help": (t > bound).nonzero().tolist(), "hurt": (t < -bound).nonzero().tolist()}


def _t_values(changes: Float[Tensor, "*heads pieces"]) -> Float[Tensor, "*heads"]:
    """Mean change of each head, in standard errors."""
    standard_error: Tensor = changes.std(-1) / changes.shape[-1] ** 0.5
    return changes.mean(-1) / standard_error


# ----------------------------------------------------------------------------- the experiment


def measure(run: Run) -> Data:
    """Remove every head alone on every piece, then split the pieces again and again."""
    texts = QUICK if run.quick else FULL
    alone = run.map(
        "one head removed",
        _alone,
        {f"{t.name} piece {i}": (t, i) for t in texts for i in range(t.pieces)},
    )
    data, jobs = {}, {}
    for t in texts:
        found = [alone[f"{t.name} piece {i}"] for i in range(t.pieces)]
        changes = torch.stack([piece["changes"] for piece in found], dim=-1)
        splits = []
        for seed in run.seeds:
            parts = thirds(t.pieces, seed)
            finding, confirming, shown = (changes[..., part] for part in parts)
            split = judge(finding, confirming, seed)
            suspects, confirmed = split.suspects.nonzero(), split.confirmed.nonzero()
            splits.append(
                {
                    "suspects": suspects.tolist(),
                    "confirmed": confirmed.tolist(),
                    "suspects by signs": split.suspects_by_signs,
                    "confirmed by signs": split.confirmed_by_signs,
                    "confirmed by shuffling": split.confirmed_by_shuffling,
                    # each removed alone, on the part that has chosen nothing
                    "confirmed, alone": shown[split.confirmed].mean(-1).tolist(),
                    "suspects, alone": shown[split.suspects].mean(-1).tolist(),
                    "shown": parts[2],
                }
            )
            closed = {
                "confirmed": confirmed.tolist(),
                "suspects": suspects.tolist(),
                "random": _random_heads(len(confirmed), changes.shape[:2], seed),
            }
            jobs[f"{t.name} split {seed}"] = (t, parts[2], closed)
        data[t.name] = {
            **t._asdict(),
            "unit": found[0]["unit"],
            "chance": found[0]["chance"],
            "intact": [piece["intact"] for piece in found],
            "changes": changes.tolist(),
            "certain": certain(changes),
            "splits": splits,
        }
    together = run.map("heads removed together", _together, jobs)
    for t in texts:
        for seed, split in zip(run.seeds, data[t.name]["splits"], strict=True):
            losses = together[f"{t.name} split {seed}"]
            intact = [data[t.name]["intact"][i] for i in split["shown"]]
            split["together"] = {
                kind: [a - b for a, b in zip(after, intact, strict=True)]
                for kind, after in losses.items()
            }
    return {"models": data}


def _alone(texts: Texts, number: int) -> dict[str, Any]:
    batch = text_piece(texts, number)
    with torch.no_grad():
        intact = batch.losses().mean().item()
    changes = leave_one_out([batch]).mean(-1)
    return {"changes": changes, "intact": intact, "unit": batch.unit, "chance": batch.chance}


def _together(
    texts: Texts, shown: Sequence[int], closed: dict[str, list[list[int]]]
) -> dict[str, list[float]]:
    """Loss of each piece with these heads closed; nothing where there are none to close."""
    losses: dict[str, list[float]] = {}
    for number in shown:
        batch = text_piece(texts, number)
        for kind, heads in closed.items():
            if heads:
                gates = gates_without(batch.num_layers, batch.num_heads, heads)
                with torch.no_grad():
                    losses.setdefault(kind, []).append(batch.losses(gates).mean().item())
    return losses


def _signs(pieces: int, generator: torch.Generator) -> Float[Tensor, " pieces"]:
    return torch.randint(0, 2, (pieces,), generator=generator) * 2.0 - 1


def _random_heads(count: int, shape: Sequence[int], seed: int) -> list[list[int]]:
    layers, heads = shape
    order = torch.randperm(layers * heads, generator=torch.Generator().manual_seed(seed))
    return [[i // heads, i % heads] for i in order[:count].tolist()]


# ---------------------------------------------------------------------------------- findings


class Summary(NamedTuple):
    """Means over the splits of one model.

    Attributes:
        heads: Heads of the model.
        suspects: Heads that look harmful in the finding part.
        confirmed: Those of them that look harmful in the confirming part, too.
        by_signs: Confirmed heads to be expected if no head mattered.
        by_shuffling: The same if the two parts had nothing in common.
        better: Splits in which removing all confirmed heads lowered the loss of the third part.
        tried: Splits with a confirmed head.
        together: Change of the loss when all confirmed heads go; 0 in a split that has none.
        at_random: The same for as many random heads.
        alone: Largest gain from removing one confirmed head, in the third part; 0 if there is none.
        intact: Loss of the whole model.
        help: Heads that help beyond doubt, in all pieces together.
        hurt: Heads that hurt beyond doubt.
    """

    heads: int
    suspects: float
    confirmed: float
    by_signs: float
    by_shuffling: float
    better: int
    tried: int
    together: float
    at_random: float
    alone: float
    intact: float
    help: int
    hurt: int


def summary(found: Data) -> Summary:
    """Sum up the splits of one model, from the data of the experiment."""
    splits = found["splits"]
    together = [fmean(s["together"].get("confirmed", [0.0])) for s in splits]
    return Summary(
        heads=sum(len(layer) for layer in found["changes"]),
        suspects=fmean(len(s["suspects"]) for s in splits),
        confirmed=fmean(len(s["confirmed"]) for s in splits),
        by_signs=fmean(s["confirmed by signs"] for s in splits),
        by_shuffling=fmean(s["confirmed by shuffling"] for s in splits),
        better=sum(change < 0 for change in together),
        tried=sum(bool(s["confirmed"]) for s in splits),
        together=fmean(together),
        at_random=fmean(fmean(s["together"].get("random", [0.0])) for s in splits),
        alone=max([0.0, *(-change for s in splits for change in s["confirmed, alone"])]),
        intact=fmean(found["intact"]),
        help=len(found["certain"]["help"]),
        hurt=len(found["certain"]["hurt"]),
    )


def findings(data: Data) -> dict[str, Finding]:
    """Say how many heads hurt, and how much."""
    of = {name: summary(found) for name, found in data["models"].items()}
    counted = "; ".join(
        f"{name}: {s.suspects:.1f} of {s.heads} heads look harmful in a third of the text, "
        f"{s.confirmed:.1f} again in another third"
        for name, s in of.items()
    )
    return {
        "few-heads-hurt": Finding(
            all(s.confirmed <= FEW * s.heads for s in of.values()),
            f"{counted} (means over splits)",
        ),
        "suspects-seldom-confirmed": Finding(
            all(s.confirmed <= s.suspects / 2 for s in of.values()),
            f"{counted} (means over splits)",
        ),
        **of_each_model("more-than-luck", of, _more_than_luck),
        **of_each_model("certain", of, _certain),
        **of_each_model("better-without", of, _better_without),
        "one-head-gains-little": Finding(
            all(s.alone <= SMALL * s.intact for s in of.values()),
            "; ".join(
                f"{name}: the confirmed head with the largest gain lowers the loss by "
                f"{s.alone:.4f} nats of {s.intact:.2f} in the third part"
                for name, s in of.items()
            ),
            needs_full=True,
        ),
    }


def _more_than_luck(name: str, s: Summary) -> Finding:
    """At least one confirmed head in a split, on average, and twice what luck would give."""
    return Finding(
        s.confirmed >= max(1, 2 * s.by_signs, 2 * s.by_shuffling),
        f"{TITLES[name]}: {s.confirmed:.2f} heads are confirmed on average; {s.by_signs:.2f} would "
        f"be if no head mattered, {s.by_shuffling:.2f} if the two parts had nothing in common",
        needs_full=True,
    )


def _certain(name: str, s: Summary) -> Finding:
    return Finding(
        s.hurt > 0,
        f"{TITLES[name]}: of {s.heads} heads, {s.help} help and {s.hurt} hurt beyond doubt in all "
        f"pieces together (at most {FAMILY:.0%} risk of a single wrong call)",
        needs_full=True,
    )


def _better_without(name: str, s: Summary) -> Finding:
    return Finding(
        s.tried > 0 and s.better >= 0.9 * s.tried,
        f"{TITLES[name]}: removing all confirmed heads lowers the loss of the untouched third in "
        f"{s.better} of {s.tried} splits that have any; mean change {s.together:+.4f} nats "
        f"({s.together / s.intact:+.1%} of the loss), as many random heads {s.at_random:+.4f}",
        needs_full=True,
    )
