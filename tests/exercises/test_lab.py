"""The lab of the assignment `experiment`: the model answer's numbers come out of it.

Seeds 10 to 19: the design was tried out on seeds 0 to 9 and fixed before these were run.
"""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
import torch
from test_audit import ASSIGNMENTS

from mha_course.experiments.intervals import mean_interval
from mha_course.grading.reference import experiment as reference

SEEDS = range(10, 20)
CONDITIONS: dict[str, dict[str, Any]] = {
    "pair, as drawn": {},
    "previous twice": {"ask": ("previous", "previous")},
    "pair, alike": {"alike": True},
}


@pytest.fixture(scope="module")
def runs() -> dict[str, list[dict[str, torch.Tensor]]]:
    names: dict[str, Any] = {}
    exec(ASSIGNMENTS["experiment"].cells()["lab"].source, names)
    state = torch.get_rng_state()
    found = {
        name: [names["train"](seed, **options) for seed in SEEDS]
        for name, options in CONDITIONS.items()
    }
    assert torch.equal(torch.get_rng_state(), state)
    found["untrained"] = [{"weights": run["before"]} for run in found["pair, as drawn"]]
    wanted = names["wanted_keys"]()
    for run in (run for runs in found.values() for run in runs):
        scores = reference.role_scores(run["weights"][None], wanted)
        run["index"] = torch.tensor(reference.specialisation(scores[0]))
    return found


def stated(condition: str) -> list[float]:
    """Numbers of a row of the model answer's table."""
    answer = ASSIGNMENTS["experiment"].cells()["results"].source
    row = next(line for line in answer.split("\n") if condition in line and line.startswith("|"))
    return [float(number) for number in re.findall(r"\d\.\d+", row)]


@pytest.mark.parametrize("condition", [*CONDITIONS, "untrained"])
def test_the_table_of_the_model_answer(condition: str, runs) -> None:
    made = runs[condition]
    computed = list(mean_interval([float(run["index"]) for run in made]))
    if "explained" in made[0]:
        computed.append(math.fsum(float(run["explained"].mean()) for run in made) / len(made))
    for number, shown in zip(computed, stated(condition), strict=False):
        assert number == pytest.approx(shown, abs=0.03)


def test_the_verdict_of_the_model_answer(runs) -> None:
    needed, spare = runs["pair, as drawn"], runs["previous twice"]
    gaps = [float(one["index"] - other["index"]) for one, other in zip(needed, spare, strict=True)]
    assert mean_interval(gaps)[1] > 0.3
    assert mean_interval([float(run["index"]) for run in runs["pair, alike"]])[2] < 0.3
