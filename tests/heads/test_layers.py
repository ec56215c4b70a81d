"""How far and how evenly heads look, and the mix of patterns in a layer."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_attention import attention, even

from mha_course.heads.layers import LayerProfile, layer_profile, pattern_mix
from mha_course.heads.patterns import (
    LABELS,
    Label,
    Tally,
    find_targets,
    pattern_scores,
)

H, T = 4, 11
QUICK = settings(max_examples=30, deadline=None, derandomize=True)
SEEDS = st.integers(0, 2**31)

by_causality = pytest.mark.parametrize("is_causal", [False, True], ids=["all", "causal"])


def measures(profile: LayerProfile) -> dict[str, Tally]:
    return {
        "distance": profile.distance,
        "entropy": profile.entropy,
        "first": profile.first_token,
    }


def by_definition(row: list[float], t: int) -> dict[str, float]:
    """The three measures of one query at position t, over the keys that it sees."""
    return {
        "distance": math.fsum(a * abs(t - s) for s, a in enumerate(row)),
        "entropy": -math.fsum(a * math.log2(a) for a in row if a > 0),
        "first": row[0],
    }


@by_causality
@pytest.mark.parametrize("name", ["distance", "entropy", "first"])
def test_profiles_of_texts_are_means_over_all_queries_with_a_choice(
    name: str, is_causal: bool
) -> None:
    texts = [attention(H, length, length, is_causal) for length in (5, 7, T)]
    first, second, third = (layer_profile(weights, is_causal=is_causal) for weights in texts)
    tally = measures(first + second + third)[name]
    seen = [
        (weights, t, t + 1 if is_causal else weights.shape[1])
        for weights in texts
        for t in range(is_causal, weights.shape[1])  # the first causal query sees one key
    ]
    assert tally.queries == len(seen)
    for i in range(H):
        values = [by_definition(w[i, t, :keys].tolist(), t)[name] for w, t, keys in seen]
        assert tally.score[i].item() == pytest.approx(math.fsum(values) / len(seen), abs=1e-5)
    chance = [by_definition([1 / keys] * keys, t)[name] for _, t, keys in seen]
    assert tally.uniform == pytest.approx(math.fsum(chance) / len(seen), abs=1e-9)
    assert math.isnan(tally.fixed_offset)


def test_profile_in_numbers() -> None:
    """A head that looks two back, to the first at the start; and one that splits its weight."""
    back, split = torch.zeros(5, 5), torch.eye(5) / 2
    for t in range(5):
        back[t, max(0, t - 2)] = 1
        split[t, 0] += 0.5
    profile = layer_profile(torch.stack([back, split]), is_causal=True)
    assert profile.distance.score.tolist() == [(1 + 2 + 2 + 2) / 4, (1 + 2 + 3 + 4) / 2 / 4]
    assert profile.distance.uniform == (0.5 + 1 + 1.5 + 2) / 4
    assert profile.entropy.score.tolist() == [0, 1]
    assert profile.entropy.uniform == pytest.approx((1 + math.log2(3) + 2 + math.log2(5)) / 4)
    assert profile.first_token.score.tolist() == [2 / 4, 0.5]
    assert profile.first_token.uniform == pytest.approx((1 / 2 + 1 / 3 + 1 / 4 + 1 / 5) / 4)


@by_causality
def test_share_on_the_first_token_is_that_of_the_pattern(is_causal: bool) -> None:
    weights = attention(H, T, seed=1, is_causal=is_causal)
    profile = layer_profile(weights, is_causal=is_causal)
    text = find_targets(torch.arange(T), is_causal=is_causal)
    pattern = pattern_scores(weights, text)["first token"]
    torch.testing.assert_close(profile.first_token.score, pattern.score, rtol=0, atol=1e-9)
    assert profile.first_token.uniform == pytest.approx(pattern.uniform, abs=1e-12)
    assert profile.first_token.queries == pattern.queries


@QUICK
@given(length=st.integers(2, 20), is_causal=st.booleans())
def test_even_attention_has_the_baselines(length: int, is_causal: bool) -> None:
    profile = layer_profile(even(H, length, is_causal), is_causal=is_causal)
    for tally in measures(profile).values():
        wanted = torch.full((H,), tally.uniform, dtype=torch.float64)
        torch.testing.assert_close(tally.score, wanted, rtol=1e-9, atol=0)


@QUICK
@given(length=st.integers(2, 20), seed=SEEDS, is_causal=st.booleans())
def test_measures_stay_in_their_range(length: int, seed: int, is_causal: bool) -> None:
    weights = attention(H, length, seed, is_causal)
    profile = layer_profile(weights, is_causal=is_causal)
    assert 0 <= profile.distance.score.min() <= profile.distance.score.max() <= length - 1
    assert profile.entropy.score.min() >= 0
    assert profile.entropy.score.max() <= profile.entropy.uniform + 1e-9  # even attention: most
    assert 0 <= profile.first_token.score.min() <= profile.first_token.score.max() <= 1


@QUICK
@given(order=st.permutations(range(H)), seed=SEEDS, is_causal=st.booleans())
def test_heads_are_measured_each_on_its_own(order: list[int], seed: int, is_causal: bool) -> None:
    weights = attention(H, T, seed, is_causal)
    plain, permuted = (
        measures(layer_profile(of, is_causal=is_causal)) for of in (weights, weights[order])
    )
    for name, tally in plain.items():
        torch.testing.assert_close(permuted[name].score, tally.score[order], rtol=0, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_narrow_numbers_are_added_up_in_wide_ones(dtype: torch.dtype) -> None:
    length = 1001
    profile = layer_profile(even(2, length, True).to(dtype), is_causal=True)
    for tally in measures(profile).values():
        assert tally.score.dtype == torch.float64
        wanted = torch.full((2,), tally.uniform, dtype=torch.float64)
        torch.testing.assert_close(tally.score, wanted, rtol=1e-5, atol=0)


@by_causality
def test_a_text_of_one_token_has_no_profile_and_changes_no_other(is_causal: bool) -> None:
    nothing = layer_profile(torch.ones(H, 1, 1), is_causal=is_causal)
    for tally in measures(nothing).values():
        assert tally.queries == 0
        assert tally.score.shape == (H,)
        assert tally.score.isnan().all()
        assert math.isnan(tally.uniform)
    profile = layer_profile(attention(H, T, 2, is_causal), is_causal=is_causal)
    for name, tally in measures(profile + nothing).items():
        assert torch.equal(tally.score, measures(profile)[name].score)


# ----------------------------------------------------------------------------- pattern mix


def test_mix_counts_heads_in_the_order_of_the_labels() -> None:
    layers: list[list[Label]] = [["none", "self", "none"], ["broad", "induction", "self"]]
    mix = pattern_mix(layers)
    assert mix.shape == (2, len(LABELS))
    assert mix.dtype == torch.int64
    for i, layer in enumerate(layers):
        assert dict(zip(LABELS, mix[i].tolist(), strict=True)) == {
            label: layer.count(label) for label in LABELS
        }


def test_layers_may_have_different_numbers_of_heads() -> None:
    assert pattern_mix([["self"], [], ["self", "none"]]).sum(1).tolist() == [1, 0, 2]


# ------------------------------------------------------------------------------- bad input

GOOD = attention(H, T, seed=40, is_causal=True)

WEIGHTS: dict[str, tuple[Any, type[Exception], str]] = {
    "a list": (GOOD.tolist(), TypeError, "weights is a list"),
    "two axes": (GOOD[0], ValueError, r"weights has 2 axes, shape \[11, 11\]; it must have 3"),
    "no head": (GOOD[:0], ValueError, r"\[0, 11, 11\].* no axis may be empty"),
    "no token": (GOOD[:, :0, :0], ValueError, r"\[4, 0, 0\].* no axis may be empty"),
    "not square": (GOOD[:, :5], ValueError, r"\[4, 5, 11\]; they must be \[h, T, T\]"),
    "whole numbers": (GOOD.round().long(), TypeError, "weights has dtype torch.int64"),
    "logits": (GOOD * 3 - 1, ValueError, "head 0 have rows that are no shares of 1"),
    "NaN": (GOOD * math.nan, ValueError, "head 0 have rows that are no shares of 1"),
    "the future": (GOOD.flip(1), ValueError, "is_causal=True, but head 0 attends to later tokens"),
}


@pytest.mark.parametrize("case", WEIGHTS)
def test_wrong_weights_are_refused(case: str) -> None:
    weights, error, message = WEIGHTS[case]
    layer_profile(GOOD, is_causal=True)
    with pytest.raises(error, match=message):
        layer_profile(weights, is_causal=True)


def test_no_layers_are_refused() -> None:
    with pytest.raises(ValueError, match="labels is empty"):
        pattern_mix([])


def test_labels_that_are_none_are_refused() -> None:
    names: Any = [["self"], ["Self"]]
    with pytest.raises(ValueError, match="'Self' is no label; there are induction, "):
        pattern_mix(names)


def test_profiles_of_other_heads_are_refused() -> None:
    of_4, of_3 = (layer_profile(GOOD[:n], is_causal=True) for n in (4, 3))
    with pytest.raises(ValueError, match="of 4 and of 3 heads"):
        of_4 + of_3
