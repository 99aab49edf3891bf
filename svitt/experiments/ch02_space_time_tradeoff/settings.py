"""The scales of chapter 2."""

from __future__ import annotations

from collections.abc import Mapping

from svitt.experiments.shared.space_time_settings import Settings

SCALES: Mapping[str, Settings] = {
    "smoke": Settings((0,), 200, 60, 6, other_widths=(32,), batch_size=32, warmup_steps=2),
    "cpu": Settings((0, 1, 2, 3, 4)),
    "gpu": Settings(
        tuple(range(8)), 20000, 2000, 6000, 64, (4, 64), (16, 32), (64, 16),
        width=256, other_widths=(128, 512), depth=8, event_clip=64, event_size=32, event_length=5,
        batch_size=256, learning_rate=1e-3, event_learning_rate=5e-4, warmup_steps=400,
        mixed_precision="bf16",
    ),
}  # fmt: skip
