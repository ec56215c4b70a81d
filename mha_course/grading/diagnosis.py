"""Compare a learner's answer with the right one, and say what is likely wrong.

Every check returns nothing, or raises a Diagnosis of three parts: what was found, the likely
mistake, and where to read. A check accepts what is right in another style: float64, lists,
other devices, tensors that carry gradients.
"""

from __future__ import annotations

import contextlib
import math
import re
import textwrap
import traceback
from collections.abc import Callable, Sequence
from typing import NoReturn

import torch
from torch import Tensor

from mha_course.grading.book import section_link
from mha_course.grading.mistakes import Mistake

# float32 rounds by u = 6e-8. A sum of n products errs by at most n·u times the sum of their sizes
# (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1), and by about √n·u as a
# rule. Our n are at most 110, and three such sums follow each other in attention: 2e-5 at worst,
# 2e-6 as a rule. tests/exercises/test_cells.py measures it: right answers in other styles use less
# than a tenth of the tolerance, and known mistakes are more than ten times as far off.
RTOL, ATOL = 1e-4, 1e-5
RTOL_NUMBER = 1e-6  # a count of a million must not be off by one hundred
_NO_MISTAKE_KNOWN = "No known mistake matches. Work the example of the task through by hand."
_LINE = 78  # nbgrader's command line cuts longer lines off


class Diagnosis(AssertionError):  # noqa: N818  what it is, not an error of the course
    """A check failed; the message is for the learner.

    A notebook shows the message alone: the stack would only show how the test is made.

    Attributes:
        likely: The likely mistake, as a part of the message.
    """

    likely = ""

    def _render_traceback_(self) -> list[str]:
        # IPython calls this in place of its own formatting
        lines = [
            line
            for frame, line in traceback.walk_tb(self.__traceback__)
            if frame.f_code.co_name == "<module>"
        ]
        where = f" in line {lines[0]} of this cell" if lines else ""
        return [f"Not passed yet{where}:", *str(self).split("\n")]


def check_tensor(
    actual: object,
    expected: Tensor,
    *,
    what: str,
    axes: str,
    read: str,
    mistakes: Sequence[Mistake] = (),
    hint: str = "",
) -> None:
    """Check that `actual` holds the numbers of `expected`.

    Args:
        actual: What the learner's function returned: a tensor, or lists of numbers.
        expected: The right answer.
        what: The call, as the message should show it: `"merge_heads(x)"`.
        axes: Names of the axes of `expected`: `"B T h*d_head"`. Where it has fewer axes, the
            last names count.
        read: Anchor of the section to read.
        mistakes: Wrong answers to compare with, the likeliest first.
        hint: What to look at when no known mistake matches.

    Raises:
        Diagnosis: the answer is wrong; the message says how.
    """
    given = _as_tensor(actual, what, read)
    _compare(given, expected, what=what, axes=axes, read=read, mistakes=mistakes, hint=hint)


def check_mask(
    actual: object,
    expected: Tensor,
    *,
    what: str,
    axes: str,
    read: str,
    mistakes: Sequence[Mistake] = (),
    hint: str = "",
) -> None:
    """Check that `actual` is the boolean mask `expected`: True = may attend.

    Arguments as in `check_tensor`. Numbers in place of booleans are refused: torch would add a
    mask of numbers to the scores.

    Raises:
        Diagnosis: the answer is wrong; the message says how.
    """
    if isinstance(actual, (list, tuple)):
        with contextlib.suppress(TypeError, ValueError, RuntimeError):
            actual = torch.as_tensor(actual)
    if isinstance(actual, Tensor) and actual.dtype == torch.bool:
        given = actual.detach().cpu().double()
    elif str(getattr(actual, "dtype", "")) == "bool":  # numpy
        given = torch.as_tensor(actual).double()
    else:
        _as_tensor(actual, what, read)
        _fail(
            f"{what} holds numbers.",
            "A mask is boolean, True = may attend. A comparison, or .bool(), makes one.",
            read,
        )
    _compare(given, expected, what=what, axes=axes, read=read, mistakes=mistakes, hint=hint)


def check_labels(
    actual: object,
    expected: str | Sequence[str],
    *,
    choices: Sequence[str],
    what: str,
    read: str,
    mistakes: Sequence[Mistake] = (),
    hint: str = "",
) -> None:
    """Check that `actual` is the right word out of several, or a list of such words.

    Args:
        actual: What the learner assigned or returned; upper case and spaces around do not matter.
        expected: The right word or words.
        choices: All words that may be given.
        what: The name or the call, as the message should show it.
        read: Anchor of the section to read.
        mistakes: Wrong words to compare with, the likeliest first.
        hint: What to look at when no known mistake matches.

    Raises:
        Diagnosis: a word is wrong; the message says how.
    """
    if actual is None or actual is ... or callable(actual):
        _as_tensor(actual, what, read)  # says it
    right = [expected] if isinstance(expected, str) else list(expected)
    words = [actual] if isinstance(actual, str) else actual
    if not isinstance(words, (list, tuple)) or not all(isinstance(word, str) for word in words):
        kind = "a word" if isinstance(expected, str) else "a list of words"
        _fail(
            f"{what} is of type {type(actual).__name__}: {_short(actual)}.",
            f"Asked is {kind}, such as {choices[0]!r}.",
            read,
        )
    given = [word.strip().lower() for word in words]
    unknown = [word for word in given if word not in {choice.lower() for choice in choices}]
    if unknown:
        _fail(f"{what} holds {unknown[0]!r}.", f"The words are {', '.join(choices)}.", read)
    if len(given) != len(right):
        _fail(f"{what} holds {len(given)} words.", f"Asked are {len(right)}.", read)
    if given == [word.lower() for word in right]:
        return
    for mistake in mistakes:
        value = (mistake.value,) if isinstance(mistake.value, str) else mistake.value
        if isinstance(value, tuple) and given == list(value):
            _fail(f"{what} is wrong.", mistake.says, mistake.read or read)
    wrong = sum(one != other.lower() for one, other in zip(given, right, strict=True))
    found = "is wrong" if len(right) == 1 else f"is wrong in {wrong} of {len(right)} words"
    _fail(f"{what} {found}.", hint or _NO_MISTAKE_KNOWN, read)


def check_number(
    actual: object,
    expected: float,
    *,
    what: str,
    read: str,
    mistakes: Sequence[Mistake] = (),
    whole: bool = False,
    rtol: float = RTOL_NUMBER,
    hint: str = "",
) -> None:
    """Check that `actual` is the number `expected`.

    Args:
        actual: What the learner assigned or returned.
        expected: The right number.
        what: The name or the call, as the message should show it.
        read: Anchor of the section to read.
        mistakes: Wrong numbers to compare with, the likeliest first.
        whole: Whether only an int will do, as for a size.
        rtol: How far off it may be, relative to `expected`: RTOL for what float32 has computed.
        hint: What to look at when no known mistake matches.

    Raises:
        Diagnosis: the number is wrong; the message says how.
    """
    given = _as_tensor(actual, what, read)
    if given.numel() != 1:
        _fail(f"{what} holds {given.numel()} numbers.", "Asked is a single number.", read)
    number = float(given)
    if whole:
        rtol = 0.0  # one off is wrong, in millions as well
    if not math.isclose(number, expected, rel_tol=rtol, abs_tol=rtol / 10):
        for mistake in mistakes:
            if isinstance(mistake.value, (str, tuple)):
                continue
            if math.isclose(number, float(mistake.value), rel_tol=rtol, abs_tol=rtol / 10):
                _fail(f"{what} is wrong: {number:g}.", mistake.says, mistake.read or read)
        _fail(f"{what} is wrong: {number:g}.", hint or _NO_MISTAKE_KNOWN, read)
    if whole and _is_float(actual):
        _fail(
            f"{what} is {number:g} as a float.",
            "A size or a count must be an int: divide with // and not with /.",
            read,
        )


def check_raises(
    call: Callable[[], object],
    error: type[Exception],
    *,
    what: str,
    read: str,
    mentions: Sequence[int] = (),
    because: str = "",
) -> None:
    """Check that `call` raises `error`, with a message that holds all numbers of `mentions`.

    Args:
        call: The learner's function with its arguments: `lambda: head_dim(10, 4)`.
        error: The exception that is asked for.
        what: The call, as the message should show it.
        read: Anchor of the section to read.
        mentions: Numbers that the exception's message must hold.
        because: Why an exception is right here.

    Raises:
        Diagnosis: nothing or something else was raised, or the message lacks a number.
    """
    try:
        returned = call()
    except error as caught:
        message = str(caught)
    except Exception as other:
        _fail(
            f"{what} raised {type(other).__name__}, not {error.__name__}.",
            f"Use raise {error.__name__}(…) with a message. {because}",
            read,
        )
    else:
        _fail(
            f"{what} returned {_short(returned)}; it must raise {error.__name__}.",
            f"{because} Test for it with %, and raise before you divide.",
            read,
        )
    missing = [n for n in mentions if not re.search(rf"(?<!\d){n}(?!\d)", message)]
    if missing:
        _fail(
            f"{what} raises {error.__name__}, but its message is not helpful yet.",
            f"Name the values in the message: {' and '.join(map(str, missing))} is missing "
            f"in {message!r}. An f-string does it.",
            read,
        )


def diagnose(found: str, likely: str, read: str) -> Diagnosis:
    """Word a diagnosis: what was found, the likely mistake, and the anchor of where to read."""
    parts = [found, f"Likely mistake: {likely}", f"Read: {section_link(read)}"]
    # a link must stay in one piece to be of use
    lines = (textwrap.fill(p, _LINE, break_long_words=False, break_on_hyphens=False) for p in parts)
    diagnosis = Diagnosis("\n".join(lines))
    diagnosis.likely = likely
    return diagnosis


def _fail(found: str, likely: str, read: str) -> NoReturn:
    raise diagnose(found, likely, read)


def _compare(
    given: Tensor,
    expected: Tensor,
    *,
    what: str,
    axes: str,
    read: str,
    mistakes: Sequence[Mistake],
    hint: str,
) -> None:
    """Compare numbers with numbers, both as float64; see `check_tensor`."""
    right = expected.detach().double()
    if _same(given, right):
        return
    names = axes.split()[-right.dim() :]
    for mistake in mistakes:
        if isinstance(mistake.value, (str, tuple)):
            continue
        if _same(given, torch.as_tensor(mistake.value).detach().double()):
            shape = "" if given.shape == right.shape else _shapes(given, right, names)
            _fail(f"{what} is wrong.", f"{shape}{mistake.says}", mistake.read or read)
    if given.shape != right.shape:
        reason = _why_this_shape(given, right, names)
        _fail(f"{what} has the wrong shape.", f"{_shapes(given, right, names)}{reason}", read)
    if not bool(given.isfinite().all()):
        _fail(
            f"{what} holds NaN or infinity.",
            "A division by zero, a logarithm of zero or a softmax over nothing but −inf "
            "leads to that.",
            read,
        )
    wrong = int((~_close(given, right)).sum())
    _fail(
        f"{what} has the right shape, but {wrong} of {right.numel()} numbers are wrong.",
        hint or _NO_MISTAKE_KNOWN,
        read,
    )


def _as_tensor(actual: object, what: str, read: str) -> Tensor:
    """Return the answer as float64 on the CPU, or say why it is no tensor."""
    if actual is None:
        _fail(f"{what} is None.", "A return is missing, or the task is not done yet.", read)
    if actual is ...:
        _fail(f"{what} is still the three dots.", "The task is not done yet.", read)
    if callable(actual) and not isinstance(actual, Tensor):
        _fail(f"{what} is a function.", "Call it, with brackets and arguments.", read)
    if isinstance(actual, (list, tuple)) and any(isinstance(part, Tensor) for part in actual):
        # a list of single numbers is as good as a tensor; anything else is several answers
        if not all(isinstance(part, (Tensor, int, float)) and _numel(part) == 1 for part in actual):
            _fail(
                f"{what} is a {type(actual).__name__} of {len(actual)}.",
                "Return one tensor. torch.stack or torch.cat makes one of several.",
                read,
            )
        actual = [float(part) for part in actual]
    try:
        if isinstance(actual, (str, bytes, bool)):
            raise TypeError
        if isinstance(actual, Tensor):
            tensor = actual
        else:
            tensor = torch.as_tensor(actual, dtype=torch.float64)
        if tensor.is_complex() or tensor.dtype == torch.bool:
            raise TypeError
    except (TypeError, ValueError, RuntimeError, OverflowError):
        kind = type(actual).__name__
        _fail(f"{what} is of type {kind}: {_short(actual)}.", "Numbers are asked for.", read)
    return tensor.detach().to(device="cpu", dtype=torch.float64)


def _numel(part: Tensor | float) -> int:
    return part.numel() if isinstance(part, Tensor) else 1


def _is_float(actual: object) -> bool:
    return isinstance(actual, float) or (isinstance(actual, Tensor) and actual.is_floating_point())


def _same(given: Tensor, wanted: Tensor) -> bool:
    return given.shape == wanted.shape and bool(_close(given, wanted).all())


def _close(given: Tensor, wanted: Tensor) -> Tensor:
    # near 0 the error of a float32 sum grows with what was added up, not with the result
    size = max(1.0, float(wanted.abs().max())) if wanted.numel() else 1.0
    return torch.isclose(given, wanted, rtol=RTOL, atol=ATOL * size)


def _short(value: object) -> str:
    return textwrap.shorten(repr(value), 40, placeholder=" …")


def _shapes(given: Tensor, right: Tensor, names: Sequence[str]) -> str:
    return f"The shape is {list(given.shape)}, not {list(right.shape)} = [{', '.join(names)}]. "


def _why_this_shape(given: Tensor, right: Tensor, names: Sequence[str]) -> str:
    """Guess a reason from the sizes, which the fixtures keep pairwise different."""
    got, want = list(given.shape), list(right.shape)
    if sorted(got) == sorted(want) and len(set(want)) == len(want):
        order = ", ".join(names[want.index(size)] for size in got)
        return f"Your axes seem to be [{order}]: a transpose is missing or one too many."
    for i, name in enumerate(names):
        if got == want[:i] + want[i + 1 :]:
            return f"The axis {name} is gone: was it added up, averaged or merged?"
    if given.numel() == right.numel():
        return "The number of elements is right: a transpose, split or merge is missing."
    if len(got) != len(want):
        return f"There must be {len(want)} axes."
    differing = [name for name, a, b in zip(names, got, want, strict=True) if a != b]
    return f"Look at where the size of {' and '.join(differing)} comes from."
