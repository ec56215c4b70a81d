"""Everything that we measure of a model's heads over one text: what each is worth, and how alike.

The text is cut into chunks. One half finds, the other half confirms: rankings and suspects come
from the first, pruning curves and confirmations from the second.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mha_course.heads.curves import SHARES, pruning_curve
from mha_course.heads.gates import LayerHeads
from mha_course.heads.importance import (
    NegativeHeads,
    gate_gradients,
    gradient_importance,
    leave_one_out,
    negative_heads,
    random_scores,
    rank_agreement,
    weight_norms,
)
from mha_course.heads.redundancy import HeadClusters, cluster_heads, effective_number
from mha_course.heads.similarity import (
    attention_distance,
    output_cka,
    shuffled_keys,
    shuffled_tokens,
)
from mha_course.heads.steps import Steps
from mha_course.heads.tasks import TextBatch
from mha_course.heads.text_model import TextModel

Progress = Callable[[str, int, int], None]
"""Told, before each step, its kind, how many of them are done, and how many there are."""

_PASSAGES = 8  # in a batch of a model that tells them apart
COMPARED_TEXTS = 4  # for similarity: from text to text it changes little
SAME = 0.5  # clusters hold heads that are nearer than this on average, in Jensen-Shannon distance


@dataclass(frozen=True)
class Settings:
    """How much text, and which chance.

    Attributes:
        size: Tokens in each chunk.
        chunks: Chunks in all; half of them find, half confirm.
        seed: Of random rankings, resampling and shuffling.
    """

    size: int = 128
    chunks: int = 16
    seed: int = 0


def default_settings(model: TextModel) -> Settings:
    """As much text as shows something: a passage to find has one loss, other chunks many."""
    return Settings(chunks=64 if model.embeds_passages else 16)


class Worth(NamedTuple):
    """What the heads are worth.

    Attributes:
        unit: Of the loss.
        chance: Loss of a model that knows nothing.
        intact: Loss of the whole model on each held-out text.
        changes: Change of the loss when one head is removed, on the texts that find.
        held_out: The same on the held-out texts.
        rankings: Scores of every head by each method; the lowest go first.
        agreement: Spearman's correlation of the rankings, in their order.
        negative: Heads that the model does better without.
        shares: Shares of heads removed, the same for all curves.
        curves: Loss of each held-out text at each share, along each ranking.
    """

    unit: str
    chance: float
    intact: Float[Tensor, " texts"]
    changes: Float[Tensor, "layers h texts"]
    held_out: Float[Tensor, "layers h texts"]
    rankings: dict[str, Float[Tensor, "layers h"]]
    agreement: Float[Tensor, "rankings rankings"]
    negative: NegativeHeads
    shares: tuple[float, ...]
    curves: dict[str, Float[Tensor, "shares texts"]]


class Alike(NamedTuple):
    """How alike the heads are, over all layers.

    Attributes:
        distance: Between attention patterns: Jensen-Shannon.
        clusters: Of heads whose patterns are near.
        patterns: Effective number of distinct patterns, and what it would be by chance.
        outputs: Effective number of distinct outputs, by CKA.
        outputs_by_chance: The same with each head's outputs dealt out to other tokens.
        num_heads: Heads in all.
        example: Attention of every head in one text.
    """

    distance: Float[Tensor, "n n"]
    clusters: HeadClusters
    patterns: tuple[float, float]
    outputs: float
    outputs_by_chance: float
    num_heads: int
    example: Float[Tensor, "layers h T T"]


def worth(
    model: TextModel,
    text: str,
    *,
    settings: Settings | None = None,
    steps: Steps | None = None,
    progress: Progress | None = None,
) -> Worth:
    """Measure what every head is worth.

    Args:
        model: The model.
        text: A long text; what does not fill the chunks is not used.
        settings: How much of it; `default_settings` if None.
        steps: Where finished steps are kept, so that a second call goes on from there; give it
            the `identity` of this survey.
        progress: Told about every step.

    Raises:
        ValueError: see `chosen_chunks`.
    """
    settings = settings or default_settings(model)
    chunks = chosen_chunks(model, text, settings)
    half = len(chunks) // 2
    together = min(_PASSAGES, half) if model.embeds_passages else 1
    half -= half % together  # full batches only: passages are told apart within a batch
    finding, confirming = (
        [TextBatch(model, ids) for ids in part.split(together)]
        for part in (chunks[0::2][:half], chunks[1::2][:half])
    )

    def each(kind: str, parts: list[TextBatch], measure: Callable[[TextBatch], Tensor]) -> Tensor:
        results = []
        for i, batch in enumerate(parts):
            if progress is not None:
                progress(kind, i, len(parts))
            compute = partial(measure, batch)
            results.append(compute() if steps is None else steps.get(f"{kind} {i}", compute))
        return torch.cat(results, dim=-1)

    changes = each("leave one out", finding, lambda b: leave_one_out([b]))
    slopes = each("gradients", finding, lambda b: gate_gradients([b]))
    held_out = each("leave one out, held-out text", confirming, lambda b: leave_one_out([b]))

    heads = model.heads
    rankings = {
        "leave one out": changes.mean(-1),
        "gradient": gradient_importance(slopes),
        "size of weights": weight_norms(heads),
        "random": random_scores(heads.num_layers, heads.num_heads, settings.seed),
    }
    curves = {}
    for name, scores in rankings.items():

        def losses(batch: TextBatch, scores: Tensor = scores) -> Tensor:
            return pruning_curve([batch], scores).losses

        curves[name] = each(f"pruning by {name}", confirming, losses)
    return Worth(
        finding[0].unit,
        finding[0].chance,
        curves["random"][0],
        changes,
        held_out,
        rankings,
        rank_agreement(rankings),
        negative_heads(changes, held_out),
        SHARES,
        curves,
    )


def alike(
    model: TextModel,
    text: str,
    *,
    settings: Settings | None = None,
    texts: int = COMPARED_TEXTS,
) -> Alike:
    """Compare all heads with each other.

    Args:
        model: The model.
        text: A long text; what does not fill the chunks is not used.
        settings: How much of it; `default_settings` if None.
        texts: Chunks to compare in, the first of those that the settings choose.

    Raises:
        ValueError: see `chosen_chunks`.
    """
    settings = settings or default_settings(model)
    chunks = chosen_chunks(model, text, settings)[:texts]
    generator = torch.Generator().manual_seed(settings.seed)
    outputs: list[Tensor] = []
    example: list[Tensor] = []

    def maps(*, shuffled: bool) -> Iterator[Tensor]:
        for ids in chunks:
            weights: list[Tensor] = []

            def keep(_: int, seen: LayerHeads, weights: list[Tensor] = weights) -> None:
                assert seen.weights is not None  # asked for
                weights.append(seen.weights[0])
                if not shuffled:
                    outputs.append(seen.z[0])

            model.look(ids[None], keep)
            all_heads = torch.cat(weights)  # [layers · h, T, T]
            if not example:
                example.append(all_heads)
            if shuffled:
                all_heads = shuffled_keys(all_heads, generator=generator, is_causal=model.is_causal)
            yield all_heads

    distance = attention_distance(maps(shuffled=False), is_causal=model.is_causal)
    by_chance = attention_distance(maps(shuffled=True), is_causal=model.is_causal)
    layers = model.heads.num_layers
    z = torch.cat([torch.cat(outputs[i : i + layers]) for i in range(0, len(outputs), layers)], 1)
    return Alike(
        distance,
        cluster_heads(distance, SAME),
        (effective_number(1 - distance**2), effective_number(1 - by_chance**2)),
        effective_number(output_cka(z, debiased=False)),
        effective_number(output_cka(shuffled_tokens(z, generator=generator), debiased=False)),
        len(distance),
        example[0].unflatten(0, (layers, -1)),
    )


def chosen_chunks(model: TextModel, text: str, settings: Settings) -> Int[Tensor, "chunks T"]:
    """Chunks from all over the text, as many as the settings say.

    Raises:
        ValueError: the text has fewer, or fewer than 4 are wanted.
    """
    chunks = model.chunks(text, settings.size)
    if not 4 <= settings.chunks <= len(chunks):
        raise ValueError(
            f"chunks={settings.chunks} must be at least 4, and at most {len(chunks)}: so many "
            f"chunks of {settings.size} tokens are in the text"
        )
    return chunks[:: len(chunks) // settings.chunks][: settings.chunks]


def identity(model: TextModel, text: str, settings: Settings) -> dict[str, object]:
    """What the results of a survey depend on."""
    import transformers  # heavy

    return {
        "model": model.name,
        "text": hashlib.sha256(text.encode()).hexdigest(),
        "settings": asdict(settings),
        "shares": SHARES,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
