"""Edge-sparse attention of the patch tokens, chunk by chunk: forward, and backward that computes it anew.

CLS as a query sees everything: it is no part of this.
"""

from __future__ import annotations

import torch
from torch import Tensor

from svitt.layers._edge_kernel import ChunkPlan


def forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    table: Tensor | None,
    codes: Tensor | None,
    blocks: Tensor,
    block_size: int,
    offset: int,
    attend_padding: bool,
) -> Tensor:
    """Output (B, h, 1+K, d), whose CLS row is left empty."""
    plan = ChunkPlan(q, table, codes, blocks, block_size, offset, attend_padding)
    out = torch.empty(q.shape, dtype=q.dtype, device=q.device)
    key_buffer, value_buffer, score_buffer = plan.buffers(plan.value_dtype)
    keys = values = None
    for group in plan.groups():
        keys = plan.take(k, group, keys, plan.operand_dtype)
        values = plan.take(v, group, values, plan.value_dtype)
        for chunk in plan.chunks(group):
            key, value = plan.gather(keys, chunk, key_buffer), plan.gather(values, chunk, value_buffer)
            p = plan.probabilities(plan.queries(q, group, chunk), key, group, chunk, score_buffer)
            target = out[group.samples, group.heads, chunk.queries]
            target.copy_(torch.bmm(p.to(plan.value_dtype), value).view(target.shape))
    return out


def backward(
    grad: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    table: Tensor | None,
    codes: Tensor | None,
    blocks: Tensor,
    block_size: int,
    offset: int,
    attend_padding: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Gradients of q, k and v (B, h, 1+K, d), without what CLS asks, and of the table (heads, R).

    That of q is in its dtype with an empty CLS row, the others are in float32 at least.
    """
    plan = ChunkPlan(q, table, codes, blocks, block_size, offset, attend_padding)
    grad_q = torch.empty(q.shape, dtype=q.dtype, device=q.device)
    # A key is seen by many blocks: its gradient is summed in float32 at least. With padding the
    # zero key has a row, and a gradient that is dropped.
    n = q.shape[2]
    padded = (plan.batch, plan.heads, n + int(plan.any_padded), plan.dim)
    grad_k, grad_v = (torch.zeros(padded, dtype=plan.dtype, device=q.device) for _ in "kv")
    grad_table = None if plan.table is None else torch.zeros_like(plan.table)
    key_buffer, value_buffer, score_buffer = plan.buffers(plan.operand_dtype)
    small = plan.gradient_dtype
    nothing = q.new_empty(1, 1, 1, dtype=small)
    scale = plan.dim**-0.5
    keys = values = None
    for group in plan.groups():
        keys = plan.take(k, group, keys, plan.operand_dtype)
        values = plan.take(v, group, values, plan.operand_dtype)
        sums = [g[group.samples, group.heads].view(group.units, -1, plan.dim) for g in (grad_k, grad_v)]
        for chunk in plan.chunks(group):
            key, value = plan.gather(keys, chunk, key_buffer), plan.gather(values, chunk, value_buffer)
            query, upstream = plan.queries(q, group, chunk), plan.queries(grad, group, chunk)
            p = plan.probabilities(query, key, group, chunk, score_buffer)
            grad_p = plan.product(upstream, value.transpose(1, 2))
            grad_s = torch._softmax_backward_data(grad_p, p, -1, plan.dtype)
            if grad_table is not None and chunk.index is not None:
                _add_table_gradient(grad_table[group.heads], grad_s, chunk.index)
            query, key, upstream, p, grad_s = (x.to(small) for x in (query, key, upstream, p, grad_s))
            target = grad_q[group.samples, group.heads, chunk.queries]
            # beta = 0: only the product, scaled on the way.
            product = torch.baddbmm(nothing, grad_s, key, beta=0, alpha=scale)
            target.copy_(product.view(target.shape))
            per_key = torch.baddbmm(nothing, grad_s.transpose(1, 2), query, beta=0, alpha=scale)
            per_value = torch.bmm(p.transpose(1, 2), upstream)
            for total, part in zip(sums, (per_key, per_value), strict=True):
                total.index_add_(1, chunk.rows, part.view(group.units, -1, plan.dim).to(plan.dtype))
    return grad_q, grad_k[:, :, :n], grad_v[:, :, :n], None if grad_table is None else grad_table[:, :-1]


def _add_table_gradient(grad_table: Tensor, grad_s: Tensor, index: Tensor) -> None:
    """Adds the score gradients to their bias table rows: (heads, R+1), in place.

    int64 on purpose: ``index_add_`` with int32 indices is about eight times slower.
    """
    per_sample = grad_s.view(-1, grad_table.shape[0], index.shape[1])  # (samples, heads, pairs)
    if index.shape[0] == 1:
        grad_table.index_add_(
            1, index[0].long(), per_sample.sum(dim=0) if len(per_sample) > 1 else per_sample[0]
        )
        return
    for gradient, rows in zip(per_sample, index, strict=True):
        grad_table.index_add_(1, rows.long(), gradient)
