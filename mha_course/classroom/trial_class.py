"""A class of three on one account, to try everything out before there are students."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from mha_course.autograder.course import CONFIG
from mha_course.classroom.folder import Wanted, init_course
from mha_course.classroom.students import Student

LEARNERS = (
    Student("ada", "Ada", "Lovelace", "ada@example.org"),
    Student("bob", "Bob", "Boole", "bob@example.org"),
    Student("cy", "Cy", "Clifford", "cy@example.org"),
)
LAB = "lab"
"""Name of the program in each folder that starts JupyterLab there."""

# An account has one memory of open tabs: one would find there what another has left open.
_START = """#!/bin/sh
# JupyterLab in this folder, with tabs of its own
cd "$(dirname "$0")" || exit
export JUPYTERLAB_WORKSPACES_DIR="$PWD/.workspaces"
exec jupyter lab "$@"
"""
_ONE_ACCOUNT = """
# In this trial all have your account. In a class, never: anyone could hand in as anyone else.
c.ExchangeCollect.check_owner = False
"""


def trial_class(public: Path, folder: Path, assignments: tuple[str, ...]) -> Iterator[str]:
    """Make a course, an exchange, and a folder for each of three learners; whole or not at all.

    Args:
        public: The public checkout.
        folder: Where to make them; it must not exist, or be empty.
        assignments: Names.

    Yields:
        What was made.

    Raises:
        ValueError: something is in the way, or cannot be.
        OSError: the folder cannot be written.
    """
    folder = folder.resolve()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder} is there already; name a folder that does not exist")
    new = not folder.exists()
    folder.mkdir(exist_ok=True)
    try:
        exchange = folder / "exchange"
        exchange.mkdir()
        wanted = Wanted(students=LEARNERS, exchange=exchange, assignments=assignments)
        for _ in init_course(public, folder / "course", wanted):
            pass  # what it says is for a real class
        with (folder / "course" / CONFIG).open("a", encoding="utf-8") as settings:
            settings.write(_ONE_ACCOUNT)
        for one in LEARNERS:
            own = folder / one.id
            own.mkdir()
            lines = {
                "Exchange.root": str(exchange),
                "Exchange.cache": str(own / ".submitted"),
                "CourseDirectory.student_id": one.id,
            }
            text = "".join(f"c.{name} = {value!r}\n" for name, value in lines.items())
            (own / CONFIG).write_text(text, encoding="utf-8")
        for name in ("course", *(one.id for one in LEARNERS)):
            script = folder / name / LAB
            script.write_text(_START, encoding="utf-8")
            script.chmod(0o755)
    except BaseException:
        for path in [folder] if new else list(folder.iterdir()):
            shutil.rmtree(path)
        raise
    yield f"{folder / 'course'}: you, the instructor"
    for one in LEARNERS:
        yield f"{folder / one.id}: {one.first_name}, a learner"
    yield f"each has a program {LAB} that starts JupyterLab: {folder / 'course' / LAB}"
