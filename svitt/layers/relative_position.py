"""Positions in space and time: the 3-D relative position bias, and cosines for absolute embeddings.

A token at (t, h, w) of a grid (T, H, W) has one integer, its code
``t (2H-1)(2W-1) + h (2W-1) + w``. The row of the bias table for query q and key k is
``code[q] - code[k] + offset``: a difference, so no N x N index is stored and any set of tokens,
pruned ones of each sample included, needs only its own codes. The last three rows of the table are
for the CLS token: CLS to token, token to CLS, CLS to CLS (BEiT, extended over time; SViTT section 3).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Grid = tuple[int, int, int]


def table_rows(grid: Grid) -> int:
    """Rows of the bias table of a grid (T, H, W): (2T-1)(2H-1)(2W-1) + 3."""
    t, h, w = grid
    return (2 * t - 1) * (2 * h - 1) * (2 * w - 1) + 3


def position_codes(grid: Grid, frames: int | None = None, device: torch.device | None = None) -> Tensor:
    """Codes (frames*H*W,) int64 of all tokens of the first ``frames`` frames (default: all) of the grid."""
    t, h, w = grid
    t = t if frames is None else frames
    rows = torch.arange(t * h * w, device=device)
    time, rest = rows // (h * w), rows % (h * w)
    return time * (2 * h - 1) * (2 * w - 1) + (rest // w) * (2 * w - 1) + rest % w


def code_offset(grid: Grid) -> int:
    """What makes ``code[q] - code[k] + offset`` start at 0."""
    t, h, w = grid
    return (t - 1) * (2 * h - 1) * (2 * w - 1) + (h - 1) * (2 * w - 1) + (w - 1)


@dataclass(frozen=True)
class RelativePosition:
    """The bias of one attention layer for given tokens.

    table: (R, heads), R = table_rows(grid).
    codes: (K,) for a shared token set or (B, K) for each sample's own; CLS not counted.
    offset: code_offset(grid).
    """

    table: Tensor
    codes: Tensor
    offset: int

    def dense(self) -> Tensor:
        """Bias of every pair, CLS first: (1 or B, heads, 1+K, 1+K). For short sequences."""
        codes = self.codes if self.codes.dim() == 2 else self.codes[None]
        index = codes[:, :, None] - codes[:, None, :] + self.offset  # (B', K, K)
        index = F.pad(index, (1, 0, 1, 0))
        rows = self.table.shape[0]
        index[:, 0, :] = rows - 3
        index[:, :, 0] = rows - 2
        index[:, 0, 0] = rows - 1
        batch, n, _ = index.shape
        bias = self.table.t().index_select(1, index.reshape(-1))  # (heads, B'*N*N)
        return bias.view(-1, batch, n, n).transpose(0, 1)  # (B', heads, N, N)

    def cls_row(self) -> Tensor:
        """Bias of the CLS query for all keys, CLS first: (heads, 1+K)."""
        tokens = self.table[-3, :, None].expand(-1, self.codes.shape[-1])  # (heads, K)
        return torch.cat([self.table[-1, :, None], tokens], dim=1)


def cosine_positions(
    grid: Grid, width: int, scale: float, generator: torch.Generator | None = None
) -> Tensor:
    """Start of a learnt absolute embedding: (T*H*W, width), low-frequency cosines.

    Every axis of n cells gives cos(pi f (i + 1/2) / n) for f = 1 .. min(n - 1, 4), with weight 1/f, so
    that near cells start alike and the first wave grows steadily along the axis. Each wave has its own
    random direction among the channels, orthogonal to the others; the result has standard deviation
    ``scale``. A grid of one cell gives 0.
    """
    axes = torch.meshgrid(*(torch.arange(n, dtype=torch.float32) + 0.5 for n in grid), indexing="ij")
    waves = [
        torch.cos(math.pi * f * axis.reshape(-1) / n) / f
        for axis, n in zip(axes, grid, strict=True)
        for f in range(1, min(n - 1, 4) + 1)
    ]
    if not waves:
        return torch.zeros(math.prod(grid), width)
    basis = torch.stack(waves, dim=1)  # (N, F)
    # Orthogonal directions: with independent weights, chance decides how well two axes can be told apart.
    directions = torch.empty(basis.shape[1], width)
    nn.init.orthogonal_(directions, generator=generator)
    mixed = basis @ directions
    return mixed * (scale / mixed.std())


def infer_grid(rows: int, target: Grid) -> Grid | None:
    """The grid (T, H, W) of a bias table with ``rows`` rows, for use on the grid ``target``.

    In this order: the target's own; the target's height and width with other frames; one frame of a
    square image; None when nothing fits.
    """
    _, h, w = target
    body = rows - 3
    if rows == table_rows(target):
        return target
    frames, rest = divmod(body, (2 * h - 1) * (2 * w - 1))
    if rest == 0 and frames % 2 == 1:
        return (frames + 1) // 2, h, w
    side = math.isqrt(max(body, 0))
    return (1, (side + 1) // 2, (side + 1) // 2) if side * side == body and side % 2 == 1 else None


def resize_table(table: Tensor, source: Grid, target: Grid) -> Tensor:
    """A bias table (R, heads) of one grid for another.

    Over time by nearest neighbours, so that one frame (the 2-D table of an image model) is repeated, as
    the release inflates BEiT; over space bicubic, as timm does. The three CLS rows stay. Returns (R', heads),
    R' = table_rows(target).
    """
    if source == target:
        return table
    old, new = (tuple(2 * n - 1 for n in grid) for grid in (source, target))
    body = table[:-3].t().float().reshape(-1, *old)  # (heads, 2T-1, 2H-1, 2W-1)
    if old[1:] != new[1:]:
        body = F.interpolate(body, size=new[1:], mode="bicubic", align_corners=False)
    if old[0] != new[0]:
        # (heads, 2T-1, rest) -> (heads, rest, 2T-1), whose last axis is resized, and back
        body = F.interpolate(body.flatten(2).transpose(1, 2), size=new[0], mode="nearest").transpose(1, 2)
    return torch.cat([body.reshape(table.shape[1], -1).t().to(table.dtype), table[-3:]])


def resize_embedding(embedding: Tensor, source: Grid, target: Grid) -> Tensor:
    """An absolute embedding (1, T*H*W, D) of one grid for another: linear over time, bicubic over space.

    source, target: (T, H, W). Returns (1, T'*H'*W', D) in the dtype of the embedding.
    """
    if source == target:
        return embedding
    width = embedding.shape[2]
    x = embedding.float().reshape(*source, width).permute(0, 3, 1, 2)  # (T, D, H, W)
    if source[1:] != target[1:]:
        x = F.interpolate(x, size=target[1:], mode="bicubic", align_corners=False)
    if source[0] != target[0]:
        x = x.permute(2, 3, 1, 0).flatten(0, 1)  # (H*W, D, T)
        x = F.interpolate(x, size=target[0], mode="linear", align_corners=False)
        x = x.view(*target[1:], width, target[0]).permute(3, 2, 0, 1)  # (T', D, H', W')
    return x.permute(0, 2, 3, 1).reshape(1, -1, width).to(embedding.dtype)
