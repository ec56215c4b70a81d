"""Command line: `python -m mha_course.pdf`."""

from __future__ import annotations

import argparse
import os
import sys
from datetime import date
from pathlib import Path
from urllib.parse import quote

from mha_course.pdf.pages import whole_book
from mha_course.pdf.printer import NoBrowserError, print_page

NAME = "multi-head-attention-course.pdf"


def main(given: list[str] | None = None) -> int:
    """Print the book.

    Returns:
        Exit code: 1 if there is no book or no browser.
    """
    parser = argparse.ArgumentParser(
        prog="python -m mha_course.pdf",
        description="Print the book, as `make book` left it, into one PDF.",
    )
    parser.add_argument(
        "--site", type=Path, default=Path("_build/html"), help="folder of the built book"
    )
    parser.add_argument(
        "--citation", type=Path, default=Path("CITATION.cff"), help="what the title page says"
    )
    parser.add_argument("--to", type=Path, default=Path("_build/pdf"), help="folder for the PDF")
    asked = parser.parse_args(given)
    asked.to.mkdir(parents=True, exist_ok=True)
    page = asked.to / "book.html"
    pdf = asked.to / NAME
    try:
        base = quote(Path(os.path.relpath(asked.site, asked.to)).as_posix())
        page.write_text(whole_book(asked.site, asked.citation, base, date.today()), "utf-8")
        pdf.write_bytes(print_page(page))
    except (FileNotFoundError, NoBrowserError, ValueError) as error:
        print(f"no PDF: {error}", file=sys.stderr)
        return 1
    print(f"written: {pdf}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
