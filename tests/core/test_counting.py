"""Closed forms against what modules really have, do and hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain, combinations, product

import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from mha_course import (
    LATENT_MODEL_SHAPES,
    MODEL_SHAPES,
    KVCache,
    LatentShape,
    MultiHeadAttention,
    MultiHeadLatentAttention,
    attention_flops,
    attention_parameters,
    count_parameters,
    kv_cache_bytes,
    latent_cache_bytes,
    latent_flops,
    latent_parameters,
    score_bytes,
)
from mha_course.forms import FORMS

B, T_Q, T_K = 2, 5, 7

by_form = pytest.mark.parametrize("form", FORMS)
by_dtype = pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16], ids=str
)


def really_has(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


# -------------------------------------------------------------------------------- parameters

GRID = [
    (d_model, num_heads, d_head, bias)
    for d_model in (12, 60)
    for num_heads in (1, 2, 3, 4, 6)
    for d_head in (None, 5)
    for bias in (True, False)
]


def assert_counts_what_modules_have(count: Callable[..., int]) -> None:
    for d_model, num_heads, d_head, bias in GRID:
        module = MultiHeadAttention(d_model, num_heads, d_head=d_head, bias=bias)
        assert count(d_model, num_heads, d_head=d_head, bias=bias) == really_has(module)


def test_closed_form_is_what_our_module_has() -> None:
    assert_counts_what_modules_have(attention_parameters)


SUBSETS = ["".join(s) for s in chain.from_iterable(combinations("qkvo", n) for n in range(5))]


@pytest.mark.parametrize("bias", [True, False, *SUBSETS], ids=repr)
@pytest.mark.parametrize("num_kv_heads", [None, 6, 3, 2, 1])
def test_closed_form_is_what_every_member_of_the_family_has(
    num_kv_heads: int | None, bias: bool | str
) -> None:
    for d_head, d_v, kdim, vdim in product((None, 5), (None, 8), (None, 9), (None, 11)):
        sizes = {
            "num_kv_heads": num_kv_heads,
            "d_head": d_head,
            "d_v": d_v,
            "kdim": kdim,
            "vdim": vdim,
            "bias": bias,
        }
        module = MultiHeadAttention(24, 6, **sizes)
        assert attention_parameters(24, 6, **sizes) == really_has(module)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("num_heads", "num_kv_heads"), [(6, 1), (6, 2), (6, 3), (6, 6), (4, 2)])
@pytest.mark.parametrize("d_head", [5, 8])
def test_grouped_query_attention_has_narrower_keys_and_values(
    num_heads: int, num_kv_heads: int, d_head: int, bias: bool
) -> None:
    """Counted on layers that are put together here, not in the module."""
    d_model, d_v, kdim, vdim = 14, 3, 9, 11
    projections = nn.ModuleList(
        [
            nn.Linear(d_model, num_heads * d_head, bias=bias),
            nn.Linear(kdim, num_kv_heads * d_head, bias=bias),
            nn.Linear(vdim, num_kv_heads * d_v, bias=bias),
            nn.Linear(num_heads * d_v, d_model, bias=bias),
        ]
    )
    counted = attention_parameters(
        d_model,
        num_heads,
        num_kv_heads=num_kv_heads,
        d_head=d_head,
        d_v=d_v,
        kdim=kdim,
        vdim=vdim,
        bias=bias,
    )
    assert counted == really_has(projections)


WRONG_COUNTS = {
    "biases forgotten": lambda d, h, **given: attention_parameters(
        d, h, **{**given, "bias": False}
    ),
    "every head as wide as the model": lambda d, h, bias, **_: attention_parameters(
        d, h, d_head=d, bias=bias
    ),
    "always 4d² + 4d": lambda d, _h, bias, **_: 4 * d * d + 4 * d * bias,
    "no W_O": lambda d, h, d_head, bias: 3 * (d + bias) * h * (d_head or d // h),
    "one bias for all four": lambda d, h, bias, **given: (
        attention_parameters(d, h, bias=False, **given) + d * bias
    ),
}


@pytest.mark.parametrize("count", WRONG_COUNTS.values(), ids=WRONG_COUNTS)
def test_real_modules_reject_count(count: Callable[..., int]) -> None:
    with pytest.raises(AssertionError):
        assert_counts_what_modules_have(count)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("num_heads", [1, 2, 4, 8, 16])
def test_torchs_module_has_as_many_parameters_whatever_h_is(num_heads: int, bias: bool) -> None:
    theirs = really_has(nn.MultiheadAttention(512, num_heads, bias=bias))
    assert theirs == (1_050_624 if bias else 1_048_576)
    assert attention_parameters(512, num_heads, bias=bias) == theirs


def test_torchs_module_with_other_inputs_has_as_many_parameters() -> None:
    for kdim, vdim, bias in product((60, 9), (60, 11), (True, False)):
        theirs = nn.MultiheadAttention(60, 6, kdim=kdim, vdim=vdim, bias=bias)
        assert attention_parameters(60, 6, kdim=kdim, vdim=vdim, bias=bias) == really_has(theirs)


def test_a_third_more_is_the_price_of_the_output_projection() -> None:
    d = 512
    without = really_has(nn.ModuleList(nn.Linear(d, d) for _ in range(3)))
    for num_heads in (1, 8):
        assert 3 * attention_parameters(d, num_heads) == 4 * without


def test_count_parameters_counts_all_and_shared_ones_once() -> None:
    shared = nn.Linear(3, 5)
    module = nn.Sequential(shared, nn.Linear(5, 3), shared)
    assert count_parameters(module) == (3 * 5 + 5) + (5 * 3 + 3)
    shared.requires_grad_(False)  # a frozen parameter is one too
    module.register_buffer("no_parameter", torch.zeros(7))
    assert count_parameters(module) == (3 * 5 + 5) + (5 * 3 + 3)


LATENTS = {
    "q_rank": LatentShape(14, 8, d_head=5, d_rope=6, d_v=4, kv_rank=9, q_rank=10),
    "no q_rank": LatentShape(14, 8, d_head=5, d_rope=6, d_v=4, kv_rank=9),
    "other sizes": LatentShape(24, 3, d_head=7, d_rope=2, d_v=9, kv_rank=8, q_rank=5),
}
by_latent = pytest.mark.parametrize("shape", LATENTS.values(), ids=LATENTS)


@by_latent
def test_latent_parameters_are_what_the_module_has(shape: LatentShape) -> None:
    for absorb in (False, True):
        module = MultiHeadLatentAttention(shape, absorb=absorb)
        assert latent_parameters(shape) == really_has(module)


def test_latent_parameters_are_what_deepseeks_module_has() -> None:
    """Of the published size, without memory for it."""
    from transformers import DeepseekV3Config
    from transformers.models.deepseek_v3.modeling_deepseek_v3 import DeepseekV3Attention

    with torch.device("meta"):
        theirs = DeepseekV3Attention(DeepseekV3Config(), layer_idx=0)
    (model,) = (m for m in LATENT_MODEL_SHAPES if m.name == "DeepSeek-V3")
    assert latent_parameters(model.shape) == really_has(theirs)


# -------------------------------------------------------------------------------------- FLOPs


@pytest.fixture
def counted_kernel() -> Iterator[None]:
    """Let the fused form run as plain products.

    FlopCounterMode knows no formula for torch's fused kernel on the CPU, and counts it as 0.
    """
    with sdpa_kernel(SDPBackend.MATH):
        yield


def flops_of(call: Callable[[], object], num_sequences: int) -> tuple[int, int]:
    """Of one sequence: those in linear layers, and all."""
    with FlopCounterMode(display=False) as counter:
        call()
    by_module = counter.get_flop_counts()
    projections = sum(sum(by_module[name].values()) for name in by_module if ".w_" in name)
    total = counter.get_total_flops()
    assert projections % num_sequences == total % num_sequences == 0
    return projections // num_sequences, total // num_sequences


def on_zeros(form: str, num_heads: int, num_pairs: int, d_head: int, d_v: int) -> int:
    """What the fused form does besides: it fills up the narrower of keys and values."""
    return 2 * num_heads * num_pairs * abs(d_head - d_v) if form == "fused" else 0


def on_zeros_of_latent(form: str, num_pairs: int, shape: LatentShape, absorb: bool) -> int:
    d_k = (shape.kv_rank if absorb else shape.d_head) + shape.d_rope
    return on_zeros(form, shape.num_heads, num_pairs, d_k, shape.kv_rank if absorb else shape.d_v)


WIDTHS = {
    "default": {},
    "d_head": {"d_head": 5},
    "d_head and d_v": {"d_head": 5, "d_v": 8},
}
INPUTS = {"kdim": 9, "vdim": 11}


@pytest.mark.usefixtures("counted_kernel")
@by_form
@pytest.mark.parametrize("num_kv_heads", [6, 3, 2, 1])
@pytest.mark.parametrize("widths", WIDTHS.values(), ids=WIDTHS)
def test_flops_of_self_attention_are_what_torch_counts(
    widths: dict[str, int], num_kv_heads: int, form: str
) -> None:
    sizes = {**widths, "num_kv_heads": num_kv_heads}
    mha = MultiHeadAttention(24, 6, **sizes, form=form)
    x = torch.randn(B, T_Q, 24)
    for is_causal in (False, True):  # a mask takes no product away
        projections, total = flops_of(lambda c=is_causal: mha(x, is_causal=c), B)
        counted = attention_flops(24, 6, T_Q, **sizes)
        total -= on_zeros(form, 6, T_Q**2, mha.shape.d_head, mha.shape.d_v)
        assert (counted.projections, counted.total) == (projections, total)
        assert counted.scores_and_mix == total - projections


@pytest.mark.usefixtures("counted_kernel")
@by_form
@pytest.mark.parametrize("num_kv_heads", [6, 3, 1])
@pytest.mark.parametrize("widths", WIDTHS.values(), ids=WIDTHS)
def test_flops_of_cross_attention_are_what_torch_counts(
    widths: dict[str, int], num_kv_heads: int, form: str
) -> None:
    sizes = {**widths, **INPUTS, "num_kv_heads": num_kv_heads}
    mha = MultiHeadAttention(24, 6, **sizes, form=form)
    inputs = torch.randn(B, T_Q, 24), torch.randn(B, T_K, 9), torch.randn(B, T_K, 11)
    counted = attention_flops(24, 6, T_Q, num_keys=T_K, **sizes)
    projections, total = flops_of(lambda: mha(*inputs), B)
    total -= on_zeros(form, 6, T_Q * T_K, mha.shape.d_head, mha.shape.d_v)
    assert (counted.projections, counted.total) == (projections, total)


@pytest.mark.usefixtures("counted_kernel")
@by_form
@pytest.mark.parametrize(("num_cached", "num_new"), [(7, 1), (7, 5), (70, 3)])
def test_flops_of_a_step_are_what_torch_counts(num_cached: int, num_new: int, form: str) -> None:
    sizes = {"num_kv_heads": 3, "d_head": 5, "d_v": 8}
    mha, cache = MultiHeadAttention(24, 6, **sizes, form=form), KVCache()
    with torch.no_grad():
        mha(torch.randn(B, num_cached, 24), cache=cache)
        x = torch.randn(B, num_new, 24)
        projections, total = flops_of(lambda: mha(x, is_causal=True, cache=cache), B)
    total -= on_zeros(form, 6, num_new * (num_cached + num_new), 5, 8)
    counted = attention_flops(24, 6, num_new, num_cached=num_cached, **sizes)
    assert (counted.projections, counted.total) == (projections, total)


@pytest.mark.usefixtures("counted_kernel")
def test_flops_where_every_key_is_cached() -> None:
    """Cross-attention over a memory: its keys are made once."""
    mha, cache = MultiHeadAttention(24, 6, **INPUTS), KVCache()
    memory = torch.randn(B, T_K, 9), torch.randn(B, T_K, 11)
    query = torch.randn(B, T_Q, 24)
    with torch.no_grad():
        first = flops_of(lambda: mha(query, *memory, cache=cache), B)
    made_once = attention_flops(24, 6, T_Q, num_keys=T_K, **INPUTS)
    later = attention_flops(24, 6, T_Q, num_keys=T_K, num_cached=T_K, **INPUTS)
    assert (made_once.projections, made_once.total) == first
    in_keys = flops_of(lambda: (mha.w_k(memory[0]), mha.w_v(memory[1])), B)[1]
    assert made_once.total - later.total == in_keys


def test_flops_of_full_heads_do_not_depend_on_h() -> None:
    for num_heads, n in product((1, 2, 3, 4, 6, 12), (T_Q, T_K)):
        assert attention_flops(12, num_heads, n).total == 8 * n * 12**2 + 4 * n**2 * 12


def test_the_fused_kernel_of_the_cpu_is_not_counted_by_torch() -> None:
    """If this fails, torch counts it now, and the fixture above can go."""
    mha, x = MultiHeadAttention(24, 6, form="fused"), torch.randn(B, T_Q, 24)
    projections, total = flops_of(lambda: mha(x), B)
    assert projections == total


@pytest.mark.usefixtures("counted_kernel")
@by_form
@pytest.mark.parametrize("absorb", [False, True], ids=["expanded", "absorbed"])
@by_latent
def test_latent_flops_are_what_torch_counts(shape: LatentShape, absorb: bool, form: str) -> None:
    mla = MultiHeadLatentAttention(shape, absorb=absorb, form=form)
    x = torch.randn(B, T_Q, shape.d_model)
    in_linears, total = flops_of(lambda: mla(x, is_causal=True), B)
    counted = latent_flops(shape, T_Q, absorb=absorb)
    assert counted.total == total - on_zeros_of_latent(form, T_Q**2, shape, absorb)
    # absorbed, W_UK and W_UV are multiplied as matrices, not as layers
    absorbed = 2 * T_Q * shape.num_heads * shape.kv_rank * (shape.d_head + shape.d_v)
    assert counted.projections == in_linears + (absorbed if absorb else 0)


@pytest.mark.usefixtures("counted_kernel")
@by_form
@pytest.mark.parametrize(("num_cached", "num_new"), [(7, 1), (70, 3)])
@pytest.mark.parametrize("absorb", [False, True], ids=["expanded", "absorbed"])
@by_latent
def test_latent_flops_of_a_step_are_what_torch_counts(
    shape: LatentShape, absorb: bool, num_cached: int, num_new: int, form: str
) -> None:
    mla, cache = MultiHeadLatentAttention(shape, absorb=absorb, form=form), KVCache()
    with torch.no_grad():
        mla(torch.randn(B, num_cached, shape.d_model), cache=cache)
        x = torch.randn(B, num_new, shape.d_model)
        _, total = flops_of(lambda: mla(x, is_causal=True, cache=cache), B)
    total -= on_zeros_of_latent(form, num_new * (num_cached + num_new), shape, absorb)
    assert latent_flops(shape, num_new, num_cached=num_cached, absorb=absorb).total == total


# ------------------------------------------------------------------------------------- memory


@by_dtype
@pytest.mark.parametrize("form", ["loop", "batched"])
@pytest.mark.parametrize("num_heads", [1, 3, 4])
def test_score_bytes_are_what_the_weights_take(
    num_heads: int, form: str, dtype: torch.dtype
) -> None:
    mha = MultiHeadAttention(12, num_heads, form=form).to(dtype)
    query, key = torch.randn(1, T_Q, 12, dtype=dtype), torch.randn(1, T_K, 12, dtype=dtype)
    size = {"bytes_per_number": dtype.itemsize}
    _, weights = mha(query, return_weights=True)
    assert score_bytes(num_heads, T_Q, **size) == weights.untyped_storage().nbytes()
    _, weights = mha(query, key, return_weights=True)
    assert score_bytes(num_heads, T_Q, num_keys=T_K, **size) == weights.untyped_storage().nbytes()


@by_dtype
@pytest.mark.parametrize("num_kv_heads", [6, 3, 2, 1])
@pytest.mark.parametrize("widths", WIDTHS.values(), ids=WIDTHS)
def test_kv_cache_bytes_are_what_a_cache_holds_after_decoding(
    widths: dict[str, int], num_kv_heads: int, dtype: torch.dtype
) -> None:
    sizes = {**widths, "num_kv_heads": num_kv_heads}
    num_layers, caches = 3, [KVCache() for _ in range(3)]
    layers = [MultiHeadAttention(24, 6, **sizes).to(dtype) for _ in caches]
    with torch.inference_mode():
        for new in (T_Q, 1, 1):
            x = torch.randn(B, new, 24, dtype=dtype)
            for layer, cache in zip(layers, caches, strict=True):
                x = layer(x, is_causal=True, cache=cache)
    counted = kv_cache_bytes(
        24, 6, T_K, num_layers=num_layers, bytes_per_number=dtype.itemsize, **sizes
    )
    assert B * counted == sum(cache.nbytes for cache in caches)


@by_dtype
@by_latent
def test_latent_cache_bytes_are_what_a_cache_holds_after_decoding(
    shape: LatentShape, dtype: torch.dtype
) -> None:
    mla, cache = MultiHeadLatentAttention(shape).to(dtype), KVCache()
    with torch.inference_mode():
        for new in (T_Q, 1, 1):
            mla(torch.randn(B, new, shape.d_model, dtype=dtype), is_causal=True, cache=cache)
    size = {"bytes_per_number": dtype.itemsize}
    assert B * latent_cache_bytes(shape, T_K, **size) == cache.nbytes
    assert latent_cache_bytes(shape, T_K, num_layers=3, **size) == 3 * cache.nbytes // B


# Bytes a token in 16 bits: 2 (key and value) · key/value heads · d_head · 2 bytes · layers
BYTES_PER_TOKEN = {
    "Llama-2 7B": 2 * 32 * 128 * 2 * 32,
    "Llama-2 70B": 2 * 8 * 128 * 2 * 80,
    "Llama-3 8B": 131_072,
    "Mistral 7B": 131_072,
    "Qwen2.5 7B": 2 * 4 * 128 * 2 * 28,
    "GPT-3 175B": 2 * 12_288 * 2 * 96,
}
# (512 + 64) · 2 bytes · layers
LATENT_BYTES_PER_TOKEN = {"DeepSeek-V2": 69_120, "DeepSeek-V3": 70_272}


@pytest.mark.parametrize("name", BYTES_PER_TOKEN)
def test_cache_of_a_published_model(name: str) -> None:
    (model,) = (m for m in MODEL_SHAPES if m.name == name)
    counted = kv_cache_bytes(
        model.d_model,
        model.num_heads,
        1,
        num_kv_heads=model.num_kv_heads,
        d_head=model.d_head,
        num_layers=model.num_layers,
        bytes_per_number=2,
    )
    assert counted == BYTES_PER_TOKEN[name]


@pytest.mark.parametrize("name", LATENT_BYTES_PER_TOKEN)
def test_cache_of_a_published_latent_model(name: str) -> None:
    (model,) = (m for m in LATENT_MODEL_SHAPES if m.name == name)
    counted = latent_cache_bytes(model.shape, 1, num_layers=model.num_layers, bytes_per_number=2)
    assert counted == LATENT_BYTES_PER_TOKEN[name]
