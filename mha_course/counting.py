"""What heads cost, in closed form: parameters, FLOPs, score memory, cache memory.

Sizes that have a default are keywords of every function here: `num_kv_heads`, `d_head`, `d_v`,
`kdim`, `vdim` and `bias`, as in `attention_shape`. Errors are those of `attention_shape` too, and
a number of tokens or bytes must be an int of at least 1 (TypeError, ValueError).
"""

from __future__ import annotations

from typing import NamedTuple, Unpack

from torch import nn

from mha_course import _checks
from mha_course.shapes import LatentShape, Sizes, attention_shape, check_latent_shape


def count_parameters(module: nn.Module) -> int:
    """Return the number of parameters that a module really has; a shared one counts once.

    >>> count_parameters(nn.Linear(3, 2))
    8
    """
    _checks.instance("module", module, nn.Module, "nn.Module")
    return sum(p.numel() for p in module.parameters())


def attention_parameters(d_model: int, num_heads: int, **sizes: Unpack[Sizes]) -> int:
    """Parameters of W_Q, W_K, W_V and W_O.

    With h·d_head = d_model and g = h this is 4·d_model² (+ 4·d_model for biases), whatever h is.

    >>> attention_parameters(512, 8)
    1050624
    """
    s = attention_shape(d_model, num_heads, **sizes)
    widths = {
        "q": (s.d_model, s.num_heads * s.d_head),  # in, out
        "k": (s.kdim, s.num_kv_heads * s.d_head),
        "v": (s.vdim, s.num_kv_heads * s.d_v),
        "o": (s.num_heads * s.d_v, s.d_model),
    }
    return sum(
        w_in * w_out + (w_out if name in s.bias else 0) for name, (w_in, w_out) in widths.items()
    )


class AttentionFlops(NamedTuple):
    """Floating-point operations of the matrix products, a multiply-add counted as two.

    The softmax is left out: it is no matrix product. It touches h·T_q·T_k numbers. So are the
    zeros that the fused form appends where the widths of keys and values differ.

    Attributes:
        projections: Into queries, keys and values, and out of the heads.
        scores_and_mix: Q Kᵀ, and weights times V.
    """

    projections: int
    scores_and_mix: int

    @property
    def total(self) -> int:
        """Projections, scores and mixing together."""
        return self.projections + self.scores_and_mix


def attention_flops(
    d_model: int,
    num_heads: int,
    num_tokens: int,
    *,
    num_keys: int | None = None,
    num_cached: int = 0,
    **sizes: Unpack[Sizes],
) -> AttentionFlops:
    """FLOPs for one sequence; of n tokens attending to themselves 8·n·d² + 4·n²·d, whatever h is.

    Args:
        d_model: Width of the model.
        num_heads: Query heads.
        num_tokens: Queries, T_q.
        num_keys: Keys, T_k; by default `num_tokens` and those in the cache.
        num_cached: Keys that a cache holds, and that are not made again.
        **sizes: See above.

    >>> attention_flops(512, 8, 128).total
    301989888
    """
    s = attention_shape(d_model, num_heads, **sizes)
    num_keys, num_new = _keys(num_tokens, num_keys, num_cached)
    made_per_query = s.num_heads * (s.d_model * s.d_head + s.d_v * s.d_model)
    made_per_key = s.num_kv_heads * (s.kdim * s.d_head + s.vdim * s.d_v)
    return AttentionFlops(
        projections=2 * (num_tokens * made_per_query + num_new * made_per_key),
        scores_and_mix=2 * num_tokens * num_keys * s.num_heads * (s.d_head + s.d_v),
    )


def score_bytes(
    num_heads: int, num_tokens: int, *, num_keys: int | None = None, bytes_per_number: int = 4
) -> int:
    """Memory of the scores of one sequence, h·T_q·T_k numbers, when they are all kept at once.

    >>> score_bytes(num_heads=8, num_tokens=1024) // 2**20
    32
    """
    _checks.positive_int("num_heads", num_heads)
    _checks.positive_int("bytes_per_number", bytes_per_number)
    num_keys, _ = _keys(num_tokens, num_keys, num_cached=0)
    return num_heads * num_tokens * num_keys * bytes_per_number


def kv_cache_bytes(
    d_model: int,
    num_heads: int,
    num_tokens: int,
    *,
    num_layers: int = 1,
    bytes_per_number: int = 4,
    **sizes: Unpack[Sizes],
) -> int:
    """Memory of the keys and values of one sequence: g·(d_head + d_v) numbers a token and layer.

    >>> kv_cache_bytes(512, 8, 1024) // 2**20, kv_cache_bytes(512, 8, 1024, num_kv_heads=2) // 2**20
    (4, 1)
    """
    s = attention_shape(d_model, num_heads, **sizes)
    return s.num_kv_heads * (s.d_head + s.d_v) * _numbers(num_tokens, num_layers, bytes_per_number)


# ------------------------------------------------------------------ multi-head latent attention


def latent_parameters(shape: LatentShape) -> int:
    """Parameters of `MultiHeadLatentAttention`, those of its norms included.

    >>> latent_parameters(LatentShape(12, 4, d_head=5, d_rope=2, d_v=3, kv_rank=6))
    774
    """
    check_latent_shape(shape)
    s = shape
    latents = s.d_model * (s.kv_rank + s.d_rope) + s.kv_rank  # W_DKV, W_KR and the norm
    queries = s.num_heads * (s.d_head + s.d_rope)
    if s.q_rank is None:
        into_queries = s.d_model * queries
    else:
        into_queries = s.d_model * s.q_rank + s.q_rank + s.q_rank * queries
    keys_and_values = s.kv_rank * s.num_heads * (s.d_head + s.d_v)
    return latents + into_queries + keys_and_values + s.num_heads * s.d_v * s.d_model


def latent_flops(
    shape: LatentShape, num_tokens: int, *, num_cached: int = 0, absorb: bool = False
) -> AttentionFlops:
    """FLOPs of latent attention for one sequence, in either order of its products.

    Args:
        shape: Sizes of the attention.
        num_tokens: New tokens.
        num_cached: Tokens in the cache, to which the new ones attend too.
        absorb: Whether the heads attend to the latents, as in `MultiHeadLatentAttention`.

    >>> shape = LatentShape(7168, 128, d_head=128, d_rope=64, d_v=128, kv_rank=512, q_rank=1536)
    >>> step = [latent_flops(shape, 1, num_cached=4095, absorb=a).total for a in (False, True)]
    >>> round(step[0] / step[1])
    91
    """
    check_latent_shape(shape)
    s = shape
    num_keys, _ = _keys(num_tokens, None, num_cached)
    queries = s.num_heads * (s.d_head + s.d_rope)
    per_token = (
        s.d_model * (s.kv_rank + s.d_rope)
        + (s.d_model * queries if s.q_rank is None else s.q_rank * (s.d_model + queries))
        + s.num_heads * s.d_v * s.d_model
    )
    # W_UK and W_UV: for each query if absorbed, else for each key, cached ones included
    unpacked = num_tokens if absorb else num_keys
    in_heads = s.num_heads * s.kv_rank * (s.d_head + s.d_v)
    width = 2 * s.kv_rank + s.d_rope if absorb else s.d_head + s.d_rope + s.d_v
    return AttentionFlops(
        projections=2 * (num_tokens * per_token + unpacked * in_heads),
        scores_and_mix=2 * num_tokens * num_keys * s.num_heads * width,
    )


def latent_cache_bytes(
    shape: LatentShape, num_tokens: int, *, num_layers: int = 1, bytes_per_number: int = 4
) -> int:
    """Memory of latents and rotary keys: kv_rank + d_rope numbers a token and layer.

    >>> shape = LatentShape(7168, 128, d_head=128, d_rope=64, d_v=128, kv_rank=512, q_rank=1536)
    >>> latent_cache_bytes(shape, num_tokens=1)
    2304
    """
    check_latent_shape(shape)
    return (shape.kv_rank + shape.d_rope) * _numbers(num_tokens, num_layers, bytes_per_number)


# ---------------------------------------------------------------------------------- parts


def _keys(num_tokens: int, num_keys: int | None, num_cached: int) -> tuple[int, int]:
    """Return the number of keys, and how many of them are not in the cache."""
    _checks.positive_int("num_tokens", num_tokens)
    _checks.at_least_0("num_cached", num_cached)
    num_keys = num_tokens + num_cached if num_keys is None else num_keys
    _checks.positive_int("num_keys", num_keys)
    if num_cached > num_keys:
        raise ValueError(f"num_cached={num_cached} is more than num_keys={num_keys}")
    return num_keys, num_keys - num_cached


def _numbers(num_tokens: int, num_layers: int, bytes_per_number: int) -> int:
    for name, number in (
        ("num_tokens", num_tokens),
        ("num_layers", num_layers),
        ("bytes_per_number", bytes_per_number),
    ):
        _checks.positive_int(name, number)
    return num_tokens * num_layers * bytes_per_number
