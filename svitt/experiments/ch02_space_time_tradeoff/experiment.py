"""Chapter 2: more frames or more pixels? Claims ``tradeoff`` and ``diminishing``.

Raw outcomes of a seed:

- The trade-off, one named object a clip, variants of equally many tokens: ``frames`` (many small frames),
  ``resolution`` (few large ones), ``middle``, and ``single_frame``. ``<variant>/temporal/correct`` (N,), a
  clip's caption against its time reversal; ``<variant>/spatial/correct`` (N,), the right shape among four;
  ``<variant>/train_flops``. The two extremes also under ``width<W>/<variant>/...``, for other widths.
- Longer clips, half of them with brief events: ``frames/<T>/correct`` (N,), the right event among six of its
  kind, for T sampled frames; ``event_brief`` (N,), which clips had a brief one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import nn

from svitt.config import to_dict
from svitt.data.text import build_tokenizer
from svitt.data.worlds.shapes.events import event_caption, shown, vocabulary
from svitt.data.worlds.shapes.grammar import SHAPES
from svitt.data.worlds.shapes.world import ClipRecord, WorldSpec
from svitt.evaluation.metrics import choose
from svitt.experiments.base import Measurement
from svitt.experiments.ch02_space_time_tradeoff.settings import SCALES
from svitt.experiments.shared.event_world import events_of, events_spec, right_events
from svitt.experiments.shared.frame_sampling import shown_indices
from svitt.experiments.shared.space_time_settings import Settings, Variant
from svitt.experiments.shared.tiny_models import (
    dual_encoder_config,
    embed_clips,
    embed_texts,
    tiny_video_config,
    world_data,
)
from svitt.experiments.shared.train_once import train_once
from svitt.models.dual_encoder import DualEncoder, DualEncoderConfig
from svitt.models.video_encoder import VideoEncoderConfig
from svitt.profiling.cost import encoder_cost
from svitt.records.code_hash import code_hash
from svitt.records.workspace import Workspace
from svitt.training.batches import Batches, one_stage
from svitt.training.contrastive import contrastive_loss
from svitt.training.trainer import TrainConfig, train

__all__ = ["CHAPTER", "SCALES", "TIMED", "Settings", "measure"]

CHAPTER = "02_space_time_tradeoff"
TIMED: tuple[str, ...] = ()
Arrays = dict[str, npt.NDArray[Any]]


def trained(
    kind: str,
    model_config: DualEncoderConfig,
    batches: Batches,
    settings: Settings,
    key: Mapping[str, Any],
    workspace: Workspace,
    learning_rate: float,
) -> DualEncoder:
    """A dual encoder trained on ``batches``, now or before. key: what determines clips and captions."""
    model = DualEncoder(model_config, batches.seed)
    recipe = TrainConfig(
        settings.steps, settings.batch_size, learning_rate, warmup_steps=settings.warmup_steps,
        mixed_precision=settings.mixed_precision,
    )  # fmt: skip
    config = {
        "model": to_dict(model_config),
        "train": to_dict(recipe),
        "num_frames": batches.num_frames,
        **key,
    }
    seed, device = batches.seed, batches.device

    def run(folder: Path) -> nn.Module:
        title, step = f"{kind} {batches.num_frames} frames, seed {seed}", workspace.training.step
        return train(model, batches, contrastive_loss, recipe, folder, device=device, title=title, kind=step)

    code = code_hash(f"{__name__}:trained").hash
    return train_once(
        kind, config, seed, device, workspace, code=code, steps=recipe.steps, model=model, train=run
    )[0]


def tradeoff_spec(settings: Settings, seed: int) -> WorldSpec:
    """One named object a clip."""
    half = settings.num_test // 2
    return WorldSpec(seed, settings.num_train, half, settings.num_test, 0, num_frames=settings.clip_frames)


def encoder(settings: Settings, variant: Variant, width: int) -> VideoEncoderConfig:
    """The video encoder of a variant; patches have the same side in all."""
    return tiny_video_config(
        variant.num_frames,
        image_size=variant.size,
        width=width,
        depth=settings.depth,
        num_heads=max(1, width // 32),
    )


def training_flops(config: VideoEncoderConfig, settings: Settings) -> float:
    """Of the video encoder over the whole training."""
    return float(settings.steps * encoder_cost(config, config.num_frames, settings.batch_size).training)


def measure(settings: Settings, seed: int, device: str, workspace: Workspace) -> Measurement:
    """Trains and scores the variants of the trade-off and the lengths of the clips with events."""
    outcomes: Arrays = {}
    values: dict[str, float | int | str] = {}
    for width in (settings.width, *settings.other_widths):
        head = "" if width == settings.width else f"width{width}/"
        for name, variant in settings.variants(width).items():
            for what, array in _tradeoff(settings, variant, width, seed, device, workspace).items():
                outcomes[f"{head}{name}/{what}"] = array
                values[f"{head}{name}/{what}"] = float(array.mean())
    for what, array in _longer(settings, seed, device, workspace).items():
        outcomes[what] = array
    brief = outcomes["event_brief"].astype(bool)
    for length in settings.lengths:
        right = outcomes[f"frames/{length}/correct"]
        values[f"frames/{length}/correct"] = float(right.mean())
        values[f"brief/{length}"] = float(right[brief].mean())
        values[f"slow/{length}"] = float(right[~brief].mean())
    return Measurement(values, outcomes)


def _tradeoff(
    settings: Settings, variant: Variant, width: int, seed: int, device: str, workspace: Workspace
) -> Arrays:
    """temporal/correct, spatial/correct, train_flops. Variants of the same frames share their model."""
    data = world_data(tradeoff_spec(settings, seed), workspace, variant.size)
    video = encoder(settings, variant, width)
    captions = data.world.split("train").captions(1.0)
    batches = one_stage(
        data.clips("train"),
        captions,
        data.tokenizer,
        variant.num_frames,
        settings.batch_size,
        seed,
        device=device,
        max_shift=None,
    )
    key = {"world": to_dict(data.world.spec), "size": variant.size}
    rate = settings.learning_rate
    model = trained("tradeoff", dual_encoder_config(video, data), batches, settings, key, workspace, rate)
    split, clips = data.world.split("test"), data.clips("test")
    numbers = shown_indices(len(clips), clips.shape[1], variant.num_frames, seed)
    seen = embed_clips(model, clips[np.arange(len(clips))[:, None], numbers], device)

    def chosen(texts: Sequence[Sequence[str]], answers: npt.NDArray[np.int64]) -> npt.NDArray[np.int8]:
        flat = [text for options in texts for text in options]
        embedded = embed_texts(model, flat, data.tokenizer, device).reshape(len(texts), -1, seen.shape[1])
        return choose(np.einsum("nd,nkd->nk", seen, embedded), answers).astype(np.int8)

    flips = [record.scene.flip_choices() for record in split]
    shapes = [shape_choices(record) for record in split]
    true = np.array([SHAPES.index(record.scene.movers[0].shape) for record in split])
    return {
        "temporal/correct": chosen(flips, np.zeros(len(split), dtype=np.int64)),
        "spatial/correct": chosen(shapes, true),
        "train_flops": np.array(training_flops(video, settings)),
    }


def shape_choices(record: ClipRecord) -> tuple[str, ...]:
    """Static captions that differ in the shape alone, in the order of SHAPES."""
    mover, background = record.scene.movers[0], record.scene.background
    return tuple(f"a {mover.colour} {shape} on {background}" for shape in SHAPES)


def _longer(settings: Settings, seed: int, device: str, workspace: Workspace) -> Arrays:
    """frames/<T>/correct and event_brief."""
    data = world_data(events_spec(settings, seed), workspace, settings.event_size)
    words = build_tokenizer(vocabulary())
    events = {split: events_of(settings, data, split, seed) for split in ("train", "test")}
    clips = {split: shown(data.clips(split), events[split]) for split in events}
    captions = [event_caption(event.verb) for event in events["train"]]
    count = len(clips["test"])
    made: Arrays = {"event_brief": np.array([event.brief for event in events["test"]], dtype=np.int8)}
    for length in settings.lengths:
        variant = Variant(length, settings.event_size)
        video = encoder(settings, variant, settings.width)
        batches = one_stage(
            clips["train"], captions, words, length, settings.batch_size, seed, device=device, max_shift=None
        )
        config = dual_encoder_config(video, data)
        text = to_dict(config.text) | {"vocab_size": words.get_vocab_size()}
        config = DualEncoderConfig(video, type(config.text)(**text), embed_dim=video.width)
        key = {"world": to_dict(data.world.spec), "event_length": settings.event_length}
        rate = settings.event_learning_rate
        model = trained("events", config, batches, settings, key, workspace, rate)
        numbers = shown_indices(count, clips["test"].shape[1], length, seed)
        chosen = clips["test"][np.arange(count)[:, None], numbers]
        made[f"frames/{length}/correct"] = right_events(model, chosen, events["test"], words, device)
    return made
