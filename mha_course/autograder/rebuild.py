"""Make the notebook to grade from the instructor's source and from what a learner handed in.

A submission is hostile until proven otherwise, and more often it is only clumsy. So nothing is
taken from it but text: the source of the learner's answers and of the cells that they added. Cells,
order, metadata and tests are the instructor's. What had to be put right is noted as a finding, for
a person to look at; no points hang on it. Nothing is executed here.
"""

from __future__ import annotations

import copy
import re
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

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
from mha_course.autograder.handed_in import Handed, handed_cells, mapping_of, quoted, text_of

_ACTIVE = re.compile(  # each part in linear time, for the text is the learner's
    r"<(?:script|iframe|object|embed|form|base|meta|link|style)\b"
    r"|<[a-z][^<>]*[\s/\"']on[a-z]+\s*="
    r"|javascript\s*:|data\s*:\s*text/html",
    re.IGNORECASE,
)
_DEFINED = re.compile(r"^(?:async +def|def|class) +(\w+)|^(\w+) *(?::[^=\n]*)?=(?!=)", re.MULTILINE)
_FLAGS = {"grade": False, "solution": False, "locked": False, "task": False, "points": None}


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
    handed = handed_cells(submitted)
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


def _recognised(known: Sequence[_Known], handed: Sequence[Handed]) -> list[_Known | None]:
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
    known: Sequence[_Known], handed: Sequence[Handed], matches: Sequence[_Known | None]
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
    handed: Sequence[Handed], matches: Sequence[_Known | None], answers: Mapping[int, int]
) -> list[Handed]:
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
    added: Iterable[Handed],
    in_place: Mapping[int, int],
    known: Sequence[_Known],
    present: set[int],
) -> dict[int, list[Handed]]:
    """Return the added cells by the known cell that they come after; -1 is the top."""
    anchors = sorted(in_place)
    groups: dict[int, list[Handed]] = {}
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
    handed: Sequence[Handed],
    answers: Mapping[int, int],
    groups: Mapping[int, Sequence[Handed]],
) -> list[NotebookNode]:
    """Return the cells of the result."""
    cells = [_plain(cell) for cell in groups.get(-1, ())]
    for one in known:
        if one.place in answers:
            one.cell.source = handed[answers[one.place]].source
        cells.append(one.cell)
        cells += [_plain(cell) for cell in groups.get(one.place, ())]
    return cells


def _plain(cell: Handed) -> NotebookNode:
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
    handed: Sequence[Handed],
    matches: Sequence[_Known | None],
) -> list[Finding]:
    findings = []
    wanted = _languages(source) or {"python"}
    if other := sorted(_languages(submitted) - wanted):
        says = f"The notebook says that its language is {quoted(other[0])}; it is run as "
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
    metadata = mapping_of(notebook.get("metadata"))
    names = (
        mapping_of(metadata.get("kernelspec")).get("language"),
        mapping_of(metadata.get("language_info")).get("name"),
    )
    return {text_of(name).lower() for name in names if text_of(name)}


def _is_other_notebook(known: Sequence[_Known], matches: Sequence[_Known | None]) -> bool:
    """Whether no task of this assignment is in it; cells such as the setup have common names."""
    tasks = any(one.role != "locked" for one in known)
    return tasks and all(one is None or one.role == "locked" for one in matches)


def _of_cells(
    known: Sequence[_Known],
    handed: Sequence[Handed],
    matches: Sequence[_Known | None],
    answers: Mapping[int, int],
    in_place: Mapping[int, int],
) -> list[Finding]:
    """Return what was done to the cells of the source."""
    if _is_other_notebook(known, matches):
        return []  # said once
    copies: dict[int, list[Handed]] = {}
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


def _done_to(one: _Known, found: Sequence[Handed], kept: bool) -> list[tuple[str, str]]:
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


def _changed_flags(one: _Known, found: Sequence[Handed]) -> list[str]:
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


def _of_added(added: Sequence[Handed]) -> list[Finding]:
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
    handed: Sequence[Handed],
    answers: Mapping[int, int],
    added: Sequence[Handed],
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
    handed: Sequence[Handed], matches: Sequence[_Known | None], marks: Iterable[str]
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


def _is_written(cell: Handed, matches: Sequence[_Known | None]) -> bool:
    one = matches[cell.place]
    return one is not None and one.cell.cell_type == "markdown"


def _listed(cells: Sequence[Handed], most: int = 5) -> str:
    """Name cells by their number in the submission."""
    numbers = [str(cell.place + 1) for cell in cells]
    if len(numbers) > most:
        numbers[most:] = [f"{len(numbers) - most} more"]
    *rest, last = numbers
    return f"cells {', '.join(rest)} and {last}" if rest else f"cell {last}"


def _shown(tags: Sequence[str]) -> str:
    shown = [quoted(tag) for tag in tags[:5]]
    return ", ".join(shown) + (", ..." if len(tags) > 5 else "")
