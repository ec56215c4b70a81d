"""Attention with controls: head count, mask and temperature, computed anew by torch.

In JupyterLab these are widgets of ipywidgets, and a kernel computes. On a page of the book there is
no kernel: it shows the figure as it is at the start.
"""

from __future__ import annotations

import html
import math
import os
from collections.abc import Collection, Sequence
from importlib.util import find_spec
from typing import Any, NamedTuple

from jaxtyping import Bool, Float
from torch import Tensor

from mha_course import _checks
from mha_course.attention import attention_weights, split_heads
from mha_course.masks import causal_mask
from mha_course.shapes import head_dim
from mha_course.widgets.live import BOOK

CONTROLS = {
    "num_heads": "the number of heads",
    "mask": "the mask",
    "temperature": "the temperature",
}
"""What can be controlled, and what a sentence calls it."""

MASKS = ("none", "causal", "window")
TEMPERATURES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
MOST_TOKENS = 16

_IN_A_ROW = 4  # maps of heads
_NUMBERS_IN_CELLS = 8  # tokens: more, and the digits overlap


class Setting(NamedTuple):
    """Where the controls stand.

    Args:
        num_heads: Parts that queries and keys are cut into.
        mask: "none", "causal", or "window": causal, and only the last few keys.
        window: So many.
        temperature: What the scores are divided by.
    """

    num_heads: int = 1
    mask: str = "none"
    window: int = 3
    temperature: float = 1.0


class AttentionExplorer:
    """A figure of attention weights with controls; made by `explore_attention`.

    Attributes:
        setting: Where the controls stand.
    """

    def __init__(
        self,
        query: Float[Tensor, "T width"],
        key: Float[Tensor, "T width"],
        tokens: Sequence[str],
        setting: Setting,
        controls: Collection[str],
    ) -> None:
        self._query, self._key = query, key
        self._tokens = list(tokens)
        self.setting = setting
        self._controls = controls
        self._shown: Any = None

    def weights(self) -> Float[Tensor, "h T T"]:
        """Return the weights of every head, as the controls stand."""
        heads = self.setting.num_heads
        query = split_heads(self._query[None], heads)  # [1, h, T, d_head]
        key = split_heads(self._key[None], heads)
        # dividing the queries divides the scores
        return attention_weights(
            query / self.setting.temperature, key, attn_mask=self._attn_mask()
        )[0]

    def says(self) -> str:
        """Say what is set, and what comes of it."""
        heads, mask, window, temperature = self.setting
        weights = self.weights()
        width = head_dim(self._query.shape[1], heads)
        masks = {
            "none": "no mask",
            "causal": "a causal mask",
            "window": f"a window of {window}",
        }
        return (
            f"{heads} {'head' if heads == 1 else 'heads'}, d_head = {width}, {masks[mask]}, "
            f"temperature {temperature:g}. On average, the largest weight of a row is "
            f"{weights.amax(-1).mean().item():.2f}."
        )

    def figure(self) -> Any:
        """Draw the weights of every head, with the numbers in a folded table."""
        # heavy: matplotlib
        from mha_course.plots import canvas, describe_attention, plot_attention, plot_rows

        weights, tokens = self.weights(), self._tokens
        columns = min(len(weights), _IN_A_ROW)
        rows = math.ceil(len(weights) / columns)
        alone = len(weights) == 1
        height = 2.9 if alone else 0.35 + 1.45 * rows
        with canvas(rows, columns, height=height, squeeze=False) as figure:
            for ax in figure.axes.flat[len(weights) :]:
                ax.set_axis_off()
            for i, (pattern, ax) in enumerate(zip(weights, figure.axes.flat, strict=False)):
                if alone and len(tokens) <= _NUMBERS_IN_CELLS:
                    plot_rows(pattern, tokens, tokens, ax)
                    continue
                plot_attention(pattern, tokens, ax)
                ax.tick_params(labelsize=7)
                if not alone:
                    ax.set_title(f"head {i}", fontsize=8.5)
        names = [
            name if alone else f"head {i}, {name}" for i in range(len(weights)) for name in tokens
        ]
        figure.table(names, tokens, weights.flatten(0, 1).tolist())
        first = "" if alone else f"{len(weights)} heat maps, one for each head. Of head 0: "
        return figure.describe(f"{first}{describe_attention(weights[0], tokens)}")

    def html(self) -> str:
        """Return what stands on a page, which has no kernel."""
        names = [CONTROLS[name] for name in self._controls]
        listed = " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
        missing = "" if os.environ.get(BOOK) else ", once ipywidgets is installed"
        return (
            f"{self.figure()._repr_html_()}"
            f'<p style="text-align:left">{html.escape(self.says())} In JupyterLab{missing}, '
            f"controls for {listed} stand here, and torch computes the weights anew.</p>"
        )

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        if os.environ.get(BOOK) or find_spec("ipywidgets") is None:
            return {"text/html": self.html(), "text/plain": self.says()}
        bundle: dict[str, Any] = self.widget()._repr_mimebundle_()
        return bundle

    def __repr__(self) -> str:
        return f"AttentionExplorer({self.setting})"

    def _attn_mask(self) -> Bool[Tensor, "T T"] | None:
        if self.setting.mask == "none":
            return None
        size = len(self._tokens)
        causal = causal_mask(size, size)
        if self.setting.mask == "causal":
            return causal
        return causal.triu(diagonal=-(self.setting.window - 1))

    def widget(self) -> Any:
        """Return the controls with the figure below them, for JupyterLab."""
        if self._shown is None:
            self._shown = self._made()
        return self._shown

    def _made(self) -> Any:
        import ipywidgets

        width = self._query.shape[1]
        divisors = [n for n in range(1, width + 1) if width % n == 0]
        temperatures = sorted({*TEMPERATURES, self.setting.temperature})
        given = self.setting
        made = {
            "num_heads": ipywidgets.SelectionSlider(options=divisors, value=given.num_heads),
            "mask": ipywidgets.Dropdown(options=MASKS, value=given.mask),
            "window": ipywidgets.IntSlider(given.window, 1, len(self._tokens)),
            "temperature": ipywidgets.SelectionSlider(
                options=[(f"{t:g}", t) for t in temperatures], value=given.temperature
            ),
        }
        for name, control in made.items():
            control.description = "heads h" if name == "num_heads" else name
            control.style.description_width = "7.5em"
            control.layout.width, control.layout.max_width = "28em", "100%"
        said, figure = ipywidgets.HTML(), ipywidgets.HTML()

        def show(_: object = None) -> None:
            self.setting = Setting(**{name: control.value for name, control in made.items()})
            made["window"].layout.display = "" if self.setting.mask == "window" else "none"
            figure.value = self.figure()._repr_html_()
            # last: who hears it finds the figure done
            said.value = f'<p role="status">{html.escape(self.says())}</p>'

        for control in made.values():
            control.observe(show, "value")
        show()
        shown = [made[name] for name in CONTROLS if name in self._controls]
        if "mask" in self._controls:
            shown.insert(shown.index(made["mask"]) + 1, made["window"])
        return ipywidgets.VBox([*shown, said, figure])


def explore_attention(
    query: Float[Tensor, "T width"],
    key: Float[Tensor, "T width"],
    tokens: Sequence[str] | None = None,
    *,
    num_heads: int = 1,
    mask: str = "none",
    window: int = 3,
    temperature: float = 1.0,
    controls: Collection[str] = tuple(CONTROLS),
) -> AttentionExplorer:
    """Look at the weights of attention, and change what they depend on.

    Args:
        query: A row for each token, all heads side by side, as `module.w_q(x)` gives them.
        key: The same for the keys.
        tokens: A name for each token; by default their numbers.
        num_heads: Where the controls stand at first: so many parts, which must divide the width.
        mask: "none", "causal" or "window".
        window: Keys that a query sees in a window, itself among them.
        temperature: What the scores are divided by.
        controls: Which of "num_heads", "mask" and "temperature" there are.

    Raises:
        ValueError: shapes do not fit, there are too many tokens, or a control has no such value.
        TypeError: `query` or `key` is no tensor of floating point numbers.

    >>> import torch
    >>> print(explore_attention(*torch.zeros(2, 4, 8), num_heads=2).says())
    2 heads, d_head = 4, no mask, temperature 1. On average, the largest weight of a row is 0.25.
    """
    _checks.rank("query", query, ("T", "width"))
    _checks.rank("key", key, ("T", "width"))
    _checks.query_and_key(query, key)
    if query.shape != key.shape:
        raise ValueError(
            f"query has shape {list(query.shape)} and key {list(key.shape)}; both must be "
            "[T, width], of the same tokens"
        )
    size, width = query.shape
    if not 1 <= size <= MOST_TOKENS:
        raise ValueError(f"there are {size} tokens; the figure shows 1 to {MOST_TOKENS}")
    names = [str(t) for t in range(size)] if tokens is None else list(tokens)
    if len(names) != size:
        raise ValueError(f"{len(names)} names for {size} tokens; give one for each")
    head_dim(width, num_heads)
    if mask not in MASKS:
        raise ValueError(f"mask={mask!r}; it must be {', '.join(map(repr, MASKS))}")
    if not 1 <= window <= size:
        raise ValueError(f"window={window}; with {size} tokens it must be 1 to {size}")
    if not (temperature > 0 and math.isfinite(temperature)):
        raise ValueError(f"temperature={temperature}; scores are divided by it, so it must be > 0")
    if not controls or (unknown := [name for name in controls if name not in CONTROLS]):
        wrong = f"no {unknown[0]!r}" if controls else "none"
        raise ValueError(f"controls={list(controls)}: there is {wrong}; use {', '.join(CONTROLS)}")
    setting = Setting(num_heads, mask, window, temperature)
    query, key = (x.detach().float().cpu().contiguous() for x in (query, key))
    return AttentionExplorer(query, key, names, setting, controls)
