"""Messages between the judge and a learner's process, and the plain values in them.

A message is four bytes with its length, the largest first, and then JSON. Tensors and arrays stand
in it as safetensors in base64. Nothing is ever unpickled, and nothing that arrives is trusted:
whatever is odd about a message becomes a WireError.
"""

from __future__ import annotations

import base64
import json
import socket
import struct
import time
from collections.abc import Callable
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
_LARGEST = 2**13_000  # Python reads no int of more than 4,300 digits

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
        return {"!tuple": inner(tuple.__iter__(value))}
    if isinstance(value, dict):
        return {"!dict": [inner(pair) for pair in dict.items(value)]}
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
        return {"!set": inner(value)}
    if isinstance(value, range):
        return {"!range": [value.start, value.stop, value.step]}
    if isinstance(value, torch.dtype):
        return {"!dtype": str(value).removeprefix("torch.")}
    return refer(value)


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
    try:
        packed = _packed(torch.from_numpy(np.array(array)))  # a copy: without subclass, writable
    except TypeError:  # of texts or objects
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
        self._keys = 0

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

    def _set(self, parts: Any, _: object, depth: int) -> set[Any]:
        self._count(parts)
        return set(self._many(parts, depth))

    def _count(self, parts: list[Any]) -> None:
        self._keys += len(parts)
        if self._keys > MOST_KEYS:
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


_KINDS = {"!tuple", "!dict", "!set", "!ellipsis", "!complex", "!bytes", "!range", "!dtype"}
_KINDS |= {"!tensor", "!array"}


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
