"""Which frames of a clip a model is shown, and how a single clip gets to it."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from svitt.data.transforms import normalise
from svitt.data.video.decode import read_clip
from svitt.data.video.sampling import sample_indices
from svitt.data.worlds.shapes.files import encode_mp4
from svitt.data.worlds.shapes.grammar import Scene
from svitt.data.worlds.shapes.scene import clip_parameters
from svitt.data.worlds.shapes.world import WorldSpec, render_clip

Frames = npt.NDArray[np.uint8]
Indices = npt.NDArray[np.int64]
NUM_FRAMES = 4


def shown_indices(count: int, total: int, num_frames: int, seed: int) -> npt.NDArray[np.int64]:
    """The frames of each test clip that a model is tested on, (count, num_frames).

    A random frame of each interval, as in training. The middle ones of an even number are half a frame
    early, and an object that stays in the picture then tells by its place where it is going.
    """
    rng = np.random.default_rng([seed, 2])
    return np.stack([sample_indices(num_frames, total, "random", rng) for _ in range(count)])


def decoded_clip(spec: WorldSpec, split: str, index: int, frames: Indices) -> tuple[Frames, Scene]:
    """Frames of a clip of a world, (T, H, W, 3): drawn, written as MP4, decoded. And its scene."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        path.write_bytes(encode_mp4(render_clip(spec, split, index)[0], spec.fps))
        decoded = read_clip(path, frames)
    return decoded, clip_parameters(spec, split, index).scene


def as_tensor(frames: Frames) -> torch.Tensor:
    """uint8 (B, T, 64, 64, 3) -> float (B, T, 3, 32, 32), as the models see clips."""
    batch, time, size, _, channels = frames.shape
    squares = frames.reshape(batch, time, size // 2, 2, size // 2, 2, channels).mean((3, 5))
    return normalise(squares.round().astype(np.uint8))
