"""The known answers of the released loaders, and what random sampling may draw."""

from __future__ import annotations

import numpy as np
import pytest

from svitt.data.video.sampling import Sampling, pad_indices, sample_indices, sample_indices_at_rate
from svitt.errors import ConfigError


@pytest.mark.parametrize(
    ("num_frames", "total", "expected"),
    [
        (4, 100, [12, 37, 62, 87]),
        (4, 10, [0, 3, 5, 8]),
        (8, 30, [1, 4, 8, 12, 16, 19, 23, 27]),
        (4, 4, [0, 1, 2, 3]),
        (4, 3, [0, 1, 2, 2]),
        (4, 1, [0, 0, 0, 0]),
        (4, 5, [0, 1, 2, 3]),
        (24, 20, [*range(20), 19, 19, 19, 19]),
    ],
)
def test_middle_frames_known_answers(num_frames: int, total: int, expected: list[int]) -> None:
    assert sample_indices(num_frames, total).tolist() == expected


@pytest.mark.parametrize(
    ("rate", "total", "fps", "most", "expected"),
    [
        (0.5, 300, 30, None, [30, 90, 150, 210, 270]),
        (1, 100, 29.97, 3, [15, 45, 75]),
        (2, 45, 30, None, [8, 22, 38]),
        (1, 3, 30, None, [1]),  # shorter than half an interval: the middle frame
    ],
)
def test_frames_at_a_rate_known_answers(
    rate: float, total: int, fps: float, most: int | None, expected: list[int]
) -> None:
    assert sample_indices_at_rate(rate, total, fps, most).tolist() == expected


def test_random_draws_every_frame_of_every_interval_and_no_other() -> None:
    generator = np.random.default_rng(0)
    drawn = np.stack([sample_indices(3, 10, "random", generator) for _ in range(500)])
    # Intervals of 10 frames in 3: 0-2, 3-5, 6-9; the last frame included.
    assert [sorted(set(column.tolist())) for column in drawn.T] == [[0, 1, 2], [3, 4, 5], [6, 7, 8, 9]]


def test_random_follows_its_generator() -> None:
    a, b = (sample_indices(8, 300, "random", np.random.default_rng(5)) for _ in range(2))
    assert np.array_equal(a, b)
    assert not np.array_equal(a, sample_indices(8, 300, "random", np.random.default_rng(6)))


def test_random_pads_a_short_video_with_its_last_frame() -> None:
    assert sample_indices(4, 2, "random", np.random.default_rng(0)).tolist() == [0, 1, 1, 1]


def test_sampling_applies_its_rule() -> None:
    assert Sampling(4).indices(100, 30.0).tolist() == [12, 37, 62, 87]
    assert Sampling(None, rate=0.5).indices(300, 30.0).tolist() == [30, 90, 150, 210, 270]
    assert Sampling(3, rate=1).indices(100, 29.97).tolist() == [15, 45, 75]
    assert Sampling(2, "random").indices(10, 30.0, np.random.default_rng(1)).shape == (2,)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: sample_indices(0, 10), "num_frames = 0"),
        (lambda: sample_indices(4, 0), "total = 0"),
        (lambda: sample_indices(4, 10, "first"), "mode = 'first'"),  # type: ignore[arg-type]
        (lambda: sample_indices(4, 10, "random"), "generator"),
        (lambda: sample_indices_at_rate(0, 10, 30), "rate = 0"),
        (lambda: sample_indices_at_rate(1, 10, 0), "video_fps = 0"),
        (lambda: Sampling(None), "num_frames"),
        (lambda: Sampling(4, "random", rate=2), "mode"),
        (lambda: pad_indices(np.arange(5), 4), "indices"),
    ],
)
def test_bad_values_are_named(call, named: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ConfigError, match=named):
        call()
