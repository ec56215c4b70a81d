"""Answers to the assignment `heads`: wrong ones with the misconception behind them, right ones."""

from __future__ import annotations

from mha_course.grading.bank import Right, Wrong

WEIGHTS = """
def attention_weights(query, key):
    scores = query @ key.mT
    return {}
"""
ATTEND = """
def attend(query, key, value):
    scores = query @ key.mT / math.sqrt(query.shape[-1])
    return {}
"""
SPLIT = """
def split_heads(x, num_heads):
    B, T, width = x.shape
    d = width // num_heads
    return {}
"""
MERGE = """
def merge_heads(x):
    B, h, T, d = x.shape
    return {}
"""
MULTI = """
def multi_head(x, W_Q, W_K, W_V, W_O, num_heads):
    split = lambda x, h: x.unflatten(-1, (h, -1)).transpose(1, 2)
    merge = lambda z: z.transpose(1, 2).flatten(2)
    scale = math.sqrt(W_Q.shape[1] // num_heads)
    {}
    q, k, v = split(x @ W_Q, num_heads), split(x @ W_K, num_heads), split(x @ W_V, num_heads)
    return merge((q @ k.mT / scale).softmax(-1) @ v) @ W_O
"""
SPLIT_VIEW = "split = lambda x, h: x.view(x.shape[0], h, x.shape[1], -1)"
MERGE_VIEW = "merge = lambda z: z.reshape(z.shape[0], z.shape[2], -1)"
SPLIT_DEALT = "split = lambda x, h: x.unflatten(-1, (-1, h)).permute(0, 3, 1, 2)"
ADDS = """
def head_contributions(z, W_O):
    B, h, T, d = z.shape
    return {}
"""
COUNT = "def mha_parameters(d_model, num_heads, bias):\n    return {}"
PRICE = """
def price_of_the_output_projection(d_model):
    return {}

def same_with_w_o(d_model):
    return {}
"""
MEAN = "def mean_pattern(p):\n    return {}"
WIDTH, REFUSAL = "test_head_dim", "test_head_dim_refuses"
BIASES = "test_mha_parameters_with_biases"

WRONG = [
    # ------------------------------------------------------------------ the width of a head
    Wrong(
        "d_k_of_1024_by_16",
        "every head gets h times the model",
        "d_k, d_k_base = 1024 * 16, 64",
        "The heads share d_model: divide",
    ),
    Wrong(
        "d_k_of_1024_by_16",
        "the number of heads is their width",
        "d_k, d_k_base = 64, 8",
        "That is the number of heads",
    ),
    Wrong(
        "d_k_of_1024_by_16",
        "the width is the root of d_model",
        "d_k, d_k_base = 32, 64",
        "√d_model",
    ),
    Wrong(
        "d_k_of_1024_by_16",
        "every head is as wide as the model",
        "d_k, d_k_base = 1024, 512",
        "That is d_model",
    ),
    Wrong(
        "d_k_of_1024_by_16",
        "the width is the scale of the scores",
        "d_k, d_k_base = 8, math.sqrt(64)",
        "the scale of the scores",
    ),
    Wrong(
        "d_k_of_1024_by_16", "only one of two answers", "d_k = 64", "name 'd_k_base' is not defined"
    ),
    Wrong(
        "d_k_of_1024_by_16",
        "a number in quotes is a number",
        'd_k, d_k_base = "64", 64',
        "d_k is of type str",
    ),
    Wrong(
        "head_dim",
        "division always works",
        "def head_dim(d, h):\n    return d // h",
        "it must raise ValueError",
        keeps=(WIDTH,),
    ),
    Wrong(
        "head_dim",
        "an assertion is a refusal like any other",
        "def head_dim(d, h):\n    assert d % h == 0\n    return d // h",
        "AssertionError",
        keeps=(WIDTH,),
    ),
    Wrong(
        "head_dim",
        "a size can be a float",
        "def head_dim(d, h):\n    if d % h: raise ValueError(f'{d} / {h}')\n    return d / h",
        "must be an int",
    ),
    Wrong(
        "head_dim",
        "a message need not say which values",
        "def head_dim(d, h):\n    if d % h: raise ValueError(f'{d} is wrong')\n    return d // h",
        "Name the values in the message: 4 is missing",
        keeps=(WIDTH,),
    ),
    Wrong(
        "head_dim",
        "returning None is a refusal",
        "def head_dim(d, h):\n    return None if d % h else d // h",
        "returned None; it must raise ValueError",
        keeps=(WIDTH,),
    ),
    Wrong(
        "head_dim",
        "rounding up makes it fit",
        "def head_dim(d, h):\n    return -(-d // h)",
        "it must raise ValueError",
        keeps=(WIDTH,),
    ),
    Wrong(
        "head_dim",
        "the remainder is the width",
        "def head_dim(d, h):\n    if d % h: raise ValueError(f'{d}, {h}')\n    return d % h",
        "is wrong: 0",
    ),
    # ------------------------------------------------------------------------ one head
    Wrong(
        "attention_weights",
        "scores need no scale",
        WEIGHTS.format("scores.softmax(-1)"),
        "not scaled",
    ),
    Wrong(
        "attention_weights",
        "the scale makes scores larger",
        WEIGHTS.format("(scores * query.shape[-1] ** 0.5).softmax(-1)"),
        "multiplied by √d_head",
    ),
    Wrong(
        "attention_weights",
        "the scale is d_head",
        WEIGHTS.format("(scores / query.shape[-1]).softmax(-1)"),
        "The root is missing",
    ),
    Wrong(
        "attention_weights",
        "the scale belongs to the number of keys",
        WEIGHTS.format("(scores / key.shape[-2] ** 0.5).softmax(-1)"),
        "root of the number of keys",
    ),
    Wrong(
        "attention_weights",
        "scaling can wait until after the softmax",
        WEIGHTS.format("scores.softmax(-1) / query.shape[-1] ** 0.5"),
        "after the softmax",
    ),
    Wrong(
        "attention_weights",
        "the queries compete for a key",
        WEIGHTS.format("(scores / query.shape[-1] ** 0.5).softmax(-2)"),
        "softmax runs over the queries",
    ),
    Wrong(
        "attention_weights",
        "the softmax runs over the batch",
        WEIGHTS.format("(scores / query.shape[-1] ** 0.5).softmax(0)"),
        "runs over axis 0",
    ),
    Wrong(
        "attention_weights",
        "scores are weights already",
        WEIGHTS.format("scores / query.shape[-1] ** 0.5"),
        "is missing",
    ),
    Wrong(
        "attention_weights",
        "rows are keys",
        WEIGHTS.format("(scores / query.shape[-1] ** 0.5).softmax(-1).mT"),
        "Your axes seem to be [h, T_k, T_q]",
    ),
    Wrong(
        "attention_weights",
        "a row can be empty",
        WEIGHTS.format("scores / 0 - scores / 0"),
        "NaN or infinity",
    ),
    Wrong(
        "attention_weights",
        "each weight is on its own",
        WEIGHTS.format("(scores / query.shape[-1] ** 0.5).sigmoid()"),
        "made of its own score alone",
    ),
    Wrong("attend", "keys are averaged", ATTEND.format("scores.softmax(-1) @ key"), "keys are av"),
    Wrong(
        "attend", "weights are the result", ATTEND.format("scores.softmax(-1)"), "are the weights"
    ),
    Wrong("attend", "scores are weights", ATTEND.format("scores @ value"), "These are the scores"),
    Wrong(
        "attend",
        "the queries compete for a key",
        ATTEND.format("scores.softmax(-2) @ value"),
        "softmax runs over the queries",
    ),
    Wrong(
        "attend",
        "attention is a plain mean",
        ATTEND.format("value.mean(-2, keepdim=True).expand(*scores.shape[:-1], -1)"),
        "the plain mean of the values",
    ),
    Wrong(
        "attend",
        "a head takes the best key only",
        ATTEND.format(
            "value.gather(-2, scores.argmax(-1, True).expand(*scores.shape[:-1], value.shape[-1]))"
        ),
        "the value of its best key alone",
    ),
    Wrong(
        "attend",
        "scores need no scale",
        ATTEND.format("(query @ key.mT).softmax(-1) @ value"),
        "The scores are not scaled",
    ),
    Wrong(
        "mean_pattern",
        "a mean is a sum",
        MEAN.format("[sum(c) for c in zip(*p)]"),
        "Divide by the number of patterns",
    ),
    Wrong(
        "mean_pattern",
        "the mean of each pattern",
        MEAN.format("torch.tensor(p).mean(1)"),
        "one number per key",
    ),
    Wrong(
        "mean_pattern",
        "the strongest pattern wins",
        MEAN.format("[max(c) for c in zip(*p)]"),
        "the largest weight",
    ),
    Wrong(
        "mean_pattern",
        "what is printed is right",
        "def mean_pattern(p):\n    if len(p) == 2: return [0.5, 0.25, 0.25]\n"
        "    return [0.1, 0.5, 0.1, 0.1, 0, 0.3]",
        "they add up to 1.1",
    ),
    Wrong(
        "mean_pattern",
        "divided by the number of keys",
        MEAN.format("[sum(c) / len(p[0]) for c in zip(*p)]"),
        "divided by the number of keys",
    ),
    Wrong(
        "mean_pattern",
        "the middle value is the mean",
        MEAN.format("[sorted(c)[len(c) // 2] for c in zip(*p)]"),
        "the median",
    ),
    # ---------------------------------------------------------------------- split and merge
    Wrong(
        "split_heads",
        "a view names the axes anew",
        SPLIT.format("x.view(B, num_heads, T, d)"),
        "only renames the axes",
    ),
    Wrong(
        "split_heads",
        "columns are dealt out like cards",
        SPLIT.format("x.view(B, T, d, num_heads).permute(0, 3, 1, 2)"),
        "dealt out in turn",
    ),
    Wrong(
        "split_heads",
        "the head axis may stay where it is",
        SPLIT.format("x.view(B, T, num_heads, d)"),
        "Move it forward",
    ),
    Wrong(
        "split_heads",
        "heads are added up",
        SPLIT.format("x.view(B, T, num_heads, d).sum(2)"),
        "The axis h is gone",
    ),
    Wrong(
        "split_heads",
        "the order of the last axes does not matter",
        SPLIT.format("x.view(B, T, num_heads, d).permute(0, 2, 3, 1)"),
        "Your axes seem to be [B, h, d_head, T]",
    ),
    Wrong(
        "split_heads",
        "every head gets all columns",
        SPLIT.format("x.unsqueeze(1).expand(B, num_heads, T, width)"),
        "wrong shape",
    ),
    Wrong(
        "merge_heads",
        "a reshape brings the tokens back",
        MERGE.format("x.reshape(B, T, h * d)"),
        "without transposing back",
    ),
    Wrong(
        "merge_heads",
        "columns of the heads alternate",
        MERGE.format("x.permute(0, 2, 3, 1).reshape(B, T, -1)"),
        "interleaved",
    ),
    Wrong("merge_heads", "heads are added up", MERGE.format("x.sum(1)"), "added up"),
    Wrong("merge_heads", "heads are averaged", MERGE.format("x.mean(1)"), "averaged"),
    Wrong(
        "merge_heads",
        "the transpose alone is the merge",
        MERGE.format("x.transpose(1, 2)"),
        "The number of elements is right",
    ),
    Wrong("merge_heads", "the first head is enough", MERGE.format("x[:, 0]"), "wrong shape"),
    # --------------------------------------------------------------------------- multi-head
    Wrong(
        "multi_head",
        "a view names the axes anew",
        MULTI.format(SPLIT_VIEW),
        "In split_heads: The split is view",
    ),
    Wrong(
        "multi_head",
        "a reshape brings the tokens back",
        MULTI.format(MERGE_VIEW),
        "In merge_heads: The heads are merged",
    ),
    Wrong(
        "multi_head",
        "two wrongs cancel out",
        MULTI.format(f"{SPLIT_VIEW}; {MERGE_VIEW}"),
        "has the matching mistake",
    ),
    Wrong(
        "multi_head",
        "columns are dealt out like cards",
        MULTI.format(SPLIT_DEALT),
        "dealt out in turn",
    ),
    Wrong("multi_head", "scores need no scale", MULTI.format("scale = 1"), "not scaled"),
    Wrong(
        "multi_head",
        "the scale belongs to the number of heads",
        MULTI.format("scale = math.sqrt(num_heads)"),
        "divided by √h",
    ),
    Wrong(
        "multi_head",
        "the scale belongs to d_model",
        MULTI.format("scale = math.sqrt(x.shape[-1])"),
        "divided by √d_model",
    ),
    Wrong(
        "multi_head",
        "the scale makes scores larger",
        MULTI.format("scale = 1 / scale"),
        "multiplied by √d_head",
    ),
    Wrong(
        "multi_head",
        "heads are only a name",
        MULTI.format("num_heads = 1; scale = math.sqrt(W_Q.shape[1])"),
        "one head only",
    ),
    Wrong("multi_head", "keys are averaged", MULTI.format("W_V = W_K"), "The keys are averaged"),
    Wrong(
        "multi_head",
        "queries and keys are the same thing",
        MULTI.format("W_Q, W_K = W_K, W_Q"),
        "Queries and keys are exchanged",
    ),
    Wrong(
        "multi_head",
        "concatenation is the end",
        MULTI.format("W_O = torch.eye(W_O.shape[0])"),
        "projection is missing",
    ),
    Wrong(
        "multi_head",
        "values go through as they are",
        MULTI.format("return x @ W_V @ W_O"),
        "No weights seem to be applied",
    ),
    Wrong(
        "multi_head",
        "weights lie as nn.Linear stores them",
        MULTI.format("W_Q, W_K, W_V, W_O = W_Q.T, W_K.T, W_V.T, W_O.T"),
        "as nn.Linear stores them",
    ),
    Wrong(
        "multi_head",
        "each head gets a slice of the input",
        """
        def multi_head(x, W_Q, W_K, W_V, W_O, num_heads):
            d = x.shape[-1] // num_heads
            heads = []
            for i in range(num_heads):
                s = slice(i * d, (i + 1) * d)
                q, k, v = (x[..., s] @ W[s, s] for W in (W_Q, W_K, W_V))
                heads.append((q @ k.mT / d**0.5).softmax(-1) @ v)
            return torch.cat(heads, dim=-1) @ W_O
        """,
        "Each head gets a slice of the input",
    ),
    Wrong(
        "multi_head",
        "h·d_head is always d_model",
        """
        def multi_head(x, W_Q, W_K, W_V, W_O, num_heads):
            B, T, d_model = x.shape
            shape = B, T, num_heads, d_model // num_heads
            q, k, v = ((x @ W).reshape(shape).transpose(1, 2) for W in (W_Q, W_K, W_V))
            z = (q @ k.mT / (d_model // num_heads) ** 0.5).softmax(-1) @ v
            return z.transpose(1, 2).reshape(B, T, d_model) @ W_O
        """,
        "stops with RuntimeError",
        keeps=("test_multi_head",),
    ),
    # ------------------------------------------------------------------- what each head adds
    Wrong(
        "head_contributions",
        "the contributions are the output",
        ADDS.format("z.transpose(1, 2).reshape(B, T, h * d) @ W_O"),
        "sum over the heads",
    ),
    Wrong(
        "head_contributions",
        "every head has the same share",
        ADDS.format("(z @ W_O.view(h, d, -1)).sum(1, keepdim=True).expand(-1, h, -1, -1) / h"),
        "the same share",
    ),
    Wrong(
        "head_contributions",
        "every head has the whole output",
        ADDS.format("(z @ W_O.view(h, d, -1)).sum(1, keepdim=True).expand(-1, h, -1, -1)"),
        "the whole output",
    ),
    Wrong(
        "head_contributions",
        "rows are dealt out like cards",
        ADDS.format("torch.stack([z[:, i] @ W_O[i::h] for i in range(h)], 1)"),
        "dealt out in turn",
    ),
    Wrong("head_contributions", "one W_O for all", ADDS.format("z @ W_O[:d]"), "the same rows"),
    Wrong(
        "head_contributions",
        "the head axis may stay behind the tokens",
        ADDS.format("(z @ W_O.view(h, d, -1)).transpose(1, 2)"),
        "Put the head axis second",
    ),
    Wrong(
        "head_contributions",
        "a head owns columns of W_O",
        ADDS.format("torch.stack([z[:, i] @ W_O[:, i * d : (i + 1) * d].T for i in range(h)], 1)"),
        "The columns of W_O are cut",
    ),
    Wrong(
        "head_contributions",
        "a head owns columns of the output",
        """
        def head_contributions(z, W_O):
            B, h, T, d = z.shape
            output = z.transpose(1, 2).flatten(2) @ W_O
            parts = torch.zeros(B, h, T, W_O.shape[1])
            for i in range(h):
                parts[:, i, :, i * d : (i + 1) * d] = output[..., i * d : (i + 1) * d]
            return parts
        """,
        "cut into slices of columns",
    ),
    # ------------------------------------------------------------------------------ counting
    Wrong(
        "mha_parameters",
        "biases do not count",
        COUNT.format("4 * d_model**2"),
        "The biases are forgotten",
        keeps=("test_mha_parameters",),
    ),
    Wrong(
        "mha_parameters",
        "there are always biases",
        COUNT.format("4 * d_model**2 + 4 * d_model"),
        "although bias is False",
    ),
    Wrong(
        "mha_parameters",
        "W_O is no part of it",
        COUNT.format("3 * d_model**2 + bias * 3 * d_model"),
        "W_O is forgotten",
    ),
    Wrong(
        "mha_parameters",
        "each head is as wide as the model",
        COUNT.format("4 * d_model**2 * num_heads"),
        "depends on h",
    ),
    Wrong(
        "mha_parameters",
        "the heads together are as wide as one",
        COUNT.format("4 * d_model**2 // num_heads"),
        "depends on h",
    ),
    Wrong(
        "mha_parameters",
        "three matrices for each head, and W_O",
        COUNT.format("d_model**2 * (3 * num_heads + 1)"),
        "depends on h",
    ),
    Wrong(
        "mha_parameters",
        "one bias for all",
        COUNT.format("4 * d_model**2 + bias * d_model"),
        "One bias is counted",
        keeps=("test_mha_parameters",),
    ),
    Wrong(
        "mha_parameters",
        "a count can be a float",
        COUNT.format("4.0 * d_model * (d_model + bias)"),
        "must be an int",
    ),
    Wrong(
        "price_of_w_o",
        "what comes on top is the ratio",
        PRICE.format("1 / 3", "1.0"),
        "what comes on top",
    ),
    Wrong("price_of_w_o", "upside down", PRICE.format("3 / 4", "1.0"), "upside down"),
    Wrong("price_of_w_o", "a percentage", PRICE.format("33.33333333333", "1.0"), "percentage"),
    Wrong(
        "price_of_w_o",
        "both sides have W_O",
        PRICE.format("1.0", "1.0"),
        "Here the single head has no W_O",
    ),
    Wrong(
        "price_of_w_o",
        "heads alone cost 33 %",
        PRICE.format("4 / 3", "4 / 3"),
        "Here both have W_O",
    ),
    Wrong("price_of_w_o", "the number of matrices", PRICE.format("4", "1.0"), "number of matrices"),
    Wrong(
        "attend",
        "torch's own attention is one's own work",
        """
        def attend(query, key, value):
            return torch.nn.functional.scaled_dot_product_attention(query, key, value)
        """,
        "write attention yourself",
    ),
]

RIGHT = [
    Right(
        "d_k_of_1024_by_16",
        "tensors, floats, prints",
        """
        import torch as t
        d_k = torch.tensor(1024 / 16)
        d_k_base = 512 / 8
        print(d_k)
        """,
    ),
    Right("d_k_of_1024_by_16", "typed in", "d_k = 64\nd_k_base = 64"),
    Right(
        "d_k_of_1024_by_16",
        "a function of one's own",
        "width = lambda d, h: d // h\nd_k, d_k_base = width(1024, 16), width(512, 8)",
    ),
    Right(
        "head_dim",
        "divmod, old formatting",
        """
        def head_dim(d_model, num_heads):
            width, rest = divmod(d_model, num_heads)
            if rest:
                raise ValueError("%d heads cannot share %d columns" % (num_heads, d_model))
            return width
        """,
    ),
    Right(
        "head_dim",
        "subtracts until nothing is left",
        """
        def head_dim(d_model, num_heads):
            left, width = d_model, 0
            while left >= num_heads:
                left, width = left - num_heads, width + 1
            if left:
                raise ValueError(f"{d_model} by {num_heads} leaves {left} columns")
            return width
        """,
    ),
    Right(
        "head_dim",
        "an exception of one's own",
        """
        class DoesNotDivide(ValueError):
            pass

        def head_dim(d_model, num_heads):
            if not (d_model / num_heads).is_integer():
                raise DoesNotDivide(d_model, num_heads)
            return int(d_model / num_heads)
        """,
    ),
    Right(
        "attention_weights",
        "einsum, float64, in place, with warnings",
        """
        import warnings

        def attention_weights(query, key):
            warnings.warn("a right answer may warn")
            query *= query.shape[-1] ** -0.5
            e = torch.einsum("...qd,...kd->...qk", query.double(), key.double()).exp()
            return e / e.sum(-1, keepdim=True)
        """,
    ),
    Right(
        "attention_weights",
        "log-softmax and exp",
        """
        def attention_weights(query, key):
            d = torch.tensor(query.shape[-1], dtype=query.dtype)
            return torch.log_softmax(torch.matmul(query / d.sqrt(), key.mT), dim=-1).exp()
        """,
    ),
    Right(
        "attention_weights",
        "numpy, the largest score taken off first",
        """
        import numpy as np

        def attention_weights(query, key):
            q, k = query.numpy(), key.numpy()
            s = q @ np.swapaxes(k, -1, -2) / np.sqrt(q.shape[-1])
            s = np.exp(s - s.max(axis=-1, keepdims=True))
            return s / s.sum(axis=-1, keepdims=True)
        """,
    ),
    Right(
        "attend",
        "divided by the sum after the average",
        """
        def attend(query, key, value):
            scores = torch.einsum("...qd,...kd->...qk", query, key) * query.shape[-1] ** -0.5
            e = scores.exp()
            return (e @ value) / e.sum(-1, keepdim=True)
        """,
    ),
    Right(
        "attend",
        "one query at a time",
        """
        def attend(query, key, value):
            rows = []
            for i in range(query.shape[-2]):
                scores = (key * query[..., i : i + 1, :]).sum(-1) / query.shape[-1] ** 0.5
                weights = torch.softmax(scores, -1)
                rows.append((weights[..., None] * value).sum(-2))
            return torch.stack(rows, dim=-2)
        """,
    ),
    Right(
        "attend",
        "calls the function of task 3",
        """
        def attend(q, k, v):
            print("attending")
            return torch.einsum("...qk,...kd->...qd", attention_weights(q, k), v)
        """,
    ),
    Right(
        "mean_pattern",
        "position by position",
        "def mean_pattern(p):\n    return [sum(weights) / len(p) for weights in zip(*p)]",
    ),
    Right(
        "mean_pattern",
        "numpy",
        "import numpy\ndef mean_pattern(p):\n    return numpy.average(p, axis=0)",
    ),
    Right(
        "mean_pattern",
        "loops",
        """
        def mean_pattern(patterns):
            mean = [0.0] * len(patterns[0])
            for pattern in patterns:
                for position, weight in enumerate(pattern):
                    mean[position] += weight / len(patterns)
            return tuple(mean)
        """,
    ),
    Right(
        "split_heads",
        "chunks, prints",
        """
        def split_heads(x, num_heads):
            print("splitting", x.shape)
            return torch.stack(x.chunk(num_heads, dim=-1), dim=1)
        """,
    ),
    Right(
        "split_heads",
        "einops",
        """
        from einops import rearrange

        def split_heads(x, num_heads):
            return rearrange(x, "b t (h d) -> b h t d", h=num_heads)
        """,
    ),
    Right(
        "split_heads",
        "copies number by number",
        """
        def split_heads(x, num_heads):
            B, T, width = x.shape
            d = width // num_heads
            out = torch.empty(B, num_heads, T, d)
            for i in range(num_heads):
                out[:, i] = x[:, :, i * d : (i + 1) * d]
            return out
        """,
    ),
    Right(
        "merge_heads",
        "cat",
        "def merge_heads(x):\n    return torch.cat([x[:, i] for i in range(x.shape[1])], dim=-1)",
    ),
    Right(
        "merge_heads",
        "permute, contiguous, view",
        """
        def merge_heads(x):
            B, h, T, d = x.size()
            return x.permute(0, 2, 1, 3).contiguous().view(B, T, h * d)
        """,
    ),
    Right(
        "merge_heads",
        "einops, float64",
        """
        import einops

        def merge_heads(x):
            return einops.rearrange(x.double(), "b h t d -> b t (h d)")
        """,
    ),
    Right(
        "multi_head",
        "a sum over heads, as a parameter",
        """
        def multi_head(x, W_Q, W_K, W_V, W_O, num_heads):
            d = W_Q.shape[1] // num_heads
            output = 0
            for i in range(num_heads):
                part = slice(i * d, (i + 1) * d)
                q, k, v = x @ W_Q[:, part], x @ W_K[:, part], x @ W_V[:, part]
                output = output + (q @ k.mT / d**0.5).softmax(-1) @ v @ W_O[part]
            return torch.nn.Parameter(output)
        """,
    ),
    Right(
        "multi_head",
        "calls the functions of the other tasks",
        """
        def multi_head(x, W_Q, W_K, W_V, W_O, num_heads):
            q, k, v = (split_heads(x @ W, num_heads) for W in (W_Q, W_K, W_V))
            return merge_heads(attend(q, k, v)) @ W_O
        """,
    ),
    Right(
        "multi_head",
        "einsum from beginning to end",
        """
        def multi_head(x, W_Q, W_K, W_V, W_O, num_heads):
            def cut(W):
                return W.reshape(W.shape[0], num_heads, -1)

            q = torch.einsum("btm,mhd->bhtd", x, cut(W_Q))
            k = torch.einsum("btm,mhd->bhtd", x, cut(W_K))
            v = torch.einsum("btm,mhd->bhtd", x, cut(W_V))
            a = torch.einsum("bhqd,bhkd->bhqk", q, k).div(q.shape[-1] ** 0.5).softmax(-1)
            return torch.einsum(
                "bhqk,bhkd,hdm->bqm", a, v, W_O.reshape(num_heads, q.shape[-1], -1)
            )
        """,
    ),
    Right(
        "head_contributions",
        "einsum, returned as lists",
        """
        def head_contributions(z, W_O):
            W = W_O.view(z.shape[1], z.shape[3], -1)
            return torch.einsum("bhtd,hdm->bhtm", z, W).tolist()
        """,
    ),
    Right(
        "head_contributions",
        "a loop over the heads",
        """
        def head_contributions(z, W_O):
            d = z.shape[-1]
            return torch.stack([z[:, i] @ W_O[i * d : (i + 1) * d] for i in range(z.shape[1])], 1)
        """,
    ),
    Right(
        "head_contributions",
        "the output with the other heads set to zero",
        """
        def head_contributions(z, W_O):
            parts = []
            for i in range(z.shape[1]):
                alone = torch.zeros_like(z)
                alone[:, i] = z[:, i]
                parts.append(alone.transpose(1, 2).flatten(2) @ W_O)
            return torch.stack(parts, dim=1)
        """,
    ),
    Right(
        "mha_parameters",
        "counts a module of torch",
        """
        def mha_parameters(d_model, num_heads, bias):
            mha = torch.nn.MultiheadAttention(d_model, num_heads, bias=bias)
            return sum(p.numel() for p in mha.parameters())
        """,
    ),
    Right(
        "mha_parameters",
        "head by head",
        """
        def mha_parameters(d_model, num_heads, bias):
            d_head = d_model // num_heads
            one_head = 3 * d_model * d_head + d_head * d_model + (3 * d_head if bias else 0)
            return num_heads * one_head + (d_model if bias else 0)
        """,
    ),
    Right(
        "mha_parameters",
        "from the sizes of tensors",
        """
        def mha_parameters(d, h, bias):
            total = 0
            for _ in range(4):
                total += torch.empty(d, d).numel() + bool(bias) * torch.empty(d).numel()
            return total
        """,
    ),
    Right(
        "price_of_w_o",
        "lambdas, an int",
        "price_of_the_output_projection = lambda d: 4 / 3\nsame_with_w_o = lambda d: 1",
    ),
    Right(
        "price_of_w_o",
        "from the function of task 10",
        """
        def price_of_the_output_projection(d_model):
            return mha_parameters(d_model, 1, False) / (3 * d_model**2)

        def same_with_w_o(d_model):
            return mha_parameters(d_model, 1, False) / mha_parameters(d_model, 1, False)
        """,
    ),
    Right(
        "price_of_w_o",
        "fractions",
        """
        from fractions import Fraction

        def price_of_the_output_projection(d_model):
            return float(Fraction(4 * d_model**2, 3 * d_model**2))

        def same_with_w_o(d_model):
            return float(Fraction(1))
        """,
    ),
]

_EXACT = "64 comes out of 1024 // 16 and of 1025 // 16: the division rounds down"
EQUIVALENT = {
    "d_k_of_1024_by_16: 1024 → 1025": _EXACT,
    "d_k_of_1024_by_16: 512 → 513": _EXACT,
    "d_k_of_1024_by_16: if ... in (d_k, d_k_base): d_k = 1024 // 16 d_k_base = 512 // 8 → "
    "if True: d_k = 1024 // 16 d_k_base = 512 // 8": "the dots are always there before the answer",
    "multi_head: -2 → +2": "of four axes, axis 2 is axis -2",
}
