"""Contrastive training on cached clips: the batch of a step and its loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from svitt.config import require
from svitt.data.text import encode
from svitt.data.transforms import augment
from svitt.losses.contrastive import contrastive


@dataclass(frozen=True)
class ContrastiveBatches:
    """Augmented batches; the batch of a step is a function of (seed, step) alone.

    clips: uint8 (N, F, H, W, C). captions: N. num_frames: drawn from the F of a clip.
    """

    clips: npt.NDArray[np.uint8]
    captions: Sequence[str]
    tokenizer: Tokenizer
    num_frames: int
    batch_size: int
    seed: int
    max_length: int = 16
    device: str = "cpu"

    def __post_init__(self) -> None:
        size = self.batch_size
        require(
            1 <= size <= len(self.clips), "batch_size", size, f"1 to {len(self.clips)}, the training clips"
        )

    def __call__(self, step: int) -> dict[str, Tensor]:
        """clips (B, T, C, H, W) float, ids and mask (B, L), positives (B, B) bool: equal captions."""
        per_epoch = len(self.clips) // self.batch_size
        epoch, place = divmod(step, per_epoch)
        order = np.random.default_rng([self.seed, 0, epoch]).permutation(len(self.clips))
        chosen = np.sort(order[place * self.batch_size : (place + 1) * self.batch_size])
        rng = np.random.default_rng([self.seed, 1, step])
        clips, texts = augment(self.clips[chosen], [self.captions[i] for i in chosen], self.num_frames, rng)
        ids, mask = encode(self.tokenizer, texts, self.max_length)
        positives = torch.from_numpy(np.equal.outer(np.array(texts), np.array(texts)))
        batch = {"clips": clips, "ids": ids, "mask": mask, "positives": positives}
        return {name: tensor.to(self.device) for name, tensor in batch.items()}


def contrastive_loss(model: nn.Module, batch: Mapping[str, Any]) -> Tensor:
    """InfoNCE of a batch made by ``ContrastiveBatches``; ``model`` returns both embeddings and its scale."""
    video, text, scale = model(batch["clips"], batch["ids"], batch["mask"])
    return contrastive(video, text, scale, batch["positives"])
