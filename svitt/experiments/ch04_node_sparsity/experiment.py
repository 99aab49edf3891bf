"""Chapter 4: how many patch tokens can go, and which? Claims ``node-inference`` and ``foreground``.

Nothing is trained here. Chapter 1's model of the ``mixed`` captions gets token pruning after it was
trained, by several selections and keep rates, and is tested on chapter 1's clips.

A variant is ``dense``, ``<selection>`` at the keep rate of the rule (.5 at each pruning layer), or
``<selection>@<rate>``; the selection ``oracle`` knows where the named object is. Raw outcomes:
``<variant>/rank``, ``/verb`` and ``/flip`` as in chapter 1, (draws, clips); ``<what is kept>/named_share``
and the like, (clips,), shares of the kept patches' area that shows an object;
``with_twin/...`` and ``clutter<n>/...`` on clips made for the purpose; ``explorer/...`` for the clips shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from svitt.data.worlds.shapes.world import Split
from svitt.evaluation.frame_order import ProbeOutcome, ProbeTexts
from svitt.experiments.base import Measurement
from svitt.experiments.ch04_node_sparsity.clips import (
    NAMED,
    Floats,
    Frames,
    Ints,
    overlap,
    share_on,
    token_coverage,
)
from svitt.experiments.ch04_node_sparsity.foreground import foreground, with_clutter, with_twins
from svitt.experiments.ch04_node_sparsity.harness import (
    RULE_RATE,
    Bench,
    Encoded,
    keep_scored,
    tokens_left,
)
from svitt.experiments.shared import frame_sampling, one_object_model
from svitt.experiments.shared.result_collector import Found
from svitt.experiments.shared.tiny_models import world_data
from svitt.records.workspace import Workspace

CHAPTER = "04_node_sparsity"
TIMED: tuple[str, ...] = ()
VARIANT = "mixed"  # of chapter 1
SELECTIONS: tuple[str, ...] = ("cls", "random", "lowest", "oracle")


@dataclass(frozen=True)
class Settings:
    """A scale of the chapter.

    model: chapter 1's settings, whose trained model and test clips are used. prune_layers: after which
    tokens go. keep_rates: at each of these layers, the rule's among them. draws: of random tokens.
    clutter: numbers of distractors, num_clutter clips each. num_twin: clips with a static twin.
    num_first, num_worst: clips of the explorer.
    """

    seeds: tuple[int, ...]
    model: one_object_model.Settings
    prune_layers: tuple[int, ...] = (0, 1)
    keep_rates: tuple[float, ...] = (0.9, 0.7, 0.5, 0.3, 0.2, 0.1)
    draws: int = 4
    clutter: tuple[int, ...] = (0, 2, 8, 32, 64)
    num_clutter: int = 400
    num_twin: int = 400
    num_first: int = 3
    num_worst: int = 3


SCALES: Mapping[str, Settings] = {
    "smoke": Settings(
        (0,), one_object_model.SCALES["smoke"], draws=2, clutter=(0, 8), num_clutter=50, num_twin=20
    ),
    "cpu": Settings((0, 1, 2, 3, 4), one_object_model.SCALES["cpu"]),
    # As in the papers, after a quarter, a half and three quarters of the depth.
    "gpu": Settings(tuple(range(8)), one_object_model.SCALES["gpu"], prune_layers=(2, 4, 6)),
}


def variant_name(selection: str, keep_rate: float) -> str:
    """``cls`` at the keep rate of the rule, ``cls@0.3`` at another."""
    return selection if keep_rate == RULE_RATE else f"{selection}@{keep_rate:g}"


def measure(settings: Settings, seed: int, device: str, workspace: Workspace) -> Measurement:
    """Prunes the tokens of chapter 1's model of this seed, trained now if it is not there, and tests it."""
    shared = settings.model
    data = world_data(one_object_model.world_spec(shared, seed), workspace, shared.image_size)
    model = one_object_model.trained_variant(VARIANT, shared, data, seed, device, workspace)
    split, whole = data.world.split("test"), data.clips("test")
    shown = frame_sampling.shown_indices(len(whole), whole.shape[1], shared.num_frames, seed)
    clips = whole[np.arange(len(whole))[:, None], shown]
    masks = np.stack([record.truth().masks[frames] for record, frames in zip(split, shown, strict=True)])

    def texts(part: Split) -> ProbeTexts:
        dial = one_object_model.VARIANTS[VARIANT].dial
        return one_object_model.probe_texts(model, data, part, dial, shared.pool_size, device)

    bench, found = Bench(model, settings.prune_layers, settings.draws, seed, device), Found()
    found.values["test_clips"] = len(split)
    all_texts = texts(split)
    encoded = _sweep(bench, settings, clips, masks, all_texts, found)
    foreground(bench, clips, masks, encoded["cls"][0].kept[-1], encoded["lowest"][0].kept[-1], found)
    with_twins(bench, data.world.spec, settings.num_twin, shown, all_texts, found)
    few = Split("test", split[: settings.num_clutter])
    for clutter in settings.clutter:
        with_clutter(bench, data.world.spec, clutter, shown[: len(few)], texts(few), SELECTIONS, found)
    return Measurement(found.values, found.outcomes)


def _sweep(
    bench: Bench, settings: Settings, clips: Frames, masks: Frames, texts: ProbeTexts, found: Found
) -> dict[str, list[Encoded]]:
    """Every selection at every keep rate; returns what was encoded, by variant."""
    coverage = token_coverage(masks, bench.grid, NAMED)
    encoded = {"dense": bench.run(None, 1.0, clips, coverage)}
    scored = {"dense": keep_scored(found, "dense", encoded["dense"], texts)}
    for rate in settings.keep_rates:
        for selection in SELECTIONS:
            name = variant_name(selection, rate)
            encoded[name] = bench.run(selection, rate, clips, coverage)
            scored[name] = keep_scored(found, name, encoded[name], texts)
            shares = [share_on(e.kept[-1], coverage) for e in encoded[name]]
            found.values[f"{name}/named_share"] = float(np.mean(shares))
        left = tokens_left(coverage.shape[1], rate, len(settings.prune_layers))
        found.values[variant_name("tokens_left", rate)] = left[-1]
        _overlaps(encoded, rate, found)
    _explorer(settings, texts, encoded, scored, found)
    return encoded


def _overlaps(encoded: Mapping[str, list[Encoded]], rate: float, found: Found) -> None:
    """How many of the tokens left at the end two selections have in common."""
    for i, first in enumerate(SELECTIONS):
        for second in SELECTIONS[i + 1 :]:
            one, other = encoded[variant_name(first, rate)], encoded[variant_name(second, rate)]
            draws = range(max(len(one), len(other)))
            shared = [overlap(one[d % len(one)].kept[-1], other[d % len(other)].kept[-1]) for d in draws]
            name = f"overlap/{first}_{second}"
            if rate == RULE_RATE:
                found.keep(name, np.stack(shared), digits=4)
            else:
                found.values[variant_name(name, rate)] = float(np.mean(shared))


def _explorer(
    settings: Settings,
    texts: ProbeTexts,
    encoded: Mapping[str, list[Encoded]],
    scored: Mapping[str, ProbeOutcome],
    found: Found,
) -> None:
    """Records what is kept of the first clips, and of those whose true verb loses most by pruning."""
    assert texts.verb is not None
    loss = verb_margin(scored["dense"], texts.verb) - verb_margin(scored["cls"], texts.verb)
    first = settings.num_first
    worst = [int(i) for i in np.argsort(-loss, kind="stable") if i >= first][: settings.num_worst]
    chosen = np.array([*range(first), *worst])
    found.outcomes["explorer/clips"] = chosen
    for name, outcome in scored.items():
        assert outcome.verb_scores is not None
        found.outcomes[f"explorer/{name}/verb_scores"] = outcome.verb_scores[0, chosen].round(3)
        for stage, kept in enumerate(encoded[name][0].kept):
            found.outcomes[f"explorer/{name}/kept{stage}"] = kept[chosen].astype(np.int16)


def verb_margin(outcome: ProbeOutcome, verb: Ints) -> Floats:
    """Score of the true verb minus that of the best other, in the first draw: (N,)."""
    assert outcome.verb_scores is not None
    scores, rows = outcome.verb_scores[0].copy(), np.arange(len(verb))
    true = scores[rows, verb].copy()
    scores[rows, verb] = -np.inf
    return (true - scores.max(axis=1)).astype(np.float32)
