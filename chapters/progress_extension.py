"""Sphinx extension: the box at the end of a page where a reader's progress shows.

`_static/progress.js` does the rest. The box is on the page from the start, and takes its room, so
that nothing moves; it is out of sight until the script has found that the browser keeps things.
"""

from __future__ import annotations

from typing import Any

from sphinx.application import Sphinx

BOX = """
<div class="mha-progress d-print-none">
<label><input type="checkbox"> I have finished this page</label>
<span role="status">0 of 99 pages finished.</span>
<button type="button">Forget all</button>
<span class="mha-progress-where">Kept in this browser only.</span>
</div>
"""


def add_box(
    app: Sphinx, page: str, _template: str, context: dict[str, Any], _doctree: object
) -> None:
    """Put the box under every page of the book; the index and the search are none."""
    if app.builder.name == "html" and page in app.env.all_docs:
        context["body"] += BOX


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("html-page-context", add_box)
    app.add_js_file("progress.js", loading_method="defer")
    return {"parallel_read_safe": True, "parallel_write_safe": True}
