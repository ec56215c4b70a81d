"""MODEL_SHAPES against rows typed from the papers and configurations a second time."""

from __future__ import annotations

import pytest

from mha_course import MODEL_SHAPES, ModelShape, attention_parameters, head_dim

# d_model, query heads, key/value heads, d_head
TYPED_AGAIN = {
    "Transformer base": (512, 8, 8, 64),
    "BERT large": (1024, 16, 16, 64),
    "GPT-2 XL": (1600, 25, 25, 64),
    "GPT-3 175B": (12_288, 96, 96, 128),
    "Llama-2 70B": (8192, 64, 8, 128),
    "Mistral 7B": (4096, 32, 8, 128),
    "Qwen2.5 7B": (3584, 28, 4, 128),
    "Qwen3 0.6B": (1024, 16, 8, 128),
    "Qwen3 32B": (5120, 64, 8, 128),
    "Gemma-2 2B": (2304, 8, 4, 256),
    "Gemma-3 27B": (5376, 32, 16, 128),
    "SmolLM2-135M": (576, 9, 3, 64),
    "MiniLM-L6": (384, 12, 12, 32),
}
BY_NAME = {shape.name: shape for shape in MODEL_SHAPES}


@pytest.mark.parametrize("name", TYPED_AGAIN)
def test_shape_is_the_published_one(name: str) -> None:
    assert BY_NAME[name] == ModelShape(name, *TYPED_AGAIN[name])


def test_names_are_unique() -> None:
    assert len(BY_NAME) == len(MODEL_SHAPES)


def test_heads_need_not_fill_the_model() -> None:
    others = {shape.name for shape in MODEL_SHAPES if not shape.heads_fill_model}
    assert others == {
        "Qwen3 0.6B",
        "Qwen3 32B",
        "Gemma-2 2B",
        "Gemma-2 27B",
        "Gemma-3 4B",
        "Gemma-3 27B",
    }


@pytest.mark.parametrize("shape", MODEL_SHAPES, ids=lambda shape: shape.name)
def test_shapes_can_be_counted(shape: ModelShape) -> None:
    _, d_model, num_heads, num_kv_heads, d_head = shape
    if shape.heads_fill_model:
        assert head_dim(d_model, num_heads) == d_head
    counted = attention_parameters(
        d_model, num_heads, d_head=d_head, num_kv_heads=num_kv_heads, bias=False
    )
    assert counted == 2 * d_model * d_head * (num_heads + num_kv_heads)
