"""Timing of alternatives: interleaved in one process, warm-up first, medians with inter-quartile range."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from svitt.config import require

Clock = Literal["wall", "cpu"]


@dataclass(frozen=True)
class Timing:
    """Seconds of one alternative: median, quartiles, number of runs, and the runs themselves in order."""

    median: float
    lower: float
    upper: float
    repeats: int
    runs: tuple[float, ...] = ()

    @classmethod
    def of(cls, seconds: list[float]) -> Timing:
        """From single runs. ValueError for none."""
        if not seconds:
            raise ValueError("a timing needs at least one run")
        lower, median, upper = (float(x) for x in np.percentile(seconds, [25, 50, 75]))
        return cls(median, lower, upper, len(seconds), tuple(seconds))

    def __str__(self) -> str:
        return f"{self.median * 1e3:.1f} ms [{self.lower * 1e3:.1f}, {self.upper * 1e3:.1f}]"


def interleave(
    alternatives: Mapping[str, Callable[[], object]],
    repeats: int,
    warmup: int = 1,
    device: torch.device | str = "cpu",
    clock: Clock = "wall",
    progress: Callable[[str], object] = lambda name: None,
) -> dict[str, Timing]:
    """Times the alternatives A B A B ..., so that a change of the machine's load meets all alike.

    clock: "wall"; "cpu", the CPU time of this process, for one thread on a machine shared with others.
    CUDA devices are timed by events. ``progress`` is called with a name after every run.
    ConfigError for fewer than one repeat, or a CPU clock on a CUDA device.
    """
    device = torch.device(device)
    require(repeats >= 1, "repeats", repeats, "integers from 1")
    require(clock == "wall" or device.type == "cpu", "clock", clock, "wall, on a CUDA device")
    seconds: dict[str, list[float]] = {name: [] for name in alternatives}
    for run in range(-warmup, repeats):
        for name, function in alternatives.items():
            taken = _time_cuda(function) if device.type == "cuda" else _time_cpu(function, clock)
            if run >= 0:
                seconds[name].append(taken)
            progress(name)
    return {name: Timing.of(values) for name, values in seconds.items()}


def _time_cpu(function: Callable[[], object], clock: Clock) -> float:
    now = time.perf_counter if clock == "wall" else time.process_time
    start = now()
    function()
    return now() - start


def _time_cuda(function: Callable[[], object]) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in "12")
    torch.cuda.synchronize()
    start.record()
    function()
    end.record()
    torch.cuda.synchronize()
    return float(start.elapsed_time(end)) / 1e3


def matmul_peak(
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    clock: Clock = "wall",
    size: int = 1024,
) -> float:
    """FLOP/s of the best of 15 square matrix products: what the machine reaches at most here and now."""
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in "ab")
    timing = interleave({"matmul": lambda: a @ b}, repeats=15, warmup=3, device=device, clock=clock)["matmul"]
    # The lower quartile, not the minimum: single runs below the clock's resolution do not count.
    return 2 * size**3 / timing.lower


@contextmanager
def threads(count: int | None) -> Iterator[int]:
    """Runs the body with ``count`` PyTorch threads (None: as they are) and restores the number."""
    before = torch.get_num_threads()
    if count is not None:
        require(count >= 1, "threads", count, "integers from 1")
        torch.set_num_threads(count)
    try:
        yield torch.get_num_threads()
    finally:
        torch.set_num_threads(before)


def machine(device: torch.device | str = "cpu") -> dict[str, Any]:
    """Processor, device, threads and versions, to stand beside every table."""
    device = torch.device(device)
    return {
        "processor": _processor(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def as_json(timings: Mapping[str, Timing]) -> dict[str, dict[str, Any]]:
    """Plain data of timings, seconds."""
    return {name: asdict(timing) for name, timing in timings.items()}
