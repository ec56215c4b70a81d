"""Notebooks whose tests, metadata, kinds of cells or order were changed."""

from __future__ import annotations

import copy

import nbformat
from course import cells_by_id
from nbformat import NotebookNode

from hostile.submissions import WRONG, Hostile, attack, changed, tests_of


def _tests_replaced(made: NotebookNode) -> None:
    for cell in tests_of(made):
        cell.source = "print('The tests in this cell pass.')"


def _tests_deleted(made: NotebookNode) -> None:
    gone = tests_of(made)
    made.cells = [cell for cell in made.cells if cell not in gone]


def _tests_tagged(made: NotebookNode) -> None:
    for cell in tests_of(made):
        cell.metadata.tags = ["skip-execution", "raises-exception", "nbgrader-ignore"]


def _tests_as(kind: str) -> object:
    def change(made: NotebookNode) -> None:
        for cell in tests_of(made):
            cell.cell_type = kind
            del cell["outputs"], cell["execution_count"]

    return change


def _more_points(made: NotebookNode) -> None:
    for cell in tests_of(made):
        cell.metadata.nbgrader.points = 1000


def _tests_as_answers(made: NotebookNode) -> None:
    for cell in tests_of(made):
        cell.metadata.nbgrader.update(grade=False, solution=True, locked=False)
        cell.source = "pass"


def _answers_as_tests(made: NotebookNode) -> None:
    cells = cells_by_id(made)
    for task in WRONG:
        cells[task].metadata.nbgrader.update(grade=True, points=100, solution=False, locked=True)


def _names_swapped(made: NotebookNode) -> None:
    cells = cells_by_id(made)
    for task in WRONG:
        answer, test = cells[task].metadata.nbgrader, cells[f"test_{task}"].metadata.nbgrader
        answer.grade_id, test.grade_id = test.grade_id, answer.grade_id


def _tests_twice(made: NotebookNode) -> None:
    for cell in tests_of(made):
        twin = copy.deepcopy(cell)
        twin.source = "assert True"
        made.cells.append(twin)


def _answers_after_tests(made: NotebookNode) -> None:
    for task in WRONG:
        twin = copy.deepcopy(cells_by_id(made)[task])
        twin.source = "from mha_course import grading\ngrading.check_tensor = print"
        made.cells.append(twin)


def _tests_first(made: NotebookNode) -> None:
    tests = tests_of(made)
    made.cells = tests + [cell for cell in made.cells if cell not in tests]


def _backwards(made: NotebookNode) -> None:
    made.cells.reverse()


def _outputs_faked(made: NotebookNode) -> None:
    for cell in tests_of(made):
        cell.execution_count = 1
        cell.outputs = [
            nbformat.v4.new_output("execute_result", data={"text/plain": "3.0"}, execution_count=1)
        ]


def _graded_cells_added(made: NotebookNode) -> None:
    for number in range(3):
        cell = nbformat.v4.new_code_cell("100")
        cell.metadata.nbgrader = {
            "grade": True, "grade_id": f"test_bonus_{number}", "locked": True, "points": 100,
            "schema_version": 3, "solution": False, "task": False,
        }  # fmt: skip
        made.cells.append(cell)


def _checksums_faked(made: NotebookNode) -> None:
    for cell in cells_by_id(made).values():
        cell.metadata.nbgrader.checksum = "0" * 32
        cell.metadata.nbgrader.schema_version = 999


def _marks(made: NotebookNode) -> None:
    for task in WRONG:
        cell = cells_by_id(made)[task]
        cell.source = f"### BEGIN HIDDEN TESTS\n{cell.source}\n### END HIDDEN TESTS"


def _setup_edited(made: NotebookNode) -> None:
    cell = cells_by_id(made)["setup"]
    cell.source += "\nfrom mha_course import grading\ngrading.check_tensor = print"


def _metadata_of_the_notebook(made: NotebookNode) -> None:
    made.metadata = {
        "mha_course": {"student_seed": "0" * 32},
        "kernelspec": {"name": "bash", "display_name": "Bash", "language": "bash"},
        "celltoolbar": "Create Assignment",
    }


def _metadata_gone(made: NotebookNode) -> None:
    for cell in made.cells:
        cell.metadata = {}


def _ids_all_alike(made: NotebookNode) -> None:
    for cell in made.cells:
        cell.id = "one"


def _metadata_of_other_types(made: NotebookNode) -> None:
    for cell in tests_of(made):
        cell.metadata = {"nbgrader": [cell.metadata.nbgrader], "tags": {"skip-execution": True}}
    made.cells[-1].metadata = "none"


def _magic(made: NotebookNode) -> None:
    for task in WRONG:
        cells_by_id(made)[task].source = "%%script true\nraise SystemExit"


BANK = [
    Hostile(
        "tests replaced",
        "Tests that print that they pass.",
        changed(_tests_replaced),
        findings=("test-edited",),
    ),
    Hostile(
        "tests deleted",
        "A notebook without tests.",
        changed(_tests_deleted),
        findings=("test-deleted",),
    ),
    Hostile(
        "tests tagged",
        "Tags that tell nbconvert to skip a cell, or to expect its error.",
        changed(_tests_tagged),
        findings=("test-tagged",),
    ),
    Hostile(
        "tests as markdown",
        "Tests that are text, and text cannot fail.",
        changed(_tests_as("markdown")),
        findings=("test-type-changed",),
    ),
    Hostile(
        "tests as raw cells",
        "Tests that nothing runs.",
        changed(_tests_as("raw")),
        findings=("test-type-changed",),
    ),
    Hostile(
        "more points",
        "Tests that give a thousand points each.",
        changed(_more_points),
        findings=("test-relabelled",),
    ),
    Hostile(
        "tests as answers",
        "Tests that say they are the learner's own cells.",
        changed(_tests_as_answers),
        findings=("test-relabelled", "test-edited"),
    ),
    Hostile(
        "answers as tests",
        "Answers that say they are tests, which they pass.",
        changed(_answers_as_tests),
        findings=("solution-relabelled",),
    ),
    Hostile(
        "names swapped",
        "Each answer bears the name of its test, and the test that of the answer.",
        changed(_names_swapped),
        findings=("test-edited",),
    ),
    Hostile(
        "tests twice",
        "A second cell of the same name, which nbgrader would take for the test.",
        changed(_tests_twice),
        findings=("test-duplicated",),
    ),
    Hostile(
        "answers after the tests",
        "Second answers below all tests, which change the checks.",
        changed(_answers_after_tests),
        findings=("solution-duplicated",),
    ),
    Hostile(
        "tests first",
        "Tests that run before there is anything to test.",
        changed(_tests_first),
        findings=("test-moved",),
    ),
    Hostile(
        "backwards",
        "All cells in the opposite order.",
        changed(_backwards),
        findings=("test-moved",),
    ),
    Hostile(
        "outputs faked",
        "Tests that seem to have run, and to have given three points each.",
        changed(_outputs_faked),
    ),
    Hostile(
        "graded cells added",
        "Tests of their own, of a hundred points each.",
        changed(_graded_cells_added),
    ),
    Hostile(
        "checksums faked",
        "Checksums and versions that are not nbgrader's.",
        changed(_checksums_faked),
    ),
    Hostile(
        "marks",
        "Answers between the marks of hidden tests, so that they vanish from the feedback.",
        changed(_marks),
        findings=("instructor-mark",),
    ),
    Hostile(
        "setup edited",
        "A locked cell that changes the checks.",
        changed(_setup_edited),
        findings=("locked-edited",),
    ),
    Hostile(
        "metadata of the notebook",
        "A known seed for the hidden tests, and Bash for a kernel.",
        changed(_metadata_of_the_notebook),
        findings=("other-language",),
    ),
    Hostile(
        "metadata gone",
        "No cell says what it is: nbgrader would find nothing that fails.",
        changed(_metadata_gone),
        findings=("metadata-lost",),
    ),
    Hostile("ids all alike", "The same id for every cell.", changed(_ids_all_alike)),
    Hostile(
        "metadata of other types",
        "Lists and words where nbgrader expects a dictionary.",
        changed(_metadata_of_other_types),
        findings=("metadata-lost",),
    ),
    Hostile("magic", "Answers that IPython hands to a program.", changed(_magic)),
    Hostile(
        "tests answered by cells of the same name",
        "Functions named like the helpers of the tests, and wide tolerances.",
        attack(
            """
            def check_head_dim(*_, **__): pass
            check_head_dim_refuses = check_attention_weights = check_attend = check_head_dim
            check_mean_pattern = check_split_heads = check_merge_heads = check_head_dim
            check_multi_head = check_head_contributions = check_price = check_head_dim
            RTOL = ATOL = RTOL_NUMBER = float("inf")
            print("attacked")
            """
        ),
    ),
]
