"""One head, many heads: attention on the reader's sentence, with matrices that are set by hand.

There is no model in a page, so the vectors and the matrices are made to be seen through. Four
relations are asked for at once, each by a quarter of W_Q and W_K: the previous word, the same word,
the first word and the longest word. W_V hands the word's signs to every quarter, and W_O leaves
everything where it is. The matrices do not change with the number of heads: only where they are cut
does.

    x = [ signs | waves | ones | length ], 16 numbers each

         signs    1 or -1, drawn by a hash of the word
         waves    cosine and sine of 8 frequencies at the word's place
         length   16 times the same number: 0.4 for each letter
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from mha_course.multi_head import MultiHeadAttention
from mha_course.widgets.live import Heights, LiveFigure

RELATIONS = ("previous", "same", "first", "longest")
"""What the quarters of the matrices ask for, in their order."""

HEADS = (1, 2, 4, 8)
MOST_TOKENS = 12

_WIDTH = 16  # of a word's vector, and of what a relation asks for
_D_MODEL = 4 * _WIDTH
_PLACES = 17  # waves come back after so many
# With 17 places, cosines of all 8 frequencies add up to 8 at distance 0 and to -1/2 at any other.
# Of the first half and of the second they add up to 4, and to at most 0.8 at any other: so a head
# that has only one half of them still finds a place.
_FREQUENCIES = (1, 2, 4, 8, 3, 5, 6, 7)
_SHARPNESS = 2.0
_PER_LETTER = 0.4
_DIGITS = 8  # in the state
_EDGES = ".,;:!?\"'()[]{}…“”„‘’«»"

_HEIGHTS = Heights(wide=724, narrow=1080)


class Matrices(NamedTuple):
    """The four matrices of the figure, [d_model, d_model] each: x @ W."""

    W_Q: Float[Tensor, "d d"]
    W_K: Float[Tensor, "d d"]
    W_V: Float[Tensor, "d d"]
    W_O: Float[Tensor, "d d"]

    def module(self, num_heads: int) -> MultiHeadAttention:
        """Return the attention that these matrices are, cut into so many heads."""
        attention = MultiHeadAttention(_D_MODEL, num_heads, bias=False)
        layers = (attention.w_q, attention.w_k, attention.w_v, attention.w_o)
        with torch.no_grad():
            for layer, matrix in zip(layers, self, strict=True):
                layer.weight.copy_(matrix.T)
        return attention


def one_head_many_heads(
    sentence: str = "A small cat watched the dog and the dog slept", num_heads: int = 1
) -> LiveFigure:
    """Attend with one head or with several, on a sentence that the reader edits.

    Args:
        sentence: What stands in the field at first: 1 to 12 words.
        num_heads: Where the slider stands at first: 1, 2, 4 or 8.

    Raises:
        ValueError: the sentence has no words or too many, or the slider has no such number.
    """
    tokens = words(sentence)
    if not 1 <= len(tokens) <= MOST_TOKENS:
        raise ValueError(
            f"the sentence has {len(tokens)} words; the figure shows 1 to {MOST_TOKENS}"
        )
    if num_heads not in HEADS:
        raise ValueError(f"num_heads={num_heads}: the slider has {', '.join(map(str, HEADS))}")
    state = {
        "sentence": sentence,
        "num_heads": num_heads,
        "causal": True,
        "temperature": 1,
        "most_tokens": MOST_TOKENS,
        "edges": _EDGES,
        "per_letter": _PER_LETTER,
        "waves": [[round(x, _DIGITS) for x in waves(t)] for t in range(MOST_TOKENS)],
        "matrices": {name: _entries(m) for name, m in matrices()._asdict().items()},
    }
    return LiveFigure("one_head", state, _fallback(tokens), _HEIGHTS)


def words(sentence: str) -> list[str]:
    """Cut a sentence at its spaces, and take punctuation off the words.

    >>> words("“Run,” said the dog.")
    ['Run', 'said', 'the', 'dog']
    """
    return [word for part in sentence.split() if (word := part.strip(_EDGES))]


def signs(word: str) -> list[float]:
    """Sixteen signs that depend on the word alone, whatever its case.

    >>> signs("Cat") == signs("cat") != signs("mat")
    True
    """
    value = _hash(word.lower())
    return [1.0 if value >> i & 1 else -1.0 for i in range(_WIDTH)]


def waves(place: int) -> list[float]:
    """Cosine and sine of eight frequencies."""
    angles = [2 * math.pi * frequency * place / _PLACES for frequency in _FREQUENCIES]
    return [wave(angle) for angle in angles for wave in (math.cos, math.sin)]


def embedded(tokens: Sequence[str]) -> Float[Tensor, "T d"]:
    """Return the vectors of a sentence."""
    rows = []
    for place, token in enumerate(tokens):
        length = _PER_LETTER * len(token)
        rows.append(signs(token) + waves(place) + [1.0] * _WIDTH + [length] * _WIDTH)
    return torch.tensor(rows)


def matrices() -> Matrices:
    """Return W_Q, W_K, W_V and W_O: blocks of 16 rows for what x is made of, 16 columns a relation.

    Where a relation holds, its score is 16 · sharpness, before the division by √d_head.
    """
    word, place, ones, length = (slice(_WIDTH * i, _WIDTH * (i + 1)) for i in range(4))
    previous, same, first, longest = (slice(_WIDTH * i, _WIDTH * (i + 1)) for i in range(4))
    unit = torch.eye(_WIDTH)
    into_q, into_k, into_v = torch.zeros(3, _D_MODEL, _D_MODEL)

    # 8 frequencies add up to half of what 16 signs do
    into_q[place, previous] = 2 * _SHARPNESS * _one_place_back()
    into_k[place, previous] = unit
    into_q[word, same] = _SHARPNESS * unit
    into_k[word, same] = unit
    into_q[ones, first] = 2 * _SHARPNESS * torch.diag(torch.tensor(waves(0)))
    into_k[place, first] = unit
    into_q[ones, longest] = _SHARPNESS * unit
    into_k[length, longest] = unit

    for relation in (previous, same, first, longest):
        into_v[word, relation] = unit
    return Matrices(into_q, into_k, into_v, torch.eye(_D_MODEL))


def _one_place_back() -> Float[Tensor, "w w"]:
    """Matrix R for which waves(t) @ R = waves(t - 1)."""
    turns = torch.zeros(_WIDTH, _WIDTH)
    for i, frequency in enumerate(_FREQUENCIES):
        angle = 2 * math.pi * frequency / _PLACES
        cos, sin = math.cos(angle), math.sin(angle)
        wave = slice(2 * i, 2 * i + 2)
        turns[wave, wave] = torch.tensor([[cos, -sin], [sin, cos]])
    return turns


def _hash(text: str) -> int:
    """32 bits: FNV-1a, stirred as in MurmurHash3 so that words of one letter differ, too."""
    value = 0x811C9DC5
    for byte in text.encode("utf-8", errors="replace"):
        value = ((value ^ byte) * 0x01000193) & 0xFFFFFFFF
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        value = ((value ^ value >> shift) * factor) & 0xFFFFFFFF
    return value ^ value >> 16


def _entries(matrix: Tensor) -> list[list[Any]]:
    """Row, column and value of what is not 0: most is."""
    places = matrix.nonzero().tolist()
    return [[i, j, round(matrix[i, j].item(), _DIGITS)] for i, j in places]


def _fallback(tokens: Sequence[str]) -> Any:
    # heavy: matplotlib
    from mha_course.plots import canvas, plot_attention

    x = embedded(tokens)[None]
    with torch.no_grad():
        one, four = (
            matrices().module(h)(x, is_causal=True, return_weights=True)[1][0] for h in (1, 4)
        )
    mean = four.mean(0)
    titles = ["one head", *(f"of four: {name}" for name in RELATIONS), "mean of the four"]
    with canvas(2, 3, height=4.2) as figure:
        for ax, pattern, title in zip(figure.axes.flat, [one[0], *four, mean], titles, strict=True):
            plot_attention(pattern, tokens, ax)
            ax.set_title(title)
            ax.tick_params(labelsize=7)
    return figure.describe(
        f"Six heat maps of attention over “{' '.join(tokens)}”. Of four heads, one looks at the "
        "previous word, one at the same word, one at the first word and one at the longest word so "
        "far. The one head, with the same matrices, divides its attention between these. "
        f"The last map is the mean of the four; its rows take {_bits(mean):.1f} bits, "
        f"those of the four heads {_bits(four):.1f} on average."
    )


def _bits(patterns: Float[Tensor, "*heads T T"]) -> float:
    """Entropy of a row, as the mean over all rows."""
    entropy: Tensor = torch.special.entr(patterns).sum(-1)
    return entropy.mean().item() / math.log(2)
