"""Files of the robot world: an episode as it went, the same backwards, and what is where in it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from svitt.data.worlds.base import Place, Task
from svitt.data.worlds.files import FileEntry, Frames, add_file, encode_mp4, npz, read_arrays
from svitt.data.worlds.robot.grammar import Action, CaptionKind
from svitt.data.worlds.robot.render import OBJECT, Mask, Stage, drawn_by, stage
from svitt.data.worlds.robot.scene import (
    Camera,
    EpisodeParameters,
    RobotSpec,
    attempt_rng,
    episode_parameters,
    view,
)
from svitt.data.worlds.robot.simulate import State, play_until_done
from svitt.errors import AnnotationError

VIEWS = 12  # cameras tried for an episode
_SEEN = 1 / 1024  # of the frame's pixels: with fewer the handled object does not count as seen


@dataclass(frozen=True)
class EpisodeTruth:
    """What is where in a clip and how it came about.

    masks: (T, H, W) uint8, 0 rest, 1 arm, 2 handled object. steps: (T,) int32, the simulated step (1/80 s)
    of every frame. attempts: how often the policy had to begin anew, and once more. views: cameras
    tried. success: the step after which the task was done. made_by: renderer and versions.
    """

    masks: Mask
    steps: npt.NDArray[np.int32]
    attempts: int
    views: int
    success: int
    made_by: str


def episode_names(split: str, index: int) -> dict[str, str]:
    """Relative names of an episode's clip, of the clip backwards, and of its ground truth."""
    stem = f"{split}/{index:05d}"
    return {"video": f"{stem}.mp4", "backwards": f"{stem}-backwards.mp4", "truth": f"{stem}.npz"}


def make_episodes(task: Task) -> list[FileEntry]:
    """Plays, draws and writes episodes. Runs in a worker process."""
    entries = []
    for index in task.indices:
        parameters = episode_parameters(task.spec, task.split, index)
        frames, truth = film(task.spec, task.split, parameters, f"{task.folder}: {task.split}/{index}")
        arrays = {name: np.asarray(value) for name, value in vars(truth).items()}
        # Every frame is coded alone, so that this is the first clip's decoded frames in reverse order.
        contents = encode_mp4(frames, task.spec.fps), encode_mp4(frames[::-1], task.spec.fps), npz(**arrays)
        for name, content in zip(episode_names(task.split, index).values(), contents, strict=True):
            entries.append(add_file(Path(task.folder), name, content))
    return entries


def film(
    spec: RobotSpec, split: str, parameters: EpisodeParameters, name: str
) -> tuple[Frames, EpisodeTruth]:
    """An episode in memory: frames (T, H, W, 3) uint8 and its ground truth. name: for messages.

    Errors: AnnotationError where the policy does not succeed.
    """
    set_ = stage(parameters.task, spec.size)
    episode, attempts = play_until_done(
        set_.env, parameters.task, lambda attempt: attempt_rng(parameters, attempt), name
    )
    steps = episode.shown(parameters.lead, spec.num_frames)
    states = [episode.states[step] for step in steps]
    camera, views = _camera(spec, split, parameters, set_, states)
    frames = np.empty((spec.num_frames, spec.size, spec.size, 3), np.uint8)
    masks = np.empty(frames.shape[:3], np.uint8)
    for t, state in enumerate(states):
        set_.pose(state)
        set_.look(camera)
        frames[t], masks[t] = set_.frame(), set_.mask()
    return frames, EpisodeTruth(masks, steps, attempts, views, episode.success, _made_by())


def _camera(
    spec: RobotSpec, split: str, parameters: EpisodeParameters, set_: Stage, states: list[State]
) -> tuple[Camera, int]:
    """The first camera drawn that sees the handled object in two of three moments (beginning, middle, end),
    or the last one tried, and how many were tried. The same for both directions of the clip."""
    moments = (states[0], states[len(states) // 2], states[-1])
    for attempt in range(1 if spec.wrist else VIEWS):
        camera = view(spec, split, parameters, attempt)
        seen = 0
        for state in moments:
            set_.pose(state)
            set_.look(camera)
            seen += bool((set_.mask() == OBJECT).mean() >= _SEEN)
        if seen >= 2:
            break
    return camera, attempt + 1


def read_truth(path: Path) -> EpisodeTruth:
    """Ground truth of an episode. Errors: AnnotationError naming the file."""
    names = ("masks", "steps", "attempts", "views", "success", "made_by")
    masks, steps, attempts, views, success, made_by = read_arrays(path, *names)
    if masks.ndim != 3 or masks.dtype != np.uint8 or masks.max(initial=0) > OBJECT:
        raise AnnotationError(
            f"{path}: masks {masks.dtype} {masks.shape}, expected uint8 (T, H, W) of 0, 1 and 2; delete it "
            "and make the world again: only what is missing is made"
        )
    return EpisodeTruth(masks, steps, int(attempts), int(views), int(success), str(made_by))


def episode_facts(spec: RobotSpec, place: Place) -> dict[str, Any]:
    """What the manifest says of an episode besides its files."""
    parameters = episode_parameters(spec, place.split, place.index)
    truth = read_truth(place.path("truth"))
    action = Action.of_task(parameters.task)
    camera = asdict(view(spec, place.split, parameters, truth.views - 1))
    return {
        "task": parameters.task,
        "captions": {kind: list(action.flip_choices(kind)) for kind in get_args(CaptionKind)},
        "caption_threshold": parameters.caption_threshold,
        "camera": {**camera, "look_at": list(camera["look_at"])},
        "attempts": truth.attempts,
        "views": truth.views,
        "steps": truth.steps.tolist(),
        "success": truth.success,
        "made_by": truth.made_by,
        "parameters": parameters.digest(),
    }


def _made_by() -> str:
    versions = [f"{name} {version(name)}" for name in ("mujoco", "metaworld")]
    return ", ".join([*versions, drawn_by()])
