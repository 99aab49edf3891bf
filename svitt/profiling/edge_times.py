"""Times of the two ways of edge-sparse attention, over sizes drawn by chance: what ``edge_crossover`` fits.

Every size has its own numbers of tokens, samples, heads, channels and edges: those drawn from one seed are a
fair test of what was fitted to those of another.
"""

from __future__ import annotations

import itertools
import json
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from svitt.config import require
from svitt.layers._edge_call import Call
from svitt.layers.edge_sparse_attention import Backend, edge_attention
from svitt.layers.edges import EdgeSparsity, fixed_edges
from svitt.layers.relative_position import RelativePosition, code_offset, position_codes, table_rows
from svitt.profiling.benchmark import Clock, interleave

WAYS: tuple[Backend, Backend] = ("masked", "chunked")
DTYPES = ("float32", "bfloat16", "float16")
# Calls are repeated to last as long, in seconds: the clock of the CPU is coarse.
SHORTEST = 1e-3


@dataclass(frozen=True)
class Case:
    """One call: frames x side x side tokens beside CLS; edges of 1 local and ``random_blocks`` random blocks
    of ``block_size``; own: each sample has its own tokens, and with them its own bias."""

    dtype: str
    bias: bool
    training: bool
    frames: int
    side: int
    batch: int
    heads: int
    dim: int
    block_size: int
    random_blocks: int
    own: bool

    @property
    def tokens(self) -> int:
        """Patch tokens."""
        return self.frames * self.side**2

    def edges(self) -> EdgeSparsity:
        """As the encoder takes them."""
        return EdgeSparsity(1, self.random_blocks, self.block_size)

    def call(self) -> Call:
        """What the choice looks at."""
        width = fixed_edges(self.edges(), 0, self.tokens).blocks.shape[1]
        codes = 0 if not self.bias else self.batch if self.own else 1
        return Call(self.batch, self.heads, self.tokens, self.dim, self.block_size, width, codes)


@dataclass(frozen=True)
class Times:
    """Seconds of a call both ways, lower quartiles. noise: of the ratio of neighbouring runs half the
    distance of its quartiles, over its median; of the ratio of several visits half their distance, over
    the mean, if that is more."""

    case: Case
    held_out: bool
    masked: float
    chunked: float
    noise: float

    def regret(self, masked: bool) -> float:
        """How much slower the choice is than the better way: 0.1 is 10%."""
        return (self.masked if masked else self.chunked) / min(self.masked, self.chunked) - 1


def draw_cases(seed: int, count: int) -> list[Case]:
    """``count`` sizes, each in all dtypes, with and without bias, forward and training."""
    draw, found = random.Random(seed), list[Case]()
    while len(found) < count:
        side = draw.choice((5, 6, 7, 8, 9, 10, 12, 14, 16))
        frames = max(1, round(math.exp(draw.uniform(math.log(36), math.log(600))) / side**2))
        batch, heads = draw.choice((1, 1, 2, 3, 4, 6, 8)), draw.choice((2, 3, 4, 6, 8, 12, 16))
        dim, own = draw.choice((64, 64, 64, 32)), batch > 1 and draw.random() < 0.25
        edges = draw.choice(((56, 3),) * 5 + ((16, 3), (32, 3), (56, 1)))
        case = Case("float32", False, False, frames, side, batch, heads, dim, *edges, own=own)
        # Beyond, the kernel is faster by far: dear to measure, and no help.
        if batch * heads * case.tokens**2 < 4e6 and case not in found:
            found.append(case)
    kinds = itertools.product(DTYPES, (False, True), (False, True))
    return [replace(x, dtype=dtype, bias=b, training=t) for dtype, b, t in kinds for x in found]


def measure(case: Case, held_out: bool, repeats: int, device: str = "cpu") -> Times:
    """Both ways, interleaved."""
    clock: Clock = "cpu" if device == "cpu" else "wall"
    run = step(case, device)
    first = interleave({way: partial(run, way) for way in WAYS}, 1, 1, device, clock)
    rounds = max(1, math.ceil(SHORTEST / max(1e-6, min(x.median for x in first.values()))))

    def several(way: Backend) -> None:
        for _ in range(rounds):
            run(way)

    found = interleave({way: partial(several, way) for way in WAYS}, repeats, 0, device, clock)
    masked, chunked = (np.array(found[way].runs) / rounds for way in WAYS)
    lower, middle, upper = np.percentile(chunked / masked, [25, 50, 75])
    first_quartiles = [float(f"{np.percentile(x, 25):.4g}") for x in (masked, chunked)]
    noise = float(f"{(upper - lower) / 2 / middle:.2g}")
    return Times(case, held_out, first_quartiles[0], first_quartiles[1], noise)


def step(case: Case, device: str = "cpu") -> Callable[[Backend], Any]:
    """One call by a backend that is still to be named."""
    grid, g = (case.frames, case.side, case.side), torch.Generator().manual_seed(0)
    shape, dtype = (case.batch, case.heads, 1 + case.tokens, case.dim), getattr(torch, case.dtype)
    q, k, v = torch.randn(3, *shape, generator=g).to(device, dtype).unbind(0)
    table = torch.randn(table_rows(grid), case.heads, generator=g).to(device)
    inputs = [x.requires_grad_(case.training) for x in ((q, k, v, table) if case.bias else (q, k, v))]
    codes = position_codes(grid, device=torch.device(device))
    codes = codes.repeat(case.batch, 1) if case.own else codes
    position = RelativePosition(table, codes, code_offset(grid)) if case.bias else None
    pattern, upstream = fixed_edges(case.edges(), 0, case.tokens), torch.ones_like(q)

    def run(way: Backend) -> Any:
        out = edge_attention(q, k, v, pattern, position, backend=way)[0]
        return torch.autograd.grad(out, inputs, upstream) if case.training else out

    return run


def least(visits: Sequence[Times]) -> Times:
    """One from the visits to a case."""
    ratios = [x.chunked / x.masked for x in visits]
    between = (max(ratios) - min(ratios)) / 2 / float(np.mean(ratios))
    masked, chunked = min(x.masked for x in visits), min(x.chunked for x in visits)
    noise = max(between, *(x.noise for x in visits))
    return Times(visits[0].case, visits[0].held_out, masked, chunked, noise)


class TimesFile:
    """Lines of JSON: what measured, and then the times of a visit to a case each. A file begun is gone on
    with.

    Errors: ConfigError for one that was begun elsewhere or otherwise.
    """

    def __init__(self, path: Path, header: dict[str, Any] | None = None) -> None:
        self.path, self.visits = path, list[Times]()
        text = path.read_text() if path.is_file() else ""
        lines = text.splitlines()[: text.count("\n")]  # without a line that was cut off
        self.header = json.loads(lines[0]) if lines else header
        if header is not None:
            require(self.header == header, str(path), self.header, f"{header}; or another file")
        for line in lines[1:]:
            kind, size, held_out, *numbers = json.loads(line)
            self.visits.append(Times(Case(*kind, *size), held_out, *numbers))
        if header is not None:
            path.write_text("".join(f"{line}\n" for line in lines or [json.dumps(header)]))

    def times(self) -> list[Times]:
        """Of all cases, the least of their visits: what else the machine did lengthens a time, never more."""
        found: dict[tuple[Case, bool], list[Times]] = {}
        for x in self.visits:
            found.setdefault((x.case, x.held_out), []).append(x)
        return [least(x) for x in found.values()]

    def add(self, x: Times) -> None:
        """Writes a line."""
        kind, size = astuple(x.case)[:3], astuple(x.case)[3:]
        with self.path.open("a") as file:
            file.write(json.dumps([kind, size, x.held_out, x.masked, x.chunked, x.noise]) + "\n")
        self.visits.append(x)
