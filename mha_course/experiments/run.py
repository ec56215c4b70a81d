"""One run of an experiment: how much to do, and steps that are kept, shown and shared out."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping
from functools import partial
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

import torch

from mha_course.experiments.ensemble import one_thread
from mha_course.heads.steps import Kept, Steps

if TYPE_CHECKING:
    from mha_course.heads.survey import Progress  # takes a second to import


class Run:
    """What an experiment gets to work with.

    Args:
        quick: Do the small version: a few seconds that show the direction.
        seeds: Seeds to repeat the experiment with.
        steps: Where finished steps are kept, so that an interrupted run can go on.
        workers: Processes that share the jobs of `map`, one thread each.
        progress: Told about every step.

    Attributes:
        seconds: Time taken by the steps so far, also by those of an earlier, interrupted run.
    """

    def __init__(
        self,
        *,
        quick: bool,
        seeds: tuple[int, ...],
        steps: Steps,
        workers: int = 1,
        progress: Progress | None = None,
    ) -> None:
        self.quick = quick
        self.seeds = seeds
        self.seconds = 0.0
        self._steps = steps
        self._workers = workers
        self._progress = progress

    def step(self, name: str, compute: Callable[[], Kept]) -> Kept:
        """Return the result of one step, in this process: kept from before, or computed now."""
        self._tell(name, 0, 1)
        result, seconds = self._steps.get(name, partial(_timed, compute))
        self.seconds += seconds
        return result

    def map(
        self, kind: str, work: Callable[..., Kept], jobs: Mapping[str, tuple[Any, ...]]
    ) -> dict[str, Kept]:
        """Return `work(*arguments)` for each job, computed on one thread each.

        How many processes share the work changes nothing in the results.

        Args:
            kind: What the jobs are called while progress is shown.
            work: A function of a module, so that another process finds it.
            jobs: Arguments by name; names are unique within the experiment.
        """
        timed = {
            name: partial(_timed, partial(work, *arguments)) for name, arguments in jobs.items()
        }
        self._tell(kind, 0, len(jobs))
        if self._workers == 1 or len(jobs) == 1:
            with one_thread():
                for done, (name, compute) in enumerate(timed.items(), start=1):
                    self._steps.get(name, compute)
                    self._tell(kind, done, len(jobs))
        else:
            # leaving the block ends the processes, after Ctrl-C as well
            with get_context("spawn").Pool(self._workers, _prepare_worker) as pool:
                keep = partial(_keep, self._steps)
                for done, _ in enumerate(pool.imap_unordered(keep, timed.items()), start=1):
                    self._tell(kind, done, len(jobs))
        results = {}
        for name, compute in timed.items():
            results[name], seconds = self._steps.get(name, compute)
            self.seconds += seconds
        return results

    def _tell(self, kind: str, done: int, total: int) -> None:
        if self._progress is not None:
            self._progress(kind, done, total)


def _timed(compute: Callable[[], Kept]) -> tuple[Kept, float]:
    start = time.perf_counter()
    return compute(), time.perf_counter() - start


def _keep(steps: Steps, job: tuple[str, Callable[[], Any]]) -> None:
    """Keep a result where the first process finds it: tensors take no way but the file."""
    steps.get(*job)


def _prepare_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process hears Ctrl-C, and ends us
    torch.set_num_threads(1)
