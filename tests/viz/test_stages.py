"""The panels of a stage show what they are given."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from svitt.viz.stages import stage_panels


def test_a_stage_is_shaded_where_it_lies() -> None:
    losses = {"both grow": pd.DataFrame({"spent": [0.0, 0.5, 1.0], "loss": [3.0, 2.0, 1.0]})}
    mask = np.eye(5, dtype=bool)
    figure = stage_panels(np.zeros((4, 8, 8, 3), np.uint8), mask, [4, 2, 1], 8, losses, (1 / 3, 2 / 3))
    strip, edges, left, curve = figure.axes
    assert strip.get_title(loc="left") == "4 frames" and edges.get_title() == "edges: 20%"
    assert [bar.get_height() for bar in left.patches] == [4, 2, 1]
    shaded = curve.patches[0].get_extents().transformed(curve.transData.inverted())
    assert np.allclose([shaded.x0, shaded.x1], [1 / 3, 2 / 3])
    plt.close(figure)
