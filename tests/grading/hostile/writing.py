"""Code that writes where it must not; the test looks at the files of the grader's machine."""

from __future__ import annotations

from hostile.submissions import Hostile, attack

BANK = [
    Hostile(
        "a file outside",
        "A file of the instructor's, changed, moved and deleted.",
        attack(
            """
            import os, shutil
            look(
                lambda: open(OUTSIDE, "a").write("pwned"),
                lambda: open(f"/proc/1/root{OUTSIDE}", "a").write("pwned"),
                lambda: os.truncate(OUTSIDE, 0),
                lambda: os.rename(OUTSIDE, f"{OUTSIDE}.pwned"),
                lambda: os.unlink(OUTSIDE),
                lambda: os.chmod(OUTSIDE, 0o777),
                lambda: os.utime(OUTSIDE, (0, 0)),
                lambda: shutil.rmtree(os.path.dirname(OUTSIDE)),
                lambda: os.makedirs(f"{OUTSIDE}-folder"),
            )
            """
        ),
    ),
    Hostile(
        "grades",
        "Full points for everybody, straight into the gradebook.",
        attack(
            """
            import sqlite3
            look(
                lambda: sqlite3.connect(GRADEBOOK).execute("update grade set auto_score = 99"),
                lambda: open(GRADEBOOK, "r+b").write(b"pwned"),
                lambda: open(NEIGHBOUR, "w").write("{}"),
                lambda: open(SOLUTION, "a").write("pwned"),
            )
            """
        ),
    ),
    Hostile(
        "packages",
        "Python, torch and the course itself, for all that come later.",
        attack(
            """
            import os, site, sys
            import torch, mha_course, mha_course.grading.diagnosis as diagnosis
            look(
                *(lambda file=file: open(file, "a").write("pwned")
                  for file in (os.__file__, torch.__file__, mha_course.__file__,
                               diagnosis.__file__, sys.executable)),
                *(lambda folder=folder: open(f"{folder}/pwned.pth", "w").write("import os")
                  for folder in [*sys.path, *site.getsitepackages(), sys.prefix]),
            )
            """
        ),
    ),
    Hostile(
        "everywhere",
        "A file in every folder that there is.",
        attack(
            """
            import os
            def everywhere():
                for where, folders, _ in os.walk("/"):
                    if where.count("/") > 4 or where in ("/proc", "/sys", "/tmp", "/dev/shm"):
                        folders.clear()
                    try:
                        open(f"{where}/pwned", "w").write("pwned")
                        yield where
                    except OSError:
                        pass
            there = sorted(everywhere())
            assert there == ["/dev/shm", "/tmp"], f"REACHED {there}"
            print("attacked")
            """
        ),
    ),
    Hostile(
        "traps for the next",
        "Modules, settings and start-up files where the next submission would find them.",
        attack(
            """
            import os, pathlib
            home = pathlib.Path.home()
            for name in ("torch.py", "math.py", "sitecustomize.py", "mha_course/__init__.py",
                         ".ipython/profile_default/startup/pwned.py", ".config/matplotlib/pwned",
                         ".pythonrc", ".pdbrc", "heads.ipynb"):
                for folder in (home, pathlib.Path("/tmp"), pathlib.Path("/dev/shm")):
                    (folder / name).parent.mkdir(parents=True, exist_ok=True)
                    (folder / name).write_text("raise SystemExit('pwned')")
            print("attacked")
            """
        ),
    ),
    Hostile(
        "what cannot be deleted",
        "Folders in folders, without permissions, with odd names, links and pipes.",
        attack(
            """
            import os, socket
            os.symlink("/", "all")
            os.mkfifo("pipe")
            socket.socket(socket.AF_UNIX).bind("socket")
            open(b"\\xff\\n*", "w")
            os.mkdir("locked")
            open("locked/file", "w")
            os.chmod("locked", 0)
            for _ in range(700):
                os.mkdir("in")
                os.chdir("in")
            for _ in range(700):
                os.chmod(".", 0o300)
                os.chdir("..")
            os.chmod("/tmp", 0)
            print("attacked")
            """
        ),
    ),
    Hostile(
        "the kernel",
        "Settings of the machine, and what outlives every process.",
        attack(
            """
            import ctypes, os
            libc = ctypes.CDLL(None, use_errno=True)
            def refused(result):
                assert result == -1, "REACHED"
                return os.strerror(ctypes.get_errno())
            look(
                lambda: open("/proc/sys/kernel/core_pattern", "w").write("|/bin/sh"),
                lambda: open("/proc/sysrq-trigger", "w").write("b"),
                lambda: open("/proc/1/oom_score_adj", "w").write("1000"),
                lambda: open("/proc/self/oom_score_adj", "w").write("-1000"),
                lambda: os.listdir("/sys/fs/cgroup"),
                lambda: os.mknod("disk", 0o60666, os.makedev(8, 0)),
                lambda: os.setuid(0),
                lambda: refused(libc.shmget(7, 4096, 0o1666)),
                lambda: refused(libc.mount(b"none", b"/tmp", b"tmpfs", 0, None)),
                lambda: refused(libc.unshare(0x10000000)),
            )
            """
        ),
    ),
]
