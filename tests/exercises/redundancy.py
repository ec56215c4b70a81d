"""Answers to the assignment `redundancy`: wrong ones with their misconceptions, right ones."""

from __future__ import annotations

from mha_course.grading.bank import Right, Wrong

# ------------------------------------------------------------------- pattern_divergence

KL = """
def kl(p, q):
    return (torch.xlogy(p, p) - torch.xlogy(p, q)).sum(-1)


def entropy(p):
    return torch.special.entr(p).sum(-1)


def pattern_divergence(one, other):
    m = (one + other) / 2
    return {}
"""
BITS = "/ math.log(2)"
HALF = "(kl(one, m) + kl(other, m)) / 2"

# --------------------------------------------------------------------------- linear_cka

CKA = """
def linear_cka(z_i, z_j):
    a, b = z_i - z_i.mean(0), z_j - z_j.mean(0)
    {}
    return (a.T @ b).norm() ** 2 / ((a.T @ a).norm() * (b.T @ b).norm())
"""

# ---------------------------------------------------------------------- gate_importance

GATE = """
def gate_importance(c, g):
    products = c * g.unsqueeze(1)
    return {}
"""

# ------------------------------------------------------------------------ leave_one_out

LEAVE = """
def leave_one_out(loss, num_heads):
    n = num_heads
    intact = loss([1.0] * n)
    without = [loss([float(j != i) for j in range(n)]) for i in range(n)]
    return {}
"""

# ------------------------------------------------------------------------ pruning_order

ORDER = """
def pruning_order(importance):
    L, h = importance.shape
    flat = importance.flatten()
    at = flat.argsort(stable=True)
    return {}
"""

# ------------------------------------------------------------------------ pruning_curve

CURVE = """
def pruning_curve(loss, order):
    h = len(order)
    points = [loss([float(i not in order[:k]) for i in range(h)]) for k in range(h + 1)]
    return {}
"""

# -------------------------------------------------------------------- share_that_can_go

SHARE = """
def share_that_can_go(losses, limit):
    h = len(losses) - 1
    within = [x <= losses[0] + limit for x in losses]
    k = within.index(False) - 1 if False in within else h
    return {}
"""

# -------------------------------------------------------------------- as_good_by_chance

CHANCE = "def as_good_by_chance(curve, random_curves):\n    return {}"

# ----------------------------------------------------------------------- negative_heads

HARM = """
def looks_harmful(changes):
    n = changes.shape[1]
    t = changes.mean(1) / changes.std(1) * n ** 0.5
    return {}


def negative_heads(finding, confirming):
    return {}
"""
SUSPECT, BOTH = "t < -2", "looks_harmful(finding) & looks_harmful(confirming)"

# -------------------------------------------------------------------------- merge_twins

TWINS = """
def merge_twins(W_O, groups):
    h = len(groups)
    d, width = W_O.shape[0] // h, W_O.shape[1]
    G = max(groups) + 1
    blocks = W_O.reshape(h, d, width)
    members = [[i for i in range(h) if groups[i] == g] for g in range(G)]
    return {}
"""
BOTH_TESTS = "test_pattern_divergence", "test_pattern_divergence_zeros"

WRONG = [
    Wrong(
        "pattern_divergence",
        "nats for bits",
        KL.format(f"({HALF}).mean()"),
        "takes log2, or divides by ln 2",
    ),
    Wrong(
        "pattern_divergence",
        "KL divergence is a distance",
        KL.format(f"kl(one, other).mean() {BITS}"),
        "Kullback-Leibler divergence of the two patterns",
    ),
    Wrong(
        "pattern_divergence",
        "KL in both directions makes it symmetric and that is enough",
        KL.format(f"(kl(one, other) + kl(other, one)).mean() / 2 {BITS}"),
        "Kullback-Leibler divergence of the two patterns",
    ),
    Wrong(
        "pattern_divergence",
        "one side only",
        KL.format(f"kl(one, m).mean() {BITS}"),
        "One of the two patterns alone",
    ),
    Wrong(
        "pattern_divergence",
        "forgets to halve the two parts",
        KL.format(f"(kl(one, m) + kl(other, m)).mean() {BITS}"),
        "The divergence is half of their sum",
    ),
    Wrong(
        "pattern_divergence",
        "whole entropies are subtracted",
        KL.format(f"(entropy(m) - entropy(one) - entropy(other)).mean() {BITS}"),
        "Take their mean away",
    ),
    Wrong(
        "pattern_divergence",
        "adds up over the queries",
        KL.format(f"({HALF}).sum() {BITS}"),
        "Average over them",
    ),
    Wrong(
        "pattern_divergence",
        "averages over the keys",
        KL.format(f"({HALF}).mean() / one.shape[1] {BITS}"),
        "The mean runs over keys, too",
    ),
    Wrong(
        "pattern_divergence",
        "compares the patterns averaged over the queries",
        """
        def pattern_divergence(one, other):
            p, q = one.mean(0), other.mean(0)
            H = lambda x: torch.special.entr(x).sum() / math.log(2)
            return H((p + q) / 2) - (H(p) + H(q)) / 2
        """,
        "averaged over the queries before they are compared",
    ),
    Wrong(
        "pattern_divergence",
        "returns the distance, its root",
        KL.format(f"(({HALF}).mean() {BITS}).sqrt()"),
        "That is the root",
    ),
    Wrong(
        "pattern_divergence",
        "total variation",
        KL.format("(one - other).abs().sum(-1).mean() / 2"),
        "That is the total variation",
    ),
    Wrong(
        "pattern_divergence",
        "p·log p at p = 0 is left to the computer",
        """
        def pattern_divergence(one, other):
            H = lambda x: -(x * x.log2()).sum(-1)
            return (H((one + other) / 2) - (H(one) + H(other)) / 2).mean()
        """,
        "0 · (−inf) is NaN",
        keeps=("test_pattern_divergence",),
    ),
    Wrong(
        "pattern_divergence",
        "drops keys that one of the heads leaves out",
        """
        def pattern_divergence(one, other):
            both = (one > 0) & (other > 0)
            H = lambda x: (torch.special.entr(x) * both).sum(-1) / math.log(2)
            return (H((one + other) / 2) - (H(one) + H(other)) / 2).mean()
        """,
        "are dropped",
        keeps=("test_pattern_divergence",),
    ),
    Wrong(
        "linear_cka",
        "no centring",
        CKA.format("a, b = z_i, z_j"),
        "The outputs are not centred",
    ),
    Wrong(
        "linear_cka",
        "centres each token",
        CKA.format("a, b = z_i - z_i.mean(1, True), z_j - z_j.mean(1, True)"),
        "over the columns of each token",
    ),
    Wrong(
        "linear_cka",
        "one mean for all numbers",
        CKA.format("a, b = z_i - z_i.mean(), z_j - z_j.mean()"),
        "one mean over all numbers",
    ),
    Wrong(
        "linear_cka",
        "standardises the columns",
        CKA.format("a, b = a / a.std(0), b / b.std(0)"),
        "standard deviation as well",
    ),
    Wrong(
        "linear_cka",
        "returns the root",
        CKA.format("return (a.T @ b).norm() / ((a.T @ a).norm() * (b.T @ b).norm()).sqrt()"),
        "That is the root of CKA",
    ),
    Wrong(
        "linear_cka",
        "forgets the square above",
        CKA.format("return (a.T @ b).norm() / ((a.T @ a).norm() * (b.T @ b).norm())"),
        "The numerator is not squared",
    ),
    Wrong(
        "linear_cka",
        "forgets the root below",
        CKA.format("return (a.T @ b).norm()**2 / ((a.T @ a).norm() * (b.T @ b).norm())**2"),
        "The denominator is squared as well",
    ),
    Wrong(
        "linear_cka",
        "divides by the sizes of the outputs",
        CKA.format("return ((a.T @ b).norm() / a.norm() / b.norm()) ** 2"),
        "The denominator has the sizes of the outputs",
    ),
    Wrong(
        "linear_cka",
        "cosine of the flattened outputs",
        "def linear_cka(a, b):\n    return torch.cosine_similarity(a.flatten(), b.flatten(), 0)",
        "That is the cosine of the flattened outputs",
    ),
    Wrong(
        "linear_cka",
        "tokens times tokens of the other head",
        CKA.format("a, b = a.T, b.T"),
        "The products are z_i z_jᵀ",
    ),
    Wrong(
        "linear_cka",
        "takes the package's default, which is debiased",
        """
        def linear_cka(a, b):
            from mha_course.heads.similarity import output_cka
            return output_cka(torch.stack([a, b]))[0, 1]
        """,
        "That is the debiased CKA",
    ),
    Wrong(
        "gate_importance",
        "absolute value after the mean over texts",
        GATE.format("products.sum((2, 3)).mean(0).abs()"),
        "taken after the mean over the texts",
    ),
    Wrong(
        "gate_importance",
        "no absolute value",
        GATE.format("products.sum((2, 3)).mean(0)"),
        "The absolute value is missing",
    ),
    Wrong(
        "gate_importance",
        "absolute value of every product",
        GATE.format("products.abs().sum((2, 3)).mean(0)"),
        "taken of every product",
    ),
    Wrong(
        "gate_importance",
        "a gate for each token",
        GATE.format("products.sum(3).abs().sum(2).mean(0)"),
        "taken for each token",
    ),
    Wrong(
        "gate_importance",
        "adds up over the texts",
        GATE.format("products.sum((2, 3)).abs().sum(0)"),
        "The texts are added up",
    ),
    Wrong(
        "gate_importance",
        "mean over the tokens",
        GATE.format("products.sum(3).mean(2).abs().mean(0)"),
        "The mean is taken over the tokens",
    ),
    Wrong(
        "gate_importance",
        "root mean square",
        GATE.format("products.sum((2, 3)).square().mean(0).sqrt()"),
        "root of the mean of the squares",
    ),
    Wrong(
        "gate_importance",
        "a large output is an important one",
        GATE.format("c.flatten(2).norm(dim=2).mean(0)"),
        "The gradient is not used",
    ),
    Wrong(
        "gate_importance",
        "multiplies lengths",
        GATE.format("(c.flatten(2).norm(dim=2) * g.flatten(1).norm(dim=1)[:, None]).mean(0)"),
        "the direction is lost",
    ),
    Wrong(
        "gate_importance",
        "one number for each text",
        GATE.format("products.sum((2, 3)).abs()"),
        "one number for each text",
    ),
    Wrong(
        "gate_importance",
        "normalises within the layer",
        GATE.format("torch.nn.functional.normalize(products.sum((2, 3)).abs().mean(0), dim=0)"),
        "divided by the norm of the layer",
    ),
    Wrong(
        "leave_one_out",
        "returns the losses",
        LEAVE.format("without"),
        "is not subtracted",
    ),
    Wrong(
        "leave_one_out",
        "subtracts the other way round",
        LEAVE.format("[intact - w for w in without]"),
        "The sign is reversed",
    ),
    Wrong(
        "leave_one_out",
        "heads stay off: one list of gates for all",
        """
        def leave_one_out(loss, num_heads):
            gates, found = [1.0] * num_heads, []
            intact = loss(gates)
            for i in range(num_heads):
                gates[i] = 0.0
                found.append(loss(gates) - intact)
            return found
        """,
        "The heads stay off",
    ),
    Wrong(
        "leave_one_out",
        "heads stay off, step by step",
        """
        def leave_one_out(loss, num_heads):
            gates, found = [1.0] * num_heads, []
            for i in range(num_heads):
                before = loss(gates)
                gates[i] = 0.0
                found.append(loss(gates) - before)
            return found
        """,
        "compared with the step before",
    ),
    Wrong(
        "leave_one_out",
        "the one head is kept and not removed",
        LEAVE.format("[loss([float(j == i) for j in range(n)]) - intact for i in range(n)]"),
        "The gates are the wrong way round",
    ),
    Wrong(
        "leave_one_out",
        "what a head does alone",
        LEAVE.format("[loss([0] * n) - loss([int(j == i) for j in range(n)]) for i in range(n)]"),
        "what each head does alone",
    ),
    Wrong(
        "leave_one_out",
        "baseline without any head",
        LEAVE.format("[w - loss([0.0] * n) for w in without]"),
        "The loss without any head is subtracted",
    ),
    Wrong(
        "leave_one_out",
        "ratio for a difference",
        LEAVE.format("[w / intact for w in without]"),
        "That is a ratio",
    ),
    Wrong(
        "leave_one_out",
        "relative rise",
        LEAVE.format("[w / intact - 1 for w in without]"),
        "divided by the loss of the whole model",
    ),
    Wrong(
        "leave_one_out",
        "importance has no sign",
        LEAVE.format("[abs(w - intact) for w in without]"),
        "The signs are gone",
    ),
    Wrong(
        "pruning_order",
        "most important first",
        ORDER.format("[divmod(int(i), h) for i in flat.argsort(descending=True, stable=True)]"),
        "The most important heads go first",
    ),
    Wrong(
        "pruning_order",
        "absolute values",
        ORDER.format("[divmod(int(i), h) for i in flat.abs().argsort(stable=True)]"),
        "The signs are ignored",
    ),
    Wrong(
        "pruning_order",
        "ranks for an order",
        ORDER.format("[divmod(int(i), h) for i in at.argsort()]"),
        "Those are ranks",
    ),
    Wrong(
        "pruning_order",
        "ranks in the shape of the layers",
        ORDER.format("at.argsort().view(L, h)"),
        "Those are ranks",
    ),
    Wrong(
        "pruning_order",
        "heads counted through",
        ORDER.format("at"),
        "counted through all layers",
    ),
    Wrong(
        "pruning_order",
        "divides by the number of layers",
        ORDER.format("[divmod(int(i), L) for i in at]"),
        "The layer is taken from the number of layers",
    ),
    Wrong(
        "pruning_order",
        "(head, layer)",
        ORDER.format("[(int(i) % h, int(i) // h) for i in at]"),
        "The pairs are (head, layer)",
    ),
    Wrong(
        "pruning_order",
        "layer by layer",
        ORDER.format("[(l, int(i)) for l in range(L) for i in importance[l].argsort(stable=True)]"),
        "Each layer is sorted for itself",
    ),
    Wrong(
        "pruning_order",
        "ties by head first",
        ORDER.format(
            "sorted([(l, i) for i in range(h) for l in range(L)],"
            " key=lambda at: importance[at].item())"
        ),
        "Heads with the same importance are in the wrong order",
    ),
    Wrong(
        "pruning_curve",
        "the intact model is left out",
        CURVE.format("points[1:]"),
        "The first number is missing",
    ),
    Wrong(
        "pruning_curve",
        "stops before the last head",
        CURVE.format("points[:-1]"),
        "The last number is missing",
    ),
    Wrong(
        "pruning_curve",
        "one head at a time",
        """
        def pruning_curve(loss, order):
            found = [loss([1.0] * len(order))]
            for head in order:
                gates = [1.0] * len(order)
                gates[head] = 0.0
                found.append(loss(gates))
            return found
        """,
        "Each head is removed alone",
    ),
    Wrong(
        "pruning_curve",
        "damages add up",
        """
        def pruning_curve(loss, order):
            found = [loss([1.0] * len(order))]
            for head in order:
                alone = loss([float(i != head) for i in range(len(order))])
                found.append(found[-1] + alone - found[0])
            return found
        """,
        "The damages of single removals are added up",
    ),
    Wrong(
        "pruning_curve",
        "rises for losses",
        CURVE.format("[p - points[0] for p in points]"),
        "The loss of the whole model is subtracted",
    ),
    Wrong(
        "pruning_curve",
        "takes heads off the end",
        """
        def pruning_curve(loss, order):
            gates = [1.0] * len(order)
            found = [loss(gates)]
            while order:
                gates[order.pop()] = 0.0
                found.append(loss(gates))
            return found
        """,
        "The order is followed from its end",
    ),
    Wrong(
        "pruning_curve",
        "keeps what should go",
        CURVE.format("[loss([float(i in order[:k]) for i in range(h)]) for k in range(h + 1)]"),
        "The first k heads are left in",
    ),
    Wrong(
        "pruning_curve",
        "order as ranks",
        CURVE.format("[loss([float(place >= k) for place in order]) for k in range(h + 1)]"),
        "order is read as ranks",
    ),
    Wrong(
        "pruning_curve",
        "removes heads by their number",
        CURVE.format("[loss([0.0] * k + [1.0] * (h - k)) for k in range(h + 1)]"),
        "Heads 0, 1, 2, … are removed",
    ),
    Wrong(
        "share_that_can_go",
        "where the curve is below the limit for the last time",
        SHARE.format("max(i for i, good in enumerate(within) if good) / h"),
        "Stop where it passes the limit first",
    ),
    Wrong(
        "share_that_can_go",
        "counts all points below the limit",
        SHARE.format("sum(within[1:]) / h"),
        "All points below the limit are counted",
    ),
    Wrong(
        "share_that_can_go",
        "a number for a share",
        SHARE.format("k"),
        "That is a number of heads",
    ),
    Wrong(
        "share_that_can_go",
        "the first point that is too high",
        SHARE.format("(k + 1) / h"),
        "the first point that is too high",
    ),
    Wrong(
        "share_that_can_go",
        "share of the points",
        SHARE.format("k / len(losses)"),
        "The share is of the points",
    ),
    Wrong(
        "share_that_can_go",
        "a percentage",
        SHARE.format("100 * k / h"),
        "That is a percentage",
    ),
    Wrong(
        "share_that_can_go",
        "the limit is relative",
        """
        def share_that_can_go(losses, limit):
            k = 0
            while k + 1 < len(losses) and losses[k + 1] <= losses[0] * (1 + limit):
                k += 1
            return k / (len(losses) - 1)
        """,
        "The limit is taken as a share of the loss",
    ),
    Wrong(
        "share_that_can_go",
        "a rise of exactly the limit is too much",
        """
        def share_that_can_go(losses, limit):
            k = 0
            while k + 1 < len(losses) and losses[k + 1] < losses[0] + limit:
                k += 1
            return k / (len(losses) - 1)
        """,
        "exactly on the limit is left out",
    ),
    Wrong(
        "share_that_can_go",
        "compares neighbours",
        """
        def share_that_can_go(losses, limit):
            k = 0
            while k + 1 < len(losses) and losses[k + 1] - losses[k] <= limit:
                k += 1
            return k / (len(losses) - 1)
        """,
        "compared with the one before it",
    ),
    Wrong(
        "share_that_can_go",
        "a fall counts as a loss",
        """
        def share_that_can_go(losses, limit):
            k = 0
            while k + 1 < len(losses) and abs(losses[k + 1] - losses[0]) <= limit:
                k += 1
            return k / (len(losses) - 1)
        """,
        "A fall of the loss is taken for a loss",
    ),
    Wrong(
        "as_good_by_chance",
        "a high loss is good",
        CHANCE.format("(random_curves >= curve).float().mean(0)"),
        "The direction is reversed",
    ),
    Wrong(
        "as_good_by_chance",
        "how often the ranking wins",
        CHANCE.format("(random_curves > curve).float().mean(0)"),
        "The direction is reversed",
    ),
    Wrong(
        "as_good_by_chance",
        "ties do not count",
        CHANCE.format("(random_curves < curve).float().mean(0)"),
        "Equal losses are left out",
    ),
    Wrong(
        "as_good_by_chance",
        "counts for shares",
        CHANCE.format("(random_curves <= curve).sum(0)"),
        "That is a number of orders",
    ),
    Wrong(
        "as_good_by_chance",
        "mean along the curves",
        CHANCE.format("(random_curves <= curve).float().mean(1)"),
        "The mean runs along each curve",
    ),
    Wrong(
        "as_good_by_chance",
        "one number for all",
        CHANCE.format("(random_curves <= curve).float().mean()"),
        "That is one number for all",
    ),
    Wrong(
        "as_good_by_chance",
        "compares with the mean of chance",
        CHANCE.format("(random_curves.mean(0) <= curve).float()"),
        "compared with the mean of the random ones",
    ),
    Wrong(
        "as_good_by_chance",
        "compares with the best of chance",
        CHANCE.format("(random_curves.amin(0) <= curve).float()"),
        "compared with the best random order alone",
    ),
    Wrong(
        "as_good_by_chance",
        "p-value",
        CHANCE.format("((random_curves <= curve).sum(0) + 1) / (len(random_curves) + 1)"),
        "One is added above and below",
    ),
    Wrong(
        "negative_heads",
        "a rise of the loss is harm",
        HARM.format("t > 2", BOTH),
        "Those are the heads that help",
    ),
    Wrong(
        "negative_heads",
        "any mean below 0 is harm",
        HARM.format("t < 0", BOTH),
        "A mean below 0 is taken for proof",
    ),
    Wrong(
        "negative_heads",
        "standard deviation for standard error",
        HARM.format("t < -2 * n**0.5", BOTH),
        "The spread of the pieces is taken",
    ),
    Wrong(
        "negative_heads",
        "divides by n and not by its root",
        HARM.format("t < -2 / n**0.5", BOTH),
        "Divide by its root",
    ),
    Wrong(
        "negative_heads",
        "far from 0 on either side",
        HARM.format("t.abs() > 2", BOTH),
        "Heads that help are among them",
    ),
    Wrong(
        "negative_heads",
        "the loss must fall on each piece",
        HARM.format("(changes < 0).all(1)", BOTH),
        "must fall on each single piece",
    ),
    Wrong(
        "negative_heads",
        "n for n − 1",
        """
        import numpy as np

        def looks_harmful(changes):
            c = changes.numpy()
            return c.mean(1) < -2 * np.std(c, axis=1) / math.sqrt(c.shape[1])

        def negative_heads(finding, confirming):
            return looks_harmful(finding) & looks_harmful(confirming)
        """,
        "numpy needs ddof=1",
        keeps=("test_negative_heads_confirmed",),
    ),
    Wrong(
        "negative_heads",
        "numbers of heads",
        HARM.format("(t < -2).nonzero().flatten()", "looks_harmful(finding)"),
        "Those are numbers of heads",
    ),
    Wrong(
        "negative_heads",
        "the part that chose confirms",
        HARM.format(SUSPECT, "looks_harmful(finding) & looks_harmful(finding)"),
        "The part that chose them cannot confirm them",
        keeps=("test_negative_heads",),
    ),
    Wrong(
        "negative_heads",
        "only the second part counts",
        HARM.format(SUSPECT, "looks_harmful(confirming)"),
        "whether suspects or not",
        keeps=("test_negative_heads",),
    ),
    Wrong(
        "negative_heads",
        "one of the two is enough",
        HARM.format(SUSPECT, BOTH.replace("&", "|")),
        "in one of the parts is taken",
        keeps=("test_negative_heads",),
    ),
    Wrong(
        "negative_heads",
        "more text is better: all in one",
        HARM.format(SUSPECT, "looks_harmful(torch.cat([finding, confirming], dim=1))"),
        "thrown together",
        keeps=("test_negative_heads",),
    ),
    Wrong(
        "negative_heads",
        "the sign alone confirms",
        HARM.format(SUSPECT, "looks_harmful(finding) & (confirming.mean(1) < 0)"),
        "the sign of the mean alone",
        keeps=("test_negative_heads",),
    ),
    Wrong(
        "merge_twins",
        "averages the rows",
        TWINS.format("torch.cat([blocks[m].mean(0) for m in members])"),
        "The rows are averaged",
    ),
    Wrong(
        "merge_twins",
        "keeps one of the twins",
        TWINS.format("torch.cat([blocks[m[0]] for m in members])"),
        "what the others added is lost",
    ),
    Wrong(
        "merge_twins",
        "twins share W_O",
        TWINS.format("torch.cat([len(m) * blocks[m[0]] for m in members])"),
        "only where twins share W_O as well",
    ),
    Wrong(
        "merge_twins",
        "rows dealt out in turn",
        TWINS.format("torch.cat([sum(W_O[i::h] for i in m) for m in members])"),
        "dealt out in turn",
    ),
    Wrong(
        "merge_twins",
        "columns for rows",
        TWINS.format("torch.cat([sum(W_O[:, i * d : (i + 1) * d].T for i in m) for m in members])"),
        "Columns of W_O are added up",
    ),
    Wrong(
        "merge_twins",
        "adds up the rows of a head, too",
        TWINS.format("torch.stack([blocks[m].sum((0, 1)) for m in members])"),
        "The d_head rows of a head are added up, too",
    ),
    Wrong(
        "merge_twins",
        "all heads are twins",
        TWINS.format("blocks.sum(0)"),
        "All heads are put into one",
        keeps=("test_merge_twins",),
    ),
    Wrong(
        "merge_twins",
        "rows of the groups interleaved",
        TWINS.format("torch.stack([blocks[m].sum(0) for m in members], 1).flatten(0, 1)"),
        "The rows of the groups are interleaved",
        keeps=("test_merge_twins",),
    ),
    Wrong(
        "merge_twins",
        "rows for every head",
        TWINS.format("torch.cat([blocks[members[g]].sum(0) for g in groups])"),
        "There are still rows for every head",
    ),
]

RIGHT = [
    Right("pattern_divergence", "by Kullback-Leibler", KL.format(f"({HALF}).mean() {BITS}")),
    Right(
        "pattern_divergence",
        "loops in Python",
        """
        def pattern_divergence(one, other):
            def H(row):
                return -sum(w * math.log2(w) for w in row if w > 0)

            total = 0.0
            for p, q in zip(one.tolist(), other.tolist()):
                total += H([(a + b) / 2 for a, b in zip(p, q)]) - (H(p) + H(q)) / 2
            return total / len(one)
        """,
    ),
    Right(
        "pattern_divergence",
        "numpy, with a tiny number for 0",
        """
        import numpy as np

        def pattern_divergence(one, other):
            p, q = one.double().numpy(), other.double().numpy()
            H = lambda x: -(x * np.log2(np.maximum(x, 1e-300))).sum(axis=-1)
            return np.mean(H((p + q) / 2) - H(p) / 2 - H(q) / 2)
        """,
    ),
    Right(
        "pattern_divergence",
        "in place, float32, prints",
        """
        def pattern_divergence(one, other):
            mixed = one.clone().add_(other).div_(2)
            parts = [(x * (x + 1e-30).log2()).sum(-1) for x in (mixed, one, other)]
            print(parts[0].shape)
            return ((parts[1] + parts[2]) / 2 - parts[0]).mean()
        """,
    ),
    Right(
        "linear_cka",
        "kernels of tokens",
        """
        def linear_cka(z_i, z_j):
            T = len(z_i)
            centre = torch.eye(T) - 1 / T
            K, L = (centre @ z @ z.T @ centre for z in (z_i, z_j))
            return (K * L).sum() / (K.norm() * L.norm())
        """,
    ),
    Right(
        "linear_cka",
        "in place, einsum, a warning",
        """
        import warnings

        def linear_cka(z_i, z_j):
            warnings.warn("a right answer may warn")
            z_i -= z_i.mean(0, keepdim=True)
            z_j -= z_j.mean(0, keepdim=True)
            hsic = lambda a, b: torch.einsum("ti,tj->ij", a, b).pow(2).sum()
            return hsic(z_i, z_j) / torch.sqrt(hsic(z_i, z_i) * hsic(z_j, z_j))
        """,
    ),
    Right(
        "linear_cka",
        "numpy, covariances",
        """
        import numpy as np

        def linear_cka(z_i, z_j):
            x, y = z_i.numpy().astype(float), z_j.numpy().astype(float)
            x, y = x - x.mean(0), y - y.mean(0)
            n = len(x) - 1
            return float(
                ((x.T @ y / n) ** 2).sum()
                / np.linalg.norm(x.T @ x / n) / np.linalg.norm(y.T @ y / n)
            )
        """,
    ),
    Right(
        "gate_importance",
        "einsum",
        """
        def gate_importance(contributions, gradient):
            return torch.einsum("bhtd,btd->bh", contributions, gradient).abs().mean(0)
        """,
    ),
    Right(
        "gate_importance",
        "loops",
        """
        def gate_importance(c, g):
            found = []
            for i in range(c.shape[1]):
                slopes = [float((c[b, i] * g[b]).sum()) for b in range(c.shape[0])]
                found.append(sum(abs(s) for s in slopes) / len(slopes))
            return found
        """,
    ),
    Right(
        "gate_importance",
        "autograd on real gates",
        """
        def gate_importance(c, g):
            B, h = c.shape[:2]
            gates = torch.ones(B, h, requires_grad=True)
            output = (gates[:, :, None, None] * c).sum(1)
            output.backward(g)
            return gates.grad.abs().mean(0)
        """,
    ),
    Right(
        "leave_one_out",
        "a comprehension",
        LEAVE.format("[w - intact for w in without]"),
    ),
    Right(
        "leave_one_out",
        "one list, opened again",
        """
        def leave_one_out(loss, num_heads):
            gates = [1] * num_heads
            before, found = loss(gates), {}
            for i in range(num_heads):
                gates[i] = 0
                found[i] = loss(gates) - before
                gates[i] = 1
            return [found[i] for i in sorted(found)]
        """,
    ),
    Right(
        "leave_one_out",
        "tensors of gates",
        """
        def leave_one_out(loss, num_heads):
            gates = 1 - torch.eye(num_heads, dtype=torch.float64)
            return torch.tensor([loss(row) for row in gates]) - loss(torch.ones(num_heads))
        """,
    ),
    Right(
        "pruning_order",
        "a stable argsort",
        ORDER.format("[divmod(int(i), h) for i in at]"),
    ),
    Right(
        "pruning_order",
        "numpy, an array of pairs",
        """
        import numpy as np

        def pruning_order(importance):
            values = importance.numpy()
            flat = np.argsort(values, axis=None, kind="stable")
            return np.stack(np.unravel_index(flat, values.shape), axis=1)
        """,
    ),
    Right(
        "pruning_order",
        "picks the smallest again and again",
        """
        def pruning_order(importance):
            left = {(l, i): importance[l, i].item() for l in range(importance.shape[0])
                    for i in range(importance.shape[1])}
            order = []
            while left:
                least = min(left, key=lambda at: (left[at], at))
                order.append(list(least))
                del left[least]
            return order
        """,
    ),
    Right("pruning_curve", "each point anew", CURVE.format("torch.tensor(points)")),
    Right(
        "pruning_curve",
        "takes heads off the front of the list",
        """
        def pruning_curve(loss, order):
            on = {head: 1.0 for head in range(len(order))}
            found = []
            while True:
                found.append(loss(list(on.values())))
                if not order:
                    return found
                on[order.pop(0)] = 0.0
        """,
    ),
    Right(
        "pruning_curve",
        "numpy gates",
        """
        import numpy as np

        def pruning_curve(loss, order):
            gates = np.ones(len(order))
            found = [loss(gates)]
            for head in order:
                gates[head] *= 0
                found += [loss(gates)]
            return np.array(found)
        """,
    ),
    Right("share_that_can_go", "looks for the first False", SHARE.format("k / h")),
    Right(
        "share_that_can_go",
        "running maximum in torch",
        """
        def share_that_can_go(losses, limit):
            highest = torch.tensor(losses, dtype=torch.float64).cummax(0).values
            return (highest <= losses[0] + limit)[1:].double().mean()
        """,
    ),
    Right(
        "share_that_can_go",
        "from the right, all prefixes",
        """
        def share_that_can_go(losses, limit):
            for k in range(len(losses) - 1, -1, -1):
                if max(losses[: k + 1]) <= losses[0] + limit:
                    return k / (len(losses) - 1)
        """,
    ),
    Right(
        "as_good_by_chance",
        "numpy",
        """
        def as_good_by_chance(curve, random_curves):
            return (random_curves.numpy() <= curve.numpy()).mean(axis=0)
        """,
    ),
    Right(
        "as_good_by_chance",
        "loops",
        """
        def as_good_by_chance(curve, random_curves):
            shares = []
            for k, mine in enumerate(curve.tolist()):
                column = random_curves[:, k].tolist()
                shares.append(sum(1 for other in column if other <= mine) / len(column))
            return shares
        """,
    ),
    Right(
        "as_good_by_chance",
        "what is left when the worse ones are gone",
        CHANCE.format("1 - (random_curves > curve[None, :]).double().mean(dim=0)"),
    ),
    Right(
        "negative_heads",
        "numpy with ddof=1",
        """
        import numpy as np

        def looks_harmful(changes):
            c = changes.numpy()
            return c.mean(1) < -2 * np.std(c, axis=1, ddof=1) / math.sqrt(c.shape[1])

        def negative_heads(finding, confirming):
            return np.logical_and(looks_harmful(finding), looks_harmful(confirming))
        """,
    ),
    Right(
        "negative_heads",
        "lists and the statistics module",
        """
        import statistics

        def looks_harmful(changes):
            rows = changes.tolist()
            return [
                statistics.mean(r) + 2 * statistics.stdev(r) / len(r) ** 0.5 < 0 for r in rows
            ]

        def negative_heads(finding, confirming):
            return [a and b for a, b in zip(looks_harmful(finding), looks_harmful(confirming))]
        """,
    ),
    Right(
        "negative_heads",
        "t-values",
        HARM.format(SUSPECT, "torch.logical_and(*map(looks_harmful, (finding, confirming)))"),
    ),
    Right(
        "merge_twins",
        "index_add",
        """
        def merge_twins(W_O, groups):
            blocks = W_O.unflatten(0, (len(groups), -1))
            merged = torch.zeros(max(groups) + 1, *blocks.shape[1:])
            merged.index_add_(0, torch.tensor(groups), blocks)
            return merged.flatten(0, 1)
        """,
    ),
    Right(
        "merge_twins",
        "a matrix of ones and zeros, einsum",
        """
        def merge_twins(W_O, groups):
            member = torch.nn.functional.one_hot(torch.tensor(groups)).double()  # [h, G]
            blocks = W_O.double().reshape(len(groups), -1, W_O.shape[1])
            return torch.einsum("hg,hdm->gdm", member, blocks).reshape(-1, W_O.shape[1])
        """,
    ),
    Right(
        "merge_twins",
        "row by row",
        """
        def merge_twins(W_O, groups):
            d = W_O.shape[0] // len(groups)
            out = [[0.0] * W_O.shape[1] for _ in range((max(groups) + 1) * d)]
            for i, row in enumerate(W_O.tolist()):
                target = groups[i // d] * d + i % d
                out[target] = [a + b for a, b in zip(out[target], row)]
            return out
        """,
    ),
]

EQUIVALENT = {
    "negative_heads: changes.mean(dim=1) < -2 * error → changes.mean(dim=1) <= -2 * error": (
        "they differ only at exactly 2 standard errors, where rounding of honest answers decides"
    ),
}
