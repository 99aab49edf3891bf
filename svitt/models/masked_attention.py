"""A video encoder whose attention is restricted to any set of edges, one boolean matrix a layer.

The edge-sparse kernel knows patterns of blocks behind a CLS token that sees all and is seen by all. For
controls that no block table can express (tokens that may not read the CLS token, for one) every layer
gets its adjacency matrix written down: dense attention with a mask, meant for clips of a few hundred
tokens. On patterns that both can express the two agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from svitt.config import require
from svitt.layers.attention import SelfAttention
from svitt.layers.block import Block
from svitt.layers.edges import EdgePattern
from svitt.layers.relative_position import Grid, RelativePosition, code_offset
from svitt.models.video_encoder import VideoEncoder


class MaskedAttention(SelfAttention):
    """``SelfAttention`` over given edges; same parameters, same key names.

    mask: (1+K, 1+K) bool, true where the query (row) attends to the key (column); CLS stands first. A row
    without an edge is refused: its softmax has no value.
    """

    mask: Tensor

    def __init__(self, width: int, num_heads: int, grid: Grid | None, mask: Tensor) -> None:
        super().__init__(width, num_heads, grid)
        square = mask.ndim == 2 and mask.shape[0] == mask.shape[1] and mask.dtype == torch.bool
        require(square, "mask", f"{mask.dtype} {tuple(mask.shape)}", "bool (1+K, 1+K)")
        rows = mask.any(dim=1)
        empty = int((~rows).nonzero()[0]) if not bool(rows.all()) else None
        require(empty is None, "mask", f"row {empty} without an edge", "at least one key for every query")
        self.register_buffer("mask", mask, persistent=False)

    def forward(
        self,
        x: Tensor,
        codes: Tensor | None = None,
        pattern: EdgePattern | None = None,
        need_cls: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """x (B, 1+K, D), CLS first; codes (K,), needed with a bias table; ``pattern`` has no place here.

        Returns (B, 1+K, D) and, if ``need_cls``, the CLS row of the attention (B, h, 1+K).
        """
        batch, n, width = x.shape
        require(pattern is None, "pattern", pattern, "none: the mask says which edges there are")
        require(n == len(self.mask), "x", f"{n} tokens", f"{len(self.mask)} tokens, as many as the mask has")
        bias = torch.cat([self.q_bias, self.k_bias, self.v_bias])
        qkv = F.linear(x, self.qkv.weight, bias).view(batch, n, 3, self.num_heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # (B, h, N, d) each
        scores_bias = torch.zeros_like(self.mask, dtype=q.dtype).masked_fill(~self.mask, float("-inf"))
        if self.relative_position_bias_table is not None and self.grid is not None:
            if codes is None:
                raise ValueError("attention with a relative position bias needs the codes of its tokens")
            position = RelativePosition(self.relative_position_bias_table, codes, code_offset(self.grid))
            scores_bias = scores_bias + position.dense().to(q.dtype)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=scores_bias)
        row = None
        if need_cls:
            scores = q[:, :, :1] @ k.transpose(-2, -1) * q.shape[-1] ** -0.5
            row = (scores + scores_bias[..., :1, :]).softmax(dim=-1).squeeze(2)
        return self.proj(out.transpose(1, 2).reshape(batch, n, width)), row


def with_masks(encoder: VideoEncoder, masks: Sequence[Tensor]) -> VideoEncoder:
    """A copy of ``encoder`` that attends along ``masks``, one (1+K, 1+K) bool matrix a layer.

    The copy has weights of its own, no edges in its configuration, and takes clips of K patch tokens
    only. Errors: ConfigError for the wrong number of masks, an encoder that prunes tokens (its layers see
    different tokens), or a mask that is no matrix of edges.
    """
    config = encoder.config
    require(len(masks) == config.depth, "masks", len(masks), f"{config.depth}, one a layer")
    require(config.nodes is None, "nodes", config.nodes, "none: a mask has one row for every patch token")
    made = VideoEncoder(replace(config, edges=None))
    made.load_state_dict(encoder.state_dict())
    grid = config.grid if config.position == "relative_3d" else None
    for block, mask in zip(made.blocks, masks, strict=True):
        attention = MaskedAttention(config.width, config.num_heads, grid, mask)
        attention.load_state_dict(cast(Block, block).attn.state_dict())
        block.attn = attention
    reference = next(encoder.parameters())
    return made.to(reference.device, reference.dtype).train(encoder.training)


def edge_density(masks: Sequence[Tensor]) -> float:
    """Share of all query-key pairs that are edges, mean over the layers."""
    return float(torch.stack([mask.double().mean() for mask in masks]).mean())


def masked_parameters(encoder: nn.Module) -> list[Tensor]:
    """The masks of a masked encoder, by layer."""
    return [module.mask for module in encoder.modules() if isinstance(module, MaskedAttention)]
