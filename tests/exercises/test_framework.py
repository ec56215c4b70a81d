"""What the audit of the exercises rests on: reading, running, drawing, mutating, seeding."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import nbformat
import pytest
import torch
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from mha_course import cli
from mha_course.autograder.seeds import SECRET_FILE, SECRET_VARIABLE, course_secret, student_seed
from mha_course.grading.assignment import Assignment, read_assignment, read_assignments
from mha_course.grading.audit import audit
from mha_course.grading.bank import Bank, Right, Wrong, generic, read_bank, zeros
from mha_course.grading.fixtures import SEED_VARIABLE, Draw, drawn
from mha_course.grading.sitting import sit, without_hidden_tests
from mha_course.grading.source_mutants import source_mutants

CARD = """## Task 1 · Twice

**2 points** · difficulty: easy · importance: high · about 4 minutes

**You need:** nothing

<details><summary>Hint 1: a nudge</summary>

Add.

</details>
"""
SOLUTION = """def twice(x):
    ### BEGIN SOLUTION
    return 2 * x
    ### END SOLUTION"""
TEST = """from mha_course import grading

def check_twice(x):
    grading.check_number(twice(x), 2 * x, what="twice(x)", read="split-and-merge",
                         mistakes=[grading.Mistake("That is a square.", x * x)])

with grading.task("Task 1", read="split-and-merge"):
    check_twice(3)
    ### BEGIN HIDDEN TESTS
    for draw in grading.drawn("twice", times=2):
        check_twice(*draw.sizes("x", least=5))
    ### END HIDDEN TESTS"""
WRITTEN = """## Written task 1 · Why

**3 points** · difficulty: hard · importance: medium · about 8 minutes

**You need:** task 1
"""


START = """# Numbers

Two tasks: about 12 minutes in all. **Points:** 5."""
ANSWER = """### BEGIN SOLUTION
**Model answer.** Because.

| Points | For |
|---|---|
| 3 | The reason |
### END SOLUTION"""


def cell(kind, source: str, grade_id: str, **metadata):
    marks = {"grade_id": grade_id, "grade": False, "solution": False, "locked": False}
    return kind(source, metadata={"nbgrader": marks | metadata})


def notebook(card: str = CARD, test: str = TEST, points: int = 2):
    made = new_notebook()
    made.cells = [
        cell(new_markdown_cell, START, "start", locked=True),
        cell(new_markdown_cell, card, "card-twice", locked=True),
        cell(new_code_cell, SOLUTION, "twice", solution=True),
        cell(new_code_cell, test, "test_twice", grade=True, locked=True, points=points),
        cell(new_markdown_cell, WRITTEN, "card-why", locked=True),
        cell(new_markdown_cell, ANSWER, "why", grade=True, solution=True, points=3),
    ]
    return made


@pytest.fixture
def course(tmp_path: Path) -> Path:
    """A course folder with one assignment of two tasks, its release and its bank."""
    for folder in ("solutions", "exercises"):
        (tmp_path / folder / "numbers").mkdir(parents=True)
        made = notebook(test=TEST if folder == "solutions" else without_hidden_tests(TEST))
        if folder == "exercises":
            made.cells[2].source = "def twice(x):\n    raise NotImplementedError('not done yet')"
            made.cells[5].source = "*Write your answer here.*"
        nbformat.write(made, tmp_path / folder / "numbers" / "numbers.ipynb")
    (tmp_path / "banks").mkdir()
    (tmp_path / "banks" / "numbers.py").write_text(
        "from mha_course.grading.bank import Right, Wrong\n"
        "def f(body):\n    return 'def twice(x):\\n    return ' + body\n"
        "WRONG = [Wrong('twice', body, f(body), says) for body, says in [\n"
        "    ('x * x', 'a square'), ('x', 'wrong: 3'), ('x + 1', 'wrong: 4'),\n"
        "    ('-2 * x', 'wrong: -6'), ('str(2 * x)', 'of type str')]]\n"
        "RIGHT = [Right('twice', body, f(body)) for body in ('x + x', 'x * 2.0', 'x / 0.5')]\n"
        "EQUIVALENT = {}\n"
    )
    return tmp_path


def numbers(course: Path, folder: str = "solutions") -> Assignment:
    return read_assignment(course / folder / "numbers" / "numbers.ipynb")


# ------------------------------------------------------------------------------ reading


def test_an_assignment_is_read_from_its_notebook(course: Path) -> None:
    (found,) = read_assignments(course / "solutions")
    assert (found.name, found.title, found.points, found.minutes) == ("numbers", "Numbers", 5, 12)
    twice, why = found.tasks
    assert (twice.name, twice.number, twice.title) == ("twice", "Task 1", "Twice")
    assert (twice.points, twice.difficulty, twice.importance) == (2, "easy", "high")
    assert (twice.needs, twice.hints, twice.tests) == (
        "nothing",
        ("Hint 1: a nudge",),
        ("test_twice",),
    )
    assert (why.written, twice.written) == (True, False)
    assert (found.autograded, found.written) == ((twice,), (why,))


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (notebook(card="## Task 1 · Twice\n\nNo facts."), "Task 1: its card lacks the line"),
        (notebook(points=3), "its card says 2 points, its cells give 3"),
        (notebook(card=CARD.replace("easy", "odd")), "difficulty is one of easy, medium, hard"),
        (notebook(card="Just a text."), "Written task 1"),
        (new_notebook(), "the first cell has no heading"),
    ],
    ids=["no facts", "points", "difficulty", "no card", "empty"],
)
def test_an_incomplete_assignment_is_refused(tmp_path: Path, made, says: str) -> None:
    path = tmp_path / "numbers.ipynb"
    nbformat.write(made, path)
    if says == "Written task 1":  # what has no card belongs to no task
        assert [task.number for task in read_assignment(path).tasks] == [says]
        return
    with pytest.raises(ValueError, match=says):
        read_assignment(path)


def test_what_is_no_notebook_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "numbers.ipynb"
    with pytest.raises(FileNotFoundError):
        read_assignment(path)
    path.write_text("not json")
    with pytest.raises(ValueError, match="is not a notebook"):
        read_assignment(path)
    with pytest.raises(ValueError, match="holds no assignment"):
        read_assignments(tmp_path)


# ------------------------------------------------------------------------------ running


def outcome(course: Path, answer, **options):
    return sit(numbers(course), {"twice": answer}, **options)["test_twice"]


def test_the_solution_and_other_right_answers_pass(course: Path) -> None:
    assert sit(numbers(course), {})["test_twice"].passed
    assert outcome(course, "import warnings\ndef twice(x):\n    warnings.warn('w'); return x + x")


def test_a_wrong_answer_fails_with_its_message(course: Path) -> None:
    found = outcome(course, "def twice(x):\n    return x * x")
    assert not found.passed
    assert "That is a square." in found.says
    assert "\n" not in found.says


def test_hidden_tests_run_only_when_asked(course: Path) -> None:
    by_heart = "def twice(x):\n    return 6 if x == 3 else 0"
    assert outcome(course, by_heart, hidden=False).passed
    assert not outcome(course, by_heart).passed


def test_an_error_in_an_answer_stops_nothing(course: Path) -> None:
    for answer in ("def (", "1 / 0", "raise SystemError"):
        assert "was not run" in outcome(course, answer).says


def test_an_endless_loop_ends(course: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mha_course.grading.sitting.SECONDS", 0.2)
    assert not outcome(course, "def twice(x):\n    while True: pass").passed


def test_words_on_stderr_cost_the_points_as_in_nbgrader(course: Path) -> None:
    assignment = numbers(course)
    assignment.cells()["test_twice"].source += "\nimport sys; print('no', file=sys.stderr)"
    found = sit(assignment, {})["test_twice"]
    assert (found.passed, found.says) == (False, "written to stderr: no\n")


def test_an_answer_changes_nothing_for_the_next(course: Path) -> None:
    outcome(
        course,
        "import os, torch\nos.environ['LEFT'] = 'x'\ntorch.set_default_dtype(torch.float64)\n"
        "torch.manual_seed(5)\ntorch.set_grad_enabled(False)\ndef twice(x): return 2 * x",
    )
    assert "LEFT" not in os.environ
    assert torch.get_default_dtype() == torch.float32
    assert torch.is_grad_enabled()


# ------------------------------------------------------------------------------ drawing


def test_sizes_are_pairwise_different_and_lengths_are_odd() -> None:
    for number in range(200):
        B, T_q, T_k, h = Draw(f"seed {number}").sizes("B T_q T_k h", least=2, most=6)
        assert len({B, T_q, T_k, h}) == 4
        assert {T_q, T_k} == {3, 5}
        assert all(2 <= size <= 6 for size in (B, h))


def test_draws_depend_on_student_task_and_number_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def values(task: str) -> list[float]:
        return [float(draw.tensors((3,))[0].sum()) for draw in drawn(task, times=3)]

    monkeypatch.delenv(SEED_VARIABLE, raising=False)
    everyone = values("attend")
    torch.manual_seed(99)
    assert values("attend") == everyone
    assert len(set(everyone)) == 3
    assert values("split_heads") != everyone
    monkeypatch.setenv(SEED_VARIABLE, "ada")
    ada = values("attend")
    monkeypatch.setenv(SEED_VARIABLE, "bob")
    assert len({*everyone, *ada, *values("attend")}) == 9


# ------------------------------------------------------------------------------- seeds


def test_a_seed_belongs_to_one_student_assignment_and_secret() -> None:
    seeds = {
        student_seed(secret, assignment, student)
        for secret in ("one", "two")
        for assignment, student in (("heads", "ada"), ("heads", "bob"), ("head", "sada"))
    }
    assert len(seeds) == 6
    assert all(len(seed) == 32 and int(seed, 16) >= 0 for seed in seeds)


def test_a_secret_is_made_once_and_for_its_owner_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(SECRET_VARIABLE, raising=False)
    secret = course_secret(tmp_path)
    assert len(secret) == 64
    assert course_secret(tmp_path) == secret
    mode = stat.S_IMODE((tmp_path / SECRET_FILE).stat().st_mode)
    assert mode == 0o600 or os.name == "nt"
    monkeypatch.setenv(SECRET_VARIABLE, "from outside")
    assert course_secret(tmp_path) == "from outside"


def test_an_empty_secret_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SECRET_VARIABLE, raising=False)
    (tmp_path / SECRET_FILE).write_text("\n")
    with pytest.raises(ValueError, match="is empty; put the course's secret back"):
        course_secret(tmp_path)


# ----------------------------------------------------------------------------- mutants


@pytest.mark.parametrize(
    ("source", "changes"),
    [
        ("a + b", {"a + b → a - b"}),
        ("x.sum(dim=-1)", {"x.sum → x.mean", "x.sum(dim=-1) → x.sum()", "-1 → +1", "1 → 2"}),
        ("a < b", {"a < b → a <= b"}),
        ("x[1:n]", {"1:n → :n", "1:n → 1:", "1 → 2"}),
        ("not a and b", {"not a and b → not a or b", "not a → +a"}),
        ('"text"', set()),
    ],
)
def test_mutants_of_an_expression(source: str, changes: set[str]) -> None:
    found = list(source_mutants(f"result = {source}"))
    assert {m.change for m in found} >= changes
    for mutant in found:
        compile(mutant.source, "mutant", "exec")


def test_mutants_of_statements_leave_docstrings_alone() -> None:
    source = 'def f(x):\n    """Words."""\n    y = x\n    if x:\n        y = 0\n    return y'
    found = list(source_mutants(source))
    assert all('"""Words."""' in mutant.source for mutant in found)
    assert any("if True" in mutant.source for mutant in found)
    assert any("if False" in mutant.source for mutant in found)
    assert any("y = x" not in mutant.source for mutant in found)
    assert len({mutant.source for mutant in found}) == len(found)


# ------------------------------------------------------------------------------- audit


def bank(course: Path) -> Bank:
    return read_bank(course / "banks" / "numbers.py")


def test_a_good_assignment_passes_its_audit(course: Path) -> None:
    found = audit(numbers(course), numbers(course, "exercises"), bank(course))
    assert (found.problems, found.survivors) == ([], [])
    assert (found.right, found.wrong) == (4, 5 + 6)
    assert found.mutants == found.killed > 1


def problems(course: Path, changed: Bank) -> str:
    found = audit(numbers(course), numbers(course, "exercises"), changed, mutate=False)
    return "\n".join(found.problems)


def test_the_audit_sees_what_is_wrong_with_a_bank(course: Path) -> None:
    good = bank(course)
    more = [*good.wrong, Wrong("twice", "none", "def twice(x):\n    return x + x", "wrong")]
    assert "twice, wrong (none): test_twice passes" in problems(course, good._replace(wrong=more))
    more = [*good.wrong, Wrong("twice", "late", "def twice(x):\n    return 6", "wrong")]
    assert "no visible test says 'wrong'" in problems(course, good._replace(wrong=more))
    more = [*good.right, Right("twice", "none", "def twice(x):\n    return x * x")]
    assert "twice, right (none): test_twice fails" in problems(course, good._replace(right=more))
    assert "has 4 wrong and 3 right" in problems(course, good._replace(wrong=good.wrong[1:]))
    more = [*good.wrong, Wrong("thrice", "none", "1", "wrong")]
    assert "answers to thrice, which is no task" in problems(course, good._replace(wrong=more))


def test_the_audit_sees_a_weak_test(course: Path) -> None:
    assignment = numbers(course)
    test = assignment.cells()["test_twice"]
    test.source = test.source.replace("check_twice(3)", "assert twice(3) > 0")
    test.source = without_hidden_tests(test.source)
    found = audit(assignment, numbers(course, "exercises"), bank(course)._replace(wrong=[]))
    said = "\n".join(found.problems)
    assert "twice, wrong (hard-coded): test_twice passes" in said
    assert found.survivors
    assert found.score < 1


def test_an_explanation_must_explain_a_survivor(course: Path) -> None:
    odd = bank(course)._replace(equivalent={"twice: 2 → 3": "no reason"})
    found = audit(numbers(course), numbers(course, "exercises"), odd)
    assert found.problems == ["EQUIVALENT names what is no surviving mutant: twice: 2 → 3"]


def test_answers_that_are_wrong_for_every_task(course: Path) -> None:
    (task,) = numbers(course).autograded
    found = generic(numbers(course), numbers(course, "exercises"), task)
    assert set(found) == {"blank", "syntax error", "exception", "None", "zeros", "hard-coded"}
    for answer in found.values():
        assert not sit(numbers(course), {"twice": answer})["test_twice"].passed
    assert sit(numbers(course), {"twice": found["hard-coded"]}, hidden=False)["test_twice"].passed


def test_zeros_keep_the_shape() -> None:
    made = zeros({"a": [torch.ones(2, 3), 4, 2.5, "x"], "b": (True, None)})
    assert torch.equal(made["a"][0], torch.zeros(2, 3))
    assert made["a"][1:] == [0, 0.0, ""]
    assert made["b"] == (False, None)


def test_a_bank_must_be_whole(tmp_path: Path) -> None:
    (tmp_path / "numbers.py").write_text("WRONG = []")
    with pytest.raises(ValueError, match="does not define RIGHT, EQUIVALENT"):
        read_bank(tmp_path / "numbers.py")


# ------------------------------------------------------------------------ command line


def command(course: Path, *arguments: str) -> int:
    folders = {"solutions": "solutions", "exercises": "exercises", "banks": "banks"}
    options = [word for name, sub in folders.items() for word in (f"--{name}", str(course / sub))]
    return cli.main(["audit-exercises", *arguments, *options])


def test_the_command_prints_a_table(course: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(course) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:3] == ["assignment", "tasks", "written"]
    assert lines[1].split() == ["numbers", "1", "1", "5", "12", "11", "4", "2", "100.0%"]
    assert lines[2].split()[0] == "all"


def test_the_command_fails_where_a_problem_is(
    course: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (course / "banks" / "numbers.py").read_text()
    (course / "banks" / "numbers.py").write_text(text.replace("'a square'", "'a cube'"))
    assert command(course, "numbers", "--no-mutants") == 1
    assert "problem: numbers: twice, wrong (x * x)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("letters",), "no assignment 'letters'; there are numbers"),
        (("--solutions", "nowhere"), "nowhere holds no assignment"),
        (("--banks", "nowhere"), "nowhere/numbers.py"),
    ],
)
def test_wrong_use_is_explained(
    course: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], says: str
) -> None:
    options = ["--solutions", str(course / "solutions"), "--exercises", str(course / "exercises")]
    options += ["--banks", str(course / "banks")]
    assert cli.main(["audit-exercises", *options, *arguments]) == 2
    assert says in capsys.readouterr().err


# ------------------------------------------------------------- the learner's own check


def check(course: Path, answer: str, written: str, capsys: pytest.CaptureFixture[str]):
    """Hand an answer to the command; return its exit code and what it printed."""
    path = course / "exercises" / "numbers" / "numbers.ipynb"
    made = nbformat.read(path, as_version=4)
    if answer:
        made.cells[2].source = answer
    made.cells[5].source = written
    nbformat.write(made, path)
    before = path.read_bytes()
    code = cli.main(["check", str(path)])
    assert path.read_bytes() == before
    return code, capsys.readouterr().out


def test_check_says_what_is_to_be_done(course: Path, capsys) -> None:
    code, said = check(course, "", "Because.", capsys)
    assert code == 1
    assert "✗    0/2  Task 1 · Twice\n          not done yet\n" in said
    assert "0 of 2 points by the tests that you see" in said


def test_check_names_a_mistake_and_links_to_the_book(course: Path, capsys) -> None:
    (course / "_build" / "html").mkdir(parents=True)
    (course / "_build" / "html" / "index.html").touch()
    code, said = check(course, "def twice(x):\n    return x * x", "Because.", capsys)
    assert code == 1
    assert "Likely mistake: That is a square." in said
    page = course / "_build" / "html" / "chapters" / "cutting-d-model-into-heads.html"
    assert f"Read: {page.as_uri()}#split-and-merge" in " ".join(said.split())
    assert "MHA_BOOK_URL" not in os.environ


def test_check_is_content_with_what_passes(course: Path, capsys) -> None:
    code, said = check(course, "def twice(x):\n    return x + x", "My own words.", capsys)
    assert code == 0
    assert "✓    2/2  Task 1 · Twice" in said
    assert "·    –/3  Written task 1 · Why\n          written; your instructor reads it" in said


def test_check_of_what_is_no_exercise(course: Path, capsys) -> None:
    (course / "other.ipynb").write_text("{}")
    assert cli.main(["check", str(course / "other.ipynb")]) == 2
    assert "is not a notebook" in capsys.readouterr().err
    assert cli.main(["check", str(course / "nowhere.ipynb")]) == 2
    assert "nowhere.ipynb" in capsys.readouterr().err
