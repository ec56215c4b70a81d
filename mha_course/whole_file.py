"""Files that are whole at any moment: the old one or the new one, never a part."""

from __future__ import annotations

import os
import secrets
import stat
from contextlib import suppress
from functools import partial
from pathlib import Path


def write_whole(file: Path, content: bytes, mode: int | None = None) -> None:
    """Write a file, or replace it.

    Args:
        file: In a folder that exists.
        content: All of it.
        mode: Its rights. By default those of the file that it replaces; a new file has those that
            any program gives to it here.

    Raises:
        OSError: it cannot be written; what was there before is still there.
    """
    if mode is None:
        with suppress(FileNotFoundError):
            mode = stat.S_IMODE(file.stat().st_mode)
    name = file.with_name(f".{file.name}-{secrets.token_hex(4)}")
    first = 0o666 if mode is None else 0o600  # of which the umask takes away
    written = open(name, "xb", opener=partial(os.open, mode=first))  # noqa: SIM115, closed below
    try:
        with written:
            written.write(content)
            written.flush()
            os.fsync(written.fileno())  # else a machine that stops may leave an empty file
        if mode is not None:
            os.chmod(name, mode)
        os.replace(name, file)
    except BaseException:
        with suppress(FileNotFoundError):  # it may be in its place already
            os.unlink(name)
        raise
