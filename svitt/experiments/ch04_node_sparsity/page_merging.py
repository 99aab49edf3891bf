"""What chapter 4 shows of merging beside pruning, from recorded outcomes."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from svitt.config import from_dict
from svitt.evaluation.metrics import recall_at
from svitt.experiments.base import Recorded
from svitt.experiments.ch04_node_sparsity.experiment import variant_name
from svitt.experiments.ch04_node_sparsity.merging import SELECTIONS, Settings

MEASURES = {"rank": "R@1", "verb": "verb", "flip": "flip"}


def tidy(runs: Sequence[Recorded]) -> pd.DataFrame:
    """One row per seed, selection, keep rate and measure; values in [0, 1]; flops: share of the dense
    encoder's. The dense model stands in every selection as keep rate 1."""
    rows = []
    for run in runs:
        values = run.record.values
        for selection in SELECTIONS:
            for rate in (1.0, *from_dict(Settings, run.record.parameters).keep_rates):
                name = "dense" if rate == 1 else variant_name(selection, rate)
                flops = float(values[f"{name}/flops"]) / float(values["dense/flops"])
                for kind, measure in MEASURES.items():
                    array = run.outcomes[f"{name}/{kind}"]
                    value = recall_at(array, 1) if kind == "rank" else float(array.mean())
                    rows.append((run.record.seed, selection, rate, flops, measure, value))
    columns = ["seed", "selection", "keep_rate", "flops", "measure", "value"]
    return pd.DataFrame(rows, columns=columns)


def at_equal_cost(runs: Sequence[Recorded], measure: str = "R@1") -> pd.DataFrame:
    """A row per keep rate: FLOPs of pruning and of merging as shares of the dense encoder's, a measure of
    every selection in percent, and merging minus CLS attention in points, mean (and SD) over seeds."""
    table = tidy(runs)
    table = table[table.measure == measure]
    wide = table.pivot_table(index=["keep_rate", "seed"], columns="selection", values="value")
    wide["merge - cls"] = wide["merge"] - wide["cls"]
    groups = (100 * wide).groupby("keep_rate")
    text = groups.mean().map("{:.1f}".format)
    if len(runs) > 1:
        text = text + " ± " + groups.std().map("{:.1f}".format)
    cost = table.pivot_table(index="keep_rate", columns="selection", values="flops")[["cls", "merge"]]
    cost = cost.map("{:.1%}".format).rename(columns={"cls": "FLOPs, pruned", "merge": "FLOPs, merged"})
    return cost.join(text[[*SELECTIONS, "merge - cls"]]).sort_index(ascending=False)
