"""Live figures: their arithmetic beside torch's, on a page, by mouse and by keyboard."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from live_pages import CLOSE, call
from playwright.sync_api import Browser, Locator, Page

from mha_course import attention_weights, causal_mask, head_dim, split_heads
from mha_course.widgets import Heights, LiveFigure, live, split_model
from mha_course.widgets.live import BOOK, MODULES, bundle

SHAPES = [(1, 1, 1), (1, 8, 2), (2, 4, 4), (5, 12, 3), (7, 32, 8), (12, 64, 4)]


@pytest.mark.parametrize(("shape", "mask"), itertools.product(SHAPES, ["none", "causal", "random"]))
def test_attention_is_torchs(page: Page, shape: tuple[int, int, int], mask: str) -> None:
    time, d_model, heads = shape
    torch.manual_seed(time)
    x = torch.randn(time, d_model)
    matrices = {f"W_{name}": torch.randn(d_model, d_model) / d_model**0.5 for name in "QKVO"}
    attn_mask = {
        "none": torch.ones(time, time, dtype=torch.bool),
        "causal": causal_mask(time, time),
        "random": torch.rand(time, time) < 0.5,
    }[mask] | torch.eye(time, dtype=torch.bool)
    q, k, v = (split_heads((x @ matrices[f"W_{name}"])[None], heads) for name in "QKV")
    weights = torch.softmax(
        (q @ k.mT / head_dim(d_model, heads) ** 0.5).masked_fill(~attn_mask, -torch.inf), dim=-1
    )
    merged = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask)
    output = merged.transpose(1, 2).reshape(time, d_model) @ matrices["W_O"]
    torch.testing.assert_close(weights, attention_weights(q, k, attn_mask=attn_mask))

    given = {
        "x": x.tolist(),
        "matrices": {name: matrix.tolist() for name, matrix in matrices.items()},
        "heads": heads,
        "mask": None if mask == "none" else attn_mask.tolist(),
    }
    found = call(
        page, "attention", "multiHead(given.x, given.matrices, given.heads, given.mask)", given
    )
    assert (torch.tensor(found["weights"]) - weights[0]).abs().max() < CLOSE
    assert (torch.tensor(found["output"]) - output).abs().max() < CLOSE


def test_a_row_without_keys_has_no_weights_as_in_torch(page: Page) -> None:
    given = {"q": [[1.0]], "k": [[1.0]], "mask": [[False]]}
    found = call(page, "attention", "attentionWeights(given.q, given.k, given.mask)[0][0]", given)
    assert found != found  # NaN
    assert torch.softmax(torch.tensor([-torch.inf]), 0).isnan().all()


@pytest.mark.parametrize("d_model", [8, 24, 96, 512, 1000, 1024])
def test_the_sliders_say_what_head_dim_raises(page: Page, d_model: int) -> None:
    said = call(
        page,
        "split_model",
        "Array.from({length: 32}, (_, i) => problem(given, i + 1))",
        d_model,
    )
    for heads, text in enumerate(said, start=1):
        if d_model % heads:
            with pytest.raises(ValueError, match=re.escape(text)):
                head_dim(d_model, heads)
        else:
            assert text == ""


def test_every_module_is_whole_when_its_imports_are_put_in() -> None:
    figures = [file for file in MODULES.glob("*.js") if "export default" in file.read_text()]
    assert figures
    for file in figures:
        text = bundle(file.stem)
        assert not re.search(r"^import ", text, re.MULTILINE), file.name
        assert len(re.findall(r"^export default", text, re.MULTILINE)) == 1
        names = re.findall(r"^(?:async )?function (\w+)", text, re.MULTILINE)
        assert len(names) == len(set(names)), "two modules give a name to different things"


def test_the_state_cannot_leave_its_script(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(BOOK, "1")
    figure = LiveFigure("split_model", {"text": "</script><b>"}, "", Heights(1, 1))
    html = figure._repr_mimebundle_()["text/html"]
    assert "</script><b>" not in html
    state = re.search(r'<script type="application/json">(.*?)</script>', html)
    assert state is not None
    assert json.loads(state[1]) == {"text": "</script><b>"}


def test_in_jupyterlab_it_is_a_widget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(BOOK, raising=False)
    assert "application/vnd.jupyter.widget-view+json" in split_model()._repr_mimebundle_()


def test_a_figure_begins_with_what_its_sliders_can_show() -> None:
    with pytest.raises(ValueError, match="try 2 or 5"):
        split_model(10, 3)
    with pytest.raises(ValueError, match="steps of 8"):
        split_model(1040, 8)


def test_colours_are_those_of_the_drawings() -> None:
    from mha_course.plots.canvas import BLUE, DARK

    assert f"--mha-blue:{BLUE}" in live.style()
    assert f"--mha-blue:{DARK[BLUE]}" in live.style()


# On the pages -------------------------------------------------------------------------------


@pytest.fixture
def chapter(browser: Browser, site: Path) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto((site / "chapters/cutting-d-model-into-heads.html").as_uri())
    yield page
    page.close()


@pytest.fixture
def figure(chapter: Page) -> Locator:
    figure = chapter.locator('.mha-live[data-module="split_model"]')
    figure.scroll_into_view_if_needed()
    return figure


def test_split_the_model_by_keyboard_and_mouse(figure: Locator) -> None:
    said = figure.get_by_role("status")
    assert "512 / 8 = 64" in said.inner_text()
    heads = figure.get_by_label("heads h")
    heads.focus()
    figure.page.keyboard.press("ArrowRight")
    assert said.inner_text() == (
        "ValueError: d_model=512 is not divisible by num_heads=9; try 8 or 16"
    )
    assert "8 columns are left over" in figure.locator("svg").get_attribute("aria-label")
    box = heads.bounding_box()
    assert box is not None
    figure.page.mouse.click(box["x"] + 1, box["y"] + box["height"] / 2)
    assert "512 / 1 = 512" in said.inner_text()


def test_paper_shows_what_stands_for_the_figure(chapter: Page) -> None:
    figure = chapter.locator('.mha-live[data-module="split_model"]')
    figure.scroll_into_view_if_needed()
    assert not figure.locator(".mha-live-fallback").is_visible()
    chapter.emulate_media(media="print")
    assert figure.locator(".mha-live-fallback").is_visible()
    assert not figure.locator(".mha-live-view").is_visible()


def test_without_scripts_there_is_the_fallback(browser: Browser, site: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((site / "chapters/cutting-d-model-into-heads.html").as_uri())
    assert page.locator(".mha-live-fallback").first.is_visible()
    context.close()
