"""What chapter 4 shows of clips with two named objects, from recorded outcomes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import pandas as pd

from svitt.config import from_dict
from svitt.data.datasets import downscale
from svitt.evaluation.metrics import recall_at
from svitt.experiments.base import Recorded
from svitt.experiments.ch04_node_sparsity.experiment import SELECTIONS, variant_name
from svitt.experiments.ch04_node_sparsity.page import ShownTokens
from svitt.experiments.ch04_node_sparsity.two_objects import OBJECTS, Settings
from svitt.experiments.shared.frame_sampling import decoded_clip, shown_indices
from svitt.experiments.shared.two_object_world import two_movers, video_config

MEASURES = {"rank": "R@1", "verb": "verb", "swap": "swap", "relation": "relation"}
CHANCE = {"R@1": None, "verb": 1 / 6, "swap": 0.5, "relation": 0.5}
KEPT_BY = {
    "cls": "CLS attention",
    "pixel_contrast": "pixel contrast",
    "random": "random",
    "lowest": "lowest attention",
    "oracle": "oracle",
    "clip": "whole clip",
}
WHOSE = {"first": "first named", "second": "second named", "distractor": "distractors"}


def _settings(run: Recorded) -> Settings:
    return from_dict(Settings, run.record.parameters)


def _value(run: Recorded, arm: str, kind: str) -> float:
    array = run.outcomes[f"{arm}/{kind}"]
    return recall_at(array, 1) if kind == "rank" else float(array.mean())


def tidy(runs: Sequence[Recorded]) -> pd.DataFrame:
    """One row a seed, selection, keep rate and measure; values in [0, 1]. The dense model stands in every
    selection as keep rate 1."""
    rows = [
        (run.record.seed, selection, rate, measure, _value(run, arm, kind))
        for run in runs
        for selection in SELECTIONS
        for rate in (1.0, *_settings(run).keep_rates)
        for arm in ["dense" if rate == 1 else variant_name(selection, rate)]
        for kind, measure in MEASURES.items()
    ]
    return pd.DataFrame(rows, columns=["seed", "selection", "keep_rate", "measure", "value"])


def cls_minus_random(runs: Sequence[Recorded]) -> pd.DataFrame:
    """CLS attention minus random tokens, in points, mean (and SD) over seeds: a row a keep rate."""
    table = tidy(runs)
    pairs = table.pivot_table(index=["seed", "keep_rate", "measure"], columns="selection", values="value")
    gaps = (100 * (pairs["cls"] - pairs["random"])).rename("gap").reset_index()
    groups = gaps[gaps.keep_rate < 1].groupby(["keep_rate", "measure"], sort=False)["gap"]
    text = groups.mean().map("{:+.1f}".format)
    if len(runs) > 1:
        text = text + " ± " + groups.std().map("{:.1f}".format)
    return text.unstack("measure")[list(MEASURES.values())].sort_index(ascending=False)


def shares(runs: Sequence[Recorded]) -> pd.DataFrame:
    """One row a seed, way of keeping and kind of object: its share of the kept patches' area."""
    rows = [
        (run.record.seed, name, label, float(run.record.values[f"kept_by/{key}/{what}_share"]))
        for run in runs
        for key, name in KEPT_BY.items()
        for what, label in WHOSE.items()
    ]
    return pd.DataFrame(rows, columns=["seed", "kept by", "object", "share"])


def clutter(runs: Sequence[Recorded]) -> pd.DataFrame:
    """One row a seed, number of distractors, selection (or dense, or pixel contrast) and measure: R@1, verb,
    and both_share, the share of the kept area on the named objects."""
    rows: list[tuple[int, int, str, str, float]] = []
    for run in runs:
        for count in _settings(run).clutter:
            head = f"clutter{count}"
            for selection in ("dense", *SELECTIONS):
                for kind, measure in (("rank", "R@1"), ("verb", "verb")):
                    found = _value(run, f"{head}/{selection}", kind)
                    rows.append((run.record.seed, count, selection, measure, found))
            kept = {s: s for s in SELECTIONS} | {"dense": "clip", "pixel contrast": "pixel_contrast"}
            for name, key in kept.items():
                share = float(run.record.values[f"{head}/kept_by/{key}/both_share"])
                rows.append((run.record.seed, count, name, "both_share", share))
    return pd.DataFrame(rows, columns=["seed", "distractors", "selection", "measure", "value"])


def explorer_labels(run: Recorded) -> list[str]:
    """The clips of the explorer, chosen by rule when they were measured."""
    first, clips = _settings(run).num_first, run.outcomes["explorer/clips"]
    return [f"test clip {index}" + (" (loses most)" if i >= first else "") for i, index in enumerate(clips)]


def shown_tokens(
    run: Recorded, selections: Sequence[str], keep_rates: Iterable[float]
) -> Iterator[tuple[tuple[str, str, str], ShownTokens]]:
    """((clip, keep rate, selection), ShownTokens) for every choice of the explorer; names as texts."""
    settings, rates = _settings(run), list(keep_rates)
    model = settings.model.model
    spec = two_movers(model, run.record.seed)
    seen = shown_indices(spec.num_test, spec.num_frames, model.num_frames, spec.seed)
    patch = model.image_size // video_config(model).grid[1]
    clips = zip(run.outcomes["explorer/clips"], explorer_labels(run), strict=True)
    for place, (index, label) in enumerate(clips):
        frames, scene = decoded_clip(spec, "test", int(index), seen[index])
        frames = downscale(frames, model.image_size)
        for rate in rates:
            for selection in selections:
                name = f"explorer/{variant_name(selection, rate)}"
                kept = {
                    f"after layer {layer}": run.outcomes[f"{name}/kept{stage}"][place]
                    for stage, layer in enumerate(settings.prune_layers)
                }
                shown = ShownTokens(label, frames, seen[index], kept, patch, scene, "")
                yield (label, f"{rate:g}", selection), shown


assert set(WHOSE) < set(OBJECTS)
