"""Your progress: pages, self-checks and exercises on one page, as far as a browser keeps them."""

from __future__ import annotations

import re
from pathlib import Path

from mha_course.grading.assignment import read_assignments
from mha_course.grading.progress import short
from mha_course.widgets.live import Heights, LiveFigure
from mha_course.widgets.self_check import QUESTION

_HEIGHTS = Heights(wide=1010, narrow=1430)
_TITLE = re.compile(r"^# (.+)$", re.MULTILINE)
_FALLBACK = (
    "<p>On the page of the book, tables show which pages you have finished, how the self-checks "
    "went, and which tasks of the exercises are done. They are kept in your browser.</p>"
)


def your_progress(toc: Path, exercises: Path) -> LiveFigure:
    """Show what the reader's browser has kept of all pages with a self-check, and of the exercises.

    Args:
        toc: `_toc.yml` of the book; its pages lie as it says.
        exercises: Folder with the assignments as learners get them.

    Raises:
        ValueError: a page has no title, or there is no assignment in the folder.
    """
    import yaml  # comes with what builds the book

    contents = yaml.safe_load(toc.read_text(encoding="utf-8"))
    files = [contents["root"]]
    files += [chapter["file"] for part in contents["parts"] for chapter in part["chapters"]]
    pages = (_page(toc.parent / f"{file}.md") for file in files)
    state = {
        "pages": [page for page in pages if page["questions"]],
        "assignments": [
            {
                "name": one.name,
                "tasks": [
                    {
                        "number": short(task),
                        "title": f"{task.number} · {task.title}",
                        "minutes": task.minutes,
                    }
                    for task in one.tasks
                ],
            }
            for one in read_assignments(exercises)
        ],
    }
    return LiveFigure("your_progress", state, _FALLBACK, _HEIGHTS)


def _page(file: Path) -> dict[str, str | int]:
    text = file.read_text(encoding="utf-8")
    title = _TITLE.search(text)
    if title is None:
        raise ValueError(f"{file} has no title: no line that begins with `# `")
    return {"page": file.stem, "title": title[1], "questions": len(QUESTION.findall(text))}
