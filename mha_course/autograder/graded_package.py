"""The package `mha_course` as submissions see it: what the notebooks import, and no answers.

A warm server executes this file in place of the package's own `__init__`, which imports all that a
learner is to write. Modules that are not in `SHOWN` cannot be imported then. In a sandbox their
files are not there either; without one, code that goes round the finder or opens files has them.
"""

from __future__ import annotations

import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType

NAME = "mha_course"
SHOWN = (
    "autograder/__init__.py",
    "autograder/control.py",
    "autograder/graded_package.py",
    "autograder/learner.py",
    "autograder/sandbox.py",
    "autograder/usage.py",
    "autograder/warm_process.py",
    "autograder/wire.py",
    "grading/__init__.py",
    "grading/alarm.py",
    "grading/book.py",
    "grading/data_patterns.py",
    "grading/diagnosis.py",
    "grading/fixtures.py",
    "grading/mistakes/mistake.py",
    "grading/own_work.py",
    "grading/task.py",
    "models.py",
    "plots",
)
"""Files and folders of the package that submissions may use."""

# The packages with answers are there, so that `from mha_course import grading` works, but empty:
# all that `grading` itself needs of them is `Mistake`, a plain tuple with names.
_STAND_INS = {
    f"{NAME}.grading.mistakes": Path("grading", "mistakes", "mistake.py"),
    f"{NAME}.grading.reference": None,
}
_ELSEWHERE = ("transformers",)  # packages of others that hold attention, and that no task needs


class _Finder(MetaPathFinder):
    """Refuses to import what is not shown; comes before all other finders."""

    def __init__(self, package: Path) -> None:
        self._package = package

    def find_spec(self, name: str, *_: object) -> ModuleSpec | None:
        """Return the spec of a stand-in, or None for what other finders may find."""
        if name in _STAND_INS:
            file = _STAND_INS[name]
            if file is None:
                return ModuleSpec(name, _Empty(), is_package=True)
            return spec_from_file_location(
                name, self._package / file, submodule_search_locations=[]
            )
        first, *rest = name.split(".")
        if first in _ELSEWHERE or (first == NAME and rest and not _is_shown(name)):
            raise ImportError(not_there(name), name=name)
        return None


class _Empty(Loader):
    """Makes modules with nothing in them."""

    def exec_module(self, module: ModuleType) -> None:
        def missing(name: str) -> object:
            raise AttributeError(not_there(f"{module.__name__}.{name}"))

        module.__dict__["__getattr__"] = missing


def _is_shown(name: str) -> bool:
    """Whether a module is in one of the files or folders."""
    path = "/".join(name.split(".")[1:])
    folders = [f"{one}/" for one in SHOWN if not one.endswith(".py")]
    files = f"{path}.py", f"{path}/__init__.py"
    return any(one in SHOWN or one.startswith(tuple(folders)) for one in files)


def not_there(name: str) -> str:
    """Say to a learner that graded work does without something, and what to do."""
    return (
        f"{name} is not there in graded work: what a task asks for is yours to write. "
        "Learn from the course's own in the book, then write your own"
    )


if __name__ == NAME:  # in a warm server

    def __getattr__(name: str) -> object:
        raise AttributeError(not_there(f"{NAME}.{name}"))

    sys.meta_path.insert(0, _Finder(Path(__file__).parents[1]))
