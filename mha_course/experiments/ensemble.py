"""Train the same small model from many seeds at once.

One batched step for all seeds costs little more than a step for one: tiny models spend their
time in overhead, not in arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

Model = TypeVar("Model", bound=nn.Module)

Batch = tuple[Tensor, ...]
"""Tensors whose first axis is the seed."""


class Ensemble:
    """Copies of one model, initialised from `seeds` and trained side by side.

    Args:
        make_model: Builds one model; called once per seed, after `torch.manual_seed(seed)`.
        seeds: One copy of the model for each.
    """

    def __init__(self, make_model: Callable[[], nn.Module], seeds: Sequence[int]) -> None:
        if not seeds:
            raise ValueError("seeds is empty; give at least one")
        models = []
        with torch.random.fork_rng(devices=[]):  # leave the caller's random numbers alone
            for seed in seeds:
                torch.manual_seed(seed)
                models.append(make_model())
        self.seeds = tuple(seeds)
        self.parameters, self._buffers = stack_module_state(models)
        self._skeleton = deepcopy(models[0]).to("meta")

    def __call__(self, *batch: Tensor) -> Tensor:
        """Apply each copy to its own slice of the batch."""

        def one(parameters: dict[str, Tensor], buffers: dict[str, Tensor], *x: Tensor) -> Tensor:
            output: Tensor = functional_call(self._skeleton, (parameters, buffers), x)
            return output

        output: Tensor = vmap(one)(self.parameters, self._buffers, *batch)
        return output

    def member(self, index: int, like: Model) -> Model:
        """Return the copy trained from `seeds[index]`, loaded into `like`."""
        like.load_state_dict({name: p[index].detach() for name, p in self.parameters.items()})
        return like

    def fit(
        self,
        make_batch: Callable[[list[torch.Generator]], tuple[Batch, Tensor]],
        *,
        steps: int,
        learning_rate: float,
    ) -> list[float]:
        """Minimise the mean squared error with Adam, on a fresh batch at every step.

        Args:
            make_batch: Gets one random generator per seed; returns inputs and targets.
            steps: Number of steps.
            learning_rate: Adam's learning rate at the start; a cosine takes it to zero.

        Returns:
            The loss at every step, as the mean over the seeds.
        """
        generators = [torch.Generator().manual_seed(seed) for seed in self.seeds]
        optimiser = torch.optim.Adam(self.parameters.values(), lr=learning_rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        history = []
        with one_thread():
            for _ in range(steps):
                inputs, target = make_batch(generators)
                # summed over seeds, so that each copy gets exactly the gradient of its own loss
                loss = (self(*inputs) - target).square().flatten(1).mean(1).sum()
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
                schedule.step()
                history.append(loss.item() / len(self.seeds))
        return history


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread.

    Tiny tensors gain nothing from more, and on a busy machine threads that wait for each other
    make a step many times slower.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
