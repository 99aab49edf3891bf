"""The scales of chapter 7."""

from __future__ import annotations

from collections.abc import Mapping

from svitt.experiments.curriculum_settings import Settings
from svitt.experiments.space_time_settings import Settings as Events

SCALES: Mapping[str, Settings] = {
    "smoke": Settings((0,), Events((0,), 200, 60, batch_size=32, warmup_steps=2), (12, 24)),
    "cpu": Settings((0, 1, 2, 3, 4)),
    "gpu": Settings(
        tuple(range(8)),
        Events((0,), 5000, 2000, width=256, depth=8, event_clip=64, event_size=32, event_length=5,
               batch_size=256, warmup_steps=200, mixed_precision="bf16"),
        (4000, 12000), (8, 16, 32), prune_layers=(1, 3, 5), block_size=16,
        direct_rate=5e-4, dense_rate=5e-4, staged_rate=5e-4,
    ),
}  # fmt: skip
