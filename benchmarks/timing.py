"""Time calls in alternation, and say under which conditions."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import quantiles as _quantiles
from timeit import default_timer as timer
from typing import Any

import torch

from mha_course.experiments.machine import processor

SHORTEST_BLOCK = 0.02  # seconds: a block of calls is timed as one

Call = Callable[[], object]


def alternate(calls: dict[str, Call], rounds: int, device: torch.device) -> dict[str, list[float]]:
    """Time the calls in turn, `rounds` times; seconds of one call.

    `torch.utils.benchmark.Timer` would set the number of threads before each measurement. On
    CPUs with MKL that alone changes how small products are threaded, and moved ratios by 5 %;
    a script that never calls `torch.set_num_threads`, as most, would not see those times.
    """
    _settle_allocator()
    numbers = {
        name: max(1, round(SHORTEST_BLOCK / _time(c, 2, device))) for name, c in calls.items()
    }
    times: dict[str, list[float]] = {name: [] for name in calls}
    order = list(calls)
    for _ in range(rounds):
        for name in order:
            times[name].append(_time(calls[name], numbers[name], device))
        order.reverse()  # what ran before has left its mark on the caches: not always the same
    return times


def ratios(a: Sequence[float], b: Sequence[float]) -> list[float]:
    """Divide round by round."""
    return [x / y for x, y in zip(a, b, strict=True)]


def quartiles(values: Sequence[float]) -> tuple[float, float]:
    """First and third quartile."""
    low, _, high = _quantiles(values, n=4, method="inclusive")
    return low, high


def conditions(
    where: torch.device, seed: int, rounds: int, dtype: str = "float32"
) -> dict[str, str | int]:
    """What a reader needs to judge, or repeat, a measurement."""
    name = torch.cuda.get_device_name(where) if where.type == "cuda" else processor()
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "device": f"{where.type} ({name})",
        "threads": torch.get_num_threads(),
        "dtype": dtype,
        "seed": seed,
        "rounds": rounds,
    }


def write_json(path: Path, found: dict[str, Any]) -> None:
    """Write every number to a file, and say so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(f"written: {path}")


def _time(call: Call, number: int, device: torch.device) -> float:
    """Seconds of one call, from a block of `number`, after two that are not counted."""
    call()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = timer()
    for _ in range(number):
        call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return (timer() - start) / number


def _settle_allocator() -> None:
    """Have glibc keep what is freed, as it does by itself once a large tensor has been freed.

    Until then it hands memory back to the system and asks for it again at every call. These page
    faults took up to a third of the time, ours or torch's, depending on what ran before.
    """
    torch.empty(31 * 2**20, dtype=torch.uint8)  # glibc learns from blocks below 32 MiB only
