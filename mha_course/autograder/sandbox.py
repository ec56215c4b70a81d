"""What a submission may use, and the bubblewrap command that holds it to that.

Inside there are Python, the installed packages and `mha_course` without its right answers, all
read-only, and a scratch folder in memory. There is no network, no home folder, no course folder
and no other process of the machine.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import mha_course
from mha_course.autograder.graded_package import SHOWN

MB = 2**20
NOBODY = "65534"
SCRATCH = ("/tmp", "/dev/shm")  # all that can be written; the first is where cells run
PACKAGE = "/course/mha_course"

NAMESPACES = ("--unshare-all", "--unshare-user", "--disable-userns")

NOT_ENFORCED = (
    "Submissions can read every file that you can read: your home folder, other submissions, "
    "solutions, the code of mha_course and the course's secret.",
    "Submissions can change every file that you can change, the gradebook among them.",
    "Submissions can use the network.",
    "Submissions can end or change other processes of yours, the grader among them.",
    "What a submission writes on disk has no limit but a file's size, and can stay for the next.",
    "As root, the number of processes has no limit.",
)


class SandboxUnavailable(OSError):  # noqa: N818, a state of the machine
    """A sandbox cannot be had here; the message says what was tried, and the way out."""


class Limits(NamedTuple):
    """What one submission may use; the defaults are many times what the exercises need.

    Attributes:
        wall_seconds: From the start of its process to the end of its last cell.
        cpu_seconds: Of all its processes together.
        memory_bytes: Of all its processes together; also of each, beyond what the server loaded.
        processes: Processes and threads at a time.
        open_files: Of each process.
        file_bytes: Size of one file.
        scratch_bytes: Size of the scratch folder, and of shared memory.
        scratch_files: Files and folders in the scratch folder, and in shared memory.
    """

    wall_seconds: float = 120.0
    cpu_seconds: int = 120
    memory_bytes: int = 2048 * MB
    processes: int = 32
    open_files: int = 256
    file_bytes: int = 64 * MB
    scratch_bytes: int = 128 * MB
    scratch_files: int = 2000


class Mount(NamedTuple):
    """A file or folder of the machine, and where it is seen in the sandbox, read-only."""

    source: Path
    target: str


class Plan(NamedTuple):
    """How to start the server.

    Attributes:
        command: What to run, up to the arguments of Python.
        environment: The whole environment of the server.
        path: Its `sys.path`.
        scratch: Folders that are emptied after each submission; cells run in the first.
    """

    command: list[str]
    environment: dict[str, str]
    path: list[str]
    scratch: tuple[str, ...]


def sandboxed(folders: Sequence[Path], limits: Limits, filter_descriptor: int) -> Plan:
    """Return the plan for a server in a sandbox.

    Args:
        folders: With further modules to import.
        limits: Of which the sizes of the scratch folders are set here.
        filter_descriptor: Where bubblewrap reads the filter of system calls.

    Raises:
        SandboxUnavailable: this is not Linux, or bubblewrap is not installed.
    """
    bwrap = shutil.which("bwrap")
    if not sys.platform.startswith("linux"):
        raise unavailable(f"it needs Linux, and this is {sys.platform}")
    if bwrap is None:
        raise unavailable(
            "it needs bubblewrap 0.8 or newer, and `bwrap` is not on PATH: apt install bubblewrap"
        )
    packages = _package_folders()
    modules = [Mount(Path(folder).resolve(), f"/folders/{i}") for i, folder in enumerate(folders)]
    mounts = [*_system_mounts(), *_python_mounts(packages), *modules]
    command = _inner(bwrap, mounts, packages, limits, filter_descriptor)
    if os.geteuid() == 0:
        command = _as_ordinary_user(bwrap, command)
    own = [_inside(entry) for entry in _path(packages)]
    path = [str(Path(PACKAGE).parent), *(mount.target for mount in modules), *own]
    return Plan([*command, _interpreter()], environment(SCRATCH[0]), path, SCRATCH)


def unsandboxed(folders: Sequence[Path], scratch: Path) -> Plan:
    """Return the plan for a server beside the grader; `NOT_ENFORCED` says what that leaves out."""
    path = [str(_package().parent), *map(str, folders), *_path(_package_folders())]
    return Plan([_interpreter()], environment(str(scratch)), path, (str(scratch),))


def unavailable(reason: str) -> SandboxUnavailable:
    """Return the error that names the reason, and the way out."""
    return SandboxUnavailable(
        f"no sandbox for submissions: {reason}. Grade on a machine that has one, or without "
        "(sandbox=False, --no-sandbox) if you trust every submission."
    )


def did_not_start(said: str) -> SandboxUnavailable:
    """Return the error for a bubblewrap that refused; it quotes what it said."""
    last = said.strip().splitlines()[-1:] or ["it ended without a word"]
    return unavailable(
        f"`{shlex.join(['bwrap', *NAMESPACES])}` failed with {last[0]!r} (it needs bubblewrap 0.8 "
        "or newer and user namespaces, which containers and some distributions forbid)"
    )


def environment(scratch: str) -> dict[str, str]:
    """Return all environment variables of the server: nothing of the grader's is among them."""
    threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    return {
        "HOME": scratch,
        "TMPDIR": scratch,
        "USER": "learner",
        "LOGNAME": "learner",
        "LANG": "C.UTF-8",
        "MPLBACKEND": "Agg",
        **dict.fromkeys(threads, "1"),
    }


def _package() -> Path:
    return Path(mha_course.__file__).resolve().parent


def _interpreter() -> str:
    """Return the path of Python itself: a virtual environment holds only a link to it."""
    return os.path.realpath(sys.executable)


def _package_folders() -> list[str]:
    """Return where packages are installed that this process can import."""
    names = ("site-packages", "dist-packages")
    return [entry for entry in sys.path if Path(entry).name in names and Path(entry).is_dir()]


def _path(packages: Sequence[str]) -> list[str]:
    """Return `sys.path` without what is neither Python's own nor an installed package."""
    library = Path(sys.base_prefix, "lib")
    return [
        entry
        for entry in sys.path
        if Path(entry).is_dir() and (entry in packages or Path(entry).is_relative_to(library))
    ]


def _system_mounts() -> list[Mount]:
    """Return the libraries that Python is linked to; programs are not among them."""
    names = ("/usr/lib", "/usr/lib64", "/lib", "/lib64", "/etc/ld.so.cache")
    return [Mount(Path(name), name) for name in names if Path(name).exists()]


def _python_mounts(packages: Sequence[str]) -> list[Mount]:
    """Return Python, where it is: what was compiled into it names its folders."""
    names = [f"{sys.base_prefix}/lib", *packages]
    folders = [name for name in names if not Path(name).is_relative_to("/usr/lib")]
    inner = [a for a in folders if not any(a != b and Path(a).is_relative_to(b) for b in folders)]
    return [Mount(Path(name), _inside(name)) for name in (*inner, _interpreter())]


def _inside(name: str) -> str:
    """Return where a folder is seen: the scratch would hide what is installed below /tmp."""
    hidden = any(Path(name).is_relative_to(folder) for folder in SCRATCH)
    return f"/installed{name}" if hidden else name


def _inner(
    bwrap: str,
    mounts: Sequence[Mount],
    packages: Sequence[str],
    limits: Limits,
    filter_descriptor: int,
) -> list[str]:
    """Return the command that an ordinary user runs.

    `--die-with-parent` is not among the options: it would end the server with the *thread* that
    started it. The server ends by itself when its control socket is closed, however that happens.
    """
    command = [bwrap, *NAMESPACES, "--as-pid-1"]
    command += ["--cap-drop", "ALL", "--uid", NOBODY, "--gid", NOBODY, "--clearenv"]
    command += ["--new-session", "--seccomp", str(filter_descriptor)]
    for source, target in mounts:
        if source.is_symlink() and target in ("/lib", "/lib64"):
            command += ["--symlink", os.readlink(source).lstrip("/"), target]
        else:
            command += ["--ro-bind", str(source), target]
    for folder in packages:  # the course may be installed there, with its right answers
        if Path(folder, "mha_course").is_dir():
            seen = f"{_inside(folder)}/mha_course"
            command += ["--tmpfs", seen, "--remount-ro", seen]
    command += _course()
    command += ["--proc", "/proc", "--dev", "/dev"]
    for folder in SCRATCH:
        command += ["--size", str(limits.scratch_bytes), "--tmpfs", folder]
    command += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", SCRATCH[0]]
    for name, value in environment(SCRATCH[0]).items():
        command += ["--setenv", name, value]
    return command


def _course() -> list[str]:
    """Return the options that show the package without its right answers.

    It is put together from its files, as compiled ones would tell the same.
    """
    options = []
    for name in SHOWN:
        options += ["--ro-bind", str(_package() / name), f"{PACKAGE}/{name}"]
    return options


def _as_ordinary_user(bwrap: str, command: list[str]) -> list[str]:
    """Return the command for root: the same sandbox, started as nobody.

    The kernel does not count root's processes, and lets root write in /proc/sys even without
    capabilities. As nobody cannot look into root's folders, where Python may well be, a first
    bubblewrap shows each of them under a short name.
    """
    options = [bwrap, "--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    options += ["--unshare-ipc"]
    for name in ("/usr", "/bin", "/sbin", "/lib", "/lib64"):
        if Path(name).is_symlink():
            options += ["--symlink", os.readlink(name), name]
        elif Path(name).exists():
            options += ["--ro-bind", name, name]
    moved = list(command)
    for i, word in enumerate(command):
        if word == "--ro-bind":
            moved[i + 1] = f"/source{i}"
            options += ["--ro-bind", command[i + 1], moved[i + 1]]
    options += ["--bind", "/proc", "/proc", "--dev", "/dev", "--dir", "/tmp"]
    options += ["setpriv", "--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"]
    return [*options, "--inh-caps", "-all", *moved]
