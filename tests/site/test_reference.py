"""The reference page of the built book: complete, and as readable as the docstrings."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest
from bs4 import BeautifulSoup, Tag
from playwright.sync_api import Browser

import mha_course

# the command line has its --help
NOT_CORE = (
    *("mha_course._", "mha_course.cli", "mha_course.doctor", "mha_course.installed"),
    *("mha_course.course_folder", "mha_course.whole_file"),
)
CORE = [
    module.name
    for module in pkgutil.iter_modules(mha_course.__path__, "mha_course.")
    if not module.ispkg and not module.name.startswith(NOT_CORE)
]


@pytest.fixture(scope="module")
def address(site: Path) -> Path:
    return site / "chapters" / "reference.html"


@pytest.fixture(scope="module")
def page(address: Path) -> BeautifulSoup:
    return BeautifulSoup(address.read_text(encoding="utf-8"), "html.parser")


def entry(page: BeautifulSoup, name: str) -> Tag | None:
    """What the page says about a name of the package: its signature and its text."""
    member = getattr(mha_course, name)
    modules = [getattr(member, "__module__", None)]
    candidates = modules if modules[0] in CORE else CORE  # data does not know its module
    found = [page.find("dt", id=f"{module}.{name}") for module in candidates]
    return next((dt.parent for dt in found if dt is not None), None)


def plain(text: str) -> str:
    """Without marks, spacing and the shape of quotes: what a reader takes from a line."""
    return re.sub(r"[\s`*'\"’‘“”]+", "", text)


@pytest.mark.parametrize("name", mha_course.__all__)
def test_every_public_name_has_an_entry_with_its_first_line(page: BeautifulSoup, name: str) -> None:
    shown = entry(page, name)
    assert shown is not None, f"{name} is not on the reference page"
    text = shown.find("dd", recursive=False).get_text()
    member = getattr(mha_course, name)
    if inspect.isclass(member) or inspect.isroutine(member):
        first_line = inspect.getdoc(member).splitlines()[0]
        assert plain(first_line) in plain(text)
    else:  # data, which has no docstring of its own
        assert text.strip()


def test_every_core_module_has_a_section_with_its_docstring(page: BeautifulSoup) -> None:
    article = plain(page.find("article").get_text())
    for module in CORE:
        assert page.find(id=f"module-{module}"), f"{module} is not on the reference page"
        first_line = inspect.getdoc(importlib.import_module(module)).splitlines()[0]
        assert plain(first_line) in article


def test_every_example_is_shown_as_code(page: BeautifulSoup) -> None:
    finder = doctest.DocTestFinder()
    wanted = {
        plain(example.source)
        for module in CORE
        for test in finder.find(importlib.import_module(module))
        if not re.search(r"\._", test.name)
        for example in test.examples
    }
    code = plain("".join(pre.get_text() for pre in page.select("article .highlight pre")))
    shown = code.replace(">>>", "").replace("...", "")
    assert len(wanted) >= 15
    assert [source for source in wanted if source.replace("...", "") not in shown] == []
    prompts = page.select("article dd pre .gp")  # the highlighter has recognised them
    assert len(prompts) >= len(wanted)


def test_nothing_looks_like_the_inside_of_python(page: BeautifulSoup) -> None:
    text = page.find("article").get_text()
    noises = ("Alias for field", "<class", "<function", "object at 0x", "ForwardRef", "jaxtyping.")
    for noise in noises:
        assert noise not in text


def test_a_method_with_overloads_is_shown_once_with_its_shapes(page: BeautifulSoup) -> None:
    entries = page.find_all("dt", id="mha_course.multi_head.MultiHeadAttention.forward")
    assert len(entries) == 1
    assert "Float[Tensor, 'B T_q d_model']" in entries[0].get_text()
    assert len(entries[0].parent.find_all("dt", class_="sig", recursive=False)) == 1


def test_signatures_fit_a_phone(browser: Browser, address: Path) -> None:
    phone = browser.new_page(viewport={"width": 360, "height": 800})
    phone.goto(address.as_uri())
    right_edges = phone.evaluate(
        """[...document.querySelectorAll('dt.sig *:not(.headerlink)')].map(
            part => part.getBoundingClientRect().right)"""
    )
    phone.close()
    assert right_edges
    assert max(right_edges) <= 360


def test_an_example_can_be_copied_without_its_prompts(browser: Browser, address: Path) -> None:
    laptop = browser.new_page(viewport={"width": 1280, "height": 800})
    laptop.goto(address.as_uri())
    # the button selects a hidden text field that holds what it copies
    laptop.evaluate("addEventListener('copy', event => window.copied = event.target.value)")
    example = laptop.locator("dd .highlight:has(.gp):has(button.copybtn)").first
    example.hover()
    example.locator("button.copybtn").click()
    copied, shown = laptop.evaluate("window.copied"), example.text_content()
    laptop.close()
    assert ">>>" in shown
    assert copied.strip()
    assert ">>>" not in copied
