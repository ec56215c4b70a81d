"""Losses that depend on the gates of all heads: they measure what it costs to lose a head."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mha_course.heads.objectives import objective
from mha_course.heads.reuse import Rerun
from mha_course.heads.text_model import TextModel

_TOKENS_AT_ONCE = 4096  # in one run; more only takes more memory


class Batch(ABC):
    """Texts that go through a model together.

    Attributes:
        num_layers: Layers that have gates.
        num_heads: Gates in each of them.
        num_texts: Texts, each with a loss of its own.
        unit: Of the loss.
        chance: Loss of a model that knows nothing.
    """

    num_layers: int
    num_heads: int
    num_texts: int
    unit: str
    chance: float

    @abstractmethod
    def losses(
        self,
        gates: Float[Tensor, "layers h"] | None = None,
        fill: Float[Tensor, "layers h d_head"] | None = None,
    ) -> Float[Tensor, " texts"]:
        """Loss of each text; differentiable with respect to the gates."""

    def without_each_head(
        self, fill: Float[Tensor, "layers h d_head"] | None = None
    ) -> Iterator[Float[Tensor, "h texts"]]:
        """Losses with one head closed at a time, layer by layer."""
        with torch.no_grad():
            for layer in range(self.num_layers):
                yield torch.stack([self.losses(g, fill) for g in self._one_closed(layer)])

    def _one_closed(self, layer: int) -> Float[Tensor, "h layers h"]:
        gates = torch.ones(self.num_heads, self.num_layers, self.num_heads)
        gates[:, layer].fill_diagonal_(0)
        return gates


class GatedLoss(Batch):
    """A batch for a model of our own: a function from gates [layers, h] to a loss per text."""

    def __init__(
        self,
        num_layers: int,
        num_heads: int,
        losses: Callable[[Float[Tensor, "layers h"]], Float[Tensor, " texts"]],
        *,
        chance: float,
        unit: str = "nats per token",
    ) -> None:
        self.num_layers, self.num_heads, self._losses = num_layers, num_heads, losses
        self.unit, self.chance = unit, chance
        with torch.no_grad():
            self.num_texts = len(self.losses())

    def losses(
        self,
        gates: Float[Tensor, "layers h"] | None = None,
        fill: Float[Tensor, "layers h d_head"] | None = None,
    ) -> Float[Tensor, " texts"]:
        """See `Batch`.

        Raises:
            ValueError: `fill` is given; a function of gates alone has no place for it.
        """
        if fill is not None:
            raise ValueError("the loss of this model depends on gates alone; leave fill out")
        return self._losses(torch.ones(self.num_layers, self.num_heads) if gates is None else gates)


class TextBatch(Batch):
    """Texts of one length, and the loss of a transformers model on each.

    Args:
        model: The model.
        ids: The texts, as from `TextModel.chunks`.

    Raises:
        ValueError: see `mha_course.heads.objectives.objective`.
    """

    def __init__(self, model: TextModel, ids: Int[Tensor, "texts T"]) -> None:
        self.num_layers, self.num_heads = model.heads.num_layers, model.heads.num_heads
        self.num_texts = len(ids)
        self.unit, self.chance, self._inputs, self._losses = objective(model, ids)
        self._model = model

    def losses(
        self,
        gates: Float[Tensor, "layers h"] | None = None,
        fill: Float[Tensor, "layers h d_head"] | None = None,
    ) -> Float[Tensor, " texts"]:
        """See `Batch`."""
        return self._losses(lambda: self._model.run(self._inputs, gates=gates, fill=fill), 1)

    def without_each_head(
        self, fill: Float[Tensor, "layers h d_head"] | None = None
    ) -> Iterator[Float[Tensor, "h texts"]]:
        """See `Batch`. Layers below the closed head are not run again."""
        at_once = max(1, _TOKENS_AT_ONCE // self._inputs.numel())
        with torch.no_grad():
            rerun = Rerun(self._model, self._inputs)
            for layer in range(self.num_layers):
                parts = []
                for gates in self._one_closed(layer).split(at_once):
                    answer = partial(rerun.from_layer, layer, gates, fill)
                    parts.append(self._losses(answer, len(gates)))
                yield torch.cat(parts).unflatten(0, (self.num_heads, self.num_texts))


def text_batches(
    model: TextModel, text: str, *, size: int = 128, texts: int = 8
) -> list[TextBatch]:
    """Cut a text into chunks of `size` tokens, `texts` of them in each batch; a rest is dropped.

    Each batch has chunks from all over the text: next to each other they would be too alike for a
    model that has to tell them apart.

    Raises:
        ValueError: the text is too short for a batch, or `texts` is below 1.
    """
    if texts < 1:
        raise ValueError(f"texts={texts} must be at least 1")
    chunks = model.chunks(text, size)
    count = len(chunks) // texts
    if count == 0:
        raise ValueError(
            f"text makes {len(chunks)} chunks of {size} tokens, and a batch needs {texts}; "
            "give more text, or smaller or fewer chunks"
        )
    return [TextBatch(model, chunks[start : count * texts : count]) for start in range(count)]
