"""Known mistakes in the assignment `redundancy`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from mha_course.grading.mistakes.mistake import Mistake
from mha_course.grading.reference import redundancy as reference

# ------------------------------------------------------------------------------ similarity


def relative_entropy(one: Tensor, other: Tensor) -> Tensor:
    """KL divergence of each query, in bits, with 0·log 0 = 0: [T_q]."""
    return (torch.xlogy(one, one) - torch.xlogy(one, other)).sum(dim=-1) / math.log(2)


def of_pattern_divergence(one: Tensor, other: Tensor) -> list[Mistake]:
    """Mistakes in the mean Jensen-Shannon divergence of two patterns [T_q, T_k]."""
    one, other = one.double(), other.double()
    right = reference.pattern_divergence(one, other)
    middle = (one + other) / 2
    to_middle, from_other = relative_entropy(one, middle), relative_entropy(other, middle)
    one_sided = (
        "That is the Kullback-Leibler divergence of the two patterns. It depends on their order "
        "and can be infinite. Compare each of them with their mean, (p + q)/2."
    )
    forward, backward = relative_entropy(one, other).mean(), relative_entropy(other, one).mean()
    half = (
        "The two parts are added. The divergence is half of their sum: "
        "H((p + q)/2) − (H(p) + H(q))/2."
    )
    shared = (one > 0) & (other > 0)
    # what is left when keys that one of them leaves out are dropped
    only_shared = (
        torch.where(
            shared,
            torch.xlogy(one, one) + torch.xlogy(other, other) - 2 * torch.xlogy(middle, middle),
            0.0,
        )
        .sum(dim=-1)
        .div(2 * math.log(2))
        .mean()
    )
    entropies = [torch.special.entr(p).sum(dim=-1) / math.log(2) for p in (middle, one, other)]
    found = [
        ("That is in nats. A divergence in bits takes log2, or divides by ln 2.", right * _LN2),
        (
            "That is the root, the distance of the chapter. Asked is the divergence itself.",
            math.sqrt(max(right, 0)),
        ),
        (
            "The queries are added up. Average over them: other sizes must be comparable.",
            right * len(one),
        ),
        (
            "The mean runs over keys, too. Add up over the keys, then average over the queries.",
            right / one.shape[1],
        ),
        (
            "The patterns are averaged over the queries before they are compared. Compare them "
            "query by query, and average the divergences.",
            reference.pattern_divergence(one.mean(dim=0, keepdim=True), other.mean(0, True)),
        ),
        (half, (to_middle + from_other).mean()),
        (half, (to_middle + from_other).mean() * _LN2),
        (
            "One of the two patterns alone is compared with the mean. Both are, and the results "
            "are averaged.",
            to_middle.mean(),
        ),
        (one_sided, forward),
        (one_sided, backward),
        (one_sided, forward * _LN2),
        (one_sided, (forward + backward) / 2),
        (
            "That is the total variation, half of the summed differences. Asked is the "
            "Jensen-Shannon divergence, which takes entropies.",
            (one - other).abs().sum(dim=-1).mean() / 2,
        ),
        (
            "Whole entropies of the two patterns are taken away. Take their mean away: "
            "H((p + q)/2) − (H(p) + H(q))/2.",
            (entropies[0] - entropies[1] - entropies[2]).mean(),
        ),
        (
            "The sign is reversed. The mixed pattern has the larger entropy, so begin with it.",
            -right,
        ),
        (
            "Keys that one of the patterns leaves out are dropped. 0·log 0 is 0, but the other "
            "pattern's weight on that key counts.",
            only_shared,
        ),
    ]
    return [Mistake(says, float(value)) for says, value in found if math.isfinite(value)]


_LN2 = math.log(2)


def of_linear_cka(z_i: Tensor, z_j: Tensor) -> list[Mistake]:
    """Mistakes in linear CKA of two outputs [tokens, width]."""
    raw = z_i.double(), z_j.double()
    one, other = (z - z.mean(dim=0) for z in raw)
    shared, own_i, own_j = (
        (a.T @ b).norm().item() for a, b in ((one, other), (one, one), (other, other))
    )
    found = [
        (
            "The outputs are not centred. Take the mean over the tokens from each column first: "
            "a constant that is added to all tokens tells none of them apart.",
            _ratio(*raw),
        ),
        (
            "The mean is taken over the columns of each token. Centre each column over the tokens.",
            _ratio(*(z - z.mean(dim=1, keepdim=True) for z in raw)),
        ),
        (
            "The outputs are centred by one mean over all numbers. Each column has its own mean, "
            "over the tokens.",
            _ratio(*(z - z.mean() for z in raw)),
        ),
        (
            "Each column is divided by its standard deviation as well. Take its mean away, and "
            "leave its size: a strong direction should count more.",
            _ratio(*(z / z.std(dim=0) for z in (one, other))),
        ),
        (
            "That is the root of CKA. The numerator is squared: ‖z_iᵀ z_j‖².",
            shared / math.sqrt(own_i * own_j),
        ),
        (
            "The numerator is not squared: it is ‖z_iᵀ z_j‖², over ‖z_iᵀ z_i‖·‖z_jᵀ z_j‖.",
            shared / (own_i * own_j),
        ),
        (
            "The denominator is squared as well. It is ‖z_iᵀ z_i‖·‖z_jᵀ z_j‖, the root of the "
            "product of the two squares, so that a head has CKA 1 with itself.",
            shared**2 / (own_i * own_j) ** 2,
        ),
        (
            "The denominator has the sizes of the outputs, ‖z_i‖²·‖z_j‖². Take ‖z_iᵀ z_i‖ and "
            "‖z_jᵀ z_j‖, so that a head has CKA 1 with itself.",
            shared**2 / (one.norm() * other.norm()).item() ** 2,
        ),
        ("That is the numerator. Divide by ‖z_iᵀ z_i‖·‖z_jᵀ z_j‖.", shared**2),
    ]
    if z_i.shape == z_j.shape:
        found += [
            (
                "That is the cosine of the flattened outputs. A head whose columns are exchanged "
                "would look different. Compare all columns with all columns: z_iᵀ z_j.",
                _cosine(*raw),
            ),
            (
                "That is the correlation of the flattened outputs. A head whose columns are "
                "exchanged would look different. Compare all columns with all columns: z_iᵀ z_j.",
                _cosine(one, other),
            ),
            (
                "The products are z_i z_jᵀ, of tokens with tokens. Sum over the tokens: z_iᵀ z_j.",
                ((one @ other.T).norm() ** 2 / (one @ one.T).norm() / (other @ other.T).norm()),
            ),
        ]
        if len(z_i) >= 4:
            found.append(
                (
                    "That is the debiased CKA, which the package takes by default. Asked is the "
                    "plain one.",
                    _debiased(one, other),
                )
            )
    return [Mistake(says, float(value)) for says, value in found]


def _ratio(one: Tensor, other: Tensor) -> float:
    """‖z_iᵀ z_j‖² / (‖z_iᵀ z_i‖·‖z_jᵀ z_j‖), without centring."""
    own = (one.T @ one).norm() * (other.T @ other).norm()
    return float((one.T @ other).norm() ** 2 / own)


def _debiased(one: Tensor, other: Tensor) -> float:
    """CKA that is 0 on average for heads with nothing in common (Song et al. 2012)."""
    n = len(one)
    kernels = [z @ z.T for z in (one, other)]
    a, b = (k - torch.diag(k.diagonal()) for k in kernels)

    def hsic(k: Tensor, m: Tensor) -> Tensor:
        apart = k.sum() * m.sum() / (n - 1) / (n - 2)
        return (k * m).sum() + apart - 2 / (n - 2) * (k.sum(0) * m.sum(0)).sum()

    return float(hsic(a, b) / (hsic(a, a) * hsic(b, b)).abs().sqrt())


def _cosine(one: Tensor, other: Tensor) -> float:
    return float((one * other).sum() / (one.norm() * other.norm()))


# ------------------------------------------------------------------------------ importance


def of_gate_importance(contributions: Tensor, gradient: Tensor) -> list[Mistake]:
    """Mistakes in E|∂L/∂ξ|, for [B, h, T, d_model] and [B, T, d_model]."""
    products = contributions * gradient[:, None]
    slopes = products.sum(dim=(2, 3))  # [B, h]
    right = slopes.abs().mean(dim=0)
    length = products.shape[2]
    found = [
        (
            "The absolute value is taken after the mean over the texts. There a head that helps "
            "one text and hurts another cancels out. Take it for each text, then the mean.",
            slopes.mean(dim=0).abs(),
        ),
        (
            "The absolute value is missing. A head that helps one text and hurts another cancels "
            "out: take the absolute value for each text, then the mean.",
            slopes.mean(dim=0),
        ),
        (
            "The absolute value is taken of every product. The gate acts on all tokens and all "
            "columns at once: add up over them with their signs, then take it.",
            products.abs().sum(dim=(2, 3)).mean(dim=0),
        ),
        (
            "The absolute value is taken for each token. One gate serves all tokens of a text: "
            "add up over the tokens with their signs, then take it.",
            products.sum(dim=3).abs().sum(dim=2).mean(dim=0),
        ),
        ("The texts are added up. Take the mean over them.", slopes.abs().sum(dim=0)),
        (
            "The mean is taken over the tokens. The slope of the text's loss is the sum over its "
            "tokens; the mean runs over the texts alone.",
            right / length,
        ),
        (
            "The mean is taken over the tokens and columns. The slope of the text's loss is the "
            "sum over both; the mean runs over the texts alone.",
            right / length / products.shape[3],
        ),
        (
            "The slopes are squared. Take their absolute values.",
            slopes.square().mean(dim=0),
        ),
        (
            "That is the root of the mean of the squares. Take the mean of the absolute values.",
            slopes.square().mean(dim=0).sqrt(),
        ),
        (
            "Sizes are multiplied: the direction is lost. Multiply the numbers one by one, and "
            "add up.",
            (contributions.flatten(2).norm(dim=2) * gradient.flatten(1).norm(dim=1)[:, None]).mean(
                dim=0
            ),
        ),
        (
            "That is the size of what the heads add. The gradient is not used.",
            contributions.flatten(2).norm(dim=2).mean(dim=0),
        ),
        ("That is one number for each text. Take the mean over the texts.", slopes.abs()),
        (
            "The scores are divided by the norm of the layer. The chapter does that afterwards; "
            "here it is not asked.",
            right / right.norm(),
        ),
    ]
    return [Mistake(says, value) for says, value in found]


def of_leave_one_out(loss: reference.Loss, num_heads: int) -> list[Mistake]:
    """Mistakes in the rise of the loss without each head."""
    intact, empty = loss([1.0] * num_heads), loss([0.0] * num_heads)
    without = reference.without_each(loss, num_heads)
    only = torch.tensor(
        [loss(gates) for gates in torch.eye(num_heads).tolist()], dtype=torch.float64
    )
    along = reference.pruning_curve(loss, range(num_heads))
    found = [
        ("The loss of the whole model is not subtracted. Asked is the rise of the loss.", without),
        (
            "The sign is reversed. A head that is needed has a positive number: the loss without "
            "it minus the loss of the whole model.",
            intact - without,
        ),
        (
            "The heads stay off: later ones are removed on top of earlier ones. Leave one out "
            "means one at a time: begin each time with all gates open.",
            along[1:] - intact,
        ),
        (
            "The heads stay off, and each is compared with the step before. Begin each time "
            "with all gates open.",
            along.diff(),
        ),
        (
            "The gates are the wrong way round: one head is left in, and all others are off. "
            "Close one gate, and leave the others open.",
            only - intact,
        ),
        (
            "That is what each head does alone, compared with no head at all. Compare the whole "
            "model with the model without the head.",
            empty - only,
        ),
        (
            "The loss without any head is subtracted. Subtract the loss of the whole model, with "
            "all gates open.",
            without - empty,
        ),
        ("That is a ratio. Asked is the difference of the two losses.", without / intact),
        (
            "The rise is divided by the loss of the whole model. Asked is the rise itself.",
            (without - intact) / intact,
        ),
        (
            "The signs are gone. A head whose removal lowers the loss has a negative number.",
            (without - intact).abs(),
        ),
    ]
    return [Mistake(says, value) for says, value in found]


# --------------------------------------------------------------------------------- pruning


def of_pruning_order(importance: Tensor) -> list[Mistake]:
    """Mistakes in the order of [layers, h]."""
    layers, h = importance.shape
    right = reference.pruning_order(importance)
    flat = right[:, 0] * h + right[:, 1]
    ranks = flat.argsort()

    def pairs(numbers: Tensor, width: int = h) -> Tensor:
        return torch.stack([numbers // width, numbers % width], dim=1)

    all_heads = [(layer, head) for layer in range(layers) for head in range(h)]
    by_head = sorted(all_heads, key=lambda at: (importance[at].item(), at[1], at[0]))
    last_first = sorted(all_heads, key=lambda at: (importance[at].item(), -at[0], -at[1]))
    by_layer = sorted(all_heads, key=lambda at: (at[0], importance[at].item(), at[1]))
    ties = (
        "Heads with the same importance are in the wrong order. Among equals the lower layer goes "
        "first, and within a layer the lower head."
    )
    ranked = (
        "Those are ranks: the place of each head in the order. Asked is the order: which head "
        "goes first, which second, and so on."
    )
    most = importance.flatten().argsort(descending=True, stable=True)
    found = [
        (
            "The most important heads go first. Remove the least important ones first.",
            pairs(most),
        ),
        (
            "The most important heads go first. Remove the least important ones first.",
            right.flip(0),
        ),
        (
            "The signs are ignored. A head with negative importance does harm, so it goes first.",
            reference.pruning_order(importance.abs()),
        ),
        (ranked, pairs(ranks)),
        (ranked, ranks),
        (ranked, ranks.view(layers, h)),
        (
            "Those are numbers of heads counted through all layers. Asked are pairs: the layer is "
            "number // h, the head is number % h.",
            flat,
        ),
        (
            "The layer is taken from the number of layers. With h heads in each layer, the layer "
            "is number // h, and the head is number % h.",
            pairs(flat, layers),
        ),
        ("The pairs are (head, layer). Asked is (layer, head).", right.flip(1)),
        (
            "Each layer is sorted for itself. One order holds all heads of the model: a head of "
            "the last layer may go first.",
            torch.tensor(by_layer),
        ),
        (ties, torch.tensor(by_head)),
        (ties, torch.tensor(last_first)),
    ]
    return [Mistake(says, value) for says, value in found]


def of_pruning_curve(loss: reference.Loss, order: Sequence[int]) -> list[Mistake]:
    """Mistakes in the losses along an order."""
    h = len(order)
    right = reference.pruning_curve(loss, order)
    singles = reference.without_each(loss, h)[list(order)]
    kept = torch.tensor(
        [loss([float(i in order[:count]) for i in range(h)]) for count in range(h + 1)],
        dtype=torch.float64,
    )
    as_ranks = torch.tensor(
        [loss([float(place >= count) for place in order]) for count in range(h + 1)],
        dtype=torch.float64,
    )
    added = torch.cat([right[:1], right[0] + (singles - right[0]).cumsum(0)])
    found = [
        (
            "The first number is missing: the loss with all heads. h heads make h + 1 points.",
            right[1:],
        ),
        (
            "The last number is missing: the loss with no head left. h heads make h + 1 points.",
            right[:-1],
        ),
        (
            "Each head is removed alone. On the curve, heads that are gone stay gone.",
            torch.cat([right[:1], singles]),
        ),
        (
            "Each head is removed alone. On the curve, heads that are gone stay gone.",
            singles,
        ),
        (
            "The damages of single removals are added up. Two heads with the same job would count "
            "as nothing: call loss with all of them closed.",
            added,
        ),
        (
            "The loss of the whole model is subtracted. Asked are the losses themselves.",
            right - right[0],
        ),
        (
            "The order is followed from its end. order[0] goes first.",
            reference.pruning_curve(loss, list(reversed(order))),
        ),
        (
            "The first k heads are left in, and all others are off. Close the first k, and leave "
            "the others open.",
            kept,
        ),
        (
            "order is read as ranks, as if order[i] were the place of head i. order[0] is the head "
            "that goes first.",
            as_ranks,
        ),
        (
            "Heads 0, 1, 2, … are removed. order says which head goes first.",
            reference.pruning_curve(loss, range(h)),
        ),
    ]
    return [Mistake(says, value) for says, value in found]


def of_share_that_can_go(losses: Sequence[float], limit: float) -> list[Mistake]:
    """Mistakes in reading a share off a curve of h + 1 losses."""
    h = len(losses) - 1
    right = reference.share_that_can_go(losses, limit)
    count = round(right * h)
    within = [loss <= losses[0] + limit for loss in losses]

    def first_run(flags: Sequence[bool]) -> int:
        return next((i for i, flag in enumerate([*flags[1:], False]) if not flag), 0)

    last = max(i for i, flag in enumerate(within) if flag)
    relative = first_run([loss <= losses[0] * (1 + limit) for loss in losses])
    strict = first_run([loss < losses[0] + limit for loss in losses])
    by_step = first_run([True, *(b - a <= limit for a, b in pairwise(losses))])
    both_ways = first_run([abs(loss - losses[0]) <= limit for loss in losses])
    below = first_run([loss <= limit for loss in losses])
    found = [
        (
            "That is where the curve is below the limit for the last time. In between it was "
            "above. Stop where it passes the limit first.",
            last / h,
        ),
        (
            "All points below the limit are counted, those after a rise above it among them. "
            "Stop where the curve passes the limit first.",
            (sum(within) - 1) / h,
        ),
        ("That is a number of heads. Asked is a share of all heads.", count),
        (
            "That is the first point that is too high. Asked is the last one before it.",
            (count + 1) / h,
        ),
        (
            "The share is of the points of the curve. Divide by the number of heads, which is "
            "one less.",
            count / (h + 1),
        ),
        (
            "The point with no head removed is counted as a head.",
            (count + 1) / (h + 1),
        ),
        ("That is a percentage. Asked is a share from 0 to 1.", 100 * right),
        (
            "The limit is taken as a share of the loss. It is in nats: add it to the intact loss.",
            relative / h,
        ),
        (
            "A point that is exactly on the limit is left out. At most the limit is allowed: <=.",
            strict / h,
        ),
        (
            "Each point is compared with the one before it. Many small steps make a large rise: "
            "compare with losses[0].",
            by_step / h,
        ),
        (
            "A fall of the loss is taken for a loss. Only a rise counts: no absolute value.",
            both_ways / h,
        ),
        (
            "The loss itself is compared with the limit. The rise is: the loss minus losses[0].",
            below / h,
        ),
        ("That is the share of heads that stay. Asked is the share that can go.", 1 - right),
    ]
    return [Mistake(says, value) for says, value in found]


def of_as_good_by_chance(curve: Tensor, random_curves: Tensor) -> list[Mistake]:
    """Mistakes in the share of random orders that do as well, [points] and [orders, points]."""
    as_good = (random_curves <= curve).double()
    better = (random_curves < curve).double()
    orders = len(random_curves)
    found = [
        (
            "The direction is reversed: those are the random orders with a higher loss, or an "
            "equal one. A low loss is good.",
            (random_curves >= curve).double().mean(dim=0),
        ),
        (
            "The direction is reversed: those are the random orders with a higher loss. "
            "A low loss is good.",
            1 - as_good.mean(dim=0),
        ),
        (
            "Equal losses are left out. A random order with the same loss is as good: <=. With "
            "no head removed, all of them are.",
            better.mean(dim=0),
        ),
        ("That is a number of orders. Divide by how many there are.", as_good.sum(dim=0)),
        (
            "The mean runs along each curve. Asked is one number for each number of removed "
            "heads: take the mean over the random orders.",
            as_good.mean(dim=1),
        ),
        ("That is one number for all. Keep the points of the curve apart.", as_good.mean()),
        (
            "The curve is compared with the mean of the random ones. That says nothing about how "
            "often chance does as well: compare with each of them.",
            (random_curves.mean(dim=0) <= curve).double(),
        ),
        (
            "The curve is compared with the best random order alone. Count all of them.",
            (random_curves.amin(dim=0) <= curve).double(),
        ),
        (
            "One is added above and below, as for a p-value. Asked is the plain share.",
            (as_good.sum(dim=0) + 1) / (orders + 1),
        ),
        (
            "That is the mean difference of the losses. Asked is how often chance does as well.",
            (random_curves - curve).double().mean(dim=0),
        ),
    ]
    return [Mistake(says, value) for says, value in found]


# ------------------------------------------------------------------------ heads that hurt


def of_looks_harmful(changes: Tensor) -> list[Mistake]:
    """Mistakes in telling harmful heads by [h, pieces]."""
    t, pieces = reference.t_values(changes), changes.shape[1]
    right = t < -2
    found = [
        (
            "Those are the heads that help: without them the loss rises. A head does harm when "
            "the change is negative.",
            t > 2,
        ),
        (
            "Heads that help are among them: without those the loss rises. Look below 0 only.",
            t.abs() > 2,
        ),
        (
            "A mean below 0 is taken for proof. By luck, half of all harmless heads have one: it "
            "must lie more than 2 standard errors below.",
            t < 0,
        ),
        (
            "The spread of the pieces is taken for the error of their mean. Divide the standard "
            "deviation by √pieces.",
            t < -2 * math.sqrt(pieces),
        ),
        (
            "The standard deviation is divided by the number of pieces. Divide by its root.",
            t < -2 / math.sqrt(pieces),
        ),
        (
            "One standard error is taken. Asked are 2: with one, luck alone makes a suspect of "
            "every sixth harmless head.",
            t < -1,
        ),
        (
            "The standard deviation divides by n in place of n − 1, and so is a little too small. "
            "changes.std(dim=1) does it; numpy needs ddof=1.",
            t * math.sqrt(pieces / (pieces - 1)) < -2,
        ),
        (
            "The loss must fall on each single piece. Asked is the mean over the pieces.",
            (changes < 0).all(dim=1),
        ),
        (
            "The answer is the wrong way round: those are the heads that do not look harmful.",
            ~right,
        ),
    ]
    numbers = right.nonzero().flatten()
    return [
        Mistake(
            "Those are numbers of heads. Asked is one truth value for each head.", numbers.double()
        ),
        *(Mistake(says, flags.double()) for says, flags in found),
    ]


def of_negative_heads(finding: Tensor, confirming: Tensor) -> list[Mistake]:
    """Mistakes in confirming harmful heads on a second part of the text."""
    suspects, again = (reference.looks_harmful(part) for part in (finding, confirming))
    both = torch.cat([finding, confirming], dim=1)
    found = [
        (
            "Those are the suspects. The part that chose them cannot confirm them: among many "
            "heads some look harmful by luck. Look at the second part as well.",
            suspects,
        ),
        (
            "Those are the heads that look harmful in the second part, whether suspects or not. "
            "Some look so by luck there, too: ask for both.",
            again,
        ),
        ("A head that looks harmful in one of the parts is taken. Ask for both.", suspects | again),
        (
            "The two parts are thrown together. Then the part that chose the suspects has a say "
            "in confirming them: judge each part for itself.",
            reference.looks_harmful(both),
        ),
        (
            "In the second part the sign of the mean alone is asked for. Half of all harmless "
            "heads pass that: ask for 2 standard errors again.",
            suspects & (confirming.mean(dim=1) < 0),
        ),
        (
            "Those are the suspects that were not confirmed. Asked are the confirmed ones.",
            suspects & ~again,
        ),
    ]
    return [Mistake(says, flags.double()) for says, flags in found]


# ---------------------------------------------------------------------------------- twins


def of_merge_twins(W_O: Tensor, groups: Sequence[int]) -> list[Mistake]:
    """Mistakes in adding up the rows of W_O of equal heads."""
    h, d_model = len(groups), W_O.shape[1]
    d_head = W_O.shape[0] // h
    by_head = W_O.reshape(h, d_head, d_model)
    members = [[i for i, g in enumerate(groups) if g == group] for group in range(max(groups) + 1)]
    sums = torch.stack([by_head[which].sum(dim=0) for which in members])
    sizes = torch.tensor([len(which) for which in members])[:, None, None]
    firsts = torch.stack([by_head[which[0]] for which in members])
    dealt = W_O.reshape(d_head, h, d_model).transpose(0, 1)
    same = "All heads use the same rows: that holds only where twins share W_O as well. "
    found = [
        (
            "The rows are averaged. Each twin adds to the output, so add its rows.",
            (sums / sizes).flatten(0, 1),
        ),
        (
            "One head of each group is kept, and what the others added is lost. Add their rows "
            "of W_O.",
            firsts.flatten(0, 1),
        ),
        (
            f"{same}Here each has its own rows of W_O: add them.",
            (firsts * sizes).flatten(0, 1),
        ),
        (
            "The rows are dealt out in turn, 0, h, 2h, … to head 0. Head i has neighbouring rows: "
            "i·d_head up to (i+1)·d_head − 1.",
            torch.cat([dealt[which].sum(dim=0) for which in members]),
        ),
        (
            "All heads are put into one. Heads of different groups differ: each group gets rows "
            "of its own.",
            by_head.sum(dim=0),
        ),
        (
            "There are still rows for every head. One block of rows for each group is enough.",
            sums[list(groups)].flatten(0, 1),
        ),
        (
            "The rows of the groups are interleaved. All d_head rows of group 0 come first.",
            sums.transpose(0, 1).flatten(0, 1),
        ),
        (
            "The groups are in another order. Group 0 comes first.",
            sums.flip(0).flatten(0, 1),
        ),
        (
            "The d_head rows of a head are added up, too. A row belongs to one column of z: add "
            "row 0 of the twins to row 0, row 1 to row 1.",
            sums.sum(dim=1),
        ),
        (
            "That has an axis for the groups. Put their rows below one another, as in W_O: "
            "flatten(0, 1).",
            sums,
        ),
    ]
    if W_O.shape[0] == d_model:
        columns = W_O.reshape(d_model, h, d_head).transpose(0, 1)  # [h, d_model, d_head]
        cut = torch.stack([columns[which].sum(dim=0) for which in members])
        found += [
            (
                "Columns of W_O are added up. A head meets the rows of W_O, so cut along axis 0.",
                cut.transpose(0, 1).flatten(1),
            ),
            (
                "Columns of W_O are added up. A head meets the rows of W_O, so cut along axis 0.",
                cut.mT.flatten(0, 1),
            ),
        ]
    return [Mistake(says, value) for says, value in found]
