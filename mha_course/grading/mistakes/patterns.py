"""Known mistakes in the assignment `patterns`.

The functions `of_…` gather the mistakes of one task: what to tell the learner, and the wrong value
that each mistake leads to. `weights` are attention weights [h, T, T]: queries down, keys across.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from mha_course.grading.mistakes.mistake import Mistake
from mha_course.grading.reference import patterns as reference
from mha_course.heads.patterns import MAJORITY, MARGIN

# ---------------------------------------------------------------------- scores of a picture


def at_offset(weights: Tensor, offset: int) -> Tensor:
    """Weight that each query gives to the key `offset` tokens ahead: [..., T − abs(offset)]."""
    return weights.diagonal(offset, -2, -1)


def of_previous_token_score(weights: Tensor) -> list[Mistake]:
    """Mistakes in the mean weight on the token before."""
    T = weights.shape[-1]
    back = at_offset(weights, -1)  # [h, T-1]
    largest = weights.argmax(-1)[:, 1:] == torch.arange(T - 1)
    wrapped = (back.sum(-1) + weights[:, 0, -1]) / T
    return [
        Mistake(
            "This is the weight on the token after. Row t is a query: the token before it is "
            "column t − 1, below the main diagonal.",
            at_offset(weights, 1).mean(-1),
        ),
        Mistake(
            "This is the main diagonal: the weight of each token on itself. "
            "The token before is one place to the left of it.",
            at_offset(weights, 0).mean(-1),
        ),
        Mistake("This looks two tokens back. The token before is at t − 1.", _mean(weights, -2)),
        Mistake(
            "The sum is divided by T. Query 0 has no token before it, so T − 1 queries count.",
            back.sum(-1) / T,
        ),
        Mistake(
            "The first query is counted, with the last token as the one before it: index −1 "
            "wraps around. Start at query 1.",
            wrapped,
        ),
        Mistake("This is the sum. Divide it by the number of queries that count.", back.sum(-1)),
        Mistake(
            "This counts how often the token before has the largest weight. Asked is how much "
            "weight it gets, as a mean.",
            largest.double().mean(-1),
        ),
        Mistake("The heads are averaged. Return one number for each head.", back.mean()),
        Mistake(
            "This is the mean of all weights, 1/T for every head. Only the weights on the token "
            "before count.",
            weights.mean((-2, -1)),
        ),
        Mistake("These are the weights, query by query. Take their mean for each head.", back),
    ]


def _mean(weights: Tensor, offset: int) -> Tensor:
    return at_offset(weights, offset).mean(-1)


def of_mean_distance(weights: Tensor) -> list[Mistake]:
    """Mistakes in the mean over queries of Σ_s abs(t − s)·weight."""
    T = weights.shape[-1]
    position = torch.arange(T)
    ahead = (position - position[:, None]).double()  # [T, T]: s − t
    far = ahead.abs()
    w = weights.double()
    per_query = (w * far).sum(-1)  # [h, T]
    signed = (w * ahead).sum(-1)
    others = 1 - at_offset(w, 0)
    with_sign = (
        "The distances have a sign, so that looking ahead and looking back cancel. Take abs(t − s)."
    )
    return [
        Mistake(with_sign, signed.mean(-1)),
        Mistake(with_sign, -signed.mean(-1)),
        Mistake(
            "The sign is taken off too late: after the sum over the keys, looking ahead and "
            "looking back have cancelled. Take abs(t − s) of each pair first.",
            signed.abs().mean(-1),
        ),
        Mistake(
            "The distance to the key with the largest weight is taken. "
            "Every key counts, as much as its weight.",
            (w.argmax(-1) - position).abs().double().mean(-1),
        ),
        Mistake(
            "The mean is taken over the keys as well. The weights of a query add up to 1 "
            "already: sum over the keys, then take the mean over the queries.",
            (w * far).mean((-2, -1)),
        ),
        Mistake("This is the sum over the queries. Take the mean.", per_query.sum(-1)),
        Mistake("The distances are squared. Take abs(t − s).", (w * ahead**2).sum(-1).mean(-1)),
        Mistake(
            "The token itself is left out, and the rest divided by its weight. A token that "
            "looks at itself has distance 0, and that counts.",
            (per_query / others).mean(-1),
        ),
        Mistake(
            "These distances are not weighted: every head gets the same number.",
            far.mean().expand(len(w)),
        ),
        Mistake("These are distances query by query. Take the mean for each head.", per_query),
        Mistake("The heads are averaged. Return one number for each head.", per_query.mean()),
    ]


def of_column_score(weights: Tensor) -> list[Mistake]:
    """Mistakes in the largest mean weight that one key gets."""
    received = weights.mean(-2)  # [h, T]
    return [
        Mistake(
            "The mean is taken over the keys. Every row adds up to 1, so that gives 1/T for "
            "every head. Take it down a column, over the queries.",
            weights.mean(-1).amax(-1),
        ),
        Mistake(
            "This is the largest single weight. One query alone makes no column: take the mean "
            "over all queries first, then the largest.",
            weights.amax((-2, -1)),
        ),
        Mistake(
            "Each query chose its own key: this is the mean of the largest weight of each row. "
            "Take the mean down each column first, then the largest of these.",
            weights.amax(-1).mean(-1),
        ),
        Mistake(
            "The weights of a column are added up. Divide by the number of queries.",
            weights.sum(-2).amax(-1),
        ),
        Mistake(
            "This is what the first token gets. The column can be any token: take the largest.",
            received[:, 0],
        ),
        Mistake("This is the key that gets least. Take the largest mean.", received.amin(-1)),
        Mistake("These are the means of all keys. Take the largest of each head.", received),
        Mistake("This is the largest over all heads. Return one number for each.", received.max()),
    ]


def of_column_position(weights: Tensor) -> list[Mistake]:
    """Mistakes in the position of the key that gets most weight."""
    h, _, T = weights.shape
    received = weights.mean(-2)
    largest = weights.flatten(1).argmax(-1)
    return [
        Mistake(
            "That is the position counted from 1. Positions count from 0.", received.argmax(-1) + 1
        ),
        Mistake(
            "That is where the largest single weight stands. Take the mean over the queries "
            "first, then the largest.",
            largest % T,
        ),
        Mistake(
            "That is the query with the largest weight. Asked is a key: a column.",
            largest // T,
        ),
        Mistake(
            "That is the key which is most often the favourite of a query. Asked is the key with "
            "the largest mean weight.",
            weights.argmax(-1).mode(-1).values,
        ),
        Mistake("That is the key that gets least.", received.argmin(-1)),
        Mistake(
            "That is always the first token. It often is in a real model; here, look.",
            torch.zeros(h),
        ),
        Mistake("That is the weight. Asked is the position of the key.", received.amax(-1)),
    ]


def of_entropy(weights: Tensor) -> list[Mistake]:
    """Mistakes in the entropy of each row, in bits."""
    right = reference.entropy(weights)  # [h, T]
    T = weights.shape[-1]
    w = weights.double()
    found = [
        Mistake(
            "That is in nats: the logarithm to base e. Bits need base 2: log2, or divide by ln 2.",
            right * math.log(2),
        ),
        Mistake("That is the logarithm to base 10. Bits need base 2.", right * math.log10(2)),
        Mistake("The sign is missing. Logarithms of weights are negative: −Σ.", -right),
        Mistake(
            "The mean over the keys is taken. Entropy is a sum over the keys.",
            right / T,
        ),
        Mistake(
            "The sum runs over the queries. Each query has its own entropy: sum along the row, "
            "over the keys.",
            torch.special.entr(w).sum(-2) / math.log(2),
        ),
        Mistake(
            "The logarithms are not weighted. Each counts as much as its weight: −Σ a·log2 a.",
            -w.log2().sum(-1),
        ),
        Mistake(
            "This is the number of keys that even weights would need, 2 to the power of the "
            "entropy. Asked are the bits.",
            right.exp2(),
        ),
        Mistake("This is divided by log2 of T. Asked are the bits.", right / math.log2(T)),
        Mistake(
            "The mean over the queries is taken. Return one number for each query: [h, T].",
            right.mean(-1),
        ),
    ]
    for added in (0.1, 0.01, 0.001):
        for logarithm_only in (True, False):
            a = w if logarithm_only else w + added
            found.append(
                Mistake(
                    "Something is added to the weights so that log 0 does not come up, and it "
                    "changes the entropy. Leave the zeros out instead: 0·log 0 counts as 0.",
                    -(a * (w + added).log2()).sum(-1),
                )
            )
    return found


# -------------------------------------------------------------------------------- baselines


def of_uniform_weights(T: int, is_causal: bool) -> list[Mistake]:
    """Mistakes in even weights over the keys that each query sees."""
    ones = torch.ones(T, T, dtype=torch.float64)
    lower = ones.tril()
    strict = ones.tril(-1)
    found = [
        Mistake(
            "These are ones: who may see whom. Divide each row by its sum.",
            lower if is_causal else ones,
        ),
        Mistake(
            "A query sees itself, too. Here the main diagonal is left out.",
            strict / strict.sum(1, keepdim=True).clamp(min=1)
            if is_causal
            else (ones - torch.eye(T)) / (T - 1),
        ),
    ]
    if not is_causal:
        return [
            Mistake(
                "These are the weights of a causal head. With is_causal=False a query sees all "
                "keys.",
                lower / lower.sum(1, keepdim=True),
            ),
            *found,
        ]
    return [
        Mistake(
            "Later keys get weight. With is_causal=True a query sees itself and what came before.",
            ones / T,
        ),
        Mistake(
            "Later keys are set to 0, but the rest keeps 1/T: the rows no longer add up to 1. "
            "Query t sees t + 1 keys, so each gets 1/(t + 1).",
            lower / T,
        ),
        Mistake(
            "The columns add up to 1, not the rows. Divide each row by its own sum: "
            "sum(dim=1, keepdim=True).",
            lower / lower.sum(0),
        ),
        Mistake(
            "Each row is divided by the sums of all rows, one for each column. Keep the axis: "
            "sum(dim=1, keepdim=True).",
            lower / lower.sum(1),
        ),
        Mistake(
            "The wrong half is kept: these queries see themselves and what comes after.",
            ones.triu() / ones.triu().sum(1, keepdim=True),
        ),
        *found,
    ]


def of_previous_token_baseline(T: int, is_causal: bool) -> list[Mistake]:
    """Mistakes in the previous-token score of even weights."""
    seen = torch.arange(2, T + 1, dtype=torch.float64)  # keys that queries 1, 2, … see
    all_keys = Mistake(
        "That is for a head that sees all keys. A causal query t sees t + 1 keys.", 1 / T
    )
    causal = Mistake(
        "That is for a causal head. With is_causal=False every query sees T keys.",
        float((1 / seen).mean()),
    )
    if not is_causal:
        return [
            causal,
            Mistake("A query sees itself, too: there are T keys, not T − 1.", 1 / (T - 1)),
            Mistake(
                "The first query has no token before it. Leave it out of the mean: T − 1 queries "
                "count.",
                (T - 1) / T**2,
            ),
            Mistake("This is the sum. Divide by the number of queries that count.", (T - 1) / T),
        ]
    return [
        all_keys,
        Mistake(
            "The first query has no token before it. Leave it out of the mean: T − 1 queries "
            "count.",
            float((1 / seen).sum()) / T,
        ),
        Mistake(
            "The first query is counted with weight 1, and it has no token before it. "
            "Start at query 1.",
            (1 + float((1 / seen).sum())) / T,
        ),
        Mistake(
            "Query t sees t + 1 keys: itself and t before it. Here it sees only those before it.",
            float((1 / (seen - 1)).mean()),
        ),
        Mistake(
            "This is 1 divided by the mean number of keys. Take the mean of the weights, "
            "1/(t + 1), query by query: that is not the same.",
            1 / float(seen.mean()),
        ),
        Mistake(
            "This is 1 divided by the mean number of keys. Take the mean of the weights, "
            "1/(t + 1), query by query: that is not the same.",
            2 / T,
        ),
        Mistake(
            "This is the sum. Divide by the number of queries that count.", float((1 / seen).sum())
        ),
    ]


# -------------------------------------------------------------------------------- induction


def with_keys(
    weights: Tensor, period: int, keys: Callable[[int], Sequence[int]], first: int | None = None
) -> Tensor:
    """Mean over the queries from `first` on of the weight on `keys(t)`: [h]."""
    T = weights.shape[-1]
    queries = range(period if first is None else first, T)
    given = [weights[:, t, [s for s in keys(t) if 0 <= s < T]].sum(-1) for t in queries]  # each [h]
    return torch.stack(given).mean(0)


def of_induction_score(weights: Tensor, period: int) -> list[Mistake]:
    """Mistakes in the weight on the tokens after earlier copies."""
    T = weights.shape[-1]

    def right(t: int) -> range:
        return range(t - period + 1, 0, -period)

    total = with_keys(weights, period, right)
    asked = T - period
    rounds = torch.tensor([len(right(t)) for t in range(period, T)])
    found = [
        Mistake(
            "This is the weight on the earlier copy itself, at t − period. An induction head "
            "looks at the token after the copy.",
            with_keys(weights, period, lambda t: range(t - period, -1, -period)),
        ),
        Mistake(
            "This is the token before the earlier copy. Asked is the one after it: t − period + 1.",
            with_keys(weights, period, lambda t: range(t - period - 1, -1, -period)),
        ),
        Mistake(
            "The sum is divided by T. In the first round no token has an earlier copy: only "
            "queries from position period on count.",
            total * asked / T,
        ),
        Mistake("This is the sum. Divide it by the number of queries that count.", total * asked),
        Mistake(
            "Queries and keys are exchanged. The weight of query t on key s is weights[:, t, s].",
            with_keys(weights.mT, period, right),
        ),
        Mistake(
            "The first query with an earlier copy, at position period, is left out.",
            with_keys(weights, period, right, period + 1) if asked > 1 else total * 2,
        ),
        Mistake("The heads are averaged. Return one number for each head.", total.mean()),
        Mistake(
            "Key 0 is counted as a target. It follows no token, so it cannot come after a copy.",
            with_keys(weights, period, lambda t: range(t - period + 1, -1, -period)),
        ),
        Mistake(
            "Only the latest copy counts here. With more rounds, each earlier copy has a token "
            "after it: add up their weights.",
            with_keys(weights, period, lambda t: right(t)[:1]),
        ),
        Mistake(
            "Only the first copy counts here. With more rounds, each earlier copy has a token "
            "after it: add up their weights.",
            with_keys(weights, period, lambda t: right(t)[-1:]),
        ),
    ]
    if int(rounds.max()) > 1:
        per_query = torch.stack([weights[:, t, list(right(t))].mean(-1) for t in range(period, T)])
        found.append(
            Mistake(
                "The weights on several copies are averaged. Add them up: the score says how much "
                "weight goes to any of them.",
                per_query.mean(0),
            )
        )
        pairs = int(rounds.sum())
        found.append(
            Mistake(
                "The sum is divided by the number of pairs of a query and a copy. Divide by the "
                "number of queries.",
                total * asked / pairs,
            )
        )
    return found


# -------------------------------------------------------------------------------- labels


def of_classify(
    scores: Mapping[str, Sequence[float]], baselines: Mapping[str, float]
) -> list[Mistake]:
    """Mistakes in the word for each head."""
    names = list(scores)
    heads = [dict(zip(names, row, strict=True)) for row in zip(*scores.values(), strict=True)]

    def words(
        clear: Callable[[float, float], bool],
        several: Callable[[list[str], dict[str, float]], str] = lambda _, __: "mixed",
        none: Callable[[dict[str, float]], str] = lambda _: "none",
    ) -> tuple[str, ...]:
        found = []
        for head in heads:
            has = [name for name in names if clear(head[name], baselines[name])]
            found.append(has[0] if len(has) == 1 else several(has, head) if has else none(head))
        return tuple(found)

    def right(score: float, baseline: float) -> bool:
        return score >= max(MAJORITY, baseline + MARGIN)

    def highest(head: dict[str, float]) -> str:
        return max(head, key=lambda name: head[name])

    one_of_several = (
        "A head with more than one pattern got one of their words. Where several patterns reach "
        "their bar, the word is mixed."
    )
    by_place = dict(zip(names, baselines.values(), strict=True))
    in_order = tuple(
        has[0] if len(has) == 1 else "mixed" if has else "none"
        for has in ([n for n in names if right(head[n], by_place[n])] for head in heads)
    )
    return [
        Mistake(
            "The baselines are not used. A score of 0.5 that even weights get as well is no "
            "pattern: it must beat its baseline by 0.1.",
            words(lambda score, _: score >= MAJORITY),
        ),
        Mistake(
            "The score must beat its baseline by 0.1, and not only reach it.",
            words(lambda score, baseline: score >= max(MAJORITY, baseline)),
        ),
        Mistake(
            "The margin of 0.1 alone decides. The score must also be at least 0.5.",
            words(lambda score, baseline: score >= baseline + MARGIN),
        ),
        Mistake(
            "A score of exactly 0.5 is enough: at least means >=.",
            words(lambda score, baseline: score > max(MAJORITY, baseline + MARGIN)),
        ),
        Mistake(
            "Every head gets the word of its highest score. A head without a clear pattern is "
            "none.",
            tuple(highest(head) for head in heads),
        ),
        Mistake(one_of_several, words(right, lambda has, _: has[0])),
        Mistake(one_of_several, words(right, lambda has, _: has[-1])),
        Mistake(
            one_of_several, words(right, lambda has, head: max(has, key=lambda name: head[name]))
        ),
        Mistake(
            "A head with several patterns is none here. The word for it is mixed.",
            words(right, lambda *_: "none"),
        ),
        Mistake(
            "A head with no pattern is mixed here. The word for it is none.",
            words(right, none=lambda _: "mixed"),
        ),
        Mistake(
            "The baselines are taken in the order in which they stand. Take them by name: "
            "baselines[name].",
            in_order,
        ),
    ]


# ------------------------------------------------------------------------ all heads of a model


def of_find_previous_token_head(weights: Tensor) -> list[Mistake]:
    """Mistakes in the layer and the head of the highest previous-token score."""
    scores = _mean(weights, -1)  # [layers, h]
    layers, h = scores.shape
    best = int(scores.argmax())
    layer, head = divmod(best, h)

    def pair(table: Tensor) -> Tensor:
        return torch.tensor(divmod(int(table.argmax()), h))

    return [
        Mistake(
            "Layer and head are exchanged. The layer comes first, as in 2.11.",
            torch.tensor([head, layer]),
        ),
        Mistake(
            "This is the number of the head when all heads of the model are counted through. "
            f"Divide it by the number of heads of a layer, {h}: quotient and remainder.",
            torch.tensor(best),
        ),
        Mistake("Layers and heads count from 0.", torch.tensor([layer + 1, head + 1])),
        Mistake(
            "The number is divided by the number of layers. Divide it by the number of heads of a "
            "layer.",
            torch.tensor(divmod(best, layers)),
        ),
        Mistake(
            "This is the head with the highest score for the token after. Look one column to the "
            "left of the diagonal.",
            pair(_mean(weights, 1)),
        ),
        Mistake("This is the head that looks most at the token itself.", pair(_mean(weights, 0))),
        Mistake("This is the head with the lowest score.", pair(-scores)),
        Mistake(
            "This head has the largest single weight on a token before. Asked is the highest mean.",
            pair(at_offset(weights, -1).amax(-1)),
        ),
        Mistake(
            "This is the best head of each layer. Asked is the best one of all.", scores.argmax(1)
        ),
    ]


def of_count_columns(weights: Tensor, least: float) -> list[Mistake]:
    """Mistakes in the number of heads with a column."""
    received = weights.mean(-2)  # [layers, h, T]
    has = received.amax(-1) >= least
    right = int(has.sum())
    by_layer = has.sum(1)
    found = [
        Mistake(
            "The largest single weight decides here. One query alone makes no column: take the "
            "mean over the queries first.",
            int((weights.amax((-2, -1)) >= least).sum()),
        ),
        Mistake(
            "This counts keys. A head with two keys above the bar is still one head.",
            int((received >= least).sum()),
        ),
        Mistake(
            "A mean weight that is exactly at the bar is enough: at least means >=.",
            int((received.amax(-1) > least).sum()),
        ),
        Mistake(
            "Only the first token is looked at. The column can be any token.",
            int((received[..., 0] >= least).sum()),
        ),
        Mistake(
            "Each query chose its own key: the mean of the largest weight of each row decides. "
            "Take the mean down each column first.",
            int((weights.amax(-1).mean(-1) >= least).sum()),
        ),
        Mistake(
            "This counts queries with a large weight somewhere. Count heads.",
            int((weights.amax(-1) >= least).sum()),
        ),
        Mistake("This counts the heads that have no column.", int((~has).sum())),
        Mistake("This is the share of the heads. Asked is their number.", right / has.numel()),
        Mistake("This counts the layers that have such a head.", int(has.any(1).sum())),
        Mistake("This is one number for each layer. Add them up.", by_layer),
    ]
    return [mistake for mistake in found if not _is(mistake.value, right)]


def _is(value: object, right: int) -> bool:
    return not isinstance(value, Tensor) and value == right


# ------------------------------------------------------------------------------- by hand


def of_assign_by_hand(tokens: Sequence[str], wishes: Sequence[str]) -> list[Mistake]:
    """Mistakes in the weights of heads that do as they are told."""
    T = len(tokens)
    right = reference.assign_by_hand(tokens, wishes)  # [h, T, T]
    same = torch.tensor([[one == other for other in tokens] for one in tokens])
    position = torch.arange(T)
    before, itself = position < position[:, None], torch.eye(T, dtype=torch.bool)

    def with_wish(wish: str, weights: Tensor) -> Tensor:
        """Put other weights where this wish stands."""
        rows = [weights if one == wish else right[i] for i, one in enumerate(wishes)]
        return torch.stack([row.to(right.dtype) for row in rows])

    def parked(wanted: Tensor) -> Tensor:
        wanted = wanted.clone()
        wanted[:, 0] |= ~wanted.any(1)
        return wanted / wanted.sum(1, keepdim=True)

    def with_lonely(rows: Callable[[Tensor], Tensor]) -> Tensor:
        """Put other rows where a query has no target."""
        changed = right.clone()
        for i, wish in enumerate(wishes):
            lonely = {
                "previous token": position == 0,
                "next token": position == T - 1,
                "first token": position < 0,
                "same token": ~(same & ~itself).any(1),
            }[wish]
            changed[i, lonely] = rows(lonely).to(right.dtype)
        return changed

    wrapped = with_wish("previous token", itself.roll(-1, 1))
    both_wrapped = torch.stack(
        [
            itself.roll(1, 1).to(right.dtype) if wish == "next token" else wrapped[i]
            for i, wish in enumerate(wishes)
        ]
    )
    others = (same & ~itself).to(right.dtype)
    listed = [wish for wish in reference.WISHES if wish in wishes]
    alone = itself.to(right.dtype)
    return [
        Mistake(
            "A query without a target has nothing but zeros. Its weights must add up to 1, too: "
            "it gives all of it to token 0.",
            with_lonely(lambda lonely: torch.zeros(int(lonely.sum()), T)),
        ),
        Mistake(
            "A query without a target looks at itself here. It shall park on token 0.",
            with_lonely(lambda lonely: alone[lonely]),
        ),
        Mistake(
            "A query without a target looks everywhere alike here. It shall park on token 0.",
            with_lonely(lambda lonely: torch.full((int(lonely.sum()), T), 1 / T)),
        ),
        Mistake(
            "The ends are joined: the token before the first is no token, and index −1 or roll "
            "makes it the last one. A query without a target gives its weight to token 0.",
            wrapped,
        ),
        Mistake(
            "The ends are joined: the token before the first is no token, and index −1 or roll "
            "makes it the last one. A query without a target gives its weight to token 0.",
            both_wrapped,
        ),
        Mistake("Queries and keys are exchanged: row t holds what query t looks at.", right.mT),
        Mistake(
            "Previous and next are exchanged. Row t is the query: the token before it is column "
            "t − 1.",
            reference.assign_by_hand(
                tokens,
                [
                    {"previous token": "next token", "next token": "previous token"}.get(w, w)
                    for w in wishes
                ],
            ),
        ),
        Mistake(
            "The heads are in the order of the card. Head i does what wishes[i] says.",
            reference.assign_by_hand(tokens, listed),
        ),
        Mistake(
            "For the same token the query itself is counted. Asked are the other places where "
            "the token stands.",
            with_wish("same token", parked(same)),
        ),
        Mistake(
            "The weight is not shared: each target got 1, so a row adds up to more than 1.",
            with_wish(
                "same token", torch.where(others.any(1)[:, None], others, parked(same & ~itself))
            ),
        ),
        Mistake(
            "Only earlier places of the same token are found. Those after the query count, too.",
            with_wish("same token", parked(same & before)),
        ),
        Mistake(
            "Only one place of the same token gets weight. Share it evenly over all of them.",
            with_wish("same token", parked(_first_only(same & ~itself))),
        ),
        Mistake(
            "Only one place of the same token gets weight. Share it evenly over all of them.",
            with_wish("same token", parked(_first_only((same & ~itself).flip(1)).flip(1))),
        ),
    ]


def _first_only(wanted: Tensor) -> Tensor:
    return wanted & (wanted.cumsum(1) == 1)


def of_build_previous_token_head(T: int) -> list[Mistake]:
    """Mistakes in the key with the largest weight, for queries 1, 2, …, T − 1: [T-1]."""
    queries = torch.arange(1, T)
    ahead = (
        "The head looks at the token after. A score is row t of x W_Q times row s of x W_K: these "
        "two rows must be equal for s = t − 1, and not for s = t + 1."
    )
    return [
        Mistake(ahead, (queries + 1) % T),
        Mistake(ahead, (queries + 1).clamp(max=T - 1)),
        # the last query has no token after it: all its scores are alike
        Mistake(ahead, torch.where(queries + 1 < T, queries + 1, 0)),
        Mistake(
            "The head looks at the token itself: row t of W_Q meets row t of W_K. Shift one of "
            "the two by a place.",
            queries,
        ),
        Mistake(
            "All scores of a query are alike, or token 0 gets the highest. Row t of W_Q must meet "
            "row t − 1 of W_K, and be at right angles to all others.",
            torch.zeros(T - 1),
        ),
    ]


def of_target_score(share: float, num_keys: int) -> list[Mistake]:
    """Mistakes in ln(share·(n − 1)/(1 − share))."""
    odds = share / (1 - share)
    right = math.log(odds * (num_keys - 1))
    return [
        Mistake(
            "One of the keys is the target itself, so only num_keys − 1 others have score 0.",
            math.log(odds * num_keys),
        ),
        Mistake(
            "That is for one other key. There are num_keys − 1 others, each adds exp(0) = 1.",
            math.log(odds),
        ),
        Mistake(
            "That is exp(score). Take the logarithm of it.",
            math.exp(right),
        ),
        Mistake("That is in base 2. The softmax has base e: use math.log.", right / math.log(2)),
        Mistake("That is in base 10. The softmax has base e: use math.log.", right / math.log(10)),
        Mistake("The sign is wrong: a large share needs a large score.", -right),
        Mistake(
            "That is the logarithm of the share. The softmax divides by the sum over all keys: "
            "solve e^x / (e^x + num_keys − 1) = share for x.",
            math.log(share),
        ),
        Mistake(
            "That is the share. Asked is the score that leads to it.",
            share,
        ),
        Mistake(
            "The other keys are left out of the sum. Solve e^x / (e^x + num_keys − 1) = share.",
            math.log(share * (num_keys - 1)),
        ),
    ]
