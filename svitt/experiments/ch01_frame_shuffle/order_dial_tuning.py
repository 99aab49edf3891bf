"""What was known of the order dial before its seeds ran: its outcomes on tuning seeds, and its instrument.

Beside the outcomes of ``order_dial``: shares trained twice as long (``<split>/twice_share_0.2/...``) and from
other weights and batches (``<split>/again_share_1/...``); and what a perfect reader of the frames shown and a
reader of captions alone would score: expectations (1, clips) under ``<split>/<reader>/<order>/hit`` (R@1) and
``.../flip``. The blind one knows the captions with verbs of the training split.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from svitt.data.worlds import ideal
from svitt.data.worlds.shapes import reader
from svitt.data.worlds.shapes.world import Split
from svitt.experiments.base import Measurement
from svitt.experiments.ch01_frame_shuffle import order_dial
from svitt.experiments.ch01_frame_shuffle.order_dial import RUNS, SPLITS, dial_data, keep_probed
from svitt.experiments.ch01_frame_shuffle.variants import trained_on
from svitt.experiments.shared.frame_sampling import shown_indices
from svitt.experiments.shared.result_collector import Found
from svitt.experiments.shared.tiny_models import WorldData
from svitt.records.workspace import Workspace

CHAPTER = "01_frame_shuffle_dial_tuning"
TIMED: tuple[str, ...] = ()
_AGAIN = 50_000  # added to the seed of weights and batches


@dataclass(frozen=True)
class Settings:
    """The chapter's settings, and which shares are trained again: twice as long, or from other weights."""

    seeds: tuple[int, ...]
    dial: order_dial.Settings = field(default_factory=lambda: order_dial.SCALES["cpu"])
    twice: tuple[float, ...] = (0.2, 1.0)
    again: tuple[float, ...] = (0.2, 1.0)


SCALES: Mapping[str, Settings] = {
    "smoke": Settings((100,), replace(order_dial.SCALES["smoke"], shares=(0.0, 1.0)), (1.0,), (1.0,)),
    "cpu": Settings((100, 101)),
    "gpu": Settings((100, 101), order_dial.SCALES["gpu"]),
}


def keep_readers(found: Found, data: WorldData, num_frames: int, pool_size: int) -> None:
    """What the ideal observer and a blind one would score on the frames that models are shown."""
    told = ideal.blind(data.world.split("train").captions(1.0))
    for name in SPLITS:
        split = data.world.split(name)
        frames = shown_indices(len(split), data.world.spec.num_frames, num_frames, data.world.spec.seed)
        seen = {
            "ideal/none": _beliefs(split, frames, in_order=True),
            "ideal/shuffle": _beliefs(split, frames, in_order=False),
            "single_ideal/none": _beliefs(split, frames[:, :1], in_order=True),
            "blind/none": [told] * len(split),
        }
        for which, beliefs in seen.items():
            hits = ideal.hits(split.captions(1.0), beliefs, pool_size)
            flips = ideal.choices(
                [record.scene.flip_choices() for record in split], [0] * len(split), beliefs
            )
            found.keep(f"{name}/{which}/hit", hits[None].astype(np.float32))
            found.keep(f"{name}/{which}/flip", flips[None].astype(np.float32))


def _beliefs(split: Split, frames: npt.NDArray[np.int64], in_order: bool) -> list[ideal.Beliefs]:
    return [
        reader.beliefs(record.scene, reader.shown(record.truth(), shown.tolist(), in_order))
        for record, shown in zip(split, frames, strict=True)
    ]


def measure(settings: Settings, seed: int, device: str, workspace: Workspace) -> Measurement:
    """Everything that ``order_dial`` measures of this seed, and the instrument's own numbers."""
    dial = settings.dial
    data, found = dial_data(dial, seed, workspace), Found()
    trials = {name: (variant, dial, seed) for name, variant in dial.variants().items()}
    for share in settings.twice:
        name = f"share_{share:g}"
        longer = replace(dial, steps=2 * dial.steps)
        trials[f"twice_{name}"] = (dial.variants()[name], longer, seed)
    for share in settings.again:
        name = f"share_{share:g}"
        trials[f"again_{name}"] = (dial.variants()[name], dial, seed + _AGAIN)
    for name, (variant, chosen, weights) in trials.items():
        model = trained_on(variant, chosen, data, RUNS, weights, device, workspace)
        keep_probed(found, name, model, variant.num_frames or dial.num_frames, dial, data, device)
    keep_readers(found, data, dial.num_frames, dial.pool_size)
    return Measurement(found.values, found.outcomes)
