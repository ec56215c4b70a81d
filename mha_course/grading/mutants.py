"""Multi-head attention with one mistake in it: functions that are wrong, and counts that are.

`right` puts multi-head attention together from `Parts`. A mutant is `right` with one part
exchanged, or a few lines around it. A good test accepts `right` and rejects every mutant; most
of them return tensors of the right shape, and look right with one head or one token.

    output, weights = right(module, query, key, value, is_causal=True)

Axis names: B batch, h query heads, g key/value heads, T_q queries, T_k keys, d_head width of a
query and of a key, d_v width of a value.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple, Protocol, TypedDict, Unpack

import torch
from torch import Tensor, nn

from mha_course.attention import merge_heads, split_heads
from mha_course.grading.mistakes.heads import (
    merge_by_view,
    merge_interleaved,
    split_by_view,
    split_interleaved,
)
from mha_course.masks import causal_mask
from mha_course.multi_head import MultiHeadAttention
from mha_course.shapes import AttentionShape

Answer = tuple[Tensor, Tensor]  # output [B, T_q, d_model], weights [B, h, T_q, T_k]


class Options(TypedDict, total=False):
    """Keywords of every variant, with the meaning they have in `MultiHeadAttention.forward`."""

    attn_mask: Tensor | None
    is_causal: bool
    head_gates: Tensor | None


class Variant(Protocol):
    """Multi-head attention with the parameters of a module, right or wrong."""

    def __call__(  # noqa: D102
        self,
        module: MultiHeadAttention,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        **options: Unpack[Options],
    ) -> Answer: ...


class Mutant(NamedTuple):
    """A wrong variant.

    Attributes:
        name: The mistake in a few words.
        says: What is wrong and what is right, in a sentence or two, for the learner.
        function: The wrong multi-head attention.
    """

    name: str
    says: str
    function: Variant


class WrongCount(NamedTuple):
    """A wrong number of parameters, of an attention whose heads fill d_model.

    Attributes:
        name: The mistake in a few words.
        says: What is wrong and what is right, in a sentence or two, for the learner.
        function: The wrong number, from d_model and h.
    """

    name: str
    says: str
    function: Callable[[int, int], int]


# ------------------------------------------------------------------------------- the right parts


def project(w: nn.Linear, x: Tensor, num_heads: int) -> Tensor:  # noqa: ARG001
    """Apply one of the four projections to the whole input; the number of heads is not needed."""
    out: Tensor = w(x)
    return out


def share(kv: Tensor, group: int) -> Tensor:
    """Give neighbouring query heads the same key/value head: [B, g, T_k, …] to [B, h, T_k, …]."""
    return kv.repeat_interleave(group, dim=1)


def scale(s: AttentionShape) -> float:
    """Return the factor of the scores, 1/√d_head."""
    return 1 / math.sqrt(s.d_head)


def allow(scores: Tensor, attn_mask: Tensor | None, is_causal: bool) -> Tensor:
    """Return who may attend to whom, as large as the scores: [B, h, T_q, T_k]."""
    allowed = torch.ones_like(scores, dtype=torch.bool)
    if attn_mask is not None:
        allowed = allowed & attn_mask
    if is_causal:
        allowed = allowed & causal_mask(scores.shape[-2], scores.shape[-1], scores.device)
    return allowed


def weigh(scores: Tensor, allowed: Tensor) -> Tensor:
    """Softmax over the keys that are allowed; zeros where none is."""
    nothing = ~allowed.any(dim=-1, keepdim=True)
    weights = scores.masked_fill(~allowed & ~nothing, -math.inf).softmax(dim=-1)
    return weights.masked_fill(nothing, 0.0)


def drop(weights: Tensor, module: MultiHeadAttention) -> Tensor:
    """Drop weights in training, and only then."""
    return nn.functional.dropout(weights, module.dropout, training=module.training)


def mix(weights: Tensor, k: Tensor, v: Tensor) -> Tensor:  # noqa: ARG001
    """Average the values; the keys are not needed any more."""
    return weights @ v


class Parts(NamedTuple):
    """The parts of multi-head attention; the defaults are right."""

    project: Callable[[nn.Linear, Tensor, int], Tensor] = project
    split: Callable[[Tensor, int], Tensor] = split_heads
    share: Callable[[Tensor, int], Tensor] = share
    scale: Callable[[AttentionShape], float] = scale
    allow: Callable[[Tensor, Tensor | None, bool], Tensor] = allow
    weigh: Callable[[Tensor, Tensor], Tensor] = weigh
    drop: Callable[[Tensor, MultiHeadAttention], Tensor] = drop
    mix: Callable[[Tensor, Tensor, Tensor], Tensor] = mix
    merge: Callable[[Tensor], Tensor] = merge_heads


RIGHT = Parts()


def heads(
    module: MultiHeadAttention,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    attn_mask: Tensor | None = None,
    is_causal: bool = False,
    head_gates: Tensor | None = None,
    parts: Parts = RIGHT,
) -> Answer:
    """Return the gated output z of each head, [B, h, T_q, d_v], and the weights."""
    h, g = module.shape.num_heads, module.shape.num_kv_heads
    q = parts.split(parts.project(module.w_q, query, h), h)  # [B, h, T_q, d_head]
    k = parts.split(parts.project(module.w_k, key, g), g)  # [B, g, T_k, d_head]
    v = parts.split(parts.project(module.w_v, value, g), g)  # [B, g, T_k, d_v]
    k, v = parts.share(k, h // g), parts.share(v, h // g)  # [B, h, T_k, …]
    scores = q @ k.mT * parts.scale(module.shape)  # [B, h, T_q, T_k]
    weights = parts.weigh(scores, parts.allow(scores, attn_mask, is_causal))
    z = parts.mix(parts.drop(weights, module), k, v)
    if head_gates is not None:
        z = z * head_gates[..., None, None]
    return z, weights


def right(
    module: MultiHeadAttention,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    parts: Parts = RIGHT,
    **options: Unpack[Options],
) -> Answer:
    """Multi-head attention, right unless one of its parts is exchanged."""
    z, weights = heads(module, query, key, value, parts=parts, **options)
    return parts.project(module.w_o, parts.merge(z), 1), weights


# ------------------------------------------------------------------------------- the wrong parts


def project_slices(w: nn.Linear, x: Tensor, num_heads: int) -> Tensor:
    """Show each head its own slice of the input's columns only."""
    columns = torch.arange(x.shape[-1], device=x.device).tensor_split(num_heads)
    rows = w.weight.chunk(num_heads)  # of each head
    out = torch.cat([x[..., c] @ r[:, c].T for c, r in zip(columns, rows, strict=True)], dim=-1)
    return out if w.bias is None else out + w.bias


def project_without_bias(w: nn.Linear, x: Tensor, num_heads: int) -> Tensor:  # noqa: ARG001
    """Multiply with the matrix, and forget the bias."""
    return x @ w.weight.T


def merge_by_view_after_transpose(z: Tensor) -> Tensor:
    """Call .view on what .transpose returned: the numbers do not lie in that order."""
    batch, _, num_queries, _ = z.shape
    return z.transpose(1, 2).view(batch, num_queries, -1)


def allow_what_is_forbidden(scores: Tensor, attn_mask: Tensor | None, is_causal: bool) -> Tensor:
    """Read the mask as True = may not attend."""
    return allow(scores, None if attn_mask is None else ~attn_mask, is_causal)


def allow_in_the_wrong_order(scores: Tensor, attn_mask: Tensor | None, is_causal: bool) -> Tensor:
    """Lay the mask out as h·B rows where the heads are laid out as B·h."""
    allowed = allow(scores, attn_mask, is_causal)
    return allowed.transpose(0, 1).reshape(allowed.shape)


def allow_the_future_without_mask(
    scores: Tensor, attn_mask: Tensor | None, is_causal: bool
) -> Tensor:
    """Heed is_causal only where there is a mask too."""
    return allow(scores, attn_mask, is_causal and attn_mask is not None)


def allow_the_future_beside_a_mask(
    scores: Tensor, attn_mask: Tensor | None, is_causal: bool
) -> Tensor:
    """Take is_causal as a hint that the mask is causal already."""
    return allow(scores, attn_mask, is_causal and attn_mask is None)


def allow_from_the_top_left(scores: Tensor, attn_mask: Tensor | None, is_causal: bool) -> Tensor:
    """Have the first query meet the first key, in place of the last query the last key."""
    allowed = allow(scores, attn_mask, is_causal=False)
    return allowed.tril() if is_causal else allowed


def allow_the_past_only(scores: Tensor, attn_mask: Tensor | None, is_causal: bool) -> Tensor:
    """Forbid a token to attend to itself too."""
    num_queries, num_keys = scores.shape[-2:]
    allowed = allow(scores, attn_mask, is_causal=False)
    return allowed.tril(num_keys - num_queries - 1) if is_causal else allowed


def weigh_over_queries(scores: Tensor, allowed: Tensor) -> Tensor:
    """Let the queries compete for a key."""
    return weigh(scores.mT, allowed.mT).mT


def weigh_over_heads(scores: Tensor, allowed: Tensor) -> Tensor:
    """Let the heads compete for a pair of query and key."""
    return weigh(scores.transpose(1, 3), allowed.transpose(1, 3)).transpose(1, 3)


def weigh_with_scores_of_zero(scores: Tensor, allowed: Tensor) -> Tensor:
    """Set forbidden scores to 0, and e to that is 1."""
    return scores.masked_fill(~allowed, 0.0).softmax(dim=-1)


def weigh_then_mask(scores: Tensor, allowed: Tensor) -> Tensor:
    """Take the forbidden shares away after the softmax; the rest is not shared out anew."""
    return scores.softmax(dim=-1) * allowed


def weigh_with_nan(scores: Tensor, allowed: Tensor) -> Tensor:
    """Set forbidden scores to −inf, also where a row then has nothing else: 0/0."""
    return scores.masked_fill(~allowed, -math.inf).softmax(dim=-1)


def weigh_with_nan_replaced(scores: Tensor, allowed: Tensor) -> Tensor:
    """Replace that NaN by zeros afterwards: right on the way forth, NaN on the way back."""
    minus_inf = torch.zeros_like(scores).masked_fill(~allowed, -math.inf)
    return (scores + minus_inf).softmax(dim=-1).nan_to_num(0.0)


def weigh_with_a_large_number(scores: Tensor, allowed: Tensor) -> Tensor:
    """Set forbidden scores to −10⁹: a row that has nothing else gets equal shares."""
    return scores.masked_fill(~allowed, -1e9).softmax(dim=-1)


# --------------------------------------------------------------------- wrong around the parts


def without_w_o(
    module: MultiHeadAttention,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    **options: Unpack[Options],
) -> Answer:
    """Return the merged heads: as wide as h·d_v."""
    z, weights = heads(module, query, key, value, **options)
    return merge_heads(z), weights


def with_key_in_place_of_value(
    module: MultiHeadAttention,
    query: Tensor,
    key: Tensor,
    value: Tensor,  # noqa: ARG001
    **options: Unpack[Options],
) -> Answer:
    """Make the values from the keys' input. Nobody notices while the two are the same."""
    return right(module, query, key, key, **options)


def with_query_overwritten(
    module: MultiHeadAttention,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    **options: Unpack[Options],
) -> Answer:
    """Call what a head adds to the output `query`, so that the next head starts from it."""
    added, weights = [], []
    for i, w_o in enumerate(module.w_o.weight.chunk(module.shape.num_heads, dim=1)):
        z, a = heads(module, query, key, value, **options)
        query = z[:, i] @ w_o.T  # what head i adds to the output: [B, T_q, d_model]
        added.append(query)
        weights.append(a[:, i])
    output = torch.stack(added).sum(dim=0)
    if module.w_o.bias is not None:
        output = output + module.w_o.bias
    return output, torch.stack(weights, dim=1)


def with_bias_of_every_head(
    module: MultiHeadAttention,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    **options: Unpack[Options],
) -> Answer:
    """Add the bias of W_O once for each head: Σ_i (z_i W_O_i + b_O)."""
    output, weights = right(module, query, key, value, **options)
    if module.w_o.bias is None:
        return output, weights
    return output + (module.shape.num_heads - 1) * module.w_o.bias, weights


def with_averaged_weights(
    module: MultiHeadAttention,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    **options: Unpack[Options],
) -> Answer:
    """Return the mean of the heads' weights: [B, T_q, T_k]."""
    output, weights = right(module, query, key, value, **options)
    return output, weights.mean(dim=1)


def with_gates_on_the_output(
    module: MultiHeadAttention,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    **options: Unpack[Options],
) -> Answer:
    """Gate slices of the output's columns, as if column c belonged to head c // d_head."""
    gates = options.pop("head_gates", None)
    output, weights = right(module, query, key, value, **options)
    if gates is None:
        return output, weights
    columns = torch.arange(output.shape[-1], device=output.device)
    owner = columns * module.shape.num_heads // output.shape[-1]  # [d_model], a head each
    return output * gates[..., owner].unsqueeze(-2), weights


def with_gates_on_the_weights(
    module: MultiHeadAttention,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    **options: Unpack[Options],
) -> Answer:
    """Gate the scores: a gate of 0 then averages all values, it does not remove the head."""
    gates = options.pop("head_gates", None)
    if gates is None:
        return right(module, query, key, value, **options)

    def weigh_gated(scores: Tensor, allowed: Tensor) -> Tensor:
        return weigh(scores * gates[..., None, None], allowed)

    parts = RIGHT._replace(weigh=weigh_gated)
    return right(module, query, key, value, parts=parts, **options)


# ----------------------------------------------------------------------------------- the lists

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "a head gets a slice of the input",
        "Each head projects its own slice of the input. Every head sees all columns: "
        "project first, then split.",
        partial(right, parts=Parts(project=project_slices)),
    ),
    Mutant(
        "split by one view",
        "view(B, h, T, d_head) only renames the axes: a head gets a run of whole tokens. "
        "Use view(B, T, h, d_head), then transpose(1, 2).",
        partial(right, parts=Parts(split=split_by_view)),
    ),
    Mutant(
        "merge without transposing back",
        "The heads are flattened where they stand, so that tokens are mixed up. "
        "Move the head axis back with transpose(1, 2) first.",
        partial(right, parts=Parts(merge=merge_by_view)),
    ),
    Mutant(
        "split and merge by one view",
        "The merge undoes the split, and the heads in between still attend among pieces of "
        "the wrong tokens. Use view(B, T, h, d_head), then transpose(1, 2).",
        partial(right, parts=Parts(split=split_by_view, merge=merge_by_view)),
    ),
    Mutant(
        "split interleaved",
        "The columns are dealt out in turn, (d h) in place of (h d). A head gets neighbouring "
        "columns: view(B, T, h, d_head), then transpose(1, 2).",
        partial(right, parts=Parts(split=split_interleaved)),
    ),
    Mutant(
        "merge interleaved",
        "Column 0 of all heads comes first, then column 1. The columns of a head stay "
        "together: transpose(1, 2), then flatten the last two axes.",
        partial(right, parts=Parts(merge=merge_interleaved)),
    ),
    Mutant(
        "split and merge interleaved",
        "The merge undoes the split, and the heads in between have columns of other heads. "
        "A head gets neighbouring columns.",
        partial(right, parts=Parts(split=split_interleaved, merge=merge_interleaved)),
    ),
    Mutant(
        ".view after .transpose",
        "After transpose the numbers do not lie in the order of the axes, and view refuses. "
        "Use flatten or reshape.",
        partial(right, parts=Parts(merge=merge_by_view_after_transpose)),
    ),
    Mutant(
        "scaled by √d_model",
        "The scores are divided by √d_model. A score adds up d_head products: divide by √d_head.",
        partial(right, parts=Parts(scale=lambda s: 1 / math.sqrt(s.d_model))),
    ),
    Mutant(
        "scaled by √h",
        "The scores are divided by √h. The number of heads has no part in it: divide by √d_head.",
        partial(right, parts=Parts(scale=lambda s: 1 / math.sqrt(s.num_heads))),
    ),
    Mutant(
        "not scaled",
        "The scores are not scaled. Divide them by √d_head before the softmax.",
        partial(right, parts=Parts(scale=lambda _: 1.0)),
    ),
    Mutant(
        "multiplied by √d_head",
        "The scores are multiplied by √d_head. Divide by it.",
        partial(right, parts=Parts(scale=lambda s: math.sqrt(s.d_head))),
    ),
    Mutant(
        "divided by d_head",
        "The scores are divided by d_head. The root is missing: divide by √d_head.",
        partial(right, parts=Parts(scale=lambda s: 1 / s.d_head)),
    ),
    Mutant(
        "softmax over the queries",
        "The softmax runs over the queries. Each query shares out its attention over the keys: "
        "the last axis.",
        partial(right, parts=Parts(weigh=weigh_over_queries)),
    ),
    Mutant(
        "softmax over the heads",
        "The softmax runs over the heads. Heads do not compete: it runs over the keys, the "
        "last axis.",
        partial(right, parts=Parts(weigh=weigh_over_heads)),
    ),
    Mutant(
        "no W_O",
        "The merged heads are returned as they are. Multiply them with W_O.",
        without_w_o,
    ),
    Mutant(
        "keys averaged",
        "The average is taken of the keys. The weights come from query and key, the average is "
        "taken of the values: weights @ v.",
        partial(right, parts=Parts(mix=lambda weights, k, _: weights @ k)),
    ),
    Mutant(
        "key used as value",
        "The values are made from key. They are made from value.",
        with_key_in_place_of_value,
    ),
    Mutant(
        "the loop overwrites query",
        "A name is used twice: the second head gets what the first one made. All heads start "
        "from the same query.",
        with_query_overwritten,
    ),
    Mutant(
        "biases forgotten",
        "The matrices are applied without their biases.",
        partial(right, parts=Parts(project=project_without_bias)),
    ),
    Mutant(
        "bias of W_O added by every head",
        "The bias of W_O is added h times. The sum over the heads has it once.",
        with_bias_of_every_head,
    ),
    Mutant(
        "mask polarity inverted",
        "The mask is read as True = may not attend, as nn.MultiheadAttention does. Here, "
        "True = may attend.",
        partial(right, parts=Parts(allow=allow_what_is_forbidden)),
    ),
    Mutant(
        "masked with 0",
        "Forbidden scores are set to 0, and e to the 0 is 1. Set them to -inf.",
        partial(right, parts=Parts(weigh=weigh_with_scores_of_zero)),
    ),
    Mutant(
        "masked after the softmax",
        "The forbidden shares are removed after the softmax, so that the row adds up to less "
        "than 1. Mask the scores, before the softmax.",
        partial(right, parts=Parts(weigh=weigh_then_mask)),
    ),
    Mutant(
        "batch and heads of the mask in the wrong order",
        "The mask is repeated as h·B, and the heads are laid out as B·h. Keep [B, h, T_q, T_k], "
        "or repeat with repeat_interleave.",
        partial(right, parts=Parts(allow=allow_in_the_wrong_order)),
    ),
    Mutant(
        "is_causal ignored without a mask",
        "Without a mask is_causal does nothing: the future is seen.",
        partial(right, parts=Parts(allow=allow_the_future_without_mask)),
    ),
    Mutant(
        "is_causal taken as a hint",
        "Beside a mask is_causal does nothing: the mask is believed to be causal already.",
        partial(right, parts=Parts(allow=allow_the_future_beside_a_mask)),
    ),
    Mutant(
        "causal, aligned at the top left",
        "The first query meets the first key. With fewer queries than keys the queries are the "
        "last ones: the last query meets the last key.",
        partial(right, parts=Parts(allow=allow_from_the_top_left)),
    ),
    Mutant(
        "causal, without itself",
        "A token may not attend to itself. The diagonal is allowed.",
        partial(right, parts=Parts(allow=allow_the_past_only)),
    ),
    Mutant(
        "NaN where a query may attend to nothing",
        "A row of -inf alone has no softmax: it is 0/0, NaN. Set such a row to zero.",
        partial(right, parts=Parts(weigh=weigh_with_nan)),
    ),
    Mutant(
        "NaN in the gradients",
        "The NaN of a row without keys is replaced in the output, and comes back in the "
        "gradients. Keep it from arising.",
        partial(right, parts=Parts(weigh=weigh_with_nan_replaced)),
    ),
    Mutant(
        "masked with a large number",
        "Forbidden scores are set to -1e9. A query that may attend to nothing then gets the "
        "mean of all values. Set such a row to zero.",
        partial(right, parts=Parts(weigh=weigh_with_a_large_number)),
    ),
    Mutant(
        "averaged weights",
        "The weights are averaged over the heads. Each head has its own: [B, h, T_q, T_k].",
        with_averaged_weights,
    ),
    Mutant(
        "dropout left on",
        "Weights are dropped in evaluation too: torch.nn.functional.dropout is on by default. "
        "Pass training=self.training.",
        partial(
            right,
            parts=Parts(
                drop=lambda weights, module: nn.functional.dropout(weights, module.dropout)
            ),
        ),
    ),
    Mutant(
        "key/value heads repeated in turn",
        "The key/value heads are dealt out as 0 1 0 1. Neighbouring query heads share one, "
        "0 0 1 1: repeat_interleave, not repeat.",
        partial(right, parts=Parts(share=lambda kv, group: kv.repeat(1, group, 1, 1))),
    ),
    Mutant(
        "gates on slices of the output",
        "Slices of the output are gated. W_O has mixed the heads by then: gate z, before W_O.",
        with_gates_on_the_output,
    ),
    Mutant(
        "gates on the scores",
        "The scores are gated. A gate of 0 then makes the weights equal, it does not remove the "
        "head: gate z, before W_O.",
        with_gates_on_the_weights,
    ),
)

WRONG_COUNTS: tuple[WrongCount, ...] = (
    WrongCount(
        "h changes the parameter count",
        "The count depends on h. Each head is d_model/h wide: h heads have as many parameters "
        "as one head of full width.",
        lambda d, h: h * (4 * d * d + 4 * d),
    ),
    WrongCount(
        "biases forgotten",
        "The biases are forgotten: each of the four projections has one of d_model numbers.",
        lambda d, _: 4 * d * d,
    ),
    WrongCount(
        "add_bias_kv taken for biases",
        "add_bias_kv adds one key and one value that no token has. The biases of W_K and W_V "
        "come with bias=True, as those of W_Q and W_O do.",
        lambda d, _: 4 * d * d + 2 * d,
    ),
)
