"""The learner's Validate button and the instructor's formgrader, in a real JupyterLab."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pytest
from course import RELEASE, WRITTEN, Course, cells_by_id, read, submission
from nbgrader.api import Gradebook
from playwright.sync_api import Browser, Page, expect
from students import STUDENTS

pytestmark = pytest.mark.slow

RUN = "document.body.dataset.ran=1"
SCRIPT = f"<script>{RUN}</script>"
TOKEN = "a-token-for-this-test"
PATIENCE = 30_000  # milliseconds: a busy machine starts a kernel and imports torch
expect.set_options(timeout=PATIENCE)


@dataclass
class Lab:
    """A running JupyterLab in the folder of a course."""

    course: Course
    url: str


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("lab")
    course = Course(folder, tmp_path_factory.mktemp("scratch"))
    solution = read(folder / "solutions" / "heads" / "heads.ipynb")
    released = folder / "exercises" / "heads" / "heads.ipynb"
    released.parent.mkdir(parents=True)
    released.write_bytes(RELEASE.read_bytes())
    done = submission(read(RELEASE), solution, STUDENTS["complete"])
    nbformat.write(done, folder / "done.ipynb")
    course.nbgrader("generate_assignment", "heads", "--force")
    course.hand_in("ada", done)
    hostile = submission(read(RELEASE), solution, STUDENTS["complete"])
    cells_by_id(hostile)[WRITTEN[0]].source = f"A mean. <img src=x onerror='{RUN}'>{SCRIPT}"
    hostile.cells.append(nbformat.v4.new_markdown_cell(SCRIPT))
    hostile.cells.append(nbformat.v4.new_raw_cell(SCRIPT))
    course.hand_in("mallory", hostile)

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = (tmp_path_factory.mktemp("log") / "lab.log").open("w+")
    server = subprocess.Popen(
        [
            *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"),
            *("--ip=127.0.0.1", f"--port={port}", "--ServerApp.port_retries=0"),
            *(f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={folder}"),
        ],
        cwd=folder,
        env=course.env,
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(120):
            try:
                urllib.request.urlopen(f"{url}/api?token={TOKEN}", timeout=5)
                break
            except OSError:
                assert server.poll() is None, f"JupyterLab ended:\n{Path(log.name).read_text()}"
                time.sleep(0.5)
        yield Lab(course, url)
    finally:
        server.terminate()
        server.wait(timeout=30)
        log.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    page.set_default_timeout(PATIENCE)
    yield page
    page.close()


def validate(page: Page, lab: Lab, notebook: str) -> str:
    """Open a notebook, press Validate, and return what the dialog says."""
    page.goto(f"{lab.url}/lab/tree/{notebook}?token={TOKEN}&reset")
    expect(page.get_by_text("| Idle")).to_be_visible()
    page.locator(".jp-NotebookPanel-toolbar").get_by_text("Validate", exact=True).click()
    dialog = page.locator(".jp-Dialog", has_text="Validation Results")
    dialog.wait_for()
    return dialog.inner_text()


def test_validate_names_the_mistake_of_a_task_not_done(page: Page, lab: Lab) -> None:
    said = validate(page, lab, "exercises/heads/heads.ipynb")

    assert "The following cell failed" in said
    assert "Likely mistake: The task is not done yet." in said
    assert "cutting-d-model-into-heads.html#d-model-over-h" in said


def test_validate_is_content_with_a_complete_notebook(page: Page, lab: Lab) -> None:
    assert "Success! Your notebook passes all the tests." in validate(page, lab, "done.ipynb")


def test_formgrader_grades_a_submission_by_its_button(page: Page, lab: Lab) -> None:
    page.goto(f"{lab.url}/login?token={TOKEN}")  # the cookie that formgrader's own requests use
    page.goto(f"{lab.url}/formgrader/manage_submissions/heads")
    row = page.locator("tr", has_text="ada")
    expect(row).to_contain_text("needs autograding")

    row.locator("td.autograde a").click()

    expect(page.locator(".modal-body")).to_contain_text("Successfully autograded")
    page.goto(f"{lab.url}/formgrader/manage_submissions/heads")
    notebook = cells_by_id(read(RELEASE))
    graded = [c.metadata.nbgrader for c in notebook.values() if c.metadata.nbgrader.grade]
    reachable = sum(cell.points for cell in graded)
    written = sum(cell.points for cell in graded if cell.solution)
    row = page.locator("tr", has_text="ada")
    expect(row).to_contain_text("needs manual grading")
    score = re.compile(rf"{reachable - written:g}\s*/\s*{reachable:g}")
    expect(row).to_contain_text(score)


def open_submission(page: Page, lab: Lab, student: str) -> None:
    """Open what a student handed in, in formgrader's manual grading."""
    with Gradebook(f"sqlite:///{lab.course.folder / 'gradebook.db'}") as gradebook:
        (notebook,) = gradebook.find_submission("heads", student).notebooks
        address = notebook.id
    # its own grades come after the page; what is written before them is lost
    with page.expect_response(lambda answer: "/api/comments" in answer.url and answer.ok):
        page.goto(f"{lab.url}/formgrader/submissions/{address}/?index=0")
    page.wait_for_load_state("networkidle")
    expect(page.locator(f"input.score#{WRITTEN[0]}")).to_be_visible()


def test_points_given_by_hand_outlive_a_regrade(page: Page, lab: Lab) -> None:
    lab.course.mha_course("grade", "heads", "--workers", "1")
    page.goto(f"{lab.url}/login?token={TOKEN}")
    open_submission(page, lab, "ada")
    written = page.locator(f"input.score#{WRITTEN[0]}")
    written.fill("2")
    with page.expect_response(lambda answer: "/api/grade/" in answer.url and answer.ok):
        written.press("Tab")
    comment = page.locator(f"textarea.comment[id^={WRITTEN[0]}]")
    comment.fill("Well said.")
    with page.expect_response(lambda answer: "/api/comment/" in answer.url and answer.ok):
        comment.press("Tab")

    lab.course.mha_course("grade", "heads", "--workers", "1", "--force")

    open_submission(page, lab, "ada")
    expect(page.locator(f"input.score#{WRITTEN[0]}")).to_have_value("2")
    expect(page.locator(f"textarea.comment[id^={WRITTEN[0]}]")).to_have_value("Well said.")


def test_what_a_learner_wrote_does_not_run_in_formgrader(page: Page, lab: Lab) -> None:
    lab.course.mha_course("grade", "heads", "--workers", "1")
    page.goto(f"{lab.url}/login?token={TOKEN}")
    open_submission(page, lab, "mallory")
    assert page.evaluate("document.body.dataset.ran") is None
    expect(page.get_by_text(SCRIPT).first).to_be_visible()


def test_feedback_shows_the_comment_and_no_hidden_test(page: Page, lab: Lab) -> None:
    lab.course.mha_course("grade", "heads", "--workers", "1")
    lab.course.nbgrader("generate_feedback", "heads", "--force")
    for student in ("ada", "mallory"):
        page.goto((lab.course.folder / "feedback" / student / "heads" / "heads.html").as_uri())
        assert page.evaluate("document.body.dataset.ran") is None
        text = page.locator("body").inner_text()
        assert "HIDDEN TESTS" not in text
        assert "drawn(" not in text
        assert "the tests in this cell pass" in text
