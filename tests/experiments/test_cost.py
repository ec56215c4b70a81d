"""What h costs: counted where the answer is known without counting."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import pytest
import torch

from mha_course.experiments.cost import _count, findings
from mha_course.experiments.peak_memory import PeakMemory
from mha_course.experiments.result import Data, read

DATA = Path(__file__).parents[2] / "chapters" / "data"
D, T = 24, 10
BYTES = 4


@pytest.fixture(scope="module")
def measured() -> Data:
    return read(DATA / "cost.json").data


@pytest.mark.parametrize("num_heads", [2, 3, 12])
def test_a_layer_is_counted_as_on_paper(num_heads: int) -> None:
    found = _count(D, num_heads, T)
    assert found["parameters"] == found["parameters of nn.MultiheadAttention"] == 4 * D * D + 4 * D
    assert found["bytes of scores"] == num_heads * T * T * BYTES
    for form in ("loop", "batched", "fused"):
        assert found[form]["flops"] == 8 * T * D * D + 4 * T * T * D
    # the batched form holds at least the scores and the weights at the same time
    assert found["batched"]["peak bytes"] >= 2 * found["bytes of scores"]


def test_peak_is_what_is_alive_at_the_same_time() -> None:
    kept = torch.ones(7)
    with PeakMemory() as memory:
        a = kept + 1  # 28 bytes
        b = torch.cat([a, a])  # 56 bytes: 84 with a
        del a
        c = b[:3]  # a view: nothing new
        b += 1  # in place: nothing new
        del b
        d = torch.zeros(9)  # 36 bytes: c keeps all of b alive, so 92
        assert c.shape != d.shape
    assert memory.peak == 92


def test_peak_sees_what_lives_for_a_moment_only() -> None:
    with PeakMemory() as memory:
        total = torch.zeros(100, 10).sum()
    assert total == 0
    assert memory.peak == 100 * 10 * BYTES + BYTES


@pytest.mark.parametrize(
    ("finding", "path", "value"),
    [
        ("parameters-do-not-depend-on-h", ("heads", "8", "parameters"), 1),
        ("parameters-do-not-depend-on-h", ("heads", "4", "parameters of nn.MultiheadAttention"), 1),
        ("a-third-more-than-one-head-without-w-o", ("one head without W_O",), 999_999),
        ("flops-do-not-depend-on-h", ("heads", "16", "loop", "flops"), 1),
        ("scores-grow-with-h", ("heads", "512", "batched", "peak bytes"), 1),
        ("fused-stores-no-scores", ("heads", "512", "fused", "peak bytes"), 2**29),
        ("time-grows-with-h", ("time", "batched", "64"), [0.9, 1.1, 1.0]),
        (
            "concatenating-is-a-sum",
            (
                "heads",
                "2",
                "largest difference between mixing what is concatenated and adding heads up",
            ),
            0.1,
        ),
    ],
)
def test_findings_follow_the_numbers(
    measured: Data, finding: str, path: tuple[str, ...], value: object
) -> None:
    assert findings(measured)[finding].holds
    changed = deepcopy(measured)
    place = changed
    for key in path[:-1]:
        place = place[key]
    assert path[-1] in place
    place[path[-1]] = value
    assert not findings(changed)[finding].holds
