"""The committed tables of ``svitt bench``, as chapter 5 prints them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

# Column -> how its ratio is named: dense without bias, with the bias made once, with it rebuilt every time.
BASELINES = {"no bias": "", "bias made once": "_to_dense_bias_once", "bias rebuilt": "_to_dense_bias"}
# What is timed -> (pass, variant, head of its ratios, its ratio of FLOPs).
TIMED = {
    "attention": (
        ("forward", "edges", "forward_ratio", "flop_ratio"),
        ("forward + backward", "edges", "training_ratio", "flop_ratio"),
    ),
    "encoder": tuple(
        (phase, name.replace("_", " + "), f"{name}{mid}_ratio", f"{name}{mid}_flop_ratio")
        for phase, mid in (("forward", ""), ("training step", "_training"))
        for name in ("edges", "edges_nodes")
    ),
}


def benchmark_files(folder: Path) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Of every table in ``folder`` its file, what it was made on and its content, by file name."""
    for path in sorted(folder.glob("*.json")):
        data = json.loads(path.read_text())
        made = data["machine"]
        place = made["processor"] if made["device"] == "cpu" else made["device"]
        threads = f", {made['threads']} thread(s)" if made["device"] == "cpu" else ""
        yield path.name, f"{place}{threads}, {data['settings']['dtype']}", data


def speed_table(folder: Path) -> pd.DataFrame:
    """How many times faster sparse is: a row per table, length, pass and variant. Three dense baselines;
    FLOPs beside them, against dense without a bias."""
    rows = []
    for _, place, data in benchmark_files(folder):
        what = data["settings"]["what"]
        for row in data["rows"]:
            for phase, variant, head, flops in TIMED.get(what, ()):
                if head in row:
                    ratios = {name: row.get(f"{head}{tail}") for name, tail in BASELINES.items()}
                    about = {"machine": place, "of": what, "frames": row["frames"], "pass": phase}
                    rows.append(about | {"variant": variant} | ratios | {"FLOPs": row[flops]})
    return pd.DataFrame(rows)


def sparsify_table(folder: Path) -> pd.DataFrame:
    """What ``svitt.sparsify`` gives a model of timm: a row per table and model, dense and sparse copies."""
    rows: list[Mapping[str, Any]] = []
    for _, place, data in benchmark_files(folder):
        if data["settings"]["what"] != "sparsify":
            continue
        for row in data["rows"]:
            tokens = {"dense": "all", "merge": "merged (ToMe)"}.get(row["model"], f"by {row['model']}")
            about = {"machine": place, "model": data["settings"]["model"], "tokens": tokens}
            ratios = {"faster": row["time_ratio"], "FLOPs": row["flop_ratio"]}
            rate = {"images a second": row["images_per_second"]}
            rows.append(about | rate | ratios | {"GFLOPs an image": row["gflops_per_image"]})
    return pd.DataFrame(rows)
