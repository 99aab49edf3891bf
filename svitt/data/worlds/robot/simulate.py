"""Episodes of Meta-World: a scripted policy at work in its own task, with a little noise.

``metaworld`` and ``mujoco`` are imported when an episode is played, not before.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from svitt.errors import AnnotationError

Floats = npt.NDArray[np.float64]
STEPS = 300  # at most; one that has not succeeded by then has failed
AFTER = 8  # steps shown after the success
NOISE = 0.1  # standard deviation, added to every action (of -1 to 1)
ATTEMPTS = 12  # at an episode
_MOVED = 0.1  # of the object's largest displacement: from there on it counts as moved
_HAND = 9  # the first joint positions are the robot's: seven of the arm, two of the fingers


@dataclass(frozen=True)
class State:
    """What MuJoCo needs to draw one moment."""

    qpos: Floats
    qvel: Floats
    mocap_pos: Floats
    mocap_quat: Floats


@dataclass(frozen=True)
class Episode:
    """states: one before every step and one at the end. success: the step after which the task was done;
    moves: the first state in which the object has moved."""

    states: tuple[State, ...]
    success: int
    moves: int

    def shown(self, lead: int, frames: int) -> npt.NDArray[np.int32]:
        """The states that a clip shows, (frames,): from ``lead`` steps before the object moves to the end."""
        last = len(self.states) - 1
        first = max(0, min(self.moves - lead, last - (frames - 1)))
        return np.linspace(first, last, frames).round().astype(np.int32)


def environment(task: str) -> Any:
    """Meta-World's environment of a task; ``play`` may be called with it again and again."""
    from metaworld.env_dict import ALL_V3_ENVIRONMENTS

    env = ALL_V3_ENVIRONMENTS[f"{task}-v3"]()
    # What set_task does for the tasks of a benchmark: the goal is in what the policy sees. Where things lie
    # is drawn from the environment's own generator, anew for every episode.
    env._set_task_called = True
    env._partially_observable = False
    env.__dict__.pop("sawyer_observation_space", None)  # cached, and it depends on the line above
    env._freeze_rand_vec = False
    env.seeded_rand_vec = True
    return env


def play(env: Any, task: str, rng: np.random.Generator) -> Episode | None:
    """One attempt at a task, or None where it was not done in time; a pure function of task and ``rng``.

    The environment's model is left as the episode had it (goals move parts of it), to be drawn.
    """
    from metaworld.policies import ENV_POLICY_MAP

    policy = ENV_POLICY_MAP[f"{task}-v3"]()
    env.seed(int(rng.integers(2**31)))
    observation, _ = env.reset()
    states = [_state(env.data)]
    success = None
    with warnings.catch_warnings():
        # Policies ask for more than an action can be; it is clipped, here and in the environment.
        warnings.filterwarnings("ignore", message="Constant.* may be too high")
        for step in range(STEPS):
            action = policy.get_action(observation) + rng.normal(0, NOISE, 4)
            observation, _, _, _, info = env.step(np.clip(action, -1, 1))
            states.append(_state(env.data))
            if success is None and info["success"]:
                success = step
            if success is not None and step == success + AFTER:
                return Episode(tuple(states), success, _first_moved(states))
    return None


def play_until_done(
    env: Any, task: str, rng: Callable[[int], np.random.Generator], name: str
) -> tuple[Episode, int]:
    """The first attempt that succeeds, and how many it took. rng(attempt): the random numbers of each.

    Errors: AnnotationError naming the clip, the task and the attempts where none succeeds.
    """
    for attempt in range(ATTEMPTS):
        episode = play(env, task, rng(attempt))
        if episode is not None:
            return episode, attempt + 1
    raise AnnotationError(
        f"{name}: the scripted policy of {task} failed in {ATTEMPTS} of {ATTEMPTS} attempts; the versions of "
        "metaworld and mujoco may not fit each other (pip install 'svitt[worlds]'), or try another seed"
    )


def labels(model: Any) -> npt.NDArray[np.uint8]:
    """What each geom of a task's model belongs to, (geoms,): 1 the robot, 2 the handled object, 0 the rest.

    The handled object is whatever can move on joints of its own, but for the machine's button.
    """
    robot = model.body("base").id
    kinds = np.zeros(model.nbody, np.uint8)
    for body in range(1, model.nbody):
        if model.body_rootid[body] == robot:
            kinds[body] = 1
        elif model.body(body).name != "cmbutton":
            moves = model.body_jntnum[body] > 0 or kinds[model.body_parentid[body]] == 2
            kinds[body] = 2 if moves else 0
    found: npt.NDArray[np.uint8] = kinds[model.geom_bodyid]
    return found


def _state(data: Any) -> State:
    return State(data.qpos.copy(), data.qvel.copy(), data.mocap_pos.copy(), data.mocap_quat.copy())


def _first_moved(states: list[State]) -> int:
    objects = np.stack([state.qpos[_HAND:] for state in states])
    away = np.abs(objects - objects[0]).max(axis=1)
    return int(np.argmax(away >= _MOVED * away.max()))
