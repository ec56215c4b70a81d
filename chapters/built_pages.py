"""Pages of the built book, changed once they are written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path


def change_pages(folder: Path, change: Callable[[Path, str], str]) -> None:
    """Change the HTML of all pages; a page that stays the same is not written.

    Args:
        folder: The built book.
        change: Takes a page's file and its HTML, and returns other HTML, or the same.
    """
    for file in folder.rglob("*.html"):
        text = file.read_text(encoding="utf-8")
        changed = change(file, text)
        if changed != text:
            file.write_text(changed, encoding="utf-8")
