"""How to cite the course: what the book shows is what CITATION.cff says."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from bs4 import BeautifulSoup
from citation_extension import FILE, bibtex, sentence
from pybtex.database import parse_string

GIVEN: dict[str, Any] = {
    "title": "A course",
    "authors": [
        {"name": "The group"},
        {"family-names": "Beek", "given-names": "Ada van der"},
    ],
    "version": "1.2",
    "date-released": date(2031, 5, 4),
}


def test_bibtex_keeps_people_apart_and_a_group_in_one_piece() -> None:
    entry = parse_string(bibtex(GIVEN, "https://example.org/"), "bibtex").entries["mha_course"]
    group, person = entry.persons["author"]
    assert str(group) == "{The group}"
    assert (person.last_names, person.first_names) == (["Beek"], ["Ada"])
    assert entry.fields["title"] == "{A course}"
    assert (entry.fields["year"], entry.fields["version"]) == ("2031", "1.2")
    assert entry.fields["url"] == "https://example.org/"


def test_without_an_address_there_is_none() -> None:
    assert "url" not in bibtex(GIVEN, "")
    assert sentence(GIVEN, "") == "The group, Ada van der Beek (2031). A course, version 1.2."
    assert sentence(GIVEN, "https://example.org/").endswith("version 1.2. https://example.org/")


def test_the_book_shows_what_the_file_says(site: Path) -> None:
    given = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    text = (site / "chapters" / "references.html").read_text(encoding="utf-8")
    section = BeautifulSoup(text, "html.parser").select_one("#how-to-cite-this-course")
    if section is None:
        pytest.fail("the references do not say how to cite the course")
    shown = section.get_text()
    address = BeautifulSoup(text, "html.parser").select_one("link[rel=canonical]")
    base = str(address["href"]).removesuffix("chapters/references.html") if address else ""
    assert bibtex(given, base) in shown
    assert sentence(given, base) in shown
