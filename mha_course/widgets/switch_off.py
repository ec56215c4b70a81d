"""Switch heads off: the loss as more and more heads go, and what one head alone is worth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mha_course.widgets.live import Heights, LiveFigure

_HEIGHTS = Heights(wide=665, narrow=1000)
_RANDOM = "random"


def switch_off(
    found: Mapping[str, Any],
    fallback: Any,
    *,
    model: str = "smollm2",
    ranking: str = "leave one out",
    share: float = 0.3,
) -> LiveFigure:
    """Remove heads of MiniLM and SmolLM2 in the order of a ranking.

    Only shares that were measured can be chosen: nothing is read off between them.

    Args:
        found: The data of the experiment importance-and-pruning.
        fallback: What stands for it on paper; see `LiveFigure`.
        model: Which model is shown at first: "minilm" or "smollm2".
        ranking: By what the heads are ordered; the first random order is called "random".
        share: Where the slider stands at first: one of the measured shares.

    Raises:
        ValueError: there is no such model, ranking or share.
    """
    rankings = next(iter(found["models"].values()))["rankings"]
    methods = [name for name in rankings if not name.startswith(_RANDOM)]
    for what, value, known in (
        ("model", model, list(found["models"])),
        ("ranking", ranking, [*methods, _RANDOM]),
        ("share", share, found["shares"]),
    ):
        if value not in known:
            raise ValueError(f"{what}={value!r} was not measured; there is {known}")
    state = {
        "model": model,
        "ranking": ranking,
        "at": found["shares"].index(share),
        "rankings": [*methods, _RANDOM],
        "models": {
            name: _curves_of(name, of, found["shares"], methods)
            for name, of in found["models"].items()
        },
    }
    return LiveFigure("switch_off", state, fallback, _HEIGHTS)


def _curves_of(
    name: str, of: Mapping[str, Any], shares: list[float], methods: list[str]
) -> dict[str, Any]:
    from mha_course.experiments.real_models import TITLES  # heavy

    changes = [change for layer in of["changes"] for change in layer]
    by_chance = [curve for key, curve in of["curves"].items() if key.startswith(_RANDOM)]
    keys = {method: method for method in methods} | {_RANDOM: f"{_RANDOM} 0"}
    return {
        "title": TITLES[name],
        "unit": of["unit"],
        "heads": len(of["changes"][0]),
        "changes": changes,
        # as pruning_curve rounds
        "removed": [round(share * len(changes)) for share in shares],
        "curves": {method: of["curves"][key] for method, key in keys.items()},
        "band": {
            "low": [min(losses) for losses in zip(*by_chance, strict=True)],
            "high": [max(losses) for losses in zip(*by_chance, strict=True)],
        },
        "order": {method: _order(of["rankings"][key]) for method, key in keys.items()},
    }


def _order(scores: list[list[float]]) -> list[int]:
    """Heads by their score, the lowest first; among equals, the first one, as `lowest` has it."""
    flat = [score for layer in scores for score in layer]
    return sorted(range(len(flat)), key=flat.__getitem__)
