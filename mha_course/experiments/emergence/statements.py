"""What the numbers of `emergence` show."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from mha_course.experiments.emergence.lots import (
    Table,
    agreement,
    columns,
    counts,
    null_range,
    shuffled_p,
    smallest_share_found,
    uniform_p,
)
from mha_course.experiments.emergence.pair_roles import NUM_HEADS as PAIR_HEADS
from mha_course.experiments.emergence.roles import HEADS, ROLES, crossing
from mha_course.experiments.intervals import mean_interval
from mha_course.experiments.ranks import rank_correlation
from mha_course.experiments.result import Data, Finding

HALF = 0.5  # a head with this much of its weight on the wanted keys counts as one that has the role


def half_ways(data: Data) -> dict[str, list[float]]:
    """Step at which loss and scores of each model are half way; of scores, that of the best head.

    The loss is on its way from the loss of guessing among the tokens of the sequence: what comes
    before needs no role. A score is on its way from its value before training.
    """
    found: dict[str, list[float]] = {name: [] for name in ("loss", *ROLES)}
    for model in data["copying"]:
        level = (data["guessing"] + model["loss"][-1]) / 2
        found["loss"].append(crossing(data["records"], model["loss"], level))
        for role in ROLES:
            best = max(range(HEADS), key=lambda head: model[role][-1][head])
            values = [at[best] for at in model[role]]
            level = (values[0] + values[-1]) / 2
            found[role].append(crossing(data["records"], values, level))
    return found


def holders(data: Data, role: str, record: int = -1) -> list[int]:
    """For each model, the head with the highest score for a role."""
    return [max(range(HEADS), key=lambda head: m[role][record][head]) for m in data["copying"]]


def foreseen(data: Data, role: str) -> list[float]:
    """For each record, the share of models whose best head then is the best one in the end."""
    return [fmean(_as_foreseen(data, role, record)) for record in range(len(data["records"]))]


def findings(data: Data) -> dict[str, Finding]:
    """Say what the numbers show."""
    return {
        **_of_roles(data),
        **_of_lots(data),
        **_of_twins(data),
        **_of_plans(data),
    }


def _of_roles(data: Data) -> dict[str, Finding]:
    models, records = data["copying"], data["records"]
    best = {role: [max(m[role][-1]) for m in models] for role in ROLES}
    before = {role: [max(m[role][0]) for m in models] for role in ROLES}
    baseline = data["baselines"]["induction"]
    share = {
        role: mean_interval([sum(x >= HALF for x in m[role][-1]) for m in models]) for role in ROLES
    }
    half = half_ways(data)
    lag = {role: mean_interval(_minus(half["loss"], half[role])) for role in ROLES}
    together = rank_correlation(half["loss"], half["induction"])
    steepness = mean_interval([steep_share(records, m["loss"], data["guessing"]) for m in models])
    return {
        "induction-heads-appear": Finding(
            min(best["induction"]) >= HALF,
            f"the best head of layer 1 ends with an induction score of "
            f"{mean_interval(best['induction'])}, at least {min(best['induction']):.2f}; "
            f"before training it has {mean_interval(before['induction'])}, even weights get "
            f"{baseline['even weights']:.2f}, the best fixed distance "
            f"{baseline['best distance']:.2f}",
        ),
        "jump-together": Finding(
            abs(lag["induction"].mean) < 10 and together > 0.8,
            f"loss and induction score are half way {lag['induction']} steps apart (loss later), "
            f"over models their steps have a rank correlation of {together:.2f}; for the score of "
            f"the previous token it is {lag['previous']} steps",
            needs_full=True,
        ),
        "loss-jumps": Finding(
            steepness.high < 0.25,
            f"from 90 % to 10 % of its fall below guessing the loss takes {steepness} of the steps "
            "that it took to get to 10 %; a steady fall would take 0.89",
            needs_full=True,
        ),
        "heads-share-a-role": Finding(
            share["induction"].low > 1,
            f"{share['induction']} of {HEADS} heads of layer 1 end with at least half of their "
            f"weight on induction, {share['previous']} of layer 0 on the previous token",
            needs_full=True,
        ),
        **_of_ablation(data),
    }


def _of_ablation(data: Data) -> dict[str, Finding]:
    gap, found = {}, {}
    for layer, role in enumerate(ROLES):
        pairs = [(m[role][-1], m["cost"][layer]) for m in data["copying"]]
        gap[role] = (
            mean_interval([cost[_best(score)] for score, cost in pairs]),
            mean_interval([cost[_worst(score)] for score, cost in pairs]),
        )
        mean = fmean(rank_correlation(score, cost) for score, cost in pairs)
        found[role] = (mean, shuffled_p(pairs))
    # of the pair: what is left of each relation without the head that takes it
    own, other = [], []
    for at, without in zip(
        data["pairs"]["head of previous"], data["pairs"]["without"], strict=False
    ):
        previous, first = at[-1], 1 - at[-1]
        own += [without[previous][0], without[first][1]]
        other += [without[previous][1], without[first][0]]
    own_left, other_left = mean_interval(own), mean_interval(other)
    return {
        "role-matters": Finding(
            gap["previous"][0].low > gap["previous"][1].high and found["previous"][1] < 0.01,
            "without the head of layer 0 that looks back most the loss rises by "
            f"{gap['previous'][0]}, without the one that does so least by {gap['previous'][1]}; "
            f"score and cost of the heads have a mean rank correlation of "
            f"{found['previous'][0]:.2f}, p = {found['previous'][1]:.4f} if scores are shuffled",
            needs_full=True,
        ),
        "shared-role-is-cheap-to-lose": Finding(
            gap["induction"][0].high < gap["previous"][0].low,
            "in layer 1, where all heads have the role, the loss rises by "
            f"{gap['induction'][0]} without the best one and by {gap['induction'][1]} without the "
            f"last one; rank correlation {found['induction'][0]:.2f}, "
            f"p = {found['induction'][1]:.4f}",
            needs_full=True,
        ),
        "double-dissociation": Finding(
            own_left.high < 0.2 and other_left.low > 0.8,
            f"of the pair, without the head of one relation {own_left} of that relation is "
            f"explained, and {other_left} of the other one",
        ),
    }


def _of_lots(data: Data) -> dict[str, Finding]:
    taken: dict[str, tuple[list[int], int]] = {
        "previous": (holders(data, "previous"), HEADS),
        "induction": (holders(data, "induction"), HEADS),
        "pair": ([at[-1] for at in data["pairs"]["head of previous"]], PAIR_HEADS),
    }
    p = {name: uniform_p(heads, number) for name, (heads, number) in taken.items()}
    tables: dict[str, Table] = {
        "previous": [row["previous"] for row in data["crossed"]],
        "induction": [row["induction"] for row in data["crossed"]],
        "pair": data["pairs crossed"],
    }
    same_init = {name: mean_interval(agreement(table)) for name, table in tables.items()}
    same_order = {name: _mean_agreement(columns(table)) for name, table in tables.items()}
    chance = {name: 1 / number for name, (_, number) in taken.items()}
    null = {
        name: null_range(table, taken[name][1], lambda t: _mean_agreement(columns(t)))
        for name, table in tables.items()
    }
    first = {role: mean_interval(_as_foreseen(data, role, 0)) for role in ROLES}
    pair_first = mean_interval([float(at[0] == at[-1]) for at in data["pairs"]["head of previous"]])
    return {
        "no-index-is-favoured": Finding(
            min(p.values()) > 0.01,
            "how often each head has the role: "
            + "; ".join(
                f"{name} {counts(heads, number)}, p = {p[name]:.2f}, a share of "
                f"{smallest_share_found(len(heads), number):.2f} would be found in 8 of 10 cases"
                for name, (heads, number) in taken.items()
            ),
            needs_full=True,
        ),
        "weights-decide-who": Finding(
            all(same_init[name].low > chance[name] for name in tables),
            "with the same initial weights two data orders give the role to the same head in a "
            "share of "
            + "; ".join(f"{n} {same_init[n]}, by chance {chance[n]:.2f}" for n in tables),
            needs_full=True,
        ),
        "weights-alone-decide": Finding(
            all(same_init[name].low > 0.99 for name in tables),
            "if the initial weights decided alone, all data orders would agree; they do so in a "
            "share of " + "; ".join(f"{n} {same_init[n]}" for n in tables),
            needs_full=True,
        ),
        "order-alone-decides-nothing": Finding(
            # an influence of the order could only make them agree more than by chance
            all(same_order[n] <= null[n][1] for n in tables),
            "with the same data order two initialisations agree in a share of "
            + "; ".join(
                f"{n} {same_order[n]:.3f}, by chance {null[n][0]:.3f} to {null[n][1]:.3f}"
                for n in tables
            ),
            needs_full=True,
        ),
        "first-scores-foretell": Finding(
            all(first[role].low > chance[role] for role in ROLES) and pair_first.low > 0.5,
            "the head with the best score before training is the best one in the end in a share "
            f"of {first['previous']} (previous) and {first['induction']} (induction), by chance "
            f"{1 / HEADS}; of the pair {pair_first}, by chance 0.5",
            needs_full=True,
        ),
    }


def _of_twins(data: Data) -> dict[str, Finding]:
    twins, pairs = data["twins"], data["pair twins"]
    gradients = [x for of_form in data["gradients"].values() for x in of_form]
    loss = {name: mean_interval(of["loss"]) for name, of in twins.items()}
    apart = {name: [d[-1] for d in of["difference"]] for name, of in twins.items()}
    explains = {name: mean_interval(of["explained"]) for name, of in pairs.items()}
    still = max(max(d) for d in (*twins["alike"]["difference"], *pairs["alike"]["difference"]))
    grown = pairs["alike, noise 1e-6"]
    start, end = (mean_interval([d[i] for d in grown["difference"]]) for i in (0, -1))
    distance = {name: mean_interval(of["distance"]) for name, of in twins.items()}
    gap = mean_interval(
        _minus(pairs["alike"]["explained"], pairs["one head of the same width"]["explained"])
    )
    rounding = "alike, sizes where bits differ"
    return {
        "gradients-alike": Finding(
            max(gradients) < 1e-6,
            f"gradients of heads that are alike are equal to the last bit in "
            f"{sum(x == 0 for x in gradients)} of {len(gradients)} cases, and differ by "
            f"{max(gradients):.1e} of the largest number at most",
        ),
        "twins-stay-alike": Finding(
            still == 0,
            f"heads that start alike differ by {still:.1e} at most during training, in both tasks",
            needs_full=True,  # to the last bit: on another processor, rounding may part them
        ),
        "twins-fail-the-pair": Finding(
            explains["alike"].high <= 0.51 and explains["as drawn"].low > 0.95,
            f"two heads that start alike explain {explains['alike']} of the pair, as drawn "
            f"{explains['as drawn']}",
        ),
        "twins-are-one-narrow-head": Finding(
            abs(gap.mean) < 0.01,
            f"one head of the same width explains {explains['one head of the same width']} of the "
            f"pair: twins are {gap.mean:+.4f} away; in copying the loss is "
            f"{loss['one head of the same width']} for one head, {loss['alike']} for four twins "
            f"and {loss['as drawn']} for four as drawn",
        ),
        "copying-forgives-twins": Finding(
            loss["alike"].high < data["guessing"] / 10,
            f"in copying, four heads that stay alike end at a loss of {loss['alike']}, as drawn "
            f"{loss['as drawn']}, guessing {data['guessing']:.2f}",
            needs_full=True,
        ),
        "tiny-noise-suffices": Finding(
            explains["alike, noise 1e-6"].low > 0.95,
            f"noise of 1e-6 in the weights: the difference between two twins grows from "
            f"{start.mean:.1e} to {end.mean:.1e}, and they explain {explains['alike, noise 1e-6']} "
            "of the pair",
            needs_full=True,
        ),
        "no-need-no-split": Finding(
            distance["alike, noise 1e-6"].high < distance["as drawn"].low / 10,
            "in copying, where heads can share a role, the same noise leaves the attention of two "
            f"heads {distance['alike, noise 1e-6']} apart, noise of 1e-3 "
            f"{distance['alike, noise 1e-3']}, drawn as usual {distance['as drawn']}",
            needs_full=True,
        ),
        "rounding-is-noise": Finding(
            min(apart[rounding]) > 1e-4,
            "where sizes make the gradients differ in their last bits, rounding alone lets the "
            f"difference grow to {mean_interval(apart[rounding])}; in the other sizes it is "
            f"{max(apart['alike']):.0e}",
            needs_full=True,
        ),
        "head-dropout-breaks-it": Finding(
            min(apart["alike, head dropout 0.1"]) > 0.1,
            "with head dropout, heads that start alike end "
            f"{mean_interval(apart['alike, head dropout 0.1'])} apart, and their attention "
            f"{distance['alike, head dropout 0.1']}",
            needs_full=True,
        ),
        "half-alike-is-not-alike": Finding(
            distance["alike in W_Q and W_K"].low > 0.05,
            "heads that start alike in W_Q and W_K alone end with attention "
            f"{distance['alike in W_Q and W_K']} apart, alike in W_V and W_O alone "
            f"{distance['alike in W_V and W_O']}",
            needs_full=True,
        ),
    }


def _of_plans(data: Data) -> dict[str, Finding]:
    plans = data["by hand"]
    free = plans["nothing"]
    sooner = {name: mean_interval(_minus(free["half"], of["half"])) for name, of in plans.items()}
    loss = {name: mean_interval(of["loss"]) for name, of in plans.items()}
    right = ("previous", "induction", "both")
    return {
        "right-hand-is-sooner": Finding(
            all(sooner[name].low > 0 for name in right),
            "heads given by hand bring the loss to half of guessing sooner, by steps: "
            + ", ".join(f"{name} {sooner[name]}" for name in right)
            + f"; without help it takes {mean_interval(free['half'])}",
            needs_full=True,
        ),
        "right-hand-ends-better": Finding(
            all(loss[name].high < loss["nothing"].low for name in right),
            "loss at the end: " + ", ".join(f"{name} {loss[name]}" for name in ("nothing", *right)),
            needs_full=True,
        ),
        "wrong-hand-is-later": Finding(
            sooner["wrong: first token"].high < 0,
            "with one head fixed to the first token it takes "
            f"{-sooner['wrong: first token'].mean:.1f} steps longer (sooner by "
            f"{sooner['wrong: first token']}), and the loss ends at {loss['wrong: first token']}",
            needs_full=True,
        ),
        "all-wrong-by-hand-fails": Finding(
            loss["all of layer 0 wrong"].low > data["guessing"] / 2,
            f"with all heads of layer 0 fixed to the first token the loss ends at "
            f"{loss['all of layer 0 wrong']}, guessing is {data['guessing']:.2f}",
            needs_full=True,
        ),
    }


def steep_share(records: Sequence[int], losses: Sequence[float], guessing_loss: float) -> float:
    """Steps for the fall from 90 % to 10 % of the way below guessing, as a share of all so far."""
    end = losses[-1]
    start, stop = (crossing(records, losses, end + x * (guessing_loss - end)) for x in (0.9, 0.1))
    return (stop - start) / stop


def _as_foreseen(data: Data, role: str, record: int) -> list[float]:
    final = holders(data, role)
    return [float(a == b) for a, b in zip(holders(data, role, record), final, strict=True)]


def _mean_agreement(rows: Sequence[Sequence[int]]) -> float:
    return fmean(agreement(rows))


def _minus(a: Sequence[float], b: Sequence[float]) -> list[float]:
    return [x - y for x, y in zip(a, b, strict=True)]


def _best(scores: Sequence[float]) -> int:
    return max(range(len(scores)), key=lambda head: scores[head])


def _worst(scores: Sequence[float]) -> int:
    return min(range(len(scores)), key=lambda head: scores[head])
