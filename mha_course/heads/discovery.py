"""Find the attention layers of any transformers model by watching it run once.

No list of architectures: a module that asks for attention is an attention layer, the linear layer
that puts out the values is W_V, and the next linear layer that takes in all heads is W_O.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mha_course.heads.attend import OWNER, Attended

_PROBE = 5  # tokens; more than one, so that masks and positions take part


@dataclass
class Layer:
    """One attention layer, as found. Matrices act on rows: output = input @ matrix."""

    module: nn.Module
    num_heads: int
    num_kv_heads: int
    d_head: int
    value: tuple[nn.Module, slice] | None = None
    output: nn.Module | None = None

    def output_matrix(self) -> Float[Tensor, "h d_head d_model"]:
        """Return W_O of each head.

        Raises:
            ValueError: no linear layer takes in the outputs of the heads.
        """
        if self.output is None:
            raise ValueError(
                f"no linear layer after {type(self.module).__name__} takes in "
                f"h · d_head = {self.num_heads * self.d_head} numbers; there is no W_O"
            )
        matrix: Tensor = _matrix(self.output).unflatten(0, (self.num_heads, self.d_head))
        return matrix

    def value_matrix(self) -> Float[Tensor, "g d_model d_head"]:
        """Return W_V of each key/value head.

        Raises:
            ValueError: no linear layer puts out the values in one piece.
        """
        if self.value is None:
            raise ValueError(
                f"no linear layer before {type(self.module).__name__} puts out the values in one "
                "piece; W_V of a head cannot be told apart in this model"
            )
        module, columns = self.value
        matrix: Tensor = _matrix(module)[:, columns].unflatten(1, (self.num_kv_heads, self.d_head))
        return matrix.transpose(0, 1)


def discover(model: Any) -> list[Layer]:
    """Run the model once, and list its attention layers in the order in which they run.

    The model must send its attention here already: see `using_our_attention`.

    Raises:
        ValueError: no attention layer asks transformers' AttentionInterface for its attention,
            or two layers share one module.
    """
    from transformers.pytorch_utils import Conv1D  # heavy

    explorer = _Explorer()
    modules = list(model.modules())
    linear = [m for m in modules if isinstance(m, nn.Linear | Conv1D)]
    hooks = [m.register_forward_hook(explorer.linear) for m in linear]
    for module in modules:
        setattr(module, OWNER, explorer)
    training = model.training
    try:
        # small ids exist in every vocabulary
        ids = torch.arange(1, 1 + _PROBE, device=model.device)[None]
        with torch.no_grad():
            model.eval()(input_ids=ids)
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()
        for module in modules:
            delattr(module, OWNER)

    name = type(model).__name__
    if not explorer.layers:
        raise ValueError(
            f"{name} does not ask transformers' AttentionInterface for its attention; "
            "its heads cannot be reached"
        )
    if len({layer.module for layer in explorer.layers}) < len(explorer.layers):
        raise ValueError(f"layers of {name} share one attention module; their heads are the same")
    return explorer.layers


class _Explorer:
    """Notes every call of a linear layer and of attention, in order."""

    def __init__(self) -> None:
        self.layers: list[Layer] = []
        self._outputs: list[tuple[nn.Module, Tensor]] = []  # since the last attention

    def linear(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        self._outputs.append((module, output))
        last = self.layers[-1] if self.layers else None
        if last and not last.output and inputs[0].shape[-1] == last.num_heads * last.d_head:
            last.output = module

    def attend(
        self,
        way: Callable[..., Attended],
        module: nn.Module,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        *rest: Tensor | None,
        **options: Any,
    ) -> Attended:
        _, num_kv_heads, _, d_head = value.shape
        self.layers.append(Layer(module, query.shape[1], num_kv_heads, d_head, self._source(value)))
        self._outputs.clear()
        return way(module, query, key, value, *rest, **options)

    def _source(self, value: Tensor) -> tuple[nn.Module, slice] | None:
        values = value.transpose(1, 2).flatten(2)  # [B, T, g * d_head]
        width = values.shape[-1]
        for module, output in self._outputs:
            for start in range(0, output.shape[-1] - width + 1, width):
                columns = slice(start, start + width)
                if torch.equal(output[..., columns], values):
                    return module, columns
        return None


def _matrix(linear: nn.Module) -> Tensor:
    """Weights as input × output. nn.Linear stores them the other way; GPT-2's Conv1D does not."""
    weight: Tensor = linear.weight  # type: ignore[assignment]
    return weight.T if isinstance(linear, nn.Linear) else weight
