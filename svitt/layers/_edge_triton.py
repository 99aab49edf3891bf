"""Edge-sparse attention in one kernel each for forward, query gradients and key gradients: Triton, on CUDA.

A block of keys lies in a slot whose length is a power of two above the block size, blocks of 56 in slots of
64; the CLS key takes the place behind the keys of the first slot, so that 1 + 4 x 56 keys are four slots. The
scores stay on the chip; all sums are in float32. CLS as a query sees everything: it is no part of this.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call"
from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

DTYPES = (torch.float16, torch.bfloat16, torch.float32)


@triton.jit
def _dot(a, b, WIDE: tl.constexpr):
    if WIDE:  # the interpreter multiplies no bfloat16
        a, b = a.to(tl.float32), b.to(tl.float32)
    return tl.dot(a, b, input_precision="ieee")


@triton.jit
def _rows(pointer, strides_n, strides_d, row, there, dim, DIM: tl.constexpr):
    """A tile (SLOT, DIM) of rows; 0 where there is none."""
    d = tl.arange(0, DIM)
    places = row[:, None].to(tl.int64) * strides_n + d[None, :] * strides_d
    return tl.load(pointer + places, mask=there[:, None] & (d < dim)[None, :], other=0.0)


@triton.jit
def _scores(q, k, q_token, k_token, k_there, is_cls, padded, codes, table, offset, rows, dim, scale,
            BIAS: tl.constexpr, WIDE: tl.constexpr, tokens):  # fmt: skip
    """Scores of a query and a key tile, -inf where there is no key, and the rows of the bias table."""
    s = _dot(q, tl.trans(k), WIDE) * scale
    index = tl.zeros(s.shape, dtype=tl.int32) + (rows - 2)
    seen = (k_there | is_cls | padded)[None, :] & (q_token < tokens)[:, None]
    if BIAS:
        q_code = tl.load(codes + q_token, mask=q_token < tokens, other=0)
        k_code = tl.load(codes + k_token, mask=k_there, other=0)
        index = tl.where(k_there[None, :], q_code[:, None] - k_code[None, :] + offset, index)
        s += tl.load(table + index, mask=seen, other=0.0)
    return tl.where((k_there | is_cls | padded)[None, :], s, float("-inf")), index, seen


@triton.jit
def _slot(block, number, tokens, SIZE: tl.constexpr, SLOT: tl.constexpr, PADDING: tl.constexpr):
    """Tokens of a slot, which places hold one, the place of CLS (in slot number 0), and the zero keys."""
    place = tl.arange(0, SLOT)
    token = block * SIZE + place
    inside = (place < SIZE) & (token >= 0)  # no block is -1
    there = inside & (token < tokens)
    padded = inside & (token < 0)
    if PADDING:
        padded = inside & (token >= tokens)
    return token, there, place + number * SLOT == SIZE, padded


@triton.jit
def forward_kernel(Q, K, V, OUT, LSE, BLOCKS, CODES, TABLE,
                   qb, qh, qn, qd, kb, kh, kn, kd, vb, vh, vn, vd, ob, oh, on, od,
                   heads, tokens, dim, code_stride, rows, offset, num_keys, scale,
                   BIAS: tl.constexpr, PADDING: tl.constexpr, WIDE: tl.constexpr,
                   SIZE: tl.constexpr, SLOT: tl.constexpr, DIM: tl.constexpr):  # fmt: skip
    i, unit = tl.program_id(0), tl.program_id(1)
    b, h = (unit // heads).to(tl.int64), unit % heads
    place = tl.arange(0, SLOT)
    q_token = tl.where(place < SIZE, i * SIZE + place, tokens)
    q_there = q_token < tokens
    q = _rows(Q + b * qb + h * qh, qn, qd, 1 + q_token, q_there, dim, DIM)
    top = tl.full((SLOT,), float("-inf"), dtype=tl.float32)
    total = tl.zeros((SLOT,), dtype=tl.float32)
    acc = tl.zeros((SLOT, DIM), dtype=tl.float32)
    for m in range(0, num_keys):
        block = tl.load(BLOCKS + i * num_keys + m).to(tl.int32)
        k_token, k_there, is_cls, padded = _slot(block, m, tokens, SIZE, SLOT, PADDING)
        row = tl.where(is_cls, 0, 1 + k_token)
        k = _rows(K + b * kb + h * kh, kn, kd, row, k_there | is_cls, dim, DIM)
        v = _rows(V + b * vb + h * vh, vn, vd, row, k_there | is_cls, dim, DIM)
        s, _, _ = _scores(q, k, q_token, k_token, k_there, is_cls, padded, CODES + b * code_stride,
                          TABLE + h * rows, offset, rows, dim, scale, BIAS, WIDE, tokens)  # fmt: skip
        higher = tl.maximum(top, tl.max(s, axis=1))  # finite from the first slot on: CLS is there
        p = tl.exp(s - higher[:, None])
        shrink = tl.exp(top - higher)
        total = total * shrink + tl.sum(p, axis=1)
        acc = acc * shrink[:, None] + _dot(p.to(v.dtype), v, WIDE)
        top = higher
    d = tl.arange(0, DIM)
    places = (1 + q_token)[:, None].to(tl.int64) * on + d[None, :] * od
    out = (acc / total[:, None]).to(OUT.dtype.element_ty)
    tl.store(OUT + b * ob + h * oh + places, out, mask=q_there[:, None] & (d < dim)[None, :])
    tl.store(LSE + unit.to(tl.int64) * tokens + q_token, top + tl.log(total), mask=q_there)


@triton.jit
def _score_gradients(q, k, v, up, lse, delta, q_token, k_token, k_there, is_cls, padded, codes, table,
                     offset, rows, dim, scale, BIAS: tl.constexpr, WIDE: tl.constexpr, tokens):  # fmt: skip
    """Probabilities, the gradients of the scores, and the rows of the bias table."""
    s, index, seen = _scores(q, k, q_token, k_token, k_there, is_cls, padded, codes, table, offset, rows,
                             dim, scale, BIAS, WIDE, tokens)  # fmt: skip
    p = tl.where(seen, tl.exp(s - lse[:, None]), 0.0)
    return p, p * (_dot(up, tl.trans(v), WIDE) - delta[:, None]), index, seen


@triton.jit
def query_gradient_kernel(Q, K, V, UP, DQ, DCLS, DTABLE, LSE, DELTA, BLOCKS, CODES, TABLE,
                          qb, qh, qn, qd, kb, kh, kn, kd, vb, vh, vn, vd, ub, uh, un, ud, gb, gh, gn, gd,
                          heads, tokens, dim, code_stride, rows, offset, num_keys, scale,
                          BIAS: tl.constexpr, PADDING: tl.constexpr, WIDE: tl.constexpr,
                          SIZE: tl.constexpr, SLOT: tl.constexpr, DIM: tl.constexpr):  # fmt: skip
    """Of a query block: gradients of its queries and of the bias table, and its share in those of CLS."""
    i, unit = tl.program_id(0), tl.program_id(1)
    b, h = (unit // heads).to(tl.int64), unit % heads
    place, d = tl.arange(0, SLOT), tl.arange(0, DIM)
    q_token = tl.where(place < SIZE, i * SIZE + place, tokens)
    q_there = q_token < tokens
    q = _rows(Q + b * qb + h * qh, qn, qd, 1 + q_token, q_there, dim, DIM)
    up = _rows(UP + b * ub + h * uh, un, ud, 1 + q_token, q_there, dim, DIM)
    lse = tl.load(LSE + unit.to(tl.int64) * tokens + q_token, mask=q_there, other=0.0)
    delta = tl.load(DELTA + unit.to(tl.int64) * tokens + q_token, mask=q_there, other=0.0)
    dq = tl.zeros((SLOT, DIM), dtype=tl.float32)
    for m in range(0, num_keys):
        block = tl.load(BLOCKS + i * num_keys + m).to(tl.int32)
        k_token, k_there, is_cls, padded = _slot(block, m, tokens, SIZE, SLOT, PADDING)
        row = tl.where(is_cls, 0, 1 + k_token)
        k = _rows(K + b * kb + h * kh, kn, kd, row, k_there | is_cls, dim, DIM)
        v = _rows(V + b * vb + h * vh, vn, vd, row, k_there | is_cls, dim, DIM)
        p, ds, index, seen = _score_gradients(
            q, k, v, up, lse, delta, q_token, k_token, k_there, is_cls, padded, CODES + b * code_stride,
            TABLE + h * rows, offset, rows, dim, scale, BIAS, WIDE, tokens)  # fmt: skip
        dq += _dot(ds.to(k.dtype), k, WIDE) * scale
        if BIAS:
            tl.atomic_add(DTABLE + h * rows + index, ds, mask=seen)
        if m == 0:
            of_cls = tl.sum(tl.where(is_cls[None, :], ds, 0.0), axis=1)  # (SLOT,)
            p_cls = tl.sum(tl.where(is_cls[None, :], p, 0.0), axis=1)
            part = DCLS + (unit.to(tl.int64) * tl.num_programs(0) + i) * 2 * DIM + d
            tl.store(part, tl.sum(of_cls[:, None] * q.to(tl.float32), axis=0) * scale)
            tl.store(part + DIM, tl.sum(p_cls[:, None] * up.to(tl.float32), axis=0))
    places = (1 + q_token)[:, None].to(tl.int64) * gn + d[None, :] * gd
    inside = q_there[:, None] & (d < dim)[None, :]
    tl.store(DQ + b * gb + h * gh + places, dq.to(DQ.dtype.element_ty), mask=inside)


@triton.jit
def key_gradient_kernel(Q, K, V, UP, DK, DV, LSE, DELTA, ORDER, STARTS, CODES, TABLE,
                        qb, qh, qn, qd, kb, kh, kn, kd, vb, vh, vn, vd, ub, uh, un, ud, gb, gh, gn, gd,
                        heads, tokens, dim, code_stride, rows, offset, num_keys, scale,
                        BIAS: tl.constexpr, WIDE: tl.constexpr,
                        SIZE: tl.constexpr, SLOT: tl.constexpr, DIM: tl.constexpr):  # fmt: skip
    """Of a key block: gradients of its keys and values, over all query blocks that see it."""
    j, unit = tl.program_id(0), tl.program_id(1)
    b, h = (unit // heads).to(tl.int64), unit % heads
    place, d = tl.arange(0, SLOT), tl.arange(0, DIM)
    k_token, k_there, nowhere, no_padding = _slot(j, 1, tokens, SIZE, SLOT, False)
    k = _rows(K + b * kb + h * kh, kn, kd, 1 + k_token, k_there, dim, DIM)
    v = _rows(V + b * vb + h * vh, vn, vd, 1 + k_token, k_there, dim, DIM)
    dk = tl.zeros((SLOT, DIM), dtype=tl.float32)
    dv = tl.zeros((SLOT, DIM), dtype=tl.float32)
    for entry in range(tl.load(STARTS + j), tl.load(STARTS + j + 1)):
        i = (tl.load(ORDER + entry) // num_keys).to(tl.int32)
        q_token = tl.where(place < SIZE, i * SIZE + place, tokens)
        q_there = q_token < tokens
        q = _rows(Q + b * qb + h * qh, qn, qd, 1 + q_token, q_there, dim, DIM)
        up = _rows(UP + b * ub + h * uh, un, ud, 1 + q_token, q_there, dim, DIM)
        lse = tl.load(LSE + unit.to(tl.int64) * tokens + q_token, mask=q_there, other=0.0)
        delta = tl.load(DELTA + unit.to(tl.int64) * tokens + q_token, mask=q_there, other=0.0)
        p, ds, _, _ = _score_gradients(
            q, k, v, up, lse, delta, q_token, k_token, k_there, nowhere, no_padding, CODES + b * code_stride,
            TABLE + h * rows, offset, rows, dim, scale, BIAS, WIDE, tokens)  # fmt: skip
        dk += _dot(tl.trans(ds.to(q.dtype)), q, WIDE) * scale
        dv += _dot(tl.trans(p.to(up.dtype)), up, WIDE)
    places = (1 + k_token)[:, None].to(tl.int64) * gn + d[None, :] * gd
    inside = k_there[:, None] & (d < dim)[None, :]
    tl.store(DK + b * gb + h * gh + places, dk.to(DK.dtype.element_ty), mask=inside)
    tl.store(DV + b * gb + h * gh + places, dv.to(DV.dtype.element_ty), mask=inside)


def usable(q: Tensor, block_size: int) -> bool:
    """Whether the kernels take these queries (B, h, 1+K, d): three dtypes, tiles of at most 16 KB."""
    slot, dim = _tile(q, block_size)
    fits = slot <= 128 and slot * dim * q.element_size() <= 2**14
    return q.dtype in DTYPES and fits and q.shape[2] > 1


def _tile(q: Tensor, block_size: int) -> tuple[int, int]:
    """Rows and columns of a tile: at least 16, for the matrix units."""
    sizes = (triton.next_power_of_2(n) for n in (block_size + 1, q.shape[3]))
    slot, dim = (max(16, n) for n in sizes)
    return slot, dim


def _numbers(q: Tensor, table: Tensor | None, codes: Tensor | None, blocks: Tensor, offset: int,
             size: int) -> tuple[tuple[Any, ...], dict[str, Any], Tensor, Tensor]:  # fmt: skip
    """What all kernels take at the end, and codes (1 or B, K) int32 and table (heads, R) float32."""
    tokens, dim = q.shape[2] - 1, q.shape[3]
    if table is None or codes is None:
        bias, code = q.new_empty(1, dtype=torch.float32), q.new_empty(1, 1, dtype=torch.int32)
        rows = 0
    else:
        bias, code = table.t().float().contiguous(), codes.reshape(-1, tokens).int().contiguous()
        rows = table.shape[0]
    stride = 0 if code.shape[0] == 1 else tokens
    numbers = (q.shape[1], tokens, dim, stride, rows, offset, blocks.shape[1], dim**-0.5)
    slot, width = _tile(q, size)
    constants = {
        "BIAS": table is not None,
        "WIDE": q.device.type == "cpu",
        "SIZE": size,
        "SLOT": slot,
        "DIM": width,
    }
    return numbers, constants, code, bias


def forward(q: Tensor, k: Tensor, v: Tensor, table: Tensor | None, codes: Tensor | None, blocks: Tensor,
            block_size: int, offset: int, attend_padding: bool) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Output (B, h, 1+K, d), whose CLS row is left empty, and log-sum-exp of the scores (B, h, K)."""
    out = torch.empty(q.shape, dtype=q.dtype, device=q.device)
    lse = torch.empty(*q.shape[:2], q.shape[2] - 1, dtype=torch.float32, device=q.device)
    numbers, constants, code, bias = _numbers(q, table, codes, blocks, offset, block_size)
    strides = (*q.stride(), *k.stride(), *v.stride(), *out.stride())
    forward_kernel[(len(blocks), q.shape[0] * q.shape[1])](
        q, k, v, out, lse, blocks.contiguous(), code, bias, *strides, *numbers, PADDING=attend_padding,
        **constants)  # fmt: skip
    return out, lse


def backward(grad: Tensor, out: Tensor, lse: Tensor, q: Tensor, k: Tensor, v: Tensor, table: Tensor | None,
             codes: Tensor | None, blocks: Tensor, block_size: int, offset: int, attend_padding: bool
             ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:  # fmt: skip
    """Gradients of q, k, v, float32 (B, h, 1+K, d), without what CLS asks, and of the table (heads, R)."""
    count, (batch, heads, _, dim) = len(blocks), q.shape
    numbers, constants, code, bias = _numbers(q, table, codes, blocks, offset, block_size)
    delta = (out[:, :, 1:].float() * grad[:, :, 1:].float()).sum(dim=-1)  # (B, h, K)
    dq, dk, dv = (torch.zeros(q.shape, dtype=torch.float32, device=q.device) for _ in "qkv")
    of_cls = torch.empty(batch, heads, count, 2, constants["DIM"], dtype=torch.float32, device=q.device)
    dtable = None if table is None else torch.zeros_like(bias)
    strides = (*q.stride(), *k.stride(), *v.stride(), *grad.stride(), *dq.stride())
    grid = (count, batch * heads)
    query_gradient_kernel[grid](
        q, k, v, grad, dq, of_cls, bias if dtable is None else dtable, lse, delta, blocks.contiguous(), code,
        bias, *strides, *numbers, PADDING=attend_padding, **constants)  # fmt: skip
    # The query blocks of every key block, one after the other: a sort, whose shapes depend on no value.
    flat = blocks.masked_fill(blocks < 0, count).flatten()
    sorted_blocks, order = flat.sort(stable=True)
    starts = torch.searchsorted(sorted_blocks, torch.arange(count + 1, device=q.device))
    key_gradient_kernel[grid](
        q, k, v, grad, dk, dv, lse, delta, order, starts, code, bias, *strides, *numbers, **constants
    )
    dk[:, :, 0], dv[:, :, 0] = of_cls[..., :dim].sum(dim=2).unbind(2)
    return dq, dk, dv, dtable
