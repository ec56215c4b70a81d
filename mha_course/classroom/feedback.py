"""The page that a learner gets back, which loads nothing from elsewhere."""

from __future__ import annotations

from typing import Any

from jinja2 import DictLoader
from nbconvert.exporters import HTMLExporter

# In nbgrader's template this loads MathJax from a content network, in every learner's browser. The
# assignments have no formulas; one that a learner has typed stays as it was typed.
_NOTHING = {"mathjax.html.j2": "{% macro mathjax(url='') %}{% endmacro %}"}


class FeedbackExporter(HTMLExporter):
    """Makes feedback with nbgrader's template, without the script for formulas."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(extra_loaders=[DictLoader(_NOTHING)], **settings)
