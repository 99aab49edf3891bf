"""Which patch tokens were kept, drawn over the frames as in the papers; curves over keep rates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from svitt.config import require
from svitt.viz.plots import film_strip, t_interval

Frames = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.integer]

# One colour a way of selecting tokens, the same in every figure; seaborn's colour-blind palette.
SELECTION_COLOURS = {
    **dict(zip(("cls", "random", "lowest", "oracle"), sns.color_palette("colorblind"), strict=False)),
    "dense": "0.35",
    "pixel contrast": sns.color_palette("colorblind")[4],
}


def fade_pruned(frames: Frames, kept: Ints, patch_size: int) -> Frames:
    """``frames`` (T, H, W, 3) with every patch that is not in ``kept`` almost white.

    kept: numbers of the kept patches in the order of the tokens (frame, row, column). Returns a copy.
    Errors: ConfigError where patches do not tile a frame, or a number is none of a patch.
    """
    num, height, width, _ = frames.shape
    tiled = height % patch_size == 0 and width % patch_size == 0
    require(tiled, "patch_size", patch_size, f"a divisor of {height} and {width}, the frame's sides")
    grid = (num, height // patch_size, width // patch_size)
    total = grid[0] * grid[1] * grid[2]
    numbers = np.asarray(kept, dtype=np.int64)
    inside = bool(((numbers >= 0) & (numbers < total)).all())
    require(
        inside, "kept", sorted(set(numbers.tolist()) - set(range(total)))[:3], f"patches 0 to {total - 1}"
    )
    mask = np.zeros(total, bool)
    mask[numbers] = True
    pixels = mask.reshape(grid).repeat(patch_size, axis=1).repeat(patch_size, axis=2)
    faded: Frames = np.where(pixels[..., None], frames, 228 + (frames // 32)).astype(np.uint8)
    return faded


def kept_strips(
    frames: Frames,
    stages: Mapping[str, Ints],
    patch_size: int,
    numbers: Sequence[int] | None = None,
    title: str = "",
    width: float = 6.0,
) -> Figure:
    """A film strip a stage of pruning, one below the other: stage's name -> numbers of the kept patches.

    frames (T, H, W, 3); numbers: a label under every frame of the last strip.
    """
    row = width / len(frames) * frames.shape[1] / frames.shape[2] + 0.08
    height = row * len(stages) + (0.3 if title else 0) + (0.25 if numbers is not None else 0)
    fig, axes = plt.subplots(len(stages), 1, figsize=(width + 0.9, height), squeeze=False)
    for i, (ax, (name, kept)) in enumerate(zip(axes[:, 0], stages.items(), strict=True)):
        last = i == len(stages) - 1
        film_strip(
            ax, fade_pruned(frames, kept, patch_size), title if i == 0 else "", numbers if last else None
        )
        ax.set_ylabel(name, rotation=0, ha="right", va="center", fontsize="small")
    return fig


def rate_curves(
    ax: Axes,
    table: pd.DataFrame,
    x: str,
    y: str,
    hue: str,
    *,
    hue_order: Sequence[str] | None = None,
    level: float | None = None,
    level_name: str = "chance",
    legend: bool = True,
) -> None:
    """Mean over seeds with its 95% t-interval as a band, one dot a seed; ``table`` is tidy.

    hue: the column of selections, coloured alike everywhere. level: a dotted line, named ``level_name``.
    """
    order = list(dict.fromkeys(table[hue])) if hue_order is None else list(hue_order)
    palette = {name: SELECTION_COLOURS.get(name, "0.5") for name in order}
    common = {"x": x, "y": y, "hue": hue, "hue_order": order, "palette": palette, "ax": ax}
    sns.lineplot(table, **common, errorbar=t_interval, err_kws={"linewidth": 0}, legend=legend)
    sns.scatterplot(table, **common, s=14, alpha=0.45, linewidth=0, legend=False)
    if level is not None:
        ax.axhline(level, color="0.35", linestyle=":", linewidth=1.2)
        place = ("axes fraction", "data")
        ax.annotate(
            level_name, (1, level), xycoords=place, ha="right", va="bottom", color="0.35", size="small"
        )
    if legend:
        ax.legend(title="", frameon=False, fontsize="small")
