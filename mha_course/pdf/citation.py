"""What CITATION.cff says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def authors(cited: Mapping[str, Any]) -> list[str]:
    """Return the names of all authors, people and others."""
    return [
        author.get("name") or f"{author['given-names']} {author['family-names']}"
        for author in cited["authors"]
    ]
