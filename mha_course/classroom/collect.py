"""Collect what students have handed in, and only what is theirs.

Everybody writes into the exchange's inbound folder, and not only by nbgrader's commands. nbgrader
collects whatever lies there. A student could hand in under another's name, and replace what that
one has done; or hand in a link, in place of which nbgrader copies what it leads to: the solutions,
or another's notebook, with its grade and feedback. And one folder with an odd name, or without
nbgrader's own files, ends the collecting or the feedback of the whole class.

It is loaded by its path, as `settings`: nothing else of the package is imported here.
"""

from __future__ import annotations

import errno
import os
import pwd
import re
import secrets
import shutil
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nbgrader.exchange.default import ExchangeCollect
from nbgrader.utils import ignore_patterns

_SECRET, _TIME = "submission_secret.txt", "timestamp.txt"
_IS_SECRET = re.compile(rb"[0-9a-f]{128}")
_LONG_AGO = datetime(1970, 1, 1)  # as nbgrader has times: in UTC, and without it
_LATER = 600  # seconds between the time that a submission claims and its arrival
_MOST_FILES, _MOST_DEEP = 1_000, 10


class CollectOwn(ExchangeCollect):  # type: ignore[misc]  # nbgrader has no types
    """`nbgrader collect` that leaves out, and names, what is not a student's own submission."""

    src_records: list[dict[str, Any]]

    def init_src(self) -> None:
        """Look up the newest submission of each student, of those that can be taken."""
        super().init_src()
        self.src_records = [one for one in self.src_records if one["username"] is not None]

    def _path_to_record(self, path: str) -> dict[str, Any]:
        try:
            why = self._wrong(Path(path))
            if not why:
                return self._record(Path(path))
        except OSError as error:  # its owner can remove it at any moment
            why = f"went away, or cannot be looked at ({error.strerror})"
        self.log.warning("%r %s; it is left out", path, why)
        return {"username": None, "filename": Path(path).name, "timestamp": _LONG_AGO}

    def _record(self, path: Path) -> dict[str, Any]:
        record: dict[str, Any] = super()._path_to_record(str(path))
        arrived = datetime.fromtimestamp(path.lstat().st_ctime, UTC).replace(tzinfo=None)
        if (arrived - record["timestamp"]).total_seconds() > _LATER:
            came = f"{arrived:%F %T}"
            self.log.warning(
                "%r came at %s UTC, or was changed then: was it on time?", str(path), came
            )
        return record

    def _wrong(self, path: Path) -> str:
        """Say why a submission cannot be taken; empty if it can."""
        name, *rest = path.name.rsplit("+", 3)
        try:
            super()._path_to_record(str(path))
        except Exception:  # whatever a name makes nbgrader's parser do
            return "has an odd name"
        if len(rest) != 3:
            return "has an odd name"
        found = path.lstat()
        if not stat.S_ISDIR(found.st_mode):
            return "is no folder"
        if self.check_owner:
            try:
                owner = pwd.getpwuid(found.st_uid).pw_name
            except KeyError:
                return "belongs to an account that this machine does not know"
            if owner != name:
                shown = repr(name)[1:-1]  # it may hold what moves a terminal's cursor
                return f"was handed in by {owner} in the name of {shown}"
        # the secret is the last one that nbgrader writes
        if not all(os.access(one, os.R_OK) for one in (path, path / _SECRET)):
            return "is not complete yet, or was not made by nbgrader; collect again in a minute"
        return ""

    def copy_files(self) -> None:
        """Copy what is newer than what is there.

        nbgrader deletes that first, and looks at folders again that may have gone meanwhile.
        """
        directory = self.coursedir
        where = f"{directory.assignment_id!r} for course {directory.course_id!r}"
        if not self.src_records:
            self.log.warning("No submissions of %s to collect", where)
        for record in self.src_records:
            student = record["username"]
            dest = directory.format_path(
                directory.submitted_directory, student, directory.assignment_id
            )
            if self._is_wanted(dest, record["timestamp"]):
                self.log.info("Collecting %s of %r", where, student)
                self.do_copy(os.path.join(self.inbound_path, record["filename"]), dest)
            elif self.update:
                self.log.info("No newer submission to collect: %r", student)
            else:
                self.log.info("Submission already exists, use --update to update: %r", student)

    def _is_wanted(self, dest: str, time: datetime) -> bool:
        """Whether a submission takes the place of what was collected, as nbgrader has it."""
        if not os.path.isdir(dest):
            return True
        try:
            before = self.coursedir.get_existing_timestamp(dest)
        except Exception:  # what a person has put there may hold anything; nbgrader stops at it
            before = None
        newer = before is None or time > before
        return bool((self.update and newer) or (self.before_duedate and time != before))

    def do_copy(self, src: str, dest: str, log: Any = None) -> None:  # noqa: ARG002
        """Copy a submission: all of it or nothing, and nothing that a link in it leads to.

        What was at its place stays there until all of it has come.
        """
        new = Path(f"{dest}.new")
        shutil.rmtree(new, ignore_errors=True)
        try:
            self._copy(src, new)
            _complete(new, Path(src).name.rsplit("+", 2)[1])
            if self.coursedir.groupshared:
                self.set_perms(new, fileperms=0o660, dirperms=0o2770)
            _replace(Path(dest), new)
        except OSError as error:
            stays = "; the one before stays" if os.path.isdir(dest) else ""
            self.log.error("%r is not collected%s: %s", src, stays, _said(error))
        finally:
            shutil.rmtree(new, ignore_errors=True)

    def _copy(self, src: str, new: Path) -> None:
        directory = self.coursedir
        left_out = ignore_patterns(directory.ignore, directory.include)
        largest, room = 1000 * directory.max_file_size, 1000 * directory.max_dir_size
        count = 0
        new.mkdir(parents=True)
        # by descriptors: what is looked at is what is copied, whatever is put there meanwhile
        for here, folders, files, at in os.fwalk(src, onerror=_fail, follow_symlinks=False):
            inside = Path(here).relative_to(src)
            out = set(left_out(here, [*folders, *files]))
            if len(inside.parts) >= _MOST_DEEP:
                folders.clear()
            folders[:] = [name for name in folders if name not in out]
            for name in files:
                if name in out:
                    continue
                if why := _why_not(name, at, largest):
                    self.log.warning("%r %s; it is left out", os.path.join(here, name), why)
                    continue
                content = _read(name, at, room)
                count, room = count + 1, room - len(content)
                if count > _MOST_FILES:
                    raise _Refused(
                        f"it has more than {_MOST_FILES:,} files; its student has to submit again, "
                        "with fewer"
                    )
                (new / inside).mkdir(parents=True, exist_ok=True)
                (new / inside / name).write_bytes(content)


class _Refused(OSError):  # noqa: N818, what it is
    """A submission that cannot be taken as it is; the message says why, and what to do."""


def _said(error: OSError) -> str:
    """Say why a submission was not taken, and what to do."""
    if isinstance(error, _Refused):
        return str(error)
    if isinstance(error, FileNotFoundError) or error.errno == errno.ELOOP:
        return f"it was changed meanwhile ({error}); collect again"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"there is no room ({error}); make some, and collect again"
    return f"{error}; mend that, and collect again"


def _fail(error: OSError) -> None:
    if isinstance(error, PermissionError):
        raise _unreadable(error.filename) from error
    raise error


def _unreadable(name: str) -> _Refused:
    return _Refused(
        f"{name!r} in it cannot be read; its student has to run `chmod -R a+rX` on their folder, "
        "and submit again"
    )


def _why_not(name: str, folder: int, largest: int) -> str:
    """Say why a file of an open folder is not copied; empty if it is."""
    found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if not stat.S_ISREG(found.st_mode):
        return "is no plain file"
    if largest and found.st_size > largest:
        return "is larger than c.CourseDirectory.max_file_size allows"
    return ""


def _read(name: str, folder: int, most: int) -> bytes:
    """Return what is in a file of an open folder; a link or a pipe that has come is not read."""
    try:
        opened = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    except PermissionError as error:
        raise _unreadable(name) from error
    with os.fdopen(opened, "rb") as file:
        if not stat.S_ISREG(os.fstat(opened).st_mode):
            raise _Refused(f"{name!r} in it was changed meanwhile; collect again")
        content = file.read(most + 1)
    if len(content) > most:
        raise _Refused(
            "it is larger than c.CourseDirectory.max_dir_size allows; raise that in "
            "nbgrader_config.py, and collect again, or have its student submit again, with less"
        )
    return content


def _replace(old: Path, new: Path) -> None:
    """Put a folder in the place of another, which goes only when the new one is there."""
    aside = old.with_name(f"{old.name}.old")
    if old.exists():
        shutil.rmtree(aside, ignore_errors=True)
        old.rename(aside)
    try:
        new.rename(old)
    except OSError:
        if aside.exists():
            aside.rename(old)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _complete(submission: Path, time: str) -> None:
    """See that nbgrader finds what it needs: without it, no feedback of the class comes out."""
    for name in (_TIME, _SECRET):
        if (submission / name).is_dir():
            shutil.rmtree(submission / name)
    (submission / _TIME).write_text(time)  # as in the name, by which it was chosen
    secret = submission / _SECRET
    if not (secret.exists() and _IS_SECRET.fullmatch(secret.read_bytes())):
        secret.write_text(secrets.token_hex(64))  # its feedback is found by nobody
