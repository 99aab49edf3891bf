"""The picture at the head of the README."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from svitt.errors import ConfigError
from svitt.viz.overview import _fade, overview_figure
from svitt.viz.widgets import figure_png

FRAMES = np.full((4, 16, 16, 3), 90, np.uint8)
EDGES = np.eye(17, dtype=bool)


def test_the_picture_shows_what_it_is_given() -> None:
    def draw(caption: str, edges: np.ndarray) -> bytes:
        kept = [np.arange(10), np.arange(3)]
        return figure_png(overview_figure(FRAMES, caption, edges, kept, patch_size=8), dpi=60)

    first = draw("a red ring moves", EDGES)
    assert min(Image.open(io.BytesIO(first)).size) > 100
    assert first == draw("a red ring moves", EDGES)
    assert first != draw("a red ring stops", EDGES)
    assert first != draw("a red ring moves", ~EDGES)


def test_pruned_patches_are_faded_and_kept_ones_are_not() -> None:
    # tokens count frame by frame, row by row: 5 is frame 1, first row, second column
    faded = _fade(FRAMES, np.array([5]), 8)
    same = (faded == FRAMES).all(-1)
    assert same[1, :8, 8:].all()
    assert same.sum() == 64
    assert faded[0].min() > 200


@pytest.mark.parametrize(("patch_size", "order"), [(5, (0, 1, 2, 3)), (8, (0, 1, 2, 2))])
def test_refused(patch_size: int, order: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError):
        overview_figure(FRAMES, "x", EDGES, [np.arange(4)], patch_size, order)


def test_the_committed_picture_is_there_and_small() -> None:
    path = Path(__file__).parents[2] / "book" / "_assets" / "overview.png"
    assert Image.open(path).width > 1000
    assert path.stat().st_size < 150_000
