"""MiniLM and SmolLM2: what we say of real models, checked against the world."""

from __future__ import annotations

import math
from pathlib import Path
from pydoc_data.topics import topics

import pytest
import torch

from mha_course import MODEL_SHAPES
from mha_course.experiments.head_atlas.maps import TEXTS, read_maps, take_maps
from mha_course.heads import TextModel
from mha_course.heads.importance import gate_gradients
from mha_course.heads.pattern_table import pattern_table
from mha_course.heads.reuse import Rerun
from mha_course.heads.tasks import Batch, TextBatch

REFERENCE = "\n".join(topics.values())
LAYERS, H, D_HEAD = 30, 9, 64  # of SmolLM2


def test_minilm_shows_what_the_course_says_of_it(minilm: TextModel) -> None:
    maps = minilm.attention_maps("Apple released a new phone because it is tasty")
    from_it = maps.weights[:, :, maps.where("it")]  # [layers, h, T]
    assert from_it[..., maps.where("apple")].max().item() == pytest.approx(0.44, abs=0.005)
    assert from_it[..., maps.where("phone")].max().item() == pytest.approx(0.71, abs=0.005)


def test_smollm2_has_the_shape_in_the_table(smollm2: TextModel) -> None:
    shape = next(shape for shape in MODEL_SHAPES if shape.name == "SmolLM2-135M")
    heads = smollm2.heads
    assert (heads.num_layers, heads.num_heads, heads.d_head) == (LAYERS, H, D_HEAD)
    assert (shape.num_layers, shape.num_heads, shape.d_head) == (LAYERS, H, D_HEAD)
    assert heads.num_kv_heads == shape.num_kv_heads == 3
    assert smollm2.is_causal


def test_smollm2_predicts_english(smollm2: TextModel) -> None:
    ids = smollm2.chunks(REFERENCE, 1024)[:1]
    batch = TextBatch(smollm2, ids)
    with torch.no_grad():
        loss = batch.losses()[0].item()
        theirs = smollm2.model(input_ids=ids, labels=ids).loss.item()
    assert loss == pytest.approx(theirs, abs=1e-4)
    assert math.exp(loss) == pytest.approx(12.7, abs=0.2)
    assert batch.chance == pytest.approx(math.log(49152))


def test_labels_of_smollm2_name_its_induction_heads(smollm2: TextModel) -> None:
    table = pattern_table(smollm2, smollm2.chunks(REFERENCE, 64)[:2])
    assert table.labels[18][6] == "induction"
    assert table.labels[17][3] == "induction"
    assert sum(name == "induction" for layer in table.labels for name in layer) < 20


def test_closing_a_head_of_smollm2_is_zeroing_its_rows(smollm2: TextModel) -> None:
    ids = smollm2.chunks(REFERENCE, 48)[:2]
    layer, head = 18, 6
    gates = torch.ones(LAYERS, H)
    gates[layer, head] = 0
    with torch.no_grad():
        gated = smollm2.run(ids, gates=gates).logits
        weight = smollm2.model.model.layers[layer].self_attn.o_proj.weight
        kept = weight.clone()
        weight[:, head * D_HEAD : (head + 1) * D_HEAD] = 0
        by_hand = smollm2.model(input_ids=ids).logits
        weight.copy_(kept)
    torch.testing.assert_close(gated, by_hand, rtol=1e-4, atol=1e-3)


def test_a_run_from_a_layer_upwards_is_the_full_run(smollm2: TextModel) -> None:
    ids = smollm2.chunks(REFERENCE, 32)[:2]
    rerun = Rerun(smollm2, ids)
    for layer in (0, 13, 29):
        gates = torch.ones(2, LAYERS, H)
        gates[0, layer, 3] = gates[1, layer, 8] = 0
        with torch.no_grad():
            reused = rerun.from_layer(layer, gates).logits.unflatten(0, (2, 2))
            full = torch.stack([smollm2.run(ids, gates=gate).logits for gate in gates])
        torch.testing.assert_close(reused, full, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("name", ["minilm", "smollm2"])
def test_gradients_are_what_finite_differences_show(
    name: str, request: pytest.FixtureRequest
) -> None:
    model: TextModel = request.getfixturevalue(name)
    batch: Batch = TextBatch(model, model.chunks(REFERENCE, 34)[::50][:4])
    slopes = gate_gradients([batch])
    step = 0.003
    largest = slopes.abs().mean(-1).flatten().argsort(descending=True)[:3].tolist()
    for index in largest:
        head = (index // batch.num_heads, index % batch.num_heads)
        losses = []
        for sign in (1, -1):
            gates = torch.ones(batch.num_layers, batch.num_heads)
            gates[head] += sign * step
            with torch.no_grad():
                losses.append(batch.losses(gates))
        difference = (losses[0] - losses[1]) / (2 * step)
        torch.testing.assert_close(slopes[head], difference, rtol=0.1, atol=5e-3)


@pytest.mark.parametrize("name", ["minilm", "smollm2"])
def test_maps_of_the_atlas_are_those_of_the_model(
    name: str, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue(name)  # skips where it is not installed
    kept = read_maps(Path(__file__).parents[2] / "chapters/data/head-maps.safetensors")[name]
    for text, words in TEXTS.items():
        made = take_maps(name, words)
        assert made.tokens == kept[text].tokens
        apart = (made.weights.int() - kept[text].weights.int()).abs()
        assert apart.max() <= 1, "another machine may round the other way, and no more"
