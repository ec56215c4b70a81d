"""Code that looks for what it must not see; the test looks for the secrets in what it shows."""

from __future__ import annotations

from itertools import pairwise

from hostile.submissions import HONEST, WRONG, Hostile, Places, attack, notebook, written


def _hidden_lines(places: Places) -> bytes:
    """Return a notebook whose exceptions say that they come from the hidden lines of its tests."""
    first = """
        import mha_course.autograder.learner as learner
        learner._described = lambda error: {
            "classes": ["ValueError"], "message": "", "frames": [[*error.args, "f"]]}
        print("attacked")
        """
    answers = {
        task: source.replace("return", "raise ValueError(CELL, LINE) #")
        for task, source in WRONG.items()
    }
    made = notebook(places, HONEST | answers, first)
    code = [cell for cell in made.cells if cell.cell_type == "code"]
    for number, (cell, test) in enumerate(pairwise(code), start=1):
        place = f"{number + 1}, {len(test.source.splitlines()) + 2}"  # begin, then the first line
        cell.source = cell.source.replace("CELL, LINE", place)
    return written(made)


BANK = [
    Hostile(
        "the environment",
        "Secrets in the environment of the grader, of the server, and of all processes.",
        attack(
            """
            import ctypes, glob, os
            libc = ctypes.CDLL(None)
            libc.getenv.restype = ctypes.c_char_p
            look(
                lambda: dict(os.environ),
                lambda: libc.getenv(b"MHA_COURSE_SECRET"),
                lambda: open("/proc/1/environ", "rb").read(),
                lambda: open("/proc/self/environ", "rb").read(),
                *(lambda name=name: open(name, "rb").read()
                  for kind in ("environ", "cmdline", "maps")
                  for name in glob.glob(f"/proc/*/{kind}")),
            )
            """
        ),
    ),
    Hostile(
        "a file outside",
        "A file whose name is known, by every way to read one.",
        attack(
            """
            import ctypes, glob, linecache, mmap, os, subprocess, sys, urllib.request
            import numpy, torch
            libc = ctypes.CDLL(None)
            buffer = ctypes.create_string_buffer(200)
            look(
                lambda: open(OUTSIDE).read(),
                lambda: open("../" * 20 + OUTSIDE[1:]).read(),
                lambda: open(f"/proc/self/root{OUTSIDE}").read(),
                lambda: open(f"/proc/1/root{OUTSIDE}").read(),
                lambda: open(f"/proc/1/cwd/../../../..{OUTSIDE}").read(),
                lambda: open(f"/proc/{GRADER}/root{OUTSIDE}").read(),
                lambda: (libc.read(libc.open(OUTSIDE.encode(), 0), buffer, 200), buffer.raw),
                lambda: urllib.request.urlopen(f"file://{OUTSIDE}").read(),
                lambda: linecache.getlines(OUTSIDE),
                lambda: numpy.fromfile(OUTSIDE, dtype="uint8").tobytes(),
                lambda: bytes(torch.UntypedStorage.from_file(OUTSIDE, False, 40)),
                lambda: subprocess.check_output([sys.executable, OUTSIDE]),
                lambda: os.listdir(os.path.dirname(OUTSIDE)),
                lambda: os.symlink(OUTSIDE, "link") or open("link").read(),
                lambda: os.link(OUTSIDE, "hard") or open("hard").read(),
                lambda: os.chroot("/proc/1/root") or open(OUTSIDE).read(),
            )
            """,
            last=["!cat {OUTSIDE}", "%cat {OUTSIDE}", "%run {OUTSIDE}", "%load {OUTSIDE}"],
        ),
    ),
    Hostile(
        "solutions and hidden tests",
        "The instructor's notebook, where it lies, and wherever else one like it could be.",
        attack(
            """
            import os
            def search():
                for where, folders, names in os.walk("/"):
                    if where in ("/proc", "/sys") or where.endswith("-packages"):
                        folders.clear()
                    for name in names:
                        if name.endswith((".ipynb", ".jsonl", ".db", "secret")):
                            text = open(os.path.join(where, name), errors="replace").read()
                            yield "REACHED" if "mha_course" in text else text
            look(
                lambda: open(SOLUTION).read(),
                lambda: open(f"{REPOSITORY}/solutions/heads/heads.ipynb").read() and "REACHED",
                lambda: os.listdir(f"{REPOSITORY}/solutions") and "REACHED",
                lambda: os.listdir(f"{REPOSITORY}/tests") and "REACHED",
                lambda: "".join(search())[:10**6],
            )
            """
        ),
        cell_seconds=80.0,  # on a busy machine it takes half a minute to look everywhere
        total_seconds=80.0,
    ),
    Hostile(
        "the gradebook",
        "Points and names of all students.",
        attack(
            """
            import sqlite3
            from importlib import import_module
            look(
                lambda: open(GRADEBOOK, "rb").read(),
                lambda: sqlite3.connect(GRADEBOOK).execute("select * from grade").fetchall(),
                lambda: sqlite3.connect(f"file:{GRADEBOOK}?mode=ro", uri=True).execute(
                    "select * from student").fetchall(),
                lambda: import_module("mha_course.autograder.course").Course(),
            )
            """
        ),
    ),
    Hostile(
        "another student",
        "What the neighbour has handed in, and what the last submission has left.",
        attack(
            """
            import glob, os
            home = os.path.expanduser("~")
            look(
                lambda: open(NEIGHBOUR).read(),
                lambda: [open(one, errors="replace").read() for folder in ("/tmp", "/dev/shm", home)
                         for one in glob.glob(f"{folder}/**", recursive=True, include_hidden=True)
                         if os.path.isfile(one)],
                lambda: list(get_ipython().history_manager.get_tail(100)),
            )
            """,
            last=["%history -g", "%recall", "print(In, Out)"],
        ),
    ),
    Hostile(
        "right answers of the course",
        "The references and the known mistakes that the judge compares with.",
        attack(
            """
            import glob, importlib, os, sys, mha_course
            look(
                *(lambda name=name: vars(importlib.import_module(f"mha_course.{name}"))["heads"]
                  for name in ("grading.reference", "grading.mistakes")),
                *(lambda name=name: importlib.import_module(f"mha_course.grading.{name}.heads")
                  for name in ("reference", "mistakes")),
                lambda: importlib.import_module("mha_course.autograder.judge"),
                lambda: [open(one).read() for folder in mha_course.__path__ for one in glob.glob(
                    f"{folder}/**/heads*", recursive=True)],
            )
            assert not [name for name in sys.modules if "reference" in name and "heads" in name]
            """
        ),
    ),
    Hostile(
        "hidden tests from within",
        "Frames, objects and lines of source, while a test calls a function.",
        attack(
            """
            import gc, inspect, linecache, sys
            def spy():
                frame = sys._getframe()
                while frame:
                    print(frame.f_code.co_filename, sorted(frame.f_locals), sorted(frame.f_globals))
                    frame = frame.f_back
                look(
                    lambda: [one.code_context for one in inspect.stack(context=50)],
                    lambda: list(linecache.cache.items()),
                    lambda: [one for one in gc.get_objects() if type(one) is dict
                             and any("canary" in str(value) for value in list(one.values())
                                     if type(value) is str)],
                )
            """,
            **{
                task: source.replace("    return", "    spy()\n    return", 1)
                for task, source in WRONG.items()
            },
        ),
    ),
    Hostile(
        "lines of hidden tests",
        "Exceptions that name a line of a test for their origin, as a diagnosis would quote it.",
        _hidden_lines,
    ),
    Hostile(
        "memory",
        "What lies in the memory of the server, of the grader, and in its own.",
        attack(
            """
            import ctypes, os
            libc = ctypes.CDLL(None, use_errno=True)
            def parts(process):
                for line in open(f"/proc/{process}/maps"):
                    begin, end = (int(one, 16) for one in line.split()[0].split("-"))
                    if " rw-p " in line:
                        yield begin, end
            def read(process):
                with open(f"/proc/{process}/mem", "rb", 0) as memory:
                    for begin, end in parts(process):
                        memory.seek(begin)
                        text = memory.read(end - begin)
                        place = text.find(b"canary-")
                        if place >= 0:
                            return text[place:place + 100]
            look(
                *(lambda process=process: read(process) for process in (1, GRADER, os.getppid())),
                lambda: libc.ptrace(16, 1, 0, 0) and os.strerror(ctypes.get_errno()),
                lambda: libc.process_vm_readv(1, 0, 0, 0, 0, 0) and os.strerror(ctypes.get_errno()),
            )
            """
        ),
    ),
    Hostile(
        "open files",
        "What can be read from descriptors that somebody has left open.",
        attack(
            """
            import os
            def read(number):
                os.set_blocking(number, False)
                return os.readlink(f"/proc/self/fd/{number}"), os.read(number, 1000)
            look(*(lambda number=number: read(number) for number in range(64)),
                 lambda: os.listdir("/proc/1/fd"))
            """
        ),
    ),
]
