"""Whole encoders to be timed: a forward pass, and a whole training step with its optimiser."""

from __future__ import annotations

from typing import Literal

import torch

from svitt.models.video_encoder import VideoEncoder, VideoEncoderConfig
from svitt.profiling.bias_once import write_bias_down
from svitt.profiling.cases import BenchSettings, EncoderKind, Phase, Step, encoder_config

BenchKind = EncoderKind | Literal["dense_bias_once"]


def config_of(kind: BenchKind, frames: int, s: BenchSettings) -> VideoEncoderConfig:
    """As ``encoder_config``; a bias that is made once is that of "dense_bias"."""
    return encoder_config("dense_bias" if kind == "dense_bias_once" else kind, frames, s)


def encoder_steps(kind: BenchKind, frames: int, s: BenchSettings) -> dict[Phase, Step]:
    """One encoder's passes on one batch of clips, by phase.

    forward: in evaluation mode, without gradients. training: forward, backward to all weights, and an
    AdamW update of them (3e-5, weight decay 0.02, as the release trains).
    """
    generator = torch.Generator().manual_seed(s.seed)
    model = VideoEncoder(config_of(kind, frames, s), generator)
    if kind == "dense_bias_once":
        write_bias_down(model, frames)
    model = model.to(s.device, s.dtype)
    size = 16 * s.side
    clips = torch.randn(s.batch, frames, 3, size, size, generator=generator).to(s.device, s.dtype)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-5, weight_decay=0.02)

    @torch.no_grad()
    def forward() -> object:
        model.eval()
        return model(clips)

    def training() -> object:
        model.train()
        loss = model(clips).pooled.float().square().mean()
        loss.backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        return loss.detach()

    return {"forward": forward, "training": training}


def fresh_encoder_step(kind: BenchKind, phase: Phase, frames: int, s: BenchSettings) -> Step:
    """One of ``encoder_steps`` for a process of its own, after a pass that makes the optimiser's state."""
    step = encoder_steps(kind, frames, s)[phase]
    step()
    return step
