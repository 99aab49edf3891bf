"""Node sparsity: keep the tokens that matter (SViTT section 3.3; EViT)."""

from __future__ import annotations

import math
import typing
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from svitt.config import require

Selection = Literal["cls", "random", "lowest", "oracle"]


@dataclass(frozen=True)
class NodeSparsity:
    """Which video tokens survive (SViTT section 3.3).

    keep_rate: share of the patch tokens kept at each pruning layer, ceil(rate x tokens).
    prune_layers: layers (from 0) after which tokens are pruned.
    selection: by CLS attention, at random, lowest attention first, or by a given oracle mask.
    seed: of a random selection for which the caller gives no generator.
    """

    keep_rate: float = 0.7
    prune_layers: tuple[int, ...] = (3, 6, 9)
    selection: Selection = "cls"
    seed: int = 0

    def __post_init__(self) -> None:
        require(0 < self.keep_rate <= 1, "keep_rate", self.keep_rate, "0 < keep_rate <= 1")
        require(
            all(isinstance(n, int) and n >= 0 for n in self.prune_layers),
            "prune_layers",
            self.prune_layers,
            "layer numbers from 0",
        )
        known = typing.get_args(Selection)
        require(self.selection in known, "selection", self.selection, ", ".join(known))


def num_kept(num_tokens: int, keep_rate: float) -> int:
    """ceil(keep_rate x num_tokens), in floating point as in the release. ConfigError unless 0 < rate <= 1."""
    require(0 < keep_rate <= 1, "keep_rate", keep_rate, "0 < keep_rate <= 1")
    return math.ceil(keep_rate * num_tokens)


def keep_top_tokens(
    x: Tensor, scores: Tensor, keep_rate: float, num_prefix_tokens: int = 1
) -> tuple[Tensor, Tensor]:
    """Keeps the prefix tokens (CLS) and the patch tokens with the highest scores, order unchanged.

    x (B, P+K, D) with P = num_prefix_tokens; scores (B, K). Equal scores: the earlier token is kept.
    Returns the tokens (B, P+k, D), k = ceil(keep_rate x K), and their indices (B, k) among the K.
    """
    tokens = x.shape[1] - num_prefix_tokens
    kept = num_kept(tokens, keep_rate)
    if kept == tokens:
        return x, torch.arange(tokens, device=x.device).expand(x.shape[0], -1)
    order = scores.detach().sort(dim=1, descending=True, stable=True).indices
    index = order[:, :kept].sort(dim=1).values
    rows = index[:, :, None].expand(-1, -1, x.shape[2])
    return torch.cat([x[:, :num_prefix_tokens], x[:, num_prefix_tokens:].gather(1, rows)], dim=1), index
