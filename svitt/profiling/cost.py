"""FLOPs of the video encoder, counted on paper: nothing is computed and no tensor is made.

One multiply-add is two FLOPs. Counted are matrix products and convolutions, as in
``torch.utils.flop_counter``; norms, softmax, GELU, the look-up of the position bias and the sorting of
scores are not. Where a kernel computes a block of which part is masked (a last short block), all of it
counts: it is work that is done.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from svitt.config import require
from svitt.layers.edges import EdgeSparsity, num_blocks
from svitt.layers.token_pruning import find_score, num_kept
from svitt.models.video_encoder import VideoEncoderConfig

# Backward over forward. A linear map has two gradients, of input and weight. Fused dense attention and the
# edge-sparse kernel recompute the scores: five products for the forward's two. The patch embedding's
# input, the clip, needs no gradient, and the CLS row that scores tokens for pruning is not differentiated.
LINEAR_BACKWARD = 2.0
ATTENTION_BACKWARD = 2.5


@dataclass(frozen=True)
class LayerCost:
    """Forward FLOPs of one transformer layer on ``tokens`` tokens, CLS included.

    keys: that the kernel computes for each patch token. qkv, proj, mlp: linear maps. attention: the
    products q k^T and p v. cls_row: the CLS row computed beside dense attention to score tokens; an
    edge-sparse layer has it for free.
    """

    tokens: int
    keys: int
    qkv: int
    attention: int
    cls_row: int
    proj: int
    mlp: int

    @property
    def linear(self) -> int:
        """The part that edge sparsity cannot touch."""
        return self.qkv + self.proj + self.mlp

    @property
    def total(self) -> int:
        return self.linear + self.attention + self.cls_row


@dataclass(frozen=True)
class EncoderCost:
    """Forward FLOPs of a video encoder: the patch embedding (or its convolutions) and every layer.

    first_input: the part of ``patch_embed`` whose input is the clip and needs no gradient.
    """

    patch_embed: int
    first_input: int
    layers: tuple[LayerCost, ...]

    @property
    def attention(self) -> int:
        """The products with keys and values of all layers, CLS rows included."""
        return sum(layer.attention + layer.cls_row for layer in self.layers)

    @property
    def linear(self) -> int:
        """All linear maps: patch embedding, qkv, projection, MLP."""
        return self.patch_embed + sum(layer.linear for layer in self.layers)

    @property
    def total(self) -> int:
        return self.attention + self.linear

    @property
    def training(self) -> int:
        """FLOPs of forward and backward, with attention kernels that recompute the scores.

        Dense attention whose bias needs a gradient keeps the scores instead and has four products in its
        backward, not five; that case costs ``attention / 2`` less than stated here.
        """
        products = sum(layer.attention for layer in self.layers)
        backward = LINEAR_BACKWARD * self.linear - self.first_input + ATTENTION_BACKWARD * products
        return self.total + round(backward)

    def parts(self) -> Mapping[str, int]:
        """Forward FLOPs by part; they add up to ``total``."""
        return {
            "patch embedding": self.patch_embed,
            "query, key, value": sum(layer.qkv for layer in self.layers),
            "attention": self.attention,
            "projection": sum(layer.proj for layer in self.layers),
            "MLP": sum(layer.mlp for layer in self.layers),
        }


def computed_keys(edges: EdgeSparsity | None, tokens: int) -> int:
    """Keys that the kernel computes for each of ``tokens`` patch tokens, CLS included; None is dense.

    The widest row of the block table decides: narrower ones, at the ends of the local window, are
    filled up with masked places.
    """
    if edges is None:
        return tokens + 1
    blocks = num_blocks(tokens, edges.block_size)
    half = edges.num_local_blocks // 2
    widest = 0
    for block in range(blocks):
        local = min(block, half) + 1 + min(blocks - 1 - block, half) if edges.num_local_blocks else 0
        widest = max(widest, local + min(edges.num_random_blocks, blocks - local))
    return 1 + widest * edges.block_size


def attention_cost(tokens: int, width: int, edges: EdgeSparsity | None = None, batch: int = 1) -> int:
    """Forward FLOPs of one attention, heads together ``width`` wide, over CLS and ``tokens`` patch tokens.

    Only q k^T and p v; CLS sees and is seen by all (SViTT section 3.2).
    """
    require(tokens >= 1, "tokens", tokens, "integers from 1")
    return 4 * batch * width * (tokens * computed_keys(edges, tokens) + tokens + 1)


def encoder_cost(config: VideoEncoderConfig, num_frames: int | None = None, batch: int = 1) -> EncoderCost:
    """Forward FLOPs of ``VideoEncoder(config)`` on ``batch`` clips of ``num_frames`` (default: the most).

    Errors: ConfigError for a clip longer than the encoder takes.
    """
    c = config
    frames = c.num_frames if num_frames is None else num_frames
    allowed = f"1 to num_frames = {c.num_frames} of the encoder"
    require(isinstance(frames, int) and 1 <= frames <= c.num_frames, "num_frames", frames, allowed)
    require(batch >= 1, "batch", batch, "integers from 1")
    embed, first = _stem_cost(c)
    tokens = frames * c.grid[1] * c.grid[2]
    hidden = round(c.width * c.mlp_ratio)
    layers = []
    for i in range(c.depth):
        prunes = c.nodes is not None and i in c.nodes.prune_layers
        scored = prunes and c.nodes is not None and "cls_row" in find_score(c.nodes.selection).needs
        n = tokens + 1
        layers.append(
            LayerCost(
                tokens=n,
                keys=computed_keys(c.edges, tokens),
                qkv=6 * batch * n * c.width**2,
                attention=attention_cost(tokens, c.width, c.edges, batch),
                cls_row=2 * batch * n * c.width if scored and c.edges is None else 0,
                proj=2 * batch * n * c.width**2,
                mlp=4 * batch * n * c.width * hidden,
            )
        )
        if prunes and c.nodes is not None:
            tokens = num_kept(tokens, c.nodes.keep_rate)
    return EncoderCost(embed * batch * frames, first * batch * frames, tuple(layers))


def _stem_cost(c: VideoEncoderConfig) -> tuple[int, int]:
    """FLOPs a frame of the patch embedding, and of that part of it that reads the frame itself."""
    if c.stem == "patch":
        cost = 2 * c.grid[1] * c.grid[2] * c.patch_size**2 * c.in_channels * c.width
        return cost, cost
    steps = c.patch_size.bit_length() - 1
    channels = [c.in_channels, *(max(8, c.width >> (steps - 1 - i)) for i in range(steps - 1)), c.width]
    costs = [2 * (c.image_size >> (i + 1)) ** 2 * 9 * channels[i] * channels[i + 1] for i in range(steps)]
    return sum(costs), costs[0]
