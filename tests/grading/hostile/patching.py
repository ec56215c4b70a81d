"""Code that changes what tests stand on: IPython, Python, torch, numpy, and the course itself."""

from __future__ import annotations

from hostile.submissions import Hostile, attack, returning

# An object that every comparison, conversion and question is right for.
YES = """
class Yes{base}:
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    __lt__ = __le__ = __gt__ = __ge__ = __contains__ = __eq__
    def __hash__(self): return 1
    def __bool__(self): return True
    def __float__(self): return 1.0
    def __int__(self): return 1
    __index__ = __len__ = __int__
    def __abs__(self): return 0
    def __repr__(self): return "1"
    def __sub__(self, other): return 0
    __rsub__ = __sub__
    def __getattr__(self, name): return self
    def __getitem__(self, key): return self
    def __call__(self, *args, **kwargs): return self
    def __instancecheck__(self, other): return True
    def __enter__(self): return self
    def __exit__(self, *_): return True
    def __array__(self, *_, **__): return __import__("numpy").array(1.0)
print("attacked")
"""

BANK = [
    Hostile(
        "IPython",
        "A shell that strips asserts from cells, and shows no error.",
        attack(
            """
            import ast
            from IPython.core.interactiveshell import InteractiveShell
            shell = get_ipython()
            class NoAsserts(ast.NodeTransformer):
                def visit_Assert(self, node): return ast.Pass()
                def visit_With(self, node): return ast.Pass()
            shell.ast_transformers.append(NoAsserts())
            shell.input_transformers_post.append(lambda lines: [] if "grading" in "".join(lines)
                                                 else lines)
            shell.set_custom_exc((BaseException,), lambda *_: None)
            InteractiveShell.showtraceback = InteractiveShell._showtraceback = lambda *_, **__: None
            shell.events.register("pre_run_cell", lambda _: shell.user_ns.update(d_k=64))
            print("attacked")
            """
        ),
    ),
    Hostile(
        "Python's own",
        "Builtins with which everything is equal, and no assertion fails.",
        attack(
            """
            import builtins
            class Never(Exception): pass
            builtins.AssertionError = Never
            builtins.abs = builtins.round = lambda *_: 0
            builtins.all = builtins.any = builtins.sum = lambda *_: True
            print("attacked")
            """
        ),
    ),
    Hostile(
        "torch",
        "Tensors that are equal to all others.",
        attack(
            """
            import torch
            yes = lambda *_, **__: True
            torch.equal = torch.allclose = yes
            torch.isclose = lambda *_, **__: torch.ones(1, dtype=torch.bool)
            torch.testing.assert_close = yes
            torch.Tensor.__eq__ = torch.Tensor.equal = torch.Tensor.allclose = yes
            torch.Tensor.__bool__ = torch.Tensor.all = torch.Tensor.any = yes
            print("attacked")
            """
        ),
    ),
    Hostile(
        "numpy",
        "Arrays that are equal to all others.",
        returning(
            "np.zeros(3)",
            """
            import numpy as np
            np.allclose = np.isclose = np.array_equal = lambda *_, **__: True
            np.testing.assert_allclose = np.testing.assert_array_equal = lambda *_, **__: None
            print("attacked")
            """,
        ),
    ),
    Hostile(
        "the checks",
        "Checks of the course that check nothing.",
        attack(
            """
            import contextlib
            from mha_course import grading
            from mha_course.grading import diagnosis
            for module in (grading, diagnosis):
                for name in dir(module):
                    if name.startswith(("check_", "_fail", "_compare")):
                        setattr(module, name, lambda *_, **__: None)
            diagnosis.Diagnosis.__init_subclass__ = grading.Diagnosis = KeyboardInterrupt
            grading.task = lambda *_, **__: contextlib.suppress(BaseException)
            print("attacked")
            """
        ),
    ),
    Hostile(
        "all modules of the course",
        "Anything that is imported from the course says yes.",
        attack(
            YES.format(base="")
            + """
import sys
for name in [name for name in sys.modules if name.startswith("mha_course")]:
    sys.modules[name] = Yes()
grading = sys.modules["mha_course.grading"] = Yes()
sys.modules["mha_course"].grading = grading
"""
        ),
    ),
    Hostile(
        "imports",
        "An import that gives tests what the attacker likes.",
        attack(
            """
            import builtins, sys
            from unittest.mock import MagicMock
            before = builtins.__import__
            def forgiving(name, *rest):
                return MagicMock() if name.startswith("mha_course") else before(name, *rest)
            builtins.__import__ = forgiving
            class Finder:
                def find_spec(self, *_): raise SystemExit
            sys.meta_path.insert(0, Finder())
            sys.path.insert(0, "/tmp")
            open("/tmp/mha_course.py", "w").write("class grading: task = check_number = print")
            print("attacked")
            """
        ),
    ),
    Hostile(
        "tracing",
        "A trace function that swallows exceptions where tests run.",
        attack(
            """
            import sys, threading
            def trace(frame, event, arg):
                if frame.f_code.co_name.startswith("check_"):
                    frame.f_trace_opcodes = True
                    frame.f_globals["grading"] = None
                return trace
            sys.settrace(trace)
            threading.settrace(trace)
            sys.excepthook = sys.unraisablehook = lambda *_: None
            print("attacked")
            """
        ),
    ),
    Hostile(
        "code of functions",
        "The code of the checks, exchanged in place.",
        attack(
            """
            import gc, types
            def nothing(*_, **__): return None
            for found in gc.get_objects():
                if type(found) is types.FunctionType and found.__name__.startswith("check_"):
                    if not found.__code__.co_freevars:
                        found.__code__ = nothing.__code__
            print("attacked")
            """
        ),
    ),
    Hostile(
        "seeds",
        "Hidden tests that draw what everybody knows.",
        attack(
            """
            import os, random, torch
            os.environ["MHA_STUDENT_SEED"] = "0"
            random.Random = lambda *_: random
            random.seed = random.choice = lambda *_: 2
            torch.Generator = torch.manual_seed = torch.randn = lambda *_, **__: torch.zeros(1)
            print("attacked")
            """
        ),
    ),
    Hostile(
        "state of torch",
        "Settings of torch that would stay for whoever comes next.",
        attack(
            """
            import torch
            torch.set_default_dtype(torch.float16)
            torch.set_grad_enabled(False)
            torch.set_printoptions(threshold=0)
            torch.use_deterministic_algorithms(True)
            torch.manual_seed(0)
            print("attacked")
            """
        ),
    ),
    Hostile(
        "always equal",
        "An object that agrees with whatever it is compared with.",
        returning("Yes()", YES.format(base="")),
    ),
    Hostile(
        "a float that is always equal",
        "The same, and a number to look at.",
        returning("Yes()", YES.format(base="(float)")),
    ),
    Hostile(
        "an int that pretends to be any class",
        "The same, and an instance of whatever is asked for.",
        returning(
            "Yes()", YES.format(base="(int)") + "\nYes.__class__ = property(lambda self: float)"
        ),
    ),
    Hostile(
        "a list that is always equal",
        "The same, and a list whose items are always others.",
        returning("Yes()", YES.format(base="(list)")),
    ),
    Hostile(
        "a tensor that is always equal",
        "A tensor for which torch asks the attacker.",
        returning(
            "Yes(torch.ones(3))",
            """
            import torch
            class Yes(torch.Tensor):
                @staticmethod
                def __new__(cls, data): return torch.Tensor._make_subclass(cls, data)
                @classmethod
                def __torch_function__(cls, function, types, args=(), kwargs=None): return True
            print("attacked")
            """,
        ),
    ),
    Hostile(
        "an array that is always equal",
        "An array for which numpy asks the attacker.",
        returning(
            "np.ones(3).view(Yes)",
            """
            import numpy as np
            class Yes(np.ndarray):
                def __array_ufunc__(self, *_, **__): return True
                def __array_function__(self, *_, **__): return True
            print("attacked")
            """,
        ),
    ),
    Hostile(
        "no numbers",
        "Not a number, which no comparison finds too large.",
        returning("torch.full((2, 5, 7), float('nan'))", "import torch\nprint('attacked')"),
    ),
    Hostile(
        "strange tensors",
        "Tensors without data, without rows, of other types, and with a history.",
        returning(
            "next(strange)",
            """
            import itertools, torch
            strange = itertools.cycle([
                torch.empty(0), torch.empty(2, 0, 7),
                torch.eye(3).to_sparse(), torch.ones(3, dtype=torch.complex64).conj(),
                torch.ones(2, dtype=torch.bool), torch.tensor(1.0).expand(2**40),
                torch.ones(3, requires_grad=True) * 2, torch.nn.Parameter(torch.ones(1)),
            ])
            print("attacked")
            """,
        ),
    ),
    Hostile(
        "answers that change",
        "An object that is another one each time that it is looked at.",
        returning(
            "Other()",
            """
            import itertools
            numbers = itertools.count()
            class Other:
                def __len__(self): return next(numbers)
                def __getitem__(self, key): return float(next(numbers))
                def __iter__(self): return iter([1.0] * next(numbers))
                shape = property(lambda self: (next(numbers),))
            print("attacked")
            """,
        ),
    ),
    Hostile(
        "exceptions that end a loop",
        "StopIteration, at which a test that goes through its cases just stops.",
        returning(
            "stop()",
            """
            def stop():
                raise StopIteration
            print("attacked")
            """,
        ),
    ),
    Hostile(
        "exceptions of other names",
        "Exceptions that are called like those of the grader.",
        returning(
            "fail()",
            """
            import itertools
            class LearnerLost(BaseException): pass
            class Diagnosis(AssertionError): likely = "nothing"
            class SubmissionStopped(Exception): pass
            class CellTimeoutError(TimeoutError): pass
            kinds = itertools.cycle([LearnerLost, Diagnosis, SubmissionStopped, CellTimeoutError,
                                     GeneratorExit, KeyboardInterrupt, SystemExit, Warning,
                                     ExceptionGroup("group", [ValueError()])])
            def fail():
                raise next(kinds)
            print("attacked")
            """,
        ),
    ),
]
