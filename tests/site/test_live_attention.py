"""One head, many heads: its vectors and numbers beside torch's, by mouse and by keyboard."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from live_pages import CLOSE, call
from playwright.sync_api import Browser, Locator, Page
from torch import Tensor

from mha_course.widgets import one_head_many_heads
from mha_course.widgets.one_head import HEADS, RELATIONS, embedded, matrices, signs, words

SENTENCES = [
    "A small cat watched the dog and the dog slept",
    "The cat sat on the mat because it was tired",
    "one",
    "Der „Hund“ sieht, was der Hund immer sieht: Bäume!",
    "no no no no no no no no no no no no",
]
TEMPERATURES = (0.25, 1, 8)


@pytest.fixture(scope="module")
def state() -> dict[str, Any]:
    return one_head_many_heads().state


class Attended(NamedTuple):
    """What torch computes for a sentence."""

    tokens: list[str]
    weights: Tensor
    output: Tensor

    @property
    def quarters(self) -> Tensor:
        """The output, read a quarter at a time: [T, 4, 16]."""
        return self.output.unflatten(-1, (len(RELATIONS), 16))


def attended(sentence: str, heads: int, *, causal: bool = True, temperature: float = 1) -> Attended:
    tokens = words(sentence)
    found = matrices()
    module = found._replace(W_Q=found.W_Q / temperature).module(heads).double()
    with torch.no_grad():
        output, weights = module(
            embedded(tokens)[None].double(), is_causal=causal, return_weights=True
        )
    return Attended(tokens, weights[0], output[0])


def answers(tokens: Sequence[str], causal: bool) -> list[list[list[int]]]:
    """For each query, and each of `RELATIONS`, the places that hold what is asked for."""
    found = []
    for t, token in enumerate(tokens):
        seen = range(t + 1 if causal else len(tokens))
        most = max(len(tokens[s]) for s in seen)
        found.append(
            [
                [t - 1] if t else [],
                [s for s in seen if tokens[s].lower() == token.lower()],
                [0],
                [s for s in seen if len(tokens[s]) == most],
            ]
        )
    return found


def share(found: Attended, query: int, *, causal: bool = True) -> float:
    """Mean share of the answers' variance that the best factor of the output explains."""
    shares = []
    for quarter, places in zip(
        found.quarters[query], answers(found.tokens, causal)[query], strict=True
    ):
        if places:
            answer = torch.tensor([signs(found.tokens[s]) for s in places]).mean(0).double()
            factor = quarter @ answer / (quarter @ quarter)
            left_over = (answer - factor * quarter).square().sum() / answer.square().sum()
            shares.append(1 - left_over.item())
    return sum(shares) / len(shares)


# Vectors ------------------------------------------------------------------------------------


def test_a_word_has_the_same_signs_in_python_and_in_the_page(page: Page) -> None:
    given = ["a", "A", "cat", "Cat", "Übermut", "naïve", "猫", "ΣΟΦΌΣ", "🙂", "x" * 200, "don't"]
    assert call(page, "embedding", "given.map(signs)", given) == [signs(word) for word in given]


def test_words_get_different_signs() -> None:
    letters = [chr(i) for i in range(ord("a"), ord("z") + 1)]
    pairs = ["".join(pair) for pair in itertools.product(letters, repeat=2)]
    found = torch.tensor([signs(word) for word in letters + pairs])
    assert found.mean(0).abs().max() < 0.15, "each sign is +1 about as often as -1"
    likeness = (found @ found.T / 16).fill_diagonal_(0)
    assert likeness.std() == pytest.approx(0.25, abs=0.02), "as of coin flips"


def test_a_sentence_is_cut_alike_in_python_and_in_the_page(
    page: Page, state: dict[str, Any]
) -> None:
    sentences = [*SENTENCES, "“Run,” said (the) dog…  don't -- stop!", "  ", "...", "a\tb\nc"]
    given = [sentences, state["edges"]]
    found = call(page, "embedding", "given[0].map((s) => words(s, given[1]))", given)
    assert found == [words(sentence) for sentence in sentences]


def test_waves_go_one_place_back() -> None:
    """A query for the previous word is the key of the place before, up to a factor."""
    x = embedded(["w"] * 12)
    queries, keys = x @ matrices().W_Q[:, :16], x @ matrices().W_K[:, :16]
    torch.testing.assert_close(queries[1:] / queries[1].norm(), keys[:-1] / keys[0].norm())


# Attention ----------------------------------------------------------------------------------


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("heads", HEADS)
def test_attention_of_the_figure_is_torchs(
    page: Page, state: dict[str, Any], heads: int, causal: bool
) -> None:
    cases = list(itertools.product(SENTENCES, TEMPERATURES))
    controls = {"num_heads": heads, "causal": causal}
    given = [
        {**state, **controls, "sentence": sentence, "temperature": temperature}
        for sentence, temperature in cases
    ]
    found = call(page, "one_head", "given.map(attended)", given)
    for (sentence, temperature), mine in zip(cases, found, strict=True):
        expected = attended(sentence, heads, causal=causal, temperature=temperature)
        assert mine["tokens"] == expected.tokens
        weights, output = torch.tensor(mine["weights"]), torch.tensor(mine["output"])
        assert weights.shape == (heads, len(expected.tokens), len(expected.tokens))
        assert (weights - expected.weights).abs().max() < CLOSE
        assert (output - expected.output).abs().max() < CLOSE
        assert (torch.tensor(mine["mean"]) - expected.weights.mean(0)).abs().max() < CLOSE


@pytest.mark.parametrize("causal", [True, False])
def test_what_arrives_is_what_torch_says(page: Page, state: dict[str, Any], causal: bool) -> None:
    sentence = SENTENCES[1]
    given = {**state, "sentence": sentence, "num_heads": 2, "causal": causal}
    found = call(
        page,
        "one_head",
        """(({ tokens, output, asked, weights }) => ({
            asked,
            shares: output.map((row, t) => meanShare(arrived(tokens, row, asked[t]))),
            closest: output.map((row, t) => arrived(tokens, row, asked[t]).map((x) => x.closest)),
            bits: weights.map((map) => map.map(bits)),
        }))(attended(given))""",
        given,
    )
    expected = attended(sentence, 2, causal=causal)
    tokens = expected.tokens
    assert [list(asked.values()) for asked in found["asked"]] == answers(tokens, causal)
    assert [tuple(asked) for asked in found["asked"]] == [RELATIONS] * len(tokens)
    shares = [share(expected, t, causal=causal) for t in range(len(tokens))]
    assert found["shares"] == pytest.approx(shares, abs=CLOSE)

    known = torch.tensor([signs(token) for token in tokens]).double()
    likeness = torch.nn.functional.cosine_similarity(
        expected.quarters[:, :, None], known[None, None], dim=-1
    )
    closest = likeness.gather(-1, likeness.argmax(-1, keepdim=True))
    assert [[tokens[i] for i in row] for row in likeness.argmax(-1).tolist()] == found["closest"]
    assert closest.min() > 0.3
    entropy = torch.special.entr(expected.weights).sum(-1) / math.log(2)
    assert (torch.tensor(found["bits"]) - entropy).abs().max() < CLOSE


# What the text says -------------------------------------------------------------------------


@pytest.mark.parametrize("sentence", SENTENCES[:2])
def test_each_of_four_heads_answers_its_own_question(sentence: str) -> None:
    found = attended(sentence, 4)
    for query, asked in enumerate(answers(found.tokens, causal=True)):
        for head, places in enumerate(asked):
            if places:
                assert found.weights[head, query, places].sum() > 0.9, (query, RELATIONS[head])


def test_no_temperature_lets_one_head_answer_all() -> None:
    temperatures = [0.25, 0.5, 1, 2, 4, 8]
    for sentence in SENTENCES[:2]:
        last = len(words(sentence)) - 1
        one, four = (
            [share(attended(sentence, h, temperature=t), last) for t in temperatures]
            for h in (1, 4)
        )
        assert max(one) < 0.4, "a quarter, and a little as the words are somewhat alike"
        assert max(one[:5]) - min(one[:5]) < 0.05, "the text says: no more arrives"
        assert max(four) > 0.99
        favourite = [attended(sentence, 1, temperature=t).weights[0, last].max() for t in (0.25, 8)]
        assert favourite[0] > favourite[1] + 0.3, "the text says: the weights move"


def test_the_figure_begins_with_what_it_can_show() -> None:
    with pytest.raises(ValueError, match="has 13 words; the figure shows 1 to 12"):
        one_head_many_heads("a " * 13)
    with pytest.raises(ValueError, match="has 0 words"):
        one_head_many_heads(" … ")
    with pytest.raises(ValueError, match="num_heads=3: the slider has 1, 2, 4, 8"):
        one_head_many_heads("a b", 3)


# On the page --------------------------------------------------------------------------------


@pytest.fixture
def figure(browser: Browser, site: Path) -> Iterator[Locator]:
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    page.goto((site / "chapters/one-head-is-not-enough.html").as_uri())
    figure = page.locator('.mha-live[data-module="one_head"]')
    figure.scroll_into_view_if_needed()
    figure.get_by_role("grid").wait_for()
    yield figure
    page.close()


def cells(figure: Locator) -> list[str]:
    """What the cells of the map say, row by row."""
    said: list[str] = figure.locator("[role=grid] tbody td").evaluate_all(
        "(cells) => cells.map((cell) => cell.getAttribute('aria-label'))"
    )
    return said


def named(tokens: Sequence[str], weights: Tensor, *, causal: bool = True) -> list[str]:
    return [
        f"{tokens[t]} to {tokens[s]}: "
        + ("masked" if causal and s > t else f"{weights[t, s].item():.2f}")
        for t in range(len(tokens))
        for s in range(len(tokens))
    ]


def said(figure: Locator) -> str:
    return figure.locator(".mha-said").inner_text()


def test_cut_into_heads_by_keyboard(figure: Locator) -> None:
    page = figure.page
    one = attended(SENTENCES[0], 1)
    last = len(one.tokens) - 1
    assert f"With one head, {share(one, last):.2f} of what “slept” asks for arrives" in said(figure)
    assert cells(figure) == named(one.tokens, one.weights[0])

    figure.get_by_label("heads h").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    four = attended(SENTENCES[0], 4)
    everywhere = sum(share(four, t) for t in range(last + 1)) / (last + 1)
    assert f"With 4 heads, {share(four, last):.2f} of what" in said(figure)
    assert f"over the whole sentence {everywhere:.2f}" in said(figure)

    figure.get_by_role("radio").first.focus()
    for head, weights in enumerate(four.weights):
        assert cells(figure) == named(four.tokens, weights), f"head {head}"
        page.keyboard.press("ArrowRight")
    mean = four.weights.mean(0)
    assert cells(figure) == named(four.tokens, mean)
    bits = [torch.special.entr(w[last]).sum() / math.log(2) for w in (*four.weights, mean)]
    each, of_mean = torch.stack(bits[:-1]).mean(), bits[-1]
    assert (
        f"take {each:.1f} bits each, their mean {of_mean:.1f}: the mean blurs {of_mean - each:.1f}"
    ) in said(figure)


def test_walk_over_the_map(figure: Locator) -> None:
    page, one = figure.page, attended(SENTENCES[0], 1)
    tokens, last = one.tokens, len(one.tokens) - 1
    chosen = figure.locator("[role=grid] td[tabindex='0']")
    assert chosen.count() == 1, "one cell can be reached by Tab"
    chosen.focus()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")  # there is nothing further left
    now = page.evaluate("document.activeElement.getAttribute('aria-label')")
    assert now == f"dog to A: {one.weights[0, last - 1, 0]:.2f}"
    assert f"{share(one, last - 1):.2f} of what “dog” asks for" in said(figure)
    page.keyboard.press("End")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    now = page.evaluate("document.activeElement.getAttribute('aria-label')")
    assert now == f"slept to slept: {one.weights[0, last, last]:.2f}"

    # by mouse, without a click
    figure.locator("[role=grid] tbody tr").nth(4).locator("td").nth(3).hover()
    pointed = figure.locator(".mha-cell-said").inner_text()
    assert pointed == f"head 0, {tokens[4]} to {tokens[3]}: {one.weights[0, 4, 3]:.2f}"
    shown = figure.locator(".mha-side-by-side table.mha-numbers")
    assert shown.locator("caption").inner_text() == "Words that “the” gets"
    arrives = [float(x) for x in shown.locator(".mha-bar").all_inner_texts()]
    assert sum(arrives) / 4 == pytest.approx(share(one, 4), abs=0.01)
    length = one.output[4].norm().item()
    assert f"Its length is {length:.2g}." in figure.inner_text()


def test_the_reader_types(figure: Locator) -> None:
    page = figure.page
    figure.get_by_label("Sentence").fill("Birds sing, and birds fly")
    found = attended("Birds sing and birds fly", 1)
    assert cells(figure) == named(found.tokens, found.weights[0])

    figure.get_by_label("causal mask").uncheck()
    found = attended("Birds sing and birds fly", 1, causal=False)
    assert cells(figure) == named(found.tokens, found.weights[0], causal=False)

    figure.get_by_label("temperature").focus()
    page.keyboard.press("Home")
    found = attended("Birds sing and birds fly", 1, causal=False, temperature=0.25)
    assert cells(figure) == named(found.tokens, found.weights[0], causal=False)
    figure.get_by_text("The numbers of this map").click()
    table = figure.locator("details table").first
    assert table.locator("tbody td").all_inner_texts() == [
        f"{weight:.3f}" for weight in found.weights[0].flatten().tolist()
    ]

    figure.get_by_label("Sentence").fill("  … ")
    assert "There is no word" in said(figure)
    assert not figure.get_by_role("grid").is_visible()
    figure.get_by_label("Sentence").fill("w " * 14)
    assert "Only the first 12 words are used." in said(figure)
    assert len(cells(figure)) == 12 * 12


def test_the_picture_on_paper_shows_the_same_sentence(figure: Locator) -> None:
    figure.page.emulate_media(media="print")
    drawing = figure.locator(".mha-live-fallback svg")
    assert drawing.is_visible()
    described = drawing.get_attribute("aria-label") or ""
    assert SENTENCES[0] in described
    four = attended(SENTENCES[0], 4).weights
    bits = [
        (torch.special.entr(w).sum(-1) / math.log(2)).mean().item() for w in (four.mean(0), four)
    ]
    assert re.findall(r"\d\.\d", described) == [f"{x:.1f}" for x in bits]
