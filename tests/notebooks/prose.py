"""The text of a chapter without its code, formulas and directives."""

from __future__ import annotations

import re
from pathlib import Path

from mha_course.experiments.ledger import read_ledger

CHAPTERS = Path(__file__).parents[2] / "chapters"

_HEADER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)
_CELL = re.compile(r"^```\{code-cell\}.*?^```$", re.DOTALL | re.MULTILINE)
_FENCE = re.compile(r"^(`{3,}|:{3,})(\{(?P<name>[\w-]+)\})?.*$", re.MULTILINE)
_QUESTION = re.compile(r"^:::\{(?:number-)?question\}.*?^:::$", re.DOTALL | re.MULTILINE)
_BREAK = re.compile(r"^\+\+\+.*$", re.MULTILINE)  # between two cells of text
_DISPLAY = re.compile(r"^\$\$.*?\$\$", re.DOTALL | re.MULTILINE)


def without_code(text: str) -> str:
    """Drop the header, code cells and displayed formulas."""
    return _BREAK.sub("", _DISPLAY.sub("", _CELL.sub("", _HEADER.sub("", text, count=1))))


def without_questions(text: str) -> str:
    """Drop the self-check: its numbers are the reader's to work out."""
    return _QUESTION.sub("", text)


def paragraphs(text: str) -> list[str]:
    """Paragraphs, list items and headings; roles and inline code are left in."""
    lines = [
        line
        for line in without_code(text).splitlines()
        if not (_FENCE.match(line) or re.match(r"\s*(\||:\w+:|\()|.*\)=$", line))
    ]
    joined = re.sub(r"\n(\s*[-*] |\s*\d+\. |#)", r"\n\n\1", "\n".join(lines))
    return [part.strip() for part in re.split(r"\n\s*\n", joined) if part.strip()]


def plain(paragraph: str) -> str:
    """A paragraph as it is read: roles, links, code and formulas become a word or their text."""
    text = re.sub(r"\{(?:glue:text|numref|ref|footcite|cite\w*)\}`[^`]*`", "x", paragraph)
    text = re.sub(r"\{(?:term|doc|download)\}`([^`<]*?)(?:\s*<[^`]*)?`", r"\1", text)
    text = re.sub(r"\$[^$]*\$|`[^`]*`", "x", text)
    text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", text)
    return re.sub(r"^[-#*\s]+|\*\*|[*_](?=\w)|(?<=\w)[*_]", "", text)


_TERM = re.compile(r"\{term\}`([^`<]*?)(?:\s*<([^`>]*)>)?`")


def linked_terms(text: str) -> list[str]:
    """The terms of the glossary that a page links to, in lower case, in their order."""
    return [(target or shown).strip().lower() for shown, target in _TERM.findall(text)]


def glossary() -> list[list[str]]:
    """The entries of the glossary, each with its names in lower case."""
    page = (CHAPTERS / "glossary.md").read_text(encoding="utf-8")
    block = page.partition(":::{glossary}\n:sorted:\n\n")[2].partition("\n:::")[0]
    entries = block.split("\n\n")
    return [[x.lower() for x in e.splitlines() if not x.startswith(" ")] for e in entries]


def sentences(text: str) -> list[str]:
    """Sentences of the running text, without headings."""
    found = []
    for paragraph in paragraphs(text):
        if not paragraph.startswith("#"):
            found += re.split(r"(?<=[.!?:])\)?\s+(?=[A-Z\"“(])", plain(paragraph))
    return found


def reading_minutes(text: str) -> float:
    """Minutes for a reader who follows: 160 words, 25 lines of shown code, or 2 figures each.

    Of a question for the reader half the words count: nobody opens all choices.
    """
    questions = _QUESTION.findall(text)
    words = _count_words(plain(without_code(text))) + _count_words(" ".join(claims_said(text)))
    words -= _count_words(" ".join(questions)) / 2
    cells = _CELL.findall(text)
    shown = [cell for cell in cells if not re.search(r"remove-cell|remove-input|hide-input", cell)]
    lines = sum(cell.count("\n") - 1 for cell in shown)
    figures = sum("    name: fig-" in cell for cell in cells)
    return words / 160 + lines / 25 + figures / 2


def _count_words(text: str) -> float:
    return len(re.findall(r"\w[\w’'-]*", text))


def claims_said(text: str) -> list[str]:
    """What the page's table of claims says before its evidence is opened."""
    called = re.search(r"claims_table\(([^)]*)\)", text)
    if called is None:
        return []
    ids = re.findall(r'"([CQ]\d\d)"', called[1])
    rows = read_ledger(CHAPTERS / "data")
    return [f"{r.claim} {r.verdict} {r.detail}" for r in rows if not ids or r.id in ids]
