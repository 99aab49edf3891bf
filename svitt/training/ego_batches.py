"""Which clips make a batch of egocentric training: with each, perhaps, another moment of the same video."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from svitt.config import require

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Moments:
    """Where N clips come from: video (N,), any numbers, one per video; second (N,), the middle of each in it.

    Errors: ConfigError where the numbers do not fit.
    """

    video: Ints
    second: npt.NDArray[np.float64]

    def __post_init__(self) -> None:
        sizes = (self.video.shape, self.second.shape)
        require(self.video.ndim == 1 and sizes[0] == sizes[1], "video, second", sizes, "(N,) and (N,)")
        require(bool(np.isfinite(self.second).all()), "second", "nan or inf", "finite seconds")

    def __len__(self) -> int:
        return len(self.video)


@dataclass(frozen=True)
class EgoSampler:
    """The clips of a step, a function of (seed, step) alone; no clip twice in a batch.

    same_video: half of the batch are clips as they come, every one of an epoch once; behind them stands for
    each a neighbour, another clip of its video at most ``within`` seconds away, drawn anew every time (EgoVLP
    section 3.2: negatives that look the same). Where there is none that the batch does not hold yet, it is
    the nearest in time of the video, and where the video has no other at all, any clip: the batch keeps its
    size.

    Errors: ConfigError for a batch that the clips do not fill, or an odd one with neighbours.
    """

    moments: Moments
    batch_size: int
    seed: int
    same_video: bool = True
    within: float = 60.0

    def __post_init__(self) -> None:
        clips, size = len(self.moments), self.batch_size
        require(1 <= size <= clips, "batch_size", size, f"1 to {clips}, the clips there are")
        even = not self.same_video or size % 2 == 0
        require(even, "batch_size", size, "an even number with same_video: each clip and its neighbour")
        require(self.within > 0, "within", self.within, "seconds above 0")

    @property
    def anchors(self) -> int:
        """Of a batch: the clips that come by themselves, first in it."""
        return self.batch_size // 2 if self.same_video else self.batch_size

    def __call__(self, step: int) -> Ints:
        """Numbers (batch_size,) of the step's clips, anchors first, neighbours behind them in their order."""
        count = self.anchors
        epoch, place = divmod(step, len(self.moments) // count)
        order = np.random.default_rng([self.seed, 0, epoch]).permutation(len(self.moments))
        chosen: list[int] = order[place * count : (place + 1) * count].tolist()
        if self.same_video:
            rng = np.random.default_rng([self.seed, 1, step])
            taken = set(chosen)
            for clip in chosen[:count]:
                neighbour = self._neighbour(clip, taken, rng)
                taken.add(neighbour)
                chosen.append(neighbour)
        return np.array(chosen, dtype=np.int64)

    def _neighbour(self, clip: int, taken: set[int], rng: np.random.Generator) -> int:
        free = np.ones(len(self.moments), dtype=bool)
        free[list(taken)] = False
        beside = np.flatnonzero(free & (self.moments.video == self.moments.video[clip]))
        if not len(beside):
            return int(rng.choice(np.flatnonzero(free)))
        distance = np.abs(self.moments.second[beside] - self.moments.second[clip])
        near = beside[distance <= self.within]
        return int(rng.choice(near)) if len(near) else int(beside[distance.argmin()])
