"""The small files beside the exercises: where they come from, and what the tasks say of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from test_audit import ASSIGNMENTS

from mha_course.grading import data_patterns, data_redundancy, reference
from mha_course.heads import TextModel

MAPS = ASSIGNMENTS["patterns"].path.with_name("minilm-maps.safetensors")
MEASURED = ASSIGNMENTS["redundancy"].path.with_name("minilm.json")
MOST = 200_000  # bytes


def said_by(assignment: str, test: str) -> str:
    """What a test says when it passes, in one line."""
    return " ".join(ASSIGNMENTS[assignment].cells()[test].source.replace('"', "").split())


def test_files_are_small_and_say_where_they_come_from() -> None:
    about = json.loads(MEASURED.read_text())["about"]
    assert {"model", "text", "command", "date", "versions"} <= about.keys()
    for file in (MAPS, MEASURED):
        assert file.stat().st_size <= MOST


def test_the_maps_are_those_of_the_model(minilm: TextModel) -> None:
    kept = data_patterns.read_maps(MAPS)
    assert kept.keys() == data_patterns.SENTENCES.keys()
    for name, sentence in data_patterns.SENTENCES.items():
        made = minilm.attention_maps(sentence)
        assert kept[name].tokens == made.tokens
        assert (kept[name].weights - made.weights).abs().max() < 1e-3, "more than float16 rounds"


def test_the_measured_heads_are_those_of_the_model() -> None:
    kept = json.loads(MEASURED.read_text())
    # of the text itself, every version of Python has another
    tokens = [int(word) for word in kept["about"]["tokens"].split() if word.isdecimal()]
    assert len(tokens) == data_redundancy.TOKENS
    patterns, outputs = data_redundancy.one_layer(torch.tensor(tokens))
    torch.testing.assert_close(torch.tensor(kept["patterns"]), patterns, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(torch.tensor(kept["outputs"]), outputs, rtol=1e-3, atol=1e-3)


@pytest.fixture
def measured() -> dict[str, torch.Tensor]:
    kept = json.loads(MEASURED.read_text())
    return {name: torch.tensor(kept[name]) for name in kept if name != "about"}


def test_what_is_said_of_alike_heads(measured: dict[str, torch.Tensor]) -> None:
    patterns, outputs = measured["patterns"], measured["outputs"]
    pairs = [(i, j) for i in range(12) for j in range(i)]
    apart = {
        (i, j): float(reference.redundancy.pattern_divergence(patterns[i], patterns[j]))
        for i, j in pairs
    }
    said = said_by("redundancy", "test_linear_cka")
    assert f"({apart[5, 2]:.2f} bits; all pairs: {min(apart.values()):.2f} to " in said
    assert f"to {max(apart.values()):.2f})" in said
    assert f"{reference.redundancy.linear_cka(outputs[5], outputs[2]):.2f}" in said


def test_what_is_said_of_the_curve(measured: dict[str, torch.Tensor]) -> None:
    curve = measured["curves"][0]
    within = (curve <= curve[0] + 0.05).nonzero().flatten()
    first = int((curve > curve[0] + 0.05).nonzero()[0]) - 1
    said = said_by("redundancy", "test_share_that_can_go")
    assert f"says {100 * first / (len(curve) - 1):.0f} % where it passes the limit first" in said
    assert f"and {100 * int(within[-1]) / (len(curve) - 1):.0f} % where it does so last" in said


def test_what_is_said_of_harmful_heads(measured: dict[str, torch.Tensor]) -> None:
    changes = measured["changes"]
    halves = [
        reference.redundancy.looks_harmful(half.flatten(0, 1)) for half in changes.chunk(2, dim=-1)
    ]
    said = said_by("redundancy", "test_negative_heads_confirmed")
    assert [int(half.sum()) for half in halves] == [3, 3]
    assert "three of 72 heads look harmful in one half of the text, three in the other" in said
    assert not (halves[0] & halves[1]).any()
    assert "none in both" in said
