"""A world's clips as one array: decoded once, kept beside the world, memory-mapped from then on."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic

import numpy as np
import numpy.typing as npt
from filelock import FileLock
from tqdm.auto import tqdm

from svitt.atomic import part_pattern, replacing, write_atomically
from svitt.config import require
from svitt.data.video.decode import read_clip
from svitt.data.workers import serve
from svitt.data.worlds.base import C, Split, World
from svitt.data.worlds.files import sha256_of
from svitt.errors import AnnotationError

Clips = npt.NDArray[np.uint8]
_CHUNK = 50  # clips a task


@dataclass(frozen=True)
class ClipCache(Generic[C]):
    """Decoded clips of one split. frames: uint8 (N, T, H, W, C), read-only, memory-mapped; clip k is
    ``split[k]``; path: the file they lie in."""

    frames: Clips
    split: Split[C]
    path: Path

    def __len__(self) -> int:
        return len(self.frames)

    def record(self, index: int) -> C:
        """What is known of clip ``index``."""
        return self.split[index]


def open_cache(
    world: World[Any, C],
    split: str,
    size: int = 32,
    *,
    folder: Path | None = None,
    workers: int = 2,
    progress: bool = True,
) -> ClipCache[C]:
    """The frames of a split at ``size`` pixels a side, by area from the world's own size.

    Decodes the MP4 files on the first call. The array's name holds the digest of the world's manifest,
    so a world made anew never meets an old cache.
    folder: where the array is kept; default ``<world>/cache``.

    Errors: ConfigError for a size that does not divide the world's, or an empty split; VideoDecodeError for
    a clip that cannot be read; AnnotationError for a damaged cache.
    """
    records = world.split(split)
    whole = world.spec.size
    require(1 <= size <= whole and whole % size == 0, "size", size, f"a divisor of the world's {whole}")
    require(len(records) > 0, "split", split, "a split with clips in it")
    folder = world.folder / "cache" if folder is None else folder
    path = folder / f"{split}-{size}px-{world.digest[:16]}.npy"
    digest = path.with_suffix(".sha256")
    shape = (len(records), world.spec.num_frames, size, size, 3)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            if not (path.exists() and digest.exists()):
                for part in folder.glob(part_pattern(path)):
                    part.unlink(missing_ok=True)
                _decode([r.path for r in records], split, shape, path, workers, progress)
                write_atomically(digest, sha256_of(path).encode())
    except OSError as error:
        raise AnnotationError(
            f"{folder}: cannot keep decoded clips here: {error.strerror or error} ({error.filename}); "
            "give another folder"
        ) from error
    try:
        frames = np.load(path, mmap_mode="r")
    except (ValueError, EOFError) as error:
        raise AnnotationError(f"{path}: damaged ({error}); delete it: it is made anew") from error
    if frames.shape != shape or frames.dtype != np.uint8:
        raise AnnotationError(
            f"{path}: holds {frames.dtype} {frames.shape}, expected uint8 {shape}; delete it: it is made anew"
        )
    if digest.read_text() != sha256_of(path):
        raise AnnotationError(f"{path}: is not what was decoded; delete it: it is made anew")
    return ClipCache(frames, records, path)


def downscale(frames: Clips, size: int) -> Clips:
    """Mean over squares of pixels, rounded: uint8 (T, H, H, C) -> (T, size, size, C), size divides H."""
    time, side, _, channels = frames.shape
    step = side // size
    if step == 1:
        return frames
    squares = frames.reshape(time, size, step, size, step, channels)
    total = squares.sum(axis=(2, 4), dtype=np.uint32)
    return ((total + step * step // 2) // (step * step)).astype(np.uint8)


def _decode(
    paths: list[Path], split: str, shape: tuple[int, ...], path: Path, workers: int, progress: bool
) -> None:
    tasks = [(paths[i : i + _CHUNK], shape[1:]) for i in range(0, len(paths), _CHUNK)]
    title, done = f"decoding {split}", 0
    with replacing(path) as part:
        array = np.lib.format.open_memmap(part, mode="w+", dtype=np.uint8, shape=shape)
        with tqdm(total=len(paths), desc=title, unit="clip", disable=not progress) as bar:
            for clips in _map(tasks, workers):
                array[done : done + len(clips)] = clips
                done += len(clips)
                bar.update(len(clips))
        array.flush()
        del array  # closes the file: an open one cannot be renamed everywhere


def _map(tasks: list[tuple[list[Path], tuple[int, ...]]], workers: int) -> Iterator[Clips]:
    if workers <= 1 or len(tasks) <= 1:
        yield from map(_decode_chunk, tasks)
        return
    # Spawned: a video reader must not be inherited through a fork.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(tasks)), context, serve, (os.getpid(),)) as pool:
        try:
            yield from pool.map(_decode_chunk, tasks)
        finally:
            pool.shutdown(cancel_futures=True)


def _decode_chunk(task: tuple[list[Path], tuple[int, ...]]) -> Clips:
    paths, shape = task
    clips = np.empty((len(paths), *shape), np.uint8)
    for place, path in zip(clips, paths, strict=True):
        place[...] = downscale(read_clip(path, range(shape[0])), shape[1])
    return clips
