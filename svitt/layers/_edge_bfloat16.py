"""Edge-sparse attention of bfloat16 on the CPU: ``_edge_chunked`` without what costs time and gains nothing.

The softmax is in base 2, which PyTorch computes several times faster, and its sums are kept for the backward
of an attention without bias. With one ``_edge_chunked`` does it: the gradient of the table is in float32, and
where scores are in the hundreds the probabilities here are exact to a few 1e-5 only.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from svitt.layers._edge_kernel import Chunk, ChunkPlan, Group

LOG2_E = math.log2(math.e)


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
) -> tuple[Tensor, Tensor]:
    """Output (B, h, 1+K, d), whose CLS row is left empty, and minus log2 of the sums of exponentials
    (B, h, K), float32."""
    plan = ChunkPlan(q, table, codes, blocks, block_size, offset, attend_padding)
    columns = None if plan.table is None else plan.table * LOG2_E
    scale, nothing = plan.dim**-0.5 * LOG2_E, q.new_empty(1, 1, 1, dtype=plan.dtype)
    out = torch.empty(q.shape, dtype=q.dtype, device=q.device)
    logs = torch.empty(*q.shape[:2], plan.tokens, dtype=plan.dtype, device=q.device)
    key_buffer, value_buffer, score_buffer = plan.buffers(plan.value_dtype)
    keys = values = None
    for group in plan.groups():
        keys = plan.take(k, group, keys, plan.operand_dtype)
        values = plan.take(v, group, values, plan.value_dtype)
        for chunk in plan.chunks(group):
            key, value = plan.gather(keys, chunk, key_buffer), plan.gather(values, chunk, value_buffer)
            query = plan.queries(q, group, chunk)
            if columns is None:
                p = plan.view(group, chunk, query.shape[1], score_buffer)
                with plan.exactly():
                    torch.baddbmm(nothing, query, key.transpose(1, 2), beta=0, alpha=scale, out=p)
                plan.mask(p, chunk)
            else:
                p = plan.start(group, chunk, columns, query.shape[1], score_buffer)
                with plan.exactly():
                    p.baddbmm_(query, key.transpose(1, 2), alpha=scale)
            largest = p.amax(dim=-1, keepdim=True)
            total = p.sub_(largest).exp2_().sum(dim=-1, keepdim=True)
            p = p.mul_(total.reciprocal()).to(plan.value_dtype)
            part = _of_queries(logs, group, chunk)
            part.copy_(total.log2_().add_(largest).neg_().view(part.shape))
            target = out[group.samples, group.heads, chunk.queries]
            target.copy_(torch.bmm(p, value).view(target.shape))
    return out, logs


def backward(
    grad: Tensor,
    logs: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    blocks: Tensor,
    block_size: int,
    attend_padding: bool,
) -> tuple[Tensor, Tensor, Tensor, None]:
    """Gradients of q, k and v as ``_edge_chunked.backward`` gives them; ``logs`` from ``forward``."""
    plan = ChunkPlan(q, None, None, blocks, block_size, 0, attend_padding)
    n, small, scale = q.shape[2], plan.gradient_dtype, plan.dim**-0.5
    padded = (plan.batch, plan.heads, n + int(plan.any_padded), plan.dim)
    grad_q = torch.empty(q.shape, dtype=q.dtype, device=q.device)
    grad_k, grad_v = (torch.zeros(padded, dtype=plan.dtype, device=q.device) for _ in "kv")
    key_buffer, value_buffer, score_buffer = plan.buffers(plan.operand_dtype)
    nothing = q.new_empty(1, 1, 1, dtype=small)
    keys = values = None
    for group in plan.groups():
        keys = plan.take(k, group, keys, plan.operand_dtype)
        values = plan.take(v, group, values, plan.operand_dtype)
        sums = [g[group.samples, group.heads].view(group.units, -1, plan.dim) for g in (grad_k, grad_v)]
        for chunk in plan.chunks(group):
            key, value = plan.gather(keys, chunk, key_buffer), plan.gather(values, chunk, value_buffer)
            query, upstream = (plan.queries(x, group, chunk, small) for x in (q, grad))
            p = plan.view(group, chunk, query.shape[1], score_buffer)
            p.copy_(_of_queries(logs, group, chunk).reshape(len(p), -1, 1))
            with plan.exactly():
                p.baddbmm_(query.to(plan.dtype), key.transpose(1, 2), alpha=scale * LOG2_E)
                grad_p = torch.bmm(upstream.to(plan.dtype), value.transpose(1, 2))
            plan.mask(p, chunk)
            grad_s = torch._softmax_backward_data(grad_p, p.exp2_(), -1, plan.dtype)
            key, p, grad_s = (x.to(small) for x in (key, p, grad_s))
            target = grad_q[group.samples, group.heads, chunk.queries]
            target.copy_(torch.baddbmm(nothing, grad_s, key, beta=0, alpha=scale).view(target.shape))
            per_key = torch.baddbmm(nothing, grad_s.transpose(1, 2), query, beta=0, alpha=scale)
            per_value = torch.bmm(p.transpose(1, 2), upstream)
            for total, part in zip(sums, (per_key, per_value), strict=True):
                total.index_add_(1, chunk.rows, part.view(group.units, -1, plan.dim).to(plan.dtype))
    return grad_q, grad_k[:, :, :n], grad_v[:, :, :n], None


def _of_queries(logs: Tensor, group: Group, chunk: Chunk) -> Tensor:
    """The part of (B, h, K) that belongs to the queries of a chunk."""
    return logs[group.samples, group.heads, chunk.queries.start - 1 : chunk.queries.stop - 1]
