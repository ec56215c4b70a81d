"""The sweep over the number of heads: its text, its baselines, its two tasks and its findings."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mha_course.counting import count_parameters
from mha_course.experiments import head_sweep
from mha_course.experiments.head_sweep import findings, language_model
from mha_course.experiments.head_sweep.language_model import (
    OTHER,
    VOCABULARY,
    LanguageModel,
    Recipe,
    Text,
    bits_by_counting,
    bits_per_character,
    encode,
    paragraphs,
    python_reference,
    split_by_topic,
    waves,
)
from mha_course.experiments.head_sweep.plan import D_MODEL, HEADS, RATE_HEADS, RATES, SCALES
from mha_course.experiments.head_sweep.relations import (
    CONTENT_WIDTH,
    FIRST_QUERY,
    NUM_TOKENS,
    RELATIONS,
    Relations,
    ceiling,
    draw_relations,
    explained_by_relations,
)
from mha_course.experiments.head_sweep.statements import as_good_as_best, best, difference
from mha_course.multi_head import MultiHeadAttention

# ------------------------------------------------------------------------------------- text


def test_a_paragraph_stands_in_one_part_only_and_there_once() -> None:
    topics = {name: f"Only {name}.\n\nShared\n  by  all." for name in "abcdefghij"}
    text = split_by_topic(topics)
    assert text.held_out_topics == ["a", "i"]
    assert text.held_out.tolist() == encode("Only a.\nShared by all.\nOnly i.\n").tolist()
    rest = "".join(f"Only {name}.\n" for name in "bcdefghj")
    assert text.training.tolist() == encode(rest).tolist()


def test_no_held_out_paragraph_of_the_real_text_is_trained_on() -> None:
    text = python_reference()
    parts = ["".join(map(chr, (part + 32).tolist())) for part in (text.training, text.held_out)]
    training, held_out = (set(part.split(chr(OTHER + 32))) - {""} for part in parts)
    assert len(training) > 500
    assert len(held_out) > 50
    assert not training & held_out


def test_paragraphs_lose_line_breaks_only() -> None:
    assert paragraphs("\n\n  One\n  line. \n\n\n\nTwo.") == ["One line.", "Two."]


def test_every_printable_character_keeps_its_number_and_all_others_share_one() -> None:
    printable = "".join(map(chr, range(32, 127)))
    assert encode(printable).tolist() == list(range(95))
    assert encode("\n\té→\x7f").tolist() == [OTHER] * 5


# -------------------------------------------------------------------------------- baselines


def test_counting_one_letter() -> None:
    text = Text([], encode("a" * 20), encode("aaa"))
    share = (20 + 5 / 96) / (20 + 5)
    assert bits_by_counting(text, 1) == pytest.approx(-math.log2(share))


def test_a_bigram_leans_on_the_unigram() -> None:
    text = Text([], encode("abababab"), encode("ab"))
    a = b = (4 + 5 / 96) / (8 + 5)
    b_after_a = (4 + 5 * b) / (4 + 5)
    expected = -(math.log2(a) + math.log2(b_after_a)) / 2
    assert bits_by_counting(text, 2) == pytest.approx(expected)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_the_shares_of_all_characters_add_up_to_one(order: int) -> None:
    training = encode("the cat sat on the mat")
    total = 0.0
    for last in range(VOCABULARY):
        held_out = torch.cat([encode("th"), torch.tensor([last])])
        bits = 3 * bits_by_counting(Text([], training, held_out), order)
        before = 2 * bits_by_counting(Text([], training, encode("th")), order)
        total += 2 ** -(bits - before)
    assert total == pytest.approx(1)


def test_counting_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="order=0 must be at least 1"):
        bits_by_counting(python_reference(), 0)


# --------------------------------------------------------------------------- language model


def test_the_product_of_two_positions_depends_on_their_distance_only() -> None:
    position = waves(9, 6)
    products = position @ position.T
    for distance in range(8):
        on_diagonal = products.diagonal(distance)
        torch.testing.assert_close(on_diagonal, on_diagonal[:1].expand_as(on_diagonal))
    assert products[0, 1] < products[0, 0] - 0.1


def test_the_language_model_sees_no_future_and_where_it_is() -> None:
    torch.manual_seed(0)
    model = LanguageModel(Recipe(3, d_model=12, context=7))
    ids = torch.randint(VOCABULARY, (2, 7))
    changed = ids.clone()
    changed[:, 4] = (changed[:, 4] + 1) % VOCABULARY
    before, after = model(ids), model(changed)
    torch.testing.assert_close(before[:, :4], after[:, :4])
    assert ((before[:, 4:] - after[:, 4:]).abs().amax(-1) > 1e-4).all()
    same = model(torch.full((1, 7), 5))
    assert not torch.allclose(same[0, 1], same[0, 2], atol=1e-4)


def test_models_that_differ_in_heads_start_from_the_same_numbers_and_read_the_same() -> None:
    models, pieces = [], []
    for h in (1, 4):
        torch.manual_seed(3)
        models.append(LanguageModel(Recipe(h, d_model=12)))
        generator = torch.Generator().manual_seed(3)
        pieces.append(language_model.draw(torch.arange(500), Recipe(h), generator))
    one, four = models
    assert count_parameters(one) == count_parameters(four)
    for a, b in zip(one.parameters(), four.parameters(), strict=True):
        assert torch.equal(a, b)
    assert torch.equal(*pieces)
    ids = torch.randint(VOCABULARY, (2, 7))
    assert not torch.allclose(one(ids), four(ids), atol=1e-4)


def test_pieces_are_whole_and_from_everywhere() -> None:
    recipe = Recipe(1, context=6, batch_characters=600)
    pieces = language_model.draw(torch.arange(20), recipe, torch.Generator().manual_seed(0))
    assert pieces.shape == (100, 7)
    assert torch.equal(pieces - pieces[:, :1], torch.arange(7).expand(100, -1))
    assert set(pieces[:, 0].tolist()) == set(range(14))  # the last piece ends with the text


class _Successor(nn.Module):
    """Is sure that the character after n is n + 1."""

    def forward(self, ids: Tensor) -> Tensor:
        return 100 * nn.functional.one_hot((ids + 1) % VOCABULARY, VOCABULARY).float()


class _Clueless(nn.Module):
    """Gives every character the same share."""

    def forward(self, ids: Tensor) -> Tensor:
        return torch.zeros(*ids.shape, VOCABULARY)


def test_bits_of_one_who_knows_and_of_one_who_does_not() -> None:
    characters = torch.arange(23) % VOCABULARY
    assert bits_per_character(_Successor(), characters, 5) == pytest.approx(0, abs=1e-6)
    assert bits_per_character(_Clueless(), characters, 5) == pytest.approx(math.log2(96))
    backwards = characters.flip(0)
    assert bits_per_character(_Successor(), backwards, 5) > 100


def test_training_learns_a_pattern_and_repeats_itself_to_the_bit() -> None:
    text = Text([], encode("abc" * 50), encode("abc" * 10))
    recipe = Recipe(2, d_model=16, context=7, steps=60, batch_characters=70, learning_rate=0.02)
    first, second = (language_model.fit(recipe, 1, text) for _ in range(2))
    bits = bits_per_character(first, text.held_out, 7)
    assert bits < 0.5  # of log₂ 3 ≈ 1.58 for one who knows the letters only
    assert bits == bits_per_character(second, text.held_out, 7)
    other = language_model.fit(recipe, 2, text)
    assert bits != bits_per_character(other, text.held_out, 7)


def test_a_step_takes_the_median_of_its_own_times(monkeypatch: pytest.MonkeyPatch) -> None:
    now, step = 0.0, 0

    def clock() -> float:
        return now

    def train_step(model: LanguageModel, *_: object) -> None:
        nonlocal now, step
        attention = model.blocks.get_submodule("0.attention")
        assert isinstance(attention, MultiHeadAttention)
        slow = 100 if step < 4 else 1  # the first two steps of each come in a busy moment
        now += slow * attention.shape.num_heads
        step += 1

    monkeypatch.setattr(head_sweep, "perf_counter", clock)
    monkeypatch.setattr(head_sweep, "train_step", train_step)
    times = head_sweep.step_times({"few": Recipe(2), "many": Recipe(16)})
    assert times == {"few": 2, "many": 16}


# --------------------------------------------------------------------------------- relations


def test_what_must_be_returned_is_what_stands_before_the_nearest_first() -> None:
    (x,), target = draw_relations(3, 11, [torch.Generator().manual_seed(0)], batch_size=5)
    assert x.shape == (1, 5, 11, CONTENT_WIDTH)
    assert target.shape == (1, 5, 11 - FIRST_QUERY, 3 * CONTENT_WIDTH)
    for t in range(FIRST_QUERY, 11):
        expected = torch.cat([x[0, :, t - 1], x[0, :, t - 2], x[0, :, t - 3]], dim=-1)
        assert torch.equal(target[0, :, t - FIRST_QUERY], expected)


def by_hand(relations: int) -> Relations:
    """R heads, set by hand: head i looks i + 1 tokens back and hands the content on."""
    model = Relations(relations, relations)
    d_head = D_MODEL // relations
    slots = slice(CONTENT_WIDTH, CONTENT_WIDTH + NUM_TOKENS)  # where the position stands
    with torch.no_grad():
        for weight in model.parameters():
            weight.zero_()
        for i in range(relations):
            head = slice(i * d_head, i * d_head + NUM_TOKENS)
            model.attention.w_q.weight[head, slots] = 100 * torch.eye(NUM_TOKENS)
            # key j answers query j + i + 1
            model.attention.w_k.weight[head, slots] = torch.eye(NUM_TOKENS).roll(i + 1, 0)
            content = slice(i * d_head, i * d_head + CONTENT_WIDTH)
            model.attention.w_v.weight[content, :CONTENT_WIDTH] = torch.eye(CONTENT_WIDTH)
            wanted = slice(i * CONTENT_WIDTH, (i + 1) * CONTENT_WIDTH)
            model.attention.w_o.weight[wanted, content] = torch.eye(CONTENT_WIDTH)
    return model


def test_two_heads_set_by_hand_return_two_relations() -> None:
    generators = [torch.Generator().manual_seed(0)]
    (x,), target = draw_relations(2, NUM_TOKENS, generators, batch_size=3)
    torch.testing.assert_close(by_hand(2)(x[0]), target[0], atol=1e-4, rtol=0)


def test_the_weights_do_not_depend_on_the_content() -> None:
    torch.manual_seed(0)
    model = Relations(4, 2)
    weights = model.weights(torch.randn(3, NUM_TOKENS, CONTENT_WIDTH))
    assert torch.equal(weights[0], weights[2])
    assert not torch.allclose(weights[0, 0], weights[0, 1], atol=1e-4)


def test_one_head_explains_half_of_two_relations_and_two_heads_all() -> None:
    one, _ = explained_by_relations(1, 2, NUM_TOKENS, (0, 1), steps=100)
    two, _ = explained_by_relations(2, 2, NUM_TOKENS, (0, 1), steps=100)
    assert all(0.4 < share < 0.52 for share in one)
    assert all(0.95 < share <= 1 for share in two)


def test_the_ceiling_is_that_of_a_projection_on_h_directions() -> None:
    h, r = 3, 5
    mixtures = torch.randn(9, h, generator=torch.Generator().manual_seed(0))
    mixtures[:r] *= 1e4  # almost all weight on the R tokens that are wanted
    span, _ = torch.linalg.qr(mixtures)
    explained = span[:r].square().sum() / r  # of R unit vectors, by the best linear readout
    assert explained.item() == pytest.approx(ceiling(h, r), abs=1e-3)
    assert ceiling(h, 2) == 1


# ------------------------------------------------------------------------------- the numbers


def test_differences_are_taken_seed_by_seed() -> None:
    bits = {"1": [2.0, 3.0, 4.0], "8": [1.9, 2.9, 3.9]}
    gap = difference(bits, 1, 8)
    assert gap == pytest.approx((0.1, 0.1, 0.1))
    assert difference(bits, 8, 1).mean == pytest.approx(-0.1)


def test_the_best_and_what_can_not_be_told_from_it() -> None:
    bits = {"1": [3.0, 4.0, 5.0], "4": [2.0, 3.1, 4.0], "8": [2.1, 2.9, 4.0], "64": [9.0] * 3}
    assert best(bits) == 8
    assert as_good_as_best(bits) == [4, 8]


def full_data(best_heads: int) -> dict[str, Any]:
    """What a full run could have measured, if losses grew with the distance from the best h."""

    def sweep(heads: tuple[int, ...], seeds: int) -> dict[str, list[float]]:
        return {
            str(h): [
                2 + 0.01 * abs(math.log2(h / best_heads)) + s / 10 + h * s / 1e6 for s in seeds_
            ]
            for h in heads
            for seeds_ in [range(seeds)]
        }

    fits = {r: {h: [min(1, h / r)] * 2 for h in HEADS} for r in RELATIONS}
    fits[8][64] = [0.5, 0.5]
    return {
        "text": {"bits by counting": {"2": 3.5, "3": 2.8}},
        "language": {
            "one block": {"parameters": [62_000], "bits": sweep(HEADS, 5)},
            "two blocks": {"parameters": [112_480], "bits": sweep(HEADS, 5)},
        },
        "relations": {str(r): {str(h): v for h, v in row.items()} for r, row in fits.items()},
        "relations, more tokens": {"2": {"2": [1.0, 1.0], "64": [0.9, 0.9]}},
        "rates": {name: {"bits": sweep(RATE_HEADS, 3)} for name in RATES},
        "scales": {name: {"bits": sweep(heads, 3)} for name, (_, heads) in SCALES.items()},
        "seconds per step": {form: {"1": 0.01, "64": 0.02} for form in ("fused", "batched")},
    }


def test_findings_follow_the_numbers() -> None:
    eight, one, sixty_four = (findings(full_data(h)) for h in (8, 1, 64))
    for sweep in ("one-block", "two-blocks"):
        assert eight[f"{sweep}-eight-heads-beat-one"].holds
        assert not one[f"{sweep}-eight-heads-beat-one"].holds
        assert eight[f"{sweep}-width-one-loses"].holds
        assert not sixty_four[f"{sweep}-width-one-loses"].holds
        assert not sixty_four[f"{sweep}-width-one-loses-to-one-head"].holds
        assert one[f"{sweep}-width-one-loses-to-one-head"].holds
        assert eight[f"{sweep}-best-is-in-between"].holds
        assert not one[f"{sweep}-best-is-in-between"].holds
        assert not sixty_four[f"{sweep}-best-is-in-between"].holds
        assert not eight[f"{sweep}-sweet-spot-is-8-to-16"].holds  # 8 alone: all gaps are certain
    assert eight["same-order-at-other-learning-rates"].holds
    assert not one["same-order-at-other-learning-rates"].holds
    assert eight["width-one-fails-without-spare"].holds
    assert eight["width-one-with-spare-heads-does-it"].holds


def test_a_gap_that_is_as_wide_with_two_blocks_is_not_narrowed() -> None:
    data = full_data(8)
    assert not findings(data)["depth-narrows-the-gap"].holds
    data["language"]["one block"]["bits"]["1"] = [5.0, 5.1, 5.2, 5.3, 5.4]
    assert findings(data)["depth-narrows-the-gap"].holds


def test_the_best_number_of_heads_is_compared_across_widths() -> None:
    data = full_data(8)
    assert not findings(data)["best-h-grows-with-width"].holds
    data["scales"]["16 wide"]["bits"]["2"] = [1.0, 1.1, 1.2]
    data["scales"]["128 wide"]["bits"]["16"] = [1.0, 1.1, 1.2]
    finding = findings(data)["best-h-grows-with-width"]
    assert finding.holds
    assert finding.says.count("heads of 8 numbers") == 3


def test_a_longer_context_that_does_not_help_was_not_learned() -> None:
    data = full_data(8)
    assert not findings(data)["long-context-was-learned"].holds
    data["scales"]["256 characters"]["bits"]["4"] = [1.0, 1.1, 1.2]
    assert findings(data)["long-context-was-learned"].holds


def test_a_share_above_the_ceiling_is_reported() -> None:
    data = full_data(8)
    assert findings(data)["h-of-r-relations"].holds
    assert findings(data)["as-many-heads-as-relations"].holds
    data["relations"]["8"]["4"] = [0.99, 0.99]
    assert not findings(data)["h-of-r-relations"].holds
    assert not findings(data)["as-many-heads-as-relations"].holds


def test_a_quick_run_has_findings_too() -> None:
    full = full_data(8)
    quick = {
        "text": full["text"],
        "language": {
            "one block": {
                "parameters": [62_000],
                "bits": {h: full["language"]["one block"]["bits"][h] for h in "18"},
            }
        },
        "relations": {"2": {h: full["relations"]["2"][h] for h in "12"}},
    }
    found = findings(quick)
    assert found.keys() < findings(full).keys()
    assert any(finding.holds and not finding.needs_full for finding in found.values())
