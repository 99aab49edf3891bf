"""Kept tokens over film strips, and curves over keep rates."""

from __future__ import annotations

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb

from svitt.errors import ConfigError
from svitt.viz.tokens import SELECTION_COLOURS, fade_pruned, kept_strips, rate_curves
from svitt.viz.widgets import figure_png

FRAMES = np.random.default_rng(0).integers(0, 180, (3, 16, 24, 3), dtype=np.uint8)


def test_kept_patches_stay_and_pruned_ones_fade() -> None:
    # 2 x 3 patches a frame: number 10 is frame 1, second row, second column.
    before = FRAMES.copy()
    faded = fade_pruned(FRAMES, np.array([10]), 8)
    same = (faded == FRAMES).all(axis=-1)
    assert same[1, 8:, 8:16].all() and same.sum() == 64
    assert faded[~same].min() > 220
    assert np.array_equal(FRAMES, before)


def test_everything_or_nothing_kept() -> None:
    assert np.array_equal(fade_pruned(FRAMES, np.arange(18), 8), FRAMES)
    assert fade_pruned(FRAMES, np.array([], dtype=int), 8).min() > 220


@pytest.mark.parametrize(
    ("kept", "patch_size", "named"), [([0], 5, "patch_size = 5"), ([18], 8, "18"), ([-1], 8, "-1")]
)
def test_patches_that_do_not_fit_are_named(kept: list[int], patch_size: int, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        fade_pruned(FRAMES, np.array(kept), patch_size)


def test_a_strip_a_stage_with_its_name() -> None:
    stages = {"after layer 0": np.arange(9), "after layer 1": np.arange(4)}
    figure = kept_strips(FRAMES, stages, 8, numbers=[1, 5, 9], title="a red ring")
    assert [ax.get_ylabel() for ax in figure.axes] == list(stages)
    assert figure.axes[0].get_title(loc="left") == "a red ring"
    assert [tick.get_text() for tick in figure.axes[1].get_xticklabels()] == ["1", "5", "9"]
    picture = figure_png(figure, dpi=60)
    other = kept_strips(FRAMES, {**stages, "after layer 1": np.arange(5)}, 8, [1, 5, 9], "a red ring")
    assert figure_png(other, dpi=60) != picture
    plt.close("all")


def test_curves_are_means_over_seeds_in_the_colour_of_the_selection() -> None:
    rows = [
        (seed, rate, name, 0.5 * rate + 0.1 * seed + (name == "cls") * 0.2)
        for seed in (0, 1, 2)
        for rate in (0.3, 0.5)
        for name in ("random", "cls")
    ]
    table = pd.DataFrame(rows, columns=["seed", "rate", "selection", "value"])
    _, ax = plt.subplots()
    rate_curves(ax, table, "rate", "value", "selection", hue_order=("cls", "random"), level=0.25)
    curves = {to_rgb(line.get_color()): line.get_xydata() for line in ax.lines if len(line.get_xdata()) == 2}
    assert np.allclose(curves[to_rgb(SELECTION_COLOURS["cls"])], [[0.3, 0.45], [0.5, 0.55]])
    assert np.allclose(curves[to_rgb(SELECTION_COLOURS["random"])], [[0.3, 0.25], [0.5, 0.35]])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["cls", "random"]
    assert [text.get_text() for text in ax.texts] == ["chance"]
    plt.close("all")
