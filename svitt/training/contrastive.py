"""Losses of contrastive training on the batches of ``svitt.training.batches``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from svitt.losses.contrastive import contrastive


def contrastive_loss(model: nn.Module, batch: Mapping[str, Any]) -> Tensor:
    """InfoNCE of a batch without wrong captions; ``model`` returns both embeddings and its scale."""
    video, text, scale = model(batch["clips"], batch["ids"], batch["mask"])
    return contrastive(video, text, scale, batch["positives"])


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
    """The loss of a batch with wrong captions; ``model`` returns both embeddings and its scale."""
    video, text, scale = model(batch["clips"], batch["ids"], batch["mask"])
    return contrastive_with_negatives(video, text, scale, batch["positives"])
