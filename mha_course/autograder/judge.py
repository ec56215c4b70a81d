"""The judge: it runs test cells where the learner's code never runs.

A name that a test uses and no test has defined is the learner's. The judge asks the learner's
process for it: plain values come over, functions are called there, and other objects stay there
and are stood in for by a `Remote`. Nothing of what comes is executed, and equality, truth and
conversion to a number are never asked of the learner's objects.

What a test does for its effect takes effect there as well: an argument of a call whose result
nobody uses is changed here as it was there, attributes are set, a function of the learner's that
a test deletes or replaces is so for the learner's code, and so is `input`; a seed is one for both.
What else a test defines stays here.
"""

from __future__ import annotations

import ast
import base64
import builtins
import contextlib
import dis
import importlib
import io
import itertools
import linecache
import math
import os
import random
import re
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Set
from contextlib import AbstractContextManager, ExitStack
from types import CodeType, FrameType, TracebackType
from typing import Any, NamedTuple, NoReturn
from unittest.mock import patch
from weakref import WeakValueDictionary

import numpy as np
import torch
from nbformat import NotebookNode
from nbformat.v4 import new_output
from torch import Tensor

from mha_course.autograder.wire import (
    MOST_PARTS,
    VERDICTS,
    Channel,
    Closed,
    Late,
    WireError,
    decode,
    encode,
    text,
)
from mha_course.grading.alarm import alarm
from mha_course.grading.diagnosis import Diagnosis
from mha_course.grading.fixtures import SEED_VARIABLE
from mha_course.grading.own_work import elsewhere
from mha_course.grading.sitting import without_hidden_tests

Connect = Callable[[], AbstractContextManager[socket.socket]]

STOPPED = "SubmissionStopped"
"""Name of the error in the output of a cell that the learner's process did not survive."""

_MOST_LINES = 50  # of the learner's frames in an exception
_DEEPEST = 80  # calls back within calls
_LONGEST = 10_000  # characters of an error's message
_ENDED = (
    "The process of this submission ended in the middle of the cell: its code left Python, "
    "crashed, or was stopped by a limit."
)


# Such exceptions of the learner's become plain ones here: groups have parts, and the others end a
# loop of the test's as if it had gone through all its cases.
_NOT_RAISED = (ExceptionGroup, StopIteration, StopAsyncIteration)
# The others of these libraries are caught by their own names.
_LIBRARIES = frozenset({"csv", "decimal", "json", "numpy", "torch"})
# By their names for a test, the modules whose seed it can set.
_SEEDS = {"random.seed": random, "numpy.random.seed": np.random, "torch.manual_seed": torch}
_GENERATORS = (np.random.Generator, torch.Generator)
# What tests put something else in place of, to see or to decide what happens.
_REPLACED = {"input": builtins, "print": builtins, "random": random, "randint": random}
_REPLACED |= {"choice": random, "shuffle": random}
# What a test may ask of a function or a class, though it begins with two underscores.
_TOLD = frozenset({"__name__", "__qualname__", "__annotations__"})
# Names that tests use without importing them, since a cell of the learner's has done so.
_MODULES = {"math": "math", "np": "numpy", "numpy": "numpy", "torch": "torch", "nn": "torch.nn"}


class Limits(NamedTuple):
    """What a submission may take.

    Attributes:
        cell: Seconds for one cell, the learner's or a test.
        grace: Seconds more for a process to stop by itself and keep what it has defined.
        total: Seconds for all cells.
        callbacks: Calls of the test's own functions, in one cell.
        outputs: Outputs of one cell.
        text: Characters of a text in an output.
        image: Bytes of a picture in an output.
    """

    cell: float = 60.0
    grace: float = 2.0
    total: float = 600.0
    callbacks: int = 100_000
    outputs: int = 100
    text: int = 100_000
    image: int = 5_000_000


class TestOutcome(NamedTuple):
    """What became of a test cell.

    Attributes:
        outputs: As nbformat has them, for the notebook that the learner gets back.
        error: Why it is not passed, in one line; None if it is.
        score: The number that the cell ends with, which nbgrader takes for its points.
        likely: The likely mistake; empty where none is known.
    """

    outputs: list[NotebookNode]
    error: str | None
    score: float | None
    likely: str = ""


TestOutcome.__test__ = False  # type: ignore[attr-defined]  # pytest would collect it


class LearnerLost(BaseException):
    """The learner's process is of no use any more; the message says why."""


class Remote:
    """An object of the learner's. Its attributes are plain values, or Remote as well."""

    __slots__ = ("__weakref__", "_link", "_number", "_shown")

    def __init__(self, link: _Link, number: int, shown: str) -> None:
        for slot, value in (("_link", link), ("_number", number), ("_shown", shown)):
            object.__setattr__(self, slot, value)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name not in _TOLD:  # what torch, numpy and Python ask for
            raise AttributeError(name)
        if name in VERDICTS:
            raise AttributeError(f"a test cannot ask {self._shown} for {name}: that is its verdict")
        return self._link.ask("attribute", object=self._number, name=name)

    def __setattr__(self, name: str, value: object) -> None:
        self._link.ask("set", object=self._number, name=name, value=self._link.encoded(value))

    def __iter__(self) -> Iterator[Any]:
        found = self._link.ask("items", object=self._number)
        return iter(found if isinstance(found, list) else [])

    def __enter__(self) -> Any:
        return self._link.ask("enter", object=self._number)

    def __exit__(self, *_: object) -> None:
        self._link.ask("exit", object=self._number)  # it cannot make the test's error go away

    def __mro_entries__(self, bases: object) -> NoReturn:
        raise TypeError(f"a test cannot derive a class from {self._shown}: it stays elsewhere")

    def __repr__(self) -> str:
        return str(self._shown)


def _documentation(self: Remote) -> Any:
    return self._link.ask("attribute", object=self._number, name="__doc__")


class _Callable(Remote):
    __slots__ = ()

    def __call__(self, *args: object, **kwargs: object) -> Any:
        link = self._link
        given = {"args": link.encoded(args), "kwargs": link.encoded(kwargs)}
        values = [*args, *kwargs.values()]
        everything = _nobody_uses(sys._getframe(1))
        watched = [i for i, one in enumerate(values) if everything or type(one) in _GENERATORS]
        changed = {i: values[i] for i in watched}
        return link.ask("call", changed, object=self._number, watched=watched, **given)

    def __instancecheck__(self, one: object) -> bool:
        if not isinstance(one, Remote):
            return False
        given = self._link.encoded(one)
        return self._link.ask("is_instance", object=self._number, one=given) is True

    def __subclasscheck__(self, one: object) -> bool:
        if not isinstance(one, Remote):
            return False
        given = self._link.encoded(one)
        return self._link.ask("is_subclass", object=self._number, one=given) is True


class _Sequence(Remote):
    __slots__ = ()

    def __len__(self) -> int:
        found = self._link.ask("length", object=self._number)
        if type(found) is not int or not 0 <= found <= MOST_PARTS:
            raise TypeError(f"{self._shown} has no length")
        return found

    def __getitem__(self, key: object) -> Any:
        return self._link.ask("item", object=self._number, key=self._link.encoded(key))

    def __setitem__(self, key: object, value: object) -> None:
        given = {"key": self._link.encoded(key), "value": self._link.encoded(value)}
        self._link.ask("set_item", object=self._number, **given)

    def __delitem__(self, key: object) -> None:
        self._link.ask("delete_item", object=self._number, key=self._link.encoded(key))


class _Iterator(Remote):
    __slots__ = ()

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        found = self._link.ask("next", object=self._number)
        if not isinstance(found, list) or not found:
            raise StopIteration
        return found[0]


class _CallableSequence(_Callable, _Sequence):
    __slots__ = ()


_REMOTES: dict[tuple[bool, bool], type[Remote]] = {
    (False, False): Remote,
    (True, False): _Callable,
    (False, True): _Sequence,
    (True, True): _CallableSequence,
}


def _nobody_uses(caller: FrameType) -> bool:
    """Return whether the result of the call that a frame is at is thrown away.

    Such a call is there for what it does to its arguments. Where the result is used, the test's
    own values stay as they are: what is expected is often computed from them afterwards, and an
    answer that empties its argument could return nothing as well. Only generators of random
    numbers go on where the learner's code has left them.
    """
    code, at = caller.f_code.co_code, caller.f_lasti + 2
    while at < len(code) and dis.opname[code[at]] == "CACHE":
        at += 2
    return at < len(code) and dis.opname[code[at]] == "POP_TOP"


def _change(old: Any, new: Any) -> None:
    """Have a value of the test's become what a call has made of it, and its parts as well."""
    if type(new) is not type(old):
        return
    if isinstance(old, list) and len(old) == len(new):
        for number, part in enumerate(new):
            old[number] = _changed(old[number], part)
    elif isinstance(old, list | bytearray):
        old[:] = new
    elif isinstance(old, dict):
        parts = {key: _changed(old[key], part) if key in old else part for key, part in new.items()}
        old.clear()
        old.update(parts)
    elif isinstance(old, set):
        old.clear()
        old.update(new)
    elif type(old) is np.random.Generator:
        old.bit_generator.state = new.bit_generator.state
    elif type(old) is torch.Generator:
        old.set_state(new.get_state())
    elif isinstance(old, np.ndarray) and (old.shape, old.dtype) == (new.shape, new.dtype):
        old[...] = new
    elif isinstance(old, Tensor) and (old.shape, old.dtype) == (new.shape, new.dtype):
        with torch.no_grad():
            old.copy_(new)


def _changed(old: Any, new: Any) -> Any:
    """Return the new value of a part, in the old object where that can be."""
    if type(old) is type(new) and isinstance(old, list | dict | set):
        _change(old, new)
        return old
    return new


class _Link:
    """A connection to one learner's process, until it is lost."""

    def __init__(
        self, connection: socket.socket, limits: Limits, ended_by: Callable[[], str]
    ) -> None:
        self._channel = Channel(connection)
        self._limits = limits
        self._ended_by = ended_by
        self._numbers = itertools.count()
        self.replaced: Callable[[], dict[str, Any]] = dict
        self._remotes: WeakValueDictionary[int, Remote] = WeakValueDictionary()
        self._cells: set[int] = set()  # that ran there: only they can be where an error comes from
        self.lost: LearnerLost | None = None
        self.deadline = 0.0
        self.begin(0.0)

    def begin(self, deadline: float) -> None:
        """Begin a cell: what an earlier one lent to the learner is taken back."""
        self.deadline = deadline
        self._lent: list[Callable[..., object]] = []
        self._callbacks = self._depth = 0

    def end(self) -> None:
        """End a cell.

        Raises:
            LearnerLost: the learner's process has said something that nobody asked for.
        """
        if self.lost is None and self._channel.pending():
            self._lose("The process of this submission ended, or spoke without being asked.")

    def gone(self) -> bool:
        """Return whether the process can answer no more."""
        return self.lost is not None or self._channel.pending()

    def closed_with(self, error: BaseException | None) -> BaseException | None:
        """Return what a test ended with: a lost process, whatever the test made of it."""
        if isinstance(error, LearnerLost) and self.lost is None:
            self.lost = error
        return self.lost or error

    def ask(self, op: str, changed: Mapping[int, object] | None = None, **fields: object) -> Any:
        """Return the learner's answer; what it has printed meanwhile is printed.

        Args:
            op: What is asked.
            changed: Values of the test's that become what the learner's code has made of them, by
                number.
            fields: What belongs to it.

        Raises:
            Exception: what the learner's code has raised, as the nearest class of Python's own.
            LearnerLost: there is no answer.
        """
        if op in ("call", "next"):
            fields["replaced"] = {name: self._refer(one) for name, one in self.replaced().items()}
        answer = self._exchange(op, fields)
        with self._strict():
            outputs = _shown(answer.get("outputs"), self._limits)
            error = _raised(answer["error"], self._cells) if "error" in answer else None
            value = None if error else decode(answer["value"], self._resolve)
            changed = changed or {}
            for number, new in answer.get("changed", ()) if changed else ():
                made = decode(new, self._resolve)
                with contextlib.suppress(ValueError, RuntimeError):  # it cannot be written to
                    _change(changed[number], made)
        for output in outputs:
            if output.output_type == "stream":
                sys.stdout.write(output.text)  # not on stderr: a warning must cost no points
        if error:
            raise error
        return value

    def run(self, source: str, number: int) -> list[NotebookNode]:
        """Run a cell of the learner's and return its outputs.

        Raises:
            LearnerLost: the process did not survive it.
        """
        self._cells.add(number)
        answer = self._exchange("run", {"source": source, "cell": number})
        with self._strict():
            return _shown(answer.get("outputs"), self._limits)

    @contextlib.contextmanager
    def refusing(self) -> Iterator[None]:
        """Have torch's attention refuse in the learner's process."""
        self.ask("refuse", on=True)
        lost = False
        try:
            yield
        except LearnerLost:
            lost = True
            raise
        finally:
            if not lost:
                self.ask("refuse", on=False)

    def encoded(self, value: object) -> Any:
        """Return a value of the test's as JSON, for the learner.

        Raises:
            TypeError: it is of a kind that cannot be sent.
        """
        try:
            return encode(value, self._refer)
        except WireError as error:
            raise TypeError(f"this test cannot give that to the learner's code: {error}") from None

    def _exchange(self, op: str, fields: dict[str, object]) -> dict[str, Any]:
        if self.lost is not None:
            raise LearnerLost(*self.lost.args)
        number = next(self._numbers)
        with self._strict():
            # a moment at least: the learner's own alarm says where the time went
            left = max(self.deadline - time.monotonic(), 0.001)
            asked = {"number": number, "seconds": left, "limit": self._limits.cell}
            until = self.deadline + self._limits.grace
            self._channel.send({"op": op} | asked | fields, until)
            while "callback" in (message := self._channel.receive(until)):
                self._channel.send(self._called_back(message), until)
            if message.get("answers") != number or not {"value", "error"} & set(message):
                raise WireError("an answer belongs to no question")
        return message

    @contextlib.contextmanager
    def _strict(self) -> Iterator[None]:
        """Give the process up when it breaks a rule."""
        try:
            yield
        except Closed:
            self._lose(self._ended_by() or _ENDED)
        except Late:
            self._lose(
                f"The cell ran for more than {self._limits.cell:g} seconds, and did not stop."
            )
        except Exception as error:  # whatever is odd about what came
            why = str(error) if isinstance(error, WireError) else type(error).__name__
            self._lose(f"The process of this submission sent what is no answer: {why}.")

    def _lose(self, why: str) -> NoReturn:
        self.lost = LearnerLost(why)
        raise LearnerLost(why) from None

    def _called_back(self, message: dict[str, Any]) -> dict[str, Any]:
        """Call a function of the test's that the learner's code was given."""
        number = message["callback"]
        self._callbacks += 1
        if type(number) is not int or not 0 <= number < len(self._lent):
            raise WireError("it calls a function that it was not given")
        if self._callbacks > self._limits.callbacks or self._depth >= _DEEPEST:
            raise WireError(f"it calls the test's functions {self._callbacks} times")
        args = decode(message["args"], self._resolve)
        kwargs = decode(message["kwargs"], self._resolve)
        if type(args) is not tuple or type(kwargs) is not dict:
            raise WireError("the arguments of a call are none")
        self._depth += 1
        try:
            return {"value": self.encoded(self._lent[number](*args, **kwargs))}
        except Exception as error:
            classes = [one.__name__ for one in type(error).__mro__]
            return {"error": {"classes": classes, "message": str(error)}}
        finally:
            self._depth -= 1

    def _refer(self, value: object) -> dict[str, Any]:
        if isinstance(value, Remote):
            if value._link is not self:
                raise WireError("it belongs to a process that has ended")
            return {"!object": value._number}
        if not callable(value):
            raise WireError(f"{type(value).__name__} is no plain value")
        self._lent.append(value)
        return {"!callable": len(self._lent) - 1, "name": getattr(value, "__name__", "function")}

    def _resolve(self, data: dict[str, Any]) -> Remote:
        number = data.get("!object")
        if type(number) is not int or not 0 <= number < 2**31:
            raise WireError("a value is of no known kind")
        kind = _REMOTES[data.get("callable") is True, data.get("sequence") is True]
        if kind is Remote and data.get("iterator") is True:
            kind = _Iterator
        # messages name the type and show the object, as they do where the object is at hand
        body = {"__slots__": (), "__doc__": property(_documentation)}
        name, shown = _name(data.get("type"), "object"), text(data.get("shown"), 1000)
        known = self._remotes.get(number)
        if known is not None and (type(known).__name__, type(known).__base__) == (name, kind):
            object.__setattr__(known, "_shown", shown)
            return known  # an object is one and the same for the test as well
        named = type(name, (kind,), body)
        made: Remote = named(self, number, shown)
        self._remotes[number] = made
        return made


class _Names(dict[str, Any]):
    """The names of the test cells; those that are missing are the learner's.

    A function of the learner's that a cell has used, and then deletes or puts another in place of,
    is deleted or replaced in the learner's process: that is how a test sees whether it is called.
    """

    def __init__(self, ask: Callable[..., Any]) -> None:
        super().__init__(__name__="__main__", __builtins__=builtins)
        self._ask = ask
        self.helpers: set[str] = set()  # never the learner's, even where an error came before them
        self.borrowed: set[str] = set()  # the learner's that the cell has used

    def __missing__(self, name: str) -> Any:
        if name in ("globals", "locals", "vars", "dir"):
            return self._looking(name)
        if hasattr(builtins, name):  # the learner cannot replace Python's own
            raise KeyError(name)
        if name in _MODULES:
            return importlib.import_module(_MODULES[name])
        found = [] if name in self.helpers else self._ask("name", name=name)
        if not isinstance(found, list) or not found:
            raise KeyError(name)
        self.borrowed.add(name)
        return found[0]

    def __setitem__(self, name: str, value: Any) -> None:
        if name in self.borrowed and callable(value):
            self._ask("assign", name=name, value=value)
        if name in self.borrowed and isinstance(value, Remote):
            self.pop(name, None)  # it is the learner's again
        else:
            super().__setitem__(name, value)

    def __delitem__(self, name: str) -> None:
        if name in self.borrowed:
            self.pop(name, None)
            self._ask("delete", name=name)
        else:
            super().__delitem__(name)

    def _looking(self, name: str) -> Callable[..., Any]:
        """Return `globals` or one like it; without arguments it shows the learner's names, too."""

        def look(*asked: Any) -> Any:
            if asked:
                return getattr(builtins, name)(*asked)
            everything = _Everything(self, self._ask("names"))
            return sorted(everything) if name == "dir" else everything

        return look


class _Everything(MutableMapping[str, Any]):
    """What a test sees as its global names: its own and the learner's."""

    def __init__(self, names: _Names, learners: object) -> None:
        found = learners if isinstance(learners, list) else []
        own = {*names, *names.helpers}
        self._names = names
        self._all = [*names, *(name for name in found if type(name) is str and name not in own)]

    def __getitem__(self, name: str) -> Any:
        return self._names[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self._names[name] = value

    def __delitem__(self, name: str) -> None:
        del self._names[name]

    def __contains__(self, name: object) -> bool:
        return name in self._all

    def __iter__(self) -> Iterator[str]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)


class _Cell(NamedTuple):
    source: str
    number: int


class Judge:
    """Runs the cells of one submission: the learner's over there, the tests here.

    It belongs to a process of its own, and runs one cell at a time.

    Args:
        connect: Returns a context with a connection to a fresh learner's process, in which
            `mha_course.autograder.learner.serve` runs; leaving the context ends the process.
        limits: What the submission may take.
        ended_by: Returns the limit that ended the learner's process, in a sentence; empty where
            none did.
    """

    def __init__(
        self,
        connect: Connect,
        limits: Limits | None = None,
        *,
        ended_by: Callable[[], str] = str,
    ) -> None:
        self._connect = connect
        self._ended_by = ended_by
        self._limits = limits or Limits()
        self._cells: list[_Cell] = []  # to run again in a fresh process; none that ends one
        self._number = 0
        self._link: _Link | None = None
        self._connection = ExitStack()
        self._until = time.monotonic() + self._limits.total
        self._names = _Names(self._ask_about_names)

    def __enter__(self) -> Judge:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the learner's process."""
        self._link = None
        self._connection.close()

    def run_cell(self, source: str, solution: str = "") -> list[NotebookNode]:
        """Run a cell of the learner's, in the learner's process, and return its outputs.

        Args:
            source: What the learner wrote.
            solution: What the instructor wrote there. The names that it gives values to are the
                learner's from here on, though a cell above has used them for something else.
        """
        for name in _given_values(solution):
            self._names.pop(name, None)
            self._names.helpers.discard(name)
        cell = self._new_cell(source)
        try:
            link = self._started()
            outputs = link.run(source, cell.number)
            link.end()
        except LearnerLost as lost:
            return [_error_output(STOPPED, str(lost), [str(lost)])]
        self._cells.append(cell)
        return outputs

    def run_given(self, source: str) -> list[NotebookNode]:
        """Run a cell of the instructor's that is no test, and return its outputs.

        It runs in both processes: what it defines is the learner's to use and to change there, and
        remains what the instructor wrote here.
        """
        outputs = self.run_cell(source)
        here = _plain(source)
        self._names.borrowed.clear()
        self._names.helpers |= _helpers(here)
        with _captured(self._limits.text), contextlib.suppress(Exception, LearnerLost):
            exec(compile(here, _file(self._number), "exec"), self._names)
        return outputs

    def run_test(self, source: str, seed: str | None = None) -> TestOutcome:
        """Run a test cell here.

        Args:
            source: With its hidden tests.
            seed: Of the student's hidden inputs; `mha_course.autograder.seeds`.
        """
        cell = self._new_cell(source)
        value: object = None
        error: BaseException | None = None
        seeded = {} if seed is None else {SEED_VARIABLE: seed}
        self._names.helpers |= _helpers(_plain(source))
        self._names.borrowed.clear()
        with _captured(self._limits.text) as said, patch.dict(os.environ, seeded):
            try:
                link = self._started()
            except LearnerLost as lost:
                return _outcome(said, None, lost, set())
            try:
                # a moment later than the connection's own deadline, which says more
                left = max(link.deadline + self._limits.grace - time.monotonic(), 0) + 0.5
                limit = f"The test of this cell ran for more than {self._limits.cell:g} seconds."
                with alarm(left, LearnerLost(limit)), elsewhere(link.refusing), _seeding(link):
                    value = _run(_plain(source), _file(cell.number), self._names)
                link.end()
            except KeyboardInterrupt:
                raise
            except BaseException as raised:
                error = raised
        return _outcome(said, value, link.closed_with(error), _shown_lines(source))

    def _new_cell(self, source: str) -> _Cell:
        self._number += 1
        lines = source.splitlines(keepends=True)
        linecache.cache[_file(self._number)] = (len(source), None, lines, _file(self._number))
        return _Cell(source, self._number)

    def _started(self) -> _Link:
        """Return a link to a process in which the learner's cells up to here have run.

        Raises:
            LearnerLost: the time for the whole submission is over.
        """
        while self._link is None or self._link.gone():
            if self._restarted():
                break
        assert self._link is not None
        self._link.begin(self._deadline())
        self._link.replaced = self._replaced
        return self._link

    def _restarted(self) -> bool:
        """Run the cells so far in a fresh process; strike out the one that ends it, if any."""
        self.close()
        self._deadline()
        connection = self._connection.enter_context(self._connect())
        self._link = _Link(connection, self._limits, self._ended_by)
        for cell in self._cells:
            try:
                self._link.begin(self._deadline())
                self._link.run(cell.source, cell.number)
                self._link.end()
            except LearnerLost:
                self._cells.remove(cell)
                return False
        return True

    def _deadline(self) -> float:
        now = time.monotonic()
        if now >= self._until:
            raise LearnerLost(
                f"The {self._limits.total:g} seconds for the whole submission are over."
            )
        return min(now + self._limits.cell, self._until)

    def _ask_about_names(self, op: str, **fields: Any) -> Any:
        if self._link is None:
            return []
        if "value" in fields:
            fields["value"] = self._link.encoded(fields["value"])
        return self._link.ask(op, **fields)

    def _replaced(self) -> dict[str, Any]:
        """Return what a test has put in place of Python's own functions."""
        found = {name: getattr(module, name) for name, module in _REPLACED.items()}
        found |= {name: self._names[name] for name in ("input", "print") if name in self._names}
        return {name: one for name, one in found.items() if callable(one) and one != _OWN[name]}


_OWN = {name: getattr(module, name) for name, module in _REPLACED.items()}


@contextlib.contextmanager
def _seeding(link: _Link) -> Iterator[None]:
    """Have a seed that a test sets be one for the learner's code as well."""
    with ExitStack() as until:
        for which, module in _SEEDS.items():
            name = which.rpartition(".")[2]
            until.enter_context(patch.object(module, name, _both(link, which, vars(module)[name])))
        yield


def _both(link: _Link, which: str, own: Callable[..., Any]) -> Callable[..., Any]:
    def seed(*args: Any, **kwargs: Any) -> Any:
        given = [*args, *kwargs.values()]
        if given and type(given[0]) is int:
            link.ask("seed", which=which, value=given[0])
        return own(*args, **kwargs)

    return seed


def _new_output(kind: str, **fields: object) -> NotebookNode:
    made: NotebookNode = new_output(kind, **fields)
    return made


def _file(number: int) -> str:
    """Name the source of a cell as IPython does; diagnoses look for it in tracebacks."""
    return f"<ipython-input-{number}>"


def _name(given: object, otherwise: str) -> str:
    """Return a name that came, if it can be one; the judge's own is not for learners."""
    fits = isinstance(given, str) and given[:100].isidentifier() and given != STOPPED
    return given[:100] if fits else otherwise  # type: ignore[index]


def _raised(described: Any, cells: Set[int]) -> Exception:
    """Return an exception of the learner's: of the same name, and of a class of Python's own.

    Its frames are in these cells: a message shows a line, and none of a hidden test.
    """
    names = [name for name in described["classes"] if isinstance(name, str)]
    message = text(described["message"], _LONGEST)
    bases = [
        getattr(builtins, name, None) or getattr(sys.modules.get(module), name, None)
        for name, module in zip(names, described["modules"], strict=True)
        if module.partition(".")[0] in _LIBRARIES or hasattr(builtins, name)
    ]
    base = next(
        (one for one in bases if isinstance(one, type) and issubclass(one, Exception)
         and not issubclass(one, _NOT_RAISED)),
        Exception,
    )  # fmt: skip
    name = _name(names[0] if names else "", "Exception")
    body = {
        "__init__": lambda self, *_: None,  # noqa: ARG005
        "__str__": lambda self: message,  # noqa: ARG005
        "__module__": "builtins",
    }
    error: Exception = type(name, (base,), body)(message)
    if "args" in described:
        error.args = tuple(decode(described["args"], _no_object))
    return error.with_traceback(_traceback(described["frames"], cells))


def _no_object(data: dict[str, Any]) -> object:
    raise WireError(f"an error holds an object: {list(data)}")


def _traceback(frames: Any, cells: Set[int]) -> TracebackType | None:
    """Return a traceback of the learner's lines, which a diagnosis points to."""
    found = None
    for cell, line, name in reversed(frames[:_MOST_LINES]):
        if type(cell) is type(line) is int and cell in cells and 0 < line < 2**31:
            found = TracebackType(found, _frame(_file(cell), name), 0, line)
    return found


def _frame(file: str, name: object) -> FrameType:
    """Return a frame that looks as if a function of a cell had been running."""
    code = compile("frame = here()", file, "exec")
    names: dict[str, Any] = {"here": lambda: sys._getframe(1)}
    exec(code.replace(co_name=_name(name, "<code>")), names)
    frame = names.pop("frame")
    assert isinstance(frame, FrameType)
    return frame


def _given_values(solution: str) -> set[str]:
    """Return the names that a cell defines, assigns, or changes the value of; none it imports."""
    found: set[str] = set()
    with contextlib.suppress(SyntaxError):
        for one in ast.parse(_plain(solution)).body:
            if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                found.add(one.name)
                continue
            for node in ast.walk(one):
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store | ast.Del):
                    found.add(node.id)
                elif isinstance(node, ast.Attribute | ast.Subscript) and (
                    isinstance(node.ctx, ast.Store | ast.Del)
                ):
                    found |= _owner(node)
            if isinstance(one, ast.Expr) and isinstance(one.value, ast.Call):
                found |= _owner(one.value.func)  # values.append(1)
    return found


def _owner(node: ast.expr) -> set[str]:
    """Return the name that `name.attribute[0]` begins with; a name alone is none."""
    owned = False
    while isinstance(node, ast.Attribute | ast.Subscript):
        node, owned = node.value, True
    return {node.id} if owned and isinstance(node, ast.Name) else set()


def _plain(source: str) -> str:
    """Return a cell without IPython's own commands; of what is timed, the code stays."""
    with contextlib.suppress(SyntaxError):
        ast.parse(source)
        return source
    source = re.sub(r"^([ \t]*)%time ", r"\1", source, flags=re.MULTILINE)
    return re.sub(r"^[%!].*$", "", source, flags=re.MULTILINE)


def _helpers(source: str) -> set[str]:
    """Return what a cell of the instructor's defines for its tests, as functions and classes.

    What it reads before that is the learner's: some tests replace a function for a while.
    """
    helpers: set[str] = set()
    read: set[str] = set()
    with contextlib.suppress(SyntaxError):
        for one in ast.parse(source).body:
            if isinstance(one, ast.FunctionDef | ast.ClassDef) and one.name not in read:
                helpers.add(one.name)
            read |= {node.id for node in ast.walk(one) if isinstance(node, ast.Name)}
    return helpers


def _run(source: str, file: str, names: dict[str, Any]) -> object:
    """Run a cell and return the value of its last line, as a notebook does."""
    tree = ast.parse(source, file)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, file, "exec"), names)
    if not isinstance(last, ast.Expr):
        return None
    code: CodeType = compile(ast.Expression(last.value), file, "eval")
    return eval(code, names)


class _Capped(io.StringIO):
    """A text that stops growing."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most

    def write(self, text: str) -> int:
        super().write(text[: max(0, self.most - self.tell())])
        return len(text)


@contextlib.contextmanager
def _captured(most: int) -> Iterator[_Capped]:
    """Collect what is printed. nbgrader gives no points for a word on stderr, be it a warning."""
    said = _Capped(most)
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        yield said


def _outcome(
    said: _Capped, value: object, error: BaseException | None, visible: set[str]
) -> TestOutcome:
    """Put together what became of a test."""
    outputs = []
    if said.getvalue():
        outputs.append(_new_output("stream", name="stdout", text=said.getvalue()))
    if error is not None:
        name = STOPPED if isinstance(error, LearnerLost) else type(error).__name__
        message = str(error)[:_LONGEST]
        says = f"{name}: {message}"
        outputs.append(_error_output(name, message, _rendered(error, says, visible)))
        likely = error.likely if isinstance(error, Diagnosis) else ""
        return TestOutcome(outputs, " ".join(says.split()), None, likely)
    if value is not None:
        # how a Remote shows itself is the learner's word, and could look like a number of points
        shown = f"<{type(value).__name__}>" if isinstance(value, Remote) else repr(value)
        data = {"text/plain": shown[: said.most]}
        outputs.append(_new_output("execute_result", data=data, execution_count=None))
    return TestOutcome(outputs, None, _score(value))


def _score(value: object) -> float | None:
    """Return the number of points that a test ends with, if it does."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < sys.float_info.max else math.inf


def _rendered(error: BaseException, says: str, visible: set[str]) -> list[str]:
    """Return the lines of an error's output: where it was in the test, and nothing hidden."""
    if isinstance(error, Diagnosis):
        return error._render_traceback_()
    lines = []
    for frame, number in traceback.walk_tb(error.__traceback__):
        code = frame.f_code
        line = linecache.getline(code.co_filename, number).strip()
        if code.co_filename.startswith("<ipython-input-") and line in visible:
            lines.append(f"line {number} of this cell: {line}")
    return [*lines, says]


def _shown_lines(source: str) -> set[str]:
    return {line.strip() for line in without_hidden_tests(source).split("\n")}


def _error_output(name: str, value: str, lines: list[str]) -> NotebookNode:
    return _new_output("error", ename=name, evalue=value, traceback=lines)


def _shown(outputs: Any, limits: Limits) -> list[NotebookNode]:
    """Return outputs that came as nbformat has them; only text and pictures, and not too many."""
    return [_output(output, limits) for output in outputs[: limits.outputs]]


def _output(given: Any, limits: Limits) -> NotebookNode:
    kind = given["output_type"]
    if kind == "stream" and given["name"] in ("stdout", "stderr"):
        return _new_output(kind, name=given["name"], text=text(given["text"], limits.text))
    if kind == "error":
        lines = [text(line, limits.text) for line in given["traceback"][: limits.outputs]]
        value = text(given["evalue"], limits.text)
        return _error_output(_name(given["ename"], "Exception"), value, lines)
    if kind not in ("display_data", "execute_result"):
        raise WireError("an output is of no known kind")
    data = {"text/plain": text(given["data"].get("text/plain", ""), limits.text)}
    if "image/png" in given["data"]:
        data["image/png"] = _picture(given["data"]["image/png"], limits.image)
    more = {"execution_count": None} if kind == "execute_result" else {}
    return _new_output(kind, data=data, **more)


def _picture(given: Any, most: int) -> str:
    picture = base64.b64decode(given, validate=True)
    if len(picture) > most or not picture.startswith(b"\x89PNG"):
        raise WireError("a picture is none, or too large")
    return base64.b64encode(picture).decode()
