"""The hub of `make hub` for the tests: real accounts, real servers, and who looks where."""

from __future__ import annotations

import csv
import json
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from conftest import PATIENCE, require
from course import REPOSITORY
from playwright.sync_api import Browser, Page

LONGEST = 300  # seconds for anything that is waited for


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def require_hub() -> None:
    """Skip, or fail in CI, where the hub cannot be started."""
    if os.geteuid() != 0:
        reason = "needs root: students get accounts on this machine; in a container, run it as root"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    for name in ("bwrap", "useradd", "setpriv", "nsenter"):
        require(name, hint="apt install bubblewrap passwd util-linux")
    with pytest.MonkeyPatch.context() as patch:
        # Debian does not put this program on PATH
        installed = [str(folder) for folder in Path("/usr/lib/postgresql").glob("*/bin")]
        patch.setenv("PATH", os.pathsep.join([os.environ["PATH"], *sorted(installed)]))
        require("initdb", hint="apt install postgresql")
        proxy = REPOSITORY / "deploy" / "node_modules" / ".bin"
        patch.setenv("PATH", os.pathsep.join([os.environ["PATH"], str(proxy)]))
        require("configurable-http-proxy", hint="make deploy/node_modules")


class Trial:
    """A hub of one's own, with accounts whose names nobody else has.

    Attributes:
        folder: Of the trial.
        name: What the names of its own accounts begin with.
        port: Where it listens.
    """

    def __init__(self, students: Sequence[str]) -> None:
        mark = secrets.token_hex(3)
        self.name = f"t{mark}"
        self._names = {one: f"{one}-{mark}" for one in (*students, "teacher")}
        # pytest's own folders are closed for the accounts of students
        self.folder = Path(tempfile.mkdtemp(prefix="hub-", dir="/tmp")) / "trial"
        self.folder.parent.chmod(0o755)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.said = ""
        self._process: subprocess.Popen[str] | None = None
        self._list = self.folder.parent / "class.csv"
        self._list.write_text("\n".join(["id", *(self._names[one] for one in students), ""]))

    def account(self, who: str) -> str:
        """Return the name of somebody's account."""
        return self._names.get(who, f"{self.name}-{who}")

    def command(self, *options: str) -> list[str]:
        """Return what starts it."""
        return [
            *(sys.executable, "-m", "deploy.hub", "--folder", str(self.folder)),
            *("--port", str(self.port), "--name", self.name, "--students", str(self._list)),
            *("--instructor", self.account("teacher"), *options),
        ]

    def start(self, *options: str) -> None:
        """Start it, and wait until it says that it runs."""
        self._process = subprocess.Popen(
            self.command(*options),
            cwd=REPOSITORY,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        self.said = ""
        for line in self._process.stdout:
            self.said += line
            if "Ctrl-C stops" in line:
                return
        raise AssertionError(f"the hub ended with {self._process.wait()}:\n{self.said}")

    def stop(self) -> str:
        """Press Ctrl-C, and return what it says."""
        assert self._process is not None
        process, self._process = self._process, None
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=LONGEST)
        assert process.returncode == 0, said
        return said

    def kill(self) -> None:
        """End it as a machine does that runs out of memory."""
        assert self._process is not None
        process, self._process = self._process, None
        process.kill()
        process.wait()

    def remove(self) -> subprocess.CompletedProcess[str]:
        """Remove its folder and accounts."""
        return subprocess.run(
            [sys.executable, "-m", "deploy.hub", "--folder", self.folder, "--remove", "--yes"],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=LONGEST,
            check=False,
        )

    def end(self) -> None:
        """Stop and remove whatever there is."""
        try:
            if self._process is not None:
                self.stop()
        finally:
            removed = self.remove()
            shutil.rmtree(self.folder.parent)
            assert removed.returncode == 0, removed.stderr

    @property
    def passwords(self) -> dict[str, str]:
        with (self.folder / "passwords.csv").open(newline="") as file:
            return {row["name"]: row["password"] for row in csv.DictReader(file)}

    def home(self, who: str) -> Path:
        return self.folder / "home" / self.account(who)

    def processes(self, who: str) -> list[int]:
        """Return the processes of somebody's account, without those that have ended."""
        uid = pwd.getpwnam(self.account(who)).pw_uid
        found = []
        for one in Path("/proc").glob("[0-9]*"):
            try:
                state = (one / "stat").read_text().rpartition(")")[2].split()[0]
                if one.stat().st_uid == uid and state != "Z":
                    found.append(int(one.name))
            except (FileNotFoundError, ProcessLookupError):
                continue
        return found

    def run_as(self, who: str, *command: str, cwd: Path | None = None, told: object = None) -> str:
        """Run a command as if in somebody's terminal on the hub, and return what it printed.

        Args:
            who: Whose.
            command: What to run.
            cwd: Where; by default at home.
            told: It gets this as JSON.
        """
        account = pwd.getpwnam(self.account(who))
        server = min(self.processes(who))  # what it sees of the machine is what the command sees
        environment = Path(f"/proc/{server}/environ").read_bytes().split(b"\0")
        done = subprocess.run(
            [
                *("nsenter", f"--target={server}", "--mount", f"--wdns={cwd or account.pw_dir}"),
                *("setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}"),
                *("--init-groups", "--no-new-privs", *command),
            ],
            env=dict(one.decode().split("=", 1) for one in environment if b"=" in one),
            input=json.dumps(told),
            capture_output=True,
            text=True,
            timeout=LONGEST,
            check=False,
        )
        assert done.returncode == 0, (done.stdout + done.stderr)[-5000:]
        return done.stdout

    def write_as(self, who: str, path: Path, content: str) -> None:
        """Write a file as somebody would who edits it."""
        path.write_text(content)
        account = pwd.getpwnam(self.account(who))
        os.chown(path, account.pw_uid, account.pw_gid)

    def open(self, browser: Browser, who: str) -> Page:
        """Log somebody in, in a browser of their own."""
        page = browser.new_context(viewport={"width": 1280, "height": 1000}).new_page()
        page.set_default_timeout(PATIENCE)
        page.goto(self.url)
        page.locator("#username_input").fill(self.account(who))
        page.locator("#password_input").fill(self.passwords[self.account(who)])
        page.locator("#login_submit").click()
        return page


class Answer(NamedTuple):
    """What a server has answered."""

    code: int
    text: str


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        """Follow nothing."""


def ask(url: str, token: str = "", data: Any = None) -> Answer:
    """Ask a server, as a program does that has a token; it is not led on to another page."""
    request = urllib.request.Request(
        url,
        headers={"Authorization": f"token {token}"} if token else {},
        data=None if data is None else json.dumps(data).encode(),
    )
    try:
        with urllib.request.build_opener(_Stay).open(request, timeout=60) as answer:
            return Answer(answer.status, answer.read().decode())
    except urllib.error.HTTPError as error:
        return Answer(error.code, error.read().decode(errors="replace"))


@contextmanager
def running_trial(*students: str) -> Iterator[Trial]:
    """Run a hub for some students, and remove all of it afterwards."""
    require_hub()
    trial = Trial(students)
    try:
        trial.start()
        yield trial
    finally:
        trial.end()
