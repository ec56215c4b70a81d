"""Answers to the assignment `masks-and-modules`: wrong ones with the misconception, right ones."""

from __future__ import annotations

from mha_course.grading.bank import Right, Wrong

CAUSAL = """
def causal_mask(T_q, T_k):
    return {}
"""
PADDING = """
def padding_mask(lengths, T):
    return {}
"""
COMBINE = """
def combine(causal, padding):
    return {}
"""
WINDOW = """
def window_mask(T, width):
    back = torch.arange(T)[:, None] - torch.arange(T)
    return {}
"""
WEIGHTS = """
def masked_weights(scores, attn_mask):
    return {}
"""
# the last line may change what is in it, or return something else
ATTENTION = """
def masked_attention(query, key, value, attn_mask=None, is_causal=False):
    scale = query.shape[-1] ** 0.5
    scores = query @ key.mT
    T_q, T_k = scores.shape[-2:]
    everything = torch.ones(T_q, T_k, dtype=torch.bool)
    mask = everything if attn_mask is None else attn_mask
    causal = everything.tril(T_k - T_q) if is_causal else everything
    allowed = mask & causal
    {}
    return (scores / scale).masked_fill(~allowed, -math.inf).softmax(-1) @ value
"""
CROSS = """
def cross_attention(x, memory, W_Q, W_K, W_V, W_O, num_heads):
    source, asked, fetched = x, memory, memory
    d_head = W_Q.shape[1] // num_heads
    scale = d_head**0.5
    split = lambda p: p.view(p.shape[0], p.shape[1], num_heads, -1).transpose(1, 2)
    merge = lambda z: z.transpose(1, 2).reshape(z.shape[0], z.shape[2], -1)
    {}
    q, k, v = split(source @ W_Q), split(asked @ W_K), split(fetched @ W_V)
    return merge((q @ k.mT / scale).softmax(-1) @ v) @ W_O
"""
MODULE = """
class MultiHead(nn.Module):
    def __init__(self, d_model, num_heads, d_head, bias):
        super().__init__()
        h, width, out = num_heads, num_heads * d_head, d_model
        kept = bias
        {init}
        self.h = h
        self.w_q = nn.Linear(d_model, width, bias=bias)
        self.w_k = nn.Linear(d_model, width, bias=bias)
        self.w_v = nn.Linear(d_model, width, bias=bias)
        self.w_o = nn.Linear(width, out, bias=kept)

    def forward(self, x, attn_mask=None):
        B, T, d_model = x.shape
        h = self.h
        split = lambda p: p.view(B, T, h, -1).transpose(1, 2)
        merge = lambda z: z.transpose(1, 2).reshape(B, T, -1)
        hide = lambda s: s if attn_mask is None else s.masked_fill(~attn_mask, -math.inf)
        weigh = lambda s: hide(s).softmax(-1)
        q, k, v = self.w_q(x), self.w_k(x), self.w_v(x)
        scale = (q.shape[-1] // h) ** 0.5
        {forward}
        q, k, v = split(q), split(k), split(v)
        return self.w_o(merge(weigh(q @ k.mT / scale) @ v))
"""
GROUPED = """
def grouped_query_attention(query, key, value):
    B, h, T_q, d_head = query.shape
    g = key.shape[1]
    share = lambda kv: kv.repeat_interleave(h // g, dim=1)
    k, v = share(key), share(value)
    scale = d_head**0.5
    {}
    return (query @ k.mT / scale).softmax(-1) @ v
"""
CACHE = """
def attend_with_cache(query, key, value, past_keys, past_values):
    keys, values = torch.cat([past_keys, key], 2), torch.cat([past_values, value], 2)
    new, past = key.shape[2], past_keys.shape[2]
    scale = query.shape[-1] ** 0.5
    allowed = torch.ones(new, past + new, dtype=torch.bool).tril(past)
    k, v = keys, values
    {}
    scores = (query @ k.mT / scale).masked_fill(~allowed, -math.inf)
    return scores.softmax(-1) @ v, keys, values
"""


def module(*, init: str = "pass", forward: str = "pass") -> str:
    return MODULE.format(init=init, forward=forward)


CAUSAL_SQUARE = ("test_causal_mask",)
MASK_ONLY = ("test_masked_attention",)
CAUSAL_ONLY = ("test_masked_attention_causal",)
OTHER_WIDTHS = ("test_cross_attention_widths",)
PARAMETERS = ("test_multi_head_module_parameters",)
ALL_BUT_MASK = (*PARAMETERS, "test_multi_head_module", "test_multi_head_module_widths")
KEPT = ("test_attend_with_cache_kept",)
ONE_NEW = ("test_attend_with_cache", *KEPT)

WRONG = [
    Wrong(
        "causal_mask",
        "tril alone: the first query belongs to the first key",
        CAUSAL.format("torch.ones(T_q, T_k, dtype=torch.bool).tril()"),
        "The first query meets the first key",
        keeps=CAUSAL_SQUARE,
    ),
    Wrong(
        "causal_mask",
        "True means blocked, as in nn.MultiheadAttention",
        CAUSAL.format("torch.ones(T_q, T_k, dtype=torch.bool).triu(T_k - T_q + 1)"),
        "True stands where a query may not attend",
    ),
    Wrong(
        "causal_mask",
        "a token may attend to what came before it, not to itself",
        CAUSAL.format("torch.ones(T_q, T_k, dtype=torch.bool).tril(T_k - T_q - 1)"),
        "may not attend to itself",
    ),
    Wrong(
        "causal_mask",
        "off by one the other way: the next token is allowed",
        CAUSAL.format("torch.ones(T_q, T_k, dtype=torch.bool).tril(T_k - T_q + 1)"),
        "sees the token after it",
    ),
    Wrong(
        "causal_mask",
        "rows taken for keys: the upper triangle",
        CAUSAL.format("torch.ones(T_q, T_k, dtype=torch.bool).triu(T_k - T_q)"),
        "The past is forbidden, not the future",
    ),
    Wrong(
        "causal_mask",
        "a mask is numbers to add to the scores",
        CAUSAL.format("torch.full((T_q, T_k), -math.inf).triu(T_k - T_q + 1)"),
        "A mask is boolean",
    ),
    Wrong(
        "causal_mask",
        "axes in the order keys, queries",
        CAUSAL.format("torch.ones(T_k, T_q, dtype=torch.bool).tril()"),
        "Your axes seem to be [T_k, T_q]",
        keeps=CAUSAL_SQUARE,
    ),
    Wrong(
        "causal_mask",
        "the queries are always all tokens",
        CAUSAL.format("torch.ones(T_k, T_k, dtype=torch.bool).tril()"),
        "The shape is [7, 7], not [3, 7]",
        keeps=CAUSAL_SQUARE,
    ),
    Wrong(
        "padding_mask",
        "True means padding, as in key_padding_mask",
        PADDING.format("torch.arange(T) >= lengths[:, None]"),
        "True stands at the padding",
    ),
    Wrong(
        "padding_mask",
        "positions count from 1",
        PADDING.format("torch.arange(T) <= lengths[:, None]"),
        "One token too many",
    ),
    Wrong(
        "padding_mask",
        "the length is the position of the last token",
        PADDING.format("torch.arange(T) < lengths[:, None] - 1"),
        "One token too few",
    ),
    Wrong(
        "padding_mask",
        "padding stands in front",
        PADDING.format("torch.arange(T) >= T - lengths[:, None]"),
        "The last tokens are marked as real",
    ),
    Wrong(
        "padding_mask",
        "as wide as the longest sequence",
        PADDING.format("torch.arange(int(lengths.max())) < lengths[:, None]"),
        "as wide as the longest sequence",
    ),
    Wrong(
        "padding_mask",
        "lengths along the last axis",
        PADDING.format("torch.arange(T)[:, None] < lengths"),
        "Your axes seem to be [T, B]",
    ),
    Wrong(
        "padding_mask",
        "ones and zeros, as a tokenizer gives them",
        PADDING.format("(torch.arange(T) < lengths[:, None]).long()"),
        "A mask is boolean",
    ),
    Wrong(
        "combine",
        "or in place of and",
        COMBINE.format("causal | padding[:, None, None, :]"),
        "& and not |",
    ),
    Wrong(
        "combine",
        "no axis for the heads",
        COMBINE.format("causal & padding[:, None, :]"),
        "The axis of the heads is missing",
    ),
    Wrong(
        "combine",
        "the head axis in front of the batch",
        COMBINE.format("(causal & padding[:, None, :])[None]"),
        "The batch comes first, the heads second",
    ),
    Wrong(
        "combine",
        "padding forbids queries",
        """
        def combine(causal, padding):
            T_q = causal.shape[0]
            return causal & padding[:, None, -T_q:, None]
        """,
        "Nobody may attend to padding: it is about the keys",
    ),
    Wrong(
        "combine",
        "== in place of &",
        COMBINE.format("causal == padding[:, None, None, :]"),
        "also where both forbid",
    ),
    Wrong(
        "combine",
        "the result is what is forbidden",
        COMBINE.format("~causal | ~padding[:, None, None, :]"),
        "True stands where a query may not attend",
    ),
    Wrong(
        "combine",
        "masks are multiplied as numbers",
        COMBINE.format("causal.float() * padding[:, None, None, :].float()"),
        "A mask is boolean",
    ),
    Wrong(
        "window_mask",
        "width tokens before, and itself",
        WINDOW.format("(back >= 0) & (back <= width)"),
        "one token too wide",
    ),
    Wrong(
        "window_mask",
        "one too few",
        WINDOW.format("(back >= 0) & (back < width - 1)"),
        "one token too narrow",
    ),
    Wrong(
        "window_mask",
        "a window to both sides",
        WINDOW.format("back.abs() < width"),
        "open to the future",
    ),
    Wrong(
        "window_mask",
        "the band is cut out and the rest kept",
        WINDOW.format("back >= width"),
        "What came before the window is allowed",
    ),
    Wrong(
        "window_mask",
        "True means blocked",
        WINDOW.format("(back < 0) | (back >= width)"),
        "True stands where a query may not attend",
    ),
    Wrong(
        "window_mask",
        "blocks of width tokens",
        WINDOW.format(
            "(back >= 0) & (torch.arange(T)[:, None] // width == torch.arange(T) // width)"
        ),
        "The window slides",
    ),
    Wrong(
        "window_mask",
        "the token itself does not count",
        WINDOW.format("(back > 0) & (back <= width)"),
        "The token itself is missing",
    ),
    Wrong(
        "masked_weights",
        "a score of 0 is no attention",
        WEIGHTS.format("scores.masked_fill(~attn_mask, 0.0).softmax(-1)"),
        "Forbidden scores are set to 0",
    ),
    Wrong(
        "masked_weights",
        "crossed out after the softmax",
        WEIGHTS.format("scores.softmax(-1) * attn_mask"),
        "removed after the softmax",
    ),
    Wrong(
        "masked_weights",
        "True means blocked",
        WEIGHTS.format("scores.masked_fill(attn_mask, -math.inf).softmax(-1).nan_to_num(0.0)"),
        "The mask is read as True = may not attend",
    ),
    Wrong(
        "masked_weights",
        "a boolean mask is added to the scores",
        WEIGHTS.format("(scores + attn_mask).softmax(-1)"),
        "The mask is added to the scores",
    ),
    Wrong(
        "masked_weights",
        "a row of nothing but −inf is no special case",
        WEIGHTS.format("scores.masked_fill(~attn_mask, -math.inf).softmax(-1)"),
        "NaN or infinity",
        keeps=("test_masked_weights",),
    ),
    Wrong(
        "masked_weights",
        "a large negative number is as good as −inf",
        WEIGHTS.format("scores.masked_fill(~attn_mask, -1e9).softmax(-1)"),
        "gets equal shares of everything",
        keeps=("test_masked_weights",),
    ),
    Wrong(
        "masked_weights",
        "no mask where it forbids everything",
        WEIGHTS.format(
            "scores.masked_fill(~attn_mask & attn_mask.any(-1, keepdim=True), -math.inf)"
            ".softmax(-1)"
        ),
        "as if it had no mask",
        keeps=("test_masked_weights",),
    ),
    Wrong(
        "masked_weights",
        "softmax over the queries",
        WEIGHTS.format("scores.masked_fill(~attn_mask, -math.inf).softmax(-2).nan_to_num(0.0)"),
        "The softmax runs over the queries",
    ),
    Wrong(
        "masked_weights",
        "the mask is not used",
        WEIGHTS.format("scores.softmax(-1)"),
        "this is the plain softmax",
    ),
    Wrong(
        "masked_attention",
        "is_causal is only a hint beside a mask",
        ATTENTION.format("allowed = causal if attn_mask is None else mask"),
        "Beside a mask is_causal does nothing",
        keeps=(*MASK_ONLY, *CAUSAL_ONLY),
    ),
    Wrong(
        "masked_attention",
        "is_causal needs a mask",
        ATTENTION.format("allowed = everything if attn_mask is None else allowed"),
        "Without a mask is_causal does nothing",
        keeps=(*MASK_ONLY, "test_masked_attention_both"),
    ),
    Wrong(
        "masked_attention",
        "is_causal replaces the mask",
        ATTENTION.format("allowed = causal if is_causal else mask"),
        "The mask is forgotten where is_causal is True",
        keeps=(*MASK_ONLY, *CAUSAL_ONLY),
    ),
    Wrong(
        "masked_attention",
        "or in place of and",
        ATTENTION.format(
            "allowed = mask | causal if is_causal and attn_mask is not None else allowed"
        ),
        "& and not |",
        keeps=(*MASK_ONLY, *CAUSAL_ONLY),
    ),
    Wrong(
        "masked_attention",
        "the queries are the first ones",
        ATTENTION.format("allowed = mask & everything.tril() if is_causal else mask"),
        "The first query meets the first key",
        keeps=MASK_ONLY,
    ),
    Wrong(
        "masked_attention",
        "True means blocked",
        ATTENTION.format("allowed = causal if attn_mask is None else ~attn_mask & causal"),
        "The mask is read as True = may not attend",
        keeps=CAUSAL_ONLY,
    ),
    Wrong(
        "masked_attention",
        "no scale",
        ATTENTION.format("scale = 1"),
        "not scaled",
    ),
    Wrong(
        "masked_attention",
        "masked after the softmax",
        ATTENTION.format("return ((scores / scale).softmax(-1) * allowed) @ value"),
        "removed after the softmax",
    ),
    Wrong(
        "masked_attention",
        "forbidden scores of 0",
        ATTENTION.format("return (scores / scale * allowed).softmax(-1) @ value"),
        "Forbidden scores are set to 0",
    ),
    Wrong(
        "masked_attention",
        "the keys are averaged",
        ATTENTION.format("value = key"),
        "The average is taken of the keys",
    ),
    Wrong(
        "cross_attention",
        "self-attention: the memory is not used",
        CROSS.format("asked = fetched = x"),
        "x attends to itself",
    ),
    Wrong(
        "cross_attention",
        "the memory asks, x answers",
        CROSS.format("source, asked, fetched = memory, x, x"),
        "The memory asks, and x is asked",
    ),
    Wrong(
        "cross_attention",
        "everything from the memory",
        CROSS.format("source = memory"),
        "The memory attends to itself",
    ),
    Wrong(
        "cross_attention",
        "split by one view",
        CROSS.format("split = lambda p: p.view(p.shape[0], num_heads, p.shape[1], -1)"),
        "only renames the axes",
    ),
    Wrong(
        "cross_attention",
        "merge without moving the heads back",
        CROSS.format("merge = lambda z: z.reshape(z.shape[0], z.shape[2], -1)"),
        "The heads are flattened where they stand",
    ),
    Wrong(
        "cross_attention",
        "no output projection",
        CROSS.format("W_O = torch.eye(W_O.shape[0])"),
        "The merged heads are returned as they are",
    ),
    Wrong(
        "cross_attention",
        "the scale is √d_model",
        CROSS.format("scale = x.shape[-1] ** 0.5"),
        "divided by √d_model",
    ),
    Wrong(
        "cross_attention",
        "keys and values from the same matrix",
        CROSS.format("W_V = W_K"),
        "The average is taken of the keys",
    ),
    Wrong(
        "cross_attention",
        "a head is d_model / h wide",
        CROSS.format(
            "d = x.shape[-1] // num_heads; "
            "split = lambda p: p.view(p.shape[0], p.shape[1], num_heads, d).transpose(1, 2)"
        ),
        "the code stops with RuntimeError",
        keeps=("test_cross_attention",),
    ),
    Wrong(
        "multi_head_module",
        "split by one view",
        module(forward="split = lambda p: p.view(B, h, T, -1)"),
        "only renames the axes",
        keeps=PARAMETERS,
    ),
    Wrong(
        "multi_head_module",
        "merge without moving the heads back",
        module(forward="merge = lambda z: z.reshape(B, T, -1)"),
        "The heads are flattened where they stand",
        keeps=PARAMETERS,
    ),
    Wrong(
        "multi_head_module",
        "the columns are dealt out in turn",
        module(forward="split = lambda p: p.view(B, T, -1, h).permute(0, 3, 1, 2)"),
        "dealt out in turn",
    ),
    Wrong(
        "multi_head_module",
        "the scale is √d_model",
        module(forward="scale = d_model**0.5"),
        "divided by √d_model",
        keeps=PARAMETERS,
    ),
    Wrong(
        "multi_head_module",
        "no scale",
        module(forward="scale = 1"),
        "not scaled",
        keeps=PARAMETERS,
    ),
    Wrong(
        "multi_head_module",
        "a head is d_model / h wide whatever is asked",
        module(init="width = d_model"),
        "Here the width is given",
        keeps=("test_multi_head_module", "test_multi_head_module_mask"),
    ),
    Wrong(
        "multi_head_module",
        "bias is not passed on",
        module(init="bias = kept = True"),
        "There are biases although bias is False",
        keeps=("test_multi_head_module_widths", "test_multi_head_module_mask"),
    ),
    Wrong(
        "multi_head_module",
        "w_o has no bias",
        module(init="kept = False"),
        "w_o has no bias",
    ),
    Wrong(
        "multi_head_module",
        "the layers have names of their own",
        MODULE.replace("w_q", "q_proj").format(init="pass", forward="pass"),
        "holds 'q_proj.bias'",
    ),
    Wrong(
        "multi_head_module",
        "nn.Linear(outputs, inputs)",
        """
        class MultiHead(nn.Module):
            def __init__(self, d_model, num_heads, d_head, bias):
                super().__init__()
                self.h = num_heads
                self.w_q, self.w_k, self.w_v = (
                    nn.Linear(num_heads * d_head, d_model, bias=bias) for _ in range(3)
                )
                self.w_o = nn.Linear(d_model, num_heads * d_head, bias=bias)

            def forward(self, x, attn_mask=None):
                q, k, v = (
                    w(x).unflatten(-1, (self.h, -1)).transpose(1, 2)
                    for w in (self.w_q, self.w_k, self.w_v)
                )
                s = q @ k.mT / q.shape[-1] ** 0.5
                if attn_mask is not None:
                    s = s.masked_fill(~attn_mask, -math.inf)
                return self.w_o((s.softmax(-1) @ v).transpose(1, 2).flatten(2))
        """,
        "Inputs and outputs are exchanged",
        keeps=("test_multi_head_module", "test_multi_head_module_mask"),
    ),
    Wrong(
        "multi_head_module",
        "the mask is not used",
        module(forward="hide = lambda s: s"),
        "The mask has no effect",
        keeps=ALL_BUT_MASK,
    ),
    Wrong(
        "multi_head_module",
        "True means blocked, as in nn.MultiheadAttention",
        module(
            forward="hide = lambda s: s if attn_mask is None else s.masked_fill(attn_mask, -1e9)"
        ),
        "The mask is read as True = may not attend",
        keeps=ALL_BUT_MASK,
    ),
    Wrong(
        "multi_head_module",
        "masked after the softmax",
        module(forward="weigh = lambda s: s.softmax(-1) * (1 if attn_mask is None else attn_mask)"),
        "removed after the softmax",
        keeps=ALL_BUT_MASK,
    ),
    Wrong(
        "multi_head_module",
        "forbidden scores of 0",
        module(forward="weigh = lambda s: (s if attn_mask is None else s * attn_mask).softmax(-1)"),
        "Forbidden scores are set to 0",
        keeps=ALL_BUT_MASK,
    ),
    Wrong(
        "share_heads",
        "repeat in place of repeat_interleave",
        """
        def share_heads(kv, num_heads):
            return kv.repeat(1, num_heads // kv.shape[1], 1, 1)
        """,
        "dealt out as 0 1 0 1",
        keeps=("test_share_heads",),
    ),
    Wrong(
        "share_heads",
        "everybody reads the first head",
        """
        def share_heads(kv, num_heads):
            return kv[:, :1].expand(-1, num_heads, -1, -1)
        """,
        "read the first key/value head",
        keeps=("test_share_heads",),
    ),
    Wrong(
        "share_heads",
        "sharing means averaging",
        """
        def share_heads(kv, num_heads):
            return kv.mean(1, keepdim=True).expand(-1, num_heads, -1, -1)
        """,
        "The key/value heads are averaged",
        keeps=("test_share_heads",),
    ),
    Wrong(
        "share_heads",
        "each head h times",
        """
        def share_heads(kv, num_heads):
            return kv.repeat_interleave(num_heads, dim=1)
        """,
        "which makes g·h heads",
        keeps=("test_share_heads",),
    ),
    Wrong(
        "share_heads",
        "h / g taken for g",
        """
        def share_heads(kv, num_heads):
            return kv.repeat_interleave(kv.shape[1], dim=1)
        """,
        "Each head is repeated g times",
    ),
    Wrong(
        "share_heads",
        "the tokens are repeated",
        """
        def share_heads(kv, num_heads):
            return kv.repeat_interleave(num_heads // kv.shape[1], dim=2)
        """,
        "The tokens are repeated",
    ),
    Wrong(
        "share_heads",
        "the heads are left as they are, broadcasting will do it",
        """
        def share_heads(kv, num_heads):
            return kv
        """,
        "There are still g heads",
    ),
    Wrong(
        "grouped_query_attention",
        "repeat in place of repeat_interleave",
        GROUPED.format("k, v = key.repeat(1, h // g, 1, 1), value.repeat(1, h // g, 1, 1)"),
        "dealt out as 0 1 0 1",
    ),
    Wrong(
        "grouped_query_attention",
        "keys by repeat_interleave, values by repeat",
        GROUPED.format("v = value.repeat(1, h // g, 1, 1)"),
        "That holds for the values",
    ),
    Wrong(
        "grouped_query_attention",
        "groups of query heads made by view(B, h // g, g, …)",
        """
        def grouped_query_attention(query, key, value):
            B, h, T_q, d_head = query.shape
            g = key.shape[1]
            q = query.view(B, h // g, g, T_q, d_head)
            z = (q @ key[:, None].mT / d_head**0.5).softmax(-1) @ value[:, None]
            return z.flatten(1, 2)
        """,
        "dealt out as 0 1 0 1",
    ),
    Wrong(
        "grouped_query_attention",
        "everybody reads the first head",
        GROUPED.format("k, v = key[:, :1], value[:, :1]"),
        "read the first key/value head",
    ),
    Wrong(
        "grouped_query_attention",
        "the queries of a group are averaged",
        GROUPED.format("query, k, v = query.unflatten(1, (g, -1)).mean(2), key, value"),
        "The query heads of a group are averaged",
    ),
    Wrong(
        "grouped_query_attention",
        "sharing means averaging",
        GROUPED.format("k, v = key.mean(1, keepdim=True), value.mean(1, keepdim=True)"),
        "The key/value heads are averaged",
    ),
    Wrong(
        "grouped_query_attention",
        "no scale",
        GROUPED.format("scale = 1"),
        "not scaled",
    ),
    Wrong(
        "grouped_query_attention",
        "the keys are averaged",
        GROUPED.format("v = k"),
        "The average is taken of the keys",
    ),
    Wrong(
        "attend_with_cache",
        "the new token sees itself only",
        CACHE.format("k, v, allowed = key, value, allowed[:, past:]"),
        "The new tokens see each other only",
        keeps=KEPT,
    ),
    Wrong(
        "attend_with_cache",
        "the new token sees the past only",
        CACHE.format(
            "k, v, allowed = (past_keys, past_values, torch.tensor(True)) if past else "
            "(key, value, allowed)"
        ),
        "does not see itself",
        keeps=KEPT,
    ),
    Wrong(
        "attend_with_cache",
        "tril alone: the mask starts at the first token",
        CACHE.format("allowed = torch.ones(new, past + new, dtype=torch.bool).tril()"),
        "The first query meets the first key",
        keeps=KEPT,
    ),
    Wrong(
        "attend_with_cache",
        "no mask is ever needed with a cache",
        CACHE.format("allowed = torch.tensor(True)"),
        "The first of the new tokens sees the later ones",
        keeps=ONE_NEW,
    ),
    Wrong(
        "attend_with_cache",
        "the new ones are put in front",
        """
        def attend_with_cache(query, key, value, past_keys, past_values):
            keys, values = torch.cat([key, past_keys], 2), torch.cat([value, past_values], 2)
            scores = query @ keys.mT / query.shape[-1] ** 0.5
            new = key.shape[2]
            allowed = torch.ones(scores.shape[-2:], dtype=torch.bool).tril()
            allowed[:, new:] = True
            return scores.masked_fill(~allowed, -math.inf).softmax(-1) @ values, keys, values
        """,
        "The new ones stand before the past ones",
        keeps=("test_attend_with_cache",),
    ),
    Wrong(
        "attend_with_cache",
        "the cache stays as it was",
        CACHE.format("keys, values = past_keys, past_values"),
        "These are the past ones",
        keeps=("test_attend_with_cache",),
    ),
    Wrong(
        "attend_with_cache",
        "the cache is returned as it is for the next token: new ones only",
        CACHE.format("keys, values = key, value"),
        "These are the new ones alone",
        keeps=("test_attend_with_cache",),
    ),
    Wrong(
        "attend_with_cache",
        "joined along the width",
        CACHE.replace("], 2)", "], 3)").format("pass"),
        "the code stops with RuntimeError",
    ),
    Wrong(
        "attend_with_cache",
        "z alone is returned",
        CACHE.replace(" @ v, keys, values", " @ v").format("pass"),
        "Asked are three: return z, keys, values",
    ),
    Wrong(
        "attend_with_cache",
        "no scale",
        CACHE.format("scale = 1"),
        "not scaled",
        keeps=KEPT,
    ),
    Wrong(
        "masked_attention",
        "torch's own attention is one's own work",
        """
        def masked_attention(query, key, value, attn_mask=None, is_causal=False):
            T_q, T_k = query.shape[-2], key.shape[-2]
            if is_causal:
                causal = torch.ones(T_q, T_k).tril(T_k - T_q).bool()
                attn_mask = causal if attn_mask is None else causal & attn_mask
            return nn.functional.scaled_dot_product_attention(query, key, value, attn_mask)
        """,
        "write attention yourself",
    ),
    Wrong(
        "cross_attention",
        "torch's own attention is one's own work",
        """
        def cross_attention(x, memory, W_Q, W_K, W_V, W_O, num_heads):
            heads = [
                p.reshape(*p.shape[:2], num_heads, -1).permute(0, 2, 1, 3)
                for p in (x @ W_Q, memory @ W_K, memory @ W_V)
            ]
            heads[0].mul_(1.0)
            z = nn.functional.scaled_dot_product_attention(*heads)
            return torch.cat(z.unbind(1), dim=-1) @ W_O
        """,
        "write attention yourself",
    ),
    Wrong(
        "multi_head_module",
        "torch's own attention is one's own work",
        """
        import torch.nn.functional as F

        class MultiHead(torch.nn.Module):
            def __init__(self, d_model, num_heads, d_head, bias=True):
                super().__init__()
                inner = num_heads * d_head
                for name in ("w_q", "w_k", "w_v"):
                    setattr(self, name, nn.Linear(d_model, inner, bias))
                self.w_o = nn.Linear(inner, d_model, bias)
                self.shape = (num_heads, d_head)

            def forward(self, x, attn_mask=None):
                q, k, v = (
                    w(x).view(*x.shape[:2], *self.shape).transpose(1, 2)
                    for w in (self.w_q, self.w_k, self.w_v)
                )
                z = F.scaled_dot_product_attention(q, k, v, attn_mask=attn_mask)
                return self.w_o(z.transpose(1, 2).reshape(*x.shape[:2], -1))
        """,
        "write attention yourself",
        keeps=("test_multi_head_module_parameters",),
    ),
    Wrong(
        "grouped_query_attention",
        "torch's own attention is one's own work",
        """
        def grouped_query_attention(query, key, value):
            return nn.functional.scaled_dot_product_attention(query, key, value, enable_gqa=True)
        """,
        "write attention yourself",
    ),
    Wrong(
        "attend_with_cache",
        "torch's own attention is one's own work",
        """
        def attend_with_cache(query, key, value, past_keys, past_values):
            keys, values = torch.cat((past_keys, key), -2), torch.cat((past_values, value), -2)
            new, all_ = query.shape[2], keys.shape[2]
            mask = torch.arange(all_) <= torch.arange(all_ - new, all_)[:, None]
            z = nn.functional.scaled_dot_product_attention(query, keys, values, attn_mask=mask)
            return z, keys, values
        """,
        "write attention yourself",
    ),
]

RIGHT = [
    Right(
        "causal_mask",
        "lists, by the definition",
        """
        def causal_mask(num_queries, num_keys):
            print("a right answer may print")
            first = num_keys - num_queries
            return [[j <= first + t for j in range(num_keys)] for t in range(num_queries)]
        """,
    ),
    Right(
        "causal_mask",
        "numpy",
        """
        import numpy as np

        def causal_mask(T_q, T_k):
            return np.tri(T_q, T_k, T_k - T_q, dtype=bool)
        """,
    ),
    Right(
        "causal_mask",
        "the last rows of a square, with a warning",
        """
        import warnings

        def causal_mask(T_q, T_k):
            warnings.warn("a right answer may warn")
            t = torch.arange(T_k)
            return (t[:, None] >= t)[T_k - T_q :]
        """,
    ),
    Right(
        "padding_mask",
        "a loop, in place",
        """
        def padding_mask(lengths, T):
            mask = torch.zeros(len(lengths), T, dtype=torch.bool)
            for b, length in enumerate(lengths):
                mask[b, :length] = True
            return mask
        """,
    ),
    Right(
        "padding_mask",
        "numpy",
        """
        import numpy as np

        def padding_mask(lengths, T):
            return np.arange(T)[None, :] < lengths.numpy()[:, None]
        """,
    ),
    Right(
        "padding_mask",
        "lists",
        """
        def padding_mask(lengths, T):
            return [[t < int(n) for t in range(T)] for n in lengths]
        """,
    ),
    Right(
        "combine",
        "logical_and, unsqueeze",
        """
        def combine(causal, padding):
            return torch.logical_and(causal[None, None], padding.unsqueeze(1).unsqueeze(1))
        """,
    ),
    Right(
        "combine",
        "a loop",
        """
        def combine(causal, padding):
            B, (T_q, T_k) = len(padding), causal.shape
            both = torch.zeros(B, 1, T_q, T_k, dtype=torch.bool)
            for b in range(B):
                for t in range(T_q):
                    both[b, 0, t] = causal[t] & padding[b]
            return both
        """,
    ),
    Right(
        "combine",
        "a product of numbers, made boolean",
        """
        def combine(causal, padding):
            return torch.einsum("qk,bk->bqk", causal.float(), padding.float())[:, None].bool()
        """,
    ),
    Right(
        "window_mask",
        "a band cut out of a triangle",
        """
        def window_mask(T, width):
            return torch.ones(T, T, dtype=torch.bool).tril().triu(1 - width)
        """,
    ),
    Right(
        "window_mask",
        "a loop, with a window longer than the text",
        """
        def window_mask(T, width):
            mask = torch.zeros((T, T)).bool()
            for t in range(T):
                mask[t, max(0, t - width + 1) : t + 1] = True
            return mask
        """,
    ),
    Right(
        "window_mask",
        "two triangles, with xor",
        """
        import numpy as np

        def window_mask(T, width):
            return np.tri(T, dtype=bool) ^ np.tri(T, k=-width, dtype=bool)
        """,
    ),
    Right(
        "masked_weights",
        "exponentials by hand, in float64",
        """
        def masked_weights(scores, attn_mask):
            e = (scores.double() - scores.double().max()).exp() * attn_mask
            return e / e.sum(-1, keepdim=True).clamp_min(1e-300)
        """,
    ),
    Right(
        "masked_weights",
        "in place, nan_to_num",
        """
        def masked_weights(scores, attn_mask):
            scores[~attn_mask.expand_as(scores)] = float("-inf")
            return torch.nan_to_num(scores.softmax(dim=3), nan=0.0)
        """,
    ),
    Right(
        "masked_weights",
        "an added mask of floats, torch.where",
        """
        def masked_weights(scores, attn_mask):
            added = torch.zeros(attn_mask.shape).masked_fill(attn_mask.logical_not(), -1e30)
            w = torch.nn.functional.softmax(scores + added, dim=-1)
            return torch.where(attn_mask.any(-1)[..., None], w, torch.zeros(()))
        """,
    ),
    Right(
        "masked_weights",
        "row by row",
        """
        def masked_weights(scores, attn_mask):
            mask = attn_mask.expand(scores.shape)
            out = torch.zeros_like(scores)
            for index in torch.cartesian_prod(*map(torch.arange, scores.shape[:3])).tolist():
                row, allowed = scores[tuple(index)], mask[tuple(index)]
                out[tuple(index)][allowed] = row[allowed].softmax(0)
            return out
        """,
    ),
    Right(
        "masked_attention",
        "masks as numbers that are added, logsumexp",
        """
        def masked_attention(query, key, value, attn_mask=None, is_causal=False):
            T_q, T_k = query.shape[-2], key.shape[-2]
            added = torch.zeros(T_q, T_k)
            if is_causal:
                added[torch.ones(T_q, T_k).tril(T_k - T_q) == 0] = -math.inf
            if attn_mask is not None:
                added = added + torch.where(attn_mask, 0.0, -math.inf)
            scores = query @ key.mT / query.shape[-1] ** 0.5 + added
            return (scores - scores.logsumexp(-1, keepdim=True)).exp() @ value
        """,
    ),
    Right(
        "masked_attention",
        "einsum, float64, other names, in place",
        """
        def masked_attention(q, k, v, attn_mask=None, is_causal=False):
            q, k, v = q.double(), k.double(), v.double()
            s = torch.einsum("bhtd,bhjd->bhtj", q, k)
            s *= q.shape[-1] ** -0.5
            late = k.shape[2] - q.shape[2]
            if attn_mask is not None:
                s.masked_fill_(attn_mask.logical_not(), float("-inf"))
            if is_causal:
                for t in range(q.shape[2]):
                    s[:, :, t, late + t + 1 :] = float("-inf")
            e = s.exp()
            return torch.einsum("bhtj,bhjd->bhtd", e / e.sum(-1, keepdim=True), v)
        """,
    ),
    Right(
        "masked_attention",
        "query by query, with a print",
        """
        def masked_attention(query, key, value, attn_mask=None, is_causal=False):
            B, h, T_q, d = query.shape
            T_k = key.shape[2]
            allowed = torch.ones(B, h, T_q, T_k, dtype=torch.bool)
            if attn_mask is not None:
                allowed &= attn_mask
            rows = []
            for t in range(T_q):
                end = T_k - T_q + t + 1 if is_causal else T_k
                s = (key[:, :, :end] @ query[:, :, t, :, None]).squeeze(-1) / math.sqrt(d)
                s[~allowed[:, :, t, :end]] = -1e30
                rows.append((s.softmax(-1)[..., None, :] @ value[:, :, :end]).squeeze(2))
            print("done")
            return torch.stack(rows, dim=2)
        """,
    ),
    Right(
        "cross_attention",
        "a loop over heads, added up",
        """
        def cross_attention(x, memory, W_Q, W_K, W_V, W_O, num_heads):
            d = W_Q.shape[1] // num_heads
            out = torch.zeros_like(x)
            for i in range(num_heads):
                c = slice(i * d, (i + 1) * d)
                q, k, v = x @ W_Q[:, c], memory @ W_K[:, c], memory @ W_V[:, c]
                out += (q @ k.transpose(1, 2) / math.sqrt(d)).softmax(-1) @ v @ W_O[c]
            return out
        """,
    ),
    Right(
        "cross_attention",
        "einsum, float64",
        """
        def cross_attention(x, memory, W_Q, W_K, W_V, W_O, num_heads):
            x, memory = x.double(), memory.double()
            cut = lambda W: W.double().reshape(W.shape[0], num_heads, -1)
            q = torch.einsum("btm,mhd->bhtd", x, cut(W_Q))
            k = torch.einsum("btm,mhd->bhtd", memory, cut(W_K))
            v = torch.einsum("btm,mhd->bhtd", memory, cut(W_V))
            a = torch.softmax(torch.einsum("bhqd,bhkd->bhqk", q, k) / q.shape[-1] ** 0.5, -1)
            z = torch.einsum("bhqk,bhkd->bqhd", a, v)
            return torch.einsum("bqhd,hdm->bqm", z, W_O.double().reshape(num_heads, -1, x.shape[2]))
        """,
    ),
    Right(
        "cross_attention",
        "the heads in the batch, in place",
        """
        def cross_attention(x, memory, W_Q, W_K, W_V, W_O, num_heads):
            def cut(projected):
                return torch.cat(projected.chunk(num_heads, dim=-1))

            q, k, v = cut(x @ W_Q), cut(memory @ W_K), cut(memory @ W_V)
            q.mul_(q.shape[-1] ** -0.5)
            z = torch.bmm(q, k.mT).softmax(-1).bmm(v)
            return torch.cat(z.chunk(num_heads), dim=-1) @ W_O
        """,
    ),
    Right(
        "multi_head_module",
        "layers by setattr, where",
        """
        import torch.nn.functional as F

        class MultiHead(torch.nn.Module):
            def __init__(self, d_model, num_heads, d_head, bias=True):
                super().__init__()
                inner = num_heads * d_head
                for name in ("w_q", "w_k", "w_v"):
                    setattr(self, name, nn.Linear(d_model, inner, bias))
                self.w_o = nn.Linear(inner, d_model, bias)
                self.shape = (num_heads, d_head)

            def forward(self, x, attn_mask=None):
                q, k, v = (
                    w(x).view(*x.shape[:2], *self.shape).transpose(1, 2)
                    for w in (self.w_q, self.w_k, self.w_v)
                )
                scores = q @ k.mT * q.shape[-1] ** -0.5
                if attn_mask is not None:
                    scores = torch.where(attn_mask, scores, -math.inf)
                z = F.softmax(scores, dim=-1) @ v
                return self.w_o(z.transpose(1, 2).reshape(*x.shape[:2], -1))
        """,
    ),
    Right(
        "multi_head_module",
        "a loop over heads, in float64",
        """
        class MultiHead(nn.Module):
            def __init__(self, d_model, num_heads, d_head, bias):
                super().__init__()
                self.d_head, self.num_heads = d_head, num_heads
                self.w_o = nn.Linear(num_heads * d_head, d_model, bias=bias, dtype=torch.float64)
                self.w_q, self.w_k, self.w_v = [
                    nn.Linear(d_model, num_heads * d_head, bias=bias, dtype=torch.float64)
                    for _ in "qkv"
                ]

            def forward(self, x, attn_mask=None):
                B, T, _ = x.shape
                allowed = torch.ones(B, self.num_heads, T, T, dtype=torch.bool)
                if attn_mask is not None:
                    allowed = allowed & attn_mask
                heads = []
                for i in range(self.num_heads):
                    c = slice(i * self.d_head, (i + 1) * self.d_head)
                    q, k, v = (w(x)[..., c] for w in (self.w_q, self.w_k, self.w_v))
                    scores = q @ k.mT / self.d_head**0.5
                    e = scores.exp() * allowed[:, i]
                    heads.append(e / e.sum(-1, keepdim=True) @ v)
                return self.w_o(torch.cat(heads, dim=-1))
        """,
    ),
    Right(
        "multi_head_module",
        "einsum, prints, no call of super by new style",
        """
        class MultiHead(nn.Module):
            def __init__(self, d_model, num_heads, d_head, bias):
                nn.Module.__init__(self)
                print("made")
                self.h = num_heads
                sizes = [(d_model, num_heads * d_head)] * 3 + [(num_heads * d_head, d_model)]
                for name, (n, m) in zip("qkvo", sizes):
                    self.add_module(f"w_{name}", nn.Linear(n, m, bias=bias))

            def forward(self, x, attn_mask=None):
                q, k, v = (
                    w(x).reshape(*x.shape[:2], self.h, -1) for w in (self.w_q, self.w_k, self.w_v)
                )
                scores = torch.einsum("bqhd,bkhd->bhqk", q, k) * q.shape[-1] ** -0.5
                if attn_mask is not None:
                    scores = torch.where(attn_mask, scores, -torch.inf)
                z = torch.einsum("bhqk,bkhd->bqhd", scores.softmax(-1), v)
                return self.w_o(z.flatten(2))
        """,
    ),
    Right(
        "share_heads",
        "a list of heads to pick",
        """
        def share_heads(kv, num_heads):
            g = kv.shape[1]
            return kv[:, [i * g // num_heads for i in range(num_heads)]]
        """,
    ),
    Right(
        "share_heads",
        "expand and reshape",
        """
        def share_heads(kv, num_heads):
            B, g, T, d = kv.shape
            return kv[:, :, None].expand(B, g, num_heads // g, T, d).reshape(B, num_heads, T, d)
        """,
    ),
    Right(
        "share_heads",
        "a loop, in float64",
        """
        def share_heads(kv, num_heads):
            heads = []
            for one in kv.double().unbind(1):
                heads += [one] * (num_heads // kv.shape[1])
            return torch.stack(heads, dim=1)
        """,
    ),
    Right(
        "grouped_query_attention",
        "groups as an axis, nothing is copied",
        """
        def grouped_query_attention(query, key, value):
            q = query.unflatten(1, (key.shape[1], -1))
            k, v = key.unsqueeze(2), value.unsqueeze(2)
            weights = (q @ k.mT / math.sqrt(q.shape[-1])).softmax(-1)
            return (weights @ v).flatten(1, 2)
        """,
    ),
    Right(
        "grouped_query_attention",
        "one query head at a time, the formula of the card",
        """
        def grouped_query_attention(query, key, value):
            h, g = query.shape[1], key.shape[1]
            z = []
            for i, q in enumerate(query.unbind(1)):
                k, v = key[:, i * g // h], value[:, i * g // h]
                z.append(torch.softmax(q @ k.mT / q.shape[-1] ** 0.5, -1) @ v)
            return torch.stack(z, 1)
        """,
    ),
    Right(
        "grouped_query_attention",
        "head by head, float64, with a warning",
        """
        import warnings

        def grouped_query_attention(query, key, value):
            warnings.warn("a right answer may warn")
            h, g = query.shape[1], key.shape[1]
            heads = []
            for i in range(h):
                j = i // (h // g)
                q, k, v = query[:, i].double(), key[:, j].double(), value[:, j].double()
                heads.append(torch.softmax(torch.bmm(q, k.mT) / q.shape[-1] ** 0.5, 2).bmm(v))
            return torch.stack(heads, 1)
        """,
    ),
    Right(
        "attend_with_cache",
        "token by token, as a list",
        """
        def attend_with_cache(query, key, value, past_keys, past_values):
            keys, values, z = past_keys, past_values, []
            for t in range(query.shape[2]):
                keys = torch.cat([keys, key[:, :, t : t + 1]], dim=-2)
                values = torch.cat([values, value[:, :, t : t + 1]], dim=-2)
                scores = query[:, :, t : t + 1] @ keys.mT / query.shape[-1] ** 0.5
                z.append(scores.softmax(-1) @ values)
            return [torch.cat(z, dim=2), keys, values]
        """,
    ),
    Right(
        "attend_with_cache",
        "positions compared, where",
        """
        def attend_with_cache(query, key, value, past_keys, past_values):
            keys, values = torch.cat((past_keys, key), -2), torch.cat((past_values, value), -2)
            new, all_ = query.shape[2], keys.shape[2]
            mask = torch.arange(all_) <= torch.arange(all_ - new, all_)[:, None]
            scores = torch.where(mask, query @ keys.mT / query.shape[-1] ** 0.5, -math.inf)
            z = scores.softmax(dim=-1) @ values
            return z, keys, values
        """,
    ),
    Right(
        "attend_with_cache",
        "room made first, in place, float64, einsum",
        """
        def attend_with_cache(query, key, value, past_keys, past_values):
            B, h, new, d = query.shape
            past = past_keys.shape[2]
            keys = torch.empty(B, h, past + new, d, dtype=torch.float64)
            values = torch.empty(B, h, past + new, value.shape[-1], dtype=torch.float64)
            keys[:, :, :past], keys[:, :, past:] = past_keys, key
            values[:, :, :past], values[:, :, past:] = past_values, value
            s = torch.einsum("bhqd,bhkd->bhqk", query.double(), keys).div_(math.sqrt(d))
            for t in range(new):
                s[:, :, t, past + t + 1 :] = -math.inf
            print("a right answer may print")
            return torch.einsum("bhqk,bhkd->bhqd", s.softmax(-1), values), keys, values
        """,
    ),
]

FOUR_AXES = "queries, keys and scores always have four axes here: axis 2 is axis -2"

EQUIVALENT: dict[str, str] = {
    f"{task}: -2 → +2": FOUR_AXES
    for task in (
        "masked_attention",
        "cross_attention",
        "multi_head_module",
        "grouped_query_attention",
        "attend_with_cache",
    )
}
