"""The picture at the head of the README: the question, and the two sparsities, on one clip."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from svitt.config import require

Frames = npt.NDArray[np.uint8]


def overview_figure(
    frames: Frames,
    caption: str,
    edges: npt.NDArray[np.bool_],
    kept: Sequence[npt.NDArray[np.integer]],
    patch_size: int,
    order: Sequence[int] = (2, 0, 3, 1),
) -> Figure:
    """Film strips in and out of order; attention edges; the patches that survive pruning.

    frames (T, H, W, 3), H and W multiples of ``patch_size``; edges (N, N), which query (row) attends to
    which key (column); kept: for each stage the indices of the patches of all frames that are still there,
    in the order of the tokens (frame, row, column); order: the shuffled strip.
    Errors: ConfigError where patches do not tile a frame or ``order`` is no permutation of the frames.
    """
    num, height, width, _ = frames.shape
    require(
        height % patch_size == 0 and width % patch_size == 0,
        "patch_size",
        patch_size,
        f"tiles of {height} x {width}",
    )
    require(sorted(order) == list(range(num)), "order", tuple(order), f"a permutation of 0 to {num - 1}")
    figure = Figure(figsize=(10.4, 3.1), layout="constrained")
    panels = figure.subfigures(1, 3, width_ratios=[4.0, 2.6, 3.8], wspace=0.05)
    assert isinstance(panels, np.ndarray)
    left, middle, right = panels

    left.suptitle("Does the order matter?", fontsize=11, fontweight="bold")
    rows = left.subplots(2, 1)
    strips: dict[str, Sequence[int]] = {"in order": range(num), "shuffled": order}
    for axes, (name, shown) in zip(rows, strips.items(), strict=True):
        _strip(axes, frames[list(shown)])
        axes.set_ylabel(name, fontsize=9)
    rows[1].set_xlabel(f"“{caption}”", fontsize=10, style="italic")

    share = edges.mean()
    middle.suptitle("Sparse edges", fontsize=11, fontweight="bold")
    axes = middle.subplots()
    axes.imshow(edges, cmap=ListedColormap(["#eef1f0", "#1f5a7a"]), interpolation="nearest", vmin=0, vmax=1)
    axes.set(xticks=[], yticks=[])
    axes.set_xlabel(f"keys: {share:.0%} of all pairs", fontsize=9)
    axes.set_ylabel("queries", fontsize=9)

    right.suptitle("Sparse nodes", fontsize=11, fontweight="bold")
    stages = right.subplots(len(kept), 1, squeeze=False)[:, 0]
    total = num * (height // patch_size) * (width // patch_size)
    for stage, indices in zip(stages, kept, strict=True):
        _strip(stage, _fade(frames, indices, patch_size))
        stage.set_ylabel(f"{len(indices) / total:.0%}", fontsize=9, rotation=0, ha="right", va="center")
    stages[-1].set_xlabel("patches kept, layer after layer", fontsize=9)
    return figure


def _strip(axes: Axes, frames: Frames) -> None:
    """Draws frames side by side with a white gap."""
    gap = np.full((frames.shape[1], max(1, frames.shape[2] // 12), 3), 255, np.uint8)
    parts = [part for frame in frames for part in (frame, gap)][:-1]
    axes.imshow(np.concatenate(parts, axis=1), interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _fade(frames: Frames, kept: npt.NDArray[np.integer], patch: int) -> Frames:
    """``frames`` with the patches that are not in ``kept`` whitened."""
    num, height, width, _ = frames.shape
    mask = np.zeros(num * (height // patch) * (width // patch), bool)
    mask[kept] = True
    mask = mask.reshape(num, height // patch, width // patch).repeat(patch, 1).repeat(patch, 2)
    faded: Frames = np.where(mask[..., None], frames, 225 + (frames // 10)).astype(np.uint8)
    return faded
