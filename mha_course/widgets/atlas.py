"""Heads of real models: a small map of every head, filtered by pattern, and one head at large."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from mha_course.widgets.live import Heights, LiveFigure

if TYPE_CHECKING:
    from mha_course.experiments.head_atlas.maps import Maps  # takes a second to import

_HEIGHTS = {"minilm": Heights(wide=660, narrow=1015), "smollm2": Heights(wide=690, narrow=1235)}
_EVERY, _NONE = "", "none"


def atlas(
    found: Mapping[str, Any],
    maps: Mapping[str, Mapping[str, Maps]],
    *,
    model: str = "minilm",
    text: str = "doctor",
    pattern: str = _EVERY,
) -> LiveFigure:
    """Walk through all heads of MiniLM and SmolLM2, on short texts.

    Which patterns a head has is what the experiment head-atlas says, on long texts.

    Args:
        found: The data of the experiment head-atlas.
        maps: The maps of every model and text, from `read_maps`.
        model: Which model is shown at first: "minilm" or "smollm2".
        text: Which text, a key of `TEXTS`.
        pattern: Which heads: a pattern's name, "none" for heads without one, or "" for all.

    Raises:
        ValueError: there is no such model, text or pattern, or the maps are of other heads.
    """
    models = found["models"]
    for what, value, known in (
        ("model", model, list(maps)),
        ("text", text, list(maps.get(model, ()))),
        ("pattern", pattern, [_EVERY, _NONE, *models.get(model, {}).get("patterns", ())]),
    ):
        if value not in known:
            raise ValueError(f"{what}={value!r} is not in the figure; it has {known}")
    for name, texts in maps.items():
        held = models[name]["patterns held"]
        for key, of in texts.items():
            if list(of.weights.shape[:2]) != [len(held), len(held[0])]:
                raise ValueError(
                    f"maps of {name}, {key!r}, have shape {list(of.weights.shape)}, and the "
                    f"experiment has {len(held)} layers of {len(held[0])} heads; make both anew"
                )

    # heavy
    from mha_course.experiments.head_atlas.maps import TEXTS
    from mha_course.plots.shades import SHADE
    from mha_course.plots.words import token_name

    state = {
        "model": model,
        "text": text,
        "pattern": pattern,
        "shade": SHADE,
        "texts": {key: TEXTS[key] for key in maps[model]},
        "models": {name: _patterns_of(name, models[name]) for name in maps},
    }
    data = {
        f"{name} {key}": {
            "tokens": [token_name(token) for token in of.tokens],
            "weights": base64.b64encode(of.weights.numpy().tobytes()).decode(),
        }
        for name, texts in maps.items()
        for key, of in texts.items()
    }
    fallback = _fallback(maps[model][text], models[model]["patterns held"], pattern)
    return LiveFigure("atlas", state, fallback, _HEIGHTS[model], data)


def _patterns_of(name: str, found: Mapping[str, Any]) -> dict[str, Any]:
    """What the experiment says of the heads of a model, in two digits."""
    from mha_course.experiments.real_models import TITLES  # heavy
    from mha_course.heads.patterns import POSITIONAL

    def two(value: float | None) -> float | None:
        return None if value is None else round(value, 2)

    held = found["patterns held"]
    return {
        "title": TITLES[name],
        "layers": len(held),
        "heads": len(held[0]),
        # a model that sees no later token has no next one
        "is_causal": "next token" not in found["patterns"],
        "held": held,
        "patterns": {
            pattern: {
                "scores": [[two(score) for score in row] for row in of["heads"]],
                # what these two are has no baseline in them
                "even": None if pattern == "broad" else two(of["even"]),
                "offset": None if pattern in POSITIONAL else two(of["fixed offset"]),
            }
            for pattern, of in found["patterns"].items()
        },
    }


def _fallback(of: Maps, held: list[list[list[str]]], pattern: str) -> Any:
    """Draw the maps of the heads that the filter lets through."""
    # heavy
    from mha_course.experiments.head_atlas.maps import FULL
    from mha_course.plots import canvas, describe_head_grid, plot_head_grid

    weights = of.weights / FULL
    weights = weights / weights.sum(-1, keepdim=True)  # rounding moves the sums off 1
    shown = [
        [pattern == _EVERY or pattern in has or (pattern == _NONE and not has) for has in row]
        for row in held
    ]
    weights *= torch.tensor(shown)[..., None, None]
    layers, heads = weights.shape[:2]
    # a page of paper takes so many inches
    side = min(5.0 / heads, 7.0 / layers)
    with canvas(width=0.5 + side * heads, height=0.5 + side * layers) as figure:
        plot_head_grid(list(weights), figure.axes)
    return figure.describe(describe_head_grid(list(weights)))
