"""One pre-norm transformer layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from svitt.layers.attention import SelfAttention
from svitt.layers.drop_path import DropPath
from svitt.layers.edge_sparse_attention import Backend
from svitt.layers.edges import EdgePattern
from svitt.layers.mlp import Mlp
from svitt.layers.relative_position import Grid


class Block(nn.Module):
    """x + gamma_1 attention(norm1(x)), then x + gamma_2 mlp(norm2(x)); timm's BEiT key names.

    layer_scale: start value of gamma_1 and gamma_2; None leaves them out.
    """

    def __init__(
        self,
        width: int,
        num_heads: int,
        mlp_ratio: float = 4.0,
        grid: Grid | None = None,
        layer_scale: float | None = None,
        norm_eps: float = 1e-12,
        drop_path: float = 0.0,
        backend: Backend = "chunked",
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=norm_eps)
        self.attn = SelfAttention(width, num_heads, grid, backend)
        self.norm2 = nn.LayerNorm(width, eps=norm_eps)
        self.mlp = Mlp(width, round(width * mlp_ratio))
        self.drop_path = DropPath(drop_path) if drop_path > 0 else nn.Identity()
        scales = [
            None if layer_scale is None else nn.Parameter(torch.full((width,), layer_scale)) for _ in "12"
        ]
        self.gamma_1, self.gamma_2 = scales

    def forward(
        self,
        x: Tensor,
        codes: Tensor | None = None,
        pattern: EdgePattern | None = None,
        need_cls: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """x (B, N, D) -> (B, N, D) and the CLS row of the attention (B, h, N) if ``need_cls``.

        codes, pattern and errors as ``SelfAttention.forward``.
        """
        out, row = self.attn(self.norm1(x), codes, pattern, need_cls)
        x = x + self.drop_path(out if self.gamma_1 is None else self.gamma_1 * out)
        out = self.mlp(self.norm2(x))
        return x + self.drop_path(out if self.gamma_2 is None else self.gamma_2 * out), row
