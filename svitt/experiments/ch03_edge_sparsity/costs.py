"""What one attention layer costs as the clip grows: FLOPs, seconds and bytes. Claim ``quadratic``.

Three variants on the same inputs: ``dense`` writes its matrix of scores down, as the papers describe
attention; ``fused`` is PyTorch's kernel that computes the same and never does; ``sparse`` follows the
edges of the paper (CLS, 1 local and 3 random blocks of 56). Raw outcomes, one number a length:
``tokens``, ``<variant>/attention_flops``, ``<variant>/attention_seconds`` (median) and
``<variant>/attention_bytes`` (at the peak, beside the inputs, in a fresh process).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from tqdm import tqdm

from svitt.experiments.shared.edge_settings import CostSettings
from svitt.layers.attention import reference_attention
from svitt.layers.edge_sparse_attention import edge_attention
from svitt.layers.edges import fixed_edges
from svitt.profiling.benchmark import interleave, threads
from svitt.profiling.cost import attention_cost
from svitt.profiling.memory import peak_memory

VARIANTS = ("dense", "fused", "sparse")
Step = Callable[[], object]


def inputs(settings: CostSettings, frames: int, seed: int, device: str) -> tuple[Tensor, Tensor, Tensor]:
    """q, k, v, each (1, heads, 1 + tokens, head_dim)."""
    generator = torch.Generator().manual_seed(seed)
    shape = (1, settings.heads, 1 + frames * settings.side**2, settings.head_dim)
    q, k, v = (torch.randn(shape, generator=generator).to(device) for _ in range(3))
    return q, k, v


def step(settings: CostSettings, variant: str, frames: int, seed: int, device: str) -> Step:
    """One forward pass of a variant, with its inputs made."""
    q, k, v = inputs(settings, frames, seed, device)
    pattern = fixed_edges(settings.edges, 0, q.shape[2] - 1)
    functions: Mapping[str, Step] = {
        "dense": lambda: reference_attention(q, k, v)[0],
        "fused": lambda: torch.nn.functional.scaled_dot_product_attention(q, k, v),
        "sparse": lambda: edge_attention(q, k, v, pattern, backend="chunked")[0],
    }
    return functions[variant]


def fresh_step(settings: CostSettings, variant: str, frames: int, seed: int, device: str) -> Step:
    """``step`` for a process of its own, after a pass on one frame that loads the libraries."""
    step(settings, variant, 1, seed, device)()
    return step(settings, variant, frames, seed, device)


def attention_costs(settings: CostSettings, seed: int, device: str) -> dict[str, npt.NDArray[Any]]:
    """All outcomes of one seed, which draws the inputs."""
    tokens = [frames * settings.side**2 for frames in settings.frames]
    width = settings.heads * settings.head_dim
    found: dict[str, list[float]] = {
        f"{variant}/attention_{what}": [] for variant in VARIANTS for what in _WHAT
    }
    with threads(settings.num_threads):
        for frames, count in zip(tqdm(settings.frames, desc="attention", leave=False), tokens, strict=True):
            steps = {variant: step(settings, variant, frames, seed, device) for variant in VARIANTS}
            timings = interleave(steps, settings.repeats, 1, device, settings.clock)
            for variant in VARIANTS:
                edges = settings.edges if variant == "sparse" else None
                memory = peak_memory(
                    fresh_step,
                    settings, variant, frames, seed, device,
                    device=device, threads=settings.num_threads,
                )  # fmt: skip
                found[f"{variant}/attention_flops"].append(attention_cost(count, width, edges))
                found[f"{variant}/attention_seconds"].append(timings[variant].median)
                found[f"{variant}/attention_bytes"].append(max(1, memory.extra))
    return {"tokens": np.array([1 + n for n in tokens]), **{k: np.array(v) for k, v in found.items()}}


def exponent(tokens: npt.NDArray[Any], cost: npt.NDArray[Any]) -> float:
    """Slope of log cost over log tokens, by least squares."""
    return float(np.polyfit(np.log(tokens), np.log(cost), 1)[0])


_WHAT = ("flops", "seconds", "bytes")
