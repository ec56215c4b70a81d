"""A gradebook in PostgreSQL, as a large course has it, whose server fails in the middle."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import require
from sample_class import CLASS, LONGEST, SampleClass, expected

pytestmark = pytest.mark.slow

SLOW = "import time; time.sleep(0.4)"
NOBODY = 65534


class Server:
    """A PostgreSQL server of one's own.

    Args:
        folder: Where its data are; whoever runs it must be able to go there.
    """

    def __init__(self, folder: Path) -> None:
        self._data = folder / "data"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"postgresql+psycopg://grader@127.0.0.1:{port}/postgres"
        self._options = f"-c listen_addresses=127.0.0.1 -c port={port} "
        self._options += "-c unix_socket_directories= -c fsync=on"
        self._run("initdb", "--username", "grader", "--auth", "trust", "--no-sync")

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        log = str(self._data / "log")
        self._run("pg_ctl", "start", "--wait", "--log", log, "--options", self._options)

    def crash(self) -> None:
        """End it as a power cut does: it has to recover when it is started again."""
        self._run("pg_ctl", "stop", "--wait", "--mode", "immediate")

    def _run(self, program: str, *arguments: str) -> None:
        as_nobody = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
        done = subprocess.run(
            [require(program, hint="apt install postgresql"), "--pgdata", self._data, *arguments],
            stdout=subprocess.PIPE if program == "initdb" else subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
            cwd=self._data.parent,
            timeout=LONGEST,
            check=False,
            **(as_nobody if os.geteuid() == 0 else {}),  # it refuses to run as root
        )
        assert done.returncode == 0, done.stdout


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with pytest.MonkeyPatch.context() as patch:
        # Debian does not put these programs on PATH
        installed = [str(folder) for folder in Path("/usr/lib/postgresql").glob("*/bin")]
        patch.setenv("PATH", os.pathsep.join([os.environ["PATH"], *sorted(installed)]))
        folder = Path(tempfile.mkdtemp(prefix="postgresql-", dir="/tmp"))
        if os.geteuid() == 0:
            os.chown(folder, NOBODY, NOBODY)
        try:
            made = Server(folder)
            made.start()
            yield made
            made.crash()
        finally:
            shutil.rmtree(folder)


def test_no_grade_is_lost_or_doubled(server: Server, tmp_path: Path) -> None:
    require("bwrap", hint="apt install bubblewrap")
    for name in ("course", "home"):
        (tmp_path / name).mkdir()
    course = SampleClass(tmp_path / "course", tmp_path / "home")
    course.db_url = server.url
    course.configure(f'c.CourseDirectory.db_url = "{server.url}"')
    course.nbgrader("generate_assignment", "heads")
    course.hand_in_all(cell=SLOW)

    with course.grading("--workers", "1") as running:
        running.until_graded(1)
        server.crash()
        server.start()
        running.until_graded(3)
        server.crash()
        running.until(lambda: "trying again for 60 seconds" in running.err, "word of it")
        server.start()
        said = running.end()
    assert said.code == 0, said.err
    assert "Traceback" not in said.err
    assert not list(course.folder.glob("*.db"))
    assert course.points() == expected()
    assert sorted(course.recorded()) == sorted(CLASS)
    again = course.grade()
    assert again.code == 0
    assert f"{len(CLASS)} had a result already" in again.out
