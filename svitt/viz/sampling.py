"""Which frames of a clip a model is shown, and at which size."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from svitt.config import require

Frames = npt.NDArray[np.uint8]


def sampled_sheet(
    frames: Frames, sampled: Collection[int], title: str = "", columns: int = 16, width: float = 8.0
) -> Figure:
    """All frames of a clip, row by row; those that are not sampled are faded, those that are framed.

    frames: (F, H, W, 3). sampled: frame numbers from 0. Errors: ConfigError for a number out of range.
    """
    count, height, side = frames.shape[:3]
    wrong = [n for n in sampled if not 0 <= n < count]
    require(not wrong, "sampled", wrong, f"0 to {count - 1}")
    gap = max(2, side // 8)
    rows = -(-count // columns)
    sheet = np.full((rows * (height + gap) + gap, columns * (side + gap) + gap, 3), 255, np.uint8)
    edge = max(1, gap // 2)
    for i, frame in enumerate(frames):
        y, x = gap + (i // columns) * (height + gap), gap + (i % columns) * (side + gap)
        if i in sampled:
            sheet[y - edge : y + height + edge, x - edge : x + side + edge] = (1, 115, 178)
            sheet[y : y + height, x : x + side] = frame
        else:
            sheet[y : y + height, x : x + side] = 255 - (255 - frame.astype(int)) // 4
    fig, ax = plt.subplots(figsize=(width, width * sheet.shape[0] / sheet.shape[1] + 0.35))
    ax.imshow(sheet, interpolation="nearest")
    ax.set_axis_off()
    if title:
        ax.set_title(title, loc="left", fontsize="small")
    return fig


def equal_tokens(rows: Mapping[str, Frames], patch_size: int, scale: float = 0.032) -> Figure:
    """Frames of several sizes, a row each, all at the same pixels an inch, with the grid of patches.

    rows: title -> (T, H, W, 3). scale: inches a pixel.
    """
    sides = [frames.shape[2] for frames in rows.values()]
    gap = 3
    across = max(len(frames) * (frames.shape[2] + gap) for frames in rows.values())
    fig, axes = plt.subplots(
        len(rows), 1, figsize=(scale * across, scale * sum(sides) + 0.34 * len(rows)), height_ratios=sides,
        squeeze=False,
    )  # fmt: skip
    for ax, (title, frames) in zip(axes[:, 0], rows.items(), strict=True):
        count, height, side, _ = frames.shape
        strip = np.full((height, across, 3), 255, np.uint8)
        for i, frame in enumerate(frames):
            left = i * (side + gap)
            strip[:, left : left + side] = frame
            for at in range(patch_size, side, patch_size):
                ax.plot([left + at - 0.5] * 2, [-0.5, height - 0.5], color="white", linewidth=0.5)
                ax.plot([left - 0.5, left + side - 0.5], [at - 0.5] * 2, color="white", linewidth=0.5)
        ax.imshow(strip, interpolation="nearest")
        ax.set_axis_off()
        tokens = count * (height // patch_size) * (side // patch_size)
        ax.set_title(f"{title}: {tokens} tokens", loc="left", fontsize="small")
    return fig
