"""What must hold before a version of the course is released."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import NamedTuple

import yaml

CHANGES = "CHANGELOG.md"
CITATION = "CITATION.cff"

_HEADING = re.compile(r"^## (?P<version>\S+)(?: – (?P<date>\d{4}-\d{2}-\d{2}))?$", re.MULTILINE)
_NUMBERS = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")


class Entry(NamedTuple):
    """What the changelog says of a version.

    Attributes:
        version: As in its heading.
        released: On which day; None if the heading has none.
        text: Markdown, without the heading.
    """

    version: str
    released: date | None
    text: str


def problems(root: Path, version: str) -> Iterator[str]:
    """Yield what stands against releasing a version, each with the way out.

    Args:
        root: Of the course's repository.
        version: Of the package that is there.
    """
    if not _NUMBERS.fullmatch(version):
        yield f"the version {version!r} is no MAJOR.MINOR.PATCH; set it in mha_course/__init__.py"
        return
    yield from _texts(root, version)
    yield from _history(root, version)


def entries(root: Path) -> list[Entry]:
    """Return what the changelog says of each version, the newest first."""
    text = (root / CHANGES).read_text(encoding="utf-8")
    headings = list(_HEADING.finditer(text))
    ends = [*(heading.start() for heading in headings), len(text)][1:]
    return [
        Entry(
            heading["version"],
            date.fromisoformat(heading["date"]) if heading["date"] else None,
            text[heading.end() : end].strip(),
        )
        for heading, end in zip(headings, ends, strict=True)
    ]


def _texts(root: Path, version: str) -> Iterator[str]:
    """Compare what the changelog and the citation file say."""
    listed = entries(root)
    if not listed or listed[0].version != version:
        first = f"begins with {listed[0].version}" if listed else "has no version"
        yield f"{CHANGES} {first}; write a section `## {version} – YYYY-MM-DD` at its top"
    elif listed[0].released is None or not listed[0].text:
        lacks = "date" if listed[0].released is None else "text"
        yield f"{CHANGES} has no {lacks} for {version}; write it"
    cited = yaml.safe_load((root / CITATION).read_text(encoding="utf-8"))
    if cited["version"] != version:
        yield f"{CITATION} cites version {cited['version']}; set it to {version}"
    elif listed and listed[0].released not in (None, cited["date-released"]):
        says = f"{CHANGES} says {listed[0].released}, {CITATION} {cited['date-released']}"
        yield f"{says}; put the same day into both"


def _history(root: Path, version: str) -> Iterator[str]:
    """Look for what is not committed, and for what has been released."""
    changed = _git(root, "status", "--porcelain").splitlines()
    if changed:
        some = ", ".join(line[3:] for line in changed[:3])
        yield f"not committed: {some}{' and more' * (len(changed) > 3)}; commit it or take it away"
    here = set(_git(root, "tag", "--points-at", "HEAD").split())
    tags = _git(root, "tag", "--list", "v*").split()
    released = {tag: found for tag in tags if (found := _NUMBERS.fullmatch(tag[1:]))}
    newest = max(released, key=lambda tag: _order(tag[1:]), default=None)
    if f"v{version}" in released and f"v{version}" not in here:
        yield f"the tag v{version} is on another commit; raise the version"
    elif newest is not None and _order(newest[1:]) > _order(version):
        yield f"{newest} is released, which is later than {version}; raise the version"


def _order(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def _git(root: Path, *command: str) -> str:
    done = subprocess.run(
        ["git", *command], cwd=root, capture_output=True, text=True, encoding="utf-8", check=False
    )
    if done.returncode:
        raise ValueError(f"git {' '.join(command)} failed in {root}: {done.stderr.strip()}")
    return done.stdout
