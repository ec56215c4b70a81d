"""Judging in another process: the same verdicts as in one, and no way to sway them."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from mha_course.autograder import learner
from mha_course.autograder.judge import Judge, Limits, TestOutcome
from mha_course.autograder.wire import Channel, encode
from mha_course.grading.assignment import Assignment, read_assignments
from mha_course.grading.bank import bank_file, read_bank
from mha_course.grading.sitting import sit, without_markers

REPOSITORY = Path(__file__).parents[2]
ASSIGNMENTS = {one.name: one for one in read_assignments(REPOSITORY / "solutions")}
SHORT = Limits(cell=4.0, grace=0.5, total=60.0, callbacks=50)
EVERY = 3  # answer of a bank; with 1, five minutes: all 765 answers were seen to agree
Serve = Callable[[socket.socket], None]


@contextlib.contextmanager
def process(serve: Serve = learner.serve) -> Iterator[socket.socket]:
    """Fork a process that serves one end of a connection, and yield the other."""
    here, there = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        try:
            here.close()
            torch.set_num_threads(1)  # a thread pool does not survive a fork
            serve(there)
        finally:
            os._exit(0)
    there.close()
    try:
        with here:
            yield here
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


@pytest.fixture
def judge() -> Iterator[Judge]:
    with Judge(process, SHORT) as one:
        yield one


def judged(
    assignment: Assignment, answers: Mapping[str, str], only: str | None
) -> dict[str, TestOutcome]:
    """As `sit`, with the learner's cells in another process."""
    by_test = {test: task.name for task in assignment.tasks for test in task.tests}
    outcomes = {}
    with contextlib.chdir(assignment.path.parent), Judge(process) as one:
        for cell in assignment.notebook.cells:
            if cell.cell_type != "code":
                continue
            name = cell.metadata.nbgrader.grade_id
            if name not in by_test:
                run = one.run_cell if cell.metadata.nbgrader.solution else one.run_given
                run(answers.get(name, without_markers(cell.source)))
            elif only in (None, by_test[name]):
                outcomes[name] = one.run_test(cell.source)
    return outcomes


@pytest.mark.parametrize("name", ASSIGNMENTS)
def test_verdicts_and_messages_are_those_of_one_process(name: str) -> None:
    assignment = ASSIGNMENTS[name]
    bank = read_bank(bank_file(name, REPOSITORY / "tests" / "exercises"))
    for entry in (None, *bank.wrong[::EVERY], *bank.right[::EVERY]):
        answers, only = ({entry.task: entry.code}, entry.task) if entry else ({}, None)
        alone = sit(assignment, answers, only=only and {only})
        apart = judged(assignment, answers, only)
        for test, outcome in alone.items():
            assert (apart[test].error or "") == outcome.says, entry
            assert (apart[test].error is None) == outcome.passed, entry
        assert alone.keys() == apart.keys()


# What an honest learner's cells and an ordinary test need


def test_cells_give_the_outputs_of_a_notebook(judge: Judge) -> None:
    source = "import sys\nprint('out')\nprint('err', file=sys.stderr)\n2 + 3"
    out, err, result = judge.run_cell(source)
    said = [(one.name, one.text) for one in (out, err)]
    assert said == [("stdout", "out\n"), ("stderr", "err\n")]
    assert result.data == {"text/plain": "5"}
    (doubled,) = judge.run_cell("_ * 2")
    assert doubled.data == {"text/plain": "10"}
    (error,) = judge.run_cell("def half(n):\n    return n / 0\nhalf(1)")
    assert (error.ename, error.evalue) == ("ZeroDivisionError", "division by zero")
    assert "return n / 0" in "\n".join(error.traceback)
    (error,) = judge.run_cell("def (")
    assert error.ename == "SyntaxError"


def test_cells_may_use_commands_of_ipython_and_draw() -> None:
    source = "%matplotlib inline\nimport matplotlib.pyplot as plt\nplt.plot([1, 2]);"
    with Judge(process) as one:
        outputs = one.run_cell(source)
    assert [sorted(one.data) for one in outputs] == [["image/png", "text/plain"]]


def test_html_of_a_learner_is_left_out(judge: Judge) -> None:
    outputs = judge.run_cell("from IPython.display import HTML\nHTML('<script>alert(1)</script>')")
    assert [list(one.data) for one in outputs] == [["text/plain"]]


def test_long_outputs_are_cut(judge: Judge) -> None:
    (output,) = judge.run_cell("print('x' * 10_000_000)")
    assert len(output.text) <= SHORT.text
    judge.run_cell("def loud():\n    print('x' * 10_000_000)")
    outcome = judge.run_test("for _ in range(5):\n    loud()")
    assert outcome.error is None
    assert len(outcome.outputs[0].text) == SHORT.text


def test_an_ordinary_test_works(judge: Judge) -> None:
    judge.run_given("import numpy as np\n\ndef close(a, b):\n    return abs(a - b) < 1e-6")
    judge.run_cell(
        "def mean(values):\n    print('called')\n    return np.mean(values)\ngiven = [1]"
    )
    outcome = judge.run_test(
        "assert close(mean(np.array([1.0, 2.0])), 1.5)\nassert given == [1]\nprint('fine')\n0.5"
    )
    assert outcome.error is None
    assert outcome.score == 0.5
    assert outcome.outputs[0].text == "called\nfine\n"
    assert outcome.outputs[1].data == {"text/plain": "0.5"}


def test_what_a_learner_redefines_leaves_the_tests_alone(judge: Judge) -> None:
    judge.run_given("def close(a, b):\n    return a == b")
    judge.run_cell("import math\nclose = print\nabs = len = sum = print\nmath.isclose = print")
    judge.run_cell("class np:\n    allclose = isclose = print\ntorch = math = np\nanswer = 1")
    for test in ("close(answer, 2)", "math.isclose(answer, 2)", "np.allclose(answer, 2)"):
        assert judge.run_test(f"assert {test}").error == "AssertionError:"
    assert judge.run_test("assert sum([abs(-1), answer]) == 2").error is None


def test_a_warning_costs_no_points(judge: Judge) -> None:
    judge.run_cell("import sys\ndef f():\n    print('careful', file=sys.stderr)\n    return 1")
    outcome = judge.run_test("assert f() == 1")
    assert outcome.error is None
    assert [one.name for one in outcome.outputs] == ["stdout"]
    assert "careful" in outcome.outputs[0].text


def test_a_word_of_a_test_on_stderr_costs_no_points(judge: Judge) -> None:
    outcome = judge.run_test("import sys\nprint('careful', file=sys.stderr)")
    assert [(one.name, one.text) for one in outcome.outputs] == [("stdout", "careful\n")]


def test_a_failing_test_shows_its_line_and_no_hidden_one(judge: Judge) -> None:
    outcome = judge.run_test("x = 1\nassert x == 2, 'not two'")
    assert outcome.error == "AssertionError: not two"
    assert outcome.outputs[0].traceback == [
        "line 2 of this cell: assert x == 2, 'not two'",
        "AssertionError: not two",
    ]
    hidden = "### BEGIN HIDDEN TESTS\nassert 'secret' == 1\n### END HIDDEN TESTS"
    assert "secret" not in str(judge.run_test(hidden).outputs)


def test_exceptions_keep_class_name_and_message(judge: Judge) -> None:
    judge.run_cell(
        "class Odd(ValueError):\n    pass\n"
        "def f(kind):\n    raise {'odd': Odd('m'), 'key': KeyError('k')}[kind]"
    )
    source = "try:\n    f({!r})\nexcept {} as error:\n    print(type(error).__name__, error)"
    for kind, caught, says in (
        ("odd", "ValueError", "Odd m\n"),
        ("key", "KeyError", "KeyError 'k'\n"),
    ):
        outcome = judge.run_test(source.format(kind, caught))
        assert (outcome.error, outcome.outputs[0].text) == (None, says)


def test_functions_of_a_test_are_called_back(judge: Judge) -> None:
    judge.run_cell("def twice(f, x):\n    return f(f(x))\ndef one_more(x):\n    return x + 1")
    assert judge.run_test("assert twice(lambda x: 3 * x, 2) == 18").error is None
    # the function of the test calls the learner's in turn
    assert judge.run_test("assert twice(lambda x: one_more(x), 2) == 4").error is None
    outcome = judge.run_test("def bad(x):\n    raise KeyError(x)\ntwice(bad, 2)")
    assert outcome.error == "KeyError: '2'"


def test_modules_stay_with_the_learner(judge: Judge) -> None:
    judge.run_cell(
        "import torch\nclass Net(torch.nn.Module):\n"
        "    def __init__(self, n):\n        super().__init__()\n"
        "        self.layers = torch.nn.ModuleList([torch.nn.Linear(n, n)])\n"
        "    def forward(self, x):\n        return self.layers[0](x)\n"
        "def size(net):\n    return sum(p.numel() for p in net.parameters())"
    )
    outcome = judge.run_test(
        "net = Net(2)\nstate = {name: torch.ones_like(p) for name, p in net.state_dict().items()}\n"
        "net.load_state_dict(state)\nassert not net.eval().training\n"
        "assert net(torch.ones(1, 2)).tolist() == [[3.0, 3.0]]\n"
        "assert [p.shape for p in net.parameters()] == [(2, 2), (2,)]\n"
        "assert len(net.layers) == 1 and net.layers[0].in_features == 2\n"
        "assert size(net) == 6"
    )
    assert outcome.error is None


def test_the_seed_reaches_the_test_and_not_the_learner(judge: Judge) -> None:
    judge.run_cell("import os\nseen = dict(os.environ)\ndef look():\n    return dict(os.environ)")
    outcome = judge.run_test(
        "import os\nassert os.environ['MHA_STUDENT_SEED'] == 'mine'\n"
        "assert 'MHA_STUDENT_SEED' not in look()\nassert 'MHA_STUDENT_SEED' not in seen",
        seed="mine",
    )
    assert outcome.error is None
    assert "MHA_STUDENT_SEED" not in os.environ


def test_an_endless_loop_ends_and_what_was_defined_stays(judge: Judge) -> None:
    judge.run_cell("ready = 1\ndef f():\n    while True:\n        pass")
    outcome = judge.run_test("f()")
    assert outcome.error == "TimeoutError: the cell ran for more than 4 seconds"
    (output,) = judge.run_cell("kept = 2\nwhile True:\n    pass")
    assert output.ename == "TimeoutError"
    assert judge.run_test("assert ready + kept == 3").error is None


# Submissions that want points without a solution

PASSING = "assert good() == 1"


def attacked(attack: str, test: str = "assert answer() == 5") -> TestOutcome:
    """Judge an attack, and see that a task before it and one after it get their points."""
    begun = time.monotonic()
    with Judge(process, SHORT) as one:
        one.run_cell("def good():\n    return 1")
        assert one.run_test(PASSING).error is None
        one.run_cell(attack)
        outcome = one.run_test(test)
        one.run_cell("def later():\n    return good() + 1")
        assert one.run_test("assert later() == 2").error is None
        assert one.run_test(PASSING).error is None
    assert time.monotonic() - begun < 40
    assert outcome.error, "the attack got the points"
    return outcome


SOCKET = (
    "import gc, os, socket, struct, json\n"
    "mine = next(o for o in gc.get_objects() if type(o).__name__ == '_Learner')\n"
    "wire = mine._channel._connection\n"
    "wire.setblocking(True)\n"
    "def say(data):\n"
    "    wire.sendall(struct.pack('>I', len(data)) + data)\n"
)


@pytest.mark.parametrize(
    ("attack", "says"),
    [
        ("def answer(): os._exit(0)", "ended in the middle"),
        ("def answer(): os.kill(os.getpid(), 9)", "ended in the middle"),
        ("def answer(): wire.close(); return 5", "ended in the middle"),
        ("def answer(): wire.shutdown(socket.SHUT_WR)", "ended in the middle"),
        ("def answer(): wire.sendall(b'GET / HTTP/1.1'); return 5", "announced"),
        ("def answer(): wire.sendall(b'\\0\\0'); os._exit(0)", "ended in the middle"),
        ("def answer(): wire.sendall(b'\\xff\\xff\\xff\\xff'); return 5", "announced"),
        ("def answer(): say(b'[' * 100_000)", "not JSON"),
        ("def answer(): say(b'{}')", "belongs to no question"),
        ('def answer(): say(b\'{"answers": true, "value": 5}\')', "belongs to no question"),
        ("def answer(): say(b'{\"callback\": 0}')", "not given"),
        ("def answer(): say(b'{\"callback\": -1}')", "not given"),
        ("def answer(): say(b'{\"callback\": [0]}')", "not given"),
        ("def answer(): raise SystemExit", "SystemExit"),
        ("def answer(): raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("def answer(): raise BaseException('out')", "BaseException: out"),
        ("def answer(): return answer()", "RecursionError"),
        (
            "class Mute(Exception):\n    def __str__(self): raise self\ndef answer(): raise Mute",
            "cannot be read",
        ),
        (
            "import signal, time\n"
            "def answer():\n"
            "    signal.signal(signal.SIGALRM, signal.SIG_IGN)\n"
            "    while True: time.sleep(1)",
            "more than 4 seconds",
        ),
        (
            "def answer():\n    while True:\n        try:\n            while True: pass\n"
            "        except BaseException: pass",
            "more than 4 seconds",
        ),
    ],
)
def test_breaking_the_connection_gets_nothing(attack: str, says: str) -> None:
    assert says in str(attacked(SOCKET + attack).error)


@pytest.mark.parametrize(
    "attack",
    [
        "os._exit(0)",
        "os.kill(os.getpid(), 9)",
        "wire.close()",
        "import time, signal\nsignal.signal(signal.SIGALRM, signal.SIG_IGN)\ntime.sleep(99)",
        "json.dumps = json.loads = None\nstruct.pack = None",
        "import torch, safetensors.torch\ntorch.Tensor.__eq__ = torch.equal = lambda *a: True\n"
        "safetensors.torch.save = lambda *a: b'no'",
        "import builtins\nbuiltins.len = None",
        "import threading, time\nthreading.Timer(0.05, os._exit, (0,)).start()\ntime.sleep(0.3)",
    ],
)
def test_breaking_its_own_process_gets_nothing(attack: str) -> None:
    attacked(SOCKET + attack)


ALWAYS = "class Yes{0}:\n" + "".join(
    f"    def __{name}__(self, *a): return {value}\n"
    for name, value in {
        "eq": True, "ne": False, "lt": True, "le": True, "gt": True, "ge": True, "bool": True,
        "float": 5.0, "int": 5, "index": 5, "sub": "self", "rsub": "self", "abs": "self",
        "array": "__import__('numpy').array(5)", "repr": "'5'", "hash": 5, "call": "self",
        "getattr": "self", "getitem": "self", "len": 1,
    }.items()
)  # fmt: skip


@pytest.mark.parametrize(
    "test",
    [
        "assert answer() == 5",
        "assert 5 == answer()",
        "assert not answer() != 5",
        "assert abs(answer() - 5) < 1e-6",
        "assert float(answer()) == 5",
        "assert answer() in (4, 5)",
        "assert torch.equal(answer(), torch.tensor(5))",
        "assert torch.allclose(answer(), torch.tensor(5.0))",
        "assert answer().allclose(torch.tensor(5.0))",
        "assert (answer() == torch.tensor(5)).all()",
        "assert np.allclose(answer(), [5, 5])",
        "assert isinstance(answer(), int)",
        "assert {5: 1}[answer()]",
        "from mha_course import grading as g\ng.check_number(answer(), 5, what='', read='design')",
    ],
)
@pytest.mark.parametrize("base", ["", "(int)", "(float)", "(str)", "(list)", "(dict)"])
def test_objects_that_always_agree_get_nothing(test: str, base: str) -> None:
    if "isinstance" in test and base == "(int)":
        pytest.skip("an int it is: 0 arrives")
    attack = ALWAYS.format(base) + "\ndef answer():\n    return Yes()"
    if not base:
        attack += "\nYes.__class__ = property(lambda s: int)"
    with Judge(process, SHORT) as one:
        one.run_cell(attack)
        assert one.run_test(test).error


def test_a_tuple_with_a_verdict_of_its_own_gets_nothing() -> None:
    attack = (
        "from collections import namedtuple\n"
        "def answer(): return namedtuple('Yes', 'allclose')(lambda *a: True)"
    )
    attacked(attack, "assert answer().allclose(torch.tensor(5.0))")


@pytest.mark.parametrize(
    ("attack", "test"),
    [
        ("v.clear()\n    return 0", "v = [1, 2]\nassert answer(v) == sum(v)"),
        (
            "v.zero_()\n    return v",
            "v = torch.ones(2)\nw = answer(v)\nassert torch.equal(w, 2 * v)",
        ),
        ("v.clear()", "v = [1, 2]\nw = [1, 2]\nanswer(w)\nassert w == [2 * one for one in v]"),
    ],
)
def test_emptying_an_argument_gets_nothing(attack: str, test: str) -> None:
    attacked(f"def answer(v):\n    {attack}", test)


@pytest.mark.parametrize(
    "changed",
    ["5", "[0]", "[[1, [5]]]", "[['a', [5]]]", "[[0, {'!no': 1}]]", "[[0, 5]]", "[[0, 5, 5]]"],
)
def test_lies_about_what_was_changed_get_nothing(changed: str) -> None:
    attack = (
        f"own = mine._answer\nmine._answer = lambda asked: own(asked) | {{'changed': {changed}}}\n"
        "def answer(v): pass"
    )
    attacked(SOCKET + attack, "v = [1]\nanswer(v)\nassert v == [5]")


def test_what_cannot_be_written_to_costs_nobody_the_process(judge: Judge) -> None:
    judge.run_cell("def clear(a):\n    a[:] = 0")
    test = "import numpy as np\na = np.broadcast_to(np.ones(1), 3)\nclear(a)\nassert a[0] == 1"
    assert judge.run_test(test).error is None
    assert judge.run_test("import torch\na = torch.ones(1).expand(3)\nclear(a)").error is None


def test_only_the_instructors_solution_says_which_names_are_the_learners(judge: Judge) -> None:
    judge.run_given("cases = [(1, 1)]\ndef close(a, b):\n    return a == b")
    judge.run_test("expected = 1\ndef same(a):\n    return a")
    attack = "cases, expected, close, same = [], 2, print, print\nanswer = 2"
    judge.run_cell(attack, solution="answer = 1")
    for test in ("assert not cases", "assert answer == expected", "assert close(answer, 1)"):
        assert judge.run_test(test).error, test
    judge.run_cell(
        attack, solution="expected = answer = 1\ncases.append(2)\ndef same(a):\n    pass"
    )
    for test in ("assert not cases", "assert answer == expected", "assert same(1) is None"):
        assert judge.run_test(test).error is None, test
    assert judge.run_test("assert close(answer, 1)").error


def test_the_learners_code_calls_what_a_test_has_put_in_place(judge: Judge) -> None:
    judge.run_cell("def one():\n    return 1\ndef two():\n    return one() + one()")
    judge.run_test("kept = one\ndef one():\n    return 5\nassert two() == 10\none = kept")
    assert judge.run_test("assert (one(), two()) == (1, 2)").error is None
    test = "kept = one\ndel one\ntry:\n    two()\nexcept NameError:\n    print('used')\none = kept"
    assert judge.run_test(test).outputs[0].text == "used\n"
    assert judge.run_test("assert two() == 2").error is None


def test_an_object_that_looks_like_a_number_is_no_score(judge: Judge) -> None:
    judge.run_cell("class One:\n    def __repr__(self): return '1'\n    __float__ = lambda s: 1.0")
    outcome = judge.run_test("One()")
    assert outcome.score is None
    assert outcome.outputs[0].data == {"text/plain": "<One>"}


def test_a_test_that_catches_everything_does_not_pass_without_the_learner() -> None:
    for kind in ("Exception", "BaseException"):
        attacked(
            "import os\ndef answer():\n    os._exit(0)",
            f"try:\n    answer()\nexcept {kind}:\n    pass",
        )


def test_answering_twice_gets_nothing() -> None:
    twice = "def answer():\n    say(json.dumps({'answers': 99, 'value': 5}).encode())\n    return 5"
    assert "no question" in str(attacked(SOCKET + twice).error)


def test_endless_calls_back_get_nothing() -> None:
    attack = "def answer(f):\n    while True:\n        try: f()\n        except Exception: pass"
    assert "calls the test's functions" in str(attacked(attack, "answer(lambda: 1)").error)
    deep = "def answer(f):\n    return f(f)"
    outcome = attacked(deep, "def f(g):\n    return answer(f)\nanswer(f)")
    assert "calls the test's functions" in str(outcome.error)


def test_what_a_test_lent_is_taken_back() -> None:
    with Judge(process, SHORT) as one:
        one.run_cell(
            "kept = []\ndef keep(f):\n    kept.append(f)\ndef use():\n    return kept[0]()"
        )
        assert one.run_test("keep(lambda: 'secret')").error is None
        assert "not given" in str(one.run_test("assert use() == 'secret'").error)


def test_the_names_of_the_tests_cannot_be_read(judge: Judge) -> None:
    judge.run_cell(
        "import gc, sys\n"
        "def look(f):\n"
        "    seen = [repr([vars(f), f.__defaults__, f.__code__.co_consts])]\n"
        "    seen += [repr([one.cell_contents for one in f.__closure__])]\n"
        "    seen += [one for d in gc.get_objects() if type(d) is dict\n"
        "             for one in list(d.values()) if type(one) is str]\n"
        "    return [one[:9] for one in ' '.join(seen).split('right-')]\n"
    )
    outcome = judge.run_test(
        "import random\nright = 'right-' + str(random.SystemRandom().randint(10**8, 10**9 - 1))\n"
        "found = look(lambda given=right: right)\nassert found and right[6:] not in found"
    )
    assert outcome.error is None


def test_a_process_that_encodes_lies_gets_nothing(judge: Judge) -> None:
    judge.run_cell("import mha_course.autograder.wire as w\nw.encode = lambda *a: {'!tensor': 'x'}")
    judge.run_cell("answer = 5")
    assert "no answer" in str(judge.run_test("assert answer == 5").error)


def test_a_submission_has_a_time_in_all() -> None:
    begun = time.monotonic()
    with Judge(process, Limits(cell=1.0, grace=0.2, total=2.0)) as one:
        for _ in range(5):
            one.run_cell("while True: pass")
        outcome = one.run_test("pass")
    assert "for the whole submission are over" in str(outcome.error)
    assert time.monotonic() - begun < 4


def test_the_trouble_of_a_server_is_no_ones_grade() -> None:
    def connect() -> contextlib.AbstractContextManager[socket.socket]:
        raise ConnectionRefusedError("no server")

    one = Judge(connect)
    with pytest.raises(ConnectionRefusedError):
        one.run_test("pass")


# Processes that do not even begin as ours do


def speaking(answer: Callable[[dict[str, Any]], object]) -> Serve:
    """Return a process that answers every question with the JSON of `answer`."""

    def serve(connection: socket.socket) -> None:
        channel = Channel(connection)
        while True:
            asked = channel.receive()
            channel.send({"answers": asked["number"], "outputs": []} | answer(asked))  # type: ignore[operator]

    return serve


def mute(connection: socket.socket) -> None:
    connection.sendall(struct.pack(">I", 100))
    time.sleep(60)


def gone(connection: socket.socket) -> None:
    connection.close()


def babbling(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            connection.sendall(os.urandom(1000))


@pytest.mark.parametrize(
    "serve",
    [
        mute,
        gone,
        babbling,
        speaking(lambda _: {"value": {"!tensor": "AAAA"}}),
        speaking(lambda _: {"value": {"!object": 3}}),
        speaking(lambda _: {"value": [{"!object": -3, "type": "int", "shown": "5"}]}),
        speaking(lambda _: {"value": [{"!object": 3, "type": 5, "shown": 5}]}),
        speaking(lambda _: {"value": [{"!object": 3, "type": "int", "shown": "5"}]}),
        speaking(lambda _: {"value": [], "outputs": None}),
        speaking(lambda _: {"value": [], "outputs": [{"output_type": "update"}]}),
        speaking(lambda _: {"value": [], "outputs": [{"output_type": "stream", "name": "x"}]}),
        speaking(lambda _: {"error": None}),
        speaking(lambda _: {"error": {"classes": [], "message": 3, "frames": []}}),
        speaking(lambda _: {"error": {"classes": ["eval"], "message": "m", "frames": [[1]]}}),
        speaking(
            lambda _: {
                "error": {
                    "classes": ["x y", "ExceptionGroup", "UnicodeDecodeError"],
                    "message": "\ud800",
                    "frames": [[1, 10**9, "f"], [2, 3, "a b"], [-1, "1", None]],
                }
            }
        ),
        speaking(lambda _: {"value": [encode([0] * 1000, dict)] * 900}),
    ],
)
def test_processes_that_are_none_of_ours_get_nothing(serve: Serve) -> None:
    begun = time.monotonic()
    with Judge(lambda: process(serve), SHORT._replace(cell=2.0, total=6.0)) as one:
        one.run_cell("answer = 5")
        outcome = one.run_test("assert answer == 5")
    assert outcome.error
    assert outcome.outputs[-1].output_type == "error"
    assert time.monotonic() - begun < 8
