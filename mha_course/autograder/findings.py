"""What an instructor should look at."""

from __future__ import annotations

from typing import NamedTuple


class Finding(NamedTuple):
    """Something that an instructor should look at. It takes no points away.

    Attributes:
        kind: What it is, in kebab-case: `test-edited`.
        says: One sentence.
        cell: grade_id of the cell; empty for the notebook as a whole.
    """

    kind: str
    says: str
    cell: str = ""
