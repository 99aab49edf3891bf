"""Chapter 1 in a world that others made: does a model see the order of a robot's frames?

The same model is trained on captions of object and place only ("the robot by the drawer") and on captions
with verbs ("the robot opens the drawer"), and shown clips with their frames in order, reversed and shuffled.
Every clip also comes backwards under the caption of its undoing, so that both captions have the same set of
frames. Two variants that cannot see order are trained on verbs as well.

Raw outcomes, per split ("test", and "viewpoints" of cameras where none stood in training), variant and
order, (draws, clips): ``<split>/<variant>/<order>/static_rank`` and ``/rank`` (best rank of the right caption
without and with its verb), ``/flip`` (the task against its undoing, 1 is right), ``/task`` (among all 28) and
``/pair`` (among the 14 pairs that undo each other).

    svitt run 01_frame_shuffle_robot --scale cpu --record-only     # about 25 CPU minutes a seed
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from svitt.config import to_dict
from svitt.data.datasets import open_cache
from svitt.data.text import build_tokenizer
from svitt.data.worlds.robot.grammar import ACTIONS, PAIRS, vocabulary
from svitt.data.worlds.robot.world import RobotClip, RobotSpec, World, load_world, make_world
from svitt.evaluation.frame_order import ProbeOutcome, ProbeTexts, probe
from svitt.experiments.base import Measurement
from svitt.experiments.ch01_frame_shuffle.variants import ORDER_BLIND, ORDERS, Recipe, trained_on
from svitt.experiments.shared.frame_sampling import shown_indices
from svitt.experiments.shared.one_object_model import Variant
from svitt.experiments.shared.result_collector import Found
from svitt.experiments.shared.tiny_models import (
    embed_clips,
    embed_texts,
)
from svitt.models.dual_encoder import DualEncoder
from svitt.records.workspace import Workspace, project_root

CHAPTER = "01_frame_shuffle_robot"
TIMED: tuple[str, ...] = ()
SPLITS = ("test", "viewpoints")
VARIANTS: Mapping[str, Variant] = {
    "mixed": Variant(dial=1.0, num_frames=None),
    "static": Variant(dial=0.0, num_frames=None),
    **ORDER_BLIND,
}


@dataclass(frozen=True)
class Settings(Recipe):
    """A scale of the experiment.

    num_*: episodes per split, of two clips each; 0 takes the sample that comes with the book, for which no
    simulator is needed.
    """

    seeds: tuple[int, ...]
    num_train: int
    num_test: int
    num_viewpoints: int


SCALES: Mapping[str, Settings] = {
    "smoke": Settings(
        (0,), 0, 0, 0, steps=4, width=32, depth=2, num_heads=4,
        batch_size=16, learning_rate=2e-3, warmup_steps=1, draws=2,
    ),
    "cpu": Settings(
        tuple(range(5, 15)), 896, 224, 112, steps=1050,
        num_frames=8, width=96, depth=4, num_heads=4, learning_rate=2e-3,
    ),
    "gpu": Settings(
        tuple(range(5, 15)), 8000, 1000, 500, steps=6000,
        image_size=64, num_frames=16, width=256, depth=8, num_heads=4, batch_size=256,
        learning_rate=1e-3, mixed_precision="bf16",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class RobotData:
    """A robot world and its decoded clips at ``size`` pixels a side, kept in the workspace."""

    world: World
    size: int
    workspace: Workspace

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """One token a word of the world's captions."""
        return build_tokenizer(vocabulary())

    def clips(self, split: str) -> npt.NDArray[np.uint8]:
        """uint8 (N, F, size, size, 3), in memory."""
        folder = self.workspace.worlds / f"clips-{self.world.digest[:16]}"
        return np.array(open_cache(self.world, split, self.size, folder=folder).frames)


def robot_data(settings: Settings, seed: int, workspace: Workspace) -> RobotData:
    """The world of one seed, made or completed now if need be; the sample, where none is asked for."""
    if settings.num_train == 0:
        world = load_world(project_root() / "data" / "samples" / "robot")
        return RobotData(world, settings.image_size, workspace)
    spec = RobotSpec(seed, settings.num_train, 0, settings.num_test, settings.num_viewpoints)
    key = hashlib.sha256(json.dumps(to_dict(spec), sort_keys=True).encode()).hexdigest()[:10]
    return RobotData(
        make_world(spec, workspace.worlds / f"robot-{seed}-{key}"), settings.image_size, workspace
    )


def probe_texts(model: DualEncoder, data: RobotData, clips: Sequence[RobotClip], device: str) -> ProbeTexts:
    """All 28 captions with a verb, of which one is right for a clip and another tells its undoing."""
    captions = [action.caption("mixed") for action in ACTIONS]
    embedded = embed_texts(model, captions, data.tokenizer, device)
    task = np.array([ACTIONS.index(clip.action) for clip in clips])
    undoing = np.array([ACTIONS.index(clip.action.reversed()) for clip in clips])
    correct = np.array(captions)[None] == np.array([captions[t] for t in task])[:, None]
    verbs = np.broadcast_to(embedded, (len(clips), *embedded.shape))
    return ProbeTexts(embedded, np.ones_like(correct), correct, verbs, task, undoing)


def static_texts(model: DualEncoder, data: RobotData, clips: Sequence[RobotClip], device: str) -> ProbeTexts:
    """The captions without a verb, each once."""
    captions = sorted({action.caption("static") for action in ACTIONS})
    embedded = embed_texts(model, captions, data.tokenizer, device)
    own = np.array([clip.caption("static") for clip in clips])
    correct = np.array(captions)[None] == own[:, None]
    return ProbeTexts(embedded, np.ones_like(correct), correct)


def right_pair(outcome: ProbeOutcome, task: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """(draws, N): whether the best of the 28 captions tells the clip's pair, done or undone."""
    assert outcome.verb_scores is not None
    pair_of = np.array([PAIRS.index(action.pair) for action in ACTIONS])
    return np.asarray(pair_of[outcome.verb_scores.argmax(axis=-1)] == pair_of[task][None])


def measure(settings: Settings, seed: int, device: str, workspace: Workspace) -> Measurement:
    """Trains every variant of one seed and probes it on both splits."""
    data, found = robot_data(settings, seed, workspace), Found()
    for name, variant in VARIANTS.items():
        model = trained_on(variant, settings, data, "robot_order", seed, device, workspace)
        for split in SPLITS:
            records, clips = data.world.split(split), data.clips(split)
            frames = variant.num_frames or settings.num_frames
            indices = shown_indices(len(clips), clips.shape[1], frames, seed)
            shown = clips[np.arange(len(clips))[:, None], indices]
            run = partial(
                probe, partial(embed_clips, model, device=device), shown,
                seed=seed, draws=settings.draws, orders=ORDERS,
            )  # fmt: skip
            texts = probe_texts(model, data, records, device)
            plain = run(static_texts(model, data, records, device))
            for order, outcome in run(texts).items():
                assert outcome.flip is not None and outcome.verb is not None and texts.verb is not None
                head = f"{split}/{name}/{order}"
                found.keep(f"{head}/static_rank", plain[order].rank.astype(np.int16))
                found.keep(f"{head}/rank", outcome.rank.astype(np.int16))
                found.keep(f"{head}/flip", outcome.flip.astype(np.int8))
                found.keep(f"{head}/task", outcome.verb.astype(np.int8))
                found.keep(f"{head}/pair", right_pair(outcome, texts.verb).astype(np.int8))
    return Measurement(found.values, found.outcomes)
