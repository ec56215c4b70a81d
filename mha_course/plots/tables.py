"""Small tables of results, shown as the last value of a cell."""

from __future__ import annotations

from collections.abc import Sequence

from IPython.display import Markdown


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> Markdown:
    """Markdown table; floats are shown with three digits after the point.

    Raises:
        ValueError: a row has not as many cells as the header.

    >>> print(table(["h", "share"], [[1, 0.5]]).data)
    | h | share |
    | --- | --- |
    | 1 | 0.500 |
    """
    lines = [header, ["---"] * len(header)]
    for row in rows:
        if len(row) != len(header):
            raise ValueError(f"row {list(row)} has {len(row)} cells, the header {len(header)}")
        lines.append([f"{c:.3f}" if isinstance(c, float) else str(c) for c in row])
    return Markdown("\n".join("| " + " | ".join(cells) + " |" for cells in lines))
