"""From decoded clips to model input: augmentation, resizing, normalisation. Deterministic from a generator.

Two sets: batches of small cached clips (the procedural world), in numpy; and single clips of real
videos at 224 pixels, by torchvision.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torchvision.transforms import v2

from svitt.config import require
from svitt.data.text import mirror_words
from svitt.data.video.sampling import sample_indices

Clips = npt.NDArray[np.uint8]
MAX_SHIFT = 4  # pixels, of clips of 32 pixels a side: an eighth


def sample_frames(clips: Clips, num_frames: int, generator: np.random.Generator | None = None) -> Clips:
    """Frames from equal intervals: (B, T, H, W, C) -> (B, num_frames, H, W, C).

    With a generator each clip has its own random frame of each interval; without, the middle ones.
    """
    batch, total = clips.shape[:2]
    if generator is None:
        return clips[:, sample_indices(num_frames, total)]
    indices = [sample_indices(num_frames, total, "random", generator) for _ in range(batch)]
    return clips[np.arange(batch)[:, None], np.stack(indices)]


def shift_clips(clips: Clips, max_shift: int, generator: np.random.Generator) -> Clips:
    """Moves each clip by up to ``max_shift`` pixels either way, all its frames alike; the border repeats.

    (B, T, H, W, C) -> the same shape. Errors: ConfigError for a negative ``max_shift``.
    """
    batch, _, height, width, _ = clips.shape
    require(max_shift >= 0, "max_shift", max_shift, "integers from 0")
    down, right = generator.integers(-max_shift, max_shift, (2, batch), endpoint=True)
    padded = np.pad(clips, ((0, 0), (0, 0), (max_shift,) * 2, (max_shift,) * 2, (0, 0)), mode="edge")
    shifted = np.empty_like(clips)
    # Clip by clip: slices of a padded copy are faster than one gather over the whole batch.
    for i, (y, x) in enumerate(zip(max_shift - down, max_shift - right, strict=True)):
        shifted[i] = padded[i, :, y : y + height, x : x + width]
    return shifted


def flip_clips(
    clips: Clips, captions: Sequence[str], generator: np.random.Generator, probability: float = 0.5
) -> tuple[Clips, list[str]]:
    """Mirrors some clips left to right and swaps "left" and "right" in their captions.

    clips: (B, T, H, W, C); captions: B of them. Returns both, clips of the same shape.
    """
    require(len(captions) == len(clips), "captions", len(captions), f"one for each of {len(clips)} clips")
    flip = generator.random(len(clips)) < probability
    flipped = np.where(flip[:, None, None, None, None], clips[:, :, :, ::-1], clips)
    return flipped, [mirror_words(c) if f else c for c, f in zip(captions, flip, strict=True)]


def normalise(clips: Clips | torch.Tensor) -> torch.Tensor:
    """uint8 (..., T, H, W, C) -> float32 (..., T, C, H, W) with mean = std = 0.5: values in [-1, 1]."""
    tensor = torch.from_numpy(np.ascontiguousarray(clips)) if isinstance(clips, np.ndarray) else clips
    require(tensor.dtype == torch.uint8, "clips", tensor.dtype, "uint8")
    return tensor.movedim(-1, -3).float().div_(127.5).sub_(1.0)


def augment(
    clips: Clips,
    captions: Sequence[str],
    num_frames: int,
    generator: np.random.Generator,
    max_shift: int = MAX_SHIFT,
    flip_probability: float = 0.5,
) -> tuple[torch.Tensor, list[str]]:
    """The training transform of cached clips: jittered frames, shift, mirror, normalise.

    clips: uint8 (B, T, H, W, C); captions: B of them.
    Returns float32 (B, num_frames, C, H, W) and the captions, "left" and "right" swapped where mirrored.
    """
    clips = sample_frames(clips, num_frames, generator)
    clips = shift_clips(clips, max_shift, generator)
    clips, texts = flip_clips(clips, captions, generator, flip_probability)
    return normalise(clips), texts


def train_transform(
    clip: Clips,
    caption: str,
    generator: np.random.Generator,
    size: int = 224,
    scale: tuple[float, float] = (0.5, 1.0),
) -> tuple[torch.Tensor, str]:
    """Random crop of ``scale`` of the area, resized to ``size`` (bicubic), and a mirror half of the time;
    the same for all frames.

    clip: uint8 (T, H, W, C). Returns float32 (T, C, size, size) in about [-1, 1] and the caption, "left"
    and "right" swapped where mirrored.
    """
    crop = v2.RandomResizedCrop(size, scale=scale, interpolation=v2.InterpolationMode.BICUBIC, antialias=True)
    frames = torch.from_numpy(np.ascontiguousarray(clip)).movedim(-1, -3)
    # torchvision draws from PyTorch's global state: seeded for this call, then put back.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(generator.integers(2**63)))
        frames = crop(frames)
    if generator.random() < 0.5:
        frames, caption = v2.functional.horizontal_flip(frames), mirror_words(caption)
    return _normalise_frames(frames), caption


def evaluation_transform(clip: Clips, size: int = 224) -> torch.Tensor:
    """Resize to ``size`` x ``size`` (bicubic, without keeping the aspect ratio) and normalise.

    clip: uint8 (T, H, W, C). Returns float32 (T, C, size, size).
    """
    frames = torch.from_numpy(np.ascontiguousarray(clip)).movedim(-1, -3)
    resized = v2.functional.resize(
        frames, [size, size], interpolation=v2.InterpolationMode.BICUBIC, antialias=True
    )
    return _normalise_frames(resized)


def _normalise_frames(frames: torch.Tensor) -> torch.Tensor:
    return v2.functional.normalize(frames.float() / 255, mean=[0.5] * 3, std=[0.5] * 3)
