"""``svitt bench step``: seconds of one training step of the chapters' small model, per way to take it.

The model of chapter 1 at scale cpu on clips of noise, which cost what real ones do. A step is its batch,
forward and backward pass, clipping and update. Of a stack the seconds are per model.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from svitt.config import require
from svitt.data.text import build_tokenizer
from svitt.data.worlds.shapes.grammar import vocabulary
from svitt.experiments.shared.tiny_models import tiny_video_config
from svitt.models.dual_encoder import DualEncoder, DualEncoderConfig
from svitt.models.text_encoder import TextConfig
from svitt.profiling.benchmark import Clock, Timing, as_json, interleave, machine
from svitt.records.provenance import git_state
from svitt.records.workspace import project_root
from svitt.training.batches import Batches, Place, one_stage
from svitt.training.captured_step import WARM_UP, CapturedStep, rate_on_device
from svitt.training.contrastive import contrastive_loss
from svitt.training.stack import Stack, StackedBatches, loss_of_stack
from svitt.training.trainer import Batch, TrainConfig, parameter_groups

BATCH, CLIPS, FRAMES, WORDS = 64, 512, 8, 7
STACKS = (4, 8)


@dataclass(frozen=True)
class StepSettings:
    """What is trained, and where. batch: clips of a step."""

    batch: int = BATCH
    device: str = "cpu"
    seed: int = 0
    repeats: int = 5
    clock: Clock = "wall"
    width: int = 64
    depth: int = 3
    num_clips: int = CLIPS


def model_of(s: StepSettings, seed: int) -> DualEncoder:
    """The dual encoder of chapter 1."""
    text = TextConfig(build_tokenizer(vocabulary()).get_vocab_size(), width=s.width)
    video = tiny_video_config(4, width=s.width, depth=s.depth)
    return DualEncoder(DualEncoderConfig(video, text, embed_dim=s.width), seed).to(s.device)


def batches_of(s: StepSettings, seed: int, place: Place) -> Batches:
    """Batches of noise with captions of words drawn from the grammar's."""
    rng = np.random.default_rng([s.seed, seed])
    clips = rng.integers(0, 256, (s.num_clips, FRAMES, 32, 32, 3), dtype=np.uint8)
    captions = [" ".join(words) for words in rng.choice(sorted(vocabulary()), (s.num_clips, WORDS))]
    tokenizer = build_tokenizer(vocabulary())
    made = one_stage(clips, captions, tokenizer, 4, s.batch, seed, device=s.device)
    return replace(made, place=place)


def steps_of(
    model: nn.Module,
    batch_at: Callable[[int], Batch],
    loss_of: Callable[[nn.Module, Batch], Tensor],
    captured: bool = False,
) -> Callable[[], object]:
    """Takes the next step of a training whenever it is called. captured: from a CUDA graph."""
    config = TrainConfig(steps=1)
    groups = parameter_groups(model.train(), config.weight_decay)
    device = next(model.parameters()).device
    optimizer = torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.betas, capturable=captured)
    if captured:
        rate_on_device(optimizer, device)

    def update(batch: Batch) -> Tensor:
        loss = loss_of(model, batch)
        loss.backward()
        if isinstance(model, Stack):
            model.clip_gradients(config.clip_norm)
        else:
            nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
        optimizer.step()
        return loss

    def plain(batch: Batch) -> Tensor:
        loss = update(batch).detach()
        optimizer.zero_grad()
        return loss

    take: Callable[[Batch], Tensor] = plain
    if captured:
        take = CapturedStep(update, optimizer.zero_grad, device)
    numbers = itertools.count()
    return lambda: take(batch_at(next(numbers)))


def alternatives(s: StepSettings) -> dict[str, tuple[int, Callable[[], object]]]:
    """Way -> how many models it trains, and its step. "captured" is on CUDA alone."""

    def alone(place: Place, captured: bool = False) -> Callable[[], object]:
        return steps_of(model_of(s, 0), batches_of(s, 0, place), contrastive_loss, captured)

    def stack(size: int, captured: bool = False) -> Callable[[], object]:
        models = Stack([model_of(s, seed) for seed in range(size)]).to(s.device)
        batches = StackedBatches([batches_of(s, seed, "device") for seed in range(size)])
        return steps_of(models, batches, loss_of_stack(contrastive_loss), captured)

    made = {"plain": (1, alone("host")), "device_batches": (1, alone("device"))}
    made |= {f"stack_{size}": (size, stack(size)) for size in STACKS}
    if torch.device(s.device).type == "cuda":
        made["captured"] = (1, alone("device", captured=True))
        made |= {f"stack_{size}_captured": (size, stack(size, captured=True)) for size in STACKS}
    return made


def bench_step(
    made: Mapping[str, tuple[int, Callable[[], object]]],
    s: StepSettings,
    progress: Callable[[str], object] = lambda name: None,
) -> list[dict[str, Any]]:
    """One row per way: seconds of a step per model, and how many times faster than the first way that is."""
    steps = {name: step for name, (_, step) in made.items()}
    timings = interleave(steps, s.repeats, warm_ups(s), s.device, s.clock, progress)
    each = {name: timings[name].median / size for name, (size, _) in made.items()}
    first = next(iter(made))
    return [
        {
            "way": name,
            "models": size,
            "seconds_per_model": each[name],
            "ratio": each[first] / each[name],
            "seconds": as_json({name: timings[name]})[name],
        }
        for name, (size, _) in made.items()
    ]


def warm_ups(s: StepSettings) -> int:
    """Steps before the first that counts: a graph is recorded in the last of them."""
    return WARM_UP + 1 if torch.device(s.device).type == "cuda" else 1


def bench(args: argparse.Namespace) -> int:
    """Says the price, from one plain step; measures, prints a line per way, writes the table; returns 0.

    Errors: ConfigError for another type of numbers than float32.
    """
    require(args.dtype == "float32", "--dtype", args.dtype, "float32, of a training step")
    batch = args.batch if args.batch > 1 else BATCH
    s = StepSettings(batch, args.device, args.seed, args.repeats, args.clock)
    made = alternatives(s)
    runs = args.repeats + warm_ups(s)
    first = interleave({"plain": made["plain"][1]}, 1, 1, s.device, s.clock)["plain"]
    print(f"price: about {price(first, made.values(), runs):.0f} s", flush=True)
    if args.price:
        return 0
    with tqdm(total=runs * len(made), unit="step", leave=False, disable=None) as bar:
        rows = bench_step(made, s, lambda name: bar.update())
    print(f"one training step, batch {batch}, {s.clock} time, per model, medians of {s.repeats} interleaved:")
    for row in rows:
        print(f"  {row['way']:18} {row['seconds_per_model'] * 1e3:8.2f} ms, {row['ratio']:.2f}x of plain")
    if args.json is not None:
        _write(args.json, rows, args, s)
    return 0


def price(plain: Timing, made: Iterable[tuple[int, object]], runs: int) -> float:
    """Seconds of all steps, if a stack of S models takes as long as S steps."""
    return plain.median * runs * sum(size for size, _ in made)


def _write(path: Path, rows: list[dict[str, Any]], args: argparse.Namespace, s: StepSettings) -> None:
    names = ("threads", "repeats", "clock", "device", "dtype", "seed")
    settings = {name: getattr(args, name) for name in names} | {"what": "step", "batch": s.batch}
    commit, dirty = git_state(project_root())
    made = {"commit": commit, "dirty": dirty, "created": datetime.now(UTC).isoformat(timespec="seconds")}
    content = {"settings": settings, "machine": machine(s.device), "provenance": made, "rows": rows}
    path.write_text(json.dumps(content, indent=1) + "\n")
    print(f"written: {path}")
