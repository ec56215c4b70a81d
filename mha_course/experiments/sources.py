"""Who said it: a label and an address for each key of the book's references."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from pybtex.database import parse_file


class Source(NamedTuple):
    """How a source is named in running text, and where it is found."""

    label: str
    address: str


@cache
def sources(references: Path) -> dict[str, Source]:
    """Every source of a BibTeX file, by its key.

    Raises:
        ValueError: an entry has no author, no year, or neither DOI nor address.
    """
    entries = parse_file(str(references), bib_format="bibtex").entries
    return {key: _source(key, entry) for key, entry in entries.items()}


def _source(key: str, entry: Any) -> Source:
    authors = [_name(person) for person in entry.persons.get("author", [])]
    year = entry.fields.get("year")
    if not authors or not year:
        raise ValueError(f"{key} has no author, or no year")
    names = authors[0] if len(authors) == 1 else f"{authors[0]} et al."
    if len(authors) == 2:
        names = " and ".join(authors)
    return Source(f"{names} {year}", _address(key, entry.fields))


def _name(person: Any) -> str:
    names = [*person.prelast_names, *person.last_names]
    return " ".join(names).replace("{", "").replace("}", "")


def _address(key: str, fields: Any) -> str:
    if "doi" in fields:
        return f"https://doi.org/{fields['doi']}"
    if "eprint" in fields:
        return f"https://arxiv.org/abs/{fields['eprint']}"
    if "url" in fields:
        return str(fields["url"])
    raise ValueError(f"{key} has no doi, no eprint (its arXiv id), and no url")
