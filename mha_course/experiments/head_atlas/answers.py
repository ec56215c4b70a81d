"""Ask heads for relations between words: the answer of a head is the word it gives most weight to.

As in Clark et al. 2019: weights to a word are added up over its tokens, weights from a word are
averaged over them, and neither the word itself nor special tokens can be an answer. They also read
the weights backwards, from the word that attends to the one that is attended to; we ask for each
relation both ways instead.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mha_course.experiments.head_atlas.sentences import RELATIONS, Link, Relation, Sentence
from mha_course.heads import TextModel
from mha_course.heads.gates import LayerHeads


class Spelled(NamedTuple):
    """A sentence as a model reads it.

    Attributes:
        ids: Token ids, with the special ones.
        word: Which word each token belongs to; −1 for special tokens.
    """

    ids: Int[Tensor, " T"]
    word: Int[Tensor, " T"]


def spell(model: TextModel, words: Sequence[str]) -> Spelled:
    """Turn words into tokens, word by word, between the special tokens of the model.

    A decoder without special tokens gets its start token: else its heads would park their attention
    on the first word.
    """
    tokenizer = model.tokenizer
    before, after = model.specials()
    ids = list(before) if before else [tokenizer.bos_token_id]
    word = [-1] * len(ids)
    for number, written in enumerate(words):
        # tokenisers of decoders mark the space before a word, and there is none before a full stop
        spaced = f" {written}" if written[0].isalpha() else written
        pieces = tokenizer(spaced, add_special_tokens=False)["input_ids"]
        ids += pieces
        word += [number] * len(pieces)
    return Spelled(torch.tensor(ids + after), torch.tensor(word + [-1] * len(after)))


def word_weights(
    weights: Float[Tensor, "*heads T T"], word: Int[Tensor, " T"], query: int
) -> Float[Tensor, "*heads words"]:
    """What the word `query` gives to each word: sums over the keys, means over its own tokens.

    As in Clark et al. 2019. What goes to special tokens is left out.
    """
    rows = weights[..., word == query, :].mean(-2)  # [*heads, T]
    to_word = torch.nn.functional.one_hot(word + 1, int(word.max()) + 2)[:, 1:]
    return rows @ to_word.to(rows)


def answers(
    given: Float[Tensor, "*heads words"], query: int, *, is_causal: bool
) -> Int[Tensor, "*heads"]:
    """The other word that each head gives most to; in a causal model an earlier one."""
    other = given.clone()
    other[..., query] = -1
    if is_causal:
        other[..., query:] = -1
    return other.argmax(-1)


class Answers:
    """How often each head gives the right answer, beside fixed offsets.

    Attributes:
        hits: For each relation, right answers of each head.
        asked: For each relation, how often it was asked for.
        offsets: For each relation, how often each offset in words would be right.
        prefers: For each relation with a rival, how often a head gives it less than the right one.
    """

    def __init__(self, model: TextModel) -> None:
        size = (model.heads.num_layers, model.heads.num_heads)
        self.hits = {name: torch.zeros(size) for name in RELATIONS}
        self.asked: Counter[Relation] = Counter()
        self.offsets: dict[Relation, Counter[int]] = defaultdict(Counter)
        self.prefers = {name: torch.zeros(size) for name in RELATIONS}
        self._is_causal = model.is_causal

    def add(self, weights: Float[Tensor, "layers h T T"], word: Tensor, links: list[Link]) -> None:
        """Count the answers in one sentence; links that a causal model cannot see are left out."""
        for link in links:
            if self._is_causal and link.key > link.query:
                continue
            given = word_weights(weights, word, link.query)
            answer = answers(given, link.query, is_causal=self._is_causal)
            self.hits[link.relation] += answer == link.key
            self.asked[link.relation] += 1
            self.offsets[link.relation][link.key - link.query] += 1
            if link.rival is not None:
                self.prefers[link.relation] += given[..., link.key] > given[..., link.rival]

    def packed(self) -> dict[str, Any]:
        """Plain data: shares of right answers, and of the best fixed offset."""
        return {
            name: {
                "right": self.hits[name] / asked,
                "offset": max(self.offsets[name].values()) / asked,
                "asked": asked,
                "prefers": self.prefers[name] / asked,
            }
            for name, asked in self.asked.items()
        }


def ask(model: TextModel, sentences: Sequence[Sentence]) -> Answers:
    """Put all links of all sentences to all heads."""
    found = Answers(model)
    by_length: dict[int, list[tuple[Spelled, Sentence]]] = defaultdict(list)
    for sentence in sentences:
        spelled = spell(model, sentence.words)
        by_length[len(spelled.ids)].append((spelled, sentence))
    for group in by_length.values():
        for start in range(0, len(group), 16):  # more at once takes memory, and saves no time
            some = group[start : start + 16]
            weights = all_weights(model, torch.stack([spelled.ids for spelled, _ in some]))
            for i, (spelled, sentence) in enumerate(some):
                found.add(weights[:, i], spelled.word, list(sentence.links))
    return found


def all_weights(model: TextModel, ids: Int[Tensor, "B T"]) -> Float[Tensor, "layers B h T T"]:
    """Attention weights of all layers for texts of one length."""
    layers: list[Tensor] = []

    def keep(_: int, seen: LayerHeads) -> None:
        assert seen.weights is not None  # asked for
        layers.append(seen.weights)

    model.look(ids, keep)
    return torch.stack(layers)
