"""Fixed random inputs for the test cells."""

from __future__ import annotations

import torch
from torch import Tensor


def random_inputs(*shapes: tuple[int, ...], seed: int) -> tuple[Tensor, ...]:
    """Return one float32 CPU tensor per shape, the same ones for the same seed.

    The learner's seeds, default dtype and default device do not matter.

    >>> [tuple(t.shape) for t in random_inputs((2, 5), (5, 3), seed=1)]
    [(2, 5), (5, 3)]
    """
    generator = torch.Generator(device="cpu").manual_seed(seed)
    return tuple(
        torch.randn(shape, generator=generator, dtype=torch.float32, device="cpu")
        for shape in shapes
    )
