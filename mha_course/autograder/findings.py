"""What an instructor should look at."""

from __future__ import annotations

from typing import NamedTuple

from mha_course.autograder.signs import WHAT


class Finding(NamedTuple):
    """Something that an instructor should look at. It takes no points away.

    Attributes:
        kind: What it is: a key of `MEANING`.
        says: One sentence.
        cell: grade_id of the cell; empty for the notebook as a whole.
    """

    kind: str
    says: str
    cell: str = ""


FILE = {
    "not-read": "The file is no notebook that could be graded; the finding says why.",
    "odd-file": "Something beside the notebook was left out: a link, a folder, too large a file.",
    "other-name": "The notebook has another name than it should have.",
    "other-notebook": "No answer and no test of this assignment is in it.",
    "other-language": "The notebook says that it is not in Python.",
    "metadata-lost": "Cells were known by their ids and texts, for nbgrader's metadata are gone.",
}
"""Findings in the file, and what each means."""

ANSWERS = {
    "solution-deleted": "A solution cell is gone; the empty task stands in its place.",
    "solution-duplicated": "A solution cell is there twice or more; the finding says which counts.",
    "solution-moved": "A solution cell was moved; it stands where the instructor put it.",
    "solution-type-changed": "A solution cell was turned from code into text, or the reverse.",
    "solution-relabelled": "nbgrader's settings of a solution cell were changed.",
    "solution-tagged": "A solution cell was given tags, which are dropped.",
    "solution-attachments": "Pictures in a written answer are dropped; look at the file itself.",
    "added-attachments": "The same, in a cell that the learner added.",
    "added-tagged": "A cell that the learner added has tags, which are dropped.",
    "answer-elsewhere": "The solution cell holds no answer, but a cell that was added may.",
    "active-html": "A text holds HTML that could run a script; it is shown without it.",
    "instructor-mark": "A text holds a mark that only instructors write, such as BEGIN SOLUTION.",
}
"""Findings in the learner's cells."""

TESTS = {
    f"{role}-{what}": says
    for role, name in (("test", "test cell"), ("locked", "given cell"))
    for what, says in (
        ("deleted", f"A {name} is gone."),
        ("edited", f"The text of a {name} was changed."),
        ("duplicated", f"A {name} is there more than once."),
        ("moved", f"A {name} was moved."),
        ("type-changed", f"A {name} was turned into text."),
        ("relabelled", f"nbgrader's settings of a {name} were changed."),
        ("tagged", f"A {name} was given tags."),
    )
}
"""Findings in the instructor's cells. In grading, they are always as the instructor wrote them."""

CODE = {kind: f"{what}." for kind, what in WHAT.items()} | {
    "long-cell": "A cell is too long to be looked through.",
}
"""Findings in the learner's code. It is read, not run, for this; there may be a good reason."""

RUN = {
    "stopped": "A cell was stopped at a limit, or ended its process; the finding says which.",
    "much-output": "More was printed than is kept.",
}
"""Findings while the cells ran."""

MEANING = FILE | ANSWERS | TESTS | CODE | RUN
"""What each kind of finding means, in a sentence."""
