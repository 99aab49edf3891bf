"""One stage of a growing curriculum: its clips, edges and tokens, and where it stands in the training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from svitt.viz.plots import film_strip

_COLOURS = sns.color_palette("colorblind")


def stage_panels(
    frames: npt.NDArray[np.uint8],
    mask: npt.NDArray[np.bool_],
    tokens: Sequence[float],
    most: float,
    losses: Mapping[str, pd.DataFrame],
    spent: tuple[float, float],
) -> Figure:
    """The frames (T, H, W, 3) of a stage; below, which token reads which (``mask``), how many patches every
    layer reads (``tokens``, of at most ``most``), and losses (columns spent, loss) over the share of the cost
    that is spent, the stage shaded."""
    fig = plt.figure(figsize=(8.4, 3.7))
    grid = fig.add_gridspec(2, 3, height_ratios=[1, 3.2], width_ratios=[1, 1, 2])
    film_strip(fig.add_subplot(grid[0, :]), frames, f"{len(frames)} frames")
    edges, left, curve = (fig.add_subplot(grid[1, i]) for i in range(3))
    edges.imshow(mask, cmap="Blues", vmin=0, vmax=1.3, interpolation="nearest", aspect="equal")
    edges.set(title=f"edges: {mask.mean():.0%}", xticks=[], yticks=[], xlabel="keys", ylabel="queries")
    edges.grid(False)
    left.bar(range(1, len(tokens) + 1), tokens, color=_COLOURS[1], width=0.8)
    left.set(title="patches", xlabel="layer", ylim=(0, most), xticks=range(1, len(tokens) + 1))
    left.grid(axis="x", visible=False)
    for (name, table), colour in zip(losses.items(), (_COLOURS[2], "0.55"), strict=False):
        curve.plot(table["spent"], table["loss"], label=name, color=colour)
    curve.axvspan(*spent, color=_COLOURS[0], alpha=0.15, linewidth=0)
    curve.set(title="loss", xlabel="share of the FLOPs spent", xlim=(0, 1), ylim=(0, None))
    curve.legend(frameon=False, fontsize="small")
    return fig
