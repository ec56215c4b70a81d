"""Where jobs are graded: by threads of this process, or by the workers of a Dask cluster.

Only bytes travel, so that workers need neither the course's folder nor the gradebook. A job whose
worker is lost runs again somewhere else.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Generator, Iterable, Iterator
from typing import NamedTuple

import dask
from distributed import Client, Future, KilledWorker, LocalCluster, as_completed

from mha_course.autograder.grader import GradingFailed, grade_bytes
from mha_course.autograder.job import Graded, Job, Settings
from mha_course.autograder.versions import versions

CONNECT_SECONDS = 10.0
WORKERS_SECONDS = 60.0
IN_WORK = 2
"""Jobs for each thread of a worker: one that runs, and one that waits there."""


class Failure(NamedTuple):
    """A job that has no result.

    Attributes:
        job: The job.
        why: In a sentence or two.
    """

    job: Job
    why: str


@contextlib.contextmanager
def local_workers(workers: int) -> Iterator[Client]:
    """Have so many submissions graded at a time on this machine.

    The cluster is in this process: there is no port that other people on the machine could use.
    What can crash or hang is in processes of its own all the same; see `grader`.
    """
    settings = {"distributed.worker.memory.terminate": False, "distributed.logging": {}}
    with (
        dask.config.set(settings),
        LocalCluster(
            n_workers=1,
            threads_per_worker=workers,
            processes=False,
            dashboard_address=None,
            worker_dashboard_address=None,
            silence_logs=50,
            memory_limit=0,
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


@contextlib.contextmanager
def cluster_workers(address: str) -> Iterator[Client]:
    """Use the workers of a cluster.

    Args:
        address: Of its scheduler: `tcp://host:8786`, or `tls://…` with Dask's own settings.

    Raises:
        ValueError: nobody answers there, it has no workers, or they have other versions.
    """
    try:
        client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"no Dask scheduler answers at {address} ({_short(error)}); start one with `dask "
            "scheduler`, or leave --scheduler out to grade on this machine"
        ) from None
    with client:
        try:
            client.wait_for_workers(1, timeout=WORKERS_SECONDS)
        except TimeoutError:
            raise ValueError(
                f"the scheduler at {address} has no workers; start one with `dask worker {address}`"
            ) from None
        _same_versions(client)
        yield client


def graded(
    client: Client, settings: Settings, jobs: Iterable[Job]
) -> Generator[tuple[Job, Graded] | Failure]:
    """Yield the results of jobs as they come. Few jobs are in memory at a time.

    Raises:
        ValueError: a worker has other versions than this process.
    """
    here = versions()
    waiting: dict[object, Job] = {}
    order = as_completed()
    source = iter(jobs)
    told = json.dumps(settings)

    def fill() -> None:
        room = IN_WORK * max(1, sum(client.nthreads().values())) - len(waiting)
        for job in _first(source, room):
            future = client.submit(grade_bytes, told, job.to_bytes(), pure=False)
            waiting[future.key] = job
            order.add(future)

    fill()
    for future in order:
        job = waiting.pop(future.key)
        result = _result(future, job)
        if isinstance(result, Graded):
            if dict(result.versions) != here:
                raise ValueError(_versions_differ("a worker", dict(result.versions), here))
            yield job, result
        else:
            yield result
        future.release()
        fill()


def _first(source: Iterator[Job], count: int) -> Iterator[Job]:
    for _ in range(count):
        try:
            yield next(source)
        except StopIteration:
            return


def _result(future: Future[bytes], job: Job) -> Graded | Failure:
    try:
        return Graded.from_bytes(future.result())
    except GradingFailed as error:
        return Failure(job, str(error))
    except KilledWorker as error:
        return Failure(job, f"the worker was lost each time that it was tried: {_short(error)}")


def _same_versions(client: Client) -> None:
    here = versions()
    try:
        found = client.run(versions)
    except ImportError as error:
        raise ValueError(
            f"the workers cannot import the course ({_short(error)}); install mha-course "
            f"{here['mha-course']} there, with its extra `exercises`"
        ) from None
    for address, there in found.items():
        if there != here:
            raise ValueError(_versions_differ(f"the worker {address}", there, here))


def _versions_differ(who: str, there: dict[str, str], here: dict[str, str]) -> str:
    differing = [
        f"{name} {there.get(name, 'missing')} instead of {number}"
        for name, number in here.items()
        if there.get(name) != number
    ]
    return (
        f"{who} has {', '.join(differing)}; points could differ. Install the same versions there "
        "(requirements.txt pins them)"
    )


def _short(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
