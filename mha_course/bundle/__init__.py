"""What a learner gets: exercises, the package, and the versions that work, in one zip file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from string import Template

from mha_course import __version__
from mha_course.bundle.archive import write_zip
from mha_course.bundle.pins import pins

TOP = "multi-head-attention"
"""Folder that everything in the zip file is in."""

EXTRA = "learner"
"""Of the package, what a learner needs."""

_HERE = Path(__file__).parent
_TEMPLATES = {"README.md": "README.md.in", "Makefile": "Makefile.in"}
_AS_IT_IS = ("pyproject.toml", "LICENSE")
_STUBS = ("Task not done yet: write your code here", "*Write your answer here")
_MARKS = ("BEGIN SOLUTION", "BEGIN HIDDEN TESTS", "BEGIN MARK SCHEME")


def name() -> str:
    """Return what the zip file is called."""
    return f"{TOP}-exercises-{__version__}.zip"


def write_bundle(root: Path, file: Path, book: str = "") -> None:
    """Write the zip file; it is complete or it is not there.

    Args:
        root: Of the course's repository.
        file: Where to write it.
        book: Where learners read the book; empty if it is not published.

    Raises:
        ValueError: `root` is no such folder, or an exercise gives an answer away.
    """
    write_zip(file, TOP, dict(_contents(root, book)))


def _contents(root: Path, book: str) -> Iterator[tuple[str, bytes]]:
    """Yield each file's path in the bundle, and what is in it."""
    if missing := [
        one for one in ("exercises", "mha_course", *_AS_IT_IS) if not (root / one).exists()
    ]:
        raise ValueError(f"{root} is not the course's repository: there is no {missing[0]} in it")
    for file in _files(root / "exercises"):
        content = file.read_bytes()
        if file.suffix == ".ipynb":
            _check_released(file, content)
        yield file.relative_to(root).as_posix(), content
    for file in _files(root / "mha_course"):
        yield file.relative_to(root).as_posix(), file.read_bytes()
    for one in _AS_IT_IS:
        yield one, (root / one).read_bytes()
    values: Mapping[str, str] = {"book": book, "version": __version__, "extra": EXTRA}
    for path, template in _TEMPLATES.items():
        text = Template((_HERE / template).read_text(encoding="utf-8")).substitute(values)
        yield path, text.encode()
    pinned = "".join(f"{one}\n" for one in pins(EXTRA))
    yield "constraints.txt", f"# Every package, as the course is tested with it\n{pinned}".encode()


def _files(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder, without what editors, Python and Jupyter leave there."""
    for file in sorted(folder.rglob("*")):
        parts = file.relative_to(folder).parts
        if file.is_file() and not any(part.startswith((".", "__pycache__")) for part in parts):
            yield file


def _check_released(file: Path, content: bytes) -> None:
    """See that a notebook is as released: somebody may have tried the tasks in this folder."""
    way_out = "run `make exercises`, which makes them anew"
    try:
        cells = [
            ("".join(cell["source"]), cell["metadata"].get("nbgrader", {}), cell.get("id", ""))
            for cell in json.loads(content)["cells"]
        ]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(f"{file} is no notebook; {way_out}") from None
    for source, flags, cell_id in cells:
        where = f"{file}, cell {flags.get('grade_id') or cell_id}"
        if found := [mark for mark in _MARKS if mark in source]:
            raise ValueError(f"{where}: holds {found[0]}, which learners must not see; {way_out}")
        if flags.get("solution") and not any(stub in source for stub in _STUBS):
            raise ValueError(f"{where}: holds an answer; {way_out}")
