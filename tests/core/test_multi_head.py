"""What only the module can get wrong: defaults, names, printing, mixed precision.

That it computes the right thing, in every form, is in test_equivalence.py and
test_properties.py; what it refuses is in test_bad_input.py.
"""

from __future__ import annotations

import copy
import io

import pytest
import torch
from reference import (
    Case,
    Sizes,
    module_of,
    random,
    random_mask,
)

from mha_course import MultiHeadAttention, count_parameters
from mha_course.forms import FORMS

B, T_Q, T_K = 3, 5, 7
SIZES = Sizes(14, 8, 4, d_head=6, d_v=10, kdim=14, vdim=14)
CASE = Case(SIZES, tuple(random(B, t, 14, seed=s) for t, s in ((T_Q, 1), (T_K, 2), (T_K, 3))))

by_form = pytest.mark.parametrize("form", FORMS)


def test_names_of_the_parameters_are_stable() -> None:
    names = [f"w_{w}.{part}" for w in "qkvo" for part in ("weight", "bias")]
    assert list(MultiHeadAttention(12, 4).state_dict()) == names
    for bias, with_bias in ((False, ""), (True, "qkvo"), ("qv", "qv"), ({"o"}, "o")):
        expected = [n for n in names if n.endswith("weight") or n[2] in with_bias]
        assert list(MultiHeadAttention(12, 4, bias=bias).state_dict()) == expected


def test_sizes_have_the_defaults_of_the_paper() -> None:
    assert MultiHeadAttention(12, 4).shape == (12, 4, 4, 3, 3, 12, 12, ("q", "k", "v", "o"))
    assert MultiHeadAttention(12, 4, d_head=5).shape.d_v == 5
    assert count_parameters(MultiHeadAttention(512, 8)) == 4 * 512**2 + 4 * 512


@by_form
def test_key_is_the_query_and_value_is_the_key_by_default(form: str) -> None:
    mha = module_of(CASE, form)
    query, key, _ = CASE.inputs
    assert torch.equal(mha(query), mha(query, query, query))
    assert torch.equal(mha(query, key), mha(query, key, key))


@pytest.mark.parametrize("form", ["loop", "batched"])
def test_weights_are_returned_only_on_request(form: str) -> None:
    mha = module_of(CASE, form)
    output, weights = mha(*CASE.inputs, return_weights=True)
    assert torch.equal(mha(*CASE.inputs), output)
    assert weights.shape == (B, 8, T_Q, T_K)


def test_the_fused_form_says_that_it_has_no_weights() -> None:
    mha = module_of(CASE, "fused")
    with pytest.raises(ValueError, match=r"form='fused' never holds the weights.*form='batched'"):
        mha(*CASE.inputs, return_weights=True)
    mha.form = "batched"
    assert len(mha(*CASE.inputs, return_weights=True)) == 2


def test_an_unknown_form_is_refused_and_changes_nothing() -> None:
    mha = module_of(CASE, "loop")
    with pytest.raises(ValueError, match="form='eager' is not a form; there are loop, batched"):
        mha.form = "eager"
    assert mha.form == "loop"


@by_form
@pytest.mark.parametrize("masked", [False, True], ids=["no mask", "mask"])
def test_mixed_precision_is_close_to_full_precision(masked: bool, form: str) -> None:
    mha = module_of(CASE, form, torch.float32)
    inputs = [x.float() for x in CASE.inputs]
    attn_mask = random_mask(B, 8, T_Q, T_K, seed=4) if masked else None
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = mha(*inputs, attn_mask=attn_mask)
    assert output.dtype == torch.bfloat16
    expected = mha(*inputs, attn_mask=attn_mask)
    # bfloat16 has 8 binary digits, and a score of 5 is then off by up to 0.02
    error = (output - expected).abs().max() / expected.abs().max()
    assert 0 < error < 0.05


@by_form
def test_a_copy_and_a_saved_module_compute_the_same(form: str) -> None:
    mha = module_of(CASE, form)
    file = io.BytesIO()
    torch.save(mha, file)
    file.seek(0)
    for other in (copy.deepcopy(mha), torch.load(file, weights_only=False)):
        assert other.form == form
        assert torch.equal(other(*CASE.inputs), mha(*CASE.inputs))


@by_form
def test_printing_shows_the_sizes(form: str) -> None:
    shown = repr(MultiHeadAttention(**SIZES._asdict(), dropout=0.1, form=form))
    for part in ("d_model=14, num_heads=8, num_kv_heads=4, d_head=6, d_v=10", f"form='{form}'"):
        assert part in shown
    assert "dropout=0.1" in shown


@pytest.mark.parametrize("form", ["loop", "batched", "fused"])
@pytest.mark.parametrize(
    "options", [{}, {"is_causal": True}, {"key_lengths": torch.tensor([0, 0])}]
)
def test_sequences_may_be_empty(form: str, options: dict[str, object]) -> None:
    """No query gives no output; without a key, every query attends to nothing."""
    mha, x = MultiHeadAttention(12, 4, form=form), torch.randn(2, 5, 12)
    assert mha(x[:, :0], **options).shape == (2, 0, 12)
    assert (mha.heads(x, x[:, :0], **options).z == 0).all()
    torch.testing.assert_close(mha(x, x[:, :0], **options), mha.w_o.bias.expand(2, 5, 12))
    assert MultiHeadAttention(12, 4, form=form)(x[:0], is_causal=True).shape == (0, 5, 12)
