"""Answers cut into overlapping fragments of a few tokens, to be compared with each other.

A regular expression finds the tokens. Python's own parser would stop at an answer with a slip in
it, and can be brought down by one that is made for that.
"""

from __future__ import annotations

import builtins
import keyword
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

LENGTH = 4  # tokens in a fragment
MOST = 10_000  # characters of an answer that are looked at; a long honest one has 3,000

_CODE = re.compile(
    r"""
    (?P<comment>\#[^\n]*)
    | (?P<string>(?i:[bfru]{0,2})(?:
        \"{3}(?:[^\\]|\\.)*?(?:\"{3}|\Z) | '{3}(?:[^\\]|\\.)*?(?:'{3}|\Z)
        | \"(?:[^\"\\\n]|\\.)*+\"? | '(?:[^'\\\n]|\\.)*+'?))
    | (?P<number>\d[\w.]*)
    | (?P<name>\w+)
    | (?P<sign>\*\*|//|==|!=|<=|>=|->|:=|[^\s\\])
    """,
    re.VERBOSE | re.DOTALL,
)
_WORD = re.compile(r"\w+")
_FIELD = re.compile(r"\{[^{}]*\}")
_FIXED = frozenset(keyword.kwlist) | frozenset(dir(builtins))
_START, _END = "<start>", "<end>"

Fragment = tuple[str, ...]


class Reading(NamedTuple):
    """How answers are read.

    Attributes:
        prose: As text: words alone, in lower case.
        as_written: With the learner's names and comments; without it, names that can be chosen
            are left out of account, and so are comments and docstrings.
        given_names: Names in code that learners cannot choose: functions that tests call, modules.
    """

    prose: bool
    as_written: bool
    given_names: frozenset[str]


class _Token(NamedTuple):
    text: str
    start: int
    end: int
    chosen: bool = False  # a name that the learner can choose


def fragments(text: str, reading: Reading) -> dict[Fragment, list[tuple[int, int]]]:
    """Return the fragments of an answer, and where in it each one is."""
    text = text[:MOST]
    tokens = list(_words(text) if reading.prose else _code(text, reading))
    tokens = [_Token(_START, 0, 0), *tokens, _Token(_END, len(text), len(text))]
    found: dict[Fragment, list[tuple[int, int]]] = {}
    for first in range(max(1, len(tokens) - LENGTH + 1)):
        part = tokens[first : first + LENGTH]
        inner = [token for token in part if token.end > token.start] or part
        found.setdefault(_fragment(part), []).append((inner[0].start, inner[-1].end))
    return found


def given_names(cells: Iterable[str]) -> frozenset[str]:
    """Return the names that given cells define or import."""
    found = re.findall(r"\b(?:def|class|import|from|as)\s+(\w+)", "\n".join(cells))
    return frozenset(found)


def _fragment(tokens: list[_Token]) -> Fragment:
    """Number the chosen names within the fragment: `a = a / b` is `x = x / y`, not `x = y / x`."""
    numbers: dict[str, str] = {}
    return tuple(
        numbers.setdefault(token.text, f"<{len(numbers)}>") if token.chosen else token.text
        for token in tokens
    )


def _words(text: str) -> Iterator[_Token]:
    for found in _WORD.finditer(text):
        yield _Token(found[0].lower(), *found.span())


def _code(text: str, reading: Reading) -> Iterator[_Token]:
    before = ":"
    for found in _CODE.finditer(text):
        shown, start = found[0], found.start()
        if found.lastgroup == "comment":
            if reading.as_written:
                for word in _words(shown):
                    yield word._replace(start=start + word.start, end=start + word.end)
            continue
        chosen = False
        if found.lastgroup == "string":
            if before == ":" and not reading.as_written:
                continue  # a docstring
            shown = _FIELD.sub("{}", shown).replace('"', "'")
        elif found.lastgroup == "name" and not reading.as_written:
            chosen = before != "." and shown not in _FIXED and shown not in reading.given_names
        before = found[0]
        yield _Token(shown, start, found.end(), chosen)
