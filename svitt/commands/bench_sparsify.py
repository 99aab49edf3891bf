"""``svitt bench sparsify``: what pruning and merging give a model of timm, at equal numbers of tokens.

One image transformer, unmodified and made sparse by ``svitt.sparsify``, in turn in one process; images a
second beside the FLOPs. "cls" prunes, "merge" merges (ToMe); the same keep rate leaves the same tokens in
every layer.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from svitt.integrations.sparsify import sparsify
from svitt.profiling.benchmark import Clock, interleave, machine, matmul_peak
from svitt.records.provenance import git_state
from svitt.records.workspace import project_root

MODEL = "vit_base_patch16_224"
SELECTIONS = ("cls", "merge", "random")


def models(name: str, keep_rate: float, layers: Sequence[int], **options: Any) -> dict[str, nn.Module]:
    """The model as timm makes it (random weights), and its sparse copies, by selection."""
    dense = timm.create_model(name, **options).eval()
    return {"dense": dense} | {s: sparsify(dense, keep_rate, layers, s) for s in SELECTIONS}


def flops_of(model: nn.Module, images: Tensor) -> int:
    """FLOPs of a forward pass, 2 a multiplication, as counted while it runs."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(images)
    return int(counter.get_total_flops())


def bench_sparsify(
    made: dict[str, nn.Module],
    images: Tensor,
    repeats: int,
    clock: Clock,
    progress: Callable[[str], object] = lambda name: None,
) -> list[dict[str, Any]]:
    """One row per model: images (B, C, H, W) a second, and time and FLOPs against the first of ``made``."""

    def step(model: nn.Module) -> Callable[[], object]:
        def run() -> object:
            with torch.no_grad():
                return model(images)

        return run

    counted = {name: flops_of(model, images) for name, model in made.items()}
    alternatives = {name: step(model) for name, model in made.items()}
    times = interleave(alternatives, repeats, device=images.device, clock=clock, progress=progress)
    first = next(iter(made))
    return [
        {
            "model": name,
            "images_per_second": len(images) / timing.median,
            "time_ratio": times[first].median / timing.median,
            "flop_ratio": counted[first] / counted[name],
            "gflops_per_image": counted[name] / len(images) / 1e9,
            "seconds": {"median": timing.median, "lower": timing.lower, "upper": timing.upper},
        }
        for name, timing in times.items()
    ]


def bench(args: argparse.Namespace, dtype: torch.dtype) -> int:
    """Says the price, measures, prints a line per model and writes the table; returns 0."""
    layers, batch = (3, 6, 9), max(args.batch, 8)
    made = {
        name: model.to(args.device, dtype) for name, model in models(MODEL, args.keep_rate, layers).items()
    }
    generator = torch.Generator().manual_seed(args.seed)
    images = torch.randn(batch, 3, 224, 224, generator=generator).to(args.device, dtype)
    runs = len(made) * (args.repeats + 1)
    speed = 0.7 * matmul_peak(args.device, dtype, args.clock)
    print(f"price: about {runs * flops_of(made['dense'], images) / speed:.0f} s", flush=True)
    if args.price:
        return 0
    with tqdm(total=runs, unit="run", leave=False, disable=None) as bar:
        rows = bench_sparsify(made, images, args.repeats, args.clock, lambda name: bar.update())
    print(f"{MODEL}, batch {batch}, keep rate {args.keep_rate} after layers {layers}, {args.clock} time:")
    for row in rows:
        print(
            f"  {row['model']:7} {row['images_per_second']:7.2f} images a second, {row['time_ratio']:.2f}x; "
            f"{row['gflops_per_image']:.1f} GFLOPs an image, {row['flop_ratio']:.2f}x"
        )
    if args.json is not None:
        _write(args.json, rows, args, batch, layers)
    return 0


def _write(
    path: Path, rows: list[dict[str, Any]], args: argparse.Namespace, batch: int, layers: Sequence[int]
) -> None:
    names = ("threads", "repeats", "clock", "device", "dtype", "keep_rate", "seed")
    settings = {name: getattr(args, name) for name in names}
    settings |= {"what": "sparsify", "model": MODEL, "batch": batch, "prune_layers": list(layers)}
    commit, dirty = git_state(project_root())
    made = {"commit": commit, "dirty": dirty, "created": datetime.now(UTC).isoformat(timespec="seconds")}
    content = {"settings": settings, "machine": machine(args.device), "provenance": made, "rows": rows}
    path.write_text(json.dumps(content, indent=1) + "\n")
    print(f"written: {path}")
