"""What must hold before a version of the course is released."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import yaml

CHANGES = "CHANGELOG.md"
CITATION = "CITATION.cff"

_CITED = ("version", "date-released")
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
    """Return what the changelog says of each version, the newest first.

    Raises:
        ValueError: a heading has a date that is none; the message names its line.
    """
    text = (root / CHANGES).read_text(encoding="utf-8")
    headings = list(_HEADING.finditer(text))
    ends = [*(heading.start() for heading in headings), len(text)][1:]
    return [
        Entry(heading["version"], _released(heading), text[heading.end() : end].strip())
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
    cited = _citation(root)
    if missing := [name for name in _CITED if name not in cited]:
        yield f"{CITATION} has no {missing[0]}; write it"
    elif cited["version"] != version:
        yield f"{CITATION} cites version {cited['version']}; set it to {version}"
    elif listed and (released := listed[0].released):
        cited_day = str(cited["date-released"])  # in quotes, YAML takes it for a text
        if cited_day != str(released):
            says = f"{CHANGES} says {released}, {CITATION} {cited_day}"
            yield f"{says}; put the same day into both"


def _released(heading: re.Match[str]) -> date | None:
    if not heading["date"]:
        return None
    try:
        return date.fromisoformat(heading["date"])
    except ValueError as error:
        line = heading.string.count("\n", 0, heading.start()) + 1
        raise ValueError(
            f"{CHANGES}, line {line}: {heading['date']} is no date ({error}); write it as "
            "YYYY-MM-DD"
        ) from None


def _citation(root: Path) -> dict[str, Any]:
    """Return what the citation file says."""
    try:
        found = yaml.safe_load((root / CITATION).read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError) as error:  # the latter for a date such as 2026-13-40
        said = " ".join(str(error).split())
        raise ValueError(f"{CITATION} cannot be read: {said}; mend it") from None
    if not isinstance(found, dict):
        raise ValueError(f"{CITATION} cannot be read: it is no list of `name: value`; mend it")
    return found


def _history(root: Path, version: str) -> Iterator[str]:
    """Look for what is not committed, and for what has been released."""
    changed = git(root, "status", "--porcelain").decode().splitlines()
    if changed:
        some = ", ".join(line[3:] for line in changed[:3])
        yield f"not committed: {some}{' and more' * (len(changed) > 3)}; commit it or take it away"
    here = set(git(root, "tag", "--points-at", "HEAD").decode().split())
    tags = git(root, "tag", "--list", "v*").decode().split()
    released = {tag: found for tag in tags if (found := _NUMBERS.fullmatch(tag[1:]))}
    newest = max(released, key=lambda tag: _order(tag[1:]), default=None)
    if f"v{version}" in released and f"v{version}" not in here:
        yield f"the tag v{version} is on another commit; raise the version"
    elif newest is not None and _order(newest[1:]) > _order(version):
        yield f"{newest} is released, which is later than {version}; raise the version"


def _order(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def git(root: Path, *command: str) -> bytes:
    """Run git in a repository, and return what it printed.

    Raises:
        ValueError: it failed; the message has what it said.
    """
    done = subprocess.run(["git", *command], cwd=root, capture_output=True, check=False)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()
        raise ValueError(f"git {' '.join(command)} failed in {root}: {said}")
    return done.stdout
