"""Settings of the clips of chapters 2 and 7: one object, or events, at several lengths and sizes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Variant:
    """num_frames of ``size`` pixels a side."""

    num_frames: int
    size: int


@dataclass(frozen=True)
class Settings:
    """A scale of the chapter.

    num_*: clips a split, of clip_frames frames. resolution, middle, frames: (frames, pixels a side) of
    variants of equally many tokens.
    width, other_widths: of the encoders. lengths: sampled frames of the clips with events, event_clip frames
    long, event_size pixels a side, with brief events of event_length frames. event_learning_rate: on them;
    above it the first steps lead nowhere (tuning seed 1000).
    """

    seeds: tuple[int, ...]
    num_train: int = 4000
    num_test: int = 1000
    steps: int = 1200
    clip_frames: int = 16
    resolution: tuple[int, int] = (1, 64)
    middle: tuple[int, int] = (4, 32)
    frames: tuple[int, int] = (16, 16)
    width: int = 64
    other_widths: tuple[int, ...] = (32, 96)
    depth: int = 3
    lengths: tuple[int, ...] = (2, 4, 8, 16)
    event_clip: int = 32
    event_size: int = 16
    event_length: int = 3
    event_clutter: int = 0
    batch_size: int = 64
    learning_rate: float = 3e-3
    event_learning_rate: float = 1e-3
    warmup_steps: int = 100
    mixed_precision: Literal["no", "bf16"] = "no"

    def variants(self, width: int | None = None) -> dict[str, Variant]:
        """By name. The variant of one frame is there twice where that of resolution has one frame. At a width
        (default: that of the settings) other than that of the settings, the two extremes alone."""
        extremes = {"resolution": Variant(*self.resolution), "frames": Variant(*self.frames)}
        if width not in (None, self.width):
            return extremes
        return extremes | {"middle": Variant(*self.middle), "single_frame": Variant(1, self.resolution[1])}
