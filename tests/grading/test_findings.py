"""Every kind of finding is explained, and tried."""

from __future__ import annotations

from pathlib import Path

from mha_course.autograder.findings import MEANING

TESTS = Path(__file__).parent


def test_every_finding_is_explained_and_every_explained_one_is_tried() -> None:
    written = "\n".join(
        file.read_text("utf-8") for file in sorted(TESTS.rglob("*.py")) if file != Path(__file__)
    )
    missing = [kind for kind in MEANING if f'"{kind}"' not in written]
    assert missing == []
