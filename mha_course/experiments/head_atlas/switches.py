"""Switch heads off, and see whether what suffers is what they look at."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mha_course.experiments.head_atlas.answers import Spelled, spell
from mha_course.experiments.head_atlas.sentences import Link, Relation, Sentence, write_sentences
from mha_course.experiments.real_models import model
from mha_course.heads import TextModel
from mha_course.heads.gates import LayerHeads, gates_without
from mha_course.heads.patterns import find_targets, pattern_scores, repeated_tokens
from mha_course.heads.reuse import Rerun

MINILM, SMOLLM2 = "minilm", "smollm2"
PERIOD, REPEATS = 12, 3  # of the random tokens on which heads are switched off
CONTROLS = 2  # draws of random heads to compare with
EXCHANGED = 40  # sentences of each kind to draw from, when words are exchanged

Head = tuple[int, int]
"""Layer and head, both from 0."""


# ----------------------------------------------------------------- exchange a word, in MiniLM


def exchange(seed: int, heads: dict[Relation, Head], count: int) -> dict[str, Any]:
    """How much of what a word's change does to another word goes through each head of a layer.

    For each relation, the word that the query should attend to is exchanged for another one that
    stood in this place elsewhere. The output of the last layer at the query changes by some
    distance. With head i switched off it changes by less: 1 − (distance without i) / distance is
    the share that needs head i.
    """
    minilm = model(MINILM)
    draw = random.Random(seed)
    sentences = write_sentences("confirm", seed=seed, count=EXCHANGED)
    places: dict[Relation, list[tuple[Sentence, Link]]] = defaultdict(list)
    for sentence in sentences:
        for link in sentence.links:
            places[link.relation].append((sentence, link))
    found: dict[str, Any] = {}
    for relation, (layer, _) in heads.items():
        found[relation] = torch.stack(
            [
                needed_for_change(minilm, before, after, link.query, layer)
                for before, after, link in exchanges(minilm, places[relation], draw, count)
            ]
        )
    return found


def exchanges(
    model: TextModel, places: list[tuple[Sentence, Link]], draw: random.Random, count: int
) -> Iterator[tuple[Spelled, Spelled, Link]]:
    """Draw sentences, and exchange the key of a link for another word of as many tokens."""
    others = sorted({sentence.words[link.key] for sentence, link in places})
    for sentence, link in draw.sample(places, count):
        before = spell(model, sentence.words)
        while True:  # ends: most words are one token
            words = list(sentence.words)
            words[link.key] = draw.choice(others)
            after = spell(model, words)
            if words[link.key] not in sentence.words and torch.equal(after.word, before.word):
                break
        yield before, after, link


def needed_for_change(
    model: TextModel, before: Spelled, after: Spelled, query: int, layer: int
) -> Float[Tensor, " h"]:
    """Share of the change at word `query` that needs each head of a layer; see `exchange`."""
    heads = model.heads
    gates = torch.ones(1 + heads.num_heads, heads.num_layers, heads.num_heads)
    gates[1:, layer].fill_diagonal_(0)
    outputs = []
    for spelled in (before, after):
        with torch.no_grad():
            answer = model.run(spelled.ids.expand(len(gates), -1), gates=gates)
        outputs.append(answer.last_hidden_state[:, spelled.word == query].mean(1))
    distance = (outputs[0] - outputs[1]).norm(dim=-1)  # [1 + h]
    needed: Tensor = 1 - distance[1:] / distance[0]
    return needed


# ---------------------------------------------------------------- copy random tokens, in SmolLM2


def token_losses(
    ids: Int[Tensor, " T"], logits: Float[Tensor, "K T vocabulary"]
) -> Float[Tensor, "K T-1"]:
    """Loss for each token but the first."""
    log_shares = logits[:, :-1].log_softmax(-1)
    wanted = ids[1:, None].expand(len(logits), -1, -1)
    return -log_shares.gather(-1, wanted).squeeze(-1)


def repeated_ids(seed: int) -> Int[Tensor, " T"]:
    """A start token, then random ones, three times over."""
    tokenizer = model(SMOLLM2).tokenizer
    special = set(tokenizer.all_special_ids)
    allowed = [i for i in range(len(tokenizer)) if i not in special]
    texts = repeated_tokens(
        allowed,
        seed=10_000 + seed,  # not those on which heads got their labels
        bos=tokenizer.bos_token_id,
        period=PERIOD,
        repeats=REPEATS,
        samples=1,
    )
    first: Tensor = texts[0]
    return first


def new_and_copies(losses: Float[Tensor, "K T-1"]) -> dict[str, Float[Tensor, " K"]]:
    """Loss on tokens that are new, and on those that can be copied.

    The first token of the second round cannot: nothing says that there is a second round.
    """
    return {"new": losses[:, :PERIOD].mean(-1), "copies": losses[:, PERIOD + 1 :].mean(-1)}


def without_each(seed: int) -> dict[str, Tensor]:
    """Change of the losses without each head of SmolLM2."""
    smollm2 = model(SMOLLM2)
    heads = smollm2.heads
    ids = repeated_ids(seed)
    changes: dict[str, list[Tensor]] = defaultdict(list)
    with torch.no_grad():
        rerun = Rerun(smollm2, ids[None])
        intact = new_and_copies(token_losses(ids, smollm2.run(ids[None]).logits))
        for layer in range(heads.num_layers):
            gates = torch.ones(heads.num_heads, heads.num_layers, heads.num_heads)
            gates[:, layer].fill_diagonal_(0)
            without = new_and_copies(token_losses(ids, rerun.from_layer(layer, gates).logits))
            for name, losses in without.items():
                changes[name].append(losses - intact[name])
    return {name: torch.stack(layers) for name, layers in changes.items()}


def without_sets(seed: int, sets: dict[str, list[Head]], watched: list[Head]) -> dict[str, Any]:
    """Losses, and what induction heads look at, without sets of heads, and without random ones.

    Args:
        seed: Draws the tokens, and the random heads: as many as in the set, in the same layers,
            and none of any set.
        sets: Heads to switch off together.
        watched: Heads whose induction score is taken.
    """
    ids = repeated_ids(seed)
    draw = random.Random(seed)
    taken = {head for heads in sets.values() for head in heads}
    num_heads = model(SMOLLM2).heads.num_heads
    found: dict[str, Any] = {"nothing": [switched_off(ids, [], watched)]}
    for name, heads in sets.items():
        found[name] = [switched_off(ids, heads, watched)]
        found[f"random, as many as {name}"] = [
            switched_off(ids, other_heads(heads, taken, draw, num_heads), watched)
            for _ in range(CONTROLS)
        ]
    return found


def other_heads(
    heads: list[Head], taken: set[Head], draw: random.Random, num_heads: int
) -> list[Head]:
    """Draw other heads of the same layers, as many in each."""
    found: list[Head] = []
    for layer, number in sorted(Counter(layer for layer, _ in heads).items()):
        free = [i for i in range(num_heads) if (layer, i) not in taken]
        found += [(layer, i) for i in draw.sample(free, min(number, len(free)))]
    return found


def switched_off(ids: Tensor, closed: list[Head], watched: list[Head]) -> dict[str, float]:
    """Losses without some heads, and the mean induction score of the watched ones left open."""
    smollm2 = model(SMOLLM2)
    gates = gates_without(smollm2.heads.num_layers, smollm2.heads.num_heads, closed)
    targets = find_targets(ids, is_causal=True)
    scores: list[Tensor] = []

    def look(_: int, seen: LayerHeads) -> None:
        assert seen.weights is not None  # asked for
        scores.append(pattern_scores(seen.weights[0], targets)["induction"].score)

    with torch.no_grad():
        logits = smollm2.run(ids[None], gates=gates, watch=look, weights=True).logits
    losses = {name: part.item() for name, part in new_and_copies(token_losses(ids, logits)).items()}
    open_ = [scores[layer][head].item() for layer, head in watched if (layer, head) not in closed]
    return {**losses, "induction": sum(open_) / len(open_) if open_ else 0.0}
