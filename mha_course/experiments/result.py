"""What an experiment found, and the file that keeps it."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mha_course.whole_file import write_whole

Data = dict[str, Any]
"""What an experiment measured: nested dicts and lists of numbers, strings and truth values."""

DIGITS = 5  # significant ones: more than any seed repeats, and a file that a person can read


@dataclass(frozen=True)
class Finding:
    """One statement about what was measured.

    Attributes:
        holds: Whether the numbers bear it out.
        says: The statement with its numbers, as they turned out; true also where `holds` is not.
        needs_full: Whether a quick run is too small to show it.
    """

    holds: bool
    says: str
    needs_full: bool = False


NOT_MEASURED = Finding(False, "not measured in the quick run", needs_full=True)
"""In place of a finding for which the data are those of a full run."""


@dataclass(frozen=True)
class Result:
    """What was measured, and all that is needed to measure it again.

    Attributes:
        experiment: Name of the experiment.
        question: What it asks.
        command: What was typed.
        date: Day on which it ended, as in 2026-11-21.
        seconds: Time taken by all of its steps; two that ran side by side count twice.
        quick: Whether it was the small version.
        seeds: The seeds.
        versions: Versions of Python and of the packages that matter.
        machine: Processor, its cores, and system.
        data: What was measured.
    """

    experiment: str
    question: str
    command: str
    date: str
    seconds: float
    quick: bool
    seeds: list[int]
    versions: dict[str, str]
    machine: str
    data: Data


def read(path: Path | str) -> Result:
    """Read a result file.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is no result file.
    """
    text = Path(path).read_text(encoding="utf-8")
    try:
        return Result(**json.loads(text))
    except (json.JSONDecodeError, TypeError) as error:
        raise ValueError(f"{path} is no result file of `mha-course experiment`: {error}") from error


def write(result: Result, path: Path) -> None:
    """Write a result file; it appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(asdict(result), indent=1, ensure_ascii=False, allow_nan=False)
    # a list of numbers on one line
    text = re.sub(r"\[\s+([^][{}\"]+?)\s+\]", lambda m: f"[{' '.join(m[1].split())}]", text)
    write_whole(path, f"{text}\n".encode())


def rounded(value: Any) -> Any:
    """Round every float in nested dicts, lists and tuples to `DIGITS` significant digits.

    >>> rounded({"loss": [0.123456789, 2], "steps": (400,)})
    {'loss': [0.12346, 2], 'steps': [400]}
    """
    if isinstance(value, dict):
        return {str(key): rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    return value
