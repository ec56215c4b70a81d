"""Heads are removed for real, and the output is that of gating them with 0."""

from __future__ import annotations

import copy
import io
import warnings
from collections.abc import Collection
from math import gcd
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mha_course import (
    KVCache,
    MultiHeadAttention,
    MultiHeadLatentAttention,
    attention_parameters,
    count_parameters,
    kv_cache_bytes,
    to_torch,
)
from mha_course.forms import FORMS
from mha_course.heads.removal import EmptiedAttention, PrunedAttention, heads_left, remove_heads
from mha_course.shapes import LatentShape

B, T_Q, T_K, H = 3, 5, 7, 8
SIZES = {"d_model": 14, "num_heads": H, "d_head": 6, "d_v": 10, "kdim": 9, "vdim": 11}
ALL = range(H)

# heads to remove, by the number of key/value heads
EVEN = {
    8: [[], [5], [0, 3, 6], ALL],
    4: [[], [2, 3], [0, 3, 5, 6], [0, 1, 2, 4, 6], ALL],
    2: [[], [1, 6], [0, 1, 2, 3], [4, 5, 6, 7, 1], ALL],
    1: [[], [0], [1, 2, 6], ALL],
}
UNEVEN = {4: [[1], [0, 1, 2]], 2: [[7], [0, 1], [0, 1, 2, 7], [4, 5, 6]]}

by_form = pytest.mark.parametrize("form", FORMS)
one_of_each = pytest.mark.parametrize(
    "heads", [[1, 6], [7], list(ALL)], ids=["even", "uneven", "all"]
)
with_even = pytest.mark.parametrize(
    ("groups", "heads"), [(g, list(heads)) for g in EVEN for heads in EVEN[g]]
)
with_uneven = pytest.mark.parametrize(
    ("groups", "heads"), [(g, heads) for g in UNEVEN for heads in UNEVEN[g]]
)
with_any = pytest.mark.parametrize(
    ("groups", "heads"), [(g, list(heads)) for e in (EVEN, UNEVEN) for g in e for heads in e[g]]
)


def random(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def module(groups: int, **options: Any) -> MultiHeadAttention:
    """Weights so large that the softmax is not flat, and biases that are not zero."""
    mha = MultiHeadAttention(**{**SIZES, "num_kv_heads": groups, **options}).double()
    with torch.no_grad():
        for n, parameter in enumerate(mha.parameters()):
            parameter.copy_(random(*parameter.shape, seed=n) / 2)
    return mha.eval()


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    return random(B, T_Q, 14, seed=21), random(B, T_K, 9, seed=22), random(B, T_K, 11, seed=23)


def closed(heads: Collection[int]) -> Tensor:
    return torch.tensor([0.0 if head in heads else 1.0 for head in ALL], dtype=torch.float64)


def rows_left(heads: Collection[int], groups: int) -> dict[str, Tensor]:
    """Which rows of W_Q, W_K, W_V and columns of W_O belong to a head that is left."""
    left = closed(heads).bool()
    kv_left = left.view(groups, H // groups).any(1)
    return {
        "q": left.repeat_interleave(6),
        "k": kv_left.repeat_interleave(6),
        "v": kv_left.repeat_interleave(10),
        "o": left.repeat_interleave(10),
    }


def expected_of(whole: dict[str, Tensor], heads: Collection[int], groups: int) -> dict[str, Tensor]:
    """What is left of each tensor of a module; the keys are those of an even module."""
    rows = rows_left(heads, groups)
    expected = {}
    for name, tensor in whole.items():
        of = rows[name[2]]
        if name == "w_o.bias":
            expected[name] = tensor
        else:
            expected[name] = tensor[:, of] if name[2] == "o" else tensor[of]
    return expected


def once(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.replace(".linear.", "."): tensor for name, tensor in tensors.items()}


def gradients(mha: nn.Module, x: tuple[Tensor, ...], **options: Any) -> dict[str, Tensor]:
    leaves = [tensor.clone().requires_grad_() for tensor in x]
    named = dict(mha.named_parameters())
    output = mha(*leaves, **options)
    found = torch.autograd.grad(
        (output * random(*output.shape, seed=31)).sum(), [*leaves, *named.values()]
    )
    return dict(zip(["query", "key", "value", *once(named)], found, strict=True))


# ---------------------------------------------------------------------------- same as gating


@by_form
@with_any
def test_output_is_that_of_gates_of_0(groups: int, heads: list[int], form: str) -> None:
    mha = module(groups, form=form)
    expected = mha(*inputs(), head_gates=closed(heads))
    torch.testing.assert_close(remove_heads(mha, heads)(*inputs()), expected)
    if heads:
        assert (expected - mha(*inputs())).abs().max() > 0.01


@with_any
def test_gradients_are_those_of_gates_of_0(groups: int, heads: list[int]) -> None:
    mha = module(groups)
    gated = gradients(mha, inputs(), head_gates=closed(heads))
    expected = expected_of(
        {name: g for name, g in gated.items() if name.startswith("w_")}, heads, groups
    )
    found = gradients(remove_heads(mha, heads), inputs())
    for name in ("query", "key", "value"):
        torch.testing.assert_close(found.pop(name), gated[name])
    assert found.keys() == expected.keys()
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected[name])


@with_any
def test_what_is_left_is_copied_and_nothing_else_is(groups: int, heads: list[int]) -> None:
    mha = module(groups)
    state = once(dict(remove_heads(mha, heads).state_dict()))
    expected = expected_of(dict(mha.state_dict()), heads, groups)
    assert list(state) == list(expected)
    for name, tensor in state.items():
        assert torch.equal(tensor, expected[name]), name


@pytest.mark.parametrize("bias", [True, False, "q", "k", "v", "o", "kvo"])
@one_of_each
def test_every_setting_of_biases(bias: bool | str, heads: list[int]) -> None:
    """The value bias of a head is part of its output, so it goes with it; b_O stays whole."""
    mha = module(2, bias=bias)
    pruned = remove_heads(mha, heads)
    torch.testing.assert_close(pruned(*inputs()), mha(*inputs(), head_gates=closed(heads)))
    assert pruned.shape.bias == mha.shape.bias
    assert once(dict(pruned.named_parameters())).keys() == dict(mha.named_parameters()).keys()


@by_form
@with_any
def test_masks_lengths_and_gates_of_the_heads_left(
    groups: int, heads: list[int], form: str
) -> None:
    mha = module(groups, form=form)
    pruned = remove_heads(mha, heads)
    left = list(pruned.kept)
    mask, gates = random(B, H, T_Q, T_K, seed=41) > -0.5, random(B, H, seed=42)
    options = {"key_lengths": torch.tensor([7, 0, 4]), "is_causal": True}
    torch.testing.assert_close(
        pruned(*inputs(), attn_mask=mask[:, left], head_gates=gates[:, left], **options),
        mha(*inputs(), attn_mask=mask, head_gates=gates * closed(heads), **options),
    )


@with_any
def test_weights_are_those_of_the_heads_left(groups: int, heads: list[int]) -> None:
    mha = module(groups)
    _, weights = mha(*inputs(), return_weights=True)
    pruned = remove_heads(mha, heads)
    _, of_left = pruned(*inputs(), return_weights=True)
    assert of_left.shape == (B, H - len(heads), T_Q, T_K)
    torch.testing.assert_close(of_left, weights[:, list(pruned.kept)])


@by_form
@with_any
def test_decoding_with_a_cache(groups: int, heads: list[int], form: str) -> None:
    mha = module(groups, form=form, kdim=14, vdim=14)
    x = random(B, T_Q, 14, seed=21)
    mask = random(T_Q, T_Q, seed=43) > -0.5
    expected = mha(x, attn_mask=mask, is_causal=True, head_gates=closed(heads))
    pruned, cache = remove_heads(mha, heads), KVCache()
    with torch.inference_mode():
        steps = [
            pruned(x[:, a:b], attn_mask=mask[a:b, :b], is_causal=True, cache=cache)
            for a, b in ((0, 2), (2, 3), (3, T_Q))
        ]
    torch.testing.assert_close(torch.cat(steps, dim=1), expected)
    assert cache.num_tokens == T_Q
    assert cache.nbytes == B * T_Q * pruned.shape.num_kv_heads * (6 + 10) * 8


@with_any
def test_trained_on_it_stays_what_gating_would_have_become(groups: int, heads: list[int]) -> None:
    """Also where key/value heads are handed out twice: they are one parameter."""
    mha = module(groups)
    pruned = remove_heads(mha, heads)
    start = pruned(*inputs()).detach()
    for trained, gates in ((mha, closed(heads)), (pruned, None)):
        sgd = torch.optim.SGD(trained.parameters(), lr=0.1)
        for _ in range(3):
            sgd.zero_grad()
            trained(*inputs(), head_gates=gates).square().mean().backward()
            sgd.step()
    torch.testing.assert_close(pruned(*inputs()), mha(*inputs(), head_gates=closed(heads)))
    assert (pruned(*inputs()) - start).abs().max() > 0.001


# -------------------------------------------------------------------------------- bookkeeping


@with_even
def test_parameters_and_cache_are_the_closed_forms(groups: int, heads: list[int]) -> None:
    mha = module(groups)
    pruned = remove_heads(mha, heads)
    left = H - len(heads)
    if left == 0:
        assert count_parameters(pruned) == SIZES["d_model"]  # b_O
        return
    s = pruned.shape
    kv_left = len({head // (H // groups) for head in ALL if head not in heads})
    assert (s.num_heads, s.num_kv_heads) == (left, kv_left)
    assert s._replace(num_heads=H, num_kv_heads=groups) == mha.shape
    sizes = {name: size for name, size in SIZES.items() if name != "num_heads"}
    expected = attention_parameters(**sizes, num_heads=left, num_kv_heads=kv_left)
    assert count_parameters(pruned) == expected
    cache = KVCache()
    with torch.inference_mode():
        pruned(*inputs(), cache=cache)
    assert cache.nbytes == B * kv_cache_bytes(
        **sizes, num_heads=left, num_kv_heads=kv_left, num_tokens=T_K, bytes_per_number=8
    )


@with_uneven
def test_copies_of_key_value_heads_are_not_counted(groups: int, heads: list[int]) -> None:
    mha = module(groups)
    pruned = remove_heads(mha, heads)
    kv_of_head = [head // (H // groups) for head in ALL if head not in heads]
    sizes = {name: size for name, size in SIZES.items() if name != "num_heads"}

    def closed_form(num_heads: int, num_kv_heads: int) -> int:
        return attention_parameters(**sizes, num_heads=num_heads, num_kv_heads=num_kv_heads)

    # one more key/value head costs the same whatever the number of heads is
    one_kv_head = closed_form(2, 2) - closed_form(2, 1)
    assert count_parameters(pruned) == (
        closed_form(len(kv_of_head), 1) + (len(set(kv_of_head)) - 1) * one_kv_head
    )
    group = gcd(*(kv_of_head.count(kv) for kv in set(kv_of_head)))
    assert pruned.shape.num_kv_heads == len(kv_of_head) // group > len(set(kv_of_head))
    assert pruned.kv_of_head == tuple(sorted(set(kv_of_head)).index(kv) for kv in kv_of_head)


@pytest.mark.parametrize("groups", EVEN)
@pytest.mark.parametrize(
    "steps",
    [[[1], [6]], [[6], [1]], [[0], [1, 2], [7]], [[3, 2, 1, 0], [7]], [[5], list(set(ALL) - {5})]],
    ids=str,
)
def test_heads_keep_their_numbers(groups: int, steps: list[list[int]]) -> None:
    """One after the other is all at once, also from an uneven module back to an even one."""
    mha = module(groups)
    pruned: MultiHeadAttention = mha
    for heads in steps:
        pruned = remove_heads(pruned, heads)
    gone = [head for heads in steps for head in heads]
    at_once = remove_heads(mha, gone)
    assert heads_left(pruned) == heads_left(at_once) == tuple(h for h in ALL if h not in gone)
    assert str(pruned) == str(at_once)
    assert pruned.kv_of_head == at_once.kv_of_head
    assert pruned.state_dict().keys() == at_once.state_dict().keys()
    for name, tensor in pruned.state_dict().items():
        assert torch.equal(tensor, at_once.state_dict()[name]), name
    torch.testing.assert_close(pruned(*inputs()), mha(*inputs(), head_gates=closed(gone)))


def test_a_module_that_nothing_was_removed_from_has_all_heads() -> None:
    mha = module(2)
    assert heads_left(mha) == tuple(ALL)
    assert remove_heads(mha, []).kept == tuple(ALL)
    assert remove_heads(mha, iter([2, 2, 5])).kept == (0, 1, 3, 4, 6, 7)
    assert "kept=(0, 1, 3, 4, 6, 7)" in repr(remove_heads(mha, [2, 5]))


# --------------------------------------------------------------------- what else is a module


@one_of_each
@pytest.mark.parametrize("training", [True, False])
@by_form
def test_form_dropout_and_mode_are_kept(heads: list[int], training: bool, form: str) -> None:
    pruned = remove_heads(module(2, dropout=0.25, form=form).train(training), heads)
    assert (pruned.form, pruned.dropout) == (form, 0.25)
    assert all(m.training is training for m in pruned.modules())
    same = torch.equal(pruned(*inputs()), pruned(*inputs()))
    assert same is (not training or len(heads) == H)


@one_of_each
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_dtype_is_kept(heads: list[int], dtype: torch.dtype) -> None:
    pruned = remove_heads(module(2).to(dtype), heads)
    assert {p.dtype for p in pruned.parameters()} == {dtype}
    output, weights = pruned(*(x.to(dtype) for x in inputs()), return_weights=True)
    assert output.dtype == weights.dtype == dtype
    assert output.shape == (B, T_Q, 14)


@one_of_each
def test_device_is_kept(heads: list[int]) -> None:
    pruned = remove_heads(module(2).to("meta"), heads)
    tensors = [*pruned.parameters(), *pruned.buffers()]
    assert {tensor.device.type for tensor in tensors} == {"meta"}
    assert pruned(*(x.to("meta") for x in inputs())).device.type == "meta"


@one_of_each
def test_what_is_frozen_stays_so(heads: list[int]) -> None:
    mha = module(2)
    mha.w_k.requires_grad_(False)
    mha.w_o.bias.requires_grad_(False)
    frozen = {n for n, p in remove_heads(mha, heads).named_parameters() if not p.requires_grad}
    assert {name.replace(".linear.", ".") for name in frozen} == {
        "w_k.weight",
        "w_k.bias",
        "w_o.bias",
    }


@one_of_each
def test_no_memory_is_shared(heads: list[int]) -> None:
    mha = module(2)
    before = copy.deepcopy(mha.state_dict())
    with torch.no_grad():
        for parameter in remove_heads(mha, heads).parameters():
            parameter.fill_(7)
    for name, tensor in mha.state_dict().items():
        assert torch.equal(tensor, before[name]), name


@one_of_each
def test_no_random_numbers_are_drawn_and_nothing_is_warned_of(heads: list[int]) -> None:
    mha = module(2)
    before = torch.get_rng_state()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        remove_heads(mha, heads)(*inputs())
    assert torch.equal(torch.get_rng_state(), before)


@one_of_each
def test_it_can_be_copied_saved_and_loaded(heads: list[int]) -> None:
    pruned = remove_heads(module(2), heads)
    expected = pruned(*inputs())
    assert torch.equal(copy.deepcopy(pruned)(*inputs()), expected)

    file = io.BytesIO()
    torch.save(pruned, file)
    file.seek(0)
    assert torch.equal(torch.load(file, weights_only=False)(*inputs()), expected)

    other = MultiHeadAttention(**SIZES, num_kv_heads=2).double()
    fresh = remove_heads(other, heads)
    fresh.load_state_dict(pruned.state_dict())
    assert torch.equal(fresh(*inputs()), expected)


@pytest.mark.parametrize("bias", [True, False, "qo"])
@pytest.mark.parametrize("heads", [[0, 7], [0, 1]], ids=["even", "uneven"])
def test_torch_gets_the_same_function(heads: list[int], bias: bool | str) -> None:
    """What is left is 6 heads 2 wide, d_model=12 in all, as torch's module needs."""
    mha = module(2, d_model=12, d_head=2, d_v=2, kdim=9, vdim=11, bias=bias)
    x = random(B, T_Q, 12, seed=51), *inputs()[1:]
    pruned = remove_heads(mha, heads)
    torch.testing.assert_close(to_torch(pruned)(*x)[0], pruned(*x))


# ---------------------------------------------------------------------------- emptied layers


@by_form
@pytest.mark.parametrize("bias", [True, "qkv"])
def test_an_emptied_layer_gives_the_bias_of_w_o_to_every_query(bias: bool | str, form: str) -> None:
    mha = module(4, bias=bias, form=form)
    emptied = remove_heads(mha, ALL)
    assert isinstance(emptied, EmptiedAttention)
    expected = torch.zeros(14).double() if mha.w_o.bias is None else mha.w_o.bias
    assert torch.equal(emptied(*inputs()), expected.expand(B, T_Q, -1))
    assert emptied.kept == ()
    assert remove_heads(emptied, []).kept == ()


def test_only_a_layer_without_heads_is_an_emptied_one() -> None:
    pruned = remove_heads(module(4), range(1, H))
    assert isinstance(pruned, PrunedAttention)
    assert not isinstance(pruned, EmptiedAttention)


def test_an_emptied_layer_knows_no_weights_in_the_fused_form() -> None:
    emptied = remove_heads(module(4), ALL)
    assert emptied.heads(*inputs()).weights.shape == (B, 0, T_Q, T_K)
    emptied.form = "fused"
    assert emptied.heads(*inputs()).weights is None
    assert emptied.heads(*inputs()).z.shape == (B, 0, T_Q, 10)


def test_an_emptied_layer_of_one_input_attends_to_it() -> None:
    emptied = remove_heads(module(4, kdim=14, vdim=14), ALL)
    _, weights = emptied(inputs()[0], return_weights=True)
    assert weights.shape == (B, 0, T_Q, T_Q)


# ---------------------------------------------------------------------------------- bad input


WRONG: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "width": ({"query": inputs()[0][..., 1:]}, ValueError, "^query is 13 wide"),
    "batch": ({"key": inputs()[1][1:]}, ValueError, "^query has batch size B=3 and key has B=2"),
    "keys": ({"value": inputs()[2][:, 1:]}, ValueError, r"^key has \[B, T_k\] = \[3, 7\]"),
    "no value": ({"value": None}, ValueError, "^value is 9 wide.*pass value"),
    "dtype": ({"query": inputs()[0].float()}, TypeError, "^query has dtype torch.float32"),
    "mask": ({"attn_mask": torch.ones(T_K, T_Q) > 0}, ValueError, "^attn_mask has shape"),
    "mask of all heads": (
        {"attn_mask": torch.ones(B, H, T_Q, T_K) > 0},
        ValueError,
        "^attn_mask has shape.*, h={left}, T_q=5",
    ),
    "mask of floats": ({"attn_mask": torch.ones(T_Q, T_K)}, TypeError, "^attn_mask has dtype"),
    "lengths": ({"key_lengths": torch.tensor([1, 2])}, ValueError, "^key_lengths has 2 entries"),
    "cache": ({"cache": []}, TypeError, "^cache is a list; it must be a KVCache"),
    "gates": (
        {"head_gates": torch.ones(H).double()},
        ValueError,
        r"^head_gates has shape \[8\]; it must be \[h={left}\]",
    ),
}


@one_of_each
@pytest.mark.parametrize(("wrong", "error", "message"), WRONG.values(), ids=WRONG)
def test_wrong_inputs_are_refused_as_before(
    heads: list[int], wrong: dict[str, Any], error: type[Exception], message: str
) -> None:
    """Also by a layer without heads, which would have no need of most of them."""
    call = dict(zip(("query", "key", "value"), inputs(), strict=True)) | wrong
    with pytest.raises(error, match=message.replace("{left}", str(H - len(heads)))):
        remove_heads(module(2), heads)(**call)


def test_weights_of_the_fused_form_and_gradients_in_a_cache_are_refused() -> None:
    emptied = remove_heads(module(2, form="fused"), ALL)
    with pytest.raises(ValueError, match="form='batched'"):
        emptied(*inputs(), return_weights=True)
    with pytest.raises(RuntimeError, match="carries no gradient"):
        emptied(*inputs(), cache=KVCache())


@pytest.mark.parametrize(
    ("heads", "error", "message"),
    {
        "beyond": ([8], ValueError, r"^head=8 is not in this module; its heads are 0, 1, 3, 4, 5,"),
        "gone": ([4, 2], ValueError, r"^head=2 is not in this module.*had before any was removed"),
        "negative": ([-1], ValueError, r"^head=-1 must be at least 0$"),
        "float": ([1.0], TypeError, r"^head=1\.0 is a float; it must be an int$"),
        "bool": ([True], TypeError, r"^head=True is a bool; it must be an int$"),
        "tensor": (torch.tensor([1]), TypeError, r"^head=tensor\(1\) is a Tensor; it must be an"),
    }.values(),
)
def test_heads_that_are_not_there_are_refused(
    heads: Any, error: type[Exception], message: str
) -> None:
    pruned = remove_heads(module(2), [2])
    with pytest.raises(error, match=message):
        remove_heads(pruned, heads)


def test_removing_from_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^head=0 is not in this module; its heads are none\."):
        remove_heads(remove_heads(module(2), ALL), [0])


@pytest.mark.parametrize(
    "other",
    [
        nn.MultiheadAttention(12, 4),
        MultiHeadLatentAttention(LatentShape(12, 4, d_head=5, d_rope=2, d_v=3, kv_rank=6)),
    ],
    ids=lambda m: type(m).__name__,
)
def test_other_modules_are_refused(other: Any) -> None:
    with pytest.raises(TypeError, match=f"^mha is a {type(other).__name__}; it must be a MultiH"):
        remove_heads(other, [1])
