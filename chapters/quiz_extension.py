"""Sphinx extension for self-checks: a question whose choices each say why they are right or wrong.

    :::{question} How many weights does one query have?
    - One for each key.

      Right. They add up to 1.
    - One for each head.

      No. Each head has a whole row of them.
    :::

A choice opens when it is clicked, or with the keyboard. No script takes part, so it works offline.
"""

from __future__ import annotations

from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx

RIGHT, WRONG = "Right", "No"


class Choice(nodes.General, nodes.Element):
    """One choice: a line that can be clicked, and what is then said."""


class ChoiceLine(nodes.General, nodes.Element):
    """The text of the choice."""


class Question(Directive):
    """A question as the argument, and a list of choices as the content."""

    required_arguments = 1
    final_argument_whitespace = True
    has_content = True

    def run(self) -> list[nodes.Node]:
        """Make one folded part of each choice."""
        asked = nodes.paragraph(classes=["mha-question-text"])
        parsed, messages = self.state.inline_text(self.arguments[0], self.lineno)
        asked.extend(parsed)
        content = nodes.container()
        self.state.nested_parse(self.content, self.content_offset, content)
        lists = [child for child in content.children if isinstance(child, nodes.bullet_list)]
        if len(content.children) != 1 or len(lists) != 1:
            raise self.error("a question needs one list of choices, and nothing else")
        items = lists[0].children
        choices = [self._choice(item) for item in items]
        rights = sum(item.children[1].astext().startswith(RIGHT) for item in items)
        if len(items) < 3 or rights != 1:
            raise self.error(
                f"{len(items)} choices, {rights} of them right; "
                "there must be at least three, and one that is right"
            )
        return [nodes.container("", asked, *choices, classes=["mha-question"]), *messages]

    def _choice(self, item: nodes.Node) -> Choice:
        if len(item.children) < 2 or not item.children[1].astext().startswith((RIGHT, WRONG)):
            raise self.error(
                f"the choice {item.children[0].astext()!r} needs a paragraph under it "
                f"that begins with {RIGHT!r} or {WRONG!r} and says why"
            )
        line, *feedback = item.children
        is_right = feedback[0].astext().startswith(RIGHT)
        choice = Choice("", classes=["mha-right" if is_right else "mha-wrong"])
        choice += ChoiceLine("", *line.children)
        choice += feedback
        return choice


def _open_choice(writer: Any, node: nodes.Element) -> None:
    writer.body.append(f'<details class="mha-choice {node["classes"][0]}">')


def _close_choice(writer: Any, _: nodes.Element) -> None:
    writer.body.append("</details>")


def _open_line(writer: Any, _: nodes.Element) -> None:
    writer.body.append("<summary>")


def _close_line(writer: Any, _: nodes.Element) -> None:
    writer.body.append("</summary>")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.add_node(Choice, html=(_open_choice, _close_choice))
    app.add_node(ChoiceLine, html=(_open_line, _close_line))
    app.add_directive("question", Question)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
