"""The model tables against rows typed from the papers and configurations a second time."""

from __future__ import annotations

import re

import pytest

from mha_course import LATENT_MODEL_SHAPES as LATENT
from mha_course import (
    MODEL_SHAPES,
    LatentModelShape,
    LatentShape,
    ModelShape,
    attention_parameters,
    head_dim,
)

# layers, d_model, query heads, key/value heads, d_head: not in the order of MODEL_SHAPES, so that
# a row cannot be copied from there
TYPED_AGAIN = {
    "Transformer base": (6, 512, 8, 8, 64),
    "Transformer big": (6, 1024, 16, 16, 64),
    "BERT base": (12, 768, 12, 12, 64),
    "BERT large": (24, 1024, 16, 16, 64),
    "GPT-2 small": (12, 768, 12, 12, 64),
    "GPT-2 medium": (24, 1024, 16, 16, 64),
    "GPT-2 large": (36, 1280, 20, 20, 64),
    "GPT-2 XL": (48, 1600, 25, 25, 64),
    "GPT-3 760M": (24, 1536, 16, 16, 96),
    "GPT-3 2.7B": (32, 2560, 32, 32, 80),
    "GPT-3 175B": (96, 12_288, 96, 96, 128),
    "Llama-2 7B": (32, 4096, 32, 32, 128),
    "Llama-2 70B": (80, 8192, 64, 8, 128),
    "Llama-3 8B": (32, 4096, 32, 8, 128),
    "Mistral 7B": (32, 4096, 32, 8, 128),
    "Qwen2.5 7B": (28, 3584, 28, 4, 128),
    "Qwen3 0.6B": (28, 1024, 16, 8, 128),
    "Qwen3 32B": (64, 5120, 64, 8, 128),
    "Gemma-2 2B": (26, 2304, 8, 4, 256),
    "Gemma-2 27B": (46, 4608, 32, 16, 128),
    "Gemma-3 4B": (34, 2560, 8, 4, 256),
    "Gemma-3 27B": (62, 5376, 32, 16, 128),
    "SmolLM2-135M": (30, 576, 9, 3, 64),
    "MiniLM-L6": (6, 384, 12, 12, 32),
}
# Configuration classes whose defaults are a published model, by the model's name. The defaults
# of Qwen3Config, Gemma3TextConfig and DeepseekV2Config are of no model of these families.
DEFAULTS = {
    "BERT base": "BertConfig",
    "GPT-2 small": "GPT2Config",
    "Llama-2 7B": "LlamaConfig",
    "Mistral 7B": "MistralConfig",
    "Gemma-2 2B": "Gemma2Config",
}
# A place in a paper that can be looked up, or a file in a repository.
SOURCE = re.compile(
    r"[\w .-]+ \d{4}, arXiv \d{4}\.\d{5}, (table|section) \d+(\.\d+)*"
    r"|[\w/-]+\.(json|py) of [\w.-]+/[\w.-]+"
)
BY_NAME = {shape.name: shape for shape in MODEL_SHAPES}
LATENT_BY_NAME = {shape.name: shape for shape in LATENT}


def test_every_model_is_typed_again() -> None:
    assert set(BY_NAME) == set(TYPED_AGAIN)


@pytest.mark.parametrize("name", TYPED_AGAIN)
def test_shape_is_the_published_one(name: str) -> None:
    num_layers, *heads = TYPED_AGAIN[name]
    shape = BY_NAME[name]
    assert shape == ModelShape(name, *heads, num_layers, shape.source)


def test_latent_shapes_are_the_published_ones() -> None:
    by_name = {m.name: (m.num_layers, m.shape.d_model, m.shape.num_heads) for m in LATENT}
    assert by_name == {"DeepSeek-V2": (60, 5120, 128), "DeepSeek-V3": (61, 7168, 128)}
    for _, shape, _, _ in LATENT:
        assert (shape.d_head, shape.d_rope, shape.d_v) == (128, 64, 128)
        assert (shape.kv_rank, shape.q_rank) == (512, 1536)
        # table 1 of the DeepSeek-V2 paper gives them as multiples of d_head
        assert (shape.kv_rank, 2 * shape.d_rope) == (4 * shape.d_head, shape.d_head)


def test_names_are_unique() -> None:
    names = [shape.name for shape in (*MODEL_SHAPES, *LATENT)]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("shape", [*MODEL_SHAPES, *LATENT], ids=lambda s: s.name)
def test_source_can_be_looked_up(shape: ModelShape | LatentModelShape) -> None:
    assert SOURCE.fullmatch(shape.source), shape.source


@pytest.mark.parametrize("source", ["", "arXiv", "the paper", "Vaswani et al. 2017", "config.json"])
def test_vague_source_is_not_taken(source: str) -> None:
    assert not SOURCE.fullmatch(source)


@pytest.mark.parametrize("name", DEFAULTS)
def test_shape_is_the_default_of_its_configuration_class(name: str) -> None:
    import transformers

    config = getattr(transformers, DEFAULTS[name])()
    heads = config.num_attention_heads
    in_config = (
        config.hidden_size,
        heads,
        getattr(config, "num_key_value_heads", heads),
        getattr(config, "head_dim", None) or config.hidden_size // heads,
        config.num_hidden_layers,
    )
    assert BY_NAME[name] == ModelShape(name, *in_config, BY_NAME[name].source)


def test_latent_shape_is_the_default_of_its_configuration_class() -> None:
    from transformers import DeepseekV3Config

    config = DeepseekV3Config()
    model = LATENT_BY_NAME["DeepSeek-V3"]
    assert model.num_layers == config.num_hidden_layers
    assert model.shape == LatentShape(
        d_model=config.hidden_size,
        num_heads=config.num_attention_heads,
        d_head=config.qk_nope_head_dim,
        d_rope=config.qk_rope_head_dim,
        d_v=config.v_head_dim,
        kv_rank=config.kv_lora_rank,
        q_rank=config.q_lora_rank,
    )


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
    _, d_model, num_heads, num_kv_heads, d_head, *_ = shape
    assert num_heads % num_kv_heads == 0
    if shape.heads_fill_model:
        assert head_dim(d_model, num_heads) == d_head
    counted = attention_parameters(
        d_model, num_heads, d_head=d_head, num_kv_heads=num_kv_heads, bias=False
    )
    assert counted == 2 * d_model * d_head * (num_heads + num_kv_heads)
