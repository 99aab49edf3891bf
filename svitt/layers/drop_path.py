"""Stochastic depth: a residual branch is left out for some samples (Huang et al. 2016)."""

from __future__ import annotations

from torch import Tensor, nn


class DropPath(nn.Module):
    """In training, drops a sample's branch with ``probability`` and scales those of the others up.

    probability: 0 to 1; 1 drops all.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, x: Tensor) -> Tensor:
        """(B, ...) -> (B, ...); draws from the global state, as timm does."""
        if not self.training or self.probability == 0:
            return x
        keep = 1 - self.probability
        # One draw a sample: (B, 1, ..., 1).
        mask = x.new_empty((x.shape[0],) + (1,) * (x.dim() - 1)).bernoulli_(keep)
        return x * (mask.div_(keep) if keep > 0 else mask)
