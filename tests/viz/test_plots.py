"""Means with their intervals."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from svitt.viz.plots import seeds_and_interval, t_interval

TABLE = pd.DataFrame({"arm": ["a", "a", "b", "b"], "value": [0.1, 0.3, 0.5, 0.9]})


@pytest.mark.parametrize(("x", "y", "mark"), [("arm", "value", "_"), ("value", "arm", "|")])
def test_the_mean_is_a_stroke_across_its_interval(x: str, y: str, mark: str) -> None:
    fig, ax = plt.subplots()
    seeds_and_interval(ax, TABLE, x, y)
    # The intervals of both arms are lines too, without a marker.
    means = [line for line in ax.lines if line.get_marker() == mark]
    found = [value for line in means for value in (line.get_ydata() if mark == "_" else line.get_xdata())]
    assert found == pytest.approx([0.2, 0.7])
    plt.close(fig)


def test_the_interval_of_one_seed_is_its_value() -> None:
    assert t_interval([0.4]) == (0.4, 0.4)
    low, high = t_interval([0.1, 0.3])  # SD .141, t(1) = 12.706
    assert (low, high) == pytest.approx((0.2 - 1.2706, 0.2 + 1.2706), abs=1e-3)
