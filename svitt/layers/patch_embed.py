"""From frames to patch tokens: one linear map a patch, or a small convolution stem."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

Stem = Literal["patch", "conv"]


class PatchEmbed(nn.Module):
    """Frames (B, T, C, H, W) -> tokens (B, T*h*w, D), frame after frame, row after row.

    stem "patch": ``proj``, a linear map of every patch (BEiT; timm's key name).
    stem "conv": log2(patch_size) convolutions 3 x 3 of stride 2 with GELU between, each doubling the
        channels up to D. It sees edges across patch borders, which small models from scratch need.
    """

    def __init__(self, patch_size: int, in_channels: int, width: int, stem: Stem = "patch") -> None:
        super().__init__()
        self.patch_size = patch_size
        if stem == "patch":
            self.proj: nn.Module = nn.Conv2d(in_channels, width, patch_size, stride=patch_size)
            return
        steps = patch_size.bit_length() - 1
        channels = [in_channels] + [max(8, width >> (steps - 1 - i)) for i in range(steps - 1)] + [width]
        layers: list[nn.Module] = []
        for i in range(steps):
            layers += [nn.Conv2d(channels[i], channels[i + 1], 3, stride=2, padding=1), nn.GELU()]
        self.proj = nn.Sequential(*layers[:-1])

    def forward(self, clips: Tensor) -> Tensor:
        """clips (B, T, C, H, W) -> (B, T*h*w, D)."""
        batch = clips.shape[0]
        x = self.proj(clips.flatten(0, 1))  # (B*T, D, h, w)
        # (B*T, D, h*w) -> (B*T, h*w, D) -> (B, T*h*w, D)
        return x.flatten(2).transpose(1, 2).reshape(batch, -1, x.shape[1])
