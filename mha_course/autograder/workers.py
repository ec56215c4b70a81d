"""Where jobs are graded: by threads of this process, or by the workers of a Dask cluster.

Only bytes travel, so that workers need neither the course's folder nor the gradebook. A job whose
worker is lost runs again somewhere else.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from queue import Empty, SimpleQueue
from typing import NamedTuple

import dask
from distributed import (
    CancelledError,
    Client,
    Future,
    KilledWorker,
    Scheduler,
    SpecCluster,
    Worker,
)
from distributed.comm.core import connect
from distributed.security import Security
from distributed.utils import silence_logging_cmgr

from mha_course.autograder.grader import GradingFailed, close_idle, grade_bytes
from mha_course.autograder.job import Graded, Job, Settings
from mha_course.autograder.sandbox import SandboxUnavailable
from mha_course.autograder.versions import versions

CONNECT_SECONDS = 10.0
WORKERS_SECONDS = 60.0
LOOK_SECONDS = 2.0
"""After so long without a result: are there still workers, or are there new ones?"""
_TLS = [
    f"DASK_DISTRIBUTED__COMM__TLS__{name}" for name in ("CA_FILE", "CLIENT__CERT", "CLIENT__KEY")
]
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


class _NoPort:
    """Of Dask's scheduler and worker, the part that they would show to a browser: left out."""

    def start_http_server(self, *_: object, **__: object) -> None:
        """Open no port; Dask opens one on all networks, even where there is no dashboard."""


class _Scheduler(_NoPort, Scheduler):
    pass


class _Worker(_NoPort, Worker):
    pass


@contextlib.contextmanager
def local_workers(workers: int) -> Iterator[Client]:
    """Have so many submissions graded at a time on this machine.

    The cluster is in this process: there is no port that other people on the machine could use.
    What can crash or hang is in processes of its own all the same; see `grader`.
    """
    here: dict[str, object] = {"protocol": "inproc://", "dashboard": False}
    settings = {
        "distributed.worker.memory.terminate": False,
        "distributed.logging": {},
        # Dask keeps its last thousand messages, and each holds a submission
        "distributed.admin.low-level-log-length": 10,
        # it would look a hundred times a second at what its threads do
        "distributed.worker.profile.enabled": False,
    }
    with (
        dask.config.set(settings),
        SpecCluster(
            scheduler={"cls": _Scheduler, "options": here},
            workers={
                0: {"cls": _Worker, "options": {"nthreads": workers, "memory_limit": 0, **here}}
            },
            silence_logs=50,
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
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
    with silence_logging_cmgr(logging.CRITICAL), _connected(address) as client:
        try:
            client.wait_for_workers(1, timeout=WORKERS_SECONDS)
        except TimeoutError:
            raise ValueError(
                f"the scheduler at {address} has no workers; start one with `dask worker {address}`"
            ) from None
        _same_versions(client)
        yield client
        with contextlib.suppress(Exception):  # all is graded; a worker may be gone by now
            client.run(close_idle)


def _connected(address: str) -> Client:
    try:
        with ThreadPoolExecutor(1) as thread:  # in this one, a loop may run already, as in Jupyter
            thread.submit(asyncio.run, _answers(address)).result()
        return Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except TypeError:  # Dask's word for it
        raise ValueError(
            f"{address} wants certificates, and Dask's settings name none: set {', '.join(_TLS)}"
        ) from None
    except (OSError, ValueError, ImportError) as error:
        raise ValueError(
            f"no Dask scheduler answers at {address} ({_short(error)}); start one with `dask "
            "scheduler`, or leave --scheduler out to grade on this machine"
        ) from None


async def _answers(address: str) -> None:
    """See that a scheduler answers; a client waits for ever at a port where nobody says a word."""
    security = Security().get_connection_args("client")
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            connection = await connect(address, timeout=CONNECT_SECONDS, **security)
    except TimeoutError:
        raise TimeoutError(f"nothing was said in {CONNECT_SECONDS:g} seconds") from None
    await connection.close()


def graded(
    client: Client,
    settings: Settings,
    jobs: Iterable[Job],
    waiting: Callable[[str], None] = lambda _: None,
) -> Generator[tuple[Job, Graded] | Failure]:
    """Yield the results of jobs as they come. Few jobs are in memory at a time.

    Args:
        client: Of the workers.
        settings: What a submission may use.
        jobs: They are taken one by one, when there is room.
        waiting: Called with a sentence when all workers are gone.

    Raises:
        ValueError: a worker has other versions than this process, or none of the course.
        ConnectionError: the scheduler is gone.
        SandboxUnavailable: a worker has no sandbox.
    """
    here = versions()
    source = iter(jobs)
    told = json.dumps(settings)
    in_work: dict[object, tuple[Future[bytes], Job]] = {}
    ended: SimpleQueue[Future[bytes]] = SimpleQueue()

    def fill(threads: int) -> None:
        for job in islice(source, max(0, IN_WORK * max(1, threads) - len(in_work))):
            future = client.submit(grade_bytes, told, job.to_bytes(), pure=False)
            in_work[future.key] = future, job
            future.add_done_callback(ended.put)

    there = True

    def look() -> None:
        nonlocal there
        if not (threads := _threads(client)) and there:
            waiting(
                f"all workers are gone; the {len(in_work)} submissions that they had wait for "
                "new ones (Ctrl-C: the same command goes on later)"
            )
        there = threads > 0
        fill(threads)  # workers have come since

    fill(_threads(client))
    while in_work:
        try:
            future = ended.get(timeout=LOOK_SECONDS)
        except Empty:
            look()
            continue
        _, job = in_work[future.key]
        try:
            result = _result(future, job)
        except TimeoutError:  # it was done, and lost with its worker: it runs again
            future.add_done_callback(ended.put)
            look()
            continue
        del in_work[future.key]
        if isinstance(result, Graded):
            if dict(result.versions) != here:
                raise ValueError(_versions_differ("a worker", dict(result.versions), here))
            yield job, result
        else:
            yield result
        fill(_threads(client))


def _threads(client: Client) -> int:
    """Return how many submissions all workers can grade at a time.

    Raises:
        ConnectionError: the scheduler is gone.
    """
    try:
        return sum(client.nthreads().values())
    except (OSError, CancelledError) as error:
        raise _scheduler_gone(error) from None


def _result(future: Future[bytes], job: Job) -> Graded | Failure:
    """Return what has become of a job; what would become of every job is raised.

    Raises:
        TimeoutError: it is not here yet.
    """
    try:
        return Graded.from_bytes(future.result(timeout=LOOK_SECONDS))
    except SandboxUnavailable:
        raise
    except CancelledError as error:
        raise _scheduler_gone(error) from None
    except ImportError as error:
        raise ValueError(_cannot_import(error)) from None
    except KilledWorker as error:
        return Failure(job, f"the worker was lost each time that it was tried: {_short(error)}")
    except GradingFailed as error:
        return Failure(job, str(error))
    except Exception as error:
        if isinstance(error, TimeoutError) and future.status != "error":
            raise
        return Failure(job, f"the worker stopped at it: {type(error).__name__}: {_short(error)}")


def _scheduler_gone(error: BaseException) -> ConnectionError:
    return ConnectionError(
        f"the connection to the Dask scheduler is lost ({_short(error)}); when it is there again, "
        "run the same command: it goes on from here"
    )


def _same_versions(client: Client) -> None:
    here = versions()
    try:
        found = client.run(versions)
    except OSError:
        raise
    except Exception as error:  # the scheduler makes a plain Exception of a worker's ImportError
        raise ValueError(_cannot_import(error)) from None
    for address, there in found.items():
        if there != here:
            raise ValueError(_versions_differ(f"the worker {address}", there, here))


def _cannot_import(error: Exception) -> str:
    return (
        f"the workers cannot import the course ({_short(error)}); install mha-course "
        f"{versions()['mha-course']} there, with its extra `exercises`"
    )


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
