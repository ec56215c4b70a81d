"""Submissions that mean harm: each ends soon, and the next one finds nothing of it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest
from conftest import require

from mha_course.autograder.sandbox import MB, NOT_ENFORCED, Limits, SandboxUnavailable
from mha_course.autograder.syscall_filter import syscall_filter
from mha_course.autograder.usage import descendants
from mha_course.autograder.warm_server import WarmServer

FOLDERS = [Path(__file__).parent / "in_sandbox"]
TIGHT = Limits(
    wall_seconds=6,
    cpu_seconds=1,
    memory_bytes=256 * MB,
    processes=16,
    open_files=64,
    file_bytes=4 * MB,
    scratch_bytes=16 * MB,
    scratch_files=200,
)
SOON = 8  # seconds: the wall time, and as much again for a busy machine


@contextlib.contextmanager
def started(sandbox: bool = True, limits: Limits = TIGHT) -> Iterator[WarmServer]:
    with WarmServer(
        limits, function="run_source:serve", sandbox=sandbox, folders=FOLDERS
    ) as server:
        yield server


@pytest.fixture(scope="module")
def server() -> Iterator[WarmServer]:
    require("bwrap", hint="apt install bubblewrap")
    with started() as server:
        yield server


def run(server: WarmServer, source: str, files: dict[str, bytes] | None = None) -> str:
    """Return what a submission prints, up to where it is ended."""
    with server.learner(files) as connection:
        connection.settimeout(SOON)
        connection.sendall(dedent(source).encode() + b"\0")
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while piece := connection.recv(2**16):
                answer += piece
    return answer.decode()


NEXT = """
import glob, os, signal, sys
processes = sorted(int(name) for name in os.listdir("/proc") if name.isdigit())
assert processes == [1, os.getpid()], processes
assert os.listdir("/tmp") == os.listdir("/dev/shm") == [], glob.glob("/tmp/*")
for kind in ("shm", "sem", "msg"):
    assert len(open(f"/proc/sysvipc/{kind}").readlines()) == 1
assert "torch" in sys.modules and not hasattr(sys.modules["torch"], "left")
assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
import torch
print("untouched", torch.ones(3).sum().item())
"""


@pytest.fixture
def attacked(server: WarmServer) -> Iterator[WarmServer]:
    """A server whose next submission must be untouched, in the same server process."""
    assert server.not_enforced == ()  # what follows would do harm outside
    before = server._server.process_id
    begun = time.monotonic()
    yield server
    assert time.monotonic() - begun < SOON
    assert run(server, NEXT) == "untouched 3.0\n"
    assert server._server.process_id == before


REFUSED = {
    "memory of the server": "open('/proc/1/mem', 'rb').read(1)",
    "environment of the server": "open('/proc/1/environ', 'rb').read()",
    "descriptors of the server": "os.listdir('/proc/1/fd')",
    "the server's view of the disk": "os.listdir('/proc/1/root')",
    "what the kernel prefers to end": "open('/proc/1/oom_score_adj', 'w').write('1000')",
    "its own place in that": "open('/proc/self/oom_score_adj', 'w').write('-1000')",
    "passwords": "open('/etc/shadow').read()",
    "home folder": f"os.listdir({str(Path.home() / '.cache')!r})",
    "course folder": f"os.listdir({str(Path(__file__).parents[2] / 'solutions')!r})",
    "tests": f"os.listdir({str(Path(__file__).parent)!r})",
    "right answers": "grading.reference.counting",
    "right answers as files": "open('/course/mha_course/grading/reference/counting.py')",
    "known mistakes": "grading.mistakes.counting",
    "mutants": "import mha_course.grading.mutants",
    "write in /": "open('/here', 'w')",
    "write in /dev": "open('/dev/here', 'w')",
    "write in the course": "open('/course/mha_course/__init__.py', 'a')",
    "write beside the answers": "open('/course/mha_course/grading/reference/here', 'w')",
    "write in Python": "open(os.__file__, 'a')",
    "write in packages": "open(torch.__file__, 'a')",
    "settings of the kernel": "os.open('/proc/sys/kernel/core_pattern', os.O_WRONLY)",
    "restart of the machine": "os.open('/proc/sysrq-trigger', os.O_WRONLY)",
    "internet": "socket.create_connection(('1.1.1.1', 53), 2)",
    "names on the internet": "socket.getaddrinfo('pypi.org', 443)",
    "shell": "os.execv('/bin/sh', ['sh'])",
    "ptrace": "refuse(libc.ptrace(16, 1, 0, 0))",
    "ptrace of a sibling": "refuse(libc.ptrace(16, os.getppid(), 0, 0))",
    "read another process": "refuse(libc.process_vm_readv(1, 0, 0, 0, 0, 0))",
    "mount": "refuse(libc.mount(b'none', b'/tmp', b'tmpfs', 0, None))",
    "unmount": "refuse(libc.umount2(b'/course', 2))",
    "user namespace": "refuse(libc.unshare(0x10000000))",
    "namespace by clone": "refuse(libc.syscall(56, 0x10000000 | 17, 0, 0, 0, 0))",
    "network namespace": "refuse(libc.unshare(0x40000000))",
    "enter a namespace": "refuse(libc.setns(os.open('/proc/self/status', 0), 0))",
    "chroot": "os.chroot('/tmp')",
    "root": "os.setuid(0)",
    "limit on processes": "resource.setrlimit(resource.RLIMIT_NPROC, (999, 999))",
    "limit on memory": "resource.setrlimit(resource.RLIMIT_AS, (-1, -1))",
    "limits of the server": "resource.prlimit(1, resource.RLIMIT_NOFILE, (1, 1))",
    "priority of the server": "os.setpriority(os.PRIO_PROCESS, 1, 19)",
    "cores of the server": "os.sched_setaffinity(1, {0})",
    "shared memory (System V)": "refuse(libc.shmget(0, 4096, 0o1600))",
    "semaphores (System V)": "refuse(libc.semget(0, 1, 0o1600))",
    "messages (System V)": "refuse(libc.msgget(0, 0o1600))",
    "messages (POSIX)": "refuse(libc.syscall(240, b'left', 0o102, 0o600, None))",
    "keys": "refuse(libc.syscall(248, b'user', b'left', b'x', 1, -4))",
    "memory without a file": "os.memfd_create('big')",
    "other numbers for calls": "refuse(libc.syscall(0x40000000 | 39))",
}


@pytest.mark.parametrize("source", REFUSED.values(), ids=REFUSED)
def test_refused(attacked: WarmServer, source: str) -> None:
    printed = run(
        attacked,
        f"""
import ctypes, os, resource, socket, torch
from mha_course import grading
libc = ctypes.CDLL(None, use_errno=True)
def refuse(result):
    if result == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
print("trying")
{source}
print("REACHED")
""",
    )
    assert printed.startswith("trying\n")
    assert "rror: " in printed
    print(printed)  # for whoever looks at how it was refused: pytest -rP
    assert "REACHED" not in printed


def test_only_its_own_connection(attacked: WarmServer) -> None:
    """The one to the grader, which commands the server, is not among what is open."""
    printed = run(
        attacked,
        """
        import os
        for number in range(64):
            try: os.fstat(number)
            except OSError: continue
            print(number, end=" ")
        print(connection.fileno())
        """,
    )
    *opened, own = printed.split()
    assert opened == ["0", "1", "2", own]


def test_network_of_the_machine(attacked: WarmServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        printed = run(attacked, f"import socket; socket.create_connection(('127.0.0.1', {port}))")
    assert "ConnectionRefusedError" in printed


def test_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    require("bwrap", hint="apt install bubblewrap")
    monkeypatch.setenv("MHA_COURSE_SECRET", "secret")
    with started() as fresh:
        printed = run(fresh, "import os; print(dict(os.environ), open('/proc/1/cmdline').read())")
    assert "HOME" in printed
    assert "secret" not in printed.lower()


ENDED = {
    "computes": ("while True: pass", "It computed for more than 1 seconds."),
    "computes in many processes": (
        """
        import os
        for _ in range(3): os.fork()
        while True: pass
        """,
        "It computed for more than 1 seconds.",
    ),
    "sleeps and ignores signals": (
        """
        import signal, time
        for number in range(1, 32):
            try: signal.signal(number, signal.SIG_IGN)
            except OSError: pass
        time.sleep(1000)
        """,
        "It ran for more than 6 seconds.",
    ),
    "stops itself": (
        "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)",
        "It ran for more than 6 seconds.",
    ),
    "memory of many processes": (
        """
        import os, time
        for _ in range(8):
            if os.fork() == 0:
                held = bytearray(os.urandom(1)) * (100 * 2**20)
                break
        time.sleep(1000)
        """,
        "It used more than 256 MB of memory.",
    ),
    "empty files": (
        """
        import time
        for i in range(10**6): open(f"/tmp/{i}", "w").close()
        """,
        "It made more than 200 files.",
    ),
    "folders in folders": (
        """
        import os
        while True:
            os.mkdir("in"); os.chdir("in")
        """,
        "It made more than 200 files.",
    ),
}


@pytest.mark.parametrize(("source", "reason"), ENDED.values(), ids=ENDED)
def test_ended(attacked: WarmServer, source: str, reason: str) -> None:
    run(attacked, source)
    assert attacked.ended_by == reason


BOUNDED = {
    "bytes": ("bytearray(2**33)", "MemoryError"),
    "bytes in small pieces": ("a = [bytearray(2**20) for _ in range(10**5)]", "MemoryError"),
    "tensors": ("import torch; torch.ones(2**31)", "RuntimeError"),
    "shared memory": ("import mmap; mmap.mmap(-1, 2**33)", "OSError"),
    "one big file": ("open('a', 'wb').write(bytes(5 * 2**20))", "OSError"),
    "big files": (
        "for i in range(9): open(f'{i}', 'wb').write(bytes(4 * 2**20))",
        "No space left",
    ),
    "big files in shared memory": (
        "for i in range(9): open(f'/dev/shm/{i}', 'wb').write(bytes(4 * 2**20))",
        "No space left",
    ),
    "open files": ("import os\na = [os.dup(0) for _ in range(99)]", "Too many open files"),
    "threads": (
        "import threading, time\n"
        "for _ in range(99):\n"
        "    threading.Thread(target=time.sleep, args=(9,), daemon=True).start()",
        "can't start new thread",
    ),
    "forks": (
        "import os, time\n"
        "for _ in range(99):\n"
        "    if os.fork() == 0: connection.close(); time.sleep(99)",
        "BlockingIOError",
    ),
}


@pytest.mark.parametrize(("source", "error"), BOUNDED.values(), ids=BOUNDED)
def test_bounded(attacked: WarmServer, source: str, error: str) -> None:
    assert error in run(attacked, source)
    assert attacked.ended_by == ""


LEFT_BEHIND = {
    "fork bomb": """
        import os
        while True:
            try: os.fork()
            except OSError: pass
        """,
    "daemon": """
        import os, time
        for _ in range(2):
            if os.fork() != 0: os._exit(0)
            os.setsid()
        connection.sendall(b"begun")
        time.sleep(1000)
        """,
    "orphans that end": """
        import os, time
        for _ in range(40):
            if os.fork() == 0:
                os.fork()
                os._exit(0)
            os.wait()
            time.sleep(0.02)
        """,
    "signals for the server": """
        import os, signal, time
        for number in range(1, signal.NSIG):
            try: os.kill(1, number)
            except OSError: pass
        time.sleep(0.5)
        """,
    "signals for its siblings": "import os, signal; os.kill(-1, signal.SIGKILL)",
    "closed files": "import os; os.closerange(0, 999)",
    "modules": """
        import sys, torch, builtins, threading
        torch.left = True
        torch.ones = builtins.len = None
        for name in list(sys.modules):
            if name.startswith("mha_course"): sys.modules[name] = None
        """,
    "signal handlers": """
        import signal
        signal.signal(signal.SIGTERM, lambda *_: None)
        signal.alarm(1)
        """,
    "files": """
        import os
        from multiprocessing import shared_memory
        shared_memory.SharedMemory("left", create=True, size=2**20)
        os.makedirs("a/b/c")
        open("a/b/c/left", "w").write("x")
        os.symlink("/", "a/link")
        os.mkfifo("a/pipe")
        os.chmod("a/b/c", 0); os.chmod("a/b", 0); os.chmod("a", 0); os.chmod(".", 0)
        """,
    "nothing said": "import os; os._exit(3)",
    "crash": "import ctypes; ctypes.string_at(0)",
    "long output": "print('x' * 10**7)",
}


@pytest.mark.parametrize("source", LEFT_BEHIND.values(), ids=LEFT_BEHIND)
def test_nothing_is_left_behind(attacked: WarmServer, source: str) -> None:
    run(attacked, source)


def test_connection_held_by_a_daemon_closes(attacked: WarmServer) -> None:
    with attacked.learner() as connection:
        connection.sendall(dedent(LEFT_BEHIND["daemon"]).encode() + b"\0")
        connection.settimeout(SOON)
        assert connection.recv(5) == b"begun"
        process = attacked._server.process_id
        assert descendants(process) != []
    assert descendants(process) == []


def test_files_of_the_assignment(attacked: WarmServer) -> None:
    printed = run(attacked, "print(open('a.json').read())", {"a.json": b"[1, 2]"})
    assert printed == "[1, 2]\n"
    assert run(attacked, "print(open('a/b/c').read())", {"a/b/c": b"3"}) == "3\n"


@pytest.mark.parametrize("name", ["../a", "/a", "..", "", "a/../../b", "a//b", "./a"])
def test_files_lie_in_the_folder_itself(server: WarmServer, name: str) -> None:
    with pytest.raises(ValueError, match="is not the name of a file"), server.learner({name: b""}):
        pass


def test_one_submission_at_a_time(attacked: WarmServer) -> None:
    with (
        attacked.learner(),
        pytest.raises(RuntimeError, match="one submission at a time"),
        attacked.learner(),
    ):
        pass


def test_a_server_that_died_is_replaced(server: WarmServer) -> None:
    before = server._server.process_id
    os.kill(before, signal.SIGKILL)
    assert run(server, NEXT) == "untouched 3.0\n"
    assert server._server.process_id != before


def test_a_server_that_dies_meanwhile_ends_the_submission(server: WarmServer) -> None:
    with server.learner() as connection:
        os.kill(server._server.process_id, signal.SIGKILL)
        connection.settimeout(SOON)
        assert connection.recv(1) == b""
    assert run(server, NEXT) == "untouched 3.0\n"


def test_a_server_outlives_the_thread_that_started_it() -> None:
    require("bwrap", hint="apt install bubblewrap")
    with contextlib.ExitStack() as stack:
        found: list[WarmServer] = []
        thread = threading.Thread(target=lambda: found.append(stack.enter_context(started())))
        thread.start()
        thread.join()
        before = found[0]._server.process_id
        assert run(found[0], NEXT) == "untouched 3.0\n"
        assert found[0]._server.process_id == before


@pytest.mark.parametrize("sandbox", [True, False])
def test_everything_ends_with_the_grader(sandbox: bool, tmp_path: Path) -> None:
    """Even if the grader has no time to say so."""
    if sandbox:
        require("bwrap", hint="apt install bubblewrap")
    grader = f"""
import sys, time
sys.path.insert(0, {str(Path(__file__).parent)!r})
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from test_sandbox import started
with started({sandbox}) as server, server.learner() as connection:
    connection.sendall(b"import os, time; os.fork(); time.sleep(1000)" + bytes(1))
    time.sleep(0.5)
    print(server._server.process_id, flush=True)
    time.sleep(1000)
"""
    with subprocess.Popen(
        [sys.executable, "-c", grader],
        stdout=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    ) as process:
        warm = int(process.stdout.readline())
        family = [warm, *descendants(warm)]
        assert len(family) == 3
        process.kill()
    until = time.monotonic() + SOON
    while any(Path(f"/proc/{each}").exists() for each in family):
        assert time.monotonic() < until, f"some of {family} still run"
        time.sleep(0.05)


def test_without_a_sandbox() -> None:
    """Only what does no harm runs here: nothing would hold it."""
    with started(sandbox=False) as server:
        assert server.not_enforced == NOT_ENFORCED
        process = server._server.process_id
        for source in (LEFT_BEHIND["daemon"], "open('left', 'w')", "import os; os.mkdir('left')"):
            run(server, source)
            assert descendants(process) == []
            assert run(server, "import os; print(os.listdir('.'))") == "[]\n"
        run(server, ENDED["computes"][0])
        assert server.ended_by == "It computed for more than 1 seconds."
        os.kill(process, signal.SIGKILL)
        assert run(server, "print('replaced')") == "replaced\n"


def test_without_bubblewrap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SandboxUnavailable, match=r"`bwrap` is not on PATH.*sandbox=False"):
        started().__enter__()


@pytest.mark.skipif(sys.platform != "linux", reason="bubblewrap is for Linux")
def test_bubblewrap_that_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretended = tmp_path / "bwrap"
    pretended.write_text("#!/bin/sh\necho 'bwrap: No permissions to create namespace' >&2\nexit 1")
    pretended.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(SandboxUnavailable, match=r"No permissions to create namespace.*0\.8"):
        started().__enter__()


def test_a_function_that_is_not_there() -> None:
    server = WarmServer(function="nowhere:serve", sandbox=False)
    with pytest.raises(RuntimeError, match="No module named 'nowhere'"), server:
        pass


def test_machines_with_other_system_calls() -> None:
    assert len(syscall_filter("aarch64")) == len(syscall_filter("x86_64")) - 16
    with pytest.raises(ValueError, match="not for 'riscv64'"):
        syscall_filter("riscv64")
