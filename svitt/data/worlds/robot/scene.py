"""What is drawn for a clip of the robot world: its task, its camera, its random numbers; no simulation here.

Everything is a pure function of (seed, split, index), so that 10 clips or 10,000 are the same for the same
numbers.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass

import numpy as np

from svitt.config import require
from svitt.data.worlds.robot.grammar import TASKS

SPLITS: tuple[str, ...] = ("train", "validation", "test", "viewpoints")
# Where the camera stands, in degrees about the vertical: 270 faces the robot. The split "viewpoints" sees the
# table from further round, on either side, than any other.
AZIMUTHS: dict[str, tuple[tuple[float, float], ...]] = {
    **dict.fromkeys(SPLITS[:3], ((185.0, 355.0),)),
    "viewpoints": ((160.0, 180.0), (360.0, 380.0)),
}
_ELEVATION = (-50.0, -25.0)  # degrees
_DISTANCE = (1.0, 1.35)  # metres, to the point looked at
_LOOK_AT, _LOOK_AT_JITTER = (0.0, 0.62, 0.1), 0.03  # metres, each axis either way
_LEAD = (8, 25)  # steps before the object moves from which a clip may begin; the end is left out
# Cameras on the wrist, as Meta-World's models name them; the second is the one held out.
_WRIST = {**dict.fromkeys(SPLITS[:3], "gripperPOV"), "viewpoints": "behindGripper"}


@dataclass(frozen=True)
class RobotSpec:
    """All that determines a robot world.

    num_*: episodes a split; each gives two clips, as it went and backwards. size: frame side in pixels
    (even, for H.264). num_frames a clip, at fps, spread over the event. wrist: seen from the gripper instead
    of a camera in the room.
    """

    seed: int = 0
    num_train: int = 2000
    num_validation: int = 250
    num_test: int = 500
    num_viewpoints: int = 250
    size: int = 64
    num_frames: int = 16
    fps: int = 8
    wrist: bool = False

    def __post_init__(self) -> None:
        require(self.seed >= 0, "seed", self.seed, "integers from 0")
        for split in SPLITS:
            require(self.count(split) >= 0, f"num_{split}", self.count(split), "integers from 0")
        require(
            16 <= self.size <= 480 and self.size % 2 == 0, "size", self.size, "even integers from 16 to 480"
        )
        require(2 <= self.num_frames <= 64, "num_frames", self.num_frames, "2 to 64")
        require(self.fps >= 1, "fps", self.fps, "integers from 1")

    def count(self, split: str) -> int:
        """Episodes in a split."""
        require(split in SPLITS, "split", split, ", ".join(SPLITS))
        return int(getattr(self, f"num_{split}"))


@dataclass(frozen=True)
class Camera:
    """name: a camera of the model, or "" for one in the room: degrees, metres, and the point it looks at."""

    name: str
    azimuth: float = 0.0
    elevation: float = 0.0
    distance: float = 0.0
    look_at: tuple[float, float, float] = _LOOK_AT


@dataclass(frozen=True)
class EpisodeParameters:
    """What is drawn for an episode before it is played. task: Meta-World's name. lead: steps shown before the
    object moves. caption_threshold in [0, 1) says from which dial on its captions have a verb. seed: of all
    further random numbers: where things lie, the noise of the actions, the camera."""

    task: str
    lead: int
    caption_threshold: float
    seed: int

    def digest(self) -> str:
        """SHA-256 of all of it: equal only for clips that are played and seen alike."""
        return hashlib.sha256(repr(asdict(self)).encode()).hexdigest()


def episode_parameters(spec: RobotSpec, split: str, index: int) -> EpisodeParameters:
    """The parameters of one episode, independent of how many there are.

    Any 28 episodes from a multiple of 28 on show every task once, in an order of their own.
    Errors: ConfigError for an unknown split or a negative index.
    """
    require(split in SPLITS, "split", split, ", ".join(SPLITS))
    require(index >= 0, "index", index, "integers from 0")
    number = SPLITS.index(split)
    order = _rng(spec.seed, 0, number, index // len(TASKS)).permutation(len(TASKS))
    rng = _rng(spec.seed, 1, number, index)
    task = TASKS[order[index % len(TASKS)]]
    lead, threshold, seed = rng.integers(*_LEAD), rng.random(), rng.integers(2**63)
    return EpisodeParameters(task, int(lead), float(threshold), int(seed))


def attempt_rng(parameters: EpisodeParameters, attempt: int) -> np.random.Generator:
    """Random numbers of one attempt at an episode: where things lie and the noise of the actions."""
    return _rng(parameters.seed, 0, attempt)


def view(spec: RobotSpec, split: str, parameters: EpisodeParameters, attempt: int) -> Camera:
    """The camera of an episode; the next attempt is made where the last one did not see the object."""
    if spec.wrist:
        return Camera(_WRIST[split])
    rng = _rng(parameters.seed, 1, attempt)
    ranges = AZIMUTHS[split]
    azimuth = rng.uniform(*ranges[rng.integers(len(ranges))])
    x, y, z = (c + rng.uniform(-_LOOK_AT_JITTER, _LOOK_AT_JITTER) for c in _LOOK_AT)
    return Camera(
        "", float(azimuth), float(rng.uniform(*_ELEVATION)), float(rng.uniform(*_DISTANCE)), (x, y, z)
    )


def _rng(seed: int, *key: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))
