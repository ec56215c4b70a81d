"""The comparison with the sum over heads rejects every known mistake; weaker tests do not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from reference import (
    Case,
    Sizes,
    assert_agrees,
    module_of,
    random,
    random_mask,
)
from torch import nn

from mha_course import attention_parameters, count_parameters, from_torch
from mha_course.grading.mutants import MUTANTS, WRONG_COUNTS, Mutant, Variant, WrongCount, right

B, T_Q, T_K = 3, 5, 7
OWN_WIDTHS = Sizes(14, 8, 8, d_head=6, d_v=10, kdim=14, vdim=14)
CROSS_WIDTHS = OWN_WIDTHS._replace(kdim=9, vdim=11)
GQA = CROSS_WIDTHS._replace(num_kv_heads=4)
# every wrong width is a right one here, so that shapes tell nothing
FILLED = Sizes(48, 8, 4, d_head=6, d_v=6, kdim=48, vdim=48)


def cross(sizes: Sizes, **options: object) -> Case:
    inputs = (
        random(B, T_Q, sizes.d_model, seed=1),
        random(B, T_K, sizes.kdim, seed=2),
        random(B, T_K, sizes.vdim, seed=3),
    )
    return Case(sizes, inputs, **options)


def own(sizes: Sizes, **options: object) -> Case:
    return Case(sizes, (random(B, T_Q, sizes.d_model, seed=1),), **options)


ONE_EMPTY_ROW = random_mask(T_Q, T_K, seed=5)
ONE_EMPTY_ROW[2] = False
PER_HEAD = random_mask(B, 8, T_Q, T_K, seed=8)
PER_HEAD[1, 3, 2] = False
GATES = random(B, 8, seed=9)

CASES = {
    "self": own(OWN_WIDTHS),
    "self, causal": own(OWN_WIDTHS, is_causal=True),
    "self, default widths": own(FILLED._replace(num_kv_heads=8)),
    "cross": cross(CROSS_WIDTHS),
    "cross, causal": cross(CROSS_WIDTHS, is_causal=True),
    "mask [T_q, T_k]": cross(CROSS_WIDTHS, attn_mask=random_mask(T_Q, T_K, seed=6)),
    "mask [B, 1, 1, T_k]": cross(CROSS_WIDTHS, attn_mask=random_mask(B, 1, 1, T_K, seed=7)),
    "mask per head, causal": cross(CROSS_WIDTHS, attn_mask=PER_HEAD, is_causal=True),
    "empty row": cross(CROSS_WIDTHS, attn_mask=ONE_EMPTY_ROW),
    "GQA": cross(GQA),
    "MQA": cross(CROSS_WIDTHS._replace(num_kv_heads=1)),
    "no biases": cross(CROSS_WIDTHS._replace(bias="")),
    "gates [h]": cross(CROSS_WIDTHS, head_gates=GATES[0]),
    "gates [B, h]": cross(CROSS_WIDTHS, head_gates=GATES),
    "all": cross(GQA, attn_mask=PER_HEAD, is_causal=True, head_gates=GATES),
    "all, filled": cross(FILLED, attn_mask=PER_HEAD, is_causal=True, head_gates=GATES),
}


# -------------------------------------------------------------- which case shows which mistake


def blocks(case: Case) -> bool:
    return not case.allowed.all()


def has_empty_row(case: Case) -> bool:
    return not case.allowed.any(-1).all()


def depends_on_the_order_of_the_mask(case: Case) -> bool:
    in_wrong_order = case.allowed.transpose(0, 1).reshape(case.allowed.shape)
    return not torch.equal(case.allowed, in_wrong_order)


# A mistake that is not here shows in every case.
SHOWS_WHERE: dict[str, Callable[[Case], bool]] = {
    "key used as value": lambda c: len(c.inputs) == 3,
    "biases forgotten": lambda c: c.sizes.bias != "",
    "bias of W_O added by every head": lambda c: "o" in c.sizes.bias,
    "mask polarity inverted": lambda c: c.attn_mask is not None,
    "masked with 0": blocks,
    "masked after the softmax": blocks,
    "batch and heads of the mask in the wrong order": depends_on_the_order_of_the_mask,
    "is_causal ignored without a mask": lambda c: c.is_causal and c.attn_mask is None,
    "is_causal taken as a hint": lambda c: c.is_causal and c.attn_mask is not None,
    "causal, aligned at the top left": lambda c: c.is_causal and len(c.inputs) == 3,
    "causal, without itself": lambda c: c.is_causal,
    "NaN where a query may attend to nothing": has_empty_row,
    "NaN in the gradients": has_empty_row,
    "masked with a large number": has_empty_row,
    "key/value heads repeated in turn": lambda c: 1 < c.sizes.num_kv_heads < c.sizes.num_heads,
    "gates on slices of the output": lambda c: c.head_gates is not None,
    "gates on the scores": lambda c: c.head_gates is not None,
}


def is_accepted(variant: Variant, case: Case) -> bool:
    torch.manual_seed(0)  # of the dropout that should be off
    try:
        assert_agrees(variant, module_of(case), case)
    except (AssertionError, RuntimeError):  # RuntimeError: torch, of shapes that do not fit
        return False
    return True


@pytest.mark.parametrize("name", CASES)
def test_right_is_right(name: str) -> None:
    assert_agrees(right, module_of(CASES[name]), CASES[name])


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.name)
def test_a_mutant_is_rejected_where_its_mistake_shows_and_nowhere_else(mutant: Mutant) -> None:
    shows = SHOWS_WHERE.get(mutant.name, lambda _: True)
    rejected_by = {name for name, case in CASES.items() if not is_accepted(mutant.function, case)}
    assert rejected_by == {name for name, case in CASES.items() if shows(case)}
    assert rejected_by


def test_names_are_unique_and_known() -> None:
    names = [mutant.name for mutant in MUTANTS]
    assert len(set(names)) == len(names)
    assert SHOWS_WHERE.keys() <= set(names)


def test_two_cases_together_reject_every_mutant() -> None:
    accepted = [
        {m.name for m in MUTANTS if is_accepted(m.function, CASES[name])}
        for name in ("all", "cross, causal")
    ]
    assert accepted[0] == {"is_causal ignored without a mask"}
    assert not accepted[0] & accepted[1]


# ------------------------------------------------------------------------------- weaker tests


def passes_a_test_of_shapes(variant: Variant, case: Case) -> bool:
    """What many tutorials test: the output is as large as it should be."""
    query, key, value = case.inputs
    options = {"attn_mask": case.attn_mask, "is_causal": case.is_causal}
    options["head_gates"] = case.head_gates
    try:
        output, _ = variant(module_of(case), query, key, value, **options)
    except RuntimeError:
        return False
    return output.shape == case.expected.output.shape


def test_a_test_of_shapes_lets_all_but_one_pass() -> None:
    case = CASES["all, filled"]
    caught = {m.name for m in MUTANTS if not passes_a_test_of_shapes(m.function, case)}
    assert caught == {".view after .transpose"}  # and torch raises by itself


TOYS = {
    "one head": (
        Case(
            Sizes(12, 1, 1, d_head=12, d_v=12, kdim=12, vdim=12, bias=""),
            (random(B, T_Q, 12, seed=1),),
        ),
        {
            "scaled by √h",
            "not scaled",
            "multiplied by √d_head",
            "divided by d_head",
            "softmax over the queries",
            "softmax over the heads",
            "no W_O",
            "keys averaged",
            "averaged weights",
            "dropout left on",
        },
    ),
    "one token": (
        Case(
            Sizes(12, 4, 4, d_head=3, d_v=3, kdim=12, vdim=12, bias=""),
            (random(B, 1, 12, seed=1),),
        ),
        {
            "a head gets a slice of the input",
            "split interleaved",
            "merge interleaved",
            "softmax over the heads",
            "no W_O",
            "keys averaged",
            "averaged weights",
            "dropout left on",
        },
    ),
}


@pytest.mark.parametrize("name", TOYS)
def test_a_toy_lets_most_mistakes_pass(name: str) -> None:
    case, known = TOYS[name]
    assert is_accepted(right, case)
    caught = {m.name for m in MUTANTS if not is_accepted(m.function, case)}
    assert caught == known
    assert len(caught) < len(MUTANTS) / 3


# ---------------------------------------------------------------------------------- counting


@pytest.mark.parametrize("wrong", WRONG_COUNTS, ids=lambda w: w.name)
def test_wrong_counts_are_wrong(wrong: WrongCount) -> None:
    for d_model, num_heads in ((12, 4), (40, 5), (512, 8)):
        right_count = attention_parameters(d_model, num_heads)
        assert right_count == count_parameters(nn.MultiheadAttention(d_model, num_heads))
        assert wrong.function(d_model, num_heads) != right_count


def test_one_head_lets_the_count_that_depends_on_h_pass() -> None:
    accepted = [w.name for w in WRONG_COUNTS if w.function(12, 1) == attention_parameters(12, 1)]
    assert accepted == ["h changes the parameter count"]


def test_add_bias_kv_is_one_more_key_and_not_a_bias() -> None:
    wrong = {w.name: w.function(12, 4) for w in WRONG_COUNTS}
    theirs = nn.MultiheadAttention(12, 4, bias=False, add_bias_kv=True, batch_first=True)
    assert count_parameters(theirs) == wrong["add_bias_kv taken for biases"]
    assert theirs.in_proj_bias is None
    assert theirs(*[torch.zeros(2, 5, 12)] * 3)[1].shape == (2, 5, 6)
    with pytest.raises(ValueError, match="add_bias_kv"):
        from_torch(theirs)
