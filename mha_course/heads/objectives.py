"""What a model was trained for, as a loss per text.

- A decoder predicts the next token: nats per token.
- A masked-language model fills in masked tokens: nats per masked token.
- An encoder without a head for tokens embeds passages: given the first half of a passage, it finds
  the second half among those of all passages in the batch: nats per passage.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from mha_course.heads.streamed_loss import before_head, token_losses
from mha_course.heads.text_model import TextModel

_EVERY = 7  # of the tokens, one in 7 is masked: near the 15 % of BERT's training
_SHARPNESS = 20.0  # cosines lie in −1 … 1; sentence embedders are trained with this factor

Answer = Callable[[], Any]
"""Runs the model on the inputs, K times over, and returns what it returns."""


class Objective(NamedTuple):
    """How texts become the model's input, and its answer a loss.

    Attributes:
        unit: Of the loss.
        chance: Loss of a model that knows nothing: all answers equally likely.
        inputs: What the model is given.
        losses: Loss of each text, from the model's answer and the number of times K that the
            inputs stand in it.
    """

    unit: str
    chance: float
    inputs: Int[Tensor, "B T"]
    losses: Callable[[Answer, int], Float[Tensor, " K_texts"]]


def objective(model: TextModel, ids: Int[Tensor, "texts T"]) -> Objective:
    """Choose the objective that fits the model.

    Raises:
        ValueError: a masked-language model whose tokeniser has no mask token, or a single passage
            for a model that has to tell passages apart.
    """
    ids = ids.to(model.model.device)
    if model.embeds_passages:
        return _find_other_half(model, ids)
    if model.is_causal:
        return _predict(model, "nats per token", ids, slice(0, -1), ids[:, 1:])
    return _fill_in(model, ids)


def _fill_in(model: TextModel, ids: Tensor) -> Objective:
    mask = model.tokenizer.mask_token_id
    if mask is None:
        raise ValueError(f"the tokeniser of {model.name} has no mask token; nothing can be masked")
    specials = torch.tensor([*chain(*model.specials())], device=ids.device)
    [ordinary] = torch.where(~torch.isin(ids[0], specials))
    hidden = ordinary[_EVERY // 2 :: _EVERY]
    inputs = ids.clone()
    inputs[:, hidden] = mask
    return _predict(model, "nats per masked token", inputs, hidden, ids[:, hidden])


def _predict(
    model: TextModel,
    unit: str,
    inputs: Tensor,
    positions: slice | Tensor,
    labels: Tensor,
) -> Objective:
    head = model.plain_head

    def losses(answer: Answer, times: int) -> Tensor:
        wanted = labels.repeat(times, 1)
        if head is not None:
            each = token_losses(before_head(head, answer)[:, positions], head, wanted)
        else:
            scores = answer().logits[:, positions]
            each = functional.cross_entropy(
                scores.flatten(0, 1), wanted.flatten(), reduction="none"
            )
            each = each.view_as(wanted)
        return each.mean(-1)

    vocabulary = model.model.get_output_embeddings().weight.shape[0]
    return Objective(unit, float(torch.tensor(vocabulary).log()), inputs, losses)


def _find_other_half(model: TextModel, ids: Tensor) -> Objective:
    texts = len(ids)
    if texts < 2:
        raise ValueError(
            f"{model.name} embeds passages, and must tell them apart; give at least 2 in a batch"
        )
    num_before, num_after = map(len, model.specials())
    before, body, after = ids.tensor_split([num_before, ids.shape[1] - num_after], dim=1)
    half = body.shape[1] // 2
    halves = [body[:, :half], body[:, half : 2 * half]]
    inputs = torch.cat([torch.cat([before, part, after], dim=1) for part in halves])

    def losses(answer: Answer, times: int) -> Tensor:
        embedded = functional.normalize(answer().last_hidden_state.mean(1), dim=-1)
        first, second = embedded.view(times, 2, texts, -1).unbind(1)
        scores = _SHARPNESS * first @ second.mT  # [K, texts, texts]
        right = torch.arange(texts, device=scores.device).repeat(times)
        return functional.cross_entropy(scores.flatten(0, 1), right, reduction="none")

    return Objective("nats per passage", float(torch.tensor(texts).log()), inputs, losses)
