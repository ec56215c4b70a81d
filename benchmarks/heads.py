"""Speed and memory of looking into the heads of real models.

    python -m benchmarks.heads                    # both models, some minutes on 2 cores
    python -m benchmarks.heads --quick            # fewer rounds
    python -m benchmarks.heads --json FILE        # also write every number to FILE

Three questions. What do gates cost, beside the same model's own `sdpa` forward? How much of the
naive loop of full forward passes does leave-one-out take, when it reuses what lies below the head?
How much memory do the patterns of all layers need over a long text?
"""

from __future__ import annotations

import argparse
import copy
import random
import sys
from collections.abc import Iterator
from itertools import accumulate
from multiprocessing.connection import Connection
from pathlib import Path
from pydoc_data.topics import topics
from statistics import median
from timeit import default_timer as timer
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.memory import in_own_process, peak_of_this_process
from benchmarks.timing import Call, alternate, conditions, quartiles, ratios, write_json
from mha_course.heads import TextModel, load
from mha_course.heads.pattern_table import pattern_table
from mha_course.heads.reuse import blocks
from mha_course.heads.tasks import TextBatch

GATED, LEAVE_ONE_OUT, MEMORY = 1.10, 0.60, 4 * 2**30  # targets
GATED_SHAPES = {"minilm": ((8, 64), (8, 256), (1, 512)), "smollm2": ((8, 64), (2, 256), (1, 1024))}
TEXTS = {"minilm": (8, 66), "smollm2": (2, 128)}  # for leave-one-out
LONG = 1024
TEXT = "\n".join(topics.values())  # Python's own reference: on every machine


class Gated(NamedTuple):
    """A forward pass with a gate on every head beside the same model's own; milliseconds."""

    model: str
    shape: tuple[int, int]
    gated: float
    own: float
    ratio: float
    quartiles: tuple[float, float]


class LeaveOneOut(NamedTuple):
    """Removing every head in turn: seconds for all heads of the model.

    Attributes:
        model: Its name.
        shape: Texts, and tokens in each.
        ours: Time with reuse, with the full run that it starts from.
        naive: Time of as many full forward passes.
        ratio: Of the two.
        floor: The same ratio in FLOPs of matrix products: no implementation that computes what
            lies above the head, and the scores of all words, does less.
        difference: Largest difference between the losses of both ways.
    """

    model: str
    shape: tuple[int, int]
    ours: float
    naive: float
    ratio: float
    floor: float
    difference: float


def gated_rows(model: TextModel, rounds: int) -> Iterator[Gated]:
    """Time a forward pass with and without gates, for each shape."""
    gates = torch.rand(model.heads.num_layers, model.heads.num_heads)
    body = model.model.base_model  # without the scores of all words, which gates do not touch
    untouched = copy.deepcopy(body)
    untouched.set_attn_implementation("sdpa")
    for texts, size in GATED_SHAPES[model.name]:
        ids = model.chunks(TEXT, size)[:texts]

        def gated(ids: Tensor = ids) -> object:
            with model.heads.at_work(gates=gates):
                return body(input_ids=ids)

        def own(ids: Tensor = ids) -> object:
            return untouched(input_ids=ids)

        calls: dict[str, Call] = {"gated": torch.no_grad()(gated), "own": torch.no_grad()(own)}
        times = alternate(calls, rounds, ids.device)
        found = ratios(times["gated"], times["own"])
        yield Gated(
            model.name,
            (texts, size),
            1e3 * median(times["gated"]),
            1e3 * median(times["own"]),
            median(found),
            quartiles(found),
        )


def leave_one_out_row(model: TextModel) -> LeaveOneOut:
    """Time both ways in alternation, layer by layer; of the naive way, one head of each layer."""
    texts, size = TEXTS[model.name]
    ids = model.chunks(TEXT, size)[:texts]
    batch = TextBatch(model, ids)
    heads = model.heads
    choose = random.Random(0)

    def naive(layer: int, head: int) -> Tensor:
        gates = torch.ones(heads.num_layers, heads.num_heads)
        gates[layer, head] = 0
        with torch.no_grad():
            if not model.is_causal:
                return batch.losses(gates)
            scores = model.run(ids, gates=gates).logits[:, :-1]
            each = functional.cross_entropy(
                scores.flatten(0, 1), ids[:, 1:].flatten(), reduction="none"
            )
        return each.view(texts, -1).mean(-1)

    ours, full, difference = [], [], 0.0
    naive(0, 0)
    start = timer()
    layers = batch.without_each_head()
    for layer in range(heads.num_layers):
        losses = next(layers)  # the first also pays for the run whose activations are kept
        ours.append(timer() - start)
        head = choose.randrange(heads.num_heads)
        start = timer()
        expected = naive(layer, head)
        full.append(timer() - start)
        difference = max(difference, (losses[head] - expected).abs().max().item())
        start = timer()
    # the naive way costs the same for every head: the median of its runs stands for each
    whole = median(full) * heads.num_layers * heads.num_heads
    return LeaveOneOut(
        model.name,
        (texts, size),
        sum(ours),
        whole,
        sum(ours) / whole,
        _floor(model, batch),
        difference,
    )


def _floor(model: TextModel, batch: TextBatch) -> float:
    """Share of the naive way's FLOPs that is left when nothing below a head is computed again."""
    with (
        sdpa_kernel(SDPBackend.MATH),  # the fused kernel's FLOPs are not counted
        FlopCounterMode(display=False) as counter,
        torch.no_grad(),
    ):
        batch.losses()
    counts = counter.get_flop_counts()
    root = type(model.model).__name__
    names = {module: f"{root}.{name}" for name, module in model.model.named_modules()}
    each = [sum(counts[names[block]].values()) for block in blocks(model)]
    below = list(accumulate(each[:-1], initial=0))
    return float(1 - sum(below) / len(below) / counter.get_total_flops())


def peak_memory(name: str) -> int:
    """Peak of a fresh process that loads the model and finds the patterns over a long text."""
    return in_own_process(_find_patterns, name)


def _find_patterns(answer: Connection, name: str) -> None:
    model = load(name)
    pattern_table(model, model.chunks(TEXT, LONG)[:1])
    answer.send(peak_of_this_process())


def main() -> int:
    """Measure, print the tables, write the file."""
    options = _options()
    torch.manual_seed(options.seed)
    now = conditions(torch.device("cpu"), options.seed, options.rounds)
    print(" · ".join(f"{name} {value}" for name, value in now.items()), flush=True)

    gated: list[Gated] = []
    left_out: list[LeaveOneOut] = []
    print("\ngates on every head, beside the model's own sdpa forward (without the last layer)")
    print("model     texts, tokens   gated, ms    own, ms  ratio  quartiles")
    models = [load(name) for name in TEXTS]
    for model in models:
        for row in gated_rows(model, options.rounds):
            gated.append(row)
            low, high = row.quartiles
            print(
                f"{row.model:9} {row.shape!s:14} {row.gated:10.1f} {row.own:10.1f}  "
                f"{row.ratio:5.2f}  {low:.2f}-{high:.2f} {_over(row.ratio, GATED)}",
                flush=True,
            )
    print("\nleave-one-out over all heads, beside as many full forward passes")
    print("model     texts, tokens   ours, s   naive, s  ratio  floor  difference of losses")
    for model in models:
        whole = leave_one_out_row(model)
        left_out.append(whole)
        print(
            f"{whole.model:9} {whole.shape!s:14} {whole.ours:8.1f} {whole.naive:10.1f}  "
            f"{whole.ratio:5.2f}  {whole.floor:5.2f}  {whole.difference:.1e} "
            f"{_over(whole.ratio, LEAVE_ONE_OUT) if whole.model == 'smollm2' else ''}",
            flush=True,
        )
    peak = peak_memory("smollm2")
    print(
        f"\npeak memory of a process that finds the patterns of smollm2 over {LONG} tokens: "
        f"{peak / 2**30:.2f} GiB {_over(peak, MEMORY)}"
    )
    print(
        f"\ntargets: gated at most {GATED:.2f}; leave-one-out of smollm2 at most "
        f"{LEAVE_ONE_OUT:.2f}; memory below {MEMORY / 2**30:.0f} GiB. The floor counts FLOPs of "
        "matrix products when\nnothing below a head is computed twice; the naive way also pays "
        "for a score of every word at once."
    )
    if options.json:
        found = {
            "conditions": now,
            "gated": [row._asdict() for row in gated],
            "leave_one_out": [row._asdict() for row in left_out],
            "peak_bytes": peak,
        }
        write_json(options.json, found)
    return 0


def _over(value: float, limit: float) -> str:
    return "over its target" if value > limit else ""


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.heads", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--quick", action="store_true", help="5 rounds instead of 15")
    parser.add_argument("--rounds", type=int, default=15, help="for each row, 15 by default")
    parser.add_argument("--seed", type=int, default=0, help="for the gates; 0 by default")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every number to FILE")
    options = parser.parse_args()
    if options.quick:
        options.rounds = 5
    if options.rounds < 3:
        parser.error(f"--rounds {options.rounds}: at least 3, for a median with quartiles")
    return options


if __name__ == "__main__":
    sys.exit(main())
