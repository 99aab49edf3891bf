"""What chapter 3 shows: tables, curves and clips, from recorded outcomes and the patterns themselves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from svitt.config import from_dict
from svitt.data.datasets import downscale
from svitt.data.worlds.shapes.grammar import Scene
from svitt.data.worlds.shapes.relations import relation, relation_caption
from svitt.data.worlds.shapes.scene import clip_parameters
from svitt.experiments.base import Recorded
from svitt.experiments.ch03_edge_sparsity.costs import VARIANTS as COST_VARIANTS
from svitt.experiments.ch03_edge_sparsity.costs import exponent
from svitt.experiments.ch03_edge_sparsity.experiment import AT_INFERENCE, SCALES, Settings
from svitt.experiments.shared.edge_patterns import Grid, layer_mask, named_patterns
from svitt.experiments.shared.frame_sampling import decoded_clip, shown_indices
from svitt.experiments.shared.two_object_world import two_movers

Frames = npt.NDArray[np.uint8]
MEASURES = {"rank": "R@1", "verb": "verb", "flip": "flip", "swap": "swap", "relation": "relation"}
CHANCE = {"R@1": None, "verb": 1 / 6, "flip": 0.5, "swap": 0.5, "relation": 0.5}
# Name in the outcomes -> name in tables and figures.
NAMES = {
    "dense": "dense",
    "sparse": "CLS, local, random",
    "full": "CLS, local, random",
    "local": "CLS, same frame",
    "tube": "CLS, same place",
    "random": "CLS, random",
    "cls_only": "CLS only",
}
COST_NAMES = {"dense": "dense, written down", "fused": "dense, fused kernel", "sparse": "sparse"}
_GRAPH = ("edge_density", "mean_hops", "unreached")
SHOWN = ("dense", "full", "local", "tube", "random", "cls_only")


def value(array: npt.NDArray[Any], kind: str) -> float:
    """R@1 of ranks, the mean of choices."""
    return float((array <= 1).mean() if kind == "rank" else array.mean())


def settings_of(run: Recorded) -> Settings:
    """The settings under which a seed was recorded."""
    return from_dict(Settings, run.record.parameters)


def costs(runs: Sequence[Recorded]) -> pd.DataFrame:
    """One row a seed, arm, quantity (FLOPs, seconds, bytes) and length: tokens, value."""
    rows = [
        (run.record.seed, COST_NAMES[arm], title, int(tokens), float(cost))
        for run in runs
        for arm in COST_VARIANTS
        for what, title in (("flops", "FLOPs"), ("seconds", "seconds"), ("bytes", "bytes"))
        for tokens, cost in zip(run.outcomes["tokens"], run.outcomes[f"{arm}/attention_{what}"], strict=True)
    ]
    return pd.DataFrame(rows, columns=["seed", "arm", "quantity", "tokens", "value"])


def exponents(runs: Sequence[Recorded], skip: int = 0) -> pd.DataFrame:
    """Mean (and SD) over seeds of the fitted exponents: a row an arm, a column a quantity.

    skip: lengths left out at the short end.
    """
    rows = []
    for (_, arm, quantity), part in costs(runs).groupby(["seed", "arm", "quantity"], sort=False):
        tokens, cost = (part.sort_values("tokens")[name].to_numpy()[skip:] for name in ("tokens", "value"))
        rows.append((arm, quantity, exponent(tokens, cost)))
    table = pd.DataFrame(rows, columns=["arm", "quantity", "exponent"])
    groups = table.groupby(["arm", "quantity"], sort=False)["exponent"]
    return _mean_sd(groups, len(runs), 2).unstack("quantity")


def hops(runs: Sequence[Recorded]) -> pd.DataFrame:
    """Per pattern, with and without CLS: density, mean hops between patch tokens that reach each other, and
    the share of pairs that never do; means over seeds."""
    rows = []
    values = [run.record.values for run in runs]
    for name in SHOWN:
        row = {"pattern": NAMES[name]}
        for arm, title in ((AT_INFERENCE.get(name, name), "with CLS"), (f"{name}_no_cls", "CLS unread")):
            if f"{arm}/mean_hops" not in values[0]:  # CLS alone has no twin without CLS
                continue
            means = {what: float(np.mean([v[f"{arm}/{what}"] for v in values])) for what in _GRAPH}
            row.setdefault("share of pairs", f"{means['edge_density']:.1%}")
            row[f"hops, {title}"] = f"{means['mean_hops']:.2f}"
            row[f"never, {title}"] = f"{means['unreached']:.0%}"
        rows.append(row)
    return pd.DataFrame(rows).fillna("").set_index("pattern")


def density_curves(runs: Sequence[Recorded]) -> pd.DataFrame:
    """One row a seed, kind of edges, share of the clip that a token reads, and measure; values in [0, 1].

    The dense model stands in both kinds as share 1, and CLS alone as share 0.
    """
    rows = []
    for run in runs:
        shares = settings_of(run).shares
        for kind, head in (("CLS, local, random", "full"), ("CLS, random", "random")):
            arms = {0.0: "cls_only", **{share: f"{head}@{share:g}" for share in shares}, 1.0: "dense"}
            for share, arm in arms.items():
                for key, measure in MEASURES.items():
                    found = value(run.outcomes[f"{arm}/{key}"], key)
                    rows.append((run.record.seed, kind, share, measure, found))
    return pd.DataFrame(rows, columns=["seed", "edges", "share", "measure", "value"])


def at_equal_density(runs: Sequence[Recorded]) -> pd.DataFrame:
    """The dense model under each pattern, mean (and SD) in percent: a row a pattern, a column a measure."""
    rows = []
    for run in runs:
        arms = {AT_INFERENCE.get(name, name): NAMES[name] for name in SHOWN}
        arms |= {f"{name}_no_cls": _without_cls(NAMES[name]) for name in SHOWN if name != "cls_only"}
        for arm, label in arms.items():
            for key, measure in MEASURES.items():
                rows.append((label, measure, value(run.outcomes[f"{arm}/{key}"], key)))
    table = pd.DataFrame(rows, columns=["edges", "measure", "value"])
    groups = table.assign(value=100 * table.value).groupby(["edges", "measure"], sort=False)["value"]
    return _mean_sd(groups, len(runs), 1).unstack("measure")[list(MEASURES.values())]


def trained(runs: Sequence[Recorded]) -> pd.DataFrame:
    """One row a seed, arm trained along its edges, and measure; values in [0, 1]."""
    rows = [
        (run.record.seed, NAMES.get(arm, arm), measure, value(run.outcomes[f"trained/{arm}/{key}"], key))
        for run in runs
        for arm in settings_of(run).trained
        for key, measure in MEASURES.items()
    ]
    return pd.DataFrame(rows, columns=["seed", "edges", "measure", "value"])


def trained_summary(runs: Sequence[Recorded]) -> pd.DataFrame:
    """The same as mean (and SD) in percent: a row an arm, a column a measure."""
    table = trained(runs)
    groups = table.assign(value=100 * table.value).groupby(["edges", "measure"], sort=False)["value"]
    return _mean_sd(groups, len(runs), 1).unstack("measure")[list(MEASURES.values())]


def _without_cls(name: str) -> str:
    return "dense, CLS unread" if name == "dense" else name.replace("CLS, ", "") + ", CLS unread"


def _mean_sd(groups: pd.api.typing.SeriesGroupBy, runs: int, digits: int) -> pd.Series:
    text = groups.mean().map(f"{{:.{digits}f}}".format)
    return text if runs < 2 else text + " ± " + groups.std().map(f"{{:.{digits}f}}".format)


@dataclass(frozen=True)
class ShownClip:
    """A test clip as the models see it. frames: (T, H, W, 3); numbers: theirs in the clip, from 0;
    relation: the caption of what the objects do to each other, or None."""

    frames: Frames
    numbers: npt.NDArray[np.int64]
    scene: Scene
    relation: str | None


def shown_clip(seed: int, index: int, scale: str = "cpu") -> ShownClip:
    """Test clip ``index`` of a seed's world: drawn, written as MP4, decoded, at the models' size."""
    settings = SCALES[scale].model
    spec = two_movers(settings, seed)
    numbers = shown_indices(index + 1, spec.num_frames, settings.num_frames, seed)[index]
    frames, scene = decoded_clip(spec, "test", index, numbers)
    what = relation(clip_parameters(spec, "test", index))
    told = None if what is None else relation_caption(scene, what)
    return ShownClip(downscale(frames, settings.image_size), numbers, scene, told)


def reading_patches(
    grid: Grid, block_size: int, query: int, seed: int = 0
) -> Iterator[tuple[str, list[int]]]:
    """(pattern's name, patch tokens that patch token ``query`` reads in the first layer)."""
    patterns = named_patterns(grid, block_size, seed)
    for name in SHOWN:
        row = layer_mask(patterns[name], grid, 0)[1 + query, 1:]
        yield NAMES[name], row.nonzero().flatten().tolist()


def explorer_clips(run: Recorded, first: int = 3, worst: int = 3) -> list[int]:
    """The first test clips, and those whose caption falls furthest in its pool when the dense model loses
    its edges to the paper's pattern (first draw; of equal falls the earlier clip)."""
    fall = run.outcomes["sparse/rank"][0].astype(int) - run.outcomes["dense/rank"][0].astype(int)
    order = [int(i) for i in np.argsort(-fall, kind="stable") if i >= first]
    return [*range(first), *order[:worst]]


def clip_results(run: Recorded, index: int) -> pd.DataFrame:
    """What became of one test clip at inference under each pattern: the rank of its caption in the pool, and
    whether the verb of each object was chosen rightly (first draw)."""
    count = len(run.outcomes["dense/rank"][0])
    rows = {}
    for name in SHOWN:
        arm = AT_INFERENCE.get(name, name)
        verbs = run.outcomes[f"{arm}/verb"][0].reshape(2, count)[:, index]
        right = ["right" if found else "wrong" for found in verbs]
        rank = int(run.outcomes[f"{arm}/rank"][0, index])
        rows[NAMES[name]] = {"rank": rank, "first object": right[0], "second object": right[1]}
    return pd.DataFrame(rows).T.rename_axis("edges")
