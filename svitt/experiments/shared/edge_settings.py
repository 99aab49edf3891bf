"""The scales of chapter 3, whose dense models of two objects others use as well."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from svitt.experiments.shared.two_object_world import (
    TwoObjectSettings,
)
from svitt.layers.edges import EdgeSparsity
from svitt.profiling.benchmark import Clock


@dataclass(frozen=True)
class CostSettings:
    """frames: lengths of the clip, side x side tokens each. repeats: runs of every variant, in turn."""

    frames: tuple[int, ...]
    repeats: int
    heads: int = 4
    head_dim: int = 64
    side: int = 14
    edges: EdgeSparsity = field(default_factory=EdgeSparsity)
    clock: Clock = "cpu"
    num_threads: int = 1


@dataclass(frozen=True)
class Settings:
    """A scale of the chapter.

    model: of the two-object models. trained: the patterns that are trained, dense first. block_size: tokens
    a block; shares: of the clip that a token reads, in the sweep. draws: of random edges. pool_size: clips a
    retrieval pool. costs: of one attention layer.
    """

    seeds: tuple[int, ...]
    costs: CostSettings
    model: TwoObjectSettings = field(default_factory=TwoObjectSettings)
    trained: tuple[str, ...] = ("dense", "full", "local", "tube", "cls_only")
    block_size: int = 4
    shares: tuple[float, ...] = (0.0625, 0.125, 0.25, 0.5, 0.75)
    draws: int = 3
    pool_size: int = 200


SCALES: Mapping[str, Settings] = {
    "smoke": Settings(
        (0,),
        CostSettings((2, 4, 8), 2, heads=2, head_dim=16, side=8),
        TwoObjectSettings(400, 200, 100, 10, batch_size=32, warmup_steps=4),
        shares=(0.125, 0.5),
        draws=2,
        pool_size=50,
    ),
    "cpu": Settings((0, 1, 2, 3, 4), CostSettings((4, 8, 16, 24), 5)),
    "gpu": Settings(
        tuple(range(8)),
        CostSettings((4, 8, 16, 32), 20, heads=12, clock="wall"),
        TwoObjectSettings(
            20000, 10000, 2000, 8000, image_size=64, num_frames=8, width=256, depth=8, num_heads=4,
            batch_size=256, learning_rate=1e-3, warmup_steps=400, mixed_precision="bf16",
        ),
        trained=("dense", "full", "local", "tube", "cls_only", "random", "full_no_cls", "local_no_cls"),
        block_size=16,
        shares=(0.03125, 0.0625, 0.125, 0.25, 0.5, 0.75),
    ),
}  # fmt: skip
