"""How far and how evenly the heads of a layer look, and which patterns they have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mha_course.heads.patterns import LABELS, Label, Tally, as_shares, entropy, visible_keys


@dataclass(frozen=True)
class LayerProfile:
    """Means over queries for each head of a layer, each beside that of even attention.

    Profiles of several texts add up: `a + b` is the profile of both.

    Attributes:
        distance: Tokens between query and key.
        entropy: In bits. Its `uniform` is also the maximum: even attention has it.
        first_token: Share of attention on the first token, 0 to 1.
    """

    distance: Tally
    entropy: Tally
    first_token: Tally

    def __add__(self, other: LayerProfile) -> LayerProfile:
        return LayerProfile(
            self.distance + other.distance,
            self.entropy + other.entropy,
            self.first_token + other.first_token,
        )


def layer_profile(weights: Float[Tensor, "h T T"], *, is_causal: bool) -> LayerProfile:
    """Measure how far and how evenly each head of one layer looks in one text.

        distance_i    = mean over t of Σ_s A_i[t, s] · abs(t − s)
        entropy_i     = mean over t of −Σ_s A_i[t, s] · log2 A_i[t, s]
        first_token_i = mean over t of A_i[t, 0]

    Only queries that see 2 keys or more count: the others have no choice. In a causal model it is
    the first one that does not. Distances grow with the length of the text; compare them with
    `uniform`, or between texts of one length.

    Args:
        weights: Attention weights for one text, without a batch axis.
        is_causal: A query sees no later key.

    Raises:
        ValueError, TypeError: see `mha_course.heads.patterns.as_shares`.

    Sources: entropy of heads, Clark et al. 2019; mean distance, Vig & Belinkov 2019 (Analyzing the
    Structure of Attention in a Transformer Language Model).

    >>> weights = torch.tensor([[[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.5, 0.0, 0.5]]])
    >>> profile = layer_profile(weights, is_causal=True)
    >>> [tally.score.item() for tally in (profile.distance, profile.entropy, profile.first_token)]
    [0.75, 1.0, 0.5]
    >>> profile.distance.uniform, profile.distance.queries
    (0.75, 2)
    """
    shares = as_shares(weights, is_causal=is_causal)
    num_tokens = shares.shape[-1]
    visible = visible_keys(num_tokens, is_causal)
    position = torch.arange(num_tokens)
    distance = (position - position[:, None]).abs()
    steps = distance.to(shares)
    seen = visible.sum(1).double()

    def tally(values: Float[Tensor, "h T"], even: Float[Tensor, " T"]) -> Tally:
        """Sum up over the queries; `even` is what even attention has at each of them."""
        counts = seen > 1
        # to the CPU first: not every device has 64 bits
        total = values.cpu().double()[:, counts].sum(1)
        return Tally(total, even[counts].sum().item(), int(counts.sum()))

    return LayerProfile(
        # head by head: there is never a second [h, T, T]
        distance=tally(
            torch.stack([(head * steps).sum(-1) for head in shares]),
            (visible * distance).sum(1) / seen,
        ),
        entropy=tally(entropy(shares), seen.log2()),
        first_token=tally(shares[..., 0], 1 / seen),
    )


def pattern_mix(labels: Sequence[Sequence[Label]]) -> Int[Tensor, "layers labels"]:
    """Count the heads of each label in each layer; the columns are in the order of `LABELS`.

    Args:
        labels: Of each layer, one for each of its heads; see `mha_course.heads.patterns.labels`.

    Raises:
        ValueError: no layer, or a label that is none.

    >>> pattern_mix([["self", "none"], ["self", "self"]])[:, LABELS.index("self")].tolist()
    [1, 2]
    """
    if not labels:
        raise ValueError("labels is empty; give the labels of at least one layer")
    for name in {name for layer in labels for name in layer}:
        if name not in LABELS:
            raise ValueError(f"{name!r} is no label; there are {', '.join(LABELS)}")
    return torch.tensor([[list(layer).count(name) for name in LABELS] for layer in labels])
