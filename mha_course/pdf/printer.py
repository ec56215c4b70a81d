"""Prints one page with Chromium: with an outline, and with page numbers in the contents."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from playwright.sync_api import sync_playwright
from pypdf import PdfReader

from mha_course.installed import browser

_PATIENCE = 600_000  # milliseconds; on an idle machine a book takes seconds
_NUMBER = """numbers => {
    for (const link of document.querySelectorAll(".book-contents a"))
        link.querySelector(".contents-page").textContent = numbers[link.hash.slice(1)];
}"""


class NoBrowserError(RuntimeError):
    """There is nothing to print with."""


def browser_on_path() -> str:
    """Return the path of Chromium or Chrome.

    Raises:
        NoBrowserError: there is none.
    """
    if path := browser():
        return path
    raise NoBrowserError(
        "printing needs Chromium or Chrome on PATH: apt install chromium, or install Chrome"
    )


def print_page(page_file: Path) -> bytes:
    """Print a page, with page numbers in its list of contents.

    Args:
        page_file: HTML; `pages.whole_book` makes it.

    Returns:
        A PDF.

    Raises:
        NoBrowserError: there is no Chromium.
        ValueError: the page asks for a file that is not there, or for one of another site.
    """
    problems: list[str] = []
    chromium = browser_on_path()
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=["--disable-gpu"])
        page = opened.new_page(offline=True)
        page.set_default_timeout(_PATIENCE)
        page.on("requestfailed", lambda request: problems.append(f"cannot load {request.url}"))
        page.emulate_media(media="print", color_scheme="light")
        page.goto(page_file.resolve().as_uri())
        page.evaluate("() => document.fonts.ready.then(() => null)")
        if problems:
            raise ValueError("; ".join(problems))
        # Without what makes it accessible it is printed in a third of the time
        draft = page.pdf(prefer_css_page_size=True)
        page.evaluate(_NUMBER, page_numbers(PdfReader(BytesIO(draft))))
        printed = page.pdf(
            prefer_css_page_size=True, print_background=True, outline=True, tagged=True
        )
        opened.close()
    return printed


def page_numbers(pdf: PdfReader) -> dict[str, int]:
    """Return the number of the page, from 1, on which each target of a link is."""
    return {
        name.removeprefix("/"): 1 + (pdf.get_destination_page_number(place) or 0)
        for name, place in pdf.named_destinations.items()
    }
