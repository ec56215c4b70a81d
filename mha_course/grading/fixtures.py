"""Inputs of the test cells: the ones that everybody sees, and the hidden ones of each student.

Hidden tests draw shapes and values anew for every student, from a seed that the grader puts into
the environment variable MHA_STUDENT_SEED (`mha_course.autograder.seeds`). Without it, as on the
learner's own machine, one seed serves for all. Nothing here depends on the learner's seeds,
default dtype or default device.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import torch
from torch import Tensor

SEED_VARIABLE = "MHA_STUDENT_SEED"


def random_inputs(*shapes: tuple[int, ...], seed: int) -> tuple[Tensor, ...]:
    """Return one float32 CPU tensor per shape, the same ones for the same seed.

    >>> [tuple(t.shape) for t in random_inputs((2, 5), (5, 3), seed=1)]
    [(2, 5), (5, 3)]
    """
    generator = torch.Generator(device="cpu").manual_seed(seed)
    return tuple(
        torch.randn(shape, generator=generator, dtype=torch.float32, device="cpu")
        for shape in shapes
    )


class Draw:
    """One set of hidden inputs.

    `random` is Python's generator, for whatever `sizes` and `tensors` do not cover.
    """

    def __init__(self, seed: str) -> None:
        self.random = random.Random(seed)

    def sizes(self, axes: str, *, least: int = 2, most: int = 11) -> tuple[int, ...]:
        """Return a size for each name: pairwise different, and odd where the name begins with T.

        With two equal sizes, or a size of 1, most mistakes would slip through.

        Args:
            axes: Names of the axes: `"B h T_q d_head"`.
            least: Smallest size.
            most: Largest size.

        >>> B, T, d = Draw("a").sizes("B T d")
        >>> T % 2, len({B, T, d})
        (1, 3)
        """
        free = list(range(least, most + 1))
        found: dict[str, int] = {}
        names = axes.split()
        # the odd ones first: the others could use them all up
        for name in sorted(names, key=lambda name: not name.startswith("T")):
            fitting = [size for size in free if size % 2 or not name.startswith("T")]
            found[name] = self.random.choice(fitting)
            free.remove(found[name])
        return tuple(found[name] for name in names)

    def tensors(self, *shapes: tuple[int, ...]) -> tuple[Tensor, ...]:
        """Return one float32 CPU tensor of normal numbers per shape."""
        return random_inputs(*shapes, seed=self.random.getrandbits(62))


def drawn(task: str, *, times: int) -> Iterator[Draw]:
    """Yield draws for the hidden tests of a task: others for every student and every task.

    >>> one, other = drawn("attend", times=2)
    >>> one.random.random() == other.random.random()
    False
    """
    seed = os.environ.get(SEED_VARIABLE, "for everyone")
    for number in range(times):
        yield Draw(f"{seed}/{task}/{number}")
