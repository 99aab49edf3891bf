"""What is drawn in a clip of the procedural world, as numbers: a pure function of (seed, split, index).

Time is symmetric by construction. Every quantity is given at the middle of the clip, together with its
change over the clip; the verb sets only the sign of that change and is drawn independently of all the
rest. So the reversed clip of one verb *is* a clip of the reversed verb, with the same probability, and
a model that sees the frames without their order, or one frame without its time, is at chance on the
choice between the two. This holds for frames drawn symmetrically about the clip's middle: a frame whose
time is known does tell (what moves left begins further right), and "middle of each interval" of an even
interval is half a frame early. Order-blind baselines therefore draw their frames at random.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import asdict, dataclass, replace

import numpy as np

from svitt.config import require
from svitt.data.worlds.shapes.grammar import COLOURS, REVERSED_VERB, SHAPES, VERBS, Mover, Scene, combinations

SPLITS: tuple[str, ...] = ("train", "validation", "test", "heldout")

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
}
_TRAVEL = (0.3, 0.45)  # distance covered in a clip, in frame sides
_LOG_GROWTH = (math.log(1.7), math.log(2.3))  # change of log side in a clip
_SIDE_JITTER = 0.15  # relative, either way
_DISTRACTOR_SCALE = 0.5
_DISTRACTOR_MOVES = 0.5  # probability
_GREY = (90, 166)


@dataclass(frozen=True)
class WorldSpec:
    """All that determines a world.

    num_*: clips a split. size: frame side in pixels (even, for H.264). num_frames a clip, at fps.
    num_movers: named objects a clip, of different colours. clutter: neutral half-size distractors,
    half of which move. object_size: mean side of a named object, as a share of the frame side.
    """

    seed: int = 0
    num_train: int = 4000
    num_validation: int = 500
    num_test: int = 1000
    num_heldout: int = 500
    size: int = 64
    num_frames: int = 16
    fps: int = 8
    num_movers: int = 1
    clutter: int = 2
    object_size: float = 0.28

    def __post_init__(self) -> None:
        require(self.seed >= 0, "seed", self.seed, "integers from 0")
        for split in SPLITS:
            require(self.count(split) >= 0, f"num_{split}", self.count(split), "integers from 0")
        require(self.size >= 16 and self.size % 2 == 0, "size", self.size, "even integers from 16")
        require(self.num_frames >= 2, "num_frames", self.num_frames, "integers from 2")
        require(self.fps >= 1, "fps", self.fps, "integers from 1")
        require(1 <= self.num_movers <= len(COLOURS), "num_movers", self.num_movers, f"1 to {len(COLOURS)}")
        require(0 <= self.clutter <= 250, "clutter", self.clutter, "0 to 250")
        require(0.05 <= self.object_size <= 0.3, "object_size", self.object_size, "0.05 to 0.3")

    def count(self, split: str) -> int:
        """Clips in a split."""
        require(split in SPLITS, "split", split, ", ".join(SPLITS))
        return int(getattr(self, f"num_{split}"))


@dataclass(frozen=True)
class Body:
    """One drawn object. x, y, side: centre and side at the middle of the clip, in frame sides; dx, dy,
    log_growth: their change (of the side's logarithm) from first to last frame; rgb: 0 to 255."""

    shape: str
    rgb: tuple[int, int, int]
    x: float
    y: float
    side: float
    dx: float = 0.0
    dy: float = 0.0
    log_growth: float = 0.0


@dataclass(frozen=True)
class ClipParameters:
    """Everything that is drawn: named objects (in front), distractors (behind them), the background and
    the seed of its texture. caption_threshold in [0, 1) says from which dial on the caption has a verb."""

    scene: Scene
    movers: tuple[Body, ...]
    distractors: tuple[Body, ...]
    texture_seed: int
    caption_threshold: float

    def reversed(self) -> ClipParameters:
        """The parameters of the same clip played backwards: all changes negated, verbs reversed."""
        return replace(
            self,
            scene=self.scene.reversed(),
            movers=tuple(map(_backwards, self.movers)),
            distractors=tuple(map(_backwards, self.distractors)),
        )

    def digest(self) -> str:
        """SHA-256 of all parameters: equal only for clips that are drawn alike."""
        return hashlib.sha256(repr(asdict(self)).encode()).hexdigest()


def clip_parameters(spec: WorldSpec, split: str, index: int) -> ClipParameters:
    """The parameters of one clip, independent of how many clips there are.

    Errors: ConfigError for an unknown split; any index from 0 is allowed.
    """
    require(split in SPLITS, "split", split, ", ".join(SPLITS))
    require(index >= 0, "index", index, "integers from 0")
    sequence = np.random.SeedSequence(spec.seed, spawn_key=(SPLITS.index(split), index))
    rng = np.random.default_rng(sequence)
    scene = _draw_scene(spec, rng, held=split == "heldout")
    movers = tuple(
        _draw_body(rng, m.shape, COLOURS[m.colour], spec.object_size, _DIRECTION[m.verb])
        for m in scene.movers
    )
    distractors = tuple(_draw_distractor(spec, rng) for _ in range(spec.clutter))
    return ClipParameters(scene, movers, distractors, int(rng.integers(2**32)), float(rng.random()))


def _draw_scene(spec: WorldSpec, rng: np.random.Generator, held: bool) -> Scene:
    allowed = combinations(held)
    colour, shape, background = allowed[rng.integers(len(allowed))]
    movers = [Mover(colour, shape, VERBS[rng.integers(len(VERBS))])]
    while len(movers) < spec.num_movers:
        used = {m.colour for m in movers}
        rest = [(c, s) for c, s, b in allowed if b == background and c not in used]
        colour, shape = rest[rng.integers(len(rest))]
        movers.append(Mover(colour, shape, VERBS[rng.integers(len(VERBS))]))
    return Scene(tuple(movers), background)


def _draw_distractor(spec: WorldSpec, rng: np.random.Generator) -> Body:
    grey = int(rng.integers(*_GREY))
    shape = SHAPES[rng.integers(len(SHAPES))]
    verb = VERBS[rng.integers(4)]  # one of the four directions
    direction = _DIRECTION[verb] if rng.random() < _DISTRACTOR_MOVES else (0, 0, 0)
    return _draw_body(rng, shape, (grey,) * 3, spec.object_size * _DISTRACTOR_SCALE, direction)


def _draw_body(
    rng: np.random.Generator,
    shape: str,
    rgb: tuple[int, ...],
    mean_side: float,
    direction: tuple[int, int, int],
) -> Body:
    """Draws size, change and place. The ranges depend on the axis of the change, never on its sign."""
    side = mean_side * rng.uniform(1 - _SIDE_JITTER, 1 + _SIDE_JITTER)
    travel, growth = rng.uniform(*_TRAVEL), rng.uniform(*_LOG_GROWTH)
    dx, dy, log_growth = direction[0] * travel, direction[1] * travel, direction[2] * growth
    largest = side * math.exp(abs(log_growth) / 2)
    # The object stays inside the frame from the first frame to the last.
    reach_x = (largest * EXTENT[shape][0] + abs(dx)) / 2
    reach_y = (largest * EXTENT[shape][1] + abs(dy)) / 2
    x, y = rng.uniform(reach_x, 1 - reach_x), rng.uniform(reach_y, 1 - reach_y)
    return Body(shape, (rgb[0], rgb[1], rgb[2]), x, y, side, dx, dy, log_growth)


def _backwards(body: Body) -> Body:
    return replace(body, dx=-body.dx, dy=-body.dy, log_growth=-body.log_growth)


assert set(_DIRECTION) == set(REVERSED_VERB)
