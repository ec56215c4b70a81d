"""Versions of what points depend on."""

from __future__ import annotations

import platform
from importlib.metadata import version

PACKAGES = ("mha-course", "torch", "numpy", "nbgrader", "ipython")


def versions() -> dict[str, str]:
    """Return the version of Python and of each package."""
    return {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}
