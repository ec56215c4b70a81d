"""A small language model on real English, and what counting letters alone achieves.

The text is the reference that comes with Python, `pydoc_data.topics`: nothing is downloaded. The
model reads and guesses characters. Its topics quote each other (a fifth of the text stands in
more than one), so a paragraph that is held out is taken from the training text as well.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cache
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from mha_course.experiments.ensemble import one_thread
from mha_course.forms import FormName
from mha_course.multi_head import MultiHeadAttention

HELD_OUT_EVERY = 8  # of the topics in alphabetical order, from the first on
FIRST_CHARACTER = ord(" ")
VOCABULARY = 96  # printable ASCII, and one more for the end of a paragraph and all the rest
OTHER = VOCABULARY - 1
SLOWEST_WAVE = 10_000.0  # of the position encoding, as in Vaswani et al. 2017
WARM_UP = 0.1  # share of the steps in which the learning rate rises
PRIOR = 5.0  # how many characters the shorter context counts for, in the baselines


# ------------------------------------------------------------------------------------- text


class Text(NamedTuple):
    """A text in two parts that have no paragraph in common.

    Attributes:
        held_out_topics: Names of the topics that are held out.
        training: Characters to learn from.
        held_out: Characters to be tested on.
    """

    held_out_topics: list[str]
    training: Int[Tensor, " N"]
    held_out: Int[Tensor, " N_out"]


@cache
def python_reference() -> Text:
    """Python's own reference text."""
    from pydoc_data.topics import topics

    return split_by_topic(topics)


def split_by_topic(topics: Mapping[str, str]) -> Text:
    r"""Hold out every eighth topic; each paragraph is kept once, and by the held-out part first.

    >>> text = split_by_topic({"a": "One.", "b": "Two.\n\n  One."})
    >>> text.held_out_topics, len(text.held_out), len(text.training)
    (['a'], 5, 5)
    """
    names = sorted(topics)
    held_out = names[::HELD_OUT_EVERY]
    seen: set[str] = set()
    parts = []
    for part in (held_out, [name for name in names if name not in held_out]):
        new = [p for name in part for p in paragraphs(topics[name])]
        new = [p for p in dict.fromkeys(new) if p not in seen]
        seen.update(new)
        parts.append(encode("".join(f"{p}\n" for p in new)))
    return Text(held_out, parts[1], parts[0])


def paragraphs(text: str) -> list[str]:
    r"""Paragraphs without line breaks and without repeated spaces.

    >>> paragraphs("A  title\n*****\n\n\n   a\n b")
    ['A title *****', 'a b']
    """
    lines = (" ".join(paragraph.split()) for paragraph in text.split("\n\n"))
    return [line for line in lines if line]


def encode(text: str) -> Int[Tensor, " N"]:
    r"""One number from 0 to 95 for each character.

    >>> encode("a b\n").tolist()
    [65, 0, 66, 95]
    """
    numbers = [ord(character) - FIRST_CHARACTER for character in text]
    return torch.tensor([n if 0 <= n < OTHER else OTHER for n in numbers])


def bits_by_counting(text: Text, order: int) -> float:
    """Bits per held-out character for the trivial baseline, which counts in the training text.

    It guesses from the `order` − 1 characters before: 1 is called unigram, 2 bigram. Where a
    context is rare, the guess leans on the context that is one character shorter, and in the end
    on equal shares: Dirichlet smoothing.

    Raises:
        ValueError: `order` is below 1.
    """
    if order < 1:
        raise ValueError(f"order={order} must be at least 1, for which nothing before counts")
    training, held_out = text.training.tolist(), text.held_out.tolist()
    counts = [Counter(_grams(training, n)) for n in range(1, order + 1)]
    contexts: list[Counter[tuple[int, ...]]] = []
    for of_length in counts:
        contexts.append(Counter())
        for gram, count in of_length.items():
            contexts[-1][gram[:-1]] += count
    bits = 0.0
    for end in range(1, len(held_out) + 1):
        share = 1 / VOCABULARY
        for n in range(1, min(order, end) + 1):
            gram = tuple(held_out[end - n : end])
            share = (counts[n - 1][gram] + PRIOR * share) / (contexts[n - 1][gram[:-1]] + PRIOR)
        bits -= math.log2(share)
    return bits / len(held_out)


def _grams(characters: list[int], n: int) -> Iterable[tuple[int, ...]]:
    return zip(*(characters[start:] for start in range(n)), strict=False)


# ------------------------------------------------------------------------------------ model


class Recipe(NamedTuple):
    """What is trained, and how.

    Attributes:
        num_heads: Heads in each layer, h.
        d_model: Width.
        context: Characters that the model sees at most, T.
        steps: Steps of training.
        batch_characters: Characters in a batch, whatever the context.
        learning_rate: Of Adam, at its highest.
        num_layers: Layers.
        form: How the heads are computed; the numbers are the same but for rounding.
    """

    num_heads: int
    d_model: int = 64
    context: int = 32
    steps: int = 1500
    batch_characters: int = 512
    learning_rate: float = 5e-3
    num_layers: int = 2
    form: FormName = "fused"


class Block(nn.Module):
    """Attention, then an MLP; each reads the normalised stream and adds to it."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        d_model = recipe.d_model
        self.norm_1, self.norm_2 = nn.LayerNorm(d_model), nn.LayerNorm(d_model)
        self.attention = MultiHeadAttention(d_model, recipe.num_heads, form=recipe.form)
        self.mlp = nn.Sequential(
            nn.Linear(d_model, 4 * d_model), nn.GELU(), nn.Linear(4 * d_model, d_model)
        )

    def forward(self, x: Float[Tensor, "B T d_model"]) -> Float[Tensor, "B T d_model"]:
        """Let each character take from those before it."""
        x = x + self.attention(self.norm_1(x), is_causal=True)
        output: Tensor = x + self.mlp(self.norm_2(x))
        return output


class LanguageModel(nn.Module):
    """A decoder over characters, with the position encoding of Vaswani et al. 2017.

    >>> model = LanguageModel(Recipe(num_heads=4))
    >>> model(torch.zeros(2, 5, dtype=torch.long)).shape
    torch.Size([2, 5, 96])
    """

    positions: Tensor

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.characters = nn.Embedding(VOCABULARY, recipe.d_model)
        self.register_buffer("positions", waves(recipe.context, recipe.d_model))
        self.blocks = nn.Sequential(*(Block(recipe) for _ in range(recipe.num_layers)))
        self.norm = nn.LayerNorm(recipe.d_model)
        self.to_logits = nn.Linear(recipe.d_model, VOCABULARY)

    def forward(self, ids: Int[Tensor, "B T"]) -> Float[Tensor, "B T vocabulary"]:
        """Scores for the character after each character."""
        x = self.characters(ids) + self.positions[: ids.shape[1]]
        logits: Tensor = self.to_logits(self.norm(self.blocks(x)))
        return logits


def waves(num_tokens: int, d_model: int) -> Float[Tensor, "T d_model"]:
    """Sines and cosines of the position, in turns, ever slower.

    >>> waves(2, 4)[0].tolist()
    [0.0, 1.0, 0.0, 1.0]
    """
    position = torch.arange(num_tokens)[:, None]
    speed = SLOWEST_WAVE ** (-torch.arange(0, d_model, 2) / d_model)
    return torch.stack([(position * speed).sin(), (position * speed).cos()], dim=-1).flatten(1)


# --------------------------------------------------------------------------------- training


def fit(recipe: Recipe, seed: int, text: Text) -> LanguageModel:
    """Train a new model.

    The seed draws the weights, and the places in the text that each step reads. Recipes that
    differ in the number of heads alone read the same characters in the same order.
    """
    with torch.random.fork_rng(devices=[]), one_thread():
        torch.manual_seed(seed)
        model = LanguageModel(recipe)
        adam = torch.optim.Adam(model.parameters(), recipe.learning_rate)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            adam,
            recipe.learning_rate,
            total_steps=recipe.steps,
            pct_start=WARM_UP,
            cycle_momentum=False,
        )
        generator = torch.Generator().manual_seed(seed)
        for _ in range(recipe.steps):
            train_step(model, adam, draw(text.training, recipe, generator))
            schedule.step()
    return model.eval()


def draw(
    characters: Int[Tensor, " N"], recipe: Recipe, generator: torch.Generator
) -> Int[Tensor, "B T+1"]:
    """Pieces of the text from random places, each with the character that comes after it."""
    batch_size = recipe.batch_characters // recipe.context
    last = len(characters) - recipe.context
    start = torch.randint(last, (batch_size, 1), generator=generator)
    return characters[start + torch.arange(recipe.context + 1)]


def train_step(
    model: LanguageModel, optimiser: torch.optim.Optimizer, pieces: Int[Tensor, "B T+1"]
) -> None:
    """One step down the mean loss of all characters."""
    logits = model(pieces[:, :-1])
    loss = cross_entropy(logits.flatten(0, 1), pieces[:, 1:].flatten())
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()


@torch.no_grad()
def bits_per_character(model: nn.Module, characters: Int[Tensor, " N"], context: int) -> float:
    """Loss on a text that is cut into pieces of `context` characters, in bits per character.

    What is left over at the end and fills no piece is not counted.
    """
    number = (len(characters) - 1) // context
    ids = characters[: number * context].view(number, context)
    wanted = characters[1 : number * context + 1].view(number, context)
    nats = 0.0
    with one_thread():
        for start in range(0, number, 64):
            some = slice(start, start + 64)
            logits = model(ids[some]).flatten(0, 1)
            nats += cross_entropy(logits, wanted[some].flatten(), reduction="sum").item()
    return nats / wanted.numel() / math.log(2)
