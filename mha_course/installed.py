"""What is installed beside the course, and what the course says that it needs."""

from __future__ import annotations

import shutil
from importlib import metadata

PACKAGE = "mha-course"

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
"""Programs that can be driven, the first choice first."""


def distribution(name: str) -> metadata.Distribution:
    """Return an installed package.

    In the course's repository, pip may have left a folder `*.egg-info` of an earlier version, which
    Python finds before what is installed: only where there is nothing else, it counts.

    Raises:
        PackageNotFoundError: it is not installed.
    """
    installed = (one for one in metadata.distributions(name=name) if one.read_text("METADATA"))
    return next(installed, None) or metadata.distribution(name)


def browser() -> str | None:
    """Return the path of a browser that can be driven, None if there is none on PATH."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def version(name: str) -> str | None:
    """Return the version of an installed package, None if it is not installed."""
    try:
        return distribution(name).version
    except metadata.PackageNotFoundError:
        return None
