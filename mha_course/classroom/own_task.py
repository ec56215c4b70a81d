"""A new assignment to start from: one small task that works, one written question, and its bank.

What it makes is complete, and can be released and graded as it is. The audit says what a task of
one's own still needs. Nothing in the package has to be changed for it: the right answer and the
known mistakes stand in the test cell, those that learners must not see among the hidden tests.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from string import Template

import nbformat
from nbformat import NotebookNode

from mha_course.grading.bank import bank_file
from mha_course.whole_file import write_whole

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_LONGEST = 60


def new_task(name: str, solutions: Path, banks: Path | None = None) -> tuple[Path, Path]:
    """Make an assignment's notebook and its bank; return where they are.

    Args:
        name: Of the assignment.
        solutions: Folder of the instructor's notebooks.
        banks: Folder of the banks; by default as in `bank_file`. It is not the notebook's folder:
            what lies there goes to learners.

    Raises:
        ValueError: the name cannot be used, or something of this name is there already.
        FileNotFoundError: there is no folder `solutions`.
        OSError: one of them cannot be written; then none is there.
    """
    if not NAME.fullmatch(name) or len(name) > _LONGEST:
        raise ValueError(
            f"{name!r} cannot be the name of an assignment: take small letters, digits and "
            f"hyphens, such as my-task, {_LONGEST} of them at most"
        )
    if not solutions.is_dir():
        raise FileNotFoundError(2, "no such folder", str(solutions))
    notebook = solutions / name / f"{name}.ipynb"
    bank = bank_file(name, banks)
    for one in (notebook.parent, bank):
        if one.exists():
            raise ValueError(f"{one} exists, and was left as it is; take another name")
    bank.parent.mkdir(parents=True, exist_ok=True)
    notebook.parent.mkdir()
    try:
        with notebook.open("x", encoding="utf-8") as file:
            nbformat.write(_notebook(), file)
        write_whole(bank, _BANK.substitute(name=name).encode())
    except BaseException:  # else, the same command would be refused: the name is taken
        shutil.rmtree(notebook.parent)
        raise
    return notebook, bank


def _notebook() -> NotebookNode:
    cells = [_given("start", _START), _code("setup", _SETUP)]
    cells += [_given("card-head-of-column", _CARD)]
    cells += [_code("head_of_column", _SOLUTION, solution=True)]
    cells += [_code("test_head_of_column", _TEST, points=2)]
    cells += [_given("card-order-of-heads", _WRITTEN_CARD)]
    cells += [_cell("markdown", "order_of_heads", _WRITTEN, solution=True, points=2)]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    notebook: NotebookNode = nbformat.v4.new_notebook(cells=cells, metadata=metadata)
    return notebook


def _given(name: str, source: str) -> NotebookNode:
    return _cell("markdown", name, source)


def _code(name: str, source: str, *, solution: bool = False, points: int = 0) -> NotebookNode:
    return _cell("code", name, source, solution=solution, points=points)


def _cell(
    kind: str, name: str, source: str, *, solution: bool = False, points: int = 0
) -> NotebookNode:
    """Return a cell with what nbgrader has to know of it."""
    known = {"grade": bool(points), "grade_id": name, "locked": not solution, "schema_version": 3}
    known |= {"solution": solution, "task": False} | ({"points": points} if points else {})
    make = nbformat.v4.new_code_cell if kind == "code" else nbformat.v4.new_markdown_cell
    cell: NotebookNode = make(
        source.strip(), id=name.replace("_", "-"), metadata={"nbgrader": known}
    )
    return cell


_START = """
# A task of our own

*For you who write it: put your own words here, and change title, card, solution, tests and question
one after the other. Then take this paragraph out.*

- **Time:** about 13 minutes in all; every task says how long it takes.
- **Points:** 4. The tests give 2 for the task; your instructor gives 2 for the written one.

## How to work

Read a card, write your code below it, run your cell, then run the test cell under it. When all is
done, choose **Kernel → Restart Kernel and Run All Cells**, then press **Validate**.

The tests that you see are not all: when your work is graded, the same function also meets other
sizes. In grading, `mha_course` has only what this notebook imports: what a task asks for is yours
to write.
"""

_SETUP = """
import torch

print(f"Ready, with torch {torch.__version__}")
"""

_CARD = """
## Task 1 · Whose column is it?

**2 points** · difficulty: easy · importance: medium · about 5 minutes

**You need:** what merging the heads does

The outputs of all heads stand side by side: the columns of head 0, then those of head 1, and so on.
Write `head_of_column(column, d_model, num_heads)`. It returns the number of the head that a column
comes from, as an `int`. Columns and heads are counted from 0, and `num_heads` divides `d_model`.

**Example.** With d_model = 6 and 2 heads, columns 0, 1 and 2 come from head 0, and columns 3, 4 and
5 from head 1.

<details><summary>Hint 1: a nudge</summary>

How many columns does one head have?

</details>
<details><summary>Hint 2: the approach</summary>

Count how many whole heads stand to the left of the column.

</details>
<details><summary>Hint 3: nearly there</summary>

With `d_head = d_model // num_heads`, divide the column by `d_head`, and drop the rest.

</details>
"""

_SOLUTION = '''
def head_of_column(column, d_model, num_heads):
    """Return the number of the head that a column of the merged heads comes from."""
    ### BEGIN SOLUTION
    # The usual slip is the remainder, which is the place of the column within its head.
    d_head = d_model // num_heads
    return column // d_head
    ### END SOLUTION
'''

# What learners see holds numbers, and no rule to copy: the rule stands in the hidden part.
_TEST = """
from mha_course import grading


def check_head_of_column(column, d_model, num_heads, *, right, place, in_turn):
    grading.check_number(
        head_of_column(column, d_model, num_heads),
        right,
        whole=True,
        what=f"head_of_column({column}, {d_model}, {num_heads})",
        read="split-and-merge",
        mistakes=[
            grading.Mistake(
                "That is the place of the column within its head: the remainder of the division.",
                place,
            ),
            grading.Mistake(
                "The heads are taken in turn, column by column. The columns of one head are "
                "neighbours.",
                in_turn,
            ),
            grading.Mistake("The heads are counted from 1; the first one is head 0.", right + 1),
        ],
        hint="Write the numbers of the heads above the columns of the example.",
    )


with grading.task(
    "Task 1",
    read="split-and-merge",
    shows="d_head neighbouring columns belong to one head.",
):
    # the right answer, then what two known mistakes lead to: no two of them the same
    check_head_of_column(17, 24, 4, right=2, place=5, in_turn=1)
    check_head_of_column(13, 15, 5, right=4, place=1, in_turn=3)
    ### BEGIN HIDDEN TESTS
    for draw in grading.drawn("head_of_column", times=5):
        num_heads, d_head = draw.sizes("num_heads d_head", least=3)
        column = draw.random.randrange(d_head, num_heads * d_head)
        check_head_of_column(
            column,
            num_heads * d_head,
            num_heads,
            right=column // d_head,
            place=column % d_head,
            in_turn=column % num_heads,
        )
    ### END HIDDEN TESTS
"""

_WRITTEN_CARD = """
## Written task 1 · Another order

**2 points** · difficulty: medium · importance: medium · about 8 minutes

**You need:** task 1

Somebody stores the heads of a layer in another order. Does the layer still compute the same, and
what else must change with them? Answer in two to four sentences.

**What a good answer looks like.** It names the matrix that reads the merged columns, and says which
part of it belongs to a head.
"""

_WRITTEN = """
### BEGIN SOLUTION
**Model answer.** The heads do not know each other: their outputs are put side by side, and W_O adds
up what it makes of each. The layer computes the same in any order, if the d_head rows of W_O that
belong to a head move along with it. With W_O left as it was, each head meets the rows of another,
and the output is wrong, although no shape tells.

| Points | For |
|---|---|
| 1 | The order as such does not matter, with a reason: W_O makes a sum over heads |
| 1 | The rows of W_O that belong to a head have to move with it |
### END SOLUTION
"""

_BANK = Template('''"""Answers to `$name` that test its tests. Learners never get them.

    nbgrader generate_assignment $name
    mha-course audit-exercises $name
"""

from mha_course.grading.bank import Right, Wrong

# At least five wrong answers to a task: its name, what the learner believes, the code, and words
# that the message of a visible test must hold.
WRONG = [
    Wrong(
        "head_of_column",
        "takes the remainder",
        """
        def head_of_column(column, d_model, num_heads):
            return column % (d_model // num_heads)
        """,
        "place of the column within its head",
    ),
    Wrong(
        "head_of_column",
        "deals the columns out like cards",
        "head_of_column = lambda column, d_model, num_heads: column % num_heads",
        "in turn",
    ),
]

# At least three right answers in other styles: no test may ask for one style.
RIGHT = [
    Right(
        "head_of_column",
        "walks along the columns",
        """
        def head_of_column(column, d_model, num_heads):
            head = 0
            while column >= d_model // num_heads:
                head, column = head + 1, column - d_model // num_heads
            return head
        """,
    ),
]

# Changes to a solution that no test can tell from it, as the audit names them, with the reason.
EQUIVALENT = {}
''')
