"""The shapes in the annotations are true: jaxtyping checks them while the tests run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def run_checked(modules: str, *tests: Path | str) -> subprocess.CompletedProcess[str]:
    # a process of its own: annotations can only be checked in modules not imported yet
    check = f"--jaxtyping-packages={modules},beartype.beartype"
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", check, *tests],
        capture_output=True,
        text=True,
    )


CHECKED = ",".join(
    f"mha_course.{module}"
    for module in ("attention", "cache", "forms", "latent", "masks", "multi_head", "torch_bridge")
)


CALLING = (
    "attention",
    "cache",
    "equivalence",
    "latent",
    "masks",
    "multi_head",
    "torch_bridge",
)


def test_shapes_hold_in_every_call_with_good_input() -> None:
    result = run_checked(
        CHECKED,
        *(HERE / f"test_{name}.py" for name in CALLING),
        # a refusal is no good input, and finite differences call thousands of times
        *("-k", "not refused and not finite_differences"),
    )
    assert result.returncode == 0, result.stdout + result.stderr


ANNOTATED = """
from __future__ import annotations
from jaxtyping import Float
from torch import Tensor

def right(q: Float[Tensor, "T_q d"], k: Float[Tensor, "T_k d"]) -> Float[Tensor, "T_k T_q"]:
    return k @ q.T

def wrong(q: Float[Tensor, "T_q d"], k: Float[Tensor, "T_k d"]) -> Float[Tensor, "T_q T_k"]:
    return k @ q.T
"""

TEST_OF_ANNOTATED = """
import pytest, torch
from annotated import right, wrong
from jaxtyping import TypeCheckError
from mha_course import merge_heads

def test_right():
    right(torch.ones(5, 3), torch.ones(7, 3))

def test_wrong():
    with pytest.raises(TypeCheckError, match="return value"):
        wrong(torch.ones(5, 3), torch.ones(7, 3))

def test_that_the_package_is_checked():
    with pytest.raises(TypeCheckError, match="merge_heads"):
        merge_heads(torch.ones(2, 3, 5, 7, dtype=torch.int64))
"""


def test_a_wrong_shape_would_be_caught(tmp_path: Path) -> None:
    (tmp_path / "annotated.py").write_text(ANNOTATED)
    test = tmp_path / "test_annotated.py"
    test.write_text(TEST_OF_ANNOTATED)

    result = run_checked("annotated,mha_course.attention", test)

    assert result.returncode == 0, result.stdout + result.stderr
    assert "3 passed" in result.stdout
