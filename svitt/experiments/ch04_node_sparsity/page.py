"""What chapter 4 shows: tables, curves and kept tokens of single clips, from recorded outcomes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from svitt.config import from_dict
from svitt.data.datasets import downscale
from svitt.data.worlds.shapes.grammar import VERBS, Scene
from svitt.evaluation.metrics import recall_at
from svitt.experiments.base import Recorded
from svitt.experiments.ch04_node_sparsity.experiment import SELECTIONS, Settings, variant_name
from svitt.experiments.ch04_node_sparsity.harness import tokens_left
from svitt.experiments.shared.frame_sampling import decoded_clip, shown_indices
from svitt.experiments.shared.one_object_model import world_spec
from svitt.experiments.shared.tiny_models import tiny_video_config

Frames = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]

MEASURES = {"rank": "R@1", "verb": "verb", "flip": "flip"}
# What is kept in foreground outcomes -> its name in tables and figures.
KEPT_BY = {
    "kept": "CLS attention",
    "pixel_contrast": "pixel contrast",
    "position_only": "place only",
    "random_weights": "random weights",
    "lowest": "lowest attention",
    "clip": "whole clip",
}


def token_table(settings: Settings) -> pd.DataFrame:
    """One row a keep rate: tokens after each pruning layer, and the share of the clip's that is left."""
    layers, total = settings.prune_layers, math.prod(_grid(settings))
    rows = {}
    for rate in (1.0, *settings.keep_rates):
        left = tokens_left(total, rate, len(layers))
        names = {f"after layer {layer}": count for layer, count in zip(layers, left, strict=True)}
        rows[f"{rate:g}"] = {"at the start": total, **names, "left of the clip": f"{left[-1] / total:.1%}"}
    return pd.DataFrame(rows).T.rename_axis("keep rate")


def tidy(runs: Sequence[Recorded]) -> pd.DataFrame:
    """One row a seed, selection, keep rate and measure (R@1, verb, flip, named_share); values in [0, 1].

    The dense model stands in every selection as keep rate 1, where the curves meet.
    """
    rows: list[tuple[int, str, float, str, float]] = []
    for run in runs:
        for selection in SELECTIONS:
            for rate in (1.0, *_settings(run).keep_rates):
                arm = "dense" if rate == 1 else variant_name(selection, rate)
                for kind, measure in MEASURES.items():
                    array = run.outcomes[f"{arm}/{kind}"]
                    value = recall_at(array, 1) if kind == "rank" else float(array.mean())
                    rows.append((run.record.seed, selection, rate, measure, value))
                share = run.record.values["clip/named_share" if rate == 1 else f"{arm}/named_share"]
                rows.append((run.record.seed, selection, rate, "named_share", float(share)))
    return pd.DataFrame(rows, columns=["seed", "selection", "keep_rate", "measure", "value"])


def _mean_sd(groups: pd.api.typing.SeriesGroupBy, runs: int) -> pd.Series:
    """Mean (and SD, with several seeds) in percent, as text."""
    text = (100 * groups.mean()).map("{:.1f}".format)
    return text if runs < 2 else text + " ± " + (100 * groups.std()).map("{:.1f}".format)


def summary(runs: Sequence[Recorded], measure: str = "R@1") -> pd.DataFrame:
    """Mean over seeds (and SD) of a measure in percent: a row a keep rate, a column a selection."""
    table = tidy(runs)
    groups = table[table.measure == measure].groupby(["keep_rate", "selection"])["value"]
    return _mean_sd(groups, len(runs)).unstack("selection")[list(SELECTIONS)].sort_index(ascending=False)


def overlaps(runs: Sequence[Recorded]) -> pd.DataFrame:
    """Share of the tokens left at the end that two selections have in common, in percent, by keep rate."""
    rows = []
    for run in runs:
        for rate in _settings(run).keep_rates:
            for other in SELECTIONS[1:]:
                value = float(run.record.values[variant_name(f"overlap/cls_{other}", rate)])
                rows.append((rate, f"cls and {other}", value))
    table = pd.DataFrame(rows, columns=["keep rate", "pair", "value"])
    text = _mean_sd(table.groupby(["keep rate", "pair"], sort=False)["value"], len(runs))
    return text.unstack("pair")[[f"cls and {s}" for s in SELECTIONS[1:]]].sort_index(ascending=False)


def shares(runs: Sequence[Recorded]) -> pd.DataFrame:
    """One row a seed, way of keeping and kind of object: share of the kept patches' area that shows it."""
    rows = [
        (run.record.seed, name, what, float(run.outcomes[f"{key}/{what}_share"].mean()))
        for run in runs
        for key, name in KEPT_BY.items()
        for what in ("named", "distractor")
    ]
    return pd.DataFrame(rows, columns=["seed", "kept by", "object", "share"])


def twins(runs: Sequence[Recorded]) -> pd.DataFrame:
    """One row a seed and object of the clips with a twin: its share of what CLS attention keeps, divided
    by its share of the clip."""
    rows = []
    for run in runs:
        for what, name in {"named": "named object (moves)", "twin": "twin (stands still)"}.items():
            kept, clip = (
                float(run.outcomes[f"with_twin/{part}/{what}_share"].mean()) for part in ("kept", "clip")
            )
            rows.append((run.record.seed, name, kept / clip))
    return pd.DataFrame(rows, columns=["seed", "object", "enrichment"])


def twin_cost(runs: Sequence[Recorded]) -> pd.DataFrame:
    """Verb choice of the unpruned model with and without a twin in the clip, mean (and SD) in percent."""
    names = {"without a twin": "dense/verb", "with a twin": "with_twin/dense/verb"}
    rows = [(name, float(run.record.values[key])) for run in runs for name, key in names.items()]
    table = pd.DataFrame(rows, columns=["clips", "verb"])
    return _mean_sd(table.groupby("clips", sort=False)["verb"], len(runs)).to_frame("verb choice")


def clutter(runs: Sequence[Recorded]) -> pd.DataFrame:
    """One row a seed, number of distractors, selection (or dense) and measure (R@1, verb, named_share);
    the share on the named object also of the patches of highest pixel contrast, as many."""
    rows: list[tuple[int, int, str, str, float]] = []
    for run in runs:
        for count in _settings(run).clutter:
            for selection in ("dense", *SELECTIONS):
                name, head = f"clutter{count}/{selection}", (run.record.seed, count, selection)
                rows.append((*head, "R@1", recall_at(run.outcomes[f"{name}/rank"], 1)))
                rows.append((*head, "verb", float(run.outcomes[f"{name}/verb"].mean())))
                share = f"clutter{count}/clip" if selection == "dense" else name
                rows.append((*head, "named_share", float(run.record.values[f"{share}/named_share"])))
            contrast = float(run.record.values[f"clutter{count}/pixel_contrast/named_share"])
            rows.append((run.record.seed, count, "pixel contrast", "named_share", contrast))
    return pd.DataFrame(rows, columns=["seed", "distractors", "selection", "measure", "value"])


def _settings(run: Recorded) -> Settings:
    return from_dict(Settings, run.record.parameters)


def _grid(settings: Settings) -> tuple[int, int, int]:
    """(frames, rows, columns) of the patch tokens of a clip."""
    return tiny_video_config(settings.model.num_frames, image_size=settings.model.image_size).grid


@dataclass(frozen=True)
class ShownTokens:
    """One clip under one pruning.

    frames: (T, H, W, 3), as the model saw them; numbers: theirs in the clip, from 0. kept: tokens after
    each pruning layer, by its name. patch_size: pixels of ``frames``. said: what the model takes the verb
    for.
    """

    label: str
    frames: Frames
    numbers: Ints
    kept: dict[str, Ints]
    patch_size: int
    scene: Scene
    said: str


def explorer_labels(run: Recorded) -> list[str]:
    """The names of the clips that the explorer shows, chosen by rule when they were measured."""
    first = _settings(run).num_first
    clips = run.outcomes["explorer/clips"]
    return [f"test clip {index}" + (" (loses most)" if i >= first else "") for i, index in enumerate(clips)]


def shown_tokens(
    run: Recorded, selections: Sequence[str], keep_rates: Iterable[float]
) -> Iterator[tuple[tuple[str, str, str], ShownTokens]]:
    """((clip, keep rate, selection), ShownTokens) for every choice of the explorer; names as texts."""
    settings, rates = _settings(run), list(keep_rates)
    spec = world_spec(settings.model, run.record.seed)
    seen = shown_indices(spec.num_test, spec.num_frames, settings.model.num_frames, spec.seed)
    for place, (index, label) in enumerate(
        zip(run.outcomes["explorer/clips"], explorer_labels(run), strict=True)
    ):
        frames, scene = decoded_clip(spec, "test", int(index), seen[index])
        frames = downscale(frames, settings.model.image_size)
        patch = settings.model.image_size // _grid(settings)[1]
        for rate in rates:
            for selection in selections:
                name = f"explorer/{variant_name(selection, rate)}"
                kept = {
                    f"after layer {layer}": run.outcomes[f"{name}/kept{stage}"][place]
                    for stage, layer in enumerate(settings.prune_layers)
                }
                said = VERBS[int(run.outcomes[f"{name}/verb_scores"][place].argmax())]
                shown = ShownTokens(label, frames, seen[index], kept, patch, scene, said)
                yield (label, f"{rate:g}", selection), shown
