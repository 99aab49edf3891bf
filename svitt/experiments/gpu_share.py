"""Several processes on one GPU: each has its share of the memory, and a GPU that is too small is said."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import torch

from svitt.config import require
from svitt.errors import ConfigError

VARIABLE = "SVITT_GPU_SHARE"  # set by svitt.batch for its processes: how many of them share the GPU
USABLE = 0.95  # of the memory; the rest is for the contexts of the processes


def sharing() -> int:
    """How many processes share the GPU. Errors: ConfigError where the variable holds no number from 1."""
    text = os.environ.get(VARIABLE, "1")
    require(text.isdigit() and int(text) >= 1, VARIABLE, text, "integers from 1")
    return int(text)


@contextlib.contextmanager
def share_of_memory(device: torch.device) -> Iterator[None]:
    """Within it this process takes no more of a GPU's memory than its share; on a CPU nothing is bound.

    Errors: ConfigError where that, or the GPU, is not enough, with its size and the way out.
    """
    processes = sharing()
    if device.type == "cuda":
        torch.cuda.set_per_process_memory_fraction(USABLE / processes, device)
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise ConfigError(_too_small(device, processes)) from error


def _too_small(device: torch.device, processes: int) -> str:
    if device.type != "cuda":
        return "out of memory; use a smaller scale, or close other programs"
    about = torch.cuda.get_device_properties(device)
    size = about.total_memory / 2**30
    each = USABLE * size / processes
    shared = f", shared by {processes} processes ({each:.1f} GiB each)" if processes > 1 else ""
    way_out = "use fewer --jobs" if processes > 1 else "use a smaller scale, a larger GPU or --device cpu"
    return f"{about.name} has {size:.1f} GiB{shared}, and this measurement needs more; {way_out}"
