"""What chapter 2 shows: tables, curves and clips, from recorded outcomes and the world itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from svitt.config import from_dict
from svitt.data.datasets import downscale
from svitt.data.transforms import normalise
from svitt.data.worlds.shapes.events import Event, event_caption, event_of
from svitt.data.worlds.shapes.grammar import Scene
from svitt.experiments.base import Recorded
from svitt.experiments.ch02_space_time_tradeoff.experiment import (
    encoder,
    tradeoff_spec,
    training_flops,
)
from svitt.experiments.ch02_space_time_tradeoff.settings import SCALES
from svitt.experiments.shared.event_world import events_spec
from svitt.experiments.shared.frame_sampling import decoded_clip, shown_indices
from svitt.experiments.shared.space_time_settings import Settings, Variant
from svitt.experiments.shared.table_text import interval, percent
from svitt.models.video_encoder import VideoEncoder

Frames = npt.NDArray[np.uint8]
MEASURES = {"temporal": "which way (temporal)", "spatial": "which shape (spatial)"}
CHANCE = {"temporal": 0.5, "spatial": 0.25}
KINDS = ("all", "slow", "brief")
EVENT_CHANCE = 1 / 6


def settings_of(run: Recorded) -> Settings:
    """The settings that a seed was measured with."""
    return from_dict(Settings, run.record.parameters)


def arm_names(settings: Settings) -> dict[str, str]:
    """Arm -> "frames x pixels", from few large frames to many small ones."""
    made = {"resolution": settings.resolution, "middle": settings.middle, "frames": settings.frames}
    return {name: f"{frames} x {size} px" for name, (frames, size) in made.items()}


def widths(settings: Settings) -> dict[int, str]:
    """Width -> what its outcomes' names begin with, narrow first."""
    made = {width: f"width{width}/" for width in settings.other_widths} | {settings.width: ""}
    return dict(sorted(made.items()))


def budgets(scale: str) -> pd.DataFrame:
    """A row an arm: its tokens, and the FLOPs of one clip's training step."""
    settings = SCALES[scale]
    rows = {}
    for name, arm in settings.variants().items():
        video = encoder(settings, arm, settings.width)
        tokens = int(np.prod(video.grid))
        flops = training_flops(video, settings) / settings.steps / settings.batch_size
        rows[name.replace("_", " ")] = {
            "frames": arm.num_frames, "pixels a side": arm.size, "tokens": tokens,
            "MFLOPs a clip": round(flops / 1e6, 1),
        }  # fmt: skip
    return pd.DataFrame(rows).T.astype({"frames": int, "pixels a side": int, "tokens": int})


def reversal_moves(frames: Frames, seed: int = 0) -> float:
    """How far the feature of a clip (T, S, S, 3) moves when it runs backwards, as a share of its norm, in an
    encoder of the chapter with random weights."""
    settings = SCALES["cpu"]
    config = encoder(settings, Variant(len(frames), frames.shape[1]), settings.width)
    model = VideoEncoder(config, torch.Generator().manual_seed(seed)).eval()
    with torch.no_grad():
        there, back = (model(normalise(shown[None])).pooled for shown in (frames, frames[::-1].copy()))
    return float((back - there).norm() / there.norm())


def tradeoff(runs: Sequence[Recorded]) -> pd.DataFrame:
    """One row a seed, width, arm and measure; values in [0, 1]."""
    rows = [
        (run.record.seed, width, label, measure, float(run.outcomes[f"{head}{arm}/{measure}/correct"].mean()))
        for run in runs
        for arm, label in arm_names(settings_of(run)).items()
        for width, head in widths(settings_of(run)).items()
        if f"{head}{arm}/train_flops" in run.outcomes
        for measure in MEASURES
    ]
    return pd.DataFrame(rows, columns=["seed", "width", "arm", "measure", "value"])


def _gain(run: Recorded, head: str, measure: str) -> float:
    """More frames over more pixels."""
    o = run.outcomes
    frames, pixels = (o[f"{head}{arm}/{measure}/correct"] for arm in ("frames", "resolution"))
    return float(frames.mean() - pixels.mean())


def interactions(runs: Sequence[Recorded]) -> pd.DataFrame:
    """A row a width: what more frames gain over more pixels, in points with 95% t-intervals, and the
    difference of the two, which the rule asks for at the width of the settings."""
    rows = {}
    for width, head in widths(settings_of(runs[0])).items():
        gains = {measure: np.array([_gain(run, head, measure) for run in runs]) for measure in MEASURES}
        row = {title: interval(gains[measure]) for measure, title in MEASURES.items()}
        rows[width] = row | {"difference": interval(gains["temporal"] - gains["spatial"])}
    return pd.DataFrame(rows).T.rename_axis("width")


def balance(runs: Sequence[Recorded]) -> pd.DataFrame:
    """The middle arm minus the better extreme at the width of the settings, for each measure and for their
    mean, points with 95% t-intervals."""
    asked = {title: [measure] for measure, title in MEASURES.items()} | {"mean of both": list(MEASURES)}
    row = {}
    for title, measures in asked.items():
        gains = []
        for run in runs:
            mean = {
                arm: np.mean([run.outcomes[f"{arm}/{measure}/correct"].mean() for measure in measures])
                for arm in ("resolution", "middle", "frames")
            }
            gains.append(mean["middle"] - max(mean["resolution"], mean["frames"]))
        row[title] = interval(gains)
    return pd.DataFrame({"middle minus the better extreme": row}).T


def _of_kind(run: Recorded, length: int, kind: str) -> float:
    right, brief = run.outcomes[f"frames/{length}/correct"], run.outcomes["event_brief"].astype(bool)
    chosen = {"all": np.ones_like(brief), "brief": brief, "slow": ~brief}[kind]
    return float(right[chosen].mean())


def lengths(runs: Sequence[Recorded]) -> pd.DataFrame:
    """One row a seed, kind of event and number of sampled frames; values in [0, 1]."""
    rows = [
        (run.record.seed, kind, length, _of_kind(run, length, kind))
        for run in runs
        for kind in KINDS
        for length in settings_of(run).lengths
    ]
    return pd.DataFrame(rows, columns=["seed", "events", "frames", "value"])


def doublings(runs: Sequence[Recorded]) -> pd.DataFrame:
    """A row a kind of event: accuracy in percent at the fewest frames, then the gain of each doubling in
    points with 95% t-intervals."""
    every = settings_of(runs[0]).lengths
    rows = {}
    for kind in KINDS:
        row = {f"{every[0]} frames": percent([_of_kind(run, every[0], kind) for run in runs])}
        for fewer, more in pairwise(every):
            gain = [_of_kind(run, more, kind) - _of_kind(run, fewer, kind) for run in runs]
            row[f"{fewer} to {more}"] = interval(gain)
        rows[kind] = row
    return pd.DataFrame(rows).T.rename_axis("events")


@dataclass(frozen=True)
class ArmView:
    """A test clip as an arm sees it. frames: (T, H, W, 3). numbers: of the frames in the clip, from 1."""

    scene: Scene
    frames: Frames
    numbers: list[int]


def arm_views(scale: str, seed: int, index: int) -> dict[str, ArmView]:
    """The frames and pixels of each arm of the trade-off, drawn as at the test."""
    settings = SCALES[scale]
    spec = tradeoff_spec(settings, seed)
    made = {}
    for name, label in arm_names(settings).items():
        arm = settings.variants()[name]
        numbers = shown_indices(index + 1, spec.num_frames, arm.num_frames, seed)[index]
        frames, scene = decoded_clip(spec, "test", index, numbers)
        made[label] = ArmView(scene, downscale(frames, arm.size), [int(n) + 1 for n in numbers])
    return made


def arm_results(run: Recorded, index: int) -> pd.DataFrame:
    """What the arms made of a test clip, at the width of the settings."""
    rows = {
        label: {
            title: "right" if run.outcomes[f"{arm}/{measure}/correct"][index] else "wrong"
            for measure, title in MEASURES.items()
        }
        for arm, label in arm_names(settings_of(run)).items()
    }
    return pd.DataFrame(rows).T


@dataclass(frozen=True)
class EventView:
    """A test clip with an event. frames: (F, H, W, 3), all of it, as the event shows it."""

    scene: Scene
    event: Event
    frames: Frames

    @property
    def caption(self) -> str:
        """What is said of it."""
        return event_caption(self.event.verb)


def event_view(scale: str, seed: int, index: int) -> EventView:
    """A test clip of the longer clips; every second one, from 1, has a brief event."""
    settings = SCALES[scale]
    spec = events_spec(settings, seed)
    frames, scene = decoded_clip(spec, "test", index, np.arange(spec.num_frames))
    rng = np.random.default_rng([seed, 10, index])
    event = event_of(scene, spec.num_frames, settings.event_length, index % 2 == 1, rng)
    return EventView(scene, event, downscale(frames, settings.event_size)[event.frames])


def sampled(scale: str, seed: int, index: int, length: int) -> list[int]:
    """Numbers, from 0, of the frames of a longer test clip that are shown to the model of ``length``."""
    total = events_spec(SCALES[scale], seed).num_frames
    return [int(n) for n in shown_indices(index + 1, total, length, seed)[index]]
