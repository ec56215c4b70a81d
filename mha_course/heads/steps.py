"""Long work in steps: what is done is kept in a folder, and a second call goes on from there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch

Kept = TypeVar("Kept")
"""What a step gives: numbers, strings, tensors, and lists, tuples and dicts of them."""

Progress = Callable[[int, int], None]
"""Called with the number of steps done and the number of all steps."""


class Steps:
    """Results of named steps, one file each.

    Args:
        folder: Where the files are; made if it does not exist.
        identity: What the results depend on: model, text, settings, versions. Results of another
            identity in the same folder are not touched.
    """

    def __init__(self, folder: Path, identity: dict[str, Any]) -> None:
        text = json.dumps(identity, sort_keys=True)
        self.folder = folder / hashlib.sha256(text.encode()).hexdigest()[:12]
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "identity.json").write_text(text + "\n", encoding="utf-8")

    def get(self, name: str, compute: Callable[[], Kept]) -> Kept:
        """Return the result of a step: from its file, or computed now and kept.

        A file appears whole or not at all: an interrupted step leaves none.
        """
        path = self.folder / f"{name}.pt"
        if path.exists():
            kept: Kept = torch.load(path, weights_only=True)
            return kept
        result = compute()
        half = path.with_suffix(".half")
        torch.save(result, half)
        half.replace(path)
        return result

    def forget(self) -> None:
        """Remove the results, and the folder around them if nothing else is in it."""
        for path in self.folder.iterdir():
            path.unlink()
        self.folder.rmdir()
        if not any(self.folder.parent.iterdir()):
            self.folder.parent.rmdir()
