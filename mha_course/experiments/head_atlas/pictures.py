"""What the picture of a head looks like to a viewer who cannot read the tokens."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mha_course.heads.patterns import LOCAL_WIDTH, entropy, visible_keys

REACH = ("parked", "near", "middle", "far")
SHAPES = ("diagonal", "shifted diagonal", "band", "columns", "links", "even")
FAR = 16  # tokens; beyond it a key is far, up to LOCAL_WIDTH it is near
COLUMNS = 4  # keys that make up the columns of a picture: 3 % of 128


def reach(weights: Float[Tensor, "h T T"], special: Bool[Tensor, " T"]) -> Float[Tensor, "h reach"]:
    """Where the weight goes: parked on special tokens, or near, midway or far, as in `REACH`.

    Special tokens are those that the caller names; near is up to `LOCAL_WIDTH` tokens, far more
    than `FAR`. The four add up to 1.
    """
    position = torch.arange(len(special))
    distance = (position - position[:, None]).abs()
    zone = torch.where(distance <= LOCAL_WIDTH, 1, torch.where(distance <= FAR, 2, 3))
    zone = zone.masked_fill(special, 0)
    return torch.stack([(weights * (zone == i)).sum(-1).mean(-1) for i in range(4)], dim=-1)


def shapes(weights: Float[Tensor, "h T T"], *, is_causal: bool) -> dict[str, Float[Tensor, " h"]]:
    """How much of a picture each shape makes up, for a viewer who cannot read the tokens.

    - diagonal: weight on the query itself;
    - shifted diagonal: weight on the best other offset;
    - band: weight up to `LOCAL_WIDTH` tokens away;
    - columns: weight on the `COLUMNS` keys that get most;
    - links: largest weight of a query outside the columns, and further away than the next token;
    - even: effective number of keys 2^H, as a share of the visible ones.
    """
    tokens = weights.shape[-1]
    position = torch.arange(tokens)
    distance = (position - position[:, None]).abs()
    total = weights.sum(1)  # [h, T]: what each key gets
    columns = total.topk(min(COLUMNS, tokens), dim=-1)
    outside = weights.masked_fill(distance <= 1, 0).scatter(
        -1, columns.indices[:, None].expand(-1, tokens, -1), 0
    )
    offsets = [o for o in range(-tokens // 2, tokens // 2 + 1) if o != 0]
    shifted = torch.stack([weights.diagonal(o, -2, -1).mean(-1) for o in offsets])
    seen = visible_keys(tokens, is_causal).sum(1)
    even = (entropy(weights).exp2() / seen)[:, seen > 1]
    return {
        "diagonal": weights.diagonal(0, -2, -1).mean(-1),
        "shifted diagonal": shifted.amax(0),
        "band": (weights * (distance <= LOCAL_WIDTH)).sum(-1).mean(-1),
        "columns": columns.values.sum(-1) / tokens,
        "links": outside.amax(-1).mean(-1),
        "even": even.mean(-1),
    }
