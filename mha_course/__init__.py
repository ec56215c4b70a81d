"""Reference implementations for the course on multi-head attention.

This package imports torch and nothing heavier. Figures, experiments and real models live in
submodules that are imported where they are used: `mha_course.plots`, `mha_course.experiments`,
`mha_course.heads`.
"""

from mha_course.attention import attention, attention_weights, merge_heads, split_heads
from mha_course.cache import KVCache
from mha_course.counting import (
    AttentionFlops,
    attention_flops,
    attention_parameters,
    count_parameters,
    kv_cache_bytes,
    latent_cache_bytes,
    latent_flops,
    latent_parameters,
    score_bytes,
)
from mha_course.device import device
from mha_course.latent import MultiHeadLatentAttention
from mha_course.masks import causal_mask, padding_mask
from mha_course.models import LATENT_MODEL_SHAPES, MODEL_SHAPES, LatentModelShape, ModelShape
from mha_course.multi_head import MultiHeadAttention
from mha_course.shapes import AttentionShape, LatentShape, attention_shape, head_dim
from mha_course.torch_bridge import from_torch, mask_from_torch, mask_to_torch, to_torch

__version__ = "0.1.0"

__all__ = [
    "LATENT_MODEL_SHAPES",
    "MODEL_SHAPES",
    "AttentionFlops",
    "AttentionShape",
    "KVCache",
    "LatentModelShape",
    "LatentShape",
    "ModelShape",
    "MultiHeadAttention",
    "MultiHeadLatentAttention",
    "attention",
    "attention_flops",
    "attention_parameters",
    "attention_shape",
    "attention_weights",
    "causal_mask",
    "count_parameters",
    "device",
    "from_torch",
    "head_dim",
    "kv_cache_bytes",
    "latent_cache_bytes",
    "latent_flops",
    "latent_parameters",
    "mask_from_torch",
    "mask_to_torch",
    "merge_heads",
    "padding_mask",
    "score_bytes",
    "split_heads",
    "to_torch",
]
