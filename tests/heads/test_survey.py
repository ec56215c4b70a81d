"""The whole survey on small models, and what becomes of it: lines, page, command line."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
import transformers
from small_models import LAYERS, WORDS, H, small_model, some_text, tokenizer
from torch import Tensor

from mha_course import cli
from mha_course.heads import TextModel
from mha_course.heads.importance import leave_one_out
from mha_course.heads.layers import layer_profile
from mha_course.heads.pattern_table import PatternTable, pattern_table
from mha_course.heads.patterns import add_up, find_targets, pattern_scores
from mha_course.heads.report import Survey, html_page, layer_lines, worth_lines
from mha_course.heads.report_figures import sections
from mha_course.heads.similarity import attention_distance
from mha_course.heads.steps import Steps
from mha_course.heads.survey import Settings, alike, chosen_chunks, identity, worth
from mha_course.heads.tasks import TextBatch
from mha_course.plots.words import head_names

TEXT = some_text(600)
SETTINGS = Settings(size=20, chunks=8)


@pytest.fixture(scope="module", params=["llama", "bert"])
def model(request: pytest.FixtureRequest) -> TextModel:
    return small_model(request.param)


@pytest.fixture(scope="module")
def survey(model: TextModel) -> Survey:
    chunks = chosen_chunks(model, TEXT, SETTINGS)
    patterns = pattern_table(model, chunks)
    found = worth(model, TEXT, settings=SETTINGS)
    compared = alike(model, TEXT, settings=SETTINGS)
    return Survey(model.name, "<b>a text</b> & more", SETTINGS, patterns, found, compared)


# ---------------------------------------------------------------------------- patterns


def test_patterns_are_those_of_all_texts_together(model: TextModel) -> None:
    chunks = chosen_chunks(model, TEXT, SETTINGS)[:3]
    table = pattern_table(model, chunks)
    counts = chunks.flatten().bincount()
    for layer in range(LAYERS):
        scored, profiles = [], []
        for ids in chunks:
            weights = model.attention_maps(
                " ".join(model.tokens(ids)[slice(*_body(model))])
            ).weights
            text = find_targets(
                ids, is_causal=model.is_causal, delimiters=_after(model), counts=counts[ids]
            )
            scored.append(pattern_scores(weights[layer], text))
            profiles.append(layer_profile(weights[layer], is_causal=model.is_causal))
        expected = add_up(scored)
        for name, tally in expected.items():
            if name == "induction":
                continue
            found = table.scores[layer][name]
            assert found.queries == tally.queries
            torch.testing.assert_close(found.score, tally.score, equal_nan=True)
        total = profiles[0] + profiles[1] + profiles[2]
        torch.testing.assert_close(table.profiles[layer].distance.score, total.distance.score)


def _body(model: TextModel) -> tuple[int | None, int | None]:
    before, after = model.specials()
    return len(before) or None, -len(after) or None


def _after(model: TextModel) -> set[int]:
    return set(model.specials()[1])


def test_patterns_need_a_text(model: TextModel) -> None:
    with pytest.raises(ValueError, match="there are no texts"):
        pattern_table(model, [])


# ------------------------------------------------------------------------------- survey


def test_one_half_finds_and_the_other_confirms(model: TextModel, survey: Survey) -> None:
    chunks = chosen_chunks(model, TEXT, SETTINGS)
    found = survey.worth
    assert found.changes.shape == found.held_out.shape == (LAYERS, H, 4)
    together = 4 if model.name == "bert" else 1
    for half, changes in ((chunks[0::2], found.changes), (chunks[1::2], found.held_out)):
        batches = [TextBatch(model, ids) for ids in half.split(together)]
        torch.testing.assert_close(changes, leave_one_out(batches))
        with torch.no_grad():
            intact = torch.cat([batch.losses() for batch in batches])
    torch.testing.assert_close(found.intact, intact)  # of the half that confirms
    assert list(found.rankings) == ["leave one out", "gradient", "size of weights", "random"]
    for losses in found.curves.values():
        torch.testing.assert_close(losses[0], intact)


def test_finished_steps_are_not_done_again(model: TextModel, tmp_path: Path) -> None:
    first: list[tuple[str, int, int]] = []

    class StopError(Exception):
        pass

    def stop(*step: object) -> None:
        first.append(step)  # type: ignore[arg-type]
        if len(first) == 4:  # about to begin the fourth
            raise StopError

    steps = Steps(tmp_path, identity(model, TEXT, SETTINGS))
    with pytest.raises(StopError):
        worth(model, TEXT, settings=SETTINGS, steps=steps, progress=stop)
    kept = sorted(path.name for path in steps.folder.glob("*.pt"))
    assert len(kept) == 3

    marked = torch.full((LAYERS, H, 4 if model.name == "bert" else 1), 7.0)
    torch.save(marked, steps.folder / "leave one out 0.pt")  # shows whether it is read
    again = worth(model, TEXT, settings=SETTINGS, steps=steps)
    torch.testing.assert_close(again.changes[..., : marked.shape[-1]], marked)

    others = Steps(tmp_path, identity(model, TEXT + " w1", SETTINGS))
    assert others.folder != steps.folder  # another text starts anew
    steps.forget()
    assert not steps.folder.exists()
    assert tmp_path.exists()


def test_settings_that_do_not_fit_the_text_are_refused(model: TextModel) -> None:
    with pytest.raises(ValueError, match=r"chunks=3 must be at least 4, and at most \d+"):
        worth(model, TEXT, settings=Settings(size=20, chunks=3))
    with pytest.raises(ValueError, match="chunks=99 must be at least 4"):
        alike(model, TEXT, settings=Settings(size=20, chunks=99))


def test_likeness_is_of_all_heads(survey: Survey) -> None:
    n = LAYERS * H
    assert survey.alike.distance.shape == (n, n)
    assert 1 < survey.alike.patterns[0] <= n
    assert 1 < survey.alike.outputs < survey.alike.outputs_by_chance <= n


def test_likeness_in_the_first_texts_alone(model: TextModel) -> None:
    first, second = chosen_chunks(model, TEXT, SETTINGS)[:2]
    for texts, expected in ((1, [first]), (2, [first, second])):
        maps: list[Tensor] = []
        for ids in expected:
            layers: list[Tensor] = []
            model.look(ids[None], lambda _, seen, to=layers: to.append(seen.weights[0]))
            maps.append(torch.cat(layers))
        found = alike(model, TEXT, settings=SETTINGS, texts=texts)
        distance = attention_distance(maps, is_causal=model.is_causal)
        torch.testing.assert_close(found.distance, distance)


# ------------------------------------------------------------------------ lines and page


def test_lines_name_the_heads_of_a_pattern(survey: Survey) -> None:
    table = survey.patterns
    names = PatternTable(
        table.scores,
        table.profiles,
        [["none", "self", "local", "self"], ["none"] * H, ["broad"] * H],
    )
    assert layer_lines(names)[1:] == [
        "    0  self 1 3, local 2",
        "    1  -",
        "    2  broad 0 1 2 3",
    ]


def test_lines_tell_the_loss_beside_chance(survey: Survey) -> None:
    lines = worth_lines(survey.worth, survey.patterns)
    mean = survey.worth.intact.mean()
    assert f"{mean:.3f} {survey.worth.unit}" in lines[0]
    assert f"knowing nothing: {survey.worth.chance:.3f}" in lines[0]
    top = int(survey.worth.changes.mean(-1).argmax())
    assert lines[3].split()[0] == head_names(LAYERS, H)[top]


class _Outline(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_page_is_self_contained_and_described(survey: Survey) -> None:
    page = html_page(survey, sections(survey))
    outline = _Outline()
    outline.feed(page)
    tags = [tag for tag, _ in outline.tags]
    assert "script" not in tags
    assert "link" not in tags
    addresses = [a.get("src") or a.get("href") or "" for _, a in outline.tags]
    assert all(x == "" or x.startswith(("#", "data:image/png;base64,")) for x in addresses)
    drawings = [a for tag, a in outline.tags if tag == "svg"]
    assert len(drawings) == tags.count("figure") >= 8
    assert all(len(a["aria-label"] or "") > 40 for a in drawings)
    assert "<b>a text" not in page
    assert "&lt;b&gt;a text&lt;/b&gt; &amp; more" in page
    assert "nan" not in re.sub(r"<svg.*?</svg>", "", page, flags=re.DOTALL).lower()


# -------------------------------------------------------------------------- command line


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model on disk, as anyone may have one, and a text."""
    path = tmp_path_factory.mktemp("models") / "tiny"
    small_model("llama").model.save_pretrained(path)
    tokenizer(specials=False).save_pretrained(path)
    (path.parent / "text.txt").write_text(TEXT, encoding="utf-8")
    return path


def arguments(folder: Path, report: Path, *more: str) -> list[str]:
    text = folder.parent / "text.txt"
    return [
        "heads", str(folder), "--text", str(text), "--report", str(report),
        "--chunks", "8", "--size", "20", *more,
    ]  # fmt: skip


def test_command_prints_the_table_and_writes_the_report(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "report.html"
    assert cli.main(arguments(folder, report)) == 0
    printed = capsys.readouterr().out
    assert "layer  heads with a clear pattern" in printed
    assert "removing one head raises it most" in printed
    assert f"written: {report}" in printed
    assert "<h1>Heads of tiny</h1>" in report.read_text(encoding="utf-8")
    assert list(tmp_path.iterdir()) == [report]  # the steps are cleared away

    before = report.read_bytes()
    assert cli.main(arguments(folder, report)) == 2
    assert "exists; give another --report FILE, or --force" in capsys.readouterr().err
    assert report.read_bytes() == before
    assert cli.main(arguments(folder, report, "--force", "--seed", "1")) == 0
    assert report.read_bytes() != before


def test_table_alone_writes_nothing(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments(folder, tmp_path / "r.html", "--table-only")) == 0
    assert "best fixed offset" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--chunks", "99"], "chunks=99 must be at least 4, and at most 30"),
        (["--size", "1"], "size=1 must leave room for 2 tokens"),
        (["--text", "no-such-file"], "no file no-such-file"),
    ],
)
def test_wrong_use_says_what_is_wrong(
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: list[str],
    message: str,
) -> None:
    assert cli.main(arguments(folder, tmp_path / "r.html", *change)) == 2
    assert message in capsys.readouterr().err


def test_text_that_is_no_text_is_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bytes").write_bytes(b"abc \xff\xfe")
    assert cli.main(["heads", str(folder), "--text", str(tmp_path / "bytes")]) == 2
    assert "is not UTF-8 text" in capsys.readouterr().err


def test_help_needs_no_model(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        cli.main(["heads", "--help"])
    assert exit_.value.code == 0
    assert "--table-only" in capsys.readouterr().out


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for another process")
def test_interrupted_command_keeps_what_was_done_and_goes_on(folder: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    # started in the background of a script, as by some CI, a process would ignore the signal
    listening = (
        "import signal, sys; from mha_course.cli import main; "
        "signal.signal(signal.SIGINT, signal.default_int_handler); sys.exit(main())"
    )
    command = [sys.executable, "-c", listening, *arguments(folder, report)]
    # many short steps, so that the signal comes between the first and the last
    command += ["--chunks", "28"]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}  # see one_thread
    running = subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env
    )
    deadline = time.monotonic() + 120
    while not list(tmp_path.rglob("leave one out 2.pt")):
        assert time.monotonic() < deadline, "no step was finished in two minutes"
        assert running.poll() is None, running.stderr and running.stderr.read()
        time.sleep(0.005)
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=120)
    assert running.returncode == 130, errors
    assert "the same command goes on from there" in errors
    assert "Traceback" not in errors
    assert not report.exists()

    kept = {path.name: path.stat().st_mtime_ns for path in tmp_path.rglob("*.pt")}
    assert "leave one out 2.pt" in kept
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=300, check=False, env=env
    )
    assert done.returncode == 0, done.stderr
    assert report.exists()
    assert not list(tmp_path.rglob("*.pt"))


def test_loading_a_folder_names_the_model_after_it(folder: Path) -> None:
    from mha_course.heads import load

    model = load(folder)
    assert model.name == "tiny"
    assert model.is_causal
    assert len(model.tokenizer) == len(WORDS)
    assert isinstance(model.model, transformers.LlamaForCausalLM)
    empty = folder.parent / "empty"
    empty.mkdir(exist_ok=True)
    with pytest.raises(ValueError, match=r"has no config\.json, and 0 GGUF files"):
        load(empty)
