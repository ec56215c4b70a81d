"""What torch can do with a module, it can do with ours: autocast, compile, vmap, derivatives."""

from __future__ import annotations

import copy
import inspect
import pickle
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mha_course import (
    KVCache,
    LatentShape,
    MultiHeadAttention,
    MultiHeadLatentAttention,
    attention_weights,
    causal_mask,
    split_heads,
)
from mha_course.forms import FORMS

B, T, D_MODEL, H, G, D_HEAD, D_V = 2, 7, 12, 8, 4, 5, 3
LATENT = LatentShape(D_MODEL, H, d_head=D_HEAD, d_rope=6, d_v=D_V, kv_rank=9, q_rank=10)

by_form = pytest.mark.parametrize("form", FORMS)
by_mode = pytest.mark.parametrize(
    "mode", [torch.enable_grad, torch.no_grad, torch.inference_mode], ids=lambda m: m.__name__
)


def mha(form: str, **options: Any) -> MultiHeadAttention:
    torch.manual_seed(0)
    module = MultiHeadAttention(
        D_MODEL, H, num_kv_heads=G, d_head=D_HEAD, d_v=D_V, form=form, **options
    )
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(std=0.4)
    return module


def latent(form: str, *, absorb: bool) -> MultiHeadLatentAttention:
    torch.manual_seed(0)
    return MultiHeadLatentAttention(LATENT, absorb=absorb, form=form)


MODULES: dict[str, Callable[[], nn.Module]] = {
    **{form: lambda form=form: mha(form) for form in FORMS},
    **{
        f"latent, {form}{', absorbed' if absorb else ''}": lambda form=form, absorb=absorb: latent(
            form, absorb=absorb
        )
        for form in FORMS
        for absorb in (False, True)
    },
}
every_module = pytest.mark.parametrize("make", MODULES.values(), ids=MODULES)


def x_of(*shape: int, seed: int = 1, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=dtype)


X = x_of(B, T, D_MODEL)
MASK = x_of(B, H, T, T, seed=2) > -0.5
MASK[1, 2, 3] = False  # a query that may attend to nothing
CALLS: dict[str, dict[str, Any]] = {
    "plain": {},
    "causal": {"is_causal": True},
    "mask": {"attn_mask": MASK},
    "mask and causal": {"attn_mask": MASK, "is_causal": True},
    "lengths": {"key_lengths": torch.tensor([T, 3])},
    "gates": {"head_gates": torch.tensor([1.0, 0.0, 0.5, 2.0, -1.0, 0.25, 3.0, 1.5])},
}


def calls_of(module: nn.Module) -> list[dict[str, Any]]:
    takes = inspect.signature(module.forward).parameters
    return [options for options in CALLS.values() if options.keys() <= takes.keys()]


# --------------------------------------------------------------------------- lower precision


@pytest.fixture
def every_warning() -> Iterator[None]:
    """Torch gives some warnings once in a process: an earlier test may have had them."""
    before = torch.is_warn_always_enabled()
    torch.set_warn_always(True)
    yield
    torch.set_warn_always(before)


@pytest.mark.usefixtures("every_warning")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@every_module
def test_autocast_computes_in_its_dtype_and_trains_in_float32(
    make: Callable[[], nn.Module], dtype: torch.dtype
) -> None:
    module = make()
    expected = module(X, is_causal=True)
    with torch.autocast("cpu", dtype=dtype), warnings.catch_warnings():
        warnings.simplefilter("error")  # torch warns where an operation meets two dtypes
        output = module(X, is_causal=True)
        with torch.inference_mode():  # where memory is used again
            in_inference = module(X, is_causal=True)
    output.float().square().sum().backward()

    assert output.dtype == in_inference.dtype == dtype
    assert torch.equal(output, in_inference)
    rounding = 8 * torch.finfo(dtype).eps
    torch.testing.assert_close(
        output.float(), expected, rtol=0, atol=rounding * expected.std().item()
    )
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.dtype == torch.float32
        assert parameter.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64], ids=str)
@every_module
def test_module_can_be_moved_to_another_dtype(
    make: Callable[[], nn.Module], dtype: torch.dtype
) -> None:
    module = make()
    expected = module(X, is_causal=True)
    output = module.to(dtype)(X.to(dtype), is_causal=True)
    assert output.dtype == dtype
    rounding = 8 * max(torch.finfo(dtype).eps, 4 * torch.finfo(torch.float32).eps)
    torch.testing.assert_close(
        output.float(), expected, rtol=0, atol=rounding * expected.std().item()
    )


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device; there is none")
def test_cuda_agrees_with_the_cpu() -> None:
    for name, make in MODULES.items():
        for options in calls_of(module := make()):
            expected = module.cpu()(X, **options)
            there = {k: v.cuda() if isinstance(v, Tensor) else v for k, v in options.items()}
            output = module.cuda()(X.cuda(), **there)
            torch.testing.assert_close(output.cpu(), expected, rtol=1e-4, atol=1e-4, msg=name)
            with torch.autocast("cuda", dtype=torch.bfloat16):
                low = module(X.cuda(), **there)
            assert low.dtype == torch.bfloat16
            rounding = 8 * torch.finfo(torch.bfloat16).eps
            torch.testing.assert_close(
                low.float().cpu(), expected, rtol=0, atol=rounding * expected.std().item()
            )


# ----------------------------------------------------------------------------------- compile


@pytest.fixture
def compiler() -> Iterator[None]:
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize("call", CALLS)
@by_form
def test_compiles_without_a_graph_break(form: str, call: str) -> None:
    module = mha(form)
    # fullgraph=True: a graph break is an error; "eager" runs the graph as it was found
    compiled = torch.compile(module, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(X, **CALLS[call]), module(X, **CALLS[call]))


@pytest.mark.usefixtures("compiler")
@by_mode
# a loop is written out head by head, which takes seconds: once, not three times
@pytest.mark.parametrize("name", [name for name in MODULES if not name.startswith("latent, loop")])
def test_compiles_in_every_mode_with_gradients(name: str, mode: Callable[..., Any]) -> None:
    module = MODULES[name]()
    # "aot_eager" also finds the graph of the way back
    backend = "aot_eager" if mode is torch.enable_grad else "eager"
    compiled = torch.compile(module, fullgraph=True, backend=backend)
    options = CALLS["mask and causal"]
    with mode():
        expected, output = module(X, **options), compiled(X, **options)
    torch.testing.assert_close(output, expected)
    if mode is torch.enable_grad:
        parameters = list(module.parameters())
        theirs = torch.autograd.grad(expected.square().sum(), parameters)
        ours = torch.autograd.grad(output.square().sum(), parameters)
        torch.testing.assert_close(ours, theirs)


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize("form", ["loop", "batched"])
def test_returned_weights_compile(form: str) -> None:
    module = mha(form)
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(
        compiled(X, attn_mask=MASK, return_weights=True),
        module(X, attn_mask=MASK, return_weights=True),
    )


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize("name", [name for name in MODULES if "loop" not in name])
def test_a_compiled_module_takes_other_lengths(name: str) -> None:
    module = MODULES[name]()
    compiled = torch.compile(module, fullgraph=True, backend="eager", dynamic=True)
    for time in (T, 5, 3):
        x = X[:, :time]
        torch.testing.assert_close(compiled(x, is_causal=True), module(x, is_causal=True))


@pytest.mark.usefixtures("compiler")
@by_form
def test_decoding_with_a_cache_compiles(form: str) -> None:
    module = mha(form)
    compiled = torch.compile(module, fullgraph=True, backend="eager")
    cache, expected = KVCache(), module(X, is_causal=True)
    with torch.no_grad():
        steps = [compiled(x, is_causal=True, cache=cache) for x in X.split([4, 1, 2], dim=1)]
    assert cache.num_tokens == T
    torch.testing.assert_close(torch.cat(steps, dim=1), expected)


@pytest.mark.usefixtures("compiler")
def test_a_graph_break_would_be_noticed() -> None:
    def breaks(x: Tensor) -> Tensor:
        torch._dynamo.graph_break()
        return x

    with pytest.raises(torch._dynamo.exc.Unsupported):
        torch.compile(breaks, fullgraph=True, backend="aot_eager")(X)


# -------------------------------------------------------------------------------------- vmap


@contextmanager
def no_warning(module: nn.Module) -> Iterator[None]:
    """No warning may come, but torch's own about its fused kernel: it has no batching rule."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if module.form == "fused":
            warnings.filterwarnings("ignore", message="There is a performance drop")
        yield


@by_mode
@every_module
def test_vmap_over_inputs(make: Callable[[], nn.Module], mode: Callable[..., Any]) -> None:
    module = make()
    many = x_of(3, B, T, D_MODEL)
    with mode(), no_warning(module):
        for options in calls_of(module):
            mapped = torch.func.vmap(lambda x, o=options: module(x, **o))(many)
            torch.testing.assert_close(mapped, torch.stack([module(x, **options) for x in many]))


@by_mode
@every_module
def test_vmap_over_masks(make: Callable[[], nn.Module], mode: Callable[..., Any]) -> None:
    module = make()
    for shape in ((T, T), (B, H, T, T), (B, 1, 1, T)):
        many = x_of(3, *shape, seed=3) > 0  # some queries may attend to nothing
        with mode(), no_warning(module):
            mapped = torch.func.vmap(lambda mask: module(X, attn_mask=mask, is_causal=True))(many)
            one_by_one = [module(X, attn_mask=mask, is_causal=True) for mask in many]
            torch.testing.assert_close(mapped, torch.stack(one_by_one))


@by_mode
@by_form
def test_vmap_over_lengths_and_gates(form: str, mode: Callable[..., Any]) -> None:
    module = mha(form)
    lengths = torch.tensor([[T, 3], [0, 5], [1, T]])
    gates = x_of(3, H, seed=4)
    with mode(), no_warning(module):
        mapped = torch.func.vmap(lambda n, g: module(X, key_lengths=n, head_gates=g))(
            lengths, gates
        )
        one_by_one = [
            module(X, key_lengths=n, head_gates=g) for n, g in zip(lengths, gates, strict=True)
        ]
        torch.testing.assert_close(mapped, torch.stack(one_by_one))


@by_mode
@every_module
def test_vmap_over_parameters(make: Callable[[], nn.Module], mode: Callable[..., Any]) -> None:
    modules = [make() for _ in range(3)]
    for i, module in enumerate(modules):
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.mul_(1 + i / 4)
    stacked, _ = torch.func.stack_module_state(modules)
    with mode(), no_warning(modules[0]):
        mapped = torch.func.vmap(
            lambda parameters: torch.func.functional_call(
                modules[0], parameters, (X,), {"is_causal": True}
            )
        )(stacked)
        one_by_one = torch.stack([module(X, is_causal=True) for module in modules])
        torch.testing.assert_close(mapped, one_by_one)
    assert (one_by_one[0] - one_by_one[1]).abs().max() > 0.01


# ------------------------------------------------------------------------------- derivatives

# Second derivatives take seconds with many numbers
SMALL: dict[str, Callable[[], nn.Module]] = {
    **{
        form: lambda form=form: MultiHeadAttention(6, 4, num_kv_heads=2, d_head=3, d_v=3, form=form)
        for form in FORMS
    },
    **{
        f"latent, {form}{', absorbed' if absorb else ''}": lambda form=form, absorb=absorb: (
            MultiHeadLatentAttention(
                LatentShape(6, 4, d_head=3, d_rope=2, d_v=5, kv_rank=7), absorb=absorb, form=form
            )
        )
        for form in FORMS
        for absorb in (False, True)
    },
}
every_small_module = pytest.mark.parametrize("make", SMALL.values(), ids=SMALL)
EMPTY_ROW = torch.tensor([[True, False, True], [False, False, False], [True, True, True]])
SMALL_CALLS: dict[str, dict[str, Any]] = {
    "plain": {},
    "causal": {"is_causal": True},
    "mask with an empty row": {"attn_mask": EMPTY_ROW},
    "mask and causal": {"attn_mask": EMPTY_ROW, "is_causal": True},
}


def function_of(
    module: nn.Module, options: dict[str, Any]
) -> tuple[Callable[..., Tensor], tuple[Tensor, ...]]:
    """Output as a function of the input and of every parameter, in float64."""
    torch.manual_seed(0)
    module = module.double()
    names = [name for name, _ in module.named_parameters()]

    def output(x: Tensor, *parameters: Tensor) -> Tensor:
        given = dict(zip(names, parameters, strict=True))
        result: Tensor = torch.func.functional_call(module, given, (x,), options)
        return result

    x = x_of(2, 3, 6, dtype=torch.float64).requires_grad_()
    return output, (x, *(p.detach().clone().requires_grad_() for p in module.parameters()))


@pytest.mark.parametrize("options", SMALL_CALLS.values(), ids=SMALL_CALLS)
@every_small_module
def test_first_derivatives_agree_with_finite_differences(
    make: Callable[[], nn.Module], options: dict[str, Any]
) -> None:
    output, inputs = function_of(make(), options)
    assert torch.autograd.gradcheck(output, inputs, fast_mode=True)


@pytest.mark.parametrize("options", SMALL_CALLS.values(), ids=SMALL_CALLS)
@every_small_module
def test_second_derivatives_agree_with_finite_differences(
    make: Callable[[], nn.Module], options: dict[str, Any]
) -> None:
    output, inputs = function_of(make(), options)
    with sdpa_kernel(SDPBackend.MATH):  # for the fused form, see the next test
        assert torch.autograd.gradgradcheck(output, inputs, fast_mode=True)


def test_torchs_kernel_on_the_cpu_has_no_second_derivative_and_says_so() -> None:
    output, inputs = function_of(SMALL["fused"](), {})
    (gradient,) = torch.autograd.grad(output(*inputs).sum(), inputs[0], create_graph=True)
    with pytest.raises(RuntimeError, match="flash_attention_for_cpu_backward is not implemented"):
        gradient.square().sum().backward()


@every_module
def test_torch_func_differentiates(make: Callable[[], nn.Module]) -> None:
    module, x = make().double(), X.double()

    def loss(x: Tensor) -> Tensor:
        total: Tensor = module(x, is_causal=True).square().sum()
        return total

    leaf = x.clone().requires_grad_()
    (by_tape,) = torch.autograd.grad(loss(leaf), leaf)
    torch.testing.assert_close(torch.func.grad(loss)(x), by_tape)


@every_module
def test_torch_func_makes_jacobians(make: Callable[[], nn.Module]) -> None:
    module, x = make().double(), X.double()
    with no_warning(module):
        jacobian = torch.func.jacrev(lambda x: module(x, is_causal=True)[0, 4])(x)
    leaf = x.clone().requires_grad_()
    row = module(leaf, is_causal=True)[0, 4]
    one_by_one = [torch.autograd.grad(number, leaf, retain_graph=True)[0] for number in row]
    torch.testing.assert_close(jacobian, torch.stack(one_by_one))
    assert (jacobian[:, 0, 5:] == 0).all()  # the future
    assert (jacobian[:, 1] == 0).all()  # the other sequence


# ------------------------------------------------------------------------------------ memory


class Memory(TorchDispatchMode):
    """Remembers the places in memory that operations gave, and how many numbers each can hold."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[Tensor] = []  # a place is not used again while a tensor lies there

    def __torch_dispatch__(
        self, func: Any, _types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        result = func(*args, **(kwargs or {}))
        self.kept += [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        return result

    @property
    def places(self) -> list[int]:
        """Numbers that fit into each place, the largest first; an expanded tensor takes none."""
        sizes = {
            t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() // t.element_size()
            for t in self.kept
        }
        return sorted(sizes.values(), reverse=True)


LONG = 1031
OF_WHAT_KERNEL_CAN: dict[str, dict[str, Any]] = {
    "MHA": {},
    "GQA": {"num_kv_heads": 2},
    "d_v < d_head": {"d_v": 2},
    "d_v > d_head": {"d_v": 5, "num_kv_heads": 2},
}


def places_of(module: nn.Module, mode: Callable[..., Any], **options: Any) -> list[int]:
    x = x_of(1, LONG, 12).requires_grad_()
    with mode(), Memory() as memory:
        output = module(x, **options)
        if output.requires_grad:
            output.sum().backward()
    return memory.places


@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad], ids=lambda m: m.__name__)
@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("heads", OF_WHAT_KERNEL_CAN.values(), ids=OF_WHAT_KERNEL_CAN)
def test_fused_form_holds_no_scores(
    heads: dict[str, int], is_causal: bool, mode: Callable[..., Any]
) -> None:
    for options in ({}, {"key_lengths": torch.tensor([1000])}):
        fused = MultiHeadAttention(12, 4, **heads, form="fused")
        largest = places_of(fused, mode, is_causal=is_causal, **options)[0]
        if is_causal and options:  # one mask for all heads, of 0s and −infs
            assert largest == LONG**2
        else:
            assert largest < LONG**2 / 50
        batched = MultiHeadAttention(12, 4, **heads, form="batched")
        assert places_of(batched, mode, is_causal=is_causal, **options)[0] == 4 * LONG**2


@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad], ids=lambda m: m.__name__)
@pytest.mark.parametrize("absorb", [False, True])
def test_fused_form_of_latent_attention_holds_no_scores(
    absorb: bool, mode: Callable[..., Any]
) -> None:
    shape = LatentShape(12, 4, d_head=5, d_rope=2, d_v=3, kv_rank=6)
    for form, holds in (("fused", False), ("batched", True)):
        module = MultiHeadLatentAttention(shape, absorb=absorb, form=form)
        largest = places_of(module, mode, is_causal=True)[0]
        assert largest == 4 * LONG**2 if holds else largest < LONG**2 / 20


def test_with_dropout_on_the_cpu_the_fused_form_holds_scores() -> None:
    """If this fails, torch has such a kernel now, and what we say about it can be mended."""
    module = MultiHeadAttention(12, 4, dropout=0.1, form="fused")
    assert places_of(module, torch.enable_grad)[0] == 4 * LONG**2


def test_inference_reuses_the_memory_of_the_scores() -> None:
    q, k = (split_heads(x_of(B, 65, 96, seed=s), H) for s in (1, 2))
    mask = x_of(65, 65, seed=3) > -1
    for options in ({}, {"is_causal": True}, {"attn_mask": mask, "is_causal": True}):
        found = []
        for mode in (torch.inference_mode, torch.no_grad):
            with mode(), Memory() as memory:
                weights = attention_weights(q, k, **options)
            found.append(sum(size >= B * H * 65**2 for size in memory.places))
            assert (weights[..., ~causal_mask(65, 65)] == 0).all() == ("is_causal" in options)
        in_inference, otherwise = found
        assert in_inference == 1 < otherwise  # that of the product


# ---------------------------------------------------------------------------------- the rest


@every_module
def test_copies_and_saved_states_give_the_same(
    make: Callable[[], nn.Module], tmp_path: Any
) -> None:
    module = make()
    expected = module(X)
    torch.testing.assert_close(copy.deepcopy(module)(X), expected)
    torch.testing.assert_close(pickle.loads(pickle.dumps(module))(X), expected)

    torch.save(module.state_dict(), tmp_path / "state.pt")
    fresh = make()
    with torch.no_grad():
        for parameter in fresh.parameters():
            parameter.zero_()
    fresh.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    torch.testing.assert_close(fresh(X), expected)


@every_module
def test_shapes_can_be_had_without_data(make: Callable[[], nn.Module]) -> None:
    assert make().to("meta")(X.to("meta")).shape == X.shape
