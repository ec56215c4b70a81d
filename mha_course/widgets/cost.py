"""What it costs: parameters, FLOPs and cache of a real model's attention with other heads."""

from __future__ import annotations

import html

from mha_course.counting import attention_flops, attention_parameters, kv_cache_bytes, score_bytes
from mha_course.models import MODEL_SHAPES, ModelShape
from mha_course.shapes import Sizes
from mha_course.widgets.live import Heights, LiveFigure

CONTEXTS = tuple(2**power for power in range(7, 18))
BYTES = (4, 2, 1)

# What `ModelShape.num_layers` says of some models, by the beginning of their names
_NOTES = {
    "Transformer": "Counted is the self-attention of one of its two stacks.",
    "BERT": "An encoder writes no text, so it has no cache: the row says what one would take.",
    "MiniLM": "An encoder writes no text, so it has no cache: the row says what one would take.",
    "GPT-3": "In every second layer a token sees only some tokens before it; counted are all.",
    "Gemma-2": "In every second layer a token sees only some tokens before it; counted are all.",
    "Gemma-3": "In five of six layers a token sees only some tokens before it; counted are all.",
    "Mistral": "A token sees only some tokens before it; counted are all.",
}
_HEIGHTS = Heights(wide=516, narrow=924)


def what_it_costs(
    model: str = "Llama-2 7B", context: int = 4096, bytes_per_number: int = 2
) -> LiveFigure:
    """Count what the attention of a real model costs, and would cost with other heads.

    Args:
        model: One of `MODEL_SHAPES`, by its name.
        context: Tokens of the text, a power of two from 128 to 131,072.
        bytes_per_number: 4, 2 or 1.

    Raises:
        ValueError: there is no such model, or the controls cannot stand there.
    """
    found = {shape.name: shape for shape in MODEL_SHAPES}
    if model not in found:
        raise ValueError(f"model={model!r} is not in MODEL_SHAPES; there is {', '.join(found)}")
    if context not in CONTEXTS:
        raise ValueError(
            f"context={context}: the slider has powers of two from {CONTEXTS[0]} to {CONTEXTS[-1]}"
        )
    if bytes_per_number not in BYTES:
        raise ValueError(f"bytes_per_number={bytes_per_number}: the menu has 4, 2 and 1")
    state = {
        "models": [_entry(shape) for shape in MODEL_SHAPES],
        "model": model,
        "context": context,
        "bytes": bytes_per_number,
        "keep_width": True,
    }
    fallback = _fallback(found[model], context, bytes_per_number)
    return LiveFigure("cost", state, fallback, _HEIGHTS)


def _entry(shape: ModelShape) -> dict[str, str | int]:
    notes = [note for name, note in _NOTES.items() if shape.name.startswith(name)]
    return {
        "name": shape.name,
        "dModel": shape.d_model,
        "heads": shape.num_heads,
        "kvHeads": shape.num_kv_heads,
        "dHead": shape.d_head,
        "layers": shape.num_layers,
        "note": " ".join(notes),
    }


def _fallback(shape: ModelShape, context: int, bytes_per_number: int) -> str:
    d_model, h, layers = shape.d_model, shape.num_heads, shape.num_layers
    sizes: Sizes = {"num_kv_heads": shape.num_kv_heads, "d_head": shape.d_head, "bias": False}
    text = attention_flops(d_model, h, context, **sizes).total
    token = attention_flops(d_model, h, 1, num_cached=context, **sizes).total
    cache = kv_cache_bytes(
        d_model, h, context, num_layers=layers, bytes_per_number=bytes_per_number, **sizes
    )
    scores = score_bytes(h, context, bytes_per_number=bytes_per_number)
    rows = {
        "parameters": f"{layers * attention_parameters(d_model, h, **sizes):,}",
        "FLOPs, whole text": f"{layers * text:,}",
        "FLOPs, next token": f"{layers * token:,}",
        "scores of a layer, if kept": f"{scores / 2**30:,.3f} GiB",
        "KV cache": f"{cache / 2**30:,.3f} GiB",
    }
    body = "".join(
        f'<tr><th scope="row">{name}</th><td>{number}</td></tr>' for name, number in rows.items()
    )
    return (
        "<p>On the page, menus and sliders change the model, its heads, the length of the text and "
        f"the bytes of a number. For {context:,} tokens, with {bytes_per_number} bytes a number, "
        f"h = {h} heads and g = {shape.num_kv_heads} key/value heads:</p>"
        f"<table><caption>Attention of {html.escape(shape.name)}, {layers} layers</caption>"
        f"<tbody>{body}</tbody></table>"
    )
