"""Sphinx extension of the book: keeps scripts off the pages that a reader does not need."""

from __future__ import annotations

from typing import Any

from sphinx.application import Sphinx

# sphinx-thebe adds its scripts even when it is switched off, and they throw;
# require.js comes from a CDN and serves classic notebook widgets, of which we have none.
UNWANTED = ("thebe", "require.min.js", "html-manager", "jupyter-widgets")


def drop_unwanted(
    _app: Sphinx, _page: str, _template: str, context: dict[str, Any], _doctree: object
) -> None:
    """Remove scripts and styles whose file name is on the list."""
    for kind in ("script_files", "css_files"):
        files = context.get(kind)
        if files:
            context[kind] = [f for f in files if not _is_unwanted(f)]


def _is_unwanted(file: Any) -> bool:
    inline = getattr(file, "attributes", {}).get("body", "")
    where = f"{file.filename} {inline}".lower()
    return any(word in where for word in UNWANTED)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("html-page-context", drop_unwanted, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
