"""Multi-head self-attention over one CLS token and the patch tokens of all frames."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from svitt.config import require
from svitt.layers.edge_sparse_attention import Backend, edge_attention
from svitt.layers.edges import EdgePattern
from svitt.layers.relative_position import Grid, RelativePosition, code_offset, table_rows


def dense_attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
    """softmax(q k^T / sqrt(d) + bias) v by PyTorch's fused kernels.

    q, k, v (B, h, N, d); bias broadcastable to (B, h, N, N). Returns (B, h, N, d), in the dtype of q.
    """
    return F.scaled_dot_product_attention(q, k, v, attn_mask=None if bias is None else bias.to(q.dtype))


def reference_attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The same, written out; returns the output (B, h, N, d) and the probabilities (B, h, N, N)."""
    scores = q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5
    if bias is not None:
        scores = scores + bias
    probabilities = scores.softmax(dim=-1)
    return probabilities @ v, probabilities


def cls_attention(
    q: Tensor, k: Tensor, position: RelativePosition | None = None, bias: Tensor | None = None
) -> Tensor:
    """Probabilities of the CLS query, token 0, over all keys: (B, h, N), from q, k (B, h, N, d).

    In float32, or float64 for float64 inputs: it ranks tokens (SViTT section 3.3). With a position
    of K codes N is 1+K. bias: broadcastable to (B, h, N), added to the scaled scores.
    """
    dtype = torch.promote_types(q.dtype, torch.float32)
    product = q[:, :, :1].to(dtype) @ k.to(dtype).transpose(-2, -1)
    scores = product.squeeze(2) * q.shape[-1] ** -0.5  # (B, h, N)
    if position is not None:
        scores = scores + position.cls_row()
    if bias is not None:
        scores = scores + bias
    return scores.softmax(dim=-1)


def masked_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor,
    position: RelativePosition | None = None,
    need_cls: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Attention along given edges: softmax over the keys that ``mask`` (N, N), bool, allows a query (a row).

    q, k, v (B, h, N, d). Dense, for short sequences: any graph, where block tables know only some. Returns
    the output (B, h, N, d) and, if ``need_cls``, the CLS row of the probabilities (B, h, N), in float32 at
    least.
    """
    dtype = torch.promote_types(q.dtype, torch.float32)
    bias = torch.zeros_like(mask, dtype=dtype).masked_fill(~mask, float("-inf"))  # (N, N)
    if position is not None:
        bias = bias + position.dense().to(dtype)
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
    row = None
    if need_cls:
        scores = q[:, :, :1].to(dtype) @ k.to(dtype).transpose(-2, -1) * q.shape[-1] ** -0.5  # (B, h, 1, N)
        row = (scores + bias[..., :1, :]).softmax(dim=-1).squeeze(2)
    return out, row


class SelfAttention(nn.Module):
    """BEiT's attention: query and value have a bias, the key has none (it would change nothing).

    grid: (T, H, W) of the relative position bias table; None has no bias table.
    backend: of edge-sparse attention, see ``edge_attention``; the default is the same on every machine.
    Key names are timm's: ``qkv``, ``q_bias``, ``v_bias``, ``relative_position_bias_table``, ``proj``.
    """

    k_bias: Tensor
    mask: Tensor | None

    def __init__(
        self, width: int, num_heads: int, grid: Grid | None = None, backend: Backend = "chunked"
    ) -> None:
        super().__init__()
        self.num_heads, self.grid, self.backend = num_heads, grid, backend
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.q_bias = nn.Parameter(torch.zeros(width))
        self.v_bias = nn.Parameter(torch.zeros(width))
        self.register_buffer("k_bias", torch.zeros(width), persistent=False)
        self.proj = nn.Linear(width, width)
        table = None if grid is None else nn.Parameter(torch.zeros(table_rows(grid), num_heads))
        self.relative_position_bias_table = table
        self.register_buffer("mask", None, persistent=False)

    def restrict(self, mask: Tensor) -> None:
        """From now on a query (row) attends to a key (column) only where ``mask`` (N, N), bool, is true; CLS
        stands first. Errors: ConfigError for another shape or type, or a row without an edge: its softmax
        has no value."""
        square = mask.ndim == 2 and mask.shape[0] == mask.shape[1] and mask.dtype == torch.bool
        require(square, "mask", f"{mask.dtype} {tuple(mask.shape)}", "bool (1+K, 1+K)")
        rows = mask.any(dim=1)
        empty = int((~rows).nonzero()[0]) if not bool(rows.all()) else None
        require(empty is None, "mask", f"row {empty} without an edge", "at least one key for every query")
        self.mask = mask

    def forward(
        self,
        x: Tensor,
        codes: Tensor | None = None,
        pattern: EdgePattern | None = None,
        need_cls: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """x (B, N, D), CLS first; codes (N-1,) or (B, N-1), needed with a bias table; no pattern is dense,
        or along the mask of ``restrict``.

        Returns (B, N, D) and, if ``need_cls``, the CLS row of the attention (B, h, N).
        Errors: ConfigError for a pattern beside a mask, or a mask for another N; ValueError for a bias table
        without codes, or a pattern made for another number of tokens.
        """
        batch, n, width = x.shape
        if self.mask is not None:
            size = len(self.mask)
            require(pattern is None, "pattern", pattern, "none: the mask says which edges there are")
            require(n == size, "x", f"{n} tokens", f"{size} tokens, as many as the mask has")
        bias = torch.cat([self.q_bias, self.k_bias, self.v_bias])
        qkv = F.linear(x, self.qkv.weight, bias).view(batch, n, 3, self.num_heads, -1)  # (B, N, 3, h, d)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # (B, h, N, d) each
        position = None
        if self.relative_position_bias_table is not None and self.grid is not None:
            if codes is None:
                raise ValueError("attention with a relative position bias needs the codes of its tokens")
            position = RelativePosition(self.relative_position_bias_table, codes, code_offset(self.grid))
        row: Tensor | None
        if self.mask is not None:
            out, row = masked_attention(q, k, v, self.mask, position, need_cls)
        elif pattern is None:
            out = dense_attention(q, k, v, None if position is None else position.dense())
            row = cls_attention(q, k, position) if need_cls else None
        else:
            out, row = edge_attention(q, k, v, pattern, position, backend=self.backend)
        # (B, h, N, d) -> (B, N, h, d) -> (B, N, D): the heads side by side.
        return self.proj(out.transpose(1, 2).reshape(batch, n, width)), row if need_cls else None
