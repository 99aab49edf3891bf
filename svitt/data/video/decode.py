"""The one place that decodes video files.

The truth is a sequential decode: the frames in the order in which they are shown, first to last. decord gives
them by random access, faster, and is tried first where the timeline proves that it gives the same ones; all
other files go to PyAV, and all files where decord has no wheel. A clip does not depend on the machine.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar, get_args

import av.error
import numpy as np
import numpy.typing as npt

from svitt.config import require
from svitt.data.video.container import missing_bytes
from svitt.data.video.readers import DecordError, DecordReader, Frames, PyAVReader, decord_available
from svitt.data.video.sampling import Indices, Sampling
from svitt.data.video.timeline import Timeline, find_timeline
from svitt.errors import VideoDecodeError

__all__ = ["FrameIndexError", "VideoInfo", "decord_available", "probe", "read_clip"]

Backend = Literal["auto", "decord", "pyav"]
Reader = DecordReader | PyAVReader
R = TypeVar("R")


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


def read_clip(
    path: str | Path,
    indices: Sequence[int] | npt.NDArray[np.int64] | Sampling,
    *,
    backend: Backend = "auto",
    generator: np.random.Generator | None = None,
) -> Frames:
    """The frames ``indices`` of a video, in the order given (repeats allowed).

    indices: frame numbers from 0, or a Sampling, which is applied to the video's true length.
    backend: "auto", or "decord" or "pyav" alone; decord refuses files whose true frames it may miss.
    generator: for a Sampling of mode "random".

    Returns uint8 (T, H, W, C), C = RGB. Errors: VideoDecodeError naming the file and the reason (missing,
    empty, truncated, not a video, no video stream); FrameIndexError, both a VideoDecodeError and an
    IndexError, for a frame that does not exist, negative numbers included; ConfigError for an unknown
    backend or an empty request.
    """
    path = Path(path)

    @functools.cache  # drawn once, also where PyAV reads what decord could not
    def chosen(num_frames: int, fps: float) -> Indices:
        if not isinstance(indices, Sampling):
            return np.asarray(indices, dtype=np.int64)
        if indices.rate is not None and fps <= 0:
            raise VideoDecodeError(f"{path}: frame rate unknown; sample by num_frames, not by rate")
        return indices.indices(num_frames, fps, generator)

    def read(reader: Reader, fps: float) -> Frames:
        wanted = chosen(reader.num_frames, fps)
        require(wanted.ndim == 1 and len(wanted) > 0, "indices", indices, "a sequence of one frame or more")
        bad = sorted({int(i) for i in wanted if not 0 <= i < reader.num_frames})
        if bad:
            raise FrameIndexError(
                f"{path}: no frame {', '.join(map(str, bad))}; it has frames 0 to {reader.num_frames - 1}"
            )
        # Ascending, each frame once: decord goes back to a key frame for every step backwards.
        unique, place = np.unique(wanted, return_inverse=True)
        frames = reader.read(unique)
        return frames if np.array_equal(unique, wanted) else frames[place]

    return _with_reader(path, backend, read)


def probe(path: str | Path, *, backend: Backend = "auto") -> VideoInfo:
    """Length, rate and shown size of a video. Errors: as ``read_clip``."""

    def look(reader: Reader, fps: float) -> VideoInfo:
        height, width = reader.read(np.zeros(1, dtype=np.int64)).shape[1:3]
        return VideoInfo(reader.num_frames, fps, height, width)

    return _with_reader(Path(path), backend, look)


def _with_reader(path: Path, backend: Backend, use: Callable[[Reader, float], R]) -> R:
    """``use`` of the reader that suits the file, and its rate; PyAV after decord only where decord failed."""
    require(backend in get_args(Backend), "backend", backend, ", ".join(get_args(Backend)))
    timeline = _check(path)
    if backend == "decord" or (backend == "auto" and timeline.doubt is None and decord_available()):
        try:
            return use(DecordReader(path, timeline), timeline.fps)
        except DecordError as error:
            if backend == "decord":
                raise VideoDecodeError(f"{path}: decord: {error}; try backend='auto'") from error
    return use(PyAVReader(path, timeline), timeline.fps)


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
