"""A missing tool skips a test on a laptop, and fails it in CI."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from conftest import require

ABSENT = "a-program-that-nobody-has"


def test_a_tool_that_is_there_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    python = Path(sys.executable)
    monkeypatch.setenv("PATH", str(python.parent))
    assert Path(require(ABSENT, python.name, hint="")) == python


def test_a_missing_tool_skips_on_a_laptop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match=f"needs {ABSENT}, .*apt install it"):
        require(ABSENT, hint="apt install it")


def test_a_missing_tool_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match=f"needs {ABSENT}, .*apt install it"):
        require(ABSENT, hint="apt install it")
