"""What it costs: its numbers beside those of mha_course.counting, by mouse and by keyboard."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from live_pages import call
from playwright.sync_api import Browser, Locator, Page

from mha_course import attention_flops, attention_parameters, kv_cache_bytes, score_bytes
from mha_course.models import MODEL_SHAPES, ModelShape
from mha_course.shapes import Sizes
from mha_course.widgets import what_it_costs
from mha_course.widgets.cost import BYTES, CONTEXTS

MODELS = {shape.name: shape for shape in MODEL_SHAPES}
ROWS = ["parameters", "text", "token", "scores", "cache"]


def counted(shape: ModelShape, tokens: int, bytes_per_number: int) -> list[int]:
    """What counting.py says, in the order of `ROWS`."""
    d_model, h, layers = shape.d_model, shape.num_heads, shape.num_layers
    sizes: Sizes = {"num_kv_heads": shape.num_kv_heads, "d_head": shape.d_head, "bias": False}
    return [
        layers * attention_parameters(d_model, h, **sizes),
        layers * attention_flops(d_model, h, tokens, **sizes).total,
        layers * attention_flops(d_model, h, 1, num_cached=tokens, **sizes).total,
        score_bytes(h, tokens, bytes_per_number=bytes_per_number),
        kv_cache_bytes(
            d_model, h, tokens, num_layers=layers, bytes_per_number=bytes_per_number, **sizes
        ),
    ]


def given_to_page(shape: ModelShape) -> dict[str, int]:
    return {
        "dModel": shape.d_model,
        "heads": shape.num_heads,
        "kvHeads": shape.num_kv_heads,
        "dHead": shape.d_head,
    }


def test_every_model_costs_what_counting_counts(page: Page) -> None:
    """All models with every number of heads that divides theirs, in both ways to change it."""
    cases = []
    for shape, tokens, size in itertools.product(MODEL_SHAPES, (*CONTEXTS, 1, 1000), BYTES):
        cases.append((shape, tokens, size))
    for shape, keep_width in itertools.product(MODEL_SHAPES, (True, False)):
        width = shape.num_heads * shape.d_head
        for heads in (h for h in range(1, 257) if width % h == 0):
            for kv_heads in {1, heads}:
                changed = shape._replace(
                    num_heads=heads,
                    num_kv_heads=kv_heads,
                    d_head=width // heads if keep_width else shape.d_head,
                )
                cases.append((changed, 4096, 2))
    given = [
        [given_to_page(shape), shape.num_layers, tokens, size] for shape, tokens, size in cases
    ]
    found = call(page, "cost", "given.map((each) => costs(...each))", given)
    assert len(cases) > 2000
    for mine, case in zip(found, cases, strict=True):
        assert list(mine) == ROWS
        # a number in a page is a float, and the largest are beyond its 53 bits
        assert [float(x) for x in mine.values()] == [float(x) for x in counted(*case)], case


def test_heads_that_can_be_chosen_are_heads_that_can_be(page: Page) -> None:
    expression = """given.flatMap(([own, keepWidth]) =>
        possibleHeads(own).flatMap((heads) => {
            const { values } = possibleKvHeads(heads, 1);
            return values.map((g) => reshaped(own, heads, g, keepWidth));
        }))"""
    given = [[given_to_page(s), keep] for s in MODEL_SHAPES for keep in (True, False)]
    shapes = call(page, "cost", expression, given)
    assert len(shapes) > 1000
    for s in shapes:
        attention_parameters(s["dModel"], s["heads"], num_kv_heads=s["kvHeads"], d_head=s["dHead"])


@pytest.mark.parametrize(
    ("heads", "group", "kv_heads"), [(32, 4, 8), (16, 4, 4), (2, 4, 1), (25, 1, 25), (12, 5, 2)]
)
def test_as_many_heads_as_before_share_keys_and_values(
    page: Page, heads: int, group: int, kv_heads: int
) -> None:
    found = call(page, "cost", "possibleKvHeads(...given)", [heads, group])
    assert found["value"] == kv_heads
    assert found["values"] == [g for g in range(1, heads + 1) if heads % g == 0]


def test_units(page: Page) -> None:
    given = [[1023, 1024], [1536, 1024], [2**40, 1024], [3.5e15, 1000], [12_345_678, 1000]]
    found = call(page, "cost", 'given.map((x) => withUnit(...x, ["a", "b", "c", "d", "e"]))', given)
    assert found == ["1,023 a", "1.5 b", "1 e", "3,500 e", "12.3 c"]


def test_a_count_that_says_too_much_says_so() -> None:
    """Of these, `ModelShape.num_layers` says what its number leaves out."""
    about = " ".join((ModelShape.__doc__ or "").split())
    notes = {model["name"]: model["note"] for model in what_it_costs().state["models"]}
    assert list(notes) == list(MODELS)
    for name in ("Transformer", "Mistral", "GPT-3", "Gemma-2", "Gemma-3"):
        assert name in about
        found = [note for model, note in notes.items() if model.startswith(name)]
        assert found
        assert all("ounted" in note for note in found)
    assert all("no cache" in notes[name] for name in ("BERT base", "BERT large", "MiniLM-L6"))
    assert not any(notes[name] for name in ("GPT-2 XL", "Llama-2 7B", "Qwen3 32B"))


def test_the_figure_begins_with_what_it_can_show() -> None:
    with pytest.raises(ValueError, match="model='Llama' is not in MODEL_SHAPES; there is Transf"):
        what_it_costs("Llama")
    with pytest.raises(ValueError, match="context=1000: the slider has powers of two from 128 to"):
        what_it_costs(context=1000)
    with pytest.raises(ValueError, match="bytes_per_number=3: the menu has 4, 2 and 1"):
        what_it_costs(bytes_per_number=3)


def test_what_stands_on_paper_is_counted_too() -> None:
    html = what_it_costs("Llama-3 8B", 8192, 2).html()
    rows = dict(re.findall(r'<th scope="row">([^<]*)</th><td>([^<]*)</td>', html))
    parameters, text, token, scores, cache = counted(MODELS["Llama-3 8B"], 8192, 2)
    assert rows == {
        "parameters": f"{parameters:,}",
        "FLOPs, whole text": f"{text:,}",
        "FLOPs, next token": f"{token:,}",
        "scores of a layer, if kept": f"{scores / 2**30:.3f} GiB",
        "KV cache": f"{cache / 2**30:.3f} GiB",
    }
    assert rows["KV cache"] == "1.000 GiB"


# On the page --------------------------------------------------------------------------------


@pytest.fixture
def figure(browser: Browser, site: Path) -> Iterator[Locator]:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto((site / "chapters/what-heads-cost.html").as_uri())
    figure = page.locator('.mha-live[data-module="cost"]')
    figure.scroll_into_view_if_needed()
    figure.get_by_label("model").wait_for()
    yield figure
    page.close()


def digits(figure: Locator) -> dict[str, list[str]]:
    """The rows of the folded table: yours, its own, ratio."""
    rows = figure.locator("details table tbody tr").evaluate_all(
        "(rows) => rows.map((row) => [...row.children].map((cell) => cell.textContent))"
    )
    return {name: rest for name, *rest in rows}


def check(figure: Locator, yours: ModelShape, tokens: int, size: int) -> None:
    """What the figure says is what counting.py says, in all its parts."""
    own = MODELS[yours.name]
    mine, its = counted(yours, tokens, size), counted(own, tokens, size)
    rows = digits(figure)
    assert rows.pop("d_head")[:2] == [f"{yours.d_head}", f"{own.d_head}"]
    assert [row[0] for row in rows.values()] == [f"{number:,}" for number in mine]
    assert [row[1] for row in rows.values()] == [f"{number:,}" for number in its]
    ratios = [float(row[2].removeprefix("× ").replace(",", "")) for row in rows.values()]
    expected = [a / b for a, b in zip(mine, its, strict=True)]
    assert ratios == pytest.approx(expected, rel=6e-3)  # three digits
    label = figure.locator("svg").get_attribute("aria-label") or ""
    assert [row[2] for row in rows.values()] == re.findall(r"× [\d.,]*\d", label)

    said = figure.locator(".mha-said").inner_text()
    shape = f"h = {yours.num_heads}, g = {yours.num_kv_heads} and d_head = {yours.d_head}:"
    assert said.startswith(f"{yours.name} with {shape} for {tokens:,} tokens")
    value, unit = re.findall(r"takes ([\d.,]+) (\w+)", said)[0]
    power = ["bytes", "KiB", "MiB", "GiB", "TiB"].index(unit)
    assert float(value.replace(",", "")) == pytest.approx(mine[-1] / 1024**power, rel=6e-3)


def test_more_heads_by_keyboard(figure: Locator) -> None:
    page, own = figure.page, MODELS["Llama-2 7B"]
    check(figure, own, 4096, 2)
    figure.get_by_label("heads h").focus()
    page.keyboard.press("ArrowRight")
    check(figure, own._replace(num_heads=64, num_kv_heads=64, d_head=64), 4096, 2)
    assert {row[2] for name, row in digits(figure).items() if name != "d_head"} == {"× 1", "× 2"}
    assert digits(figure)["scores of a layer, bytes"][2] == "× 2", "the text says: only the scores"

    figure.get_by_label("keep h · d_head").focus()
    page.keyboard.press("Space")
    check(figure, own._replace(num_heads=64, num_kv_heads=64), 4096, 2)
    assert digits(figure)["parameters"][2] == "× 2"

    figure.get_by_label("kv heads g").focus()
    page.keyboard.press("Home")
    check(figure, own._replace(num_heads=64, num_kv_heads=1), 4096, 2)


def test_another_model_by_mouse(figure: Locator) -> None:
    figure.get_by_label("model").select_option("GPT-3 175B")
    own = MODELS["GPT-3 175B"]
    check(figure, own, 4096, 2)
    assert "every second layer" in figure.locator(".mha-note").inner_text()
    slider = figure.get_by_label("context n")
    box = slider.bounding_box()
    assert box is not None
    figure.page.mouse.click(box["x"] + box["width"] - 1, box["y"] + box["height"] / 2)
    figure.get_by_label("bytes a number").select_option("4")
    check(figure, own, CONTEXTS[-1], 4)

    figure.get_by_label("model").select_option("Qwen3 32B")
    check(figure, MODELS["Qwen3 32B"], CONTEXTS[-1], 4)
    assert figure.locator(".mha-note").inner_text() == ""
