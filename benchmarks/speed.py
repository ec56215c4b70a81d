"""Time of one call, ours and torch's in alternation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median
from typing import NamedTuple

import torch
from torch import Tensor, nn

from benchmarks.timing import Call, alternate, quartiles, ratios
from mha_course import (
    KVCache,
    MultiHeadAttention,
    causal_mask,
    count_parameters,
    kv_cache_bytes,
    to_torch,
)

# (B, T, d_model, h)
SHAPES = (
    (32, 32, 256, 4),
    (8, 128, 256, 4),
    (16, 64, 512, 8),
    (4, 256, 512, 8),
    (8, 256, 768, 12),
    (2, 512, 768, 12),
    (4, 512, 1024, 16),
    (1, 1024, 1024, 16),
    (1, 2048, 1024, 16),
)
GROUPED = ((32, 32, 256, 4), (4, 256, 512, 8), (4, 512, 1024, 16))  # also with g = h/4
POSITIONS = (64, 1024)


class Speed(NamedTuple):
    """One row of the table; times in milliseconds.

    Attributes:
        shape: B, T, d_model, h, g.
        mode: "inference" or "training" (forward and backward).
        weights: Whether the weights of every head are returned.
        is_causal: Whether the future is masked.
        ours: Median time of ours: fused, or batched if the weights are returned.
        torch: Median time of nn.MultiheadAttention.
        ratio: Median of ours / torch's, round by round.
        quartiles: Of the same.
        floor_ratio: Ours over the bare matrix products of the same sizes; inference only.
    """

    shape: tuple[int, int, int, int, int]
    mode: str
    weights: bool
    is_causal: bool
    ours: float
    torch: float
    ratio: float
    quartiles: tuple[float, float]
    floor_ratio: float | None


class Decoding(NamedTuple):
    """Time of one step with a cache, at an early and at a late position; milliseconds.

    Attributes:
        shape: d_model, h, g.
        early: Median time at the first of `POSITIONS`.
        late: Median time at the second.
        ratio: Median of late / early, round by round.
        quartiles: Of the same.
        traffic: The same ratio for the bytes that a step must read, parameters and cache. Where
            neither fits into the processor's caches, no implementation can do much better.
    """

    shape: tuple[int, int, int]
    early: float
    late: float
    ratio: float
    quartiles: tuple[float, float]
    traffic: float


def speed_rows(
    shapes: Sequence[tuple[int, int, int, int]],
    device: torch.device,
    dtype: torch.dtype,
    rounds: int,
) -> Iterator[Speed]:
    """Measure every shape: inference and training, with weights and not, causal and not."""
    for batch, time, d_model, heads in shapes:
        shared = (heads // 4,) if (batch, time, d_model, heads) in GROUPED else ()
        for kv_heads in (heads, *shared):
            ours = MultiHeadAttention(d_model, heads, num_kv_heads=kv_heads).to(device, dtype)
            theirs = to_torch(ours)  # with a copy of each shared head: it cannot share
            x = torch.randn(batch, time, d_model, device=device, dtype=dtype)
            for mode in ("inference", "training"):
                for weights in (False, True):
                    for is_causal in (False, True):
                        yield _row(ours, theirs, x, mode, weights, is_causal, rounds)


def _row(
    ours: MultiHeadAttention,
    theirs: nn.MultiheadAttention,
    x: Tensor,
    mode: str,
    weights: bool,
    is_causal: bool,
    rounds: int,
) -> Speed:
    s = ours.shape
    batch, time, _ = x.shape
    ours.form = "batched" if weights else "fused"
    mask = ~causal_mask(time, time, x.device) if is_causal else None  # torch's True: may not

    def call_ours() -> object:
        return ours(x, is_causal=is_causal, return_weights=weights)

    def call_theirs() -> object:
        return theirs(
            x,
            x,
            x,
            attn_mask=mask,
            is_causal=is_causal,
            need_weights=weights,
            average_attn_weights=False,
        )

    training = mode == "training"
    calls: dict[str, Call] = {}
    for name, module, call in (("ours", ours, call_ours), ("torch", theirs, call_theirs)):
        module.train(training)
        calls[name] = _training_step(module, call) if training else torch.inference_mode()(call)
    if not training:
        floor = _matrix_products(batch, time, s.d_model, s.num_heads, s.num_kv_heads, x)
        calls["floor"] = torch.inference_mode()(floor)
    _assert_same(call_ours(), call_theirs())

    times = alternate(calls, rounds, x.device)
    to_torchs = ratios(times["ours"], times["torch"])
    return Speed(
        shape=(batch, time, s.d_model, s.num_heads, s.num_kv_heads),
        mode=mode,
        weights=weights,
        is_causal=is_causal,
        ours=1e3 * median(times["ours"]),
        torch=1e3 * median(times["torch"]),
        ratio=median(to_torchs),
        quartiles=quartiles(to_torchs),
        floor_ratio=None if training else median(ratios(times["ours"], times["floor"])),
    )


def _assert_same(ours: object, theirs: object) -> None:
    """Outputs, and weights if there are any, are those of torch but for rounding.

    Both are averages over many keys, and small: what counts is the error beside their spread.
    """
    pairs = zip(_tensors(ours), _tensors(theirs), strict=True)
    for x, y in pairs:
        error = (x - y).abs().max() / y.std()
        assert error < torch.finfo(y.dtype).eps ** 0.5, f"off by {error:.1e} of the spread"


def _tensors(result: object) -> list[Tensor]:
    parts = result if isinstance(result, tuple) else (result,)
    return [part for part in parts if part is not None]


def _output(result: object) -> Tensor:
    output = result[0] if isinstance(result, tuple) else result
    assert isinstance(output, Tensor)
    return output


def _training_step(module: nn.Module, call: Call) -> Call:
    def step() -> None:
        module.zero_grad(set_to_none=True)
        torch.autograd.backward(_output(call()).sum())

    return step


def _matrix_products(
    batch: int, time: int, d_model: int, heads: int, kv_heads: int, like: Tensor
) -> Call:
    """Return a call of the six matrix products alone: no bias, no softmax, nothing moved."""
    d_head = d_model // heads
    x = torch.randn(batch * time, d_model, device=like.device, dtype=like.dtype)
    wide = torch.randn(d_model, d_model, device=like.device, dtype=like.dtype)
    narrow = wide[:, : kv_heads * d_head].contiguous()
    q = torch.randn(batch * heads, time, d_head, device=like.device, dtype=like.dtype)
    a = torch.randn(batch * heads, time, time, device=like.device, dtype=like.dtype)

    def products() -> None:
        for w in (wide, narrow, narrow, wide):
            torch.mm(x, w)
        torch.bmm(q, q.mT)
        torch.bmm(a, q)

    return products


def decoding_rows(device: torch.device, dtype: torch.dtype, rounds: int) -> Iterator[Decoding]:
    """Measure a step at both positions, for heads of their own and for shared ones."""
    for d_model, heads, kv_heads in ((1024, 16, 16), (1024, 16, 4), (2048, 32, 32), (2048, 32, 8)):
        mha = MultiHeadAttention(d_model, heads, num_kv_heads=kv_heads, form="fused")
        mha = mha.to(device, dtype).eval()
        calls = {str(p): torch.inference_mode()(_step(mha, p)) for p in POSITIONS}
        times = alternate(calls, rounds, device)
        early, late = (times[str(p)] for p in POSITIONS)
        to_early = ratios(late, early)
        size = dtype.itemsize
        weights = size * count_parameters(mha)
        early_bytes, late_bytes = (
            weights
            + kv_cache_bytes(d_model, heads, p, num_kv_heads=kv_heads, bytes_per_number=size)
            for p in POSITIONS
        )
        yield Decoding(
            shape=(d_model, heads, kv_heads),
            early=1e3 * median(early),
            late=1e3 * median(late),
            ratio=median(to_early),
            quartiles=quartiles(to_early),
            traffic=late_bytes / early_bytes,
        )


def _step(mha: MultiHeadAttention, position: int) -> Call:
    like = mha.w_o.weight
    with torch.inference_mode():
        past = torch.randn(1, position, mha.shape.d_model, device=like.device, dtype=like.dtype)
        token = past[:, :1].clone()
        cache = KVCache()
        mha(past, is_causal=True, cache=cache)
        mha(token, is_causal=True, cache=cache)  # makes room, should there be none

    def step() -> None:
        cache.num_tokens = position  # forgets what the step before has added
        mha(token, is_causal=True, cache=cache)

    return step
