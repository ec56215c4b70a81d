"""A learner alone, from the site to their progress, as the guide `running-a-class` tells it."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from course import HEADS
from lab import TOKEN
from playwright.sync_api import Browser, Page, expect
from test_walk import NARROW, Camera, Lab, opened_lab, solve_one_task

from mha_course.bundle import TOP

pytestmark = pytest.mark.slow

KEPT = ("heads", "counting")  # to run all six would take a minute, and show nothing else


def unpacked(page: Page, book: str, folder: Path) -> Path:
    """Download the exercises from the page of the book, and unpack them."""
    page.goto(f"{book}/chapters/exercises.html")
    with page.expect_download() as waiting:
        page.get_by_role("link", name="Download the exercises").click()
    waiting.value.save_as(folder / "exercises.zip")
    with zipfile.ZipFile(folder / "exercises.zip") as packed:
        packed.extractall(folder)
    return folder / TOP


def progress(folder: Path) -> list[str]:
    """Return the lines of `mha-course progress`."""
    command = [sys.executable, "-m", "mha_course.cli", "progress"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_from_the_site_to_ones_progress(
    browser: Browser, published: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = browser.new_page()
    folder = unpacked(page, published, tmp_path)
    names = {one.name for one in (folder / "exercises").iterdir()}
    assert set(KEPT) < names
    # the package of the bundle, not the one of this repository
    monkeypatch.setenv("PYTHONPATH", str(folder))
    scratch = tmp_path / "home"
    scratch.mkdir()
    with opened_lab(folder, scratch, browser, NARROW) as lab:
        open_notebook(lab, "exercises/heads/heads.ipynb")
        solve_one_task(lab, Camera())

    for name in names - set(KEPT):
        for file in (folder / "exercises" / name).iterdir():
            file.unlink()
        (folder / "exercises" / name).rmdir()
    monkeypatch.setenv("MHA_BOOK_URL", published)
    said = progress(folder)
    of_heads = next(line for line in said if line.startswith("heads"))
    assert f" 1 of {len(HEADS.tasks)} tasks" in of_heads
    second = HEADS.tasks[1]
    assert any(f"next: {second.number} · {second.title}" in line for line in said)

    label, _, link = said[-1].partition(": ")
    assert label == "in the book"
    page.goto(link)
    row = page.locator("tr").filter(has=page.locator("th").get_by_text("heads", exact=True))
    expect(row).to_contain_text(f"1 of {len(HEADS.tasks)}")
    expect(row).to_contain_text(f"{second.number} · {second.title}")
    page.close()


def open_notebook(lab: Lab, path: str) -> None:
    """Open a notebook in a JupyterLab that runs."""
    start = lab.page.url.partition("/lab")[0]
    lab.page.goto(f"{start}/lab/tree/{path}?token={TOKEN}&reset")
    expect(lab.page.get_by_text("| Idle")).to_be_visible()
    lab.page.locator(".jp-Notebook .jp-Cell", has_text="How to work").wait_for()
