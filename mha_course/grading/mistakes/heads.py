"""Known mistakes in the assignment `heads`.

The small functions compute what a mistaken function would return. The functions `of_…` gather
them for one task, as the list that a check compares a wrong answer with.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from mha_course.grading.mistakes.mistake import Mistake
from mha_course.grading.reference import heads as reference

# ------------------------------------------------------------------ attention of one head


def scores_without_softmax(query: Tensor, key: Tensor) -> Tensor:
    """Return scores in place of weights."""
    return query @ key.mT / math.sqrt(query.shape[-1])


def weights_with_scores_times(factor: float, query: Tensor, key: Tensor) -> Tensor:
    """Scale the scores with a factor that is not 1/√d_head."""
    return (query @ key.mT * factor).softmax(dim=-1)


def weights_scaled_after_softmax(query: Tensor, key: Tensor) -> Tensor:
    """Divide the weights, not the scores."""
    return (query @ key.mT).softmax(dim=-1) / math.sqrt(query.shape[-1])


def softmax_over_queries(query: Tensor, key: Tensor) -> Tensor:
    """Let the queries compete for a key, in place of the keys for a query."""
    return scores_without_softmax(query, key).softmax(dim=-2)


def softmax_over_axis(axis: int, query: Tensor, key: Tensor) -> Tensor:
    """Take the softmax over an axis in front, such as the heads or the batch."""
    return scores_without_softmax(query, key).softmax(dim=axis)


def softmax_over_everything(query: Tensor, key: Tensor) -> Tensor:
    """Make all weights of a head add up to 1 together, in place of each row."""
    scores = scores_without_softmax(query, key)
    return scores.flatten(start_dim=-2).softmax(dim=-1).view(scores.shape)


def of_attention_weights(query: Tensor, key: Tensor) -> list[Mistake]:
    """Mistakes in softmax(QKᵀ/√d_head), for query [..., T_q, d_head] and key [..., T_k, d_head]."""
    d_head, num_keys = query.shape[-1], key.shape[-2]
    one_average = "one-average-per-query"
    found = [
        Mistake(
            "The scores are not scaled. Divide them by √d_head before the softmax.",
            weights_with_scores_times(1.0, query, key),
        ),
        Mistake(
            "The scores are multiplied by √d_head. Divide by it.",
            weights_with_scores_times(math.sqrt(d_head), query, key),
        ),
        Mistake(
            "The scores are divided by d_head. The root is missing: divide by √d_head.",
            weights_with_scores_times(1 / d_head, query, key),
        ),
        Mistake(
            "The scores are divided by the root of the number of keys. "
            "Divide by √d_head, the root of the last axis of query.",
            weights_with_scores_times(1 / math.sqrt(num_keys), query, key),
        ),
        Mistake(
            "The weights are divided by √d_head, after the softmax, so the rows do not add up "
            "to 1. Divide the scores, before the softmax.",
            weights_scaled_after_softmax(query, key),
        ),
        Mistake(
            "The softmax runs over the queries. Each query shares out its attention over the "
            "keys: the softmax runs over the last axis, and every row adds up to 1.",
            softmax_over_queries(query, key),
            one_average,
        ),
        Mistake(
            "The softmax runs over queries and keys together. Each query has its own "
            "softmax over the keys: every row adds up to 1.",
            softmax_over_everything(query, key),
            one_average,
        ),
        Mistake(
            "These are the scores. The softmax over the keys is missing.",
            scores_without_softmax(query, key),
            one_average,
        ),
        Mistake(
            "Each weight is made of its own score alone, with a sigmoid. The keys share out the "
            "attention of a query: the softmax makes each row add up to 1.",
            scores_without_softmax(query, key).sigmoid(),
            one_average,
        ),
    ]
    if query.dim() == 4:
        h = query.shape[1]
        found += [
            Mistake(
                "The scores are divided by √d_model, with d_model = h·d_head. A score adds up "
                "d_head products, so divide by √d_head.",
                weights_with_scores_times(1 / math.sqrt(h * d_head), query, key),
            ),
            Mistake(
                "The scores are divided by √h. The number of heads has no part in it: divide "
                "by √d_head.",
                weights_with_scores_times(1 / math.sqrt(h), query, key),
            ),
        ]
    for axis in range(query.dim() - 2):
        found.append(
            Mistake(
                f"The softmax runs over axis {axis}, which is no axis of keys. "
                "The keys are the last axis of the scores: use dim=-1.",
                softmax_over_axis(axis, query, key),
                one_average,
            )
        )
    return found


def of_attend(query: Tensor, key: Tensor, value: Tensor) -> list[Mistake]:
    """Mistakes in softmax(QKᵀ/√d_head)·V; a mistake in the weights is named as such."""
    weights = reference.attention_weights(query, key)
    found = [
        Mistake(
            "The keys are averaged. The weights come from query and key, but the average is "
            "taken of the values: weights @ value.",
            weights @ key,
        ),
        Mistake("These are the weights. Multiply them with the values: weights @ value.", weights),
        Mistake(
            "This is the plain mean of the values, the same for every query. "
            "Weight the values with the attention weights.",
            value.mean(dim=-2, keepdim=True).expand(*weights.shape[:-1], value.shape[-1]),
        ),
        Mistake(
            "Each query gets the value of its best key alone. A head averages all values, each "
            "with its weight.",
            nn.functional.one_hot(weights.argmax(dim=-1), weights.shape[-1]).to(value) @ value,
        ),
    ]
    return found + [
        Mistake(f"In the attention weights: {m.says}", m.value @ value, m.read)
        for m in of_attention_weights(query, key)
        if isinstance(m.value, Tensor)
    ]


def of_mean_pattern(patterns: Sequence[Sequence[float]]) -> list[Mistake]:
    """Mistakes in the mean of several patterns over the same keys."""
    table = torch.tensor(patterns, dtype=torch.float64)  # [patterns, T_k]
    found = [
        Mistake(
            "These are the sums. Divide by the number of patterns, so that the mean adds up to 1.",
            table.sum(dim=0),
        ),
        Mistake(
            "The mean is taken within each pattern: one number per pattern came out. Take it "
            "over the patterns, position by position: one number per key.",
            table.mean(dim=1),
        ),
        Mistake(
            "The sums are divided by the number of keys. Divide by the number of patterns.",
            table.sum(dim=0) / table.shape[1],
        ),
        Mistake("This is the largest weight at each position, not the mean.", table.amax(dim=0)),
        Mistake("This is the median at each position, not the mean.", table.median(dim=0).values),
    ]
    if table.shape == (3, 6):
        found.append(
            Mistake(
                "These numbers can be found in an article, but they add up to 1.1. "
                "A mean of patterns adds up to 1: compute it.",
                torch.tensor([0.1, 0.5, 0.1, 0.1, 0.0, 0.3], dtype=torch.float64),
            )
        )
    return found


# ---------------------------------------------------------------------- split and merge


def split_by_view(x: Tensor, num_heads: int) -> Tensor:
    """Rename the axes with one view: a head then gets a run of tokens, not a slice of each."""
    batch, time, width = x.shape
    return x.reshape(batch, num_heads, time, width // num_heads)


def split_interleaved(x: Tensor, num_heads: int) -> Tensor:
    """Deal the columns out to the heads in turn: (d h) in place of (h d)."""
    batch, time, width = x.shape
    return x.reshape(batch, time, width // num_heads, num_heads).permute(0, 3, 1, 2)


def split_without_transpose(x: Tensor, num_heads: int) -> Tensor:
    """Cut the last axis and leave the head axis behind the time axis."""
    batch, time, width = x.shape
    return x.reshape(batch, time, num_heads, width // num_heads)


def merge_by_view(x: Tensor) -> Tensor:
    """Flatten without moving the head axis back."""
    batch, heads, time, d_head = x.shape
    return x.reshape(batch, time, heads * d_head)


def merge_interleaved(x: Tensor) -> Tensor:
    """Put column 0 of all heads first, then column 1 of all heads, and so on."""
    return x.permute(0, 2, 3, 1).flatten(start_dim=2)


_SPLIT_BY_VIEW = (
    "The split is view(B, h, T, d_head). That only renames the axes: a head then gets a run of "
    "whole tokens. Use view(B, T, h, d_head), then transpose(1, 2)."
)
_SPLIT_INTERLEAVED = (
    "The columns are dealt out in turn, (d h) in place of (h d): head 0 got columns 0, h, 2h, … "
    "A head gets neighbouring columns: view(B, T, h, d_head), then transpose(1, 2)."
)
_MERGE_BY_VIEW = (
    "The heads are merged without transposing back, so that tokens are mixed up. "
    "Use transpose(1, 2) first, then flatten the last two axes."
)
_MERGE_INTERLEAVED = (
    "The columns of the heads are interleaved. Keep the columns of a head together: "
    "transpose(1, 2), then flatten the last two axes."
)


def of_split_heads(x: Tensor, num_heads: int) -> list[Mistake]:
    """Mistakes in cutting [B, T, h·d_head] into [B, h, T, d_head]."""
    return [
        Mistake(_SPLIT_BY_VIEW, split_by_view(x, num_heads), "the-view-mistake"),
        Mistake(_SPLIT_INTERLEAVED, split_interleaved(x, num_heads)),
        Mistake(
            "The head axis stands behind the time axis: [B, T, h, d_head]. "
            "Move it forward with transpose(1, 2).",
            split_without_transpose(x, num_heads),
        ),
    ]


def of_merge_heads(x: Tensor) -> list[Mistake]:
    """Mistakes in putting [B, h, T, d_head] together to [B, T, h·d_head]."""
    return [
        Mistake(_MERGE_BY_VIEW, merge_by_view(x), "the-view-mistake"),
        Mistake(_MERGE_INTERLEAVED, merge_interleaved(x)),
        Mistake(
            "The heads are added up. Put them side by side: the last axis is h·d_head wide.",
            x.sum(dim=1),
        ),
        Mistake(
            "The heads are averaged. Put them side by side: the last axis is h·d_head wide.",
            x.mean(dim=1),
        ),
    ]


# ------------------------------------------------------------------------- multi-head


def multi_head_variant(
    x: Tensor,
    W_Q: Tensor,
    W_K: Tensor,
    W_V: Tensor,
    W_O: Tensor | None,
    num_heads: int,
    *,
    split: Callable[[Tensor, int], Tensor] = reference.split_heads,
    weights: Callable[[Tensor, Tensor], Tensor] = reference.attention_weights,
    merge: Callable[[Tensor], Tensor] = reference.merge_heads,
) -> Tensor:
    """Multi-head self-attention with one part exchanged; W_O=None leaves the projection out."""
    q, k, v = (split(x @ W, num_heads) for W in (W_Q, W_K, W_V))
    merged = merge(weights(q, k) @ v)
    return merged if W_O is None else merged @ W_O


def heads_on_slices_of_input(
    x: Tensor, W_Q: Tensor, W_K: Tensor, W_V: Tensor, W_O: Tensor, num_heads: int
) -> Tensor:
    """Give each head a slice of the input's columns in place of the whole input.

    It can be computed where h·d_head = d_model only.
    """
    d_head = x.shape[-1] // num_heads
    heads = []
    for i in range(num_heads):
        part = slice(i * d_head, (i + 1) * d_head)
        q, k, v = (x[..., part] @ W[part, part] for W in (W_Q, W_K, W_V))
        heads.append(reference.attend(q, k, v))
    return torch.cat(heads, dim=-1) @ W_O


def of_multi_head(
    x: Tensor, W_Q: Tensor, W_K: Tensor, W_V: Tensor, W_O: Tensor, num_heads: int
) -> list[Mistake]:
    """Mistakes in multi-head self-attention, those of its parts among them."""
    given = (x, W_Q, W_K, W_V, W_O, num_heads)

    split_says, merge_says = (
        f"In split_heads: {_SPLIT_BY_VIEW}",
        f"In merge_heads: {_MERGE_BY_VIEW}",
    )
    found = [
        Mistake(
            "The output projection is missing: multiply the merged heads with W_O.",
            multi_head_variant(x, W_Q, W_K, W_V, None, num_heads),
            "a-sum-over-heads",
        ),
        Mistake(
            "There is one head only. Split the queries, keys and values before attending.",
            reference.attend(x @ W_Q, x @ W_K, x @ W_V) @ W_O,
            "split-and-merge",
        ),
        Mistake(split_says, multi_head_variant(*given, split=split_by_view), "the-view-mistake"),
        Mistake(
            f"{split_says} The merge has the matching mistake.",
            multi_head_variant(*given, split=split_by_view, merge=merge_by_view),
            "the-view-mistake",
        ),
        Mistake(
            f"In split_heads: {_SPLIT_INTERLEAVED}",
            multi_head_variant(*given, split=split_interleaved),
            "split-and-merge",
        ),
        Mistake(
            f"In split_heads: {_SPLIT_INTERLEAVED} The merge has the matching mistake.",
            multi_head_variant(*given, split=split_interleaved, merge=merge_interleaved),
            "split-and-merge",
        ),
        Mistake(merge_says, multi_head_variant(*given, merge=merge_by_view), "the-view-mistake"),
        Mistake(
            f"In merge_heads: {_MERGE_INTERLEAVED}",
            multi_head_variant(*given, merge=merge_interleaved),
            "split-and-merge",
        ),
        Mistake(
            "The keys are averaged in place of the values: W_K is used where W_V belongs.",
            multi_head_variant(x, W_Q, W_K, W_K, W_O, num_heads),
            "one-average-per-query",
        ),
        Mistake(
            "Queries and keys are exchanged: W_Q makes the queries, W_K makes the keys.",
            multi_head_variant(x, W_K, W_Q, W_V, W_O, num_heads),
            "one-average-per-query",
        ),
        Mistake(
            "No weights seem to be applied: the output is x @ W_V @ W_O, token by token.",
            x @ W_V @ W_O,
            "one-average-per-query",
        ),
    ]
    q, k, v = (reference.split_heads(x @ W, num_heads) for W in (W_Q, W_K, W_V))
    found += [
        Mistake(
            f"In the attention weights: {m.says}",
            reference.merge_heads(m.value @ v) @ W_O,
            m.read or "one-average-per-query",
        )
        for m in of_attention_weights(q, k)
        if isinstance(m.value, Tensor)
    ]
    if W_Q.shape[0] == W_Q.shape[1]:
        found += [
            Mistake(
                "Each head gets a slice of the input. Every head sees all of x: multiply x "
                "with W_Q, W_K, W_V first, and split the results.",
                heads_on_slices_of_input(*given),
                "split-and-merge",
            ),
            Mistake(
                "The weights are transposed, as nn.Linear stores them. Here they are stored "
                "so that x @ W_Q is right.",
                multi_head_variant(x, W_Q.T, W_K.T, W_V.T, W_O.T, num_heads),
                "split-and-merge",
            ),
        ]
    else:
        # otherwise √d_model is √(h·d_head), which of_attention_weights knows
        factor = 1 / math.sqrt(x.shape[-1])
        found.append(
            Mistake(
                "The scores are divided by √d_model. A head is d_head wide: divide by √d_head.",
                reference.merge_heads(weights_with_scores_times(factor, q, k) @ v) @ W_O,
                "one-average-per-query",
            )
        )
    return found


# ------------------------------------------------------------------ contributions of heads


def of_head_contributions(z: Tensor, W_O: Tensor) -> list[Mistake]:
    """Mistakes in Σ_i z_i·W_O_i, for z [B, h, T, d_head] and W_O [h·d_head, d_model]."""
    _, h, _, d_head = z.shape
    total = reference.merge_heads(z) @ W_O  # [B, T, d_model]
    right = reference.head_contributions(z, W_O)
    found = [
        Mistake(
            "This is the sum over the heads. Keep the heads apart: the sum is taken later.", total
        ),
        Mistake(
            "Every head gets the same share of the output. Head i adds its own z_i times its "
            "own rows of W_O.",
            total.unsqueeze(1).expand(-1, h, -1, -1) / h,
        ),
        Mistake(
            "Every head gets the whole output. Head i adds its own z_i times its own rows of W_O.",
            total.unsqueeze(1).expand(-1, h, -1, -1),
        ),
        Mistake(
            "The rows of W_O are dealt out in turn, 0, h, 2h, … to head 0. Head i has "
            "neighbouring rows: i·d_head up to (i+1)·d_head − 1.",
            z @ W_O.reshape(d_head, h, -1).transpose(0, 1),
        ),
        Mistake(
            "All heads use the same rows of W_O. Head i uses rows i·d_head up to (i+1)·d_head − 1.",
            z @ W_O[:d_head],
        ),
        Mistake(
            "The axes are [B, T, h, d_model]. Put the head axis second: [B, h, T, d_model].",
            right.transpose(1, 2),
        ),
    ]
    if W_O.shape[0] == W_O.shape[1]:
        own_columns = torch.eye(h, dtype=total.dtype).repeat_interleave(
            d_head, dim=1
        )  # [h, d_model]
        found += [
            Mistake(
                "The output is cut into slices of columns. Every head can write to all columns "
                "of the output: cut W_O along its rows, before the sum.",
                total.unsqueeze(1) * own_columns[:, None, :],
            ),
            Mistake(
                "The columns of W_O are cut. The heads meet its rows, so cut it along axis 0.",
                z @ W_O.T.reshape(h, d_head, -1),
            ),
        ]
    return found


# -------------------------------------------------------------------------- counting


def of_head_dim(d_model: int, num_heads: int) -> list[Mistake]:
    """Mistakes in d_model / h."""
    return [
        Mistake("That is d_model·h. The heads share d_model: divide.", d_model * num_heads),
        Mistake("That is the number of heads. Asked is the width of one head.", num_heads),
        Mistake("That is d_model. Asked is the width of one head.", d_model),
        Mistake("That is √d_model. Divide d_model by the number of heads.", math.sqrt(d_model)),
        Mistake(
            "That is √d_head, the scale of the scores. Asked is d_head.",
            math.sqrt(d_model / num_heads),
        ),
    ]


def of_mha_parameters(d_model: int, num_heads: int, *, bias: bool) -> list[Mistake]:
    """Mistakes in 4·d_model² (+ 4·d_model)."""
    d, h = d_model, num_heads
    weights, biases = 4 * d * d, 4 * d
    depends_on_h = (
        "The count depends on h. Each head is d_model/h wide, so all heads together have as many "
        "parameters as one head of full width."
    )
    found = [
        Mistake(
            "The biases are forgotten: each of the four projections has one of d_model numbers.",
            weights,
        )
        if bias
        else Mistake("Biases are counted although bias is False.", weights + biases),
        Mistake(
            "W_O is forgotten: there are four matrices, W_Q, W_K, W_V and W_O.",
            3 * d * d + (3 * d if bias else 0),
        ),
        Mistake(
            "That is the matrix W_O, or one of the others, alone: there are four.",
            d * d + (d if bias else 0),
        ),
    ]
    # h full-width heads, with one W_O of d², one of h·d², or none; then narrow ones counted once
    matrices = [4 * d * d * h, 3 * d * d * h, 3 * d * d * h + d * d]
    matrices += [4 * d * d // h, 3 * d * d // h, 3 * d * d // h + d * d]
    some_biases = (0, d, 3 * d, biases, 3 * d * h, 3 * d * h + d, biases * h, biases // h)
    found += [Mistake(depends_on_h, m + b) for m in matrices for b in some_biases]
    if bias:
        found += [
            Mistake("One bias is counted. Each of the four projections has one.", weights + d),
            Mistake("The bias of one projection is missing: there are four.", weights + 3 * d),
            Mistake(
                "The biases are counted as d_head numbers. All heads together make a projection "
                "d_model wide, and its bias has d_model numbers.",
                weights + biases // h,
            ),
            Mistake(
                f"{depends_on_h} That holds for the biases too.",
                weights + biases * h,
            ),
        ]
    return found


def of_price_of_the_output_projection() -> list[Mistake]:
    """Mistakes in 4·d_model² / 3·d_model²."""
    return [
        Mistake(
            "That is what comes on top. Asked is the ratio, with W_O to without W_O: 1 + this.",
            1 / 3,
        ),
        Mistake("The ratio is upside down: divide the count with W_O by the one without.", 3 / 4),
        Mistake("That is a percentage. Asked is the ratio of the two counts.", 100 / 3),
        Mistake("That is a percentage. Asked is the ratio of the two counts.", 400 / 3),
        Mistake(
            "That is the ratio with W_O on both sides. Here the single head has no W_O.",
            1.0,
        ),
        Mistake(
            "That is the ratio for a whole block with its feed-forward part. "
            "Count W_Q, W_K, W_V and W_O only.",
            12 / 11,
        ),
        Mistake("That is the number of matrices. Asked is the ratio of two counts.", 4.0),
    ]


def of_same_with_w_o() -> list[Mistake]:
    """Mistakes in 4·d_model² / 4·d_model²."""
    without = (
        "That is the ratio with a single head without W_O. Here both have W_O: "
        "the number of heads alone costs nothing."
    )
    return [Mistake(without, 4 / 3), Mistake(without, 3 / 4)]
