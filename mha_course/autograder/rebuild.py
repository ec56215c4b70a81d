"""Make the notebook to grade from the instructor's source and from what a learner handed in.

A submission is hostile until proven otherwise, and more often it is only clumsy. So nothing is
taken from it but text: the source of the learner's answers and of the cells that they added. Cells,
order, metadata and tests are the instructor's. What had to be put right is noted as a finding, for
a person to look at; no points hang on it. Nothing is executed here.
"""

from __future__ import annotations

import copy
import json
import re
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

import nbformat
from nbformat import NotebookNode
from nbgrader import utils
from nbgrader.preprocessors import (
    ClearHiddenTests,
    ClearMarkScheme,
    ClearSolutions,
    ComputeChecksums,
)
from traitlets.config import Config

from mha_course.autograder.findings import Finding

MOST_BYTES = 20_000_000  # a long notebook with fifty pictures is a tenth of it
MOST_MARKS = 1_000_000  # commas and brackets outside strings; each costs memory and time
MOST_DEPTH = 100  # of brackets; a chart in an output has about 20
MOST_CELLS = 2_000
MOST_SOURCE = 2_000_000  # characters in all cells; pictures are in outputs and attachments

_STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\Z)', re.DOTALL)
_ACTIVE = re.compile(  # each part in linear time, for the text is the learner's
    r"<(?:script|iframe|object|embed|form|base|meta|link|style)\b"
    r"|<[a-z][^<>]*[\s/\"']on[a-z]+\s*="
    r"|javascript\s*:|data\s*:\s*text/html",
    re.IGNORECASE,
)
_DEFINED = re.compile(r"^(?:async +def|def|class) +(\w+)|^(\w+) *(?::[^=\n]*)?=(?!=)", re.MULTILINE)
_BRACKET = re.compile(r"[][{}]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_OTHER_FORMATS = {
    "PK\x03\x04": "a zip archive",
    "%PDF": "a PDF file",
    "\x1f\ufffd": "a compressed file",
    "<!doctype": "a web page",
    "<html": "a web page",
}
_FLAGS = {"grade": False, "solution": False, "locked": False, "task": False, "points": None}


class SubmissionError(ValueError):
    """A file that cannot be graded; the message says why, in one sentence for the instructor."""


class Rebuilt(NamedTuple):
    """A notebook to grade.

    Attributes:
        notebook: The instructor's cells, and the learner's source.
        findings: What had to be put right, in the order of the cells.
    """

    notebook: NotebookNode
    findings: tuple[Finding, ...]

    @property
    def cells(self) -> list[NotebookNode]:
        """The cells to run, in order."""
        return list(self.notebook.cells)


class _Handed(NamedTuple):
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


class _Known(NamedTuple):
    """A cell of the instructor that is graded, locked or answered."""

    place: int
    name: str
    role: str  # "solution", "test" or "locked"
    cell: NotebookNode  # what is graded: with hidden tests, and with the stub
    shown: str  # source in the released notebook

    @property
    def tags(self) -> frozenset[str]:
        return frozenset(self.cell.metadata.get("tags", ()))


# ---------------------------------------------------------------------------------------------
# From bytes to a notebook


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
    handed = _handed(notebook)
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
        _refuse(f"The file holds the key {_quoted(twice)} twice in one object of JSON.")
    return found


def _as_version_4(notebook: dict[str, Any]) -> dict[str, Any]:
    version = notebook.get("nbformat")
    if type(version) is not int:
        _refuse("The file is JSON, but not a notebook: it does not say its nbformat.")
    if version == 3:
        notebook = _from_version_3(notebook)
    elif version != 4:
        _refuse(f"The notebook is of nbformat {_quoted(version)}; versions 3 and 4 can be read.")
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


# ---------------------------------------------------------------------------------------------
# What of it counts


def _handed(notebook: Mapping[str, Any]) -> list[_Handed]:
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


def _handed_cell(place: int, cell: Any) -> _Handed:
    where = f"Cell {place + 1} of the notebook"
    if not isinstance(cell, Mapping):
        _refuse(f"{where} is not a cell but a {type(cell).__name__}.")
    kind, source = cell.get("cell_type"), cell.get("source", "")
    if not isinstance(kind, str) or kind not in ("code", "markdown", "raw"):
        _refuse(f"{where} is of the type {_quoted(kind)}; code, markdown and raw are known.")
    if not _is_text(source):
        _refuse(f"{where} has a source that is not text.")
    source = "".join(source)
    if half := _SURROGATE.search(source):
        _refuse(f"{where} holds half of a character, U+{ord(half[0]):X}, which no file can hold.")
    metadata = _mapping(cell.get("metadata"))
    flags = _mapping(metadata.get("nbgrader"))
    tags = metadata.get("tags")
    return _Handed(
        place=place,
        cell_type=kind,
        source=source,
        grade_id=_text(flags.get("grade_id")),
        cell_id=_text(cell.get("id")),
        flags=flags,
        tags=frozenset(filter(None, map(_text, tags if isinstance(tags, list) else []))),
        attachments=bool(cell.get("attachments")),
    )


def _is_text(value: object) -> bool:
    """Whether it is what JSON gives for a text: a string, or a list of lines."""
    if isinstance(value, list):
        return all(isinstance(line, str) for line in value)
    return isinstance(value, str)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _quoted(value: object) -> str:
    """Show a value of the learner's in ASCII, and not much of it."""
    if not isinstance(value, (str, int, float, type(None))):
        return f"a {type(value).__name__}"
    if isinstance(value, int) and abs(value) > 10**12:  # the longest have no decimal form
        return "a very large number"
    shown = ascii(value[:41] if isinstance(value, str) else value)
    return shown if len(shown) <= 42 else f"{shown[:39]}...{shown[-1]}"


# ---------------------------------------------------------------------------------------------
# Rebuild


def rebuild(source: NotebookNode, submitted: NotebookNode, config: Config | None = None) -> Rebuilt:
    """Put a learner's text into the instructor's notebook.

    In the result stand all cells of the source that nbgrader knows as locked, graded or answered,
    in the source's order, with its metadata and types, and with the checksums that the gradebook
    has. A solution cell has the learner's text; if the learner deleted it, the released stub. Cells
    that the learner added, and cells of the source that nothing protects, come from the submission:
    text alone, after the same cell as there, and never before the stub of a cell that was deleted.

    A cell is recognised by its grade_id. Where that was lost, its id serves, or for a locked cell
    its text. Of copies of a solution cell (to split a cell makes some) the answer is the last one
    that was changed and stands above the task's tests; nbgrader takes the last one of all. The
    other copies run as added cells, where they stand.

    Args:
        source: The instructor's notebook, with solutions and hidden tests.
        submitted: The learner's, as `read_submission` gives it, or any other way.
        config: The course's settings of nbgrader, for the stubs; by default nbgrader's own.

    Raises:
        SubmissionError: the submission is no notebook.
        ValueError: two cells of the source have the same grade_id.
    """
    graded = copy.deepcopy(source)
    known, marks = _known_cells(graded, config or Config())
    handed = _handed(submitted)
    matches = _recognised(known, handed)
    answers = _answers(known, handed, matches)
    in_place = _in_place(matches, answers)
    added = _added(handed, matches, answers)
    present = {one.place for one in matches if one is not None}
    graded.cells = _woven(known, handed, answers, _grouped(added, in_place, known, present))
    _number_added(graded)
    findings = (
        *_of_notebook(source, submitted, known, handed, matches),
        *_of_cells(known, handed, matches, answers, in_place),
        *_of_added(added),
        *_of_answers_elsewhere(known, handed, answers, added),
        *_of_text(handed, matches, marks),
    )
    return Rebuilt(graded, findings)


def _known_cells(graded: NotebookNode, config: Config) -> tuple[list[_Known], tuple[str, ...]]:
    """Make `graded` what the gradebook holds, and return its cells and nbgrader's marks."""
    solutions, hidden = ClearSolutions(config=config), ClearHiddenTests(config=config)
    scheme = ClearMarkScheme(config=config)
    solutions.preprocess(graded, {})
    ComputeChecksums(config=config).preprocess(graded, {})
    released = copy.deepcopy(graded)
    hidden.preprocess(released, {})
    scheme.preprocess(released, {})
    known: list[_Known] = []
    for cell, shown in zip(graded.cells, released.cells, strict=True):
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
        if role := _role(cell):
            name = str(cell.metadata.nbgrader.grade_id)
            known.append(_Known(len(known), name, role, cell, shown.source))
    names = [one.name for one in known]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"the source has two cells with the grade_id {', '.join(twice)}")
    marks = (
        solutions.begin_solution_delimeter,
        solutions.end_solution_delimeter,
        hidden.begin_test_delimeter,
        hidden.end_test_delimeter,
        scheme.begin_mark_scheme_delimeter,
        scheme.end_mark_scheme_delimeter,
    )
    return known, marks


def _role(cell: NotebookNode) -> str:
    if utils.is_solution(cell):
        return "solution"
    if utils.is_grade(cell):
        return "test"
    return "locked" if utils.is_locked(cell) or utils.is_task(cell) else ""


def _recognised(known: Sequence[_Known], handed: Sequence[_Handed]) -> list[_Known | None]:
    """Return which cell of the source each one is, or None for one that the learner added."""
    by_name = {one.name: one for one in known}
    matches = [by_name.get(cell.grade_id) for cell in handed]
    for by_text in (False, True):
        found = {one.place for one in matches if one is not None}
        missing: dict[str, _Known] = {}
        for one in known:
            if one.place not in found and not (by_text and one.role == "solution"):
                missing[_squeezed(one.shown) if by_text else str(one.cell.get("id"))] = one
        for cell in handed:
            if matches[cell.place] is None:
                key = _squeezed(cell.source) if by_text else cell.cell_id
                matches[cell.place] = missing.pop(key, None)
    return matches


def _squeezed(source: str) -> str:
    """Drop what editors change unasked: ends of lines, and spaces before them."""
    return "\n".join(line.rstrip() for line in source.splitlines()).rstrip()


def _answers(
    known: Sequence[_Known], handed: Sequence[_Handed], matches: Sequence[_Known | None]
) -> dict[int, int]:
    """Return for each solution cell that was handed in the place of the copy that counts."""
    places: dict[int, list[int]] = {}
    for place, one in enumerate(matches):
        if one is not None:
            places.setdefault(one.place, []).append(place)
    answers: dict[int, int] = {}
    test = len(handed)  # where the first test after the solution stands in the submission
    for one in reversed(known):
        found = places.get(one.place, [])
        if one.role == "test":
            test = found[0] if found else len(handed)
        elif one.role == "solution":
            if found:
                answers[one.place] = max(
                    found,
                    key=lambda place, one=one, test=test: (  # type: ignore[misc]
                        _squeezed(handed[place].source) != _squeezed(one.shown),
                        place < test,
                        place,
                    ),
                )
            test = len(handed)
    return answers


def _added(
    handed: Sequence[_Handed], matches: Sequence[_Known | None], answers: Mapping[int, int]
) -> list[_Handed]:
    """Return the learner's own cells: the new ones, and copies of solution cells that hold work.

    A copy of the stub must not run, for it would undo the answer; one of the answer need not.
    """
    added = []
    for cell, one in zip(handed, matches, strict=True):
        if one is None:
            added.append(cell)
        elif one.role == "solution" and cell.place != answers[one.place]:
            known = (_squeezed(one.shown), _squeezed(handed[answers[one.place]].source))
            if _squeezed(cell.source) not in known:
                added.append(cell)
    return added


def _in_place(matches: Sequence[_Known | None], answers: Mapping[int, int]) -> dict[int, int]:
    """Return the cells that kept their order, as many as possible: place there → place here.

    Of several copies at most one is among them. It is a longest increasing subsequence.
    """
    tails: list[int] = []  # the least end of an increasing sequence of each length
    ends: list[int] = []  # where in the submission that end stands
    before: dict[int, int | None] = {}
    there: dict[int, int] = {}
    for place, one in enumerate(matches):
        if one is None or (one.role == "solution" and answers[one.place] != place):
            continue
        length = bisect_left(tails, one.place)
        tails[length : length + 1] = [one.place]
        ends[length : length + 1] = [place]
        before[place] = ends[length - 1] if length else None
        there[place] = one.place
    kept: dict[int, int] = {}
    last = ends[-1] if ends else None
    while last is not None:
        kept[last] = there[last]
        last = before[last]
    return dict(sorted(kept.items()))


def _grouped(
    added: Iterable[_Handed],
    in_place: Mapping[int, int],
    known: Sequence[_Known],
    present: set[int],
) -> dict[int, list[_Handed]]:
    """Return the added cells by the known cell that they come after; -1 is the top."""
    anchors = sorted(in_place)
    groups: dict[int, list[_Handed]] = {}
    for cell in added:
        above = bisect_left(anchors, cell.place)
        here = in_place[anchors[above - 1]] if above else -1
        groups.setdefault(_below_stubs(here, known, present), []).append(cell)
    return groups


def _below_stubs(here: int, known: Sequence[_Known], present: set[int]) -> int:
    """Go on to the last deleted solution cell before the next test or cell that is there.

    The learner may have written the answer into a new cell; a stub below it would undo it.
    """
    lowest = here
    for one in known[here + 1 :]:
        if one.place in present or one.role == "test":
            break
        if one.role == "solution":
            lowest = one.place
    return lowest


def _woven(
    known: Sequence[_Known],
    handed: Sequence[_Handed],
    answers: Mapping[int, int],
    groups: Mapping[int, Sequence[_Handed]],
) -> list[NotebookNode]:
    """Return the cells of the result."""
    cells = [_plain(cell) for cell in groups.get(-1, ())]
    for one in known:
        if one.place in answers:
            one.cell.source = handed[answers[one.place]].source
        cells.append(one.cell)
        cells += [_plain(cell) for cell in groups.get(one.place, ())]
    return cells


def _plain(cell: _Handed) -> NotebookNode:
    """Make a new cell of a text; it has no id yet."""
    kind = "code" if cell.cell_type == "code" else "markdown"
    made = NotebookNode(cell_type=kind, metadata=NotebookNode(), source=cell.source, id="")
    if kind == "code":
        made.outputs, made.execution_count = [], None
    return made


def _number_added(graded: NotebookNode) -> None:
    """Give the added cells ids that are always the same, where the format has ids."""
    taken = {cell.get("id") for cell in graded.cells}
    number = 0
    for cell in graded.cells:
        if cell.get("id") != "":
            continue
        if (graded.nbformat, graded.nbformat_minor) < (4, 5):
            del cell["id"]
            continue
        number += 1
        while f"added-{number}" in taken:
            number += 1
        cell.id = f"added-{number}"


# ---------------------------------------------------------------------------------------------
# Findings


def _of_notebook(
    source: NotebookNode,
    submitted: NotebookNode,
    known: Sequence[_Known],
    handed: Sequence[_Handed],
    matches: Sequence[_Known | None],
) -> list[Finding]:
    findings = []
    wanted = _languages(source) or {"python"}
    if other := sorted(_languages(submitted) - wanted):
        says = f"The notebook says that its language is {_quoted(other[0])}; it is run as "
        findings.append(Finding("other-language", f"{says}{' or '.join(sorted(wanted))}."))
    if _is_other_notebook(known, matches):
        says = "No answer and no test of this assignment is in the notebook: it may be another one."
        findings.append(Finding("other-notebook", says))
    lost = [
        cell
        for cell, one in zip(handed, matches, strict=True)
        if one is not None and cell.grade_id != one.name
    ]
    if lost:
        says = f"nbgrader's metadata are gone or changed in {_listed(lost)}; ids and texts told "
        findings.append(Finding("metadata-lost", f"{says}which cells they are."))
    return findings


def _languages(notebook: Mapping[str, Any]) -> set[str]:
    metadata = _mapping(notebook.get("metadata"))
    names = (
        _mapping(metadata.get("kernelspec")).get("language"),
        _mapping(metadata.get("language_info")).get("name"),
    )
    return {_text(name).lower() for name in names if _text(name)}


def _is_other_notebook(known: Sequence[_Known], matches: Sequence[_Known | None]) -> bool:
    """Whether no task of this assignment is in it; cells such as the setup have common names."""
    tasks = any(one.role != "locked" for one in known)
    return tasks and all(one is None or one.role == "locked" for one in matches)


def _of_cells(
    known: Sequence[_Known],
    handed: Sequence[_Handed],
    matches: Sequence[_Known | None],
    answers: Mapping[int, int],
    in_place: Mapping[int, int],
) -> list[Finding]:
    """Return what was done to the cells of the source."""
    if _is_other_notebook(known, matches):
        return []  # said once
    copies: dict[int, list[_Handed]] = {}
    for cell, match in zip(handed, matches, strict=True):
        if match is not None:
            copies.setdefault(match.place, []).append(cell)
    kept = set(in_place.values())
    findings = []
    for one in known:
        found = copies.get(one.place, [])
        for what, says in _done_to(one, found, one.place in kept):
            findings.append(Finding(f"{one.role}-{what}", says, one.name))
        if len(found) > 1 and one.role == "solution":
            says = (
                f"The solution cell is there {len(found)} times, as {_listed(found)}; the answer "
            )
            says += f"is taken from {handed[answers[one.place]].where}."
            findings.append(Finding("solution-duplicated", says, one.name))
    return findings


def _done_to(one: _Known, found: Sequence[_Handed], kept: bool) -> list[tuple[str, str]]:
    """Return what was done to one cell of the source, and how it is said."""
    name = {"solution": "solution cell", "test": "test cell", "locked": "locked cell"}[one.role]
    ours = f"the instructor's {name} is used."
    if not found:
        rest = "the released stub stands in its place." if one.role == "solution" else ours
        return [("deleted", f"The {name} was deleted; {rest}")]
    done = []
    if one.role != "solution":
        if any(_squeezed(cell.source) != _squeezed(one.shown) for cell in found):
            done.append(("edited", f"The text of the {name} was changed; {ours}"))
        if len(found) > 1:
            done.append(
                (
                    "duplicated",
                    f"The {name} is there {len(found)} times, as {_listed(found)}; {ours}",
                )
            )
    if not kept:
        done.append(("moved", f"The {name} was moved; it stands where the instructor put it."))
    kinds = sorted({cell.cell_type for cell in found} - {one.cell.cell_type})
    if kinds:
        says = f"The {name} was turned from {one.cell.cell_type} into {' and '.join(kinds)}; it is "
        done.append(("type-changed", f"{says}taken as {one.cell.cell_type}."))
    if changed := _changed_flags(one, found):
        says = f"nbgrader's settings of the {name} were changed ({', '.join(changed)}); "
        done.append(("relabelled", f"{says}the instructor's are used."))
    if tags := sorted({tag for cell in found for tag in cell.tags - one.tags}):
        done.append(("tagged", f"The {name} was given tags, which are dropped: {_shown(tags)}."))
    if one.role == "solution" and any(cell.attachments for cell in found):
        says = f"Attachments of the {name} are dropped; look at the file that was handed in."
        done.append(("attachments", says))
    return done


def _changed_flags(one: _Known, found: Sequence[_Handed]) -> list[str]:
    """Return which settings differ, in cells that still carry nbgrader's metadata."""
    right = one.cell.metadata.nbgrader
    return [
        flag
        for flag, default in _FLAGS.items()
        if any(
            cell.flags.get(flag, default) != right.get(flag, default)
            for cell in found
            if cell.grade_id == one.name
        )
    ]


def _of_added(added: Sequence[_Handed]) -> list[Finding]:
    """Return what was dropped from cells that the learner added."""
    findings = []
    if found := [cell for cell in added if cell.attachments]:
        says = f"Attachments of {_listed(found)} are dropped; look at the file that was handed in."
        findings.append(Finding("added-attachments", says))
    if found := [cell for cell in added if cell.tags]:
        tags = sorted({tag for cell in found for tag in cell.tags})
        says = f"Tags of {_listed(found)} are dropped, whatever they asked for: {_shown(tags)}."
        findings.append(Finding("added-tagged", says))
    return findings


def _of_answers_elsewhere(
    known: Sequence[_Known],
    handed: Sequence[_Handed],
    answers: Mapping[int, int],
    added: Sequence[_Handed],
) -> list[Finding]:
    """Return tasks left as released whose names are defined in an added cell."""
    defined = [(cell, _defined(cell.source)) for cell in added if cell.cell_type == "code"]
    findings = []
    for one in known:
        if one.role != "solution" or one.cell.cell_type != "code":
            continue
        if one.place in answers:
            answer = handed[answers[one.place]].source
            if _squeezed(answer) != _squeezed(one.shown):
                continue
        if found := [cell for cell, names in defined if names & _defined(one.shown)]:
            says = f"The solution cell holds no answer, but {_listed(found)} may: it defines the "
            findings.append(Finding("answer-elsewhere", f"{says}same name.", one.name))
    return findings


def _defined(source: str) -> set[str]:
    """Return the names that a source defines at the start of a line."""
    return {name for names in _DEFINED.findall(source) for name in names if name}


def _of_text(
    handed: Sequence[_Handed], matches: Sequence[_Known | None], marks: Iterable[str]
) -> list[Finding]:
    """Return what stands in texts that the instructor did not write."""
    own = [
        cell
        for cell, one in zip(handed, matches, strict=True)
        if one is None or _squeezed(cell.source) != _squeezed(one.shown)
    ]
    findings = []
    for mark in marks:
        if found := [cell for cell in own if mark in cell.source]:
            says = f"nbgrader's mark {mark} is in {_listed(found)}; it may spoil the feedback, and "
            says += "no released notebook has it."
            findings.append(Finding("instructor-mark", says))
    text = [cell for cell in own if cell.cell_type != "code" or _is_written(cell, matches)]
    if found := [cell for cell in text if _ACTIVE.search(cell.source)]:
        says = f"HTML in {_listed(found)} may run a script in the browser of whoever opens it."
        findings.append(Finding("active-html", says))
    return findings


def _is_written(cell: _Handed, matches: Sequence[_Known | None]) -> bool:
    one = matches[cell.place]
    return one is not None and one.cell.cell_type == "markdown"


def _listed(cells: Sequence[_Handed], most: int = 5) -> str:
    """Name cells by their number in the submission."""
    numbers = [str(cell.place + 1) for cell in cells]
    if len(numbers) > most:
        numbers[most:] = [f"{len(numbers) - most} more"]
    *rest, last = numbers
    return f"cells {', '.join(rest)} and {last}" if rest else f"cell {last}"


def _shown(tags: Sequence[str]) -> str:
    shown = [_quoted(tag) for tag in tags[:5]]
    return ", ".join(shown) + (", ..." if len(tags) > 5 else "")
