"""All experiments by name, and how one is carried out from its name to its result."""

from __future__ import annotations

import datetime
import hashlib
import json
import platform
import shlex
from contextlib import ExitStack
from importlib import import_module, metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Protocol, cast

from mha_course.experiments.machine import machine
from mha_course.experiments.result import Data, Finding, Result, rounded
from mha_course.experiments.run import Run
from mha_course.heads.steps import Steps

if TYPE_CHECKING:
    from mha_course.heads.survey import Progress  # takes a second to import

NAMES = (
    "two-relations",
    "head-sweep",
    "emergence",
    "head-atlas",
    "importance-and-pruning",
    "negative-heads",
    "robustness",
    "gradient-flow",
    "cost",
)
VERSIONS = ("mha-course", "torch", "transformers", "numpy")


class Experiment(Protocol):
    """What a module of this package has to be an experiment."""

    @property
    def QUESTION(self) -> str:  # noqa: N802
        """What it asks, in one sentence."""

    @property
    def CLAIMS(self) -> tuple[str, ...]:  # noqa: N802
        """Ids of the claims that it puts to the test."""

    @property
    def SEEDS(self) -> int:  # noqa: N802
        """Seeds of the full run."""

    @property
    def QUICK_SEEDS(self) -> int:  # noqa: N802
        """Seeds of the quick run."""

    def measure(self, run: Run) -> Data:
        """Do the work."""

    def findings(self, data: Data) -> dict[str, Finding]:
        """Say what the numbers show."""


def experiment(name: str) -> Experiment:
    """Return the module of an experiment.

    Raises:
        ValueError: there is none of this name.
    """
    if name not in NAMES:
        raise ValueError(f"no experiment {name!r}; there are {', '.join(NAMES)}")
    return cast(Experiment, import_module(f"mha_course.experiments.{name.replace('-', '_')}"))


def perform(
    name: str,
    *,
    quick: bool = False,
    seeds: int | None = None,
    steps_in: Path | None = None,
    workers: int = 1,
    progress: Progress | None = None,
) -> Result:
    """Carry out an experiment.

    The same seeds give the same data, however many processes work and however often the run was
    interrupted.

    Args:
        name: Name of the experiment.
        quick: The small version: it shows the direction in seconds.
        seeds: Number of seeds; by default what the experiment says.
        steps_in: Folder in which finished steps are kept while it runs, so that a second call goes
            on after an interruption; removed at the end. None: nothing outlives an interruption.
        workers: Processes that share the work.
        progress: Told about every step.

    Raises:
        ValueError: there is no such experiment, or `seeds` or `workers` is below what it takes.
    """
    module = experiment(name)
    count = (module.QUICK_SEEDS if quick else module.SEEDS) if seeds is None else seeds
    if count < 2:
        raise ValueError(f"seeds={count} must be at least 2, for an interval")
    if workers < 1:
        raise ValueError(f"workers={workers} must be at least 1")
    versions = _versions()
    identity = {
        "experiment": name,
        "quick": quick,
        "source": _source(),
        "versions": versions,
    }
    with ExitStack() as stack:
        folder = steps_in or Path(stack.enter_context(TemporaryDirectory()))
        steps = Steps(folder, identity)
        run = Run(
            quick=quick,
            seeds=tuple(range(count)),
            steps=steps,
            workers=workers,
            progress=progress,
        )
        data = rounded(module.measure(run))
        json.dumps(data, allow_nan=False)  # what no file can hold must not cost the steps
        if steps_in is not None:
            steps.forget()
    return Result(
        experiment=name,
        question=module.QUESTION,
        command=_command(name, quick, seeds),
        date=datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        seconds=round(run.seconds, 1),
        quick=quick,
        seeds=list(run.seeds),
        versions=versions,
        machine=machine(),
        data=data,
    )


def findings(result: Result) -> dict[str, Finding]:
    """Say what the numbers of a result show, by the name of each finding."""
    return experiment(result.experiment).findings(result.data)


def _source() -> str:
    """Digest of the package's code: steps that were made by other code are not gone on with."""
    package = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _command(name: str, quick: bool, seeds: int | None) -> str:
    options = ["--quick"] * quick + ([] if seeds is None else ["--seeds", str(seeds)])
    return shlex.join(["mha-course", "experiment", name, *options])


def _versions() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in VERSIONS},
    }
