"""Answers that we wrote ourselves to test the tests: wrong ones, and right ones in other styles.

A bank is a Python file, `tests/exercises/NAME.py` or in a course folder of one's own
`banks/NAME.py`, with the lists WRONG and RIGHT and the dictionary EQUIVALENT. `generic` adds the
answers that are wrong for every task.
"""

from __future__ import annotations

import ast
import runpy
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mha_course.grading.assignment import Assignment, Task
from mha_course.grading.sitting import Answer, sit, without_markers


class Wrong(NamedTuple):
    """A wrong answer.

    Attributes:
        task: Name of the task.
        misconception: What the learner believes, in a few words.
        code: Source of the solution cell.
        says: Words that the message must hold, already for the visible tests.
        keeps: Test cells of the task that give their points all the same.
    """

    task: str
    misconception: str
    code: str
    says: str
    keeps: tuple[str, ...] = ()


class Right(NamedTuple):
    """A right answer in a style of its own.

    Attributes:
        task: Name of the task.
        style: What is peculiar about it, in a few words.
        code: Source of the solution cell.
    """

    task: str
    style: str
    code: str


class Bank(NamedTuple):
    """Answers to one assignment.

    Attributes:
        wrong: Each must lose the points of its task, and no others.
        right: Each must get all points.
        equivalent: Mutants of the solution that no test can tell from it, each with the reason.
    """

    wrong: list[Wrong]
    right: list[Right]
    equivalent: dict[str, str]


def bank_file(name: str, folder: Path | None = None) -> Path:
    """Return where the bank of an assignment is: Python's names have no hyphens.

    Args:
        name: Of the assignment.
        folder: With the banks; by default where they are in the repository, or else `banks`.
    """
    in_repository = Path("tests", "exercises")
    folder = folder or (in_repository if in_repository.is_dir() else Path("banks"))
    return folder / f"{name.replace('-', '_')}.py"


def read_bank(path: str | Path) -> Bank:
    """Run the file of a bank, and return what it defines.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it stops with an error, or a list is missing.
    """
    try:
        names = runpy.run_path(str(path))
    except FileNotFoundError:
        raise
    except Exception as error:
        raise ValueError(f"{path} cannot be run ({type(error).__name__}: {error})") from error
    missing = [name for name in ("WRONG", "RIGHT", "EQUIVALENT") if name not in names]
    if missing:
        raise ValueError(f"{path} does not define {', '.join(missing)}")
    return Bank(
        [entry._replace(code=dedent(entry.code).strip()) for entry in names["WRONG"]],
        [entry._replace(code=dedent(entry.code).strip()) for entry in names["RIGHT"]],
        dict(names["EQUIVALENT"]),
    )


def generic(assignment: Assignment, release: Assignment, task: Task) -> dict[str, Answer]:
    """Return the answers that must get nothing whatever the task is, by what they do.

    "hard-coded" returns what the visible tests want, and zeros for all other arguments. It is
    left out where the answer is a number and not a function: there is nothing to hide then.
    """
    source = without_markers(assignment.cells()[task.name].source)
    defined = _defined(source)
    found: dict[str, Answer] = {
        "blank": release.cells()[task.name].source,
        "syntax error": "def (",
        "exception": _each(defined, "{0} = lambda *args, **kwargs: 1 / 0"),
        "None": "\n".join(
            f"{name} = lambda *args, **kwargs: None" if is_function else f"{name} = None"
            for name, is_function in defined.items()
        ),
        "zeros": _wrapped(source, defined, lambda right: lambda *a, **k: zeros(right(*a, **k))),
    }
    if any(defined.values()):
        found["hard-coded"] = _hard_coded(assignment, task, source, defined)
    return found


def zeros(value: Any) -> Any:
    """Return the same shapes with nothing but zeros in them."""
    if isinstance(value, Tensor):
        return torch.zeros_like(value)
    if isinstance(value, nn.Module):
        forward = value.forward
        value.forward = lambda *args, **kwargs: zeros(forward(*args, **kwargs))
        return value
    if isinstance(value, dict):
        return {key: zeros(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        parts = [zeros(part) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    if isinstance(value, (bool, int, float, str)):
        return type(value)()
    return value


def _defined(source: str) -> dict[str, bool]:
    """Return the names that a solution defines, and whether they can be called."""
    found: dict[str, bool] = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.col_offset == 0:
            found[node.name] = True
    if not found:
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                found[node.id] = False
    return {name: function for name, function in found.items() if not name.startswith("_")}


def _each(names: dict[str, bool], line: str) -> str:
    return "\n".join(line.format(name) for name in names)


def _wrapped(
    source: str, defined: dict[str, bool], wrap: Callable[[Any], Any]
) -> Callable[[dict[str, Any]], None]:
    """Return an answer that runs the solution, and then replaces what it defined."""

    def answer(names: dict[str, Any]) -> None:
        exec(source, names)
        for name, is_function in defined.items():
            names[name] = wrap(names[name]) if is_function else zeros(names[name])

    return answer


def _hard_coded(
    assignment: Assignment, task: Task, source: str, defined: dict[str, bool]
) -> Callable[[dict[str, Any]], None]:
    """Return an answer that knows the visible cases by heart."""
    seen: list[tuple[Any, Any]] = []

    def record(right: Any) -> Any:
        def recorded(*args: Any, **kwargs: Any) -> Any:
            asked = _copied((args, kwargs))
            answer = right(*args, **kwargs)
            seen.append((asked, answer))
            return answer

        return recorded

    sit(
        assignment,
        {task.name: _wrapped(source, defined, record)},
        hidden=False,
        only={task.name},
    )

    def replay(right: Any) -> Any:  # noqa: ARG001  it answers without the solution
        def replayed(*args: Any, **kwargs: Any) -> Any:
            for asked, answer in seen:
                if _equal(asked, (args, kwargs)):
                    return answer
            return zeros(_copied(seen[0][1])) if seen else None

        return replayed

    return _wrapped(source, defined, replay)


def _copied(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, dict):
        return {key: _copied(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
        return type(value)(_copied(part) for part in value)
    return value


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(_equal, one, other))
    return type(one) is type(other) and not isinstance(one, Tensor) and bool(one == other)
