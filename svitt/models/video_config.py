"""How large and how sparse a video encoder is."""

from __future__ import annotations

import typing
from dataclasses import dataclass
from typing import Literal

from svitt.config import require
from svitt.layers.edges import EdgeSparsity
from svitt.layers.patch_embed import Stem
from svitt.layers.token_pruning import NodeSparsity

Position = Literal["relative_3d", "absolute"]
Pooling = Literal["mean", "cls"]


@dataclass(frozen=True)
class VideoEncoderConfig:
    """A BEiT-style video transformer (SViTT section 3; the defaults are BEiT-B/16 on 4 frames).

    image_size, patch_size: pixels. num_frames: the most frames of a clip.
    width, depth, num_heads, mlp_ratio: sizes of the transformer.
    stem: "patch", one linear map a patch, or "conv", 3 x 3 convolutions of stride 2 (patch_size must
        be a power of two).
    position: "relative_3d", a bias table per layer, or "absolute", a learnt space-time embedding
        that starts as low-frequency cosines times position_scale.
    layer_scale: start value of the residual scales; None leaves them out.
    pooling: "mean", LayerNorm of the mean patch token, or "cls", the normed CLS token.
    init_std: of the truncated normal of all weights; None takes Xavier's uniform (small widths).
    edges, nodes: None is dense.
    """

    image_size: int = 224
    patch_size: int = 16
    num_frames: int = 4
    width: int = 768
    depth: int = 12
    num_heads: int = 12
    mlp_ratio: float = 4.0
    in_channels: int = 3
    stem: Stem = "patch"
    position: Position = "relative_3d"
    position_scale: float = 0.5
    layer_scale: float | None = 0.1
    norm_eps: float = 1e-12
    pooling: Pooling = "mean"
    drop_path: float = 0.0
    init_std: float | None = 0.02
    edges: EdgeSparsity | None = None
    nodes: NodeSparsity | None = None

    def __post_init__(self) -> None:
        for field in ("image_size", "patch_size", "num_frames", "width", "depth", "num_heads", "in_channels"):
            n = getattr(self, field)
            require(isinstance(n, int) and n >= 1, field, n, "integers from 1")
        require(
            self.image_size % self.patch_size == 0,
            "image_size",
            self.image_size,
            f"multiples of patch_size = {self.patch_size}",
        )
        require(
            self.width % self.num_heads == 0,
            "width",
            self.width,
            f"multiples of num_heads = {self.num_heads}",
        )
        for field, kind in (("stem", Stem), ("position", Position), ("pooling", Pooling)):
            known = typing.get_args(kind)
            require(getattr(self, field) in known, field, getattr(self, field), ", ".join(known))
        n = self.patch_size
        require(
            self.stem != "conv" or (n >= 2 and n & (n - 1) == 0),
            "patch_size",
            n,
            "powers of 2 with stem = 'conv'",
        )
        for field in ("mlp_ratio", "position_scale", "norm_eps"):
            require(getattr(self, field) > 0, field, getattr(self, field), "numbers above 0")
        for field in ("layer_scale", "init_std"):
            value = getattr(self, field)
            require(value is None or value > 0, field, value, "numbers above 0, or none")
        require(0 <= self.drop_path < 1, "drop_path", self.drop_path, "0 <= drop_path < 1")
        if self.nodes is not None:
            last = max(self.nodes.prune_layers, default=-1)
            require(
                last < self.depth,
                "nodes.prune_layers",
                self.nodes.prune_layers,
                f"below depth = {self.depth}",
            )

    @property
    def grid(self) -> tuple[int, int, int]:
        """(frames, rows, columns) of the patch tokens of a full clip."""
        side = self.image_size // self.patch_size
        return self.num_frames, side, side
