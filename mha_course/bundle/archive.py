"""Zip files that are the same, byte by byte, whenever their contents are."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

from mha_course.whole_file import write_whole

_WHEN = (1980, 1, 1, 0, 0, 0)
_READABLE = 0o644  # by everybody, and written by its owner


def write_zip(file: Path, top: str, contents: Mapping[str, bytes]) -> None:
    """Write a zip file; it is complete or it is not there.

    Args:
        file: Where to write it.
        top: Name of the folder that everything in it is in.
        contents: What is in it, by path in that folder.
    """
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in sorted(contents.items()):
            entry = zipfile.ZipInfo(f"{top}/{path}", _WHEN)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = _READABLE << 16
            archive.writestr(entry, content)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, packed.getvalue())
