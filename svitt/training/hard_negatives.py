"""Contrastive training with wrong captions made for each clip, and with stages of easier clips first.

In a batch of random clips the captions differ in their objects, and telling these apart is enough: what
the objects do is hardly ever asked. Captions that are wrong in one verb, or that give each object the
other's verb, ask just that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor, nn

from svitt.config import require
from svitt.data.text import encode
from svitt.data.transforms import flip_clips, normalise, sample_frames

# Captions go through the clip transform together with their wrong ones, so that a mirrored clip has
# "left" and "right" swapped in all of them. No caption holds a line break.
_JOIN = "\n"
MAX_SHIFT = 4  # pixels, as in ``svitt.data.transforms.augment``


@dataclass(frozen=True)
class CaptionedClips:
    """clips: uint8 (N, F, H, W, C). captions: N. wrong: N times the same number of captions that do not
    describe the clip, from which one set is drawn: wrong[i] is a sequence of alternatives, each a
    sequence of K captions."""

    clips: npt.NDArray[np.uint8]
    captions: Sequence[str]
    wrong: Sequence[Sequence[Sequence[str]]]

    def __post_init__(self) -> None:
        lengths = {len(self.clips), len(self.captions), len(self.wrong)}
        require(
            len(lengths) == 1, "captions", sorted(lengths), "as many captions and sets of wrong ones as clips"
        )
        sizes = {len(option) for options in self.wrong for option in options}
        require(len(sizes) == 1, "wrong", sorted(sizes), "the same number of wrong captions for every clip")


@dataclass(frozen=True)
class StagedBatches:
    """Augmented batches from one stage after the other; a batch is a function of (seed, step) alone.

    stages: (first step, clips), the first from step 0. num_frames: drawn from a clip. known: token
    numbers and masks of texts met so far.
    """

    stages: Sequence[tuple[int, CaptionedClips]]
    tokenizer: Tokenizer
    num_frames: int
    batch_size: int
    seed: int
    max_length: int = 16
    device: str = "cpu"
    known: dict[str, Tensor] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        starts = [start for start, _ in self.stages]
        require(
            bool(starts) and starts[0] == 0 and starts == sorted(set(starts)),
            "stages",
            starts,
            "first steps that begin at 0 and rise",
        )
        fewest = min(len(stage.clips) for _, stage in self.stages)
        size = self.batch_size
        require(1 <= size <= fewest, "batch_size", size, f"1 to {fewest}, the clips of a stage")

    def __call__(self, step: int) -> dict[str, Tensor]:
        """clips (B, T, C, H, W) float; ids and mask (B + B*K, L), the right captions first; positives
        (B, B + B*K) bool: equal captions."""
        number = max(i for i, (start, _) in enumerate(self.stages) if start <= step)
        start, stage = self.stages[number]
        epoch, place = divmod(step - start, len(stage.clips) // self.batch_size)
        order = np.random.default_rng([self.seed, 3 + number, epoch]).permutation(len(stage.clips))
        chosen: list[int] = sorted(order[place * self.batch_size : (place + 1) * self.batch_size].tolist())
        rng = np.random.default_rng([self.seed, 2, step])
        options = [stage.wrong[i] for i in chosen]
        drawn = [alternatives[int(rng.integers(len(alternatives)))] for alternatives in options]
        joined = [_JOIN.join([stage.captions[i], *wrong]) for i, wrong in zip(chosen, drawn, strict=True)]
        clips = shift_each(sample_frames(stage.clips[chosen], self.num_frames, rng), MAX_SHIFT, rng)
        clips, texts = flip_clips(clips, joined, rng)
        parts = [text.split(_JOIN) for text in texts]
        captions = [part[0] for part in parts]
        everything = captions + [caption for part in parts for caption in part[1:]]
        ids, mask = self._tokens(everything)
        positives = torch.from_numpy(np.equal.outer(np.array(captions), np.array(everything)))
        batch = {"clips": normalise(clips), "ids": ids, "mask": mask, "positives": positives}
        return {name: tensor.to(self.device) for name, tensor in batch.items()}

    def _tokens(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """``encode``, each distinct text once in the life of the batches."""
        new = sorted({text for text in texts if text not in self.known})
        if new:
            ids, mask = encode(self.tokenizer, new, self.max_length)
            self.known.update(zip(new, torch.stack([ids, mask], dim=1), strict=True))
        both = torch.stack([self.known[text] for text in texts])
        return both[:, 0], both[:, 1]


def shift_each(
    clips: npt.NDArray[np.uint8], max_shift: int, generator: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """``svitt.data.transforms.shift_clips`` clip by clip: the same result, and faster."""
    batch, _, height, width, _ = clips.shape
    down, right = generator.integers(-max_shift, max_shift, (2, batch), endpoint=True)
    padded = np.pad(clips, ((0, 0), (0, 0), (max_shift,) * 2, (max_shift,) * 2, (0, 0)), mode="edge")
    shifted = np.empty_like(clips)
    for i, (y, x) in enumerate(zip(max_shift - down, max_shift - right, strict=True)):
        shifted[i] = padded[i, :, y : y + height, x : x + width]
    return shifted


def contrastive_with_negatives(
    video: Tensor, text: Tensor, scale: Tensor | float, positives: Tensor
) -> Tensor:
    """Symmetric InfoNCE in which videos also meet texts that belong to none of them.

    video (B, D) and text (B + M, D), L2-normalised; the first B texts are the videos' own. positives:
    (B, B + M) bool. The M further texts are negatives for every video without being asked for one
    themselves. With M = 0 it is ``svitt.losses.contrastive.contrastive``. Returns a scalar.
    """
    size = len(video)
    logits = scale * video @ text.T
    targets = positives.to(logits.dtype)
    video_to_text = F.cross_entropy(logits, targets / targets.sum(1, keepdim=True))
    own = targets[:, :size].T
    text_to_video = F.cross_entropy(logits[:, :size].T, own / own.sum(1, keepdim=True))
    return (video_to_text + text_to_video) / 2


def staged_loss(model: nn.Module, batch: Mapping[str, Any]) -> Tensor:
    """The loss of a batch made by ``StagedBatches``; ``model`` returns both embeddings and its scale."""
    video, text, scale = model(batch["clips"], batch["ids"], batch["mask"])
    return contrastive_with_negatives(video, text, scale, batch["positives"])
