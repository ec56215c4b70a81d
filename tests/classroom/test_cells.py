"""The test cells themselves, run without a kernel: against wrong answers and right ones.

Every wrong answer must fail already in the cell that learners see, with its mistake named.
"""

from __future__ import annotations

import contextlib
import io
from textwrap import dedent

import pytest
import torch
from course import AUTOGRADED, RELEASE, SOLUTION, cells_by_id, read
from students import OTHER_STYLE

SOLVED, RELEASED = cells_by_id(read(SOLUTION)), cells_by_id(read(RELEASE))

ATTEND = """
def attend(query, key, value):
    scores = query @ key.mT / math.sqrt(query.shape[-1])
    return {}
"""
WEIGHTS = """
def attention_weights(query, key):
    scores = query @ key.mT
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
    split, merge = split_heads, merge_heads
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

# task, wrong code, words of the diagnosis
WRONG = [
    ("d_k_of_1024_by_16", "d_k, d_k_base = 1024 * 16, 64", "The heads share d_model: divide"),
    ("d_k_of_1024_by_16", "d_k, d_k_base = 64, 8", "That is the number of heads"),
    ("d_k_of_1024_by_16", "d_k, d_k_base = 32, 64", "√d_model"),
    ("d_k_of_1024_by_16", "d_k = 64", "d_k_base is still the three dots"),
    ("head_dim", "def head_dim(d, h):\n    return d // h", "it must raise ValueError"),
    ("head_dim", "def head_dim(d, h):\n    assert d % h == 0\n    return d // h", "AssertionError"),
    ("head_dim", "def head_dim(d, h):\n    return d / h", "must be an int"),
    (
        "head_dim",
        "def head_dim(d, h):\n    if d % h: raise ValueError(f'{d} is wrong')\n    return d // h",
        "Name the values in the message: 4 is missing",
    ),
    ("attention_weights", WEIGHTS.format("scores.softmax(-1)"), "not scaled"),
    (
        "attention_weights",
        WEIGHTS.format("(scores * query.shape[-1] ** 0.5).softmax(-1)"),
        "multiplied by √d_head",
    ),
    (
        "attention_weights",
        WEIGHTS.format("(scores / query.shape[-1]).softmax(-1)"),
        "The root is missing",
    ),
    (
        "attention_weights",
        WEIGHTS.format("(scores / key.shape[-2] ** 0.5).softmax(-1)"),
        "root of the number of keys",
    ),
    (
        "attention_weights",
        WEIGHTS.format("scores.softmax(-1) / query.shape[-1] ** 0.5"),
        "after the softmax",
    ),
    (
        "attention_weights",
        WEIGHTS.format("(scores / query.shape[-1] ** 0.5).softmax(-2)"),
        "softmax runs over the queries",
    ),
    (
        "attention_weights",
        WEIGHTS.format("(scores / query.shape[-1] ** 0.5).softmax(0)"),
        "runs over axis 0",
    ),
    ("attention_weights", WEIGHTS.format("scores / query.shape[-1] ** 0.5"), "is missing"),
    (
        "attention_weights",
        WEIGHTS.format("(scores / query.shape[-1] ** 0.5).softmax(-1).mT"),
        "Your axes seem to be [h, T_k, T_q]",
    ),
    ("attention_weights", WEIGHTS.format("scores / 0 - scores / 0"), "NaN or infinity"),
    ("attention_weights", WEIGHTS.format("scores.sigmoid()"), "numbers are wrong"),
    ("attend", ATTEND.format("scores.softmax(-1) @ key"), "The keys are averaged"),
    ("attend", ATTEND.format("scores.softmax(-1)"), "These are the weights"),
    ("attend", ATTEND.format("scores @ value"), "These are the scores"),
    ("attend", ATTEND.format("scores.softmax(-2) @ value"), "softmax runs over the queries"),
    (
        "attend",
        ATTEND.format("value.mean(-2, keepdim=True).expand(*scores.shape[:-1], -1)"),
        "the plain mean of the values",
    ),
    (
        "mean_pattern",
        "def mean_pattern(p):\n    return [sum(c) for c in zip(*p)]",
        "Divide by the number of patterns",
    ),
    (
        "mean_pattern",
        "def mean_pattern(p):\n    return torch.tensor(p).mean(1)",
        "one number per key",
    ),
    (
        "mean_pattern",
        "def mean_pattern(p):\n    return [max(c) for c in zip(*p)]",
        "the largest weight",
    ),
    (
        "mean_pattern",
        "def mean_pattern(p):\n    if len(p) == 2: return [0.5, 0.25, 0.25]\n"
        "    return [0.1, 0.5, 0.1, 0.1, 0, 0.3]",
        "they add up to 1.1",
    ),
    ("split_heads", SPLIT.format("x.view(B, num_heads, T, d)"), "only renames the axes"),
    (
        "split_heads",
        SPLIT.format("x.view(B, T, d, num_heads).permute(0, 3, 1, 2)"),
        "dealt out in turn",
    ),
    ("split_heads", SPLIT.format("x.view(B, T, num_heads, d)"), "Move it forward"),
    ("split_heads", SPLIT.format("x.view(B, T, num_heads, d).sum(2)"), "The axis h is gone"),
    (
        "split_heads",
        SPLIT.format("x.view(B, T, num_heads, d).permute(0, 2, 3, 1)"),
        "Your axes seem to be [B, h, d_head, T]",
    ),
    ("merge_heads", MERGE.format("x.reshape(B, T, h * d)"), "without transposing back"),
    ("merge_heads", MERGE.format("x.permute(0, 2, 3, 1).reshape(B, T, -1)"), "interleaved"),
    ("merge_heads", MERGE.format("x.sum(1)"), "added up"),
    ("merge_heads", MERGE.format("x.mean(1)"), "averaged"),
    ("multi_head", MULTI.format(SPLIT_VIEW), "In split_heads: The split is view"),
    ("multi_head", MULTI.format(MERGE_VIEW), "In merge_heads: The heads are merged"),
    ("multi_head", MULTI.format(f"{SPLIT_VIEW}; {MERGE_VIEW}"), "has the matching mistake"),
    ("multi_head", MULTI.format(SPLIT_DEALT), "dealt out in turn"),
    ("multi_head", MULTI.format("scale = 1"), "not scaled"),
    ("multi_head", MULTI.format("scale = math.sqrt(num_heads)"), "divided by √h"),
    ("multi_head", MULTI.format("scale = math.sqrt(x.shape[-1])"), "divided by √d_model"),
    ("multi_head", MULTI.format("scale = 1 / scale"), "multiplied by √d_head"),
    ("multi_head", MULTI.format("num_heads = 1; scale = math.sqrt(W_Q.shape[1])"), "one head only"),
    ("multi_head", MULTI.format("W_V = W_K"), "The keys are averaged"),
    ("multi_head", MULTI.format("W_Q, W_K = W_K, W_Q"), "Queries and keys are exchanged"),
    ("multi_head", MULTI.format("W_O = torch.eye(W_O.shape[0])"), "projection is missing"),
    ("multi_head", MULTI.format("return x @ W_V @ W_O"), "No weights seem to be applied"),
    (
        "multi_head",
        MULTI.format("W_Q, W_K, W_V, W_O = W_Q.T, W_K.T, W_V.T, W_O.T"),
        "as nn.Linear stores them",
    ),
    (
        "head_contributions",
        ADDS.format("z.transpose(1, 2).reshape(B, T, h * d) @ W_O"),
        "sum over the heads",
    ),
    (
        "head_contributions",
        ADDS.format("(z @ W_O.view(h, d, -1)).sum(1, keepdim=True).expand(-1, h, -1, -1) / h"),
        "the same share",
    ),
    (
        "head_contributions",
        ADDS.format("(z @ W_O.view(h, d, -1)).sum(1, keepdim=True).expand(-1, h, -1, -1)"),
        "the whole output",
    ),
    (
        "head_contributions",
        ADDS.format("torch.stack([z[:, i] @ W_O[i::h] for i in range(h)], 1)"),
        "dealt out in turn",
    ),
    ("head_contributions", ADDS.format("z @ W_O[:d]"), "the same rows"),
    (
        "head_contributions",
        ADDS.format("(z @ W_O.view(h, d, -1)).transpose(1, 2)"),
        "Put the head axis second",
    ),
    (
        "head_contributions",
        ADDS.format("torch.stack([z[:, i] @ W_O[:, i * d : (i + 1) * d].T for i in range(h)], 1)"),
        "The columns of W_O are cut",
    ),
    ("mha_parameters", COUNT.format("4 * d_model**2"), "The biases are forgotten"),
    ("mha_parameters", COUNT.format("4 * d_model**2 + 4 * d_model"), "although bias is False"),
    ("mha_parameters", COUNT.format("3 * d_model**2 + bias * 3 * d_model"), "W_O is forgotten"),
    ("mha_parameters", COUNT.format("4 * d_model**2 * num_heads"), "depends on h"),
    ("mha_parameters", COUNT.format("4 * d_model**2 // num_heads"), "depends on h"),
    ("mha_parameters", COUNT.format("d_model**2 * (3 * num_heads + 1)"), "depends on h"),
    ("mha_parameters", COUNT.format("4 * d_model**2 + bias * d_model"), "One bias is counted"),
    ("mha_parameters", COUNT.format("4.0 * d_model * (d_model + bias)"), "must be an int"),
    ("price_of_w_o", PRICE.format("1 / 3", "1.0"), "what comes on top"),
    ("price_of_w_o", PRICE.format("3 / 4", "1.0"), "upside down"),
    ("price_of_w_o", PRICE.format("33.33333333333", "1.0"), "percentage"),
    ("price_of_w_o", PRICE.format("1.0", "1.0"), "Here the single head has no W_O"),
    ("price_of_w_o", PRICE.format("4 / 3", "4 / 3"), "Here both have W_O"),
]


def run(task: str, answer: str, test: str) -> str:
    """Run an answer on top of the solution, then a test cell; return what the test printed."""
    names: dict[str, object] = {}
    exec(SOLVED["setup"].source, names)
    for name in AUTOGRADED:
        if name != task:
            exec(SOLVED[name].source, names)
    if task == "d_k_of_1024_by_16":
        exec("d_k = d_k_base = ...", names)
    exec(dedent(answer), names)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(test, names)
    return printed.getvalue()


@pytest.mark.parametrize(
    ("task", "wrong", "says"), WRONG, ids=[f"{task}-{says}" for task, _, says in WRONG]
)
def test_visible_tests_name_the_mistake(task: str, wrong: str, says: str, monkeypatch) -> None:
    monkeypatch.delenv("MHA_BOOK_URL", raising=False)
    with pytest.raises(AssertionError) as failure:
        run(task, wrong, RELEASED[f"test_{task}"].source)
    message = " ".join(str(failure.value).split())
    assert says in message
    assert " Read: chapters/" in message
    assert "tensor(" not in message, "the message shows numbers of the fixture"


@pytest.mark.parametrize("task", AUTOGRADED)
@pytest.mark.filterwarnings("ignore:a right answer may warn")
def test_right_answers_pass(task: str, capsys) -> None:
    answers = [SOLVED[task].source, OTHER_STYLE[task]]
    for answer in answers:
        for test in (RELEASED[f"test_{task}"].source, SOLVED[f"test_{task}"].source):
            assert "the tests in this cell pass" in run(task, answer, test)
    assert capsys.readouterr().err == "", "nbgrader takes points off for stderr"


@pytest.mark.parametrize("task", AUTOGRADED)
def test_a_test_leaves_nothing_behind_but_functions(task: str) -> None:
    """A variable of a test could make a wrong answer of a later task run."""
    names: dict[str, object] = {}
    for cell in ("setup", *AUTOGRADED):
        exec(SOLVED[cell].source, names)
    before = set(names)
    with contextlib.redirect_stdout(io.StringIO()):
        exec(SOLVED[f"test_{task}"].source, names)
    new = {name for name in set(names) - before if name != "grading"}
    assert all(name.startswith("check_") or name == "multi_head_inputs" for name in new)
    assert all(callable(names[name]) for name in new)


# Sizes that a call meets, by task. The worked example may be tiny; what decides follows the rule.
SIZES = {
    "attention_weights": lambda q, k: [*q.shape, k.shape[-2]],
    "attend": lambda q, k, v: [*q.shape, *v.shape[-2:]],  # noqa: ARG005
    "split_heads": lambda x, h: [*x.shape[:2], h, x.shape[2] // h],
    "merge_heads": lambda x: [*x.shape],
    "multi_head": lambda x, W_Q, W_K, W_V, W_O, num_heads: [  # noqa: ARG005
        *x.shape,
        num_heads,
        W_Q.shape[1] // num_heads,
    ],
    "head_contributions": lambda z, W_O: [*z.shape, W_O.shape[1]],
}


@pytest.mark.parametrize("task", SIZES)
def test_fixtures_follow_the_rule(task: str) -> None:
    """Sizes are pairwise different and above 1, but for the worked example; T is odd."""
    for cells, at_least in ((RELEASED, 1), (SOLVED, 3)):
        names: dict[str, object] = {}
        for cell in ("setup", *AUTOGRADED):
            exec(SOLVED[cell].source, names)
        right, seen = names[task], []

        def record(*args, right=right, seen=seen, **kwargs):
            seen.append(SIZES[task](*args, **kwargs))
            return right(*args, **kwargs)

        names[task] = record
        with contextlib.redirect_stdout(io.StringIO()):
            exec(cells[f"test_{task}"].source, names)
        good = [sizes for sizes in seen if len(set(sizes)) == len(sizes) and min(sizes) > 1]
        assert len(good) >= at_least, f"{task}: {seen}"
        assert len(good) >= len(seen) - 1, f"more than the worked example breaks the rule: {seen}"


def test_the_learners_settings_do_not_matter() -> None:
    state = torch.get_rng_state()
    try:
        torch.set_default_dtype(torch.float64)
        for task in AUTOGRADED:
            run(task, SOLVED[task].source, SOLVED[f"test_{task}"].source)
        assert torch.equal(torch.get_rng_state(), state), "a test used the learner's generator"
    finally:
        torch.set_default_dtype(torch.float32)
