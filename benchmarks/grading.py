"""Speed and memory of grading a class, beside `nbgrader autograde` as it comes.

    python -m benchmarks.grading                  # about 20 minutes on 2 cores
    python -m benchmarks.grading --quick          # a class of 12: some minutes
    python -m benchmarks.grading --json FILE      # also write every number to FILE

One class, made of answers from the exercises' bank, right and wrong, is graded by nbgrader's own
steps and by `mha-course grade`, in one run, each in a course folder of its own. The points of every
test must be the same. Then: how much faster are two workers than one? How much longer than its own
cells does a submission take? When does the first result come? Does memory stay flat over ten times
the class?
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import nbformat
import torch
from jupyter_client.manager import start_new_kernel
from nbgrader.api import Gradebook

from benchmarks.timing import conditions, write_json
from mha_course.autograder.records import GRADED, Records
from mha_course.autograder.usage import descendants
from mha_course.grading.assignment import Assignment, grade_id, read_assignment
from mha_course.grading.bank import read_bank
from mha_course.grading.sitting import without_markers

HERE = Path(__file__).resolve().parents[1]
NAME = "heads"
SEED = 0
TIMES_FASTER, TIMES_CELLS, EFFICIENCY, FIRST_SECONDS = 10.0, 3.0, 0.85, 5.0
MOST_BYTES, MOST_GROWTH, WARMED_UP = 1.5 * 2**30, 1.10, 100
STOCK = """
c = get_config()
c.CourseDirectory.course_id = "stock"
c.CourseDirectory.source_directory = "solutions"
c.CourseDirectory.release_directory = "exercises"
c.ClearSolutions.code_stub = {
    "python": 'raise NotImplementedError("Task not done yet: write your code here")'
}
c.ClearSolutions.text_stub = "*Write your answer here, in place of this line.*"
c.Execute.timeout = 60
"""


class Run(NamedTuple):
    """One run of a command over the class.

    Attributes:
        seconds: Of the whole command.
        first: Until the first result was recorded; NaN for nbgrader's own.
        rate: Results a second, after the first fifth of them: all processes have started by then.
    """

    seconds: float
    first: float
    rate: float


class Memory(NamedTuple):
    """Memory of all processes of a run; what several share is counted once.

    Attributes:
        graded: How many results there were.
        bytes: Of all processes together.
    """

    graded: int
    bytes: int


def main() -> int:
    """Measure, and print tables; return 1 where points differ."""
    options = _options()
    torch.set_num_threads(1)
    found: dict[str, Any] = {"conditions": conditions(torch.device("cpu"), SEED, options.rounds)}
    with tempfile.TemporaryDirectory(prefix="mha-bench-") as name:
        folder = Path(name)
        assignment = read_assignment(HERE / "solutions" / NAME / f"{NAME}.ipynb")
        answers = a_class(assignment, options.students)
        print(f"{len(answers)} submissions of {NAME!r}, {os.cpu_count()} cores", flush=True)

        stock_course = make_course(folder / "stock", answers, STOCK)
        stock = run_stock(stock_course)
        _say("nbgrader autograde", stock)

        ours: dict[int, list[Run]] = {1: [], 2: []}
        for round_ in range(options.rounds):
            for workers in ours:
                course = make_course(folder / f"ours-{workers}-{round_}", answers)
                ours[workers].append(run_ours(course, workers))
                _say(f"mha-course grade --workers {workers}", ours[workers][-1])
        differing = list(differences(stock_course, course))
        alone = folder / "ours-1-0"  # one at a time, as the cells alone are run now
        records = Records(alone / "grading" / f"{NAME}.jsonl").graded()
        seconds = [one[NAME]["seconds"] for one in records.values()]
        cells = list(own_cells(alone))

        many = {f"{who}-{i}": each for i in range(10) for who, each in answers.items()}
        course = make_course(folder / "many", many)
        memory = list(memory_over(course, len(many)))

    found |= {
        "students": len(answers),
        "stock": stock._asdict(),
        "ours": {workers: [run._asdict() for run in runs] for workers, runs in ours.items()},
        "cell_seconds": median(cells),
        "submission_seconds": median(seconds),
        "differences": differing,
        "memory": [each._asdict() for each in memory],
    }
    print("\n".join(["", *table(stock, ours, median(seconds) / median(cells), memory, differing)]))
    if options.json is not None:
        write_json(options.json, found)
    return 1 if differing else 0


def table(
    stock: Run,
    ours: Mapping[int, Sequence[Run]],
    times_cells: float,
    memory: Sequence[Memory],
    differing: Sequence[str],
) -> Iterator[str]:
    """Yield what was measured, beside what we aim at."""
    one, two = (median(run.rate for run in ours[workers]) for workers in (1, 2))
    whole = median(run.seconds for run in ours[2])
    late = [each.bytes for each in memory if each.graded >= WARMED_UP]
    most = max((each.graded for each in memory), default=0)
    # medians: whether a learner's process is there when one looks is a tenth of it
    early = [each.bytes for each in memory if WARMED_UP <= each.graded < 2 * WARMED_UP]
    end = [each.bytes for each in memory if most - WARMED_UP <= each.graded < most]
    yield f"{'':44}{'measured':>10}{'wanted':>12}"
    yield _row("times as fast as nbgrader, whole command", stock.seconds / whole, TIMES_FASTER, "≥")
    yield _row("two workers, over twice one worker", two / one / 2, EFFICIENCY, "≥")
    yield _row("a submission's time over its own cells'", times_cells, TIMES_CELLS, "≤")
    first = median(run.first for run in ours[2])
    yield _row("seconds to the first result", first, FIRST_SECONDS, "≤")
    if late:
        yield _row("most memory in all, GiB", max(late) / 2**30, MOST_BYTES / 2**30, "≤")
        growth = median(end) / median(early)
        yield _row(f"memory of the last {WARMED_UP} over the second", growth, MOST_GROWTH, "≤")
    yield f"{'tests whose points differ':44}{len(differing):10d}{'0':>12}"
    yield from differing[:10]


def _row(what: str, measured: float, wanted: float, sign: str) -> str:
    missed = measured < wanted if sign == "≥" else measured > wanted
    return f"{what:44}{measured:10.2f}{sign + f' {wanted:.2f}':>12}{'  missed' if missed else ''}"


def a_class(assignment: Assignment, students: int) -> dict[str, dict[str, str]]:
    """Return answers by student and task: half of them right in some style, half from the bank."""
    bank = read_bank(HERE / "tests" / "exercises" / f"{NAME}.py")
    draw = random.Random(SEED)
    solved = {
        name: without_markers(cell.source)
        for name, cell in assignment.cells().items()
        if name in {task.name for task in assignment.tasks}
    }
    found: dict[str, dict[str, str]] = {}
    for i in range(students):
        mine = dict(solved)
        for task in assignment.autograded:
            pool = bank.wrong if draw.random() < 0.3 else bank.right
            # endless loops are left out: with them, the limit of time is what would be measured
            codes = [one.code for one in pool if one.task == task.name and "while" not in one.code]
            if draw.random() < 0.6 and codes:
                mine[task.name] = draw.choice(codes)
        found[f"student-{i:03d}"] = mine
    return found


def make_course(
    folder: Path, answers: Mapping[str, Mapping[str, str]], config: str | None = None
) -> Path:
    """Make a course folder in which a class has handed in its answers."""
    folder.mkdir(parents=True)
    shutil.copytree(HERE / "solutions" / NAME, folder / "solutions" / NAME)
    if config is None:
        shutil.copy(HERE / "nbgrader_config.py", folder)
    else:
        (folder / "nbgrader_config.py").write_text(config, encoding="utf-8")
    run_command(folder, "nbgrader", "generate_assignment", NAME)
    released = nbformat.read(  # type: ignore[no-untyped-call]
        folder / "exercises" / NAME / f"{NAME}.ipynb", as_version=4
    )
    for student, mine in answers.items():
        notebook = copy.deepcopy(released)
        for cell in notebook.cells:
            cell.source = mine.get(grade_id(cell), cell.source)
        handed_in = folder / "submitted" / student / NAME / f"{NAME}.ipynb"
        handed_in.parent.mkdir(parents=True)
        nbformat.write(notebook, handed_in)  # type: ignore[no-untyped-call]
    return folder


def run_stock(course: Path) -> Run:
    """Grade the class with nbgrader's own steps."""
    started = time.monotonic()
    run_command(course, "nbgrader", "autograde", NAME)
    seconds = time.monotonic() - started
    return Run(seconds, float("nan"), len(list((course / "autograded").iterdir())) / seconds)


def run_ours(course: Path, workers: int) -> Run:
    """Grade the class with ours."""
    began, started = time.time(), time.monotonic()
    run_command(course, "mha-course", "grade", NAME, "--workers", str(workers))
    seconds = time.monotonic() - started
    times = sorted(_times(course))
    warm = len(times) // 5
    return Run(seconds, times[0] - began, (len(times) - 1 - warm) / (times[-1] - times[warm]))


def own_cells(course: Path) -> Iterator[float]:
    """Yield the seconds that a kernel which has all imported takes for a submission's cells."""
    manager, client = start_new_kernel(kernel_name="python3", cwd=str(course))
    notebooks = [
        nbformat.read(file, as_version=4)  # type: ignore[no-untyped-call]
        for file in sorted(course.glob(f"autograded/*/{NAME}/{NAME}.ipynb"))
    ]
    try:
        for number, notebook in enumerate((notebooks[0], *notebooks)):
            sources = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
            client.execute_interactive("%reset -f", output_hook=_nothing)
            started = time.monotonic()
            for source in sources:
                client.execute_interactive(source, output_hook=_nothing, allow_stdin=False)
            seconds = time.monotonic() - started
            if number:  # the first one had to import
                yield seconds
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def _nothing(_: object) -> None:
    """Let an output pass."""


def memory_over(course: Path, students: int) -> Iterator[Memory]:
    """Grade a large class, and yield the memory of all processes, about once a second."""
    process = subprocess.Popen(
        _located("mha-course", "grade", NAME, "--workers", "2"),
        cwd=course,
        env=_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while process.poll() is None:
        family = [process.pid, *descendants(process.pid)]
        yield Memory(len(list(_times(course))), sum(map(_proportional, family)))
        time.sleep(1)
    graded = len(list(_times(course)))
    if process.returncode or graded != students:
        raise RuntimeError(f"{graded} of {students} were graded, exit code {process.returncode}")


def differences(stock: Path, ours: Path) -> Iterator[str]:
    """Yield the tests whose points differ."""
    expected, got = _points(stock), _points(ours)
    for key in sorted({*expected, *got}):
        if expected.get(key) != got.get(key):
            yield f"{' '.join(key)}: nbgrader {expected.get(key)}, ours {got.get(key)}"


def _points(course: Path) -> dict[tuple[str, str], float | None]:
    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as gradebook:
        return {
            (submitted.student.id, grade.name): grade.auto_score
            for submitted in gradebook.assignment_submissions(NAME)
            for grade in submitted.notebooks[0].grades
        }


def _times(course: Path) -> Iterator[float]:
    file = course / "grading" / f"{NAME}.jsonl"
    for line in file.read_text().splitlines() if file.exists() else ():
        if line.startswith("{") and line.endswith("}"):
            record = json.loads(line)
            if record["state"] == GRADED:
                yield datetime.fromisoformat(record["when"]).timestamp()


def _proportional(process: int) -> int:
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:  # it has just ended
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def run_command(folder: Path, *words: str) -> None:
    """Run a command of this environment in a folder.

    Raises:
        RuntimeError: it failed.
    """
    done = subprocess.run(
        _located(*words), cwd=folder, env=_environment(), capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)} failed:\n{(done.stdout + done.stderr)[-3000:]}")


def _located(program: str, *words: str) -> list[str]:
    return [str(Path(sys.executable).with_name(program)), *words]


def _environment() -> dict[str, str]:
    """Return an environment with one thread for each process, for both: more only wait."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return os.environ | {"PATH": path, "OMP_NUM_THREADS": "1"}


def _say(what: str, run: Run) -> None:
    first = "" if run.first != run.first else f", first result after {run.first:.1f} s"
    print(f"{what:34}{run.seconds:8.1f} s, {run.rate:.2f} a second{first}", flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.grading", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument("--quick", action="store_true", help="a class of 12, one round")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the numbers there")
    options = parser.parse_args()
    options.students, options.rounds = (12, 1) if options.quick else (100, 3)
    return options


if __name__ == "__main__":
    sys.exit(main())
