"""Watch heads specialise: their attention, their scores and the loss, while a model is trained."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mha_course.widgets.live import Heights, LiveFigure

if TYPE_CHECKING:
    from mha_course.experiments.tiny_transformer import TinyTransformer  # heavy

_HEIGHTS = Heights(wide=715, narrow=875)
_FULL = 255  # what stands for a weight of 1
_ON_PAPER = 8  # looks that fit beside each other


class Look(NamedTuple):
    """A model at one step of its training.

    Attributes:
        step: Steps done.
        loss: On fresh sequences.
        scores: Of each head for the role of its layer, on the same sequences.
        weights: Attention of each head on one sequence.
    """

    step: int
    loss: float
    scores: Float[Tensor, "layers h"]
    weights: Float[Tensor, "layers h T T"]


def look_at(
    model: TinyTransformer, step: int, ids: Int[Tensor, "B T"], example: Int[Tensor, " E"]
) -> Look:
    """Look at a model while it is trained.

    Args:
        model: The model.
        step: Steps done.
        ids: Fresh sequences, for the loss and the scores.
        example: The sequence of which the attention is kept.
    """
    from mha_course.experiments.emergence.roles import role_scores  # heavy

    with torch.no_grad():
        loss = model.losses(ids).mean().item()
        weights = torch.stack(model.weights(example[None]))[:, 0]
    return Look(step, loss, role_scores(model, ids), weights)


def film(
    looks: Sequence[Look], example: Int[Tensor, " E"], guessing: float, fallback: Any
) -> LiveFigure:
    """Show a training, look after look, with a button to play it and a slider to scrub.

    Args:
        looks: In the order of their steps.
        example: The sequence that their attention is on.
        guessing: Loss of guessing on the sequences that were scored.
        fallback: A figure of the loss and the scores. It stands on paper, above some looks at the
            attention.

    Raises:
        ValueError: fewer than two looks, steps that do not rise, or attention on a sequence of
            another length.
    """
    from mha_course.experiments.emergence.roles import ROLES, wanted_keys  # heavy

    steps = [look.step for look in looks]
    if len(steps) < 2 or sorted(set(steps)) != steps:
        raise ValueError(f"steps are {steps}; give two looks or more, in the order of their steps")
    weights = torch.stack([look.weights for look in looks])  # [looks, layers, h, E, E]
    tokens = len(example)
    if weights.shape[-1] != tokens:
        raise ValueError(
            f"attention is on {weights.shape[-1]} tokens, and the example has {tokens}; "
            "give the sequence that was looked at"
        )
    rows, columns = torch.tril_indices(tokens, tokens)
    seen = (weights[..., rows, columns] * _FULL).round().to(torch.uint8)
    state = {
        "at": 0,
        "steps": steps,
        "losses": [round(look.loss, 4) for look in looks],
        "scores": [[[round(s, 3) for s in row] for row in look.scores.tolist()] for look in looks],
        "roles": list(ROLES),
        "guessing": round(guessing, 4),
        "tokens": [str(token) for token in example.tolist()],
        "wanted": [wanted_keys(example[None], role)[0].nonzero().tolist() for role in ROLES],
    }
    maps = {"weights": base64.b64encode(seen.numpy().tobytes()).decode()}
    on_paper = fallback._repr_html_() + _film(looks)._repr_html_()
    return LiveFigure("film", state, on_paper, _HEIGHTS, {"maps": maps})


def _film(looks: Sequence[Look]) -> Any:
    # heavy: matplotlib
    from mha_course.plots import canvas, describe_film, plot_film
    from mha_course.plots.words import head_names

    last = len(looks) - 1
    some = sorted({round(i * last / (_ON_PAPER - 1)) for i in range(_ON_PAPER)})
    frames = [(looks[i].step, looks[i].weights.flatten(0, 1)) for i in some]
    layers, heads = looks[0].weights.shape[:2]
    with canvas(height=0.6 + 4.8 * layers * heads / len(some)) as figure:
        plot_film(frames, figure.axes)
        figure.axes.set_yticks(range(layers * heads), head_names(layers, heads))
    return figure.describe(describe_film(frames))
