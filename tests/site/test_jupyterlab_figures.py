"""Live figures, self-checks and controls in a real JupyterLab, in notebooks as a reader gets them.

What the page tests do with a figure is done here with the same figure as a widget.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import matplotlib
import nbformat
import pytest
import test_live
import test_live_atlas
import test_live_attention
import test_live_cost
import test_live_film
import test_live_switch_off
import test_quiz
import torch
from conftest import PATIENCE
from course import environment
from lab import TOKEN, address, running_lab, write_settings
from notebook_extension import Rest, notebook
from playwright.sync_api import Browser, Locator, Page, expect
from publishing_extension import LAB, in_jupyterlab

from mha_course import MultiHeadAttention, causal_mask, head_dim
from mha_course.experiments.head_atlas.maps import read_maps
from mha_course.widgets.live import MODULES

pytestmark = pytest.mark.weekly

ROOT = Path(__file__).parents[2]
SETTINGS = {
    # cells out of sight would not be in the page
    "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"},
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyterlab/docmanager-extension:plugin": {"autosave": False},
}
DIGITS = 0.0051  # of the tables


# The last cell that is looked at. What comes after it would take minutes
LAST = {
    "cutting-d-model-into-heads": "explore_attention(mha",
    "one-head-is-not-enough": "one_head_many_heads()",
    "notation": "explore_attention(*",
    "what-heads-learn": "atlas(result",
    "pruning-heads": "switch_off(cuts",
    "how-heads-come-to-differ": "film(looks",
    "what-heads-cost": "what_it_costs()",
}
WITH_SELF_CHECK = "cutting-d-model-into-heads"


def first_part(chapter: str) -> nbformat.NotebookNode:
    """Return a chapter's notebook as downloaded, without what is not looked at."""
    text = (ROOT / "chapters" / f"{chapter}.md").read_text(encoding="utf-8")
    whole = notebook(text, Rest())
    last = next(i for i, cell in enumerate(whole.cells) if calls(cell, LAST[chapter]))
    whole.cells = [
        cell
        for i, cell in enumerate(whole.cells)
        if i <= last or (chapter == WITH_SELF_CHECK and calls(cell, "self_check("))
    ]
    return whole


def calls(cell: nbformat.NotebookNode, call: str) -> bool:
    """Whether a line of code begins so."""
    lines = cell.source.splitlines() if cell.cell_type == "code" else []
    return any(line.startswith(call) for line in lines)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A JupyterLab in a folder that holds downloaded notebooks, and one page of the course."""
    folder, own = tmp_path_factory.mktemp("downloads"), tmp_path_factory.mktemp("own")
    for chapter in LAST:
        nbformat.write(first_part(chapter), folder / f"{chapter}.ipynb")
    (folder / "chapters").mkdir()
    shutil.copy(ROOT / "chapters" / "start.md", folder / "chapters")
    write_settings(own, SETTINGS)
    env = environment(own) | {
        "MPLCONFIGDIR": matplotlib.get_configdir(),  # to list all fonts anew takes seconds
        "JUPYTER_CONFIG_PATH": str(ROOT / ".jupyter"),  # as `make lab` has it
    }
    with running_lab(folder, env, own / "lab.log") as url:
        yield url


class Desk:
    """One window, with one notebook in it at a time."""

    def __init__(self, page: Page, lab: str) -> None:
        self._page, self._lab = page, lab
        self._chapter = ""

    def open(self, chapter: str) -> Page:
        """Open a notebook and run all of its cells, if it is not open."""
        page = self._page
        if chapter == self._chapter:
            return page
        self._end_kernels()
        page.goto(address(self._lab, f"{chapter}.ipynb"))
        idle = page.get_by_text("| Idle")
        idle.wait_for()
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_text("Run All Cells", exact=True).click()
        page.locator(".jp-CodeCell").last.locator(".jp-OutputArea-output").first.wait_for(
            timeout=4 * PATIENCE
        )
        idle.wait_for()
        self._chapter = chapter
        return page

    def _end_kernels(self) -> None:
        """Each holds half a gigabyte."""
        request = self._page.request
        for kernel in request.get(f"{self._lab}/api/kernels?token={TOKEN}").json():
            request.delete(f"{self._lab}/api/kernels/{kernel['id']}?token={TOKEN}")


@pytest.fixture(scope="module")
def desk(browser: Browser, lab: str) -> Iterator[Desk]:
    page = browser.new_page(viewport={"width": 1400, "height": 1800})
    page.set_default_timeout(PATIENCE)
    yield Desk(page, lab)
    page.close()


def again(page: Page, output: str) -> Locator:
    """Run the cell with this output once more, and return the output as it is at the start."""
    old = page.locator(output)
    old.evaluate("(output) => output.dataset.old = true")
    cell = page.locator(".jp-CodeCell", has=old)
    cell.click(position={"x": 100, "y": 2})  # its edge: nothing there folds or opens
    page.keyboard.press("Control+Enter")
    new = page.locator(f"{output}:not([data-old])")
    new.wait_for()
    new.scroll_into_view_if_needed()
    return new


# Live figures ------------------------------------------------------------------------------------

ATLAS = read_maps(test_live_atlas.FILE)


class Figure(NamedTuple):
    """Where a figure is, and what the page tests do with it."""

    chapter: str
    operations: Sequence[Callable[[Locator], None]]


FIGURES = {
    "split_model": Figure(
        "cutting-d-model-into-heads", [test_live.test_split_the_model_by_keyboard_and_mouse]
    ),
    "one_head": Figure(
        "one-head-is-not-enough",
        [
            test_live_attention.test_cut_into_heads_by_keyboard,
            test_live_attention.test_walk_over_the_map,
            test_live_attention.test_the_reader_types,
        ],
    ),
    "atlas": Figure(
        "what-heads-learn",
        [
            partial(operate, maps=ATLAS)
            for operate in (
                test_live_atlas.test_filter_and_walk_through_the_heads_by_keyboard,
                test_live_atlas.test_choose_the_token_that_looks_by_keyboard_and_mouse,
                test_live_atlas.test_smollm2_sees_nothing_that_comes_later,
            )
        ],
    ),
    "switch_off": Figure(
        "pruning-heads",
        [
            test_live_switch_off.test_remove_heads_by_keyboard_and_mouse,
            test_live_switch_off.test_one_head_alone_by_keyboard_and_mouse,
        ],
    ),
    "film": Figure(
        "how-heads-come-to-differ",
        [
            test_live_film.test_it_plays_when_told_and_stops_when_told,
            test_live_film.test_scrubbing_stops_the_film,
            test_live_film.test_one_map_with_its_numbers,
        ],
    ),
    "cost": Figure(
        "what-heads-cost",
        [
            test_live_cost.test_more_heads_by_keyboard,
            test_live_cost.test_another_model_by_mouse,
        ],
    ),
}
NO_FIGURES = {"quiz", "your_progress"}  # the first is tested below; the other is a page of the book


def operate(page: Page, module: str) -> None:
    page.locator(".mha-live-view").wait_for()
    for operation in FIGURES[module].operations:
        operation(again(page, ".mha-live-view"))


def test_every_live_figure_is_operated() -> None:
    modules = {file.stem for file in MODULES.glob("*.js") if "export default" in file.read_text()}
    assert modules - NO_FIGURES == FIGURES.keys()


# The self-check ----------------------------------------------------------------------------------


def answer_a_self_check(page: Page) -> None:
    page.locator(".mha-quiz").wait_for()
    width = test_quiz.question(page, 1)
    field = width.get_by_role("textbox")
    field.focus()
    page.keyboard.type("16")
    page.keyboard.press("Enter")
    expect(width.get_by_role("status")).to_contain_text("That is how many heads there are.")
    field.fill(str(head_dim(1024, 16)))
    width.get_by_role("button", name="Check").click()
    expect(width.get_by_role("status")).to_contain_text("Right.")


# Controls: a kernel computes ---------------------------------------------------------------------


def shown(page: Page) -> torch.Tensor:
    """The numbers under the controls, [heads, T, T]."""
    rows = page.locator(".widget-vbox details table tbody tr").evaluate_all(
        "(rows) => rows.map((row) => [...row.querySelectorAll('td')].map((x) => +x.textContent))"
    )
    weights = torch.tensor(rows)
    return weights.view(-1, weights.shape[1], weights.shape[1])


def says(page: Page, text: str) -> None:
    expect(page.locator(".widget-vbox [role=status]")).to_contain_text(text)


def softmax(scores: torch.Tensor, allowed: torch.Tensor | None = None) -> torch.Tensor:
    if allowed is not None:
        scores = scores.masked_fill(~allowed, -torch.inf)
    return torch.softmax(scores, dim=-1)


def slider(page: Page, name: str) -> Locator:
    return page.locator(".widget-vbox .widget-hslider", has_text=name)


def cut_anew_by_slider(page: Page) -> None:
    torch.manual_seed(0)
    module = MultiHeadAttention(12, 4)
    x = torch.randn(2, 5, 12)[0]
    with torch.no_grad():
        query, key = module.w_q(x), module.w_k(x)

    def check(heads: int) -> None:
        says(page, f"{heads} head{'s' * (heads > 1)}, d_head = {12 // heads},")
        q, k = (part.view(5, heads, -1).transpose(0, 1) for part in (query, key))
        expected = softmax(q @ k.mT / (12 / heads) ** 0.5)
        assert (shown(page) - expected).abs().max() < DIGITS
        mean = expected.amax(-1).mean().item()
        says(page, f"the largest weight of a row is {mean:.2f}.")

    page.locator(".widget-vbox").wait_for()
    check(4)
    handle = slider(page, "heads h").get_by_role("slider")
    handle.focus()
    for heads in (6, 12):
        page.keyboard.press("ArrowRight")
        check(heads)
    box = slider(page, "heads h").locator(".noUi-base").bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + 1, box["y"] + box["height"] / 2)
    check(1)


def sharpen_by_slider(page: Page) -> None:
    torch.manual_seed(0)
    query, key = torch.randn(6, 16), torch.randn(6, 16)

    def check(temperature: float) -> None:
        says(page, f"temperature {temperature:g}.")
        expected = softmax(query @ key.mT / 16**0.5 / temperature)
        assert (shown(page)[0] - expected).abs().max() < DIGITS

    page.locator(".widget-vbox").wait_for()
    check(1)
    slider(page, "temperature").get_by_role("slider").focus()
    for temperature in (0.5, 0.25):
        page.keyboard.press("ArrowLeft")
        check(temperature)
    box = slider(page, "temperature").locator(".noUi-base").bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] - 1, box["y"] + box["height"] / 2)
    check(8)


def forbid_by_menu(page: Page) -> None:
    torch.manual_seed(0)
    query, key = torch.randn(2, 6, 16)
    causal = causal_mask(6, 6)

    def check(said: str, allowed: torch.Tensor | None) -> None:
        says(page, said)
        expected = softmax(query @ key.mT / 16**0.5, allowed)
        assert (shown(page)[0] - expected).abs().max() < DIGITS

    page.locator(".widget-vbox").wait_for()
    check("a causal mask", causal)
    menu = page.locator(".widget-vbox .widget-dropdown select")
    window_of = slider(page, "window")
    expect(window_of).to_be_hidden()
    menu.select_option("none")
    check("no mask", None)
    menu.focus()
    page.keyboard.press("End")
    check("a window of 3", causal.triu(-2))
    window_of.get_by_role("slider").focus()
    page.keyboard.press("ArrowLeft")
    check("a window of 2", causal.triu(-1))


# All of it, notebook by notebook ------------------------------------------------------------------

CASES: dict[str, tuple[str, Callable[[Page], None]]] = {
    **{name: (figure.chapter, partial(operate, module=name)) for name, figure in FIGURES.items()},
    "quiz": ("cutting-d-model-into-heads", answer_a_self_check),
    "heads": ("cutting-d-model-into-heads", cut_anew_by_slider),
    "temperature": ("one-head-is-not-enough", sharpen_by_slider),
    "mask": ("notation", forbid_by_menu),
}


@pytest.mark.parametrize("case", sorted(CASES, key=lambda name: CASES[name][0]))
def test_in_jupyterlab(desk: Desk, case: str) -> None:
    chapter, check = CASES[case]
    check(desk.open(chapter))


def test_the_button_of_a_page_opens_it_as_a_notebook(
    browser: Browser, lab: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(LAB, lab)
    page = browser.new_page()
    page.goto(f"{in_jupyterlab('chapters/start')}?token={TOKEN}")
    page.locator(".jp-NotebookPanel h1", has_text="Multi-head attention, tested").wait_for(
        timeout=PATIENCE
    )
    page.close()
