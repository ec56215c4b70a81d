"""Multi-head attention written a second time, and how an implementation is compared with it.

    sum_over_heads = Σ_i softmax(Q_i K_jᵀ / √d_head) V_j W_O_i + b_O     with j = i // (h/g)

It is written in plain torch operations on float64, has gradients, and shares no code with the
package. `multi_head_by_loops` goes number by number; `sum_over_heads` is checked against it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from mha_course import MultiHeadAttention

# Largest error, as a share of the largest number in the tensor, or of 1 if that is less.
# Found in all cases together: 9e-7 in float32, where a number itself is off by 6e-8, and 3e-15 in
# float64. The gradient of b_K is five times worse: it is a sum that is 0.
TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-5}


class Sizes(NamedTuple):
    """Keywords of MultiHeadAttention, all of them given."""

    d_model: int
    num_heads: int
    num_kv_heads: int
    d_head: int
    d_v: int
    kdim: int
    vdim: int
    bias: str = "qkvo"


def random(*shape: int, seed: int) -> Tensor:
    """Numbers in float64 that float32 holds too, so that both start from the same ones."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator).double()


def random_mask(*shape: int, seed: int) -> Tensor:
    """About two thirds may be attended, and every query has at least one key."""
    generator = torch.Generator().manual_seed(seed)
    mask = torch.rand(*shape, generator=generator) < 0.67
    mask[..., 0] = True
    return mask


def random_parameters(s: Sizes, seed: int) -> dict[str, Tensor]:
    """Weights so large that the softmax is not flat, and biases that are not zero."""
    shapes = {
        "q": (s.num_heads * s.d_head, s.d_model),
        "k": (s.num_kv_heads * s.d_head, s.kdim),
        "v": (s.num_kv_heads * s.d_v, s.vdim),
        "o": (s.d_model, s.num_heads * s.d_v),
    }
    parameters = {}
    for n, (name, (rows, columns)) in enumerate(shapes.items()):
        weight = 1.5 / math.sqrt(columns) * random(rows, columns, seed=seed + n)
        parameters[f"w_{name}.weight"] = weight.float().double()
        if name in s.bias:
            parameters[f"w_{name}.bias"] = random(rows, seed=seed + 10 + n) / 2
    return parameters


# ------------------------------------------------------------------------------ the reference


def who_may_attend(
    shape: tuple[int, int, int, int],
    attn_mask: Tensor | None,
    is_causal: bool,
    key_lengths: Tensor | None = None,
) -> Tensor:
    """Full boolean mask [B, h, T_q, T_k]; the last query is the last key's contemporary."""
    batch, _, num_queries, num_keys = shape
    allowed = torch.ones(shape, dtype=torch.bool)
    if attn_mask is not None:
        allowed &= attn_mask
    if is_causal:
        for t in range(num_queries):
            for s in range(num_keys):
                if num_keys - 1 - s < num_queries - 1 - t:
                    allowed[:, :, t, s] = False
    if key_lengths is not None:
        for b in range(batch):
            for s in range(num_keys):
                if s >= int(key_lengths[b]):
                    allowed[b, :, :, s] = False
    return allowed


def sum_over_heads(
    parameters: dict[str, Tensor],
    query: Tensor,
    key: Tensor,
    value: Tensor,
    allowed: Tensor,
    head_gates: Tensor | None = None,
    *,
    num_heads: int,
    num_kv_heads: int,
) -> tuple[Tensor, Tensor]:
    """Output [B, T_q, d_model] and weights [B, h, T_q, T_k], one head after the other."""

    def project(x: Tensor, w: str, head: int, of: int) -> Tensor:
        out = x @ torch.tensor_split(parameters[f"{w}.weight"], of, dim=0)[head].T
        if f"{w}.bias" in parameters:
            out = out + torch.tensor_split(parameters[f"{w}.bias"], of)[head]
        return out

    output = torch.zeros(*query.shape[:2], parameters["w_o.weight"].shape[0], dtype=query.dtype)
    all_weights = []
    for i in range(num_heads):
        j = i // (num_heads // num_kv_heads)
        q = project(query, "w_q", i, num_heads)
        k = project(key, "w_k", j, num_kv_heads)
        v = project(value, "w_v", j, num_kv_heads)
        scores = torch.einsum("btd,bsd->bts", q, k) / math.sqrt(q.shape[-1])
        # scores are far below 700, where exp overflows: no maximum needs to be subtracted
        exponentials = scores.exp() * allowed[:, i]
        total = exponentials.sum(-1, keepdim=True)
        weights = exponentials / torch.where(total > 0, total, 1.0)  # a row of nothing stays 0
        z = torch.einsum("bts,bsd->btd", weights, v)
        if head_gates is not None:
            z = z * head_gates.expand(query.shape[0], num_heads)[:, i, None, None]
        w_o = torch.tensor_split(parameters["w_o.weight"], num_heads, dim=1)[i]
        output = output + z @ w_o.T
        all_weights.append(weights)
    if "w_o.bias" in parameters:
        output = output + parameters["w_o.bias"]
    return output, torch.stack(all_weights, dim=1)


# -------------------------------------------------------------- the reference of the reference


def attention_by_loops(
    query: Tensor, key: Tensor, value: Tensor, allowed: Tensor
) -> tuple[Tensor, Tensor]:
    """Output [B, h, T_q, d_v] and weights [B, h, T_q, T_k], one number at a time."""
    batch, heads, num_queries, num_keys = allowed.shape
    weights = torch.zeros(allowed.shape, dtype=torch.float64)
    output = torch.zeros(*allowed.shape[:3], value.shape[-1], dtype=torch.float64)
    q, k, v, may = query.tolist(), key.tolist(), value.tolist(), allowed.tolist()
    for b in range(batch):
        for i in range(heads):
            for t in range(num_queries):
                exponentials = {}
                for s in range(num_keys):
                    if may[b][i][t][s]:
                        dot = math.fsum(x * y for x, y in zip(q[b][i][t], k[b][i][s], strict=True))
                        exponentials[s] = math.exp(dot / math.sqrt(len(q[b][i][t])))
                total = math.fsum(exponentials.values())
                for s, exponential in exponentials.items():
                    weights[b, i, t, s] = exponential / total
                for c in range(value.shape[-1]):
                    output[b, i, t, c] = math.fsum(
                        e / total * v[b][i][s][c] for s, e in exponentials.items()
                    )
    return output, weights


def multi_head_by_loops(case: Case) -> tuple[Tensor, Tensor]:
    """Output and weights of a case; the columns of the heads are written out one by one."""
    s, state = case.sizes, case.parameters
    query, key, value = case.inputs if len(case.inputs) == 3 else case.inputs * 3
    output = torch.zeros(*query.shape[:2], s.d_model, dtype=torch.float64)
    if "w_o.bias" in state:
        output += state["w_o.bias"]
    kv_head_of = [j for j in range(s.num_kv_heads) for _ in range(s.num_heads // s.num_kv_heads)]
    weights = []
    for i in range(s.num_heads):
        q, k, v = (
            torch.stack(
                [
                    x @ state[f"{w}.weight"][head * width + c]
                    + (state[f"{w}.bias"][head * width + c] if f"{w}.bias" in state else 0.0)
                    for c in range(width)
                ],
                dim=-1,
            )[:, None]
            for w, x, head, width in (
                ("w_q", query, i, s.d_head),
                ("w_k", key, kv_head_of[i], s.d_head),
                ("w_v", value, kv_head_of[i], s.d_v),
            )
        )  # each [B, 1, T, width]
        z, a = attention_by_loops(q, k, v, case.allowed[:, i : i + 1])
        for b in range(query.shape[0]):
            gates = case.head_gates
            gate = 1.0 if gates is None else (gates if gates.dim() == 1 else gates[b])[i]
            for c in range(s.d_v):
                column = state["w_o.weight"][:, i * s.d_v + c]
                output[b] += gate * z[b, 0, :, c, None] * column
        weights.append(a[:, 0])
    return output, torch.stack(weights, dim=1)


# ---------------------------------------------------------------------- cases and comparison


class Answer(NamedTuple):
    """What an implementation gives; the gradients are those of Σ output · case.cotangent."""

    output: Tensor
    weights: Tensor
    gradients: dict[str, Tensor]


@dataclass(frozen=True, eq=False)
class Case:
    """One call of multi-head attention, in float64; `inputs` is (x,) or (query, key, value)."""

    sizes: Sizes
    inputs: tuple[Tensor, ...]
    attn_mask: Tensor | None = None
    key_lengths: Tensor | None = None
    is_causal: bool = False
    head_gates: Tensor | None = None
    seed: int = 100

    @cached_property
    def parameters(self) -> dict[str, Tensor]:
        return random_parameters(self.sizes, self.seed)

    @property
    def scores_shape(self) -> tuple[int, int, int, int]:
        batch, num_queries = self.inputs[0].shape[:2]
        num_keys = self.inputs[-1].shape[1]
        return batch, self.sizes.num_heads, num_queries, num_keys

    @cached_property
    def allowed(self) -> Tensor:
        return who_may_attend(self.scores_shape, self.attn_mask, self.is_causal, self.key_lengths)

    @property
    def cotangent(self) -> Tensor:
        return random(*self.inputs[0].shape[:2], self.sizes.d_model, seed=99)

    def leaves(self, dtype: torch.dtype) -> dict[str, Tensor]:
        """Everything but the parameters that a gradient is asked for."""
        names = ("query", "key", "value") if len(self.inputs) == 3 else ("x",)
        leaves = dict(zip(names, self.inputs, strict=True))
        if self.head_gates is not None:
            leaves["head_gates"] = self.head_gates
        return {name: leaf.to(dtype, copy=True).requires_grad_() for name, leaf in leaves.items()}

    @cached_property
    def expected(self) -> Answer:
        leaves = self.leaves(torch.float64)
        query, key, value = (
            leaves.get(name, leaves.get("x")) for name in ("query", "key", "value")
        )
        parameters = {name: p.clone().requires_grad_() for name, p in self.parameters.items()}
        output, weights = sum_over_heads(
            parameters,
            query,
            key,
            value,
            self.allowed,
            leaves.get("head_gates"),
            num_heads=self.sizes.num_heads,
            num_kv_heads=self.sizes.num_kv_heads,
        )
        gradients = gradients_of((output * self.cotangent).sum(), leaves | parameters)
        return Answer(output.detach(), weights.detach(), gradients)


def gradients_of(loss: Tensor, leaves: dict[str, Tensor]) -> dict[str, Tensor]:
    gradients = torch.autograd.grad(loss, list(leaves.values()), materialize_grads=True)
    return dict(zip(leaves, gradients, strict=True))


def under_our_names(theirs: dict[str, Tensor], num_heads: int, g: int) -> dict[str, Tensor]:
    """Gradients of the parameters of nn.MultiheadAttention, under the names of ours.

    A key/value head that was repeated gets the sum of its copies' gradients.
    """
    if "in_proj_weight" in theirs:
        weights = theirs["in_proj_weight"].chunk(3)
    else:
        weights = [theirs[f"{w}_proj_weight"] for w in "qkv"]
    found = {f"w_{w}.weight": weight for w, weight in zip("qkv", weights, strict=True)}
    found["w_o.weight"] = theirs["out_proj.weight"]
    if "in_proj_bias" in theirs:
        biases = theirs["in_proj_bias"].chunk(3)
        found |= {f"w_{w}.bias": bias for w, bias in zip("qkv", biases, strict=True)}
        found["w_o.bias"] = theirs["out_proj.bias"]
    for name in found:
        if name.startswith(("w_k", "w_v")):
            copies = found[name].unflatten(0, (g, num_heads // g, -1))  # [g, h/g, width, …]
            found[name] = copies.sum(1).flatten(0, 1)
    return found


Implementation = Callable[..., tuple[Tensor, Tensor | None]]


def module_of(
    case: Case, form: str = "batched", dtype: torch.dtype = torch.float64
) -> MultiHeadAttention:
    """The package's module with the parameters of a case; its dropout must be off."""
    module = MultiHeadAttention(**case.sizes._asdict(), dropout=0.25, form=form).to(dtype).eval()
    module.load_state_dict(case.parameters)
    return module


def in_the_package(
    module: MultiHeadAttention, query: Tensor, key: Tensor, value: Tensor, **options: object
) -> tuple[Tensor, Tensor | None]:
    if module.form == "fused":
        return module(query, key, value, **options), None
    return module(query, key, value, return_weights=True, **options)


def assert_agrees(implementation: Implementation, module: MultiHeadAttention, case: Case) -> None:
    """Compare output, weights and all gradients with the sum over heads."""
    dtype = module.w_o.weight.dtype
    leaves = case.leaves(dtype)
    query, key, value = (leaves.get(name, leaves.get("x")) for name in ("query", "key", "value"))
    options = {
        "attn_mask": case.attn_mask,
        "key_lengths": case.key_lengths,
        "is_causal": case.is_causal or None,
        "head_gates": leaves.get("head_gates"),
    }
    options = {name: option for name, option in options.items() if option is not None}

    output, weights = implementation(module, query, key, value, **options)
    assert output.dtype == dtype
    assert_close("output", output, case.expected.output)
    if weights is not None:
        assert_close("weights", weights, case.expected.weights)

    gradients = gradients_of(
        (output * case.cotangent.to(dtype)).sum(), leaves | dict(module.named_parameters())
    )
    assert gradients.keys() == case.expected.gradients.keys()
    for name, gradient in gradients.items():
        assert_close(f"gradient of {name}", gradient, case.expected.gradients[name])

    # without gradients the package may take memory a second time
    with torch.inference_mode():
        output, weights = implementation(module, query, key, value, **options)
    assert_close("output in inference mode", output, case.expected.output)
    if weights is not None:
        assert_close("weights in inference mode", weights, case.expected.weights)


def assert_close(name: str, actual: Tensor, expected: Tensor) -> None:
    assert actual.shape == expected.shape, f"{name}: {actual.shape}, expected {expected.shape}"
    limit = TOLERANCE[actual.dtype] * max(1.0, expected.abs().max().item())
    error = (actual.detach().double() - expected).abs().max().item()
    assert error <= limit, f"{name}: off by {error:.2g}, at most {limit:.2g} are allowed"  # or NaN
