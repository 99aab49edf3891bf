"""Collects what an experiment finds: summary numbers and raw arrays, by name."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from svitt.experiments.shared.edge_patterns import (
    Pattern,
    hop_distances,
    layer_mask,
    masks,
)
from svitt.experiments.shared.two_object_scores import TwoObjectOutcome
from svitt.models.masked_attention import edge_density


@dataclass
class Found:
    """Summary numbers and raw arrays, by name."""

    values: dict[str, float | int | str] = field(default_factory=dict)
    outcomes: dict[str, npt.NDArray[Any]] = field(default_factory=dict)

    def add(self, name: str, scored: list[TwoObjectOutcome]) -> None:
        """Keeps every outcome of every draw, (draws, clips), and its mean (of ranks, R@1)."""
        for kind in scored[0].arrays():
            array = np.stack([outcome.arrays()[kind] for outcome in scored])
            self.outcomes[f"{name}/{kind}"] = array
            summary = "R@1" if kind == "rank" else kind
            self.values[f"{name}/{summary}"] = float((array <= 1).mean() if kind == "rank" else array.mean())

    def describe(self, name: str, pattern: Pattern, grid: tuple[int, int, int], depth: int) -> None:
        """Density and hop distances of a pattern."""
        hops = hop_distances(layer_mask(pattern, grid, 0).numpy())
        others = ~np.eye(len(hops), dtype=bool)
        reached = others & (hops > 0)
        numbers = {
            "edge_density": edge_density(masks(pattern, grid, depth)),
            "mean_hops": float(hops[reached].mean()) if reached.any() else 0.0,
            "unreached": float((hops[others] < 0).mean()),
        }
        for what, value in numbers.items():
            self.values[f"{name}/{what}"] = value
            self.outcomes[f"{name}/{what}"] = np.array(value)
