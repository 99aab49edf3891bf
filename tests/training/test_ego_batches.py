"""The batch sampler of egocentric training: every clip once per epoch, neighbours from the same video."""

import numpy as np
import pytest

from svitt.errors import ConfigError
from svitt.training.ego_batches import EgoSampler, Moments


def moments(videos: int = 10, each: int = 6, apart: float = 10.0) -> Moments:
    return Moments(np.repeat(np.arange(videos), each), np.tile(np.arange(each) * apart, videos))


@pytest.mark.parametrize("same_video", [True, False])
def test_a_batch_holds_no_clip_twice_and_depends_on_the_step_alone(same_video: bool) -> None:
    sampler = EgoSampler(moments(), 20, seed=3, same_video=same_video)
    for step in range(30):
        batch = sampler(step)
        assert batch.shape == (20,) and len(set(batch.tolist())) == 20
        assert np.array_equal(batch, EgoSampler(moments(), 20, seed=3, same_video=same_video)(step))
    assert not np.array_equal(sampler(0), EgoSampler(moments(), 20, seed=4, same_video=same_video)(0))


@pytest.mark.parametrize("same_video", [True, False])
def test_anchors_are_every_clip_once_per_epoch(same_video: bool) -> None:
    sampler = EgoSampler(moments(), 20, seed=3, same_video=same_video)
    steps = 60 // sampler.anchors
    seen = np.concatenate([sampler(step)[: sampler.anchors] for step in range(steps)])
    assert sorted(seen.tolist()) == list(range(60))


def test_neighbours_are_of_the_same_video_and_near() -> None:
    made = moments(videos=30, each=6)
    sampler = EgoSampler(made, 8, seed=0, within=10.0)
    reach = []
    for step in range(60):
        anchors, neighbours = np.split(sampler(step), 2)
        assert (made.video[anchors] == made.video[neighbours]).all()
        reach += np.abs(made.second[anchors] - made.second[neighbours]).tolist()
    # Only where both moments next to it are in the batch already is a neighbour further away.
    assert np.mean(np.array(reach) <= 10) > 0.95 and min(reach) == 10


def test_neighbours_are_drawn_anew() -> None:
    sampler = EgoSampler(moments(), 20, seed=0)
    partner: dict[int, set[int]] = {}
    for step in range(60):
        for anchor, neighbour in zip(*np.split(sampler(step), 2), strict=True):
            partner.setdefault(int(anchor), set()).add(int(neighbour))
    assert np.mean([len(found) for found in partner.values()]) > 3


def test_a_lonely_clip_gets_the_nearest_or_any() -> None:
    far = Moments(np.array([0, 0, 1, 2, 2, 2]), np.array([0.0, 500.0, 0.0, 0.0, 5.0, 900.0]))
    sampler = EgoSampler(far, 2, seed=0, within=60.0)
    for step in range(60):
        anchor, neighbour = sampler(step)
        if anchor in (0, 1):
            assert {int(anchor), int(neighbour)} == {0, 1}  # further than a minute, the only other
        if anchor == 5:
            assert neighbour == 4  # the nearest
        if anchor in (3, 4):
            assert {int(anchor), int(neighbour)} == {3, 4}
        if anchor == 2:
            assert neighbour != 2  # alone in its video: any other, so that the batch keeps its size


def test_wrong_calls_are_told() -> None:
    with pytest.raises(ConfigError, match="even number"):
        EgoSampler(moments(), 7, seed=0)
    with pytest.raises(ConfigError, match="1 to 60"):
        EgoSampler(moments(), 62, seed=0)
    with pytest.raises(ConfigError, match="within = 0"):
        EgoSampler(moments(), 4, seed=0, within=0)
    with pytest.raises(ConfigError, match="finite"):
        Moments(np.zeros(2, np.int64), np.array([0.0, np.nan]))
