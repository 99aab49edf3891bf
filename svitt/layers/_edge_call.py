"""The sizes of a call of edge-sparse attention, and what its time is made of."""

from __future__ import annotations

from dataclasses import dataclass

from svitt.layers._edge_kernel import CPU_CHUNK, CPU_GROUP, cut
from svitt.layers.edges import num_blocks

# Pairs beyond which memory for scores that PyTorch writes down is, as a rule, returned to the system after
# every call: asked for anew, it costs page faults. It depends on what the process did before.
LARGE = 2**21


@dataclass(frozen=True)
class Call:
    """Sizes of a call. tokens: without CLS. width: key blocks of a query block. codes: sets of position
    codes: none without bias, one, or one a sample where the samples keep different tokens."""

    batch: int
    heads: int
    tokens: int
    dim: int
    block_size: int
    width: int
    codes: int

    def masked_terms(self) -> tuple[int, ...]:
        """Of dense attention under a mask, in the order of ``COSTS``."""
        n, units = 1 + self.tokens, self.batch * self.heads
        pairs = units * n**2
        # PyTorch's fused kernel takes blocks of 32 queries up to 192 of them, and of 64 from there.
        short = pairs if n < 192 else 0
        biases, large = self.codes * self.heads * n**2, pairs if pairs > LARGE else 0
        return 1, units, units * n * self.dim, pairs, pairs * self.dim, short, large, biases

    def chunked_terms(self) -> tuple[int, ...]:
        """Of the kernel, in the order of ``COSTS``."""
        n, units, keys = 1 + self.tokens, self.batch * self.heads, 1 + self.width * self.block_size
        blocks, full = num_blocks(self.tokens, self.block_size), self.tokens // self.block_size
        samples, heads, blocks_a_chunk = cut(
            self.batch, self.heads, n * self.dim, keys * self.dim, blocks, CPU_GROUP, CPU_CHUNK
        )
        of_samples, of_heads = -(-self.batch // samples), -(-self.heads // heads)
        groups = of_samples * of_heads
        chunks = groups * (-(-full // blocks_a_chunk) + blocks - full)  # a short last block comes alone
        looked_up = of_heads * (self.codes if self.codes > 1 else self.codes * of_samples)
        rows, products, biases = units * self.tokens, units * blocks, looked_up * self.tokens * keys
        pairs, gathered = rows * keys, products * keys * self.dim
        whole = units * n * self.dim
        return 1, groups, chunks, products, rows, whole, gathered, pairs, pairs * self.dim, biases
