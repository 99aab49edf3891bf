"""Chapter 3: which edges of attention are needed? Claims ``quadratic``, ``edge-inference``, ``edge-global``.

Clips show two named objects (``two_object_world``). Raw outcomes:

- what one layer costs, as ``edge_costs`` says;
- at inference: the densely trained model of the seed, its edges taken away afterwards. ``<variant>/rank``,
  ``/verb``, ``/flip``, ``/swap`` and ``/relation``, (draws, clips), for the variants ``dense``, ``sparse``
  (the paper's pattern at a quarter of the clip), ``cls_only`` and every other pattern under its own name;
- trained: models that had their edges from the first step. ``<variant>/correct``, the choice between the
  two relations, (clips,), and ``trained/<variant>/...`` as above; the variants are ``Settings.trained``;
- ``<variant>/edge_density``, ``/mean_hops`` and ``/unreached``: of the pattern of one layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from svitt.data.transforms import normalise
from svitt.experiments.base import Measurement
from svitt.experiments.ch03_edge_sparsity.costs import VARIANTS as COST_VARIANTS
from svitt.experiments.ch03_edge_sparsity.costs import attention_costs, exponent
from svitt.experiments.shared.edge_patterns import (
    Pattern,
    density_sweep,
    measures,
    named_patterns,
)
from svitt.experiments.shared.edge_settings import SCALES, Settings
from svitt.experiments.shared.frame_sampling import shown_indices
from svitt.experiments.shared.result_collector import Found
from svitt.experiments.shared.tiny_models import embed_clips
from svitt.experiments.shared.two_object_scores import (
    EmbeddedTexts,
    TwoObjectOutcome,
    TwoObjectTexts,
    embed,
    score,
)
from svitt.experiments.shared.two_object_world import (
    trained_two_object_model,
    two_object_data,
    video_config,
    with_pattern,
)
from svitt.layers.edges import fixed_edges
from svitt.models.dual_encoder import DualEncoder
from svitt.records.workspace import Workspace

__all__ = ["CHAPTER", "SCALES", "TIMED", "Settings", "measure"]

CHAPTER = "03_edge_sparsity"
TIMED = ("*/attention_seconds", "*/attention_bytes", "*/seconds_exponent", "*/bytes_exponent")
# The paper's pattern has one name where it is taken from a dense model and one where it was trained.
AT_INFERENCE = {"full": "sparse"}


@dataclass(frozen=True)
class Bench:
    """One seed's test clips (N, T, H, W, C) and texts. tokenizer: of the texts."""

    clips: npt.NDArray[np.uint8]
    texts: TwoObjectTexts
    tokenizer: Any
    device: str

    def embedded(self, model: DualEncoder) -> EmbeddedTexts:
        """The texts, embedded by a model."""
        return embed(model, self.texts, self.tokenizer, self.device)

    def score(self, model: DualEncoder, embedded: EmbeddedTexts) -> TwoObjectOutcome:
        """The test clips under a model, against texts embedded by the same weights."""
        return score(embed_clips(model, self.clips, self.device), embedded)


def patterns(settings: Settings, seed: int) -> dict[str, Pattern]:
    """All patterns that are tried at inference, by name."""
    grid = video_config(settings.model).grid
    swept = density_sweep(grid, settings.block_size, settings.shares, seed)
    return named_patterns(grid, settings.block_size, seed) | swept


def is_random(name: str) -> bool:
    """Whether a pattern draws edges."""
    return name.startswith(("full", "random"))


def measure(settings: Settings, seed: int, device: str, workspace: Workspace) -> Measurement:
    """Measures costs, trains the variants of one seed, and takes the edges of the dense one away."""
    found = Found()
    found.outcomes |= attention_costs(settings.costs, seed, device)
    for variant in COST_VARIANTS:
        for what in ("flops", "seconds", "bytes"):
            cost = found.outcomes[f"{variant}/attention_{what}"]
            found.values[f"{variant}/{what}_exponent"] = exponent(found.outcomes["tokens"], cost)
    data = two_object_data(settings.model, seed, workspace)
    split, whole = data.two.world.split("test"), data.two.clips("test")
    shown = shown_indices(len(whole), whole.shape[1], settings.model.num_frames, seed)
    clips = whole[np.arange(len(whole))[:, None], shown]
    texts = TwoObjectTexts(data.two.world.spec, split, settings.pool_size)
    bench = Bench(clips, texts, data.tokenizer, device)
    known = patterns(settings, seed)
    models = {
        name: trained_two_object_model(
            settings.model, data, seed, device, workspace, None if name == "dense" else known[name]
        )
        for name in settings.trained
    }
    for name, model in models.items():
        scored = bench.score(model, bench.embedded(model))
        found.keep_draws(f"trained/{name}", [scored.arrays()])
        found.outcomes[f"{name}/correct"] = scored.arrays()["relation"]
    _at_inference(settings, seed, bench, models["dense"], known, found)
    found.values["kernel_difference"] = kernel_difference(models["dense"], known["full"], clips[:100], device)
    found.values["test_clips"] = len(split)
    found.values["clear_relations"] = len(texts.told)
    return Measurement(found.values, found.outcomes)


def _at_inference(
    settings: Settings,
    seed: int,
    bench: Bench,
    dense: DualEncoder,
    known: Mapping[str, Pattern],
    found: Found,
) -> None:
    """Every pattern in the place of the dense model's attention, random ones drawn several times."""
    video = video_config(settings.model)
    embedded = bench.embedded(dense)
    for name, pattern in known.items():
        label = AT_INFERENCE.get(name, name)
        draws = settings.draws if is_random(name) else 1
        scored = []
        for draw in range(draws):
            drawn = pattern if draw == 0 else patterns(settings, 1000 * (draw + 1) + seed)[name]
            scored.append(bench.score(with_pattern(dense, drawn), embedded).arrays())
        found.keep_draws(label, scored)
        # The density of a pattern under another label counts for the trained variant too.
        for each in dict.fromkeys((label, name)):
            found.keep_all(each, measures(pattern, video.grid, video.depth))


@torch.no_grad()
def kernel_difference(
    model: DualEncoder, pattern: Pattern, clips: npt.NDArray[np.uint8], device: str
) -> float:
    """Largest difference of embeddings between the edge-sparse kernel and the matrix of the same edges."""
    assert pattern.edges is not None and pattern.edges.neighbourhood is None
    video = model.config.video
    tokens = video.grid[0] * video.grid[1] * video.grid[2]
    shown = normalise(clips).to(device)
    fixed = [fixed_edges(pattern.edges, layer, tokens) for layer in range(video.depth)]
    masked = with_pattern(model, pattern).to(device)
    difference = model.encode_video(shown, patterns=fixed) - masked.encode_video(shown)
    return float(difference.abs().max())
