"""Made-up sentences whose structure is known, because we put it there.

A head that always looks two words back finds many objects of verbs: most English objects stand two
words after their verb. To tell such a head from one that knows the relation, the distance must
vary. So each noun gets 0 to 3 adjectives, determiners come and go, and words stand between a
subject and its verb.

Two sets of sentences share the templates and the small words (determiners, prepositions, pronouns)
and no noun, verb, adjective or adverb: a head is chosen on the first and scored on the second.

Links point from a query word to the word that it should attend to:

| relation | *query* and **key** |
|---|---|
| determiner, noun; both ways | *every* big old **dog** |
| object, verb; both ways | **chased** every big old *dog* |
| subject, verb; both ways | the *dog* near the river quietly **chased** |
| object, preposition; both ways | **near** two big *rivers* |
| possessor, noun; both ways | *john's* big old **dog** |
| pronoun → antecedent | the **queen** met the old king because *she* was late |
| pronoun → gender in a list | king, table, **queen**, river, *she* |
| word → same category | *apple*, dog, **pear**, cow |

The list with a pronoun refers to nobody. A head that finds the queen there as well follows gender,
which is a property of two words, and need not know what the sentence says.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, get_args

from mha_course import _checks

Part = Literal["find", "confirm"]
"""Which words are used; the two share none but small ones."""

Relation = Literal[
    "determiner → noun",
    "noun → determiner",
    "object → verb",
    "verb → object",
    "subject → verb",
    "verb → subject",
    "object → preposition",
    "preposition → object",
    "possessor → noun",
    "noun → possessor",
    "pronoun → antecedent",
    "pronoun → gender in a list",
    "word → same category",
]
RELATIONS: tuple[Relation, ...] = get_args(Relation)
SYNTAX: tuple[Relation, ...] = RELATIONS[:10]
"""Relations of grammar; the others need to know what a pronoun stands for, or what a word means."""

MOST_ADJECTIVES = 3
PAIRS = 4  # of words in a list; each pair is of one category


class Link(NamedTuple):
    """A word, and the word that it should attend to, as positions in the sentence.

    Attributes:
        relation: Between the two.
        query: Position of the word that attends.
        key: Position of the word that it should attend to.
        rival: Position of another word of the same kind that it should not attend to, if any.
    """

    relation: Relation
    query: int
    key: int
    rival: int | None = None


class Sentence(NamedTuple):
    """Words and the links between them."""

    words: tuple[str, ...]
    links: tuple[Link, ...]


class _Words(NamedTuple):
    nouns: tuple[str, ...]
    verbs: tuple[str, ...]
    adjectives: tuple[str, ...]
    adverbs: tuple[str, ...]
    names: tuple[str, ...]
    couples: tuple[tuple[str, str], ...]  # a word for a man, and one for a woman
    meetings: tuple[str, ...]  # what people do to each other
    moods: tuple[str, ...]
    categories: tuple[tuple[str, ...], ...]


def _split(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_WORDS: dict[Part, _Words] = {
    "find": _Words(
        nouns=_split("dog house river teacher car baker table ship farmer bridge artist horse"),
        verbs=_split("chased found painted watched bought carried followed moved"),
        adjectives=_split("big old red quiet strange young heavy famous cheap white gentle weak"),
        adverbs=_split("quickly often secretly finally"),
        names=_split("john anna peter lucy"),
        couples=(("king", "queen"), ("father", "mother"), ("boy", "girl"), ("uncle", "aunt")),
        meetings=_split("met called thanked helped"),
        moods=_split("late tired happy angry"),
        categories=(
            _split("apple banana lemon"),
            _split("dog horse sheep"),
            _split("red blue yellow"),
            _split("piano violin guitar"),
            _split("france italy china"),
            _split("car train bus"),
        ),
    ),
    "confirm": _Words(
        nouns=_split("cat tower lake student truck lawyer chair boat soldier road writer bird"),
        verbs=_split("lost wanted visited sold saved cleaned burned noticed"),
        adjectives=_split("small new green loud rare tall dark rich black cold clever strong"),
        adverbs=_split("slowly always quietly suddenly"),
        names=_split("mark sarah david emma"),
        couples=(
            ("prince", "princess"),
            ("man", "woman"),
            ("brother", "sister"),
            ("husband", "wife"),
        ),
        meetings=_split("saw greeted trusted warned"),
        moods=_split("early sad ready hungry"),
        categories=(
            _split("bread cheese butter"),
            _split("wolf rabbit lion"),
            _split("monday friday sunday"),
            _split("doctor lawyer nurse"),
            _split("shirt jacket hat"),
            _split("gold silver iron"),
        ),
    ),
}
_ONE = _split("the this that every one")  # determiners of one thing
_MANY = _split("the these those some two many")
_POSSESSIVES = _split("my his her their our")
_PREPOSITIONS = _split("near behind under with without beside")
_OPENINGS = ((), ("yesterday",), ("of", "course"), ("once", "or", "twice"))
_LINKERS = _split("because when after although")


class _Writer:
    """A sentence as it grows, and the links of what has been written."""

    def __init__(self, words: _Words, draw: random.Random) -> None:
        self._of, self._draw = words, draw
        self.words: list[str] = []
        self.links: list[Link] = []

    def write(self, *words: str) -> int:
        """Add words; return the position of the last one."""
        self.words += words
        return len(self.words) - 1

    def link(self, name: str, first: int, second: int) -> None:
        """Link two words both ways: name is "a, b", for a → b from first to second, and back."""
        a, b = name.split(", ")
        for query, key, relation in ((first, second, f"{a} → {b}"), (second, first, f"{b} → {a}")):
            assert relation in RELATIONS
            self.links.append(Link(relation, query, key))

    def one_of(self, words: Sequence[str]) -> str:
        """Draw a word that the sentence does not have yet."""
        return self._draw.choice([word for word in words if word not in self.words])

    def adjectives(self) -> None:
        """Write 0 to 3 different adjectives."""
        for _ in range(self._draw.randint(0, MOST_ADJECTIVES)):
            self.write(self.one_of(self._of.adjectives))

    def thing(self) -> int:
        """Write a noun with what belongs to it; return its position."""
        kind = self._draw.choice(("bare", "determiner", "possessor"))
        plural = kind == "bare" or self._draw.random() < 0.5
        before = None
        if kind == "determiner":
            before = self.write(self._draw.choice(_MANY if plural else _ONE))
        elif kind == "possessor":
            owner = f"{self.one_of(self._of.names)}'s"
            before = self.write(self._draw.choice((owner, self._draw.choice(_POSSESSIVES))))
        self.adjectives()
        free = [noun for noun in self._of.nouns if not {noun, f"{noun}s"} & set(self.words)]
        noun = self.write(self._draw.choice(free) + "s" * plural)
        if before is not None:
            self.link(f"{kind}, noun", before, noun)
        return noun


def syntax_sentence(part: Part, draw: random.Random) -> Sentence:
    """Write a sentence with a subject, a verb, an object, and a preposition with its object.

    >>> print(*syntax_sentence("find", random.Random(2)).words)
    bakers bought one artist beside gentle heavy white tables .
    """
    words = _WORDS[part]
    writer = _Writer(words, draw)
    writer.write(*draw.choice(_OPENINGS))
    subject = writer.thing()
    if draw.random() < 0.5:
        preposition = writer.write(draw.choice(_PREPOSITIONS))
        writer.link("object, preposition", writer.thing(), preposition)
    if draw.random() < 0.5:
        writer.write(draw.choice(words.adverbs))
    verb = writer.write(draw.choice(words.verbs))
    writer.link("subject, verb", subject, verb)
    writer.link("object, verb", writer.thing(), verb)
    preposition = writer.write(writer.one_of(_PREPOSITIONS))
    writer.link("object, preposition", writer.thing(), preposition)
    writer.write(".")
    return Sentence(tuple(writer.words), tuple(writer.links))


def pronoun_sentence(part: Part, draw: random.Random) -> Sentence:
    """Write a sentence in which gender says which of two people a pronoun stands for.

    Each of the two is the first one, and is meant, half of the time: neither place, nor distance,
    nor one gender gives it away.

    >>> print(*pronoun_sentence("find", random.Random(0)).words)
    once or twice the cheap famous aunt helped the white young uncle after she was tired .
    """
    words = _WORDS[part]
    writer = _Writer(words, draw)
    writer.write(*draw.choice(_OPENINGS))
    couple = list(draw.choice(words.couples))
    pronouns = dict(zip(couple, ("he", "she"), strict=True))
    draw.shuffle(couple)
    places = {}
    for number, person in enumerate(couple):
        writer.write("the")
        writer.adjectives()
        places[person] = writer.write(person)
        if number == 0:
            writer.write(draw.choice(words.meetings))
    meant, other = draw.sample(couple, 2)
    pronoun = writer.write(draw.choice(_LINKERS), pronouns[meant])
    writer.write("was", draw.choice(words.moods), ".")
    link = Link("pronoun → antecedent", pronoun, places[meant], places[other])
    return Sentence(tuple(writer.words), (link,))


def word_list(part: Part, draw: random.Random) -> Sentence:
    """Write a list of words, in random order, in which each has one partner of its category.

    >>> print(*word_list("find", random.Random(0)).words)
    lemon , banana , bus , sheep , guitar , violin , dog , train .
    """
    categories = draw.sample(_WORDS[part].categories, PAIRS)
    members = [(word, i) for i, c in enumerate(categories) for word in draw.sample(c, 2)]
    draw.shuffle(members)
    words = [token for word, _ in members for token in (word, ",")]
    words[-1] = "."
    kinds = [kind for _, kind in members]
    links = []
    for place, kind in enumerate(kinds):
        [partner] = [j for j, other in enumerate(kinds) if other == kind and j != place]
        links.append(Link("word → same category", 2 * place, 2 * partner))
    return Sentence(tuple(words), tuple(links))


def pronoun_list(part: Part, draw: random.Random) -> Sentence:
    """Write a list in which a pronoun comes last, after one word of each gender.

    >>> print(*pronoun_list("find", random.Random(0)).words)
    uncle , car , aunt , table , farmer , dog , he .
    """
    words = _WORDS[part]
    couple = list(draw.choice(words.couples))
    pronouns = dict(zip(couple, ("he", "she"), strict=True))
    members = [*couple, *draw.sample(words.nouns, 4)]
    draw.shuffle(members)
    meant, other = draw.sample(couple, 2)
    members.append(pronouns[meant])
    listed = [token for word in members for token in (word, ",")]
    listed[-1] = "."
    link = Link(
        "pronoun → gender in a list",
        listed.index(pronouns[meant]),
        listed.index(meant),
        listed.index(other),
    )
    return Sentence(tuple(listed), (link,))


_WRITERS: tuple[Callable[[Part, random.Random], Sentence], ...] = (
    syntax_sentence,
    pronoun_sentence,
    pronoun_list,
    word_list,
)


def write_sentences(part: Part, *, seed: int, count: int) -> list[Sentence]:
    """Write `count` sentences of each kind.

    Args:
        part: Which words.
        seed: What is drawn follows from it, and from the part.
        count: Sentences of each kind.

    Raises:
        ValueError: `count` is below 1.
        TypeError: `count` is not an int.
    """
    _checks.positive_int("count", count)
    draw = random.Random(f"{seed} {part}")
    return [write(part, draw) for write in _WRITERS for _ in range(count)]
