"""A class from release to feedback in JupyterLab, as the guide `running-a-class` tells it.

Two servers, as on two machines, with one exchange folder between them: a learner's and the
instructor's. The guide has what is seen here as its pictures: `make screenshots` has them taken
anew, into the folder that MHA_SCREENSHOTS names.
"""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import nbformat
import pytest
from conftest import PATIENCE, require
from course import BOOK_URL, HEADS, REPOSITORY, cells_by_id, environment, read
from lab import TOKEN, give_comment, give_points, running_lab, write_settings
from nbgrader.api import Gradebook
from PIL import Image
from playwright.sync_api import Browser, FrameLocator, Locator, Page, expect

import mha_course
from mha_course.grading.sitting import without_markers

PICTURES = REPOSITORY / "chapters" / "_static" / "walks"
NARROW, WIDE, HEIGHT = 860, 1120, 700  # the formgrader needs more for its tables
MOST_BYTES, MOST_ON_PAGE = 60 * 1024, 400 * 1024

COURSE_ID = "multi-head-attention"
WRITTEN = HEADS.written[0]
ANSWER = "One head hands on one average. Two heads have two, side by side in columns of their own."
COMMENT = "Right. And when could one head do it all the same?"
BY_TESTS = sum(task.points for task in HEADS.autograded)


class Camera:
    """Takes the pictures of the guide; without a folder, none."""

    def __init__(self) -> None:
        folder = os.environ.get("MHA_SCREENSHOTS")
        self.folder = Path(folder) if folder else None

    def take(self, page: Page, name: str, height: int = HEIGHT) -> None:
        """Take what a page shows from its top, in few bytes."""
        if self.folder is None:
            return
        assert page.viewport_size is not None
        width = page.viewport_size["width"]
        page.mouse.move(width / 2, HEIGHT - 3)
        page.wait_for_timeout(700)  # what hovers, scrolls or fades comes to rest
        seen = page.screenshot(clip={"x": 0, "y": 0, "width": width, "height": height})
        small = io.BytesIO()
        Image.open(io.BytesIO(seen)).convert("RGB").save(small, "WEBP", quality=70, method=6)
        assert small.tell() <= MOST_BYTES
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / f"{name}.webp").write_bytes(small.getvalue())

    def sign(self) -> None:
        """Write what the pictures were taken of."""
        if self.folder is not None:
            taken = versions() | {"date": datetime.now(UTC).date().isoformat()}
            text = json.dumps(taken, indent=1) + "\n"
            (self.folder / "versions.json").write_text(text, encoding="utf-8")


def versions() -> dict[str, str]:
    """Return the versions of what the pictures show."""
    shown = {name: version(name) for name in ("jupyterlab", "nbgrader")}
    return {**shown, "mha_course": mha_course.__version__}


class Lab(NamedTuple):
    """Somebody's JupyterLab, and a page with it."""

    folder: Path
    page: Page

    def choose(self, menu: str, item: str) -> None:
        """Choose from the menus at the top."""
        self.page.get_by_role("menuitem", name=menu, exact=True).click()
        self.page.get_by_role("menuitem", name=item).first.click()

    def toggle_files(self) -> None:
        """Show or hide the list of files on the left."""
        self.page.keyboard.press("Control+b")


@contextmanager
def opened_lab(folder: Path, scratch: Path, browser: Browser, width: int) -> Iterator[Lab]:
    """Run a JupyterLab for one person, with a home of their own."""
    quiet = {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false"}}
    write_settings(scratch, quiet)
    with running_lab(folder, environment(scratch), scratch / "lab.log") as url:
        page = browser.new_page(viewport={"width": width, "height": HEIGHT})
        page.set_default_timeout(PATIENCE)
        page.goto(f"{url}/lab?token={TOKEN}&reset")
        page.locator(".jp-Launcher").wait_for()
        yield Lab(folder, page)
        page.close()


class Class(NamedTuple):
    """An instructor and a learner who has nothing yet."""

    instructor: Lab
    learner: Lab
    exchange: Path
    run: Callable[..., str]


@pytest.fixture
def trial(tmp_path: Path, browser: Browser) -> Iterator[Class]:
    """The trial of the guide, with two of its labs open."""
    require("bwrap", hint="install bubblewrap")
    scratch = {who: tmp_path / f"home-{who}" for who in ("instructor", "ada")}
    for home in scratch.values():
        home.mkdir()

    def run(*command: str, cwd: Path = REPOSITORY) -> str:
        done = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=cwd,
            env=environment(scratch["instructor"]),
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    folder = tmp_path / "trial"
    run("mha_course.cli", "trial-class", str(folder))
    with (
        opened_lab(folder / "course", scratch["instructor"], browser, WIDE) as instructor,
        opened_lab(folder / "ada", scratch["ada"], browser, NARROW) as learner,
    ):
        yield Class(instructor, learner, folder / "exchange", run)


@pytest.mark.slow
def test_a_class_from_release_to_feedback(trial: Class) -> None:
    camera = Camera()
    instructor, learner = trial.instructor, trial.learner
    release(instructor, camera)
    fetch(learner, camera)
    solve_one_task(learner, camera)
    solve_the_rest(learner)
    submit_twice(learner, trial.exchange, camera)
    collect(instructor)
    autograde(instructor, camera)
    grade_by_hand(instructor, camera)
    give_back(instructor)
    read_feedback(learner, camera)
    export(trial)
    camera.sign()


def formgrader(instructor: Lab) -> FrameLocator:
    """Open the formgrader anew."""
    page = instructor.page
    if page.locator("iframe").count():
        page.locator(".lm-TabBar-tab", has_text="Formgrader").locator(
            ".lm-TabBar-tabCloseIcon"
        ).click()
        expect(page.locator("iframe")).to_have_count(0)
    instructor.choose("Nbgrader", "Formgrader")
    frame = page.frame_locator("iframe")
    row_of(frame, "heads").wait_for()
    return frame


def row_of(frame: FrameLocator, name: str) -> Locator:
    """Return the row of an assignment or a student in one of the formgrader's tables."""
    return frame.locator("tbody tr", has_text=name)


def press(frame: FrameLocator, name: str, button: str, says: str) -> None:
    """Press a button of the formgrader, and wait until it says that all went well."""
    row_of(frame, name).locator(f"td.{button} a").click()
    expect(frame.locator(".modal-body")).to_contain_text(says)
    frame.locator(".modal-footer button", has_text="OK").click()
    expect(frame.locator(".modal")).to_have_count(0)


def release(instructor: Lab, camera: Camera) -> None:
    instructor.toggle_files()
    frame = formgrader(instructor)
    press(frame, "heads", "assign", "Successfully created the student version of 'heads'")
    press(frame, "heads", "release", "Successfully released 'heads'")
    expect(row_of(frame, "heads")).to_contain_text("released")
    camera.take(instructor.page, "release", 580)


def fetch(learner: Lab, camera: Camera) -> None:
    learner.toggle_files()
    learner.choose("Nbgrader", "Assignment List")
    button = learner.page.get_by_role("button", name="Fetch", exact=True)
    button.wait_for()
    camera.take(learner.page, "fetch", 330)
    button.click()
    learner.page.locator(".assignment-notebooks-link", has_text="heads").click()
    learner.page.locator(".nested_list_item a", has_text="heads").click()
    expect(learner.page.get_by_text("| Idle")).to_be_visible()
    learner.page.locator(".jp-Notebook .jp-Cell", has_text="How to work").wait_for()


def solve_one_task(learner: Lab, camera: Camera) -> None:
    """Get it wrong, read what the test says, mend it."""
    page = learner.page
    cells = page.locator(".jp-Notebook .jp-CodeCell")

    def run(cell: Locator, source: str = "") -> None:
        cell.locator(".cm-content").click()
        if source:
            page.keyboard.press("Control+a")
            page.keyboard.insert_text(source)
        page.keyboard.press("Shift+Enter")

    run(cells.filter(has_text="import math"))
    answer = cells.filter(has_text="d_model is 1024, and there are 16 heads")
    test = cells.filter(has_text="def check_width")
    run(answer, "d_k = 1024 * 16\nd_k_base = 512 * 8")
    run(test)
    expect(test).to_contain_text("d_k is wrong: 16384.")
    expect(test).to_contain_text("Likely mistake: That is d_model·h. The heads share d_model")
    expect(test).to_contain_text(
        f"{BOOK_URL}/chapters/cutting-d-model-into-heads.html#d-model-over-h"
    )
    cells.filter(has_text="d_k = 1024 * 16").evaluate("cell => cell.scrollIntoView()")
    camera.take(page, "mistake", 640)

    run(cells.filter(has_text="d_k = 1024 * 16"), "d_k = 1024 // 16\nd_k_base = 512 // 8")
    run(test)
    expect(test).to_contain_text("Task 1: the tests in this cell pass.")
    page.locator(".jp-NotebookPanel-toolbar").get_by_text("Validate", exact=True).click()
    dialog = page.locator(".jp-Dialog", has_text="Validation Results")
    expect(dialog).to_contain_text("Likely mistake: The task is not done yet.")
    dialog.locator(".jp-mod-accept").click()
    learner.choose("File", "Close and Shut Down Notebook")
    page.locator(".jp-Dialog .jp-mod-accept").click()
    expect(page.locator(".jp-NotebookPanel")).to_have_count(0)


def solve_the_rest(learner: Lab) -> None:
    """Fill in by file what would be typed; what was typed is there."""
    file = learner.folder / "heads" / "heads.ipynb"
    notebook = read(file)
    solved = cells_by_id(read(REPOSITORY / "solutions" / "heads" / "heads.ipynb"))
    typed = cells_by_id(notebook)["d_k_of_1024_by_16"].source
    assert typed == "d_k = 1024 // 16\nd_k_base = 512 // 8"
    for name, cell in cells_by_id(notebook).items():
        if cell.metadata.nbgrader.solution and cell.source != typed:
            code = cell.cell_type == "code"
            cell.source = without_markers(solved[name].source) if code else ANSWER
    nbformat.write(notebook, file)


def submit_twice(learner: Lab, exchange: Path, camera: Camera) -> None:
    """Submit a notebook in which a task is undone again, then the whole one."""
    file = learner.folder / "heads" / "heads.ipynb"
    whole = file.read_text("utf-8")
    file.write_text(whole.replace("1024 // 16", "1024 * 16"), "utf-8")
    page = learner.page
    times = page.locator("#submitted_assignments_list .nested_list_item")
    submit = page.get_by_role("button", name="Submit", exact=True)
    submit.click()
    expect(times).to_have_count(1)
    file.write_text(whole, "utf-8")
    page.locator(".assignment-notebooks-link", has_text="heads").click()
    page.locator(".nested_list_item").get_by_role("button", name="Validate").click()
    dialog = page.locator(".jp-Dialog", has_text="Validation Results")
    expect(dialog).to_contain_text("Success! Your notebook passes all the tests.")
    dialog.locator(".jp-mod-accept").click()
    submit.click()
    expect(times).to_have_count(2)
    camera.take(page, "submitted", 400)
    assert len(list((exchange / COURSE_ID / "inbound").glob("ada+heads+*"))) == 2


def collect(instructor: Lab) -> None:
    frame = formgrader(instructor)
    press(frame, "heads", "collect", "Successfully collected submissions of 'heads'")
    expect(row_of(frame, "heads").locator("td.num-submissions")).to_have_text("1")
    (taken,) = (instructor.folder / "submitted").glob("*/*/heads.ipynb")
    assert taken.parts[-3] == "ada"
    assert "1024 // 16" in taken.read_text(), "the newer of the two counts"


def autograde(instructor: Lab, camera: Camera) -> None:
    frame = formgrader(instructor)
    row_of(frame, "heads").locator("td.num-submissions a").click()
    press(frame, "ada", "autograde", "Successfully autograded")
    expect(row_of(frame, "ada")).to_contain_text("needs manual grading")
    score = re.compile(rf"{BY_TESTS}\s*/\s*{HEADS.points}")
    expect(row_of(frame, "ada")).to_contain_text(score)
    camera.take(instructor.page, "autograded", 480)


def grade_by_hand(instructor: Lab, camera: Camera) -> None:
    frame = formgrader(instructor)
    page = instructor.page
    frame.get_by_role("link", name="Manual Grading").click()
    row_of(frame, "heads").get_by_role("link", name="heads").click()
    frame.get_by_role("heading", name="Manual Grading").wait_for()
    expect(frame.get_by_text("Notebook ID")).to_be_visible()
    row_of(frame, "heads").get_by_role("link", name="heads").click()
    # its own grades come after the page; what is written before them is lost
    with page.expect_response(lambda answer: "/api/comments" in answer.url and answer.ok):
        frame.get_by_role("link", name="Submission #1").click()
    page.wait_for_load_state("networkidle")
    for task in HEADS.written:
        give_points(page, frame, task.name, "1")
    give_comment(page, frame, WRITTEN.name, COMMENT)
    rubric = frame.get_by_text("For you who grade, and not in the feedback:").first
    expect(rubric).to_be_visible()
    expect(frame.get_by_role("cell", name="One head returns one average").first).to_be_visible()
    expect(frame.get_by_text("Model answer", exact=True).first).to_be_visible()
    frame.locator(f"input.score#{WRITTEN.name}").evaluate(
        "field => { field.closest('.cell').scrollIntoView(); window.scrollBy(0, -90); }"
    )
    camera.take(page, "written", 660)


def give_back(instructor: Lab) -> None:
    frame = formgrader(instructor)
    press(frame, "heads", "generate-feedback", "Successfully generated feedback of 'heads'")
    press(frame, "heads", "release-feedback", "Successfully released feedback of 'heads'")


def read_feedback(learner: Lab, camera: Camera) -> None:
    page = learner.page
    page.get_by_role("button", name="Fetch Feedback", exact=True).click()
    there = page.get_by_text("(view feedback)")
    expect(there).to_have_count(1)  # on the newer of the two
    there.click()
    page.locator(".jp-DirListing-item", has_text="heads.html").dblclick()
    frame = page.frame_locator(".jp-HTMLViewer iframe")
    by_hand = len(HEADS.written)
    total = f"heads (Score: {BY_TESTS + by_hand:.1f} / {HEADS.points:.1f})"
    expect(frame.get_by_text(total).first).to_be_visible()
    learner.toggle_files()
    frame.get_by_text(COMMENT).scroll_into_view_if_needed()
    camera.take(page, "feedback", 600)
    text = frame.locator("body").inner_text()
    assert COMMENT in text
    assert ANSWER in text
    for secret in ("HIDDEN TESTS", "drawn(", "Model answer", "For you who grade"):
        assert secret not in text


def export(trial: Class) -> None:
    """Write what Canvas takes: the grade of who is graded, and nobody else's."""
    name = "--exporter=mha_course.classroom.export.CanvasExporter"
    said = trial.run("nbgrader", "export", name, "--to=canvas.csv", cwd=trial.instructor.folder)
    assert "they have handed in nothing: 'bob', 'cy'" in said
    table = (trial.instructor.folder / "canvas.csv").read_text("utf-8-sig")
    points = BY_TESTS + len(HEADS.written)
    assert f'"Lovelace, Ada",,,ada,,{points}' in table
    with Gradebook(f"sqlite:///{trial.instructor.folder / 'gradebook.db'}") as gradebook:
        assert gradebook.find_submission("heads", "ada").score == points


def test_the_pictures_are_of_the_versions_that_are_pinned() -> None:
    """Red after an upgrade: run `make screenshots`, and look at them."""
    taken = json.loads((PICTURES / "versions.json").read_text("utf-8"))
    pins = (REPOSITORY / ".ci" / "constraints.txt").read_text("utf-8").split()
    for name in ("jupyterlab", "nbgrader"):
        assert f"{name}=={taken[name]}" in pins, f"{name} was {taken[name]}: make screenshots"
    assert taken["mha_course"] == mha_course.__version__, "make screenshots"


def test_the_pictures_are_small_and_all_of_them_are_in_the_guide() -> None:
    guide = (REPOSITORY / "chapters" / "running-a-class.md").read_text("utf-8")
    shown = re.findall(r"```\{image\} _static/walks/([a-z-]+)\.webp\n(.*?)```", guide, re.DOTALL)
    pictures = {file.stem: file for file in PICTURES.glob("*.webp")}
    assert sorted(name for name, _ in shown) == sorted(pictures)
    for name, options in shown:
        alt = re.search(r"^ *:alt: (.{40,})$", options, re.MULTILINE)
        assert alt, f"{name}: what is seen, for who does not see it"
        with Image.open(pictures[name]) as picture:
            assert picture.width <= 1280
        assert pictures[name].stat().st_size <= MOST_BYTES
    assert sum(file.stat().st_size for file in pictures.values()) <= MOST_ON_PAGE
