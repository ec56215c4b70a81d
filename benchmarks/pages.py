"""Weight, layout shift and first paint of every page of the built book.

    make book && python -m benchmarks.pages               # a table of all pages
    python -m benchmarks.pages --json FILE                 # also write every number to FILE
    python -m benchmarks.pages --folder _build/html        # another build

Each page is opened by a reader who comes for the first time, with a phone: 360 pixels wide, and a
processor four times slower than this one. The server compresses as static hosts do. Exit code 1 if
a page is over its budget.
"""

from __future__ import annotations

import argparse
import gzip
import mimetypes
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import torch
from playwright.sync_api import Browser, sync_playwright

from benchmarks.timing import conditions, write_json
from mha_course import installed

MOST_BYTES, MOST_SHIFT, MOST_SECONDS = 400 * 1024, 0.05, 3.0
SLOWER = 4
SETTLED = 1500  # milliseconds without a request or a shift
_COMPRESSED = {".html", ".js", ".css", ".svg", ".json", ".txt", ".xml"}


class Visit(NamedTuple):
    """A first visit to a page.

    Attributes:
        page: Its address in the book.
        bytes: Of all that was loaded before any click, compressed.
        requests: How many files these are.
        twice: Addresses that were loaded more than once.
        shift: Cumulative layout shift.
        first_paint: Seconds until something can be read.
        largest_paint: Seconds until the largest part is there.
    """

    page: str
    bytes: int
    requests: int
    twice: tuple[str, ...]
    shift: float
    first_paint: float
    largest_paint: float

    def over(self) -> str:
        """Say which budgets it is over; nothing if none."""
        found = []
        if self.bytes > MOST_BYTES:
            found.append("weight")
        if self.twice:
            found.append(f"twice: {', '.join(self.twice)}")
        if self.shift > MOST_SHIFT:
            found.append("shift")
        if self.largest_paint > MOST_SECONDS:
            found.append("paint")
        return ", ".join(found)


def main() -> int:
    """Visit all pages and print a table."""
    options = _options()
    if not (options.folder / "index.html").exists():
        print(f"benchmarks.pages: no book in {options.folder}; run `make book`", file=sys.stderr)
        return 2
    pages = sorted(
        str(file.relative_to(options.folder))
        for file in options.folder.rglob("*.html")
        if "_static" not in file.parts and file.name != "index.html"
    )
    print(
        f"{'page':44}{'KiB':>8}{'files':>7}{'shift':>8}{'first':>8}{'largest':>9}  over", flush=True
    )
    visits = []
    with _served(options.folder) as address, sync_playwright() as playwright:
        opened = playwright.chromium.launch(
            executable_path=options.chromium, args=["--no-sandbox", "--disable-gpu"]
        )
        visit(opened, address, pages[0])  # not counted: the browser has just been started
        for page in pages:
            visits.append(visit(opened, address, page))
            print(_row(visits[-1]), flush=True)
        opened.close()
    heaviest = max(visits, key=lambda one: one.bytes)
    over = [one for one in visits if one.over()]
    print(
        f"\n{len(visits)} pages, {len(over)} over a budget (weight {MOST_BYTES // 1024} KiB, shift "
        f"{MOST_SHIFT}, largest paint {MOST_SECONDS:g} s); heaviest: {heaviest.page}"
    )
    if options.json is not None:
        where = conditions(torch.device("cpu"), 0, 1)
        write_json(options.json, {"conditions": where, "pages": [one._asdict() for one in visits]})
    return 1 if over else 0


def visit(browser: Browser, address: str, page: str) -> Visit:
    """Open a page for the first time."""
    context = browser.new_context(viewport={"width": 360, "height": 740}, device_scale_factor=2)
    opened = context.new_page()
    opened.set_default_timeout(180_000)
    protocol = context.new_cdp_session(opened)
    loaded: dict[str, str] = {}
    sizes: dict[str, float] = {}
    protocol.send("Network.enable")
    protocol.send("Emulation.setCPUThrottlingRate", {"rate": SLOWER})
    protocol.on("Network.requestWillBeSent", lambda e: _note(loaded, e))
    protocol.on(
        "Network.loadingFinished",
        lambda e: sizes.update({e["requestId"]: e["encodedDataLength"]}),
    )
    opened.add_init_script(_OBSERVE)
    opened.goto(f"{address}/{page}")
    opened.wait_for_load_state("networkidle")
    opened.wait_for_timeout(SETTLED)
    seen = opened.evaluate("window.mhaSeen")
    context.close()
    files = [url for url in loaded.values() if url.startswith("http")]
    twice = {url.rpartition("/")[2] for url in files if files.count(url) > 1}
    return Visit(
        page=page,
        bytes=round(sum(size for key, size in sizes.items() if key in loaded)),
        requests=len(files),
        twice=tuple(sorted(twice)),
        shift=seen["shift"],
        first_paint=seen["first"] / 1000,
        largest_paint=seen["largest"] / 1000,
    )


_OBSERVE = """
window.mhaSeen = {shift: 0, first: 0, largest: 0};
const watch = (type, look) => new PerformanceObserver(list => list.getEntries().forEach(look))
    .observe({type, buffered: true});
watch('layout-shift', e => { if (!e.hadRecentInput) window.mhaSeen.shift += e.value; });
watch('paint', e => {
    if (e.name === 'first-contentful-paint') window.mhaSeen.first = e.startTime;
});
watch('largest-contentful-paint', e => { window.mhaSeen.largest = e.startTime; });
"""


def _note(loaded: dict[str, str], event: dict[str, Any]) -> None:
    loaded[event["requestId"]] = event["request"]["url"]


def _row(one: Visit) -> str:
    return (
        f"{one.page:44}{one.bytes / 1024:8.0f}{one.requests:7}{one.shift:8.3f}"
        f"{one.first_paint:8.2f}{one.largest_paint:9.2f}  {one.over()}"
    ).rstrip()


@contextmanager
def _served(folder: Path) -> Iterator[str]:
    """Serve a folder on this machine alone, compressed where that helps."""

    @cache
    def body(file: Path) -> bytes:
        return gzip.compress(file.read_bytes(), 9)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # a connection serves more than one file, as on any host

        def do_GET(self) -> None:
            file = (folder / unquote(urlsplit(self.path).path).lstrip("/")).resolve()
            if not file.is_relative_to(folder.resolve()) or not file.is_file():
                self.send_error(404)
                return
            data = body(file) if file.suffix in _COMPRESSED else file.read_bytes()
            self.send_response(200)
            self.send_header("Content-Type", mimetypes.guess_type(file.name)[0] or "text/plain")
            if file.suffix in _COMPRESSED:
                self.send_header("Content-Encoding", "gzip")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.pages", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument("--folder", type=Path, default=Path("_build/html"), metavar="FOLDER")
    parser.add_argument("--chromium", default=installed.browser(), metavar="FILE")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the numbers there")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
