"""Reference implementations for the course on multi-head attention.

This package imports torch and nothing heavier. Figures, experiments and real models live in
submodules that are imported where they are used: `mha_course.plots`, `mha_course.experiments`,
`mha_course.heads`.
"""

from mha_course.attention import (
    attention,
    attention_weights,
    head_dim,
    merge_heads,
    split_heads,
)
from mha_course.counting import (
    AttentionFlops,
    attention_flops,
    attention_parameters,
    count_parameters,
    score_bytes,
)
from mha_course.device import device
from mha_course.models import MODEL_SHAPES, ModelShape
from mha_course.multi_head import MultiHeadAttention

__version__ = "0.1.0"

__all__ = [
    "MODEL_SHAPES",
    "AttentionFlops",
    "ModelShape",
    "MultiHeadAttention",
    "attention",
    "attention_flops",
    "attention_parameters",
    "attention_weights",
    "count_parameters",
    "device",
    "head_dim",
    "merge_heads",
    "score_bytes",
    "split_heads",
]
