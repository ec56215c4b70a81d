"""A PostgreSQL server of one's own, for tests with a gradebook in it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import require

LONGEST = 240.0  # seconds for one of its programs
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


@contextmanager
def running_server() -> Iterator[Server]:
    """Start a server, and remove all of it afterwards."""
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
