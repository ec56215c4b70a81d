"""The questions of a chapter in JupyterLab, which knows no directives."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from IPython.display import HTML

from mha_course.widgets.live import BOOK, MODULES, bundle

QUESTION = re.compile(r"^:::\{(?:number-)?question\}.*?^:::$", re.DOTALL | re.MULTILINE)
"""A question of a self-check, whole, in the text of a chapter."""

_ROLE = re.compile(r"\{(numref|ref|term|doc)\}`([^`<]*?)(?:\s*<[^`>]*>)?`")


def self_check(page: str, *, folder: Path = Path()) -> HTML | None:
    """Show the questions of a chapter that is open as a notebook; JupyterLab knows no directives.

    It is HTML and no widget, so that JupyterLab sets its formulas, and so that the questions can be
    opened where no kernel runs. In the book there is nothing to show: the page has them.

    Args:
        page: The chapter, by its file's name without ".md".
        folder: Where it lies, as that or as a notebook.
    """
    if os.environ.get(BOOK):
        return None
    questions = QUESTION.findall(_text(folder, page))
    if not questions:
        return HTML(
            f"<p>There are no questions in {page}.md or {page}.ipynb in {folder.resolve()}. "
            "Open the chapter from its own folder, or see the page of the book.</p>"
        )
    module = json.dumps(bundle("quiz")).replace("</", "<\\/")
    style = (MODULES / "quiz.css").read_text(encoding="utf-8")
    # JupyterLab takes keys such as Enter for itself, unless the element says not to
    return HTML(
        f"<style>{style}</style><div data-lm-suppress-shortcuts=true>"
        f"{_rendered(questions, page)}</div><script>(async (el) => {{"
        f"const blob = new Blob([{module}], {{type: 'text/javascript'}});"
        "const {default: module} = await import(URL.createObjectURL(blob));"
        "module.render({ el });"
        "})(document.currentScript.previousElementSibling.querySelector('.mha-quiz'))</script>"
    )


def _text(folder: Path, page: str) -> str:
    source, notebook = folder / f"{page}.md", folder / f"{page}.ipynb"
    if source.exists():
        return source.read_text(encoding="utf-8")
    if notebook.exists():
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        texts = ("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
        return "\n\n".join(texts)
    return ""


def _rendered(questions: Sequence[str], page: str) -> str:
    """Turn questions into HTML, without Sphinx: a reference becomes its text."""
    # heavy, and for this alone
    from docutils import nodes
    from docutils.core import publish_doctree, publish_from_doctree
    from docutils.parsers.rst import directives
    from myst_parser.parsers.docutils_ import Parser, SimpleTranslator, SimpleWriter

    from mha_course.widgets import quiz

    def plain(role: re.Match[str]) -> str:
        return f"the figure `{role[2]}`" if role[1] == "numref" else role[2]

    directives.register_directive("question", quiz.ChoiceQuestion)
    directives.register_directive("number-question", quiz.NumberQuestion)
    text = _ROLE.sub(plain, "\n\n".join(questions))
    settings = {
        "myst_enable_extensions": ["colon_fence", "dollarmath"],
        "math_output": "MathJax -",  # JupyterLab has one, and sets formulas
        "doctitle_xform": False,
        "output_encoding": "unicode",
    }
    tree = publish_doctree(
        text, source_path=f"{page}.md", parser=Parser(), settings_overrides=settings
    )
    quiz.SelfChecks(tree).apply()
    for literal in tree.findall(nodes.literal):
        literal["classes"].append("code")  # without it, a span
    visitors = {"visit_Tag": quiz.open_tag, "depart_Tag": quiz.close_tag}
    writer: Any = SimpleWriter()
    writer.translator_class = type("Translator", (SimpleTranslator,), visitors)
    rendered: str = publish_from_doctree(tree, writer=writer, settings_overrides=settings)
    return rendered
