"""Every form, with every mask and every grouping of heads, against one sum over heads.

The reference is `reference.sum_over_heads`; `reference.assert_agrees` compares the output, the
weights where a form has them, and the gradients of all inputs and parameters. Sizes are
pairwise different and above 1, numbers of tokens odd, and h·d_head is not d_model.
"""

from __future__ import annotations

from functools import cache
from itertools import product

import pytest
import torch
from reference import (
    TOLERANCE,
    Case,
    Sizes,
    assert_agrees,
    assert_close,
    gradients_of,
    in_the_package,
    module_of,
    multi_head_by_loops,
    random,
    random_mask,
    sum_over_heads,
    under_our_names,
)
from torch import Tensor

from mha_course import (
    KVCache,
    MultiHeadAttention,
    causal_mask,
    mask_from_torch,
    mask_to_torch,
    to_torch,
)
from mha_course.forms import FORMS

B, SHORT, LONG, H, G = 3, 5, 7, 8, 4
WIDTHS = {"d_model": 14, "d_head": 6, "d_v": 10}
FILLED = {"d_model": 48, "d_head": 6, "d_v": 6}  # as torch's module has it
# the fused form fills up whichever is narrower
NARROW_VALUES = {"d_model": 14, "d_head": 10, "d_v": 6}
OWN_WIDTHS = {"own widths": WIDTHS, "filled": FILLED, "narrow values": NARROW_VALUES}
CROSS_WIDTHS = {"kdim": 9, "vdim": 11}

by_form = pytest.mark.parametrize("form", FORMS)
by_dtype = pytest.mark.parametrize("dtype", TOLERANCE, ids=lambda d: str(d).removeprefix("torch."))

# ------------------------------------------------------------------------------------- cases

# T_q, T_k
KINDS = {
    "self": (SHORT, SHORT),
    "cross": (SHORT, LONG),
    "more queries than keys": (LONG, SHORT),
    "one query": (1, LONG),  # as in decoding, where the fused form takes a way of its own
}
HEADS = {"MHA": H, "GQA": G, "MQA": 1}
BIASES = {"all biases": "qkvo", "no bias": "", "biases of q and v": "qv"}
MASKS = (
    "no mask",
    "causal",
    "lengths",
    "mask [T_q,T_k]",
    "mask [B,h,T_q,T_k]",
    "mask, causal and lengths",
)
MASKS_WITH_AXES_OF_1 = ("mask [B,1,1,T_k]", "mask [1,h,T_q,1]", "mask [B,1,T_q,T_k]")


def masks(name: str, num_queries: int, num_keys: int) -> dict[str, Tensor | bool]:
    """Options of a call; where a mask is given, some queries may attend to nothing."""
    one_row = random_mask(num_queries, num_keys, seed=5)
    if num_queries > 1:
        one_row[num_queries // 2] = False
    per_head = random_mask(B, H, num_queries, num_keys, seed=6)
    per_head[1, 3, num_queries // 2] = False
    whole_rows = random(1, H, num_queries, 1, seed=8) > 0
    lengths = torch.tensor([num_keys, 3, 1])
    return {
        "no mask": {},
        "causal": {"is_causal": True},
        "lengths": {"key_lengths": lengths},
        "mask [T_q,T_k]": {"attn_mask": one_row},
        "mask [B,h,T_q,T_k]": {"attn_mask": per_head},
        "mask, causal and lengths": {
            "attn_mask": per_head,
            "is_causal": True,
            "key_lengths": torch.tensor([num_keys, 3, 0]),
        },
        "mask [B,1,1,T_k]": {"attn_mask": random_mask(B, 1, 1, num_keys, seed=7)},
        "mask [1,h,T_q,1]": {"attn_mask": whole_rows},
        "mask [B,1,T_q,T_k]": {"attn_mask": per_head[:, 3:4]},
    }[name]


@cache  # the reference is computed once for all forms and dtypes
def case(kind: str, mask: str, heads: str, biases: str, widths: str = "own widths") -> Case:
    num_queries, num_keys = KINDS[kind]
    own = OWN_WIDTHS[widths]
    other = CROSS_WIDTHS if kind != "self" else {"kdim": own["d_model"], "vdim": own["d_model"]}
    sizes = Sizes(num_heads=H, num_kv_heads=HEADS[heads], bias=BIASES[biases], **own, **other)
    inputs = [random(B, num_queries, sizes.d_model, seed=1)]
    if kind != "self":
        inputs += [random(B, num_keys, w, seed=w) for w in (sizes.kdim, sizes.vdim)]
    return Case(sizes, tuple(inputs), **masks(mask, num_queries, num_keys))


def ids(key: tuple[str, ...]) -> str:
    return ", ".join(key)


CASES: list[tuple[str, ...]] = [
    *product(("self", "cross"), MASKS, HEADS, BIASES),
    *product(("cross",), MASKS_WITH_AXES_OF_1, HEADS, ("all biases",)),
    *product(
        ("more queries than keys",), ("causal", "mask, causal and lengths"), HEADS, ("all biases",)
    ),
    *product(("one query",), (*MASKS, *MASKS_WITH_AXES_OF_1), HEADS, ("all biases",)),
    *product(("self", "cross"), MASKS[-1:], HEADS, ("all biases",), ("filled", "narrow values")),
    *product(("one query",), ("no mask",), HEADS, ("all biases",), ("narrow values",)),
]


@by_form
@by_dtype
@pytest.mark.parametrize("key", CASES, ids=ids)
def test_agrees_with_the_sum_over_heads(
    key: tuple[str, ...], dtype: torch.dtype, form: str
) -> None:
    assert_agrees(in_the_package, module_of(case(*key), form, dtype), case(*key))


@by_form
@by_dtype
@pytest.mark.parametrize("gates", [(H,), (B, H)], ids=["gates [h]", "gates [B, h]"])
@pytest.mark.parametrize("heads", HEADS)
def test_gates_agree_with_the_sum_over_heads(
    heads: str, gates: tuple[int, ...], dtype: torch.dtype, form: str
) -> None:
    plain = case("cross", "mask, causal and lengths", heads, "all biases")
    options = masks("mask, causal and lengths", SHORT, LONG)
    gated = Case(plain.sizes, plain.inputs, head_gates=random(*gates, seed=9), **options)
    assert_agrees(in_the_package, module_of(gated, form, dtype), gated)


@pytest.mark.parametrize("form", ["loop", "batched"])
def test_gradients_through_returned_weights_agree(form: str) -> None:
    c = case("cross", "mask, causal and lengths", "GQA", "all biases")
    parameters = {name: p.clone().requires_grad_() for name, p in c.parameters.items()}
    _, expected = sum_over_heads(parameters, *c.inputs, c.allowed, num_heads=H, num_kv_heads=G)
    _, weights = in_the_package(
        mha := module_of(c, form),
        *c.inputs,
        attn_mask=c.attn_mask,
        key_lengths=c.key_lengths,
        is_causal=True,
    )
    cotangent = random(*weights.shape, seed=4)
    theirs = gradients_of((expected * cotangent).sum(), parameters)
    for name, gradient in gradients_of(
        (weights * cotangent).sum(), dict(mha.named_parameters())
    ).items():
        assert_close(name, gradient, theirs[name])


# ------------------------------------------------------------------- the reference can be trusted

SOME = [
    ("self", "no mask", "MHA", "all biases"),
    ("cross", "causal", "GQA", "no bias"),
    ("cross", "lengths", "MQA", "biases of q and v"),
    ("cross", "mask [T_q,T_k]", "MHA", "no bias"),
    ("more queries than keys", "mask, causal and lengths", "GQA", "all biases"),
]


@pytest.mark.parametrize("key", SOME, ids=ids)
def test_the_reference_agrees_with_loops_over_numbers(key: tuple[str, ...]) -> None:
    c = case(*key)
    output, weights = multi_head_by_loops(c)
    assert_close("output", c.expected.output, output)
    assert_close("weights", c.expected.weights, weights)


@pytest.mark.parametrize("gates", [(H,), (B, H)], ids=["gates [h]", "gates [B, h]"])
def test_the_gates_of_the_reference_agree_with_loops_over_numbers(gates: tuple[int, ...]) -> None:
    plain = case("cross", "no mask", "GQA", "all biases")
    c = Case(plain.sizes, plain.inputs, head_gates=random(*gates, seed=9))
    assert_close("output", c.expected.output, multi_head_by_loops(c)[0])


@pytest.mark.parametrize("key", [SOME[0], SOME[-1]], ids=ids)
def test_the_gradients_of_the_reference_agree_with_finite_differences(
    key: tuple[str, ...],
) -> None:
    c = case(*key)
    inputs = c.inputs if len(c.inputs) == 3 else c.inputs * 3
    leaves = [t.clone().requires_grad_() for t in (*inputs, *c.parameters.values())]

    def call(query: Tensor, key: Tensor, value: Tensor, *parameters: Tensor) -> tuple[Tensor, ...]:
        named = dict(zip(c.parameters, parameters, strict=True))
        heads = {"num_heads": H, "num_kv_heads": c.sizes.num_kv_heads}
        return sum_over_heads(named, query, key, value, c.allowed, **heads)

    assert torch.autograd.gradcheck(call, leaves, fast_mode=True)


def test_cases_are_not_flat_and_not_one_hot() -> None:
    """With a flat softmax, keys and queries could be anything."""
    weights = case("cross", "no mask", "MHA", "all biases").expected.weights
    assert 0.5 < weights.amax(-1).mean() < 0.95


# ------------------------------------------------------------------------ torch's own module


def mask_for_torch(c: Case) -> Tensor:
    # the full mask, so that batch and heads have to be laid out as torch wants them
    return mask_to_torch(c.allowed, batch_size=B, num_heads=H)


@by_form
@pytest.mark.parametrize("biases", BIASES)
@pytest.mark.parametrize("heads", HEADS)
@pytest.mark.parametrize("mask", ["no mask", "causal", "lengths", "mask per head"])
@pytest.mark.parametrize("kind", ["self", "cross"])
def test_agrees_with_torch(kind: str, mask: str, heads: str, biases: str, form: str) -> None:
    if mask == "mask per head":  # without rows that may attend to nothing: they are NaN in torch
        plain = case(kind, "no mask", heads, biases, "filled")
        attn_mask = random_mask(B, H, *KINDS[kind], seed=6)
        c = Case(plain.sizes, plain.inputs, attn_mask=attn_mask)
    else:
        c = case(kind, mask, heads, biases, "filled")
    mha = module_of(c, form)
    theirs = to_torch(mha)
    leaves = c.leaves(torch.float64)
    inputs = [leaves.get(name, leaves.get("x")) for name in ("query", "key", "value")]

    expected, their_weights = theirs(
        *inputs, attn_mask=mask_for_torch(c), average_attn_weights=False
    )
    (expected * c.cotangent).sum().backward()
    their_gradients = {name: leaf.grad.clone() for name, leaf in leaves.items()}
    of_parameters = {name: p.grad for name, p in theirs.named_parameters()}
    their_gradients |= under_our_names(of_parameters, H, mha.shape.num_kv_heads)

    options = {"attn_mask": c.attn_mask, "key_lengths": c.key_lengths, "is_causal": c.is_causal}
    output, weights = in_the_package(mha, *inputs, **options)
    gradients = gradients_of((output * c.cotangent).sum(), leaves | dict(mha.named_parameters()))

    assert_close("output", output, expected)
    if weights is not None:
        assert_close("weights", weights, their_weights)
    for name, gradient in gradients.items():
        assert_close(f"gradient of {name}", gradient, their_gradients[name])


def test_lengths_are_torchs_key_padding_mask() -> None:
    c = case("cross", "lengths", "GQA", "all biases", "filled")
    mha = module_of(c)
    padding = torch.arange(LONG) >= c.key_lengths[:, None]
    expected, _ = to_torch(mha)(*c.inputs, key_padding_mask=padding)
    assert_close("lengths", mha(*c.inputs, key_lengths=c.key_lengths), expected)
    back = mask_from_torch(key_padding_mask=padding, num_heads=H)
    assert_close("mask", mha(*c.inputs, attn_mask=back), expected)


def test_is_causal_of_torch_is_a_hint_and_ours_is_not() -> None:
    c = case("self", "no mask", "MHA", "all biases", "filled")
    x, mha = c.inputs[0], module_of(c)
    theirs = to_torch(mha)
    mask = random_mask(SHORT, SHORT, seed=6)
    mask.fill_diagonal_(True)
    blocked = mask_to_torch(mask, batch_size=B, num_heads=H)
    with pytest.raises(RuntimeError, match="Need attn_mask"):
        theirs(x, x, x, is_causal=True)
    with_weights, _ = theirs(x, x, x, attn_mask=blocked, is_causal=True, need_weights=True)
    without, _ = theirs(x, x, x, attn_mask=blocked, is_causal=True, need_weights=False)

    assert_close("is_causal is ignored", with_weights, mha(x, attn_mask=mask))
    assert_close("the mask is ignored", without, mha(x, is_causal=True))
    both = causal_mask(SHORT, SHORT) & mask
    assert_close("ours", mha(x, attn_mask=mask, is_causal=True), mha(x, attn_mask=both))
    for other in (with_weights, without):
        assert not torch.allclose(other, mha(x, attn_mask=mask, is_causal=True))


# --------------------------------------------------------------------------- groups of heads


def test_as_many_key_value_heads_as_heads_is_the_default() -> None:
    given = MultiHeadAttention(14, 7, num_kv_heads=7)
    default = MultiHeadAttention(14, 7)
    default.load_state_dict(given.state_dict())
    x = torch.randn(B, SHORT, 14)
    assert torch.equal(given(x), default(x))


@by_form
@pytest.mark.parametrize("heads", HEADS)
def test_groups_are_heads_with_equal_keys_and_values(heads: str, form: str) -> None:
    c = case("cross", "mask, causal and lengths", heads, "all biases")
    mha = module_of(c, form)
    ungrouped = MultiHeadAttention(**c.sizes._replace(num_kv_heads=H)._asdict(), form=form).double()
    state = dict(c.parameters)
    for name in ("w_k.weight", "w_k.bias", "w_v.weight", "w_v.bias"):
        of_kv_head = state[name].chunk(HEADS[heads])
        state[name] = torch.cat([of_kv_head[i * HEADS[heads] // H] for i in range(H)])
    ungrouped.load_state_dict(state)
    options = masks("mask, causal and lengths", SHORT, LONG)
    assert_close("output", mha(*c.inputs, **options), ungrouped(*c.inputs, **options))


@by_form
def test_one_key_value_head_is_multi_query_attention(form: str) -> None:
    """Shazeer 2019, by his equations: keys and values have no axis of heads."""
    c = case("cross", "no mask", "MQA", "no bias")
    query, memory_k, memory_v = c.inputs
    p = {name.removesuffix(".weight"): weight for name, weight in c.parameters.items()}
    q = torch.einsum("bnd,hkd->bhnk", query, p["w_q"].unflatten(0, (H, -1)))
    k = torch.einsum("bmd,kd->bmk", memory_k, p["w_k"])
    v = torch.einsum("bmd,vd->bmv", memory_v, p["w_v"])
    weights = (torch.einsum("bhnk,bmk->bhnm", q, k) / c.sizes.d_head**0.5).softmax(-1)
    z = torch.einsum("bhnm,bmv->bhnv", weights, v)
    expected = torch.einsum("bhnv,dhv->bnd", z, p["w_o"].unflatten(1, (H, -1)))
    assert_close("output", module_of(c, form)(*c.inputs), expected)


# -------------------------------------------------------------------------------------- gates


@by_form
@pytest.mark.parametrize("gates", [(H,), (B, H)], ids=["gates [h]", "gates [B, h]"])
def test_gates_multiply_the_output_of_each_head(gates: tuple[int, ...], form: str) -> None:
    c = case("cross", "causal", "GQA", "all biases")
    mha, factors = module_of(c, form), random(*gates, seed=9)
    z = mha.heads(*c.inputs, is_causal=True).z
    by_hand = torch.stack(
        [
            torch.stack(
                [z[b, i] * (factors if len(gates) == 1 else factors[b])[i] for i in range(H)]
            )
            for b in range(B)
        ]
    )
    output = mha(*c.inputs, is_causal=True, head_gates=factors)
    assert_close("output", output, mha.combine(by_hand))


@by_form
def test_a_gate_of_0_deletes_the_rows_of_w_o(form: str) -> None:
    c = case("cross", "causal", "GQA", "all biases")
    gates = torch.ones(H, dtype=torch.float64)
    gates[3] = 0
    gated = module_of(c, form)(*c.inputs, is_causal=True, head_gates=gates)

    pruned = module_of(c, form)
    own = slice(3 * c.sizes.d_v, 4 * c.sizes.d_v)  # rows of W_O, columns of nn.Linear's weight
    with torch.no_grad():
        pruned.w_o.weight[:, own] = 0
    without = pruned(*c.inputs, is_causal=True)
    assert_close("output", gated, without)


@by_form
def test_a_gate_of_0_does_not_zero_columns_of_the_output(form: str) -> None:
    c = case("self", "causal", "GQA", "no bias", "filled")  # a head is as wide as a slice
    mha, (x,) = module_of(c, form), c.inputs
    for i in range(H):
        gates = torch.ones(H, dtype=torch.float64)
        gates[i] = 0
        gated, sliced = mha(x, is_causal=True, head_gates=gates), mha(x, is_causal=True).clone()
        sliced[..., 6 * i : 6 * (i + 1)] = 0
        changed = (gated - mha(x, is_causal=True)).abs().amax(dim=(0, 1))  # of each column
        assert (changed > 0.01).all()  # W_O mixes: every column had a share of the head
        assert (gated - sliced).abs().max() > 0.1


@by_form
@pytest.mark.parametrize("gates", [None, (H,), (B, H)], ids=str)
def test_heads_and_combine_are_forward(gates: tuple[int, ...] | None, form: str) -> None:
    c = case("cross", "mask, causal and lengths", "GQA", "all biases")
    mha = module_of(c, form)
    options = masks("mask, causal and lengths", SHORT, LONG)
    factors = None if gates is None else random(*gates, seed=9)
    z, weights = mha.heads(*c.inputs, **options)
    assert torch.equal(mha.combine(z, factors), mha(*c.inputs, head_gates=factors, **options))
    assert z.shape == (B, H, SHORT, 10)
    if form == "fused":
        assert weights is None
    else:
        assert torch.equal(weights, in_the_package(mha, *c.inputs, **options)[1])


# ------------------------------------------------------------------------------------ dropout


@by_form
@pytest.mark.parametrize("g", [H, G, 1])
def test_dropout_drops_its_share_in_training_and_nothing_in_evaluation(g: int, form: str) -> None:
    """With equal weights 1/T_k and the identity for values, z is the weights after dropout."""
    share, num_queries, num_keys = 0.25, 65, 64
    mha = MultiHeadAttention(
        16, H, num_kv_heads=g, d_v=num_keys, vdim=num_keys, bias=False, dropout=share, form=form
    )
    with torch.no_grad():
        mha.w_q.weight.zero_()
        mha.w_v.weight.copy_(torch.eye(num_keys).repeat(g, 1))
    query, key = torch.randn(B, num_queries, 16), torch.randn(B, num_keys, 16)
    value = torch.eye(num_keys).expand(B, -1, -1)
    equal = torch.full((B, H, num_queries, num_keys), 1 / num_keys)

    mha.eval()
    torch.testing.assert_close(mha.heads(query, key, value).z, equal)

    mha.train()
    torch.manual_seed(0)
    z, weights = mha.heads(query, key, value)
    dropped = z == 0
    # of 99,840 weights; the standard deviation of the share is 0.0014
    assert abs(dropped.float().mean().item() - share) < 0.006
    torch.testing.assert_close(z[~dropped], (equal / (1 - share))[~dropped])
    # every head and every query has draws of its own
    assert not torch.equal(dropped[:, 0], dropped[:, 1])
    assert not torch.equal(dropped[:, :, 0], dropped[:, :, 1])
    assert not torch.equal(z, mha.heads(query, key, value).z)
    if form != "fused":
        torch.testing.assert_close(weights, equal)  # before dropout


@by_form
def test_dropout_of_0_leaves_training_alone(form: str) -> None:
    mha = MultiHeadAttention(14, 7, form=form)
    x = torch.randn(B, SHORT, 14)
    assert torch.equal(mha.train()(x), mha.eval()(x))


# ------------------------------------------------------------------- one module, three forms


def test_the_form_can_be_changed_by_name() -> None:
    c = case("cross", "mask, causal and lengths", "GQA", "all biases")
    mha = module_of(c)
    options = masks("mask, causal and lengths", SHORT, LONG)
    for form in (*FORMS, *reversed(FORMS)):
        mha.form = form
        assert_close(form, mha(*c.inputs, **options), c.expected.output)


@pytest.mark.parametrize("heads", HEADS)
def test_the_state_is_the_same_for_all_forms(heads: str) -> None:
    c = case("cross", "no mask", heads, "all biases")
    shapes = [
        {name: p.shape for name, p in module_of(c, form).state_dict().items()} for form in FORMS
    ]
    assert shapes[0] == shapes[1] == shapes[2]
    for source, target in product(FORMS, FORMS):
        mha = MultiHeadAttention(**c.sizes._asdict(), form=target).double()
        mha.load_state_dict(module_of(c, source).state_dict())
        assert_close(f"{source} to {target}", mha(*c.inputs), c.expected.output)


# ------------------------------------------------------------------------------------ decoding

CHUNKS = {"one by one": [1] * LONG, "prompt, then steps": [4, 1, 1, 1], "chunks": [2, 3, 2]}
MASKS_OF_STEPS = ("no mask", "lengths", "mask [T_q,T_k]", "mask [B,h,T_q,T_k]")


@by_form
@pytest.mark.parametrize("mask", MASKS_OF_STEPS)
@pytest.mark.parametrize("chunks", CHUNKS)
@pytest.mark.parametrize("heads", HEADS)
def test_decoding_with_a_cache_is_one_causal_call(
    heads: str, chunks: str, mask: str, form: str
) -> None:
    c = case("self", "no mask", heads, "all biases")
    mha, x = module_of(c, form), random(B, LONG, c.sizes.d_model, seed=1)
    options = masks(mask, LONG, LONG)
    expected = Case(c.sizes, (x,), is_causal=True, **options).expected.output

    steps, kv_cache, end = [], KVCache(), 0
    with torch.inference_mode():
        for new in CHUNKS[chunks]:
            start, end = end, end + new
            of_step = dict(options)
            if "attn_mask" in options:  # the rows of the new queries, the columns so far
                of_step["attn_mask"] = options["attn_mask"][..., start:end, :end]
            step = mha(x[:, start:end], is_causal=True, cache=kv_cache, **of_step)
            steps.append(step)
            assert kv_cache.num_tokens == end
    assert_close("output", torch.cat(steps, dim=1), expected)


def test_decoding_goes_on_where_a_cache_has_to_grow() -> None:
    c = case("self", "no mask", "GQA", "all biases")
    mha, x = module_of(c), random(B, 301, c.sizes.d_model, seed=1)
    expected, steps, kv_cache = mha(x, is_causal=True), [], KVCache()
    with torch.inference_mode():
        for chunk in x.split([61, 5, 1, 100, 1, 132, 1], dim=1):
            steps.append(mha(chunk, is_causal=True, cache=kv_cache))
    assert_close("output", torch.cat(steps, dim=1), expected)


@by_form
def test_decoding_may_attend_to_a_cache_of_other_inputs(form: str) -> None:
    """Keys and values of their own widths, and a query that stays the same."""
    c = case("cross", "no mask", "GQA", "all biases")
    query, key, value = c.inputs
    mha, kv_cache = module_of(c, form), KVCache()
    with torch.no_grad():
        mha(query, key[:, :3], value[:, :3], cache=kv_cache)
        output = mha(query, key[:, 3:], value[:, 3:], cache=kv_cache)
    assert_close("output", output, c.expected.output)
