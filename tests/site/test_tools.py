"""Tools that are missing, and how workers share the tests."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from conftest import APART, piece_of_work, require

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


def test_workers_share_pages_one_by_one_and_other_files_whole() -> None:
    pages, links = "tests/site/test_pages.py", "tests/site/test_links.py"
    first = piece_of_work(f"{pages}::test_maths_is_set[start-dark-phone]")
    assert piece_of_work(f"{pages}::test_no_cell_failed[start-dark-phone]") == first
    assert piece_of_work(f"{pages}::test_maths_is_set[start-dark-laptop]") != first
    assert {piece_of_work(f"{links}::{test}") for test in ("test_a", "test_b[x]")} == {links}


@pytest.mark.parametrize("name", APART)
def test_what_is_shared_out_is_there(name: str) -> None:
    assert (Path(__file__).parents[1] / name).is_file()
