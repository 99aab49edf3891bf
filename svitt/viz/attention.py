"""Where words look: attention drawn over the frames of a clip."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from svitt.config import require
from svitt.viz.plots import film_strip

Frames = npt.NDArray[np.uint8]


def lit_by(frames: Frames, weights: npt.NDArray[np.floating[Any]], patch_size: int) -> Frames:
    """``frames`` (T, H, W, 3) with every patch as clear as its weight: the largest untouched, 0 nearly white.

    weights: (T*h*w,), from 0, in the order of the tokens (frame, row, column). Returns a copy.
    Errors: ConfigError for another number of weights, a negative one, or none above 0.
    """
    time, height, width, _ = frames.shape
    grid = (time, height // patch_size, width // patch_size)
    total = grid[0] * grid[1] * grid[2]
    require(weights.shape == (total,), "weights", weights.shape, f"({total},), one for every patch")
    sound = bool((weights >= 0).all()) and bool(weights.max() > 0)
    require(sound, "weights", (float(weights.min()), float(weights.max())), "0 and above, one above 0")
    clear = np.sqrt(weights / weights.max()).reshape(grid)
    clear = clear.repeat(patch_size, axis=1).repeat(patch_size, axis=2)[..., None]
    return np.asarray(clear * frames + (1 - clear) * (228 + frames / 32.0)).astype(np.uint8)


def attention_strip(
    frames: Frames,
    weights: npt.NDArray[np.floating[Any]],
    patch_size: int,
    title: str = "",
    numbers: Sequence[int] | None = None,
    width: float = 6.0,
) -> Figure:
    """The clip as it is and, below, lit by the weights; see ``lit_by``."""
    row = width / len(frames) * frames.shape[1] / frames.shape[2] + 0.08
    fig, axes = plt.subplots(2, 1, figsize=(width, 2 * row + 0.45))
    film_strip(axes[0], frames, title)
    film_strip(axes[1], lit_by(frames, weights, patch_size), "", numbers)
    return fig
