"""What the numbers of importance-and-pruning show."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from statistics import fmean
from typing import NamedTuple

import torch

from mha_course.experiments.importance_and_pruning.curves import (
    IN_NATS,
    METHODS,
    NATS,
    OF_CHANCE,
    OF_HEADS,
    largest_share,
)
from mha_course.experiments.intervals import Interval, mean_interval
from mha_course.experiments.real_models import of_each_model
from mha_course.experiments.result import Data, Finding


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
    untrained = [
        can_go(found, limit)
        for limit in (IN_NATS, OF_CHANCE, OF_HEADS)
        for found in models.values()
    ]
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
        **of_each_model("a-third-can-go-nats", models, partial(_third_can_go, limit=IN_NATS)),
        **of_each_model("a-third-can-go-chance", models, partial(_third_can_go, limit=OF_CHANCE)),
        **of_each_model("a-third-can-go-heads", models, partial(_third_can_go, limit=OF_HEADS)),
        **of_each_model("few-heads-carry-most", models, _few_carry),
        **of_each_model("single-removals-understate", models, _understate),
        "70-percent-cannot-go-untrained": Finding(
            all(go.best.mean < 0.7 for go in untrained),
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
