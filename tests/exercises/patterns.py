"""Answers to the assignment `patterns`: wrong ones with the misconception, right ones."""

from __future__ import annotations

from mha_course.grading.bank import Right, Wrong

PREVIOUS = """
def previous_token_score(weights):
    h, T, _ = weights.shape
    back = weights.diagonal(-1, 1, 2)
    return {}
"""
DISTANCE = """
def mean_distance(weights):
    T = weights.shape[-1]
    position = torch.arange(T)
    ahead = (position - position[:, None]).float()
    return {}
"""
COLUMN = """
def column_score(weights):
    return {}


def column_position(weights):
    return {}
"""
SCORE, POSITION = "weights.mean(1).amax(1)", "weights.mean(1).argmax(1)"
ENTROPY = """
def entropy(weights):
    terms = torch.where(weights > 0, weights * weights.log2(), 0)
    return {}
"""
UNIFORM = """
def uniform_weights(T, is_causal):
    seen = torch.ones(T, T)
    {}


def previous_token_baseline(T, is_causal):
    {}
"""
EVEN = """if is_causal:
        seen = seen.tril()
    return seen / seen.sum(1, keepdim=True)"""
FREE = "return sum(1 / (t + 1 if is_causal else T) for t in range(1, T)) / (T - 1)"
INDUCTION = """
def induction_score(weights, period):
    h, T, _ = weights.shape
    total = torch.zeros(h)
    for t in range(period, T):
        for s in {}:
            total += {}
    return {}
"""
AFTER, AT = "range(t - period + 1, 0, -period)", "weights[:, t, s]"
CLASSIFY = """
def classify(scores, baselines):
    words = []
    for i in range(len(list(scores.values())[0])):
        head = {{name: heads[i] for name, heads in scores.items()}}
        has = [name for name in head if {}]
        words.append({})
    return words
"""
BAR = "head[name] >= 0.5 and head[name] >= baselines[name] + 0.1"
WORD = "'none' if not has else has[0] if len(has) == 1 else 'mixed'"
SEARCH = """
def find_previous_token_head(weights):
    layers, h, T, _ = weights.shape
    scores = weights.diagonal(-1, 2, 3).mean(-1)
    return {}


def count_columns(weights, least):
    return {}
"""
FOUND = "divmod(int(scores.argmax()), h)"
COUNT = "int((weights.mean(2).amax(-1) >= least).sum())"
HAND = """
def assign_by_hand(tokens, wishes):
    T = len(tokens)
    weights = torch.zeros(len(wishes), T, T)
    for i, wish in enumerate({order}):
        for t in range(T):
            if wish == "previous token":
                targets = [t - 1]
            elif wish == "next token":
                targets = [t + 1]
            elif wish == "first token":
                targets = [0]
            else:
                targets = {same}
            targets = {real}
            for s in targets:
                weights[i, t, s] = {share}
    return weights
"""
SAME = "[s for s in range(T) if tokens[s] == tokens[t] and s != t]"
REAL = "[s for s in targets if 0 <= s < T] or [0]"


def by_hand(
    order: str = "wishes", same: str = SAME, real: str = REAL, share: str = "1 / len(targets)"
) -> str:
    """Write an answer to task 9 with one part exchanged."""
    return HAND.format(order=order, same=same, real=real, share=share)


BUILD = """
def build_previous_token_head(T):
    unit = torch.eye(T)
    back = unit.roll(-1, 1)  # row t has its 1 at t - 1
    return {}


def target_score(share, num_keys):
    return {}
"""
LOOKS_BACK = "1000 * back, unit"
SHARE = "math.log(share * (num_keys - 1) / (1 - share))"

WRONG = [
    # ---------------------------------------------------------------- the token before
    Wrong(
        "previous_token_score",
        "offset +1 is back",
        PREVIOUS.format("weights.diagonal(1, 1, 2).mean(1)"),
        "the weight on the token after",
    ),
    Wrong(
        "previous_token_score",
        "the main diagonal is the token before",
        PREVIOUS.format("weights.diagonal(0, 1, 2).mean(1)"),
        "the weight of each token on itself",
    ),
    Wrong(
        "previous_token_score",
        "the mean is over T queries",
        PREVIOUS.format("back.sum(1) / T"),
        "The sum is divided by T",
    ),
    Wrong(
        "previous_token_score",
        "index -1 is harmless",
        PREVIOUS.format("torch.stack([weights[:, t, t - 1] for t in range(T)]).mean(0)"),
        "wraps around",
    ),
    Wrong("previous_token_score", "a sum is a score", PREVIOUS.format("back.sum(1)"), "the sum"),
    Wrong(
        "previous_token_score",
        "only the largest weight counts",
        PREVIOUS.format("(weights.argmax(2)[:, 1:] == torch.arange(T - 1)).float().mean(1)"),
        "how often the token before has the largest weight",
    ),
    Wrong(
        "previous_token_score",
        "one number for the layer",
        PREVIOUS.format("back.mean()"),
        "The heads are averaged",
    ),
    # ---------------------------------------------------------------- distance
    Wrong(
        "mean_distance",
        "a distance may be negative",
        DISTANCE.format("(weights * ahead).sum(2).mean(1)"),
        "The distances have a sign",
    ),
    Wrong(
        "mean_distance",
        "back is positive, ahead is negative",
        DISTANCE.format("-(weights * ahead).sum(2).mean(1)"),
        "The distances have a sign",
    ),
    Wrong(
        "mean_distance",
        "abs at the end",
        DISTANCE.format("(weights * ahead).sum(2).abs().mean(1)"),
        "The sign is taken off too late",
    ),
    Wrong(
        "mean_distance",
        "a head attends to one key",
        DISTANCE.format("(weights.argmax(2) - position).abs().float().mean(1)"),
        "the largest weight is taken",
    ),
    Wrong(
        "mean_distance",
        "a mean over everything",
        DISTANCE.format("(weights * ahead.abs()).mean((1, 2))"),
        "The mean is taken over the keys as well",
    ),
    Wrong(
        "mean_distance",
        "squares take the sign off",
        DISTANCE.format("(weights * ahead ** 2).sum(2).mean(1)"),
        "squared",
    ),
    Wrong(
        "mean_distance",
        "looking at itself is not looking",
        DISTANCE.format(
            "((weights * ahead.abs()).sum(2) / (1 - weights.diagonal(0, 1, 2))).mean(1)"
        ),
        "The token itself is left out",
    ),
    # ---------------------------------------------------------------- columns
    Wrong(
        "column",
        "the mean along a row",
        COLUMN.format("weights.mean(2).amax(1)", POSITION),
        "gives 1/T for every head",
        keeps=("test_column_position",),
    ),
    Wrong(
        "column",
        "one dark cell is a column",
        COLUMN.format("weights.amax((1, 2))", "weights.flatten(1).argmax(1) % weights.shape[2]"),
        "the largest single weight",
    ),
    Wrong(
        "column",
        "largest first, mean second",
        COLUMN.format("weights.amax(2).mean(1)", "weights.argmax(2).mode(1).values"),
        "Each query chose its own key",
    ),
    Wrong(
        "column",
        "a sum of weights",
        COLUMN.format("weights.sum(1).amax(1)", POSITION),
        "Divide by the number of queries",
        keeps=("test_column_position",),
    ),
    Wrong(
        "column",
        "the column is always the first token",
        COLUMN.format("weights.mean(1)[:, 0]", "[0] * len(weights)"),
        "what the first token gets",
    ),
    Wrong(
        "column",
        "positions count from 1",
        COLUMN.format(SCORE, f"{POSITION} + 1"),
        "Positions count from 0",
        keeps=("test_column",),
    ),
    Wrong(
        "column",
        "the query in place of the key",
        COLUMN.format(SCORE, "weights.flatten(1).argmax(1) // weights.shape[2]"),
        "Asked is a key: a column",
        keeps=("test_column",),
    ),
    # ---------------------------------------------------------------- entropy
    Wrong(
        "entropy",
        "zeros take care of themselves",
        "def entropy(weights):\n    return -(weights * weights.log2()).sum(2)",
        "NaN or infinity",
        keeps=("test_entropy",),
    ),
    Wrong(
        "entropy", "any logarithm will do", ENTROPY.format("-terms.sum(2) * math.log(2)"), "in nats"
    ),
    Wrong("entropy", "the minus is forgotten", ENTROPY.format("terms.sum(2)"), "sign is missing"),
    Wrong("entropy", "a mean over the keys", ENTROPY.format("-terms.mean(2)"), "The mean over the"),
    Wrong(
        "entropy",
        "the wrong axis",
        ENTROPY.format("-terms.sum(1)"),
        "The sum runs over the queries",
    ),
    Wrong(
        "entropy",
        "a small number against log 0",
        "def entropy(weights):\n    w = weights + 0.01\n    return -(w * w.log2()).sum(2)",
        "Something is added to the weights",
    ),
    Wrong(
        "entropy",
        "one number for each head",
        ENTROPY.format("-terms.sum(2).mean(1)"),
        "The mean over the queries is taken",
    ),
    Wrong(
        "entropy",
        "the logarithms alone",
        "def entropy(weights):\n    return -weights.clamp(min=1e-9).log2().sum(2)",
        "The logarithms are not weighted",
    ),
    # ---------------------------------------------------------------- baselines
    Wrong(
        "uniform",
        "1/T for what is seen",
        UNIFORM.format("return (seen.tril() if is_causal else seen) / T", FREE),
        "the rows no longer add up to 1",
        keeps=("test_uniform_baseline",),
    ),
    Wrong(
        "uniform",
        "causal makes no difference",
        UNIFORM.format("return seen / T", "return 1 / T"),
        "Later keys get weight",
    ),
    Wrong(
        "uniform",
        "everything is causal",
        UNIFORM.format(
            "seen = seen.tril(); return seen / seen.sum(1, keepdim=True)",
            "return sum(1 / (t + 1) for t in range(1, T)) / (T - 1)",
        ),
        "weights of a causal head",
    ),
    Wrong(
        "uniform",
        "without keepdim",
        UNIFORM.format(EVEN.replace("1, keepdim=True", "1"), FREE),
        "Keep the axis",
        keeps=("test_uniform_baseline",),
    ),
    Wrong(
        "uniform",
        "the upper half is the past",
        UNIFORM.format(EVEN.replace("tril", "triu"), FREE),
        "The wrong half is kept",
        keeps=("test_uniform_baseline",),
    ),
    Wrong(
        "uniform",
        "a query does not see itself",
        UNIFORM.format(
            "m = (seen.tril() if is_causal else seen) - torch.eye(T)\n"
            "    return m / m.sum(1, keepdim=True).clamp(min=1)",
            "return sum(1 / (t if is_causal else T - 1) for t in range(1, T)) / (T - 1)",
        ),
        "A query sees itself, too",
    ),
    Wrong(
        "uniform",
        "query 0 counts",
        UNIFORM.format(
            EVEN, "return sum(1 / (t + 1 if is_causal else T) for t in range(1, T)) / T"
        ),
        "The first query has no token before it",
        keeps=("test_uniform",),
    ),
    Wrong(
        "uniform",
        "one over the mean number of keys",
        UNIFORM.format(EVEN, "return 2 / (T + 2) if is_causal else 1 / T"),
        "1 divided by the mean number of keys",
        keeps=("test_uniform",),
    ),
    # ---------------------------------------------------------------- induction
    Wrong(
        "induction_score",
        "the copy itself is the target",
        INDUCTION.format("range(t - period, -1, -period)", AT, "total / (T - period)"),
        "the weight on the earlier copy itself",
    ),
    Wrong(
        "induction_score",
        "what came before",
        INDUCTION.format("range(t - period - 1, -1, -period)", AT, "total / (T - period)"),
        "the token before the earlier copy",
    ),
    Wrong(
        "induction_score",
        "all queries count",
        INDUCTION.format(AFTER, AT, "total / T"),
        "The sum is divided by T",
    ),
    Wrong(
        "induction_score",
        "rows are keys",
        INDUCTION.format(AFTER, "weights[:, s, t]", "total / (T - period)"),
        "Queries and keys are exchanged",
    ),
    Wrong(
        "induction_score",
        "the latest copy only",
        INDUCTION.format("[t - period + 1]", AT, "total / (T - period)"),
        "Only the latest copy counts",
        keeps=("test_induction_score",),
    ),
    Wrong(
        "induction_score",
        "the first copy only",
        INDUCTION.format(f"{AFTER}[-1:]", AT, "total / (T - period)"),
        "Only the first copy counts",
        keeps=("test_induction_score",),
    ),
    Wrong(
        "induction_score",
        "a mean over the copies",
        INDUCTION.format(AFTER, f"{AT} / len({AFTER})", "total / (T - period)"),
        "The weights on several copies are averaged",
        keeps=("test_induction_score",),
    ),
    Wrong(
        "induction_score",
        "key 0 follows a token",
        INDUCTION.format("range(t - period + 1, -1, -period)", AT, "total / (T - period)"),
        "Key 0 is counted",
        keeps=("test_induction_score",),
    ),
    # ---------------------------------------------------------------- words
    Wrong(
        "classify",
        "a score of 0.5 speaks for itself",
        CLASSIFY.format("head[name] >= 0.5", WORD),
        "The baselines are not used",
    ),
    Wrong(
        "classify",
        "reaching the baseline is enough",
        CLASSIFY.format("head[name] >= max(0.5, baselines[name])", WORD),
        "and not only reach it",
    ),
    Wrong(
        "classify",
        "the margin alone",
        CLASSIFY.format("head[name] >= baselines[name] + 0.1", WORD),
        "must also be at least 0.5",
    ),
    Wrong(
        "classify",
        "at least means more than",
        CLASSIFY.format("head[name] > max(0.5, baselines[name] + 0.1)", WORD),
        "exactly 0.5 is enough",
    ),
    Wrong(
        "classify",
        "every head has a name",
        CLASSIFY.format(BAR, "max(head, key=head.get)"),
        "Every head gets the word of its highest score",
    ),
    Wrong(
        "classify",
        "the highest wins",
        CLASSIFY.format(BAR, "max(has, key=head.get) if has else 'none'"),
        "got one of their words",
        keeps=("test_classify",),
    ),
    Wrong(
        "classify",
        "several is as bad as none",
        CLASSIFY.format(BAR, "has[0] if len(has) == 1 else 'none'"),
        "The word for it is mixed",
        keeps=("test_classify",),
    ),
    Wrong(
        "classify",
        "dictionaries keep one order",
        CLASSIFY.format(
            "head[name] >= max(0.5, list(baselines.values())[list(head).index(name)] + 0.1)", WORD
        ),
        "Take them by name",
    ),
    # ---------------------------------------------------------------- search
    Wrong(
        "search",
        "the number counted through",
        SEARCH.format("int(scores.argmax())", COUNT),
        "counted through",
        keeps=("test_search_count",),
    ),
    Wrong(
        "search",
        "head first",
        SEARCH.format(f"{FOUND}[::-1]", COUNT),
        "Layer and head are exchanged",
        keeps=("test_search_count",),
    ),
    Wrong(
        "search",
        "divided by the layers",
        SEARCH.format("divmod(int(scores.argmax()), layers)", COUNT),
        "divided by the number of layers",
        keeps=("test_search_count",),
    ),
    Wrong(
        "search",
        "the best of each layer",
        SEARCH.format("scores.argmax(1)", COUNT),
        "best head of each layer",
        keeps=("test_search_count",),
    ),
    Wrong(
        "search",
        "the token after",
        SEARCH.format("divmod(int(weights.diagonal(1, 2, 3).mean(-1).argmax()), h)", COUNT),
        "the highest score for the token after",
        keeps=("test_search_count",),
    ),
    Wrong(
        "search",
        "one dark cell is a column",
        SEARCH.format(FOUND, "int((weights.amax((2, 3)) >= least).sum())"),
        "The largest single weight decides",
        keeps=("test_search",),
    ),
    Wrong(
        "search",
        "counts keys",
        SEARCH.format(FOUND, "int((weights.mean(2) >= least).sum())"),
        "This counts keys",
        keeps=("test_search",),
    ),
    Wrong(
        "search",
        "more than the bar",
        SEARCH.format(FOUND, "int((weights.mean(2).amax(-1) > least).sum())"),
        "exactly at the bar",
        keeps=("test_search",),
    ),
    Wrong(
        "search",
        "a share, not a number",
        SEARCH.format(FOUND, "(weights.mean(2).amax(-1) >= least).float().mean()"),
        "the share of the heads",
        keeps=("test_search",),
    ),
    # ---------------------------------------------------------------- by hand
    Wrong(
        "assign_by_hand",
        "nothing to look at, no weights",
        by_hand(real="[s for s in targets if 0 <= s < T]"),
        "nothing but zeros",
    ),
    Wrong(
        "assign_by_hand",
        "the ends are joined",
        by_hand(real="[s % T for s in targets] or [0]"),
        "The ends are joined",
    ),
    Wrong(
        "assign_by_hand",
        "index -1 is harmless",
        by_hand(real="[s for s in targets if s < T] or [0]"),
        "The ends are joined",
    ),
    Wrong(
        "assign_by_hand",
        "parks on itself",
        by_hand(real="[s for s in targets if 0 <= s < T] or [t]"),
        "looks at itself here",
    ),
    Wrong(
        "assign_by_hand",
        "rows are keys",
        by_hand().replace("weights[i, t, s]", "weights[i, s, t]"),
        "row t holds what query t looks at",
    ),
    Wrong(
        "assign_by_hand",
        "heads in the order of the card",
        by_hand(
            order="[w for w in ('previous token', 'next token', 'first token', 'same token') "
            "for _ in range(wishes.count(w))]"
        ),
        "in the order of the card",
    ),
    Wrong(
        "assign_by_hand",
        "a token is the same as itself",
        by_hand(same="[s for s in range(T) if tokens[s] == tokens[t]]"),
        "the query itself is counted",
        keeps=("test_assign_by_hand",),
    ),
    Wrong(
        "assign_by_hand",
        "full weight on every target",
        by_hand(share="1"),
        "The weight is not shared",
        keeps=("test_assign_by_hand",),
    ),
    Wrong(
        "assign_by_hand",
        "only what came before",
        by_hand(same="[s for s in range(t) if tokens[s] == tokens[t]]"),
        "Only earlier places",
        keeps=("test_assign_by_hand",),
    ),
    Wrong(
        "assign_by_hand",
        "one copy is enough",
        by_hand(same=f"{SAME}[:1]"),
        "Only one place",
        keeps=("test_assign_by_hand",),
    ),
    # ---------------------------------------------------------------- W_Q and W_K
    Wrong(
        "build_previous_token_head",
        "shifted the other way",
        BUILD.format("1000 * unit.roll(1, 1), unit", SHARE),
        "looks at the token after",
        keeps=("test_build_previous_token_head_score",),
    ),
    Wrong(
        "build_previous_token_head",
        "the shift is on the keys",
        BUILD.format("1000 * unit, back", SHARE),
        "looks at the token after",
        keeps=("test_build_previous_token_head_score",),
    ),
    Wrong(
        "build_previous_token_head",
        "both are shifted",
        BUILD.format("1000 * back, back", SHARE),
        "looks at the token itself",
        keeps=("test_build_previous_token_head_score",),
    ),
    Wrong(
        "build_previous_token_head",
        "a score of 1 is large",
        BUILD.format("back, unit", SHARE),
        "not sharply enough",
        keeps=("test_build_previous_token_head_score",),
    ),
    Wrong(
        "build_previous_token_head",
        "the division by the root is forgotten",
        BUILD.format("12 * back, unit", SHARE),
        "not sharply enough",
        keeps=("test_build_previous_token_head_score",),
    ),
    Wrong(
        "build_previous_token_head",
        "everything is one",
        BUILD.format("torch.ones(T, T), torch.ones(T, T)", SHARE),
        "All scores of a query are alike",
        keeps=("test_build_previous_token_head_score",),
    ),
    Wrong(
        "build_previous_token_head",
        "the weights themselves",
        BUILD.format("back", SHARE),
        "return W_Q, W_K",
        keeps=("test_build_previous_token_head_score",),
    ),
    Wrong(
        "build_previous_token_head",
        "the target is one of the others",
        BUILD.format(LOOKS_BACK, "math.log(share * num_keys / (1 - share))"),
        "only num_keys − 1 others",
        keeps=("test_build_previous_token_head",),
    ),
    Wrong(
        "build_previous_token_head",
        "as for two keys",
        BUILD.format(LOOKS_BACK, "math.log(share / (1 - share))"),
        "That is for one other key",
        keeps=("test_build_previous_token_head",),
    ),
    Wrong(
        "build_previous_token_head",
        "the logarithm is forgotten",
        BUILD.format(LOOKS_BACK, "share * (num_keys - 1) / (1 - share)"),
        "Take the logarithm",
        keeps=("test_build_previous_token_head",),
    ),
]

RIGHT = [
    Right(
        "previous_token_score",
        "loops and lists",
        """
        def previous_token_score(weights):
            scores = []
            for head in weights.tolist():
                given = [row[t - 1] for t, row in enumerate(head) if t > 0]
                scores.append(sum(given) / len(given))
            return scores
        """,
    ),
    Right(
        "previous_token_score",
        "float64, a mask, in place, with a warning",
        """
        import warnings

        def previous_token_score(w):
            warnings.warn("a right answer may warn")
            n = w.shape[-1]
            w = w.double()
            w *= torch.eye(n).roll(1, 0).tril()
            return w.sum((-1, -2)) / (n - 1)
        """,
    ),
    Right(
        "previous_token_score",
        "numpy",
        """
        import numpy as np

        def previous_token_score(weights):
            a = weights.numpy()
            return np.einsum("hii->h", a[:, 1:, :-1]) / (a.shape[1] - 1)
        """,
    ),
    Right(
        "mean_distance",
        "loops",
        """
        def mean_distance(weights):
            h, T, _ = weights.shape
            out = []
            for i in range(h):
                total = 0
                for t in range(T):
                    for s in range(T):
                        total += abs(t - s) * float(weights[i, t, s])
                out.append(total / T)
            return out
        """,
    ),
    Right(
        "mean_distance",
        "einsum in float64",
        """
        def mean_distance(a):
            p = torch.arange(a.shape[-1], dtype=torch.float64)
            print("prints are fine")
            far = torch.cdist(p[:, None], p[:, None])
            return torch.einsum("hts,ts->h", a.double(), far) / len(p)
        """,
    ),
    Right(
        "mean_distance",
        "in place, numpy",
        """
        import numpy as np

        def mean_distance(weights):
            T = weights.shape[1]
            d = np.abs(np.subtract.outer(np.arange(T), np.arange(T)))
            weights *= torch.tensor(d)
            return weights.sum((1, 2)).numpy() / T
        """,
    ),
    Right(
        "column",
        "one from the other, max with indices",
        """
        def _column(weights):
            return weights.double().mean(-2).max(-1)

        def column_score(weights):
            return _column(weights).values

        def column_position(weights):
            return _column(weights)[1]
        """,
    ),
    Right(
        "column",
        "loops and lists",
        """
        def received(head):
            return [sum(column) / len(column) for column in zip(*head)]

        def column_score(weights):
            return [max(received(head)) for head in weights.tolist()]

        def column_position(weights):
            found = []
            for head in weights.tolist():
                means = received(head)
                found.append(means.index(max(means)))
            return found
        """,
    ),
    Right(
        "column",
        "numpy, sums in place of means for the position",
        """
        def column_score(weights):
            return weights.numpy().mean(axis=1).max(axis=1)

        def column_position(weights):
            return weights.numpy().sum(axis=1).argmax(axis=1)
        """,
    ),
    Right(
        "entropy",
        "where, in float64",
        """
        def entropy(weights):
            w = weights.double()
            logs = torch.log2(torch.where(w > 0, w, torch.ones_like(w)))
            return -(w * logs).sum(-1)
        """,
    ),
    Right(
        "entropy",
        "NaN to 0, in place",
        """
        def entropy(weights):
            weights *= weights.log2()
            return -weights.nan_to_num_(0).sum(dim=-1)
        """,
    ),
    Right(
        "entropy",
        "a tiny number that changes nothing",
        """
        def entropy(a):
            return (a * -(a + 1e-12).log2()).sum(2)
        """,
    ),
    Right(
        "entropy",
        "loops and the math module",
        """
        def entropy(weights):
            return [
                [sum(-a * math.log2(a) for a in row if a != 0) for row in head]
                for head in weights.tolist()
            ]
        """,
    ),
    Right(
        "uniform",
        "softmax of equal scores",
        """
        def uniform_weights(T, is_causal):
            scores = torch.zeros(T, T)
            if is_causal:
                scores = scores.masked_fill(torch.ones(T, T).triu(1).bool(), -math.inf)
            return scores.softmax(-1)

        def previous_token_baseline(T, is_causal):
            return uniform_weights(T, is_causal).diagonal(-1).mean()
        """,
    ),
    Right(
        "uniform",
        "lists, and a formula",
        """
        def uniform_weights(T, is_causal):
            rows = []
            for t in range(T):
                n = t + 1 if is_causal else T
                rows.append([1 / n] * n + [0] * (T - n))
            return rows

        def previous_token_baseline(T, is_causal):
            if not is_causal:
                return 1 / T
            return (sum(1 / n for n in range(1, T + 1)) - 1) / (T - 1)
        """,
    ),
    Right(
        "uniform",
        "numpy, float64",
        """
        import numpy as np

        def uniform_weights(T, is_causal=False):
            seen = np.tri(T) if is_causal else np.ones((T, T))
            return seen / seen.sum(1, keepdims=True)

        def previous_token_baseline(T, is_causal=False):
            return np.diag(uniform_weights(T, is_causal), -1).mean()
        """,
    ),
    Right(
        "induction_score",
        "token by token",
        """
        def induction_score(weights, period):
            h, T, _ = weights.shape
            ids = [t % period for t in range(T)]
            total, queries = torch.zeros(h, dtype=torch.float64), 0
            for t in range(T):
                targets = [s for s in range(1, t) if ids[s - 1] == ids[t]]
                if targets:
                    queries += 1
                    for s in targets:
                        total += weights[:, t, s].double()
            return total / queries
        """,
    ),
    Right(
        "induction_score",
        "a table of wanted pairs",
        """
        def induction_score(weights, period):
            position = torch.arange(weights.shape[-1])
            back = position[:, None] - (position - 1)
            wanted = (back > 0) & (back % period == 0) & (position > 0)
            print(wanted.sum())
            return (weights * wanted).sum(-1)[:, period:].mean(-1)
        """,
    ),
    Right(
        "induction_score",
        "diagonals",
        """
        def induction_score(w, p):
            T = w.shape[1]
            total = 0
            for offset in range(p - 1, T, p):
                below = w.diagonal(-offset, 1, 2)  # key s at place s
                total = total + below[:, 1:].sum(1)
            return total / (T - p)
        """,
    ),
    Right(
        "classify",
        "a difference, in place of a sum",
        """
        def classify(scores, baselines):
            words = None
            for name in scores:
                if words is None:
                    words = ["none"] * len(scores[name])
                for i, score in enumerate(scores[name]):
                    if score >= 0.5 and score - baselines[name] >= 0.1:
                        words[i] = name if words[i] == "none" else "mixed"
            return words
        """,
    ),
    Right(
        "classify",
        "tensors, and a tuple",
        """
        def classify(scores, baselines):
            names = list(scores)
            table = torch.tensor([scores[name] for name in names])
            bars = torch.tensor([baselines[name] + 0.1 for name in names]).clamp(min=0.5)
            has = table >= bars[:, None]
            return tuple(
                names[int(head.int().argmax())] if n == 1 else "mixed" if n else "none"
                for head, n in zip(has.T, has.sum(0).tolist())
            )
        """,
    ),
    Right(
        "classify",
        "counts, capital letters, changes its arguments",
        """
        def classify(scores, baselines):
            for name in baselines:
                baselines[name] = max(baselines[name] + 0.1, 0.5)
            words = []
            while len(scores[next(iter(scores))]) > 0:
                clear = [n for n in scores if scores[n].pop(0) >= baselines[n]]
                words.append({0: "None", 1: (clear + [""])[0]}.get(len(clear), "Mixed"))
            return words
        """,
    ),
    Right(
        "search",
        "loops over the heads",
        """
        def find_previous_token_head(weights):
            best, where = -1, None
            for i, layer in enumerate(weights):
                for j, head in enumerate(layer):
                    score = float(head.diagonal(-1).mean())
                    if score > best:
                        best, where = score, [i, j]
            return where

        def count_columns(weights, least):
            n = 0
            for layer in weights:
                for head in layer:
                    if head.mean(0).max() >= least:
                        n += 1
            return n
        """,
    ),
    Right(
        "search",
        "calls tasks 1 and 3, returns tensors",
        """
        def find_previous_token_head(weights):
            scores = torch.stack([torch.as_tensor(previous_token_score(w)) for w in weights])
            return (scores == scores.max()).nonzero()[0]

        def count_columns(weights, least):
            return sum((torch.as_tensor(column_score(w)) >= least).sum() for w in weights)
        """,
    ),
    Right(
        "search",
        "numpy, float64",
        """
        import numpy as np

        def find_previous_token_head(weights):
            a = weights.double().numpy()
            scores = np.trace(a[..., 1:, :-1], axis1=2, axis2=3)
            return np.unravel_index(scores.argmax(), scores.shape)

        def count_columns(weights, least):
            return np.count_nonzero(weights.numpy().mean(-2).max(-1) >= least)
        """,
    ),
    Right(
        "assign_by_hand",
        "boolean tables",
        """
        def assign_by_hand(tokens, wishes):
            T = len(tokens)
            t = torch.arange(T)
            ids = torch.tensor([tokens.index(token) for token in tokens])
            heads = []
            for wish in wishes:
                if wish == "previous token":
                    wanted = t[:, None] - t == 1
                elif wish == "next token":
                    wanted = t[:, None] - t == -1
                elif wish == "same token":
                    wanted = (ids[:, None] == ids) & ~torch.eye(T).bool()
                else:
                    wanted = torch.zeros(T, T).bool()
                wanted[~wanted.any(1), 0] = True
                heads.append(wanted.double() / wanted.sum(1)[:, None])
            return torch.stack(heads)
        """,
    ),
    Right(
        "assign_by_hand",
        "nested lists",
        """
        def assign_by_hand(tokens, wishes):
            def row(wish, t):
                T = len(tokens)
                if wish == "previous token":
                    to = [t - 1] if t else []
                elif wish == "next token":
                    to = [t + 1] if t < T - 1 else []
                elif wish == "same token":
                    to = [s for s, x in enumerate(tokens) if x == tokens[t] and s != t]
                else:
                    to = []
                if not to:
                    to = [0]
                return [(s in to) / len(to) for s in range(T)]

            return [[row(wish, t) for t in range(len(tokens))] for wish in wishes]
        """,
    ),
    Right(
        "assign_by_hand",
        "numpy, diagonals, repaired at the ends",
        """
        import numpy as np

        def assign_by_hand(tokens, wishes):
            n = len(tokens)
            out = np.zeros((len(wishes), n, n))
            for w, wish in zip(out, wishes):
                if wish == "previous token":
                    w += np.eye(n, k=-1)
                elif wish == "next token":
                    w += np.eye(n, k=1)
                elif wish == "same token":
                    names = np.array(tokens)
                    w += (names[:, None] == names) - np.eye(n)
                w[w.sum(1) == 0, 0] = 1
                w /= w.sum(1, keepdims=True)
            return out
        """,
    ),
    Right(
        "build_previous_token_head",
        "a loop, the shift on the keys, lists",
        """
        def build_previous_token_head(T):
            W_Q = [[0.0] * T for _ in range(T)]
            W_K = [[0.0] * T for _ in range(T)]
            for t in range(T):
                W_Q[t][t] = 1.0
                if t + 1 < T:
                    W_K[t][t + 1] = 500.0
            return [W_Q, W_K]

        def target_score(share, num_keys):
            return math.log(share) - math.log(1 - share) + math.log(num_keys - 1)
        """,
    ),
    Right(
        "build_previous_token_head",
        "two columns: points on a circle",
        """
        def build_previous_token_head(T):
            angle = 2 * math.pi * torch.arange(T, dtype=torch.float64) / T
            W_K = torch.stack([angle.cos(), angle.sin()], dim=1)
            return 1000 * W_K.roll(1, 0), W_K

        def target_score(share, num_keys):
            return torch.logit(torch.tensor(share)) + math.log(num_keys - 1)
        """,
    ),
    Right(
        "build_previous_token_head",
        "numpy, both sharp, gradients",
        """
        import numpy as np

        def build_previous_token_head(T):
            W_K = torch.eye(T, T + 3, requires_grad=True) * 100
            W_Q = torch.zeros(T, T + 3)
            W_Q[1:] = W_K[:-1]
            return W_Q, W_K

        def target_score(share, num_keys):
            return np.log((num_keys - 1) / (1 / share - 1))
        """,
    ),
]

EQUIVALENT = {
    "column: weights.mean → weights.sum": "of the position: the largest sum is where the largest "
    "mean is, since all columns have T numbers",
    "search: weights.diagonal(offset=-1, dim1=2, dim2=3).mean → "
    "weights.diagonal(offset=-1, dim1=2, dim2=3).sum": "the largest sum belongs to the head with "
    "the largest mean, since all have T - 1 queries",
    "build_previous_token_head: 20 → 21": "any factor that is large enough is right",
}
