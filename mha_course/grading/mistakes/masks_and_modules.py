"""Known mistakes in the assignment `masks-and-modules`.

Most are the mutants of multi-head attention, applied to the learner's inputs; the functions `of_…`
gather them for one task, as the list that a check compares a wrong answer with.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from mha_course.attention import attention
from mha_course.grading import mutants
from mha_course.grading.mistakes.mistake import Mistake
from mha_course.grading.reference import masks_and_modules as reference
from mha_course.multi_head import MultiHeadAttention

_SAYS = {mutant.name: mutant.says for mutant in mutants.MUTANTS}
_POLARITY = "True stands where a query may not attend. Here, True = may attend."

# ---------------------------------------------------------------------------- masks alone


def of_causal_mask(T_q: int, T_k: int) -> list[Mistake]:
    """Mistakes in the mask that allows a query itself and what came before it."""
    everything = torch.ones(T_q, T_k, dtype=torch.bool)
    late = T_k - T_q  # tokens before the first query
    return [
        Mistake(_POLARITY, ~reference.causal_mask(T_q, T_k)),
        Mistake(_SAYS["causal, without itself"], everything.tril(late - 1)),
        Mistake(
            "A query sees the token after it, too. The last key it may see is its own.",
            everything.tril(late + 1),
        ),
        Mistake(
            "The past is forbidden, not the future. Keys are columns: the allowed ones lie on the "
            "diagonal and to the left of it.",
            everything.triu(late),
        ),
        Mistake(_SAYS["causal, aligned at the top left"], everything.tril(), "kv-cache"),
        Mistake("Nothing is forbidden. A query must not see what comes after it.", everything),
    ]


def of_padding_mask(lengths: Tensor, T: int) -> list[Mistake]:
    """Mistakes in the mask of the real tokens, [B, T]."""
    right = reference.padding_mask(lengths, T)
    positions, ends = torch.arange(T), lengths[:, None]
    return [
        Mistake("True stands at the padding. Here, True = a real token.", ~right),
        Mistake(
            "One token too many is real. Positions count from 0: the last real one is length − 1.",
            positions <= ends,
        ),
        Mistake(
            "One token too few is real. Positions count from 0: the last real one is length − 1.",
            positions < ends - 1,
        ),
        Mistake(
            "The last tokens are marked as real. The padding stands behind the real tokens.",
            positions >= T - ends,
        ),
        Mistake(
            "The mask is as wide as the longest sequence. It has T columns, whatever the lengths.",
            right[:, : int(lengths.max())],
        ),
        Mistake(
            "Axes of size 1 are for the next task. Here there is one row for each sequence.",
            right[:, None, None, :],
        ),
        Mistake("Every token counts as real. Look at the lengths.", torch.ones_like(right)),
    ]


def of_combine(causal: Tensor, padding: Tensor) -> list[Mistake]:
    """Mistakes in what both masks allow, [B, 1, T_q, T_k]."""
    right = reference.combine(causal, padding)
    keys = padding[:, None, None, :]
    found = [
        Mistake(
            "The axis of the heads is missing. Beside scores [B, h, T_q, T_k] the sequences "
            "would be taken for heads: put an axis of size 1 behind B.",
            right.squeeze(1),
        ),
        Mistake(
            "The axis of size 1 stands in front. The batch comes first, the heads second.",
            right.transpose(0, 1),
        ),
        Mistake(
            "A key is allowed when one of the masks allows it. Both must: & and not |.",
            causal | keys,
        ),
        Mistake(
            "True stands where the masks agree, also where both forbid. Use & in place of ==.",
            causal == keys,
        ),
        Mistake("The padding is forgotten.", causal.expand_as(right)),
        Mistake("The causal mask is forgotten.", keys.expand_as(right)),
        Mistake(_POLARITY, ~right),
    ]
    if causal.shape[0] == causal.shape[1]:
        # with a causal mask it makes no difference whether the keys are masked as well
        found.append(
            Mistake(
                "The padding forbids queries. Nobody may attend to padding: it is about the keys, "
                "the last axis.",
                causal & padding[:, None, :, None],
            )
        )
    return found


def of_window_mask(T: int, width: int) -> list[Mistake]:
    """Mistakes in the causal mask with at most `width` keys a query."""
    right = reference.window_mask(T, width)
    back = torch.arange(T)[:, None] - torch.arange(T)  # how far a key lies behind the query
    blocks = torch.arange(T) // width
    return [
        Mistake(
            "The window is one token too wide. The token itself is one of the width tokens.",
            (back >= 0) & (back <= width),
        ),
        Mistake(
            "The window is one token too narrow: itself and width − 1 tokens before it.",
            (back >= 0) & (back < width - 1),
        ),
        Mistake(
            "The window is open to the future. Among the keys it holds are no later ones.",
            back.abs() < width,
        ),
        Mistake("The window is forgotten: this is the causal mask.", back >= 0),
        Mistake(
            "What came before the window is allowed, and the window forbidden.",
            back >= width,
        ),
        Mistake(_POLARITY, ~right),
        Mistake(
            "The text is cut into blocks. The window slides: every query has its own.",
            (back >= 0) & (blocks[:, None] == blocks),
        ),
        Mistake(
            "The token itself is missing. It is one of the width tokens.",
            (back > 0) & (back <= width),
        ),
        Mistake("The window looks ahead. It holds the token itself and those before it.", right.T),
    ]


# ------------------------------------------------------------------------ masks at work


def of_masked_weights(scores: Tensor, attn_mask: Tensor) -> list[Mistake]:
    """Mistakes in the softmax over the keys that are allowed, [B, h, T_q, T_k]."""
    mask = attn_mask.expand(scores.shape)
    right = reference.masked_weights(scores, mask)
    nothing = ~mask.any(dim=-1, keepdim=True)
    plain = scores.softmax(dim=-1)
    return [
        Mistake(_SAYS["mask polarity inverted"], reference.masked_weights(scores, ~mask)),
        Mistake(_SAYS["masked with 0"], mutants.weigh_with_scores_of_zero(scores, mask)),
        Mistake(_SAYS["masked after the softmax"], mutants.weigh_then_mask(scores, mask)),
        Mistake("The mask has no effect: this is the plain softmax.", plain),
        Mistake(
            "The mask is added to the scores. There True counts as 1 and False as 0, and nothing "
            "is forbidden. Forbidden scores must become −inf.",
            (scores + mask).softmax(dim=-1),
        ),
        Mistake(
            _SAYS["softmax over the queries"],
            mutants.weigh_over_queries(scores, mask),
            "one-average-per-query",
        ),
        Mistake(
            _SAYS["softmax over the heads"],
            mutants.weigh_over_heads(scores, mask),
            "one-average-per-query",
        ),
        Mistake(
            "A query that may attend to nothing gets equal shares of everything. Set such a row "
            "to zero.",
            right.masked_fill(nothing, 1 / scores.shape[-1]),
        ),
        Mistake(
            "A query that may attend to nothing is treated as if it had no mask. Set such a row "
            "to zero.",
            torch.where(nothing, plain, right),
        ),
    ]


def of_masked_attention(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None, is_causal: bool
) -> list[Mistake]:
    """Mistakes in attention under a mask, [B, h, T_q, d_v]."""
    d_head = query.shape[-1]
    scores = query @ key.mT / math.sqrt(d_head)
    allowed = mutants.allow(scores, attn_mask, is_causal)
    everything = torch.ones_like(allowed)
    found: list[Mistake] = []

    allowing: dict[str, Callable[[Tensor, Tensor | None, bool], Tensor]] = {
        "mask polarity inverted": mutants.allow_what_is_forbidden,
        "is_causal taken as a hint": mutants.allow_the_future_beside_a_mask,
        "is_causal ignored without a mask": mutants.allow_the_future_without_mask,
        "causal, aligned at the top left": mutants.allow_from_the_top_left,
        "causal, without itself": mutants.allow_the_past_only,
    }
    for name, allow in allowing.items():
        wrong = allow(scores, attn_mask, is_causal)
        found.append(Mistake(_SAYS[name], mutants.weigh(scores, wrong) @ value))
    if attn_mask is not None and is_causal:
        causal = mutants.allow(scores, None, is_causal=True)
        found += [
            Mistake(
                "The mask is forgotten where is_causal is True. Both hold.",
                mutants.weigh(scores, causal) @ value,
            ),
            Mistake(
                "A key is allowed when the mask or is_causal allows it. Both must: & and not |.",
                mutants.weigh(scores, causal | attn_mask) @ value,
            ),
        ]

    weighing: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "masked with 0": mutants.weigh_with_scores_of_zero,
        "masked after the softmax": mutants.weigh_then_mask,
        "softmax over the queries": mutants.weigh_over_queries,
        "softmax over the heads": mutants.weigh_over_heads,
    }
    for name, weigh in weighing.items():
        found.append(Mistake(_SAYS[name], weigh(scores, allowed) @ value))
    factors = {
        "not scaled": math.sqrt(d_head),
        "multiplied by √d_head": d_head,
        "divided by d_head": 1 / math.sqrt(d_head),
    }
    for name, factor in factors.items():
        found.append(Mistake(_SAYS[name], mutants.weigh(scores * factor, allowed) @ value))
    weights = mutants.weigh(scores, allowed)
    return [
        *found,
        Mistake(_SAYS["keys averaged"], weights @ key),
        Mistake("These are the weights. Multiply them with the values: weights @ value.", weights),
        Mistake(
            "The mask has no effect: every query sees everything.",
            mutants.weigh(scores, everything) @ value,
        ),
    ]


# --------------------------------------------------------------------------- whole modules

_IN_ANY_HEADS = (
    "a head gets a slice of the input",
    "split by one view",
    "merge without transposing back",
    "split and merge by one view",
    "split interleaved",
    "merge interleaved",
    "split and merge interleaved",
    "scaled by √d_model",
    "scaled by √h",
    "not scaled",
    "multiplied by √d_head",
    "divided by d_head",
    "softmax over the queries",
    "softmax over the heads",
    "no W_O",
    "keys averaged",
    "the loop overwrites query",
)
_WITH_BIASES = ("biases forgotten", "bias of W_O added by every head")
_WITH_A_MASK = (
    "mask polarity inverted",
    "masked with 0",
    "masked after the softmax",
    "batch and heads of the mask in the wrong order",
)
_READ = {
    "no W_O": "a-sum-over-heads",
    "keys averaged": "one-average-per-query",
    "split by one view": "the-view-mistake",
    "merge without transposing back": "the-view-mistake",
    "split and merge by one view": "the-view-mistake",
}


def of_cross_attention(
    x: Tensor,
    memory: Tensor,
    W_Q: Tensor,
    W_K: Tensor,
    W_V: Tensor,
    W_O: Tensor,
    num_heads: int,
) -> list[Mistake]:
    """Mistakes in attention from x to memory, [B, T_q, d_model]."""
    state = reference.parameters(W_Q, W_K, W_V, W_O)
    module = _module(state, num_heads)
    found: list[Mistake] = []
    if memory.shape[-1] == x.shape[-1]:
        found += [
            Mistake(
                "x attends to itself. Keys and values come from memory.",
                mutants.right(module, x, x, x)[0],
            ),
            Mistake(
                "The memory attends to itself. The queries come from x.",
                mutants.right(module, memory, memory, memory)[0],
            ),
            Mistake(
                "The memory asks, and x is asked. Queries come from x, keys and values from "
                "memory: the output has a row for each token of x.",
                mutants.right(module, memory, x, x)[0],
            ),
        ]
    found += _mutated(_IN_ANY_HEADS, module, x, memory)
    return [*found, _one_head(state, x, memory)]


def of_multi_head(
    state: Mapping[str, Tensor], x: Tensor, num_heads: int, attn_mask: Tensor | None = None
) -> list[Mistake]:
    """Mistakes in multi-head self-attention with the parameters `state`, [B, T, d_model]."""
    module = _module(state, num_heads)
    names = (*_IN_ANY_HEADS, *(_WITH_BIASES if "w_q.bias" in state else ()))
    if attn_mask is None:
        return [*_mutated(names, module, x, x), _one_head(state, x, x)]
    return [
        Mistake(
            "The mask has no effect: every query sees everything.",
            mutants.right(module, x, x, x)[0],
            "sliding-window",
        ),
        *_mutated((*_WITH_A_MASK, *names), module, x, x, attn_mask),
    ]


def of_multi_head_parameters(
    d_model: int, num_heads: int, d_head: int, *, bias: bool
) -> list[Mistake]:
    """Mistakes in the number of parameters of four projections, h·d_head wide."""
    width = num_heads * d_head
    weights, biases = 4 * d_model * width, 3 * width + d_model
    one_head = (
        "Each projection is one head wide. The heads lie side by side: W_Q makes h·d_head columns."
    )
    found = [
        Mistake(
            "The heads are d_model / h wide. Here the width is given: h·d_head columns.",
            4 * d_model**2 + bias * 4 * d_model,
        ),
        Mistake("The output projection w_o is missing.", weights * 3 // 4 + bias * 3 * width),
        Mistake(one_head, 4 * d_model * d_head + bias * (3 * d_head + d_model)),
        Mistake(one_head, 3 * d_model * d_head + d_model * width + bias * (3 * d_head + d_model)),
        Mistake(
            "There is a set of projections for every head, each h·d_head wide. The heads lie side "
            "by side in one w_q, one w_k and one w_v.",
            num_heads * weights + bias * num_heads * biases,
        ),
    ]
    if bias:
        return [
            Mistake("The biases are forgotten: each of the four projections has one.", weights),
            Mistake("w_o has no bias. All four have one.", weights + 3 * width),
            Mistake(
                "Inputs and outputs are exchanged. nn.Linear(inputs, outputs) is the order.",
                weights + 3 * d_model + width,
            ),
            *found,
        ]
    return [
        Mistake("There are biases although bias is False: pass it on.", weights + biases),
        Mistake("w_o has a bias although bias is False: pass it on.", weights + d_model),
        *found,
    ]


def _module(state: Mapping[str, Tensor], num_heads: int) -> MultiHeadAttention:
    """Return the package's module with the parameters `state`."""
    width, d_model = state["w_q.weight"].shape
    with torch.random.fork_rng(devices=[]):  # the learner's generator stays as it is
        module = MultiHeadAttention(
            d_model,
            num_heads,
            d_head=width // num_heads,
            d_v=state["w_v.weight"].shape[0] // num_heads,
            kdim=state["w_k.weight"].shape[1],
            vdim=state["w_v.weight"].shape[1],
            bias="w_q.bias" in state,
        ).to(dtype=state["w_q.weight"].dtype)
    module.load_state_dict(dict(state))
    return module.requires_grad_(False)


def _mutated(
    names: Sequence[str],
    module: MultiHeadAttention,
    x: Tensor,
    memory: Tensor,
    attn_mask: Tensor | None = None,
) -> list[Mistake]:
    """Return what the mutants of these names make of the inputs."""
    by_name = {mutant.name: mutant for mutant in mutants.MUTANTS}
    return [
        Mistake(
            _SAYS[name],
            by_name[name].function(module, x, memory, memory, attn_mask=attn_mask)[0],
            _READ.get(name),
        )
        for name in names
    ]


def _one_head(state: Mapping[str, Tensor], x: Tensor, memory: Tensor) -> Mistake:
    return Mistake(
        "There is one head only. Split queries, keys and values into heads before they meet.",
        mutants.right(_module(state, 1), x, memory, memory)[0],
        "split-and-merge",
    )


# ----------------------------------------------------------------- shared heads and caches

_IN_TURN = _SAYS["key/value heads repeated in turn"]


def _dealt_out(kv: Tensor, num_heads: int) -> Tensor:
    """Share as 0 1 0 1."""
    return kv.repeat(1, num_heads // kv.shape[1], 1, 1)


def _first_for_all(kv: Tensor, num_heads: int) -> Tensor:
    return kv[:, :1].repeat(1, num_heads, 1, 1)


def _mean_for_all(kv: Tensor, num_heads: int) -> Tensor:
    return kv.mean(dim=1, keepdim=True).repeat(1, num_heads, 1, 1)


_FIRST = "All query heads read the first key/value head. Each group of h/g heads has its own."
_MEAN = "The key/value heads are averaged. They stay as they are: each is read by h/g query heads."


def of_share_heads(kv: Tensor, num_heads: int) -> list[Mistake]:
    """Mistakes in [B, g, T, d] -> [B, h, T, d]."""
    group = num_heads // kv.shape[1]
    return [
        Mistake("There are still g heads. Asked are h: each appears h/g times.", kv),
        Mistake(_IN_TURN, _dealt_out(kv, num_heads)),
        Mistake(_FIRST, _first_for_all(kv, num_heads)),
        Mistake(_MEAN, _mean_for_all(kv, num_heads)),
        Mistake(
            "Each head is repeated h times, which makes g·h heads. h/g times makes h.",
            kv.repeat_interleave(num_heads, dim=1),
        ),
        Mistake(
            "Each head is repeated g times. The group of a key/value head has h/g query heads.",
            kv.repeat_interleave(kv.shape[1], dim=1),
        ),
        Mistake(
            "The tokens are repeated. The heads are axis 1: dim=1.",
            kv.repeat_interleave(group, dim=2),
        ),
        Mistake(
            "The sequences of the batch are repeated. The heads are axis 1: dim=1.",
            kv.repeat_interleave(group, dim=0),
        ),
    ]


def of_grouped_query_attention(query: Tensor, key: Tensor, value: Tensor) -> list[Mistake]:
    """Mistakes in attention of h query heads to g key/value heads, [B, h, T_q, d_v]."""
    h, g, d_head = query.shape[1], key.shape[1], query.shape[-1]
    share = reference.share_heads
    k, v = share(key, h), share(value, h)
    scores = query @ k.mT / math.sqrt(d_head)
    found = [
        Mistake(_IN_TURN, attention(query, _dealt_out(key, h), _dealt_out(value, h))),
        Mistake(
            f"That holds for the values, the keys are right. {_IN_TURN}",
            attention(query, k, _dealt_out(value, h)),
        ),
        Mistake(
            f"That holds for the keys, the values are right. {_IN_TURN}",
            attention(query, _dealt_out(key, h), v),
        ),
        Mistake(_FIRST, attention(query, _first_for_all(key, h), _first_for_all(value, h))),
        Mistake(_MEAN, attention(query, _mean_for_all(key, h), _mean_for_all(value, h))),
        Mistake(
            "The query heads of a group are averaged. Every query head keeps its own pattern: "
            "what is shared are keys and values.",
            attention(query.unflatten(1, (g, h // g)).mean(dim=2), key, value),
        ),
        Mistake(
            "Only the first g query heads attend. All h do, each to the keys of its group.",
            attention(query[:, :g], key, value),
        ),
        Mistake(
            _SAYS["softmax over the queries"],
            scores.softmax(dim=-2) @ v,
            "one-average-per-query",
        ),
        Mistake(_SAYS["keys averaged"], scores.softmax(dim=-1) @ k, "one-average-per-query"),
    ]
    factors = {
        "not scaled": math.sqrt(d_head),
        "multiplied by √d_head": d_head,
        "divided by d_head": 1 / math.sqrt(d_head),
        "scaled by √d_model": 1 / math.sqrt(h),
    }
    return found + [
        Mistake(_SAYS[name], (scores * factor).softmax(dim=-1) @ v, "one-average-per-query")
        for name, factor in factors.items()
    ]


def of_attend_with_cache(
    query: Tensor, key: Tensor, value: Tensor, past_keys: Tensor, past_values: Tensor
) -> list[Mistake]:
    """Mistakes in what new tokens get from the past ones and themselves, [B, h, T_new, d_v]."""
    _, keys, values = reference.attend_with_cache(query, key, value, past_keys, past_values)
    scores = query @ keys.mT / math.sqrt(query.shape[-1])

    def mixed(allowed: Tensor) -> Tensor:
        return mutants.weigh(scores, allowed) @ values

    found = [
        Mistake(
            "The new tokens see each other only. Put the past keys and values in front of the "
            "new ones first.",
            attention(query, key, value, is_causal=True),
        ),
        Mistake(
            _SAYS["causal, aligned at the top left"],
            mixed(mutants.allow_from_the_top_left(scores, None, is_causal=True)),
        ),
        Mistake(
            _SAYS["not scaled"],
            attention(query * math.sqrt(query.shape[-1]), keys, values, is_causal=True),
            "one-average-per-query",
        ),
        Mistake(
            "A new token does not see itself. It attends to the past and to itself.",
            mixed(mutants.allow_the_past_only(scores, None, is_causal=True)),
        ),
    ]
    if query.shape[-2] > 1:
        found.append(
            Mistake(
                "The first of the new tokens sees the later ones. Among the new tokens the future "
                "is forbidden, as in the causal mask.",
                mixed(torch.ones_like(scores, dtype=torch.bool)),
            )
        )
    if past_keys.shape[-2] > 0:
        found += [
            Mistake(
                "Only the past is attended to. The new token sees itself, too: its key and value "
                "come behind the past ones.",
                attention(query, past_keys, past_values),
            ),
            Mistake(_SAYS["keys averaged"], attention(query, keys, keys, is_causal=True)),
        ]
    return found


def of_kept(past: Tensor, new: Tensor) -> list[Mistake]:
    """Mistakes in what is kept of the keys, or of the values, [B, h, T_k, d]."""
    return [
        Mistake(
            "The new ones stand before the past ones. The order of the text is: past, then new.",
            torch.cat([new, past], dim=2),
        ),
        Mistake("These are the past ones. The new ones must be kept for the next step, too.", past),
        Mistake("These are the new ones alone. The past ones are needed in every later step.", new),
        Mistake(
            "The oldest was dropped. A cache keeps all tokens, unless there is a window.",
            torch.cat([past, new], dim=2)[:, :, new.shape[2] :],
        ),
    ]
