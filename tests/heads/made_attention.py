"""Attention weights made up for tests."""

from __future__ import annotations

import torch
from torch import Tensor

from mha_course.heads.patterns import visible_keys


def attention(heads: int, length: int, seed: int, is_causal: bool = False) -> Tensor:
    """Sharp and broad heads."""
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(heads, length, length, generator=generator, dtype=torch.float64) * 2
    if is_causal:
        scores = scores.masked_fill(torch.ones(length, length).triu(1).bool(), -torch.inf)
    return scores.softmax(-1)


def even(heads: int, length: int, is_causal: bool) -> Tensor:
    visible = visible_keys(length, is_causal).double()
    return (visible / visible.sum(1, keepdim=True)).expand(heads, length, length)
