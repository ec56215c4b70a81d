"""Notebooks to download, and the button that opens a page in JupyterLab."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import nbformat
import pytest
from notebook_extension import UNKNOWN, Rest, notebook, shows_code
from playwright.sync_api import Browser
from publishing_extension import HUB, LAB, REPOSITORY, add_jupyterlab_button, in_jupyterlab
from sphinx.errors import ConfigError

from mha_course import course_folder
from mha_course.experiments.sources import Source

ROOT = Path(__file__).parents[2]
WITH_CODE = [
    page.stem
    for page in sorted((ROOT / "chapters").glob("*.md"))
    if shows_code(page.read_text(encoding="utf-8"))
]
HEADER = "---\nkernelspec:\n  display_name: Python 3\n  name: python3\n---\n\n"
REST = Rest(
    glued={"share": "0.1234", "name": "'two heads'"},
    figures={"fig-cuts": "Fig. 3"},
    link={"notation": "https://example.org/chapters/notation.html"}.get,
    cited={"vaswani2017": Source("Vaswani et al. 2017", "https://arxiv.org/abs/1706.03762")},
    home="https://example.org/chapters/page.html",
    repository="https://example.org/someone/course",
)
LEFT_OVER = re.compile(r"\{[\w:]+\}`|^[`:]{3,}\s*\{|^\([\w-]+\)=$", re.MULTILINE)


@pytest.fixture(autouse=True)
def no_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (HUB, LAB, REPOSITORY):
        monkeypatch.delenv(name, raising=False)


# What is made of a page --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("myst", "markdown"),
    [
        ("(target)=\n## Title", "## Title"),
        ("{glue:text}`share:.2f` and {glue:text}`name`", "0.12 and two heads"),
        ("{glue:text}`gone`", UNKNOWN),
        ("A {term}`head` and {term}`its width <d_head>`.", "A head and its width."),
        ("See {numref}`fig-cuts`.", "See Fig. 3."),
        (
            "[Notation](notation), {ref}`it <notation>`, [there](elsewhere), [x](https://x.org/a:b)",
            "[Notation](https://example.org/chapters/notation.html), "
            "[it](https://example.org/chapters/notation.html), there, [x](https://x.org/a:b)",
        ),
        (
            "```{admonition} A {term}`tip`\n:class: tip\nOne.\n\n- two\n```",
            "> **A tip**\n>\n> One.\n>\n> - two",
        ),
        (
            "````{grid} 1 1 3 3\n:gutter: 3\n\n```{grid-item-card} Learn\nRead.\n```\n````",
            "**Learn**\n\nRead.",
        ),
        (":::{div} names\n| a | b |\n| - | - |\n:::", "| a | b |\n| - | - |"),
        (
            "So it is {footcite}`vaswani2017`.\n\n```{footbibliography}\n```",
            "So it is [Vaswani et al. 2017].\n\n"
            "- [Vaswani et al. 2017](https://arxiv.org/abs/1706.03762)",
        ),
    ],
)
def test_myst_becomes_markdown(myst: str, markdown: str) -> None:
    cells = notebook(HEADER + myst, REST).cells
    assert "\n\n".join(cell.source for cell in cells[2:]) == markdown


def test_what_the_page_does_not_show_is_folded_and_captions_stay() -> None:
    cell = "```{code-cell} python3\n"
    page = (
        f"{HEADER}{cell}1\n```\n\n{cell}:tags: [remove-cell]\n\n2\n```\n\n{cell}---\n"
        "tags: [hide-input]\nmystnb:\n  figure:\n    name: fig-cuts\n    caption: A *cut*.\n"
        "---\n3\n```\n\n:::{question} What?\n- This.\n\n  Right.\n:::\n"
    )
    made = notebook(page, REST)
    assert [cell.source for cell in made.cells[2:]] == ["1", "2", "3", "Fig. 3: A *cut*."]
    assert [dict(cell.metadata) for cell in made.cells[2:5]] == [
        {},
        {"jupyter": {"source_hidden": True}},
        {"jupyter": {"source_hidden": True}},
    ]
    assert "https://example.org/someone/course" in made.cells[0].source
    assert "https://example.org/someone/course" in made.cells[1].source
    nbformat.validate(made)
    assert notebook(page, REST) == made, "the same page makes the same file"


def test_it_begins_with_the_folder_of_the_course(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = notebook(HEADER, Rest()).cells[1].source
    monkeypatch.chdir(tmp_path)
    exec(start, {})
    assert Path.cwd() == ROOT / "chapters"

    monkeypatch.setitem(sys.modules, "mha_course.course_folder", None)
    with pytest.raises(ModuleNotFoundError, match=r"not installed for this kernel. .*make lab"):
        exec(start, {})


def test_without_the_folder_it_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # a package without the rest of the course, as pip installs it
    monkeypatch.setattr(course_folder, "__file__", str(tmp_path / "site-packages/m/folder.py"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"Get the whole course, .*make lab"):
        course_folder.enter_chapters()
    data = tmp_path / "course" / "chapters" / "data"
    data.mkdir(parents=True)
    shutil.copy(ROOT / "chapters" / "data" / "ledger.yml", data)
    monkeypatch.chdir(tmp_path / "course")
    course_folder.enter_chapters()
    assert Path.cwd() == data.parent


# The button for JupyterLab -----------------------------------------------------------------------


def test_a_hub_fetches_the_course_and_opens_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(HUB, "https://hub.example.org/teaching/")
    monkeypatch.setenv(REPOSITORY, "https://git.example.org/someone/heads.git")
    url = urlsplit(in_jupyterlab("chapters/notation"))
    assert url.netloc == "hub.example.org"
    assert url.path == "/teaching/hub/user-redirect/git-pull"
    assert parse_qs(url.query, strict_parsing=True) == {
        "repo": ["https://git.example.org/someone/heads.git"],
        "branch": ["main"],
        "targetpath": ["heads"],
        "urlpath": ["lab/tree/heads/chapters/notation.md"],
    }


def test_a_hub_needs_a_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(HUB, "https://hub.example.org")
    with pytest.raises(ConfigError, match="MHA_REPOSITORY_URL is not: the hub fetches"):
        in_jupyterlab("chapters/notation")
    monkeypatch.setenv(HUB, "hub.example.org")
    with pytest.raises(ConfigError, match="is no address; it looks like https://"):
        in_jupyterlab("chapters/notation")


def test_ones_own_jupyterlab_has_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LAB, "http://localhost:8888")
    assert in_jupyterlab("chapters/start") == "http://localhost:8888/lab/tree/chapters/start.md"


def test_there_is_no_button_that_leads_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    def buttons(context: dict[str, object]) -> object:
        context["header_buttons"] = []
        add_jupyterlab_button(None, "chapters/notation", "", context, None)
        return context["header_buttons"]

    notebook_page = {"ipynb_source": "chapters/notation.ipynb"}
    assert buttons(notebook_page) == []
    monkeypatch.setenv(HUB, "https://hub.example.org")
    monkeypatch.setenv(REPOSITORY, "https://example.org/someone/course")
    (button,) = buttons(notebook_page)
    assert "&amp;urlpath=" in button["url"]
    assert buttons({}) == [], "the page is no notebook"


# On the pages ------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", WITH_CODE)
def test_a_page_with_code_has_a_notebook_without_left_overs(site: Path, page: str) -> None:
    made = nbformat.read(site / "_sources" / "chapters" / f"{page}.ipynb", as_version=4)
    nbformat.validate(made)
    for cell in made.cells:
        if cell.cell_type == "markdown":
            assert UNKNOWN not in cell.source
            assert not LEFT_OVER.search(cell.source)
    html = (site / "chapters" / f"{page}.html").read_text(encoding="utf-8")
    assert f'href="../_sources/chapters/{page}.ipynb" download' in html
    assert f"_sources/chapters/{page}.md" not in html


def test_other_pages_have_none(site: Path) -> None:
    for page in (site / "chapters").glob("*.html"):
        made = (site / "_sources" / "chapters" / f"{page.stem}.ipynb").exists()
        assert made == (page.stem in WITH_CODE), page.stem


def test_the_button_downloads_a_notebook(
    browser: Browser, site: Path, published: str, tmp_path: Path
) -> None:
    page = browser.new_page()
    page.goto(f"{published}/chapters/notation.html")
    page.get_by_role("button", name="Download this page").click()
    with page.expect_download() as waited:
        page.get_by_role("link", name=".ipynb").click()
    assert waited.value.suggested_filename == "notation.ipynb"
    waited.value.save_as(tmp_path / "notation.ipynb")
    assert page.locator(".btn-jupyterlab-button").count() == 0
    page.close()
    kept = (site / "_sources" / "chapters" / "notation.ipynb").read_bytes()
    assert (tmp_path / "notation.ipynb").read_bytes() == kept
