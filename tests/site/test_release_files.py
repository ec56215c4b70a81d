"""`make release`: what it refuses, and what is in the files that it makes."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from mha_course import __version__
from mha_course.bundle import name as exercises_name
from mha_course.bundle import write_bundle
from mha_course.pdf.__main__ import NAME as PDF
from mha_course.release.__main__ import main
from mha_course.release.checks import entries, problems
from mha_course.release.files import DIGESTS, _package, make, unpack

ROOT = Path(__file__).parents[2]
CHANGES = "# Changes\n\n## 1.2.0 – 2031-04-05\n\nNew.\n\n## 1.1.9 – 2031-01-01\n\nOld.\n"
CITATION = "version: 1.2.0\ndate-released: 2031-04-05\n"


def git(folder: Path, *command: str) -> str:
    who = ("-c", "user.name=Test", "-c", "user.email=test@example.org")
    return subprocess.run(
        ["git", *who, *command], cwd=folder, check=True, capture_output=True, text=True
    ).stdout


@pytest.fixture
def ready(tmp_path: Path) -> Path:
    """A repository that can be released as 1.2.0."""
    (tmp_path / "CHANGELOG.md").write_text(CHANGES, encoding="utf-8")
    (tmp_path / "CITATION.cff").write_text(CITATION, encoding="utf-8")
    git(tmp_path, "init", "-q")
    commit(tmp_path)
    return tmp_path


def commit(repository: Path) -> None:
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "--allow-empty", "-m", "A change")


def test_what_is_ready_can_be_released(ready: Path) -> None:
    git(ready, "tag", "v1.1.9")
    git(ready, "tag", "v1.2.0")  # of this very commit: its files can be made again
    assert list(problems(ready, "1.2.0")) == []


@pytest.mark.parametrize(
    ("version", "says"),
    [
        ("1.2", "the version '1.2' is no MAJOR.MINOR.PATCH"),
        ("1.02.0", "the version '1.02.0' is no"),
        ("1.3.0", "CHANGELOG.md begins with 1.2.0; write a section `## 1.3.0 – YYYY-MM-DD`"),
    ],
)
def test_a_version_that_does_not_fit(ready: Path, version: str, says: str) -> None:
    assert next(problems(ready, version)).startswith(says)


@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        ("CHANGELOG.md", "# Changes\n", "CHANGELOG.md has no version; write"),
        ("CHANGELOG.md", "## 1.2.0\n\nNew.\n", "CHANGELOG.md has no date for 1.2.0"),
        ("CHANGELOG.md", "## 1.2.0 – 2031-04-05\n\n", "CHANGELOG.md has no text for 1.2.0"),
        ("CITATION.cff", CITATION.replace("1.2.0", "1.1.0"), "CITATION.cff cites version 1.1.0"),
        ("CITATION.cff", "version: 1.2.0\n", "CITATION.cff has no date-released; write it"),
        ("CITATION.cff", "date-released: 2031-04-05\n", "CITATION.cff has no version; write it"),
        ("CITATION.cff", CITATION.replace("05", "06"), "says 2031-04-05, CITATION.cff 2031-04-06"),
    ],
)
def test_texts_that_contradict_each_other(ready: Path, file: str, text: str, says: str) -> None:
    (ready / file).write_text(text, encoding="utf-8")
    commit(ready)
    (found,) = problems(ready, "1.2.0")
    assert says in found


@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        ("CITATION.cff", "version: [1", "CITATION.cff cannot be read: while parsing"),
        ("CITATION.cff", "1.2.0", "CITATION.cff cannot be read: it is no list of `name: value`"),
        ("CITATION.cff", CITATION.replace("-04-", "-13-"), "CITATION.cff cannot be read: month"),
        (
            "CHANGELOG.md",
            CHANGES.replace("01-01", "13-40"),
            "CHANGELOG.md, line 7: 2031-13-40 is no date (month must be in 1..12); write it as",
        ),
    ],
)
def test_texts_that_cannot_be_read(
    ready: Path,
    file: str,
    text: str,
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (ready / file).write_text(text, encoding="utf-8")
    monkeypatch.chdir(ready)
    assert main(["--check", "--to", "new"]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"no release: {says}")
    assert said.count("\n") == 1


def test_a_day_may_be_in_quotes(ready: Path) -> None:
    quoted = CITATION.replace("2031-04-05", '"2031-04-05"')
    (ready / "CITATION.cff").write_text(quoted, encoding="utf-8")
    commit(ready)
    assert list(problems(ready, "1.2.0")) == []


def test_what_git_says_is_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"git archive HEAD failed in {tmp_path}: fatal: "):
        list(_package(tmp_path, tmp_path))


def test_what_is_not_committed_is_named(ready: Path) -> None:
    for name in ("a.py", "b.py", "c.py", "d.py"):
        (ready / name).touch()
    (found,) = problems(ready, "1.2.0")
    assert found == "not committed: a.py, b.py, c.py and more; commit it or take it away"


def test_a_version_is_released_once(ready: Path) -> None:
    git(ready, "tag", "v1.2.0")
    commit(ready)
    assert list(problems(ready, "1.2.0")) == [
        "the tag v1.2.0 is on another commit; raise the version"
    ]


def test_versions_go_up_as_numbers(ready: Path) -> None:
    git(ready, "tag", "v1.10.0")
    assert list(problems(ready, "1.2.0")) == [
        "v1.10.0 is released, which is later than 1.2.0; raise the version"
    ]


def test_the_course_itself_says_the_same_everywhere() -> None:
    contradictions = [one for one in problems(ROOT, __version__) if "not committed" not in one]
    assert contradictions == []
    assert entries(ROOT)[0].version == __version__


def test_a_release_is_never_replaced(
    ready: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (ready / "there").mkdir()
    (ready / "there" / "kept").touch()
    monkeypatch.chdir(ready)
    assert main(["--to", "there"]) == 1
    assert "no release: there exists; move it away" in capsys.readouterr().err
    with pytest.raises(FileExistsError, match="move it away"):
        make(ready, ready / "there", "1.2.0", print)
    assert (ready / "there" / "kept").exists()


def test_without_a_book_nothing_is_left(ready: Path) -> None:
    with pytest.raises(ValueError, match=r"there is no .*index.html; run `make release`"):
        make(ready, ready / "dist" / "1.2.0", "1.2.0", print)
    assert not (ready / "dist").exists()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The files of a release of this repository, with a site of one page."""
    copy = tmp_path_factory.mktemp("repository") / "course"
    listed = git(ROOT, "ls-files", "--cached", "--others", "--exclude-standard", "-z")
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy / name)
    git(copy, "init", "-q")
    commit(copy)
    site = copy / "_build" / "html"
    (site / "chapters").mkdir(parents=True)
    (site / "index.html").write_text("<p>The book</p>", encoding="utf-8")
    (site / ".buildinfo").touch()
    write_bundle(copy, site / exercises_name())
    (copy / "_build" / "pdf").mkdir()
    (copy / "_build" / "pdf" / PDF).write_bytes(b"%PDF-")
    folder = copy / "dist" / __version__
    make(copy, folder, __version__, print)
    yield folder
    shutil.rmtree(copy)


def test_every_file_is_there_with_its_digest(made: Path) -> None:
    listed = dict(
        reversed(line.split("  ")) for line in (made / DIGESTS).read_text("utf-8").splitlines()
    )
    assert {name.replace(__version__, "V") for name in listed} == {
        "mha_course-V-py3-none-any.whl",
        "mha_course-V.tar.gz",
        "multi-head-attention-course-V.pdf",
        "multi-head-attention-course-V.zip",
        "multi-head-attention-exercises-V.zip",
    }
    assert {*listed, DIGESTS} == {file.name for file in made.iterdir()}
    for name, digest in listed.items():
        assert hashlib.sha256((made / name).read_bytes()).hexdigest() == digest


def test_the_site_is_in_one_folder(made: Path) -> None:
    with zipfile.ZipFile(made / f"multi-head-attention-course-{__version__}.zip") as site:
        top = f"multi-head-attention-course-{__version__}"
        names = {f"{top}/index.html", f"{top}/{exercises_name()}"}
        assert set(site.namelist()) == names


def test_the_wheel_holds_the_whole_package(made: Path) -> None:
    files = git(ROOT, "ls-files", "--cached", "--others", "--exclude-standard", "mha_course")
    with zipfile.ZipFile(next(made.glob("*.whl"))) as wheel:
        packed = {name for name in wheel.namelist() if name.startswith("mha_course/")}
    assert packed == {name for name in files.splitlines() if (ROOT / name).is_file()}


def test_the_package_can_be_made_from_its_source(made: Path, tmp_path: Path) -> None:
    with tarfile.open(next(made.glob("*.tar.gz"))) as source:
        unpack(source, tmp_path)
    folder = tmp_path / f"mha_course-{__version__}"
    assert (folder / "LICENSE").exists()
    built = [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", tmp_path]
    subprocess.run([*built, folder], check=True, capture_output=True)
    (again,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(again) as one, zipfile.ZipFile(next(made.glob("*.whl"))) as other:
        assert set(one.namelist()) == set(other.namelist())


def test_the_wheel_works_on_its_own(made: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(next(made.glob("*.whl"))) as wheel:
        wheel.extractall(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", "import mha_course as m; print(m.__file__, m.head_dim(1024, 16))"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    file, d_head = done.stdout.split()
    assert Path(file).is_relative_to(tmp_path)
    assert d_head == "64"
