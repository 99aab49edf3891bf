"""The score of tokens in models without CLS: what their pooling head attends to (SigLIP)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from svitt.layers.attention import cls_attention


def pooling_row(model: Any) -> Callable[[Tensor], Tensor] | None:
    """For a timm model without CLS whose head is an ``AttentionPoolLatent``: patch tokens after a block
    (B, K, D) -> the attention that the latents pay them behind the final norm, (B, K), mean over heads and
    latents. None for other models."""
    pool = getattr(model, "attn_pool", None)
    if getattr(model, "cls_token", None) is not None or not hasattr(pool, "latent"):
        return None

    @torch.no_grad()
    def row(patches: Tensor) -> Tensor:
        assert pool is not None
        x = model.norm(patches)
        width = pool.kv.out_features // 2
        bias = None if pool.kv.bias is None else pool.kv.bias[:width]
        k = F.linear(x, pool.kv.weight[:width], bias)
        return _row(pool.q_norm(_heads(pool.q(pool.latent), pool)), pool.k_norm(_heads(k, pool)))

    return row


def probe_row(head: Any, norm: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """The same of transformers' pooling head: a ``probe`` and a ``torch.nn.MultiheadAttention``."""

    @torch.no_grad()
    def row(patches: Tensor) -> Tensor:
        attention = head.attention
        weight_q, weight_k, _ = attention.in_proj_weight.chunk(3)
        bias_q, bias_k, _ = attention.in_proj_bias.chunk(3)
        q = F.linear(head.probe, weight_q, bias_q)
        k = F.linear(norm(patches), weight_k, bias_k)
        return _row(_heads(q, attention), _heads(k, attention))

    return row


def _heads(x: Tensor, attention: Any) -> Tensor:
    """(B, N, D) -> (B, h, N, d)."""
    return x.unflatten(-1, (attention.num_heads, -1)).transpose(1, 2)


def _row(q: Tensor, k: Tensor) -> Tensor:
    rows = [cls_attention(q[:, :, i : i + 1], k) for i in range(q.shape[2])]
    return torch.stack(rows).mean(dim=(0, 2))
