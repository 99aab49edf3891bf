"""Figures of the book: film strips, per-seed points with their mean and interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

Frames = npt.NDArray[np.uint8]

# One colour an arm or order, the same in every chapter; seaborn's colour-blind palette.
PALETTE = dict(zip(("none", "reverse", "shuffle", "freeze"), sns.color_palette("colorblind"), strict=False))


def set_style() -> None:
    """The book's matplotlib style: light grid, no top and right spines, readable sizes."""
    sns.set_theme(context="notebook", style="whitegrid", palette="colorblind", font_scale=0.95)
    plt.rcParams.update(
        {
            "axes.spines.top": False,
            "axes.spines.right": False,
            "figure.dpi": 110,
            "savefig.bbox": "tight",
            "axes.titleweight": "bold",
            "axes.titlesize": "medium",
            "figure.constrained_layout.use": True,
        }
    )


def film_strip(ax: Axes, frames: Frames, title: str = "", numbers: Sequence[int] | None = None) -> None:
    """Draws frames (T, H, W, 3) side by side into ``ax``; numbers: a label under each frame."""
    num, height, width, _ = frames.shape
    gap = max(1, width // 16)
    strip = np.full((height, num * width + (num - 1) * gap, 3), 255, np.uint8)
    for i, frame in enumerate(frames):
        strip[:, i * (width + gap) : i * (width + gap) + width] = frame
    ax.imshow(strip, interpolation="nearest")
    ax.grid(False)
    ax.set_yticks([])
    labels = [] if numbers is None else [str(n) for n in numbers]
    ax.set_xticks([i * (width + gap) + width / 2 for i in range(len(labels))], labels)
    ax.tick_params(length=0, labelsize="small")
    for spine in ax.spines.values():
        spine.set_visible(False)
    if title:
        ax.set_title(title, loc="left")


def film_strips(strips: Mapping[str, tuple[Frames, Sequence[int]]], width: float = 7.0) -> Figure:
    """One film strip a row: title -> (frames (T, H, W, 3), the frames' numbers)."""
    first = next(iter(strips.values()))[0]
    row = width / len(first) * first.shape[1] / first.shape[2] + 0.45
    fig, axes = plt.subplots(len(strips), 1, figsize=(width, row * len(strips)), squeeze=False)
    for ax, (title, (frames, numbers)) in zip(axes[:, 0], strips.items(), strict=True):
        film_strip(ax, frames, title, numbers)
    return fig


def clip_and_scores(
    frames: Frames,
    numbers: Sequence[int],
    scores: Mapping[str, float],
    true: str,
    title: str = "",
) -> Figure:
    """A film strip beside the scores of each choice; the bar of the true one is blue."""
    fig, (strip, bars) = plt.subplots(1, 2, figsize=(8.4, 2.3), width_ratios=[3, 2])
    film_strip(strip, frames, title, numbers)
    bars.barh(list(scores), list(scores.values()), color=["#0173b2" if s == true else "0.75" for s in scores])
    bars.axvline(0, color="0.3", linewidth=0.8)
    bars.set_xlim(-1, 1)
    bars.invert_yaxis()
    bars.set_title("similarity (blue: true)", loc="left")
    bars.tick_params(labelsize="small")
    return fig


def seeds_and_interval(
    ax: Axes,
    table: pd.DataFrame,
    x: str,
    y: str,
    hue: str | None = None,
    *,
    order: Sequence[str] | None = None,
    hue_order: Sequence[str] | None = None,
    chance: float | None = None,
    **kwargs: Any,
) -> None:
    """One dot a seed, and the mean with its 95% t-interval; ``table`` is tidy, one row a seed and group.

    chance: level drawn as a dotted line. Where ``y`` holds the groups, dots and intervals lie sideways.
    """
    sideways = pd.api.types.is_numeric_dtype(table[x]) and not pd.api.types.is_numeric_dtype(table[y])
    groups = {"x": x, "y": y, "hue": hue, "order": order, "hue_order": hue_order, "ax": ax}
    sns.stripplot(table, **groups, dodge=bool(hue), alpha=0.45, size=4, legend=False, **kwargs)
    sns.pointplot(
        table,
        **groups,
        linestyle="none",
        marker="|" if sideways else "_",
        markersize=16,
        dodge=0.4 if hue else False,
        errorbar=t_interval,
        capsize=0.08,
        err_kws={"linewidth": 1.6},
        **kwargs,
    )
    if chance is not None:
        ax.axhline(chance, color="0.35", linestyle=":", linewidth=1.2)
        place = ("axes fraction", "data")
        ax.annotate(
            "chance", (1, chance), xycoords=place, ha="right", va="bottom", color="0.35", size="small"
        )


def t_interval(values: npt.ArrayLike) -> tuple[float, float]:
    """95% t-interval of the mean over seeds; the value itself where there is one seed."""
    from scipy import stats

    array = np.asarray(values, dtype=float)
    if len(array) < 2:
        return float(array.mean()), float(array.mean())
    half = stats.t.ppf(0.975, len(array) - 1) * array.std(ddof=1) / np.sqrt(len(array))
    return float(array.mean() - half), float(array.mean() + half)
