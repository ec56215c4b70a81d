"""What a matrix of similarities says about redundancy: clusters, and how many heads there are.

What to give, from `mha_course.heads.similarity`:

| from | to `cluster_heads` | to `effective_number` |
|---|---|---|
| d = `attention_distance` | d | 1 − d² |
| s = `output_cka`, or `reads` or `writes` of `subspace_overlap` | 1 − s | s |
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform
from torch import Tensor

from mha_course import _checks

_ROUNDING = 1e-6


class HeadClusters(NamedTuple):
    """Heads in groups.

    Attributes:
        labels: The cluster of each head. Clusters count from 0, in the order of their first head.
        order: The heads in an order in which neighbours are alike: for the axes of a picture.
        linkage: The tree of merges, as `scipy.cluster.hierarchy` has it, `[n − 1, 4]`.
    """

    labels: Int[Tensor, " n"]
    order: Int[Tensor, " n"]
    linkage: NDArray[np.float64]


def cluster_heads(distance: Float[Tensor, "n n"], threshold: float) -> HeadClusters:
    """Merge the heads that are nearest until all clusters are further apart than `threshold`.

    The distance of two clusters is the mean over all pairs of heads, one from each (average
    linkage, UPGMA).

    Args:
        distance: Of each head to each other; symmetric, 0 on the diagonal.
        threshold: Largest mean distance at which clusters are merged.

    Raises:
        ValueError: fewer than 2 heads, not symmetric, a diagonal that is not 0, a negative
            number, NaN, or a threshold below 0.
        TypeError: no floating point.

    >>> positions = torch.tensor([0.0, 5.0, 1.0, 5.5])
    >>> cluster_heads((positions[:, None] - positions).abs(), threshold=2.0).labels.tolist()
    [0, 1, 0, 1]
    """
    _check_matrix("distance", distance)
    low, diagonal = distance.min().item(), distance.diagonal().abs().max().item()
    if low < -_ROUNDING or diagonal > _ROUNDING:
        raise ValueError(
            f"distance goes down to {low:.3g}, and up to {diagonal:.3g} on the diagonal; it must "
            "be at least 0, and 0 on the diagonal: from a similarity s, use 1 - s"
        )
    if not threshold >= 0:  # NaN, too
        raise ValueError(f"threshold={threshold} must be at least 0: it is a distance")
    # one triangle is enough, so that rounding in the other does not matter
    pairs = squareform(distance.detach().double().cpu().numpy(), checks=False)
    tree = hierarchy.linkage(pairs, method="average", optimal_ordering=True)
    found = hierarchy.fcluster(tree, threshold, criterion="distance").tolist()
    number = {cluster: i for i, cluster in enumerate(dict.fromkeys(found))}
    return HeadClusters(
        labels=torch.tensor([number[cluster] for cluster in found]),
        order=torch.from_numpy(hierarchy.leaves_list(tree)).long(),
        linkage=tree,
    )


def effective_number(similarity: Float[Tensor, "n n"]) -> float:
    """How many heads there are, if heads that are alike count as one.

        N = exp( −Σ_k λ_k log λ_k ),    λ_k = eigenvalues of similarity / n, 0·log 0 = 0

    n equal heads give 1, n heads with nothing in common give n, and to double every head changes
    nothing (the Vendi score: Friedman & Dieng 2023, The Vendi Score: A Diversity Evaluation
    Metric for Machine Learning).

    Put the number of the baseline beside it, from `shuffled_keys` or `shuffled_tokens`. For
    subspaces it is the number of a matrix with d_head / d_model off its diagonal.

    Args:
        similarity: Of each head to each other; symmetric, 1 on the diagonal, and positive
            semi-definite.

    Raises:
        ValueError: fewer than 2 heads, not symmetric, a diagonal that is not 1, not positive
            semi-definite, or NaN.
        TypeError: no floating point.

    >>> twins = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    >>> print(f"{effective_number(twins):.2f}")
    1.89
    """
    _check_matrix("similarity", similarity)
    off = (similarity.diagonal() - 1).abs().max().item()
    if off > _ROUNDING:
        raise ValueError(
            f"similarity is off 1 by {off:.3g} on the diagonal; each head must be like itself: "
            "from an attention distance d, use 1 - d**2"
        )
    share = torch.linalg.eigvalsh(similarity.detach().double()) / len(similarity)
    if share[0] < -_ROUNDING:
        raise ValueError(
            f"similarity / n has the eigenvalue {share[0]:.3g}; it must be positive "
            "semi-definite: from an attention distance d, use 1 - d**2, not 1 - d"
        )
    return float(torch.special.entr(share.clamp(min=0)).sum().exp())


def _check_matrix(name: str, matrix: Tensor) -> None:
    _checks.rank(name, matrix, ("n", "n"))
    _checks.floating_point(name, matrix)
    rows, columns = matrix.shape
    if rows != columns or rows < 2:
        raise ValueError(
            f"{name} has shape {[rows, columns]}; it must be [n, n], with at least n = 2 heads"
        )
    if not matrix.isfinite().all():
        raise ValueError(f"{name} holds NaN or infinity; every two heads must be comparable")
    gap = (matrix - matrix.T).abs().max().item()
    if gap > _ROUNDING:
        raise ValueError(
            f"{name} differs from its transpose by {gap:.3g}; it must be symmetric: head i is to "
            "head j as j is to i"
        )
