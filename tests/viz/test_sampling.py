"""The sheet of sampled frames shows which they are."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest

from svitt.errors import ConfigError
from svitt.viz.sampling import equal_tokens, sampled_sheet


def test_sampled_frames_keep_their_pixels_and_others_fade() -> None:
    frames = np.full((6, 8, 8, 3), 40, np.uint8)
    figure = sampled_sheet(frames, [1, 5], columns=3)
    sheet = np.asarray(figure.axes[0].images[0].get_array())
    assert (sheet == 40).all(axis=-1).sum() == 2 * 64
    assert (sheet == 255 - (255 - 40) // 4).all(axis=-1).sum() == 4 * 64
    plt.close(figure)


def test_a_frame_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match=r"sampled = \[6\]"):
        sampled_sheet(np.zeros((6, 8, 8, 3), np.uint8), [0, 6])


def test_rows_of_equal_tokens_say_so() -> None:
    rows = {"one": np.zeros((1, 32, 32, 3), np.uint8), "four": np.zeros((4, 16, 16, 3), np.uint8)}
    figure = equal_tokens(rows, patch_size=8)
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["one: 16 tokens", "four: 16 tokens"]
    assert len(figure.axes[0].lines) == 2 * 3 and len(figure.axes[1].lines) == 4 * 2 * 1
    plt.close(figure)
