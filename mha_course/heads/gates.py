"""Turn single heads of any transformers model up or down, and watch them at work.

transformers 5 removed `head_mask` and `prune_heads`. It has a public place for an attention
function of one's own, though: `AttentionInterface`. One function there serves every model, with
no code per architecture. With h heads per layer:

    output = Σ_i (fill_i + gate_i · (z_i − fill_i)) W_O_i,    z_i = output of head i

A gate of 1 leaves head i as it is. A gate of 0 puts `fill` in its place, 0 by default, **before**
the output projection.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mha_course.heads.attend import OWNER, Attended, explicit, using_our_attention
from mha_course.heads.discovery import discover

Gates = Float[Tensor, "layers h"] | Float[Tensor, "B layers h"]
"""One factor per head; with a batch axis, each sequence has its own."""


def gates_without(
    num_layers: int, num_heads: int, closed: Iterable[Sequence[int]]
) -> Float[Tensor, "layers h"]:
    """Gates that close some heads and leave all others open.

    >>> gates_without(2, 3, [(0, 1), (1, 2)]).tolist()
    [[1.0, 0.0, 1.0], [1.0, 1.0, 0.0]]

    Args:
        num_layers: Layers of the model.
        num_heads: Heads of each layer.
        closed: Layer and head of each head to close, both from 0.

    Raises:
        ValueError: there is no such head.
    """
    gates = torch.ones(num_layers, num_heads)
    for layer, head in closed:
        if not (0 <= layer < num_layers and 0 <= head < num_heads):
            raise ValueError(
                f"there is no head {head} in layer {layer}; layers go from 0 to {num_layers - 1}, "
                f"heads from 0 to {num_heads - 1}"
            )
        gates[layer, head] = 0
    return gates


class LayerHeads(NamedTuple):
    """What the heads of one layer did, before any gate.

    Attributes:
        z: Output of each head.
        weights: Attention weights of each head; None if nobody asked for them.
    """

    z: Float[Tensor, "B h T d_head"]
    weights: Float[Tensor, "B h T_q T_k"] | None


Watch = Callable[[int, LayerHeads], None]
"""Called once per layer, with the layer's number, as soon as the layer has attended."""


class _Setting(NamedTuple):
    gates: Tensor | None = None
    fill: Tensor | None = None
    watch: Watch | None = None
    weights: bool = False


class ModelHeads:
    """All heads of one transformers model. Layers and heads count from 0.

    Attributes:
        num_layers: Attention layers, in the order in which they run.
        num_heads: Query heads in each layer.
        num_kv_heads: Key and value heads in each layer.
        d_head: Width of a head's output.

    Raises:
        ValueError: the model is an encoder-decoder, has layers of different sizes, or its heads
            cannot be reached (see `discover`).
    """

    def __init__(self, model: Any) -> None:
        name = type(model).__name__
        if model.config.is_encoder_decoder:
            raise ValueError(f"{name} is an encoder-decoder; give its encoder or its decoder alone")
        with using_our_attention(model):
            self._layers = discover(model)
            sizes = {(found.num_heads, found.num_kv_heads, found.d_head) for found in self._layers}
            if len(sizes) > 1:
                raise ValueError(
                    f"layers of {name} differ in (h, g, d_head): {sorted(sizes)}; "
                    "only models whose layers are alike can be looked at"
                )
        self.num_layers = len(self._layers)
        [(self.num_heads, self.num_kv_heads, self.d_head)] = sizes
        self._number = {found.module: layer for layer, found in enumerate(self._layers)}
        for module in self._number:
            setattr(module, OWNER, self)
        self._setting: _Setting | None = None

    @contextmanager
    def at_work(
        self,
        *,
        gates: Gates | None = None,
        fill: Float[Tensor, "layers h d_head"] | None = None,
        watch: Watch | None = None,
        weights: bool = False,
    ) -> Iterator[None]:
        """Gate the heads, or watch them, in every call of the model inside the block.

        Args:
            gates: One factor per head.
            fill: What a closed head puts out in place of its own output.
            watch: Gets what each layer did.
            weights: Whether `watch` gets attention weights, too: the model then attends in its own
                explicit form. Without, it stays on its fused path.

        Raises:
            ValueError: gates or fill of another shape, or fill without gates.
            RuntimeError: a block inside another one.
        """
        if self._setting is not None:
            raise RuntimeError("the heads of this model are at work already; one block at a time")
        shape = (self.num_layers, self.num_heads)
        if gates is not None and (gates.ndim not in (2, 3) or gates.shape[-2:] != shape):
            raise ValueError(
                f"gates have shape {list(gates.shape)}; expected [layers, h] = {list(shape)}, "
                "or [B, layers, h] to gate each sequence on its own"
            )
        if fill is not None and fill.shape != (*shape, self.d_head):
            raise ValueError(
                f"fill has shape {list(fill.shape)}; "
                f"expected [layers, h, d_head] = {[*shape, self.d_head]}"
            )
        if fill is not None and gates is None:
            raise ValueError("fill stands in for closed heads, but there are no gates; give both")
        self._setting = _Setting(gates, fill, watch, weights)
        try:
            yield
        finally:
            self._setting = None

    def module(self, layer: int) -> nn.Module:
        """Return the model's own attention module of one layer."""
        return self._layers[layer].module

    def output_matrices(self, layer: int) -> Float[Tensor, "h d_head d_model"]:
        """W_O of each head, the model's own parameters."""
        return self._layers[layer].output_matrix()

    def value_matrices(self, layer: int) -> Float[Tensor, "g d_model d_head"]:
        """W_V of each key/value head, the model's own parameters.

        Raises:
            ValueError: the model computes its values in a way that was not recognised.
        """
        return self._layers[layer].value_matrix()

    def attend(
        self,
        way: Callable[..., Attended],
        module: nn.Module,
        *tensors: Tensor | None,
        **options: Any,
    ) -> Attended:
        """Attend for one layer; called by transformers, through `mha_course.heads.attend`."""
        gates, fill, watch, weights_wanted = self._setting or _Setting()
        if weights_wanted:
            way = explicit
        z, weights = way(module, *tensors, **options)  # [B, T, h, d_head]
        layer = self._number[module]
        if watch is not None:
            watch(layer, LayerHeads(z.transpose(1, 2), weights if weights_wanted else None))
        if gates is not None:
            gate = gates[..., layer, :].to(z)[..., None, :, None]  # [(B,) 1, h, 1]
            z = gate * z if fill is None else gate * z + (1 - gate) * fill[layer].to(z)
        return z, weights
