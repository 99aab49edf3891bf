"""Chapter 3's patterns of attention, each as a matrix of edges a layer, at equal density where compared.

Blocks are counted in tokens of the tiny encoder, whose clip is a grid (frames, rows, columns). Local
patterns keep one block per query: a run of the sequence (with as many tokens as a frame: the same
frame), or a box of space-time. The paper's pattern adds random blocks; the CLS token sees all and is
seen by all, except in the controls ``*_no_cls``, whose patch tokens cannot read it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from svitt.config import require
from svitt.layers.edges import EdgeSparsity, fixed_edges, neighbourhood_order
from svitt.models.masked_attention import edge_density

Grid = tuple[int, int, int]


@dataclass(frozen=True)
class Pattern:
    """One way to choose edges. edges: None is dense. cls: whether patch tokens read the CLS token."""

    edges: EdgeSparsity | None
    cls: bool = True


def at_density(grid: Grid, share: float, block_size: int, num_local: int = 1, seed: int = 0) -> EdgeSparsity:
    """Local and random blocks that hold ``share`` of the clip's patch tokens together.

    Errors: ConfigError where no whole number of blocks does.
    """
    blocks = grid[0] * grid[1] * grid[2] // block_size
    wanted = share * blocks
    whole = abs(wanted - round(wanted)) < 1e-9 and round(wanted) >= num_local
    require(whole, "share", share, f"multiples of 1/{blocks} from {num_local}/{blocks}")
    return EdgeSparsity(num_local, round(wanted) - num_local, block_size, seed=seed)


def named_patterns(grid: Grid, block_size: int, seed: int = 0) -> dict[str, Pattern]:
    """The patterns of the chapter. All but ``dense`` and ``cls_only`` let a patch token read a quarter of
    the clip (for a grid of four frames) besides CLS.

    full: the paper's, 1 local block and random ones. local: the same frame, contiguous in the sequence.
    tube: the same quarter of the picture in every frame. random: random blocks alone. Every pattern
    with edges between patch tokens has a twin without CLS.
    """
    frames, rows, columns = grid
    frame = rows * columns
    share = 1 / frames
    require(rows % 2 == 0 and columns % 2 == 0, "grid", grid, "even rows and columns, for boxes")
    box = (frames, rows // 2, columns // 2)
    kinds: dict[str, EdgeSparsity | None] = {
        "dense": None,
        "full": at_density(grid, share, block_size, 1, seed),
        "local": EdgeSparsity(1, 0, frame, seed=seed),
        "tube": EdgeSparsity(1, 0, frames * frame // 4, neighbourhood=box, seed=seed),
        "random": at_density(grid, share, block_size, 0, seed),
    }
    patterns = {name: Pattern(edges) for name, edges in kinds.items()}
    patterns["cls_only"] = Pattern(EdgeSparsity(0, 0, block_size, seed=seed))
    return patterns | {f"{name}_no_cls": Pattern(edges, cls=False) for name, edges in kinds.items()}


def density_sweep(grid: Grid, block_size: int, shares: Sequence[float], seed: int = 0) -> dict[str, Pattern]:
    """``full@share`` and ``random@share``: the paper's pattern and random blocks, by share of the clip."""
    swept = {}
    for share in shares:
        swept[f"full@{share:g}"] = Pattern(at_density(grid, share, block_size, 1, seed))
        swept[f"random@{share:g}"] = Pattern(at_density(grid, share, block_size, 0, seed))
    return swept


def layer_mask(pattern: Pattern, grid: Grid, layer: int) -> Tensor:
    """(1+K, 1+K) bool: row reads column, CLS first, patch tokens in the order of the sequence."""
    tokens = grid[0] * grid[1] * grid[2]
    if pattern.edges is None:
        mask = torch.ones(1 + tokens, 1 + tokens, dtype=torch.bool)
    else:
        mask = fixed_edges(pattern.edges, layer, tokens).mask(tokens)
        if pattern.edges.neighbourhood is not None:
            # The pattern counts tokens box by box; back to the order of the sequence.
            place = neighbourhood_order(grid, pattern.edges.neighbourhood).argsort()
            index = torch.cat([torch.zeros(1, dtype=torch.int64), 1 + place])
            mask = mask[index][:, index]
    if not pattern.cls:
        mask = mask.clone()
        mask[1:, 0] = False
    return mask


def masks(pattern: Pattern, grid: Grid, depth: int) -> list[Tensor]:
    """The edges of every layer."""
    return [layer_mask(pattern, grid, layer) for layer in range(depth)]


def hop_distances(mask: npt.NDArray[np.bool_], max_hops: int = 16) -> npt.NDArray[np.int64]:
    """How many layers of one pattern a patch token needs to hear of another: (K, K), 0 on the diagonal.

    mask: (1+K, 1+K), CLS first, row reads column; a token always keeps what it has. Pairs that
    ``max_hops`` layers do not join are -1.
    """
    reach = np.eye(len(mask), dtype=bool)
    hops = np.where(reach, 0, -1)
    step = (mask | reach).astype(np.float32)
    for hop in range(1, max_hops + 1):
        reached = (step @ reach.astype(np.float32)) > 0
        hops[reached & ~reach] = hop
        if (reached == reach).all():
            break
        reach = reached
    return hops[1:, 1:]


def measures(pattern: Pattern, grid: Grid, depth: int) -> dict[str, npt.NDArray[np.float64]]:
    """A number each, as an array ().

    edge_density: of all layers. mean_hops: layers of the first one's pattern that a patch token needs to hear
    of another, over the pairs that it joins; unreached: the share of the other pairs.
    """
    hops = hop_distances(layer_mask(pattern, grid, 0).numpy())
    others = ~np.eye(len(hops), dtype=bool)
    reached = others & (hops > 0)
    numbers = {
        "edge_density": edge_density(masks(pattern, grid, depth)),
        "mean_hops": float(hops[reached].mean()) if reached.any() else 0.0,
        "unreached": float((hops[others] < 0).mean()),
    }
    return {name: np.array(number) for name, number in numbers.items()}
