"""The batch of a step is a function of (seed, step); equal captions are positives."""

import numpy as np
import pytest
import torch

from svitt.data.text import build_tokenizer
from svitt.errors import ConfigError
from svitt.training.contrastive import ContrastiveBatches

CAPTIONS = ["a ring moves left", "a ring moves right", "a bar grows", "a bar grows"] * 3
CLIPS = np.random.default_rng(0).integers(0, 256, (12, 8, 16, 16, 3), dtype=np.uint8)
TOKENIZER = build_tokenizer({word for caption in CAPTIONS for word in caption.split()})


def batches(seed: int = 0, batch_size: int = 6) -> ContrastiveBatches:
    return ContrastiveBatches(CLIPS, CAPTIONS, TOKENIZER, num_frames=4, batch_size=batch_size, seed=seed)


def test_the_same_step_gives_the_same_batch() -> None:
    one, again = batches()(3), batches()(3)
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not torch.equal(one["clips"], batches()(5)["clips"])
    assert not torch.equal(one["clips"], batches(seed=1)(3)["clips"])
    assert one["clips"].shape == (6, 4, 3, 16, 16) and one["ids"].shape == (6, 16)


def test_an_epoch_sees_every_clip_once() -> None:
    captions = [f"w{i}" for i in range(12)]
    made = ContrastiveBatches(CLIPS, captions, build_tokenizer(captions), 4, batch_size=6, seed=0)
    seen = torch.cat([made(step)["ids"][:, 1] for step in (0, 1)])
    assert len(set(seen.tolist())) == 12


def test_positives_are_the_equal_captions_as_flipped() -> None:
    batch = batches(batch_size=12)(0)
    same = (batch["ids"][:, None] == batch["ids"][None]).all(-1)
    assert torch.equal(batch["positives"], same)
    assert same.sum() > 12  # some captions do occur twice


def test_a_batch_larger_than_the_split_is_refused() -> None:
    with pytest.raises(ConfigError, match="batch_size = 13"):
        batches(batch_size=13)
