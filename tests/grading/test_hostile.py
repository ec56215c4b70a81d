"""Submissions that mean harm get the points of what they solve, and do none.

The bank is in `hostile/`. Each submission with hostile code goes through a grader, and after each
an honest one must come out as if nothing had been. `test_hostile_class.py` has the rest of them.
"""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import nbformat
import pytest
from conftest import require
from course import SOLUTION, read
from hostile import (
    channel,
    files,
    network,
    patching,
    processes,
    reading,
    resources,
    scores,
    tampering,
    writing,
)
from hostile.submissions import HONEST, attack, notebook, written
from hostile.world import SECRET, World, points_of, with_marked_tests
from nbformat import NotebookNode
from nbgrader.utils import determine_grade, is_grade, is_solution

from mha_course.autograder.findings import MEANING
from mha_course.autograder.grader import Grader
from mha_course.autograder.job import Graded, Job, Settings
from mha_course.autograder.signs import WHAT
from mha_course.autograder.usage import descendants
from mha_course.grading.assignment import grade_id

THEMES = (
    tampering, patching, scores, channel, reading, writing, network, resources, processes,
)  # fmt: skip
BANK = {
    f"{theme.__name__.removeprefix('hostile.')}: {one.name}": one
    for theme in THEMES
    for one in theme.BANK
}
CALM = Settings(cell_seconds=60.0, total_seconds=300.0, memory_mb=768)
SOON = 90.0  # seconds for a submission: ten times what the longest needs, for a busy machine
MARKS = {"ClearSolutions": {"code_stub": {"python": "raise NotImplementedError()"}}}

# What the next submission sees of the world; the same each time, or something was left behind
LOOK = """
import builtins, os, signal, socket, sys, threading, torch
processes = sorted(int(name) for name in os.listdir("/proc") if name.isdigit())
own = [name for name in os.listdir("/tmp") if name.startswith("tmp")]
made = socket.socket(socket.AF_UNIX)
made.bind("\\0" + ABSTRACT)
for seen in (
    processes == [1, os.getpid()],
    threading.active_count(),
    sorted(os.environ.items()),
    [len(own), set(os.listdir("/tmp")) - set(own), os.listdir("/dev/shm")],
    [oct(os.stat(folder).st_mode) for folder in ("/tmp", "/dev/shm")],
    [len(open(f"/proc/sysvipc/{kind}").readlines()) for kind in ("shm", "sem", "msg")],
    [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)],
    [hasattr(module, "left") for module in (torch, builtins)],
    [torch.get_default_dtype(), torch.is_grad_enabled(), torch.initial_seed(), torch.ones(3).sum()],
    [len(sys.modules), len(vars(builtins)), sys.path],
):
    print(seen)
"""


def shortened(made: NotebookNode) -> NotebookNode:
    """Keep the setup, the tasks that are solved as asked, and what the learner has added."""
    kept = ("setup", *HONEST, *(f"test_{task}" for task in HONEST))
    made.cells = [
        cell for cell in made.cells if not grade_id(cell) or grade_id(cell).startswith(kept)
    ]
    return made


SOURCE = nbformat.writes(with_marked_tests(read(SOLUTION)))
SHORT_SOURCE = nbformat.writes(shortened(with_marked_tests(read(SOLUTION))))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("world"))
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MHA_COURSE_SECRET", "HOSTILE_SECRET", "LC_SECRET"):
            patch.setenv(name, f"{SECRET}-environment")
        yield made
    made.close()


@pytest.fixture(scope="module")
def grader(world: World) -> Iterator[Grader]:
    require("bwrap", hint="apt install bubblewrap")
    assert world.places  # its secrets are in the environment by now
    with Grader(CALM) as made:
        yield made


def grade(grader: Grader, data: bytes, source: str = SOURCE) -> Graded:
    job = Job("heads", "heads", "mallory", "0" * 32, source, data, "", {}, MARKS)
    return Graded.from_bytes(grader.grade(job.to_bytes()))


def grade_next(grader: Grader, world: World) -> Graded:
    """Grade somebody who has solved two tasks, and looks around."""
    made = shortened(notebook(world.places, HONEST, last=[LOOK]))
    return grade(grader, written(made), SHORT_SOURCE)


@pytest.fixture(scope="module")
def untouched(world: World, grader: Grader) -> Graded:
    """What comes of an honest submission before there was any other."""
    return grade_next(grader, world)


def points(graded: Graded) -> dict[str, float]:
    """Return the points of each test, as nbgrader reads them."""
    tests = (cell for cell in graded.read().cells if is_test(cell))
    return {grade_id(cell): determine_grade(cell)[0] for cell in tests}


def is_test(cell: NotebookNode) -> bool:
    return is_grade(cell) and not is_solution(cell)


def released(graded: Graded) -> str:
    """Return all that is kept of a result, but for the sources of the tests."""
    made = graded.read()
    for cell in filter(is_test, made.cells):
        cell.source = ""
    return json.dumps([made, graded.tests, graded.findings], ensure_ascii=False)


def put_out(graded: Graded) -> str:
    """Return what cells have put out, and what was found."""
    outputs = [cell.get("outputs") for cell in graded.read().cells]
    return json.dumps([outputs, graded.findings], ensure_ascii=False)


def timeless(graded: Graded) -> Graded:
    """Return a result without times, which are never the same."""
    tests = tuple(test._replace(seconds=0.0) for test in graded.tests)
    return graded._replace(tests=tests, seconds=0.0, cell_seconds=0.0)


def test_the_bank_is_large_and_says_what_it_is() -> None:
    names = [one.name for one in files.BANK]
    assert len(BANK) == sum(len(theme.BANK) for theme in THEMES)
    assert len(names) == len(set(names))
    assert len(BANK) + len(names) > 150
    assert all(one.tries.endswith(".") for one in (*BANK.values(), *files.BANK))


def test_an_honest_submission_gets_its_points_and_no_finding_of_others(untouched: Graded) -> None:
    assert sum(points(untouched).values()) == 3
    assert {finding.kind for finding in untouched.findings} <= set(WHAT)


@pytest.mark.parametrize("name", BANK)
def test_hostile_code(name: str, grader: Grader, world: World, untouched: Graded) -> None:
    one = BANK[name]
    server = grader._server._server.process_id
    grader.settings = CALM._replace(cell_seconds=one.cell_seconds, total_seconds=one.total_seconds)
    begun = time.monotonic()
    graded = grade(grader, one.make(world.places))
    seconds = time.monotonic() - begun
    grader.settings = CALM
    said = put_out(graded)
    print(f"{seconds:.1f} seconds, {graded.processes} processes: {said[:20_000]}")

    assert points(graded) == points_of(one.solved)
    assert [words for words in one.seen if words not in said] == []
    assert set(one.findings) <= {finding.kind for finding in graded.findings} <= MEANING.keys()
    assert "REACHED" not in said
    assert SECRET not in released(graded)
    assert world.harm() == []
    assert seconds < SOON
    assert descendants(server) == []
    assert timeless(grade_next(grader, world)) == timeless(untouched)
    assert grader._server._server.process_id == server


def test_what_gets_out_is_seen(tmp_path: Path) -> None:
    """Without a sandbox a submission can do what the others try: the tests would see it."""
    world = World(tmp_path)
    act = attack(
        """
        import socket
        look(
            lambda: open(OUTSIDE).read(),
            lambda: open(OUTSIDE, "a").write("pwned"),
            lambda: socket.create_connection(("127.0.0.1", PORT)).close(),
        )
        """
    )
    with Grader(CALM._replace(sandbox=False)) as grader:
        graded = grade(grader, act(world.places))
    assert points(graded) == points_of(tuple(HONEST))
    assert f"{SECRET}-outside" in released(graded)
    assert len(world.harm()) == 2
    world.close()


# Tests as nbgrader's users write them, which stand on nothing of the course's


class Ordinary(NamedTuple):
    """A task with ordinary tests, and an answer that means harm.

    Attributes:
        answer: Source of the solution cell.
        tests: Sources of the test cells, each of 2 points.
        points: What each must give.
        more: Cells that the learner has added, before the tests.
    """

    answer: str
    tests: tuple[str, ...]
    points: tuple[float, ...] = (0,)
    more: tuple[str, ...] = ()


ORDINARY = {
    "partial points, after all that a notebook may put out": Ordinary(
        "def answer(n):\n    return n",
        ("assert answer(2) == 2\n0.5",),
        (0.5,),
        tuple(f"print('x' * {size})" for size in (98_000, 9_000, 300, 0) for _ in range(105)),
    ),
    "a loop that ends too soon": Ordinary(
        "def answer(n):\n    raise StopIteration",
        ("def is_right(n):\n    return answer(n) == n\nassert all(map(is_right, range(3)))",),
    ),
    "a helper that an error came before": Ordinary(
        "def answer(n):\n    raise ValueError\ndef check(value):\n    pass",
        ("answer(2)\ndef check(value):\n    assert value == 5", "check(2)"),
        (0, 0),
    ),
    "a number that is too large for points": Ordinary(
        "def answer(n):\n    return 10**400", ("answer(2)",)
    ),
    "a message that is too long to keep": Ordinary(
        "def answer(n):\n    return 'x' * 10**7", ("assert answer(2) == 2, answer(2)",)
    ),
    "a finding of the learner's own making": Ordinary(
        "class SubmissionStopped(Exception): pass\n"
        "def answer(n):\n    raise SubmissionStopped('all is well')\n"
        "answer(1)",
        ("assert answer(2) == 2",),
    ),
}


@pytest.mark.parametrize("name", ORDINARY)
def test_ordinary_tests_hold(name: str, grader: Grader) -> None:
    one = ORDINARY[name]
    tests = [
        _graded_cell(f"test_{number}", test, grade=True, locked=True, points=2)
        for number, test in enumerate(one.tests)
    ]
    cells = [_graded_cell("answer", one.answer, solution=True), *tests]
    source = nbformat.v4.new_notebook(cells=cells)
    handed_in = copy.deepcopy(source)
    handed_in.cells[1:1] = [nbformat.v4.new_code_cell(each) for each in one.more]
    graded = grade(grader, written(handed_in), nbformat.writes(source))
    assert tuple(points(graded).values()) == one.points
    assert "all is well" not in str(graded.findings)
    assert sum(len(each.error) for each in graded.tests) < 20_000
    assert len(graded.to_bytes()) < 25_000_000


def _graded_cell(name: str, source: str, **settings: object) -> NotebookNode:
    defaults = {"grade": False, "locked": False, "solution": False, "task": False}
    cell = nbformat.v4.new_code_cell(source)
    cell.metadata.nbgrader = defaults | settings | {"grade_id": name, "schema_version": 3}
    return cell
