"""Transforms: alike for all frames of a clip, faithful to the caption, the same from the same generator."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from svitt.data.transforms import (
    augment,
    evaluation_transform,
    flip_clips,
    normalise,
    sample_frames,
    shift_clips,
    train_transform,
)
from svitt.errors import ConfigError


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def random_clips(batch: int = 6, frames: int = 16, side: int = 12) -> np.ndarray:
    return rng(9).integers(0, 256, (batch, frames, side, side, 3), dtype=np.uint8)


def test_sample_frames_middle_and_jittered() -> None:
    clips = np.arange(16, dtype=np.uint8)[None, :, None, None, None] + np.zeros((200, 1, 1, 1, 3), np.uint8)
    assert sample_frames(clips, 4)[0, :, 0, 0, 0].tolist() == [1, 5, 9, 13]
    drawn = sample_frames(clips, 4, rng())[..., 0, 0, 0]
    assert drawn.shape == (200, 4)
    assert [sorted(set(c.tolist())) for c in drawn.T] == [list(range(k, k + 4)) for k in (0, 4, 8, 12)]


def test_shift_moves_all_frames_alike_and_repeats_the_border() -> None:
    clips = random_clips()
    shifted = shift_clips(clips, 3, rng())
    offsets = []
    for before, after in zip(clips, shifted, strict=True):
        found = [
            (down, right)
            for down in range(-3, 4)
            for right in range(-3, 4)
            if np.array_equal(
                after,
                np.pad(before, ((0, 0), (3, 3), (3, 3), (0, 0)), mode="edge")[
                    :, 3 - down : 15 - down, 3 - right : 15 - right
                ],
            )
        ]
        assert len(found) == 1
        offsets += found
    assert len(set(offsets)) > 3
    assert np.array_equal(shift_clips(clips, 0, rng()), clips)
    ends = {int(v) for v in np.abs(_first_offsets(4000)).ravel()}
    assert ends == {0, 1, 2}


def shift_by_gathering(clips: np.ndarray, max_shift: int, generator: np.random.Generator) -> np.ndarray:
    """The same by one gather over rows and one over columns: the slow reference."""
    batch, _, height, width, _ = clips.shape
    down, right = generator.integers(-max_shift, max_shift, (2, batch, 1), endpoint=True)
    rows = (np.arange(height) - down).clip(0, height - 1)
    columns = (np.arange(width) - right).clip(0, width - 1)
    shifted = np.take_along_axis(clips, rows[:, None, :, None, None], axis=2)
    return np.take_along_axis(shifted, columns[:, None, None, :, None], axis=3)


@pytest.mark.parametrize("shift", [0, 1, 4])
def test_shift_is_the_slow_reference(shift: int) -> None:
    clips = rng(0).integers(0, 255, (6, 3, 10, 12, 3), dtype=np.uint8)
    expected = shift_by_gathering(clips, shift, rng(shift))
    assert np.array_equal(shift_clips(clips, shift, rng(shift)), expected)


def _first_offsets(batch: int) -> np.ndarray:
    """Shift of every clip of a batch by up to 2, read off a clip whose pixels tell their place."""
    side = 7
    places = np.arange(side, dtype=np.uint8)
    clip = np.stack(np.broadcast_arrays(places[:, None], places[None, :], 0), axis=-1).astype(np.uint8)
    shifted = shift_clips(np.repeat(clip[None, None], batch, axis=0), 2, rng(1))
    return 3 - shifted[:, 0, 3, 3, :2].astype(int)


def test_flip_mirrors_the_clip_and_its_words() -> None:
    clips = random_clips()
    captions = ["it moves left", "it moves right", "left then right", "grows", "moves up", "left"]
    flipped, words = flip_clips(clips, captions, rng(), probability=1.0)
    assert np.array_equal(flipped, clips[:, :, :, ::-1])
    assert words == ["it moves right", "it moves left", "right then left", "grows", "moves up", "right"]
    same, words = flip_clips(clips, captions, rng(), probability=0.0)
    assert np.array_equal(same, clips)
    assert words == captions
    some, words = flip_clips(clips, ["left"] * 6, rng(), probability=0.5)
    for clip, mirrored, word in zip(clips, some, words, strict=True):
        assert np.array_equal(mirrored, clip[:, :, ::-1] if word == "right" else clip)
    assert set(words) == {"left", "right"}
    with pytest.raises(ConfigError, match="captions = 2"):
        flip_clips(clips, ["a", "b"], rng())


def test_normalise() -> None:
    clip = np.array([0, 255, 51], np.uint8).reshape(1, 1, 1, 3)
    out = normalise(clip)
    assert out.shape == (1, 3, 1, 1)
    assert torch.allclose(out.ravel(), torch.tensor([-1.0, 1.0, -0.6]))
    assert torch.equal(normalise(torch.from_numpy(clip)), out)
    with pytest.raises(ConfigError, match="uint8"):
        normalise(torch.zeros(1, 1, 1, 3))


def test_augment_follows_its_generator_and_leaves_its_input() -> None:
    clips = random_clips()
    before = clips.copy()
    captions = ["it moves left"] * 6
    a, words_a = augment(clips, captions, 4, rng(3), max_shift=2)
    b, words_b = augment(clips, captions, 4, rng(3), max_shift=2)
    c, _ = augment(clips, captions, 4, rng(4), max_shift=2)
    assert a.shape == (6, 4, 3, 12, 12)
    assert a.dtype == torch.float32
    assert torch.equal(a, b)
    assert words_a == words_b
    assert not torch.equal(a, c)
    assert np.array_equal(clips, before)


def gradient_clip(frames: int = 3, height: int = 60, width: int = 90) -> np.ndarray:
    """Identical frames that grow brighter to the right."""
    row = np.linspace(20, 235, width).astype(np.uint8)
    return np.broadcast_to(row[None, None, :, None], (frames, height, width, 3)).copy()


def test_train_transform_crops_all_frames_alike() -> None:
    clip = gradient_clip()
    state = torch.random.get_rng_state()
    words = set()
    for seed in range(20):
        out, caption = train_transform(clip, "it moves left", rng(seed), size=32)
        assert out.shape == (3, 3, 32, 32)
        assert all(torch.equal(out[0], frame) for frame in out)
        rises = bool(out[0, 0, 0, -1] > out[0, 0, 0, 0])
        assert caption == ("it moves left" if rises else "it moves right")
        words.add(caption)
        again, _ = train_transform(clip, "it moves left", rng(seed), size=32)
        assert torch.equal(out, again)
        # At least half of the area: at least a third of the width, at most all of it.
        spread = float((out[0, 0, 0].max() - out[0, 0, 0].min()) / 2 * 255 / 215)
        assert 0.33 < spread < 1.02
    assert len(words) == 2
    assert torch.equal(torch.random.get_rng_state(), state)


def test_evaluation_transform_keeps_the_whole_picture() -> None:
    out = evaluation_transform(gradient_clip())
    assert out.shape == (3, 3, 224, 224)
    row = out[0, 0, 100]
    assert row[0] == pytest.approx(20 / 127.5 - 1, abs=0.02)
    assert row[-1] == pytest.approx(235 / 127.5 - 1, abs=0.02)
    assert bool((row.diff() >= 0).all())
