"""A world that others made: Meta-World's robot at its tasks, as MP4 files with captions and ground truth.

28 tasks, 14 pairs that undo each other; every episode gives a clip and the same clip backwards under the
caption of its undoing. A folder holds ``manifest.json`` and, for every episode, ``<split>/<index>.mp4``,
``<index>-backwards.mp4`` and ``<index>.npz``. Splits are by episode; "viewpoints" is a further test split,
seen from where no other camera stands.

Meta-World: Yu et al., "Meta-World: A Benchmark and Evaluation for Multi-Task and Meta Reinforcement
Learning", CoRL 2019 (MIT licence); MuJoCo: Todorov et al., IROS 2012 (Apache 2.0). Making needs them
(``pip install 'svitt[worlds]'``); reading does not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from svitt.config import require
from svitt.data.worlds import base, making, manifest
from svitt.data.worlds.robot import gl
from svitt.data.worlds.robot.files import (
    EpisodeTruth,
    episode_facts,
    episode_names,
    make_episodes,
    read_truth,
)
from svitt.data.worlds.robot.grammar import Action, CaptionKind
from svitt.data.worlds.robot.scene import AZIMUTHS, SPLITS, Camera, RobotSpec, episode_parameters
from svitt.errors import AnnotationError

__all__ = [
    "ROBOT", "SPLITS", "RobotClip", "RobotSpec",
    "assert_apart", "failed_attempts", "load_world", "make_world",
]  # fmt: skip


@dataclass(frozen=True)
class RobotClip:
    """One clip: its file, what is done in it, and how it was seen. index: of its episode; backwards: whether
    it is shown in reverse, under the caption of the undoing. attempts: at the episode, failed ones included.
    """

    split: str
    index: int
    backwards: bool
    path: Path
    truth_path: Path
    action: Action
    camera: Camera
    caption_threshold: float
    parameters: str
    attempts: int

    @property
    def verb(self) -> str:
        """What the robot does, e.g. "slides into"."""
        return self.action.verb

    @property
    def object(self) -> str:
        """What it does it to, e.g. "plate"."""
        return self.action.pair.object

    def caption(self, kind: CaptionKind = "mixed") -> str:
        """A caption of one kind."""
        return self.action.caption(kind)

    def caption_at(self, dial: float) -> str:
        """The caption at a dial in [0, 1], the share of episodes whose captions carry the verb.

        Fixed for an episode, so alike for both of its clips; one that has the verb keeps it at every higher
        dial.
        """
        return self.action.caption("mixed" if self.has_verb_at(dial) else "static")

    def has_verb_at(self, dial: float) -> bool:
        """Whether ``caption_at(dial)`` carries the verb."""
        require(0 <= dial <= 1, "dial", dial, "0 (static) to 1 (temporal)")
        return self.caption_threshold < dial

    def truth(self) -> EpisodeTruth:
        """Masks and steps in the order of this clip's frames."""
        truth = read_truth(self.truth_path)
        if not self.backwards:
            return truth
        return replace(truth, masks=truth.masks[::-1], steps=truth.steps[::-1])


Split = base.Split[RobotClip]
World = base.World[RobotSpec, RobotClip]


def make_world(spec: RobotSpec, out: str | Path, workers: int = 2, progress: bool = True) -> World:
    """Makes the world in the folder ``out``, or what is missing of it, and returns it checked.

    Errors: AnnotationError as for every world (``making.make``), or where a task's policy does not succeed;
    ConfigError where a package or an OpenGL to render with is missing.
    """
    return making.make(ROBOT, spec, out, workers, progress)


def load_world(path: str | Path, check: str = "full", progress: bool = False) -> World:
    """Reads a world and verifies that manifest and files agree (``manifest.load``); needs no simulator."""
    return manifest.load(ROBOT, path, check, progress)


def failed_attempts(world: World) -> dict[str, tuple[int, int]]:
    """Task -> (attempts that failed and were left out, episodes kept), over all splits."""
    kept: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    for clip in world:
        if not clip.backwards:
            kept[clip.action.task] += 1
            failed[clip.action.task] += clip.attempts - 1
    return {task: (failed[task], kept[task]) for task in kept}


def assert_apart(world: World) -> None:
    """That no two episodes were drawn alike and that every camera stands where its split's cameras may, so
    that held-out viewpoints are. Errors: AnnotationError."""
    seen: dict[str, RobotClip] = {}
    for clip in world:
        twin = seen.setdefault(clip.parameters, clip)
        if (twin.split, twin.index) != (clip.split, clip.index):
            raise AnnotationError(f"{clip.path} and {twin.path} are the same episode; make the world anew")
        ranges = AZIMUTHS[clip.split]
        if not clip.camera.name and not any(low <= clip.camera.azimuth < high for low, high in ranges):
            raise AnnotationError(
                f"{clip.path}: its camera stands at {clip.camera.azimuth:.1f} degrees, outside the "
                f"{clip.split} split's {ranges}; make the world anew"
            )


def _clips(spec: RobotSpec, place: base.Place, facts: Mapping[str, Any]) -> list[RobotClip]:
    action = Action.of_task(facts["task"])
    for kind, captions in facts["captions"].items():
        if tuple(captions) != action.flip_choices(kind):
            raise AnnotationError(
                f"{place.folder / manifest.MANIFEST}: clip {place.name}: the {kind} captions {captions} do "
                f"not fit its task {action.task} ({action.flip_choices(kind)}); restore the manifest or make "
                "the world anew"
            )
    camera = Camera(**{**facts["camera"], "look_at": tuple(facts["camera"]["look_at"])})
    drawn = camera, facts["caption_threshold"], facts["parameters"], facts["attempts"]
    truth = place.path("truth")
    return [
        RobotClip(place.split, place.index, False, place.path("video"), truth, action, *drawn),
        RobotClip(place.split, place.index, True, place.path("backwards"), truth, action.reversed(), *drawn),
    ]


def _by_task(spec: RobotSpec, split: str, indices: list[int]) -> list[int]:
    """Episodes of one task follow each other, so that a worker need not change its stage for each."""
    return sorted(indices, key=lambda index: (episode_parameters(spec, split, index).task, index))


def _report(world: World) -> str:
    failed = {task: times for task, (times, _) in failed_attempts(world).items() if times}
    named = ", ".join(f"{task} {times}" for task, times in sorted(failed.items()))
    return f"{sum(failed.values())} attempts failed and were left out" + (f" ({named})" if named else "")


ROBOT = base.WorldKind(
    name="robot",
    spec=RobotSpec,
    splits=SPLITS,
    names=episode_names,
    make=make_episodes,
    facts=episode_facts,
    clips=_clips,
    verify=assert_apart,
    shares={"validation": 8, "test": 4, "viewpoints": 8},
    options=(
        base.Option("size", "size", "frame side in pixels"),
        base.Option("frames", "num_frames", "frames a clip"),
        base.Option("wrist", "wrist", "seen from the gripper"),
    ),
    environment=gl.environment,
    order=_by_task,
    report=_report,
    chunk=6,
    in_process=False,
)
