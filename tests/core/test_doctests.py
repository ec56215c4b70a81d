"""Every example in a docstring of the package gives what it says, and every function has one."""

from __future__ import annotations

import doctest
import importlib
import inspect
from pathlib import Path

import pytest
import torch

import mha_course

ROOT = Path(mha_course.__file__).parent
MODULES = sorted(
    ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__")
    for path in ROOT.rglob("*.py")
    if path.name != "__main__.py"
)

# What only holds named numbers has nothing to show; where each of them is shown is said here
WITHOUT_EXAMPLE = {
    "AttentionFlops": "the result of attention_flops",
    "AttentionShape": "the result of attention_shape",
    "LatentShape": "made in the example of MultiHeadLatentAttention",
    "ModelShape": "a row of MODEL_SHAPES",
    "LatentModelShape": "a row of LATENT_MODEL_SHAPES",
}
CALLABLES = [name for name in mha_course.__all__ if callable(getattr(mha_course, name))]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name: str) -> None:
    torch.manual_seed(0)
    failed, _ = doctest.testmod(importlib.import_module(name))
    assert failed == 0, "see the captured output"


def has_example(thing: object) -> bool:
    return bool(doctest.DocTestParser().get_examples(inspect.getdoc(thing) or ""))


@pytest.mark.parametrize("name", sorted(set(CALLABLES) - set(WITHOUT_EXAMPLE)))
def test_what_the_package_offers_has_an_example(name: str) -> None:
    assert has_example(getattr(mha_course, name))


@pytest.mark.parametrize("name", WITHOUT_EXAMPLE)
def test_what_needs_no_example_only_holds_named_numbers(name: str) -> None:
    thing = getattr(mha_course, name)
    assert name in CALLABLES
    assert issubclass(thing, tuple)
    assert thing._fields  # a NamedTuple
    assert not has_example(thing), "it has one: take it off the list"


def test_an_example_that_does_not_run_is_no_example() -> None:
    def described() -> None:
        """Do this; see `described()` for more.

        described()
        """

    def shown() -> None:
        """Do this.

        >>> shown()
        """

    assert not has_example(described)
    assert has_example(shown)


def test_the_examples_of_what_the_package_offers_are_tried() -> None:
    """A module that is not found would be no failure otherwise."""
    finder = doctest.DocTestFinder()
    tests = [t for name in MODULES for t in finder.find(importlib.import_module(name))]
    tried = {t.name.rsplit(".", 1)[-1] for t in tests if t.examples}
    assert set(CALLABLES) - set(WITHOUT_EXAMPLE) <= tried
