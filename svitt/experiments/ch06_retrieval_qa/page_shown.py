"""What chapter 6 draws of its first test clips: what is seen, what each pruning keeps, where words look."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from svitt.data.text import encode
from svitt.data.transforms import normalise
from svitt.experiments.ch06_retrieval_qa.fusion_tokens import Asked, frames_shown, fusion_tokenizer, seen
from svitt.experiments.shared.tiny_models import WorldData
from svitt.experiments.shared.two_object_world import MAX_LENGTH
from svitt.models.dual_encoder import DualEncoder
from svitt.models.svitt import SViTT
from svitt.models.svitt_config import CrossModalPruning

Arrays = dict[str, npt.NDArray[Any]]


def shown_captions(data: WorldData, count: int) -> list[str]:
    """Of the first test clips."""
    return [record.caption("mixed") for record in data.world.split("test")[:count]]


@torch.no_grad()
def shown_clips(
    model: SViTT,
    dual: DualEncoder,
    asked: Asked,
    data: WorldData,
    count: int,
    pruning: CrossModalPruning,
    seed: int,
) -> Arrays:
    """The first ``count`` test clips, whatever they show, through the model that is sparse in both ways.

    shown/frames: uint8 (n, T, H, W, 3). shown/video_kept: (n, K) patch tokens left by the video encoder.
    shown/text_kept: (n, k) of them left by the text, in the numbering of the clip. shown/attention: float16
    (n, layers, L, 1+K), cross-attention of every word without text-guided pruning, mean over heads;
    shown/words: (n,) how many of the L are words of the caption, [CLS] first.
    """
    device = next(model.parameters()).device
    rng = np.random.default_rng([seed, 2])
    frames = frames_shown(asked.clips, dual.config.video.num_frames, rng, "clip")[:count]
    features = dual.video_encoder(normalise(frames).to(device), return_hidden_states=True)
    video = seen(features)
    ids, mask = encode(fusion_tokenizer(), shown_captions(data, count), MAX_LENGTH)
    ids, mask = ids.to(device), mask.to(device)
    text = model.encode_text(ids, mask)
    whole = model.fuse(text, mask, video, pruning=None, return_attention=True)
    pruned = model.fuse(text, mask, video, pruning=pruning)
    assert whole.attention is not None
    left = features.kept[-1]
    numbers = left.gather(1, pruned.numbers(left.shape[1])[-1])
    attention = torch.stack([layer.mean(dim=1) for layer in whole.attention], dim=1)
    return {
        "shown/frames": frames,
        "shown/video_kept": left.cpu().numpy().astype(np.int16),
        "shown/text_kept": numbers.cpu().numpy().astype(np.int16),
        "shown/attention": attention.cpu().numpy().astype(np.float16),
        "shown/words": mask.sum(dim=1).cpu().numpy().astype(np.int8),
    }
