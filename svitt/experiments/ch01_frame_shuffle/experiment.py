"""Chapter 1: do video-text models see time? Claim ``shuffle``.

Four variants are trained alike and shown test clips with their frames in order, reversed, shuffled and
frozen. Raw outcomes, per order: ``<variant>/<order>/rank`` (best rank of a right text in the clip's pool),
``.../verb`` and ``.../flip`` (choices, 1 is right); arrays are (draws, clips).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from svitt.evaluation.frame_order import probe
from svitt.experiments.base import Measurement
from svitt.experiments.shared.frame_sampling import shown_indices
from svitt.experiments.shared.one_object_model import (
    SCALES,
    VARIANTS,
    Settings,
    probe_texts,
    trained_variant,
    variant_training,
    world_spec,
)
from svitt.experiments.shared.result_collector import Found
from svitt.experiments.shared.stacked_models import train_stack
from svitt.experiments.shared.tiny_models import (
    embed_clips,
    world_data,
)
from svitt.records.workspace import Workspace

__all__ = ["CHAPTER", "SCALES", "TIMED", "Settings", "measure", "stack"]

CHAPTER = "01_frame_shuffle"
TIMED: tuple[str, ...] = ()


def stack(settings: Settings, seeds: Sequence[int], device: str, workspace: Workspace) -> dict[int, float]:
    """Trains the variants, all seeds of each as one stack; the CPU seconds of each seed."""
    data = [world_data(world_spec(settings, seed), workspace, settings.image_size) for seed in seeds]
    total = dict.fromkeys(seeds, 0.0)
    for name in VARIANTS:
        trainings = [variant_training(name, settings, d, s) for d, s in zip(data, seeds, strict=True)]
        for seed, seconds in train_stack(trainings, device, workspace).items():
            total[seed] += seconds
    return total


def measure(settings: Settings, seed: int, device: str, workspace: Workspace) -> Measurement:
    """Trains the variants of one seed and probes them on the test split."""
    data = world_data(world_spec(settings, seed), workspace, settings.image_size)
    split, clips = data.world.split("test"), data.clips("test")
    found = Found()
    for name, variant in VARIANTS.items():
        model = trained_variant(name, settings, data, seed, device, workspace)
        texts = probe_texts(model, data, split, variant.dial, settings.pool_size, device)
        num_frames = variant.num_frames or settings.num_frames
        indices = shown_indices(len(clips), clips.shape[1], num_frames, seed)
        shown = clips[np.arange(len(clips))[:, None], indices]
        encode_video = partial(embed_clips, model, device=device)
        probed = probe(encode_video, shown, texts, seed=seed, draws=settings.draws)
        for order, outcome in probed.items():
            head = f"{name}/{order}"
            found.keep(f"{head}/rank", outcome.rank.astype(np.int16))
            if name in ("mixed", "static"):
                found.outcomes[f"{head}/similarity"] = outcome.similarity[0].round(4)
            if outcome.flip is not None and outcome.verb is not None:
                found.keep(f"{head}/flip", outcome.flip.astype(np.int8))
                found.keep(f"{head}/verb", outcome.verb.astype(np.int8))
            if name == "mixed" and outcome.verb_scores is not None:
                found.outcomes[f"{head}/verb_scores"] = outcome.verb_scores[0].round(3)
        found.values[f"{name}/distinct_texts_a_pool"] = float(texts.pool_of.sum(1).mean())
    found.values["test_clips"] = len(split)
    return Measurement(found.values, found.outcomes)
