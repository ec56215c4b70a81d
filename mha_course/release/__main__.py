"""Command line: `python -m mha_course.release`; `make release` calls it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mha_course import __version__
from mha_course.release.checks import problems
from mha_course.release.files import make


def main(given: list[str] | None = None) -> int:
    """Check that the course can be released, and make the files.

    Returns:
        Exit code: 1 if something stands against it.
    """
    parser = argparse.ArgumentParser(
        prog="python -m mha_course.release",
        description="Make the files of a release, in the course's repository, once `make book pdf` "
        "has been run: the site and the exercises as zip files, the PDF, and the Python package. "
        "Nothing is published, and no tag is set.",
    )
    parser.add_argument(
        "--check", action="store_true", help="only say what stands against a release"
    )
    parser.add_argument(
        "--to",
        type=Path,
        default=Path("dist", __version__),
        metavar="FOLDER",
        help="where; by default %(default)s",
    )
    asked = parser.parse_args(given)
    root = Path.cwd()
    try:
        found = list(problems(root, __version__))
        if asked.to.exists():
            found.append(f"{asked.to} exists; move it away, or choose another folder --to")
        if found:
            print("\n".join(f"no release: {problem}" for problem in found), file=sys.stderr)
            return 1
        if asked.check:
            print(f"{__version__} can be released")
            return 0
        make(root, asked.to, __version__, say=lambda name: print(f"made: {name}", flush=True))
    except (OSError, ValueError) as error:
        print(f"no release: {error}", file=sys.stderr)
        return 1
    print(f"written: {asked.to}. To publish it: git tag v{__version__}, push, and attach the files")
    return 0


if __name__ == "__main__":
    sys.exit(main())
