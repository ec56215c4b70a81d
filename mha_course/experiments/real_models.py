"""The two trained models that experiments look into, and the text that they read.

The text is the reference of the Python language, which every Python installation carries. Both
models are loaded once in a process, and are shared by everything that runs in it.
"""

from __future__ import annotations

from functools import cache

from jaxtyping import Int
from torch import Tensor

from mha_course.heads import TextModel, load
from mha_course.heads.survey import Settings, chosen_chunks


@cache
def text() -> str:
    """Return the reference text, some hundreds of thousands of characters."""
    from pydoc_data.topics import topics  # heavy

    return "\n".join(topics.values())


@cache
def model(name: str) -> TextModel:
    """Load "minilm" or "smollm2", once in each process."""
    return load(name)


def text_chunks(name: str, *, size: int, count: int) -> Int[Tensor, "chunks T"]:
    """Cut chunks from all over the text, for the tokeniser of a model; never the same tokens twice.

    Args:
        name: "minilm" or "smollm2".
        size: Tokens in each chunk, special ones included.
        count: Chunks.

    Raises:
        ValueError: the text has fewer chunks, or `count` is below 4.
    """
    return chosen_chunks(model(name), text(), Settings(size=size, chunks=count))
