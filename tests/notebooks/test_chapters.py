"""What every chapter must have, besides running."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import jupytext
import pytest

CHAPTERS = sorted((Path(__file__).parents[2] / "chapters").glob("*.md"))
FRAME = ("## Check yourself", "## Exercises", "## Summary", "## References")

# The claims that these chapters put to the test; later chapters add theirs
CLAIMS = {f"C{n:02}" for n in (1, 2, 3, 4, 12, 13, 14, 16, 17, 18, 22, 23, 24, 27, 28)}

# Pages without a frame, and why
NO_FRAME = {"reference": "made from docstrings: something to look up, with nothing to exercise"}
FRAMED = [chapter for chapter in CHAPTERS if chapter.stem not in NO_FRAME]


def test_pages_without_a_frame_exist() -> None:
    assert NO_FRAME.keys() <= {chapter.stem for chapter in CHAPTERS}


@pytest.mark.parametrize("chapter", FRAMED, ids=lambda path: path.stem)
def test_chapter_has_the_frame(chapter: Path) -> None:
    text = chapter.read_text(encoding="utf-8")
    assert [heading for heading in FRAME if heading not in text] == []
    for label in ("you can", "**Time:** about", "**You need:**"):
        assert label in text
    assert text.index("**Time:**") < text.index("\n## ")


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_code_of_a_chapter_has_no_leftovers(chapter: Path) -> None:
    code = jupytext.writes(jupytext.read(chapter), fmt="py:percent")
    ruff = [sys.executable, "-m", "ruff", "check", "--isolated", "--select=F", "-"]
    result = subprocess.run(ruff, input=code, capture_output=True, text=True, encoding="utf-8")
    assert result.returncode == 0, result.stdout


def test_every_claim_of_these_chapters_has_one_verdict() -> None:
    rows = [
        row
        for chapter in CHAPTERS
        for row in re.findall(r"^\| (C\d\d) \|(.*)\|$", chapter.read_text("utf-8"), re.MULTILINE)
    ]
    assert sorted(claim for claim, _ in rows) == sorted(CLAIMS)
    for claim, row in rows:
        _, verdict, evidence = (cell.strip() for cell in row.split("|"))
        assert re.search(r"holds|false", verdict), f"{claim}: {verdict!r} is no verdict"
        assert evidence, f"{claim} has no evidence"
