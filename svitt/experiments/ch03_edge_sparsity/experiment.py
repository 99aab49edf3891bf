"""Chapter 3: which edges of attention are needed? Claims ``quadratic``, ``edge-inference``, ``edge-global``.

Clips show two named objects (``harder_worlds``). Raw outcomes:

- what one layer costs, as ``edge_costs`` says;
- at inference: the densely trained model of the seed, its edges taken away afterwards. ``<arm>/rank``,
  ``/verb``, ``/flip``, ``/swap`` and ``/relation``, (draws, clips), for the arms ``dense``, ``sparse`` (the
  paper's pattern at a quarter of the clip), ``cls_only`` and every other pattern under its own name;
- trained: models that had their edges from the first step. ``<arm>/correct``, the choice between the two
  relations, (clips,), and ``trained/<arm>/...`` as above; the arms are ``Settings.trained``;
- ``<arm>/edge_density``, ``<arm>/mean_hops`` and ``<arm>/unreached``: of the pattern of one layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from svitt.data.transforms import normalise
from svitt.experiments.base import Measurement
from svitt.experiments.ch01_frame_shuffle.experiment import shown_indices
from svitt.experiments.ch03_edge_sparsity.costs import ARMS as COST_ARMS
from svitt.experiments.ch03_edge_sparsity.costs import CostSettings, attention_costs, exponent
from svitt.experiments.shared.edge_patterns import (
    Pattern,
    density_sweep,
    hop_distances,
    layer_mask,
    masks,
    named_patterns,
)
from svitt.experiments.shared.tiny_models import embed_clips
from svitt.experiments.shared.two_object_scores import EmbeddedTexts, HarderOutcome, HarderTexts, embed, score
from svitt.experiments.shared.two_object_world import (
    HarderSettings,
    harder_data,
    trained_harder,
    video_config,
    with_pattern,
)
from svitt.layers.edges import fixed_edges
from svitt.models.dual_encoder import DualEncoder
from svitt.models.masked_attention import edge_density
from svitt.records.workspace import Workspace

CHAPTER = "03_edge_sparsity"
# The paper's pattern has one name where it is taken from a dense model and one where it was trained.
AT_INFERENCE = {"full": "sparse"}


@dataclass(frozen=True)
class Settings:
    """A scale of the chapter.

    model: of the two-object models. trained: the patterns that are trained, dense first. block_size: tokens
    a block; shares: of the clip that a token reads, in the sweep. draws: of random edges. pool_size: clips a
    retrieval pool. costs: of one attention layer.
    """

    seeds: tuple[int, ...]
    costs: CostSettings
    model: HarderSettings = field(default_factory=HarderSettings)
    trained: tuple[str, ...] = ("dense", "full", "local", "tube", "cls_only")
    block_size: int = 4
    shares: tuple[float, ...] = (0.0625, 0.125, 0.25, 0.5, 0.75)
    draws: int = 3
    pool_size: int = 200


SCALES: Mapping[str, Settings] = {
    "smoke": Settings(
        (0,),
        CostSettings((2, 4, 8), 2, heads=2, head_dim=16, side=8),
        HarderSettings(400, 200, 100, 10, batch_size=32, warmup_steps=4),
        shares=(0.125, 0.5),
        draws=2,
        pool_size=50,
    ),
    "cpu": Settings((0, 1, 2, 3, 4), CostSettings((4, 8, 16, 24), 5)),
    "gpu": Settings(
        tuple(range(8)),
        CostSettings((4, 8, 16, 32), 20, heads=12, clock="wall"),
        HarderSettings(
            20000, 10000, 2000, 8000, image_size=64, num_frames=8, width=256, depth=8, num_heads=4,
            batch_size=256, learning_rate=1e-3, warmup_steps=400, mixed_precision="bf16",
        ),
        trained=("dense", "full", "local", "tube", "cls_only", "random", "full_no_cls", "local_no_cls"),
        block_size=16,
        shares=(0.03125, 0.0625, 0.125, 0.25, 0.5, 0.75),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Bench:
    """One seed's test clips (N, T, H, W, C) and texts. tokenizer: of the texts."""

    clips: npt.NDArray[np.uint8]
    texts: HarderTexts
    tokenizer: Any
    device: str

    def embedded(self, model: DualEncoder) -> EmbeddedTexts:
        """The texts, embedded by a model."""
        return embed(model, self.texts, self.tokenizer, self.device)

    def score(self, model: DualEncoder, embedded: EmbeddedTexts) -> HarderOutcome:
        """The test clips under a model, against texts embedded by the same weights."""
        return score(embed_clips(model, self.clips, self.device), embedded)


@dataclass
class Found:
    """Summary numbers and raw arrays, by name."""

    values: dict[str, float | int | str] = field(default_factory=dict)
    outcomes: dict[str, npt.NDArray[Any]] = field(default_factory=dict)

    def add(self, name: str, scored: list[HarderOutcome]) -> None:
        """Keeps every outcome of every draw, (draws, clips), and its mean (of ranks, R@1)."""
        for kind in scored[0].arrays():
            array = np.stack([outcome.arrays()[kind] for outcome in scored])
            self.outcomes[f"{name}/{kind}"] = array
            summary = "R@1" if kind == "rank" else kind
            self.values[f"{name}/{summary}"] = float((array <= 1).mean() if kind == "rank" else array.mean())

    def describe(self, name: str, pattern: Pattern, grid: tuple[int, int, int], depth: int) -> None:
        """Density and hop distances of a pattern."""
        hops = hop_distances(layer_mask(pattern, grid, 0).numpy())
        others = ~np.eye(len(hops), dtype=bool)
        reached = others & (hops > 0)
        numbers = {
            "edge_density": edge_density(masks(pattern, grid, depth)),
            "mean_hops": float(hops[reached].mean()) if reached.any() else 0.0,
            "unreached": float((hops[others] < 0).mean()),
        }
        for what, value in numbers.items():
            self.values[f"{name}/{what}"] = value
            self.outcomes[f"{name}/{what}"] = np.array(value)


def patterns(settings: Settings, seed: int) -> dict[str, Pattern]:
    """All patterns that are tried at inference, by name."""
    grid = video_config(settings.model).grid
    swept = density_sweep(grid, settings.block_size, settings.shares, seed)
    return named_patterns(grid, settings.block_size, seed) | swept


def is_random(name: str) -> bool:
    """Whether a pattern draws edges."""
    return name.startswith(("full", "random"))


def measure(settings: Settings, seed: int, device: str, workspace: Workspace) -> Measurement:
    """Measures costs, trains the arms of one seed, and takes the edges of the dense one away."""
    found = Found()
    found.outcomes |= attention_costs(settings.costs, seed, device)
    for arm in COST_ARMS:
        for what in ("flops", "seconds", "bytes"):
            cost = found.outcomes[f"{arm}/attention_{what}"]
            found.values[f"{arm}/{what}_exponent"] = exponent(found.outcomes["tokens"], cost)
    data = harder_data(settings.model, seed, workspace)
    split, whole = data.two.world.split("test"), data.two.clips("test")
    shown = shown_indices(len(whole), whole.shape[1], settings.model.num_frames, seed)
    clips = whole[np.arange(len(whole))[:, None], shown]
    texts = HarderTexts(data.two.world.spec, split, settings.pool_size)
    bench = Bench(clips, texts, data.tokenizer, device)
    known = patterns(settings, seed)
    models = {
        name: trained_harder(
            settings.model, data, seed, device, workspace, None if name == "dense" else known[name]
        )
        for name in settings.trained
    }
    for name, model in models.items():
        scored = bench.score(model, bench.embedded(model))
        found.add(f"trained/{name}", [scored])
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
            scored.append(bench.score(with_pattern(dense, drawn), embedded))
        found.add(label, scored)
        found.describe(label, pattern, video.grid, video.depth)
        if label != name:  # its density counts for the trained arm too
            found.describe(name, pattern, video.grid, video.depth)


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
