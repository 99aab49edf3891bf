"""Batches with wrong captions and stages, and their loss."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from svitt.data.text import build_tokenizer
from svitt.data.transforms import shift_clips
from svitt.errors import ConfigError
from svitt.losses.contrastive import contrastive
from svitt.training.hard_negatives import (
    CaptionedClips,
    StagedBatches,
    contrastive_with_negatives,
    shift_each,
)

WORDS = ("goes", "left", "right", "up", "down", "one", "two")


def captioned(count: int, name: str, shade: int) -> CaptionedClips:
    clips = np.full((count, 8, 8, 24, 3), shade, np.uint8)
    clips[:, :, :, :12] = 0  # the left half is black, so that a mirrored clip shows
    return CaptionedClips(
        clips, [f"{name} goes left"] * count, [[(f"{name} goes right", f"{name} goes up")]] * count
    )


def batches(**changes: object) -> StagedBatches:
    stages = [(0, captioned(12, "one", 100)), (4, captioned(9, "two", 200))]
    settings = {"num_frames": 2, "batch_size": 4, "seed": 0, "max_length": 6} | changes
    return StagedBatches(stages, build_tokenizer(WORDS), **settings)  # type: ignore[arg-type]


def test_a_batch_is_a_function_of_its_step_and_comes_from_its_stage() -> None:
    made = batches()
    first = made(3)["clips"].clone()
    made(7)
    assert torch.equal(made(3)["clips"], first)
    assert torch.equal(batches()(3)["clips"], first)
    top = [float(made(step)["clips"].max()) for step in (0, 3, 4, 5)]
    assert top[0] == top[1] < top[2] == top[3]


def test_wrong_captions_are_mirrored_with_their_clip() -> None:
    tokenizer = build_tokenizer(WORDS)
    batch = StagedBatches([(0, captioned(12, "one", 100))], tokenizer, 1, 12, 0, 6)(0)
    texts = [tokenizer.decode(row.tolist()) for row in batch["ids"]]
    mirrored = [float(clip[..., 0].mean()) > float(clip[..., -1].mean()) for clip in batch["clips"]]
    assert 0 < sum(mirrored) < 12
    for i, flipped in enumerate(mirrored):
        right, wrong = ("right", "left") if flipped else ("left", "right")
        assert texts[i] == f"one goes {right}"
        assert texts[12 + 2 * i : 14 + 2 * i] == [f"one goes {wrong}", "one goes up"]


def test_equal_captions_are_positives_also_among_the_wrong_ones() -> None:
    positives = batches()(0)["positives"]
    assert positives.shape == (4, 12)
    assert bool(positives.diagonal().all())


def test_every_clip_of_a_stage_is_met_once_an_epoch() -> None:
    clips = np.zeros((8, 4, 2, 2, 3), np.uint8) + np.arange(8, dtype=np.uint8)[:, None, None, None, None]
    stage = CaptionedClips(clips, ["one"] * 8, [[("two",)]] * 8)
    made = StagedBatches([(0, stage)], build_tokenizer(WORDS), 1, 4, 3, 4)
    met = torch.cat([made(step)["clips"][:, 0, 0, 0, 0] for step in range(2)])
    assert len(set(met.tolist())) == 8


def test_shift_each_is_shift_clips() -> None:
    clips = np.random.default_rng(0).integers(0, 255, (6, 3, 10, 12, 3), dtype=np.uint8)
    for shift in (0, 1, 4):
        oracle = shift_clips(clips, shift, np.random.default_rng(shift))
        assert np.array_equal(shift_each(clips, shift, np.random.default_rng(shift)), oracle)


def unit(*shape: int) -> torch.Tensor:
    return torch.nn.functional.normalize(
        torch.randn(*shape, generator=torch.Generator().manual_seed(1)), dim=-1
    )


def test_without_negatives_the_loss_is_infonce() -> None:
    video, text = unit(5, 4), unit(6, 4)[1:]
    positives = torch.eye(5, dtype=torch.bool)
    positives[0, 1] = positives[1, 0] = True
    expected = contrastive(video, text, 7.0, positives)
    assert torch.allclose(contrastive_with_negatives(video, text, 7.0, positives), expected)


def test_a_wrong_caption_raises_the_loss_the_more_it_fits() -> None:
    video = torch.eye(3)
    positives = torch.zeros(3, 4, dtype=torch.bool)
    positives[:, :3] = torch.eye(3, dtype=torch.bool)
    losses = []
    for fit in (-1.0, 0.0, 1.0):
        wrong = torch.tensor([[fit, 0.0, (1 - fit**2) ** 0.5]])
        losses.append(
            float(contrastive_with_negatives(video, torch.cat([torch.eye(3), wrong]), 5.0, positives))
        )
    assert losses[0] < losses[2]
    assert float(contrastive_with_negatives(video, torch.eye(3), 5.0, positives[:, :3])) < losses[0]


def test_bad_input_is_refused() -> None:
    clips = np.zeros((2, 4, 2, 2, 3), np.uint8)
    with pytest.raises(ConfigError, match="as many captions"):
        CaptionedClips(clips, ["one"], [[("two",)]] * 2)
    with pytest.raises(ConfigError, match="same number of wrong"):
        CaptionedClips(clips, ["one"] * 2, [[("two",)], [("two", "one")]])
    with pytest.raises(ConfigError, match="batch_size"):
        batches(batch_size=10)
    with pytest.raises(ConfigError, match="stages"):
        StagedBatches([(1, captioned(4, "one", 9))], build_tokenizer(WORDS), 1, 2, 0)
