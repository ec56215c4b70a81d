"""Known mistakes in the assignment `counting`: for each task, what to say and the wrong number."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from torch import Tensor

from mha_course.grading.mistakes.mistake import Mistake
from mha_course.grading.reference import counting as reference

# ------------------------------------------------------------------------------ parameters


def of_attention_parameters(
    d_model: int, num_heads: int, num_kv_heads: int, d_head: int, *, bias: bool
) -> list[Mistake]:
    """Mistakes in counting W_Q, W_K, W_V, W_O and their biases."""
    d, h, g, k = d_model, num_heads, num_kv_heads, d_head
    into_heads, into_groups = d * h * k, d * g * k
    weights = 2 * into_heads + 2 * into_groups
    biases = h * k + 2 * g * k + d
    some = biases if bias else 0
    grouped_cut = g * d // h  # g heads of d_model/h columns
    found = [
        Mistake(
            "The biases are forgotten: each of the four projections has one, with a number for "
            "each column that comes out of it.",
            weights,
        )
        if bias
        else Mistake("Biases are counted although bias is False.", weights + biases),
        Mistake(
            "W_O is forgotten: there are four matrices, W_Q, W_K, W_V and W_O.",
            into_heads + 2 * into_groups + (h * k + 2 * g * k if bias else 0),
        ),
        Mistake(
            "W_K and W_V are counted with the query heads. They make g = num_kv_heads heads: "
            "each has shape [d_model, g·d_head].",
            4 * into_heads + (3 * h * k + d if bias else 0),
            "sharing-heads",
        ),
        Mistake(
            "W_Q and W_O are counted with the key/value heads. There are h = num_heads query "
            "heads: W_Q has shape [d_model, h·d_head].",
            4 * into_groups + (3 * g * k + d if bias else 0),
            "sharing-heads",
        ),
        Mistake(
            "d_head is not used: the heads are taken to be d_model/h wide. Here the width is "
            "given, and h·d_head need not be d_model: W_Q has shape [d_model, h·d_head].",
            2 * d * d + 2 * d * grouped_cut + (2 * d + 2 * grouped_cut if bias else 0),
            "width-of-heads-today",
        ),
        Mistake(
            "That is 4·d_model², right only where h·d_head = d_model and each query head has a "
            "key/value head of its own. Count each matrix from its shape.",
            4 * d * d + (4 * d if bias else 0),
            "width-of-heads-today",
        ),
        Mistake(
            "One of W_K and W_V is forgotten, or one of them counted with it. Keys and values "
            "have a matrix each.",
            2 * into_heads + into_groups + (h * k + g * k + d if bias else 0),
        ),
        Mistake(
            "That is the count for one head. There are h query heads, side by side in W_Q.",
            4 * d * k + (3 * k + d if bias else 0),
        ),
    ]
    depends = (
        "The heads are counted as d_model wide each. A head is d_head wide: together they are "
        "h·d_head wide."
    )
    found += [Mistake(depends, matrices + some) for matrices in (4 * d * d * h, 3 * d * d * h)]
    found.append(Mistake(depends, 3 * d * d * h + d * d + some))
    if bias:
        found += [
            Mistake(
                "Each bias is counted with d_model numbers. A bias is as wide as what comes out "
                "of its projection: h·d_head, g·d_head, g·d_head, and d_model for W_O.",
                weights + 4 * d,
            ),
            Mistake("One bias is counted. Each of the four projections has one.", weights + d),
            Mistake("The bias of W_O is missing: it has d_model numbers.", weights + biases - d),
            Mistake(
                "The biases of keys and values are counted with the query heads. They are "
                "g·d_head wide.",
                weights + 3 * h * k + d,
                "sharing-heads",
            ),
            Mistake(
                "One number is counted for each bias. A bias has a number for each column.",
                weights + 4,
            ),
            Mistake(
                "The biases are counted as d_head numbers. All heads together make a projection "
                "h·d_head wide, and its bias has as many numbers.",
                weights + 4 * k,
            ),
        ]
    return found


def of_percent_more(d_model: int, single_has_w_o: bool, d_ff: int) -> list[Mistake]:
    """Mistakes in 100·(many/single − 1)."""
    d = d_model
    matrix, feed_forward = d * d, 2 * d * d_ff

    def percent(many: float, single: float) -> float:
        return 100 * (many / single - 1)

    bare = (4 if single_has_w_o else 3) * matrix
    many, single = 4 * matrix + feed_forward, bare + feed_forward
    block = (
        "The feed-forward part is {}. It has two matrices, d_model × d_ff and d_ff × d_model, "
        "and stands on both sides of the comparison."
    )
    if single_has_w_o:
        flag = "Here the single head has W_O too, so both sides have four matrices."
    else:
        flag = "Here the single head has no W_O: it has three matrices, not four."
    other = (3 if single_has_w_o else 4) * matrix + feed_forward
    return [
        Mistake(
            "That is the ratio of the two counts. A ratio of 1.25 means 25 per cent more: "
            "subtract 1, then multiply by 100.",
            many / single,
        ),
        Mistake(
            "That is the share that comes on top. In per cent it is 100 times as much.",
            many / single - 1,
        ),
        Mistake(
            "That is the larger count in per cent of the smaller. Asked is how many per cent "
            "come on top: subtract 100.",
            100 * many / single,
        ),
        Mistake(
            "The difference is divided by the larger count. How many per cent more is seen from "
            "the smaller one: divide by the count of the single head.",
            100 * (many - single) / many,
        ),
        Mistake(
            "That is the comparison turned round: how much less the single head has.",
            percent(single, many),
        ),
        Mistake(
            "That is the smaller count in per cent of the larger. Asked is how many per cent "
            "come on top: 100·(many / single − 1).",
            100 * single / many,
        ),
        Mistake("That is a difference of parameters. Asked are per cent.", many - single),
        Mistake(flag, percent(many, other)),
        Mistake(block.format("left out"), percent(4 * matrix, bare)),
        Mistake(
            block.format("counted as one matrix"),
            percent(4 * matrix + d * d_ff, bare + d * d_ff),
        ),
        Mistake(block.format("counted on one side only"), percent(many, bare)),
        Mistake(
            "The feed-forward part is counted as 8·d_model². That holds for d_ff = 4·d_model; "
            "here d_ff is given.",
            percent(12 * matrix, bare + 8 * matrix),
        ),
    ]


# --------------------------------------------------------------------------------- FLOPs


def of_flops_of_projections(B: int, T: int, d_model: int) -> list[Mistake]:
    """Mistakes in 8·B·T·d_model²."""
    d = d_model
    right = 8 * B * T * d * d
    return [
        Mistake(
            "That is half of it. A multiply-add is one multiplication and one addition: it "
            "counts as two.",
            right // 2,
        ),
        Mistake(
            "W_O is forgotten: there are four projections, into queries, keys and values, and "
            "out of the heads.",
            6 * B * T * d * d,
        ),
        Mistake("That is one projection. There are four.", 2 * B * T * d * d),
        Mistake(
            "The texts are forgotten: there are B of them, and each token of each is projected.",
            8 * T * d * d,
        ),
        Mistake("The tokens are forgotten: every one of them is projected.", 8 * B * d * d),
        Mistake(
            "That is the number of parameters. Each token meets each of them once, with a "
            "multiply-add.",
            4 * d * d,
        ),
        Mistake(
            "d_model stands in it once. Each of the d_model results of a token adds up d_model "
            "products.",
            8 * B * T * d,
        ),
        Mistake(
            "The tokens are squared. A projection takes each token alone; only the scores "
            "bring pairs of tokens together.",
            8 * B * T * T * d,
        ),
        Mistake(
            "The tokens are squared. A projection takes each token alone; only the scores "
            "bring pairs of tokens together.",
            8 * B * T * T * d * d,
        ),
    ]


def of_flops_of_scores(B: int, T_q: int, T_k: int, num_heads: int, d_head: int) -> list[Mistake]:
    """Mistakes in 4·B·h·T_q·T_k·d_head."""
    h, k = num_heads, d_head
    pairs = T_q * T_k
    right = 4 * B * h * pairs * k
    squared = (
        "{0} is used for both axes. A score belongs to a query and a key: there are T_q·T_k in "
        "each head."
    )
    return [
        Mistake(
            "That is half of it. There are two products, Q Kᵀ and weights times V, and in each "
            "of them a multiply-add counts as two.",
            right // 2,
        ),
        Mistake(
            "That is a quarter of it. There are two products, Q Kᵀ and weights times V, and in "
            "each of them a multiply-add counts as two.",
            right // 4,
        ),
        Mistake("The heads are forgotten: each has scores of its own.", right // h),
        Mistake("The texts are forgotten: there are B of them.", right // B),
        Mistake(
            "That does not depend on d_head. A score adds up d_head products, and so many "
            "columns are mixed.",
            4 * B * h * pairs,
        ),
        Mistake(squared.format("T_q"), 4 * B * h * T_q * T_q * k),
        Mistake(squared.format("T_k"), 4 * B * h * T_k * T_k * k),
        Mistake(
            "The number of tokens stands in it once. Every query meets every key: "
            "T_q·T_k pairs in each head.",
            4 * B * h * T_q * k,
        ),
        Mistake(
            "The number of tokens stands in it once. Every query meets every key: "
            "T_q·T_k pairs in each head.",
            4 * B * h * T_k * k,
        ),
        Mistake(
            "Queries and keys are added. Every query meets every key: multiply T_q and T_k.",
            4 * B * h * (T_q + T_k) * k,
        ),
        Mistake(
            "The softmax is counted. Asked are the two matrix products.",
            right + B * h * pairs,
        ),
        Mistake(
            "The heads are squared: d_head is the width of one head, not of all together.",
            right * h,
        ),
        Mistake(
            "d_head is squared. Q Kᵀ adds up d_head products for each score; weights times V "
            "mixes T_k numbers for each of d_head columns.",
            right * k,
        ),
    ]


def of_crossing_length(d_model: int, num_heads: int, num_kv_heads: int) -> list[Mistake]:
    """Mistakes in d_model·(1 + g/h)."""
    d, h, g = d_model, num_heads, num_kv_heads
    right = reference.crossing_length(d, h, g)
    return [
        Mistake(
            "That is 2·d_model, right only where every query head has a key/value head of its "
            "own. Here W_K and W_V are g·d_head wide.",
            2 * d,
            "sharing-heads",
        ),
        Mistake(
            "That is half of it. Probably the scores are counted at twice their cost, or the "
            "projections at half of it: a multiply-add must count the same on both sides.",
            right / 2,
        ),
        Mistake(
            "That is twice of it. Probably one of the two products with T² is forgotten: Q Kᵀ, "
            "and weights times V.",
            2 * right,
        ),
        Mistake(
            "W_O is forgotten among the projections.",
            d * (h + 2 * g) / (2 * h),
        ),
        Mistake(
            "The scores are counted with the key/value heads. Every one of the h query heads "
            "has scores, whatever it shares.",
            d * (h + g) / g,
            "sharing-heads",
        ),
        Mistake(
            "W_Q and W_O are counted with the key/value heads. They are h·d_head wide.",
            2 * d * g / h,
            "sharing-heads",
        ),
        Mistake("The ratio g/h is upside down.", d * (1 + h / g)),
        Mistake("That is the width of a head, doubled. The widths of heads drop out.", 2 * d / h),
        Mistake(
            "That is the square of the length: a factor T is on both sides of the equation, "
            "and drops out once.",
            right**2,
        ),
        Mistake(
            "That is the root of the length. The projections grow with T and the scores with "
            "T², so T itself is left over, not T².",
            math.sqrt(right),
        ),
    ]


# -------------------------------------------------------------------------------- memory


def of_kv_cache_bytes(
    num_layers: int, num_kv_heads: int, d_head: int, T: int, B: int, bytes_per_number: int
) -> list[Mistake]:
    """Mistakes in 2·layers·g·d_head·T·B·bytes."""
    right = reference.kv_cache_bytes(num_layers, num_kv_heads, d_head, T, B, bytes_per_number)
    return [
        Mistake("That is half of it. Keys are kept, and values too.", right // 2),
        Mistake(
            "Queries are kept too, or something else of their size. A cache holds keys and "
            "values: an old query is never asked again.",
            right // 2 * 3,
        ),
        Mistake(
            "The layers are forgotten: each has keys and values of its own.", right // num_layers
        ),
        Mistake(
            "The texts are forgotten: each of the B texts has a cache of its own.",
            right // B,
            "bound-by-memory",
        ),
        Mistake(
            "Layers and texts are forgotten: each layer has keys and values of its own, and "
            "each text too.",
            right // (B * num_layers),
        ),
        Mistake(
            "That is a number of numbers. Each has bytes_per_number bytes.",
            right // bytes_per_number,
        ),
        Mistake("These are bits. Asked are bytes.", right * 8),
        Mistake(
            "The tokens are squared. One key and one value are kept for each token, no scores.",
            right * T,
        ),
        Mistake("The tokens are forgotten: each has a key and a value.", right // T),
        Mistake(
            "The key/value heads are forgotten: each has keys and values of its own.",
            right // num_kv_heads,
            "sharing-heads",
        ),
        Mistake("d_head is forgotten: a key has d_head numbers.", right // d_head),
        Mistake(
            "Keys and values are counted with d_head². A key is d_head numbers, and a value too.",
            right * d_head,
        ),
    ]


def of_times_smaller(shape: Mapping[str, int]) -> list[Mistake]:
    """Mistakes in h/g."""
    h, g, d, k = (shape[name] for name in ("num_heads", "num_kv_heads", "d_model", "d_head"))
    return [
        Mistake("The ratio is upside down: a cache that is smaller gives a number above 1.", g / h),
        Mistake(
            "That is the number of query heads, right for multi-query attention. Here there are "
            "g key/value heads.",
            h,
        ),
        Mistake(
            "That is the number of key/value heads. What counts is how many query heads share "
            "one of them.",
            g,
        ),
        Mistake("That is a difference. Asked is how many times smaller: a ratio.", h - g),
        Mistake("That is a saving in per cent. Asked is a ratio.", 100 * (1 - g / h)),
        Mistake("That is the share that is saved. Asked is a ratio.", 1 - g / h),
        Mistake(
            "The comparison is with keys and values d_model wide. Compare with the same model "
            "and a key/value head for each query head: h·d_head wide, which may differ.",
            d / (g * k),
            "width-of-heads-today",
        ),
        Mistake("Keys and values shrink alike: both counts have the factor 2.", h / g / 2),
        Mistake("Keys and values shrink alike: both counts have the factor 2.", 2 * h / g),
    ]


def of_smallest_cache(shapes: Mapping[str, Mapping[str, int]]) -> list[Mistake]:
    """Mistakes in looking for the smallest layers·g·d_head."""

    def least(count: Callable[[Mapping[str, int]], int]) -> str:
        return min(shapes, key=lambda name: count(shapes[name]))

    return [
        Mistake(
            "That is the model with the largest cache.",
            max(shapes, key=lambda name: reference.numbers_per_token(shapes[name])),
        ),
        Mistake(
            "The query heads are counted. A cache keeps keys and values of g = num_kv_heads heads.",
            least(lambda s: s["num_layers"] * s["num_heads"] * s["d_head"]),
        ),
        Mistake(
            "The count uses d_model. A key is g·d_head wide, whatever d_model is.",
            least(lambda s: s["num_layers"] * s["d_model"]),
        ),
        Mistake(
            "The layers are forgotten: each keeps keys and values of its own.",
            least(lambda s: s["num_kv_heads"] * s["d_head"]),
        ),
        Mistake(
            "The width of the heads is forgotten: a key has d_head numbers.",
            least(lambda s: s["num_layers"] * s["num_kv_heads"]),
        ),
        Mistake(
            "That is the model of the smallest width. It need not keep the least: count the "
            "numbers a token.",
            least(lambda s: s["d_model"]),
        ),
        Mistake(
            "That is the model with the fewest key/value heads. Their width and the layers "
            "count as well.",
            least(lambda s: s["num_kv_heads"]),
        ),
        Mistake(
            "That is the model with the fewest layers. Count the numbers a token.",
            least(lambda s: s["num_layers"]),
        ),
    ]


def of_longest_context(
    memory: int, num_parameters: int, num_layers: int, num_kv_heads: int, d_head: int
) -> list[Mistake]:
    """Mistakes in the number of tokens that fit; memory in GiB, all numbers in 16 bits."""
    total = memory * reference.GIBIBYTE
    per_token = 4 * num_layers * num_kv_heads * d_head
    free = total - 2 * num_parameters
    exact = free / per_token
    beside = [
        Mistake(
            "The parameters are left out. They are in the same memory, 2 bytes each.",
            total // per_token,
        ),
        Mistake(
            "The parameters are counted with one byte each. In 16 bits each has 2 bytes.",
            max(0, total - num_parameters) // per_token,
        ),
    ]
    if free < 0:
        negative = (
            "That is a negative number of tokens. Where the parameters alone do not fit, no "
            "token does: 0."
        )
        return [Mistake(negative, free // per_token), Mistake(negative, exact), *beside]
    return [
        Mistake("A fraction of a token does not count. Round down with //.", exact),
        Mistake("That is one token too many: it would not fit. Round down.", math.ceil(exact)),
        Mistake(
            "The memory is counted in units of 10⁹ bytes. A GiB is 2³⁰ bytes.",
            max(0, memory * 10**9 - 2 * num_parameters) // per_token,
        ),
        Mistake("A GiB is 2³⁰ bytes; 2²⁰ is a MiB.", memory * 2**20 // per_token),
        *beside,
        Mistake(
            "That is twice of it. A cache keeps keys and values, and each number has 2 bytes.",
            free // (per_token // 2),
        ),
        Mistake(
            "That is four times of it. A cache keeps keys and values, and each number has 2 bytes.",
            free // (per_token // 4),
        ),
        Mistake(
            "That is half of it. A number of 16 bits has 2 bytes.",
            free // (2 * per_token),
        ),
        Mistake(
            "The layers are forgotten: each keeps keys and values of its own.",
            free * num_layers // per_token,
        ),
        Mistake(
            "The key/value heads are forgotten: each keeps keys and values of its own.",
            free * num_kv_heads // per_token,
        ),
    ]


def of_bytes_of_weights(B: int, num_heads: int, T: int, bytes_per_number: int) -> list[Mistake]:
    """Mistakes in B·h·T²·bytes."""
    right = reference.bytes_of_weights(B, num_heads, T, bytes_per_number)
    return [
        Mistake(
            "The tokens are not squared. Every query has a weight for every key: T·T in a head.",
            right // T,
        ),
        Mistake("The heads are forgotten: each has a table of its own.", right // num_heads),
        Mistake("The texts are forgotten: there are B of them.", right // B),
        Mistake(
            "That is a number of weights. Each has bytes_per_number bytes.",
            right // bytes_per_number,
        ),
        Mistake("These are bits. Asked are bytes.", right * 8),
        Mistake(
            "Only the weights of the past are counted. A table that is stored has all T·T "
            "places; a causal mask puts zeros into some.",
            B * num_heads * T * (T + 1) // 2 * bytes_per_number,
        ),
        Mistake(
            "The heads are squared. There is one table for each head, whatever its width.",
            right * num_heads,
        ),
        Mistake(
            "That is twice of it. Asked are the weights alone, in one table a head.", 2 * right
        ),
    ]


def of_bytes_of_online_softmax(
    B: int, num_heads: int, T: int, d_head: int, block: int, bytes_per_number: int
) -> list[Mistake]:
    """Mistakes in B·h·T·(block + 2 + d_head)·bytes."""
    queries = B * num_heads * T

    def held(numbers: int, times: int = queries) -> int:
        return times * numbers * bytes_per_number

    return [
        Mistake(
            "All T scores of a query are counted. Only those of one block exist at a time.",
            held(T + 2 + d_head),
        ),
        Mistake("That is the whole table of weights. The online softmax never holds it.", held(T)),
        Mistake(
            "Only the scores of the block are counted. Each query also keeps its largest "
            "score, its sum, and d_head numbers of the average.",
            held(block),
        ),
        Mistake(
            "The scores of the block are forgotten: each query has `block` of them at a time.",
            held(2 + d_head),
        ),
        Mistake(
            "The average is counted as one number. It is d_head wide, as a value is.",
            held(block + 3),
        ),
        Mistake(
            "One number is missing for each query: it keeps the largest score and the sum.",
            held(block + 1 + d_head),
        ),
        Mistake("Largest score and sum are missing: each query keeps both.", held(block + d_head)),
        Mistake(
            "Largest score, sum and average are kept for each query, in each head, not once "
            "for all.",
            (queries * block + 2 + d_head) * bytes_per_number,
        ),
        Mistake(
            "The queries are cut into blocks, too. Here all T queries run over the blocks of "
            "keys together.",
            held(block + 2 + d_head, B * num_heads * block),
        ),
        Mistake("The heads are forgotten.", held(block + 2 + d_head, B * T)),
        Mistake("The texts are forgotten: there are B of them.", held(block + 2 + d_head) // B),
        Mistake(
            "That is a number of numbers. Each has bytes_per_number bytes.",
            queries * (block + 2 + d_head),
        ),
    ]


# --------------------------------------------------------------------------- narrow heads


def of_form_rank(d_model: int, d_head: int) -> list[Mistake]:
    """Mistakes in min(d_model, d_head)."""
    return [
        Mistake(
            "That is the size of the matrix. It is a product of matrices with d_head columns, "
            "and a product has no more rank than its factors.",
            d_model,
        ),
        Mistake(
            "A matrix of d_model rows has no more rank than d_model, however wide the head is.",
            d_head,
        ),
        Mistake(
            "The ranks of W_Q and W_K are added. The rank of a product is at most the smaller "
            "of the two.",
            2 * d_head,
        ),
        Mistake(
            "The ranks of W_Q and W_K are multiplied. The rank of a product is at most the "
            "smaller of the two.",
            d_head * d_head,
        ),
        Mistake(
            "That is the number of numbers in W_Q of the head. Asked is the rank of the product.",
            d_model * d_head,
        ),
    ]


def of_form_freedom(d_model: int, d_head: int) -> list[Mistake]:
    """Mistakes in r·(2·d_model − r)."""
    d, r = d_model, min(d_model, d_head)
    return [
        Mistake(
            "All numbers of W_Q and W_K are counted. Some of them change nothing in the "
            "product: (W_Q A)(W_K A⁻ᵀ)ᵀ is the same for every invertible A with r rows.",
            2 * d * d_head,
        ),
        Mistake(
            "That is the number of entries of the product. With a small rank they are not free: "
            "the rows follow from r of them.",
            d * d,
        ),
        Mistake("That is one of the two matrices. The product has numbers of both.", d * d_head),
        Mistake(
            "One number is taken off, as for a head of width 1. For rank r a whole r × r matrix "
            "can be moved from W_Q to W_K.",
            2 * d * r - 1,
        ),
        Mistake(
            "One number is taken off for each column. Columns cannot only be stretched, they "
            "can be mixed as well: a whole r × r matrix.",
            2 * d * r - r,
        ),
        Mistake(
            "The r × r matrix is taken off twice. What W_Q gains W_K loses: it is one matrix.",
            2 * d * r - 2 * r * r,
        ),
        Mistake(
            "W_Q and W_K have more columns than the product has rank here. Count with the rank, "
            "min(d_model, d_head).",
            2 * d * d_head - d_head * d_head,
        ),
    ]


def of_number_of_rankings(queries: Tensor, keys: Tensor) -> list[Mistake]:
    """Mistakes in counting the different orders of the keys."""
    scores = queries.double() @ keys.double().T
    T_q, T_k = scores.shape
    return [
        Mistake(
            "Favourites are counted: the keys that come first for some query. A ranking is the "
            "order of all keys.",
            scores.argmax(dim=-1).unique().numel(),
        ),
        Mistake(
            "That is the number of queries. Two queries may put the keys in the same order: "
            "count different orders, not different scores.",
            T_q,
        ),
        Mistake(
            "Those are all orders that there could be, T_k!. Count the ones that these queries "
            "make.",
            math.factorial(T_k),
        ),
        Mistake(
            "The queries are put in order for each key. Each query puts the keys in order: sort "
            "along the axis of the keys.",
            reference.number_of_orders(scores.T),
        ),
        Mistake(
            "The scores are sorted by size without their sign. A large negative score is the "
            "smallest.",
            reference.number_of_orders(scores.abs()),
        ),
        Mistake(
            "Only the order of the keys by themselves is counted. Each query has scores of its "
            "own.",
            1,
        ),
    ]


# --------------------------------------------------------------------------- real models


def of_attention_parameters_of(config: Mapping[str, int]) -> list[Mistake]:
    """Mistakes in the parameters of all attention layers, without biases."""
    d, h, layers = (
        config[name] for name in ("hidden_size", "num_attention_heads", "num_hidden_layers")
    )
    g = config.get("num_key_value_heads", h)
    k = config.get("head_dim", d // h)
    one = 2 * d * (h + g) * k
    groups = (
        "num_key_value_heads is not used. Where the configuration has it, W_K and W_V make so "
        "many heads."
    )
    width = (
        "head_dim is not used. Where the configuration has it, a head is so wide, and "
        "hidden_size / num_attention_heads is not its width."
    )
    return [
        Mistake("That is one layer. The model has num_hidden_layers of them.", one),
        Mistake(groups, layers * 4 * d * h * k, "sharing-heads"),
        Mistake(width, layers * 2 * d * (h + g) * (d // h), "width-of-heads-today"),
        Mistake(
            "That is layers·4·d_model², right only without groups of heads and without a width "
            "of its own: look for num_key_value_heads and head_dim.",
            layers * 4 * d * d,
            "width-of-heads-today",
        ),
        Mistake(
            "W_O is forgotten: there are four matrices, W_Q, W_K, W_V and W_O.",
            layers * d * (h + 2 * g) * k,
        ),
        Mistake(
            "W_Q and W_O are counted with the key/value heads. They belong to "
            "num_attention_heads heads.",
            layers * 4 * d * g * k,
            "sharing-heads",
        ),
        Mistake(
            "Without num_key_value_heads, one key/value head is taken. Then every query head has "
            "one of its own: g = h.",
            layers * 2 * d * (h + 1) * k,
            "sharing-heads",
        ),
        Mistake(
            "Biases are counted. Asked are the matrices without biases.",
            layers * (one + (h + 2 * g) * k + d),
        ),
        Mistake(
            "The feed-forward part is counted. Asked is the attention alone.",
            layers * (one + 8 * d * d),
        ),
        Mistake(
            "The heads are counted as hidden_size wide each. Together they are "
            "num_attention_heads times the width of one head wide.",
            layers * 4 * d * d * h,
        ),
    ]
