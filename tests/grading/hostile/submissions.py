"""What a hostile submission is, and how one is made."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable, Mapping
from textwrap import dedent
from typing import NamedTuple

import nbformat
from course import RELEASE, cells_by_id, read
from nbformat import NotebookNode

from mha_course.grading.assignment import grade_id

HONEST = {
    "d_k_of_1024_by_16": "d_k = 1024 // 16\nd_k_base = 512 // 8",
    "mha_parameters": (
        "def mha_parameters(d_model, num_heads, bias):\n"
        "    return 4 * d_model**2 + (4 * d_model if bias else 0)"
    ),
}
"""What is solved as asked, one task before most attacks and one after: its points must stay."""

WRONG = {
    "head_dim": "def head_dim(d_model, num_heads):\n    return 1",
    "attention_weights": "def attention_weights(query, key):\n    return query @ key.mT",
    "attend": "def attend(query, key, value):\n    return query @ key.mT @ value",
    "mean_pattern": "def mean_pattern(patterns):\n    return patterns[0]",
    "split_heads": (
        "def split_heads(x, num_heads):\n"
        "    B, T, width = x.shape\n"
        "    return x.reshape(B, num_heads, T, width // num_heads)"
    ),
    "merge_heads": (
        "def merge_heads(x):\n    B, h, T, d_head = x.shape\n    return x.reshape(B, T, h * d_head)"
    ),
    "multi_head": "def multi_head(x, W_Q, W_K, W_V, W_O, num_heads):\n    return x",
    "head_contributions": (
        "def head_contributions(z, W_O):\n    return torch.zeros(*z.shape[:3], W_O.shape[1])"
    ),
    "price_of_w_o": (
        "def price_of_the_output_projection(d_model):\n    return 2.0\n"
        "def same_with_w_o(d_model):\n    return 2.0"
    ),
}
"""Answers of the right kind that a test must refuse; whoever sways a test gets points for them."""


class Places(NamedTuple):
    """What the attackers know of the grader's machine; each is a name in their notebooks.

    Attributes:
        outside: A file of the instructor's, with a secret in it.
        neighbour: What another student has handed in.
        gradebook: The database.
        solution: The instructor's notebook.
        repository: Where the course itself lies, with all its solutions.
        port: Where a service of the machine listens, on its own address.
        path: Where one listens that has a name in the file system.
        abstract: The name of one that has none.
        grader: Id of the process that grades.
    """

    outside: str
    neighbour: str
    gradebook: str
    solution: str
    repository: str
    port: int
    path: str
    abstract: str
    grader: int


Make = Callable[[Places], bytes]


class Hostile(NamedTuple):
    """A submission that means harm.

    Attributes:
        name: What it is called.
        tries: What it wants, in a sentence.
        make: Returns the file that is handed in.
        seen: Words that must stand in its outputs, so that one knows that the attack has run.
        findings: Kinds of findings that an instructor must see.
        solved: Tasks that must get their points; all others must get none.
        cell_seconds: For a cell: attacks that hang need not do so for long.
        total_seconds: For all cells.
    """

    name: str
    tries: str
    make: Make
    seen: tuple[str, ...] = ("attacked",)
    findings: tuple[str, ...] = ()
    solved: tuple[str, ...] = tuple(HONEST)
    cell_seconds: float = 30.0
    total_seconds: float = 60.0


_LOOK = '''
def look(*actions):
    """Try each, and show what it brings: the secret in it, if there is one."""
    for action in actions:
        try:
            found = str(action())
            print("found", found[max(found.find("canary"), 0):][:200])
        except BaseException as error:
            print("refused", type(error).__name__, str(error)[:200])
    print("attacked")
'''


def released() -> NotebookNode:
    """Return the notebook as learners get it."""
    return copy.deepcopy(_RELEASED)


def notebook(
    places: Places, answers: Mapping[str, str], first: str = "", last: Iterable[str] = ()
) -> NotebookNode:
    """Return a notebook in which tasks are answered, with cells before and after."""
    made = released()
    for name, cell in cells_by_id(made).items():
        if name in answers:
            cell.source = dedent(answers[name]).strip()
    known = "\n".join(f"{name.upper()} = {value!r}" for name, value in places._asdict().items())
    for source in (first, known + _LOOK):
        made.cells.insert(0, nbformat.v4.new_code_cell(dedent(source).strip()))
    made.cells += [nbformat.v4.new_code_cell(dedent(source).strip()) for source in last]
    return made


def attack(first: str = "", *, last: Iterable[str] = (), **answers: str) -> Make:
    """Return what makes a notebook with hostile code.

    Args:
        first: A cell before all others.
        last: Cells after all others.
        **answers: Source of solution cells; in the others are the `HONEST` and the `WRONG` ones.
    """
    return lambda places: written(notebook(places, WRONG | HONEST | answers, first, last))


def returning(value: str, first: str = "") -> Make:
    """Return what makes a notebook in which every function that is asked for returns `value`."""
    names = {task: (task,) for task in WRONG}
    names["price_of_w_o"] = ("price_of_the_output_projection", "same_with_w_o")
    answers = {
        task: "\n".join(f"def {one}(*args, **kwargs):\n    return {value}" for one in each)
        for task, each in names.items()
    }
    return attack(first, **answers)


def changed(change: Callable[[NotebookNode], object]) -> Make:
    """Return what makes a notebook with wrong answers, in which `change` changes something."""

    def make(places: Places) -> bytes:
        made = notebook(places, WRONG | HONEST, "print('attacked')")
        change(made)
        return written(made)

    return make


def tests_of(made: NotebookNode) -> list[NotebookNode]:
    """Return the test cells of a notebook, those of the honest answers as well."""
    return [cell for cell in made.cells if grade_id(cell).startswith("test_")]


def written(made: NotebookNode) -> bytes:
    """Return a notebook as a file, however broken it is."""
    return json.dumps(made).encode()


_RELEASED = read(RELEASE)
