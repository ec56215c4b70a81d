"""How alike heads are: in what they attend to, in what they put out, in what they read and write.

Each function compares n heads of any layers, every one with every other, and gives `[n, n]`.
A score alone says little. Beside each stands a baseline: what heads get that agree by chance.

| compared | same head | nothing in common | by chance |
|---|---|---|---|
| `attention_distance` | 0 | 1 | the distance of `shuffled_keys` |
| `output_cka` | 1 | 0 | 0 if debiased; to see the spread, that of `shuffled_tokens` |
| `subspace_overlap` | 1 | 0 | d_head / d_model |
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from mha_course import _checks

_BLOCK = 2**18  # numbers at once: no [n, n, T, T] tensor, and a block stays in a core's cache
_ROUNDING = 4e-3  # by which a row may miss a sum of 1: bfloat16 comes to 2e-3


# ------------------------------------------------------------------------------- attention


def attention_distance(
    texts: Iterable[Float[Tensor, "n T T"]], *, is_causal: bool = False
) -> Float[Tensor, "n n"]:
    """Jensen-Shannon distance between the attention of heads, over all queries of all texts.

        d_ij = √( mean over queries t of JSD(A_i[t], A_j[t]) )
        JSD(p, q) = H((p + q)/2) − (H(p) + H(q))/2,    H in bits, 0·log 0 = 0

    It is 0 for equal attention, and 1 for heads that never share a key. It is a metric: √JSD is
    one (Endres & Schindelin 2003, A New Metric for Probability Distributions), and so is the
    root of a mean of squared metrics. The mean of the roots would be one as well; with the root
    of the mean, 1 − d² is the mean of positive semi-definite kernels (Martins et al. 2009,
    Nonextensive Information Theoretic Kernels on Measures), which `effective_number` needs.

    Heads that attend broadly are near each other whatever they do, and sharp ones are far apart.
    So compare with `shuffled_keys`, which leaves every head as sharp as it is.

    Args:
        texts: Attention weights of the same heads for each text. Texts may differ in length; each
            counts by its queries. From a generator, they need not all be held at once.
        is_causal: The heads see no later token. The first query of each text is then left out:
            it sees only itself, and there all heads agree.

    Raises:
        ValueError: no text, fewer than 2 heads, one token, another number of heads than in the
            text before, rows that do not add up to 1, or NaN.
        TypeError: one tensor instead of a list of them, or no floating point.

    >>> looks_left, looks_right = torch.eye(3).roll(-1, 1), torch.eye(3).roll(1, 1)
    >>> attention_distance([torch.stack([looks_left, looks_right])]).tolist()
    [[0.0, 1.0], [1.0, 0.0]]
    """
    if isinstance(texts, Tensor):
        raise TypeError(
            f"texts is one tensor of shape {list(texts.shape)}; it must be a list of texts, "
            "[n, T, T] each: for a single text, give [weights]"
        )
    total, queries = torch.zeros(()), 0
    for weights in texts:
        _check_attention(weights, is_causal)
        if queries and len(weights) != len(total):
            raise ValueError(
                f"weights of one text are of {len(weights)} heads and those of another of "
                f"{len(total)}; all texts must be of the same heads"
            )
        compared = weights[:, 1:] if is_causal else weights
        total = total + _summed_divergence(compared)
        queries += compared.shape[1]
    if not queries:
        raise ValueError("texts is empty; give the attention weights of at least one text")
    return (total / queries).clamp(0, 1).sqrt()  # rounding may go beyond 0 and 1


def shuffled_keys(
    weights: Float[Tensor, "n T T"], *, generator: torch.Generator, is_causal: bool = False
) -> Float[Tensor, "n T T"]:
    """Deal out the weights of each query at random among the keys that it sees.

    The baseline of `attention_distance`: heads as sharp as the given ones at every query, which
    choose their keys independently.

    Args:
        weights: Attention weights of one text.
        generator: Where the chance comes from.
        is_causal: A query sees no later key, and gets none.

    Raises:
        ValueError, TypeError: as in `attention_distance`.

    >>> generator = torch.Generator().manual_seed(0)
    >>> weights = torch.tensor([[0.75, 0.25], [0.0, 1.0]]).expand(3, 2, 2)
    >>> shuffled_keys(weights, generator=generator).sort().values.tolist()[0]
    [[0.25, 0.75], [0.0, 1.0]]
    """
    _check_attention(weights, is_causal)
    shuffled = torch.empty_like(weights)
    for i, head in enumerate(weights):
        luck = torch.rand(head.shape, generator=generator, device=generator.device)
        if is_causal:
            # drawn last, so that the keys that are seen change places among themselves
            luck += torch.ones_like(luck).triu(1)
        shuffled[i] = head.gather(-1, luck.argsort(-1).to(head.device))
    return shuffled


# --------------------------------------------------------------------------------- outputs


def output_cka(
    z: Float[Tensor, "n tokens d_head"], *, debiased: bool = True
) -> Float[Tensor, "n n"]:
    """Linear centered kernel alignment of what heads put out (Kornblith et al. 2019).

        CKA_ij = HSIC(K_i, K_j) / √( HSIC(K_i, K_i) · HSIC(K_j, K_j) ),    K_i = z_i z_iᵀ

    It is 1 if two heads tell the tokens apart in the same way: a rotation, a common factor and an
    added constant change nothing, and other linear maps do.

    The plain HSIC is ‖z_iᵀ z_j‖² of centred z. Heads that have nothing in common do not get 0
    from it, but about d_head / (tokens + d_head) if all their directions are as strong, and less
    if few are: each token's product with itself counts, and that is large in every head. The
    debiased HSIC (Song et al. 2012, Feature Selection via Dependence Maximization) leaves these
    products out and is 0 on average; it can come out below 0. It also takes away the weight of a
    single loud token, such as the first one in many models, which alone can bring the plain CKA
    near 1.

    Args:
        z: Outputs before W_O for the same tokens, of one text or of many joined.
        debiased: Whether to take the debiased HSIC; it needs 4 tokens.

    Raises:
        ValueError: fewer than 2 heads, too few tokens, a head that puts out the same for all
            tokens, or NaN.
        TypeError: no floating point.

    >>> z = torch.randn(2, 50, 3)
    >>> z[1] = 7 * z[0].flip(-1) + 5
    >>> print(f"{output_cka(z)[0, 1]:.3f}")
    1.000
    """
    _check_heads("z", z, ("n", "tokens", "d_head"))
    tokens, fewest = z.shape[1], 4 if debiased else 2
    if tokens < fewest:
        raise ValueError(
            f"z has {tokens} tokens; {'debiased' if debiased else 'plain'} CKA needs at least "
            f"{fewest}: give a longer text"
        )
    z = z.detach().double()
    size = z.square().sum((1, 2))  # [n]
    z = z - z.mean(1, keepdim=True)
    norms = z.square().sum(-1)  # [n, tokens]
    everything = norms.sum(1)[:, None, None] / (tokens - 1)

    hsic = z.new_zeros(len(z), len(z))
    step = _rows_at_once(len(z) * tokens)
    for start in range(0, tokens, step):
        kernel = z[:, start : start + step] @ z.mT  # [n, step, tokens]
        if debiased:
            # Székely & Rizzo 2014: without its diagonal, each row of it adds up to 0
            mine = norms[:, start : start + step, None]
            kernel += (mine + norms[:, None] - everything) / (tokens - 2)
            kernel.diagonal(start, 1, 2).zero_()
        kernel = kernel.flatten(1)
        hsic += kernel @ kernel.T
    norm = hsic.diagonal().sqrt()
    _refuse_heads(
        "z", norm <= 1e-10 * size, "is the same for all tokens, or for all but one; leave it out"
    )
    return hsic / norm[:, None] / norm


def shuffled_tokens(
    z: Float[Tensor, "n tokens d_head"], *, generator: torch.Generator
) -> Float[Tensor, "n tokens d_head"]:
    """Give each head's outputs to tokens at random, in another order for each head.

    The baseline of `output_cka`: heads that put out what the given ones do, independently.

    Raises:
        ValueError: fewer than 2 heads, no token, or NaN.
        TypeError: no floating point.

    >>> z = torch.arange(12.0).reshape(2, 3, 2)
    >>> shuffled_tokens(z, generator=torch.Generator().manual_seed(0)).sum(1).tolist()
    [[6.0, 9.0], [24.0, 27.0]]
    """
    _check_heads("z", z, ("n", "tokens", "d_head"))
    luck = torch.rand(z.shape[:2], generator=generator, device=generator.device)
    return z.gather(1, luck.argsort(1).to(z.device)[..., None].expand_as(z))


# ------------------------------------------------------------------------------- subspaces


class SubspaceOverlap(NamedTuple):
    """How far heads share directions of the residual stream, from 0 to 1.

    Attributes:
        reads: Of the directions that W_V takes in.
        writes: Of the directions that W_O puts out.
        by_chance: What two random subspaces get on average: d_head / d_model.
    """

    reads: Float[Tensor, "n n"]
    writes: Float[Tensor, "n n"]
    by_chance: float


def subspace_overlap(
    w_v: Float[Tensor, "n d_model d_head"], w_o: Float[Tensor, "n d_head d_model"]
) -> SubspaceOverlap:
    """Overlap of what heads can read and write: of the spaces of the map W_V_i W_O_i.

    Head i adds x W_V_i W_O_i to the stream for each token x, times a weight. It reads x only
    along the columns of W_V_i, and writes only along the rows of W_O_i. With an orthonormal basis
    U_i of these, `[d_model, d_head]`, and the principal angles θ between two subspaces:

        overlap_ij = mean of cos² θ = ‖U_iᵀ U_j‖² / d_head

    All directions of a subspace count the same, however much the head uses them, and a gain of
    the normalisation before W_V is not part of it.

    Args:
        w_v: W_V of each head. Query heads that share a value head (GQA) have the same one, and
            their `reads` is 1.
        w_o: W_O of each head.

    Raises:
        ValueError: fewer than 2 heads, shapes that do not fit each other, a map of a rank below
            d_head (a head that was cut off has rank 0), or NaN.
        TypeError: no floating point.

    >>> w_v, w_o = torch.eye(6).reshape(2, 3, 6).mT, torch.eye(6)[:3].expand(2, 3, 6)
    >>> reads, writes, by_chance = subspace_overlap(w_v, w_o)
    >>> reads.tolist(), writes.tolist(), by_chance
    ([[1.0, 0.0], [0.0, 1.0]], [[1.0, 1.0], [1.0, 1.0]], 0.5)
    """
    _check_heads("w_v", w_v, ("n", "d_model", "d_head"))
    _check_heads("w_o", w_o, ("n", "d_head", "d_model"))
    if w_v.shape != w_o.mT.shape:
        raise ValueError(
            f"w_v has shape {list(w_v.shape)} and w_o has {list(w_o.shape)}; they must be "
            "[n, d_model, d_head] and [n, d_head, d_model], with W_V once for each query head: "
            "under GQA, use w_v.repeat_interleave(h // g, 0)"
        )
    _, d_model, d_head = w_v.shape
    if d_head > d_model:
        raise ValueError(
            f"d_head={d_head} is above d_model={d_model}; a head of full rank has at most "
            "d_model directions to read and write"
        )
    reads, of_reads = torch.linalg.qr(w_v.detach().double())
    writes, of_writes = torch.linalg.qr(w_o.detach().double().mT)
    strength = torch.linalg.svdvals(of_reads @ of_writes.mT)  # of W_V W_O: [n, d_head]
    smallest = strength[:, 0] * d_model * torch.finfo(strength.dtype).eps
    _refuse_heads(
        "w_v w_o",
        strength[:, -1] <= smallest,
        f"has a rank below d_head={d_head}; leave it out, or cut its empty directions off",
    )
    return SubspaceOverlap(_overlap(reads), _overlap(writes), d_head / d_model)


# ---------------------------------------------------------------------------------- parts


def _summed_divergence(weights: Float[Tensor, "n T_q T_k"]) -> Float[Tensor, "n n"]:
    """Sum of JSD over the queries, in bits."""
    n, _, num_keys = weights.shape
    own = weights.new_zeros(n, dtype=torch.float64)
    mixed = weights.new_zeros(n, n, dtype=torch.float64)
    for block in weights.detach().split(_rows_at_once(n * num_keys), dim=1):
        rows = block.flatten(1).double()  # [n, queries · T_k]
        rows = rows[:, rows.any(0)]  # half of it is empty under a causal mask
        own += torch.special.entr(rows).sum(1)
        for i in range(n - 1):
            mixed[i, i + 1 :] += torch.special.entr((rows[i] + rows[i + 1 :]) / 2).sum(1)
    above = (mixed - (own[:, None] + own) / 2).triu(1) / math.log(2)
    return above + above.T


def _overlap(bases: Float[Tensor, "n d_model d_head"]) -> Float[Tensor, "n n"]:
    """Mean of cos² θ, by ‖U_iᵀ U_j‖² = the sum of all entries of (U_i U_iᵀ) ⊙ (U_j U_jᵀ)."""
    n, d_model, d_head = bases.shape
    total = bases.new_zeros(n, n)
    for rows in bases.split(_rows_at_once(n * d_model), dim=1):
        projectors = (rows @ bases.mT).flatten(1)
        total += projectors @ projectors.T
    return total / d_head


def _rows_at_once(numbers_in_a_row: int) -> int:
    return max(1, _BLOCK // numbers_in_a_row)


def _check_heads(name: str, tensor: Tensor, axes: tuple[str, str, str]) -> None:
    _checks.rank(name, tensor, axes)
    _checks.floating_point(name, tensor)
    if len(tensor) < 2 or tensor.numel() == 0:
        raise ValueError(
            f"{name} has shape {list(tensor.shape)} = [{', '.join(axes)}]; comparing needs at "
            "least n = 2 heads, and no axis may be empty"
        )
    _refuse_heads(name, ~tensor.isfinite().flatten(1).all(1), "holds NaN or infinity")


def _check_attention(weights: Tensor, is_causal: bool) -> None:
    _check_heads("weights", weights, ("n", "T", "T"))
    shape = list(weights.shape)
    if shape[1] != shape[2] or shape[1] < 2:
        raise ValueError(
            f"weights have shape {shape}; they must be [n, T, T], of self-attention with at "
            "least T = 2 tokens"
        )
    off = (weights.sum(-1, dtype=torch.float64) - 1).abs().amax(1) > _ROUNDING
    negative = weights.flatten(1).amin(1) < 0
    _refuse_heads("weights", off | negative, "has rows that are no shares of 1: take the softmax")
    if is_causal and weights[:, 0, 1:].any():
        raise ValueError(
            "is_causal=True, but the first query attends to later keys; these heads see the future"
        )


def _refuse_heads(name: str, bad: Tensor, why: str) -> None:
    if bad.any():
        raise ValueError(f"{name} of head {int(bad.int().argmax())} {why}")
