"""Figures of the book: readable in light and dark, by colour-blind readers and screen readers.

`plot_x(…, ax=None)` draws and returns the axes; `describe_x(…)` says in words what there is to see.
"""

from mha_course.plots.canvas import (
    BLUE,
    GREEN,
    HEAT,
    INK,
    ORANGE,
    PURPLE,
    RED,
    SERIES,
    Figure,
    canvas,
)
from mha_course.plots.film import describe_film, plot_film
from mha_course.plots.grids import (
    describe_head_grid,
    describe_scores,
    plot_head_grid,
    plot_scores,
)
from mha_course.plots.heads import describe_attention, plot_attention, plot_rows
from mha_course.plots.layers import describe_mix, describe_profile, plot_mix, plot_profile
from mha_course.plots.pruning import (
    describe_changes,
    describe_curves,
    plot_changes,
    plot_curves,
)
from mha_course.plots.similarity import describe_similarity, plot_similarity
from mha_course.plots.tables import table

__all__ = [
    "BLUE",
    "GREEN",
    "HEAT",
    "INK",
    "ORANGE",
    "PURPLE",
    "RED",
    "SERIES",
    "Figure",
    "canvas",
    "describe_attention",
    "describe_changes",
    "describe_curves",
    "describe_film",
    "describe_head_grid",
    "describe_mix",
    "describe_profile",
    "describe_scores",
    "describe_similarity",
    "plot_attention",
    "plot_changes",
    "plot_curves",
    "plot_film",
    "plot_head_grid",
    "plot_mix",
    "plot_profile",
    "plot_rows",
    "plot_scores",
    "plot_similarity",
    "table",
]
