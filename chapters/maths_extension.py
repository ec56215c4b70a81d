"""Sphinx extension: formulas are set when the book is built, and no page loads MathJax.

MathJax is the largest thing that a page would load: 262 KiB of script and 100 KiB of fonts, which
set the formulas after the text, so that lines move. Here the same MathJax runs once, in QuickJS.
The pages get its drawings, and for screen readers its MathML.
"""

from __future__ import annotations

import html
import json
import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import quickjs
from built_pages import change_pages
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

STYLE = "_static/maths.css"
_PARTS = {
    "core": "core",
    "adaptors/liteDOM": "adaptors/liteDOM",
    "input/tex-base": "input/tex-base",
    "[tex]/ams": "input/tex/extensions/ams",
    "output/svg": "output/svg",
}
_FONT = "output/svg/fonts/tex"
_STACK = 4 * 2**20  # nested environments need more than the 256 KiB of old; Python has 8 MiB
_START = """
const files = FILES, complaints = [];
globalThis.console = { log() {}, info() {}, warn: (...all) => complaints.push(all.join(" ")) };
console.error = console.warn;
globalThis.MathJax = {
    startup: { typeset: false },
    loader: {
        load: PARTS,
        paths: { mathjax: "" },
        require: (address) => { (0, eval)(files[address]); return {}; },
        failed: (error) => complaints.push(String(error)),
    },
    svg: { fontCache: "global" },
    tex: { packages: ["base", "ams"], formatError: (_, error) => { throw Error(error.message); } },
};
"""
_SETTER = """
globalThis.mhaDraw = (tex, display) =>
    MathJax.startup.adaptor.outerHTML(MathJax.tex2svg(tex, { display }));
globalThis.mhaSay = (tex, display) => MathJax.tex2mml(tex, { display });
globalThis.mhaGlyphs = () =>
    MathJax.startup.adaptor.innerHTML(MathJax.startup.document.outputJax.fontCache.getCache());
globalThis.mhaStyle = () =>
    MathJax.startup.adaptor.textContent(MathJax.svgStylesheet());
"""

# What Sphinx and MyST write: \\(…\\) or \\[…\\], where a number may stand before it, or an amsmath
# environment as it is
_FORMULA = re.compile(
    r'(?P<tag><(?P<kind>span|div) class="(?:amsmath )?math[ "][^>]*>\s*'
    r'(?:<span class="eqno">.*?</span>)?)'
    r"(?P<tex>\\\(.*?\\\)|\\\[.*?\\\]|\\begin\{.*?)\s*</(?P=kind)>",
    re.DOTALL,
)
_UNSET = re.compile(r'<(?:span|div) class="(?:amsmath )?math[ "][^>]*>[^<]*\\[(\[b][^<]*')
_GLYPH = re.compile(r'<path id="([^"]+)"[^>]*></path>')
# What only scripts of MathJax would look at; a drawing that is hidden needs no role
_REST = re.compile(
    r' (?:data-(?:c|mml-node|mjx-[\w-]+)|role|focusable|xmlns(?::xlink)?|unselectable)="[^"]*"'
)

# Letters a little bolder, as MathJax has them; what is said, out of sight
_OWN_STYLE = """
mjx-container {
  position: relative;
}
mjx-container[jax="SVG"] use {
  stroke-width: 3;
}
mjx-assistive-mml {
  position: absolute;
  top: 0;
  left: 0;
  width: 1px;
  height: 1px;
  overflow: hidden;
  clip-path: inset(50%);
  white-space: nowrap;
}
.mha-glyphs {
  display: none;
}
"""


class Formulas:
    """MathJax in QuickJS.

    Raises:
        ExtensionError: MathJax did not start.
    """

    def __init__(self) -> None:
        folder = _folder()
        files = {
            f"/{file}.js": (folder / f"{file}.js").read_text(encoding="utf-8")
            for file in (*_PARTS.values(), _FONT)
        }
        self._js = quickjs.Context()
        self._js.set_max_stack_size(_STACK)
        start = _START.replace("FILES", json.dumps(files)).replace("PARTS", json.dumps([*_PARTS]))
        self._js.eval(start)
        self._js.eval((folder / "startup.js").read_text(encoding="utf-8"))
        while self._js.execute_pending_job():
            pass
        self._js.eval(_SETTER)
        if self._js.eval("typeof MathJax.tex2svg") != "function" or self._complaints():
            raise ExtensionError(f"MathJax did not start: {self._complaints()}")

    @cache  # noqa: B019  one lives as long as it takes to go through the pages
    def set(self, tex: str, display: bool) -> str:
        """Return a formula as HTML, which needs `glyphs` on the page and `style`.

        Raises:
            ValueError: it is no formula.
        """
        given = f"({json.dumps(tex)}, {json.dumps(display)})"
        try:
            drawing, said = self._js.eval(f"mhaDraw{given}"), self._js.eval(f"mhaSay{given}")
        except quickjs.JSException as wrong:
            raise ValueError(f"{tex!r} is no formula: {str(wrong).splitlines()[0]}") from None
        drawing = _REST.sub("", drawing).replace("xlink:href", "href")
        drawing = drawing.replace("<svg ", '<svg aria-hidden="true" ', 1)
        if display:  # too wide for a phone, it scrolls, with arrow keys as well
            drawing = drawing.replace("<mjx-container ", '<mjx-container tabindex="0" ', 1)
        said = re.sub(r">\s+<", "><", _REST.sub("", said))
        end = "</mjx-container>"
        return f"{drawing.removesuffix(end)}<mjx-assistive-mml>{said}</mjx-assistive-mml>{end}"

    def glyphs(self, page: str) -> str:
        """Return the letters that the formulas on a page are drawn with."""
        used = set(re.findall(r'href="#(MJX-[^"]+)"', page))
        paths = [
            found[0] for found in _GLYPH.finditer(self._js.eval("mhaGlyphs()")) if found[1] in used
        ]
        return f'<svg class="mha-glyphs" aria-hidden="true"><defs>{"".join(paths)}</defs></svg>'

    def style(self) -> str:
        """Return the style sheet of formulas."""
        style: str = self._js.eval("mhaStyle()")
        return style + _OWN_STYLE

    def _complaints(self) -> str:
        complaints: str = self._js.eval('complaints.join("; ")')
        return complaints


@cache
def _folder() -> Path:
    """Return the folder of MathJax's components: the package's name is no name of a module."""
    found = find_spec("sphinx-mathjax-offline")
    if found is None or found.origin is None:
        raise ExtensionError("MathJax is missing: pip install sphinx-mathjax-offline")
    return Path(found.origin).parent / "static" / "mathjax"


def set_page(text: str, formulas: Formulas, style: str) -> str:
    """Return a page with its formulas set.

    Args:
        text: HTML as Sphinx writes it.
        formulas: Sets them.
        style: Address of the style sheet.

    Raises:
        ValueError: a formula is none, or is written in a way that this extension does not know.
    """

    def drawn(found: re.Match[str]) -> str:
        tex = html.unescape(found["tex"])
        display = not tex.startswith(r"\(")
        if not tex.startswith(r"\begin"):
            tex = tex[2:-2]
        return f"{found['tag']}{formulas.set(tex.strip(), display)}</{found['kind']}>"

    page, number = _FORMULA.subn(drawn, text)
    if unknown := _UNSET.search(page):
        raise ValueError(f"a formula in a form that is not known: {unknown[0]!r}")
    if not number:
        return text
    page = page.replace("</head>", f'<link rel="stylesheet" href="{style}" />\n</head>', 1)
    return re.sub(r"<body[^>]*>", lambda tag: f"{tag[0]}\n{formulas.glyphs(page)}", page, count=1)


def set_formulas(folder: Path) -> None:
    """Set the formulas of all pages in a folder.

    Raises:
        ExtensionError: a formula cannot be set.
    """
    formulas = Formulas()

    def with_formulas(file: Path, page: str) -> str:
        up = "../" * (len(file.relative_to(folder).parts) - 1)
        try:
            return set_page(page, formulas, f"{up}{STYLE}")
        except ValueError as wrong:
            raise ExtensionError(f"{file.name}: {wrong}") from wrong

    change_pages(folder, with_formulas)
    Path(folder, STYLE).write_text(formulas.style(), encoding="utf-8")


def finish(app: Sphinx, error: Exception | None) -> None:
    """Set all formulas once the pages are written."""
    if error is None and app.builder.format == "html":
        set_formulas(Path(app.outdir))


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("build-finished", finish)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
