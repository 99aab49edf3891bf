"""How edge-sparse attention is cut in chunks, and the steps that forward and backward share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from svitt.layers.edges import EdgePattern

# Elements of one gathered key buffer. Larger buffers leave the second-level cache, smaller ones make
# more calls; 2 to 4 query blocks of ViT-B were the fastest on the machines measured.
CPU_CHUNK = 700_000
CUDA_CHUNK = 2**31


@dataclass(frozen=True)
class Chunk:
    """Some query blocks of equal length, of some samples."""

    samples: slice
    queries: slice  # places in the sequence
    blocks: int
    rows: Tensor  # (blocks * L,) places of the keys
    index: Tensor | None  # (1 or samples, blocks * block length * L) rows of the bias table
    masked: Tensor | None  # (blocks, L), given where some are masked


class ChunkPlan:
    """What forward and backward share: the keys of every block, the bias rows, the cutting in chunks."""

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
        pattern = EdgePattern(blocks, block_size, attend_padding)
        rows, self.masked, self.padded = pattern.key_rows(self.tokens)
        self.any_padded = bool(self.padded.any())
        # The zero key that padding stands for is one more row at the end of k and v.
        self.rows = rows.masked_fill(self.padded, n)
        self.some_masked = self.masked.any(dim=1).tolist()
        self.keys = rows.shape[1]
        self.dtype = torch.promote_types(q.dtype, torch.float32)
        self.codes = None if codes is None else codes.reshape(-1, self.tokens).int()
        self.table = None
        if table is not None:
            self.num_rows = table.shape[0]
            columns = table.t().to(self.dtype)  # (heads, R), and one column of -inf for masked keys
            self.table = torch.cat([columns, columns.new_full((self.heads, 1), float("-inf"))], dim=1)
        budget = CUDA_CHUNK if q.is_cuda else CPU_CHUNK
        each = self.heads * self.keys * self.dim
        self.blocks_a_chunk = max(1, min(len(rows), budget // each))
        self.samples_a_chunk = max(1, min(self.batch, budget // (each * self.blocks_a_chunk)))

    def with_zero_row(self, x: Tensor) -> Tensor:
        """(B, h, N, d) -> contiguous (B*h, N or N+1, d)."""
        x = torch.cat([x, x.new_zeros(*x.shape[:2], 1, x.shape[3])], dim=2) if self.any_padded else x
        return x.contiguous().flatten(0, 1)

    def chunks(self) -> Iterator[Chunk]:
        """All chunks; the last block, when short, comes alone so that lengths within a chunk agree."""
        full = self.tokens // self.block_size
        spans = [(i, min(i + self.blocks_a_chunk, full)) for i in range(0, full, self.blocks_a_chunk)]
        if self.tokens % self.block_size:
            spans.append((full, full + 1))
        for first, last in spans:
            start = 1 + first * self.block_size
            queries = slice(start, min(start + (last - first) * self.block_size, self.tokens + 1))
            masked = self.masked[first:last] if any(self.some_masked[first:last]) else None
            shared = self.codes is not None and self.codes.shape[0] == 1
            index = self._index(first, last, queries, slice(0, 1)) if shared else None
            for b in range(0, self.batch, self.samples_a_chunk):
                samples = slice(b, min(b + self.samples_a_chunk, self.batch))
                if self.codes is not None and not shared:
                    index = self._index(first, last, queries, samples)
                yield Chunk(samples, queries, last - first, self.rows[first:last].flatten(), index, masked)

    def _index(self, first: int, last: int, queries: slice, samples: slice) -> Tensor:
        """Rows of the bias table for all pairs of a chunk: (samples, blocks * block length * L) int32."""
        assert self.codes is not None
        codes = self.codes[samples]
        count, blocks = codes.shape[0], last - first
        rows = self.rows[first:last]
        query = codes[:, queries.start - 1 : queries.stop - 1].reshape(count, blocks, -1, 1)
        key = codes[:, (rows - 1).clamp(0, max(0, self.tokens - 1)).flatten()].view(count, blocks, 1, -1)
        index = query + self.offset - key
        index[..., 0] = self.num_rows - 2  # token to CLS
        if self.any_padded:
            index.masked_fill_(self.padded[first:last, None], self.num_rows - 2)
        if any(self.some_masked[first:last]):
            index.masked_fill_(self.masked[first:last, None], self.num_rows)
        return index.view(count, -1)

    def buffers(self, q: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Memory for the keys and values (q's dtype) and the scores (float32 or float64) of a chunk."""
        size = self.samples_a_chunk * self.heads * self.blocks_a_chunk * self.keys
        keys = q.new_empty(2, size * self.dim)
        return keys[0], keys[1], q.new_empty(size * min(self.block_size, self.tokens), dtype=self.dtype)

    def gather(self, x: Tensor, chunk: Chunk, out: Tensor) -> Tensor:
        """Rows of x (B*h, N, d) -> (samples*h*blocks, L, d)."""
        heads = slice(chunk.samples.start * self.heads, chunk.samples.stop * self.heads)
        count = heads.stop - heads.start
        out = out[: count * chunk.rows.numel() * self.dim].view(count, -1, self.dim)
        torch.index_select(x[heads], 1, chunk.rows, out=out)
        return out.view(count * chunk.blocks, self.keys, self.dim)

    def queries(self, x: Tensor, chunk: Chunk) -> Tensor:
        """Query rows of x (B, h, N, d) -> (samples*h*blocks, block length, d)."""
        count = (chunk.samples.stop - chunk.samples.start) * self.heads
        return x[chunk.samples, :, chunk.queries].reshape(count * chunk.blocks, -1, self.dim)

    def probabilities(self, q: Tensor, k: Tensor, chunk: Chunk, out: Tensor) -> Tensor:
        """softmax over the keys of a chunk, (samples*h*blocks, block length, L), written into ``out``."""
        count, length = q.shape[:2]
        scores = out[: count * length * self.keys].view(count, length, self.keys)
        scale = self.dim**-0.5
        if chunk.index is None or self.table is None:
            scores.zero_()
            if chunk.masked is not None:
                scores.view(-1, chunk.blocks, length, self.keys).masked_fill_(
                    chunk.masked[:, None], float("-inf")
                )
        elif chunk.index.shape[0] == 1:
            samples = scores.view(-1, self.heads, chunk.index.shape[1])
            torch.index_select(self.table, 1, chunk.index[0], out=samples[0])
            samples[1:] = samples[0]
        else:
            for sample, index in zip(
                scores.view(-1, self.heads, chunk.index.shape[1]), chunk.index, strict=True
            ):
                torch.index_select(self.table, 1, index, out=sample)
        if q.dtype == self.dtype:
            scores.baddbmm_(q, k.transpose(1, 2), alpha=scale)
        else:
            scores.add_(torch.bmm(q, k.transpose(1, 2)), alpha=scale)
        return torch.softmax(scores, dim=-1, out=scores)

    def cls_probabilities(self, q: Tensor, k: Tensor) -> Tensor:
        """Probabilities of the CLS query (B, h, N) from q, k (B, h, N, d)."""
        scores = (q[:, :, :1] @ k.transpose(-2, -1)).squeeze(2).to(self.dtype) * self.dim**-0.5
        if self.table is not None:
            scores[:, :, 1:] += self.table[:, self.num_rows - 3, None]
            scores[:, :, 0] += self.table[:, self.num_rows - 1]
        return scores.softmax(dim=-1)
