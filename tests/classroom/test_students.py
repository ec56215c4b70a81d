"""The list of a class, from many programs, with whatever is wrong in it."""

from __future__ import annotations

import shutil
import stat
from pathlib import Path

import pytest
from course import REPOSITORY
from nbgrader.api import Gradebook

from mha_course.classroom import students
from mha_course.classroom.students import LIST, Student, read_students
from mha_course.cli import main

ADA = Student("ada", "Ada", "Lovelace", "ada@uni.example", "17")
ZOE = Student("zoë", "Zoë", "Müller")
OURS = "id,first_name,last_name,email,lms_user_id\nada,Ada,Lovelace,ada@uni.example,17\n"
SAME_CLASS = {
    "nbgrader": OURS + "zoë,Zoë,Müller,,\n",
    "another order and case": (
        "EMAIL,Last_Name,ID,first_name,note,lms_user_id\n"
        "ada@uni.example,Lovelace,ada,Ada,late,17\n,Müller,zoë,Zoë\n"
    ),
    "German Excel": (
        "sep=;\r\nID;Vorname;Nachname;E-Mail;ID-Nummer\r\n"
        "ada;Ada;Lovelace;ada@uni.example;17\r\nzoë;Zoë;Müller;;\r\n;;;;\r\n"
    ),
    "Canvas": (
        "Student,ID,SIS User ID,SIS Login ID,Section,Email,Homework (91),Final Score\n"
        ",,,,,,Manual Posting,\n    Points Possible,,,,,,10,(read only)\n"
        '"Lovelace, Ada",17,S-1,ada,A,ada@uni.example,9.5,95\n"Müller, Zoë",,S-2,zoë,A,,,\n'
        '"Student, Test",99,,f3a8c,A,,,\n'
    ),
    "Canvas, two columns of names": (
        "LastName,FirstName,ID,SIS Login ID,Section,Email\n"
        "    Points Possible,,,,,\nLovelace,Ada,17,ada,A,ada@uni.example\nMüller,Zoë,,zoë,A,\n"
        "Student,Test,99,f3a8c,A,\n"
    ),
    "Moodle": (
        "First name,Last name,Username,ID number,Email address,Groups\n"
        "Ada,Lovelace,ada,17,ada@uni.example,\nZoë,Müller,zoë,,,\n"
    ),
    "Moodle in German": (
        '"Vorname","Nachname","Anmeldename","ID-Nummer","E-Mail-Adresse"\n'
        '"Ada","Lovelace","ada","17","ada@uni.example"\n"Zoë","Müller","zoë","",""\n'
    ),
    "Moodle in French": (
        "Prénom;Nom de famille;Nom d'utilisateur;Numéro d'identification;Adresse de courriel\n"
        "Ada;Lovelace;ada;17;ada@uni.example\nZoë;Müller;zoë;;\n"
    ),
    "letters of a Mac": OURS + "zoe\N{COMBINING DIAERESIS},Zoë,Mu\N{COMBINING DIAERESIS}ller,,\n",
}


def written(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    file = folder / "class.csv"
    file.write_bytes(text.encode(encoding))
    return file


@pytest.mark.parametrize("kind", SAME_CLASS)
def test_the_same_class_from_many_programs(kind: str, tmp_path: Path) -> None:
    assert read_students(written(tmp_path, SAME_CLASS[kind])) == [ADA, ZOE]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_the_same_class_in_many_encodings(encoding: str, tmp_path: Path) -> None:
    text = SAME_CLASS["nbgrader"].replace("\n", "\r\n")
    assert read_students(written(tmp_path, text, encoding)) == [ADA, ZOE]


@pytest.mark.parametrize(
    ("rows", "names"),
    [
        ("17,,ada@uni.example\n,,bob@uni.example\n", ["ada@uni.example", "bob@uni.example"]),
        ("17,S17,ada@uni.example\n18,S18,\n", ["S17", "S18"]),
    ],
)
def test_without_a_username_the_next_best_is_the_id(
    rows: str, names: list[str], tmp_path: Path
) -> None:
    """Moodle has a column for the ID number, whether anybody has one or not."""
    text = f"Phone,ID number,Email address\n{rows}"
    assert [one.id for one in read_students(written(tmp_path, text))] == names


WRONG = """\
id,first_name,last_name,email
ada,Ada,Lovelace,ada@uni.example
,Bob,Nobody,
ada,Ada,Again,
Ada,A,Third,
../etc,,,
a+b,,,
-rf,,,
two words,,,
.hidden,,,
tab\tbed,,,
{long},,,
"new
line",,,
mail,,,not a mail
name,\N{RIGHT-TO-LEFT OVERRIDE}evil,,
@mal,,,
0,,,
"""
SAID = {
    3: "there is no id (Bob Nobody)",
    4: "the id 'ada' is in line 2 already",
    5: "the id 'Ada' differs only in its letters' form from 'ada', line 2",
    6: "the id '../etc' holds /",
    7: "the id 'a+b' holds +",
    8: "the id '-rf' begins with -",
    9: "the id 'two words' holds a space",
    10: "the id '.hidden' begins with .",
    11: r"the id 'tab\tbed' holds U+0009",
    12: "has 65 characters; the most is 64",
    13: r"the id 'new\nline' holds U+000A",
    15: "'not a mail' is no e-mail address",
    16: r"first_name '\u202eevil' holds a character that cannot be shown",
    17: "the id '@mal' begins with @, which a spreadsheet takes for a formula",
    18: "the id '0' is nobody for Moodle",
}


def test_every_problem_is_named_with_its_line(tmp_path: Path) -> None:
    file = written(tmp_path, WRONG.replace("{long}", "x" * 65))
    with pytest.raises(ValueError, match="and nothing was written") as error:
        read_students(file)
    said = str(error.value)
    for line, problem in SAID.items():
        assert any(
            each.startswith(f"  line {line}: ") and problem in each for each in said.splitlines()
        ), (line, problem)
    assert "line 2:" not in said
    begins_badly = 1  # ../etc holds a slash, and begins with a dot
    assert said.count("\n") == len(SAID) + begins_badly


def test_a_file_full_of_problems_is_not_printed_in_full(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="500 problems") as error:
        read_students(written(tmp_path, "\n".join(["id", *(f"{n}+" for n in range(500))])))
    assert str(error.value).count("\n") < 50
    assert "and 460 more" in str(error.value)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty; its first line must be id,first_name"),
        (b"\n\n", "is empty"),
        (b"id,first_name\n", "there is nobody in it"),
        (b"name,group\nAda,1\n", "no column says who a student is; there are name, group"),
        (b"ada,Ada,Lovelace\nbob,Bob,Babbage\n", "The first line must name the columns: id,"),
        (b"id,id\na,b\n", "two columns 'id'"),
        (b"id,last_name\nada,Lovelace, Countess\n", "line 2 has 3 cells, and the header has 2"),
        (b'id,last_name\nada,"Love', "line 2 is no CSV"),
        (b'id,last_name\nada,x\nbob,"a"b\n', "line 3 is no CSV"),
        (b"PK\x03\x04\0\0\x81", "save the table as CSV UTF-8"),
    ],
)
def test_files_that_are_no_list(content: bytes, says: str, tmp_path: Path) -> None:
    file = tmp_path / "class.csv"
    file.write_bytes(content)
    with pytest.raises(ValueError) as error:  # noqa: PT011, the message is compared below
        read_students(file)
    assert says in str(error.value)
    assert str(error.value).startswith(str(file))


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a course with Ada in it, whose gradebook takes seconds to make."""
    folder = tmp_path_factory.mktemp("begun")
    shutil.copy(REPOSITORY / "nbgrader_config.py", folder)
    said, *_ = students.add_students(folder, written(folder, OURS))
    assert said == "1 student is in the course"
    return folder


@pytest.fixture
def course(begun: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, with us in it."""
    folder = tmp_path / "course"
    shutil.copytree(begun, folder)
    monkeypatch.chdir(folder)
    return folder


def in_gradebook(course: Path) -> list[Student]:
    with Gradebook(f"sqlite:///{course / 'gradebook.db'}", "multi-head-attention") as gradebook:
        found = [
            Student(*(getattr(one, name) or "" for name in Student._fields))
            for one in gradebook.students
        ]
    return sorted(found)


def test_students_are_added_later(
    course: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert in_gradebook(course) == [ADA] == read_students(course / LIST)
    assert stat.S_IMODE((course / LIST).stat().st_mode) == 0o600

    later = "id,first_name,last_name\nzoë,Zoë,Müller\nada,Augusta,\n"
    assert main(["students", str(written(tmp_path, later))]) == 0
    said = capsys.readouterr().out
    assert "added: zoë" in said
    assert "changed: ada" in said
    augusta = ADA._replace(first_name="Augusta")  # what the file does not say stays
    assert in_gradebook(course) == [augusta, ZOE] == read_students(course / LIST)

    assert main(["students", str(written(tmp_path, "id\nzoë\n"))]) == 0
    said = capsys.readouterr().out
    assert "2 students are in the course" in said
    assert "not in class.csv, and left alone: ada." in said
    assert "added" not in said
    assert in_gradebook(course) == [augusta, ZOE]


@pytest.mark.parametrize("text", ["id\nbob\nbob\n", "id\nbob\nADA\n", "id\n"])
def test_a_bad_list_changes_nothing(
    text: str, course: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (course / LIST).read_bytes()
    assert main(["students", str(written(tmp_path, text))]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "class.csv" in said.err
    assert (course / LIST).read_bytes() == before
    assert in_gradebook(course) == [ADA]


@pytest.mark.filterwarnings("ignore:Column 'student.id'")
def test_all_students_or_none_are_in_the_gradebook(
    course: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The database fails in the middle."""

    def breaks(gradebook: Gradebook, given: list[Student]) -> None:
        real(gradebook, [*given, Student(None)])  # no row without an id

    real = students.add_to_gradebook
    monkeypatch.setattr(students, "add_to_gradebook", breaks)
    assert main(["students", str(written(tmp_path, "id\nbob\neve\n"))]) == 2
    assert "the gradebook cannot be used: " in capsys.readouterr().err
    assert in_gradebook(course) == [ADA]
    assert read_students(course / LIST) == [ADA]


def test_no_file_and_no_course(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["students", "class.csv"]) == 2
    assert "is no course folder" in capsys.readouterr().err
    shutil.copy(REPOSITORY / "nbgrader_config.py", tmp_path)
    assert main(["students", "class.csv"]) == 2
    assert "no file class.csv" in capsys.readouterr().err
    assert not (tmp_path / "gradebook.db").exists()


def test_strangers_are_named_where_there_is_a_list(tmp_path: Path) -> None:
    assert list(students.strangers(tmp_path, ["eve"])) == []
    written(tmp_path, OURS).rename(tmp_path / LIST)
    assert list(students.strangers(tmp_path, ["ada"])) == []
    (said,) = students.strangers(tmp_path, ["ada", "eve"])
    assert "not in students.csv: eve." in said
    (tmp_path / LIST).write_text("id\n-\n")
    (said,) = students.strangers(tmp_path, ["eve"])
    assert "1 problem" in said
