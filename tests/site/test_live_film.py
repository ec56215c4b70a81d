"""Watch heads specialise: the film beside the experiment and torch; nothing plays by itself."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from live_pages import call
from playwright.sync_api import Browser, Locator, Page

from mha_course.experiments.emergence import fresh_sequences
from mha_course.experiments.emergence.roles import ROLES, wanted_keys
from mha_course.experiments.result import read
from mha_course.experiments.tiny_transformer import TinyTransformer, fit, guessing
from mha_course.widgets import film, look_at
from mha_course.widgets.film import Look

EMERGENCE = read(Path(__file__).parents[2] / "chapters/data/emergence.json").data
PAGE = "chapters/how-heads-come-to-differ.html"
TOKENS = 15
BYTE = 0.5 / 255
EARLY = 30  # steps: a model of the page that a test can train in a second


def made_looks(steps: tuple[int, ...] = (0, 5), tokens: int = 4) -> list[Look]:
    """Looks at a model that learns nothing."""
    weights = torch.rand(2, 4, tokens, tokens).tril()
    weights /= weights.sum(-1, keepdim=True)
    return [Look(step, 2.0 - step / 10, torch.rand(2, 4), weights) for step in steps]


# The figure on the side of Python ----------------------------------------------------------------


class Paper:
    """A figure that stands on paper."""

    def _repr_html_(self) -> str:
        return "<p>on paper</p>"


def test_maps_come_back_from_their_bytes(page: Page) -> None:
    torch.manual_seed(0)
    looks = made_looks((0, 5, 9))
    figure = film(looks, torch.tensor([3, 1, 3, 1]), 1.5, Paper())
    packed = list(base64.b64decode(figure.data["maps"]["weights"]))
    for number in (0, 7, 8, 23):
        found = call(page, "bytes", "causalWeightsAt(given[0], given[1], 4)", [packed, number])
        rows = looks[number // 8].weights.flatten(0, 1)[number % 8]
        for t, row in enumerate(found):
            assert row[t + 1 :] == [None] * (3 - t), "later tokens are not seen"
            assert row[: t + 1] == pytest.approx(rows[t, : t + 1].tolist(), abs=BYTE + 1e-6)


def test_frames_are_the_keys_of_the_role() -> None:
    example = torch.tensor([3, 1, 3, 1])
    state = film(made_looks(), example, 1.5, Paper()).state
    assert state["wanted"] == [[[1, 0]], [[2, 1], [3, 2]]]
    assert state["roles"] == list(ROLES)


def test_paper_has_the_curves_and_the_maps() -> None:
    html = film(made_looks(), torch.tensor([3, 1, 3, 1]), 1.5, Paper()).html()
    fallback = html.partition("mha-live-fallback")[2]
    assert "<p>on paper</p>" in fallback
    assert "Attention of 8 heads at 2 steps of training" in fallback


@pytest.mark.parametrize(
    ("looks", "tokens", "message"),
    [
        (made_looks((0,)), 4, r"steps are \[0\]; give two looks or more"),
        (made_looks((5, 0)), 4, r"steps are \[5, 0\]; .* in the order"),
        (made_looks(), 3, "attention is on 4 tokens, and the example has 3"),
    ],
)
def test_what_is_no_film_is_refused(looks: list[Look], tokens: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        film(looks, torch.arange(tokens), 1.5, Paper())


def test_a_look_is_said_in_words(page: Page) -> None:
    given = {
        "steps": [0, 5],
        "losses": [2.0, 1.25],
        "scores": [[[0.1, 0.2], [0.3, 0.1]], [[0.9, 0.2], [0.1, 0.75]]],
        "roles": ["previous", "induction"],
        "guessing": 1.5,
    }
    assert call(page, "film", "sayLook(given, 1)", given) == (
        "Step 5: the loss is 1.250, and guessing would give 1.500. For “previous” head 0.0 has "
        "the best score, 0.90. For “induction” head 1.1 has the best score, 0.75."
    )


# On the page -------------------------------------------------------------------------------------


def opened(page: Page, site: Path) -> Locator:
    page.goto((site / PAGE).as_uri())
    figure = page.locator('.mha-live[data-module="film"]')
    figure.scroll_into_view_if_needed()
    figure.locator(".mha-said").wait_for()
    return figure


@pytest.fixture
def figure(browser: Browser, site: Path) -> Iterator[Locator]:
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    yield opened(page, site)
    page.close()


def state_of(figure: Locator) -> dict[str, Any]:
    state: dict[str, Any] = json.loads(
        figure.locator('script[type="application/json"]').first.text_content() or ""
    )
    return state


def step_of(figure: Locator) -> int:
    said = re.match(r"Step (\d+):", figure.locator(".mha-said").inner_text())
    assert said is not None
    return int(said[1])


def shown_maps(figure: Locator) -> torch.Tensor:
    """Weights of the small maps, [heads, T, T]: the squares of how full their cells are."""
    full = figure.locator(".mha-film svg").evaluate_all(
        "maps => maps.map(map => [...map.querySelectorAll('rect')]"
        ".map(cell => Number(cell.getAttribute('fill-opacity'))))"
    )
    weights = torch.zeros(len(full), TOKENS, TOKENS)
    rows, columns = torch.tril_indices(TOKENS, TOKENS)
    weights[:, rows, columns] = torch.tensor(full) ** 2
    return weights


def test_the_film_is_of_the_first_model_of_the_experiment(figure: Locator) -> None:
    state, model = state_of(figure), EMERGENCE["copying"][0]
    assert state["steps"] == EMERGENCE["records"]
    assert state["losses"] == pytest.approx(model["loss"], abs=2e-4)
    for layer, role in enumerate(ROLES):
        of_layer = torch.tensor([scores[layer] for scores in state["scores"]])
        torch.testing.assert_close(of_layer, torch.tensor(model[role]), rtol=0, atol=0.0021)
    assert state["guessing"] == pytest.approx(EMERGENCE["guessing"], abs=1e-3)


def test_maps_are_those_of_a_model_that_torch_trains(figure: Locator) -> None:
    ids = fresh_sequences()
    example = ids[2, :TOKENS]
    model = TinyTransformer(seed=0)
    looks = {0: look_at(model, 0, ids, example)}

    def stop(step: int, _: float) -> None:
        if step == EARLY:
            looks[step] = look_at(model, step, ids, example)
            raise StopIteration  # it has gone far enough

    with pytest.raises(StopIteration):
        fit(model, steps=EMERGENCE["steps"], seed=0, on_step=stop)
    state = state_of(figure)
    assert state["tokens"] == [str(token) for token in example.tolist()]
    assert state["guessing"] == pytest.approx(guessing(ids).mean().item(), abs=1e-4)
    for layer, role in enumerate(ROLES):
        assert state["wanted"][layer] == wanted_keys(example[None], role)[0].nonzero().tolist()

    slider = figure.get_by_label("step of training")
    slider.focus()
    for step, look in looks.items():
        while step_of(figure) < step:
            figure.page.keyboard.press("ArrowRight")
        assert step_of(figure) == step
        apart = shown_maps(figure) - look.weights.flatten(0, 1)
        # a byte, and three digits of a root
        assert apart.abs().max() < BYTE + 0.0015
        captions = figure.locator(".mha-film p").all_inner_texts()
        for caption, score in zip(captions, look.scores.flatten().tolist(), strict=True):
            assert float(caption.partition(": ")[2]) == pytest.approx(score, abs=0.0061)
        assert f"the loss is {look.loss:.3f}" in figure.locator(".mha-said").inner_text()


def test_it_plays_when_told_and_stops_when_told(figure: Locator) -> None:
    page = figure.page
    page.wait_for_timeout(700)
    assert step_of(figure) == 0, "nothing plays by itself"
    button = figure.get_by_role("button", name="Play")
    button.focus()
    page.keyboard.press("Enter")
    figure.get_by_role("button", name="Pause").wait_for()
    page.wait_for_function("document.querySelector('.mha-said').textContent.startsWith('Step 20')")
    figure.get_by_role("button", name="Pause").click()
    at = step_of(figure)
    assert at >= 20
    page.wait_for_timeout(700)
    assert step_of(figure) == at
    # from the last look it begins anew
    figure.get_by_label("step of training").focus()
    page.keyboard.press("End")
    assert step_of(figure) == EMERGENCE["records"][-1]
    figure.get_by_role("button", name="Play").click()
    assert step_of(figure) < EMERGENCE["records"][-1]


def test_scrubbing_stops_the_film(figure: Locator) -> None:
    figure.get_by_role("button", name="Play").click()
    slider = figure.get_by_label("step of training")
    box = slider.bounding_box()
    assert box is not None
    figure.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    at = step_of(figure)
    assert at == EMERGENCE["records"][len(EMERGENCE["records"]) // 2]
    figure.page.wait_for_timeout(700)
    assert step_of(figure) == at


def test_who_wants_no_motion_goes_look_by_look(browser: Browser, site: Path) -> None:
    context = browser.new_context(reduced_motion="reduce")
    figure = opened(context.new_page(), site)
    assert figure.get_by_role("button", name="Play").count() == 0
    for step in EMERGENCE["records"][1:3]:
        figure.get_by_role("button", name="Next").click()
        assert step_of(figure) == step
        figure.page.wait_for_timeout(600)
        assert step_of(figure) == step, "one look for each press"
    context.close()


def test_one_map_with_its_numbers(figure: Locator) -> None:
    figure.get_by_text("One map with its numbers").click()
    figure.get_by_label("head", exact=True).select_option(label="1.2")
    figure.get_by_label("step of training").focus()
    figure.page.keyboard.press("End")
    weights = shown_maps(figure)[6]
    cells = figure.locator(".mha-map td[aria-label]").evaluate_all(
        "cells => cells.map(cell => cell.getAttribute('aria-label'))"
    )
    for cell, weight in zip(cells, weights.flatten(), strict=True):
        said = cell.rpartition(": ")[2]
        assert weight == 0 if said == "masked" else abs(float(said) - weight) < 0.0065
    figure.get_by_text("All looks in numbers").click()
    last = figure.locator("table.mha-numbers tbody tr").last.locator("th, td").all_inner_texts()
    model = EMERGENCE["copying"][0]
    wanted = [400, model["loss"][-1], *model["previous"][-1], *model["induction"][-1]]
    assert [float(cell) for cell in last] == pytest.approx(wanted, abs=0.0071)
    figure.get_by_label("frame the keys of the role").click()
    assert not figure.locator(".mha-wanted").first.is_visible()
