"""What do the heads of two real models look at, and does it show in what they do?

All 72 heads of MiniLM (an encoder, 6 layers) and all 270 of SmolLM2 (a decoder, 30 layers), five
ways:

- **Patterns** over two kinds of text, Python's reference and Python source, each beside its
  baselines; whether a head keeps its label on other text; how far and how evenly it looks.
- **Shapes**: what the picture of a head looks like to somebody who cannot read the tokens.
- **Relations** of grammar, pronouns and meaning, on sentences whose structure we made. A head
  answers with the other word that it gives most weight to, as in Clark et al. 2019. The best head
  is chosen on one set of words and scored on another: among 72 heads, some look good by chance.
  Three things stand beside it: the best fixed offset, chosen on the very sentences that are
  scored; the best head of a model whose weights were shuffled; and for pronouns the choice between
  two people, ½ for one who guesses.
- **Depth**: each of these against the layer.
- **Interventions**: a head is switched off, and we see whether what suffers is what it looks at.

Seeds draw the chunks of text, the sentences, the random tokens, the shuffled weights, and the heads
to compare with. The heads themselves are all there are: no seed draws them.

What is not looked at: what becomes of the fetched values, except where heads are switched off.
"""

from __future__ import annotations

import argparse
import inspect
from collections import Counter, defaultdict
from collections.abc import Sequence
from copy import deepcopy
from functools import cache, lru_cache
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mha_course.experiments.head_atlas.answers import all_weights, ask, spell
from mha_course.experiments.head_atlas.pictures import REACH, SHAPES, reach, shapes
from mha_course.experiments.head_atlas.sentences import SYNTAX, Part, write_sentences
from mha_course.experiments.head_atlas.statements import findings as findings
from mha_course.experiments.head_atlas.switches import (
    MINILM,
    SMOLLM2,
    Head,
    exchange,
    repeated_ids,
    without_each,
    without_sets,
)
from mha_course.experiments.ranks import rank_correlation
from mha_course.experiments.real_models import model, text
from mha_course.experiments.result import Data
from mha_course.experiments.run import Run
from mha_course.heads import TextModel
from mha_course.heads.gates import LayerHeads
from mha_course.heads.pattern_table import PatternTable, pattern_table
from mha_course.heads.patterns import (
    MARGIN,
    POSITIONAL,
    Pattern,
    Tally,
    add_up,
    all_labels,
    labels,
    visible_keys,
)

QUESTION = "What do the heads of two real models look at, and does it show in what they do?"
CLAIMS = ("C05", "C08", "C10", "C15", "C19", "C25", "C34")
SEEDS, QUICK_SEEDS = 6, 2

CHUNK = 128  # tokens
RESAMPLES = 1000

QUICK_EXCHANGES = ("preposition → object", "pronoun → antecedent")

PROFILE = ("distance", "entropy", "first_token")


class _Size(NamedTuple):
    """How much to look at, per seed."""

    chunks: int  # in each half of the reference, and in source code
    sentences: int  # of each kind, for each part
    exchanges: int  # of a word in a sentence, for each relation


_FULL, _QUICK = _Size(5, 30, 6), _Size(2, 10, 2)


# ------------------------------------------------------------------------------- jobs


def shuffled(model: TextModel, seed: int) -> TextModel:
    """Return a copy in which the numbers inside each matrix have changed places.

    It has the sizes of a trained model, and nothing that it learnt.
    """
    network = deepcopy(model.model)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim > 1:
                order = torch.randperm(parameter.numel(), generator=generator)
                parameter.copy_(parameter.flatten()[order].view_as(parameter))
    return TextModel(f"{model.name}, shuffled", model.tokenizer, network)


@cache
def _chunks(name: str, kind: str) -> Int[Tensor, "chunks T"]:
    """All chunks of the reference, or of source code from the same library."""
    source = text() if kind == "reference" else inspect.getsource(argparse)
    return model(name).chunks(source, CHUNK)


def _look_at_texts(name: str, seed: int, count: int) -> dict[str, Any]:
    """Patterns over two halves of a draw from the reference, and over source code."""
    generator = torch.Generator().manual_seed(seed)
    parts: dict[str, Tensor] = {}
    for kind, number in (("reference", 2 * count), ("code", count)):
        all_chunks = _chunks(name, kind)
        drawn = all_chunks[torch.randperm(len(all_chunks), generator=generator)[:number]]
        for letter, start in zip("ab", range(0, number, count), strict=False):
            parts[f"{kind} {letter}"] = drawn[start : start + count]
    tables = {part: pattern_table(model(name), ids, seed=seed) for part, ids in parts.items()}
    return {
        "tables": {part: _packed(table) for part, table in tables.items()},
        "pictures": _pictures(model(name), parts["reference a"]),
    }


def _packed(table: PatternTable) -> dict[str, Any]:
    """Plain data of a table: sums, which add up over draws."""
    profile = {
        key: {
            "total": torch.stack([getattr(layer, key).total for layer in table.profiles]),
            "even": getattr(table.profiles[0], key).uniform_total,
            "queries": getattr(table.profiles[0], key).queries,
        }
        for key in PROFILE
    }
    scores = {
        name: {
            "total": torch.stack([layer[name].total for layer in table.scores]),
            "even": tally.uniform_total,
            "queries": tally.queries,
            "hits": dict(tally.offset_hits),
        }
        for name, tally in table.scores[0].items()
    }
    return {"profile": profile, "scores": scores}


def _tallies(packed: Sequence[dict[str, Any]]) -> list[dict[Pattern, Tally]]:
    """Add up tables: the scores of each layer."""
    layers = len(packed[0]["scores"]["self"]["total"])
    return [
        add_up(
            {
                name: Tally(of["total"][layer], of["even"], of["queries"], Counter(of["hits"]))
                for name, of in table["scores"].items()
            }
            for table in packed
        )
        for layer in range(layers)
    ]


def _pictures(model: TextModel, chunks: Int[Tensor, "chunks T"]) -> dict[str, Any]:
    """Reach, shapes and weight on each special token of every head, as means over the chunks."""
    before, after = model.specials()
    special = torch.zeros(chunks.shape[1], dtype=torch.bool)
    special[0] = True  # a decoder without special tokens parks its attention on the first one
    special[len(special) - len(after) :] = True
    places = {"first": 0, "last": -1} if before and after else {"first": 0}
    found: dict[str, list[Tensor]] = defaultdict(list)

    def look(_: int, seen: LayerHeads) -> None:
        assert seen.weights is not None  # asked for
        weights = seen.weights[0]
        found["reach"].append(reach(weights, special))
        for name, values in shapes(weights, is_causal=model.is_causal).items():
            found[name].append(values)
        for name, place in places.items():
            found[f"on the {name} token"].append(weights[..., place].mean(-1))

    for ids in chunks:
        model.look(ids[None], look)
    layers = model.heads.num_layers
    means = {
        name: torch.stack([torch.stack(all_[i::layers]).mean(0) for i in range(layers)])
        for name, all_ in found.items()
    }
    tokens = chunks.shape[1]
    even = visible_keys(tokens, model.is_causal).double()
    even = even / even.sum(1, keepdim=True)
    return {**means, "even reach": reach(even[None], special)[0]}


@lru_cache(maxsize=1)  # it takes longer than the questions; more than one takes much memory
def _shuffled(name: str, seed: int) -> TextModel:
    return shuffled(model(name), seed)


def _ask(name: str, seed: int, part: Part, count: int, shuffle: bool) -> dict[str, Any]:
    """Right answers of all heads to the sentences of one draw."""
    asked = _shuffled(name, seed) if shuffle else model(name)
    found: dict[str, Any] = ask(asked, write_sentences(part, seed=seed, count=count)).packed()
    return found


# ------------------------------------------------------------------------------- examples


def _examples(heads: dict[str, tuple[str, int, int]]) -> dict[str, Any]:
    """One small map for each kind of picture: the model, a head, the tokens, its weights."""
    found = {}
    for kind, (name, layer, head) in heads.items():
        chosen = model(name)
        ids = repeated_ids(0) if kind == "induction" else spell(chosen, EXAMPLES[kind].split()).ids
        weights = all_weights(chosen, ids[None])[layer, 0, head]
        found[kind] = {
            "model": name,
            "head": [layer, head],
            "tokens": chosen.tokens(ids),
            "weights": [[round(weight, 3) for weight in row] for row in weights.tolist()],
        }
    return found


_SENTENCE = "the quiet doctor near the river sold his old red boat to the young queen ."
_LIST = "apple banana lemon dog horse sheep piano violin guitar monday friday sunday"
EXAMPLES = {
    "diagonal": _SENTENCE,
    "shifted diagonal": _SENTENCE,
    "band": _SENTENCE,
    "column": _SENTENCE,
    "links": _SENTENCE,
    "clusters": _LIST,
}
"""What is looked at for each kind of picture."""
CLEAREST: dict[str, tuple[str, Pattern]] = {
    "diagonal": (SMOLLM2, "self"),
    "shifted diagonal": (MINILM, "previous token"),
    "band": (MINILM, "local"),
    "column": (MINILM, "first token"),
    "induction": (SMOLLM2, "induction"),
}
"""Pattern that makes the picture, and a model that has it."""


# -------------------------------------------------------------------------- the experiment


def measure(run: Run) -> Data:
    """Look at all heads; a quick run leaves SmolLM2 out, which takes long to load."""
    size = _QUICK if run.quick else _FULL
    names = (MINILM,) if run.quick else (MINILM, SMOLLM2)
    data: Data = {"models": {}}
    pooled: dict[str, Any] = {}
    for name in names:
        texts = run.map(
            f"texts, {name}",
            _look_at_texts,
            {f"texts {name} {seed}": (name, seed, size.chunks) for seed in run.seeds},
        )
        asked = run.map(
            f"sentences, {name}",
            _ask,
            {
                f"sentences {name} {seed} {part} {shuffle}": (
                    name, seed, part, size.sentences, shuffle
                )
                for seed in run.seeds
                for part in ("find", "confirm")
                for shuffle in (False, True)
            },
        )  # fmt: skip
        of_text = _of_texts(list(texts.values()))
        relations = _of_relations(
            [
                {
                    (part, shuffle): asked[f"sentences {name} {seed} {part} {shuffle}"]
                    for part in ("find", "confirm")
                    for shuffle in (False, True)
                }
                for seed in run.seeds
            ]
        )
        pooled[name] = (of_text, relations)
        data["models"][name] = {
            **of_text,
            "relations": relations,
            "depth": _depth(of_text, relations),
        }
    relations = data["models"][MINILM]["relations"]
    heads = {
        relation: tuple(of["head"])
        for relation, of in relations.items()
        if not run.quick or relation in QUICK_EXCHANGES
    }
    exchanged = run.map(
        "exchanges", exchange, {f"exchange {s}": (s, heads, size.exchanges) for s in run.seeds}
    )
    data["exchanges"] = _of_exchanges(list(exchanged.values()), heads)
    if not run.quick:
        data["switched off"] = _switch_off(run, data["models"][SMOLLM2])
    chosen = _for_examples(data["models"])
    data["examples"] = run.step("examples", lambda: _examples(chosen))
    return data


def _switch_off(run: Run, of: Data) -> Data:
    sets = {
        f"{name} heads": [
            (layer, head)
            for layer, row in enumerate(of["patterns held"])
            for head, held in enumerate(row)
            if name in held
        ]
        for name in ("induction", "previous token")
    }
    each = run.map("heads one by one", without_each, {f"each {s}": (s,) for s in run.seeds})
    together = run.map(
        "sets of heads",
        without_sets,
        {f"sets {seed}": (seed, sets, sets["induction heads"]) for seed in run.seeds},
    )
    return {
        "sets": sets,
        "each": {
            part: torch.stack([changes[part] for changes in each.values()]).mean(0).tolist()
            for part in ("new", "copies")
        },
        "together": {
            name: {
                key: [
                    sum(one[key] for one in seed[name]) / len(seed[name])
                    for seed in together.values()
                ]
                for key in ("new", "copies", "induction")
            }
            for name in next(iter(together.values()))
        },
    }


def _of_texts(seeds: Sequence[dict[str, Any]]) -> Data:
    """Patterns, profiles and pictures over all draws, and how well labels agree."""
    tables = [seed["tables"] for seed in seeds]
    together = _tallies([table[part] for table in tables for part in table if "code" not in part])
    first = together[0]
    held = [[list(names) for names in all_labels(layer)] for layer in together]
    profile: Data = {}
    for key in PROFILE:
        parts = [table[part]["profile"][key] for table in tables for part in table]
        queries = sum(part["queries"] for part in parts)
        profile[key] = {
            "heads": (sum(part["total"] for part in parts) / queries).tolist(),
            "even": sum(part["even"] for part in parts) / queries,
        }
    pictures: dict[str, Tensor] = {
        key: torch.stack([seed["pictures"][key] for seed in seeds]).mean(0)
        for key in seeds[0]["pictures"]
    }
    return {
        "patterns": {
            name: {
                "heads": torch.stack([layer[name].score for layer in together]).tolist(),
                "even": tally.uniform,
                "fixed offset": tally.fixed_offset if tally.offset_hits else None,
                "queries": tally.queries,
            }
            for name, tally in first.items()
            if tally.queries  # a decoder has no next token
        },
        "patterns held": held,
        "held at": {str(at): _held_at(together, at) for at in (0.3, 0.5, 0.7, 0.9)},
        "agreement": _agreement(tables),
        "profile": profile,
        "reach": {
            name: {
                "heads": pictures["reach"][..., i].tolist(),
                "even": pictures["even reach"][i].item(),
            }
            for i, name in enumerate(REACH)
        },
        "shapes": {name: pictures[name].tolist() for name in SHAPES},
        "specials": {
            place: pictures[f"on the {place} token"].tolist()
            for place in ("first", "last")
            if f"on the {place} token" in pictures
        },
    }


def _held_at(layers: Sequence[dict[Pattern, Tally]], majority: float) -> list[int]:
    """Heads with no, one, two, … patterns, if a pattern takes so much of the weight."""
    numbers: Counter[int] = Counter()
    for scores in layers:
        clear = torch.stack([clears(name, tally, majority) for name, tally in scores.items()])
        numbers.update(clear.sum(0).tolist())
    return [numbers[i] for i in range(max(numbers) + 1)]


def clears(name: Pattern, tally: Tally, majority: float) -> Bool[Tensor, " h"]:
    """Which heads have a pattern, with another bar than `all_labels` has."""
    least = majority
    if name != "broad":
        least = max(least, tally.uniform + MARGIN)
        if name not in POSITIONAL and tally.offset_hits:
            least = max(least, tally.fixed_offset + MARGIN)
    return tally.score >= least


def _agreement(tables: Sequence[dict[str, Any]]) -> Data:
    """Of the heads with a label in the first half, how many keep it elsewhere: one share per draw.

    By chance: if the labels of the other text were dealt out anew among all heads.
    """
    found: Data = {"another half": [], "code": [], "by chance": [], "all heads, another half": []}
    for table in tables:
        named = {
            part: [label for layer in _tallies([packed]) for label in labels(layer)]
            for part, packed in table.items()
        }
        here = named["reference a"]
        some = [i for i, label in enumerate(here) if label != "none"]
        for key, part in (("another half", "reference b"), ("code", "code a")):
            found[key].append(sum(named[part][i] == here[i] for i in some) / len(some))
        there = named["reference b"]
        number = Counter(there)
        found["by chance"].append(sum(number[here[i]] for i in some) / len(there) / len(some))
        found["all heads, another half"].append(
            sum(a == b for a, b in zip(here, there, strict=True)) / len(here)
        )
    return found


def _of_relations(seeds: Sequence[dict[tuple[str, bool], Any]]) -> Data:
    """For each relation: all heads over all draws, and the chosen head of each draw."""
    found: Data = {}
    for relation in seeds[0]["find", False]:
        of: Data = {"confirmed": [], "fixed offset": [], "shuffled": [], "chosen": []}
        for seed in seeds:
            for shuffle, key in ((False, "confirmed"), (True, "shuffled")):
                best = int(seed["find", shuffle][relation]["right"].argmax())
                right = seed["confirm", shuffle][relation]["right"]
                of[key].append(right.flatten()[best].item())
                if not shuffle:
                    of["chosen"].append(list(divmod(best, right.shape[1])))
            of["fixed offset"].append(seed["confirm", False][relation]["offset"])
        find, confirm = (
            torch.stack([seed[part, False][relation]["right"] for seed in seeds]).mean(0)
            for part in ("find", "confirm")
        )
        best = int(find.argmax())
        of["head"] = list(divmod(best, find.shape[1]))
        of["heads"] = confirm.tolist()
        of["beat offset"] = {
            key: [
                int((one["right"] >= one["offset"] + MARGIN).sum())
                for one in (seed["confirm", shuffle][relation] for seed in seeds)
            ]
            for key, shuffle in (("trained", False), ("shuffled", True))
        }
        of["asked"] = sum(seed["confirm", False][relation]["asked"] for seed in seeds)
        if any(seed["find", False][relation]["prefers"].any() for seed in seeds):
            of["prefers"] = _preferences(seeds, relation)
        found[relation] = of
    return found


def _preferences(seeds: Sequence[dict[tuple[str, bool], Any]], relation: str) -> Data:
    """Choice between two people: all heads, and the head chosen on one set of words."""
    confirmed: dict[bool, list[float]] = {False: [], True: []}
    for seed in seeds:
        for shuffle, values in confirmed.items():
            best = int(seed["find", shuffle][relation]["prefers"].argmax())
            values.append(seed["confirm", shuffle][relation]["prefers"].flatten()[best].item())
    find, confirm = (
        torch.stack([seed[part, False][relation]["prefers"] for seed in seeds]).mean(0)
        for part in ("find", "confirm")
    )
    return {
        "heads": confirm.tolist(),
        "head": list(divmod(int(find.argmax()), find.shape[1])),
        "confirmed": confirmed[False],
        "shuffled": confirmed[True],
    }


def _of_exchanges(seeds: Sequence[dict[str, Tensor]], heads: dict[Any, Any]) -> Data:
    """Share of a change that needs the chosen head, beside the other heads of its layer."""
    found: Data = {}
    for relation, (layer, head) in heads.items():
        means = torch.stack([seed[relation].mean(0) for seed in seeds])  # [seeds, h]
        others = torch.cat([means[:, :head], means[:, head + 1 :]], dim=1)
        found[relation] = {
            "head": [layer, head],
            "chosen": means[:, head].tolist(),
            "others": others.mean(1).tolist(),
            "rank": 1 + int((others.mean(0) > means[:, head].mean()).sum()),
        }
    return found


def _depth(of_text: Data, relations: Data) -> Data:
    """Each measure against the layer."""
    margins = {
        name: torch.tensor(of["heads"]) - sum(of["fixed offset"]) / len(of["fixed offset"])
        for name, of in relations.items()
    }
    measures = {
        "distance": torch.tensor(of_text["profile"]["distance"]["heads"]),
        "entropy": torch.tensor(of_text["profile"]["entropy"]["heads"]),
        **{name: torch.tensor(of["heads"]) for name, of in of_text["reach"].items()},
        "one offset": torch.maximum(
            *(torch.tensor(of_text["shapes"][name]) for name in ("diagonal", "shifted diagonal"))
        ),
        "grammar": torch.stack([margins[name] for name in SYNTAX if name in margins]).amax(0),
        "pronouns": torch.tensor(relations["pronoun → antecedent"]["prefers"]["heads"]),
        "meaning": margins["word → same category"],
    }
    return {name: against_depth(values) for name, values in measures.items()}


def against_depth(values: Float[Tensor, "layers h"]) -> Data:
    """How a measure goes with the layer: Spearman's correlation, and means of thirds of the depth.

    The interval is that of heads drawn with replacement: it says how much hangs on single heads.
    Heads of one layer are no independent draws, so it is too narrow for other models.
    """
    layers, heads = values.shape
    layer = torch.arange(layers).repeat_interleave(heads)
    flat = values.flatten()
    generator = torch.Generator().manual_seed(0)
    drawn = [torch.randint(len(flat), (len(flat),), generator=generator) for _ in range(RESAMPLES)]
    resampled = torch.tensor([rank_correlation(layer[i], flat[i]) for i in drawn])
    low, high = resampled.quantile(torch.tensor([0.025, 0.975], dtype=resampled.dtype)).tolist()
    return {
        "spearman": rank_correlation(layer, flat),
        "low": low,
        "high": high,
        "layers": values.mean(1).tolist(),
        "thirds": [third.mean().item() for third in values.tensor_split(3)],
    }


def _for_examples(models: Data) -> dict[str, tuple[str, int, int]]:
    """The clearest head for each kind of picture, of whichever model has it."""
    found = {}
    for kind, (name, pattern) in CLEAREST.items():
        if name in models:
            scores = torch.tensor(models[name]["patterns"][pattern]["heads"])
            has = [[p == [pattern] for p in row] for row in models[name]["patterns held"]]
            only = torch.tensor(has)  # heads that have this pattern alone, if there are any
            found[kind] = (name, *_best(scores * only if only.any() else scores))
    for kind, relation in (("links", "determiner → noun"), ("clusters", "word → same category")):
        heads = models[MINILM]["relations"][relation]["heads"]
        found[kind] = (MINILM, *_best(torch.tensor(heads)))
    return found


def _best(values: Float[Tensor, "layers h"]) -> Head:
    layer, head = divmod(int(values.argmax()), values.shape[1])
    return layer, head
