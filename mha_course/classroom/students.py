"""The list of a class: read from whatever a spreadsheet or a learning platform has written.

The list is kept as `students.csv` in the course's folder, in nbgrader's own columns, and its
students stand in the gradebook. Nobody is ever taken out of either here: grades would go with them.
"""

from __future__ import annotations

import csv
import io
import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from nbgrader.api import Gradebook

LIST = "students.csv"
"""Name of the list in a course's folder."""

_LONGEST = 128  # characters in nbgrader's columns
_LONGEST_ID = 64  # it is the name of a folder, and a part of the name of a submission
_MOST_SAID = 40
_MOST_NAMED = 10
_DELIMITERS = ",;\t"

# Columns of Canvas's gradebook export are named so in every language
# (lib/gradebook_exporter.rb). The rest is what spreadsheets and Moodle have, in lower case; Moodle
# translates. In each row, the earlier name is taken.
_CANVAS = {
    "id": ("sis login id",),
    "lms_user_id": ("id",),
    "whole_name": ("student",),
    "first_name": ("firstname",),
    "last_name": ("lastname",),
    "email": ("email",),
}
_OTHERS = {
    "id": (
        *("id", "student_id", "username", "anmeldename", "nom d'utilisateur"),
        *("id number", "idnumber", "id-nummer", "numéro d'identification"),
        *("email address", "email", "e-mail-adresse", "e-mail", "adresse de courriel"),
    ),
    "first_name": ("first_name", "first name", "firstname", "vorname", "prénom"),
    "last_name": (
        *("last_name", "last name", "lastname", "surname", "nachname"),
        *("nom de famille", "nom"),
    ),
    "email": (
        *("email", "email address", "e-mail", "e-mail-adresse", "e-mail address"),
        *("adresse de courriel", "courriel"),
    ),
    "lms_user_id": (
        *("lms_user_id", "id number", "idnumber", "id-nummer", "numéro d'identification"),
    ),
}


class Student(NamedTuple):
    """A student of the class, with nbgrader's columns; only the id must be there."""

    id: str
    first_name: str = ""
    last_name: str = ""
    email: str = ""
    lms_user_id: str = ""


class Row(NamedTuple):
    """A row of a list.

    Attributes:
        line: Where it begins in the file, from 1.
        cells: What it has, by column.
    """

    line: int
    cells: Mapping[str, str]


def read_students(file: Path) -> list[Student]:
    """Read a list of students, as CSV.

    Args:
        file: With commas, semicolons or tabs; in UTF-8, UTF-16 or as Excel writes it. Its columns
            are nbgrader's, `id,first_name,last_name,email,lms_user_id`, or those of Canvas's or
            Moodle's export, in English, German or French.

    Raises:
        ValueError: something is wrong; every problem is named, with its line.
    """
    rows, columns = _rows(_text(file), file)
    problems: list[str] = []
    found: dict[str, tuple[int, Student]] = {}
    for row in rows:
        student = _student(row.cells, columns)
        wrong = list(_problems(student))
        same = found.setdefault(_same(student.id), (row.line, student))
        if student.id and same[0] != row.line:
            wrong.append(_twice(student, *same))
        problems += [f"line {row.line}: {problem}" for problem in wrong]
    if not rows:
        problems.append("there is nobody in it: it has no row below its header")
    if problems:
        more = len(problems) - _MOST_SAID
        said = [*problems[:_MOST_SAID], *([f"and {more} more"] if more > 0 else [])]
        what = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        listed = "\n".join(f"  {each}" for each in said)
        raise ValueError(f"{file}: {what}, and nothing was written:\n{listed}")
    return [student for _, student in found.values()]


def add_students(folder: Path, file: Path) -> Iterator[str]:
    """Add students to a course, or change what its list and gradebook say of them.

    Args:
        folder: Of the course.
        file: Their list; see `read_students`.

    Yields:
        Who was added or changed, and who is only in the course.

    Raises:
        ValueError: something is wrong with the list or the gradebook; nothing was changed.
        CannotStore: the gradebook or the disk cannot be used.
    """
    from nbgrader.api import Gradebook
    from sqlalchemy.exc import SQLAlchemyError

    from mha_course.autograder.course import CONFIG, Course
    from mha_course.autograder.patience import patiently

    course = Course(folder)
    before = {student.id: student for student in listed(course.root)}
    given = read_students(file)
    similar = {_same(name): name for name in before}
    if other := [one.id for one in given if similar.get(_same(one.id), one.id) != one.id]:
        raise ValueError(
            f"{file}: the id {other[0]!r} differs only in its letters' form from "
            f"{similar[_same(other[0])]!r}, who is in the course already; nothing was written"
        )
    now = merged(list(before.values()), given)

    def store() -> set[str]:
        with Gradebook(course.directory.db_url, course.directory.course_id) as gradebook:
            add_to_gradebook(gradebook, now)
            return {student.id for student in gradebook.students}

    try:
        in_gradebook = patiently(store, lambda says: print(f"mha-course: {says}", file=sys.stderr))
    except SQLAlchemyError as error:
        reason = " ".join(str(error.args[0]).split())
        raise ValueError(
            f"the gradebook cannot be used: {reason}. {course.root / CONFIG} says where it is; "
            "nothing was written"
        ) from error
    write_list(now, course.root / LIST)
    added = [one.id for one in given if one.id not in before]
    changed = [one.id for one in now if one.id in before and one != before[one.id]]
    yield (
        "1 student is in the course" if len(now) == 1 else f"{len(now)} students are in the course"
    )
    for what, names in (("added", added), ("changed", changed)):
        if names:
            yield f"{what}: {', '.join(names)}"
    if absent := sorted(in_gradebook - {one.id for one in given}):
        yield (
            f"not in {file.name}, and left alone: {', '.join(absent)}. To take one out: `nbgrader "
            f"db student remove ID`, and delete the line in {LIST}; with --force, grades go, too"
        )


def write_list(students: Iterable[Student], file: Path) -> None:
    """Write a list, whole or not at all."""
    from mha_course.whole_file import write_whole

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Student._fields)
    writer.writerows(students)
    write_whole(file, text.getvalue().encode(), 0o600)


def listed(folder: Path) -> list[Student]:
    """Return the students in a course's list; empty if it has none."""
    file = folder / LIST
    return read_students(file) if file.exists() else []


def merged(before: Sequence[Student], now: Sequence[Student]) -> list[Student]:
    """Return a list with those of both; who is in both is as in the new one, where it says so."""
    found = {student.id: student for student in before}
    for student in now:
        known = found.get(student.id, student)._asdict()
        given = {name: value for name, value in student._asdict().items() if value}
        found[student.id] = Student(**{**known, **given})
    return list(found.values())


def add_to_gradebook(gradebook: Gradebook, students: Iterable[Student]) -> None:
    """Put students into the gradebook, or change their names there: all of them, or none.

    What a list leaves empty stays as it is.
    """
    from nbgrader.api import Student as Known

    for student in students:
        given = {name: value for name, value in student._asdict().items() if value}
        gradebook.db.merge(Known(**given))
    gradebook.db.commit()


def strangers(folder: Path, names: Iterable[str]) -> Iterator[str]:
    """Yield what to say of those who are in no list of a course, if it has one."""
    try:
        known = {student.id for student in listed(folder)}
    except (ValueError, OSError) as error:
        yield str(error).partition("\n")[0]
        return
    if known and (unknown := [name for name in names if name not in known]):
        more = len(unknown) - _MOST_NAMED
        shown = ", ".join(unknown[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
        yield (
            f"graded, but not in {LIST}: {shown}. Is one of them another name of somebody who is? "
            "Then rename the folder in submitted/, and take the wrong name out with `nbgrader db "
            "student remove ID --force`; else add them with `mha-course students`"
        )


def _text(file: Path) -> str:
    """Return what is in a file, whichever program has written it."""
    content = file.read_bytes()
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        encodings = ["utf-16"]  # Excel's "Unicode text"
    else:
        encodings = ["utf-8-sig", "cp1252"]  # Excel's "CSV", where it is set to western Europe
    for encoding in encodings:
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text
    raise ValueError(f"{file} is no text; in a spreadsheet, save the table as CSV UTF-8")


def _rows(text: str, file: Path) -> tuple[list[Row], Mapping[str, str]]:
    """Return the rows of a table, and the name of its column for each field."""
    stated = re.match(r"sep=(.)\r?\n", text)  # for Excel alone
    header = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = stated[1] if stated else max(_DELIMITERS, key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows: list[Row] = []
    names: list[str] = []
    end = 0
    try:
        for values in reader:
            line, end = end + 1, reader.line_num
            cells = [value.strip() for value in values]
            if not any(cells) or (stated and line == 1):
                continue
            if not names:
                names = [" ".join(name.casefold().split()) for name in cells]
            elif any(cells[len(names) :]):
                raise ValueError(
                    f"{file}: line {line} has {len(cells)} cells, and the header has "
                    f"{len(names)}: is there a {delimiter!r} in one, without quotes around it? "
                    "Nothing was written"
                )
            else:
                rows.append(Row(line, dict(zip(names, cells, strict=False))))
    except csv.Error as error:
        raise ValueError(
            f"{file}: line {end + 1} is no CSV ({error}); nothing was written"
        ) from None
    if not names:
        raise ValueError(f"{file} is empty; its first line must be {','.join(Student._fields)}")
    columns = _columns(names, rows, file)
    return [row for row in rows if not _is_of_canvas(row, columns)], columns


def _columns(names: Sequence[str], rows: Sequence[Row], file: Path) -> Mapping[str, str]:
    """Return the name of the column for each field: the first one that is not empty."""
    known = _CANVAS if _CANVAS["id"][0] in names else _OTHERS
    filled = {name for row in rows for name, value in row.cells.items() if value}
    columns = {}
    for field, candidates in known.items():
        there = [name for name in candidates if name in names]
        columns[field] = next((name for name in [*there, ""] if name in filled), [*there, ""][0])
    if twice := [name for name in columns.values() if name and names.count(name) > 1]:
        raise ValueError(f"{file}: there are two columns {twice[0]!r}; nothing was written")
    if not columns["id"]:
        raise ValueError(
            f"{file}: no column says who a student is; there are {', '.join(filter(None, names))}. "
            f"The first line must name the columns: {','.join(Student._fields)}, of which only id "
            "must be there. Nothing was written"
        )
    return {field: name for field, name in columns.items() if name}


def _is_of_canvas(row: Row, columns: Mapping[str, str]) -> bool:
    """Whether Canvas has added a row that is no student."""
    if columns["id"] != _CANVAS["id"][0]:
        return False
    one = _student(row.cells, columns)
    nobody = not one.id and not one.lms_user_id  # as the row of "Points Possible"
    return nobody or (one.last_name, one.first_name) == ("Student", "Test")


def _student(cells: Mapping[str, str], columns: Mapping[str, str]) -> Student:
    found = {field: cells.get(name, "") for field, name in columns.items()}
    if whole := found.pop("whole_name", ""):  # of Canvas: "Noether, Emmy"
        last, _, first = whole.partition(",")
        found |= {"first_name": first.strip(), "last_name": last.strip()}
    composed = {field: unicodedata.normalize("NFC", value) for field, value in found.items()}
    return Student(**composed)


def _same(name: str) -> str:
    """Return what is the same for ids that a person, or a Mac's disk, takes for one."""
    return unicodedata.normalize("NFKC", name).casefold()


def _twice(student: Student, line: int, other: Student) -> str:
    if student.id == other.id:
        return f"the id {student.id!r} is in line {line} already"
    return f"the id {student.id!r} differs only in its letters' form from {other.id!r}, line {line}"


def _problems(student: Student) -> Iterator[str]:
    """Yield what is wrong with a row."""
    name = student.id
    who = f" ({student.first_name} {student.last_name})".replace("( ", "(").replace(" )", ")")
    if not name:
        yield "there is no id" + (who if who != " ()" else "")
    else:
        why = "the id is the name of a folder, and of what is submitted"
        if odd := sorted({letter for letter in name if not _is_plain(letter)}):
            shown = " ".join(map(_shown, odd))
            yield f"the id {name!r} holds {shown}; {why}: letters, digits and . _ - @ only"
        if name[0] in ".-":
            yield f"the id {name!r} begins with {name[0]}; {why}, so begin it with a letter"
        if name[0] == "@":
            yield (
                f"the id {name!r} begins with @, which a spreadsheet takes for a formula: no grade "
                "could be exported; begin it with a letter"
            )
        if name == "0":
            yield "the id '0' is nobody for Moodle: no grade could be exported; give another"
        if len(name) > _LONGEST_ID:
            yield f"the id {name[:20]!r}… has {len(name)} characters; the most is {_LONGEST_ID}"
    for field, value in student._asdict().items():
        if field != "id" and any(unicodedata.category(letter)[0] == "C" for letter in value):
            yield f"{field} {value!r} holds a character that cannot be shown"
        if field != "id" and len(value) > _LONGEST:
            yield f"{field} {value[:20]!r}… has {len(value)} characters; the most is {_LONGEST}"
    if student.email and not re.fullmatch(r"[^@\s]+@[^@\s]+", student.email):
        yield f"{student.email!r} is no e-mail address"


def _is_plain(letter: str) -> bool:
    return letter in "._-@" or unicodedata.category(letter) in ("Lu", "Ll", "Lo", "Lm", "Nd")


def _shown(letter: str) -> str:
    if letter == " ":
        return "a space"
    return letter if letter.isprintable() else f"U+{ord(letter):04X}"
