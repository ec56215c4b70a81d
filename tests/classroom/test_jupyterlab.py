"""What the instructor does in formgrader, with friendly and hostile submissions.

`test_walk` has the way from release to feedback.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import nbformat
import pytest
from conftest import PATIENCE
from course import RELEASE, WRITTEN, Course, cells_by_id, read, submission
from lab import TOKEN, running_lab
from nbgrader.api import Gradebook
from playwright.sync_api import Browser, Page, expect
from students import STUDENTS

pytestmark = pytest.mark.slow

RUN = "document.body.dataset.ran=1"
SCRIPT = f"<script>{RUN}</script>"


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
    course.nbgrader("generate_assignment", "heads", "--force")
    course.hand_in("ada", done)
    hostile = submission(read(RELEASE), solution, STUDENTS["complete"])
    cells_by_id(hostile)[WRITTEN[0]].source = f"A mean. <img src=x onerror='{RUN}'>{SCRIPT}"
    hostile.cells.append(nbformat.v4.new_markdown_cell(SCRIPT))
    hostile.cells.append(nbformat.v4.new_raw_cell(SCRIPT))
    course.hand_in("mallory", hostile)

    log = tmp_path_factory.mktemp("log") / "lab.log"
    with running_lab(folder, course.env, log) as url:
        yield Lab(course, url)


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    page.set_default_timeout(PATIENCE)
    yield page
    page.close()


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
