"""Messages between judge and learner: what arrives is what was sent, and nothing odd gets in."""

from __future__ import annotations

import base64
import json
import math
import socket
import struct
import threading
import time
from collections import Counter, OrderedDict, deque, namedtuple
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePath
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mha_course.autograder import wire
from mha_course.autograder.wire import Channel, Closed, Late, WireError, decode, encode

# the class that a named tuple arrives as
Point = wire._named_tuple("Point", "x", "y")


def refuse(what: object) -> dict[str, object]:
    raise WireError(f"not plain: {type(what).__name__}")


def sent(value: object) -> object:
    return decode(json.loads(json.dumps(encode(value, refuse))), refuse)


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, other = socket.socketpair()
    with one, other:
        yield one, other


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        0,
        -(10**400),
        1.5,
        math.inf,
        "é𝄞\x00",
        b"\xff",
        2j,
        ...,
        [],
        [1, [2.0, "3"]],
        (),
        (1, (2,)),
        {},
        {"a": 1, 2: "b", (3, 4): [5]},
        {"!tensor": "no tensor"},
        {1, 2},
        range(2, 9, 3),
        torch.float64,
        float,
        slice(None, (1, 2), -1),
        frozenset({1, (2,)}),
        bytearray(b"\0\xff"),
        Fraction(-1, 3),
        Decimal("0.10"),
        Decimal("-Infinity"),
        date(2024, 2, 29),
        datetime(2024, 1, 2).time(),
        datetime(2024, 1, 2, 3, tzinfo=UTC),
        timedelta(-1, 5, 6),
        Counter("abca"),
        OrderedDict(b=1, a=2),
        deque([1, [2]], maxlen=2),
        Point(1, y=[Point(2, None)]),
        PurePath("a/b c"),
        {"a": 1, (2,): [3]}.keys(),
        {"a": 1}.items(),
    ],
)
def test_plain_values_arrive(value: object) -> None:
    arrived = sent(value)
    assert arrived == value
    assert type(arrived) is type(value)


def test_nan_arrives() -> None:
    arrived = sent(math.nan)
    assert isinstance(arrived, float)
    assert math.isnan(arrived)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.arange(6.0).reshape(2, 3).T,
        torch.tensor(3),
        torch.zeros(0, 4),
        torch.tensor([True, False]),
        torch.ones(2, dtype=torch.bfloat16),
        torch.tensor([1 + 2j]).conj(),
        torch.ones(3).expand(5, 3),
        torch.eye(3).to_sparse(),
    ],
)
def test_tensors_arrive(tensor: torch.Tensor) -> None:
    arrived = sent(tensor)
    assert isinstance(arrived, torch.Tensor)
    assert arrived.dtype == tensor.dtype
    assert torch.equal(arrived, tensor.to_dense())
    arrived.zero_()  # its own memory


def test_a_parameter_arrives_as_a_tensor_with_gradients() -> None:
    arrived = sent(nn.Parameter(torch.ones(2)))
    assert type(arrived) is torch.Tensor
    assert arrived.requires_grad


def test_values_of_a_dict_arrive() -> None:
    assert list(sent({1: [2], 3: "a"}.values())) == [[2], "a"]


@pytest.mark.parametrize("generator", [np.random.default_rng(3), torch.Generator().manual_seed(3)])
def test_generators_arrive_with_their_state(generator: Any) -> None:
    draw = "normal" if isinstance(generator, np.random.Generator) else "initial_seed"
    arrived = sent(generator)
    assert type(arrived) is type(generator)
    for _ in range(2):
        assert getattr(arrived, draw)() == getattr(generator, draw)()
    if isinstance(generator, torch.Generator):
        assert torch.equal(arrived.get_state(), generator.get_state())


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6.0).reshape(2, 3)[:, ::-1],
        np.array([True]),
        np.array([["ada", "é𝄞"], ["", "b"]]),
        np.array([b"a", b"bc"]),
        np.array([], dtype="U3"),
        np.array(["2024-01-01T03", "NaT"], dtype="M8[s]")[:1],
        np.array([3], dtype="m8[D]"),
    ],
)
def test_arrays_arrive(array: np.ndarray) -> None:
    arrived = sent(array)
    assert isinstance(arrived, np.ndarray)
    assert arrived.dtype == array.dtype
    assert np.array_equal(arrived, array)


def test_numbers_of_numpy_arrive() -> None:
    arrived = sent(np.float32(0.5))
    assert type(arrived) is np.float32
    assert arrived == 0.5


class Liar(float):
    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = float.__hash__

    def __float__(self) -> float:
        return 42.0


class LoudText(str):
    def __str__(self) -> str:
        return "loud"


class Tagged(torch.Tensor):
    pass


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (Liar(1.0), 1.0),
        (LoudText("quiet"), "quiet"),
        (type("Point", (Point,), {"__eq__": lambda *_: True})(1, 2), Point(1, 2)),
        (namedtuple("Verdict", "allclose")(1), (1,)),
        (type("Ordered", (OrderedDict,), {})(a=1), {"a": 1}),
        (type("Numbers", (int,), {})(3), 3),
        (type("Many", (list,), {"__iter__": lambda self: iter([9])})([1]), [1]),  # noqa: ARG005
    ],
)
def test_subclasses_arrive_plain(value: object, plain: object) -> None:
    arrived = sent(value)
    assert type(arrived) is type(plain)
    assert arrived == plain


def test_a_subclass_of_tensor_arrives_plain() -> None:
    assert type(sent(torch.ones(2).as_subclass(Tagged))) is torch.Tensor


def nested(depth: int) -> list[object]:
    found: list[object] = []
    for _ in range(depth):
        found = [found]
    return found


def test_what_is_nested_too_deep_is_not_sent() -> None:
    with pytest.raises(WireError, match="deep"):
        encode(nested(100), refuse)
    circle: list[object] = []
    circle.append(circle)
    with pytest.raises(WireError, match="deep"):
        encode(circle, refuse)


def packed(header: bytes, data: bytes = b"", length: int | None = None) -> dict[str, str]:
    size = struct.pack("<Q", len(header) if length is None else length)
    return {"!tensor": base64.b64encode(size + header + data).decode()}


def header(dtype: str = "F32", shape: object = (2,), ends: object = (0, 8)) -> bytes:
    return json.dumps({"value": {"dtype": dtype, "shape": shape, "data_offsets": ends}}).encode()


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"!nothing": 1},
        {"!init__": 1},
        {"!value": 1},
        {"!tensor": None},
        {"!tensor": "*"},
        {"!tensor": ""},
        packed(b""),
        packed(b"{}"),
        packed(header(), b"\0" * 4),
        packed(header(), b"\0" * 8, length=2**63),
        packed(header(shape=[2**62, 4]), b"\0" * 8),
        packed(header(shape=[-1]), b"\0" * 8),
        packed(header(shape="two"), b"\0" * 8),
        packed(header(ends=[0, 2**60]), b"\0" * 8),
        packed(header(dtype="PICKLE"), b"\0" * 8),
        packed(header(), b"\0" * 8) | {"!array": "no"},
        {"!array": packed(header(), b"\0" * 4)["!tensor"]},
        {"!dict": [[[], 1]]},
        {"!dict": [[1]]},
        {"!dict": 3},
        {"!dict": [[k, 0] for k in range(wire.MOST_KEYS + 1)]},
        {"!set": [[k] for k in range(3)]},
        {"!tuple": "ab"},
        {"!complex": ["a", 1]},
        {"!range": [0, 10**12, 1]},
        {"!range": [0, 1, 0]},
        {"!bytes": "é"},
        {"!dtype": "load"},
        {"!dtype": "__dict__"},
        {"!type": "type"},
        {"!type": ["int"]},
        {"!fraction": [1, 0]},
        {"!fraction": ["1e999999999", 1]},
        {"!decimal": ["1E+999999999"]},
        {"!decimal": ["one"]},
        {"!date": ["2024-02-30"]},
        {"!timedelta": [10**12, 0, 0]},
        {"!deque": [[1], -1]},
        {"!frozenset": [[1]]},
        {"!counter": [[[], 1]]},
        {"!keys": list(range(wire.MOST_KEYS + 1))},
        {"!bytearray": [8]},
        {"!named": [1], "names": ["Point", "x", "y"]},
        {"!named": [1], "names": ["Point", "_x"]},
        {"!named": [1], "names": ["Point", "x=print(1)"]},
        {"!named": [1], "names": ["Point", "allclose"]},
        {"!named": [], "names": ["Point"]},
        {"!named": [1]},
        {"!texts": ["a"], "dtype": "O", "shape": [1]},
        {"!texts": ["a"], "dtype": "<U99999999", "shape": [1]},
        {"!texts": [{"!object": 1}], "dtype": "<U3", "shape": [1]},
        {"!texts": [1], "dtype": "<U3", "shape": [1]},
        {"!texts": ["a"], "dtype": "<U3", "shape": [2]},
        {"!texts": ["a"], "dtype": "M8[s]", "shape": [1]},
        {"!numpys_generator": [{"!dict": [["bit_generator", "MT19937"]]}]},
        {"!torchs_generator": [packed(header("U8", (2,), (0, 2)), b"\0" * 2)]},
        nested(100),
    ],
)
def test_what_stands_for_no_value_is_refused(data: object) -> None:
    if isinstance(data, dict) and "!array" in data and "!tensor" in data:
        assert isinstance(decode(data, refuse), torch.Tensor)  # the first kind counts
        return
    with pytest.raises(WireError):
        decode(data, refuse)


def test_half_a_surrogate_pair_can_be_written() -> None:
    assert decode("a\ud800", refuse) == "a?"


def test_messages_arrive(ends: tuple[socket.socket, socket.socket]) -> None:
    one, other = map(Channel, ends)
    big = {"text": "x" * 5_000_000}
    thread = threading.Thread(target=lambda: (one.send({"a": 1}), one.send(big)))
    thread.start()
    assert other.receive(time.monotonic() + 10) == {"a": 1}
    assert other.receive(time.monotonic() + 10) == big
    thread.join()
    assert not other.pending()


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"\xff\xff\xff\xff", "announced"),
        (struct.pack(">I", 3) + b"abc", "not JSON"),
        (struct.pack(">I", 2) + b"[]", "object"),
        (struct.pack(">I", 3) + b'{"\xff', "not JSON"),
        (struct.pack(">I", 200_001) + b"[" * 100_000 + b"0" + b"]" * 100_000, "not JSON"),
        (struct.pack(">I", 2_000_001) + b"[" + b"0," * 1_000_000, "values"),
        (struct.pack(">I", 8_007) + b'{"a": ' + b"9" * 8_000 + b"}", "not JSON"),
    ],
)
def test_broken_messages_are_refused(
    ends: tuple[socket.socket, socket.socket], data: bytes, says: str
) -> None:
    one, other = ends
    threading.Thread(target=one.sendall, args=(data,), daemon=True).start()
    with pytest.raises(WireError, match=says):
        Channel(other).receive(time.monotonic() + 10)


def test_waiting_ends(ends: tuple[socket.socket, socket.socket]) -> None:
    one, other = ends
    one.sendall(b"\0\0")
    with pytest.raises(Late):
        Channel(other).receive(time.monotonic() + 0.1)
    with pytest.raises(Late):  # nobody reads
        Channel(other).send({"a": "x" * 10_000_000}, time.monotonic() + 0.1)
    one.close()
    assert Channel(other).pending()
    with pytest.raises(Closed):
        Channel(other).receive(time.monotonic() + 10)


def test_drops_do_not_put_off_the_deadline(ends: tuple[socket.socket, socket.socket]) -> None:
    one, other = ends

    def drip() -> None:
        for byte in struct.pack(">I", 1000) + b" " * 20:
            time.sleep(0.05)
            one.sendall(bytes([byte]))

    thread = threading.Thread(target=drip)
    thread.start()
    begun = time.monotonic()
    with pytest.raises(Late):
        Channel(other).receive(begun + 0.3)
    assert time.monotonic() - begun < 0.6
    thread.join()


def test_too_large_a_message_is_not_sent(ends: tuple[socket.socket, socket.socket]) -> None:
    with pytest.raises(WireError, match="larger"):
        Channel(ends[0]).send({"a": "x" * wire.MOST_BYTES})
