"""Which models of the sweep are trained, and what they are compared with."""

from __future__ import annotations

from mha_course.experiments.head_sweep.language_model import Recipe

D_MODEL = 64
HEADS = (1, 2, 4, 8, 16, 32, 64)
USUAL = 8  # heads of the original Transformer, and what others are compared with
SOME_SEEDS = 3  # for the checks beside the main sweep
RATES = {"half": 0.5, "twice": 2.0}  # of the learning rate of the main sweep
RATE_HEADS = (1, USUAL, 64)
ONE_BLOCK = Recipe(1, d_model=D_MODEL, num_layers=1)
SWEEPS = {
    "two blocks": Recipe(1, d_model=D_MODEL, num_layers=2),
    "one block": ONE_BLOCK,
}
SCALES = {
    "16 wide": (ONE_BLOCK._replace(d_model=16), (1, 2, 4, 8, 16)),
    "128 wide": (ONE_BLOCK._replace(d_model=128), (1, 4, 16, 64)),
    "256 characters": (ONE_BLOCK._replace(context=256), (1, 4, 16)),
}
"""Models of another size, and the numbers of heads that are tried."""
TIMED_STEPS = 30  # for each number of heads
BASELINES = (1, 2, 3, 4, 5)  # characters that the counting baselines look at
