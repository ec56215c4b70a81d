"""The exercises of the course: every wrong answer loses its points, every right one gets them."""

from __future__ import annotations

from pathlib import Path

import pytest

from mha_course.grading.assignment import Assignment, read_assignment, read_assignments
from mha_course.grading.audit import LEAST_SCORE, audit, table
from mha_course.grading.bank import Bank, bank_file, read_bank

REPOSITORY = Path(__file__).parents[2]
ASSIGNMENTS = {one.name: one for one in read_assignments(REPOSITORY / "solutions")}


def bank_of(name: str) -> Bank:
    return read_bank(bank_file(name, Path(__file__).parent))


def release_of(name: str) -> Assignment:
    return read_assignment(REPOSITORY / "exercises" / name / f"{name}.ipynb")


@pytest.mark.slow
@pytest.mark.parametrize("name", ASSIGNMENTS)
def test_the_audit_finds_nothing(name: str) -> None:
    found = audit(ASSIGNMENTS[name], release_of(name), bank_of(name))
    report = "\n".join(table([found]))
    assert not found.problems, report
    assert not found.survivors, report
    assert found.score >= LEAST_SCORE, report
    assert found.mutants > 10 * len(found.assignment.autograded) / 2, report


def test_there_are_enough_of_everything() -> None:
    assert len(ASSIGNMENTS) >= 6
    assert sum(len(one.autograded) for one in ASSIGNMENTS.values()) >= 45
    assert sum(len(one.written) for one in ASSIGNMENTS.values()) >= 14
    banks = [bank_of(name) for name in ASSIGNMENTS]
    assert sum(len(bank.wrong) for bank in banks) >= 250
    assert sum(len(bank.right) for bank in banks) >= 130


def test_the_readme_counts_right() -> None:
    banks = [bank_of(name) for name in ASSIGNMENTS]
    graded = sum(len(one.autograded) for one in ASSIGNMENTS.values())
    written = sum(len(one.written) for one in ASSIGNMENTS.values())
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    assert f"{graded} tasks that tests grade and {written} that you read" in readme
    assert f"runs {sum(len(bank.wrong) for bank in banks)} wrong answers" in readme
    assert f"{sum(len(bank.right) for bank in banks)} right ones in other styles" in readme


@pytest.mark.parametrize("name", ASSIGNMENTS)
def test_answers_in_a_bank_differ(name: str) -> None:
    bank = bank_of(name)
    for answers in (bank.wrong, bank.right):
        codes = [(one.task, one.code) for one in answers]
        assert len(set(codes)) == len(codes)
    tags = [(one.task, one.misconception) for one in bank.wrong]
    assert len(set(tags)) == len(tags), "two wrong answers to a task have the same misconception"
