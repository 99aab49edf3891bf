"""Token merging: average similar tokens instead of dropping some (ToMe, arXiv 2210.09461, section 3)."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from svitt.config import require


class Matching(NamedTuple):
    """Which of K tokens go into which: sources and targets (B, r), the pairs, and kept (B, K-r), the tokens
    that are left, ascending; all int64, positions among the K."""

    sources: Tensor
    targets: Tensor
    kept: Tensor


def match_tokens(keys: Tensor, merged: int) -> Matching:
    """Bipartite soft matching of the K patch tokens of B samples (ToMe section 3, Appendix D).

    keys: (B, K, d), mean over heads. Every second token, from the second, proposes its most similar one among
    the others by the cosine of the keys; the ``merged`` most similar pairs are taken, at most K // 2.
    With one CLS token in front these are the two sets of ToMe.
    Errors: ConfigError for another number. No gradient flows through the choice.
    """
    count = keys.shape[1]
    require(0 <= merged <= count // 2, "merged", merged, f"0 to {count // 2} of {count} tokens")
    keys = F.normalize(keys.detach().float(), dim=-1)
    cosines = keys[:, 1::2] @ keys[:, 0::2].transpose(-2, -1)  # (B, K // 2, K - K // 2)
    best, partner = cosines.max(dim=-1)
    order = best.argsort(dim=1, descending=True, stable=True)[:, :merged]  # (B, r)
    sources = 2 * order + 1
    targets = 2 * partner.gather(1, order)
    left = torch.ones(keys.shape[:2], dtype=torch.bool, device=keys.device).scatter(1, sources, False)
    # Those that are left first, in their order: a stable sort by "gone" has a fixed shape, a mask has not.
    kept = (~left).to(torch.uint8).sort(dim=1, stable=True).indices[:, : count - merged]
    return Matching(sources, targets, kept)


def merge_tokens(x: Tensor, sizes: Tensor, matching: Matching) -> tuple[Tensor, Tensor]:
    """Merges tokens x (B, K, D) of sizes (B, K), in patches: the mean weighted by size (ToMe section 3).

    Returns the tokens (B, K-r, D) and their sizes (B, K-r).
    """
    rows = _rows(matching.targets, x)
    mass = x * sizes[:, :, None].to(x.dtype)
    moved = mass.gather(1, _rows(matching.sources, x))
    mass = mass.scatter_add(1, rows, moved)
    sizes = sizes.scatter_add(1, matching.targets, sizes.gather(1, matching.sources))
    sizes = sizes.gather(1, matching.kept)
    return mass.gather(1, _rows(matching.kept, x)) / sizes[:, :, None].to(x.dtype), sizes


def follow_groups(groups: Tensor, matching: Matching) -> Tensor:
    """groups (B, N), for every patch the position of its token among the K; the same after the merge."""
    batch, left = matching.kept.shape
    count = left + matching.sources.shape[1]
    place = torch.arange(left, device=groups.device).expand(batch, -1)
    into = torch.zeros(batch, count, dtype=torch.long, device=groups.device)
    into = into.scatter(1, matching.kept, place)
    into = into.scatter(1, matching.sources, into.gather(1, matching.targets))
    return into.gather(1, groups)


def unmerge_tokens(x: Tensor, groups: Tensor) -> Tensor:
    """x (B, K, D) laid out again for all patches: (B, N, D), every patch with the token that holds it."""
    return x.gather(1, _rows(groups, x))


def _rows(index: Tensor, x: Tensor) -> Tensor:
    return index[:, :, None].expand(-1, -1, x.shape[2])
