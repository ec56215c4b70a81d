"""Sphinx extension: icons are drawn in the pages, and the script with all 2,000 of them goes.

The theme loads Font Awesome as a script of 1.5 MB, which looks for `<i class="fa-…">` and draws a
handful of icons, later than all the rest. Here the same drawings stand in the pages from the start.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

SCRIPT = "scripts/fontawesome.js"
_TAG = re.compile(
    r'<i class="(?P<classes>[^"]*\bfa[bsr]?\b[^"]*|[^"]*\bfa-solid\b[^"]*)"[^>]*></i>'
)
_LOADED = re.compile(rf"<(?:script|link)\b[^>]*{re.escape(SCRIPT)}[^>]*>(?:</script>)?\s*")
_STYLES = {"fa", "fas", "far", "fab", "fa-solid", "fa-regular", "fa-brands", "fa-lg", "fa-fw"}


def draw_icons(app: Sphinx, error: Exception | None) -> None:
    """Put the drawings into all pages, and leave the script out.

    Raises:
        LookupError: a page asks for an icon that the theme does not have.
    """
    if error is not None or app.builder.name != "html":
        return
    static = Path(app.outdir, "_static")
    script = static / SCRIPT
    if not script.exists():  # done by an earlier build, of which this is a part
        return
    drawings = script.read_text(encoding="utf-8")
    for file in Path(app.outdir).rglob("*.html"):
        text = file.read_text(encoding="utf-8")
        drawn = _TAG.sub(lambda tag: _svg(tag["classes"], drawings), _LOADED.sub("", text))
        if drawn != text:
            file.write_text(drawn, encoding="utf-8")
    for rest in script.parent.glob("fontawesome.js*"):
        rest.unlink()


def _svg(classes: str, drawings: str) -> str:
    """Return the drawing of an icon, as the script would make it."""
    names = [
        word.removeprefix("fa-")
        for word in classes.split()
        if word.startswith("fa-") and word not in _STYLES
    ]
    name = re.escape(names[0])
    rest = r'"\w+","([^"]*)"\]'
    own = rf'[{{,]"?{name}"?:\[(\d+),(\d+),\[[^\]]*\],{rest}'
    other = rf':\[(\d+),(\d+),\[[^\]]*"{name}"[^\]]*\],{rest}'  # a name of earlier versions
    found = re.findall(own, drawings) or re.findall(other, drawings)
    if not found:
        raise LookupError(f"the theme has no icon {names[0]!r}")
    width, height, path = found[-1]  # outlines come before what is filled
    return (
        f'<svg class="svg-inline--fa {classes}" aria-hidden="true" focusable="false" '
        f'viewBox="0 0 {width} {height}"><path fill="currentColor" d="{path}"></path></svg>'
    )


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("build-finished", draw_icons)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
