"""A look over a learner's code for what no answer of this course needs. Nothing is executed.

What is seen becomes a finding that a person looks at, and costs no points: there may be a good
reason. Nor does the look keep anybody from anything: the sandbox does that, and the judge, which
the learner's code cannot reach. Whoever wants to hide something from it can.
"""

from __future__ import annotations

import ast
import functools
import re
import textwrap
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from nbformat import NotebookNode
from nbgrader import utils

from mha_course.autograder.findings import Finding
from mha_course.autograder.signs import WHAT, Sign, imported, parsed, signs
from mha_course.grading.assignment import grade_id

MOST_CHARACTERS = 20_000  # of a cell: the time for parsing can grow faster than the text
MOST_IN_ALL = 200_000  # ten times a long notebook
_MOST_SHOWN = 80  # characters of a line
_MOST_LINES = 5

_COMMAND = re.compile(r"\s*(?:[\w, ]+=\s*)?([!%]+\w*)")  # x = !ls
_LINE_END = re.compile(r"\r\n?|\n")  # as Python counts lines
_QUESTION = re.compile(r".*\?\s*")
_HARMLESS = (
    *("%", "%autoreload", "%config", "%load_ext", "%matplotlib", "%precision", "%time", "%timeit"),
    *("%who", "%%capture", "%%html", "%%latex", "%%markdown", "%%time", "%%timeit"),
)
_FOR_PYTHON = ("%%capture", "%%time", "%%timeit")  # what follows them in a cell


class _Own(NamedTuple):
    """A code cell of the learner's.

    Attributes:
        name: Its grade_id; empty for one that they added.
        below: Name of the cell above one that they added.
        source: Its text.
        own_attention: Whether its task asks the learner to write attention.
    """

    name: str
    below: str
    source: str
    own_attention: bool


def look(cells: Sequence[NotebookNode]) -> list[Finding]:
    """Return what an instructor should look at in the learner's cells.

    Args:
        cells: Of a notebook that was rebuilt, in order.
    """
    findings = []
    read: list[tuple[_Own, ast.Module, tuple[Sign, ...]]] = []
    left = MOST_IN_ALL
    for cell in _of_learner(cells):
        size = len(cell.source)
        if size <= min(MOST_CHARACTERS, left):
            read.append((cell, *_read(cell.source)))
            left -= size
        else:
            says = f"Code of {size:,} characters{_placed(cell)} was not looked through."
            findings.append(Finding("long-cell", says, cell.name))
    names: dict[str, str] = {}
    for given in filter(_is_given, cells):
        names |= _given_names(given.source)
    for _, tree, _ in read:
        names = imported(tree, names)
    for cell, tree, commands in read:
        found = signs(tree, names, own_attention=cell.own_attention) | set(commands)
        findings += _findings(cell, sorted(found, key=lambda sign: sign.line))
    return findings


@functools.lru_cache(maxsize=1000)
def asks_for_own_attention(test: str) -> bool:
    """Return whether a test cell says `own_attention=True`: the learner is to write attention."""
    return any(
        isinstance(node, ast.keyword)
        and node.arg == "own_attention"
        and isinstance(node.value, ast.Constant)
        and node.value.value is True
        for node in ast.walk(_read(test)[0])
    )


def _is_given(cell: NotebookNode) -> bool:
    return bool(cell.cell_type == "code" and grade_id(cell) and not utils.is_solution(cell))


def _of_learner(cells: Sequence[NotebookNode]) -> Iterator[_Own]:
    task, above = "", ""
    own: list[_Own] = []
    asked = set()
    for cell in cells:
        name = grade_id(cell)
        if cell.cell_type == "code" and (utils.is_solution(cell) or not name):
            own.append(_Own(name, above, cell.source, False))
        if utils.is_solution(cell):
            task = name
        elif cell.cell_type == "code" and utils.is_grade(cell):
            asked |= {task} if asks_for_own_attention(cell.source) else set()
        above = name or above
    for one in own:
        yield one._replace(own_attention=bool(one.name) and one.name in asked)


def _read(source: str) -> tuple[ast.Module, tuple[Sign, ...]]:
    """Return what Python reads in a cell, and signs in lines that are commands to IPython.

    What cannot be read cannot run either.
    """
    if tree := parsed(source):
        return tree, ()
    lines = _LINE_END.split(source)
    commands = [match[1] if (match := _COMMAND.match(line)) else "" for line in lines]
    found = tuple(
        Sign("ipython", number)
        for number, command in enumerate(commands, start=1)
        if command and command not in _HARMLESS
    )
    first = next((command for command in commands if command), "")
    if first.startswith("%%") and first not in _FOR_PYTHON:
        return ast.Module([], []), found[:1]
    python = [
        "" if command or _QUESTION.fullmatch(line) else line
        for command, line in zip(commands, lines, strict=True)
    ]
    tree = parsed(textwrap.dedent("\n".join(python)))  # as IPython does
    return (tree, found) if tree else (ast.Module([], []), ())


@functools.lru_cache(maxsize=1000)  # the same for all submissions
def _given_names(source: str) -> dict[str, str]:
    return imported(_read(source)[0])


def _findings(cell: _Own, found: Sequence[Sign]) -> list[Finding]:
    """Return one finding for each kind of sign."""
    lines = _LINE_END.split(cell.source)
    places: dict[str, list[int]] = {}
    for kind, line in found:
        places.setdefault(kind, []).append(line)
    findings = []
    for kind, where in places.items():
        says = f"{WHAT[kind]}, in {_listed(where)}{_placed(cell)}: {_quoted(lines[where[0] - 1])}"
        findings.append(Finding(kind, says, cell.name))
    return findings


def _placed(cell: _Own) -> str:
    if cell.name:
        return ""
    return f" of a cell added below {cell.below}" if cell.below else " of a cell added at the top"


def _listed(numbers: Sequence[int]) -> str:
    words = [str(number) for number in numbers[:_MOST_LINES]]
    if len(numbers) > _MOST_LINES:
        words.append(f"{len(numbers) - _MOST_LINES} more")
    *rest, last = words
    return f"lines {', '.join(rest)} and {last}" if rest else f"line {last}"


def _quoted(line: str) -> str:
    """Show a line in ASCII, and not too much of it."""
    plain = [c if c.isascii() and c.isprintable() else ascii(c)[1:-1] for c in line.strip()]
    shown = "".join(plain[:_MOST_SHOWN])
    return shown if len(plain) <= _MOST_SHOWN else f"{shown} ..."
