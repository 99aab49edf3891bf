"""decord and PyAV behind one small interface: num_frames, read(ascending numbers)."""

from __future__ import annotations

import bisect
import contextlib
import functools
import importlib.util
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from types import ModuleType

import av
import av.error
import numpy as np
import numpy.typing as npt
from av.video.reformatter import VideoReformatter

from svitt.data.video.timeline import Timeline
from svitt.errors import VideoDecodeError

Frames = npt.NDArray[np.uint8]

# A share of the frames, as decord wants it; 0 and below mean "any number".
_NO_FAULT = 1e-9
# What is kept of a video that has to be decoded to be counted.
_KEPT_BYTES = 1 << 28


class DecordError(Exception):
    """decord cannot give the true frames of a file; PyAV may."""


@functools.cache
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
    """A video opened by decord, on one thread, of which ``timeline`` shows that decord gives its true frames.

    Make it in the process that uses it: a reader inherited by a forked process hangs. Errors: DecordError.
    """

    def __init__(self, path: Path, timeline: Timeline) -> None:
        if timeline.doubt is not None or timeline.num_frames is None:
            raise DecordError(f"not proven to give the true frames: {timeline.doubt}")
        decord = _decord()
        self._errors = (RuntimeError, decord.DECORDError, decord.DECORDLimitReachedError)
        self.num_frames = timeline.num_frames
        try:
            # Any fault is an error: by default decord repeats a frame in the place of one that is lost.
            self._reader = decord.VideoReader(str(path), num_threads=1, fault_tol=_NO_FAULT)
            packets, keys = len(self._reader), tuple(self._reader.get_key_indices())
        except self._errors as error:
            raise DecordError(_first_line(error)) from error
        # decord brings a libavformat of its own: what was proven holds if both find the same packets.
        if packets != self.num_frames or keys != timeline.keys:
            raise DecordError(f"finds {packets} frames, {len(keys)} of them key frames, unlike PyAV")

    def read(self, numbers: Sequence[int]) -> Frames:
        """T numbers, ascending -> uint8 (T, H, W, 3)."""
        try:
            # Not set_bridge, which is thread-local state.
            frames: Frames = self._reader.get_batch(numbers).asnumpy()
        except self._errors as error:
            raise DecordError(_first_line(error)) from error
        if frames.shape[1] % 2 or frames.shape[2] % 2:
            raise DecordError("odd size, at which its colours are not PyAV's")
        return frames


class PyAVReader:
    """A video read by PyAV: from its start, or from its key frames where ``timeline`` proves that this gives
    the same frames.

    Where only decoding tells how many frames there are, they are decoded at once and kept for ``read``, up to
    _KEPT_BYTES; a longer video is decoded a second time. Errors: VideoDecodeError.
    """

    def __init__(self, path: Path, timeline: Timeline) -> None:
        self._path = path
        self._timeline = timeline
        self._kept: list[av.VideoFrame] = []
        self._colours = VideoReformatter()  # one for all: ``frame.to_ndarray`` makes one a frame
        self.num_frames = self._count() if timeline.num_frames is None else timeline.num_frames
        if self.num_frames == 0:
            raise VideoDecodeError(f"{path}: the video stream holds no frame")

    def read(self, numbers: Sequence[int]) -> Frames:
        """T numbers, ascending -> uint8 (T, H, W, 3), turned as the rotation metadata says."""
        if self._timeline.doubt is None and self._timeline.num_frames is not None:
            found = self._read_from_keys(numbers)
            if found is not None:
                return found
        return self._read_from_start(numbers)

    def _read_from_keys(self, numbers: Sequence[int]) -> Frames | None:
        """None where a frame does not come at its time: the file is damaged, or libavformat went astray."""
        times, keys = self._timeline.times, self._timeline.keys
        batch = _Batch(self._path, numbers)
        try:
            with _opened(self._path) as (container, stream):
                frames, coming = container.decode(stream), 0
                for number in numbers:
                    key = keys[bisect.bisect(keys, number) - 1]
                    if key > coming:
                        container.seek(times[key], stream=stream)
                        frames = container.decode(stream)
                    frame = next((f for f in frames if f.pts is None or f.pts >= times[number]), None)
                    if frame is None or frame.pts != times[number]:
                        return None
                    batch.add(self._picture(frame))
                    coming = number + 1
        except av.error.FFmpegError:
            return None
        return batch.pictures

    def _read_from_start(self, numbers: Sequence[int]) -> Frames:
        batch = _Batch(self._path, numbers)
        strangers: list[int] = []
        decoded, start = 0, None
        with contextlib.closing(self._decode()) as frames:
            for decoded, frame in enumerate(self._kept or frames, start=1):
                start = frame.pts if decoded == 1 else start
                if decoded - 1 != batch.wanted:
                    continue
                if self._is_stranger(frame, batch.wanted, start):
                    strangers.append(batch.wanted)
                try:
                    batch.add(self._picture(frame))
                except av.error.FFmpegError as error:
                    raise self._error(error) from error
                if batch.is_full:
                    break
        if batch.pictures is None or not batch.is_full:
            raise VideoDecodeError(
                f"{self._path}: frame {batch.wanted} cannot be decoded: {decoded} of {self.num_frames} "
                "frames came out; the file is damaged"
            )
        if strangers:
            raise VideoDecodeError(
                f"{self._path}: frame {strangers[0]} cannot be decoded: one of another time comes in its "
                "place; the file is damaged"
            )
        return batch.pictures

    def _is_stranger(self, frame: av.VideoFrame, number: int, start: int | None) -> bool:
        """Whether a frame has another time, counted from the first, than the timeline proves it to have."""
        times = self._timeline.times
        if not times:
            return False
        return frame.pts is None or start is None or frame.pts - start != times[number] - times[0]

    def _count(self) -> int:
        """Decodes all frames, and keeps them if they are few."""
        count = size = 0
        for frame in self._decode():
            count += 1
            size += sum(plane.buffer_size for plane in frame.planes)
            if size <= _KEPT_BYTES:
                self._kept.append(frame)
            else:
                self._kept.clear()
        return count

    def _decode(self) -> Generator[av.VideoFrame]:
        try:
            with _opened(self._path) as (container, stream):
                yield from container.decode(stream)
        except av.error.FFmpegError as error:
            raise self._error(error) from error

    def _picture(self, frame: av.VideoFrame) -> Frames:
        picture = self._colours.reformat(frame, format="rgb24").to_ndarray().astype(np.uint8, copy=False)
        turns = round(frame.rotation / 90)
        return np.rot90(picture, turns) if turns else picture

    def _error(self, error: av.error.FFmpegError) -> VideoDecodeError:
        return VideoDecodeError(f"{self._path}: PyAV cannot decode it: {error.strerror}")


class _Batch:
    """The pictures of some frames, one after the other in one array."""

    def __init__(self, path: Path, numbers: Sequence[int]) -> None:
        self.pictures: Frames | None = None
        self._path, self._numbers, self._done = path, numbers, 0

    @property
    def wanted(self) -> int:
        """The frame that comes next."""
        return self._numbers[self._done]

    @property
    def is_full(self) -> bool:
        """Whether all are there."""
        return self._done == len(self._numbers)

    def add(self, picture: Frames) -> None:
        """Errors: VideoDecodeError for a picture of another size."""
        if self.pictures is None:
            self.pictures = np.empty((len(self._numbers), *picture.shape), np.uint8)
        if picture.shape != self.pictures.shape[1:]:
            raise VideoDecodeError(f"{self._path}: the size changes by frame {self.wanted}; cut it there")
        self.pictures[self._done] = picture
        self._done += 1


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    """A file and its best video stream, decoded on one thread."""
    with av.open(str(path), metadata_errors="replace") as container:
        stream = container.streams.best("video")
        stream.codec_context.thread_count = 1
        yield container, stream


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
