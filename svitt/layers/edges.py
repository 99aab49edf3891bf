"""Edge sparsity: which blocks of keys every block of queries may see (SViTT section 3.2).

The patch tokens, CLS apart, are cut in sequence into blocks of ``block_size``; the last one may be
short. A pattern is a value, a table of block numbers, drawn from a generator that the caller owns.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from svitt.config import require


@dataclass(frozen=True)
class EdgeSparsity:
    """Which key blocks a query block attends to, besides CLS (SViTT section 3.2).

    num_local_blocks: odd window of blocks around the query block; 0 leaves it out (a control).
    num_random_blocks: further blocks, drawn without repetition.
    block_size: tokens a block.
    redraw: draw the random blocks anew at every layer and training step (evaluation stays fixed).
    attend_padding: reproduce the release, which attends to the zero padding of a last short block.
    neighbourhood: (frames, rows, columns) of a space-time block, whose product is block_size; None
        groups the tokens in sequence order.
    seed: of the fixed patterns (one for every layer and number of blocks).
    """

    num_local_blocks: int = 1
    num_random_blocks: int = 3
    block_size: int = 56
    redraw: bool = False
    attend_padding: bool = False
    neighbourhood: tuple[int, int, int] | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        n = self.num_local_blocks
        odd = isinstance(n, int) and (n == 0 or (n >= 1 and n % 2 == 1))
        require(odd, "num_local_blocks", n, "odd integers from 1, or 0 for none")
        n = self.num_random_blocks
        require(isinstance(n, int) and n >= 0, "num_random_blocks", n, "integers from 0")
        n = self.block_size
        require(isinstance(n, int) and n >= 1, "block_size", n, "integers from 1")
        if self.neighbourhood is not None:
            t, h, w = self.neighbourhood
            require(
                min(t, h, w) >= 1 and t * h * w == self.block_size,
                "neighbourhood",
                self.neighbourhood,
                f"three positive integers whose product is block_size = {self.block_size}",
            )


def num_blocks(num_tokens: int, block_size: int) -> int:
    """Blocks that hold ``num_tokens`` patch tokens; the last may be short."""
    return -(-num_tokens // block_size)


def local_blocks(blocks: int, window: int) -> Tensor:
    """(blocks, window) block numbers around each block; -1 beyond either end. ``window`` odd, or 0."""
    offsets = torch.arange(window) - window // 2
    table = torch.arange(blocks)[:, None] + offsets
    return table.masked_fill((table < 0) | (table >= blocks), -1)


def draw_blocks(blocks: int, window: int, num_random: int, generator: torch.Generator) -> Tensor:
    """Draws a block table (blocks, key blocks): the local window, and random blocks beside it.

    No block stands twice in a row. A row with fewer blocks, at the ends of the window or when there
    are few blocks at all, ends in -1. Rows ascend.
    """
    require(window == 0 or window % 2 == 1, "num_local_blocks", window, "odd integers from 1, or 0 for none")
    local = local_blocks(blocks, window)
    draw = torch.rand(blocks, blocks, generator=generator)
    inside = (torch.arange(blocks)[:, None] - torch.arange(blocks)).abs() <= window // 2
    draw.masked_fill_(inside & (window > 0), -1.0)
    best = draw.topk(min(num_random, blocks), dim=1)
    table = torch.cat([local, best.indices.masked_fill(best.values < 0, -1)], dim=1)
    table = table.masked_fill(table < 0, blocks).sort(dim=1).values
    width = int((table < blocks).sum(dim=1).max()) if table.numel() else 0
    table = table[:, :width].contiguous()
    return table.masked_fill(table == blocks, -1)


def key_rows(
    blocks: Tensor, block_size: int, num_tokens: int, attend_padding: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """``EdgePattern.key_rows`` of its fields, on the device of ``blocks``; looks at no value."""
    within = torch.arange(block_size, device=blocks.device)
    rows = (blocks[:, :, None] * block_size + within).flatten(1)  # (query blocks, keys)
    empty = (blocks < 0).repeat_interleave(block_size, dim=1)
    beyond = ~empty & (rows >= num_tokens)
    padded = beyond if attend_padding else torch.zeros_like(beyond)
    masked = empty | (beyond & ~padded)
    rows = (rows + 1).masked_fill(empty | beyond, 0)
    first = rows.new_zeros(len(blocks), 1)
    return (
        torch.cat([first, rows], dim=1),
        torch.cat([first.bool(), masked], dim=1),
        torch.cat([first.bool(), padded], dim=1),
    )


@dataclass(frozen=True)
class EdgePattern:
    """The key blocks of every query block; the CLS token sees all tokens and all see it.

    blocks: (query blocks, key blocks) int64; -1 is no block.
    block_size: tokens a block.
    attend_padding: a last short block is filled up with keys and values of zero that are attended,
        with the position bias "token to CLS": what the released code does. Off, nothing is attended
        beyond the tokens there are.
    """

    blocks: Tensor
    block_size: int
    attend_padding: bool = False
    _made: dict[Any, Tensor] = field(default_factory=dict, init=False, repr=False, compare=False)

    def on(self, device: torch.device) -> Tensor:
        """``blocks`` on a device, copied there once."""
        return (
            self.blocks
            if self.blocks.device == device
            else self._once(("blocks", device), lambda: self.blocks.to(device))
        )

    def log_counts(self, num_tokens: int, device: torch.device, dtype: torch.dtype) -> Tensor:
        """What a dense attention adds to its scores, (1+K, 1+K + 1 or 0): log of ``counts``, made once.

        0 for an edge, -inf for none. With ``attend_padding`` a column at the end stands for all the zero
        keys that the query attends to: they have equal scores and no value.
        """

        def make() -> Tensor:
            counts = self.counts(num_tokens)
            if self.attend_padding:
                padded = self.key_rows(num_tokens)[2].sum(dim=1)
                column = padded[torch.arange(num_tokens, device=padded.device) // self.block_size]
                counts = torch.cat([counts, F.pad(column, (1, 0))[:, None]], dim=1)
            return counts.to(device, dtype).log()

        return self._once(("counts", num_tokens, device, dtype), make)

    def _once(self, key: tuple[Any, ...], make: Callable[[], Tensor]) -> Tensor:
        """Made at the first call, and kept with the pattern."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def key_rows(self, num_tokens: int) -> tuple[Tensor, Tensor, Tensor]:
        """The keys of every query block of a sequence of 1 + num_tokens, CLS first.

        Returns ``rows`` (query blocks, L) with L = 1 + key blocks x block_size, the key's place in the
        sequence (0, CLS, stands first), and two (query blocks, L) bool tensors: ``masked``, a place
        of the table that holds no key, and ``padded``, a zero key that is attended.
        Errors: ValueError for a table made for another number of tokens.
        """
        self.require_fits(num_tokens)
        return key_rows(self.blocks, self.block_size, num_tokens, self.attend_padding)

    def require_fits(self, num_tokens: int) -> None:
        """Errors: ValueError for a table made for another number of tokens."""
        if ("fits", num_tokens) in self._made:
            return
        count = num_blocks(num_tokens, self.block_size)
        if self.blocks.shape[0] != count or (self.blocks.numel() and int(self.blocks.max()) >= count):
            raise ValueError(
                f"block table for {self.blocks.shape[0]} query blocks with numbers up to "
                f"{int(self.blocks.max()) if self.blocks.numel() else None}; {num_tokens} tokens in blocks "
                f"of {self.block_size} make {count} blocks"
            )
        self._made["fits", num_tokens] = self.blocks

    def counts(self, num_tokens: int) -> Tensor:
        """(1+K, 1+K) int64: how often the query (row) attends to the key; padding not included.

        0 or 1 for drawn patterns. Tables recorded from the release may name a block twice in a row,
        which is then attended twice.
        """
        rows, masked, padded = self.key_rows(num_tokens)
        times = torch.zeros(rows.shape[0], 1 + num_tokens, dtype=torch.int64, device=rows.device)
        times.scatter_add_(1, rows, (~(masked | padded)).long())
        block = torch.arange(num_tokens, device=rows.device) // self.block_size
        return torch.cat([times.new_ones(1, 1 + num_tokens), times[block]])

    def mask(self, num_tokens: int) -> Tensor:
        """(1+K, 1+K) bool, True where the query (row) attends to the key; padding not included."""
        return self.counts(num_tokens) > 0

    def density(self, num_tokens: int) -> float:
        """Share of all query-key pairs that are computed and attended."""
        return float(self.mask(num_tokens).double().mean())


def draw_edges(edges: EdgeSparsity, num_tokens: int, generator: torch.Generator) -> EdgePattern:
    """Draws the pattern of one layer for ``num_tokens`` patch tokens (SViTT section 3.2) from a CPU
    generator: one draw of uniform numbers (blocks, blocks); each row's largest name its random blocks."""
    blocks = num_blocks(num_tokens, edges.block_size)
    table = draw_blocks(blocks, edges.num_local_blocks, edges.num_random_blocks, generator)
    return EdgePattern(table, edges.block_size, edges.attend_padding)


def fixed_edges(edges: EdgeSparsity, layer: int, num_tokens: int) -> EdgePattern:
    """The pattern of a layer that never changes: a function of ``edges.seed``, layer and length."""
    blocks = num_blocks(num_tokens, edges.block_size)
    seed = (edges.seed * 1_000_003 + layer) * 1_000_003 + blocks
    return draw_edges(edges, num_tokens, torch.Generator().manual_seed(seed % 2**63))


def full_edges(num_tokens: int, block_size: int) -> EdgePattern:
    """The pattern in which every block sees every block: dense attention in the kernel's words."""
    blocks = num_blocks(num_tokens, block_size)
    return EdgePattern(torch.arange(blocks).expand(blocks, -1).contiguous(), block_size)


def neighbourhood_order(grid: tuple[int, int, int], neighbourhood: tuple[int, int, int]) -> Tensor:
    """An order (T*H*W,) of the tokens in which space-time neighbourhoods stand together.

    grid, neighbourhood: (frames, rows, columns). Where the sizes divide the grid, each run of
    prod(neighbourhood) tokens is one box of space-time; boxes follow each other column first.
    """
    (t, h, w), (nt, nh, nw) = grid, neighbourhood
    token = torch.arange(t * h * w)
    time, row, column = token // (h * w), token // w % h, token % w
    box = (time // nt * -(-h // nh) + row // nh) * -(-w // nw) + column // nw
    return box.argsort(stable=True)
