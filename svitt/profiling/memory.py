"""Peak memory of one function, measured in a process that has done nothing else.

On the CPU it is the resident set as the kernel counts it, so it holds what any library allocates; on
CUDA it is what PyTorch's allocator handed out.
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from svitt.config import require
from svitt.errors import ProfilingError

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class Memory:
    """Bytes. before: resident when all is built (weights and inputs included); peak: at most after."""

    before: int
    peak: int

    @property
    def extra(self) -> int:
        """What the function needed beside the weights and inputs."""
        return self.peak - self.before


def peak_memory(
    build: Callable[..., Callable[[], object]], *args: Any, device: str = "cpu", threads: int = 1
) -> Memory:
    """Runs ``build(*args)`` in a fresh process, then the function it returns, once, and measures the latter.

    build: a function of an importable module; args: anything that can be pickled. threads: of PyTorch.
    Errors: ProfilingError with the end of the process's messages when it fails or is killed.
    """
    require(threads >= 1, "threads", threads, "integers from 1")
    name = f"{build.__module__}.{build.__qualname__}"
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "OMP_NUM_THREADS": str(threads),
        # Fixed, so that tensors are given back when freed and nothing hides in the C library's pools.
        "MALLOC_MMAP_THRESHOLD_": "131072",
    }
    done = subprocess.run(
        [sys.executable, "-m", "svitt.profiling.memory"],
        input=pickle.dumps((build, args, device, threads)),
        env=environment,
        capture_output=True,
    )
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip()[-2000:] or "no message"
        killed = " (killed; most likely out of memory)" if done.returncode == -9 else ""
        raise ProfilingError(
            f"peak memory of {name}{args}: the process ended with status {done.returncode}{killed}: "
            f"{reason}; use a smaller case, or a machine with more memory"
        )
    return Memory(**json.loads(done.stdout))


def _resident() -> tuple[int, int]:
    """(resident now, high-water mark) of this process in bytes; both the latter where there is no /proc."""
    if not _STATUS.is_file():
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak, peak
    fields = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
    now, peak = (1024 * int(fields[name].split()[0]) for name in ("VmRSS", "VmHWM"))
    return now, peak


def _measured(function: Callable[[], object], device: str) -> Memory:
    import torch

    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        function()
        torch.cuda.synchronize(device)
        return Memory(before, torch.cuda.max_memory_allocated(device))
    if _RESET.exists():
        _RESET.write_text("5")  # the high-water mark starts again from here
    before, _ = _resident()
    function()
    return Memory(before, _resident()[1])


def _child() -> None:
    """Reads the task from standard input, writes the result to standard output."""
    out = os.dup(1)
    os.dup2(2, 1)  # whatever prints from here on does not get into the result
    build, args, device, threads = pickle.load(sys.stdin.buffer)
    import torch

    torch.set_num_threads(threads)
    function = build(*args)
    torch.randn(256, 256) @ torch.randn(256, 256)  # loads the libraries of matrix products
    memory = _measured(function, device)
    with os.fdopen(out, "w") as stream:
        json.dump({"before": memory.before, "peak": memory.peak}, stream)


if __name__ == "__main__":
    _child()
