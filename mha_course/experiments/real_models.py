"""The two trained models that experiments look into, and the text that they read.

The text is the reference of the Python language, which every Python installation carries. Both
models are loaded once in a process, and are shared by everything that runs in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import NamedTuple, TypeVar

from jaxtyping import Int
from torch import Tensor

from mha_course.experiments.result import NOT_MEASURED, Finding
from mha_course.heads import TextModel, load
from mha_course.heads.survey import Settings, chosen_chunks
from mha_course.heads.tasks import TextBatch

TITLES = {"minilm": "MiniLM", "smollm2": "SmolLM2"}
"""The models, and how they are called in a sentence."""

Found = TypeVar("Found")


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


def piece_chunks(texts: Texts, number: int) -> Int[Tensor, "chunks T"]:
    """Chunks of one piece, numbered from 0; they come from all over the text."""
    chunks = text_chunks(texts.name, size=texts.size, count=texts.together * texts.pieces)
    return chunks[number :: texts.pieces]


def text_piece(texts: Texts, number: int) -> TextBatch:
    """One piece, numbered from 0, ready to be measured."""
    return TextBatch(model(texts.name), piece_chunks(texts, number))


def of_each_model(
    key: str, of: Mapping[str, Found], judge: Callable[[str, Found], Finding]
) -> dict[str, Finding]:
    """One finding about each model, named after it; a quick run leaves a model out.

    Args:
        key: The finding's name, without that of the model.
        of: What was found about each model that was measured.
        judge: Gets the name of a model and what was found about it.
    """
    return {
        f"{key}-{name}": judge(name, of[name]) if name in of else NOT_MEASURED for name in TITLES
    }
