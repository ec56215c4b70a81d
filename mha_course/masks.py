"""Who may attend to whom: boolean masks, True = may attend, here and everywhere in the course."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Integer
from torch import Tensor

from mha_course import _checks


def causal_mask(
    num_queries: int, num_keys: int, device: torch.device | None = None
) -> Bool[Tensor, "T_q T_k"]:
    """Mask in which a query may attend to itself and to what came before it.

    With fewer queries than keys the queries are the *last* ones (bottom-right alignment),
    which is what step-by-step decoding needs. With more queries than keys the first queries
    stand before every key: their rows are all False.

    Raises:
        ValueError: a number is below 0.
        TypeError: a number is not an int.

    >>> causal_mask(2, 3).int().tolist()
    [[1, 1, 0], [1, 1, 1]]
    """
    _checks.at_least_0("num_queries", num_queries)
    _checks.at_least_0("num_keys", num_keys)
    everything = torch.ones(num_queries, num_keys, dtype=torch.bool, device=device)
    return everything.tril(diagonal=num_keys - num_queries)


def padding_mask(key_lengths: Integer[Tensor, " B"], num_keys: int) -> Bool[Tensor, "B 1 1 T_k"]:
    """Mask in which sequence b may attend to its first `key_lengths[b]` keys, and not to padding.

    A length above `num_keys` allows all keys, and one below 1 none: lengths are not looked at,
    as a GPU would have to be waited for.

    Raises:
        ValueError: `key_lengths` has not one axis, or `num_keys` is below 0.
        TypeError: `key_lengths` does not hold whole numbers, or `num_keys` is not an int.

    >>> padding_mask(torch.tensor([1, 3]), num_keys=3).int().tolist()
    [[[[1, 0, 0]]], [[[1, 1, 1]]]]
    """
    _checks.rank("key_lengths", key_lengths, ("B",))
    if key_lengths.is_floating_point() or key_lengths.dtype == torch.bool:
        raise TypeError(
            f"key_lengths has dtype {key_lengths.dtype}; it must hold whole numbers, "
            "the number of keys of each sequence"
        )
    _checks.at_least_0("num_keys", num_keys)
    positions = torch.arange(num_keys, device=key_lengths.device)
    return (positions < key_lengths[:, None])[:, None, None, :]


def both(a: Bool[Tensor, "*a"] | None, b: Bool[Tensor, "*b"] | None) -> Bool[Tensor, "*c"] | None:
    """Return the mask that allows what both allow; None allows everything.

    >>> both(torch.tensor([True, False]), None)
    tensor([ True, False])
    """
    if a is None or b is None:
        return b if a is None else a
    return a & b


def per_head(
    attn_mask: Bool[Tensor, "*mask"], scores_shape: tuple[int, int, int, int], device: torch.device
) -> Bool[Tensor, "#B #h #T_q #T_k"]:
    """Bring a mask of 2 or 4 axes to 4, that is `[B|1, h|1, T_q|1, T_k|1]`.

    Raises:
        ValueError: it does not fit scores of shape `[B, h, T_q, T_k]`, or is on another device.
        TypeError: it is not a boolean tensor.

    >>> per_head(causal_mask(5, 7), (2, 4, 5, 7), torch.device("cpu")).shape
    torch.Size([1, 1, 5, 7])
    """
    _checks.mask_of_heads(attn_mask, scores_shape, device)
    return attn_mask[None, None] if attn_mask.dim() == 2 else attn_mask
