"""What torch can do with a module, it can do with ours: autocast, compile, vmap, derivatives."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

from mha_course import (
    LatentShape,
    MultiHeadAttention,
    MultiHeadLatentAttention,
    attention_weights,
    causal_mask,
    split_heads,
)
from mha_course.forms import FORMS

B, T, D_MODEL, H, G, D_HEAD, D_V = 2, 7, 12, 4, 2, 5, 3
LATENT = LatentShape(D_MODEL, H, d_head=D_HEAD, d_rope=6, d_v=D_V, kv_rank=8, q_rank=9)

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
    "gates": {"head_gates": torch.tensor([1.0, 0.0, 0.5, 2.0])},
}


# --------------------------------------------------------------------------- lower precision


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@every_module
def test_autocast_computes_in_its_dtype_and_trains_in_float32(
    make: Callable[[], nn.Module], dtype: torch.dtype
) -> None:
    module = make()
    expected = module(X, is_causal=True)
    with torch.autocast("cpu", dtype=dtype):
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
@pytest.mark.parametrize("call", CALLS)
@every_module
def test_cuda_agrees_with_the_cpu(make: Callable[[], nn.Module], call: str) -> None:
    module = make()
    options = CALLS[call]
    if isinstance(module, MultiHeadLatentAttention) and call in ("lengths", "gates"):
        options = {}
    expected = module(X, **options)
    there = {k: v.cuda() if isinstance(v, Tensor) else v for k, v in options.items()}
    output = module.cuda()(X.cuda(), **there)
    torch.testing.assert_close(output.cpu(), expected, rtol=1e-4, atol=1e-4)
    with torch.autocast("cuda", dtype=torch.bfloat16):
        assert module(X.cuda(), **there).dtype == torch.bfloat16


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
    # fullgraph=True: a graph break is an error; what the compiler makes of the graph is its own
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(X, **CALLS[call]), module(X, **CALLS[call]))


@pytest.mark.usefixtures("compiler")
@by_mode
@every_module
def test_compiles_in_every_mode_with_gradients(
    make: Callable[[], nn.Module], mode: Callable[..., Any]
) -> None:
    module = make()
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    with mode():
        expected, output = module(X, is_causal=True), compiled(X, is_causal=True)
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
def test_a_graph_break_would_be_noticed() -> None:
    def breaks(x: Tensor) -> Tensor:
        torch._dynamo.graph_break()
        return x

    with pytest.raises(torch._dynamo.exc.Unsupported):
        torch.compile(breaks, fullgraph=True, backend="aot_eager")(X)


# -------------------------------------------------------------------------------------- vmap


def quietly(form: str) -> warnings.catch_warnings[Any]:
    """No warning may come, but torch's own about its fused kernel: it has no batching rule."""
    caught = warnings.catch_warnings()
    caught.__enter__()
    warnings.simplefilter("error")
    if form == "fused":
        warnings.filterwarnings("ignore", message="There is a performance drop")
    return caught


@by_mode
@by_form
def test_vmap_over_inputs(form: str, mode: Callable[..., Any]) -> None:
    module = mha(form)
    many = x_of(3, B, T, D_MODEL)
    caught = quietly(form)
    with mode():
        for options in CALLS.values():
            mapped = torch.func.vmap(lambda x, o=options: module(x, **o))(many)
            torch.testing.assert_close(mapped, torch.stack([module(x, **options) for x in many]))
    caught.__exit__(None, None, None)


@by_mode
@by_form
def test_vmap_over_masks(form: str, mode: Callable[..., Any]) -> None:
    module = mha(form)
    many = x_of(3, T, T, seed=3) > 0
    caught = quietly(form)
    with mode():
        mapped = torch.func.vmap(lambda mask: module(X, attn_mask=mask))(many)
        torch.testing.assert_close(mapped, torch.stack([module(X, attn_mask=m) for m in many]))
    caught.__exit__(None, None, None)


@by_mode
@by_form
def test_vmap_over_parameters(form: str, mode: Callable[..., Any]) -> None:
    modules = [mha(form) for _ in range(3)]
    for i, module in enumerate(modules):
        with torch.no_grad():
            module.w_v.weight.mul_(i + 1)
    stacked, _ = torch.func.stack_module_state(modules)
    caught = quietly(form)
    with mode():
        mapped = torch.func.vmap(
            lambda parameters: torch.func.functional_call(modules[0], parameters, (X,))
        )(stacked)
        torch.testing.assert_close(mapped, torch.stack([module(X) for module in modules]))
    caught.__exit__(None, None, None)


# ------------------------------------------------------------------------------- derivatives

SMALL = {"T": 3, "d_model": 4, "h": 2}


def small(form: str) -> tuple[Callable[..., Tensor], tuple[Tensor, ...]]:
    """Output as a function of the input and of every parameter, in float64."""
    torch.manual_seed(0)
    module = MultiHeadAttention(
        SMALL["d_model"], SMALL["h"], num_kv_heads=1, d_head=3, d_v=2, form=form
    ).double()
    names = [name for name, _ in module.named_parameters()]
    mask = torch.tensor([[True, False, True], [False, False, False], [True, True, True]])

    def output(x: Tensor, *parameters: Tensor) -> Tensor:
        given = dict(zip(names, parameters, strict=True))
        options = {"attn_mask": mask, "is_causal": True}
        result: Tensor = torch.func.functional_call(module, given, (x,), options)
        return result

    x = x_of(1, SMALL["T"], SMALL["d_model"], dtype=torch.float64).requires_grad_()
    return output, (x, *(p.detach().clone().requires_grad_() for p in module.parameters()))


@by_form
def test_first_derivatives_agree_with_finite_differences(form: str) -> None:
    output, inputs = small(form)
    assert torch.autograd.gradcheck(output, inputs)


@by_form
def test_second_derivatives_agree_with_finite_differences(form: str) -> None:
    output, inputs = small(form)
    # torch's fused kernel for the CPU has no second derivative; its plain one has
    with sdpa_kernel(SDPBackend.MATH):
        assert torch.autograd.gradgradcheck(output, inputs)


@pytest.mark.parametrize("form", ["loop", "batched"])
def test_torch_func_differentiates(form: str) -> None:
    module = mha(form).double()
    x = X.double()
    by_func = torch.func.grad(lambda x: module(x, is_causal=True).square().sum())(x)
    leaf = x.clone().requires_grad_()
    (by_tape,) = torch.autograd.grad(module(leaf, is_causal=True).square().sum(), leaf)
    torch.testing.assert_close(by_func, by_tape)


# ------------------------------------------------------------------------------------ memory


class Largest(TorchDispatchMode):
    """Remembers the largest number of elements of a tensor that any operation gave."""

    def __init__(self) -> None:
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(
        self, func: Any, _types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else (result,):
            if isinstance(tensor, Tensor):
                # what is expanded takes no memory of its own
                self.numel = max(
                    self.numel, tensor.untyped_storage().nbytes() // tensor.element_size()
                )
        return result


@pytest.mark.parametrize(("form", "holds_scores"), [("fused", False), ("batched", True)])
@pytest.mark.parametrize("is_causal", [False, True])
def test_fused_form_holds_no_scores(form: str, holds_scores: bool, is_causal: bool) -> None:
    long, heads = 2048, 3
    module = MultiHeadAttention(12, heads, form=form)
    x = x_of(1, long, 12).requires_grad_()
    with Largest() as largest:
        module(x, is_causal=is_causal).sum().backward()
    assert (largest.numel >= heads * long**2) == holds_scores
    assert (largest.numel >= long**2) == holds_scores


def test_inference_reuses_the_memory_of_the_scores() -> None:
    q, k = (split_heads(x_of(B, 65, 12, seed=s), 4) for s in (1, 2))
    with torch.inference_mode():
        for is_causal in (False, True):
            weights = attention_weights(q, k, is_causal=is_causal)
            torch.testing.assert_close(weights.sum(-1), torch.ones(B, 4, 65))
            forbidden = ~causal_mask(65, 65)
            assert (weights[..., forbidden] == 0).all() == is_causal


# ---------------------------------------------------------------------------------- the rest


@every_module
def test_copies_and_saved_states_give_the_same(
    make: Callable[[], nn.Module], tmp_path: Any
) -> None:
    module = make()
    expected = module(X)
    torch.testing.assert_close(copy.deepcopy(module)(X), expected)

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
