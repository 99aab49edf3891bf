"""Processes that share a GPU: each its part of the memory, and a clear word where it is too small."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from svitt.errors import ConfigError
from svitt.experiments.gpu_share import VARIABLE, share_of_memory


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Stands for a GPU of 8 GiB; notes the share that is asked for."""
    shares: list[float] = []
    about = SimpleNamespace(name="A small GPU", total_memory=8 * 2**30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: about)
    monkeypatch.setattr(
        torch.cuda, "set_per_process_memory_fraction", lambda share, device: shares.append(share)
    )
    return shares


@pytest.mark.parametrize(
    ("processes", "said"),
    [
        ("1", r"A small GPU has 8.0 GiB, and this measurement needs more; use a smaller scale"),
        ("4", r"A small GPU has 8.0 GiB, shared by 4 processes \(1.9 GiB each\).*use fewer --jobs"),
    ],
)
def test_a_gpu_that_is_too_small_is_said(
    gpu: list[float], monkeypatch: pytest.MonkeyPatch, processes: str, said: str
) -> None:
    monkeypatch.setenv(VARIABLE, processes)
    with pytest.raises(ConfigError, match=said), share_of_memory(torch.device("cuda")):
        raise torch.OutOfMemoryError("CUDA out of memory")
    assert gpu == [0.95 / int(processes)]


def test_on_a_cpu_nothing_is_bound_and_other_errors_pass(gpu: list[float]) -> None:
    with pytest.raises(ZeroDivisionError), share_of_memory(torch.device("cpu")):
        raise ZeroDivisionError
    assert gpu == []


@pytest.mark.parametrize("text", ["0", "-1", "two", ""])
def test_a_share_that_is_none_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, text)
    with pytest.raises(ConfigError, match=VARIABLE), share_of_memory(torch.device("cpu")):
        pass
