"""The test cells themselves: what they leave behind, and what they must not depend on."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import pytest
import torch
from test_audit import ASSIGNMENTS, bank_of

from mha_course.grading import diagnosis
from mha_course.grading.assignment import Assignment
from mha_course.grading.fixtures import SEED_VARIABLE
from mha_course.grading.sitting import sit, without_markers

each = pytest.mark.parametrize("assignment", ASSIGNMENTS.values(), ids=ASSIGNMENTS)


@each
def test_a_test_leaves_nothing_behind_but_checks(
    assignment: Assignment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A variable of a test could make a wrong answer of a later task run."""
    monkeypatch.chdir(assignment.path.parent)
    names: dict[str, Any] = {}
    tests = {test for task in assignment.tasks for test in task.tests}
    for name, cell in assignment.cells().items():
        if cell.cell_type != "code":
            continue
        before = set(names)
        with contextlib.redirect_stdout(io.StringIO()):
            exec(without_markers(cell.source), names)
        if name in tests:
            new = {key for key in set(names) - before if key not in ("grading", "torch")}
            assert all(key.startswith("check_") or "_inputs" in key for key in new), (name, new)
            assert all(callable(names[key]) for key in new), (name, new)


@each
def test_the_learners_settings_do_not_matter(assignment: Assignment) -> None:
    state = torch.get_rng_state()
    try:
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)
        assert all(outcome.passed for outcome in sit(assignment, {}).values())
        assert torch.equal(torch.get_rng_state(), state), "a test used the learner's generator"
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_grad_enabled(True)


@each
def test_hidden_tests_are_fair_to_every_student(
    assignment: Assignment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever inputs a student draws, the solution passes and a known mistake does not."""
    first: dict[str, str] = {}
    for wrong in bank_of(assignment.name).wrong:
        first.setdefault(wrong.task, wrong.code)
    for student in range(12):
        monkeypatch.setenv(SEED_VARIABLE, f"student {student}")
        assert all(outcome.passed for outcome in sit(assignment, {}).values())
        outcomes = sit(assignment, first)
        for task in assignment.autograded:
            assert not all(outcomes[name].passed for name in task.tests), (task.name, student)


@each
def test_rounding_is_far_below_the_tolerance_and_mistakes_far_above(
    assignment: Assignment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Right answers in float32 may err a tenth of the tolerance; wrong ones err ten times it."""
    worst = 0.0

    def measured(given: torch.Tensor, wanted: torch.Tensor) -> bool:
        nonlocal worst
        if given.shape != wanted.shape or not given.isfinite().all():
            return False
        size = max(1.0, float(wanted.abs().max())) if wanted.numel() else 1.0
        allowed = diagnosis.ATOL * size + diagnosis.RTOL * wanted.abs()
        error = ((given - wanted).abs() / allowed).amax() if wanted.numel() else torch.zeros(())
        same = bool(error <= 1)
        if same:
            worst = max(worst, float(error))
        else:
            assert error > 10, f"a mistake is only {float(error):.1f} times the tolerance off"
        return same

    monkeypatch.setattr(diagnosis, "_same", measured)
    bank = bank_of(assignment.name)
    sit(assignment, {})
    for answer in [*bank.right, *bank.wrong]:
        sit(assignment, {answer.task: answer.code}, only={answer.task})
    assert worst < 0.1, f"a right answer uses {worst:.0%} of the tolerance"
