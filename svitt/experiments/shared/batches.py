"""Training batches for clips of any resolution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer
from torch import Tensor

from svitt.config import require
from svitt.data.text import encode
from svitt.data.transforms import flip_clips, normalise, sample_frames
from svitt.training.hard_negatives import shift_each

Clips = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Batches:
    """As ``svitt.training.contrastive.ContrastiveBatches``, but the picture is shifted by up to an eighth of
    its side, so that clips of all resolutions are augmented alike."""

    clips: Clips
    captions: Sequence[str]
    tokenizer: Tokenizer
    num_frames: int
    batch_size: int
    seed: int
    max_length: int = 16
    device: str = "cpu"

    def __post_init__(self) -> None:
        most = len(self.clips)
        require(1 <= self.batch_size <= most, "batch_size", self.batch_size, f"1 to {most}, the clips")

    def __call__(self, step: int) -> dict[str, Tensor]:
        """clips (B, T, C, H, W) float, ids and mask (B, L), positives (B, B) bool: equal captions."""
        epoch, place = divmod(step, len(self.clips) // self.batch_size)
        order = np.random.default_rng([self.seed, 0, epoch]).permutation(len(self.clips))
        chosen = np.sort(order[place * self.batch_size : (place + 1) * self.batch_size])
        rng = np.random.default_rng([self.seed, 1, step])
        frames = sample_frames(self.clips[chosen], self.num_frames, rng)
        frames = shift_each(frames, frames.shape[2] // 8, rng)
        frames, texts = flip_clips(frames, [self.captions[i] for i in chosen], rng)
        ids, mask = encode(self.tokenizer, texts, self.max_length)
        positives = torch.from_numpy(np.equal.outer(np.array(texts), np.array(texts)))
        batch = {"clips": normalise(frames), "ids": ids, "mask": mask, "positives": positives}
        return {name: tensor.to(self.device) for name, tensor in batch.items()}
