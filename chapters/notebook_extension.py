"""Sphinx extension: each page with code can be downloaded as a notebook that runs.

The page's source is MyST, which JupyterLab does not know: roles, directives and numbers that are
put into the text at the build would stand there as they were typed. In the notebook they are plain
Markdown. It begins with a cell that goes to the folder of the course, for the measured results.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jupytext
import nbformat
from built_pages import change_pages
from nbformat import NotebookNode
from publishing_extension import REPOSITORY, SITE, address
from sphinx.application import Sphinx

from mha_course.experiments.sources import Source, sources
from mha_course.widgets.self_check import QUESTION

START = """# Goes to the folder of the course, where the measured results are
try:
    from mha_course.course_folder import enter_chapters
except ModuleNotFoundError:
    raise ModuleNotFoundError(
        "The package mha_course is not installed for this kernel. Get the course{where}, "
        "and run `make lab` in its folder; its README says how to do it without make."
    ) from None

enter_chapters()"""

UNKNOWN = "[computed below]"
"""Stands for a number of the text that no build has computed."""

_FOLDED = {"hide-input", "remove-input", "remove-cell"}
_FENCE = re.compile(
    r"^(?P<fence>`{3,}|:{3,})\{(?P<name>[\w-]+)\}[ ]*(?P<title>[^\n]*)\n"
    r"(?P<options>(?::[\w-]+:[^\n]*\n)*)(?P<body>.*?)^(?P=fence)[ ]*$",
    re.DOTALL | re.MULTILINE,
)
_LABEL = re.compile(r"^\([\w-]+\)=\n", re.MULTILINE)
_ROLE = re.compile(
    r"\{(?P<role>[\w:]+)\}`(?P<text>[^`<]*?)(?:\s*<(?P<target>[^`>]*)>)?`", re.DOTALL
)
_LINK = re.compile(r"(?<!!)\[(?P<text>[^\]]+)\]\((?P<target>[\w./#-]+)\)")
_NOTEBOOK = re.compile(r'(href="[^"]*_sources/[^"]*\.ipynb") target="_blank"')
_LATE = 502  # after the theme has made its buttons


class Rest(NamedTuple):
    """What a page takes from the rest of the book.

    Args:
        glued: Numbers of the text, as Python writes them.
        figures: Names of the figures, as in "Fig. 3".
        link: Address of a page or a label; None without one.
        cited: The sources by their keys.
        home: Address of the page; may be empty.
        repository: Where the course's source is; may be empty.
    """

    glued: Mapping[str, str] = {}
    figures: Mapping[str, str] = {}
    link: Callable[[str], str | None] = lambda _: None
    cited: Mapping[str, Source] = {}
    home: str = ""
    repository: str = ""


def notebook(text: str, rest: Rest) -> NotebookNode:
    """Return a page as a notebook of plain Markdown and code.

    Args:
        text: The page, in MyST.
        rest: Of the book.
    """
    page = jupytext.reads(text, fmt="md:myst")
    page.metadata.pop("jupytext", None)  # it would be kept in step with a file that is not there
    where = f" from {rest.repository}" if rest.repository else ""
    book = f"[the book]({rest.home})" if rest.home else "the book"
    cells = [
        nbformat.v4.new_markdown_cell(
            f"*A chapter of {book} on multi-head attention. To run it you need the course{where} "
            "on your machine, installed as its README says; this notebook may lie anywhere.*"
        ),
        nbformat.v4.new_code_cell(
            START.replace("{where}", where), metadata={"jupyter": {"source_hidden": True}}
        ),
    ]
    keys: list[str] = []
    for cell in page.cells:
        if cell.cell_type == "markdown":
            # the questions are shown by the cell before them
            if not QUESTION.search(cell.source):
                cell.source = _markdown(cell.source, rest, keys)
                cells.append(cell)
            continue
        cell.pop("attachments", None)
        tags = cell.metadata.pop("tags", [])
        figure = cell.metadata.pop("mystnb", {}).get("figure", {})
        if _FOLDED & {*tags}:
            cell.metadata["jupyter"] = {"source_hidden": True}
        cells.append(cell)
        if caption := figure.get("caption"):
            name = rest.figures.get(figure.get("name", ""), "")
            said = _markdown(f"{name}: {caption}" if name else caption, rest, keys)
            cells.append(nbformat.v4.new_markdown_cell(said))
    page.cells = [cell for cell in cells if cell.source.strip()]
    for number, cell in enumerate(page.cells):
        cell["id"] = f"cell-{number}"  # the same page makes the same file
    return page


def _markdown(text: str, rest: Rest, keys: list[str]) -> str:
    """Turn MyST into Markdown; what is cited is added to the keys."""
    text = _ROLE.sub(lambda found: _role(found, rest, keys), _LABEL.sub("", text))
    text = _FENCE.sub(lambda found: _directive(found, rest, keys), text)
    return _LINK.sub(lambda found: _link(found["text"], found["target"], rest), text).strip()


def _directive(found: re.Match[str], rest: Rest, keys: list[str]) -> str:
    if found["name"] == "footbibliography":
        cited = [rest.cited[key] for key in dict.fromkeys(keys) if key in rest.cited]
        return "\n".join(f"- [{source.label}]({source.address})" for source in cited)
    body = _markdown(found["body"], rest, keys)
    title = _markdown(found["title"], rest, keys)
    if found["name"] == "admonition":
        lines = [f"**{title}**", "", *body.splitlines()]
        return "\n".join(f"> {line}".rstrip() for line in lines)
    if found["name"].endswith("card"):
        return f"**{title}**\n\n{body}"
    return body


def _role(found: re.Match[str], rest: Rest, keys: list[str]) -> str:
    role, text, target = found["role"], found["text"], found["target"]
    if role == "glue:text":
        name, _, form = text.partition(":")
        if name not in rest.glued:
            return UNKNOWN
        value = ast.literal_eval(rest.glued[name])
        return format(value, form)
    if role == "footcite":
        own = [key.strip() for key in text.split(",")]
        keys.extend(own)
        return f"[{'; '.join(rest.cited[key].label if key in rest.cited else key for key in own)}]"
    if role == "numref":
        return rest.figures.get(text, "the figure")
    if role == "ref":
        return _link(text, target or text, rest)
    return text


def _link(text: str, target: str, rest: Rest) -> str:
    found = rest.link(target)
    return f"[{text}]({found})" if found else text


# The build ---------------------------------------------------------------------------------------


def shows_code(text: str) -> bool:
    """Whether a page has cells for its reader, open or folded: others have no use as a notebook."""
    if "\nkernelspec:" not in text or "{eval-rst}" in text:
        return False
    cells = re.findall(r"^```\{code-cell\}[^\n]*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return any(not re.search(r"remove-cell|remove-input", cell) for cell in cells)


def offer(app: Sphinx, page: str, _template: str, context: dict[str, Any], doctree: object) -> None:
    """Write the page's notebook, which the theme's button for downloads then offers."""
    if doctree is None or not context.get("page_source_suffix"):
        return
    text = Path(app.env.doc2path(page)).read_text(encoding="utf-8")
    if not shows_code(text):
        return
    file = Path(app.outdir, "_sources", f"{page}.ipynb")
    file.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook(text, _rest(app, page)), file)
    context["ipynb_source"] = f"{page}.ipynb"


def only_notebook(
    _app: Sphinx, _page: str, _template: str, context: dict[str, Any], _doctree: object
) -> None:
    """Take the source off the buttons where there is a notebook: it runs in no other folder."""
    if not context.get("ipynb_source"):
        return
    for group in context["header_buttons"]:
        if group.get("label") == "download-buttons":
            group["buttons"] = [
                one for one in group["buttons"] if one.get("label") != "download-source-button"
            ]


def download(app: Sphinx, error: Exception | None) -> None:
    """Make browsers keep notebooks: the theme's link would show the file as text."""
    if error is not None or app.builder.format != "html":
        return
    change_pages(Path(app.outdir), lambda _, page: _NOTEBOOK.sub(r"\1 download", page))


def _rest(app: Sphinx, page: str) -> Rest:
    site = address(SITE)
    glued: dict[str, str] = {}
    kept = Path(app.outdir).parent / "jupyter_execute" / f"{page}.glue.json"
    if kept.exists():
        for name, output in json.loads(kept.read_text(encoding="utf-8")).items():
            glued[name] = output["data"]["text/plain"]
    numbers = app.env.toc_fignumbers.get(page, {}).get("figure", {})
    figures = {
        name: app.config.numfig_format["figure"] % ".".join(map(str, number))
        for name, number in numbers.items()
    }
    labels = app.env.domains["std"].anonlabels

    def link(target: str) -> str | None:
        if not site:
            return None
        beside = f"{page.rpartition('/')[0]}/{target}"
        if beside in app.env.all_docs:
            return f"{site}/{beside}.html"
        if target in labels:
            document, anchor = labels[target]
            return f"{site}/{document}.html#{anchor}"
        return None

    cited = sources(Path(app.srcdir, "references.bib"))
    home = f"{site}/{page}.html" if site else ""
    return Rest(glued, figures, link, cited, home, address(REPOSITORY))


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("html-page-context", offer)
    app.connect("html-page-context", only_notebook, priority=_LATE)
    app.connect("build-finished", download)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
