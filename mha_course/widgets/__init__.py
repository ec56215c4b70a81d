"""Figures that a reader can operate: on the book's pages without a kernel, and in JupyterLab."""

from mha_course.widgets.atlas import atlas
from mha_course.widgets.controls import explore_attention
from mha_course.widgets.cost import what_it_costs
from mha_course.widgets.film import film, look_at
from mha_course.widgets.live import Heights, LiveFigure
from mha_course.widgets.one_head import one_head_many_heads
from mha_course.widgets.self_check import self_check
from mha_course.widgets.splitting import split_model
from mha_course.widgets.switch_off import switch_off
from mha_course.widgets.your_progress import your_progress

__all__ = [
    "Heights",
    "LiveFigure",
    "atlas",
    "explore_attention",
    "film",
    "look_at",
    "one_head_many_heads",
    "self_check",
    "split_model",
    "switch_off",
    "what_it_costs",
    "your_progress",
]
