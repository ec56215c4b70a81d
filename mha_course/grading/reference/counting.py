"""The right answers of the assignment `counting`, as functions with the learners' names.

Where the package counts the same, its own functions count here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from mha_course import counting
from mha_course.grading.fixtures import Draw
from mha_course.models import MODEL_SHAPES

GIBIBYTE = 2**30

MODELS: dict[str, dict[str, int]] = {
    shape.name.lower().replace(" ", "-"): {
        "d_model": shape.d_model,
        "num_heads": shape.num_heads,
        "num_kv_heads": shape.num_kv_heads,
        "d_head": shape.d_head,
        "num_layers": shape.num_layers,
    }
    for shape in MODEL_SHAPES
}
"""Shapes of real models by name, as the notebook shows them."""


def attention_parameters(
    d_model: int, num_heads: int, num_kv_heads: int, d_head: int, bias: bool
) -> int:
    """Parameters of W_Q, W_K, W_V and W_O."""
    return counting.attention_parameters(
        d_model, num_heads, num_kv_heads=num_kv_heads, d_head=d_head, bias=bias
    )


def percent_more(d_model: int, single_has_w_o: bool, d_ff: int) -> float:
    """How many per cent more parameters many heads have than one head of full width."""
    feed_forward = 2 * d_model * d_ff
    many = counting.attention_parameters(d_model, 1, bias=False)
    single = many if single_has_w_o else many - d_model * d_model
    return 100 * ((many + feed_forward) / (single + feed_forward) - 1)


def flops_of_projections(B: int, T: int, d_model: int) -> int:
    """FLOPs of the four projections with h·d_head = d_model: 8·B·T·d_model²."""
    return B * counting.attention_flops(d_model, 1, T).projections


def flops_of_scores(B: int, T_q: int, T_k: int, num_heads: int, d_head: int) -> int:
    """FLOPs of Q Kᵀ and of weights times V: 4·B·h·T_q·T_k·d_head."""
    flops = counting.attention_flops(num_heads * d_head, num_heads, T_q, num_keys=T_k)
    return B * flops.scores_and_mix


def crossing_length(d_model: int, num_heads: int, num_kv_heads: int) -> float:
    """Tokens for which scores and mixing cost as much as the projections: d_model·(1 + g/h)."""
    return d_model * (num_heads + num_kv_heads) / num_heads


def kv_cache_bytes(
    num_layers: int, num_kv_heads: int, d_head: int, T: int, B: int, bytes_per_number: int
) -> int:
    """Bytes of the keys and values of B texts."""
    one_text = counting.kv_cache_bytes(
        num_kv_heads * d_head,
        num_kv_heads,
        T,
        num_layers=num_layers,
        bytes_per_number=bytes_per_number,
    )
    return B * one_text


def times_smaller(shape: Mapping[str, int]) -> float:
    """How many times smaller a cache is than with a key/value head for each query head."""
    return shape["num_heads"] / shape["num_kv_heads"]


def numbers_per_token(shape: Mapping[str, int]) -> int:
    """Numbers that a cache keeps for one token."""
    return 2 * shape["num_layers"] * shape["num_kv_heads"] * shape["d_head"]


def smallest_cache(shapes: Mapping[str, Mapping[str, int]]) -> str:
    """Name of the model that keeps the fewest numbers a token."""
    return min(shapes, key=lambda name: numbers_per_token(shapes[name]))


def longest_context(
    memory: int, num_parameters: int, num_layers: int, num_kv_heads: int, d_head: int
) -> int:
    """Tokens whose keys and values fit beside the parameters, all in 16 bits; memory in GiB."""
    free = memory * GIBIBYTE - 2 * num_parameters
    return max(0, free // (4 * num_layers * num_kv_heads * d_head))


def bytes_of_weights(B: int, num_heads: int, T: int, bytes_per_number: int) -> int:
    """Bytes of attention weights [B, h, T, T]."""
    return B * counting.score_bytes(num_heads, T, bytes_per_number=bytes_per_number)


def bytes_of_online_softmax(
    B: int, num_heads: int, T: int, d_head: int, block: int, bytes_per_number: int
) -> int:
    """Bytes of what the online softmax holds: scores of a block, two numbers and an average."""
    return B * num_heads * T * (block + 2 + d_head) * bytes_per_number


def form_rank(d_model: int, d_head: int) -> int:
    """Largest rank of W_Q W_Kᵀ of one head."""
    return min(d_model, d_head)


def form_freedom(d_model: int, d_head: int) -> int:
    """Numbers that one can choose freely in W_Q W_Kᵀ of one head: r·(2·d_model − r)."""
    rank = form_rank(d_model, d_head)
    return rank * (2 * d_model - rank)


def number_of_rankings(queries: Tensor, keys: Tensor) -> int:
    """In how many different orders the queries [T_q, d_head] put the keys [T_k, d_head]."""
    return number_of_orders(queries.double() @ keys.double().T)


def number_of_orders(scores: Tensor) -> int:
    """How many different orders the rows of a table have."""
    return len({tuple(row.argsort().tolist()) for row in scores})


def queries_and_keys(draw: Draw, T_q: int, T_k: int, d_head: int) -> tuple[Tensor, Tensor]:
    """Draw queries and keys whose order does not hang on the last digit of float32."""
    while True:
        queries, keys = draw.tensors((T_q, d_head), (T_k, d_head))
        scores = queries.double() @ keys.double().T
        gaps = scores.sort(dim=-1).values.diff(dim=-1)
        if bool((gaps > 1e-4 * scores.abs().amax(dim=-1, keepdim=True)).all()):
            return queries, keys


def attention_parameters_of(config: Mapping[str, int]) -> int:
    """Parameters of all attention layers of a model, without biases, from its configuration."""
    num_heads = config["num_attention_heads"]
    return config["num_hidden_layers"] * counting.attention_parameters(
        config["hidden_size"],
        num_heads,
        num_kv_heads=config.get("num_key_value_heads", num_heads),
        d_head=config.get("head_dim"),
        bias=False,
    )


def config_of(name: str, leave_out: Sequence[str] = ()) -> dict[str, int]:
    """The configuration of a real model, with the names that transformers uses."""
    shape = MODELS[name]
    config = {
        "hidden_size": shape["d_model"],
        "num_attention_heads": shape["num_heads"],
        "num_hidden_layers": shape["num_layers"],
        "num_key_value_heads": shape["num_kv_heads"],
        "head_dim": shape["d_head"],
    }
    return {key: size for key, size in config.items() if key not in leave_out}
