"""Split the model: d_model is cut into heads."""

from __future__ import annotations

from mha_course.shapes import head_dim
from mha_course.widgets.live import Heights, LiveFigure

_HEIGHTS = Heights(wide=500, narrow=560)


def split_model(d_model: int = 512, num_heads: int = 8) -> LiveFigure:
    """Cut a width into heads with two sliders.

    Args:
        d_model: Where the first slider stands at first, a multiple of 8 up to 1,024.
        num_heads: Where the second stands, up to 32.

    Raises:
        ValueError: `num_heads` does not divide `d_model`, or they are outside the sliders.
    """
    width = head_dim(d_model, num_heads)
    if d_model % 8 or d_model > 1024 or num_heads > 32:
        raise ValueError(
            f"d_model={d_model}, num_heads={num_heads}: the sliders go in steps of 8 up to 1024, "
            "and up to 32 heads"
        )
    fallback = (
        f"<p>On the page, two sliders cut d_model into heads. With d_model = {d_model} and "
        f"h = {num_heads}, every head is d_k = {d_model} / {num_heads} = {width} wide.</p>"
    )
    state = {"d_model": d_model, "num_heads": num_heads}
    return LiveFigure("split_model", state, fallback, _HEIGHTS)
