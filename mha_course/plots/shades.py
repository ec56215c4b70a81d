"""Heat maps of many cells: one image instead of a shape for each cell.

Cells with a number in them are shapes (`mha_course.plots.heads.plot_rows`), in a colour that the
page gives. An image cannot ask the page, so it comes in one colour that shows on light and on dark,
more or less of it in each cell; what is below shines through.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Shaped
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from torch import Tensor

SHADE = "#2a86c8"
"""At least 3:1 against a white and against a dark page."""

_PIXELS = 16  # of a stamp, to a side: what a phone can show of twelve stamps abreast


def check_shares(name: str, shares: Float[Tensor, "*axes"], axes: Sequence[str]) -> None:
    """Raise unless these are shares from 0 to 1, with these axes, none of them empty."""
    shape = list(shares.shape)
    if len(shape) != len(axes) or 0 in shape:
        raise ValueError(
            f"{name} have shape {shape}; they must be [{', '.join(axes)}], and not empty"
        )
    low, high = shares.min().item(), shares.max().item()
    if not (low >= 0 and high <= 1 + 1e-4):  # NaN, too, is outside
        raise ValueError(f"{name} run from {low:.3f} to {high:.3f}; they must lie between 0 and 1")


def shade(
    ax: Axes,
    shares: Float[Tensor, "rows columns"],
    extent: tuple[float, float, float, float] | None = None,
) -> None:
    """Draw each cell as full as its share: empty for 0, full for 1.

    Args:
        ax: The axes; they get the limits of the image, with square units.
        shares: Between 0 and 1.
        extent: Left, right, bottom and top of the image; by default a cell measures 1 × 1 and the
            first one is centred at (0, 0).
    """
    image = np.empty((*shares.shape, 4), dtype=np.uint8)
    image[..., :3] = np.round(np.array(to_rgb(SHADE)) * 255)
    image[..., 3] = (_plain(shares).clamp(0, 1) * 255).round().numpy()
    # "none" keeps one pixel per cell: whoever shows the picture makes them larger
    ax.imshow(image, interpolation="none", extent=extent)


def stamps(ax: Axes, maps: Float[Tensor, "rows columns T_q T_k"]) -> None:
    """Draw a grid of small heat maps, the first one centred at (0, 0), each 1 × 1 with its frame.

    Long texts are cut into blocks of tokens; the share of a block is what its queries give to all
    its keys, on average. A cell is as full as the root of its share: at this size the weak parts of
    a pattern would not be seen otherwise.

    Args:
        ax: The axes.
        maps: Shares between 0 and 1.
    """
    maps = _in_blocks(_plain(maps), _PIXELS).sqrt()
    rows, columns, height, width = maps.shape
    # one pixel between stamps, and around all of them
    image = torch.zeros(rows, height + 1, columns, width + 1)
    image[:, 1:, :, 1:] = maps.transpose(1, 2)
    image = image.reshape(rows * (height + 1), columns * (width + 1))
    image = torch.nn.functional.pad(image, (0, 1, 0, 1))
    x, y = 0.5 / (width + 1), 0.5 / (height + 1)
    shade(ax, image, (-0.5 - x, columns - 0.5 + x, rows - 0.5 + y, -0.5 - y))
    colour = ax.xaxis.label.get_color()
    line: dict[str, Any] = {"colors": colour, "linewidth": 0.6, "alpha": 0.35}
    ax.hlines([i - 0.5 for i in range(rows + 1)], -0.5, columns - 0.5, **line)
    ax.vlines([i - 0.5 for i in range(columns + 1)], -0.5, rows - 0.5, **line)
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)


def places(weights: Float[Tensor, "*heads T T"]) -> dict[str, Float[Tensor, "*heads"]]:
    """Mean share of attention on four places that every text has; for descriptions.

    Only queries that have the place count: the first one has no token before it.

    Raises:
        ValueError: fewer than 2 tokens, or not as many keys as queries.
    """
    queries, keys = weights.shape[-2:]
    if queries != keys or queries < 2:
        raise ValueError(
            f"weights have shape {list(weights.shape)}; they must end in [T, T], with at least "
            "T = 2 tokens: over a single one every head is the same"
        )
    weights = _plain(weights)
    return {
        "the first token": weights[..., 1:, 0].mean(-1),
        "the token before": weights.diagonal(-1, -2, -1).mean(-1),
        "the token itself": weights.diagonal(0, -2, -1).mean(-1),
        "the token after": weights.diagonal(1, -2, -1).mean(-1),
    }


def _plain(tensor: Shaped[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
    return tensor.detach().float().cpu()


def _in_blocks(
    maps: Float[Tensor, "rows columns T_q T_k"], most: int
) -> Float[Tensor, "rows columns height width"]:
    """Mean over the queries of a block of what they give to all keys of another."""
    of_queries, of_keys = (_blocks(tokens, most) for tokens in maps.shape[-2:])
    return (of_queries / of_queries.sum(0)).T @ maps @ of_keys


def _blocks(tokens: int, most: int) -> Float[Tensor, "tokens blocks"]:
    """Which token is in which block: at most so many, as equal as can be."""
    blocks = min(tokens, most)
    return torch.eye(blocks)[torch.arange(tokens) * blocks // tokens]
