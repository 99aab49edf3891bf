"""What is drawn for an episode: a pure function of seed, split and index; tasks in turn, views held out."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from svitt.data.worlds.robot.grammar import TASKS
from svitt.data.worlds.robot.scene import (
    AZIMUTHS,
    SPLITS,
    Camera,
    RobotSpec,
    attempt_rng,
    episode_parameters,
    view,
)
from svitt.data.worlds.robot.simulate import Episode, State
from svitt.errors import ConfigError

SPEC = RobotSpec(seed=3)


def test_the_same_numbers_give_the_same_episode_and_others_another() -> None:
    first = episode_parameters(SPEC, "train", 5)
    assert episode_parameters(RobotSpec(seed=3, num_train=9), "train", 5) == first
    assert attempt_rng(first, 0).random() == attempt_rng(first, 0).random() != attempt_rng(first, 1).random()
    digests = {
        episode_parameters(RobotSpec(seed=seed), split, i).digest()
        for seed in range(3)
        for split in SPLITS
        for i in range(30)
    }
    assert len(digests) == 3 * 4 * 30


def test_every_task_comes_once_in_28_episodes() -> None:
    for split in SPLITS:
        tasks = [episode_parameters(SPEC, split, i).task for i in range(56)]
        assert Counter(tasks[:28]) == Counter(tasks[28:]) == Counter(TASKS)
        assert tasks[:28] != tasks[28:]


def test_cameras_of_held_out_viewpoints_stand_where_no_other_does() -> None:
    seen = {
        split: [
            view(SPEC, split, episode_parameters(SPEC, split, i), a).azimuth
            for i in range(300)
            for a in (0, 1)
        ]
        for split in SPLITS
    }
    for split in SPLITS[:3]:
        assert min(abs(a - b) for a in seen[split] for b in seen["viewpoints"][:100]) >= 5
        assert np.ptp(seen[split]) > 150
    assert any(a < 180 for a in seen["viewpoints"]) and any(a >= 360 for a in seen["viewpoints"])
    (low, high), (after, _) = AZIMUTHS["viewpoints"]
    assert low < high < AZIMUTHS["train"][0][0] < AZIMUTHS["train"][0][1] < after


def test_the_camera_depends_on_the_episode_and_not_on_what_is_done() -> None:
    # Azimuths of tasks that do and of tasks that undo: the same distribution.
    angles: dict[bool, list[float]] = {False: [], True: []}
    for i in range(1400):
        parameters = episode_parameters(SPEC, "train", i)
        angles[TASKS.index(parameters.task) % 2 == 1].append(view(SPEC, "train", parameters, 0).azimuth)
    assert abs(np.mean(angles[False]) - np.mean(angles[True])) < 10  # three standard errors: 8 degrees


def test_the_wrist_has_two_cameras_and_one_is_held_out() -> None:
    spec = RobotSpec(wrist=True)
    cameras = {split: view(spec, split, episode_parameters(spec, split, 0), 0) for split in SPLITS}
    assert cameras["train"] == cameras["test"] == Camera("gripperPOV") != cameras["viewpoints"]


def test_a_clip_begins_before_the_object_moves_and_ends_with_the_episode() -> None:
    state = State(*np.zeros((4, 1)))
    episode = Episode((state,) * 90, success=80, moves=50)
    assert episode.shown(20, 16).tolist()[::15] == [30, 89]
    assert episode.shown(60, 16)[0] == 0
    short = Episode((state,) * 20, success=10, moves=18)
    assert short.shown(2, 16).tolist() == list(range(4, 20))  # every frame is another step


@pytest.mark.parametrize(
    ("field", "value"), [("seed", -1), ("size", 63), ("size", 1000), ("num_frames", 1), ("num_test", -1)]
)
def test_parameters_out_of_range(field: str, value: int) -> None:
    with pytest.raises(ConfigError, match=f"{field} = {value}"):
        RobotSpec(**{field: value})
    with pytest.raises(ConfigError, match="split = 'dev'"):
        episode_parameters(SPEC, "dev", 0)
