"""The right answers of the assignment `redundancy`, as functions with the learners' names.

Below them stands what its tests hand over: losses that depend on gates, changes of the loss with
given t-values, and the numbers measured on MiniLM.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

Loss = Callable[[Sequence[float]], float]
"""Loss of a model with these gates, one for each head."""

Job = tuple[float, tuple[int, ...]]
"""By how much the loss rises when none of these heads is left."""


def pattern_divergence(one: Tensor, other: Tensor) -> float:
    """Jensen-Shannon divergence of two patterns [T_q, T_k] in bits, averaged over the queries."""
    one, other = one.double(), other.double()
    own = (_entropy(one) + _entropy(other)) / 2
    return float((_entropy((one + other) / 2) - own).mean())


def linear_cka(z_i: Tensor, z_j: Tensor) -> float:
    """Plain linear CKA of two outputs [tokens, width], centred over the tokens."""
    one, other = (z.double() - z.double().mean(dim=0) for z in (z_i, z_j))
    shared = (one.T @ other).norm() ** 2
    return float(shared / (one.T @ one).norm() / (other.T @ other).norm())


def gate_importance(contributions: Tensor, gradient: Tensor) -> Tensor:
    """Mean over texts of the size of the slope in each gate: [h].

    Args:
        contributions: What each head adds to the output, [B, h, T, d_model].
        gradient: Of each text's own loss with respect to the output, [B, T, d_model].
    """
    return torch.einsum("bhtd,btd->bh", contributions, gradient).abs().mean(dim=0)


def leave_one_out(loss: Loss, num_heads: int) -> Tensor:
    """Loss without each head alone, minus the loss of the whole model: [h]."""
    return without_each(loss, num_heads) - loss([1.0] * num_heads)


def pruning_order(importance: Tensor) -> Tensor:
    """(layer, head) of all heads, least important first, among equals the first: [n, 2]."""
    flat = importance.flatten().argsort(stable=True)
    return torch.stack([flat // importance.shape[1], flat % importance.shape[1]], dim=1)


def pruning_curve(loss: Loss, order: Sequence[int]) -> Tensor:
    """Loss after removing the first 0, 1, 2, … heads of an order: [h + 1]."""
    removed = [set(order[:count]) for count in range(len(order) + 1)]
    return torch.tensor(
        [loss([float(i not in gone) for i in range(len(order))]) for gone in removed],
        dtype=torch.float64,
    )


def share_that_can_go(losses: Sequence[float], limit: float) -> float:
    """Largest share of heads up to which the loss never exceeds the intact loss by more."""
    within = torch.tensor([loss <= losses[0] + limit for loss in losses]).long().cumprod(0)
    return (int(within.sum()) - 1) / (len(losses) - 1)


def as_good_by_chance(curve: Tensor, random_curves: Tensor) -> Tensor:
    """Share of random orders whose loss is no higher, for each number of heads: [points]."""
    return (random_curves <= curve).double().mean(dim=0)


def looks_harmful(changes: Tensor) -> Tensor:
    """Whether the mean of [h, pieces] lies more than 2 standard errors below 0: [h]."""
    return t_values(changes) < -2


def negative_heads(finding: Tensor, confirming: Tensor) -> Tensor:
    """Whether a head looks harmful in both parts of the text: [h]."""
    return looks_harmful(finding) & looks_harmful(confirming)


def merge_twins(W_O: Tensor, groups: Sequence[int]) -> Tensor:
    """One block of rows for each group of equal heads, the sum of theirs: [groups·d_head, d_model].

    Args:
        W_O: [h·d_head, d_model].
        groups: Number of each head's group, from 0.
    """
    by_head = W_O.reshape(len(groups), -1, W_O.shape[1])
    merged = by_head.new_zeros(max(groups) + 1, *by_head.shape[1:])
    return merged.index_add(0, torch.tensor(groups), by_head).flatten(0, 1)


# ---------------------------------------------------------------------- what tests hand over


def loss_of_jobs(num_heads: int, intact: float, jobs: Sequence[Job]) -> Loss:
    """Make a loss in which each job is done as long as one of its heads is left.

    Two heads with the same job can each go alone, and not both. A head with a job of negative
    worth does harm.

    >>> loss = loss_of_jobs(3, 1.0, [(2.0, (0, 1)), (0.5, (2,))])
    >>> loss([1, 1, 1]), loss([0, 1, 1]), loss([0, 0, 1]), loss([1, 1, 0])
    (1.0, 1.0, 3.0, 1.5)
    """

    def loss(gates: Sequence[float]) -> float:
        given = [float(gate) for gate in gates]
        if len(given) != num_heads:
            raise ValueError(
                f"loss got {len(given)} gates; it needs {num_heads}, one for each head"
            )
        missing = (math.prod(1 - given[head] for head in heads) for _, heads in jobs)
        return intact + sum(worth * part for (worth, _), part in zip(jobs, missing, strict=True))

    return loss


def drawn_loss(draw: random.Random, num_heads: int) -> Loss:
    """Draw a loss in which heads have jobs alone and in pairs, and the last one does harm."""
    alone: list[Job] = [(draw.uniform(0.1, 1), (head,)) for head in range(num_heads - 1)]
    pairs: list[Job] = [
        (draw.uniform(1, 2), (head, (head + 1) % num_heads)) for head in range(0, num_heads, 2)
    ]
    harm: list[Job] = [(-draw.uniform(0.2, 0.5), (num_heads - 1,))]
    return loss_of_jobs(num_heads, draw.uniform(1.5, 3), [*alone, *pairs, *harm])


def changes_with(t: Sequence[float], noise: Tensor) -> Tensor:
    """Shift and scale each row of `noise`, so that its mean is t standard errors: [h, pieces]."""
    spread = (noise - noise.mean(dim=1, keepdim=True)) / noise.std(dim=1, keepdim=True)
    size = torch.arange(1, len(t) + 1)[:, None] / 50
    return (spread + torch.tensor(t)[:, None] / math.sqrt(noise.shape[1])) * size


def measured(name: str) -> Tensor:
    """Numbers of MiniLM, from the file beside the notebook."""
    return _read(Path("minilm.json").resolve())[name].clone()


# ---------------------------------------------------------------------------------- parts


def without_each(loss: Loss, num_heads: int) -> Tensor:
    """Loss without each head alone: [h]."""
    others = (1 - torch.eye(num_heads)).tolist()
    return torch.tensor([loss(gates) for gates in others], dtype=torch.float64)


def t_values(changes: Tensor) -> Tensor:
    """Mean of each row, in standard errors: [h]."""
    error = changes.double().std(dim=1) / math.sqrt(changes.shape[1])
    t: Tensor = changes.double().mean(dim=1) / error
    return t


@cache
def _read(path: Path) -> dict[str, Tensor]:
    """Read the file once in each process: it has twenty thousand numbers."""
    data = json.loads(path.read_text(encoding="utf-8"))
    return {name: torch.tensor(numbers) for name, numbers in data.items() if name != "about"}


def _entropy(p: Tensor) -> Tensor:
    in_nats: Tensor = torch.special.entr(p).sum(dim=-1)
    return in_nats / math.log(2)
