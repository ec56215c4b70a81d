"""A real, trained model: its maps are attention as we define it."""

from __future__ import annotations

import pytest
import torch

from mha_course import MODEL_SHAPES, attention_parameters, attention_weights, split_heads
from mha_course.heads import AttentionMaps, TextModel

TEXT = "Apple released a new phone because it is tasty"


@pytest.fixture(scope="module")
def maps(minilm: TextModel) -> AttentionMaps:
    return minilm.attention_maps(TEXT)


def test_loaded_model_has_the_shape_in_the_table(minilm: TextModel) -> None:
    shape = next(shape for shape in MODEL_SHAPES if shape.name == "MiniLM-L6")
    config = minilm.model.config
    assert config.num_hidden_layers == 6
    assert (config.hidden_size, config.num_attention_heads) == (shape.d_model, shape.num_heads)
    assert shape.heads_fill_model

    attention = minilm.model.encoder.layer[0].attention
    parts = (attention.self.query, attention.self.key, attention.self.value, attention.output.dense)
    really_has = sum(p.numel() for part in parts for p in part.parameters())
    assert attention_parameters(shape.d_model, shape.num_heads) == really_has


def test_loaded_model_is_ready_for_reading(minilm: TextModel) -> None:
    assert minilm.name == "minilm"
    assert not minilm.model.training


def test_maps_are_shares_of_every_head_in_every_layer(maps: AttentionMaps) -> None:
    words = TEXT.lower().replace("tasty", "ta ##sty").split()  # a word the tokeniser takes apart
    tokens = ["[CLS]", *words, "[SEP]"]
    assert maps.tokens == tokens
    assert maps.weights.shape == (6, 12, len(tokens), len(tokens))
    torch.testing.assert_close(maps.weights.sum(-1), torch.ones(6, 12, len(tokens)))


def test_maps_are_attention_weights_of_the_models_own_queries_and_keys(
    minilm: TextModel, maps: AttentionMaps
) -> None:
    encoded = minilm.tokenizer(TEXT, return_tensors="pt")
    with torch.no_grad():
        states = minilm.model(**encoded, output_hidden_states=True).hidden_states
        for layer, ours in zip(minilm.model.encoder.layer, range(6), strict=True):
            q = split_heads(layer.attention.self.query(states[ours]), 12)
            k = split_heads(layer.attention.self.key(states[ours]), 12)
            torch.testing.assert_close(
                attention_weights(q, k)[0], maps.weights[ours], rtol=1e-4, atol=1e-5
            )


def test_two_heads_disagree_about_it(maps: AttentionMaps) -> None:
    from_it = maps.weights[:, :, maps.where("it")]  # [layers, h, T]
    assert from_it[..., maps.where("apple")].max() > 0.4
    assert from_it[..., maps.where("phone")].max() > 0.6


def test_where_finds_a_token_that_occurs_once(maps: AttentionMaps) -> None:
    assert maps.tokens[maps.where("phone")] == "phone"


def test_loading_leaves_the_progress_bar_of_transformers_as_it_was(minilm: TextModel) -> None:
    from transformers.utils import logging

    assert minilm.name == "minilm"
    assert logging.is_progress_bar_enabled()
