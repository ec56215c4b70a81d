"""A class on JupyterHub: its whole way, and what students try to look at that is not theirs.

The hub is the one that `make hub` starts, with real accounts. The tests go on from one another: a
class hands in and gets its feedback once, and then everybody looks around.
"""

from __future__ import annotations

import json
import os
import pwd
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import nbformat
import pytest
import websocket
from course import RELEASE, REPOSITORY, SOLUTION, WRITTEN, cells_by_id, read, submission
from lab import give_comment, give_points
from playwright.sync_api import Browser, Page, expect
from points import TABLE
from students import STUDENTS
from trial import LONGEST, Trial, ask, require_hub, running_trial

from deploy.view import inside
from mha_course.grading.sitting import without_markers

pytestmark = pytest.mark.slow

COURSE_ID = "multi-head-attention"
EDITED = "head_dim"
"""The task that ada solves in her browser."""
COMMENT = "Well said, ada."
SECRET = "this is for grace alone"
LOOKS = Path(__file__).with_name("looks_around.py")


@pytest.fixture(scope="module")
def trial() -> Iterator[Trial]:
    with running_trial("ada", "grace") as trial:
        yield trial
        made = [trial.account(who) for who in ("ada", "grace", "teacher", "course", "proxy")]
        assert {*made} <= {one.pw_name for one in pwd.getpwall()}
    left = {one.pw_name for one in pwd.getpwall()}.intersection(made)
    assert not left, "accounts that were not removed"
    assert not trial.folder.exists()


@pytest.fixture(scope="module")
def pages(trial: Trial, browser: Browser) -> Iterator[dict[str, Page]]:
    """Everybody's own browser, logged in; the servers start at the same time."""
    opened = {who: trial.open(browser, who) for who in ("teacher", "ada", "grace")}
    yield opened
    for page in opened.values():
        page.context.close()


def manage(trial: Trial, page: Page, column: str, student: str = "") -> None:
    """Press a button of formgrader's, and read that it went well."""
    where = "manage_submissions/heads" if student else "manage_assignments"
    page.goto(f"{trial.url}/services/course/formgrader/{where}")
    row = page.locator("tr").filter(has=page.get_by_text(student or "heads", exact=True))
    row.locator(f"td.{column} a").click()
    expect(page.locator(".modal-body").last).to_contain_text("Successfully")


def list_assignments(trial: Trial, who: str, page: Page) -> None:
    page.goto(f"{trial.url}/user/{trial.account(who)}/lab?reset")
    page.get_by_role("menuitem", name="Nbgrader", exact=True).click()
    page.get_by_role("menuitem", name="Assignment List").click()
    page.locator("#released_assignments_list").wait_for()


def press(page: Page, which: str, button: str) -> None:
    """Press a button in one of the lists of nbgrader's assignment list."""
    page.locator(f"#{which}_assignments_list").get_by_role("button", name=button).click()


def notebook_of(trial: Trial, who: str) -> Path:
    return trial.home(who) / "heads" / "heads.ipynb"


def solve(trial: Trial, who: str, student: str, *, but: str = "") -> None:
    """Fill in somebody's notebook, all of it but one task."""
    fetched = read(notebook_of(trial, who))
    solved = submission(fetched, read(SOLUTION), STUDENTS[student])
    if but:
        cells_by_id(solved)[but].source = cells_by_id(fetched)[but].source
    trial.write_as(who, notebook_of(trial, who), nbformat.writes(solved))


def open_notebook(trial: Trial, who: str, page: Page) -> None:
    page.goto(f"{trial.url}/user/{trial.account(who)}/lab/tree/heads/heads.ipynb?reset")
    expect(page.get_by_text("| Idle")).to_be_visible()


def validate(page: Page) -> str:
    page.locator(".jp-NotebookPanel-toolbar").get_by_text("Validate", exact=True).click()
    dialog = page.locator(".jp-Dialog", has_text="Validation Results")
    dialog.wait_for()
    said = dialog.inner_text()
    dialog.get_by_role("button", name="OK").click()
    return said


def edit_in_the_browser(page: Page, task: str, source: str) -> None:
    """Write into a cell as a person does. Validate saves it.

    To save and validate at once is no test of ours: where the first save has not come back when
    the second looks at the file, JupyterLab asks about a file that has changed, and waits.
    """
    stub = cells_by_id(read(RELEASE))[task].source.splitlines()[0]
    cell = page.locator(".jp-CodeCell").filter(has_text=stub).first.locator(".cm-content")
    cell.click()
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.insert_text(source)


def in_the_terminal(trial: Trial, page: Page, command: str) -> None:
    """Type a command into a terminal of the course's JupyterLab; it must go well."""
    page.goto(f"{trial.url}/services/course/lab?reset")
    page.locator(".jp-LauncherCard").get_by_text("Terminal", exact=True).click()
    page.locator(".jp-Terminal .xterm-helper-textarea").wait_for()
    ended = trial.folder / "course" / "ended"
    page.keyboard.type(f"{command}; echo $? > {ended}\n")
    until = time.monotonic() + LONGEST
    while not (ended.exists() and ended.read_text().strip()):
        assert time.monotonic() < until, f"{command} does not end"
        time.sleep(0.2)
    assert ended.read_text().strip() == "0", command


def forge(trial: Trial) -> None:
    """As ada: hand in what is not hers, later than everybody."""
    inbound = trial.folder / "exchange" / COURSE_ID / "inbound"
    later = "2099-01-01 00:00:00.000000 UTC"
    script = f"""
        cd '{inbound}'
        hand_in() {{ mkdir "$1"; echo x > "$1/submission_secret.txt"; chmod -R a+rX "$1"; }}
        hand_in '{trial.account("grace")}+heads+{later}+forged'
        hand_in '{trial.account("ada")}+heads+whenever+odd'
        ln -s '{trial.home("grace")}' '{trial.account("ada")}+heads+{later}+linked'
    """
    trial.run_as("ada", "bash", "-c", script)


def test_a_student_fetches_solves_validates_and_submits(
    trial: Trial, pages: dict[str, Page]
) -> None:
    # before the first release: whoever has made it could prevent one
    assert (trial.folder / "exchange" / COURSE_ID).owner() == trial.account("course")
    teacher = pages["teacher"]
    teacher.wait_for_url("**/services/course/formgrader**")
    manage(trial, teacher, "assign")
    manage(trial, teacher, "release")
    for who, student in (("ada", "complete"), ("grace", "half_done")):
        page = pages[who]
        list_assignments(trial, who, page)
        expect(page.get_by_role("menuitem", name="Formgrader")).to_have_count(0)
        press(page, "released", "Fetch")
        expect(page.locator("#fetched_assignments_list")).to_contain_text("heads")
        solve(trial, who, student, but=EDITED if who == "ada" else "")
        open_notebook(trial, who, page)
        if who == "grace":
            assert "Likely mistake: The task is not done yet." in validate(page)
        else:
            answer = without_markers(cells_by_id(read(SOLUTION))[EDITED].source)
            edit_in_the_browser(page, EDITED, answer)
            assert "Success! Your notebook passes all the tests." in validate(page)
            assert cells_by_id(read(notebook_of(trial, who)))[EDITED].source == answer
        list_assignments(trial, who, page)
        press(page, "fetched", "Submit")
        expect(page.locator("#submitted_assignments_list")).to_contain_text("heads")


def test_the_instructor_collects_and_grades(trial: Trial, pages: dict[str, Page]) -> None:
    forge(trial)
    teacher = pages["teacher"]

    manage(trial, teacher, "collect")

    said = teacher.locator(".modal-body").last.inner_text()
    assert f"in the name of {trial.account('grace')}; it is left out" in said
    assert "has an odd name; it is left out" in said
    assert "is no folder; it is left out" in said
    submitted = trial.folder / "course" / "submitted"
    for who in ("ada", "grace"):
        taken = submitted / trial.account(who) / "heads" / "heads.ipynb"
        assert taken.read_bytes() == notebook_of(trial, who).read_bytes()
    manage(trial, teacher, "autograde", trial.account("ada"))
    in_the_terminal(trial, teacher, "mha-course grade heads")
    manage(trial, teacher, "collect")  # again, and nothing changes

    teacher.goto(f"{trial.url}/services/course/formgrader/manage_submissions/heads")
    for who, student in (("ada", "complete"), ("grace", "half_done")):
        row = teacher.locator("tr", has_text=trial.account(who))
        expect(row).to_contain_text("needs manual grading")
        points = TABLE[student][-1]
        expect(row).to_contain_text(re.compile(rf"{points:g}\s*/\s*[\d.]+"))


def test_a_written_answer_is_graded_by_hand_and_comes_back(
    trial: Trial, pages: dict[str, Page]
) -> None:
    teacher = pages["teacher"]
    course = f"{trial.url}/services/course/formgrader"
    found = teacher.request.get(f"{course}/api/submitted_notebooks/heads/heads").json()
    (notebook,) = (one["id"] for one in found if one["student"] == trial.account("ada"))
    # its own grades come after the page; what is written before them is lost
    with teacher.expect_response(lambda one: "/api/comments" in one.url and one.ok):
        teacher.goto(f"{course}/submissions/{notebook}/?index=0")
    teacher.wait_for_load_state("networkidle")
    give_points(teacher, teacher, WRITTEN[0], "2")
    give_comment(teacher, teacher, WRITTEN[0], COMMENT)
    manage(trial, teacher, "generate-feedback")
    manage(trial, teacher, "release-feedback")

    shown = {}
    for who in ("ada", "grace"):
        page = pages[who]
        list_assignments(trial, who, page)
        press(page, "submitted", "Fetch Feedback")
        page.locator("#submitted_assignments_list").get_by_text("(view feedback)").click()
        (feedback,) = trial.home(who).glob("heads/feedback/*/heads.html")
        inside_home = feedback.relative_to(trial.home(who))
        page.goto(f"{trial.url}/user/{trial.account(who)}/lab/tree/{quote(str(inside_home))}")
        frame = page.frame_locator("iframe").first
        expect(frame.locator("body")).to_contain_text("the tests in this cell pass")
        shown[who] = frame.locator("body").inner_text()
    assert COMMENT in shown["ada"]
    assert COMMENT not in shown["grace"]
    for who, points in (("ada", TABLE["complete"][-1] + 2), ("grace", TABLE["half_done"][-1])):
        assert f"heads (Score: {points:.1f} / " in shown[who]
    assert all("HIDDEN TESTS" not in one for one in shown.values())


def speak(trial: Trial, who: str) -> None:
    """Have somebody's kernel print for half a minute, as a notebook does that runs."""
    token = token_of(trial, who)
    server = f"/user/{trial.account(who)}/api/kernels"
    kernel = json.loads(ask(f"{trial.url}{server}", token, {"name": "python3"}).text)["id"]
    spoken = websocket.create_connection(
        f"{trial.url.replace('http', 'ws')}{server}/{kernel}/channels",
        header=[f"Authorization: token {token}"],
        timeout=60,
    )
    code = f"import time\nfor _ in range(300): print({SECRET!r}, flush=True); time.sleep(0.1)"
    header = {"msg_id": "1", "msg_type": "execute_request", "version": "5.3", "session": "1"}
    message = {
        "header": header | {"username": "", "date": "2026-01-01T00:00:00Z"},
        "parent_header": {},
        "metadata": {},
        "content": {"code": code, "silent": False, "store_history": False},
        "channel": "shell",
    }
    spoken.send(json.dumps(message))
    while SECRET not in spoken.recv():
        pass
    spoken.close()


def environment_of(trial: Trial, who: str) -> dict[str, str]:
    """Return what somebody's server was told by the hub, and anybody on it can read."""
    found = Path(f"/proc/{min(trial.processes(who))}/environ").read_bytes().decode()
    return dict(one.split("=", 1) for one in found.split("\0") if "=" in one)


def token_of(trial: Trial, who: str) -> str:
    return environment_of(trial, who)["JUPYTERHUB_API_TOKEN"]


def listening(trial: Trial, who: str) -> list[int]:
    """Return the ports at which somebody's processes listen."""
    uid = str(pwd.getpwnam(trial.account(who)).pw_uid)
    lines = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    return [int(one[1].split(":")[1], 16) for one in lines if one[3] == "0A" and one[7] == uid]


def private(trial: Trial) -> tuple[list[Path], list[Path]]:
    """Return the files and the folders that are not for students, as they are now."""
    folder = trial.folder
    exchange = folder / "exchange" / COURSE_ID
    rest = [one for one in folder.iterdir() if one.name not in ("home", "exchange")]
    homes = [one for one in (folder / "home").iterdir() if one != trial.home("ada")]
    hers = [one for one in exchange.glob("feedback/*") if COMMENT in one.read_text()]
    tops = [*rest, *homes, *(set(exchange.glob("feedback/*")) - set(hers))]
    everything = [one for top in tops for one in (top, *top.rglob("*"))]
    checkout = [REPOSITORY / one for one in ("solutions", "tests", "exercises", ".git", ".ci")]
    everything += [one for top in checkout for one in (top, *top.glob("*"))]
    files = [one for one in everything if one.is_file() and not one.is_symlink()]
    closed = [one for one in everything if one.is_dir()]
    return files, [*closed, folder, folder / "home", exchange / "inbound", exchange / "feedback"]


def released(trial: Trial) -> list[str]:
    """Return what students get, and may read but not change."""
    course = trial.folder / "exchange" / COURSE_ID
    found = [course, course / "outbound", *(course / "outbound").rglob("*")]
    assert course / "outbound" / "heads" / "heads.ipynb" in found
    return [str(one) for one in found]


def test_a_student_gets_at_nothing_that_is_not_theirs(trial: Trial) -> None:
    files, folders = private(trial)
    names = {file.name for file in files}
    assert names >= {".course-secret", "passwords.csv", "trial.json", "PG_VERSION", "heads.ipynb"}
    speak(trial, "grace")
    ports = listening(trial, "grace")
    assert len(ports) >= 6, "a server, and the five ports of a kernel"
    exchange = trial.folder / "exchange"
    told = {
        "files": [str(one) for one in files],
        "folders": [str(one) for one in folders],
        "released": released(trial),
        "moved": [str(exchange / COURSE_ID), str(exchange), str(trial.home("grace"))],
        "roles": ["gradebook", "hub", "postgres", trial.account("course"), trial.account("ada")],
        "database": str(trial.folder / "database"),
        "ports": ports,
        "seconds": 3.0,
    }
    got = json.loads(trial.run_as("ada", sys.executable, "-c", LOOKS.read_text(), told=told))

    for one in got["moved"]:
        Path(f"{one}-moved").rename(one)
    for one in got["written"]:
        Path(one, "from-ada").unlink()
    # who knows the name of a feedback can read it; nobody can know the name of another's
    feedback = exchange / COURSE_ID / "feedback"
    got["files"] = [one for one in got["files"] if Path(one).parent != feedback]
    # to hand in something is to write there, and nowhere else
    written = [str(exchange / COURSE_ID / "inbound")]
    refused: dict[str, Any] = {what: [] for what in got}
    assert got == refused | {"written": written, "heard": ""}


def test_what_is_refused_to_a_student_is_there_for_its_owner(trial: Trial) -> None:
    """Else, the test above would pass where nothing works."""
    files, folders = private(trial)
    homes = [str(one) for one in files if trial.home("grace") in one.parents]
    course = [str(one) for one in files if trial.folder / "course" in one.parents]
    told: dict[str, Any] = {
        "files": [*homes, *course],
        "folders": [],
        "released": released(trial),
        "moved": [],
        "roles": ["gradebook"],
        "database": str(trial.folder / "database"),
        "ports": [],
        "seconds": 0,
    }
    looks = LOOKS.read_text()
    got = json.loads(trial.run_as("grace", sys.executable, "-c", looks, told=told))
    assert got["files"] == homes
    assert got["databases"] == []
    assert got["changed"] == []
    got = json.loads(trial.run_as("course", sys.executable, "-c", looks, told=told))
    assert got["files"] == course
    assert got["databases"] == ["gradebook"]
    assert got["changed"] == told["released"]
    for one in filter(os.path.isdir, got["changed"]):
        Path(one, "from-ada").unlink()
    assert folders
    # root can look into everybody's processes
    nothing = {name: [] for name in ("files", "folders", "released", "moved", "roles", "ports")}
    said = subprocess.run(
        [sys.executable, "-c", looks],
        input=json.dumps(nothing | {"database": "", "seconds": 0}),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    server = min(trial.processes("grace"))
    assert {f"/proc/{server}/environ", f"signal {server}"} <= set(json.loads(said)["processes"])


def test_a_student_is_let_into_nobody_elses_server(trial: Trial) -> None:
    hers, grace = token_of(trial, "ada"), trial.account("grace")
    ada = f"/user/{trial.account('ada')}/api/contents"
    assert ask(f"{trial.url}{ada}", hers).code == 200
    refused = [
        f"{trial.url}/user/{grace}/api/contents",
        f"{trial.url}/user/{grace}/api/kernels",
        f"{trial.url}/services/course/api/contents",
        f"{trial.url}/services/course/formgrader/api/assignments",
        f"{trial.url}/hub/api/users",
        f"{trial.url}/hub/api/users/{grace}",
        f"{trial.url}/hub/api/users/{grace}/tokens",
        f"{trial.url}/hub/api/services/course",
    ]
    past_the_proxy = environment_of(trial, "grace")["JUPYTERHUB_SERVICE_URL"]
    refused.append(f"{past_the_proxy}api/contents")
    settings = json.loads((trial.folder / "hub" / "trial.json").read_text())
    course = f"http://127.0.0.1:{settings['course_port']}/services/course"
    refused += [f"{course}/api/contents", f"http://127.0.0.1:{settings['proxy_port']}/api/routes"]
    for url in refused:
        assert ask(url, hers).code in (403, 404), url
        assert ask(url).code in (302, 403, 404), url  # 302: to the page where one logs in


def test_what_a_student_sees_in_a_browser_of_the_course(
    trial: Trial, pages: dict[str, Page]
) -> None:
    answer = pages["ada"].goto(f"{trial.url}/services/course/formgrader")
    assert answer is not None
    assert answer.status == 403
    for account in (trial.account("ada"), "root", "nobody-here"):
        page = pages["ada"].context.browser.new_page()  # type: ignore[union-attr]
        page.goto(f"{trial.url}/hub/login")
        page.locator("#username_input").fill(account)
        page.locator("#password_input").fill(trial.passwords[trial.account("grace")])
        page.locator("#login_submit").click()
        expect(page.get_by_text("Invalid username or password")).to_be_visible()
        page.close()


def refusal(trial: Trial, *options: str, user: int = 0) -> str:
    """Try to start a hub, see that it is refused, and return what it says."""
    before = pwd.getpwall()
    who = ["setpriv", f"--reuid={user}", "--clear-groups"] if user else []
    done = subprocess.run(
        [*inside([REPOSITORY / "tests"]), *who, *trial.command(*options)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2, done.stdout + done.stderr
    assert pwd.getpwall() == before
    assert "Traceback" not in done.stderr
    return done.stderr


def test_it_is_refused_kindly(tmp_path: Path) -> None:
    require_hub()
    other = Trial(["ada"])
    try:
        assert "sudo make hub" in refusal(other, user=65534)
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", other.port))
            taken.listen()
            said = refusal(other)
            assert f"port {other.port}" in said
            assert "make hub PORT=" in said
        assert not other.folder.exists()
        assert "'70000' is no port; give a number" in refusal(other, "--port", "70000")
        # pytest's folders are for root alone
        assert "cannot get into" in refusal(other, "--folder", str(tmp_path / "hub"))
        wrong = tmp_path / "class.csv"
        wrong.write_text("id\nroot\nAda\n")
        said = refusal(other, "--students", str(wrong))
        assert "has an account root already" in said
        assert "'Ada' is no name for an account" in said
        (other.folder.parent / "mine").mkdir()
        mine = other.folder.parent / "mine" / "thesis.txt"
        mine.write_text("mine")
        assert "no trial's folder" in refusal(other, "--folder", str(mine.parent))
        assert "no trial's folder" in refusal(other, "--folder", str(mine.parent), "--remove")
        assert mine.read_text() == "mine"
    finally:
        other.end()


def is_in_use(port: int) -> bool:
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0


def test_it_stops_at_once_and_goes_on_later(
    trial: Trial, pages: dict[str, Page], browser: Browser
) -> None:
    assert "a trial is running" in trial.remove().stderr
    before = notebook_of(trial, "ada").read_bytes()
    # what a student has left running, out of reach of a hangup
    trial.run_as("ada", "bash", "-c", "setsid sleep 600 > /dev/null 2>&1 &")
    passwords = trial.passwords

    assert "What was done is kept" in trial.stop()

    everybody = ("ada", "grace", "teacher", "course", "database", "proxy")
    assert {who: trial.processes(who) for who in everybody if trial.processes(who)} == {}
    with socket.socket() as free:
        free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        free.bind(("127.0.0.1", trial.port))
    trial.start("--instructor", trial.account("successor"))
    assert trial.passwords.items() > passwords.items()
    assert notebook_of(trial, "ada").read_bytes() == before
    page = trial.open(browser, "successor")
    page.wait_for_url("**/services/course/formgrader**")
    page.goto(f"{trial.url}/services/course/formgrader/manage_submissions/heads")
    row = page.locator("tr", has_text=trial.account("ada"))
    expect(row).to_contain_text(f"{TABLE['complete'][-1] + 2:g}")
    page.context.close()
    # who was an instructor has a browser that is logged in
    answer = pages["teacher"].goto(f"{trial.url}/services/course/formgrader")
    assert answer is not None
    assert answer.status == 403


def test_what_was_killed_can_be_started_and_removed(trial: Trial) -> None:
    hub = int(json.loads((trial.folder / "hub" / "trial.json").read_text())["hub_port"])
    trial.kill()
    for port in (hub, trial.port):
        until = time.monotonic() + 10
        while is_in_use(port):
            assert time.monotonic() < until, "a part of it goes on without the others"
            time.sleep(0.1)
    trial.start()
    trial.kill()  # and the end of the tests removes it
