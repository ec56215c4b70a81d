"""Switch heads off: what the figure says beside the experiment's numbers, by mouse and keyboard."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from live_pages import call
from playwright.sync_api import Browser, Locator, Page

from mha_course.experiments.importance_and_pruning.curves import METHODS
from mha_course.experiments.result import read
from mha_course.heads import TextModel
from mha_course.heads.curves import lowest
from mha_course.heads.importance import random_scores, weight_norms
from mha_course.widgets import switch_off

FOUND = read(Path(__file__).parents[2] / "chapters/data/importance-and-pruning.json").data
MODELS = FOUND["models"]
SHARES = FOUND["shares"]
RANKINGS = (*METHODS, "random")
THREE_DIGITS = 0.005  # relative, with room for halves


def key_of(ranking: str) -> str:
    """The experiment has several random orders, the figure the first of them."""
    return "random 0" if ranking == "random" else ranking


def numbers(text: str) -> list[float]:
    """All numbers of a sentence, but names of heads."""
    plain = re.sub(r"[Hh]ead \d+\.\d+", "", text).replace(",", "").replace("−", "-")
    return [float(found) for found in re.findall(r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?", plain)]


# The data ----------------------------------------------------------------------------------------


def test_rankings_are_those_of_the_curves(minilm: TextModel) -> None:
    """What needs no text is computed anew; leave one out is what single removals showed."""
    for name, of in MODELS.items():
        assert of["rankings"]["leave one out"] == of["changes"]
        layers, heads = len(of["changes"]), len(of["changes"][0])
        for key in of["curves"]:
            assert len(of["rankings"][key]) == layers
            if key.startswith("random"):
                seed = int(key.split()[1])
                drawn = random_scores(layers, heads, seed)
                torch.testing.assert_close(
                    torch.tensor(of["rankings"][key]), drawn, rtol=1e-4, atol=0
                )
        assert of["rankings"].keys() == of["curves"].keys(), name
    sizes = torch.tensor(MODELS["minilm"]["rankings"]["size of weights"])
    torch.testing.assert_close(sizes, weight_norms(minilm.heads), rtol=1e-3, atol=0)


@pytest.mark.parametrize("name", MODELS)
def test_the_heads_that_go_are_those_that_the_curve_removed(name: str) -> None:
    shown = switch_off(FOUND, "").state["models"][name]
    assert shown["removed"][0] == 0
    for ranking in RANKINGS:
        scores = torch.tensor(MODELS[name]["rankings"][key_of(ranking)], dtype=torch.float64)
        assert sorted(shown["order"][ranking]) == list(range(scores.numel()))
        for share, removed in zip(SHARES, shown["removed"], strict=True):
            gates = lowest(scores, round(share * scores.numel())).flatten()
            assert (gates == 0).nonzero().flatten().tolist() == sorted(
                shown["order"][ranking][:removed]
            )
            # rounding to five digits leaves no doubt about who is on which side
            values = scores.flatten().sort().values
            if 0 < removed < len(values):
                assert values[removed - 1] < values[removed]


def test_curves_are_those_of_the_experiment() -> None:
    for name, shown in switch_off(FOUND, "").state["models"].items():
        of = MODELS[name]
        assert shown["unit"] == of["unit"]
        assert shown["changes"] == [change for layer in of["changes"] for change in layer]
        for ranking in RANKINGS:
            assert shown["curves"][ranking] == of["curves"][key_of(ranking)]
        by_chance = torch.tensor([c for key, c in of["curves"].items() if key.startswith("random")])
        assert torch.equal(torch.tensor(shown["band"]["low"]), by_chance.amin(0))
        assert torch.equal(torch.tensor(shown["band"]["high"]), by_chance.amax(0))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"model": "bert"}, r"model='bert' was not measured; there is .*smollm2"),
        ({"ranking": "luck"}, r"ranking='luck' was not measured; there is .*gradient.*random"),
        ({"share": 0.33}, r"share=0.33 was not measured; there is \[0.0, 0.05"),
    ],
)
def test_only_what_was_measured_can_be_shown(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        switch_off(FOUND, "", **given)


# Arithmetic in the page --------------------------------------------------------------------------


def test_every_point_of_every_curve_is_said_rightly(page: Page) -> None:
    for (name, of), ranking in itertools.product(MODELS.items(), RANKINGS):
        curve = of["curves"][key_of(ranking)]
        shown = switch_off(FOUND, "").state["models"][name]
        given = {"unit": of["unit"], "removed": shown["removed"], "curve": curve}
        said = call(page, "switch_off", "given.curve.map((_, at) => lossAt({...given, at}))", given)
        heads = shown["removed"][-1]
        assert numbers(said[0]) == pytest.approx([heads, curve[0]], rel=THREE_DIGITS)
        for at, text in enumerate(said[1:], start=1):
            rise = curve[at] - curve[0]
            removed, all_heads, loss, more, percent = numbers(text)
            assert (removed, all_heads) == (shown["removed"][at], heads)
            assert loss == pytest.approx(curve[at], rel=THREE_DIGITS)
            assert more == pytest.approx(abs(rise), rel=THREE_DIGITS)
            assert ("less than" in text) == (rise < 0)
            assert percent == pytest.approx(100 * rise / (curve[-1] - curve[0]), abs=0.501)


def test_a_change_has_its_sign(page: Page) -> None:
    given = [0.0123, -0.5, 0, -3e-5]
    assert call(page, "switch_off", "given.map(signed)", given) == [
        "+0.0123",
        "−0.5",
        "+0",
        "−0.0000300",
    ]


def test_ticks_are_round_and_inside(page: Page) -> None:
    cases = [(0, 1), (3.9, 12.2), (-0.05, 0.75), (0, 270), (-2, -1), (0, 3e-4)]
    for low, high in cases:
        ticks = call(page, "chart", "niceTicks(given[0], given[1])", [low, high])
        assert 2 <= len(ticks) <= 7
        assert low - 1e-9 <= ticks[0] <= ticks[-1] <= high + 1e-9
        steps = {round((b - a) / (high - low), 6) for a, b in itertools.pairwise(ticks)}
        assert len(steps) == 1
        assert all(len(f"{tick:.10g}") <= 7 for tick in ticks), ticks


# On the page -------------------------------------------------------------------------------------


@pytest.fixture
def figure(browser: Browser, site: Path) -> Iterator[Locator]:
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    page.goto((site / "chapters/pruning-heads.html").as_uri())
    figure = page.locator('.mha-live[data-module="switch_off"]')
    figure.scroll_into_view_if_needed()
    figure.get_by_role("listbox").wait_for()
    yield figure
    page.close()


def said(figure: Locator) -> str:
    return figure.locator(".mha-said").first.inner_text()


def said_of_head(figure: Locator) -> str:
    return figure.locator(".mha-said").last.inner_text()


def order_of(name: str, ranking: str) -> list[str]:
    """Names of the heads, who goes first."""
    scores = torch.tensor(MODELS[name]["rankings"][key_of(ranking)], dtype=torch.float64)
    heads = scores.shape[1]
    return [f"{i // heads}.{i % heads}" for i in scores.flatten().argsort(stable=True).tolist()]


def test_remove_heads_by_keyboard_and_mouse(figure: Locator) -> None:
    curve = MODELS["smollm2"]["curves"]["leave one out"]
    slider = figure.get_by_role("slider", name="heads removed")
    slider.focus()
    page = figure.page
    page.keyboard.press("Home")
    assert said(figure).startswith("With all 270 heads the loss is")
    assert figure.locator(".mha-ranking .mha-gone").count() == 0
    for at in (1, 2):
        page.keyboard.press("ArrowRight")
        removed, _, loss, *_ = numbers(said(figure))
        assert removed == round(SHARES[at] * 270)
        assert loss == pytest.approx(curve[at], rel=THREE_DIGITS)
        gone = figure.locator(".mha-ranking .mha-gone").all_inner_texts()
        assert gone == order_of("smollm2", "leave one out")[: int(removed)]
    box = slider.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] - 1, box["y"] + box["height"] / 2)
    assert said(figure).startswith("Without 270 of 270 heads")
    assert "That is 100 % of what all heads give" in said(figure)


def test_another_ranking_and_another_model(figure: Locator) -> None:
    for name, ranking in itertools.product(MODELS, RANKINGS):
        figure.get_by_label("model", exact=True).select_option(name)
        figure.get_by_label("ranked by").select_option(ranking)
        at = SHARES.index(0.3)
        _, _, loss, *_ = numbers(said(figure))
        curve = MODELS[name]["curves"][key_of(ranking)]
        assert loss == pytest.approx(curve[at], rel=THREE_DIGITS)
        shown = figure.get_by_role("option").all_inner_texts()
        shown = [text for text in shown if re.fullmatch(r"\d+\.\d+", text)]
        assert shown == order_of(name, ranking)
        label = figure.locator("svg.mha-chart").first.get_attribute("aria-label") or ""
        assert f"By {ranking} it goes from" in label


def test_one_head_alone_by_keyboard_and_mouse(figure: Locator) -> None:
    changes = MODELS["smollm2"]["changes"]
    order = order_of("smollm2", "leave one out")
    chosen = figure.locator('[role="option"][tabindex="0"]')
    chosen.focus()
    page = figure.page

    def check(place: int) -> None:
        layer, head = map(int, order[place].split("."))
        text = said_of_head(figure)
        assert text.startswith(f"Head {order[place]} is number {place + 1} of 270 to go")
        assert ("and is gone" in text) == (place < round(0.3 * 270))
        *_, change = numbers(text)
        assert change == pytest.approx(changes[layer][head], rel=THREE_DIGITS)

    check(round(0.3 * 270))
    page.keyboard.press("ArrowLeft")
    check(round(0.3 * 270) - 1)
    page.keyboard.press("Home")
    check(0)
    page.keyboard.press("End")
    check(269)
    figure.get_by_role("option", name="head 0.0").click()
    check(order.index("0.0"))
    for row in figure.locator("table.mha-numbers").last.locator("tbody tr").all()[:3]:
        place, name, change = row.locator("th, td").all_text_contents()
        layer, head = map(int, name.split("."))
        assert name == order[int(place) - 1]
        assert numbers(change)[0] == pytest.approx(changes[layer][head], rel=THREE_DIGITS)
