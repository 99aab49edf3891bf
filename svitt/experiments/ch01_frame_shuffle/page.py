"""What chapter 1 shows: tables and clips for the explorer, from recorded outcomes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from svitt.config import from_dict
from svitt.data.video.sampling import sample_indices
from svitt.data.worlds.shapes.grammar import VERBS, Scene
from svitt.data.worlds.shapes.scene import clip_parameters
from svitt.data.worlds.shapes.world import WorldSpec
from svitt.evaluation.frame_order import ORDERS, order_indices
from svitt.evaluation.metrics import recall_at
from svitt.experiments.base import Recorded
from svitt.experiments.shared.frame_sampling import (
    NUM_FRAMES,
    Frames,
    Indices,
    decoded_clip,
    shown_indices,
)
from svitt.experiments.shared.one_object_model import VARIANTS, Settings, world_spec
from svitt.experiments.shared.tiny_models import tiny_video_config
from svitt.models.dual_encoder import DualEncoder, DualEncoderConfig
from svitt.models.text_encoder import TextConfig


def sample_clip(seed: int, verb: str = "moves left") -> tuple[Frames, Scene]:
    """The first test clip of a world whose object does ``verb``."""
    spec = WorldSpec(seed)
    index = next(i for i in range(1000) if clip_parameters(spec, "test", i).scene.movers[0].verb == verb)
    return decoded_clip(spec, "test", index, sample_indices(NUM_FRAMES, spec.num_frames))


def untrained_model(kind: Literal["joint", "bag"], seed: int) -> DualEncoder:
    """A dual encoder with random weights that reads four frames jointly, or each alone."""
    video = tiny_video_config(NUM_FRAMES if kind == "joint" else 1)
    return DualEncoder(DualEncoderConfig(video, TextConfig(32), frames=kind), seed).eval()


def tidy(runs: Sequence[Recorded]) -> pd.DataFrame:
    """One row a seed, arm, order and measure (R@1, flip, verb); values between 0 and 1."""
    rows = []
    for run in runs:
        for name, array in run.outcomes.items():
            arm, order, kind = name.split("/")
            if kind in ("rank", "flip", "verb"):
                value = recall_at(array, 1) if kind == "rank" else float(array.mean())
                measure = "R@1" if kind == "rank" else kind
                rows.append((run.record.seed, arm, order, measure, value))
    return pd.DataFrame(rows, columns=["seed", "arm", "order", "measure", "value"])


def flip_groups(table: pd.DataFrame) -> pd.DataFrame:
    """The flip choices worth showing side by side: every arm in order, the mixed one in every order."""
    rows = table[(table.measure == "flip") & ((table.order == "none") | (table.arm == "mixed"))]
    names = {("mixed", order): f"mixed,\n{order}" for order in ORDERS}
    names |= {
        (arm, "none"): arm.replace("_", "\n", 1).replace("_", " ") for arm in VARIANTS if arm != "mixed"
    }
    group = [names[arm, order] for arm, order in zip(rows.arm, rows.order, strict=True)]
    shown = rows.assign(group=group)
    return shown.sort_values("group", key=lambda g: g.map(list(names.values()).index))


def summary(runs: Sequence[Recorded]) -> pd.DataFrame:
    """Mean over seeds (and SD) of every measure, one row an arm, one column an order, in percent."""
    table = tidy(runs)
    groups = table.groupby(["arm", "measure", "order"])["value"]
    text = (100 * groups.mean()).map("{:.1f}".format)
    if len(runs) > 1:
        text = text + " ± " + (100 * groups.std()).map("{:.1f}".format)
    shown = text.unstack("order")[list(ORDERS)]
    return shown.loc[[arm for arm in VARIANTS if arm in shown.index.get_level_values(0)]]


def explorer_clips(run: Recorded, first: int = 3, worst: int = 3) -> list[int]:
    """Test clips by rule: the first ones, and those with the worst margin of the true verb in order."""
    scores = run.outcomes["mixed/none/verb_scores"]
    scene_verbs = true_verbs(run, len(scores))
    rows = np.arange(len(scores))
    others = scores.copy()
    others[rows, scene_verbs] = -np.inf
    margin = scores[rows, scene_verbs] - others.max(axis=1)
    order = [int(i) for i in np.argsort(margin, kind="stable") if i >= first]
    return [*range(first), *order[:worst]]


def true_verbs(run: Recorded, count: int) -> npt.NDArray[np.int64]:
    """Index into VERBS of what the first ``count`` test clips show."""
    spec = _spec(run)
    scenes = (clip_parameters(spec, "test", i).scene for i in range(count))
    return np.array([VERBS.index(scene.movers[0].verb) for scene in scenes])


def _settings(run: Recorded) -> Settings:
    return from_dict(Settings, run.record.parameters)


def _spec(run: Recorded) -> WorldSpec:
    return world_spec(_settings(run), run.record.seed)


@dataclass(frozen=True)
class ShownClip:
    """One clip in one order, as the model saw it. frames: (T, H, W, 3); numbers: their numbers in the
    clip, from 0; scores: similarity to the caption under each of VERBS."""

    label: str
    order: str
    frames: Frames
    numbers: Indices
    scores: npt.NDArray[np.floating]
    scene: Scene


def shown_clips(run: Recorded) -> Iterator[ShownClip]:
    """The clips of ``explorer_clips`` in every order, with the permutation that the probe drew first."""
    spec, num_frames = _spec(run), _settings(run).num_frames
    seen = shown_indices(spec.num_test, spec.num_frames, num_frames, spec.seed)
    for place, index in enumerate(explorer_clips(run)):
        frames, scene = decoded_clip(spec, "test", index, seen[index])
        label = f"test clip {index}" + (" (hard)" if place >= 3 else "")
        for order in ORDERS:
            rng = np.random.default_rng([run.record.seed, ORDERS.index(order), 0])
            scores = run.outcomes[f"mixed/{order}/verb_scores"]
            place_of = order_indices(order, len(scores), num_frames, rng)[index]
            numbers = seen[index][place_of]
            yield ShownClip(label, order, frames[place_of], numbers, scores[index], scene)
