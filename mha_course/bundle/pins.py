"""Which packages, in which versions, a part of the course needs: read off what is installed."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError

from mha_course.installed import PACKAGE, distribution

_TOOLS = ("pip", "setuptools", "wheel")  # each environment has its own


def pins(extra: str) -> Iterator[str]:
    """Yield `name==version` for everything that an extra of the package pulls in, by name.

    What this machine alone needs is among it: markers are read as they hold here.

    Raises:
        ValueError: something of it is not installed.
    """
    from packaging.requirements import Requirement  # comes with Jupyter
    from packaging.utils import canonicalize_name

    found: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    waiting = [Requirement(f"{PACKAGE}[{extra}]")]
    while waiting:
        wanted = waiting.pop()
        for chosen in ("", *wanted.extras):
            key = (canonicalize_name(wanted.name), chosen)
            if key in seen:
                continue
            seen.add(key)
            try:
                there = distribution(wanted.name)
            except PackageNotFoundError:
                raise ValueError(
                    f"{wanted.name} is not installed, so its version is not known; "
                    f"pip install '{PACKAGE}[{extra}]'"
                ) from None
            found[key[0]] = there.version.partition("+")[0]  # without the build of torch
            for line in there.requires or ():
                needed = Requirement(line)
                if needed.marker is None or needed.marker.evaluate({"extra": chosen}):
                    waiting.append(needed)
    for left_out in (PACKAGE, *_TOOLS):
        found.pop(left_out, None)
    yield from (f"{name}=={version}" for name, version in sorted(found.items()))
