"""The scales of chapter 6."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from svitt.experiments.ch06_retrieval_qa.dual import TuneSettings
from svitt.experiments.ch06_retrieval_qa.fusion_models import FusionSettings
from svitt.experiments.ch06_retrieval_qa.training import SparseSettings
from svitt.experiments.shared.two_object_world import TwoObjectSettings
from svitt.models.svitt_config import CrossModalPruning


@dataclass(frozen=True)
class Settings:
    """A scale of the chapter.

    model, sparse, fusion, tune: of what is trained. pool_size: clips a pool of the dual encoders alone.
    look_pool: of the two looks, the second of which sees the best k.
    prune_layer: of the fusion layers, after which text-guided pruning keeps keep_rate of the patches, or
    answer_keep_rate (the release: after layer 1 of 3, .1 for retrieval and .5 for questions). keep_rates: of
    the sweep. shown: clips that the page draws.
    """

    seeds: tuple[int, ...]
    model: TwoObjectSettings = field(default_factory=TwoObjectSettings)
    sparse: SparseSettings = field(default_factory=SparseSettings)
    fusion: FusionSettings = field(default_factory=FusionSettings)
    tune: TuneSettings = field(default_factory=TuneSettings)
    pool_size: int = 200
    look_pool: int = 500
    k: int = 16
    prune_layer: int = 1
    keep_rate: float = 0.1
    answer_keep_rate: float = 0.5
    keep_rates: tuple[float, ...] = (0.5, 0.2, 0.1)
    shown: int = 6

    def pruning(self, selection: Any, keep_rate: float) -> CrossModalPruning:
        """Text-guided pruning, or another selection in its place."""
        return CrossModalPruning(keep_rate, (self.prune_layer,), selection)


SCALES: Mapping[str, Settings] = {
    "smoke": Settings(
        (0,),
        TwoObjectSettings(200, 100, 60, 10, batch_size=32, warmup_steps=4),
        fusion=FusionSettings(steps=6, batch_size=8, questions=2, views=1, warmup_steps=2),
        tune=TuneSettings(48, 20, 3, 32, warmup_steps=1),
        pool_size=30,
        look_pool=30,
        k=4,
        keep_rates=(0.5, 0.1),
        shown=2,
    ),
    "cpu": Settings((0, 1, 2, 3, 4)),
    "gpu": Settings(
        tuple(range(8)),
        TwoObjectSettings(
            20000, 10000, 2000, 16000, image_size=64, num_frames=8, width=256, depth=8, num_heads=4,
            batch_size=256, learning_rate=1e-3, warmup_steps=400, mixed_precision="bf16",
        ),
        SparseSettings(16, keep_rate=0.7, prune_layers=(1, 3, 5)),
        FusionSettings(2, 3, 4000, 128, 32, 2, 1e-3, 200),
        TuneSettings(3000, 1000, 300, 256, 2e-4, 30),
        k=32,
    ),
}  # fmt: skip
