"""The cache of decoded clips."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from svitt.data.datasets import downscale, open_cache
from svitt.data.video.decode import read_clip
from svitt.data.worlds.shapes.world import World, load_world
from svitt.errors import AnnotationError, ConfigError, VideoDecodeError


def test_cache_holds_every_clip_scaled_down(made: World, tmp_path: Path) -> None:
    cache = open_cache(made, "test", 32, folder=tmp_path, workers=1, progress=False)
    assert cache.frames.shape == (3, 16, 32, 32, 3)
    for index in range(len(cache)):
        frames = read_clip(cache.record(index).path, range(16))
        means = frames.reshape(16, 32, 2, 32, 2, 3).mean(axis=(2, 4))
        assert np.abs(cache.frames[index] - means).max() <= 0.5
    before = cache.path.stat().st_mtime_ns
    assert open_cache(made, "test", 32, folder=tmp_path).path.stat().st_mtime_ns == before
    assert cache.path.name.startswith(f"test-32px-{made.digest[:16]}")
    with pytest.raises(ValueError, match="read-only"):
        cache.frames[0, 0, 0, 0, 0] = 0
    with pytest.raises(ConfigError, match="size = 30"):
        open_cache(made, "test", 30, folder=tmp_path)
    cache.path.write_bytes(cache.path.read_bytes()[:-9])
    with pytest.raises(AnnotationError, match="delete it: it is made anew"):
        open_cache(made, "test", 32, folder=tmp_path)


def test_cache_in_parallel_equals_cache_in_one_process(
    made: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = open_cache(made, "train", 16, folder=tmp_path / "one", workers=1, progress=False)
    monkeypatch.setattr("svitt.data.datasets._CHUNK", 4)
    two = open_cache(made, "train", 16, folder=tmp_path / "two", workers=2, progress=False)
    assert np.array_equal(one.frames, two.frames)


def test_a_clip_that_cannot_be_decoded_leaves_no_cache(folder: Path, tmp_path: Path) -> None:
    world = load_world(folder)
    path = world.split("test")[1].path
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(VideoDecodeError, match=r"test/00001.mp4: truncated"):
        open_cache(world, "test", folder=tmp_path, workers=1, progress=False)
    assert not list(tmp_path.glob("*.npy")) and not list(tmp_path.glob("*.part"))


def test_what_a_killed_process_left_is_removed(made: World, tmp_path: Path) -> None:
    path = open_cache(made, "test", 16, folder=tmp_path / "first", progress=False).path
    left = tmp_path / f".{path.name}.12-34.part"
    left.write_bytes(b"half")
    assert open_cache(made, "test", 16, folder=tmp_path, progress=False).path == tmp_path / path.name
    assert not left.exists()


def test_downscale_rounds_means() -> None:
    frames = np.array([0, 1, 1, 0, 3, 4, 4, 4], np.uint8).reshape(2, 2, 2, 1)
    assert downscale(frames, 1).ravel().tolist() == [1, 4]  # .5 up; 3.75
    assert downscale(frames, 2) is frames
