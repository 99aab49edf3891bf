"""Chapter 1: do video-text models see time? Claim ``shuffle``.

Four arms are trained alike and shown test clips with their frames in order, reversed, shuffled and
frozen. Raw outcomes, per order: ``<arm>/<order>/rank`` (best rank of a right text in the clip's pool),
``.../verb`` and ``.../flip`` (choices, 1 is right); arrays are (draws, clips).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from svitt.config import TrainConfig
from svitt.data.video.sampling import sample_indices
from svitt.data.worlds.shapes.grammar import REVERSED_VERB, VERBS
from svitt.data.worlds.shapes.world import Split, WorldSpec
from svitt.evaluation.frame_order import ProbeTexts, probe
from svitt.experiments.base import Measurement
from svitt.experiments.shared.tiny_models import (
    WorldData,
    dual_encoder_config,
    embed_clips,
    embed_texts,
    tiny_video_config,
    trained_dual_encoder,
    world_data,
)
from svitt.models.dual_encoder import DualEncoder
from svitt.records.workspace import Workspace

CHAPTER = "01_frame_shuffle"


@dataclass(frozen=True)
class Arm:
    """One way to train. dial: share of captions with a verb. frames: see DualEncoderConfig."""

    dial: float
    num_frames: int | None
    frames: Literal["joint", "bag"] = "joint"


ARMS: Mapping[str, Arm] = {
    "mixed": Arm(dial=1.0, num_frames=None),
    "static": Arm(dial=0.0, num_frames=None),
    "bag_of_frames": Arm(dial=1.0, num_frames=None, frames="bag"),
    "single_frame": Arm(dial=1.0, num_frames=1),
}


@dataclass(frozen=True)
class Settings:
    """A scale of the chapter.

    num_*: clips a split. image_size: pixels. num_frames: of a clip the model sees. pool_size: clips a
    retrieval pool. draws: of each random order. video: changes to the tiny video encoder. steps: of
    training, by arm.
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


def trained_arm(
    name: str, settings: Settings, data: WorldData, seed: int, device: str, workspace: Workspace
) -> DualEncoder:
    """The model of one arm, trained now or found."""
    arm = ARMS[name]
    steps = {"mixed": settings.steps_mixed, "static": settings.steps_static}.get(
        name, settings.steps_baseline
    )
    frames = 1 if arm.frames == "bag" else (arm.num_frames or settings.num_frames)
    video = tiny_video_config(
        frames,
        image_size=settings.image_size,
        width=settings.width,
        depth=settings.depth,
        num_heads=settings.num_heads,
    )
    return trained_dual_encoder(
        data,
        dual_encoder_config(video, data, frames=arm.frames),
        TrainConfig(
            steps,
            settings.batch_size,
            settings.learning_rate,
            warmup_steps=settings.warmup_steps,
            mixed_precision=settings.mixed_precision,
        ),
        data.world.split("train").captions(arm.dial),
        kind=f"frame_order_{name}",
        clip_frames=arm.num_frames or settings.num_frames,
        key={"dial": arm.dial},
        seed=seed,
        device=device,
        workspace=workspace,
    )


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


def shown_indices(count: int, total: int, num_frames: int, seed: int) -> npt.NDArray[np.int64]:
    """The frames of each test clip that a model is tested on, (count, num_frames).

    A random frame of each interval, as in training. The middle ones of an even number are half a frame
    early, and an object that stays in the picture then tells by its place where it is going.
    """
    rng = np.random.default_rng([seed, 2])
    return np.stack([sample_indices(num_frames, total, "random", rng) for _ in range(count)])


def measure(settings: Settings, seed: int, device: str, workspace: Workspace) -> Measurement:
    """Trains the arms of one seed and probes them on the test split."""
    data = world_data(world_spec(settings, seed), workspace, settings.image_size)
    split, clips = data.world.split("test"), data.clips("test")
    values: dict[str, float | int | str] = {}
    outcomes: dict[str, npt.NDArray[Any]] = {}
    for name, arm in ARMS.items():
        model = trained_arm(name, settings, data, seed, device, workspace)
        texts = probe_texts(model, data, split, arm.dial, settings.pool_size, device)
        num_frames = arm.num_frames or settings.num_frames
        indices = shown_indices(len(clips), clips.shape[1], num_frames, seed)
        shown = clips[np.arange(len(clips))[:, None], indices]
        encode_video = partial(embed_clips, model, device=device)
        found = probe(encode_video, shown, texts, seed=seed, draws=settings.draws)
        for order, outcome in found.items():
            outcomes[f"{name}/{order}/rank"] = outcome.rank.astype(np.int16)
            values[f"{name}/{order}/R@1"] = float((outcome.rank <= 1).mean())
            if name in ("mixed", "static"):
                outcomes[f"{name}/{order}/similarity"] = outcome.similarity[0].round(4)
            if outcome.flip is not None and outcome.verb is not None:
                outcomes[f"{name}/{order}/flip"] = outcome.flip.astype(np.int8)
                outcomes[f"{name}/{order}/verb"] = outcome.verb.astype(np.int8)
                values[f"{name}/{order}/flip"] = float(outcome.flip.mean())
                values[f"{name}/{order}/verb"] = float(outcome.verb.mean())
            if name == "mixed" and outcome.verb_scores is not None:
                outcomes[f"mixed/{order}/verb_scores"] = outcome.verb_scores[0].round(3)
        values[f"{name}/distinct_texts_a_pool"] = float(texts.pool_of.sum(1).mean())
    values["test_clips"] = len(split)
    return Measurement(values, outcomes)
