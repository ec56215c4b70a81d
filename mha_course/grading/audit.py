"""Audit the exercises: every wrong answer must lose its points, every right one get them.

The tests of the exercises are software, and are tested as such. For each assignment, `audit` runs
the solution, the bank of wrong and right answers, the answers that are wrong for every task, and
small changes to the solution (mutants), and says what does not come out as it should.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from mha_course.grading.assignment import Assignment, Task
from mha_course.grading.bank import Bank, Wrong, generic
from mha_course.grading.form import form
from mha_course.grading.sitting import Answer, Outcome, sit, without_markers
from mha_course.grading.source_mutants import source_mutants

if TYPE_CHECKING:
    from mha_course.heads.survey import Progress  # takes a second to import

LEAST_WRONG, LEAST_RIGHT = 5, 3
"""How many answers of each kind a task needs in the bank."""
LEAST_SCORE = 0.95
"""Of the mutants of an assignment's solutions, the share that its tests must notice."""


class Audit(NamedTuple):
    """What the audit of one assignment found.

    Attributes:
        assignment: The assignment.
        wrong: Wrong answers that were tried, those for every task among them.
        right: Right answers that were tried, the solutions among them.
        mutants: Mutants that differ from the solution.
        killed: How many of them a test noticed.
        survivors: The others that the bank does not explain: `task: change`.
        problems: What did not come out as it should, in words.
    """

    assignment: Assignment
    wrong: int
    right: int
    mutants: int
    killed: int
    survivors: list[str]
    problems: list[str]

    @property
    def score(self) -> float:
        """Share of the mutants that were noticed; 1 without any."""
        return self.killed / self.mutants if self.mutants else 1.0


def audit(
    assignment: Assignment,
    release: Assignment,
    bank: Bank | None,
    *,
    mutate: bool = True,
    progress: Progress = lambda *_: None,
) -> Audit:
    """Audit one assignment.

    Args:
        assignment: With solutions and hidden tests.
        release: As learners get it.
        bank: Wrong and right answers; None if nobody has written any yet.
        mutate: Whether to try mutants as well, which takes longest.
        progress: Called with the kind of step, how many are done, and of how many.
    """
    problems = form(assignment, release) + _shortages(assignment, bank)
    bank = _known(assignment, bank)
    outcomes = sit(assignment, {})
    problems += [
        f"the solution fails {name}: {o.says}" for name, o in outcomes.items() if not o.passed
    ]

    for number, wrong in enumerate(bank.wrong):
        problems += _of_wrong(assignment, wrong)
        progress(f"{assignment.name}: wrong answers", number + 1, len(bank.wrong))
    for number, right in enumerate(bank.right):
        what = f"{right.task}, right ({right.style})"
        problems += _of_right(assignment, right.task, right.code, what)
        progress(f"{assignment.name}: right answers", number + 1, len(bank.right))
    tried = 0
    for number, task in enumerate(assignment.autograded):
        answers = generic(assignment, release, task)
        tried += len(answers)
        for what, answer in answers.items():
            problems += _of_generic(assignment, task, what, answer)
        progress(f"{assignment.name}: empty answers", number + 1, len(assignment.autograded))

    total, killed = 0, 0
    survivors: list[str] = []
    if mutate:
        total, killed, survivors, unused = _mutants(assignment, bank.equivalent, progress)
        problems += [f"EQUIVALENT names what is no surviving mutant: {name}" for name in unused]
    return Audit(
        assignment,
        len(bank.wrong) + tried,
        len(bank.right) + len(assignment.autograded),
        total,
        killed,
        survivors,
        problems,
    )


def table(audits: list[Audit]) -> list[str]:
    """Return the audits as lines of text: a table, survivors, problems."""
    head = (
        "assignment",
        "tasks",
        "written",
        "points",
        "minutes",
        "wrong",
        "right",
        "mutants",
        "score",
    )
    rows = [
        (
            one.assignment.name,
            len(one.assignment.autograded),
            len(one.assignment.written),
            one.assignment.points,
            one.assignment.minutes,
            one.wrong,
            one.right,
            one.mutants,
        )
        for one in audits
    ]
    total = tuple(sum(int(row[i]) for row in rows) for i in range(1, 8))
    everything = sum(one.killed for one in audits)
    scores = [f"{one.score:.1%}" for one in audits] + [f"{everything / max(1, total[-1]):.1%}"]
    found = [f"{head[0]:20}" + "".join(f"{name:>9}" for name in head[1:])]
    for row, score in zip([*rows, ("all", *total)], scores, strict=True):
        found.append(f"{row[0]:20}" + "".join(f"{cell:>9}" for cell in row[1:]) + f"{score:>9}")
    for one in audits:
        found += [f"mutant not noticed: {one.assignment.name}/{name}" for name in one.survivors]
        found += [f"problem: {one.assignment.name}: {problem}" for problem in one.problems]
    return found


def _shortages(assignment: Assignment, bank: Bank | None) -> list[str]:
    """Say what the bank lacks."""
    if bank is None:
        return [
            "it has no bank of wrong and right answers, so only the solution, empty answers and "
            "changes to the solution were tried; `mha-course new-task` shows what a bank is"
        ]
    problems = []
    for task in assignment.autograded:
        wrong = sum(entry.task == task.name for entry in bank.wrong)
        right = sum(entry.task == task.name for entry in bank.right)
        if wrong < LEAST_WRONG or right < LEAST_RIGHT:
            problems.append(
                f"{task.name} has {wrong} wrong and {right} right answers in the bank; "
                f"it needs {LEAST_WRONG} and {LEAST_RIGHT}"
            )
    known = {task.name for task in assignment.autograded}
    strange = {one.task for one in bank.wrong} | {one.task for one in bank.right}
    return problems + [
        f"the bank has answers to {name}, which is no task" for name in sorted(strange - known)
    ]


def _known(assignment: Assignment, bank: Bank | None) -> Bank:
    """Return the bank without answers to what is no task."""
    if bank is None:
        return Bank([], [], {})
    known = {task.name for task in assignment.autograded}
    return Bank(
        [one for one in bank.wrong if one.task in known],
        [one for one in bank.right if one.task in known],
        bank.equivalent,
    )


def _of_wrong(assignment: Assignment, wrong: Wrong) -> list[str]:
    """Say what is not as it should be with a wrong answer."""
    what = f"{wrong.task}, wrong ({wrong.misconception})"
    tests = _tests(assignment)[wrong.task]
    outcomes = sit(assignment, {wrong.task: wrong.code})
    expected = {name: name not in tests or name in wrong.keeps for name in outcomes}
    problems = _differences(what, outcomes, expected)
    shown = sit(assignment, {wrong.task: wrong.code}, hidden=False, only={wrong.task})
    messages = [o.says for o in shown.values() if not o.passed]
    if not any(wrong.says in message for message in messages):
        problems.append(f"{what}: no visible test says {wrong.says!r}; they say {messages}")
    problems += [
        f"{what}: a message shows numbers of the test: {o.says}"
        for o in [*outcomes.values(), *shown.values()]
        if "tensor(" in o.says
    ]
    return problems


def _of_right(assignment: Assignment, task: str, code: Answer, what: str) -> list[str]:
    problems = []
    for hidden in (True, False):
        outcomes = sit(assignment, {task: code}, hidden=hidden)
        problems += _differences(what, outcomes, dict.fromkeys(outcomes, True))
    return problems


def _of_generic(assignment: Assignment, task: Task, what: str, answer: Answer) -> list[str]:
    outcomes = sit(assignment, {task.name: answer}, only={task.name})
    return _differences(f"{task.name}, wrong ({what})", outcomes, dict.fromkeys(outcomes, False))


def _differences(
    what: str, outcomes: Mapping[str, Outcome], expected: Mapping[str, bool]
) -> list[str]:
    return [
        f"{what}: {name} {'passes' if o.passed else 'fails: ' + o.says}"
        for name, o in outcomes.items()
        if o.passed != expected[name]
    ]


def _mutants(
    assignment: Assignment, equivalent: Mapping[str, str], progress: Progress
) -> tuple[int, int, list[str], set[str]]:
    """Try all mutants; return how many there are and die, and which survive unexplained.

    The fourth result are explanations that explain nothing: their mutant died, or is none.
    """
    total, killed = 0, 0
    survivors: list[str] = []
    unused = set(equivalent)
    for number, task in enumerate(assignment.autograded):
        source = without_markers(assignment.cells()[task.name].source)
        for mutant in source_mutants(source):
            outcomes = sit(assignment, {task.name: mutant.source}, only={task.name})
            name = f"{task.name}: {mutant.change}"
            died = not all(outcome.passed for outcome in outcomes.values())
            if not died and name in equivalent:
                unused.discard(name)
                continue
            total, killed = total + 1, killed + died
            if not died:
                survivors.append(name)
        progress(f"{assignment.name}: mutants", number + 1, len(assignment.autograded))
    return total, killed, survivors, unused


def _tests(assignment: Assignment) -> dict[str, tuple[str, ...]]:
    return {task.name: task.tests for task in assignment.tasks}
