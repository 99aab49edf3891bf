"""Files of the world of shapes: clips as MP4, ground truth as NPZ, and a line in the manifest for both."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

from svitt.data.worlds.base import Place, Task
from svitt.data.worlds.files import (
    FileEntry,
    add_file,
    encode_mp4,
    npz,
    read_arrays,
    sha256_of,
    write_new,
)
from svitt.data.worlds.shapes.grammar import CaptionKind
from svitt.data.worlds.shapes.render import ClipTruth, render
from svitt.data.worlds.shapes.scene import WorldSpec, clip_parameters

__all__ = [
    "clip_facts", "clip_names", "encode_mp4", "encode_truth", "make_clips", "read_truth", "sha256_of",
    "write_new",
]  # fmt: skip


def clip_names(split: str, index: int) -> dict[str, str]:
    """Relative names of a clip's video and of its ground truth."""
    return {"video": f"{split}/{index:05d}.mp4", "truth": f"{split}/{index:05d}.npz"}


def encode_truth(truth: ClipTruth) -> bytes:
    """Compressed NPZ with ``masks`` and ``boxes`` (see ClipTruth)."""
    return npz(masks=truth.masks, boxes=truth.boxes)


def read_truth(path: Path) -> ClipTruth:
    """Ground truth of one clip. Errors: AnnotationError naming the file."""
    return ClipTruth(*read_arrays(path, "masks", "boxes"))


def make_clips(task: Task) -> list[FileEntry]:
    """Renders, encodes and writes clips. Runs in a worker process."""
    folder, spec, split, indices = task
    entries = []
    for index in indices:
        frames, truth = render(clip_parameters(spec, split, index), spec.num_frames, spec.size)
        contents = encode_mp4(frames, spec.fps), encode_truth(truth)
        for name, content in zip(clip_names(split, index).values(), contents, strict=True):
            entries.append(add_file(Path(folder), name, content))
    return entries


def clip_facts(spec: WorldSpec, place: Place) -> dict[str, Any]:
    """What the manifest says of a clip besides its files."""
    parameters = clip_parameters(spec, place.split, place.index)
    scene = parameters.scene
    return {
        "movers": [m.listed() for m in scene.movers],
        "background": scene.background,
        "captions": {kind: scene.caption(kind) for kind in get_args(CaptionKind)},
        "caption_threshold": parameters.caption_threshold,
        "parameters": parameters.digest(),
    }
