"""What the numbers of `head-atlas` show."""

from __future__ import annotations

from statistics import fmean

from mha_course.experiments.head_atlas.pictures import FAR, REACH, SHAPES
from mha_course.experiments.head_atlas.sentences import SYNTAX
from mha_course.experiments.head_atlas.switches import MINILM, SMOLLM2
from mha_course.experiments.intervals import mean_interval
from mha_course.experiments.real_models import TITLES
from mha_course.experiments.result import NOT_MEASURED, Data, Finding
from mha_course.heads.patterns import LOCAL_WIDTH, MAJORITY, MARGIN


def findings(data: Data) -> dict[str, Finding]:
    """Say what the heads look at, how that goes with the layer, and what suffers without them."""
    models = data["models"]
    return {
        **_on_relations(models),
        **_on_labels(models),
        **_on_pictures(models),
        **_on_depth(models),
        **_on_exchanges(data["exchanges"]),
        **_on_switching_off(data),
    }


def beats_offset(of: Data, key: str = "confirmed") -> bool:
    """Whether the chosen heads beat the best fixed offset by the margin, on average over draws."""
    return fmean(of[key]) >= fmean(of["fixed offset"]) + MARGIN


def _on_relations(models: Data) -> dict[str, Finding]:
    relations = models[MINILM]["relations"]
    grammar = [relations[name] for name in SYNTAX]
    trained = sum(beats_offset(of) for of in grammar)
    shuffled_ = sum(beats_offset(of, "shuffled") for of in grammar)
    pronoun, in_list = (
        relations[name] for name in ("pronoun → antecedent", "pronoun → gender in a list")
    )
    layer, head = pronoun["head"]
    meaning = relations["word → same category"]
    rare = {name: of["patterns"]["rare token"] for name, of in models.items()}
    best_rare = "; ".join(
        f"{TITLES[name]} {_highest(of['heads']):.2f} against {of['even']:.2f} for even weights and "
        f"{of['fixed offset']:.2f} for a fixed offset"
        for name, of in rare.items()
    )
    has_rare = any(
        "rare token" in held
        for of in models.values()
        for row in of["patterns held"]
        for held in row
    )
    return {
        "grammar-in-single-heads": Finding(
            trained >= len(grammar) / 2 and shuffled_ == 0,
            f"for {trained} of {len(grammar)} relations of grammar, the head of MiniLM chosen on "
            f"some words beats the best fixed offset by {MARGIN} on other words; with shuffled "
            f"weights for {shuffled_}",
            needs_full=True,
        ),
        "pronouns-in-a-single-head": Finding(
            beats_offset(pronoun) and mean_interval(pronoun["prefers"]["confirmed"]).mean > 0.9,
            f"the chosen head of MiniLM gives most weight to the antecedent in "
            f"{fmean(pronoun['confirmed']):.2f} of sentences (best fixed offset "
            f"{fmean(pronoun['fixed offset']):.2f}), and more to it than to the other person in "
            f"{fmean(pronoun['prefers']['confirmed']):.2f} (guessing 0.50)",
        ),
        "pronoun-head-follows-gender": Finding(
            in_list["prefers"]["heads"][layer][head] > 0.9,
            f"in a list of words that refers to nobody, the same head {layer}.{head} prefers the "
            f"word of the pronoun's gender in {in_list['prefers']['heads'][layer][head]:.2f} of "
            "cases: what it does needs no sentence",
            needs_full=True,
        ),
        "meaning-in-a-single-head": Finding(
            beats_offset(meaning),
            f"the chosen head of MiniLM finds the word of the same category in "
            f"{fmean(meaning['confirmed']):.2f} of cases, best fixed offset "
            f"{fmean(meaning['fixed offset']):.2f}, shuffled weights "
            f"{fmean(meaning['shuffled']):.2f}",
        ),
        "rare-token-heads": Finding(
            has_rare,
            f"{'some' if has_rare else 'no'} head gives half of its weight to the rarest token and "
            f"beats the baselines; best scores: {best_rare}",
            needs_full=True,
        ),
    }


def _on_labels(models: Data) -> dict[str, Finding]:
    numbers = {name: of["held at"]["0.5"] for name, of in models.items()}
    told = "; ".join(
        f"{TITLES[name]}: {held[0]} of {sum(held)} heads have no pattern, {held[1]} have one, "
        f"{sum(held[2:])} more than one"
        for name, held in numbers.items()
    )
    agreement = {name: of["agreement"] for name, of in models.items()}
    return {
        "many-heads-without-a-pattern": Finding(
            all(held[0] >= sum(held) / 3 for held in numbers.values()), told, needs_full=True
        ),
        "some-heads-with-several": Finding(
            all(sum(held[2:]) > 0 for held in numbers.values()), told, needs_full=True
        ),
        "labels-stay": Finding(
            all(
                min(fmean(of["another half"]), fmean(of["code"])) > 0.75
                and mean_interval(of["code"]).low > max(of["by chance"])
                for of in agreement.values()
            ),
            "; ".join(
                f"{TITLES[name]}: of the labelled heads {fmean(of['another half']):.2f} keep their "
                f"label on other text of the same kind, {fmean(of['code']):.2f} on source code; "
                f"{fmean(of['by chance']):.2f} would by chance"
                for name, of in agreement.items()
            ),
            needs_full=True,
        ),
    }


def _on_pictures(models: Data) -> dict[str, Finding]:
    zones = {
        name: {zone: _count(of["reach"][zone]["heads"]) for zone in REACH}
        for name, of in models.items()
    }
    total = {name: sum(of["held at"]["0.5"]) for name, of in models.items()}
    clear = {
        name: sum(
            max(of["shapes"][shape][layer][head] for shape in SHAPES) >= MAJORITY
            for layer, row in enumerate(of["patterns held"])
            for head in range(len(row))
        )
        for name, of in models.items()
    }
    simple = {
        shape: sum(_count(of["shapes"][shape]) for of in models.values())
        for shape in ("diagonal", "shifted diagonal", "band", "columns")
    }
    links = {name: _highest(of["shapes"]["links"]) for name, of in models.items()}
    return {
        "some-near-some-far": Finding(
            all(of["near"] > 0 and of["far"] > 0 for of in zones.values()),
            "; ".join(
                f"{TITLES[name]}: {of['near']} of {total[name]} heads give half of their weight to "
                f"keys up to {LOCAL_WIDTH} tokens away, {of['far']} to keys more than {FAR} away, "
                f"{of['parked']} to special tokens"
                for name, of in zones.items()
            ),
        ),
        "simple-pictures-are-there": Finding(
            min(simple.values()) > 0,
            f"of {sum(total.values())} pictures, these have half of their weight in one shape: "
            + ", ".join(f"{shape} {count}" for shape, count in simple.items()),
            needs_full=True,
        ),
        "half-of-the-pictures-are-clear": Finding(
            all(clear[name] >= total[name] / 2 for name in models),
            "; ".join(
                f"{TITLES[name]}: {clear[name]} of {total[name]} pictures have half of their "
                "weight in one shape"
                for name in models
            ),
            needs_full=True,
        ),
        "sparse-links-fill-no-picture": Finding(
            max(links.values()) < MAJORITY,
            "; ".join(
                f"{TITLES[name]}: in the picture with the clearest links, these have "
                f"{highest:.2f} of the weight"
                for name, highest in links.items()
            ),
        ),
    }


def _on_depth(models: Data) -> dict[str, Finding]:
    depth = {name: of["depth"] for name, of in models.items()}

    def told(measure: str) -> str:
        return "; ".join(
            f"{TITLES[name]} {of[measure]['spearman']:.2f} [{of[measure]['low']:.2f}, "
            f"{of[measure]['high']:.2f}]"
            for name, of in depth.items()
        )

    specials = models[MINILM]["specials"]
    first, last = (max(map(fmean, specials[place])) for place in ("first", "last"))
    found = {
        "distance-grows-with-depth": Finding(
            all(of["distance"]["low"] > 0 for of in depth.values()),
            f"mean distance against the layer, Spearman: {told('distance')}",
        ),
        "near-falls-with-depth": Finding(
            all(of["near"]["high"] < 0 for of in depth.values()),
            f"weight on near tokens against the layer, Spearman: {told('near')}",
        ),
        "single-offsets-fall-with-depth": Finding(
            all(of["one offset"]["high"] < 0 for of in depth.values()),
            f"weight on the best single offset against the layer, Spearman: {told('one offset')}",
            needs_full=True,
        ),
        "grammar-falls-with-depth": Finding(
            all(of["grammar"]["high"] < 0 for of in depth.values()),
            "a head's best margin over a fixed offset in grammar against the layer, Spearman: "
            f"{told('grammar')}",
            needs_full=True,
        ),
        "sep-takes-little": Finding(
            last < 0.05 < first,
            f"in no layer of MiniLM does [SEP] get more than {last:.3f} of the attention on "
            f"average; [CLS] gets up to {first:.2f}",
        ),
        "thirds-as-said": Finding(
            all(_as_said(of) for of in depth.values()),
            "; ".join(
                f"{TITLES[name]}, by thirds of the depth: near {_thirds(of['near'])}, far "
                f"{_thirds(of['far'])}, grammar {_thirds(of['grammar'])}, meaning "
                f"{_thirds(of['meaning'])}"
                for name, of in depth.items()
            ),
            needs_full=True,
        ),
    }
    found["far-falls-in-smollm2"] = NOT_MEASURED
    if SMOLLM2 in depth:
        of = depth[SMOLLM2]
        found["far-falls-in-smollm2"] = Finding(
            of["far"]["high"] < 0 < of["parked"]["low"],
            f"SmolLM2: weight on far tokens against the layer, Spearman "
            f"{of['far']['spearman']:.2f}, and on the first token {of['parked']['spearman']:.2f}: "
            "the distance grows because more is parked",
            needs_full=True,
        )
    return found


def _as_said(of: Data) -> bool:
    """Early: most near, and best at grammar. In the middle: most far, and best at meaning."""
    return all(
        max(range(3), key=of[measure]["thirds"].__getitem__) == third
        for measure, third in (("near", 0), ("grammar", 0), ("far", 1), ("meaning", 1))
    )


def _thirds(of: Data) -> str:
    return " / ".join(f"{third:.2f}" for third in of["thirds"])


def _on_exchanges(exchanges: Data) -> dict[str, Finding]:
    needed = {name: needs_chosen(of) for name, of in exchanges.items()}
    firsts = sum(of["rank"] == 1 for of in exchanges.values())
    return {
        "looking-shows-in-doing": Finding(
            sum(needed.values()) >= len(needed) / 2,
            f"for {sum(needed.values())} of {len(needed)} relations, more of what the other word's "
            "change does needs the chosen head of MiniLM than the average head of its layer; "
            f"for {firsts} it is the first of its layer",
            needs_full=True,
        ),
        "one-head-carries-little": Finding(
            max(fmean(of["chosen"]) for of in exchanges.values()) < MAJORITY,
            "the most that one chosen head of MiniLM carries of the effect of one word on another "
            f"is {max(fmean(of['chosen']) for of in exchanges.values()):.2f}",
        ),
    }


def needs_chosen(of: Data) -> bool:
    """Whether the chosen head carries more than the others of its layer, beyond the draws."""
    more = [a - b for a, b in zip(of["chosen"], of["others"], strict=True)]
    return mean_interval(more).low > 0


def _on_switching_off(data: Data) -> dict[str, Finding]:
    names = (
        "induction-heads-carry-copying",
        "copying-is-shared",
        "previous-token-heads-feed-induction-heads",
        "dearest-for-copying-has-no-pattern",
    )
    if "switched off" not in data:
        return dict.fromkeys(names, NOT_MEASURED)
    off = data["switched off"]
    together = off["together"]

    def rise(name: str, part: str) -> list[float]:
        intact = together["nothing"][part]
        return [a - b for a, b in zip(together[name][part], intact, strict=True)]

    def beyond(name: str, part: str) -> bool:
        """Whether the set changes more than random heads do, beyond the draws."""
        both = zip(rise(name, part), rise(f"random, as many as {name}", part), strict=True)
        interval = mean_interval([a - b for a, b in both])
        return interval.low > 0 or interval.high < 0

    induction, previous = "induction heads", "previous token heads"
    sets = off["sets"]
    costs = off["each"]["copies"]
    single = max(costs[layer][head] for layer, head in sets[induction])
    dearest = max(
        ([layer, head] for layer, row in enumerate(costs) for head in range(len(row))),
        key=lambda place: costs[place[0]][place[1]],
    )
    held = data["models"][SMOLLM2]["patterns held"][dearest[0]][dearest[1]]
    return {
        names[0]: Finding(
            beyond(induction, "copies") and not beyond(induction, "new"),
            f"without the {len(sets[induction])} induction heads of SmolLM2, the loss on copied "
            f"tokens rises by {fmean(rise(induction, 'copies')):.2f} nats, without as many random "
            f"heads of the same layers by "
            f"{fmean(rise(f'random, as many as {induction}', 'copies')):.2f}; on new tokens by "
            f"{fmean(rise(induction, 'new')):.2f} and "
            f"{fmean(rise(f'random, as many as {induction}', 'new')):.2f}",
            needs_full=True,
        ),
        names[1]: Finding(
            single < fmean(rise(induction, "copies")) / 2,
            f"without the one induction head that matters most, the loss on copied tokens rises "
            f"by {single:.2f} nats, without all of them by "
            f"{fmean(rise(induction, 'copies')):.2f}",
            needs_full=True,
        ),
        names[2]: Finding(
            beyond(previous, "induction"),
            f"induction heads of SmolLM2 give {fmean(together['nothing']['induction']):.2f} of "
            f"their weight to what followed last time; without the {len(sets[previous])} "
            f"previous-token heads {fmean(together[previous]['induction']):.2f}, without as many "
            f"random heads of the same layers "
            f"{fmean(together[f'random, as many as {previous}']['induction']):.2f}",
            needs_full=True,
        ),
        names[3]: Finding(
            not held,
            f"the one head of SmolLM2 that copying needs most is {dearest[0]}.{dearest[1]}, "
            f"{costs[dearest[0]][dearest[1]]:.2f} nats; its patterns: {', '.join(held) or 'none'}",
            needs_full=True,
        ),
    }


def _highest(heads: list[list[float]]) -> float:
    return max(map(max, heads))


def _count(heads: list[list[float]]) -> int:
    """Heads that have at least half."""
    return sum(value >= MAJORITY for row in heads for value in row)
