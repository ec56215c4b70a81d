"""What every chapter must have, besides running."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import jupytext
import pytest

CHAPTERS = sorted((Path(__file__).parents[2] / "chapters").glob("*.md"))
FRAME = ("## Check yourself", "## Exercises", "## Summary", "## References")

# Pages without a frame, and why
NO_FRAME = {
    "reference": "made from docstrings: something to look up, with nothing to exercise",
    "references": "a list",
    "glossary": "to look up",
    "for-instructors": "for those who teach",
    "running-a-class": "steps to follow",
    "grading-a-class": "for those who teach",
    "class-on-jupyterhub": "for those who teach",
    "exercises": "lists of the tasks; the exercises are notebooks",
    "your-progress": "what the reader's browser has kept",
}
NOTEBOOKS = [chapter for chapter in CHAPTERS if "kernelspec:" in chapter.read_text("utf-8")]
FRAMED = [chapter for chapter in CHAPTERS if chapter.stem not in NO_FRAME]


def test_pages_with_code_are_notebooks() -> None:
    for page in set(CHAPTERS) - set(NOTEBOOKS):
        assert "{code-cell}" not in page.read_text("utf-8"), page.name
    assert len(NOTEBOOKS) >= 10


def test_pages_without_a_frame_exist() -> None:
    assert NO_FRAME.keys() <= {chapter.stem for chapter in CHAPTERS}


@pytest.mark.parametrize("chapter", FRAMED, ids=lambda path: path.stem)
def test_chapter_has_the_frame(chapter: Path) -> None:
    text = chapter.read_text(encoding="utf-8")
    assert [heading for heading in FRAME if heading not in text] == []
    for label in ("you can", "**Time:** about", "**You need:**"):
        assert label in text
    assert text.index("**Time:**") < text.index("\n## ")
    assert text.count(":::{question}") + text.count(":::{number-question}") >= 5


@pytest.mark.parametrize("chapter", FRAMED, ids=lambda path: path.stem)
def test_chapter_begins_with_why_and_has_something_to_try(chapter: Path) -> None:
    text = chapter.read_text(encoding="utf-8")
    title, why, *_ = text.partition("\n# ")[2].split("\n\n")
    assert title
    assert len(why.split()) > 30, "the first paragraph says why to care"
    if chapter.stem not in ("start", "notation"):
        assert "{admonition} Try it" in text
        assert "    name: fig-" in text


@pytest.mark.parametrize("chapter", NOTEBOOKS, ids=lambda path: path.stem)
def test_code_of_a_chapter_has_no_leftovers(chapter: Path) -> None:
    code = jupytext.writes(jupytext.read(chapter), fmt="py:percent")
    ruff = [sys.executable, "-m", "ruff", "check", "--isolated", "--select=F", "-"]
    result = subprocess.run(ruff, input=code, capture_output=True, text=True, encoding="utf-8")
    assert result.returncode == 0, result.stdout
