"""Dual encoders of transformers: CLIP and SigLIP on each frame, X-CLIP on the clip."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import (
    AutoTokenizer,
    CLIPModel,
    Siglip2Model,
    SiglipModel,
    XCLIPModel,
)
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from svitt.integrations.similarity_pixels import (
    Frames,
    Scores,
    Tokenize,
    as_scores,
    mean_of_frames,
    to_patches,
    to_pixels,
)

CONTRASTIVE = ("clip", "siglip", "siglip2", "xclip")


@dataclass(frozen=True)
class ClipModel:
    """transformers' CLIP on each frame, the frames' embeddings averaged: it cannot see their order."""

    model: CLIPModel
    tokenize: Tokenize
    num_frames: int = 8
    device: str = "cpu"

    @property
    def image_size(self) -> int:
        return int(self.model.config.vision_config.image_size)

    @torch.no_grad()
    def similarity(self, clips: Frames, texts: Sequence[str]) -> Scores:
        """Cosine of the mean frame embedding and the text embedding."""
        pixels = to_pixels(clips, self.image_size, OPENAI_CLIP_MEAN, OPENAI_CLIP_STD, self.device)
        image = self.model.get_image_features(pixel_values=pixels.flatten(0, 1)).pooler_output
        tokens = {name: part.to(self.device) for name, part in self.tokenize(texts).items()}
        text = F.normalize(self.model.get_text_features(**tokens).pooler_output, dim=-1)
        return as_scores(mean_of_frames(image, clips.shape[1]) @ text.T)


@dataclass(frozen=True)
class SiglipFrames:
    """transformers' SigLIP or SigLIP 2 on each frame, the frames' embeddings averaged.

    SigLIP 2 comes in two kinds: of one image size (transformers' ``siglip``), and of any (``siglip2``,
    NaFlex), which gets frames of as many patches as it was made for. Texts are padded to the model's length
    and padding is attended, as in training.
    """

    model: SiglipModel | Siglip2Model
    tokenize: Tokenize
    num_frames: int = 8
    device: str = "cpu"

    @property
    def image_size(self) -> int:
        vision = self.model.config.vision_config
        if isinstance(self.model, Siglip2Model):
            return int(vision.patch_size) * math.isqrt(int(vision.num_patches))
        return int(vision.image_size)

    @torch.no_grad()
    def similarity(self, clips: Frames, texts: Sequence[str]) -> Scores:
        """Cosine of the mean frame embedding and the text embedding."""
        pixels = to_pixels(clips, self.image_size, [0.5] * 3, [0.5] * 3, self.device).flatten(0, 1)
        image = self.model.get_image_features(**self.inputs(pixels)).pooler_output
        ids = self.tokenize(texts)["input_ids"].to(self.device)
        text = F.normalize(self.model.get_text_features(input_ids=ids).pooler_output, dim=-1)
        return as_scores(mean_of_frames(image, clips.shape[1]) @ text.T)

    def inputs(self, pixels: Tensor) -> dict[str, Tensor]:
        """Frames (N, 3, H, W) as the vision tower takes them."""
        if not isinstance(self.model, Siglip2Model):
            return {"pixel_values": pixels}
        patch = int(self.model.config.vision_config.patch_size)
        patches = to_patches(pixels, patch)
        shape = torch.tensor([pixels.shape[2] // patch, pixels.shape[3] // patch], device=pixels.device)
        return {
            "pixel_values": patches,
            "pixel_attention_mask": torch.ones(patches.shape[:2], dtype=torch.int64, device=pixels.device),
            "spatial_shapes": shape.expand(len(pixels), 2),
        }


@dataclass(frozen=True)
class XClipModel:
    """transformers' X-CLIP: frames exchange messages, and the text is prompted by the video."""

    model: XCLIPModel
    tokenize: Tokenize
    device: str = "cpu"

    @property
    def num_frames(self) -> int:
        return int(self.model.config.vision_config.num_frames)

    @property
    def image_size(self) -> int:
        return int(self.model.config.vision_config.image_size)

    @torch.no_grad()
    def similarity(self, clips: Frames, texts: Sequence[str]) -> Scores:
        """The model's logits per video."""
        pixels = to_pixels(clips, self.image_size, OPENAI_CLIP_MEAN, OPENAI_CLIP_STD, self.device)
        tokens = {name: part.to(self.device) for name, part in self.tokenize(texts).items()}
        logits: Tensor = self.model(pixel_values=pixels, **tokens).logits_per_video
        return as_scores(logits)


def open_contrastive(
    name: str, kind: str, num_frames: int, device: str
) -> ClipModel | SiglipFrames | XClipModel:
    """A dual encoder of transformers, of a folder or hub name. kind: its model type, of ``CONTRASTIVE``.

    Errors: transformers' OSError and ValueError for what cannot be read.
    """
    tokenizer = AutoTokenizer.from_pretrained(name)
    classes: dict[str, Any] = {"clip": CLIPModel, "siglip": SiglipModel, "siglip2": Siglip2Model}
    model = classes.get(kind, XCLIPModel).from_pretrained(name).to(device).eval()
    if kind == "clip":
        return ClipModel(model, _tokenize(tokenizer, padding=True), num_frames, device)
    if kind == "xclip":
        return XClipModel(model, _tokenize(tokenizer, padding=True), device)
    length = int(model.config.text_config.max_position_embeddings)
    # Both were trained on texts in small letters, padded behind.
    padded = _tokenize(tokenizer, padding="max_length", max_length=length, padding_side="right")
    return SiglipFrames(model, lambda texts: padded([text.lower() for text in texts]), num_frames, device)


def _tokenize(tokenizer: Any, **settings: Any) -> Callable[[Sequence[str]], dict[str, Tensor]]:
    return lambda texts: dict(tokenizer(list(texts), truncation=True, return_tensors="pt", **settings))
