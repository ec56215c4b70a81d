"""Sphinx extension of the book: builds pages side by side, without scripts that no reader needs."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

from mha_course.widgets import live

# sphinx-thebe adds its scripts even when it is switched off, and they throw;
# require.js comes from a CDN and serves classic notebook widgets, of which we have none;
# MathJax comes from a CDN, too, and has done its work already: see maths_extension.
UNWANTED = ("thebe", "require.min.js", "html-manager", "jupyter-widgets", "mathjax")

# Each page needs a Python with torch, about half a gigabyte
MOST_PAGES_AT_ONCE = 4
# They do not say whether pages may be read side by side. They may: they act only when all pages
# have been read.
SAFE_BUT_SILENT = ("sphinx_jupyterbook_latex", "sphinx_multitoc_numbering")
_LIVE = re.compile(r'class="mha-live[^"]*" data-module="(\w+)"')


def read_side_by_side(app: Sphinx, _config: object) -> None:
    """Run several pages at once; `jupyter-book build` has no option for it."""
    app.parallel = min(os.cpu_count() or 1, MOST_PAGES_AT_ONCE)
    for name in SAFE_BUT_SILENT:
        app.extensions[name].parallel_read_safe = True
    # The pages compute with small matrices, and share the cores
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ[live.BOOK] = "1"


def write_in_turn(app: Sphinx, _env: BuildEnvironment) -> None:
    """Write pages one after the other: this takes seconds, and keeps the search index in order."""
    app.parallel = 1


def drop_unwanted(
    _app: Sphinx, _page: str, _template: str, context: dict[str, Any], _doctree: object
) -> None:
    """Remove scripts and styles whose file name is on the list."""
    for kind in ("script_files", "css_files"):
        files = context.get(kind)
        if files:
            context[kind] = [f for f in files if not _is_unwanted(f)]


def write_live_figures(app: Sphinx) -> None:
    """Write a classic script for each live figure, their loader, and their style.

    They do not lie in a static folder of ours: Jupyter Book loads every script there on every page.
    """
    folder = Path(app.outdir, "_static", "live")
    folder.mkdir(parents=True, exist_ok=True)
    for file in live.MODULES.glob("*.js"):
        text = file.read_text(encoding="utf-8")
        if "export default" in text:
            module = json.dumps(live.bundle(file.stem))
            text = f"(window.mhaModules ??= {{}})[{json.dumps(file.stem)}] = {module};\n"
        elif file.stem != "loader":
            continue
        (folder / file.name).write_text(text, encoding="utf-8")
    (folder / "live.css").write_text(live.style(), encoding="utf-8")
    shutil.copy(live.MODULES / "quiz.css", folder)


def add_live_figures(
    app: Sphinx, _page: str, _template: str, context: dict[str, Any], _doctree: object
) -> None:
    """Load on a page the figures that it has, and nothing on the others; carry their data out."""
    names = sorted(set(_LIVE.findall(context.get("body", ""))))
    if names:
        folder = Path(app.outdir, "_static", "live", "data")
        folder.mkdir(parents=True, exist_ok=True)

        def address(part: str) -> str:
            # named after what is in it: figures on several pages may share it
            name = f"{hashlib.sha256(part.encode()).hexdigest()[:16]}.js"
            text = f"(window.mhaData ??= {{}})[{json.dumps(name)}] = {part};\n"
            (folder / name).write_text(text, encoding="utf-8")
            link: str = context["pathto"](f"_static/live/data/{name}", resource=True)
            return link

        context["body"] = live.carry_out(context["body"], address)
    for name in [*names, "loader"] if names else []:
        app.add_js_file(f"live/{name}.js", loading_method="defer")
    if names:
        app.add_css_file("live/live.css")
    if "quiz" in names:
        app.add_css_file("live/quiz.css")


def _is_unwanted(file: Any) -> bool:
    inline = getattr(file, "attributes", {}).get("body", "")
    where = f"{file.filename} {inline}".lower()
    return any(word in where for word in UNWANTED)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("config-inited", read_side_by_side)
    app.connect("env-updated", write_in_turn)
    app.connect("builder-inited", write_live_figures)
    app.connect("html-page-context", add_live_figures)
    app.connect("html-page-context", drop_unwanted, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
