"""What is handed in need not be a notebook, nor a file, nor alone in its folder."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import socket
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from hostile.submissions import HONEST

FILE = "heads.ipynb"
HandIn = Callable[[Path, bytes], object]


class HandedIn(NamedTuple):
    """A folder that is handed in.

    Attributes:
        name: What it is called, which is the student's name.
        tries: What it wants, in a sentence.
        hand_in: Fills the folder, given a notebook in which the `HONEST` tasks are solved.
        findings: Kinds of findings that an instructor must see.
        solved: Tasks that must get their points; all others must get none.
    """

    name: str
    tries: str
    hand_in: HandIn
    findings: tuple[str, ...] = ("not-read",)
    solved: tuple[str, ...] = ()


def _is(content: bytes | str) -> HandIn:
    """Hand in a file with this in it."""
    data = content.encode() if isinstance(content, str) else content
    return lambda folder, _: (folder / FILE).write_bytes(data)


def _as(change: Callable[[bytes], bytes]) -> HandIn:
    """Hand in the notebook in another form."""
    return lambda folder, good: (folder / FILE).write_bytes(change(good))


def _with(**fields: object) -> HandIn:
    """Hand in the notebook with other fields at its top."""
    return _as(lambda good: json.dumps(json.loads(good) | fields).encode())


def _cells(change: Callable[[list[dict[str, object]]], object]) -> HandIn:
    """Hand in the notebook with other cells."""

    def changed(good: bytes) -> bytes:
        notebook = json.loads(good)
        notebook["cells"] = change(notebook["cells"]) or notebook["cells"]
        return json.dumps(notebook).encode()

    return _as(changed)


def _link(target: str, name: str = FILE) -> HandIn:
    """Hand in a link."""
    return lambda folder, _: (folder / name).symlink_to(target)


def _beside(more: Callable[[Path], object]) -> HandIn:
    """Hand in the notebook, and something else in its folder."""

    def hand_in(folder: Path, good: bytes) -> None:
        (folder / FILE).write_bytes(good)
        more(folder)

    return hand_in


def _timestamp(content: str | bytes) -> HandIn:
    """Hand in the notebook, and a file that says when."""
    data = content.encode() if isinstance(content, str) else content
    return _beside(lambda folder: (folder / "timestamp.txt").write_bytes(data))


def _in_place_of(folder: Path, make: Callable[[Path], object]) -> None:
    shutil.rmtree(folder)
    make(folder)


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def _zipped(good: bytes) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr(FILE, good)
    return archive.getvalue()


def _socket(folder: Path, _: bytes) -> None:
    before = Path.cwd()
    os.chdir(folder)  # the name of a socket must be short
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(FILE)
    finally:
        os.chdir(before)


def _badly_named_link(folder: Path, _: bytes) -> None:
    os.symlink("/etc/passwd", os.fsencode(folder) + b"/\xff.ipynb")


def _oddly_named(folder: Path) -> None:
    for name in (b"\xff.csv", b"-rf", b"a\nb.txt", b"<script>.html", b"*", b"[a]"):
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_text("odd")


def _deep(folder: Path) -> None:
    before = Path.cwd()
    os.chdir(folder)
    try:
        for _ in range(1_200):
            os.mkdir("in")
            os.chdir("in")
        Path("end").write_text("end")
    finally:
        os.chdir(before)


def _long(folder: Path) -> None:
    inner = folder
    while len(str(inner)) < 3_700:
        inner /= "n" * 200
        inner.mkdir()
    (inner / ("f" * 200)).write_text("end")


def _sparse(folder: Path) -> None:
    with (folder / "data.bin").open("wb") as file:
        file.truncate(2**40)


def _crowd(folder: Path) -> None:
    for number in range(3_000):
        (folder / f"{number}.txt").touch()


def _modules(folder: Path) -> None:
    for name in ("torch.py", "mha_course.py", "sitecustomize.py", "nbgrader_config.py"):
        (folder / name).write_text("raise SystemExit('pwned')")


def _links_within(folder: Path) -> None:
    (folder / "data" / "more").mkdir(parents=True)
    (folder / "data" / "more" / "answers.txt").symlink_to("../../../../../secret.txt")
    (folder / "all").symlink_to("../../../solutions")
    os.mkfifo(folder / "data" / "pipe")


def _locked(folder: Path) -> None:
    (folder / "data").mkdir()
    (folder / "data" / "file.txt").write_text("x")
    (folder / "data" / "file.txt").chmod(0)
    (folder / "data").chmod(0)


BANK = [
    HandedIn("empty", "A file without a byte.", _is("")),
    HandedIn("spaces", "A file of spaces.", _is(" \n" * 1000)),
    HandedIn("binary", "Bytes that are no text.", _is(bytes(range(256)) * 100)),
    HandedIn("zeros", "Zero bytes.", _is(bytes(10_000))),
    HandedIn(
        "utf-16",
        "A notebook in another encoding.",
        _as(lambda good: good.decode().encode("utf-16")),
    ),
    HandedIn("zip", "An archive with the notebook in it.", _as(_zipped)),
    HandedIn("gzip", "A notebook that was compressed.", _as(gzip.compress)),
    HandedIn("web-page", "A page that the browser has saved.", _is("<!DOCTYPE html><p>Heads")),
    HandedIn("half", "A notebook that was cut off.", _as(lambda good: good[: len(good) // 2])),
    HandedIn("list", "JSON that is no notebook.", _is("[1, 2, 3]")),
    HandedIn(
        "digits", "A number that takes minutes to read.", _is('{"nbformat": ' + "9" * 10**6 + "}")
    ),
    HandedIn("deep-json", "Lists within lists, deeper than a parser can go.", _is('{"a":' * 10**5)),
    HandedIn(
        "much-json",
        "A million of little things.",
        _is('{"nbformat": 4, "a": [' + "0," * 10**6 + "0]}"),
    ),
    HandedIn(
        "twice", "A key that is there twice.", _is('{"nbformat": 4, "cells": [], "cells": []}')
    ),
    HandedIn(
        "huge", "More bytes than any notebook has.", _as(lambda good: good + b" " * 25_000_000)
    ),
    HandedIn(
        "huge-source",
        "A cell of megabytes.",
        _cells(lambda cells: cells[1].update(source="\\" * 9_000_000)),
    ),
    HandedIn("no-cells", "A notebook with nothing in it.", _with(cells=[])),
    HandedIn("cells-by-name", "Cells that are no list.", _with(cells={"a": 1})),
    HandedIn("cells-of-text", "Cells that are no cells.", _with(cells=["print(1)"])),
    HandedIn("many-cells", "More cells than are read.", _cells(lambda cells: cells * 100)),
    HandedIn(
        "source-of-numbers",
        "Cells whose text is none.",
        _cells(lambda cells: cells[1].update(source=[1])),
    ),
    HandedIn(
        "type-unknown",
        "Cells of a type that nobody knows.",
        _cells(lambda cells: cells[1].update(cell_type="evil")),
    ),
    HandedIn(
        "half-a-character",
        "Half of a character, which no file can hold.",
        _cells(lambda cells: cells[1].update(source="\ud800")),
    ),
    HandedIn("nbformat-2", "A version of long ago.", _with(nbformat=2)),
    HandedIn("nbformat-99", "A version that is to come.", _with(nbformat=99)),
    HandedIn("nbformat-text", "A version that is no number.", _with(nbformat="4")),
    HandedIn(
        "nbformat-minor",
        "A minor version that is to come.",
        _with(nbformat_minor=99),
        (),
        tuple(HONEST),
    ),
    HandedIn(
        "wrong-kernel",
        "A notebook for another language.",
        _with(metadata={"kernelspec": {"name": "ir", "display_name": "R", "language": "R"}}),
        ("other-language",),
        tuple(HONEST),
    ),
    HandedIn(
        "ids-twice",
        "Every cell twice, with its ids and names.",
        _cells(lambda cells: [cell for cell in cells for _ in range(2)]),
        ("test-duplicated", "solution-duplicated"),
        tuple(HONEST),
    ),
    HandedIn(
        "not-a-number",
        "Metadata with what JSON does not have.",
        _with(metadata={"a": float("nan"), "b": float("inf"), "c": "\ud800"}),
        (),
        tuple(HONEST),
    ),
    HandedIn("missing", "A folder without a notebook.", lambda *_: None),
    HandedIn(
        "folder", "A folder of the notebook's name.", lambda folder, _: (folder / FILE).mkdir()
    ),
    HandedIn(
        "pipe",
        "A pipe, from which one could read for ever.",
        lambda folder, _: os.mkfifo(folder / FILE),
    ),
    HandedIn("socket", "A socket of the notebook's name.", _socket),
    HandedIn("link-to-nowhere", "A link to what is not there.", _link("nowhere")),
    HandedIn(
        "link-to-solution", "A link to the solution.", _link("../../../solutions/heads/heads.ipynb")
    ),
    HandedIn("link-to-passwords", "A link to a file of the machine.", _link("/etc/passwd")),
    HandedIn("link-to-secret", "A link to a secret of the course.", _link("../../../secret.txt")),
    HandedIn(
        "link-to-neighbour",
        "A link to another student's work.",
        _link("../../honest/heads/heads.ipynb"),
    ),
    HandedIn("link-to-zero", "A link to a device without an end.", _link("/dev/zero")),
    HandedIn(
        "link-of-another-name",
        "A link to the solution under another name.",
        _link("../../../solutions/heads/heads.ipynb", "mine.ipynb"),
    ),
    HandedIn("link-with-a-broken-name", "A link whose name is no text.", _badly_named_link),
    HandedIn(
        "folder-that-is-a-link",
        "A folder that is another student's.",
        lambda folder, _: _in_place_of(folder, lambda one: one.symlink_to("../honest/heads")),
    ),
    HandedIn(
        "folder-that-is-the-solution",
        "A folder that is the instructor's.",
        lambda folder, _: _in_place_of(folder, lambda one: one.symlink_to("../../solutions/heads")),
    ),
    HandedIn(
        "wrong-name",
        "The right notebook under another name.",
        lambda folder, good: (folder / "Heads (1).ipynb").write_bytes(good),
        ("other-name",),
        tuple(HONEST),
    ),
    HandedIn(
        "two-wrong-names",
        "Two notebooks under other names.",
        lambda folder, good: [(folder / f"{i}.ipynb").write_bytes(good) for i in range(2)],
    ),
    *(
        HandedIn(f"timestamp-{name}", says, _timestamp(content), (), tuple(HONEST))
        for name, says, content in (
            ("empty", "No time at all.", ""),
            ("garbage", "A time that is none.", "yesterday; drop table grade;"),
            ("binary", "Bytes that are no time.", bytes(range(256))),
            ("first", "The first day of all.", "0001-01-01 00:00:00 UTC"),
            ("last", "A day that no calendar has.", "99999-12-31 23:59:59 UTC"),
            ("device", "A time zone that is a file of the machine.", "2026-01-01 10:00 /proc/kmsg"),
            ("huge", "A time of megabytes.", "a1 " * 10**7),
        )
    ),
    HandedIn(
        "timestamp-link",
        "A time that is a secret.",
        _beside(lambda folder: (folder / "timestamp.txt").symlink_to("../../../secret.txt")),
        ("odd-file",),
        tuple(HONEST),
    ),
    HandedIn(
        "timestamp-pipe",
        "A time that never comes.",
        _beside(lambda folder: os.mkfifo(folder / "timestamp.txt")),
        ("odd-file",),
        tuple(HONEST),
    ),
    HandedIn(
        "timestamp-folder",
        "A time that is a folder.",
        _beside(lambda folder: (folder / "timestamp.txt").mkdir()),
        (),
        tuple(HONEST),
    ),
    HandedIn(
        "modules",
        "Modules that are named like torch and the course.",
        _beside(_modules),
        (),
        tuple(HONEST),
    ),
    HandedIn(
        "links-within",
        "Links and pipes in folders within.",
        _beside(_links_within),
        ("odd-file",),
        tuple(HONEST),
    ),
    HandedIn(
        "folder-like-a-file-of-the-instructors",
        "A folder in the place of the assignment's own file.",
        _beside(lambda folder: _write(folder / "data.json" / "x.txt", "x")),
        (),
        tuple(HONEST),
    ),
    HandedIn(
        "odd-names", "Files whose names are no words.", _beside(_oddly_named), (), tuple(HONEST)
    ),
    HandedIn(
        "deep",
        "Folders within folders, deeper than a program can go.",
        _beside(_deep),
        ("odd-file",),
        tuple(HONEST),
    ),
    HandedIn(
        "long",
        "Names that together are longer than a path can be.",
        _beside(_long),
        ("odd-file",),
        tuple(HONEST),
    ),
    HandedIn(
        "sparse",
        "A file of a terabyte that takes no place.",
        _beside(_sparse),
        ("odd-file",),
        tuple(HONEST),
    ),
    HandedIn("crowd", "Thousands of files.", _beside(_crowd), ("odd-file",), tuple(HONEST)),
    HandedIn("locked", "A folder that nobody may open.", _beside(_locked), (), tuple(HONEST)),
]
