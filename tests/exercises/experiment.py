"""Answers to the assignment `experiment`: wrong ones with the misconception, and right ones."""

from __future__ import annotations

from mha_course.grading.bank import Right, Wrong

PAIR = """
def pair_targets(x):
    B, T, D = x.shape
    previous, first = x[:, 1:-1], x[:, :1].expand(-1, T - 2, -1)
    return {}
"""
SPLIT_RIGHT = """
def split_rows(groups, held_out):
    return ["test" if group in held_out else "train" for group in groups]
"""
SCORE_RIGHT = """
def honest_score(scores, choose_on, measure_on):
    best = scores[choose_on].mean(dim=0).argmax()
    return scores[measure_on, best].mean()
"""
SPLIT = SCORE_RIGHT + "\ndef split_rows(groups, held_out):\n    return {}\n"
SCORE = SPLIT_RIGHT + "\ndef honest_score(scores, choose_on, measure_on):\n    {}\n"
ROLES_RIGHT = """
def role_scores(weights, wanted):
    there = torch.einsum("shtj,rtj->shr", weights, wanted.to(weights))
    return there / wanted.any(-1).sum(-1)
"""
UNIFORM_RIGHT = """
def uniform_scores(wanted):
    even = torch.ones(wanted.shape[1:]).tril()
    even = even / even.sum(-1, keepdim=True)
    return (even * wanted).sum((1, 2)) / wanted.any(-1).sum(-1)
"""
ROLES = (
    UNIFORM_RIGHT
    + """
def role_scores(weights, wanted):
    there = weights[:, :, None] * wanted  # [seeds, h, roles, T, T]
    queries = wanted.any(-1).sum(-1)
    return {}
"""
)
UNIFORM = (
    ROLES_RIGHT
    + """
def uniform_scores(wanted):
    T = wanted.shape[-1]
    seen = torch.arange(1, T + 1)
    per_query = wanted.sum(-1)  # [roles, T]
    queries = wanted.any(-1).sum(-1)
    return {}
"""
)
INDEX = """
def specialisation(scores):
    h, roles = scores.shape
    pairs = list(itertools.combinations(scores, 2))
    gaps = [(a - b).abs().sum() / 2 for a, b in pairs]
    return {}
"""
ASSIGN = """
def assign_roles(scores):
    h, roles = scores.shape
    every = list(itertools.permutations(range(h), roles))
    total = lambda heads: sum(float(scores[i, r]) for r, i in enumerate(heads))
    return {}
"""
GREEDY = """
def assign_roles(scores):
    heads = []
    for role in range(scores.shape[1]):
        left = [i for i in range(len(scores)) if i not in heads]
        heads.append(max(left, key=lambda i: float(scores[i, role])))
    return heads
"""
GREEDY_BY_SCORE = """
def assign_roles(scores):
    left, heads = scores.clone(), [None] * scores.shape[1]
    for _ in heads:
        i, r = divmod(int(left.argmax()), scores.shape[1])
        heads[r] = i
        left[i] = left[:, r] = -1
    return heads
"""
EXACT_RIGHT = """
def favourite_p(holders, num_heads):
    often = lambda one: max(one.count(i) for i in one)
    every = list(itertools.product(range(num_heads), repeat=len(holders)))
    return sum(often(one) >= often(holders) for one in every) / len(every)
"""
DRAWN_RIGHT = """
def drawn_p(observed, null):
    return (1 + sum(value >= observed for value in null)) / (1 + len(null))
"""
EXACT = (
    DRAWN_RIGHT
    + """
def favourite_p(holders, num_heads):
    n, often = len(holders), lambda one: max(one.count(i) for i in one)
    every = list(itertools.product(range(num_heads), repeat=n))
    share = lambda counts: sum(map(counts, every)) / len(every)
    return {}
"""
)
DRAWN = (
    EXACT_RIGHT
    + """
def drawn_p(observed, null):
    n, count = len(null), sum(value >= observed for value in null)
    return {}
"""
)
INTERVAL = """
def interval_over_seeds(values):
    import statistics
    n, mean, s = len(values), statistics.fmean(values), statistics.stdev(values)
    half = {}
    return mean - half, mean + half
"""
TWINS = """
def twin_difference(grad_Q, grad_O, num_heads):
    h = num_heads
    q = torch.stack(grad_Q.chunk(h, dim=1))
    o = torch.stack(grad_O.chunk(h, dim=0))
    spread = lambda g: (g.amax(0) - g.amin(0)).max()
    return {}
"""
VERDICT = """
def verdict(low, high, baseline, smallest_effect):
    bar, mean = baseline + smallest_effect, (low + high) / 2
    return {}
"""

WRONG = [
    # ------------------------------------------------------------------------ pair_targets
    Wrong(
        "pair_targets",
        "the first token comes first",
        PAIR.format("torch.cat([first, previous], -1)"),
        "The order is exchanged",
    ),
    Wrong(
        "pair_targets",
        "every query with a token before it counts, so it begins at query 1",
        PAIR.format("torch.cat([x[:, :-1], x[:, :1].expand(-1, T - 1, -1)], -1)"),
        "The queries begin at token 1",
    ),
    Wrong(
        "pair_targets",
        "slices the queries in place of the tokens before them",
        PAIR.format("torch.cat([x[:, 2:], first], -1)"),
        "the content of the query itself",
    ),
    Wrong(
        "pair_targets",
        "off by one: two tokens back",
        PAIR.format("torch.cat([x[:, :-2], first], -1)"),
        "looks two tokens back",
    ),
    Wrong(
        "pair_targets",
        "tokens count from 1",
        PAIR.format("torch.cat([previous, x[:, 1:2].expand(-1, T - 2, -1)], -1)"),
        "Tokens count from 0",
    ),
    Wrong(
        "pair_targets",
        "a pair is a sum",
        PAIR.format("previous + first"),
        "are added up",
    ),
    Wrong(
        "pair_targets",
        "a pair is a new axis",
        PAIR.format("torch.stack([previous, first], 2)"),
        "torch.cat and not torch.stack",
    ),
    Wrong(
        "pair_targets",
        "cat without dim -1 joins tokens",
        PAIR.format("torch.cat([previous, first], 1)"),
        "joined along the tokens",
    ),
    # ---------------------------------------------------------------------------- held_out
    Wrong(
        "held_out",
        "held_out names rows",
        SPLIT.format('["test" if i in held_out else "train" for i in range(len(groups))]'),
        "It compares the number of the row",
        keeps=("test_held_out_score",),
    ),
    Wrong(
        "held_out",
        "a split takes the last rows, whatever their group",
        SPLIT.format(
            '["train"] * (len(groups) - sum(g in held_out for g in groups)) '
            '+ ["test"] * sum(g in held_out for g in groups)'
        ),
        "that is the leak",
        keeps=("test_held_out_score",),
    ),
    Wrong(
        "held_out",
        "what is held out is what is trained on",
        SPLIT.format('["train" if g in held_out else "test" for g in groups]'),
        "The words are exchanged",
        keeps=("test_held_out_score",),
    ),
    Wrong(
        "held_out",
        "one row of each held-out group will do for a test",
        SPLIT.format(
            '["test" if g in held_out and g not in groups[:i] else "train" '
            "for i, g in enumerate(groups)]"
        ),
        "Only one row of each group",
        keeps=("test_held_out_score",),
    ),
    Wrong(
        "held_out",
        "returns row numbers",
        SPLIT.format("[i for i, g in enumerate(groups) if g in held_out]"),
        "Asked is a list of words",
        keeps=("test_held_out_score",),
    ),
    Wrong(
        "held_out",
        "measures the winner where it won",
        SCORE.format("return scores[choose_on].mean(0).max()"),
        "measured on the rows on which it was chosen",
        keeps=("test_held_out",),
    ),
    Wrong(
        "held_out",
        "chooses on the rows where it measures",
        SCORE.format("return scores[measure_on].mean(0).max()"),
        "The head is chosen on the rows of measure_on",
        keeps=("test_held_out",),
    ),
    Wrong(
        "held_out",
        "uses all rows to measure, since more are better",
        SCORE.format("return scores[:, scores[choose_on].mean(0).argmax()].mean()"),
        "measured on all rows",
        keeps=("test_held_out",),
    ),
    Wrong(
        "held_out",
        "the best head of each row",
        SCORE.format("return scores[measure_on].amax(1).mean()"),
        "Each row gets a best head of its own",
        keeps=("test_held_out",),
    ),
    Wrong(
        "held_out",
        "mean over all heads",
        SCORE.format("return scores[measure_on].mean()"),
        "the mean over all heads",
        keeps=("test_held_out",),
    ),
    # ------------------------------------------------------------------------- role_scores
    Wrong(
        "role_scores",
        "the mean runs over all T queries",
        ROLES.format("there.sum(-1).mean(-1)"),
        "The mean runs over all queries",
        keeps=("test_role_scores_uniform",),
    ),
    Wrong(
        "role_scores",
        "every wanted key counts for itself",
        ROLES.format("there.sum((-1, -2)) / wanted.sum((-1, -2))"),
        "divided by the number of wanted keys",
        keeps=("test_role_scores_uniform",),
    ),
    Wrong(
        "role_scores",
        "a sum in place of a mean",
        ROLES.format("there.sum((-1, -2))"),
        "added up over the queries",
        keeps=("test_role_scores_uniform",),
    ),
    Wrong(
        "role_scores",
        "queries are the last axis",
        ROLES.format("(weights[:, :, None].mT * wanted).sum((-1, -2)) / queries"),
        "Queries and keys are exchanged",
        keeps=("test_role_scores_uniform",),
    ),
    Wrong(
        "role_scores",
        "a hit counts, not how much weight there is",
        ROLES.format(
            "(torch.nn.functional.one_hot(weights.argmax(-1), weights.shape[-1])[:, :, None]"
            " * wanted).sum((-1, -2)) / queries"
        ),
        "how often the largest weight",
        keeps=("test_role_scores_uniform",),
    ),
    Wrong(
        "role_scores",
        "averages the seeds away",
        ROLES.format("(there.sum((-1, -2)) / queries).mean(0)"),
        "The mean runs over the seeds",
        keeps=("test_role_scores_uniform",),
    ),
    Wrong(
        "role_scores",
        "roles before heads",
        ROLES.format("(there.sum((-1, -2)) / queries).mT"),
        "[seeds, roles, h]",
        keeps=("test_role_scores_uniform",),
    ),
    Wrong(
        "role_scores",
        "even weights are 1/T, though a query does not see what comes after it",
        UNIFORM.format("(per_query / T).sum(-1) / queries"),
        "The weights are 1/T",
        keeps=("test_role_scores",),
    ),
    Wrong(
        "role_scores",
        "a query does not see itself",
        UNIFORM.format("(per_query / (seen - 1).clamp(min=1)).sum(-1) / queries"),
        "The weights are 1/t",
        keeps=("test_role_scores",),
    ),
    Wrong(
        "role_scores",
        "the baseline is a mean over all queries",
        UNIFORM.format("(per_query / seen).mean(-1)"),
        "Queries without a wanted key do not count",
        keeps=("test_role_scores",),
    ),
    Wrong(
        "role_scores",
        "one key for each query",
        UNIFORM.format("(wanted.any(-1) / seen).sum(-1) / queries"),
        "has 1/(t + 1) on each",
        keeps=("test_role_scores",),
    ),
    Wrong(
        "role_scores",
        "the baseline is the share of wanted pairs",
        UNIFORM.format("wanted.sum((1, 2)) / (T * (T + 1) / 2)"),
        "the share of all pairs",
        keeps=("test_role_scores",),
    ),
    # ---------------------------------------------------------------------- specialisation
    Wrong(
        "specialisation",
        "no half",
        INDEX.format("2 * sum(gaps) / len(gaps)"),
        "The half is missing",
    ),
    Wrong(
        "specialisation",
        "signed differences",
        INDEX.format("sum((a - b).sum() / 2 for a, b in pairs) / len(pairs)"),
        "differences cancel",
    ),
    Wrong(
        "specialisation",
        "a mean over all h² pairs, each head with itself among them",
        INDEX.format("(scores[:, None] - scores).abs().sum(-1).mean() / 2"),
        "each head with itself",
    ),
    Wrong(
        "specialisation",
        "shares in place of scores",
        """
        def specialisation(scores):
            shares = scores / scores.sum(1, keepdim=True)
            gaps = [(a - b).abs().sum() / 2 for a, b in itertools.combinations(shares, 2)]
            return sum(gaps) / len(gaps)
        """,
        "made to add up to 1 first",
    ),
    Wrong(
        "specialisation",
        "specialised is who has another best role",
        INDEX.format("sum(float(a.argmax() != b.argmax()) for a, b in pairs) / len(pairs)"),
        "pairs whose best roles differ",
    ),
    Wrong(
        "specialisation",
        "a head that prefers a role is a specialist",
        INDEX.format("(scores.amax(1) - scores.amin(1)).mean()"),
        "the roles within each head",
    ),
    Wrong(
        "specialisation",
        "a mean over the roles",
        INDEX.format("sum((a - b).abs().mean() for a, b in pairs) / len(pairs)"),
        "became a mean over the roles",
    ),
    Wrong(
        "specialisation",
        "distance as a root of squares",
        INDEX.format("sum((a - b).norm() for a, b in pairs) / len(pairs)"),
        "The differences are squared",
    ),
    Wrong(
        "specialisation",
        "adds up the pairs",
        INDEX.format("sum(gaps)"),
        "The pairs are added up",
        keeps=("test_specialisation",),
    ),
    Wrong(
        "specialisation",
        "highest and lowest head only",
        INDEX.format("(scores.amax(0) - scores.amin(0)).sum() / 2"),
        "the highest with the lowest head",
        keeps=("test_specialisation",),
    ),
    Wrong(
        "specialisation",
        "neighbours only",
        INDEX.format("(scores[1:] - scores[:-1]).abs().sum(-1).mean() / 2"),
        "neighbours alone",
        keeps=("test_specialisation",),
    ),
    Wrong(
        "specialisation",
        "the most different pair",
        INDEX.format("max(gaps)"),
        "the pair that differs most",
        keeps=("test_specialisation",),
    ),
    # ------------------------------------------------------------------------ assign_roles
    Wrong(
        "assign_roles",
        "the best head for each role",
        ASSIGN.format("scores.argmax(0)"),
        "one head has two roles",
    ),
    Wrong("assign_roles", "greedy, role by role", GREEDY, "one after the other"),
    Wrong("assign_roles", "greedy, highest score first", GREEDY_BY_SCORE, "One high score"),
    Wrong(
        "assign_roles",
        "the best role of each head",
        ASSIGN.format("scores.argmax(1)"),
        "Each head gets its best role",
    ),
    Wrong(
        "assign_roles",
        "the role of each head in place of the head of each role",
        """
        def assign_roles(scores):
            h, roles = scores.shape
            best = max(
                itertools.permutations(range(h), roles),
                key=lambda heads: sum(float(scores[i, r]) for r, i in enumerate(heads)),
            )
            return [best.index(i) if i in best else -1 for i in range(h)]
        """,
        "This is the role of each head",
    ),
    Wrong(
        "assign_roles",
        "smallest sum, as for costs",
        ASSIGN.format("min(every, key=total)"),
        "the smallest sum",
    ),
    Wrong(
        "assign_roles",
        "only the first heads take part",
        """
        def assign_roles(scores):
            roles = scores.shape[1]
            total = lambda heads: sum(float(scores[i, r]) for r, i in enumerate(heads))
            return max(itertools.permutations(range(roles)), key=total)
        """,
        "Only as many heads as there are roles",
        keeps=("test_assign_roles",),
    ),
    # ------------------------------------------------------------------------------ chance
    Wrong(
        "chance",
        "this very head must be the favourite",
        EXACT.format(
            "share(lambda one: one.count(max(holders, key=holders.count)) >= often(holders))"
        ),
        "this very head",
        keeps=("test_chance_drawn",),
    ),
    Wrong(
        "chance",
        "more extreme only",
        EXACT.format("share(lambda one: often(one) > often(holders))"),
        "Those that are just as extreme count",
        keeps=("test_chance_drawn",),
    ),
    Wrong(
        "chance",
        "exactly as extreme only",
        EXACT.format("share(lambda one: often(one) == often(holders))"),
        "exactly as extreme",
        keeps=("test_chance_drawn",),
    ),
    Wrong(
        "chance",
        "chance of this very list",
        EXACT.format("num_heads ** -n"),
        "these very heads in this order",
        keeps=("test_chance_drawn",),
    ),
    Wrong(
        "chance",
        "how often the favourite has it is the p-value",
        EXACT.format("often(holders) / n"),
        "how often the favourite has the role",
        keeps=("test_chance_drawn",),
    ),
    Wrong(
        "chance",
        "1 − p",
        EXACT.format("1 - share(lambda one: often(one) >= often(holders))"),
        "This is 1 − p",
        keeps=("test_chance_drawn",),
    ),
    Wrong(
        "chance",
        "p can be 0",
        DRAWN.format("count / n"),
        "Without the 1, p can be 0",
        keeps=("test_chance",),
    ),
    Wrong(
        "chance",
        "ties do not count",
        DRAWN.format("(1 + sum(v > observed for v in null)) / (1 + n)"),
        "are left out",
        keeps=("test_chance",),
    ),
    Wrong(
        "chance",
        "counts small values",
        DRAWN.format("(1 + sum(v <= observed for v in null)) / (1 + n)"),
        "The wrong tail",
        keeps=("test_chance",),
    ),
    Wrong(
        "chance",
        "adds 1 above only",
        DRAWN.format("(count + 1) / n"),
        "The 1 is missing below",
        keeps=("test_chance",),
    ),
    Wrong(
        "chance",
        "a p-value is how sure one is",
        DRAWN.format("1 - (count + 1) / (n + 1)"),
        "This is 1 − p",
        keeps=("test_chance",),
    ),
    # ----------------------------------------------------------------- interval_over_seeds
    Wrong(
        "interval_over_seeds",
        "1.96, as for large samples",
        INTERVAL.format("1.96 * s / math.sqrt(n)"),
        "The factor is 1.96",
    ),
    Wrong(
        "interval_over_seeds",
        "n degrees of freedom",
        INTERVAL.format("T_975[n] * s / math.sqrt(n)"),
        "t has n degrees of freedom",
    ),
    Wrong(
        "interval_over_seeds",
        "standard deviation of a population",
        INTERVAL.format("T_975[n - 1] * statistics.pstdev(values) / math.sqrt(n)"),
        "The squares are divided by n",
    ),
    Wrong(
        "interval_over_seeds",
        "interval of the data",
        INTERVAL.format("T_975[n - 1] * s"),
        "The root of n is missing",
    ),
    Wrong(
        "interval_over_seeds",
        "divides by n in place of its root",
        INTERVAL.format("T_975[n - 1] * s / n"),
        "Divide by √n",
    ),
    Wrong(
        "interval_over_seeds",
        "mean and half the width",
        INTERVAL.format("T_975[n - 1] * s / math.sqrt(n)\n    return mean, half"),
        "Return low and high",
    ),
    Wrong(
        "interval_over_seeds",
        "range of the values",
        INTERVAL.format("0\n    return min(values), max(values)"),
        "the lowest and the highest value",
    ),
    Wrong(
        "interval_over_seeds",
        "one standard error",
        INTERVAL.format("s / math.sqrt(n)"),
        "mean ± one standard error",
    ),
    # --------------------------------------------------------------------- twin_difference
    Wrong(
        "twin_difference",
        "forgets W_O",
        TWINS.format("spread(q)"),
        "W_O is forgotten",
        keeps=("test_twin_difference",),
    ),
    Wrong(
        "twin_difference",
        "heads have rows in W_Q, too",
        TWINS.format("max(spread(torch.stack(grad_Q.chunk(h, dim=0))), spread(o))"),
        "The rows of W_Q are cut",
    ),
    Wrong(
        "twin_difference",
        "heads have columns in W_O, too",
        TWINS.format("max(spread(q), spread(torch.stack(grad_O.chunk(h, dim=1))))"),
        "The columns of W_O are cut",
        keeps=("test_twin_difference",),
    ),
    Wrong(
        "twin_difference",
        "heads are dealt out in turn",
        TWINS.format(
            "max(spread(torch.stack([m[i::h] for i in range(h)])) for m in (grad_Q.T, grad_O))"
        ),
        "dealt out in turn",
    ),
    Wrong(
        "twin_difference",
        "no absolute value",
        TWINS.format(
            "max((g[i] - g[j]).max() for g in (q, o) for i in range(h) for j in range(i + 1, h))"
        ),
        "Take absolute values",
    ),
    Wrong(
        "twin_difference",
        "neighbours only",
        TWINS.format("max((g[1:] - g[:-1]).abs().max() for g in (q, o))"),
        "with its neighbour",
    ),
    Wrong(
        "twin_difference",
        "head 0 is the measure of all",
        TWINS.format("max((g - g[:1]).abs().max() for g in (q, o))"),
        "with head 0",
    ),
    Wrong(
        "twin_difference",
        "distance from the mean head",
        TWINS.format("max((g - g.mean(0)).abs().max() for g in (q, o))"),
        "with the mean of the heads",
    ),
    Wrong(
        "twin_difference",
        "a mean of differences",
        TWINS.format(
            "max((a - b).abs().mean() for g in (q, o) for a, b in itertools.combinations(g, 2))"
        ),
        "a mean of differences",
    ),
    # ----------------------------------------------------------------------------- verdict
    Wrong(
        "verdict",
        "to beat the baseline is enough",
        VERDICT.format(
            '"supported" if low > baseline else "refuted" if high < baseline else "open"'
        ),
        "smaller than what counts",
    ),
    Wrong(
        "verdict",
        "the mean decides",
        VERDICT.format('"supported" if mean > bar else "refuted"'),
        "reaches down to the bar",
        keeps=("test_verdict",),
    ),
    Wrong(
        "verdict",
        "not shown is refuted",
        VERDICT.format('"supported" if low > bar else "refuted"'),
        "Not shown is not refuted",
        keeps=("test_verdict",),
    ),
    Wrong(
        "verdict",
        "what cannot be supported is open for ever",
        VERDICT.format('"supported" if low > bar else "open"'),
        "The whole interval lies below the bar",
        keeps=("test_verdict_open",),
    ),
    Wrong(
        "verdict",
        "a high end above the bar supports",
        VERDICT.format('"supported" if high > bar else "refuted"'),
        "reaches down to the bar",
        keeps=("test_verdict",),
    ),
    Wrong(
        "verdict",
        "the width is the effect",
        VERDICT.format('"supported" if high - low > smallest_effect else "refuted"'),
        "Look at the sign again",
    ),
    Wrong(
        "verdict",
        "an interval that touches the bar supports",
        VERDICT.format('"supported" if low >= bar else "refuted" if high < bar else "open"'),
        "reaches down to the bar",
        keeps=("test_verdict",),
    ),
]

RIGHT = [
    Right(
        "pair_targets",
        "a loop over the queries",
        """
        def pair_targets(x):
            rows = [torch.cat([x[:, t - 1], x[:, 0]], dim=1) for t in range(2, x.shape[1])]
            return torch.stack(rows, dim=1)
        """,
    ),
    Right(
        "pair_targets",
        "filled in place, in float64",
        """
        def pair_targets(x):
            B, T, D = x.shape
            y = torch.zeros(B, T - 2, 2 * D, dtype=torch.float64)
            y[..., :D] = x[:, 1 : T - 1]
            y[..., D:] = x[:, 0].unsqueeze(1)
            print("pairs", y.shape)
            return y
        """,
    ),
    Right(
        "pair_targets",
        "roll, numpy, other names",
        """
        import numpy as np

        def pair_targets(contents):
            array = contents.numpy()
            before = np.roll(array, 1, axis=1)
            first = np.repeat(array[:, [0]], array.shape[1], axis=1)
            return np.concatenate([before, first], axis=2)[:, 2:]
        """,
    ),
    Right(
        "held_out",
        "loops and lists",
        """
        def split_rows(groups, held_out):
            words = []
            for group in groups:
                words.append("train")
                for other in held_out:
                    if group == other:
                        words[-1] = "test"
            return words

        def honest_score(scores, choose_on, measure_on):
            table = scores.tolist()
            sums = [sum(table[row][i] for row in choose_on) for i in range(len(table[0]))]
            best = sums.index(max(sums))
            return sum(table[row][best] for row in measure_on) / len(measure_on)
        """,
    ),
    Right(
        "held_out",
        "numpy, sets, upper case, a warning",
        """
        import warnings
        import numpy as np

        def split_rows(groups, held_out):
            warnings.warn("a right answer may warn")
            return tuple(("TRAIN", "Test ")[g in set(held_out)] for g in groups)

        def honest_score(scores, choose_on, measure_on):
            array = np.asarray(scores, dtype=np.float64)
            return array[measure_on][:, np.argmax(array[choose_on].sum(0))].mean()
        """,
    ),
    Right(
        "held_out",
        "index_select and a dictionary",
        """
        def split_rows(groups, held_out):
            side = dict.fromkeys(groups, "train")
            side.update(dict.fromkeys(held_out, "test"))
            return [side[g] for g in groups]

        def honest_score(scores, choose_on, measure_on):
            rows = torch.tensor(choose_on)
            value, head = scores.index_select(0, rows).mean(0).max(0)
            return torch.stack([scores[row, head] for row in measure_on]).mean().item()
        """,
    ),
    Right(
        "role_scores",
        "einsum",
        """
        def role_scores(weights, wanted):
            there = torch.einsum("shtj,rtj->shr", weights, wanted.to(weights))
            return there / wanted.any(-1).sum(-1)

        def uniform_scores(wanted):
            T = wanted.shape[-1]
            even = torch.ones(T, T).tril()
            even /= even.sum(-1, keepdim=True)
            return role_scores(even[None, None], wanted)[0, 0]
        """,
    ),
    Right(
        "role_scores",
        "loops, slow but right",
        """
        def role_scores(weights, wanted):
            seeds, h, T, _ = weights.shape
            scores = torch.empty(seeds, h, len(wanted), dtype=torch.float64)
            for s in range(seeds):
                for i in range(h):
                    for r, keys in enumerate(wanted):
                        rows = [t for t in range(T) if any(keys[t])]
                        there = sum(weights[s, i, t][keys[t]].sum() for t in rows)
                        scores[s, i, r] = there / len(rows)
            return scores

        def uniform_scores(wanted):
            scores = []
            for keys in wanted.tolist():
                per_query = [sum(row) / (t + 1) for t, row in enumerate(keys) if any(row)]
                scores.append(sum(per_query) / len(per_query))
            return scores
        """,
    ),
    Right(
        "role_scores",
        "softmax of a mask, masked_fill, in place",
        """
        def role_scores(weights, wanted):
            kept = weights.unsqueeze(2).repeat(1, 1, wanted.shape[0], 1, 1)
            kept.masked_fill_(~wanted, 0.0)
            total = kept.flatten(3).sum(3)
            return total.div_((wanted.sum(2) > 0).sum(1))

        def uniform_scores(wanted):
            T = wanted.shape[-1]
            scores = torch.zeros(T, T).masked_fill(torch.ones(T, T).triu(1) > 0, float("-inf"))
            per_query = (scores.softmax(-1) * wanted).sum(-1)
            return torch.stack([p[k.any(-1)].mean() for p, k in zip(per_query, wanted)])
        """,
    ),
    Right(
        "specialisation",
        "all pairs at once, h·(h − 1)",
        """
        def specialisation(scores):
            h = len(scores)
            gaps = (scores[:, None] - scores[None]).abs().sum(-1)
            return gaps.sum() / (2 * h * (h - 1))
        """,
    ),
    Right(
        "specialisation",
        "torch.pdist",
        """
        def specialisation(scores):
            print("heads:", len(scores))
            return torch.pdist(scores.double(), p=1).mean().item() / 2
        """,
    ),
    Right(
        "specialisation",
        "nested loops over lists",
        """
        def specialisation(scores):
            rows, total, pairs = scores.tolist(), 0.0, 0
            for i in range(len(rows)):
                for j in range(i):
                    total += 0.5 * sum(abs(a - b) for a, b in zip(rows[i], rows[j]))
                    pairs += 1
            return total / pairs
        """,
    ),
    Right(
        "assign_roles",
        "scipy",
        """
        def assign_roles(scores):
            from scipy.optimize import linear_sum_assignment

            roles, heads = linear_sum_assignment(scores.T.numpy(), maximize=True)
            return heads
        """,
    ),
    Right(
        "assign_roles",
        "recursion",
        """
        def assign_roles(scores):
            def best(role, free):
                if role == scores.shape[1]:
                    return 0.0, []
                found = []
                for i in free:
                    total, heads = best(role + 1, free - {i})
                    found.append((total + float(scores[i, role]), [i, *heads]))
                return max(found)

            return best(0, frozenset(range(len(scores))))[1]
        """,
    ),
    Right(
        "assign_roles",
        "all lists of heads, those with a repeated head left out; a tensor",
        """
        def assign_roles(scores):
            h, roles = scores.shape
            top, answer = -math.inf, None
            for heads in itertools.product(range(h), repeat=roles):
                if len(set(heads)) < roles:
                    continue
                total = scores[list(heads), torch.arange(roles)].sum()
                if total > top:
                    top, answer = total, torch.tensor(heads)
            return answer
        """,
    ),
    Right(
        "chance",
        "Counter",
        """
        from collections import Counter

        def favourite_p(holders, num_heads):
            often = lambda one: Counter(one).most_common(1)[0][1]
            k, n = often(holders), len(holders)
            hits = total = 0
            for one in itertools.product(range(num_heads), repeat=n):
                total += 1
                hits += often(one) >= k
            return hits / total

        def drawn_p(observed, null):
            as_large = [value for value in null if value >= observed]
            return (len(as_large) + 1) / (len(null) + 1)
        """,
    ),
    Right(
        "chance",
        "torch: one-hot counts",
        """
        def favourite_p(holders, num_heads):
            grid = torch.cartesian_prod(*[torch.arange(num_heads)] * len(holders))
            often = torch.nn.functional.one_hot(grid, num_heads).sum(1).amax(1)
            k = torch.bincount(torch.tensor(holders)).max()
            return (often >= k).float().mean()

        def drawn_p(observed, null):
            null = torch.tensor(null, dtype=torch.float32)
            return ((null >= observed).sum() + 1) / (null.numel() + 1)
        """,
    ),
    Right(
        "chance",
        "counting with base h, numpy, a warning",
        """
        import warnings
        import numpy as np

        def favourite_p(holders, num_heads):
            n = len(holders)
            numbers = np.arange(num_heads**n)
            digits = np.stack([numbers // num_heads**i % num_heads for i in range(n)])
            often = np.max([(digits == i).sum(0) for i in range(num_heads)], axis=0)
            return np.mean(often >= np.bincount(holders).max())

        def drawn_p(observed, null):
            warnings.warn("a right answer may warn")
            return np.mean(np.append(null, observed) >= observed)
        """,
    ),
    Right(
        "interval_over_seeds",
        "statistics",
        """
        import statistics

        def interval_over_seeds(values):
            n = len(values)
            error = statistics.stdev(values) / n**0.5
            return [statistics.mean(values) + sign * T_975[n - 1] * error for sign in (-1, 1)]
        """,
    ),
    Right(
        "interval_over_seeds",
        "torch in float32",
        """
        def interval_over_seeds(values):
            x = torch.tensor(values)
            half = T_975[len(x) - 1] * x.std() / len(x) ** 0.5
            print(half)
            return torch.stack([x.mean() - half, x.mean() + half])
        """,
    ),
    Right(
        "interval_over_seeds",
        "scipy and numpy",
        """
        import numpy as np

        def interval_over_seeds(values):
            from scipy import special

            n = len(values)
            half = special.stdtrit(n - 1, 0.975) * np.std(values, ddof=1) / np.sqrt(n)
            return np.mean(values) + np.array([-half, half])
        """,
    ),
    Right(
        "twin_difference",
        "loops over pairs and slices",
        """
        def twin_difference(grad_Q, grad_O, num_heads):
            d = grad_Q.shape[1] // num_heads
            most = 0.0
            for i in range(num_heads):
                for j in range(num_heads):
                    a, b = slice(i * d, (i + 1) * d), slice(j * d, (j + 1) * d)
                    most = max(most, (grad_Q[:, a] - grad_Q[:, b]).abs().max().item())
                    most = max(most, (grad_O[a] - grad_O[b]).abs().max().item())
            return most
        """,
    ),
    Right(
        "twin_difference",
        "one tensor for both, all pairs at once, float64",
        """
        def twin_difference(grad_Q, grad_O, num_heads):
            by_head = [m.double().reshape(num_heads, -1) for m in (grad_Q.T, grad_O)]
            g = torch.cat(by_head, dim=1)
            return (g[:, None] - g[None]).abs().amax()
        """,
    ),
    Right(
        "twin_difference",
        "numpy, infinity norm, in place",
        """
        def twin_difference(grad_Q, grad_O, num_heads):
            import numpy as np

            grad_Q *= 1.0
            q = np.stack(np.split(grad_Q.numpy(), num_heads, axis=1))
            o = np.stack(np.split(grad_O.numpy(), num_heads, axis=0))
            return max(np.ptp(q, axis=0).max(), np.ptp(o, axis=0).max())
        """,
    ),
    Right(
        "verdict",
        "differences to the bar, other order",
        """
        def verdict(low, high, baseline, smallest_effect):
            if low - baseline <= smallest_effect <= high - baseline:
                return "open"
            return "supported" if low > baseline + smallest_effect else "refuted"
        """,
    ),
    Right(
        "verdict",
        "a table of comparisons, upper case",
        """
        def verdict(low, high, baseline, smallest_effect):
            bar = baseline + smallest_effect
            print(low, high, bar)
            return {(True, True): "Supported", (False, False): "Refuted"}.get(
                (low > bar, high >= bar), "Open"
            )
        """,
    ),
    Right(
        "verdict",
        "in torch, with a warning",
        """
        def verdict(low, high, baseline, smallest_effect):
            import warnings

            warnings.warn("a right answer may warn")
            ends = torch.tensor([low, high], dtype=torch.float64)
            side = (ends - (baseline + smallest_effect)).sign()
            if (side == 1).all():
                return "supported"
            return "refuted" if (side == -1).all() else "open"
        """,
    ),
]

EQUIVALENT: dict[str, str] = {
    "held_out: scores[choose_on].mean → scores[choose_on].sum": (
        "every head has as many rows, so the largest sum is the largest mean"
    ),
    "twin_difference: grad_O.chunk(num_heads, dim=0) → grad_O.chunk(num_heads)": (
        "chunk cuts dim 0 by default"
    ),
}
