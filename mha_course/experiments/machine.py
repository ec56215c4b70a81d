"""Which machine a measurement was made on."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def processor() -> str:
    """Name of the processor, as far as the system tells.

    >>> isinstance(processor(), str)
    True
    """
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def machine() -> str:
    """Processor, its cores, and system."""
    return f"{processor()}, {os.cpu_count()} cores, {platform.system()}"
