"""The machine of the grader, as far as the tests look at it: what is secret there, what listens."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

from course import HEADS, REPOSITORY
from nbformat import NotebookNode

from hostile.submissions import Places

SECRET = "canary-9174"  # all that must not get out begins with it


class World:
    """A folder with secrets, and services that listen."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._at_end = contextlib.ExitStack()
        self._listening = [
            self._listen(socket.AF_INET, ("127.0.0.1", 0)),
            self._listen(socket.AF_UNIX, str(folder / "socket")),
            self._listen(socket.AF_UNIX, f"\0{folder.name}-{os.getpid()}"),
            self._listen(socket.AF_INET, ("127.0.0.1", 0), socket.SOCK_DGRAM),
        ]
        self.places = Places(
            outside=self._file("outside/secret.txt"),
            neighbour=self._file("submitted/neighbour/heads/heads.ipynb"),
            gradebook=self._file("gradebook.db"),
            solution=self._file("solutions/heads/heads.ipynb"),
            repository=str(REPOSITORY),
            port=self._listening[0].getsockname()[1],
            path=str(folder / "socket"),
            abstract=f"{folder.name}-{os.getpid()}",
            grader=os.getpid(),
        )
        self._before = self._files()

    def _listen(self, kind: int, address: object, how: int = socket.SOCK_STREAM) -> socket.socket:
        made = self._at_end.enter_context(socket.socket(kind, how))
        made.setblocking(False)
        made.bind(address)
        if how == socket.SOCK_STREAM:
            made.listen()
        return made

    def _file(self, name: str) -> str:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{SECRET}-{name}")
        return str(path)

    def _files(self) -> dict[str, tuple[int, float, bytes]]:
        return {
            str(path): (path.stat().st_mode, path.stat().st_mtime, path.read_bytes())
            for path in self.folder.rglob("*")
            if path.is_file()
        }

    def harm(self) -> list[str]:
        """Return what was done to the machine."""
        found = [] if self._files() == self._before else ["files were changed"]
        for one in self._listening:
            with contextlib.suppress(BlockingIOError):
                if one.type == socket.SOCK_STREAM:
                    one.accept()[0].close()
                else:
                    one.recv(100)
                found.append(f"somebody spoke to {one}")
        return found

    def close(self) -> None:
        self._at_end.close()


def with_marked_tests(source: NotebookNode) -> NotebookNode:
    """Return the instructor's notebook with a secret in all hidden tests."""
    mark = "    ### BEGIN HIDDEN TESTS\n"
    for cell in source.cells:
        cell.source = cell.source.replace(mark, f"{mark}    hidden = '{SECRET}-hidden'\n")
    return source


def points_of(solved: tuple[str, ...]) -> dict[str, float]:
    """Return the points of each test if these tasks are solved, and no others."""
    cells = HEADS.cells()
    return {
        test: cells[test].metadata.nbgrader.points if task.name in solved else 0
        for task in HEADS.autograded
        for test in task.tests
    }
