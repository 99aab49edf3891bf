"""The one place that decodes video files.

The truth is a sequential decode: the frames in the order in which they are shown, first to last. Where the
timeline proves that key frames cut the stream in two, PyAV goes straight to them and finds each frame by its
time. decord does so too where it has a wheel, and takes longer (``python -m svitt.commands.bench_decode``);
it is there for those who want it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import av.error
import numpy as np

from svitt.config import require
from svitt.data.video.container import missing_bytes
from svitt.data.video.readers import DecordError, DecordReader, Frames, PyAVReader, decord_available
from svitt.data.video.sampling import Indices, Sampling
from svitt.data.video.timeline import Timeline, find_timeline
from svitt.errors import VideoDecodeError

__all__ = ["Clip", "FrameIndexError", "VideoInfo", "decord_available", "probe", "read_clip", "sample_clip"]

Backend = Literal["auto", "decord", "pyav"]
_BACKENDS = get_args(Backend)
Reader = DecordReader | PyAVReader


class FrameIndexError(VideoDecodeError, IndexError):
    """A frame was asked for that the video does not have."""


@dataclass(frozen=True)
class VideoInfo:
    """num_frames that can be decoded; fps, the mean rate per second (0 where the file does not tell);
    height and width in pixels as shown (rotation metadata applied)."""

    num_frames: int
    fps: float
    height: int
    width: int


@dataclass(frozen=True)
class Clip:
    """frames: uint8 (T, H, W, C), C = RGB; indices: the number of each in the video, (T,) int64."""

    frames: Frames
    indices: Indices


def read_clip(
    path: str | Path,
    indices: Sequence[int] | Indices | Sampling,
    *,
    backend: Backend = "auto",
    generator: np.random.Generator | None = None,
) -> Frames:
    """The frames ``indices`` of a video, in the order given (repeats allowed).

    indices: frame numbers from 0, or a Sampling, which is applied to the video's true length.
    backend: "auto", which is "pyav", or "decord", which refuses files whose true frames it may miss. They
        give the same frames.
    generator: for a Sampling of mode "random".

    Returns uint8 (T, H, W, C), C = RGB. Errors: VideoDecodeError naming the file and the reason (missing,
    empty, truncated, not a video, no video stream); FrameIndexError, both a VideoDecodeError and an
    IndexError, for a frame that does not exist, negative numbers included; ConfigError for an unknown
    backend or an empty request.
    """
    return _read(Path(path), indices, backend, generator).frames


def sample_clip(
    path: str | Path,
    sampling: Sampling,
    *,
    backend: Backend = "auto",
    generator: np.random.Generator | None = None,
) -> Clip:
    """The frames that a Sampling takes of a video, and their numbers. Errors: as ``read_clip``.

    A file that only decoding can count is decoded once; asking ``probe`` for its length first takes twice.
    """
    return _read(Path(path), sampling, backend, generator)


def probe(path: str | Path, *, backend: Backend = "auto") -> VideoInfo:
    """Length, rate and shown size of a video. Errors: as ``read_clip``."""
    path = Path(path)
    timeline, reader = _open(path, backend)
    height, width = _frames(path, reader, [0]).shape[1:3]
    return VideoInfo(reader.num_frames, timeline.fps, height, width)


def _read(
    path: Path,
    indices: Sequence[int] | Indices | Sampling,
    backend: Backend,
    generator: np.random.Generator | None,
) -> Clip:
    timeline, reader = _open(path, backend)
    wanted = _choose(path, indices, reader.num_frames, timeline.fps, generator)
    numbers = wanted.tolist()
    unique = sorted(set(numbers))  # each frame once, first to last: no reader goes backwards
    if unique[0] < 0 or unique[-1] >= reader.num_frames:
        bad = [i for i in unique if not 0 <= i < reader.num_frames]
        raise FrameIndexError(
            f"{path}: no frame {', '.join(map(str, bad))}; it has frames 0 to {reader.num_frames - 1}"
        )
    frames = _frames(path, reader, unique)
    return Clip(frames if unique == numbers else frames[np.searchsorted(unique, numbers)], wanted)


def _open(path: Path, backend: Backend) -> tuple[Timeline, Reader]:
    """The timeline of a file and the reader that is sure to read it."""
    require(backend in _BACKENDS, "backend", backend, ", ".join(_BACKENDS))
    timeline = _check(path)
    if backend != "decord":
        return timeline, PyAVReader(path, timeline)
    try:
        return timeline, DecordReader(path, timeline)
    except DecordError as error:
        raise _refused(path, error) from error


def _frames(path: Path, reader: Reader, numbers: list[int]) -> Frames:
    try:
        return reader.read(numbers)
    except DecordError as error:
        raise _refused(path, error) from error


def _refused(path: Path, error: DecordError) -> VideoDecodeError:
    return VideoDecodeError(f"{path}: decord: {error}; try backend='auto'")


def _choose(
    path: Path,
    indices: Sequence[int] | Indices | Sampling,
    num_frames: int,
    fps: float,
    generator: np.random.Generator | None,
) -> Indices:
    """The frames that are asked for, (T,) int64."""
    if isinstance(indices, Sampling):
        if indices.rate is not None and fps <= 0:
            raise VideoDecodeError(f"{path}: frame rate unknown; sample by num_frames, not by rate")
        return indices.indices(num_frames, fps, generator)
    wanted = np.asarray(indices, dtype=np.int64)
    require(wanted.ndim == 1 and len(wanted) > 0, "indices", indices, "a sequence of one frame or more")
    return wanted


def _check(path: Path) -> Timeline:
    """The timeline of a file; raises for what no backend should read.

    Done once, by PyAV, so that the errors are the same for every backend.
    """
    if not path.exists():
        raise VideoDecodeError(f"{path}: no such file")
    if not path.is_file():
        raise VideoDecodeError(f"{path}: not a file; expected a video file")
    size = path.stat().st_size
    if size == 0:
        raise VideoDecodeError(f"{path}: the file is empty; copy, download or make it again")
    missing = missing_bytes(path)
    if missing:
        raise VideoDecodeError(
            f"{path}: truncated: {size} bytes, {missing} fewer than its container announces; "
            "copy, download or make it again"
        )
    try:
        timeline = find_timeline(path)
    except av.error.FFmpegError as error:
        raise VideoDecodeError(f"{path}: not a readable video: {error.strerror}") from error
    if timeline is None:
        raise VideoDecodeError(f"{path}: no video stream in this file (audio only?)")
    return timeline
