"""A class of sample submissions.

A student starts from the released notebook, whose solution cells are blank, or from one in which
they are filled in from the solution, and replaces some cells by `answers`: task -> code.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent
from typing import Literal

from mha_course.grading.bank import read_bank

WEIGHTS = """
def attention_weights(query, key):
    return {}
"""


@dataclass(frozen=True)
class Student:
    """One submission.

    Attributes:
        start: What the cells hold that `answers` does not name.
        answers: Source of solution cells, by grade_id.
        extra: Source of cells that the student added, at the end.
        deleted: Test cells that the student deleted, by grade_id.
        edited: Source of test cells that the student changed, by grade_id.
    """

    start: Literal["solution", "blank"] = "solution"
    answers: dict[str, str] = field(default_factory=dict)
    extra: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    edited: dict[str, str] = field(default_factory=dict)


def _code(**answers: str) -> dict[str, str]:
    return {task: dedent(source).strip() for task, source in answers.items()}


OTHER_STYLE: dict[str, str] = {"why_one_head_is_not_enough": "One head returns one average."}
for _right in read_bank(Path(__file__).parents[1] / "exercises" / "heads.py").right:
    OTHER_STYLE.setdefault(_right.task, _right.code)

STUDENTS: dict[str, Student] = {
    "complete": Student(),
    "complete_other_style": Student(
        answers=OTHER_STYLE,
        extra=(
            "torch.set_default_dtype(torch.float64)",
            "import sys; print('noise', file=sys.stderr)",
        ),
    ),
    "blank": Student(start="blank"),
    "half_done": Student(
        start="blank",
        answers=_code(
            d_k_of_1024_by_16="d_k = 64\nd_k_base = 64",
            head_dim="""
                def head_dim(d_model, num_heads):
                    if d_model % num_heads:
                        raise ValueError(f"{d_model} / {num_heads} is not whole")
                    return d_model // num_heads
                """,
            attention_weights=WEIGHTS.format(
                "torch.softmax(query @ key.mT / query.shape[-1] ** 0.5, dim=-1)"
            ),
            attend="""
                def attend(query, key, value):
                    return attention_weights(query, key) @ value
                """,
            mean_pattern="""
                def mean_pattern(patterns):
                    return [0.1, 0.5, 0.1, 0.1, 0, 0.3]
                """,
            why_one_head_is_not_enough="I do not know yet.",
        ),
    ),
    "view_split": Student(
        answers=_code(
            split_heads="""
                def split_heads(x, num_heads):
                    B, T, width = x.shape
                    return x.view(B, num_heads, T, width // num_heads)
                """
        )
    ),
    # the view mistake, and a multi-head attention that uses it
    "calls_a_wrong_one": Student(
        answers=_code(
            split_heads="""
                def split_heads(x, num_heads):
                    B, T, width = x.shape
                    return x.view(B, num_heads, T, width // num_heads)
                """,
            multi_head="""
                def multi_head(x, W_Q, W_K, W_V, W_O, num_heads):
                    q, k, v = (split_heads(x @ W, num_heads) for W in (W_Q, W_K, W_V))
                    return merge_heads(attend(q, k, v)) @ W_O
                """,
        )
    ),
    "wrong_scale": Student(
        answers=_code(
            attention_weights="""
                def attention_weights(query, key):
                    heads = query.shape[1] if query.dim() == 4 else 1
                    d_model = heads * query.shape[-1]
                    return (query @ key.mT / math.sqrt(d_model)).softmax(dim=-1)
                """
        )
    ),
    "softmax_over_queries": Student(
        answers=_code(
            attention_weights=WEIGHTS.format(
                "(query @ key.mT / math.sqrt(query.shape[-1])).softmax(dim=-2)"
            )
        )
    ),
    "no_w_o": Student(
        answers=_code(
            multi_head="""
                def multi_head(x, W_Q, W_K, W_V, W_O, num_heads):
                    q, k, v = (split_heads(x @ W, num_heads) for W in (W_Q, W_K, W_V))
                    return merge_heads(attend(q, k, v))
                """
        )
    ),
    "biases_and_h": Student(
        answers=_code(
            mha_parameters="""
                def mha_parameters(d_model, num_heads, bias):
                    return 4 * d_model * d_model * num_heads
                """,
            price_of_w_o="""
                def price_of_the_output_projection(d_model):
                    return 1 / 3

                def same_with_w_o(d_model):
                    return 1.0
                """,
        )
    ),
    "no_error": Student(
        answers=_code(
            head_dim="""
                def head_dim(d_model, num_heads):
                    return d_model // num_heads
                """
        )
    ),
    "syntax_error": Student(
        answers=_code(
            merge_heads="""
                def merge_heads(x)
                    return x.transpose(1, 2).flatten(start_dim=2)
                """
        )
    ),
    "wrong_types": Student(
        answers=_code(
            d_k_of_1024_by_16='d_k, d_k_base = "64", 64',
            head_dim="""
                def head_dim(d_model, num_heads):
                    if d_model % num_heads:
                        raise ValueError(f"{num_heads} does not divide {d_model}")
                    return d_model / num_heads
                """,
            attention_weights="""
                def attention_weights(query, key):
                    weights = (query @ key.mT / math.sqrt(query.shape[-1])).softmax(dim=-1)
                    return weights, weights.sum()
                """,
            attend="""
                def attend(query, key, value):
                    (query @ key.mT / math.sqrt(query.shape[-1])).softmax(dim=-1) @ value
                """,
            split_heads="""
                def split_heads(x, num_heads):
                    return "heads"
                """,
            merge_heads="""
                def merge_heads(x):
                    return None
                """,
        )
    ),
    # right where it stands alone, wrong in the functions that it could have used
    "stands_alone": Student(
        answers=_code(
            attention_weights=WEIGHTS.format("(query @ key.mT).softmax(dim=-1)"),
            attend=OTHER_STYLE["attend"],
            split_heads="""
                def split_heads(x, num_heads):
                    B, T, width = x.shape
                    return x.view(B, T, width // num_heads, num_heads).permute(0, 3, 1, 2)
                """,
            multi_head=OTHER_STYLE["multi_head"],
        )
    ),
    "slices": Student(
        answers=_code(
            mean_pattern="""
                def mean_pattern(patterns):
                    return [sum(column) for column in zip(*patterns)]
                """,
            multi_head="""
                def multi_head(x, W_Q, W_K, W_V, W_O, num_heads):
                    d = x.shape[-1] // num_heads
                    heads = []
                    for i in range(num_heads):
                        s = slice(i * d, (i + 1) * d)
                        q, k, v = (x[..., s] @ W[s, s] for W in (W_Q, W_K, W_V))
                        heads.append(attend(q, k, v))
                    return torch.cat(heads, dim=-1) @ W_O
                """,
            head_contributions="""
                def head_contributions(z, W_O):
                    B, h, T, d = z.shape
                    output = merge_heads(z) @ W_O
                    parts = torch.zeros(B, h, T, W_O.shape[1])
                    for i in range(h):
                        parts[:, i, :, i * d : (i + 1) * d] = output[..., i * d : (i + 1) * d]
                    return parts
                """,
        )
    ),
    # deletes one test, turns another into one that always passes
    "tampering": Student(
        answers=_code(
            merge_heads="""
                def merge_heads(x):
                    B, h, T, d = x.shape
                    return x.reshape(B, T, h * d)
                """
        ),
        deleted=("test_split_heads",),
        edited={"test_merge_heads": "assert True"},
    ),
}
