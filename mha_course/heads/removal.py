"""Take heads out of our own modules for real: smaller matrices, the same output.

A head whose gate is 0 adds nothing to the sum over heads, so its matrices can go:

    Σ_i gate_i z_i W_O_i + b_O  =  Σ_{i left} z_i W_O_i + b_O     gate_i = 1 if i is left, else 0

With head i go its rows of W_Q and b_Q and its columns of W_O; the rows of W_K, b_K, W_V and b_V go
when the last head that used them does. b_O stays: it belongs to no head. Pruning of this kind is
in Michel et al. 2019 and Voita et al. 2019.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from math import gcd
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mha_course import _checks
from mha_course.cache import KVCache
from mha_course.forms import Heads
from mha_course.multi_head import MultiHeadAttention


def remove_heads(mha: MultiHeadAttention, heads: Iterable[int]) -> PrunedAttention:
    """Return a new module without these heads, whose output is that of gating them with 0.

    Heads are always called by their number in the module that nothing was removed from, counted
    from 0. Head 3 is still head 3 after head 1 has gone: `kept` of the new module has the numbers
    that are left.

    A key/value head goes when no query head uses it any more. Where its query heads lose
    unequally many, `PrunedAttention` says what happens. With no head left, the result is an
    `EmptiedAttention`. The new module shares no memory with the old one, and takes over its form,
    dropout, mode, dtype, device and which parameters are trained; hooks stay behind.

    Args:
        mha: Module to take heads from; it is left as it is.
        heads: Numbers of the heads to remove; none gives a copy.

    Raises:
        ValueError: there is no such head, or it was removed before.
        TypeError: `mha` is no `MultiHeadAttention`, or a number is not an int.

    >>> pruned = remove_heads(MultiHeadAttention(12, 4), [1])
    >>> remove_heads(pruned, [3]).kept
    (0, 2)
    >>> pruned(torch.randn(2, 5, 12)).shape
    torch.Size([2, 5, 12])
    """
    _checks.instance("mha", mha, MultiHeadAttention)
    numbers = heads_left(mha)
    removed = set()
    for head in heads:
        _checks.at_least_0("head", head)
        if head not in numbers:
            there = ", ".join(map(str, numbers)) or "none"
            raise ValueError(
                f"head={head} is not in this module; its heads are {there}. Heads keep the numbers "
                "that they had before any was removed, see heads_left"
            )
        removed.add(head)
    left = [place for place, number in enumerate(numbers) if number not in removed]
    return PrunedAttention(mha, left) if left else EmptiedAttention(mha, left)


def heads_left(mha: MultiHeadAttention) -> tuple[int, ...]:
    """Numbers of the heads that a module has, from before any was removed.

    >>> heads_left(MultiHeadAttention(12, 4))
    (0, 1, 2, 3)
    """
    return mha.kept if isinstance(mha, PrunedAttention) else tuple(range(mha.shape.num_heads))


class PrunedAttention(MultiHeadAttention):
    """Multi-head attention that some heads were removed from; made by `remove_heads`.

    It is called as before. Gates, and masks that differ from head to head, are those of the heads
    that are left, as in `gates[..., list(pruned.kept)]`.

    In grouped-query attention each key/value head serves equally many query heads. Where unequally
    many are left, as 1 and 2, key/value heads are handed out more than once: 3 query heads use the
    key/value heads 0, 1, 1. Copies are one and the same parameter, so outputs, gradients and the
    number of parameters are exact. The price is that a `KVCache` holds every copy, and
    `shape.num_kv_heads` counts them; with equally many heads left in each group there are none.

    Args:
        whole: Module to take heads from.
        left: Places in `whole` of the heads that stay, in ascending order.

    Attributes:
        kept: Numbers of the heads that are left, from before any was removed.
        kv_of_head: For each of these heads, which of the key/value heads left it uses.
    """

    def __init__(self, whole: MultiHeadAttention, left: Sequence[int]) -> None:
        nn.Module.__init__(self)  # the parent's would draw weights, and refuses to have no head
        s = whole.shape
        numbers, served_by = heads_left(whole), _kv_of_head(whole)
        kv_of_head = [served_by[place] for place in left]
        kv_left = sorted(set(kv_of_head))
        # the largest groups of query heads in which all have the same key/value head
        group = gcd(*Counter(kv_of_head).values()) or 1
        self.kept = tuple(numbers[place] for place in left)
        self.kv_of_head = tuple(kv_left.index(kv) for kv in kv_of_head)
        handed_out = self.kv_of_head[::group]
        self.shape = s._replace(num_heads=len(left), num_kv_heads=len(handed_out))
        self.dropout, self.form = whole.dropout, whole.form
        self.w_q = _part(whole.w_q, rows=_of_heads(left, s.d_head))
        for name, width in (("w_k", s.d_head), ("w_v", s.d_v)):
            before = getattr(whole, name)
            once = before.linear if isinstance(before, RepeatedHeads) else before
            part = _part(once, rows=_of_heads(kv_left, width))
            repeated = len(handed_out) > len(kv_left)
            copies = _of_heads(handed_out, width)
            setattr(self, name, RepeatedHeads(part, copies) if repeated else part)
        self.w_o = _part(whole.w_o, columns=_of_heads(left, s.d_v))
        self.train(whole.training)

    def extra_repr(self) -> str:
        """Sizes and the heads that are left, shown when the module is printed."""
        return f"{super().extra_repr()}, kept={self.kept}"


class EmptiedAttention(PrunedAttention):
    """Multi-head attention that all heads were removed from: its output is b_O, or zeros.

    It is called as before, and refuses what was refused before. Its weights have a head axis of
    length 0. A cache counts the tokens, and stores nothing.
    """

    def heads(
        self,
        query: Float[Tensor, "B T_q d_model"],
        key: Float[Tensor, "B T_new kdim"] | None = None,
        value: Float[Tensor, "B T_new vdim"] | None = None,
        *,
        attn_mask: Tensor | None = None,
        key_lengths: Tensor | None = None,
        cache: KVCache | None = None,
        **__: Any,
    ) -> Heads:
        """Return what no head computes: z of shape `[B, 0, T_q, d_v]`, and weights of none."""
        key, value, _ = self._checked(query, key, value, attn_mask, key_lengths, cache, 0)
        q = _no_heads(self.w_q(query), self.shape.d_head)
        k = _no_heads(self.w_k(key), self.shape.d_head)
        v = _no_heads(self.w_v(value), self.shape.d_v)
        if cache is not None:
            k, v = cache.append(k, v)
        weights = q @ k.mT  # [B, 0, T_q, T_k], and part of the graph: gradients are 0, not missing
        return Heads(weights @ v, None if self.form == "fused" else weights)


class RepeatedHeads(nn.Module):
    """Projection into key/value heads, some of which are handed out more than once.

    Args:
        linear: Projection into each of the heads once.
        rows: Which of its outputs stands where.
    """

    def __init__(self, linear: nn.Linear, rows: Sequence[int]) -> None:
        super().__init__()
        self.linear = linear
        self.in_features, self.out_features = linear.in_features, len(rows)
        self.rows: Tensor
        index = torch.tensor(rows, device=linear.weight.device)
        self.register_buffer("rows", index, persistent=False)

    @property
    def weight(self) -> Float[Tensor, "rows d_in"]:
        """The matrix as if each copy had rows of its own."""
        return self.linear.weight[self.rows]

    @property
    def bias(self) -> Float[Tensor, " rows"] | None:
        """The bias as if each copy had one of its own."""
        return None if self.linear.bias is None else self.linear.bias[self.rows]

    def forward(self, x: Float[Tensor, "B T d_in"]) -> Float[Tensor, "B T rows"]:
        """Project into each head once, and hand it out."""
        output: Tensor = self.linear(x)[..., self.rows]
        return output


# ---------------------------------------------------------------------------------- parts


def _kv_of_head(mha: MultiHeadAttention) -> tuple[int, ...]:
    if isinstance(mha, PrunedAttention):
        return mha.kv_of_head
    group = mha.shape.num_heads // mha.shape.num_kv_heads
    return tuple(head // group for head in range(mha.shape.num_heads))


def _of_heads(heads: Sequence[int], width: int) -> list[int]:
    """Rows or columns of these heads in a matrix in which each head has `width` of them."""
    return [head * width + i for head in heads for i in range(width)]


def _part(
    linear: nn.Linear, *, rows: list[int] | None = None, columns: list[int] | None = None
) -> nn.Linear:
    """Copy some rows, with their biases, or some columns, with the whole bias."""
    weight, bias = linear.weight.detach(), linear.bias
    weight = weight[:, columns] if rows is None else weight[rows]  # a list of places makes a copy
    part = nn.Linear(1, 1, bias=False, device="meta")  # draws no random numbers
    part.out_features, part.in_features = weight.shape
    part.weight = nn.Parameter(weight, linear.weight.requires_grad)
    if bias is not None:
        values = bias.detach().clone() if rows is None else bias.detach()[rows]
        part.bias = nn.Parameter(values, bias.requires_grad)
    return part


def _no_heads(x: Float[Tensor, "B T 0"], width: int) -> Float[Tensor, "B 0 T width"]:
    return x.reshape(x.shape[0], 0, x.shape[1], width)
