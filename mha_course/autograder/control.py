"""Messages between the grader and its warm server: a length, then JSON, and perhaps a socket."""

from __future__ import annotations

import json
import socket
import struct
from typing import Any

LENGTH = struct.Struct(">I")
LONGEST = 2**27  # an assignment's data files go this way, and notebooks with all their outputs


def send(control: socket.socket, message: dict[str, Any], *passed: socket.socket) -> None:
    """Send a message, and with it sockets to pass on."""
    data = json.dumps(message).encode()
    if len(data) > LONGEST:
        raise ValueError(
            f"a message of {len(data)} bytes is over {LONGEST}: the files of an assignment must "
            "be smaller"
        )
    socket.send_fds(control, [LENGTH.pack(len(data))], [each.fileno() for each in passed])
    control.sendall(data)


def receive(control: socket.socket) -> tuple[dict[str, Any], socket.socket | None]:
    """Return the next message, and the socket that came with it.

    Raises:
        EOFError: the other side has closed the connection.
        ValueError: what came is no message.
    """
    header, descriptors, _, _ = socket.recv_fds(control, LENGTH.size, 1)
    passed = socket.socket(fileno=descriptors[0]) if descriptors else None
    header += _exactly(control, LENGTH.size - len(header)) if header else b""
    if not header:
        raise EOFError("the control connection was closed")
    (length,) = LENGTH.unpack(header)
    if length > LONGEST:
        raise ValueError(f"a message of {length} bytes is over {LONGEST}")
    message = json.loads(_exactly(control, length))
    if not isinstance(message, dict):
        raise ValueError(f"a message is a JSON object, not {type(message).__name__}")
    return message, passed


def _exactly(control: socket.socket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        piece = control.recv(count - len(data))
        if not piece:
            raise EOFError("the control connection was closed within a message")
        data += piece
    return bytes(data)
