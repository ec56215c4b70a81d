"""`mha-course bundle` gives learners all that they need, and nothing that they must not see."""

from __future__ import annotations

import importlib
import json
import re
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from mha_course.bundle import EXTRA, TOP, write_bundle
from mha_course.cli import main

ROOT = Path(__file__).parents[2]
NAMES = sorted(path.name for path in (ROOT / "solutions").iterdir() if path.is_dir())


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    file = tmp_path_factory.mktemp("bundle") / "bundle.zip"
    write_bundle(ROOT, file, "https://book.example")
    return zipfile.ZipFile(file)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A small course."""
    for name in ("pyproject.toml", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "exercises" / "heads", tmp_path / "exercises" / "heads")
    (tmp_path / "mha_course").mkdir()
    (tmp_path / "mha_course" / "__init__.py").touch()
    return tmp_path


def text(bundle: zipfile.ZipFile, path: str) -> str:
    return bundle.read(f"{TOP}/{path}").decode()


def test_exercises_are_as_released(bundle: zipfile.ZipFile) -> None:
    packed = {path for path in bundle.namelist() if path.startswith(f"{TOP}/exercises/")}
    assert {f"{TOP}/exercises/{name}/{name}.ipynb" for name in NAMES} <= packed
    assert f"{TOP}/exercises/patterns/minilm-maps.safetensors" in packed
    for path in packed:
        assert bundle.read(path) == (ROOT / path.removeprefix(f"{TOP}/")).read_bytes()


def test_nothing_is_given_away(bundle: zipfile.ZipFile) -> None:
    """No solution and no hidden test, line by line."""
    everything = "\n".join(
        text(bundle, path.removeprefix(f"{TOP}/"))
        for path in bundle.namelist()
        if path.endswith(".ipynb")
    )
    secret = 0
    for name in NAMES:
        solved = json.loads((ROOT / "solutions" / name / f"{name}.ipynb").read_text("utf-8"))
        for cell in solved["cells"]:
            source = "".join(cell["source"])
            hidden = re.findall(r"### BEGIN (?:SOLUTION|HIDDEN TESTS)\n(.*?)### END", source, re.S)
            for part in hidden:
                secret += 1
                as_json = json.dumps(part.strip())[1:-1]
                assert as_json not in everything
                assert json.dumps(part.strip("\n").split("\n")) not in everything
    assert secret > 100
    assert "BEGIN SOLUTION" not in everything
    assert "HIDDEN TESTS" not in everything
    packed = bundle.namelist()
    assert not [
        path for path in packed if re.search(r"solutions|tests/|secret|\.git|pycache", path)
    ]


def test_versions_are_those_that_the_course_is_tested_with(bundle: zipfile.ZipFile) -> None:
    tested = (ROOT / ".ci" / "constraints.txt").read_text("utf-8").splitlines()
    plain = {line.lower().replace("_", "-").replace(".", "-") for line in tested}
    pins = text(bundle, "constraints.txt").splitlines()[1:]
    assert {line.partition("==")[0] for line in pins} >= {
        "torch",
        "nbgrader",
        "jupyterlab",
        "scipy",
    }
    for line in pins:
        assert line.lower().replace("_", "-").replace(".", "-") in plain, line


ONLY_THESE = """
import sys
from importlib.metadata import packages_distributions
from mha_course.bundle.pins import pins
allowed = {pin.partition("==")[0] for pin in pins(sys.argv[1])}
allowed |= {"mha-course", "pip", "setuptools"}
plain = lambda name: name.lower().replace("_", "-").replace(".", "-")
others = {
    module for module, packages in packages_distributions().items()
    if not any(plain(package) in allowed for package in packages)
}
sys.modules |= dict.fromkeys(others)  # as if they were not installed

from mha_course.grading.assignment import read_assignment
from mha_course.grading.sitting import sit
import mha_course.grading.check, mha_course.grading.progress
for file in sys.argv[2:]:
    assignment = read_assignment(file)
    for test, outcome in sit(assignment, {}).items():
        assert outcome.passed, (file, test, outcome.says)
print(len(others))
"""


def test_every_task_can_be_solved_with_the_packages_of_the_bundle() -> None:
    files = [str(ROOT / "solutions" / name / f"{name}.ipynb") for name in NAMES]
    done = subprocess.run(
        [sys.executable, "-c", ONLY_THESE, EXTRA, *files],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stdout) > 20, "so many of the course's other packages are out of reach"


def test_links_lead_to_the_book(bundle: zipfile.ZipFile) -> None:
    assert "MHA_BOOK_URL ?= https://book.example\n" in text(bundle, "Makefile")
    assert "$$" not in text(bundle, "Makefile")
    assert f"pip install -c constraints.txt -e .[{EXTRA}]" in text(bundle, "README.md")


def test_the_same_files_make_the_same_bundle(repository: Path, tmp_path: Path) -> None:
    for name in ("one.zip", "other.zip"):
        write_bundle(repository, tmp_path / name)
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "other.zip").read_bytes()


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("raise NotImplementedError", "return d_model // num_heads  #", "holds an answer"),
        ("# Attention heads", "### BEGIN HIDDEN TESTS", "which learners must not see"),
    ],
)
def test_a_folder_in_which_somebody_worked_is_refused(
    old: str,
    new: str,
    says: str,
    repository: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = repository / "exercises" / "heads" / "heads.ipynb"
    notebook = json.loads(file.read_text("utf-8"))
    for cell in notebook["cells"]:
        if cell["metadata"].get("nbgrader", {}).get("solution") or "BEGIN" in new:
            cell["source"] = [new]
            break
    assert old
    file.write_text(json.dumps(notebook), "utf-8")
    monkeypatch.chdir(repository)
    assert main(["bundle", "--student"]) == 2
    said = capsys.readouterr().err
    assert says in said
    assert "make exercises" in said
    assert not (repository / "_build").exists()


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"nbformat": 3}', '{"cells": [{"source": "x"}]}', "ÿ"]
)
def test_what_is_no_notebook_is_named(repository: Path, tmp_path: Path, text: str) -> None:
    file = repository / "exercises" / "heads" / "heads.ipynb"
    file.write_text(text, encoding="latin-1")
    with pytest.raises(ValueError, match=r"heads\.ipynb is no notebook; run `make exercises`"):
        write_bundle(repository, tmp_path / "bundle.zip")
    assert not (tmp_path / "bundle.zip").exists()


def test_a_file_of_others_stays(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(repository)
    (repository / "mine.zip").write_text("mine")
    assert main(["bundle", "--student", "--output", "mine.zip"]) == 2
    assert "exists" in capsys.readouterr().err
    assert (repository / "mine.zip").read_text() == "mine"
    assert main(["bundle", "--student", "--output", "mine.zip", "--force"]) == 0
    assert zipfile.is_zipfile(repository / "mine.zip")


def test_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["bundle", "--student"]) == 2
    assert "is not the course's repository" in capsys.readouterr().err


def test_a_package_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    pins = importlib.import_module("mha_course.bundle.pins")
    real = pins.distribution

    def distribution(name: str) -> object:
        if name == "nbgrader":
            raise PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(pins, "distribution", distribution)
    with pytest.raises(ValueError, match="nbgrader is not installed"):
        list(pins.pins(EXTRA))
