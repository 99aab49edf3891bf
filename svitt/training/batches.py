"""The batch of a training step: augmented clips with captions, and wrong captions where there are any.

In a batch of random clips the captions differ in their objects, and telling these apart is enough: what
the objects do is hardly ever asked. Captions that are wrong in one verb, or that give each object the
other's verb, ask just that. Clips can come in stages, easier ones first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer
from torch import Tensor

from svitt.config import require
from svitt.data.device_transforms import augment_there, draw_augmentation
from svitt.data.text import encode
from svitt.data.transforms import MAX_SHIFT, augment

# Captions go through the clip transform together with their wrong ones, so that a mirrored clip has
# "left" and "right" swapped in all of them. No caption holds a line break.
_JOIN = "\n"
KnownTexts = dict[tuple[str, int], Tensor]  # (text, max_length) -> token numbers and mask (2, max_length)


@dataclass(frozen=True)
class CaptionedClips:
    """clips: uint8 (N, F, H, W, C). captions: N. wrong: none, or N times the same number of captions that do
    not describe the clip, from which one set is drawn: wrong[i] is a sequence of alternatives, each a
    sequence of K captions.

    Errors: ConfigError where the numbers do not fit.
    """

    clips: npt.NDArray[np.uint8]
    captions: Sequence[str]
    wrong: Sequence[Sequence[Sequence[str]]] = ()

    def __post_init__(self) -> None:
        lengths = {len(self.clips), len(self.captions), len(self.wrong) or len(self.clips)}
        require(
            len(lengths) == 1, "captions", sorted(lengths), "as many captions and sets of wrong ones as clips"
        )
        sizes = {len(option) for options in self.wrong for option in options or ((),)}
        require(len(sizes) <= 1, "wrong", sorted(sizes), "the same number of wrong captions for every clip")
        broken = [caption for caption in self.captions if _JOIN in caption]
        require(not broken, "captions", broken, "captions of one line")


class Streams(NamedTuple):
    """The random numbers of batches: those of ``[seed, order + stage, epoch]`` put the clips of a stage in
    order, those of ``[seed, draws, step]`` draw the rest."""

    order: int
    draws: int


ONE_STAGE, IN_STAGES = Streams(order=0, draws=1), Streams(order=3, draws=2)
# Where clips are augmented: in numpy on the host, by a gather on the device, or there where it is a GPU.
Place = Literal["auto", "host", "device"]


class Drawn(NamedTuple):
    """What a batch is made of: the number of its stage, the clips (B,) of it, ascending, their captions
    joined with the wrong ones, the generator that draws the rest, and how far a picture moves (pixels)."""

    stage: int
    chosen: list[int]
    joined: list[str]
    rng: np.random.Generator
    shift: int


@dataclass(frozen=True)
class Batches:
    """Augmented batches from one stage after the other; a batch is a function of (seed, step) alone.

    stages: (first step, clips), the first from step 0. num_frames: drawn from a clip, one from each of
    as many intervals. max_shift: of the picture, in pixels; None is an eighth of its height, so that clips
    of all resolutions are augmented alike. place: where that is done; the batches are the same to the last
    bit, and on a device the clips of one stage at a time stay there as they are (``resident``). known: texts
    met so far, encoded.

    Errors: ConfigError for a batch larger than a stage, first steps that do not rise from 0, streams that
    meet, and an unknown place.
    """

    stages: Sequence[tuple[int, CaptionedClips]]
    tokenizer: Tokenizer
    num_frames: int
    batch_size: int
    seed: int
    max_length: int = 16
    device: str = "cpu"
    max_shift: int | None = MAX_SHIFT
    streams: Streams = IN_STAGES
    known: KnownTexts = field(default_factory=dict, repr=False)
    place: Place = "auto"
    resident: dict[int, Tensor] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        starts = [start for start, _ in self.stages]
        require(
            bool(starts) and starts[0] == 0 and starts == sorted(set(starts)),
            "stages",
            starts,
            "first steps that begin at 0 and rise",
        )
        order, draws = self.streams
        apart = draws not in range(order, order + len(starts))
        require(apart, "streams", self.streams, f"for {len(starts)} stages, draws that are no stage's order")
        fewest = min(len(stage.clips) for _, stage in self.stages)
        size = self.batch_size
        require(1 <= size <= fewest, "batch_size", size, f"1 to {fewest}, the clips of a stage")
        require(self.place in ("auto", "host", "device"), "place", self.place, "auto, host, device")

    def __call__(self, step: int) -> dict[str, Tensor]:
        """clips (B, T, C, H, W) float; ids and mask (B + B*K, L), the right captions first; positives
        (B, B + B*K) bool: equal captions. K is 0 without wrong captions."""
        drawn = self._drawn(step)
        clips, texts = self._on_device(drawn) if self._is_on_device() else self._on_host(drawn)
        parts = [text.split(_JOIN) for text in texts]
        captions = [part[0] for part in parts]
        everything = captions + [caption for part in parts for caption in part[1:]]
        ids, mask = encode_once(self.tokenizer, everything, self.max_length, self.known)
        positives = torch.from_numpy(np.equal.outer(np.array(captions), np.array(everything)))
        batch = {"clips": clips, "ids": ids, "mask": mask, "positives": positives}
        return {name: tensor.to(self.device) for name, tensor in batch.items()}

    def _drawn(self, step: int) -> Drawn:
        number = max(i for i, (start, _) in enumerate(self.stages) if start <= step)
        start, stage = self.stages[number]
        epoch, place = divmod(step - start, len(stage.clips) // self.batch_size)
        first = np.random.default_rng([self.seed, self.streams.order + number, epoch])
        order = first.permutation(len(stage.clips))
        chosen: list[int] = sorted(order[place * self.batch_size : (place + 1) * self.batch_size].tolist())
        rng = np.random.default_rng([self.seed, self.streams.draws, step])
        options = [stage.wrong[i] for i in chosen] if stage.wrong else [()] * len(chosen)
        wrong = [some[int(rng.integers(len(some)))] if some else () for some in options]
        joined = [_JOIN.join([stage.captions[i], *texts]) for i, texts in zip(chosen, wrong, strict=True)]
        shift = stage.clips.shape[2] // 8 if self.max_shift is None else self.max_shift
        return Drawn(number, chosen, joined, rng, shift)

    def _on_host(self, drawn: Drawn) -> tuple[Tensor, list[str]]:
        clips = self.stages[drawn.stage][1].clips[drawn.chosen]
        return augment(clips, drawn.joined, self.num_frames, drawn.rng, drawn.shift)

    def _is_on_device(self) -> bool:
        return self.place == "device" or (self.place == "auto" and torch.device(self.device).type == "cuda")

    def _on_device(self, drawn: Drawn) -> tuple[Tensor, list[str]]:
        stored = self.stages[drawn.stage][1].clips
        if drawn.stage not in self.resident:
            self.resident.clear()  # of the stage before: two may be too much for a shared GPU
            self.resident[drawn.stage] = torch.from_numpy(np.ascontiguousarray(stored)).to(self.device)
        count, total = len(drawn.chosen), stored.shape[1]
        how = draw_augmentation(count, total, self.num_frames, drawn.rng, drawn.shift)
        return augment_there(self.resident[drawn.stage], drawn.chosen, how), how.texts(drawn.joined)


def one_stage(
    clips: npt.NDArray[np.uint8],
    captions: Sequence[str],
    tokenizer: Tokenizer,
    num_frames: int,
    batch_size: int,
    seed: int,
    *,
    max_length: int = 16,
    device: str = "cpu",
    max_shift: int | None = MAX_SHIFT,
) -> Batches:
    """Batches of the same clips (N, F, H, W, C) uint8 all along, with their N captions and no wrong ones."""
    stages = [(0, CaptionedClips(clips, captions))]
    return Batches(
        stages, tokenizer, num_frames, batch_size, seed, max_length, device, max_shift, streams=ONE_STAGE
    )


def encode_once(
    tokenizer: Tokenizer, texts: Sequence[str], max_length: int, known: KnownTexts
) -> tuple[Tensor, Tensor]:
    """``svitt.data.text.encode``, each text that ``known`` lacks once, and added to it.

    Token numbers and mask, both int64 (B, max_length).
    """
    new = sorted({text for text in texts if (text, max_length) not in known})
    if new:
        ids, mask = encode(tokenizer, new, max_length)
        rows = torch.stack([ids, mask], dim=1)
        known.update(((text, max_length), row) for text, row in zip(new, rows, strict=True))
    both = torch.stack([known[text, max_length] for text in texts])
    return both[:, 0], both[:, 1]
