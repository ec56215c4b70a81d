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

        Raises:
            ValueError: the new tokens are of another batch size, width, dtype or device.
            TypeError: keys or values are no tensor.
            RuntimeError: a gradient is wanted, which a cache cannot carry.
        """
        _checks.rank("keys", keys, ("B", "g", "T", "d_head"))
        _checks.rank("values", values, ("B", "g", "T", "d_v"))
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
        end = self.num_tokens + keys.shape[-2]
        self._keys = _with_room("keys", self._keys, keys, self.num_tokens, end)
        self._values = _with_room("values", self._values, values, self.num_tokens, end)
        self._keys[..., self.num_tokens : end, :] = keys
        self._values[..., self.num_tokens : end, :] = values
        self.num_tokens = end
        return self._keys[..., :end, :], self._values[..., :end, :]


def _with_room(name: str, room: Tensor | None, new: Tensor, used: int, needed: int) -> Tensor:
    """Return `room`, or a larger copy of it if `needed` tokens do not fit."""
    *batch, _, width = new.shape
    if room is not None:
        *old_batch, capacity, old_width = room.shape
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
        if needed <= capacity:
            return room
    larger = new.new_empty(*batch, max(2 * used, needed, SMALLEST_CAPACITY), width)
    if room is not None:
        larger[..., :used, :] = room[..., :used, :]
    return larger
