"""Sphinx extension for self-checks: the directives, and what they become, are in the package."""

from __future__ import annotations

from typing import Any

from sphinx.application import Sphinx

from mha_course.widgets import quiz


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.add_node(quiz.Tag, html=(quiz.open_tag, quiz.close_tag))
    app.add_directive("question", quiz.ChoiceQuestion)
    app.add_directive("number-question", quiz.NumberQuestion)
    app.add_transform(quiz.SelfChecks)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
