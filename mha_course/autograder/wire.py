"""Messages between the judge and a learner's process, and the plain values in them.

A message is four bytes with its length, the largest first, and then JSON. Tensors and arrays stand
in it as safetensors in base64. Nothing is ever unpickled, and nothing that arrives is trusted:
whatever is odd about a message becomes a WireError.
"""

from __future__ import annotations

import base64
import datetime
import functools
import json
import re
import socket
import struct
import time
from collections import Counter, OrderedDict, deque, namedtuple
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePath
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

MOST_BYTES = 64 * 2**20  # of a message
MOST_PARTS = 1_000_000  # values in a message: a Python object for each, of 100 bytes or so
MOST_KEYS = 20_000  # of all dictionaries and sets of a message: chosen keys can all collide
DEEPEST = 50  # lists within lists
_CHUNK = 2**20
_MOST_NAMED = 100  # fields of a named tuple
_MOST_DIGITS = 4_000  # of a Decimal's exponent: as an int or a Fraction it has as many digits
_LARGEST = 2**13_000  # Python reads no int of more than 4,300 digits

# Methods that say whether something is right: an object of the learner's could always say yes.
VERDICTS = frozenset("all allclose any array_equal eq equal equals isclose ne".split())  # noqa: SIM905

Refer = Callable[[object], dict[str, Any]]
Resolve = Callable[[dict[str, Any]], object]


class WireError(Exception):
    """The other side sent what no message may be, or nothing in time; the text says which."""


class Closed(WireError):  # noqa: N818  what the connection is
    """The other side is gone."""


class Late(WireError):  # noqa: N818  what the answer is
    """The other side did not answer before the deadline."""


class Channel:
    """One end of a connection over which messages go."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def send(self, message: dict[str, Any], deadline: float | None = None) -> None:
        """Send a message; a deadline is a value of `time.monotonic()`.

        Raises:
            WireError: the message is too large, the other side is gone, or does not read.
        """
        data = json.dumps(message).encode()
        if len(data) > MOST_BYTES:
            raise WireError(f"a message of {len(data)} bytes is larger than {MOST_BYTES}")
        try:
            self._connection.settimeout(_left(deadline))
            self._connection.sendall(struct.pack(">I", len(data)) + data)
        except TimeoutError:
            raise Late("the other side does not read") from None
        except OSError as error:
            raise Closed(f"the connection is closed: {error}") from None

    def receive(self, deadline: float | None = None) -> dict[str, Any]:
        """Return the next message.

        Raises:
            WireError: it is none, it does not come in time, or the other side is gone.
        """
        (length,) = struct.unpack(">I", self._read(4, deadline))
        if length > MOST_BYTES:
            raise WireError(f"a message of {length} bytes was announced; the most is {MOST_BYTES}")
        return _parsed(self._read(length, deadline))

    def pending(self) -> bool:
        """Return whether something has come that nobody has read, be it the end."""
        try:
            self._connection.setblocking(False)
            self._connection.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True

    def _read(self, length: int, deadline: float | None) -> bytes:
        data = bytearray()  # grows with what comes, not with what was announced
        while len(data) < length:
            try:
                self._connection.settimeout(_left(deadline))
                part = self._connection.recv(min(_CHUNK, length - len(data)))
            except TimeoutError:
                raise Late("no answer came in time") from None
            except OSError as error:
                raise Closed(f"the connection is closed: {error}") from None
            if not part:
                raise Closed("the connection is closed")
            data += part
        return bytes(data)


def _left(deadline: float | None) -> float | None:
    if deadline is None:
        return None
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _parsed(data: bytes) -> dict[str, Any]:
    # counted before they are made: each takes a hundred times the bytes that it takes here
    if sum(data.count(sign) for sign in (b",", b"[", b"{")) > MOST_PARTS:
        raise WireError(f"a message holds more than {MOST_PARTS} values")
    try:
        message = json.loads(data)
    except (ValueError, RecursionError, MemoryError) as error:
        raise WireError(f"a message is not JSON: {type(error).__name__}") from None
    if type(message) is not dict:
        raise WireError("a message is not a JSON object")
    return message


def encode(value: object, refer: Refer, depth: int = 0) -> Any:
    """Return `value` as JSON; subclasses lose what is their own.

    Args:
        value: What to send.
        refer: Returns what stands for a value that is not plain, `{"!object": …}` as a rule.
        depth: Lists and dictionaries around it.

    Raises:
        WireError: it is nested too deep.
    """
    if depth > DEEPEST:
        raise WireError(f"the value is nested more than {DEEPEST} deep")

    def inner(parts: Any) -> list[Any]:
        return [encode(part, refer, depth + 1) for part in parts]

    if value is None or value is True or value is False:
        return value
    if isinstance(value, np.generic | np.ndarray):
        return _encode_array(value, refer)
    if isinstance(value, Tensor):
        return _encode_tensor(value, refer)
    if isinstance(value, int):
        number = int.__int__(value)
        return number if abs(number) < _LARGEST else refer(value)
    if isinstance(value, float):
        return float.__float__(value)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, list):
        return inner(list.__iter__(value))
    if isinstance(value, tuple):
        parts = inner(tuple.__iter__(value))
        return {"!tuple": parts} if type(value) is tuple else _encode_named(value, parts)
    if isinstance(value, dict):
        kind = {Counter: "!counter", OrderedDict: "!ordered"}.get(type(value), "!dict")
        return {kind: [inner(pair) for pair in dict.items(value)]}
    return _encode_other(value, refer, inner)


def _encode_other(value: object, refer: Refer, inner: Callable[[Any], list[Any]]) -> Any:
    """Return what is rarer as JSON."""
    if value is ...:
        return {"!ellipsis": None}
    if isinstance(value, complex):
        return {"!complex": [value.real, value.imag]}
    if isinstance(value, bytes):
        return {"!bytes": base64.b64encode(value).decode()}
    if isinstance(value, set | frozenset):
        return {"!frozenset" if type(value) is frozenset else "!set": inner(value)}
    if isinstance(value, range):
        return {"!range": [value.start, value.stop, value.step]}
    if isinstance(value, torch.dtype):
        return {"!dtype": str(value).removeprefix("torch.")}
    if type(value) in _AS_PARTS:
        kind, parts_of = _AS_PARTS[type(value)]
        return {kind: inner(parts_of(value))}
    if isinstance(value, PurePath):
        return {"!path": str(value)}
    if isinstance(value, type) and value in _TYPES:
        return {"!type": value.__name__}
    return refer(value)


_TYPES = {bool, bytes, complex, dict, float, frozenset, int, list, object, range, set, str, tuple}


# By type, its kind and the plain parts that it is made of; of these exact types only.
_AS_PARTS: dict[type, tuple[str, Callable[[Any], Any]]] = {
    bytearray: ("!bytearray", lambda one: [bytes(one)]),
    deque: ("!deque", lambda one: [list(one), one.maxlen]),
    Fraction: ("!fraction", lambda one: [one.numerator, one.denominator]),
    Decimal: ("!decimal", lambda one: [str(one)]),
    datetime.date: ("!date", lambda one: [one.isoformat()]),
    datetime.datetime: ("!datetime", lambda one: [one.isoformat()]),
    datetime.time: ("!time", lambda one: [one.isoformat()]),
    slice: ("!slice", lambda one: [one.start, one.stop, one.step]),
    type({}.keys()): ("!keys", list),
    type({}.items()): ("!items", lambda one: [list(one)]),
    type({}.values()): ("!values", list),
    np.random.Generator: ("!numpys_generator", lambda one: [one.bit_generator.state]),
    torch.Generator: ("!torchs_generator", lambda one: [one.get_state()]),
    datetime.timedelta: ("!timedelta", lambda one: [one.days, one.seconds, one.microseconds]),
}


def _encode_named(value: tuple[Any, ...], parts: list[Any]) -> dict[str, Any]:
    """Return a tuple of a class of its own: of `namedtuple`, the names of its fields stay."""
    fields = getattr(type(value), "_fields", ())
    if type(fields) is not tuple or len(fields) != len(parts) or not 0 < len(parts) <= _MOST_NAMED:
        return {"!tuple": parts}
    names = [type(value).__name__, *map(str, fields)]
    # namedtuple would refuse others
    fit = all(name.isidentifier() and name.isascii() for name in names)
    if not fit or any(name.startswith("_") for name in names[1:]) or len({*names[1:]}) < len(parts):
        return {"!tuple": parts}
    if VERDICTS & {*names}:
        return {"!tuple": parts}
    return {"!named": parts, "names": names}


def _encode_tensor(tensor: Tensor, refer: Refer) -> Any:
    try:
        plain = tensor.detach().cpu()
        plain = plain.to_dense() if plain.layout != torch.strided else plain.as_subclass(Tensor)
        plain = plain.resolve_conj().resolve_neg().contiguous()
        packed = _packed(plain)
    except Exception:  # of a type or a device that safetensors does not know
        return refer(tensor)
    return {"!tensor": packed, "grad": bool(tensor.requires_grad)}


def _encode_array(array: np.generic | np.ndarray, refer: Refer) -> Any:
    if array.dtype.kind in "SUMm":
        plain = np.asarray(array)
        items = plain.view("i8") if array.dtype.kind in "Mm" else plain
        parts = [encode(one, refer) for one in items.ravel().tolist()]
        given = {"dtype": array.dtype.str, "shape": array.shape}
        return {"!texts": parts, "scalar": isinstance(array, np.generic), **given}
    try:
        packed = _packed(torch.from_numpy(np.array(array)))  # a copy: without subclass, writable
    except TypeError:  # of objects, or of several fields
        return refer(array)
    return {"!array": packed, "scalar": isinstance(array, np.generic)}


def _packed(tensor: Tensor) -> str:
    return base64.b64encode(safetensors.torch.save({"value": tensor})).decode()


def decode(data: object, resolve: Resolve) -> Any:
    """Return the value of what `encode` made.

    Args:
        data: What came, as JSON.
        resolve: Returns the value of a dictionary that `refer` made; it may raise WireError.

    Raises:
        WireError: it stands for no value.
    """
    try:
        return _Decoder(resolve).value(data, 0)
    except WireError:
        raise
    except Exception as error:  # whatever torch, numpy or safetensors say of what is broken
        raise WireError(f"a value is broken: {type(error).__name__}") from None


class _Decoder:
    """The values of one message."""

    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve
        self._counted = 0

    def value(self, data: object, depth: int) -> Any:
        if depth > DEEPEST:
            raise WireError(f"a value is nested more than {DEEPEST} deep")
        if data is None or isinstance(data, bool | int | float):
            return data
        if isinstance(data, str):
            return text(data)
        if isinstance(data, list):
            return [self.value(part, depth + 1) for part in data]
        if not isinstance(data, dict) or not data:
            raise WireError("a value has no kind")
        kind = next(iter(data))
        decoder = getattr(self, f"_{kind[1:]}", None) if kind in _KINDS else None
        if decoder is None:
            return self._resolve(data)
        return decoder(data[kind], data, depth + 1)

    def _many(self, parts: object, depth: int) -> list[Any]:
        if not isinstance(parts, list):
            raise WireError("a list of values is none")
        return [self.value(part, depth) for part in parts]

    def _tuple(self, parts: object, _: object, depth: int) -> tuple[Any, ...]:
        return tuple(self._many(parts, depth))

    def _dict(self, pairs: Any, _: object, depth: int) -> dict[Any, Any]:
        self._count(pairs)
        return dict(self._many(pair, depth) for pair in pairs)

    def _counter(self, pairs: Any, *more: Any) -> Counter[Any]:
        return Counter(self._dict(pairs, *more))

    def _ordered(self, pairs: Any, *more: Any) -> OrderedDict[Any, Any]:
        return OrderedDict(self._dict(pairs, *more))

    def _set(self, parts: Any, _: object, depth: int) -> set[Any]:
        self._count(parts)
        return set(self._many(parts, depth))

    def _frozenset(self, parts: Any, *more: Any) -> frozenset[Any]:
        return frozenset(self._set(parts, *more))

    def _named(self, parts: Any, data: dict[str, Any], depth: int) -> tuple[Any, ...]:
        name, *fields = (text(one, 100) for one in data["names"])
        if not 0 < len(fields) <= _MOST_NAMED:
            raise WireError("a named tuple has too many fields, or none")
        if VERDICTS & {*fields}:
            raise WireError("a field of a named tuple is called as a verdict is")
        made: tuple[Any, ...] = _named_tuple(name, *fields)(*self._many(parts, depth))
        return made

    def _bytearray(self, parts: Any, _: object, depth: int) -> bytearray:
        (content,) = self._many(parts, depth)
        if type(content) is not bytes:
            raise WireError("bytes are none")
        return bytearray(content)

    def _deque(self, parts: Any, _: object, depth: int) -> deque[Any]:
        items, most = self._many(parts, depth)
        return deque(items, most)

    def _fraction(self, parts: Any, *_: object) -> Fraction:
        numerator, denominator = parts
        if type(numerator) is not int or type(denominator) is not int:
            raise WireError("a fraction is none")
        return Fraction(numerator, denominator)

    def _decimal(self, parts: Any, *_: object) -> Decimal:
        found = Decimal(text(parts[0], _MOST_DIGITS))
        if found.is_finite() and abs(found.adjusted()) > _MOST_DIGITS:
            raise WireError("a Decimal is too large or too small")
        return found

    def _date(self, parts: Any, *_: object) -> datetime.date:
        return datetime.date.fromisoformat(text(parts[0], 100))

    def _datetime(self, parts: Any, *_: object) -> datetime.datetime:
        return datetime.datetime.fromisoformat(text(parts[0], 100))

    def _time(self, parts: Any, *_: object) -> datetime.time:
        return datetime.time.fromisoformat(text(parts[0], 100))

    def _timedelta(self, parts: Any, *_: object) -> datetime.timedelta:
        days, seconds, microseconds = map(int, parts)
        return datetime.timedelta(days, seconds, microseconds)

    def _slice(self, parts: Any, _: object, depth: int) -> slice:
        return slice(*self._many(parts, depth))

    def _keys(self, parts: Any, _: object, depth: int) -> Any:
        self._count(parts)
        return dict.fromkeys(self._many(parts, depth)).keys()

    def _items(self, parts: Any, _: object, depth: int) -> Any:
        (pairs,) = self._many(parts, depth)
        self._count(pairs)
        return dict(pairs).items()

    def _values(self, parts: Any, _: object, depth: int) -> Any:
        return dict(enumerate(self._many(parts, depth))).values()

    def _type(self, name: Any, *_: object) -> type:
        (found,) = (one for one in _TYPES if one.__name__ == name)
        return found

    def _numpys_generator(self, parts: Any, _: object, depth: int) -> np.random.Generator:
        (state,) = self._many(parts, depth)
        found = np.random.Generator(np.random.PCG64(0))  # the one that default_rng has
        found.bit_generator.state = state
        return found

    def _torchs_generator(self, parts: Any, _: object, depth: int) -> torch.Generator:
        (state,) = self._many(parts, depth)
        found = torch.Generator()
        found.set_state(state)
        return found

    def _path(self, name: Any, *_: object) -> PurePath:
        return PurePath(text(name))  # pure: no file of this side is opened by it

    def _count(self, parts: list[Any]) -> None:
        self._counted += len(parts)
        if self._counted > MOST_KEYS:
            raise WireError(f"dictionaries and sets hold more than {MOST_KEYS} keys")

    def _ellipsis(self, *_: object) -> Any:
        return ...

    def _complex(self, parts: Any, *_: object) -> complex:
        real, imaginary = parts
        return complex(float(real), float(imaginary))

    def _bytes(self, data: Any, *_: object) -> bytes:
        return base64.b64decode(data, validate=True)

    def _range(self, ends: Any, *_: object) -> range:
        found = range(*ends)
        if len(found) > MOST_PARTS:
            raise WireError(f"a range holds more than {MOST_PARTS} numbers")
        return found

    def _dtype(self, name: Any, *_: object) -> torch.dtype:
        found = getattr(torch, name)
        if not isinstance(found, torch.dtype):
            raise WireError("a dtype is none")
        return found

    def _tensor(self, packed: Any, data: dict[str, Any], _: object) -> Tensor:
        tensor = _unpacked(packed)
        grad = data.get("grad") is True and (tensor.is_floating_point() or tensor.is_complex())
        return tensor.requires_grad_(grad)

    def _array(self, packed: Any, data: dict[str, Any], _: object) -> Any:
        array = _unpacked(packed).numpy()
        return array[()] if data.get("scalar") is True and array.ndim == 0 else array

    def _texts(self, parts: Any, data: dict[str, Any], depth: int) -> Any:
        """Return an array of texts, bytes, dates or spans of time."""
        items = self._many(parts, depth)
        kind = _TEXTS.fullmatch(text(data["dtype"], 100))
        most = int(kind["length"] or 0) if kind else 0
        if kind is None or most * len(items) > MOST_BYTES:
            raise WireError("an array is of no known kind, or too large")
        expected = {"U": str, "S": bytes}.get(kind["kind"], int)
        if any(type(one) is not expected for one in items):
            raise WireError("an array holds something else")
        array = np.array(items, "i8").view(kind[0]) if not most else np.array(items, kind[0])
        array = array.reshape([int(size) for size in data["shape"]])
        return array[()] if data.get("scalar") is True and array.ndim == 0 else array


_TEXTS = re.compile(r"[<>|=](?P<kind>[US](?=\d)|[Mm](?=8))(8\[\w+\]|(?P<length>\d{1,8}))")
_KINDS = {"!tuple", "!dict", "!set", "!ellipsis", "!complex", "!bytes", "!range", "!dtype"}
_KINDS |= {"!tensor", "!array", "!texts", "!named", "!counter", "!ordered", "!frozenset", "!path"}
_KINDS.add("!type")
_KINDS |= {kind for kind, _ in _AS_PARTS.values()}


@functools.lru_cache(maxsize=256)  # so that two of the same names are of one class
def _named_tuple(name: str, *fields: str) -> Any:
    return namedtuple(name, fields)


def _unpacked(packed: str) -> Tensor:
    tensors = safetensors.torch.load(base64.b64decode(packed, validate=True))
    (tensor,) = tensors.values()
    return tensor.clone()  # of its own, and writable


def text(value: object, most: int = MOST_BYTES) -> str:
    """Return a str that came as one that can be written: half a surrogate pair cannot.

    Raises:
        WireError: it is no str.
    """
    if not isinstance(value, str):
        raise WireError("a text is none")
    return value[:most].encode("utf-8", "replace").decode("utf-8")
