"""Patterns of attention drawn over a clip, and costs over clip length."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from svitt.config import require
from svitt.viz.plots import film_strip, t_interval
from svitt.viz.tokens import fade_pruned

Frames = npt.NDArray[np.uint8]
_COLOURS = sns.color_palette("colorblind")


def reads(
    frames: Frames,
    query: int,
    keys: Collection[int],
    patch_size: int,
    numbers: Sequence[int] | None = None,
    title: str = "",
    width: float = 6.0,
) -> Figure:
    """A film strip with the patches that ``query`` reads lit and the others faded; the query is framed.

    frames (T, H, W, 3); query, keys: numbers of patch tokens (frame, row, column).
    Errors: ConfigError for a number that is no patch.
    """
    time, height, side, _ = frames.shape
    per_frame = (height // patch_size) * (side // patch_size)
    require(0 <= query < time * per_frame, "query", query, f"patches 0 to {time * per_frame - 1}")
    shown = fade_pruned(frames, np.array(sorted(keys), dtype=np.int64), patch_size)
    fig, ax = plt.subplots(figsize=(width, width / time * height / side + 0.5))
    film_strip(ax, shown, title, numbers)
    frame, place = divmod(query, per_frame)
    row, column = divmod(place, side // patch_size)
    left = frame * (side + max(1, side // 16)) + column * patch_size
    corner = (left - 0.5, row * patch_size - 0.5)
    for colour, linewidth in (("white", 4.5), ("black", 2.2)):  # seen on any background
        frame_of_query = Rectangle(
            corner, patch_size, patch_size, fill=False, edgecolor=colour, linewidth=linewidth
        )
        ax.add_patch(frame_of_query)
    return fig


def matrices(masks: Mapping[str, npt.NDArray[np.bool_]]) -> Figure:
    """Adjacency matrices side by side, queries down, keys across; the share of pairs in the title."""
    fig, axes = plt.subplots(1, len(masks), figsize=(2.05 * len(masks), 2.5), squeeze=False)
    for ax, (name, mask) in zip(axes[0], masks.items(), strict=True):
        ax.imshow(mask, cmap="Blues", vmin=0, vmax=1.3, interpolation="nearest")
        ax.set_title(f"{name}\n{mask.mean():.0%} of pairs", fontsize="small")
        ax.set(xticks=[], yticks=[])
        ax.grid(False)
    axes[0, 0].set(xlabel="keys", ylabel="queries")
    return fig


def cost_panels(axes: Sequence[Axes], table: pd.DataFrame) -> None:
    """One panel a quantity, logarithmic both ways: a dot a seed, a line through the medians of an arm.

    table: columns arm, quantity, tokens, value.
    """
    quantities = list(dict.fromkeys(table.quantity))
    arms = list(dict.fromkeys(table.arm))
    for ax, quantity in zip(axes, quantities, strict=True):
        for i, arm in enumerate(arms):
            rows = table[(table.quantity == quantity) & (table.arm == arm)]
            middle = rows.groupby("tokens")["value"].median()
            style = {"color": _COLOURS[i], "marker": "oDs"[i % 3], "markersize": 5}
            # The two dense arms cost the same FLOPs: one line is dashed, so that both show.
            line = "--" if i % 2 else "-"
            ax.plot(middle.index, middle.values, line, label=arm, **style)
            ax.plot(rows.tokens, rows.value, linestyle="none", marker=".", alpha=0.4, color=_COLOURS[i])
        ax.set_xscale("log", base=2)
        ax.set_yscale("log")
        ticks = sorted(table.tokens.unique())
        ax.set_xticks(ticks, [str(n) for n in ticks], fontsize="small")
        ax.minorticks_off()
        ax.set(title=quantity, xlabel="tokens")


def density_panel(
    ax: Axes,
    table: pd.DataFrame,
    level: float | None = None,
    level_name: str = "chance",
    legend: bool = False,
) -> None:
    """Quality against the share of the clip that a token reads: mean over seeds with its t-interval.

    table: columns seed, edges, share, value. The horizontal axis is linear; level: a dotted line.
    """
    common = {"x": "share", "y": "value", "hue": "edges", "ax": ax}
    sns.lineplot(table, **common, errorbar=t_interval, err_kws={"linewidth": 0}, legend=legend)
    sns.scatterplot(table, **common, s=14, alpha=0.45, linewidth=0, legend=False)
    if level is not None:
        ax.axhline(level, color="0.35", linestyle=":", linewidth=1.2)
        place = ("axes fraction", "data")
        ax.annotate(
            level_name, (1, level), xycoords=place, ha="right", va="bottom", color="0.35", size="small"
        )
    ax.set(xlabel="share of the clip read", ylabel="", ylim=(0, 1.02))
    if legend:
        ax.legend(title="", frameon=False, fontsize="small")
