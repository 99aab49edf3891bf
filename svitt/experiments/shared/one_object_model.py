"""The world of one named object and the models trained on it: chapter 1's, which others use as well."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from svitt.data.worlds.shapes.grammar import REVERSED_VERB, VERBS
from svitt.data.worlds.shapes.world import Split, WorldSpec
from svitt.evaluation.frame_order import ProbeTexts
from svitt.experiments.shared.tiny_models import (
    DualTraining,
    WorldData,
    dual_encoder_config,
    embed_texts,
    tiny_video_config,
    trained_dual_encoder,
)
from svitt.models.dual_encoder import DualEncoder
from svitt.records.workspace import Workspace
from svitt.training.trainer import TrainConfig


@dataclass(frozen=True)
class Variant:
    """One way to train. dial: share of captions with a verb. frames: see DualEncoderConfig."""

    dial: float
    num_frames: int | None
    frames: Literal["joint", "bag"] = "joint"


VARIANTS: Mapping[str, Variant] = {
    "mixed": Variant(dial=1.0, num_frames=None),
    "static": Variant(dial=0.0, num_frames=None),
    "bag_of_frames": Variant(dial=1.0, num_frames=None, frames="bag"),
    "single_frame": Variant(dial=1.0, num_frames=1),
}


@dataclass(frozen=True)
class Settings:
    """A scale of the chapter.

    num_*: clips a split. image_size: pixels. num_frames: of a clip the model sees. pool_size: clips a
    retrieval pool. draws: of each random order. video: changes to the tiny video encoder. steps: of
    training, by variant.
    """

    seeds: tuple[int, ...]
    num_train: int
    num_test: int
    steps_mixed: int
    steps_static: int
    steps_baseline: int
    image_size: int = 32
    num_frames: int = 4
    width: int = 64
    depth: int = 3
    num_heads: int = 2
    batch_size: int = 64
    learning_rate: float = 3e-3
    warmup_steps: int = 100
    pool_size: int = 200
    draws: int = 8
    mixed_precision: Literal["no", "bf16"] = "no"


SCALES: Mapping[str, Settings] = {
    "smoke": Settings((0,), 400, 100, 12, 12, 12, batch_size=32, warmup_steps=4, pool_size=50, draws=2),
    "cpu": Settings((0, 1, 2, 3, 4), 4000, 1000, 1200, 1200, 1200),
    "gpu": Settings(
        tuple(range(8)), 20000, 2000, 6000, 6000, 6000,
        image_size=64, num_frames=16, width=256, depth=8, num_heads=4, batch_size=256,
        learning_rate=1e-3, mixed_precision="bf16",
    ),
}  # fmt: skip


def world_spec(settings: Settings, seed: int) -> WorldSpec:
    """The chapter's world: one named object, two distractors."""
    held = settings.num_test // 2
    return WorldSpec(seed, settings.num_train, held, settings.num_test, held)


def variant_training(name: str, settings: Settings, data: WorldData, seed: int) -> DualTraining:
    """How the model of one variant is trained."""
    variant = VARIANTS[name]
    steps = {"mixed": settings.steps_mixed, "static": settings.steps_static}.get(
        name, settings.steps_baseline
    )
    frames = 1 if variant.frames == "bag" else (variant.num_frames or settings.num_frames)
    video = tiny_video_config(
        frames,
        image_size=settings.image_size,
        width=settings.width,
        depth=settings.depth,
        num_heads=settings.num_heads,
    )
    return DualTraining(
        data,
        dual_encoder_config(video, data, frames=variant.frames),
        TrainConfig(
            steps,
            settings.batch_size,
            settings.learning_rate,
            warmup_steps=settings.warmup_steps,
            mixed_precision=settings.mixed_precision,
        ),
        data.world.split("train").captions(variant.dial),
        kind=f"frame_order_{name}",
        clip_frames=variant.num_frames or settings.num_frames,
        key={"dial": variant.dial},
        seed=seed,
    )


def trained_variant(
    name: str, settings: Settings, data: WorldData, seed: int, device: str, workspace: Workspace
) -> DualEncoder:
    """The model of one variant, trained now or found."""
    return trained_dual_encoder(variant_training(name, settings, data, seed), device, workspace)


def probe_texts(
    model: DualEncoder, data: WorldData, split: Split, dial: float, pool_size: int, device: str
) -> ProbeTexts:
    """The texts to tell apart: pools of ``pool_size`` clips, each text once, and the verb choices."""
    captions = np.array(split.captions(dial))
    pools = np.arange(len(captions)) // pool_size
    distinct = sorted({(int(pool), str(text)) for pool, text in zip(pools, captions, strict=True)})
    pool_of = pools[:, None] == np.array([pool for pool, _ in distinct])
    correct = pool_of & (captions[:, None] == np.array([text for _, text in distinct]))
    embedded = embed_texts(model, [text for _, text in distinct], data.tokenizer, device)
    if dial < 1:
        return ProbeTexts(embedded, pool_of, correct)
    choices = [text for clip in split for text in clip.scene.verb_choices()]
    verbs = embed_texts(model, choices, data.tokenizer, device).reshape(len(split), len(VERBS), -1)
    verb = np.array([VERBS.index(clip.verb) for clip in split])
    backwards = np.array([VERBS.index(REVERSED_VERB[clip.verb]) for clip in split])
    return ProbeTexts(embedded, pool_of, correct, verbs, verb, backwards)
