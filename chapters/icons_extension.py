"""Sphinx extension: icons are drawn in the pages, and the script with all 2,000 of them goes.

The theme loads Font Awesome as a script of 1.5 MB, which looks for `<i class="fa-…">` and for
`<span class="fa-…">`, and draws a handful of icons, later than all the rest. Here the same drawings
stand in the pages from the start. Its style sheet shows others by fonts of 180 KB; here they are
masks with the same drawings.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import quote

from built_pages import change_pages
from sphinx.application import Sphinx

SCRIPT = "scripts/fontawesome.js"
STYLES = ("styles/pydata-sphinx-theme.css", "styles/sphinx-book-theme.css")
FONTS = "vendor/fontawesome"
_TAG = re.compile(
    r'<(?P<tag>i|span) class="(?P<classes>[^"]*\bfa(?:[bsr]|-solid|-regular|-brands)?\b[^"]*)"'
    r"(?P<rest>[^>]*)></(?P=tag)>"
)
_LOADED = re.compile(rf"<(?:script|link)\b[^>]*{re.escape(SCRIPT)}[^>]*>(?:</script>)?\s*")
_STYLES = {"fa", "fas", "far", "fab", "fa-solid", "fa-regular", "fa-brands", "fa-lg", "fa-fw"}
# In the style sheets
_FONT_FACE = re.compile(r"@font-face\{[^}]*Font Awesome[^}]*\}")
_NAMED = re.compile(r'(?:\.fa-[\w-]+:{1,2}before,?)+\{content:"[^"]*"\}')
_VARIABLE = re.compile(r'(--pst-(?:icon|breadcrumb)-[\w-]+):"([^"]+)"')
_SHOWN = re.compile(r"content:var\((--pst-(?:icon|breadcrumb)-[\w-]+)\)")
_ARROW = re.compile(r'content:"(\\f\w{3})";font-family:Font Awesome\\ 6 Free;font-weight:900')
_IN_FONT = re.compile(r"font:var\(--fa-font-(?:solid|brands)\)")
_MASK = (
    "background:currentColor;display:inline-block;height:1em;line-height:1;"
    "mask-position:center;mask-repeat:no-repeat;mask-size:contain;min-width:1em"
)


def draw_icons(app: Sphinx, error: Exception | None) -> None:
    """Put the drawings into all pages, and leave the script out.

    Raises:
        LookupError: a page asks for an icon that the theme does not have.
    """
    if error is not None or app.builder.format != "html":
        return
    static = Path(app.outdir, "_static")
    script = static / SCRIPT
    if not script.exists():  # done by an earlier build, of which this is a part
        return
    drawings = script.read_text(encoding="utf-8")

    def drawn(_: Path, page: str) -> str:
        return _TAG.sub(
            lambda tag: _svg(tag["classes"], tag["rest"], drawings), _LOADED.sub("", page)
        )

    change_pages(Path(app.outdir), drawn)
    for name in STYLES:
        sheet = static / name
        sheet.write_text(
            _without_fonts(sheet.read_text(encoding="utf-8"), drawings), encoding="utf-8"
        )
    shutil.rmtree(static / FONTS)
    for rest in script.parent.glob("fontawesome.js*"):
        rest.unlink()


def _svg(classes: str, attributes: str, drawings: str) -> str:
    """Return the drawing of an icon, as the script would make it."""
    hidden = "" if "aria-hidden" in attributes else ' aria-hidden="true"'
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
        f'<svg class="svg-inline--fa {classes}"{attributes}{hidden} '
        f'viewBox="0 0 {width} {height}"><path fill="currentColor" d="{path}"></path></svg>'
    )


def _without_fonts(style: str, drawings: str) -> str:
    """Return a style sheet that shows icons as masks."""
    style = _NAMED.sub("", _FONT_FACE.sub("", style))
    style = _VARIABLE.sub(lambda found: f"{found[1]}:{_mask(found[2], drawings)}", style)
    style = _SHOWN.sub(r'content:"";mask-image:var(\1)', style)
    style = _ARROW.sub(
        lambda found: f'content:"";mask-image:{_mask(found[1], drawings)};{_MASK}', style
    )
    return _IN_FONT.sub(_MASK, style)


def _mask(letter: str, drawings: str) -> str:
    """Return the drawing of the icon that has this letter in the fonts."""
    code = letter.removeprefix("\\") if letter.startswith("\\") else f"{ord(letter):x}"
    found = re.findall(rf':\[(\d+),(\d+),\[[^\]]*\],"{code}","([^"]*)"\]', drawings)
    if not found:
        raise LookupError(f"the theme has no icon with the letter {code}")
    width, height, path = found[-1]
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">'
        f'<path d="{path}"/></svg>'
    )
    return f'url("data:image/svg+xml,{quote(svg)}")'


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("build-finished", draw_icons)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
