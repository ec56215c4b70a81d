"""Speed and memory of our attention beside torch.nn.MultiheadAttention, in one run.

    python -m benchmarks.attention                    # everything, about ten minutes on 2 cores
    python -m benchmarks.attention --quick            # three shapes and fewer rounds
    python -m benchmarks.attention --json FILE        # also write every number to FILE

Both modules have the same parameters, where torch's can have them: it has no key/value heads that
are shared (g < h), and holds copies. They give the same result before anything is timed. Their
runs alternate, round by round; a ratio is the median over the rounds of ours / torch's, so that
a machine that slows down slows both. Quartiles of the ratio stand beside it: a row whose lower
quartile meets its target is "over" within the noise only.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import torch

from benchmarks.memory import Memory, peak_memory
from benchmarks.report import (
    print_decoding,
    print_memory,
    print_speed,
    print_speed_header,
    print_summary,
)
from benchmarks.speed import SHAPES, Decoding, Speed, decoding_rows, speed_rows
from benchmarks.timing import conditions, write_json
from mha_course import device as default_device


def main() -> int:
    """Measure, print the tables, write the file."""
    options = _options()
    torch.manual_seed(options.seed)
    if options.threads:
        torch.set_num_threads(options.threads)
    where = torch.device(options.device) if options.device else default_device()
    dtype = getattr(torch, options.dtype)
    shapes = SHAPES[::4] if options.quick else SHAPES
    rounds = options.rounds or (5 if options.quick else 15)
    under = conditions(where, options.seed, rounds, options.dtype)
    print(" · ".join(f"{name} {value}" for name, value in under.items()), flush=True)

    speed: list[Speed] = []
    decoding: list[Decoding] = []
    memory: list[Memory] = []
    interrupted = False
    try:
        print_speed_header()
        for row in speed_rows(shapes, where, dtype, rounds):
            speed.append(row)
            print_speed(row)
        decoding += decoding_rows(where, dtype, rounds)
        print_decoding(decoding)
        memory += (peak_memory(name, where, dtype) for name in ("fused", "batched", "torch"))
        print_memory(memory)
    except KeyboardInterrupt:
        interrupted = True
        print("\ninterrupted: what follows is about the rows above only")
    print_summary(speed, decoding, memory)

    if options.json:
        found: dict[str, Any] = {
            "conditions": under,
            "complete": not interrupted,
            "speed": [row._asdict() for row in speed],
            "decoding": [row._asdict() for row in decoding],
            "memory": [row._asdict() for row in memory],
        }
        write_json(options.json, found)
    return 130 if interrupted else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.attention",
        description=(__doc__ or "").partition("\n")[0],
    )
    parser.add_argument("--quick", action="store_true", help="three shapes and fewer rounds")
    parser.add_argument(
        "--rounds", type=int, help="alternating rounds for each row; by default 15, quick 5"
    )
    parser.add_argument("--threads", type=int, help="CPU threads; torch decides unless given")
    parser.add_argument("--device", help="cpu, cuda or mps; by default the best one present")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float16"])
    parser.add_argument(
        "--seed", type=int, default=0, help="for inputs and parameters; 0 by default"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every number to FILE")
    options = parser.parse_args()
    if options.rounds is not None and options.rounds < 3:
        parser.error(f"--rounds {options.rounds}: at least 3, for a median with quartiles")
    if options.threads is not None and options.threads < 1:
        parser.error(f"--threads {options.threads}: at least 1")
    return options


if __name__ == "__main__":
    sys.exit(main())
