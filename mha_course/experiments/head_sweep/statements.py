"""What the numbers of head-sweep show."""

from __future__ import annotations

from statistics import fmean
from typing import Any

from mha_course.experiments.head_sweep.plan import (
    D_MODEL,
    RATE_HEADS,
    SOME_SEEDS,
    SWEEPS,
    USUAL,
)
from mha_course.experiments.head_sweep.relations import MORE_TOKENS, NUM_TOKENS, ceiling
from mha_course.experiments.intervals import Interval, mean_interval
from mha_course.experiments.result import Data, Finding

Bits = dict[str, list[float]]
"""Bits per character by number of heads, one for each seed."""


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
