"""Draws ``overview.png``, the picture at the head of the README: ``python book/_assets/overview.py``.

Nothing in it is a result. The clip is one of the procedural world; the edges are a real pattern of the
sparse attention; the patches that stay are those nearest to the object by the world's own ground truth.
"""

from __future__ import annotations

from itertools import count
from pathlib import Path

import numpy as np
import torch

from svitt.config import EdgeSparsity
from svitt.data.world import WorldSpec, render_clip
from svitt.data.world_scene import clip_parameters
from svitt.layers.edges import draw_edges
from svitt.layers.token_pruning import keep_top_tokens
from svitt.viz.overview import overview_figure
from svitt.viz.widgets import figure_png

SPEC = WorldSpec(seed=0)
CAPTION = "a red ring moves right on sand"
PATCH, NUM_FRAMES, KEEP_RATE, STAGES = 8, 4, 0.7, 3


def main() -> None:
    """Writes the picture beside this file."""
    captions = (clip_parameters(SPEC, "train", i).scene.caption("mixed") for i in count())
    clip = next(i for i, caption in enumerate(captions) if caption == CAPTION)
    frames, truth = render_clip(SPEC, "train", clip)
    times = np.linspace(1, len(frames) - 2, NUM_FRAMES).round().astype(int)
    frames, box = frames[times], truth.boxes[0, times]

    side = frames.shape[1] // PATCH
    centres = (np.arange(side) + 0.5) * PATCH
    middle = (box[:, :2] + box[:, 2:]) / 2  # (T, 2), x and y
    distance = np.hypot(
        centres[None, None, :] - middle[:, 0, None, None], centres[None, :, None] - middle[:, 1, None, None]
    )
    scores = -torch.from_numpy(distance.reshape(1, -1))

    kept, tokens = [], torch.arange(scores.shape[1])[None]
    for _ in range(STAGES):
        _, index = keep_top_tokens(tokens[..., None], scores[:, tokens[0]], KEEP_RATE, num_prefix_tokens=0)
        tokens = tokens.gather(1, index)
        kept.append(tokens[0].numpy())

    num_tokens = NUM_FRAMES * side**2
    pattern = draw_edges(EdgeSparsity(1, 3, 16), num_tokens, torch.Generator().manual_seed(0))
    figure = overview_figure(frames, CAPTION, pattern.mask(num_tokens).numpy(), kept, PATCH)
    Path(__file__).with_name("overview.png").write_bytes(figure_png(figure, dpi=150, colours=128))


if __name__ == "__main__":
    main()
