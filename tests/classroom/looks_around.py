"""What a student tries who looks around on the hub; runs under the account of one.

It reads as JSON what to try, and prints as JSON what it got: empty where everything was refused.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from pathlib import Path
from typing import Any


def main() -> None:
    """Try all of it."""
    told = json.load(sys.stdin)
    got = {
        "files": [path for path in told["files"] if _can_read(path)],
        "folders": [path for path in told["folders"] if _can_list(path)],
        "written": [path for path in told["folders"] if _can_write(path)],
        "changed": [path for path in told["released"] if _can_change(path)],
        "moved": [path for path in told["moved"] if _can_move(path)],
        "processes": list(_processes()),
        "databases": [role for role in told["roles"] if _can_connect(told["database"], role)],
        "heard": heard(told["ports"], told["seconds"]),
    }
    json.dump(got, sys.stdout)


def _can_read(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            file.read(1)
    except OSError:
        return False
    return True


def _can_list(path: str) -> bool:
    try:
        os.listdir(path)
    except OSError:
        return False
    return True


def _can_write(path: str) -> bool:
    try:
        (Path(path) / "from-ada").write_text("x")
    except OSError:
        return False
    return True


def _can_change(path: str) -> bool:
    """Whether one could write into a file, or put something into a folder."""
    if os.path.isdir(path):
        return _can_write(path)
    try:
        open(path, "r+b").close()
    except OSError:
        return False
    return True


def _can_move(path: str) -> bool:
    try:
        os.rename(path, f"{path}-moved")
    except OSError:
        return False
    return True


def _processes() -> Any:
    """Yield what can be read of the memory and the secrets of others' processes."""
    me = os.getuid()
    for process in Path("/proc").glob("[0-9]*"):
        for name in ("environ", "mem", "root/etc/passwd", "cwd/.", "fd"):
            try:
                if process.stat().st_uid == me:
                    continue
                if name in ("cwd/.", "fd"):
                    os.listdir(process / name)
                else:
                    (process / name).open("rb").read(1)
            except OSError:
                continue
            yield str(process / name)
        try:
            if process.stat().st_uid != me:
                os.kill(int(process.name), 0)
                yield f"signal {process.name}"
        except OSError:
            continue


def _can_connect(folder: str, role: str) -> bool:
    """Whether PostgreSQL lets one in, at its socket or at its usual port."""
    import psycopg

    for host in (folder, "127.0.0.1"):
        for database in ("gradebook", "hub", "postgres"):
            try:
                psycopg.connect(host=host, dbname=database, user=role, connect_timeout=3).close()
            except psycopg.Error:
                continue
            return True
    return False


def heard(ports: list[int], seconds: float) -> str:
    """Listen at the ports of another's kernel, as its own server does."""
    import zmq

    context = zmq.Context()
    sockets = []
    for port in ports:
        one = context.socket(zmq.SUB)
        one.setsockopt(zmq.SUBSCRIBE, b"")
        one.connect(f"tcp://127.0.0.1:{port}")
        sockets.append(one)
    found = b""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for one in sockets:
            try:
                found += b" ".join(one.recv_multipart(zmq.NOBLOCK))
            except zmq.ZMQError:
                continue
        time.sleep(0.05)
    context.destroy(linger=0)
    return found.decode(errors="replace")


if __name__ == "__main__":
    socket.setdefaulttimeout(3)
    main()
