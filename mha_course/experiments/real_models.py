"""The two trained models that experiments look into, and the text that they read.

The text is the reference of the Python language, which every Python installation carries. Both
models are loaded once in a process, and are shared by everything that runs in it.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from jaxtyping import Int
from torch import Tensor

from mha_course.heads import TextModel, load
from mha_course.heads.survey import Settings, chosen_chunks
from mha_course.heads.tasks import TextBatch


class Texts(NamedTuple):
    """What one model reads, cut into pieces that are measured one by one.

    Args:
        name: "minilm" or "smollm2".
        size: Tokens in a chunk.
        together: Chunks that go through the model together, and make one piece.
        pieces: Pieces.
    """

    name: str
    size: int
    together: int
    pieces: int


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


def piece_chunks(
    name: str, size: int, together: int, pieces: int, number: int
) -> Int[Tensor, "chunks T"]:
    """Chunks of one piece; they come from all over the text. Arguments are those of `Texts`."""
    return text_chunks(name, size=size, count=together * pieces)[number::pieces]


def text_piece(name: str, size: int, together: int, pieces: int, number: int) -> TextBatch:
    """One piece, ready to be measured. Arguments are those of `Texts`."""
    return TextBatch(model(name), piece_chunks(name, size, together, pieces, number))
