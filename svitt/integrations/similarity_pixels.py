"""Clips as a model's image tower wants them, and the frames' embeddings as one of the clip."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

Frames = npt.NDArray[np.uint8]
Scores = npt.NDArray[np.float32]
Tokenize = Callable[[Sequence[str]], dict[str, Tensor]]


def to_pixels(clips: Frames, size: int, mean: Sequence[float], std: Sequence[float], device: str) -> Tensor:
    """uint8 (V, T, H, W, 3) -> float (V, T, 3, size, size): resized to a square (bicubic, antialiased, as the
    releases resize for tests), scaled to [0, 1], normalised."""
    frames = (
        torch.from_numpy(np.ascontiguousarray(clips)).to(device).flatten(0, 1).movedim(-1, 1).float() / 255
    )
    if frames.shape[-2:] != (size, size):
        frames = F.interpolate(frames, (size, size), mode="bicubic", antialias=True).clamp(0, 1)
    centre = torch.tensor(mean, device=device)[:, None, None]
    spread = torch.tensor(std, device=device)[:, None, None]
    return ((frames - centre) / spread).unflatten(0, clips.shape[:2])


def to_patches(pixels: Tensor, patch: int) -> Tensor:
    """(B, 3, H, W) -> (B, H/p * W/p, p * p * 3), row by row, channels last: what SigLIP 2 (NaFlex) reads."""
    b, c, h, w = pixels.shape
    # (B, C, H/p, p, W/p, p) -> (B, H/p, W/p, p, p, C)
    cut = pixels.view(b, c, h // patch, patch, w // patch, patch).permute(0, 2, 4, 3, 5, 1)
    return cut.reshape(b, (h // patch) * (w // patch), patch * patch * c)


def mean_of_frames(features: Tensor, frames: int) -> Tensor:
    """Embeddings of frames (V*T, D) -> of clips (V, D): L2-normalised, averaged over T, normalised."""
    return F.normalize(F.normalize(features, dim=-1).unflatten(0, (-1, frames)).mean(1), dim=-1)


def as_scores(scores: Tensor) -> Scores:
    """float32 on the CPU."""
    return np.asarray(scores.float().cpu().numpy())
