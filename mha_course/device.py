"""Where tensors live: a GPU when there is one, the CPU otherwise."""

from __future__ import annotations

import os

import torch


def device() -> torch.device:
    """Pick CUDA, then Apple's MPS, then the CPU; the variable MHA_DEVICE overrides the choice.

    Raises:
        ValueError: MHA_DEVICE names a device that torch does not know or this machine lacks.

    >>> device().type in ("cpu", "cuda", "mps")
    True
    """
    wanted = os.environ.get("MHA_DEVICE", "").strip()
    if not wanted:
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")

    try:
        chosen = torch.device(wanted)
    except RuntimeError:
        chosen = None
    if chosen is None or chosen.type not in ("cpu", "cuda", "mps"):
        raise ValueError(f"MHA_DEVICE={wanted!r} is not a device; use cpu, cuda, cuda:1 or mps")
    if not _is_present(chosen):
        raise ValueError(
            f"MHA_DEVICE={wanted!r}, but torch {torch.__version__} sees no such device here; "
            "use MHA_DEVICE=cpu, or install a torch build for that device"
        )
    return chosen


def _is_present(chosen: torch.device) -> bool:
    if chosen.type == "cuda":
        return (chosen.index or 0) < torch.cuda.device_count()
    if chosen.type == "mps":
        return torch.backends.mps.is_available()
    return True
