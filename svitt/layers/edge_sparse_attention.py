"""Edge-sparse attention: a kernel that only computes the attended blocks.

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
pass recomputes the scores, so nothing of size N x N or N x L is kept. On CUDA nothing waits for the
device, and a CUDA graph can hold it. It is a PyTorch custom operator: autocast and ``torch.compile`` pass
it through unchanged.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from svitt.config import nearest, require
from svitt.layers import _edge_bfloat16, _edge_chunked
from svitt.layers._edge_dense import masked_edge_attention, oracle_attention
from svitt.layers._edge_kernel import cls_probabilities, value_dtype
from svitt.layers.edge_crossover import masked_is_faster
from svitt.layers.edges import EdgePattern
from svitt.layers.relative_position import RelativePosition

Backend = Literal["auto", "chunked", "masked", "oracle"]


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
    backend: "chunked", the kernel; "masked", PyTorch's dense attention under a mask, faster for short
        sequences; "oracle", the same in plain operations, for tests; "auto", the faster one of the first
        two by prices that were measured (``svitt.layers.edge_crossover``).
    Returns the output (B, h, 1+K, d) and the attention probabilities of the CLS query (B, h, 1+K) in
    float32 (float64 for float64 inputs). Differentiable in q, k, v and ``position.table``. For bfloat16 on
    the CPU float32 products of the whole process, other threads' too, round their operands to bfloat16
    while some of its own run (``torch.backends.mkldnn.matmul.fp32_precision``).
    ConfigError for an unknown backend; ValueError for a pattern of another length.
    """
    known = get_args(Backend)
    if backend not in known:  # the wording is not worked out otherwise: torch.compile cannot
        require(False, "backend", backend, nearest(str(backend), known))
    if backend == "auto":
        backend = "masked" if masked_is_faster(q, k, v, pattern, position) else "chunked"
    if backend != "chunked":
        dense = oracle_attention if backend == "oracle" else masked_edge_attention
        return dense(q, k, v, pattern, position)
    table = codes = None
    offset = 0
    if position is not None:
        table, codes, offset = position.table, position.codes, position.offset
    if q.device.type != "cpu" and not torch.compiler.is_compiling():
        pattern.require_fits(q.shape[2] - 1)  # once; on the CPU the operator looks
    blocks = pattern.on(q.device)
    out, row, _ = _edge_attention(
        q, k, v, table, codes, blocks, pattern.block_size, offset, pattern.attend_padding
    )
    return out, row


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
) -> tuple[Tensor, Tensor, Tensor]:
    # Autocast stays outside: inputs and output have one dtype, scores and softmax are in float32.
    with torch.autocast(q.device.type, enabled=False):
        args = q, k, v, table, codes, blocks, block_size, offset, attend_padding
        if is_fused(q, block_size):
            from svitt.layers import _edge_triton

            out, lse = _edge_triton.forward(*args)
        elif is_bfloat16(q):
            out, lse = _edge_bfloat16.forward(*args)
        else:
            out, lse = _edge_chunked.forward(*args), q.new_empty(0, dtype=torch.float32)
        row = cls_probabilities(q, k, table)
        dtype = value_dtype(q)
        out[:, :, 0] = (row[:, :, None].to(dtype) @ v.to(dtype)).squeeze(2)
        return out, row, lse


def is_fused(q: Tensor, block_size: int) -> bool:
    """Whether Triton's kernels do it: on CUDA, where Triton is there, for sizes that fit the chip."""
    if q.device.type != "cuda" or importlib.util.find_spec("triton") is None:
        return False
    from svitt.layers import _edge_triton

    return _edge_triton.usable(q, block_size)


def is_bfloat16(q: Tensor) -> bool:
    """Whether it is for the chunks of bfloat16 on the CPU."""
    return q.device.type == "cpu" and q.dtype == torch.bfloat16


@_edge_attention.register_fake
def _(
    q: Tensor, k: Tensor, v: Tensor, table: Any, codes: Any, blocks: Any, block_size: int, *args: Any
) -> tuple[Tensor, Tensor, Tensor]:
    row = q.new_empty(q.shape[:3], dtype=torch.promote_types(q.dtype, torch.float32))
    size = (*q.shape[:2], q.shape[2] - 1) if is_fused(q, block_size) or is_bfloat16(q) else (0,)
    out = torch.empty(q.shape, dtype=q.dtype, device=q.device)
    return out, row, q.new_empty(size, dtype=torch.float32)


@torch.library.custom_op("svitt::edge_attention_backward", mutates_args=())
def _edge_attention_backward(
    grad: Tensor,
    grad_row: Tensor | None,
    out: Tensor | None,
    lse: Tensor,
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
        args = q, k, v, table, codes, blocks, block_size, offset, attend_padding
        if is_bfloat16(q) and table is None:
            some = q, k, v, blocks, block_size, attend_padding
            grad_q, grad_k, grad_v, grad_table = _edge_bfloat16.backward(grad, lse, *some)
        elif out is None:
            grad_q, grad_k, grad_v, grad_table = _edge_chunked.backward(grad, *args)
        else:
            from svitt.layers import _edge_triton

            grad_q, grad_k, grad_v, grad_table = _edge_triton.backward(grad, out, lse, *args)
        row = cls_probabilities(q, k, table)
        dtype, scale = row.dtype, q.shape[-1] ** -0.5
        up = grad[:, :, :1].to(dtype)
        grad_p = (up @ v.to(dtype).transpose(-2, -1)).squeeze(2)
        grad_p = grad_p if grad_row is None else grad_p + grad_row
        grad_s = torch._softmax_backward_data(grad_p, row, -1, dtype)
        bias = q.new_empty(0)
        if table is not None and grad_table is not None:
            grad_table[:, -3] += grad_s[:, :, 1:].sum(dim=(0, 2))
            grad_table[:, -1] += grad_s[:, :, 0].sum(dim=0)
            bias = grad_table.t().to(table.dtype).contiguous()
        grad_q[:, :, :1] = (grad_s[:, :, None] @ k.to(dtype)) * scale
        grad_k.addcmul_(grad_s[..., None], q[:, :, :1].to(dtype), value=scale)
        grad_v.addcmul_(row[..., None], up)
        grad_q, grad_k, grad_v = (x.to(q.dtype).contiguous() for x in (grad_q, grad_k, grad_v))
        return grad_q, grad_k, grad_v, bias


@_edge_attention_backward.register_fake
def _(
    grad: Tensor, row: Any, out: Any, lse: Any, q: Tensor, k: Tensor, v: Tensor, table: Any, *args: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    made = [torch.empty(x.shape, dtype=x.dtype, device=x.device) for x in (q, k, v)]
    return made[0], made[1], made[2], q.new_empty(0) if table is None else torch.empty_like(table)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    q, k, v, table, codes, blocks, *ctx.numbers = inputs
    out, _, lse = output
    ctx.mark_non_differentiable(lse)
    # The chunks need no output: they compute all of it anew.
    ctx.save_for_backward(out if is_fused(q, inputs[6]) else None, lse, q, k, v, table, codes, blocks)


def _backward(
    ctx: Any, grad: Tensor | None, grad_row: Tensor | None, _: Tensor | None
) -> tuple[Tensor | None, ...]:
    _, _, query, _, _, table, *_ = ctx.saved_tensors
    grad = torch.zeros_like(query) if grad is None else grad
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
def _backward_flops(grad: Any, row: Any, out: Any, lse: Any, *args: Any, **_: Any) -> int:
    # Five products of the forward's two: the scores once more, and the gradients of p, q, k and v.
    return 5 * _forward_flops(*args) // 2
