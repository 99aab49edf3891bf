"""Figures of chapter 3 draw what they are given."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from svitt.errors import ConfigError
from svitt.viz.edges import cost_panels, density_panel, matrices, reads

FRAMES = np.full((2, 8, 8, 3), 40, np.uint8)


def test_what_is_read_is_lit_and_the_query_is_framed() -> None:
    figure = reads(FRAMES, 5, [0, 5], patch_size=4)
    shown = figure.axes[0].images[0].get_array()
    assert shown is not None
    assert (shown[:4, :4] == 40).all() and (shown[:4, 4:8] > 200).all()
    left, top = figure.axes[0].patches[0].get_xy()  # type: ignore[attr-defined]
    assert (left, top) == (9 + 4 - 0.5, -0.5)  # frame 1 begins at 8 + a gap of 1; column 1, row 0
    plt.close(figure)
    with pytest.raises(ConfigError, match="query"):
        reads(FRAMES, 8, [0], patch_size=4)
    with pytest.raises(ConfigError, match="kept"):
        reads(FRAMES, 0, [9], patch_size=4)


def test_matrices_say_their_density() -> None:
    figure = matrices({"half": np.eye(2, dtype=bool), "all": np.ones((2, 2), bool)})
    assert [ax.get_title() for ax in figure.axes] == ["half\n50% of pairs", "all\n100% of pairs"]
    plt.close(figure)


def test_cost_panels_draw_the_medians_of_every_arm() -> None:
    rows = [
        (arm, quantity, tokens, tokens**power * (1 + seed))
        for seed in range(3)
        for arm, power in (("dense", 2), ("sparse", 1))
        for quantity in ("FLOPs", "seconds")
        for tokens in (10, 20)
    ]
    figure, axes = plt.subplots(1, 2)
    cost_panels(axes, pd.DataFrame(rows, columns=["arm", "quantity", "tokens", "value"]))
    assert [ax.get_title() for ax in axes] == ["FLOPs", "seconds"]
    assert axes[0].lines[0].get_ydata().tolist() == [200, 800]
    plt.close(figure)


def test_density_panel_draws_means_and_the_level() -> None:
    rows = [
        (seed, kind, share, share + 0.1 * seed) for seed in (0, 1) for kind in "ab" for share in (0.2, 0.5)
    ]
    figure, ax = plt.subplots()
    density_panel(ax, pd.DataFrame(rows, columns=["seed", "edges", "share", "value"]), level=0.5, legend=True)
    assert ax.lines[0].get_ydata() == pytest.approx([0.25, 0.55])
    assert "chance" in [text.get_text() for text in ax.texts]
    plt.close(figure)
