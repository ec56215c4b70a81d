"""The checks that the exercises use: what they accept, what they refuse, and what they say."""

from __future__ import annotations

import itertools
import sys

import pytest
import torch

from mha_course.grading import (
    PAGES,
    Diagnosis,
    Mistake,
    book_link,
    check_labels,
    check_mask,
    check_number,
    check_raises,
    check_tensor,
    mistakes,
    random_inputs,
    reference,
    section_link,
    task,
)
from mha_course.grading.diagnosis import RTOL, RTOL_NUMBER

READ = "split-and-merge"
RIGHT = torch.arange(30.0).reshape(2, 3, 5) / 7


def test_a_diagnosis_is_a_failed_assertion() -> None:
    assert issubclass(Diagnosis, AssertionError)


def said(check, *args, **kwargs) -> str:
    with pytest.raises(Diagnosis) as failure:
        check(*args, **kwargs)
    return " ".join(str(failure.value).split())


def tensor_says(actual: object, expected: torch.Tensor = RIGHT, **kwargs) -> str:
    settings = {"what": "f(x)", "axes": "B h T", "read": READ} | kwargs
    return said(check_tensor, actual, expected, **settings)


# ------------------------------------------------------------------------------ the book


def test_book_link(monkeypatch) -> None:
    monkeypatch.delenv("MHA_BOOK_URL", raising=False)
    link = "chapters/cutting-d-model-into-heads.html#split-and-merge"
    assert book_link("cutting-d-model-into-heads", "split-and-merge") == link
    assert section_link("split-and-merge") == link
    monkeypatch.setenv("MHA_BOOK_URL", "https://book.example/mha/")
    assert section_link("split-and-merge") == f"https://book.example/mha/{link}"


def test_unknown_sections_are_refused() -> None:
    with pytest.raises(ValueError, match="nowhere"):
        book_link("nowhere", "split-and-merge")
    with pytest.raises(ValueError, match="counting-parameters"):
        book_link("one-head-is-not-enough", "counting-parameters")
    with pytest.raises(ValueError, match="no section 'nowhere'"):
        section_link("nowhere")


def test_an_anchor_is_on_one_page_only() -> None:
    anchors = [anchor for anchors in PAGES.values() for anchor in anchors]
    assert len(set(anchors)) == len(anchors)


# ----------------------------------------------------------------------------- tensors


@pytest.mark.parametrize(
    "actual",
    [
        RIGHT,
        RIGHT.double(),
        RIGHT.tolist(),
        RIGHT.numpy(),
        RIGHT * (1 + RTOL / 10),
        torch.nn.Parameter(RIGHT.clone()),
        RIGHT.transpose(0, 2).contiguous().transpose(0, 2),
    ],
    ids=["float32", "float64", "lists", "numpy", "rounded", "parameter", "strides"],
)
def test_right_tensors_are_accepted(actual: object) -> None:
    check_tensor(actual, RIGHT, what="f(x)", axes="B h T", read=READ)


def test_a_list_of_single_numbers_is_accepted() -> None:
    actual = [torch.tensor(1.0), 2.0, torch.tensor([3.0])]
    check_tensor(actual, torch.tensor([1.0, 2, 3]), what="f(x)", axes="T", read=READ)


@pytest.mark.parametrize(
    ("actual", "says"),
    [
        (None, "f(x) is None. Likely mistake: A return is missing"),
        (..., "still the three dots"),
        (len, "f(x) is a function. Likely mistake: Call it"),
        ("text", "f(x) is of type str: 'text'"),
        (True, "f(x) is of type bool"),
        ({"a": 1}, "f(x) is of type dict"),
        ((RIGHT, RIGHT), "f(x) is a tuple of 2. Likely mistake: Return one tensor"),
        ([RIGHT, RIGHT], "f(x) is a list of 2"),
        ([[1, 2], [3]], "f(x) is of type list"),
        (RIGHT > 1, "f(x) is of type Tensor"),
        (RIGHT + 0j, "f(x) is of type Tensor"),
        (RIGHT / 0 * 0, "holds NaN or infinity"),
        (RIGHT + 1, "has the right shape, but 30 of 30 numbers are wrong"),
        (RIGHT.sum(1), "The shape is [2, 5], not [2, 3, 5] = [B, h, T]. The axis h is gone"),
        (RIGHT.transpose(1, 2), "Your axes seem to be [B, T, h]"),
        (RIGHT.reshape(6, 5), "The number of elements is right"),
        (RIGHT[..., None, None], "The number of elements is right"),
        (RIGHT[None].expand(4, 2, 3, 5), "There must be 3 axes"),
        (RIGHT[:, :, :4], "Look at where the size of T comes from"),
        (RIGHT[:, :2, :4], "Look at where the size of h and T comes from"),
        (3.0, "The shape is [], not [2, 3, 5]"),
    ],
)
def test_wrong_tensors_are_explained(actual: object, says: str, monkeypatch) -> None:
    monkeypatch.delenv("MHA_BOOK_URL", raising=False)
    message = tensor_says(actual)
    assert says in message
    assert message.endswith("Read: chapters/cutting-d-model-into-heads.html#split-and-merge")


def test_a_known_mistake_is_named_with_its_own_section() -> None:
    known = [
        Mistake("Doubled.", RIGHT * 2),
        Mistake("Summed.", RIGHT.sum(0), read="counting-parameters"),
    ]
    message = tensor_says(RIGHT * 2, mistakes=known)
    assert "f(x) is wrong. Likely mistake: Doubled. Read:" in message
    assert message.endswith("split-and-merge")
    message = tensor_says(RIGHT.sum(0).tolist(), mistakes=known)
    assert "The shape is [3, 5], not [2, 3, 5] = [B, h, T]. Summed." in message
    assert message.endswith("what-heads-cost.html#counting-parameters")


def test_a_mistake_that_gives_the_right_answer_is_no_mistake() -> None:
    check_tensor(
        RIGHT, RIGHT, what="f(x)", axes="B h T", read=READ, mistakes=[Mistake("No.", RIGHT)]
    )


def test_the_hint_is_for_unknown_mistakes() -> None:
    assert "Look again." in tensor_says(RIGHT + 1, hint="Look again.")


def test_axes_are_named_from_the_last() -> None:
    assert "[h, T]" in tensor_says(RIGHT[0].T, RIGHT[0])


def test_lines_are_short_and_links_stay_whole(monkeypatch) -> None:
    monkeypatch.setenv("MHA_BOOK_URL", "https://book.example/" + "long/" * 30)
    known = [Mistake("word " * 60, RIGHT + 1)]
    with pytest.raises(AssertionError) as failure:
        check_tensor(RIGHT + 1, RIGHT, what="f(x)", axes="B h T", read=READ, mistakes=known)
    *text, link = str(failure.value).split("\n")
    assert max(map(len, text)) <= 78
    assert link.endswith("#split-and-merge")


def test_a_notebook_shows_the_message_alone() -> None:
    cell = "\n\ncheck_tensor(RIGHT + 1, RIGHT, what='f(x)', axes='B h T', read=READ)"
    with pytest.raises(Diagnosis) as failure:
        exec(compile(cell, "<cell>", "exec"), globals())
    first, *rest = failure.value._render_traceback_()
    assert first == "Not passed yet in line 3 of this cell:"
    assert rest == str(failure.value).split("\n")


# ------------------------------------------------------------------------------- masks

MASK = torch.tensor([[True, False, False], [True, True, False]])


@pytest.mark.parametrize(
    "actual", [MASK, MASK.tolist(), MASK.numpy(), MASK.T.contiguous().T], ids=str
)
def test_right_masks_are_accepted(actual: object) -> None:
    check_mask(actual, MASK, what="mask", axes="T_q T_k", read=READ)


@pytest.mark.parametrize(
    ("actual", "says"),
    [
        (None, "mask is None"),
        (..., "still the three dots"),
        ("text", "mask is of type str"),
        (MASK.float(), "holds numbers. Likely mistake: A mask is boolean"),
        (MASK.int().tolist(), "holds numbers"),
        (~MASK, "mask is wrong. Likely mistake: Upside down."),
        (MASK.T, "Your axes seem to be [T_k, T_q]"),
        (MASK | True, "3 of 6 numbers are wrong"),
    ],
)
def test_wrong_masks_are_explained(actual: object, says: str) -> None:
    known = [Mistake("Upside down.", ~MASK)]
    assert says in said(
        check_mask, actual, MASK, what="mask", axes="T_q T_k", read=READ, mistakes=known
    )


# ------------------------------------------------------------------------------ labels

CHOICES = ("near", "far", "mixed")


def test_right_labels_are_accepted() -> None:
    check_labels("far", "far", choices=CHOICES, what="label", read=READ)
    check_labels(" Far ", "far", choices=CHOICES, what="label", read=READ)
    check_labels(("near", "far"), ["near", "far"], choices=CHOICES, what="labels", read=READ)


@pytest.mark.parametrize(
    ("actual", "says"),
    [
        (None, "labels is None"),
        (..., "still the three dots"),
        (len, "labels is a function"),
        (3, "labels is of type int: 3. Likely mistake: Asked is a list of words, such as 'near'"),
        (["near", 1], "labels is of type list"),
        (["near", "close"], "labels holds 'close'. Likely mistake: The words are near, far, mixed"),
        (["near"], "labels holds 1 words. Likely mistake: Asked are 2"),
        (["far", "near"], "labels is wrong. Likely mistake: Exchanged."),
        (["mixed", "far"], "labels is wrong in 1 of 2 words. Likely mistake: No known mistake"),
    ],
)
def test_wrong_labels_are_explained(actual: object, says: str) -> None:
    known = [Mistake("Exchanged.", ("far", "near"))]
    assert says in said(
        check_labels,
        actual,
        ["near", "far"],
        choices=CHOICES,
        what="labels",
        read=READ,
        mistakes=known,
    )


def test_one_wrong_label_is_explained() -> None:
    asked = {"choices": CHOICES, "what": "label", "read": READ}
    assert "label is wrong." in said(check_labels, "near", "far", **asked)
    assert "Asked is a word, such as 'near'" in said(check_labels, 3, "far", **asked)
    known = [Mistake("Both.", "mixed")]
    assert "Both." in said(check_labels, "mixed", "far", mistakes=known, **asked)


# ----------------------------------------------------------------------------- numbers


def test_right_numbers_are_accepted() -> None:
    for actual in (64, 64.0, torch.tensor(64), torch.tensor([64.0])):
        check_number(actual, 64, what="d_k", read=READ)
    for actual in (64, torch.tensor(64)):
        check_number(actual, 64, what="d_k", read=READ, whole=True)
    check_number(torch.tensor(4.0) / 3, 4 / 3, what="ratio", read=READ)


@pytest.mark.parametrize(
    ("actual", "says"),
    [
        (64.0, "is 64 as a float. Likely mistake: A size or a count must be an int"),
        (32, "d_k is wrong: 32. Likely mistake: Half of it."),
        (63, "d_k is wrong: 63. Likely mistake: No known mistake matches"),
        ([64, 64], "holds 2 numbers"),
        (None, "d_k is None"),
        ("64", "d_k is of type str: '64'"),
        (10**400, "d_k is of type int"),
        (float("nan"), "d_k is wrong: nan"),
    ],
)
def test_wrong_numbers_are_explained(actual: object, says: str) -> None:
    known = [Mistake("Half of it.", 32)]
    assert says in said(check_number, actual, 64, what="d_k", read=READ, mistakes=known, whole=True)


def test_a_count_must_be_exact() -> None:
    assert RTOL_NUMBER < 100 / 1_050_624
    said(check_number, 1_050_624 - 100, 1_050_624, what="count", read=READ)
    said(check_number, 10**9 + 1, 10**9, what="count", read=READ, whole=True)


# -------------------------------------------------------------------------- exceptions


def _raising(error: Exception):
    def call() -> None:
        raise error

    return call


def test_the_right_exception_is_accepted() -> None:
    call = _raising(ValueError("num_heads=4 does not divide 10"))
    check_raises(call, ValueError, mentions=(10, 4), what="f(10, 4)", read=READ)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: 2, "f(10, 4) returned 2; it must raise ValueError"),
        (_raising(TypeError("10 and 4")), "raised TypeError, not ValueError"),
        (_raising(NotImplementedError()), "raised NotImplementedError, not ValueError"),
        (_raising(ValueError("10 and 40")), "4 is missing"),
        (_raising(ValueError()), "10 and 4 is missing"),
    ],
)
def test_other_exceptions_are_explained(call, says: str) -> None:
    assert says in said(
        check_raises, call, ValueError, mentions=(10, 4), what="f(10, 4)", read=READ
    )


# ---------------------------------------------------------------------------- mistakes

Q, K, V = random_inputs((2, 4, 5, 3), (2, 4, 7, 3), (2, 4, 7, 6), seed=1)
X, W_Q, W_K, W_V, W_O = random_inputs((2, 5, 12), *[(12, 12)] * 4, seed=2)
X2, *W2 = random_inputs((2, 7, 10), *[(10, 12)] * 3, (12, 10), seed=3)
HEADS = random_inputs((2, 3, 5, 4), seed=4)[0]
PATTERNS = [[0, 0.8, 0, 0, 0, 0.2], [0.3, 0.3, 0.2, 0.2, 0, 0], [0, 0.3, 0, 0, 0, 0.7]]

GATHERED = {
    "attention_weights": (
        mistakes.heads.of_attention_weights,
        reference.heads.attention_weights,
        (Q, K),
    ),
    "attend": (mistakes.heads.of_attend, reference.heads.attend, (Q, K, V)),
    "mean_pattern": (mistakes.heads.of_mean_pattern, reference.heads.mean_pattern, (PATTERNS,)),
    "split_heads": (mistakes.heads.of_split_heads, reference.heads.split_heads, (X, 3)),
    "merge_heads": (mistakes.heads.of_merge_heads, reference.heads.merge_heads, (HEADS,)),
    "multi_head": (
        mistakes.heads.of_multi_head,
        reference.heads.multi_head,
        (X, W_Q / 4, W_K / 4, W_V, W_O, 3),
    ),
    "multi_head, h*d_head != d_model": (
        mistakes.heads.of_multi_head,
        reference.heads.multi_head,
        (X2, W2[0] / 4, W2[1] / 4, W2[2], W2[3], 4),
    ),
    "head_contributions": (
        mistakes.heads.of_head_contributions,
        reference.heads.head_contributions,
        (HEADS, W_O),
    ),
    "head_contributions, h*d_head != d_model": (
        mistakes.heads.of_head_contributions,
        reference.heads.head_contributions,
        (HEADS, W2[3]),
    ),
}


@pytest.mark.parametrize("name", GATHERED)
def test_mistakes_differ_from_the_right_answer_and_from_each_other(name: str) -> None:
    gather, right, inputs = GATHERED[name]
    expected = right(*inputs)
    known = gather(*inputs)
    assert known
    for mistake in known:
        message = tensor_says(mistake.value, expected, axes="a b c d", mistakes=known)
        assert mistake.says in message
        assert mistake.read is None or section_link(mistake.read) in message
    for one, other in itertools.combinations(known, 2):
        if torch.as_tensor(one.value).shape == torch.as_tensor(other.value).shape:
            assert not torch.allclose(one.value, other.value, rtol=1e-3, atol=1e-3), (
                one.says,
                other.says,
            )


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("d_model", "num_heads"), [(12, 2), (12, 3), (12, 6), (512, 8)])
def test_mistakes_in_counting_are_never_the_right_count(
    d_model: int, num_heads: int, bias: bool
) -> None:
    right = reference.heads.mha_parameters(d_model, num_heads, bias)
    known = mistakes.heads.of_mha_parameters(d_model, num_heads, bias=bias)
    # 1 + 3h = 4h holds for h = 1 only, and d/h divides 3 matrices into what 4 are for h = 3/4
    assert right not in {mistake.value for mistake in known}


def test_every_sentence_ends_and_every_section_exists() -> None:
    known = [m for gather, _, inputs in GATHERED.values() for m in gather(*inputs)]
    known += mistakes.heads.of_head_dim(12, 4) + mistakes.heads.of_mha_parameters(12, 4, bias=True)
    known += mistakes.heads.of_price_of_the_output_projection() + mistakes.heads.of_same_with_w_o()
    for mistake in known:
        assert mistake.says[0].isupper()
        assert mistake.says.rstrip().endswith((".", "this."))
        if mistake.read is not None:
            section_link(mistake.read)


def test_reference_agrees_with_torch() -> None:
    """W_Q and the others are stored so that x @ W_Q is right; torch stores the transposes."""
    torch_mha = torch.nn.MultiheadAttention(12, 3, bias=False, batch_first=True)
    with torch.no_grad():
        torch_mha.in_proj_weight.copy_(torch.cat([W_Q.T, W_K.T, W_V.T]))
        torch_mha.out_proj.weight.copy_(W_O.T)
        expected, _ = torch_mha(X, X, X, need_weights=False)
    actual = reference.heads.multi_head(X, W_Q, W_K, W_V, W_O, 3)
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)
    total = reference.heads.head_contributions(HEADS, W_O).sum(dim=1)
    torch.testing.assert_close(
        total, reference.heads.merge_heads(HEADS) @ W_O, rtol=1e-4, atol=1e-4
    )


# ----------------------------------------------------------------------- around a check


def test_random_inputs_depend_on_the_seed_alone() -> None:
    first = random_inputs((2, 3), (3,), seed=5)
    torch.manual_seed(99)
    assert all(map(torch.equal, first, random_inputs((2, 3), (3,), seed=5)))
    assert not torch.equal(first[0], random_inputs((2, 3), seed=6)[0])


def test_a_task_that_passes_says_so_and_leaves_stderr_empty(capsys) -> None:
    with task("Task 3", read="split-and-merge"):
        print("a warning", file=sys.stderr)
    captured = capsys.readouterr()
    assert captured.out == "a warning\nTask 3: the tests in this cell pass.\n"
    assert captured.err == ""


def test_a_task_says_what_has_been_shown(capsys) -> None:
    with task("Task 3", read="split-and-merge", shows="it works."):
        pass
    assert capsys.readouterr().out.endswith("\nWhat you just showed: it works.\n")


def test_what_a_test_assigns_does_not_stay() -> None:
    cell = """
kept = "the learner's"
def check_it(x):
    return x
with task("Task 3", read="split-and-merge"):
    for new in range(3):
        kept = new
    check_it(kept)
"""
    names = {"task": task}
    exec(cell, names)
    assert names["kept"] == "the learner's"
    assert "new" not in names
    assert "check_it" in names


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (NotImplementedError("Task not done yet"), "The task is not done yet."),
        (NameError("name 'split_heads' is not defined"), "was not run"),
        (RuntimeError("shape mismatch"), "stops with RuntimeError: shape mismatch"),
    ],
)
def test_an_exception_of_the_learner_is_explained(error: Exception, says: str) -> None:
    with pytest.raises(Diagnosis) as caught, task("Task 3", read="split-and-merge"):
        raise error
    message = " ".join(str(caught.value).split())
    assert says in message
    assert message.endswith("chapters/cutting-d-model-into-heads.html#split-and-merge")


def test_a_diagnosis_passes_through_a_task_unchanged() -> None:
    with pytest.raises(Diagnosis, match="wrong axis"), task("Task 3", read="split-and-merge"):
        raise Diagnosis("wrong axis")


def test_ctrl_c_is_no_mistake_of_the_learner() -> None:
    with pytest.raises(KeyboardInterrupt), task("Task 3", read="split-and-merge"):
        raise KeyboardInterrupt
