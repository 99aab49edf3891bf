"""What chapter 1 shows of the order dial: the curve, and the share of captions at which models see order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from svitt.config import from_dict, require
from svitt.evaluation.metrics import recall_at
from svitt.experiments.base import Recorded
from svitt.experiments.ch01_frame_shuffle.order_dial import Settings
from svitt.ledger.statistics import Interval, paired_t_interval

# Name of a measure -> the level at which a model counts as seeing order: half way from chance to all for the
# choice between a clip and its reversal, and the drop that the rule asks for.
LEVELS: dict[str, float] = {"flip": 0.75, "drop": 0.10}


class Crossing(NamedTuple):
    """Where a curve reaches its level, over seeds. shares: of every seed, infinite where it does not.
    interval: of their mean; None where a seed does not reach it: that of the others would be too small."""

    interval: Interval | None
    shares: npt.NDArray[np.float64]


def curve(runs: Sequence[Recorded], split: str = "heldout") -> pd.DataFrame:
    """One row per seed, share of captions that need time and measure: "R@1" of frames in order, "drop" of it
    under shuffling, "reversed" (its drop under reversal), "flip"; values between -1 and 1."""
    rows = []
    for run in runs:
        for share in from_dict(Settings, run.record.parameters).shares:
            head = f"{split}/share_{share:g}"
            found = {order: run.outcomes[f"{head}/{order}/rank"] for order in ("none", "shuffle", "reverse")}
            hits = {order: recall_at(ranks, 1) for order, ranks in found.items()}
            measures = {
                "R@1": hits["none"],
                "drop": hits["none"] - hits["shuffle"],
                "reversed": hits["none"] - hits["reverse"],
                "flip": float(run.outcomes[f"{head}/none/flip"].mean()),
            }
            rows += [(run.record.seed, share, name, value) for name, value in measures.items()]
    return pd.DataFrame(rows, columns=["seed", "share", "measure", "value"])


def order_blind(runs: Sequence[Recorded], split: str = "heldout") -> pd.DataFrame:
    """One row per seed and variant that cannot see order: "flip" and "drop", as in ``curve``."""
    rows = []
    for run in runs:
        for variant in ("bag_of_frames", "single_frame"):
            head = f"{split}/{variant}"
            hits = [recall_at(run.outcomes[f"{head}/{order}/rank"], 1) for order in ("none", "shuffle")]
            flip = float(run.outcomes[f"{head}/none/flip"].mean())
            rows.append((run.record.seed, variant, flip, hits[0] - hits[1]))
    return pd.DataFrame(rows, columns=["seed", "variant", "flip", "drop"])


def crossing(shares: Sequence[float], values: Sequence[float], level: float) -> float:
    """The smallest share from which on a curve stays at its level or above, linear between the shares
    measured; infinite where the last value is below it.

    Errors: ConfigError for shares that do not rise.
    """
    require(list(shares) == sorted(set(shares)), "shares", shares, "rising")
    above = np.asarray(values) >= level
    if not above[-1]:
        return float("inf")
    first = len(above) - int(np.argmin(above[::-1])) if not above.all() else 0
    if first == 0:
        return float(shares[0])
    low, high = values[first - 1], values[first]
    step = (level - low) / (high - low)
    return float(shares[first - 1] + step * (shares[first] - shares[first - 1]))


def threshold(table: pd.DataFrame, measure: str = "flip") -> Crossing:
    """The share of captions at which models begin to see order, with its 95% t-interval over seeds.

    table: as ``curve`` gives it. An estimate to be shown beside the rule, which judges fixed shares.
    """
    require(measure in LEVELS, "measure", measure, ", ".join(LEVELS))
    rows = table[table.measure == measure].sort_values(["seed", "share"])
    found = np.array(
        [
            crossing(part.share.tolist(), part.value.tolist(), LEVELS[measure])
            for _, part in rows.groupby("seed")
        ]
    )
    judged = len(found) >= 2 and bool(np.isfinite(found).all())
    return Crossing(paired_t_interval(found) if judged else None, found)
