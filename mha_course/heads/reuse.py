"""Run a model again from one layer upwards: what lies below it has not changed.

Removing a head of layer l leaves all layers below l as they were. Their activations are kept from
one full run, and the layers themselves are skipped: on average half of the work.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from mha_course.heads.text_model import TextModel


class Rerun:
    """One text's activations after every layer, and runs that start from them.

    Args:
        model: The model.
        ids: The texts.

    Raises:
        ValueError: the model has no list of blocks with one attention layer in each.
    """

    def __init__(self, model: TextModel, ids: Int[Tensor, "B T"]) -> None:
        self._model, self._ids = model, ids
        self._blocks = blocks(model)
        self._outputs: list[Tensor] = []
        self._in_tuple = False
        with ExitStack() as hooks, torch.no_grad():
            for block in self._blocks:
                hooks.enter_context(block.register_forward_hook(self._keep))
            model.run(ids)

    def _keep(self, _: nn.Module, __: Any, output: Any) -> None:
        self._in_tuple = isinstance(output, tuple)
        self._outputs.append(output[0] if self._in_tuple else output)

    def from_layer(
        self,
        layer: int,
        gates: Float[Tensor, "K layers h"],
        fill: Float[Tensor, "layers h d_head"] | None = None,
    ) -> Any:
        """Run the model with K settings of gates that are 1 in all layers below `layer`.

        Returns:
            What the model returns for a batch of K · B: all texts with the first gates, then all
            texts with the second, and so on.
        """
        times, texts = len(gates), len(self._ids)
        with self._skipping(layer, times):
            return self._model.run(
                self._ids.repeat(times, 1), gates=gates.repeat_interleave(texts, 0), fill=fill
            )

    @contextmanager
    def _skipping(self, layer: int, times: int) -> Iterator[None]:
        def pass_on(hidden: Tensor, *_: Any, **__: Any) -> Any:
            return (hidden,) if self._in_tuple else hidden

        def put_in(*_: Any, **__: Any) -> Any:
            return pass_on(self._outputs[layer - 1].repeat(times, 1, 1))

        skipped = self._blocks[:layer]
        try:
            for block in skipped:
                block.forward = pass_on  # the instance's own attribute hides the class's method
            if skipped:
                skipped[-1].forward = put_in
            yield
        finally:
            for block in skipped:
                del block.forward


def blocks(model: TextModel) -> list[nn.Module]:
    """List the blocks of a model: the modules that hold one attention layer each, in order.

    Raises:
        ValueError: there is no such list.
    """
    layers = [model.heads.module(layer) for layer in range(model.heads.num_layers)]
    for candidate in model.model.modules():
        if isinstance(candidate, nn.ModuleList) and len(candidate) == len(layers):
            held = [[m for m in block.modules() if m in set(layers)] for block in candidate]
            if held == [[layer] for layer in layers]:
                return list(candidate)
    raise ValueError(f"{model.name} has no list of blocks with one attention layer in each")
