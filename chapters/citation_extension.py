"""Sphinx extension: how to cite the course, from the file that says so to machines.

    ```{how-to-cite}
    ```

shows what CITATION.cff has, as a sentence and as BibTeX.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from mha_course.pdf.citation import authors

FILE = Path(__file__).parents[1] / "CITATION.cff"


def sentence(given: dict[str, Any], site: str) -> str:
    """Return the citation as a reader would write it.

    Args:
        given: What CITATION.cff has.
        site: Address of the book; may be empty.
    """
    where = f" {site}" if site else ""
    return (
        f"{', '.join(authors(given))} ({given['date-released'].year}). {given['title']}, "
        f"version {given['version']}.{where}"
    )


def bibtex(given: dict[str, Any], site: str) -> str:
    """Return the citation as BibTeX.

    Args:
        given: What CITATION.cff has.
        site: Address of the book; may be empty.
    """
    people = given["authors"]
    fields = {
        # braces keep the name of a group in one piece
        "author": " and ".join(
            f"{{{name}}}" if "name" in one else name
            for one, name in zip(people, authors(given), strict=True)
        ),
        "title": f"{{{given['title']}}}",
        "year": given["date-released"].year,
        "version": given["version"],
        "url": site,
    }
    lines = "".join(f"  {name} = {{{value}}},\n" for name, value in fields.items() if value)
    return f"@software{{mha_course,\n{lines}}}"


class HowToCite(SphinxDirective):
    """The citation on a page."""

    def run(self) -> list[nodes.Node]:
        """Return the sentence and the BibTeX."""
        self.env.note_dependency(str(FILE))
        given = yaml.safe_load(FILE.read_text(encoding="utf-8"))
        site = self.config.html_baseurl
        shown = sentence(given, site)
        entry = bibtex(given, site)
        return [
            nodes.paragraph(shown, shown),
            nodes.literal_block(entry, entry, language="bibtex"),
        ]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.add_directive("how-to-cite", HowToCite)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
