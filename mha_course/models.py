"""Head shapes of real models, each with the paper or configuration it is read from."""

from __future__ import annotations

from typing import NamedTuple


class ModelShape(NamedTuple):
    """How one published model cuts its width into heads.

    Attributes:
        name: As people call the model.
        d_model: Width of a token's vector between layers.
        num_heads: Query heads, h.
        num_kv_heads: Key/value heads, g. Equal to h unless the model groups its queries.
        d_head: Width of one head's queries, keys and values; d_model / h if the source has none.
        num_layers: Layers of one stack. The Transformer has two stacks, each of this many.
            Layers that see only some earlier tokens are counted too: all in Mistral 7B, every
            second one in GPT-3 and Gemma-2, five of six in Gemma-3. For these models, keys and
            values of all tokens in all layers are more than a cache has to keep.
        source: Where the numbers stand.
    """

    name: str
    d_model: int
    num_heads: int
    num_kv_heads: int
    d_head: int
    num_layers: int
    source: str

    @property
    def heads_fill_model(self) -> bool:
        """Whether h·d_head equals d_model, as in the original Transformer."""
        return self.num_heads * self.d_head == self.d_model


# Here and not in `shapes`: this module stands alone, so that graded work can have it.
class LatentShape(NamedTuple):
    """All sizes of one multi-head latent attention.

    Attributes:
        d_model: Width of the input and of the output.
        num_heads: Heads, h.
        d_head: Width of the part of a query and of a key that knows no position.
        d_rope: Width of the rotary part of a query and of a key; even.
        d_v: Width of a value.
        kv_rank: Width of the latent from which keys and values are made.
        q_rank: Width of the latent from which queries are made; None: made from the input.
    """

    d_model: int
    num_heads: int
    d_head: int
    d_rope: int
    d_v: int
    kv_rank: int
    q_rank: int | None = None


class LatentModelShape(NamedTuple):
    """The sizes of one published model with multi-head latent attention.

    Attributes:
        name: As people call the model.
        shape: Sizes of the attention in each layer.
        num_layers: Layers, without DeepSeek-V3's extra one that predicts the token after next.
        source: Where the numbers stand.
    """

    name: str
    shape: LatentShape
    num_layers: int
    source: str


# Sources of more than one row.
_TRANSFORMER = "Vaswani et al. 2017, arXiv 1706.03762, table 3"
_BERT = "Devlin et al. 2018, arXiv 1810.04805, section 3"
_GPT_3 = "Brown et al. 2020, arXiv 2005.14165, table 2.1"
_GEMMA_2 = "Gemma Team 2024, arXiv 2408.00118, table 1"
_GEMMA_3 = "gemma/config.py of google/gemma_pytorch"

MODEL_SHAPES: tuple[ModelShape, ...] = (
    # name, d_model, query heads, key/value heads, d_head, layers, source
    ModelShape("Transformer base", 512, 8, 8, 64, 6, _TRANSFORMER),
    ModelShape("Transformer big", 1024, 16, 16, 64, 6, _TRANSFORMER),
    ModelShape("BERT base", 768, 12, 12, 64, 12, _BERT),
    ModelShape("BERT large", 1024, 16, 16, 64, 24, _BERT),
    ModelShape(
        "MiniLM-L6", 384, 12, 12, 32, 6, "config.json of sentence-transformers/all-MiniLM-L6-v2"
    ),
    # Table 2 of the GPT-2 report has the widths and layers of these four, but not the heads.
    ModelShape("GPT-2 small", 768, 12, 12, 64, 12, "config.json of openai-community/gpt2"),
    ModelShape("GPT-2 medium", 1024, 16, 16, 64, 24, "config.json of openai-community/gpt2-medium"),
    ModelShape("GPT-2 large", 1280, 20, 20, 64, 36, "config.json of openai-community/gpt2-large"),
    ModelShape("GPT-2 XL", 1600, 25, 25, 64, 48, "config.json of openai-community/gpt2-xl"),
    ModelShape("GPT-3 760M", 1536, 16, 16, 96, 24, _GPT_3),
    ModelShape("GPT-3 2.7B", 2560, 32, 32, 80, 32, _GPT_3),
    ModelShape("GPT-3 175B", 12288, 96, 96, 128, 96, _GPT_3),
    ModelShape("Llama-2 7B", 4096, 32, 32, 128, 32, "config.json of meta-llama/Llama-2-7b-hf"),
    ModelShape("Llama-2 70B", 8192, 64, 8, 128, 80, "config.json of meta-llama/Llama-2-70b-hf"),
    ModelShape("Llama-3 8B", 4096, 32, 8, 128, 32, "Llama Team 2024, arXiv 2407.21783, table 3"),
    ModelShape("Mistral 7B", 4096, 32, 8, 128, 32, "Jiang et al. 2023, arXiv 2310.06825, table 1"),
    ModelShape("Qwen2.5 7B", 3584, 28, 4, 128, 28, "config.json of Qwen/Qwen2.5-7B"),
    ModelShape("Qwen3 0.6B", 1024, 16, 8, 128, 28, "config.json of Qwen/Qwen3-0.6B"),
    ModelShape("Qwen3 32B", 5120, 64, 8, 128, 64, "config.json of Qwen/Qwen3-32B"),
    ModelShape("Gemma-2 2B", 2304, 8, 4, 256, 26, _GEMMA_2),
    ModelShape("Gemma-2 27B", 4608, 32, 16, 128, 46, _GEMMA_2),
    ModelShape("Gemma-3 4B", 2560, 8, 4, 256, 34, _GEMMA_3),
    ModelShape("Gemma-3 27B", 5376, 32, 16, 128, 62, _GEMMA_3),
    ModelShape("SmolLM2-135M", 576, 9, 3, 64, 30, "config.json of HuggingFaceTB/SmolLM2-135M"),
)

_DEEPSEEK_V2 = "DeepSeek-AI 2024, arXiv 2405.04434, section 3.1.2"
_DEEPSEEK_V3 = "DeepSeek-AI 2024, arXiv 2412.19437, section 4.2"

LATENT_MODEL_SHAPES: tuple[LatentModelShape, ...] = (
    # name, (d_model, heads, d_head, d_rope, d_v, kv_rank, q_rank), layers, source
    LatentModelShape(
        "DeepSeek-V2", LatentShape(5120, 128, 128, 64, 128, 512, 1536), 60, _DEEPSEEK_V2
    ),
    LatentModelShape(
        "DeepSeek-V3", LatentShape(7168, 128, 128, 64, 128, 512, 1536), 61, _DEEPSEEK_V3
    ),
)
