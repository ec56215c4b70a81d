"""What the hub and all that it starts can see of this machine.

Students' servers need Python, this package and a few settings. They need neither the solutions in
the public checkout nor the home of whoever cloned it, which other accounts often cannot even enter.
So the hub runs where the checkout has no more than what it needs, and can lie anywhere.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
_NEEDED = (
    Path(sys.base_prefix).resolve(),
    Path(sys.prefix).absolute(),
    REPOSITORY / "mha_course",
    REPOSITORY / "deploy",
)


def closed(path: Path) -> Path | None:
    """Return the first folder on the way to a path that other accounts cannot enter."""
    ways = [folder for folder in reversed(path.parents) if folder.exists()]
    return next((folder for folder in ways if not folder.stat().st_mode & 0o001), None)


def inside(also: Sequence[Path] = ()) -> list[str]:
    """Return the beginning of a command: the rest of it sees what is needed, read-only.

    Args:
        also: What it sees besides of the checkout.
    """
    shown = [*_NEEDED, *also]
    hidden = {REPOSITORY, *filter(None, map(closed, shown))}
    outermost = sorted(one for one in hidden if not hidden.intersection(one.parents))
    command = ["bwrap", "--dev-bind", "/", "/"]
    for folder in outermost:
        command += ["--perms", "0755", "--tmpfs", str(folder)]
    for path in sorted(shown):  # what lies in another comes after it
        covered = [folder for folder in outermost if folder in path.parents]
        for way in reversed(path.parents) if covered else []:
            if covered[0] in way.parents:
                command += ["--perms", "0755", "--dir", str(way)]
        if covered:
            command += ["--ro-bind", str(path), str(path)]
    return [*command, "--"]
