"""Known mistakes in the assignment `experiment`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import combinations, pairwise, product
from statistics import fmean, pstdev, stdev

import torch
from torch import Tensor

from mha_course.experiments.intervals import t_bound
from mha_course.grading.mistakes.mistake import Mistake
from mha_course.grading.reference import experiment as reference

# ----------------------------------------------------------------------------- task and data


def of_pair_targets(x: Tensor) -> list[Mistake]:
    """Mistakes in what is asked of each query, for contents x [B, T, D]."""
    previous, first = x[:, 1:-1], x[:, :1].expand(-1, x.shape[1] - 2, -1)
    return [
        Mistake(
            "The order is exchanged. First comes the content of the token before, then that of "
            "the first token.",
            torch.cat([first, previous], dim=-1),
        ),
        Mistake(
            "The queries begin at token 1. The token before it is the first one, so it cannot "
            "tell the two roles apart: begin at token 2.",
            torch.cat([x[:, :-1], x[:, :1].expand_as(x[:, :-1])], dim=-1),
        ),
        Mistake(
            "The first half holds the content of the query itself. The token before query t is "
            "t − 1: for the queries 2 to T − 1 these are the tokens 1 to T − 2.",
            torch.cat([x[:, 2:], first], dim=-1),
        ),
        Mistake(
            "The first half looks two tokens back. The token before query t is t − 1: for the "
            "queries 2 to T − 1 these are the tokens 1 to T − 2.",
            torch.cat([x[:, :-2], first], dim=-1),
        ),
        Mistake(
            "The second half holds the content of token 1. Tokens count from 0: the first is x[:, "
            "0].",
            torch.cat([previous, x[:, 1:2].expand_as(previous)], dim=-1),
        ),
        Mistake(
            "The second half holds the content of token 2, the first query. The first token of "
            "the sequence is x[:, 0].",
            torch.cat([previous, x[:, 2:3].expand_as(previous)], dim=-1),
        ),
        Mistake(
            "The two contents are added up, and nobody can take them apart again. Put them side "
            "by side, along the last axis.",
            previous + first,
        ),
        Mistake(
            "The two contents are averaged, and nobody can take them apart again. Put them side "
            "by side, along the last axis.",
            (previous + first) / 2,
        ),
        Mistake(
            "The two contents are stacked on an axis of their own. Put them side by side on the "
            "last axis: torch.cat and not torch.stack.",
            torch.stack([previous, first], dim=2),
        ),
        Mistake(
            "The two contents are joined along the tokens. Put them side by side on the last "
            "axis: dim=-1.",
            torch.cat([previous, first], dim=1),
        ),
    ]


def of_split_rows(groups: Sequence[int], held_out: Sequence[int]) -> list[Mistake]:
    """Mistakes in which rows are held out."""
    right = reference.split_rows(groups, held_out)
    held = right.count("test")
    rows = range(len(groups))
    first_rows = {list(groups).index(group) for group in held_out}

    def words(is_test: Callable[[int], bool]) -> tuple[str, ...]:
        return tuple("test" if is_test(row) else "train" for row in rows)

    return [
        Mistake(
            "The words are exchanged: what is held out is for the test.",
            words(lambda row: right[row] == "train"),
        ),
        Mistake(
            "It compares the number of the row. held_out names groups: look whether groups[row] "
            "is in it.",
            words(lambda row: row in held_out),
        ),
        Mistake(
            "The last rows are held out, whatever their group. Rows of one group are alike, and "
            "some of them are now on both sides: that is the leak. Hold out whole groups.",
            words(lambda row: row >= len(groups) - held),
        ),
        Mistake(
            "Only one row of each group is held out, and the others stay in training: that is "
            "the leak. All rows of a group go to the same side.",
            words(lambda row: row in first_rows),
        ),
        Mistake(
            "Only the first of the groups in held_out is held out. Take all of them.",
            words(lambda row: groups[row] == held_out[0]),
        ),
    ]


def of_honest_score(
    scores: Tensor, choose_on: Sequence[int], measure_on: Sequence[int]
) -> list[Mistake]:
    """Mistakes in choosing a head on some rows of scores [N, h], and measuring it on others."""
    scores = scores.double()
    choose, measure = scores[list(choose_on)], scores[list(measure_on)]
    best = choose.mean(dim=0).argmax()
    found = [
        (
            "The head is measured on the rows on which it was chosen. It won there partly by "
            "luck, so its score is too high: measure it on the rows of measure_on.",
            choose[:, best].mean(),
        ),
        (
            "The head is chosen on the rows of measure_on, where it is measured, too. The best "
            "of several always looks good there: choose it on the rows of choose_on.",
            measure.mean(dim=0).max(),
        ),
        (
            "Choosing and measuring are exchanged: choose on the rows of choose_on, and measure "
            "on those of measure_on.",
            choose[:, measure.mean(dim=0).argmax()].mean(),
        ),
        (
            "The chosen head is measured on all rows, those of choose_on among them. Measure it "
            "on the rows of measure_on alone.",
            scores[:, best].mean(),
        ),
        (
            "Each row gets a best head of its own. One head is chosen, by its mean over the rows "
            "of choose_on, and stays.",
            measure.amax(dim=1).mean(),
        ),
        ("This is the mean over all heads. Choose one head first.", measure.mean()),
        ("This is the sum over the rows. Take the mean.", measure[:, best].sum()),
        (
            "The head with the lowest mean was chosen. The highest score wins.",
            measure[:, choose.mean(dim=0).argmin()].mean(),
        ),
    ]
    return [Mistake(says, float(value)) for says, value in found]


# ---------------------------------------------------------------------------- roles of heads


def of_role_scores(weights: Tensor, wanted: Tensor) -> list[Mistake]:
    """Mistakes in the scores [seeds, h, roles] of weights [seeds, h, T, T]."""
    right = reference.role_scores(weights, wanted)
    keys = wanted.double()  # [roles, T, T]
    there = torch.einsum("shtj,rtj->shr", weights.double(), keys)
    turned = torch.einsum("shjt,rtj->shr", weights.double(), keys)
    queries = wanted.any(dim=-1).sum(dim=-1)  # [roles]
    hits = torch.nn.functional.one_hot(weights.argmax(dim=-1), weights.shape[-1]).double()
    return [
        Mistake(
            "The mean runs over all queries. Queries without a wanted key do not count: divide by "
            "the number of queries that have one.",
            there / weights.shape[-1],
        ),
        Mistake(
            "The sum is divided by the number of wanted keys. A query with two of them counts "
            "once: add up its weights on them, then take the mean over the queries.",
            there / wanted.sum(dim=(1, 2)),
        ),
        Mistake(
            "The weights are added up over the queries. Take the mean over those that have a "
            "wanted key.",
            there,
        ),
        Mistake(
            "Queries and keys are exchanged. In weights[s, i, t, j] and wanted[r, t, j], t is the "
            "query and j the key: no transpose is needed.",
            turned / queries,
        ),
        Mistake(
            "It counts how often the largest weight is on a wanted key. The score is the weight "
            "itself: a head with 0.4 there scores 0.4.",
            reference.role_scores(hits, wanted),
        ),
        Mistake(
            "The mean runs over the seeds, too. Every seed keeps its own scores: without them "
            "there is no interval.",
            right.mean(dim=0),
        ),
        Mistake(
            "The scores of a head are divided by their sum. Leave them as they are: a head that "
            "looks elsewhere has low scores for all roles.",
            right / right.sum(dim=-1, keepdim=True),
        ),
    ]


def of_uniform_scores(wanted: Tensor) -> list[Mistake]:
    """Mistakes in the scores [roles] of a head with even weights."""
    T = wanted.shape[-1]
    per_query = wanted.double().sum(dim=-1)  # [roles, T]
    has_one = wanted.any(dim=-1)
    queries = has_one.sum(dim=-1)
    seen = torch.arange(1, T + 1)
    return [
        Mistake(
            "The weights are 1/T. A query sees only the keys up to itself: query t has t + 1 of "
            "them, and gives each 1/(t + 1).",
            per_query.sum(dim=-1) / T / queries,
        ),
        Mistake(
            "The weights are 1/t. Tokens count from 0, and a query sees itself, too: query t has "
            "t + 1 keys.",
            (per_query / (seen - 1).clamp(min=1)).sum(dim=-1) / queries,
        ),
        Mistake(
            "The mean runs over all queries. Queries without a wanted key do not count.",
            (per_query / seen).sum(dim=-1) / T,
        ),
        Mistake(
            "A query with two wanted keys has 1/(t + 1) on each: add them up.",
            (has_one / seen).sum(dim=-1) / queries,
        ),
        Mistake(
            "This is the share of all pairs that are wanted. Work out the weight on them query "
            "by query, and take the mean.",
            per_query.sum(dim=-1) / (T * (T + 1) / 2),
        ),
        Mistake(
            "The sum over the queries is not divided. Take the mean over those that have a "
            "wanted key.",
            (per_query / seen).sum(dim=-1),
        ),
    ]


def of_specialisation(scores: Tensor) -> list[Mistake]:
    """Mistakes in the index of scores [h, roles]."""
    scores = scores.double()
    h, roles = scores.shape
    right = reference.specialisation(scores)
    pairs = h * (h - 1) / 2
    shares = scores / scores.sum(dim=1, keepdim=True)
    preferred = scores.argmax(dim=1)
    other_preferred = [float(a != b) for a, b in combinations(preferred.tolist(), 2)]
    signed = [(a - b).sum().item() / 2 for a, b in combinations(scores, 2)]
    squares = [(a - b).square().sum().sqrt().item() for a, b in combinations(scores, 2)]
    largest = [(a - b).abs().max().item() for a, b in combinations(scores, 2)]
    spread = (scores.amax(dim=0) - scores.amin(dim=0)).sum().item() / 2
    next_to = [(a - b).abs().sum().item() / 2 for a, b in pairwise(scores)]
    halves = [(a - b).abs().sum().item() / 2 for a, b in combinations(scores, 2)]
    return [
        Mistake(
            "The half is missing. Two heads with one role each differ by 1 in both of these "
            "roles; half of that is 1.",
            2 * right,
        ),
        Mistake(
            "The pairs are added up. Take the mean over the pairs, so that more heads do not mean "
            "more specialisation.",
            right * pairs,
        ),
        Mistake(
            "The mean runs over h² pairs, each head with itself among them. Take each two "
            "different heads once: h·(h − 1)/2 pairs.",
            right * (h - 1) / h,
        ),
        Mistake(
            "The sum over the pairs is divided by the number of heads. Divide by the number of "
            "pairs, h·(h − 1)/2.",
            right * pairs / h,
        ),
        Mistake(
            "The sum over the roles became a mean over the roles. Add up, and take half.",
            2 * right / roles,
        ),
        Mistake(
            "Positive and negative differences cancel. Take the absolute value of each before you "
            "add them up.",
            fmean(signed),
        ),
        Mistake(
            "Positive and negative differences cancel. Take the absolute value of each role "
            "before you add the roles up.",
            fmean(map(abs, signed)),
        ),
        Mistake(
            "The scores of each head were made to add up to 1 first. Then a head that looks at "
            "neither role seems to have one. Compare the scores as they are.",
            reference.specialisation(shares),
        ),
        Mistake(
            "It counts pairs whose best roles differ. A head with 0.51 and 0.49 hardly has a "
            "role: use how far the scores differ.",
            fmean(other_preferred),
        ),
        Mistake(
            "It compares the roles within each head. Alike heads can prefer a role, too: compare "
            "the heads with each other, role by role.",
            fmean((row.max() - row.min()).item() for row in scores),
        ),
        Mistake(
            "The differences are squared. Add up absolute values, and take half.", fmean(squares)
        ),
        Mistake(
            "It takes the largest difference over the roles. Add up all roles, and take half.",
            fmean(largest),
        ),
        Mistake(
            "It compares the highest with the lowest head. With more than two heads, take the "
            "mean over all pairs.",
            spread,
        ),
        Mistake(
            "It compares neighbours alone. With more than two heads, take all pairs.",
            fmean(next_to),
        ),
        Mistake(
            "It takes the pair that differs most. Take the mean over all pairs: one odd head is "
            "not a layer of specialists.",
            max(halves),
        ),
        Mistake(
            "This is the standard deviation over the heads. It is not 1 for one role each: "
            "compare the heads pair by pair.",
            scores.std(dim=0).mean().item(),
        ),
    ]


def greedy(scores: Tensor) -> list[int]:
    """Give each role in turn the best head that is left."""
    heads: list[int] = []
    for role in range(scores.shape[1]):
        left = [head for head in range(scores.shape[0]) if head not in heads]
        heads.append(max(left, key=lambda head: scores[head, role].item()))
    return heads


def greedy_by_score(scores: Tensor) -> list[int]:
    """Settle the highest score first, then the highest that is left."""
    left = scores.double().clone()
    heads = [0] * scores.shape[1]
    for _ in heads:
        head, role = divmod(int(left.argmax()), scores.shape[1])
        heads[role] = head
        left[head] = left[:, role] = -math.inf
    return heads


def of_assign_roles(scores: Tensor) -> list[Mistake]:
    """Mistakes in the best one-to-one assignment for scores [h, roles]."""
    h, roles = scores.shape
    right = reference.assign_roles(scores)
    role_of_head = [right.index(head) if head in right else -1 for head in range(h)]
    found = [
        (
            "Each role gets its best head, and one head has two roles. No head may be given "
            "twice: compare whole assignments.",
            scores.argmax(dim=0).tolist(),
        ),
        (
            "The roles are filled one after the other with the best head that is left. An early "
            "role then takes the head that a later one needs more. Compare the sums of all "
            "one-to-one assignments.",
            greedy(scores),
        ),
        (
            "The highest score is settled first, then the next. One high score can spoil the "
            "rest. Compare the sums of all one-to-one assignments.",
            greedy_by_score(scores),
        ),
        (
            "This is the role of each head. Asked is the head of each role: entry r is the head "
            "that gets role r.",
            role_of_head,
        ),
        (
            "Each head gets its best role, and two heads claim the same one. Asked is the head "
            "of each role, no head twice.",
            scores.argmax(dim=1).tolist(),
        ),
        (
            "This assignment has the smallest sum. Look for the largest.",
            reference.assign_roles(-scores),
        ),
    ]
    if h > roles:
        first = reference.assign_roles(scores[:roles])
        found.append(
            (
                "Only as many heads as there are roles are looked at. Any head can take a role: "
                "permutations(range(h), roles).",
                first,
            )
        )
    return [
        Mistake(says, torch.tensor(value, dtype=torch.float64))
        for says, value in found
        if value != right
    ]


# ----------------------------------------------------------------------- chance and intervals


def of_favourite_p(holders: Sequence[int], num_heads: int) -> list[Mistake]:
    """Mistakes in the exact p-value of the head that has a role most often."""
    n = len(holders)
    most = max(holders.count(head) for head in holders)
    favourite = max(holders, key=holders.count)
    outcomes = list(product(range(num_heads), repeat=n))
    right = reference.favourite_p(holders, num_heads)

    def share(counts: Callable[[tuple[int, ...]], bool]) -> float:
        return sum(map(counts, outcomes)) / len(outcomes)

    return [
        Mistake(
            "It counts outcomes in which this very head is the favourite. Nobody named it "
            "beforehand: any head that is as frequent counts.",
            share(lambda one: one.count(favourite) >= most),
        ),
        Mistake(
            "It counts outcomes that are more extreme. Those that are just as extreme count, "
            "too: at least as often, ≥.",
            share(lambda one: max(map(one.count, one)) > most),
        ),
        Mistake(
            "It counts outcomes that are exactly as extreme. More extreme ones count, too: at "
            "least as often, ≥.",
            share(lambda one: max(map(one.count, one)) == most),
        ),
        Mistake(
            "This is the chance of these very heads in this order. Asked is the share of all "
            "outcomes that are at least as uneven.",
            num_heads**-n,
        ),
        Mistake(
            "This is how often the favourite has the role. Asked is how often chance alone does "
            "as well: the share of all outcomes.",
            most / n,
        ),
        Mistake("This is 1 − p. Count the outcomes that are at least as extreme.", 1 - right),
        Mistake(
            "It adds 1 above and below, as for drawn outcomes. Here all outcomes are counted, "
            "the observed one among them: a plain share.",
            (right * len(outcomes) + 1) / (len(outcomes) + 1),
        ),
    ]


def of_drawn_p(observed: float, null: Sequence[float]) -> list[Mistake]:
    """Mistakes in the p-value from drawn values."""
    n = len(null)
    as_large = sum(value >= observed for value in null)
    larger = sum(value > observed for value in null)
    as_small = sum(value <= observed for value in null)
    found = [
        (
            "Without the 1, p can be 0: but so many draws cannot show that something never "
            "happens. The observed value is one more draw: (count + 1) / (n + 1).",
            as_large / n,
        ),
        (
            "Draws that equal the observed value are left out. They are as extreme: count ≥.",
            (larger + 1) / (n + 1),
        ),
        (
            "The wrong tail is counted. Extreme means large here: count the draws that are at "
            "least as large.",
            (as_small + 1) / (n + 1),
        ),
        ("The 1 is missing below: (count + 1) / (n + 1).", (as_large + 1) / n),
        ("The 1 is missing above: (count + 1) / (n + 1).", as_large / (n + 1)),
        ("This is 1 − p. Return p itself: (count + 1) / (n + 1).", 1 - (as_large + 1) / (n + 1)),
        (
            "p is doubled. The test has one side: only large values count.",
            2 * (as_large + 1) / (n + 1),
        ),
        (
            "Draws that equal the observed value are left out, and the 1 is missing: "
            "(count of ≥, + 1) / (n + 1).",
            larger / n,
        ),
    ]
    return [Mistake(says, value) for says, value in found]


def of_interval_over_seeds(values: Sequence[float]) -> list[Mistake]:
    """Mistakes in the 95 % t-interval of the mean."""
    n, mean = len(values), fmean(values)
    s, t, root = stdev(values), t_bound(len(values)), math.sqrt(len(values))
    half_widths = [
        (
            "The factor is 1.96. That is for hundreds of seeds: with n seeds take t with n − 1 "
            "degrees of freedom.",
            1.96 * s / root,
        ),
        (
            "The factor is 2. With n seeds take t with n − 1 degrees of freedom.",
            2 * s / root,
        ),
        (
            "t has n degrees of freedom here. One is used up by the mean: T_975[n - 1].",
            t_bound(n + 1) * s / root,
        ),
        (
            "The squares are divided by n. The mean was fitted to the same values, so divide by "
            "n − 1.",
            t * pstdev(values) / root,
        ),
        (
            "The root of n is missing. This interval says where single seeds lie, not the mean: "
            "divide the standard deviation by √n.",
            t * s,
        ),
        (
            "The standard deviation is divided by n. Divide by √n.",
            t * s / n,
        ),
        (
            "The standard deviation is divided by √(n − 1). Divide by √n; the n − 1 is in the "
            "standard deviation and in t.",
            t * s / math.sqrt(n - 1),
        ),
        ("This is the variance. Take its root first.", t * s * s / root),
        ("This is mean ± one standard error. Multiply it with t: T_975[n - 1].", s / root),
        ("This is mean ± standard deviation. Multiply with t, and divide by √n.", s),
        (
            "Factor 1.96 and no root of n: this interval says where single seeds lie.",
            1.96 * s,
        ),
    ]
    found = [Mistake(says, _bounds(mean - half, mean + half)) for says, half in half_widths]
    half = t * s / root
    return [
        *found,
        Mistake("These are the mean and half the width. Return low and high.", _bounds(mean, half)),
        Mistake("Low and high are exchanged.", _bounds(mean + half, mean - half)),
        Mistake(
            "These are the lowest and the highest value. Asked is how sure the mean is: "
            "mean ± t·s/√n.",
            _bounds(min(values), max(values)),
        ),
        Mistake("The interval lies around 0. Add the mean.", _bounds(-half, half)),
    ]


def _bounds(low: float, high: float) -> Tensor:
    return torch.tensor([low, high], dtype=torch.float64)


# ------------------------------------------------------------------------- twins and verdicts


def of_twin_difference(grad_Q: Tensor, grad_O: Tensor, num_heads: int) -> list[Mistake]:
    """Mistakes in the largest difference between heads in two gradients."""
    grad_Q, grad_O = grad_Q.double(), grad_O.double()
    d_model, h = grad_Q.shape[0], num_heads
    columns = torch.stack(grad_Q.chunk(h, dim=1))  # [h, d_model, d_head]
    rows = torch.stack(grad_O.chunk(h, dim=0))  # [h, d_head, d_model]
    of_q, of_o = _spread(columns), _spread(rows)
    dealt = [torch.stack([g[i::h] for i in range(h)]) for g in (grad_Q.T, grad_O)]
    both = (columns, rows)
    right = max(of_q, of_o)
    found = [
        ("W_O is forgotten. Compare the heads in its rows as well, and take the larger.", of_q),
        ("W_Q is forgotten. Compare the heads in its columns as well, and take the larger.", of_o),
        (
            "The columns and rows are dealt out in turn. The slices of a head are neighbours: "
            "head i has i·d_head up to (i+1)·d_head − 1.",
            max(map(_spread, dealt)),
        ),
        (
            "The differences have a sign, and the largest may be negative. Take absolute values.",
            max(
                (g[i] - g[j]).max().item() for g in both for i in range(h) for j in range(i + 1, h)
            ),
        ),
        (
            "The differences have a sign, and the largest may be negative. Take absolute values.",
            max(
                (g[j] - g[i]).max().item() for g in both for i in range(h) for j in range(i + 1, h)
            ),
        ),
        (
            "It compares each head with its neighbour. The two that differ most can be any two: "
            "compare all pairs.",
            max((g[1:] - g[:-1]).abs().max().item() for g in both),
        ),
        (
            "It compares each head with head 0. The two that differ most can be any two: compare "
            "all pairs.",
            max((g - g[:1]).abs().max().item() for g in both),
        ),
        (
            "It compares each head with the mean of the heads. Compare them with each other.",
            max((g - g.mean(dim=0)).abs().max().item() for g in both),
        ),
        (
            "This is a mean of differences. One number that differs is enough to free twins: "
            "take the largest.",
            max(_pairwise(g, lambda gap: gap.mean()) for g in both),
        ),
        (
            "This is the length of the difference (a norm). Asked is the largest single number.",
            max(_pairwise(g, lambda gap: gap.norm()) for g in both),
        ),
        ("The two matrices are added up. Take the larger of the two.", of_q + of_o),
        (
            "The difference is divided by the largest number. Asked is the difference itself.",
            right / max(grad_Q.abs().max().item(), grad_O.abs().max().item()),
        ),
    ]
    if d_model % h == 0:
        found += [
            (
                "The rows of W_Q are cut. A head has columns of W_Q: x @ W_Q makes them.",
                max(_spread(torch.stack(grad_Q.chunk(h, dim=0))), of_o),
            ),
            (
                "The columns of W_O are cut. A head has rows of W_O: they meet what the head "
                "computed.",
                max(of_q, _spread(torch.stack(grad_O.chunk(h, dim=1)))),
            ),
        ]
    return [
        Mistake(says, value)
        for says, value in found
        if not math.isclose(value, right, rel_tol=1e-3)
    ]


def _spread(of_heads: Tensor) -> float:
    return (of_heads.amax(dim=0) - of_heads.amin(dim=0)).max().item()


def _pairwise(of_heads: Tensor, size: Callable[[Tensor], Tensor]) -> float:
    return max(size((a - b).abs()).item() for a, b in combinations(of_heads, 2))


def of_verdict(low: float, high: float, baseline: float, smallest_effect: float) -> list[Mistake]:
    """Wrong words for an interval, each with what speaks against it."""
    right = reference.verdict(low, high, baseline, smallest_effect)
    if right == "open":
        beats = " It beats the baseline, but not by the smallest effect." if low > baseline else ""
        return [
            Mistake(
                "The interval reaches up to the bar, so an effect of the asked size is still "
                "possible. Not shown is not refuted: the word is open.",
                "refuted",
            ),
            Mistake(
                f"The interval reaches down to the bar, baseline + smallest_effect.{beats} Only "
                "an interval that lies above the bar as a whole supports.",
                "supported",
            ),
        ]
    if right == "supported":
        return [
            Mistake("The whole interval lies above the bar: that supports.", "open"),
            Mistake("The whole interval lies above the bar. Look at the sign again.", "refuted"),
        ]
    found = [
        Mistake(
            "The whole interval lies below the bar: no effect of the asked size. That is an "
            "answer, and not open.",
            "open",
        )
    ]
    if low > baseline:
        says = (
            "The interval beats the baseline, but lies below baseline + smallest_effect: the "
            "effect is there, and smaller than what counts."
        )
    elif high - low > smallest_effect:
        says = "The whole interval lies below the bar. A wide interval is no large effect."
    else:
        says = "The whole interval lies below the bar. Look at the sign again."
    return [*found, Mistake(says, "supported")]
