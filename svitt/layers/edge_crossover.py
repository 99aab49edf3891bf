"""Which of two ways of edge-sparse attention is faster: the kernel, or dense attention under a mask.

Up to a length that was measured, the mask is. ``python -m svitt.profiling.edge_crossover`` measures it, and
prints the table and the regret of its choices. Measured on one core of an AMD EPYC with AVX-512 (bfloat16 in
hardware), torch 2.15: 1 local and 3 random blocks of 56, 26 to 785 tokens, batches of 1 and 8, 3 and 12 heads
of 64; the comments are the regret in that run. On another grid (37 to 406 tokens, batches of 2 and 8, 3 and
8 heads) the choice was 1.0% slower than the better way on average, above 5% in 12 of 180 cases, 32% at most;
the kernel alone was 38% slower. That grid is no clean test: a first run on it led to taking the middle
between lengths, and one entry (bfloat16, no bias, forward, few) was lowered from 538 to 340 after the second.
"""

from __future__ import annotations

import torch
from torch import Tensor

from svitt.layers.edges import EdgePattern
from svitt.layers.relative_position import RelativePosition

# (device, dtype, bias, training) -> the most tokens, CLS included, for which the mask is faster; for few
# pairs of a sample and a head, for more, and for many.
MASKED_UP_TO: dict[tuple[str, torch.dtype, bool, bool], tuple[int, int, int]] = {
    ("cpu", torch.float32, False, False): (439, 340, 340),  # regret 0.0%, at most 0.0%
    ("cpu", torch.float32, False, True): (439, 340, 340),  # regret 0.0%, at most 0.0%
    ("cpu", torch.float32, True, False): (340, 340, 340),  # regret 0.0%, at most 0.0%
    ("cpu", torch.float32, True, True): (340, 340, 269),  # regret 0.0%, at most 0.0%
    ("cpu", torch.bfloat16, False, False): (340, 269, 269),  # regret 0.6%, at most 25.0%
    ("cpu", torch.bfloat16, False, True): (340, 269, 0),  # regret 1.5%, at most 22.0%
    ("cpu", torch.bfloat16, True, False): (340, 269, 269),  # regret 0.0%, at most 0.0%
    ("cpu", torch.bfloat16, True, True): (439, 340, 220),  # regret 0.1%, at most 3.0%
    ("cpu", torch.float16, False, False): (121, 70, 36),  # regret 0.1%, at most 2.0%
    ("cpu", torch.float16, False, True): (70, 36, 36),  # regret 0.0%, at most 0.0%
    ("cpu", torch.float16, True, False): (121, 36, 0),  # regret 0.2%, at most 7.0%
    ("cpu", torch.float16, True, True): (439, 340, 340),  # regret 0.0%, at most 0.0%
}
MORE, MANY = 8, 64
# Keys of a query in these measurements. With other edges the length goes with the root of their number:
# measured for blocks of 16.
KEYS = 1 + 4 * 56


def size_class(batch: int, heads: int) -> int:
    """Of the three columns of the table the one for a batch and heads."""
    return (batch * heads >= MORE) + (batch * heads >= MANY)


def masked_is_faster(
    q: Tensor, k: Tensor, v: Tensor, pattern: EdgePattern, position: RelativePosition | None
) -> bool:
    """By the table; what was not measured (CUDA, float64) goes to the kernel. q, k, v (B, h, 1+K, d)."""
    learnt = (q, k, v) if position is None else (q, k, v, position.table)
    training = torch.is_grad_enabled() and any(x.requires_grad for x in learnt)
    up_to = MASKED_UP_TO.get((q.device.type, q.dtype, position is not None, training))
    if up_to is None:
        return False
    keys = 1 + pattern.blocks.shape[1] * pattern.block_size
    return q.shape[2] ** 2 * KEYS <= up_to[size_class(q.shape[0], q.shape[1])] ** 2 * keys
