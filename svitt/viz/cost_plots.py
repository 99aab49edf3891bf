"""Figures of cost: where FLOPs go, ratios over clip length, bars against a baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

_COLOURS = sns.color_palette("colorblind")
ARM_COLOURS = {
    "dense": "0.45",
    "dense_bias": "0.7",
    "nodes": _COLOURS[1],
    "edges": _COLOURS[0],
    "sparse": _COLOURS[2],
    "flex": _COLOURS[4],
}
MARKERS = {"nodes": "s", "edges": "o", "sparse": "D", "flex": "^", "dense": "o", "dense_bias": "v"}


def pattern_pictures(masks: Mapping[str, npt.NDArray[np.bool_]], kept: Sequence[float]) -> Figure:
    """Query-key masks side by side, and the share of the tokens present at every layer, ``kept``."""
    fig, axes = plt.subplots(1, len(masks) + 1, figsize=(3.1 * (len(masks) + 1), 3.1))
    for ax, (title, mask) in zip(axes, masks.items(), strict=False):
        ax.imshow(mask, cmap="Blues", vmin=0, vmax=1.3, interpolation="nearest")
        ax.set(title=f"{title}: {mask.mean():.0%} of pairs", xlabel="keys", xticks=[], yticks=[])
        ax.grid(False)
    axes[0].set_ylabel("queries")
    axes[-1].bar(range(len(kept)), kept, color=ARM_COLOURS["nodes"], width=0.85)
    axes[-1].set(title="nodes: tokens left", xlabel="layer", ylim=(0, 1.02), yticks=[0, 0.5, 1])
    axes[-1].set_xticks(range(0, len(kept), 3))
    axes[-1].grid(axis="x", visible=False)
    return fig


def stacked_cost(
    ax: Axes, table: pd.DataFrame, arms: Sequence[str], names: Mapping[str, str], labels: bool = True
) -> None:
    """One group of bars a clip length, one stacked bar an arm: linear layers, and attention hatched on top.

    table: columns arm, frames, part ("linear layers", "attention"), flops; drawn in units of 10^12.
    """
    lengths = sorted(table.frames.unique())
    width = 0.8 / len(arms)
    for i, arm in enumerate(arms):
        rows = (
            table[table.arm == arm].pivot(index="frames", columns="part", values="flops").loc[lengths] / 1e12
        )
        place = np.arange(len(lengths)) + (i - (len(arms) - 1) / 2) * width
        colour = ARM_COLOURS[arm]
        ax.bar(place, rows["linear layers"], width * 0.9, color=colour, label=names[arm] if labels else None)
        ax.bar(
            place, rows["attention"], width * 0.9, bottom=rows["linear layers"], color=colour, alpha=0.45,
            hatch="///", edgecolor="white", linewidth=0,
        )  # fmt: skip
    ax.set_xticks(range(len(lengths)), [str(n) for n in lengths])
    ax.set(xlabel="frames", ylabel="FLOPs a clip ($10^{12}$)")
    ax.grid(axis="x", visible=False)


def ratio_lines(
    ax: Axes, table: pd.DataFrame, names: Mapping[str, str], claimed: tuple[float, float] | None = None
) -> None:
    """Median ratios over clip length, a line an arm, quartiles as bars; ``claimed``: a shaded band.

    table: columns arm, frames, median and, where there is a spread, lower and upper. Both axes
    are logarithmic.
    """
    if claimed is not None:
        ax.axhspan(*claimed, color=_COLOURS[3], alpha=0.18, linewidth=0)
        ax.annotate(
            "claimed", (0.015, claimed[1]), xycoords=("axes fraction", "data"), va="bottom", size="small",
            color=_COLOURS[3],
        )  # fmt: skip
    for arm, rows in table.groupby("arm", sort=False):
        rows = rows.sort_values("frames")
        style = {"color": ARM_COLOURS[str(arm)], "marker": MARKERS[str(arm)], "label": names[str(arm)]}
        if "lower" in rows:
            spread = [rows["median"] - rows["lower"], rows["upper"] - rows["median"]]
            ax.errorbar(rows["frames"], rows["median"], yerr=np.array(spread), capsize=3, **style)
        else:
            ax.plot(rows["frames"], rows["median"], **style)
    lengths = sorted(table.frames.unique())
    ax.set_xscale("log", base=2)
    ax.set_yscale("log", base=2)
    ax.set_xticks(lengths, [str(n) for n in lengths])
    ax.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    ax.minorticks_off()
    ax.axhline(1, color="0.3", linewidth=0.8)
    ax.set_xlabel("frames")


def memory_dots(axes: Sequence[Axes], table: pd.DataFrame, names: Mapping[str, str]) -> None:
    """Megabytes at the peak, logarithmic: one panel a part and phase, one dot a seed, arm and length.

    table: columns part, phase, arm, frames, value (bytes).
    """
    panels = list(dict.fromkeys(zip(table.part, table.phase, strict=True)))
    present = [arm for arm in ARM_COLOURS if arm in set(table.arm)]
    for ax, (part, phase) in zip(axes, panels, strict=True):
        rows = table[(table.part == part) & (table.phase == phase)]
        lengths = sorted(rows.frames.unique())
        for i, arm in enumerate(present):
            shown = rows[rows.arm == arm]
            place = shown.frames.map(lengths.index) + (i - (len(present) - 1) / 2) * 0.14
            ax.plot(
                place, shown.value / 1e6, linestyle="none", marker=MARKERS[arm], markersize=7,
                color=ARM_COLOURS[arm], label=names[arm],
            )  # fmt: skip
        ax.set_yscale("log")
        ax.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        ax.minorticks_off()
        ax.set_xticks(range(len(lengths)), [str(n) for n in lengths])
        ax.set(xlabel="frames", xlim=(-0.6, len(lengths) - 0.4))
        ax.set_title(f"{part},\n{phase}")
        ax.grid(axis="x", visible=False)
    axes[0].set_ylabel("MB at the peak")


def cost_bars(table: pd.DataFrame, names: Mapping[str, str], title: str) -> Figure:
    """One panel a part: the cost of each arm as a share of the baseline's, for each quantity.

    table: columns part, quantity, arm, share; a quantity that was not run for any arm has no rows.
    """
    parts = ("attention", "encoder")
    quantities = ["FLOPs", "time", "memory"]
    fig, axes = plt.subplots(1, 2, figsize=(8.6, 2.9), sharex=True)
    for ax, part in zip(axes, parts, strict=True):
        rows = table[table.part == part]
        arms = [arm for arm in ("edges", "sparse") if arm in set(rows.arm)]
        height = 0.8 / max(1, len(arms))
        for i, arm in enumerate(arms):
            shares = rows[rows.arm == arm].set_index("quantity")["share"]
            place = np.arange(3) + (i - (len(arms) - 1) / 2) * height
            values = [float(shares.get(q, np.nan)) for q in quantities]
            ax.barh(place, np.nan_to_num(values), height * 0.9, color=ARM_COLOURS[arm], label=names[arm])
            for y, value in zip(place, values, strict=True):
                text = "not run" if np.isnan(value) else f"{value:.2f}  ({1 / value:.1f}x)"
                ax.annotate(
                    text, (0 if np.isnan(value) else min(value, 2.0), y), xytext=(4, 0),
                    textcoords="offset points", va="center", size="small",
                )  # fmt: skip
        ax.axvline(1, color="0.3", linewidth=1)
        ax.set_yticks(range(3), quantities)
        ax.invert_yaxis()
        ax.set(xlim=(0, 2.4), xlabel="cost, baseline = 1")
        ax.set_title("one attention layer" if part == "attention" else "whole encoder", loc="left")
        ax.legend(loc="lower right", fontsize="small")
    fig.suptitle(title, fontsize="medium")
    return fig
