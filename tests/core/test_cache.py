"""The cache holds what it was given, in order, however it grows.

That decoding with it is one causal call is in test_equivalence.py and test_latent.py.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from reference import random
from torch import Tensor

from mha_course import KVCache, LatentShape, MultiHeadAttention, MultiHeadLatentAttention
from mha_course.cache import SMALLEST_CAPACITY
from mha_course.forms import FORMS

B, G, D_HEAD, D_V = 2, 4, 6, 10
CHUNKS = {
    "one by one": [1] * 150,
    "prompt, then steps": [61, *[1] * 10],
    "exactly full, then more": [SMALLEST_CAPACITY, 1, SMALLEST_CAPACITY - 1, 1],
    "more than twice the room": [3, 5 * SMALLEST_CAPACITY, 7],
    "odd chunks": [5, 7, 100, 3, 301, 1],
}

by_chunks = pytest.mark.parametrize("chunks", CHUNKS.values(), ids=CHUNKS)
by_mode = pytest.mark.parametrize(
    "mode", [torch.no_grad, torch.inference_mode], ids=lambda mode: mode.__name__
)


def tokens(num_tokens: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    return (
        random(B, G, num_tokens, D_HEAD, seed=1).to(dtype),
        random(B, G, num_tokens, D_V, seed=2).to(dtype),
    )


def bytes_of(*tensors: Tensor) -> int:
    return sum(t.numel() * t.element_size() for t in tensors)


def test_a_new_cache_is_empty() -> None:
    cache = KVCache()
    assert (cache.num_tokens, cache.nbytes) == (0, 0)


@by_mode
@by_chunks
def test_all_that_was_appended_is_there_in_order(
    chunks: list[int], mode: Callable[[], object]
) -> None:
    keys, values = tokens(sum(chunks))
    cache, end = KVCache(), 0
    with mode():
        for new in chunks:
            start, end = end, end + new
            so_far = cache.append(keys[:, :, start:end], values[:, :, start:end])
            assert cache.num_tokens == end
            assert cache.nbytes == bytes_of(keys[:, :, :end], values[:, :, :end])
            for now, given in zip(so_far, (keys, values), strict=True):
                assert torch.equal(now, given[:, :, :end])
                assert (now.dtype, now.device) == (given.dtype, given.device)


def test_room_is_doubled_so_that_few_steps_copy() -> None:
    keys, values = tokens(1)
    cache, copied = KVCache(), []
    places = set()
    for step in range(1, 20 * SMALLEST_CAPACITY):
        room, _ = cache.append(keys, values)
        if room.data_ptr() not in places:
            places.add(room.data_ptr())
            copied.append(step)
    # an address may be used again later, which only makes this list shorter
    doublings = [1 + SMALLEST_CAPACITY * 2**n for n in range(5)]
    assert set(copied) <= {1, *doublings}
    assert len(copied) >= 3


def test_a_step_into_free_room_moves_nothing() -> None:
    cache = KVCache()
    first_keys, first_values = cache.append(*tokens(5))
    keys, values = cache.append(*tokens(7))
    assert keys.data_ptr() == first_keys.data_ptr()
    assert values.data_ptr() == first_values.data_ptr()


def test_nbytes_leaves_out_free_room() -> None:
    cache = KVCache()
    keys, values = tokens(3)
    room, _ = cache.append(keys, values)
    assert cache.nbytes == bytes_of(keys, values)
    assert room.untyped_storage().nbytes() == bytes_of(keys) // 3 * SMALLEST_CAPACITY


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16], ids=str)
def test_dtype_is_kept(dtype: torch.dtype) -> None:
    cache = KVCache()
    for _ in range(2):
        keys, values = cache.append(*tokens(SMALLEST_CAPACITY, dtype))
    assert keys.dtype == values.dtype == dtype
    assert cache.nbytes == 2 * SMALLEST_CAPACITY * B * G * (D_HEAD + D_V) * dtype.itemsize


def test_what_was_given_and_what_was_returned_stay_as_they_are() -> None:
    keys, values = tokens(5)
    before = keys.clone(), values.clone()
    cache = KVCache()
    early_keys, early_values = cache.append(keys, values)
    for _ in range(2 * SMALLEST_CAPACITY):
        cache.append(*tokens(1))
    for now, was in zip((keys, values, early_keys, early_values), before * 2, strict=True):
        assert torch.equal(now, was)
    # and a later change of the given tensor does not reach the cache
    keys.zero_()
    assert torch.equal(cache.append(*tokens(1))[0][:, :, :5], before[0])


def test_two_caches_share_nothing() -> None:
    a, b = KVCache(), KVCache()
    a.append(*tokens(5))
    assert b.num_tokens == 0
    b.append(*(torch.zeros_like(t) for t in tokens(5)))
    assert torch.equal(a.append(*tokens(1))[0][:, :, :5], tokens(5)[0])


# ---------------------------------------------------------------------------------- refusals


def almost(**change: object) -> tuple[Tensor, Tensor]:
    """9 more tokens, with one thing about the keys or the values that is wrong."""
    sizes = {"batch": B, "g": G, "d_head": D_HEAD, "d_v": D_V, "values": 9}
    sizes |= {name: size for name, size in change.items() if name in sizes}
    keys = random(sizes["batch"], sizes["g"], 9, sizes["d_head"], seed=3).float()
    values = random(sizes["batch"], sizes["g"], sizes["values"], sizes["d_v"], seed=4).float()
    return keys.to(change.get("keys_to")), values.to(change.get("values_to"))


REFUSED = {
    "another batch": {"batch": 3},
    "another g": {"g": 2},
    "keys of another width": {"d_head": 7},
    "values of another width": {"d_v": 11},
    "more values than keys": {"values": 8},
    "keys of another dtype": {"keys_to": torch.float64},
    "values of another dtype": {"values_to": torch.float64},
    "both of another dtype": {"keys_to": torch.float16, "values_to": torch.float16},
    "both ints": {"keys_to": torch.int32, "values_to": torch.int32},
    "keys elsewhere": {"keys_to": "meta"},
    "values elsewhere": {"values_to": "meta"},
    "both elsewhere": {"keys_to": "meta", "values_to": "meta"},
}


@pytest.mark.parametrize("change", REFUSED.values(), ids=REFUSED)
def test_refused_tokens_change_nothing(change: dict[str, object]) -> None:
    """Room for 64 is made, and 9 more than 60 would need new room: it must not be made."""
    cache = KVCache()
    keys, values = tokens(60)
    room, _ = cache.append(keys, values)
    before = cache.num_tokens, cache.nbytes
    with pytest.raises((ValueError, TypeError)):
        cache.append(*almost(**change))
    assert (cache.num_tokens, cache.nbytes) == before
    new_keys, new_values = tokens(4)
    now_keys, now_values = cache.append(new_keys, new_values)
    assert torch.equal(now_keys, torch.cat([keys, new_keys], dim=2))
    assert torch.equal(now_values, torch.cat([values, new_values], dim=2))
    assert now_keys.data_ptr() == room.data_ptr()


@pytest.mark.parametrize("change", [c for c in REFUSED.values() if len(c) == 1 and "_to" in str(c)])
def test_keys_and_values_of_two_kinds_are_refused_at_once(change: dict[str, object]) -> None:
    cache = KVCache()
    with pytest.raises((ValueError, TypeError), match=r"keys .* and values"):
        cache.append(*almost(**change))
    assert (cache.num_tokens, cache.nbytes) == (0, 0)
    cache.append(*almost())
    assert cache.num_tokens == 9


def test_growing_outside_of_the_inference_mode_that_filled_it_is_refused() -> None:
    cache = KVCache()
    with torch.inference_mode():
        cache.append(*tokens(5))
    with pytest.raises(RuntimeError, match=r"filled under torch\.inference_mode\(\).*new KVCache"):
        cache.append(*tokens(1))
    assert cache.num_tokens == 5
    with torch.inference_mode():
        cache.append(*tokens(1))
    assert cache.num_tokens == 6


def test_inference_mode_may_follow_on_no_mode() -> None:
    cache = KVCache()
    cache.append(*tokens(5))
    with torch.inference_mode():
        keys, _ = cache.append(*tokens(3))
    assert torch.equal(keys, torch.cat([tokens(5)[0], tokens(3)[0]], dim=2))


# ---------------------------------------------------------------------------------- gradients


def test_tensors_that_want_a_gradient_are_refused() -> None:
    for n in range(2):
        wanting = [t.requires_grad_(i == n) for i, t in enumerate(tokens(3))]
        cache = KVCache()
        with pytest.raises(RuntimeError, match=r"torch\.inference_mode\(\), .* without a cache"):
            cache.append(*wanting)
        assert cache.num_tokens == 0
        with torch.no_grad():
            cache.append(*wanting)
        assert cache.num_tokens == 3


def test_frozen_tensors_need_no_mode() -> None:
    cache = KVCache()
    keys, _ = cache.append(*tokens(3))
    assert not keys.requires_grad


LATENT = LatentShape(14, 8, d_head=5, d_rope=6, d_v=3, kv_rank=7, q_rank=9)
MODULES = {
    **{
        form: lambda form=form: MultiHeadAttention(
            14, 8, num_kv_heads=G, d_head=D_HEAD, d_v=D_V, form=form
        )
        for form in FORMS
    },
    "latent": lambda: MultiHeadLatentAttention(LATENT),
    "latent, absorbed": lambda: MultiHeadLatentAttention(LATENT, absorb=True),
}


@by_mode
@pytest.mark.parametrize("make", MODULES.values(), ids=MODULES)
def test_modules_decode_in_both_modes(
    make: Callable[[], MultiHeadAttention], mode: Callable[[], object]
) -> None:
    module, x = make().double(), random(B, 7, 14, seed=3)
    expected = module(x, is_causal=True)
    cache = KVCache()
    with mode():
        steps = [module(x[:, t : t + 1], is_causal=True, cache=cache) for t in range(7)]
    torch.testing.assert_close(torch.cat(steps, dim=1), expected)


@pytest.mark.parametrize("make", MODULES.values(), ids=MODULES)
def test_modules_refuse_a_cache_where_gradients_are_recorded(
    make: Callable[[], MultiHeadAttention],
) -> None:
    module, cache = make(), KVCache()
    with pytest.raises(RuntimeError, match="carries no gradient"):
        module(torch.randn(B, 5, 14), cache=cache)
    assert cache.num_tokens == 0
    # nothing of a frozen module wants a gradient
    module.requires_grad_(False)(torch.randn(B, 5, 14), cache=cache)
    assert cache.num_tokens == 5


@pytest.mark.parametrize("make", MODULES.values(), ids=MODULES)
def test_mixed_precision_is_kept_in_the_cache(make: Callable[[], MultiHeadAttention]) -> None:
    module, x = make(), random(B, 7, 14, seed=3).float()
    expected, whole, cache = module(x, is_causal=True), KVCache(), KVCache()
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        module(x, cache=whole)
        steps = [module(x[:, t : t + 1], is_causal=True, cache=cache) for t in range(7)]
    assert whole.nbytes == cache.nbytes
    numbers = 7 if isinstance(module, MultiHeadLatentAttention) else G * D_V
    numbers += 6 if isinstance(module, MultiHeadLatentAttention) else G * D_HEAD
    assert cache.nbytes == B * 7 * numbers * 2
    output = torch.cat(steps, dim=1)
    assert output.dtype == torch.bfloat16
    assert (output - expected).abs().max() < 0.05 * expected.abs().max()
