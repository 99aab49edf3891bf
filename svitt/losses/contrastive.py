"""Training losses: pure functions of tensors."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def contrastive(
    video: Tensor, text: Tensor, scale: Tensor | float, positives: Tensor | None = None
) -> Tensor:
    """Symmetric InfoNCE with several positives (SViTT section 3.1; equal captions are positives).

    video, text: (B, D), L2-normalised. scale: inverse temperature. positives: (B, B) bool,
    [i, j] true when text j is correct for video i; None means the diagonal. The target of a row is
    uniform over its positives. Returns a scalar.
    """
    logits = scale * video @ text.T
    if positives is None:
        targets = torch.eye(len(video), device=video.device, dtype=logits.dtype)
    else:
        targets = positives.to(logits.dtype)
    video_to_text = F.cross_entropy(logits, targets / targets.sum(1, keepdim=True))
    text_to_video = F.cross_entropy(logits.T, targets.T / targets.T.sum(1, keepdim=True))
    return (video_to_text + text_to_video) / 2
