"""What chapter 5 shows of its recorded outcomes: counts, times and memory, and their ratios."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from svitt.config import from_dict
from svitt.errors import RecordError
from svitt.experiments.base import Recorded
from svitt.experiments.ch05_efficiency.counts import ARM_NAMES, PART_NAMES
from svitt.experiments.ch05_efficiency.experiment import Settings, bench_settings
from svitt.profiling.cases import encoder_config
from svitt.profiling.cost import ATTENTION_BACKWARD, attention_cost, encoder_cost


def settings_of(runs: Sequence[Recorded]) -> Settings:
    """The settings that the recorded seeds share."""
    return from_dict(Settings, runs[0].record.parameters)


def sized_flops(settings: Settings, part: str, arm: str, frames: int, phase: str) -> float:
    """FLOPs of what was run and timed, at the sizes of ``settings``."""
    s = bench_settings(settings, 0, "cpu")
    if part == "attention":
        edges = s.edges if arm in ("edges", "flex") else None
        forward = attention_cost(frames * s.side**2, s.heads * s.head_dim, edges)
        return forward * (1 + ATTENTION_BACKWARD if phase == "training" else 1)
    cost = encoder_cost(encoder_config(arm, frames, s))  # type: ignore[arg-type]
    return float(cost.training if phase == "training" else cost.total)


def tidy(runs: Sequence[Recorded]) -> pd.DataFrame:
    """One row a seed and run: quantity (FLOPs, time, memory), part, arm, frames, phase, run, value.

    FLOPs are those of the sizes that were run; seconds; bytes beside weights and inputs.
    """
    rows: list[tuple[int, str, str, str, int, str, int, float]] = []
    settings = settings_of(runs)
    for recorded in runs:
        seed = recorded.record.seed
        for name, array in recorded.outcomes.items():
            quantity, *rest = name.split("/")
            if quantity not in ("time", "memory"):
                continue
            part, arm, frames, phase = rest[0], rest[1], int(rest[2]), rest[3]
            # The kernel counts resident memory in pages: less than one is not told from one.
            values = np.maximum(array, 4096) if quantity == "memory" else array
            rows += [
                (seed, quantity, part, arm, frames, phase, i, float(v)) for i, v in enumerate(values.flat)
            ]
            if quantity == "time":
                flops = sized_flops(settings, part, arm, frames, phase)
                rows.append((seed, "FLOPs", part, arm, frames, phase, 0, flops))
    columns = ["seed", "quantity", "part", "arm", "frames", "phase", "run", "value"]
    return pd.DataFrame(rows, columns=columns)


def ratios(runs: Sequence[Recorded], baseline: str = "dense") -> pd.DataFrame:
    """Baseline over arm, run by run of those that took turns: median and quartiles over all runs and seeds.

    Columns: quantity, part, arm, frames, phase, median, lower, upper, runs. Lengths at which the baseline
    was not run are left out.
    """
    table = tidy(runs)
    keys = ["seed", "quantity", "part", "frames", "phase", "run"]
    base = table[table.arm == baseline].set_index(keys)["value"].rename("base")
    joined = table[~table.arm.isin([baseline, "dense", "dense_bias"])].join(base, on=keys, how="inner")
    joined["ratio"] = joined["base"] / joined["value"]
    groups = joined.groupby(["quantity", "part", "arm", "frames", "phase"])["ratio"]
    quartiles = {name: groups.quantile(q) for name, q in (("lower", 0.25), ("median", 0.5), ("upper", 0.75))}
    return pd.DataFrame(quartiles | {"runs": groups.size()}).reset_index()


def count_ratios(runs: Sequence[Recorded]) -> pd.DataFrame:
    """Recorded FLOPs of dense over each arm, ViT-B/16, forward: columns part, arm, frames, median.

    A count is the same for every seed; RecordError where the seeds disagree.
    """
    rows = []
    for name, array in runs[0].outcomes.items():
        part, arm, frames, *_ = name.split("/") if name.endswith("/flops") else ("", "dense", "0")
        if arm == "dense":
            continue
        if any(not np.array_equal(array, run.outcomes[name]) for run in runs):
            raise RecordError(
                f"outcome {name!r} differs between seeds, but it is a count; measure them again"
            )
        rows.append((part, arm, int(frames), float(runs[0].outcomes[f"{part}/dense/{frames}/flops"] / array)))
    return pd.DataFrame(rows, columns=["part", "arm", "frames", "median"])


def ratio_table(runs: Sequence[Recorded]) -> pd.DataFrame:
    """Time against each baseline, with quartiles, beside the FLOP ratio and the share of it realised."""
    shown = []
    keys = ["part", "arm", "frames", "phase"]
    for baseline in ("dense", "dense_bias"):
        table = ratios(runs, baseline)
        flops = table[table.quantity == "FLOPs"][[*keys, "median"]].rename(columns={"median": "FLOP ratio"})
        rows = table[table.quantity == "time"].merge(flops, on=keys)
        rows["realised"] = (rows["median"] / rows["FLOP ratio"]).round(2)
        rows["against"] = ARM_NAMES[baseline]
        shown.append(rows.sort_values(["part", "phase", "arm", "frames"]))
    found = pd.concat(shown, ignore_index=True)
    found["what"] = found.part.map(PART_NAMES) + ", " + found.phase
    found["sparsity"] = found.arm.map(ARM_NAMES)
    quartiles = zip(found["median"], found.lower, found.upper, strict=True)
    found["time ratio [quartiles]"] = [f"{m:.2f} [{low:.2f}, {high:.2f}]" for m, low, high in quartiles]
    columns = [
        "what",
        "against",
        "sparsity",
        "frames",
        "time ratio [quartiles]",
        "runs",
        "FLOP ratio",
        "realised",
    ]
    return found[columns].round({"FLOP ratio": 2})


def peak_share(runs: Sequence[Recorded]) -> pd.DataFrame:
    """FLOP/s reached, as a share of what square matrix products reach here: rows part and arm, one column
    a length; medians over runs and seeds."""
    table, settings = tidy(runs), settings_of(runs)
    peak = {run.record.seed: float(run.outcomes["matmul_peak"]) for run in runs}
    shown = table[(table.quantity == "time") & (table.phase == "forward")].copy()
    shown["share"] = [
        sized_flops(settings, part, arm, frames, phase) / value / peak[seed]
        for seed, part, arm, frames, phase, value in zip(
            shown.seed, shown.part, shown.arm, shown.frames, shown.phase, shown.value, strict=True
        )
    ]
    found = shown.groupby(["part", "arm", "frames"])["share"].median().unstack("frames")
    return found.rename(index={**ARM_NAMES, **PART_NAMES}).map("{:.0%}".format, na_action="ignore").fillna("")


def context_cost(runs: Sequence[Recorded]) -> pd.DataFrame:
    """Edges + nodes on 2T frames over dense without bias on T frames, in FLOPs, time and memory (forward).

    Only where both lengths were run; below 1, twice the clip is cheaper.
    """
    table = tidy(runs)
    table = table[(table.part == "encoder") & (table.phase == "forward")]
    medians = table.groupby(["quantity", "arm", "frames"])["value"].median()
    rows: dict[str, dict[str, float]] = {}
    for quantity, arm, frames in medians.index:
        other = (quantity, "sparse", 2 * frames)
        if arm == "dense" and other in medians.index:
            rows.setdefault(f"{2 * frames} over {frames} frames", {})[quantity] = (
                medians[other] / medians[quantity, "dense", frames]
            )
    return pd.DataFrame(rows).T.round(2)


def shares(runs: Sequence[Recorded], frames: int, baseline: str) -> pd.DataFrame:
    """Cost of the sparse arms as a share of the baseline's at one length, forward, at the sizes run.

    Columns part, quantity, arm, share; FLOPs at every length, time and memory where both were run.
    """
    settings = settings_of(runs)
    rows = []
    for part, arms in (("attention", ("edges",)), ("encoder", ("edges", "sparse"))):
        dense = sized_flops(settings, part, "dense", frames, "forward")
        rows += [
            (part, "FLOPs", arm, sized_flops(settings, part, arm, frames, "forward") / dense) for arm in arms
        ]
    table = ratios(runs, baseline)
    table = table[(table.phase == "forward") & (table.frames == frames) & (table.quantity != "FLOPs")]
    measured = zip(table.part, table.quantity, table.arm, 1 / table["median"], strict=True)
    return pd.DataFrame([*rows, *measured], columns=["part", "quantity", "arm", "share"])
