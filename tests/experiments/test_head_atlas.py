"""The atlas of heads: pictures, words and links, answers, depth, and switching heads off."""

from __future__ import annotations

import random
from collections import Counter
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from small_models import LAYERS, H, small_model
from torch import Tensor

from mha_course.experiments.head_atlas import against_depth, clears, sentences, shuffled
from mha_course.experiments.head_atlas.answers import (
    Answers,
    Spelled,
    answers,
    spell,
    word_weights,
)
from mha_course.experiments.head_atlas.pictures import REACH, reach, shapes
from mha_course.experiments.head_atlas.sentences import RELATIONS, SYNTAX, Link, write_sentences
from mha_course.experiments.head_atlas.switches import (
    PERIOD,
    needed_for_change,
    new_and_copies,
    other_heads,
    token_losses,
)
from mha_course.heads import TextModel
from mha_course.heads.patterns import MAJORITY, Pattern, Tally, all_labels

T = 41


def one_key(keys: list[int]) -> Tensor:
    """Weights [1, T, T] of a head that gives all weight of each query to one key."""
    return torch.eye(len(keys), dtype=torch.float64)[keys][None]


def special(*positions: int) -> Tensor:
    mask = torch.zeros(T, dtype=torch.bool)
    mask[list(positions)] = True
    return mask


# --------------------------------------------------------------------------------- pictures


@pytest.mark.parametrize(
    ("steps", "zone"), [(4, "near"), (5, "middle"), (16, "middle"), (17, "far")]
)
def test_reach_knows_near_from_far(steps: int, zone: str) -> None:
    # where there is no token so far back, the head looks at the last one, which is special
    weights = one_key([t - steps if t >= steps else T - 1 for t in range(T)])
    found = dict(zip(REACH, reach(weights, special(T - 1))[0].tolist(), strict=True))
    assert found["parked"] == pytest.approx(steps / T)
    assert found[zone] == pytest.approx(1 - steps / T)
    assert sum(found.values()) == pytest.approx(1)


def test_special_tokens_are_parked_on_wherever_they_are() -> None:
    weights = (one_key([0] * T) + 3 * one_key([T - 1] * T)) / 4
    assert reach(weights, special(0, T - 1))[0].tolist() == [1, 0, 0, 0]
    parked, near, middle, far = reach(weights, special(0))[0].tolist()
    assert parked == pytest.approx(0.25)
    assert near + middle + far == pytest.approx(0.75)
    assert min(near, middle, far) > 0


def test_each_shape_is_recognised_by_its_own_score() -> None:
    far_away = random.Random(0).sample(range(T), T)
    heads = {
        "diagonal": one_key(list(range(T))),
        "shifted diagonal": one_key([max(t - 1, 0) for t in range(T)]),
        "columns": one_key([7] * T),
        "links": one_key(far_away),
        "even": torch.full((1, T, T), 1 / T, dtype=torch.float64),
    }
    for name, weights in heads.items():
        found = {shape: score.item() for shape, score in shapes(weights, is_causal=False).items()}
        assert found[name] > 0.8, name
        others = {shape for shape in found if shape not in (name, "band")}
        assert max(found[shape] for shape in others) < 0.3, name
    band = shapes(heads["shifted diagonal"], is_causal=False)["band"]
    assert band.item() == 1


def test_a_link_next_door_or_in_a_column_is_no_link() -> None:
    for keys in ([max(t - 1, 0) for t in range(T)], [0] * T):
        assert shapes(one_key(keys), is_causal=True)["links"].item() < 0.05


def test_even_counts_the_keys_that_a_causal_query_sees() -> None:
    weights = torch.ones(1, T, T, dtype=torch.float64).tril()
    weights /= weights.sum(-1, keepdim=True)
    assert shapes(weights, is_causal=True)["even"].item() == pytest.approx(1)
    assert shapes(weights, is_causal=False)["even"].item() < 0.7


# -------------------------------------------------------------------------- words and answers


class Syllables:
    """A tokeniser that cuts words into pieces of two letters, and marks the space before."""

    bos_token_id = 99

    def __call__(self, text: str, *, add_special_tokens: bool) -> dict[str, list[int]]:
        assert not add_special_tokens
        return {"input_ids": [len(text[i : i + 2]) for i in range(0, len(text), 2)]}


def reader(before: list[int], after: list[int], *, is_causal: bool) -> TextModel:
    model = SimpleNamespace(
        tokenizer=Syllables(),
        specials=lambda: (before, after),
        is_causal=is_causal,
        heads=SimpleNamespace(num_layers=2, num_heads=3),
    )
    return cast(TextModel, model)


def test_spelling_knows_the_word_of_each_token() -> None:
    spelled = spell(reader([7], [8], is_causal=False), ["dog", "a", "."])
    assert spelled.ids.tolist() == [7, 2, 2, 2, 1, 8]  # " dog", " a" and "." without a space
    assert spelled.word.tolist() == [-1, 0, 0, 1, 2, -1]


def test_a_decoder_without_special_tokens_gets_its_start() -> None:
    spelled = spell(reader([], [], is_causal=True), ["dog"])
    assert spelled.ids.tolist() == [99, 2, 2]
    assert spelled.word.tolist() == [-1, 0, 0]


def test_words_get_the_sum_of_their_tokens_and_give_the_mean() -> None:
    word = torch.tensor([-1, 0, 0, 1, -1])
    weights = torch.tensor(
        [
            [1.0, 0.0, 0.0, 0.0, 0.0],
            [0.1, 0.2, 0.3, 0.4, 0.0],
            [0.5, 0.0, 0.1, 0.2, 0.2],
            [0.0, 0.3, 0.3, 0.1, 0.3],
            [0.0, 0.0, 0.0, 0.0, 1.0],
        ]
    )
    torch.testing.assert_close(word_weights(weights, word, 0), torch.tensor([0.3, 0.3]))
    torch.testing.assert_close(word_weights(weights, word, 1), torch.tensor([0.6, 0.1]))


def test_the_answer_is_another_word_and_for_a_decoder_an_earlier_one() -> None:
    given = torch.tensor([0.1, 0.2, 0.4, 0.3])
    assert answers(given, 2, is_causal=False) == 3
    assert answers(given, 2, is_causal=True) == 1
    assert answers(given, 0, is_causal=False) == 2


def test_answers_are_counted_by_head_and_relation() -> None:
    found = Answers(reader([7], [8], is_causal=False))
    links = [Link("object → verb", 3, 1), Link("pronoun → antecedent", 2, 0, rival=1)]
    word = torch.arange(-1, 5)
    word[-1] = -1
    weights = torch.zeros(2, 3, 6, 6)
    weights[0, 1, 4, 2] = 1  # head 0.1: word 3 to word 1
    weights[1, 2, 3, 1] = 0.6  # head 1.2: word 2 to word 0, and less to its rival
    weights[1, 2, 3, 2] = 0.4
    weights[1, 0, 3, 2] = 1  # head 1.0: word 2 to the rival
    found.add(weights, word, links)
    found.add(weights, word, links[:1])
    packed = found.packed()
    right = packed["object → verb"]["right"]
    assert right[0, 1] == 1
    assert packed["object → verb"]["asked"] == 2
    assert packed["object → verb"]["offset"] == 1
    assert packed["pronoun → antecedent"]["right"][1, 2] == 1
    assert packed["pronoun → antecedent"]["right"][1, 0] == 0
    assert packed["pronoun → antecedent"]["prefers"].nonzero().tolist() == [[1, 2]]


def test_a_decoder_is_not_asked_for_what_it_cannot_see() -> None:
    found = Answers(reader([7], [8], is_causal=True))
    found.add(torch.rand(2, 3, 4, 4), torch.tensor([-1, 0, 1, 2]), [Link("verb → object", 0, 2)])
    assert found.packed() == {}


def test_offsets_are_in_words_and_the_best_one_counts() -> None:
    found = Answers(reader([7], [8], is_causal=False))
    word = torch.tensor([-1, 0, 0, 1, 2, 3, -1])
    links = [Link("object → verb", 2, 1), Link("object → verb", 3, 2), Link("object → verb", 3, 0)]
    found.add(torch.rand(2, 3, 7, 7), word, links)
    assert found.packed()["object → verb"]["offset"] == pytest.approx(2 / 3)


# ------------------------------------------------------------------------------- the sentences


@pytest.fixture(scope="module")
def written() -> dict[str, list[sentences.Sentence]]:
    return {part: write_sentences(part, seed=5, count=400) for part in ("find", "confirm")}


def all_links(written: dict[str, list[sentences.Sentence]]) -> list[tuple[Any, Link]]:
    return [(s.words, link) for part in written.values() for s in part for link in s.links]


def test_every_relation_is_there_and_nobody_attends_to_itself(written: Any) -> None:
    links = all_links(written)
    assert {link.relation for _, link in links} == set(RELATIONS)
    for words, link in links:
        assert len({link.query, link.key, link.rival}) == 3
        assert all(0 <= place < len(words) for place in (link.query, link.key))


def test_no_fixed_offset_is_right_for_long(written: Any) -> None:
    offsets: dict[str, Counter[int]] = {name: Counter() for name in RELATIONS}
    for _, link in all_links(written):
        offsets[link.relation][link.key - link.query] += 1
    for name, counts in offsets.items():
        best = max(counts.values()) / counts.total()
        assert best < (0.35 if name != "pronoun → antecedent" else 0.55), name


def test_links_lead_to_the_right_words(written: Any) -> None:
    men = {pair[0] for part in sentences._WORDS.values() for pair in part.couples}
    women = {pair[1] for part in sentences._WORDS.values() for pair in part.couples}
    verbs = {verb for part in sentences._WORDS.values() for verb in part.verbs}
    kinds = [set(c) for part in sentences._WORDS.values() for c in part.categories]
    for words, link in all_links(written):
        query, key = words[link.query], words[link.key]
        if link.relation.startswith("pronoun"):
            assert key in (men if query == "he" else women)
            assert words[link.rival] in (women if query == "he" else men)
        elif link.relation == "word → same category":
            assert any({query, key} <= kind for kind in kinds)
        elif link.relation == "object → verb":
            assert key in verbs
            assert link.key < link.query
        elif link.relation == "verb → subject":
            assert query in verbs
            assert link.key < link.query
        elif link.relation == "determiner → noun":
            between = set(words[link.query + 1 : link.key])
            assert all(
                any(word in part.adjectives for part in sentences._WORDS.values())
                for word in between
            )


def test_each_link_of_grammar_has_its_way_back(written: Any) -> None:
    for part in written.values():
        for sentence in part:
            grammar = {(x.query, x.key) for x in sentence.links if x.relation in SYNTAX}
            assert {(key, query) for query, key in grammar} == grammar


def test_neither_place_nor_gender_gives_the_antecedent_away(written: Any) -> None:
    links = [(w, x) for w, x in all_links(written) if x.relation == "pronoun → antecedent"]
    first = sum(x.key < (x.rival or 0) for _, x in links) / len(links)
    he = sum(w[x.query] == "he" for w, x in links) / len(links)
    assert 0.4 < first < 0.6
    assert 0.4 < he < 0.6


def test_the_parts_share_no_word_that_could_be_learnt() -> None:
    def words(part: Any) -> set[str]:
        return {part} if isinstance(part, str) else {w for inner in part for w in words(inner)}

    find, confirm = sentences._WORDS["find"], sentences._WORDS["confirm"]
    assert not words(find) & words(confirm)


def test_seeds_and_parts_draw_different_sentences() -> None:
    drawn = [
        [s.words for s in write_sentences(part, seed=seed, count=3)]  # type: ignore[arg-type]
        for part, seed in (("find", 1), ("find", 1), ("find", 2), ("confirm", 1))
    ]
    assert drawn[0] == drawn[1]
    assert drawn[0] != drawn[2]
    assert drawn[0] != drawn[3]


def test_no_sentences_are_refused() -> None:
    with pytest.raises(ValueError, match="count=0"):
        write_sentences("find", seed=0, count=0)


# ----------------------------------------------------------------------------- labels, depth


def test_the_bar_of_labels_is_that_of_all_labels() -> None:
    generator = torch.Generator().manual_seed(0)
    cases: dict[Pattern, Tally] = {
        "induction": Tally(torch.rand(9, generator=generator) * 50, 5, 50, Counter({-3: 29})),
        "local": Tally(torch.rand(9, generator=generator) * 50, 5, 50, Counter({-3: 50})),
        "delimiter": Tally(torch.rand(9, generator=generator) * 50, 28, 50, Counter({-3: 2})),
        "broad": Tally(torch.rand(9, generator=generator) * 50, 50, 50),
    }
    held = all_labels(cases)
    for name, tally in cases.items():
        assert clears(name, tally, MAJORITY).tolist() == [name in has for has in held]
    assert int(clears("local", cases["local"], 0.1).sum()) > int(
        clears("local", cases["local"], 0.7).sum()
    )


def test_a_measure_that_follows_the_layer_correlates_with_it() -> None:
    layer = torch.arange(9.0)[:, None].expand(9, 4)
    rising, falling = against_depth(layer), against_depth(-layer)
    assert rising["spearman"] == pytest.approx(1)
    assert falling["spearman"] == pytest.approx(-1)
    assert rising["thirds"] == [1, 4, 7]
    assert rising["layers"] == layer[:, 0].tolist()


def test_a_measure_that_ignores_the_layer_has_zero_in_its_interval() -> None:
    generator = torch.Generator().manual_seed(1)
    found = [against_depth(torch.randn(9, 30, generator=generator)) for _ in range(4)]
    assert all(one["low"] < one["spearman"] < one["high"] for one in found)
    # of 4 intervals of 95 %, 3 or more cover the truth with a probability of 0.99
    assert sum(one["low"] < 0 < one["high"] for one in found) >= 3


# ------------------------------------------------------------------------------ switching off


def test_losses_are_those_of_the_next_token() -> None:
    logits = torch.randn(3, 6, 11, generator=torch.Generator().manual_seed(2))
    ids = torch.tensor([4, 1, 10, 0, 3, 3])
    losses = token_losses(ids, logits)
    assert losses.shape == (3, 5)
    for k in range(3):
        for t in range(5):
            expected = torch.nn.functional.cross_entropy(logits[k, t], ids[t + 1])
            torch.testing.assert_close(losses[k, t], expected)


def test_only_what_was_there_before_counts_as_a_copy() -> None:
    places = torch.arange(1.0, 3 * PERIOD + 1)[None]  # the loss of token t is t
    parts = new_and_copies(places)
    assert parts["new"].item() == places[0, :PERIOD].mean()
    # token PERIOD + 1 starts the second round: nothing could foretell it
    assert parts["copies"].item() == places[0, PERIOD + 1 :].mean()
    assert places[0, PERIOD + 1] == PERIOD + 2


def test_random_heads_are_others_of_the_same_layers() -> None:
    heads = [(2, 0), (2, 5), (7, 1)]
    taken = {*heads, (2, 1), (2, 2), (2, 3), (2, 4), (2, 6)}
    for seed in range(20):
        drawn = other_heads(heads, taken, random.Random(seed), 9)
        assert Counter(layer for layer, _ in drawn) == {2: 2, 7: 1}
        assert not set(drawn) & taken
        assert {head for layer, head in drawn if layer == 2} == {7, 8}


def test_a_head_that_writes_nothing_is_needed_for_nothing() -> None:
    model = small_model("bert")
    with torch.no_grad():
        model.heads.output_matrices(1)[2] = 0
    words = torch.tensor([-1, 0, 1, 2, 3, -1])
    before = Spelled(torch.tensor([1, 9, 20, 31, 42, 2]), words)
    after = Spelled(torch.tensor([1, 9, 20, 33, 42, 2]), words)
    needed = needed_for_change(model, before, after, 0, 1)
    assert needed.shape == (H,)
    assert abs(needed[2].item()) < 1e-5
    others = needed[[0, 1, 3]]
    assert (others.abs() > 1e-4).all()
    assert (others < 1).all()


def test_the_only_head_that_writes_is_needed_for_everything() -> None:
    model = small_model("bert")
    with torch.no_grad():
        for layer in range(LAYERS):
            writes = model.heads.output_matrices(layer)
            writes[1 if layer == 1 else 0 :] = 0  # head 1.0 alone is left
    words = torch.tensor([-1, 0, 1, 2, -1])
    before = Spelled(torch.tensor([1, 9, 20, 31, 2]), words)
    after = Spelled(torch.tensor([1, 9, 20, 33, 2]), words)
    needed = needed_for_change(model, before, after, 0, 1)
    assert needed[0].item() == pytest.approx(1, abs=1e-4)  # the only way from word to word
    assert needed[1:].abs().max().item() < 1e-4


def test_shuffling_keeps_the_numbers_and_loses_the_order() -> None:
    model = small_model("bert")
    other = shuffled(model, 0)
    again = shuffled(model, 0)
    assert other.name != model.name
    moved = 0
    for old, new, same in zip(
        model.model.parameters(), other.model.parameters(), again.model.parameters(), strict=True
    ):
        assert torch.equal(old.flatten().sort().values, new.flatten().sort().values)
        assert torch.equal(new, same)
        moved += not torch.equal(old, new)
        if old.ndim == 1:
            assert torch.equal(old, new)
    assert moved > LAYERS
