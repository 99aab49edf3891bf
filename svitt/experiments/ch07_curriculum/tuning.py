"""How chapter 7 chose its recipe: trials on tuning seeds and validation clips, for all variants the same.

Raw outcomes of a seed: ``<variant>/<trial>/correct`` (N,), ``/train_correct`` and ``/cpu_seconds``, for the
variants ``direct``, ``dense_direct`` and ``expansion`` at the larger budget and the middle keep rate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from svitt.experiments.base import Measurement
from svitt.experiments.ch07_curriculum.harness import bench_of, run, step_flops
from svitt.experiments.ch07_curriculum.settings import UNTUNED, Kind
from svitt.experiments.ch07_curriculum.settings import Settings as Chapter
from svitt.records.workspace import Workspace

CHAPTER = "07_curriculum_tuning"
TIMED = ("*/cpu_seconds",)
# Variant -> how it is trained, and whether sparse.
VARIANTS: Mapping[str, tuple[Kind, bool]] = {
    "direct": ("direct", True),
    "dense_direct": ("direct", False),
    "expansion": ("expansion", True),
}


@dataclass(frozen=True)
class Settings:
    """Trials around one setting of the chapter. rates: learning rates, tried for every variant."""

    seeds: tuple[int, ...]
    chapter: Chapter = field(default_factory=lambda: UNTUNED["cpu"])
    rates: tuple[float, ...] = (5e-4, 1e-3, 2e-3)

    def trials(self, variant: str) -> dict[str, Chapter]:
        """Name -> settings; of variants with stages also how these begin, one change at a time."""
        made = {
            f"rate {rate:g}": replace(self.chapter, direct_rate=rate, dense_rate=rate, staged_rate=rate)
            for rate in self.rates
        }
        if variant == "expansion":
            last = (*self.chapter.shares[:-1], 2 * sum(self.chapter.shares[:-1]))
            made |= {
                "rate continued": replace(self.chapter, schedule="continued"),
                "positions of the nearest frame": replace(self.chapter, carry="nearest"),
                "two thirds for the last stage": replace(self.chapter, shares=last),
            }
        return made


SCALES: Mapping[str, Settings] = {
    "smoke": Settings((1000,), UNTUNED["smoke"], (1e-3,)),
    "cpu": Settings((1000, 1001)),
    "gpu": Settings((1000, 1001), UNTUNED["gpu"], (2e-4, 5e-4, 1e-3)),
}


def measure(settings: Settings, seed: int, device: str, workspace: Workspace) -> Measurement:
    """Trains every trial of a tuning seed and scores it on validation clips."""
    outcomes: dict[str, npt.NDArray[Any]] = {}
    base = settings.chapter
    for variant, (kind, sparse) in VARIANTS.items():
        rate = base.keep_rates[1] if sparse else 1.0
        for name, trial in settings.trials(variant).items():
            bench = bench_of(trial, seed, device, workspace, "validation")
            made = trial.curriculum(kind, base.lengths[-1], rate, sparse, len(base.budgets) - 1, step_flops)
            found = run(bench, made, trial.rate(kind, sparse), f"{variant}, {name},")
            outcomes[f"{variant}/{name}/correct"] = found.correct
            outcomes[f"{variant}/{name}/train_correct"] = np.array(found.train_correct)
            outcomes[f"{variant}/{name}/cpu_seconds"] = np.array(found.cpu_seconds)
    return Measurement({name: float(array.mean()) for name, array in outcomes.items()}, outcomes)
