"""One way to be wrong."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Mistake(NamedTuple):
    """One way to be wrong.

    Attributes:
        says: What is likely wrong, in a sentence or two.
        value: What a function with this mistake returns.
        read: Anchor of the section to read, where it is not the one of the whole exercise.
    """

    says: str
    value: Tensor | float | str | tuple[str, ...]
    read: str | None = None
