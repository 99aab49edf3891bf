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
from torch import Tensor, nn

from svitt.config import require
from svitt.layers.attention import SelfAttention
from svitt.layers.block import Block
from svitt.models.video_encoder import VideoEncoder


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
    for block, mask in zip(made.blocks, masks, strict=True):
        cast(Block, block).attn.restrict(mask)
    reference = next(encoder.parameters())
    return made.to(reference.device, reference.dtype).train(encoder.training)


def edge_density(masks: Sequence[Tensor]) -> float:
    """Share of all query-key pairs that are edges, mean over the layers."""
    return float(torch.stack([mask.double().mean() for mask in masks]).mean())


def masked_parameters(encoder: nn.Module) -> list[Tensor]:
    """The masks of a masked encoder, by layer."""
    attentions = (module for module in encoder.modules() if isinstance(module, SelfAttention))
    return [attention.mask for attention in attentions if attention.mask is not None]
