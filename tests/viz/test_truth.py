"""Ground truth drawn over frames."""

import numpy as np
import pytest

from svitt.errors import ConfigError
from svitt.viz.truth import BLUE, ORANGE, outlined, tinted


def test_labels_are_coloured_and_the_rest_is_grey() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3), dtype=np.uint8)
    labels = np.zeros((2, 4, 4), np.uint8)
    labels[1, 2, 3] = 2
    drawn = tinted(frames, labels, {2: BLUE}, strength=1.0)
    assert tuple(drawn[1, 2, 3]) == BLUE
    rest = np.delete(drawn.reshape(-1, 3), 16 + 11, axis=0)
    assert (rest == rest[:, :1]).all() and len(set(rest[:, 0])) > 5
    with pytest.raises(ConfigError, match="shapes of frames and labels"):
        tinted(frames, labels[:1], {2: BLUE})


def test_an_outline_lies_inside_its_box() -> None:
    frames = np.zeros((3, 6, 8, 3), np.uint8)
    drawn = outlined(frames, [(1, 2, 5, 6), None, (0, 0, 8, 6)])
    marked = (drawn == ORANGE).all(axis=-1)
    assert marked[0].sum() == 4 * 4 - 2 * 2 and marked[0, 2:6, 1].all() and not marked[0, 3:5, 2:4].any()
    assert not marked[1].any() and marked[2].sum() == 6 * 8 - 4 * 6
    assert not frames.any(), "the frames themselves stay as they are"
    for wrong in ((0, 0, 9, 6), (3, 3, 3, 4), (-1, 0, 2, 2)):
        with pytest.raises(ConfigError, match="box"):
            outlined(frames[:1], [wrong])
    with pytest.raises(ConfigError, match="boxes = 1"):
        outlined(frames, [None])
