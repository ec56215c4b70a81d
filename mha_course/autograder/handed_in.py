"""Read what a learner has handed in: from bytes that may be anything to the text of cells.

A submission is hostile until proven otherwise, so nothing of it counts but what stands here:
sources, types, ids, and what nbgrader's metadata say.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple, NoReturn

import nbformat
from nbformat import NotebookNode

MOST_BYTES = 20_000_000  # a long notebook with fifty pictures is a tenth of it
MOST_MARKS = 1_000_000  # commas and brackets outside strings; each costs memory and time
MOST_DEPTH = 100  # of brackets; a chart in an output has about 20
MOST_CELLS = 2_000
MOST_SOURCE = 2_000_000  # characters in all cells; pictures are in outputs and attachments


_STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\Z)', re.DOTALL)
_BRACKET = re.compile(r"[][{}]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_OTHER_FORMATS = {
    "PK\x03\x04": "a zip archive",
    "%PDF": "a PDF file",
    "\x1f\ufffd": "a compressed file",
    "<!doctype": "a web page",
    "<html": "a web page",
}


class SubmissionError(ValueError):
    """A file that cannot be graded; the message says why, in one sentence for the instructor."""


class Handed(NamedTuple):
    """A cell as the learner handed it in: text, and what can be known about it."""

    place: int
    cell_type: str
    source: str
    grade_id: str
    cell_id: str
    flags: Mapping[str, object]
    tags: frozenset[str]
    attachments: bool

    @property
    def where(self) -> str:
        """How to name the cell to a person, who counts from 1."""
        return f"cell {self.place + 1}"


def read_submission(raw: bytes, most_bytes: int = MOST_BYTES) -> NotebookNode:
    """Read a notebook file that may hold anything.

    Sources come back as strings, the format as version 4; outputs are left out, for nothing in
    them is graded. What only spoils outputs and metadata (NaN, half a character) is put right.

    Args:
        raw: The bytes of the file.
        most_bytes: Larger files are refused.

    Raises:
        SubmissionError: the file is no notebook that could be graded.
    """
    if len(raw) > most_bytes:
        _refuse(f"The file has {len(raw):,} bytes; the limit is {most_bytes:,}.")
    if not raw.strip():
        _refuse("The file is empty.")
    try:
        text = raw.decode("utf-8-sig")  # some editors put a mark in front
    except UnicodeDecodeError as error:
        kind = _other_format(raw.decode("utf-8", "replace"))
        _refuse(kind or f"The file is not a text in UTF-8: byte {error.start} is no part of one.")
    notebook = _as_version_4(_parse(text))
    handed = handed_cells(notebook)
    if not handed:
        _refuse("The notebook has no cells.")
    for cell, read in zip(notebook["cells"], handed, strict=True):
        cell["source"] = read.source
        if "outputs" in cell:
            cell["outputs"] = []
    if re.search(r"\\u[dD][89a-fA-F]", text):
        notebook = _mended(notebook)
    node: NotebookNode = nbformat.from_dict(notebook)
    return node


def _refuse(says: str) -> NoReturn:
    raise SubmissionError(says)


def _other_format(text: str) -> str:
    """Say what a file is if it is something that learners hand in by mistake."""
    for start, kind in _OTHER_FORMATS.items():
        if text.lstrip(" \t\r\n").lower().startswith(start.lower()):
            return f"The file is {kind}, not a notebook."
    return ""


def _parse(text: str) -> dict[str, Any]:
    """Parse JSON, after a look at how deep and how much it is."""
    marks = _STRING.sub("", text)
    if sum(map(marks.count, ",[]{}")) > MOST_MARKS:
        _refuse(f"The file holds more than {MOST_MARKS:,} commas and brackets of JSON.")
    depth = 0
    for bracket in _BRACKET.findall(marks):
        depth += 1 if bracket in "[{" else -1
        if depth > MOST_DEPTH:
            _refuse(f"The file is nested deeper than {MOST_DEPTH} brackets.")
    try:
        found = json.loads(text, object_pairs_hook=_unique, parse_constant=lambda _: None)
    except SubmissionError:
        raise
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        _refuse(
            _other_format(text)
            or f"The file is not a notebook, for it is not JSON: {error.msg}, in {where}."
        )
    except ValueError:  # Python's limit, against numbers that take hours to read
        _refuse("The file is not a notebook: it holds a number of thousands of digits.")
    if not isinstance(found, dict):
        _refuse(f"The file is not a notebook: it is JSON, but a {type(found).__name__}.")
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse an object with a key twice: programs differ in which one counts."""
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        _refuse(f"The file holds the key {quoted(twice)} twice in one object of JSON.")
    return found


def _as_version_4(notebook: dict[str, Any]) -> dict[str, Any]:
    version = notebook.get("nbformat")
    if type(version) is not int:
        _refuse("The file is JSON, but not a notebook: it does not say its nbformat.")
    if version == 3:
        notebook = _from_version_3(notebook)
    elif version != 4:
        _refuse(f"The notebook is of nbformat {quoted(version)}; versions 3 and 4 can be read.")
    return notebook


def _from_version_3(notebook: dict[str, Any]) -> dict[str, Any]:
    """Turn a notebook of before 2014 into one of today: cells lay in sheets."""
    sheets = notebook.get("worksheets")
    if not isinstance(sheets, list):
        _refuse("The notebook is of nbformat 3, but has no worksheets.")
    cells: list[Any] = []
    for sheet in sheets:
        found = sheet.get("cells") if isinstance(sheet, dict) else None
        if not isinstance(found, list):
            _refuse("The notebook is of nbformat 3, and one of its worksheets has no cells.")
        cells += [_cell_from_version_3(cell) for cell in found]
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells}


def _cell_from_version_3(cell: Any) -> Any:
    if not isinstance(cell, dict):
        return cell  # refused later
    kind = cell.get("cell_type")
    source = cell.get("input" if kind == "code" else "source", "")
    if kind == "heading":
        level = cell.get("level")
        marks = "#" * min(max(level, 1), 6) if type(level) is int else "#"
        source = f"{marks} {''.join(source)}" if _is_text(source) else source
    kind = "markdown" if kind in ("heading", "html") else kind
    return {"cell_type": kind, "metadata": cell.get("metadata", {}), "source": source}


def _mended(value: Any) -> Any:
    """Replace halves of characters, which no file can hold."""
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value)
    if isinstance(value, dict):
        return {_mended(key): _mended(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_mended(part) for part in value]
    return value


def handed_cells(notebook: Mapping[str, Any]) -> list[Handed]:
    """Return the cells of a submission, and nothing of them that could do harm.

    Raises:
        SubmissionError: a cell has no text, or is of no known type.
    """
    cells = notebook.get("cells") if isinstance(notebook, Mapping) else None
    if not isinstance(cells, list):
        _refuse("The notebook has no list of cells.")
    if len(cells) > MOST_CELLS:
        _refuse(f"The notebook has {len(cells):,} cells; the limit is {MOST_CELLS:,}.")
    handed = [_handed_cell(place, cell) for place, cell in enumerate(cells)]
    if (length := sum(len(cell.source) for cell in handed)) > MOST_SOURCE:
        _refuse(f"The cells hold {length:,} characters of text; the limit is {MOST_SOURCE:,}.")
    return handed


def _handed_cell(place: int, cell: Any) -> Handed:
    where = f"Cell {place + 1} of the notebook"
    if not isinstance(cell, Mapping):
        _refuse(f"{where} is not a cell but a {type(cell).__name__}.")
    kind, source = cell.get("cell_type"), cell.get("source", "")
    if not isinstance(kind, str) or kind not in ("code", "markdown", "raw"):
        _refuse(f"{where} is of the type {quoted(kind)}; code, markdown and raw are known.")
    if not _is_text(source):
        _refuse(f"{where} has a source that is not text.")
    source = "".join(source)
    if half := _SURROGATE.search(source):
        _refuse(f"{where} holds half of a character, U+{ord(half[0]):X}, which no file can hold.")
    metadata = mapping_of(cell.get("metadata"))
    flags = mapping_of(metadata.get("nbgrader"))
    tags = metadata.get("tags")
    return Handed(
        place=place,
        cell_type=kind,
        source=source,
        grade_id=text_of(flags.get("grade_id")),
        cell_id=text_of(cell.get("id")),
        flags=flags,
        tags=frozenset(filter(None, map(text_of, tags if isinstance(tags, list) else []))),
        attachments=bool(cell.get("attachments")),
    )


def _is_text(value: object) -> bool:
    """Whether it is what JSON gives for a text: a string, or a list of lines."""
    if isinstance(value, list):
        return all(isinstance(line, str) for line in value)
    return isinstance(value, str)


def mapping_of(value: object) -> Mapping[str, Any]:
    """Return a value that should be an object of JSON, or an empty one."""
    return value if isinstance(value, Mapping) else {}


def text_of(value: object) -> str:
    """Return a value that should be a text, or an empty one."""
    return value if isinstance(value, str) else ""


def quoted(value: object) -> str:
    """Show a value of the learner's in ASCII, and not much of it."""
    if not isinstance(value, (str, int, float, type(None))):
        return f"a {type(value).__name__}"
    if isinstance(value, int) and abs(value) > 10**12:  # the longest have no decimal form
        return "a very large number"
    shown = ascii(value[:41] if isinstance(value, str) else value)
    return shown if len(shown) <= 42 else f"{shown[:39]}...{shown[-1]}"
