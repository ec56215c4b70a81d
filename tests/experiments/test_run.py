"""Steps of an experiment: kept, shared out, and gone on with."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mha_course.experiments.result import Result, read, rounded, write
from mha_course.experiments.run import Run
from mha_course.heads.steps import Steps

RESULT = Result(
    experiment="cost",
    question="How?",
    command="mha-course experiment cost",
    date="2026-01-02",
    seconds=1.5,
    quick=False,
    seeds=[0, 1],
    versions={"torch": "2.13.0"},
    machine="one",
    data={"losses": [[0.5, 1.25], [2.0, 3.0]], "name": "é", "empty": []},
)


def draw(seed: int, log: str) -> dict[str, object]:
    """A job that leaves a mark for each time it is done."""
    with Path(log).open("a") as file:
        file.write(f"{seed}\n")
    value = torch.randn(3, generator=torch.Generator().manual_seed(seed))
    return {"value": value, "sum": float(value.sum()), "threads": torch.get_num_threads()}


def fail_at(seed: int, bad: int, log: str) -> dict[str, object]:
    if seed == bad:
        raise KeyboardInterrupt
    return draw(seed, log)


def a_run(folder: Path, workers: int = 1, told: list[tuple[str, int, int]] | None = None) -> Run:
    return Run(
        quick=False,
        seeds=(0, 1, 2),
        steps=Steps(folder, {"of": "test"}),
        workers=workers,
        progress=None if told is None else lambda *step: told.append(step),
    )


@pytest.mark.parametrize("workers", [1, 2])
def test_jobs_come_back_by_name_and_in_order(tmp_path: Path, workers: int) -> None:
    told: list[tuple[str, int, int]] = []
    run = a_run(tmp_path / "steps", workers, told)
    log = str(tmp_path / "log")
    results = run.map("draws", draw, {f"seed {s}": (s, log) for s in (2, 0, 1)})
    assert list(results) == ["seed 2", "seed 0", "seed 1"]
    for name, result in results.items():
        seed = int(name.split()[1])
        expected = torch.randn(3, generator=torch.Generator().manual_seed(seed))
        assert torch.equal(result["value"], expected)
        assert result["threads"] == 1
    assert told == [("draws", done, 3) for done in range(4)]
    assert run.seconds > 0


def test_an_interrupted_run_goes_on_where_it_was(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with pytest.raises(KeyboardInterrupt):
        a_run(tmp_path / "steps").map(
            "draws", fail_at, {f"seed {s}": (s, 2, str(log)) for s in range(4)}
        )
    assert log.read_text().split() == ["0", "1"]
    results = a_run(tmp_path / "steps").map(
        "draws", fail_at, {f"seed {s}": (s, 9, str(log)) for s in range(4)}
    )
    assert log.read_text().split() == ["0", "1", "2", "3"], "each was done once"
    assert len(results) == 4


def test_a_step_in_this_process_is_kept_as_well(tmp_path: Path) -> None:
    calls = []

    def compute() -> list[float]:
        calls.append(1)
        return [1.0, 2.0]

    first, second = (a_run(tmp_path / "steps").step("one", compute) for _ in range(2))
    assert first == second == [1.0, 2.0]
    assert len(calls) == 1


def test_a_failing_job_is_heard_of(tmp_path: Path) -> None:
    jobs = {"bad": ("no number", str(tmp_path / "log")), "good": (1, str(tmp_path / "log"))}
    for workers in (1, 2):
        with pytest.raises(RuntimeError, match="manual_seed"):
            a_run(tmp_path / "steps", workers).map("draws", draw, jobs)


def test_a_result_file_is_what_was_written(tmp_path: Path) -> None:
    file = tmp_path / "new" / "cost.json"
    write(RESULT, file)
    assert read(file) == RESULT
    assert "[0.5, 1.25]" in file.read_text(encoding="utf-8"), "numbers share a line"
    assert list(file.parent.iterdir()) == [file], "nothing half-done is left"


def test_no_number_that_is_none_gets_into_a_file(tmp_path: Path) -> None:
    file = tmp_path / "cost.json"
    write(RESULT, file)
    broken = Result(**{**RESULT.__dict__, "data": {"loss": float("nan")}})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write(broken, file)
    assert read(file) == RESULT, "the file before is still there"


@pytest.mark.parametrize("text", ["{", "[]", '{"experiment": "cost"}'])
def test_another_file_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "other.json"
    file.write_text(text)
    with pytest.raises(ValueError, match=r"other\.json is no result file of `mha-course exp"):
        read(file)


def test_rounding_goes_all_the_way_down() -> None:
    given = {1: [0.123456789, (1, 2.000004)], "none": None, "yes": True, "word": "0.123456789"}
    expected = {"1": [0.12346, [1, 2.0]], "none": None, "yes": True, "word": "0.123456789"}
    assert rounded(given) == expected
