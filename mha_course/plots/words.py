"""Words in pictures and in their descriptions: tokens, heads, numbers, lists."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axis import Axis

_LONGEST = 20  # characters of a token; long ones would squeeze the picture
_MOST = 32  # names along one axis; more would overlap on a phone

# Control characters have no glyph, and most of them may not stand in an SVG file at all.
_CONTROL = dict.fromkeys([*range(32), 127], "\ufffd") | {0x09: "⇥", 0x0A: "↵"}


def _bytes_of_characters() -> Mapping[str, int]:
    """How tokenisers with a byte-level BPE write bytes, as GPT-2 introduced it.

    A byte that is printable in Latin-1 stands for itself; the others follow from U+0100 on.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(b): b for b in printable} | {chr(256 + i): b for i, b in enumerate(others)}


_BYTES = _bytes_of_characters()


def token_name(token: str) -> str:
    """Write a token as people read it: bytes as text, spaces and line ends as signs.

    A token that is only a part of a character stays as its tokeniser writes it.

    >>> [token_name(t) for t in ("Ġthe", "▁the", "##ing", "Ċ", "Ã©t", "token 1")]
    ['·the', '·the', '##ing', '↵', 'ét', 'token 1']
    """
    text = token
    if not token.isascii() and all(character in _BYTES for character in token):
        try:
            text = bytes(_BYTES[character] for character in token).decode()
        except UnicodeDecodeError:
            text = token
    if text != token or text.startswith("▁"):
        text = text.replace(" ", "·").replace("▁", "·")
    text = text.translate(_CONTROL)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def head_names(num_layers: int, num_heads: int) -> list[str]:
    """Names of all heads of a model, "layer.head", both counted from 0.

    >>> head_names(2, 3)
    ['0.0', '0.1', '0.2', '1.0', '1.1', '1.2']
    """
    return [f"{layer}.{head}" for layer in range(num_layers) for head in range(num_heads)]


def name_ticks(axis: Axis, names: Sequence[str], *, most: int = _MOST, **text: Any) -> None:
    """Write the names at 0, 1, 2 and so on; of more than fit, every second, or third, or less.

    Args:
        axis: The x or the y axis.
        names: Written as they are: a $ starts no formula.
        most: How many fit.
        **text: Properties of the labels.
    """
    shown = range(0, len(names), math.ceil(len(names) / most))
    axis.set_ticks(shown, [names[i] for i in shown], parse_math=False, **text)


def number(value: float) -> str:
    """Write three digits, whatever the size, with a real minus.

    >>> number(-0.00012345), number(12.3456), number(0.5)
    ('−0.000123', '12.3', '0.5')
    """
    text = f"{value:.3g}"
    return text.replace("-", "−")


def listed(words: Sequence[str]) -> str:
    """Join words to a list in a sentence.

    >>> listed(["a"]), listed(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else words[0]


def counted(count: int, thing: str) -> str:
    """Count things.

    >>> counted(1, "head"), counted(12, "head")
    ('1 head', '12 heads')
    """
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"
