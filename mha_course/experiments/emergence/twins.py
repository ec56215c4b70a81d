"""Heads that start alike, how different they become, and what is needed for that.

Heads of one layer whose slices of W_Q, W_K, W_V and W_O are the same compute the same, and get the
same gradient. So whatever the data are, an optimiser keeps them alike.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mha_course.forms import FormName
from mha_course.multi_head import MultiHeadAttention

PARTS = "qkvo"


def make_alike(attention: MultiHeadAttention, parts: str = PARTS, *, noise: float = 0.0) -> None:
    """Give all heads the slices of head 0, in place.

    Args:
        attention: Module with as many key/value heads as heads.
        parts: Which projections, some of "qkvo".
        noise: Standard deviation of what is then added to every slice of these projections,
            drawn from torch's global random numbers.

    >>> mha = MultiHeadAttention(12, 4)
    >>> make_alike(mha)
    >>> difference(mha)
    0.0
    """
    with torch.no_grad():
        for part in parts:
            for weight in _parameters(attention, part):
                of_heads = _by_head(weight, attention, part)
                of_heads.copy_(of_heads[:1].clone().expand_as(of_heads))
                of_heads.add_(noise * torch.randn(of_heads.shape))


def difference(attention: MultiHeadAttention, *, of_gradients: bool = False) -> float:
    """Return the largest difference between two heads, as a share of the largest number in them.

    Each projection is compared with itself; the answer is that of the one that differs most.

    Raises:
        ValueError: there are no gradients yet.
    """
    most = 0.0
    for part in PARTS:
        numbers = []
        for weight in _parameters(attention, part):
            of_one = weight.grad if of_gradients else weight.detach()
            if of_one is None:
                raise ValueError(f"w_{part} has no gradient; call backward() on a loss first")
            numbers.append(_by_head(of_one, attention, part).flatten(1))
        of_heads = torch.cat(numbers, dim=1)  # [h, numbers of a head]
        spread = of_heads.amax(0) - of_heads.amin(0)
        most = max(most, (spread.max() / of_heads.abs().max()).item())
    return most


def gradient_difference(d_model: int, num_heads: int, form: FormName, seed: int) -> float:
    """Difference between the gradients of heads that are alike, for random inputs and loss."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        attention = MultiHeadAttention(d_model, num_heads, form=form)
    make_alike(attention)
    x, direction = torch.randn(2, 3, 23, d_model, generator=generator)
    output: Tensor = attention(x, is_causal=True)
    (output * direction).sum().backward()
    return difference(attention, of_gradients=True)


def _parameters(attention: MultiHeadAttention, part: str) -> list[Tensor]:
    """Weight, and bias if each head has a part of it: the bias of W_O belongs to all of them."""
    projection: nn.Linear = getattr(attention, f"w_{part}")
    has_bias = part != "o" and projection.bias is not None
    return [projection.weight, projection.bias] if has_bias else [projection.weight]


def _by_head(
    weight: Tensor, attention: MultiHeadAttention, part: str
) -> Float[Tensor, "h d_head other"]:
    """View of a parameter with the heads as first axis."""
    num_heads = attention.shape.num_heads
    if part == "o":  # [d_model, h*d_v]
        return weight.view(weight.shape[0], num_heads, -1).permute(1, 2, 0)
    return weight.view(num_heads, weight.shape[0] // num_heads, -1)
