"""Files that are whole at any moment: the old one or the new one, never a part."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

READABLE = 0o644


def write_whole(file: Path, content: bytes, mode: int = READABLE) -> None:
    """Write a file, or replace it.

    Args:
        file: In a folder that exists.
        content: All of it.
        mode: Its rights.

    Raises:
        OSError: it cannot be written; what was there before is still there.
    """
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}-")
    try:
        with os.fdopen(descriptor, "wb") as written:
            written.write(content)
        os.chmod(name, mode)
        os.replace(name, file)
    except BaseException:
        os.unlink(name)
        raise
