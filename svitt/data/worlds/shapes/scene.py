"""What is drawn in a clip of the procedural world, as numbers: a pure function of (seed, split, index).

Time is symmetric by construction. Every quantity is given at the middle of the clip, together with its
change over the clip; the verb sets only the sign of that change and is drawn independently of all the
rest. So the reversed clip of one verb *is* a clip of the reversed verb, with the same probability, and
a model that sees the frames without their order, or one frame without its time, is at chance on the
choice between the two. This holds for frames drawn symmetrically about the clip's middle: a frame whose
time is known does tell (what moves left begins further right), and "middle of each interval" of an even
interval is half a frame early. Order-blind baselines therefore draw their frames at random.

The dials keep it so: an event is as likely at a moment as at the mirrored one, the camera's shifts are
drawn for each frame alone, and looks do not change in time. Events and camera draw from streams of their own:
with other settings of events a clip is otherwise the same.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import numpy as np

from svitt.config import added, require, unused
from svitt.data.worlds.shapes.grammar import (
    ALL_COLOURS,
    REVERSED_VERB,
    SHAPES,
    VERBS,
    Mover,
    Scene,
    all_combinations,
)
from svitt.data.worlds.shapes.names import MORE_SHAPES, SIZES, second_colour
from svitt.data.worlds.shapes.spec import SIDE_JITTER, SPLITS, TRAVEL, WorldSpec

__all__ = ["EXTENT", "SPLITS", "Body", "ClipParameters", "WorldSpec", "clip_parameters", "log_uniform"]

# Change over the clip for each verb: (x, y, log side), signs only; y points down.
_DIRECTION: dict[str, tuple[int, int, int]] = {
    "moves left": (-1, 0, 0),
    "moves right": (1, 0, 0),
    "moves up": (0, -1, 0),
    "moves down": (0, 1, 0),
    "grows": (0, 0, 1),
    "shrinks": (0, 0, -1),
}
# Width and height of a shape, as multiples of its side.
EXTENT: dict[str, tuple[float, float]] = {
    "square": (1.0, 1.0),
    "ring": (1.1, 1.1),
    "bar": (1.4, 0.5),
    "pole": (0.5, 1.4),
    **dict.fromkeys(MORE_SHAPES, (1.1, 1.1)),
}
_LOG_GROWTH = (math.log(1.7), math.log(2.3))  # change of log side in a clip
_DISTRACTOR_SCALE = 0.5
_DISTRACTOR_MOVES = 0.5  # probability
_GREY = (90, 166)
# A dial's stream of random numbers, after (split, index).
_EVENTS, _CAMERA = 1, 2


@dataclass(frozen=True)
class Body:
    """One drawn object. x, y, side: centre and side at the middle of the clip, in frame sides; dx, dy,
    log_growth: their change (of the side's logarithm) from first to last frame; rgb: 0 to 255.

    texture, second_rgb: its pattern and that pattern's other colour. event: (first frame, frames) of the
    change, where it does not take the whole clip; x, y and side are then those at the event's middle."""

    shape: str
    rgb: tuple[int, int, int]
    x: float
    y: float
    side: float
    dx: float = 0.0
    dy: float = 0.0
    log_growth: float = 0.0
    texture: str = added("plain")
    second_rgb: tuple[int, int, int] | None = added(None)
    event: tuple[int, int] | None = added(None)


@dataclass(frozen=True)
class ClipParameters:
    """Everything that is drawn: named objects (in front), distractors (behind them), the background and
    the seed of its texture. caption_threshold in [0, 1) says from which dial on the caption has a verb.
    camera: how far the picture is moved in each frame, (right, down) in frame sides; empty where it rests.
    num_frames: of the clip, where an event or the camera goes by frames; otherwise 0."""

    scene: Scene
    movers: tuple[Body, ...]
    distractors: tuple[Body, ...]
    texture_seed: int
    caption_threshold: float
    camera: tuple[tuple[float, float], ...] = added(())
    num_frames: int = added(0)

    def reversed(self) -> ClipParameters:
        """The parameters of the same clip played backwards: all changes negated, events at the mirrored
        moment, the camera's shifts last first, verbs reversed."""
        return replace(
            self,
            scene=self.scene.reversed(),
            movers=tuple(_backwards(body, self.num_frames) for body in self.movers),
            distractors=tuple(_backwards(body, self.num_frames) for body in self.distractors),
            camera=self.camera[::-1],
        )

    def digest(self) -> str:
        """SHA-256 of all parameters: equal only for clips that are drawn alike."""
        return hashlib.sha256(repr(_plain(self)).encode()).hexdigest()


def clip_parameters(spec: WorldSpec, split: str, index: int) -> ClipParameters:
    """The parameters of one clip, independent of how many clips there are.

    Errors: ConfigError for an unknown split; any index from 0 is allowed.
    """
    require(split in SPLITS, "split", split, ", ".join(SPLITS))
    require(index >= 0, "index", index, "integers from 0")
    rng = _stream(spec, split, index)
    scene = _draw_scene(spec, rng, held=split == "heldout")
    movers = tuple(_draw_mover(spec, rng, mover) for mover in scene.movers)
    distractors = tuple(_draw_distractor(spec, rng) for _ in range(spec.clutter))
    drawn = ClipParameters(scene, movers, distractors, int(rng.integers(2**32)), float(rng.random()))
    if spec.event_frames is not None:
        events = _stream(spec, split, index, _EVENTS)
        movers, distractors = (
            tuple(replace(body, event=_draw_event(spec, events)) for body in bodies)
            for bodies in (movers, distractors)
        )
        drawn = replace(drawn, movers=movers, distractors=distractors, num_frames=spec.num_frames)
    if spec.camera_jitter > 0:
        shifts = (
            _stream(spec, split, index, _CAMERA).uniform(-1, 1, (spec.num_frames, 2)) * spec.camera_jitter
        )
        camera = tuple((float(right), float(down)) for right, down in shifts)
        drawn = replace(drawn, camera=camera, num_frames=spec.num_frames)
    return drawn


def _stream(spec: WorldSpec, split: str, index: int, *dial: int) -> np.random.Generator:
    """The random numbers of a clip, or those of one of its dials."""
    key = (SPLITS.index(split), index, *dial)
    return np.random.default_rng(np.random.SeedSequence(spec.seed, spawn_key=key))


def _draw_scene(spec: WorldSpec, rng: np.random.Generator, held: bool) -> Scene:
    allowed = all_combinations(spec.names, held)
    colour, shape, background, *looks = allowed[rng.integers(len(allowed))]
    movers = [Mover(colour, shape, VERBS[rng.integers(len(VERBS))], *looks)]
    while len(movers) < spec.num_movers:
        used = {m.colour for m in movers}
        rest = [each for each in allowed if each[2] == background and each[0] not in used]
        colour, shape, _, *looks = rest[rng.integers(len(rest))]
        movers.append(Mover(colour, shape, VERBS[rng.integers(len(VERBS))], *looks))
    return Scene(tuple(movers), background)


def _draw_event(spec: WorldSpec, rng: np.random.Generator) -> tuple[int, int]:
    """First frame and length; the moment is as likely as its mirror image."""
    assert spec.event_frames is not None
    length = log_uniform(*spec.event_frames, rng)
    return int(rng.integers(spec.num_frames - length + 1)), length


def log_uniform(low: int, high: int, rng: np.random.Generator) -> int:
    """A whole number from ``low`` to ``high``: log-uniform over [low, high + 1), rounded down; 2 to 3 is as
    likely as 4 to 7. Errors: ConfigError for an empty range."""
    require(1 <= low <= high, "low", low, f"1 to {high}")
    drawn = math.exp(rng.uniform(math.log(low), math.log(high + 1)))
    return min(high, max(low, int(drawn)))


def _draw_mover(spec: WorldSpec, rng: np.random.Generator, mover: Mover) -> Body:
    rgb = ALL_COLOURS[mover.colour]
    side = spec.object_size * SIZES[mover.size]
    body = _draw_body(rng, mover.shape, rgb, side, _DIRECTION[mover.verb], spec.camera_jitter)
    if mover.texture == "plain":
        return body
    return replace(body, texture=mover.texture, second_rgb=second_colour(rgb))


def _draw_distractor(spec: WorldSpec, rng: np.random.Generator) -> Body:
    grey = int(rng.integers(*_GREY))
    shape = SHAPES[rng.integers(len(SHAPES))]
    verb = VERBS[rng.integers(4)]  # one of the four directions
    direction = _DIRECTION[verb] if rng.random() < _DISTRACTOR_MOVES else (0, 0, 0)
    side, contrast = spec.object_size * _DISTRACTOR_SCALE, spec.distractor_contrast
    body = _draw_body(rng, shape, (grey,) * 3, side, direction, spec.camera_jitter)
    if contrast == 0:
        return body
    light, dark = round(grey + contrast * (255 - grey)), round(grey * (1 - contrast))
    return replace(body, rgb=(light,) * 3, texture="checked", second_rgb=(dark,) * 3)


def _draw_body(
    rng: np.random.Generator,
    shape: str,
    rgb: tuple[int, ...],
    mean_side: float,
    direction: tuple[int, int, int],
    margin: float,
) -> Body:
    """Draws size, change and place. The ranges depend on the axis of the change, never on its sign.
    margin: of the frame, which the camera may cut off."""
    side = mean_side * rng.uniform(1 - SIDE_JITTER, 1 + SIDE_JITTER)
    travel, growth = rng.uniform(*TRAVEL), rng.uniform(*_LOG_GROWTH)
    dx, dy, log_growth = direction[0] * travel, direction[1] * travel, direction[2] * growth
    largest = side * math.exp(abs(log_growth) / 2)
    # The object stays inside the frame from the first frame to the last.
    reach_x = (largest * EXTENT[shape][0] + abs(dx)) / 2 + margin
    reach_y = (largest * EXTENT[shape][1] + abs(dy)) / 2 + margin
    x, y = rng.uniform(reach_x, 1 - reach_x), rng.uniform(reach_y, 1 - reach_y)
    return Body(shape, (rgb[0], rgb[1], rgb[2]), x, y, side, dx, dy, log_growth)


def _backwards(body: Body, num_frames: int) -> Body:
    event = None if body.event is None else (num_frames - sum(body.event), body.event[1])
    return replace(body, dx=-body.dx, dy=-body.dy, log_growth=-body.log_growth, event=event)


def _plain(value: Any) -> Any:
    """As ``dataclasses.asdict``, without what a dial that is off would add."""
    if isinstance(value, tuple):
        return tuple(map(_plain, value))
    if not is_dataclass(value):
        return value
    return {f.name: _plain(getattr(value, f.name)) for f in fields(value) if not unused(f, value)}


assert set(_DIRECTION) == set(REVERSED_VERB)
