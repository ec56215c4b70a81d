"""Head shapes of real models, as their papers and published configurations state them."""

from __future__ import annotations

from typing import NamedTuple


class ModelShape(NamedTuple):
    """How one published model cuts its width into heads."""

    name: str
    d_model: int
    num_heads: int
    num_kv_heads: int
    d_head: int

    @property
    def heads_fill_model(self) -> bool:
        """Whether h·d_head equals d_model, as in the original Transformer."""
        return self.num_heads * self.d_head == self.d_model


MODEL_SHAPES: tuple[ModelShape, ...] = (
    ModelShape("Transformer base", 512, 8, 8, 64),
    ModelShape("Transformer big", 1024, 16, 16, 64),
    ModelShape("BERT base", 768, 12, 12, 64),
    ModelShape("BERT large", 1024, 16, 16, 64),
    ModelShape("MiniLM-L6", 384, 12, 12, 32),
    ModelShape("GPT-2 small", 768, 12, 12, 64),
    ModelShape("GPT-2 medium", 1024, 16, 16, 64),
    ModelShape("GPT-2 large", 1280, 20, 20, 64),
    ModelShape("GPT-2 XL", 1600, 25, 25, 64),
    ModelShape("GPT-3 175B", 12288, 96, 96, 128),
    ModelShape("Llama-2 7B", 4096, 32, 32, 128),
    ModelShape("Llama-2 70B", 8192, 64, 8, 128),
    ModelShape("Llama-3 8B", 4096, 32, 8, 128),
    ModelShape("Mistral 7B", 4096, 32, 8, 128),
    ModelShape("Qwen2.5 7B", 3584, 28, 4, 128),
    ModelShape("Qwen3 0.6B", 1024, 16, 8, 128),
    ModelShape("Qwen3 32B", 5120, 64, 8, 128),
    ModelShape("Gemma-2 2B", 2304, 8, 4, 256),
    ModelShape("Gemma-2 27B", 4608, 32, 16, 128),
    ModelShape("Gemma-3 4B", 2560, 8, 4, 256),
    ModelShape("Gemma-3 27B", 5376, 32, 16, 128),
    ModelShape("SmolLM2-135M", 576, 9, 3, 64),
)
