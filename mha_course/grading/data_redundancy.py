"""Measure MiniLM's heads for the assignment `redundancy`, and write its small file.

    python -m mha_course.grading.data_redundancy solutions/redundancy/minilm.json

The file holds what heads of one layer attend to and put out for one short text, the slopes of the
loss in every gate, the change of the loss when each head is removed, and curves of the loss as
more and more heads go. Beside the numbers it says where they come from.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mha_course.experiments.negative_heads import FULL
from mha_course.experiments.real_models import model, text_chunks, text_piece
from mha_course.experiments.result import read
from mha_course.heads.curves import lowest
from mha_course.heads.gates import LayerHeads
from mha_course.heads.importance import gate_gradients, random_scores
from mha_course.heads.tasks import TextBatch

[TEXTS] = (texts for texts in FULL if texts.name == "minilm")
LAYER, TOKENS = 2, 25  # whose patterns and outputs are kept, and for how many tokens
PIECES_OF_SLOPES = 4
PIECES_OF_CURVES = (1, 13)  # of those that did not rank
RANDOM_ORDERS, STEP = 12, 6  # heads between two points of a curve
DIGITS = 4  # significant ones
CHANGES = Path(__file__).parents[2] / "chapters" / "data" / "negative-heads.json"


def main(path: str) -> None:
    """Measure everything, and write the file."""
    measured = read(CHANGES)  # 24 pieces take minutes, and were measured there
    changes = torch.tensor(measured.data["models"]["minilm"]["changes"])
    tokens = text_chunks(TEXTS.name, size=TOKENS, count=4)[1]
    patterns, outputs = one_layer(tokens)
    slopes = gate_gradients([text_piece(TEXTS, number) for number in range(PIECES_OF_SLOPES)])
    losses = curves(
        [text_piece(TEXTS, number) for number in PIECES_OF_CURVES], changes[..., 0::2].mean(-1)
    )
    tensors = {
        "patterns": patterns,
        "outputs": outputs,
        "slopes": slopes,
        "changes": changes,
        "curves": losses,
    }
    data = {
        "about": about(tokens, measured.date),
        **{name: rounded(t) for name, t in tensors.items()},
    }
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(json.dumps(data, ensure_ascii=False, separators=(",", ":")) + "\n")


def one_layer(
    tokens: Int[Tensor, " T"],
) -> tuple[Float[Tensor, "h T T"], Float[Tensor, "h T d_head"]]:
    """Attention weights and outputs of the heads of one layer, for one short text."""
    kept: list[LayerHeads] = []

    def keep(number: int, heads: LayerHeads) -> None:
        if number == LAYER:
            kept.append(heads)

    model(TEXTS.name).look(tokens[None], keep)
    [heads] = kept
    assert heads.weights is not None  # look asks for them
    return heads.weights[0], heads.z[0]


def curves(
    pieces: list[TextBatch], importance: Float[Tensor, "layers h"]
) -> Float[Tensor, "orders points"]:
    """Mean loss with more and more heads removed: by importance first, then in random orders."""
    layers, h = importance.shape
    orders = [
        importance,
        *(random_scores(layers, h, seed) for seed in range(RANDOM_ORDERS)),
    ]
    rows = []
    with torch.no_grad():
        for scores in orders:
            points = []
            for count in range(0, scores.numel() + 1, STEP):
                gates = lowest(scores, count)
                points.append(torch.cat([piece.losses(gates) for piece in pieces]).mean())
            rows.append(torch.stack(points))
    return torch.stack(rows)


def about(tokens: Int[Tensor, " T"], measured: str) -> dict[str, str]:
    """Say where the numbers come from, and what each tensor is."""
    packages = ("mha-course", "torch", "transformers")
    return {
        "model": "sentence-transformers/all-MiniLM-L6-v2: 6 layers of 12 heads, d_head 32",
        "text": f"the reference of the Python language (pydoc_data.topics of Python "
        f"{python_version()}; others have another text)",
        "loss": "nats per passage: find the second half of a passage among those of its piece; "
        f"a piece is {TEXTS.together} passages of {TEXTS.size} tokens",
        "patterns": f"[h, T, T], attention weights in layer {LAYER} (from 0), {TOKENS} tokens",
        "tokens": f"of these patterns: {' '.join(map(str, tokens.tolist()))}",
        "outputs": f"[h, T, d_head], before W_O, layer {LAYER}, the same tokens",
        "slopes": "[layers, h, passages], slope of the loss in the gate of the head, at a gate "
        f"of 1; pieces 0 to {PIECES_OF_SLOPES - 1}",
        "changes": f"[layers, h, pieces], loss without the head minus intact loss; {TEXTS.pieces} "
        f"pieces; from chapters/data/{CHANGES.name} of {measured}",
        "curves": f"[orders, points], mean loss with 0, {STEP}, {2 * STEP}, … heads removed, on "
        "pieces "
        f"{' and '.join(map(str, PIECES_OF_CURVES))}; row 0: heads by their mean change on pieces "
        f"0, 2, 4, and so on, least first; other rows: {RANDOM_ORDERS} random orders",
        "command": "python -m mha_course.grading.data_redundancy FILE",
        "date": datetime.now(UTC).date().isoformat(),
        "versions": ", ".join(f"{name} {version(name)}" for name in packages),
    }


def rounded(tensor: Tensor) -> Any:
    """Return nested lists, with few digits and so in a small file."""
    if tensor.dim():
        return [rounded(part) for part in tensor]
    return float(f"{tensor.item():.{DIGITS}g}")


if __name__ == "__main__":
    main(sys.argv[1])
