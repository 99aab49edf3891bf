"""What chapter 6 draws: clips and questions, what the model keeps, and a model small enough to read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from svitt.data.datasets import downscale
from svitt.data.text import encode
from svitt.data.transforms import normalise, sample_frames
from svitt.data.worlds.shapes.grammar import COLOURS, VERBS
from svitt.data.worlds.shapes.questions import KINDS, ask, ask_first, cut_together
from svitt.data.worlds.shapes.scene import clip_parameters
from svitt.data.worlds.shapes.world import render_clip
from svitt.experiments.base import Recorded
from svitt.experiments.ch06_retrieval_qa.fusion_tokens import fusion_tokenizer, single_object_spec
from svitt.experiments.ch06_retrieval_qa.page import settings_of
from svitt.experiments.shared.tiny_models import tiny_video_config
from svitt.experiments.shared.two_object_world import MAX_LENGTH, TwoObjectSettings, two_movers, video_config
from svitt.models.svitt import SViTT
from svitt.models.svitt_config import FusionTextConfig, SViTTConfig
from svitt.models.video_encoder import VideoEncoderConfig

Clips = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class ShownClip:
    """A clip of the triptych. frames: (T, H, W, 3). video_kept, text_kept: patch tokens left by the video
    encoder and by the text. words: of the caption, with [CLS] and [SEP]. attention: (layers, words, T*h*w),
    of each word's cross-attention to patches, 0 where the video encoder has dropped them."""

    caption: str
    frames: Clips
    video_kept: npt.NDArray[np.int64]
    text_kept: npt.NDArray[np.int64]
    words: list[str]
    attention: npt.NDArray[np.float32]
    patch: int

    def stages(self) -> dict[str, npt.NDArray[np.int64]]:
        """The patches that are left: of the clip, after the video encoder, after the text's choice."""
        whole = np.arange(self.attention.shape[2])
        return {"the clip": whole, "video encoder": self.video_kept, "text": self.text_kept}

    def places(self) -> dict[str, list[int]]:
        """Part of the caption -> its words, by number. The same parts for every caption of two objects."""
        starts = [i for i, word in enumerate(self.words) if word in COLOURS]
        ends = [self.words.index("and"), self.words.index("on")]
        found: dict[str, list[int]] = {"[CLS]": [0]}
        for name, start, end in zip(("first", "second"), starts, ends, strict=True):
            found |= {f"{name} colour": [start], f"{name} shape": [start + 1]}
            found[f"{name} verb"] = list(range(start + 2, end))
        return found | {"background": [ends[1] + 1]}

    def looked_at(self, part: str) -> npt.NDArray[np.float32]:
        """(T*h*w,): attention of a part of the caption, mean over its words and all layers."""
        return np.asarray(self.attention[:, self.places()[part]].mean(axis=(0, 1)))

    def marked(self, part: str) -> str:
        """The caption in HTML with the part in bold."""
        chosen = set(self.places()[part])
        words = [f"<b>{w}</b>" if i in chosen else w for i, w in enumerate(self.words)]
        return " ".join(words if part == "[CLS]" else words[1:-1])


def shown(run: Recorded) -> list[ShownClip]:
    """The clips that a seed recorded for the page: the first ones of its test split."""
    o, settings = run.outcomes, settings_of(run)
    frames, grid = o["shown/frames"], video_config(settings.model).grid
    made = []
    for i in range(len(frames)):
        caption, count = str(run.record.values[f"shown/{i}/caption"]), int(o["shown/words"][i])
        left = o["shown/video_kept"][i].astype(np.int64)
        attention = np.zeros((o["shown/attention"].shape[1], count, int(np.prod(grid))), dtype=np.float32)
        attention[:, :, left] = o["shown/attention"][i, :, :count, 1:]
        text = o["shown/text_kept"][i].astype(np.int64)
        words = ["[CLS]", *caption.split(), "[SEP]"]
        patch = settings.model.image_size // grid[1]
        made.append(ShownClip(caption, frames[i], left, text, words, attention, patch))
    return made


def example_questions(seed: int) -> Iterator[tuple[str, Clips, pd.DataFrame]]:
    """(title, frames (T, H, W, 3), questions and answers) of a clip of two objects and of a cut: the first of
    their test splits that can be asked everything."""
    settings = TwoObjectSettings()
    two, one = two_movers(settings, seed), single_object_spec(settings, seed)
    rng = np.random.default_rng(seed)
    for index in range(100):
        scene = clip_parameters(two, "test", index).scene
        asked = [ask(scene, kind, rng) for kind in KINDS[:-1]]
        if all(asked):
            break
    rows = [(q.kind, q.text, q.answer) for q in asked if q is not None]
    names = ["kind", "question", "answer"]
    frames = _small(render_clip(two, "test", index)[0], settings)
    yield scene.caption("mixed"), frames, pd.DataFrame(rows, columns=names)
    first, second = (clip_parameters(one, "test", i).scene.movers[0] for i in (0, 1))
    question = ask_first(first, second, rng)
    cut = cut_together(*(render_clip(one, "test", i)[0] for i in (0, 1)))
    row = [(question.kind, question.text, question.answer)]
    yield "two clips, cut together", _small(cut, settings), pd.DataFrame(row, columns=names)


def _small(frames: Clips, settings: TwoObjectSettings) -> Clips:
    chosen = sample_frames(frames[None], settings.num_frames)[0]
    return downscale(chosen, settings.image_size)


def small_svitt(seed: int = 0) -> SViTT:
    """A SViTT of random weights at the chapter's sizes: one text layer, two fusion layers."""
    video: VideoEncoderConfig = tiny_video_config(4)
    words = fusion_tokenizer().get_vocab_size()
    text = FusionTextConfig(words, 64, 3, 1, 2, mlp_ratio=2.0, max_length=MAX_LENGTH, init_std=0.125)
    return SViTT(SViTTConfig(video, text, embed_dim=64), seed).eval()


def small_batch(seed: int, texts: list[str]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The first test clip of a seed, once a text: clips (B, T, 3, H, W), ids and mask (B, L)."""
    settings = TwoObjectSettings()
    frames = _small(render_clip(two_movers(settings, seed), "test", 0)[0], settings)
    ids, mask = encode(fusion_tokenizer(), texts, MAX_LENGTH)
    return normalise(np.repeat(frames[None], len(texts), axis=0)), ids, mask


assert all(verb.split()[0] not in COLOURS for verb in VERBS)
