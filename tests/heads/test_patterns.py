"""Patterns of heads: by their definition, at their extremes, over several texts, and the labels."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import reduce
from itertools import product
from operator import add
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_attention import attention, even
from torch import Tensor

from mha_course.heads import TextModel, load
from mha_course.heads.gates import LayerHeads
from mha_course.heads.patterns import (
    FEWEST_QUERIES,
    INDUCTION_PERIODS,
    LABELS,
    MAJORITY,
    MARGIN,
    PATTERNS,
    POSITIONAL,
    Pattern,
    Tally,
    add_up,
    all_labels,
    as_shares,
    entropy,
    find_targets,
    labels,
    pattern_scores,
    repeated_tokens,
)

H, T = 4, 11
DELIMITERS = {2, 9}
WITH_TARGETS = tuple(name for name in PATTERNS if name != "broad")
QUICK = settings(max_examples=30, deadline=None, derandomize=True)
SEEDS = st.integers(0, 2**31)

by_causality = pytest.mark.parametrize("is_causal", [False, True], ids=["all", "causal"])
by_pattern = pytest.mark.parametrize("name", WITH_TARGETS)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def tokens(length: int, seed: int, kinds: int = 5) -> Tensor:
    """A text of few kinds of tokens, so that all patterns occur."""
    return torch.randint(0, kinds, (length,), generator=seeded(seed))


def one_key(keys: list[int]) -> Tensor:
    """A head that attends from each query to one key."""
    return torch.eye(len(keys), dtype=torch.float64)[keys]


# -------------------------------------------------------------------- the definition, in loops


class Query(NamedTuple):
    position: int
    targets: set[int]
    visible: set[int]


def is_target(name: Pattern, t: int, s: int, ids: list[int], width: int) -> bool:
    """The table of the module, one cell at a time; the rare token is decided by the caller."""
    match name:
        case "induction":
            return 0 < s < t and ids[s - 1] == ids[t]
        case "previous token":
            return s + 1 == t
        case "next token":
            return s == t + 1
        case "self":
            return s == t
        case "same token":
            return s != t and ids[s] == ids[t]
        case "rare token":
            return s not in (0, t) and ids[s] not in DELIMITERS
        case "first token":
            return s == 0
        case "delimiter":
            return ids[s] in DELIMITERS
        case _:
            return -width <= t - s <= width


def queries_that_count(
    name: Pattern, ids: list[int], counts: list[int], is_causal: bool, width: int
) -> list[Query]:
    found = []
    for t in range(len(ids)):
        visible = set(range(t + 1 if is_causal else len(ids)))
        targets = {s for s in visible if is_target(name, t, s, ids, width)}
        if name == "rare token" and targets:
            fewest = min(counts[s] for s in targets)
            targets = {s for s in targets if counts[s] == fewest}
        if targets and targets != visible:
            found.append(Query(t, targets, visible))
    return found


def assert_is_the_tally_of(
    tally: Tally, texts: list[tuple[Tensor, list[Query]]], heads: int
) -> None:
    """Compare with means over all queries of all texts."""
    queries = [query for _, found in texts for query in found]
    assert tally.queries == len(queries)
    for i in range(heads):
        on_targets = [
            sum(weights[i, query.position, s].item() for s in query.targets)
            for weights, found in texts
            for query in found
        ]
        expected = math.fsum(on_targets) / len(queries)
        assert tally.score[i].item() == pytest.approx(expected, abs=1e-6)
    by_chance = math.fsum(len(query.targets) / len(query.visible) for query in queries)
    assert tally.uniform == pytest.approx(by_chance / len(queries), abs=1e-12)
    hits = [
        sum(query.position + offset in query.targets for query in queries)
        for offset in range(-T, T + 1)
    ]
    assert tally.fixed_offset == pytest.approx(max(hits) / len(queries), abs=1e-12)


@pytest.mark.parametrize(
    ("name", "is_causal"),
    # no causal query sees the next token
    sorted({*product(WITH_TARGETS, [False, True])} - {("next token", True)}),
)
@pytest.mark.parametrize("seed", range(3))
def test_scores_and_baselines_are_those_of_the_definition(
    name: Pattern, is_causal: bool, seed: int
) -> None:
    ids, width = tokens(T, seed), 2
    counts = torch.randint(1, 5, (5,), generator=seeded(seed + 1))[ids]
    weights = attention(H, T, seed, is_causal)
    text = find_targets(ids, is_causal=is_causal, delimiters=DELIMITERS, counts=counts, width=width)
    found = queries_that_count(name, ids.tolist(), counts.tolist(), is_causal, width)
    assert len(found) > 1
    assert_is_the_tally_of(pattern_scores(weights, text)[name], [(weights, found)], H)


@by_causality
def test_broad_is_the_effective_number_of_keys_as_a_share(is_causal: bool) -> None:
    weights = attention(H, T, seed=6, is_causal=is_causal)
    tally = pattern_scores(weights, find_targets(tokens(T, 6), is_causal=is_causal))["broad"]
    positions = range(is_causal, T)  # the first causal query sees one key
    assert tally.queries == len(positions)
    for i in range(H):
        shares = []
        for t in positions:
            seen = t + 1 if is_causal else T
            row = weights[i, t, :seen].tolist()
            shares.append(math.exp(-math.fsum(a * math.log(a) for a in row)) / seen)
        assert tally.score[i].item() == pytest.approx(math.fsum(shares) / len(shares), abs=1e-6)
    assert tally.uniform == 1
    assert math.isnan(tally.fixed_offset)


# ------------------------------------------------------------------------------ in numbers


def pairs(name: Pattern, ids: list[int], **options: Any) -> list[tuple[int, int]]:
    """All pairs of a query that counts and a target of it."""
    of = find_targets(torch.tensor(ids), **options).by_pattern[name]
    return list(zip(of.query.tolist(), of.key.tolist(), strict=True))


def test_induction_points_to_what_followed_every_earlier_copy() -> None:
    ids = [7, 8, 7, 9, 7]
    expected = [(2, 1), (4, 1), (4, 3)]
    assert pairs("induction", ids, is_causal=True) == expected
    assert pairs("induction", ids, is_causal=False) == expected  # a later copy was not before


def test_induction_does_not_send_a_token_that_repeats_at_once_to_itself() -> None:
    assert pairs("induction", [7, 7, 7], is_causal=True) == [(2, 1)]


def test_same_token_is_on_both_sides_unless_the_model_is_causal() -> None:
    ids = [7, 8, 7, 9, 7]
    both = [(0, 2), (0, 4), (2, 0), (2, 4), (4, 0), (4, 2)]
    assert pairs("same token", ids, is_causal=False) == both
    assert pairs("same token", ids, is_causal=True) == [(t, s) for t, s in both if s < t]


def test_the_rarest_token_is_neither_the_first_nor_a_delimiter_nor_the_query() -> None:
    ids, counts = [1, 5, 6, 2, 7], torch.tensor([1, 30, 20, 1, 10])
    options = {"delimiters": {2}, "counts": counts}
    # all see 7 as the rarest; 7 itself, which is not to look at itself, sees 6
    assert pairs("rare token", ids, is_causal=False, **options) == [
        (0, 4), (1, 4), (2, 4), (3, 4), (4, 2)
    ]  # fmt: skip
    # of what came before: the first two see none
    assert pairs("rare token", ids, is_causal=True, **options) == [(2, 1), (3, 2), (4, 2)]


def test_tokens_that_are_as_rare_are_all_targets() -> None:
    """Counted in the text itself: 5 stands there twice, 6 and 7 once."""
    ids = [1, 5, 6, 5, 7]
    assert pairs("rare token", ids, is_causal=False) == [
        (0, 2), (0, 4), (1, 2), (1, 4), (2, 4), (3, 2), (3, 4), (4, 2)
    ]  # fmt: skip


def test_a_query_that_sees_only_targets_does_not_count() -> None:
    ids = [5, 6, 7, 8]
    first = [t for t, _ in pairs("first token", ids, is_causal=True)]
    assert first == [1, 2, 3]
    local = find_targets(torch.tensor(ids), is_causal=True, width=2).by_pattern["local"]
    assert local.queries == 1
    assert local.query.tolist() == [3, 3, 3]
    assert local.key.tolist() == [1, 2, 3]
    assert pairs("delimiter", [2, 2, 6], is_causal=True, delimiters={2}) == [(2, 0), (2, 1)]


def test_previous_token_in_numbers() -> None:
    """Queries 1 and 2 count: 1/2 and 3/4 of the weight, and 1/2 and 1/3 by chance."""
    weights = torch.tensor([[[1, 0, 0], [0.5, 0.5, 0], [0.25, 0.75, 0]], torch.eye(3).tolist()])
    tally = pattern_scores(weights, find_targets(torch.tensor([5, 6, 7]), is_causal=True))[
        "previous token"
    ]
    assert tally.score.tolist() == [0.625, 0.0]
    assert tally.uniform == pytest.approx(5 / 12)
    assert tally.fixed_offset == 1
    assert tally.queries == 2


def test_without_counts_those_of_the_text_are_taken() -> None:
    ids = tokens(T, seed=8)
    counts = torch.tensor([ids.tolist().count(token) for token in ids.tolist()])
    given_counts = find_targets(ids, is_causal=False, counts=counts).by_pattern["rare token"]
    own_counts = find_targets(ids, is_causal=False).by_pattern["rare token"]
    assert torch.equal(given_counts.query, own_counts.query)
    assert torch.equal(given_counts.key, own_counts.key)
    assert counts.unique().numel() > 1


def test_entropy_in_bits() -> None:
    heads = torch.tensor(
        [
            [[0.25, 0.25, 0.25, 0.25], [0.5, 0.5, 0, 0], [1, 0, 0, 0], [0.5, 0.25, 0.25, 0]],
            torch.eye(4).tolist(),
        ]
    )
    assert entropy(heads).tolist() == [[2.0, 1.0, 0.0, 1.5], [0.0, 0.0, 0.0, 0.0]]


# ------------------------------------------------------------------------------- properties


@QUICK
@given(length=st.integers(6, 20), seed=SEEDS, is_causal=st.booleans())
def test_all_weight_on_the_targets_scores_1(length: int, seed: int, is_causal: bool) -> None:
    ids = tokens(length, seed)
    text = find_targets(ids, is_causal=is_causal, delimiters=DELIMITERS, width=1)
    for name, of in text.by_pattern.items():
        head = even(1, length, is_causal).clone()
        head[0, of.query] = 0
        head[0, of.query, of.key] = 1
        head = head / head.sum(-1, keepdim=True)
        tally = pattern_scores(head, text)[name]
        if tally.queries:
            assert tally.score.item() == pytest.approx(1, abs=1e-9)
            assert tally.uniform < 1


@QUICK
@given(length=st.integers(2, 20), seed=SEEDS, is_causal=st.booleans())
def test_even_attention_scores_its_baseline(length: int, seed: int, is_causal: bool) -> None:
    text = find_targets(tokens(length, seed), is_causal=is_causal, delimiters=DELIMITERS)
    scores = pattern_scores(even(H, length, is_causal), text)
    for tally in scores.values():
        if tally.queries:
            torch.testing.assert_close(
                tally.score, torch.full((H,), tally.uniform, dtype=torch.float64), rtol=0, atol=1e-9
            )
    assert scores["broad"].queries == length - is_causal


@QUICK
@given(length=st.integers(2, 20), seed=SEEDS, is_causal=st.booleans())
def test_scores_and_baselines_are_shares(length: int, seed: int, is_causal: bool) -> None:
    text = find_targets(tokens(length, seed), is_causal=is_causal, delimiters=DELIMITERS)
    for tally in pattern_scores(attention(H, length, seed, is_causal), text).values():
        if tally.queries:
            assert tally.score.min() >= 0
            assert tally.score.max() <= 1 + 1e-9
            assert 0 < tally.uniform <= 1
            assert not tally.fixed_offset > 1


@QUICK
@given(order=st.permutations(range(H)), seed=SEEDS, is_causal=st.booleans())
def test_heads_are_scored_each_on_its_own(order: list[int], seed: int, is_causal: bool) -> None:
    text = find_targets(tokens(T, seed), is_causal=is_causal)
    weights = attention(H, T, seed, is_causal)
    scores, permuted = pattern_scores(weights, text), pattern_scores(weights[order], text)
    for name in PATTERNS:
        torch.testing.assert_close(
            permuted[name].score, scores[name].score[order], rtol=0, atol=1e-12, equal_nan=True
        )


@QUICK
@given(seed=SEEDS, is_causal=st.booleans())
def test_only_which_tokens_are_equal_matters(seed: int, is_causal: bool) -> None:
    """Other ids for the same kinds of tokens change nothing."""
    ids, names = tokens(T, seed), torch.tensor([71, 3, 42, 10**6, 0])
    weights = attention(H, T, seed, is_causal)
    scores, renamed = (
        pattern_scores(weights, find_targets(of, is_causal=is_causal)) for of in (ids, names[ids])
    )
    for name in PATTERNS:
        torch.testing.assert_close(scores[name].score, renamed[name].score, equal_nan=True)


# --------------------------------------------------------------------------- several texts


@by_causality
def test_texts_add_up_to_one_pass_over_all_their_queries(is_causal: bool) -> None:
    texts = [(tokens(n, seed=n), attention(H, n, n, is_causal)) for n in (5, 7, T)]
    total = add_up(
        pattern_scores(weights, find_targets(ids, is_causal=is_causal, delimiters=DELIMITERS))
        for ids, weights in texts
    )
    for name in WITH_TARGETS:
        if name == "next token" and is_causal:
            continue
        per_text = [
            (weights, queries_that_count(name, ids, [ids.count(i) for i in ids], is_causal, 4))
            for ids, weights in ((ids.tolist(), weights) for ids, weights in texts)
        ]
        assert_is_the_tally_of(total[name], per_text, H)
    assert total["broad"].queries == 5 + 7 + T - 3 * is_causal


def test_texts_count_by_their_queries() -> None:
    half, full = Tally(torch.tensor([1.0, 0.5]), 0.5, 2), Tally(torch.tensor([6.0, 3.0]), 3.0, 6)
    together = half + full
    assert together.score.tolist() == [7 / 8, 3.5 / 8]
    assert together.uniform == 3.5 / 8
    assert together.queries == 8
    assert half.queries == 2  # adding makes a new one
    assert half.score.tolist() == [0.5, 0.25]


def test_the_best_offset_is_best_over_all_texts() -> None:
    """In each text alone some offset is right at every query; together none is for long."""
    periods = [repeated_tokens(range(100), seed=p, period=p, samples=1)[0] for p in (5, 8)]
    weights = [even(H, len(ids), True) for ids in periods]
    scores = [
        pattern_scores(w, find_targets(ids, is_causal=True))["induction"]
        for ids, w in zip(periods, weights, strict=True)
    ]
    assert [tally.fixed_offset for tally in scores] == [1, 1]
    assert (scores[0] + scores[1]).fixed_offset == pytest.approx(8 / (5 + 8))


# --------------------------------------------------------------- where there is no pattern


def assert_not_seen(tally: Tally) -> None:
    assert tally.queries == 0
    assert tally.score.shape == (H,)
    assert tally.score.isnan().all()
    assert math.isnan(tally.uniform)
    assert math.isnan(tally.fixed_offset)


def test_a_pattern_that_no_query_can_show_is_nan() -> None:
    ids = torch.arange(T)
    scores = pattern_scores(attention(H, T, 0, True), find_targets(ids, is_causal=True))
    for name in ("next token", "delimiter", "induction", "same token"):
        assert_not_seen(scores[name])
    assert scores["previous token"].score.isfinite().all()


@by_causality
def test_one_token_shows_no_pattern(is_causal: bool) -> None:
    text = find_targets(torch.tensor([5]), is_causal=is_causal, delimiters={5})
    for tally in pattern_scores(torch.ones(H, 1, 1), text).values():
        assert_not_seen(tally)
    assert labels(pattern_scores(torch.ones(H, 1, 1), text)) == ["none"] * H


def test_a_text_without_the_pattern_changes_nothing() -> None:
    ids = tokens(T, seed=2)
    seen = pattern_scores(attention(H, T, 2), find_targets(ids, is_causal=False))["same token"]
    unseen = pattern_scores(attention(H, 5, 3), find_targets(torch.arange(5), is_causal=False))
    together = seen + unseen["same token"]
    assert torch.equal(together.score, seen.score)
    assert together.uniform == seen.uniform
    assert together.queries == seen.queries > 0


# ------------------------------------------------------------------------ numbers as they come


@by_causality
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_narrow_numbers_are_added_up_in_wide_ones(dtype: torch.dtype, is_causal: bool) -> None:
    """1,001 keys: a sum of such small numbers in 8 or 11 bits would soon stop to grow."""
    length = 1001
    ids = tokens(length, seed=3)
    narrow = even(2, length, is_causal).to(dtype)
    assert not torch.equal(narrow.double(), even(2, length, is_causal))  # was rounded
    text = find_targets(ids, is_causal=is_causal, delimiters=DELIMITERS, width=50)
    for tally in pattern_scores(narrow, text).values():
        if tally.queries:
            assert tally.score.dtype == torch.float64
            torch.testing.assert_close(
                tally.score, torch.full((2,), tally.uniform, dtype=torch.float64), rtol=0, atol=2e-6
            )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_rows_that_narrow_numbers_rounded_add_up_to_1_again(dtype: torch.dtype) -> None:
    narrow = attention(H, T, seed=4).to(dtype)
    assert (narrow.double().sum(-1) - 1).abs().max() > 1e-5
    shares = as_shares(narrow, is_causal=False)
    assert shares.dtype == torch.float32
    torch.testing.assert_close(shares.sum(-1), torch.ones(H, T), rtol=0, atol=1e-6)
    sums = narrow.double().sum(-1, keepdim=True)
    torch.testing.assert_close(shares.double() * sums, narrow.double(), rtol=1e-6, atol=0)


def test_weights_may_have_gradients_and_gaps_and_are_not_written_to() -> None:
    ids, weights = tokens(T, seed=5), attention(2 * H, T, seed=5)
    text = find_targets(ids, is_causal=False)
    plain = pattern_scores(weights[::2].contiguous(), text)
    before = weights.clone()
    special = pattern_scores(weights.requires_grad_()[::2], text)
    assert torch.equal(weights.detach(), before)
    for name in PATTERNS:
        assert not special[name].score.requires_grad
        torch.testing.assert_close(special[name].score, plain[name].score, equal_nan=True)


@pytest.mark.parametrize("dtype", [torch.int32, torch.uint8, torch.int16], ids=str)
def test_ids_may_be_of_any_whole_dtype(dtype: torch.dtype) -> None:
    ids = tokens(T, seed=6)
    wide, narrow = (
        find_targets(of, is_causal=True, delimiters=DELIMITERS) for of in (ids, ids.to(dtype))
    )
    for name in WITH_TARGETS:
        assert torch.equal(narrow.by_pattern[name].key, wide.by_pattern[name].key)


# ------------------------------------------------------------------------------- induction


def prefix_matching(head: list[list[float]], ids: list[int]) -> float:
    """Mean over tokens that occurred before: weight on the tokens right after those occurrences."""
    found = []
    for t, token in enumerate(ids):
        earlier = [s for s in range(t) if ids[s] == token]
        if earlier:
            found.append(math.fsum(head[t][s + 1] for s in earlier))
    return math.fsum(found) / len(found)


def test_repeated_tokens_are_bos_and_the_same_tokens_again_and_again() -> None:
    allowed = [3, *range(10, 30)]
    texts = repeated_tokens(allowed, seed=0, bos=3, period=6, repeats=3, samples=7)
    assert texts.shape == (7, 1 + 6 * 3)
    assert texts.dtype == torch.int64
    for text in texts.tolist():
        assert text[0] == 3
        block = text[1:7]
        assert text[1:] == block * 3
        assert len(set(block)) == 6
        assert set(block) <= set(range(10, 30))  # never bos
    assert len({tuple(text) for text in texts.tolist()}) == 7


def test_repeated_tokens_without_bos_are_as_long_as_the_repeats() -> None:
    assert repeated_tokens(range(40), seed=1).shape == (10, 25 * 4)
    assert repeated_tokens(range(40), seed=1, bos=0).shape == (10, 1 + 25 * 4)


def test_repeated_tokens_use_every_id_that_is_allowed() -> None:
    drawn = repeated_tokens([11, 5, 8], seed=2, period=3, repeats=2, samples=20)
    assert set(drawn.flatten().tolist()) == {5, 8, 11}
    assert len({tuple(text) for text in drawn.tolist()}) == 6  # all orders of three


def test_repeated_tokens_come_from_the_seed_alone() -> None:
    torch.manual_seed(0)
    state = torch.get_rng_state()
    one, again, other = (repeated_tokens(range(99), seed=seed) for seed in (4, 4, 5))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), state)


def test_on_repeated_tokens_the_score_is_prefix_matching() -> None:
    ids = repeated_tokens(range(200), seed=3, bos=0, period=7, samples=2)
    per_text, expected = [], torch.zeros(H)
    for text in ids:
        weights = attention(H, len(text), seed=int(text[1]), is_causal=True)
        per_text.append(pattern_scores(weights, find_targets(text, is_causal=True)))
        expected += torch.tensor([prefix_matching(h, text.tolist()) for h in weights.tolist()]) / 2
    tally = add_up(per_text)["induction"]
    torch.testing.assert_close(tally.score.float(), expected, rtol=0, atol=1e-6)
    assert tally.queries == 2 * 7 * 3  # all but bos and the first round


def of_repeated_tokens(head: Callable[[list[int], int], list[int]], period: int) -> Tally:
    """Induction score of a head that is given by the key for each query."""
    ids = repeated_tokens(range(500), seed=period, bos=0, period=period, samples=1)[0]
    weights = one_key(head(ids.tolist(), period)).expand(2, -1, -1)
    return pattern_scores(weights, find_targets(ids, is_causal=True))["induction"]


def looks_after_the_copy(ids: list[int], _: int) -> list[int]:
    last: dict[int, int] = {}
    keys = []
    for t, token in enumerate(ids):
        keys.append(last.get(token, -1) + 1)
        last[token] = t
    return keys


def looks_24_back(ids: list[int], _: int) -> list[int]:
    return [max(0, t - 24) for t in range(len(ids))]


@pytest.mark.parametrize(
    ("head", "label"), [(looks_after_the_copy, "induction"), (looks_24_back, "none")]
)
def test_several_periods_tell_induction_from_a_fixed_offset(
    head: Callable[[list[int], int], list[int]], label: str
) -> None:
    alike = of_repeated_tokens(head, period=25)
    assert alike.score.tolist() == [1, 1]  # either of them, with the one period
    assert alike.fixed_offset == 1
    assert labels({"induction": alike}) == ["none", "none"]  # so that nothing is known
    mixed = reduce(add, (of_repeated_tokens(head, period) for period in INDUCTION_PERIODS))
    assert mixed.fixed_offset < 0.3
    assert labels({"induction": mixed}) == [label, label]


# ---------------------------------------------------------------------------------- labels


def tally(score: float, uniform: float, offset: float = 0.0, queries: int = 1000) -> Tally:
    """Two heads: one with this score, and one that attends to other things."""
    hits = {-3: round(offset * queries), 2: 1} if offset else {}
    total = torch.tensor([score * queries, 0.0], dtype=torch.float64)
    made = Tally(total, uniform * queries, queries)
    made.offset_hits.update(hits)
    return made


def holds(
    name: Pattern, score: float, uniform: float, offset: float = 0.0, queries: int = 1000
) -> bool:
    first, second = all_labels({name: tally(score, uniform, offset, queries)})
    assert second == ()
    assert first in ((), (name,))
    return bool(first)


@pytest.mark.parametrize("name", PATTERNS)
def test_a_pattern_takes_half_of_the_weight(name: Pattern) -> None:
    assert holds(name, MAJORITY, 0.2)
    assert not holds(name, MAJORITY - 0.001, 0.2)


@by_pattern
def test_a_pattern_beats_even_attention(name: Pattern) -> None:
    assert holds(name, 0.701 + MARGIN, 0.7)
    assert not holds(name, 0.699 + MARGIN, 0.7)


@by_pattern
def test_a_pattern_beats_the_best_fixed_offset_unless_it_is_one(name: Pattern) -> None:
    assert holds(name, 0.701 + MARGIN, 0.2, 0.7)
    assert holds(name, 0.699 + MARGIN, 0.2, 0.7) == (name in POSITIONAL)


def test_positional_patterns_are_those_that_a_fixed_offset_explains() -> None:
    """Whatever the text: the others are not always explained, and need that baseline."""
    texts = [
        find_targets(tokens(40, seed, kinds=9), is_causal=False, delimiters={2})
        for seed in range(5)
    ]
    explained = {
        name
        for name in WITH_TARGETS
        if all(
            max(of.offset_hits.values()) >= of.queries - 1
            for of in (text.by_pattern[name] for text in texts)
        )
    }
    assert explained == POSITIONAL


def test_broad_has_no_baseline_to_beat() -> None:
    assert holds("broad", 0.55, 1.0)


@pytest.mark.parametrize("name", PATTERNS)
def test_too_few_queries_are_no_evidence(name: Pattern) -> None:
    assert holds(name, 0.95, 0.1, queries=FEWEST_QUERIES)
    assert not holds(name, 0.95, 0.1, queries=FEWEST_QUERIES - 1)


def test_the_label_is_the_first_of_all_that_hold() -> None:
    """In the order of PATTERNS, in whatever order the scores come."""
    scores = {name: tally(0.9, 0.1) for name in reversed(PATTERNS)}
    assert all_labels(scores) == [PATTERNS, ()]
    for i, name in enumerate(PATTERNS):
        some = {other: scores[other] for other in reversed(PATTERNS[i:])}
        assert labels(some) == [name, "none"]


def test_every_label_is_a_pattern_or_none() -> None:
    assert set(LABELS) == {*PATTERNS, "none"}
    assert len(set(LABELS)) == len(LABELS) == 11


FORTY = list(range(2, 40))
NEAR = {"previous token": -1, "next token": 1, "self": 0}


@pytest.mark.parametrize("name", NEAR)
def test_a_head_at_one_place_is_also_local_and_is_called_by_the_place(name: Pattern) -> None:
    ids = torch.tensor([1, *FORTY, 0])
    place = [min(max(t + NEAR[name], 0), len(ids) - 1) for t in range(len(ids))]
    weights = torch.stack([one_key(place), even(1, len(ids), False)[0]])
    scores = pattern_scores(weights, find_targets(ids, is_causal=False))
    assert all_labels(scores) == [(name, "local"), ("broad",)]
    assert labels(scores) == [name, "broad"]


def test_heads_of_content_are_called_by_it() -> None:
    ids = torch.cat([torch.tensor([1]), tokens(80, seed=9, kinds=30) + 10])
    ids[[9, 21, 40]] = 2
    counts = torch.full_like(ids, 50)
    counts[[5, 34, 61]] = torch.tensor([4, 3, 2])
    text = find_targets(ids, is_causal=True, delimiters={2}, counts=counts)
    names: list[Pattern] = ["same token", "rare token", "first token", "delimiter", "local"]
    heads = []
    for name in names:
        of = text.by_pattern[name]
        head = even(1, len(ids), True)[0].clone()
        head[of.query] = 0
        head[of.query, of.key] = 1
        heads.append(head / head.sum(-1, keepdim=True))
    # resting on the first token is a pattern, too, where there is nothing to do
    scores = pattern_scores(torch.stack(heads), text)
    assert labels(scores) == names


# --------------------------------------------------------------------------- trained models


def test_heads_of_a_trained_encoder_are_scored_as_their_matrices_show() -> None:
    model = load("minilm")
    ids = model.encode(
        "The cat that the dogs chased ran up a tree, and the dogs barked at the cat."
    )[0]
    maps = model.attention_maps(
        "The cat that the dogs chased ran up a tree, and the dogs barked at the cat."
    )
    text = find_targets(ids, is_causal=model.is_causal)
    scores = [pattern_scores(layer, text) for layer in maps.weights]
    previous = torch.stack([layer["previous token"].score for layer in scores])
    first = torch.stack([layer["first token"].score for layer in scores])
    diagonals = maps.weights.diagonal(-1, -2, -1).mean(-1)
    torch.testing.assert_close(previous.float(), diagonals, rtol=0, atol=1e-5)
    torch.testing.assert_close(first.float(), maps.weights[..., 0].mean(-1), rtol=0, atol=1e-5)
    assert previous.max() > 0.9 > 5 * scores[0]["previous token"].uniform  # a known kind of head


def induction_scores(model: TextModel, ids: Tensor) -> tuple[list[Tally], list[list[float]]]:
    """Ours, and by the definition in loops; for all heads of all layers."""
    text, ours, theirs = find_targets(ids, is_causal=model.is_causal), [], []

    def look(_: int, layer: LayerHeads) -> None:
        assert layer.weights is not None  # asked for
        weights = layer.weights[0]
        ours.append(pattern_scores(weights, text)["induction"])
        theirs.append([prefix_matching(head, ids.tolist()) for head in weights.tolist()])

    with torch.no_grad():
        model.run(ids[None], watch=look, weights=True)
    return ours, theirs


def test_the_induction_heads_of_a_trained_decoder(smollm2: TextModel) -> None:
    """Two periods, one text each; layer 18 has a head that is known for it."""
    model = smollm2
    special = model.tokenizer.all_special_ids
    allowed = [i for i in range(len(model.tokenizer)) if i not in special]
    bos = model.tokenizer.bos_token_id
    ours, theirs = [], torch.zeros(30, 9)
    for period in (9, 14):
        ids = repeated_tokens(allowed, seed=0, bos=bos, period=period, samples=1)[0]
        tallies, by_definition = induction_scores(model, ids)
        ours.append(tallies)
        theirs += torch.tensor(by_definition) * period / (9 + 14)
    found = [a + b for a, b in zip(*ours, strict=True)]
    scores = torch.stack([tally.score for tally in found])
    torch.testing.assert_close(scores.float(), theirs, rtol=0, atol=1e-5)
    assert divmod(int(scores.argmax()), 9) == (18, 6)
    assert scores.max() > 0.8
    assert scores.median() < 2 * found[0].uniform  # most heads do other things
    assert labels({"induction": found[18]})[6] == "induction"


# ------------------------------------------------------------------------------- bad input

IDS = tokens(T, seed=40)
GOOD = attention(H, T, seed=40, is_causal=True)


def but(at: tuple[int | slice, ...], value: float | Tensor) -> Tensor:
    changed = GOOD.clone()
    changed[at] = value
    return changed


WEIGHTS: dict[str, tuple[Any, type[Exception], str]] = {
    "a list": (GOOD.tolist(), TypeError, "weights is a list"),
    "two axes": (GOOD[0], ValueError, r"weights has 2 axes, shape \[11, 11\]; it must have 3"),
    "four axes": (GOOD[None], ValueError, "weights has 4 axes"),
    "no head": (GOOD[:0], ValueError, r"\[0, 11, 11\].* no axis may be empty"),
    "no token": (GOOD[:, :0, :0], ValueError, r"\[4, 0, 0\].* no axis may be empty"),
    "not square": (GOOD[:, :5], ValueError, r"\[4, 5, 11\]; they must be \[h, T, T\]"),
    "whole numbers": (GOOD.round().long(), TypeError, "weights has dtype torch.int64"),
    "another length": (GOOD[:, :5, :5] / GOOD[:, :5, :5].sum(-1, keepdim=True), ValueError,
                       r"\[4, 5, 5\] = \[h, T, T\], and the text has 11 tokens"),
    "rows above 1": (but((2, 3, 1), 0.9), ValueError, "head 2 have rows .*; take the softmax"),
    "rows below 1": (but((1, 10), 0.0), ValueError, "head 1 have rows that are no shares of 1"),
    "slightly off": (GOOD * 1.002, ValueError, "head 0 have rows that are no shares of 1"),
    "negative": (but((3, 4, slice(0, 3)), torch.tensor([-0.5, 0.7, 0.8]).double()), ValueError,
                 "head 3 have rows that are no shares of 1"),
    "NaN": (but((2, 5, 5), math.nan), ValueError, "head 2 have rows that are no shares of 1"),
    "infinity": (but((2, 5, 5), math.inf), ValueError, "head 2 have rows that are no shares of 1"),
    "the future": (but((1, 0), torch.eye(T)[1].double()), ValueError,
                   "is_causal=True, but head 1 attends to later tokens"),
}  # fmt: skip


@pytest.mark.parametrize("case", WEIGHTS)
def test_wrong_weights_are_refused(case: str) -> None:
    weights, error, message = WEIGHTS[case]
    text = find_targets(IDS, is_causal=True)
    pattern_scores(GOOD, text)
    with pytest.raises(error, match=message):
        pattern_scores(weights, text)


def test_a_negative_weight_whose_row_adds_up_to_1_is_no_share() -> None:
    """The row of the case above does, so that only the sign is wrong there."""
    weights = torch.full((1, 3, 3), 1 / 3)
    weights[0, 1] = torch.tensor([-0.5, 0.5, 1.0])
    assert weights.sum(-1).sub(1).abs().max() < 1e-6
    with pytest.raises(ValueError, match="no shares of 1"):
        as_shares(weights, is_causal=False)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_only_bfloat16_may_round_by_more_than_a_thousandth(dtype: torch.dtype) -> None:
    weights = torch.full((1, 2, 2), 0.502)
    as_shares(weights.bfloat16(), is_causal=False)
    with pytest.raises(ValueError, match="no shares of 1"):
        as_shares(weights.to(dtype), is_causal=False)


TEXTS: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "no token": ({"ids": IDS[:0]}, ValueError, "ids is empty"),
    "two axes": ({"ids": IDS[None]}, ValueError, r"ids has 2 axes, shape \[1, 11\]"),
    "a list": ({"ids": IDS.tolist()}, TypeError, "ids is a list"),
    "floats": ({"ids": IDS.float()}, TypeError, "ids has dtype torch.float32"),
    "booleans": ({"ids": IDS > 2}, TypeError, "ids has dtype torch.bool"),
    "other counts": ({"counts": IDS[:4]}, ValueError, "counts are of 4 tokens and ids of 11"),
    "shares for counts": ({"counts": IDS / 11}, TypeError, "counts has dtype torch.float32"),
    "counts of two texts": ({"counts": IDS[None]}, ValueError, "counts has 2 axes"),
    "no width": ({"width": 0}, ValueError, "width=0 must be at least 1"),
    "half a token": ({"width": 1.5}, TypeError, "width=1.5 is a float"),
}


@pytest.mark.parametrize("case", TEXTS)
def test_wrong_texts_are_refused(case: str) -> None:
    changed, error, message = TEXTS[case]
    good: dict[str, Any] = {"ids": IDS, "is_causal": True, "counts": IDS + 1, "width": 2}
    find_targets(**good)
    with pytest.raises(error, match=message):
        find_targets(**{**good, **changed})


REPEATED: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "too few ids": ({"allowed": range(5)}, ValueError, "allowed has 5 ids beside bos.*period=6"),
    "only bos is left": ({"allowed": range(6), "bos": 2}, ValueError, "has 5 ids beside bos"),
    "nothing allowed": ({"allowed": []}, ValueError, "allowed has 0 ids"),
    "no repeat": ({"repeats": 1}, ValueError, "repeats=1 must be at least 2"),
    "no period": ({"period": 0}, ValueError, "period=0 must be at least 1"),
    "no sample": ({"samples": 0}, ValueError, "samples=0 must be at least 1"),
    "half a sample": ({"samples": 1.5}, TypeError, "samples=1.5 is a float"),
}


@pytest.mark.parametrize("case", REPEATED)
def test_wrong_repeats_are_refused(case: str) -> None:
    changed, error, message = REPEATED[case]
    good: dict[str, Any] = {"allowed": range(6), "seed": 0, "period": 6}
    repeated_tokens(**good)
    with pytest.raises(error, match=message):
        repeated_tokens(**{**good, **changed})


def test_no_texts_are_refused() -> None:
    with pytest.raises(ValueError, match="texts is empty"):
        add_up([])


def test_texts_with_other_patterns_are_refused() -> None:
    one, other = {"self": tally(0.5, 0.1)}, {"broad": tally(0.5, 0.1)}
    with pytest.raises(ValueError, match="are for self, and those of another for broad"):
        add_up([one, other])


def test_texts_of_other_heads_are_refused() -> None:
    two, three = tally(0.5, 0.1), Tally(torch.zeros(3), 0.0, 0)
    with pytest.raises(ValueError, match="of 2 and of 3 heads"):
        two + three


@pytest.mark.parametrize("call", [labels, all_labels])
def test_no_scores_are_refused(call: Callable[[Any], Any]) -> None:
    with pytest.raises(ValueError, match="scores is empty"):
        call({})
