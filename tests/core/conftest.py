"""For all tests of the core."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """On busy cores, threads wait for each other at every product.

    The tensors here are so small that a second thread gains nothing; beside another process it
    made minutes of 10 seconds.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
