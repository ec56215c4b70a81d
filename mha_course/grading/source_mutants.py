r"""Small changes to a solution's source, each of which a test should notice.

    for mutant in source_mutants("def f(x):\n    return x + 1\n"):
        print(mutant.change)      # x + 1 → x - 1, and so on

A mutant that no test notices is either equivalent to the solution, or shows a gap in the tests.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from typing import NamedTuple


class SourceMutant(NamedTuple):
    """A changed source.

    Attributes:
        change: What was changed, `before → after`.
        source: The whole source with this one change.
    """

    change: str
    source: str


_BINARY: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
_COMPARE: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_NAMES = {
    "sum": "mean",
    "mean": "sum",
    "max": "min",
    "min": "max",
    "amax": "amin",
    "amin": "amax",
    "argmax": "argmin",
    "argmin": "argmax",
    "any": "all",
    "all": "any",
    "tril": "triu",
    "triu": "tril",
    "ones": "zeros",
    "zeros": "ones",
    "repeat_interleave": "repeat",
    "abs": "neg",
    "log": "log2",
    "log2": "log",
    "softmax": "log_softmax",
    "sorted": "list",
}


def source_mutants(source: str) -> Iterator[SourceMutant]:
    """Yield the source with one change each: operators, numbers, names, arguments, statements.

    Docstrings and the texts of messages stay as they are.
    """
    tree = ast.parse(source)
    seen = {ast.unparse(tree)}
    for position, node in enumerate(ast.walk(tree)):
        for change, edit in _edits(node):
            mutated = copy.deepcopy(tree)
            target = list(ast.walk(mutated))[position]
            edit(target)
            text = ast.unparse(ast.fix_missing_locations(mutated))
            if text not in seen:
                seen.add(text)
                yield SourceMutant(change, text)


def _edits(node: ast.AST) -> Iterator[tuple[str, _Edit]]:
    """Yield what can be changed at this node: in words, and as a function that does it."""
    for edit in _edits_in_place(node):
        changed = copy.deepcopy(node)
        edit(changed)
        yield f"{_words(node)} → {_words(changed)}", edit


def _edits_in_place(node: ast.AST) -> Iterator[_Edit]:
    match node:
        case ast.BinOp(op=op) if type(op) in _BINARY:
            yield _Edit("op", _BINARY[type(op)]())
        case ast.AugAssign(op=op) if type(op) in _BINARY:
            yield _Edit("op", _BINARY[type(op)]())
        case ast.Compare(ops=[op]) if type(op) in _COMPARE:
            yield _Edit("ops", [_COMPARE[type(op)]()])
        case ast.BoolOp(op=op):
            yield _Edit("op", ast.Or() if isinstance(op, ast.And) else ast.And())
        case ast.UnaryOp(op=ast.USub()):
            yield _Edit("op", ast.UAdd())
        case ast.UnaryOp(op=ast.Not() | ast.Invert()):
            yield _Edit("op", ast.UAdd())
        case ast.Constant(value=bool(value)):
            yield _Edit("value", not value)
        case ast.Constant(value=int(value)):
            yield _Edit("value", value + 1)
        case ast.Constant(value=float(value)):
            yield _Edit("value", value * 2 + 1)
        case ast.Attribute(attr=name) if name in _NAMES:
            yield _Edit("attr", _NAMES[name])
        case ast.Name(id=name) if name in _NAMES:
            yield _Edit("id", _NAMES[name])
        case ast.Slice(lower=lower, upper=upper):
            if lower is not None:
                yield _Edit("lower", None)
            if upper is not None:
                yield _Edit("upper", None)
        case ast.If():
            yield _Edit("test", ast.Constant(True))
            yield _Edit("test", ast.Constant(False))
    if isinstance(node, ast.Call):
        for i, keyword in enumerate(node.keywords):
            if keyword.arg is not None:
                yield _Edit("keywords", node.keywords[:i] + node.keywords[i + 1 :])
    body = getattr(node, "body", None)
    if isinstance(body, list):
        for i, statement in enumerate(body):
            if not isinstance(statement, (ast.FunctionDef, ast.ClassDef, ast.Import, ast.Return)):
                if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                    continue  # a docstring
                yield _Edit("body", [*body[:i], ast.Pass(), *body[i + 1 :]])


class _Edit(NamedTuple):
    """Put `value` into a field of a node."""

    field: str
    value: object

    def __call__(self, node: ast.AST) -> None:
        setattr(node, self.field, self.value)


def _words(node: ast.AST) -> str:
    """Return the code of a node in one line; of a block, what differs can be anywhere in it."""
    text = ast.unparse(ast.fix_missing_locations(copy.deepcopy(node)))
    return " ".join(text.split())
