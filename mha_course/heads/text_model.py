"""A trained model with its tokeniser: text in, heads out."""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from mha_course.heads.gates import Gates, LayerHeads, ModelHeads, Watch
from mha_course.heads.streamed_loss import plain_head

_PROBE = torch.arange(1, 6)[None]  # ids that every vocabulary has


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


class TextModel:
    """A transformers model and its tokeniser, in evaluation mode.

    Args:
        name: How messages and reports call it.
        tokenizer: The model's own tokeniser.
        model: Any encoder or decoder that `ModelHeads` can look into.

    Attributes:
        heads: The model's heads.
        is_causal: Whether a token may attend to earlier ones only.
    """

    def __init__(self, name: str, tokenizer: Any, model: Any) -> None:
        self.name = name
        self.tokenizer = tokenizer
        self.model = model.eval()
        self.heads = ModelHeads(model)
        self.is_causal = self._sees_no_future()

    @property
    def embeds_passages(self) -> bool:
        """Whether the model has no scores for tokens: then it is used to embed passages."""
        return self.model.get_output_embeddings() is None

    @cached_property
    def plain_head(self) -> nn.Linear | None:
        """The layer that makes the scores of tokens; see `plain_head` in `streamed_loss`."""
        return plain_head(self.model, _PROBE)

    @property
    def max_tokens(self) -> int:
        """Longest text that the model takes, in tokens."""
        # RoBERTa has two positions more than it has room for tokens; its tokeniser knows
        limits = (self.model.config.max_position_embeddings, self.tokenizer.model_max_length)
        return int(min(limits))

    def encode(self, text: str) -> Int[Tensor, "1 T"]:
        """Turn one text into token ids, with the special tokens of the model.

        Raises:
            ValueError: the text is empty, or longer than the model takes.
        """
        if not text.strip():
            raise ValueError("text is empty; give at least one word")
        ids: Tensor = self.tokenizer(text, return_tensors="pt", verbose=False)["input_ids"]
        if ids.shape[-1] > self.max_tokens:
            raise ValueError(
                f"text has {ids.shape[-1]} tokens, and {self.name} takes {self.max_tokens}; "
                "shorten it, or cut it with chunks()"
            )
        return ids

    def chunks(self, text: str, size: int) -> Int[Tensor, "N T"]:
        """Cut a long text into chunks of `size` tokens; what is left at its end is dropped.

        Each chunk has the special tokens that the model expects around a text.

        Raises:
            ValueError: the text is too short for one chunk, or `size` does not fit the model.
        """
        before, after = self.specials()
        body = size - len(before) - len(after)
        if body < 2 or size > self.max_tokens:
            raise ValueError(
                f"size={size} must leave room for 2 tokens beside "
                f"{len(before) + len(after)} special ones, and be at most {self.max_tokens}"
            )
        ids = self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        count = len(ids) // body
        if count == 0:
            raise ValueError(
                f"text has {len(ids)} tokens; one chunk of size={size} needs {body}; "
                "give more text, or a smaller size"
            )
        return torch.tensor([before + ids[i * body : (i + 1) * body] + after for i in range(count)])

    def tokens(self, ids: Int[Tensor, " T"]) -> list[str]:
        """Spell out token ids, as the tokeniser does."""
        spelled: list[str] = self.tokenizer.convert_ids_to_tokens(ids.tolist())
        return spelled

    def run(
        self,
        ids: Int[Tensor, "B T"],
        *,
        gates: Gates | None = None,
        fill: Float[Tensor, "layers h d_head"] | None = None,
        watch: Watch | None = None,
        weights: bool = False,
    ) -> Any:
        """Call the model; the arguments after `ids` are those of `ModelHeads.at_work`."""
        with self.heads.at_work(gates=gates, fill=fill, watch=watch, weights=weights):
            return self.model(input_ids=ids.to(self.model.device))

    def look(self, ids: Int[Tensor, "B T"], watch: Watch) -> None:
        """Show `watch` the attention of every layer, weights included; what lies above is not run.

        The scores of all words, which no head sees, are the largest part of a small model's work.
        """
        with self.heads.at_work(watch=watch, weights=True), torch.no_grad():
            self.model.base_model(input_ids=ids.to(self.model.device))

    def attention_maps(self, text: str) -> AttentionMaps:
        """Attention weights of all heads in all layers for one text.

        Raises:
            ValueError: the text is empty, or longer than the model takes.
        """
        ids = self.encode(text)
        maps: list[Tensor] = []

        def keep(_: int, layer: LayerHeads) -> None:
            assert layer.weights is not None  # asked for
            maps.append(layer.weights[0].cpu())

        self.look(ids, keep)
        return AttentionMaps(self.tokens(ids[0]), torch.stack(maps))

    def specials(self) -> tuple[list[int], list[int]]:
        """Ids that the tokeniser puts before and after a text, such as [CLS] and [SEP]."""
        bare = self.tokenizer("a", add_special_tokens=False)["input_ids"]
        full = self.tokenizer("a")["input_ids"]
        start = full.index(bare[0])
        return full[:start], full[start + len(bare) :]

    def _sees_no_future(self) -> bool:
        future = []

        def look(_: int, layer: LayerHeads) -> None:
            assert layer.weights is not None  # asked for
            future.append(layer.weights.triu(1).any().item())

        self.look(_PROBE, look)
        return not any(future)
