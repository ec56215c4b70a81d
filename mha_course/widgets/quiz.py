"""Self-checks: questions whose every answer says why it is right or wrong.

Two MyST directives. A question has choices, one of them right:

    :::{question} How many weights does one query have?
    - One for each key.

      Right. They add up to 1.
    - One for each head.

      No. Each head has a whole row of them.
    - One.

      No. One weight would leave it no choice.
    :::

A question for a number has numbers in their place: the right one, and what typical mistakes lead
to. They are computed when the page is built, with the names of `mha_course` and with `math`, so
that the page holds no number that could drift from the code:

    :::{number-question} How wide is a head when `d_model = 512` and `h = 8`?
    :unit: numbers, number
    :tolerance: 1 %

    - `head_dim(512, 8)`

      Right. The heads share the width evenly.
    - `8`

      No. That is how many heads there are.
    - anything else

      No. Divide the width among the heads.
    :::

The unit may have several spellings, the singular as the second; an answer may leave it out. The
tolerance is absolute, or in per cent of the number; without it the answer must be exact.

The HTML works as it is: answers open and say why, and on paper they follow after the last question.
Where scripts run, `quiz.js` makes them buttons and fields, and counts. `quiz_extension.py` of the
book registers all of this with Sphinx; `self_check` shows it in JupyterLab.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from docutils import nodes
from docutils.parsers.rst import Directive, directives
from docutils.transforms import Transform

import mha_course

RIGHT, WRONG = "Right", "No"
OTHERWISE = "anything else"
EXACT = 1e-9  # relative: what floating point may do to an exact number


class Tag(nodes.General, nodes.Element):  # type: ignore[misc]  # docutils has no types
    """An HTML element, whose name is `tag` and whose attributes are `html`."""


def open_tag(writer: Any, node: nodes.Element) -> None:
    """Write the start of a `Tag`."""
    writer.body.append(writer.starttag(node, node["tag"], "", **node.get("html", {})))


def close_tag(writer: Any, node: nodes.Element) -> None:
    """Write the end of a `Tag`."""
    writer.body.append(f"</{node['tag']}>\n")


def _tag(tag: str, kind: str, *children: nodes.Node, **html: str) -> Tag:
    named = {name.replace("_", "-"): value for name, value in html.items()}
    return Tag("", *children, tag=tag, html=named, classes=kind.split())


# -------------------------------------------------------------------------------- directives


class _Answer(NamedTuple):
    """An item of a question's list."""

    line: nodes.Element
    why: list[nodes.Node]
    is_right: bool

    @property
    def kind(self) -> str:
        return "mha-right" if self.is_right else "mha-wrong"


class _Asking(Directive):  # type: ignore[misc]  # docutils has no types
    """What both kinds have in common: a question, and a list of answers that say why."""

    required_arguments = 1
    final_argument_whitespace = True
    has_content = True
    fewest = 3

    def run(self) -> list[nodes.Node]:
        """Make the question."""
        asked = nodes.paragraph(classes=["mha-question-text"])
        parsed, messages = self.state.inline_text(self.arguments[0], self.lineno)
        asked.extend(parsed)
        answers = self._answers()
        what = [asked.astext(), *(answer.line.astext() for answer in answers)]
        question = self.question(answers)
        question["html"]["data-key"] = hashlib.sha256("\n".join(what).encode()).hexdigest()[:8]
        question.insert(0, asked)
        return [question, *messages]

    def question(self, answers: Sequence[_Answer]) -> Tag:
        """Make what stands under the text."""
        raise NotImplementedError

    def _answers(self) -> list[_Answer]:
        content = nodes.container()
        self.state.nested_parse(self.content, self.content_offset, content)
        lists = [child for child in content.children if isinstance(child, nodes.bullet_list)]
        if len(content.children) != 1 or len(lists) != 1:
            raise self.error("a question needs one list of answers, and nothing else")
        answers = [self._answer(item) for item in lists[0].children]
        rights = sum(answer.is_right for answer in answers)
        if len(answers) < self.fewest or rights != 1:
            raise self.error(
                f"{len(answers)} answers, {rights} of them right; "
                f"there must be at least {self.fewest}, and one that is right"
            )
        return answers

    def _answer(self, item: nodes.Element) -> _Answer:
        line, *why = item.children
        if not why or not why[0].astext().startswith((RIGHT, WRONG)):
            raise self.error(
                f"the answer {line.astext()!r} needs a paragraph under it "
                f"that begins with {RIGHT!r} or {WRONG!r} and says why"
            )
        return _Answer(line, why, why[0].astext().startswith(RIGHT))


class ChoiceQuestion(_Asking):
    """A question with choices: each is folded, and says why when it is opened."""

    def question(self, answers: Sequence[_Answer]) -> Tag:
        """Make one folded part of each choice."""
        choices = []
        for answer in answers:
            if any(isinstance(part, nodes.reference) for part in answer.line.findall()):
                raise self.error(f"the choice {answer.line.astext()!r} is a button: no links in it")
            line = _tag("summary", "", *answer.line.children)
            choices.append(_tag("details", f"mha-choice {answer.kind}", line, *answer.why))
        return _tag("div", "mha-question", *choices)


class NumberQuestion(_Asking):
    """A question for a number: what is right, and what typical mistakes lead to, is computed."""

    option_spec = {"unit": directives.unchanged, "tolerance": directives.unchanged}  # noqa: RUF012

    def question(self, answers: Sequence[_Answer]) -> Tag:
        """Fold all numbers into one part: a list of them would give the answer away."""
        units = [unit.strip() for unit in self.options.get("unit", "").split(",")]
        try:
            tolerance = Tolerance.read(self.options.get("tolerance", "0"))
            cases = list(_cases(answers, tolerance))
        except ValueError as error:
            raise self.error(str(error)) from error
        parts = []
        for answer, case in zip(answers, cases, strict=True):
            name, html = "Anything else", {}
            if case is not None:
                unit = units[1] if case.number == 1 and len(units) > 1 else units[0]
                name = f"{shown(case.number)} {unit}".strip()
                html = {"data_number": repr(case.number), "data_within": f"{case.within:.12g}"}
            number = nodes.paragraph("", "", nodes.strong("", name))
            parts.append(_tag("div", f"mha-case {answer.kind}", number, *answer.why, **html))
        summary = _tag("summary", "", nodes.Text("Show the answer"))
        blank = nodes.paragraph("", f"Your number: {'_' * 12} {units[0]}", classes=["mha-blank"])
        return _tag(
            "div",
            "mha-question mha-number-question",
            blank,
            _tag("details", "mha-numbers", summary, *parts),
            data_units=",".join(units),
        )


# ----------------------------------------------------------------------------------- numbers


class Case(NamedTuple):
    """A number that a reader may give, and how far off it may be."""

    number: float
    within: float


class Tolerance(NamedTuple):
    """How far off an answer may be.

    Attributes:
        absolute: In the unit of the answer.
        relative: As a share of the number.
    """

    absolute: float
    relative: float

    @classmethod
    def read(cls, text: str) -> Tolerance:
        """Read "0.01" or "1 %".

        Raises:
            ValueError: it is neither, or below 0.

        >>> Tolerance.read("1 %")
        Tolerance(absolute=0.0, relative=0.01)
        """
        number, percent, rest = text.partition("%")
        try:
            value = float(number)
        except ValueError:
            value = -1.0
        if rest.strip() or not 0 <= value < math.inf:
            raise ValueError(f"the tolerance {text!r} must be a number, or one in %: 0.01 or 1 %")
        return cls(0.0, value / 100) if percent else cls(value, 0.0)

    def around(self, number: float) -> Case:
        """Return a number with what this tolerance makes of it."""
        size = abs(number)
        return Case(number, max(self.absolute, self.relative * size) + EXACT * size)


def computed(expression: str) -> float:
    """Evaluate an expression with the names of `mha_course`, and with `math`.

    Raises:
        ValueError: it fails, or gives no finite number.

    >>> computed("head_dim(512, 8)")
    64
    """
    try:
        value = eval(expression, {"math": math, **vars(mha_course)})
    except Exception as error:
        raise ValueError(f"{expression!r} fails: {type(error).__name__}: {error}") from error
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{expression!r} is {value!r}, and must be a finite number")
    return int(value) if value == int(value) else value


def shown(number: float) -> str:
    """Write a number for people: all digits of an integer, three of any other.

    >>> shown(1050624), shown(1 / 3), shown(-1234.5)
    ('1,050,624', '0.333', '−1,234')
    """
    whole = isinstance(number, int) or abs(number) >= 1000
    return (f"{number:,.0f}" if whole else f"{number:.3g}").replace("-", "−")


def _cases(answers: Sequence[_Answer], tolerance: Tolerance) -> Iterator[Case | None]:
    """Compute the numbers of the answers; None for the last one, which is for all others.

    Raises:
        ValueError: a number is none, or cannot be told from another one; or the list does not end
            with what holds for all others.
    """
    *numbered, last = answers
    if last.line.astext() != OTHERWISE or last.is_right:
        raise ValueError(f"the last answer must be {OTHERWISE!r}, and must be wrong")
    taken: list[Case] = []
    for answer in numbered:
        expression = answer.line.astext()
        if len(answer.line.children) != 1 or not isinstance(answer.line[0], nodes.literal):
            raise ValueError(f"the number {expression!r} must be an expression in `code`")
        case = tolerance.around(computed(expression))
        if any(abs(case.number - t.number) <= case.within + t.within for t in taken):
            raise ValueError(f"{expression!r} is {case.number}, which another answer is as well")
        written = float(shown(case.number).replace(",", "").replace("−", "-"))
        if answer.is_right and abs(written - case.number) > case.within:
            raise ValueError(
                f"{expression!r} is {case.number}, shown as {written}: give a tolerance"
            )
        taken.append(case)
        yield case
    yield None


# --------------------------------------------------------------------------------- on a page


class SelfChecks(Transform):  # type: ignore[misc]  # docutils has no types
    """Numbers the questions of a section, and puts their answers, for paper, after them."""

    default_priority = 400

    def apply(self, **_: Any) -> None:
        """Go through the sections of a page."""
        page = Path(self.document["source"]).stem
        sections = [self.document, *self.document.findall(nodes.section)]
        found = [section for section in sections if any(map(_is_question, section.children))]
        for i, section in enumerate(found):
            places = [k for k, child in enumerate(section.children) if _is_question(child)]
            first, last = places[0], places[-1]
            inside = section.children[first : last + 1]
            asked = [child for child in inside if _is_question(child)]
            answers = nodes.enumerated_list("", enumtype="arabic", prefix="", suffix=".")
            for number, question in enumerate(asked, start=1):
                answers += nodes.list_item("", _answers_of(question))
                label = nodes.inline("", f"{number}. ", classes=["mha-question-number"])
                question[0].insert(0, label)
            heading = nodes.paragraph("", "", nodes.strong("", "Answers"))
            quiz = _tag(
                "div",
                "mha-live mha-quiz",
                *inside,
                _tag("div", "mha-score"),
                _tag("div", "mha-answers", heading, answers),
                data_module="quiz",
                data_page=f"{page}-{i + 1}" if i else page,
            )
            del section[first : last + 1]
            section.insert(first, quiz)


def _is_question(node: nodes.Node) -> bool:
    return isinstance(node, Tag) and "mha-question" in node["classes"]


def _answers_of(question: Tag) -> nodes.Element:
    """Copy what is said of each answer."""
    is_number = "mha-number-question" in question["classes"]
    said = nodes.bullet_list() if is_number else _lettered()
    for answer in question.findall(Tag):
        if {"mha-choice", "mha-case"} & set(answer["classes"]):
            parts = [part for part in answer.children if not isinstance(part, Tag)]
            said += nodes.list_item("", *(part.deepcopy() for part in parts))
    return said


def _lettered() -> nodes.Element:
    return nodes.enumerated_list("", enumtype="loweralpha", prefix="", suffix=".")
