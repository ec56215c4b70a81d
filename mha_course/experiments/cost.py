"""What h costs at a fixed d_model: parameters, arithmetic, memory and time, in all three forms.

Counts are exact and the same on every machine. Times are ratios to one head within one run, form
by form, on one thread: they are no more than an example of one machine.
"""

from __future__ import annotations

import time
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from mha_course.counting import attention_parameters, count_parameters, score_bytes
from mha_course.experiments.intervals import mean_interval
from mha_course.experiments.peak_memory import PeakMemory
from mha_course.experiments.result import Data, Finding
from mha_course.experiments.run import Run
from mha_course.forms import FormName
from mha_course.multi_head import MultiHeadAttention

QUESTION = "What do more heads cost at a fixed d_model?"
CLAIMS = ("C03", "C18", "C22", "C28")
SEEDS, QUICK_SEEDS = 15, 3  # rounds of timing

D_MODEL, NUM_TOKENS = 512, 512
HEADS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
TIMED = (1, 2, 4, 8, 16, 32, 64)
QUICK_D_MODEL, QUICK_TOKENS = 128, 128
_AS_A_SUM = "largest difference between mixing what is concatenated and adding heads up"
FORMS: tuple[FormName, ...] = ("loop", "batched", "fused")


def measure(run: Run) -> Data:
    """Count for every h, and time the moderate ones."""
    d_model, tokens = (QUICK_D_MODEL, QUICK_TOKENS) if run.quick else (D_MODEL, NUM_TOKENS)
    heads = [h for h in HEADS if h <= d_model]
    timed = [h for h in TIMED if h <= d_model // 8]
    counted = run.map("counting", _count, {f"h {h}": (d_model, h, tokens) for h in heads})
    times = run.map("timing", _time_all, {"times": (d_model, timed, tokens, len(run.seeds))})
    return {
        "d_model": d_model,
        "tokens": tokens,
        "heads": {str(h): counted[f"h {h}"] for h in heads},
        "timed": timed,
        "time": times["times"],
        "one head without W_O": attention_parameters(d_model, 1, bias=False) - d_model**2,
    }


def _count(d_model: int, num_heads: int, tokens: int) -> dict[str, Any]:
    """Count what a layer of `num_heads` heads has, does and holds."""
    torch.manual_seed(0)
    mha = MultiHeadAttention(d_model, num_heads).eval()
    x = torch.randn(1, tokens, d_model)
    found: dict[str, Any] = {
        "parameters": count_parameters(mha),
        "parameters of nn.MultiheadAttention": count_parameters(
            nn.MultiheadAttention(d_model, num_heads)
        ),
        "bytes of scores": score_bytes(num_heads, tokens),
        _AS_A_SUM: _as_a_sum(mha, x),
    }
    for form in FORMS:
        mha.form = form
        # the fused kernel of the CPU is not counted by torch; the same products, told apart, are
        with FlopCounterMode(display=False) as flops, sdpa_kernel(SDPBackend.MATH), torch.no_grad():
            mha(x)
        with PeakMemory() as memory, torch.no_grad():
            mha(x)
        found[form] = {"flops": flops.get_total_flops(), "peak bytes": memory.peak}
    return found


@torch.no_grad()
def _as_a_sum(mha: MultiHeadAttention, x: Tensor) -> float:
    """Largest difference between concat(z)·W_O and Σ z_i·W_O_i, relative to the output."""
    mha.form = "batched"
    z = mha.heads(x).z  # [B, h, T, d_head]
    blocks = mha.w_o.weight.T.reshape(z.shape[1], -1, x.shape[-1])  # [h, d_head, d_model]
    as_sum = torch.einsum("bhtd,hdm->btm", z, blocks) + mha.w_o.bias
    output = mha(x)
    return float((as_sum - output).abs().max() / output.abs().max())


@torch.no_grad()
def _time_all(
    d_model: int, heads: list[int], tokens: int, rounds: int
) -> dict[str, dict[str, list[float]]]:
    """Time every form with every number of heads; ratios to one head, round by round."""
    torch.manual_seed(0)
    x = torch.randn(1, tokens, d_model)
    found: dict[str, dict[str, list[float]]] = {}
    for form in FORMS:
        modules = {h: MultiHeadAttention(d_model, h, form=form).eval() for h in heads}
        ratios: dict[str, list[float]] = {str(h): [] for h in heads}
        for _ in range(rounds):  # in turns, so that a busy moment hits all of them alike
            seconds = {h: _seconds(module, x) for h, module in modules.items()}
            for h in heads:
                ratios[str(h)].append(seconds[h] / seconds[1])
        found[form] = ratios
    return found


def _seconds(module: nn.Module, x: Tensor) -> float:
    """Median seconds of a call."""
    module(x)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        module(x)
        times.append(time.perf_counter() - start)
    return median(times)


def findings(data: Data) -> dict[str, Finding]:
    """Say what depends on h, and what does not."""
    d, heads = data["d_model"], data["heads"]
    most = max(heads, key=int)
    parameters = {count["parameters"] for count in heads.values()}
    torchs = {count["parameters of nn.MultiheadAttention"] for count in heads.values()}
    flops = {count[form]["flops"] for count in heads.values() for form in FORMS}
    peaks = {
        form: heads[most][form]["peak bytes"] / heads["1"][form]["peak bytes"] for form in FORMS
    }
    more_fused = heads[most]["fused"]["peak bytes"] - heads["1"]["fused"]["peak bytes"]
    scores = heads[most]["bytes of scores"]
    difference = max(count[_AS_A_SUM] for count in heads.values())
    slowest = str(max(data["timed"]))
    slower = {form: mean_interval(ratios[slowest]) for form, ratios in data["time"].items()}
    with_w_o, without = 4 * d * d, data["one head without W_O"]
    block = (with_w_o + 8 * d * d) / (without + 8 * d * d)
    return {
        "parameters-do-not-depend-on-h": Finding(
            parameters == torchs == {4 * d * d + 4 * d},
            f"with d_model = {d}, a layer has {_listed(parameters)} parameters for every h from 1 "
            f"to {most}, ours as torch's",
        ),
        "a-third-more-than-one-head-without-w-o": Finding(
            3 * with_w_o == 4 * without,
            f"without biases, {with_w_o:,} parameters against {without:,} of one head without "
            f"W_O: {100 * (with_w_o / without - 1):.1f} % more; over a block with its feed-forward "
            f"part, {100 * (block - 1):.1f} %",
        ),
        "flops-do-not-depend-on-h": Finding(
            len(flops) == 1,
            f"the matrix products take {_listed(flops)} FLOPs for {data['tokens']} tokens, for "
            "every h and in every form",
        ),
        "scores-grow-with-h": Finding(
            scores == int(most) * heads["1"]["bytes of scores"] and peaks["batched"] > 2,
            f"{most} heads have {most} times as many scores as one; at its peak the batched form "
            f"holds {peaks['batched']:.1f} times the memory of one head",
        ),
        "fused-stores-no-scores": Finding(
            more_fused < 0.02 * scores,
            f"with {most} heads the fused form holds {more_fused / 2**20:.1f} MiB more than with "
            f"one; the scores alone would take {scores / 2**20:.0f} MiB",
        ),
        "concatenating-is-a-sum": Finding(
            difference < 1e-4,
            f"concat(z)·W_O and the sum of z·W_O over the heads differ by at most {difference:.1e} "
            "of the largest output",
        ),
        "time-grows-with-h": Finding(
            slower["batched"].low > 1.2 and slower["fused"].low > 1,
            f"{slowest} heads take {slower['batched']} times as long as one in the batched form, "
            f"{slower['fused']} in the fused form, and {slower['loop']} in the loop",
            needs_full=True,
        ),
    }


def _listed(numbers: set[int]) -> str:
    return " or ".join(f"{number:,}" for number in sorted(numbers))
