"""Figures that a reader can operate: on the book's pages without a kernel, and in JupyterLab."""

from mha_course.widgets.live import Heights, LiveFigure
from mha_course.widgets.splitting import split_model

__all__ = ["Heights", "LiveFigure", "split_model"]
