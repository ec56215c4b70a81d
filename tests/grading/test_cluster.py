"""`mha-course grade --scheduler`: real Dask workers, elsewhere, that come, go and do not fit."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import require
from sample_class import CLASS, LONGEST, SampleClass, expected, nobody_left, soon, told

from mha_course.autograder import workers
from mha_course.autograder.grader import GradingFailed
from mha_course.autograder.job import Graded, Job, Settings
from mha_course.autograder.sandbox import SandboxUnavailable
from mha_course.autograder.usage import descendants
from mha_course.cli import main

pytestmark = pytest.mark.weekly

DASK = str(Path(sys.executable).with_name("dask"))
SLOW = "import time; time.sleep(2)"  # so that it is still at work when something is killed


class Cluster:
    """A scheduler and workers of Dask, each a process that does not see the course's folder.

    Args:
        folder: Where they are.
        course: Whose settings of the environment they have, and beside which all courses are.
    """

    def __init__(self, folder: Path, course: SampleClass) -> None:
        self.workers: list[subprocess.Popen[bytes]] = []
        self._folder, self._env = folder, course.env
        self._hidden = course.folder.parent
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = "tcp://{}:{}".format(*free.getsockname())
        self.scheduler = self._start(["scheduler", "--host", self.address])

    def add(self, env: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
        """Start a worker that grades one submission at a time; do not wait until it has come."""
        options = ["--nthreads", "1", "--no-nanny", "--local-directory", str(self._folder)]
        hidden = [
            require("bwrap", hint="apt install bubblewrap"),
            "--die-with-parent",
            "--dev-bind",
            "/",
            "/",
        ]
        hidden += ["--tmpfs", str(self._hidden), "--"]
        worker = self._start(["worker", self.address, *options], hidden, env)
        self.workers.append(worker)
        return worker

    def graders(self) -> list[int]:
        """Return the judges and warm servers of all workers."""
        family = [process for worker in self.workers for process in descendants(worker.pid)]
        return [process for process in family if "mha_course" in told(process)]

    def dismiss(self) -> None:
        """End the workers."""
        while self.workers:
            worker = self.workers.pop()
            worker.kill()
            worker.wait(LONGEST)

    def close(self) -> None:
        """End all processes."""
        self.dismiss()
        self.scheduler.kill()
        self.scheduler.wait(LONGEST)

    def _start(
        self,
        command: list[str],
        before: list[str] | None = None,
        env: dict[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        with (self._folder / "log").open("ab") as log:
            return subprocess.Popen(
                [*(before or []), DASK, *command, "--dashboard-address", "127.0.0.1:0"],
                cwd=self._folder,
                env=self._env | (env or {}),
                stdout=log,
                stderr=log,
            )


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> SampleClass:
    """A course whose class has handed in, cells that take their time among them."""
    require("bwrap", hint="apt install bubblewrap")
    folder = tmp_path_factory.mktemp("courses") / "released"
    folder.mkdir()
    made = SampleClass(folder, tmp_path_factory.mktemp("home"))
    made.nbgrader("generate_assignment", "heads")
    made.hand_in_all(cell=SLOW)
    return made


@pytest.fixture(scope="module")
def cluster(released: SampleClass, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster that has no workers yet."""
    with contextlib.closing(Cluster(tmp_path_factory.mktemp("cluster"), released)) as made:
        yield made


@pytest.fixture
def course(released: SampleClass, cluster: Cluster) -> Iterator[SampleClass]:
    """A course of one's own; when the test is over, no worker and nothing of it is left."""
    folder = Path(tempfile.mkdtemp(dir=released.folder.parent))
    with nobody_left():
        yield released.another(folder / "course")
        cluster.dismiss()


def test_workers_come_and_go(course: SampleClass, cluster: Cluster) -> None:
    """One is killed, then all are, then there are new ones: all is graded, and nothing twice."""
    first, second = cluster.add(), cluster.add()
    with course.grading("--scheduler", cluster.address) as running:
        running.until_graded(1)
        assert cluster.graders()
        first.kill()
        running.until_graded(2)
        second.kill()
        running.until(lambda: "all workers are gone" in running.err, "word of it")
        cluster.add()
        cluster.add()
        said = running.end()
    assert said.code == 0, said.err
    assert "NO RESULT" not in said.out
    assert said.err.count("mha-course: ") == 1
    assert "Warning" not in said.err
    assert course.points() == expected()
    assert sorted(course.recorded()) == sorted(CLASS)
    # with the last grade, the sandboxes on the workers have ended
    soon(lambda: not cluster.graders(), "no grader is left")


def test_the_scheduler_is_lost(course: SampleClass, tmp_path: Path) -> None:
    (tmp_path / "cluster").mkdir()
    with contextlib.closing(Cluster(tmp_path / "cluster", course)) as cluster:
        cluster.add()
        with course.grading("--scheduler", cluster.address) as running:
            running.until_graded(1)
            cluster.scheduler.kill()
            said = running.end()
    assert said.code == 2
    assert "the connection to the Dask scheduler is lost" in said.err
    assert "run the same command: it goes on from here" in said.err
    assert "Traceback" not in said.err
    graded = course.recorded()
    assert course.grade().code == 0
    assert course.points() == expected()
    assert sorted(course.recorded()) == sorted(CLASS)
    assert len(graded) < len(CLASS)


OTHER_NUMPY = """
import importlib.metadata
real = importlib.metadata.version
importlib.metadata.version = lambda name: "0.9" if name == "numpy" else real(name)
"""
NO_COURSE = """
import sys
class Refuses:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "mha_course":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Refuses())
"""
MISFITS = {
    "other versions": (OTHER_NUMPY, {}, "has numpy 0.9 instead of", "Install the same versions"),
    "no course": (NO_COURSE, {}, "cannot import the course", "install mha-course 0.1.0 there"),
    "no bubblewrap": ("", {"PATH": ""}, "`bwrap` is not on PATH", "apt install bubblewrap"),
}


@pytest.mark.parametrize("name", MISFITS)
def test_workers_that_do_not_fit(
    name: str,
    course: SampleClass,
    cluster: Cluster,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    customized, env, what, way_out = MISFITS[name]
    (tmp_path / "sitecustomize.py").write_text(customized)
    cluster.add({"PYTHONPATH": str(tmp_path), **env})
    refused(course, cluster.address, what, way_out, monkeypatch, capsys)


def refused(
    course: SampleClass,
    address: str,
    what: str,
    way_out: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """See that grading on a cluster ends with one sentence, which names the way out."""
    monkeypatch.chdir(course.folder)
    assert main(["grade", "heads", "--scheduler", address]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.strip().startswith("mha-course: ")
    assert said.err.strip().count("\n") == 0
    assert what in said.err
    assert way_out in said.err
    assert course.points() == {}


def test_a_scheduler_without_workers(
    course: SampleClass,
    cluster: Cluster,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(workers, "WORKERS_SECONDS", 0.5)
    what, way_out = "has no workers", f"start one with `dask worker {cluster.address}`"
    refused(course, cluster.address, what, way_out, monkeypatch, capsys)


@pytest.mark.parametrize("there", [False, True], ids=["nobody", "something else"])
def test_an_address_without_a_scheduler(
    there: bool,
    course: SampleClass,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(workers, "CONNECT_SECONDS", 0.5)
    with socket.socket() as port:
        port.bind(("127.0.0.1", 0))
        if there:  # takes connections, and never says a word
            port.listen()
        address = "tcp://127.0.0.1:{1}".format(*port.getsockname())
        what, way_out = f"no Dask scheduler answers at {address}", "leave --scheduler out"
        refused(course, address, what, way_out, monkeypatch, capsys)


def test_an_address_that_wants_certificates(
    course: SampleClass,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    way_out = "set DASK_DISTRIBUTED__COMM__TLS__CA_FILE"
    refused(course, "tls://127.0.0.1:1", "wants certificates", way_out, monkeypatch, capsys)


JOB = Job("heads", "heads", "ada", "seed", "{}", b"", "", {}, {})


def _raises(error: Exception) -> Callable[[str, bytes], bytes]:
    def grade_bytes(_settings: str, _job: bytes) -> bytes:
        raise error

    return grade_bytes


def _of_another_version(_settings: str, _job: bytes) -> bytes:
    return Graded("{}", (), (), "", 0.0, 0.0, 1, {"python": "2.7"}).to_bytes()


@pytest.mark.parametrize(
    ("grade_bytes", "says"),
    [
        (_raises(SandboxUnavailable("no sandbox")), "no sandbox"),
        (_raises(ModuleNotFoundError("No module named 'x'")), "cannot import the course"),
        (_of_another_version, "a worker has python 2.7 instead of"),
    ],
)
def test_what_is_wrong_with_a_worker_stops_the_run(
    grade_bytes: Callable[[str, bytes], bytes], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when it joins later: its version is checked with each result."""
    monkeypatch.setattr(workers, "grade_bytes", grade_bytes)
    with (
        workers.local_workers(1) as client,
        pytest.raises((OSError, ValueError), match=says),
    ):
        list(workers.graded(client, Settings(), [JOB]))


@pytest.mark.parametrize("error", [GradingFailed("judge died"), MemoryError("full"), ValueError()])
def test_what_is_wrong_with_a_job_stops_only_that(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "grade_bytes", _raises(error))
    with workers.local_workers(1) as client:
        ended = list(workers.graded(client, Settings(), [JOB] * 7))
    assert len(ended) == 7
    for one in ended:
        assert isinstance(one, workers.Failure)
        assert one.job == JOB
        assert str(error) in one.why
        assert one.why


def test_a_result_that_is_lost_with_its_worker_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It was done, and runs again: until then the others go on."""
    lost, real = [TimeoutError()], workers._result

    def result(future: Any, job: Job) -> Graded | workers.Failure:
        if lost:
            raise lost.pop()
        return real(future, job)

    monkeypatch.setattr(workers, "_result", result)
    monkeypatch.setattr(workers, "grade_bytes", _raises(GradingFailed("judge died")))
    with workers.local_workers(1) as client:
        ended = list(workers.graded(client, Settings(), [JOB] * 5))
    assert len(ended) == 5
    assert not lost
