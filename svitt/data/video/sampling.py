"""Which frames of a video make a clip: the rules of the Singularity, EgoVLP and SViTT loaders.

Arithmetic only (numpy); nothing here opens a file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from svitt.config import require

Mode = Literal["middle", "random"]
Indices = npt.NDArray[np.int64]


def sample_indices(
    num_frames: int, total: int, mode: Mode = "middle", generator: np.random.Generator | None = None
) -> Indices:
    """One frame from each of ``min(num_frames, total)`` equal intervals, padded with the last of them.

    num_frames: frames wanted; total: frames the video has.
    mode: "middle" of each interval, or "random" within it, both bounds included (the released loader
        never draws the last frame of the video; that is not copied).
    generator: required by "random".

    Returns (num_frames,) int64, ascending. Errors: ConfigError for counts below 1, an unknown mode or
    a missing generator.
    """
    require(num_frames >= 1, "num_frames", num_frames, "integers from 1")
    require(total >= 1, "total", total, "integers from 1 (the frames of the video)")
    require(mode in get_args(Mode), "mode", mode, ", ".join(get_args(Mode)))
    bounds = np.linspace(0, total, min(num_frames, total) + 1).astype(np.int64)
    first, last = bounds[:-1], bounds[1:] - 1
    if mode == "middle":
        indices = (first + last) // 2
    else:
        require(generator is not None, "generator", generator, "a numpy Generator, for mode 'random'")
        assert generator is not None
        indices = generator.integers(first, last, endpoint=True)
    return pad_indices(indices, num_frames)


def sample_indices_at_rate(
    rate: float, total: int, video_fps: float, max_frames: int | None = None
) -> Indices:
    """Frames at ``rate`` per second: the middles of intervals of 1 / rate seconds ("fpsX").

    total, video_fps: frames and frame rate of the video; max_frames: keep only the first so many.

    Returns (N,) int64, ascending; at least one index (the middle frame of a video that is shorter than
    half an interval). Errors: ConfigError for values that are not positive.
    """
    require(rate > 0, "rate", rate, "frames per second above 0")
    require(total >= 1, "total", total, "integers from 1 (the frames of the video)")
    require(video_fps > 0, "video_fps", video_fps, "frames per second above 0")
    require(max_frames is None or max_frames >= 1, "max_frames", max_frames, "integers from 1, or None")
    step = 1.0 / rate
    seconds = np.arange(step / 2, total / video_fps + step / 2, step)
    indices = np.around(seconds * video_fps).astype(np.int64)
    indices = indices[indices < total]
    if len(indices) == 0:
        indices = np.array([(total - 1) // 2], dtype=np.int64)
    return indices[:max_frames]


def pad_indices(indices: Indices, num_frames: int) -> Indices:
    """Repeats the last index until there are ``num_frames``; (n,) -> (num_frames,), n <= num_frames."""
    missing = num_frames - len(indices)
    require(len(indices) >= 1 and missing >= 0, "indices", len(indices), f"1 to {num_frames} of them")
    return np.concatenate([indices, np.repeat(indices[-1:], missing)])


@dataclass(frozen=True)
class Sampling:
    """How to choose the frames of a clip, once the length of its video is known.

    num_frames: frames a clip (with ``rate``: at most so many; None for no limit).
    mode: "middle" or "random", for sampling by equal intervals.
    rate: frames per second; when given, frames are taken at that rate and ``mode`` must be "middle".
    """

    num_frames: int | None = 4
    mode: Mode = "middle"
    rate: float | None = None

    def __post_init__(self) -> None:
        n = self.num_frames
        require(n is None or n >= 1, "num_frames", n, "integers from 1")
        require(n is not None or self.rate is not None, "num_frames", n, "an integer, when rate is not given")
        require(self.mode in get_args(Mode), "mode", self.mode, ", ".join(get_args(Mode)))
        require(self.rate is None or self.rate > 0, "rate", self.rate, "frames per second above 0")
        require(self.rate is None or self.mode == "middle", "mode", self.mode, "'middle', with a rate")

    def indices(self, total: int, video_fps: float, generator: np.random.Generator | None = None) -> Indices:
        """Frame indices for a video of ``total`` frames at ``video_fps``; (T,) int64."""
        if self.rate is not None:
            return sample_indices_at_rate(self.rate, total, video_fps, self.num_frames)
        assert self.num_frames is not None
        return sample_indices(self.num_frames, total, self.mode, generator)
