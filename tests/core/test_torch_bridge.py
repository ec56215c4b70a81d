"""From torch's module and masks to ours and back: the same numbers, and nothing lost on the way.

What torch does with a mask is asked of `nn.MultiheadAttention` itself.
"""

from __future__ import annotations

from itertools import product

import pytest
import torch
from reference import (
    Sizes,
    gradients_of,
    random,
    random_mask,
    random_parameters,
    under_our_names,
)
from torch import Tensor, nn

from mha_course import (
    MultiHeadAttention,
    causal_mask,
    count_parameters,
    from_torch,
    mask_from_torch,
    mask_to_torch,
    to_torch,
)
from mha_course.forms import FORMS

B, H, T_Q, T_K, WIDTH = 3, 8, 5, 7, 16
# torch has W_Q, W_K and W_V in one stack where the inputs are equally wide, else apart
INPUTS = {"packed": (WIDTH, WIDTH), "unpacked": (9, 11), "only vdim": (WIDTH, 11)}

by_inputs = pytest.mark.parametrize("inputs", INPUTS)
by_bias = pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
by_form = pytest.mark.parametrize("form", FORMS)


def torchs(inputs: str = "packed", **options: object) -> nn.MultiheadAttention:
    """nn.MultiheadAttention, with biases that are not zero."""
    kdim, vdim = INPUTS[inputs]
    options = {"kdim": kdim, "vdim": vdim, "batch_first": True, "dtype": torch.float64} | options
    theirs = nn.MultiheadAttention(WIDTH, H, **options)
    with torch.no_grad():
        for n, parameter in enumerate(theirs.parameters()):
            parameter.copy_(random(*parameter.shape, seed=n) / 2)
    return theirs


def ours(inputs: str = "packed", g: int = H, bias: str = "qkvo") -> MultiHeadAttention:
    kdim, vdim = INPUTS[inputs]
    sizes = Sizes(WIDTH, H, g, d_head=WIDTH // H, d_v=WIDTH // H, kdim=kdim, vdim=vdim, bias=bias)
    mha = MultiHeadAttention(**sizes._asdict()).double()
    mha.load_state_dict(random_parameters(sizes, seed=100))
    return mha


def arguments(inputs: str = "packed") -> list[Tensor]:
    widths = (T_Q, WIDTH), *((T_K, w) for w in INPUTS[inputs])
    return [random(B, t, w, seed=n).requires_grad_() for n, (t, w) in enumerate(widths)]


def assert_same(
    mha: MultiHeadAttention,
    theirs: nn.MultiheadAttention,
    inputs: list[Tensor],
    allowed: Tensor | None = None,
    **their_masks: Tensor,
) -> None:
    """Output, weights, and the gradients of inputs and of all parameters of ours."""
    cotangent = random(B, T_Q, WIDTH, seed=50)
    leaves = dict(zip(("query", "key", "value"), inputs, strict=True))
    expected, their_weights = theirs(*inputs, average_attn_weights=False, **their_masks)
    of_theirs = gradients_of((expected * cotangent).sum(), leaves | dict(theirs.named_parameters()))
    output, weights = mha(*inputs, attn_mask=allowed, return_weights=True)
    of_ours = gradients_of((output * cotangent).sum(), leaves | dict(mha.named_parameters()))
    torch.testing.assert_close(output, expected)
    torch.testing.assert_close(weights, their_weights)
    expected_gradients = {name: of_theirs.pop(name) for name in leaves}
    expected_gradients |= under_our_names(of_theirs, H, mha.shape.num_kv_heads)
    assert of_ours.keys() <= expected_gradients.keys()  # biases that ours has not are in theirs
    for name, gradient in of_ours.items():
        torch.testing.assert_close(gradient, expected_gradients[name], msg=name)
    assert weights.max() > 2 / T_K  # not flat: with equal weights, masks and keys matter little


# ------------------------------------------------------------------------------- from theirs


@by_bias
@by_inputs
def test_from_torch_computes_the_same(inputs: str, bias: bool) -> None:
    theirs = torchs(inputs, bias=bias)
    mha = from_torch(theirs)
    assert_same(mha, theirs, arguments(inputs))
    assert count_parameters(mha) == count_parameters(theirs)
    assert mha.shape.bias == (("q", "k", "v", "o") if bias else ())
    assert (mha.shape.kdim, mha.shape.vdim) == INPUTS[inputs]


@by_form
@by_inputs
def test_from_torch_computes_the_same_in_every_form(inputs: str, form: str) -> None:
    theirs = torchs(inputs)
    mha = from_torch(theirs)
    mha.form = form
    mask = random_mask(T_Q, T_K, seed=4)
    expected, _ = theirs(*arguments(inputs), attn_mask=~mask)
    torch.testing.assert_close(mha(*arguments(inputs), attn_mask=mask), expected)


def test_from_torch_has_the_batch_first() -> None:
    theirs = torchs(batch_first=False)
    inputs = arguments()
    expected, weights = theirs(*(x.transpose(0, 1) for x in inputs), average_attn_weights=False)
    output, our_weights = from_torch(theirs)(*inputs, return_weights=True)
    torch.testing.assert_close(output, expected.transpose(0, 1))
    torch.testing.assert_close(our_weights, weights)  # torch's weights have the batch first


@by_inputs
def test_from_torch_copies(inputs: str) -> None:
    theirs = torchs(inputs)
    mha = from_torch(theirs)
    before = mha(*arguments(inputs))
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.zero_()
    torch.testing.assert_close(mha(*arguments(inputs)), before)
    assert all(parameter.requires_grad for parameter in mha.parameters())


# --------------------------------------------------------------------------------- to theirs

PARTIAL = ["".join(name for name in "qkvo" if name in some) for some in ("o", "qv", "k", "qkv")]


@pytest.mark.parametrize("bias", ["qkvo", "", *PARTIAL])
@pytest.mark.parametrize("g", [H, 4, 2, 1])
@by_inputs
def test_to_torch_computes_the_same(inputs: str, g: int, bias: str) -> None:
    mha = ours(inputs, g, bias)
    theirs = to_torch(mha)
    assert theirs.batch_first
    assert_same(mha, theirs, arguments(inputs))


def test_to_torch_repeats_shared_heads_and_fills_up_biases() -> None:
    def more(g: int, bias: str) -> int:
        return count_parameters(to_torch(ours("unpacked", g, bias))) - count_parameters(
            ours("unpacked", g, bias)
        )

    assert more(H, "qkvo") == more(H, "") == 0
    assert more(4, "") == (H - 4) * (WIDTH // H) * sum(INPUTS["unpacked"])
    assert more(H, "qv") == 2 * WIDTH  # the zeros for W_K and W_O


@by_inputs
def test_to_torch_copies(inputs: str) -> None:
    mha = ours(inputs)
    theirs = to_torch(mha)
    before, _ = theirs(*arguments(inputs))
    with torch.no_grad():
        for parameter in mha.parameters():
            parameter.zero_()
    torch.testing.assert_close(theirs(*arguments(inputs))[0], before)
    assert all(parameter.requires_grad for parameter in theirs.parameters())


def test_torchs_default_sizes_are_ours() -> None:
    theirs = to_torch(MultiHeadAttention(WIDTH, H))
    assert theirs.state_dict().keys() == nn.MultiheadAttention(WIDTH, H).state_dict().keys()
    assert theirs.in_proj_weight is not None  # packed, which is torch's fast way


# ------------------------------------------------------------------------------- round trips


def assert_equal_states(a: nn.Module, b: nn.Module) -> None:
    assert a.state_dict().keys() == b.state_dict().keys()
    for name, parameter in a.state_dict().items():
        assert torch.equal(parameter, b.state_dict()[name]), name


@by_bias
@by_inputs
def test_there_and_back_is_the_same(inputs: str, bias: bool) -> None:
    theirs = torchs(inputs, bias=bias)
    assert_equal_states(to_torch(from_torch(theirs)), theirs)
    mha = ours(inputs, bias="qkvo" if bias else "")
    assert_equal_states(from_torch(to_torch(mha)), mha)


@by_inputs
def test_there_and_back_is_the_same_function_where_parameters_are_added(inputs: str) -> None:
    mha = ours(inputs, g=4, bias="qv")
    back = from_torch(to_torch(mha))
    assert back.shape.num_kv_heads == H
    assert back.shape.bias == ("q", "k", "v", "o")
    torch.testing.assert_close(back(*arguments(inputs)), mha(*arguments(inputs)))


@pytest.mark.parametrize("training", [True, False])
def test_options_go_along(training: bool) -> None:
    theirs = torchs(dropout=0.25).train(training)
    mha = from_torch(theirs)
    assert (mha.dropout, mha.training, mha.w_q.training) == (0.25, training, training)
    back = to_torch(mha)
    assert (back.dropout, back.training, back.out_proj.training) == (0.25, training, training)


@by_inputs
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
def test_dtype_goes_along(dtype: torch.dtype, inputs: str) -> None:
    theirs = torchs(inputs, dtype=dtype)
    mha = from_torch(theirs)
    assert {p.dtype for p in mha.parameters()} == {dtype}
    assert_equal_states(to_torch(mha), theirs)


def test_device_goes_along() -> None:
    theirs = nn.MultiheadAttention(WIDTH, H, device="meta")
    assert {p.device.type for p in from_torch(theirs).parameters()} == {"meta"}
    there = to_torch(MultiHeadAttention(WIDTH, H).to("meta"))
    assert {p.device.type for p in there.parameters()} == {"meta"}


def test_dropout_of_both_is_off_in_evaluation_and_on_in_training() -> None:
    theirs = torchs(dropout=0.5)
    inputs = arguments()
    for module in (from_torch(theirs.eval()), to_torch(from_torch(theirs.eval()))):
        first, second = (module(*inputs) for _ in range(2))
        torch.testing.assert_close(first, second)
        first, second = (module.train()(*inputs) for _ in range(2))
        different = first[0] if isinstance(first, tuple) else first
        assert not torch.equal(different, second[0] if isinstance(second, tuple) else second)


# ------------------------------------------------------------------------------ their masks


def blocked(*shape: int, seed: int = 6) -> Tensor:
    """Of torch's convention, and without a row that is blocked as a whole: NaN in torch."""
    return ~random_mask(*shape, seed=seed)


def padding() -> Tensor:
    """True = padding, of other lengths in each sequence."""
    return torch.arange(T_K) >= torch.tensor([T_K, 4, 2])[:, None]


def additive(mask: Tensor, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.zeros(mask.shape, dtype=dtype).masked_fill(mask, -torch.inf)


@pytest.mark.parametrize("kind", ["bool", "float"])
@pytest.mark.parametrize(
    ("shape", "with_padding"),
    [
        (None, True),
        *product([(T_Q, T_K), (B * H, T_Q, T_K)], [False, True]),
    ],
    ids=str,
)
def test_their_masks_mean_the_same_to_ours(
    shape: tuple[int, ...] | None, with_padding: bool, kind: str
) -> None:
    masks = {}
    if shape is not None:
        masks["attn_mask"] = blocked(*shape)
    if with_padding:
        masks["key_padding_mask"] = padding()
    if kind == "float":
        masks = {name: additive(mask) for name, mask in masks.items()}
    theirs = torchs("unpacked")
    allowed = mask_from_torch(**masks, num_heads=H)
    assert allowed.dtype == torch.bool
    assert not allowed.all()
    assert_same(from_torch(theirs), theirs, arguments("unpacked"), allowed, **masks)


def test_no_mask_is_none() -> None:
    assert mask_from_torch(num_heads=H) is None


def test_a_boolean_and_a_float_mask_may_be_mixed() -> None:
    expected = mask_from_torch(blocked(B * H, T_Q, T_K), padding(), num_heads=H)
    mixed = mask_from_torch(additive(blocked(B * H, T_Q, T_K)), padding(), num_heads=H)
    assert torch.equal(mixed, expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
def test_float_masks_of_any_precision(dtype: torch.dtype) -> None:
    mask = blocked(T_Q, T_K)
    assert torch.equal(mask_from_torch(additive(mask, dtype), num_heads=H), ~mask)
    # −0.0 adds nothing, as 0.0
    assert mask_from_torch(torch.full((T_Q, T_K), -0.0, dtype=dtype), num_heads=H).all()


def test_the_shapes_of_their_masks_become_ours() -> None:
    two, three = blocked(T_Q, T_K), blocked(B * H, T_Q, T_K)
    assert mask_from_torch(two, num_heads=H).shape == (T_Q, T_K)
    assert mask_from_torch(three, num_heads=H).shape == (B, H, T_Q, T_K)
    assert mask_from_torch(key_padding_mask=padding(), num_heads=H).shape == (B, 1, 1, T_K)
    assert mask_from_torch(two, padding(), num_heads=H).shape == (B, 1, T_Q, T_K)
    assert mask_from_torch(three, padding(), num_heads=H).shape == (B, H, T_Q, T_K)


def test_heads_of_a_sequence_are_neighbours_in_their_mask() -> None:
    """With the other order, b and i would change places."""
    three = blocked(B * H, T_Q, T_K)
    allowed = mask_from_torch(three, num_heads=H)
    for b, i in product(range(B), range(H)):
        assert torch.equal(allowed[b, i], ~three[b * H + i])


def test_torchs_causal_mask_is_ours() -> None:
    theirs = nn.Transformer.generate_square_subsequent_mask(T_Q)
    assert torch.equal(mask_from_torch(theirs, num_heads=H), causal_mask(T_Q, T_Q))


# -------------------------------------------------------------------------------- our masks


@pytest.mark.parametrize(
    "shape",
    [
        *((T_Q, T_K), (B, H, T_Q, T_K), (1, H, T_Q, T_K), (B, 1, T_Q, T_K), (1, 1, T_Q, T_K)),
        *((B, 1, 1, T_K), (1, H, 1, T_K)),  # one row for all queries
    ],
    ids=str,
)
def test_our_masks_mean_the_same_to_theirs(shape: tuple[int, ...]) -> None:
    mha = ours("unpacked", g=4)
    allowed = random_mask(*shape, seed=7)
    theirs = mask_to_torch(allowed, batch_size=B, num_heads=H, num_queries=T_Q)
    if shape[-2] == T_Q:  # then it need not be said
        assert torch.equal(theirs, mask_to_torch(allowed, batch_size=B, num_heads=H))
    assert theirs.dtype == torch.bool
    assert theirs.shape == ((T_Q, T_K) if len(shape) == 2 else (B * H, T_Q, T_K))
    assert_same(mha, to_torch(mha), arguments("unpacked"), allowed, attn_mask=theirs)


@pytest.mark.parametrize("shape", [(T_Q, T_K), (B, H, T_Q, T_K)], ids=str)
def test_masks_come_back(shape: tuple[int, ...]) -> None:
    allowed = random_mask(*shape, seed=7)
    there = mask_to_torch(allowed, batch_size=B, num_heads=H)
    assert torch.equal(mask_from_torch(there, num_heads=H), allowed)


def test_a_padding_mask_comes_back_with_a_row_for_each_query() -> None:
    allowed = mask_from_torch(key_padding_mask=padding(), num_heads=H)
    theirs = mask_to_torch(allowed, batch_size=B, num_heads=H, num_queries=T_Q)
    assert theirs.shape == (B * H, T_Q, T_K)
    assert_same(
        mha := ours("unpacked"), to_torch(mha), arguments("unpacked"), allowed, attn_mask=theirs
    )
    back = mask_from_torch(theirs, num_heads=H)
    assert torch.equal(back, allowed.expand(B, H, T_Q, T_K))


def test_converted_masks_are_new() -> None:
    allowed, theirs = random_mask(T_Q, T_K, seed=7), blocked(T_Q, T_K)
    before = allowed.clone(), theirs.clone()
    mask_to_torch(allowed, batch_size=B, num_heads=H).fill_(True)
    mask_from_torch(theirs, num_heads=H).fill_(True)
    assert torch.equal(allowed, before[0])
    assert torch.equal(theirs, before[1])


# ------------------------------------------------------------- scaled_dot_product_attention


@by_form
def test_boolean_masks_of_the_fused_function_are_ours(form: str) -> None:
    """scaled_dot_product_attention, unlike nn.MultiheadAttention: True = may attend."""
    mha = ours()
    mha.form = form
    query, key, value = arguments()
    q, k, v = (
        w(x).unflatten(-1, (H, -1)).transpose(1, 2)
        for w, x in ((mha.w_q, query), (mha.w_k, key), (mha.w_v, value))
    )
    allowed = random_mask(B, H, T_Q, T_K, seed=7)
    for mask in (allowed, additive(~allowed)):
        z = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        expected = mha.w_o(z.transpose(1, 2).flatten(2))
        torch.testing.assert_close(mha(query, key, value, attn_mask=allowed), expected)
    # its additive masks can be converted
    two = random_mask(T_Q, T_K, seed=7)
    assert torch.equal(mask_from_torch(additive(~two), num_heads=H), two)
