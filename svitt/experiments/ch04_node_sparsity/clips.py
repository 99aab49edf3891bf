"""Clips of chapter 4 and where their objects are, patch token by patch token.

Beside the world's own test clips: the same clips with another number of distractors, and with a static
twin of the named object that no caption names. All go through H.264 like the world's files.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tqdm.auto import tqdm

from svitt.config import require
from svitt.data.datasets import downscale
from svitt.data.video.decode import read_clip
from svitt.data.worlds.shapes.files import encode_mp4
from svitt.data.worlds.shapes.render import render
from svitt.data.worlds.shapes.scene import EXTENT, Body, ClipParameters, clip_parameters
from svitt.data.worlds.shapes.world import WorldSpec
from svitt.errors import AnnotationError

Frames = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Grid = tuple[int, int, int]

NAMED, TWIN = 1, 2  # labels in ClipTruth.masks; without a twin, distractors are numbered from 2
_TRIES = 200
_GAP = 1 / 32  # between object and twin, in frame sides: one pixel of what the model sees


@dataclass(frozen=True)
class MadeClips:
    """Frames (N, T, size, size, 3) uint8 and masks (N, T, H, W) uint8 at the world's size, as ClipTruth."""

    frames: Frames
    masks: Frames

    def __len__(self) -> int:
        return len(self.frames)


def made_clips(
    parameters: Sequence[ClipParameters], shown: Ints, spec: WorldSpec, size: int, title: str
) -> MadeClips:
    """Draws clips, writes each as H.264 in MP4, and decodes frames ``shown`` (N, T) at ``size`` pixels."""
    num, time = shown.shape
    frames = np.empty((num, time, size, size, 3), np.uint8)
    masks = np.empty((num, time, spec.size, spec.size), np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        for i in tqdm(range(num), desc=title, unit="clip"):
            drawn, truth = render(parameters[i], spec.num_frames, spec.size)
            path.write_bytes(encode_mp4(drawn, spec.fps))
            frames[i] = downscale(read_clip(path, shown[i]), size)
            masks[i] = truth.masks[shown[i]]
    return MadeClips(frames, masks)


def cluttered(spec: WorldSpec, count: int, clutter: int) -> list[ClipParameters]:
    """The first test clips with ``clutter`` distractors: named objects and what they do stay the same."""
    changed = replace(spec, clutter=clutter)
    return [clip_parameters(changed, "test", i) for i in range(count)]


def twin_clips(spec: WorldSpec, count: int) -> tuple[list[int], list[ClipParameters]]:
    """The first ``count`` test clips that have room for a static twin, their numbers, and the twins in them.

    Errors: AnnotationError when too few of the split's clips have room.
    """
    numbers: list[int] = []
    made: list[ClipParameters] = []
    for index in range(spec.num_test):
        if len(made) == count:
            break
        parameters = clip_parameters(spec, "test", index)
        twin = static_twin(parameters.movers[0], np.random.default_rng([spec.seed, 4, index]))
        if twin is not None:
            numbers.append(index)
            made.append(replace(parameters, movers=(*parameters.movers, twin)))
    if len(made) < count:
        raise AnnotationError(
            f"only {len(made)} of {spec.num_test} test clips have room for a static twin, wanted: {count}; "
            "make num_twin smaller or num_test larger"
        )
    return numbers, made


def static_twin(body: Body, rng: np.random.Generator) -> Body | None:
    """An object of the same shape and colour that stands still where ``body`` never comes.

    As large as ``body`` is on average over the clip. None when no place is found in 200 tries.
    """
    growth = body.log_growth
    # The mean of exp(growth x w) over w in [-1, 1], the factor by which the area changes, is sinh / growth.
    side = body.side * (math.sqrt(math.sinh(growth) / growth) if growth else 1.0)
    width, height = EXTENT[body.shape]
    largest = body.side * math.exp(abs(growth) / 2)
    reach_x = (largest * width + abs(body.dx) + side * width) / 2 + _GAP
    reach_y = (largest * height + abs(body.dy) + side * height) / 2 + _GAP
    for _ in range(_TRIES):
        x = rng.uniform(side * width / 2, 1 - side * width / 2)
        y = rng.uniform(side * height / 2, 1 - side * height / 2)
        if abs(x - body.x) > reach_x or abs(y - body.y) > reach_y:
            return Body(body.shape, body.rgb, x, y, side)
    return None


def token_coverage(masks: Frames, grid: Grid, first: int, last: int | None = None) -> Floats:
    """Share of every patch that shows an object labelled ``first`` to ``last`` (default: ``first`` alone).

    masks (N, T, H, W) -> (N, T*h*w) in [0, 1], in the order of the tokens (frame, row, column).
    Errors: ConfigError when the grid does not tile the masks.
    """
    patches = _patches(masks, grid)
    hit = (patches >= first) & (patches <= (first if last is None else last))
    return hit.mean(axis=(3, 5)).reshape(len(masks), -1).astype(np.float32)


def patch_contrast(clips: Frames, grid: Grid) -> Floats:
    """Root-mean-square contrast of every patch: the standard deviation of its pixels, over all colours.

    clips (N, T, H, W, 3) uint8 -> (N, T*h*w).
    """
    variance = [
        _patches(clips[..., c], grid).astype(np.float32).var(axis=(3, 5)) for c in range(clips.shape[-1])
    ]
    return np.sqrt(np.mean(variance, axis=0)).reshape(len(clips), -1).astype(np.float32)


def _patches(frames: npt.NDArray[np.uint8], grid: Grid) -> npt.NDArray[np.uint8]:
    """(N, T, H, W) -> (N, T, h, H/h, w, W/w)."""
    num, time, height, width = frames.shape
    require(
        time == grid[0] and height % grid[1] == 0 and width % grid[2] == 0,
        "grid",
        grid,
        f"{time} frames, and rows and columns that tile {height} x {width} pixels",
    )
    return frames.reshape(num, time, grid[1], height // grid[1], grid[2], width // grid[2])


def perfect_scores(coverage: Floats, grid: Grid) -> Floats:
    """Scores by which a selection that knows the object would prune: its best covered patch in every frame
    first, then the second best of every frame, and so on; patches without it last.

    coverage (N, T*h*w) of the named object. Returns the same shape.
    """
    frames = coverage.reshape(len(coverage), grid[0], -1)
    place = np.argsort(np.argsort(-frames, axis=2, kind="stable"), axis=2, kind="stable")
    scores = np.where(frames > 0, frames - place, -float(frames.shape[2]) - 1)
    return scores.reshape(coverage.shape).astype(np.float32)


def top_tokens(scores: Floats, count: int) -> Ints:
    """The ``count`` highest of (N, K), ascending token numbers (N, count); equal scores: the earlier one."""
    return np.sort(np.argsort(-scores, axis=1, kind="stable")[:, :count], axis=1)


def share_on(kept: Ints, coverage: Floats) -> Floats:
    """Share of the kept patches' area that shows an object: kept (N, k), coverage (N, K) -> (N,)."""
    return np.take_along_axis(coverage, kept, axis=1).mean(axis=1).astype(np.float32)


def overlap(first: Ints, second: Ints) -> Floats:
    """Share of the tokens (N, k) that two selections have in common, a clip: (N,)."""
    return np.array(
        [len(np.intersect1d(a, b)) / len(a) for a, b in zip(first, second, strict=True)], np.float32
    )
