"""Parameters of an egocentric world."""

from __future__ import annotations

from dataclasses import dataclass

from svitt.config import require

SPLITS = ("train", "validation", "test")
CHUNKS = 3  # files of a video; the last one is shorter, as the last of an Ego4D video is
MOST_MOMENTS = 20
COLUMNS, ROWS, SIDE = 3, 2, 8  # of the house in rooms; of a room in cells, with its walls


@dataclass(frozen=True)
class EgoSpec:
    """seed; num_<split>: videos per split, which share none.

    fps: steps of the game per second. tile: side of one of the 7 x 7 cells of the view in pixels, even.
    chunk_seconds: of a file (Ego4D: 600; short here, so that clips cross the border between two files).
    min_frames: of a video, at least; it has at most three chunks, and ends in the third.
    min_moments: of a video; at most MOST_MOMENTS.
    clip_scale: alpha of EgoVLP: a clip lasts beta / alpha, beta the mean time between its video's moments.
    questions: of either kind per video, at most.
    """

    seed: int = 0
    num_train: int = 400
    num_validation: int = 50
    num_test: int = 50
    fps: int = 5
    tile: int = 8
    chunk_seconds: int = 8
    min_frames: int = 100
    min_moments: int = 5
    clip_scale: float = 1.0
    questions: int = 2

    def __post_init__(self) -> None:
        for name in ("seed", "num_train", "num_validation", "num_test", "questions"):
            require(getattr(self, name) >= 0, name, getattr(self, name), "integers from 0")
        require(self.fps >= 1, "fps", self.fps, "integers from 1")
        require(self.tile >= 4 and self.tile % 2 == 0, "tile", self.tile, "even integers from 4")
        require(self.chunk_seconds >= 1, "chunk_seconds", self.chunk_seconds, "integers from 1")
        least = (CHUNKS - 1) * self.chunk_seconds * self.fps + 1
        allowed = f"{least} to {self.num_frames}, so that a video ends in its third chunk"
        require(least <= self.min_frames <= self.num_frames, "min_frames", self.min_frames, allowed)
        require(
            1 <= self.min_moments <= MOST_MOMENTS, "min_moments", self.min_moments, f"1 to {MOST_MOMENTS}"
        )
        require(self.clip_scale > 0, "clip_scale", self.clip_scale, "numbers above 0")

    def count(self, split: str) -> int:
        """Videos of a split."""
        return {"train": self.num_train, "validation": self.num_validation, "test": self.num_test}[split]

    @property
    def size(self) -> int:
        """Side of a frame in pixels."""
        return 7 * self.tile

    @property
    def num_frames(self) -> int:
        """Frames of a video, at most."""
        return CHUNKS * self.chunk_seconds * self.fps


def room_at(x: int, y: int) -> int | None:
    """Number of the room that holds a cell of the house, row by row; None for walls and doors."""
    inside = x % (SIDE - 1) and y % (SIDE - 1)
    return y // (SIDE - 1) * COLUMNS + x // (SIDE - 1) if inside else None
