"""Measures up to which length a mask beats the kernel of edge-sparse attention: the table of
``svitt.layers.edge_crossover``. ``python -m svitt.profiling.edge_crossover`` prints it, with its regret:
how much slower its choice is than the better one of both, over all that was measured.
"""

from __future__ import annotations

import argparse
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import mean

import torch

from svitt.layers.edge_crossover import size_class
from svitt.layers.edge_sparse_attention import Backend, edge_attention
from svitt.layers.edges import EdgeSparsity, fixed_edges
from svitt.layers.relative_position import Grid, RelativePosition, code_offset, position_codes, table_rows
from svitt.profiling.benchmark import Clock, interleave, threads

# Grids of tokens: one to four frames, whole and small images.
SMALL, LARGE = (7, 7), (14, 14)
GRIDS = ((1, 5, 5), *((n, *SMALL) for n in (1, 2, 3, 5, 6, 10)), *((n, *LARGE) for n in (1, 2, 3, 4)))
WAYS: tuple[Backend, Backend] = ("masked", "chunked")


@dataclass(frozen=True)
class Measured:
    """Seconds of both ways for sequences of ``tokens``, CLS included."""

    tokens: int
    batch: int
    heads: int
    masked: float
    chunked: float

    def regret(self, up_to: int) -> float:
        """How much slower the choice is than the better way: 0.1 is 10%."""
        taken = self.masked if self.tokens <= up_to else self.chunked
        return taken / min(self.masked, self.chunked) - 1


def measure(
    dtype: torch.dtype,
    bias: bool,
    training: bool,
    edges: EdgeSparsity,
    sizes: Sequence[tuple[int, int]] = ((1, 3), (1, 12), (8, 3), (8, 12)),
    device: str = "cpu",
    repeats: int = 7,
) -> list[Measured]:
    """Both ways on all grids; ``sizes`` are pairs of a batch and a number of heads (of 64 channels)."""
    found = []
    clock: Clock = "cpu" if device == "cpu" else "wall"
    for grid, (batch, heads) in itertools.product(sorted(GRIDS, key=math.prod), sizes):
        run = _step(grid, batch, heads, dtype, bias, training, edges, device)
        times = interleave({way: partial(run, way) for way in WAYS}, repeats, 2, device, clock)
        tokens = 1 + math.prod(grid)
        found.append(Measured(tokens, batch, heads, times["masked"].lower, times["chunked"].lower))
    return found


def _step(
    grid: Grid,
    batch: int,
    heads: int,
    dtype: torch.dtype,
    bias: bool,
    training: bool,
    edges: EdgeSparsity,
    device: str,
) -> Callable[[Backend], object]:
    """One pass by a backend that is still to be named."""
    tokens, g = math.prod(grid), torch.Generator().manual_seed(0)
    q, k, v = torch.randn(3, batch, heads, 1 + tokens, 64, generator=g).to(device, dtype).unbind(0)
    table = torch.randn(table_rows(grid), heads, generator=g).to(device)
    inputs = [x.requires_grad_(training) for x in ((q, k, v, table) if bias else (q, k, v))]
    codes = position_codes(grid, device=torch.device(device))
    position = RelativePosition(table, codes, code_offset(grid)) if bias else None
    pattern, upstream = fixed_edges(edges, 0, tokens), torch.ones_like(q)

    def run(way: Backend) -> object:
        out = edge_attention(q, k, v, pattern, position, backend=way)[0]
        return torch.autograd.grad(out, inputs, upstream) if training else out

    return run


def crossover(found: Sequence[Measured]) -> int:
    """The length whose choice has the least mean regret, half way to the next that was measured; 0 is never
    the mask."""
    lengths = sorted({x.tokens for x in found})
    best = min([0, *lengths], key=lambda n: mean(x.regret(n) for x in found))
    longer = [n for n in lengths if n > best][:1] or [best]
    return round(math.sqrt(best * longer[0]))


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=7)
    args = parser.parse_args()
    with threads(1):
        for dtype, bias, training in itertools.product(
            (torch.float32, torch.bfloat16, torch.float16), (False, True), (False, True)
        ):
            found = measure(dtype, bias, training, EdgeSparsity(), device=args.device, repeats=args.repeats)
            classes = [[x for x in found if size_class(x.batch, x.heads) == n] for n in range(3)]
            up_to = tuple(map(crossover, classes))
            regrets = [x.regret(n) for n, some in zip(up_to, classes, strict=True) for x in some]
            kernel = mean(x.regret(0) for x in found)
            print(
                f'("{args.device}", {dtype}, {bias}, {training}): {up_to},  '
                f"# regret {mean(regrets):.1%}, at most {max(regrets):.1%}; the kernel alone {kernel:.1%}",
                flush=True,
            )
            for x in found:
                ratio = x.chunked / x.masked
                print(f"#   {x.tokens:5d} tokens, batch {x.batch}, {x.heads:2d} heads: {ratio:.2f}")


if __name__ == "__main__":
    main()
