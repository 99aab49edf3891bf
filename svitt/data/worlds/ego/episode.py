"""One video of the egocentric world: an episode in the house, as frames and as what they show.

Needs ``minigrid`` (the extra ``worlds``).
"""

from __future__ import annotations

import numpy as np
from minigrid.core.grid import Grid

from svitt.data.worlds.ego.grammar import noun_number
from svitt.data.worlds.ego.house import House, Resident
from svitt.data.worlds.ego.moments import find_moments
from svitt.data.worlds.ego.spec import MOST_MOMENTS, SPLITS, EgoSpec
from svitt.data.worlds.ego.truth import HAND, VIEW, EpisodeTruth, Views
from svitt.data.worlds.files import Frames
from svitt.errors import AnnotationError

_ATTEMPTS = 200


def episode(spec: EgoSpec, split: str, index: int) -> EpisodeTruth:
    """What a video shows; a pure function of the spec, the split and the number.

    Of the episodes that (seed, split, index) draws one after the other, the first with as many moments as
    the spec asks for.
    """
    for attempt in range(_ATTEMPTS):
        draw = np.random.default_rng([spec.seed, SPLITS.index(split), index, attempt])
        truth = run_episode(draw, int(draw.integers(spec.min_frames, spec.num_frames + 1)))
        if spec.min_moments <= len(truth.moments) <= MOST_MOMENTS:
            return truth
    raise AnnotationError(
        f"video {split}/{index}: none of {_ATTEMPTS} episodes has {spec.min_moments} to {MOST_MOMENTS} "
        "moments; ask for fewer moments or other lengths"
    )


def run_episode(draw: np.random.Generator, num_frames: int) -> EpisodeTruth:
    """An episode of ``num_frames`` frames, one before the first step and one after every step."""
    house = House(draw)
    observed, _ = house.reset(seed=int(draw.integers(2**31)))
    resident = Resident(house)
    states, views, agent = [house.state()], [observed["image"]], [_pose(house)]
    while len(views) < num_frames:
        observed, *_ = house.step(resident.next_action())
        states.append(house.state())
        views.append(observed["image"])
        agent.append(_pose(house))
    nouns = [noun_number(door.color, "door") for door in house.doors]
    doors = [(*door.cur_pos, noun) for door, noun in zip(house.doors, nouns, strict=True)]
    return EpisodeTruth(
        views=np.stack(views).transpose(0, 2, 1, 3).astype(np.uint8),
        agent=np.array(agent, np.int16),
        doors=np.array(doors, np.int16),
        moments=tuple(find_moments(states, nouns)),
    )


def draw_frames(views: Views, tile: int) -> Frames:
    """The pictures of views, as MiniGrid draws them: uint8 (T, 7 tile, 7 tile, 3), RGB."""
    frames = []
    for view in views:
        grid, seen = Grid.decode(view.transpose(1, 0, 2))
        # The agent stands in the middle of the lowest row and looks up (MiniGrid's direction 3).
        place = (HAND[1], HAND[0])
        frames.append(grid.render(tile, agent_pos=place, agent_dir=3, highlight_mask=seen))
    assert frames[0].shape == (VIEW * tile, VIEW * tile, 3)
    return np.stack(frames)


def _pose(house: House) -> tuple[int, int, int]:
    return int(house.agent_pos[0]), int(house.agent_pos[1]), int(house.agent_dir)
