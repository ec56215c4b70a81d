"""Loss of predicted tokens, without a score for every token of the vocabulary at once.

    loss_t = log Σ_v exp(x_t · w_v + b_v) − (x_t · w_y + b_y),    y the right token

The vocabulary goes by in slices: of its scores, only one slice is ever in memory. For a small
model with a big vocabulary that saves a good part of the time, too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

_SLICE = 1024  # words of the vocabulary; the scores of a slice stay in the cache
_CLOSE = 1e-4


def token_losses(
    hidden: Float[Tensor, "*batch d_model"], head: nn.Linear, labels: Int[Tensor, "*batch"]
) -> Float[Tensor, "*batch"]:
    """Cross-entropy of `labels`, in nats, with the scores that `head` makes of `hidden`."""
    weight, bias = head.weight, head.bias
    starts = range(0, len(weight), _SLICE)
    log_sums = [
        functional.linear(
            hidden, weight[i : i + _SLICE], None if bias is None else bias[i : i + _SLICE]
        ).logsumexp(-1)
        for i in starts
    ]
    right = (hidden * weight[labels]).sum(-1)
    if bias is not None:
        right = right + bias[labels]
    return torch.stack(log_sums).logsumexp(0) - right


def plain_head(model: Any, ids: Int[Tensor, "B T"]) -> nn.Linear | None:
    """Return the layer that makes the scores, if what it puts out **is** the scores.

    Some models rescale or cap their scores afterwards; this is found out by comparing.
    """
    head = model.get_output_embeddings()
    if not isinstance(head, nn.Linear):
        return None
    few = ids[:1, :8].to(model.device)
    with torch.no_grad():
        scores = model(input_ids=few).logits
        hidden = before_head(head, lambda: model(input_ids=few))
        same = scores.shape[:-1] == hidden.shape[:-1] and torch.allclose(
            scores, head(hidden), atol=_CLOSE, rtol=_CLOSE
        )
    return head if same else None


def before_head(head: nn.Linear, call: Callable[[], Any]) -> Float[Tensor, "B T d_model"]:
    """What goes into `head` while `call` runs; its own work is left out."""
    seen: list[Tensor] = []

    def skip(input: Tensor) -> Tensor:
        seen.append(input)
        return input[..., :1]  # stands in for the scores; nobody reads it

    head.forward = skip  # type: ignore[method-assign]
    try:
        call()
    finally:
        del head.forward  # the class's own method shows again
    return seen[0]
