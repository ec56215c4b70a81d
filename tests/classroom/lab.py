"""A real JupyterLab for the tests: started in a folder, and asked for a notebook."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from playwright.sync_api import FrameLocator, Page

TOKEN = "a-token-for-this-test"


def address(url: str, notebook: str) -> str:
    """Return the address of a notebook in a JupyterLab, in a workspace as new."""
    return f"{url}/lab/tree/{quote(notebook)}?token={TOKEN}&reset"


def write_settings(home: Path, settings: Mapping[str, Mapping[str, Any]]) -> None:
    """Set what JupyterLab's settings editor sets, for a home as `course.environment` has it."""
    file = home / "config" / "labconfig" / "default_setting_overrides.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(settings))


def give_points(page: Page, form: Page | FrameLocator, task: str, points: str) -> None:
    """Type points into the form of a submission in formgrader, and wait until they are saved."""
    field = form.locator(f"input.score#{task}")
    field.scroll_into_view_if_needed()
    field.fill(points)
    with page.expect_response(lambda answer: "/api/grade/" in answer.url and answer.ok):
        field.press("Tab")


def give_comment(page: Page, form: Page | FrameLocator, task: str, comment: str) -> None:
    """Type a comment there, and wait until it is saved."""
    field = form.locator(f"textarea.comment[id^={task}]")
    field.fill(comment)
    with page.expect_response(lambda answer: "/api/comment/" in answer.url and answer.ok):
        field.press("Tab")


@contextmanager
def running_lab(folder: Path, env: Mapping[str, str], log: Path) -> Iterator[str]:
    """Run JupyterLab in a folder, and give its address.

    Args:
        folder: What it shows.
        env: Its environment, with settings that are nobody's.
        log: Where it writes what it does.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with log.open("w") as written:
        server = subprocess.Popen(
            [
                *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"),
                *("--ip=127.0.0.1", f"--port={port}", "--ServerApp.port_retries=0"),
                *(f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={folder}"),
            ],
            cwd=folder,
            env=dict(env),
            stdout=written,
            stderr=subprocess.STDOUT,
        )
        url = f"http://127.0.0.1:{port}"
        try:
            for _ in range(120):
                try:
                    urllib.request.urlopen(f"{url}/api?token={TOKEN}", timeout=5)
                    break
                except OSError:
                    assert server.poll() is None, f"JupyterLab ended:\n{log.read_text()}"
                    time.sleep(0.5)
            yield url
        finally:
            server.terminate()
            server.wait(timeout=30)
