"""One question for anyone's model: how well do these texts fit these clips?

Adapters for this package's checkpoints, and for models of transformers: CLIP and SigLIP (frames pooled),
X-CLIP, and generative video-language models (likelihood of the text given the frames).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import AutoConfig

from svitt.errors import CheckpointError
from svitt.integrations.similarity_contrastive import CONTRASTIVE, open_contrastive
from svitt.integrations.similarity_generative import GENERATIVE, open_generative
from svitt.integrations.similarity_pixels import Frames, as_scores, to_pixels
from svitt.models.checkpoints.io import CONFIG, SavedModel, load_model
from svitt.models.svitt import SViTT

OWN = ("svitt", "dual_encoder")
SUPPORTED = (*OWN, *CONTRASTIVE, *GENERATIVE)


class Similarity(Protocol):
    """What the probe asks of a model. num_frames, image_size: of the clips it wants."""

    @property
    def num_frames(self) -> int: ...

    @property
    def image_size(self) -> int: ...

    def similarity(self, clips: Frames, texts: Sequence[str]) -> npt.NDArray[np.floating[Any]]:
        """clips uint8 (V, T, H, W, 3) in the order in which they are shown; T texts -> (V, T)."""
        ...


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
        return as_scores(video @ text.T)


def open_similarity(
    name: str,
    own_encode: Callable[[SavedModel], Callable[[Sequence[str]], tuple[Tensor, Tensor]]],
    num_frames: int = 8,
    device: str = "cpu",
) -> Similarity:
    """The model of a folder or hub name: one of this package's, or one of transformers of a supported type.

    own_encode: makes the text encoding of one of this package's models. num_frames: for models that take any
    number.
    Errors: CheckpointError naming what was looked for and what is supported.
    """
    try:
        if _is_own(Path(name) / CONFIG):
            return _own(Path(name), own_encode, device)
        kind = AutoConfig.from_pretrained(name).model_type
        if kind in CONTRASTIVE:
            return open_contrastive(name, kind, num_frames, device)
        if kind in GENERATIVE:
            return open_generative(name, num_frames, device)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(
            f"{name}: no model that can be read ({reason}); give a folder of svitt, or a folder or hub name "
            f"of a model of transformers with its tokenizer or processor; supported: {', '.join(SUPPORTED)}"
        ) from error
    raise CheckpointError(f"{name}: a model of type {kind!r}; supported: {', '.join(SUPPORTED)}")


def _is_own(config: Path) -> bool:
    written = json.loads(config.read_text(encoding="utf-8")) if config.is_file() else None
    return isinstance(written, dict) and written.get("model_type") in OWN


def _own(folder: Path, own_encode: Callable[[SavedModel], Any], device: str) -> OwnModel:
    saved = load_model(folder, device)
    if saved.tokenizer is None:
        raise CheckpointError(f"{folder}: no tokenizer.json; save the model with its tokenizer")
    return OwnModel(saved, own_encode(saved), device)
