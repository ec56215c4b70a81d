"""Collect what students have handed in, and only what is theirs.

Everybody writes into the exchange's inbound folder, and not only by nbgrader's commands. nbgrader
collects whatever lies there. A student could hand in under another's name, and replace what that
one has done; or hand in a link, in place of which nbgrader copies what it leads to: the solutions,
or another's notebook, with its grade and feedback. And one folder with an odd name, or without
nbgrader's own files, ends the collecting or the feedback of the whole class.

It is loaded by its path, as `settings`: nothing else of the package is imported here.
"""

from __future__ import annotations

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
        if why := self._wrong(Path(path)):
            self.log.warning("%s %s; it is left out", path, why)
            return {"username": None, "filename": Path(path).name, "timestamp": _LONG_AGO}
        record: dict[str, Any] = super()._path_to_record(path)
        arrived = datetime.fromtimestamp(Path(path).lstat().st_ctime, UTC).replace(tzinfo=None)
        if (arrived - record["timestamp"]).total_seconds() > _LATER:
            self.log.warning(
                "%s came at %s UTC, or was changed then: was it on time?", path, f"{arrived:%F %T}"
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
                return f"was handed in by {owner} in the name of {name}"
        if not os.access(path / _SECRET, os.R_OK):  # the last one that nbgrader writes
            return "is not complete yet, or was not made by nbgrader; collect again in a minute"
        return ""

    def do_copy(self, src: str, dest: str, log: Any = None) -> None:  # noqa: ARG002
        """Copy a submission: all of it or nothing, and nothing that a link in it leads to."""
        new = Path(f"{dest}.new")
        shutil.rmtree(new, ignore_errors=True)
        try:
            self._copy(src, new)
            _complete(new, Path(src).name.rsplit("+", 2)[1])
            if self.coursedir.groupshared:
                self.set_perms(new, fileperms=0o660, dirperms=0o2770)
            new.rename(dest)
        except OSError as error:
            self.log.error("%s is not collected (%s); collect again", src, error)
        finally:
            shutil.rmtree(new, ignore_errors=True)

    def _copy(self, src: str, new: Path) -> None:
        left_out = ignore_patterns(
            self.coursedir.ignore, self.coursedir.include, self.coursedir.max_file_size, self.log
        )
        room = 1000 * self.coursedir.max_dir_size
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
                content = _read(name, at, room)
                if content is None:
                    self.log.warning("%s is no plain file; it is left out", Path(here) / name)
                    continue
                count, room = count + 1, room - len(content)
                if count > _MOST_FILES:
                    raise OSError(f"it has more than {_MOST_FILES:,} files")
                (new / inside).mkdir(parents=True, exist_ok=True)
                (new / inside / name).write_bytes(content)


def _fail(error: OSError) -> None:
    raise error


def _read(name: str, folder: int, most: int) -> bytes | None:
    """Return what is in a file of an open folder; None if it is a link, a pipe or so."""
    mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
    if not stat.S_ISREG(mode):
        return None
    opened = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    with os.fdopen(opened, "rb") as file:
        if not stat.S_ISREG(os.fstat(opened).st_mode):
            return None
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError("it is larger than c.CourseDirectory.max_dir_size allows")
    return content


def _complete(submission: Path, time: str) -> None:
    """See that nbgrader finds what it needs: without it, no feedback of the class comes out."""
    for name in (_TIME, _SECRET):
        if (submission / name).is_dir():
            shutil.rmtree(submission / name)
    (submission / _TIME).write_text(time)  # as in the name, by which it was chosen
    secret = submission / _SECRET
    if not (secret.exists() and _IS_SECRET.fullmatch(secret.read_bytes())):
        secret.write_text(secrets.token_hex(64))  # its feedback is found by nobody
