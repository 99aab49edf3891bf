"""Chapter 4 again with two named objects a clip. Exploratory: no rule reads these outcomes.

With one named object, the one coloured thing in the clip is what matters. With two, the caption needs
both and what each of them does. The dense model is that of chapter 3, pruned at inference as in
``experiment``. Raw outcomes, a variant named as there: ``<variant>/rank``, ``/verb``, ``/flip``, ``/swap``,
``/relation`` of ``two_object_scores``, (draws, clips); ``<what is kept>/<whose>_share``, (clips,), shares of
the kept patches' area on the first and the second named object, both, and distractors; ``clutter<n>/...``;
``explorer/...`` for the clips shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from svitt.data.worlds.shapes.world import Split, WorldSpec
from svitt.experiments.base import Measurement
from svitt.experiments.ch04_node_sparsity.clips import (
    Floats,
    Frames,
    Ints,
    cluttered,
    made_clips,
    patch_contrast,
    share_on,
    token_coverage,
    top_tokens,
)
from svitt.experiments.ch04_node_sparsity.experiment import SELECTIONS, variant_name
from svitt.experiments.ch04_node_sparsity.foreground import all_tokens
from svitt.experiments.ch04_node_sparsity.harness import RULE_RATE, Bench, Encoded, tokens_left
from svitt.experiments.shared import edge_settings
from svitt.experiments.shared.frame_sampling import shown_indices
from svitt.experiments.shared.result_collector import Found
from svitt.experiments.shared.two_object_scores import EmbeddedTexts, TwoObjectTexts, embed, score
from svitt.experiments.shared.two_object_world import trained_two_object_model, two_object_data
from svitt.records.workspace import Workspace

CHAPTER = "04_node_sparsity_movers"
TIMED: tuple[str, ...] = ()
# Labels of the masks: the named objects in the caption's order, then distractors.
OBJECTS = {"first": (1, 1), "second": (2, 2), "both": (1, 2), "distractor": (3, 255)}


@dataclass(frozen=True)
class Settings:
    """A scale. model: chapter 3's settings, whose dense model and test clips are used; the rest as in
    ``node_sparsity.Settings``."""

    seeds: tuple[int, ...]
    model: edge_settings.Settings
    prune_layers: tuple[int, ...] = (0, 1)
    keep_rates: tuple[float, ...] = (0.9, 0.7, 0.5, 0.3, 0.2, 0.1)
    draws: int = 3
    clutter: tuple[int, ...] = (0, 2, 8, 32)
    num_clutter: int = 400
    num_first: int = 3
    num_worst: int = 3


SCALES: Mapping[str, Settings] = {
    "smoke": Settings(
        (0,), edge_settings.SCALES["smoke"], keep_rates=(0.5, 0.2), draws=2, clutter=(0, 8), num_clutter=20
    ),
    "cpu": Settings((0, 1, 2, 3, 4), edge_settings.SCALES["cpu"]),
    "gpu": Settings(tuple(range(8)), edge_settings.SCALES["gpu"], prune_layers=(2, 4, 6)),
}


@dataclass(frozen=True)
class Scored:
    """Texts embedded by the model that is pruned, and where what is found goes."""

    bench: Bench
    embedded: EmbeddedTexts
    found: Found

    def add(self, name: str, encoded: Sequence[Encoded]) -> None:
        """Scores every draw of a variant."""
        draws = [score(e.embeddings, self.embedded).arrays() for e in encoded]
        self.found.keep_draws(name, draws)

    def share(self, name: str, tokens: Ints, covered: Mapping[str, Floats]) -> None:
        """Keeps, for each kind of object, its share of the area of ``tokens`` (N, k)."""
        for what, coverage in covered.items():
            self.found.keep(f"{name}/{what}_share", share_on(tokens, coverage).round(4))


def measure(settings: Settings, seed: int, device: str, workspace: Workspace) -> Measurement:
    """Prunes the tokens of chapter 3's dense model of this seed, trained now if it is not there."""
    shared = settings.model.model
    data = two_object_data(shared, seed, workspace)
    model = trained_two_object_model(shared, data, seed, device, workspace)
    spec, split, whole = data.two.world.spec, data.two.world.split("test"), data.two.clips("test")
    shown = shown_indices(len(whole), whole.shape[1], shared.num_frames, seed)
    clips = whole[np.arange(len(whole))[:, None], shown]
    masks = np.stack([record.truth().masks[frames] for record, frames in zip(split, shown, strict=True)])
    bench, found = Bench(model, settings.prune_layers, settings.draws, seed, device), Found()

    def scored(part: Split) -> Scored:
        texts = TwoObjectTexts(spec, part, settings.model.pool_size)
        return Scored(bench, embed(model, texts, data.tokenizer, device), found)

    _sweep(settings, clips, masks, scored(split))
    few = Split("test", split[: settings.num_clutter])
    for clutter in settings.clutter:
        _clutter(spec, clutter, shown[: len(few)], scored(few))
    found.values["test_clips"] = len(split)
    return Measurement(found.values, found.outcomes)


def covered_by(masks: Frames, grid: tuple[int, int, int]) -> dict[str, Floats]:
    """Kind of object -> share of every patch that shows it, (N, T*h*w)."""
    return {what: token_coverage(masks, grid, *labels) for what, labels in OBJECTS.items()}


def _sweep(settings: Settings, clips: Frames, masks: Frames, scored: Scored) -> None:
    """Every selection at every keep rate; shares at the rule's rate; what the explorer shows."""
    bench, found = scored.bench, scored.found
    covered = covered_by(masks, bench.grid)
    encoded = {"dense": bench.run(None, 1.0, clips, covered["both"])}
    scored.add("dense", encoded["dense"])
    for rate in settings.keep_rates:
        for selection in SELECTIONS:
            name = variant_name(selection, rate)
            encoded[name] = bench.run(selection, rate, clips, covered["both"])
            scored.add(name, encoded[name])
        left = tokens_left(covered["both"].shape[1], rate, len(settings.prune_layers))
        found.values[variant_name("tokens_left", rate)] = left[-1]
    kept: dict[str, Ints] = {selection: encoded[selection][0].kept[-1] for selection in SELECTIONS}
    count, total = kept["cls"].shape[1], covered["both"].shape[1]
    kept["pixel_contrast"] = top_tokens(patch_contrast(clips, bench.grid), count)
    kept["clip"] = all_tokens(len(clips), total)
    for name, tokens in kept.items():
        scored.share(f"kept_by/{name}", tokens, covered)
    chosen = _explorer_clips(settings, encoded, scored)
    found.outcomes["explorer/clips"] = chosen
    for name, variants in encoded.items():
        for stage, tokens in enumerate(variants[0].kept):
            found.outcomes[f"explorer/{name}/kept{stage}"] = tokens[chosen].astype(np.int16)


def _explorer_clips(
    settings: Settings, encoded: Mapping[str, list[Encoded]], scored: Scored
) -> npt.NDArray[np.int64]:
    """The first clips, and those whose own caption loses most by CLS pruning at the rule's rate."""
    e = scored.embedded
    own = e.pool[[e.distinct.index(str(caption)) for caption in e.texts.captions]]
    similarity = {name: (encoded[name][0].embeddings * own).sum(axis=1) for name in ("dense", "cls")}
    order = np.argsort(similarity["cls"] - similarity["dense"], kind="stable")
    worst = [int(i) for i in order if i >= settings.num_first][: settings.num_worst]
    return np.array([*range(settings.num_first), *worst], dtype=np.int64)


def _clutter(spec: WorldSpec, clutter: int, shown: Ints, scored: Scored) -> None:
    """The first test clips with another number of distractors, pruned at the rule's rate."""
    bench, title = scored.bench, f"two objects, {clutter} distractors"
    made = made_clips(cluttered(spec, len(shown), clutter), shown, spec, bench.image_size, title)
    covered = covered_by(made.masks, bench.grid)
    selections: tuple[str | None, ...] = (None, *SELECTIONS)
    kept: dict[str, Ints] = {"clip": all_tokens(len(made), covered["both"].shape[1])}
    for selection in selections:
        encoded = bench.run(selection, RULE_RATE, made.frames, covered["both"])
        scored.add(f"clutter{clutter}/{selection or 'dense'}", encoded)
        if selection is not None:
            kept[selection] = encoded[0].kept[-1]
    kept["pixel_contrast"] = top_tokens(patch_contrast(made.frames, bench.grid), kept["cls"].shape[1])
    for name, tokens in kept.items():
        scored.share(f"clutter{clutter}/kept_by/{name}", tokens, covered)
