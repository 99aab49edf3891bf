"""How edge-sparse attention is cut in pieces, and the steps that forward and backward share.

Two levels: *groups* of samples and heads, whose keys and values are copied to contiguous memory, and
*chunks* of query blocks within a group, whose gathered keys and scores stay in cache.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from svitt.layers.edges import EdgePattern, key_rows

# Elements of a group's keys, and of a chunk's gathered keys. Measured at ViT-B sizes: larger ones leave
# the cache (and memory that is returned to the system costs page faults), smaller ones make more calls.
CPU_GROUP = 400_000
CPU_CHUNK = 250_000
# On CUDA what a chunk takes: 128 MB of gathered keys in half precision, as much of values and of scores.
CUDA_CHUNK = 2**26


def looks_at_values(device: torch.device) -> bool:
    """Whether values decide how the work is cut: not on a device, where a look would wait for it."""
    return device.type == "cpu"


def value_dtype(q: Tensor) -> torch.dtype:
    """Of p v: that of the queries where the machine has instructions for it, else float32."""
    native = True
    if q.device.type == "cpu" and q.dtype == torch.bfloat16:
        native = bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    if q.device.type == "cpu" and q.dtype == torch.float16:
        native = bool(torch.ops.mkldnn._is_mkldnn_fp16_supported())
    return q.dtype if native else torch.float32


# The mode below belongs to the process: who sets it has to be the one who takes it back.
_MODE = threading.Lock()


@contextmanager
def bfloat16_operands() -> Iterator[None]:
    """float32 products on the CPU round their operands to bfloat16 meanwhile, and still sum in float32.

    Those of other threads too: no longer than for one product. A processor without bfloat16 ignores it.
    """
    matmul = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    with _MODE:
        before = matmul.fp32_precision
        matmul.fp32_precision = "bf16"
        try:
            yield
        finally:
            matmul.fp32_precision = "none"  # what is set for the backend, or for all
            if matmul.fp32_precision != before:
                matmul.fp32_precision = before


@dataclass(frozen=True)
class Group:
    """Some samples and some heads: all heads, or a single sample."""

    samples: slice
    heads: slice

    @property
    def units(self) -> int:
        """Pairs of a sample and a head."""
        return (self.samples.stop - self.samples.start) * (self.heads.stop - self.heads.start)


@dataclass(frozen=True)
class Chunk:
    """Some query blocks of equal length of a group."""

    queries: slice  # places in the sequence
    blocks: int
    rows: Tensor  # (blocks * L,) places of the keys
    index: Tensor | None  # (1 or samples, blocks * block length * L) rows of the bias table
    masked: Tensor | None  # (blocks, L), given where some are masked


def cut(
    batch: int, heads: int, unit: int, gathered: int, blocks: int, group: int, chunk: int
) -> tuple[int, int, int]:
    """Samples and heads of a group and blocks of a chunk, of at most ``group`` and ``chunk`` elements if that
    can be; a sample and head has keys of ``unit`` elements, a block of it gathers ``gathered``."""
    samples_a_group, heads_a_group = max(1, min(batch, group // (unit * heads))), heads
    if unit * heads > group:
        # Not below a third of the heads: the bias rows are worked out anew for every group.
        heads_a_group = min(heads, max(group // unit, math.ceil(heads / 3)))
    units = samples_a_group * heads_a_group
    return samples_a_group, heads_a_group, max(1, min(blocks, chunk // (units * gathered)))


class ChunkPlan:
    """The keys of every query block, the bias rows, the cutting in groups and chunks.

    q (B, h, 1+K, d); table (R, h) and codes (K,) or (B, K), or both None; the rest as ``EdgePattern``.
    """

    def __init__(
        self,
        q: Tensor,
        table: Tensor | None,
        codes: Tensor | None,
        blocks: Tensor,
        block_size: int,
        offset: int,
        attend_padding: bool,
    ) -> None:
        self.batch, self.heads, n, self.dim = q.shape
        self.tokens, self.block_size, self.offset = n - 1, block_size, offset
        on_cpu = looks_at_values(q.device)
        if on_cpu:
            EdgePattern(blocks, block_size, attend_padding).require_fits(self.tokens)
        rows, self.masked, self.padded = key_rows(blocks, block_size, self.tokens, attend_padding)
        # On another device no value is looked at: that would wait for the device.
        self.any_padded = (
            bool(self.padded.any()) if on_cpu else attend_padding and self.tokens % block_size > 0
        )
        self.some_masked = self.masked.any(dim=1).tolist() if on_cpu else [True] * len(rows)
        # The zero key that padding stands for is one more row at the end of k and v.
        self.rows = rows.masked_fill(self.padded, n)
        self.keys = rows.shape[1]
        # Scores, softmax and their gradients are in float32 at least. On the CPU so are the operands: there
        # a product of bfloat16 comes out rounded to bfloat16. One of operands that were widened from it
        # runs under ``exactly``, which loses nothing. The other products take half operands, as SDPA's
        # fused kernels do; in the backward of a bias they do not, because SDPA goes to float32 there.
        self.dtype = torch.promote_types(q.dtype, torch.float32)
        self.operand_dtype = self.dtype if on_cpu else q.dtype
        self.widened = on_cpu and q.dtype == torch.bfloat16
        self.value_dtype = value_dtype(q)
        self.gradient_dtype = self.value_dtype if table is None or not on_cpu else self.dtype
        self.codes = None if codes is None else codes.reshape(-1, self.tokens).int()  # (1 or B, K)
        self.table = None
        if table is not None:
            self.num_rows = table.shape[0]
            columns = table.t().to(self.dtype)  # (heads, R), and one column of -inf for masked keys
            self.table = torch.cat([columns, columns.new_full((self.heads, 1), float("-inf"))], dim=1)
        everything = self.batch * self.heads * n * self.dim
        sizes = (CPU_GROUP, CPU_CHUNK) if on_cpu else (everything, CUDA_CHUNK)
        self.samples_a_group, self.heads_a_group, self.blocks_a_chunk = cut(
            self.batch, self.heads, n * self.dim, self.keys * self.dim, len(self.rows), *sizes
        )

    def groups(self) -> Iterator[Group]:
        """All groups; together they hold every sample and head once."""
        for b in range(0, self.batch, self.samples_a_group):
            for h in range(0, self.heads, self.heads_a_group):
                yield Group(
                    slice(b, min(b + self.samples_a_group, self.batch)),
                    slice(h, min(h + self.heads_a_group, self.heads)),
                )

    def chunks(self, group: Group) -> Iterator[Chunk]:
        """All chunks; the last block, when short, comes alone so that lengths within a chunk agree."""
        full = self.tokens // self.block_size
        spans = [(i, min(i + self.blocks_a_chunk, full)) for i in range(0, full, self.blocks_a_chunk)]
        if self.tokens % self.block_size:
            spans.append((full, full + 1))
        for first, last in spans:
            start = 1 + first * self.block_size
            queries = slice(start, min(start + (last - first) * self.block_size, self.tokens + 1))
            masked = self.masked[first:last] if any(self.some_masked[first:last]) else None
            index = None if self.codes is None else self._index(first, last, queries, group.samples)
            yield Chunk(queries, last - first, self.rows[first:last].flatten(), index, masked)

    def _index(self, first: int, last: int, queries: slice, samples: slice) -> Tensor:
        """Rows of the bias table for all pairs of a chunk, int32; one row for codes shared by all samples."""
        assert self.codes is not None
        codes = self.codes if self.codes.shape[0] == 1 else self.codes[samples]
        count, blocks = codes.shape[0], last - first
        rows = self.rows[first:last]
        # (count, blocks, block length, 1) and (count, blocks, 1, L): their difference is that of every pair.
        query = codes[:, queries.start - 1 : queries.stop - 1].reshape(count, blocks, -1, 1)
        key = codes[:, (rows - 1).clamp(0, max(0, self.tokens - 1)).flatten()].view(count, blocks, 1, -1)
        index = query + self.offset - key
        index[..., 0] = self.num_rows - 2  # token to CLS
        if self.any_padded:
            index.masked_fill_(self.padded[first:last, None], self.num_rows - 2)
        if any(self.some_masked[first:last]):
            index.masked_fill_(self.masked[first:last, None], self.num_rows)
        return index.view(count, -1)

    def buffers(self, values: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
        """Memory reused by all chunks: gathered keys and values (of dtype ``values``), and scores."""
        size = self.samples_a_group * self.heads_a_group * self.blocks_a_chunk * self.keys
        device = self.rows.device
        return (
            torch.empty(size * self.dim, dtype=self.operand_dtype, device=device),
            torch.empty(size * self.dim, dtype=values, device=device),
            torch.empty(size * min(self.block_size, max(1, self.tokens)), dtype=self.dtype, device=device),
        )

    def take(self, x: Tensor, group: Group, out: Tensor | None, dtype: torch.dtype) -> Tensor:
        """The group's part of x (B, h, N, d), contiguous (units, N, d) in ``dtype``; with the zero key, N+1.

        out: memory of an earlier group to write to, if of the right size.
        """
        part = x[group.samples, group.heads]
        if part.is_contiguous() and part.dtype == dtype and not self.any_padded:
            return part.flatten(0, 1)  # (units, N, d)
        n = x.shape[2] + int(self.any_padded)
        if out is None or out.shape[0] != group.units:
            out = x.new_zeros(group.units, n, self.dim, dtype=dtype)
        out[:, : x.shape[2]].view(part.shape).copy_(part)
        return out

    def gather(self, x: Tensor, chunk: Chunk, out: Tensor) -> Tensor:
        """Key rows of x (units, N, d) -> (units*blocks, L, d), written into ``out``."""
        # (units, blocks*L, d), then every block's keys on their own.
        out = out[: x.shape[0] * chunk.rows.numel() * self.dim].view(x.shape[0], -1, self.dim)
        torch.index_select(x, 1, chunk.rows, out=out)
        return out.view(-1, self.keys, self.dim)

    def queries(self, x: Tensor, group: Group, chunk: Chunk, dtype: torch.dtype | None = None) -> Tensor:
        """Query rows of x (B, h, N, d) -> (units*blocks, block length, d), as an operand or in ``dtype``."""
        part = x[group.samples, group.heads, chunk.queries]  # (samples, heads, blocks*block length, d)
        return part.reshape(group.units * chunk.blocks, -1, self.dim).to(dtype or self.operand_dtype)

    def view(self, group: Group, chunk: Chunk, length: int, out: Tensor) -> Tensor:
        """Memory for the scores of a chunk: (units*blocks, ``length`` of a block, L)."""
        count = group.units * chunk.blocks
        return out[: count * length * self.keys].view(count, length, self.keys)

    def mask(self, scores: Tensor, chunk: Chunk) -> None:
        """-inf for masked keys, in place."""
        if chunk.masked is not None:
            # (units, blocks, block length, L) under (blocks, 1, L)
            scores.view(-1, chunk.blocks, scores.shape[1], self.keys).masked_fill_(
                chunk.masked[:, None], float("-inf")
            )

    def start(self, group: Group, chunk: Chunk, table: Tensor | None, length: int, out: Tensor) -> Tensor:
        """What is added to the scores of a chunk, (units*blocks, ``length`` of a block, L), written into
        ``out``: the bias of ``table`` (heads, R+1), or 0; -inf for masked keys."""
        scores = self.view(group, chunk, length, out)
        if chunk.index is None or table is None:
            self.mask(scores.zero_(), chunk)
        else:
            table = table[group.heads]
            samples = scores.view(-1, table.shape[0], chunk.index.shape[1])  # (samples, heads, pairs)
            for sample, index in zip(samples, chunk.index, strict=False):
                torch.index_select(table, 1, index, out=sample)
            if len(chunk.index) < len(samples):
                samples[1:] = samples[0]
        return scores

    def probabilities(self, q: Tensor, k: Tensor, group: Group, chunk: Chunk, out: Tensor) -> Tensor:
        """softmax over the keys of a chunk, (units*blocks, block length, L), written into ``out``."""
        scores = self.start(group, chunk, self.table, q.shape[1], out)
        scale = self.dim**-0.5
        if q.dtype == self.dtype:
            with self.exactly():
                scores.baddbmm_(q, k.transpose(1, 2), alpha=scale)
        else:
            scores.add_(self.product(q, k.transpose(1, 2)), alpha=scale)
        return torch.softmax(scores, dim=-1, out=scores)

    def product(self, a: Tensor, b: Tensor) -> Tensor:
        """a b of two batches of matrices, in ``dtype`` of the plan."""
        if a.dtype != self.dtype:
            return torch.bmm(a, b, out_dtype=self.dtype)
        with self.exactly():
            return torch.bmm(a, b)

    def exactly(self) -> AbstractContextManager[None]:
        """For products of queries, keys, values and gradients of the output, as operands."""
        return bfloat16_operands() if self.widened else nullcontext()


def cls_probabilities(q: Tensor, k: Tensor, table: Tensor | None) -> Tensor:
    """Probabilities of the CLS query (B, h, N) from q, k (B, h, N, d), in float32 at least."""
    dtype = torch.promote_types(q.dtype, torch.float32)
    scores = (q[:, :, :1].to(dtype) @ k.to(dtype).transpose(-2, -1)).squeeze(2) * q.shape[-1] ** -0.5
    if table is not None:
        scores[:, :, 1:] += table[-3].to(dtype)[:, None]
        scores[:, :, 0] += table[-1].to(dtype)
    return scores.softmax(dim=-1)
