"""Dense attention whose position bias was written down once, before: the kindest way to have one.

In a model that is served the bias does not change, so nobody makes it anew at every call. It is a constant
here: it gets no gradient, as in a model that is tuned with its table frozen. It is kept for every layer:
heads x (1+K) x (1+K) numbers, 118 MB a layer for ViT-B at 8 frames, 472 MB at 16.
"""

from __future__ import annotations

from functools import partial
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from svitt.config import require
from svitt.layers.attention import SelfAttention, dense_attention
from svitt.layers.block import Block
from svitt.layers.edges import EdgePattern
from svitt.layers.relative_position import RelativePosition, code_offset, position_codes
from svitt.models.video_encoder import VideoEncoder
from svitt.profiling.cases import AttentionInputs, Phase, Step


class FixedBias(nn.Module):
    """A layer's dense attention with its bias (1, h, 1+K, 1+K) as a constant; its table is gone.

    attention: whose weights it takes over. codes: (K,) of the tokens it will see.
    """

    bias: Tensor

    def __init__(self, attention: SelfAttention, codes: Tensor) -> None:
        super().__init__()
        table, grid = attention.relative_position_bias_table, attention.grid
        if table is None or grid is None:
            raise ValueError("attention without a bias table has no bias to write down")
        with torch.no_grad():
            bias = RelativePosition(table, codes, code_offset(grid)).dense().contiguous()
        self.register_buffer("bias", bias, persistent=False)
        attention.relative_position_bias_table = None
        self.attention = attention

    def forward(
        self,
        x: Tensor,
        codes: Tensor | None = None,
        pattern: EdgePattern | None = None,
        need_cls: bool = False,
    ) -> tuple[Tensor, None]:
        """x (B, 1+K, D) -> (B, 1+K, D); called as ``SelfAttention``, of a dense layer that prunes nothing."""
        a = self.attention
        qkv = F.linear(x, a.qkv.weight, torch.cat([a.q_bias, a.k_bias, a.v_bias]))
        # (B, N, 3 h d) -> (B, h, N, d) each
        q, k, v = qkv.unflatten(-1, (3, a.num_heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        out: Tensor = a.proj(dense_attention(q, k, v, self.bias).transpose(1, 2).flatten(2))
        return out, None


def write_bias_down(encoder: VideoEncoder, frames: int) -> VideoEncoder:
    """Gives every layer of a dense encoder its bias for clips of ``frames`` as a constant, in place.

    Errors: ConfigError for an encoder that is sparse, or has no such bias.
    """
    c = encoder.config
    require(c.edges is None and c.nodes is None, "edges, nodes", (c.edges, c.nodes), "none: a dense encoder")
    require(c.position == "relative_3d", "position", c.position, "relative_3d")
    device = next(encoder.parameters()).device
    for block in encoder.blocks:
        layer = cast(Block, block)
        layer.attn = FixedBias(layer.attn, position_codes(c.grid, frames, device))  # type: ignore[assignment]
    return encoder


def attention_once_step(phase: Phase, x: AttentionInputs) -> Step:
    """One pass of dense attention, the bias of ``x`` a constant; "training" has gradients of q, k, v."""
    bias = x.position.dense().detach().to(x.q.dtype).contiguous()

    def forward() -> Tensor:
        return dense_attention(x.q, x.k, x.v, bias)

    if phase == "forward":
        return partial(torch.no_grad()(forward))
    return lambda: torch.autograd.grad(forward(), (x.q, x.k, x.v), x.upstream)
