"""A private course folder beside the public checkout, and newer public versions for it.

The folder has copies of the solutions, and a manifest of what they were when they were copied. So
an update knows what the instructor has changed, and leaves that alone.
"""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from string import Template
from typing import Any, NamedTuple

from packaging.version import Version  # comes with Jupyter

from mha_course import __version__
from mha_course.autograder.course import CONFIG, Course
from mha_course.autograder.seeds import SECRET_FILE, SECRET_VARIABLE, course_secret
from mha_course.classroom.students import LIST, Student, add_to_gradebook, write_list
from mha_course.whole_file import write_whole

MANIFEST = ".mha-course.json"
SOLUTIONS = "solutions"

_TEMPLATES = Path(__file__).parent
_LEFT_BY_RUNNING = ("execution",)  # metadata of a cell
_PUBLIC_CHECKOUT = "_toc.yml"  # no private course has it
_PASSWORDS = {"password", "passwd", "sslpassword"}  # as drivers of databases call them


class Wanted(NamedTuple):
    """What an instructor wants of a course folder.

    Attributes:
        students: The class.
        db_url: Of the gradebook; empty for gradebook.db in the folder.
        exchange: Folder for releases and submissions; nbgrader's own by default.
        course_id: Empty for the public course's.
        assignments: Names; all by default.
        due: Due dates by assignment, with a time zone.
    """

    students: Sequence[Student] = ()
    db_url: str = ""
    exchange: Path | None = None
    course_id: str = ""
    assignments: Sequence[str] = ()
    due: Mapping[str, datetime] = {}


def init_course(public: Path, folder: Path, wanted: Wanted) -> Iterator[str]:
    """Make a private course folder, whole or not at all.

    Args:
        public: The public checkout.
        folder: Where to make it; it must not exist, or be empty.
        wanted: What is to be in it.

    Yields:
        What was made.

    Raises:
        ValueError: something is in the way, or cannot be, or the folder cannot be written.
    """
    public, folder = public.resolve(), folder.resolve()
    _check_place(public, folder)
    names = _assignments(public, wanted.assignments)
    if unknown := sorted(set(wanted.due) - set(names)):
        raise ValueError(f"--due {unknown[0]}: no such assignment; there are {', '.join(names)}")
    _check_names(wanted)
    broken = _said_clearly(f"{folder} was not made", "Nothing is left of it")
    with broken, _made_at_once(folder) as new:
        files = _files(public, names)
        for path, file in files.items():
            (new / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, new / path)
        _write_manifest(new, list(wanted.assignments), _digests(files))
        values = {"course": folder.name, "version": __version__, "first": names[0]}
        _write(new / "README.md", _filled("README.md.in", values))
        _write(new / ".gitignore", _filled("gitignore.in", {}))
        own = _filled("own_settings.py.in", {"lines": "\n".join(_own_lines(wanted))})
        _write(new / CONFIG, (public / CONFIG).read_text("utf-8") + own)
        if wanted.students:
            write_list(wanted.students, new / LIST)
        course = Course(new)
        course_secret(new)
        _fill_gradebook(course, wanted)  # all or nothing, and so the last thing that may fail
        own_secret = (new / SECRET_FILE).exists()
    yield f"{folder} is a course: {', '.join(names)}"
    if folder.stat().st_mode & stat.S_IRWXO:
        yield (
            f"it was there, and is open to all accounts of this machine, with solutions and "
            f"grades; to close it: {shlex.join(['chmod', '700', str(folder)])}"
        )
    if wanted.students:
        yield f"students in the gradebook and in {LIST}: {len(wanted.students)}"
    for name, due in wanted.due.items():
        yield f"{name} is due {_said(due)}"
    if own_secret:
        yield f"keep a copy of {folder / SECRET_FILE}: without it, no grade can be made again"
    else:
        yield f"its secret is that of {SECRET_VARIABLE}: set it wherever you grade"
    yield f"go there; {folder / 'README.md'} has the commands of a round"


def update_course(public: Path, folder: Path) -> Iterator[str]:
    """Bring what is new in the public course into a private folder; remove nothing.

    Args:
        public: The public checkout.
        folder: The private course folder.

    Yields:
        What was brought, what was left alone and why, and what to do then.

    Raises:
        ValueError: one of them is not what it should be, or the checkout is older than the course,
            or a file cannot be written; what was brought stays, and the next update goes on.
    """
    public, folder = public.resolve(), folder.resolve()
    manifest = _read_manifest(folder)
    _check_public(public)
    if Version(manifest["version"]) > Version(__version__):
        raise ValueError(
            f"{folder} is of version {manifest['version']}, and this is {__version__}, which is "
            "older; nothing was changed. Bring the checkout and its package up to date first"
        )
    chosen, before = manifest["assignments"], manifest["files"]
    there = set(_assignments(public))
    files = _files(public, sorted(there & set(chosen) if chosen else there))
    new = _digests(files)
    known = dict(before)
    changed: set[str] = set()
    yield f"from version {manifest['version']} to {__version__}"
    with _said_clearly(f"{folder} is not up to date yet", "What was brought stays"):
        for path, digest in new.items():
            taken, says = _bring(path, files[path], folder / path, before.get(path), digest)
            if taken and before.get(path) != digest:
                known[path] = digest
                changed.add(path.split("/")[1])
            if says:
                yield says
        for path in sorted(set(before) - set(new)):
            if (folder / path).exists():
                yield f"no longer in the public course: {path}; it stays, delete it if you like"
            else:
                del known[path]
        _write_manifest(folder, chosen, known)
    if not changed and known == before:
        yield "there was nothing to bring"
    for name in sorted(changed):
        yield (
            f"{name} is another now: before you release or grade it, run `nbgrader "
            f"generate_assignment {name} --force`; if it has been graded, then `mha-course grade "
            f"{name} --force`"
        )


def _bring(path: str, public: Path, mine: Path, old: str | None, new: str) -> tuple[bool, str]:
    """Bring a file, if that overwrites nothing of the instructor's.

    Args:
        path: In the course's folder.
        public: The file in the checkout.
        mine: The file in the course's folder.
        old: Digest of what was brought the last time, if it was.
        new: Digest of the public file.

    Returns:
        Whether the public one is there now, and what to say.
    """
    present = _digest(mine) if mine.is_file() else None
    if present == new:
        return True, ""
    if present is not None and present == old:
        write_whole(mine, public.read_bytes())
        return True, f"replaced, for you have not touched it: {path}"
    if old is None and not mine.exists():
        mine.parent.mkdir(parents=True, exist_ok=True)
        write_whole(mine, public.read_bytes())
        return True, f"new: {path}"
    if old == new:
        return False, ""
    what = "stays as you made it" if mine.exists() else "is not brought back: you have deleted it"
    take = shlex.join(["cp", str(public), str(mine)])
    return False, f"{path} {what}, and the public one is another now. To take that one: {take}"


def _check_public(public: Path) -> None:
    # what an instructor has edited there would pass for the public course
    if (public / MANIFEST).exists():
        raise ValueError(
            f"{public} is a private course; go to the public checkout, and name the folder from "
            "there"
        )


def _check_place(public: Path, folder: Path) -> None:
    _check_public(public)
    missing = [name for name in (SOLUTIONS, CONFIG) if not (public / name).exists()]
    if missing:
        raise ValueError(
            f"{public} is no checkout of the course: there is no {missing[0]} in it. Go to the "
            "checkout, and name the new folder from there"
        )
    if not folder.parent.is_dir():
        raise ValueError(f"there is no folder {folder.parent}; make it first, or name another")
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file; name a folder that does not exist")
    if (folder / CONFIG).exists():
        raise ValueError(
            f"{folder} is a course already, and is left as it is: `mha-course update-course` "
            "brings a newer public course, and `mha-course students` adds students"
        )
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder} is not empty; name a folder that does not exist, or is empty")
    if (public / _PUBLIC_CHECKOUT).exists() and public in folder.parents:
        raise ValueError(
            f"{folder} would lie within the public checkout, where grades are easily published; "
            f"name a folder outside of it, such as {public.parent / folder.name}"
        )


def _assignments(public: Path, wanted: Sequence[str] = ()) -> list[str]:
    found = sorted({file.parent.name for file in (public / SOLUTIONS).glob("*/*.ipynb")})
    if not found:
        raise ValueError(f"{public} is no checkout of the course: no assignment in {SOLUTIONS}/")
    if unknown := [name for name in wanted if name not in found]:
        raise ValueError(f"no assignment {unknown[0]!r}; there are {', '.join(found)}")
    return list(dict.fromkeys(wanted)) or found


def _check_names(wanted: Wanted) -> None:
    if wanted.course_id and not re.fullmatch(r"[A-Za-z0-9][\w.-]{0,63}", wanted.course_id, re.A):
        raise ValueError(
            f"--course-id {wanted.course_id!r}: it becomes a folder in the exchange; use letters, "
            "digits and . _ - only, and begin with a letter or a digit"
        )
    if wanted.exchange is not None and wanted.exchange.exists() and not wanted.exchange.is_dir():
        raise ValueError(f"--exchange {wanted.exchange}: that is a file; name a folder")
    if wanted.db_url:
        _check_database(wanted.db_url)


def _check_database(address: str) -> None:
    from sqlalchemy import create_engine, inspect, text
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import SQLAlchemyError

    example = "such as postgresql+psycopg://grader@localhost/mha"
    try:
        url = make_url(address)
    except SQLAlchemyError:
        raise ValueError(f"--db: that is no address of a database, {example}") from None
    if url.password or _PASSWORDS.intersection(url.query):
        raise ValueError(
            "--db: leave the password out, for it would stand in a file that others may see; "
            "PostgreSQL takes it from ~/.pgpass, a line HOST:PORT:DATABASE:USER:PASSWORD in it"
        )
    if url.drivername.startswith("sqlite"):
        if not Path(url.database or "").is_absolute():
            raise ValueError(
                f"--db {address}: give the whole path: sqlite:////srv/mha/gradebook.db"
            )
        if not Path(str(url.database)).parent.is_dir():
            raise ValueError(f"--db {address}: there is no folder {Path(str(url.database)).parent}")
        if not Path(str(url.database)).exists():
            return
    try:
        engine = create_engine(url)
        with engine.connect() as connection:
            tables = set(inspect(connection).get_table_names())
            used = [
                f"{name}s: {count}"
                for name in sorted({"student", "assignment"} & tables)
                if (count := connection.execute(text(f"SELECT count(*) FROM {name}")).scalar_one())
            ]
        engine.dispose()
    except (SQLAlchemyError, ImportError) as error:
        reason = " ".join(str(getattr(error, "orig", None) or error).split())[:200]
        raise ValueError(
            f"--db {address}: {reason}. See that the database runs and that you may use it"
        ) from error
    if used:
        raise ValueError(
            f"--db {address}: a course uses it already ({', '.join(used)}), and is left as it is; "
            "each course needs a database of its own: make an empty one"
        )


def _own_lines(wanted: Wanted) -> Iterator[str]:
    if wanted.course_id:
        yield f"c.CourseDirectory.course_id = {wanted.course_id!r}"
    if wanted.db_url:
        yield f"c.CourseDirectory.db_url = {wanted.db_url!r}"
    if wanted.exchange is not None:
        yield f"c.Exchange.root = {str(wanted.exchange.resolve())!r}"


def _fill_gradebook(course: Course, wanted: Wanted) -> None:
    if not wanted.students and not wanted.due:
        return
    from nbgrader.api import Assignment, Gradebook

    directory = course.directory
    with Gradebook(directory.db_url, directory.course_id) as gradebook:
        for name, due in wanted.due.items():
            at = due.astimezone(UTC).replace(tzinfo=None)  # as nbgrader keeps it
            gradebook.db.add(Assignment(name=name, duedate=at, course_id=directory.course_id))
        add_to_gradebook(gradebook, wanted.students)


@contextmanager
def _said_clearly(what: str, then: str) -> Iterator[None]:
    """Say what a disk or a database that fails has left undone."""
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (OSError, SQLAlchemyError) as error:
        reason = getattr(error, "strerror", None) or getattr(error, "orig", None) or error
        raise ValueError(
            f"{what}: {' '.join(str(reason).split())[:200]}. {then}; mend that, and run the same "
            "command again"
        ) from error


@contextmanager
def _made_at_once(folder: Path) -> Iterator[Path]:
    """Yield a new folder whose contents are moved into another one when all went well.

    It lies in there, so that a folder may be on a disk of its own, and keeps its rights.
    """
    existed = folder.exists()
    if not existed:
        folder.mkdir(mode=0o700)
    new = Path(tempfile.mkdtemp(prefix=".init-", dir=folder))
    try:
        yield new
        # without its settings a folder is no course
        for path in sorted(new.iterdir(), key=lambda path: path.name == CONFIG):
            path.rename(folder / path.name)
        new.rmdir()
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        if not existed:
            shutil.rmtree(folder, ignore_errors=True)
        raise


def _files(public: Path, names: Sequence[str]) -> dict[str, Path]:
    """Return the files of assignments, by path in a course's folder."""
    found = {}
    for name in names:
        for file in sorted((public / SOLUTIONS / name).rglob("*")):
            path = file.relative_to(public)
            hidden = any(part.startswith((".", "__pycache__")) for part in path.parts)
            if file.is_file() and not file.is_symlink() and not hidden:
                found[path.as_posix()] = file
    return found


def _digests(files: Mapping[str, Path]) -> dict[str, str]:
    return {path: _digest(file) for path, file in files.items()}


def _digest(file: Path) -> str:
    """Return a hash of what a person has written into a file.

    A notebook that was opened, run and saved is the same as before.
    """
    content = file.read_bytes()
    if file.suffix == ".ipynb":
        with suppress(ValueError, KeyError, TypeError, AttributeError):  # then it is no notebook
            content = _as_written(json.loads(content))
    return hashlib.sha256(content).hexdigest()


def _as_written(notebook: dict[str, Any]) -> bytes:
    cells = []
    for cell in notebook["cells"]:
        metadata = {
            key: value for key, value in cell["metadata"].items() if key not in _LEFT_BY_RUNNING
        }
        kept = {key: cell[key] for key in ("id", "cell_type", "attachments") if key in cell}
        cells.append({**kept, "metadata": metadata, "source": "".join(cell["source"])})
    return json.dumps(cells, sort_keys=True).encode()


def _read_manifest(folder: Path) -> dict[str, Any]:
    file = folder / MANIFEST
    if not file.is_file():
        raise ValueError(
            f"{folder} was not made by `mha-course init-course`: there is no {MANIFEST} in it, "
            "and nobody knows what you have changed there. Make a new folder with init-course, "
            "and move your own things over"
        )
    try:
        found = json.loads(file.read_text("utf-8"))
        return {
            "version": str(Version(found["version"])),
            "assignments": list(found["assignments"]),
            "files": dict(found["files"]),
        }
    except (ValueError, KeyError, TypeError):
        raise ValueError(
            f"{file} cannot be read; put a copy of it back. Without it, nobody knows what you have "
            "changed"
        ) from None


def _write_manifest(folder: Path, assignments: Sequence[str], files: Mapping[str, str]) -> None:
    manifest = {"version": __version__, "assignments": list(assignments), "files": dict(files)}
    write_whole(folder / MANIFEST, (json.dumps(manifest, indent=1) + "\n").encode())


def _filled(template: str, values: Mapping[str, str]) -> str:
    return Template((_TEMPLATES / template).read_text("utf-8")).substitute(values)


def _write(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8")


def _said(due: datetime) -> str:
    local = f"{due:%Y-%m-%d %H:%M} {due.tzname()}"
    at = due.astimezone(UTC)
    utc = "" if due.utcoffset() == at.utcoffset() else f", which is {at:%Y-%m-%d %H:%M} UTC"
    return local + utc + (" (that is past)" if at < datetime.now(UTC) else "")
