"""What `mha-course report` does and says."""

from __future__ import annotations

import argparse
import hashlib
import os
import re
from collections.abc import Callable
from pathlib import Path

from mha_course.autograder.course import RECORDS, Course
from mha_course.autograder.report.classroom import read_classroom
from mha_course.autograder.report.page import MARK, answers, html_page
from mha_course.autograder.report.similarity import similar
from mha_course.autograder.report.summary import summarise
from mha_course.autograder.report.table import csv_text
from mha_course.autograder.report.words import lead, look
from mha_course.whole_file import write_whole

_DIGEST = re.compile(r'<meta name="table" content="([0-9a-f]{64})">')
_HEAD = 2000  # bytes of a page in which its marks are


def report(
    options: argparse.Namespace, progress: Callable[[str, int, int], None]
) -> tuple[list[str], int]:
    """Write the report of an assignment; return what to say of it, and the exit code.

    Raises:
        ValueError: there is no course, assignment or grade, or another file is in the way.
        OSError: the gradebook cannot be read, or a file cannot be written.
    """
    course = Course(Path.cwd())
    folder = options.output or course.root / RECORDS
    page, table = (folder / f"{options.assignment}-report.{kind}" for kind in ("html", "csv"))
    course.sources(options.assignment)  # an unknown assignment is what to speak of first
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"--output {folder}: that is a file; name a folder")
    if not options.force:
        _refuse_others(page, table)
    classroom = read_classroom(course, options.assignment, progress)
    tasks = answers(classroom)
    found = similar(tasks, progress)
    readable = [one.student for one in classroom.submissions if not one.refused]
    with_whom: dict[str, list[str]] = {}
    for pair in found.pairs:
        for one, other in ((pair.first, pair.second), (pair.second, pair.first)):
            with_whom.setdefault(readable[one], []).append(readable[other])
    rows = csv_text(classroom, with_whom).encode()
    summary = summarise(classroom)
    text = html_page(summary, found, tasks, table.name, hashlib.sha256(rows).hexdigest())
    folder.mkdir(parents=True, exist_ok=True)
    mode = 0o660 if course.directory.groupshared else 0o600  # names and grades are in it
    write_whole(table, rows, mode)
    write_whole(page, text.encode("utf-8", "replace"), mode)
    said = [*lead(summary), "", *(f"look at: {says}" for says, _ in look(classroom, found))]
    return [*said, f"written: {page}", f"written: {table}"], 0


def _refuse_others(page: Path, table: Path) -> None:
    """Raise if a file is in the way that this program has not written, or that was changed since.

    The page tells by a mark that it is a report, and it holds the digest of the table.
    """
    head = b""
    if page.is_file() and not page.is_symlink():
        with page.open("rb") as file:
            head = file.read(_HEAD)
    digest = _DIGEST.search(head.decode("utf-8", "replace"))
    if os.path.lexists(page) and MARK.encode() not in head:
        _in_the_way(page, "is no report")
    if os.path.lexists(table):
        ours = digest is not None and not table.is_symlink() and table.is_file()
        if not ours or hashlib.sha256(table.read_bytes()).hexdigest() != digest[1]:  # type: ignore[index]
            _in_the_way(table, "was changed, or is not the table of the report beside it")


def _in_the_way(file: Path, why: str) -> None:
    raise ValueError(
        f"{file} exists and {why}; give another --output FOLDER, or --force to replace it"
    )
