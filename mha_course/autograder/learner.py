"""The learner's process: it runs the cells of a submission and answers for what they define.

`serve` is all that others call. The judge at the other end of the connection trusts nothing that
comes from here, since the learner's code can change all of it: what stands here is only for those
who are honest.
"""

from __future__ import annotations

import base64
import builtins
import contextlib
import importlib
import io
import itertools
import os
import random
import re
import socket
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from typing import Any, NoReturn, cast
from unittest.mock import patch

import numpy as np
import torch
from IPython.core.compilerop import CachingCompiler
from IPython.core.displayhook import DisplayHook
from IPython.core.displaypub import DisplayPublisher
from IPython.core.interactiveshell import InteractiveShell
from traitlets import Type
from traitlets.config import Config

from mha_course.autograder.wire import Channel, WireError, decode, encode
from mha_course.grading.alarm import alarm
from mha_course.grading.own_work import refusal

# What IPython imports for a first cell and a first error: better once, before processes are forked.
_FIRST_NEEDED = (
    "IPython.core.application",
    "IPython.core.completer",
    "IPython.core.magics",
    "IPython.core.oinspect",
    "pygments.formatters.terminal256",
    "stack_data",
)
for _module in _FIRST_NEEDED:
    importlib.import_module(_module)

MOST_TEXT = 99_000  # characters that a cell or a call may print; with a note, the judge's 100,000
MOST_ITEMS = 100_000  # of what is iterated over
# Exactly these types: torch.Generator imports a module when `isinstance` is asked.
_CHANGEABLE = frozenset(
    {list, dict, set, bytearray, np.ndarray, torch.Tensor, np.random.Generator, torch.Generator}
)
_SEEDS: dict[str, Callable[[int], object]] = {
    "random.seed": random.seed,
    "numpy.random.seed": np.random.seed,
    "torch.manual_seed": torch.manual_seed,
}
_SHOWN = ("text/plain", "image/png")


def serve(connection: socket.socket) -> None:
    """Run cells and answer calls until the other side closes the connection."""
    sys.path.insert(0, "")  # as in a notebook: modules in its folder can be imported
    vars(builtins).pop("_", None)  # doctest leaves one; IPython would not set its own then
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(WireError):
        _Learner(Channel(connection), folder).serve()


class _Collected:
    """Outputs of a cell or a call, as nbformat has them."""

    def __init__(self) -> None:
        self.outputs: list[dict[str, Any]] = []
        self._left = MOST_TEXT

    def stream(self, name: str, text: str) -> None:
        if self._left <= 0:
            return
        text, self._left = text[: self._left], self._left - len(text)
        if self._left <= 0:
            text += "\n[the rest of this output was left out]\n"
        last = self.outputs[-1] if self.outputs else {}
        if last.get("output_type") == "stream" and last["name"] == name:
            last["text"] += text
        else:
            self.outputs.append({"output_type": "stream", "name": name, "text": text})

    def display(self, kind: str, data: dict[str, Any]) -> None:
        shown = {mime: data[mime] for mime in _SHOWN if mime in data}
        if isinstance(shown.get("image/png"), bytes):
            shown["image/png"] = base64.b64encode(shown["image/png"]).decode()
        if "text/plain" in shown:
            shown["text/plain"] = str(shown["text/plain"])[:MOST_TEXT]
        self.outputs.append({"output_type": kind, "data": shown, "metadata": {}})

    def error(self, name: str, value: str, lines: list[str]) -> None:
        self.outputs.append(
            {"output_type": "error", "ename": name, "evalue": value, "traceback": lines}
        )


class _Stream(io.TextIOBase):
    """A stdout or stderr that is collected."""

    def __init__(self, name: str, collected: _Collected) -> None:
        self._name, self._collected = name, collected

    def write(self, text: str) -> int:
        self._collected.stream(self._name, text)
        return len(text)

    def writable(self) -> bool:
        return True


class _Compiler(CachingCompiler):
    def get_code_name(self, raw_code: str, transformed_code: str, number: int) -> str:  # noqa: ARG002
        return f"<ipython-input-{number}>"


class _Hook(DisplayHook):
    def start_displayhook(self) -> None: ...

    def write_output_prompt(self) -> None: ...

    def write_format_data(self, format_dict: dict[str, Any], md_dict: object = None) -> None:  # noqa: ARG002
        shell: Any = self.shell
        shell.collected.display("execute_result", format_dict)

    def finish_displayhook(self) -> None: ...


class _Publisher(DisplayPublisher):
    def publish(self, data: dict[str, Any], *_: object, **__: object) -> None:
        shell: Any = self.shell
        shell.collected.display("display_data", data)


class _Shell(InteractiveShell):
    """IPython without a terminal and without a history."""

    compiler_class = Type(_Compiler)
    displayhook_class = Type(_Hook)
    display_pub_class = Type(_Publisher)
    collected = _Collected()

    def enable_gui(self, gui: str | None = None) -> None:
        """Do nothing: `%matplotlib inline` asks for it, and there is no window."""

    def _showtraceback(self, etype: type, evalue: BaseException, stb: list[str]) -> None:
        self.collected.error(etype.__name__, _said(evalue), stb)


class _Learner:
    """What the learner's cells define, and the other side's questions about it."""

    def __init__(self, channel: Channel, folder: str) -> None:
        os.environ.setdefault("MPLBACKEND", "agg")
        self._channel = channel
        self._objects: list[object] = []  # what the other side holds, by the number it knows
        self._numbers: dict[int, int] = {}
        settings = Config()
        settings.HistoryManager.enabled = False
        settings.InteractiveShell.colors = "nocolor"
        InteractiveShell.clear_instance()
        self._shell = _Shell.instance(ipython_dir=folder, config=settings)
        self._operations: dict[str, Callable[[dict[str, Any]], object]] = {
            "run": self._run,
            "name": self._name,
            "names": lambda _: list(self._shell.user_ns),
            "assign": self._assign,
            "delete": lambda asked: self._shell.user_ns.pop(asked["name"], None) and None,
            "seed": lambda asked: _SEEDS[asked["which"]](asked["value"]) and None,
            "call": self._call,
            "next": self._next,
            "is_instance": lambda asked: isinstance(
                self._value(asked["one"]), cast("type", self._object(asked))
            ),
            "is_subclass": lambda asked: issubclass(
                self._value(asked["one"]), cast("type", self._object(asked))
            ),
            "enter": lambda asked: cast("Any", self._object(asked)).__enter__(),
            "exit": lambda asked: cast("Any", self._object(asked)).__exit__(None, None, None),
            "set": self._set,
            "set_item": self._set_item,
            "delete_item": self._delete_item,
            "attribute": lambda asked: getattr(self._object(asked), asked["name"]),
            "items": lambda asked: list(itertools.islice(self._object(asked), MOST_ITEMS)),  # type: ignore[call-overload]
            "item": lambda asked: self._object(asked)[self._value(asked["key"])],  # type: ignore[index]
            "length": lambda asked: len(self._object(asked)),  # type: ignore[arg-type]
            "refuse": _refuser(),
        }

    def serve(self) -> None:
        while True:
            asked = self._channel.receive()
            limit = TimeoutError(f"the cell ran for more than {asked['limit']:g} seconds")
            with alarm(asked["seconds"], limit):  # what the cell defined so far is kept
                answer = self._answer(asked)
            self._channel.send(answer)

    def _answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        collected = _Collected()
        before, self._shell.collected = self._shell.collected, collected
        answer: dict[str, Any] = {"answers": asked["number"]}
        streams = _Stream("stdout", collected), _Stream("stderr", collected)
        try:
            with contextlib.redirect_stdout(streams[0]), contextlib.redirect_stderr(streams[1]):
                try:
                    found = self._operations[asked["op"]](asked)
                    answer["value"] = encode(found, self._refer)
                except BaseException as error:
                    answer["error"] = _described(error)
        finally:
            self._shell.collected = before
        if asked.get("changed"):
            answer["changed"] = asked["changed"]
        return answer | {"outputs": collected.outputs}

    def _run(self, asked: dict[str, Any]) -> None:
        self._shell.execution_count = asked["cell"]
        self._shell.run_cell(asked["source"], store_history=True)
        self._show_figures()

    def _show_figures(self) -> None:
        """Put out what matplotlib has drawn, as the inline backend does."""
        pyplot: Any = sys.modules.get("matplotlib.pyplot")
        for number in pyplot.get_fignums() if pyplot else ():
            drawn = io.BytesIO()
            figure = pyplot.figure(number)
            figure.savefig(drawn, format="png", bbox_inches="tight")
            data = {"text/plain": repr(figure), "image/png": drawn.getvalue()}
            self._shell.collected.display("display_data", data)
            pyplot.close(figure)

    def _name(self, asked: dict[str, Any]) -> object:
        """Return the value of a name in a list, or an empty one where there is none."""
        names = self._shell.user_ns
        return [names[asked["name"]]] if asked["name"] in names else []

    def _assign(self, asked: dict[str, Any]) -> None:
        self._shell.user_ns[asked["name"]] = self._value(asked["value"])

    def _call(self, asked: dict[str, Any]) -> object:
        function: Any = self._object(asked)
        args, kwargs = self._value(asked["args"]), self._value(asked["kwargs"])
        try:
            with self._replaced(asked):
                return function(*args, **kwargs)
        finally:
            given = [*asked["args"]["!tuple"], *(value for _, value in asked["kwargs"]["!dict"])]
            values = [*args, *kwargs.values()]
            watched = [(i, given[i], values[i]) for i in asked["watched"]]
            asked["changed"] = list(_changed(watched))

    def _next(self, asked: dict[str, Any]) -> object:
        """Return the next value in a list, or an empty one at the end."""
        iterator: Any = self._object(asked)
        with self._replaced(asked):
            return list(itertools.islice(iterator, 1))

    @contextlib.contextmanager
    def _replaced(self, asked: dict[str, Any]) -> Iterator[None]:
        """Put what a test has put in place of Python's own functions there."""
        with contextlib.ExitStack() as until:
            for name, data in asked["replaced"].items():
                module = builtins if hasattr(builtins, name) else random
                until.enter_context(patch.object(module, name, self._value(data)))
            yield

    def _set(self, asked: dict[str, Any]) -> None:
        setattr(self._object(asked), asked["name"], self._value(asked["value"]))

    def _set_item(self, asked: dict[str, Any]) -> None:
        container: Any = self._object(asked)
        container[self._value(asked["key"])] = self._value(asked["value"])

    def _delete_item(self, asked: dict[str, Any]) -> None:
        container: Any = self._object(asked)
        del container[self._value(asked["key"])]

    def _object(self, asked: dict[str, Any]) -> object:
        return self._objects[asked["object"]]

    def _value(self, data: object) -> Any:
        return decode(data, self._resolve)

    def _refer(self, value: object) -> dict[str, Any]:
        """Return what stands for a value that stays here."""
        if id(value) not in self._numbers:
            self._numbers[id(value)] = len(self._objects)
            self._objects.append(value)
        try:
            shown = repr(value)[:1000]
        except Exception:
            shown = f"<{type(value).__name__}>"
        return {
            "!object": self._numbers[id(value)],
            "type": type(value).__name__,
            "shown": shown,
            "callable": callable(value),
            "sequence": hasattr(type(value), "__getitem__"),
            "iterator": isinstance(value, Iterator),
        }

    def _resolve(self, data: dict[str, Any]) -> object:
        if "!object" in data:
            return self._objects[data["!object"]]
        number = data["!callable"]

        def callback(*args: object, **kwargs: object) -> object:
            return self._call_back(number, args, kwargs)

        callback.__name__ = data["name"]
        return callback

    def _call_back(self, number: int, args: object, kwargs: object) -> object:
        """Call a function of the other side, and answer what it asks meanwhile."""
        given = {"args": encode(args, self._refer), "kwargs": encode(kwargs, self._refer)}
        self._channel.send({"callback": number} | given)
        while "op" in (message := self._channel.receive()):
            self._channel.send(self._answer(message))
        if "error" in message:
            raise _raised(message["error"])
        return self._value(message["value"])


def _changed(watched: list[tuple[int, Any, Any]]) -> Iterator[list[Any]]:
    """Yield the arguments that a call has changed, by number, as JSON; each with how it came."""
    for number, before, value in watched:
        if type(value) in _CHANGEABLE:
            with contextlib.suppress(WireError):
                if (now := encode(value, _not_sent)) != before:
                    yield [number, now]


def _not_sent(value: object) -> NoReturn:
    raise WireError(f"{type(value).__name__} is no plain value")


def _refuser() -> Callable[[dict[str, Any]], None]:
    """Return the operation that has torch's attention refuse, or work again."""
    refusing, until = refusal(), contextlib.ExitStack()

    def refuse(asked: dict[str, Any]) -> None:
        until.close()
        if asked["on"]:
            until.enter_context(refusing())

    return refuse


def _described(error: BaseException) -> dict[str, Any]:
    """Return an exception as JSON: names of its classes, its message, and its lines in cells."""
    frames = []
    for frame, line in traceback.walk_tb(error.__traceback__):
        if cell := re.fullmatch(r"<ipython-input-(\d+)>", frame.f_code.co_filename):
            frames.append([int(cell[1]), line, frame.f_code.co_name])
    described = {
        "classes": [one.__name__ for one in type(error).__mro__],
        "modules": [str(one.__module__) for one in type(error).__mro__],
        "message": _said(error),
        "frames": frames[-50:],
    }
    with contextlib.suppress(Exception):  # where they are not plain
        described["args"] = encode(list(error.args), _not_sent)
    return described


def _said(error: BaseException) -> str:
    try:
        return str(error)[:10_000]
    except Exception as other:
        return f"(its message cannot be read: str raises {type(other).__name__})"


def _raised(described: dict[str, Any]) -> Exception:
    """Return an exception of the other side as one of the same name here."""
    for name in described["classes"]:
        found = getattr(builtins, name, None)
        if isinstance(found, type) and issubclass(found, Exception):
            with contextlib.suppress(TypeError):
                return found(described["message"])
    return Exception(described["message"])
