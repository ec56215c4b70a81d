"""What a task asks for is the learner's own: references are out of reach, odd code is seen."""

from __future__ import annotations

import ast
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from textwrap import dedent
from typing import Any

import nbformat
import pytest
import torch
from conftest import require
from course import ASSIGNMENTS, RELEASES, submission
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell
from students import STUDENTS, Student
from torch import Tensor, nn
from torch._higher_order_ops.flex_attention import math_attention
from torch.nn import functional

from mha_course.autograder.findings import Finding
from mha_course.autograder.grader import Grader
from mha_course.autograder.job import Graded, Job, Settings
from mha_course.autograder.judge import Judge
from mha_course.autograder.signs import WHAT, imported, signs
from mha_course.autograder.source_look import (
    MOST_CHARACTERS,
    MOST_IN_ALL,
    asks_for_own_attention,
    look,
)
from mha_course.autograder.warm_server import WarmServer
from mha_course.grading.assignment import grade_id
from mha_course.grading.bank import bank_file, read_bank
from mha_course.grading.diagnosis import Diagnosis
from mha_course.grading.own_work import own_attention
from mha_course.grading.task import task

BANKS = Path(__file__).parents[1] / "exercises"
NOT_THERE = "is not there in graded work: what a task asks for is yours to write"
REFUSED = "torch's own attention refuses while the tests run"


# ---------------------------------------------------------------------------------------------
# Torch's own attention


def qkv(*shape: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(7)
    query, key, value = torch.randn(3, *shape, generator=generator)
    return query, key, value


BOUND_BEFORE = functional.scaled_dot_product_attention
Q = qkv(2, 3, 5, 4)
X = Q[0].flatten(1, 2)[:, :, :4]


def mha(**options: Any) -> Tensor:
    module = nn.MultiheadAttention(4, 2, batch_first=True).eval()
    result: Tensor = module(X, X, X, **options)[0]
    return result


def in_a_thread() -> Tensor:
    found: list[Any] = []

    def work() -> None:
        try:
            found.append(BOUND_BEFORE(*Q))
        except RuntimeError as error:
            found.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if isinstance(found[0], RuntimeError):
        raise found[0]
    result: Tensor = found[0]
    return result


def inference(function: Callable[[], Tensor]) -> Tensor:
    with torch.inference_mode():
        return function()


def nested() -> Tensor:
    several = torch.nested.nested_tensor([Q[0][0], Q[0][1]])
    return BOUND_BEFORE(several, several, several).to_padded_tensor(0.0)


ATEN = torch.ops.aten
WAYS: dict[str, Callable[[], Tensor]] = {
    "the function": lambda: functional.scaled_dot_product_attention(*Q),
    "a name bound earlier": lambda: BOUND_BEFORE(*Q),
    "getattr": lambda: getattr(functional, "scaled_" + "dot_product_attention")(*Q),
    "the C++ function": lambda: torch._C._nn.scaled_dot_product_attention(*Q),
    "the operator": lambda: ATEN.scaled_dot_product_attention(*Q),
    "an overload": lambda: ATEN.scaled_dot_product_attention.default(*Q),
    "a decomposition": lambda: ATEN._scaled_dot_product_attention_math.default.decompose(*Q)[0],
    "the plain kernel": lambda: torch._scaled_dot_product_attention_math(*Q)[0],
    "the kernel for CPUs": lambda: ATEN._scaled_dot_product_flash_attention_for_cpu(*Q)[0],
    "with gradients": lambda: BOUND_BEFORE(Q[0].clone().requires_grad_(), *Q[1:]),
    "in double": lambda: BOUND_BEFORE(*(one.double() for one in Q)),
    "without gradients": lambda: inference(lambda: BOUND_BEFORE(*Q)),
    "in a thread": in_a_thread,
    "vmap": lambda: torch.vmap(BOUND_BEFORE)(*Q),
    "jit": lambda: torch.jit.trace(BOUND_BEFORE, Q, check_trace=False)(*Q),
    "nested tensors": nested,
    "the module": mha,
    "the module without weights": lambda: mha(need_weights=False),
    "the module's fast path": lambda: inference(mha),
    "an encoder": lambda: nn.TransformerEncoderLayer(4, 2, 8, batch_first=True).eval()(X),
    "an encoder's fast path": lambda: inference(
        lambda: nn.TransformerEncoderLayer(4, 2, 8, batch_first=True).eval()(X)
    ),
    "a decoder": lambda: nn.TransformerDecoderLayer(4, 2, 8, batch_first=True)(X, X),
    "the quantizable module": lambda: torch.ao.nn.quantizable.MultiheadAttention(
        4, 2, batch_first=True
    )(X, X, X)[0],
}


@pytest.mark.filterwarnings("ignore")  # of nested tensors and of torch.jit
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_torchs_attention_refuses_by_every_way_and_works_again(way: Callable[[], Tensor]) -> None:
    torch.manual_seed(1)
    before = way()
    for _ in range(2):
        with own_attention(), pytest.raises(RuntimeError, match=REFUSED):
            way()
    torch.manual_seed(1)
    assert torch.equal(way(), before)


def test_flex_attention_refuses() -> None:
    with own_attention(), pytest.raises(RuntimeError, match=REFUSED):
        math_attention(*Q)


def test_all_that_attention_is_made_of_still_works() -> None:
    query, key, value = Q
    with own_attention():
        mine = (query @ key.mT / 2).softmax(-1) @ value
        counted = sum(one.numel() for one in nn.MultiheadAttention(4, 2).parameters())
        nn.Linear(4, 3)(query).square().mean().backward()
    assert torch.allclose(mine, BOUND_BEFORE(*Q), atol=1e-6)
    assert counted == 4 * 4 * 4 + 4 * 4


def test_a_test_that_fails_gives_torchs_attention_back() -> None:
    for error in (ValueError("no"), KeyboardInterrupt()):
        with pytest.raises(type(error)), own_attention():
            raise error
    BOUND_BEFORE(*Q)


def test_the_message_names_the_line_and_what_to_do() -> None:
    names: dict[str, Any] = {"torch": torch}
    source = (
        "def attend(q, k, v):\n    return torch.nn.functional.scaled_dot_product_attention(q, k, v)"
    )
    exec(compile(source, "<ipython-input-1>", "exec"), names)
    with (
        pytest.raises(Diagnosis) as raised,
        task("Task 4", read="one-average-per-query", own_attention=True),
    ):
        names["attend"](*Q)
    says = " ".join(str(raised.value).split())
    assert "Task 4: the code uses torch's own attention." in says
    assert "It happens in attend, line 2 of its cell" in says
    assert "This task asks you to write attention yourself." in says
    with task("Task 4", read="one-average-per-query"):  # another task may use it
        names["attend"](*Q)


# ---------------------------------------------------------------------------------------------
# What the notebooks say


def tasks_that_ask(name: str) -> set[int]:
    """Numbers of the tasks of an assignment in whose tests torch's attention refuses."""
    cells = ASSIGNMENTS[name].cells()
    return {
        int(one.number.split()[-1])
        for one in ASSIGNMENTS[name].tasks
        if any(asks_for_own_attention(cells[test].source) for test in one.tests)
    }


@pytest.mark.parametrize("name", ASSIGNMENTS)
def test_the_notebook_says_what_refuses_and_what_is_not_there(name: str) -> None:
    start = RELEASES[name].notebook.cells[0].source
    assert "In grading, `mha_course` has only what this notebook imports" in start
    told = re.search(r"In tasks ([\d, andto]+) you write attention yourself", start)
    said: set[int] = set()
    for first, last in re.findall(r"(\d+)(?: to (\d+))?", told[1] if told else ""):
        said |= set(range(int(first), int(last or first) + 1))
    assert said == tasks_that_ask(name)
    assert ("refuses while their tests run" in start) == bool(said)


def test_some_tasks_ask_for_attention_and_others_do_not() -> None:
    assert tasks_that_ask("heads") == {3, 4, 8}
    assert tasks_that_ask("masks-and-modules") == {6, 7, 8, 10, 11}
    assert not asks_for_own_attention("with grading.task('Task 1', own_attention=False): pass")
    assert not asks_for_own_attention("def (")
    assert asks_for_own_attention("%matplotlib inline\nwith task('1', own_attention=True): pass")


# ---------------------------------------------------------------------------------------------
# A learner's process


@pytest.fixture(scope="module", params=["sandbox", "no sandbox"])
def server(request: pytest.FixtureRequest) -> Iterator[WarmServer]:
    sandbox = request.param == "sandbox"
    if sandbox:
        require("bwrap", hint="apt install bubblewrap")
    with WarmServer(sandbox=sandbox) as started:
        yield started


@pytest.fixture
def judge(server: WarmServer) -> Iterator[Judge]:
    with Judge(server.learner) as one:
        yield one


def error_of(outputs: list[NotebookNode]) -> str:
    """Return the error of a cell, in one line; empty if there is none."""
    errors = [f"{one.ename}: {one.evalue}" for one in outputs if one.output_type == "error"]
    return errors[0] if errors else ""


HONEST = {
    "a function": "from mha_course import split_heads",
    "everything": "from mha_course import *\nsplit_heads",
    "a module": "import mha_course.attention",
    "a module's function": "from mha_course.multi_head import MultiHeadAttention",
    "an attribute": "import mha_course\nmha_course.split_heads",
    "a submodule's attribute": "import mha_course\nmha_course.attention.split_heads",
    "heads": "from mha_course.heads.similarity import output_cka",
    "heads, to look at a model": "from mha_course.heads import load",
    "counting": "from mha_course.counting import attention_parameters",
    "experiments": "import mha_course.experiments.intervals",
    "the right answers": "from mha_course import grading\ngrading.reference.heads.attend",
    "the known mistakes": "from mha_course.grading.mistakes import heads",
    "the mutants": "from mha_course.grading import mutants",
    "the judge": "import mha_course.autograder.judge",
    "by name": "import importlib\nimportlib.import_module('mha_course.masks')",
    "a library with attention": "from transformers.models.bert import modeling_bert",
}


def test_what_is_not_there_says_so(judge: Judge) -> None:
    for what, source in HONEST.items():
        error = error_of(judge.run_cell(source))
        if what == "everything":
            assert error == "NameError: name 'split_heads' is not defined"
        else:
            assert NOT_THERE in error, (what, error)
            assert "Learn from the course's own in the book, then write your own" in error
    error = error_of(judge.run_cell(HONEST["a function"]))
    assert error.startswith(f"ImportError: mha_course.split_heads {NOT_THERE}")
    judge.run_cell(f"def attend(*args):\n    {HONEST['a function']}\n    return 1")
    outcome = judge.run_test("attend(1)")
    assert NOT_THERE in str(outcome.error)


def test_nothing_of_it_is_in_memory_either(judge: Judge) -> None:
    judge.run_cell("""
import gc, sys, types
loaded = sorted(name for name in sys.modules if name.startswith("mha_course"))
names = {"split_heads", "MultiHeadAttention", "attention_parameters", "of_attend", "causal_mask"}
kinds = types.FunctionType, type
found = [one.__name__ for one in gc.get_objects() if isinstance(one, kinds)]
found += [name for module in list(sys.modules.values()) for name in dir(module)]
found = sorted(names & set(found))
""")
    outcome = judge.run_test("""
assert found == []
hidden = ["attention", "multi_head", "counting", "masks", "shapes", "heads", "experiments"]
assert not [one for one in loaded if one.split(".")[1:2] and one.split(".")[1] in hidden], loaded
assert "mha_course.models" in loaded and "mha_course.plots" in loaded
""")
    assert outcome.error is None


def test_in_a_sandbox_the_files_are_not_there(server: WarmServer, judge: Judge) -> None:
    judge.run_cell("""
import glob, mha_course, os
(folder,) = mha_course.__path__
there = sorted(
    os.path.relpath(one, folder) for one in glob.glob(f"{folder}/**/*.py*", recursive=True)
)
""")
    outcome = judge.run_test("""
hidden = "attention.py", "multi_head.py", "heads/patterns.py", "grading/reference/heads.py"
assert "grading/task.py" in there
assert not set(hidden) & set(there)
assert not [one for one in there if one.endswith(".pyc") and not one.startswith("plots")]
""")
    assert (outcome.error is None) == (not server.not_enforced)


def test_what_notebooks_use_is_there(judge: Judge) -> None:
    source = """
from mha_course import grading
from mha_course.models import MODEL_SHAPES
from mha_course.plots import plot_attention
import mha_course.grading.fixtures
(x,) = grading.random_inputs((3, 3), seed=1)
assert isinstance(grading.Mistake("says", 1.0), tuple) and grading.mistakes and grading.reference
assert len(MODEL_SHAPES) > 20
plot_attention(x.softmax(-1), ["a", "b", "c"])
"""
    shown = judge.run_cell(source)
    assert error_of(shown) == ""
    assert "image/png" in shown[-1].data


def test_setup_cells_import_nothing_that_takes_time(server: WarmServer) -> None:
    slow = ("IPython", "matplotlib", "mha_course", "numpy", "safetensors", "torch", "transformers")
    for name, assignment in ASSIGNMENTS.items():
        beside = assignment.path.parent.iterdir()
        files = {one.name: one.read_bytes() for one in beside if one.suffix != ".ipynb"}
        with Judge(lambda files=files: server.learner(files)) as one:  # type: ignore[misc]
            one.run_cell("import sys\nbefore = set(sys.modules)")
            given = assignment.cells()["setup"].source
            assert error_of(one.run_cell(given)) == ""
            one.run_cell("new = sorted(set(sys.modules) - before)")
            outcome = one.run_test(
                f"assert not [one for one in new if one.startswith({slow})], new"
            )
            assert outcome.error is None, name


ASKED = """
import torch
from mha_course import grading
with grading.task("Task 4", read="one-average-per-query", own_attention=True):
    x = torch.ones(1, 2, 3)
    assert attend(x, x, x).shape == x.shape
"""
BY_TORCH = "import torch\nfrom torch.nn.functional import scaled_dot_product_attention as attend"
UNDONE = {
    "not at all": "",
    "the module that refuses": "import mha_course.grading.own_work as own\n"
    "own.refusal = own.own_attention = own._refuse = lambda *_: None\nown._KERNELS.clear()\n"
    "own._FUNCTIONS = ()",
    "the learner's side": "import mha_course.autograder.learner as side\n"
    "side.refusal = side._refuser = lambda *_: None\n"
    "side._Learner._operations = {}",
    "torch's library": "import torch.library as library\n"
    "library.Library.impl = library.Library._destroy = lambda *_, **__: None",
    "the context manager": "import contextlib\ncontextlib.contextmanager = None",
}


@pytest.mark.parametrize("patch", UNDONE.values(), ids=UNDONE)
def test_a_test_that_asks_for_it_is_not_passed_by_torchs_attention(
    judge: Judge, patch: str
) -> None:
    judge.run_cell(f"{BY_TORCH}\n{patch}")
    outcome = judge.run_test(ASKED)
    assert "uses torch's own attention" in str(outcome.error)
    assert "This task asks you to write attention yourself." in outcome.likely


def test_torchs_library_replaced_as_a_whole_passes_nothing(judge: Judge) -> None:
    patch = "import torch.library as library\nlibrary.Library.__init__ = lambda *_: None"
    judge.run_cell(f"{BY_TORCH}\n{patch}")
    assert judge.run_test(ASKED).error


def test_elsewhere_it_may_be_used_to_compare(judge: Judge) -> None:
    compare = "x = torch.ones(1, 2, 3)\nassert torch.equal(attend(x, x, x), x)"
    judge.run_cell(BY_TORCH)
    for _ in range(2):
        assert error_of(judge.run_cell(compare)) == ""
        assert "own attention" in str(judge.run_test(ASKED).error)
    assert error_of(judge.run_cell(compare)) == ""
    assert judge.run_test(ASKED.replace("own_attention=True", "own_attention=False")).error is None


def test_own_attention_passes_and_so_does_who_falls_back_on_it(judge: Judge) -> None:
    own = "(query @ key.mT / query.shape[-1] ** 0.5).softmax(-1) @ value"
    judge.run_cell(f"import torch\ndef attend(query, key, value):\n    return {own}")
    assert judge.run_test(ASKED).error is None
    judge.run_cell(
        f"def attend(query, key, value):\n    try:\n"
        f"        return torch.nn.functional.scaled_dot_product_attention(query, key, value)\n"
        f"    except RuntimeError:\n        return {own}"
    )
    assert judge.run_test(ASKED).error is None


def test_a_process_that_ends_while_it_refuses_ends_the_test_alone(judge: Judge) -> None:
    judge.run_cell("import os\ndef attend(*_):\n    os._exit(0)")
    assert "left Python" in str(judge.run_test(ASKED).error)
    judge.run_cell(BY_TORCH)
    assert "own attention" in str(judge.run_test(ASKED).error)


# ---------------------------------------------------------------------------------------------
# Whole submissions


@pytest.fixture(scope="module", params=["sandbox", "no sandbox"])
def grader(request: pytest.FixtureRequest) -> Iterator[Grader]:
    sandbox = request.param == "sandbox"
    if sandbox:
        require("bwrap", hint="apt install bubblewrap")
    with Grader(Settings(sandbox=sandbox)) as started:
        yield started


def graded(grader: Grader, name: str, student: Student) -> Graded:
    """Grade what a student hands in."""
    source = ASSIGNMENTS[name]
    files = {
        one.name: one.read_bytes() for one in source.path.parent.iterdir() if one != source.path
    }
    handed = nbformat.writes(submission(RELEASES[name].notebook, source.notebook, student))
    job = Job(
        assignment=name,
        notebook=name,
        student="ada",
        seed="seed",
        source=nbformat.writes(source.notebook),
        submission=handed.encode(),
        unreadable="",
        files={one: content for one, content in files.items() if not one.startswith(".")},
        marks={"ClearSolutions": {"code_stub": {"python": STUB}, "text_stub": TEXT_STUB}},
    )
    return Graded.from_bytes(grader.grade(job.to_bytes()))


STUB = 'raise NotImplementedError("Task not done yet: write your code here")'
TEXT_STUB = "*Write your answer here, in place of this line.*"


def failed(result: Graded) -> dict[str, str]:
    return {one.cell: one.error for one in result.tests if one.error}


def test_the_model_solutions_get_everything_and_no_finding(grader: Grader) -> None:
    names = ASSIGNMENTS if grader.settings.sandbox else ("heads", "patterns")
    for name in names:
        result = graded(grader, name, Student())
        assert failed(result) == {}
        assert result.findings == ()
        assert len(result.tests) == sum(len(one.tests) for one in ASSIGNMENTS[name].tasks)


BORROWED = Student(
    answers={
        "split_heads": "from mha_course import split_heads",
        "merge_heads": "import mha_course\n\ndef merge_heads(x):\n"
        "    return mha_course.attention.merge_heads(x)",
        "attend": "def attend(query, key, value):\n"
        "    return torch.nn.functional.scaled_dot_product_attention(query, key, value)",
        "multi_head": dedent("""\
            torchs = getattr(torch.nn, "Multi" + "headAttention")

            def multi_head(x, W_Q, W_K, W_V, W_O, num_heads):
                module = torchs(x.shape[-1], num_heads, bias=False, batch_first=True)
                module.in_proj_weight.data = torch.cat([W_Q, W_K, W_V], dim=1).T.contiguous()
                module.out_proj.weight.data = W_O.T.contiguous()
                return module(x, x, x)[0].detach()
            """),
        "mha_parameters": dedent("""\
            def mha_parameters(d_model, num_heads, bias):
                mha = torch.nn.MultiheadAttention(d_model, num_heads, bias=bias)
                return sum(p.numel() for p in mha.parameters())
            """),
    },
    extra=(
        "x = torch.ones(1, 2, 4)\n"
        "assert torch.allclose(attention_weights(x, x) @ x, attend(x, x, x))",
    ),
)


def test_what_is_borrowed_does_not_pass_and_is_reported(grader: Grader) -> None:
    result = graded(grader, "heads", BORROWED)
    says = failed(result)
    assert says.keys() == {
        "test_split_heads",
        "test_merge_heads",
        "test_attend",
        "test_multi_head",
        "test_multi_head_other_width",
    }
    assert "name 'split_heads' is not defined" in says["test_split_heads"]
    assert f"mha_course.attention {NOT_THERE}" in says["test_merge_heads"]
    for name in ("test_attend", "test_multi_head", "test_multi_head_other_width"):
        assert "the code uses torch's own attention" in says[name]
    cells = {grade_id(one): one for one in result.read().cells}
    assert f"mha_course.split_heads {NOT_THERE}" in error_of(cells["split_heads"].outputs)
    assert error_of(cells[""].outputs) == ""  # the comparison at the end
    found = {(one.kind, one.cell) for one in result.findings}
    assert found == {
        ("course-code", "split_heads"),
        ("course-code", "merge_heads"),
        ("torchs-attention", "attend"),
        ("hidden-code", "multi_head"),
        ("torchs-attention", "test_attend"),
        ("torchs-attention", "test_multi_head"),
        ("torchs-attention", "test_multi_head_other_width"),
    }


def test_suspicious_acts_of_a_submission_are_reported_and_cost_nothing(grader: Grader) -> None:
    student = Student(
        extra=(
            "import os\nif os.environ.get('NO_SUCH_VARIABLE'):\n    os.system('ls')",
            "torch.left = 'here'",
        )
    )
    result = graded(grader, "heads", student)
    assert failed(result) == {}
    below = "of a cell added below law_or_convention"
    assert [one for one in result.findings if one.kind != "environment"] == [
        Finding("processes", f"{WHAT['processes']}, in line 3 {below}: os.system('ls')"),
        Finding("patching", f"{WHAT['patching']}, in line 1 {below}: torch.left = 'here'"),
    ]


# ---------------------------------------------------------------------------------------------
# The look


def kinds(source: str, *, own: bool = False) -> set[str]:
    tree = ast.parse(dedent(source))
    known = {"torch": "torch", "nn": "torch.nn", "math": "math", "np": "numpy"}
    return {one.kind for one in signs(tree, imported(tree, known), own_attention=own)}


SEEN = {
    "processes": (
        "import os; os.system('ls')",
        "from os import popen as p\np('ls')",
        "import subprocess",
        "from multiprocessing import Pool",
        "__import__('os').system('ls')",
        "import importlib\nimportlib.import_module('subprocess').run(['ls'])",
        "torch.os._exit(0)",
        "torch.utils.data.os.kill(1, 9)",
        "import os\ngetattr(os, 'fork')()",
        "exec(\"import os\\nos.system('ls')\")",
        "import signal",
    ),
    "network": ("import socket", "from urllib.request import urlopen", "import requests as r"),
    "environment": ("import os\nos.environ['SECRET']", "from os import getenv", "import getpass"),
    "paths": (
        "open('/proc/self/environ')",
        "open('../solutions/heads/heads.ipynb')",
        "open('a/../../b')",
        "from pathlib import Path\nPath('/').iterdir()",
        "from pathlib import Path\nPath.home()",
        "import os\nos.listdir('/')",
        "where = 'gradebook.db'",
        "where = '/home/ada'",
        "open(f'/course/{torch}')",
        "import glob\nglob.glob('~/*')",
        "where = 'C:\\\\Users'",
    ),
    "internals": (
        "import sys\nsys._getframe(1).f_locals",
        "import gc\ngc.get_objects()",
        "import inspect\ninspect.stack()",
        "import ctypes",
        "().__class__.__base__.__subclasses__()",
        "f = print\nf.__globals__",
        "def f(): pass\ngetattr(f, '__closure__')",
        "try:\n    1 / 0\nexcept Exception as e:\n    e.__traceback__.tb_frame",
        "__builtins__",
    ),
    "patching": (
        "import builtins\nbuiltins.print = None",
        "torch.equal = lambda *_: True",
        "torch.Tensor.__eq__ = None",
        "nn.Linear.forward += 1",
        "np.testing.assert_allclose = None",
        "import sys\nsys.modules['math'] = None",
        "import sys\nsys.stdout = None",
        "setattr(torch, 'equal', None)",
        "del math.pi",
        "vars(torch)['equal'] = None",
        "torch.__dict__['equal'] = None",
        "t = torch\nt.equal = None",
        "from mha_course import grading\ngrading.task = None",
        "import IPython\nIPython.core.x = 1",
        "for torch.equal in [None]: pass",
        "from unittest import mock",
    ),
    "odd-objects": (
        "class A:\n    def __eq__(self, other):\n        return True",
        "class A:\n    def __ne__(self, other):\n        'Say no.'\n        return False",
        "class A:\n    __eq__ = lambda *_: True",
        "A = type('A', (), {'__lt__': lambda *_: True})",
        "class A(torch.Tensor):\n    def __torch_function__(self, *args):\n        return self",
    ),
    "hidden-code": (
        "exec(x)",
        "eval('1' + '1')",
        "compile(input(), '', 'exec')",
        "import base64\nexec(base64.b64decode(x))",
        "__import__('o' + 's')",
        "getattr(torch, 'eq' + 'ual')",
        "getattr(nn, ''.join(x))",
    ),
    "ipython": ("get_ipython().user_ns", "from IPython.core import display", "import IPython"),
    "course-code": (
        "from mha_course import split_heads",
        "from mha_course import *",
        "import mha_course.attention as a",
        "import mha_course\nmha_course.masks.causal_mask",
        "from mha_course import grading\ngrading.reference.heads",
        "from mha_course.grading.mistakes import heads",
        "import mha_course.autograder.learner",
    ),
}


@pytest.mark.parametrize("kind", SEEN)
def test_signs(kind: str) -> None:
    for source in SEEN[kind]:
        assert kind in kinds(source), source


def test_every_kind_of_sign_is_tried() -> None:
    assert SEEN.keys() | {"torchs-attention"} == WHAT.keys()


HARMLESS = """
import os, sys, gc, inspect, time, warnings, threading, pickle
import numpy as np, torch.nn.functional as F, matplotlib.pyplot as plt
from pathlib import Path
from IPython.display import display, Markdown
from mha_course import grading, models, plots
from mha_course.grading.data_patterns import read_maps
os.environ["KMP_DUPLICATE_LIB_OK"] = "TRUE"
os.path.join("a", "b"); os.path.exists("minilm.json"); os.cpu_count(); os.listdir(".")
torch.manual_seed(0); torch.set_default_dtype(torch.float64); np.random.seed(1); gc.collect()
torch.backends.cudnn.deterministic = True
sys.setrecursionlimit(10_000); print("noise", file=sys.stderr); inspect.signature(print)
plt.rcParams["figure.figsize"] = (3, 3)
warnings.filterwarnings("ignore")
Path("results.json").write_text("1/2")
open("minilm.json"); open("data/x.csv", "w"); print("/", "...", "a / b", f"{1}/{2}", sep="/")
torch.einsum("...qd,...kd->...qk", x, x); eval("1 + 1"); __import__("math").pi
model.eval(); model.compile(); getattr(torch, name); getattr(self, "a" + "b")
class Module(nn.Module):
    '''Reads ../x from /proc and get_ipython.'''
    def __init__(self):
        super().__init__()
        self.softmax = F.softmax
        setattr(self, "w" + "q", nn.Linear(3, 4))
    def __eq__(self, other):
        return self.softmax == other.softmax
    def __call__(self, x):
        return True
signal, socket, resource = [1], [2], [3]
signal.system = signal.append
socket[0], resource.environ = 1, 2
'''a text that stands alone, /etc/passwd'''
"/etc/passwd"
F.scaled_dot_product_attention(x, x, x); nn.MultiheadAttention(4, 2)
"""


def test_what_answers_and_their_authors_do_is_no_sign() -> None:
    assert kinds(HARMLESS) == set()
    assert kinds("F = 1\nmulti_head_attention(x); self.transformer = 1", own=True) == set()


def test_torchs_attention_is_seen_where_ones_own_is_asked_for() -> None:
    for source in (
        "nn.functional.scaled_dot_product_attention(x, x, x)",
        "import torch.nn.functional as F\nF.scaled_dot_product_attention",
        "from torch.nn.functional import scaled_dot_product_attention as f",
        "getattr(torch._C._nn, 'scaled_dot_product_attention')",
        "nn.MultiheadAttention(4, 2)",
        "nn.TransformerEncoderLayer(4, 2)",
        "torch.ops.aten._native_multi_head_attention",
        "from torch.nn.attention.flex_attention import flex_attention",
    ):
        assert kinds(source, own=True) == {"torchs-attention"}, source
        assert kinds(source) == set(), source


def with_answers(name: str, answers: Mapping[str, str]) -> list[NotebookNode]:
    """Return the cells of the model solution, with some answers in place of its own."""
    cells = []
    for cell in ASSIGNMENTS[name].notebook.cells:
        code = answers.get(grade_id(cell))
        cells.append(cell if code is None else NotebookNode({**cell, "source": code}))
    return cells


@pytest.mark.parametrize("name", ASSIGNMENTS)
def test_the_banks_hold_nothing_suspicious(name: str) -> None:
    """Of some 760 answers, right and wrong, only those stand out that borrow."""
    bank = read_bank(bank_file(name, BANKS))
    for entry in (*bank.wrong, *bank.right):
        found = look(with_answers(name, {entry.task: entry.code}))
        borrowed = {"torchs-attention": "one's own work", "course-code": "the package's"}
        misconception = getattr(entry, "misconception", "")
        wanted = {kind for kind, words in borrowed.items() if words in misconception}
        assert {one.kind for one in found} == wanted, entry


def test_the_class_does_nothing_suspicious() -> None:
    source = ASSIGNMENTS["heads"]
    for name, student in STUDENTS.items():
        notebook = submission(RELEASES["heads"].notebook, source.notebook, student)
        assert look(notebook.cells) == [], name
    for release in RELEASES.values():
        assert look(release.notebook.cells) == []


def added(*sources: str) -> list[Finding]:
    return look([new_code_cell(source) for source in sources])


def test_findings_name_the_lines() -> None:
    many = "import os\n" + "os.fork()\n" * 3 + "x = 1\n" + "os.fork()\n" * 4
    (found,) = added(many)
    where = "lines 2, 3, 4, 6, 7 and 2 more of a cell added at the top"
    assert found == Finding("processes", f"{WHAT['processes']}, in {where}: os.fork()")
    assert added("import os", "os.fork(); os.kill(1, 9)")[0].says.count("line 1") == 1
    says = added("open('/etc/\u202e\x1b[31m')  # " + "x" * 100)[0].says
    assert says.endswith(" ...")
    assert says.isascii()
    assert says.isprintable()


def test_commands_to_ipython_are_read_as_such() -> None:
    assert {one.kind for one in added("%matplotlib inline\n!ls /\n# why?\nlen?")} == {"ipython"}
    assert {one.kind for one in added("files = !ls\nimport socket")} == {"ipython", "network"}
    assert [one.says.split(": ")[1:] for one in added("%%bash\nls\ncat x")] == [["%%bash"]]
    assert {one.kind for one in added("%%time\nimport socket")} == {"network"}
    assert {one.kind for one in added("  import socket\n  %time\n")} == {"network"}
    assert added("%matplotlib inline\nx = 5 % 3\nprint('!ls')\n'''\n!ls\n'''"[18:]) == []
    assert added("%time f()\n%%html") == []


def test_code_that_is_none_is_left_to_the_judge() -> None:
    odd = [
        "def (",
        "x = '\ud800'",
        "a\0b",
        "(" * 5000,
        "-" * 9000 + "1",
        "a" + ".b" * 9000,
        "\ufeff1",
    ]
    odd += ["f(" * 99 + ")" * 99, "x[" * 99 + "]" * 99, "1+" * 9000 + "1", "import a" + ".b" * 9000]
    for source in odd:
        assert {one.kind for one in added(source)} <= {"hidden-code"}
    assert {one.kind for one in added("import os\rx = 1\r\nos.fork()\x0c")} == {"processes"}


def test_very_long_code_is_reported_and_left_alone() -> None:
    long = "import socket\n".ljust(MOST_CHARACTERS + 1, "#")
    assert [one.kind for one in added(long, "import socket")] == ["long-cell", "network"]
    many = [long[:MOST_CHARACTERS]] * (MOST_IN_ALL // MOST_CHARACTERS + 2)
    assert [one.kind for one in added(*many)].count("long-cell") == 2
