"""The augmentation of ``svitt.data.transforms`` where the clips are: drawn on the host, one gather there.

The random numbers are drawn by numpy in the same order, and a pixel becomes a number by a table, so that the
result is ``transforms.augment``'s to the last bit on every device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from svitt.config import require
from svitt.data.text import mirror_words
from svitt.data.transforms import normalise
from svitt.data.video.sampling import sample_indices


@dataclass(frozen=True)
class Augmentation:
    """What is done to B clips. frames: (B, T) int64, of the clip. down, right: (B,) pixels that the picture
    moves. flip: (B,) bool, mirrored left to right."""

    frames: npt.NDArray[np.int64]
    down: npt.NDArray[np.int64]
    right: npt.NDArray[np.int64]
    flip: npt.NDArray[np.bool_]

    def texts(self, captions: Sequence[str]) -> list[str]:
        """The B captions, "left" and "right" swapped where the clip is mirrored."""
        return [mirror_words(c) if f else c for c, f in zip(captions, self.flip, strict=True)]


def draw_augmentation(
    batch: int,
    total_frames: int,
    num_frames: int,
    generator: np.random.Generator,
    max_shift: int,
    flip_probability: float = 0.5,
) -> Augmentation:
    """What ``transforms.augment`` draws for ``batch`` clips of ``total_frames``, in its order.

    Errors: ConfigError for a negative ``max_shift``.
    """
    require(max_shift >= 0, "max_shift", max_shift, "integers from 0")
    frames = [sample_indices(num_frames, total_frames, "random", generator) for _ in range(batch)]
    down, right = generator.integers(-max_shift, max_shift, (2, batch), endpoint=True)
    return Augmentation(np.stack(frames), down, right, generator.random(batch) < flip_probability)


def augment_there(clips: Tensor, chosen: Sequence[int], how: Augmentation) -> Tensor:
    """The ``chosen`` B of clips uint8 (N, F, H, W, C), augmented on the device that holds them.

    Returns float32 (B, T, C, H, W) there, in [-1, 1], with the strides that ``transforms.normalise`` gives.
    """
    height, width = clips.shape[2:4]
    # A moved picture repeats its border: the pixel asked for, or the nearest there is.
    rows = np.clip(np.arange(height) - how.down[:, None], 0, height - 1)  # (B, H)
    columns = np.arange(width)[None]
    columns = np.where(how.flip[:, None], columns[:, ::-1], columns)
    columns = np.clip(columns - how.right[:, None], 0, width - 1)  # (B, W)
    index = (
        np.asarray(chosen)[:, None, None, None],
        how.frames[:, :, None, None],
        rows[:, None, :, None],
        columns[:, None, None, :],
    )
    pixels = clips[tuple(torch.from_numpy(part).to(clips.device) for part in index)]  # (B, T, H, W, C)
    return pixel_values(clips.device)[pixels.int()].movedim(-1, -3)


def pixel_values(device: torch.device) -> Tensor:
    """(256,) float32: what ``transforms.normalise`` makes of every pixel value.

    Worked out on the CPU: a GPU divides by a constant by multiplying by its inverse, which rounds otherwise.
    """
    every = torch.arange(256, dtype=torch.uint8).view(1, 1, 1, 256)
    return normalise(every).flatten().to(device)
