"""Gates that are drawn at random in training: learned ones, and head dropout.

Both are modules that give gates `[B, layers, h]`, new ones for each sequence at each call in
training, and the same ones for all in evaluation. `gates[:, layer]` are the `head_gates` of that
layer's `MultiHeadAttention`.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from mha_course import _checks

TEMPERATURE = 2 / 3  # β: near 0 a gate is almost always 0 or 1, and has almost no gradient
LOW, HIGH = -0.1, 1.1  # γ and ζ: gates are stretched to this interval, and cut off at 0 and 1
FIRST_LOG_ALPHA = 2.5  # the least round number from which gates are 1 in evaluation


class HardConcrete(nn.Module):
    """One gate for each head, which is learned, and can be exactly 0: Louizos et al. 2018, eq. 10.

    With u drawn uniformly from 0 … 1, temperature β, and stretched from γ < 0 to ζ > 1:

        s = σ((log u − log(1 − u) + log α) / β)
        gate = min(1, max(0, s (ζ − γ) + γ))                            in training
        gate = min(1, max(0, σ(log α) (ζ − γ) + γ))                     in evaluation
        P(gate > 0) = σ(log α − β log(−γ/ζ))

    β = 2/3, γ = −0.1 and ζ = 1.1 are the values of the paper. Voita et al. 2019 use such gates to
    learn which heads a trained model can do without: training goes on, with loss + λ·penalty.

    Args:
        num_layers: Layers of the model.
        num_heads: Heads in each layer, h.

    Attributes:
        log_alpha: The only parameter, log α `[layers, h]`; at the start gates are 1 in evaluation.

    Raises:
        ValueError: a size is below 1.
        TypeError: a size is not an int.

    >>> gates = HardConcrete(num_layers=2, num_heads=4)
    >>> gates(batch_size=3).shape
    torch.Size([3, 2, 4])
    >>> gates.open().sum().item()
    8
    """

    def __init__(self, num_layers: int, num_heads: int) -> None:
        super().__init__()
        _checks.positive_int("num_layers", num_layers)
        _checks.positive_int("num_heads", num_heads)
        self.log_alpha = nn.Parameter(torch.full((num_layers, num_heads), FIRST_LOG_ALPHA))

    def forward(
        self, batch_size: int, *, generator: torch.Generator | None = None
    ) -> Float[Tensor, "B layers h"]:
        """Return the gates of each sequence, drawn in training, and the same in evaluation."""
        _checks.positive_int("batch_size", batch_size)
        if not self.training:
            return _stretch(self.log_alpha.sigmoid()).expand(batch_size, -1, -1)
        u = _uniform((batch_size, *self.log_alpha.shape), self.log_alpha.device, generator)
        s = ((u.logit() + self.log_alpha) / TEMPERATURE).sigmoid()
        return _stretch(s).to(self.log_alpha.dtype)

    def penalty(self) -> Float[Tensor, ""]:
        """Number of open gates to be expected, Σ P(gate > 0), with a gradient."""
        return (self.log_alpha - TEMPERATURE * math.log(-LOW / HIGH)).sigmoid().sum()

    def open(self) -> Bool[Tensor, "layers h"]:
        """Whether the gate of a head is above 0 in evaluation; the other heads can be removed."""
        return _stretch(self.log_alpha.detach().sigmoid()) > 0

    def closed(self) -> list[tuple[int, int]]:
        """(layer, head) of all heads whose gate is 0 in evaluation."""
        return [(layer, head) for layer, head in (~self.open()).nonzero().tolist()]


class HeadDropout(nn.Module):
    """Whole heads are left out at random: DropHead, Zhou et al. 2020.

    In training each head of each sequence is dropped on its own with probability `share`. A layer
    in which all would be dropped keeps one of them, each with equal chance. The others make up
    for the dropped ones: with m_i = 1 if head i stays, else 0,

        gate_i = m_i · h / Σ_j m_j

    so that the gates of a layer add up to h in every draw, and each is 1 on average. In evaluation
    all gates are 1.

    Args:
        share: Probability that a head is dropped.
        num_layers: Layers of the model.
        num_heads: Heads in each layer, h.

    Raises:
        ValueError: `share` is not from 0 up to 1, or a size is below 1.
        TypeError: `share` is not a number, or a size is not an int.

    >>> drop = HeadDropout(0.5, num_layers=2, num_heads=4)
    >>> drop(batch_size=3).sum(-1)
    tensor([[4., 4.],
            [4., 4.],
            [4., 4.]])
    """

    def __init__(self, share: float, num_layers: int, num_heads: int) -> None:
        super().__init__()
        _checks.share("share", share)
        _checks.positive_int("num_layers", num_layers)
        _checks.positive_int("num_heads", num_heads)
        self.share = share
        self.all_on: Tensor
        self.register_buffer("all_on", torch.ones(num_layers, num_heads), persistent=False)

    def forward(
        self, batch_size: int, *, generator: torch.Generator | None = None
    ) -> Float[Tensor, "B layers h"]:
        """Return the gates of each sequence, drawn in training, and all 1 in evaluation."""
        _checks.positive_int("batch_size", batch_size)
        if not self.training:
            return self.all_on.expand(batch_size, -1, -1)
        u = _uniform((batch_size, *self.all_on.shape), self.all_on.device, generator)
        # the head with the largest number always stays: where all would go, it is any of them
        stays = (u >= self.share) | (u == u.amax(-1, keepdim=True))
        gates = stays * self.all_on.shape[-1] / stays.sum(-1, keepdim=True)
        return gates.to(self.all_on.dtype)


def _stretch(s: Tensor) -> Tensor:
    return (s * (HIGH - LOW) + LOW).clamp(0, 1)


def _uniform(
    shape: tuple[int, ...], device: torch.device, generator: torch.Generator | None
) -> Float[Tensor, "*shape"]:
    """Draw from 0 … 1 where the generator is: a seed gives the same gates on every device.

    In float32 whatever the gates are: bfloat16 has so few numbers that u would often be 1.
    """
    drawn_on = device if generator is None else generator.device
    return torch.rand(shape, generator=generator, device=drawn_on, dtype=torch.float32).to(device)
