"""device(): the choice, its override, and errors that say what to do."""

from __future__ import annotations

import pytest
import torch

from mha_course import device


@pytest.fixture
def bare_machine(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A machine without CUDA and MPS, whatever this one has."""
    monkeypatch.delenv("MHA_DEVICE", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    return monkeypatch


def test_cpu_when_there_is_nothing_faster(bare_machine: pytest.MonkeyPatch) -> None:
    assert device() == torch.device("cpu")
    bare_machine.setenv("MHA_DEVICE", "  ")
    assert device() == torch.device("cpu")


def test_cuda_before_mps_before_cpu(bare_machine: pytest.MonkeyPatch) -> None:
    bare_machine.setattr(torch.backends.mps, "is_available", lambda: True)
    assert device() == torch.device("mps")
    bare_machine.setattr(torch.cuda, "is_available", lambda: True)
    assert device() == torch.device("cuda")


def test_variable_overrides_the_choice(bare_machine: pytest.MonkeyPatch) -> None:
    bare_machine.setattr(torch.cuda, "is_available", lambda: True)
    bare_machine.setattr(torch.cuda, "device_count", lambda: 2)
    for name in ("cpu", "cuda", "cuda:1"):
        bare_machine.setenv("MHA_DEVICE", name)
        assert device() == torch.device(name)


def test_variable_may_name_mps_where_it_is_present(bare_machine: pytest.MonkeyPatch) -> None:
    bare_machine.setattr(torch.cuda, "is_available", lambda: True)
    bare_machine.setattr(torch.backends.mps, "is_available", lambda: True)
    bare_machine.setenv("MHA_DEVICE", " mps ")
    assert device() == torch.device("mps")


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "CPU!", "xpu", "meta"])
def test_unknown_name_is_refused_with_the_known_ones(
    bare_machine: pytest.MonkeyPatch, name: str
) -> None:
    bare_machine.setenv("MHA_DEVICE", name)
    with pytest.raises(ValueError, match=f"MHA_DEVICE='{name}' .*use cpu, cuda, cuda:1 or mps"):
        device()


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "mps"])
def test_absent_device_is_refused_with_a_way_out(
    bare_machine: pytest.MonkeyPatch, name: str
) -> None:
    bare_machine.setenv("MHA_DEVICE", name)
    with pytest.raises(ValueError, match=f"MHA_DEVICE='{name}', but torch .*use MHA_DEVICE=cpu"):
        device()


def test_a_cuda_device_beyond_the_last_is_refused(bare_machine: pytest.MonkeyPatch) -> None:
    bare_machine.setattr(torch.cuda, "device_count", lambda: 1)
    bare_machine.setenv("MHA_DEVICE", "cuda:1")
    with pytest.raises(ValueError, match="sees no such device"):
        device()


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_cuda_is_refused_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MHA_DEVICE", "cuda")
    with pytest.raises(ValueError, match="use MHA_DEVICE=cpu"):
        device()


def test_tensors_can_be_put_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MHA_DEVICE", raising=False)
    assert torch.ones(2, device=device()).sum().item() == 2
