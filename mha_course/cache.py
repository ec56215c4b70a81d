"""Keys and values of the tokens so far, kept for step-by-step decoding."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from mha_course import _checks

SMALLEST_CAPACITY = 64


class KVCache:
    """Grows by what each step appends; pass the same one to every step of one sequence.

    Room is doubled when it runs out, so that a step copies little on average. It is for
    inference: what it holds carries no gradient.

    >>> cache = KVCache()
    >>> with torch.no_grad():
    ...     keys, _ = cache.append(torch.zeros(1, 2, 3, 4), torch.zeros(1, 2, 3, 5))
    ...     keys, _ = cache.append(torch.zeros(1, 2, 1, 4), torch.zeros(1, 2, 1, 5))
    >>> cache.num_tokens, keys.shape, cache.nbytes
    (4, torch.Size([1, 2, 4, 4]), 288)
    """

    def __init__(self) -> None:
        self.num_tokens = 0
        self._keys: Tensor | None = None  # [B, g, capacity, d_head]
        self._values: Tensor | None = None  # [B, g, capacity, d_v]

    @property
    def nbytes(self) -> int:
        """Bytes of the keys and values so far; the room kept for later ones is not counted."""
        return sum(
            room[..., : self.num_tokens, :].numel() * room.element_size()
            for room in (self._keys, self._values)
            if room is not None
        )

    def append(
        self, keys: Float[Tensor, "B g T d_head"], values: Float[Tensor, "B g T d_v"]
    ) -> tuple[Float[Tensor, "B g T_k d_head"], Float[Tensor, "B g T_k d_v"]]:
        """Add the keys and values of T more tokens, and return those of all T_k so far.

        What is refused changes nothing.

        Raises:
            ValueError: keys and values do not belong together, or the new tokens are of another
                batch size, width, dtype or device than those in the cache.
            TypeError: keys or values are not floating-point tensors, or their dtypes differ.
            RuntimeError: a gradient is wanted, which a cache cannot carry, or the cache was filled
                under `torch.inference_mode()`, and this call is not.
        """
        for name, tensor, width in (("keys", keys, "d_head"), ("values", values, "d_v")):
            _checks.rank(name, tensor, ("B", "g", "T", width))
            _checks.floating_point(name, tensor)
        _checks.same_kind("keys", keys, "values", values)
        if torch.is_grad_enabled() and (keys.requires_grad or values.requires_grad):
            raise RuntimeError(
                "a KVCache carries no gradient: decode under torch.inference_mode(), "
                "and train without a cache"
            )
        if keys.shape[:-1] != values.shape[:-1]:
            raise ValueError(
                f"keys have shape {list(keys.shape)} and values {list(values.shape)}; "
                "all axes but the last must be equal: each key has one value"
            )
        # both are checked before one of them gets more room
        _same_but_for_tokens("keys", self._keys, keys, self.num_tokens)
        _same_but_for_tokens("values", self._values, values, self.num_tokens)
        end = self.num_tokens + keys.shape[-2]
        self._keys = _with_room(self._keys, keys, self.num_tokens, end)
        self._values = _with_room(self._values, values, self.num_tokens, end)
        self._keys[..., self.num_tokens : end, :] = keys
        self._values[..., self.num_tokens : end, :] = values
        self.num_tokens = end
        return self._keys[..., :end, :], self._values[..., :end, :]


def _same_but_for_tokens(name: str, room: Tensor | None, new: Tensor, used: int) -> None:
    """Raise unless `new` continues what lies in `room`."""
    if room is None:
        return
    *batch, _, width = new.shape
    *old_batch, _, old_width = room.shape
    if (old_batch, old_width) != (batch, width) or room.dtype != new.dtype:
        raise ValueError(
            f"the cache holds {name} of shape {[*old_batch, used, old_width]} and dtype "
            f"{room.dtype}, the new ones are {list(new.shape)} and {new.dtype}; only T, the "
            "axis before the last, may differ. Use a new KVCache for each batch of sequences"
        )
    if room.device != new.device:
        raise ValueError(
            f"the cache is on {room.device} and the new {name} on {new.device}; use a new "
            "KVCache after moving the module"
        )
    if torch.compiler.is_compiling() or torch.is_inference_mode_enabled():
        return  # a compiler cannot trace the next question
    if room.is_inference():
        raise RuntimeError(
            "the cache was filled under torch.inference_mode() and can only grow there: go on "
            "under it, or use a new KVCache"
        )


def _with_room(room: Tensor | None, new: Tensor, used: int, needed: int) -> Tensor:
    """Return `room`, or a larger copy of it if `needed` tokens do not fit."""
    if room is not None and needed <= room.shape[-2]:
        return room
    *batch, _, width = new.shape
    larger = new.new_empty(*batch, max(2 * used, needed, SMALLEST_CAPACITY), width)
    if room is not None:
        larger[..., :used, :] = room[..., :used, :]
    return larger
