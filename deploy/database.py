"""A PostgreSQL server of the trial's own: two databases, no port, and no password.

It listens at a socket in a folder, and asks the system which account is at the other end. Only the
hub (root) and the account of the course get in, each to one database.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import time
from pathlib import Path

from deploy.accounts import as_account

GRADEBOOK, HUB = "gradebook", "hub"
SECONDS = 120.0  # to recover, perhaps after a power cut
_LONGEST = 107  # bytes in the name of a socket
_SOCKET = ".s.PGSQL.5432"
_INSTALLED = Path("/usr/lib/postgresql")  # by version; Debian does not put these on PATH


def made_by(folder: Path) -> str:
    """Return the version of PostgreSQL that has made the databases in a folder; empty if none."""
    file = folder / "data" / "PG_VERSION"
    return file.read_text().strip() if file.exists() else ""


def programs(version: str = "") -> Path | None:
    """Return the folder of PostgreSQL's programs: of a version, or of the newest that is there.

    Args:
        version: As `made_by` has it, for one cannot read what another has written.
    """
    found = sorted(
        _INSTALLED.glob(f"{version or '*'}/bin/initdb"), key=lambda one: float(one.parts[-3])
    )
    on_path = shutil.which("initdb")
    initdb = found[-1] if found else Path(on_path).resolve() if on_path else None
    return initdb.parent if initdb else None


class Database:
    """The server.

    Args:
        folder: Where its files go.
        account: Who runs it; PostgreSQL does not run as root.
        course: Name of the account that has the gradebook.
        bin_folder: PostgreSQL's programs.
        log: What it says goes there.
    """

    def __init__(
        self, folder: Path, account: pwd.struct_passwd, course: str, bin_folder: Path, log: Path
    ) -> None:
        self._folder, self._data = folder, folder / "data"
        self._account = account
        self._course = course
        self._bin, self._log = bin_folder, log
        self._server: subprocess.Popen[bytes] | None = None
        if len(os.fsencode(folder / _SOCKET)) > _LONGEST:
            raise ValueError(
                f"the path of {folder} is too long for a socket; choose a shorter folder"
            )

    def url(self, database: str) -> str:
        """Return the address of a database, as SQLAlchemy takes it."""
        return f"postgresql+psycopg://{database}@/{database}?host={self._folder}"

    def start(self) -> None:
        """Start the server, and wait until it answers; what is missing is made.

        Raises:
            ValueError: it does not start; the message has its last words.
        """
        if not self._data.exists():
            self._make()
        with self._log.open("ab") as out:
            self._server = subprocess.Popen(
                [
                    *(self._bin / "postgres", "-D", self._data, "-k", self._folder),
                    *("-c", "listen_addresses=", "-c", "unix_socket_permissions=0777"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
                start_new_session=True,  # Ctrl-C goes to the trial, which ends this last
                **as_account(self._account),
            )
        until = time.monotonic() + SECONDS
        while not self._answers():
            if self._server.poll() is not None or time.monotonic() > until:
                words = self._log.read_text(errors="replace").splitlines()[-5:]
                raise ValueError("PostgreSQL does not start:\n  " + "\n  ".join(words))
            time.sleep(0.1)
        for name in (GRADEBOOK, HUB):
            if not self._sql(f"SELECT 1 FROM pg_roles WHERE rolname = '{name}'"):
                self._sql(f"CREATE ROLE {name} LOGIN")
            if not self._sql(f"SELECT 1 FROM pg_database WHERE datname = '{name}'"):
                self._sql(f"CREATE DATABASE {name} OWNER {name}")

    def stop(self) -> None:
        """End all connections, write everything down, and stop."""
        if self._server is not None:
            self._server.send_signal(2)  # its "fast" way: no wait for who is connected
            self._server.wait(SECONDS)
            self._server = None

    def _make(self) -> None:
        new = self._folder / "new"  # it gets its name when all is in it
        shutil.rmtree(new, ignore_errors=True)
        self._run("initdb", "-D", str(new), "--username=postgres", "--encoding=UTF8")
        who = [(self._account.pw_name, "postgres"), (self._course, GRADEBOOK), ("root", HUB)]
        # whoever is not named here is turned away, with any password
        _write(new / "pg_ident.conf", [f'trial "{account}" {role}' for account, role in who])
        own = [f"local {name} {name} peer map=trial" for name in (GRADEBOOK, HUB)]
        _write(new / "pg_hba.conf", ["local all postgres peer map=trial", *own])
        new.rename(self._data)

    def _answers(self) -> bool:
        done = self._try("pg_isready", "-q", "-h", str(self._folder))
        return done.returncode == 0

    def _sql(self, statement: str) -> str:
        return self._run(
            *("psql", "-X", "-q", "-At", "-v", "ON_ERROR_STOP=1", "-h", str(self._folder)),
            *("-U", "postgres", "-d", "postgres", "-c", statement),
        )

    def _run(self, program: str, *arguments: str) -> str:
        done = self._try(program, *arguments)
        if done.returncode:
            raise ValueError(f"PostgreSQL's {program} failed: {done.stderr.strip()}")
        return done.stdout.strip()

    def _try(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self._bin / program, *arguments],
            capture_output=True,
            text=True,
            cwd=self._folder,
            check=False,
            **as_account(self._account),
        )


def _write(file: Path, lines: list[str]) -> None:
    file.write_text("\n".join([*lines, ""]))
