"""All that determines a world of shapes, as one configuration."""

from __future__ import annotations

from dataclasses import dataclass

from svitt.config import added, require
from svitt.data.worlds.shapes.grammar import Names, vocabulary

SPLITS: tuple[str, ...] = ("train", "validation", "test", "heldout")
SIDE_JITTER = 0.15  # of an object's side, relative, either way
TRAVEL = (0.3, 0.45)  # distance covered in a clip, in frame sides


@dataclass(frozen=True)
class WorldSpec:
    """All that determines a world.

    num_*: clips a split. size: frame side in pixels (even, for H.264). num_frames a clip, at fps.
    num_movers: named objects a clip, of different colours. clutter: neutral half-size distractors,
    half of which move. object_size: mean side of a named object, as a share of the frame side.

    The dials, off by default. num_colours, num_shapes, num_textures, num_sizes: words that a name is made of;
    their product is the number of names. event_frames: shortest and longest of the events, in frames;
    log-uniform between, the object at rest before and after. distractor_contrast: how far the two tones of a
    distractor are from its grey, 0 (plain grey) to 1 (black and white). camera_jitter: largest shift of the
    whole picture, drawn anew for every frame, in frame sides either way.
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
    num_colours: int = added(6)
    num_shapes: int = added(4)
    num_textures: int = added(1)
    num_sizes: int = added(1)
    event_frames: tuple[int, int] | None = added(None)
    distractor_contrast: float = added(0.0)
    camera_jitter: float = added(0.0)

    def __post_init__(self) -> None:
        require(self.seed >= 0, "seed", self.seed, "integers from 0")
        for split in SPLITS:
            require(self.count(split) >= 0, f"num_{split}", self.count(split), "integers from 0")
        require(self.size >= 16 and self.size % 2 == 0, "size", self.size, "even integers from 16")
        require(self.num_frames >= 2, "num_frames", self.num_frames, "integers from 2")
        require(self.fps >= 1, "fps", self.fps, "integers from 1")
        most = self.names.colours
        require(1 <= self.num_movers <= most, "num_movers", self.num_movers, f"1 to {most}, one per colour")
        require(0 <= self.clutter <= 250, "clutter", self.clutter, "0 to 250")
        require(0.05 <= self.object_size <= 0.3, "object_size", self.object_size, "0.05 to 0.3")
        contrast, jitter = self.distractor_contrast, self.camera_jitter
        require(0 <= contrast <= 1, "distractor_contrast", contrast, "0 to 1")
        widest = 1.4 * self.object_size * (1 + SIDE_JITTER) + TRAVEL[1]
        most_jitter = (1 - widest) / 2
        require(
            0 <= jitter <= most_jitter, "camera_jitter", jitter,
            f"0 to {most_jitter:.3f}, so that an object of this object_size stays in the picture",
        )  # fmt: skip
        if self.event_frames is not None:
            shortest, longest = self.event_frames
            require(
                2 <= shortest <= longest <= self.num_frames, "event_frames", self.event_frames,
                f"shortest and longest, from 2 to num_frames = {self.num_frames}",
            )  # fmt: skip

    def count(self, split: str) -> int:
        """Clips in a split."""
        require(split in SPLITS, "split", split, ", ".join(SPLITS))
        return int(getattr(self, f"num_{split}"))

    @property
    def names(self) -> Names:
        """What named objects can be called."""
        return Names(self.num_colours, self.num_shapes, self.num_textures, self.num_sizes)

    def tokens_per_object(self, patch_size: int, image_size: int | None = None) -> float:
        """Patches that a square of mean side covers, of frames shown at ``image_size`` (as made if None)."""
        side = self.object_size * (self.size if image_size is None else image_size)
        return (side / patch_size) ** 2

    def vocabulary(self) -> tuple[str, ...]:
        """Every word of the captions, sorted."""
        return vocabulary(self.names)
