"""Edge-sparse attention as dense attention under a mask: the oracle of the kernel, and what is faster than it
for short sequences. Both compute every pair; shapes and errors are those of ``edge_attention``."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from svitt.layers.edges import EdgePattern
from svitt.layers.relative_position import RelativePosition


def oracle_attention(
    q: Tensor, k: Tensor, v: Tensor, pattern: EdgePattern, position: RelativePosition | None = None
) -> tuple[Tensor, Tensor]:
    """Dense attention under an additive mask, in plain PyTorch; O(N^2) memory."""
    tokens = q.shape[2] - 1
    bias = _bias(q, pattern, position)
    k, v = _with_zero_key(pattern, k), _with_zero_key(pattern, v)
    scores = q.to(bias.dtype) @ k.to(bias.dtype).transpose(-2, -1) * q.shape[-1] ** -0.5 + bias
    probabilities = scores.softmax(dim=-1)
    return probabilities.to(q.dtype) @ v, probabilities[:, :, 0, : tokens + 1]


def masked_edge_attention(
    q: Tensor, k: Tensor, v: Tensor, pattern: EdgePattern, position: RelativePosition | None = None
) -> tuple[Tensor, Tensor]:
    """The same by PyTorch's fused kernels; the CLS row is computed once more, in float32."""
    with torch.autocast(q.device.type, enabled=False):
        bias = _bias(q, pattern, position)
        keys, values = _with_zero_key(pattern, k), _with_zero_key(pattern, v)
        out = F.scaled_dot_product_attention(q, keys, values, attn_mask=bias)
        scores = q[:, :, :1].to(bias.dtype) @ k.to(bias.dtype).transpose(-2, -1)  # (B, h, 1, 1+K)
        row = scores.squeeze(2) * q.shape[-1] ** -0.5
        if position is not None:
            row = row + position.cls_row()
        return out, row.softmax(dim=-1)


def _bias(q: Tensor, pattern: EdgePattern, position: RelativePosition | None) -> Tensor:
    """Added to all scores, (1 or B, 1 or h, 1+K, 1+K or 2+K), float32 at least; one more key for padding."""
    bias = pattern.log_counts(q.shape[2] - 1, q.device, torch.promote_types(q.dtype, torch.float32))
    if position is None:
        return bias[None, None]
    dense = position.dense()
    if pattern.attend_padding:  # the zero keys have the bias of "token to CLS"
        column = position.table[-2][:, None, None].expand(*dense.shape[:-1], 1)
        dense = torch.cat([dense, column], dim=-1)
    return dense.to(bias.dtype) + bias


def _with_zero_key(pattern: EdgePattern, x: Tensor) -> Tensor:
    return F.pad(x, (0, 0, 0, 1)) if pattern.attend_padding else x
