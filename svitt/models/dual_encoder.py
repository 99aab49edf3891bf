"""Dual encoder: a video and a text encoder that meet in one embedding space (SViTT section 3.1)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from svitt.config import require
from svitt.models.text_encoder import TextConfig, TextEncoder
from svitt.models.video_encoder import VideoEncoder, VideoEncoderConfig


@dataclass(frozen=True)
class DualEncoderConfig:
    """Both encoders and how they meet.

    frames: "joint" (space-time attention over all frames) or "bag" (every frame encoded alone, features
        averaged: blind to the order of frames by construction).
    initial_scale: initial inverse temperature of the contrastive loss.
    max_scale: its upper bound.
    """

    video: VideoEncoderConfig
    text: TextConfig
    embed_dim: int = 64
    frames: Literal["joint", "bag"] = "joint"
    initial_scale: float = 10.0
    max_scale: float = 100.0

    def __post_init__(self) -> None:
        require(self.embed_dim >= 1, "embed_dim", self.embed_dim, "integers from 1")
        require(self.frames in ("joint", "bag"), "frames", self.frames, "joint, bag")
        require(self.initial_scale > 0, "initial_scale", self.initial_scale, "above 0")
        if self.frames == "bag":
            require(
                self.video.num_frames == 1, "video.num_frames", self.video.num_frames, "1 where frames = bag"
            )


class DualEncoder(nn.Module):
    """Video and text embeddings whose dot product is their similarity.

    seed: of all initial weights, without touching the global random state.
    """

    def __init__(self, config: DualEncoderConfig, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.video_projection = nn.Linear(config.video.width, config.embed_dim)
            self.text_projection = nn.Linear(config.text.width, config.embed_dim)
            self.video_encoder = VideoEncoder(config.video, torch.Generator().manual_seed(seed))
            self.text_encoder = TextEncoder(config.text, seed=seed)
        self.log_scale = nn.Parameter(torch.tensor(math.log(config.initial_scale)))

    @property
    def scale(self) -> Tensor:
        """Inverse temperature of the contrastive loss, at most ``max_scale``."""
        return self.log_scale.clamp(max=math.log(self.config.max_scale)).exp()

    def encode_video(self, clips: Tensor, **encoder_args: object) -> Tensor:
        """clips: (B, T, C, H, W) float. Returns (B, embed_dim), L2-normalised."""
        if self.config.frames == "bag":
            batch, frames = clips.shape[:2]
            # Every frame a clip of its own: (B*T, 1, C, H, W) -> (B*T, D) -> (B, T, D) -> (B, D).
            pooled = self.video_encoder(clips.flatten(0, 1).unsqueeze(1), **encoder_args).pooled
            pooled = pooled.unflatten(0, (batch, frames)).mean(1)
        else:
            pooled = self.video_encoder(clips, **encoder_args).pooled
        return F.normalize(self.video_projection(pooled), dim=-1)

    def encode_text(self, ids: Tensor, mask: Tensor) -> Tensor:
        """ids, mask: (B, L). Returns (B, embed_dim), L2-normalised."""
        return F.normalize(self.text_projection(self.text_encoder(ids, mask)[:, 0]), dim=-1)

    def forward(self, clips: Tensor, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Both embeddings, (B, embed_dim) each, and the scale."""
        return self.encode_video(clips), self.encode_text(ids, mask), self.scale
