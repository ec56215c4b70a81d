"""What holds for every multi-head attention, whatever its sizes and parameters are."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import (
    Case,
    Sizes,
    module_of,
    random,
)
from torch import Tensor

from mha_course.forms import FORMS

by_form = pytest.mark.parametrize("form", FORMS)
QUICK = settings(max_examples=15, deadline=None, derandomize=True)
WIDTH, TOKENS = st.integers(1, 6), st.integers(1, 7)
SEEDS = st.integers(0, 2**31)


@st.composite
def calls(draw: st.DrawFn, kind: str = "self", tokens: st.SearchStrategy[int] = TOKENS) -> Case:
    """Inputs and parameters of any size, without a mask."""
    g = draw(st.integers(1, 3))
    d_model = draw(WIDTH)
    kdim, vdim = (d_model, d_model) if kind == "self" else (draw(WIDTH), draw(WIDTH))
    sizes = Sizes(
        d_model,
        num_heads=g * draw(st.integers(1, 3)),
        num_kv_heads=g,
        d_head=draw(WIDTH),
        d_v=draw(WIDTH),
        kdim=kdim,
        vdim=vdim,
        bias=draw(st.sampled_from(["qkvo", "qv", ""])),
    )
    seed, batch = draw(SEEDS), draw(st.integers(1, 3))
    inputs = [random(batch, draw(tokens), d_model, seed=seed)]
    if kind == "cross":
        num_keys = draw(tokens)
        inputs += [random(batch, num_keys, w, seed=seed + w) for w in (kdim, vdim)]
    return Case(sizes, tuple(inputs), seed=seed)


def reactions(output: Tensor, inputs: list[Tensor]) -> list[Tensor]:
    """For each input: whether output t of a sequence depends on its token j, [B, T_q, T]."""
    found = []
    for x in inputs:
        rows = []
        for t in range(output.shape[1]):
            # a random direction, in which reactions do not cancel
            cotangent = random(output.shape[0], output.shape[2], seed=t)
            (gradient,) = torch.autograd.grad(
                (output[:, t] * cotangent).sum(), x, retain_graph=True
            )
            rows.append((gradient != 0).any(-1))
        found.append(torch.stack(rows, dim=1))
    return found


# -------------------------------------------------------------------------------- symmetries


@by_form
@QUICK
@given(case=calls(), data=st.data())
def test_tokens_in_another_order_give_outputs_in_that_order(
    form: str, case: Case, data: st.DataObject
) -> None:
    (x,) = case.inputs
    order = data.draw(st.permutations(range(x.shape[1])))
    mha = module_of(case, form)
    torch.testing.assert_close(mha(x[:, order]), mha(x)[:, order])


@by_form
@QUICK
@given(case=calls("cross"), data=st.data())
def test_the_order_of_keys_does_not_matter(form: str, case: Case, data: st.DataObject) -> None:
    query, key, value = case.inputs
    order = data.draw(st.permutations(range(key.shape[1])))
    mha = module_of(case, form)
    torch.testing.assert_close(mha(query, key[:, order], value[:, order]), mha(query, key, value))


@by_form
@QUICK
@given(case=calls("cross"), data=st.data())
def test_the_order_of_heads_does_not_matter(form: str, case: Case, data: st.DataObject) -> None:
    """Groups change places as a whole, and so do the query heads within a group."""
    s, state = case.sizes, dict(case.parameters)
    group = s.num_heads // s.num_kv_heads
    groups = data.draw(st.permutations(range(s.num_kv_heads)))
    heads = [j * group + i for j in groups for i in data.draw(st.permutations(range(group)))]
    for name, order in (("w_q", heads), ("w_k", groups), ("w_v", groups)):
        for part in ("weight", "bias"):
            if (parameter := state.get(f"{name}.{part}")) is not None:
                of_head = parameter.unflatten(0, (len(order), -1))
                state[f"{name}.{part}"] = of_head[order].flatten(0, 1)
    of_head = state["w_o.weight"].unflatten(1, (s.num_heads, -1))
    state["w_o.weight"] = of_head[:, heads].flatten(1, 2)

    mha, other = module_of(case, form), module_of(case, form)
    other.load_state_dict(state)
    torch.testing.assert_close(other(*case.inputs), mha(*case.inputs))


def test_query_heads_that_change_groups_do_matter() -> None:
    """The test above would fail if it moved a query head away from its key/value head."""
    s = Sizes(14, 4, 2, d_head=3, d_v=5, kdim=9, vdim=11)
    case = Case(s, (random(2, 5, 14, seed=1), random(2, 7, 9, seed=2), random(2, 7, 11, seed=3)))
    state = dict(case.parameters)
    order = [0, 2, 1, 3]
    for name in ("w_q.weight", "w_q.bias"):
        state[name] = state[name].unflatten(0, (4, -1))[order].flatten(0, 1)
    state["w_o.weight"] = state["w_o.weight"].unflatten(1, (4, -1))[:, order].flatten(1, 2)
    mha, other = module_of(case), module_of(case)
    other.load_state_dict(state)
    assert (other(*case.inputs) - mha(*case.inputs)).abs().max() > 0.1


@by_form
@QUICK
@given(case=calls("cross"))
def test_a_bias_of_the_keys_changes_nothing(form: str, case: Case) -> None:
    """It adds Q_i·b_K to all scores of a query, and the softmax sees differences only."""
    mha = module_of(case, form)
    before = mha(*case.inputs)
    if mha.w_k.bias is not None:
        with torch.no_grad():
            mha.w_k.bias.add_(random(*mha.w_k.bias.shape, seed=1))
    torch.testing.assert_close(mha(*case.inputs), before)


# ------------------------------------------------------------------------------- information


@by_form
@QUICK
@given(case=calls())
def test_nothing_comes_from_the_future(form: str, case: Case) -> None:
    x = case.inputs[0].clone().requires_grad_()
    (depends,) = reactions(module_of(case, form)(x, is_causal=True), [x])
    num_tokens = x.shape[1]
    for t in range(num_tokens):
        assert not depends[:, t, t + 1 :].any()  # exactly 0
        assert depends[:, t, : t + 1].all()  # and all of the past has its share


@by_form
@QUICK
@given(case=calls("cross"))
def test_nothing_comes_from_the_future_of_other_tokens(form: str, case: Case) -> None:
    """The last query meets the last key; the first queries may stand before every key."""
    inputs = [x.clone().requires_grad_() for x in case.inputs]
    output = module_of(case, form)(*inputs, is_causal=True)
    on_query, on_key, on_value = reactions(output, inputs)
    num_queries, num_keys = inputs[0].shape[1], inputs[1].shape[1]
    for t in range(num_queries):
        seen = max(0, num_keys - (num_queries - 1 - t))
        assert not on_key[:, t, seen:].any()
        assert not on_value[:, t, seen:].any()
        assert on_value[:, t, :seen].all()
        if seen > 1:  # a single key has all the weight, whatever it is
            assert on_key[:, t, :seen].any()
        if seen == 0:
            assert not on_query[:, t].any()
            bias = case.parameters.get("w_o.bias", torch.zeros(1))
            assert (output[:, t] == bias).all()


@by_form
@QUICK
@given(case=calls("cross"), data=st.data())
def test_nothing_comes_from_padding(form: str, case: Case, data: st.DataObject) -> None:
    inputs = [x.clone().requires_grad_() for x in case.inputs]
    batch, num_keys, _ = inputs[1].shape
    lengths = data.draw(st.lists(st.integers(0, num_keys), min_size=batch, max_size=batch))
    mha, key_lengths = module_of(case, form), torch.tensor(lengths)
    output = mha(*inputs, key_lengths=key_lengths)
    _, on_key, on_value = reactions(output, inputs)
    for b, length in enumerate(lengths):
        assert not on_key[b, :, length:].any()
        assert not on_value[b, :, length:].any()
        assert on_value[b, :, :length].all()

    query, key, value = (x.detach().clone() for x in inputs)
    for b, length in enumerate(lengths):
        key[b, length:], value[b, length:] = 1e3, -1e3
    torch.testing.assert_close(mha(query, key, value, key_lengths=key_lengths), output)


# ------------------------------------------------------------------------------------ weights


@pytest.mark.parametrize("form", ["loop", "batched"])
@QUICK
@given(case=calls("cross"), is_causal=st.booleans(), share=st.floats(0, 1), seed=SEEDS)
def test_rows_of_weights_are_shares(
    form: str, case: Case, is_causal: bool, share: float, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    attn_mask = torch.rand(case.scores_shape, generator=generator) < share
    _, weights = module_of(case, form)(
        *case.inputs, attn_mask=attn_mask, is_causal=is_causal, return_weights=True
    )
    allowed = Case(case.sizes, case.inputs, attn_mask=attn_mask, is_causal=is_causal).allowed
    assert (weights >= 0).all()
    assert (weights[~allowed] == 0).all()
    torch.testing.assert_close(weights.sum(-1), allowed.any(-1).double())
