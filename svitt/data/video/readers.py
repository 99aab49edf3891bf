"""decord and PyAV behind one small interface: num_frames, fps, read(ascending indices)."""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path
from types import ModuleType

import av
import av.error
import numpy as np
import numpy.typing as npt

from svitt.data.video.sampling import Indices
from svitt.errors import VideoDecodeError

Frames = npt.NDArray[np.uint8]


class DecordError(Exception):
    """decord cannot give the true frames of a file; PyAV may."""


def decord_available() -> bool:
    """Whether decord is installed (it has no wheels for macOS arm64 and Linux aarch64)."""
    return importlib.util.find_spec("decord") is not None


@functools.cache
def _decord() -> ModuleType:
    try:
        import decord
    except ImportError as error:
        raise DecordError("not installed") from error
    # decord carries an ffmpeg of its own, which writes warnings straight to stderr.
    decord.logging.set_level(decord.logging.QUIET)
    return decord


class DecordReader:
    """A video opened by decord, on one thread. Make it in the process that uses it: a reader inherited
    by a forked process hangs. Errors: DecordError."""

    def __init__(self, path: Path) -> None:
        decord = _decord()
        self._errors = (RuntimeError, decord.DECORDError)
        try:
            self._reader = decord.VideoReader(str(path), num_threads=1)
            self.num_frames = len(self._reader)
            self.fps = float(self._reader.get_avg_fps())
            if self.num_frames == 0:
                raise DecordError("no frames")
            starts = self._reader.get_frame_timestamp(np.arange(self.num_frames))[:, 0]
        except self._errors as error:
            raise DecordError(_first_line(error)) from error
        # decord counts packets. Two of one time are a hidden reference frame and a shown one (VP8): the
        # length is too large then, and seeking goes astray.
        if len(np.unique(starts)) < self.num_frames:
            raise DecordError(f"counts {self.num_frames} frames, some of which are never shown")

    def read(self, indices: Indices) -> Frames:
        """(T,) ascending -> uint8 (T, H, W, 3)."""
        try:
            # Not set_bridge, which is thread-local state.
            return self._reader.get_batch(indices.tolist()).asnumpy()
        except self._errors as error:
            raise DecordError(_first_line(error)) from error


class PyAVReader:
    """A video read by PyAV: always decoded from its start, so that the count of frames is true.

    Errors: VideoDecodeError.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            with av.open(str(path)) as container:
                stream = container.streams.best("video")
                self.fps = float(stream.average_rate or stream.guessed_rate or 0)
                packets = [p for p in container.demux(stream) if p.size > 0 and not p.is_discard]
                times = {p.pts for p in packets}
            if None in times or len(times) < len(packets):
                # No times, or hidden frames: only decoding tells how many frames there are.
                with av.open(str(path)) as container:
                    self.num_frames = sum(1 for _ in container.decode(container.streams.best("video")))
            else:
                self.num_frames = len(packets)
        except av.error.FFmpegError as error:
            raise self._error(error) from error
        if self.num_frames == 0:
            raise VideoDecodeError(f"{path}: the video stream holds no frame")

    def read(self, indices: Indices) -> Frames:
        """(T,) ascending -> uint8 (T, H, W, 3), turned as the rotation metadata says."""
        frames: list[Frames] = []
        wanted = iter(indices.tolist())
        index = next(wanted)
        decoded = 0
        try:
            with av.open(str(self._path)) as container:
                stream = container.streams.best("video")
                stream.codec_context.thread_count = 1
                for decoded, frame in enumerate(container.decode(stream), start=1):
                    if decoded - 1 != index:
                        continue
                    pixels = frame.to_ndarray(format="rgb24")
                    frames.append(np.rot90(pixels, round(frame.rotation / 90)))
                    index = next(wanted, -1)
                    if index < 0:
                        return np.stack(frames)
        except av.error.FFmpegError as error:
            raise self._error(error) from error
        raise VideoDecodeError(
            f"{self._path}: frame {index} cannot be decoded: {decoded} of {self.num_frames} frames came out; "
            "the file is damaged"
        )

    def _error(self, error: av.error.FFmpegError) -> VideoDecodeError:
        return VideoDecodeError(f"{self._path}: PyAV cannot decode it: {error.strerror}")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
