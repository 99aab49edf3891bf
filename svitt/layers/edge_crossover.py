"""Which of two ways of edge-sparse attention is faster: the kernel, or dense attention under a mask.

The time of either is a sum of terms (calls, chunks, pairs, looked-up biases ...), each at its own price.
The prices of a device, dtype, with or without bias, forward or training, are fitted to measurements by
``python -m svitt.profiling.edge_crossover``, which judges the choices on sizes that it held out. On the
machine named in ``svitt.layers._edge_costs`` they were 0.8% slower than the better way on average, above 5%
in 16 of 240 cases (8 of these by less than the noise of their times) and 19% at most; the kernel alone 29%,
the mask alone 35% on average. Other work ran on the machine: the median noise is 6%. The terms were chosen
after a first look at the same sizes, the prices were not.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from svitt.layers._edge_costs import COSTS
from svitt.layers._edge_kernel import CPU_CHUNK, CPU_GROUP, cut
from svitt.layers.edges import EdgePattern, num_blocks
from svitt.layers.relative_position import RelativePosition

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


def seconds(terms: tuple[int, ...], prices: tuple[float, ...]) -> float:
    """Their sum: each term at its price."""
    return sum(term * price for term, price in zip(terms, prices, strict=True))


def masked_is_faster(
    q: Tensor, k: Tensor, v: Tensor, pattern: EdgePattern, position: RelativePosition | None
) -> bool:
    """By the prices; what has none (CUDA, float64) goes to the kernel. q, k, v (B, h, 1+K, d)."""
    learnt = (q, k, v) if position is None else (q, k, v, position.table)
    training = torch.is_grad_enabled() and any(x.requires_grad for x in learnt)
    prices = COSTS.get((q.device.type, q.dtype, position is not None, training))
    if prices is None:
        return False
    batch, heads, n, dim = q.shape
    codes = 0 if position is None else position.codes.shape[0] if position.codes.dim() == 2 else 1
    call = Call(batch, heads, n - 1, dim, pattern.block_size, pattern.blocks.shape[1], codes)
    return seconds(call.masked_terms(), prices[0]) <= seconds(call.chunked_terms(), prices[1])
