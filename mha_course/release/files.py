"""The files of a release: the site, the PDF, the exercises, the package, and their digests."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

from mha_course.bundle import name as exercises_name
from mha_course.bundle import write_bundle
from mha_course.bundle.archive import write_zip
from mha_course.pdf.__main__ import NAME as PDF
from mha_course.release.checks import git

DIGESTS = "SHA256SUMS"
_STEM = Path(PDF).stem
_NOT_SERVED = {".buildinfo"}  # of use to the next build alone


def make(root: Path, folder: Path, version: str, say: Callable[[str], None]) -> None:
    """Make all files of a release; the folder is complete or it is not there.

    Args:
        root: Of the course's repository, in which `make book pdf` has been run.
        folder: Where to put them.
        version: Of the release.
        say: Called with each file's name once it is made.

    Raises:
        FileExistsError: the folder is there already.
        ValueError: the book or the PDF is not there, or the package cannot be built.
    """
    if folder.exists():
        raise FileExistsError(f"{folder} exists; move it away, and run the same command again")
    site, pdf = root / "_build" / "html", root / "_build" / "pdf" / PDF
    for wanted in (site / "index.html", site / exercises_name(), pdf):
        if not wanted.exists():
            raise ValueError(f"there is no {wanted}; run `make release`, which makes it")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as draft:
        new = Path(draft, folder.name)
        new.mkdir()
        for file in _all(root, new, version, site, pdf):
            say(file.name)
        lines = [
            f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n"
            for file in sorted(new.iterdir())
        ]
        (new / DIGESTS).write_text("".join(lines), encoding="utf-8")
        new.rename(folder)


def _all(root: Path, new: Path, version: str, site: Path, pdf: Path) -> Iterator[Path]:
    served = {
        file.relative_to(site).as_posix(): file.read_bytes()
        for file in site.rglob("*")
        if file.is_file() and file.name not in _NOT_SERVED
    }
    write_zip(new / f"{_STEM}-{version}.zip", f"{_STEM}-{version}", served)
    yield new / f"{_STEM}-{version}.zip"
    shutil.copyfile(pdf, new / f"{_STEM}-{version}.pdf")
    yield new / f"{_STEM}-{version}.pdf"
    write_bundle(root, new / exercises_name(), os.environ.get("MHA_SITE_URL", ""))
    yield new / exercises_name()
    yield from _package(root, new)


def unpack(packed: tarfile.TarFile, folder: str | Path) -> None:
    """Unpack an archive into a folder, and nothing beside it where Python can see to that."""
    if hasattr(tarfile, "data_filter"):  # since 3.11.4
        packed.extractall(folder, filter="data")
    else:
        packed.extractall(folder)


def _package(root: Path, new: Path) -> Iterator[Path]:
    """Build the source distribution, and the wheel from it, out of what is committed."""
    committed = git(root, "archive", "HEAD")
    when = git(root, "log", "-1", "--format=%ct").decode().strip()
    with tempfile.TemporaryDirectory() as source:
        with tarfile.open(fileobj=BytesIO(committed)) as packed:
            unpack(packed, source)
        built = subprocess.run(
            [sys.executable, "-m", "build", "--no-isolation", "--outdir", new, source],
            env={**os.environ, "SOURCE_DATE_EPOCH": when},
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
        )
    if built.returncode:
        raise ValueError(f"the package cannot be built:\n{(built.stdout + built.stderr)[-3000:]}")
    yield from sorted({*new.glob("*.whl"), *new.glob("*.tar.gz")})
