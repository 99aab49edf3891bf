"""One question for anyone's model: how well do these texts fit these clips?

Adapters for this package's checkpoints, and for CLIP (frames pooled) and X-CLIP of transformers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AutoConfig, AutoTokenizer, CLIPModel, XCLIPModel
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from svitt.errors import CheckpointError
from svitt.models.checkpoints.io import CONFIG, SavedModel, load_model
from svitt.models.svitt import SViTT

Frames = npt.NDArray[np.uint8]
Tokenize = Callable[[Sequence[str]], dict[str, Tensor]]


class Similarity(Protocol):
    """What the probe asks of a model. num_frames, image_size: of the clips it wants."""

    @property
    def num_frames(self) -> int: ...

    @property
    def image_size(self) -> int: ...

    def similarity(self, clips: Frames, texts: Sequence[str]) -> npt.NDArray[np.floating[Any]]:
        """clips uint8 (V, T, H, W, 3) in the order in which they are shown; T texts -> (V, T)."""
        ...


def to_pixels(clips: Frames, size: int, mean: Sequence[float], std: Sequence[float], device: str) -> Tensor:
    """uint8 (V, T, H, W, 3) -> float (V, T, 3, size, size): resized to a square (bicubic, antialiased, as the
    releases resize for tests), scaled to [0, 1], normalised."""
    frames = (
        torch.from_numpy(np.ascontiguousarray(clips)).to(device).flatten(0, 1).movedim(-1, 1).float() / 255
    )
    if frames.shape[-2:] != (size, size):
        frames = F.interpolate(frames, (size, size), mode="bicubic", antialias=True).clamp(0, 1)
    centre = torch.tensor(mean, device=device)[:, None, None]
    spread = torch.tensor(std, device=device)[:, None, None]
    return ((frames - centre) / spread).unflatten(0, clips.shape[:2])


@dataclass(frozen=True)
class OwnModel:
    """A checkpoint of this package. encode: texts -> ids and mask, (B, L) each."""

    saved: SavedModel
    encode: Callable[[Sequence[str]], tuple[Tensor, Tensor]]
    device: str = "cpu"

    @property
    def num_frames(self) -> int:
        return int(self.saved.model.config.video.num_frames)

    @property
    def image_size(self) -> int:
        return int(self.saved.model.config.video.image_size)

    @torch.no_grad()
    def similarity(self, clips: Frames, texts: Sequence[str]) -> npt.NDArray[np.floating[Any]]:
        """Cosine of the embeddings."""
        model = self.saved.model
        pixels = to_pixels(clips, self.image_size, [0.5] * 3, [0.5] * 3, self.device)
        ids, mask = (part.to(self.device) for part in self.encode(texts))
        if isinstance(model, SViTT):
            video, text = model.video_embedding(pixels), model.text_embedding(ids, mask)
        else:
            video, text = model.encode_video(pixels), model.encode_text(ids, mask)
        return np.asarray((video @ text.T).float().cpu().numpy())


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
    def similarity(self, clips: Frames, texts: Sequence[str]) -> npt.NDArray[np.floating[Any]]:
        """Cosine of the mean frame embedding and the text embedding."""
        pixels = to_pixels(clips, self.image_size, OPENAI_CLIP_MEAN, OPENAI_CLIP_STD, self.device)
        image = self.model.get_image_features(pixel_values=pixels.flatten(0, 1)).pooler_output
        video = F.normalize(F.normalize(image, dim=-1).unflatten(0, clips.shape[:2]).mean(1), dim=-1)
        tokens = {name: part.to(self.device) for name, part in self.tokenize(texts).items()}
        text = F.normalize(self.model.get_text_features(**tokens).pooler_output, dim=-1)
        return np.asarray((video @ text.T).float().cpu().numpy())


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
    def similarity(self, clips: Frames, texts: Sequence[str]) -> npt.NDArray[np.floating[Any]]:
        """The model's logits per video."""
        pixels = to_pixels(clips, self.image_size, OPENAI_CLIP_MEAN, OPENAI_CLIP_STD, self.device)
        tokens = {name: part.to(self.device) for name, part in self.tokenize(texts).items()}
        logits: Tensor = self.model(pixel_values=pixels, **tokens).logits_per_video
        return np.asarray(logits.float().cpu().numpy())


def open_similarity(
    name: str,
    own_encode: Callable[[SavedModel], Callable[[Sequence[str]], tuple[Tensor, Tensor]]],
    num_frames: int = 8,
    device: str = "cpu",
) -> Similarity:
    """The model of a folder or hub name: one of this package's, a CLIP or an X-CLIP.

    own_encode: makes the text encoding of one of this package's models. num_frames: for CLIP, which takes
    any number.
    Errors: CheckpointError naming what was looked for and what is supported.
    """
    folder = Path(name)
    if (folder / CONFIG).is_file() and '"model_type": "svitt"' in (folder / CONFIG).read_text(
        encoding="utf-8"
    ):
        return _own(folder, own_encode, device)
    if (folder / CONFIG).is_file() and '"dual_encoder"' in (folder / CONFIG).read_text(encoding="utf-8"):
        return _own(folder, own_encode, device)
    try:
        kind = AutoConfig.from_pretrained(name).model_type
        if kind not in ("clip", "xclip"):
            raise CheckpointError(
                f"{name}: a model of type {kind!r}; supported: svitt, dual_encoder, clip, xclip"
            )
        tokenizer = AutoTokenizer.from_pretrained(name)

        def tokenize(texts: Sequence[str]) -> dict[str, Tensor]:
            return dict(tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt"))

        if kind == "clip":
            return ClipModel(CLIPModel.from_pretrained(name).to(device).eval(), tokenize, num_frames, device)
        return XClipModel(XCLIPModel.from_pretrained(name).to(device).eval(), tokenize, device)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(
            f"{name}: no model that can be read ({reason}); give a folder of svitt, or a folder or hub name "
            "of a CLIP or X-CLIP of transformers with its tokenizer"
        ) from error


def _own(folder: Path, own_encode: Callable[[SavedModel], Any], device: str) -> OwnModel:
    saved = load_model(folder, device)
    if saved.tokenizer is None:
        raise CheckpointError(f"{folder}: no tokenizer.json; save the model with its tokenizer")
    return OwnModel(saved, own_encode(saved), device)
