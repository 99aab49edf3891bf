"""Peak memory: of a known allocation, of attention that writes its matrix down, of a process that fails."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
import torch

from svitt.errors import ConfigError, ProfilingError
from svitt.layers.edges import EdgeSparsity
from svitt.profiling.cases import BenchSettings, fresh_attention
from svitt.profiling.memory import Memory, peak_memory

MB = 1_000_000


def allocate(size: int, kept: int) -> Callable[[], object]:
    """Holds ``kept`` bytes; the step allocates ``size`` more and frees them, twice in turn."""
    held = torch.ones(kept, dtype=torch.uint8)

    def step() -> int:
        print("noise on standard output")
        for _ in range(2):
            made = torch.ones(size, dtype=torch.uint8)
            del made
        return len(held)

    return step


def fail(code: int) -> Callable[[], object]:
    def step() -> object:
        if code:
            os._exit(code)
        raise RuntimeError("the step is broken")

    return step


def test_the_peak_of_a_known_allocation() -> None:
    """200 MB, freed and allocated again: the peak is 200 MB more, the 100 MB held before do not count."""
    memory = peak_memory(allocate, 200 * MB, 100 * MB)
    assert memory.extra == pytest.approx(200 * MB, abs=8 * MB)
    assert memory.before > 100 * MB
    assert Memory(3, 10).extra == 7


def test_only_attention_with_a_bias_writes_its_matrix_down() -> None:
    """At 1025 tokens, 8 heads: scores or bias take 33.6 MB; q, k, v together 3 MB."""
    sizes = BenchSettings(heads=8, head_dim=32, side=16, edges=EdgeSparsity(1, 3, 64))
    matrix = 8 * 1025**2 * 4
    dense, bias, edges = (
        peak_memory(fresh_attention, kind, "forward", 4, sizes).extra
        for kind in ("dense", "dense_bias", "edges")
    )
    assert dense < matrix / 2 and edges < matrix / 2
    assert bias > matrix


def test_a_process_that_fails_says_why() -> None:
    with pytest.raises(ProfilingError, match=r"(?s)fail\(0,\).*status 1.*the step is broken"):
        peak_memory(fail, 0)
    with pytest.raises(ProfilingError, match=r"fail\(7,\).*status 7"):
        peak_memory(fail, 7)
    with pytest.raises(ConfigError, match="threads = 0"):
        peak_memory(fail, 0, threads=0)
