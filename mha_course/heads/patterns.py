"""What a head attends to, in ten patterns: how much, against what chance gives, and its label.

    text = find_targets(ids, is_causal=model.is_causal)       # once for each text
    scores = pattern_scores(weights, text)                    # for each layer of the model
    labels(add_up([scores, scores_of_another_text]))          # one label for each head

A pattern names target keys S(t) for each query t; V(t) are the keys that the query sees:

    score_i      = mean over t of Σ_{s ∈ S(t)} A_i[t, s]           the weight on the targets
    uniform      = mean over t of |S(t)| / |V(t)|                  for even weights on all V(t)
    fixed_offset = max over o of the share of t with t + o ∈ S(t)  for all weight on key t + o

Only queries that have a choice count: with a target among the keys that they see, and another key
beside the targets. A query that sees nothing but targets gives every head 1.

| pattern | targets S(t), as far as t sees them |
|---|---|
| induction | {s < t : token s − 1 is the same as token t, s − 1 < t} |
| previous token | {t − 1} |
| next token | {t + 1} |
| self | {t} |
| same token | {s ≠ t : token s is the same as token t} |
| rare token | of all s ≠ t but the first token and delimiters: those of the lowest count |
| first token | {0} |
| delimiter | {s : token s is a delimiter} |
| local | {s : abs(t − s) ≤ width} |

The tenth, broad, has no targets. Its score is the effective number of keys, as a share:

    broad_i = mean over t of 2^H(A_i[t]) / |V(t)|,    H in bits, over the t that see 2 keys or more

Even weights get 1 for it, and all weight on one key gets 1 / |V(t)|.

Sources: fixed offsets as a baseline, broad heads and heads for delimiters, Clark et al. 2019;
positional and rare-token heads, Voita et al. 2019; induction as prefix matching, Olsson et al.
2022.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import add
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float, Int, Integer
from torch import Tensor

from mha_course import _checks
from mha_course.masks import causal_mask

Pattern = Literal[
    "induction",
    "previous token",
    "next token",
    "self",
    "same token",
    "rare token",
    "first token",
    "delimiter",
    "local",
    "broad",
]
Label = Literal[Pattern, "none"]

PATTERNS: tuple[Pattern, ...] = get_args(Pattern)
"""In the order in which they give a head its label: special ones before those that contain them."""

LABELS: tuple[Label, ...] = (*PATTERNS, "none")

POSITIONAL: frozenset[Pattern] = frozenset({"previous token", "next token", "self", "local"})
"""A fixed offset is what these are, so it is no baseline for them."""

LOCAL_WIDTH = 4
"""Tokens to either side in the local pattern: with the query itself nine, a short phrase."""

MAJORITY = 0.5
"""A head has a pattern only with at least half of its weight on the targets. So it cannot have two
patterns that share no key on the same text. This is on weights, where the positional heads of Voita
et al. 2019 have 90 % of their *largest* weights at one offset: with m of its weight at an offset,
a head has at least 2m − 1 of its largest weights there, so that m ≥ 0.95 is enough for theirs."""

MARGIN = 0.1
"""By which a head must beat each baseline; as a syntactic head of Voita et al. 2019 must beat a
fixed offset."""

FEWEST_QUERIES = 25
"""Fewer are no evidence: a mean of shares over 25 has a standard error of up to 0.1, the margin."""

INDUCTION_PERIODS = (17, 21, 25, 29, 33)
"""Periods of repeated tokens, 25 on average, among which no fixed offset is right for long."""

_ROUNDING = 1e-3  # by which a row may miss a sum of 1: float16 does


# --------------------------------------------------------------------------------- scores


@dataclass(frozen=True, eq=False)
class Tally:
    """A mean over queries, for each head, beside its baselines.

    Held as sums, so that tallies of several texts add up: `a + b` is the tally of both texts, in
    which each text weighs as much as it has queries.

    Attributes:
        total: Sum over the queries that count, in 64 bits.
        uniform_total: The same for a head with even weights on all keys that it sees.
        queries: How many counted.
        offset_hits: At how many of them each offset t − s, as s − t, leads to a target.
    """

    total: Float[Tensor, " h"]
    uniform_total: float
    queries: int
    offset_hits: Counter[int] = field(default_factory=Counter)

    @property
    def score(self) -> Float[Tensor, " h"]:
        """Mean of each head; NaN if no query counted, since nothing was seen then."""
        return self.total / self.queries

    @property
    def uniform(self) -> float:
        """What even weights get at the same queries; NaN if no query counted."""
        return self.uniform_total / self.queries if self.queries else math.nan

    @property
    def fixed_offset(self) -> float:
        """What the best fixed offset gets at the same queries; NaN where there are no targets."""
        return max(self.offset_hits.values()) / self.queries if self.offset_hits else math.nan

    def __add__(self, other: Tally) -> Tally:
        if self.total.shape != other.total.shape:
            raise ValueError(
                f"tallies are of {len(self.total)} and of {len(other.total)} heads; only those of "
                "the same heads add up"
            )
        return Tally(
            self.total + other.total,
            self.uniform_total + other.uniform_total,
            self.queries + other.queries,
            self.offset_hits + other.offset_hits,
        )


@dataclass(frozen=True, eq=False)
class Targets:
    """Targets of one pattern in one text: pairs of a query that counts and a key.

    Attributes:
        query: Positions of the queries, in ascending order.
        key: Position of a target of each.
        uniform_total, queries, offset_hits: See `Tally`.
    """

    query: Int[Tensor, " pairs"]
    key: Int[Tensor, " pairs"]
    uniform_total: float
    queries: int
    offset_hits: Counter[int]


@dataclass(frozen=True, eq=False)
class TextTargets:
    """What one text offers to each pattern that has targets.

    Attributes:
        num_tokens: Length of the text.
        is_causal: Whether a query sees no later key.
        by_pattern: The targets.
    """

    num_tokens: int
    is_causal: bool
    by_pattern: Mapping[Pattern, Targets]


def find_targets(
    ids: Integer[Tensor, " T"],
    *,
    is_causal: bool,
    delimiters: Collection[int] = (),
    counts: Integer[Tensor, " T"] | None = None,
    width: int = LOCAL_WIDTH,
) -> TextTargets:
    """Find the targets of every query of a text; see the table at the top of this module.

    Args:
        ids: The tokens.
        is_causal: A query sees itself and what came before; otherwise all keys. A narrower sliding
            window is not known here: where the text is longer than it, `uniform` is too low.
        delimiters: Ids of tokens that separate, such as [SEP] or a full stop.
        counts: How often each of these tokens occurs, in any text; by default in `ids` alone. For
            a short text count in a longer one: `all_ids.bincount()[ids]`.
        width: Tokens to either side that are local.

    Raises:
        ValueError: no token, more than one axis, counts of another length, or a width below 1.
        TypeError: ids or counts that are not whole numbers.

    >>> text = find_targets(torch.tensor([7, 8, 9, 7]), is_causal=True)
    >>> text.by_pattern["induction"].key.tolist()  # of the last query: what followed the first 7
    [1]
    """
    _check_whole_numbers("ids", ids)
    if not len(ids):
        raise ValueError("ids is empty; give at least one token")
    if counts is None:
        _, kind, per_kind = ids.unique(return_inverse=True, return_counts=True)
        counts = per_kind[kind]
    _check_whole_numbers("counts", counts)
    if len(counts) != len(ids):
        raise ValueError(
            f"counts are of {len(counts)} tokens and ids of {len(ids)}; give one count for each "
            "token of the text: counts_by_id[ids]"
        )
    _checks.positive_int("width", width)

    ids, counts = ids.cpu(), counts.cpu()
    position = torch.arange(len(ids))
    offset = position - position[:, None]  # [T, T]: s − t
    visible = visible_keys(len(ids), is_causal)
    same = ids == ids[:, None]
    after_same = (same & (offset < 0)).roll(1, 1)  # column 0 gets the last one, which is empty
    divides = torch.isin(ids, torch.tensor(list(delimiters), dtype=ids.dtype))
    candidate = visible & (offset != 0) & (position > 0) & ~divides
    lowest = counts.where(candidate, counts.max() + 1).amin(1, keepdim=True)
    keys: dict[Pattern, Tensor] = {
        "induction": after_same & (offset < 0),
        "previous token": offset == -1,
        "next token": offset == 1,
        "self": offset == 0,
        "same token": same & (offset != 0),
        "rare token": candidate & (counts == lowest),
        "first token": (position == 0).expand_as(visible),
        "delimiter": divides.expand_as(visible),
        "local": offset.abs() <= width,
    }
    by_pattern = {name: _targets(wanted & visible, visible) for name, wanted in keys.items()}
    return TextTargets(len(ids), is_causal, by_pattern)


def pattern_scores(weights: Float[Tensor, "h T T"], text: TextTargets) -> dict[Pattern, Tally]:
    """Score the heads of one layer for all patterns; the formulas are at the top of this module.

    Narrow dtypes are widened first, and each row is divided by its sum, so that rounding in them
    does not pull all scores to one side.

    Args:
        weights: Attention weights for the text, without a batch axis.
        text: Its targets, from `find_targets`.

    Raises:
        ValueError: see `as_shares`; or weights for a text of another length.
        TypeError: no floating point.

    >>> looks_back = torch.tensor([[[1.0, 0, 0], [1, 0, 0], [0, 1, 0]]])
    >>> scores = pattern_scores(looks_back, find_targets(torch.tensor([5, 6, 5]), is_causal=True))
    >>> found = scores["previous token"]
    >>> print(found.score.tolist(), f"{found.uniform:.3f}", found.queries)
    [1.0] 0.417 2
    """
    shares = as_shares(weights, is_causal=text.is_causal)
    if shares.shape[-1] != text.num_tokens:
        raise ValueError(
            f"weights have shape {list(shares.shape)} = [h, T, T], and the text has "
            f"{text.num_tokens} tokens; give the weights for this text"
        )
    scores: dict[Pattern, Tally] = {}
    for name, of in text.by_pattern.items():
        total = shares[:, of.query, of.key].sum(1)
        scores[name] = Tally(_on_cpu(total), of.uniform_total, of.queries, of.offset_hits)

    seen = visible_keys(text.num_tokens, text.is_causal).sum(1).to(shares.device)
    spread = entropy(shares).exp2() / seen
    spread = spread[:, seen > 1]
    queries = spread.shape[1]
    scores["broad"] = Tally(_on_cpu(spread.sum(1)), float(queries), queries)
    return scores


def add_up(texts: Iterable[Mapping[Pattern, Tally]]) -> dict[Pattern, Tally]:
    """Add up the scores of the same heads over several texts.

    Raises:
        ValueError: no text, other patterns in one text than in another, or other heads.
    """
    texts = list(texts)
    if not texts:
        raise ValueError("texts is empty; give the scores of at least one text")
    names = list(texts[0])
    for scores in texts:
        if set(scores) != set(names):
            raise ValueError(
                f"scores of one text are for {', '.join(names)}, and those of another for "
                f"{', '.join(scores)}; only scores for the same patterns add up"
            )
    return {name: reduce(add, (scores[name] for scores in texts)) for name in names}


# --------------------------------------------------------------------------------- labels


def all_labels(scores: Mapping[Pattern, Tally]) -> list[tuple[Pattern, ...]]:
    """List all patterns that each head has, in the order of `PATTERNS`.

    A head has a pattern if

    - at least `FEWEST_QUERIES` queries counted,
    - its score is at least `MAJORITY`,
    - and it beats each baseline by `MARGIN`: `uniform`, and `fixed_offset` unless the pattern is
      positional. Broad has no baseline to beat: it *is* even attention.

    Induction on ordinary text mixes with much else. Take its scores from `repeated_tokens`:
    `all_labels({**scores, "induction": scores_of_repeated["induction"]})`.

    Raises:
        ValueError: there are no scores.

    >>> heads = torch.tensor([90.0, 40.0])
    >>> all_labels({"self": Tally(heads, uniform_total=10.0, queries=100)})
    [('self',), ()]
    """
    has = {name: _is_clear(name, scores[name]) for name in PATTERNS if name in scores}
    if not has:
        raise ValueError(
            f"scores is empty; give those of one pattern or more: {', '.join(PATTERNS)}"
        )
    return [
        tuple(name for name, holds in zip(has, head, strict=True) if holds)
        for head in zip(*has.values(), strict=True)
    ]


def labels(scores: Mapping[Pattern, Tally]) -> list[Label]:
    """Give each head the first of `all_labels`, or "none" if no pattern is clear.

    Raises:
        ValueError: there are no scores.

    >>> heads = torch.tensor([90.0, 40.0])
    >>> labels({"self": Tally(heads, uniform_total=10.0, queries=100)})
    ['self', 'none']
    """
    return [held[0] if held else "none" for held in all_labels(scores)]


# --------------------------------------------------------------- texts that show induction


def repeated_tokens(
    allowed: Sequence[int],
    *,
    seed: int,
    bos: int | None = None,
    period: int = 25,
    repeats: int = 4,
    samples: int = 10,
) -> Int[Tensor, "samples T"]:
    """Make texts in which only what came before can tell what comes next (Olsson et al. 2022).

    Each is `bos`, then `period` different random tokens, the same ones in the same order `repeats`
    times. On these the induction score is prefix matching: mean attention from a token to those
    after its earlier copies.

    With one period, a head that always looks period − 1 tokens back scores 1 as well, and so does
    the `fixed_offset` of the score. For a label add up the scores of all `INDUCTION_PERIODS`.

    Args:
        allowed: Ids to draw from, such as `range(vocab_size)`; `bos` is never drawn.
        seed: For the random numbers.
        bos: Id of the token that starts a text; None if the model has none.
        period: Tokens that are repeated.
        repeats: How often they stand in the text.
        samples: Number of texts.

    Raises:
        ValueError: fewer ids than `period`, fewer than 2 repeats, or no sample.
        TypeError: a number that is not an int.

    >>> repeated_tokens(range(10, 90), seed=0, bos=1, period=2, repeats=3, samples=1).tolist()
    [[1, 54, 40, 54, 40, 54, 40]]
    """
    for name, value in (("period", period), ("repeats", repeats), ("samples", samples)):
        _checks.positive_int(name, value)
    if repeats < 2:
        raise ValueError(f"repeats={repeats} must be at least 2: the first time nothing is known")
    pool = torch.tensor([token for token in allowed if token != bos], dtype=torch.int64)
    if len(pool) < period:
        raise ValueError(
            f"allowed has {len(pool)} ids beside bos, and a text needs period={period} different "
            "ones; allow more, or take a shorter period"
        )
    generator = torch.Generator().manual_seed(seed)
    start = torch.tensor([] if bos is None else [bos], dtype=pool.dtype)
    texts = []
    for _ in range(samples):
        drawn = pool[torch.randperm(len(pool), generator=generator)[:period]]
        texts.append(torch.cat([start, drawn.repeat(repeats)]))
    return torch.stack(texts)


# --------------------------------------------------------------- weights as they are needed


def visible_keys(num_tokens: int, is_causal: bool) -> Bool[Tensor, "T T"]:
    """Which keys a query sees: itself and what came before it, or all of them."""
    if is_causal:
        return causal_mask(num_tokens, num_tokens)
    return torch.ones(num_tokens, num_tokens, dtype=torch.bool)


def as_shares(weights: Float[Tensor, "h T T"], *, is_causal: bool) -> Float[Tensor, "h T T"]:
    """Check attention weights, and return them in 32 bits or more, with rows that add up to 1.

    Raises:
        ValueError: not [h, T, T], empty, rows that do not add up to 1 (NaN never does), a negative
            weight, or weight on a later token although `is_causal`.
        TypeError: no floating point.
    """
    _checks.rank("weights", weights, ("h", "T", "T"))
    _checks.floating_point("weights", weights)
    if weights.shape[1] != weights.shape[2] or not weights.numel():
        raise ValueError(
            f"weights have shape {list(weights.shape)}; they must be [h, T, T], of self-attention, "
            "and no axis may be empty"
        )
    wide = weights.detach().to(torch.promote_types(weights.dtype, torch.float32))
    sums = wide.sum(-1, keepdim=True)
    near_1 = (sums - 1).abs() <= max(_ROUNDING, torch.finfo(weights.dtype).eps)
    for i, head in enumerate(wide):
        if not near_1[i].all() or head.min() < 0:
            raise ValueError(
                f"weights of head {i} have rows that are no shares of 1; take the softmax, before "
                "dropout and without padding"
            )
        if is_causal and head.triu(1).any():
            raise ValueError(
                f"is_causal=True, but head {i} attends to later tokens; these heads see all keys: "
                "use is_causal=False"
            )
    return wide / sums


def entropy(shares: Float[Tensor, "h T T"]) -> Float[Tensor, "h T"]:
    """Entropy of each query's attention, in bits.

        H(a) = −Σ_s a_s log2 a_s,    0·log 0 = 0

    From 0, all weight on one key, to log2 of the number of keys, even weights on all of them.

    >>> entropy(torch.tensor([[[0.5, 0.5], [0.0, 1.0]]])).tolist()
    [[1.0, 0.0]]
    """
    # head by head: there is never a second [h, T, T]
    return torch.stack([torch.special.entr(head).sum(-1) for head in shares]) / math.log(2)


# ---------------------------------------------------------------------------------- parts


def _targets(wanted: Bool[Tensor, "T T"], visible: Bool[Tensor, "T T"]) -> Targets:
    number, seen = wanted.sum(1), visible.sum(1)
    has_choice = (number > 0) & (number < seen)
    query, key = (wanted & has_choice[:, None]).nonzero().unbind(1)
    return Targets(
        query,
        key,
        uniform_total=(number / seen.double())[has_choice].sum().item(),
        queries=int(has_choice.sum()),
        offset_hits=Counter((key - query).tolist()),
    )


def _is_clear(name: Pattern, tally: Tally) -> list[bool]:
    if tally.queries < FEWEST_QUERIES:
        return [False] * len(tally.total)
    least = MAJORITY
    if name != "broad":
        least = max(least, tally.uniform + MARGIN)
        if name not in POSITIONAL and tally.offset_hits:
            least = max(least, tally.fixed_offset + MARGIN)
    clear: list[bool] = (tally.score >= least).tolist()
    return clear


def _on_cpu(total: Float[Tensor, " h"]) -> Float[Tensor, " h"]:
    return total.cpu().double()  # in this order: not every device has 64 bits


def _check_whole_numbers(name: str, tensor: Tensor) -> None:
    _checks.rank(name, tensor, ("T",))
    if tensor.is_floating_point() or tensor.dtype == torch.bool:
        raise TypeError(f"{name} has dtype {tensor.dtype}; it must hold whole numbers")
