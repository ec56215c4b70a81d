"""The tables that a run prints, and what they say about our targets."""

from __future__ import annotations

import math
from collections.abc import Sequence

from benchmarks.memory import Memory
from benchmarks.speed import POSITIONS, Decoding, Speed

# Targets: ours / torch's, and ours / floor
FUSED, FUSED_MEAN, WITH_WEIGHTS, FLOOR, DECODING = 1.00, 0.90, 1.05, 1.20, 1.30
LONGEST_AT_FLOOR = 512
WHY_OVER = """
Rows over their limit: where the floor is near 1, the matrix products are all there is to win, and
both modules need the same ones. torch's inference path calls them from C++, ours from Python."""
WHY_LATE = """
Steps over their limit: a late step reads more bytes than an early one, parameters and cache; the
last column says how many times as many, and where memory is what limits, no step is faster."""


def print_speed_header() -> None:
    """Print the names of the columns."""
    print(
        "\nB, T, d_model, h, g         mode      weights causal "
        "ours, ms  torch, ms  ratio  quartiles  floor"
    )


def print_speed(r: Speed) -> None:
    """Print one row as soon as it is measured."""
    floor = "" if r.floor_ratio is None else f"{r.floor_ratio:5.2f}"
    low, high = r.quartiles
    print(
        f"{', '.join(map(str, r.shape)):27} {r.mode:9} {_yes(r.weights):7} "
        f"{_yes(r.is_causal):6} {r.ours:8.2f}  {r.torch:9.2f}  {r.ratio:5.2f}  "
        f"{low:.2f}-{high:.2f}  {floor:5} {shortfall(r)}".rstrip(),
        flush=True,
    )


def shortfall(row: Speed) -> str:
    """Say which target a row misses; nothing if it misses none."""
    found = []
    limit = WITH_WEIGHTS if row.weights else FUSED
    if round(row.ratio, 2) > limit:
        noise = " within noise" if round(row.quartiles[0], 2) <= limit else ""
        found.append(f"over {limit:.2f}{noise}")
    if _counts_for_floor(row) and round(row.floor_ratio or 0, 2) > FLOOR:
        found.append(f"floor over {FLOOR:.2f}")
    return ", ".join(found)


def print_decoding(rows: Sequence[Decoding]) -> None:
    """Print the time of a step at both positions."""
    early, late = POSITIONS
    print(
        f"\none step with a cache: d_model, h, g  at {early}, ms  at {late}, ms  ratio  quartiles"
        "  bytes to read"
    )
    for r in rows:
        low, high = r.quartiles
        missed = f"over {DECODING:.2f}" if _is_late(r) else ""
        print(
            f"{', '.join(map(str, r.shape)):36} {r.early:9.3f}  {r.late:11.3f}  {r.ratio:5.2f}  "
            f"{low:.2f}-{high:.2f}  {r.traffic:13.2f} {missed}"
        )


def print_memory(rows: Sequence[Memory]) -> None:
    """Print peaks beside the size of all scores."""
    print(f"\npeak memory, MiB; all scores together are {rows[0].scores / 2**20:.0f}")
    for r in rows:
        print(f"{r.name:10} forward {r.forward / 2**20:6.0f}   training {r.training / 2**20:6.0f}")


def print_summary(
    speed: Sequence[Speed], decoding: Sequence[Decoding], memory: Sequence[Memory]
) -> None:
    """Print each target, and how many rows meet it."""
    print("\ntargets, each compared with two decimals, as printed")
    fused = [r.ratio for r in speed if not r.weights]
    own_heads = [r.ratio for r in speed if not r.weights and r.shape[3] == r.shape[4]]
    at_floor = [r.floor_ratio or 0 for r in speed if _counts_for_floor(r)]
    with_weights = [r.ratio for r in speed if r.weights]
    peaks = [m.training / m.scores for m in memory if m.name == "fused"]
    for target, values, limit in (
        (f"fused at most {FUSED:.2f} × torch", fused, FUSED),
        (f"fused at most {FUSED_MEAN:.2f} × torch in the geometric mean", _mean(fused), FUSED_MEAN),
        # torch has no shared heads, and more to do where ours has
        ("the same without the rows of g < h", _mean(own_heads), FUSED_MEAN),
        (f"fused at most {FLOOR:.2f} × matrix products, T ≤ {LONGEST_AT_FLOOR}", at_floor, FLOOR),
        (f"batched with weights at most {WITH_WEIGHTS:.2f} × torch", with_weights, WITH_WEIGHTS),
        (f"late step at most {DECODING:.2f} × early step", [r.ratio for r in decoding], DECODING),
        ("peak of the fused form below all scores together", peaks, 1.0),
    ):
        if values:
            met = sum(round(value, 2) <= limit for value in values)
            print(f"  {met} of {len(values)}: {target}; worst {max(values):.2f}")
    if any(shortfall(row) for row in speed):
        print(WHY_OVER)
    if any(_is_late(row) for row in decoding):
        print(WHY_LATE)


def _mean(ratios: Sequence[float]) -> list[float]:
    """Geometric mean, as a list; of nothing, nothing."""
    return [math.exp(sum(map(math.log, ratios)) / len(ratios))] if ratios else []


def _counts_for_floor(row: Speed) -> bool:
    return row.floor_ratio is not None and not row.weights and row.shape[1] <= LONGEST_AT_FLOOR


def _is_late(row: Decoding) -> bool:
    return round(row.ratio, 2) > DECODING


def _yes(value: bool) -> str:
    return "yes" if value else "no"
