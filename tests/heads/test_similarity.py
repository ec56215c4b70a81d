"""Likeness of heads: by its definition, at its extremes, for what it must not see, by chance."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import combinations, pairwise, permutations
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import subspace_angles
from scipy.spatial.distance import jensenshannon
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from mha_course.heads import load, similarity
from mha_course.heads.redundancy import cluster_heads, effective_number
from mha_course.heads.similarity import (
    attention_distance,
    output_cka,
    shuffled_keys,
    shuffled_tokens,
    subspace_overlap,
)

N, T, TOKENS, D_MODEL, D_HEAD = 4, 7, 9, 11, 3
QUICK = settings(max_examples=40, deadline=None, derandomize=True)
SEEDS = st.integers(0, 2**31)

by_causality = pytest.mark.parametrize("is_causal", [False, True], ids=["all", "causal"])
# one row at a time; blocks of several rows of which the last is smaller; all at once
by_block = pytest.mark.parametrize("block", [1, 120, 10**6])


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def attention(n: int, tokens: int, seed: int, is_causal: bool = False) -> Tensor:
    """Sharp and broad heads; about a third of the weights are exactly 0."""
    scores = normal(n, tokens, tokens, seed=seed) * 3
    scores[normal(n, tokens, tokens, seed=seed + 1) < -0.4] = -torch.inf
    scores.diagonal(0, 1, 2).nan_to_num_(neginf=0.0)
    if is_causal:
        scores.masked_fill_(torch.ones(tokens, tokens).triu(1).bool(), -torch.inf)
    return scores.softmax(-1)


def one_hot(n: int, tokens: int) -> Tensor:
    """Head i attends from token t to token t + i."""
    return torch.stack([torch.eye(tokens).roll(i, 1) for i in range(n)]).double()


def off_diagonal(matrix: Tensor) -> Tensor:
    return matrix[~torch.eye(len(matrix), dtype=torch.bool)]


def smallest_eigenvalue(matrix: Tensor) -> float:
    return torch.linalg.eigvalsh(matrix)[0].item()


def assert_symmetric(matrix: Tensor, diagonal: float) -> None:
    torch.testing.assert_close(matrix, matrix.T, rtol=0, atol=1e-12)
    wanted = torch.full_like(matrix[0], diagonal)
    torch.testing.assert_close(matrix.diagonal(), wanted, rtol=0, atol=1e-12)


class LargestTensor(TorchDispatchMode):
    """Notes how many numbers the largest tensor has that is made inside."""

    numbers = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor):
            self.numbers = max(self.numbers, result.numel())
        return result


# ------------------------------------------------------------------------- attention: definition


@by_causality
@by_block
def test_distance_is_the_root_of_the_mean_divergence_of_all_queries(
    block: int, is_causal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(similarity, "_BLOCK", block)
    texts = [attention(N, tokens, seed=tokens, is_causal=is_causal) for tokens in (5, T)]
    assert (texts[1].tril() == 0).sum() > N * T * (T - 1) / 2 + 10  # zeros that no mask made
    result = attention_distance(iter(texts), is_causal=is_causal)
    for i in range(N):
        for j in range(N):
            divergences = [
                jensenshannon(weights[i, t], weights[j, t], base=2) ** 2
                for weights in texts
                for t in range(is_causal, weights.shape[1])
            ]
            expected = math.sqrt(math.fsum(divergences) / len(divergences))
            assert result[i, j].item() == pytest.approx(expected, abs=1e-6)
    assert_symmetric(result, diagonal=0.0)
    assert (off_diagonal(result) > 0.1).all()


def test_distance_in_numbers() -> None:
    """H(3/4, 1/4) = 2 − 3/4 log2 3, and the heads have entropies of 0 and 1."""
    weights = torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[0.5, 0.5], [0.5, 0.5]]])
    divergence = 2 - 0.75 * math.log2(3) - 0.5
    assert attention_distance([weights])[0, 1].item() == pytest.approx(math.sqrt(divergence))


def test_distance_of_equal_heads_is_0_and_of_heads_without_a_common_key_1() -> None:
    weights = attention(1, T, seed=0).expand(N, T, T)
    assert attention_distance([weights]).max() < 1e-6
    apart = attention_distance([one_hot(N, T)])
    torch.testing.assert_close(off_diagonal(apart), torch.ones(N * (N - 1)).double())


def test_distance_stays_between_0_and_1_where_rounding_would_not() -> None:
    near = attention(1, T, seed=1) * (1 + 1e-9 * normal(6, T, T, seed=2))
    assert attention_distance([near]).max() < 1e-6  # NaN is not
    tokens = 10
    apart = torch.zeros(2, tokens, tokens).double()
    for i in range(2):
        apart[i, :, i::2] = normal(tokens, tokens // 2, seed=i + 1).softmax(-1)
    assert attention_distance([apart]).max() == pytest.approx(1)
    assert attention_distance([apart]).max() <= 1


def test_distance_leaves_out_the_query_at_which_causal_heads_cannot_differ() -> None:
    weights = attention(N, T, seed=3, is_causal=True)
    diluted = attention_distance([weights]) * math.sqrt(T / (T - 1))
    torch.testing.assert_close(attention_distance([weights], is_causal=True), diluted)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_distance_of_narrow_numbers_is_near_that_of_wide_ones(dtype: torch.dtype) -> None:
    weights = attention(N, 3, seed=4)
    weights = (weights * 64).round() / 64  # holds in 8 bits
    weights[..., 1] += 1 - weights.sum(-1)
    narrow = weights.to(dtype)
    assert torch.equal(narrow.double(), weights)
    torch.testing.assert_close(attention_distance([narrow]), attention_distance([weights]))

    weights = attention(20, T, seed=4)  # does not hold, and rows no longer add up to 1
    torch.testing.assert_close(
        attention_distance([weights.to(dtype)]), attention_distance([weights]), rtol=0, atol=0.01
    )


@QUICK
@given(tokens=st.integers(2, 5), seed=SEEDS, is_causal=st.booleans())
def test_distance_is_a_metric_and_its_kernel_positive(
    tokens: int, seed: int, is_causal: bool
) -> None:
    d = attention_distance([attention(5, tokens, seed, is_causal)], is_causal=is_causal)
    assert_symmetric(d, diagonal=0.0)
    assert d.min() >= 0
    assert d.max() <= 1
    for i, j, k in permutations(range(5), 3):
        assert d[i, k] <= d[i, j] + d[j, k] + 1e-7
    assert smallest_eigenvalue(1 - d.square()) > -1e-9


def test_divergence_without_the_root_would_be_no_metric() -> None:
    """The half-way head is near both ends: the test above can fail."""
    ends = torch.eye(3)
    weights = torch.stack([ends, (ends + ends.roll(1, 1)) / 2, ends.roll(1, 1)])
    divergence = attention_distance([weights]).square()
    assert divergence[0, 2] > divergence[0, 1] + divergence[1, 2] + 0.1


# --------------------------------------------------------------------------- attention: chance


@by_causality
def test_shuffled_heads_are_as_sharp_at_every_query(is_causal: bool) -> None:
    weights = attention(N, T, seed=5, is_causal=is_causal)
    before = weights.clone()
    shuffled = shuffled_keys(weights, generator=seeded(1), is_causal=is_causal)
    assert torch.equal(weights, before)
    assert torch.equal(shuffled.sort(-1).values, weights.sort(-1).values)
    assert not torch.equal(shuffled, weights)
    if is_causal:
        assert not shuffled.triu(1).any()


@by_causality
def test_shuffled_heads_meet_at_a_key_as_often_as_chance_has_it(is_causal: bool) -> None:
    """Two that attend to one of c keys each: with probability 1/c."""
    n, tokens = 150, 5
    first = torch.zeros(n, tokens, tokens).double()
    first[..., 0] = 1.0
    shuffled = shuffled_keys(first, generator=seeded(2), is_causal=is_causal)
    seen = [t + 1 for t in range(tokens)] if is_causal else [tokens] * tokens
    for t in range(tokens):
        share = shuffled[:, t].mean(0)  # [keys]
        wanted = torch.tensor([1 / seen[t] if s < seen[t] else 0.0 for s in range(tokens)])
        torch.testing.assert_close(share, wanted.double(), rtol=0, atol=0.12)

    compared = seen[is_causal:]
    chance = 1 - sum(1 / c for c in compared) / len(compared)
    found = attention_distance([shuffled], is_causal=is_causal).square()
    assert off_diagonal(found).mean().item() == pytest.approx(chance, abs=0.01)


def test_shuffling_keys_repeats_itself_from_the_same_seed_alone() -> None:
    weights = attention(N, T, seed=6)
    once, again, other = (shuffled_keys(weights, generator=seeded(s)) for s in (1, 1, 2))
    assert torch.equal(once, again)
    assert not torch.equal(once, other)


# ------------------------------------------------------------------------------- CKA: definition


def hsic(x: Tensor, y: Tensor, debiased: bool) -> float:
    """The estimator of Kornblith et al. 2019, and the unbiased estimator of Song et al. 2012."""
    a, b, m = x @ x.T, y @ y.T, len(x)
    if not debiased:
        centre = torch.eye(m).double() - 1 / m
        return float(torch.trace(a @ centre @ b @ centre)) / (m - 1) ** 2
    a.fill_diagonal_(0)
    b.fill_diagonal_(0)
    corrections = a.sum() * b.sum() / ((m - 1) * (m - 2)) - 2 * (a @ b).sum() / (m - 2)
    return float(torch.trace(a @ b) + corrections) / (m * (m - 3))


@pytest.mark.parametrize("debiased", [False, True], ids=["plain", "debiased"])
@by_block
def test_cka_is_that_of_the_papers(
    block: int, debiased: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(similarity, "_BLOCK", block)
    z = normal(N, TOKENS, D_HEAD, seed=10) + normal(TOKENS, 1, seed=11) + 2
    result = output_cka(z, debiased=debiased)
    for i in range(N):
        for j in range(N):
            own = hsic(z[i], z[i], debiased) * hsic(z[j], z[j], debiased)
            expected = hsic(z[i], z[j], debiased) / math.sqrt(own)
            assert result[i, j].item() == pytest.approx(expected, abs=1e-9)
    assert_symmetric(result, diagonal=1.0)


def test_cka_is_debiased_unless_asked_for() -> None:
    z = normal(N, TOKENS, D_HEAD, seed=10)
    assert torch.equal(output_cka(z), output_cka(z, debiased=True))
    assert not torch.equal(output_cka(z), output_cka(z, debiased=False))


@QUICK
@given(
    seed=SEEDS,
    factor=st.floats(0.01, 100).flatmap(lambda x: st.sampled_from([x, -x])),
    debiased=st.booleans(),
)
def test_cka_does_not_see_rotation_scale_and_shift(
    seed: int, factor: float, debiased: bool
) -> None:
    z = normal(N, TOKENS, D_HEAD, seed=seed)
    turned = z.clone()
    rotation, _ = torch.linalg.qr(normal(D_HEAD, D_HEAD, seed=seed + 1))
    turned[1] = factor * z[1] @ rotation + 10 * normal(D_HEAD, seed=seed + 2)
    torch.testing.assert_close(
        output_cka(turned, debiased=debiased), output_cka(z, debiased=debiased), rtol=0, atol=1e-7
    )


def test_cka_sees_other_linear_maps() -> None:
    x = normal(40, D_HEAD, seed=12)
    stretched = x @ torch.diag(torch.tensor([1.0, 10.0, 100.0])).double()
    assert output_cka(torch.stack([x, stretched]))[0, 1] < 0.8


def test_cka_does_not_see_the_number_format_or_gradients() -> None:
    z = normal(N, TOKENS, D_HEAD, seed=13).float()
    expected = output_cka(z.double())
    result = output_cka(z.requires_grad_())
    assert not result.requires_grad
    torch.testing.assert_close(result, expected)


@QUICK
@given(seed=SEEDS, tokens=st.integers(4, 9), debiased=st.booleans())
def test_cka_is_a_positive_kernel(seed: int, tokens: int, debiased: bool) -> None:
    cka = output_cka(normal(N + 2, tokens, D_HEAD, seed=seed), debiased=debiased)
    assert smallest_eigenvalue(cka) > -1e-9


# ------------------------------------------------------------------------------- CKA: chance


def test_plain_cka_of_independent_heads_is_far_from_0_and_the_debiased_one_is_not() -> None:
    tokens, d_head = 10, 7
    z = normal(60, tokens, d_head, seed=14)
    plain = off_diagonal(output_cka(z, debiased=False))
    debiased = off_diagonal(output_cka(z))
    assert plain.mean().item() == pytest.approx(d_head / (tokens + d_head), abs=0.02)
    assert plain.min() > 0.1
    assert debiased.mean().item() == pytest.approx(0, abs=0.02)
    assert debiased.min() < -0.1


def test_one_loud_token_makes_all_heads_alike_in_plain_cka_only() -> None:
    z = normal(N, 60, D_HEAD, seed=15)
    z[:, 0] *= 50
    assert off_diagonal(output_cka(z, debiased=False)).min() > 0.9
    assert off_diagonal(output_cka(z)).abs().max() < 0.3


def test_shuffled_tokens_keep_their_vectors_and_lose_their_places() -> None:
    z = normal(1, 60, D_HEAD, seed=16).expand(N, 60, D_HEAD)
    shuffled = shuffled_tokens(z, generator=seeded(3))
    for head in shuffled:
        assert not torch.equal(head, z[0])
        assert sorted(head.tolist()) == sorted(z[0].tolist())
    assert output_cka(z).min() > 1 - 1e-9
    assert off_diagonal(output_cka(shuffled)).abs().max() < 0.15
    assert torch.equal(shuffled, shuffled_tokens(z, generator=seeded(3)))


# ------------------------------------------------------------------------------- subspaces


def matrices(n: int, d_model: int, d_head: int, seed: int) -> tuple[Tensor, Tensor]:
    return normal(n, d_model, d_head, seed=seed), normal(n, d_head, d_model, seed=seed + 1)


@by_block
def test_overlap_is_the_mean_squared_cosine_of_the_principal_angles_of_the_maps(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(similarity, "_BLOCK", block)
    w_v, w_o = matrices(N, D_MODEL, D_HEAD, seed=20)
    reads, writes, by_chance = subspace_overlap(w_v, w_o)
    u, strength, v = torch.linalg.svd(w_v @ w_o)  # [n, d_model, d_model]
    assert strength[:, D_HEAD:].max() < 1e-9
    for i in range(N):
        for j in range(N):
            for result, bases in ((reads, u[..., :D_HEAD]), (writes, v.mT[..., :D_HEAD])):
                cosines = np.cos(subspace_angles(bases[i].numpy(), bases[j].numpy()))
                assert result[i, j].item() == pytest.approx((cosines**2).mean(), abs=1e-9)
    assert_symmetric(reads, diagonal=1.0)
    assert_symmetric(writes, diagonal=1.0)
    assert by_chance == D_HEAD / D_MODEL


def test_overlap_counts_shared_directions() -> None:
    axes = torch.eye(D_MODEL).double()
    w_v = torch.stack([axes[:, :3], axes[:, 1:4], axes[:, 2:5], axes[:, 3:6]])
    w_o = torch.stack([axes[5:8], axes[5:8], axes[5:8], axes[8:11]])
    reads, writes, _ = subspace_overlap(w_v, w_o)
    assert reads[0].tolist() == pytest.approx([1, 2 / 3, 1 / 3, 0])
    assert writes[0].tolist() == pytest.approx([1, 1, 1, 0])


def test_overlap_does_not_see_how_a_map_is_cut_into_two_matrices() -> None:
    w_v, w_o = matrices(N, D_MODEL, D_HEAD, seed=22)
    between = normal(N, D_HEAD, D_HEAD, seed=24)
    reads, writes, _ = subspace_overlap(w_v, w_o)
    other = subspace_overlap(w_v @ between, torch.linalg.solve(between, w_o))
    torch.testing.assert_close(other.reads, reads)
    torch.testing.assert_close(other.writes, writes)


def test_heads_of_one_group_read_the_same_and_write_their_own() -> None:
    group, num_kv_heads = 2, 3
    w_v, _ = matrices(num_kv_heads, D_MODEL, D_HEAD, seed=26)
    _, w_o = matrices(group * num_kv_heads, D_MODEL, D_HEAD, seed=26)
    reads, writes, _ = subspace_overlap(w_v.repeat_interleave(group, 0), w_o)
    for i, j in combinations(range(group * num_kv_heads), 2):
        if i // group == j // group:
            assert reads[i, j].item() == pytest.approx(1)
        else:
            assert reads[i, j] < 0.8
        assert writes[i, j] < 0.8


@pytest.mark.parametrize(("d_model", "d_head"), [(12, 3), (9, 5), (6, 6)])
def test_overlap_of_random_heads_is_that_by_chance(d_model: int, d_head: int) -> None:
    reads, writes, by_chance = subspace_overlap(*matrices(40, d_model, d_head, seed=28))
    assert by_chance == d_head / d_model
    assert off_diagonal(reads).mean().item() == pytest.approx(by_chance, abs=0.01)
    assert off_diagonal(writes).mean().item() == pytest.approx(by_chance, abs=0.01)


def test_overlap_of_parameters_has_no_gradients() -> None:
    w_v, w_o = (w.float().requires_grad_() for w in matrices(N, D_MODEL, D_HEAD, seed=30))
    reads, writes, _ = subspace_overlap(w_v, w_o)
    assert not reads.requires_grad
    assert not writes.requires_grad


# ---------------------------------------------------------------------------------- memory


@pytest.mark.parametrize(
    ("call", "rows"),
    [
        (lambda: attention_distance([attention(20, 15, seed=1)]), 20 * 15),
        (lambda: output_cka(normal(20, 30, 5, seed=1)), 20 * 30),
        (lambda: subspace_overlap(*matrices(20, 30, 5, seed=1)), 20 * 30),
    ],
    ids=["distance", "cka", "overlap"],
)
def test_no_tensor_is_larger_than_the_input_or_a_block(
    call: Callable[[], object], rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(similarity, "_BLOCK", 2 * rows)
    with LargestTensor() as largest:
        call()
    inputs = {20 * 15: 20 * 15 * 15, 20 * 30: 20 * 30 * 5}[rows]
    assert 2 * rows <= largest.numbers <= max(inputs, 2 * rows)


# ---------------------------------------------------------------------------------- clusters


def by_hand(distance: list[list[float]], threshold: float) -> set[frozenset[int]]:
    """Merge the two nearest clusters, by the mean over pairs, while they are near enough."""
    clusters = [frozenset([i]) for i in range(len(distance))]
    while len(clusters) > 1:
        means = {
            (a, b): sum(distance[i][j] for i in a for j in b) / (len(a) * len(b))
            for a, b in combinations(clusters, 2)
        }
        (a, b), nearest = min(means.items(), key=lambda pair: pair[1])
        if nearest > threshold:
            break
        clusters = [c for c in clusters if c not in (a, b)] + [a | b]
    return set(clusters)


def distances(n: int, seed: int) -> Tensor:
    points = normal(n, 2, seed=seed)
    return torch.cdist(points, points)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("threshold", [0.3, 0.9, 1.5, 2.5])
def test_clusters_are_merged_by_their_mean_distance(threshold: float, seed: int) -> None:
    n = 11
    distance = distances(n, seed)
    labels, order, linkage = cluster_heads(distance, threshold)
    names = labels.tolist()
    found = {frozenset(i for i in range(n) if names[i] == name) for name in names}
    assert found == by_hand(distance.tolist(), threshold)

    assert list(dict.fromkeys(names)) == list(range(len(found)))  # in the order of first heads
    assert sorted(order.tolist()) == list(range(n))
    in_order = [names[i] for i in order.tolist()]
    assert sum(a != b for a, b in pairwise(in_order)) == len(found) - 1
    assert linkage.shape == (n - 1, 4)
    assert (linkage[:, 2] <= threshold).sum() == n - len(found)


def test_clusters_at_a_threshold_include_what_is_exactly_that_far() -> None:
    positions = torch.tensor([0.0, 1.0, 3.0])
    distance = (positions[:, None] - positions).abs()
    assert cluster_heads(distance, 0.0).labels.tolist() == [0, 1, 2]
    assert cluster_heads(distance, 1.0).labels.tolist() == [0, 0, 1]
    assert cluster_heads(distance, 2.5).labels.tolist() == [0, 0, 0]  # the mean of 2 and 3
    assert cluster_heads(distance, 2.4).labels.tolist() == [0, 0, 1]
    assert cluster_heads(distance, math.inf).labels.tolist() == [0, 0, 0]


def test_order_puts_heads_that_are_alike_side_by_side() -> None:
    positions = torch.tensor([4.0, 0.0, 9.0, 1.5, 5.0, 12.5, 0.8])
    distance = (positions[:, None] - positions).abs()
    before = distance.clone()
    ordered = positions[cluster_heads(distance, 1.0).order].tolist()
    assert ordered in (sorted(ordered), sorted(ordered, reverse=True))
    assert torch.equal(distance, before)


def test_clusters_of_distances_that_have_gradients_and_rounding() -> None:
    distance = distances(N, seed=9)
    rounded = distance + 1e-8 * normal(N, N, seed=10)
    assert torch.equal(
        cluster_heads(rounded.float().requires_grad_(), 1.0).labels,
        cluster_heads(distance, 1.0).labels,
    )


# -------------------------------------------------------------------------- effective number


def kernel(n: int, width: int, seed: int) -> Tensor:
    directions = torch.nn.functional.normalize(normal(n, width, seed=seed), dim=1)
    return directions @ directions.T


@pytest.mark.parametrize("n", [2, 5, 8])
def test_equal_heads_count_as_one_and_unlike_heads_all_count(n: int) -> None:
    assert effective_number(torch.ones(n, n)) == pytest.approx(1, abs=1e-5)
    assert effective_number(torch.eye(n)) == pytest.approx(n)


@pytest.mark.parametrize("s", [-0.7, 0.2, 0.9])
def test_effective_number_of_two_heads_in_numbers(s: float) -> None:
    a, b = (1 + s) / 2, (1 - s) / 2
    similarity_of_two = torch.tensor([[1.0, s], [s, 1.0]]).double()
    assert effective_number(similarity_of_two) == pytest.approx(a**-a * b**-b)


def test_effective_number_of_groups_of_different_sizes() -> None:
    groups = torch.block_diag(torch.ones(5, 5), torch.ones(2, 2), torch.ones(1, 1)).double()
    shares = [5 / 8, 2 / 8, 1 / 8]
    expected = math.exp(-sum(p * math.log(p) for p in shares))
    assert effective_number(groups) == pytest.approx(expected)


@QUICK
@given(n=st.integers(2, 7), width=st.integers(1, 9), seed=SEEDS)
def test_doubling_every_head_does_not_change_the_effective_number(
    n: int, width: int, seed: int
) -> None:
    once = kernel(n, width, seed)
    number = effective_number(once)
    assert 1 - 1e-6 <= number <= min(n, width) + 1e-6
    twice = once.repeat_interleave(2, 0).repeat_interleave(2, 1)
    assert effective_number(twice) == pytest.approx(number, rel=1e-6)


# ---------------------------------------------------------------------- a trained model


def test_heads_of_a_trained_model_are_more_alike_than_chance_has_it() -> None:
    model = load("minilm")
    maps = model.attention_maps("Apple released a new phone because it is tasty, they said.")
    weights = maps.weights.flatten(0, 1)  # all layers
    chance = shuffled_keys(weights, generator=seeded(0))
    found, by_chance = (
        effective_number(1 - attention_distance([of]).square()) for of in (weights, chance)
    )
    assert 1.5 < found < 0.8 * by_chance

    layers = range(model.heads.num_layers)
    overlap = subspace_overlap(
        torch.cat([model.heads.value_matrices(i) for i in layers]),
        torch.cat([model.heads.output_matrices(i) for i in layers]),
    )
    assert off_diagonal(overlap.reads).mean() > overlap.by_chance
    assert off_diagonal(overlap.writes).mean() > overlap.by_chance


# --------------------------------------------------------------------------------- bad input

GOOD = attention(N, T, seed=40)
Z = normal(N, TOKENS, D_HEAD, seed=41)
W_V, W_O = matrices(N, D_MODEL, D_HEAD, seed=42)
DISTANCE, KERNEL = distances(N, seed=43), kernel(N, D_HEAD, seed=44)


def but(tensor: Tensor, at: tuple[int, ...], value: float | Tensor) -> Tensor:
    changed = tensor.clone()
    changed[at] = value
    return changed


def shuffle(weights: Tensor, is_causal: bool = False) -> Tensor:
    return shuffled_keys(weights, generator=seeded(0), is_causal=is_causal)


def shuffle_z(z: Tensor) -> Tensor:
    return shuffled_tokens(z, generator=seeded(0))


ATTENTION = {
    "two axes": (GOOD[0], ValueError, r"weights has 2 axes, shape \[7, 7\]; it must have 3"),
    "four axes": (GOOD[None], ValueError, "weights has 4 axes"),
    "one head": (GOOD[:1], ValueError, r"\[1, 7, 7\].* at least n = 2 heads"),
    "no head": (GOOD[:0], ValueError, r"\[0, 7, 7\].* at least n = 2 heads"),
    "no token": (GOOD[:, :0, :0], ValueError, r"\[4, 0, 0\].* no axis may be empty"),
    "one token": (GOOD[:, :1, :1], ValueError, r"\[4, 1, 1\].* at least T = 2 tokens"),
    "not square": (GOOD[:, :5], ValueError, r"\[4, 5, 7\]; they must be \[n, T, T\]"),
    "logits": (but(GOOD, (2, 3, 1), 0.9), ValueError, "head 2 has rows .*: take the softmax"),
    "negative": (
        but(GOOD, (1, 0), torch.tensor([-1.0, 2, 0, 0, 0, 0, 0])),
        ValueError,
        "head 1 has rows that are no shares of 1",
    ),
    "masked row": (but(GOOD, (3, 4), 0), ValueError, "head 3 has rows"),
    "nan": (but(GOOD, (2, 3, 1), math.nan), ValueError, "head 2 holds NaN"),
    "infinity": (but(GOOD, (0, 3, 1), math.inf), ValueError, "head 0 holds NaN or infinity"),
    "int": (one_hot(N, T).long(), TypeError, "weights has dtype torch.int64.*use weights.float"),
    "list": ([[1.0]], TypeError, "weights is a list; it must be a torch.Tensor"),
}


@pytest.mark.parametrize("call", [lambda w: attention_distance([w]), shuffle], ids=["d", "keys"])
@pytest.mark.parametrize("case", ATTENTION)
def test_wrong_attention_is_refused(case: str, call: Callable[[Any], Tensor]) -> None:
    weights, error, message = ATTENTION[case]
    with pytest.raises(error, match=message):
        call(weights)


@pytest.mark.parametrize(
    ("texts", "error", "message"),
    [
        ([], ValueError, "texts is empty"),
        (GOOD, TypeError, r"one tensor of shape \[4, 7, 7\]; .* give \[weights\]"),
        ([GOOD, GOOD[:3]], ValueError, "of 3 heads and those of another of 4"),
    ],
    ids=["none", "tensor", "other heads"],
)
def test_wrong_texts_are_refused(texts: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        attention_distance(texts)


@pytest.mark.parametrize(
    "call", [lambda w: attention_distance([w], is_causal=True), lambda w: shuffle(w, True)]
)
def test_heads_that_see_the_future_are_refused_as_causal(call: Callable[[Tensor], Tensor]) -> None:
    call(attention(N, T, seed=40, is_causal=True))
    with pytest.raises(ValueError, match="is_causal=True, but the first query attends to later"):
        call(GOOD)


OUTPUTS = {
    "two axes": (Z[0], ValueError, r"z has 2 axes, shape \[9, 3\]; .*\[n, tokens, d_head\]"),
    "one head": (Z[:1], ValueError, r"\[1, 9, 3\].* at least n = 2 heads"),
    "no token": (Z[:, :0], ValueError, r"\[4, 0, 3\].* no axis may be empty"),
    "no width": (Z[..., :0], ValueError, r"\[4, 9, 0\].* no axis may be empty"),
    "nan": (but(Z, (2, 3, 1), math.nan), ValueError, "z of head 2 holds NaN"),
    "int": (Z.long(), TypeError, "z has dtype torch.int64"),
}


@pytest.mark.parametrize("call", [output_cka, shuffle_z], ids=["cka", "tokens"])
@pytest.mark.parametrize("case", OUTPUTS)
def test_wrong_outputs_are_refused(case: str, call: Callable[[Tensor], Tensor]) -> None:
    z, error, message = OUTPUTS[case]
    with pytest.raises(error, match=message):
        call(z)


@pytest.mark.parametrize(("tokens", "debiased"), [(3, True), (1, False)])
def test_too_few_tokens_are_refused(tokens: int, debiased: bool) -> None:
    output_cka(Z[:, : tokens + 1], debiased=debiased)
    with pytest.raises(ValueError, match=rf"z has {tokens} tokens; .* at least {tokens + 1}: give"):
        output_cka(Z[:, :tokens], debiased=debiased)


@pytest.mark.parametrize("debiased", [False, True], ids=["plain", "debiased"])
@pytest.mark.parametrize("constant", [0.0, 3.7, 1e6])
def test_heads_that_put_out_the_same_for_all_tokens_are_refused(
    constant: float, debiased: bool
) -> None:
    with pytest.raises(ValueError, match="z of head 2 is the same for all tokens"):
        output_cka(but(Z, (2,), constant), debiased=debiased)


def test_heads_that_speak_at_one_token_only_are_refused() -> None:
    with pytest.raises(ValueError, match="head 1 is the same for all tokens, or for all but one"):
        output_cka(but(but(Z, (1,), 0.3), (1, 4), 5.0))


MATRICES = {
    "w_v of two axes": (W_V[0], W_O, ValueError, "w_v has 2 axes"),
    "w_o of two axes": (W_V, W_O[0], ValueError, "w_o has 2 axes"),
    "one head": (W_V[:1], W_O[:1], ValueError, "w_v .* at least n = 2 heads"),
    "no d_model": (W_V[:, :0], W_O[..., :0], ValueError, "no axis may be empty"),
    "one w_v per group": (W_V[:2], W_O, ValueError, r"\[2, 11, 3\] .*repeat_interleave"),
    "w_o the other way": (W_V, W_O.mT, ValueError, r"w_o has \[4, 11, 3\]; they must be"),
    "d_head above d_model": (W_O, W_V, ValueError, "d_head=11 is above d_model=3"),
    "w_v of a lower rank": (
        torch.cat([W_V[:3], W_V[3:, :, [0, 1, 1]]]),
        W_O,
        ValueError,
        "head 3 has a rank below d_head=3",
    ),
    "w_o of zeros": (W_V, but(W_O, (1,), 0), ValueError, "head 1 has a rank below d_head=3"),
    "nan in w_v": (but(W_V, (2, 0, 0), math.nan), W_O, ValueError, "w_v of head 2 holds NaN"),
    "nan in w_o": (W_V, but(W_O, (2, 0, 0), math.nan), ValueError, "w_o of head 2 holds NaN"),
    "int": (W_V.long(), W_O, TypeError, "w_v has dtype torch.int64"),
}


@pytest.mark.parametrize("case", MATRICES)
def test_wrong_matrices_are_refused(case: str) -> None:
    w_v, w_o, error, message = MATRICES[case]
    with pytest.raises(error, match=message):
        subspace_overlap(w_v, w_o)


BAD_MATRICES = {
    "one axis": (lambda m: m[0], ValueError, "has 1 axis"),
    "not square": (lambda m: m[:3], ValueError, r"has shape \[3, 4\]; it must be \[n, n\]"),
    "one head": (lambda m: m[:1, :1], ValueError, r"\[1, 1\]; .* at least n = 2 heads"),
    "empty": (lambda m: m[:0, :0], ValueError, r"\[0, 0\]; .* at least n = 2 heads"),
    "nan": (lambda m: but(m, (1, 2), math.nan), ValueError, "holds NaN"),
    "not symmetric": (lambda m: but(m, (1, 2), m[1, 2] + 0.25), ValueError, "transpose by 0.25"),
    "int": (lambda m: m.long(), TypeError, "has dtype torch.int64"),
}


@pytest.mark.parametrize("case", BAD_MATRICES)
def test_wrong_matrices_of_heads_by_heads_are_refused(case: str) -> None:
    spoil, error, message = BAD_MATRICES[case]
    with pytest.raises(error, match=f"distance .*{message}"):
        cluster_heads(spoil(DISTANCE), 1.0)
    with pytest.raises(error, match=f"similarity .*{message}"):
        effective_number(spoil(KERNEL))


@pytest.mark.parametrize("threshold", [-0.1, math.nan])
def test_a_threshold_that_is_no_distance_is_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match=f"threshold={threshold} must be at least 0"):
        cluster_heads(DISTANCE, threshold)


def test_a_similarity_is_refused_as_a_distance() -> None:
    with pytest.raises(ValueError, match=r"up to 1 on the diagonal; .* from a similarity s"):
        cluster_heads(KERNEL.abs(), 1.0)


def test_a_negative_distance_is_refused() -> None:
    distance = but(but(DISTANCE, (0, 1), -0.5), (1, 0), -0.5)
    with pytest.raises(ValueError, match=r"goes down to -0\.5, and up to 0 on the diagonal"):
        cluster_heads(distance, 1.0)


def test_a_distance_is_refused_as_a_similarity() -> None:
    with pytest.raises(ValueError, match=r"off 1 by 1 on the diagonal; .*1 - d\*\*2"):
        effective_number(DISTANCE)


def test_a_similarity_that_is_no_kernel_is_refused() -> None:
    """Head 1 is like heads 0 and 2, and these are opposites."""
    no_kernel = torch.tensor([[1.0, 0.9, -0.9], [0.9, 1.0, 0.9], [-0.9, 0.9, 1.0]])
    with pytest.raises(ValueError, match=r"the eigenvalue -0.267; .*semi-definite"):
        effective_number(no_kernel)
