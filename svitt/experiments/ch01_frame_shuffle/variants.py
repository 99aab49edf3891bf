"""What the order dial and the robot world share: a model's recipe, the variants that cannot see order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from svitt.experiments.shared.one_object_model import Variant
from svitt.experiments.shared.tiny_models import (
    DualTraining,
    dual_encoder_config,
    tiny_video_config,
    trained_dual_encoder,
)
from svitt.models.dual_encoder import DualEncoder
from svitt.records.workspace import Workspace
from svitt.training.trainer import TrainConfig

ORDERS = ("none", "reverse", "shuffle")
ORDER_BLIND: Mapping[str, Variant] = {
    "bag_of_frames": Variant(dial=1.0, num_frames=None, frames="bag"),
    "single_frame": Variant(dial=1.0, num_frames=1),
}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The model and its training, the same for every variant but for its frames; draws: of each random order.
    The rest as in ``one_object_model.Settings``."""

    steps: int
    image_size: int = 32
    num_frames: int = 4
    width: int = 64
    depth: int = 3
    num_heads: int = 2
    batch_size: int = 64
    learning_rate: float = 3e-3
    warmup_steps: int = 100
    draws: int = 8
    mixed_precision: Literal["no", "bf16"] = "no"


def trained_on(
    variant: Variant, recipe: Recipe, data: Any, kind: str, seed: int, device: str, workspace: Workspace
) -> DualEncoder:
    """The model of one variant, trained now or found. data: a ``WorldData``, or what has its world, size,
    tokenizer and clips. kind: the run folder's name. seed:
    of the weights and the batches."""
    frames = variant.num_frames or recipe.num_frames
    video = tiny_video_config(
        1 if variant.frames == "bag" else frames,
        image_size=recipe.image_size,
        width=recipe.width,
        depth=recipe.depth,
        num_heads=recipe.num_heads,
    )
    training = TrainConfig(
        recipe.steps,
        recipe.batch_size,
        recipe.learning_rate,
        warmup_steps=recipe.warmup_steps,
        mixed_precision=recipe.mixed_precision,
    )
    how = DualTraining(
        data,
        dual_encoder_config(video, data, frames=variant.frames),
        training,
        data.world.split("train").captions(variant.dial),
        kind=kind,
        clip_frames=frames,
        key={"dial": variant.dial},
        seed=seed,
    )
    return trained_dual_encoder(how, device, workspace)
