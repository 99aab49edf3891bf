"""Clips of chunked videos: the right frames, also across the border of two files. Frames carry numbers."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from svitt.data.video.chunks import EGOVLP, LAVILA, ChunkedVideos, ChunkLayout, clip_frames
from svitt.data.video.sampling import Sampling
from svitt.data.worlds.files import encode_mp4
from svitt.errors import ConfigError, VideoDecodeError
from tests.data.video.encodings import numbered_frame, numbers

FPS, SECONDS = 10, 5  # 50 frames a chunk
LAYOUTS = (ChunkLayout(SECONDS, "number"), ChunkLayout(SECONDS, "second"))


def write(root: Path, layout: ChunkLayout, frames: int, fps: int = FPS, size: int = 64) -> ChunkedVideos:
    """A video "u" in chunks, its frames numbered through."""
    step = layout.seconds * fps
    for chunk, first in enumerate(range(0, frames, step)):
        path = root / layout.name("u", chunk)
        path.parent.mkdir(parents=True, exist_ok=True)
        shown = [numbered_frame(n, size, size) for n in range(first, min(first + step, frames))]
        path.write_bytes(encode_mp4(np.stack(shown), fps))
    return ChunkedVideos(root, layout)


def read(videos: ChunkedVideos, start: float, end: float, frames: int = 4, **more: float) -> list[int]:
    return numbers(videos.read("u", start, end, Sampling(frames), **more))  # type: ignore[arg-type]


def test_names_of_the_releases() -> None:
    assert EGOVLP.name("u", int(1234.5 // 600)) == "u/2.mp4"
    assert LAVILA.name("u", int(1234.5 // 300)) == "u.mp4/1200.mp4"


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.naming)
def test_frames_are_those_of_the_whole_video(tmp_path: Path, layout: ChunkLayout) -> None:
    videos = write(tmp_path, layout, 120)
    # The middles of 4 parts of 20 frames: 2, 7, 12, 17 after the first.
    assert read(videos, 1.0, 3.0) == [12, 17, 22, 27]
    assert read(videos, 4.0, 6.0) == [42, 47, 52, 57]  # across the first border
    assert read(videos, 4.9, 5.1, 2) == [49, 50]
    assert read(videos, 4.5, 10.5, 6) == [49, 59, 69, 79, 89, 99]  # over a whole chunk
    assert read(videos, 0.0, 12.0, 120) == list(range(120))
    assert read(videos, 5.0, 6.0, 10) == list(range(50, 60))
    assert read(videos, 7.0, 7.0, 2) == [70, 70]  # an empty interval is one frame
    assert read(videos, 4.0, 6.0, 1) == [49]


def test_every_clip_agrees_with_the_slow_way(tmp_path: Path) -> None:
    """Against decoding all chunks and choosing from all frames."""
    videos = write(tmp_path, LAYOUTS[0], 120)
    whole = videos.read("u", 0, 12, Sampling(120))
    draw = np.random.default_rng(0)
    for _ in range(40):
        start, end = np.sort(draw.uniform(0, 12, 2))
        first, total = clip_frames(start, end, FPS)
        if first + total > 120:
            continue
        wanted = first + Sampling(4).indices(total, FPS)
        assert np.array_equal(videos.read("u", start, end, Sampling(4)), whole[wanted])


def test_a_rate_that_is_no_whole_number(tmp_path: Path) -> None:
    """29.97 frames per second, chunks of 2 s: they begin with frames 0, 60 (at 2.002 s), 120."""
    fps = Fraction(30000, 1001)
    for chunk, (first, last) in enumerate(((0, 60), (60, 120), (120, 150))):
        path = tmp_path / "u" / f"{chunk}.mp4"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(encode_mp4(np.stack([numbered_frame(n) for n in range(first, last)]), fps))  # type: ignore[arg-type]
    videos = ChunkedVideos(tmp_path, ChunkLayout(2))
    assert numbers(videos.read("u", 1.9, 2.1, Sampling(6))) == [57, 58, 59, 60, 61, 62]
    assert numbers(videos.read("u", 0, 5, Sampling(150))) == list(range(150))


def test_random_frames_and_frames_at_a_rate(tmp_path: Path) -> None:
    videos = write(tmp_path, LAYOUTS[0], 120)
    drawn = [
        numbers(videos.read("u", 4, 6, Sampling(4, "random"), np.random.default_rng(seed)))
        for seed in range(9)
    ]
    assert drawn[0] == numbers(videos.read("u", 4, 6, Sampling(4, "random"), np.random.default_rng(0)))
    assert len({tuple(d) for d in drawn}) > 1
    assert all(40 + 5 * k <= n < 45 + 5 * k for d in drawn for k, n in enumerate(d))
    assert numbers(videos.read("u", 4, 6, Sampling(None, rate=2))) == [42, 48, 52, 58]


def test_the_end_of_a_video(tmp_path: Path) -> None:
    videos = write(tmp_path, LAYOUTS[0], 100)  # two whole chunks
    assert read(videos, 9.5, 10.4, 9, duration=10.0) == [95, 96, 97, 98, 99, 99, 99, 99, 99]
    with pytest.raises(VideoDecodeError, match=r"clip of u from 9.5 to 10.4 s: chunk .*2.mp4 is missing"):
        read(videos, 9.5, 10.4, 9)
    short = write(tmp_path / "short", LAYOUTS[0], 97)  # the second lacks three frames
    assert read(short, 9.5, 10.0, 5) == [95, 96, 96, 96, 96]
    strict = ChunkedVideos(tmp_path / "short", LAYOUTS[0], tolerance=0.1)
    with pytest.raises(VideoDecodeError, match=r"1.mp4 ends 0.3 s before it \(it has 47 frames\)"):
        read(strict, 9.5, 10.0, 5)


def test_a_missing_chunk(tmp_path: Path) -> None:
    videos = write(tmp_path, LAYOUTS[0], 150)
    videos.path("u", 1).unlink()
    assert read(videos, 1.0, 3.0) == [12, 17, 22, 27]
    for start, end in ((4.0, 6.0), (6.0, 7.0), (9.0, 11.0)):
        with pytest.raises(VideoDecodeError, match=rf"from {start:g} to {end:g} s: chunk .*1.mp4 is missing"):
            read(videos, start, end)
    with pytest.raises(VideoDecodeError, match=r"v.0.mp4 is missing; .*5 s a chunk, named by number"):
        videos.read("v", 0, 1, Sampling(2))


def test_a_damaged_chunk_and_chunks_that_do_not_fit(tmp_path: Path) -> None:
    videos = write(tmp_path, LAYOUTS[0], 100)
    path = videos.path("u", 1)
    sound = path.read_bytes()
    path.write_bytes(sound[:-300])
    with pytest.raises(VideoDecodeError, match=r"1.mp4: truncated"):
        read(ChunkedVideos(tmp_path, LAYOUTS[0]), 4.0, 6.0)
    slow = np.stack([numbered_frame(n) for n in range(25)])
    path.write_bytes(encode_mp4(slow, 5))
    with pytest.raises(VideoDecodeError, match=r"1\.mp4 has 5 frames per second, another chunk 10"):
        read(ChunkedVideos(tmp_path, LAYOUTS[0]), 4.0, 6.0)
    path.write_bytes(encode_mp4(np.stack([numbered_frame(n, 32, 32) for n in range(50)]), FPS))
    with pytest.raises(VideoDecodeError, match="different sizes"):
        read(ChunkedVideos(tmp_path, LAYOUTS[0]), 4.0, 6.0)


def test_wrong_calls(tmp_path: Path) -> None:
    videos = write(tmp_path, LAYOUTS[0], 50)
    for start, end in ((2.0, 1.0), (-1.0, 1.0)):
        with pytest.raises(ConfigError, match="clip = "):
            read(videos, start, end)
    with pytest.raises(ConfigError, match="naming = 'name'"):
        ChunkLayout(5, "name")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="seconds = 0"):
        ChunkLayout(0)
