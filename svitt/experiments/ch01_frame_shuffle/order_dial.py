"""Chapter 1: how many captions must need time before a model sees it? Claim ``shuffle``, second edition.

The same model is trained, for equally many steps, on captions of which a share carries a verb, and tested on
captions that all do: with frames in order, reversed and shuffled. Two variants that cannot see order are
trained on verbs throughout. Raw outcomes, per split ("heldout": objects and places never seen together in
training, the main test; "test": those of training), variant and order: ``<split>/<variant>/<order>/rank``
(best rank of the right text in the clip's pool), ``.../flip`` and ``.../verb`` (choices, 1 is right); arrays
are (draws, clips).

    svitt run 01_frame_shuffle_dial --scale cpu --record-only     # about 16 CPU minutes a seed
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from svitt.data.worlds.shapes.world import WorldSpec
from svitt.evaluation.frame_order import probe
from svitt.experiments.base import Measurement
from svitt.experiments.ch01_frame_shuffle.variants import ORDER_BLIND, ORDERS, Recipe, trained_on
from svitt.experiments.shared.frame_sampling import shown_indices
from svitt.experiments.shared.one_object_model import Variant, probe_texts
from svitt.experiments.shared.result_collector import Found
from svitt.experiments.shared.tiny_models import (
    WorldData,
    embed_clips,
    world_data,
)
from svitt.models.dual_encoder import DualEncoder
from svitt.records.workspace import Workspace

CHAPTER = "01_frame_shuffle_dial"
TIMED: tuple[str, ...] = ()
SPLITS = ("heldout", "test")
RUNS = "order_dial"  # the kind of its training runs


@dataclass(frozen=True)
class Settings(Recipe):
    """A scale of the experiment.

    num_*: clips per split. shares: of the training captions that carry a verb, around where models began to
    see order on an exploratory seed. pool_size: clips of a retrieval pool.
    """

    seeds: tuple[int, ...]
    num_train: int
    num_test: int
    num_heldout: int
    shares: tuple[float, ...] = (0.0, 0.2, 0.35, 0.5, 0.7, 1.0)
    pool_size: int = 200

    def variants(self) -> dict[str, Variant]:
        """By the names of the outcomes; "share_0.2" has a verb in a fifth of its captions."""
        shares = {f"share_{share:g}": Variant(dial=share, num_frames=None) for share in self.shares}
        return {**shares, **ORDER_BLIND}


SCALES: Mapping[str, Settings] = {
    "smoke": Settings((0,), 200, 50, 50, steps=4, batch_size=32, warmup_steps=2, pool_size=25, draws=2),
    "cpu": Settings(tuple(range(5, 15)), 4000, 1000, 1000, steps=1200),
    "gpu": Settings(
        tuple(range(5, 15)), 20000, 2000, 2000, steps=6000,
        image_size=64, num_frames=16, width=256, depth=8, num_heads=4, batch_size=256,
        learning_rate=1e-3, mixed_precision="bf16",
    ),
}  # fmt: skip


def dial_data(settings: Settings, seed: int, workspace: Workspace) -> WorldData:
    """The world of one seed: one named object, two distractors."""
    spec = WorldSpec(seed, settings.num_train, 0, settings.num_test, settings.num_heldout)
    return world_data(spec, workspace, settings.image_size)


def keep_probed(
    found: Found,
    name: str,
    model: DualEncoder,
    num_frames: int,
    settings: Settings,
    data: WorldData,
    device: str,
) -> None:
    """Probes a model on captions that all need time, of every split, and keeps the outcomes under
    ``<split>/<name>/<order>``. num_frames: of a clip that the model is shown."""
    seed = data.world.spec.seed
    for split in SPLITS:
        clips = data.clips(split)
        texts = probe_texts(model, data, data.world.split(split), 1.0, settings.pool_size, device)
        indices = shown_indices(len(clips), clips.shape[1], num_frames, seed)
        shown = clips[np.arange(len(clips))[:, None], indices]
        encode_video = partial(embed_clips, model, device=device)
        for order, outcome in probe(
            encode_video, shown, texts, seed=seed, draws=settings.draws, orders=ORDERS
        ).items():
            assert outcome.flip is not None and outcome.verb is not None
            head = f"{split}/{name}/{order}"
            found.keep(f"{head}/rank", outcome.rank.astype(np.int16))
            found.keep(f"{head}/flip", outcome.flip.astype(np.int8))
            found.keep(f"{head}/verb", outcome.verb.astype(np.int8))


def measure(settings: Settings, seed: int, device: str, workspace: Workspace) -> Measurement:
    """Trains every variant of one seed and probes it."""
    data = dial_data(settings, seed, workspace)
    found = Found()
    for name, variant in settings.variants().items():
        model = trained_on(variant, settings, data, RUNS, seed, device, workspace)
        frames = variant.num_frames or settings.num_frames
        keep_probed(found, name, model, frames, settings, data, device)
    return Measurement(found.values, found.outcomes)
