"""Peak memory of one training step over a long sequence, each in a process of its own."""

from __future__ import annotations

import multiprocessing
import resource
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import torch

from mha_course import MultiHeadAttention, score_bytes, to_torch

BATCH, TIME, D_MODEL, HEADS = 1, 2048, 1024, 16


class Memory(NamedTuple):
    """Peak memory of a forward and of a training step, above what stood before; bytes.

    Attributes:
        name: A form of ours, or "torch" for nn.MultiheadAttention without weights.
        forward: Peak of the forward pass in inference mode.
        training: Peak of forward and backward.
        scores: Bytes of h·T² numbers, to compare with.
    """

    name: str
    forward: int
    training: int
    scores: int


def peak_memory(name: str, device: torch.device, dtype: torch.dtype) -> Memory:
    """Measure in fresh processes: the peak of a process never falls again."""
    forward, training = (
        in_own_process(_measure, name, device, dtype, mode) for mode in (False, True)
    )
    scores = score_bytes(HEADS, TIME, bytes_per_number=dtype.itemsize)
    return Memory(name, forward, training, scores)


def in_own_process(measure: Callable[..., None], *arguments: object) -> int:
    """Return what `measure(connection, *arguments)` sends from a fresh process."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe(duplex=False)
    process = spawn.Process(target=measure, args=(theirs, *arguments))
    process.start()
    theirs.close()
    found: int = ours.recv()
    process.join()
    return found


def _measure(
    answer: Connection, name: str, device: torch.device, dtype: torch.dtype, training: bool
) -> None:
    torch.manual_seed(0)
    mha = MultiHeadAttention(D_MODEL, HEADS, form="batched" if name == "batched" else "fused")
    module = (to_torch(mha) if name == "torch" else mha).to(device, dtype).train(training)

    def step(time: int) -> None:
        x = torch.randn(BATCH, time, D_MODEL, device=device, dtype=dtype)
        given = (x, x, x) if name == "torch" else (x,)
        options = {"need_weights": False} if name == "torch" else {}
        with torch.inference_mode(not training):
            result = module(*given, **options)
            output = result[0] if isinstance(result, tuple) else result
            if training:
                output.sum().backward()

    step(16)  # loads the kernels, and makes room for the gradients
    before = _peak(device)
    step(TIME)
    answer.send(_peak(device) - before)


def _peak(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return peak_of_this_process()


def peak_of_this_process() -> int:
    """Bytes of main memory that the process has had at most."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux: ru_maxrss there starts from the peak of the parent process
        line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
