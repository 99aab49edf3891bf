"""Edge-sparse attention: a kernel that only computes the attended blocks, and its oracle.

In your own model, with query, key and value of 8 heads, one CLS token and 4 frames of 7 x 7 patches:

    >>> import torch, svitt
    >>> from svitt.layers.edges import EdgeSparsity
    >>> from svitt.layers.edges import fixed_edges
    >>> q, k, v = torch.randn(3, 2, 8, 1 + 4 * 49, 32)
    >>> edges = EdgeSparsity(num_local_blocks=1, num_random_blocks=1, block_size=49)
    >>> pattern = fixed_edges(edges, layer=0, num_tokens=4 * 49)  # block 0 of queries sees blocks:
    >>> pattern.blocks[0].tolist()
    [0, 1]
    >>> out, cls_row = svitt.edge_attention(q, k, v, pattern)
    >>> out.shape, cls_row.shape, round(pattern.density(4 * 49), 2)
    (torch.Size([2, 8, 197, 32]), torch.Size([2, 8, 197]), 0.51)

The kernel walks over a few query blocks at a time, gathers their key and value rows, looks the
relative position bias up and runs a small dense attention whose scores stay in cache. The backward
pass recomputes the scores, so nothing of size N x N or N x L is kept. On CUDA all blocks are one
chunk. It is a PyTorch custom operator: autocast and ``torch.compile`` pass it through unchanged.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from svitt.config import nearest, require
from svitt.layers._edge_kernel import ChunkPlan
from svitt.layers.edges import EdgePattern
from svitt.layers.relative_position import RelativePosition

Backend = Literal["auto", "chunked", "oracle"]


def edge_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    pattern: EdgePattern,
    position: RelativePosition | None = None,
    *,
    backend: Backend = "auto",
) -> tuple[Tensor, Tensor]:
    """softmax(q k^T / sqrt(d) + bias) v over the edges of ``pattern``; CLS sees and is seen by all.

    q, k, v: (B, h, 1+K, d), CLS first, one dtype. pattern: made for K tokens. position: the bias, with
    codes (K,) or (B, K).
    backend: "chunked", the fast kernel; "oracle", dense attention under a mask, for tests and short
        sequences; "auto", the fast kernel.
    Returns the output (B, h, 1+K, d) and the attention probabilities of the CLS query (B, h, 1+K) in
    float32 (float64 for float64 inputs). Differentiable in q, k, v and ``position.table``.
    ConfigError for an unknown backend; ValueError for a pattern of another length.
    """
    known = ("auto", "chunked", "oracle")
    require(backend in known, "backend", backend, nearest(str(backend), known))
    if backend == "oracle":
        return oracle_attention(q, k, v, pattern, position)
    table = codes = None
    offset = 0
    if position is not None:
        table, codes, offset = position.table, position.codes, position.offset
    blocks = pattern.blocks.to(q.device)
    out, row = _edge_attention(
        q, k, v, table, codes, blocks, pattern.block_size, offset, pattern.attend_padding
    )
    return out, row


def oracle_attention(
    q: Tensor, k: Tensor, v: Tensor, pattern: EdgePattern, position: RelativePosition | None = None
) -> tuple[Tensor, Tensor]:
    """The same result by dense attention under an additive mask, in plain PyTorch; O(N^2) memory.

    Shapes and errors as ``edge_attention``.
    """
    tokens = q.shape[2] - 1
    dtype = torch.promote_types(q.dtype, torch.float32)
    scores = (q @ k.transpose(-2, -1)).to(dtype) * q.shape[-1] ** -0.5
    if position is not None:
        scores = scores + position.dense()
    scores = scores + pattern.counts(tokens).to(q.device, dtype).log()  # 0 for an edge, -inf for none
    if pattern.attend_padding:
        # One column for all zero keys: n of them, equal logits, no value.
        padded = pattern.key_rows(tokens)[2].sum(dim=1).to(q.device)
        count = padded[torch.arange(tokens, device=q.device) // pattern.block_size]
        count = torch.cat([count.new_zeros(1), count]).to(dtype)
        to_cls = scores.new_zeros(q.shape[1]) if position is None else position.table[-2].to(dtype)
        column = (to_cls[:, None] + count.log()).expand(q.shape[0], -1, -1)  # (B, h, 1+K)
        scores = torch.cat([scores, column[..., None]], dim=-1)
    probabilities = scores.softmax(dim=-1)[..., : tokens + 1]
    return probabilities.to(q.dtype) @ v, probabilities[:, :, 0]


@torch.library.custom_op("svitt::edge_attention", mutates_args=())
def _edge_attention(
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
    # Autocast stays outside: inputs and output have one dtype, scores and softmax are in float32.
    with torch.autocast(q.device.type, enabled=False):
        plan = ChunkPlan(q, table, codes, blocks, block_size, offset, attend_padding)
        out = torch.empty(q.shape, dtype=q.dtype, device=q.device)
        key_buffer, value_buffer, score_buffer = plan.buffers(plan.value_dtype)
        keys = values = None
        for group in plan.groups():
            keys = plan.take(k, group, keys, plan.dtype)
            values = plan.take(v, group, values, plan.value_dtype)
            for chunk in plan.chunks(group):
                key, value = plan.gather(keys, chunk, key_buffer), plan.gather(values, chunk, value_buffer)
                p = plan.probabilities(plan.queries(q, group, chunk), key, group, chunk, score_buffer)
                target = out[group.samples, group.heads, chunk.queries]
                target.copy_(torch.bmm(p.to(plan.value_dtype), value).view(target.shape))
        row = plan.cls_probabilities(q, k)
        out[:, :, 0] = (row[:, :, None].to(plan.value_dtype) @ v.to(plan.value_dtype)).squeeze(2)
        return out, row


@_edge_attention.register_fake
def _(q: Tensor, *args: Any) -> tuple[Tensor, Tensor]:
    row = q.new_empty(q.shape[:3], dtype=torch.promote_types(q.dtype, torch.float32))
    return torch.empty(q.shape, dtype=q.dtype, device=q.device), row


@torch.library.custom_op("svitt::edge_attention_backward", mutates_args=())
def _edge_attention_backward(
    grad: Tensor,
    grad_row: Tensor | None,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    table: Tensor | None,
    codes: Tensor | None,
    blocks: Tensor,
    block_size: int,
    offset: int,
    attend_padding: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    with torch.autocast(q.device.type, enabled=False):
        plan = ChunkPlan(q, table, codes, blocks, block_size, offset, attend_padding)
        grad_q = torch.empty(q.shape, dtype=q.dtype, device=q.device)
        # A key is seen by many blocks: its gradient is summed in float32 at least. With padding the
        # zero key has a row, and a gradient that is dropped.
        n = q.shape[2]
        padded = (plan.batch, plan.heads, n + int(plan.any_padded), plan.dim)
        grad_k, grad_v = (torch.zeros(padded, dtype=plan.dtype, device=q.device) for _ in "kv")
        grad_table = None if plan.table is None else torch.zeros_like(plan.table)
        key_buffer, value_buffer, score_buffer = plan.buffers(plan.dtype)
        small = plan.gradient_dtype
        nothing = q.new_empty(1, 1, 1, dtype=small)
        scale = plan.dim**-0.5
        keys = values = None
        for group in plan.groups():
            keys = plan.take(k, group, keys, plan.dtype)
            values = plan.take(v, group, values, plan.dtype)
            sums = [g[group.samples, group.heads].view(group.units, -1, plan.dim) for g in (grad_k, grad_v)]
            for chunk in plan.chunks(group):
                key, value = plan.gather(keys, chunk, key_buffer), plan.gather(values, chunk, value_buffer)
                query, upstream = plan.queries(q, group, chunk), plan.queries(grad, group, chunk)
                p = plan.probabilities(query, key, group, chunk, score_buffer)
                grad_p = torch.bmm(upstream, value.transpose(1, 2))
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
        grad_k, grad_v = grad_k[:, :, :n], grad_v[:, :, :n]
        row = plan.cls_probabilities(q, k)
        up = grad[:, :, :1].to(plan.dtype)
        grad_p = (up @ v.to(plan.dtype).transpose(-2, -1)).squeeze(2)
        grad_p = grad_p if grad_row is None else grad_p + grad_row
        grad_s = torch._softmax_backward_data(grad_p, row, -1, plan.dtype)
        if grad_table is not None:
            grad_table[:, plan.num_rows - 3] += grad_s[:, :, 1:].sum(dim=(0, 2))
            grad_table[:, plan.num_rows - 1] += grad_s[:, :, 0].sum(dim=0)
        grad_q[:, :, :1] = (grad_s[:, :, None] @ k.to(plan.dtype)) * scale
        grad_k.addcmul_(grad_s[..., None], q[:, :, :1].to(plan.dtype), value=scale)
        grad_v.addcmul_(row[..., None], up)
        bias = (
            q.new_empty(0) if table is None or grad_table is None else grad_table[:, :-1].t().to(table.dtype)
        )
        return grad_q, grad_k.to(k.dtype).contiguous(), grad_v.to(v.dtype).contiguous(), bias.contiguous()


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


@_edge_attention_backward.register_fake
def _(
    grad: Tensor, grad_row: Tensor | None, q: Tensor, k: Tensor, v: Tensor, table: Tensor | None, *args: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    made = [torch.empty(x.shape, dtype=x.dtype, device=x.device) for x in (q, k, v)]
    return made[0], made[1], made[2], q.new_empty(0) if table is None else torch.empty_like(table)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    q, k, v, table, codes, blocks, *ctx.numbers = inputs
    ctx.save_for_backward(q, k, v, table, codes, blocks)


def _backward(ctx: Any, grad: Tensor, grad_row: Tensor | None) -> tuple[Tensor | None, ...]:
    _, _, _, table, *_ = ctx.saved_tensors
    q, k, v, bias = _edge_attention_backward(grad, grad_row, *ctx.saved_tensors, *ctx.numbers)
    return q, k, v, None if table is None else bias, None, None, None, None, None


_edge_attention.register_autograd(_backward, setup_context=_setup_context)


def attention_flops(shape: Sequence[int], keys: int) -> int:
    """FLOPs of q k^T and p v: q of ``shape`` (B, h, 1+K, d), CLS over all 1+K, each token over ``keys``."""
    batch, heads, n, dim = shape
    return 4 * batch * heads * dim * ((n - 1) * keys + n)


@register_flop_formula(torch.ops.svitt.edge_attention)
def _forward_flops(
    q: Any, k: Any, v: Any, table: Any, codes: Any, blocks: Any, size: int, *rest: Any, **_: Any
) -> int:
    return attention_flops(q, 1 + blocks[1] * size)


@register_flop_formula(torch.ops.svitt.edge_attention_backward)
def _backward_flops(grad: Any, row: Any, *args: Any, **_: Any) -> int:
    # Five products of the forward's two: the scores once more, and the gradients of p, q, k and v.
    return 5 * _forward_flops(*args) // 2
