"""Tasks that ask for attention: while their tests run, torch's own refuses.

`grading.task(…, own_attention=True)` calls for it, in the learner's notebook as in grading: so
nobody learns only from their grade that an answer does not count. Elsewhere torch's attention works
as ever: to compare one's own with it is a good habit.

What computes attention in C++ is replaced in torch's dispatcher, which every way to it passes: a
name bound earlier, `getattr`, `torch.ops`, a thread. What computes it in Python gets other code. It
takes a tenth of a millisecond, and is undone after the test.

Whoever is determined gets around it all the same: with a copy of torch's Python code, a graph that
was traced beforehand, a process forked beforehand, `ctypes`, another package that brings attention
along. All that is more work than the task, whose answer is five lines; and an instructor who looks
at the code sees it.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Any, NoReturn

from torch._higher_order_ops.flex_attention import math_attention
from torch.ao.nn.quantizable.modules import activation
from torch.library import Library
from torch.nn import functional

REFUSAL = "torch's own attention refuses while the tests run: this task asks you to write it"
LIKELY = "This task asks you to write attention yourself."

Refusing = Callable[[], AbstractContextManager[None]]

# By operator, the keys of the kernels that are replaced: all other kernels are for devices that no
# test uses, and most of those call one of these.
_BY_ITSELF = "CompositeImplicitAutograd"
_KERNELS = {
    "scaled_dot_product_attention": (_BY_ITSELF, "FuncTorchVmapMode"),
    "_scaled_dot_product_attention_math": (_BY_ITSELF, "FuncTorchVmapMode"),
    "_scaled_dot_product_flash_attention_for_cpu": ("CPU",),
    "_native_multi_head_attention": ("CPU", "CUDA", "NestedTensorCPU"),
    "_transformer_encoder_layer_fwd": ("CPU", "CUDA", "NestedTensorCPU"),
}
_FUNCTIONS: tuple[Any, ...] = (
    functional.multi_head_attention_forward,
    math_attention,
    activation.MultiheadAttention._forward_impl,
)


def refusal() -> Refusing:
    """Return a function whose context has torch's attention refuse.

    All that it needs is bound here: what is changed in this module or in torch's classes later
    does not reach it, or makes it fail.
    """
    kernels, functions, refuse = tuple(_KERNELS.items()), _FUNCTIONS, _refuse
    library, implement, destroy = Library, Library.impl, Library._destroy
    quiet = warnings.catch_warnings

    @contextlib.contextmanager
    def refusing() -> Iterator[None]:
        codes = [function.__code__ for function in functions]
        registered = library("aten", "IMPL")
        try:
            with quiet(action="ignore"):  # torch warns of kernels that are replaced
                for name, keys in kernels:
                    for key in keys:
                        implement(registered, name, refuse, key)
            for function in functions:
                function.__code__ = refuse.__code__
            yield
        finally:
            destroy(registered)
            for function, code in zip(functions, codes, strict=True):
                function.__code__ = code

    return refusing


def _refuse(*_: object, **__: object) -> NoReturn:
    from mha_course.grading.own_work import REFUSAL  # as the code of others, it has their names

    raise RuntimeError(REFUSAL)


_refusing: ContextVar[Refusing] = ContextVar("refusing", default=refusal())  # noqa: B039  a function


def own_attention() -> AbstractContextManager[None]:
    """Return a context in which torch's attention refuses, wherever the learner's code runs."""
    return _refusing.get()()


@contextlib.contextmanager
def elsewhere(refusing: Refusing) -> Iterator[None]:
    """Say that the learner's code runs in another process, and how to have it refuse there."""
    token = _refusing.set(refusing)
    try:
        yield
    finally:
        _refusing.reset(token)


def refused(error: BaseException) -> bool:
    """Return whether an exception comes from torch's attention that refused."""
    return REFUSAL in str(error)
