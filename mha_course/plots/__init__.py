"""Figures of the book: readable in light and dark, by colour-blind readers and screen readers."""

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
from mha_course.plots.heads import plot_attention, plot_rows
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
    "plot_attention",
    "plot_rows",
    "table",
]
