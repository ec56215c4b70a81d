"""Answers to the assignment `counting`: wrong ones with the misconception behind them, right ones.

The wrong answers are what learners write who count something else, or forget a part.
"""

from __future__ import annotations

from mha_course.grading.bank import Right, Wrong

PARAMETERS = """
def attention_parameters(d, h, g, k, bias):
    q, kv = d * h * k, d * g * k
    return {}
"""
PERCENT = """
def percent_more(d, single_has_w_o, d_ff):
    ff = 2 * d * d_ff
    many, single = 4 * d**2 + ff, (4 if single_has_w_o else 3) * d**2 + ff
    {}
"""
PROJECTIONS = "def flops_of_projections(B, T, d):\n    return {}"
SCORES = "def flops_of_scores(B, n, m, h, k):\n    return {}"
CROSSING = "def crossing_length(d, h, g):\n    return {}"
CACHE = "def kv_cache_bytes(layers, g, k, T, B, size):\n    return {}"
REAL = """
def times_smaller(s):
    return {}

def smallest_cache(shapes):
    return {}
"""
RATIO = "s['num_heads'] / s['num_kv_heads']"
SMALLEST = (
    "min(shapes, key=lambda n: shapes[n]['num_layers'] * shapes[n]['num_kv_heads'] "
    "* shapes[n]['d_head'])"
)
CONTEXT = """
def longest_context(memory, params, layers, g, k):
    gib, token = 2**30, 4 * layers * g * k
    {}
"""
MEMORY = """
def bytes_of_weights(B, h, T, size):
    return {}

def bytes_of_online_softmax(B, h, T, k, block, size):
    return {}
"""
ALL_WEIGHTS = "B * h * T**2 * size"
ONLINE = "B * h * T * (block + k + 2) * size"
FORM = """
def form_rank(d, k):
    return {}

def form_freedom(d, k):
    r = min(d, k)
    return {}
"""
RANK = "min(d, k)"
FREE = "r * (2 * d - r)"
RANKINGS = """
def number_of_rankings(q, k):
    s = q @ k.T
    return {}
"""
CONFIG = """
def attention_parameters_of(config):
    d, h = config["hidden_size"], config["num_attention_heads"]
    g, layers = config.get("num_key_value_heads", h), config["num_hidden_layers"]
    k = config.get("head_dim", d // h)
    return {}
"""

ORDINARY = ("test_attention_parameters",)
NO_BIAS = ("test_attention_parameters", "test_attention_parameters_grouped")

WRONG = [
    # ------------------------------------------------------------------ task 1
    Wrong(
        "attention_parameters",
        "biases do not count",
        PARAMETERS.format("2 * q + 2 * kv"),
        "The biases are forgotten",
        keeps=NO_BIAS,
    ),
    Wrong(
        "attention_parameters",
        "there are three matrices: W_O is no part of attention",
        PARAMETERS.format("q + 2 * kv + bias * (h * k + 2 * g * k)"),
        "W_O is forgotten",
    ),
    Wrong(
        "attention_parameters",
        "each query head has keys and values of its own",
        PARAMETERS.format("4 * q + bias * (3 * h * k + d)"),
        "W_K and W_V are counted with the query heads",
        keeps=("test_attention_parameters", "test_attention_parameters_biases"),
    ),
    Wrong(
        "attention_parameters",
        "with groups, all four matrices shrink",
        PARAMETERS.format("4 * kv + bias * (3 * g * k + d)"),
        "W_Q and W_O are counted with the key/value heads",
        keeps=("test_attention_parameters", "test_attention_parameters_biases"),
    ),
    Wrong(
        "attention_parameters",
        "4 d² always",
        PARAMETERS.format("4 * d * d + bias * 4 * d"),
        "right only where h·d_head = d_model",
        keeps=("test_attention_parameters", "test_attention_parameters_biases"),
    ),
    Wrong(
        "attention_parameters",
        "d_head is d_model / h by law",
        """
        def attention_parameters(d, h, g, k, bias):
            k = d / h
            return round(2 * d * h * k + 2 * d * g * k + bias * (h * k + 2 * g * k + d))
        """,
        "d_head is not used",
        keeps=("test_attention_parameters", "test_attention_parameters_biases"),
    ),
    Wrong(
        "attention_parameters",
        "h heads of full width each",
        PARAMETERS.format("4 * d * d * h + bias * (h * k + 2 * g * k + d)"),
        "The heads are counted as d_model wide each",
    ),
    Wrong(
        "attention_parameters",
        "a bias is as wide as the input",
        PARAMETERS.format("2 * q + 2 * kv + bias * 4 * d"),
        "A bias is as wide as what comes out",
        keeps=(
            "test_attention_parameters",
            "test_attention_parameters_biases",
            "test_attention_parameters_grouped",
        ),
    ),
    Wrong(
        "attention_parameters",
        "one bias for all four projections",
        PARAMETERS.format("2 * q + 2 * kv + bias * d"),
        "One bias is counted",
        keeps=NO_BIAS,
    ),
    Wrong(
        "attention_parameters",
        "biases are always there, as in PyTorch by default",
        PARAMETERS.format("2 * q + 2 * kv + h * k + 2 * g * k + d"),
        "although bias is False",
        keeps=("test_attention_parameters_all",),
    ),
    Wrong(
        "attention_parameters",
        "one head stands for all",
        PARAMETERS.format("4 * d * k + bias * (3 * k + d)"),
        "the count for one head",
    ),
    Wrong(
        "attention_parameters",
        "a count may be a float",
        PARAMETERS.format("(2 * q + 2 * kv + bias * (h * k + 2 * g * k + d)) / 1"),
        "must be an int",
    ),
    # ------------------------------------------------------------------ task 2
    Wrong(
        "percent_more",
        "a ratio is a percentage",
        PERCENT.format("return many / single"),
        "A ratio of 1.25 means 25 per cent more",
    ),
    Wrong(
        "percent_more",
        "a share is a percentage",
        PERCENT.format("return many / single - 1"),
        "In per cent it is 100 times as much",
    ),
    Wrong(
        "percent_more",
        "133 per cent more",
        PERCENT.format("return 100 * many / single"),
        "subtract 100",
    ),
    Wrong(
        "percent_more",
        "divides by the larger count",
        PERCENT.format("return 100 * (many - single) / many"),
        "divided by the larger count",
    ),
    Wrong(
        "percent_more",
        "how much less the other has",
        PERCENT.format("return 100 * (single / many - 1)"),
        "turned round",
    ),
    Wrong(
        "percent_more",
        "multi-head attention always costs a third more",
        """
        def percent_more(d, single_has_w_o, d_ff):
            ff = 2 * d * d_ff
            return 100 * ((4 * d**2 + ff) / (3 * d**2 + ff) - 1)
        """,
        "the single head has W_O too",
    ),
    Wrong(
        "percent_more",
        "multi-head attention never costs anything",
        "def percent_more(d, single_has_w_o, d_ff):\n    return 0.0",
        "the single head has no W_O",
    ),
    Wrong(
        "percent_more",
        "a block is its attention",
        PERCENT.format("return 100 * ((many - ff) / (single - ff) - 1)"),
        "feed-forward part is left out",
        keeps=("test_percent_more",),
    ),
    Wrong(
        "percent_more",
        "a feed-forward part is one matrix",
        PERCENT.format("return 100 * ((many - ff / 2) / (single - ff / 2) - 1)"),
        "counted as one matrix",
        keeps=("test_percent_more",),
    ),
    Wrong(
        "percent_more",
        "the feed-forward part belongs to multi-head attention",
        PERCENT.format("return 100 * (many / (single - ff) - 1)"),
        "on one side only",
        keeps=("test_percent_more",),
    ),
    Wrong(
        "percent_more",
        "rounds, as articles do",
        PERCENT.format("return round(100 * (many / single - 1))"),
        "Do not round",
    ),
    # ------------------------------------------------------------------ task 3
    Wrong(
        "flops_of_projections",
        "a multiply-add is one operation",
        PROJECTIONS.format("4 * B * T * d * d"),
        "it counts as two",
    ),
    Wrong(
        "flops_of_projections",
        "three projections",
        PROJECTIONS.format("6 * B * T * d * d"),
        "W_O is forgotten",
    ),
    Wrong(
        "flops_of_projections",
        "one projection",
        PROJECTIONS.format("2 * B * T * d * d"),
        "There are four",
    ),
    Wrong(
        "flops_of_projections",
        "a batch is one text",
        PROJECTIONS.format("8 * T * d * d"),
        "The texts are forgotten",
    ),
    Wrong(
        "flops_of_projections",
        "operations are parameters",
        PROJECTIONS.format("4 * d * d"),
        "the number of parameters",
    ),
    Wrong(
        "flops_of_projections",
        "one multiply-add for each result",
        PROJECTIONS.format("8 * B * T * d"),
        "adds up d_model products",
    ),
    Wrong(
        "flops_of_projections",
        "everything in attention is quadratic in T",
        PROJECTIONS.format("8 * B * T**2 * d * d"),
        "takes each token alone",
    ),
    # ------------------------------------------------------------------ task 4
    Wrong(
        "flops_of_scores",
        "scores only, no mixing",
        SCORES.format("2 * B * h * n * m * k"),
        "There are two products",
    ),
    Wrong(
        "flops_of_scores",
        "scores only, and a multiply-add is one operation",
        SCORES.format("B * h * n * m * k"),
        "That is a quarter of it",
    ),
    Wrong(
        "flops_of_scores",
        "one head stands for all",
        SCORES.format("4 * B * n * m * k"),
        "The heads are forgotten",
    ),
    Wrong(
        "flops_of_scores",
        "a batch is one text",
        SCORES.format("4 * h * n * m * k"),
        "The texts are forgotten",
    ),
    Wrong(
        "flops_of_scores",
        "queries and keys are as many",
        SCORES.format("4 * B * h * n * n * k"),
        "T_q is used for both axes",
        keeps=("test_flops_of_scores",),
    ),
    Wrong(
        "flops_of_scores",
        "only the keys count",
        SCORES.format("4 * B * h * m * m * k"),
        "T_k is used for both axes",
        keeps=("test_flops_of_scores",),
    ),
    Wrong(
        "flops_of_scores",
        "a score costs the same at any width",
        SCORES.format("4 * B * h * n * m"),
        "does not depend on d_head",
    ),
    Wrong(
        "flops_of_scores",
        "queries and keys are added",
        SCORES.format("4 * B * h * (n + m) * k"),
        "multiply T_q and T_k",
    ),
    Wrong(
        "flops_of_scores",
        "linear in the number of tokens",
        SCORES.format("4 * B * h * n * k"),
        "stands in it once",
    ),
    Wrong(
        "flops_of_scores",
        "more heads, more work: each is d_model wide",
        SCORES.format("4 * B * h * n * m * (h * k)"),
        "the width of one head",
    ),
    # ------------------------------------------------------------------ task 5
    Wrong(
        "crossing_length",
        "2 d_model always",
        CROSSING.format("2 * d"),
        "right only where every query head",
        keeps=("test_crossing_length",),
    ),
    Wrong(
        "crossing_length",
        "a multiply-add as two on one side only",
        CROSSING.format("d * (h + g) / (2 * h)"),
        "That is half of it",
    ),
    Wrong(
        "crossing_length",
        "mixing is forgotten",
        CROSSING.format("2 * d * (h + g) / h"),
        "That is twice of it",
    ),
    Wrong(
        "crossing_length",
        "three projections",
        CROSSING.format("d * (h + 2 * g) / (2 * h)"),
        "W_O is forgotten",
    ),
    Wrong(
        "crossing_length",
        "groups save scores too",
        CROSSING.format("d * (h + g) / g"),
        "The scores are counted with the key/value heads",
        keeps=("test_crossing_length",),
    ),
    Wrong(
        "crossing_length",
        "with groups, all four matrices shrink",
        CROSSING.format("2 * d * g / h"),
        "W_Q and W_O are counted",
        keeps=("test_crossing_length",),
    ),
    Wrong(
        "crossing_length",
        "the width of a head sets the length",
        CROSSING.format("2 * d / h"),
        "The widths of heads drop out",
    ),
    Wrong(
        "crossing_length",
        "takes the root, because scores grow with T²",
        CROSSING.format("(d * (1 + g / h)) ** 0.5"),
        "so T itself is left over",
    ),
    Wrong(
        "crossing_length",
        "rounds to whole heads",
        CROSSING.format("d * (1 + g // h)"),
        "solve for T",
        keeps=("test_crossing_length",),
    ),
    # ------------------------------------------------------------------ task 6
    Wrong(
        "kv_cache_bytes",
        "keys only",
        CACHE.format("layers * g * k * T * B * size"),
        "Keys are kept, and values too",
    ),
    Wrong(
        "kv_cache_bytes",
        "queries are kept as well",
        CACHE.format("3 * layers * g * k * T * B * size"),
        "an old query is never asked again",
    ),
    Wrong(
        "kv_cache_bytes",
        "one cache for all layers",
        CACHE.format("2 * g * k * T * B * size"),
        "The layers are forgotten",
        keeps=("test_kv_cache_bytes",),
    ),
    Wrong(
        "kv_cache_bytes",
        "one cache for all texts, as for the parameters",
        CACHE.format("2 * layers * g * k * T * size"),
        "The texts are forgotten",
        keeps=("test_kv_cache_bytes",),
    ),
    Wrong(
        "kv_cache_bytes",
        "numbers are bytes",
        CACHE.format("2 * layers * g * k * T * B"),
        "That is a number of numbers",
    ),
    Wrong(
        "kv_cache_bytes",
        "bits",
        CACHE.format("2 * layers * g * k * T * B * size * 8"),
        "These are bits",
    ),
    Wrong(
        "kv_cache_bytes",
        "the scores are kept",
        CACHE.format("2 * layers * g * k * T * T * B * size"),
        "no scores",
    ),
    Wrong(
        "kv_cache_bytes",
        "one key/value head",
        CACHE.format("2 * layers * k * T * B * size"),
        "The key/value heads are forgotten",
    ),
    # ------------------------------------------------------------------ task 7
    Wrong(
        "cache_of_real_models",
        "the ratio upside down",
        REAL.format("s['num_kv_heads'] / s['num_heads']", SMALLEST),
        "upside down",
        keeps=("test_cache_of_real_models_smallest",),
    ),
    Wrong(
        "cache_of_real_models",
        "GQA is MQA",
        REAL.format("s['num_heads']", SMALLEST),
        "right for multi-query attention",
        keeps=("test_cache_of_real_models_smallest",),
    ),
    Wrong(
        "cache_of_real_models",
        "8 key/value heads mean 8 times smaller",
        REAL.format("s['num_kv_heads']", SMALLEST),
        "how many query heads share",
        keeps=("test_cache_of_real_models_smallest",),
    ),
    Wrong(
        "cache_of_real_models",
        "full keys are d_model wide",
        REAL.format("s['d_model'] / (s['num_kv_heads'] * s['d_head'])", SMALLEST),
        "h·d_head wide, which may differ",
        keeps=("test_cache_of_real_models_smallest",),
    ),
    Wrong(
        "cache_of_real_models",
        "a saving in per cent",
        REAL.format("100 * (1 - s['num_kv_heads'] / s['num_heads'])", SMALLEST),
        "a saving in per cent",
        keeps=("test_cache_of_real_models_smallest",),
    ),
    Wrong(
        "cache_of_real_models",
        "the cache depends on the query heads",
        REAL.format(RATIO, SMALLEST.replace("num_kv_heads", "num_heads")),
        "The query heads are counted",
        keeps=("test_cache_of_real_models",),
    ),
    Wrong(
        "cache_of_real_models",
        "the cache depends on d_model",
        REAL.format(
            RATIO, "min(shapes, key=lambda n: shapes[n]['num_layers'] * shapes[n]['d_model'])"
        ),
        "The count uses d_model",
        keeps=("test_cache_of_real_models",),
    ),
    Wrong(
        "cache_of_real_models",
        "one layer is enough for a comparison",
        REAL.format(RATIO, SMALLEST.replace("shapes[n]['num_layers'] * ", "")),
        "The layers are forgotten",
        keeps=("test_cache_of_real_models",),
    ),
    Wrong(
        "cache_of_real_models",
        "all heads are equally wide",
        REAL.format(RATIO, SMALLEST.replace("* shapes[n]['d_head']", "")),
        "The width of the heads is forgotten",
        keeps=("test_cache_of_real_models",),
    ),
    Wrong(
        "cache_of_real_models",
        "the smallest model has the smallest cache",
        REAL.format(RATIO, "min(shapes, key=lambda n: shapes[n]['d_model'])"),
        "the model of the smallest width",
        keeps=("test_cache_of_real_models",),
    ),
    Wrong(
        "cache_of_real_models",
        "fewest key/value heads win",
        REAL.format(RATIO, "min(shapes, key=lambda n: shapes[n]['num_kv_heads'])"),
        "fewest key/value heads",
        keeps=("test_cache_of_real_models",),
    ),
    Wrong(
        "cache_of_real_models",
        "the number in place of the name",
        REAL.format(
            RATIO,
            "min(2 * s['num_layers'] * s['num_kv_heads'] * s['d_head'] for s in shapes.values())",
        ),
        "Asked is a word",
        keeps=("test_cache_of_real_models",),
    ),
    # ------------------------------------------------------------------ task 8
    Wrong(
        "longest_context",
        "a GiB is a billion bytes",
        CONTEXT.format("return max(0, (10**9 * memory - 2 * params) // token)"),
        "A GiB is 2³⁰ bytes",
    ),
    Wrong(
        "longest_context",
        "the parameters are somewhere else",
        CONTEXT.format("return gib * memory // token"),
        "The parameters are left out",
        keeps=("test_longest_context",),
    ),
    Wrong(
        "longest_context",
        "a parameter is a byte",
        CONTEXT.format("return max(0, (gib * memory - params) // token)"),
        "counted with one byte each",
        keeps=("test_longest_context",),
    ),
    Wrong(
        "longest_context",
        "negative tokens",
        CONTEXT.format("return (gib * memory - 2 * params) // token"),
        "a negative number of tokens",
        keeps=("test_longest_context", "test_longest_context_parameters"),
    ),
    Wrong(
        "longest_context",
        "keys only",
        CONTEXT.format("return max(0, 2 * (gib * memory - 2 * params) // token)"),
        "That is twice of it",
    ),
    Wrong(
        "longest_context",
        "keys only, and one byte a number",
        CONTEXT.format("return max(0, 4 * (gib * memory - 2 * params) // token)"),
        "That is four times of it",
    ),
    Wrong(
        "longest_context",
        "one layer",
        CONTEXT.format("return max(0, (gib * memory - 2 * params) * layers // token)"),
        "The layers are forgotten",
    ),
    Wrong(
        "longest_context",
        "a fraction of a token",
        CONTEXT.format("return max(0, (gib * memory - 2 * params) / token)"),
        "A fraction of a token does not count",
    ),
    Wrong(
        "longest_context",
        "rounds up",
        CONTEXT.format("return max(0, -((2 * params - gib * memory) // token))"),
        "one token too many",
    ),
    # ------------------------------------------------------------------ task 9
    Wrong(
        "memory_of_weights",
        "one weight for each token",
        MEMORY.format("B * h * T * size", ONLINE),
        "The tokens are not squared",
        keeps=("test_memory_of_weights_online",),
    ),
    Wrong(
        "memory_of_weights",
        "the heads share one table",
        MEMORY.format("B * T * T * size", ONLINE),
        "each has a table of its own",
        keeps=("test_memory_of_weights_online",),
    ),
    Wrong(
        "memory_of_weights",
        "numbers are bytes",
        MEMORY.format("B * h * T * T", ONLINE),
        "That is a number of weights",
        keeps=("test_memory_of_weights_online",),
    ),
    Wrong(
        "memory_of_weights",
        "a causal mask halves the table",
        MEMORY.format("B * h * T * (T + 1) // 2 * size", ONLINE),
        "all T·T places",
        keeps=("test_memory_of_weights_online",),
    ),
    Wrong(
        "memory_of_weights",
        "a batch is one text",
        MEMORY.format("h * T * T * size", ONLINE),
        "The texts are forgotten",
        keeps=("test_memory_of_weights_online",),
    ),
    Wrong(
        "memory_of_weights",
        "all scores are there anyway",
        MEMORY.format(ALL_WEIGHTS, "B * h * T * (T + k + 2) * size"),
        "Only those of one block exist",
        keeps=("test_memory_of_weights",),
    ),
    Wrong(
        "memory_of_weights",
        "a fused kernel saves nothing",
        MEMORY.format(ALL_WEIGHTS, "B * h * T * T * size"),
        "never holds it",
        keeps=("test_memory_of_weights",),
    ),
    Wrong(
        "memory_of_weights",
        "only the scores of the block",
        MEMORY.format(ALL_WEIGHTS, "B * h * T * block * size"),
        "Only the scores of the block are counted",
        keeps=("test_memory_of_weights",),
    ),
    Wrong(
        "memory_of_weights",
        "the average is a number",
        MEMORY.format(ALL_WEIGHTS, "B * h * T * (block + 3) * size"),
        "It is d_head wide",
        keeps=("test_memory_of_weights",),
    ),
    Wrong(
        "memory_of_weights",
        "the sum is enough, no largest score",
        MEMORY.format(ALL_WEIGHTS, "B * h * T * (block + k + 1) * size"),
        "the largest score and the sum",
        keeps=("test_memory_of_weights",),
    ),
    # ----------------------------------------------------------------- task 10
    Wrong(
        "bilinear_form",
        "a d × d matrix has rank d",
        FORM.format("d", FREE),
        "That is the size of the matrix",
        keeps=("test_bilinear_form_freedom",),
    ),
    Wrong(
        "bilinear_form",
        "the ranks of factors add up",
        FORM.format("2 * k", FREE),
        "The ranks of W_Q and W_K are added",
        keeps=("test_bilinear_form_freedom",),
    ),
    Wrong(
        "bilinear_form",
        "a wide head has more rank than the model",
        FORM.format("k", FREE),
        "no more rank than d_model",
        keeps=("test_bilinear_form_freedom",),
    ),
    Wrong(
        "bilinear_form",
        "what is stored is free",
        FORM.format(RANK, "2 * d * k"),
        "All numbers of W_Q and W_K are counted",
        keeps=("test_bilinear_form",),
    ),
    Wrong(
        "bilinear_form",
        "every entry is free",
        FORM.format(RANK, "d * d"),
        "the number of entries",
        keeps=("test_bilinear_form",),
    ),
    Wrong(
        "bilinear_form",
        "one scale can be moved",
        FORM.format(RANK, "2 * d * r - 1"),
        "One number is taken off, as for a head of width 1",
        keeps=("test_bilinear_form",),
    ),
    Wrong(
        "bilinear_form",
        "one scale for each column",
        FORM.format(RANK, "2 * d * r - r"),
        "they can be mixed as well",
        keeps=("test_bilinear_form",),
    ),
    Wrong(
        "bilinear_form",
        "a wide head counts with all its columns",
        FORM.format(RANK, "2 * d * k - k * k"),
        "Count with the rank",
        keeps=("test_bilinear_form",),
    ),
    # ----------------------------------------------------------------- task 11
    Wrong(
        "number_of_rankings",
        "favourites are rankings",
        RANKINGS.format("s.argmax(-1).unique().numel()"),
        "Favourites are counted",
    ),
    Wrong(
        "number_of_rankings",
        "each query has an order of its own",
        RANKINGS.format("len(s.unique(dim=0))"),
        "That is the number of queries",
    ),
    Wrong(
        "number_of_rankings",
        "every order can be had",
        RANKINGS.format("__import__('math').factorial(len(k))"),
        "all orders that there could be",
    ),
    Wrong(
        "number_of_rankings",
        "the keys put the queries in order",
        RANKINGS.format("len(s.argsort(0).T.unique(dim=0))"),
        "The queries are put in order for each key",
    ),
    Wrong(
        "number_of_rankings",
        "a large negative score is large",
        RANKINGS.format("len(s.abs().argsort(1).unique(dim=0))"),
        "without their sign",
    ),
    Wrong(
        "number_of_rankings",
        "always two, as at width 1",
        RANKINGS.format("2"),
        "count the different lists",
    ),
    Wrong(
        "number_of_rankings",
        "the orders themselves, not their number",
        RANKINGS.format("s.argsort(1).unique(dim=0)"),
        "Asked is a single number",
    ),
    # ----------------------------------------------------------------- task 12
    Wrong(
        "attention_parameters_of",
        "one layer",
        CONFIG.format("2 * d * (h + g) * k"),
        "That is one layer",
    ),
    Wrong(
        "attention_parameters_of",
        "num_key_value_heads is for the cache only",
        CONFIG.format("layers * 4 * d * h * k"),
        "num_key_value_heads is not used",
        keeps=("test_attention_parameters_of",),
    ),
    Wrong(
        "attention_parameters_of",
        "d_head is d_model / h by law",
        CONFIG.format("layers * 2 * d * (h + g) * (d // h)"),
        "head_dim is not used",
        keeps=("test_attention_parameters_of", "test_attention_parameters_of_groups"),
    ),
    Wrong(
        "attention_parameters_of",
        "4 d² for every model",
        CONFIG.format("layers * 4 * d * d"),
        "num_key_value_heads is not used",
        keeps=("test_attention_parameters_of",),
    ),
    Wrong(
        "attention_parameters_of",
        "three matrices",
        CONFIG.format("layers * d * (h + 2 * g) * k"),
        "W_O is forgotten",
    ),
    Wrong(
        "attention_parameters_of",
        "with groups, all four matrices shrink",
        CONFIG.format("layers * 4 * d * g * k"),
        "W_Q and W_O are counted with the key/value heads",
        keeps=("test_attention_parameters_of",),
    ),
    Wrong(
        "attention_parameters_of",
        "every configuration has head_dim",
        """
        def attention_parameters_of(config):
            d, h, k = config["hidden_size"], config["num_attention_heads"], config["head_dim"]
            g = config.get("num_key_value_heads", h)
            return config["num_hidden_layers"] * 2 * d * k * (h + g)
        """,
        "KeyError",
        keeps=("test_attention_parameters_of_width",),
    ),
    Wrong(
        "attention_parameters_of",
        "without num_key_value_heads there is one",
        """
        def attention_parameters_of(config):
            d, h = config["hidden_size"], config["num_attention_heads"]
            g, k = config.get("num_key_value_heads", 1), config.get("head_dim", d // h)
            return config["num_hidden_layers"] * 2 * d * k * (h + g)
        """,
        "one key/value head is taken",
        keeps=("test_attention_parameters_of_groups",),
    ),
]

RIGHT = [
    Right(
        "attention_parameters",
        "counts tensors",
        """
        def attention_parameters(d_model, num_heads, num_kv_heads, d_head, bias):
            wide, narrow = num_heads * d_head, num_kv_heads * d_head
            layers = [(d_model, wide), (d_model, narrow), (d_model, narrow), (wide, d_model)]
            modules = [torch.nn.Linear(*sizes, bias=bias) for sizes in layers]
            return sum(p.numel() for m in modules for p in m.parameters())
        """,
    ),
    Right(
        "attention_parameters",
        "head by head, in a loop",
        """
        def attention_parameters(d, h, g, k, b):
            count = 0
            for i in range(h):
                count += d * k + k * d  # its columns of W_Q, its rows of W_O
                if b:
                    count += k
            for j in range(g):
                count += 2 * d * k
                if b:
                    count += 2 * k
            print("so far", count)
            return count + d if b else count
        """,
    ),
    Right(
        "attention_parameters",
        "numpy, an extra row for the bias",
        """
        import numpy as np

        def attention_parameters(d_model, num_heads, num_kv_heads, d_head, bias):
            rows = np.array([d_model, d_model, d_model, num_heads * d_head]) + int(bias)
            columns = np.array([num_heads, num_kv_heads, num_kv_heads, 1]) * d_head
            columns[3] = d_model
            return int(rows @ columns)
        """,
    ),
    Right(
        "percent_more",
        "difference over the single head",
        """
        def percent_more(d, w_o, d_ff):
            missing = 0 if w_o else d**2
            return missing / (4 * d**2 - missing + 2 * d * d_ff) * 100
        """,
    ),
    Right(
        "percent_more",
        "counts tensors, and warns",
        """
        import warnings

        def percent_more(d_model, single_has_w_o, d_ff):
            warnings.warn("a right answer may warn")
            matrix = torch.empty(d_model, d_model).numel()
            up, down = torch.empty(d_model, d_ff).numel(), torch.empty(d_ff, d_model).numel()
            many = single = up + down
            for name in "QKVO":
                many += matrix
                single += matrix if name != "O" or single_has_w_o else 0
            return (many - single) / single * 100.0
        """,
    ),
    Right(
        "percent_more",
        "an exact fraction",
        """
        from fractions import Fraction

        def percent_more(d, flag, d_ff):
            three_or_four = 3 + bool(flag)
            both = Fraction(2 * d_ff, d)
            return float(100 * (Fraction(4 + both) / (three_or_four + both) - 1))
        """,
    ),
    Right(
        "flops_of_projections",
        "matrix by matrix",
        """
        def flops_of_projections(B, T, d_model):
            total = 0
            for matrix in ("W_Q", "W_K", "W_V", "W_O"):
                results = B * T * d_model
                total += results * d_model  # multiplications
                total += results * d_model  # additions
            return total
        """,
    ),
    Right(
        "flops_of_projections",
        "a float, from torch",
        """
        def flops_of_projections(B, T, width):
            return torch.tensor([8, B, T, width, width], dtype=torch.float64).prod()
        """,
    ),
    Right(
        "flops_of_projections",
        "numpy int64",
        """
        import numpy as np

        def flops_of_projections(B, T, d):
            return np.int64(2) * B * T * (4 * d**2)
        """,
    ),
    Right(
        "flops_of_scores",
        "two products, each from its shapes",
        """
        def product(n, inner, m):
            return 2 * n * inner * m

        def flops_of_scores(B, T_q, T_k, h, k):
            return B * h * (product(T_q, k, T_k) + product(T_q, T_k, k))
        """,
    ),
    Right(
        "flops_of_scores",
        "PyTorch counts",
        """
        from torch.utils.flop_counter import FlopCounterMode

        def flops_of_scores(B, T_q, T_k, num_heads, d_head):
            q = torch.empty(B * num_heads, T_q, d_head, device="meta")
            k = torch.empty(B * num_heads, T_k, d_head, device="meta")
            with FlopCounterMode(display=False) as counter:
                torch.bmm(torch.bmm(q, k.transpose(1, 2)), k)
            return counter.get_total_flops()
        """,
    ),
    Right(
        "flops_of_scores",
        "in loops over texts and heads, slow",
        """
        def flops_of_scores(B, T_q, T_k, num_heads, d_head):
            flops = 0
            for text in range(B):
                for head in range(num_heads):
                    for query in range(T_q):
                        flops += 2 * T_k * d_head
                        flops += 2 * d_head * T_k
            return float(flops)
        """,
    ),
    Right(
        "crossing_length",
        "factored",
        """
        def crossing_length(d, h, g):
            return d + d * g / h
        """,
    ),
    Right(
        "crossing_length",
        "cost of a token over cost of a pair",
        """
        def crossing_length(d_model, num_heads, num_kv_heads):
            d_head = 64  # any width does
            per_token = 2 * (2 * d_model * num_heads + 2 * d_model * num_kv_heads) * d_head
            per_pair = 2 * 2 * num_heads * d_head
            return per_token / per_pair
        """,
    ),
    Right(
        "crossing_length",
        "an exact fraction",
        """
        from fractions import Fraction

        def crossing_length(width, heads, shared):
            return float(width * (1 + Fraction(shared, heads)))
        """,
    ),
    Right(
        "crossing_length",
        "halving an interval",
        """
        def crossing_length(d, h, g):
            low, high = 0.0, 1e6
            for _ in range(80):
                T = (low + high) / 2
                if 2 * T * T * h > T * d * (2 * h + 2 * g):
                    high = T
                else:
                    low = T
            return low
        """,
    ),
    Right(
        "kv_cache_bytes",
        "counts tensors",
        """
        def kv_cache_bytes(num_layers, num_kv_heads, d_head, T, B, bytes_per_number):
            key = torch.empty(num_layers, B, num_kv_heads, T, d_head, device="meta")
            value = torch.empty_like(key)
            return (key.numel() + value.numel()) * bytes_per_number
        """,
    ),
    Right(
        "kv_cache_bytes",
        "layer by layer, text by text",
        """
        def kv_cache_bytes(layers, g, k, n, texts, size):
            total = 0
            for layer in range(layers):
                for text in range(texts):
                    keys = n * g * k
                    total += 2 * keys * size
            return total
        """,
    ),
    Right(
        "kv_cache_bytes",
        "a float product",
        """
        import math

        def kv_cache_bytes(*sizes):
            return 2.0 * math.prod(sizes)
        """,
    ),
    Right(
        "cache_of_real_models",
        "numpy and a sorted list",
        """
        import numpy as np

        def times_smaller(shape):
            return np.float64(shape["num_heads"]) / shape["num_kv_heads"]

        def smallest_cache(shapes):
            table = [(s["num_layers"] * s["d_head"] * s["num_kv_heads"], n)
                     for n, s in shapes.items()]
            return sorted(table)[0][1]
        """,
    ),
    Right(
        "cache_of_real_models",
        "both counts in full; a loop; upper case",
        """
        def keep(shape, g):
            return 2 * shape["num_layers"] * g * shape["d_head"] * 2  # bytes in 16 bits

        def times_smaller(shape):
            return keep(shape, shape["num_heads"]) / keep(shape, shape["num_kv_heads"])

        def smallest_cache(shapes):
            best = None
            for name in shapes:
                mine = keep(shapes[name], shapes[name]["num_kv_heads"])
                if best is None or mine < keep(shapes[best], shapes[best]["num_kv_heads"]):
                    best = name
            return best.upper()
        """,
    ),
    Right(
        "cache_of_real_models",
        "whole division where it is whole; takes the dictionary apart",
        """
        def times_smaller(shape):
            return shape.pop("num_heads") // shape.pop("num_kv_heads")

        def smallest_cache(shapes):
            while len(shapes) > 1:
                one, other = list(shapes)[:2]
                count = lambda s: s["num_kv_heads"] * s["num_layers"] * s["d_head"]
                del shapes[one if count(shapes[one]) > count(shapes[other]) else other]
            return next(iter(shapes))
        """,
    ),
    Right(
        "longest_context",
        "if and divmod",
        """
        def longest_context(memory, num_parameters, num_layers, num_kv_heads, d_head):
            left = memory * 1024**3 - num_parameters * 16 // 8
            if left < 0:
                return 0
            tokens, rest = divmod(left, 2 * 2 * num_layers * num_kv_heads * d_head)
            print(rest, "bytes are left over")
            return tokens
        """,
    ),
    Right(
        "longest_context",
        "in bits, with math.floor",
        """
        import math

        def longest_context(gib, params, layers, g, k):
            bits = gib * 2**33 - 16 * params
            return max(math.floor(bits / (16 * 2 * layers * g * k)), 0)
        """,
    ),
    Right(
        "longest_context",
        "int of a float, clamped by torch",
        """
        def longest_context(memory, params, layers, g, k):
            exact = torch.tensor((memory * 2**30 - 2 * params) / (4 * layers * g * k),
                                 dtype=torch.float64)
            return int(exact.clamp(min=0))
        """,
    ),
    Right(
        "memory_of_weights",
        "counts tensors",
        """
        def bytes_of_weights(B, h, T, size):
            return torch.empty(B, h, T, T, device="meta").numel() * size

        def bytes_of_online_softmax(B, h, T, k, block, size):
            scores = torch.empty(B, h, T, block, device="meta")
            largest = total = torch.empty(B, h, T, 1, device="meta")
            mixed = torch.empty(B, h, T, k, device="meta")
            return sum(t.numel() for t in (scores, largest, total, mixed)) * size
        """,
    ),
    Right(
        "memory_of_weights",
        "in loops",
        """
        def bytes_of_weights(B, h, T, size):
            return sum(T * size for text in range(B) for head in range(h) for query in range(T))

        def bytes_of_online_softmax(B, h, T, k, block, size):
            total = 0
            for head in range(B * h):
                total += T * block * size
                total += 2 * T * size
                total += T * k * size
            return total
        """,
    ),
    Right(
        "memory_of_weights",
        "floats, through one helper",
        """
        def held(numbers, *axes):
            for size in axes:
                numbers = numbers * float(size)
            return numbers

        def bytes_of_weights(*sizes):
            B, h, T, size = sizes
            return held(T, T, B, h, size)

        def bytes_of_online_softmax(B, num_heads, T, d_head, block, bytes_per_number):
            return held(block + d_head + 2, T, num_heads, B, bytes_per_number)
        """,
    ),
    Right(
        "bilinear_form",
        "entries of an echelon form",
        """
        def form_rank(d, k):
            return k if k < d else d

        def form_freedom(d, k):
            r = form_rank(d, k)
            return r * d + (d - r) * r  # r free rows; each other row has r coefficients
        """,
    ),
    Right(
        "bilinear_form",
        "everything minus what the rank forbids",
        """
        def form_rank(d, k):
            return sorted((d, k))[0]

        def form_freedom(d_model, d_head):
            lost = max(0, d_model - d_head)
            return float(d_model**2 - lost**2)
        """,
    ),
    Right(
        "bilinear_form",
        "measures the rank with random matrices",
        """
        def form_rank(d, k):
            g = torch.Generator().manual_seed(0)
            W_Q, W_K = torch.randn(2, d, k, generator=g, dtype=torch.float64)
            return torch.linalg.matrix_rank(W_Q @ W_K.T)

        def form_freedom(d, k):
            return sum(2 * (d - i) - 1 for i in range(min(d, k)))  # one rank after the other
        """,
    ),
    Right(
        "number_of_rankings",
        "a set of tuples, float64",
        """
        def number_of_rankings(queries, keys):
            scores = torch.einsum("qd,kd->qk", queries.double(), keys.double())
            return len({tuple(row.argsort(descending=True).tolist()) for row in scores})
        """,
    ),
    Right(
        "number_of_rankings",
        "lists only, slow",
        """
        def number_of_rankings(queries, keys):
            seen = []
            for q in queries.tolist():
                scores = [sum(a * b for a, b in zip(q, k)) for k in keys.tolist()]
                order = sorted(range(len(scores)), key=scores.__getitem__)
                if order not in seen:
                    seen.append(order)
            return len(seen)
        """,
    ),
    Right(
        "number_of_rankings",
        "numpy, ranks in place of orders, scaled in place",
        """
        import numpy as np

        def number_of_rankings(queries, keys):
            queries *= queries.shape[1] ** -0.5
            scores = queries.numpy() @ keys.numpy().T
            ranks = scores.argsort(axis=-1).argsort(axis=-1)
            return np.unique(ranks, axis=0).shape[0]
        """,
    ),
    Right(
        "number_of_rankings",
        "which key beats which",
        """
        def number_of_rankings(queries, keys):
            s = queries @ keys.T
            beats = s[:, :, None] > s[:, None, :]
            return torch.unique(beats.flatten(1), dim=0).shape[0]
        """,
    ),
    Right(
        "attention_parameters_of",
        "in, and a loop over layers",
        """
        def attention_parameters_of(config):
            d, h = config["hidden_size"], config["num_attention_heads"]
            g = config["num_key_value_heads"] if "num_key_value_heads" in config else h
            k = config["head_dim"] if "head_dim" in config else d // h
            total = 0
            for layer in range(config["num_hidden_layers"]):
                total += d * h * k  # W_Q
                total += d * g * k  # W_K
                total += d * g * k  # W_V
                total += h * k * d  # W_O
            return total
        """,
    ),
    Right(
        "attention_parameters_of",
        "or, setdefault, changes its argument",
        """
        def attention_parameters_of(c):
            c.setdefault("num_key_value_heads", c["num_attention_heads"])
            c["head_dim"] = c.get("head_dim") or int(c["hidden_size"] / c["num_attention_heads"])
            heads = 2 * c["num_attention_heads"] + 2 * c["num_key_value_heads"]
            return c["num_hidden_layers"] * c["hidden_size"] * heads * c["head_dim"]
        """,
    ),
    Right(
        "attention_parameters_of",
        "try, and a dictionary of defaults",
        """
        def attention_parameters_of(config):
            h = config["num_attention_heads"]
            known = {"num_key_value_heads": h, **config}
            try:
                k = known["head_dim"]
            except KeyError:
                k = known["hidden_size"] // h
            shapes = [(known["hidden_size"], n * k) for n in (h, h)]
            shapes += [(known["hidden_size"], known["num_key_value_heads"] * k)] * 2
            return sum(a * b for a, b in shapes) * known["num_hidden_layers"]
        """,
    ),
]

EQUIVALENT: dict[str, str] = {
    "number_of_rankings: scores.argsort(dim=1) → scores.argsort()": (
        "argsort sorts along the last axis when none is named, and of two axes that is axis 1"
    ),
}
