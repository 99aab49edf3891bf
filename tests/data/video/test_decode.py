"""Decoding: the same frames from both backends, and a clear error for whatever cannot be read."""

from __future__ import annotations

import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from svitt.data.video import readers
from svitt.data.video.container import missing_bytes
from svitt.data.video.decode import FrameIndexError, VideoInfo, decord_available, probe, read_clip
from svitt.data.video.readers import DecordError, DecordReader
from svitt.data.video.sampling import Sampling
from svitt.errors import ConfigError, VideoDecodeError

BACKENDS = ["auto", "pyav", *(["decord"] if decord_available() else [])]
# A grey level for each frame, far enough apart to survive the codec.
LEVELS = [int(level) for level in np.linspace(20, 235, 20)]


def write_video(
    path: Path,
    codec: str = "libx264",
    size: tuple[int, int] = (64, 48),
    pixel_format: str = "yuv420p",
    options: dict[str, str] | None = None,
    audio: bool = False,
    video: bool = True,
) -> Path:
    """A video whose frame k is a gradient around grey LEVELS[k], bright at the left and top."""
    width, height = size
    slope = np.linspace(15, -15, width)[None, :] + np.linspace(4, -4, height)[:, None]
    with av.open(str(path), "w") as container:
        if video:
            stream = container.add_stream(codec, rate=10, options=options or {})
            stream.width, stream.height, stream.pix_fmt = width, height, pixel_format
        if audio:
            sound = container.add_stream("aac", rate=8000)
        for level in LEVELS if video else []:
            pixels = np.repeat((level + slope).clip(0, 255)[..., None], 3, axis=2).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        if video:
            container.mux(stream.encode())
        if audio:
            for k in range(8):
                frame = av.AudioFrame.from_ndarray(
                    np.zeros((1, 1024), np.float32), format="fltp", layout="mono"
                )
                frame.sample_rate, frame.pts, frame.time_base = 8000, 1024 * k, Fraction(1, 8000)
                container.mux(sound.encode(frame))
            container.mux(sound.encode())
    return path


def levels(frames: np.ndarray) -> list[int]:
    """Which of LEVELS each frame shows."""
    means = frames.reshape(len(frames), -1).mean(axis=1)
    return [int(np.abs(np.array(LEVELS) - mean).argmin()) for mean in means]


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """H.264 with B frames and a key frame every 7, so that order and seeking are put to the test."""
    return write_video(tmp_path_factory.mktemp("video") / "clip.mp4", options={"g": "7", "bf": "3"})


@pytest.mark.parametrize("backend", BACKENDS)
class TestEveryBackend:
    def test_the_frames_asked_for_in_the_order_asked_for(self, video: Path, backend) -> None:  # type: ignore[no-untyped-def]
        wanted = [13, 2, 2, 19, 0, 7]
        frames = read_clip(video, wanted, backend=backend)
        assert frames.shape == (6, 48, 64, 3)
        assert frames.dtype == np.uint8
        assert levels(frames) == wanted

    def test_sampling_uses_the_true_length(self, video: Path, backend) -> None:  # type: ignore[no-untyped-def]
        assert levels(read_clip(video, Sampling(4), backend=backend)) == [2, 7, 12, 17]
        assert levels(read_clip(video, Sampling(None, rate=2), backend=backend)) == [2, 8, 12, 18]

    def test_probe(self, video: Path, backend) -> None:  # type: ignore[no-untyped-def]
        assert probe(video, backend=backend) == VideoInfo(20, 10.0, 48, 64)

    @pytest.mark.parametrize("index", [-1, 20, 1000])
    def test_a_frame_that_does_not_exist(self, video: Path, backend, index: int) -> None:  # type: ignore[no-untyped-def]
        with pytest.raises(FrameIndexError, match=rf"clip.mp4: no frame {index}; it has frames 0 to 19"):
            read_clip(video, [0, index], backend=backend)

    def test_truncated(self, video: Path, backend, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
        cut = tmp_path / "cut.mp4"
        cut.write_bytes(video.read_bytes()[:-100])
        with pytest.raises(VideoDecodeError, match=r"cut.mp4: truncated: .* 100 fewer"):
            read_clip(cut, [0], backend=backend)

    def test_files_that_are_no_video(self, backend, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
        (tmp_path / "empty.mp4").touch()
        (tmp_path / "text.mp4").write_text("a red ring on sand\n" * 50)
        (tmp_path / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(5000))
        write_video(tmp_path / "sound.mp4", video=False, audio=True)
        for name, reason in {
            "missing.mp4": "no such file",
            "empty.mp4": "empty",
            "text.mp4": "not a readable video",
            "noise.mp4": "not a readable video",
            "sound.mp4": "no video stream",
        }.items():
            with pytest.raises(VideoDecodeError, match=rf"{name}: .*{reason}"):
                read_clip(tmp_path / name, [0], backend=backend)
        with pytest.raises(VideoDecodeError, match="not a file"):
            read_clip(tmp_path, [0], backend=backend)


def test_both_backends_give_the_same_pixels(video: Path, tmp_path: Path) -> None:
    if not decord_available():
        pytest.skip("decord has no wheel for this machine")
    files = [video, write_video(tmp_path / "sound.mp4", audio=True)]
    files.append(write_video(tmp_path / "vp9.webm", "libvpx-vp9"))
    for path in files:
        a, b = (read_clip(path, range(20), backend=name) for name in ("decord", "pyav"))  # type: ignore[arg-type]
        assert np.array_equal(a, b), path.name


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("odd.avi", {"codec": "mpeg4", "size": (61, 47)}),
        ("tenbit.mkv", {"codec": "libx264", "pixel_format": "yuv420p10le"}),
        ("full_chroma.mkv", {"codec": "libx264", "pixel_format": "yuv444p"}),
    ],
)
def test_frames_that_decord_would_give_other_pixels_for(tmp_path: Path, name: str, arguments) -> None:  # type: ignore[no-untyped-def]
    path = write_video(tmp_path / name, **arguments)
    frames = read_clip(path, range(20))
    assert levels(frames) == list(range(20))
    assert np.array_equal(frames, read_clip(path, range(20), backend="pyav"))


def test_a_fault_of_decord_is_named(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: DecordReader, *_: object) -> None:
        raise DecordError("made to fail")

    for method in ("read", "__init__"):
        monkeypatch.setattr(DecordReader, method, fail)
        with pytest.raises(VideoDecodeError, match=r"clip.mp4: decord: made to fail; try backend='auto'"):
            read_clip(video, [3, 4], backend="decord")
    assert levels(read_clip(video, [3, 4])) == [3, 4]


def test_reading_without_decord_installed(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "decord", None)
    readers._decord.cache_clear()
    assert levels(read_clip(video, [5])) == [5]
    with pytest.raises(VideoDecodeError, match=r"clip.mp4: decord: not installed; try backend='auto'"):
        read_clip(video, [5], backend="decord")


def test_truncated_matroska_and_avi(tmp_path: Path) -> None:
    for name, codec in (("clip.webm", "libvpx-vp9"), ("clip.mkv", "libx264"), ("clip.avi", "mpeg4")):
        path = write_video(tmp_path / name, codec)
        assert missing_bytes(path) == 0
        assert levels(read_clip(path, range(20))) == list(range(20))
        path.write_bytes(path.read_bytes()[:-60])
        assert missing_bytes(path) == 60
        with pytest.raises(VideoDecodeError, match=rf"{name}: truncated"):
            probe(path)


def test_what_is_asked_for_is_checked(video: Path) -> None:
    with pytest.raises(ConfigError, match="backend = 'opencv'"):
        read_clip(video, [0], backend="opencv")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="indices"):
        read_clip(video, [])
