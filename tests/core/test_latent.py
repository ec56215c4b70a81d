"""Latent attention against its equations, written a second time, and against DeepSeek's.

The reference goes head by head in float64, and rotates by multiplying complex numbers.
"""

from __future__ import annotations

import math
from functools import cache
from itertools import product
from typing import Any

import pytest
import torch
from reference import assert_close, gradients_of, random, random_mask, who_may_attend
from torch import Tensor

from mha_course import (
    KVCache,
    LatentShape,
    MultiHeadAttention,
    MultiHeadLatentAttention,
    count_parameters,
)
from mha_course.forms import FORMS
from mha_course.latent import rotate

B, T, H = 3, 7, 8
SHAPES = {  # transformers wants h to divide d_model
    "q_rank": LatentShape(24, H, d_head=5, d_rope=6, d_v=4, kv_rank=9, q_rank=10),
    "no q_rank": LatentShape(24, H, d_head=5, d_rope=6, d_v=4, kv_rank=9),
}
X = random(B, T, 24, seed=1)
MASKS = {
    "no mask": {},
    "causal": {"is_causal": True},
    "mask [T, T_k]": {"attn_mask": random_mask(T, T, seed=2)},
    "mask [B, h, T, T_k]": {"attn_mask": random_mask(B, H, T, T, seed=3)},
    "mask [B, 1, 1, T_k]": {"attn_mask": random_mask(B, 1, 1, T, seed=4)},
    "mask and causal": {"attn_mask": random_mask(B, H, T, T, seed=3), "is_causal": True},
}
MASKS["mask and causal"]["attn_mask"][1, 2, 3] = False  # a query that may attend to nothing

by_form = pytest.mark.parametrize("form", FORMS)
by_order = pytest.mark.parametrize("absorb", [False, True], ids=["expanded", "absorbed"])
by_shape = pytest.mark.parametrize("shape", SHAPES)
by_mask = pytest.mark.parametrize("mask", MASKS)


@cache
def parameters(shape: str) -> dict[str, Tensor]:
    """Large enough that the softmax is not flat, and norms that are not 1."""
    names = MultiHeadLatentAttention(SHAPES[shape]).state_dict()
    state = {}
    for n, (name, like) in enumerate(names.items()):
        drawn = random(*like.shape, seed=100 + n)
        state[name] = 1 + drawn / 4 if like.dim() == 1 else 1.8 * drawn / like.shape[1] ** 0.5
        state[name] = state[name].float().double()
    return state


def module(
    shape: str = "q_rank",
    *,
    absorb: bool = False,
    form: str = "batched",
    dtype: torch.dtype = torch.float64,
) -> MultiHeadLatentAttention:
    mla = MultiHeadLatentAttention(SHAPES[shape], absorb=absorb, form=form).to(dtype)
    mla.load_state_dict(parameters(shape))
    return mla


# ------------------------------------------------------------------------------ the reference


def rotated_as_complex_numbers(x: Tensor, base: float = 10_000.0) -> Tensor:
    """Pair m of token t, read as a + bi, times e to the power of i·t·base^(−2m/width)."""
    num_tokens, width = x.shape[-2:]
    pairs = torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous())
    angles = torch.tensor(
        [[t / base ** (2 * m / width) for m in range(width // 2)] for t in range(num_tokens)],
        dtype=torch.float64,
    )
    turns = torch.complex(angles.cos(), angles.sin())
    return torch.view_as_real(pairs * turns).flatten(-2)


def rms_norm(x: Tensor, weight: Tensor) -> Tensor:
    return weight * x / torch.sqrt(x.square().mean(-1, keepdim=True) + 1e-6)


def head_by_head(
    s: LatentShape, w: dict[str, Tensor], x: Tensor, allowed: Tensor
) -> tuple[Tensor, Tensor]:
    """Output and weights, by the equations of the paper, one head after the other."""

    def of_head(name: str, i: int) -> Tensor:
        return torch.tensor_split(w[f"{name}.weight"], s.num_heads, dim=0)[i].T

    c = rms_norm(x @ w["w_dkv.weight"].T, w["norm_kv.weight"])
    r = rotated_as_complex_numbers(x @ w["w_kr.weight"].T)
    b = x if s.q_rank is None else rms_norm(x @ w["w_dq.weight"].T, w["norm_q.weight"])
    output, all_weights = torch.zeros_like(x), []
    for i in range(s.num_heads):
        k_i = torch.cat([c @ of_head("w_uk", i), r], dim=-1)
        v_i = c @ of_head("w_uv", i)
        rotary = rotated_as_complex_numbers(b @ of_head("w_qr", i))
        q_i = torch.cat([b @ of_head("w_uq", i), rotary], dim=-1)
        scores = torch.einsum("btd,bsd->bts", q_i, k_i) / math.sqrt(s.d_head + s.d_rope)
        exponentials = scores.exp() * allowed[:, i]
        total = exponentials.sum(-1, keepdim=True)
        weights = exponentials / torch.where(total > 0, total, 1.0)
        w_o = torch.tensor_split(w["w_o.weight"], s.num_heads, dim=1)[i]
        output = output + torch.einsum("bts,bsd->btd", weights, v_i) @ w_o.T
        all_weights.append(weights)
    return output, torch.stack(all_weights, dim=1)


COTANGENT = random(B, T, 24, seed=50)


@cache
def expected(shape: str, mask: str) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Output, weights, and gradients of Σ output · COTANGENT."""
    options = MASKS[mask]
    allowed = who_may_attend(
        (B, H, T, T), options.get("attn_mask"), options.get("is_causal", False)
    )
    leaves = {name: p.clone().requires_grad_() for name, p in parameters(shape).items()}
    leaves["x"] = X.clone().requires_grad_()
    output, weights = head_by_head(SHAPES[shape], leaves, leaves["x"], allowed)
    gradients = gradients_of((output * COTANGENT).sum(), leaves)
    return output.detach(), weights.detach(), gradients


# Angles are computed in float32, as everywhere: positions up to 7 are off by 4e-7 at most.
# In float64 the comparison below allows ten times that.
NEAR = {"rtol": 0, "atol": 4e-6}


@by_mask
@by_order
@by_form
@by_shape
def test_agrees_with_the_equations(shape: str, form: str, absorb: bool, mask: str) -> None:
    mla = module(shape, absorb=absorb, form=form)
    output, _, gradients = expected(shape, mask)
    x = X.clone().requires_grad_()
    actual = mla(x, **MASKS[mask])
    torch.testing.assert_close(actual, output, **NEAR)
    found = gradients_of((actual * COTANGENT).sum(), {"x": x} | dict(mla.named_parameters()))
    assert found.keys() == gradients.keys()
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, gradients[name], rtol=4e-6, atol=4e-5)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            torch.testing.assert_close(mla(X, **MASKS[mask]), actual.detach())


def test_the_cases_are_neither_flat_nor_one_hot() -> None:
    for shape in SHAPES:
        assert 0.45 < expected(shape, "no mask")[1].amax(-1).mean() < 0.95


@by_mask
@by_form
@by_shape
def test_both_orders_of_the_products_have_equal_outputs_and_gradients(
    shape: str, form: str, mask: str
) -> None:
    found = []
    for absorb in (False, True):
        mla, x = module(shape, absorb=absorb, form=form), X.clone().requires_grad_()
        output = mla(x, **MASKS[mask])
        leaves = {"x": x} | dict(mla.named_parameters())
        found.append((output.detach(), gradients_of((output * COTANGENT).sum(), leaves)))
    assert_close("output", found[1][0], found[0][0])
    for name, gradient in found[0][1].items():
        assert_close(f"gradient of {name}", found[1][1][name], gradient)


@by_order
@by_form
def test_float32_is_near_float64(form: str, absorb: bool) -> None:
    mla = module(absorb=absorb, form=form, dtype=torch.float32)
    torch.testing.assert_close(
        mla(X.float(), is_causal=True).double(),
        expected("q_rank", "causal")[0],
        rtol=1e-5,
        atol=2e-5,
    )


# ------------------------------------------------------------------------------- with a cache

CHUNKS = {"one by one": [1] * T, "prompt, then steps": [4, 1, 1, 1], "chunks": [2, 3, 2]}


@pytest.mark.parametrize("mask", ["causal", "mask and causal"])
@pytest.mark.parametrize("chunks", CHUNKS)
@by_order
@by_form
@by_shape
def test_decoding_is_one_causal_call(
    shape: str, form: str, absorb: bool, chunks: str, mask: str
) -> None:
    mla, cache, steps, end = module(shape, absorb=absorb, form=form), KVCache(), [], 0
    options = MASKS[mask]
    with torch.inference_mode():
        for new in CHUNKS[chunks]:
            start, end = end, end + new
            of_step = dict(options)
            if "attn_mask" in options:
                of_step["attn_mask"] = options["attn_mask"][..., start:end, :end]
            steps.append(mla(X[:, start:end], cache=cache, **of_step))
            assert cache.num_tokens == end
    torch.testing.assert_close(torch.cat(steps, dim=1), expected(shape, mask)[0], **NEAR)


def test_the_order_of_products_can_be_changed_while_decoding() -> None:
    """The cache holds latents in either order: expand the prompt, absorb in the steps."""
    mla, cache = module(), KVCache()
    with torch.inference_mode():
        prompt = mla(X[:, :4], is_causal=True, cache=cache)
        mla.absorb = True
        steps = [mla(X[:, t : t + 1], is_causal=True, cache=cache) for t in range(4, T)]
    torch.testing.assert_close(
        torch.cat([prompt, *steps], dim=1), expected("q_rank", "causal")[0], **NEAR
    )


def test_the_cache_holds_latents_and_rotary_keys_only() -> None:
    mla, cache = module(), KVCache()
    with torch.no_grad():
        mla(X, cache=cache)
    s = SHAPES["q_rank"]
    assert cache.nbytes == B * T * (s.kv_rank + s.d_rope) * 8


# ----------------------------------------------------------------------------------- rotation


def test_rotation_agrees_with_complex_numbers() -> None:
    x = random(B, H, 101, 6, seed=5)
    torch.testing.assert_close(
        rotate(x, torch.arange(101)), rotated_as_complex_numbers(x), rtol=0, atol=2e-5
    )


def test_rotation_keeps_the_length_of_every_pair() -> None:
    x = random(B, H, T, 6, seed=5)
    turned = rotate(x, 1000 + torch.arange(T))
    pairs, turned_pairs = x.unflatten(-1, (-1, 2)), turned.unflatten(-1, (-1, 2))
    torch.testing.assert_close(turned_pairs.norm(dim=-1), pairs.norm(dim=-1), rtol=1e-6, atol=0)
    assert (turned_pairs - pairs).norm(dim=-1).min() > 0.01


@pytest.mark.parametrize("offset", [1, 17, 300])
def test_only_the_distance_of_two_rotated_vectors_matters(offset: int) -> None:
    q, k = random(T, 6, seed=5), random(T, 6, seed=6)
    positions = torch.arange(T)
    here = rotate(q, positions) @ rotate(k, positions).T
    there = rotate(q, positions + offset) @ rotate(k, positions + offset).T
    torch.testing.assert_close(there, here, rtol=0, atol=1e-3)
    # and it does matter: the same two vectors one step further apart
    further = rotate(q, positions + 1) @ rotate(k, positions).T
    assert (further - here).abs().max() > 0.5


def test_the_position_zero_turns_nothing() -> None:
    x = random(T, 6, seed=5)
    assert torch.equal(rotate(x, torch.zeros(T, dtype=torch.int64)), x)


def test_rotation_of_the_first_pair_is_one_radian_a_token() -> None:
    turned = rotate(torch.tensor([[1.0, 0.0, 1.0, 0.0]] * 3), torch.arange(3), base=100.0)
    angles = torch.atan2(turned[:, 1::2], turned[:, 0::2])
    torch.testing.assert_close(angles, torch.tensor([[0.0, 0.0], [1.0, 0.1], [2.0, 0.2]]))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_rotation_far_away_does_not_lose_the_angle_in_low_precision(dtype: torch.dtype) -> None:
    """4097 is 4096 in bfloat16: angles must not be computed in the dtype of x."""
    x = torch.tensor([[1.0, 0.0]] * 2)
    positions = torch.tensor([4096, 4097])
    turned = rotate(x.to(dtype), positions)
    assert turned.dtype == dtype
    torch.testing.assert_close(turned.float(), rotate(x, positions), rtol=0, atol=0.01)


@by_order
def test_the_output_depends_on_distances_only(absorb: bool) -> None:
    """Tokens behind a prefix that nobody attends to are tokens further back."""
    mla, shift = module(absorb=absorb), 4
    longer = torch.cat([random(B, shift, 24, seed=8), X], dim=1)
    mask = torch.ones(T + shift, T + shift, dtype=torch.bool)
    mask[:, :shift] = False
    shifted = mla(longer, attn_mask=mask, is_causal=True)[:, shift:]
    torch.testing.assert_close(shifted, mla(X, is_causal=True), **NEAR)
    # without positions, the order would not matter to the last token
    last = mla(X)[:, -1]
    reordered = mla(torch.cat([X[:, :-1].flip(1), X[:, -1:]], dim=1))[:, -1]
    assert (reordered - last).abs().max() > 0.1


# --------------------------------------------------------------------------------- DeepSeek's


def deepseek(version: str, s: LatentShape) -> tuple[Any, Any]:
    """Attention and rotary embedding of transformers, tiny."""
    import transformers
    from transformers.models.deepseek_v2 import modeling_deepseek_v2
    from transformers.models.deepseek_v3 import modeling_deepseek_v3

    made_by = {"V2": modeling_deepseek_v2, "V3": modeling_deepseek_v3}[version]
    config = getattr(transformers, f"Deepseek{version}Config")(
        hidden_size=s.d_model,
        num_attention_heads=s.num_heads,
        num_key_value_heads=s.num_heads,
        qk_nope_head_dim=s.d_head,
        qk_rope_head_dim=s.d_rope,
        v_head_dim=s.d_v,
        kv_lora_rank=s.kv_rank,
        q_lora_rank=s.q_rank,
        attention_bias=False,
        max_position_embeddings=64,
        rope_scaling=None,
        **({"rope_interleave": True} if version == "V3" else {}),
    )
    config._attn_implementation = "eager"
    attention = getattr(made_by, f"Deepseek{version}Attention")(config, layer_idx=0)
    return attention.eval(), getattr(made_by, f"Deepseek{version}RotaryEmbedding")(config)


def in_their_names(s: LatentShape, w: dict[str, Tensor]) -> dict[str, Tensor]:
    """They stack W_DKV on W_KR, and, head by head, W_UK on W_UV and W_UQ on W_QR."""

    def stacked(a: str, b: str) -> Tensor:
        heads = [w[f"{name}.weight"].unflatten(0, (s.num_heads, -1)) for name in (a, b)]
        return torch.cat(heads, dim=1).flatten(0, 1)

    theirs = {
        "kv_a_proj_with_mqa.weight": torch.cat([w["w_dkv.weight"], w["w_kr.weight"]]),
        "kv_a_layernorm.weight": w["norm_kv.weight"],
        "kv_b_proj.weight": stacked("w_uk", "w_uv"),
        "o_proj.weight": w["w_o.weight"],
    }
    if s.q_rank is None:
        return theirs | {"q_proj.weight": stacked("w_uq", "w_qr")}
    return theirs | {
        "q_a_proj.weight": w["w_dq.weight"],
        "q_a_layernorm.weight": w["norm_q.weight"],
        "q_b_proj.weight": stacked("w_uq", "w_qr"),
    }


@by_order
@by_form
@by_shape
@pytest.mark.parametrize("mask", ["no mask", "causal", "mask [B, 1, 1, T_k]"])
@pytest.mark.parametrize("version", ["V2", "V3"])
def test_agrees_with_deepseek(version: str, mask: str, shape: str, form: str, absorb: bool) -> None:
    s, mla = SHAPES[shape], module(shape, absorb=absorb, form=form)
    theirs, rotary = deepseek(version, s)
    theirs.double().load_state_dict(in_their_names(s, parameters(shape)))
    assert count_parameters(theirs) == count_parameters(mla)

    options = MASKS[mask]
    allowed = who_may_attend(
        (B, 1, T, T), options.get("attn_mask"), options.get("is_causal", False)
    )
    additive = torch.zeros(allowed.shape).double().masked_fill(~allowed, -torch.inf)
    turns = rotary(X, torch.arange(T)[None])
    output, weights = theirs(X, attention_mask=additive, position_embeddings=turns)

    # V2 rotates in float32 whatever the dtype, V3 has its angles in float32
    torch.testing.assert_close(mla(X, **options), output, **NEAR)
    torch.testing.assert_close(expected(shape, mask)[1], weights, **NEAR)


# ------------------------------------------------------------------------------------ Llama's


@by_form
@pytest.mark.parametrize("g", [8, 4, 2, 1])
def test_grouped_query_attention_agrees_with_llamas(g: int, form: str) -> None:
    from transformers import LlamaConfig
    from transformers.models.llama.modeling_llama import LlamaAttention

    d_model, d_head = 24, 6
    config = LlamaConfig(
        hidden_size=d_model,
        num_attention_heads=H,
        num_key_value_heads=g,
        head_dim=d_head,
        attention_bias=False,
    )
    config._attn_implementation = "eager"
    theirs = LlamaAttention(config, layer_idx=0).double().eval()
    mha = MultiHeadAttention(
        d_model, H, num_kv_heads=g, d_head=d_head, bias=False, form=form
    ).double()
    state = {}
    for n, (name, weight) in enumerate(mha.state_dict().items()):
        state[name] = 1.5 * random(*weight.shape, seed=60 + n) / weight.shape[1] ** 0.5
    mha.load_state_dict(state)
    theirs.load_state_dict({f"{name[2]}_proj.weight": weight for name, weight in state.items()})
    assert count_parameters(theirs) == count_parameters(mha)

    # an angle of 0: Llama rotates, and our attention knows no positions
    no_turn = torch.ones(1, T, d_head).double(), torch.zeros(1, T, d_head).double()
    for is_causal in (False, True):
        allowed = who_may_attend((1, 1, T, T), None, is_causal)
        additive = torch.zeros(allowed.shape).double().masked_fill(~allowed, -torch.inf)
        output, weights = theirs(X, no_turn, additive)
        # transformers computes the softmax in float32
        torch.testing.assert_close(mha(X, is_causal=is_causal), output, rtol=0, atol=1e-6)
        if form != "fused":
            _, ours = mha(X, is_causal=is_causal, return_weights=True)
            torch.testing.assert_close(ours, weights, rtol=0, atol=1e-6)


# -------------------------------------------------------------------------- mistakes would show

WRONG: dict[str, dict[str, Any]] = {
    "scaled by the latent's width": {"scale": 9 + 6},
    "scaled without the rotary part": {"scale": 5},
    "keys not rotated": {"rotate_keys": False},
    "halves rotated instead of pairs": {"halves": True},
}


def with_mistake(
    s: LatentShape,
    w: dict[str, Tensor],
    *,
    scale: int,
    rotate_keys: bool = True,
    halves: bool = False,
) -> Tensor:
    def turn(x: Tensor) -> Tensor:
        if not halves:
            return rotated_as_complex_numbers(x)
        paired = x.unflatten(-1, (2, -1)).mT.flatten(-2)
        return rotated_as_complex_numbers(paired).unflatten(-1, (-1, 2)).mT.flatten(-2)

    c = rms_norm(X @ w["w_dkv.weight"].T, w["norm_kv.weight"])
    r = X @ w["w_kr.weight"].T
    r = turn(r) if rotate_keys else r
    b = rms_norm(X @ w["w_dq.weight"].T, w["norm_q.weight"])

    def heads(x: Tensor, name: str) -> Tensor:
        return (x @ w[f"{name}.weight"].T).unflatten(-1, (s.num_heads, -1)).transpose(1, 2)

    scores = heads(b, "w_uq") @ heads(c, "w_uk").mT + turn(heads(b, "w_qr")) @ r[:, None].mT
    z = (scores / math.sqrt(scale)).softmax(-1) @ heads(c, "w_uv")
    return z.transpose(1, 2).flatten(2) @ w["w_o.weight"].T


def test_the_comparison_rejects_mistakes_and_accepts_the_equations_in_one_batch() -> None:
    s, w = SHAPES["q_rank"], parameters("q_rank")
    output = expected("q_rank", "no mask")[0]
    torch.testing.assert_close(with_mistake(s, w, scale=s.d_head + s.d_rope), output)
    for name, mistake in WRONG.items():
        wrong = with_mistake(s, w, **{"scale": s.d_head + s.d_rope, **mistake})
        assert (wrong - output).abs().max() > 1000 * NEAR["atol"], name


@pytest.mark.parametrize(("form", "absorb"), list(product(FORMS, [False, True])))
def test_options_can_be_changed_later(form: str, absorb: bool) -> None:
    mla = module()
    mla.form, mla.absorb = form, absorb
    torch.testing.assert_close(mla(X, is_causal=True), expected("q_rank", "causal")[0], **NEAR)
