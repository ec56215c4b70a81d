"""A class on JupyterHub that does everything at the same time: is a submission lost?

    sudo .venv/bin/python -m benchmarks.hub                 # 30 students
    sudo .venv/bin/python -m benchmarks.hub --students 5 --json FILE

It starts the hub of `make hub` in a folder of its own, with accounts of its own, and removes both
at the end. All students log in at once; when all servers run, all fetch an assignment at once, and
then all hand it in at once. The instructor collects. Each notebook names its student and must
arrive as it was sent. Nobody runs a kernel: that is what students do most of the time, and it takes
memory and processors besides. Exit code 1 if something was lost.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import torch

from benchmarks.timing import conditions, write_json
from mha_course.grading.assignment import read_assignment

HERE = Path(__file__).resolve().parents[1]
NAME, COURSE_ID = "heads", "multi-head-attention"
LONGEST = 900.0  # seconds for any one step
MARK = "Handed in by "

Times = dict[str, list[float]]
"""Seconds of a step, for each student."""


def main() -> int:
    """Run the class, and print what it took; return 1 if a submission was lost."""
    options = _options()
    torch.set_num_threads(1)
    people = [f"{options.name}-{number:02}" for number in range(1, options.students + 1)]
    times: Times = {}
    with _hub(people, options.name) as folder:
        settings = json.loads((folder / "hub" / "trial.json").read_text())
        url = f"http://127.0.0.1:{settings['port']}"
        passwords = _passwords(folder)
        teacher = Person(url, f"{options.name}-teacher", passwords)
        teacher.log_in()
        course = f"/services/course/formgrader/api/assignment/{NAME}"
        for step in ("assign", "release"):
            teacher.did(teacher.post(f"{course}/{step}"))

        students = [Person(url, name, passwords) for name in people]
        servers, sent = attend(students, times)
        start = time.perf_counter()
        teacher.did(teacher.post(f"{course}/collect"))
        collecting = time.perf_counter() - start
        lost = [name for name in people if not _arrived(folder, name, sent[name])]

    rows = {step: (median(each), max(each)) for step, each in times.items()}
    print(
        f"\n{len(people)} students, {os.cpu_count()} cores; seconds of each{'median':>12}{'max':>9}"
    )
    for step, (middle, most) in rows.items():
        print(f"  {step:46}{middle:9.2f}{most:9.2f}")
    print(f"  {'the instructor collects all':46}{collecting:9.2f}")
    print(f"memory of a student's server: {servers / len(people) / 2**20:.0f} MiB")
    print(f"lost: {', '.join(lost) or 'none'}")
    if options.json is not None:
        found = {
            "conditions": conditions(torch.device("cpu"), 0, 1) | {"cores": os.cpu_count()},
            "students": len(people),
            "seconds": times,
            "collect_seconds": collecting,
            "server_bytes": servers / len(people),
            "lost": lost,
        }
        write_json(options.json, found)
    return 1 if lost else 0


class Person:
    """Somebody with a browser.

    Args:
        url: Of the hub.
        name: Who it is.
        passwords: Everybody's.
    """

    def __init__(self, url: str, name: str, passwords: dict[str, str]) -> None:
        self.name = name
        self._password = passwords[name]
        self._client = httpx.Client(base_url=url, timeout=LONGEST, follow_redirects=True)

    def log_in(self) -> None:
        """Log in as with the form, and get a token for all that comes."""
        self._client.get("/hub/login")
        data = {"username": self.name, "password": self._password, "_xsrf": self._xsrf()}
        # where it would lead: a student's server starts there
        home = self._client.post("/hub/login?next=%2Fhub%2Ftoken", data=data)
        assert "logout" in home.text, f"{self.name} cannot log in"
        answer = self._client.post(
            f"/hub/api/users/{self.name}/tokens",
            headers={"X-XSRFToken": self._xsrf(), "Referer": str(home.url)},
            json={"note": "benchmark"},
        )
        token = self.did(answer)["token"]
        self._client.cookies.clear()
        self._client.headers["Authorization"] = f"token {token}"

    def start_server(self) -> None:
        """Start one's server, and wait until it answers."""
        answer = self.post(f"/hub/api/users/{self.name}/server")
        assert answer.status_code in (201, 202), answer.text
        until = time.monotonic() + LONGEST
        while not self._is_ready():
            assert time.monotonic() < until, f"the server of {self.name} does not start"
            time.sleep(0.5)

    def act(self, action: str) -> None:
        """Press a button of nbgrader's assignment list."""
        data = {"course_id": COURSE_ID, "assignment_id": NAME}
        found = self.did(self.post(f"/user/{self.name}/assignments/{action}", json=data))
        states = {each["status"] for each in found["value"]}
        assert {"fetch": "fetched", "submit": "submitted"}[action] in states, states

    def answer(self) -> str:
        """Write one's name into the fetched notebook, save it, and return it."""
        path = f"/user/{self.name}/api/contents/{NAME}/{NAME}.ipynb"
        model = self.did(self.get(path))
        written = read_assignment(HERE / "solutions" / NAME / f"{NAME}.ipynb").written[0].name
        for cell in model["content"]["cells"]:
            if cell["metadata"].get("nbgrader", {}).get("grade_id") == written:
                cell["source"] = MARK + self.name
        model = {"type": "notebook", "format": "json", "content": model["content"]}
        self.did(self._client.put(path, json=model))
        return str(self.did(self.get(path, params={"type": "file", "format": "text"}))["content"])

    def get(self, path: str, **options: Any) -> httpx.Response:
        """Ask for something."""
        return self._client.get(path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        """Ask to do something."""
        return self._client.post(path, **options)

    def did(self, answer: httpx.Response) -> Any:
        """Return what was answered; it must have gone well."""
        assert answer.is_success, f"{self.name}: {answer.status_code} {answer.text[-2000:]}"
        found = answer.json()
        assert found.get("success", True), f"{self.name}: {found}"
        return found

    def _is_ready(self) -> bool:
        servers = self.did(self.get(f"/hub/api/users/{self.name}"))["servers"]
        return bool(servers.get("", {}).get("ready"))

    def _xsrf(self) -> str:
        return next(one.value or "" for one in self._client.cookies.jar if one.name == "_xsrf")


def attend(students: list[Person], times: Times) -> tuple[int, dict[str, str]]:
    """Let all do the same at once, step by step.

    Returns:
        Bytes that their servers take together, and what each has handed in.
    """
    steps: dict[str, Callable[[Person], Any]] = {
        "log in": Person.log_in,
        "start a server": Person.start_server,
        "fetch": lambda one: one.act("fetch"),
        "write and save": Person.answer,
        "submit": lambda one: one.act("submit"),
    }
    together = threading.Barrier(len(students))
    found: dict[str, list[Any]] = {}
    memory = 0

    def timed(step: Callable[[Person], Any], one: Person) -> tuple[float, Any]:
        together.wait(LONGEST)
        start = time.perf_counter()
        result = step(one)
        return time.perf_counter() - start, result

    with ThreadPoolExecutor(len(students)) as threads:
        for name, step in steps.items():
            each = list(threads.map(timed, [step] * len(students), students))
            times[name] = [seconds for seconds, _ in each]
            found[name] = [result for _, result in each]
            print(f"{name}: {max(times[name]):.1f} s until the last one had done it", flush=True)
            if name == "fetch":
                memory = sum(_memory(one.name) for one in students)
    sent = dict(zip((one.name for one in students), found["write and save"], strict=True))
    return memory, sent


def _arrived(folder: Path, name: str, sent: str) -> bool:
    """Whether what a student has sent is what the instructor has."""
    file = folder / "course" / "submitted" / name / NAME / f"{NAME}.ipynb"
    return file.is_file() and file.read_text() == sent and MARK + name in sent


def _memory(account: str) -> int:
    """Return the bytes of an account's processes; what several share is divided among them."""
    user = pwd.getpwnam(account).pw_uid
    total = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if process.stat().st_uid == user:
                rollup = (process / "smaps_rollup").read_text()
                total += sum(
                    int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")
                )
        except OSError:
            continue
    return total * 1024


def _passwords(folder: Path) -> dict[str, str]:
    with (folder / "passwords.csv").open(newline="") as file:
        return {row["name"]: row["password"] for row in csv.DictReader(file)}


@contextmanager
def _hub(people: list[str], name: str) -> Iterator[Path]:
    """Run a hub for these students; afterwards nothing of it is left."""
    base = Path(tempfile.mkdtemp(prefix="mha-hub-", dir="/tmp"))
    base.chmod(0o755)
    folder, listed = base / "trial", base / "class.csv"
    listed.write_text("\n".join(["id", *people, ""]))
    command = [sys.executable, "-m", "deploy.hub", "--folder", str(folder)]
    hub = subprocess.Popen(
        [
            *(*command, "--port", "0", "--name", name, "--students", str(listed)),
            *("--instructor", f"{name}-teacher"),
        ],
        cwd=HERE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert hub.stdout is not None
        if not any("Ctrl-C stops" in line for line in hub.stdout):
            raise SystemExit(hub.wait() or 1)  # it has said why
        yield folder
    finally:
        hub.send_signal(signal.SIGINT)
        hub.wait()
        subprocess.run([*command, "--remove", "--yes"], cwd=HERE, check=True)
        shutil.rmtree(base)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.hub", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument("--students", type=int, default=30, metavar="N")
    parser.add_argument("--name", default="mha-bench", help="how the names of its accounts begin")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the numbers there")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
