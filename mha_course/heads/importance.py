"""How much each head matters: by removing it, by the gradient of its gate, and by baselines.

Scores are per head and **per text**, so that every mean can be given an interval. Text is what was
sampled; heads were not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mha_course.heads.gates import LayerHeads, ModelHeads
from mha_course.heads.steps import Progress
from mha_course.heads.tasks import Batch
from mha_course.heads.text_model import TextModel


def leave_one_out(
    batches: Sequence[Batch],
    *,
    fill: Float[Tensor, "layers h d_head"] | None = None,
    progress: Progress | None = None,
) -> Float[Tensor, "layers h texts"]:
    """Change of the loss when one head is removed, all others left in place.

        change_i(x) = L(x; gate_i = 0) − L(x)

    Positive: the model needs the head. Negative: it does better without.

    Args:
        batches: The texts.
        fill: What stands in for the removed head: nothing by default (zero ablation); with
            `mean_outputs`, its mean (mean ablation), which keeps what is the same for all tokens.
        progress: Told about every layer of every batch.

    Raises:
        ValueError: there are no batches.

    Source: Michel et al. 2019, section 3.1, there with BLEU and accuracy.
    """
    total = _total_layers(batches)
    done, changes = 0, []
    for batch in batches:
        with torch.no_grad():
            intact = batch.losses()
        layers = []
        for without in batch.without_each_head(fill):
            layers.append(without - intact)
            done += 1
            if progress is not None:
                progress(done, total)
        changes.append(torch.stack(layers))
    return torch.cat(changes, dim=-1)


def mean_outputs(
    model: TextModel, chunks: Sequence[Int[Tensor, "texts T"]]
) -> Float[Tensor, "layers h d_head"]:
    """Mean of each head's output over all tokens of all texts."""
    heads = model.heads
    total = torch.zeros(heads.num_layers, heads.num_heads, heads.d_head)
    tokens = 0

    def add(layer: int, seen: LayerHeads) -> None:
        total[layer] += seen.z.sum(dim=(0, 2)).cpu()

    with torch.no_grad():
        for ids in chunks:
            model.run(ids, watch=add)
            tokens += ids.numel()
    if tokens == 0:
        raise ValueError("there are no tokens to take a mean over; give at least one text")
    return total / tokens


def gate_gradients(
    batches: Sequence[Batch], *, progress: Progress | None = None
) -> Float[Tensor, "layers h texts"]:
    """Slope of each text's loss in each head's gate ξ, at ξ = 1: ∂L(x)/∂ξ_i.

    One backward pass per text serves all heads. To first order, closing the gate changes the loss
    by minus the slope.

    Raises:
        ValueError: there are no batches.

    Source: Michel et al. 2019, section 4.1.
    """
    total, slopes = _total_texts(batches), []
    for batch in batches:
        gates = torch.ones(batch.num_layers, batch.num_heads, requires_grad=True)
        losses = batch.losses(gates)
        for i, loss in enumerate(losses):
            [slope] = torch.autograd.grad(loss, gates, retain_graph=i + 1 < len(losses))
            slopes.append(slope)
            if progress is not None:
                progress(len(slopes), total)
    return torch.stack(slopes, dim=-1)


def gradient_importance(
    slopes: Float[Tensor, "layers h texts"], *, per_layer_norm: bool = True
) -> Float[Tensor, "layers h"]:
    """Expected sensitivity of the loss to each head.

        I_i = E_x |∂L(x)/∂ξ_i|,   then divided by the ℓ2 norm of the layer's scores

    Args:
        slopes: From `gate_gradients`.
        per_layer_norm: Whether to divide; Michel et al. found that it ranks better across layers.

    Source: Michel et al. 2019, section 4.1.
    """
    scores = slopes.abs().mean(-1)
    if not per_layer_norm:
        return scores
    return torch.nn.functional.normalize(scores, dim=-1)


def weight_norms(heads: ModelHeads) -> Float[Tensor, "layers h"]:
    """Baseline that sees no text: the size ‖W_V_i W_O_i‖ of what a head can write.

    Raises:
        ValueError: W_V of a head cannot be told apart in this model.
    """
    group = heads.num_heads // heads.num_kv_heads
    with torch.no_grad():
        rows = []
        for layer in range(heads.num_layers):
            w_v = heads.value_matrices(layer).repeat_interleave(group, dim=0)
            rows.append((w_v @ heads.output_matrices(layer)).flatten(1).norm(dim=-1))
    return torch.stack(rows).cpu()


def random_scores(num_layers: int, num_heads: int, seed: int) -> Float[Tensor, "layers h"]:
    """Baseline that knows nothing."""
    return torch.rand(num_layers, num_heads, generator=torch.Generator().manual_seed(seed))


class Interval(NamedTuple):
    """Means over the texts, and where 95 % of the means of resampled texts lie."""

    mean: Float[Tensor, "*heads"]
    low: Float[Tensor, "*heads"]
    high: Float[Tensor, "*heads"]


def bootstrap(
    values: Float[Tensor, "*heads texts"], *, seed: int = 0, resamples: int = 2000
) -> Interval:
    """Mean over texts with a 95 % interval: percentiles of the mean, texts drawn with replacement.

    With few texts (below 20 or so) such an interval is a little too narrow.

    Raises:
        ValueError: fewer than 2 texts.
    """
    if values.shape[-1] < 2:
        raise ValueError(
            f"values have shape {list(values.shape)}: {values.shape[-1]} texts on the last axis; "
            "an interval needs at least 2"
        )
    from scipy import stats  # takes a second to import

    found = stats.bootstrap(
        (values.double().numpy(),),
        _mean,
        axis=-1,
        method="percentile",
        n_resamples=resamples,
        batch=100,  # bounds the memory
        rng=seed,
    ).confidence_interval
    low, high = (torch.as_tensor(bound, dtype=values.dtype) for bound in found)
    return Interval(values.mean(-1), low, high)


class NegativeHeads(NamedTuple):
    """Heads that look harmful in one text, and what became of it in another.

    Attributes:
        suspects: Removing the head lowers the loss, and the interval excludes zero.
        confirmed: Suspects of which the same holds in held-out text.
    """

    suspects: Bool[Tensor, "layers h"]
    confirmed: Bool[Tensor, "layers h"]


def negative_heads(
    changes: Float[Tensor, "layers h texts"], held_out: Float[Tensor, "layers h texts_held_out"]
) -> NegativeHeads:
    """Find heads that the model does better without, and confirm them on text not seen so far.

    Among many heads some look harmful by chance: at 95 %, one harmless head in 40. Held-out text
    sorts them out.

    Args:
        changes: From `leave_one_out`.
        held_out: The same for other texts.

    Raises:
        ValueError: the two are not of the same heads, or have fewer than 2 texts.
    """
    if changes.shape[:-1] != held_out.shape[:-1]:
        raise ValueError(
            f"changes have heads {list(changes.shape[:-1])}, held_out {list(held_out.shape[:-1])}; "
            "they must be of the same model"
        )
    suspects = bootstrap(changes).high < 0
    return NegativeHeads(suspects, suspects & (bootstrap(held_out).high < 0))


def rank_agreement(
    scores: Mapping[str, Float[Tensor, "layers h"]],
) -> Float[Tensor, "rankings rankings"]:
    """Spearman's correlation between all pairs of rankings: 1 same order, −1 reverse, 0 unrelated.

    It is NaN with a ranking in which all heads are equal: that is no order.

    Raises:
        ValueError: fewer than 2 rankings, or rankings of different heads.
    """
    shapes = {name: list(s.shape) for name, s in scores.items()}
    if len(scores) < 2 or len({tuple(shape) for shape in shapes.values()}) > 1:
        raise ValueError(f"rankings have shapes {shapes}; give at least 2, all of the same shape")
    from scipy import stats  # takes a second to import

    ranks = torch.stack([torch.as_tensor(stats.rankdata(s.flatten())) for s in scores.values()])
    return torch.corrcoef(ranks).float()


def _mean(values: object, axis: int) -> object:
    return values.mean(axis=axis)  # type: ignore[attr-defined]


def _total_layers(batches: Sequence[Batch]) -> int:
    return sum(batch.num_layers for batch in _not_empty(batches))


def _total_texts(batches: Sequence[Batch]) -> int:
    return sum(batch.num_texts for batch in _not_empty(batches))


def _not_empty(batches: Sequence[Batch]) -> Sequence[Batch]:
    if not batches:
        raise ValueError("there are no batches; give at least one")
    return batches
