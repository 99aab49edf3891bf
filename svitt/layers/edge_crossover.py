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

import torch
from torch import Tensor

from svitt.layers._edge_call import Call
from svitt.layers._edge_costs import COSTS
from svitt.layers.edges import EdgePattern
from svitt.layers.relative_position import RelativePosition


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
