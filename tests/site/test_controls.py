"""Attention with controls: its numbers beside torch's, and what stands on a page."""

from __future__ import annotations

import itertools
import re
from typing import Any

import pytest
import torch
from torch import Tensor

from mha_course.widgets import controls, explore_attention
from mha_course.widgets.live import BOOK

TOKENS = ["the", "cat", "sat", "on", "the", "mat"]


@pytest.fixture(autouse=True)
def in_a_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(BOOK, raising=False)


@pytest.fixture
def projections() -> Tensor:
    torch.manual_seed(0)
    return torch.randn(2, 6, 12)


def by_torch(query: Tensor, key: Tensor, heads: int, mask: str, temperature: float) -> Tensor:
    """One head after the other, with torch alone; a window is one of 3."""
    far = torch.arange(6)[:, None] - torch.arange(6)
    forbidden = {"none": far > 99, "causal": far < 0, "window": (far < 0) | (far > 2)}[mask]
    width = query.shape[1] // heads
    maps = []
    for q, k in zip(query.split(width, 1), key.split(width, 1), strict=True):
        scores = q @ k.T / width**0.5 / temperature
        maps.append(torch.softmax(scores.masked_fill(forbidden, -torch.inf), -1))
    return torch.stack(maps)


@pytest.mark.parametrize(
    ("heads", "mask", "temperature"),
    itertools.product((1, 3, 12), controls.MASKS, (0.125, 1.0, 8.0)),
)
def test_weights_are_torchs(projections: Tensor, heads: int, mask: str, temperature: float) -> None:
    explored = explore_attention(*projections, num_heads=heads, mask=mask, temperature=temperature)
    expected = by_torch(*projections, heads, mask, temperature)
    torch.testing.assert_close(explored.weights(), expected)


def boxes(widget: Any) -> dict[str, Any]:
    return {child.description: child for child in widget.children if child.description}


def test_a_control_computes_anew(projections: Tensor) -> None:
    explored = explore_attention(*projections, TOKENS)
    widget = explored.widget()
    *_, said, figure = widget.children
    made = boxes(widget)
    assert list(made) == ["heads h", "mask", "window", "temperature"]
    assert made["heads h"].options == (1, 2, 3, 4, 6, 12), "what divides the width"
    assert made["window"].layout.display == "none"

    made["heads h"].value = 3
    made["mask"].value = "window"
    made["temperature"].value = 0.5
    assert made["window"].layout.display == ""
    assert "3 heads, d_head = 4, a window of 3, temperature 0.5." in said.value
    shown = [float(x) for x in re.findall(r"<td>([\d.]+)</td>", figure.value)]
    expected = by_torch(*projections, 3, "window", 0.5)
    assert (torch.tensor(shown) - expected.flatten()).abs().max() < 0.0051
    assert f"{expected.amax(-1).mean():.2f}." in said.value


def test_only_the_controls_that_are_wanted(projections: Tensor) -> None:
    explored = explore_attention(*projections, controls=["temperature"], temperature=0.3)
    made = boxes(explored.widget())
    assert list(made) == ["temperature"]
    assert made["temperature"].value == 0.3, "a start that is none of ours"


def test_a_page_has_the_figure_and_no_widget(
    projections: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    explored = explore_attention(*projections, TOKENS, num_heads=2, mask="causal")
    view = "application/vnd.jupyter.widget-view+json"
    assert view in explored._repr_mimebundle_()
    monkeypatch.setenv(BOOK, "1")
    bundle = explored._repr_mimebundle_()
    assert bundle.keys() == {"text/html", "text/plain"}
    html = bundle["text/html"]
    assert "<svg" in html
    assert "script" not in html
    assert "2 heads, d_head = 6, a causal mask, temperature 1." in html
    assert "controls for the number of heads, the mask and the temperature stand here" in html


def test_without_ipywidgets_it_says_so(
    projections: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(controls, "find_spec", lambda _: None)
    html = explore_attention(*projections)._repr_mimebundle_()["text/html"]
    assert "In JupyterLab, once ipywidgets is installed, controls for" in html


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"num_heads": 5}, "not divisible by num_heads=5; try 4 or 6"),
        ({"mask": "future"}, "mask='future'; it must be 'none', 'causal', 'window'"),
        ({"window": 7}, "window=7; with 6 tokens it must be 1 to 6"),
        ({"temperature": 0}, "temperature=0; scores are divided by it, so it must be > 0"),
        ({"controls": ["heads"]}, "there is no 'heads'; use num_heads, mask, temperature"),
        ({"controls": []}, "there is none; use num_heads, mask, temperature"),
        ({"tokens": ["one"]}, "1 names for 6 tokens; give one for each"),
        ({"key": torch.randn(5, 12)}, r"query has shape \[6, 12\] and key \[5, 12\]; both must"),
        ({"query": torch.randn(12)}, "query has 1 axis"),
        (
            {"query": torch.randn(17, 12), "key": torch.randn(17, 12)},
            "there are 17 tokens; the figure shows 1 to 16",
        ),
    ],
)
def test_what_cannot_be_shown_is_refused(
    projections: Tensor, given: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        explore_attention(**{"query": projections[0], "key": projections[1], **given})


def test_whole_numbers_are_refused() -> None:
    with pytest.raises(TypeError, match=r"use query.float\(\)"):
        explore_attention(torch.ones(3, 4, dtype=torch.int64), torch.ones(3, 4))
