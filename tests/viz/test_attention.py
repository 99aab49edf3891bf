"""Attention drawn over frames, and lines over seeds."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from svitt.errors import ConfigError
from svitt.viz.attention import attention_strip, lit_by
from svitt.viz.curves import mean_and_seeds

FRAMES = np.full((2, 4, 4, 3), 40, dtype=np.uint8)


def test_patches_are_as_clear_as_their_weight() -> None:
    weights = np.array([0, 0.25, 1, 0, 0, 0, 0, 0.5])
    lit = lit_by(FRAMES, weights, 2)
    assert (lit[0, 2:, :2] == 40).all()  # the third patch of the first frame has the largest weight
    assert (lit[0, :2, :2] > 220).all() and (lit[1, :2] > 220).all()
    assert 40 < lit[1, 2, 2, 0] < lit[0, 0, 2, 0] < 220
    assert (FRAMES == 40).all()


@pytest.mark.parametrize("weights", [np.ones(7), np.zeros(8), np.array([-1.0] + [1.0] * 7)])
def test_weights_that_cannot_be_drawn(weights: np.ndarray) -> None:
    with pytest.raises(ConfigError, match="weights"):
        lit_by(FRAMES, weights, 2)


def test_a_strip_shows_the_clip_and_what_is_lit() -> None:
    figure = attention_strip(FRAMES, np.ones(8), 2, "title", [1, 2])
    assert len(figure.axes) == 2
    plt.close(figure)


def test_lines_go_through_the_means_of_points() -> None:
    table = pd.DataFrame(
        [(s, g, p, p + s, 10 * p + s) for s in (0, 2) for g in "ab" for p in (1, 2)],
        columns=["seed", "group", "point", "x", "y"],
    )
    figure, ax = plt.subplots()
    mean_and_seeds(ax, table, "x", "y", "group", point="point")
    lines = [points for line in ax.lines if len(points := np.asarray(line.get_xydata()))]
    assert [points.tolist() for points in lines] == [[[2, 11], [3, 21]]] * 2
    plt.close(figure)
