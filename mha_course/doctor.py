"""What this machine has of what the course needs, and what to do about the rest."""

from __future__ import annotations

import os
import re
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mha_course import installed
from mha_course.installed import PACKAGE, distribution, version

if TYPE_CHECKING:
    from mha_course.autograder.course import Course

GOOD, WITHOUT, BAD = "ok", "without", "BAD"
"""There; not there, but only needed for what is named; not there, and the course needs it."""

PYTHON = (3, 11)
ROOM = 2 * 10**9  # bytes for the book and a class that is graded
CONSTRAINTS = Path(".ci/constraints.txt")
_MOST_NAMED = 5
_OTHERS = 0o007  # rights of accounts that are neither the owner nor in the group
_FOR = {
    "": "the reference implementations",
    "figures": "figures",
    "experiments": "`mha-course experiment`",
    "models": "`mha-course heads`",
    "report": "the report of `mha-course heads`",
    "book": "`make book`",
    "pdf": "`make pdf`",
    "widgets": "live figures in JupyterLab",
    "exercises": "`make lab`, and releasing exercises",
    "grading": "`mha-course grade`",
    "hub": "`make hub`",
    "test": "`make test`",
}
"""Of each extra of the package, what it is for."""


class Look(NamedTuple):
    """What was found in one place.

    Attributes:
        what: The place.
        state: GOOD, WITHOUT or BAD.
        says: What is there, or what is missing.
        do: The way out; empty if all is well.
    """

    what: str
    state: str
    says: str
    do: str = ""


def examine(folder: Path) -> Iterator[Look]:
    """Look at everything, the quickest first.

    Args:
        folder: Of the course; where there is none, that part is left out.
    """
    for look in (python, packages, tested_versions, kernel, browser, room, gpu, sandbox, course):
        try:
            yield from look(folder)
        except Exception as error:  # one place must not keep us from the others
            says = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            yield Look(look.__name__.replace("_", " "), BAD, says, "mend that, and look again")


def lines(looks: list[Look]) -> Iterator[str]:
    """Yield what was found, and below it what to do."""
    width = max(len(look.what) for look in looks)
    for look in looks:
        yield f"{look.state:8}{look.what:{width}}  {look.says}"
        if look.do:
            yield f"{'':8}{'':{width}}  → {look.do}"


def python(_: Path) -> Iterator[Look]:
    """Look at the version of Python."""
    found = ".".join(map(str, sys.version_info[:3]))
    says = f"{found}, {sys.executable}"
    if sys.version_info >= PYTHON:
        yield Look("Python", GOOD, says)
    else:
        wanted = ".".join(map(str, PYTHON))
        yield Look("Python", BAD, says, f"install Python {wanted}: make PYTHON=python{wanted}")


def packages(_: Path) -> Iterator[Look]:
    """Look for the packages that each part of the course needs."""
    for extra, missing in missing_packages().items():
        part = f"{PACKAGE}[{extra}]" if extra else PACKAGE
        purpose = _FOR.get(extra, extra)
        if not missing:
            yield Look(part, GOOD, f"for {purpose}")
        else:
            state = WITHOUT if extra else BAD
            names = ", ".join(missing)
            yield Look(part, state, f"{purpose}: needs {names}", f"pip install '{part}'")


def missing_packages() -> dict[str, list[str]]:
    """Return for each extra of the package, "" for none, what it needs and is not there."""
    from packaging.requirements import Requirement  # comes with matplotlib, Jupyter and pytest

    own = distribution(PACKAGE)
    written = [Requirement(line) for line in own.requires or ()]
    extras = ["", *(own.metadata.get_all("Provides-Extra") or ())]
    found: dict[str, list[str]] = {}
    for extra in extras:
        mine = [
            one
            for one in written
            if one.name != PACKAGE and (one.marker is None) == (extra == "")
            if one.marker is None or one.marker.evaluate({"extra": extra})
        ]
        found[extra] = [
            f"{one.name}{one.specifier} ({there or 'not installed'})"
            for one in mine
            if (there := version(one.name)) is None
            or not one.specifier.contains(there, prereleases=True)
        ]
    return found


def tested_versions(folder: Path) -> Iterator[Look]:
    """Compare what is installed with the versions that the course is tested with."""
    file = folder / CONSTRAINTS
    if not file.is_file():
        return
    pinned = dict(re.findall(r"^([\w.-]+)==(\S+)$", file.read_text("utf-8"), re.MULTILINE))
    found = {name: there for name in pinned if (there := version(name)) is not None}
    other = [
        f"{name} {there}, tested with {pinned[name]}"
        for name, there in found.items()
        if there.partition("+")[0] != pinned[name]
    ]
    if not other:
        yield Look("versions", GOOD, f"{len(found)} packages are as tested")
        return
    more = f" and {len(other) - _MOST_NAMED} more" if len(other) > _MOST_NAMED else ""
    says = f"numbers and points may differ: {'; '.join(other[:_MOST_NAMED])}{more}"
    yield Look("versions", WITHOUT, says, f"pip install -r requirements.txt -c {CONSTRAINTS}")


def kernel(_: Path) -> Iterator[Look]:
    """See that notebooks run in this environment."""
    try:
        from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel
    except ImportError:
        yield Look("kernel", WITHOUT, "no Jupyter", f"pip install '{PACKAGE}[exercises]'")
        return
    way_out = f"{sys.executable} -m ipykernel install --sys-prefix"
    try:
        command = KernelSpecManager().get_kernel_spec("python3").argv
    except NoSuchKernel:
        yield Look("kernel", BAD, "there is no kernel python3", way_out)
        return
    program = shutil.which(command[0]) or command[0]
    if not Path(program).exists():
        yield Look("kernel", BAD, f"python3 runs {program}, which is not there", way_out)
    elif Path(command[0]).is_absolute() and Path(program).parent != Path(sys.executable).parent:
        yield Look("kernel", BAD, f"python3 runs another Python, {program}", way_out)
    else:
        yield Look("kernel", GOOD, "python3 runs in this environment")


def browser(_: Path) -> Iterator[Look]:
    """Look for a browser that can be driven."""
    found = installed.browser()
    if found:
        yield Look("browser", GOOD, found)
    else:
        says = "none on PATH; `make pdf` and the tests of pages need one"
        yield Look("browser", WITHOUT, says, "apt install chromium, or install Chrome")


def room(folder: Path) -> Iterator[Look]:
    """Look at how much room is left on the disks."""
    for what, where in (("disk", folder), ("scratch disk", Path(tempfile.gettempdir()))):
        free = shutil.disk_usage(where).free
        says = f"{free / 10**9:.1f} GB free at {where}"
        do = "" if free >= ROOM else f"make room: {ROOM / 10**9:g} GB are needed"
        yield Look(what, BAD if do else GOOD, says, do)


def gpu(_: Path) -> Iterator[Look]:
    """Say which device torch would take."""
    import torch

    from mha_course.device import device

    chosen = device()
    if chosen.type == "cpu":
        yield Look(
            "GPU", WITHOUT, f"torch {torch.__version__} computes on the CPU, which is enough"
        )
    else:
        name = torch.cuda.get_device_name(chosen) if chosen.type == "cuda" else str(chosen)
        yield Look("GPU", GOOD, f"torch {torch.__version__} computes on {name}")


def sandbox(_: Path) -> Iterator[Look]:
    """Start the sandbox in which submissions run, and end it."""
    if missing_packages().get("grading"):
        return  # said already
    from mha_course.autograder.sandbox import SandboxUnavailable
    from mha_course.autograder.warm_server import WarmServer

    try:
        with WarmServer():
            yield Look("sandbox", GOOD, "submissions can be graded here, shut in")
    except SandboxUnavailable as error:
        says, _dot, do = str(error).partition(". ")
        yield Look("sandbox", WITHOUT, f"no grading here: {says}", do)


def course(folder: Path) -> Iterator[Look]:
    """Look at a course's settings, secret and gradebook; nothing is made that is not there."""
    if missing_packages().get("grading"):
        return
    from mha_course.autograder.course import CONFIG, Course

    if not (folder / CONFIG).is_file():
        yield Look(
            "course", WITHOUT, f"{folder} is no course folder", "go to yours to have it seen"
        )
        return
    found = Course(folder)
    names = found.assignments()
    yield Look("course", GOOD if names else BAD, f"assignments: {', '.join(names) or 'none'}")
    yield from _folder(found)
    yield _secret(found)
    yield _gradebook(found.directory.db_url)
    yield from _class(found)
    yield from _exchange(found)


def _folder(found: Course) -> Iterator[Look]:
    """See that nobody else reads solutions and grades; a public checkout has only the former."""
    from mha_course.classroom.folder import MANIFEST

    if (found.root / MANIFEST).is_file() and found.root.stat().st_mode & _OTHERS:
        says = f"other accounts can open {found.root}, with the solutions and grades in it"
        yield Look("folder", BAD, says, f"chmod 700 {found.root}")


def _secret(found: Course) -> Look:
    """Look for what the hidden tests' numbers are made with."""
    from mha_course.autograder.course import RECORDS
    from mha_course.autograder.seeds import SECRET_FILE, SECRET_VARIABLE

    file = found.root / SECRET_FILE
    if os.environ.get(SECRET_VARIABLE, "").strip():
        return Look("secret", GOOD, f"that of {SECRET_VARIABLE}")
    if file.is_file():
        if file.stat().st_mode & 0o077:
            return Look("secret", BAD, f"others can read {file}", f"chmod 600 {file}")
        return Look("secret", GOOD, f"{file}; keep a copy")
    if any((found.root / RECORDS).glob("*.jsonl")):
        do = "put a copy of it back; with a new one, students get other numbers than before"
        return Look("secret", BAD, f"{file} is gone, and a class was graded with it", do)
    return Look("secret", GOOD, "is made when the first submission is graded")


def _class(found: Course) -> Iterator[Look]:
    """Look at the list of the class and at what late work costs, if the course has them."""
    from mha_course.classroom.late import LatePolicy, policy
    from mha_course.classroom.students import LIST, listed

    if (found.root / LIST).exists():
        try:
            yield Look("class", GOOD, f"{len(listed(found.root))} students in {LIST}")
        except ValueError as error:
            says = " ".join(str(error).split())
            yield Look("class", BAD, says, f"mend {LIST}, then `mha-course students {LIST}`")
    if "LatePolicy" in found.app.config:
        try:
            chosen = policy(found.app.config)
        except ValueError as error:
            yield Look("late work", BAD, str(error), "mend that line")
        else:
            if isinstance(chosen, LatePolicy):
                yield Look("late work", GOOD, chosen.says())


def _exchange(found: Course) -> Iterator[Look]:
    """Look at the folder through which learners fetch and submit, if the course names one."""
    if "root" not in found.app.config.get("Exchange", {}):
        return
    folder = Path(found.app.config.Exchange.root)
    way_out = f"chmod 1777 {folder}"
    if not folder.exists():
        yield Look(
            "exchange", GOOD, f"{folder} is made with the first `nbgrader release_assignment`"
        )
    elif not folder.is_dir():
        do = f"c.Exchange.root in {found.root}/nbgrader_config.py must name a folder"
        yield Look("exchange", BAD, f"{folder} is no folder", do)
    elif not os.access(folder, os.W_OK | os.X_OK):
        yield Look("exchange", BAD, f"you cannot write to {folder}", way_out)
    elif folder.stat().st_mode & _OTHERS != _OTHERS:
        says = f"learners with accounts of their own cannot write to {folder}"
        yield Look("exchange", WITHOUT, says, way_out)
    elif not folder.stat().st_mode & stat.S_ISVTX:
        says = f"in {folder}, a learner can move the course's folder away, and put another there"
        yield Look("exchange", BAD, f"{says}, which gets all that is submitted", way_out)
    else:
        yield Look("exchange", GOOD, f"{folder}; everybody can write to it")


def _gradebook(address: str) -> Look:
    from sqlalchemy import create_engine, inspect, text
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import SQLAlchemyError

    url = make_url(address)
    shown = url.render_as_string(hide_password=True)
    if url.drivername == "sqlite" and not Path(url.database or "").is_file():
        return Look("gradebook", GOOD, f"{shown} is made with the first grade")
    try:
        engine = create_engine(url)
        with engine.connect() as connection:
            if not inspect(connection).has_table("student"):
                return Look("gradebook", GOOD, f"{shown} is empty")
            students = connection.execute(text("SELECT count(*) FROM student")).scalar_one()
        engine.dispose()
    except (SQLAlchemyError, ImportError) as error:
        reason = " ".join(str(getattr(error, "orig", None) or error).split())[:200]
        do = "see that the database runs, and c.CourseDirectory.db_url in nbgrader_config.py"
        return Look("gradebook", BAD, f"{shown}: {reason}", do)
    return Look("gradebook", GOOD, f"{shown}, {students} students")
