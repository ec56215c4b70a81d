"""What the processes of a submission use, seen from outside, in Linux' /proc."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")
TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


class Usage(NamedTuple):
    """What a server and all its descendants have used.

    Attributes:
        cpu_seconds: Of those that run and of those that were waited for.
        memory_bytes: Now; what several share is counted once, or not at all if it is little.
    """

    cpu_seconds: float
    memory_bytes: int


def descendants(process: int) -> list[int]:
    """Return the ids of all processes that a process started, directly or not."""
    found: list[int] = []
    waiting = [process]
    while waiting:
        for task in _listed(PROC / str(waiting.pop()) / "task"):
            children = [int(child) for child in _read(task / "children").split()]
            found += children
            waiting += children
    return found


def usage(server: int, enough: int) -> Usage:
    """Measure a server and its descendants.

    Args:
        server: Its process id.
        enough: Bytes; only above them is it worth the time to count shared memory once.
    """
    family = [server, *descendants(server)]
    cpu = sum(_cpu_seconds(process) for process in family)
    memory = sum(_resident(process) for process in family)
    if memory > enough:
        memory = sum(_proportional(process) for process in family)
    return Usage(cpu, memory)


def scratch_files(server: int, folder: str) -> int:
    """Return how many files and folders there are in a scratch folder of the server's sandbox."""
    try:
        found = os.statvfs(f"/proc/{server}/root{folder}")
    except OSError:  # the server has just ended
        return 0
    return found.f_files - found.f_ffree


def _cpu_seconds(process: int) -> float:
    # the name, in brackets, may hold spaces; user and system time, own and of children waited for
    fields = _read(PROC / str(process) / "stat").rpartition(")")[2].split()
    return sum(int(field) for field in fields[11:15]) / TICKS


def _resident(process: int) -> int:
    fields = _read(PROC / str(process) / "statm").split()
    return int(fields[1]) * PAGE if fields else 0


def _proportional(process: int) -> int:
    for line in _read(PROC / str(process) / "smaps_rollup").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:  # it has just ended
        return []


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:  # it has just ended
        return ""
