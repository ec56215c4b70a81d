"""Code that ends, crashes, hangs, or uses up what there is."""

from __future__ import annotations

import nbformat
from nbformat import NotebookNode

from hostile.channel import ENDED
from hostile.submissions import HONEST, WRONG, Hostile, attack, changed

DID_NOT_STOP = "did not stop"
TIME_OVER = "ran for more than"
FIRST_ONLY = ("d_k_of_1024_by_16",)
BRIEF = 1.0  # seconds for a cell


def _at(source: str) -> dict[str, str]:
    """Return answers of which one does it when its cell runs, and one when it is called."""
    inside = "\n".join(f"    {line}" for line in source.splitlines())
    return {
        "head_dim": f"def head_dim(*_):\n{inside}",
        "attend": f"{WRONG['attend']}\n{source}",
    }


def _many_cells(made: NotebookNode) -> None:
    made.cells += [nbformat.v4.new_code_cell(f"a{i} = [{i}] * {i}") for i in range(400)]


BANK = [
    Hostile(
        "exit",
        "Processes that end, in all ways that Python has.",
        attack(
            "import os, signal, sys",
            **_at("os._exit(0)"),
            split_heads="def split_heads(*_):\n    sys.exit(0)",
            merge_heads="def merge_heads(*_):\n    os.kill(os.getpid(), signal.SIGKILL)",
            multi_head="os.abort()",
            price_of_w_o="quit()",
        ),
        seen=(ENDED,),
        findings=("stopped",),
    ),
    Hostile(
        "crash",
        "Processes that fall over: a null pointer, a broken object, a stack that overflows.",
        attack(
            "import ctypes, sys",
            **_at("ctypes.string_at(0)"),
            split_heads="""
                def split_heads(*_):
                    ctypes.memset(id(sys.modules), 0xFF, 32)
                    sys.modules.clear()
                """,
            merge_heads="""
                def merge_heads(*args):
                    sys.setrecursionlimit(10**9)
                    return [merge_heads(*args)]
                """,
        ),
        seen=(ENDED,),
        findings=("stopped",),
    ),
    Hostile(
        "endless loops",
        "Loops that never end, one of which catches everything.",
        attack(
            attend="def attend(*_):\n    while True: pass",
            split_heads="""
                def split_heads(*_):
                    while True:
                        try:
                            while True: pass
                        except BaseException: pass
                """,
        ),
        seen=(TIME_OVER,),
        cell_seconds=BRIEF,
    ),
    Hostile(
        "deaf to signals",
        "A process that ignores every signal.",
        attack(
            """
            import os, signal, time
            def deaf():
                for number in range(1, signal.NSIG):
                    try: signal.signal(number, signal.SIG_IGN)
                    except (OSError, ValueError): pass
                signal.pthread_sigmask(signal.SIG_BLOCK, range(1, signal.NSIG))
                while True: time.sleep(1000)
            """,
            attend="def attend(*_):\n    deaf()",
        ),
        seen=(DID_NOT_STOP,),
        findings=("stopped",),
        cell_seconds=BRIEF,
    ),
    Hostile(
        "traps in methods",
        "Objects that hang when they are shown, deleted, copied or asked for anything.",
        attack(
            """
            def hang(*_):
                while True: pass
            class Trap:
                __repr__ = __iter__ = __len__ = __float__ = __getattr__ = __del__ = hang
            print("attacked")
            """,
            mean_pattern="def mean_pattern(_):\n    return Trap()",
        ),
        cell_seconds=BRIEF,
    ),
    Hostile(
        "all the time there is",
        "Cells that each take a little less than they may.",
        attack(
            "import time\nprint('attacked')",
            **{task: f"{source}\ntime.sleep(0.8)" for task, source in WRONG.items()},
        ),
        seen=("for the whole submission are over",),
        findings=("stopped",),
        solved=FIRST_ONLY,
        cell_seconds=BRIEF,
        total_seconds=2.0,
    ),
    Hostile(
        "memory",
        "Lists, tensors, maps and pieces of all sizes until there is no more.",
        attack(
            "import mmap, torch\nprint('attacked')",
            head_dim="def head_dim(*_):\n    return bytearray(2**36)",
            attend="def attend(*_):\n    return torch.ones(2**33)",
            mean_pattern="""
                def mean_pattern(_):
                    kept = []
                    while True: kept.append(bytearray(2**22))
                """,
            split_heads="mmap.mmap(-1, 2**36)",
        ),
        seen=("attacked", "MemoryError"),
    ),
    Hostile(
        "memory of many processes",
        "The same in several processes, each of which takes as much as one may.",
        attack(
            """
            import os, time
            print("attacked")
            """,
            head_dim="""
                for _ in range(6):
                    if os.fork() == 0:
                        kept = bytearray(b"x") * (180 * 2**20)
                        time.sleep(1000)
                time.sleep(1000)
                """,
        ),
        seen=("attacked", "MB of memory"),
        findings=("stopped",),
        cell_seconds=20.0,
    ),
    Hostile(
        "forks",
        "Processes that make processes.",
        attack(
            """
            import os, threading, time
            print("attacked")
            """,
            attend="""
                def attend(*_):
                    while True:
                        try: os.fork()
                        except OSError: pass
                """,
        ),
        cell_seconds=BRIEF,
    ),
    Hostile(
        "threads",
        "Threads that make room for nobody else.",
        attack(
            """
            import threading, time
            def sleep(): time.sleep(1000)
            print("attacked")
            for _ in range(10_000):
                threading.Thread(target=sleep, daemon=True).start()
            """
        ),
        seen=("attacked", "can't start new thread"),
    ),
    Hostile(
        "disk",
        "Large files, many files, and files that have no name any more.",
        attack(
            """
            def fill(folder):
                for i in range(10_000):
                    with open(f"{folder}/{i}", "wb") as file:
                        for _ in range(16): file.write(bytes(2**20))
            print("attacked")
            look(
                lambda: fill("/tmp"),
                lambda: fill("/dev/shm"),
                lambda: open("/tmp/large", "wb").truncate(2**40),
            )
            """
        ),
        seen=("attacked", "No space left"),
    ),
    Hostile(
        "files",
        "As many empty files as there can be.",
        attack(
            "print('attacked')",
            head_dim="""
                import os, time
                for i in range(10**6): os.mkdir(f"/dev/shm/{i}")
                """,
        ),
        seen=("attacked", "files"),
        findings=("stopped",),
        cell_seconds=20.0,
    ),
    Hostile(
        "open files",
        "Every descriptor that there is.",
        attack(
            """
            import os
            kept = []
            look(lambda: [kept.append(os.open("/dev/null", os.O_RDONLY)) for _ in range(10**5)])
            """
        ),
        seen=("attacked", "Too many open files"),
        solved=tuple(HONEST),
    ),
    Hostile(
        "prints",
        "Cells that print without end, and in all places.",
        attack(
            "import sys\nprint('attacked')",
            attend="def attend(*_):\n    while True: print('x' * 1000)",
            mean_pattern="print('y' * 10**6, file=sys.stderr)",
            split_heads="def split_heads(*_):\n    return 'z' * 10**7",
        ),
        seen=("attacked", "left out", TIME_OVER),
        cell_seconds=BRIEF,
    ),
    Hostile(
        "errors that are long",
        "Exceptions whose tracebacks hold millions of characters, in many cells.",
        attack(
            """
            class Long(Exception):
                def _render_traceback_(self): return ["x" * 100_000] * 100
                def __str__(self): return "y" * 10**6
            print("attacked")
            """,
            last=["raise Long"] * 14,
            head_dim="def head_dim(*_):\n    raise Long",
        ),
        findings=("much-output",),
    ),
    Hostile(
        "outputs that grow when written",
        "Signs that take ten times their place in a file.",
        attack(
            "print('attacked')",
            last=["print('\U0001f600' * 98_000)"] * 90,
        ),
        findings=("much-output",),
    ),
    Hostile(
        "pictures",
        "A hundred figures, and some that are too large.",
        attack(
            last=[
                """
                import matplotlib.pyplot as plt
                for _ in range(150): plt.figure(figsize=(0.3, 0.3))
                print("attacked")
                """,
                "kept = get_ipython().collected\n"
                "kept.display('display_data', {'image/png': b'\\x89PNG' + bytes(6_000_000)})",
            ]
        ),
        findings=("stopped",),
    ),
    Hostile(
        "many cells",
        "Hundreds of cells, each with something to keep.",
        changed(_many_cells),
    ),
    Hostile(
        "code that is hard to read",
        "Sources at which a parser runs out of stack, and one that is no text for Python.",
        attack(
            "print('attacked')",
            last=[
                "-" * 19_000 + "1",
                "lambda: " * 2_000 + "0",
                "(" * 9_000 + ")" * 9_000,
                "x = " * 4_000 + "1",
                "a" + ".b" * 9_000,
                "print(1)\0",
                "%" * 19_000,
                "f'{1}'" * 3_000,
            ],
        ),
        seen=("attacked", "SyntaxError"),
    ),
    Hostile(
        "answers that are too large",
        "Lists and tensors of many megabytes, and objects without end.",
        attack(
            "import itertools, torch\nprint('attacked')",
            attention_weights="def attention_weights(*_):\n    return torch.ones(2**25)",
            attend="def attend(*_):\n    return [torch.ones(1)] * 60_000",
            mean_pattern="def mean_pattern(_):\n    return itertools.count()",
            split_heads="""
                def split_heads(*_):
                    nested = []
                    for _ in range(10**5): nested = [nested]
                    return nested
                """,
            merge_heads="""
                def merge_heads(*_):
                    own = []
                    own.append(own)
                    return own
                """,
            head_contributions="def head_contributions(*_):\n    return [1] * 1_500_000",
        ),
        seen=("attacked", "nested"),
        cell_seconds=4.0,
    ),
    Hostile(
        "hidden work",
        "Threads, timers and exit handlers that go on when the cell is over.",
        attack(
            """
            import atexit, signal, threading
            def work():
                while True: pass
            threading.Thread(target=work).start()
            atexit.register(work)
            signal.signal(signal.SIGVTALRM, lambda *_: None)
            signal.setitimer(signal.ITIMER_VIRTUAL, 0.01, 0.01)
            print("attacked")
            """
        ),
    ),
    Hostile(
        "a time bomb",
        "A timer that ends the process later on, whatever it does then.",
        attack(
            "import os, threading, time\nprint('attacked')",
            last=["threading.Timer(0.05, os._exit, (0,)).start()", "time.sleep(100)"],
        ),
        seen=("attacked", ENDED),
        findings=("stopped",),
    ),
    Hostile(
        "limits raised",
        "A process that gives itself more, and passes the alarm of the grader over.",
        attack(
            """
            import resource, signal
            for limit in range(16):
                try: resource.setrlimit(limit, (-1, -1))
                except (OSError, ValueError): pass
            signal.setitimer = signal.alarm = signal.signal = lambda *_: None
            print("attacked")
            """,
            head_dim="def head_dim(*_):\n    return bytearray(2**36)",
            split_heads="def split_heads(*_):\n    while True: pass",
        ),
        seen=("attacked", "MemoryError", TIME_OVER),
        cell_seconds=BRIEF,
    ),
]
