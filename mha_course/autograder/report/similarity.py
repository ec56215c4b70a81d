"""Which submissions are more alike than others in their class.

Answers to a small task are alike by nature. So what counts is not how alike two of them are, but
how few others of the class are as alike, and in how many tasks it is the same two. Three steps:

1. Each answer is cut into fragments; what was given is taken out. The share of two answers is the
   part of the smaller one that is in the other, where a fragment weighs more, the fewer have it.
2. For each task, count who of the class is at least as alike. If that is only one of 300, it is
   evidence; if it is every second one, it is nearly none: evidence = share · −log(count / class).
   The evidence of two submissions is the sum over the tasks.
3. The answers to each task are dealt out anew among the students, by chance, and the same is
   computed. Nobody can have worked together in these classes. How much evidence the most alike two
   of them have is what chance can do here; a pair stands out that has a quarter more.

Answers are compared twice, as they are written and without the names that the learner chose; the
stronger of both counts. Nothing of this proves anything.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mha_course.autograder.report.fragments import Fragment, Reading, fragments, given_names

MARGIN = 1.25  # times what chance can do
FEWEST = 6  # submissions, to know what is usual
MOST = 3000  # submissions; every pair of them is compared
_LEAST = 8  # fragments of an answer; `return None` is nobody's own
_DEALS = (20, 200)  # classes dealt out by chance, at least and at most
_DEALT_PAIRS = 200_000  # in all of them together, as a rule
_SEED = 0

Matrix = npt.NDArray[np.float32]
Counts = npt.NDArray[np.uint16]


class Answers(NamedTuple):
    """All answers to one task.

    Attributes:
        texts: One for each submission; empty where there is none.
        prose: Whether they are text, not code.
        given: Texts of the same kind that learners start from.
    """

    texts: Sequence[str]
    prose: bool
    given: Sequence[str]


class Alike(NamedTuple):
    """How alike two answers to one task are.

    Attributes:
        task: Its number.
        share: Of the smaller answer that is in the other, too.
        as_many: Other submissions that are at least as alike to one of both.
        of: Other submissions with an answer.
    """

    task: int
    share: float
    as_many: int
    of: int


class Pair(NamedTuple):
    """Two submissions that stand out.

    Attributes:
        first: Number of the submission.
        second: Likewise, a larger one.
        score: Evidence, as a multiple of what chance can do.
        alike: The tasks, with the strongest evidence first.
    """

    first: int
    second: int
    score: float
    alike: tuple[Alike, ...]


class Similarity(NamedTuple):
    """What came of the comparison.

    Attributes:
        pairs: That stand out, the strongest first.
        highest_other: Highest score of a pair that does not stand out.
        why_not: Why nothing was compared; empty if it was.
    """

    pairs: tuple[Pair, ...]
    highest_other: float
    why_not: str


class _Compared(NamedTuple):
    """One task: how alike each two answers are, and how many others are at least as alike."""

    task: int
    share: Matrix
    as_alike: Counts
    others: int

    def evidence(self) -> Matrix:
        logs = np.zeros(self.others + 1, dtype=np.float32)
        logs[1:] = -np.log(np.arange(1, self.others + 1) / self.others)
        found: Matrix = self.share * logs[self.as_alike]
        return found


def similar(
    tasks: Sequence[Answers],
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> Similarity:
    """Find the pairs of submissions that stand out.

    Args:
        tasks: Each with the answers of all submissions, in the same order.
        progress: Called with what is done, how much of it, and how much there is.
    """
    size = len(tasks[0].texts) if tasks else 0
    if size < FEWEST:
        return Similarity(
            (), 0.0, f"fewer than {FEWEST} submissions, too few to know what is usual"
        )
    if size > MOST:
        return Similarity(
            (), 0.0, f"more than {MOST:,} submissions, too many for every pair of them"
        )
    best: dict[tuple[int, int], Pair] = {}
    highest_other = np.zeros((size, size), dtype=np.float32)
    steps, done = 2 * len(tasks), 0
    for as_written in (False, True):
        compared = []
        for task, answers in enumerate(tasks):
            if (one := _compare(task, answers, as_written=as_written)) is not None:
                compared.append(one)
            done += 1
            progress("comparing", done, steps)
        if not compared:
            continue
        scores = _scores([one.evidence() for one in compared])
        for first, second in np.argwhere(np.triu(scores >= MARGIN, 1)).tolist():
            score = float(scores[first, second])
            if (first, second) not in best or best[first, second].score < score:
                alike = _alike(compared, first, second)
                best[first, second] = Pair(first, second, score, alike)
        np.maximum(highest_other, scores, out=highest_other)
    pairs = sorted(best.values(), key=lambda pair: (-pair.score, pair.first, pair.second))
    below = highest_other[highest_other < MARGIN]
    return Similarity(tuple(pairs), float(below.max(initial=0)), "")


def groups(pairs: Sequence[Pair]) -> list[tuple[int, ...]]:
    """Return who hangs together by pairs, in the order of the strongest pair."""
    group: dict[int, set[int]] = {}
    for pair in pairs:
        joined = group.get(pair.first, {pair.first}) | group.get(pair.second, {pair.second})
        group.update(dict.fromkeys(joined, joined))
    found = dict.fromkeys(tuple(sorted(group[pair.first])) for pair in pairs)
    return list(found)


def shared(first: str, second: str, answers: Answers) -> tuple[list[tuple[int, int]], ...]:
    """Return the parts of two answers that the other has, too, without what was given."""
    reading = _reading(answers, as_written=False)
    given = _given(answers, reading)
    one, other = fragments(first, reading), fragments(second, reading)
    common = (one.keys() & other.keys()) - given
    return tuple(
        sorted(span for fragment in common for span in spans[fragment]) for spans in (one, other)
    )


def _reading(answers: Answers, *, as_written: bool) -> Reading:
    return Reading(answers.prose, as_written, given_names(answers.given))


def _given(answers: Answers, reading: Reading) -> set[Fragment]:
    return {fragment for text in answers.given for fragment in fragments(text, reading)}


def _compare(task: int, answers: Answers, *, as_written: bool) -> _Compared | None:
    """Compare all answers to a task with each other; None if there are fewer than two."""
    reading = _reading(answers, as_written=as_written)
    given = _given(answers, reading)
    own = [fragments(text, reading).keys() - given for text in answers.texts]
    own = [found if len(found) >= _LEAST else set() for found in own]
    size, answered = len(own), sum(map(bool, own))
    if answered < 2:
        return None
    frequency = Counter(fragment for found in own for fragment in found)
    weight = {one: math.log((answered + 1) / count) for one, count in frequency.items()}
    several = [one for one, count in frequency.items() if count > 1]
    column = {one: number for number, one in enumerate(several)}
    roots = np.sqrt(np.array([weight[one] for one in several], dtype=np.float32))
    table = np.zeros((size, len(several)), dtype=np.float32)
    for row, found in enumerate(own):
        columns = [column[one] for one in found if one in column]
        table[row, columns] = roots[columns]
    total = np.array([sum(weight[one] for one in found) for found in own], dtype=np.float32)
    smaller = np.minimum(total[:, None], total[None])
    common = table @ table.T
    share = np.divide(common, smaller, out=np.zeros_like(common), where=smaller > 0)
    share = np.round(np.clip(share, 0, 1), 3)  # ties are ties, however the sums were rounded
    np.fill_diagonal(share, -1)
    return _Compared(task, np.clip(share, 0, 1), _as_alike(share, answered - 1), answered - 1)


def _as_alike(share: Matrix, others: int) -> Counts:
    """Count for each two how many are at least as alike to one of them; the larger count."""
    size = len(share)
    counts = np.empty((size, size), dtype=np.uint16)
    for row, line in enumerate(share):
        counts[row] = np.minimum(size - np.searchsorted(np.sort(line), line), others)
    np.maximum(counts, counts.T, out=counts)
    np.fill_diagonal(counts, others)
    return counts


def _scores(evidence: Sequence[Matrix]) -> Matrix:
    """Return the evidence of each two submissions, as a multiple of what chance can do."""
    size = len(evidence[0])
    generator = np.random.default_rng(_SEED)
    highest = 0.0
    fewest, most = _DEALS
    for _ in range(min(most, max(fewest, 2 * _DEALT_PAIRS // size**2))):
        dealt = np.zeros((size, size), dtype=np.float32)
        for one in evidence:
            order = generator.permutation(size)
            dealt += one[np.ix_(order, order)]
        highest = max(highest, float(dealt.max()))
    total: Matrix = np.sum(evidence, axis=0, dtype=np.float32)
    return total / highest if highest > 0 else np.zeros_like(total)


def _alike(compared: Sequence[_Compared], first: int, second: int) -> tuple[Alike, ...]:
    strength = {
        one.task: float(one.share[first, second])
        * math.log(one.others / int(one.as_alike[first, second]))
        for one in compared
    }
    found = [
        Alike(
            one.task,
            float(one.share[first, second]),
            int(one.as_alike[first, second]) - 1,
            one.others - 1,
        )
        for one in compared
        if strength[one.task] > 0
    ]
    return tuple(sorted(found, key=lambda alike: -strength[alike.task]))
